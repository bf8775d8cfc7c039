//! What becomes of single changes. A refused one moves nothing; refusals first.

use std::{io::Write, time::Duration};

use automerge::{
    ActorId, AutoCommit, ObjType, ROOT, ScalarValue,
    transaction::{CommitOptions, Transactable},
};
use lianka_sync_core::{
    codec::{
        change::{self, Action, Change, Op, OpId, Scalar},
        wire::{PushedChange, ResponseItem, VerdictStatus},
    },
    crdt::{
        merge::Refusal,
        record::{Edit, Record},
    },
    id::{Actor, ChangeHash, DeviceId, RecordId},
    kinds::Kind,
    limits,
    time::DeviceTime,
};
use serde_json::json;
use uuid::Uuid;

use super::phone::{HOME, OTHER, Office, Phone, STORE, pushed, put};

const PERSONAL: &str = "李四13900139000";
const CONTACT: &str = "0198c0de-0000-7000-8000-00000000000a";

/// A phone and the card it made, with one more edit, all accepted.
struct Scene {
    office: Office,
    phone: Phone,
    card: RecordId,
}

impl Scene {
    async fn open() -> Self {
        let office = Office::open().await;
        let mut phone = office.secretary("wang.fang", &["A1"]).await;
        let card = phone.create(
            "A1",
            &[
                put("sign_name", "王记包子"),
                Edit::Note {
                    text: "门口积水".into(),
                },
            ],
        );
        phone.edit(
            card,
            &[
                put("unit", "201"),
                put("road", "天平路"),
                Edit::add("tags/late_night"),
            ],
        );
        assert_eq!(phone.sync().await.codes(), ["accepted"; 2]);
        Self {
            office,
            phone,
            card,
        }
    }

    /// The phone's next edit of the card, not kept on the phone.
    fn edit(&mut self, edits: &[Edit]) -> Change {
        let held = self.phone.records.get_mut(&self.card).unwrap();
        let mut copy = Record::load(&held.record.save()).unwrap();
        copy.edit(self.phone.actor(), at(100), edits, "")
            .unwrap()
            .unwrap()
    }

    /// The same, forged: what no honest phone writes.
    fn forged(&mut self, forge: impl FnOnce(&mut Change)) -> PushedChange {
        let mut change = self.edit(&[put("unit", "202"), put("lane", "5")]);
        forge(&mut change);
        change.bytes = change::encode(&change);
        pushed(self.card, Kind::ShopCard, &change)
    }

    /// A creating change, forged.
    fn created(&mut self, grid: &str, forge: impl FnOnce(&mut Change)) -> PushedChange {
        let edits = [
            put("kind", "shop_card"),
            put("street", HOME),
            put("grid", grid),
            put("sign_name", PERSONAL),
        ];
        let (_, mut change) = Record::create(self.phone.actor(), at(100), &edits).unwrap();
        forge(&mut change);
        change.bytes = change::encode(&change);
        pushed(self.phone.new_record_id(), Kind::ShopCard, &change)
    }

    /// Sends changes of which the last must be refused so, in both languages, with nothing moved.
    async fn refuses(&self, changes: &[PushedChange], code: &str, field: Option<&str>) {
        let before = self.office.rows(&STORE).await;
        let items: Vec<_> = std::iter::once(self.phone.hello(false))
            .chain(
                changes
                    .iter()
                    .cloned()
                    .map(lianka_sync_core::codec::wire::RequestItem::Change),
            )
            .collect();
        let mut messages = Vec::new();
        for language in ["zh", "en"] {
            let reply = self
                .phone
                .post(&[("accept-language", language)], self.phone.body(&items))
                .await;
            let verdicts = reply.verdicts();
            assert_eq!(verdicts.len(), changes.len(), "{}", reply.json);
            let verdict = verdicts[changes.len() - 1];
            assert_eq!(
                (verdict.status, verdict.code.as_deref()),
                (VerdictStatus::Rejected, Some(code)),
                "{verdict:?}"
            );
            assert_eq!(verdict.field.as_deref(), field, "{verdict:?}");
            assert_eq!(verdict.seq, None);
            assert!(Refusal::CODES.contains(&code), "{code} is not in the table");
            messages.push(verdict.message.clone().expect("a message"));
        }
        let han = |text: &str| text.chars().any(|c| ('\u{4e00}'..'\u{a000}').contains(&c));
        assert!(
            han(&messages[0])
                && !han(&messages[1]
                    .replace("营业、装修、空置、关闭", "")
                    .replace("营业, 装修, 空置, 关闭", "")),
            "{messages:?}"
        );
        assert!(
            messages
                .iter()
                .all(|message| !message.contains("李四") && !message.contains("13900139000")),
            "{messages:?}"
        );
        assert_eq!(
            self.office.rows(&STORE).await,
            before,
            "{code}: a refused change moves nothing"
        );
    }

