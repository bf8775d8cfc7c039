//! Hostile bytes: what the gate refuses, and that nothing it passes harms a record.

use std::io::Write;

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use crate::codec::change::*;
use crate::{
    crdt::record::{Edit, Record},
    id::DeviceId,
};

mod bounds;

fn actor() -> Actor {
    Actor::new(
        DeviceId(Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001)),
        1,
    )
}

fn honest() -> Change {
    let edits = [
        Edit::set("kind", "shop_card"),
        Edit::set("street", "310104003"),
        Edit::set("grid", "康平01"),
        Edit::set("sign_name", "王记包子"),
        Edit::add("tags/late_night"),
        Edit::Note {
            text: "门口积水".into(),
        },
    ];
    Record::create(
        actor(),
        DeviceTime::from_unix_seconds(1_795_000_000),
        &edits,
    )
    .unwrap()
    .1
}

fn body(change: &Change) -> Vec<u8> {
    Chunk::parse(&change.bytes).unwrap().body.to_vec()
}

/// A chunk of `kind` around `body`, checksum right.
fn chunk(kind: u8, body: &[u8], inflated: &[u8]) -> Vec<u8> {
    let mut out = plain_chunk(hash_of(inflated), body);
    out[8] = kind;
    out
}

fn deflated(body: &[u8]) -> Vec<u8> {
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    chunk(CHUNK_DEFLATED, &encoder.finish().unwrap(), body)
}

#[track_caller]
fn refused(bytes: &[u8], code: &str) {
    assert_eq!(
        decode(bytes)
            .map_err(|error| error.code())
            .map(|change| change.hash),
        Err(code)
    );
}

#[test]
fn plain_and_deflated_are_the_same_change() {
    let change = honest();
    assert_eq!(decode(&change.bytes).as_ref(), Ok(&change));
    assert_eq!(decode(&deflated(&body(&change))).as_ref(), Ok(&change));
}

#[test]
fn a_saved_record_names_its_heads_without_being_loaded() {
    let first = honest();
    let mut record = Record::load(&first.bytes).unwrap();
    let later = |record: &Record, n| {
        let author = Actor::new(DeviceId(Uuid::from_u128(n)), 1);
        let edits = [Edit::set("sign_name", &format!("第{n}家"))];
        let at = DeviceTime::from_unix_seconds(1_795_000_001);
        record
            .clone()
            .edit(author, at, &edits, "")
            .unwrap()
            .unwrap()
    };
    let both = [later(&record, 1), later(&record, 2)];
    record
        .apply(both.iter().map(|change| change.bytes.as_slice()))
        .unwrap();
    let saved = record.save();
    let heads = record.heads();
    assert_eq!(heads.len(), 2);
    assert_eq!(named(&saved), heads);
    let third = later(&record, 3);
    let chunks = [&saved[..], &third.bytes, &deflated(&body(&first))].concat();
    assert_eq!(named(&chunks)[2..], [third.hash, first.hash]);
    // Of what cannot be read, what stands before.
    assert_eq!(named(&chunks[..chunks.len() - 1])[2..], [third.hash]);
    assert_eq!(named(&saved[..20]), []);
    assert_eq!(named(b""), []);
}

#[test]
fn only_one_change_chunk() {
    let change = honest();
    refused(b"", "malformed_change");
    refused(b"hello, world", "malformed_change");
    refused(&change.bytes[..change.bytes.len() - 1], "malformed_change");
    refused(
        &[change.bytes.as_slice(), b"x"].concat(),
        "malformed_change",
    );
    refused(
        &[change.bytes.as_slice(), change.bytes.as_slice()].concat(),
        "malformed_change",
    );
    for kind in [0, 3, 4, 255] {
        refused(&chunk(kind, &body(&change), &body(&change)), "not_a_change");
    }
    let mut saved = Record::load(&change.bytes).unwrap();
    refused(&saved.save(), "not_a_change");
}

#[test]
fn what_passed_is_known_by_its_head() {
    let change = honest();
    let bytes = encode(&change);
    let passed = decode(&bytes).unwrap();
    assert_eq!(identify(&bytes), Ok((passed.hash, passed.actor)));
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1;
        assert!(identify(&other).is_err(), "byte {at}");
        assert!(identify(&bytes[..at]).is_err(), "up to {at}");
    }
    assert_eq!(
        identify(&deflated(&body(&change))).unwrap_err().code(),
        "not_a_change"
    );
}

