//! What a change says, twisted, and encoded as Automerge would: such mutants pass the gate often, and are MERGE's to judge.

use lianka_sync_core::{
    codec::change::{Action, Change, Op, OpId, Scalar, encode},
    id::{Actor, ChangeHash},
    time::DeviceTime,
};

use crate::{
    draw::Draw,
    scene::{CONSENT, CONTACT, KEYS, Office, device},
};

const OTHER_KEYS: &[&str] = &[
    "kind",
    "street",
    "grid",
    "note",
    "merged_into",
    "point",
    "occupancy",
    "occupancy_observed_on",
    "nope",
    "",
    "/",
    "tags/",
    "custom/a\u{0}b",
    "contacts/0198c0de-0000-7000-8000-00000000000a/party_status",
    "contacts/not-a-uuid/name",
    "consent/0198c0de-0000-7000-8000-00000000000b/scope",
    "consent/0198c0de-0000-7000-8000-00000000000b/decision",
    "confirmations/2026-02-30",
];

const TEXTS: &[&str] = &[
    "甲",
    "",
    "a\u{0}b",
    "e\u{301}",
    "\u{202e}abc",
    "\u{feff}",
    "\n",
    "\u{fffc}",
    "ab",
    "👨‍👩‍👧",
    "𠮷𠮷",
    "grant",
    "withdraw",
    "party_status",
    "shop_card",
    "310104003",
    "2026-11-20",
    "geo:31.2,121.4;crs=gcj02;u=12",
];

/// One to three twists of one change.
pub fn mutant(change: &Change, office: &Office, draw: &mut Draw) -> Vec<u8> {
    let mut change = change.clone();
    for _ in 0..=draw.below(3) {
        match draw.below(6) {
            0 => header(&mut change, draw),
            1 => deps(&mut change, office, draw),
            2 => order(&mut change, draw),
            3 => insertion(&mut change, office, draw),
            _ => operation(&mut change, office, draw),
        }
    }
    if !draw.one_in(12) {
        tidy(&mut change);
    }
    encode(&change)
}

/// The order that the gate asks for, so that what was twisted is looked at and not how it was written.
fn tidy(change: &mut Change) {
    change.deps.sort_unstable();
    change.deps.dedup();
    for op in &mut change.ops {
        op.pred.sort_unstable();
        op.pred.dedup();
    }
}

fn header(change: &mut Change, draw: &mut Draw) {
    match draw.below(6) {
        0 => change.seq = draw.extreme(change.seq.into()) as u32,
        // Over the limit on purpose, and never so far that our own sums of it overflow.
        1 => {
            change.start_op = draw
                .extreme(change.start_op.into())
                .min(u64::from(u32::MAX) - 100_000) as u32;
        }
        2 => {
            change.time = Some(DeviceTime::from_unix_seconds(
                draw.signed_extreme(1_795_000_000),
            ));
        }
        3 => {
            let text = *draw.pick(TEXTS);
            change.message = text.repeat(draw.extreme(1).min(700) as usize);
        }
        4 => change.actor = Actor::new(device(draw.below(6) as u32), 1 + draw.below(3) as u32),
        _ => change.actor = Actor::new(change.actor.device(), draw.number() as u32),
    }
}

fn deps(change: &mut Change, office: &Office, draw: &mut Draw) {
    let known = office.hashes();
    match draw.below(6) {
        0 => change.deps.clear(),
        1 if !change.deps.is_empty() => {
            let at = draw.below(change.deps.len());
            change.deps.remove(at);
        }
        2 => {
            let mut hash = [0; 32];
            hash.copy_from_slice(&draw.bytes(32));
            change.deps.push(ChangeHash(hash));
        }
        3 if !known.is_empty() => change.deps = vec![*draw.pick(&known)],
        4 => change.deps = known.iter().rev().take(draw.below(70)).copied().collect(),
        _ if !known.is_empty() => change.deps.push(*draw.pick(&known)),
        _ => {}
    }
}

fn order(change: &mut Change, draw: &mut Draw) {
    if change.ops.is_empty() {
        return;
    }
    let (a, b) = (draw.below(change.ops.len()), draw.below(change.ops.len()));
    match draw.below(4) {
        0 => change.ops.swap(a, b),
        1 => drop(change.ops.remove(a)),
        2 => {
            let copy = change.ops[a].clone();
            change.ops.insert(b, copy);
        }
        _ => {
            let mut op = change.ops[a].clone();
            let mut times = draw
                .extreme(1)
                .min(if draw.one_in(20) { 5_001 } else { 40 });
            if let (Action::Put { key, .. }, true) = (&mut op.action, draw.one_in(40)) {
                *key = "k".repeat(250);
                times = 4_000;
            }
            change.ops.splice(b..b, vec![op; times as usize]);
        }
    }
}

fn key(draw: &mut Draw) -> String {
    match draw.below(12) {
        0 => "k".repeat(draw.extreme(256).min(400) as usize),
        1 | 2 => (*draw.pick(OTHER_KEYS)).to_owned(),
        3 => format!(
            "contacts/{CONTACT}/{}",
            draw.pick(&["role", "party_status", "preferred_time", "x"])
        ),
        4 => format!(
            "consent/{CONSENT}/{}",
            draw.pick(&["contact", "wording", "channel", "given_on"])
        ),
        5 => format!("tags/{}", draw.below(5)),
        _ => (*draw.pick(KEYS)).to_owned(),
    }
}

fn value(draw: &mut Draw) -> Scalar {
    match draw.below(8) {
        0 => Scalar::Bool(draw.one_in(2)),
        1 => Scalar::Int(draw.signed_extreme(0)),
        2 => Scalar::Str("长".repeat(draw.extreme(40).min(1_500) as usize)),
        _ => Scalar::Str((*draw.pick(TEXTS)).to_owned()),
    }
}

