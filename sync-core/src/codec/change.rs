//! INGEST, pure: bytes from the network → a [`Change`] that is safe to hand to Automerge, or a [`GateError`].
//!
//! Automerge trusts its input; a server must not (docs/design of the gate: docs/decisions/0002-gate.md). So nothing from the network reaches
//! the library before [`decode`] has passed it. Invariants of what passes:
//!
//! - it is exactly one change chunk, plain or boundedly inflated; never a document or bundle chunk;
//! - every count (operations, actors, dependencies, predecessors, value bytes) was checked before anything was expanded;
//! - it holds only what flat records need: put and delete on the root map, one kind of object (Text) and splices of it, scalar values
//!   of the catalogue;
//! - its checksum was recomputed, its numbers lie in sane ranges;
//! - encoding it again yields the very same bytes, so Automerge will write the change back as it came and its hash will stand.
//!
//! What needs the record (sequence, dependencies, predecessors, write-once keys) is checked by [`crate::crdt::merge`]; what needs the
//! catalogue (types, lengths, roles) by [`crate::access`].

use std::{collections::BTreeSet, io::Read};

use sha2::{Digest, Sha256};

use crate::{
    id::{Actor, ChangeHash},
    lang::Lang,
    limits,
    time::DeviceTime,
};

pub(in crate::codec) mod column;
mod encode;

pub use encode::encode;
pub(in crate::codec) use encode::encode_known;

/// The first four bytes of every Automerge chunk.
const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHUNK_DOCUMENT: u8 = 0;
const CHUNK_CHANGE: u8 = 1;
const CHUNK_DEFLATED: u8 = 2;

/// Identity of an operation: Lamport counter, then actor. The order is Automerge's: the highest wins a register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId {
    /// Lamport counter, from 1.
    pub counter: u32,
    /// Who made it.
    pub actor: Actor,
}

/// A value a register can hold.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` marks a set member as present.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A scalar string (JavaScript: `ImmutableString`), never a Text object.
    Str(String),
}

impl Scalar {
    /// The string inside, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            Self::Bool(_) | Self::Int(_) => None,
        }
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

/// What one operation does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Write a register of the root map.
    Put {
        /// Flat key.
        key: String,
        /// New value.
        value: Scalar,
    },
    /// Delete a register of the root map.
    Delete {
        /// Flat key.
        key: String,
    },
    /// Create the Text object of the record under a root key.
    MakeText {
        /// Flat key.
        key: String,
    },
    /// Insert one string (a character, from every client known) into a Text object.
    Insert {
        /// The Text object's id.
        object: OpId,
        /// The element it follows; `None` at the start.
        after: Option<OpId>,
        /// What is inserted.
        text: String,
    },
    /// Remove one element of a Text object.
    Remove {
        /// The Text object's id.
        object: OpId,
        /// The element.
        element: OpId,
    },
}

/// One operation of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Op {
    /// What it does.
    pub action: Action,
    /// The operations it replaces, in ascending order.
    pub pred: Vec<OpId>,
}

/// A change that passed the gate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// SHA-256 that identifies it.
    pub hash: ChangeHash,
    /// The uncompressed chunk.
    pub bytes: Vec<u8>,
    /// Author.
    pub actor: Actor,
    /// Position in the author's own sequence, from 1.
    pub seq: u32,
    /// Counter of the first operation; the others follow without gap.
    pub start_op: u32,
    /// When the device says it was made; `None` where the client wrote 0.
    pub time: Option<DeviceTime>,
    /// The author's remark, often empty.
    pub message: String,
    /// The changes it had seen, ascending.
    pub deps: Vec<ChangeHash>,
    /// What it does, in order.
    pub ops: Vec<Op>,
}

impl Change {
    /// Id of the operation at `index` in [`Change::ops`].
    pub fn op_id(&self, index: usize) -> OpId {
        OpId {
            counter: self.start_op + index as u32,
            actor: self.actor,
        }
    }

    /// Counter of the last operation.
    pub fn max_op(&self) -> u32 {
        self.start_op + self.ops.len() as u32 - 1
    }

    /// Whether it touches a Text object beyond creating it empty: the one case in which MERGE needs the document.
    pub fn edits_text(&self) -> bool {
        self.ops
            .iter()
            .any(|op| matches!(op.action, Action::Insert { .. } | Action::Remove { .. }))
    }
}

