//! The office in memory: what the server decides, by the same code (`lianka-office-core`), over its in-memory store and behind the same requests.
//!
//! Its own is only who may come in and what a process is: devices and tokens (`door`), desks' acts as scripts name them (`acts`), backups, the clock,
//! and what it can be asked when all is quiet (`evidence`). Deliberately absent: gzip, search, exports, duplicates' lists, rate limits, an audit chain.

mod acts;
mod door;
mod evidence;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write as _},
};

use lianka_office_core::{
    acts::compact::Compact,
    memory::{Answering, MemoryStore, User},
    pull::{self, Pages},
    push::{Author, Ingested, Push},
};
use lianka_sync_core::{
    access::Role,
    codec::{
        change,
        wire::{Encoding, Hello, ItemReader, RequestItem, ResponseItem},
    },
    id::{DeviceId, RecordId, StreetCode},
    lang::Lang,
    limits,
    time::ServerTime,
};
use serde_json::{Value, json};
use uuid::Uuid;

use self::door::Door;
use super::{
    Act, Acted, Call, Evidence, HeldId, Look, Office, Reply, START_UNIX_MS, Setup, desk,
    identities::{Identities, Names, Numbers},
};

/// Seconds that a phone may work without an answer.
const LEASE_SECONDS: u64 = 7 * 86_400;
/// So few bytes between checkpoints that cuts between them happen.
const SMALL_CHECKPOINT: usize = 2 * 1024;
/// So little is read at once that answers have several pages.
const SMALL_PAGES: Pages = Pages {
    documents: 3,
    log: 5,
    block_numbers: 8,
    block_changes_min: 2,
    notices: 500,
};
const ZSTD_LEVEL: i32 = 1;

/// Why a request was refused as a whole.
#[derive(Clone, Copy, Debug)]
struct Problem {
    status: u16,
    code: &'static str,
}

impl Problem {
    const MALFORMED: Self = Self {
        status: 400,
        code: "malformed",
    };
    const NOT_FOUND: Self = Self {
        status: 404,
        code: "not_found",
    };
    const WRONG_STREET: Self = Self {
        status: 403,
        code: "wrong_street",
    };
    const TOO_LARGE: Self = Self {
        status: 413,
        code: "body_too_large",
    };
    const MEDIA_TYPE: Self = Self {
        status: 415,
        code: "unsupported_media_type",
    };
    const CLIENT_NAME: Self = Self {
        status: 422,
        code: "invalid_field",
    };

    fn reply(self) -> Reply {
        let Self { status, code } = self;
        let body = json!({
            "type": format!("/v1/docs#problem-{code}"), "title": code, "status": status, "detail": "", "code": code, "retryable": false,
            "request_id": "memory",
        });
        Reply {
            status,
            headers: vec![("content-type".into(), "application/problem+json".into())],
            body: body.to_string().into_bytes(),
        }
    }
}

/// The devices of those who sit at desks.
#[derive(Clone, Copy)]
struct Desks {
    admin: DeviceId,
    reviewer: DeviceId,
    officers: [DeviceId; 2],
}

/// What a backup holds.
#[derive(Clone)]
struct State {
    store: MemoryStore,
    door: Door,
    /// What imports wrote, by their ids.
    imports: BTreeMap<Uuid, desk::Undo>,
    desks: Desks,
}

/// See the module.
pub struct MemoryOffice {
    now: ServerTime,
    names: Names,
    /// For ids that nobody compares.
    ids: Numbers,
    state: State,
    /// With how many receipts it has: those are in it.
    backup: Option<(State, usize)>,
    /// Steps that officers took so far, by record.
    steps: BTreeMap<RecordId, u32>,
    /// Erasures in their order: applied again after a restore.
    receipts: Vec<Act>,
    /// Compacted histories that are still to be put in place.
    compactions: BTreeMap<RecordId, Compact>,
    checkpoint_bytes: usize,
    pages: Pages,
    log_days: u32,
}

impl MemoryOffice {
    /// An office with its street, its people and their grids.
    pub fn new(setup: &Setup, identities: Identities) -> Self {
        let (checkpoint_bytes, pages, seed) = match identities {
            Identities::Seeded(seed) => (SMALL_CHECKPOINT, SMALL_PAGES, seed),
            // Answers are compared with the server's.
            Identities::Recorded(_) => (limits::CHECKPOINT_BYTES, pull::PAGES, 0),
        };
        let mut names = Names::new(identities);
        let street: StreetCode = setup
            .street
            .parse()
            .unwrap_or_else(|_| panic!("{} is no street code", setup.street));
        let grids = setup.grids.iter().cloned().collect();
        let mut store = MemoryStore::new(street, names.epoch(), grids);
        let desks = desk::DESKS.map(|(username, role)| (username.to_owned(), role, Vec::new()));
        let secretaries = setup
            .secretaries
            .iter()
            .map(|(username, grids)| (username.clone(), Role::Secretary, grids.clone()));
        for (username, role, grids) in desks.into_iter().chain(secretaries) {
            let mut user = User::new(role, username.as_str());
            user.assign(&grids.into_iter().collect());
            store.users.insert(username, user);
        }
        let nobody = DeviceId::default();
        let mut office = Self {
            now: ServerTime::from_unix_ms(START_UNIX_MS),
            names,
            ids: Numbers::from_seed(!seed),
            state: State {
                store,
                door: Door::default(),
                imports: BTreeMap::new(),
                desks: Desks {
                    admin: nobody,
                    reviewer: nobody,
                    officers: [nobody; 2],
                },
            },
            backup: None,
            steps: BTreeMap::new(),
            receipts: Vec::new(),
            compactions: BTreeMap::new(),
            checkpoint_bytes,
            pages,
            log_days: setup.log_days,
        };
        office.open_desks();
        office
    }

