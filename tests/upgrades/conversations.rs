//! What old phones say, byte for byte, and whether an old phone understands today's answer.
//!
//! Which keys an old phone reads, of which type, and which it cannot do without, stands here as it was when it was released: it must never be
//! changed to fit a newer server. Items of other types and keys that are not listed are passed over by every phone that was ever released.

use std::{collections::BTreeMap, io::Cursor};

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ciborium::Value as Cbor;
use serde_json::Value;

use super::Frozen;

const BODY_BYTES_MAX: usize = 64 << 20;

/// What stands in a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    Text,
    Whole,
    Flag,
    Bytes,
    /// Of so many bytes.
    Id(usize),
    Ids,
    /// One of these words: others are an error.
    Word(&'static [&'static str]),
}

use Type::{Bytes, Flag, Id, Ids, Text, Whole, Word};

/// Every key that 0.1.0 reads, in whatever item it stands.
const KEYS_0_1_0: &[(&str, Type)] = &[
    ("type", Text),
    ("index", Whole),
    ("hash", Id(32)),
    ("record", Id(16)),
    ("kind", Text),
    ("grid", Text),
    ("generation", Whole),
    (
        "status",
        Word(&["accepted", "duplicate", "held", "rejected"]),
    ),
    ("seq", Whole),
    ("code", Text),
    ("field", Text),
    ("message", Text),
    ("retryable", Flag),
    ("cursor", Text),
    ("client", Text),
    ("pull", Flag),
    ("epoch", Id(16)),
    ("head", Whole),
    ("server_time", Text),
    ("bytes", Bytes),
];
/// Those that 0.2.0 reads beside them.
const KEYS_0_2_0: &[(&str, Type)] = &[
    ("lease_seconds", Whole),
    ("unsent", Whole),
    ("held", Whole),
    ("entries", Ids),
    ("device_time", Text),
    ("wiped", Flag),
    ("id", Id(16)),
    ("by", Text),
    ("at", Text),
    ("note", Text),
];
/// What an item of a type cannot do without.
const NEEDS_0_1_0: &[(&str, &[&str])] = &[
    ("verdict", &["index", "record", "status"]),
    (
        "snapshot",
        &["record", "kind", "grid", "generation", "seq", "bytes"],
    ),
    ("change", &["record", "generation", "seq", "bytes"]),
    ("leave", &["record"]),
    ("erase", &["record"]),
    ("wipe", &[]),
    ("reset", &["epoch"]),
    ("checkpoint", &["cursor"]),
    ("end", &["head", "server_time"]),
];
const NEEDS_0_2_0: &[(&str, &[&str])] = &[
    ("redact", &["record", "entries"]),
    ("notice", &["id", "seq", "kind", "record", "at"]),
];

type Item = BTreeMap<String, Cbor>;

/// The items of a CBOR sequence.
fn items(bytes: &[u8]) -> Vec<Item> {
    let mut reader = Cursor::new(bytes);
    let mut items = Vec::new();
    while (reader.position() as usize) < bytes.len() {
        let item: Cbor = ciborium::from_reader(&mut reader).expect("CBOR");
        let pairs = item.into_map().expect("an item is a map").into_iter();
        items.push(
            pairs
                .map(|(key, value)| (key.into_text().expect("a key is a text"), value))
                .collect(),
        );
    }
    items
}

fn unpacked(bytes: Vec<u8>, encoding: Option<&str>) -> Vec<u8> {
    match encoding {
        None | Some("identity") => bytes,
        Some("zstd") => zstd::decode_all(bytes.as_slice()).expect("zstd"),
        Some(other) => panic!("no phone reads {other}"),
    }
}

fn recorded(exchange: &Value, body: &str, headers: &str) -> Vec<u8> {
    let bytes = STANDARD
        .decode(exchange[body].as_str().expect("bytes"))
        .expect("base64");
    unpacked(bytes, exchange[headers]["content-encoding"].as_str())
}

/// The items of a recorded synchronisation; none of any other request.
pub(super) fn request(exchange: &Value) -> Vec<Item> {
    let synchronises = exchange["path"]
        .as_str()
        .is_some_and(|path| path.ends_with("/sync"));
    if synchronises {
        items(&recorded(exchange, "body", "headers"))
    } else {
        Vec::new()
    }
}

/// Why a phone of that version could not read an item.
fn misread(version: &str, item: &Item) -> Option<String> {
    let later = version != "0.1.0";
    let keys = KEYS_0_1_0
        .iter()
        .chain(if later { KEYS_0_2_0 } else { &[] });
    for (key, wanted) in keys {
        let Some(value) = item.get(*key) else {
            continue;
        };
        let fits = match wanted {
            Text => value.is_text(),
            Whole => value
                .as_integer()
                .is_some_and(|whole| u64::try_from(whole).is_ok()),
            Flag => value.is_bool(),
            Bytes => value.is_bytes(),
            Id(length) => value.as_bytes().is_some_and(|bytes| bytes.len() == *length),
            Ids => value.as_array().is_some_and(|ids| {
                ids.iter()
                    .all(|id| id.as_bytes().is_some_and(|bytes| bytes.len() == 16))
            }),
            Word(words) => value.as_text().is_some_and(|word| words.contains(&word)),
        };
        // An absent key may be written as nothing.
        if !fits && !value.is_null() {
            return Some(format!("{key} is {value:?}"));
        }
    }
    let name = item.get("type").and_then(Cbor::as_text)?;
    let needs = NEEDS_0_1_0
        .iter()
        .chain(if later { NEEDS_0_2_0 } else { &[] });
    let (_, needs) = needs.into_iter().find(|(other, _)| *other == name)?;
    needs
        .iter()
        .find(|key| item.get(**key).is_none_or(Cbor::is_null))
        .map(|key| format!("{name} lacks {key}"))
}

