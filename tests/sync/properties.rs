//! What holds whatever was edited, in whatever order it arrives, however it is cut into requests. One database, a street for each case.

use std::collections::BTreeMap;

use lianka_server::{street::projection as project, upkeep::refresh};
use lianka_sync_core::{
    access::Role,
    authority,
    codec::{
        change::Scalar,
        wire::{PushedChange, VerdictStatus},
    },
    crdt::{record::Edit, view::View},
    id::{RecordId, StreetCode},
    kinds::{Kind, Shape},
};
use lianka_tests::TestApp;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use super::phone::{Office, Phone, READ_MODELS, STORE, put};

const CASES: usize = 16;
const PHONES: usize = 3;
const CONTACT: &str = "0198c0de-0000-7000-8000-00000000000a";

/// One act of one phone.
#[derive(Clone, Debug)]
enum Act {
    /// Edits the first or the second card.
    Edit {
        phone: usize,
        card: usize,
        edit: usize,
        value: usize,
    },
    /// Takes in what the other phone wrote until now, as if the server had passed it on.
    Hear { phone: usize, from: usize },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let edit =
        (0..PHONES, 0..2_usize, 0..9_usize, 0..4_usize).prop_map(|(phone, card, edit, value)| {
            Act::Edit {
                phone,
                card,
                edit,
                value,
            }
        });
    let hear = (0..PHONES, 0..PHONES).prop_map(|(phone, from)| Act::Hear { phone, from });
    vec(prop_oneof![4 => edit, 1 => hear], 4..24)
}

fn edits(edit: usize, value: usize) -> Vec<Edit> {
    let text = ["甲", "乙", "丙", ""][value];
    match edit {
        0 => vec![Edit::set("sign_name", text)],
        1 => vec![Edit::set("unit", text), Edit::set("category", text)],
        2 if value < 2 => vec![Edit::add("tags/late_night")],
        2 => vec![Edit::Delete {
            key: "tags/late_night".into(),
        }],
        3 => vec![Edit::set(format!("contacts/{CONTACT}/name"), text)],
        4 => vec![
            Edit::set(format!("contacts/{CONTACT}/phones"), text),
            Edit::set("custom/消防检查", text),
        ],
        5 => vec![Edit::add(
            [
                "confirmations/2026-10-01",
                "confirmations/2026-11-01",
                "confirmations/2026-11-02",
                "tags/x",
            ][value],
        )],
        6 => vec![Edit::set(
            "point",
            [
                "geo:31.2,121.4;crs=gcj02;u=12",
                "geo:31.3,121.4;crs=wgs84",
                "",
                "",
            ][value],
        )],
        7 => vec![Edit::Note {
            text: ["", "门口积水", "门口常积水", "积水已修"][value].into(),
        }],
        _ => vec![
            Edit::set("number", ["5", "12甲", "3-5", ""][value]),
            Edit::set("occupancy", ["营业", "装修", "空置", ""][value]),
        ],
    }
}

/// What all phones wrote: for each its changes in its own order.
struct Written {
    phones: Vec<Phone>,
    changes: Vec<Vec<PushedChange>>,
    cards: [RecordId; 2],
}

/// Plays the acts on phones that hold the same two cards, without a server.
fn play(mut phones: Vec<Phone>, cards: [RecordId; 2], acts: &[Act]) -> Written {
    // heard[a][b]: how many changes of b stand on a's copies.
    let mut heard = [[0; PHONES]; PHONES];
    let mut changes: Vec<Vec<PushedChange>> = vec![Vec::new(); PHONES];
    for act in acts {
        match *act {
            Act::Edit {
                phone,
                card,
                edit,
                value,
            } => {
                let (actor, writer) = (phones[phone].actor(), &mut phones[phone]);
                let held = writer.records.get_mut(&cards[card]).expect("the card");
                let at = lianka_sync_core::time::DeviceTime::from_unix_seconds(
                    1_795_248_100 + changes[phone].len() as i64,
                );
                if let Some(change) = held
                    .record
                    .edit(actor, at, &edits(edit, value), "")
                    .expect("an edit")
                {
                    changes[phone].push(super::phone::pushed(cards[card], Kind::ShopCard, &change));
                }
            }
            Act::Hear { phone, from } => {
                // Whom that phone heard is heard with it: nothing arrives before what it depends on.
                for source in (0..PHONES).filter(|source| *source != phone) {
                    let known = heard[phone][source];
                    let upto = if source == from {
                        changes[from].len()
                    } else {
                        heard[from][source]
                    }
                    .max(known);
                    for change in &changes[source][known..upto] {
                        let held = phones[phone]
                            .records
                            .get_mut(&change.record)
                            .expect("the card");
                        held.record
                            .apply([change.bytes.as_slice()])
                            .expect("it applies");
                    }
                    heard[phone][source] = upto;
                }
            }
        }
    }
    Written {
        phones,
        changes,
        cards,
    }
}

