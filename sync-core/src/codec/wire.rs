//! The versioned protocol types, and their two encodings.
//!
//! A request and a response are streams of items. NDJSON is for people and foreign clients: bytes are base64, ids hyphenated, hashes hex.
//! A CBOR sequence (RFC 8742) is for phones: the same keys, with byte strings for bytes, ids and hashes. docs/protocol.md is the contract;
//! the frozen fixtures in `fixtures/` hold this module to it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error as _,
};
use uuid::Uuid;

use crate::{
    id::{ChangeHash, EntryId, RecordId},
    kinds::Kind,
    limits,
    time::{DeviceTime, ServerTime},
};

mod frequent;

/// Bytes on the wire: base64 in NDJSON, a byte string in CBOR.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&STANDARD.encode(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            STANDARD
                .decode(String::deserialize(deserializer)?)
                .map(Self)
                .map_err(D::Error::custom)
        } else {
            serde_bytes::ByteBuf::deserialize(deserializer).map(|bytes| Self(bytes.into_vec()))
        }
    }
}

/// What a phone sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestItem {
    /// First, once.
    Hello(Hello),
    /// Then any number of changes, each record's in the order they were made.
    Change(PushedChange),
}

/// Who asks, from where on, and whether it wants an answer beyond verdicts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The cursor of the last complete answer; `None` for a new phone.
    pub cursor: Option<String>,
    /// Name and version of the client program, for example `lianka-phone/0.1.0`.
    pub client: String,
    /// Whether to send what the phone lacks.
    pub pull: bool,
    /// How the device stands.
    pub report: Report,
    /// The kinds of record that the program knows, by their names; empty where it does not say: then [`BEFORE_KINDS`]. It gets nothing of others.
    pub kinds: Vec<String>,
    /// The newest form of [block](ResponseItem::Block) that it reads; 0: none, it is sent every change by itself.
    pub blocks: u32,
}

/// The kinds that a program knows which does not say.
pub const BEFORE_KINDS: [Kind; 2] = [Kind::ShopCard, Kind::TransferRequest];

impl Hello {
    /// Every kind that this program knows, as it says in [`Self::kinds`].
    pub fn all_kinds() -> Vec<String> {
        Kind::ALL.map(|kind| kind.as_str().to_owned()).into()
    }

    /// The kinds of which it is sent records.
    pub fn known_kinds(&self) -> Vec<Kind> {
        if self.kinds.is_empty() {
            return BEFORE_KINDS.to_vec();
        }
        self.kinds
            .iter()
            .filter_map(|kind| kind.parse().ok())
            .collect()
    }
}

/// How a device says it stands: for the office's list of devices. Nothing is decided by it, except that a device that says it has
/// cleared itself gets no more tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Changes still to be sent, those of this request included.
    pub unsent: Option<u64>,
    /// Changes of its own that wait for a reviewer.
    pub held: Option<u64>,
    /// Its clock.
    pub device_time: Option<DeviceTime>,
    /// It was told to wipe, and holds nothing any more.
    pub wiped: bool,
}

/// One change of the phone's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushedChange {
    /// The record it belongs to.
    pub record: RecordId,
    /// The record's kind.
    pub kind: Kind,
    /// The record's generation as the phone knows it.
    pub generation: u32,
    /// The Automerge change chunk, plain or deflated.
    pub bytes: Vec<u8>,
}

/// What became of a pushed change. Durable when sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictStatus {
    /// Part of the record now.
    Accepted,
    /// It had been accepted before.
    Duplicate,
    /// Kept for a reviewer to decide.
    Held,
    /// Refused; the code says why.
    Rejected,
}

/// The answer to one pushed change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Position of the change in the request, from 0.
    pub index: u32,
    /// The change; `None` where its bytes did not pass the gate.
    pub hash: Option<ChangeHash>,
    /// The record.
    pub record: RecordId,
    /// What became of it.
    pub status: VerdictStatus,
    /// Sequence in the street's log, where accepted or known.
    pub seq: Option<u64>,
    /// Stable code, where held or rejected.
    pub code: Option<String>,
    /// The key it is about, where there is one.
    pub field: Option<String>,
    /// For a person, in the language asked for.
    pub message: Option<String>,
    /// Rejected, but sending the same bytes again later may succeed.
    pub retryable: bool,
}