/// Why bytes did not pass. `code()` is the stable code on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Not one change chunk in Automerge's format.
    #[error("not an Automerge change: {0}")]
    Malformed(&'static str),
    /// A document, bundle or unknown chunk.
    #[error("chunk type {0} is not a change: send changes, not documents")]
    ChunkType(u8),
    /// The checksum does not match.
    #[error("the checksum does not match the content")]
    Checksum,
    /// A count or size is over its limit.
    #[error("too large: {what}, at most {max}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// The limit from [`limits`].
        max: u64,
    },
    /// A number lies outside its sane range.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// Nested maps, lists and tables are not part of flat records, and Text only as the note.
    #[error(
        "objects inside a record are not allowed (write strings as scalar strings; JavaScript: ImmutableString)"
    )]
    NestedObject {
        /// The key where it stands, if it is the root map's.
        key: String,
    },
    /// An operation that flat records do not use (increment, mark, list insert …).
    #[error("operation not allowed: {0}")]
    Operation(&'static str),
    /// A value of a type that no field has.
    #[error("value type not allowed: use string, true or whole number")]
    ValueType {
        /// The key it was written to.
        key: String,
    },
    /// An actor that is not 16 bytes of device and 4 of epoch.
    #[error("the actor id is not 20 bytes: device id, then epoch")]
    ActorLength,
    /// The bytes are a possible but not the canonical encoding: Automerge would write them back differently, under another hash.
    #[error("not in canonical encoding")]
    NotCanonical,
}

impl GateError {
    /// The stable code of a `verdict` (docs/protocol.md).
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_change",
            Self::ChunkType(_) => "not_a_change",
            Self::Checksum => "checksum_mismatch",
            Self::TooLarge { .. } => "change_too_large",
            Self::OutOfRange(_) => "out_of_range",
            Self::NestedObject { .. } => "nested_object",
            Self::Operation(_) => "operation_not_allowed",
            Self::ValueType { .. } => "wrong_type",
            Self::ActorLength => "bad_actor",
            Self::NotCanonical => "not_canonical",
        }
    }

    /// For a person, in their language. Details of the encoding are for programmers, who read the English one.
    pub fn message(&self, lang: Lang) -> String {
        if lang == Lang::En {
            return self.to_string();
        }
        match self {
            Self::Malformed(_) => "不是 Automerge 修改".into(),
            Self::ChunkType(_) => "只接受修改，不接受整个文档".into(),
            Self::Checksum => "校验和与内容不符".into(),
            Self::TooLarge { max, .. } => format!("修改过大（上限 {max}）"),
            Self::OutOfRange(_) => "数值超出范围".into(),
            Self::NestedObject { .. } => "记录内不能有嵌套对象（字符串须为标量字符串）".into(),
            Self::Operation(_) => "不允许的操作".into(),
            Self::ValueType { .. } => "值的类型不对：须为字符串、true 或整数".into(),
            Self::ActorLength => "署名须为 20 字节：设备编号加轮次".into(),
            Self::NotCanonical => "不是规范编码".into(),
        }
    }

    /// The key the error is about, where there is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NestedObject { key } | Self::ValueType { key } => Some(key),
            _ => None,
        }
    }
}

fn too_large(what: &'static str, max: usize) -> GateError {
    GateError::TooLarge {
        what,
        max: max as u64,
    }
}

/// Bytes of a change as they came → a checked [`Change`].
///
/// Time and memory are linear in the limits of [`limits`], whatever the bytes are.
pub fn decode(bytes: &[u8]) -> Result<Change, GateError> {
    if bytes.len() > limits::CHANGE_BYTES_MAX {
        return Err(too_large("bytes of a change", limits::CHANGE_BYTES_MAX));
    }
    let chunk = Chunk::parse(bytes)?;
    let inflated;
    let body = match chunk.kind {
        CHUNK_CHANGE => chunk.body,
        CHUNK_DEFLATED => {
            inflated = inflate(chunk.body)?;
            &inflated
        }
        other => return Err(GateError::ChunkType(other)),
    };
    let hash = hash_of(body);
    if hash.0[..4] != chunk.checksum {
        return Err(GateError::Checksum);
    }
    let mut change = Body::parse(body)?.into_change()?;
    change.hash = hash;
    change.bytes = plain_chunk(hash, body);
    // What is kept and sent on is the plain form: whoever reads it again must not find it too large.
    if change.bytes.len() > limits::CHANGE_BYTES_MAX {
        return Err(too_large("bytes of a change", limits::CHANGE_BYTES_MAX));
    }
    if encode(&change) != change.bytes || (chunk.kind == CHUNK_CHANGE && change.bytes != bytes) {
        return Err(GateError::NotCanonical);
    }
    Ok(change)
}

