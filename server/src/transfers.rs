//! Transfers at the office: the queue, an officer's steps, and the clock. Rulings are `office_core::follow::rulings`'s to say.

pub mod routes;
pub mod store;
