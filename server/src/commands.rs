//! The subcommands of `lianka`, one file each: what it takes, and its run.

pub mod admin;
pub mod audit;
pub mod calendar;
pub mod compact;
mod database;
pub mod forget;
pub mod import;
pub mod migrate;
pub mod rebuild;
pub mod serve;
