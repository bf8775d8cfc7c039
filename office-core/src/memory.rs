//! A street's store in memory: for simulation, tests and fuzzing. As far as the port goes it answers as Postgres does, and a conformance suite
//! holds both to it.
//!
//! Tables are ordered maps of plain values, so that the same seed gives the same run; a backup is a clone. Read models are not kept: what is
//! asked of them is read from the records.

mod exchange;
mod load;
mod pull;
mod save;
mod trim;

pub use exchange::Answering;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use lianka_sync_core::{
    access::Role,
    codec::wire::Notice,
    crdt::merge::RegisterState,
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    kinds::Kind,
    time::ServerTime,
};
use uuid::Uuid;

use crate::{
    acts::Act,
    audit::Event,
    follow,
    pull::tail::{Bounds, Tail},
    store::{
        CardMerge, ContactJoin, Dismissal, HeldStatus, HeldWrite, Logged, Person, PersonalFields,
        Place, Receipt, Report, ResolutionWrite, Store,
    },
    street::Street,
};

/// So little that a simulated street has more.
pub const TAIL_BOUNDS: Bounds = Bounds {
    entries: 60,
    bytes: 32 * 1024,
};

/// A grid that a user works from one scope epoch to before another.
#[derive(Clone, Debug)]
pub struct Assignment {
    pub grid: String,
    pub since: i64,
    pub until: Option<i64>,
}

/// An account of the street.
#[derive(Clone, Debug)]
pub struct User {
    pub role: Role,
    /// Roles that it had before, the newest last.
    pub former_roles: Vec<Role>,
    pub display_name: String,
    /// Raised whenever the grids change.
    pub scope_epoch: i64,
    pub assignments: Vec<Assignment>,
}

impl User {
    /// Somebody who works no grid yet.
    pub fn new(role: Role, display_name: impl Into<String>) -> Self {
        Self {
            role,
            former_roles: Vec::new(),
            display_name: display_name.into(),
            scope_epoch: 0,
            assignments: Vec::new(),
        }
    }

    /// The grids worked at a scope epoch.
    pub fn grids_at(&self, epoch: i64) -> BTreeSet<String> {
        self.assignments
            .iter()
            .filter(|one| one.since <= epoch && one.until.is_none_or(|until| until > epoch))
            .map(|one| one.grid.clone())
            .collect()
    }

    /// The grids worked now.
    pub fn grids(&self) -> BTreeSet<String> {
        self.grids_at(i64::MAX)
    }

    /// This role from now on.
    pub fn change_role(&mut self, role: Role) {
        let before = std::mem::replace(&mut self.role, role);
        if before != role {
            self.former_roles.retain(|former| *former != before);
            self.former_roles.push(before);
        }
    }

    /// These grids from now on.
    pub fn assign(&mut self, grids: &BTreeSet<String>) {
        let before = self.grids();
        if before == *grids {
            return;
        }
        self.scope_epoch += 1;
        for one in &mut self.assignments {
            if one.until.is_none() && !grids.contains(&one.grid) {
                one.until = Some(self.scope_epoch);
            }
        }
        let gained = grids.difference(&before).map(|grid| Assignment {
            grid: grid.clone(),
            since: self.scope_epoch,
            until: None,
        });
        self.assignments.extend(gained);
    }
}

/// A record.
#[derive(Clone)]
pub struct Kept {
    pub grid: String,
    /// Its newest entry.
    pub seq: i64,
    /// The entry that brought it into its grid.
    pub grid_seq: i64,
    pub state: RegisterState,
    /// A document, and the entry up to which it says everything.
    pub snapshot: (i64, Vec<u8>),
    /// Where its changes stood that were trimmed from the log: the snapshot holds them.
    pub trimmed: Vec<Place>,
}

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct LogEntry {
    pub record: RecordId,
    pub generation: u32,
    pub grid: String,
    pub received_at: ServerTime,
    pub what: Logged,
}

/// A change that waits for a reviewer, or waited.
#[derive(Clone, Debug)]
pub struct Held {
    pub write: HeldWrite,
    pub status: HeldStatus,
    pub note: Option<String>,
    pub seq: Option<i64>,
}

/// A conflict that was settled.
#[derive(Clone, Debug)]
pub struct Settled {
    pub write: ResolutionWrite,
    pub at: ServerTime,
    pub is_undone: bool,
}

