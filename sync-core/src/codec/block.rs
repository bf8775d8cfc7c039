//! A run of the log's changes packed column by column, without what a phone can tell by itself.
//!
//! In: changes that passed the gate, in the order of the log ([`pack`]). Out: a block; and from a block and what its reader holds ([`Holdings`])
//! the very bytes of every change again. Invariants:
//!
//! - what [`Block::unpack`] gives is, byte for byte, what was packed, or it refuses: every change is encoded again and must have the checksum that
//!   it had. Nothing of a block that does not come out whole is to be believed;
//! - time and memory are linear in the limits of [`limits`], whatever the bytes are;
//! - a record and a dependency outside the block stand in it by some of their bytes: the reader holds them, because it is sent the changes of
//!   such records alone, in an order in which dependencies come first.
//!
//! Who does not hold what a block builds on asks for the changes themselves.

use std::collections::HashMap;

use crate::{
    codec::change::{self, Action, Change, Op, OpId, Scalar},
    id::{Actor, ChangeHash, RecordId},
    limits,
    time::DeviceTime,
};

mod column;

use column::{Column, Reader, Writer, sane};

/// The form of a block that this program writes and reads: what a phone says that it knows, and a block's first byte.
pub const VERSION: u8 = 1;

/// The last bytes of a record's id: the first are the time at which it was made, much the same for a whole roll.
pub type ShortRecord = [u8; 4];
/// The first bytes of a hash.
type ShortHash = [u8; 2];

/// What an operation does, as a block names it.
mod action {
    pub const PUT_TEXT: u8 = 0;
    pub const PUT_INT: u8 = 1;
    pub const PUT_FALSE: u8 = 2;
    pub const PUT_TRUE: u8 = 3;
    pub const DELETE: u8 = 4;
    pub const MAKE_TEXT: u8 = 5;
    pub const INSERT: u8 = 6;
    pub const REMOVE: u8 = 7;
}

/// A change and where it stands in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The record.
    pub record: RecordId,
    /// Its generation.
    pub generation: u32,
    /// The log entry.
    pub seq: u64,
    /// The change.
    pub change: Change,
}

/// A change that came out of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpacked {
    /// The record.
    pub record: RecordId,
    /// Its generation.
    pub generation: u32,
    /// The log entry.
    pub seq: u64,
    /// What the change is known by.
    pub hash: ChangeHash,
    /// Who wrote it.
    pub actor: Actor,
    /// The change chunk.
    pub bytes: Vec<u8>,
}

/// What the reader of a block holds.
pub trait Holdings {
    /// Why it could not be looked up.
    type Error;
    /// The records whose ids end so.
    fn records(&mut self, short: ShortRecord) -> Result<Vec<RecordId>, Self::Error>;
    /// The changes of a record that begin so, among the ones that are cheap to tell, its heads first; `all`: among every one.
    fn changes(
        &mut self,
        record: RecordId,
        begins: &dyn Fn(&ChangeHash) -> bool,
        all: bool,
    ) -> Result<Vec<ChangeHash>, Self::Error>;
}

/// Why a block could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not a block as [`pack`] writes it.
    #[error("not a block of changes: {0}")]
    Malformed(&'static str),
    /// A count or size is over its limit.
    #[error("too large: {0}, at most {1}")]
    TooLarge(&'static str, usize),
}

/// What a record ends with.
pub fn short_record(record: RecordId) -> ShortRecord {
    let bytes = record.0.as_bytes();
    [bytes[12], bytes[13], bytes[14], bytes[15]]
}

fn short_hash(hash: &ChangeHash) -> ShortHash {
    [hash.0[0], hash.0[1]]
}

/// What is known of a record within a block: what its changes build on, and the changes.
#[derive(Default)]
struct History {
    place: usize,
    /// Each with the highest counter that is known of it.
    nodes: Vec<(ChangeHash, u32)>,
}

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

struct Packer<'e> {
    out: Writer,
    actors: HashMap<Actor, usize>,
    keys: HashMap<&'e str, usize>,
    histories: HashMap<(RecordId, u32), History>,
    ops: usize,
    unpacked_bytes: usize,
}

