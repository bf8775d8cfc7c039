//! The canonical encoding of a change, as Automerge writes it.
//!
//! It serves the gate (decode, encode, compare) and whoever wants to forge a change for a test. Records are written by
//! [`crate::crdt::record`], which uses Automerge itself.

use std::collections::BTreeSet;

use crate::codec::change::{
    Action, Change, OpId, Scalar,
    column::{
        ACTION, ACTION_DELETE, ACTION_MAKE_TEXT, ACTION_PUT, INSERT, KEY_ACTOR, KEY_COUNTER,
        KEY_STRING, OBJECT_ACTOR, OBJECT_COUNTER, PRED_ACTOR, PRED_COUNT, PRED_COUNTER, VALUE,
        VALUE_FALSE, VALUE_INT, VALUE_META, VALUE_NULL, VALUE_STRING, VALUE_TRUE, write_leb,
        write_uleb,
    },
    hash_of, plain_chunk,
};
use crate::id::{Actor, ChangeHash};

/// The bytes of `change` as an uncompressed chunk. Reads everything but `hash` and `bytes`.
pub fn encode(change: &Change) -> Vec<u8> {
    encode_known(change).1
}

/// The same, with what the change is known by.
pub(in crate::codec) fn encode_known(change: &Change) -> (ChangeHash, Vec<u8>) {
    let actors = actor_table(change);
    // Every actor of an operation is in the table by construction.
    let index = |actor: &Actor| actors.iter().position(|known| known == actor).unwrap_or(0) as u64;
    let mut columns = Rows::default();
    for op in &change.ops {
        columns.push(&op.action, &op.pred, &index);
    }
    let mut body = Vec::with_capacity(256);
    write_uleb(&mut body, change.deps.len() as u64);
    for dep in &change.deps {
        body.extend(dep.0);
    }
    write_bytes(&mut body, change.actor.as_bytes());
    write_uleb(&mut body, u64::from(change.seq));
    write_uleb(&mut body, u64::from(change.start_op));
    write_leb(
        &mut body,
        change.time.map_or(0, crate::time::DeviceTime::unix_seconds),
    );
    write_bytes(&mut body, change.message.as_bytes());
    write_uleb(&mut body, actors.len() as u64 - 1);
    for actor in &actors[1..] {
        write_bytes(&mut body, actor.as_bytes());
    }
    let columns = columns.finish();
    let present = || columns.iter().filter(|(_, data)| !data.is_empty());
    write_uleb(&mut body, present().count() as u64);
    for (spec, data) in present() {
        write_uleb(&mut body, u64::from(*spec));
        write_uleb(&mut body, data.len() as u64);
    }
    for (_, data) in present() {
        body.extend(data);
    }
    let hash = hash_of(&body);
    (hash, plain_chunk(hash, &body))
}

/// The author, then every other actor that an operation names, ascending.
fn actor_table(change: &Change) -> Vec<Actor> {
    let mut others = BTreeSet::new();
    for op in &change.ops {
        others.extend(op.pred.iter().map(|id| id.actor));
        match &op.action {
            Action::Insert { object, after, .. } => {
                others.insert(object.actor);
                others.extend(after.map(|id| id.actor));
            }
            Action::Remove { object, element } => {
                others.insert(object.actor);
                others.insert(element.actor);
            }
            Action::Put { .. } | Action::Delete { .. } | Action::MakeText { .. } => {}
        }
    }
    others.remove(&change.actor);
    std::iter::once(change.actor).chain(others).collect()
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_uleb(out, bytes.len() as u64);
    out.extend(bytes);
}

#[derive(Default)]
struct Rows {
    object_actor: Vec<Option<u64>>,
    object_counter: Vec<Option<u64>>,
    key_actor: Vec<Option<u64>>,
    key_counter: Vec<Option<i64>>,
    key_string: Vec<Option<String>>,
    insert: Vec<bool>,
    action: Vec<Option<u64>>,
    value_meta: Vec<Option<u64>>,
    value: Vec<u8>,
    pred_count: Vec<Option<u64>>,
    pred_actor: Vec<Option<u64>>,
    pred_counter: Vec<Option<i64>>,
}