    async fn refuses_edit(&mut self, edits: &[Edit], code: &str, field: Option<&str>) {
        let change = self.edit(edits);
        self.refuses(&[pushed(self.card, Kind::ShopCard, &change)], code, field)
            .await;
    }

    /// Bytes that do not pass the gate.
    async fn refuses_bytes(&self, bytes: Vec<u8>, code: &str, field: Option<&str>) {
        self.refuses(
            &[PushedChange {
                record: self.card,
                kind: Kind::ShopCard,
                generation: 1,
                bytes,
            }],
            code,
            field,
        )
        .await;
    }
}

fn at(seconds: i64) -> DeviceTime {
    DeviceTime::from_unix_seconds(1_795_248_000 + seconds)
}

/// A document of Automerge's own, as a careless client would write it.
#[expect(
    clippy::disallowed_methods,
    reason = "the point is what sync-core never writes"
)]
fn foreign(actor: Actor, write: impl FnOnce(&mut AutoCommit)) -> Vec<u8> {
    let mut doc = AutoCommit::new().with_actor(ActorId::from(&actor.as_bytes()[..]));
    write(&mut doc);
    doc.commit_with(CommitOptions::default().with_time(1_795_248_000));
    doc.get_last_local_change()
        .expect("a change")
        .raw_bytes()
        .to_vec()
}

#[tokio::test]
async fn bytes_that_do_not_pass_the_gate() {
    let mut scene = Scene::open().await;
    let actor = scene.phone.actor();
    let honest = scene.edit(&[put("unit", PERSONAL)]).bytes;
    scene
        .refuses_bytes(Vec::new(), "malformed_change", None)
        .await;
    scene
        .refuses_bytes(PERSONAL.into(), "malformed_change", None)
        .await;
    scene
        .refuses_bytes(
            honest[..honest.len() - 1].to_vec(),
            "malformed_change",
            None,
        )
        .await;
    scene
        .refuses_bytes(
            [honest.as_slice(), &honest].concat(),
            "malformed_change",
            None,
        )
        .await;
    let mut flipped = honest.clone();
    flipped[5] ^= 1;
    scene
        .refuses_bytes(flipped, "checksum_mismatch", None)
        .await;
    let saved = scene
        .phone
        .records
        .get_mut(&scene.card)
        .unwrap()
        .record
        .save();
    scene.refuses_bytes(saved, "not_a_change", None).await;
    scene
        .refuses_bytes(
            vec![0; limits::CHANGE_BYTES_MAX + 1],
            "change_too_large",
            None,
        )
        .await;

    let mut bomb = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 40_000_000]).unwrap();
    scene
        .refuses_bytes(chunk(2, &bomb.finish().unwrap()), "change_too_large", None)
        .await;
    scene
        .refuses_bytes(run_length_bomb(actor), "change_too_large", None)
        .await;

    let nested = |object| foreign(actor, |doc| drop(doc.put_object(ROOT, "contacts", object)));
    scene
        .refuses_bytes(nested(ObjType::Map), "nested_object", Some("contacts"))
        .await;
    scene
        .refuses_bytes(nested(ObjType::List), "nested_object", Some("contacts"))
        .await;
    let scalar =
        |value: ScalarValue| foreign(actor, |doc| doc.put(ROOT, "sign_name", value).unwrap());
    for value in [
        ScalarValue::Null,
        1.5.into(),
        ScalarValue::counter(1),
        ScalarValue::Timestamp(1),
        vec![1_u8].into(),
    ] {
        scene
            .refuses_bytes(scalar(value), "wrong_type", Some("sign_name"))
            .await;
    }
    let short = ActorId::from([1_u8, 2, 3]);
    let bytes = foreign(actor, |doc| {
        doc.set_actor(short);
        doc.put(ROOT, "sign_name", "x").unwrap();
    });
    scene.refuses_bytes(bytes, "bad_actor", None).await;
    let milliseconds =
        scene.forged(|change| change.time = Some(DeviceTime::from_unix_seconds(1_795_248_000_000)));
    scene.refuses(&[milliseconds], "out_of_range", None).await;
    let far = scene.forged(|change| change.start_op = u32::MAX - 8);
    scene.refuses(&[far], "out_of_range", None).await;
    let idle = scene.forged(|change| {
        change.ops[1] = Op {
            action: Action::Delete { key: "lane".into() },
            pred: vec![],
        }
    });
    scene.refuses(&[idle], "operation_not_allowed", None).await;
    let unsorted =
        scene.forged(|change| change.deps = vec![ChangeHash([2; 32]), ChangeHash([1; 32])]);
    scene.refuses(&[unsorted], "not_canonical", None).await;
}

