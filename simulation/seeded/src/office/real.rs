//! The real office: the server's own router, in this process, on a private throwaway Postgres with a database for each run.
//!
//! Requests and acts go through HTTP; only backups, restarts and background passes are what an operator and the server itself do. The run's
//! runtime stands still while Postgres works: everything here runs on another thread with a runtime of its own, and the caller's thread waits.

mod acts;
mod cluster;
mod evidence;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, header},
};
use lianka_office_core::{acts::compact::Compact, memory::TAIL_BOUNDS};
use lianka_server::{
    Server, auth,
    clock::{Clock, Entropy},
    config::ServeConfig,
    store,
    upkeep::{
        compaction, refresh, transfer_clock,
        trimming::{self, Keep},
    },
};
use lianka_sync_core::id::{RecordId, StreetCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;
use uuid::Uuid;

use self::cluster::{Database, outside};
use super::{
    Act, Acted, Call, Evidence, HeldId, Look, Office, Reply, START_UNIX_MS, Setup, desk,
    identities::{Numbers, Recorded},
};

const BODY_BYTES_MAX: usize = 256 << 20;
const CONNECTIONS: u32 = 4;

/// Somebody at a desk, with their tokens.
#[derive(Clone, Debug, Default)]
struct Desk {
    device: Uuid,
    access: String,
    refresh: String,
}

/// See the module.
pub struct RealOffice {
    inner: Inner,
}

struct Inner {
    street: StreetCode,
    clock: Clock,
    /// Seeds of the server's randomness: another one for each start, as in life.
    seeds: Numbers,
    log_days: u32,
    database: Database,
    backup: Option<Database>,
    app: Server,
    router: Router,
    /// In the order of [`desk::DESKS`].
    desks: Vec<Desk>,
    /// As they were at the backup.
    desks_then: Vec<Desk>,
    /// What imports wrote, by their ids; and what they had written at the backup.
    imports: BTreeMap<Uuid, desk::Undo>,
    imports_then: BTreeMap<Uuid, desk::Undo>,
    /// Steps that officers took so far, by record.
    steps: BTreeMap<RecordId, u32>,
    /// Erasures in their order: applied again after a restore.
    receipts: Vec<Act>,
    /// Compacted histories that are still to be put in place.
    compactions: BTreeMap<RecordId, Compact>,
    recorded: Recorded,
}

/// What the router answered.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl RealOffice {
    /// An office with its street, its people and their grids, whose randomness follows from a seed.
    pub fn new(setup: &Setup, seed: u64) -> Self {
        Self {
            inner: outside(Inner::open(setup, seed)),
        }
    }

    /// The ids that it made up so far.
    pub fn recorded(&self) -> Recorded {
        self.inner.recorded.clone()
    }
}

impl Office for RealOffice {
    async fn exchange(&mut self, call: &Call) -> Reply {
        outside(self.inner.exchange(call))
    }

    async fn held(&mut self, decided: bool) -> Vec<HeldId> {
        let rows = outside(self.inner.held_rows(decided));
        rows.into_iter().map(|(_, id)| id).collect()
    }

    async fn look(&mut self, records: &[Uuid]) -> Look {
        outside(self.inner.look(records))
    }

    async fn act(&mut self, act: &Act) -> Acted {
        outside(self.inner.act_and_note(act))
    }

    fn set_time(&mut self, unix_ms: i64) {
        let now = self.inner.clock.now().unix_ms();
        self.inner.clock.advance_ms(unix_ms - now);
    }

    async fn tend(&mut self) {
        outside(self.inner.tend());
    }

    async fn evidence(&mut self) -> Evidence {
        outside(self.inner.evidence())
    }
}

/// A server on a database, at a moment.
async fn start(database: &Database, clock: &Clock, seed: u64, log_days: u32) -> (Server, Router) {
    let pool = database.pool().await;
    let config = ServeConfig {
        log_days: Keep::days(u64::from(log_days)),
        // As little as the office in memory, so that older cursors are answered by SQL.
        tail_entries: TAIL_BOUNDS.entries,
        tail_bytes: TAIL_BOUNDS.bytes,
        ..ServeConfig::for_tests()
    };
    let app = Server::start(pool, Arc::new(config), clock.clone(), Entropy::seeded(seed))
        .await
        .expect("the server starts");
    let router = lianka_server::router(&app);
    (app, router)
}

async fn set_epoch(pool: &PgPool, epoch: Uuid) {
    sqlx::query("update deployment set store_epoch = $1")
        .bind(epoch)
        .execute(pool)
        .await
        .expect("the epoch is set");
}

