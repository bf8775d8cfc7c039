//! What every integration test stands on: a private Postgres, a fresh database per test, the real router.
//!
//! One cluster serves the whole test process. It is made at the first use and goes when the process goes, however that ends: statics are not
//! dropped, but the pipe that keeps the cluster alive closes with the process. Each test gets a database of its own, copied from a
//! template that was migrated once, a clock that stands still until the test moves it, and entropy from a seed.

pub mod frozen;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use bytes::Bytes;
use lianka_server::{
    Server,
    clock::{Clock, Entropy},
    config::ServeConfig,
    embedded_postgres::EmbeddedPostgres,
    store,
};
use serde_json::Value;
use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};
use tokio::{net::TcpListener, task::JoinHandle};
use tower::ServiceExt;

/// When every test begins: 2026-11-21T08:00:00Z.
pub const START_UNIX_MS: i64 = 1_795_248_000_000;

/// Far more than any answer; a test that meets it has found a mistake.
const BODY_BYTES_MAX: usize = 256 << 20;
const CONNECTIONS_PER_TEST_MAX: u32 = 8;

/// The process' cluster, whose database `lianka` is migrated and serves as template.
fn cluster() -> &'static EmbeddedPostgres {
    static CLUSTER: OnceLock<EmbeddedPostgres> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        // A thread of its own, since the caller is inside the runtime of whichever test came first.
        let made = thread::spawn(|| {
            let postgres =
                EmbeddedPostgres::start_throwaway().expect("a private Postgres for the tests");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let pool = store::connect(postgres.connect_options(), 1)
                    .await
                    .expect("the private Postgres takes connections");
                store::migrate(&pool).await.expect("the migrations apply");
                // Postgres copies only a template that nobody is connected to.
                pool.close().await;
            });
            postgres
        });
        made.join().expect("the cluster starts")
    })
}

/// Databases whose test is over. Dropping one needs a connection, which `Drop` cannot wait for; the next test does it.
static FINISHED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A migrated, empty database of one test.
pub struct Database {
    pub pool: PgPool,
    pub options: PgConnectOptions,
    name: String,
}

impl Database {
    /// As a URL, for `--database-url` or `psql`.
    pub fn url(&self) -> String {
        cluster()
            .url()
            .replacen("/lianka?", &format!("/{}?", self.name), 1)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // One of another cluster goes with it.
        if !self.name.is_empty() {
            FINISHED
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(std::mem::take(&mut self.name));
        }
    }
}

/// A new database. Another test never sees it.
pub async fn fresh_database() -> Database {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let options = cluster().connect_options();
    let mut admin = options
        .clone()
        .database("postgres")
        .connect()
        .await
        .expect("the cluster takes connections");
    let finished = std::mem::take(&mut *FINISHED.lock().unwrap_or_else(PoisonError::into_inner));
    for old in finished {
        execute(
            &mut admin,
            format!("drop database if exists {old} with (force)"),
        )
        .await;
    }
    execute(
        &mut admin,
        format!("create database {name} template lianka"),
    )
    .await;
    let options = options.database(&name);
    let pool = store::connect(options.clone(), CONNECTIONS_PER_TEST_MAX)
        .await
        .expect("the new database takes connections");
    Database {
        pool,
        options,
        name,
    }
}

async fn execute(admin: &mut sqlx::PgConnection, statement: String) {
    // Names cannot be bound; these are made of a counter above.
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(admin)
        .await
        .expect("the statement works");
}

/// What came back from the router.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body as JSON; `Null` when it is something else or empty.
    pub json: Value,
}

impl Answer {
    pub async fn read(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        let body = to_bytes(body, BODY_BYTES_MAX)
            .await
            .expect("the whole body");
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Self {
            status: head.status,
            headers: head.headers,
            body,
            json,
        }
    }

    /// The stable `code` of a problem document, or an empty text.
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }
}

/// One JSON request; `token` becomes the bearer token. Answers are never an `Err`: a refusal is what most tests look at.
pub async fn request(
    router: &Router,
    method: &str,
    path: &str,
    token: Option<&str>,
    json: Option<&Value>,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT_LANGUAGE, "en");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = match json {
        Some(json) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(json.to_string())
        }
        None => Body::empty(),
    };
    Answer::read(send(router, request.body(body).expect("a request")).await).await
}

