//! One shop entered twice: proposed with reasons, merged, followed by late edits, undone; and who may not.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use lianka_client::phone::Phone as RealPhone;
use lianka_sync_core::{
    crdt::record::Edit,
    id::{RecordId, StreetCode},
    kinds::{Kind, duplicate::pair_id, projection::digest},
};
use serde_json::{Value, json};

mod contacts;

use crate::{
    scene::{Desk, NOW, Scene, shown, terminal},
    sync::phone::{HOME, OTHER, put, text},
};

const PERSON: &str = "0198c0de-0000-7000-8000-00000000000a";
const SAME_PERSON: &str = "0198c0de-0000-7000-8000-00000000000b";

/// A reviewer who merges. Whenever they wrote, the read models equal a rebuild.
struct Merging {
    scene: Scene,
    reviewer: Desk,
}

impl Merging {
    async fn open() -> Self {
        let scene = Scene::open().await;
        let reviewer = scene.office.desk("reviewer", "reviewer").await;
        Self { scene, reviewer }
    }

    async fn post(&self, path: &str, json: Value) -> Value {
        let answer = self.reviewer.post(path, json).await;
        self.scene.office.equals_rebuild().await;
        answer
    }

    async fn merge(&self, winner: RecordId, loser: RecordId) -> String {
        let pair = pair_id(winner, loser);
        let merge = self
            .post(
                &format!("duplicates/{pair}/merge"),
                json!({ "winner": winner, "loser": loser, "note": "同一家" }),
            )
            .await;
        text(&merge["merge"])
    }

    async fn undo(&self, merge: &str) -> Value {
        self.post(&format!("merges/{merge}/undo"), json!({ "note": "是两家" }))
            .await
    }

    /// Pairs as their reasons, by pair.
    async fn pairs(&self, query: &str) -> BTreeMap<String, Vec<String>> {
        let pairs = self.reviewer.items(&format!("duplicates{query}")).await;
        let reasons = |pair: &Value| {
            pair["reasons"]
                .as_array()
                .unwrap()
                .iter()
                .map(|reason| text(&reason["reason"]))
                .collect()
        };
        pairs
            .iter()
            .map(|pair| (text(&pair["pair"]), reasons(pair)))
            .collect()
    }

    /// What a key of a record holds, ascending; empty where nothing.
    async fn values(&self, record: RecordId, key: &str) -> Vec<String> {
        let mut values = self.reviewer.values(record, key).await;
        values.sort();
        values
    }

    /// Every card, those merged away included.
    async fn everything(&self) -> [u8; 32] {
        let mut roll = self.reviewer.cards("").await;
        roll.extend(self.reviewer.cards("?merged=true").await);
        digest(&roll)
    }
}

fn bun_shop() -> Vec<Edit> {
    vec![
        put("sign_name", "王记包子"),
        put("road", "天平路"),
        put("number", "378"),
    ]
}

