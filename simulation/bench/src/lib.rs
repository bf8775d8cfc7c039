//! Single operations of the cores on a small reconnect morning: 100 cards, four phones with 60 offline edits each.
//!
//! Out: [`operations()`], each with a name and a way to prepare it once more. The same program always prepares the same bytes, so that allocations and
//! instructions can be counted and compared; times are criterion's to measure (`benches/operations.rs`).

use std::{collections::BTreeSet, rc::Rc};

use lianka_client_core::{
    Identity, Moment, Synchronisation,
    exchange::Holdings,
    session,
    store::{RecordStore, Records, memory::MemoryStore as PhoneStore},
};
use lianka_office_core::{
    ids::Ids,
    memory::{Answering, MemoryStore, User},
    pull::PAGES,
    push::{Author, Ingested, Push},
};
use lianka_sync_core::{
    access::Role,
    codec::{
        change::{self, Change},
        wire::{Encoding, Hello, ItemReader, PushedChange, Report, ResponseItem},
    },
    crdt::{
        merge::RegisterState,
        record::{Edit, Record},
    },
    id::{Actor, DeviceId, RecordId, StreetCode},
    kinds::{Kind, projection},
    lang::Lang,
    time::{DeviceTime, ServerTime},
};
use uuid::Uuid;

const CARDS: u128 = 100;
const PHONES: u128 = 4;
const EDITS: u128 = 60;
const GRID: &str = "A1";
const STREET: &str = "310104003";
/// 2026-11-28 08:00 in Shanghai.
const MORNING_MS: i64 = 1_795_824_000_000;
const LEASE_SECONDS: u64 = 86_400;

/// An operation.
pub struct Operation {
    /// `gate`, `merge` …
    pub name: &'static str,
    /// How many changes, cards or items it goes through.
    pub of: usize,
    prepare: Box<dyn Fn() -> Run>,
}

/// A prepared operation, to run once. Says something about what came out, so that nothing is left out.
pub type Run = Box<dyn FnOnce() -> usize>;

impl Operation {
    fn new<R: FnOnce() -> usize + 'static>(
        name: &'static str,
        of: usize,
        prepare: impl Fn() -> R + 'static,
    ) -> Self {
        Self {
            name,
            of,
            prepare: Box::new(move || Box::new(prepare())),
        }
    }

    /// Everything that is not measured.
    pub fn prepare(&self) -> Run {
        (self.prepare)()
    }
}

/// Every operation.
pub fn operations() -> Vec<Operation> {
    let morning = Rc::new(Morning::new());
    let edits = morning.edits();
    let decoded: Vec<Change> = edits
        .iter()
        .filter_map(|edit| change::decode(edit).ok())
        .collect();
    let mut office = morning.pushed();
    let states: Vec<(RecordId, RegisterState)> = office
        .records
        .iter()
        .map(|(record, kept)| (*record, kept.state.clone()))
        .collect();
    let (first, next) = (
        office.answer(None),
        office.answer(Some(morning.cursor.clone())),
    );
    let (next_bytes, fresh, caught_up) = (
        written(&next),
        morning.phone(),
        morning.phone_with(&morning.before),
    );
    let changes = edits.len();
    vec![
        Operation::new("gate", changes, {
            let edits = edits.clone();
            move || {
                let edits = edits.clone();
                move || {
                    edits
                        .iter()
                        .filter(|edit| change::decode(edit).is_ok())
                        .count()
                }
            }
        }),
        Operation::new("encode", changes, move || {
            let decoded = decoded.clone();
            move || {
                decoded
                    .iter()
                    .map(|change| change::encode(change).len())
                    .sum()
            }
        }),
        Operation::new("merge", changes, {
            let morning = Rc::clone(&morning);
            move || {
                let (mut office, pushes) = (morning.office.clone(), morning.pushes());
                move || office.take(pushes)
            }
        }),
        Operation::new("project", states.len(), move || {
            let states = states.clone();
            move || {
                let rows = states.iter().filter_map(|(record, state)| {
                    projection::project(*record, state.generation(), &state.view())
                });
                rows.count()
            }
        }),
        Operation::new("write", next.len(), {
            let next = next.clone();
            move || {
                let next = next.clone();
                move || written(&next).len()
            }
        }),
        Operation::new("read", next.len(), move || {
            let bytes = next_bytes.clone();
            move || {
                let mut reader = ItemReader::new(Encoding::CborSeq);
                reader.push(&bytes);
                std::iter::from_fn(|| reader.next_item::<ResponseItem>().ok().flatten()).count()
            }
        }),
        Operation::new("first sync", first.len(), move || {
            let (phone, items) = (fresh.clone(), first.clone());
            move || receive(phone, items)
        }),
        Operation::new("apply", next.len(), move || {
            let (phone, items) = (caught_up.clone(), next.clone());
            move || receive(phone, items)
        }),
    ]
}