/// What a plain change chunk is known by, and who wrote it: for bytes that passed [`decode`] at the office, which is trusted. What it does is not
/// looked at.
pub fn identify(bytes: &[u8]) -> Result<(ChangeHash, Actor), GateError> {
    let chunk = Chunk::parse(bytes)?;
    if chunk.kind != CHUNK_CHANGE {
        return Err(GateError::ChunkType(chunk.kind));
    }
    let hash = hash_of(chunk.body);
    if hash.0[..4] != chunk.checksum {
        return Err(GateError::Checksum);
    }
    let mut input = Input(chunk.body);
    let deps = input.count("dependencies", limits::CHANGE_DEPS_MAX)?;
    input.take(deps * 32)?;
    Ok((hash, input.actor()?))
}

/// The changes that a saved record names without being loaded: the heads of the document, and the chunks after it. Of bytes that came from the
/// office, which is trusted; where they cannot be read, what stands before.
pub fn named(mut saved: &[u8]) -> Vec<ChangeHash> {
    let mut named = Vec::new();
    while let Ok((chunk, rest)) = Chunk::first(saved) {
        saved = rest;
        match chunk.kind {
            CHUNK_DOCUMENT => named.extend(heads(chunk.body).unwrap_or_default()),
            CHUNK_CHANGE => named.push(hash_of(chunk.body)),
            CHUNK_DEFLATED => named.extend(inflate(chunk.body).map(|body| hash_of(&body))),
            _ => {}
        }
    }
    named
}

/// The heads of a document chunk: they stand behind its table of actors.
fn heads(body: &[u8]) -> Result<Vec<ChangeHash>, GateError> {
    let mut input = Input(body);
    for _ in 0..input.count("actors", limits::RECORD_ACTORS_MAX)? {
        let length = input.length()?;
        input.take(length)?;
    }
    let count = input.count("heads", limits::RECORD_CHANGES_MAX)?;
    let heads = input.take(count * 32)?.chunks_exact(32);
    Ok(heads.filter_map(ChangeHash::from_slice).collect())
}

struct Chunk<'a> {
    checksum: [u8; 4],
    kind: u8,
    body: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, GateError> {
        let (chunk, rest) = Self::first(bytes)?;
        if rest.is_empty() {
            Ok(chunk)
        } else {
            Err(GateError::Malformed("bytes after the chunk"))
        }
    }

    /// The first of several, and what stands behind it.
    fn first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), GateError> {
        let mut input = Input(bytes);
        if input.take(4)? != MAGIC {
            return Err(GateError::Malformed("magic bytes"));
        }
        let checksum = input
            .take(4)?
            .try_into()
            .map_err(|_| GateError::Malformed("checksum"))?;
        let kind = input.take(1)?[0];
        let length = input.length()?;
        let body = input.take(length)?;
        let chunk = Self {
            checksum,
            kind,
            body,
        };
        Ok((chunk, input.0))
    }
}

fn inflate(deflated: &[u8]) -> Result<Vec<u8>, GateError> {
    let mut inflated = Vec::new();
    let bound = limits::CHANGE_BYTES_MAX as u64 + 1;
    let mut decoder = flate2::bufread::DeflateDecoder::new(deflated).take(bound);
    decoder
        .read_to_end(&mut inflated)
        .map_err(|_| GateError::Malformed("deflate"))?;
    if inflated.len() > limits::CHANGE_BYTES_MAX {
        return Err(too_large("bytes of a change", limits::CHANGE_BYTES_MAX));
    }
    if !decoder.into_inner().into_inner().is_empty() {
        return Err(GateError::Malformed("bytes after the deflate stream"));
    }
    Ok(inflated)
}

fn hash_of(body: &[u8]) -> ChangeHash {
    let mut header = vec![CHUNK_CHANGE];
    column::write_uleb(&mut header, body.len() as u64);
    ChangeHash(
        Sha256::new()
            .chain_update(&header)
            .chain_update(body)
            .finalize()
            .into(),
    )
}

