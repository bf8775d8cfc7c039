//! Sync requests in both encodings, and what only looks like one.
//!
//! Claims: the reader of items never panics and stays within its budget; a stream reads the same however it is cut into pieces; what reads
//! is written and read again as the same item, in both encodings; and the server's INGEST of it, packed or not, holds no more than a bound
//! that does not depend on what the bytes claim.

use lianka_sync_core::codec::wire::{
    Encoding, Hello, ItemReader, PushedChange, Report, RequestItem, ResponseItem, WireError,
};
use lianka_sync_core::{id::RecordId, kinds::Kind};
use uuid::Uuid;

use crate::{
    Failure, Found, Tally,
    budget::{Budget, Cost, caught},
    draw::Draw,
    minimise::minimised,
    mutate::{mutant, scramble},
    scene::{SECRETARY, Scene},
};

mod shapes;

pub use shapes::{gzip, zstd};

const INPUTS: usize = 200;
const READS: &str = "items are read without panic and within the budget";
const PIECES: &str = "a stream reads the same in pieces";
const AGAIN: &str = "an item that was read is written and read again";
#[cfg(feature = "server")]
const INGESTED: &str = "INGEST neither panics nor exceeds its budget";

/// An item as read holds a few hundred bytes for the forty that it needs at least.
pub fn budget() -> Budget {
    Budget {
        peak_per_byte: 16,
        peak_bytes: 256 << 10,
        allocations_per_byte: 2,
        allocations: 4_096,
        work_ns: 0,
    }
}

/// What a body is and how it is packed: the first byte of a stored input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Form {
    encoding: Encoding,
    packing: u8,
}

impl Form {
    fn of(byte: u8) -> Self {
        let encoding = if byte & 1 == 0 {
            Encoding::Ndjson
        } else {
            Encoding::CborSeq
        };
        Self {
            encoding,
            packing: (byte >> 1) % 3,
        }
    }
}

/// One round of request bodies.
pub fn round(seed: u64, budget: &Budget) -> Tally {
    let mut tally = Tally::default();
    let mut scene = Scene::new(seed ^ 0x5E9_0E57);
    let mut changes = Vec::new();
    for _ in 0..6 {
        if let Some((_, change)) = scene.honest_change() {
            // What the office refuses is sent all the same.
            let _ = scene.office.take(&change, SECRETARY);
            changes.push(change);
        }
    }
    for _ in 0..INPUTS {
        let form = scene.draw.below(6) as u8;
        let mut input = vec![form];
        input.extend(body(Form::of(form), &changes, &mut scene));
        tally.inputs += 1;
        match judge(&input, budget) {
            Ok((outcome, cost)) => {
                tally.count(format!(
                    "{} {outcome}",
                    Form::of(form).encoding.media_type()
                ));
                tally.cost(cost);
            }
            Err(failure) => {
                let same = |bytes: &[u8]| matches!(judge(bytes, budget), Err(other) if other.claim == failure.claim);
                let input = minimised(&input, same);
                tally.found.push(Found {
                    failure,
                    input,
                    context: Vec::new(),
                });
            }
        }
    }
    tally
}

fn body(
    form: Form,
    changes: &[lianka_sync_core::codec::change::Change],
    scene: &mut Scene,
) -> Vec<u8> {
    let mut body = if scene.draw.one_in(4) {
        Vec::new()
    } else {
        honest(form.encoding, changes, scene)
    };
    for _ in 0..scene.draw.below(4) {
        if scene.draw.one_in(3) {
            scramble(&mut body, &mut scene.draw);
            continue;
        }
        let item = shapes::item(form.encoding, &mut scene.draw);
        // Behind what is there, or anywhere in it.
        let at = if scene.draw.one_in(3) {
            scene.draw.place(body.len())
        } else {
            body.len()
        };
        body.splice(at..at, item);
    }
    packed(form.packing, &body, &mut scene.draw)
}