/// Everything of one street.
#[derive(Clone)]
pub struct MemoryStore {
    pub street: StreetCode,
    pub epoch: Uuid,
    pub head: i64,
    pub grids: BTreeSet<String>,
    pub users: BTreeMap<String, User>,
    /// Devices: username, and what it is called.
    pub devices: BTreeMap<DeviceId, (String, String)>,
    pub records: BTreeMap<RecordId, Kept>,
    pub log: BTreeMap<i64, LogEntry>,
    /// The log's entries of each record.
    entries: BTreeMap<RecordId, BTreeSet<i64>>,
    /// What earlier generations had accepted, by generation.
    pub earlier: BTreeMap<RecordId, BTreeMap<u32, Vec<ChangeHash>>>,
    pub held: Vec<Held>,
    pub resolutions: Vec<Settled>,
    /// By user, in the order of their sequences.
    pub notices: BTreeMap<String, Vec<Notice>>,
    pub merges: BTreeMap<Uuid, CardMerge>,
    pub dismissals: BTreeMap<Uuid, Dismissal>,
    pub joins: BTreeMap<Uuid, ContactJoin>,
    /// Sealed fields by revision of their request.
    pub personal: BTreeMap<RecordId, BTreeMap<u32, PersonalFields>>,
    pub receipts: Vec<Receipt>,
    /// Records that went with the import that had made them.
    pub unmade: BTreeSet<RecordId>,
    pub events: Vec<Event>,
    pub reports: Vec<Report>,
    /// What a server keeps in memory of the log, whatever becomes of its store: a backup that is put back meets it.
    tail: Arc<Mutex<Tail>>,
}

impl MemoryStore {
    /// An empty street.
    pub fn new(street: StreetCode, epoch: Uuid, grids: BTreeSet<String>) -> Self {
        Self {
            street,
            epoch,
            head: 0,
            grids,
            users: BTreeMap::new(),
            devices: BTreeMap::new(),
            records: BTreeMap::new(),
            log: BTreeMap::new(),
            entries: BTreeMap::new(),
            earlier: BTreeMap::new(),
            held: Vec::new(),
            resolutions: Vec::new(),
            notices: BTreeMap::new(),
            merges: BTreeMap::new(),
            dismissals: BTreeMap::new(),
            joins: BTreeMap::new(),
            personal: BTreeMap::new(),
            receipts: Vec::new(),
            unmade: BTreeSet::new(),
            events: Vec::new(),
            reports: Vec::new(),
            tail: Arc::new(Mutex::new(Tail::new(TAIL_BOUNDS))),
        }
    }

    /// Who works a device.
    pub fn person(&self, device: DeviceId) -> Option<Person> {
        let (username, device_name) = self.devices.get(&device)?;
        let user = self.users.get(username)?;
        Some(Person {
            device_name: device_name.clone(),
            username: username.clone(),
            display_name: user.display_name.clone(),
            role: user.role.as_str().to_owned(),
        })
    }

    /// The log's entries of a record, in order.
    pub fn entries(&self, record: RecordId) -> impl DoubleEndedIterator<Item = (i64, &LogEntry)> {
        let seqs = self.entries.get(&record).into_iter().flatten();
        seqs.filter_map(|seq| Some((*seq, self.log.get(seq)?)))
    }

    /// A record's document: saved up to some entry, then the changes after it.
    pub fn document(&self, record: RecordId) -> Option<Vec<u8>> {
        let kept = self.records.get(&record)?;
        let (upto, mut bytes) = kept.snapshot.clone();
        let after = self
            .entries(record)
            .filter(|(seq, entry)| *seq > upto && entry.generation == kept.state.generation());
        bytes.extend(
            after
                .filter_map(|(_, entry)| entry.what.change())
                .flat_map(|change| &change.bytes),
        );
        Some(bytes)
    }

    /// Whether the office erased the record.
    pub fn is_erased(&self, record: RecordId) -> bool {
        self.receipts
            .iter()
            .any(|receipt| receipt.kind == crate::acts::erase::ERASE && receipt.record == record)
    }

    /// Records of a kind.
    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (RecordId, &Kept)> {
        let records = self.records.iter().map(|(record, kept)| (*record, kept));
        records.filter(move |(_, kept)| kept.state.kind() == kind)
    }

    /// One act, written if it is not refused.
    pub fn run<A: Act>(&mut self, now: ServerTime, act: A) -> Result<A::Done, A::Refused> {
        run(self, now, act)
    }
}

/// One act on a store, written with what follows from it if it is not refused.
pub fn run<A: Act>(store: &mut impl Store, now: ServerTime, act: A) -> Result<A::Done, A::Refused> {
    let mut street = Street::new(store.head(), now);
    loop {
        let lacking = street.lacks(act.wants(&street));
        if lacking.is_empty() {
            break;
        }
        let loaded = store.load(&lacking);
        street.learn(lacking, loaded);
    }
    let done = act.decide(&mut street)?;
    while let Some(wants) = follow::follow(&mut street) {
        let loaded = store.load(&wants);
        street.learn(wants, loaded);
    }
    store.save(follow::finish(street), now);
    Ok(done)
}
