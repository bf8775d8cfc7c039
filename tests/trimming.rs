//! The log is trimmed: every answer stays what it was, and every phone still gets what it lacks.

use std::time::Duration;

use futures::StreamExt;
use lianka_server::{
    admin::audit_proof as verify,
    audit::Chain,
    config::ServeConfig,
    street::{
        history as past,
        store::{history as log, records},
    },
    upkeep::{
        refresh,
        trimming::{self, Keep, Swept},
    },
};
use lianka_sync_core::{
    codec::wire::{Encoding, ResponseItem, VerdictStatus},
    crdt::record::Edit,
    id::{ChangeHash, RecordId, StreetCode},
    time::ServerTime,
};
use lianka_tests::{START_UNIX_MS, TestApp};
use serde_json::{Value, json};

use crate::{
    scene::Desk,
    sync::phone::{HOME, Office, Phone, READ_MODELS, items, put},
};

const WANG: &str = "0198c0de-0000-7000-8000-00000000000a";

fn home() -> StreetCode {
    HOME.parse().expect("a street")
}

/// Brings the documents up to the log, and trims everything in it.
pub async fn trim(office: &Office) -> Swept {
    let app = &office.test.app;
    while refresh::pass(&app.pool, &app.clock)
        .await
        .expect("a refresh")
        .refreshed
        > 0
    {}
    let keep = Keep {
        changes: Duration::ZERO,
        notices: Duration::ZERO,
        ..Keep::days(30)
    };
    let later = ServerTime::from_unix_ms(app.clock.now().unix_ms() + 1);
    trimming::sweep(&app.pool, keep, later, Duration::ZERO)
        .await
        .expect("a sweep")
}

pub async fn proved(office: &Office) {
    let proof = verify::verify(&office.test.app.pool, Chain::named(HOME), None)
        .await
        .expect("a proof");
    assert!(proof.ok && proof.changes > 0, "{proof:?}");
}

/// Two cards with a conflict, a contact person, a note, and a desk's edit; both phones hold them.
struct Scene {
    office: Office,
    reviewer: Desk,
    wang: Phone,
    li: Phone,
    card: RecordId,
    other: RecordId,
}

impl Scene {
    async fn open() -> Self {
        let office = Office::open().await;
        let reviewer = office.desk("chen.min", "reviewer").await;
        let mut wang = office.secretary("wang.fang", &["A1"]).await;
        let mut li = office.secretary("li.na", &["A1"]).await;
        let card = wang.create(
            "A1",
            &[
                put("sign_name", "王记包子"),
                put(&format!("contacts/{WANG}/name"), "欧阳小明"),
            ],
        );
        wang.edit(
            card,
            &[
                put(&format!("contacts/{WANG}/phones"), "13812345678"),
                Edit::Note {
                    text: "门口积水".into(),
                },
            ],
        );
        let other = wang.create("A1", &[put("sign_name", "申达五金"), put("unit", "201")]);
        wang.sync().await;
        li.sync().await;
        wang.edit(card, &[put("sign_name", "王记包子铺")]);
        li.edit(
            card,
            &[
                put("sign_name", "王记包子店"),
                put("opening_hours", "早6点"),
            ],
        );
        wang.sync().await;
        li.sync().await;
        let edit = json!({ "set": { "unit": "202" } });
        reviewer.post(&format!("records/{other}/edits"), edit).await;
        wang.sync().await;
        li.sync().await;
        Self {
            office,
            reviewer,
            wang,
            li,
            card,
            other,
        }
    }

    /// What anybody may read of the past.
    async fn answers(&self) -> Vec<Value> {
        let (admin, reviewer) = (&self.office.admin(), &self.reviewer);
        let mut asked = vec![(reviewer, "conflicts".to_owned())];
        for record in [self.card, self.other] {
            for of in ["/history?page_size=200", "/history?page_size=1&page=2", ""] {
                asked.push((reviewer, format!("records/{record}{of}")));
            }
        }
        for who in [
            "phone=13812345678",
            "name=%E6%AC%A7%E9%98%B3%E5%B0%8F%E6%98%8E",
        ] {
            asked.push((admin, format!("persons?{who}")));
        }
        let mut answers = Vec::new();
        for (desk, path) in asked {
            answers.push(desk.get(&path).await);
        }
        answers
    }

