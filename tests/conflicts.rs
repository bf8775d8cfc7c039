//! The conflict inbox, choosing, undoing, and who is told of it: refusals first.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use lianka_sync_core::{
    codec::wire::{Notice, ResponseItem},
    crdt::record::Edit,
    id::RecordId,
};
use lianka_tests::Answer;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    edits::CONTACT,
    scene::{Desk, NOW, enrol, terminal},
    sync::phone::{HOME, OTHER, Office, Phone, Reply, STORE, put, text},
};

const CONSENT: &str = "0198c0de-0000-7000-8000-00000000000c";
const RESOLUTIONS: &[&str] = &["resolution", "notice"];

/// Two secretaries of one grid, a card that both hold, and a reviewer with a phone and a desk.
struct Scene {
    office: Office,
    wang: Phone,
    li: Phone,
    reviewer: Phone,
    desk: Desk,
    card: RecordId,
}

fn notices(reply: &Reply) -> Vec<Notice> {
    reply
        .items
        .iter()
        .filter_map(|item| {
            if let ResponseItem::Notice(notice) = item {
                Some(notice.clone())
            } else {
                None
            }
        })
        .collect()
}

/// Kind and field of the notices that a phone's next synchronisation brings.
async fn told(phone: &mut Phone) -> Vec<(String, String)> {
    notices(&phone.sync().await)
        .into_iter()
        .map(|notice| (notice.kind, notice.field.unwrap_or_default()))
        .collect()
}

fn not_chosen(field: &str) -> Vec<(String, String)> {
    vec![("value_not_chosen".to_owned(), field.to_owned())]
}

fn undone(field: &str) -> Vec<(String, String)> {
    vec![("resolution_undone".to_owned(), field.to_owned())]
}

/// The texts of a phone's copy of a field, sorted.
fn values(phone: &mut Phone, card: RecordId, key: &str) -> Vec<String> {
    let view = phone.view(card);
    let mut values: Vec<_> = view
        .values
        .get(key)
        .into_iter()
        .flatten()
        .filter_map(|value| value.value.as_str().map(str::to_owned))
        .collect();
    values.sort();
    values
}

impl Scene {
    async fn open() -> Self {
        let office = Office::open().await;
        let mut wang = office.secretary("wang.fang", &["A1"]).await;
        let mut li = office.secretary("li.na", &["A1"]).await;
        let reviewer = office.desk_phone("chen.min", "reviewer").await;
        let desk = office.desk_with(&reviewer.token);
        let card = wang.create(
            "A1",
            &[
                put("sign_name", "旧招牌"),
                put("road", "天平路"),
                put("number", "378"),
            ],
        );
        wang.sync().await;
        li.sync().await;
        Self {
            office,
            wang,
            li,
            reviewer,
            desk,
            card,
        }
    }

    /// Both write these unseen by each other, and both have synchronised since.
    async fn differ(&mut self, edits: &[(&str, &str, &str)]) {
        let of = |which: fn(&(&str, &str, &str)) -> (String, String)| {
            edits
                .iter()
                .map(which)
                .map(|(key, value)| put(&key, &value))
                .collect::<Vec<_>>()
        };
        self.wang.edit(
            self.card,
            &of(|edit| (edit.0.to_owned(), edit.1.to_owned())),
        );
        self.li.edit(
            self.card,
            &of(|edit| (edit.0.to_owned(), edit.2.to_owned())),
        );
        self.settle().await;
    }

    /// Everybody has everything.
    async fn settle(&mut self) {
        for phone in [&mut self.wang, &mut self.li] {
            assert!(
                phone
                    .sync()
                    .await
                    .codes()
                    .iter()
                    .all(|code| *code == "accepted")
            );
        }
        self.wang.sync().await;
    }

