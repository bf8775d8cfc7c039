//! SQL of accounts, devices and tokens.

pub mod accounts;
pub mod devices;
pub mod sign_in_tries;
pub mod tokens;
