//! Held changes: edits made before their author could know that a grid was not theirs any more, or that a device was to be wiped. They are
//! listed here and decided by `office_core::acts::held`.

pub mod routes;
