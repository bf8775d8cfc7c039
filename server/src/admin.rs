//! ADMIN: accounts, devices, streets with their grids and roads.

pub mod accounts;
pub mod devices;
pub mod streets;
