//! What a reviewer does with the merged roll: reading it, editing at a desk, conflicts, moves.

pub mod conflicts;
pub mod edits;
pub mod moves;
pub mod store;
