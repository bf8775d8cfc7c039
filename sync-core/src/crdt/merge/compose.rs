//! Writing a change straight from the register state: what the office's desk and the server's rulings do, thousands at a time, without
//! loading one document.
//!
//! In: the state, who signs, what to write. Out: a change that has seen all of the record, encoded as Automerge encodes it and read back
//! through the gate. It is accepted by [`super::merge`] like a phone's: nothing is written past the rules.

use std::collections::BTreeSet;

use crate::crdt::{
    merge::RegisterState,
    record::{Edit, Record, RecordError, has_note},
};
use crate::{
    codec::change::{self, Action, Change, GateError, Op, OpId, Scalar},
    id::{Actor, ChangeHash},
    key::NOTE,
    time::DeviceTime,
};

/// What a write does to the values that a key holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Replaces {
    /// It replaces them all: an ordinary edit, or the end of a conflict.
    #[default]
    Visible,
    /// It replaces these; values that its author has not looked at stay beside it.
    Only(Vec<OpId>),
    /// It stands beside them: a conflict, if it differs.
    Nothing,
}

/// One register to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Flat key.
    pub key: String,
    /// New value; `None` deletes.
    pub value: Option<Scalar>,
    /// What becomes of the values there are.
    pub replaces: Replaces,
}

impl Write {
    /// An ordinary edit.
    pub fn new(key: impl Into<String>, value: Option<Scalar>) -> Self {
        Self {
            key: key.into(),
            value,
            replaces: Replaces::Visible,
        }
    }
}

/// The change by `actor` that creates a record with these edits, byte for byte as [`Record::create`] has Automerge write it, and read back through the
/// gate: a roll makes a hundred thousand of these.
pub fn created(actor: Actor, at: DeviceTime, edits: &[Edit]) -> Result<Change, RecordError> {
    let has_note = has_note(edits);
    // A key that is named twice, or a note that is edited twice, is for Automerge to make one of.
    let mut keys = BTreeSet::new();
    let mut is_plain = true;
    for edit in edits {
        is_plain &= match edit {
            Edit::Put { key, .. } => key != NOTE && keys.insert(key.as_str()),
            Edit::Note { .. } => has_note && keys.insert(NOTE),
            Edit::Delete { key } => !keys.contains(key.as_str()),
        };
    }
    if !is_plain {
        return Record::create(actor, at, edits).map(|(_, change)| change);
    }
    let mut ops = Vec::with_capacity(edits.len() + 1);
    let mut add = |action| {
        ops.push(Op {
            action,
            pred: Vec::new(),
        });
        OpId {
            counter: ops.len() as u32,
            actor,
        }
    };
    let note = has_note.then(|| {
        let key = NOTE.to_owned();
        add(Action::MakeText { key })
    });
    for edit in edits {
        match (edit, note) {
            (Edit::Put { key, value }, _) => {
                add(Action::Put {
                    key: key.clone(),
                    value: value.clone(),
                });
            }
            (Edit::Note { text }, Some(object)) => {
                let mut after = None;
                for character in text.chars() {
                    after = Some(add(Action::Insert {
                        object,
                        after,
                        text: character.to_string(),
                    }));
                }
            }
            // Nothing is there to delete.
            (Edit::Delete { .. } | Edit::Note { .. }, _) => {}
        }
    }
    let change = Change {
        hash: ChangeHash([0; 32]),
        bytes: Vec::new(),
        actor,
        seq: 1,
        start_op: 1,
        time: Some(at),
        message: String::new(),
        deps: Vec::new(),
        ops,
    };
    Ok(change::decode(&change::encode(&change))?)
}

