//! Frozen bytes: a change here breaks phones in the field.

use std::fmt::Debug;

use proptest::{collection::vec, prelude::*};

use crate::codec::wire::*;

fn record() -> RecordId {
    "0198c0de-0000-7000-8000-000000000001".parse().unwrap()
}

fn requests() -> Vec<RequestItem> {
    vec![
        RequestItem::Hello(Hello {
            blocks: 0,
            kinds: Vec::new(),
            cursor: Some("AQ".into()),
            client: "js/1".into(),
            pull: true,
            report: Report::default(),
        }),
        RequestItem::Change(PushedChange {
            record: record(),
            kind: Kind::ShopCard,
            generation: 1,
            bytes: vec![0x85, 0x6f, 0x4a, 0x83],
        }),
    ]
}

fn responses() -> Vec<ResponseItem> {
    let verdict = Verdict {
        index: 0,
        hash: Some(ChangeHash([0xab; 32])),
        record: record(),
        status: VerdictStatus::Accepted,
        seq: Some(4711),
        code: None,
        field: None,
        message: None,
        retryable: false,
    };
    let rejected = Verdict {
        index: 1,
        hash: None,
        status: VerdictStatus::Rejected,
        seq: None,
        code: Some("value_too_long".into()),
        field: Some("sign_name".into()),
        message: Some("最多 100 个字符".into()),
        ..verdict.clone()
    };
    vec![
        ResponseItem::Verdict(verdict),
        ResponseItem::Verdict(rejected),
        ResponseItem::Snapshot {
            record: record(),
            kind: Kind::ShopCard,
            grid: "康平01".into(),
            generation: 1,
            seq: 3,
            bytes: vec![1, 2],
        },
        ResponseItem::Change {
            record: record(),
            generation: 1,
            seq: 4,
            bytes: vec![3],
        },
        ResponseItem::Leave { record: record() },
        ResponseItem::Erase { record: record() },
        ResponseItem::Wipe,
        ResponseItem::Reset {
            epoch: Uuid::from_u128(7),
        },
        ResponseItem::Checkpoint {
            cursor: "AQ".into(),
        },
        ResponseItem::End {
            cursor: Some("AQ".into()),
            head: 4711,
            server_time: ServerTime::from_unix_ms(1_795_248_000_000),
            lease_seconds: None,
        },
    ]
}

const REQUEST_NDJSON: &str = include_str!("fixtures/request.ndjson");
const RESPONSE_NDJSON: &str = include_str!("fixtures/response.ndjson");
const REQUEST_CBOR: &str = include_str!("fixtures/request.cbor-seq.hex");
const RESPONSE_CBOR: &str = include_str!("fixtures/response.cbor-seq.hex");

fn write<T: StreamItem>(encoding: Encoding, items: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        encoding.write(item, &mut out);
    }
    out
}

fn read<T: StreamItem>(encoding: Encoding, pieces: &[&[u8]]) -> Result<Vec<T>, WireError> {
    let mut reader = ItemReader::new(encoding);
    let mut items = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(item) = reader.next_item()? {
            items.push(item);
        }
    }
    items.extend(reader.finish()?);
    Ok(items)
}

fn frozen<T: StreamItem + PartialEq + Debug>(items: &[T], ndjson: &str, cbor_hex: &str) {
    assert_eq!(
        String::from_utf8(write(Encoding::Ndjson, items)).unwrap(),
        ndjson
    );
    assert_eq!(
        hex::encode(write(Encoding::CborSeq, items)),
        cbor_hex.split_whitespace().collect::<String>()
    );
    let cbor = write(Encoding::CborSeq, items);
    for (encoding, bytes) in [
        (Encoding::Ndjson, ndjson.as_bytes()),
        (Encoding::CborSeq, cbor.as_slice()),
    ] {
        assert_eq!(read::<T>(encoding, &[bytes]).unwrap(), items);
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(
            read::<T>(encoding, &single).unwrap(),
            items,
            "a byte at a time"
        );
    }
}

#[test]
fn requests_are_frozen() {
    frozen(&requests(), REQUEST_NDJSON, REQUEST_CBOR);
}

#[test]
fn responses_are_frozen() {
    frozen(&responses(), RESPONSE_NDJSON, RESPONSE_CBOR);
}

