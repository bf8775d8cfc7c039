//! Moving people and cards while phones are offline: the sharpest pain of this field. Whatever was edited is at the office, or with its author.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use lianka_client::phone::Phone;
use lianka_sync_core::{
    codec::wire::ResponseItem,
    crdt::record::Edit,
    id::RecordId,
    kinds::projection::{Projected, digest},
};
use serde_json::{Value, json};

use crate::{
    scene::{Desk, NOW, Scene, shown},
    sync::phone::{HOME, Office, put, text},
};

const WORKERS: usize = 32;
const CARDS_EACH: usize = 10;
/// Two on each card, the second on top of the first.
const EDITS_EACH: usize = 2 * CARDS_EACH;

/// A scene, and the reviewer who decides.
async fn open() -> (Scene, Desk) {
    let scene = Scene::open().await;
    let reviewer = scene.office.desk("zhao.min", "reviewer").await;
    (scene, reviewer)
}

async fn decide(reviewer: &Desk, held: &Value, word: &str, json: Value) {
    let answer = reviewer.decide(held, word, json).await;
    assert_eq!(answer.status, StatusCode::OK, "{word}: {}", answer.json);
}

/// The cards of a grid as the office reads them.
async fn cards_of(reviewer: &Desk, grid: &str) -> Vec<Projected> {
    let query = format!("?grid={grid}&page_size=200");
    reviewer.cards(&query).await
}

