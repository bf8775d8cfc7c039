//! Long histories are compacted while people work: what they say stays, what was accepted stays accepted, and a full record takes edits again.

use std::time::Duration;

use lianka_server::{
    street::store::trimmed::{self, EndedGeneration},
    upkeep::{
        compaction::{self, Rules, Tried},
        refresh, transfer_clock as clock,
        trimming::{self, Keep},
    },
};
use lianka_sync_core::{
    crdt::record::Edit,
    id::{ChangeHash, RecordId, StreetCode},
    kinds::Kind,
    time::ServerTime,
};
use lianka_tests::START_UNIX_MS;
use serde_json::{Value, json};

use crate::{
    scene::{NOW, Scene},
    sync::phone::{HOME, OTHER, Office, put, text},
    trimming::{proved, trim},
};

fn home() -> StreetCode {
    HOME.parse().expect("a street")
}

fn later(office: &Office) -> ServerTime {
    ServerTime::from_unix_ms(office.test.clock.now().unix_ms() + 1)
}

/// However full the record is, and everything that was overwritten.
async fn compact(office: &Office, record: RecordId) -> Option<usize> {
    let now = later(office);
    let done = compaction::compact(&office.test.app.pool, &home(), record, now, now)
        .await
        .expect("compacted");
    done.map(|done| done.left)
}

async fn history_of(office: &Office, record: RecordId) -> Value {
    let path = format!("records/{record}/history?page_size=200");
    office.admin().get(&path).await
}

#[tokio::test]
async fn unsent_edits_outlive_a_compaction() {
    let scene = Scene::open().await;
    let office = &scene.office;
    let wang = scene.phone("wang.fang", &["A1"]).await;
    let li = scene.phone("li.na", &["A1"]).await;
    let card = wang
        .create_card(
            "A1",
            &[
                put("sign_name", "王记"),
                Edit::Note {
                    text: "门口积水".into(),
                },
            ],
            NOW,
        )
        .expect("created")
        .record;
    wang.sync().await.expect("synced");
    li.sync().await.expect("synced");
    // Li works offline: a field of his own, one that goes on changing at Wang's, the note, and a person.
    li.edit(
        card,
        &[put("unit", "201"), put("opening_hours", "李：晚")],
        NOW,
    )
    .expect("edited");
    li.edit(
        card,
        &[Edit::Note {
            text: "门口积水，已报修".into(),
        }],
        NOW,
    )
    .expect("edited");
    for n in 0..40 {
        wang.edit(card, &[put("opening_hours", &format!("王：早{n}点"))], NOW)
            .expect("edited");
        if n % 10 == 0 {
            wang.sync().await.expect("synced");
            trim(office).await;
        }
    }
    wang.sync().await.expect("synced");
    // One more that is on its way when it happens.
    wang.edit(card, &[put("sign_name", "王记包子")], NOW)
        .expect("edited");
    assert_eq!(
        compact(office, card).await,
        Some(2),
        "the creation, and the hours as they are"
    );
    proved(office).await;
    for phone in [&li, &wang, &li] {
        let report = phone.sync().await.expect("synced");
        assert_eq!((report.unsent, report.drafts), (0, 0));
    }
    let (of_wang, of_li) = (
        wang.view(card).expect("the card"),
        li.view(card).expect("the card"),
    );
    assert_eq!(of_wang, of_li);
    assert_eq!(
        (of_li.text("unit"), of_li.text("sign_name")),
        (Some("201"), Some("王记包子"))
    );
    assert_eq!(of_li.note.as_deref(), Some("门口积水，已报修"));
    let mut hours: Vec<_> = of_li.values["opening_hours"]
        .iter()
        .filter_map(|value| value.value.as_str())
        .collect();
    hours.sort_unstable();
    assert_eq!(
        hours,
        ["李：晚", "王：早39点"],
        "neither had seen the other's"
    );
    office.equals_rebuild().await;
    // Whoever asks why the card says so still gets an answer for what it says.
    let history = history_of(office, card).await.to_string();
    assert!(
        history.contains("王：早39点") && !history.contains("王：早38点"),
        "{history}"
    );
    trim(office).await;
    proved(office).await;
}