impl<'e> Packer<'e> {
    fn new() -> Self {
        Self {
            out: Writer::new(),
            actors: HashMap::new(),
            keys: HashMap::new(),
            histories: HashMap::new(),
            ops: 0,
            unpacked_bytes: 0,
        }
    }

    fn entries(&mut self, entries: &'e [Entry]) {
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
                        change::column::write_leb(&mut number, *value);
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

/// A block that was read, its changes without what stands outside it.
#[derive(Debug)]
pub struct Block {
    records: Vec<(ShortRecord, u32)>,
    changes: Vec<Packed>,
}

#[derive(Debug)]
struct Packed {
    /// Place in [`Block::records`].
    record: usize,
    seq: u64,
    checksum: [u8; 4],
    deps: Vec<Dep>,
    /// Without dependencies, hash and bytes.
    change: Change,
}

/// What a change builds on.
#[derive(Clone, Copy, Debug)]
enum Dep {
    /// Place in [`Block::changes`].
    Inside(usize),
    /// Something that the reader holds: the how manyth of its record, and how it begins.
    Outside(usize, ShortHash),
}

/// A dependency of a record as its later changes name it again.
#[derive(Clone, Copy)]
struct Node {
    dep: Dep,
    /// The highest counter that is known of it, once it is.
    highest: Option<u32>,
}

impl Block {
    /// Reads a block.
    pub fn read(bytes: &[u8]) -> Result<Self, BlockError> {
        let (reader, count) = Reader::new(bytes, VERSION)?;
        Unpacker {
            input: reader,
            actors: Vec::new(),
            keys: Vec::new(),
            records: Vec::new(),
            ops: 0,
        }
        .block(count)
    }

    /// How many changes it holds.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How the record of each change ends, and how what the change is known by begins.
    pub fn names(&self) -> Vec<(ShortRecord, [u8; 4])> {
        let name = |packed: &Packed| (self.records[packed.record].0, packed.checksum);
        self.changes.iter().map(name).collect()
    }

    /// The changes as they were, in the order of the log; `None` where a change builds on what is not held, or comes out as another one.
    pub fn unpack<H: Holdings>(self, holdings: &mut H) -> Result<Option<Vec<Unpacked>>, H::Error> {
        let mut places = Vec::with_capacity(self.records.len());
        for (short, _) in &self.records {
            places.push(Place::of(holdings.records(*short)?));
        }
        let mut done: Vec<Unpacked> = Vec::with_capacity(self.changes.len());
        for packed in self.changes {
            let (place, generation) = (&mut places[packed.record], self.records[packed.record].1);
            let Some(unpacked) = place.complete(packed, generation, &done, holdings)? else {
                return Ok(None);
            };
            done.push(unpacked);
        }
        Ok(Some(done))
    }
}

/// A record of a block, and what is known by now of what its changes build on outside.
struct Place {
    /// Which it may be: one, but for records that end alike.
    records: Vec<RecordId>,
    outside: Vec<ChangeHash>,
}

impl Place {
    fn of(records: Vec<RecordId>) -> Self {
        Self {
            records,
            outside: Vec::new(),
        }
    }

    /// A change as it was; `None` where nothing that is held makes it so.
    fn complete<H: Holdings>(
        &mut self,
        mut packed: Packed,
        generation: u32,
        done: &[Unpacked],
        holdings: &mut H,
    ) -> Result<Option<Unpacked>, H::Error> {
        let (mut inside, mut unknown) = (Vec::new(), Vec::new());
        for dep in &packed.deps {
            match dep {
                Dep::Inside(at) => inside.push(done[*at].hash),
                Dep::Outside(at, short) => match self.outside.get(*at) {
                    Some(hash) => inside.push(*hash),
                    None => unknown.push(*short),
                },
            }
        }
        // Nothing but what it builds on says which of several it is.
        if self.records.len() > 1 && unknown.is_empty() {
            return Ok(None);
        }
        let mut tries = limits::BLOCK_TRIES_MAX;
        // The cheap ones first: nearly always it is the head of what is held.
        for all in [false, true] {
            for record in self.records.iter().take(limits::BLOCK_TRIES_MAX) {
                let mut choices = Vec::with_capacity(unknown.len());
                for short in &unknown {
                    let begins = |hash: &ChangeHash| short_hash(hash) == *short;
                    choices.push(holdings.changes(*record, &begins, all)?);
                }
                let count = choices.iter().map(Vec::len).try_fold(1, usize::checked_mul);
                let count = count.unwrap_or(usize::MAX).min(tries);
                for choice in 0..count {
                    tries -= 1;
                    let chosen = chosen(&choices, choice);
                    packed.change.deps = inside.iter().chain(&chosen).copied().collect();
                    packed.change.deps.sort_unstable();
                    let (hash, bytes) = change::encode_known(&packed.change);
                    if hash.0[..4] == packed.checksum {
                        let record = *record;
                        self.records = vec![record];
                        self.outside.extend(chosen);
                        return Ok(Some(Unpacked {
                            record,
                            generation,
                            seq: packed.seq,
                            hash,
                            actor: packed.change.actor,
                            bytes,
                        }));
                    }
                }
            }
            if unknown.is_empty() {
                break;
            }
        }
        Ok(None)
    }
}

/// The `nth` way to take one of each.
fn chosen(choices: &[Vec<ChangeHash>], mut nth: usize) -> Vec<ChangeHash> {
    let one = |of: &Vec<ChangeHash>| {
        let hash = of[nth % of.len()];
        nth /= of.len();
        hash
    };
    choices.iter().map(one).collect()
}

struct Unpacker<'b> {
    input: Reader<'b>,
    actors: Vec<Actor>,
    keys: Vec<String>,
    records: Vec<(Vec<Node>, usize)>,
    ops: usize,
}

impl Unpacker<'_> {
    fn block(mut self, count: usize) -> Result<Block, BlockError> {
        let mut records = Vec::new();
        self.tables(&mut records)?;
        let mut changes = Vec::with_capacity(count);
        let (mut seq, mut time) = (0, 0);
        let mut next = 0;
        for index in 0..count {
            let back = self.input.place(Column::Record)?;
            let record = next - back.min(next);
            if back > next || record >= self.records.len() {
                return Err(BlockError::Malformed("record"));
            }
            next = next.max(record + 1);
            changes.push(self.change(index, record, (&mut seq, &mut time))?);
        }
        if next != self.records.len() {
            return Err(BlockError::Malformed("record"));
        }
        self.input.finish()?;
        Ok(Block { records, changes })
    }