fn chunk(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, kind];
    leb(&mut out, body.len() as u64);
    out.extend_from_slice(body);
    out
}

fn leb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Ten million operations in one run of a few bytes, the checksum right.
fn run_length_bomb(actor: Actor) -> Vec<u8> {
    let mut body = vec![0, 20];
    body.extend_from_slice(actor.as_bytes());
    // seq, start_op, time, no message, no other actors; one column: the action's.
    body.extend_from_slice(&[1, 1, 0, 0, 0, 1, 0x42, 5]);
    leb(&mut body, 10_000_000);
    body.push(1);
    let mut out = chunk(1, &body);
    let hash = sha256(&out[8..]);
    out[4..8].copy_from_slice(&hash[..4]);
    out
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}

#[tokio::test]
async fn fields_that_are_not_there_not_theirs_or_not_so() {
    let mut scene = Scene::open().await;
    let unknown = format!("contacts/{}/name", CONTACT.to_uppercase());
    for key in ["nope", "sign_name/x", "tags", &unknown] {
        scene
            .refuses_edit(&[put(key, PERSONAL)], "unknown_field", Some(key))
            .await;
    }
    scene
        .refuses_edit(&[put("grid", "A1x")], "unknown_grid", None)
        .await;
    scene.office.assign(HOME, "wang.fang", &["A1", "A2"]).await;
    scene
        .refuses_edit(&[put("grid", "A2")], "field_not_editable", Some("grid"))
        .await;
    scene
        .refuses_edit(
            &[put("kind", "transfer_request")],
            "write_once",
            Some("kind"),
        )
        .await;
    scene
        .refuses_edit(&[put("street", OTHER)], "write_once", Some("street"))
        .await;
    scene
        .refuses_edit(
            &[Edit::Delete { key: "kind".into() }],
            "write_once",
            Some("kind"),
        )
        .await;
    for (value, code) in [
        (String::new(), "value_empty"),
        (PERSONAL.repeat(10), "value_too_long"),
        ("李四\u{0}".into(), "value_control_character"),
        ("李四\u{1b}[2J".into(), "value_control_character"),
        ("李四e\u{301}".into(), "value_not_nfc"),
    ] {
        scene
            .refuses_edit(
                &[Edit::Put {
                    key: "sign_name".into(),
                    value: Scalar::Str(value),
                }],
                code,
                Some("sign_name"),
            )
            .await;
    }
    for value in [Scalar::Int(7), Scalar::Bool(true)] {
        scene
            .refuses_edit(
                &[Edit::Put {
                    key: "sign_name".into(),
                    value,
                }],
                "wrong_type",
                Some("sign_name"),
            )
            .await;
    }
    scene
        .refuses_edit(
            &[put("occupancy", PERSONAL)],
            "value_not_in_list",
            Some("occupancy"),
        )
        .await;
    scene
        .refuses_edit(
            &[put("occupancy_observed_on", "2026-02-30")],
            "value_not_a_date",
            Some("occupancy_observed_on"),
        )
        .await;
    scene
        .refuses_edit(
            &[Edit::add("confirmations/21.11.2026")],
            "value_not_a_date",
            Some("confirmations/21.11.2026"),
        )
        .await;
    scene
        .refuses_edit(
            &[put("point", "31.2,121.4")],
            "value_not_a_point",
            Some("point"),
        )
        .await;
    scene
        .refuses_edit(&[put("tags/x", "yes")], "wrong_type", Some("tags/x"))
        .await;
    let party = format!("contacts/{CONTACT}/party_status");
    scene
        .refuses_edit(&[put(&party, PERSONAL)], "consent_missing", Some(&party))
        .await;
    let contact = format!("consent/{CONTACT}/contact");
    scene
        .refuses_edit(&[put(&contact, "x")], "value_not_an_entry", Some(&contact))
        .await;

    scene
        .refuses_edit(
            &[put("unit", PERSONAL), put("nope", "x")],
            "unknown_field",
            Some("nope"),
        )
        .await;
    for text in ["门口\u{0}积水", "门口\u{7}积水", "门口\r\n积水"] {
        scene
            .refuses_edit(
                &[Edit::Note { text: text.into() }],
                "value_control_character",
                Some("note"),
            )
            .await;
    }
    scene
        .refuses_edit(
            &[Edit::Note {
                text: "长".repeat(2001),
            }],
            "value_too_long",
            Some("note"),
        )
        .await;

    let scope = format!("consent/{CONTACT}/scope");
    scene.phone.edit(scene.card, &[put(&scope, "party_status")]);
    assert_eq!(scene.phone.sync().await.codes(), ["accepted"]);
    scene
        .refuses_edit(&[put(&scope, "phones")], "write_once", Some(&scope))
        .await;
    scene
        .refuses_edit(
            &[Edit::Delete { key: scope.clone() }],
            "write_once",
            Some(&scope),
        )
        .await;
    // Blindly, as if nothing stood there.
    let blind = scene.forged(|change| {
        change.ops[1] = Op {
            action: Action::Put {
                key: scope.clone(),
                value: "phones".into(),
            },
            pred: vec![],
        };
    });
    scene.refuses(&[blind], "write_once", Some(&scope)).await;
}

