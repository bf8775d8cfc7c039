//! The items of which an answer has thousands, `change` and `snapshot`, in CBOR without the detour over all keys that an item may have.
//!
//! What is written is byte for byte what serde writes. What is read is what serde reads; anything out of the ordinary is left to serde, so that
//! one place says what is wrong with it.

use uuid::Uuid;

use super::ResponseItem;
use crate::id::RecordId;

/// Major types, RFC 8949, section 3.1.
const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const MAP: u8 = 5;

/// Appends an item; whether it is one of these.
pub(super) fn write(item: &ResponseItem, out: &mut Vec<u8>) -> bool {
    let (name, more, record, generation, seq, bytes) = match item {
        ResponseItem::Change {
            record,
            generation,
            seq,
            bytes,
        } => ("change", None, record, generation, seq, bytes),
        ResponseItem::Snapshot {
            record,
            kind,
            grid,
            generation,
            seq,
            bytes,
        } => (
            "snapshot",
            Some((kind.as_str(), grid)),
            record,
            generation,
            seq,
            bytes,
        ),
        _ => return false,
    };
    out.reserve(bytes.len() + 96);
    head(out, MAP, if more.is_some() { 7 } else { 5 });
    pair(out, "type", name);
    text(out, "record");
    head(out, BYTES, 16);
    out.extend(record.0.as_bytes());
    if let Some((kind, grid)) = more {
        pair(out, "kind", kind);
        pair(out, "grid", grid);
    }
    text(out, "generation");
    head(out, UINT, u64::from(*generation));
    text(out, "seq");
    head(out, UINT, *seq);
    text(out, "bytes");
    head(out, BYTES, bytes.len() as u64);
    out.extend(bytes);
    true
}

fn pair(out: &mut Vec<u8>, key: &str, value: &str) {
    text(out, key);
    text(out, value);
}

fn text(out: &mut Vec<u8>, text: &str) {
    head(out, TEXT, text.len() as u64);
    out.extend(text.as_bytes());
}

/// The head of a value in its shortest form.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend([major + 24, argument as u8]),
        0x100..=0xffff => {
            out.push(major + 25);
            out.extend((argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major + 26);
            out.extend((argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major + 27);
            out.extend(argument.to_be_bytes());
        }
    }
}

/// An item of exactly these bytes; `None` where it is another, or not as it is written here.
pub(super) fn read(bytes: &[u8]) -> Option<ResponseItem> {
    let mut input = Input(bytes);
    let (mut name, mut kind, mut grid) = (None, None, None);
    let (mut record, mut generation, mut seq, mut content) = (None, None, None, None);
    for _ in 0..input.head(MAP)? {
        match input.text()? {
            "type" => once(&mut name, input.text()?)?,
            "kind" => once(&mut kind, input.text()?)?,
            "grid" => once(&mut grid, input.text()?)?,
            "record" => once(&mut record, Uuid::from_slice(input.bytes()?).ok()?)?,
            "generation" => once(&mut generation, input.head(UINT)?.try_into().ok()?)?,
            "seq" => once(&mut seq, input.head(UINT)?)?,
            "bytes" => once(&mut content, input.bytes()?)?,
            _ => return None,
        }
    }
    if !input.0.is_empty() {
        return None;
    }
    let (record, generation, seq) = (RecordId(record?), generation?, seq?);
    let bytes = content?.to_vec();
    match name? {
        "change" => Some(ResponseItem::Change {
            record,
            generation,
            seq,
            bytes,
        }),
        "snapshot" => Some(ResponseItem::Snapshot {
            record,
            kind: kind?.parse().ok()?,
            grid: grid?.to_owned(),
            generation,
            seq,
            bytes,
        }),
        _ => None,
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn head(&mut self, major: u8) -> Option<u64> {
        let head = self.take(1)?[0];
        let width = match head & 0x1f {
            small @ 0..=23 if head >> 5 == major => return Some(u64::from(small)),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return None,
        };
        let argument = self.take(width)?.iter();
        let argument = argument.fold(0, |value, byte| value << 8 | u64::from(*byte));
        (head >> 5 == major).then_some(argument)
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = self.head(BYTES)?;
        self.take(length.try_into().ok()?)
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = self.head(TEXT)?;
        std::str::from_utf8(self.take(length.try_into().ok()?)?).ok()
    }
}