impl Inner {
    async fn open(setup: &Setup, seed: u64) -> Self {
        let mut seeds = Numbers::from_seed(seed);
        let (clock, database, epoch) = (
            Clock::fixed(START_UNIX_MS),
            Database::create(None).await,
            seeds.uuid(),
        );
        let (app, router) = start(&database, &clock, seeds.number(), setup.log_days).await;
        // The template gave every run the same one.
        set_epoch(&app.pool, epoch).await;
        sqlx::query("insert into account (username, display_name, role, created_at) values ($1, $1, 'admin', now())")
            .bind(desk::ADMIN)
            .execute(&app.pool)
            .await
            .expect("the first admin");
        let mut office = Self {
            street: setup.street.parse().expect("a street code"),
            clock,
            seeds,
            log_days: setup.log_days,
            database,
            backup: None,
            app,
            router,
            desks: vec![Desk::default(); desk::DESKS.len()],
            desks_then: Vec::new(),
            imports: BTreeMap::new(),
            imports_then: BTreeMap::new(),
            steps: BTreeMap::new(),
            receipts: Vec::new(),
            compactions: BTreeMap::new(),
            recorded: Recorded {
                epochs: vec![epoch],
                ..Recorded::default()
            },
        };
        office.sign_in(0).await;
        office.found(setup).await;
        for desk in 1..desk::DESKS.len() {
            office.sign_in(desk).await;
        }
        office
    }