/// Verdicts, as far as they are no counters or texts.
fn verdicts(items: &[Item]) -> Vec<String> {
    let verdicts = items
        .iter()
        .filter(|item| item["type"] == Cbor::Text("verdict".into()));
    verdicts
        .map(|item| {
            [
                "index",
                "hash",
                "record",
                "status",
                "code",
                "field",
                "retryable",
            ]
            .map(|key| format!("{key} {:?}", item.get(key)))
            .join(", ")
        })
        .collect()
}

#[tokio::test]
async fn what_old_phones_say_is_answered_as_it_was_and_in_words_they_know() {
    for frozen in Frozen::every() {
        let upgraded = frozen.upgraded(0).await;
        let line = frozen.line();
        let (mut judged, mut exchanges) = (0, 0);
        for conversation in line["conversations"].as_array().expect("conversations") {
            let phone = conversation["phone"].as_str().expect("a name");
            let mut bearer = None;
            for exchange in conversation["exchanges"].as_array().expect("exchanges") {
                let mut builder = Request::builder()
                    .method(exchange["method"].as_str().expect("a method"))
                    .uri(exchange["path"].as_str().expect("a path"));
                for (name, value) in exchange["headers"].as_object().expect("headers") {
                    let value = bearer
                        .as_ref()
                        .filter(|_| name == "authorization")
                        .map_or(value.as_str().expect("a text"), String::as_str);
                    builder = builder.header(name, value);
                }
                let body = STANDARD
                    .decode(exchange["body"].as_str().expect("bytes"))
                    .expect("base64");
                let answer = upgraded
                    .test
                    .send(builder.body(Body::from(body)).expect("a request"))
                    .await;
                let (head, body) = answer.into_parts();
                let about = format!("{} {phone} {}", frozen.version, exchange["path"]);
                assert_eq!(
                    u64::from(head.status.as_u16()),
                    exchange["status"].as_u64().expect("a status"),
                    "{about}"
                );
                let header =
                    |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
                assert_eq!(
                    header("content-type"),
                    exchange["answer_headers"]["content-type"].as_str(),
                    "{about}"
                );
                let body = unpacked(
                    to_bytes(body, BODY_BYTES_MAX)
                        .await
                        .expect("a body")
                        .to_vec(),
                    header("content-encoding"),
                );
                let then = recorded(exchange, "answer", "answer_headers");
                exchanges += 1;
                if !about.contains("/sync") {
                    // A session: another device and other tokens, and nothing missing.
                    let (then, now): (Value, Value) = (
                        serde_json::from_slice(&then).expect("JSON"),
                        serde_json::from_slice(&body).expect("JSON"),
                    );
                    let problems = super::lost(
                        &then,
                        &now,
                        phone,
                        &["device_id", "access_token", "refresh_token", "expires_in"],
                    );
                    super::nothing_lost(&frozen.version, "a session", &problems);
                    bearer = now["access_token"]
                        .as_str()
                        .map(|token| format!("Bearer {token}"));
                    continue;
                }
                let (then, now) = (items(&then), items(&body));
                for item in &now {
                    if let Some(problem) = misread(&frozen.version, item) {
                        panic!("{about}: {problem} in {item:?}");
                    }
                }
                assert_eq!(verdicts(&now), verdicts(&then), "{about}");
                assert_eq!(
                    now.last().and_then(|item| item["type"].as_text()),
                    then.last().and_then(|item| item["type"].as_text()),
                    "{about}"
                );
                judged += verdicts(&now).len();
            }
        }
        assert!(
            judged > 8 && exchanges > 6,
            "{judged} verdicts in {exchanges} exchanges"
        );
    }
}

#[test]
fn what_an_old_phone_reads_is_told_apart_from_what_it_would_choke_on() {
    let item = |pairs: &[(&str, Cbor)]| {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect::<Item>()
    };
    let verdict = [
        ("type", Cbor::Text("verdict".into())),
        ("index", Cbor::Integer(0.into())),
        ("record", Cbor::Bytes(vec![0; 16])),
    ];
    let with =
        |status: &str| item(&[&verdict[..], &[("status", Cbor::Text(status.into()))]].concat());
    assert_eq!(misread("0.1.0", &with("held")), None);
    assert!(
        misread("0.1.0", &with("postponed")).is_some(),
        "a new word for a verdict stops an old phone"
    );
    assert!(misread("0.1.0", &item(&verdict)).is_some());
    assert!(
        misread(
            "0.1.0",
            &item(&[
                ("type", Cbor::Text("end".into())),
                ("head", Cbor::Text("7".into()))
            ])
        )
        .is_some()
    );
    assert_eq!(
        misread(
            "0.1.0",
            &item(&[
                ("type", Cbor::Text("advance".into())),
                ("note", Cbor::Bool(true))
            ])
        ),
        None,
        "passed over"
    );
}
