//! Held changes: edits made before their author could know. A reviewer decides, the author is told, nothing is lost.

use axum::http::StatusCode;
use lianka_client::phone::Phone;
use lianka_sync_core::{codec::wire::PushedChange, crdt::record::Edit, id::RecordId};
use lianka_tests::Answer;
use serde_json::{Value, json};

use crate::{
    scene::{Desk, NOW, Scene},
    sync::phone::{HOME, OTHER, put, text},
};

/// A scene, and the reviewer who decides.
async fn open() -> (Scene, Desk) {
    let scene = Scene::open().await;
    let reviewer = scene.office.desk("zhao.min", "reviewer").await;
    (scene, reviewer)
}

impl Desk {
    async fn accept(&self, held: &Value, json: Value) -> Answer {
        self.decide(held, "accept", json).await
    }

    async fn refuse(&self, held: &Value, reason: &str) -> Answer {
        self.decide(held, "refuse", json!({ "reason": reason }))
            .await
    }

    /// The value that is shown.
    async fn value(&self, record: RecordId, key: &str) -> Option<String> {
        self.values(record, key).await.pop()
    }
}

impl Scene {
    /// A card of grid A1 that `phone` has edited offline twice, on top of each other, before it lost the grid.
    async fn lost(&self, phone: &Phone, username: &str) -> RecordId {
        let card = phone
            .create_card("A1", &[put("sign_name", "王记包子")], NOW)
            .expect("created")
            .record;
        phone.sync().await.expect("synced");
        phone
            .edit(
                card,
                &[put("sign_name", "王记包子铺"), put("unit", "101室")],
                NOW,
            )
            .expect("saved");
        phone
            .edit(card, &[put("sign_name", "王记大包子铺")], NOW)
            .expect("saved");
        self.office.assign(HOME, username, &["A2"]).await;
        let report = phone.sync().await.expect("synced");
        assert_eq!((report.tally.held, report.held, report.unsent), (2, 2, 0));
        card
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_is_refused_and_stays_held() {
    let (scene, reviewer) = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    scene.lost(&phone, "wang.fang").await;
    let held = reviewer.held("").await;
    let before = scene.office.rows(&["held_change", "record"]).await;
    let second = text(&held[1]["held"]);
    let nobody = "0198c0de-0000-7000-8000-000000000000";
    for (path, body, code) in [
        (format!("held/{nobody}/accept"), json!({}), "not_found"),
        (
            format!("held/{nobody}/refuse"),
            json!({ "reason": "不属实" }),
            "not_found",
        ),
        (format!("held/{second}/refuse"), json!({}), "invalid_field"),
        (
            format!("held/{second}/refuse"),
            json!({ "reason": "" }),
            "invalid_field",
        ),
        (
            format!("held/{second}/accept"),
            json!({ "force": true }),
            "invalid_field",
        ),
        // It builds on the first.
        (
            format!("held/{second}/accept"),
            json!({}),
            "held_needs_others",
        ),
    ] {
        assert_eq!(
            reviewer.call("POST", &path, body).await.code(),
            code,
            "{path}"
        );
    }
    // The same id under another street.
    let (path, admin) = (format!("held/{second}/accept"), scene.office.admin());
    let answer = admin.at(OTHER).call("POST", &path, json!({})).await;
    assert_eq!(answer.code(), "not_found");
    assert_eq!(scene.office.rows(&["held_change", "record"]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_change_merges_as_if_it_had_come_in_time() {
    let (scene, reviewer) = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let colleague = scene.phone("li.na", &["A1"]).await;
    let card = scene.lost(&phone, "wang.fang").await;
    colleague.sync().await.expect("synced");

    let held = reviewer
        .held(&format!(
            "?record={card}&username=wang.fang&reason=grid_lost"
        ))
        .await;
    assert_eq!(held.len(), 2);
    assert_eq!(
        (&held[0]["title"], &held[0]["grid"], &held[0]["creates"]),
        (&json!("王记包子"), &json!("A1"), &json!(false))
    );
    let sign = held[1]["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .find(|field| field["key"] == "sign_name")
        .expect("a sign");
    assert_eq!(
        (&sign["old"], &sign["new"]),
        (&json!(["王记包子"]), &json!("王记大包子铺"))
    );
    assert_eq!(held[1]["needs"], json!([held[0]["held"]]));

    // Somebody else corrects the sign meanwhile: a conflict, as it would have been.
    colleague
        .edit(card, &[put("sign_name", "天平包子")], NOW)
        .expect("saved");
    colleague.sync().await.expect("synced");
    let answer = reviewer
        .accept(&held[1], json!({ "with_needed": true, "note": "属实" }))
        .await;
    assert_eq!(
        answer.json["accepted"],
        json!([held[0]["held"], held[1]["held"]]),
        "{}",
        answer.json
    );
    assert!(reviewer.held("").await.is_empty());
    assert_eq!(
        reviewer.accept(&held[1], json!({})).await.code(),
        "held_decided"
    );
    assert_eq!(
        reviewer.refuse(&held[1], "不属实").await.code(),
        "held_decided"
    );

    assert_eq!(reviewer.get("cards?conflict=true").await["total"], 1);
    assert_eq!(reviewer.value(card, "unit").await.as_deref(), Some("101室"));
    let report = phone.sync().await.expect("synced");
    assert_eq!(
        (
            report.tally.duplicate,
            report.held,
            report.unsent,
            report.drafts
        ),
        (2, 0, 0, 0)
    );
    assert!(
        phone
            .notices()
            .expect("readable")
            .iter()
            .any(|kept| kept.notice.kind == "held_accepted")
    );
    colleague.sync().await.expect("synced");
    assert_eq!(
        colleague.view(card).expect("a view").values["sign_name"].len(),
        2
    );
    scene.office.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_change_is_final_and_becomes_a_draft_with_the_reason() {
    let (scene, reviewer) = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let card = scene.lost(&phone, "wang.fang").await;
    let held = reviewer.held("").await;
    for held in &held {
        assert_eq!(
            reviewer.refuse(held, "店招未变").await.status,
            StatusCode::OK
        );
    }
    let report = phone.sync().await.expect("synced");
    assert_eq!((report.held, report.unsent), (0, 0));
    let drafts = phone.drafts().expect("readable");
    assert!(!drafts.is_empty());
    for kept in &drafts {
        assert_eq!(
            (kept.draft.record, kept.draft.reason.code.as_str()),
            (card, "held_refused")
        );
        assert_eq!(kept.draft.reason.message.as_deref(), Some("店招未变"));
    }
    let edits: Vec<&Edit> = drafts.iter().flat_map(|kept| &kept.draft.edits).collect();
    assert_eq!(edits.len(), 3, "every edit is in a draft");
    assert!(
        phone
            .notices()
            .expect("readable")
            .iter()
            .any(|kept| kept.notice.note.as_deref() == Some("店招未变"))
    );
    assert_eq!(
        reviewer.value(card, "sign_name").await.as_deref(),
        Some("王记包子")
    );

    // Not theirs to see any more; with the grid back, the draft can be sent again, as a new edit.
    assert!(phone.retry_draft(drafts[0].id, NOW).is_err());
    scene.office.assign(HOME, "wang.fang", &["A1"]).await;
    phone.sync().await.expect("synced");
    for kept in phone.drafts().expect("readable") {
        phone.retry_draft(kept.id, NOW).expect("saved");
    }
    assert_eq!(phone.sync().await.expect("synced").unsent, 0);
    assert_eq!(
        reviewer.value(card, "sign_name").await.as_deref(),
        Some("王记大包子铺")
    );
    scene.office.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_comes_in_time_after_all_waits_no_longer() {
    let (scene, reviewer) = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let card = scene.lost(&phone, "wang.fang").await;
    scene.office.assign(HOME, "wang.fang", &["A1"]).await;
    let report = phone.sync().await.expect("synced");
    assert_eq!(
        (report.tally.accepted, report.held, report.unsent),
        (2, 0, 0)
    );
    assert!(reviewer.held("").await.is_empty());
    assert_eq!(reviewer.held("?status=accepted").await.len(), 2);
    assert_eq!(
        reviewer.value(card, "sign_name").await.as_deref(),
        Some("王记大包子铺")
    );
    scene.office.is_sound().await;
}

/// Its author works the grid again, and meanwhile a rule speaks against it: what the reviewer has is not refused beside them.
#[tokio::test]
async fn what_waits_and_cannot_come_by_itself_goes_on_waiting() {
    let (scene, reviewer) = open().await;
    let mut phone = scene.office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.sync().await;
    scene.office.assign(HOME, "wang.fang", &["A2"]).await;
    // Later than the office believes of any observation: not to be written by a phone.
    phone.edit(card, &[Edit::add("confirmations/2099-01-01")]);
    let sent = phone.outbox.clone();
    assert_eq!(phone.push(true, &sent).await.codes(), ["grid_lost"]);
    scene.office.assign(HOME, "wang.fang", &["A1"]).await;
    assert_eq!(phone.push(true, &sent).await.codes(), ["grid_lost"]);
    let held = reviewer.held("").await;
    assert_eq!(held.len(), 1);
    assert_eq!(
        reviewer.refuse(&held[0], "日期不对").await.status,
        StatusCode::OK
    );
    assert_eq!(phone.push(true, &sent).await.codes(), ["held_refused"]);
    scene.office.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_creation_becomes_a_card() {
    let (scene, reviewer) = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    phone.sync().await.expect("synced");
    let card = phone
        .create_card("A1", &[put("sign_name", "新店")], NOW)
        .expect("created")
        .record;
    phone
        .edit(
            card,
            &[
                put("unit", "8室"),
                Edit::Note {
                    text: "刚开张".into(),
                },
            ],
            NOW,
        )
        .expect("saved");
    scene.office.assign(HOME, "wang.fang", &["A2"]).await;
    assert_eq!(phone.sync().await.expect("synced").held, 2);
    let held = reviewer.held("").await;
    assert_eq!(
        (&held[0]["creates"], &held[0]["title"], &held[0]["grid"]),
        (&json!(true), &json!("新店"), &Value::Null)
    );
    // The first alone, then what builds on it.
    assert_eq!(
        reviewer.accept(&held[0], json!({})).await.status,
        StatusCode::OK
    );
    let second = reviewer.held("").await;
    assert_eq!(second[0]["needs"], json!([]));
    let answer = reviewer.accept(&second[0], json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    assert_eq!(reviewer.value(card, "unit").await.as_deref(), Some("8室"));
    assert_eq!(phone.sync().await.expect("synced").held, 0);
    scene.office.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_no_more_is_applied_as_the_desks_own_edit() {
    let (scene, reviewer) = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let colleague = scene.phone("li.na", &["A1"]).await;
    let card = scene.lost(&phone, "wang.fang").await;
    colleague.sync().await.expect("synced");
    let person = "contacts/0198c0de-0000-7000-8000-00000000000a/name";
    colleague
        .edit(card, &[put(person, "欧阳小明"), put("unit", "102室")], NOW)
        .expect("saved");
    colleague.sync().await.expect("synced");
    // The record is rebuilt: what was held belongs to the generation before.
    let path = format!("records/{card}/redact");
    let body =
        json!({ "entry": "0198c0de-0000-7000-8000-00000000000a", "reason": "subject_request" });
    scene.office.admin().post(&path, body).await;
    let held = reviewer.held("").await;
    assert_eq!((held.len(), &held[0]["stale"]), (2, &json!(true)));
    let refused = reviewer.accept(&held[0], json!({})).await;
    assert_eq!(
        (refused.code(), &refused.json["rule"]),
        ("edit_refused", &json!("stale_generation"))
    );
    for held in &held {
        let answer = reviewer.accept(held, json!({ "as_edit": true })).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    }
    // What the author had not seen is not overwritten: both units stand side by side.
    assert_eq!(reviewer.values(card, "unit").await.len(), 2);
    assert_eq!(
        reviewer.value(card, "sign_name").await.as_deref(),
        Some("王记大包子铺")
    );
    let report = phone.sync().await.expect("synced");
    assert_eq!((report.held, report.drafts, report.unsent), (0, 0, 0));
    scene.office.is_sound().await;
}

/// The note is no field: its words go in where their author put them, beside those of others.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_held_edit_put_into_the_note_comes_with_the_desks_own_edit() {
    let (scene, reviewer) = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let colleague = scene.phone("li.na", &["A1"]).await;
    let note = |text: &str| Edit::Note { text: text.into() };
    let card = phone
        .create_card("A1", &[put("road", "康平路"), note("后门送货")], NOW)
        .expect("saved")
        .record;
    phone.sync().await.expect("synced");
    colleague.sync().await.expect("synced");
    scene.office.assign(HOME, "wang.fang", &["A2"]).await;
    phone
        .edit(card, &[note("后门送货，敲两下")], NOW)
        .expect("saved");
    assert_eq!(phone.sync().await.expect("synced").held, 1);
    colleague
        .edit(card, &[note("早上后门送货")], NOW)
        .expect("saved");
    colleague.sync().await.expect("synced");
    let held = reviewer.held("").await;
    let answer = reviewer.accept(&held[0], json!({ "as_edit": true })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    colleague.sync().await.expect("synced");
    let shown = colleague.view(card).expect("the card").note;
    assert_eq!(shown.as_deref(), Some("早上后门送货，敲两下"));
    let report = phone.sync().await.expect("synced");
    assert_eq!((report.held, report.drafts, report.unsent), (0, 0, 0));
    scene.office.is_sound().await;
}

/// A phone that was enrolled anew has another name and the same edits.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_is_told_under_a_phones_next_name_as_well() {
    let (scene, reviewer) = open().await;
    let mut phone = scene.office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.sync().await;
    scene.office.assign(HOME, "wang.fang", &["A2"]).await;
    phone.edit(card, &[put("unit", "1室")]);
    let sent = phone.outbox.clone();
    let next = scene.office.phone("wang.fang").await;
    assert_eq!(phone.push(true, &sent).await.codes(), ["grid_lost"]);
    // It waits still: written anew under the next name it would be said twice once it is accepted. Nor does it come by itself.
    for grids in [["A2"], ["A1"]] {
        scene.office.assign(HOME, "wang.fang", &grids).await;
        assert_eq!(next.push(true, &sent).await.codes(), ["grid_lost"]);
    }
    let held = reviewer.held("").await;
    let answer = reviewer.accept(&held[0], json!({ "as_edit": true })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    // What the phone would take for its own is not in the record: it comes whole.
    scene.office.assign(HOME, "wang.fang", &["A1"]).await;
    let mut next = next;
    next.sync().await;
    let reply = next.push(true, &sent).await;
    assert_eq!(
        (reply.codes(), reply.snapshots()),
        (vec!["as_edit"], vec![card])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_cannot_fill_the_reviewers_desk() {
    let scene = Scene::open().await;
    let mut phone = scene.office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.sync().await;
    scene.office.assign(HOME, "wang.fang", &["A2"]).await;
    phone.edit(card, &[put("unit", "1室")]);
    let first = phone.outbox.clone();
    let reply = phone.push(true, &first).await;
    assert_eq!(reply.verdicts()[0].code.as_deref(), Some("grid_lost"));
    let pool = &scene.office.test.app.pool;
    sqlx::query(
        "insert into held_change (street, held, record, kind, generation, hash, bytes, device, username, reason, received_at)
         select street, gen_random_uuid(), gen_random_uuid(), kind, generation, decode(md5(n::text), 'hex'), bytes, device, username, reason, received_at
         from held_change cross join generate_series(2, $1) n",
    )
    .bind(lianka_server::street::merge::HELD_PER_DEVICE_MAX as i32)
    .execute(pool)
    .await
    .expect("inserted");
    phone.edit(card, &[put("unit", "2室")]);
    let second = phone.outbox.last().cloned().expect("an edit");
    let reply = phone.push(true, &[second]).await;
    let verdict = &reply.verdicts()[0];
    assert_eq!(
        (verdict.code.as_deref(), verdict.retryable),
        (Some("too_many_held"), true)
    );
    // What is held already stays so.
    let reply = phone.push(true, &first).await;
    assert_eq!(reply.verdicts()[0].code.as_deref(), Some("grid_lost"));
}

#[tokio::test]
async fn one_change_is_held_once_whatever_generation_it_names() {
    let (scene, reviewer) = open().await;
    let mut phone = scene.office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.sync().await;
    scene.office.assign(HOME, "wang.fang", &["A2"]).await;
    phone.edit(card, &[put("unit", "1室")]);
    let change = phone.outbox.pop().expect("an edit");
    let under = |generation| PushedChange {
        generation,
        ..change.clone()
    };
    // Within one request, and again later.
    for generations in [1..4, 4..7] {
        let changes: Vec<_> = generations.map(under).collect();
        assert_eq!(phone.push(true, &changes).await.codes(), ["grid_lost"; 3]);
    }
    let held = reviewer.held("").await;
    assert_eq!(held.len(), 1, "a reviewer decides on it once: {held:?}");
    assert_eq!(
        reviewer.refuse(&held[0], "不属实").await.status,
        StatusCode::OK
    );
    assert_eq!(
        phone.push(true, &[under(1), under(9)]).await.codes(),
        ["held_refused"; 2]
    );
    assert!(reviewer.held("").await.is_empty());
}

#[tokio::test]
async fn what_was_decided_keeps_its_answer_whatever_became_of_what_it_built_on() {
    let (scene, reviewer) = open().await;
    let mut phone = scene.office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.sync().await;
    scene.office.assign(HOME, "wang.fang", &["A2"]).await;
    phone.edit(card, &[put("unit", "1室")]);
    phone.edit(card, &[put("lane", "5")]);
    let sent = std::mem::take(&mut phone.outbox);
    assert_eq!(phone.push(true, &sent).await.codes(), ["grid_lost"; 2]);
    let held = reviewer.held("").await;
    assert_eq!(
        reviewer.refuse(&held[0], "不属实").await.status,
        StatusCode::OK
    );
    assert_eq!(
        reviewer
            .accept(&held[1], json!({ "as_edit": true }))
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        phone.push(true, &sent).await.codes(),
        ["held_refused", "as_edit"]
    );
}

#[tokio::test]
async fn what_waits_keeps_its_answer_when_the_creation_before_it_is_refused() {
    let (scene, reviewer) = open().await;
    let mut phone = scene.office.secretary("wang.fang", &["A1"]).await;
    scene.office.assign(HOME, "wang.fang", &["A2"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.edit(card, &[put("unit", "1室")]);
    let sent = std::mem::take(&mut phone.outbox);
    assert_eq!(phone.push(true, &sent).await.codes(), ["grid_lost"; 2]);
    for (refused, codes) in [
        ("没有这家店", ["held_refused", "grid_lost"]),
        ("不属实", ["held_refused", "held_refused"]),
    ] {
        let held = reviewer.held("").await;
        let answer = reviewer.refuse(&held[0], refused).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(phone.push(true, &sent).await.codes(), codes);
    }
}

#[tokio::test]
async fn a_phone_to_be_wiped_hands_over_what_builds_on_a_refused_creation() {
    let (scene, reviewer) = open().await;
    let mut phone = scene.office.secretary("wang.fang", &["A1"]).await;
    scene.office.assign(HOME, "wang.fang", &["A2"]).await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    let created = phone.outbox.clone();
    assert_eq!(phone.push(true, &created).await.codes(), ["grid_lost"]);
    let held = reviewer.held("").await;
    let refused = reviewer.refuse(&held[0], "没有这家店").await;
    assert_eq!(refused.status, StatusCode::OK);
    phone.edit(card, &[put("unit", "1室")]);
    let sent = phone.outbox.clone();
    scene.office.revoke(&phone, "?wipe=true").await;
    assert_eq!(
        phone.push(true, &sent).await.codes(),
        ["held_refused", "device_wiped"],
        "nothing that a phone still had is lost"
    );
    assert_eq!(reviewer.held("").await.len(), 1);
}