/// What later phones and servers add; the fixtures above are what the first ones say, and still parse.
#[test]
fn reports_and_leases_are_frozen() {
    let report = Report {
        unsent: Some(20),
        held: Some(3),
        device_time: Some(DeviceTime::from_unix_ms(1_795_248_000_000)),
        wiped: true,
    };
    let hello = Hello {
        blocks: 0,
        kinds: Vec::new(),
        cursor: None,
        client: "js/1".into(),
        pull: true,
        report,
    };
    frozen(
        &[RequestItem::Hello(hello)],
        include_str!("fixtures/report.ndjson"),
        include_str!("fixtures/report.cbor-seq.hex"),
    );
    let end = ResponseItem::End {
        cursor: Some("AQ".into()),
        head: 4711,
        server_time: ServerTime::from_unix_ms(1_795_248_000_000),
        lease_seconds: Some(604_800),
    };
    frozen(
        &[end],
        include_str!("fixtures/lease.ndjson"),
        include_str!("fixtures/lease.cbor-seq.hex"),
    );
}

/// Added later: a phone that does not know it passes over it.
#[test]
fn notices_are_frozen() {
    let notice = Notice {
        id: Uuid::from_u128(7),
        seq: 4711,
        kind: "value_not_chosen".into(),
        record: record(),
        field: Some("sign_name".into()),
        hash: Some(ChangeHash([0xab; 32])),
        by: Some("reviewer".into()),
        at: ServerTime::from_unix_ms(1_795_248_000_000),
        note: Some("电话核实".into()),
    };
    let bare = Notice {
        kind: "held_refused".into(),
        field: None,
        hash: None,
        by: None,
        note: None,
        ..notice.clone()
    };
    let items = [ResponseItem::Notice(notice), ResponseItem::Notice(bare)];
    frozen(
        &items,
        include_str!("fixtures/notice.ndjson"),
        include_str!("fixtures/notice.cbor-seq.hex"),
    );
}

/// Added later: a phone that does not know it keeps its drafts of the person until it tries to send them.
#[test]
fn redactions_are_frozen() {
    let entries = [0xa, 0xb].map(|n| {
        EntryId(Uuid::from_u128(
            0x0198_c0de_0000_7000_8000_0000_0000_0000 + n,
        ))
    });
    let item = ResponseItem::Redact {
        record: record(),
        entries: entries.to_vec(),
    };
    frozen(
        &[item],
        include_str!("fixtures/redact.ndjson"),
        include_str!("fixtures/redact.cbor-seq.hex"),
    );
}

/// Added later: only who says so is sent one.
#[test]
fn blocks_are_frozen() {
    let hello = Hello {
        blocks: 1,
        kinds: Vec::new(),
        cursor: Some("AQ".into()),
        client: "js/1".into(),
        pull: true,
        report: Report::default(),
    };
    frozen(
        &[RequestItem::Hello(hello)],
        include_str!("fixtures/blocks.ndjson"),
        include_str!("fixtures/blocks.cbor-seq.hex"),
    );
    let bytes = hex::decode(include_str!("../block/fixtures/block.hex").trim()).unwrap();
    frozen(
        &[ResponseItem::Block { bytes }],
        include_str!("fixtures/block.ndjson"),
        include_str!("fixtures/block.cbor-seq.hex"),
    );
}

#[test]
fn readers_pass_over_what_they_do_not_know() {
    let line = br#"{"type":"hello","cursor":null,"client":"js/1","pull":false,"colour":"red"}"#;
    let items = read::<RequestItem>(Encoding::Ndjson, &[line]).unwrap();
    assert_eq!(
        items,
        [RequestItem::Hello(Hello {
            blocks: 0,
            kinds: Vec::new(),
            cursor: None,
            client: "js/1".into(),
            pull: false,
            report: Report::default()
        })]
    );
}

#[test]
fn a_phone_passes_over_items_of_a_newer_server() {
    let lines = concat!(
        r#"{"type":"applause"}"#,
        "\n",
        r#"{"type":"snapshot","record":"0198c0de-0000-7000-8000-000000000001","kind":"street_party","grid":"x","generation":1,"seq":1,"bytes":""}"#,
        "\n",
        r#"{"type":"wipe"}"#,
    );
    assert_eq!(
        read::<ResponseItem>(Encoding::Ndjson, &[lines.as_bytes()]).unwrap(),
        [ResponseItem::Wipe]
    );
}

