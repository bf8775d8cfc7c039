//! A street's office in process: what the server decides, by the same code (`lianka-office-core`), over its store in memory.
//!
//! Its own is only who works which grid, backups, and a stricter rule where a test needs one that this phone does not know.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lianka_office_core::{
    acts::{
        Act, Desk,
        compact::Compact,
        erase::{Erase, Request, reason},
        held::{Accept, Refuse},
        relocate::Relocate,
    },
    ids::Ids,
    memory::{Answering, MemoryStore, User},
    pull::{PAGES, Pages},
    push::{Author, Ingested, Push},
    store::{HeldStatus, Wants},
    street::{Signer, Street},
};
use lianka_sync_core::{
    access::Role,
    codec::{
        change,
        wire::{PushedChange, RequestItem, ResponseItem, Verdict, VerdictStatus},
    },
    crdt::{merge::Refusal, rebuild, record::Record},
    id::{ChangeHash, DeviceId, RecordId},
    kinds::{
        Kind,
        projection::{self, Projected},
    },
    lang::Lang,
    time::ServerTime,
};

use super::*;

/// The office's clock stands still.
pub const OFFICE_NOW: ServerTime = ServerTime::from_unix_ms(1_700_000_000_000);
const DESK: DeviceId = DeviceId(Uuid::from_u128(0xde5c));

