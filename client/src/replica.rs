//! The replica, sans IO: one enrolled device in one street. Events in, effects out.
//!
//! In: what is stored of the record concerned, who the user is, and the event: an edit ([`edit`], [`create`], [`retry`]) or an item of the
//! server's answer ([`Synchronisation`]). Out: [`Effect`]s, which the store carries out in **one** transaction. No clock, no randomness and
//! no file is touched here: [`Moment`] brings time and entropy.
//!
//! Invariants:
//! - an edit is saved ⇔ its change is in the outbox ⇔ the phone's own copy of the record contains it;
//! - the copy of a record is: snapshot, then the tail of changes after it, then the phone's own changes still in the outbox. The tail
//!   keeps the phone's own accepted changes too, because the server does not send them back;
//! - an outbox entry goes away only by an answer: accepted, or turned into other entries or a [`Draft`] by a rebase;
//! - an epoch is stored before, or together with, the first change written under it.

use lianka_sync_core::{
    access::Role,
    codec::wire::Notice,
    crdt::record::Edit,
    id::{Actor, ChangeHash, DeviceId, EntryId, RecordId, StreetCode},
    kinds::Kind,
    lang::Lang,
    time::DeviceTime,
};
use serde::{Deserialize, Serialize};

mod document;
mod editing;
mod exchange;
mod heal;
mod note;
mod rebase;
mod rules;
mod transfer;

pub use document::{Opened, open};
pub use editing::{EditError, Edited, create, edit, retry};
pub use exchange::{Known, ProtocolError, Request, Standing, Synchronisation, Tally};
#[cfg(feature = "native")]
pub(crate) use rebase::is_about;
pub use rules::consent_given;
pub use transfer::{Filing, event_edits, foreseen, refusal};

/// A grid the user works.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grid {
    /// Its code: what a record's `grid` field holds.
    pub grid: String,
    /// What people call it.
    pub name: String,
    /// The area it belongs to.
    pub area: String,
}

/// Who this phone is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// This enrolment.
    pub device: DeviceId,
    /// The account.
    pub username: String,
    /// The person.
    pub display_name: String,
    /// What the account may do.
    pub role: Role,
    /// The street this phone works in.
    pub street: StreetCode,
    /// Its name.
    pub street_name: String,
    /// The user's grids there, as last told.
    pub grids: Vec<Grid>,
    /// What this phone was enrolled as before: a server put back from a backup may have lost what was written under those names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_devices: Vec<DeviceId>,
}

/// Who writes: the identity, and the epoch that the phone's changes are signed with now.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// The phone's epoch.
    pub epoch: u32,
}

impl Author<'_> {
    /// The actor that signs a change.
    pub fn actor(&self) -> Actor {
        Actor::new(self.identity.device, self.epoch)
    }

    /// Whether this phone wrote it, under its present name or a former one.
    pub(crate) fn wrote(&self, change: &lianka_sync_core::codec::change::Change) -> bool {
        let device = change.actor.device();
        device == self.identity.device || self.identity.former_devices.contains(&device)
    }
}

/// What an event brings along from the world.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The phone's clock.
    pub now: DeviceTime,
    /// Fresh for every event.
    pub entropy: [u8; 16],
    /// Language of messages that are kept.
    pub lang: Lang,
}

/// What is stored of a record, its outbox entries included, in their order.
#[derive(Clone, Debug)]
pub struct RecordState {
    /// Which.
    pub record: RecordId,
    /// `None`: the phone does not hold it.
    pub stored: Option<StoredRecord>,
    /// The phone's own changes that the server has not accepted.
    pub outbox: Vec<OutboxEntry>,
}

/// A record as the server knows it, as far as it told us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRecord {
    /// Its kind.
    pub kind: Kind,
    /// The grid that owned it when it was last sent whole.
    pub grid: String,
    /// Its generation, from 1.
    pub generation: u32,
    /// Sequence the snapshot reaches; 0 for a record that was never sent whole.
    pub seq: u64,
    /// As sent; empty for a record created here.
    pub snapshot: Vec<u8>,
    /// Changes after the snapshot.
    pub tail: Vec<TailChange>,
    /// Left the user's grids: goes when its outbox entries were answered.
    pub leaving: bool,
    /// Not sent again yet since the server started another history.
    pub before_reset: bool,
}

/// A change after the snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TailChange {
    /// Its identity.
    pub hash: ChangeHash,
    /// Its log entry. `None`: the server has lost it, and a change of ours that is being sent again depends on it.
    pub seq: Option<u64>,
    /// The change chunk.
    pub bytes: Vec<u8>,
}

/// What the server last said about an outbox entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxState {
    /// Nothing, or that sending again may help.
    Unsent,
    /// A reviewer decides.
    Held,
    /// Refused; it becomes another change or a draft as soon as the answer is complete.
    Refused,
}

impl OutboxState {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Held => "held",
            Self::Refused => "refused",
        }
    }
}

/// Why something was not accepted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reason {
    /// Stable code (docs/protocol.md).
    pub code: String,
    /// The key it is about, where there is one.
    pub field: Option<String>,
    /// For a person.
    pub message: Option<String>,
}

/// One change of the phone's own on its way, and the edits it was made from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OutboxEntry {
    /// The record.
    pub record: RecordId,
    /// Its kind.
    pub kind: Kind,
    /// Its generation when the change was made.
    pub generation: u32,
    /// The change.
    pub hash: ChangeHash,
    /// Encoded, as it is sent.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// What the user did: a rebase applies these again.
    pub edits: Vec<Edit>,
    /// When, by the phone's clock.
    pub made_at: DeviceTime,
    /// What the server last said.
    pub state: OutboxState,
    /// Why, where held, refused or to be sent again.
    pub reason: Option<Reason>,
    /// How often the server asked to send it again.
    pub tries: u32,
    /// How often it was written anew because it was refused itself.
    pub rebases: u32,
}

impl OutboxEntry {
    /// A fresh entry.
    pub fn new(
        record: RecordId,
        kind: Kind,
        generation: u32,
        change: &lianka_sync_core::codec::change::Change,
        edits: Vec<Edit>,
        made_at: DeviceTime,
    ) -> Self {
        Self {
            record,
            kind,
            generation,
            hash: change.hash,
            bytes: change.bytes.clone(),
            edits,
            made_at,
            state: OutboxState::Unsent,
            reason: None,
            tries: 0,
            rebases: 0,
        }
    }
}

/// Edits that could not become part of the record: shown to the user, who corrects, retries or drops them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Draft {
    /// The record they were meant for.
    pub record: RecordId,
    /// Its kind.
    pub kind: Kind,
    /// Whether they were to create it.
    pub creating: bool,
    /// What the user did.
    pub edits: Vec<Edit>,
    /// When.
    pub made_at: DeviceTime,
    /// Why not.
    pub reason: Reason,
}

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