    /// The field's values in the inbox, as value and operation.
    async fn disputed(&self, key: &str) -> Vec<(Value, String)> {
        let inbox = self
            .desk
            .get(&format!("conflicts?record={}&field={key}", self.card))
            .await;
        let values = inbox["items"][0]["fields"][0]["values"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        values
            .iter()
            .map(|value| (value["value"].clone(), text(&value["op"])))
            .collect()
    }

    async fn ops(&self, key: &str) -> Vec<String> {
        self.disputed(key)
            .await
            .into_iter()
            .map(|(_, op)| op)
            .collect()
    }

    async fn resolve(&self, field: &str, value: Value, seen: &[String]) -> Answer {
        let body = json!({ "field": field, "value": value, "note": "电话核实", "seen": seen });
        self.desk
            .call("POST", &format!("records/{}/resolutions", self.card), body)
            .await
    }

    /// Chooses a value of all that stand there.
    async fn choose(&self, field: &str, value: Value) -> Value {
        let seen = self.ops(field).await;
        let answer = self.resolve(field, value, &seen).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        answer.json
    }

    async fn undo(&self, resolution: &Value, force: bool) -> Answer {
        self.desk
            .call(
                "POST",
                &format!("resolutions/{}/undo", text(resolution)),
                json!({ "force": force }),
            )
            .await
    }

    async fn total(&self, path: &str) -> i64 {
        self.desk.get(path).await["total"].as_i64().unwrap()
    }
}

#[tokio::test]
async fn who_may_not_settle_anything() {
    let mut scene = Scene::open().await;
    scene.differ(&[("sign_name", "王记", "王记 ")]).await;
    let resolution = scene.choose("sign_name", json!("王记")).await["resolution"].clone();
    scene.differ(&[("unit", "201", "２０１")]).await;
    let seen = scene.ops("unit").await;
    let before = (
        scene.office.rows(&STORE).await,
        scene.office.rows(RESOLUTIONS).await,
    );
    let card = scene.card;
    let requests = [
        ("GET", "conflicts".to_owned(), Value::Null),
        ("GET", "resolutions".to_owned(), Value::Null),
        (
            "POST",
            format!("records/{card}/resolutions"),
            json!({ "field": "unit", "value": "201", "seen": seen }),
        ),
        (
            "POST",
            "conflicts/resolutions".to_owned(),
            json!({ "class": "spelling" }),
        ),
        (
            "POST",
            format!("conflicts/resolutions/{CONTACT}/undo"),
            json!({}),
        ),
        (
            "POST",
            format!("resolutions/{}/undo", text(&resolution)),
            json!({}),
        ),
    ];
    for role in ["officer", "auditor", "secretary", "admin"] {
        let desk = scene.office.desk(role, role).await;
        for (method, path, body) in &requests {
            let answer = desk.call(method, path, body.clone()).await;
            assert_eq!(
                (answer.status, answer.code()),
                (StatusCode::FORBIDDEN, "wrong_role"),
                "{role} {path}"
            );
        }
    }
    let elsewhere = scene.office.desk_in(OTHER, "elsewhere", "reviewer").await;
    for (method, path, body) in &requests {
        let answer = elsewhere.at(HOME).call(method, path, body.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::FORBIDDEN, "wrong_street"),
            "{path}"
        );
    }
    // In their own street nothing of ours is there.
    for (method, path, body) in &requests {
        let answer = elsewhere.at(OTHER).call(method, path, body.clone()).await;
        let nothing = answer.code() == "not_found"
            || answer.json["total"] == 0
            || answer.json["settled"] == 0;
        assert!(nothing, "{path}: {}", answer.json);
    }
    assert_eq!(
        (
            scene.office.rows(&STORE).await,
            scene.office.rows(RESOLUTIONS).await
        ),
        before
    );
}

#[tokio::test]
async fn what_is_no_choice() {
    let mut scene = Scene::open().await;
    scene
        .differ(&[
            ("sign_name", "王记", "李记"),
            ("unit", "201", "201"),
            ("category", "餐饮", "零售"),
        ])
        .await;
    let seen = scene.ops("sign_name").await;
    let before = (
        scene.office.rows(&STORE).await,
        scene.office.rows(RESOLUTIONS).await,
    );
    let old = vec![
        format!("1@{}", scene.wang.actor()),
        format!("2@{}", scene.wang.actor()),
    ];
    for (field, value, seen, code, named) in [
        (
            "shoe_size",
            json!("42"),
            seen.clone(),
            "invalid_field",
            ("field", "unknown_field"),
        ),
        (
            "sign_name",
            json!("长".repeat(101)),
            seen.clone(),
            "invalid_field",
            ("sign_name", "value_too_long"),
        ),
        (
            "sign_name",
            json!({ "a": 1 }),
            seen.clone(),
            "invalid_field",
            ("value", "shape"),
        ),
        (
            "sign_name",
            json!("王记"),
            vec!["nope".to_owned()],
            "invalid_field",
            ("seen[0]", "shape"),
        ),
        (
            "sign_name",
            json!("王记"),
            Vec::new(),
            "conflict_changed",
            ("", ""),
        ),
        // One value alone is nothing to choose from; nor are values that stand there no more.
        (
            "sign_name",
            json!("王记"),
            seen[..1].to_vec(),
            "conflict_changed",
            ("", ""),
        ),
        (
            "sign_name",
            json!("王记"),
            old,
            "conflict_changed",
            ("", ""),
        ),
        // Equal values, and those of a field where one wins by itself, are no conflict.
        (
            "unit",
            json!("201"),
            seen.clone(),
            "conflict_changed",
            ("", ""),
        ),
        (
            "category",
            json!("餐饮"),
            seen.clone(),
            "conflict_changed",
            ("", ""),
        ),
        (
            "number",
            json!("378"),
            seen.clone(),
            "conflict_changed",
            ("", ""),
        ),
    ] {
        let answer = scene.resolve(field, value, &seen).await;
        let got = (
            answer.json["field"].as_str().unwrap_or_default(),
            answer.json["rule"].as_str().unwrap_or_default(),
        );
        assert_eq!(
            (answer.code(), got),
            (code, named),
            "{field} {}",
            answer.json
        );
    }
    let path = format!("records/{}/resolutions", scene.card);
    // Without a value nothing is cleared by mistake.
    let answer = scene
        .desk
        .call("POST", &path, json!({ "field": "sign_name", "seen": seen }))
        .await;
    assert_eq!(
        (answer.code(), answer.json["rule"].as_str()),
        ("invalid_field", Some("shape"))
    );
    for (path, body, field) in [
        (
            "conflicts/resolutions",
            json!({ "class": "harmless" }),
            "class",
        ),
        ("conflicts/resolutions", json!({}), ""),
    ] {
        let answer = scene.desk.call("POST", path, body).await;
        assert_eq!(
            (
                answer.code(),
                answer.json["field"].as_str().unwrap_or_default()
            ),
            ("invalid_field", field)
        );
    }
    let answer = scene
        .desk
        .call("GET", "conflicts?class=harmless", Value::Null)
        .await;
    assert_eq!(
        (answer.code(), answer.json["rule"].as_str()),
        ("invalid_field", Some("harmless_class"))
    );
    for path in [
        format!("resolutions/{CONTACT}/undo"),
        format!("conflicts/resolutions/{CONTACT}/undo"),
    ] {
        let answer = scene.desk.call("POST", &path, json!({})).await;
        assert_eq!(answer.code(), "not_found");
    }
    assert_eq!(
        (
            scene.office.rows(&STORE).await,
            scene.office.rows(RESOLUTIONS).await
        ),
        before,
        "nothing moved"
    );
}