#[track_caller]
fn refused(encoding: Encoding, bytes: &[u8], expected: &str) {
    let error = read::<RequestItem>(encoding, &[bytes])
        .unwrap_err()
        .to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn unreadable_items_are_named() {
    let hello = write(Encoding::Ndjson, &requests()[..1]);
    refused(Encoding::Ndjson, b"{}", "item 0 lacks `type`");
    refused(
        Encoding::Ndjson,
        &[hello.as_slice(), b"{\"type\":\"change\"}\n"].concat(),
        "item 1 lacks `record`",
    );
    refused(
        Encoding::Ndjson,
        b"{\"type\":\"verdict\"}\n",
        "unknown type `verdict`",
    );
    let unknown_kind =
        br#"{"type":"change","record":"0198c0de-0000-7000-8000-000000000001","kind":"street_party","generation":1,"bytes":""}"#;
    refused(
        Encoding::Ndjson,
        &[hello.as_slice(), unknown_kind].concat(),
        "item 1 names the unknown kind `street_party`",
    );
    refused(Encoding::Ndjson, b"[1,2]\n{", "item 0 does not parse");
    refused(
        Encoding::Ndjson,
        &vec![b' '; limits::ITEM_BYTES_MAX + 2],
        "longer than",
    );
    refused(Encoding::CborSeq, &[0xa1], "ends inside an item");
    refused(Encoding::CborSeq, &[0xff], "does not parse");
    refused(Encoding::CborSeq, &[0x9f, 0x01, 0xff], "indefinite");
    refused(
        Encoding::CborSeq,
        &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        "too long",
    );
    refused(Encoding::CborSeq, &[0x81; 40], "nested too deeply");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()) {
        for encoding in [Encoding::Ndjson, Encoding::CborSeq] {
            let _ = read::<RequestItem>(encoding, &[&bytes]);
            let mut mutated = write(encoding, &requests());
            let at = at.index(mutated.len());
            mutated[at] = bytes.first().copied().unwrap_or(0);
            let _ = read::<RequestItem>(encoding, &[&mutated]);
        }
    }
}

/// The same item by serde alone.
fn by_serde(bytes: &[u8]) -> Result<ResponseItem, WireError> {
    let item =
        parse(Encoding::CborSeq, bytes).map_err(|reason| WireError::Syntax { index: 0, reason })?;
    ResponseItem::from_wire(Flat(item), 1)
}

proptest! {
    #[test]
    fn frequent_items_are_written_and_read_as_serde_does(
        kind in prop::sample::select(&Kind::ALL[..]),
        grid in "\\PC{0,30}",
        numbers in (any::<u32>(), any::<u64>(), 0_u32..70, 0_u64..70_000),
        bytes in vec(any::<u8>(), 0..70_000),
        small in any::<bool>(),
        (at, byte) in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let (generation, seq) = if small { (numbers.2, numbers.3) } else { (numbers.0, numbers.1) };
        let bytes = if small { bytes[..bytes.len() % 300].to_vec() } else { bytes };
        let change = ResponseItem::Change { record: record(), generation, seq, bytes: bytes.clone() };
        for item in [change, ResponseItem::Snapshot { record: record(), kind, grid, generation, seq, bytes }] {
            let mut written = Vec::new();
            prop_assert!(frequent::write(&item, &mut written));
            let Flat(flat) = item.to_wire();
            let mut expected = Vec::new();
            ciborium::into_writer(&flat, &mut expected).unwrap();
            prop_assert_eq!(&written, &expected);
            prop_assert_eq!(frequent::read(&written), Some(item));
            // What is not as it is written here is what serde says it is, or is left to it.
            let at = at.index(written.len().min(140));
            let truncated = written[..at].to_vec();
            written[at] = byte;
            for bytes in [truncated, written] {
                if let Some(item) = frequent::read(&bytes) {
                    prop_assert_eq!(Ok(item), by_serde(&bytes));
                }
            }
        }
    }
}

#[test]
fn what_is_out_of_the_ordinary_is_left_to_serde() {
    let item = |keys: &[(&str, ciborium::Value)]| {
        let map = keys
            .iter()
            .map(|(key, value)| ((*key).into(), value.clone()));
        let mut bytes = Vec::new();
        ciborium::into_writer(&ciborium::Value::Map(map.collect()), &mut bytes).unwrap();
        bytes
    };
    let keys = [
        ("type", "change".into()),
        (
            "record",
            ciborium::Value::Bytes(record().0.as_bytes().to_vec()),
        ),
        ("generation", 1.into()),
        ("seq", 2.into()),
        ("bytes", ciborium::Value::Bytes(vec![3])),
    ];
    assert!(frequent::read(&item(&keys)).is_some());
    for n in 0..keys.len() {
        let mut fewer = keys.to_vec();
        let taken = fewer.remove(n);
        assert_eq!(frequent::read(&item(&fewer)), None, "without {}", taken.0);
        let twice = [&keys[..], &[taken]].concat();
        assert_eq!(frequent::read(&item(&twice)), None);
    }
    let unknown = [&keys[..], &[("later", 1.into())]].concat();
    assert_eq!(frequent::read(&item(&unknown)), None);
    assert!(by_serde(&item(&unknown)).is_ok());
}
