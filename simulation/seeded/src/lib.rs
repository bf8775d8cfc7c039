//! Simulated phones, networks and offices: everything that happens follows from one `u64` seed.
//!
//! Real phones (replica, outbox and store of `lianka-client`) work behind a simulated network against an [`office`]: what the server decides
//! (`lianka-office-core`) over a store in memory, or the real router on Postgres. What happens is written into a [`journal`]. When the script is
//! over, network, clocks and phones are made good and it goes on until it is quiet; then checkers that share no code with the implementation
//! hold journal, phones and the office's evidence to the promises.

pub mod check;
pub mod coverage;
pub mod draw;
pub mod engine;
pub mod journal;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod network;
pub mod office;
pub mod phones;
pub mod reading;
pub mod runner;
pub mod script;

pub use coverage::Coverage;
pub use engine::{Story, run, run_to_end};
pub use script::Script;
