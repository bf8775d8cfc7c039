//! Acts of the office: who acts and what is wanted in, a result or a typed refusal out.
//!
//! An act says what it must know of the street, is given it, and decides once. A refusal leaves nothing to write.

pub mod clock;
pub mod compact;
pub mod edit;
pub mod erase;
pub mod held;
pub mod import;
pub mod join_contacts;
pub mod merge_cards;
pub mod relocate;
pub mod resolve;
pub mod step;

use lianka_sync_core::{
    access::Role,
    crdt::merge::{Refusal, RegisterState},
    id::{ChangeHash, DeviceId, RecordId},
};
use uuid::Uuid;

use crate::{
    audit::{Action, Event},
    store::Wants,
    street::{ForgetError, Signer, Street},
};

/// One decision over a street.
pub trait Act {
    /// What it comes to.
    type Done;
    /// Why nothing is done.
    type Refused;

    /// What must be known before it can be decided, given what is known. What is known already may be among it.
    fn wants(&self, street: &Street) -> Wants;

    /// Decides, once everything wanted is known. After a refusal nothing of the street may be written.
    fn decide(self, street: &mut Street) -> Result<Self::Done, Self::Refused>;
}

/// Who acts: an account at a desk.
#[derive(Clone, Debug)]
pub struct Desk {
    pub username: String,
    pub device: DeviceId,
    pub role: Role,
}

impl Desk {
    /// In whose name it writes.
    pub fn signer(&self) -> Signer {
        Signer::desk(self.device, self.role)
    }

    /// What the audit trail says of an act.
    pub fn event(&self, action: Action) -> Event {
        Event::by(&self.username, self.device, action)
    }
}

/// Why an act was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("what it is about is not there")]
    NotFound,
    #[error("the record cannot be read just now")]
    Unavailable,
    #[error("the record's heads are others than expected")]
    StaleHeads(Vec<ChangeHash>),
    #[error("something else is there under that id")]
    AlreadyExists,
    #[error("the values in conflict are others, or none")]
    ConflictChanged,
    #[error("it was undone before")]
    AlreadyUndone,
    #[error("it was edited since")]
    EditedSince,
    #[error("one of the cards was merged away")]
    AlreadyMerged,
    #[error("the merge was undone before")]
    MergeUndone,
    #[error("the card that went on was merged away itself")]
    MergeNotLast,
    #[error("the held change was decided before")]
    Decided,
    #[error("held changes that it builds on must be accepted first")]
    Needs(Vec<Uuid>),
    #[error("there is no such grid")]
    NoGrid,
    #[error("there is no such grid to move from")]
    NoFromGrid,
    /// By the name of what chose the records.
    #[error("{0} chooses none, or too many")]
    HowMany(&'static str),
    /// One of those named.
    #[error("there is no record {0}")]
    NoRecord(RecordId),
    #[error("the record has no such contact person")]
    NoEntry,
    #[error("there is no such field")]
    NoField,
    #[error("{0} is not the caller's to write")]
    ReservedKey(&'static str),
    #[error("the note is a text")]
    NoteIsText,
    #[error("a card is not merged with itself")]
    SameCard,
    /// A rule of the record refuses what is to be written.
    #[error("{0:?}")]
    Rule(Refusal),
    /// A card that is full, or cannot be read just now.
    #[error("{0:?}")]
    CardRefuses(Refusal),
    /// The held change cannot be merged as it is.
    #[error("{0:?}")]
    HeldRefused(Refusal),
    #[error(transparent)]
    Forget(#[from] ForgetError),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Rule(refusal)
    }
}

/// The record that an act is about.
fn about(street: &Street, record: RecordId) -> Result<&RegisterState, Refused> {
    if !street.is_readable(record) {
        return Err(Refused::Unavailable);
    }
    street.state(record).ok_or(Refused::NotFound)
}

/// Only records.
fn records(records: impl IntoIterator<Item = RecordId>) -> Wants {
    Wants {
        records: records.into_iter().collect(),
        ..Wants::default()
    }
}
