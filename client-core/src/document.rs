//! Opening a record from what is stored of it.

use lianka_sync_core::{
    codec::change,
    crdt::record::{Record, RecordError},
    id::ChangeHash,
};

use crate::record::{OutboxState, RecordState, StoredRecord};

/// A record as the user sees it: the server's state with the phone's own changes on top.
pub struct Opened {
    /// The document.
    pub document: Record,
    /// Changes in the outbox that are not in the document, because it belongs to another generation or history than they do. Held ones are
    /// not counted: they wait for a reviewer, not for a rebase.
    pub lost: Vec<ChangeHash>,
    /// A copy of a phone used a number twice, and the server took the other change: what builds on the one here waits for nothing.
    pub forked: bool,
}

/// Opens a record; `None` where the phone does not hold it.
pub fn open(state: &RecordState) -> Result<Option<Opened>, RecordError> {
    let Some(stored) = &state.stored else {
        return Ok(None);
    };
    let (mut document, tail_free) = confirmed_and_not(stored)?;
    let own = state
        .outbox
        .iter()
        .filter(|entry| entry.generation == stored.generation);
    let own_free = document.apply_unconfirmed(own.map(|entry| entry.bytes.as_slice()))?;
    let pending = state
        .outbox
        .iter()
        .filter(|entry| entry.state != OutboxState::Held);
    let lost = pending
        .filter(|entry| entry.generation != stored.generation || !document.contains(entry.hash))
        .map(|entry| entry.hash);
    let lost = lost.collect();
    Ok(Some(Opened {
        document,
        lost,
        forked: !(tail_free && own_free),
    }))
}

/// A change of the server's copy, as it is sent; `None` where it is not in there.
pub fn change(stored: &StoredRecord, hash: ChangeHash) -> Option<Vec<u8>> {
    if let Some(change) = stored.tail.iter().find(|change| change.hash == hash) {
        return Some(change.bytes.clone());
    }
    let changes = Record::load(&stored.snapshot).ok()?.changes();
    changes
        .into_iter()
        .find(|bytes| change::decode(bytes).is_ok_and(|change| change.hash == hash))
}

/// The changes of a snapshot that it names without being loaded, its heads among them; `all`: every one.
pub fn named(snapshot: &[u8], all: bool) -> Vec<ChangeHash> {
    if all {
        let changes = Record::load(snapshot).map(|mut record| record.hashes());
        return changes.unwrap_or_default();
    }
    change::named(snapshot)
}

/// The server's state of a record, without the phone's own changes.
pub(crate) fn confirmed(stored: &StoredRecord) -> Result<Record, RecordError> {
    let mut document = Record::load(&stored.snapshot)?;
    document.apply(
        stored
            .tail
            .iter()
            .filter(|change| change.seq.is_some())
            .map(|change| change.bytes.as_slice()),
    )?;
    Ok(document)
}

/// The same, with what the server lost and is to get again; whether that has its numbers still.
pub(crate) fn confirmed_and_not(stored: &StoredRecord) -> Result<(Record, bool), RecordError> {
    let mut document = confirmed(stored)?;
    let free = document.apply_unconfirmed(
        stored
            .tail
            .iter()
            .filter(|change| change.seq.is_none())
            .map(|change| change.bytes.as_slice()),
    )?;
    Ok((document, free))
}
