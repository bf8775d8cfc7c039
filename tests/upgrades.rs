//! Everything that was released goes forward: frozen databases, frozen phones, and what old phones say.
//!
//! `tests/fixtures/upgrades/<version>/` was written by that version's own programs (docs/upgrades.md). Here today's code meets it: a database is
//! restored, brought up to date and looked at; a phone's file is opened on a copy; recorded requests are sent again, byte for byte.

mod conversations;
mod databases;
mod phones;
mod rollback;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use lianka_server::{
    Server, auth,
    clock::{Clock, Entropy},
    config::ServeConfig,
    store,
};
use lianka_tests::{Answer, Database, TestApp, fresh_database, frozen};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use tempfile::TempDir;

const STREET: &str = "310104003";
const DAY_MS: i64 = 24 * 3_600_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace holds this crate")
}

fn released() -> String {
    fs::read_to_string(root().join("migrations/released.txt")).expect("migrations/released.txt")
}

/// Every released version, oldest first.
fn versions() -> Vec<String> {
    let released = released();
    let headings = released.lines().filter_map(|line| line.strip_prefix("# "));
    headings
        .filter(|heading| heading.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

/// What a release left.
struct Frozen {
    version: String,
    /// What its programs showed.
    said: Value,
    /// By the clock that was frozen with it.
    at_ms: i64,
}

impl Frozen {
    fn of(version: &str) -> Self {
        let said: Value = serde_json::from_slice(&bytes(version, "said.json")).expect("JSON");
        let at_ms = said["frozen_at_ms"].as_i64().expect("a time");
        Self {
            version: version.to_owned(),
            said,
            at_ms,
        }
    }

    fn every() -> Vec<Self> {
        let every: Vec<_> = versions().iter().map(|version| Self::of(version)).collect();
        assert!(every.len() >= 2, "the releases were not found");
        every
    }

    /// The next synchronisations of the version's phones, and what was shown after them.
    fn line(&self) -> Value {
        serde_json::from_slice(&bytes(&self.version, "line.json")).expect("JSON")
    }

    /// Its database as it was, not brought up to date.
    async fn database(&self) -> Database {
        let database = fresh_database().await;
        let mut connection = database.options.connect().await.expect("a connection");
        sqlx::raw_sql("drop schema public cascade; create schema public")
            .execute(&mut connection)
            .await
            .expect("emptied");
        let text = String::from_utf8(bytes(&self.version, "database")).expect("text");
        let restored = frozen::restore(
            &mut connection,
            &root().join("migrations"),
            &released(),
            &self.version,
            &text,
        )
        .await;
        restored.unwrap_or_else(|error| panic!("{} is restored: {error}", self.version));
        // The same cluster for the deployment: this is an upgrade, and not a restore that phones have to heal.
        let same = "update deployment set cluster_id = (select system_identifier::text from pg_control_system())";
        sqlx::raw_sql(same)
            .execute(&mut connection)
            .await
            .expect("noted");
        database
    }

    /// Today's server on its database, some days later.
    async fn upgraded(&self, days: i64) -> Upgraded {
        let database = self.database().await;
        store::migrate(&database.pool)
            .await
            .unwrap_or_else(|error| panic!("{} is brought up to date: {error}", self.version));
        let clock = Clock::fixed(self.at_ms + days * DAY_MS);
        let app = Server::start(
            database.pool.clone(),
            Arc::new(ServeConfig::for_tests()),
            clock.clone(),
            Entropy::seeded(3),
        )
        .await;
        let app = app.unwrap_or_else(|error| panic!("{} starts: {error:?}", self.version));
        Upgraded {
            test: TestApp {
                router: lianka_server::router(&app),
                app,
                clock,
                database,
            },
            tokens: BTreeMap::new(),
        }
    }

    /// Copies of its phones' files, by name.
    fn phones(&self) -> (TempDir, BTreeMap<String, std::path::PathBuf>) {
        let folder = TempDir::new().expect("a folder");
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(
            root()
                .join(frozen::FOLDER)
                .join(&self.version)
                .join("phones"),
        )
        .expect("phones")
        .flatten()
        {
            let name = entry.file_name().into_string().expect("a name");
            let name = name.strip_suffix(".db.zst").expect("a phone's file");
            let file = folder.path().join(format!("{name}.db"));
            fs::write(&file, bytes(&self.version, &format!("phones/{name}.db"))).expect("written");
            files.insert(name.to_owned(), file);
        }
        assert!(files.len() >= 6, "the phones were not found");
        (folder, files)
    }
}

fn bytes(version: &str, name: &str) -> Vec<u8> {
    let path = root()
        .join(frozen::FOLDER)
        .join(version)
        .join(format!("{name}.zst"));
    let file = fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error} (scripts/upgrade.sh freezes a release)",
            path.display()
        )
    });
    zstd::decode_all(file.as_slice()).expect("zstd")
}

