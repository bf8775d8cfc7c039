//! A second generator, which shares no code with the rest of this crate: bytes, grammars of CBOR and JSON that are broken on purpose, wrappings
//! of zstd and gzip made by hand, and HTTP as nobody should speak it.

use lianka_sync_core::id::{DeviceId, RecordId};

/// xorshift64*, another stream than [`crate::draw`].
pub struct Garbage(u64);

/// Trees of values, from which both encodings are written.
enum Node {
    Nothing,
    Truth(bool),
    Number(i128),
    Fraction(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Garbage {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn upto(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.upto(100) < percent
    }

    /// Once in so many: a stream ends at its first mistake, so that most of what it holds must be right.
    fn seldom(&mut self, times: u64) -> bool {
        self.upto(times) == 0
    }

    fn of<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.upto(choices.len() as u64) as usize]
    }

    fn blob(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Something for a path or a query.
    pub fn word(&mut self) -> String {
        (*self.of(&[
            "310104003",
            "..%2f..%2f",
            "%00",
            "%ff%fe",
            "a",
            "-1",
            "%E5%BA%97",
            "*",
            "'--",
            "{}",
            "%0d%0a",
        ]))
        .to_owned()
    }

    fn leaf(&mut self) -> Node {
        match self.upto(9) {
            0 => Node::Nothing,
            1 => Node::Truth(self.chance(50)),
            2 => Node::Number(*self.of(&[
                0,
                -1,
                1,
                i128::from(u64::MAX),
                i128::from(i64::MIN),
                1 << 53,
                4_294_967_296,
            ])),
            3 => Node::Fraction(*self.of(&[0.0, -0.0, 1e308, f64::NAN, f64::INFINITY, 1.5])),
            4 | 5 => {
                let length = self.upto(60);
                Node::Bytes(self.blob(length))
            }
            _ => {
                let times = *self.of(&[0, 1, 1, 1, 3, 40, 3_000]);
                let text = *self.of(&[
                    "change",
                    "hello",
                    "shop_card",
                    "店",
                    "\u{0}",
                    "\u{feff}",
                    "\u{202e}x",
                    "2026-11-22T00:00:00Z",
                    "=1+1",
                ]);
                Node::Text(text.repeat(times))
            }
        }
    }

    fn tree(&mut self, depth: u64) -> Node {
        match self.upto(6) {
            0 if depth > 0 => Node::List((0..self.upto(5)).map(|_| self.tree(depth - 1)).collect()),
            1 if depth > 0 => Node::Map(
                (0..self.upto(5))
                    .map(|_| (self.leaf(), self.tree(depth - 1)))
                    .collect(),
            ),
            _ => self.leaf(),
        }
    }

    /// An item as the protocol has it, of which here and there a member is another, doubled, missing or new.
    fn item(&mut self, first: bool, record: RecordId, device: DeviceId) -> Node {
        let text = |text: &str| Node::Text(text.to_owned());
        let members = if first {
            vec![
                ("type", text("hello")),
                ("cursor", Node::Nothing),
                ("client", text("garbage/1")),
                ("pull", Node::Truth(self.chance(50))),
            ]
        } else {
            let length = self.upto(200);
            let mut bytes = vec![0x85, 0x6f, 0x4a, 0x83];
            bytes.extend(self.blob(4));
            bytes.push(1);
            bytes.extend(self.blob(2));
            bytes.extend(device.0.as_bytes());
            bytes.extend(self.blob(length));
            let id = if self.seldom(100) {
                self.leaf()
            } else {
                Node::Bytes(record.0.as_bytes().to_vec())
            };
            vec![
                ("type", text("change")),
                ("record", id),
                ("kind", text("shop_card")),
                ("generation", Node::Number(1)),
                ("bytes", Node::Bytes(bytes)),
            ]
        };
        let mut map = Vec::new();
        for (name, value) in members {
            match self.upto(400) {
                0 => {}
                1 => map.push((Node::Text(name.into()), self.tree(3))),
                2 => {
                    map.push((Node::Text(name.into()), self.leaf()));
                    map.push((Node::Text(name.into()), value));
                }
                3 => map.push((self.leaf(), value)),
                _ => map.push((Node::Text(name.into()), value)),
            }
        }
        if self.seldom(30) {
            map.push((Node::Text("x".into()), self.tree(4)));
        }
        Node::Map(map)
    }

    fn count(&mut self) -> u64 {
        *self.of(&[0, 1, 2, 5, 20, 300, 2_100])
    }

    pub fn cbor(&mut self, record: RecordId, device: DeviceId) -> Vec<u8> {
        let mut out = Vec::new();
        for n in 0..=self.count() {
            let item = self.item(n == 0, record, device);
            self.write_cbor(&item, &mut out);
        }
        self.damaged(out)
    }

    pub fn ndjson(&mut self, record: RecordId, device: DeviceId) -> Vec<u8> {
        let mut out = Vec::new();
        for n in 0..=self.count() {
            let item = self.item(n == 0, record, device);
            write_json(&item, &mut out);
            let ends: &[&str] = if self.seldom(60) {
                &["", "\u{b}\n", ",\n", "\0\n"]
            } else {
                &["\n", "\r\n", "\n\n\n"]
            };
            out.extend(self.of(ends).bytes());
        }
        self.damaged(out)
    }

    pub fn json_body(&mut self) -> Vec<u8> {
        let tree = self.tree(5);
        let mut out = Vec::new();
        write_json(&tree, &mut out);
        self.damaged(out)
    }

    /// Now and then: cut off, a stretch of nonsense, a stretch twice.
    fn damaged(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = self.upto(bytes.len() as u64 + 1) as usize;
        match self.upto(8) {
            0 => bytes.truncate(at),
            1 => {
                let length = self.upto(40);
                let nonsense = self.blob(length);
                bytes.splice(at..at, nonsense);
            }
            2 => {
                let end = (at + 64).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.extend(again);
            }
            _ => {}
        }
        bytes
    }

    fn write_head(&mut self, out: &mut Vec<u8>, major: u8, value: u64) {
        // A lie about a length now and then; the longest spelling now and then.
        let lies = (2..=5).contains(&major) && self.seldom(600);
        let value = if lies {
            *self.of(&[0, value + 1, 1 << 16, 1 << 31, 1 << 62, u64::MAX])
        } else {
            value
        };
        let width = match value {
            _ if self.seldom(300) => 8,
            0..=23 => 0,
            24..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        };
        let low = match width {
            0 => value as u8,
            1 => 24,
            2 => 25,
            4 => 26,
            _ => 27,
        };
        out.push((major << 5) | low);
        out.extend(&value.to_be_bytes()[8 - width..]);
    }

    fn write_cbor(&mut self, node: &Node, out: &mut Vec<u8>) {
        if self.seldom(400) {
            // A tag that means nothing here, or a whole tower of them.
            out.extend([0xd9_u8, 0xd9, 0xf7].repeat(*self.of(&[1, 1, 30])));
        }
        match node {
            Node::Nothing => out.push(0xf6),
            Node::Truth(truth) => out.push(if *truth { 0xf5 } else { 0xf4 }),
            Node::Number(number @ 0..) => self.write_head(out, 0, *number as u64),
            Node::Number(number) => self.write_head(out, 1, (-1 - number) as u64),
            Node::Fraction(fraction) => {
                out.push(0xfb);
                out.extend(fraction.to_be_bytes());
            }
            Node::Text(text) => {
                self.write_head(out, 3, text.len() as u64);
                out.extend(text.bytes());
            }
            Node::Bytes(bytes) if self.seldom(200) => {
                out.push(0x5f);
                for piece in bytes.chunks(7) {
                    self.write_head(out, 2, piece.len() as u64);
                    out.extend(piece);
                }
                out.push(0xff);
            }
            Node::Bytes(bytes) => {
                self.write_head(out, 2, bytes.len() as u64);
                out.extend(bytes);
            }
            Node::List(nodes) => {
                self.write_head(out, 4, nodes.len() as u64);
                for node in nodes {
                    self.write_cbor(node, out);
                }
            }
            Node::Map(members) => {
                self.write_head(out, 5, members.len() as u64);
                for (name, value) in members {
                    self.write_cbor(name, out);
                    self.write_cbor(value, out);
                }
            }
        }
    }

    /// A request, most of whose parts are right.
    pub fn http(&mut self, street: &str, token: &str, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let method = *self.of(&[
            "POST",
            "POST",
            "POST",
            "GET",
            "PO\u{0}ST",
            "OPTIONS",
            "CONNECT",
            "TRACE",
            "post",
            "",
        ]);
        let path = match self.upto(8) {
            0 => format!("/v1/streets/{}/sync", self.word()),
            1 => format!("http://elsewhere.example/v1/streets/{street}/sync"),
            2 => "*".to_owned(),
            3 => format!("/{}", "../".repeat(self.upto(2_000) as usize)),
            4 => format!("//v1/streets/{street}/sync?{}", self.word()),
            _ => format!("/v1/streets/{street}/sync"),
        };
        let version = *self.of(&[
            "HTTP/1.1",
            "HTTP/1.1",
            "HTTP/1.1",
            "HTTP/1.0",
            "HTTP/2.0",
            "HTTP/1.1 x",
            "",
        ]);
        out.extend(format!("{method} {path} {version}\r\n").bytes());
        let length = body.len();
        let framing = match self.upto(10) {
            0 => format!("content-length: {}\r\n", self.next()),
            1 => format!(
                "content-length: {length}\r\ncontent-length: {}\r\n",
                length + 1
            ),
            2 => format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
            3 => "transfer-encoding: chunked\r\n".to_owned(),
            4 => String::new(),
            5 => format!("content-length: {}\r\n", length * 2),
            _ => format!("content-length: {length}\r\n"),
        };
        out.extend(framing.bytes());
        for _ in 0..self.upto(4) {
            let header = match self.upto(8) {
                0 => format!(
                    "x-{}: {}\r\n",
                    "h".repeat(self.upto(300) as usize),
                    "v".repeat(self.upto(20_000) as usize)
                ),
                1 => "accept-encoding: zstd;q=nan, gzip;q=1e999, *;q=-1\r\n".to_owned(),
                2 => "accept-language: \u{ff}\u{fe}, zh;q=x\r\n".to_owned(),
                3 => " folded: line\r\n".to_owned(),
                4 => "host: lianka\r\nhost: elsewhere.example\r\n".to_owned(),
                5 => "expect: 100-continue\r\n".to_owned(),
                6 => "x-request-id: a\rb\r\n".to_owned(),
                _ => "cookie: a\r\n".repeat(self.upto(150) as usize),
            };
            out.extend(header.bytes());
        }
        let encoding = *self.of(&[
            "",
            "",
            "",
            "content-encoding: zstd\r\n",
            "content-encoding: br\r\n",
            "content-encoding: gzip, zstd\r\n",
        ]);
        out.extend(format!("authorization: Bearer {token}\r\ncontent-type: application/x-ndjson\r\n{encoding}\r\n").bytes());
        out.extend(body);
        if self.chance(20) {
            // Another one right behind it.
            out.extend(
                b"GET /healthz HTTP/1.1\r\nhost: lianka\r\n\r\n".repeat(self.upto(50) as usize),
            );
        }
        self.damaged(out)
    }
}

fn write_json(node: &Node, out: &mut Vec<u8>) {
    let separated = |out: &mut Vec<u8>, first: bool| {
        if !first {
            out.push(b',');
        }
    };
    match node {
        Node::Nothing => out.extend(b"null"),
        Node::Truth(truth) => out.extend(truth.to_string().bytes()),
        Node::Number(number) => out.extend(number.to_string().bytes()),
        Node::Fraction(fraction) => out.extend(format!("{fraction:?}").bytes()),
        Node::Text(text) => out.extend(serde_json::to_vec(text).unwrap_or_default()),
        Node::Bytes(bytes) if bytes.len() == 16 => {
            let hex = hex::encode(bytes);
            let (a, b) = (&hex[..8], &hex[20..]);
            out.extend(
                format!(
                    "\"{a}-{}-{}-{}-{b}\"",
                    &hex[8..12],
                    &hex[12..16],
                    &hex[16..20]
                )
                .bytes(),
            );
        }
        Node::Bytes(bytes) => {
            const LETTERS: &[u8] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            out.push(b'"');
            for three in bytes.chunks(3) {
                let bits = three
                    .iter()
                    .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                    << (8 * (3 - three.len()));
                let letters =
                    (0..=three.len()).map(|n| LETTERS[(bits >> (18 - 6 * n)) as usize & 63]);
                out.extend(letters);
                out.extend(std::iter::repeat_n(b'=', 3 - three.len()));
            }
            out.push(b'"');
        }
        Node::List(nodes) => {
            out.push(b'[');
            for (at, node) in nodes.iter().enumerate() {
                separated(out, at == 0);
                write_json(node, out);
            }
            out.push(b']');
        }
        Node::Map(members) => {
            out.push(b'{');
            for (at, (name, value)) in members.iter().enumerate() {
                separated(out, at == 0);
                write_json(name, out);
                out.push(b':');
                write_json(value, out);
            }
            out.push(b'}');
        }
    }
}

/// A frame made by hand: stored blocks, with claims about sizes and windows that need not be true.
pub fn wrapped(garbage: &mut Garbage, packing: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if packing == Some("gzip") {
        out.extend([
            0x1f,
            0x8b,
            8,
            *garbage.of(&[0, 0, 0, 8, 16, 0xff]),
            0,
            0,
            0,
            0,
            0,
            3,
        ]);
        for (at, block) in body.chunks(0xffff).enumerate() {
            let last = u8::from((at + 1) * 0xffff >= body.len());
            let length = block.len() as u16;
            let check = if garbage.chance(5) { length } else { !length };
            out.push(last);
            out.extend(length.to_le_bytes());
            out.extend(check.to_le_bytes());
            out.extend(block);
        }
        // No checksum of ours is right.
        out.extend(garbage.blob(4));
        out.extend((body.len() as u32).to_le_bytes());
    } else {
        out.extend([0x28, 0xb5, 0x2f, 0xfd]);
        let descriptor = *garbage.of(&[0x00, 0x20, 0xa0, 0xe0, 0x04, 0x08, 0x03]);
        out.push(descriptor);
        if descriptor & 0x20 == 0 {
            // The window: from a kilobyte to far more than there is.
            out.push(*garbage.of(&[0x00, 0x50, 0x68, 0x88, 0xf8, 0xff]));
        }
        let claimed = match descriptor >> 6 {
            0 => usize::from(descriptor & 0x20 != 0),
            2 => 4,
            3 => 8,
            _ => 2,
        };
        out.extend(garbage.blob(claimed as u64));
        for (at, block) in body.chunks(0x1_ffff).enumerate() {
            let last = u32::from((at + 1) * 0x1_ffff >= body.len());
            // Stored, repeated (a byte as often as it says), or of a kind that does not exist.
            let kind = *garbage.of(&[0, 0, 0, 1, 3]);
            let head = last | kind << 1 | (block.len() as u32) << 3;
            out.extend(&head.to_le_bytes()[..3]);
            out.extend(block);
        }
    }
    garbage.damaged(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lianka_sync_core::codec::wire::{Encoding, ItemReader, RequestItem};
    use uuid::Uuid;

    /// Garbage that is refused at its first byte tries nothing.
    #[test]
    fn much_of_the_garbage_is_read_for_a_while() {
        let (record, device) = (RecordId(Uuid::from_u128(7)), DeviceId(Uuid::from_u128(8)));
        for encoding in [Encoding::Ndjson, Encoding::CborSeq] {
            let mut changes = 0;
            for seed in 1..200 {
                let mut garbage = Garbage::new(seed);
                let body = if encoding == Encoding::Ndjson {
                    garbage.ndjson(record, device)
                } else {
                    garbage.cbor(record, device)
                };
                let mut reader = ItemReader::new(encoding);
                reader.push(&body);
                while let Ok(Some(item)) = reader.next_item() {
                    changes += usize::from(matches!(item, RequestItem::Change(_)));
                }
            }
            assert!(changes > 400, "{encoding:?}: {changes}");
        }
    }
}
