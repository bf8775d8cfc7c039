//! Edits made at a desk: refusals first.

use axum::http::StatusCode;
use lianka_sync_core::{crdt::record::Edit, id::RecordId, key::NOTE};
use lianka_tests::Answer;
use serde_json::{Value, json};

use crate::{
    scene::Desk,
    sync::phone::{HOME, OTHER, Office, Phone, STORE, put, text},
};

pub const CONTACT: &str = "0198c0de-0000-7000-8000-00000000000a";
const CONSENT: &str = "0198c0de-0000-7000-8000-00000000000c";

/// A street with a card on a secretary's phone, and a reviewer's desk.
struct Scene {
    office: Office,
    phone: Phone,
    desk: Desk,
    card: RecordId,
}

impl Scene {
    async fn open() -> Self {
        let office = Office::open().await;
        let mut phone = office.secretary("wang.fang", &["A1"]).await;
        let desk = office.desk("chen.min", "reviewer").await;
        let card = phone.create(
            "A1",
            &[
                put("sign_name", "王记包子"),
                Edit::Note {
                    text: "门口积水".into(),
                },
            ],
        );
        phone.edit(card, &[put(&format!("contacts/{CONTACT}/name"), "许娜")]);
        assert_eq!(phone.sync().await.codes(), ["accepted"; 2]);
        Self {
            office,
            phone,
            desk,
            card,
        }
    }

    async fn edit(&self, body: Value) -> Answer {
        let path = format!("records/{}/edits", self.card);
        self.desk.call("POST", &path, body).await
    }

    async fn edited(&self, body: Value) -> Value {
        let path = format!("records/{}/edits", self.card);
        self.desk.post(&path, body).await
    }

    async fn heads(&self) -> Value {
        let record = self.desk.get(&format!("records/{}", self.card)).await;
        record["heads"].clone()
    }
}

#[tokio::test]
async fn who_may_not_edit_at_a_desk() {
    let scene = Scene::open().await;
    let body = json!({ "set": { "sign_name": "李记" } });
    let before = scene.office.rows(&STORE).await;
    for role in ["officer", "auditor", "secretary"] {
        let desk = scene.office.desk(role, role).await;
        for path in [
            format!("records/{}/edits", scene.card),
            "records".to_owned(),
        ] {
            let answer = desk.call("POST", &path, body.clone()).await;
            assert_eq!(
                (answer.status, answer.code()),
                (StatusCode::FORBIDDEN, "wrong_role"),
                "{role} {path}"
            );
        }
    }
    let elsewhere = scene.office.desk_in(OTHER, "elsewhere", "reviewer").await;
    let path = format!("records/{}/edits", scene.card);
    let answer = elsewhere.at(HOME).call("POST", &path, body.clone()).await;
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::FORBIDDEN, "wrong_street")
    );
    let answer = elsewhere.call("POST", &path, body.clone()).await;
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::NOT_FOUND, "not_found"),
        "a record of another street is not there"
    );
    let path = format!("records/{CONTACT}/edits");
    let answer = scene.desk.call("POST", &path, body).await;
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::NOT_FOUND, "not_found")
    );
    assert_eq!(scene.office.rows(&STORE).await, before);
}

/// The answer may be lost on the way, and a desk asks again.
#[tokio::test]
async fn a_card_with_an_id_of_the_callers_is_made_once() {
    let scene = Scene::open().await;
    let id = "01a2002f-1f52-7573-bf1d-002c6396f006";
    let body = |name: &str| json!({ "record": id, "set": { "grid": "A1", "sign_name": name, "tags/late_night": true, "opening_hours": null } });
    let create = async |body: Value| scene.desk.call("POST", "records", body).await;
    let first = create(body("王记包子")).await;
    assert_eq!(
        (first.status, &first.json["record"]),
        (StatusCode::CREATED, &json!(id)),
        "{}",
        first.json
    );
    let before = scene.office.rows(&STORE).await;
    let again = create(body("王记包子")).await;
    assert_eq!(
        (again.status, &again.json["record"], &again.json["heads"]),
        (StatusCode::OK, &json!(id), &first.json["heads"])
    );
    assert_eq!(again.json.get("change"), None);
    // Something else under the same id, and the same by somebody else.
    for other in [
        body("李记"),
        json!({ "record": id, "set": { "grid": "A1", "sign_name": "王记包子" } }),
        json!({ "record": id, "set": { "grid": "A1", "sign_name": "王记包子", "tags/late_night": true, "unit": "101" } }),
        json!({ "record": id, "kind": "transfer_request", "set": { "grid": "A1", "transfer_kind": "temporary", "member_alias": "老周" } }),
    ] {
        let answer = create(other.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::CONFLICT, "already_exists"),
            "{other}: {}",
            answer.json
        );
    }
    let colleague = scene.office.desk("colleague", "reviewer").await;
    let answer = colleague.call("POST", "records", body("王记包子")).await;
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::CONFLICT, "already_exists"),
        "{}",
        answer.json
    );
    assert_eq!(scene.office.rows(&STORE).await, before);
    // What was written since does not make the request another one.
    let edit = json!({ "set": { "sign_name": "王记大包" } });
    colleague.post(&format!("records/{id}/edits"), edit).await;
    assert_eq!(create(body("王记包子")).await.status, StatusCode::OK);
}