    async fn later_changes(&self) -> Vec<Vec<u8>> {
        let mut conn = self
            .office
            .test
            .app
            .pool
            .acquire()
            .await
            .expect("a connection");
        let (rows, _) = records::history(&mut conn, &home(), self.card, 100, 0)
            .await
            .expect("the history");
        let first = rows.last().map_or_else(
            || unreachable!("the log was trimmed before it was looked at"),
            |row| ChangeHash::from_slice(&row.hash).expect("a hash"),
        );
        let later = log::changes_after(&mut conn, &home(), self.card, first, 100)
            .await
            .expect("changes");
        later.into_iter().map(|change| change.bytes).collect()
    }
}

#[tokio::test]
async fn a_trimmed_log_changes_no_answer() {
    let scene = Scene::open().await;
    let office = &scene.office;
    let (before, models) = (scene.answers().await, office.rows(&READ_MODELS).await);
    let later = scene.later_changes().await;
    assert_eq!(trim(office).await.changes, 6);
    assert_eq!(
        office
            .count("select count(*) from change_log where type = 'change'")
            .await,
        0
    );
    assert_eq!(
        office.count("select count(*) from change_log").await,
        2,
        "one entry a record"
    );
    assert_eq!(scene.answers().await, before);
    let mut conn = office.test.app.pool.acquire().await.expect("a connection");
    let (rows, total) = past::history(&mut conn, &home(), scene.card, 100, 0)
        .await
        .expect("the history");
    assert_eq!((rows.len(), total), (4, 4));
    let first = ChangeHash::from_slice(&rows[3].hash).expect("a hash");
    let now = past::changes_after(&mut conn, &home(), scene.card, first, 100)
        .await
        .expect("changes");
    assert_eq!(
        now.iter()
            .map(|change| change.bytes.clone())
            .collect::<Vec<_>>(),
        later
    );
    assert_eq!(
        past::changes_after(&mut conn, &home(), scene.card, first, 1)
            .await
            .expect("one")[0]
            .bytes,
        later[2],
        "the newest"
    );
    drop(conn);
    proved(office).await;
    assert_eq!(office.rows(&READ_MODELS).await, models);
    office.equals_rebuild().await;
    assert_eq!(
        trim(office).await,
        Swept::default(),
        "a second sweep finds nothing"
    );
}

#[tokio::test]
async fn a_trimmed_change_is_still_a_duplicate_under_its_sequence() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.edit(card, &[put("unit", "201")]);
    let sent = phone.outbox.clone();
    let seqs = |reply: &crate::sync::phone::Reply| {
        reply
            .verdicts()
            .iter()
            .map(|verdict| verdict.seq)
            .collect::<Vec<_>>()
    };
    let first = seqs(&phone.sync().await);
    trim(&office).await;
    let again = phone.push(true, &sent).await;
    assert!(
        again
            .verdicts()
            .iter()
            .all(|verdict| verdict.status == VerdictStatus::Duplicate)
    );
    assert_eq!(seqs(&again), first);
    // What was edited before it was trimmed comes late, and is merged.
    phone.edit(
        card,
        &[
            put("unit", "301"),
            Edit::Note {
                text: "二楼".into(),
            },
        ],
    );
    assert_eq!(phone.sync().await.codes(), ["accepted"; 1]);
    proved(&office).await;
}

#[tokio::test]
async fn phones_from_before_the_trimming_get_what_they_lack() {
    let mut scene = Scene::open().await;
    let mut behind = scene.office.phone("li.na").await;
    behind.sync().await;
    // A card that is new, one that goes on, one that moves away and comes back.
    let fresh = scene.wang.create("A1", &[put("sign_name", "新店")]);
    scene.wang.edit(scene.card, &[put("unit", "9")]);
    scene.wang.sync().await;
    for grid in ["A2", "A1", "A2", "A1"] {
        let body = json!({ "records": [scene.other], "to_grid": grid });
        scene.reviewer.post("moves", body).await;
    }
    trim(&scene.office).await;
    assert_eq!(
        scene
            .office
            .count("select count(*) from change_log where type = 'leave'")
            .await,
        2,
        "of each grid the last"
    );
    // Some more, that stay in the log.
    scene.wang.sync().await;
    scene.wang.edit(fresh, &[put("unit", "1")]);
    scene.wang.edit(scene.card, &[put("opening_hours", "晚")]);
    scene.wang.sync().await;
    let reply = behind.sync().await;
    assert_eq!(reply.snapshots().len(), 3, "trimmed: whole");
    scene.li.sync().await;
    let mut new = scene.office.phone("li.na").await;
    new.sync().await;
    let views = scene.wang.views();
    assert_eq!(views.len(), 3);
    for phone in [&mut behind, &mut scene.li, &mut new] {
        assert_eq!(phone.views(), views);
    }
    // Whoever has been there already gets the change, and nothing whole.
    scene.wang.edit(fresh, &[put("unit", "2")]);
    scene.wang.sync().await;
    trim(&scene.office).await;
    scene.wang.edit(fresh, &[put("unit", "3")]);
    scene.wang.sync().await;
    assert!(new.sync().await.snapshots() == [fresh]);
    scene.wang.edit(fresh, &[put("unit", "4")]);
    scene.wang.sync().await;
    let reply = new.sync().await;
    assert!(reply.snapshots().is_empty() && new.views() == scene.wang.views());
}

