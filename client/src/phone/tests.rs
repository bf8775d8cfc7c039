//! Phones without a network: the real store and replica against an office in memory, in lockstep.

use lianka_sync_core::{
    access::Role,
    codec::wire::{Encoding, ItemReader, Report, RequestItem, ResponseItem, StreamItem},
    crdt::record::Edit,
    id::{DeviceId, RecordId},
    kinds::projection,
    time::DeviceTime,
};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use lianka_client_core::{
    Grid, Holdings, Request, Synchronisation, session::receive, store::Credentials,
};

mod answers;
mod clones;
mod convergence;
mod crashes;
mod editing;
mod http;
mod lost;
mod notices;
mod office;
mod outbox;
mod refusals;
mod rescue;
mod restored_server;
mod scope;
mod store;

use office::MemoryOffice;

/// A phone in a folder of its own.
pub(super) struct Rig {
    pub folder: TempDir,
    pub phone: Phone,
    pub device: DeviceId,
}

pub(super) const NOW: DeviceTime = DeviceTime::from_unix_ms(1_700_000_000_000);

pub(super) fn credentials(server: &str) -> Credentials {
    Credentials {
        server: server.into(),
        access_token: "at-0".into(),
        access_expires_ms: i64::MAX,
        refresh_token: "rt-0".into(),
    }
}

pub(super) fn identity(number: u128) -> Identity {
    Identity {
        device: DeviceId(Uuid::from_u128(0xd000 + number)),
        username: format!("user{number}"),
        display_name: "许娜".into(),
        role: Role::Secretary,
        street: "310104003".parse().unwrap(),
        street_name: "天平路街道".into(),
        grids: vec![Grid {
            grid: "A1".into(),
            name: "康平一".into(),
            area: "康平".into(),
        }],
        former_devices: Vec::new(),
    }
}

impl Rig {
    pub fn new(number: u128, office: &mut MemoryOffice) -> Self {
        let rig = Self::at("http://localhost:1", number);
        office.assign(rig.device, &["A1"]);
        rig
    }

    pub fn at(server: &str, number: u128) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phone.db");
        let identity = identity(number);
        let device = identity.device;
        LocalStore::open_or_create(&path)
            .unwrap()
            .write(|tx| {
                tx.set_identity(&identity)?;
                tx.set_credentials(&credentials(server))
            })
            .unwrap();
        let phone = Phone::open(&path)
            .unwrap()
            .with_entropy(Entropy::seeded(number as u64));
        Self {
            folder,
            phone,
            device,
        }
    }

    /// The program ends, without a word to anybody, and is started again.
    pub fn restart(&mut self) {
        self.phone = Phone::open(&self.folder.path().join("phone.db"))
            .unwrap()
            .with_entropy(self.phone.entropy.clone());
    }

    pub fn set(&self, record: RecordId, key: &str, text: &str) -> EditReceipt {
        self.phone
            .edit(record, &[Edit::set(key, text)], NOW)
            .unwrap()
    }

    pub fn text(&self, record: RecordId, key: &str) -> Option<String> {
        self.phone
            .view(record)
            .unwrap()
            .text(key)
            .map(str::to_owned)
    }

    pub fn digest(&self) -> [u8; 32] {
        projection::digest(&self.phone.project_all().unwrap())
    }

    /// One whole synchronisation over a perfect network.
    pub fn sync(&self, office: &mut MemoryOffice) -> Tally {
        self.sync_cut(office, |_, items| Some(items))
            .expect("no answer was cut")
    }

    /// A synchronisation whose answers pass through `network`: `None` is an answer that never came, fewer items one that broke off.
    /// `None` where the last answer was not complete: the phone gave up.
    pub fn sync_cut(
        &self,
        office: &mut MemoryOffice,
        mut network: impl FnMut(usize, Vec<ResponseItem>) -> Option<Vec<ResponseItem>>,
    ) -> Option<Tally> {
        let mut sync = Synchronisation::new(CLIENT);
        let mut requests = 0;
        loop {
            let holdings = self.phone.read(|tx| Ok(tx.holdings()?)).unwrap();
            let Some(request) = sync.next_request(holdings) else {
                return Some(sync.tally());
            };
            requests += 1;
            assert!(requests < 100, "a synchronisation comes to an end");
            let answer = office.answer(self.device, &over_the_wire(&request.items));
            let answer = network(requests, answer)?;
            let complete = matches!(
                answer.last(),
                Some(ResponseItem::End { .. } | ResponseItem::Wipe)
            );
            self.take(&mut sync, &over_the_wire(&answer));
            if sync.wiped() {
                self.phone.store().scrub().unwrap();
                return Some(sync.tally());
            }
            if !complete {
                return None;
            }
        }
    }

    pub fn take(&self, sync: &mut Synchronisation, items: &[ResponseItem]) {
        // Most tests do not look at the time; those that do bring a clock.
        let now = if matches!(self.phone.clock, Clock::Fixed(_)) {
            self.phone.now()
        } else {
            NOW
        };
        for batch in items.chunk_by(|item, _| !matches!(item, ResponseItem::Checkpoint { .. })) {
            self.phone
                .write(|tx| {
                    Ok(receive(tx, sync, batch.to_vec(), || {
                        self.phone.moment(now)
                    })?)
                })
                .unwrap();
        }
    }
}

/// A copy of a phone's file, as it is at this moment.
pub(super) fn cloned(rig: &Rig, seed: u64) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    rig.phone.store().truncate_log().unwrap();
    std::fs::copy(rig.phone.path(), folder.path().join("phone.db")).unwrap();
    let phone = Phone::open(&folder.path().join("phone.db"))
        .unwrap()
        .with_entropy(Entropy::seeded(seed));
    Rig {
        folder,
        phone,
        device: rig.device,
    }
}

fn over_the_wire<T: StreamItem>(items: &[T]) -> Vec<T> {
    let mut bytes = Vec::new();
    for item in items {
        Encoding::CborSeq.write(item, &mut bytes);
    }
    let mut reader = ItemReader::new(Encoding::CborSeq);
    reader.push(&bytes);
    std::iter::from_fn(|| reader.next_item().unwrap()).collect()
}

/// Everybody synchronises until nobody has anything more; then all hold the same.
pub(super) fn settle(office: &mut MemoryOffice, rigs: &[&Rig]) {
    for _ in 0..12 {
        for rig in rigs {
            rig.sync(office);
        }
        let quiet = |rig: &&Rig| rig.phone.outbox().unwrap().is_empty();
        if rigs.iter().all(quiet) {
            break;
        }
    }
    for rig in rigs {
        rig.sync(office);
    }
    let server = projection::digest(&office.rows());
    for rig in rigs {
        assert!(rig.phone.outbox().unwrap().is_empty());
        assert_eq!(rig.digest(), server, "a phone and the server hold the same");
    }
}

pub(super) fn card(office: &mut MemoryOffice, number: u32) -> RecordId {
    office.import(
        number,
        &[
            Edit::set("sign_name", "王记包子"),
            Edit::set("road", "天平路"),
            Edit::set("number", &number.to_string()),
        ],
    )
}

fn codes(rig: &Rig) -> Vec<String> {
    rig.phone
        .drafts()
        .unwrap()
        .into_iter()
        .map(|kept| kept.draft.reason.code)
        .collect()
}

/// A transaction of the phone's file, for tests that look behind the interface.
fn inside<T>(rig: &Rig, work: impl FnOnce(&Tx<'_>) -> Result<T, PhoneError>) -> T {
    rig.phone.write(work).unwrap()
}
