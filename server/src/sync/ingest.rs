//! INGEST, the IO half: a request body, compressed or not → `hello` and changes, each through the gate.
//!
//! Everything is bounded before it is expanded: the body as sent, the body inflated, the items, their number, and each change by
//! [`lianka_sync_core::codec::change::decode`]. Runs on a blocking thread, because hostile bytes may be slow.

use std::io::Read;

use lianka_office_core::push::Ingested;
use lianka_sync_core::{
    codec::wire::{Encoding, Hello, ItemReader, RequestItem, WireError},
    limits,
};

/// Window of a zstd frame, as a power of two: 8 MiB is what the highest ordinary level uses.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Why a body is no request.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("the body does not decompress")]
    Packed(#[source] std::io::Error),
    #[error("the body is too large")]
    TooLarge,
    #[error("it holds too many changes")]
    TooManyChanges,
    #[error("it holds too many operations")]
    TooManyOps,
    #[error(transparent)]
    Unreadable(#[from] WireError),
    #[error("the first item is no hello")]
    NoHello,
    #[error("there are two hellos")]
    TwoHellos,
    #[error("the client's name has not 1 to {CLIENT_CHARS_MAX} characters")]
    ClientName,
}

impl IngestError {
    /// Whether no phone sends such a body, whatever it says in it.
    pub fn is_about_the_body(&self) -> bool {
        !matches!(self, Self::ClientName)
    }

    /// Whether it would have cost more than it may.
    pub fn is_too_much(&self) -> bool {
        matches!(
            self,
            Self::TooLarge | Self::TooManyChanges | Self::TooManyOps
        )
    }
}

/// How the bytes of a body are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    Identity,
    Zstd,
    Gzip,
}

impl Packing {
    /// The name in `Content-Encoding`; none for plain bytes.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
        }
    }

    fn unpack(self, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, IngestError> {
        let bound = bytes_max as u64 + 1;
        let mut inflated = Vec::new();
        let read = match self {
            Self::Identity => return Ok(body.to_vec()),
            Self::Zstd => zstd::stream::read::Decoder::with_buffer(body).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                decoder.take(bound).read_to_end(&mut inflated)
            }),
            Self::Gzip => flate2::bufread::MultiGzDecoder::new(body)
                .take(bound)
                .read_to_end(&mut inflated),
        };
        match read {
            Ok(_) if inflated.len() <= bytes_max => Ok(inflated),
            Ok(_) => Err(IngestError::TooLarge),
            Err(error) => Err(IngestError::Packed(error)),
        }
    }
}

/// A request, read.
#[derive(Debug)]
pub struct SyncRequest {
    pub hello: Hello,
    pub changes: Vec<Ingested>,
}

/// What reading a request may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effort {
    /// Bytes of the body after inflation.
    pub inflated_bytes: usize,
    /// Operations of all changes.
    pub ops: usize,
}

impl Effort {
    /// What the protocol allows.
    pub const FULL: Self = Self {
        inflated_bytes: limits::SYNC_INFLATED_BYTES_MAX,
        ops: limits::SYNC_OPS_MAX,
    };
    /// What a phone sends that was offline for a day takes a tenth of this.
    pub const SMALL: Self = Self {
        inflated_bytes: 512 * 1024,
        ops: 20_000,
    };
}

/// Reads a whole request. A body that cannot be read to its end is refused as a whole, before anything of it is stored.
pub fn read(body: &[u8], packing: Packing, encoding: Encoding) -> Result<SyncRequest, IngestError> {
    read_within(body, packing, encoding, Effort::FULL)
}

/// The same at less than the protocol's cost; what would cost more is `body_too_large`.
pub fn read_within(
    body: &[u8],
    packing: Packing,
    encoding: Encoding,
    effort: Effort,
) -> Result<SyncRequest, IngestError> {
    let body = packing.unpack(body, effort.inflated_bytes)?;
    let mut reader = ItemReader::new(encoding);
    reader.push(&body);
    let (mut hello, mut changes, mut ops) = (None, Vec::new(), 0);
    loop {
        let item = match reader.next_item()? {
            None => reader.finish()?,
            item => item,
        };
        match item {
            None => break,
            Some(RequestItem::Hello(first)) if hello.is_none() => hello = Some(first),
            Some(RequestItem::Hello(_)) => {
                return Err(IngestError::TwoHellos);
            }
            Some(RequestItem::Change(_)) if hello.is_none() => {
                return Err(IngestError::NoHello);
            }
            Some(RequestItem::Change(_)) if changes.len() >= limits::SYNC_CHANGES_MAX => {
                return Err(IngestError::TooManyChanges);
            }
            Some(RequestItem::Change(pushed)) => {
                let ingested = Ingested::new(pushed);
                ops += ingested
                    .change
                    .as_ref()
                    .map_or(0, |change| change.ops.len());
                if ops > effort.ops {
                    return Err(IngestError::TooManyOps);
                }
                changes.push(ingested);
            }
        }
    }
    let hello = hello.ok_or(IngestError::NoHello)?;
    if hello.client.is_empty()
        || hello.client.chars().count() > CLIENT_CHARS_MAX
        || hello.client.chars().any(char::is_control)
    {
        return Err(IngestError::ClientName);
    }
    Ok(SyncRequest { hello, changes })
}

/// Characters of the client's name and version.
const CLIENT_CHARS_MAX: usize = 80;
