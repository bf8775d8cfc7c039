//! What stands behind the network: one office of one street, as phones and desks see it.
//!
//! Two offices answer alike, by the same decisions: one over the store in memory, fast; and the real router on Postgres. The engine sees this trait only, so the
//! same seed runs on both, and what they answer is compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use lianka_office_core::acts::import::Over;
use uuid::Uuid;

pub mod agreement;
pub mod desk;
pub mod identities;
pub mod memory;
#[cfg(feature = "real")]
pub mod real;

pub use desk::{sealed, shown};
pub use identities::{Identities, Recorded};
pub use memory::MemoryOffice;
#[cfg(feature = "real")]
pub use real::RealOffice;

/// When runs begin: 2026-11-21T08:00:00Z.
pub const START_UNIX_MS: i64 = 1_795_248_000_000;

/// A request as it arrived at the office, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// `POST`.
    pub method: String,
    /// Such as `/v1/streets/310104003/sync`.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The whole answer; the network may cut it, delay it or lose it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The street that every run begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setup {
    /// Its division code.
    pub street: String,
    pub grids: Vec<String>,
    pub roads: Vec<String>,
    /// Secretaries and the grids each works at first.
    pub secretaries: Vec<(String, Vec<String>)>,
    /// Days after which the log is trimmed.
    pub log_days: u32,
}

/// What people at desks and operators do. Targets are named by what the script knows: ids that phones chose, places in sorted lists. An act that
/// names nothing that is there does nothing ([`Acted::Nothing`]), on every office alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// A one-time code for a new device of a secretary.
    Enrol { username: String },
    /// The user's grids from now on.
    Assign {
        username: String,
        grids: Vec<String>,
    },
    /// The user's role from now on.
    Role { username: String, role: String },
    /// Revokes a device, and tells it to clear itself.
    Revoke { device: Uuid, wipe: bool },
    /// An edit at a desk: `None` deletes the key.
    Edit {
        record: Uuid,
        set: Vec<(String, Option<String>)>,
        looked: Looked,
    },
    /// A card that a desk creates.
    Create {
        record: Uuid,
        grid: String,
        set: Vec<(String, Option<String>)>,
    },
    /// Chooses one of the visible values of a field in conflict: the `nth` in the order of their text.
    Resolve {
        record: Uuid,
        field: String,
        nth: usize,
        /// None of them: this is right.
        instead: Option<String>,
        /// How many of the values were looked at; `None`: all that stand there.
        looked_at: Option<usize>,
    },
    /// Settles every conflict of values that are spelt differently.
    ResolveSpelling,
    /// Takes the newest choice of a field back; `force`: even where the field was written since.
    UndoChoice {
        record: Uuid,
        field: String,
        force: bool,
    },
    /// Decides what is held.
    Held { held: HeldId, accept: bool },
    /// Accepts what is held as the desk's own edit.
    HeldAsEdit { held: HeldId },
    /// Decides what is decided already: refused.
    HeldAgain { held: HeldId, accept: bool },
    /// Moves cards to another grid.
    Move { records: Vec<Uuid>, grid: String },
    /// One card goes into another.
    Merge { winner: Uuid, loser: Uuid },
    /// Takes the newest merge of two cards back.
    UndoMerge { winner: Uuid, loser: Uuid },
    /// Two contacts of a card are one person: `gone` goes into `kept`.
    JoinContacts {
        record: Uuid,
        kept: Uuid,
        gone: Uuid,
    },
    /// Takes the newest joining of two contacts back.
    PartContacts {
        record: Uuid,
        kept: Uuid,
        gone: Uuid,
    },
    /// Forgets a record.
    Erase { record: Uuid },
    /// Forgets one person on a record.
    Redact { record: Uuid, entry: Uuid },
    /// Forgets a person whom a set names: `companions/…`.
    RedactMember { record: Uuid, key: String },
    /// A step of a transfer by an officer.
    Step {
        record: Uuid,
        step: String,
        fields: Vec<(String, String)>,
    },
    /// Writes the rows of a sheet, which was made earlier.
    WriteRows { import: Uuid, rows: Vec<SheetRow> },
    /// Takes back what an import wrote.
    UndoRows { import: Uuid },
    /// Makes a record's compacted history, which is put in its place later. Whoever dies in between has made nothing.
    PrepareCompaction { record: Uuid },
    /// Compacts a record's history into its next generation.
    Compact { record: Uuid },
    /// Takes a backup; a later [`Act::Restore`] goes back to the newest one.
    Backup,
    /// The store is lost and comes back as it was at the backup.
    Restore,
    /// The primary is lost and its synchronous replica takes over: nothing committed is lost.
    Failover,
    /// The process dies and starts again.
    Restart,
}

/// A row of a sheet that comes back to the office.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SheetRow {
    /// A card that the office does not have.
    Create {
        record: Uuid,
        grid: String,
        set: Vec<(String, Option<String>)>,
    },
    /// Cells of a card.
    Edit {
        record: Uuid,
        cells: Vec<SheetCell>,
        /// The note as the sheet's author saw it, and as they want it.
        note: Option<(String, String)>,
        /// The head of the street's log when the sheet was made.
        seen: i64,
    },
}

impl SheetRow {
    /// The card that it is of.
    pub fn record(&self) -> Uuid {
        match self {
            Self::Create { record, .. } | Self::Edit { record, .. } => *record,
        }
    }
}

/// A cell of a sheet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SheetCell {
    pub key: String,
    /// `None` empties the field.
    pub value: Option<String>,
    pub over: Over,
}