    fn open_desks(&mut self) {
        let [admin, reviewer, first, second] =
            desk::DESKS.map(|(username, _)| self.open_device(username));
        self.state.desks = Desks {
            admin,
            reviewer,
            officers: [first, second],
        };
    }

    fn answer(&mut self, call: &Call) -> Result<Reply, Problem> {
        let street = call
            .path
            .strip_prefix("/v1/streets/")
            .and_then(|rest| rest.strip_suffix("/sync"));
        match (call.method.as_str(), call.path.as_str(), street) {
            ("POST", "/v1/devices", _) => Ok(json_reply(201, &self.enrol(&json_of(call)?)?)),
            ("POST", "/v1/tokens", _) => Ok(json_reply(200, &self.renew(&json_of(call)?)?)),
            ("POST", _, Some(street)) => {
                let author = self.author(header(call, "authorization"))?;
                if street
                    .parse::<StreetCode>()
                    .map_err(|_| Problem::NOT_FOUND)?
                    != self.state.store.street
                {
                    return Err(Problem::WRONG_STREET);
                }
                self.sync(call, author)
            }
            _ => Err(Problem::NOT_FOUND),
        }
    }

    fn sync(&mut self, call: &Call, author: Author) -> Result<Reply, Problem> {
        let encoding = header(call, "content-type")
            .and_then(Encoding::from_media_type)
            .ok_or(Problem::MEDIA_TYPE)?;
        let (hello, changes) = read(call, encoding)?;
        let lang = if header(call, "accept-language").is_some_and(|lang| lang.starts_with("en")) {
            Lang::En
        } else {
            Lang::Zh
        };
        let push = Push { author, changes };
        let ids = self.more_ids();
        let verdicts = self.state.store.push(self.now, &push, ids, lang);
        let author = push.author;
        if author.wiped && hello.report.wiped {
            self.note_wiped(author.device);
        }
        let answering = Answering {
            lease_seconds: LEASE_SECONDS,
            pages: self.pages,
        };
        let (checkpoint_bytes, mut since, mut scratch) = (self.checkpoint_bytes, 0, Vec::new());
        let is_due = |item: &ResponseItem| {
            scratch.clear();
            Encoding::CborSeq.write(item, &mut scratch);
            since = match item {
                ResponseItem::Checkpoint { .. } => 0,
                _ => since + scratch.len(),
            };
            since >= checkpoint_bytes
        };
        let store = &mut self.state.store;
        let items = store.pull(self.now, &author, hello, verdicts, answering, is_due);
        packed(call, encoding, &items)
    }

    /// What a server has in memory alone is gone.
    fn end_process(&mut self) {
        self.state.store.forget_tail();
        self.compactions.clear();
    }

    fn restore(&mut self) -> Acted {
        let Some((backup, known)) = self.backup.clone() else {
            return Acted::Nothing;
        };
        self.state = backup;
        self.end_process();
        self.state.store.epoch = self.names.epoch();
        for no in known..self.receipts.len() {
            let receipt = self.receipts[no].clone();
            self.do_act(&receipt);
        }
        Acted::Done
    }

    fn assign(&mut self, username: &str, grids: &[String]) -> Acted {
        let store = &mut self.state.store;
        if !grids.iter().all(|grid| store.grids.contains(grid)) {
            return Acted::Refused("exists".into());
        }
        let Some(user) = store.users.get_mut(username) else {
            return Acted::Nothing;
        };
        user.assign(&grids.iter().cloned().collect::<BTreeSet<_>>());
        Acted::Done
    }

    fn change_role(&mut self, username: &str, role: &str) -> Acted {
        let Ok(role) = role.parse() else {
            return Acted::Refused("known_role".into());
        };
        let Some(user) = self.state.store.users.get_mut(username) else {
            return Acted::Nothing;
        };
        user.change_role(role);
        Acted::Done
    }
}

impl Office for MemoryOffice {
    async fn exchange(&mut self, call: &Call) -> Reply {
        self.answer(call).unwrap_or_else(Problem::reply)
    }

    async fn held(&mut self, decided: bool) -> Vec<HeldId> {
        let writes = self.held_writes(decided).into_iter();
        writes
            .map(|write| (write.record.0, write.hash.to_string()))
            .collect()
    }

