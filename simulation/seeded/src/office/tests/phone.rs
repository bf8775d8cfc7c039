//! A phone for tests: it writes, sends and shows every item of every answer; the test says what comes next.

use std::collections::BTreeMap;

use lianka_sync_core::{
    codec::{
        change::Change,
        wire::{
            Encoding, Hello, ItemReader, PushedChange, Report, RequestItem, ResponseItem, Verdict,
        },
    },
    crdt::record::{Edit, Record},
    id::{Actor, DeviceId, RecordId},
    kinds::Kind,
    time::DeviceTime,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::office::{Act, Acted, Call, Office, Reply};

pub struct Phone {
    pub device: DeviceId,
    pub epoch: u32,
    pub cursor: Option<String>,
    pub docs: BTreeMap<RecordId, (u32, Record)>,
    pub outbox: Vec<PushedChange>,
    access: String,
    refresh: String,
    seconds: i64,
}

fn call(path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Call {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Call {
        method: "POST".into(),
        path: path.into(),
        headers,
        body,
    }
}

async fn json_call(office: &mut impl Office, path: &str, body: &Value) -> (u16, Value) {
    let reply = office
        .exchange(&call(
            path,
            &[("content-type", "application/json")],
            body.to_string().into_bytes(),
        ))
        .await;
    (
        reply.status,
        serde_json::from_slice(&reply.body).unwrap_or_default(),
    )
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

impl Phone {
    pub async fn enrol(office: &mut impl Office, username: &str) -> Self {
        let Acted::Code(code) = office
            .act(&Act::Enrol {
                username: username.into(),
            })
            .await
        else {
            panic!("no code for {username}")
        };
        let body = json!({ "code": code.to_lowercase(), "name": "手机", "platform": "android" });
        let (status, session) = json_call(office, "/v1/devices", &body).await;
        assert_eq!(status, 201, "{session}");
        assert_eq!(
            json_call(office, "/v1/devices", &body).await.1["code"],
            "enrolment_refused",
            "a code is good once"
        );
        Self {
            device: text(&session["device_id"]).parse().expect("an id"),
            epoch: 1,
            cursor: None,
            docs: BTreeMap::new(),
            outbox: Vec::new(),
            access: text(&session["access_token"]),
            refresh: text(&session["refresh_token"]),
            seconds: 1_795_000_000,
        }
    }

    /// The same device once more, with an empty file.
    pub fn copy(&self) -> Self {
        Self {
            cursor: None,
            docs: BTreeMap::new(),
            outbox: Vec::new(),
            access: self.access.clone(),
            refresh: self.refresh.clone(),
            ..*self
        }
    }

    /// Exchanges the refresh token; the refusal's code.
    pub async fn renew(&mut self, office: &mut impl Office) -> Result<(), String> {
        let (status, session) = json_call(
            office,
            "/v1/tokens",
            &json!({ "refresh_token": self.refresh }),
        )
        .await;
        if status != 200 {
            return Err(text(&session["code"]));
        }
        (self.access, self.refresh) = (
            text(&session["access_token"]),
            text(&session["refresh_token"]),
        );
        Ok(())
    }

    fn at(&mut self) -> DeviceTime {
        self.seconds += 1;
        DeviceTime::from_unix_seconds(self.seconds)
    }

    fn actor(&self) -> Actor {
        Actor::new(self.device, self.epoch)
    }

    fn queue(&mut self, record: RecordId, kind: Kind, generation: u32, change: Change) {
        self.outbox.push(PushedChange {
            record,
            kind,
            generation,
            bytes: change.bytes,
        });
    }

    /// Creates a record `nth` with `set`.
    pub fn create(&mut self, nth: u128, kind: Kind, set: &[(&str, &str)]) -> RecordId {
        let record = RecordId(Uuid::from_u128(
            0x0198_c0de_0000_7000_8000_0000_0000_0000 + nth,
        ));
        let fixed = [("kind", kind.as_str()), ("street", "310104003")];
        let edits: Vec<_> = fixed
            .iter()
            .chain(set)
            .map(|(key, value)| Edit::set(*key, value))
            .collect();
        let (at, actor) = (self.at(), self.actor());
        let (doc, change) = Record::create(actor, at, &edits).expect("a record");
        self.docs.insert(record, (1, doc));
        self.queue(record, kind, 1, change);
        record
    }

    pub fn card(&mut self, nth: u128, grid: &str, name: &str) -> RecordId {
        self.create(nth, Kind::ShopCard, &[("grid", grid), ("sign_name", name)])
    }

    pub fn edit(&mut self, record: RecordId, set: &[(&str, &str)]) {
        let edit = |(key, value): &(&str, &str)| match *key {
            "note" => Edit::Note {
                text: (*value).to_owned(),
            },
            key if key.starts_with("tags/") => Edit::add(key),
            key => Edit::set(key, value),
        };
        let edits: Vec<_> = set.iter().map(edit).collect();
        let (at, actor) = (self.at(), self.actor());
        let (generation, doc) = self
            .docs
            .get_mut(&record)
            .expect("the record is on the phone");
        let kind = Kind::of(&doc.view().expect("it reads")).expect("it has a kind");
        let change = doc
            .edit(actor, at, &edits, "")
            .expect("it can be edited")
            .expect("an edit that says something");
        let generation = *generation;
        self.queue(record, kind, generation, change);
    }

    pub async fn request(&mut self, office: &mut impl Office, pull: bool, report: Report) -> Reply {
        let hello = Hello {
            blocks: 0,
            kinds: Vec::new(),
            cursor: self.cursor.clone(),
            client: "test/1".into(),
            pull,
            report,
        };
        let changes = self.outbox.iter().cloned().map(RequestItem::Change);
        let mut body = Vec::new();
        for item in std::iter::once(RequestItem::Hello(hello)).chain(changes) {
            Encoding::CborSeq.write(&item, &mut body);
        }
        let body = zstd::encode_all(&body[..], 1).expect("it packs");
        let authorization = format!("Bearer {}", self.access);
        let cbor = Encoding::CborSeq.media_type();
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", cbor),
            ("content-encoding", "zstd"),
            ("accept-encoding", "zstd"),
            ("accept-language", "en"),
        ];
        office
            .exchange(&call("/v1/streets/310104003/sync", &headers, body))
            .await
    }

    /// Sends the outbox, takes in what comes and empties the outbox; every item.
    pub async fn sync(&mut self, office: &mut impl Office) -> Vec<ResponseItem> {
        let reply = self.request(office, true, Report::default()).await;
        assert_eq!(
            reply.status,
            200,
            "{}",
            String::from_utf8_lossy(&reply.body)
        );
        self.outbox.clear();
        let items = items(&reply);
        for item in &items {
            self.take(item);
        }
        items
    }

    fn take(&mut self, item: &ResponseItem) {
        match item {
            ResponseItem::Snapshot {
                record,
                generation,
                bytes,
                ..
            } => {
                self.docs.insert(
                    *record,
                    (*generation, Record::load(bytes).expect("a snapshot loads")),
                );
            }
            ResponseItem::Change { record, bytes, .. } => {
                self.docs
                    .get_mut(record)
                    .expect("a change of a record that is there")
                    .1
                    .apply([&bytes[..]])
                    .expect("it applies");
            }
            ResponseItem::Leave { record } | ResponseItem::Erase { record } => {
                drop(self.docs.remove(record));
            }
            ResponseItem::Reset { .. } => self.cursor = None,
            ResponseItem::Wipe => self.docs.clear(),
            ResponseItem::End { cursor, .. } => self.cursor.clone_from(cursor),
            ResponseItem::Verdict(_)
            | ResponseItem::Block { .. }
            | ResponseItem::Redact { .. }
            | ResponseItem::Notice(_)
            | ResponseItem::Checkpoint { .. } => {}
        }
    }
}

/// Every item of an answer.
pub fn items(reply: &Reply) -> Vec<ResponseItem> {
    let mut reader = ItemReader::new(Encoding::CborSeq);
    reader.push(&zstd::decode_all(&reply.body[..]).expect("the answer unpacks"));
    let mut items = Vec::new();
    while let Some(item) = reader.next_item().expect("the answer parses") {
        items.push(item);
    }
    items
}

/// Each verdict: its word, or its code.
pub fn verdicts(items: &[ResponseItem]) -> Vec<String> {
    let word = |verdict: &Verdict| {
        verdict
            .code
            .clone()
            .unwrap_or_else(|| format!("{:?}", verdict.status).to_lowercase())
    };
    items
        .iter()
        .filter_map(|item| {
            if let ResponseItem::Verdict(verdict) = item {
                Some(word(verdict))
            } else {
                None
            }
        })
        .collect()
}

/// The types of the items that are no verdicts, in order; of a record its last character.
pub fn rest(items: &[ResponseItem]) -> String {
    let of = |word: &str, record: &RecordId| format!("{word}{} ", &record.to_string()[35..]);
    let word = |item: &ResponseItem| match item {
        ResponseItem::Verdict(_) | ResponseItem::Checkpoint { .. } => String::new(),
        ResponseItem::Snapshot { record, .. } => of("snapshot", record),
        ResponseItem::Change { record, .. } => of("change", record),
        ResponseItem::Block { .. } => "block ".into(),
        ResponseItem::Leave { record } => of("leave", record),
        ResponseItem::Erase { record } => of("erase", record),
        ResponseItem::Redact { record, .. } => of("redact", record),
        ResponseItem::Notice(notice) => format!("{} ", notice.kind),
        ResponseItem::Wipe => "wipe ".into(),
        ResponseItem::Reset { .. } => "reset ".into(),
        ResponseItem::End { .. } => "end".into(),
    };
    items.iter().map(word).collect()
}