#[tokio::test]
async fn creations_that_lack_something_or_are_somewhere_else() {
    let mut scene = Scene::open().await;
    let without = |key: &'static str| {
        move |change: &mut Change| {
            change
                .ops
                .retain(|op| !matches!(&op.action, Action::Put { key: written, .. } | Action::MakeText { key: written } if written == key));
        }
    };
    for key in ["kind", "street", "grid", "note"] {
        let change = scene.created("A1", without(key));
        scene
            .refuses(&[change], "creation_incomplete", Some(key))
            .await;
    }
    let rewrite = |key: &'static str, value: Scalar| {
        move |change: &mut Change| {
            for op in &mut change.ops {
                if let Action::Put {
                    key: written,
                    value: old,
                } = &mut op.action
                    && written == key
                {
                    *old = value.clone();
                }
            }
        }
    };
    let change = scene.created("A1", rewrite("street", OTHER.into()));
    scene.refuses(&[change], "wrong_street", None).await;
    let change = scene.created("A1", rewrite("kind", "transfer_request".into()));
    scene.refuses(&[change], "kind_mismatch", None).await;
    let change = scene.created("A1", rewrite("grid", Scalar::Int(7)));
    scene.refuses(&[change], "wrong_type", Some("grid")).await;
    let change = scene.created("B1", |_| ());
    scene.refuses(&[change], "unknown_grid", None).await;
    // Twice in one change, of which only the last would be seen.
    let twice = scene.created("A1", |change| {
        let at = change
            .ops
            .iter()
            .position(|op| matches!(&op.action, Action::Put { key, .. } if key == "grid"))
            .unwrap();
        change.ops.insert(
            at,
            Op {
                action: Action::Put {
                    key: "grid".into(),
                    value: "nowhere".into(),
                },
                pred: vec![],
            },
        );
    });
    scene.refuses(&[twice], "unknown_grid", None).await;
    let change = scene.created("A2", |_| ());
    scene.refuses(&[change], "not_your_grid", None).await;
    // Written last is their own grid, and taken back by the same change: what stays is somebody else's.
    let back = scene.created("A2", |change| {
        let own = Op {
            action: Action::Put {
                key: "grid".into(),
                value: "A1".into(),
            },
            pred: vec![],
        };
        let id = OpId {
            counter: change.start_op + change.ops.len() as u32,
            actor: change.actor,
        };
        change.ops.extend([
            own,
            Op {
                action: Action::Delete { key: "grid".into() },
                pred: vec![id],
            },
        ]);
    });
    scene.refuses(&[back], "not_your_grid", None).await;
    let mut change = scene.created("A1", |_| ());
    change.generation = 2;
    scene.refuses(&[change], "stale_generation", None).await;
    let mut change = scene.created("A1", |_| ());
    change.kind = Kind::TransferRequest;
    scene
        .refuses(&[change], "unknown_field", Some("sign_name"))
        .await;
    let mut change = scene.created("A1", |_| ());
    change.record = scene.card;
    scene.refuses(&[change], "record_exists", None).await;
    let late = scene.created("A1", |change| change.seq = 2);
    scene.refuses(&[late], "sequence_gap", None).await;
    let high = scene.created("A1", |change| change.start_op = 2);
    scene.refuses(&[high], "bad_start_op", None).await;
    // A plain JavaScript string is a Text object.
    let actor = scene.phone.actor();
    let text = foreign(actor, |doc| {
        for (key, value) in [("kind", "shop_card"), ("street", HOME), ("grid", "A1")] {
            doc.put(ROOT, key, value).unwrap();
        }
        let text = doc.put_object(ROOT, "sign_name", ObjType::Text).unwrap();
        doc.splice_text(&text, 0, 0, "x").unwrap();
    });
    let record = scene.phone.new_record_id();
    scene
        .refuses(
            &[PushedChange {
                record,
                kind: Kind::ShopCard,
                generation: 1,
                bytes: text,
            }],
            "nested_object",
            Some("sign_name"),
        )
        .await;
}

