//! What is meant to happen in a run: a list of steps, drawn from its seed.
//!
//! A step names everything it needs by values or by the number of an earlier step (a card by the step that was to create it), and a step whose
//! object is not there does nothing. So any steps may be taken out and the rest still runs, with the same draws: that is how a failing script
//! is made small.

use uuid::Uuid;

use crate::office::{Looked, Setup, SheetCell};

mod scenes;

/// When every run begins: 2026-06-01T00:00:00Z.
pub const BEGIN_UNIX_MS: i64 = 1_780_272_000_000;

/// What is to happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    pub seed: u64,
    pub setup: Setup,
    /// In the order of their times.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Its number in the whole script; stays when others are taken out.
    pub no: u32,
    /// True time since the run began, milliseconds.
    pub at_ms: i64,
    pub what: What,
}

/// A record, by the number of the step that was to create it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MadeBy(pub u32);

/// Keys with their new values; `None` deletes.
pub type Set = Vec<(String, Option<String>)>;

/// What happens in a step. Phones are named by their number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A new phone; or the phone's file enrols again, as another device.
    Enrol {
        phone: usize,
        username: String,
    },
    Create {
        phone: usize,
        grid: String,
        set: Set,
        note: String,
    },
    Edit {
        phone: usize,
        record: MadeBy,
        set: Set,
        note: Option<String>,
    },
    /// A program of somebody's own, with the phone's tokens: it sends an edit of a record that it got elsewhere, as another phone has it.
    Forge {
        phone: usize,
        from: usize,
        record: MadeBy,
        set: Set,
    },
    /// The same program writes two changes side by side, of a key each, and a third one on both.
    Heads {
        phone: usize,
        record: MadeBy,
        set: Set,
        how: Heads,
    },
    /// Files a transfer request.
    File {
        phone: usize,
        grid: String,
        kind: String,
        alias: String,
        fields: Vec<(String, String)>,
        submit: bool,
    },
    /// A secretary's event on a transfer: `submit`, `resubmit`, `withdraw`.
    Event {
        phone: usize,
        record: MadeBy,
        step: String,
        fields: Vec<(String, String)>,
    },
    /// Notes a visit to a card.
    Visit {
        phone: usize,
        shop: MadeBy,
        at: String,
        outcome: String,
        companion: Option<String>,
        remark: String,
        replaces: Option<MadeBy>,
    },
    /// Declares a visit void.
    Void {
        phone: usize,
        visit: MadeBy,
        reason: String,
    },
    RetryDraft {
        phone: usize,
        nth: usize,
    },
    DropDraft {
        phone: usize,
        nth: usize,
    },
    Sync {
        phone: usize,
    },
    /// The phone loses power: in the middle of what it does, and what was not flushed is lost.
    Crash {
        phone: usize,
    },
    /// The phone is lost for good.
    Lose {
        phone: usize,
    },
    /// The phone's file is copied to another phone.
    Clone {
        phone: usize,
        to: usize,
    },
    /// The phone runs an older version of the program, whose file lacks newer tables and which skips newer items; `false`: it is upgraded.
    Older {
        phone: usize,
        older: bool,
    },
    /// How the phone's network is from now on.
    Network {
        phone: usize,
        weather: Weather,
    },
    /// The phone's clock is so far from the true time from now on.
    Skew {
        phone: usize,
        by_ms: i64,
    },
    /// The office's clock likewise.
    OfficeSkew {
        by_ms: i64,
    },
    /// Somebody acts at the office.
    Desk(Desk),
    /// The next request is carried out; then the process dies before its answer leaves.
    DieBeforeReply,
    /// Background passes.
    Tend,
}

/// A row of a sheet that comes back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedRow {
    pub record: MadeBy,
    pub cells: Vec<SheetCell>,
    /// What somebody added to the note.
    pub note: Option<String>,
}

/// What somebody does at the office; [`crate::office::Act`] with the script's names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Desk {
    Assign {
        username: String,
        grids: Vec<String>,
    },
    /// The user's role from now on.
    Role {
        username: String,
        role: String,
    },
    Revoke {
        phone: usize,
        wipe: bool,
    },
    Edit {
        record: MadeBy,
        set: Set,
        looked: Looked,
    },
    Create {
        grid: String,
        set: Set,
    },
    ResolveSpelling,
    Resolve {
        record: MadeBy,
        field: String,
        nth: usize,
        instead: Option<String>,
        looked_at: Option<usize>,
    },
    UndoChoice {
        record: MadeBy,
        field: String,
        force: bool,
    },
    Held {
        nth: usize,
        accept: bool,
    },
    HeldAsEdit {
        nth: usize,
    },
    HeldAgain {
        nth: usize,
        accept: bool,
    },
    /// A sheet of these cards, as they are now.
    Export {
        records: Vec<MadeBy>,
    },
    /// The sheet of an export comes back.
    Import {
        sheet: MadeBy,
        rows: Vec<PlannedRow>,
        /// A card that the sheet brings: its grid, and what it says.
        brings: Option<(String, Set)>,
    },
    /// What an import wrote is taken back.
    UndoImport {
        import: MadeBy,
    },
    Move {
        records: Vec<MadeBy>,
        grid: String,
    },
    Merge {
        winner: MadeBy,
        loser: MadeBy,
    },
    UndoMerge {
        winner: MadeBy,
        loser: MadeBy,
    },
    JoinContacts {
        record: MadeBy,
        kept: Uuid,
        gone: Uuid,
    },
    PartContacts {
        record: MadeBy,
        kept: Uuid,
        gone: Uuid,
    },
    Erase {
        record: MadeBy,
    },
    Redact {
        record: MadeBy,
        entry: Uuid,
    },
    /// Whoever went along on a visit.
    RedactCompanion {
        visit: MadeBy,
    },
    Step {
        record: MadeBy,
        step: String,
        fields: Vec<(String, String)>,
    },
    PrepareCompaction {
        record: MadeBy,
    },
    Compact {
        record: MadeBy,
    },
    Backup,
    Restore,
    Failover,
    Restart,
}

/// What befalls the second of the two changes on which a third one builds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heads {
    /// It comes after the third, which comes again.
    Late,
    /// It says what no secretary may, and is refused.
    Refused { grid: String },
    /// Its author does not work the grid while it comes, and works these again before the rest does.
    Held { grids: Vec<String> },
}

/// A phone's network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Weather {
    /// Nothing is lost.
    Fine,
    /// Something goes wrong with every fourth call or so.
    #[default]
    Fair,
    /// With most.
    Foul,
    /// There is none.
    None,
    /// The beginning of one answer comes, then there is none: the phone drives into a tunnel.
    Tunnel,
    /// One answer breaks off right behind one of its checkpoints; then nothing is lost.
    Checkpoint,
}

impl Script {
    /// The script of a seed.
    pub fn of(seed: u64) -> Self {
        scenes::draw(seed)
    }

    /// The same without the steps whose numbers `keep` refuses.
    #[must_use]
    pub fn only(&self, keep: impl Fn(u32) -> bool) -> Self {
        Self {
            steps: self
                .steps
                .iter()
                .filter(|step| keep(step.no))
                .cloned()
                .collect(),
            ..self.clone()
        }
    }
}