/// Something that the user of a phone is to know and that no record says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// Which: it may come more than once, and is one notice all the same.
    pub id: Uuid,
    /// The log entry it belongs to.
    pub seq: u64,
    /// A stable word, such as `value_not_chosen` (docs/protocol.md). A phone shows kinds that it does not know by their word.
    pub kind: String,
    /// The record it is about; the phone need not hold it any more.
    pub record: RecordId,
    /// The key, where it is about one.
    pub field: Option<String>,
    /// The change that brought it about.
    pub hash: Option<ChangeHash>,
    /// The role of whoever acted, not a person.
    pub by: Option<String>,
    /// When, by the server's clock.
    pub at: ServerTime,
    /// What was remarked.
    pub note: Option<String>,
}

/// What the server sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResponseItem {
    /// One for each pushed change, in their order.
    Verdict(Verdict),
    /// A whole record.
    Snapshot {
        /// Which.
        record: RecordId,
        /// Its kind.
        kind: Kind,
        /// The grid that owns it.
        grid: String,
        /// Its generation.
        generation: u32,
        /// Sequence of the newest entry it holds.
        seq: u64,
        /// A saved document, change chunks, or the one followed by the others: `Automerge.load` reads all three.
        bytes: Vec<u8>,
    },
    /// One change by somebody else.
    Change {
        /// The record.
        record: RecordId,
        /// Its generation.
        generation: u32,
        /// The log entry.
        seq: u64,
        /// The change chunk.
        bytes: Vec<u8>,
    },
    /// Changes that follow one another in the log, packed together: [`crate::codec::block`]. Only to whoever said in [`Hello::blocks`] that it
    /// reads them.
    Block {
        /// The block.
        bytes: Vec<u8>,
    },
    /// The record is no longer in the user's grids: drop it once its unsent edits were sent.
    Leave {
        /// Which.
        record: RecordId,
    },
    /// The record was erased: drop it and every edit of it.
    Erase {
        /// Which.
        record: RecordId,
    },
    /// A person on the record was erased: drop every edit and draft of these entries. The record itself comes whole, in its next generation.
    Redact {
        /// Which.
        record: RecordId,
        /// The person's entry, and those that named it.
        entries: Vec<EntryId>,
    },
    /// Something for the user to know.
    Notice(Notice),
    /// Drop everything: the device was revoked for good.
    Wipe,
    /// The store's history is another one: start over.
    Reset {
        /// The new history.
        epoch: Uuid,
    },
    /// What came so far is complete up to here.
    Checkpoint {
        /// To resume a broken download from.
        cursor: String,
    },
    /// Last item; without it the answer is incomplete.
    End {
        /// For the next request; `None` where the request asked for no pull.
        cursor: Option<String>,
        /// Sequence of the street's newest entry.
        head: u64,
        /// The server's clock.
        server_time: ServerTime,
        /// Seconds from now after which the phone locks its data until it has synchronised again; `None`: it never does.
        lease_seconds: Option<u64>,
    },
}

/// Every key an item may have. One flat shape serves both directions and both encodings; unknown keys are passed over, so that an older
/// program understands a newer one.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Item {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<ChangeHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kinds: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<VerdictStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_time: Option<ServerTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<EntryId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_time: Option<DeviceTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wiped: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<ServerTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Bytes>,
}

