//! Which of the values that stand side by side is shown, and what is known of where each came from.

use crate::crdt::merge::tests::*;
use crate::{
    id::RecordId,
    kinds::projection::{self, Projected},
};

const CUSTOM: &str = "custom/燃气";

fn written(value: &str) -> Vec<Edit> {
    vec![put("unit", value), put(CUSTOM, value)]
}

/// One word for what every reader of a record shows; they may not differ.
fn shown(target: &Target, document: &mut Record) -> String {
    let state = target.state.as_ref().unwrap();
    let view = state.view();
    assert_eq!(document.view().unwrap(), view);
    let Some(Projected::ShopCard(row)) =
        projection::project(RecordId(Uuid::from_u128(1)), 1, &view)
    else {
        panic!("a card")
    };
    let automerge = Record::load(&document.save()).unwrap().view().unwrap();
    let readings = [
        state.text("unit").map(str::to_owned),
        view.text("unit").map(str::to_owned),
        view.members("custom")
            .find_map(|(_, value)| value.as_str().map(str::to_owned)),
        row.unit,
        row.custom.get("燃气").cloned(),
        automerge.text("unit").map(str::to_owned),
    ];
    let first = readings[0].clone().unwrap();
    assert!(
        readings
            .iter()
            .all(|reading| reading.as_deref() == Some(first.as_str())),
        "{readings:?}"
    );
    first
}

#[test]
fn the_highest_counter_wins_and_then_the_highest_actor() {
    for (loser, winner) in [(1, 2), (2, 1)] {
        let (mut target, mut a) = created();
        let mut b = fork(&mut a);
        if winner < loser {
            // It had done one thing more.
            push(&mut target, &edit(&mut b, winner, &[put("lane", "5")])).unwrap();
        }
        let (one, two) = (
            edit(&mut a, loser, &written("一")),
            edit(&mut b, winner, &written("二")),
        );
        assert_eq!(one.op_id(0).counter < two.op_id(0).counter, winner < loser);
        for change in [&two, &one] {
            push(&mut target, change).unwrap();
        }
        b.apply([one.bytes.as_slice()]).unwrap();
        assert_eq!(shown(&target, &mut b), "二", "{winner} over {loser}");
    }
}

#[test]
fn every_value_tells_its_change_its_author_and_its_times() {
    let (mut target, mut a) = created();
    let street = street();
    let mut accept = |change: &Change, received: i64| {
        let context = Context {
            device: change.actor.device(),
            received_at: ServerTime::from_unix_ms(received),
            ..context(&street, 0)
        };
        merge(&mut target, change, &context).unwrap();
    };
    let changes = [(1, "1室"), (1, "2室"), (2, "3室"), (1, "4室")]
        .map(|(n, unit)| edit(&mut a, n, &[put("unit", unit), put("lane", unit)]));
    for (n, change) in changes.iter().enumerate() {
        accept(change, 1_000 + n as i64);
    }
    let state = target.state.unwrap();
    let stored = RegisterState::from_bytes(&state.to_bytes()).unwrap();
    for state in [state, stored] {
        assert_eq!(
            state.created_at(),
            Some(ServerTime::from_unix_ms(1_795_000_000_000))
        );
        for (n, change) in changes.iter().enumerate() {
            let received_at = ServerTime::from_unix_ms(1_000 + n as i64);
            for index in 0..2 {
                let op = change.op_id(index);
                let from = state.provenance(op).unwrap();
                assert_eq!(
                    (from.hash, from.device, from.device_time),
                    (change.hash, change.actor.device(), change.time),
                    "{n} {index}"
                );
                assert_eq!(from.received_at, received_at);
                let name = format!("{}@{}", op.counter, hex::encode(op.actor.as_bytes()));
                assert_eq!(state.received_at(&name), Some(received_at));
            }
        }
        let beyond = changes[3].op_id(1);
        assert_eq!(
            state.provenance(OpId {
                counter: beyond.counter + 1,
                ..beyond
            }),
            None
        );
        assert_eq!(
            state.provenance(OpId {
                counter: 1,
                ..beyond
            }),
            None,
            "another's"
        );
        assert_eq!(
            state.provenance(OpId {
                actor: actor(9),
                ..beyond
            }),
            None
        );
    }
}