#[tokio::test]
async fn the_inbox_shows_every_value_with_its_author_and_what_they_had_seen() {
    let mut scene = Scene::open().await;
    scene
        .differ(&[("sign_name", "王记", "李记"), ("unit", "２０１", "201")])
        .await;
    scene.office.test.clock.advance_ms(60_000);
    let inbox = scene.desk.get("conflicts").await;
    assert_eq!(
        (
            inbox["total"].as_i64(),
            inbox["items"].as_array().unwrap().len()
        ),
        (Some(1), 1)
    );
    let shop = &inbox["items"][0];
    assert_eq!(
        (&shop["record"], text(&shop["grid"]), text(&shop["kind"])),
        (&json!(scene.card), "A1".into(), "shop_card".into())
    );
    assert!(text(&shop["address"]).starts_with("天平路"));
    let field = |key: &str| {
        shop["fields"]
            .as_array()
            .unwrap()
            .iter()
            .find(|field| field["key"] == key)
            .unwrap()
    };
    let sign = field("sign_name");
    assert_eq!(
        (
            text(&sign["label_zh"]),
            text(&sign["label_en"]),
            text(&sign["class"])
        ),
        ("店招".into(), "sign name".into(), "P0".into())
    );
    assert_eq!(sign.get("harmless"), None);
    let of = |name: &str| {
        sign["values"]
            .as_array()
            .unwrap()
            .iter()
            .find(|value| value["value"] == name)
            .unwrap()
    };
    let wang = of("王记");
    assert_eq!(
        (
            text(&wang["username"]),
            text(&wang["display_name"]),
            text(&wang["device_name"])
        ),
        ("wang.fang".into(), "wang.fang".into(), "手机".into())
    );
    assert_eq!(
        (wang["device"].clone(), wang["restored"].clone()),
        (json!(scene.wang.device), json!(false))
    );
    assert!(wang["device_time"].is_string());
    assert_eq!(text(&wang["received_at"]), "2026-11-21T08:00:00Z");
    assert_eq!(text(&of("李记")["username"]), "li.na");
    for value in [wang, of("李记")] {
        let seen = value["seen"].as_array().unwrap();
        assert_eq!(
            (seen.len(), &seen[0]["value"], text(&seen[0]["username"])),
            (1, &json!("旧招牌"), "wang.fang".into())
        );
    }
    let harmless = &field("unit")["harmless"];
    assert_eq!(
        (text(&harmless["class"]), &harmless["suggestion"]),
        ("spelling".into(), &json!("201"))
    );
    assert!(text(&harmless["label_zh"]).contains("全半角"));
    // A field that was empty for both.
    scene.differ(&[("legal_name", "甲公司", "乙公司")]).await;
    let inbox = scene.desk.get("conflicts?field=legal_name").await;
    let values = inbox["items"][0]["fields"][0]["values"].as_array().unwrap();
    assert!(
        values.iter().all(|value| value["seen"] == json!([])),
        "nothing was there"
    );
    scene.office.equals_rebuild().await;
}

#[tokio::test]
async fn the_inbox_is_filtered_and_paged_by_shop() {
    let mut scene = Scene::open().await;
    scene
        .differ(&[
            ("sign_name", "王记", "李记"),
            (
                &format!("contacts/{CONTACT}/phones"),
                "50932417",
                "021-50932417",
            ),
        ])
        .await;
    let mut elsewhere = scene.office.secretary("zhao.lei", &["A2"]).await;
    let other = elsewhere.create("A2", &[put("sign_name", "甲"), put("road", "武康路")]);
    elsewhere.sync().await;
    scene.reviewer.sync().await;
    elsewhere.edit(other, &[put("sign_name", "乙店")]);
    scene.reviewer.edit(other, &[put("sign_name", "乙 店")]);
    elsewhere.sync().await;
    scene.reviewer.sync().await;
    for (query, expected) in [
        ("", 2),
        ("?grid=A2", 1),
        ("?grid=A3", 0),
        ("?field=sign_name", 2),
        ("?field=phones", 1),
        ("?field=name", 0),
        ("?class=phone_format", 1),
        ("?class=more_complete", 0),
        ("?class=spelling&grid=A2", 1),
        ("?class=spelling&grid=A1", 0),
        (&*format!("?record={other}"), 1),
        ("?page=2&page_size=1", 2),
        ("?page=9&page_size=1", 2),
    ] {
        assert_eq!(
            scene.total(&format!("conflicts{query}")).await,
            expected,
            "{query}"
        );
    }
    let phones = scene.desk.get("conflicts?class=phone_format").await;
    let fields = phones["items"][0]["fields"].as_array().unwrap();
    assert_eq!(
        (fields.len(), &fields[0]["harmless"]["suggestion"]),
        (1, &json!("021-50932417")),
        "only what was asked for"
    );
    let first = |page: Value| page["items"][0]["record"].clone();
    assert_eq!(
        first(scene.desk.get("conflicts?page_size=1").await),
        json!(scene.card),
        "as the street is walked"
    );
    assert_eq!(
        first(scene.desk.get("conflicts?page_size=1&page=2").await),
        json!(other)
    );
}

