//! The model office: `sync-core` around plain values in memory, behind the same requests as the server.
//!
//! It is a second reading of docs/protocol.md, written from that page and not from the server's sources: where the two answer differently, one of them
//! misread the page. What decides (the gate, merging, authority, cursors, rebuilding, rulings, conflicts, composing) is `sync-core` itself.
//!
//! | file | |
//! |---|---|
//! | `ledger` | what is kept |
//! | `door` | devices and tokens |
//! | `push`, `pull` | the two halves of a round trip |
//! | `write` | a transaction: changes become part of records |
//! | `acts` | desks |
//! | `transfer` | rulings, sealing, the clock |
//! | `forget` | rebuilding, erasing, redacting |
//! | `trim` | old changes leave the log |
//! | `told` | notices |
//! | `evidence` | what it can be asked when all is quiet |
//!
//! Deliberately absent: gzip, search, exports, duplicates' lists, undoing, rate limits, an audit chain.

mod acts;
mod door;
mod evidence;
mod forget;
mod ledger;
mod pull;
mod push;
mod told;
mod transfer;
mod trim;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write as _},
};

use lianka_sync_core::{
    access::Role,
    codec::{
        change,
        wire::{Encoding, Hello, ItemReader, RequestItem, ResponseItem, VerdictStatus},
    },
    id::{DeviceId, EntryId, RecordId, StreetCode},
    lang::Lang,
    limits,
    time::ServerTime,
};
use serde_json::{Value, json};

use self::{
    ledger::{Store, User},
    pull::Question,
    push::{Arrived, Sender},
    write::Documents,
};
use super::{
    Act, Acted, Call, Evidence, Office, Reply, Setup, desk,
    identities::{Identities, Names},
};

/// Seconds that a phone may work without an answer.
const LEASE_SECONDS: u64 = 7 * 86_400;
/// So few bytes between checkpoints that cuts between them happen.
const SMALL_CHECKPOINT: usize = 2 * 1024;
const ZSTD_LEVEL: i32 = 1;

/// Why a request was refused as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Problem {
    pub status: u16,
    pub code: &'static str,
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
            "request_id": "model",
        });
        Reply {
            status,
            headers: vec![("content-type".into(), "application/problem+json".into())],
            body: body.to_string().into_bytes(),
        }
    }
}

/// The devices of those who sit at desks.
struct Desks {
    reviewer: DeviceId,
    officers: [DeviceId; 2],
}

/// See the module.
pub struct ModelOffice {
    now: ServerTime,
    names: Names,
    store: Store,
    /// With how many receipts it has: those are in it.
    backup: Option<(Store, usize)>,
    documents: Documents,
    desks: Desks,
    /// Steps that officers took so far, by record.
    steps: BTreeMap<RecordId, u32>,
    /// Erasures in their order: applied again after a restore.
    receipts: Vec<Act>,
    checkpoint_bytes: usize,
    log_days: u32,
}

/// When worlds begin: 2026-11-21T08:00:00Z.
pub const START_UNIX_MS: i64 = 1_795_248_000_000;

impl ModelOffice {
    /// An office with its street, its people and their grids.
    pub fn new(setup: &Setup, identities: Identities) -> Self {
        let checkpoint_bytes = if matches!(identities, Identities::Seeded(_)) {
            SMALL_CHECKPOINT
        } else {
            limits::CHECKPOINT_BYTES
        };
        let mut names = Names::new(identities);
        let street: StreetCode = setup
            .street
            .parse()
            .unwrap_or_else(|_| panic!("{} is no street code", setup.street));
        let mut store = Store::new(names.epoch(), street, setup.grids.iter().cloned().collect());
        store
            .users
            .extend(desk::DESKS.map(|(username, role)| (username.to_owned(), User::new(role))));
        for (username, grids) in &setup.secretaries {
            let mut user = User::new(Role::Secretary);
            user.assign(&grids.iter().cloned().collect());
            store.users.insert(username.clone(), user);
        }
        let nobody = DeviceId::default();
        let mut office = Self {
            now: ServerTime::from_unix_ms(START_UNIX_MS),
            names,
            store,
            backup: None,
            documents: Documents::new(),
            desks: Desks {
                reviewer: nobody,
                officers: [nobody; 2],
            },
            steps: BTreeMap::new(),
            receipts: Vec::new(),
            checkpoint_bytes,
            log_days: setup.log_days,
        };
        office.open_desks();
        office
    }

