//! Changes → a block.

use std::collections::HashMap;

use super::{
    Entry, VERSION, action,
    column::{Column, Writer},
    short_hash, short_record,
};
use crate::{
    codec::change::{Action, Change, Op, OpId, Scalar, column::write_leb},
    id::{Actor, ChangeHash, RecordId},
    limits,
    time::DeviceTime,
};

/// Packs changes in the order of the log. `None`: they are more than a block may hold, and go as they are.
pub fn pack(entries: &[Entry]) -> Option<Vec<u8>> {
    if entries.len() > limits::BLOCK_CHANGES_MAX {
        return None;
    }
    let mut packer = Packer::new();
    packer.entries(entries);
    let fits = packer.ops <= limits::BLOCK_OPS_MAX
        && packer.unpacked_bytes <= limits::BLOCK_UNPACKED_BYTES_MAX;
    let block = packer.out.finish(VERSION, entries.len());
    (fits && block.len() <= limits::BLOCK_BYTES_MAX).then_some(block)
}

/// What is known of a record within a block: what its changes build on, and the changes.
#[derive(Default)]
struct History {
    place: usize,
    /// Each with the highest counter that is known of it.
    nodes: Vec<(ChangeHash, u32)>,
}

pub(super) struct Packer<'e> {
    pub(super) out: Writer,
    actors: HashMap<Actor, usize>,
    keys: HashMap<&'e str, usize>,
    histories: HashMap<(RecordId, u32), History>,
    ops: usize,
    unpacked_bytes: usize,
}

impl<'e> Packer<'e> {
    pub(super) fn new() -> Self {
        Self {
            out: Writer::new(),
            actors: HashMap::new(),
            keys: HashMap::new(),
            histories: HashMap::new(),
            ops: 0,
            unpacked_bytes: 0,
        }
    }

    pub(super) fn entries(&mut self, entries: &'e [Entry]) {
        let (mut seq, mut time) = (0, 0);
        for entry in entries {
            self.entry(entry, (&mut seq, &mut time));
        }
    }

    fn entry(&mut self, entry: &'e Entry, (last_seq, last_time): (&mut u64, &mut i64)) {
        let change = &entry.change;
        self.out.int(
            Column::Seq,
            (entry.seq.wrapping_sub(*last_seq) as i64).wrapping_sub(1),
        );
        *last_seq = entry.seq;
        let actor = self.actor(change.actor);
        self.out.uint(Column::Actor, actor);
        self.out.uint(Column::ActorSeq, u64::from(change.seq));
        let time = change.time.map_or(0, DeviceTime::unix_seconds);
        self.out.int(Column::Time, time.wrapping_sub(*last_time));
        *last_time = time;
        self.out
            .uint(Column::MessageLength, change.message.len() as u64);
        self.out.bytes(Column::Message, change.message.as_bytes());
        self.deps(entry);
        self.out.uint(Column::OpCount, change.ops.len() as u64);
        self.out.bytes(Column::Checksum, &change.hash.0[..4]);
        for (index, op) in change.ops.iter().enumerate() {
            self.op(change, index, op);
        }
        self.ops += change.ops.len();
        self.unpacked_bytes += change.message.len();
    }

    /// The record, what the change builds on, and where its counters begin.
    fn deps(&mut self, entry: &Entry) {
        let records = self.histories.len();
        let out = &mut self.out;
        let history = self
            .histories
            .entry((entry.record, entry.generation))
            .or_insert_with(|| {
                out.bytes(Column::Records, &short_record(entry.record));
                out.uint(Column::Generations, u64::from(entry.generation));
                History {
                    place: records,
                    nodes: Vec::new(),
                }
            });
        let back = records - history.place;
        out.uint(Column::Record, back as u64);
        let change = &entry.change;
        out.uint(Column::DepCount, change.deps.len() as u64);
        let mut highest = 0;
        for dep in &change.deps {
            let known = history.nodes.iter().rposition(|(hash, _)| hash == dep);
            if let Some(at) = known {
                out.uint(Column::Dep, (history.nodes.len() - at) as u64);
                highest = highest.max(history.nodes[at].1);
            } else {
                out.uint(Column::Dep, 0);
                out.bytes(Column::Outside, &short_hash(dep));
                history.nodes.push((*dep, change.start_op - 1));
            }
        }
        out.int(
            Column::StartOp,
            i64::from(change.start_op) - 1 - i64::from(highest),
        );
        history.nodes.push((change.hash, change.max_op()));
    }