#[tokio::test]
async fn sensitive_values_are_masked_in_lists_and_in_no_class() {
    let mut scene = Scene::open().await;
    let consent = |field: &str| format!("consent/{CONSENT}/{field}");
    let granted = [
        put(&format!("contacts/{CONTACT}/name"), "许娜"),
        put(&consent("contact"), CONTACT),
        put(&consent("scope"), "party_status"),
        put(&consent("decision"), "grant"),
    ];
    scene.wang.edit(scene.card, &granted);
    scene.wang.sync().await;
    scene.li.sync().await;
    let key = format!("contacts/{CONTACT}/party_status");
    scene.differ(&[(&key, "群众", "群 众")]).await;
    let inbox = scene.desk.get("conflicts").await;
    let field = &inbox["items"][0]["fields"][0];
    assert_eq!(
        (
            text(&field["key"]),
            text(&field["class"]),
            field["masked"].clone()
        ),
        (key.clone(), "P3".into(), json!(true))
    );
    assert!(!inbox.to_string().contains('众'), "{inbox}");
    assert_eq!(field["values"].as_array().unwrap().len(), 2);
    assert_eq!(
        scene
            .desk
            .post("conflicts/resolutions", json!({ "class": "spelling" }))
            .await["settled"],
        0
    );
    scene.choose(&key, json!("群众")).await;
    let list = scene.desk.get("resolutions").await;
    assert_eq!(
        (list["total"].clone(), list["items"][0]["masked"].clone()),
        (json!(1), json!(true))
    );
    assert!(!list.to_string().contains('众'), "{list}");

    // Once the consent is withdrawn, what was chosen between is forgotten with the status.
    let other = "0198c0de-0000-7000-8000-0000000000c2";
    let withdrawn = [
        ("contact", CONTACT),
        ("scope", "party_status"),
        ("decision", "withdraw"),
    ];
    let withdrawn = withdrawn.map(|(field, value)| put(&format!("consent/{other}/{field}"), value));
    scene.settle().await;
    scene.wang.edit(scene.card, &withdrawn);
    scene.settle().await;
    let kept = scene.office.rows(RESOLUTIONS).await;
    assert!(!format!("{kept:?}").contains('众'), "{kept:?}");
    assert_eq!(scene.desk.get("resolutions").await["total"], 0);
}

#[tokio::test]
async fn a_choice_settles_what_was_looked_at_and_nothing_else() {
    let mut scene = Scene::open().await;
    let mut zhao = scene.office.secretary("zhao.lei", &["A1"]).await;
    zhao.sync().await;
    zhao.edit(scene.card, &[put("sign_name", "赵记")]);
    scene.differ(&[("sign_name", "王记", "李记")]).await;
    let seen = scene.ops("sign_name").await;
    // The third value arrives while the reviewer looks at the first two.
    zhao.sync().await;
    let chosen = scene.resolve("sign_name", json!("王记"), &seen).await.json;
    assert_eq!(chosen["remaining"].as_array().unwrap().len(), 1);
    let left: BTreeSet<_> = scene
        .disputed("sign_name")
        .await
        .into_iter()
        .map(|(value, _)| text(&value))
        .collect();
    assert_eq!(left, ["王记", "赵记"].map(str::to_owned).into());
    scene.settle().await;
    assert_eq!(
        values(&mut scene.wang, scene.card, "sign_name"),
        ["王记", "赵记"]
    );
    assert!(told(&mut zhao).await.is_empty(), "their value still stands");
    // The same choice again is none.
    assert_eq!(
        scene
            .resolve("sign_name", json!("王记"), &seen)
            .await
            .code(),
        "conflict_changed"
    );
    // Whoever names nothing means whatever stands there.
    let path = format!("records/{}/resolutions", scene.card);
    let chosen = scene
        .desk
        .call(
            "POST",
            &path,
            json!({ "field": "sign_name", "value": "赵记", "note": "看过招牌" }),
        )
        .await
        .json;
    assert_eq!(
        (
            &chosen["remaining"],
            scene.disputed("sign_name").await.len()
        ),
        (&json!([]), 0)
    );
    scene.office.equals_rebuild().await;
}