/// Today's server on an old database.
struct Upgraded {
    test: TestApp,
    tokens: BTreeMap<String, String>,
}

impl Upgraded {
    /// Over a database as it is.
    async fn over(database: Database) -> Self {
        let clock = Clock::fixed(0);
        let app = Server::start(
            database.pool.clone(),
            Arc::new(ServeConfig::for_tests()),
            clock.clone(),
            Entropy::seeded(3),
        )
        .await
        .expect("starts");
        Self {
            test: TestApp {
                router: axum::Router::new(),
                app,
                clock,
                database,
            },
            tokens: BTreeMap::new(),
        }
    }

    async fn call(
        &mut self,
        username: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        if !self.tokens.contains_key(username) {
            let code = auth::create_enrolment(&self.test.app, username)
                .await
                .expect("a code")
                .code;
            let body = json!({ "code": code, "name": "窗口", "platform": "web" });
            let session = self
                .test
                .request("POST", "/v1/devices", None, Some(&body))
                .await
                .json;
            self.tokens.insert(
                username.to_owned(),
                session["access_token"]
                    .as_str()
                    .expect("a token")
                    .to_owned(),
            );
        }
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/v1/streets/{STREET}/{path}")
        };
        self.test
            .request(
                method,
                &path,
                self.tokens.get(username).map(String::as_str),
                body,
            )
            .await
    }

    /// What a path shows: of a list its items.
    async fn read(&mut self, username: &str, path: &str) -> Value {
        let listed = !["records/", "transfers/", "verify"]
            .iter()
            .any(|one| path.contains(one));
        let paged = if listed {
            format!(
                "{path}{}page_size=200",
                if path.contains('?') { '&' } else { '?' }
            )
        } else {
            path.to_owned()
        };
        let answer = self.call(username, "GET", &paged, None).await;
        assert!(
            answer.status.is_success(),
            "{username} {path}: {}",
            answer.json
        );
        if answer.json["total"].is_u64() {
            answer.json["items"].clone()
        } else {
            answer.json
        }
    }

    async fn rows(&self, query: String) -> Vec<String> {
        sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_all(&self.test.app.pool)
            .await
            .expect("the rows")
    }
}

/// Where `new` lacks, or says otherwise, what `old` said: new keys are welcome, nothing that was there may be missing or differ.
fn lost(old: &Value, new: &Value, path: &str, passed_over: &[&str]) -> Vec<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let kept = old
                .iter()
                .filter(|(key, _)| !passed_over.contains(&key.as_str()));
            kept.flat_map(|(key, old)| {
                lost(
                    old,
                    new.get(key).unwrap_or(&Value::Null),
                    &format!("{path}.{key}"),
                    passed_over,
                )
            })
            .collect()
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let pairs = old.iter().zip(new).enumerate();
            pairs
                .flat_map(|(at, (old, new))| lost(old, new, &format!("{path}[{at}]"), passed_over))
                .collect()
        }
        _ if old == new => Vec::new(),
        _ => vec![format!("{path}: {old} became {new}")],
    }
}

#[track_caller]
fn nothing_lost(version: &str, what: &str, problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{version}, {what}:\n  {}",
        problems.join("\n  ")
    );
}

#[test]
fn every_release_is_frozen() {
    for version in versions() {
        for name in [
            "database",
            "schema",
            "said.json",
            "line.json",
            "queries.json",
        ] {
            assert!(!bytes(&version, name).is_empty(), "{version}: {name}");
        }
    }
}
