//! A third generator: nothing of it is broken, and all of it is dear. Cards and notes by the hundred, whose changes come again, backwards,
//! without their beginning or from many actors at once; bodies packed in as many pieces as they have items, or in crumbs; whole streets and
//! searches asked for by many connections. It collects no penalties: what keeps it in bounds is what it costs.

use lianka_sync_core::{
    codec::wire::Encoding,
    crdt::record::{Edit, Record},
    id::{Actor, DeviceId, RecordId, StreetCode},
    limits,
    time::DeviceTime,
};
use uuid::Uuid;

use super::{
    office::HOSTILE_GRID,
    sending::{Attack, items, packed},
};
use crate::{draw::Draw, requests};

/// Cards of one synchronisation: more than the street takes for a small one.
const CARDS: usize = 250;
/// Edits of one note, one upon the other.
const CHAIN: usize = 80;
/// Actors that edit one card at once: as many as a card has heads, and some more.
const ACTORS: u32 = limits::RECORD_HEADS_MAX as u32 + 8;
/// Connections of one device at once.
const CONNECTIONS: usize = 24;
/// Bytes of a body in crumbs, each in a chunk of its own.
const CRUMBS: usize = 200_000;

type Changes = Vec<(RecordId, Vec<u8>)>;

/// What a device keeps in store.
pub struct CostlyRequests {
    street: StreetCode,
    token: String,
    cards: Changes,
    chain: Changes,
    actors: Changes,
}

impl CostlyRequests {
    pub fn new(street: &StreetCode, device: DeviceId, token: &str, draw: &mut Draw) -> Self {
        let mut cards = Vec::new();
        for card in 0..CARDS {
            if let Some((id, _, bytes)) = create(street, device, 10, &format!("重{card}"), draw) {
                cards.push((id, bytes));
            }
        }
        let chain = create(street, device, 11, "长", draw)
            .map(|card| chain(card, device))
            .unwrap_or_default();
        let actors = create(street, device, 12, "多", draw)
            .map(|card| at_once(card, device))
            .unwrap_or_default();
        Self {
            street: street.clone(),
            token: token.to_owned(),
            cards,
            chain,
            actors,
        }
    }

    pub fn next(&self, draw: &mut Draw) -> Attack {
        let encoding = if draw.one_in(2) {
            Encoding::CborSeq
        } else {
            Encoding::Ndjson
        };
        match draw.below(10) {
            0 => packed(
                encoding,
                Some("zstd"),
                &items(encoding, draw.one_in(2), &self.cards),
            ),
            1 | 2 => {
                let changes = in_some_order(&self.chain, draw);
                packed(encoding, None, &items(encoding, true, &changes))
            }
            3 => {
                let changes = in_some_order(&self.actors, draw);
                packed(encoding, Some("gzip"), &items(encoding, true, &changes))
            }
            4 => blank(),
            5 => self.in_pieces(encoding, draw),
            6 => self.crumbs(),
            7 => self.many_connections("POST", "sync", &items(Encoding::Ndjson, true, &[]), 3),
            8 => self.many_connections("POST", "sync", &items(Encoding::Ndjson, true, &[]), 1),
            _ => self.many_connections("GET", "cards?q=%E5%BA%97&page_size=200", &[], CONNECTIONS),
        }
    }

    /// A frame, or a member, for every item.
    fn in_pieces(&self, encoding: Encoding, draw: &mut Draw) -> Attack {
        let packing = *draw.pick(&["zstd", "gzip"]);
        let pack = if packing == "zstd" {
            requests::zstd
        } else {
            requests::gzip
        };
        let mut body = pack(&items(encoding, false, &[]));
        let hello = items(encoding, false, &[]).len();
        for change in &self.cards {
            let item = items(encoding, false, std::slice::from_ref(change)).split_off(hello);
            body.extend(pack(&item));
            if draw.one_in(4) {
                body.extend(pack(b""));
            }
        }
        Attack::Sync {
            encoding,
            packing: Some(packing),
            body,
        }
    }

