//! A block, and what its reader holds → changes.

use super::{
    BlockError, Holdings, ShortHash, ShortRecord, Unpacked, VERSION, action,
    column::{Column, Reader, sane},
    short_hash,
};
use crate::{
    codec::change::{self, Action, Change, Op, OpId, Scalar, column::read_leb},
    id::{Actor, ChangeHash, RecordId},
    limits,
    time::DeviceTime,
};

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
        let value = read_leb(&mut bytes);
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
