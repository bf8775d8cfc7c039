//! `POST /v1/streets/{street}/sync`: refusals, verdicts, what comes back, and what holds whatever the order.

pub mod phone;
mod properties;
pub mod pull;
mod races;
mod refusals;
mod verdicts;