#[tokio::test]
async fn exactly_the_worker_whose_value_was_not_chosen_is_told_once_on_each_phone() {
    let mut scene = Scene::open().await;
    let mut second = scene.office.phone("li.na").await;
    second.sync().await;
    scene.differ(&[("sign_name", "王记", "李记")]).await;
    scene.office.test.clock.advance_ms(1_000);
    let chosen = scene.choose("sign_name", json!("王记")).await;
    assert!(told(&mut scene.wang).await.is_empty(), "theirs was chosen");
    let reply = scene.li.sync().await;
    let [notice] = &notices(&reply)[..] else {
        panic!("{:?}", reply.items)
    };
    assert_eq!(
        (notice.kind.as_str(), notice.record, notice.field.as_deref()),
        ("value_not_chosen", scene.card, Some("sign_name"))
    );
    assert_eq!(
        (notice.by.as_deref(), notice.note.as_deref()),
        (Some("reviewer"), Some("电话核实"))
    );
    assert_eq!(
        (json!(notice.hash), json!(notice.seq)),
        (chosen["change"].clone(), chosen["seq"].clone())
    );
    assert_eq!(notice.at.to_string(), "2026-11-21T08:00:01Z");
    assert!(told(&mut scene.li).await.is_empty(), "once");
    assert_eq!(
        told(&mut second).await,
        not_chosen("sign_name"),
        "on each of their phones"
    );
    assert!(told(&mut scene.reviewer).await.is_empty());
    let row = &scene.desk.get("resolutions").await["items"][0];
    assert_eq!(
        (
            text(&row["source"]),
            text(&row["username"]),
            text(&row["note"])
        ),
        ("desk".into(), "chen.min".into(), "电话核实".into())
    );
    assert_eq!(
        (&row["chosen"], &row["resolution"]),
        (&json!("王记"), &chosen["resolution"])
    );
    let replaced: BTreeSet<_> = row["replaced"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| (text(&value["value"]), text(&value["username"])))
        .collect();
    assert_eq!(
        replaced,
        [
            ("王记".to_owned(), "wang.fang".to_owned()),
            ("李记".to_owned(), "li.na".to_owned())
        ]
        .into()
    );
    // A third value is neither's.
    scene.differ(&[("unit", "201", "202")]).await;
    scene.choose("unit", json!("203")).await;
    assert_eq!(
        (told(&mut scene.wang).await, told(&mut scene.li).await),
        (not_chosen("unit"), not_chosen("unit"))
    );
    // So is clearing the field.
    scene.differ(&[("lane", "7", "8")]).await;
    scene.choose("lane", Value::Null).await;
    assert_eq!(
        (told(&mut scene.wang).await, told(&mut scene.li).await),
        (not_chosen("lane"), not_chosen("lane"))
    );
    scene.office.equals_rebuild().await;
}

#[tokio::test]
async fn a_new_phone_is_told_of_the_last_thirty_days() {
    let mut scene = Scene::open().await;
    scene.differ(&[("sign_name", "王记", "李记")]).await;
    scene.choose("sign_name", json!("王记")).await;
    scene
        .office
        .execute("update notice set created_at = created_at - interval '31 days'")
        .await;
    scene.differ(&[("unit", "201", "202")]).await;
    scene.choose("unit", json!("201")).await;
    let mut late = scene.office.phone("li.na").await;
    assert_eq!(told(&mut late).await, not_chosen("unit"));
    assert!(told(&mut late).await.is_empty());
    let mut another = scene.office.phone("wang.fang").await;
    assert!(
        told(&mut another).await.is_empty(),
        "another user's notices are not theirs"
    );
    // A download that broke off is told again: a notice is one however often it comes.
    let mut broken = scene.office.phone("li.na").await;
    let reply = broken.push(true, &[]).await;
    let checkpoint = reply
        .items
        .iter()
        .position(|item| matches!(item, ResponseItem::Checkpoint { .. }));
    broken.take_in(&reply.items[..checkpoint.map_or(1, |at| at + 1)]);
    assert_eq!(told(&mut broken).await, not_chosen("unit"));
    // The phone that was away learns both, however long ago.
    assert_eq!(
        told(&mut scene.li).await,
        not_chosen("unit"),
        "the first had come when it differed again"
    );
}