    fn tables(&mut self, records: &mut Vec<(ShortRecord, u32)>) -> Result<(), BlockError> {
        while !self.input.is_at_end(Column::Actors) {
            let actor = self.input.array::<{ Actor::LEN }>(Column::Actors)?;
            let actor = Actor::from_slice(&actor);
            self.actors
                .push(actor.ok_or(BlockError::Malformed("actor"))?);
        }
        while !self.input.is_at_end(Column::Keys) {
            let max = limits::KEY_BYTES_MAX;
            let length = self.input.up_to(Column::Keys, max, "bytes of a key")?;
            let key = text(self.input.bytes(Column::Keys, length)?)?;
            self.keys.push(key);
        }
        while !self.input.is_at_end(Column::Records) {
            let short = self.input.array(Column::Records)?;
            let generation = self.input.in_range(Column::Generations, u32::MAX.into())?;
            records.push((short, generation));
        }
        if records.len() > limits::BLOCK_CHANGES_MAX {
            return Err(BlockError::TooLarge("records", limits::BLOCK_CHANGES_MAX));
        }
        self.records.resize_with(records.len(), Default::default);
        Ok(())
    }

    fn change(
        &mut self,
        index: usize,
        record: usize,
        (last_seq, last_time): (&mut u64, &mut i64),
    ) -> Result<Packed, BlockError> {
        let input = &mut self.input;
        let step = input.int(Column::Seq)?.wrapping_add(1) as u64;
        *last_seq = last_seq.wrapping_add(step);
        let seq = *last_seq;
        if seq > i64::MAX as u64 {
            return Err(BlockError::Malformed("seq"));
        }
        let actor = self.actor(Column::Actor)?;
        let input = &mut self.input;
        let actor_seq = input.in_range(Column::ActorSeq, limits::ACTOR_SEQ_MAX)?;
        *last_time = last_time.wrapping_add(input.int(Column::Time)?);
        let time = *last_time;
        if !(0..=limits::CHANGE_TIME_SECONDS_MAX).contains(&time) {
            return Err(BlockError::Malformed("time"));
        }
        let max = limits::CHANGE_MESSAGE_BYTES_MAX;
        let length = input.up_to(Column::MessageLength, max, "bytes of a message")?;
        input.unpacks(length)?;
        let message = text(input.bytes(Column::Message, length)?)?;
        let (deps, highest) = self.deps(record)?;
        let input = &mut self.input;
        let start_op = i64::from(highest) + 1 + input.int(Column::StartOp)?.clamp(-RANGE, RANGE);
        let start_op = sane(start_op.max(0) as u64, limits::OP_COUNTER_MAX)?;
        let checksum = input.array(Column::Checksum)?;
        let max = limits::CHANGE_OPS_MAX;
        let count = input.up_to(Column::OpCount, max, "operations of a change")?;
        self.ops += count;
        if self.ops > limits::BLOCK_OPS_MAX {
            return Err(BlockError::TooLarge("operations", limits::BLOCK_OPS_MAX));
        }
        if count == 0 || u64::from(start_op) + count as u64 > limits::OP_COUNTER_MAX {
            return Err(BlockError::Malformed("operations"));
        }
        let mut ops = Vec::with_capacity(count);
        for at in 0..count {
            ops.push(self.op(start_op + at as u32)?);
        }
        let change = Change {
            hash: ChangeHash([0; 32]),
            bytes: Vec::new(),
            actor,
            seq: actor_seq,
            start_op,
            time: (time != 0).then(|| DeviceTime::from_unix_seconds(time)),
            message,
            deps: Vec::new(),
            ops,
        };
        let (nodes, _) = &mut self.records[record];
        for node in nodes.iter_mut().filter(|node| node.highest.is_none()) {
            node.highest = Some(start_op - 1);
        }
        nodes.push(Node {
            dep: Dep::Inside(index),
            highest: Some(change.max_op()),
        });
        Ok(Packed {
            record,
            seq,
            checksum,
            deps,
            change,
        })
    }