#[tokio::test]
async fn changes_out_of_their_place_in_history() {
    let mut scene = Scene::open().await;
    let stranger = Actor::new(DeviceId(Uuid::from_u128(7)), 1);
    let foreign = scene.forged(|change| change.actor = stranger);
    scene.refuses(&[foreign], "actor_not_yours", None).await;
    let colleague = scene.office.phone("wang.fang").await;
    let foreign = scene.forged(|change| change.actor = colleague.actor());
    scene.refuses(&[foreign], "actor_not_yours", None).await;

    let gap = scene.forged(|change| change.seq += 1);
    scene.refuses(&[gap], "sequence_gap", None).await;
    let unknown = scene.forged(|change| change.deps = vec![ChangeHash([7; 32])]);
    // What the phone wrote on it under its next name waits with it.
    let waiting = change::decode(&unknown.bytes).unwrap();
    let follower = scene.forged(|change| {
        (change.actor, change.seq) = (Actor::new(waiting.actor.device(), 9), 1);
        change.start_op = waiting.max_op() + 1;
        change.deps = vec![waiting.hash];
    });
    scene
        .refuses(&[unknown.clone(), follower], "dependency_missing", None)
        .await;
    scene.refuses(&[unknown], "dependency_missing", None).await;
    let forked = scene.forged(|change| change.seq -= 1);
    scene.refuses(&[forked], "actor_forked", None).await;
    let high = scene.forged(|change| change.start_op += 1);
    scene.refuses(&[high], "bad_start_op", None).await;
    let invented = scene.forged(|change| {
        change.ops[0].pred = vec![OpId {
            counter: 1,
            actor: change.actor,
        }];
    });
    scene
        .refuses(&[invented], "bad_predecessor", Some("unit"))
        .await;
    let mut stale = scene.forged(|_| ());
    stale.generation = 2;
    scene.refuses(&[stale], "stale_generation", None).await;
    let mut kind = scene.forged(|_| ());
    kind.kind = Kind::TransferRequest;
    scene.refuses(&[kind], "kind_mismatch", None).await;
    // Text of another object, and a second one.
    let elsewhere = scene.forged(|change| {
        let object = OpId {
            counter: 2,
            actor: change.actor,
        };
        change.ops[1] = Op {
            action: Action::Insert {
                object,
                after: None,
                text: "x".into(),
            },
            pred: vec![],
        };
    });
    scene
        .refuses(&[elsewhere], "nested_object", Some("note"))
        .await;
    let second = scene.forged(|change| {
        change.ops[1] = Op {
            action: Action::MakeText { key: "note".into() },
            pred: vec![],
        }
    });
    scene
        .refuses(&[second], "nested_object", Some("note"))
        .await;
}

