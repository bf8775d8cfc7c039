//! Every limit of the gate holds to its last unit: that much passes, one more does not.

use crate::codec::change::tests::*;

fn put(key: &str, value: &str) -> Op {
    Op {
        action: Action::Put {
            key: key.into(),
            value: value.into(),
        },
        pred: vec![],
    }
}

fn id(counter: u32) -> OpId {
    OpId {
        counter,
        actor: actor(),
    }
}

/// An edit without anything that counts towards a limit.
fn edit(forge: impl FnOnce(&mut Change)) -> Vec<u8> {
    forged(|change| {
        change.ops = vec![put("unit", "1室")];
        forge(change);
    })
}

#[track_caller]
fn holds(max: usize, code: &str, forge: impl Fn(&mut Change, usize)) {
    let last = edit(|change| forge(change, max));
    assert_eq!(decode(&last).map(|change| change.bytes), Ok(last));
    refused(&edit(|change| forge(change, max + 1)), code);
}

#[test]
fn counts_hold_to_the_last_one() {
    const LARGE: &str = "change_too_large";
    holds(limits::CHANGE_DEPS_MAX, LARGE, |c, n| {
        c.deps = (0..n).map(|n| ChangeHash([n as u8; 32])).collect();
    });
    holds(limits::CHANGE_MESSAGE_BYTES_MAX, LARGE, |c, n| {
        c.message = "x".repeat(n);
    });
    holds(limits::KEY_BYTES_MAX, LARGE, |c, n| {
        c.ops = vec![put(&"k".repeat(n), "x")];
    });
    holds(limits::VALUE_BYTES_MAX, LARGE, |c, n| {
        c.ops = vec![put("unit", &"x".repeat(n))];
    });
    holds(limits::CHANGE_OPS_MAX, LARGE, |c, n| {
        c.ops = vec![put("k", "x"); n];
    });
    holds(limits::OP_PREDS_MAX, LARGE, |c, n| {
        c.ops[0].pred = (1..=n as u32).map(id).collect();
    });
    let other = |n: usize| Actor::new(DeviceId(Uuid::from_u128(n as u128)), 1);
    // The author is one of them.
    holds(limits::CHANGE_ACTORS_MAX, LARGE, |c, n| {
        c.ops[0].pred = (1..n)
            .map(|n| OpId {
                counter: 1,
                actor: other(n),
            })
            .collect();
    });
    holds(limits::CHANGE_PREDS_MAX, LARGE, |c, n| {
        c.ops = vec![
            Op {
                pred: vec![id(1), id(2)],
                ..put("k", "x")
            };
            n / 2
        ];
        c.ops[0].pred.extend((0..n % 2).map(|_| id(3)));
    });
    // Keys that stand in one run, written out.
    let run = limits::CHANGE_BYTES_MAX / limits::KEY_BYTES_MAX;
    holds(run, LARGE, |c, n| {
        c.ops = vec![put(&"k".repeat(limits::KEY_BYTES_MAX), "x"); n];
    });
}

#[test]
fn numbers_hold_to_the_last_one() {
    const RANGE: &str = "out_of_range";
    holds(limits::ACTOR_SEQ_MAX as usize, RANGE, |c, n| {
        c.seq = n as u32;
    });
    holds(limits::CHANGE_TIME_SECONDS_MAX as usize, RANGE, |c, n| {
        c.time = Some(DeviceTime::from_unix_seconds(n as i64));
    });
    holds(limits::OP_COUNTER_MAX as usize, RANGE, |c, n| {
        c.ops[0].pred = vec![id(n as u32)];
    });
    // Whoever comes next still finds a counter.
    holds(limits::OP_COUNTER_MAX as usize, RANGE, |c, n| {
        (c.start_op, c.ops) = (n as u32 - 3, vec![put("k", "x"); 3]);
    });
    refused(&edit(|c| c.ops[0].pred = vec![id(0)]), RANGE);
    assert_eq!(
        decode(&edit(|c| c.time = None)).map(|change| change.time),
        Ok(None)
    );
}

/// A change of exactly so many bytes.
fn sized(bytes: usize) -> Vec<u8> {
    let with = |length: usize| {
        edit(|c| {
            c.ops = [
                vec![put("k", &"x".repeat(3_800)); 17],
                vec![put("k", &"x".repeat(length))],
            ]
            .concat();
        })
    };
    let length = 500 + bytes - with(500).len();
    let sized = with(length);
    assert_eq!(sized.len(), bytes);
    sized
}