/// What the documents' own library would stumble over is refused like anything else, and nobody is told to try it again.
#[tokio::test]
async fn a_creation_that_can_never_be_is_refused_for_good() {
    let scene = Scene::open().await;
    for (set, field, rule) in [
        (json!({ "grid": "A1", "": "x" }), Some(""), "unknown_field"),
        (
            json!({ "grid": "A1", "custom/": "x" }),
            Some("custom/"),
            "value_empty",
        ),
        (
            json!({ "grid": "A1", "note": "长".repeat(2_001) }),
            Some("note"),
            "value_too_long",
        ),
        (
            json!({ "grid": "A1", "sign_name": "长".repeat(500) }),
            Some("sign_name"),
            "value_too_long",
        ),
        (
            json!({ "grid": "A1", "sign_name": "长".repeat(5_000) }),
            None,
            "change_too_large",
        ),
        (
            json!({ "grid": "A1", format!("tags/{}", "长".repeat(2_000)): true }),
            None,
            "change_too_large",
        ),
    ] {
        for (path, set) in [
            ("records", &set),
            (&*format!("records/{}/edits", scene.card), &set),
        ] {
            let answer = scene.desk.call("POST", path, json!({ "set": set })).await;
            let shown: String = set.to_string().chars().take(60).collect();
            assert_eq!(
                answer.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{path} {shown}: {}",
                answer.json
            );
            assert_eq!(answer.json["rule"], rule, "{path} {shown}: {}", answer.json);
            assert!(
                field.is_none_or(|field| answer.json["field"] == field),
                "{path} {shown}: {}",
                answer.json
            );
        }
    }
}

