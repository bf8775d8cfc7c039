//! Lianka's pure core.
#![deny(missing_docs)]

pub mod authority;
pub mod catalogue;
pub mod change;
pub mod cursor;
pub mod field;
pub mod id;
pub mod lang;
pub mod limits;
pub mod merge;
pub mod projection;
pub mod record;
pub mod search;
pub mod time;
pub mod view;
pub mod wire;
