//! The promises, held against what happened.
//!
//! In: a [`Story`], which is a journal and what phones and office can be asked when all is quiet. Out: [`Finding`]s, each with the story of the
//! edit it is about. Nothing of `sync-core`, `client` or `server` is asked: bytes of changes and documents are read by plain Automerge
//! ([`bytes`]), and what ought to be follows from small models of registers, sets, logs, held edits and rulings of its own ([`ledger`], [`rules`]).
//!
//! What they rely on: values that users type are unique in a run, so that one edit can be followed by its value through every rewriting; ids of
//! operations outlive rebuilds.

pub mod bytes;
pub mod erased;
pub mod ledger;
pub mod log;
pub mod meaning;
pub mod notes;
pub mod phones;
pub mod records;
pub mod rules;
pub mod rulings;
pub mod saved;
pub mod tell;
pub mod told;
pub mod trail;

use std::fmt;

use uuid::Uuid;

use crate::{engine::Story, office::Setup};

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which checker found it; stable, so that a script can be made small while the same thing goes wrong.
    pub promise: &'static str,
    /// What is wrong.
    pub what: String,
    /// What it is about.
    pub about: About,
}

/// Whose story explains a finding.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    pub record: Option<Uuid>,
    /// A value that somebody typed.
    pub value: Option<String>,
    /// A key of the record.
    pub key: Option<String>,
    /// A change.
    pub hash: Option<String>,
}

impl About {
    /// Of a record as a whole.
    pub fn record(record: Uuid) -> Self {
        Self {
            record: Some(record),
            ..Self::default()
        }
    }

    /// Of a key.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Of a value.
    #[must_use]
    pub fn value(mut self, value: &str) -> Self {
        self.value = Some(value.to_owned());
        self
    }

    /// Of a change.
    #[must_use]
    pub fn hash(mut self, hash: &str) -> Self {
        self.hash = Some(hash.to_owned());
        self
    }
}

impl Finding {
    /// A finding.
    pub fn new(promise: &'static str, about: About, what: impl Into<String>) -> Self {
        Self {
            promise,
            what: what.into(),
            about,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// Holds a story to every promise. `setup` is how its run began.
pub fn check(setup: &Setup, story: &Story) -> Vec<Finding> {
    let mut found: Vec<_> = story
        .alarms
        .iter()
        .map(|alarm| {
            Finding::new(
                "the simulation becomes quiet",
                About::default(),
                alarm.clone(),
            )
        })
        .collect();
    let mut ledger = ledger::Ledger::of(setup, &story.journal, &mut found);
    ledger.lapse(&story.evidence);
    let documents = bytes::documents(&story.evidence, &mut found);
    records::check(story, &ledger, &documents, &mut found);
    saved::check(story, &ledger, &documents, &mut found);
    meaning::check(story, &ledger, &documents, &mut found);
    phones::check(story, &ledger, &documents, &mut found);
    log::check(story, &ledger, &mut found);
    rulings::check(story, &ledger, &documents, &mut found);
    erased::check(story, &ledger, &documents, &mut found);
    told::check(story, &ledger, &documents, &mut found);
    trail::check(&setup.street, &story.evidence, &mut found);
    if let Some(differ) = &story.evidence.rows_differ {
        found.push(Finding::new(
            "rows equal a rebuild",
            About::default(),
            differ.clone(),
        ));
    }
    found
}

#[cfg(test)]
mod tests;
