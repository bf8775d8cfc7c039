//! What the model office keeps: people and devices, the street's log, and every record beside it. Plain values; a backup is a copy.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Deref, DerefMut},
};

use lianka_sync_core::{
    access::Role,
    codec::wire::Notice,
    crdt::merge::RegisterState,
    id::{Actor, ChangeHash, DeviceId, EntryId, RecordId, StreetCode},
    kinds::{Kind, duplicate::carry::SamePersons},
    time::ServerTime,
};
use uuid::Uuid;

/// An account and where it works.
#[derive(Clone, Debug)]
pub struct User {
    pub role: Role,
    /// Raised whenever the grids change.
    pub scope_epoch: i64,
    pub assignments: Vec<Assignment>,
}

/// A grid worked from one scope epoch to before another.
#[derive(Clone, Debug)]
pub struct Assignment {
    pub grid: String,
    pub since: i64,
    pub until: Option<i64>,
}

impl User {
    pub fn new(role: Role) -> Self {
        Self {
            role,
            scope_epoch: 0,
            assignments: Vec::new(),
        }
    }

    pub fn grids_at(&self, epoch: i64) -> BTreeSet<String> {
        let held =
            |one: &&Assignment| one.since <= epoch && one.until.is_none_or(|until| until > epoch);
        self.assignments
            .iter()
            .filter(held)
            .map(|one| one.grid.clone())
            .collect()
    }

    pub fn grids(&self) -> BTreeSet<String> {
        self.assignments
            .iter()
            .filter(|one| one.until.is_none())
            .map(|one| one.grid.clone())
            .collect()
    }

    pub fn ever_worked(&self, grid: &str) -> bool {
        self.assignments.iter().any(|one| one.grid == grid)
    }

    /// These grids from now on.
    pub fn assign(&mut self, grids: &BTreeSet<String>) {
        let before = self.grids();
        if before == *grids {
            return;
        }
        self.scope_epoch += 1;
        for one in self
            .assignments
            .iter_mut()
            .filter(|one| one.until.is_none() && !grids.contains(&one.grid))
        {
            one.until = Some(self.scope_epoch);
        }
        let gained = grids.difference(&before).map(|grid| Assignment {
            grid: grid.clone(),
            since: self.scope_epoch,
            until: None,
        });
        self.assignments.extend(gained);
    }
}

/// A phone or a desk.
#[derive(Clone, Debug)]
pub struct Device {
    pub username: String,
    pub revoked: bool,
    /// To be told to clear itself.
    pub wipe: bool,
    /// It says that it has.
    pub wiped: bool,
}

/// A code to enrol with, until it is spent.
#[derive(Clone, Debug)]
pub struct Code {
    pub username: String,
    pub expires_at: ServerTime,
}

/// A refresh token, one link of a device's chain.
#[derive(Clone, Debug)]
pub struct Link {
    pub device: DeviceId,
    pub issued_at: ServerTime,
    pub expires_at: ServerTime,
    /// When it was exchanged first.
    pub spent_at: Option<ServerTime>,
    /// The token it was given for.
    pub given_for: Option<String>,
    /// Another token given for the same one was exchanged.
    pub void: bool,
}

/// What an entry of the log says.
#[derive(Clone, Debug)]
pub enum What {
    Change {
        hash: ChangeHash,
        device: DeviceId,
        bytes: Vec<u8>,
    },
    Snapshot,
    /// From the entry's grid.
    Leave,
    Erase,
}

/// An entry of the street's log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub record: RecordId,
    pub generation: u32,
    pub grid: String,
    pub at: ServerTime,
    pub what: What,
}

/// A record.
#[derive(Clone)]
pub struct Kept {
    pub state: RegisterState,
    pub place: Place,
}

/// Where a record stands, and how its history is kept.
#[derive(Clone, Default)]
pub struct Place {
    pub grid: String,
    /// Its newest entry.
    pub seq: u64,
    /// The entry that brought it into its grid.
    pub arrived: u64,
    /// A document, and the entry up to which it says everything.
    pub snapshot: (u64, Vec<u8>),
    /// Its changes in the log.
    pub changes: Vec<u64>,
    /// Where changes stood that were trimmed from the log: the snapshot holds them.
    pub trimmed: Vec<(ChangeHash, u64)>,
    /// Changes of former generations that a rebuild rewrote: they stay accepted.
    pub earlier: BTreeSet<ChangeHash>,
}

impl Deref for Kept {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}

/// What became of a held change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    Waits,
    Accepted(u64),
    Refused(String),
}

impl Decision {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waits => "held",
            Self::Accepted(_) => "accepted",
            Self::Refused(_) => "refused",
        }
    }
}

/// A change that waits, or waited, for a reviewer.
#[derive(Clone, Debug)]
pub struct Held {
    pub kind: Kind,
    pub bytes: Vec<u8>,
    pub device: DeviceId,
    pub username: String,
    /// Why, as verdicts say it.
    pub reason: &'static str,
    pub decision: Decision,
}

