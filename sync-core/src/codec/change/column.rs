//! The bounded reader of Automerge's operation columns.
//!
//! A column is run-length encoded, so three bytes can claim a billion rows. The action column is counted first, against the limit on
//! operations; every other column is then read for exactly that many rows, so no run is ever expanded beyond it.

use crate::codec::change::{Action, GateError, Op, OpId, Scalar, too_large};
use crate::{id::Actor, key::NOTE, limits};

/// Column ids with type, as they stand in the file: `id << 4 | type`.
pub(super) const OBJECT_ACTOR: u32 = 0x01;
pub(super) const OBJECT_COUNTER: u32 = 0x02;
pub(super) const KEY_ACTOR: u32 = 0x11;
pub(super) const KEY_COUNTER: u32 = 0x13;
pub(super) const KEY_STRING: u32 = 0x15;
pub(super) const INSERT: u32 = 0x34;
pub(super) const ACTION: u32 = 0x42;
pub(super) const VALUE_META: u32 = 0x56;
pub(super) const VALUE: u32 = 0x57;
pub(super) const PRED_COUNT: u32 = 0x70;
pub(super) const PRED_ACTOR: u32 = 0x71;
pub(super) const PRED_COUNTER: u32 = 0x73;

/// All columns an accepted change may have, in file order.
const KNOWN: [u32; 12] = [
    OBJECT_ACTOR,
    OBJECT_COUNTER,
    KEY_ACTOR,
    KEY_COUNTER,
    KEY_STRING,
    INSERT,
    ACTION,
    VALUE_META,
    VALUE,
    PRED_COUNT,
    PRED_ACTOR,
    PRED_COUNTER,
];

pub(super) const ACTION_PUT: u64 = 1;
pub(super) const ACTION_DELETE: u64 = 3;
pub(super) const ACTION_MAKE_TEXT: u64 = 4;

pub(super) const VALUE_NULL: u64 = 0;
pub(super) const VALUE_FALSE: u64 = 1;
pub(super) const VALUE_TRUE: u64 = 2;
pub(super) const VALUE_INT: u64 = 4;
pub(super) const VALUE_STRING: u64 = 6;

/// Reads an unsigned LEB128 of at most 64 bits.
pub(in crate::codec) fn read_uleb(input: &mut &[u8]) -> Result<u64, GateError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input
            .split_first()
            .ok_or(GateError::Malformed("unexpected end"))?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(GateError::Malformed("number too long"))
}

/// Reads a signed LEB128 of at most 64 bits.
pub(in crate::codec) fn read_leb(input: &mut &[u8]) -> Result<i64, GateError> {
    let mut value = 0_i64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input
            .split_first()
            .ok_or(GateError::Malformed("unexpected end"))?;
        *input = rest;
        value |= i64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            if shift + 7 < 64 && byte & 0x40 != 0 {
                value |= -1_i64 << (shift + 7);
            }
            return Ok(value);
        }
    }
    Err(GateError::Malformed("number too long"))
}

