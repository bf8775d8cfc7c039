//! An office and phones for tests. A [`Phone`] speaks the protocol and holds documents, but decides nothing: it shows every item of every
//! answer, and the test says what comes next.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::{Read, Write},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use bytes::Bytes;
use lianka_server::{auth, sync::ingest::Packing};
use lianka_sync_core::{
    codec::{
        block::{self, Block},
        change::Change,
        wire::{
            Encoding, Hello, ItemReader, PushedChange, Report, RequestItem, ResponseItem, Verdict,
            VerdictStatus,
        },
    },
    crdt::{
        record::{Edit, Record},
        view::View,
    },
    id::{Actor, ChangeHash, DeviceId, RecordId},
    kinds::Kind,
    time::DeviceTime,
};
use lianka_tests::{Answer, START_UNIX_MS, TestApp};
use serde_json::{Value, json};

/// 天平路街道, with grids A1, A2 and A3.
pub const HOME: &str = "310104003";
/// 虹桥街道, with grid B1.
pub const OTHER: &str = "310105009";

/// What MERGE and PROJECT write.
pub static STORE: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let written = [
        "street",
        "record",
        "change_log",
        "held_change",
        "transfer_personal",
    ];
    written.into_iter().chain(Kind::read_models()).collect()
});
/// What can be rebuilt.
pub static READ_MODELS: LazyLock<Vec<&str>> = LazyLock::new(|| Kind::read_models().collect());

/// A server with two streets and an admin of the deployment.
pub struct Office {
    pub test: TestApp,
    pub admin: String,
    phones: AtomicU64,
}

impl Office {
    pub async fn open() -> Self {
        let office = Self::on(TestApp::start().await).await;
        for (street, name) in [(HOME, "天平路街道"), (OTHER, "虹桥街道")] {
            office.street(street, name).await;
        }
        for (street, grid) in [(HOME, "A1"), (HOME, "A2"), (HOME, "A3"), (OTHER, "B1")] {
            office.grid(street, grid).await;
        }
        office
    }

    /// An empty deployment. The admin is enrolled, not signed in: no test here waits for a password to be hashed.
    pub async fn on(test: TestApp) -> Self {
        sqlx::query("insert into account (username, display_name, role, created_at) values ('root', '总管', 'admin', now())")
            .execute(&test.app.pool)
            .await
            .expect("the first admin");
        let mut office = Self {
            test,
            admin: String::new(),
            phones: AtomicU64::new(0),
        };
        office.admin = office.token("root").await;
        office
    }

    /// A one-time code, whoever is signed in and however old their tokens are.
    pub async fn code(&self, username: &str) -> String {
        auth::create_enrolment(&self.test.app, username)
            .await
            .expect("a code")
            .code
    }

    /// A fresh token of another device of a user, whatever the clock says.
    pub async fn token(&self, username: &str) -> String {
        text(&self.enrol(&self.code(username).await).await["access_token"])
    }

    pub async fn call(&self, method: &str, path: &str, token: Option<&str>, json: Value) -> Answer {
        let json = (!json.is_null()).then_some(json);
        self.test.request(method, path, token, json.as_ref()).await
    }

