//! The port: what a decision may read of a street, and all that it writes, in one transaction.
//!
//! An adapter does two things: it answers [`Wants`] with [`Loaded`], and carries out [`Writes`]. Whoever adds a kind of question adds a line
//! to the table below, and the adapters do not compile until they answer it.

use std::collections::{BTreeMap, BTreeSet};

pub use lianka_sync_core::kinds::projection::Touched;

use lianka_sync_core::{
    access::Role,
    codec::change::Scalar,
    crdt::merge::RegisterState,
    id::{ChangeHash, DeviceId, EntryId, RecordId, StreetCode},
    kinds::{
        Kind,
        duplicate::{carry::SamePersons, persons::Same},
        transfer::{calendar::Calendar, member::Member},
    },
    time::{DeviceTime, ServerTime},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::Event;

macro_rules! questions {
    ($($(#[$doc:meta])* $name:ident: $key:ty => $answer:ty;)*) => {
        /// What must be known of a street.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct Wants {
            $($(#[$doc])* pub $name: BTreeSet<$key>,)*
        }

        /// What a store says to [`Wants`]. What is not there has no answer.
        #[derive(Debug, Default)]
        pub struct Loaded {
            $($(#[$doc])* pub $name: BTreeMap<$key, $answer>,)*
        }

        impl Wants {
            /// Whether nothing is asked.
            pub fn is_empty(&self) -> bool {
                $(self.$name.is_empty())&&*
            }

            /// Asks for more.
            pub fn extend(&mut self, more: Self) {
                $(self.$name.extend(more.$name);)*
            }

            /// Without what was asked before.
            #[must_use]
            pub fn without(mut self, asked: &Self) -> Self {
                $(self.$name.retain(|key| !asked.$name.contains(key));)*
                self
            }
        }

        impl Loaded {
            /// Knows more.
            pub fn extend(&mut self, more: Self) {
                $(self.$name.extend(more.$name);)*
            }
        }
    };
}

questions! {
    /// Records as they stand.
    records: RecordId => Stored;
    /// Whole documents: saved up to some entry, then the changes after it, one chunk after another.
    documents: RecordId => Vec<u8>;
    /// Where the changes of a record stand in the log, in its order.
    histories: RecordId => Vec<Place>;
    /// The grids that users work, and ever worked.
    assignments: String => Grids;
    /// The role of an account now, and those it had before, the newest first.
    roles: String => Vec<Role>;
    /// Where a change stands, or stood, in the log.
    sequences: (RecordId, ChangeHash) => i64;
    /// Whether an earlier generation of the record had the change.
    earlier: (RecordId, ChangeHash) => ();
    /// What became of a change that was held.
    held: (RecordId, ChangeHash) => KnownHeld;
    /// How many changes of a device wait for a reviewer.
    waiting: DeviceId => i64;
    /// The changes of a record that wait for a reviewer, and why.
    reasons: RecordId => Vec<(ChangeHash, String)>;
    /// The grids that a record was moved out of.
    left_grids: RecordId => Vec<String>;
    /// Who works a device. The server's own has no answer.
    people: DeviceId => Person;
    /// Whether an import had made a record that is not there any more, and was taken back.
    unmade: RecordId => ();
    /// The merge by which a card went away, and that was not undone.
    merged_away: RecordId => CardMerge;
    /// Open requests in which a letter of this number, as [`lianka_sync_core::kinds::transfer::letter_key`] compares it, is live.
    letters: String => Vec<RecordId>;
    /// The street's open requests.
    requests: () => Vec<OpenRequest>;
    /// Pairs of requests that an officer found to be of different people.
    different: () => Vec<(RecordId, RecordId)>;
    /// Which days the street's terms count as working days.
    calendars: () => Calendar;
    /// Values of the record that undone resolutions put back.
    restored: RecordId => Vec<Restored>;
    /// How many rows the store holds of a record, by table: what an erasure will delete.
    holdings: RecordId => Vec<(&'static str, u64)>;
    /// How many rows beside a record are about some of its entries, by table: what a redaction will delete.
    mentions: (RecordId, Vec<EntryId>) => Vec<(&'static str, u64)>;
    /// What was forgotten of a record, the newest first.
    receipts: RecordId => Vec<Receipt>;
    /// Other records that hold a copy of the entry.
    copies: (RecordId, EntryId) => Vec<RecordId>;
    /// Records that stand for the same shop, by a merge that was not undone.
    merged_with: RecordId => Vec<RecordId>;
    /// Records that belong to it, and those that were merged into it by a merge that was not undone.
    children: RecordId => Vec<RecordId>;
    /// Held changes.
    held_changes: Uuid => HeldChange;
    /// Every held change of a record whose bytes are still there, in the order in which they came.
    held_of: RecordId => Vec<HeldChange>;
    /// Merges of cards.
    merges: Uuid => CardMerge;
    /// Every merge that a card won or lost, undone ones included.
    merges_of: RecordId => Vec<CardMerge>;
    /// Joinings of contact persons.
    joins: Uuid => ContactJoin;
    /// Every joining of contact persons of a record.
    joins_of: RecordId => Vec<ContactJoin>;
    /// Settled conflicts.
    resolutions: Uuid => Resolution;
}

/// A street at the moment its lock was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub street: StreetCode,
    /// Which history the store holds: another one after a restore.
    pub store_epoch: Uuid,
    pub seq: i64,
    pub grids: BTreeSet<String>,
}

/// A record in the store.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are records, and are moved once"
)]
#[derive(Debug)]
pub enum Stored {
    Record(StoredRecord),
    /// Its stored state does not parse.
    Unreadable,
    /// The office erased it: nothing brings it back.
    Erased,
}

/// A record as it stands.
#[derive(Debug)]
pub struct StoredRecord {
    pub grid: String,
    /// Its newest entry of the log.
    pub seq: i64,
    /// The entry that brought it into its grid.
    pub grid_seq: i64,
    pub state: RegisterState,
}

/// Where a change stands, or stood, in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub hash: ChangeHash,
    pub seq: i64,
    /// Written by the server in a desk's name.
    pub composed: bool,
    /// Its entry was trimmed; the record's document holds it.
    pub trimmed: bool,
}

/// The grids of a user.
#[derive(Clone, Debug, Default)]
pub struct Grids {
    pub now: BTreeSet<String>,
    pub ever: BTreeSet<String>,
}

/// What a reviewer made of a held change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeldStatus {
    Held,
    Accepted,
    Refused,
}

/// A change that was held before.
#[derive(Clone, Debug)]
pub struct KnownHeld {
    pub held: Uuid,
    pub status: HeldStatus,
    /// The reviewer's reason or remark.
    pub note: Option<String>,
    pub seq: Option<i64>,
}

/// A change that waits for a reviewer, or waited.
#[derive(Clone, Debug)]
pub struct HeldChange {
    pub held: Uuid,
    pub record: RecordId,
    pub kind: Kind,
    pub generation: u32,
    /// None once it was accepted: they are in the log.
    pub bytes: Vec<u8>,
    pub username: String,
    /// Stable word: why it is held.
    pub reason: String,
    pub status: HeldStatus,
}

/// What settled a conflict, as remembered.
#[derive(Clone, Debug)]
pub struct Resolution {
    pub resolution: Uuid,
    pub record: RecordId,
    pub field: String,
    pub generation: u32,
    pub op: String,
    pub chosen: Option<Scalar>,
    pub replaced: Vec<ReplacedValue>,
    pub username: Option<String>,
    pub at: ServerTime,
    pub is_undone: bool,
}

/// That two cards are two shops, or two entries of one card two people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dismissal {
    /// Of `duplicate::pair_id`, or `duplicate::persons::pair_id`.
    pub pair: Uuid,
    /// Ascending; twice the same for entries of one card.
    pub records: (RecordId, RecordId),
    /// What they shared when somebody looked.
    pub reasons: Vec<String>,
    pub note: String,
    pub username: String,
}

/// That something was forgotten: it proves so, and holds no personal data.
#[derive(Clone, PartialEq, Debug)]
pub struct Receipt {
    pub erasure: Uuid,
    pub seq: i64,
    /// `erase` or `redact`.
    pub kind: &'static str,
    pub record: RecordId,
    pub entry: Option<EntryId>,
    pub entries: Vec<EntryId>,
    pub note: bool,
    pub reason: String,
    /// Empty where the server's clock erased.
    pub username: String,
    pub at: ServerTime,
    pub generation_before: u32,
    pub generation_after: Option<u32>,
    /// Deleted rows by table, and what else was dropped.
    pub what: serde_json::Value,
    pub hash: Vec<u8>,
}

/// Who works a device, for people.
#[derive(Clone, Debug)]
pub struct Person {
    pub device_name: String,
    pub username: String,
    pub display_name: String,
    pub role: String,
}

/// A merge of two cards.
#[derive(Clone, Debug)]
pub struct CardMerge {
    pub merge: Uuid,
    pub winner: RecordId,
    pub loser: RecordId,
    pub reasons: Vec<String>,
    pub note: String,
    pub username: String,
    pub device: DeviceId,
    /// The first of the epochs under which it wrote.
    pub epoch: u32,
    pub same_persons: SamePersons,
    pub merged_at: ServerTime,
    pub undone: Option<Undone>,
}

/// Two entries of a card that became one.
#[derive(Clone, Debug)]
pub struct ContactJoin {
    pub join: Uuid,
    pub record: RecordId,
    pub same: Same,
    pub reasons: Vec<String>,
    pub note: String,
    pub username: String,
    pub device: DeviceId,
    /// The first of the epochs under which it wrote.
    pub epoch: u32,
    pub joined_at: ServerTime,
    pub undone: Option<Undone>,
}

/// Who undid something.
#[derive(Clone, Debug)]
pub struct Undone {
    pub by: String,
    pub note: String,
    pub at: ServerTime,
}

/// An open request and whom it is of.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    pub record: RecordId,
    pub submitted_at: ServerTime,
    pub member: Member,
}

/// Values of fields by name, the chosen one last.
pub type PersonalFields = BTreeMap<String, Vec<String>>;

/// A value that an undone resolution put back, with its first author.
#[derive(Clone, Debug)]
pub struct Restored {
    pub field: String,
    pub value: ReplacedValue,
}

/// A value that was settled away, with its author.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReplacedValue {
    /// The operation that wrote it, `counter@actor`.
    pub op: String,
    pub value: Scalar,
    pub username: Option<String>,
    pub display_name: Option<String>,
    pub device: Uuid,
    pub device_name: Option<String>,
    /// The device's clock: shown, never trusted.
    pub device_time: Option<DeviceTime>,
    /// The server's clock.
    pub received_at: ServerTime,
    /// After an undo: the operation that put it back, in the desk's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_as: Option<String>,
}