pub(in crate::codec) fn write_uleb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(in crate::codec) fn write_leb(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// One cell type of a run-length encoded column.
trait Cell: Clone {
    fn read(input: &mut &[u8]) -> Result<Self, GateError>;

    /// What a copy holds beside itself.
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Cell for u64 {
    fn read(input: &mut &[u8]) -> Result<Self, GateError> {
        read_uleb(input)
    }
}

impl Cell for i64 {
    fn read(input: &mut &[u8]) -> Result<Self, GateError> {
        read_leb(input)
    }
}

impl Cell for String {
    fn read(input: &mut &[u8]) -> Result<Self, GateError> {
        let length = read_uleb(input)?;
        if length > limits::KEY_BYTES_MAX as u64 {
            return Err(too_large("bytes of a key", limits::KEY_BYTES_MAX));
        }
        let (text, rest) = input
            .split_at_checked(length as usize)
            .ok_or(GateError::Malformed("unexpected end"))?;
        *input = rest;
        std::str::from_utf8(text)
            .map(str::to_owned)
            .map_err(|_| GateError::Malformed("key is not UTF-8"))
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

/// Expands a run-length encoded column, refusing the run that would pass `rows_max` before expanding it.
fn expand<T: Cell>(
    mut input: &[u8],
    rows_max: usize,
    what: &'static str,
) -> Result<Vec<Option<T>>, GateError> {
    let mut rows = Vec::new();
    // A long key in a long run would take a thousand times its place: keys written out take no more than a chunk may.
    let mut heap_bytes_left = limits::CHANGE_BYTES_MAX;
    while !input.is_empty() {
        let run = read_leb(&mut input)?;
        let length = if run == 0 {
            read_uleb(&mut input)?
        } else {
            run.unsigned_abs()
        };
        if length == 0 || length > (rows_max - rows.len()) as u64 {
            return Err(too_large(what, rows_max));
        }
        let length = length as usize;
        match run {
            0 => rows.resize(rows.len() + length, None),
            1.. => {
                let value = T::read(&mut input)?;
                let left = heap_bytes_left.checked_sub(value.heap_bytes() * length);
                heap_bytes_left =
                    left.ok_or_else(|| too_large("bytes of all keys", limits::CHANGE_BYTES_MAX))?;
                rows.resize(rows.len() + length, Some(value));
            }
            _ => {
                for _ in 0..length {
                    rows.push(Some(T::read(&mut input)?));
                }
            }
        }
    }
    Ok(rows)
}

fn expand_booleans(mut input: &[u8], rows_max: usize) -> Result<Vec<bool>, GateError> {
    let mut rows = Vec::new();
    let mut value = false;
    while !input.is_empty() {
        let length = read_uleb(&mut input)?;
        if length > (rows_max - rows.len()) as u64 {
            return Err(too_large("operations", rows_max));
        }
        rows.resize(rows.len() + length as usize, value);
        value = !value;
    }
    Ok(rows)
}

/// Differences → absolute values. Saturation is safe: an absurd value fails the later range checks and the canonical encoding.
fn undelta(rows: Vec<Option<i64>>) -> Vec<Option<i64>> {
    let mut absolute = 0_i64;
    rows.into_iter()
        .map(|row| {
            row.map(|delta| {
                absolute = absolute.saturating_add(delta);
                absolute
            })
        })
        .collect()
}

/// The raw columns of a change.
pub(super) struct Columns<'a>([&'a [u8]; KNOWN.len()]);

impl<'a> Columns<'a> {
    /// Reads the column table and slices the data that follows it.
    pub(super) fn parse(input: &mut &'a [u8]) -> Result<Self, GateError> {
        let count = read_uleb(input)?;
        if count > KNOWN.len() as u64 {
            return Err(GateError::Operation(
                "unknown columns (marks are not allowed)",
            ));
        }
        let mut table = Vec::with_capacity(KNOWN.len());
        let mut previous = None;
        for _ in 0..count {
            let spec = read_uleb(input)?;
            let length = usize::try_from(read_uleb(input)?)
                .map_err(|_| GateError::Malformed("column length"))?;
            let column = KNOWN.iter().position(|known| u64::from(*known) == spec);
            let column = column.ok_or(GateError::Operation(
                "unknown columns (marks are not allowed)",
            ))?;
            if previous >= Some(column) {
                return Err(GateError::Malformed("column order"));
            }
            previous = Some(column);
            table.push((column, length));
        }
        let mut columns = Self([&[]; KNOWN.len()]);
        for (column, length) in table {
            let (data, rest) = input
                .split_at_checked(length)
                .ok_or(GateError::Malformed("unexpected end"))?;
            *input = rest;
            columns.0[column] = data;
        }
        Ok(columns)
    }

    fn get(&self, spec: u32) -> &'a [u8] {
        KNOWN
            .iter()
            .position(|known| *known == spec)
            .map_or(&[], |at| self.0[at])
    }

    /// Every operation as a row of cells.
    pub(super) fn rows(&self) -> Result<Vec<Row<'a>>, GateError> {
        const OPS: &str = "operations";
        let actions = expand::<u64>(self.get(ACTION), limits::CHANGE_OPS_MAX, OPS)?;
        let n = actions.len();
        let mut object_actor = expand::<u64>(self.get(OBJECT_ACTOR), n, OPS)?.into_iter();
        let mut object_counter = expand::<u64>(self.get(OBJECT_COUNTER), n, OPS)?.into_iter();
        let mut key_actor = expand::<u64>(self.get(KEY_ACTOR), n, OPS)?.into_iter();
        let mut key_counter = undelta(expand::<i64>(self.get(KEY_COUNTER), n, OPS)?).into_iter();
        let mut key_string = expand::<String>(self.get(KEY_STRING), n, OPS)?.into_iter();
        let mut insert = expand_booleans(self.get(INSERT), n)?.into_iter();
        let mut value_meta = expand::<u64>(self.get(VALUE_META), n, OPS)?.into_iter();
        let mut value_bytes = self.get(VALUE);
        let pred_count = expand::<u64>(self.get(PRED_COUNT), n, OPS)?;
        let mut pred_total = 0_usize;
        for count in pred_count.iter().flatten() {
            if *count > limits::OP_PREDS_MAX as u64 {
                return Err(too_large(
                    "predecessors of an operation",
                    limits::OP_PREDS_MAX,
                ));
            }
            pred_total += *count as usize;
        }
        if pred_total > limits::CHANGE_PREDS_MAX {
            return Err(too_large(
                "predecessors of a change",
                limits::CHANGE_PREDS_MAX,
            ));
        }
        let mut pred_actor =
            expand::<u64>(self.get(PRED_ACTOR), pred_total, "predecessors")?.into_iter();
        let mut pred_counter = undelta(expand::<i64>(
            self.get(PRED_COUNTER),
            pred_total,
            "predecessors",
        )?)
        .into_iter();
        let mut pred_count = pred_count.into_iter();

        let mut rows = Vec::with_capacity(n);
        for action in actions {
            let meta = value_meta.next().flatten().unwrap_or(VALUE_NULL);
            let length =
                usize::try_from(meta >> 4).map_err(|_| GateError::Malformed("value length"))?;
            if length > limits::VALUE_BYTES_MAX {
                return Err(too_large("bytes of a value", limits::VALUE_BYTES_MAX));
            }
            let (value, rest) = value_bytes
                .split_at_checked(length)
                .ok_or(GateError::Malformed("value length"))?;
            value_bytes = rest;
            let pred = (0..pred_count.next().flatten().unwrap_or(0))
                .map(|_| raw_id(pred_actor.next().flatten(), pred_counter.next().flatten()))
                .collect::<Result<Vec<_>, _>>()?;
            let object = (
                object_actor.next().flatten(),
                object_counter.next().flatten(),
            );
            let key_element = (key_actor.next().flatten(), key_counter.next().flatten());
            rows.push(Row {
                action: action.ok_or(GateError::Malformed("action"))?,
                object,
                key_element,
                key_string: key_string.next().flatten(),
                insert: insert.next().unwrap_or(false),
                value_type: meta & 0x0f,
                value,
                pred,
            });
        }
        // What is left over would vanish on re-encoding; the canonical check sees it, as it sees a column that is too short.
        Ok(rows)
    }
}

