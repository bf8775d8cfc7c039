//! A street's server in memory: the real gate, merge and cursor of the core around a list.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lianka_sync_core::{
    access::Role,
    codec::{
        change::{self, Change},
        cursor::{self, Cursor, Position, Pull},
        wire::{RequestItem, ResponseItem, Verdict, VerdictStatus},
    },
    crdt::{
        merge::{self, Context, NoteDocument, Refusal, RegisterState, Target},
        record::{Edit, Record},
    },
    id::{Actor, ChangeHash, DeviceId, RecordId, StreetCode},
    kinds::{
        Kind,
        projection::{self, Projected},
    },
    lang::Lang,
    time::{DeviceTime, ServerTime},
};
use uuid::Uuid;

#[derive(Clone)]
struct Entry {
    seq: u64,
    generation: u32,
    change: Change,
}

/// A record's log of its present generation.
#[derive(Clone)]
struct Logged {
    generation: u32,
    grid: String,
    log: Vec<Entry>,
    /// In the core's eyes every generation is the first.
    state: RegisterState,
}

/// How the model answers a change, beyond what the core decides.
#[derive(Clone, Debug)]
pub enum Whim {
    /// Refuse whatever writes this key.
    RefuseKey(String, &'static str),
    /// Refuse every change.
    RefuseAll(&'static str, bool),
    /// Keep every change for a reviewer.
    HoldAll,
}

#[derive(Clone)]
pub struct Model {
    pub street: StreetCode,
    pub epoch: Uuid,
    pub head: u64,
    pub scope_epoch: i64,
    records: BTreeMap<RecordId, Logged>,
    erased: Vec<(u64, RecordId)>,
    held: BTreeMap<ChangeHash, (RecordId, u32, Change)>,
    /// Which grids a device works, and which records it was sent.
    pub grids: HashMap<DeviceId, BTreeSet<String>>,
    seen: HashMap<DeviceId, BTreeSet<RecordId>>,
    pub whims: HashMap<DeviceId, Whim>,
    pub wiped: BTreeSet<DeviceId>,
    /// A checkpoint after so many items.
    pub checkpoint_items: usize,
    /// Snapshots lag behind the log by so many entries, which follow as changes.
    pub lag: usize,
    /// What `end` grants.
    pub lease_seconds: Option<u64>,
}

/// The state after the office's own creating change.
fn begun(street: &StreetCode, change: &Change) -> RegisterState {
    let mut target = Target::default();
    let device = change.actor.device();
    let received_at = ServerTime::from_unix_ms(1);
    let context = Context {
        street,
        kind: Kind::ShopCard,
        generation: 1,
        device,
        writer: Role::Admin.into(),
        received_at,
    };
    merge::merge(&mut target, change, &context).unwrap();
    target.state.unwrap()
}

impl Model {
    pub fn new() -> Self {
        Self {
            street: "310104003".parse().unwrap(),
            epoch: Uuid::from_u128(1),
            head: 0,
            scope_epoch: 1,
            records: BTreeMap::new(),
            erased: Vec::new(),
            held: BTreeMap::new(),
            grids: HashMap::new(),
            seen: HashMap::new(),
            whims: HashMap::new(),
            wiped: BTreeSet::new(),
            checkpoint_items: usize::MAX,
            lag: 0,
            lease_seconds: None,
        }
    }

    /// A card as the importer's desk makes one.
    pub fn import(&mut self, number: u32, edits: &[Edit]) -> RecordId {
        let record = RecordId(Uuid::from_u128(
            0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(number),
        ));
        let desk = DeviceId(Uuid::from_u128(0xde5c));
        let mut all = vec![
            Edit::set("kind", "shop_card"),
            Edit::set("street", "310104003"),
            Edit::set("grid", "A1"),
        ];
        all.extend_from_slice(edits);
        let (_, change) = Record::create(
            Actor::new(desk, 1),
            DeviceTime::from_unix_ms(1_000_000),
            &all,
        )
        .unwrap();
        self.head += 1;
        let state = begun(&self.street, &change);
        let log = vec![Entry {
            seq: self.head,
            generation: 1,
            change,
        }];
        self.records.insert(
            record,
            Logged {
                generation: 1,
                grid: "A1".into(),
                log,
                state,
            },
        );
        record
    }

    pub fn document(&self, record: RecordId) -> Record {
        let mut document = Record::load(&[]).unwrap();
        document
            .apply(
                self.records[&record]
                    .log
                    .iter()
                    .map(|entry| entry.change.bytes.as_slice()),
            )
            .unwrap();
        document
    }

    pub fn text(&self, record: RecordId, key: &str) -> Option<String> {
        self.document(record)
            .view()
            .unwrap()
            .text(key)
            .map(str::to_owned)
    }

    pub fn holds(&self, record: RecordId) -> bool {
        self.records.contains_key(&record)
    }

    pub fn has(&self, hash: ChangeHash) -> bool {
        self.records
            .values()
            .any(|logged| logged.log.iter().any(|entry| entry.change.hash == hash))
    }

    pub fn rows(&self) -> Vec<Projected> {
        let project = |(record, logged): (&RecordId, &Logged)| {
            projection::project(
                *record,
                logged.generation,
                &self.document(*record).view().unwrap(),
            )
            .unwrap()
        };
        self.records.iter().map(project).collect()
    }

    /// The record as a new document: one change by the office that says what the old one said.
    pub fn rebuild(&mut self, record: RecordId) {
        let view = self.document(record).view().unwrap();
        let mut edits: Vec<_> = view
            .values
            .iter()
            .map(|(key, values)| Edit::Put {
                key: key.clone(),
                value: values.last().unwrap().value.clone(),
            })
            .collect();
        edits.push(Edit::Note {
            text: view.note.unwrap_or_default(),
        });
        let desk = DeviceId(Uuid::from_u128(0xde5c));
        let (_, change) = Record::create(
            Actor::new(desk, 99),
            DeviceTime::from_unix_ms(2_000_000),
            &edits,
        )
        .unwrap();
        self.head += 1;
        let state = begun(&self.street, &change);
        let logged = self.records.get_mut(&record).unwrap();
        logged.state = state;
        logged.generation += 1;
        logged.log = vec![Entry {
            seq: self.head,
            generation: logged.generation,
            change,
        }];
    }

    pub fn erase(&mut self, record: RecordId) {
        self.head += 1;
        self.records.remove(&record);
        self.erased.push((self.head, record));
    }

    pub fn move_to_grid(&mut self, record: RecordId, grid: &str) {
        self.records.get_mut(&record).unwrap().grid = grid.into();
    }

    /// What a device was sent is not known here any more, as a real server does not know it.
    pub fn forget_seen(&mut self, device: DeviceId) {
        self.seen.remove(&device);
    }

    /// A reviewer decides.
    pub fn rule_on_held(&mut self, hash: ChangeHash, accept: bool) {
        let (record, generation, change) = self.held.remove(&hash).unwrap();
        if accept {
            self.head += 1;
            let logged = self.records.get_mut(&record).unwrap();
            let mut target = Target {
                state: Some(logged.state.clone()),
                document: None,
            };
            let (device, received_at) = (change.actor.device(), ServerTime::from_unix_ms(1));
            let context = Context {
                street: &self.street,
                kind: Kind::ShopCard,
                generation: 1,
                device,
                writer: Role::Secretary.into(),
                received_at,
            };
            merge::merge(&mut target, &change, &context).unwrap();
            logged.state = target.state.unwrap();
            logged.log.push(Entry {
                seq: self.head,
                generation,
                change,
            });
        }
    }

    /// A backup put back: what came after is lost, the history is another one.
    pub fn restore(&mut self, backup: &Self) {
        let epoch = Uuid::from_u128(self.epoch.as_u128() + 1);
        *self = Self {
            epoch,
            grids: self.grids.clone(),
            whims: self.whims.clone(),
            ..backup.clone()
        };
    }

    /// The same without a word of it: the history counts as the one that it was.
    pub fn put_back(&mut self, backup: &Self) {
        let epoch = self.epoch;
        self.restore(backup);
        self.epoch = epoch;
    }

    fn verdict(
        &mut self,
        device: DeviceId,
        role: Role,
        index: u32,
        pushed: &lianka_sync_core::codec::wire::PushedChange,
        refused: &mut BTreeSet<ChangeHash>,
    ) -> Verdict {
        let mut verdict = Verdict {
            index,
            hash: None,
            record: pushed.record,
            status: VerdictStatus::Accepted,
            seq: None,
            code: None,
            field: None,
            message: None,
            retryable: false,
        };
        let before = refused.clone();
        let mut reject =
            |verdict: &mut Verdict, code: &str, field: Option<&str>, retryable: bool| {
                verdict.status = VerdictStatus::Rejected;
                verdict.code = Some(code.to_owned());
                verdict.field = field.map(str::to_owned);
                verdict.message = Some(format!("refused: {code}"));
                verdict.retryable = retryable;
                if !retryable {
                    refused.extend(verdict.hash);
                }
            };
        let change = match change::decode(&pushed.bytes) {
            Ok(change) => change,
            Err(error) => {
                reject(&mut verdict, error.code(), None, false);
                return verdict;
            }
        };
        verdict.hash = Some(change.hash);
        if let Some(entry) = self.records.get(&pushed.record).and_then(|logged| {
            logged
                .log
                .iter()
                .find(|entry| entry.change.hash == change.hash)
        }) {
            (verdict.status, verdict.seq) = (VerdictStatus::Duplicate, Some(entry.seq));
            return verdict;
        }
        if self.held.contains_key(&change.hash) {
            (verdict.status, verdict.code) = (VerdictStatus::Held, Some("reassigned".into()));
            return verdict;
        }
        let depends = change.deps.iter().any(|dep| before.contains(dep));
        if depends {
            reject(&mut verdict, "depends_on_rejected", None, false);
            return verdict;
        }
        match self.whims.get(&device) {
            Some(Whim::RefuseAll(code, retryable)) => {
                reject(&mut verdict, code, None, *retryable);
                return verdict;
            }
            Some(Whim::RefuseKey(key, code)) => {
                let writes = |op: &change::Op| matches!(&op.action, change::Action::Put { key: written, .. } if written == key);
                if change.ops.iter().any(writes) {
                    reject(&mut verdict, code, Some(key), false);
                    return verdict;
                }
            }
            Some(Whim::HoldAll) => {
                (verdict.status, verdict.code) = (VerdictStatus::Held, Some("reassigned".into()));
                self.held
                    .insert(change.hash, (pushed.record, pushed.generation, change));
                return verdict;
            }
            None => {}
        }
        let grids = self.grids.get(&device).cloned().unwrap_or_default();
        if self
            .records
            .get(&pushed.record)
            .is_some_and(|logged| !grids.contains(&logged.grid))
        {
            reject(&mut verdict, Refusal::NotYourGrid.code(), None, false);
            return verdict;
        }
        let known = self.records.get(&pushed.record);
        let document = known.filter(|_| change.edits_text()).map(|logged| {
            let bytes: Vec<u8> = logged
                .log
                .iter()
                .flat_map(|entry| entry.change.bytes.clone())
                .collect();
            NoteDocument::load(&bytes).unwrap()
        });
        let mut target = Target {
            state: known.map(|logged| logged.state.clone()),
            document,
        };
        let received_at = ServerTime::from_unix_ms(1);
        let context = Context {
            street: &self.street,
            kind: pushed.kind,
            generation: 1,
            device,
            writer: role.into(),
            received_at,
        };
        let current = self
            .records
            .get(&pushed.record)
            .map_or(1, |logged| logged.generation);
        let merged = if pushed.generation == current {
            merge::merge(&mut target, &change, &context)
        } else {
            Err(Refusal::StaleGeneration)
        };
        match merged {
            Ok(_) => {
                self.head += 1;
                verdict.seq = Some(self.head);
                let state = target.state.unwrap();
                let grid = state.text("grid").unwrap_or_default().to_owned();
                let new = Logged {
                    generation: 1,
                    grid,
                    log: Vec::new(),
                    state: state.clone(),
                };
                let logged = self.records.entry(pushed.record).or_insert(new);
                logged.state = state;
                logged.log.push(Entry {
                    seq: self.head,
                    generation: current,
                    change,
                });
                self.seen.entry(device).or_default().insert(pushed.record);
            }
            Err(refusal) => {
                let key = refusal.key().map(str::to_owned);
                reject(
                    &mut verdict,
                    refusal.code(),
                    key.as_deref(),
                    refusal.retryable(),
                );
                verdict.message = Some(refusal.message(Lang::Zh));
            }
        }
        verdict
    }

    fn send_snapshot(&mut self, device: DeviceId, record: RecordId, out: &mut Vec<ResponseItem>) {
        let logged = &self.records[&record];
        let whole = logged.log.len().saturating_sub(self.lag).max(1);
        let bytes = logged.log[..whole]
            .iter()
            .flat_map(|entry| entry.change.bytes.clone())
            .collect();
        let seq = logged.log[whole - 1].seq;
        out.push(ResponseItem::Snapshot {
            record,
            kind: Kind::ShopCard,
            grid: logged.grid.clone(),
            generation: logged.generation,
            seq,
            bytes,
        });
        for entry in &logged.log[whole..] {
            out.push(ResponseItem::Change {
                record,
                generation: entry.generation,
                seq: entry.seq,
                bytes: entry.change.bytes.clone(),
            });
        }
        self.seen.entry(device).or_default().insert(record);
    }

    pub fn answer(
        &mut self,
        device: DeviceId,
        role: Role,
        items: &[RequestItem],
    ) -> Vec<ResponseItem> {
        let Some((RequestItem::Hello(hello), changes)) = items.split_first() else {
            panic!("no hello")
        };
        let mut out = Vec::new();
        let mut refused = BTreeSet::new();
        let mut owed = BTreeSet::new();
        for (index, item) in changes.iter().enumerate() {
            let RequestItem::Change(pushed) = item else {
                panic!("a second hello")
            };
            let verdict = self.verdict(device, role, index as u32, pushed, &mut refused);
            if verdict.status == VerdictStatus::Rejected && !verdict.retryable {
                owed.insert(verdict.record);
            }
            out.push(ResponseItem::Verdict(verdict));
        }
        let brought: BTreeSet<_> = out
            .iter()
            .filter_map(|item| {
                if let ResponseItem::Verdict(verdict) = item {
                    verdict.seq
                } else {
                    None
                }
            })
            .collect();
        let grids = self.grids.get(&device).cloned().unwrap_or_default();
        owed.retain(|record| {
            !self.wiped.contains(&device)
                && self
                    .records
                    .get(record)
                    .is_some_and(|logged| grids.contains(&logged.grid))
        });
        for record in &owed {
            self.send_snapshot(device, *record, &mut out);
        }
        let lease_seconds = self.lease_seconds;
        let end = |cursor, head| ResponseItem::End {
            cursor,
            head,
            server_time: ServerTime::from_unix_ms(9_000_000),
            lease_seconds,
        };
        if self.wiped.contains(&device) {
            out.extend([ResponseItem::Wipe, end(None, self.head)]);
            return out;
        }
        if !hello.pull {
            out.push(end(None, self.head));
            return out;
        }
        let position = Position {
            store_epoch: self.epoch,
            street: &self.street,
            head: self.head,
            scope_epoch: self.scope_epoch,
        };
        let plan = cursor::plan(hello.cursor.as_deref(), &position);
        let (store_epoch, street, scope_epoch) =
            (self.epoch, self.street.to_string(), self.scope_epoch);
        let at = |sequence, downloading| {
            Cursor {
                store_epoch,
                street: street.clone(),
                sequence,
                scope_epoch,
                downloading,
            }
            .encode()
        };
        let (head, done) = (self.head, at(self.head, false));
        if plan == Pull::Reset {
            out.extend([ResponseItem::Reset { epoch: self.epoch }, end(None, head)]);
            return out;
        }
        // What it brought once more and may not see.
        let duplicate = |item: &ResponseItem| match item {
            ResponseItem::Verdict(verdict) if verdict.status == VerdictStatus::Duplicate => {
                Some(verdict.record)
            }
            _ => None,
        };
        let again: BTreeSet<_> = out.iter().filter_map(duplicate).collect();
        let hidden = |record: &RecordId| {
            self.records
                .get(record)
                .is_some_and(|logged| !grids.contains(&logged.grid))
        };
        out.extend(
            again
                .into_iter()
                .filter(hidden)
                .map(|record| ResponseItem::Leave { record }),
        );
        match plan {
            Pull::Reset | Pull::Nothing => {}
            Pull::Download { after, .. } => {
                if hello.cursor.is_none() {
                    out.extend(
                        self.erased
                            .iter()
                            .map(|(_, record)| ResponseItem::Erase { record: *record }),
                    );
                }
                let mut records: Vec<_> = self
                    .records
                    .iter()
                    .filter(|(_, logged)| grids.contains(&logged.grid))
                    .map(|(record, logged)| (logged.log.last().unwrap().seq, *record))
                    .filter(|(seq, _)| *seq > after)
                    .collect();
                records.sort_unstable();
                for (sent, (seq, record)) in records.into_iter().enumerate() {
                    let checkpoint = at(seq, true);
                    self.send_snapshot(device, record, &mut out);
                    if (sent + 1).is_multiple_of(self.checkpoint_items) {
                        out.push(ResponseItem::Checkpoint { cursor: checkpoint });
                    }
                }
            }
            Pull::Delta { after, .. } => {
                let seen = self.seen.get(&device).cloned().unwrap_or_default();
                for record in seen.iter().filter(|record| {
                    self.records
                        .get(record)
                        .is_none_or(|logged| !grids.contains(&logged.grid))
                }) {
                    let erased = self
                        .erased
                        .iter()
                        .any(|(seq, erased)| erased == record && *seq > after);
                    let item = if erased {
                        ResponseItem::Erase { record: *record }
                    } else {
                        ResponseItem::Leave { record: *record }
                    };
                    out.push(item);
                    self.seen.entry(device).or_default().remove(record);
                }
                let in_scope: Vec<_> = self
                    .records
                    .iter()
                    .filter(|(_, logged)| grids.contains(&logged.grid))
                    .map(|(record, _)| *record)
                    .collect();
                for record in in_scope {
                    let logged = &self.records[&record];
                    let fresh: Vec<_> = logged
                        .log
                        .iter()
                        .filter(|entry| entry.seq > after)
                        .cloned()
                        .collect();
                    let rebuilt = logged.generation > 1 && logged.log[0].seq > after;
                    if !seen.contains(&record) || rebuilt {
                        self.send_snapshot(device, record, &mut out);
                        continue;
                    }
                    for entry in fresh
                        .into_iter()
                        .filter(|entry| !brought.contains(&entry.seq))
                    {
                        out.push(ResponseItem::Change {
                            record,
                            generation: entry.generation,
                            seq: entry.seq,
                            bytes: entry.change.bytes,
                        });
                    }
                }
            }
        }
        out.push(end(Some(done), head));
        out
    }
}
