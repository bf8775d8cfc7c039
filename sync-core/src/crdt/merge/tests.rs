//! The fold is held to Automerge's own reading, whatever was edited, in whatever order it arrived.

use proptest::{collection::vec, prelude::*, sample::Index};
use uuid::Uuid;

use crate::access::Role;
use crate::crdt::merge::*;
use crate::{
    codec::change::{self, encode},
    crdt::record::Edit,
};

mod hostile;
mod winners;

const CONTACT: &str = "0198c0de-0000-7000-8000-00000000000a";

fn street() -> StreetCode {
    "310104003".parse().unwrap()
}

fn device(n: u8) -> DeviceId {
    DeviceId(Uuid::from_u128(
        0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(n),
    ))
}

fn actor(n: u8) -> Actor {
    Actor::new(device(n), 1)
}

fn at(seconds: i64) -> DeviceTime {
    DeviceTime::from_unix_seconds(1_795_000_000 + seconds)
}

fn put(key: &str, value: &str) -> Edit {
    Edit::Put {
        key: key.into(),
        value: value.into(),
    }
}

fn creation() -> Vec<Edit> {
    vec![
        put("kind", "shop_card"),
        put("street", "310104003"),
        put("grid", "康平01"),
        put("sign_name", "王记包子"),
        Edit::Note {
            text: "门口积水".into(),
        },
    ]
}

fn context(street: &StreetCode, n: u8) -> Context<'_> {
    Context {
        street,
        kind: Kind::ShopCard,
        generation: 1,
        device: device(n),
        writer: Role::Secretary.into(),
        received_at: ServerTime::from_unix_ms(1_795_000_000_000),
    }
}

fn push(target: &mut Target, change: &Change) -> Result<Merged, Refusal> {
    let street = street();
    let device = change.actor.device();
    let context = Context {
        device,
        ..context(&street, 0)
    };
    assert!(
        !change.edits_text() || target.state.is_none() || target.document.is_some(),
        "the caller loads the document first"
    );
    merge(target, change, &context)
}

/// A record of device 0 at the server, with its document, and the phone's own copy.
fn created() -> (Target, Record) {
    let (record, change) = Record::create(actor(0), at(0), &creation()).unwrap();
    let mut target = Target::default();
    assert_eq!(push(&mut target, &change), Ok(Merged::Accepted));
    (target, record)
}

fn fork(record: &mut Record) -> Record {
    Record::load(&record.save()).unwrap()
}

fn edit(record: &mut Record, n: u8, edits: &[Edit]) -> Change {
    record
        .edit(actor(n), at(i64::from(n)), edits, "")
        .unwrap()
        .expect("an edit that changes something")
}

#[test]
fn concurrent_values_are_kept_and_the_next_write_settles_them() {
    let (mut target, mut a) = created();
    let mut b = fork(&mut a);
    let one = edit(&mut a, 1, &[put("sign_name", "甲")]);
    let two = edit(&mut b, 2, &[put("sign_name", "乙")]);
    push(&mut target, &one).unwrap();
    push(&mut target, &two).unwrap();
    let view = target.state.as_ref().unwrap().view();
    let conflicts: Vec<_> = crate::kinds::conflicts(&view).collect();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(
        conflicts[0]
            .1
            .iter()
            .map(|value| value.op.actor)
            .collect::<Vec<_>>(),
        [actor(1), actor(2)]
    );
    a.apply([two.bytes.as_slice()]).unwrap();
    let settle = edit(&mut a, 1, &[put("sign_name", "甲")]);
    push(&mut target, &settle).unwrap();
    assert_eq!(
        crate::kinds::conflicts(&target.state.as_ref().unwrap().view()).count(),
        0
    );
    assert_eq!(target.state.as_ref().unwrap().view(), a.view().unwrap());
}

#[test]
fn equal_concurrent_values_are_no_conflict() {
    let (mut target, mut a) = created();
    let mut b = fork(&mut a);
    push(&mut target, &edit(&mut a, 1, &[put("sign_name", "同")])).unwrap();
    push(&mut target, &edit(&mut b, 2, &[put("sign_name", "同")])).unwrap();
    assert_eq!(
        crate::kinds::conflicts(&target.state.unwrap().view()).count(),
        0
    );
}

