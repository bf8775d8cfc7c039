//! Transfers at the office: the queue, an officer's steps, and the clock. Rulings are `office_core::follow::rulings`'s to say.

pub mod routes;

// The tables that the transaction of a street writes stand with the street.
pub use crate::street::store::transfers as store;