/// What a server of 0.2.0 asks the log when a phone pulls.
#[tokio::test]
async fn an_older_server_sends_what_was_trimmed_as_well() {
    let scene = Scene::open().await;
    trim(&scene.office).await;
    let asked = "select count(*) from (
             select record, bool_or(type = 'snapshot') as rebuilt from change_log
             where street = '310104003' and seq > 0 and type in ('change', 'snapshot') and (device is distinct from gen_random_uuid() or composed)
             group by record
         ) entry join record r using (record) where r.street = '310104003' and entry.rebuilt";
    assert_eq!(scene.office.count(asked).await, 2);
}

/// The log is trimmed while an answer of several pages is under way.
#[tokio::test]
async fn a_log_trimmed_under_a_slow_phone_reaches_it_whole() {
    // Nothing of the log in memory: what is trimmed is not known any more.
    let config = ServeConfig {
        tail_entries: 0,
        ..ServeConfig::for_tests()
    };
    let office = Office::on(TestApp::start_with(config).await).await;
    office.street(HOME, "天平路街道").await;
    office.grid(HOME, "A1").await;
    let mut wang = office.secretary("wang.fang", &["A1"]).await;
    let mut slow = office.secretary("li.na", &["A1"]).await;
    let cards: Vec<_> = (0..50)
        .map(|n| wang.create("A1", &[put("sign_name", &format!("店{n}"))]))
        .collect();
    wang.sync().await;
    slow.sync().await;
    for round in 0..24 {
        for card in &cards {
            wang.edit(
                *card,
                &[put("legal_name", &format!("{round}{}", "名".repeat(150)))],
            );
        }
        wang.sync().await;
    }
    let response = slow.send(&[], slow.body(&[slow.hello(true)])).await;
    let mut body = response.into_body().into_data_stream();
    let mut answer = body
        .next()
        .await
        .expect("a chunk")
        .expect("a chunk")
        .to_vec();
    assert_eq!(trim(&office).await.changes, 50 * 25);
    while let Some(chunk) = body.next().await {
        answer.extend(chunk.expect("a chunk"));
    }
    let items = items(Encoding::Ndjson, &answer);
    let whole = items
        .iter()
        .filter(|item| matches!(item, ResponseItem::Snapshot { .. }))
        .count();
    assert!(
        (1..=50).contains(&whole),
        "the second page was trimmed: {whole}"
    );
    slow.take_in(&items);
    assert_eq!(slow.views(), wang.views());
}