    /// As the admin, successfully.
    async fn post(&self, path: &str, json: Value) -> Value {
        let answer = self.call("POST", path, Some(&self.admin), json).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.json);
        answer.json
    }

    pub async fn street(&self, street: &str, name: &str) {
        self.post(
            "/v1/streets",
            json!({ "street": street, "name": name, "district": "上海" }),
        )
        .await;
    }

    pub async fn grid(&self, street: &str, grid: &str) {
        self.post(
            &format!("/v1/streets/{street}/grids"),
            json!({ "grid": grid, "name": grid, "area": "康平" }),
        )
        .await;
    }

    pub async fn user(&self, username: &str, role: &str, street: Option<&str>) {
        self.post("/v1/users", json!({ "username": username, "display_name": username, "role": role, "street": street })).await;
    }

    pub async fn assign(&self, street: &str, username: &str, grids: &[&str]) {
        let path = format!("/v1/streets/{street}/assignments/{username}");
        let answer = self
            .call("PUT", &path, Some(&self.admin), json!({ "grids": grids }))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    }

    async fn enrol(&self, code: &str) -> Value {
        let answer = self
            .call(
                "POST",
                "/v1/devices",
                None,
                json!({ "code": code, "name": "手机", "platform": "android" }),
            )
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
        answer.json
    }

    /// Another device of a user, ready to sync with `street`.
    pub async fn phone_in(&self, street: &str, username: &str) -> Phone {
        let code = text(
            &self
                .post("/v1/enrolments", json!({ "username": username }))
                .await["code"],
        );
        let session = self.enrol(&code).await;
        Phone {
            router: self.test.router.clone(),
            street: street.to_owned(),
            device: text(&session["device_id"]).parse().expect("a device id"),
            token: text(&session["access_token"]),
            epoch: 1,
            cursor: None,
            records: BTreeMap::new(),
            outbox: Vec::new(),
            form: Form::PLAIN,
            kinds: Vec::new(),
            blocks: 0,
            seconds: 0,
            number: self.phones.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    pub async fn phone(&self, username: &str) -> Phone {
        self.phone_in(HOME, username).await
    }

    /// A new secretary of these grids of [`HOME`], with a phone.
    pub async fn secretary(&self, username: &str, grids: &[&str]) -> Phone {
        self.user(username, "secretary", Some(HOME)).await;
        self.assign(HOME, username, grids).await;
        self.phone(username).await
    }

    /// A new user of the whole street, with a phone.
    pub async fn desk_phone(&self, username: &str, role: &str) -> Phone {
        self.user(username, role, Some(HOME)).await;
        self.phone(username).await
    }

    /// Every row of these tables, as text: two equal answers mean that nothing moved.
    pub async fn rows(&self, tables: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        for table in tables {
            let statement = format!("select t::text from {table} t order by t::text");
            let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_all(&self.test.app.pool)
                .await
                .expect("the rows");
            all.extend(rows.into_iter().map(|row| format!("{table}{row}")));
        }
        all
    }

    pub async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement)
            .fetch_one(&self.test.app.pool)
            .await
            .expect("a count")
    }

    /// How many rows it hit.
    pub async fn execute(&self, statement: &str) -> u64 {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&self.test.app.pool)
            .await
            .expect("the statement works")
            .rows_affected()
    }

    pub async fn revoke(&self, phone: &Phone, query: &str) {
        let answer = self
            .call(
                "DELETE",
                &format!("/v1/devices/{}{query}", phone.device),
                Some(&self.admin),
                Value::Null,
            )
            .await;
        assert!(answer.status.is_success(), "{}", answer.json);
    }
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

pub fn put(key: &str, value: &str) -> Edit {
    Edit::Put {
        key: key.into(),
        value: value.into(),
    }
}

/// How a phone writes its request and wants its answer.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub encoding: Encoding,
    pub up: Packing,
    pub down: Packing,
}

impl Form {
    pub const PLAIN: Self = Self {
        encoding: Encoding::Ndjson,
        up: Packing::Identity,
        down: Packing::Identity,
    };
    pub const DENSE: Self = Self {
        encoding: Encoding::CborSeq,
        up: Packing::Zstd,
        down: Packing::Zstd,
    };
}

/// A record on a phone.
pub struct Held {
    pub record: Record,
    pub grid: String,
    pub kind: Kind,
    pub generation: u32,
}

/// See the module.
pub struct Phone {
    router: Router,
    pub street: String,
    pub device: DeviceId,
    pub token: String,
    pub epoch: u32,
    pub cursor: Option<String>,
    pub records: BTreeMap<RecordId, Held>,
    pub outbox: Vec<PushedChange>,
    pub form: Form,
    /// The kinds that it says it knows; none: as phones before visits.
    pub kinds: Vec<String>,
    /// The form of blocks that it reads; 0: as phones before them.
    pub blocks: u32,
    seconds: i64,
    number: u64,
}

impl Phone {
    /// From now on talks to this server.
    pub fn use_router(&mut self, router: Router) {
        self.router = router;
    }

    pub fn actor(&self) -> Actor {
        Actor::new(self.device, self.epoch)
    }

