//! What the office decides: pushes, acts of desks, and what follows from them, over what is loaded of one street; and what a pull answers.
//!
//! In: a request and what [`store::Loaded`] says of the street. Out: [`store::Writes`], carried out as one transaction by an adapter: the
//! server's over Postgres, or [`memory`]. Invariants:
//! - nothing here reads a clock, a file, a socket or randomness, and nothing waits: `now` and whatever ids are made of are arguments;
//! - a decision sees only what it asked for, and whoever asks twice gets the same.

pub mod acts;
pub mod audit;
pub mod follow;
pub mod ids;
pub mod memory;
pub mod pull;
pub mod push;
pub mod roll;
pub mod store;
pub mod street;