#[test]
fn an_added_tag_wins_over_its_removal() {
    let (mut target, mut a) = created();
    push(
        &mut target,
        &edit(&mut a, 0, &[Edit::add("tags/late_night")]),
    )
    .unwrap();
    let mut b = fork(&mut a);
    push(
        &mut target,
        &edit(
            &mut a,
            1,
            &[Edit::Delete {
                key: "tags/late_night".into(),
            }],
        ),
    )
    .unwrap();
    let readd = b
        .edit(
            actor(2),
            at(2),
            &[
                Edit::Delete {
                    key: "tags/late_night".into(),
                },
                Edit::add("tags/late_night"),
            ],
            "",
        )
        .unwrap()
        .unwrap();
    push(&mut target, &readd).unwrap();
    assert!(
        target
            .state
            .unwrap()
            .view()
            .get("tags/late_night")
            .is_some()
    );
}

#[test]
fn resending_is_a_no_op() {
    let (mut target, mut a) = created();
    let change = edit(&mut a, 0, &[put("unit", "201室")]);
    push(&mut target, &change).unwrap();
    let before = target.state.clone();
    assert_eq!(push(&mut target, &change), Ok(Merged::Duplicate));
    assert_eq!(target.state, before);
}

#[test]
fn state_survives_its_stored_form() {
    let (mut target, mut a) = created();
    push(
        &mut target,
        &edit(&mut a, 3, &[put("unit", "201室"), Edit::add("tags/a")]),
    )
    .unwrap();
    let state = target.state.unwrap();
    assert_eq!(
        RegisterState::from_bytes(&state.to_bytes()),
        Ok(state.clone())
    );
    assert_eq!(
        RegisterState::from_bytes(&state.to_bytes()[1..]),
        Err(BadState)
    );
    assert_eq!(RegisterState::from_bytes(&[]), Err(BadState));
}

/// Automerge settles equal concurrent values by deleting all but one, also where the field may never be empty.
#[test]
fn equal_values_of_a_required_field_are_settled_and_the_last_one_stays() {
    let (mut target, mut a) = created();
    let mut b = Record::load(&a.save()).unwrap();
    let merged = |target: &mut Target, change: &Change| {
        let street = street();
        let context = Context {
            writer: Role::Reviewer.into(),
            device: change.actor.device(),
            ..context(&street, 0)
        };
        merge(target, change, &context).map_err(|refusal| refusal.code())
    };
    let (one, two) = (
        edit(&mut a, 2, &[put("grid", "A2")]),
        edit(&mut b, 3, &[put("grid", "A2")]),
    );
    assert_eq!(
        (merged(&mut target, &one), merged(&mut target, &two)),
        (Ok(Merged::Accepted), Ok(Merged::Accepted))
    );
    a.apply([two.bytes.as_slice()]).unwrap();
    let settled = edit(&mut a, 2, &[put("grid", "A2")]);
    assert!(
        matches!(settled.ops[0].action, Action::Delete { .. }),
        "else this test says nothing"
    );
    assert_eq!(merged(&mut target, &settled), Ok(Merged::Accepted));
    assert_eq!(target.state.as_ref().unwrap().view(), a.view().unwrap());
    let emptied = edit(&mut a, 2, &[Edit::Delete { key: "grid".into() }]);
    assert_eq!(merged(&mut target, &emptied), Err("write_once"));
}

