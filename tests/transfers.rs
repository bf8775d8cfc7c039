//! Transfers between real phones and the desk: who may do what, what becomes of two acts at once, the queue, the clock, and who may read what.

use axum::http::StatusCode;
use lianka_client::phone::{Phone, PhoneError};
use lianka_client_core::{EditError, Filing};
use lianka_server::upkeep::transfer_clock as clock;
use lianka_sync_core::{
    crdt::record::Edit,
    id::RecordId,
    kinds::{
        Kind,
        transfer::{State, Step},
    },
    lang::Lang,
};
use lianka_tests::Answer;
use serde_json::{Value, json};

use crate::{
    scene::{NOW, Scene, terminal},
    sync::phone::{HOME, OTHER, put, text},
};

const DAY_MS: i64 = 24 * 3_600_000;
/// An invented member.
const NAME: &str = "陈建国";
const EVENT: &str = "0198c0de-0000-7000-8000-0000000000e1";

/// A street with two officers and a reviewer.
async fn open() -> Scene {
    let scene = Scene::open().await;
    for (username, role) in [
        ("officer.a", "officer"),
        ("officer.b", "officer"),
        ("reviewer", "reviewer"),
        ("auditor", "auditor"),
    ] {
        scene.office.user(username, role, Some(HOME)).await;
    }
    scene
}

impl Scene {
    /// At a desk of theirs, with a token that is fresh, whatever the clock says.
    async fn call(&self, username: &str, method: &str, path: &str, body: Value) -> Answer {
        let token = self.office.token(username).await;
        let desk = self.office.desk_with(&token);
        desk.call(method, path, body).await
    }

    async fn read(&self, username: &str, path: &str) -> Value {
        let answer = self.call(username, "GET", path, Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json);
        answer.json
    }

    async fn shown(&self, record: RecordId) -> Value {
        self.read("officer.a", &format!("transfers/{record}")).await
    }

    /// An officer acts, having seen everything.
    async fn act(&self, officer: &str, record: RecordId, event: Value) -> Value {
        let seen = self.shown(record).await["seen"].clone();
        self.act_seen(officer, record, &seen, event).await
    }

    async fn act_seen(
        &self,
        officer: &str,
        record: RecordId,
        seen: &Value,
        mut event: Value,
    ) -> Value {
        event["seen"] = seen.clone();
        let answer = self
            .call(
                officer,
                "POST",
                &format!("transfers/{record}/events"),
                event.clone(),
            )
            .await;
        assert_eq!(
            answer.status,
            StatusCode::CREATED,
            "{event}: {}",
            answer.json
        );
        answer.json
    }

    /// The same where it must have been done.
    async fn done(&self, officer: &str, record: RecordId, event: Value) {
        let answer = self.act(officer, record, event.clone()).await;
        assert_eq!(answer["ruling"]["outcome"], "applied", "{event}: {answer}");
    }

    async fn arrived(&self, record: RecordId, letter: &str) {
        self.done("officer.a", record, json!({ "type": "request_origin", "addressee": "中共上海市徐汇区天平路街道工作委员会" })).await;
        let letter = json!({ "type": "dispatch", "letter_no": letter, "issued_on": "2026-11-20", "validity_days": 10, "dues_until": "2026-10-31" });
        self.done("officer.a", record, letter).await;
        self.done(
            "officer.a",
            record,
            json!({ "type": "arrive", "letter_sighted": true }),
        )
        .await;
    }

    async fn clock(&self, days: i64) -> u64 {
        self.office.test.clock.advance_ms(days * DAY_MS);
        clock::pass(
            &self.office.test.app.pool,
            &self.office.test.clock,
            &self.office.test.app.entropy,
        )
        .await
        .expect("a pass")
        .events
    }
}

fn accept(branch: &str) -> Value {
    json!({ "type": "accept", "branch": branch, "accepted_on": "2026-11-21", "reference": "SH-2026-0001" })
}

fn filing() -> Filing {
    let fields = [
        ("member_name", NAME),
        ("member_status", "正式"),
        ("origin_organisation", "某市某区某街道甲支部"),
        ("phone", "13800000001"),
        ("target_branch", "康平支部"),
    ];
    Filing {
        transfer_kind: "cross_province_letter".into(),
        member_alias: "陈师傅".into(),
        fields: fields
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec(),
        consent_channel: Some("当面".into()),
        consent_wording: Some("2026-1".into()),
        submit: true,
    }
}

/// Filed, synced and ruled on.
async fn filed(phone: &Phone) -> RecordId {
    let record = phone
        .file_transfer("A1", &filing(), NOW)
        .expect("filed")
        .record;
    phone.sync().await.expect("synced");
    record
}

fn state(phone: &Phone, record: RecordId) -> State {
    phone.transfer(record).expect("held").1.now.state
}

