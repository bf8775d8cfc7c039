//! The port of office-core over Postgres: it plays the same scenes as the store in memory, and what follows from a withdrawn consent is gone
//! from everything that the office shows.

use lianka_office_core::{
    memory::{MemoryStore, User},
    store::{Head, Loaded, Store, Wants, Writes},
};
use lianka_server::street::{
    store::{log_tail, streets},
    transaction::{load, save},
};
use lianka_sync_core::{
    access::Role,
    id::{EntryId, StreetCode},
    time::ServerTime,
};
use serde_json::Value;
use sqlx::PgPool;
use tokio::{runtime::Handle, task::block_in_place};
use uuid::Uuid;

use crate::sync::phone::{HOME, Office, put};

#[path = "../office-core/tests/suite/scenes.rs"]
mod scenes;

/// The server's two halves of a transaction, each on its own.
struct Postgres {
    pool: PgPool,
    street: StreetCode,
}

fn wait<T>(future: impl Future<Output = sqlx::Result<T>>) -> T {
    block_in_place(|| Handle::current().block_on(future)).expect("the store answers")
}

impl Store for Postgres {
    fn head(&self) -> Head {
        wait(async {
            let mut conn = self.pool.acquire().await?;
            let head = log_tail::newest(&mut conn, &self.street, 0).await?;
            let grids = streets::all_grids(&mut conn, &self.street).await?;
            let head = head.expect("a street");
            Ok(Head {
                street: self.street.clone(),
                store_epoch: head.store_epoch,
                seq: head.head,
                grids: grids.into_iter().collect(),
            })
        })
    }

    fn load(&self, wants: &Wants) -> Loaded {
        wait(async {
            let mut conn = self.pool.acquire().await?;
            load::load(&mut conn, &self.street, wants).await
        })
    }

    fn save(&mut self, writes: Writes, now: ServerTime) {
        wait(async {
            let mut tx = self.pool.begin().await?;
            save::save(&mut tx, &self.street, now, writes, None).await?;
            tx.commit().await
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_memory_play_the_same_scenes() {
    let office = Office::open().await;
    let wang = office.secretary("wang.fang", &["A1", "A2"]).await;
    office.assign(HOME, "wang.fang", &["A1"]).await;
    let li = office.desk_phone("li.na", "reviewer").await;
    let cast = scenes::Cast {
        street: HOME.into(),
        grids: ["A1".into(), "A2".into()],
        secretary: ("wang.fang".into(), wang.device),
        reviewer: ("li.na".into(), li.device),
    };
    let mut postgres = Postgres {
        pool: office.test.app.pool.clone(),
        street: HOME.parse().expect("a street"),
    };
    let head = postgres.head();
    let mut memory = MemoryStore::new(head.street, head.store_epoch, head.grids);
    let mut secretary = User::new(Role::Secretary, "wang.fang");
    secretary.assign(&["A1".into(), "A2".into()].into());
    secretary.assign(&["A1".into()].into());
    memory.users.insert("wang.fang".into(), secretary);
    let reviewer = User::new(Role::Reviewer, "li.na");
    memory.users.insert("li.na".into(), reviewer);
    for (username, device) in [&cast.secretary, &cast.reviewer] {
        memory
            .devices
            .insert(*device, (username.clone(), "手机".into()));
    }
    let (kept, told) = (
        scenes::play(&mut memory, &cast),
        scenes::play(&mut postgres, &cast),
    );
    for (memory, postgres) in kept.lines().zip(told.lines()) {
        assert_eq!(memory, postgres, "memory and Postgres differ");
    }
    assert_eq!(kept.lines().count(), told.lines().count());
    let shown = "select count(*) from shop_contact where party_status is not null";
    assert_eq!(office.count(shown).await, 0);
}

#[tokio::test]
async fn a_withdrawn_consent_takes_the_party_status_from_all_that_the_office_shows() {
    let office = Office::open().await;
    let mut wang = office.secretary("wang.fang", &["A1"]).await;
    let li = office.desk_phone("li.na", "reviewer").await;
    let contact = EntryId(Uuid::from_u128(51));
    let consent = |n, decision| {
        let entry = EntryId(Uuid::from_u128(n));
        let key = |field: &str| format!("consent/{entry}/{field}");
        [
            put(&key("contact"), &contact.to_string()),
            put(&key("scope"), "party_status"),
            put(&key("decision"), decision),
        ]
    };
    let status = format!("contacts/{contact}/party_status");
    let card = wang.create("A1", &[put("sign_name", "王记")]);
    let mut granted = consent(61, "grant").to_vec();
    granted.push(put(&format!("contacts/{contact}/name"), "王芳"));
    granted.push(put(&status, "群众"));
    wang.edit(card, &granted);
    wang.sync().await;
    let shown = "select count(*) from shop_contact where party_status is not null";
    assert_eq!(office.count(shown).await, 1);
    wang.edit(card, &consent(62, "withdraw"));
    wang.sync().await;
    assert_eq!(office.count(shown).await, 0);
    let path = format!("/v1/streets/{HOME}/records/{card}");
    let record = office
        .call("GET", &path, Some(&li.token), Value::Null)
        .await;
    assert!(!record.json.to_string().contains("群众"), "{}", record.json);
    // The phone follows.
    wang.sync().await;
    assert!(wang.view(card).get(&status).is_none());
}