#[tokio::test]
async fn what_was_accepted_before_is_a_duplicate_afterwards() {
    let office = Office::open().await;
    let mut wang = office.secretary("wang.fang", &["A1"]).await;
    let mut li = office.secretary("li.na", &["A1"]).await;
    let card = wang.create("A1", &[put("sign_name", "王记")]);
    wang.sync().await;
    li.sync().await;
    for n in 0..5 {
        li.edit(card, &[put("unit", &format!("{n}"))]);
    }
    // The answer is lost on the way.
    let sent = li.outbox.clone();
    assert_eq!(li.push(true, &sent).await.codes(), ["accepted"; 5]);
    wang.sync().await;
    wang.edit(card, &[put("unit", "王")]);
    wang.sync().await;
    assert_eq!(compact(&office, card).await, Some(2));
    let before = office.count("select count(*) from change_log").await;
    assert_eq!(li.sync().await.codes(), ["duplicate"; 5]);
    assert_eq!(
        office.count("select count(*) from change_log").await,
        before
    );
    assert_eq!(
        (li.view(card).text("unit"), li.views()),
        (Some("王"), wang_after(&mut wang).await)
    );
    // What was never accepted, under the old generation, is not taken for it.
    let mut old = office.phone("li.na").await;
    old.sync().await;
    old.edit(card, &[put("unit", "李")]);
    compact_again(&office, &mut wang, card).await;
    let unseen = old.outbox.clone();
    assert_eq!(old.push(true, &unseen).await.codes(), ["stale_generation"]);
    proved(&office).await;
}

#[tokio::test]
async fn what_a_phone_rebases_on_comes_once() {
    let office = Office::open().await;
    let mut wang = office.secretary("wang.fang", &["A1"]).await;
    let mut li = office.secretary("li.na", &["A1"]).await;
    let card = wang.create("A1", &[put("sign_name", "王记")]);
    let other = wang.create("A1", &[put("sign_name", "李记")]);
    wang.sync().await;
    li.sync().await;
    for n in 0..5 {
        wang.edit(card, &[put("unit", &format!("{n}"))]);
    }
    wang.edit(other, &[put("unit", "101")]);
    wang.sync().await;
    assert_eq!(compact(&office, card).await, Some(2));
    li.edit(card, &[put("lane", "5")]);
    let stale = li.outbox.clone();
    // In a delta, and in a download.
    for cursor in [li.cursor.clone(), None] {
        li.cursor = cursor;
        let reply = li.push(true, &stale).await;
        assert_eq!(reply.codes(), ["stale_generation"]);
        let of_card = reply.snapshots().iter().filter(|of| **of == card).count();
        assert_eq!(of_card, 1, "{:?}", reply.items);
        li.take_in(&reply.items);
        assert_eq!(
            (li.view(card).text("unit"), li.view(other).text("unit")),
            (Some("4"), Some("101"))
        );
    }
}

#[tokio::test]
async fn a_year_later_no_lost_answer_is_waited_for() {
    let office = Office::open().await;
    let mut wang = office.secretary("wang.fang", &["A1"]).await;
    let card = wang.create("A1", &[put("sign_name", "王记")]);
    wang.sync().await;
    for n in 0..3 {
        wang.edit(card, &[put("unit", &format!("{n}"))]);
    }
    let sent = wang.outbox.clone();
    assert_eq!(wang.push(true, &sent).await.codes(), ["accepted"; 3]);
    assert_eq!(compact(&office, card).await, Some(2));
    let after = async |days: i64| {
        let now = ServerTime::from_unix_ms(later(&office).unix_ms() + days * 86_400_000);
        trimming::sweep(&office.test.app.pool, Keep::days(30), now, Duration::ZERO)
            .await
            .expect("a sweep")
            .generations
    };
    assert_eq!(after(364).await, 0);
    assert_eq!(wang.push(true, &sent).await.codes(), ["duplicate"; 3]);
    assert_eq!(after(366).await, 1);
    let refused = [
        "stale_generation",
        "depends_on_rejected",
        "depends_on_rejected",
    ];
    assert_eq!(
        wang.push(true, &sent).await.codes(),
        refused,
        "the phone writes it anew or gives it up"
    );
    proved(&office).await;
}

