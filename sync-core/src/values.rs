//! Field values: what a text means, checked and normalised without changing what was typed.

pub mod address;
pub mod characters;
pub mod credit_code;
pub mod date;
mod digits;
pub mod geo;
pub mod personal;
pub mod phone;
pub mod text;
mod width;
