//! What goes from outbox and drafts when the office erased a person.

use std::collections::BTreeSet;

use lianka_sync_core::{crdt::record::Edit, id::EntryId, kinds::Key};

use crate::{Draft, OutboxEntry, OutboxState};

/// A record's outbox without what is about these entries; `None` where nothing is. An entry that held other edits as well is written anew from them by
/// the rebase that the record's new generation brings; one that held nothing else is gone.
pub fn outbox(entries: &[OutboxEntry], persons: &BTreeSet<EntryId>) -> Option<Vec<OutboxEntry>> {
    let mut outbox = entries.to_vec();
    for entry in &mut outbox {
        let edits = entry.edits.len();
        entry.edits.retain(|edit| !is_about(edit, persons));
        if entry.edits.len() < edits && entry.state == OutboxState::Held {
            // What the office kept of it is gone.
            entry.state = OutboxState::Unsent;
        }
    }
    outbox.retain(|entry| !entry.edits.is_empty());
    (outbox != entries).then_some(outbox)
}

/// What becomes of a draft.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redacted {
    /// Nothing in it is about them.
    Kept,
    /// This is left.
    Rest(Box<Draft>),
    /// Nothing is left.
    Gone,
}

/// A draft without what is about these entries.
pub fn draft(draft: &Draft, persons: &BTreeSet<EntryId>) -> Redacted {
    let edits: Vec<_> = draft
        .edits
        .iter()
        .filter(|edit| !is_about(edit, persons))
        .cloned()
        .collect();
    if edits.len() == draft.edits.len() {
        Redacted::Kept
    } else if edits.is_empty() {
        Redacted::Gone
    } else {
        Redacted::Rest(Box::new(Draft {
            edits,
            ..draft.clone()
        }))
    }
}

/// Whether the edit is about one of the entries: writes to it, or names it.
pub(crate) fn is_about(edit: &Edit, entries: &BTreeSet<EntryId>) -> bool {
    let (key, value) = match edit {
        Edit::Put { key, value } => (key, value.as_str()),
        Edit::Delete { key } => (key, None),
        Edit::Note { .. } => return false,
    };
    let own = matches!(Key::parse(key), Some(Key::Entry { entry, .. }) if entries.contains(&entry));
    own || value
        .and_then(|value| value.parse().ok())
        .is_some_and(|entry| entries.contains(&entry))
}
