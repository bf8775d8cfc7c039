//! The one integration binary: contract, property, crash and repository tests over the harness.

mod auth;
mod health;
mod private_postgres;
mod sync;
mod crash;
mod foreign_client;
mod roll;