impl Rows {
    fn push(&mut self, action: &Action, pred: &[OpId], index: &impl Fn(&Actor) -> u64) {
        let (object, key, element, insert, code) = match action {
            Action::Put { key, .. } => (None, Some(key), None, false, ACTION_PUT),
            Action::Delete { key } => (None, Some(key), None, false, ACTION_DELETE),
            Action::MakeText { key } => (None, Some(key), None, false, ACTION_MAKE_TEXT),
            Action::Insert { object, after, .. } => {
                (Some(object), None, Some(*after), true, ACTION_PUT)
            }
            Action::Remove { object, element } => (
                Some(object),
                None,
                Some(Some(*element)),
                false,
                ACTION_DELETE,
            ),
        };
        self.object_actor.push(object.map(|id| index(&id.actor)));
        self.object_counter
            .push(object.map(|id| u64::from(id.counter)));
        self.key_actor
            .push(element.flatten().map(|id| index(&id.actor)));
        self.key_counter
            .push(element.map(|id| id.map_or(0, |id| i64::from(id.counter))));
        self.key_string.push(key.cloned());
        self.insert.push(insert);
        self.action.push(Some(code));
        let before = self.value.len();
        let value_type = match action {
            Action::Put { value, .. } => self.push_scalar(value),
            Action::Insert { text, .. } => {
                self.value.extend(text.as_bytes());
                VALUE_STRING
            }
            Action::Delete { .. } | Action::MakeText { .. } | Action::Remove { .. } => VALUE_NULL,
        };
        self.value_meta
            .push(Some(((self.value.len() - before) as u64) << 4 | value_type));
        self.pred_count.push(Some(pred.len() as u64));
        self.pred_actor
            .extend(pred.iter().map(|id| Some(index(&id.actor))));
        self.pred_counter
            .extend(pred.iter().map(|id| Some(i64::from(id.counter))));
    }

    fn push_scalar(&mut self, value: &Scalar) -> u64 {
        match value {
            Scalar::Bool(false) => VALUE_FALSE,
            Scalar::Bool(true) => VALUE_TRUE,
            Scalar::Int(value) => {
                write_leb(&mut self.value, *value);
                VALUE_INT
            }
            Scalar::Str(text) => {
                self.value.extend(text.as_bytes());
                VALUE_STRING
            }
        }
    }

    fn finish(self) -> [(u32, Vec<u8>); 12] {
        let uleb = |out: &mut Vec<u8>, value: &u64| write_uleb(out, *value);
        let leb = |out: &mut Vec<u8>, value: &i64| write_leb(out, *value);
        let text = |out: &mut Vec<u8>, value: &String| write_bytes(out, value.as_bytes());
        [
            (OBJECT_ACTOR, run_length(&self.object_actor, uleb)),
            (OBJECT_COUNTER, run_length(&self.object_counter, uleb)),
            (KEY_ACTOR, run_length(&self.key_actor, uleb)),
            (KEY_COUNTER, run_length(&delta(&self.key_counter), leb)),
            (KEY_STRING, run_length(&self.key_string, text)),
            (INSERT, booleans(&self.insert)),
            (ACTION, run_length(&self.action, uleb)),
            (VALUE_META, run_length(&self.value_meta, uleb)),
            (VALUE, self.value),
            (PRED_COUNT, run_length(&self.pred_count, uleb)),
            (PRED_ACTOR, run_length(&self.pred_actor, uleb)),
            (PRED_COUNTER, run_length(&delta(&self.pred_counter), leb)),
        ]
    }
}

fn delta(rows: &[Option<i64>]) -> Vec<Option<i64>> {
    let mut previous = 0;
    rows.iter()
        .map(|row| {
            row.map(|value| {
                let delta = value - previous;
                previous = value;
                delta
            })
        })
        .collect()
}

/// Runs of equal cells as length and cell, other cells as literals, nulls as a counted run; a column of nulls alone is empty.
fn run_length<T: PartialEq>(rows: &[Option<T>], write: impl Fn(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut out = Vec::new();
    if rows.iter().all(Option::is_none) {
        return out;
    }
    let run_at = |at: usize| {
        rows[at..]
            .iter()
            .take_while(|row| **row == rows[at])
            .count()
    };
    let mut at = 0;
    while at < rows.len() {
        let run = run_at(at);
        match &rows[at] {
            None => {
                write_leb(&mut out, 0);
                write_uleb(&mut out, run as u64);
                at += run;
            }
            Some(value) if run > 1 => {
                write_leb(&mut out, run as i64);
                write(&mut out, value);
                at += run;
            }
            Some(_) => {
                let start = at;
                while at < rows.len() && rows[at].is_some() && run_at(at) == 1 {
                    at += 1;
                }
                write_leb(&mut out, -((at - start) as i64));
                rows[start..at]
                    .iter()
                    .flatten()
                    .for_each(|value| write(&mut out, value));
            }
        }
    }
    out
}

/// Alternating counts of false and true, beginning with false.
fn booleans(rows: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    if rows.is_empty() {
        return out;
    }
    let (mut value, mut count) = (false, 0);
    for row in rows {
        if *row == value {
            count += 1;
        } else {
            write_uleb(&mut out, count);
            (value, count) = (*row, 1);
        }
    }
    write_uleb(&mut out, count);
    out
}