#[tokio::test]
async fn a_person_is_forgotten_out_of_a_trimmed_log_too() {
    let mut scene = Scene::open().await;
    let path = format!("records/{}/history", scene.card);
    let history = scene.reviewer.get(&path).await;
    assert!(history.to_string().contains("欧阳小明"));
    trim(&scene.office).await;
    let admin = scene.office.admin();
    let body = json!({ "entry": WANG, "note": false, "reason": "subject_request" });
    admin
        .post(&format!("records/{}/redact", scene.card), body)
        .await;
    let after = scene.reviewer.get(&path).await;
    let seqs = |history: &Value| {
        history["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["seq"].clone())
            .collect::<Vec<_>>()
    };
    // What was cut off the middle of a change stands at the end of the log, and beside its change in the history.
    assert!(
        seqs(&history).iter().all(|seq| seqs(&after).contains(seq)),
        "{after}"
    );
    assert!(!after.to_string().contains("欧阳小明"));
    let found = admin.get("persons?phone=13812345678").await;
    assert!(
        found["changes"].as_array().expect("a list").is_empty(),
        "{found}"
    );
    proved(&scene.office).await;
    trim(&scene.office).await;
    proved(&scene.office).await;
    scene.wang.sync().await;
    scene.li.sync().await;
    assert_eq!(scene.wang.views(), scene.li.views());
    let body = json!({ "reason": "subject_request" });
    admin
        .post(&format!("records/{}/erase", scene.card), body)
        .await;
    assert_eq!(
        scene.office.count("select count(*) from trimmed_log").await,
        1
    );
    proved(&scene.office).await;
    scene.wang.sync().await;
    assert!(!scene.wang.records.contains_key(&scene.card));
}

#[tokio::test]
async fn whoever_changes_what_was_trimmed_is_found() {
    let scene = Scene::open().await;
    let office = &scene.office;
    trim(office).await;
    proved(office).await;
    let found_after = async |statement: &'static str| {
        let pool = &office.test.app.pool;
        for backup in [
            "create table kept_trimmed as select * from trimmed_log",
            "create table kept_record as select * from record",
        ] {
            sqlx::raw_sql(backup).execute(pool).await.expect("a copy");
        }
        office.execute(statement).await;
        let proof = verify::verify(pool, Chain::named(HOME), None)
            .await
            .expect("a proof");
        office
            .execute(
                "delete from trimmed_log; insert into trimmed_log select * from kept_trimmed; drop table kept_trimmed;
                 update record r set snapshot = k.snapshot from kept_record k where k.record = r.record; drop table kept_record",
            )
            .await;
        proof
            .problems
            .into_iter()
            .map(|problem| problem.code)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let gone = found_after("delete from trimmed_log where cardinality(seqs) = 2").await;
    assert!(gone.contains("content_missing"), "{gone:?}");
    let untold = found_after("update trimmed_log set seqs[1] = 4711").await;
    assert!(
        untold.contains("content_missing") && untold.contains("content_untold"),
        "{untold:?}"
    );
    let swapped =
        found_after("update trimmed_log set hashes[1] = hashes[2], hashes[2] = hashes[1]").await;
    assert!(swapped.contains("content_changed"), "{swapped:?}");
    let emptied = found_after(
        "update record set snapshot = (select snapshot from record order by seq limit 1)",
    )
    .await;
    assert!(emptied.contains("content_missing"), "{emptied:?}");
    proved(office).await;
}

#[tokio::test]
async fn what_is_disputed_or_young_stays_in_the_log() {
    let scene = Scene::open().await;
    let office = &scene.office;
    while refresh::pass(&office.test.app.pool, &office.test.app.clock)
        .await
        .expect("a refresh")
        .refreshed
        > 0
    {}
    let keep = Keep::days(30);
    let day = |days: i64| ServerTime::from_unix_ms(START_UNIX_MS + days * 86_400_000);
    let sweep = async |now| {
        trimming::sweep(&office.test.app.pool, keep, now, Duration::ZERO)
            .await
            .expect("a sweep")
            .changes
    };
    assert_eq!(sweep(day(29)).await, 0);
    sqlx::query("update record set disputed_at = now() where record = $1")
        .bind(scene.card.0)
        .execute(&office.test.app.pool)
        .await
        .expect("disputed");
    assert_eq!(sweep(day(31)).await, 2, "the other card's");
    assert_eq!(
        office
            .count("select count(*) from change_log where type = 'change'")
            .await,
        4
    );
    proved(office).await;
}

#[tokio::test]
async fn notices_go_when_no_download_would_bring_them() {
    let scene = Scene::open().await;
    let office = &scene.office;
    let choice = json!({ "field": "sign_name", "value": "王记包子铺" });
    let path = format!("records/{}/resolutions", scene.card);
    scene.reviewer.post(&path, choice).await;
    assert_eq!(office.count("select count(*) from notice").await, 1);
    let sweep = async |days: i64| {
        let now = ServerTime::from_unix_ms(START_UNIX_MS + days * 86_400_000);
        trimming::sweep(&office.test.app.pool, Keep::days(1), now, Duration::ZERO)
            .await
            .expect("a sweep")
            .notices
    };
    assert_eq!((sweep(29).await, sweep(31).await), (0, 1));
}