    /// What a change builds on, and the highest counter that is known of it.
    fn deps(&mut self, record: usize) -> Result<(Vec<Dep>, u32), BlockError> {
        let max = limits::CHANGE_DEPS_MAX;
        let count = self.input.up_to(Column::DepCount, max, "dependencies")?;
        let (nodes, outside) = &mut self.records[record];
        let (mut deps, mut highest) = (Vec::with_capacity(count), 0);
        for _ in 0..count {
            let back = self.input.place(Column::Dep)?;
            if back == 0 {
                let short = self.input.array(Column::Outside)?;
                let dep = Dep::Outside(*outside, short);
                *outside += 1;
                // Its counters end where the first change on it begins; that one says where.
                nodes.push(Node { dep, highest: None });
                deps.push(dep);
            } else {
                let at = nodes.len().checked_sub(back);
                let node = nodes[at.ok_or(BlockError::Malformed("dependency"))?];
                highest = highest.max(node.highest.unwrap_or(0));
                deps.push(node.dep);
            }
        }
        Ok((deps, highest))
    }

    fn op(&mut self, counter: u32) -> Result<Op, BlockError> {
        let [code] = self.input.array(Column::Action)?;
        let (mut own, mut removed) = (true, None);
        let action = match code {
            action::PUT_TEXT => Action::Put {
                key: self.key()?,
                value: Scalar::Str(self.value()?),
            },
            action::PUT_INT => Action::Put {
                key: self.key()?,
                value: Scalar::Int(self.number()?),
            },
            action::PUT_FALSE | action::PUT_TRUE => Action::Put {
                key: self.key()?,
                value: Scalar::Bool(code == action::PUT_TRUE),
            },
            action::DELETE => Action::Delete { key: self.key()? },
            action::MAKE_TEXT => Action::MakeText { key: self.key()? },
            action::INSERT => {
                own = false;
                let object = self.object(counter)?;
                let after = self.element(counter)?;
                Action::Insert {
                    object,
                    after,
                    text: self.value()?,
                }
            }
            action::REMOVE => {
                own = false;
                let object = self.object(counter)?;
                let element = self.element(counter)?;
                let element = element.ok_or(BlockError::Malformed("element"))?;
                removed = Some(element);
                Action::Remove { object, element }
            }
            _ => return Err(BlockError::Malformed("action")),
        };
        let pred = if own {
            self.preds()?
        } else {
            removed.into_iter().collect()
        };
        Ok(Op { action, pred })
    }

