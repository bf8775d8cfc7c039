//! Questions and answers over a real file: what is saved, what is shown of it, and the way back.

use lianka_client_core::{Grid, store::Credentials};
use lianka_sync_core::{access::Role, id::DeviceId};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

const NOW: DeviceTime = DeviceTime::from_unix_ms(1_800_000_000_000);

struct Rig {
    _folder: TempDir,
    store: LocalStore,
    drawn: u128,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut store = LocalStore::open_or_create(&folder.path().join("phone.db")).unwrap();
        let identity = Identity {
            device: DeviceId(Uuid::from_u128(0xd001)),
            username: "wangmin".into(),
            display_name: "王敏".into(),
            role: Role::Secretary,
            street: "310104003".parse().unwrap(),
            street_name: "天平路街道".into(),
            grids: vec![Grid {
                grid: "A1".into(),
                name: "康平一".into(),
                area: "康平".into(),
            }],
            former_devices: Vec::new(),
        };
        let credentials = Credentials {
            server: "http://localhost:1".into(),
            access_token: "at".into(),
            access_expires_ms: i64::MAX,
            refresh_token: "rt".into(),
        };
        store
            .write(|tx| {
                tx.set_identity(&identity)?;
                tx.set_credentials(&credentials)
            })
            .unwrap();
        Self {
            _folder: folder,
            store,
            drawn: 0,
        }
    }

    fn ask(&mut self, question: Value) -> Result<Value, Failure> {
        let drawn = &mut self.drawn;
        let mut entropy = || {
            *drawn += 1;
            drawn.to_le_bytes()
        };
        let mut around = Around {
            now: NOW,
            entropy: &mut entropy,
            lang: Lang::En,
        };
        let question = serde_json::from_value(question).unwrap();
        answer(&mut self.store, question, &mut around)
    }

    fn create(&mut self) -> Value {
        let edits = [
            Edit::set("sign_name", "王记包子"),
            Edit::set("road", "天平路"),
            Edit::set("number", "1"),
        ];
        let made = self.ask(json!({ "ask": "create", "grid": "A1", "edits": edits }));
        made.unwrap()["record"].clone()
    }

    fn set(&mut self, record: &Value, key: &str, text: &str) -> Result<Value, Failure> {
        let edits = [Edit::set(key, text)];
        self.ask(json!({ "ask": "edit", "record": record, "edits": edits }))
    }

    fn field(&mut self, record: &Value, name: &str) -> Value {
        let card = self
            .ask(json!({ "ask": "card", "record": record }))
            .unwrap();
        let fields = card["fields"].as_array().unwrap();
        let found = fields.iter().find(|field| field["name"] == name);
        found.unwrap().clone()
    }
}

#[test]
fn a_phone_that_is_not_enrolled_says_so_and_answers_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = LocalStore::open_or_create(&folder.path().join("phone.db")).unwrap();
    let mut entropy = || [0; 16];
    let mut around = Around {
        now: NOW,
        entropy: &mut entropy,
        lang: Lang::Zh,
    };
    let state = answer(&mut store, Question::State, &mut around).unwrap();
    assert_eq!(state["stage"], "new");
    let refused = answer(&mut store, Question::Outbox, &mut around).unwrap_err();
    assert_eq!(refused.code, "not_enrolled");
}

#[test]
fn a_field_says_where_it_is_and_an_edit_is_taken_back_by_another() {
    let mut rig = Rig::new();
    let record = rig.create();
    let first = rig.set(&record, "sign_name", "老李修车").unwrap();
    let shown = rig.field(&record, "sign_name");
    assert_eq!(
        (&shown["value"], &shown["state"]),
        (&json!("老李修车"), &json!("phone"))
    );
    let state = rig.field(&record, "legal_name")["state"].clone();
    assert_eq!(state, "office");
    let undone = rig.ask(json!({ "ask": "undo", "record": record, "hash": first["hash"] }));
    assert!(undone.unwrap()["hash"].is_string());
    assert_eq!(rig.field(&record, "sign_name")["value"], "王记包子");
    let outbox = rig.ask(json!({ "ask": "outbox" })).unwrap();
    assert_eq!(
        outbox.as_array().unwrap().len(),
        3,
        "a number that was used is never used again"
    );
}

#[test]
fn what_stands_over_an_edit_stays_and_what_made_the_record_has_no_way_back() {
    let mut rig = Rig::new();
    let record = rig.create();
    let first = rig.set(&record, "sign_name", "甲").unwrap();
    let undoable = |rig: &mut Rig, at: usize| {
        rig.ask(json!({ "ask": "outbox" })).unwrap()[at]["undoable"].clone()
    };
    assert_eq!(undoable(&mut rig, 1), true);
    rig.set(&record, "sign_name", "乙").unwrap();
    assert_eq!(
        (undoable(&mut rig, 1), undoable(&mut rig, 2)),
        (json!(false), json!(true)),
        "nothing is offered that would do nothing"
    );
    let undone = rig.ask(json!({ "ask": "undo", "record": record, "hash": first["hash"] }));
    assert_eq!(undone.unwrap()["hash"], Value::Null);
    assert_eq!(rig.field(&record, "sign_name")["value"], "乙");
    let outbox = rig.ask(json!({ "ask": "outbox" })).unwrap();
    let made = &outbox[0];
    assert_eq!(
        (&made["creating"], &made["undoable"]),
        (&json!(true), &json!(false))
    );
    let refused = rig.ask(json!({ "ask": "undo", "record": record, "hash": made["hash"] }));
    assert_eq!(refused.unwrap_err().code, "no_way_back");
}

