//! The promises, held against what happened.
//!
//! In: a [`Story`], which is a journal and what phones and office can be asked when all is quiet. Out: [`Finding`]s, each with the story of the
//! edit it is about. Nothing of `sync-core`, `client` or `server` is asked: bytes of changes and documents are read by plain Automerge
//! ([`bytes`]), and what ought to be follows from small models of registers, sets, logs, held edits and rulings of its own ([`ledger`], [`rules`]).
//!
//! What they rely on: values that users type are unique in a run, so that one edit can be followed by its value through every rewriting; ids of
//! operations outlive rebuilds.

pub mod bytes;
pub mod choices;
pub mod copies;
pub mod erased;
pub mod finding;
pub mod imports;
pub mod joins;
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

pub use finding::{About, Finding};

use crate::{engine::Story, office::Setup};

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
    copies::check(story, &ledger, &mut found);
    meaning::check(story, &ledger, &documents, &mut found);
    phones::check(story, &ledger, &documents, &mut found);
    log::check(story, &ledger, &mut found);
    rulings::check(story, &ledger, &documents, &mut found);
    erased::check(story, &ledger, &documents, &mut found);
    told::check(story, &ledger, &documents, &mut found);
    choices::check(story, &ledger, &documents, &mut found);
    joins::check(story, &ledger, &documents, &mut found);
    imports::check(story, &ledger, &mut found);
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
