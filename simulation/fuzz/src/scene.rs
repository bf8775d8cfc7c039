//! Honest phones and their office, from a seed: what mutations start from, and what must go on working beside them.
//!
//! Real Automerge through `sync_core::record`, several actors that see each other late, notes, conflicts, deletions; and the office as the server
//! decides it.

use lianka_office_core::{
    acts::Act,
    memory::{Kept, MemoryStore},
    store::{Store, Wants},
    street::{Accepted, Street},
};
use lianka_sync_core::{
    access::{Role, Writer},
    codec::change::{self, Action, Change, OpId},
    crdt::{
        merge::{Refusal, RegisterState},
        record::{Edit, Record},
    },
    id::{Actor, ChangeHash, DeviceId, RecordId, StreetCode},
    kinds::{Kind, key},
    time::{DeviceTime, ServerTime},
};
use uuid::Uuid;

use crate::draw::Draw;

pub const CONTACT: &str = "0198c0de-0000-7000-8000-00000000000a";
pub const CONSENT: &str = "0198c0de-0000-7000-8000-00000000000b";

/// Where honest phones work, and where hostile ones do.
pub const GRIDS: [&str; 2] = ["康平01", "康平02"];

/// Keys that honest phones write, most of them open to everybody.
pub const KEYS: &[&str] = &[
    "sign_name",
    "category",
    "unit",
    "road",
    "opening_hours",
    "tags/a",
    "tags/b",
    "custom/燃气",
    "custom/消防检查",
    "contacts/0198c0de-0000-7000-8000-00000000000a/name",
    "contacts/0198c0de-0000-7000-8000-00000000000a/phones",
    "confirmations/2026-11-20",
];

const VALUES: &[&str] = &["一", "王记包子", "𠮷野家", "201室", "👨‍👩‍👧", "e", "0"];
const NOTES: &[&str] = &[
    "门口积水",
    "",
    "招人",
    "门口积水，已报𠮷",
    "👨‍👩‍👧",
    "a\nb",
    "门口",
    "长长长长长长长长长长长长长长长长长长长长长长长长",
];

pub struct Phone {
    pub actor: Actor,
    pub record: Record,
}

/// The one record.
const RECORD: RecordId = RecordId(Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001));
const NOW: ServerTime = ServerTime::from_unix_ms(1_795_248_000_000);

/// What the office has of the one record, decided by `lianka-office-core` over its store in memory.
pub struct Office {
    store: MemoryStore,
    /// As Automerge saves it.
    pub document: Vec<u8>,
    pub changes: Vec<Change>,
}

/// A change that is put to the office.
struct Offer<'c> {
    change: &'c Change,
    writer: Writer,
}

impl Act for Offer<'_> {
    type Done = Accepted;
    type Refused = Refusal;

    fn wants(&self, _: &Street) -> Wants {
        Wants {
            records: [RECORD].into(),
            documents: self
                .change
                .edits_text()
                .then_some(RECORD)
                .into_iter()
                .collect(),
            ..Wants::default()
        }
    }

    fn decide(self, street: &mut Street) -> Result<Accepted, Refusal> {
        street.accept(RECORD, Kind::ShopCard, 1, self.change, self.writer)
    }
}

impl Default for Office {
    fn default() -> Self {
        let street: StreetCode = "310104003".parse().expect("a street code");
        let grids = GRIDS.map(str::to_owned).into();
        Self {
            store: MemoryStore::new(street, Uuid::from_u128(1), grids),
            document: Vec::new(),
            changes: Vec::new(),
        }
    }
}

impl Office {
    /// One that holds `state` and its document.
    pub fn holding(state: RegisterState, document: Vec<u8>) -> Self {
        let mut office = Self::default();
        let kept = Kept {
            grid: state.text(key::GRID).unwrap_or_default().to_owned(),
            seq: 1,
            grid_seq: 1,
            state,
            snapshot: (1, document.clone()),
            trimmed: Vec::new(),
        };
        office.store.head = 1;
        office.store.records.insert(RECORD, kept);
        office.document = document;
        office
    }

    pub fn state(&self) -> Option<&RegisterState> {
        Some(&self.store.records.get(&RECORD)?.state)
    }

    /// What would become of a change, and of the record. Nothing is kept.
    pub fn offer(
        &self,
        change: &Change,
        writer: Writer,
    ) -> (Result<Accepted, Refusal>, Option<RegisterState>) {
        let offer = Offer { change, writer };
        let mut street = Street::new(self.store.head(), NOW);
        let wants = offer.wants(&street);
        let loaded = self.store.load(&wants);
        street.learn(wants, loaded);
        let ruled = offer.decide(&mut street);
        (ruled, street.state(RECORD).cloned())
    }

    /// Takes a change in, with what follows from it.
    pub fn take(&mut self, change: &Change, writer: Writer) -> Result<Accepted, Refusal> {
        let before = self.store.head;
        let accepted = self.store.run(NOW, Offer { change, writer })?;
        self.store.refresh();
        self.document = self.store.document(RECORD).unwrap_or_default();
        let new = self.store.log.range(before + 1..);
        let new = new.filter_map(|(_, entry)| entry.what.change());
        self.changes
            .extend(new.filter_map(|new| change::decode(&new.bytes).ok()));
        Ok(accepted)
    }

