//! Sheets against cards: what somebody changed in a sheet of ours, what a sheet from elsewhere says otherwise, and what of it is written.
//!
//! In: cells as text, what an export said of them, a card. Out: [`crate::acts::import::RowWrite`]s and words for people. Files, and which card a
//! row is, are the server's business.

pub mod cells;
pub mod diff;
pub mod grids;
pub mod masks;
pub mod notes;
pub mod problem;
pub mod respelled;
pub mod rows;
pub mod said;
pub mod workbook;
pub mod wrapped;
pub mod wrote;