#[tokio::test]
async fn of_former_generations_the_newest_are_known() {
    let office = Office::open().await;
    let mut wang = office.secretary("wang.fang", &["A1"]).await;
    let card = wang.create("A1", &[put("sign_name", "王记")]);
    wang.sync().await;
    let hash = |generation: u32, n: u8| ChangeHash([generation as u8 * 10 + n; 32]);
    let mut tx = office.test.app.pool.begin().await.expect("a transaction");
    for generation in 1..=4 {
        let ended = EndedGeneration {
            generation,
            hashes: (0..4).map(|n| hash(generation, n)).collect(),
        };
        trimmed::remember(&mut tx, &home(), card, &ended, later(&office).into(), 6)
            .await
            .expect("remembered");
    }
    let asked: Vec<_> = (1..=4)
        .map(|generation| hash(generation, 0).0.to_vec())
        .collect();
    let known = trimmed::earlier(&mut tx, &home(), &[card.0; 4], &asked)
        .await
        .expect("asked");
    let known: Vec<_> = (1..=4)
        .filter(|generation| known.contains(&(card, hash(*generation, 0))))
        .collect();
    assert_eq!(known, [3, 4], "six changes are in the newest two");
}

async fn wang_after(
    wang: &mut crate::sync::phone::Phone,
) -> std::collections::BTreeMap<RecordId, lianka_sync_core::crdt::view::View> {
    wang.sync().await;
    wang.views()
}

async fn compact_again(office: &Office, wang: &mut crate::sync::phone::Phone, card: RecordId) {
    wang.sync().await;
    for n in 0..5 {
        wang.edit(card, &[put("unit", &format!("王{n}"))]);
    }
    wang.sync().await;
    assert!(compact(office, card).await.is_some());
}

#[tokio::test]
async fn a_record_that_takes_no_more_is_compacted_by_itself() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记")]);
    let other = phone.create("A1", &[put("sign_name", "李记")]);
    phone.sync().await;
    let rules = Rules {
        percent: 50,
        keep: Keep::days(30).changes,
    };
    let mut tried = Tried::new();
    let mut pass = async || {
        compaction::pass(
            &office.test.app.pool,
            rules,
            None,
            later(&office),
            &mut tried,
        )
        .await
        .expect("a pass")
    };
    assert_eq!(pass().await, 0);
    let keys = ["custom/甲", "custom/乙", "custom/丙", "custom/丁"];
    let mut refused = Vec::new();
    for day in 0.. {
        let value = format!("第{day}天{}", "到晚上".repeat(100));
        phone.edit(card, &keys.map(|key| put(key, &value)));
        if day % 100 == 99 {
            refused = phone
                .sync()
                .await
                .codes()
                .iter()
                .map(|code| (*code).to_owned())
                .filter(|code| code != "accepted")
                .collect();
            if !refused.is_empty() {
                break;
            }
            if day == 299 {
                // Younger than thirty days, and not full to nine tenths: everything stays.
                assert_eq!(pass().await, 0);
            }
        }
    }
    assert_eq!(refused[0], "record_full");
    assert_eq!(pass().await, 1);
    assert_eq!(office.count("select generation::bigint from record where octet_length(state) < 10000 and generation = 2").await, 2);
    phone.cursor = None;
    phone.sync().await;
    phone.edit(card, &keys.map(|key| put(key, "又一天")));
    phone.edit(other, &[put("unit", "1")]);
    assert_eq!(phone.sync().await.codes(), ["accepted"; 2]);
    assert_eq!(pass().await, 0);
    proved(&office).await;
}