#[test]
fn a_confirmation_is_one_of_today_and_can_be_taken_back() {
    let mut rig = Rig::new();
    let record = rig.create();
    let confirmed = rig.ask(json!({ "ask": "confirm", "record": record }));
    let today = rig.ask(json!({ "ask": "state" })).unwrap()["today"].clone();
    let line = |rig: &mut Rig| rig.ask(json!({ "ask": "cards" })).unwrap()[0].clone();
    assert_eq!(line(&mut rig)["confirmed"], today);
    let hash = confirmed.unwrap()["hash"].clone();
    rig.ask(json!({ "ask": "undo", "record": record, "hash": hash }))
        .unwrap();
    assert_eq!(line(&mut rig)["confirmed"], Value::Null);
}

#[test]
fn a_rule_of_the_catalogue_refuses_with_its_key_and_saves_nothing() {
    let mut rig = Rig::new();
    let record = rig.create();
    let long = "长".repeat(101);
    let refused = rig.set(&record, "sign_name", &long).unwrap_err();
    assert_eq!(refused.key.as_deref(), Some("sign_name"));
    assert_eq!(rig.field(&record, "sign_name")["value"], "王记包子");
}

#[test]
fn a_visit_and_a_contact_are_saved_with_their_card() {
    let mut rig = Rig::new();
    let record = rig.create();
    let visit = json!({ "ask": "visit", "shop": record, "channel": "door", "outcome": "met", "topics": ["安全提醒"], "remark": null, "card_version": null });
    rig.ask(visit).unwrap();
    let visits = rig.ask(json!({ "ask": "visits", "shop": record })).unwrap();
    assert_eq!(
        (&visits[0]["topics"], &visits[0]["state"]),
        (&json!(["安全提醒"]), &json!("phone"))
    );
    let fields = json!({ "name": "许娜", "phones": "13810000001" });
    rig.ask(json!({ "ask": "add_contact", "record": record, "fields": fields }))
        .unwrap();
    let card = rig.ask(json!({ "ask": "card", "record": record })).unwrap();
    assert_eq!(card["contacts"][0]["numbers"][0]["dial"], "13810000001");
}

#[test]
fn a_likely_duplicate_is_told_before_a_card_is_made() {
    let mut rig = Rig::new();
    let record = rig.create();
    let edits = [
        Edit::set("sign_name", "王记包子"),
        Edit::set("road", "天平路"),
        Edit::set("number", "1"),
    ];
    let alike = rig.ask(json!({ "ask": "alike", "grid": "A1", "edits": edits }));
    assert_eq!(alike.unwrap()[0]["record"], record);
}

const MEMBER: [(&str, &str); 5] = [
    ("member_name", "许娜"),
    ("member_status", "正式"),
    ("origin_organisation", "杨浦区某支部"),
    ("phone", "13810000001"),
    ("target_branch", "康平支部"),
];

fn filing(submit: bool, consent: Option<&str>, fields: &[(&str, &str)]) -> Value {
    let fields: BTreeMap<_, _> = fields.iter().copied().collect();
    let filing = json!({
        "transfer_kind": "in_city_e", "member_alias": "康平1号 许", "fields": fields,
        "consent_channel": consent, "consent_wording": consent.map(|_| "1"), "submit": submit,
    });
    json!({ "ask": "transfers", "of": "file", "grid": "A1", "filing": filing })
}

fn one(rig: &mut Rig, record: &Value) -> Value {
    rig.ask(json!({ "ask": "transfers", "of": "one", "record": record }))
        .unwrap()
}

#[test]
fn a_transfer_is_submitted_only_whole_and_with_consent_and_stays_pending() {
    let mut rig = Rig::new();
    let refused = rig
        .ask(filing(true, Some("当面"), &MEMBER[..4]))
        .unwrap_err();
    assert_eq!(
        (&*refused.code, refused.message.contains("target branch")),
        ("content_incomplete", true)
    );
    let refused = rig.ask(filing(true, None, &MEMBER)).unwrap_err();
    assert_eq!(refused.code, "consent_missing");
    let filed = rig.ask(filing(true, Some("当面"), &MEMBER)).unwrap();
    let shown = one(&mut rig, &filed["record"]);
    let summary = &shown["summary"];
    assert_eq!(
        (&summary["state"], &summary["pending"], &summary["place"]),
        (&json!("draft"), &json!(["submit"]), &json!("phone")),
        "nothing is submitted before the office ruled it"
    );
    assert_eq!(
        (&shown["mends"], &shown["submits"], &shown["withdraws"]),
        (&json!(false), &json!(false), &json!(true))
    );
    let lines = &shown["outbox"][0]["lines"];
    let line = lines.as_array().unwrap().iter();
    let kind = line
        .clone()
        .find(|line| line["label"] == "kind of transfer");
    assert_eq!(kind.unwrap()["new"], "within the city, by the system");
    assert_eq!(shown["outbox"][0]["undoable"], false);
}

