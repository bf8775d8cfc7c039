//! Taking back an edit that the office has not answered for: one more edit, which writes what stood there before.
//!
//! The change itself stays in the outbox: it may be on its way already, and a number that a device has used is never used again.

use lianka_sync_core::{
    crdt::{record::Edit, view::View},
    id::ChangeHash,
    kinds::{Kind, key},
};

use super::{EditError, Edited, edit};
use crate::{Author, Moment, RecordState, document};

/// What a record said before an own change that is still in the outbox; `None` where there is no such change, or the phone does not hold the record.
pub fn said_before(state: &RecordState, hash: ChangeHash) -> Result<Option<View>, EditError> {
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

/// Writes what stood before an own change, where nothing newer stands there by now.
pub fn undo(
    author: &Author<'_>,
    state: &RecordState,
    hash: ChangeHash,
    moment: &Moment,
) -> Result<Edited, EditError> {
    let entry = state.outbox.iter().find(|entry| entry.hash == hash);
    let (Some(entry), Some(before)) = (entry, said_before(state, hash)?) else {
        return Err(EditError::NoSuchRecord);
    };
    let now = document::open(state)?
        .ok_or(EditError::NoSuchRecord)?
        .document
        .view()?;
    if Kind::of(&before).is_none() {
        // It made the record.
        return Err(EditError::NoWayBack);
    }
    let mut edits = Vec::new();
    for made in &entry.edits {
        edits.extend(back(made, &before, &now)?);
    }
    edit(author, state, &edits, moment)
}

/// The edit that takes one back; `None` where something newer stands there.
fn back(made: &Edit, before: &View, now: &View) -> Result<Option<Edit>, EditError> {
    let (key, value) = match made {
        Edit::Put { key, value } => (key, Some(value)),
        Edit::Delete { key } => (key, None),
        Edit::Note { text } => {
            let old = before.note.clone().unwrap_or_default();
            return Ok((now.note.as_ref() == Some(text)).then_some(Edit::Note { text: old }));
        }
    };
    if key == key::GRID {
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
