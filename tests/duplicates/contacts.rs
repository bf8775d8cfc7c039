//! One person twice on one card: two phones added them. Proposed with reasons, joined, told apart, undone; and who may not.

use axum::http::StatusCode;
use lianka_sync_core::{
    id::{EntryId, RecordId},
    kinds::duplicate::persons,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Merging, bun_shop};
use crate::{
    scene::terminal,
    sync::phone::{HOME, OTHER, put, text},
};

const ONE: EntryId = EntryId(Uuid::from_u128(0xa1));
const TWO: EntryId = EntryId(Uuid::from_u128(0xa2));

fn pair(record: RecordId) -> Uuid {
    persons::pair_id(record, ONE, TWO)
}

fn join(record: RecordId) -> Value {
    json!({ "record": record, "kept": ONE, "gone": TWO, "note": "同一人" })
}

impl Merging {
    /// A card on which 钱小红 stands twice, with these further fields.
    async fn twice(&self, one: &[(&str, &str)], two: &[(&str, &str)]) -> RecordId {
        let mut phone = self.scene.office.secretary("wang.fang", &["A1"]).await;
        let mut edits = bun_shop();
        for (entry, fields) in [(ONE, one), (TWO, two)] {
            edits.push(put(&format!("contacts/{entry}/name"), "钱小红"));
            let fields = fields.iter();
            edits.extend(
                fields.map(|(field, value)| put(&format!("contacts/{entry}/{field}"), value)),
            );
        }
        let record = phone.create("A1", &edits);
        phone.sync().await;
        record
    }

    async fn contact_pairs(&self, query: &str) -> Vec<Value> {
        self.reviewer
            .items(&format!("duplicates/contacts{query}"))
            .await
    }
}

fn reasons(pair: &Value) -> Vec<String> {
    let reasons = pair["reasons"].as_array().unwrap().iter();
    reasons.map(|reason| text(&reason["reason"])).collect()
}

/// The case of the roll: `lianka-phone add-contact` with the same words on two phones, offline.
#[tokio::test(flavor = "multi_thread")]
async fn two_phones_that_add_one_person_are_shown_as_a_likely_double() {
    let desk = Merging::open().await;
    let phones = [
        desk.scene.phone("a", &["A1"]).await,
        desk.scene.phone("b", &["A1"]).await,
    ];
    let record = phones[0]
        .create_card("A1", &bun_shop(), crate::scene::NOW)
        .expect("created")
        .record;
    for phone in &phones {
        phone.sync().await.expect("synced");
    }
    drop(phones);
    for file in ["a", "b"] {
        let file = desk.scene.file(file);
        assert!(terminal(&file, &["cards"]).0);
        let add = [
            "add-contact",
            "1",
            "--name",
            "钱小红",
            "--phones",
            "13700000007",
        ];
        let (done, said) = terminal(&file, &add);
        assert!(done, "{said}");
    }
    for file in ["a", "b"] {
        let (done, said) = terminal(&desk.scene.file(file), &["sync"]);
        assert!(done, "{said}");
    }
    let pairs = desk.contact_pairs("").await;
    assert_eq!(pairs.len(), 1, "{pairs:?}");
    assert_eq!(reasons(&pairs[0]), ["same_phone", "same_person_name"]);
    assert_eq!(pairs[0]["record"], record.to_string());
    assert_eq!(
        (&pairs[0]["sign_name"], &pairs[0]["other_name"]),
        (&json!("王记包子"), &json!(false))
    );
    let contacts = pairs[0]["contacts"].as_array().unwrap();
    assert_eq!(contacts.len(), 2);
    let entries = [0, 1].map(|nth| text(&contacts[nth]["entry"]));
    let path = format!("duplicates/contacts/{}/join", text(&pairs[0]["pair"]));
    let body = json!({ "record": record, "kept": entries[0], "gone": entries[1] });
    desk.post(&path, body).await;
    assert!(desk.contact_pairs("").await.is_empty());
    // On both phones the person stands there once.
    for file in ["a", "b"] {
        let file = desk.scene.file(file);
        assert!(terminal(&file, &["sync"]).0);
        let (_, said) = terminal(&file, &["show", &record.to_string()]);
        assert_eq!(said.matches("13700000007").count(), 1, "{said}");
    }
}