    fn tick(&mut self) -> DeviceTime {
        self.seconds += 1;
        DeviceTime::from_unix_seconds(START_UNIX_MS / 1000 + self.seconds)
    }

    /// An id that no other phone of the office draws.
    pub fn new_record_id(&mut self) -> RecordId {
        let at = self.tick();
        let mut entropy = [0; 10];
        entropy[2..].copy_from_slice(&self.number.to_be_bytes());
        RecordId::new_v7(at.unix_ms() as u64, entropy)
    }

    /// A new card in a grid, with further edits.
    pub fn create(&mut self, grid: &str, edits: &[Edit]) -> RecordId {
        let mut all = vec![
            put("kind", "shop_card"),
            put("street", &self.street),
            put("grid", grid),
        ];
        all.extend_from_slice(edits);
        self.create_with(Kind::ShopCard, grid, &all)
    }

    pub fn create_with(&mut self, kind: Kind, grid: &str, edits: &[Edit]) -> RecordId {
        let id = self.new_record_id();
        let at = self.tick();
        let (record, change) = Record::create(self.actor(), at, edits).expect("a creation");
        self.records.insert(
            id,
            Held {
                record,
                grid: grid.to_owned(),
                kind,
                generation: 1,
            },
        );
        self.outbox.push(pushed(id, kind, &change));
        id
    }

    /// An edit of a record that the phone holds; it waits in the outbox.
    pub fn edit(&mut self, record: RecordId, edits: &[Edit]) -> Change {
        let (actor, at) = (self.actor(), self.tick());
        let held = self
            .records
            .get_mut(&record)
            .expect("the phone holds the record");
        let change = held
            .record
            .edit(actor, at, edits, "")
            .expect("an edit")
            .expect("an edit that changes something");
        self.outbox.push(PushedChange {
            generation: held.generation,
            ..pushed(record, held.kind, &change)
        });
        change
    }

    pub fn view(&mut self, record: RecordId) -> View {
        self.records
            .get_mut(&record)
            .expect("the phone holds the record")
            .record
            .view()
            .expect("a view")
    }

    /// Every record the phone holds, as it reads it.
    pub fn views(&mut self) -> BTreeMap<RecordId, View> {
        self.records
            .iter_mut()
            .map(|(id, held)| (*id, held.record.view().expect("a view")))
            .collect()
    }

    pub fn hello(&self, pull: bool) -> RequestItem {
        RequestItem::Hello(Hello {
            blocks: self.blocks,
            kinds: self.kinds.clone(),
            cursor: self.cursor.clone(),
            client: "test-phone/1".into(),
            pull,
            report: Report::default(),
        })
    }

    /// Sends the outbox, takes in the answer.
    pub async fn sync(&mut self) -> Reply {
        let outbox = std::mem::take(&mut self.outbox);
        let reply = self.push(true, &outbox).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
        assert!(
            matches!(reply.items.last(), Some(ResponseItem::End { .. })),
            "an answer ends with `end`"
        );
        self.take_in(&reply.items);
        // What may succeed later stays.
        for (verdict, change) in reply.verdicts().into_iter().zip(outbox) {
            if verdict.retryable {
                self.outbox.push(change);
            }
        }
        reply
    }

    /// Sends these changes, whatever is in the outbox; takes in nothing.
    pub async fn push(&self, pull: bool, changes: &[PushedChange]) -> Reply {
        let items: Vec<_> = std::iter::once(self.hello(pull))
            .chain(changes.iter().cloned().map(RequestItem::Change))
            .collect();
        self.post(&[], self.body(&items)).await
    }

    /// Items as a request body in this phone's form.
    pub fn body(&self, items: &[RequestItem]) -> Vec<u8> {
        let mut body = Vec::new();
        for item in items {
            self.form.encoding.write(item, &mut body);
        }
        packed(self.form.up, &body)
    }

    /// Any body, with other or further headers.
    pub async fn post(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        Reply::read(self.send(headers, body).await).await
    }