/// A street with two cards that every phone holds; each run of the same acts writes the same bytes there.
async fn street(office: &Office, number: usize) -> (StreetCode, Vec<Phone>, [RecordId; 2]) {
    let street = format!("{:09}", 900_000_000 + number);
    office.street(&street, "样本街道").await;
    office.grid(&street, "A1").await;
    let mut phones = Vec::new();
    for n in 0..PHONES {
        let username = format!("s{number}.{n}");
        office.user(&username, "secretary", Some(&street)).await;
        office.assign(&street, &username, &["A1"]).await;
        phones.push(office.phone_in(&street, &username).await);
    }
    // Of two values written at once the greater device's comes first: in every street the same phone's.
    phones.sort_by_key(|phone| phone.device);
    let cards = [
        phones[0].create(
            "A1",
            &[
                put("sign_name", "王记包子"),
                Edit::Note {
                    text: "门口".into(),
                },
            ],
        ),
        phones[0].create("A1", &[]),
    ];
    phones[0].sync().await;
    for phone in &mut phones[1..] {
        phone.sync().await;
    }
    (street.parse().expect("a street"), phones, cards)
}

/// Any interleaving of the phones' own orders, with repetitions, cut into requests: (phone, how many of its next changes, how many of its
/// last ones again).
fn deliveries() -> impl Strategy<Value = Vec<(usize, usize, usize)>> {
    vec((0..PHONES, 0..4_usize, 0..3_usize), 0..12)
}

/// Pushes everything in this way; what waits for somebody else's change is sent again until all is there.
async fn deliver(written: &Written, deliveries: &[(usize, usize, usize)]) {
    let mut sent = [0_usize; PHONES];
    let all = (0..200).map(|n| (n % PHONES, usize::MAX, 0));
    for (phone, new, again) in deliveries.iter().copied().chain(all) {
        let own = &written.changes[phone];
        let from = sent[phone].saturating_sub(again);
        let upto = sent[phone].saturating_add(new).min(own.len());
        let reply = written.phones[phone].push(false, &own[from..upto]).await;
        let verdicts = reply.verdicts();
        let mut settled = from;
        for verdict in &verdicts {
            match verdict.status {
                VerdictStatus::Accepted | VerdictStatus::Duplicate => settled += 1,
                _ => {
                    assert!(
                        verdict.retryable,
                        "an honest change only ever waits: {verdict:?}"
                    );
                    break;
                }
            }
        }
        sent[phone] = sent[phone].max(settled);
        if (0..PHONES).all(|phone| sent[phone] == written.changes[phone].len()) {
            return;
        }
    }
    panic!("the changes did not all arrive: {sent:?}");
}

/// What a record says, free of what differs between streets: device names, record ids, sequences.
fn comparable(phones: &[Phone], cards: [RecordId; 2], text: &str) -> String {
    let mut text = text.to_owned();
    for (n, phone) in phones.iter().enumerate() {
        text = text
            .replace(&phone.device.to_string(), &format!("device-{n}"))
            .replace(&phone.device.0.simple().to_string(), &format!("device-{n}"));
    }
    for (n, card) in cards.iter().enumerate() {
        text = text.replace(&card.to_string(), &format!("card-{n}"));
    }
    text
}

async fn cards_json(office: &Office, written: &Written, street: &StreetCode) -> String {
    let answer = office
        .call(
            "GET",
            &format!("/v1/streets/{street}/cards"),
            Some(&office.admin),
            Value::Null,
        )
        .await;
    let mut items = answer.json["items"].as_array().expect("cards").clone();
    assert_eq!(items.len(), 2, "{}", answer.json);
    items.sort_by_key(|card| card["record"].to_string());
    for card in &mut items {
        card["seq"] = json!(0);
    }
    comparable(
        &written.phones,
        written.cards,
        &Value::from(items).to_string(),
    )
}

/// The same cases on every run.
fn runner() -> TestRunner {
    TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    )
}

fn sampled<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).expect("a sample").current()
}

