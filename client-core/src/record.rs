//! What a phone keeps of a record: what the office told, its own changes on their way, and the drafts of what could not be kept.

use lianka_sync_core::{
    codec::change::Change,
    crdt::record::Edit,
    id::{ChangeHash, RecordId},
    kinds::Kind,
    time::DeviceTime,
};
use serde::{Deserialize, Serialize};

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

/// Which change of its own a phone saw acknowledged last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewestOwn {
    /// The record.
    pub record: RecordId,
    /// The change.
    pub hash: ChangeHash,
    /// Its number.
    pub seq: u64,
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
        change: &Change,
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

/// A draft as the store keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KeptDraft {
    /// What `drafts drop` and `drafts retry` name it by.
    pub id: i64,
    /// What people call the record.
    pub title: Option<String>,
    /// The draft.
    #[serde(flatten)]
    pub draft: Draft,
}