/// A card that was merged away.
#[derive(Clone, Debug)]
pub struct MergedAway {
    pub winner: RecordId,
    pub epoch: u32,
    pub same_persons: SamePersons,
}

/// A person who was redacted.
#[derive(Clone, Debug)]
pub struct Redaction {
    pub seq: u64,
    pub record: RecordId,
    pub entries: Vec<EntryId>,
}

/// A conflict that was settled, with what was not chosen.
#[derive(Clone, Debug)]
pub struct Settled {
    pub record: RecordId,
    pub key: String,
    pub values: Vec<String>,
}

/// Sealed fields by revision of the request, every concurrent value, the chosen one last.
pub type Sealed = BTreeMap<u32, BTreeMap<String, Vec<String>>>;

/// Everything.
#[derive(Clone)]
pub struct Store {
    pub epoch: Uuid,
    pub street: StreetCode,
    pub head: u64,
    pub grids: BTreeSet<String>,
    pub users: BTreeMap<String, User>,
    pub devices: BTreeMap<DeviceId, Device>,
    pub codes: BTreeMap<String, Code>,
    pub links: BTreeMap<String, Link>,
    pub records: BTreeMap<RecordId, Kept>,
    pub log: BTreeMap<u64, Entry>,
    pub erased: BTreeSet<RecordId>,
    pub redactions: Vec<Redaction>,
    /// With the generation that the change was made for.
    pub held: BTreeMap<(RecordId, ChangeHash, u32), Held>,
    /// By user.
    pub notices: BTreeMap<String, Vec<Notice>>,
    pub merged_away: BTreeMap<RecordId, MergedAway>,
    pub sealed: BTreeMap<RecordId, Sealed>,
    pub settled: Vec<Settled>,
}

impl Store {
    pub fn new(epoch: Uuid, street: StreetCode, grids: BTreeSet<String>) -> Self {
        Self {
            epoch,
            street,
            head: 0,
            grids,
            users: BTreeMap::new(),
            devices: BTreeMap::new(),
            codes: BTreeMap::new(),
            links: BTreeMap::new(),
            records: BTreeMap::new(),
            log: BTreeMap::new(),
            erased: BTreeSet::new(),
            redactions: Vec::new(),
            held: BTreeMap::new(),
            notices: BTreeMap::new(),
            merged_away: BTreeMap::new(),
            sealed: BTreeMap::new(),
            settled: Vec::new(),
        }
    }

    /// The actor of a desk: a store that came back from a backup has another epoch, and so its desks count anew.
    pub fn desk_actor(&self, device: DeviceId) -> Actor {
        let [a, b, c, d, ..] = *self.epoch.as_bytes();
        Actor::new(device, u32::from_be_bytes([a, b, c, d]))
    }

    /// The actor of the office itself.
    pub fn own_actor(&self, epoch: u32) -> Actor {
        Actor::new(DeviceId(self.epoch), epoch)
    }

    /// Snapshot and the changes after it: what a phone would be sent.
    pub fn document(&self, record: RecordId) -> Vec<u8> {
        let Some(kept) = self.records.get(&record) else {
            return Vec::new();
        };
        let (upto, mut bytes) = kept.snapshot.clone();
        for seq in kept.changes.iter().filter(|seq| **seq > upto) {
            if let Some(Entry {
                what: What::Change { bytes: change, .. },
                ..
            }) = self.log.get(seq)
            {
                bytes.extend(change);
            }
        }
        bytes
    }

    /// The log's entry of a change that is part of the record.
    pub fn seq_of(&self, record: RecordId, hash: ChangeHash) -> Option<u64> {
        let is = |seq: &&u64| matches!(&self.log.get(seq).map(|entry| &entry.what), Some(What::Change { hash: of, .. }) if *of == hash);
        let kept = self.records.get(&record)?;
        let trimmed = || {
            kept.trimmed
                .iter()
                .find(|(of, _)| *of == hash)
                .map(|(_, seq)| *seq)
        };
        kept.changes.iter().find(is).copied().or_else(trimmed)
    }

    /// What is known of a change that was held once.
    pub fn held_before(&self, record: RecordId, hash: ChangeHash) -> Option<&Held> {
        self.held
            .range((record, hash, 0)..=(record, hash, u32::MAX))
            .next()
            .map(|(_, held)| held)
    }

    /// The grids that the office moved a record out of.
    pub fn left_grids(&self, record: RecordId) -> impl Iterator<Item = &str> {
        let left =
            move |entry: &&Entry| entry.record == record && matches!(entry.what, What::Leave);
        self.log
            .values()
            .filter(left)
            .map(|entry| entry.grid.as_str())
    }

    pub fn username(&self, device: DeviceId) -> Option<&str> {
        self.devices
            .get(&device)
            .map(|device| device.username.as_str())
    }

    /// Takes the next number.
    pub fn next_seq(&mut self) -> u64 {
        self.head += 1;
        self.head
    }

    /// Appends to the log.
    pub fn log(&mut self, entry: Entry) -> u64 {
        let seq = self.next_seq();
        self.log.insert(seq, entry);
        seq
    }
}
