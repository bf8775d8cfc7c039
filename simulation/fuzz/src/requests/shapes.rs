//! Items that no library writes: JSON and CBOR built by hand, with every lie that their syntax allows.

use std::io::Write;

use lianka_sync_core::codec::wire::Encoding;

use crate::draw::Draw;

const KEYS: &[&str] = &[
    "type",
    "type",
    "record",
    "kind",
    "generation",
    "bytes",
    "cursor",
    "client",
    "pull",
    "unsent",
    "held",
    "device_time",
    "wiped",
    "hash",
    "index",
    "entries",
    "status",
    "id",
    "seq",
    "x",
    "",
    "类型",
];
const WORDS: &[&str] = &[
    "hello",
    "change",
    "wipe",
    "shop_card",
    "lianka",
    "0198c0de-0000-7000-8000-000000000001",
    "2026-11-21T08:00:00Z",
    "9999-12-31T23:59:60Z",
    "hW9Kgw==",
    "",
    "\u{0}",
    "A",
    "-0001-01-01T00:00:00Z",
    "accepted",
];

/// Depth of what is nested on purpose.
const DEPTHS: &[usize] = &[1, 2, 7, 8, 9, 127, 128, 129, 1_000, 20_000];

/// One item, or what should be one.
pub fn item(encoding: Encoding, draw: &mut Draw) -> Vec<u8> {
    let mut out = Vec::new();
    match encoding {
        Encoding::Ndjson => {
            json_object(&mut out, draw, 0);
            if !draw.one_in(8) {
                out.extend(*draw.pick(&[&b"\n"[..], b"\r\n", b"\n\n", b" \n", b"\x0b\n"]));
            }
        }
        Encoding::CborSeq => cbor_map(&mut out, draw, 0),
    }
    out
}

fn json_object(out: &mut Vec<u8>, draw: &mut Draw, depth: usize) {
    out.push(b'{');
    for n in 0..draw.below(8) {
        if n > 0 {
            out.push(b',');
        }
        json_text(out, draw.pick::<&str>(KEYS), draw);
        out.push(b':');
        json_value(out, draw, depth + 1);
    }
    if !draw.one_in(40) {
        out.push(b'}');
    }
}

fn json_text(out: &mut Vec<u8>, text: &str, draw: &mut Draw) {
    out.push(b'"');
    match draw.below(12) {
        0 => text
            .encode_utf16()
            .for_each(|unit| out.extend(format!("\\u{unit:04x}").into_bytes())),
        1 => out.extend(*draw.pick(&[
            &b"\\ud800"[..],
            b"\\udc00\\ud800",
            b"\xff\xfe",
            b"\xed\xa0\x80",
            b"\\x",
            b"\\u12",
            b"\x00",
        ])),
        2 => out.extend(vec![b'a'; draw.extreme(20).min(200_000) as usize]),
        _ => out.extend(text.replace('\u{0}', "\\u0000").bytes()),
    }
    out.push(b'"');
}

fn json_value(out: &mut Vec<u8>, draw: &mut Draw, depth: usize) {
    match draw.below(10) {
        0 if depth < 3 => json_object(out, draw, depth),
        1 => {
            let depth = *draw.pick(DEPTHS);
            out.extend(vec![*draw.pick(b"[{"); depth]);
            if draw.one_in(2) {
                out.extend(vec![b']'; depth]);
            }
        }
        2 => out.extend(*draw.pick(&[
            &b"1e999"[..],
            b"-0",
            b"1e-999",
            b"00",
            b"NaN",
            b"1.5",
            b"0x1",
            b"+1",
            b"-",
        ])),
        3 => out.extend(draw.signed_extreme(1).to_string().bytes()),
        4 => out.extend(vec![b'9'; draw.below(400)]),
        5 => out.extend(*draw.pick(&[&b"true"[..], b"false", b"null", b"tru", b""])),
        _ => json_text(out, draw.pick::<&str>(WORDS), draw),
    }
}

/// A head of major type `major` that claims `argument`, seldom in the shortest form.
fn head(out: &mut Vec<u8>, major: u8, argument: u64, draw: &mut Draw) {
    let needed = match argument {
        0..=23 => 0,
        24..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    };
    let width = if draw.one_in(12) {
        *draw.pick(&[1, 2, 4, 8])
    } else {
        needed
    };
    let width: usize = if width < needed { needed } else { width };
    let low = match width {
        0 => argument as u8,
        1 => 24,
        2 => 25,
        4 => 26,
        _ => 27,
    };
    out.push(major << 5 | low);
    out.extend(&argument.to_be_bytes()[8 - width..]);
}

/// The truth, or in one of thirty cases anything.
fn claim(truth: usize, draw: &mut Draw) -> u64 {
    if draw.one_in(30) {
        draw.extreme(truth as u64)
    } else {
        truth as u64
    }
}

fn cbor_map(out: &mut Vec<u8>, draw: &mut Draw, depth: usize) {
    let length = draw.below(8);
    let indefinite = draw.one_in(30);
    if indefinite {
        out.push(0xbf);
    } else {
        let claimed = claim(length, draw);
        head(out, 5, claimed, draw);
    }
    for _ in 0..length {
        let key = draw.pick(KEYS).as_bytes();
        let claimed = claim(key.len(), draw);
        head(out, 3, claimed, draw);
        out.extend(key);
        cbor_value(out, draw, depth + 1);
    }
    if indefinite {
        out.push(0xff);
    }
}

fn cbor_value(out: &mut Vec<u8>, draw: &mut Draw, depth: usize) {
    match draw.below(12) {
        0 if depth < 3 => cbor_map(out, draw, depth),
        1 => {
            // Arrays, maps or tags in each other.
            let depth = *draw.pick(DEPTHS);
            out.extend(vec![*draw.pick(&[0x81, 0xc1, 0x9f, 0xd8]); depth]);
            out.push(0);
        }
        2 => {
            let claimed = draw.extreme(2);
            head(out, *draw.pick(&[2, 3, 4, 5, 6]), claimed, draw);
        }
        3 => head(out, *draw.pick(&[0, 1]), draw.extreme(1), &mut draw.clone()),
        4 => out.extend(*draw.pick(&[
            &b"\xf6"[..],
            b"\xf7",
            b"\xf4",
            b"\xf5",
            b"\xf9\x7e\x00",
            b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",
            b"\xff",
            b"\xf8\x18",
            b"\x5f\x41a\xff",
            b"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00",
            b"\x1c",
        ])),
        5 | 6 => {
            let length = *draw.pick(&[0, 1, 15, 16, 17, 32, 33, 3_000]);
            let claimed = claim(length, draw);
            head(out, 2, claimed, draw);
            out.extend(draw.bytes(length));
        }
        7 => {
            let length = draw.below(300);
            head(out, 4, length as u64, draw);
            out.extend(vec![0x60; length]);
        }
        _ => {
            let word = draw.pick(WORDS).as_bytes();
            let claimed = claim(word.len(), draw);
            head(out, 3, claimed, draw);
            out.extend(word);
        }
    }
}

/// A gzip member.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

/// A zstd frame.
#[cfg(feature = "server")]
pub fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(body, 1).unwrap_or_default()
}

/// Without the server nobody unpacks it.
#[cfg(not(feature = "server"))]
pub fn zstd(body: &[u8]) -> Vec<u8> {
    body.to_vec()
}
