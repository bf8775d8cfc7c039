//! Changes that nobody honest writes, made from those that somebody does.
//!
//! Four depths: any bytes; bytes of the body with the checksum put right; columns and header as data, lies included; and the meaning of the
//! change (operations, predecessors, dependencies), encoded as Automerge would, which is what gets past the gate and tries MERGE.

use lianka_sync_core::codec::change::Change;

use crate::{
    chunk::{self, Chunk},
    draw::Draw,
    scene::Office,
};

mod columns;
mod meaning;

/// How deep a mutation went: told in the report, so that no depth is silently empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    Bytes,
    Body,
    Columns,
    Meaning,
}

impl Depth {
    pub const ALL: [Self; 4] = [Self::Bytes, Self::Body, Self::Columns, Self::Meaning];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "raw bytes",
            Self::Body => "body bytes, checksum right",
            Self::Columns => "columns and header",
            Self::Meaning => "operations",
        }
    }
}

/// One mutant of `change`, which is the next honest change after what `office` holds.
pub fn mutant(change: &Change, office: &Office, draw: &mut Draw) -> (Depth, Vec<u8>) {
    let (depth, bytes) = match draw.below(20) {
        0 => (Depth::Bytes, raw(&change.bytes, draw)),
        1..=5 => (Depth::Body, body(&change.bytes, draw)),
        6..=14 => (Depth::Columns, columns_of(&change.bytes, draw)),
        _ => (Depth::Meaning, meaning::mutant(change, office, draw)),
    };
    let repacked = match draw.below(24) {
        0 => chunk::body(&bytes).map(chunk::deflated),
        1 => chunk::body(&bytes).map(|body| packed_strangely(body, draw)),
        _ => None,
    };
    (depth, repacked.unwrap_or(bytes))
}

/// Another chunk type, bytes behind the end, a chunk in a chunk, a bomb behind a small change.
fn packed_strangely(body: &[u8], draw: &mut Draw) -> Vec<u8> {
    match draw.below(5) {
        0 => chunk::frame(draw.number() as u8 & 7, body, body),
        1 => [chunk::plain(body), draw.bytes(3)].concat(),
        2 => chunk::plain(&chunk::plain(body)),
        3 => [chunk::plain(body), chunk::plain(body)].concat(),
        _ => {
            let zeros = if draw.one_in(50) {
                draw.below(4 << 20)
            } else {
                draw.below(80_000)
            };
            chunk::deflated(&[body, &vec![0; zeros]].concat())
        }
    }
}

fn raw(bytes: &[u8], draw: &mut Draw) -> Vec<u8> {
    if draw.one_in(4) {
        let length = draw.below(400);
        return draw.bytes(length);
    }
    let mut bytes = bytes.to_vec();
    scramble(&mut bytes, draw);
    bytes
}

fn body(bytes: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut body = chunk::body(bytes).unwrap_or_default().to_vec();
    scramble(&mut body, draw);
    chunk::plain(&body)
}

fn columns_of(bytes: &[u8], draw: &mut Draw) -> Vec<u8> {
    let Some(mut chunk) = Chunk::read(bytes) else {
        return body(bytes, draw);
    };
    for _ in 0..=draw.below(3) {
        columns::mutate(&mut chunk, draw);
    }
    chunk.bytes()
}

/// One to four bytes changed, taken out, put in, copied, or the end cut off.
pub fn scramble(bytes: &mut Vec<u8>, draw: &mut Draw) {
    for _ in 0..=draw.below(4) {
        let at = draw.place(bytes.len());
        match draw.below(8) {
            0..=2 if at < bytes.len() => bytes[at] = draw.number() as u8,
            3 if at < bytes.len() => bytes[at] ^= 1 << draw.below(8),
            4 if at < bytes.len() => bytes[at] = *draw.pick(&[0, 1, 0x7f, 0x80, 0xff, 0x40]),
            5 if at < bytes.len() => drop(bytes.remove(at)),
            6 => bytes.insert(at, draw.number() as u8),
            7 if draw.one_in(4) => bytes.truncate(at),
            _ => {
                let end = (at + draw.below(16)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = draw.place(bytes.len());
                bytes.splice(to..to, copy);
            }
        }
    }
}
