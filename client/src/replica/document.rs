//! Opening a record from what is stored of it.

use lianka_sync_core::{
    id::ChangeHash,
    record::{Record, RecordError},
};

use super::{OutboxState, RecordState, StoredRecord};

/// A record as the user sees it: the server's state with the phone's own changes on top.
pub struct Opened {
    /// The document.
    pub document: Record,
    /// Changes in the outbox that are not in the document, because it belongs to another generation or history than they do. Held ones are
    /// not counted: they wait for a reviewer, not for a rebase.
    pub lost: Vec<ChangeHash>,
}

/// Opens a record; `None` where the phone does not hold it.
pub fn open(state: &RecordState) -> Result<Option<Opened>, RecordError> {
    let Some(stored) = &state.stored else { return Ok(None) };
    let mut document = base(stored, true)?;
    let own = state.outbox.iter().filter(|entry| entry.generation == stored.generation);
    document.apply(own.map(|entry| entry.bytes.as_slice()))?;
    let pending = state.outbox.iter().filter(|entry| entry.state != OutboxState::Held);
    let lost = pending.filter(|entry| entry.generation != stored.generation || !document.contains(entry.hash)).map(|entry| entry.hash);
    let lost = lost.collect();
    Ok(Some(Opened { document, lost }))
}

/// The server's state of a record, without the phone's own changes; `unconfirmed`: with what the server lost and is to get again.
pub(super) fn base(stored: &StoredRecord, unconfirmed: bool) -> Result<Record, RecordError> {
    let mut document = Record::load(&stored.snapshot)?;
    let tail = stored.tail.iter().filter(|change| unconfirmed || change.seq.is_some());
    document.apply(tail.map(|change| change.bytes.as_slice()))?;
    Ok(document)
}
