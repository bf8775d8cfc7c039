//! INGEST, the IO half: a request body, compressed or not → `hello` and changes, each through the gate.
//!
//! Everything is bounded before it is expanded: the body as sent, the body inflated, the items, their number, and each change by
//! [`lianka_sync_core::codec::change::decode`]. Runs on a blocking thread, because hostile bytes may be slow.

use std::io::Read;

use axum::http::{HeaderMap, HeaderValue, header};
use lianka_office_core::push::Ingested;
use lianka_sync_core::{
    codec::wire::{Encoding, Hello, ItemReader, RequestItem, WireError},
    limits,
};

use crate::http::error::{ApiError, ErrorCode};

/// Window of a zstd frame, as a power of two: 8 MiB is what the highest ordinary level uses.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

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

    /// Of a request, from its `Content-Encoding`.
    pub fn of_request(headers: &HeaderMap) -> Result<Self, ApiError> {
        match headers
            .get(header::CONTENT_ENCODING)
            .map(HeaderValue::as_bytes)
        {
            None | Some(b"identity") => Ok(Self::Identity),
            Some(b"zstd") => Ok(Self::Zstd),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(_) => Err(ApiError::new(ErrorCode::UnsupportedMediaType).detail(
                "Content-Encoding 须为 zstd 或 gzip。",
                "Content-Encoding must be zstd or gzip.",
            )),
        }
    }

    /// For a response: the best that `Accept-Encoding` allows.
    pub fn for_response(headers: &HeaderMap) -> Self {
        let accepts = |name: &str| {
            headers
                .get_all(header::ACCEPT_ENCODING)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .any(|choice| {
                    let mut parts = choice.split(';').map(str::trim);
                    let named = parts
                        .next()
                        .is_some_and(|coding| coding.eq_ignore_ascii_case(name));
                    let refused = parts.any(|part| {
                        part.strip_prefix("q=")
                            .is_some_and(|q| q.parse() == Ok(0.0_f32))
                    });
                    named && !refused
                })
        };
        if accepts("zstd") {
            Self::Zstd
        } else if accepts("gzip") {
            Self::Gzip
        } else {
            Self::Identity
        }
    }

    fn unpack(self, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, ApiError> {
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
            Ok(_) => Err(ApiError::new(ErrorCode::BodyTooLarge)),
            Err(error) => Err(ApiError::new(ErrorCode::Malformed)
                .detail("请求内容解压失败。", "The body does not decompress.")
                .because(error)),
        }
    }
}

/// The encoding of a request, from its `Content-Type`.
pub fn request_encoding(headers: &HeaderMap) -> Result<Encoding, ApiError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type
        .and_then(Encoding::from_media_type)
        .ok_or_else(|| {
            ApiError::new(ErrorCode::UnsupportedMediaType).detail(
                "此处需要 application/x-ndjson 或 application/cbor-seq。",
                "This route takes application/x-ndjson or application/cbor-seq.",
            )
        })
}

/// The encoding of a response: what `Accept` names first, or that of the request.
pub fn response_encoding(headers: &HeaderMap, request: Encoding) -> Result<Encoding, ApiError> {
    let Some(accept) = headers.get(header::ACCEPT) else {
        return Ok(request);
    };
    let accept = accept.to_str().unwrap_or_default();
    let named = accept.split(',').find_map(Encoding::from_media_type);
    let any = accept.split(',').any(|choice| {
        choice.trim().starts_with("*/*") || choice.trim().starts_with("application/*")
    });
    named
        .or(any.then_some(request))
        .ok_or_else(|| ApiError::new(ErrorCode::NotAcceptable))
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
pub fn read(body: &[u8], packing: Packing, encoding: Encoding) -> Result<SyncRequest, ApiError> {
    read_within(body, packing, encoding, Effort::FULL)
}

/// The same at less than the protocol's cost; what would cost more is `body_too_large`.
pub fn read_within(
    body: &[u8],
    packing: Packing,
    encoding: Encoding,
    effort: Effort,
) -> Result<SyncRequest, ApiError> {
    let body = packing.unpack(body, effort.inflated_bytes)?;
    let mut reader = ItemReader::new(encoding);
    reader.push(&body);
    let (mut hello, mut changes, mut ops) = (None, Vec::new(), 0);
    loop {
        let item = match reader.next_item().map_err(|error| unreadable(&error))? {
            None => reader.finish().map_err(|error| unreadable(&error))?,
            item => item,
        };
        match item {
            None => break,
            Some(RequestItem::Hello(first)) if hello.is_none() => hello = Some(first),
            Some(RequestItem::Hello(_)) => {
                return Err(order("hello 只能出现一次。", "There is one hello only."));
            }
            Some(RequestItem::Change(_)) if hello.is_none() => {
                return Err(order(
                    "第一项须为 hello。",
                    "The first item must be a hello.",
                ));
            }
            Some(RequestItem::Change(_)) if changes.len() >= limits::SYNC_CHANGES_MAX => {
                return Err(ApiError::new(ErrorCode::BodyTooLarge).detail(
                    format!(
                        "一次最多 {} 项修改，请分几次发送。",
                        limits::SYNC_CHANGES_MAX
                    ),
                    format!(
                        "At most {} changes in one request; send several.",
                        limits::SYNC_CHANGES_MAX
                    ),
                ));
            }
            Some(RequestItem::Change(pushed)) => {
                let ingested = Ingested::new(pushed);
                ops += ingested
                    .change
                    .as_ref()
                    .map_or(0, |change| change.ops.len());
                if ops > effort.ops {
                    return Err(ApiError::new(ErrorCode::BodyTooLarge).detail(
                        format!("一次最多 {} 个操作，请分几次发送。", limits::SYNC_OPS_MAX),
                        format!(
                            "At most {} operations in one request; send several.",
                            limits::SYNC_OPS_MAX
                        ),
                    ));
                }
                changes.push(ingested);
            }
        }
    }
    let hello =
        hello.ok_or_else(|| order("第一项须为 hello。", "The first item must be a hello."))?;
    if hello.client.is_empty()
        || hello.client.chars().count() > CLIENT_CHARS_MAX
        || hello.client.chars().any(char::is_control)
    {
        return Err(ApiError::invalid_field("client", "length_1_80"));
    }
    Ok(SyncRequest { hello, changes })
}

/// Characters of the client's name and version.
const CLIENT_CHARS_MAX: usize = 80;

fn order(zh: &'static str, en: &'static str) -> ApiError {
    ApiError::new(ErrorCode::Malformed).detail(zh, en)
}

fn unreadable(error: &WireError) -> ApiError {
    ApiError::new(ErrorCode::Malformed).detail(
        format!("无法读取：{error}"),
        format!("Cannot be read: {error}."),
    )
}