#[tokio::test]
async fn a_phone_that_settles_a_conflict_is_a_resolution_too() {
    let mut scene = Scene::open().await;
    scene
        .differ(&[("sign_name", "王记", "李记"), ("unit", "201", "202")])
        .await;
    // Wang settles offline: one field with the own value, one with a third.
    scene.wang.edit(scene.card, &[put("sign_name", "王记")]);
    scene.wang.edit(scene.card, &[put("unit", "203")]);
    assert!(
        told(&mut scene.wang).await.is_empty(),
        "nobody is told of their own choice"
    );
    assert_eq!(
        told(&mut scene.li).await,
        [not_chosen("sign_name"), not_chosen("unit")].concat()
    );
    let rows = scene.desk.get("resolutions").await;
    let sources: Vec<_> = rows["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (text(&row["source"]), text(&row["username"])))
        .collect();
    assert_eq!(
        sources,
        vec![("phone".to_owned(), "wang.fang".to_owned()); 2]
    );
    assert_eq!(scene.total("conflicts").await, 0);
    // The value that is shown already, whosever it is, is a choice as well, and can be undone.
    scene.differ(&[("legal_name", "王记", "李记")]).await;
    let shown = scene
        .wang
        .view(scene.card)
        .text("legal_name")
        .expect("a value")
        .to_owned();
    scene.wang.edit(scene.card, &[put("legal_name", &shown)]);
    let own = shown == "王记";
    assert_eq!(
        (told(&mut scene.wang).await, told(&mut scene.li).await),
        if own {
            (vec![], not_chosen("legal_name"))
        } else {
            (vec![], vec![])
        }
    );
    let rows = scene.desk.get("resolutions?field=legal_name").await;
    assert_eq!(
        (&rows["total"], &rows["items"][0]["chosen"]),
        (&json!(1), &json!(shown))
    );
    assert_eq!(
        scene
            .undo(&rows["items"][0]["resolution"], false)
            .await
            .status,
        StatusCode::OK
    );
    scene.settle().await;
    assert_eq!(
        values(&mut scene.li, scene.card, "legal_name"),
        ["李记", "王记"]
    );
    scene.choose("legal_name", json!("李记")).await;
    scene.settle().await;
    told(&mut scene.wang).await;
    told(&mut scene.li).await;
    // An edit at the desk that writes over a conflict is no silent end of it either.
    scene.differ(&[("sign_name", "甲", "乙")]).await;
    let answer = scene
        .desk
        .post(
            &format!("records/{}/edits", scene.card),
            json!({ "set": { "sign_name": "丙" } }),
        )
        .await;
    assert_eq!(answer["settled"], json!(["sign_name"]));
    assert_eq!(
        (told(&mut scene.wang).await, told(&mut scene.li).await),
        (not_chosen("sign_name"), not_chosen("sign_name"))
    );
    scene.office.equals_rebuild().await;
}

#[tokio::test]
async fn choices_made_at_once_on_phone_and_desk_are_a_conflict_or_equal() {
    for (phone, desk, left) in [
        ("王记", "李记", vec!["李记", "王记"]),
        ("赵记", "赵记", vec!["赵记", "赵记"]),
    ] {
        let mut scene = Scene::open().await;
        scene.differ(&[("sign_name", "王记", "李记")]).await;
        scene.wang.edit(scene.card, &[put("sign_name", phone)]);
        scene.choose("sign_name", json!(desk)).await;
        scene.settle().await;
        scene.li.sync().await;
        assert_eq!(values(&mut scene.wang, scene.card, "sign_name"), left);
        assert_eq!(scene.wang.views(), scene.li.views());
        assert_eq!(scene.total("conflicts").await, i64::from(phone != desk));
        scene.office.equals_rebuild().await;
    }
}

#[tokio::test]
async fn an_undone_choice_brings_the_conflict_back_with_its_authors() {
    let mut scene = Scene::open().await;
    for (key, chosen, told_first) in [("sign_name", "王记", false), ("legal_name", "赵记", true)]
    {
        scene.differ(&[(key, "王记", "李记")]).await;
        let resolution = scene.choose(key, json!(chosen)).await["resolution"].clone();
        assert_eq!(
            told(&mut scene.wang).await,
            if told_first {
                not_chosen(key)
            } else {
                Vec::new()
            }
        );
        assert_eq!(told(&mut scene.li).await, not_chosen(key));
        let done = scene.undo(&resolution, false).await;
        assert_eq!(
            (done.status, &done.json["undone"]),
            (StatusCode::OK, &json!(1)),
            "{}",
            done.json
        );
        assert_eq!(
            told(&mut scene.wang).await,
            if told_first { undone(key) } else { Vec::new() }
        );
        assert_eq!(told(&mut scene.li).await, undone(key));
        assert_eq!(values(&mut scene.li, scene.card, key), ["李记", "王记"]);
        scene.wang.sync().await;
        assert_eq!(scene.wang.views(), scene.li.views());
        let inbox = scene.desk.get("conflicts").await;
        let values = inbox["items"][0]["fields"][0]["values"].as_array().unwrap();
        let authors: BTreeSet<_> = values
            .iter()
            .map(|value| {
                (
                    text(&value["value"]),
                    text(&value["username"]),
                    value["restored"].clone().to_string(),
                )
            })
            .collect();
        let author = |value: &str, username: &str| {
            (value.to_owned(), username.to_owned(), "true".to_owned())
        };
        assert_eq!(
            authors,
            [author("王记", "wang.fang"), author("李记", "li.na")].into()
        );
        let again = scene.undo(&resolution, true).await;
        assert_eq!(
            (again.status, again.code()),
            (StatusCode::CONFLICT, "already_undone")
        );
        scene.office.equals_rebuild().await;
        // Settled a second time, the same workers are told, although the desk wrote the values back.
        scene.choose(key, json!("王记")).await;
        assert!(told(&mut scene.wang).await.is_empty());
        assert_eq!(told(&mut scene.li).await, not_chosen(key));
        let row = &scene.desk.get("resolutions").await["items"][0];
        let names: BTreeSet<_> = row["replaced"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| text(&value["username"]))
            .collect();
        assert_eq!(names, ["li.na".to_owned(), "wang.fang".to_owned()].into());
        scene.office.equals_rebuild().await;
    }
}

#[tokio::test]
async fn a_field_edited_since_is_put_back_only_by_force_and_beside_the_edit() {
    let mut scene = Scene::open().await;
    scene.differ(&[("sign_name", "王记", "李记")]).await;
    let resolution = scene.choose("sign_name", json!("王记")).await["resolution"].clone();
    scene.settle().await;
    scene.li.edit(scene.card, &[put("sign_name", "新招牌")]);
    scene.settle().await;
    let before = (
        scene.office.rows(&STORE).await,
        scene.office.rows(RESOLUTIONS).await,
    );
    let refused = scene.undo(&resolution, false).await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::CONFLICT, "edited_since")
    );
    assert_eq!(
        (
            scene.office.rows(&STORE).await,
            scene.office.rows(RESOLUTIONS).await
        ),
        before
    );
    assert_eq!(scene.undo(&resolution, true).await.status, StatusCode::OK);
    scene.settle().await;
    assert_eq!(
        values(&mut scene.wang, scene.card, "sign_name"),
        ["新招牌", "李记", "王记"]
    );
    scene.office.equals_rebuild().await;
    // Clearing the value that was chosen is an edit as well.
    scene.differ(&[("lane", "7", "8")]).await;
    let resolution = scene.choose("lane", json!("7")).await["resolution"].clone();
    scene.settle().await;
    scene.li.edit(scene.card, &[Edit::set("lane", "")]);
    scene.settle().await;
    let refused = scene.undo(&resolution, false).await;
    assert_eq!(refused.code(), "edited_since");
    assert_eq!(scene.undo(&resolution, true).await.status, StatusCode::OK);
    scene.settle().await;
    assert_eq!(values(&mut scene.wang, scene.card, "lane"), ["7", "8"]);
    scene.office.equals_rebuild().await;
    // A field that was cleared by the choice is put back as well.
    scene.differ(&[("unit", "201", "202")]).await;
    let resolution = scene.choose("unit", Value::Null).await["resolution"].clone();
    assert_eq!(scene.undo(&resolution, false).await.status, StatusCode::OK);
    scene.settle().await;
    assert_eq!(values(&mut scene.wang, scene.card, "unit"), ["201", "202"]);
    scene.office.equals_rebuild().await;
}