#[test]
fn bytes_hold_to_the_last_one_however_they_are_packed() {
    let max = limits::CHANGE_BYTES_MAX;
    let packed = |bytes: &[u8]| deflated(Chunk::parse(bytes).unwrap().body);
    let last = sized(max);
    assert_eq!(decode(&last).map(|change| change.bytes.len()), Ok(max));
    refused(&sized(max + 1), "change_too_large");
    // What is kept and sent on is the plain form: everybody's gate must take that one too.
    assert_eq!(decode(&packed(&last)).map(|change| change.bytes), Ok(last));
    for over in [1, 5, 13, 14, 100] {
        refused(&packed(&sized(max + over)), "change_too_large");
    }
}

#[test]
fn one_change_is_spelled_in_one_way() {
    let change = honest();
    let plain = body(&change);
    assert_eq!(plain[0], 0, "no dependencies");
    let longer = [&[0x80, 0x00], &plain[1..]].concat();
    refused(&chunk(CHUNK_CHANGE, &longer, &longer), "not_canonical");
    refused(&deflated(&longer), "not_canonical");
    // The length of the chunk, which the hash does not cover.
    let (head, rest) = change.bytes.split_at(9);
    let (mut length, mut after) = (Vec::new(), rest);
    column::write_uleb(&mut length, column::read_uleb(&mut after).unwrap());
    *length.last_mut().unwrap() |= 0x80;
    refused(&[head, &length, &[0], after].concat(), "not_canonical");
    // Something behind the deflated body, which the checksum does not cover.
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&plain).unwrap();
    refused(
        &chunk(
            CHUNK_DEFLATED,
            &[encoder.finish().unwrap(), vec![0]].concat(),
            &plain,
        ),
        "malformed_change",
    );
}

#[test]
fn every_byte_of_the_checksum_counts() {
    for at in 4..8 {
        for mut bytes in [honest().bytes, deflated(&body(&honest()))] {
            bytes[at] ^= 0x80;
            refused(&bytes, "checksum_mismatch");
        }
    }
}

#[test]
fn a_record_has_one_text() {
    let text = || Op {
        action: Action::MakeText { key: "note".into() },
        pred: vec![],
    };
    assert!(decode(&edit(|c| c.ops = vec![text()])).is_ok());
    refused(
        &edit(|c| c.ops = vec![text(), text()]),
        "operation_not_allowed",
    );
}

#[test]
fn predecessors_are_named_once_and_in_order() {
    let other = |n: u128| Actor::new(DeviceId(Uuid::from_u128(n)), 1);
    let pred = |ids: &[(u32, u128)]| {
        ids.iter()
            .map(|(counter, n)| OpId {
                counter: *counter,
                actor: other(*n),
            })
            .collect::<Vec<_>>()
    };
    assert!(
        decode(&edit(|c| c.ops[0].pred = pred(&[(1, 2), (2, 1)]))).is_ok(),
        "the counter goes before the actor"
    );
    refused(
        &edit(|c| c.ops[0].pred = pred(&[(2, 1), (1, 2)])),
        "not_canonical",
    );
    refused(
        &edit(|c| c.ops[0].pred = pred(&[(1, 2), (1, 1)])),
        "not_canonical",
    );
}

/// Automerge writes no such operation; what it would make of one is nobody's to find out.
#[test]
fn a_character_replaces_nothing_and_a_removal_only_itself() {
    let of_note = |found: fn(&Action) -> bool, pred: Vec<OpId>| {
        forged(|c| c.ops.iter_mut().find(|op| found(&op.action)).unwrap().pred = pred)
    };
    refused(
        &of_note(
            |action| matches!(action, Action::Insert { .. }),
            vec![id(1)],
        ),
        "operation_not_allowed",
    );
    let element = honest().op_id(honest().ops.len() - 1);
    let removal = |pred: Vec<OpId>| {
        edit(|c| {
            (c.start_op, c.ops) = (
                99,
                vec![Op {
                    action: Action::Remove {
                        object: id(5),
                        element,
                    },
                    pred,
                }],
            );
        })
    };
    assert!(decode(&removal(vec![element])).is_ok());
    for pred in [vec![], vec![id(1)], vec![id(1), element]] {
        refused(&removal(pred), "operation_not_allowed");
    }
}

#[test]
fn what_a_record_consists_of_passes() {
    let delete = Op {
        action: Action::Delete { key: "unit".into() },
        pred: vec![id(3)],
    };
    assert_eq!(
        decode(&edit(|c| c.ops = vec![delete.clone()])).map(|change| change.ops),
        Ok(vec![delete])
    );
    for value in [
        Scalar::Bool(true),
        Scalar::Bool(false),
        Scalar::Int(-1),
        Scalar::Int(i64::MIN),
        Scalar::Int(i64::MAX),
        "".into(),
    ] {
        let put = Op {
            action: Action::Put {
                key: "k".into(),
                value,
            },
            pred: vec![],
        };
        assert_eq!(
            decode(&edit(|c| c.ops = vec![put.clone()])).map(|change| change.ops),
            Ok(vec![put])
        );
    }
}