    /// The street, its grids and roads, and everybody's accounts.
    async fn found(&mut self, setup: &Setup) {
        let street = setup.street.as_str();
        self.must(
            "POST",
            "/v1/streets",
            json!({ "street": street, "name": "天平路街道", "district": "徐汇区" }),
        )
        .await;
        for grid in &setup.grids {
            self.must(
                "POST",
                &self.path("grids"),
                json!({ "grid": grid, "name": grid, "area": "康平" }),
            )
            .await;
        }
        if !setup.roads.is_empty() {
            self.must("POST", &self.path("roads"), json!({ "roads": setup.roads }))
                .await;
        }
        let desks = desk::DESKS[1..]
            .iter()
            .map(|(username, role)| ((*username).to_owned(), role.as_str()));
        let people = setup
            .secretaries
            .iter()
            .map(|(username, _)| (username.clone(), "secretary"));
        for (username, role) in desks.chain(people) {
            self.must("POST", "/v1/users", json!({ "username": username, "display_name": username, "role": role, "street": street })).await;
        }
        for (username, grids) in &setup.secretaries {
            self.must(
                "PUT",
                &self.path(&format!("assignments/{username}")),
                json!({ "grids": grids }),
            )
            .await;
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/streets/{}/{rest}", self.street)
    }

    /// A new device for somebody at a desk.
    async fn sign_in(&mut self, nth: usize) {
        let (username, _) = desk::DESKS[nth];
        let code = if nth == 0 {
            auth::create_enrolment(&self.app, username)
                .await
                .expect("a code")
                .code
        } else {
            let (_, made) = self
                .ask(
                    0,
                    "POST",
                    "/v1/enrolments",
                    &json!({ "username": username }),
                )
                .await;
            made["code"].as_str().expect("a code").to_owned()
        };
        let body = json!({ "code": code, "name": "办公桌", "platform": "office" });
        let answer = self
            .send(
                "POST",
                "/v1/devices",
                &[("content-type", "application/json")],
                body.to_string().into_bytes(),
            )
            .await;
        self.note_device(&answer);
        self.desks[nth] = desk_of(&answer.json());
    }

    fn note_device(&mut self, answer: &Answer) {
        let device = answer.json()["device_id"]
            .as_str()
            .and_then(|id| id.parse::<Uuid>().ok());
        self.recorded.devices.extend(device);
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {});
        let (head, body) = response.into_parts();
        let body = to_bytes(body, BODY_BYTES_MAX)
            .await
            .map(Vec::from)
            .unwrap_or_default();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    /// Asks as somebody at a desk, whose tokens are renewed as they run out.
    async fn ask(&mut self, nth: usize, method: &str, path: &str, body: &Value) -> (u16, Value) {
        for again in [true, false] {
            let bearer = format!("Bearer {}", self.desks[nth].access);
            let headers = [
                ("authorization", bearer.as_str()),
                ("content-type", "application/json"),
                ("accept-language", "en"),
            ];
            let bytes = if body.is_null() {
                Vec::new()
            } else {
                body.to_string().into_bytes()
            };
            let answer = self
                .send(
                    method,
                    path,
                    &headers[..if body.is_null() { 1 } else { 3 }],
                    bytes,
                )
                .await;
            if !(again && answer.status == 401) {
                return (answer.status, answer.json());
            }
            let body = json!({ "refresh_token": self.desks[nth].refresh });
            let renewed = self
                .send(
                    "POST",
                    "/v1/tokens",
                    &[("content-type", "application/json")],
                    body.to_string().into_bytes(),
                )
                .await;
            let device = self.desks[nth].device;
            self.desks[nth] = Desk {
                device,
                ..desk_of(&renewed.json())
            };
        }
        unreachable!("the second time answers")
    }

    /// Asks as the admin what cannot be refused.
    async fn must(&mut self, method: &str, path: &str, body: Value) {
        let (status, answer) = self.ask(0, method, path, &body).await;
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
    }

    async fn exchange(&mut self, call: &Call) -> Reply {
        let headers: Vec<_> = call
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = self
            .send(&call.method, &call.path, &headers, call.body.clone())
            .await;
        if call.path == "/v1/devices" && answer.status == 201 {
            self.note_device(&answer);
        }
        let told = [
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::RETRY_AFTER,
        ];
        let headers = told.iter().filter_map(|name| {
            Some((
                name.to_string(),
                answer.headers.get(name)?.to_str().ok()?.to_owned(),
            ))
        });
        Reply {
            status: answer.status,
            headers: headers.collect(),
            body: answer.body,
        }
    }

    async fn act_and_note(&mut self, act: &Act) -> Acted {
        let acted = self.act(act).await;
        if acted == Acted::Done && act.forgets() {
            self.receipts.push(act.clone());
        }
        acted
    }

    /// What the server does in the background, until there is nothing left.
    async fn tend(&mut self) {
        let (pool, clock) = (&self.app.pool, &self.clock);
        while transfer_clock::pass(pool, clock, &self.app.entropy)
            .await
            .expect("the clock's pass")
            .events
            > 0
        {}
        while refresh::pass(pool, clock)
            .await
            .expect("the refresh pass")
            .refreshed
            > 0
        {}
        let keep = Keep::days(u64::from(self.log_days));
        trimming::sweep(pool, keep, clock.now(), std::time::Duration::ZERO)
            .await
            .expect("the log is swept");
    }

    /// The process ends; the next one starts on the same store.
    async fn restart(&mut self) {
        self.app.pool.close().await;
        self.compactions.clear();
        let seed = self.seeds.number();
        (self.app, self.router) = start(&self.database, &self.clock, seed, self.log_days).await;
    }

    async fn back_up(&mut self) {
        self.app.pool.close().await;
        self.backup = Some(Database::create(Some(&self.database)).await);
        self.imports_then = self.imports.clone();
        self.desks_then.clone_from(&self.desks);
        self.restart().await;
    }

    async fn restore(&mut self) -> Acted {
        let Some(backup) = &self.backup else {
            return Acted::Nothing;
        };
        self.app.pool.close().await;
        self.database = Database::create(Some(backup)).await;
        let pool = self.database.pool().await;
        // As `lianka migrate --restored` does; which epoch that is follows from the seed.
        store::deployment::new_epoch(&pool)
            .await
            .expect("a new epoch");
        let epoch = self.seeds.uuid();
        set_epoch(&pool, epoch).await;
        pool.close().await;
        self.recorded.epochs.push(epoch);
        self.restart().await;
        self.imports = self.imports_then.clone();
        self.desks.clone_from(&self.desks_then);
        for receipt in self.receipts.clone() {
            Box::pin(self.act(&receipt)).await;
        }
        Acted::Done
    }

    async fn compact(&mut self, record: RecordId) -> Acted {
        let prepared = match self.compactions.remove(&record) {
            Some(compact) => Ok(compact),
            None => self.compaction_of(record).await,
        };
        let compact = match prepared {
            Ok(compact) => compact,
            Err(acted) => return acted,
        };
        let now = self.clock.now();
        match compaction::put_in_place(&self.app.pool, &self.street, compact, now).await {
            Ok(Some(_)) => Acted::Done,
            Ok(None) => Acted::Nothing,
            Err(_) => Acted::Refused("internal".into()),
        }
    }

    async fn prepare_compaction(&mut self, record: RecordId) -> Acted {
        match self.compaction_of(record).await {
            Ok(compact) => {
                self.compactions.insert(record, compact);
                Acted::Done
            }
            Err(acted) => acted,
        }
    }

    /// A record's compacted history, where it is worth it.
    async fn compaction_of(&self, record: RecordId) -> Result<Compact, Acted> {
        if self.state(record).await.is_none() {
            return Err(Acted::Nothing);
        }
        let now = self.clock.now();
        match compaction::prepare(&self.app.pool, &self.street, record, now).await {
            Ok(compact) => compact.ok_or(Acted::Nothing),
            Err(_) => Err(Acted::Refused("internal".into())),
        }
    }
}

fn desk_of(session: &Value) -> Desk {
    let text = |key: &str| session[key].as_str().unwrap_or_default().to_owned();
    Desk {
        device: text("device_id").parse().unwrap_or_default(),
        access: text("access_token"),
        refresh: text("refresh_token"),
    }
}
