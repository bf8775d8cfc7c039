//! Taking back an edit that the office has not answered for: one more edit, which writes what stood there before.
//!
//! The change itself stays in the outbox: it may be on its way already, and a number that a device has used is never used again.

use lianka_sync_core::{
    crdt::{record::Edit, view::View},
    id::ChangeHash,
    kinds::{Kind, MergeRule, key},
};

use super::{EditError, Edited, edit};
use crate::{Author, Moment, OutboxEntry, OutboxState, RecordState, document};

/// What a record said before an own change that is still in the outbox; `None` where there is no such change, or the phone does not hold the record.
fn said_before(state: &RecordState, hash: ChangeHash) -> Result<Option<View>, EditError> {
    let Some(at) = state.outbox.iter().position(|entry| entry.hash == hash) else {
        return Ok(None);
    };
    let before = RecordState {
        outbox: state.outbox[..at].to_vec(),
        ..state.clone()
    };
    document::open(&before)?
        .map(|mut opened| Ok(opened.document.view()?))
        .transpose()
}

/// An own change that is still in the outbox, looked at backwards.
#[derive(Debug)]
pub struct Retraced {
    /// What the record said before it.
    pub before: View,
    /// The edits that write that again where nothing newer stands; an error where there is no way back at all.
    pub way_back: Result<Vec<Edit>, EditError>,
}

impl Retraced {
    /// Whether [`undo`] would change anything: what a screen offers the button by.
    pub fn is_undoable(&self) -> bool {
        self.way_back.as_ref().is_ok_and(|edits| !edits.is_empty())
    }
}

/// Looks at an own change backwards; `None` where it is not in the outbox any more, or the phone does not hold the record.
pub fn retrace(state: &RecordState, hash: ChangeHash) -> Result<Option<Retraced>, EditError> {
    let entry = state.outbox.iter().find(|entry| entry.hash == hash);
    let (Some(entry), Some(before)) = (entry, said_before(state, hash)?) else {
        return Ok(None);
    };
    let way_back = way_back(state, entry, &before);
    Ok(Some(Retraced { before, way_back }))
}

/// Writes what stood before an own change, where nothing newer stands there by now.
pub fn undo(
    author: &Author<'_>,
    state: &RecordState,
    hash: ChangeHash,
    moment: &Moment,
) -> Result<Edited, EditError> {
    let retraced = retrace(state, hash)?.ok_or(EditError::NoSuchRecord)?;
    edit(author, state, &retraced.way_back?, moment)
}

fn way_back(
    state: &RecordState,
    entry: &OutboxEntry,
    before: &View,
) -> Result<Vec<Edit>, EditError> {
    if state.stored.as_ref().is_none_or(|stored| stored.leaving) {
        return Err(EditError::Leaving);
    }
    // It made the record, or it lies before a reviewer already.
    if Kind::of(before).is_none() || entry.state == OutboxState::Held {
        return Err(EditError::NoWayBack);
    }
    let now = document::open(state)?
        .ok_or(EditError::NoSuchRecord)?
        .document
        .view()?;
    let back = entry
        .edits
        .iter()
        .map(|made| back(entry.kind, made, before, &now));
    back.filter_map(Result::transpose).collect()
}

/// The edit that takes one back; `None` where something newer stands there.
fn back(kind: Kind, made: &Edit, before: &View, now: &View) -> Result<Option<Edit>, EditError> {
    let (key, value) = match made {
        Edit::Put { key, value } => (key, Some(value)),
        Edit::Delete { key } => (key, None),
        Edit::Note { text } => {
            let old = before.note.clone().unwrap_or_default();
            return Ok((now.note.as_ref() == Some(text)).then_some(Edit::Note { text: old }));
        }
    };
    // Whose record it is, and what is kept as it was once written: events, visits.
    let is_log = kind
        .field(key)
        .is_some_and(|(field, _)| field.merge == MergeRule::Log);
    if key == key::GRID || is_log {
        return Err(EditError::NoWayBack);
    }
    if now.get(key) != value {
        return Ok(None);
    }
    match before.values.get(key).map(Vec::as_slice) {
        None | Some([]) => Ok(Some(Edit::Delete { key: key.clone() })),
        Some([old]) => Ok(Some(Edit::Put {
            key: key.clone(),
            value: old.value.clone(),
        })),
        // A choice among several values: one edit cannot write all of them again.
        Some(_) => Err(EditError::NoWayBack),
    }
}