/// Everything that one transaction writes. Without log, sequence and events there is nothing to do.
#[derive(Debug, Default)]
pub struct Writes {
    /// Records that end: nothing of them stays but that they were erased.
    pub erased: Vec<RecordId>,
    /// Records that go with the import that made them: nothing of them stays either, but whoever still edits one is told so and keeps the edit.
    pub unmade: Vec<RecordId>,
    /// Histories rewritten in place, in this order, before anything is appended.
    pub rewritten: Vec<Rewrite>,
    /// Records with their states, new or not, by sequence.
    pub records: Vec<RecordWrite>,
    pub log: Vec<LogWrite>,
    pub held: Vec<HeldWrite>,
    /// What became of held changes.
    pub decided: Vec<HeldDecision>,
    pub resolutions: Vec<ResolutionWrite>,
    pub notices: Vec<NoticeWrite>,
    /// Resolutions that were undone.
    pub undone: Vec<UndoneResolution>,
    pub seals: Vec<Seal>,
    /// Keys of which nothing stays beside their record: values not chosen in a conflict, and notices of them.
    pub withdrawn: Vec<(RecordId, String)>,
    pub merges: Vec<CardMerge>,
    pub merges_undone: Vec<(Uuid, Undone)>,
    pub dismissals: Vec<Dismissal>,
    pub joins: Vec<ContactJoin>,
    pub joins_undone: Vec<(Uuid, Undone)>,
    /// Persons of whom nothing stays beside their record.
    pub redacted: Vec<Beside>,
    pub receipts: Vec<Receipt>,
    /// The street's head, where it rises.
    pub head: Option<i64>,
    /// For the audit trail, in order.
    pub events: Vec<Event>,
    /// For the server's log: what could not be done, and harms nothing else.
    pub reports: Vec<Report>,
}

