//! Two servers on one store, a pass in the background and an answer under way: what one does never takes from what the other said.

use std::{pin::pin, time::Duration};

use lianka_server::{
    street::store::records,
    upkeep::{
        compaction, refresh,
        trimming::{self, Keep},
    },
};
use lianka_sync_core::{
    codec::wire::ResponseItem,
    id::{RecordId, StreetCode},
    time::ServerTime,
};
use serde_json::{Value, json};

use super::phone::{HOME, Office, Phone, put, text};

fn home() -> StreetCode {
    HOME.parse().expect("a street")
}

fn later(office: &Office) -> ServerTime {
    ServerTime::from_unix_ms(office.test.clock.now().unix_ms() + 1)
}

async fn sweep(office: &Office) -> u64 {
    let keep = Keep {
        changes: Duration::ZERO,
        notices: Duration::ZERO,
        ..Keep::days(30)
    };
    trimming::sweep(&office.test.app.pool, keep, later(office), Duration::ZERO)
        .await
        .expect("a sweep")
        .changes
}

async fn refreshed(office: &Office) {
    while refresh::pass(&office.test.app.pool, &office.test.clock)
        .await
        .expect("a pass")
        .refreshed
        > 0
    {}
}

#[tokio::test]
async fn a_head_that_another_server_is_raising_is_waited_for() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    phone.create("A1", &[put("sign_name", "王记")]);
    let mut other = office.test.app.pool.begin().await.expect("another server");
    sqlx::query("update street set head_seq = 7 where street = $1")
        .bind(HOME)
        .execute(&mut *other)
        .await
        .expect("raised");
    let mut push = pin!(phone.push(true, &phone.outbox));
    // Until the push stands behind the other server, wherever it does.
    let waiting = "select count(*) from pg_locks join pg_stat_activity using (pid) where not granted and datname = current_database()";
    let early = loop {
        tokio::select! {
            reply = &mut push => break Some(reply),
            waiting = office.count(waiting) => if waiting > 0 { break None },
        }
    };
    assert!(
        early.is_none(),
        "nobody is told anything while the head is another's"
    );
    other.commit().await.expect("committed");
    assert_eq!(
        push.await.seqs(),
        [8],
        "what the other one wrote stands before it"
    );
    assert_eq!(
        office
            .count("select head_seq from street where street = '310104003'")
            .await,
        8
    );
}

#[tokio::test]
async fn a_refreshed_document_never_takes_the_place_of_a_newer_one() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记")]);
    for n in 0..5 {
        phone.edit(card, &[put("unit", &format!("{n}室"))]);
    }
    phone.sync().await;
    let slow: (i32, i64, Vec<u8>) = {
        refreshed(&office).await;
        sqlx::query_as("select generation, snapshot_seq, snapshot from record")
            .fetch_one(&office.test.app.pool)
            .await
            .expect("the record")
    };
    let now = later(&office);
    let done = compaction::compact(&office.test.app.pool, &home(), card, now, now)
        .await
        .expect("compacted")
        .expect("smaller");
    let before = office.rows(&["record"]).await;
    let mut conn = office.test.app.pool.acquire().await.expect("a connection");
    // A pass that had read the former generation, or the same one earlier, comes to its end.
    for (generation, seq) in [
        (slow.0, done.seq + 1),
        (done.generation as i32, done.seq - 1),
    ] {
        let snapshot = records::Snapshot {
            record: card,
            generation,
            seq,
            bytes: slow.2.clone(),
        };
        records::store_snapshots(&mut conn, &home(), &[snapshot])
            .await
            .expect("asked");
    }
    assert_eq!(office.rows(&["record"]).await, before);
}

#[tokio::test]
async fn what_the_stored_document_lacks_stays_in_the_log() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记")]);
    phone.sync().await;
    assert_eq!(sweep(&office).await, 0, "there is no document yet");
    refreshed(&office).await;
    phone.edit(card, &[put("unit", "1室")]);
    phone.edit(card, &[put("lane", "5")]);
    phone.sync().await;
    assert_eq!(
        sweep(&office).await,
        1,
        "the document ends before the two edits"
    );
    let mut fresh = office.phone("wang.fang").await;
    fresh.sync().await;
    assert_eq!(fresh.views(), phone.views());
    refreshed(&office).await;
    assert_eq!(sweep(&office).await, 2);
}