    /// The same, for a test that reads the stream itself.
    pub async fn send(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Response<Body> {
        let bearer = format!("Bearer {}", self.token);
        let mut all = BTreeMap::from([
            (header::AUTHORIZATION.as_str(), bearer.as_str()),
            (
                header::CONTENT_TYPE.as_str(),
                self.form.encoding.media_type(),
            ),
            (header::ACCEPT_LANGUAGE.as_str(), "en"),
        ]);
        if let Some(name) = self.form.up.name() {
            all.insert(header::CONTENT_ENCODING.as_str(), name);
        }
        if let Some(name) = self.form.down.name() {
            all.insert(header::ACCEPT_ENCODING.as_str(), name);
        }
        for (name, value) in headers {
            all.insert(*name, value);
        }
        let mut request = Request::post(format!("/v1/streets/{}/sync", self.street));
        for (name, value) in all {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(body)).expect("a request");
        lianka_tests::send(&self.router, request).await
    }

    /// What a phone does with the items of an answer, complete or not.
    pub fn take_in(&mut self, items: &[ResponseItem]) {
        for item in items {
            match item {
                ResponseItem::Verdict(_)
                | ResponseItem::Notice(_)
                | ResponseItem::Redact { .. } => {}
                ResponseItem::Snapshot {
                    record,
                    kind,
                    grid,
                    generation,
                    bytes,
                    ..
                } => {
                    let loaded = Record::load(bytes).expect("a snapshot loads");
                    self.records.insert(
                        *record,
                        Held {
                            record: loaded,
                            grid: grid.clone(),
                            kind: *kind,
                            generation: *generation,
                        },
                    );
                }
                ResponseItem::Change { record, bytes, .. } => {
                    let held = self
                        .records
                        .get_mut(record)
                        .expect("a change comes only for a record that the phone holds");
                    held.record
                        .apply([bytes.as_slice()])
                        .expect("the change applies");
                }
                ResponseItem::Block { bytes } => {
                    let block = Block::read(bytes).expect("a block");
                    let Ok(changes) = block.unpack(&mut Holds(&mut self.records));
                    for change in changes.expect("the phone holds what it builds on") {
                        let held = self.records.get_mut(&change.record);
                        let record = &mut held.expect("the record is held").record;
                        record
                            .apply([change.bytes.as_slice()])
                            .expect("the change applies");
                    }
                }
                ResponseItem::Leave { record } | ResponseItem::Erase { record } => {
                    drop(self.records.remove(record));
                }
                ResponseItem::Wipe | ResponseItem::Reset { .. } => {
                    self.records.clear();
                    self.cursor = None;
                }
                ResponseItem::Checkpoint { cursor } => self.cursor = Some(cursor.clone()),
                ResponseItem::End { cursor, .. } => {
                    self.cursor = cursor.clone().or(self.cursor.take());
                }
            }
        }
    }
}

/// What a block builds on.
struct Holds<'h>(&'h mut BTreeMap<RecordId, Held>);

impl block::Holdings for Holds<'_> {
    type Error = Infallible;

    fn records(&mut self, short: block::ShortRecord) -> Result<Vec<RecordId>, Infallible> {
        let ends = |record: &&RecordId| block::short_record(**record) == short;
        Ok(self.0.keys().filter(ends).copied().collect())
    }

    fn changes(
        &mut self,
        record: RecordId,
        begins: &dyn Fn(&ChangeHash) -> bool,
        _: bool,
    ) -> Result<Vec<ChangeHash>, Infallible> {
        let held = self.0.get_mut(&record);
        let mut hashes = held.map_or_else(Vec::new, |held| held.record.hashes());
        hashes.retain(begins);
        Ok(hashes)
    }
}

pub fn pushed(record: RecordId, kind: Kind, change: &Change) -> PushedChange {
    PushedChange {
        record,
        kind,
        generation: 1,
        bytes: change.bytes.clone(),
    }
}

pub fn packed(packing: Packing, body: &[u8]) -> Vec<u8> {
    match packing {
        Packing::Identity => body.to_vec(),
        Packing::Zstd => zstd::encode_all(body, 3).expect("zstd"),
        Packing::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder
                .write_all(body)
                .and_then(|()| encoder.finish())
                .expect("gzip")
        }
    }
}