#[tokio::test]
async fn what_may_not_be_written_at_a_desk_either() {
    let scene = Scene::open().await;
    let consent = |field: &str| format!("consent/{CONSENT}/{field}");
    let granted = json!({ "set": { consent("contact"): CONTACT, consent("scope"): "visits", consent("decision"): "grant" } });
    scene.edited(granted).await;
    let before = scene.office.rows(&STORE).await;
    for (set, field, rule) in [
        (json!({ "shoe_size": "42" }), "shoe_size", "unknown_field"),
        (json!({ "kind": "transfer_request" }), "kind", "write_once"),
        (json!({ "street": OTHER }), "street", "write_once"),
        (json!({ "street": null }), "street", "write_once"),
        (
            json!({ consent("scope"): "party_status" }),
            &*consent("scope"),
            "write_once",
        ),
        (
            json!({ "merged_into": CONTACT }),
            "merged_into",
            "field_not_editable",
        ),
        (
            json!({ format!("contacts/{CONTACT}/party_status"): "群众" }),
            &*format!("contacts/{CONTACT}/party_status"),
            "consent_missing",
        ),
        (json!({ "sign_name": "" }), "sign_name", "value_empty"),
        (
            json!({ "sign_name": "长".repeat(101) }),
            "sign_name",
            "value_too_long",
        ),
        (
            json!({ "sign_name": "a\u{7}b" }),
            "sign_name",
            "value_control_character",
        ),
        (json!({ "sign_name": true }), "sign_name", "wrong_type"),
        (
            json!({ "tags/late_night": "yes" }),
            "tags/late_night",
            "wrong_type",
        ),
        (
            json!({ "occupancy": "open" }),
            "occupancy",
            "value_not_in_list",
        ),
        (
            json!({ "occupancy_observed_on": "2026-02-30" }),
            "occupancy_observed_on",
            "value_not_a_date",
        ),
        (
            json!({ "point": "31.2,121.4" }),
            "point",
            "value_not_a_point",
        ),
        (
            json!({ "note": "长".repeat(2001) }),
            "note",
            "value_too_long",
        ),
        (json!({ "note": true }), "note", "wrong_type"),
        // One bad key refuses the whole edit.
        (
            json!({ "sign_name": "李记", "occupancy": "open" }),
            "occupancy",
            "value_not_in_list",
        ),
    ] {
        let answer = scene.edit(json!({ "set": set })).await;
        let named = (answer.json["field"].as_str(), answer.json["rule"].as_str());
        assert_eq!(
            (answer.status, answer.code(), named),
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_field",
                (Some(field), Some(rule))
            )
        );
        assert!(!answer.json["detail"].as_str().unwrap().is_empty());
    }
    for (body, field, rule) in [
        (json!({ "set": {} }), "set", "not_empty"),
        (json!({}), "", "shape"),
        (
            json!({ "set": { "sign_name": 1.5 } }),
            "set.sign_name",
            "shape",
        ),
        (
            json!({ "set": { "sign_name": "李记" }, "note": "长".repeat(151) }),
            "note",
            "length_max",
        ),
        (
            json!({ "set": { "sign_name": "李记" }, "expected_heads": ["nope"] }),
            "expected_heads[0]",
            "shape",
        ),
        (
            json!({ "set": { "sign_name": "李记" }, "colour": "red" }),
            "colour",
            "shape",
        ),
    ] {
        let answer = scene.edit(body.clone()).await;
        let named = (
            answer.json["field"].as_str().unwrap_or_default(),
            answer.json["rule"].as_str(),
        );
        assert_eq!(
            (answer.code(), named),
            ("invalid_field", (field, Some(rule))),
            "{body}"
        );
    }
    let answer = scene.edit(json!({ "set": { "grid": "Z9" } })).await;
    assert_eq!(
        (answer.code(), answer.json["rule"].as_str()),
        ("edit_refused", Some("unknown_grid")),
        "{}",
        answer.json
    );
    assert_eq!(
        scene.office.rows(&STORE).await,
        before,
        "nothing of a refused edit is stored"
    );
}

#[tokio::test]
async fn an_edit_that_expects_other_heads_is_told_the_present_ones() {
    let mut scene = Scene::open().await;
    let heads = scene.heads().await;
    scene.phone.edit(scene.card, &[put("unit", "201")]);
    scene.phone.sync().await;
    let before = scene.office.rows(&STORE).await;
    let stale = scene
        .edit(json!({ "set": { "unit": "301" }, "expected_heads": heads }))
        .await;
    assert_eq!(
        (stale.status, stale.code()),
        (StatusCode::CONFLICT, "stale_heads")
    );
    assert_eq!(stale.json["heads"], scene.heads().await);
    assert_eq!(scene.office.rows(&STORE).await, before);
    let written = scene
        .edited(json!({ "set": { "unit": "301" }, "expected_heads": stale.json["heads"] }))
        .await;
    assert_eq!(written["heads"], scene.heads().await);
}

#[tokio::test]
async fn an_edit_reaches_phones_history_and_read_models() {
    let mut scene = Scene::open().await;
    let set = json!({ "sign_name": "王记包子铺", "tags/late_night": true, "opening_hours": "6:00-20:00", format!("contacts/{CONTACT}/name"): null });
    let written = scene
        .edited(json!({ "set": set, "note": "电话核实" }))
        .await;
    assert_eq!(
        (&written["record"], &written["settled"]),
        (&json!(scene.card), &json!([]))
    );
    assert_eq!(scene.phone.sync().await.changes(), [scene.card]);
    let view = scene.phone.view(scene.card);
    assert_eq!(
        (view.text("sign_name"), view.text("opening_hours")),
        (Some("王记包子铺"), Some("6:00-20:00"))
    );
    assert!(view.get("tags/late_night").is_some() && view.entries("contacts").is_empty());
    let path = format!("records/{}/history", scene.card);
    let history = scene.desk.get(&path).await;
    let newest = &history["items"][0];
    assert_eq!(
        (text(&newest["username"]), text(&newest["message"])),
        ("chen.min".to_owned(), "电话核实".to_owned())
    );
    assert_eq!(newest["change"], written["change"]);
    scene.office.equals_rebuild().await;
    // The phone goes on from there.
    scene.phone.edit(scene.card, &[put("sign_name", "王记")]);
    assert_eq!(scene.phone.sync().await.codes(), ["accepted"]);
    // What the record says already is no edit.
    let rows = scene.office.rows(&STORE).await;
    let nothing = scene
        .edited(json!({ "set": { "sign_name": "王记", "unit": null } }))
        .await;
    assert_eq!(
        (nothing.get("change"), &nothing["heads"]),
        (None, &scene.heads().await)
    );
    assert_eq!(scene.office.rows(&STORE).await, rows);
}