#[tokio::test]
async fn what_depends_on_a_refused_change_is_refused_with_it() {
    let mut scene = Scene::open().await;
    let card = scene.card;
    scene.phone.edit(card, &[put("nope", "x")]);
    scene.phone.edit(card, &[put("unit", "203")]);
    scene.phone.edit(card, &[put("lane", "7")]);
    let other = scene.phone.create("A1", &[]);
    let outbox = scene.phone.outbox.clone();
    scene
        .refuses(&outbox[..3], "depends_on_rejected", None)
        .await;
    let reply = scene.phone.sync().await;
    assert_eq!(
        reply.codes(),
        [
            "unknown_field",
            "depends_on_rejected",
            "depends_on_rejected",
            "accepted"
        ]
    );
    assert!(
        reply.verdicts()[..3]
            .iter()
            .all(|verdict| !verdict.retryable)
    );
    // The server's copy comes with the refusal: the phone rebases in the same round trip.
    assert_eq!(reply.snapshots(), [card]);
    assert!(scene.phone.records.contains_key(&other));
    scene.phone.epoch += 1;
    scene
        .phone
        .edit(card, &[put("unit", "203"), put("lane", "7")]);
    assert_eq!(scene.phone.sync().await.codes(), ["accepted"]);
}

#[tokio::test]
async fn what_waits_for_a_dependency_may_be_sent_again() {
    let mut scene = Scene::open().await;
    for unit in ["301", "302", "303"] {
        scene.phone.edit(scene.card, &[put("unit", unit)]);
    }
    let outbox = std::mem::take(&mut scene.phone.outbox);
    let before = scene.office.rows(&STORE).await;
    let reply = scene.phone.push(true, &outbox[1..]).await;
    assert!(
        reply.verdicts().iter().all(|verdict| verdict.retryable),
        "{reply:?}"
    );
    assert_eq!(reply.codes().len(), 2);
    assert_eq!(reply.snapshots(), [], "nothing to rebase on");
    assert_eq!(scene.office.rows(&STORE).await, before);
    assert_eq!(
        scene.phone.push(true, &outbox).await.codes(),
        ["accepted"; 3]
    );
    assert_eq!(
        scene.phone.push(true, &outbox[1..]).await.codes(),
        ["duplicate"; 2]
    );
}

#[tokio::test]
async fn a_copied_phone_is_told_that_it_forked() {
    let mut scene = Scene::open().await;
    let one = scene.edit(&[put("unit", "301")]);
    let two = scene.edit(&[put("unit", "302")]);
    let push = |change: &Change| vec![pushed(scene.card, Kind::ShopCard, change)];
    assert_eq!(
        scene.phone.push(true, &push(&one)).await.codes(),
        ["accepted"]
    );
    let reply = scene.phone.push(true, &push(&two)).await;
    assert_eq!(reply.codes(), ["actor_forked"]);
    assert_eq!(reply.snapshots(), [scene.card]);
}

#[tokio::test]
async fn grids_decide_what_is_accepted_held_or_refused() {
    let mut scene = Scene::open().await;
    let card = scene.card;
    let mut stranger = scene.office.secretary("li.na", &["A2"]).await;
    // Somebody who never worked the grid and somehow has the card.
    let copy = scene.phone.records.get_mut(&card).unwrap().record.save();
    stranger.take_in(&[ResponseItem::Snapshot {
        record: card,
        kind: Kind::ShopCard,
        grid: "A1".into(),
        generation: 1,
        seq: 2,
        bytes: copy,
    }]);
    stranger.edit(card, &[put("unit", PERSONAL)]);
    let reply = stranger.sync().await;
    assert_eq!(reply.codes(), ["not_your_grid"]);
    assert!(reply.snapshots().is_empty(), "and learns nothing of it");
    let before = scene.office.rows(&STORE).await;

    // Edits of an offline day: a card the server knows, and a new one with an edit that follows.
    scene.phone.edit(card, &[put("unit", "301")]);
    scene.phone.edit(card, &[put("unit", "302")]);
    let new = scene.phone.create("A1", &[put("sign_name", "新店")]);
    scene.phone.edit(new, &[put("unit", "1")]);
    let outbox = scene.phone.outbox.clone();
    scene.office.assign(HOME, "wang.fang", &["A3"]).await;
    let reply = scene.phone.sync().await;
    assert_eq!(reply.codes(), ["grid_lost"; 4]);
    assert!(
        reply
            .verdicts()
            .iter()
            .all(|verdict| verdict.status == VerdictStatus::Held
                && verdict.seq.is_none()
                && verdict.message.is_some())
    );
    assert_eq!(reply.leaves(), [card]);
    assert_eq!(
        scene.phone.push(true, &outbox[..2]).await.codes(),
        ["grid_lost"; 2]
    );
    // What follows a held change is held with it, also when it comes alone.
    assert_eq!(
        scene.phone.push(true, &outbox[3..]).await.codes(),
        ["grid_lost"]
    );
    assert_eq!(
        scene
            .office
            .count("select count(*) from held_change where username = 'wang.fang'")
            .await,
        4
    );
    let rest: Vec<_> = scene
        .office
        .rows(&STORE)
        .await
        .into_iter()
        .filter(|row| !row.starts_with("held_change"))
        .collect();
    assert_eq!(rest, before, "what is held moves nothing else");
    // What the server has already is no news, whoever's grid it is now.
    scene.office.assign(HOME, "wang.fang", &["A1"]).await;
    assert_eq!(
        scene.phone.push(true, &outbox[..2]).await.codes(),
        ["accepted"; 2]
    );
    scene.office.assign(HOME, "wang.fang", &["A2"]).await;
    assert_eq!(
        scene.phone.push(true, &outbox[..2]).await.codes(),
        ["duplicate"; 2]
    );
}