/// Items as they are sent.
fn written(items: &[ResponseItem]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        Encoding::CborSeq.write(item, &mut bytes);
    }
    bytes
}

/// The office and its phones before anybody reconnects.
struct Morning {
    office: MemoryStore,
    /// Each phone's edits with the records they are of.
    offline: Vec<Vec<(RecordId, Vec<u8>)>>,
    /// What a phone was sent before it went offline, and from where it goes on.
    before: Vec<ResponseItem>,
    cursor: String,
}

fn device(n: u128) -> DeviceId {
    DeviceId(Uuid::from_u128(
        0x0192_0000_0000_7000_8000_0000_0000_0000 + n,
    ))
}

fn username(n: u128) -> String {
    format!("secretary{n}")
}

fn street() -> StreetCode {
    STREET.parse().expect("a street")
}

impl Morning {
    fn new() -> Self {
        let grids = BTreeSet::from([GRID.to_owned()]);
        let mut office = MemoryStore::new(street(), Uuid::from_u128(9), grids.clone());
        for n in 0..=PHONES {
            let mut user = User::new(Role::Secretary, "王芳");
            user.assign(&grids);
            office.users.insert(username(n), user);
            office
                .devices
                .insert(device(n), (username(n), "手机".into()));
        }
        let cards: Vec<(RecordId, Record, Vec<u8>)> = (0..CARDS).map(card).collect();
        let made = cards
            .iter()
            .map(|(record, _, bytes)| (*record, bytes.clone()));
        office.take(vec![push(0, made)]);
        let before = office.answer(None);
        let cursor = before.iter().find_map(|item| match item {
            ResponseItem::End { cursor, .. } => cursor.clone(),
            _ => None,
        });
        let offline = (1..=PHONES).map(|phone| offline(phone, &cards)).collect();
        Self {
            office,
            offline,
            before,
            cursor: cursor.expect("an answer ends with a cursor"),
        }
    }

    fn edits(&self) -> Vec<Vec<u8>> {
        let edits = self.offline.iter().flatten();
        edits.map(|(_, bytes)| bytes.clone()).collect()
    }

    fn pushes(&self) -> Vec<Push> {
        let phones = (1..).zip(&self.offline);
        phones
            .map(|(phone, edits)| push(phone, edits.iter().cloned()))
            .collect()
    }

    /// The office once all are back.
    fn pushed(&self) -> MemoryStore {
        let mut office = self.office.clone();
        assert_eq!(office.take(self.pushes()), (PHONES * EDITS) as usize);
        office
    }

    /// A phone that only just enrolled.
    fn phone(&self) -> PhoneStore {
        let mut phone = PhoneStore::default();
        let identity = Identity {
            device: device(0),
            username: username(0),
            display_name: "王芳".into(),
            role: Role::Secretary,
            street: self.office.street.clone(),
            street_name: "天平路街道".into(),
            grids: Vec::new(),
            former_devices: Vec::new(),
        };
        let enrolled: Result<(), lianka_client_core::store::Unfit> =
            phone.write(|tx| tx.set_identity(&identity));
        enrolled.expect("enrolled");
        phone
    }

    /// One that was sent something.
    fn phone_with(&self, items: &[ResponseItem]) -> PhoneStore {
        let mut phone = self.phone();
        assert!(take(&mut phone, items.to_vec()));
        phone
    }
}

/// A card with what most cards have.
fn card(n: u128) -> (RecordId, Record, Vec<u8>) {
    let record = RecordId(Uuid::from_u128(
        0x0193_0000_0000_7000_8000_0000_0000_0000 + n,
    ));
    let contact = Uuid::from_u128(0x0194_0000_0000_7000_8000_0000_0000_0000 + n);
    let edits = [
        ("kind", "shop_card".to_owned()),
        ("street", STREET.into()),
        ("grid", GRID.into()),
        ("sign_name", format!("阿福面馆{n}号店")),
        ("category", "餐饮".into()),
        ("road", "天平路".into()),
        ("number", (n * 2 + 1).to_string()),
        ("address_raw", format!("天平路{}号", n * 2 + 1)),
        ("opening_hours", "07:00-21:00".into()),
    ];
    let mut edits: Vec<Edit> = edits
        .into_iter()
        .map(|(key, value)| Edit::set(key, &value))
        .collect();
    for (field, value) in [
        ("name", "钱小红".to_owned()),
        ("phones", format!("1370000{n:04}")),
    ] {
        edits.push(Edit::set(format!("contacts/{contact}/{field}"), &value));
    }
    let at = DeviceTime::from_unix_ms(MORNING_MS - 86_400_000);
    let (document, created) = Record::create(Actor::new(device(0), 1), at, &edits).expect("a card");
    (record, document, created.bytes)
}