/// Forges a change from an honest one and expects the refusal, with the record unmoved.
fn refused(
    forge: impl FnOnce(&mut Change),
    context_change: impl FnOnce(&mut Context<'_>),
    code: &str,
) {
    let (mut target, mut a) = created();
    push(
        &mut target,
        &edit(&mut a, 1, &[put("unit", "1室"), Edit::add("tags/a")]),
    )
    .unwrap();
    let before = target.state.clone();
    let mut change = edit(&mut a, 1, &[put("unit", "2室"), put("lane", "5")]);
    forge(&mut change);
    change.bytes = encode(&change);
    let change = change::decode(&change.bytes).unwrap();
    let street = street();
    let mut context = context(&street, 1);
    context_change(&mut context);
    let got = merge(&mut target, &change, &context);
    assert_eq!(got.map_err(|refusal| refusal.code()), Err(code));
    assert_eq!(
        target.state, before,
        "{code}: a refused change moved the record"
    );
}

#[test]
fn refusals() {
    let unit = |change: &mut Change, action: Action| change.ops[0].action = action;
    refused(|_| (), |c| c.device = device(9), "actor_not_yours");
    refused(|_| (), |c| c.generation = 2, "stale_generation");
    refused(|_| (), |c| c.kind = Kind::TransferRequest, "kind_mismatch");
    refused(
        |_| (),
        |c| c.writer = Role::Auditor.into(),
        "field_not_editable",
    );
    refused(|c| c.seq = 1, |_| (), "actor_forked");
    refused(|c| c.seq = 3, |_| (), "sequence_gap");
    refused(|c| c.start_op += 1, |_| (), "bad_start_op");
    refused(|c| c.start_op -= 1, |_| (), "bad_start_op");
    refused(|c| c.deps = vec![], |_| (), "record_exists");
    refused(
        |c| c.deps = vec![ChangeHash([7; 32])],
        |_| (),
        "dependency_missing",
    );
    refused(
        |c| c.actor = actor(2),
        |c| c.device = device(2),
        "sequence_gap",
    );
    refused(
        |c| {
            c.ops[1].pred = vec![OpId {
                counter: 3,
                actor: actor(0),
            }];
        },
        |_| (),
        "bad_predecessor",
    );
    refused(
        |c| {
            c.ops[1].pred = vec![OpId {
                counter: 900,
                actor: actor(1),
            }];
        },
        |_| (),
        "bad_predecessor",
    );
    refused(
        |c| {
            c.ops[1].pred = vec![OpId {
                counter: 2,
                actor: actor(5),
            }];
        },
        |_| (),
        "bad_predecessor",
    );
    refused(
        |c| {
            unit(
                c,
                Action::Put {
                    key: "nope".into(),
                    value: "x".into(),
                },
            );
        },
        |_| (),
        "unknown_field",
    );
    refused(
        |c| {
            unit(
                c,
                Action::Put {
                    key: "unit".into(),
                    value: Scalar::Int(1),
                },
            );
        },
        |_| (),
        "wrong_type",
    );
    refused(
        |c| {
            unit(
                c,
                Action::Put {
                    key: "unit".into(),
                    value: "".into(),
                },
            );
        },
        |_| (),
        "value_empty",
    );
    refused(
        |c| {
            unit(
                c,
                Action::Put {
                    key: "unit".into(),
                    value: "长".repeat(41).as_str().into(),
                },
            );
        },
        |_| (),
        "value_too_long",
    );
    refused(
        |c| {
            unit(
                c,
                Action::Put {
                    key: "kind".into(),
                    value: "shop_card".into(),
                },
            );
        },
        |_| (),
        "write_once",
    );
    refused(
        |c| {
            unit(
                c,
                Action::Put {
                    key: "grid".into(),
                    value: "康平02".into(),
                },
            );
        },
        |_| (),
        "field_not_editable",
    );
    refused(
        |c| {
            unit(
                c,
                Action::Put {
                    key: "note".into(),
                    value: "x".into(),
                },
            );
        },
        |_| (),
        "wrong_type",
    );
    refused(
        |c| {
            c.ops[1] = Op {
                action: Action::MakeText { key: "note".into() },
                pred: vec![],
            }
        },
        |_| (),
        "nested_object",
    );
    refused(
        |c| {
            c.ops[1] = Op {
                action: Action::Insert {
                    object: OpId {
                        counter: 4,
                        actor: actor(0),
                    },
                    after: None,
                    text: "x".into(),
                },
                pred: vec![],
            }
        },
        |_| (),
        "nested_object",
    );
    let party = format!("contacts/{CONTACT}/party_status");
    refused(
        |c| {
            c.ops[1] = Op {
                action: Action::Put {
                    key: party,
                    value: "群众".into(),
                },
                pred: vec![],
            }
        },
        |_| (),
        "consent_missing",
    );
}

use crate::codec::change::Op;

/// One device cannot pile up heads until nobody can name them all.
#[test]
fn heads_stay_few_enough_to_be_named() {
    let (mut target, mut a) = created();
    let refused = (0..80_u32).find_map(|epoch| {
        let actor = Actor::new(device(7), epoch);
        let change = fork(&mut a)
            .edit(actor, at(0), &[put("unit", &format!("{epoch}室"))], "")
            .unwrap()
            .unwrap();
        push(&mut target, &change).err()
    });
    assert_eq!(
        refused.map(|refusal| refusal.code()),
        Some("too_many_heads")
    );
    assert_eq!(
        target.state.as_ref().unwrap().heads().len(),
        limits::RECORD_HEADS_MAX
    );
    // Whoever names them all is welcome.
    let state = target.state.as_ref().unwrap();
    let settled = state
        .compose(
            actor(1),
            at(1),
            &[Write::new("unit", Some("1室".into()))],
            "",
        )
        .unwrap()
        .unwrap();
    assert_eq!(push(&mut target, &settled), Ok(Merged::Accepted));
    assert_eq!(target.state.unwrap().heads(), [settled.hash]);
}

#[test]
fn a_log_entry_is_written_once() {
    let (mut target, mut a) = created();
    let scope = format!("consent/{CONTACT}/scope");
    push(
        &mut target,
        &edit(&mut a, 0, &[put(&scope, "party_status")]),
    )
    .unwrap();
    let again = edit(&mut a, 0, &[put(&scope, "other")]);
    assert_eq!(
        push(&mut target, &again).map_err(|refusal| refusal.code()),
        Err("write_once")
    );
    // Nor without naming the first as predecessor.
    let mut blind = again.clone();
    blind.ops[0].pred.clear();
    let blind = change::decode(&encode(&blind)).unwrap();
    assert_eq!(
        push(&mut target, &blind).map_err(|refusal| refusal.code()),
        Err("write_once")
    );
}

#[test]
fn consent_lets_a_party_status_in_and_a_withdrawal_keeps_it_out() {
    let (mut target, mut a) = created();
    let consent = |entry: &str, decision: &str| {
        [
            ("contact", CONTACT),
            ("scope", "party_status"),
            ("decision", decision),
        ]
        .map(|(field, value)| {
            put(
                &format!("consent/0198c0de-0000-7000-8000-{entry}/{field}"),
                value,
            )
        })
    };
    let status = |value: &str| put(&format!("contacts/{CONTACT}/party_status"), value);
    let mut grant = consent("000000000001", "grant").to_vec();
    grant.push(status("群众"));
    assert_eq!(
        push(&mut target, &edit(&mut a, 0, &grant)),
        Ok(Merged::Accepted)
    );
    push(
        &mut target,
        &edit(&mut a, 0, &consent("000000000002", "withdraw")),
    )
    .unwrap();
    let late = edit(&mut a, 0, &[status("党员")]);
    assert_eq!(
        push(&mut target, &late).map_err(|refusal| refusal.code()),
        Err("consent_missing")
    );
}

#[test]
fn a_record_begins_whole_or_not_at_all() {
    for missing in ["kind", "street", "grid"] {
        let edits: Vec<_> = creation()
            .into_iter()
            .filter(|edit| !matches!(edit, Edit::Put { key, .. } if key == missing))
            .collect();
        let (_, change) = Record::create(actor(0), at(0), &edits).unwrap();
        let mut target = Target::default();
        let refusal = push(&mut target, &change).unwrap_err();
        assert_eq!(
            (refusal.code(), refusal.key()),
            ("creation_incomplete", Some(missing))
        );
        assert!(target.state.is_none());
    }
    let (_, mut change) = Record::create(actor(0), at(0), &creation()).unwrap();
    change
        .ops
        .retain(|op| matches!(op.action, Action::Put { .. }));
    let change = change::decode(&encode(&change)).unwrap();
    let refusal = push(&mut Target::default(), &change).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.key()),
        ("creation_incomplete", Some("note"))
    );
}