#[test]
fn a_draft_of_a_transfer_is_completed_submitted_and_taken_back() {
    let mut rig = Rig::new();
    let record = rig.ask(filing(false, None, &[])).unwrap()["record"].clone();
    assert_eq!(one(&mut rig, &record)["lacks"]["label"], "member name");
    for (key, text) in MEMBER {
        rig.set(&record, key, text).unwrap();
    }
    assert_eq!(one(&mut rig, &record)["lacks"]["consent"], true);
    let consent = json!({ "ask": "transfers", "of": "consent", "record": record, "channel": "当面", "wording": "1" });
    rig.ask(consent).unwrap();
    assert_eq!(one(&mut rig, &record)["submits"], true);
    rig.ask(json!({ "ask": "transfers", "of": "submit", "record": record }))
        .unwrap();
    let again = rig.ask(json!({ "ask": "transfers", "of": "submit", "record": record }));
    assert_eq!(again.unwrap_err().code, "wrong_state");
    let withdraw = json!({
        "ask": "transfers", "of": "withdraw", "record": record, "asked_by": "member", "cause": "member_word", "reason": "不转了",
    });
    rig.ask(withdraw).unwrap();
    let list = rig
        .ask(json!({ "ask": "transfers", "of": "list" }))
        .unwrap();
    assert_eq!(list[0]["pending"], json!(["submit", "withdraw"]));
    assert_eq!(one(&mut rig, &record)["withdraws"], false);
}

#[test]
fn what_is_sensitive_about_a_contact_is_written_with_their_consent_and_shown_with_it() {
    let mut rig = Rig::new();
    let record = rig.create();
    rig.ask(json!({ "ask": "add_contact", "record": record, "fields": { "name": "许娜" } }))
        .unwrap();
    let contact = |rig: &mut Rig| {
        let card = rig.ask(json!({ "ask": "card", "record": record })).unwrap();
        card["contacts"][0].clone()
    };
    let entry = contact(&mut rig)["entry"].clone();
    let key = format!("contacts/{}/party_status", entry.as_str().unwrap());
    assert_eq!(
        rig.set(&record, &key, "群众").unwrap_err().code,
        "consent_missing"
    );
    let consent = |grants: bool| {
        json!({
            "ask": "consent", "record": record, "contact": entry, "grants": grants,
            "channel": "当面", "wording": "1", "party_status": "中共党员",
        })
    };
    rig.ask(consent(true)).unwrap();
    let shown = contact(&mut rig);
    assert_eq!(
        (&shown["consented"], &shown["sensitive"]["value"]),
        (&json!(true), &json!("中共党员"))
    );
    assert_eq!(shown["consents"][0]["label"], "party status");
    rig.ask(consent(false)).unwrap();
    assert_eq!(contact(&mut rig)["consented"], false);
    assert_eq!(
        rig.set(&record, &key, "群众").unwrap_err().code,
        "consent_missing"
    );
}

#[test]
fn the_practice_street_stands_apart_and_can_be_sent_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = LocalStore::open_or_create(&folder.path().join("practice.db")).unwrap();
    let mut drawn = 0_u128;
    let mut entropy = || {
        drawn += 1;
        drawn.to_le_bytes()
    };
    let mut around = Around {
        now: NOW,
        entropy: &mut entropy,
        lang: Lang::Zh,
    };
    practice::fill(&mut store, &mut around).unwrap();
    let state = answer(&mut store, Question::State, &mut around).unwrap();
    assert_eq!(
        (&state["stage"], &state["practice"], &state["unsent"]),
        (&json!("ready"), &json!(true), &json!(0))
    );
    let cards = Question::Cards { query: None };
    let cards = answer(&mut store, cards, &mut around).unwrap();
    assert_eq!(cards[0]["state"], "office");
    let record = serde_json::from_value(cards[0]["record"].clone()).unwrap();
    answer(&mut store, Question::Confirm { record }, &mut around).unwrap();
    // Once more it stays as it is; and there is nobody to send it to.
    practice::fill(&mut store, &mut around).unwrap();
    let state = answer(&mut store, Question::State, &mut around).unwrap();
    assert_eq!(state["unsent"], 1);
    let step = crate::exchange::Exchange::synchronise().begin(&mut store, &mut around);
    let failed = serde_json::to_value(step).unwrap();
    assert_eq!(failed["failure"]["code"], "not_enrolled");
    assert!(may_be_replaced(&mut store).unwrap());
    // A phone that somebody is enrolled on is never filled.
    let mut rig = Rig::new();
    let refused = practice::fill(&mut rig.store, &mut around).unwrap_err();
    assert_eq!(refused.code, "not_practice");
    assert!(!may_be_replaced(&mut rig.store).unwrap());
}
