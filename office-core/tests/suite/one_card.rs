//! An office, one card, and a phone that holds a copy of it.

use lianka_office_core::{
    ids::Ids,
    memory::{MemoryStore, User, run},
    push::{Author, Ingested, Push, Pushes},
};
use lianka_sync_core::{
    access::Role,
    codec::wire::{PushedChange, VerdictStatus},
    crdt::record::{Edit, Record},
    id::{Actor, DeviceId, RecordId},
    kinds::Kind,
    time::{DeviceTime, ServerTime},
};
use uuid::Uuid;

pub const CARD: RecordId = RecordId(Uuid::from_u128(7));

pub struct Scene {
    pub store: MemoryStore,
    /// The phone's copy, which knows nothing of what happened at the office.
    phone: Record,
    /// How often anybody did anything, which the clocks follow.
    pub calls: u8,
}

pub fn device(n: u128) -> DeviceId {
    DeviceId(Uuid::from_u128(n))
}

impl Scene {
    pub fn with(edits: &[Edit]) -> Self {
        let grids = ["A1".to_owned()].into();
        let street = "310104003".parse().expect("a street");
        let mut store = MemoryStore::new(street, Uuid::from_u128(9), grids);
        let mut secretary = User::new(Role::Secretary, "王芳");
        secretary.assign(&["A1".to_owned()].into());
        store.users.insert("wang.fang".into(), secretary);
        let mut all = vec![
            Edit::set("kind", "shop_card"),
            Edit::set("street", "310104003"),
            Edit::set("grid", "A1"),
        ];
        all.extend(edits.iter().cloned());
        let actor = Actor::new(device(1), 1);
        let at = DeviceTime::from_unix_seconds(1);
        let (phone, created) = Record::create(actor, at, &all).expect("created");
        let mut scene = Self {
            store,
            phone,
            calls: 1,
        };
        scene.push(created.bytes);
        scene
    }

    pub fn now(&mut self) -> ServerTime {
        self.calls += 1;
        ServerTime::from_unix_ms(1_795_248_000_000 + i64::from(self.calls) * 1_000)
    }

    /// What the phone writes, not sent yet.
    pub fn edit(&mut self, edits: &[Edit]) -> Vec<u8> {
        self.calls += 1;
        let at = DeviceTime::from_unix_seconds(self.calls.into());
        let change = self.phone.edit(Actor::new(device(1), 1), at, edits, "");
        let change = change.expect("it is an edit");
        change.expect("that says something").bytes
    }

    pub fn push(&mut self, bytes: Vec<u8>) {
        let author = Author {
            username: "wang.fang".into(),
            role: Role::Secretary,
            device: device(1),
            wiped: false,
        };
        let item = PushedChange {
            record: CARD,
            kind: Kind::ShopCard,
            generation: 1,
            bytes,
        };
        let push = Push {
            author,
            changes: vec![Ingested::new(item)],
        };
        let now = self.now();
        let pushes = Pushes {
            pushes: &[push],
            ids: Ids::new([7; 16]),
        };
        let Ok(outcomes) = run(&mut self.store, now, pushes);
        assert_eq!(
            outcomes[0][0].status,
            VerdictStatus::Accepted,
            "{outcomes:?}"
        );
    }
}