#[test]
fn a_state_knows_its_conflicts() {
    let (mut target, mut a) = created();
    let mut b = fork(&mut a);
    let conflicts = |target: &Target| {
        let state = target.state.as_ref().unwrap();
        assert_eq!(
            state.has_conflicts(),
            crate::kinds::conflicts(&state.view()).count() > 0
        );
        state.has_conflicts()
    };
    // Members of a set and equal values are none.
    for (record, n) in [(&mut a, 1), (&mut b, 2)] {
        let change = edit(record, n, &[Edit::add("tags/a"), put("lane", "5")]);
        push(&mut target, &change).unwrap();
    }
    assert!(!conflicts(&target));
    push(&mut target, &edit(&mut a, 1, &[put("unit", "1室")])).unwrap();
    assert!(!conflicts(&target));
    push(&mut target, &edit(&mut b, 2, &[put("unit", "2室")])).unwrap();
    assert!(conflicts(&target));
}

/// A desk's change has seen all there is: it leaves one head, and may replace whatever stands there.
#[test]
fn what_is_composed_has_seen_every_head() {
    let (mut target, mut a) = created();
    let mut heads = Vec::new();
    for n in (1..=5).rev() {
        let change = edit(
            &mut fork(&mut a),
            n,
            &written(["一", "二", "三", "四", "五"][usize::from(n) - 1]),
        );
        push(&mut target, &change).unwrap();
        heads.push(change.hash);
    }
    heads.sort_unstable();
    assert_eq!(target.state.as_ref().unwrap().heads(), heads);
    let composed = target
        .state
        .as_ref()
        .unwrap()
        .compose(
            actor(9),
            at(9),
            &[Write::new("unit", Some("九".into()))],
            "",
        )
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            composed.deps.clone(),
            composed.ops[0].pred.len(),
            composed.time
        ),
        (heads, 5, Some(at(9)))
    );
    assert_eq!(push(&mut target, &composed), Ok(Merged::Accepted));
    let state = target.state.unwrap();
    assert_eq!(
        (
            state.heads(),
            state.visible("unit").len(),
            state.visible(CUSTOM).len()
        ),
        (vec![composed.hash], 1, 5)
    );
}

/// What is stored and read again goes on as if it had never left, and knows every author once.
#[test]
fn a_stored_state_goes_on_where_it_stopped() {
    let (mut target, mut a) = created();
    let mut bytes = target.state.as_ref().unwrap().bytes;
    for n in 0..9_u8 {
        let change = edit(&mut a, 1 + n % 3, &[put("unit", &format!("{n}室"))]);
        assert_eq!(push(&mut target, &change), Ok(Merged::Accepted));
        bytes += change.bytes.len() as u64;
        let state = target.state.take().unwrap();
        let stored = RegisterState::from_bytes(&state.to_bytes()).unwrap();
        assert_eq!(stored, state);
        assert_eq!(
            (stored.actors.len(), stored.len(), stored.bytes),
            (usize::from(n.min(2)) + 2, usize::from(n) + 2, bytes)
        );
        target.state = Some(stored);
    }
    assert_eq!(target.state.unwrap().view(), a.view().unwrap());
}

#[test]
fn a_change_without_a_time_has_none() {
    let (mut target, mut a) = created();
    let change = a
        .edit(
            actor(1),
            DeviceTime::from_unix_seconds(0),
            &[put("unit", "1室")],
            "",
        )
        .unwrap()
        .unwrap();
    assert_eq!(push(&mut target, &change), Ok(Merged::Accepted));
    let state = target.state.unwrap();
    assert_eq!(state.provenance(change.op_id(0)).unwrap().device_time, None);
    assert_eq!(state.view().values["unit"][0].time, None);
}

#[test]
fn a_refusal_names_the_key_that_it_is_about() {
    let key = || "unit".to_owned();
    for refusal in [
        Refusal::Gate(GateError::NestedObject { key: key() }),
        Refusal::Gate(GateError::ValueType { key: key() }),
        Refusal::BadPredecessor { key: key() },
        Refusal::Redacted { key: key() },
        Refusal::field("unit", FieldError::Empty),
    ] {
        assert_eq!(refusal.key(), Some("unit"), "{refusal:?}");
    }
    assert_eq!(Refusal::Gate(GateError::Checksum).key(), None);
    assert_eq!(Refusal::RecordFull.key(), None);
}