/// An answer of an office that is newer than the phone.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Whatever writes this key is refused for good.
    RefuseKey(String, &'static str),
    /// Every change is put off.
    PutOff(&'static str),
    /// Every change is refused for good.
    RefuseAll(&'static str),
    /// Every change is kept for a reviewer.
    HoldAll,
    /// Whatever writes this key is.
    HoldKey(String),
}

#[derive(Clone)]
pub struct MemoryOffice {
    pub store: MemoryStore,
    pub rules: HashMap<DeviceId, Rule>,
    pub wiped: BTreeSet<DeviceId>,
    /// A checkpoint after so many items.
    pub checkpoint_items: usize,
    /// What `end` grants.
    pub lease_seconds: Option<u64>,
    restores: u32,
    writes: u128,
}

/// A card as the importer's desk makes one.
struct Import {
    record: RecordId,
    edits: Vec<Edit>,
}

impl Act for Import {
    type Done = ();
    type Refused = Refusal;

    fn wants(&self, _: &Street) -> Wants {
        Wants {
            records: [self.record].into(),
            ..Wants::default()
        }
    }

    fn decide(self, street: &mut Street) -> Result<(), Refusal> {
        let signer = Signer::desk(DESK, Role::Admin);
        street.create(self.record, Kind::ShopCard, signer, &self.edits)?;
        Ok(())
    }
}

/// Which history the store holds: another one after every restore.
fn epoch(restores: u32) -> Uuid {
    Uuid::from_u128(u128::from(restores + 1) << 96)
}

fn desk() -> Desk {
    Desk {
        username: "desk".into(),
        device: DESK,
        role: Role::Admin,
    }
}

impl MemoryOffice {
    pub fn new() -> Self {
        let grids = ["A1", "B2", "B9"].map(str::to_owned).into();
        let mut store = MemoryStore::new("310104003".parse().unwrap(), epoch(0), grids);
        store
            .users
            .insert("desk".into(), User::new(Role::Admin, "陆敏"));
        store.devices.insert(DESK, ("desk".into(), "a desk".into()));
        Self {
            store,
            rules: HashMap::new(),
            wiped: BTreeSet::new(),
            checkpoint_items: usize::MAX,
            lease_seconds: None,
            restores: 0,
            writes: 0,
        }
    }

    /// A device of a user, who works these grids from now on.
    pub fn assign(&mut self, device: DeviceId, grids: &[&str]) {
        let username = format!("user{device}");
        let known = (username.clone(), "a phone".to_owned());
        self.store.devices.insert(device, known);
        let user = self.store.users.entry(username);
        let user = user.or_insert_with(|| User::new(Role::Secretary, "许娜"));
        user.assign(&grids.iter().map(|&grid| grid.to_owned()).collect());
    }

    /// The same user's next device.
    pub fn enrol_again(&mut self, before: DeviceId, device: DeviceId) {
        let known = self.store.devices[&before].clone();
        self.store.devices.insert(device, known);
    }

    fn run<A: Act<Refused: std::fmt::Debug>>(&mut self, act: A) -> A::Done {
        self.store.run(OFFICE_NOW, act).unwrap()
    }

    fn ids(&mut self) -> Ids {
        self.writes += 1;
        Ids::new(self.writes.to_be_bytes())
    }

    pub fn import(&mut self, number: u32, edits: &[Edit]) -> RecordId {
        let record = RecordId(Uuid::from_u128(
            0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(number),
        ));
        let mut all = vec![
            Edit::set("kind", "shop_card"),
            Edit::set("street", "310104003"),
            Edit::set("grid", "A1"),
        ];
        all.extend_from_slice(edits);
        self.run(Import { record, edits: all });
        record
    }

    pub fn document(&self, record: RecordId) -> Record {
        Record::load(&self.store.document(record).unwrap()).unwrap()
    }

    pub fn text(&self, record: RecordId, key: &str) -> Option<String> {
        let state = &self.store.records[&record].state;
        state.text(key).map(str::to_owned)
    }

    pub fn holds(&self, record: RecordId) -> bool {
        self.store.records.contains_key(&record)
    }

    /// Whether a record has the change, or had it before it was compacted.
    pub fn has(&self, hash: ChangeHash) -> bool {
        let earlier = self.store.earlier.values().flat_map(BTreeMap::values);
        self.store
            .records
            .values()
            .any(|kept| kept.state.contains(hash))
            || earlier.flatten().any(|had| *had == hash)
    }

    pub fn rows(&self) -> Vec<Projected> {
        let project = |(record, kept): (&RecordId, &lianka_office_core::memory::Kept)| {
            projection::project(*record, kept.state.generation(), &kept.state.view()).unwrap()
        };
        self.store.records.iter().map(project).collect()
    }

    /// The record's history goes on as its next generation.
    pub fn compact(&mut self, record: RecordId) {
        let state = &self.store.records[&record].state;
        let document = self.store.document(record).unwrap();
        let rebuilt = rebuild::compact(state, &document, OFFICE_NOW).unwrap();
        let of = state.accepted().map(|(hash, _)| hash).collect();
        let compact = Compact {
            record,
            of,
            rebuilt,
        };
        assert!(self.run(compact).is_some());
    }

    pub fn erase(&mut self, record: RecordId) {
        let erasure = self.ids().next(OFFICE_NOW);
        let request = Request {
            username: "desk".into(),
            device: DESK,
            reason: reason("subject_request"),
            erasure,
        };
        self.run(Erase { record, request });
    }

    pub fn move_to_grid(&mut self, record: RecordId, grid: &str) {
        self.run(Relocate {
            by: desk(),
            records: vec![record],
            from_grid: None,
            to_grid: grid.to_owned(),
            dry_run: false,
        });
    }

    /// A reviewer writes what a held change says as an edit of the desk's own.
    pub fn apply_held(&mut self, hash: ChangeHash) {
        let is = |held: &&lianka_office_core::memory::Held| held.write.hash == hash;
        let held = self.store.held.iter().find(is).unwrap().write.held;
        self.run(Accept {
            by: desk(),
            held,
            note: None,
            with_needed: false,
            as_edit: true,
        });
    }

    /// A reviewer decides.
    pub fn decide_held(&mut self, hash: ChangeHash, accept: bool) {
        let is = |held: &&lianka_office_core::memory::Held| held.write.hash == hash;
        let held = self.store.held.iter().find(is).unwrap().write.held;
        if accept {
            self.run(Accept {
                by: desk(),
                held,
                note: None,
                with_needed: true,
                as_edit: false,
            });
        } else {
            self.run(Refuse {
                by: desk(),
                held,
                reason: "不属实".into(),
            });
        }
    }

    /// A reviewer accepts all that waits, in the order in which it came.
    pub fn accept_held(&mut self) {
        let waits = |held: &&lianka_office_core::memory::Held| held.status == HeldStatus::Held;
        let held = self.store.held.iter().filter(waits);
        for hash in held.map(|held| held.write.hash).collect::<Vec<_>>() {
            self.decide_held(hash, true);
        }
    }

    /// A backup put back: what came after is lost, the history is another one. Who works which grid is not lost.
    pub fn restore(&mut self, backup: &Self) {
        self.restores += 1;
        let epoch = epoch(self.restores);
        self.put_back(backup);
        self.store.epoch = epoch;
    }

    /// The same without a word of it: the history counts as the one that it was.
    pub fn put_back(&mut self, backup: &Self) {
        let now = std::mem::replace(&mut self.store, backup.store.clone());
        self.store.users = now.users;
        self.store.devices = now.devices;
    }

    pub fn answer(&mut self, device: DeviceId, items: &[RequestItem]) -> Vec<ResponseItem> {
        let Some((RequestItem::Hello(hello), changes)) = items.split_first() else {
            panic!("no hello")
        };
        let changes = changes.iter().map(|item| match item {
            RequestItem::Change(pushed) => pushed.clone(),
            RequestItem::Hello(_) => panic!("a second hello"),
        });
        let author = Author {
            username: self.store.devices[&device].0.clone(),
            role: Role::Secretary,
            device,
            wiped: self.wiped.contains(&device),
        };
        let verdicts = self.verdicts(&author, changes.collect());
        let answering = Answering {
            lease_seconds: self.lease_seconds.unwrap_or_default(),
            pages: Pages {
                documents: PAGES.documents.min(self.checkpoint_items),
                ..PAGES
            },
        };
        let (checkpoint_items, mut since) = (self.checkpoint_items, 0);
        let is_due = |item: &ResponseItem| {
            since = match item {
                ResponseItem::Checkpoint { .. } => 0,
                _ => since + 1,
            };
            since >= checkpoint_items
        };
        let mut answer = self.store.pull(
            OFFICE_NOW,
            &author,
            hello.clone(),
            verdicts,
            answering,
            is_due,
        );
        if let Some(ResponseItem::End { lease_seconds, .. }) = answer.last_mut() {
            *lease_seconds = self.lease_seconds;
        }
        answer
    }

    /// What becomes of each change: by the rule of a newer office, if there is one; else as the office decides.
    fn verdicts(&mut self, author: &Author, changes: Vec<PushedChange>) -> Vec<Verdict> {
        let rule = self.rules.get(&author.device).cloned();
        let mut verdicts: Vec<Option<Verdict>> = Vec::new();
        let mut refused: BTreeSet<ChangeHash> = BTreeSet::new();
        let mut passed = Vec::new();
        for (index, pushed) in changes.into_iter().enumerate() {
            let change = change::decode(&pushed.bytes).unwrap();
            let is_known = self.has(change.hash)
                || self
                    .store
                    .held
                    .iter()
                    .any(|held| held.write.hash == change.hash);
            let told = match &rule {
                _ if is_known => None,
                _ if change.deps.iter().any(|dep| refused.contains(dep)) => {
                    Some(("depends_on_rejected", None, false))
                }
                Some(Rule::RefuseKey(key, code)) => {
                    writes(&change, key).then_some((*code, Some(key.clone()), false))
                }
                Some(Rule::RefuseAll(code)) => Some((*code, None, false)),
                Some(Rule::PutOff(code)) => Some((*code, None, true)),
                Some(Rule::HoldAll | Rule::HoldKey(_)) | None => None,
            };
            let Some((code, field, retryable)) = told else {
                passed.push(Ingested::new(pushed));
                verdicts.push(None);
                continue;
            };
            if !retryable {
                refused.insert(change.hash);
            }
            verdicts.push(Some(Verdict {
                index: index as u32,
                hash: Some(change.hash),
                record: pushed.record,
                status: VerdictStatus::Rejected,
                seq: None,
                code: Some(code.to_owned()),
                field,
                message: Some(format!("refused: {code}")),
                retryable,
            }));
        }
        let mut decided = Vec::new();
        for (waits, changes) in runs(passed, rule.as_ref()) {
            // As of a device that is to be wiped: all of it waits for a reviewer.
            let author = Author {
                wiped: author.wiped || waits,
                ..author.clone()
            };
            let ids = self.ids();
            let push = Push { author, changes };
            decided.extend(self.store.push(OFFICE_NOW, &push, ids, Lang::Zh));
        }
        let mut decided = decided.into_iter();
        let verdicts = verdicts.into_iter().enumerate().map(|(index, told)| {
            told.unwrap_or_else(|| Verdict {
                index: index as u32,
                ..decided.next().unwrap()
            })
        });
        verdicts.collect()
    }
}

/// The changes in their order, as far as they are held by the rule or not.
fn runs(changes: Vec<Ingested>, rule: Option<&Rule>) -> Vec<(bool, Vec<Ingested>)> {
    let waits = |ingested: &Ingested| match rule {
        Some(Rule::HoldAll) => true,
        Some(Rule::HoldKey(key)) => ingested
            .change
            .as_ref()
            .is_ok_and(|change| writes(change, key)),
        _ => false,
    };
    let mut runs: Vec<(bool, Vec<Ingested>)> = Vec::new();
    for ingested in changes {
        let waits = waits(&ingested);
        match runs.last_mut() {
            Some((same, run)) if *same == waits => run.push(ingested),
            _ => runs.push((waits, vec![ingested])),
        }
    }
    runs
}

fn writes(change: &change::Change, key: &str) -> bool {
    change
        .ops
        .iter()
        .any(|op| matches!(&op.action, change::Action::Put { key: written, .. } if written == key))
}
