//! What a reviewer does with the merged roll: reading it, editing at a desk, conflicts, moves.

pub mod acts;
pub mod conflicts;
pub mod edits;
pub mod moves;

// The tables that the transaction of a street writes stand with the street.
pub use crate::street::store::resolutions as store;
