//! What the store is to do: what every decision of the phone comes out as.

use lianka_sync_core::{
    codec::wire::Notice,
    id::{ChangeHash, EntryId, RecordId},
    kinds::Kind,
};

use crate::record::{Draft, NewestOwn, OutboxEntry, OutboxState, Reason, TailChange};

/// What the store is to do. All effects of one event stand in one transaction, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// A record begins here, with nothing the server knows.
    CreateRecord {
        /// Which.
        record: RecordId,
        /// Its kind.
        kind: Kind,
        /// The grid its creator chose.
        grid: String,
    },
    /// A record as the server sent it. Replaces snapshot and grid, clears `leaving` and `before_reset`, and drops the tail up to `seq`, or all
    /// of it where the generation is another. One that was not there, or was leaving, is beyond the cursor.
    PutSnapshot {
        /// Which.
        record: RecordId,
        /// Its kind.
        kind: Kind,
        /// The grid that owns it.
        grid: String,
        /// Its generation.
        generation: u32,
        /// What it reaches.
        seq: u64,
        /// The document.
        bytes: Vec<u8>,
    },
    /// Drops what is known of the record from the history that the server lost: snapshot, tail and `before_reset`.
    ForgetHistory {
        /// Which.
        record: RecordId,
    },
    /// Adds a change to the tail, or gives the one that is there its sequence. Nothing where the record is not held in that generation.
    AppendTail {
        /// Which.
        record: RecordId,
        /// Its generation.
        generation: u32,
        /// The change.
        change: TailChange,
    },
    /// Drops the tail's changes without a sequence.
    ForgetUnconfirmed {
        /// Which.
        record: RecordId,
    },
    /// Drops the record with its tail; the outbox and drafts stay.
    RemoveRecord {
        /// Which.
        record: RecordId,
    },
    /// The record left the user's grids.
    MarkLeaving {
        /// Which.
        record: RecordId,
    },
    /// A synchronisation from the start has to follow, also where this one breaks off.
    StartOver,
    /// The record is in the user's grids after all, and beyond the cursor.
    Stay {
        /// Which.
        record: RecordId,
    },
    /// Appends to the outbox.
    Enqueue(Box<OutboxEntry>),
    /// The server has the change: from the outbox to the tail. A record of which it had nothing before is beyond the cursor.
    Acknowledge {
        /// Which record.
        record: RecordId,
        /// Its generation when the change was made.
        generation: u32,
        /// The change.
        change: TailChange,
    },
    /// What the server said about an entry. Nothing where the entry is gone.
    Mark {
        /// Which record.
        record: RecordId,
        /// Which change.
        hash: ChangeHash,
        /// The entry's new state.
        state: OutboxState,
        /// Why.
        reason: Reason,
        /// Whether to count a try.
        again: bool,
    },
    /// These are the record's outbox entries now, at the end of the outbox.
    ReplaceOutbox {
        /// Which record.
        record: RecordId,
        /// In their order.
        entries: Vec<OutboxEntry>,
    },
    /// Keeps a draft.
    PutDraft(Box<Draft>),
    /// Drops a draft.
    RemoveDraft {
        /// As the store numbers them.
        id: i64,
    },
    /// Keeps what the office has to say; a notice that is there already stays as it is.
    PutNotice(Box<Notice>),
    /// Drops the record, its outbox entries and its drafts: the office erased it.
    Erase {
        /// Which.
        record: RecordId,
    },
    /// Drops every edit and draft of these entries: the office erased the person. What else an outbox entry was made of is written anew.
    Redact {
        /// Which record.
        record: RecordId,
        /// The person's entry, and those that named it.
        entries: Vec<EntryId>,
    },
    /// The epoch of every change written from now on.
    SetEpoch(u32),
    /// The newest change of the phone's own that the office acknowledged; `None`: not known any more.
    SetNewestOwn(Option<NewestOwn>),
    /// Where the next request goes on from. With a cursor, no record is beyond it.
    SetCursor(Option<String>),
    /// The record came beyond the cursor and did not come again up to this one.
    StayBeyond {
        /// Which.
        record: RecordId,
    },
    /// The server's history is another one: no cursor, and every record that has a history is `before_reset`.
    BeginReset,
    /// A download from the start begins on a phone that holds records: until it comes again, each of them that has a history is `before_reset`.
    BeginAnew,
    /// Everything goes, for good.
    Wipe,
}

impl Effect {
    /// The record that the list must look at again.
    pub fn record_listed(&self) -> Option<RecordId> {
        match self {
            Self::PutSnapshot { record, .. }
            | Self::ForgetHistory { record }
            | Self::AppendTail { record, .. }
            | Self::Acknowledge { record, .. }
            | Self::ForgetUnconfirmed { record }
            | Self::RemoveRecord { record }
            | Self::ReplaceOutbox { record, .. }
            | Self::Erase { record }
            | Self::Redact { record, .. } => Some(*record),
            Self::Enqueue(entry) => Some(entry.record),
            _ => None,
        }
    }

    /// Whether it takes from the phone what may not stay anywhere in its store: what is erased, a person, a record of another's grid.
    pub fn takes_away(&self) -> bool {
        matches!(
            self,
            Self::Erase { .. } | Self::Redact { .. } | Self::RemoveRecord { .. }
        )
    }
}