/// The store comes back from before a compaction: what was acknowledged after it is on phones alone.
#[tokio::test]
async fn a_store_restored_to_before_a_compaction_gets_back_what_came_after() {
    let scene = Scene::open().await;
    let office = &scene.office;
    let wang = scene.phone("wang.fang", &["A1"]).await;
    let card = wang
        .create_card("A1", &[put("sign_name", "王记")], NOW)
        .expect("created")
        .record;
    for n in 0..10 {
        wang.edit(card, &[put("unit", &format!("{n}"))], NOW)
            .expect("edited");
    }
    wang.sync().await.expect("synced");
    let tables = ["record", "change_log", "shop_card", "shop_key", "street"];
    for table in tables {
        let statement = format!("create table backup_{table} as select * from {table}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&office.test.app.pool)
            .await
            .expect("a backup");
    }
    assert_eq!(compact(office, card).await, Some(2));
    wang.sync().await.expect("synced");
    wang.edit(card, &[put("unit", "晚"), put("opening_hours", "晚")], NOW)
        .expect("edited");
    wang.edit(card, &[Edit::Note { text: "晚".into() }], NOW)
        .expect("edited");
    wang.sync().await.expect("synced");
    office
        .execute(
            "delete from shop_card; delete from change_log; delete from record;
             insert into record select * from backup_record; insert into change_log select * from backup_change_log;
             insert into shop_card select * from backup_shop_card; insert into shop_key select * from backup_shop_key;
             update street s set head_seq = b.head_seq from backup_street b where b.street = s.street",
        )
        .await;
    lianka_server::store::deployment::new_epoch(&office.test.app.pool)
        .await
        .expect("another epoch");
    for _ in 0..2 {
        let report = wang.sync().await.expect("synced");
        assert_eq!((report.unsent, report.drafts), (0, 0));
    }
    assert_eq!(
        office.count("select generation::bigint from record").await,
        1,
        "as it was"
    );
    let shown = office.admin().get(&format!("records/{card}")).await;
    assert_eq!(shown["note"], "晚");
    let view = wang.view(card).expect("the card");
    assert_eq!(
        (
            view.text("unit"),
            view.text("opening_hours"),
            view.text("sign_name")
        ),
        (Some("晚"), Some("晚"), Some("王记"))
    );
    assert_eq!(view.values["unit"].len(), 1, "it had seen what it replaces");
}

/// Makes Automerge panic, however a record came to hold it.
const PANICS: &[u8] = include_bytes!("../simulation/fuzz/fixtures/panics.bin");

async fn spoil(office: &Office, record: RecordId, statement: &'static str) {
    sqlx::query(statement)
        .bind(record.0)
        .bind(PANICS)
        .execute(&office.test.app.pool)
        .await
        .expect("spoilt");
}

#[tokio::test]
async fn a_document_that_automerge_cannot_bear_stops_no_pass() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let cards = [
        phone.create("A1", &[put("sign_name", "王记")]),
        phone.create("A1", &[put("sign_name", "李记")]),
    ];
    for n in 0..20 {
        for card in cards {
            phone.edit(card, &[put("unit", &format!("{n}室"))]);
        }
    }
    phone.sync().await;
    let app = &office.test.app;
    // The first in every order.
    spoil(
        &office,
        cards[0],
        "update record set snapshot = $2, snapshot_seq = seq - 1 where record = $1",
    )
    .await;
    let pass = refresh::pass(&app.pool, &app.clock).await.expect("a pass");
    assert_eq!((pass.refreshed, pass.disputed), (1, 1));
    assert_eq!(
        refresh::pass(&app.pool, &app.clock).await.expect("a pass"),
        refresh::Pass::default(),
        "it is not tried again"
    );
    spoil(
        &office,
        cards[0],
        "update record set snapshot = $2, disputed_at = null where record = $1",
    )
    .await;
    app.clock.advance_ms(1);
    let rules = Rules {
        percent: 0,
        keep: Duration::ZERO,
    };
    assert_eq!(
        compaction::pass(&app.pool, rules, None, app.clock.now(), &mut Tried::new())
            .await
            .expect("a pass"),
        1
    );
    assert_eq!(
        office
            .count("select count(*) from record where generation = 2")
            .await,
        1
    );
}