/// An operation of the record, of this change, or of nobody.
fn op_id(change: &Change, office: &Office, draw: &mut Draw, near: &[OpId]) -> OpId {
    match draw.below(8) {
        0 => change.op_id(draw.below(change.ops.len().max(1))),
        1 => OpId {
            counter: draw.extreme(change.start_op.into()) as u32,
            actor: change.actor,
        },
        2 => OpId {
            counter: 1 + draw.below(60) as u32,
            actor: Actor::new(device(draw.below(6) as u32), 1),
        },
        3 if !office.changes.is_empty() => {
            let other = draw.pick(&office.changes);
            other.op_id(draw.below(other.ops.len().max(1)))
        }
        _ if !near.is_empty() => *draw.pick(near),
        _ => change.op_id(0),
    }
}

fn operation(change: &mut Change, office: &Office, draw: &mut Draw) {
    let Some(last) = change.ops.len().checked_sub(1) else {
        return;
    };
    let at = draw.place(last);
    let mut op = change.ops[at].clone();
    match (&mut op.action, draw.below(4)) {
        (Action::Put { key: on, .. } | Action::Delete { key: on }, 0)
        | (Action::MakeText { key: on }, _) => *on = key(draw),
        (Action::Put { value: held, .. }, 1) => *held = value(draw),
        (Action::Put { key, .. }, 2) => {
            op.action = Action::Delete {
                key: std::mem::take(key),
            }
        }
        (Action::Delete { key }, 1 | 2) => {
            op.action = Action::Put {
                key: std::mem::take(key),
                value: value(draw),
            }
        }
        (Action::Put { key: on, .. } | Action::Delete { key: on }, _) => {
            let mut near = office.ops_on(on);
            near.extend(own_ops_on(change, on));
            predecessors(&mut op.pred, draw, |draw| {
                op_id(change, office, draw, &near)
            });
        }
        (Action::Insert { text, .. }, 0 | 1) => (*draw.pick::<&str>(TEXTS)).clone_into(text),
        (Action::Insert { after, .. }, 2) => {
            *after = Some(op_id(change, office, draw, &elements(change, office)));
        }
        (Action::Remove { element, .. }, 0..=2) => {
            *element = op_id(change, office, draw, &elements(change, office));
            op.pred = vec![*element];
        }
        (Action::Insert { object, .. } | Action::Remove { object, .. }, _) => {
            *object = op_id(change, office, draw, &notes(change, office));
        }
    }
    change.ops[at] = op;
}

fn predecessors(pred: &mut Vec<OpId>, draw: &mut Draw, make: impl Fn(&mut Draw) -> OpId) {
    match draw.below(4) {
        0 => pred.clear(),
        1 if !pred.is_empty() => {
            let at = draw.below(pred.len());
            pred.remove(at);
        }
        2 => pred.extend((0..draw.below(70)).map(|_| make(draw)).collect::<Vec<_>>()),
        _ => pred.push(make(draw)),
    }
}

fn own_ops_on(change: &Change, key: &str) -> Vec<OpId> {
    let on = |op: &Op| matches!(&op.action, Action::Put { key: on, .. } if on == key);
    change
        .ops
        .iter()
        .enumerate()
        .filter(|(_, op)| on(op))
        .map(|(at, _)| change.op_id(at))
        .collect()
}

fn elements(change: &Change, office: &Office) -> Vec<OpId> {
    let inserts = |action: &Action| matches!(action, Action::Insert { .. });
    let mut ids = office.ops(inserts);
    ids.extend(
        change
            .ops
            .iter()
            .enumerate()
            .filter(|(_, op)| inserts(&op.action))
            .map(|(at, _)| change.op_id(at)),
    );
    ids
}

fn notes(change: &Change, office: &Office) -> Vec<OpId> {
    let makes = |action: &Action| matches!(action, Action::MakeText { .. });
    let mut ids = office.ops(makes);
    ids.extend(
        change
            .ops
            .iter()
            .enumerate()
            .filter(|(_, op)| makes(&op.action))
            .map(|(at, _)| change.op_id(at)),
    );
    ids
}

/// An operation put where none was.
fn insertion(change: &mut Change, office: &Office, draw: &mut Draw) {
    let object = notes(change, office)
        .first()
        .copied()
        .unwrap_or_else(|| change.op_id(0));
    let elements = elements(change, office);
    let op = match draw.below(6) {
        0 => {
            let key = key(draw);
            let near = office.ops_on(&key);
            let pred = (0..draw.below(3))
                .map(|_| op_id(change, office, draw, &near))
                .collect();
            Op {
                action: Action::Put {
                    key,
                    value: value(draw),
                },
                pred,
            }
        }
        1 => {
            let key = key(draw);
            let pred = office.ops_on(&key);
            Op {
                action: Action::Delete { key },
                pred,
            }
        }
        2 => Op {
            action: Action::MakeText {
                key: if draw.one_in(2) {
                    "note".into()
                } else {
                    key(draw)
                },
            },
            pred: vec![],
        },
        3 | 4 => {
            let after = (!draw.one_in(3)).then(|| op_id(change, office, draw, &elements));
            Op {
                action: Action::Insert {
                    object,
                    after,
                    text: (*draw.pick(TEXTS)).to_owned(),
                },
                pred: vec![],
            }
        }
        _ => {
            let element = op_id(change, office, draw, &elements);
            Op {
                action: Action::Remove { object, element },
                pred: vec![element],
            }
        }
    };
    let at = if draw.one_in(2) {
        change.ops.len()
    } else {
        draw.place(change.ops.len())
    };
    change.ops.insert(at, op);
}
