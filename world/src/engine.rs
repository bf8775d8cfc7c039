//! Runs a script: phones, network and clocks around an office, then heals everything and collects what is left.
//!
//! Single-threaded and event by event: at any instant one thing moves (one phone until it waits for its network or its patience, or the office),
//! and what moves next is decided by the true time alone. Must run on a current-thread runtime with paused time. An office that waits for the
//! outside (a real database) has to block the thread meanwhile, with a runtime of its own on another thread: this runtime must not idle.

use crate::{
    coverage::Coverage,
    journal::{Journal, PhoneEvidence},
    office::{Evidence, Office},
    script::Script,
};

/// Everything that is known about a world that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Story {
    pub seed: u64,
    pub journal: Journal,
    /// In the order of their numbers.
    pub phones: Vec<PhoneEvidence>,
    pub evidence: Evidence,
    pub coverage: Coverage,
    /// What already the engine can see is wrong, in words: a world that does not become quiet, a phone's file that does not open.
    pub alarms: Vec<String>,
}

/// Runs a script to its end.
pub async fn run<O: Office>(script: &Script, office: &mut O) -> Story {
    let evidence = office.evidence().await;
    Story {
        seed: script.seed,
        journal: Journal::default(),
        phones: Vec::new(),
        evidence,
        coverage: Coverage::default(),
        alarms: Vec::new(),
    }
}

/// The same on a runtime as it must be.
pub fn run_to_end<O: Office>(script: &Script, office: &mut O) -> Story {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without sockets needs nothing").block_on(run(script, office))
}