#[tokio::test]
async fn what_the_store_does_not_take_keeps_no_other_request_waiting() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let draft = [
        put("kind", "transfer_request"),
        put("street", HOME),
        put("grid", "A1"),
        put("transfer_kind", "cross_province_letter"),
        put("member_alias", "陈师傅"),
        Edit::Note {
            text: String::new(),
        },
    ];
    for _ in 0..3 {
        phone.create_with(Kind::TransferRequest, "A1", &draft);
    }
    phone.sync().await;
    // Whichever comes first does not go.
    office
        .execute(
            "create function refuse() returns trigger language plpgsql as $$ begin
                 if old.record = (select min(record::text)::uuid from record) then raise check_violation; end if; return old; end $$;
             create trigger refuse before delete on record for each row execute function refuse()",
        )
        .await;
    let app = &office.test.app;
    app.clock.advance_ms(31 * 86_400_000);
    assert_eq!(
        clock::pass(&app.pool, &app.clock, &app.entropy)
            .await
            .expect("a pass")
            .events,
        2
    );
    assert_eq!(office.count("select count(*) from record").await, 1);
}

#[tokio::test]
async fn a_street_that_is_held_keeps_no_other_log_from_being_trimmed() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    office.user("sun.li", "secretary", Some(OTHER)).await;
    office.assign(OTHER, "sun.li", &["B1"]).await;
    let mut there = office.phone_in(OTHER, "sun.li").await;
    phone.create("A1", &[put("sign_name", "王记")]);
    there.create("B1", &[put("sign_name", "李记")]);
    for phone in [&mut phone, &mut there] {
        phone.sync().await;
    }
    while refresh::pass(&office.test.app.pool, &office.test.clock)
        .await
        .expect("a pass")
        .refreshed
        > 0
    {}
    // The first street's log cannot be written to.
    office
        .execute(
            "create function refuse() returns trigger language plpgsql as $$ begin
                 if old.street = '310104003' then raise lock_not_available; end if; return old; end $$;
             create trigger refuse before delete on change_log for each row execute function refuse()",
        )
        .await;
    let keep = Keep::days(30);
    let now = ServerTime::from_unix_ms(START_UNIX_MS + 31 * 86_400_000);
    let swept = trimming::sweep(&office.test.app.pool, keep, now, Duration::ZERO)
        .await
        .expect("a sweep");
    assert_eq!(swept.changes, 1);
    assert_eq!(
        office
            .count("select count(*) from change_log where type = 'change'")
            .await,
        1
    );
}

/// Requests of which the clock can do nothing stay due, and are more than it looks at in one go.
#[tokio::test]
async fn a_request_that_cannot_be_written_to_keeps_no_other_waiting() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let draft = [
        put("kind", "transfer_request"),
        put("street", HOME),
        put("grid", "A1"),
        put("transfer_kind", "cross_province_letter"),
        put("member_alias", "陈师傅"),
        Edit::Note {
            text: String::new(),
        },
    ];
    let due = phone.create_with(Kind::TransferRequest, "A1", &draft);
    phone.sync().await;
    // A draft lives for thirty days. Tokens do not live that long.
    let app = &office.test.app;
    app.clock.advance_ms(31 * 86_400_000);
    let code = office.code("wang.fang").await;
    let body = json!({ "code": code, "name": "手机", "platform": "android" });
    let session = office.call("POST", "/v1/devices", None, body).await.json;
    (phone.token, phone.device) = (
        text(&session["access_token"]),
        text(&session["device_id"]).parse().expect("a device"),
    );
    for _ in 0..70 {
        phone.create_with(Kind::TransferRequest, "A1", &draft);
    }
    assert_eq!(phone.sync().await.codes(), ["accepted"; 70]);
    // The clock takes them for due before the one that is, and finds nothing to do.
    let statement = "update transfer set clock_at = '2020-01-01Z' where record <> $1";
    sqlx::query(statement)
        .bind(due.0)
        .execute(&app.pool)
        .await
        .expect("seventy");
    assert_eq!(
        clock::pass(&app.pool, &app.clock, &app.entropy)
            .await
            .expect("a pass")
            .events,
        1
    );
    assert_eq!(office.count("select count(*) from record").await, 70);
    assert_eq!(office.count("select count(*) from erasure").await, 1);
}