/// What an operator should hear of a record.
#[derive(Clone, Debug)]
pub struct Report {
    pub record: RecordId,
    pub what: &'static str,
    /// The code of a refusal, or an error.
    pub because: String,
}

/// A record as it is written.
#[derive(Debug)]
pub struct RecordWrite {
    pub record: RecordId,
    pub grid: String,
    pub seq: i64,
    pub grid_seq: i64,
    pub state: RegisterState,
    /// Which of its rows may differ from what is stored.
    pub touched: Touched,
    /// The whole document up to a sequence, where the write rebuilt it.
    pub document: Option<(i64, Vec<u8>)>,
    /// The generations that the write ended.
    pub ended: Vec<EndedGeneration>,
}

/// A generation that was replaced, and the changes that it had accepted.
#[derive(Debug)]
pub struct EndedGeneration {
    pub generation: u32,
    pub hashes: Vec<ChangeHash>,
}

/// A record's stored history, rewritten for its next generation: what is not among `changes` is dropped.
#[derive(Debug)]
pub struct Rewrite {
    pub record: RecordId,
    pub generation: u32,
    pub changes: Vec<Rewritten>,
    /// The places of its trimmed changes as they are now; `None` where it has none.
    pub trimmed: Option<Vec<Place>>,
}

/// A logged change that was rebuilt: it keeps its place.
#[derive(Debug)]
pub struct Rewritten {
    pub before: ChangeHash,
    pub hash: ChangeHash,
    pub bytes: Vec<u8>,
}