    async fn look(&mut self, records: &[Uuid]) -> Look {
        let store = &self.state.store;
        let fields = |record: &Uuid| {
            let kept = store.records.get(&RecordId(*record))?;
            Some(desk::shown(&kept.state.view()))
        };
        Look {
            head: store.head,
            records: records
                .iter()
                .map(|record| (*record, fields(record)))
                .collect(),
        }
    }

    async fn act(&mut self, act: &Act) -> Acted {
        let acted = self.do_act(act);
        if acted == Acted::Done && act.forgets() {
            self.receipts.push(act.clone());
        }
        acted
    }

    fn set_time(&mut self, unix_ms: i64) {
        self.now = ServerTime::from_unix_ms(unix_ms);
    }

    async fn tend(&mut self) {
        while self.tick() {}
        self.state.store.refresh();
        self.state.store.trim(self.now, self.log_days);
    }

    async fn evidence(&mut self) -> Evidence {
        evidence::of(&self.state.store)
    }
}

fn header<'c>(call: &'c Call, name: &str) -> Option<&'c str> {
    call.headers
        .iter()
        .find(|(of, _)| of == name)
        .map(|(_, value)| value.as_str())
}

fn json_of(call: &Call) -> Result<Value, Problem> {
    serde_json::from_slice(&call.body).map_err(|_| Problem::MALFORMED)
}

fn json_reply(status: u16, body: &Value) -> Reply {
    Reply {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_string().into_bytes(),
    }
}

/// A whole request, every change through the gate. One that cannot be read to its end is refused before anything of it is stored.
fn read(call: &Call, encoding: Encoding) -> Result<(Hello, Vec<Ingested>), Problem> {
    if call.body.len() > limits::SYNC_BODY_BYTES_MAX {
        return Err(Problem::TOO_LARGE);
    }
    let mut unpacked = Vec::new();
    match header(call, "content-encoding") {
        None | Some("identity") => unpacked.clone_from(&call.body),
        Some("zstd") => {
            let decoder = zstd::stream::read::Decoder::with_buffer(&call.body[..])
                .map_err(|_| Problem::MALFORMED)?;
            let bound = limits::SYNC_INFLATED_BYTES_MAX as u64 + 1;
            decoder
                .take(bound)
                .read_to_end(&mut unpacked)
                .map_err(|_| Problem::MALFORMED)?;
        }
        Some(_) => return Err(Problem::MEDIA_TYPE),
    }
    if unpacked.len() > limits::SYNC_INFLATED_BYTES_MAX {
        return Err(Problem::TOO_LARGE);
    }
    let mut reader = ItemReader::new(encoding);
    reader.push(&unpacked);
    let mut items = Vec::new();
    while let Some(item) = match reader.next_item().map_err(|_| Problem::MALFORMED)? {
        None => reader.finish().map_err(|_| Problem::MALFORMED)?,
        item => item,
    } {
        items.push(item);
    }
    let mut items = items.into_iter();
    let Some(RequestItem::Hello(hello)) = items.next() else {
        return Err(Problem::MALFORMED);
    };
    let mut arrived = Vec::new();
    let mut ops = 0;
    for item in items {
        let RequestItem::Change(pushed) = item else {
            return Err(Problem::MALFORMED);
        };
        let change = change::decode(&pushed.bytes);
        ops += change.as_ref().map_or(0, |change| change.ops.len());
        arrived.push(Ingested { pushed, change });
    }
    if arrived.len() > limits::SYNC_CHANGES_MAX || ops > limits::SYNC_OPS_MAX {
        return Err(Problem::TOO_LARGE);
    }
    if !(1..=80).contains(&hello.client.chars().count())
        || hello.client.chars().any(char::is_control)
    {
        return Err(Problem::CLIENT_NAME);
    }
    Ok((hello, arrived))
}

fn packed(call: &Call, encoding: Encoding, items: &[ResponseItem]) -> Result<Reply, Problem> {
    let encoding = header(call, "accept")
        .and_then(Encoding::from_media_type)
        .unwrap_or(encoding);
    let mut parts = Vec::new();
    for item in items {
        let mut part = Vec::new();
        encoding.write(item, &mut part);
        parts.push(part);
    }
    let mut headers = vec![("content-type".to_owned(), encoding.media_type().to_owned())];
    if header(call, "accept-encoding").is_some_and(|accepted| accepted.contains("zstd")) {
        let whole = |parts: &[Vec<u8>]| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
            for part in parts {
                encoder.write_all(part)?;
                // An answer that is cut holds what was sent before: one block would hold nothing until its end.
                encoder.flush()?;
            }
            encoder.finish()
        };
        let body = whole(&parts).map_err(|_| Problem::MALFORMED)?;
        headers.push(("content-encoding".to_owned(), "zstd".to_owned()));
        return Ok(Reply {
            status: 200,
            headers,
            body,
        });
    }
    Ok(Reply {
        status: 200,
        headers,
        body: parts.concat(),
    })
}