/// As much of a body as can be unpacked: a cut one has no end.
pub fn unpacked(packing: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn Read> = match packing {
        None => return body.to_vec(),
        Some("zstd") => Box::new(zstd::stream::read::Decoder::new(body).expect("zstd")),
        Some("gzip") => Box::new(flate2::read::GzDecoder::new(body)),
        Some(other) => panic!("{other} was not asked for"),
    };
    let (mut out, mut piece) = (Vec::new(), [0; 8192]);
    while let Ok(n @ 1..) = reader.read(&mut piece) {
        out.extend_from_slice(&piece[..n]);
    }
    out
}

/// The complete items at the beginning of a stream.
pub fn items(encoding: Encoding, body: &[u8]) -> Vec<ResponseItem> {
    let mut reader = ItemReader::new(encoding);
    reader.push(body);
    std::iter::from_fn(|| reader.next_item().expect("an item of the protocol")).collect()
}

/// An answer of the sync route.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Empty unless the request succeeded.
    pub items: Vec<ResponseItem>,
    /// The problem document, or `Null`.
    pub json: Value,
}

impl Reply {
    pub async fn read(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        let body = to_bytes(body, 256 << 20).await.expect("the whole body");
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let encoding = header(header::CONTENT_TYPE).and_then(Encoding::from_media_type);
        let items = encoding.map_or_else(Vec::new, |encoding| {
            items(encoding, &unpacked(header(header::CONTENT_ENCODING), &body))
        });
        let json = if encoding.is_none() {
            serde_json::from_slice(&body).unwrap_or_default()
        } else {
            Value::Null
        };
        Self {
            status: head.status,
            headers: head.headers,
            body,
            items,
            json,
        }
    }

    pub fn verdicts(&self) -> Vec<&Verdict> {
        self.items
            .iter()
            .filter_map(|item| {
                if let ResponseItem::Verdict(verdict) = item {
                    Some(verdict)
                } else {
                    None
                }
            })
            .collect()
    }

    /// For each change: `accepted`, `duplicate`, or the code.
    pub fn codes(&self) -> Vec<&str> {
        let word = |verdict: &&Verdict| match verdict.status {
            VerdictStatus::Accepted => "accepted",
            VerdictStatus::Duplicate => "duplicate",
            VerdictStatus::Held | VerdictStatus::Rejected => "a code",
        };
        self.verdicts()
            .into_iter()
            .map(|verdict| verdict.code.as_deref().unwrap_or_else(|| word(&verdict)))
            .collect()
    }

    pub fn seqs(&self) -> Vec<u64> {
        self.verdicts()
            .into_iter()
            .filter_map(|verdict| verdict.seq)
            .collect()
    }

    fn records(&self, pick: impl Fn(&ResponseItem) -> Option<RecordId>) -> Vec<RecordId> {
        let mut records: Vec<_> = self.items.iter().filter_map(pick).collect();
        records.sort_unstable();
        records
    }

    pub fn snapshots(&self) -> Vec<RecordId> {
        self.records(|item| {
            if let ResponseItem::Snapshot { record, .. } = item {
                Some(*record)
            } else {
                None
            }
        })
    }

    pub fn changes(&self) -> Vec<RecordId> {
        self.records(|item| {
            if let ResponseItem::Change { record, .. } = item {
                Some(*record)
            } else {
                None
            }
        })
    }

    pub fn blocks(&self) -> Vec<&[u8]> {
        let mut blocks = Vec::new();
        for item in &self.items {
            if let ResponseItem::Block { bytes } = item {
                blocks.push(bytes.as_slice());
            }
        }
        blocks
    }

    pub fn leaves(&self) -> Vec<RecordId> {
        self.records(|item| {
            if let ResponseItem::Leave { record } = item {
                Some(*record)
            } else {
                None
            }
        })
    }

    pub fn checkpoints(&self) -> usize {
        self.items
            .iter()
            .filter(|item| matches!(item, ResponseItem::Checkpoint { .. }))
            .count()
    }

    pub fn has_reset(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item, ResponseItem::Reset { .. }))
    }

    /// Cursor and head of the `end`.
    pub fn end(&self) -> (Option<&str>, u64) {
        match self.items.last() {
            Some(ResponseItem::End { cursor, head, .. }) => (cursor.as_deref(), *head),
            other => panic!("the answer does not end with `end` but with {other:?}"),
        }
    }
}