#[test]
fn a_wrong_checksum() {
    let mut bytes = honest().bytes;
    bytes[4] ^= 1;
    refused(&bytes, "checksum_mismatch");
    let mut bytes = honest().bytes;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    refused(&bytes, "checksum_mismatch");
}

#[test]
fn bombs() {
    refused(&deflated(&vec![0; 50_000_000]), "change_too_large");
    refused(&vec![0; limits::CHANGE_BYTES_MAX + 1], "change_too_large");
    // Ten million operations in one run of a few bytes.
    let change = honest();
    let empty = Change {
        ops: vec![],
        ..change
    };
    let mut head = body(&Change {
        bytes: encode(&empty),
        ..empty
    });
    head.pop();
    let mut columns = Vec::new();
    column::write_uleb(&mut columns, 1);
    column::write_uleb(&mut columns, u64::from(column::ACTION));
    let mut run = Vec::new();
    column::write_leb(&mut run, 10_000_000);
    column::write_uleb(&mut run, column::ACTION_PUT);
    column::write_uleb(&mut columns, run.len() as u64);
    head.extend(columns);
    head.extend(run);
    let bytes = chunk(CHUNK_CHANGE, &head, &head);
    assert!(bytes.len() < 100);
    refused(&bytes, "change_too_large");
}

fn forged(forge: impl FnOnce(&mut Change)) -> Vec<u8> {
    let mut change = honest();
    forge(&mut change);
    encode(&change)
}

#[test]
fn numbers_out_of_range() {
    refused(&forged(|c| c.start_op = u32::MAX - 3), "out_of_range");
    refused(&forged(|c| c.start_op = 0), "out_of_range");
    refused(&forged(|c| c.seq = 0), "out_of_range");
    refused(&forged(|c| c.seq = 1 << 21), "out_of_range");
    refused(
        &forged(|c| c.time = Some(DeviceTime::from_unix_seconds(1_795_000_000_000))),
        "out_of_range",
    );
    refused(
        &forged(|c| c.time = Some(DeviceTime::from_unix_seconds(-1))),
        "out_of_range",
    );
    refused(
        &forged(|c| c.message = "x".repeat(limits::CHANGE_MESSAGE_BYTES_MAX + 1)),
        "change_too_large",
    );
    refused(
        &forged(|c| c.deps = (0..65).map(|n| ChangeHash([n; 32])).collect()),
        "change_too_large",
    );
    refused(
        &forged(|c| c.deps = vec![ChangeHash([2; 32]), ChangeHash([1; 32])]),
        "not_canonical",
    );
    refused(
        &forged(|c| c.deps = vec![ChangeHash([1; 32]); 2]),
        "not_canonical",
    );
    refused(&forged(|c| c.ops.clear()), "operation_not_allowed");
    let long = || Scalar::Str("x".repeat(limits::VALUE_BYTES_MAX + 1));
    refused(
        &forged(|c| {
            c.ops[1].action = Action::Put {
                key: "unit".into(),
                value: long(),
            }
        }),
        "change_too_large",
    );
    refused(
        &forged(|c| {
            c.ops[1].action = Action::Put {
                key: "x".repeat(300),
                value: "x".into(),
            }
        }),
        "change_too_large",
    );
    refused(
        &forged(|c| {
            c.ops[1] = Op {
                action: Action::Delete { key: "unit".into() },
                pred: vec![],
            }
        }),
        "operation_not_allowed",
    );
    let id = |counter| OpId {
        counter,
        actor: actor(),
    };
    refused(
        &forged(|c| c.ops[1].pred = vec![id(2), id(1)]),
        "not_canonical",
    );
    refused(
        &forged(|c| c.ops[1].pred = vec![id(1), id(1)]),
        "not_canonical",
    );
    refused(
        &forged(|c| c.ops[1].pred = (1..=65).map(id).collect()),
        "change_too_large",
    );
}