#[tokio::test]
async fn a_grid_that_was_lost_and_dropped_comes_whole_when_it_comes_back() {
    let office = Office::open().await;
    let mut writer = office.secretary("wang.fang", &["A1", "A2"]).await;
    let (kept, lost) = (
        writer.create("A2", &[put("sign_name", "王记")]),
        writer.create("A1", &[put("sign_name", "李记")]),
    );
    writer.sync().await;
    let mut phone = office.secretary("li.na", &["A1", "A2"]).await;
    phone.sync().await;
    office.assign(HOME, "li.na", &["A2"]).await;
    assert_eq!(phone.sync().await.leaves(), [lost]);
    office.assign(HOME, "li.na", &["A1", "A2"]).await;
    assert_eq!(
        phone.sync().await.snapshots(),
        [lost],
        "the other one stays where it is: {kept}"
    );
    assert_eq!(phone.views(), writer.views());
    // Lost and back between two synchronisations: the log alone tells, whatever was edited meanwhile.
    for grids in [&["A2"][..], &["A1", "A2"]] {
        office.assign(HOME, "li.na", grids).await;
        writer.edit(lost, &[put("unit", &format!("{}室", grids.len()))]);
        writer.sync().await;
    }
    let reply = phone.sync().await;
    assert_eq!(
        (reply.leaves(), reply.snapshots(), reply.changes()),
        (vec![], vec![], vec![lost; 2])
    );
    assert_eq!(phone.views(), writer.views());
}

/// Two megabytes of edits of `grid`, few of each card.
async fn long_log(phone: &mut Phone, grid: &str) -> Vec<RecordId> {
    let cards: Vec<_> = (0..20).map(|_| phone.create(grid, &[])).collect();
    phone.sync().await;
    cards
}

async fn go_on(phone: &mut Phone, cards: &[RecordId]) {
    for round in 0..8 {
        for card in cards {
            let edits: Vec<_> = (0..8)
                .map(|n| {
                    put(
                        &format!("custom/栏{n}"),
                        &format!("{round}{}", "长".repeat(390)),
                    )
                })
                .collect();
            phone.edit(*card, &edits);
        }
    }
    phone.sync().await;
}

#[tokio::test]
async fn a_long_answer_that_breaks_off_before_a_gained_grid_brings_it_all_the_same() {
    let office = Office::open().await;
    let mut writer = office.secretary("wang.fang", &["A1", "A2", "A3"]).await;
    let cards = long_log(&mut writer, "A2").await;
    let (gained, lost) = (writer.create("A1", &[]), writer.create("A3", &[]));
    writer.sync().await;
    let mut phone = office.secretary("li.na", &["A2", "A3"]).await;
    phone.sync().await;
    go_on(&mut writer, &cards).await;
    office.assign(HOME, "li.na", &["A1", "A2"]).await;
    let whole = phone.push(true, &[]).await;
    let is_checkpoint = |item: &ResponseItem| matches!(item, ResponseItem::Checkpoint { .. });
    let cut = whole
        .items
        .iter()
        .position(is_checkpoint)
        .expect("a checkpoint among the changes");
    assert!(
        whole.items[..cut].iter().all(
            |item| !matches!(item, ResponseItem::Snapshot { record, .. } if *record == gained)
        )
    );
    phone.take_in(&whole.items[..=cut]);
    let rest = phone.sync().await;
    assert!(
        rest.changes().len() < whole.changes().len(),
        "what came before the checkpoint does not come again"
    );
    assert_eq!(rest.snapshots(), [gained]);
    assert!(!phone.records.contains_key(&lost));
    let mut views = writer.views();
    views.remove(&lost);
    assert_eq!(phone.views(), views);
    assert_eq!(phone.sync().await.items.len(), 1);
}

