//! What happened, in order, as somebody standing beside the phones and the office's door would have written it down.
//!
//! Checkers read it and nothing of the implementation. Values of edits are unique in a run (`v17`), so that one edit can be followed by its
//! value through every rewriting.

use uuid::Uuid;

use crate::office::{Act, Acted, Look};

/// Which phone, counted from 0 in the order they were enrolled; a clone is a phone of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PhoneNo(pub usize);

/// One thing that a user did in one edit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Did {
    /// Put a value under a key.
    Put { key: String, value: String },
    /// Deleted what the key showed.
    Delete { key: String },
    /// Replaced the note's words.
    Note { text: String },
}

/// A value that a phone showed its user, under a key that they edited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saw {
    pub key: String,
    /// The operation that wrote it: counter and actor. Such ids outlive rebases of others and rebuilds.
    pub op: (u64, Vec<u8>),
    pub value: String,
}

/// An item of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Snapshot {
        record: Uuid,
        kind: String,
        generation: u32,
    },
    /// A change, with its name.
    Change {
        record: Uuid,
        hash: String,
    },
    /// A change in a block: how its record's name ends, and how its own begins.
    Packed {
        record: [u8; 4],
        hash: [u8; 4],
    },
    Leave {
        record: Uuid,
    },
    Erase {
        record: Uuid,
    },
    Reset,
    Wipe,
    /// The last one; `pulled`: with a cursor.
    End {
        pulled: bool,
    },
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A phone of a user was enrolled.
    Enrolled {
        phone: PhoneNo,
        username: String,
        device: Uuid,
    },
    /// A phone's file was copied; both go on.
    Cloned { phone: PhoneNo, from: PhoneNo },
    /// The user saw "saved". `hash` is the change's name then; a rebase gives the edit another.
    /// `saw`: what the phone showed under the keys that were edited; the note stands under `note`, by nobody's operation.
    Saved {
        phone: PhoneNo,
        record: Uuid,
        creating: bool,
        kind: String,
        did: Vec<Did>,
        saw: Vec<Saw>,
        hash: Option<String>,
    },
    /// The phone refused the edit at once, with its code.
    NotSaved {
        phone: PhoneNo,
        record: Option<Uuid>,
        code: String,
    },
    /// A change arrived at the office's door, as bytes: whoever can read Automerge can see what it says and what it builds on.
    Arrived {
        device: Uuid,
        record: Uuid,
        generation: u32,
        bytes: Vec<u8>,
    },
    /// The office answered about it; whether the phone got the answer is another matter.
    Verdict {
        device: Uuid,
        record: Uuid,
        hash: String,
        status: String,
        code: Option<String>,
        seq: Option<u64>,
    },
    /// What else stood in the answer to a synchronisation, whole; the phone may get less of it.
    /// `kinds`: those of which the request asks for records.
    Answered {
        device: Uuid,
        kinds: Vec<String>,
        items: Vec<Item>,
    },
    /// The user let go of a draft, having read it, or tried it again as another record.
    DraftDropped {
        phone: PhoneNo,
        record: Uuid,
        did: Vec<Did>,
    },
    /// Power failed: the phone is what it was after its last flush.
    PhoneCrashed { phone: PhoneNo },
    /// A phone was lost for good, with what was on it.
    PhoneLost { phone: PhoneNo },
    /// The phone cleared itself.
    Wiped { phone: PhoneNo },
    /// What the office showed of cards: when a sheet was made of them, and before and after its rows are written or taken back.
    Looked { for_sheet: bool, look: Look },
    /// Somebody acted at the office.
    Acted { act: Act, acted: Acted },
    /// The office's clock is so far from the true time from now on.
    OfficeClock { by_ms: i64 },
    /// The office's background passes ran.
    Tended,
}

/// A moment and what happened then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// True time, milliseconds since 1970; nobody's clock.
    pub at_unix_ms: i64,
    pub event: Event,
}

/// What is on a phone when all is quiet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PhoneEvidence {
    pub phone: PhoneNo,
    pub username: String,
    pub device: Uuid,
    /// Wiped, lost or signed out: nothing is expected of it.
    pub gone: bool,
    pub grids: Vec<String>,
    pub records: std::collections::BTreeMap<Uuid, PhoneRecord>,
    /// Unsent and held edits: record, hash, state, what the user did.
    pub outbox: Vec<(Uuid, String, String, Vec<Did>)>,
    /// Drafts: record, the reason's code, what the user did.
    pub drafts: Vec<(Uuid, String, Vec<Did>)>,
    /// An older version ran on it once, and dropped the notices that it does not know.
    pub was_older: bool,
    /// What the office told beside records: kind, record, hash of the change in hex.
    pub notices: Vec<(String, Uuid, Option<String>)>,
    /// Every byte of the phone's file and of what lies beside it.
    pub file: Vec<u8>,
}

/// A record on a phone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PhoneRecord {
    pub generation: u32,
    pub grid: String,
    /// Every key with its visible values, in order.
    pub fields: std::collections::BTreeMap<String, Vec<crate::office::Shown>>,
    /// Of keys with several values: the one that is shown where there is room for one.
    pub won: std::collections::BTreeMap<String, String>,
}

/// The whole story of one run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Journal {
    pub lines: Vec<Line>,
}

impl Journal {
    /// The lines before `upto` that the office's store knows of: up to the backup that it was put back to, and since.
    pub fn remembered(&self, upto: usize) -> Vec<usize> {
        let (mut lines, mut at_backup) = (Vec::new(), 0);
        for (at, line) in self.lines[..upto].iter().enumerate() {
            lines.push(at);
            if let Event::Acted {
                act,
                acted: Acted::Done,
            } = &line.event
            {
                match act {
                    Act::Backup => at_backup = lines.len(),
                    Act::Restore => lines.truncate(at_backup),
                    _ => {}
                }
            }
        }
        lines
    }
}