#[tokio::test]
async fn harmless_conflicts_are_settled_in_bulk_and_put_back() {
    let mut scene = Scene::open().await;
    let phones = format!("contacts/{CONTACT}/phones");
    let first = scene.card;
    scene
        .differ(&[
            ("sign_name", "王记 包子", "王记包子"),
            ("unit", "２０１", "201"),
            (&phones, "16634109680", "166 3410 9680"),
            ("lane", "7", "8"),
        ])
        .await;
    let second = scene.wang.create("A1", &[put("sign_name", "旧")]);
    scene.settle().await;
    scene.card = second;
    scene.differ(&[("sign_name", "ＡＢＣ", "ABC")]).await;
    let before = (
        scene.office.rows(&STORE).await,
        scene.office.rows(RESOLUTIONS).await,
    );
    let plan = scene
        .desk
        .post(
            "conflicts/resolutions",
            json!({ "class": "spelling", "dry_run": true }),
        )
        .await;
    assert_eq!(
        (&plan["settled"], plan.get("bulk"), &plan["dry_run"]),
        (&json!(3), None, &json!(true))
    );
    assert_eq!(
        (
            scene.office.rows(&STORE).await,
            scene.office.rows(RESOLUTIONS).await
        ),
        before,
        "a dry run writes nothing"
    );
    let some = scene
        .desk
        .post(
            "conflicts/resolutions",
            json!({ "class": "spelling", "field": "unit", "grid": "A1" }),
        )
        .await;
    assert_eq!(some["settled"], 1);
    let done = scene
        .desk
        .post(
            "conflicts/resolutions",
            json!({ "class": "spelling", "note": "统一写法" }),
        )
        .await;
    assert_eq!(
        (&done["settled"], &done["more"]),
        (&json!(2), &json!(false)),
        "{done}"
    );
    let chosen: BTreeSet<_> = done["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| text(&item["chosen"]))
        .collect();
    assert_eq!(chosen, ["王记 包子", "ABC"].map(str::to_owned).into());
    assert_eq!(
        scene.total("conflicts").await,
        1,
        "what is not of the class stays"
    );
    assert_eq!(
        scene
            .total(&format!("resolutions?bulk={}", text(&done["bulk"])))
            .await,
        2
    );
    scene.office.equals_rebuild().await;
    scene.wang.sync().await;
    assert_eq!(
        told(&mut scene.li).await.len(),
        1,
        "li's sign of the first card was not chosen"
    );
    // One of them was edited since; the other is put back.
    scene.li.edit(second, &[put("sign_name", "甲乙丙")]);
    scene.li.sync().await;
    let path = format!("conflicts/resolutions/{}/undo", text(&done["bulk"]));
    let back = scene.desk.post(&path, json!({})).await;
    assert_eq!(back["undone"], 1, "{back}");
    let refused: Vec<_> = back["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item.get("refused").is_some())
        .collect();
    assert_eq!(
        (refused.len(), &refused[0]["record"], &refused[0]["refused"]),
        (1, &json!(second), &json!("edited_since"))
    );
    scene.settle().await;
    assert_eq!(
        values(&mut scene.wang, first, "sign_name"),
        ["王记 包子", "王记包子"]
    );
    let again = scene.desk.post(&path, json!({ "force": true })).await;
    assert_eq!(again["undone"], 1, "{again}");
    scene.settle().await;
    assert_eq!(
        values(&mut scene.wang, second, "sign_name"),
        ["ABC", "甲乙丙", "ＡＢＣ"]
    );
    assert_eq!(
        scene.desk.post(&path, json!({ "force": true })).await["undone"],
        0
    );
    scene.office.equals_rebuild().await;
}

#[tokio::test]
async fn the_audit_trail_tells_who_settled_without_saying_what() {
    let mut scene = Scene::open().await;
    scene.differ(&[("sign_name", "王记", "李记")]).await;
    let resolution = scene.choose("sign_name", json!("王记")).await["resolution"].clone();
    scene.undo(&resolution, false).await;
    scene
        .desk
        .post(
            &format!("records/{}/edits", scene.card),
            json!({ "set": { "unit": "二楼" } }),
        )
        .await;
    let trail = scene.office.rows(&["audit_event"]).await.join("\n");
    for action in ["resolution", "resolution_undone", "desk_edit"] {
        assert!(trail.contains(&format!(",{action},")), "{action}: {trail}");
    }
    for word in ["王记", "李记", "二楼", "电话核实"] {
        assert!(!trail.contains(word), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_phone_shows_what_its_user_was_told() {
    let mut scene = Scene::open().await;
    let served = scene.office.test.serve().await;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("phone.db");
    let phone = enrol(&scene.office, &served.url(), &file, "li.na").await;
    phone.sync().await.unwrap();
    // What a user writes offline at the terminal, and what another one wrote meanwhile.
    phone
        .edit(scene.card, &[put("sign_name", "李记")], NOW)
        .unwrap();
    scene.wang.edit(scene.card, &[put("sign_name", "王记")]);
    scene.wang.sync().await;
    assert_eq!(phone.sync().await.unwrap().notices, 0);
    assert_eq!(
        lianka_sync_core::kinds::conflicts(&phone.view(scene.card).unwrap()).count(),
        1
    );
    scene.choose("sign_name", json!("王记")).await;
    assert_eq!(phone.sync().await.unwrap().notices, 1);
    assert_eq!(phone.status().unwrap().notices, 1);
    let notices = phone.notices().unwrap();
    let [kept] = &notices[..] else {
        panic!("{notices:?}")
    };
    assert_eq!(
        (
            kept.notice.kind.as_str(),
            kept.title.as_deref(),
            kept.unread
        ),
        ("value_not_chosen", Some("天平路 378号 王记"), true)
    );
    // At the terminal, with no network: told of until it was looked at.
    drop(served);
    let terminal = |arguments: &[&str]| {
        let (done, said) = terminal(&file, arguments);
        assert!(done, "{said}");
        said
    };
    assert!(terminal(&["status"]).contains("新通知 1 条"));
    let chinese = terminal(&["notices"]);
    for word in [
        "［新］",
        "天平路 378号 王记",
        "“店招”有不同的值，审核员选定了另一个，您填写的未被采用。",
        "说明：电话核实",
    ] {
        assert!(chinese.contains(word), "{word} in {chinese}");
    }
    let english = terminal(&["--lang", "en", "notices"]);
    assert!(
        english.contains(
            "sign name: of several values a colleague (reviewer) chose another than yours."
        ) && !english.contains("[new]")
    );
    assert!(!terminal(&["status"]).contains("新通知"));
}

/// One step of somebody, among two phones and a desk.
#[derive(Clone, Debug)]
enum Step {
    Edit {
        li: bool,
        value: u8,
    },
    Sync {
        li: bool,
    },
    /// The desk chooses among what stands there.
    Choose {
        value: u8,
    },
    /// The desk undoes its last choice.
    Undo,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<bool>(), 0..5_u8).prop_map(|(li, value)| Step::Edit { li, value }),
        3 => any::<bool>().prop_map(|li| Step::Sync { li }),
        2 => (0..5_u8).prop_map(|value| Step::Choose { value }),
        1 => Just(Step::Undo),
    ]
}

#[test]
fn whatever_the_order_phones_and_desk_converge() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..24))| {
        runtime.block_on(converge(&steps));
    });
}