#[tokio::test]
async fn who_may_not_touch_duplicates() {
    let desk = Merging::open().await;
    let mut phone = desk.scene.office.secretary("wang.fang", &["A1"]).await;
    let (a, b) = (
        phone.create("A1", &bun_shop()),
        phone.create("A1", &bun_shop()),
    );
    phone.sync().await;
    let pair = pair_id(a, b);
    let merge = desk.merge(a, b).await;
    let routes = [
        ("GET", "duplicates".to_owned(), Value::Null),
        (
            "POST",
            format!("duplicates/{pair}/merge"),
            json!({ "winner": a, "loser": b }),
        ),
        (
            "POST",
            format!("duplicates/{pair}/dismiss"),
            json!({ "note": "" }),
        ),
        ("GET", "merges".to_owned(), Value::Null),
        (
            "POST",
            format!("merges/{merge}/undo"),
            json!({ "note": "" }),
        ),
    ];
    let officer = desk.scene.office.desk("officer", "officer").await;
    let auditor = desk.scene.office.desk("auditor", "auditor").await;
    let stranger = desk.scene.office.desk_in(OTHER, "other", "reviewer").await;
    let secretary = desk.scene.office.desk_with(&phone.token);
    for (method, path, body) in routes {
        for (who, code) in [
            (&secretary, "wrong_role"),
            (&officer, "wrong_role"),
            (&stranger.at(HOME), "wrong_street"),
        ] {
            let answer = who.call(method, &path, body.clone()).await;
            assert_eq!(answer.code(), code, "{method} {path}");
        }
        // Another street's pairs and merges are nobody's here.
        if method == "POST" {
            let answer = stranger.call(method, &path, body.clone()).await;
            assert_eq!(
                answer.status,
                StatusCode::NOT_FOUND,
                "{method} {path}: {}",
                answer.json
            );
            // The auditor reads and changes nothing; neither does the admin, who does no reviewing.
            for who in [&auditor, &desk.scene.office.admin()] {
                let answer = who.call(method, &path, body.clone()).await;
                assert_eq!(answer.code(), "wrong_role", "{method} {path}");
            }
        } else {
            auditor.get(&path).await;
        }
    }
    assert_eq!(
        desk.values(b, "merged_into").await,
        [a.to_string()],
        "nothing of that undid it"
    );
}

#[tokio::test]
async fn only_the_server_says_where_a_card_went() {
    let desk = Merging::open().await;
    let mut phone = desk.scene.office.secretary("wang.fang", &["A1"]).await;
    let (a, b) = (phone.create("A1", &bun_shop()), phone.create("A1", &[]));
    phone.sync().await;
    for phone in [
        &mut phone,
        &mut desk.scene.office.desk_phone("another", "reviewer").await,
    ] {
        phone.sync().await;
        phone.edit(b, &[put("merged_into", &a.to_string())]);
        let answer = phone.sync().await;
        assert_eq!(
            answer
                .verdicts()
                .last()
                .and_then(|verdict| verdict.code.as_deref()),
            Some("field_not_editable")
        );
    }
    assert!(desk.values(b, "merged_into").await.is_empty());
}

#[tokio::test]
async fn merges_that_are_refused() {
    let desk = Merging::open().await;
    let mut phone = desk.scene.office.secretary("wang.fang", &["A1"]).await;
    let [a, b, c] = [
        phone.create("A1", &bun_shop()),
        phone.create("A1", &bun_shop()),
        phone.create("A1", &bun_shop()),
    ];
    let transfer = phone.create_with(
        Kind::TransferRequest,
        "A1",
        &[
            put("kind", "transfer_request"),
            put("street", HOME),
            put("grid", "A1"),
            put("transfer_kind", "in_city_e"),
            put("member_alias", "小王"),
        ],
    );
    phone.sync().await;
    let missing: RecordId = PERSON.parse().unwrap();
    let merge = |winner: RecordId, loser: RecordId| {
        let path = format!("duplicates/{}/merge", pair_id(winner, loser));
        let desk = &desk;
        async move {
            let answer = desk
                .reviewer
                .call("POST", &path, json!({ "winner": winner, "loser": loser }))
                .await;
            answer.code().to_owned()
        }
    };
    assert_eq!(merge(a, a).await, "invalid_field");
    assert_eq!(merge(a, missing).await, "not_found");
    assert_eq!(merge(missing, a).await, "not_found");
    assert_eq!(merge(a, transfer).await, "not_found");
    let pair = pair_id(a, b);
    for (body, field) in [
        (json!({ "winner": c }), "winner"),
        (json!({ "winner": a, "loser": c }), "loser"),
        (json!({ "winner": a, "note": "记".repeat(201) }), "note"),
        (json!({ "winner": a, "score": 3 }), "score"),
    ] {
        let answer = desk
            .reviewer
            .call("POST", &format!("duplicates/{pair}/merge"), body)
            .await;
        assert_eq!(
            (answer.code(), answer.json["field"].as_str()),
            ("invalid_field", Some(field)),
            "{}",
            answer.json
        );
    }
    assert_eq!(
        desk.reviewer
            .call("POST", &format!("merges/{missing}/undo"), json!({}))
            .await
            .code(),
        "not_found"
    );
    assert_eq!(
        desk.reviewer
            .call("POST", &format!("duplicates/{missing}/dismiss"), json!({}))
            .await
            .code(),
        "not_found"
    );
    assert_eq!(
        desk.reviewer
            .call("GET", "duplicates?reason=score", Value::Null)
            .await
            .code(),
        "invalid_field"
    );

    // A card goes on in one card only, and none goes on in one that went away: there are no cycles.
    let first = desk.merge(a, b).await;
    assert_eq!(merge(b, a).await, "already_merged");
    assert_eq!(merge(a, b).await, "already_merged");
    assert_eq!(merge(c, b).await, "already_merged");
    assert_eq!(merge(b, c).await, "already_merged");
    let second = desk.merge(c, a).await;
    assert_eq!(
        desk.reviewer
            .call("POST", &format!("merges/{first}/undo"), json!({}))
            .await
            .code(),
        "merge_not_last"
    );
    desk.undo(&second).await;
    desk.undo(&first).await;
    assert_eq!(
        desk.reviewer
            .call("POST", &format!("merges/{first}/undo"), json!({}))
            .await
            .code(),
        "merge_undone"
    );
    // Undone, it may go the other way round.
    desk.merge(b, a).await;
}

