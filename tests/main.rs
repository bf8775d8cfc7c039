//! The one integration binary: contract, property, crash and repository tests over the harness.

mod attackers;
mod audit;
mod auth;
mod compaction;
mod conflicts;
mod crash;
mod devices;
mod duplicates;
mod edge;
mod edits;
mod erasure;
mod exports;
mod faults;
mod foreign_client;
mod health;
mod held;
mod hostile_tokens;
mod phone;
mod private_postgres;
mod reassignment;
mod roll;
mod sync;
mod tidy;
mod tidy_transfers;
mod transfers;
mod trimming;