/// A log entry to be.
#[derive(Debug)]
pub struct LogWrite {
    pub seq: i64,
    pub record: RecordId,
    pub generation: u32,
    pub grid: String,
    pub received_at: ServerTime,
    pub what: Logged,
}

/// What a log entry says of its record.
#[derive(Clone, Debug)]
pub enum Logged {
    Change(LoggedChange),
    /// It left the entry's grid.
    Leave,
    /// It was rebuilt: phones take it whole.
    Snapshot,
    /// The office erased it.
    Erase,
}

impl Logged {
    /// The change, if it is one.
    pub fn change(&self) -> Option<&LoggedChange> {
        match self {
            Self::Change(change) => Some(change),
            Self::Leave | Self::Snapshot | Self::Erase => None,
        }
    }

    /// As it is stored.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Change(_) => "change",
            Self::Leave => "leave",
            Self::Snapshot => "snapshot",
            Self::Erase => "erase",
        }
    }
}

/// The change of a log entry.
#[derive(Clone, Debug)]
pub struct LoggedChange {
    pub hash: ChangeHash,
    pub device: DeviceId,
    pub bytes: Vec<u8>,
    /// Written by the server in the device's name, which therefore does not have it.
    pub composed: bool,
}

/// An edit to hold. What is held already stays as it is.
#[derive(Clone, Debug)]
pub struct HeldWrite {
    pub held: Uuid,
    pub record: RecordId,
    pub kind: Kind,
    pub generation: u32,
    pub hash: ChangeHash,
    pub bytes: Vec<u8>,
    pub device: DeviceId,
    pub username: String,
    /// Stable word: why it is held.
    pub reason: &'static str,
    pub received_at: ServerTime,
}

/// What became of a held change. One that is accepted is in the log, and its bytes are kept there.
#[derive(Clone, Debug)]
pub struct HeldDecision {
    pub held: Uuid,
    /// Where it stands in the log; `None`: it was refused.
    pub accepted: Option<i64>,
    /// The reviewer; `None`: it came after all, and nobody had to decide.
    pub by: Option<String>,
    /// The reviewer's reason or remark.
    pub note: Option<String>,
}

/// A resolution that was undone, with the operations that put its values back.
#[derive(Clone, Debug)]
pub struct UndoneResolution {
    pub resolution: Uuid,
    pub by: String,
    pub replaced: Vec<ReplacedValue>,
}

/// Entries of a record, to be forgotten beside it.
#[derive(Clone, Debug)]
pub struct Beside {
    pub record: RecordId,
    pub entries: Vec<EntryId>,
    /// Held changes that say something of them.
    pub held: Vec<Uuid>,
}

/// A settled conflict to be remembered.
#[derive(Clone, Debug, Serialize)]
pub struct ResolutionWrite {
    pub resolution: Uuid,
    pub record: RecordId,
    pub field: String,
    pub seq: i64,
    pub generation: u32,
    pub hash: ChangeHash,
    pub op: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Scalar>,
    pub replaced: Vec<ReplacedValue>,
    pub note: String,
    /// `phone`, `desk` or `server`.
    pub source: &'static str,
    pub username: Option<String>,
    pub device: Uuid,
    pub bulk: Option<Uuid>,
    pub class: Option<&'static str>,
}

/// What a user is to know. A notice of the same id is kept once.
#[derive(Clone, Debug, Serialize)]
pub struct NoticeWrite {
    pub notice: Uuid,
    pub seq: i64,
    pub username: String,
    pub kind: &'static str,
    pub record: RecordId,
    pub field: Option<String>,
    pub detail: NoticeDetail,
}

/// What a notice says beside its columns: never a value.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NoticeDetail {
    /// The change that brought it about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<ChangeHash>,
    /// The role of whoever acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Fields that leave their record for the office's own table. What stands beside the record of them is forgotten.
#[derive(Clone, Debug)]
pub struct Seal {
    pub record: RecordId,
    pub revision: u32,
    /// Whoever wrote a value could not see those that were sealed before: it stands behind them.
    pub fields: PersonalFields,
}

/// A store of one street.
pub trait Store {
    /// The street as it stands.
    fn head(&self) -> Head;
    /// Answers.
    fn load(&self, wants: &Wants) -> Loaded;
    /// Writes all of it.
    fn save(&mut self, writes: Writes, now: ServerTime);
}