#[tokio::test]
async fn two_officers_who_merge_at_once_merge_once() {
    let desk = Merging::open().await;
    let mut phone = desk.scene.office.secretary("wang.fang", &["A1"]).await;
    let (a, b) = (
        phone.create("A1", &bun_shop()),
        phone.create("A1", &bun_shop()),
    );
    phone.sync().await;
    let another = desk.scene.office.desk("another", "reviewer").await;
    let path = format!("duplicates/{}/merge", pair_id(a, b));
    let merge = |winner: RecordId, loser: RecordId| json!({ "winner": winner, "loser": loser });
    let (one, two) = tokio::join!(
        desk.reviewer.call("POST", &path, merge(a, b)),
        another.call("POST", &path, merge(b, a)),
    );
    let mut codes = [one.code(), two.code()];
    codes.sort_unstable();
    assert_eq!(codes, ["", "already_merged"]);
    assert_eq!(desk.reviewer.cards("").await.len(), 1);
    assert_eq!(desk.reviewer.get("merges").await["total"], 1);
    desk.scene.office.equals_rebuild().await;
}

#[tokio::test]
async fn pairs_are_proposed_for_reasons_and_looked_at_once() {
    let desk = Merging::open().await;
    let mut phone = desk
        .scene
        .office
        .secretary("wang.fang", &["A1", "A2"])
        .await;
    let a = phone.create("A1", &bun_shop());
    let b = phone.create(
        "A2",
        &[
            put("sign_name", "汪记包子"),
            put("address_raw", "徐汇区天平路３７８号"),
        ],
    );
    let alone = phone.create(
        "A2",
        &[
            put("sign_name", "王记包子"),
            put("road", "广元路"),
            put("number", "9"),
        ],
    );
    phone.sync().await;
    let pair = pair_id(a, b).to_string();
    let expected = BTreeMap::from([(
        pair.clone(),
        vec!["same_door".to_owned(), "same_name".to_owned()],
    )]);
    assert_eq!(desk.pairs("").await, expected);
    assert_eq!(desk.pairs("?grid=A1").await, expected);
    assert_eq!(desk.pairs("?grid=A2&reason=same_name").await, expected);
    assert_eq!(desk.pairs(&format!("?record={b}")).await, expected);
    for query in [
        "?grid=A3".to_owned(),
        "?reason=same_phone".to_owned(),
        format!("?record={alone}"),
        "?dismissed=true".to_owned(),
        "?page=2".to_owned(),
    ] {
        assert!(desk.pairs(&query).await.is_empty(), "{query}");
    }
    let page = desk.reviewer.get("duplicates").await;
    assert_eq!(page["items"][0]["cards"].as_array().unwrap().len(), 2);
    assert_eq!(page["items"][0]["reasons"][0]["zh"], "门牌相同");

    desk.post(
        &format!("duplicates/{pair}/dismiss"),
        json!({ "note": "楼上楼下" }),
    )
    .await;
    assert!(desk.pairs("").await.is_empty());
    assert_eq!(desk.pairs("?dismissed=true").await, expected);
    // What was looked at has changed: they share a phone now.
    for (record, entry) in [(a, PERSON), (b, SAME_PERSON)] {
        phone.edit(
            record,
            &[put(&format!("contacts/{entry}/phones"), "13900000001")],
        );
    }
    phone.sync().await;
    assert_eq!(
        desk.pairs("").await[&pair],
        ["same_door", "same_name", "same_phone"]
    );
    assert!(desk.pairs("?dismissed=true").await.is_empty());
    // A pair that is proposed needs only the winner.
    desk.post(&format!("duplicates/{pair}/merge"), json!({ "winner": b }))
        .await;
    assert!(
        desk.pairs("").await.is_empty(),
        "a card that went away is in no pair"
    );
    desk.scene.office.equals_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_phones_that_create_one_shop_offline_end_with_one_card() {
    let desk = Merging::open().await;
    let (one, two) = (
        desk.scene.phone("wang.fang", &["A1"]).await,
        desk.scene.phone("li.na", &["A1"]).await,
    );
    let mut edits = bun_shop();
    edits.extend([
        put(&format!("contacts/{PERSON}/name"), "王某"),
        put(&format!("contacts/{PERSON}/phones"), "13900000001"),
    ]);
    let winner = one.create_card("A1", &edits, NOW).expect("created").record;
    let mut edits = vec![
        put("sign_name", "王记包子铺"),
        put("address_raw", "天平路378号"),
        put("opening_hours", "6点到14点"),
    ];
    edits.extend([
        put(&format!("contacts/{SAME_PERSON}/name"), "王 某"),
        put(&format!("contacts/{SAME_PERSON}/phones"), "139 0000 0001"),
    ]);
    edits.push(Edit::add("tags/family_run"));
    let loser = two.create_card("A1", &edits, NOW).expect("created").record;
    // The second phone learns of the first card only now: it could not warn.
    for phone in [&one, &two, &one] {
        phone.sync().await.expect("synced");
    }
    assert_eq!(
        one.likely_duplicates("A1", &bun_shop())
            .expect("readable")
            .len(),
        2,
        "both phones would warn now"
    );
    let pair = pair_id(winner, loser).to_string();
    assert_eq!(
        desk.pairs("").await[&pair],
        ["same_door", "similar_name", "same_phone"]
    );

    let merge = text(
        &desk
            .post(
                &format!("duplicates/{pair}/merge"),
                json!({ "winner": winner, "note": "同一家" }),
            )
            .await["merge"],
    );
    assert_eq!(
        desk.values(winner, "sign_name").await,
        ["王记包子", "王记包子铺"],
        "nothing is chosen silently"
    );
    assert_eq!(desk.values(winner, "opening_hours").await, ["6点到14点"]);
    assert_eq!(
        desk.reviewer.get(&format!("records/{winner}")).await["fields"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|f| text(&f["key"]).ends_with("/phones"))
            .count(),
        1
    );
    assert_eq!(
        desk.reviewer.get(&format!("records/{loser}")).await["merged_into"],
        winner.to_string()
    );
    assert_eq!(desk.reviewer.cards("").await.len(), 1);
    assert!(
        desk.reviewer
            .cards("?q=378")
            .await
            .iter()
            .all(|row| row.record() == winner)
    );

    // Before it hears of the merge, a phone edits the card that went away: it follows.
    two.edit(
        loser,
        &[put("opening_hours", "5点到13点"), put("unit", "101室")],
        NOW,
    )
    .expect("saved");
    two.edit(
        loser,
        &[put(
            &format!("contacts/{SAME_PERSON}/preferred_time"),
            "下午",
        )],
        NOW,
    )
    .expect("saved");
    let report = two.sync().await.expect("synced");
    assert_eq!(
        (report.tally.rejected, report.held, report.drafts),
        (0, 0, 0)
    );
    desk.scene.office.equals_rebuild().await;
    assert_eq!(
        desk.values(winner, "opening_hours").await,
        ["5点到13点"],
        "the newer word of the same people"
    );
    assert_eq!(desk.values(winner, "unit").await, ["101室"]);
    assert_eq!(
        desk.values(winner, &format!("contacts/{PERSON}/preferred_time"))
            .await,
        ["下午"],
        "one person stays one"
    );
    assert_eq!(
        desk.values(loser, "unit").await,
        ["101室"],
        "and its own history has it"
    );
    let history = desk
        .reviewer
        .get(&format!("records/{winner}/history"))
        .await;
    let messages: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| text(&item["message"]))
        .collect();
    assert!(
        messages
            .iter()
            .any(|m| m.contains(&loser.to_string()) && m.contains("li.na")),
        "{messages:?}"
    );

    for phone in [&one, &two, &one] {
        phone.sync().await.expect("synced");
    }
    for phone in [&one, &two] {
        assert_eq!(shown(phone), desk.everything().await);
        let listed: Vec<_> = phone
            .cards()
            .expect("readable")
            .into_iter()
            .map(|card| card.record)
            .collect();
        assert_eq!(listed, [winner], "a card that went away is not listed");
    }

    // Somebody settles the conflict, then the merge turns out to be wrong.
    one.edit(winner, &[put("sign_name", "王记包子")], NOW)
        .expect("saved");
    one.edit(winner, &[put("unit", "102室")], NOW)
        .expect("saved");
    one.sync().await.expect("synced");
    desk.undo(&merge).await;
    assert_eq!(desk.values(winner, "sign_name").await, ["王记包子"]);
    assert_eq!(
        desk.values(winner, "unit").await,
        ["102室"],
        "edited since: it stays"
    );
    assert!(
        desk.values(winner, "opening_hours").await.is_empty(),
        "a redirected edit goes back with its card"
    );
    assert!(
        desk.values(winner, &format!("contacts/{PERSON}/preferred_time"))
            .await
            .is_empty()
    );
    assert_eq!(
        desk.values(winner, &format!("contacts/{PERSON}/name"))
            .await,
        ["王某"]
    );
    assert_eq!(desk.values(loser, "opening_hours").await, ["5点到13点"]);
    assert!(desk.values(loser, "merged_into").await.is_empty());
    for phone in [&one, &two] {
        phone.sync().await.expect("synced");
        assert_eq!(shown(phone), desk.everything().await);
        assert_eq!(phone.cards().expect("readable").len(), 2);
    }
    // From here on an edit is its card's own again.
    two.edit(loser, &[put("category", "餐饮")], NOW)
        .expect("saved");
    two.sync().await.expect("synced");
    assert!(desk.values(winner, "category").await.is_empty());
    assert_eq!(
        desk.reviewer.get("merges").await["items"][0]["undone_by"],
        "reviewer"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_warns_before_a_shop_is_entered_twice() {
    let desk = Merging::open().await;
    let phone = desk.scene.phone("wang.fang", &["A1"]).await;
    let card = phone
        .create_card("A1", &bun_shop(), NOW)
        .expect("created")
        .record;
    phone.sync().await.expect("synced");
    let file = desk.scene.file("wang.fang");
    drop(phone);
    let new = [
        "new",
        "--address",
        "徐汇区天平路３７８号",
        "--sign-name",
        "汪记包子",
    ];
    let (done, said) = terminal(&file, &new);
    assert!(
        !done
            && said.contains("门牌相同")
            && said.contains("店招同名或同音")
            && said.contains("--anyway"),
        "{said}"
    );
    let (done, said) = terminal(&file, &[&["--lang", "en"], &new[..]].concat());
    assert!(
        !done && said.contains("same door") && said.contains("show ROW"),
        "{said}"
    );
    assert!(
        terminal(&file, &["show", "1"]).1.contains("王记包子"),
        "the list names the card that is there"
    );
    // Another shop behind the same door, and the same shop on purpose.
    assert!(
        terminal(
            &file,
            &[
                "new",
                "--address",
                "天平路378号",
                "--sign-name",
                "悦福理发店"
            ]
        )
        .0
    );
    let (done, said) = terminal(&file, &[&new[..], &["--anyway"]].concat());
    assert!(done, "{said}");

    let phone = RealPhone::open(&file).expect("the phone");
    phone.sync().await.expect("synced");
    let twin = phone
        .cards()
        .expect("readable")
        .into_iter()
        .find(|card| card.sign_name.as_deref() == Some("汪记包子"))
        .expect("the twin");
    desk.merge(card, twin.record).await;
    phone.sync().await.expect("synced");
    drop(phone);
    let (_, said) = terminal(&file, &["show", &twin.record.to_string()]);
    assert!(
        said.contains("已并入") && said.contains(&card.to_string()),
        "{said}"
    );
    assert!(
        !terminal(&file, &["cards"])
            .1
            .contains(&twin.record.to_string()[30..])
    );
}

#[tokio::test]
async fn late_edits_go_through_a_chain_and_into_other_grids() {
    let desk = Merging::open().await;
    let mut one = desk.scene.office.secretary("wang.fang", &["A1"]).await;
    let mut two = desk.scene.office.secretary("li.na", &["A2"]).await;
    let a = one.create("A1", &bun_shop());
    let b = two.create("A2", &bun_shop());
    let c = two.create(
        "A2",
        &[put("sign_name", "王记包子"), put("category", "餐饮")],
    );
    one.sync().await;
    two.sync().await;
    let into_b = desk.merge(b, a).await;
    let into_c = desk.merge(c, b).await;
    assert_eq!(desk.reviewer.cards("").await.len(), 1);
    // This phone has only the first card, and knows nothing of the others.
    one.edit(a, &[put("sign_name", "王记汤包"), put("unit", "101室")]);
    one.edit(a, &[Edit::add("tags/late_night")]);
    let answer = one.sync().await;
    assert!(
        answer
            .verdicts()
            .iter()
            .all(|verdict| verdict.seq.is_some()),
        "{:?}",
        answer.verdicts()
    );
    desk.scene.office.equals_rebuild().await;
    for record in [a, b, c] {
        assert_eq!(desk.values(record, "unit").await, ["101室"]);
        assert_eq!(desk.values(record, "tags/late_night").await.len(), 1);
    }
    assert_eq!(desk.values(a, "sign_name").await, ["王记汤包"]);
    assert_eq!(
        desk.values(c, "sign_name").await,
        ["王记包子", "王记汤包"],
        "a conflict that somebody settles"
    );
    // Back again, the last merge first.
    desk.undo(&into_c).await;
    assert!(desk.values(c, "unit").await.is_empty());
    assert_eq!(desk.values(b, "unit").await, ["101室"]);
    desk.undo(&into_b).await;
    assert!(desk.values(b, "unit").await.is_empty());
    assert_eq!(desk.values(a, "unit").await, ["101室"]);
    assert_eq!(desk.reviewer.cards("").await.len(), 3);
}

#[tokio::test]
async fn what_was_forgotten_on_the_winner_does_not_come_back_through_the_loser() {
    let desk = Merging::open().await;
    let mut phone = desk.scene.office.secretary("wang.fang", &["A1"]).await;
    let person = |field: &str| format!("contacts/{PERSON}/{field}");
    let winner = phone.create("A1", &bun_shop());
    let loser = phone.create(
        "A1",
        &[
            put("sign_name", "王记包子"),
            put(&person("name"), "王某"),
            put(&person("phones"), "13900000001"),
        ],
    );
    phone.sync().await;
    let merge = desk.merge(winner, loser).await;
    assert_eq!(
        desk.values(winner, &person("phones")).await,
        ["13900000001"]
    );
    let admin = desk.scene.office.admin();
    let forget = async |what: &str, body: Value| {
        let path = format!("records/{winner}/{what}");
        admin.post(&path, body).await
    };
    let receipt = forget(
        "redact",
        json!({ "entry": PERSON, "reason": "subject_request" }),
    )
    .await;
    assert!(
        receipt.to_string().contains(&loser.to_string()),
        "the receipt names the other card: {receipt}"
    );
    phone.edit(
        loser,
        &[put(&person("phones"), "13900000002"), put("unit", "101室")],
    );
    phone.sync().await;
    desk.scene.office.equals_rebuild().await;
    assert!(
        desk.values(winner, &person("phones")).await.is_empty(),
        "forgotten is forgotten"
    );
    assert_eq!(
        desk.values(winner, "unit").await,
        ["101室"],
        "the rest follows"
    );

    forget("erase", json!({ "reason": "subject_request" })).await;
    phone.edit(loser, &[put("unit", "102室")]);
    let answer = phone.sync().await;
    assert!(
        answer
            .verdicts()
            .iter()
            .all(|verdict| verdict.seq.is_some()),
        "a late edit of the loser is still kept"
    );
    desk.undo(&merge).await;
    assert_eq!(desk.values(loser, "unit").await, ["102室"]);
    assert_eq!(
        desk.reviewer.cards("").await.len(),
        1,
        "the card that is left is in the roll again"
    );
}

#[tokio::test]
async fn the_trail_names_what_a_merge_did() {
    let desk = Merging::open().await;
    let mut phone = desk.scene.office.secretary("wang.fang", &["A1"]).await;
    let (a, b) = (
        phone.create("A1", &bun_shop()),
        phone.create("A1", &[put("sign_name", "王记汤包"), put("road", "天平路")]),
    );
    phone.sync().await;
    let merge = desk.merge(a, b).await;
    desk.undo(&merge).await;
    for action in ["merge", "merge_undo"] {
        let found = sqlx::query_scalar::<_, i64>(
            "select count(*) from audit_event where action = $1 and username = 'reviewer' and detail like '%' || $2 || '%'",
        );
        let found = found
            .bind(action)
            .bind(&merge)
            .fetch_one(&desk.scene.office.test.app.pool)
            .await
            .unwrap();
        assert_eq!(found, 1, "{action}");
    }
    assert_eq!(desk.scene.office.count("select count(*) from audit_event where detail like '%王记%' or detail like '%天平路%'").await, 0);
}

#[tokio::test]
async fn a_street_of_fourteen_thousand_cards_compares_few() {
    let desk = Merging::open().await;
    // Keys as PROJECT writes them: chains of seven, malls of a hundred behind one door, and one chain that shares a phone as well.
    desk.scene.office
        .execute(
            "insert into record (street, record, kind, grid, generation, seq, grid_seq, state)
             select '310104003', ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'shop_card', 'A1', 1, n, n, ''
             from generate_series(1, 14000) n",
        )
        .await;
    desk.scene.office
        .execute(
            "insert into shop_key (street, record, key)
             select '310104003', ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, key
             from generate_series(1, 14000) n,
                  unnest(array['door|tian ping lu||' || (n / 100) || '|', 'name|shop ' || (n % 2000), 'unit|' || n % 50]) key",
        )
        .await;
    desk.scene.office
        .execute(
            "insert into shop_key (street, record, key)
             select '310104003', ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'phone|1390000' || (n % 2000)
             from generate_series(1, 14000) n where n % 2000 = 7",
        )
        .await;
    desk.scene.office.execute("analyze shop_key").await;
    let street: StreetCode = HOME.parse().unwrap();
    let mut conn = desk.scene.office.test.app.pool.acquire().await.unwrap();
    // 2000 names that seven cards share: 21 pairs each. The doors, shared by a hundred, would bring 14,000 × 99 / 2 together.
    let candidates = lianka_server::duplicates::candidates(&mut conn, &street)
        .await
        .unwrap();
    assert_eq!(candidates.len(), 2000 * 21);
    let likely = lianka_server::duplicates::likely(&mut conn, &street)
        .await
        .unwrap();
    assert_eq!(likely.len(), 21, "those that share a phone as well");
}