impl RegisterState {
    /// A change by `actor` that makes `writes`; `None` where the record says so already. Writes that would change nothing are left out.
    pub fn compose(
        &self,
        actor: Actor,
        at: DeviceTime,
        writes: &[Write],
        message: &str,
    ) -> Result<Option<Change>, GateError> {
        let ops: Vec<_> = writes.iter().filter_map(|write| self.op(write)).collect();
        if ops.is_empty() {
            return Ok(None);
        }
        let last = self
            .index
            .actors
            .get(&actor)
            .and_then(|actor| self.last_of(*actor));
        let max_op = self
            .history
            .iter()
            .map(|entry| entry.start_op + entry.ops - 1)
            .max()
            .unwrap_or(0);
        let change = Change {
            hash: ChangeHash([0; 32]),
            bytes: Vec::new(),
            actor,
            seq: last.map_or(0, |at| self.history[at].seq) + 1,
            start_op: max_op + 1,
            time: Some(at),
            message: message.to_owned(),
            deps: self.heads(),
            ops,
        };
        change::decode(&change::encode(&change)).map(Some)
    }

    /// The operations whose values a key holds, ascending, with the values.
    pub fn visible(&self, key: &str) -> Vec<(OpId, Scalar)> {
        let register = self.registers.get(key);
        let mut visible: Vec<_> = register
            .into_iter()
            .flat_map(|register| &register.visible)
            .map(|visible| (self.op_id(visible.op), Scalar::from(&visible.value)))
            .collect();
        visible.sort_by_key(|(op, _)| *op);
        visible
    }