/// An operation id with the actor as index into the change's own table.
#[derive(Clone, Copy)]
struct RawId {
    actor: u64,
    counter: u32,
}

fn raw_id(actor: Option<u64>, counter: Option<i64>) -> Result<RawId, GateError> {
    match (actor, counter) {
        (Some(actor), Some(counter)) if (1..=limits::OP_COUNTER_MAX as i64).contains(&counter) => {
            Ok(RawId {
                actor,
                counter: counter as u32,
            })
        }
        _ => Err(GateError::OutOfRange("operation id")),
    }
}

impl RawId {
    fn resolve(self, actors: &[Actor]) -> Result<OpId, GateError> {
        let actor = usize::try_from(self.actor)
            .ok()
            .and_then(|index| actors.get(index));
        Ok(OpId {
            counter: self.counter,
            actor: *actor.ok_or(GateError::Malformed("actor index"))?,
        })
    }
}

/// One operation as it stands in the columns.
pub(super) struct Row<'a> {
    action: u64,
    object: (Option<u64>, Option<u64>),
    key_element: (Option<u64>, Option<i64>),
    key_string: Option<String>,
    insert: bool,
    value_type: u64,
    value: &'a [u8],
    pred: Vec<RawId>,
}

impl Row<'_> {
    /// The narrow subset as a typed operation; everything else is refused by name.
    pub(super) fn into_op(self, actors: &[Actor]) -> Result<Op, GateError> {
        let pred = self
            .pred
            .iter()
            .map(|id| id.resolve(actors))
            .collect::<Result<Vec<_>, _>>()?;
        if !pred.is_sorted_by(|a, b| a < b) {
            return Err(GateError::NotCanonical);
        }
        let action = match self.object {
            (None, None) => self.root_action(&pred)?,
            (Some(actor), Some(counter)) => {
                let object = raw_id(Some(actor), i64::try_from(counter).ok())?.resolve(actors)?;
                self.text_action(object, actors, &pred)?
            }
            _ => return Err(GateError::Malformed("object id")),
        };
        Ok(Op { action, pred })
    }

    fn root_action(self, pred: &[OpId]) -> Result<Action, GateError> {
        let key = self.key_string.ok_or(GateError::Malformed("key"))?;
        if self.insert || self.key_element != (None, None) {
            return Err(GateError::Operation("list operation on the root map"));
        }
        match self.action {
            ACTION_PUT => Ok(Action::Put {
                value: scalar(self.value_type, self.value, &key)?,
                key,
            }),
            // Automerge forgets a delete that deletes nothing: the document would not give the change back.
            ACTION_DELETE if pred.is_empty() => {
                Err(GateError::Operation("delete without predecessor"))
            }
            ACTION_DELETE if self.value_type != VALUE_NULL => {
                Err(GateError::Malformed("delete with a value"))
            }
            ACTION_DELETE => Ok(Action::Delete { key }),
            ACTION_MAKE_TEXT if self.value_type != VALUE_NULL => {
                Err(GateError::Malformed("object with a value"))
            }
            ACTION_MAKE_TEXT => Ok(Action::MakeText { key }),
            0 | 2 | 6 => Err(GateError::NestedObject { key }),
            5 => Err(GateError::Operation("increment")),
            7 => Err(GateError::Operation("mark")),
            _ => Err(GateError::Operation("unknown action")),
        }
    }

    fn text_action(
        self,
        object: OpId,
        actors: &[Actor],
        pred: &[OpId],
    ) -> Result<Action, GateError> {
        if self.key_string.is_some() {
            return Err(GateError::NestedObject {
                key: self.key_string.unwrap_or_default(),
            });
        }
        let element = match self.key_element {
            (None, Some(0)) => None,
            (actor, counter) => Some(raw_id(actor, counter)?.resolve(actors)?),
        };
        match (self.action, self.insert, element) {
            (ACTION_PUT, true, after) if pred.is_empty() => {
                let Scalar::Str(text) = scalar(self.value_type, self.value, NOTE)? else {
                    return Err(GateError::ValueType { key: NOTE.into() });
                };
                // Automerge counts an element of several characters as one place when it splices: the next edit of the note would fail.
                if text.chars().count() != 1 {
                    return Err(GateError::Operation("a text element is one character"));
                }
                Ok(Action::Insert {
                    object,
                    after,
                    text,
                })
            }
            // A text element is never overwritten, so a removal has exactly one predecessor: the element itself.
            (ACTION_DELETE, false, Some(element))
                if pred == [element] && self.value_type == VALUE_NULL =>
            {
                Ok(Action::Remove { object, element })
            }
            (0 | 2 | 4 | 6, ..) => Err(GateError::NestedObject { key: String::new() }),
            _ => Err(GateError::Operation(
                "only insertion and removal of characters in the note",
            )),
        }
    }
}

fn scalar(value_type: u64, mut bytes: &[u8], key: &str) -> Result<Scalar, GateError> {
    match value_type {
        VALUE_FALSE if bytes.is_empty() => Ok(Scalar::Bool(false)),
        VALUE_TRUE if bytes.is_empty() => Ok(Scalar::Bool(true)),
        VALUE_INT => {
            let value = read_leb(&mut bytes)?;
            if bytes.is_empty() {
                Ok(Scalar::Int(value))
            } else {
                Err(GateError::Malformed("number"))
            }
        }
        VALUE_STRING => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| GateError::Malformed("value is not UTF-8"))?;
            Ok(Scalar::Str(text.to_owned()))
        }
        _ => Err(GateError::ValueType {
            key: key.to_owned(),
        }),
    }
}