async fn converge(steps: &[Step]) {
    let mut scene = Scene::open().await;
    let mut last = None;
    for step in steps {
        match step {
            Step::Edit { li, value } => {
                let card = scene.card;
                let phone = if *li { &mut scene.li } else { &mut scene.wang };
                let value = format!("店{value}");
                if values(phone, card, "sign_name") != [value.as_str()] {
                    phone.edit(card, &[put("sign_name", &value)]);
                }
            }
            Step::Sync { li } => {
                let reply = if *li {
                    scene.li.sync().await
                } else {
                    scene.wang.sync().await
                };
                assert!(reply.codes().iter().all(|code| *code == "accepted"));
            }
            Step::Choose { value } => {
                let seen = scene.ops("sign_name").await;
                if !seen.is_empty() {
                    let answer = scene
                        .resolve("sign_name", json!(format!("店{value}")), &seen)
                        .await;
                    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
                    last = Some(answer.json["resolution"].clone());
                }
            }
            Step::Undo => {
                if let Some(resolution) = &last {
                    let answer = scene.undo(resolution, true).await;
                    assert!(
                        answer.status == StatusCode::OK || answer.code() == "already_undone",
                        "{}",
                        answer.json
                    );
                }
            }
        }
    }
    scene.settle().await;
    scene.li.sync().await;
    assert_eq!(scene.wang.views(), scene.li.views());
    let standing = values(&mut scene.wang, scene.card, "sign_name");
    let office: Vec<_> = scene
        .disputed("sign_name")
        .await
        .into_iter()
        .map(|(value, _)| text(&value))
        .collect();
    let differ = standing.iter().any(|value| *value != standing[0]);
    assert_eq!(office.is_empty(), !differ, "{standing:?} and {office:?}");
    scene.office.equals_rebuild().await;
}