    fn head(&self, method: &str, path: &str, framing: &str) -> String {
        let Self { street, token, .. } = self;
        let kind = Encoding::Ndjson.media_type();
        format!(
            "{method} /v1/streets/{street}/{path} HTTP/1.1\r\nhost: lianka\r\nauthorization: Bearer {token}\r\ncontent-type: {kind}\r\n{framing}\r\n\r\n"
        )
    }

    /// A chunk for every byte.
    fn crumbs(&self) -> Attack {
        let mut bytes = self
            .head("POST", "sync", "transfer-encoding: chunked")
            .into_bytes();
        let hello = items(Encoding::Ndjson, true, &[]);
        for byte in hello.iter().chain(std::iter::repeat_n(&b'\n', CRUMBS)) {
            bytes.extend([b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
        }
        bytes.extend(b"0\r\n\r\n");
        Attack::Many { bytes, times: 1 }
    }

    /// The same request on many connections at once, or often on one.
    fn many_connections(&self, method: &str, path: &str, body: &[u8], times: usize) -> Attack {
        let request = [
            self.head(method, path, &format!("content-length: {}", body.len()))
                .as_bytes(),
            body,
        ]
        .concat();
        if times == 1 {
            Attack::Many {
                bytes: request.repeat(20),
                times,
            }
        } else {
            Attack::Many {
                bytes: request,
                times,
            }
        }
    }
}

/// Nothing, by the megabyte.
fn blank() -> Attack {
    let mut body = items(Encoding::Ndjson, false, &[]);
    body.resize(limits::SYNC_INFLATED_BYTES_MAX, b'\n');
    packed(Encoding::Ndjson, Some("zstd"), &body)
}

fn at(second: usize) -> DeviceTime {
    DeviceTime::from_unix_seconds(1_795_100_000 + second as i64)
}

fn create(
    street: &StreetCode,
    device: DeviceId,
    epoch: u32,
    name: &str,
    draw: &mut Draw,
) -> Option<(RecordId, Record, Vec<u8>)> {
    let put = |key: &str, value: &str| Edit::Put {
        key: key.into(),
        value: value.into(),
    };
    let edits = [
        put("kind", "shop_card"),
        put("street", street.as_str()),
        put("grid", HOSTILE_GRID),
        put("sign_name", name),
    ];
    let (held, change) = Record::create(Actor::new(device, epoch), at(0), &edits).ok()?;
    Some((
        RecordId(Uuid::from_u128(draw.number().into())),
        held,
        change.bytes,
    ))
}

/// A note that is rewritten from its beginning again and again.
fn chain((id, mut held, first): (RecordId, Record, Vec<u8>), device: DeviceId) -> Changes {
    let mut changes = vec![(id, first)];
    for step in 0..CHAIN {
        let text = format!("{step}{}", "门口积水已报修".repeat(1 + step % 60));
        if let Ok(Some(change)) = held.edit(
            Actor::new(device, 11),
            at(step + 1),
            &[Edit::Note { text }],
            "",
        ) {
            changes.push((id, change.bytes));
        }
    }
    changes
}

/// Edits of one field by many who have not seen each other.
fn at_once((id, held, first): (RecordId, Record, Vec<u8>), device: DeviceId) -> Changes {
    let mut changes = vec![(id, first)];
    for n in 0..ACTORS {
        let edit = Edit::Put {
            key: "sign_name".into(),
            value: format!("招牌{n}").as_str().into(),
        };
        if let Ok(Some(change)) = held
            .clone()
            .edit(Actor::new(device, 100 + n), at(1), &[edit], "")
        {
            changes.push((id, change.bytes));
        }
    }
    changes
}

/// As they were written, backwards, without the first of them, twice, or every other.
fn in_some_order(changes: &Changes, draw: &mut Draw) -> Changes {
    match draw.below(5) {
        0 => changes.clone(),
        1 => changes.iter().rev().cloned().collect(),
        2 => changes.iter().skip(1).cloned().collect(),
        3 => changes
            .iter()
            .flat_map(|change| [change.clone(), change.clone()])
            .collect(),
        _ => changes.iter().step_by(2).cloned().collect(),
    }
}