fn plain_chunk(hash: ChangeHash, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 14);
    out.extend(MAGIC);
    out.extend(&hash.0[..4]);
    out.push(CHUNK_CHANGE);
    column::write_uleb(&mut out, body.len() as u64);
    out.extend(body);
    out
}

/// A cursor over bytes that can only run out, never past.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], GateError> {
        let (head, tail) = self
            .0
            .split_at_checked(n)
            .ok_or(GateError::Malformed("unexpected end"))?;
        self.0 = tail;
        Ok(head)
    }

    fn uleb(&mut self) -> Result<u64, GateError> {
        column::read_uleb(&mut self.0)
    }

    fn length(&mut self) -> Result<usize, GateError> {
        usize::try_from(self.uleb()?).map_err(|_| GateError::Malformed("length"))
    }

    fn count(&mut self, what: &'static str, max: usize) -> Result<usize, GateError> {
        let count = self.length()?;
        if count > max {
            Err(too_large(what, max))
        } else {
            Ok(count)
        }
    }

    fn actor(&mut self) -> Result<Actor, GateError> {
        let length = self.length()?;
        Actor::from_slice(self.take(length)?).ok_or(GateError::ActorLength)
    }
}

/// The body of a change chunk, split but not yet turned into operations.
struct Body<'a> {
    deps: Vec<ChangeHash>,
    actors: Vec<Actor>,
    seq: u32,
    start_op: u32,
    time: i64,
    message: String,
    columns: column::Columns<'a>,
}

impl<'a> Body<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, GateError> {
        let mut input = Input(body);
        let deps = (0..input.count("dependencies", limits::CHANGE_DEPS_MAX)?)
            .map(|_| {
                ChangeHash::from_slice(input.take(32)?).ok_or(GateError::Malformed("dependency"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if !deps.is_sorted_by(|a, b| a < b) {
            return Err(GateError::NotCanonical);
        }
        let mut actors = vec![input.actor()?];
        let seq = in_range(input.uleb()?, limits::ACTOR_SEQ_MAX, "seq")?;
        let start_op = in_range(input.uleb()?, limits::OP_COUNTER_MAX, "start_op")?;
        let time = column::read_leb(&mut input.0)?;
        if !(0..=limits::CHANGE_TIME_SECONDS_MAX).contains(&time) {
            return Err(GateError::OutOfRange("time (seconds since 1970)"));
        }
        let message_length =
            input.count("bytes of the message", limits::CHANGE_MESSAGE_BYTES_MAX)?;
        let message = std::str::from_utf8(input.take(message_length)?)
            .map_err(|_| GateError::Malformed("message is not UTF-8"))?;
        let message = message.to_owned();
        for _ in 0..input.count("actors", limits::CHANGE_ACTORS_MAX - 1)? {
            actors.push(input.actor()?);
        }
        let columns = column::Columns::parse(&mut input.0)?;
        if !input.0.is_empty() {
            return Err(GateError::Malformed("extra bytes"));
        }
        Ok(Self {
            deps,
            actors,
            seq,
            start_op,
            time,
            message,
            columns,
        })
    }

    fn into_change(self) -> Result<Change, GateError> {
        let rows = self.columns.rows()?;
        if rows.is_empty() {
            return Err(GateError::Operation("a change without operations"));
        }
        if u64::from(self.start_op) + rows.len() as u64 > limits::OP_COUNTER_MAX {
            return Err(GateError::OutOfRange("start_op"));
        }
        let mut text_objects = BTreeSet::new();
        let mut ops = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            let op = row.into_op(&self.actors)?;
            if let Action::MakeText { .. } = op.action {
                text_objects.insert(index);
            }
            ops.push(op);
        }
        if text_objects.len() > 1 {
            return Err(GateError::Operation("more than one Text object"));
        }
        Ok(Change {
            hash: ChangeHash([0; 32]),
            bytes: Vec::new(),
            actor: self.actors[0],
            seq: self.seq,
            start_op: self.start_op,
            time: (self.time != 0).then(|| DeviceTime::from_unix_seconds(self.time)),
            message: self.message,
            deps: self.deps,
            ops,
        })
    }
}

/// 1 ..= max, as `u32`.
fn in_range(value: u64, max: u64, what: &'static str) -> Result<u32, GateError> {
    if (1..=max).contains(&value) {
        Ok(value as u32)
    } else {
        Err(GateError::OutOfRange(what))
    }
}

#[cfg(test)]
mod tests;
