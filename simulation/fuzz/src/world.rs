//! Honest phones and their server, from a seed: what mutations start from, and what must go on working beside them.
//!
//! Real Automerge through `sync_core::record`, several actors that see each other late, notes, conflicts, deletions; and the server's half:
//! the register state by MERGE with the document beside it.

use std::cell::Cell;

use lianka_sync_core::{
    access::{Role, Writer},
    codec::change::{Action, Change, OpId},
    crdt::{
        merge::{Context, Merged, NoteDocument, Refusal, RegisterState, Target, merge},
        record::{Edit, Record},
    },
    id::{Actor, ChangeHash, DeviceId, StreetCode},
    kinds::Kind,
    time::{DeviceTime, ServerTime},
};
use uuid::Uuid;

use crate::draw::Draw;

pub const CONTACT: &str = "0198c0de-0000-7000-8000-00000000000a";
pub const CONSENT: &str = "0198c0de-0000-7000-8000-00000000000b";

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

/// What the server holds of the one record.
#[derive(Default)]
pub struct Server {
    pub state: Option<RegisterState>,
    /// As Automerge saves it.
    pub document: Vec<u8>,
    pub changes: Vec<Change>,
    /// Loaded once, for as long as nothing is accepted into it.
    note: Cell<Option<NoteDocument>>,
}

impl Server {
    /// A server that holds `state` and its document.
    pub fn holding(state: RegisterState, document: Vec<u8>) -> Self {
        Self {
            state: Some(state),
            document,
            ..Self::default()
        }
    }

    /// The record as MERGE takes it, with the document where `change` needs it.
    pub fn target(&self, change: &Change) -> Target {
        let document = (change.edits_text() && self.state.is_some())
            .then(|| {
                self.note
                    .take()
                    .or_else(|| NoteDocument::load(&self.document).ok())
            })
            .flatten();
        Target {
            state: self.state.clone(),
            document,
        }
    }

    /// Takes the document of a refused change back: a refusal left it as it was.
    pub fn unmoved(&self, target: Target) {
        if target.document.is_some() {
            self.note.set(target.document);
        }
    }

    /// Keeps a change that MERGE made `state` of.
    pub fn keep(&mut self, change: Change, state: Option<RegisterState>) {
        self.state = state;
        self.document.extend(&change.bytes);
        if let Ok(mut record) = Record::load(&self.document) {
            self.document = record.save();
        }
        self.changes.push(change);
        self.note.set(None);
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

/// MERGE of a shop card of street 310104003.
pub fn merged(target: &mut Target, change: &Change, writer: Writer) -> Result<Merged, Refusal> {
    let street: StreetCode = match "310104003".parse() {
        Ok(street) => street,
        Err(_) => return Err(Refusal::WrongStreet),
    };
    let received_at = ServerTime::from_unix_ms(1_795_248_000_000);
    let device = change.actor.device();
    merge(
        target,
        change,
        &Context {
            street: &street,
            kind: Kind::ShopCard,
            generation: 1,
            device,
            writer,
            received_at,
        },
    )
}

pub fn device(n: u32) -> DeviceId {
    DeviceId(Uuid::from_u128(
        0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(n),
    ))
}

/// One record of one street, its server and its phones.
pub struct World {
    pub draw: Draw,
    pub server: Server,
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

impl World {
    /// A world before its first change.
    pub fn new(seed: u64) -> Self {
        Self {
            draw: Draw::new(seed),
            server: Server::default(),
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
        if self.server.changes.is_empty() {
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
            put("grid", "康平01"),
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

    /// The phone sees all that the server has. It holds nothing unsent: every change was pushed when it was made.
    pub fn pull(&mut self, at: usize) {
        if let Ok(record) = Record::load(&self.server.document) {
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