/// A few hundred bytes must not become a megabyte: two thousand changes fit one request.
#[test]
fn a_long_key_in_a_long_run() {
    let put = |length: usize| Op {
        action: Action::Put {
            key: "k".repeat(length),
            value: Scalar::Bool(true),
        },
        pred: vec![],
    };
    let bytes = forged(|c| c.ops = vec![put(250); 300]);
    assert!(bytes.len() < 500);
    refused(&bytes, "change_too_large");
    assert!(decode(&forged(|c| c.ops = vec![put(200); 300])).is_ok());
}

/// Automerge fails at the next edit of a note whose elements are longer than one character, and no client writes such.
#[test]
fn a_text_element_is_one_character() {
    for text in ["", "ab", "e\u{301}", "👨‍👩‍👧"] {
        let element = |c: &mut Change| {
            let insert = c.ops.iter_mut().find_map(|op| match &mut op.action {
                Action::Insert { text, .. } => Some(text),
                _ => None,
            });
            text.clone_into(insert.expect("the note has text"));
        };
        refused(&forged(element), "operation_not_allowed");
    }
}

/// A document of a client that does not keep to flat records.
fn foreign(actor: &[u8]) -> automerge::AutoCommit {
    let encoding = automerge::TextEncoding::UnicodeCodePoint;
    automerge::AutoCommit::new_with_encoding(encoding).with_actor(automerge::ActorId::from(actor))
}

#[test]
fn objects_other_than_the_note() {
    use automerge::{ObjType, ROOT, transaction::Transactable};
    for (object, code) in [
        (ObjType::Map, "nested_object"),
        (ObjType::List, "nested_object"),
    ] {
        let mut doc = foreign(actor().as_bytes());
        doc.put_object(ROOT, "contacts", object).unwrap();
        refused(doc.get_last_local_change().unwrap().raw_bytes(), code);
    }
    for value in [
        automerge::ScalarValue::Null,
        1.5.into(),
        automerge::ScalarValue::counter(1),
        automerge::ScalarValue::Timestamp(1),
        vec![1_u8].into(),
    ] {
        let mut doc = foreign(actor().as_bytes());
        doc.put(ROOT, "sign_name", value).unwrap();
        refused(
            doc.get_last_local_change().unwrap().raw_bytes(),
            "wrong_type",
        );
    }
    let mut doc = foreign(&[1, 2, 3]);
    doc.put(ROOT, "sign_name", "x").unwrap();
    refused(
        doc.get_last_local_change().unwrap().raw_bytes(),
        "bad_actor",
    );
    let mut doc = foreign(actor().as_bytes());
    doc.put(ROOT, "n", automerge::ScalarValue::counter(1))
        .unwrap();
    doc.commit();
    doc.increment(ROOT, "n", 1).unwrap();
    refused(
        doc.get_last_local_change().unwrap().raw_bytes(),
        "operation_not_allowed",
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..600)) {
        let _ = decode(&bytes);
        let _ = decode(&chunk(CHUNK_CHANGE, &bytes, &bytes));
        let _ = decode(&chunk(CHUNK_DEFLATED, &bytes, &bytes));
    }

    /// Mutated columns with a corrected checksum: refused, or harmless to Automerge.
    #[test]
    fn what_passes_mutated_applies_saves_and_loads(mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut mutated = body(&honest());
        for (at, byte) in mutations {
            let at = at.index(mutated.len());
            mutated[at] = byte;
        }
        if let Ok(change) = decode(&chunk(CHUNK_CHANGE, &mutated, &mutated)) {
            let street = "310104003".parse().unwrap();
            let context = crate::crdt::merge::Context {
                street: &street,
                kind: crate::kinds::Kind::ShopCard,
                generation: 1,
                device: change.actor.device(),
                writer: crate::access::Role::Secretary.into(),
                received_at: crate::time::ServerTime::from_unix_ms(0),
            };
            let mut target = crate::crdt::merge::Target::default();
            if crate::crdt::merge::merge(&mut target, &change, &context).is_ok() {
                let mut record = Record::load(&change.bytes).unwrap();
                let mut again = Record::load(&record.save()).unwrap();
                prop_assert_eq!(again.heads(), vec![change.hash]);
                prop_assert_eq!(again.view().unwrap(), target.state.unwrap().view());
            }
        }
    }
}