fn withdraw(phone: &Phone, record: RecordId, cause: &str) {
    phone
        .withdraw_transfer(record, "member", cause, "家里有事，不转了", NOW)
        .expect("saved");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_at_the_desk() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let record = filed(&phone).await;
    let card = phone
        .create_card("A1", &[put("sign_name", "王记包子")], NOW)
        .expect("created")
        .record;
    phone.sync().await.expect("synced");
    let events = format!("transfers/{record}/events");
    let event = json!({ "type": "request_origin", "addressee": "天平路街道" });
    for (who, method, path, code) in [
        ("wang.fang", "GET", "transfers", "wrong_role"),
        ("wang.fang", "POST", events.as_str(), "wrong_role"),
        ("reviewer", "POST", &events, "wrong_role"),
        ("auditor", "GET", "transfers", "wrong_role"),
    ] {
        let body = if method == "POST" {
            event.clone()
        } else {
            Value::Null
        };
        assert_eq!(
            scene.call(who, method, path, body).await.code(),
            code,
            "{who} {method} {path}"
        );
    }
    let elsewhere = format!("/v1/streets/{OTHER}/transfers");
    let elsewhere = scene
        .call("officer.a", "GET", &elsewhere, Value::Null)
        .await;
    assert_eq!(elsewhere.code(), "wrong_street");
    for missing in [card, RecordId::default()] {
        assert_eq!(
            scene
                .call(
                    "officer.a",
                    "GET",
                    &format!("transfers/{missing}"),
                    Value::Null
                )
                .await
                .code(),
            "not_found"
        );
        assert_eq!(
            scene
                .call(
                    "officer.a",
                    "POST",
                    &format!("transfers/{missing}/events"),
                    event.clone()
                )
                .await
                .code(),
            "not_found"
        );
    }
    // What an event must be. Nothing of these is written.
    let before = scene.shown(record).await["events"].clone();
    for (body, field, rule) in [
        (json!({ "type": "nonsense" }), "type", "known_step"),
        (
            json!({ "type": "submit", "member_present": "yes" }),
            "type",
            "field_not_editable",
        ),
        (json!({ "type": "lapse" }), "type", "field_not_editable"),
        (
            json!({ "type": "request_origin" }),
            "addressee",
            "event_incomplete",
        ),
        (
            json!({ "type": "request_origin", "addressee": "天平路街道", "branch": "一支部" }),
            "branch",
            "not_in_form",
        ),
        (
            json!({ "type": "request_origin", "addressee": "天平路街道", "by": "officer.b" }),
            "by",
            "unknown_field",
        ),
        (
            json!({ "type": "request_origin", "addressee": ["天平路街道"] }),
            "addressee",
            "shape",
        ),
        (
            json!({ "type": "return", "reason_code": "nonsense", "note": "x" }),
            "reason_code",
            "value_not_in_list",
        ),
        (
            json!({ "type": "dispatch", "letter_no": "1", "issued_on": "2026-11-20", "validity_days": 91, "dues_until": "2026-10-31" }),
            "validity_days",
            "value_out_of_range",
        ),
        (
            json!({ "type": "dispatch", "issued_on": "2026-11-20", "validity_days": 30, "dues_until": "2026-10-31" }),
            "letter_no",
            "event_incomplete",
        ),
    ] {
        let answer = scene.call("officer.a", "POST", &events, body.clone()).await;
        assert_eq!(
            (answer.status, &answer.json["field"], &answer.json["rule"]),
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!(field),
                &json!(rule)
            ),
            "{body}"
        );
    }
    assert_eq!(scene.shown(record).await["events"], before);
    // A query that makes no sense.
    for (query, field) in [
        ("state=nonsense", "state"),
        ("sort=price", "sort"),
        ("due_before=soon", "due_before"),
        ("colour=red", "colour"),
    ] {
        let answer = scene
            .call(
                "officer.a",
                "GET",
                &format!("transfers?{query}"),
                Value::Null,
            )
            .await;
        assert_eq!(
            (answer.code(), &answer.json["field"]),
            ("invalid_field", &json!(field)),
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_phone_cannot_write() {
    let scene = open().await;
    let mut secretary = scene.office.secretary("wang.fang", &["A1"]).await;
    let mut reviewer = scene.office.phone("reviewer").await;
    let kind = [
        put("kind", "transfer_request"),
        put("street", HOME),
        put("grid", "A1"),
        put("transfer_kind", "temporary"),
        put("member_alias", "老周"),
    ];
    let record = secretary.create_with(Kind::TransferRequest, "A1", &kind);
    assert_eq!(secretary.sync().await.codes(), ["accepted"]);
    reviewer.sync().await;
    let events = |fields: &[(&str, &str)]| -> Vec<Edit> {
        fields
            .iter()
            .map(|(name, value)| put(&format!("events/{EVENT}/{name}"), value))
            .collect()
    };
    let acceptance = [
        ("type", "accept"),
        ("branch", "康平支部"),
        ("accepted_on", "2026-11-21"),
        ("reference", "SH-1"),
    ];
    for (edits, code) in [
        (events(&acceptance), "field_not_editable"),
        (events(&[("type", "lapse")]), "field_not_editable"),
        (events(&[("type", "submit")]), "event_incomplete"),
        (events(&[("member_present", "yes")]), "event_incomplete"),
        (
            events(&[
                ("type", "submit"),
                ("member_present", "yes"),
                ("by", "officer.a"),
            ]),
            "unknown_field",
        ),
        (
            events(&[
                ("type", "submit"),
                ("member_present", "yes"),
                ("branch", "康平支部"),
            ]),
            "not_in_form",
        ),
        (
            vec![put(&format!("rulings/{EVENT}/outcome"), "applied")],
            "field_not_editable",
        ),
        (
            vec![put(&format!("rulings/{EVENT}/by"), "officer.a")],
            "field_not_editable",
        ),
        (vec![put("state", "accepted")], "field_not_editable"),
        (vec![Edit::add("sealed/member_name")], "field_not_editable"),
    ] {
        // Every attempt from the same copy of the record, as a device that was never told better.
        secretary.epoch += 1;
        secretary.cursor = None;
        secretary.sync().await;
        secretary.edit(record, &edits);
        assert_eq!(secretary.sync().await.codes(), [code], "{edits:?}");
    }
    reviewer.edit(
        record,
        &events(&[("type", "submit"), ("member_present", "yes")]),
    );
    assert_eq!(reviewer.sync().await.codes(), ["field_not_editable"]);
    assert_eq!(
        scene
            .office
            .count("select count(*) from transfer_event")
            .await,
        0
    );

    // A submission that lacks something lands and is refused by a ruling: whoever wrote it sees why.
    secretary.epoch += 1;
    secretary.cursor = None;
    secretary.sync().await;
    secretary.edit(
        record,
        &events(&[("type", "submit"), ("member_present", "yes")]),
    );
    assert_eq!(secretary.sync().await.codes(), ["accepted"]);
    secretary.sync().await;
    assert_eq!(
        secretary
            .view(record)
            .text(&format!("rulings/{EVENT}/code")),
        Some("content_incomplete")
    );
    assert_eq!(secretary.view(record).text("state"), Some("draft"));
    // Nothing is added to an event later.
    secretary.edit(record, &events(&[("note", "补一句")]));
    assert_eq!(secretary.sync().await.codes(), ["event_incomplete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filed_offline_pending_and_ruled_on() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    // The phone refuses at once what the office would refuse.
    let no_consent = Filing {
        consent_channel: None,
        ..filing()
    };
    let refused = phone
        .file_transfer("A1", &no_consent, NOW)
        .expect_err("no consent");
    assert!(
        matches!(&refused, PhoneError::Edit(EditError::Transfer { .. })),
        "{refused}"
    );
    assert_eq!(refused.code(), "consent_missing");

    let record = phone
        .file_transfer("A1", &filing(), NOW)
        .expect("filed")
        .record;
    let listed = phone.transfers(Lang::Zh).expect("listed");
    assert_eq!(
        (listed[0].state, listed[0].pending.as_slice()),
        (State::Draft, &["提交".to_owned()][..])
    );
    assert_eq!(
        phone.view(record).expect("held").text("member_name"),
        Some(NAME)
    );
    phone.sync().await.expect("synced");
    let listed = phone.transfers(Lang::Zh).expect("listed");
    assert_eq!(
        (listed[0].state, listed[0].pending.len()),
        (State::Submitted, 0)
    );
    let ruled = phone.transfer(record).expect("held").1;
    assert_eq!(
        ruled
            .ruled()
            .map(|(_, ruled)| (ruled.no, ruled.by.as_deref()))
            .collect::<Vec<_>>(),
        [(1, Some("wang.fang"))]
    );
    // What cannot be done any more is said at once.
    let again = phone
        .transfer_event(record, Step::Submit, &[("member_present", "yes")], NOW)
        .expect_err("submitted already");
    assert_eq!(again.code(), "wrong_state");
    // A secretary's phone takes no officer's step.
    let fields = [
        ("branch", "康平支部"),
        ("accepted_on", "2026-11-21"),
        ("reference", "SH-1"),
    ];
    assert!(
        phone
            .transfer_event(record, Step::Accept, &fields, NOW)
            .is_err()
    );

    scene.arrived(record, "沪字〔2026〕1号").await;
    scene.done("officer.a", record, accept("康平支部")).await;
    scene
        .done(
            "officer.a",
            record,
            json!({ "type": "send_receipt", "sent_on": "2026-11-21", "channel": "邮寄" }),
        )
        .await;
    scene
        .done(
            "officer.b",
            record,
            json!({ "type": "close", "origin_confirmed": "yes" }),
        )
        .await;
    let shown = scene.shown(record).await;
    assert_eq!(
        (
            &shown["state"],
            &shown["responsible"],
            &shown["next"]["acting"]
        ),
        (&json!("closed"), &json!("target"), &json!("nobody"))
    );
    phone.sync().await.expect("synced");
    assert_eq!(state(&phone, record), State::Closed);
    scene.office.equals_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sensitive_fields_leave_with_the_submission() {
    let scene = open().await;
    let (phone, other) = (
        scene.phone("wang.fang", &["A1"]).await,
        scene.phone("li.na", &["A1"]).await,
    );
    let draft = Filing {
        submit: false,
        ..filing()
    };
    let record = phone
        .file_transfer("A1", &draft, NOW)
        .expect("filed")
        .record;
    phone.sync().await.expect("synced");
    other.sync().await.expect("synced");
    assert_eq!(
        other.view(record).expect("held").text("member_name"),
        Some(NAME),
        "a draft is the secretaries'"
    );
    phone.submit_transfer(record, NOW).expect("submitted");
    phone.sync().await.expect("synced");
    other.sync().await.expect("synced");
    for phone in [&phone, &other] {
        let view = phone.view(record).expect("held");
        assert_eq!(
            (view.text("member_name"), view.text("member_alias")),
            (None, Some("陈师傅"))
        );
        assert!(view.get("sealed/member_name").is_some());
    }
    // Nowhere but in the office's own table: not in the record, its log, its read models, nor in a conflict's rows.
    let hex = hex::encode(NAME);
    let rows = scene
        .office
        .rows(&[
            "record",
            "change_log",
            "transfer",
            "transfer_event",
            "field_conflict",
            "resolution",
            "notice",
            "audit_event",
        ])
        .await;
    assert_eq!(
        rows.iter()
            .filter(|row| row.contains(NAME) || row.contains(&hex))
            .collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
    assert_eq!(
        scene
            .office
            .count("select count(*) from transfer_personal")
            .await,
        1
    );

    // An officer reads it, and the trail says so; a reviewer does not.
    let reads = "select count(*) from audit_event where action = 'read_p3' and username in ('officer.a', 'reviewer')";
    let name = |shown: &Value| {
        shown["content"]
            .as_array()
            .and_then(|all| all.iter().find(|field| field["key"] == "member_name"))
            .cloned()
    };
    let reviewed = scene.read("reviewer", &format!("transfers/{record}")).await;
    assert_eq!(
        name(&reviewed).map(|field| (field["values"].clone(), field["sealed"].clone())),
        Some((json!([]), json!(true)))
    );
    assert!(!reviewed.to_string().contains(NAME));
    assert_eq!(scene.office.count(reads).await, 0);
    assert_eq!(
        name(&scene.shown(record).await).map(|field| field["values"].clone()),
        Some(json!([NAME]))
    );
    assert_eq!(scene.office.count(reads).await, 1);
    let queue = scene.read("officer.a", "transfers").await;
    assert!(queue["total"] == 1 && !queue.to_string().contains(NAME));

    // Returned, mended and submitted again: the new name is sealed in turn, what was not written anew is kept.
    scene
        .done(
            "officer.a",
            record,
            json!({ "type": "return", "reason_code": "information_missing", "note": "姓名有误" }),
        )
        .await;
    phone.sync().await.expect("synced");
    phone
        .edit(record, &[put("member_name", "陈建华")], NOW)
        .expect("saved");
    phone.submit_transfer(record, NOW).expect("submitted");
    phone.sync().await.expect("synced");
    let shown = scene.shown(record).await;
    assert_eq!(
        (
            &shown["revision"],
            name(&shown).map(|field| field["values"].clone())
        ),
        (&json!(2), Some(json!(["陈建华"])))
    );
    assert!(shown["content"].to_string().contains("甲支部"));
    assert_eq!(phone.view(record).expect("held").text("member_name"), None);
    scene.office.equals_rebuild().await;
}

#[tokio::test]
async fn two_who_write_a_sealed_field_without_seeing_each_other_are_both_kept() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let other = scene.phone("li.hua", &["A1"]).await;
    let record = filed(&phone).await;
    other.sync().await.expect("synced");
    for (phone, name) in [(&phone, "陈建华"), (&other, "陈健国"), (&phone, "陈剑华")] {
        let receipt = phone
            .edit(record, &[put("member_name", name)], NOW)
            .expect("saved");
        assert!(receipt.hash.is_some(), "{name}");
        phone.sync().await.expect("synced");
    }
    let kept = "select string_agg(name, ' ' order by revision, at) from transfer_personal,
        jsonb_array_elements_text(fields->'member_name') with ordinality as names (name, at)";
    let kept: Option<String> = sqlx::query_scalar(kept)
        .fetch_one(&scene.office.test.app.pool)
        .await
        .expect("the store answers");
    assert_eq!(kept.as_deref(), Some("陈建国 陈建华 陈健国 陈剑华"));
    scene.office.equals_rebuild().await;
}

/// The two acts in both orders: the case at the office and on the phone afterwards.
async fn both_orders(letter: &str, cause: &str, check: impl AsyncFn(&Scene, &Phone, RecordId)) {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    for phone_first in [true, false] {
        let record = filed(&phone).await;
        scene
            .arrived(record, &format!("{letter}{phone_first}"))
            .await;
        phone.sync().await.expect("synced");
        let seen = scene.shown(record).await["seen"].clone();
        // Offline.
        withdraw(&phone, record, cause);
        assert_eq!(phone.transfer(record).expect("held").1.pending().count(), 1);
        if phone_first {
            phone.sync().await.expect("synced");
            scene
                .act_seen("officer.a", record, &seen, accept("康平支部"))
                .await;
        } else {
            scene
                .act_seen("officer.a", record, &seen, accept("康平支部"))
                .await;
            phone.sync().await.expect("synced");
        }
        phone.sync().await.expect("synced");
        check(&scene, &phone, record).await;
        scene.office.equals_rebuild().await;
        // The next round's request is of another member.
        end(&scene, record).await;
    }
}

/// Brings a request to its end.
async fn end(scene: &Scene, record: RecordId) {
    let state = text(&scene.shown(record).await["state"]);
    if state == "accepted" {
        scene
            .done(
                "officer.a",
                record,
                json!({ "type": "send_receipt", "sent_on": "2026-11-21", "channel": "邮寄" }),
            )
            .await;
        scene
            .done(
                "officer.a",
                record,
                json!({ "type": "close", "origin_confirmed": "yes" }),
            )
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_on_the_members_word_crosses_an_acceptance() {
    both_orders(
        "沪字",
        "member_word",
        async |scene: &Scene, phone: &Phone, record| {
            let shown = scene.shown(record).await;
            assert_eq!(
                (&shown["state"], &shown["responsible"]),
                (&json!("contested"), &json!("origin"))
            );
            assert_eq!(
                shown["events"]
                    .as_array()
                    .expect("events")
                    .iter()
                    .filter(|event| event["ruling"]["outcome"] == "contested")
                    .count(),
                1
            );
            assert_eq!(state(phone, record), State::Contested);
            let listed = phone
                .transfers(Lang::Zh)
                .expect("listed")
                .into_iter()
                .find(|listed| listed.record == record);
            assert_eq!(
                listed.map(|listed| listed.state_label).as_deref(),
                Some("待裁定")
            );
            // No receipt goes out.
            let receipt =
                json!({ "type": "send_receipt", "sent_on": "2026-11-21", "channel": "邮寄" });
            assert_eq!(
                scene.act("officer.a", record, receipt).await["ruling"]["outcome"],
                "refused"
            );
            let settle =
                json!({ "type": "settle", "decision": "withdrawn", "note": "已与本人通话" });
            scene.done("officer.b", record, settle).await;
            phone.sync().await.expect("synced");
            assert_eq!(state(phone, record), State::Withdrawn);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_for_a_typing_error_crosses_an_acceptance() {
    both_orders(
        "沪字",
        "typing_error",
        async |scene: &Scene, phone: &Phone, record| {
            let shown = scene.shown(record).await;
            assert_eq!(
                (&shown["state"], &shown["responsible"]),
                (&json!("accepted"), &json!("target"))
            );
            assert_eq!(shown["tasks"][0]["kind"], "correction");
            assert_eq!(state(phone, record), State::Accepted);
            let about = shown["tasks"][0]["about"].clone();
            scene
                .done(
                    "officer.a",
                    record,
                    json!({ "type": "complete_task", "about": about, "note": "已更正录入" }),
                )
                .await;
            assert_eq!(scene.shown(record).await["tasks"], json!([]));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_crosses_edits() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    for phone_first in [true, false] {
        let record = filed(&phone).await;
        phone
            .edit(
                record,
                &[
                    put("phone", "13900000002"),
                    put("target_branch", "梧桐支部"),
                ],
                NOW,
            )
            .expect("saved");
        let returned =
            json!({ "type": "return", "reason_code": "dues_unpaid", "note": "请补缴党费" });
        if phone_first {
            phone.sync().await.expect("synced");
            scene.done("officer.a", record, returned).await;
        } else {
            scene.done("officer.a", record, returned).await;
            phone.sync().await.expect("synced");
        }
        phone.sync().await.expect("synced");
        assert_eq!(state(&phone, record), State::Returned);
        let shown = scene.shown(record).await;
        assert_eq!(
            (&shown["state"], &shown["revision"]),
            (&json!("returned"), &json!(1))
        );
        let edits = shown["edits_since_submission"].as_array().expect("a list");
        let mut keys: Vec<_> = edits
            .iter()
            .map(|edit| (text(&edit["key"]), text(&edit["value"])))
            .collect();
        keys.sort();
        let phone_edit = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            keys,
            [
                phone_edit("phone", "13900000002"),
                phone_edit("target_branch", "梧桐支部")
            ],
            "phone first: {phone_first}"
        );
        // The next submission takes them up.
        phone.submit_transfer(record, NOW).expect("submitted");
        phone.sync().await.expect("synced");
        let shown = scene.shown(record).await;
        assert_eq!(
            (
                &shown["state"],
                &shown["revision"],
                &shown["edits_since_submission"]
            ),
            (&json!("submitted"), &json!(2), &json!([]))
        );
        assert!(shown["content"].to_string().contains("梧桐支部"));
        scene.office.equals_rebuild().await;
        phone.sync().await.expect("synced");
        withdraw(&phone, record, "member_word");
        phone.sync().await.expect("synced");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_branches_accept() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let record = filed(&phone).await;
    scene.arrived(record, "沪字1").await;
    let seen = scene.shown(record).await["seen"].clone();
    let one = scene
        .act_seen("officer.a", record, &seen, accept("康平支部"))
        .await;
    let two = scene
        .act_seen("officer.b", record, &seen, accept("梧桐支部"))
        .await;
    assert_eq!(
        (&one["ruling"]["outcome"], &two["ruling"]["outcome"]),
        (&json!("applied"), &json!("referral"))
    );
    assert_eq!(
        (
            &two["transfer"]["acceptance"]["branch"],
            &two["transfer"]["tasks"][0]["kind"]
        ),
        (&json!("康平支部"), &json!("referral"))
    );
    // The other way round, with two requests: the first to commit counts, whoever it is.
    let other = phone
        .file_transfer(
            "A1",
            &Filing {
                member_alias: "老李".into(),
                fields: someone_else(),
                ..filing()
            },
            NOW,
        )
        .expect("filed")
        .record;
    phone.sync().await.expect("synced");
    scene.arrived(other, "沪字2").await;
    let seen = scene.shown(other).await["seen"].clone();
    scene
        .act_seen("officer.b", other, &seen, accept("梧桐支部"))
        .await;
    let late = scene
        .act_seen("officer.a", other, &seen, accept("康平支部"))
        .await;
    assert_eq!(
        (
            &late["ruling"]["code"],
            &late["transfer"]["acceptance"]["branch"]
        ),
        (&json!("second_branch"), &json!("梧桐支部"))
    );
    scene.office.equals_rebuild().await;
}

fn someone_else() -> Vec<(String, String)> {
    let fields = [
        ("member_name", "李卫东"),
        ("member_status", "预备"),
        ("origin_organisation", "某市某区乙支部"),
        ("phone", "13900000009"),
        ("target_branch", "梧桐支部"),
    ];
    fields
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secretaries_file_the_same_member() {
    for ended in [true, false] {
        let scene = open().await;
        let (one, two) = (
            scene.phone("wang.fang", &["A1"]).await,
            scene.phone("li.na", &["A1"]).await,
        );
        let first = one
            .file_transfer("A1", &filing(), NOW)
            .expect("filed")
            .record;
        let second = two
            .file_transfer(
                "A1",
                &Filing {
                    member_alias: "老陈".into(),
                    ..filing()
                },
                NOW,
            )
            .expect("filed")
            .record;
        one.sync().await.expect("synced");
        scene.office.test.clock.advance_ms(1_000);
        two.sync().await.expect("synced");
        // Both are kept and shown as a likely pair.
        let queue = scene.read("officer.a", "transfers").await;
        assert_eq!(queue["total"], 2);
        let shown = scene.shown(second).await;
        assert_eq!(
            shown["likely_pair"],
            json!([{ "record": first, "earlier": true }])
        );
        assert_eq!(
            scene.shown(first).await["likely_pair"],
            json!([{ "record": second, "earlier": false }])
        );
        let binding = json!({ "type": "request_origin", "addressee": "天平路街道" });
        let refused = scene.act("officer.a", second, binding.clone()).await;
        assert_eq!(refused["ruling"]["code"], "member_has_open_transfer");
        let floating =
            json!({ "type": "floating", "home_contact": "某镇党委", "contact_interval_days": 90 });
        assert_eq!(
            scene.act("officer.a", second, floating).await["ruling"]["code"],
            "member_has_open_transfer"
        );
        if ended {
            one.sync().await.expect("synced");
            withdraw(&one, first, "member_word");
            one.sync().await.expect("synced");
        } else {
            // Ruled on either of the two.
            scene
                .done(
                    "officer.b",
                    first,
                    json!({ "type": "not_same_person", "other": second, "note": "同名不同人" }),
                )
                .await;
            scene.done("officer.a", first, binding.clone()).await;
        }
        assert_eq!(scene.shown(second).await["likely_pair"], json!([]));
        scene.done("officer.a", second, binding).await;
        scene.office.equals_rebuild().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_dated_after_the_letter_expired_waits_for_an_officer() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let record = filed(&phone).await;
    scene.arrived(record, "沪字1").await;
    scene.clock(12).await;
    let late = scene
        .act("officer.a", record, json!({ "type": "accept", "branch": "康平支部", "accepted_on": "2026-12-02", "reference": "SH-1" }))
        .await;
    assert_eq!(
        (&late["ruling"]["outcome"], &late["transfer"]["state"]),
        (&json!("late"), &json!("arrived"))
    );
    assert_eq!(late["transfer"]["responsible"], "origin");
    let about = late["transfer"]["late"][0]["event"].clone();
    scene
        .done(
            "officer.b",
            record,
            json!({ "type": "confirm_late", "about": about, "note": "按期报到，系统停机" }),
        )
        .await;
    let shown = scene.shown(record).await;
    assert_eq!(
        (&shown["state"], &shown["acceptance"]["branch"]),
        (&json!("accepted"), &json!("康平支部"))
    );
    scene.office.equals_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_takes_two_different_officers() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let record = filed(&phone).await;
    scene.arrived(record, "沪字1").await;
    let refuse = json!({ "type": "refuse", "reason": "档案与本人不符" });
    let first = scene.act("officer.a", record, refuse.clone()).await;
    assert_eq!(
        (
            &first["ruling"]["outcome"],
            &first["transfer"]["next"]["acting"]
        ),
        (&json!("awaiting_second"), &json!("second_officer"))
    );
    // The same person at another desk is the same person.
    let again = scene.act("officer.a", record, refuse.clone()).await;
    assert_eq!(
        (&again["ruling"]["outcome"], &again["ruling"]["code"]),
        (&json!("refused"), &json!("second_officer_required"))
    );
    scene.done("officer.b", record, refuse).await;
    phone.sync().await.expect("synced");
    assert_eq!(state(&phone, record), State::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letters_number_lives_once_in_a_street() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let one = filed(&phone).await;
    let two = phone
        .file_transfer(
            "A1",
            &Filing {
                member_alias: "老李".into(),
                fields: someone_else(),
                ..filing()
            },
            NOW,
        )
        .expect("filed")
        .record;
    phone.sync().await.expect("synced");
    let ask = json!({ "type": "request_origin", "addressee": "天平路街道" });
    let letter = |number: &str, day: &str| json!({ "type": "dispatch", "letter_no": number, "issued_on": day, "validity_days": 10, "dues_until": "2026-10-31" });
    for record in [one, two] {
        scene.done("officer.a", record, ask.clone()).await;
    }
    scene
        .done("officer.a", one, letter("沪字1", "2026-11-20"))
        .await;
    for number in ["沪字1", "沪字１号", " 沪字 第1号", "沪字\u{200b}1"] {
        let refused = scene
            .act("officer.b", two, letter(number, "2026-11-20"))
            .await;
        assert_eq!(refused["ruling"]["code"], "letter_in_use", "{number}");
    }
    let seen = scene.shown(two).await["seen"].clone();
    for (number, day, key, rule) in [
        ("\u{200b}", "2026-11-20", "letter_no", "value_empty"),
        (
            "\u{202e}沪字9",
            "2026-11-20",
            "letter_no",
            "value_forbidden_character",
        ),
        ("沪字9", "1926-11-20", "issued_on", "value_too_long_ago"),
        ("沪字9", "2062-11-20", "issued_on", "value_in_future"),
    ] {
        let mut event = letter(number, day);
        event["seen"] = seen.clone();
        let path = format!("transfers/{two}/events");
        let answer = scene.call("officer.b", "POST", &path, event).await;
        assert_eq!(answer.json["rule"], rule, "{}", answer.json);
        assert!(
            answer.json["field"]
                .as_str()
                .is_some_and(|field| field.ends_with(key)),
            "{}",
            answer.json
        );
    }
    scene
        .done("officer.b", two, letter("沪字2", "2026-11-20"))
        .await;

    // Expiry is proposed by the clock, confirmed by an officer, and mended by a new letter; the old number is void.
    let early = scene
        .act("officer.a", one, json!({ "type": "expire" }))
        .await;
    assert_eq!(early["ruling"]["code"], "letter_still_valid");
    assert_eq!(scene.clock(11).await, 2);
    assert_eq!(scene.clock(0).await, 0, "once");
    let shown = scene.shown(one).await;
    assert_eq!(
        (
            &shown["state"],
            &shown["expiry_proposed"],
            &shown["overdue"]
        ),
        (&json!("in_transit"), &json!(true), &json!(true))
    );
    assert_eq!(
        scene
            .act(
                "officer.a",
                one,
                json!({ "type": "arrive", "letter_sighted": "yes" })
            )
            .await["ruling"]["code"],
        "letter_expired"
    );
    scene
        .done("officer.a", one, json!({ "type": "expire" }))
        .await;
    let reissue = |number: &str| json!({ "type": "reissue", "letter_no": number, "issued_on": "2026-12-01", "validity_days": 30 });
    assert_eq!(
        scene.act("officer.a", one, reissue("沪字1")).await["ruling"]["code"],
        "letter_void"
    );
    assert_eq!(
        scene.act("officer.a", one, reissue("沪字2")).await["ruling"]["code"],
        "letter_in_use"
    );
    scene.done("officer.a", one, reissue("沪字3")).await;
    let shown = scene.shown(one).await;
    assert_eq!(
        (&shown["letter"]["number"], &shown["void_letters"]),
        (&json!("沪字3"), &json!(["沪字1"]))
    );
    scene.office.equals_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_acts_once_on_many_servers() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let record = filed(&phone).await;
    scene
        .done(
            "officer.a",
            record,
            json!({ "type": "return", "reason_code": "other", "note": "补材料" }),
        )
        .await;
    assert_eq!(scene.clock(30).await, 0, "the last day is not over");
    scene.office.test.clock.advance_ms(DAY_MS);
    // Several servers look at the same moment.
    let (pool, now, entropy) = (
        &scene.office.test.app.pool,
        &scene.office.test.clock,
        &scene.office.test.app.entropy,
    );
    let passes = tokio::join!(
        clock::pass(pool, now, entropy),
        clock::pass(pool, now, entropy),
        clock::pass(pool, now, entropy)
    );
    let events: u64 = [passes.0, passes.1, passes.2]
        .into_iter()
        .map(|pass| pass.expect("a pass").events)
        .sum();
    assert_eq!(events, 1);
    let shown = scene.shown(record).await;
    let last = shown["events"]
        .as_array()
        .and_then(|events| events.last())
        .cloned()
        .expect("an event");
    assert_eq!(
        (&shown["state"], &last["type"], &last["username"]),
        (&json!("lapsed"), &json!("lapse"), &Value::Null)
    );
    phone.sync().await.expect("synced");
    assert_eq!(state(&phone, record), State::Lapsed);
    scene.office.equals_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_nobody_submits_is_erased() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let record = phone
        .file_transfer(
            "A1",
            &Filing {
                submit: false,
                ..filing()
            },
            NOW,
        )
        .expect("filed")
        .record;
    phone.sync().await.expect("synced");
    assert_eq!(scene.clock(30).await, 0);
    assert_eq!(scene.clock(1).await, 1);
    assert_eq!(scene.clock(0).await, 0);
    phone.sync().await.expect("synced");
    assert!(phone.view(record).is_err() && phone.transfers(Lang::Zh).expect("listed").is_empty());
    let receipt = "select count(*) from erasure where kind = 'erase' and username = '' and reason = 'purpose_ended'";
    assert_eq!(
        (
            scene.office.count(receipt).await,
            scene.office.count("select count(*) from transfer").await
        ),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_shows_running_clocks() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let waiting = filed(&phone).await;
    let moving = phone
        .file_transfer(
            "A1",
            &Filing {
                member_alias: "老李".into(),
                fields: someone_else(),
                ..filing()
            },
            NOW,
        )
        .expect("filed")
        .record;
    phone
        .file_transfer(
            "A1",
            &Filing {
                submit: false,
                member_alias: "草稿".into(),
                ..filing()
            },
            NOW,
        )
        .expect("a draft");
    phone.sync().await.expect("synced");
    scene
        .done(
            "officer.a",
            moving,
            json!({ "type": "request_origin", "addressee": "天平路街道" }),
        )
        .await;
    let queue = async |query: &str| {
        let page = scene.read("officer.a", &format!("transfers{query}")).await;
        page["items"]
            .as_array()
            .expect("a page")
            .iter()
            .map(|item| text(&item["record"]))
            .collect::<Vec<_>>()
    };
    let (waiting, moving) = (waiting.to_string(), moving.to_string());
    // 2026-11-21 is a Saturday: three working days end on Wednesday the 25th; ten days on the 1st.
    assert_eq!(queue("").await, [waiting.clone(), moving.clone()]);
    let item = scene.read("officer.a", "transfers?state=submitted").await["items"][0].clone();
    assert_eq!(
        (
            &item["next"]["by"],
            &item["days_left"],
            &item["overdue"],
            &item["age_days"]
        ),
        (&json!("2026-11-25"), &json!(4), &json!(false), &json!(0))
    );
    assert_eq!(
        (&item["next"]["acting"], &item["state_label"]["zh"]),
        (&json!("officer"), &json!("已提交"))
    );
    assert!(
        item["next"]["bring"]["zh"]
            .as_str()
            .is_some_and(|bring| bring.contains("抬头"))
            && item["member"]["zh"].as_str().is_some()
    );
    for (query, expected) in [
        ("?state=awaiting_origin", vec![&moving]),
        ("?state=draft&page_size=1", vec![]),
        ("?due_before=2026-11-26", vec![&waiting]),
        ("?due_before=2026-11-25", vec![]),
        ("?overdue=true", vec![]),
        ("?grid=A2", vec![]),
        ("?sort=changed", vec![&moving, &waiting]),
        ("?page=2&page_size=1", vec![&moving]),
    ] {
        let got = queue(query).await;
        if query.starts_with("?state=draft") {
            assert_eq!(got.len(), 1, "{query}");
        } else {
            assert_eq!(got.iter().collect::<Vec<_>>(), expected, "{query}");
        }
    }
    assert_eq!(scene.clock(5).await, 1, "reminded of the submission");
    assert_eq!(queue("?overdue=true").await, std::slice::from_ref(&waiting));
    assert_eq!(queue("?overdue=false").await, [moving]);
    let shown = scene
        .read("officer.a", &format!("transfers/{waiting}"))
        .await;
    assert_eq!(
        (&shown["days_left"], &shown["events"][1]["type"]),
        (&json!(-1), &json!("remind"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secretary_files_and_withdraws_in_the_terminal() {
    let scene = open().await;
    drop(scene.phone("wang.fang", &["A1"]).await);
    let store = scene.file("wang.fang");
    let run = |arguments: &[&str]| terminal(&store, arguments);
    let file = [
        "transfer",
        "file",
        "--kind",
        "temporary",
        "--alias",
        "陈师傅",
        "--name",
        NAME,
        "--status",
        "正式",
        "--origin",
        "某市某区甲支部",
        "--phone",
        "13800000001",
        "--branch",
        "康平支部",
    ];
    let (filed, said) = run(&file);
    assert!(
        !filed && said.contains("同意"),
        "without the member's consent: {said}"
    );
    let (filed, said) = run(&[&file[..], &["--consent", "当面"]].concat());
    assert!(filed && said.contains("等待街道裁定"), "{said}");
    let (_, listed) = run(&["transfer", "list"]);
    assert!(
        listed.contains("陈师傅") && listed.contains("草稿") && listed.contains("等待裁定：提交"),
        "{listed}"
    );
    assert!(run(&["sync"]).0);
    let (_, listed) = run(&["transfer", "list"]);
    assert!(
        listed.contains("已提交") && !listed.contains("等待裁定"),
        "{listed}"
    );
    assert!(run(&["transfer", "withdraw", "1", "--reason", "家里有事"]).0);
    let (_, shown) = run(&["transfer", "show", "1"]);
    assert!(
        shown.contains("撤回 → 等待裁定") && shown.contains("告知党员："),
        "{shown}"
    );
    assert!(run(&["sync"]).0);
    let (_, shown) = run(&["--lang", "en", "transfer", "show", "1", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        (&shown["transfer"]["state"], &shown["events"][1]["outcome"]),
        (&json!("withdrawn"), &json!("applied"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_twice_is_one() {
    let scene = open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let record = filed(&phone).await;
    let seen = scene.shown(record).await["seen"].clone();
    let path = format!("transfers/{record}/events");
    let event = json!({ "event": EVENT, "seen": seen, "type": "request_origin", "addressee": "天平路街道" });
    assert_eq!(
        scene
            .call("officer.a", "POST", &path, event.clone())
            .await
            .status,
        StatusCode::CREATED
    );
    let again = scene.call("officer.a", "POST", &path, event.clone()).await;
    assert_eq!(
        (again.status, &again.json["ruling"]["outcome"]),
        (StatusCode::OK, &json!("applied"))
    );
    let other =
        json!({ "event": EVENT, "seen": seen, "type": "request_origin", "addressee": "别的街道" });
    assert_eq!(
        scene.call("officer.a", "POST", &path, other).await.code(),
        "already_exists"
    );
    // Another officer who looked at the same page comes second.
    let late = json!({ "seen": seen, "type": "return", "reason_code": "other", "note": "补" });
    assert_eq!(
        scene.call("officer.b", "POST", &path, late).await.json["ruling"]["code"],
        "overtaken"
    );
    assert_eq!(
        scene
            .office
            .count("select count(*) from transfer_event")
            .await,
        3
    );
    // The trail tells of the event and of the ruling, in that order.
    assert!(
        scene
            .office
            .count("select count(*) from audit_event where action = 'ruling'")
            .await
            >= 3
    );
}
