//! The gate under fire: hostile bytes, by the million, for everything that reads bytes from outside.
//!
//! | module | makes | for |
//! |---|---|---|
//! | [`scene`], [`mutate`] | honest phones with their office, and mutants of what they write | [`gate`]: decode, MERGE, Automerge |
//! | [`requests`] | sync requests in both encodings, and what only looks like one | the reader of items; the server's INGEST |
//! | [`cursors`] | cursors | RESPOND's plan |
//! | `sheets` | workbooks and text files | the server's roll reader |
//! | `hostile_load` | all of it, sent to a running server by devices with valid tokens, while honest phones work | the edge, the whole pipeline |
//! | [`crashers`] | the inputs that harm plain Automerge | the gate, and a child process that measures the harm |
//!
//! One `u64` seed makes one **round**: a few hundred to a few thousand inputs, the same for ever ([`draw`]). [`budget`] bounds what an input
//! may cost; [`campaign`] runs rounds in a process of its own that may die without taking the report along; [`minimise`] makes a failing input
//! small. What the tests of this crate run is the short form of `make fuzz`.
//!
//! No coverage feedback: that needs a compiler of the unstable channel. What stands in its place is knowledge of the format, at four depths
//! ([`mutate::Depth`]), and a report of how many inputs got how far, so that none of them is silently empty.

pub mod budget;
pub mod campaign;
pub mod chunk;
pub mod crashers;
pub mod cursors;
pub mod draw;
pub mod gate;
#[cfg(feature = "hostile-load")]
pub mod hostile_load;
pub mod minimise;
pub mod mutate;
pub mod requests;
pub mod scene;
#[cfg(feature = "server")]
pub mod sheets;

use std::{collections::BTreeMap, fmt};

/// A claim that an input broke.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Which claim; a minimised input must break the same.
    pub claim: &'static str,
    pub detail: String,
}

impl Failure {
    pub fn new(claim: &'static str, detail: String) -> Self {
        Self { claim, detail }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.claim, self.detail)
    }
}

/// A failure with the bytes that caused it.
#[derive(Clone, Debug)]
pub struct Found {
    pub failure: Failure,
    pub input: Vec<u8>,
    /// What the server held before it, as change chunks; empty where that does not matter.
    pub context: Vec<u8>,
}

/// What became of the inputs of some rounds.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub inputs: u64,
    /// By what was made of them.
    pub outcomes: BTreeMap<String, u64>,
    /// The dearest input of all.
    pub peak_bytes: u64,
    pub allocations: u64,
    pub work_ns: u64,
    pub found: Vec<Found>,
}

impl Tally {
    pub fn count(&mut self, outcome: impl Into<String>) {
        *self.outcomes.entry(outcome.into()).or_default() += 1;
    }

    pub fn cost(&mut self, cost: budget::Cost) {
        self.peak_bytes = self.peak_bytes.max(cost.peak_bytes);
        self.allocations = self.allocations.max(cost.allocations);
        self.work_ns = self.work_ns.max(cost.work_ns);
    }

    pub fn add(&mut self, other: Self) {
        self.inputs += other.inputs;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
        self.allocations = self.allocations.max(other.allocations);
        self.work_ns = self.work_ns.max(other.work_ns);
        self.found.extend(other.found);
    }
}