#[tokio::test]
async fn roles_that_may_not_edit() {
    let scene = Scene::open().await;
    for role in ["auditor", "officer"] {
        let mut desk = scene.office.desk_phone(role, role).await;
        desk.create("A1", &[]);
        let before = scene.office.rows(&STORE).await;
        let outbox = std::mem::take(&mut desk.outbox);
        let reply = desk.push(true, &outbox).await;
        assert_eq!(
            reply.verdicts()[0].code.as_deref(),
            Some("field_not_editable"),
            "{role}"
        );
        let verdicts_alone = reply
            .items
            .iter()
            .all(|item| matches!(item, ResponseItem::Verdict(_) | ResponseItem::End { .. }));
        assert!(
            verdicts_alone,
            "{role} has no need of records: {:?}",
            reply.items
        );
        assert_eq!(scene.office.rows(&STORE).await, before);
    }
}

#[tokio::test]
async fn a_remark_that_the_store_does_not_take_harms_nothing() {
    let mut scene = Scene::open().await;
    // A conflict, whose end is remembered with the author's remark.
    let mut other = scene.office.phone("wang.fang").await;
    other.sync().await;
    other.edit(scene.card, &[put("unit", "203")]);
    scene.phone.edit(scene.card, &[put("unit", "204")]);
    assert_eq!(other.sync().await.codes(), ["accepted"]);
    assert_eq!(scene.phone.sync().await.codes(), ["accepted"]);
    let ends = scene.forged(|change| change.message = "就是\0这样".into());
    let reply = scene.phone.push(true, &[ends]).await;
    assert_eq!(reply.status, axum::http::StatusCode::OK, "{}", reply.json);
    assert_eq!(reply.codes(), ["accepted"]);
    assert_eq!(
        scene
            .office
            .count("select count(*) from resolution where note = '就是\u{fffd}这样'")
            .await,
        1
    );
}

/// Phones confirm their newest acknowledged change with every synchronisation, also where nothing is new: that waits for nobody.
#[tokio::test]
async fn a_change_that_is_known_is_answered_without_the_streets_lock() {
    let Scene {
        office, mut phone, ..
    } = Scene::open().await;
    let gone = phone.create("A1", &[put("sign_name", "李记")]);
    let erased = phone.outbox.clone();
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    let path = format!("/v1/streets/{HOME}/records/{gone}/erase");
    let reason = json!({ "reason": "subject_request" });
    let answer = office
        .call("POST", &path, Some(&office.admin), reason)
        .await;
    assert!(answer.status.is_success(), "{}", answer.json);
    let kept = phone.create("A1", &[put("sign_name", "悦福")]);
    let known = phone.outbox.clone();
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    phone.edit(kept, &[put("unit", "201")]);
    let new = phone.outbox.clone();

    let mut lock = office.test.app.pool.begin().await.expect("a transaction");
    sqlx::raw_sql("select 1 from street where street = '310104003' for update")
        .execute(&mut *lock)
        .await
        .expect("locked");
    for (changes, code) in [(&known, "duplicate"), (&erased, "erased")] {
        let answer = phone.push(true, changes);
        let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
        assert_eq!(answer.expect("it waits for nobody").codes(), [code]);
    }
    let waiting = phone.push(true, &new);
    let waiting = tokio::time::timeout(Duration::from_millis(500), waiting).await;
    assert!(waiting.is_err(), "what is new is merged under the lock");
    lock.rollback().await.expect("unlocked");
    assert_eq!(phone.push(true, &known).await.codes(), ["duplicate"]);
}