#[tokio::test]
async fn who_may_not_join_contacts() {
    let desk = Merging::open().await;
    let record = desk.twice(&[], &[]).await;
    let pair = pair(record);
    let joined = desk
        .post(&format!("duplicates/contacts/{pair}/join"), join(record))
        .await;
    let undo = format!("contact-joins/{}/undo", text(&joined["join"]));
    let routes = [
        ("GET", "duplicates/contacts".to_owned(), Value::Null),
        (
            "POST",
            format!("duplicates/contacts/{pair}/join"),
            join(record),
        ),
        (
            "POST",
            format!("duplicates/contacts/{pair}/dismiss"),
            json!({}),
        ),
        ("GET", "contact-joins".to_owned(), Value::Null),
        ("POST", undo, json!({})),
    ];
    let officer = desk.scene.office.desk("officer", "officer").await;
    let auditor = desk.scene.office.desk("auditor", "auditor").await;
    let stranger = desk.scene.office.desk_in(OTHER, "other", "reviewer").await;
    let secretary = desk.scene.office.phone("wang.fang").await;
    let secretary = desk.scene.office.desk_with(&secretary.token);
    for (method, path, body) in routes {
        for (who, code) in [
            (&secretary, "wrong_role"),
            (&officer, "wrong_role"),
            (&stranger.at(HOME), "wrong_street"),
        ] {
            let answer = who.call(method, &path, body.clone()).await;
            assert_eq!(answer.code(), code, "{method} {path}");
        }
        if method == "POST" {
            let answer = stranger.call(method, &path, body.clone()).await;
            assert_eq!(
                answer.status,
                StatusCode::NOT_FOUND,
                "{method} {path}: {}",
                answer.json
            );
            for who in [&auditor, &desk.scene.office.admin()] {
                let answer = who.call(method, &path, body.clone()).await;
                assert_eq!(answer.code(), "wrong_role", "{method} {path}");
            }
        } else {
            auditor.get(&path).await;
        }
    }
    assert!(
        desk.values(record, &format!("contacts/{TWO}/name"))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn joinings_that_are_refused() {
    let desk = Merging::open().await;
    let record = desk.twice(&[], &[]).await;
    let third = EntryId(Uuid::from_u128(0xa3));
    let post = |path: String, body: Value| {
        let reviewer = &desk.reviewer;
        async move {
            let answer = reviewer.call("POST", &path, body).await;
            let field = answer.json["field"].as_str().unwrap_or_default().to_owned();
            (answer.code().to_owned(), field)
        }
    };
    let path = |kept, gone| {
        format!(
            "duplicates/contacts/{}/join",
            persons::pair_id(record, kept, gone)
        )
    };
    let body =
        |kept: EntryId, gone: EntryId| json!({ "record": record, "kept": kept, "gone": gone });
    let refused = |code: &str, field: &str| (code.to_owned(), field.to_owned());
    assert_eq!(
        post(path(ONE, ONE), body(ONE, ONE)).await,
        refused("invalid_field", "gone")
    );
    assert_eq!(
        post(path(ONE, TWO), body(ONE, third)).await,
        refused("invalid_field", "gone")
    );
    assert_eq!(
        post(path(ONE, third), body(ONE, third)).await,
        refused("invalid_field", "entry")
    );
    let mut long = join(record);
    long["note"] = json!("记".repeat(201));
    assert_eq!(
        post(path(ONE, TWO), long).await,
        refused("invalid_field", "note")
    );
    assert_eq!(
        post(format!("contact-joins/{record}/undo"), json!({}))
            .await
            .0,
        "not_found"
    );
    assert_eq!(
        post(format!("duplicates/contacts/{record}/dismiss"), json!({}))
            .await
            .0,
        "not_found"
    );
    let answer = desk
        .reviewer
        .call("GET", "duplicates/contacts?reason=same_door", Value::Null)
        .await;
    assert_eq!(answer.code(), "invalid_field");

    let joined = desk.post(&path(ONE, TWO), join(record)).await;
    assert_eq!(
        post(path(ONE, TWO), join(record)).await,
        refused("invalid_field", "entry"),
        "once"
    );
    let undo = format!("contact-joins/{}/undo", text(&joined["join"]));
    desk.post(&undo, json!({ "note": "是两人" })).await;
    assert_eq!(post(undo, json!({})).await.0, "merge_undone");
}

#[tokio::test]
async fn contacts_are_joined_parted_and_told() {
    let desk = Merging::open().await;
    let record = desk
        .twice(
            &[("phones", "13700000007")],
            &[("phones", "13700000008"), ("role", "店长")],
        )
        .await;
    let other = pair(record);
    assert_eq!(
        reasons(&desk.contact_pairs("?grid=A1").await[0]),
        ["same_person_name"]
    );
    assert!(desk.contact_pairs("?grid=A2").await.is_empty());
    assert!(desk.contact_pairs("?reason=same_phone").await.is_empty());
    let joined = desk
        .post(&format!("duplicates/contacts/{other}/join"), join(record))
        .await;
    assert_eq!(
        (&joined["username"], reasons(&joined)),
        (&json!("reviewer"), vec!["same_person_name".to_owned()])
    );
    let phones = format!("contacts/{ONE}/phones");
    assert_eq!(
        desk.values(record, &phones).await,
        ["13700000007", "13700000008"]
    );
    assert_eq!(
        desk.values(record, &format!("contacts/{ONE}/role")).await,
        ["店长"]
    );
    let conflicts = desk.reviewer.items("conflicts").await;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    // The history of the card and the trail say so.
    let history = desk
        .reviewer
        .get(&format!("records/{record}/history"))
        .await
        .to_string();
    assert!(
        history.contains(&format!("联系人 {TWO} 并入 {ONE}")),
        "{history}"
    );
    let trail = desk.scene.office.admin().items("audit?action=merge").await;
    assert_eq!(trail[0]["detail"]["gone"], TWO.to_string());

    let joins = desk
        .reviewer
        .items(&format!("contact-joins?record={record}"))
        .await;
    let undo = format!("contact-joins/{}/undo", text(&joins[0]["join"]));
    let undone = desk.post(&undo, json!({ "note": "是两人" })).await;
    assert_eq!(undone["undone_by"], "reviewer");
    assert_eq!(desk.values(record, &phones).await, ["13700000007"]);
    assert_eq!(
        desk.values(record, &format!("contacts/{TWO}/phones")).await,
        ["13700000008"]
    );
    assert_eq!(
        desk.values(record, &format!("contacts/{TWO}/role")).await,
        ["店长"]
    );

    // Two people: off the list, until they share something more.
    desk.post(
        &format!("duplicates/contacts/{other}/dismiss"),
        json!({ "note": "母女" }),
    )
    .await;
    assert!(desk.contact_pairs("").await.is_empty());
    assert_eq!(desk.contact_pairs("?dismissed=true").await.len(), 1);
    let set = json!({ "set": { (format!("contacts/{TWO}/phones")): "137-0000-0007" } });
    desk.post(&format!("records/{record}/edits"), set).await;
    assert_eq!(
        reasons(&desk.contact_pairs("").await[0]),
        ["same_phone", "same_person_name"]
    );
}

/// Who is redacted goes with the entry that was joined into theirs, and what was remarked of it.
#[tokio::test]
async fn a_redaction_reaches_the_entry_that_was_joined() {
    let desk = Merging::open().await;
    let record = desk.twice(&[], &[("phones", "13700000008")]).await;
    desk.post(
        &format!("duplicates/contacts/{}/join", pair(record)),
        join(record),
    )
    .await;
    let admin = desk.scene.office.admin();
    let body = json!({ "entry": ONE, "reason": "subject_request" });
    admin.post(&format!("records/{record}/redact"), body).await;
    let held = admin.get("persons?phone=13700000008").await.to_string();
    assert!(!held.contains("13700000008"), "{held}");
    assert_eq!(desk.reviewer.get("contact-joins").await["total"], 0);
    desk.scene.office.equals_rebuild().await;
}