/// What the office shows of some records at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    /// The newest number of the street's log.
    pub head: i64,
    /// As in [`OfficeRecord::fields`]; `None`: there is no such record.
    pub records: BTreeMap<Uuid, Option<BTreeMap<String, Vec<Shown>>>>,
}

/// A change that is or was held, by its record and its hash in hex.
pub type HeldId = (Uuid, String);

impl Act {
    /// Whether it has a receipt, which is applied again to a restored store.
    pub fn forgets(&self) -> bool {
        matches!(
            self,
            Self::Erase { .. } | Self::Redact { .. } | Self::RedactMember { .. }
        )
    }
}

/// Whether whoever edits says which heads of the record they looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looked {
    Unsaid,
    /// Those that it has.
    Now,
    /// Others: refused.
    Before,
}

/// What became of an act.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Acted {
    Done,
    /// There was nothing to do it to.
    Nothing,
    /// An enrolment code.
    Code(String),
    /// Refused, with the stable code.
    Refused(String),
}

/// A value that a field shows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Shown {
    /// Its text; flags are `true`.
    pub value: String,
    /// The device that wrote it.
    pub device: Uuid,
}

/// A line of the street's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    pub seq: u64,
    /// `change`, `snapshot`, `leave`, `erase`.
    pub what: String,
    pub record: Uuid,
    /// Of the change, in hex.
    pub hash: Option<String>,
}

/// What a record is at the office.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfficeRecord {
    pub kind: String,
    pub grid: String,
    pub generation: u32,
    /// Every key with its visible values, in order. The note, if it says anything, is under `note`, by the nil device.
    pub fields: BTreeMap<String, Vec<Shown>>,
    /// Of keys with several values: the one that is shown where there is room for one.
    pub won: BTreeMap<String, String>,
    /// What the office alone keeps of a transfer, by field: the values of every revision.
    pub sealed: BTreeMap<String, BTreeSet<String>>,
    /// Snapshot and the changes after it, as a phone would be sent them: for a plain Automerge.
    pub document: Vec<u8>,
}

/// Something kept for a reviewer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HeldLine {
    pub record: Uuid,
    pub hash: String,
    /// `held`, `accepted`, `refused`.
    pub status: String,
    /// Why it was refused.
    pub note: Option<String>,
}

/// What a user is told beside records, as the office keeps it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NoticeLine {
    pub username: String,
    pub kind: String,
    pub record: Uuid,
    pub field: Option<String>,
    /// The change that brought it about, in hex.
    pub hash: Option<String>,
    pub note: Option<String>,
}

/// A choice between values, as the office remembers it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ChoiceLine {
    pub record: Uuid,
    pub field: String,
    /// The change that chose, in hex.
    pub hash: String,
    /// By the office's clock, milliseconds since 1970.
    pub at_unix_ms: i64,
    /// `phone`, `desk` or `server`.
    pub source: String,
    pub username: Option<String>,
    pub chosen: Option<String>,
    /// The values that stood there, with their authors.
    pub replaced: Vec<(String, Option<String>)>,
    pub is_undone: bool,
    /// One of many that were settled by one act.
    pub is_bulk: bool,
}

/// Two cards that were merged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MergeLine {
    pub winner: Uuid,
    pub loser: Uuid,
    pub is_undone: bool,
}

/// Two contacts of a card that were joined.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct JoinLine {
    pub record: Uuid,
    pub kept: Uuid,
    pub gone: Uuid,
    pub is_undone: bool,
}

/// Everything that the office can be asked when all is quiet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// Changes with every restore from a backup.
    pub epoch: Uuid,
    pub head: u64,
    /// Numbers that notices of decided held changes took alone are not in it, nor are the entries of erased records and trimmed changes.
    pub log: Vec<LogLine>,
    pub records: BTreeMap<Uuid, OfficeRecord>,
    pub held: Vec<HeldLine>,
    /// Rows of the conflict inbox: record and field.
    pub conflicts: Vec<(Uuid, String)>,
    /// In order.
    pub notices: Vec<NoticeLine>,
    /// In order.
    pub choices: Vec<ChoiceLine>,
    /// In order.
    pub merges: Vec<MergeLine>,
    /// In order.
    pub joins: Vec<JoinLine>,
    /// Acts as the audit trail tells them, in order: `username`, `action`, `record`, `detail`.
    pub told: Vec<serde_json::Value>,
    /// Events of the audit chain as the API tells them, in order; empty where the office keeps none.
    pub audit: Vec<serde_json::Value>,
    /// Where the rows are not what a rebuild makes of them.
    pub rows_differ: Option<String>,
    /// Every byte that the office keeps outside its audit chain, compressed content unpacked: erased values are searched for in it.
    pub stored: Vec<u8>,
}

/// One office.
pub trait Office {
    /// One request, whole, and the whole answer. Never fails: a refusal is an answer.
    fn exchange(&mut self, call: &Call) -> impl Future<Output = Reply>;
    /// What waits for a reviewer, or is decided, in the order of record and hash.
    fn held(&mut self, decided: bool) -> impl Future<Output = Vec<HeldId>>;
    /// What somebody sees who looks at these records.
    fn look(&mut self, records: &[Uuid]) -> impl Future<Output = Look>;
    /// What somebody does at a desk.
    fn act(&mut self, act: &Act) -> impl Future<Output = Acted>;
    /// The office's clock from now on, milliseconds since 1970. May step back.
    fn set_time(&mut self, unix_ms: i64);
    /// Background passes until none has anything left to do.
    fn tend(&mut self) -> impl Future<Output = ()>;
    /// Everything that can be asked.
    fn evidence(&mut self) -> impl Future<Output = Evidence>;
}

#[cfg(test)]
mod tests;