#[test]
fn a_foreign_element_cannot_be_edited_into_the_note() {
    let (mut target, mut a) = created();
    let mut change = edit(
        &mut a,
        1,
        &[Edit::Note {
            text: "门口积水了".into(),
        }],
    );
    target.document = Some(NoteDocument::load(&a.save()).unwrap());
    let Action::Insert { after, .. } = &mut change.ops[0].action else {
        panic!("an insertion")
    };
    *after = Some(OpId {
        counter: 2,
        actor: actor(0),
    });
    let change = change::decode(&encode(&change)).unwrap();
    assert_eq!(
        push(&mut target, &change).map_err(|refusal| refusal.code()),
        Err("bad_predecessor")
    );
}

/// Three phones: each step edits one phone's copy, or lets one phone see what another has.
#[derive(Clone, Debug)]
enum Step {
    Edit(u8, Vec<(Index, u8)>),
    See(u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let edits = (0..3_u8, vec((any::<Index>(), any::<u8>()), 1..4))
        .prop_map(|(n, edits)| Step::Edit(n, edits));
    vec(
        prop_oneof![3 => edits, 1 => (0..3_u8, 0..3_u8).prop_map(|(a, b)| Step::See(a, b))],
        1..30,
    )
}

fn arbitrary_edit(which: Index, n: u8) -> Edit {
    let keys = [
        "sign_name",
        "category",
        "unit",
        "tags/a",
        "tags/b",
        "custom/燃气",
        "contacts/0198c0de-0000-7000-8000-00000000000a/name",
        "note",
    ];
    match (keys[which.index(keys.len())], n % 4) {
        ("note", _) => Edit::Note {
            text: ["门口积水", "", "招人", "门口积水，已报𠮷", "👨‍👩‍👧"][usize::from(n) % 5].into(),
        },
        (key, 0) => Edit::Delete { key: key.into() },
        (key, _) if key.starts_with("tags/") => Edit::add(key),
        (key, n) => put(key, ["一", "二", "三"][usize::from(n) - 1]),
    }
}

/// Runs the steps; gives every change made, dependencies first.
fn run(steps: &[Step]) -> Vec<Change> {
    let (first, creating) = Record::create(actor(0), at(0), &creation()).unwrap();
    let mut first = first;
    let mut phones = [fork(&mut first), fork(&mut first), fork(&mut first)];
    let mut made = vec![creating];
    for (time, step) in steps.iter().enumerate() {
        match step {
            Step::Edit(n, edits) => {
                let edits: Vec<_> = edits
                    .iter()
                    .map(|(which, n)| arbitrary_edit(*which, *n))
                    .collect();
                made.extend(
                    phones[usize::from(*n)]
                        .edit(actor(*n), at(time as i64), &edits, "")
                        .unwrap(),
                );
            }
            Step::See(a, b) => {
                let seen = phones[usize::from(*b)].changes();
                phones[usize::from(*a)]
                    .apply(seen.iter().map(Vec::as_slice))
                    .unwrap();
            }
        }
    }
    made
}

/// Delivers the changes in an order drawn by `picks`, each as soon as what it depends on is there, some twice.
fn deliver(changes: &[Change], picks: &[Index]) -> Target {
    let mut target = Target::default();
    let mut waiting: Vec<&Change> = changes.iter().collect();
    let mut picks = picks.iter().cycle();
    while !waiting.is_empty() {
        let first = picks.next().unwrap().index(waiting.len());
        let delivered = (0..waiting.len())
            .map(|offset| (first + offset) % waiting.len())
            .find(|at| {
                let change = waiting[*at];
                if let (true, Some(state), None) =
                    (change.edits_text(), &target.state, &target.document)
                {
                    target.document =
                        Some(NoteDocument::load(&concatenated(changes, state)).unwrap());
                }
                match push(&mut target, change) {
                    Ok(Merged::Accepted) => true,
                    Ok(Merged::Duplicate) => panic!("accepted twice"),
                    Err(refusal) => {
                        assert!(refusal.retryable(), "{refusal:?}");
                        false
                    }
                }
            });
        let change = waiting.remove(delivered.expect("something can always be delivered"));
        assert_eq!(push(&mut target, change), Ok(Merged::Duplicate));
    }
    target
}

/// What the store would send as a snapshot: the accepted changes, one chunk after another.
fn concatenated(changes: &[Change], state: &RegisterState) -> Vec<u8> {
    changes
        .iter()
        .filter(|change| state.contains(change.hash))
        .flat_map(|change| change.bytes.clone())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_and_repetition_reads_as_automerge_reads_it(steps in steps(), picks in vec(any::<Index>(), 50), others in vec(any::<Index>(), 50)) {
        let changes = run(&steps);
        let one = deliver(&changes, &picks);
        let two = deliver(&changes, &others);
        let state = one.state.unwrap();
        let bytes = concatenated(&changes, &state);
        let mut document = Record::load(&bytes).unwrap();
        prop_assert_eq!(state.view(), document.view().unwrap());
        prop_assert_eq!(state.heads(), document.heads());
        prop_assert_eq!(state.view(), two.state.unwrap().view());
        // The document of what the gate passed saves and loads, with the very same changes in it.
        let mut again = Record::load(&document.save()).unwrap();
        prop_assert_eq!(again.heads(), document.heads());
        prop_assert_eq!(again.changes(), document.changes());
    }

    #[test]
    fn what_automerge_writes_passes_the_gate_and_encodes_to_the_same_bytes(steps in steps()) {
        for change in run(&steps) {
            prop_assert_eq!(&encode(&change), &change.bytes);
            let decoded = change::decode(&change.bytes);
            prop_assert_eq!(decoded.as_ref(), Ok(&change));
        }
    }
}