    fn op(&self, write: &Write) -> Option<Op> {
        let visible = self.visible(&write.key);
        let pred: Vec<OpId> = match &write.replaces {
            Replaces::Visible => visible.iter().map(|(op, _)| *op).collect(),
            Replaces::Only(ops) => visible
                .iter()
                .map(|(op, _)| *op)
                .filter(|op| ops.contains(op))
                .collect(),
            Replaces::Nothing => Vec::new(),
        };
        let key = write.key.clone();
        match &write.value {
            Some(value) => {
                let same = match &write.replaces {
                    // Writing what is there already, without a conflict to settle, is no edit.
                    Replaces::Visible | Replaces::Only(_) => {
                        matches!(&visible[..], [(_, held)] if held == value)
                    }
                    Replaces::Nothing => visible.iter().any(|(_, held)| held == value),
                };
                (!same).then(|| Op {
                    action: Action::Put {
                        key,
                        value: value.clone(),
                    },
                    pred,
                })
            }
            None => (!pred.is_empty()).then_some(Op {
                action: Action::Delete { key },
                pred,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::Writer,
        crdt::{
            merge::{Context, Merged, Target, merge},
            record::{Edit, Record},
        },
        id::{DeviceId, StreetCode},
        kinds::Kind,
        time::ServerTime,
    };

    fn actor(n: u8) -> Actor {
        Actor::new(DeviceId(uuid::Uuid::from_bytes([n; 16])), 7)
    }

    fn accept(target: &mut Target, change: &Change) {
        let street: StreetCode = "310104003".parse().unwrap();
        let context = Context {
            street: &street,
            kind: Kind::ShopCard,
            generation: 1,
            device: change.actor.device(),
            writer: Writer::Server,
            received_at: ServerTime::from_unix_ms(1_790_000_000_000),
        };
        assert_eq!(merge(target, change, &context), Ok(Merged::Accepted));
    }

    #[test]
    fn a_created_record_is_written_as_automerge_writes_it() {
        let at = DeviceTime::from_unix_seconds(1_790_000_000);
        let required = [
            Edit::set("kind", "shop_card"),
            Edit::set("street", "310104003"),
            Edit::set("grid", "康平01"),
        ];
        let note = |text: &str| Edit::Note { text: text.into() };
        for more in [
            vec![],
            vec![note("后门常关，𠮷野家👨‍👩‍👧\n第二行")],
            vec![note(""), Edit::add("tags/late_night")],
            vec![
                Edit::set("sign_name", "王记包子"),
                Edit::set("sign_name", "王记"),
                Edit::set("opening_hours", ""),
                Edit::Put {
                    key: "custom/面积".into(),
                    value: Scalar::Int(12),
                },
            ],
            vec![note("一"), note("一二")],
            vec![
                Edit::set("sign_name", "王记包子"),
                note("短"),
                Edit::set("category", "餐饮"),
            ],
        ] {
            let edits: Vec<_> = required.iter().cloned().chain(more).collect();
            let by_automerge = Record::create(actor(1), at, &edits).unwrap().1;
            assert_eq!(created(actor(1), at, &edits).unwrap(), by_automerge);
        }
        let visit = [
            Edit::set("kind", "visit"),
            Edit::set("street", "310104003"),
            Edit::set("grid", "康平01"),
        ];
        let by_automerge = Record::create(actor(1), at, &visit).unwrap().1;
        assert_eq!(created(actor(1), at, &visit).unwrap(), by_automerge);
        let with_note = [visit[0].clone(), note("一")];
        assert!(created(actor(1), at, &with_note).is_err());
    }

    /// Automerge, given the same changes, must read what the state says.
    fn agree(target: &Target, document: &mut Record, changes: &[&Change]) {
        document
            .apply(changes.iter().map(|change| change.bytes.as_slice()))
            .unwrap();
        let state = target.state.as_ref().unwrap();
        assert_eq!(document.view().unwrap(), state.view());
        assert_eq!(document.heads(), state.heads());
        let mut loaded = Record::load(&document.save()).unwrap();
        assert_eq!(loaded.view().unwrap(), state.view());
    }

    #[test]
    fn composed_changes_are_what_automerge_reads() {
        let at = DeviceTime::from_unix_seconds(1_790_000_000);
        let edits = [
            Edit::set("kind", "shop_card"),
            Edit::set("street", "310104003"),
            Edit::set("grid", "康平01"),
            Edit::set("sign_name", "王记包子"),
        ];
        let (mut document, first) = Record::create(actor(1), at, &edits).unwrap();
        let mut target = Target::default();
        accept(&mut target, &first);
        let compose = |target: &Target, n, writes: &[Write]| {
            target
                .state
                .as_ref()
                .unwrap()
                .compose(actor(n), at, writes, "从办公桌改")
                .unwrap()
        };
        // Several actors write beside what is there: a conflict of three.
        let mut written = Vec::new();
        for (n, name) in [(2, "王记包子铺"), (3, "王家包子")] {
            let write = Write {
                key: "sign_name".into(),
                value: Some(name.into()),
                replaces: Replaces::Nothing,
            };
            let change = compose(
                &target,
                n,
                &[
                    write,
                    Write::new("tags/late_night", Some(Scalar::Bool(true))),
                ],
            )
            .unwrap();
            accept(&mut target, &change);
            written.push(change);
        }
        agree(&target, &mut document, &written.iter().collect::<Vec<_>>());
        let visible = target.state.as_ref().unwrap().visible("sign_name");
        assert_eq!(visible.len(), 3);
        assert_eq!(written[1].ops.len(), 1, "the tag was there already");
        // Only what the author looked at is replaced; then all of it; then nothing is left to write.
        let seen = vec![visible[0].0, visible[1].0];
        let some = compose(
            &target,
            2,
            &[Write {
                key: "sign_name".into(),
                value: Some("王记".into()),
                replaces: Replaces::Only(seen),
            }],
        )
        .unwrap();
        accept(&mut target, &some);
        assert_eq!(target.state.as_ref().unwrap().visible("sign_name").len(), 2);
        let all = compose(
            &target,
            4,
            &[
                Write::new("sign_name", Some("王记".into())),
                Write::new("opening_hours", None),
            ],
        )
        .unwrap();
        accept(&mut target, &all);
        agree(&target, &mut document, &[&some, &all]);
        assert_eq!(
            compose(&target, 4, &[Write::new("sign_name", Some("王记".into()))]),
            None
        );
        let gone = compose(&target, 4, &[Write::new("sign_name", None)]).unwrap();
        accept(&mut target, &gone);
        agree(&target, &mut document, &[&gone]);
    }
}