#[tokio::test]
async fn any_order_repetition_and_partition_gives_the_same_record_and_the_same_rows() {
    let office = Office::on(TestApp::start().await).await;
    let mut runner = runner();
    for case in 0..CASES {
        let acts = sampled(&mut runner, &acts());
        let ways = [
            sampled(&mut runner, &deliveries()),
            sampled(&mut runner, &deliveries()),
        ];
        let mut seen: Option<(String, String)> = None;
        for (n, way) in ways.iter().enumerate() {
            let (street, phones, cards) = street(&office, case * 2 + n).await;
            let mut written = play(phones, cards, &acts);
            deliver(&written, way).await;

            // A resend of everything is a no-op.
            let before = office.rows(&STORE).await;
            for (phone, changes) in written.phones.iter().zip(&written.changes) {
                let reply = phone.push(false, changes).await;
                assert!(
                    reply
                        .verdicts()
                        .iter()
                        .all(|verdict| verdict.status == VerdictStatus::Duplicate),
                    "{acts:?}"
                );
            }
            assert_eq!(office.rows(&STORE).await, before);

            // All phones end with the same view, and so does a new one, before and after the background pass.
            for phone in &mut written.phones {
                phone.sync().await;
            }
            let views = written.phones[0].views();
            assert!(
                written
                    .phones
                    .iter_mut()
                    .all(|phone| phone.views() == views),
                "{acts:?}"
            );
            let newcomer = format!("s{}.0", case * 2 + n);
            let mut fresh = office.phone_in(street.as_str(), &newcomer).await;
            fresh.sync().await;
            assert_eq!(fresh.views(), views, "{acts:?}");
            let pass = refresh::pass(&office.test.app.pool, &office.test.clock)
                .await
                .expect("a pass");
            assert_eq!((pass.refreshed, pass.disputed), (2, 0), "{acts:?}");
            fresh.cursor = None;
            fresh.records.clear();
            fresh.sync().await;
            assert_eq!(fresh.views(), views, "{acts:?}");

            let said = comparable(
                &written.phones,
                written.cards,
                &format!("{:?}", views.values().map(plain).collect::<Vec<_>>()),
            );
            let said = (said, cards_json(&office, &written, &street).await);
            assert_eq!(
                seen.get_or_insert_with(|| said.clone()),
                &said,
                "{acts:?} {ways:?}"
            );
        }
    }
    // The rows are what a rebuild makes of the records.
    let before = office.rows(&READ_MODELS).await;
    for number in 0..CASES * 2 {
        let street = format!("{:09}", 900_000_000 + number)
            .parse()
            .expect("a street");
        assert_eq!(
            project::rebuild(&office.test.app.pool, &street, |_| ())
                .await
                .expect("a rebuild"),
            2
        );
    }
    assert_eq!(office.rows(&READ_MODELS).await, before);
    assert!(
        before.iter().any(|row| row.starts_with("field_conflict"))
            && before.iter().any(|row| row.starts_with("shop_contact"))
    );
}

/// Values of a view; the street's own code is the only one that differs.
fn plain(view: &View) -> BTreeMap<&str, Vec<(&Scalar, u32, String)>> {
    let values = view.values.iter().filter(|(key, _)| *key != "street");
    let mut plain: BTreeMap<_, _> = values
        .map(|(key, values)| {
            (
                key.as_str(),
                values
                    .iter()
                    .map(|value| (&value.value, value.op.counter, value.op.actor.to_string()))
                    .collect(),
            )
        })
        .collect();
    plain.insert("note", vec![]);
    plain
}

/// Values of all sorts, right and wrong, for any field.
fn values() -> impl Strategy<Value = Scalar> {
    let texts = [
        "王记包子",
        "x",
        "",
        "2026-11-21",
        "2026-02-30",
        "营业",
        "正式",
        "grant",
        "temporary",
        "geo:31.2,121.4;crs=gcj02",
        "geo:31.2,121.4",
        CONTACT,
        "e\u{301}",
        "a\u{0}b",
        "310104003",
        "shop_card",
        "A1",
    ];
    prop_oneof![
        8 => select(texts.to_vec()).prop_map(Scalar::from),
        2 => select(vec![21_usize, 41, 61, 101, 201, 401]).prop_map(|n| Scalar::Str("长".repeat(n))),
        1 => Just(Scalar::Bool(true)),
        1 => Just(Scalar::Bool(false)),
        1 => (-3_i64..3).prop_map(Scalar::Int),
    ]
}

fn keys(kind: Kind) -> impl Strategy<Value = String> {
    let members = ["late_night", "2026-11-21", "2026-13-01", "", "a/b"];
    (any::<Index>(), select(members.to_vec())).prop_map(move |(at, member)| {
        let field = at.get(kind.fields());
        match field.shape {
            Shape::Register => field.name.to_owned(),
            Shape::SetMember | Shape::SetOfDays | Shape::Custom => {
                format!("{}/{member}", field.name)
            }
            Shape::Entry { list } => format!("{list}/{CONTACT}/{}", field.name),
        }
    })
}