    fn open_desks(&mut self) {
        let [_, reviewer, first, second] =
            desk::DESKS.map(|(username, _)| self.open_device(username));
        self.desks = Desks {
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
                let sender = self.sender(header(call, "authorization"))?;
                if street
                    .parse::<StreetCode>()
                    .map_err(|_| Problem::NOT_FOUND)?
                    != self.store.street
                {
                    return Err(Problem::WRONG_STREET);
                }
                self.sync(call, &sender)
            }
            _ => Err(Problem::NOT_FOUND),
        }
    }

    fn sync(&mut self, call: &Call, sender: &Sender) -> Result<Reply, Problem> {
        let encoding = header(call, "content-type")
            .and_then(Encoding::from_media_type)
            .ok_or(Problem::MEDIA_TYPE)?;
        let (hello, arrived) = read(call, encoding)?;
        let lang = if header(call, "accept-language").is_some_and(|lang| lang.starts_with("en")) {
            Lang::En
        } else {
            Lang::Zh
        };
        let judged = push::take_in(
            &mut self.store,
            &mut self.documents,
            self.now,
            sender,
            &arrived,
            lang,
        );
        if sender.to_wipe && hello.report.wiped {
            self.note_wiped(sender.device);
        }
        let settled = judged
            .iter()
            .filter(|(verdict, _)| verdict.status != VerdictStatus::Rejected)
            .count();
        debug_assert!(settled <= judged.len());
        let rebased = judged
            .iter()
            .filter(|(_, rebase)| *rebase)
            .map(|(verdict, _)| verdict.record)
            .collect();
        let with = |status| {
            judged
                .iter()
                .map(|(verdict, _)| verdict)
                .filter(move |verdict| verdict.status == status)
        };
        let had = with(VerdictStatus::Duplicate)
            .map(|verdict| verdict.record)
            .collect();
        let brought = judged
            .iter()
            .filter_map(|(verdict, _)| verdict.seq)
            .collect();
        let more_to_come = !hello.pull
            && hello
                .report
                .unsent
                .is_some_and(|unsent| unsent > judged.len() as u64);
        let mut items: Vec<_> = judged
            .into_iter()
            .map(|(verdict, _)| ResponseItem::Verdict(verdict))
            .collect();
        let question = Question {
            device: sender.device,
            username: &sender.username,
            sees_whole_street: sender.role.sees_whole_street(),
            cursor: hello.cursor.as_deref(),
            now: self.now,
            lease_seconds: (!sender.to_wipe).then_some(LEASE_SECONDS),
            checkpoint_bytes: self.checkpoint_bytes,
            rebased,
            had,
            brought,
        };
        if sender.to_wipe {
            items.extend((!more_to_come).then_some(ResponseItem::Wipe));
            items.push(pull::end(&self.store, &question, None));
        } else if hello.pull && sender.role.receives_records() {
            pull::answer(&self.store, &question, &mut items);
        } else {
            items.push(pull::end(&self.store, &question, None));
        }
        packed(call, encoding, &items)
    }

    fn restore(&mut self) -> Acted {
        let Some((backup, known)) = self.backup.clone() else {
            return Acted::Nothing;
        };
        self.store = backup;
        self.store.epoch = self.names.epoch();
        self.documents.clear();
        self.open_desks();
        for no in known..self.receipts.len() {
            let receipt = self.receipts[no].clone();
            self.do_act(&receipt);
        }
        Acted::Done
    }

    fn do_act(&mut self, act: &Act) -> Acted {
        match act {
            Act::Enrol { username } => self.code_for(username).map_or(Acted::Nothing, Acted::Code),
            Act::Assign { username, grids } => self.assign(username, grids),
            Act::Revoke { device, wipe } => done(self.revoke(DeviceId(*device), *wipe)),
            Act::Edit { record, set } => self.edit(RecordId(*record), set),
            Act::Resolve { record, field, nth } => self.resolve(RecordId(*record), field, *nth),
            Act::Held { nth, accept } => self.decide_held(*nth, *accept),
            Act::Move { records, grid } => self.move_to(
                &records.iter().copied().map(RecordId).collect::<Vec<_>>(),
                grid,
            ),
            Act::Merge { winner, loser } => self.merge_cards(RecordId(*winner), RecordId(*loser)),
            Act::Erase { record } => self.erase(RecordId(*record)),
            Act::Redact { record, entry } => {
                self.transact(
                    |write| match write.redact(RecordId(*record), EntryId(*entry)) {
                        Ok(redacted) => redacted.ok_or(acts::Undone::NotThere),
                        Err(_) => Err(acts::Undone::Refused("internal".into())),
                    },
                )
            }
            Act::Step {
                record,
                step,
                fields,
            } => self.step(RecordId(*record), step, fields),
            Act::Compact { record } => {
                self.transact(|write| match write.compact(RecordId(*record)) {
                    Ok(compacted) => compacted.ok_or(acts::Undone::NotThere),
                    Err(_) => Err(acts::Undone::Refused("internal".into())),
                })
            }
            Act::Backup => {
                self.backup = Some((self.store.clone(), self.receipts.len()));
                Acted::Done
            }
            Act::Restore => self.restore(),
            // What is committed is in the store, and the store is whole.
            Act::Failover | Act::Restart => Acted::Done,
        }
    }

    fn assign(&mut self, username: &str, grids: &[String]) -> Acted {
        if !grids.iter().all(|grid| self.store.grids.contains(grid)) {
            return Acted::Refused("exists".into());
        }
        let Some(user) = self.store.users.get_mut(username) else {
            return Acted::Nothing;
        };
        user.assign(&grids.iter().cloned().collect::<BTreeSet<_>>());
        Acted::Done
    }

    fn erase(&mut self, record: RecordId) -> Acted {
        if self.store.erased.contains(&record) {
            return Acted::Done;
        }
        self.transact(|write| {
            write
                .erase(record)
                .then_some(())
                .ok_or(acts::Undone::NotThere)
        })
    }
}

fn done(there: bool) -> Acted {
    if there { Acted::Done } else { Acted::Nothing }
}

impl Office for ModelOffice {
    async fn exchange(&mut self, call: &Call) -> Reply {
        self.answer(call).unwrap_or_else(Problem::reply)
    }

    async fn act(&mut self, act: &Act) -> Acted {
        let acted = self.do_act(act);
        if acted == Acted::Done && matches!(act, Act::Erase { .. } | Act::Redact { .. }) {
            self.receipts.push(act.clone());
        }
        acted
    }

    fn set_time(&mut self, unix_ms: i64) {
        self.now = ServerTime::from_unix_ms(unix_ms);
    }

    async fn tend(&mut self) {
        while transfer::clock_pass(&mut self.store, &mut self.documents, self.now) {}
        self.store.refresh_snapshots();
        self.store.trim(self.now, self.log_days);
    }

    async fn evidence(&mut self) -> Evidence {
        self.store.evidence()
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
fn read(call: &Call, encoding: Encoding) -> Result<(Hello, Vec<Arrived>), Problem> {
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
        arrived.push(Arrived { pushed, change });
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