/// Why an item could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not JSON, not CBOR, or a value of another type.
    #[error("item {index} does not parse: {reason}")]
    Syntax {
        /// Position in the stream, from 0.
        index: usize,
        /// What the parser said.
        reason: String,
    },
    /// A key that the type needs is absent.
    #[error("item {index} lacks `{key}`")]
    MissingKey {
        /// Position in the stream, from 0.
        index: usize,
        /// The key.
        key: &'static str,
    },
    /// A type that this side does not expect.
    #[error("item {index} has the unknown type `{name}`")]
    UnknownType {
        /// Position in the stream, from 0.
        index: usize,
        /// What it said.
        name: String,
    },
    /// A kind of record that this side does not know.
    #[error("item {index} names the unknown kind `{name}`")]
    UnknownKind {
        /// Position in the stream, from 0.
        index: usize,
        /// What it said.
        name: String,
    },
    /// An item longer than [`limits::ITEM_BYTES_MAX`].
    #[error("item {index} is longer than {} bytes", limits::ITEM_BYTES_MAX)]
    TooLong {
        /// Position in the stream, from 0.
        index: usize,
    },
}

/// What can be read from, and written to, a stream.
pub trait StreamItem: Sized + private::Sealed {
    /// Whether an item of an unknown type, or about a record of an unknown kind, is passed over: an older phone goes on with a newer server. A
    /// server refuses what it does not know, because passing over a change would lose it.
    const PASSES_OVER_UNKNOWN: bool;

    #[doc(hidden)]
    fn to_wire(&self) -> Flat;
    #[doc(hidden)]
    fn from_wire(item: Flat, index: usize) -> Result<Self, WireError>;
    /// Appends it as CBOR without [`Self::to_wire`]; whether that was possible.
    #[doc(hidden)]
    fn write_cbor(&self, _: &mut Vec<u8>) -> bool {
        false
    }
    /// Reads it from CBOR without [`Self::from_wire`], where that is possible.
    #[doc(hidden)]
    fn read_cbor(_: &[u8]) -> Option<Self> {
        None
    }
}

mod private {
    /// Keeps [`super::StreamItem`] to the two item types.
    pub trait Sealed {}
    impl Sealed for super::RequestItem {}
    impl Sealed for super::ResponseItem {}

    /// An opaque [`super::Item`].
    pub struct Flat(pub(super) super::Item);
}

use private::Flat;

fn unknown_type(name: &str, index: usize) -> WireError {
    WireError::UnknownType {
        index,
        name: shortened(name),
    }
}

fn kind(name: Option<String>, index: usize) -> Result<Kind, WireError> {
    let name = need(name, "kind", index)?;
    name.parse().map_err(|_| WireError::UnknownKind {
        index,
        name: shortened(&name),
    })
}

/// Enough of a foreign word to recognise it by, as far as it looks like one of the protocol: an error never repeats what a person typed.
fn shortened(text: &str) -> String {
    text.chars()
        .take(40)
        .filter(|c| c.is_ascii_lowercase() || *c == '_')
        .collect()
}

fn need<T>(value: Option<T>, key: &'static str, index: usize) -> Result<T, WireError> {
    value.ok_or(WireError::MissingKey { index, key })
}

impl StreamItem for RequestItem {
    const PASSES_OVER_UNKNOWN: bool = false;

    fn to_wire(&self) -> Flat {
        Flat(match self.clone() {
            Self::Hello(Hello {
                cursor,
                client,
                pull,
                report,
                kinds,
                blocks,
            }) => Item {
                r#type: "hello".into(),
                cursor,
                client: Some(client),
                pull: Some(pull),
                unsent: report.unsent,
                held: report.held,
                device_time: report.device_time,
                wiped: report.wiped.then_some(true),
                kinds: (!kinds.is_empty()).then_some(kinds),
                blocks: (blocks > 0).then_some(blocks),
                ..Item::default()
            },
            Self::Change(change) => Item {
                r#type: "change".into(),
                record: Some(change.record),
                kind: Some(change.kind.as_str().to_owned()),
                generation: Some(change.generation),
                bytes: Some(Bytes(change.bytes)),
                ..Item::default()
            },
        })
    }