    /// Every operation on a key so far.
    pub fn ops_on(&self, key: &str) -> Vec<OpId> {
        self.ops(|action| matches!(action, Action::Put { key: on, .. } if on == key))
    }

    pub fn ops(&self, wanted: impl Fn(&Action) -> bool) -> Vec<OpId> {
        let of = |change: &Change| {
            let ids: Vec<_> = change
                .ops
                .iter()
                .enumerate()
                .filter(|(_, op)| wanted(&op.action))
                .map(|(at, _)| change.op_id(at))
                .collect();
            ids
        };
        self.changes.iter().flat_map(of).collect()
    }

    pub fn hashes(&self) -> Vec<ChangeHash> {
        self.changes.iter().map(|change| change.hash).collect()
    }
}

pub fn device(n: u32) -> DeviceId {
    DeviceId(Uuid::from_u128(
        0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(n),
    ))
}

/// One record of one street, its office and its phones.
pub struct Scene {
    pub draw: Draw,
    pub office: Office,
    pub phones: Vec<Phone>,
    /// Something that no honest phone wrote was taken in.
    pub tainted: bool,
    time: i64,
    epochs: u32,
}

pub const SECRETARY: Writer = Writer::Person(Role::Secretary);

fn put(key: &str, value: &str) -> Edit {
    Edit::Put {
        key: key.into(),
        value: value.into(),
    }
}

impl Scene {
    /// A scene before its first change.
    pub fn new(seed: u64) -> Self {
        Self {
            draw: Draw::new(seed),
            office: Office::default(),
            phones: Vec::new(),
            tainted: false,
            time: 1_795_000_000,
            epochs: 1,
        }
    }

    fn now(&mut self) -> DeviceTime {
        self.time += 1;
        // Clocks of phones are skewed, and some write none.
        let skewed = match self.draw.below(20) {
            0 => 0,
            1 => self.time - 86_400 * 400,
            _ => self.time,
        };
        DeviceTime::from_unix_seconds(skewed)
    }

    /// The next change that an honest phone writes, and which phone: the creating one first.
    pub fn honest_change(&mut self) -> Option<(usize, Change)> {
        if self.office.changes.is_empty() {
            return self.creating_change().map(|change| (0, change));
        }
        for _ in 0..8 {
            let at = self.draw.below(self.phones.len());
            if self.draw.one_in(3) {
                self.pull(at);
            }
            let edits: Vec<_> = (0..=self.draw.below(4)).map(|_| self.edit()).collect();
            let now = self.now();
            let message = if self.draw.one_in(6) {
                "电话核实"
            } else {
                ""
            };
            let phone = &mut self.phones[at];
            if let Some(change) = phone.record.edit(phone.actor, now, &edits, message).ok()? {
                return Some((at, change));
            }
        }
        None
    }

    fn creating_change(&mut self) -> Option<Change> {
        let actor = Actor::new(device(0), 1);
        let mut edits = vec![
            put("kind", "shop_card"),
            put("street", "310104003"),
            put("grid", GRIDS[0]),
            put("sign_name", "王记包子"),
        ];
        if self.draw.one_in(2) {
            edits.push(Edit::Note {
                text: "门口积水".into(),
            });
        }
        if self.draw.one_in(3) {
            for (field, value) in [
                ("contact", CONTACT),
                ("scope", "party_status"),
                ("decision", "grant"),
            ] {
                edits.push(put(&format!("consent/{CONSENT}/{field}"), value));
            }
            edits.push(put(&format!("contacts/{CONTACT}/party_status"), "群众"));
        }
        let now = self.now();
        let (record, change) = Record::create(actor, now, &edits).ok()?;
        self.phones.push(Phone { actor, record });
        for n in 1..=1 + self.draw.below(4) as u32 {
            let record = Record::load(&change.bytes).ok()?;
            self.phones.push(Phone {
                actor: Actor::new(device(n), 1),
                record,
            });
        }
        Some(change)
    }

    /// One edit of an honest person.
    pub fn edit(&mut self) -> Edit {
        let draw = &mut self.draw;
        if draw.one_in(4) {
            return Edit::Note {
                text: (*draw.pick(NOTES)).to_owned(),
            };
        }
        let key = *draw.pick(KEYS);
        if draw.one_in(4) {
            Edit::Delete { key: key.into() }
        } else if key.starts_with("tags/") || key.starts_with("confirmations/") {
            Edit::add(key)
        } else {
            put(key, draw.pick::<&str>(VALUES))
        }
    }

    /// The phone sees all that the office has. It holds nothing unsent: every change was pushed when it was made.
    pub fn pull(&mut self, at: usize) {
        if let Ok(record) = Record::load(&self.office.document) {
            self.phones[at].record = record;
        }
    }

    /// Phones whose device wrote something behind their back, or whose change was not sent, start anew under another epoch.
    pub fn rebase(&mut self, device: DeviceId) {
        for at in 0..self.phones.len() {
            if self.phones[at].actor.device() == device {
                self.epochs += 1;
                self.phones[at].actor = Actor::new(device, 1_000_000 + self.epochs);
                self.pull(at);
            }
        }
    }
}