fn grid_of(worker: usize) -> String {
    format!("G{:02}", worker % WORKERS)
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_workers_are_reassigned_in_one_morning() {
    let (scene, reviewer) = open().await;
    let mut phones = Vec::new();
    let mut cards: Vec<Vec<RecordId>> = Vec::new();
    for worker in 0..WORKERS {
        scene.office.grid(HOME, &grid_of(worker)).await;
        let phone = scene
            .phone(&format!("worker.{worker:02}"), &[&grid_of(worker)])
            .await;
        cards.push(
            (0..CARDS_EACH)
                .map(|n| {
                    let edits = [
                        put("sign_name", &format!("{worker}号网格{n}店")),
                        put("road", "天平路"),
                        put("number", &format!("{n}")),
                    ];
                    phone
                        .create_card(&grid_of(worker), &edits, NOW)
                        .expect("created")
                        .record
                })
                .collect(),
        );
        phone.sync().await.expect("synced");
        phones.push(phone);
    }

    // Monday, no signal: everybody corrects sign and unit of ten shops. Then the office moves everybody one grid on.
    for (phone, cards) in phones.iter().zip(&cards) {
        for (n, card) in cards.iter().enumerate() {
            phone
                .edit(*card, &[put("sign_name", &format!("更正店招{n}"))], NOW)
                .expect("saved");
            phone
                .edit(*card, &[put("unit", &format!("{n}室"))], NOW)
                .expect("saved");
        }
    }
    for worker in 0..WORKERS {
        scene
            .office
            .assign(
                HOME,
                &format!("worker.{worker:02}"),
                &[&grid_of(worker + 1)],
            )
            .await;
    }
    for (worker, phone) in phones.iter().enumerate() {
        let report = phone.sync().await.expect("synced");
        assert_eq!(
            (report.tally.held as usize, report.unsent, report.drafts),
            (EDITS_EACH, 0, 0)
        );
        assert_eq!(
            (report.tally.left as usize, report.tally.snapshots as usize),
            (CARDS_EACH, CARDS_EACH)
        );
        assert_eq!(
            phone.outbox().expect("readable").len(),
            EDITS_EACH,
            "the author sees what waits"
        );
        // The new worker of a grid corrects a sign there that somebody else's held edit is about, too.
        let card = cards[(worker + 1) % WORKERS][0];
        phone
            .edit(card, &[put("sign_name", "新人更正")], NOW)
            .expect("saved");
        phone.sync().await.expect("synced");
    }
    assert_eq!(reviewer.get("held").await["total"], WORKERS * EDITS_EACH);

    // The reviewer goes through them by worker: by card both accepted, both refused, one of each, and the second alone.
    let (mut accepted, mut refused) = (0, 0);
    for (worker, own) in cards.iter().enumerate() {
        let page = reviewer
            .get(&format!("held?username=worker.{worker:02}&page_size=200"))
            .await;
        let mut of_card: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for held in page["items"].as_array().expect("items") {
            of_card
                .entry(text(&held["record"]))
                .or_default()
                .push(held.clone());
        }
        assert_eq!(of_card.len(), CARDS_EACH);
        for (n, card) in own.iter().enumerate() {
            let held = &of_card[&card.to_string()];
            let no = || json!({ "reason": "未核实" });
            match n % 4 {
                0 => {
                    decide(
                        &reviewer,
                        &held[1],
                        "accept",
                        json!({ "with_needed": true }),
                    )
                    .await;
                }
                1 => {
                    decide(&reviewer, &held[0], "refuse", no()).await;
                    decide(&reviewer, &held[1], "refuse", no()).await;
                }
                2 => {
                    decide(&reviewer, &held[1], "refuse", no()).await;
                    decide(&reviewer, &held[0], "accept", json!({})).await;
                }
                _ => {
                    decide(&reviewer, &held[0], "refuse", no()).await;
                    decide(&reviewer, &held[1], "accept", json!({ "as_edit": true })).await;
                }
            }
            let yes = [2, 0, 1, 1][n % 4];
            accepted += yes;
            refused += 2 - yes;
        }
    }
    assert_eq!(accepted + refused, WORKERS * EDITS_EACH);

    for _ in 0..2 {
        for phone in &phones {
            phone.sync().await.expect("synced");
        }
    }
    let mut drafted = 0;
    for (worker, phone) in phones.iter().enumerate() {
        let status = phone.status().expect("readable");
        assert_eq!((status.unsent, status.held), (0, 0));
        drafted += phone
            .drafts()
            .expect("readable")
            .iter()
            .map(|kept| kept.draft.edits.len())
            .sum::<usize>();
        let cards = cards_of(&reviewer, &grid_of(worker + 1)).await;
        assert_eq!(cards.len(), CARDS_EACH);
        assert_eq!(
            digest(&cards),
            shown(phone),
            "worker {worker} and the office show the same"
        );
    }
    assert_eq!(
        drafted, refused,
        "every refused edit is a draft of its author's"
    );
    assert_eq!(reviewer.get("held").await["total"], 0);
    assert_eq!(
        reviewer.get("held?status=accepted").await["total"],
        accepted
    );
    assert_eq!(reviewer.get("held?status=refused").await["total"], refused);
    // The first card of every grid has two signs now, and somebody must choose.
    assert_eq!(reviewer.get("cards?conflict=true").await["total"], WORKERS);
    scene.office.equals_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grid_is_split_while_its_phone_is_away() {
    let (scene, reviewer) = open().await;
    let (old, new) = (
        scene.phone("wang.fang", &["A1"]).await,
        scene.phone("li.na", &["A2"]).await,
    );
    let cards: Vec<_> = (1..=6)
        .map(|n| {
            old.create_card(
                "A1",
                &[
                    put("sign_name", &format!("{n}店")),
                    put("road", "天平路"),
                    put("number", &format!("{n}")),
                ],
                NOW,
            )
        })
        .map(|created| created.expect("created").record)
        .collect();
    old.sync().await.expect("synced");
    new.sync().await.expect("synced");
    for card in &cards {
        old.edit(*card, &[put("unit", "1室")], NOW).expect("saved");
    }

    for (body, field) in [
        (json!({ "to_grid": "A2" }), "records"),
        (json!({ "to_grid": "ZZ", "from_grid": "A1" }), "to_grid"),
        // A mistyped grid is not one without cards.
        (json!({ "to_grid": "A2", "from_grid": "ZZ" }), "from_grid"),
        (
            json!({ "to_grid": "A2", "from_grid": "A1", "records": [cards[0]] }),
            "records",
        ),
        (
            json!({ "to_grid": "A2", "from_grid": "A1", "side": "left" }),
            "side",
        ),
        // As the caller counts, whatever the order.
        (
            json!({ "to_grid": "A2", "records": [cards[0], cards[1], cards[0], RecordId::default()] }),
            "records[3]",
        ),
        (json!({ "to_grid": "A2", "records": [] }), "records"),
    ] {
        let answer = reviewer.call("POST", "moves", body.clone()).await;
        assert_eq!(
            (answer.code(), answer.json["field"].as_str()),
            ("invalid_field", Some(field)),
            "{body}: {}",
            answer.json
        );
    }
    let split = json!({ "to_grid": "A2", "from_grid": "A1", "road": "天平路", "side": "even", "dry_run": true });
    let preview = reviewer.post("moves", split.clone()).await;
    assert_eq!(
        preview["moved"].as_array().map(Vec::len),
        Some(3),
        "{preview}"
    );
    assert_eq!(cards_of(&reviewer, "A2").await.len(), 0);
    let mut split = split;
    split["dry_run"] = json!(false);
    reviewer.post("moves", split).await;

    // The phone that lost them sends its edits first, then drops the cards; the other one has them whole.
    let report = old.sync().await.expect("synced");
    assert_eq!(
        (
            report.tally.accepted,
            report.tally.held,
            report.tally.left,
            report.unsent
        ),
        (3, 3, 3, 0)
    );
    assert_eq!(old.records().expect("readable").len(), 3);
    new.sync().await.expect("synced");
    assert_eq!(digest(&cards_of(&reviewer, "A2").await), shown(&new));
    let waiting = reviewer.get("held").await;
    for held in waiting["items"].as_array().expect("items") {
        decide(&reviewer, held, "accept", json!({})).await;
    }
    for phone in [&old, &new] {
        phone.sync().await.expect("synced");
    }
    assert_eq!(old.status().expect("readable").held, 0);
    for (phone, grid) in [(&old, "A1"), (&new, "A2")] {
        let rows = cards_of(&reviewer, grid).await;
        assert_eq!(rows.len(), 3);
        assert_eq!(digest(&rows), shown(phone));
        assert!(rows.iter().all(
            |row| matches!(row, Projected::ShopCard(card) if card.unit.as_deref() == Some("1室"))
        ));
    }
    scene.office.equals_rebuild().await;
}

/// A gained grid is downloaded in pieces: what came before a checkpoint does not come again.
#[tokio::test]
async fn a_gained_grid_that_breaks_off_goes_on_from_its_checkpoint() {
    let office = Office::open().await;
    let mut writer = office.secretary("wang.fang", &["A1"]).await;
    for n in 0..150 {
        let mut edits = vec![put("sign_name", &format!("{n}店"))];
        edits.extend((0..10).map(|field| {
            put(
                &format!("custom/备注{field}"),
                &format!("{n}第{field}条{}", "很长的说明".repeat(75)),
            )
        }));
        writer.create("A1", &edits);
    }
    writer.sync().await;
    let mut reader = office.secretary("li.na", &["A2"]).await;
    let own = reader.create("A2", &[put("sign_name", "自己的店")]);
    reader.sync().await;
    office.assign(HOME, "li.na", &["A1", "A2"]).await;

    let whole = reader.push(true, &[]).await;
    let cut = whole
        .items
        .iter()
        .position(|item| matches!(item, ResponseItem::Checkpoint { .. }))
        .expect("a checkpoint in a gained grid");
    reader.take_in(&whole.items[..=cut]);
    let got = reader.records.len();
    assert!(got > 1 && got < 151);
    // Meanwhile the grid goes on, and another is lost: both must be told.
    let moving = *writer.records.keys().next().expect("a card");
    writer.edit(
        moving,
        &[Edit::Put {
            key: "unit".into(),
            value: "9室".into(),
        }],
    );
    writer.sync().await;
    let rest = reader.sync().await;
    let again = rest
        .items
        .iter()
        .filter(|item| matches!(item, ResponseItem::Snapshot { .. }))
        .count();
    assert!(again < 151 && again + got >= 151, "{again} after {got}");
    assert_eq!(reader.records.len(), 151);
    let mut views = reader.views();
    assert!(views.remove(&own).is_some());
    assert_eq!(views, writer.views());
}

/// The records on a phone, by their sign.
fn signs(phone: &Phone) -> Vec<String> {
    let projected = phone.project_all().expect("readable");
    let mut signs: Vec<_> = projected
        .iter()
        .filter_map(|row| match row {
            Projected::ShopCard(card) => card.sign_name.clone(),
            _ => None,
        })
        .collect();
    signs.sort();
    signs
}

#[tokio::test]
async fn a_phone_follows_its_users_role() {
    let (scene, reviewer) = open().await;
    let office = &scene.office;
    let role = async |username: &str, role: &str| {
        let path = format!("/v1/users/{username}");
        let answer = office
            .call("PATCH", &path, Some(&office.admin), json!({ "role": role }))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    };
    let other = scene.phone("li.na", &["A2"]).await;
    let there = other
        .create_card("A2", &[put("sign_name", "二号店")], NOW)
        .expect("created")
        .record;
    other.sync().await.expect("synced");
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let card = phone
        .create_card("A1", &[put("sign_name", "一号店")], NOW)
        .expect("created")
        .record;
    phone.sync().await.expect("synced");

    // Nothing of the street is an officer's or auditor's to carry; what was not sent yet waits for a reviewer.
    for new in ["officer", "auditor"] {
        phone
            .edit(card, &[put("unit", new)], NOW)
            .expect("saved, without a signal");
        role("wang.fang", new).await;
        let report = phone.sync().await.expect("synced");
        assert_eq!(
            (report.tally.held, report.unsent, report.drafts),
            (1, 0, 0),
            "{new}"
        );
        assert_eq!(signs(&phone), [""; 0], "{new} keeps nothing");
        let again = phone.sync().await.expect("synced");
        assert_eq!((again.tally.held, again.tally.left), (1, 0), "{new}");
        let held = reviewer.get("held").await;
        decide(&reviewer, &held["items"][0], "accept", json!({})).await;
        assert_eq!(reviewer.get("cards?grid=A1").await["items"][0]["unit"], new);
        phone.sync().await.expect("synced");
        assert_eq!(
            (
                phone.status().expect("readable").held,
                phone.drafts().expect("readable").len()
            ),
            (0, 0)
        );

        role("wang.fang", "secretary").await;
        phone.sync().await.expect("synced");
        assert_eq!(signs(&phone), ["一号店"], "back from {new}");
    }

    // The whole street, and back to the own grid: an edit of what is out of sight now waits, too.
    role("wang.fang", "reviewer").await;
    phone.sync().await.expect("synced");
    assert_eq!(signs(&phone), ["一号店", "二号店"]);
    for (new, left) in [("secretary", &["一号店"][..]), ("officer", &[])] {
        phone
            .edit(there, &[put("unit", new)], NOW)
            .expect("saved, without a signal");
        role("wang.fang", new).await;
        let report = phone.sync().await.expect("synced");
        assert_eq!((report.unsent, report.drafts), (0, 0), "{new}");
        assert_eq!(signs(&phone), left, "{new}");
        let held = reviewer.get("held").await;
        assert_eq!(held["total"], 1, "{new}: {held}");
        decide(&reviewer, &held["items"][0], "accept", json!({})).await;
        role("wang.fang", "admin").await;
        phone.sync().await.expect("synced");
        assert_eq!(signs(&phone), ["一号店", "二号店"], "after {new}");
    }
    scene.office.equals_rebuild().await;
}
