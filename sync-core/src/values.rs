//! Field values: what a text means, checked and normalised without changing what was typed.

pub mod address;
pub mod credit_code;
pub mod date;
pub mod geo;
pub mod phone;
pub mod text;
mod width;