#[tokio::test]
async fn a_note_edited_at_desk_and_phone_merges_by_character() {
    let mut scene = Scene::open().await;
    scene.phone.edit(
        scene.card,
        &[Edit::Note {
            text: "今天门口积水".into(),
        }],
    );
    scene
        .edited(json!({ "set": { "note": "门口积水，已报修", "unit": "201" } }))
        .await;
    assert_eq!(scene.phone.sync().await.codes(), ["accepted"]);
    let view = scene.phone.view(scene.card);
    assert_eq!(
        (view.note.as_deref(), view.text("unit")),
        (Some("今天门口积水，已报修"), Some("201"))
    );
    scene.edited(json!({ "set": { "note": null } })).await;
    scene.phone.sync().await;
    assert_eq!(scene.phone.view(scene.card).note.as_deref(), Some(""));
    scene.office.equals_rebuild().await;
}

#[tokio::test]
async fn a_card_moved_at_the_desk_leaves_one_phone_and_reaches_another() {
    let mut scene = Scene::open().await;
    let mut other = scene.office.secretary("li.na", &["A2"]).await;
    other.sync().await;
    scene.edited(json!({ "set": { "grid": "A2" } })).await;
    assert_eq!(scene.phone.sync().await.leaves(), [scene.card]);
    assert_eq!(other.sync().await.snapshots(), [scene.card]);
    scene.office.equals_rebuild().await;
}

#[tokio::test]
async fn a_card_made_at_the_desk_is_a_card_like_any_other() {
    let mut scene = Scene::open().await;
    let rows = scene.office.rows(&STORE).await;
    for (body, code, named) in [
        (
            json!({ "set": { "sign_name": "无格" } }),
            "invalid_field",
            (Some("grid"), Some("creation_incomplete")),
        ),
        (
            json!({ "set": { "grid": "Z9" } }),
            "edit_refused",
            (None, Some("unknown_grid")),
        ),
        (
            json!({ "set": { "grid": "A1" }, "kind": "street_party" }),
            "invalid_field",
            (Some("kind"), Some("exists")),
        ),
        (
            json!({ "set": { "grid": "A1", "occupancy": "open" } }),
            "invalid_field",
            (Some("occupancy"), Some("value_not_in_list")),
        ),
    ] {
        let answer = scene.desk.call("POST", "records", body.clone()).await;
        assert_eq!(
            (
                answer.code(),
                (answer.json["field"].as_str(), answer.json["rule"].as_str())
            ),
            (code, named),
            "{body}"
        );
    }
    assert_eq!(scene.office.rows(&STORE).await, rows);
    let body = json!({ "set": { "grid": "A1", "sign_name": "新店", NOTE: "刚开", "unit": null } });
    let made = scene.desk.call("POST", "records", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    let card: RecordId = text(&made.json["record"]).parse().unwrap();
    assert_eq!(scene.phone.sync().await.snapshots(), [card]);
    let view = scene.phone.view(card);
    assert_eq!(
        (view.text("sign_name"), view.note.as_deref()),
        (Some("新店"), Some("刚开"))
    );
    scene.phone.edit(
        card,
        &[
            put("sign_name", "新新店"),
            Edit::Note {
                text: "刚开业".into(),
            },
        ],
    );
    assert_eq!(scene.phone.sync().await.codes(), ["accepted"]);
    scene.office.equals_rebuild().await;
}