#[tokio::test]
async fn what_the_phone_prevents_the_server_refuses() {
    let office = Office::on(TestApp::start().await).await;
    let street = "900000000";
    office.street(street, "样本街道").await;
    office.grid(street, "A1").await;
    let mut phones = Vec::new();
    for role in Role::ALL {
        office
            .user(role.as_str(), role.as_str(), Some(street))
            .await;
        office.assign(street, role.as_str(), &["A1"]).await;
        phones.push(office.phone_in(street, role.as_str()).await);
    }
    let mut runner = runner();
    let (mut admitted, mut prevented) = (0, 0);
    // What a visit may say is held in tests of its own: it is written once, and whole.
    for kind in [Kind::ShopCard, Kind::TransferRequest] {
        let (keys, values) = (keys(kind), values());
        for (phone, role) in phones.iter_mut().zip(Role::ALL) {
            // Many writes at once, each on a creation of its own: what is wrong with one says nothing about the next.
            let mut expected = Vec::new();
            for _ in 0..120 {
                let (key, value) = (sampled(&mut runner, &keys), sampled(&mut runner, &values));
                if ["kind", "street", "grid", "note"].contains(&key.as_str()) {
                    continue;
                }
                let mut edits = vec![
                    put("kind", kind.as_str()),
                    put("street", street),
                    put("grid", "A1"),
                ];
                if kind == Kind::TransferRequest {
                    let required = [
                        put("transfer_kind", "temporary"),
                        put("member_alias", "老王"),
                    ];
                    edits.extend(required.into_iter().filter(
                        |edit| !matches!(edit, Edit::Put { key: written, .. } if *written == key),
                    ));
                }
                let first = if kind == Kind::ShopCard {
                    "sign_name"
                } else {
                    "transfer_kind"
                };
                let creator = authority::check_write(
                    kind,
                    role,
                    true,
                    first,
                    Some(&if kind == Kind::ShopCard {
                        "x".into()
                    } else {
                        "temporary".into()
                    }),
                );
                let checked = authority::check_write(kind, role, true, &key, Some(&value));
                edits.push(Edit::Put {
                    key: key.clone(),
                    value,
                });
                phone.create_with(kind, "A1", &edits);
                expected.push((key, creator.is_ok(), checked.err()));
            }
            let outbox = std::mem::take(&mut phone.outbox);
            let reply = phone.push(false, &outbox).await;
            for (verdict, (key, creator, error)) in reply.verdicts().into_iter().zip(expected) {
                // Roles that hold no records: what such a phone still sends waits for a reviewer, as after a change of role.
                if matches!(role, Role::Officer | Role::Auditor) {
                    assert_eq!(
                        verdict.code.as_deref(),
                        Some("grid_lost"),
                        "{role} {verdict:?}"
                    );
                    continue;
                }
                match (creator, error) {
                    (true, Some(error)) => {
                        prevented += 1;
                        assert_eq!(
                            (verdict.code.as_deref(), verdict.field.as_deref()),
                            (Some(error.code()), Some(key.as_str())),
                            "{role} {verdict:?}"
                        );
                    }
                    // An event is written whole, by whom the table of steps names: tests/transfers.rs.
                    (true, None) if key.starts_with("events/") => {
                        assert_eq!(
                            verdict.status,
                            VerdictStatus::Rejected,
                            "{role} {key} {verdict:?}"
                        );
                    }
                    (true, None) if key.ends_with("/party_status") => {
                        assert_eq!(verdict.code.as_deref(), Some("consent_missing"));
                    }
                    (true, None) => {
                        admitted += 1;
                        assert_eq!(
                            verdict.status,
                            VerdictStatus::Accepted,
                            "{role} {key} {verdict:?}"
                        );
                    }
                    (false, _) => assert_eq!(
                        verdict.code.as_deref(),
                        Some("field_not_editable"),
                        "{role} {key} {verdict:?}"
                    ),
                }
            }
        }
    }
    assert!(admitted > 100 && prevented > 100, "{admitted} {prevented}");
    let before = office.rows(&READ_MODELS).await;
    project::rebuild(
        &office.test.app.pool,
        &street.parse().expect("a street"),
        |_| (),
    )
    .await
    .expect("a rebuild");
    assert_eq!(office.rows(&READ_MODELS).await, before);
}