/// What a phone writes with no network: some of it to fields that the next phone writes too.
fn offline(phone: u128, cards: &[(RecordId, Record, Vec<u8>)]) -> Vec<(RecordId, Vec<u8>)> {
    let mut copies: Vec<Record> = cards
        .iter()
        .map(|(_, _, bytes)| Record::load(bytes).expect("a card"))
        .collect();
    let edit = |n: u128| {
        let at = ((phone * 17 + n * 5) % CARDS) as usize;
        let edits = match n % 4 {
            0 => [Edit::set(
                "opening_hours",
                &format!("0{phone}:{n:02}-22:00"),
            )],
            1 => [Edit::set("number_suffix", &format!("{phone}{n}"))],
            2 => [Edit::set("sign_name", &format!("阿福面馆{phone}{n}"))],
            _ => [Edit::set("custom/备注", &format!("第{phone}人第{n}次"))],
        };
        let made_at = DeviceTime::from_unix_ms(MORNING_MS + (n * 60_000) as i64);
        let change = copies[at].edit(Actor::new(device(phone), 1), made_at, &edits, "");
        let change = change.expect("it is an edit").expect("that says something");
        (cards[at].0, change.bytes)
    };
    (0..EDITS).map(edit).collect()
}

fn push(phone: u128, changes: impl Iterator<Item = (RecordId, Vec<u8>)>) -> Push {
    let change = |(record, bytes)| {
        Ingested::new(PushedChange {
            record,
            kind: Kind::ShopCard,
            generation: 1,
            bytes,
        })
    };
    Push {
        author: Author {
            username: username(phone),
            role: Role::Secretary,
            device: device(phone),
            wiped: false,
        },
        changes: changes.map(change).collect(),
    }
}

/// What an office is asked here.
trait Office {
    /// Merges pushes; how many changes were accepted.
    fn take(&mut self, pushes: Vec<Push>) -> usize;
    /// What the first phone lacks.
    fn answer(&mut self, cursor: Option<String>) -> Vec<ResponseItem>;
}

impl Office for MemoryStore {
    fn take(&mut self, pushes: Vec<Push>) -> usize {
        let now = ServerTime::from_unix_ms(MORNING_MS);
        let mut accepted = 0;
        for push in pushes {
            let seed = *push.author.device.0.as_bytes();
            let verdicts = self.push(now, &push, Ids::new(seed), Lang::Zh);
            accepted += verdicts
                .iter()
                .filter(|verdict| verdict.seq.is_some())
                .count();
        }
        accepted
    }

    fn answer(&mut self, cursor: Option<String>) -> Vec<ResponseItem> {
        let author = push(0, std::iter::empty()).author;
        let hello = Hello {
            cursor,
            client: "lianka-bench".into(),
            pull: true,
            report: Report::default(),
            kinds: Hello::all_kinds(),
            blocks: 0,
        };
        let answering = Answering {
            lease_seconds: LEASE_SECONDS,
            pages: PAGES,
        };
        let now = ServerTime::from_unix_ms(MORNING_MS);
        self.pull(now, &author, hello, Vec::new(), answering, |_| false)
    }
}

fn receive(mut phone: PhoneStore, items: Vec<ResponseItem>) -> usize {
    usize::from(take(&mut phone, items))
}

/// Stores an answer as a phone does; whether anything was.
fn take(phone: &mut PhoneStore, items: Vec<ResponseItem>) -> bool {
    let mut sync = Synchronisation::new("lianka-bench");
    let holdings = phone.read(|tx| {
        Ok::<_, lianka_client_core::store::Unfit>(Holdings {
            cursor: tx.cursor()?,
            outbox: tx.outbox()?,
            known: tx.known()?,
            ..Holdings::default()
        })
    });
    let asked = sync.next_request(holdings.expect("it is enrolled"));
    assert!(asked.is_some_and(|request| request.pull), "it pulls");
    let moment = || Moment {
        now: DeviceTime::from_unix_ms(MORNING_MS),
        office: None,
        entropy: [7; 16],
        lang: Lang::Zh,
    };
    phone
        .write(|tx| session::receive(tx, &mut sync, items, moment))
        .expect("the answer is taken")
}