    fn from_wire(Flat(item): Flat, index: usize) -> Result<Self, WireError> {
        Ok(match item.r#type.as_str() {
            "hello" => Self::Hello(Hello {
                cursor: item.cursor,
                client: need(item.client, "client", index)?,
                pull: need(item.pull, "pull", index)?,
                report: Report {
                    unsent: item.unsent,
                    held: item.held,
                    device_time: item.device_time,
                    wiped: item.wiped.unwrap_or(false),
                },
                kinds: item.kinds.unwrap_or_default(),
                blocks: item.blocks.unwrap_or(0),
            }),
            "change" => Self::Change(PushedChange {
                record: need(item.record, "record", index)?,
                kind: kind(item.kind, index)?,
                generation: need(item.generation, "generation", index)?,
                bytes: need(item.bytes, "bytes", index)?.0,
            }),
            "" => return Err(WireError::MissingKey { index, key: "type" }),
            name => return Err(unknown_type(name, index)),
        })
    }
}

impl StreamItem for ResponseItem {
    const PASSES_OVER_UNKNOWN: bool = true;

    fn write_cbor(&self, out: &mut Vec<u8>) -> bool {
        frequent::write(self, out)
    }

    fn read_cbor(bytes: &[u8]) -> Option<Self> {
        frequent::read(bytes)
    }

    fn to_wire(&self) -> Flat {
        let item = |name: &str| Item {
            r#type: name.into(),
            ..Item::default()
        };
        Flat(match self.clone() {
            Self::Verdict(verdict) => Item {
                index: Some(verdict.index),
                hash: verdict.hash,
                record: Some(verdict.record),
                status: Some(verdict.status),
                seq: verdict.seq,
                code: verdict.code,
                field: verdict.field,
                message: verdict.message,
                retryable: (verdict.status == VerdictStatus::Rejected).then_some(verdict.retryable),
                ..item("verdict")
            },
            Self::Snapshot {
                record,
                kind,
                grid,
                generation,
                seq,
                bytes,
            } => Item {
                record: Some(record),
                kind: Some(kind.as_str().to_owned()),
                grid: Some(grid),
                generation: Some(generation),
                seq: Some(seq),
                bytes: Some(Bytes(bytes)),
                ..item("snapshot")
            },
            Self::Change {
                record,
                generation,
                seq,
                bytes,
            } => Item {
                record: Some(record),
                generation: Some(generation),
                seq: Some(seq),
                bytes: Some(Bytes(bytes)),
                ..item("change")
            },
            Self::Block { bytes } => Item {
                bytes: Some(Bytes(bytes)),
                ..item("block")
            },
            Self::Leave { record } => Item {
                record: Some(record),
                ..item("leave")
            },
            Self::Erase { record } => Item {
                record: Some(record),
                ..item("erase")
            },
            Self::Redact { record, entries } => Item {
                record: Some(record),
                entries: Some(entries),
                ..item("redact")
            },
            Self::Notice(notice) => Item {
                id: Some(notice.id),
                seq: Some(notice.seq),
                kind: Some(notice.kind),
                record: Some(notice.record),
                field: notice.field,
                hash: notice.hash,
                by: notice.by,
                at: Some(notice.at),
                note: notice.note,
                ..item("notice")
            },
            Self::Wipe => item("wipe"),
            Self::Reset { epoch } => Item {
                epoch: Some(epoch),
                ..item("reset")
            },
            Self::Checkpoint { cursor } => Item {
                cursor: Some(cursor),
                ..item("checkpoint")
            },
            Self::End {
                cursor,
                head,
                server_time,
                lease_seconds,
            } => Item {
                cursor,
                head: Some(head),
                server_time: Some(server_time),
                lease_seconds,
                ..item("end")
            },
        })
    }