/// Any request to a server without a socket.
pub async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    router
        .clone()
        .oneshot(request)
        .await
        .unwrap_or_else(|never| match never {})
}

/// The server of one test, called without a socket.
pub struct TestApp {
    pub app: Server,
    pub router: Router,
    pub clock: Clock,
    pub database: Database,
}

impl TestApp {
    /// The server with its documented defaults on a fresh database at [`START_UNIX_MS`].
    pub async fn start() -> Self {
        Self::start_with(ServeConfig::for_tests()).await
    }

    /// The same with other settings.
    pub async fn start_with(config: ServeConfig) -> Self {
        Self::start_on(fresh_database().await, config, 1).await
    }

    /// A server on a cluster that is the test's own to break. Its schema must be there.
    pub async fn start_elsewhere(options: PgConnectOptions, config: ServeConfig) -> Self {
        Self::start_on(elsewhere(options, &config).await, config, 1).await
    }

    /// The same by the machine's clock, for a test that starts the server's program beside it.
    pub async fn start_elsewhere_today(options: PgConnectOptions, config: ServeConfig) -> Self {
        let database = elsewhere(options, &config).await;
        Self::start_today(database, config).await
    }

    /// A server by the machine's clock.
    pub async fn start_today(database: Database, config: ServeConfig) -> Self {
        Self::start_by(Clock::System, Entropy::System, database, config).await
    }

    /// A server on a given database, so that a test can start it a second time after a "crash". `seed` must differ then: two runs of a real
    /// server never draw the same random bytes.
    pub async fn start_on(database: Database, config: ServeConfig, seed: u64) -> Self {
        let clock = Clock::fixed(START_UNIX_MS);
        Self::start_by(clock, Entropy::seeded(seed), database, config).await
    }

    async fn start_by(
        clock: Clock,
        entropy: Entropy,
        database: Database,
        config: ServeConfig,
    ) -> Self {
        let pool = database.pool.clone();
        let app = Server::start(pool, Arc::new(config), clock.clone(), entropy).await;
        let app = app.unwrap_or_else(|error| panic!("the server starts: {error:?}"));
        Self {
            router: lianka_server::router(&app),
            app,
            clock,
            database,
        }
    }

    /// See [`request`].
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        json: Option<&Value>,
    ) -> Answer {
        request(&self.router, method, path, token, json).await
    }

    /// Any request, and the response with its stream.
    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        send(&self.router, request).await
    }

    /// The same server on a real socket of this machine, until the answer is dropped.
    pub async fn serve(&self) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let router = self.router.clone();
        let task = tokio::spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("serving does not end");
        });
        Served { address, task }
    }
}

async fn elsewhere(options: PgConnectOptions, config: &ServeConfig) -> Database {
    let waits = &config.store.waits;
    let pool = store::waits::connect_within(options.clone(), CONNECTIONS_PER_TEST_MAX, waits).await;
    Database {
        pool: pool.expect("the cluster takes connections"),
        options,
        name: String::new(),
    }
}

/// A server on a socket; dropping it closes the socket at once, in the middle of a response if need be.
pub struct Served {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    /// Such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A program of this workspace (`lianka`, `lianka-phone`, `lianka-simulator`), built from the present sources as `make build` builds it.
pub fn program(name: &str) -> PathBuf {
    programs().join(name)
}

/// `lianka` with its failpoints, which no shipped program has.
pub fn program_with_failpoints() -> PathBuf {
    programs().join("failpoints/lianka")
}

/// The folder of the programs. `make build` names their packages in the same way, so that no crate of the tests or the simulation turns on a
/// feature of theirs; the one with failpoints is built first and put aside, because cargo gives both the same place.
fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // …/debug/deps/integration-<hash>
        let test = std::env::current_exe().expect("the test's own path");
        let folder = test
            .ancestors()
            .nth(2)
            .expect("the profile's folder")
            .to_owned();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut build = Command::new(root.join("scripts/programs.sh"));
        build.arg(folder.parent().expect("the target folder"));
        // What cargo told this test about its own package would make the build scripts of others (ring's) run again, and everything after them.
        let told = |name: &str| {
            [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_CRATE_",
                "CARGO_BIN_",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(told)) {
            build.env_remove(name);
        }
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(
            build.status().expect("the script runs").success(),
            "the programs can be built"
        );
        folder
    })
}