#[tokio::test]
async fn every_phone_of_a_batch_hears_of_its_own_changes() {
    let office = Office::open().await;
    let mut phones = Vec::new();
    for n in 0..8 {
        let mut phone = office.secretary(&format!("secretary{n}"), &["A1"]).await;
        for _ in 0..=n {
            phone.create("A1", &[put("sign_name", "新店")]);
        }
        // Every other one has something refused among it.
        if n % 2 == 1 {
            phone.create("A2", &[]);
        }
        phones.push(phone);
    }
    let replies =
        futures::future::join_all(phones.iter().map(|phone| phone.push(true, &phone.outbox))).await;
    for (n, (phone, reply)) in phones.iter().zip(&replies).enumerate() {
        let mut expected = vec!["accepted"; n + 1];
        expected.extend((n % 2 == 1).then_some("not_your_grid"));
        assert_eq!(reply.codes(), expected);
        for (index, (verdict, sent)) in reply.verdicts().into_iter().zip(&phone.outbox).enumerate()
        {
            let hash = lianka_sync_core::codec::change::decode(&sent.bytes)
                .expect("a change")
                .hash;
            assert_eq!(
                (verdict.index as usize, verdict.record, verdict.hash),
                (index, sent.record, Some(hash))
            );
        }
    }
}

#[tokio::test]
async fn what_a_lost_answer_had_accepted_comes_out_of_the_log() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let (card, other) = (
        phone.create("A1", &[put("sign_name", "王记")]),
        phone.create("A1", &[put("sign_name", "李记")]),
    );
    phone.sync().await;
    phone.edit(card, &[put("unit", "1室")]);
    for n in 0..40 {
        phone.edit(other, &[put("unit", &format!("{n}室"))]);
    }
    let sent = std::mem::take(&mut phone.outbox);
    assert_eq!(phone.push(true, &sent).await.codes(), ["accepted"; 41]);
    // Brought again, nothing of it comes back; from a copy of the phone, or without its outbox, all of it does.
    let again = phone.push(true, &sent).await;
    assert_eq!(
        (again.codes(), again.changes(), again.snapshots()),
        (vec!["duplicate"; 41], vec![], vec![])
    );
    let reply = phone.sync().await;
    assert_eq!(
        (reply.changes(), reply.snapshots()),
        (vec![card], vec![other])
    );
    assert_eq!(phone.sync().await.items.len(), 1);
}

#[tokio::test]
async fn a_card_accepted_after_its_grid_was_lost_leaves_its_author() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    phone.sync().await;
    let card = phone.create("A1", &[put("sign_name", "王记")]);
    let sent = std::mem::take(&mut phone.outbox);
    office.assign(HOME, "wang.fang", &["A2"]).await;
    assert_eq!(phone.push(true, &sent).await.codes(), ["grid_lost"]);
    phone.sync().await;
    let path = format!("/v1/streets/{HOME}/held");
    let held = office
        .call("GET", &path, Some(&office.admin), Value::Null)
        .await
        .json["items"][0]["held"]
        .clone();
    let accepted = office
        .call(
            "POST",
            &format!("{path}/{}/accept", text(&held)),
            Some(&office.admin),
            json!({}),
        )
        .await;
    assert!(accepted.status.is_success(), "{}", accepted.json);
    let reply = phone.push(true, &sent).await;
    assert_eq!(
        (reply.codes(), reply.leaves(), reply.snapshots()),
        (vec!["duplicate"], vec![card], vec![])
    );
}

#[tokio::test]
async fn a_card_that_left_a_grid_before_the_grid_was_lost_is_left_too() {
    let office = Office::open().await;
    let mut desk = office.desk_phone("reviewer", "reviewer").await;
    let (moved, kept) = (desk.create("A1", &[]), desk.create("A2", &[]));
    desk.sync().await;
    let mut phone = office.secretary("wang.fang", &["A1", "A2"]).await;
    phone.sync().await;
    desk.edit(moved, &[put("grid", "A3")]);
    desk.sync().await;
    office.assign(HOME, "wang.fang", &["A2"]).await;
    assert_eq!(phone.sync().await.leaves(), [moved]);
    assert_eq!(phone.records.keys().copied().collect::<Vec<_>>(), [kept]);
}