    fn op(&mut self, change: &Change, index: usize, op: &'e Op) {
        let counter = change.op_id(index).counter;
        let code = match &op.action {
            Action::Put { key, value } => {
                self.key(key);
                let mut number = Vec::new();
                let (code, bytes) = match value {
                    Scalar::Str(text) => (action::PUT_TEXT, Some(text.as_bytes())),
                    Scalar::Int(value) => {
                        write_leb(&mut number, *value);
                        (action::PUT_INT, Some(number.as_slice()))
                    }
                    Scalar::Bool(false) => (action::PUT_FALSE, None),
                    Scalar::Bool(true) => (action::PUT_TRUE, None),
                };
                if let Some(bytes) = bytes {
                    self.value(bytes);
                }
                code
            }
            Action::Delete { key } => {
                self.key(key);
                action::DELETE
            }
            Action::MakeText { key } => {
                self.key(key);
                action::MAKE_TEXT
            }
            Action::Insert {
                object,
                after,
                text,
            } => {
                self.id((Column::Object, Column::ObjectCounter), counter, *object);
                match after {
                    // Zero: at the beginning.
                    None => self.out.uint(Column::Element, 0),
                    Some(after) => self.element(counter, *after),
                }
                self.value(text.as_bytes());
                action::INSERT
            }
            Action::Remove { object, element } => {
                self.id((Column::Object, Column::ObjectCounter), counter, *object);
                self.element(counter, *element);
                action::REMOVE
            }
        };
        self.out.bytes(Column::Action, &[code]);
        // Whoever removes a character names it.
        if code != action::REMOVE && code != action::INSERT {
            self.out.uint(Column::PredCount, op.pred.len() as u64);
            for pred in &op.pred {
                let actor = self.actor(pred.actor);
                self.out.uint(Column::Pred, actor);
                self.out.uint(Column::PredCounter, u64::from(pred.counter));
            }
        }
    }

    fn element(&mut self, counter: u32, element: OpId) {
        let actor = self.actor(element.actor);
        self.out.uint(Column::Element, actor + 1);
        let back = i64::from(counter) - i64::from(element.counter);
        self.out.int(Column::ElementCounter, back);
    }

    fn id(&mut self, (actor, at): (Column, Column), counter: u32, id: OpId) {
        let place = self.actor(id.actor);
        self.out.uint(actor, place);
        self.out.int(at, i64::from(counter) - i64::from(id.counter));
    }

    fn value(&mut self, bytes: &[u8]) {
        self.unpacked_bytes += bytes.len();
        self.out.uint(Column::ValueLength, bytes.len() as u64);
        self.out.bytes(Column::Value, bytes);
    }

    fn key(&mut self, key: &'e str) {
        self.unpacked_bytes += key.len();
        let next = self.keys.len();
        let out = &mut self.out;
        let place = *self.keys.entry(key).or_insert_with(|| {
            out.uint(Column::Keys, key.len() as u64);
            out.bytes(Column::Keys, key.as_bytes());
            next
        });
        self.out.uint(Column::Key, place as u64);
    }

    fn actor(&mut self, actor: Actor) -> u64 {
        let next = self.actors.len();
        let out = &mut self.out;
        let place = self.actors.entry(actor).or_insert_with(|| {
            out.bytes(Column::Actors, actor.as_bytes());
            next
        });
        *place as u64
    }
}
