//! One street: its transaction, its queue, its rows and its history.

pub mod error;
pub mod history;
pub mod merge;
pub mod projection;
pub mod queue;
pub mod store;
pub mod transaction;
