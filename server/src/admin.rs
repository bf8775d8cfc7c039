//! ADMIN: accounts, devices, streets with their grids and roads.

pub mod accounts;
pub mod acts;
pub mod audit_proof;
pub mod audit_trail;
pub mod calendar;
pub mod devices;
pub mod notices;
pub mod streets;