    fn from_wire(Flat(item): Flat, index: usize) -> Result<Self, WireError> {
        let record = need(item.record, "record", index);
        let bytes = need(item.bytes, "bytes", index);
        Ok(match item.r#type.as_str() {
            "verdict" => Self::Verdict(Verdict {
                index: need(item.index, "index", index)?,
                hash: item.hash,
                record: record?,
                status: need(item.status, "status", index)?,
                seq: item.seq,
                code: item.code,
                field: item.field,
                message: item.message,
                retryable: item.retryable.unwrap_or(false),
            }),
            "snapshot" => Self::Snapshot {
                record: record?,
                kind: kind(item.kind, index)?,
                grid: need(item.grid, "grid", index)?,
                generation: need(item.generation, "generation", index)?,
                seq: need(item.seq, "seq", index)?,
                bytes: bytes?.0,
            },
            "change" => Self::Change {
                record: record?,
                generation: need(item.generation, "generation", index)?,
                seq: need(item.seq, "seq", index)?,
                bytes: bytes?.0,
            },
            "block" => Self::Block { bytes: bytes?.0 },
            "leave" => Self::Leave { record: record? },
            "erase" => Self::Erase { record: record? },
            "redact" => Self::Redact {
                record: record?,
                entries: need(item.entries, "entries", index)?,
            },
            "notice" => Self::Notice(Notice {
                id: need(item.id, "id", index)?,
                seq: need(item.seq, "seq", index)?,
                kind: need(item.kind, "kind", index)?,
                record: record?,
                field: item.field,
                hash: item.hash,
                by: item.by,
                at: need(item.at, "at", index)?,
                note: item.note,
            }),
            "wipe" => Self::Wipe,
            "reset" => Self::Reset {
                epoch: need(item.epoch, "epoch", index)?,
            },
            "checkpoint" => Self::Checkpoint {
                cursor: need(item.cursor, "cursor", index)?,
            },
            "end" => Self::End {
                cursor: item.cursor,
                head: need(item.head, "head", index)?,
                server_time: need(item.server_time, "server_time", index)?,
                lease_seconds: item.lease_seconds,
            },
            "" => return Err(WireError::MissingKey { index, key: "type" }),
            name => return Err(unknown_type(name, index)),
        })
    }
}

/// How items are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// One JSON object a line.
    Ndjson,
    /// RFC 8742.
    CborSeq,
}

impl Encoding {
    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::CborSeq => "application/cbor-seq",
        }
    }

    /// From a media type, its parameters passed over.
    pub fn from_media_type(text: &str) -> Option<Self> {
        let essence = text.split(';').next()?.trim();
        [Self::Ndjson, Self::CborSeq]
            .into_iter()
            .find(|encoding| essence.eq_ignore_ascii_case(encoding.media_type()))
    }

    /// Appends one item to `out`.
    pub fn write(self, item: &impl StreamItem, out: &mut Vec<u8>) {
        if self == Self::CborSeq && item.write_cbor(out) {
            return;
        }
        let Flat(item) = item.to_wire();
        // Plain data into a growing buffer: neither writer has a way to fail.
        match self {
            Self::Ndjson => {
                let _ = serde_json::to_writer(&mut *out, &item);
                out.push(b'\n');
            }
            Self::CborSeq => {
                let _ = ciborium::into_writer(&item, &mut *out);
            }
        }
    }
}

/// Splits a stream of bytes, as it arrives, into items.
pub struct ItemReader {
    encoding: Encoding,
    buffer: Vec<u8>,
    start: usize,
    index: usize,
}