    fn preds(&mut self) -> Result<Vec<OpId>, BlockError> {
        let max = limits::OP_PREDS_MAX;
        let count = self.input.up_to(Column::PredCount, max, "predecessors")?;
        (0..count)
            .map(|_| {
                Ok(OpId {
                    actor: self.actor(Column::Pred)?,
                    counter: self
                        .input
                        .in_range(Column::PredCounter, limits::OP_COUNTER_MAX)?,
                })
            })
            .collect()
    }

    fn object(&mut self, counter: u32) -> Result<OpId, BlockError> {
        let actor = self.actor(Column::Object)?;
        let counter = back(counter, self.input.int(Column::ObjectCounter)?)?;
        Ok(OpId { counter, actor })
    }

    fn element(&mut self, counter: u32) -> Result<Option<OpId>, BlockError> {
        let place = self.input.place(Column::Element)?;
        let Some(place) = place.checked_sub(1) else {
            return Ok(None);
        };
        let actor = *self
            .actors
            .get(place)
            .ok_or(BlockError::Malformed("actor"))?;
        let counter = back(counter, self.input.int(Column::ElementCounter)?)?;
        Ok(Some(OpId { counter, actor }))
    }

    fn actor(&mut self, column: Column) -> Result<Actor, BlockError> {
        let place = self.input.place(column)?;
        let actor = self.actors.get(place).copied();
        actor.ok_or(BlockError::Malformed("actor"))
    }

    fn key(&mut self) -> Result<String, BlockError> {
        let place = self.input.place(Column::Key)?;
        let key = self.keys.get(place).ok_or(BlockError::Malformed("key"))?;
        self.input.unpacks(key.len())?;
        Ok(key.clone())
    }

    fn raw_value(&mut self) -> Result<&[u8], BlockError> {
        let max = limits::VALUE_BYTES_MAX;
        let length = self
            .input
            .up_to(Column::ValueLength, max, "bytes of a value")?;
        self.input.unpacks(length)?;
        self.input.bytes(Column::Value, length)
    }

    fn value(&mut self) -> Result<String, BlockError> {
        text(self.raw_value()?)
    }

    fn number(&mut self) -> Result<i64, BlockError> {
        let mut bytes = self.raw_value()?;
        let value = change::column::read_leb(&mut bytes);
        value
            .ok()
            .filter(|_| bytes.is_empty())
            .ok_or(BlockError::Malformed("number"))
    }
}

/// No counter is further from another.
const RANGE: i64 = limits::OP_COUNTER_MAX as i64;

/// The counter that lies so far back.
fn back(counter: u32, by: i64) -> Result<u32, BlockError> {
    let counter = i64::from(counter) - by.clamp(-2 * RANGE, 2 * RANGE);
    sane(counter.max(0) as u64, limits::OP_COUNTER_MAX)
}

fn text(bytes: &[u8]) -> Result<String, BlockError> {
    let text = std::str::from_utf8(bytes).map_err(|_| BlockError::Malformed("UTF-8"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
