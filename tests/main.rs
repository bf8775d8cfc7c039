//! The one integration binary: contract, property, crash and repository tests over the harness.

mod audit;
mod auth;
mod conflicts;
mod crash;
mod duplicates;
mod exports;
mod edits;
mod foreign_client;
mod health;
mod phone;
mod private_postgres;
mod roll;
mod sync;
mod tidy;