fn honest(
    encoding: Encoding,
    changes: &[lianka_sync_core::codec::change::Change],
    scene: &mut Scene,
) -> Vec<u8> {
    let mut out = Vec::new();
    let report = Report {
        unsent: Some(scene.draw.extreme(3)),
        held: None,
        device_time: None,
        wiped: false,
    };
    let hello = Hello {
        blocks: 0,
        kinds: Vec::new(),
        cursor: None,
        client: "lianka-fuzz/0".into(),
        pull: scene.draw.one_in(2),
        report,
    };
    encoding.write(&RequestItem::Hello(hello), &mut out);
    for change in changes {
        let bytes = if scene.draw.one_in(3) {
            mutant(change, &scene.office, &mut scene.draw).1
        } else {
            change.bytes.clone()
        };
        let record = RecordId(Uuid::from_u128(scene.draw.number().into()));
        let generation = scene.draw.extreme(1) as u32;
        encoding.write(
            &RequestItem::Change(PushedChange {
                record,
                kind: Kind::ShopCard,
                generation,
                bytes,
            }),
            &mut out,
        );
    }
    out
}

/// As the network would bring it; now and then damaged after packing, or a bomb.
fn packed(packing: u8, body: &[u8], draw: &mut Draw) -> Vec<u8> {
    let body = if packing != 0 && draw.one_in(400) {
        &[body, &vec![b'\n'; draw.below(40 << 20)]].concat()
    } else {
        body
    };
    let mut packed = match packing {
        0 => return body.to_vec(),
        1 => zstd(body),
        _ => gzip(body),
    };
    if draw.one_in(3) {
        scramble(&mut packed, draw);
    }
    packed
}

type Items<T> = (Vec<T>, Option<WireError>);

fn read<T: lianka_sync_core::codec::wire::StreamItem>(
    encoding: Encoding,
    pieces: &[&[u8]],
) -> Items<T> {
    let mut reader = ItemReader::new(encoding);
    let mut items = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_item() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
    }
    loop {
        match reader.finish() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, None),
            Err(error) => return (items, Some(error)),
        }
    }
}

/// All claims about one stored input.
pub fn judge(input: &[u8], budget: &Budget) -> Result<(&'static str, Cost), Failure> {
    let Some((form, body)) = input.split_first() else {
        return Ok(("empty", Cost::default()));
    };
    let form = Form::of(*form);
    #[cfg(feature = "server")]
    ingest(form, body)?;
    if form.packing != 0 {
        return Ok(("packed", Cost::default()));
    }
    let ((items, error), cost) = budget.spend(READS, body.len(), || {
        read::<RequestItem>(form.encoding, &[body])
    })?;
    budget.spend(READS, body.len(), || {
        read::<ResponseItem>(form.encoding, &[body])
    })?;
    // The reader looks at what is incomplete once more for each piece: few enough of them to keep that short.
    let pieces: Vec<_> = body.chunks(1 + body.len() / 40).collect();
    let (in_pieces, broken) = caught(PIECES, || read::<RequestItem>(form.encoding, &pieces))?;
    if in_pieces != items || broken.is_some() != error.is_some() {
        return Err(Failure::new(
            PIECES,
            format!("{error:?} as a whole, {broken:?} in pieces"),
        ));
    }
    for encoding in [Encoding::Ndjson, Encoding::CborSeq] {
        let mut again = Vec::new();
        for item in &items {
            encoding.write(item, &mut again);
        }
        if read::<RequestItem>(encoding, &[&again]) != (items.clone(), None) {
            return Err(Failure::new(AGAIN, format!("in {}", encoding.media_type())));
        }
    }
    let outcome = match (error, items.len()) {
        (None, 0) => "nothing",
        (None, _) => "read to the end",
        (Some(WireError::Syntax { .. }), _) => "broken syntax",
        (Some(WireError::TooLong { .. }), _) => "too long",
        (Some(_), _) => "a missing or unknown word",
    };
    Ok((outcome, cost))
}

#[cfg(feature = "server")]
fn ingest(form: Form, body: &[u8]) -> Result<(), Failure> {
    use lianka_server::sync::ingest::{Packing, read};
    use lianka_sync_core::limits;

    let packing = [Packing::Identity, Packing::Zstd, Packing::Gzip][usize::from(form.packing)];
    // What is inflated is bounded, and what is read of it holds a few times as much; decoded changes come on top, by their own limit.
    let inflated = limits::SYNC_INFLATED_BYTES_MAX as u64;
    let peak_bytes = if packing == Packing::Identity {
        8 << 20
    } else {
        5 * inflated
    };
    let budget = Budget {
        peak_per_byte: 64,
        peak_bytes,
        allocations_per_byte: 64,
        allocations: 4 * inflated,
        work_ns: 0,
    };
    budget
        .spend(INGESTED, body.len(), || {
            read(body, packing, form.encoding).is_ok()
        })
        .map(|_| ())
}
