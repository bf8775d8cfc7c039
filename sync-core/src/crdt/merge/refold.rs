//! A register state folded anew from the changes of a generation that the server itself wrote ([`crate::crdt::rebuild`]).
//!
//! Nothing is refused here: every operation was accepted once, under the rules of its day. What the fold yields is compared with what the
//! record said before and with what Automerge reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::crdt::merge::{Accepted, Index, OpRef, Register, RegisterState, Visible};
use crate::{
    codec::change::{Action, Change, OpId, Scalar},
    id::{ChangeHash, EntryId},
    key::NOTE,
    kinds::{Key, Kind, Rule},
    time::ServerTime,
};

/// What a refolded state takes over from the one before.
pub(crate) struct Refold<'r> {
    pub(crate) kind: Kind,
    pub(crate) generation: u32,
    pub(crate) redacted: BTreeSet<EntryId>,
    pub(crate) note: String,
    /// In causal order.
    pub(crate) changes: &'r [(Change, ServerTime)],
}

impl RegisterState {
    /// Folds the changes; `None` where one names what is not there, which no rebuild writes.
    pub(crate) fn refold(from: Refold<'_>) -> Option<Self> {
        let mut state = Self {
            kind: from.kind,
            generation: from.generation,
            actors: Vec::new(),
            history: Vec::new(),
            heads: Vec::new(),
            registers: BTreeMap::new(),
            note_object: OpRef {
                counter: 0,
                actor: 0,
            },
            note: from.note,
            bytes: 0,
            redacted: from.redacted,
            index: Index::default(),
        };
        for (change, received_at) in from.changes {
            state.replay(change, *received_at)?;
        }
        Some(state)
    }

    fn replay(&mut self, change: &Change, received_at: ServerTime) -> Option<()> {
        let deps = change
            .deps
            .iter()
            .map(|hash| self.index_of(*hash))
            .collect::<Option<Vec<_>>>()?;
        let author = self.intern(change.actor);
        let mut note_object = None;
        for (index, op) in change.ops.iter().enumerate() {
            let id = OpRef {
                counter: change.op_id(index).counter,
                actor: author,
            };
            match &op.action {
                Action::Put { key, value } => self.replay_write(key, Some(value), &op.pred, id)?,
                Action::Delete { key } => self.replay_write(key, None, &op.pred, id)?,
                Action::MakeText { key } if key == NOTE => note_object = Some(id.counter),
                Action::MakeText { .. } => return None,
                Action::Insert { .. } | Action::Remove { .. } => {}
            }
        }
        self.accept(
            Accepted {
                deps,
                registers: BTreeMap::new(),
                note_object,
            },
            change,
            received_at,
        );
        Some(())
    }

    fn replay_write(
        &mut self,
        key: &str,
        value: Option<&Scalar>,
        pred: &[OpId],
        id: OpRef,
    ) -> Option<()> {
        let replaced = pred
            .iter()
            .map(|op| self.find(*op))
            .collect::<Option<Vec<_>>>()?;
        let register: &mut Register = self.registers.entry(key.to_owned()).or_default();
        for op in replaced {
            if let Some(at) = register.visible.iter().position(|visible| visible.op == op) {
                register.visible.swap_remove(at);
                if let Err(at) = register.overwritten.binary_search(&op) {
                    register.overwritten.insert(at, op);
                }
            } else if register.overwritten.binary_search(&op).is_err() {
                return None;
            }
        }
        if let Some(value) = value {
            register.visible.push(Visible {
                op: id,
                value: value.into(),
            });
        }
        Some(())
    }

    /// Every accepted change in the order of acceptance, and when that was.
    pub fn accepted(&self) -> impl Iterator<Item = (ChangeHash, ServerTime)> {
        self.history
            .iter()
            .map(|entry| (entry.hash, ServerTime::from_unix_ms(entry.received_ms)))
    }

    /// The entries that stand for a person who was redacted: nothing is written to them any more.
    pub fn redacted(&self) -> &BTreeSet<EntryId> {
        &self.redacted
    }

    /// Whether writing `value` to `key` would bring a redacted person back: a field of their entry, or a consent that names them.
    pub fn is_redacted(&self, key: &str, value: Option<&Scalar>) -> bool {
        if self.redacted.is_empty() {
            return false;
        }
        let Some((field, parsed)) = self.kind.field(key) else {
            return false;
        };
        let own = matches!(parsed, Key::Entry { entry, .. } if self.redacted.contains(&entry));
        let named = || {
            value
                .and_then(Scalar::as_str)
                .and_then(|text| text.parse().ok())
                .is_some_and(|entry| self.redacted.contains(&entry))
        };
        own || (field.rule == Rule::Entry && named())
    }

    /// The entry and every other one that names it: what the record holds about one person.
    pub fn entries_of_person(&self, person: EntryId) -> BTreeSet<EntryId> {
        let spelled = person.to_string();
        let naming = self.registers.iter().filter_map(|(key, register)| {
            let (field, Key::Entry { entry, .. }) = self.kind.field(key)? else { return None };
            let names = |visible: &Visible| matches!(&visible.value, super::StoredScalar::Str(text) if *text == spelled);
            (field.rule == Rule::Entry && register.visible.iter().any(names)).then_some(entry)
        });
        naming.chain([person]).collect()
    }

    /// Whether anything of this person was ever written.
    pub fn has_person(&self, person: EntryId) -> bool {
        self.kind.persons().is_some_and(|list| {
            self.registers
                .keys()
                .any(|key| matches!(Key::parse(key), Some(Key::Entry { list: of, entry, .. }) if of == list && entry == person))
        })
    }
}