impl ItemReader {
    /// A reader at the start of a stream.
    pub fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            buffer: Vec::new(),
            start: 0,
            index: 0,
        }
    }

    /// Takes in the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete item; `None` where more bytes are needed.
    pub fn next_item<T: StreamItem>(&mut self) -> Result<Option<T>, WireError> {
        loop {
            let index = self.index;
            if self.encoding == Encoding::Ndjson {
                // Empty lines, all at once: megabytes of nothing cost next to nothing.
                self.start += self.buffer[self.start..]
                    .iter()
                    .take_while(|byte| matches!(byte, b'\n' | b'\r'))
                    .count();
            }
            let pending = &self.buffer[self.start..];
            let length = match self.encoding {
                Encoding::Ndjson => pending
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map(|at| at + 1),
                Encoding::CborSeq => {
                    cbor_item_length(pending).map_err(|reason| WireError::Syntax {
                        index,
                        reason: reason.to_owned(),
                    })?
                }
            };
            let Some(length) = length else {
                return if pending.len() > limits::ITEM_BYTES_MAX {
                    Err(WireError::TooLong { index })
                } else {
                    Ok(None)
                };
            };
            if length > limits::ITEM_BYTES_MAX {
                return Err(WireError::TooLong { index });
            }
            let bytes = &pending[..length];
            self.start += length;
            if self.encoding == Encoding::Ndjson && bytes.trim_ascii().is_empty() {
                continue;
            }
            if self.encoding == Encoding::CborSeq
                && let Some(item) = T::read_cbor(bytes)
            {
                self.index += 1;
                return Ok(Some(item));
            }
            let item = parse(self.encoding, bytes)
                .map_err(|reason| WireError::Syntax { index, reason })?;
            self.index += 1;
            match T::from_wire(Flat(item), index) {
                Err(WireError::UnknownType { .. } | WireError::UnknownKind { .. })
                    if T::PASSES_OVER_UNKNOWN => {}
                item => return item.map(Some),
            }
        }
    }

    /// The item that ends with the stream: a last line without its newline. `Ok(None)` where nothing is left.
    pub fn finish<T: StreamItem>(&mut self) -> Result<Option<T>, WireError> {
        if self.encoding == Encoding::Ndjson && self.start < self.buffer.len() {
            self.push(b"\n");
        }
        match self.next_item()? {
            None if self.start < self.buffer.len() => Err(WireError::Syntax {
                index: self.index,
                reason: "the stream ends inside an item".into(),
            }),
            item => Ok(item),
        }
    }
}

fn parse<T: DeserializeOwned>(encoding: Encoding, bytes: &[u8]) -> Result<T, String> {
    // A list of an item's values in the order of their declaration would be taken for the item.
    let is_object = match encoding {
        Encoding::Ndjson => bytes.trim_ascii_start().first() == Some(&b'{'),
        Encoding::CborSeq => bytes.first().is_some_and(|head| head >> 5 == CBOR_MAP),
    };
    if !is_object {
        return Err("expected an object".into());
    }
    match encoding {
        Encoding::Ndjson => serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => without_content(&error.to_string()),
            // Of broken JSON the parser names line and column only.
            _ => error.to_string(),
        }),
        Encoding::CborSeq => ciborium::de::from_reader_with_recursion_limit(bytes, CBOR_DEPTH_MAX)
            .map_err(|error| match error {
                ciborium::de::Error::Semantic(_, reason) => without_content(&reason),
                _ => "not CBOR".into(),
            }),
    }
}

/// What was expected, without what was found: an error never repeats what a person typed.
fn without_content(reason: &str) -> String {
    reason.rsplit_once(", expected ").map_or_else(
        || "a value of the wrong form".into(),
        |(_, expected)| format!("expected {expected}"),
    )
}

const CBOR_DEPTH_MAX: usize = 8;
/// The major type of a map, RFC 8949, section 3.1.
const CBOR_MAP: u8 = 5;

/// Length of the first CBOR item; `Ok(None)` where it is not complete yet. Reads heads only, so a claimed length costs nothing.
fn cbor_item_length(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    // Items still to come at each open level.
    let mut open: Vec<u64> = vec![1];
    let mut at = 0_usize;
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        let Some(&head) = bytes.get(at) else {
            return Ok(None);
        };
        at += 1;
        let width = match head & 0x1f {
            0..=23 => 0,
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 => return Err("indefinite lengths are not used here"),
            _ => return Err("not CBOR"),
        };
        let Some(argument) = bytes.get(at..at + width) else {
            return Ok(None);
        };
        at += width;
        let argument = if width == 0 {
            u64::from(head & 0x1f)
        } else {
            argument
                .iter()
                .fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        if argument > limits::ITEM_BYTES_MAX as u64 && matches!(head >> 5, 2..=5) {
            return Err("an item is too long");
        }
        match head >> 5 {
            2 | 3 => at += argument as usize,
            4 => open.push(argument),
            5 => open.push(argument * 2),
            6 => open.push(1),
            _ => {}
        }
        if open.len() > CBOR_DEPTH_MAX {
            return Err("nested too deeply");
        }
        if at > bytes.len() {
            return if at > limits::ITEM_BYTES_MAX {
                Err("an item is too long")
            } else {
                Ok(None)
            };
        }
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests;
