//! Postgres fails under a running server: killed, restarted, hanging, out of connections, read-only, with another schema, on a full disk.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use lianka_server::{
    config::ServeConfig,
    store::waits::Waits,
    upkeep::{health, supervisor::Reports},
};
use lianka_sync_core::crdt::record::Edit;
use lianka_tests::{TestApp, program};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use tower::ServiceExt;

use super::{BUSY, assert_whole, assert_without_gap, cluster::Cluster, process::Server, until};
use crate::sync::phone::{HOME, Office, Phone, Reply, put, text};

/// A probe is answered within two seconds; the rest is for a machine that is busy with other tests.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2).saturating_add(BUSY);

/// An office on a cluster of its own, with a phone.
pub struct Scene {
    pub cluster: Cluster,
    pub office: Office,
    pub phone: Phone,
    pub waits: Waits,
    cards: i64,
}

impl Scene {
    pub async fn open(settings: &[&str], statement: Duration) -> Self {
        let cluster = Cluster::start(settings).await;
        let mut config = ServeConfig::for_tests();
        config.store.waits = waits(statement);
        Self::on(cluster, config).await
    }

    pub async fn on(cluster: Cluster, config: ServeConfig) -> Self {
        let waits = config.store.waits;
        let office = Office::on(TestApp::start_elsewhere(cluster.options(), config).await).await;
        office.street(HOME, "天平路街道").await;
        office.grid(HOME, "A1").await;
        let phone = office.secretary("wang.fang", &["A1"]).await;
        Self {
            cluster,
            office,
            phone,
            waits,
            cards: 0,
        }
    }

    /// New cards on the phone, unsent.
    pub fn work(&mut self) {
        for _ in 0..5 {
            self.cards += 1;
            self.phone.create(
                "A1",
                &[
                    put("sign_name", &format!("店{}", self.cards)),
                    Edit::Note {
                        text: "门口积水".into(),
                    },
                ],
            );
        }
    }

    pub async fn push(&self) -> Reply {
        self.phone.push(true, &self.phone.outbox).await
    }

    /// Pushes; when the server waits for the street's row, `fault` happens.
    pub async fn push_and(&mut self, fault: impl AsyncFnOnce(&mut Cluster, i32)) -> Reply {
        let mut holder = self.cluster.connect().await;
        sqlx::raw_sql("begin; select from street where street = '310104003' for update")
            .execute(&mut holder)
            .await
            .expect("locked");
        let mut looker = self.cluster.connect().await;
        let waiting = "select pid from pg_stat_activity where application_name = 'lianka' and wait_event_type = 'Lock' limit 1";
        let push = self.phone.push(true, &self.phone.outbox);
        let cluster = &mut self.cluster;
        let during = async {
            let mut backend = None;
            until("a waiting push", async || {
                backend = sqlx::query_scalar(waiting)
                    .fetch_optional(&mut looker)
                    .await
                    .expect("a look");
                backend.is_some()
            })
            .await;
            fault(cluster, backend.unwrap_or_default()).await;
        };
        tokio::join!(push, during).0
    }

    /// What operators are told, in time.
    pub async fn standing(&self) -> (StatusCode, String) {
        standing(&self.office).await
    }

    pub async fn until_ready(&self) {
        until("a ready server", async || {
            self.standing().await.0 == StatusCode::OK
        })
        .await;
    }

    pub async fn until_told(&self, reason: &str) {
        until(reason, async || {
            self.standing().await == (StatusCode::SERVICE_UNAVAILABLE, reason.to_owned())
        })
        .await;
    }

    /// Sends what the fault kept from being sent. Whatever a phone was told stands, and everything is there once.
    pub async fn assert_healed(&mut self, after: &str) {
        let reply = self.push().await;
        assert!(
            reply
                .codes()
                .iter()
                .all(|code| ["accepted", "duplicate"].contains(code)),
            "{after}: {}",
            reply.json
        );
        self.phone.outbox.clear();
        assert_eq!(
            self.office
                .count("select count(*) from change_log where type = 'change'")
                .await,
            self.cards,
            "{after}"
        );
        assert_without_gap(&self.office, after).await;
        assert_whole(&self.office, after).await;
    }
}

/// A connection may take its time on a busy machine; the rest follows the statement.
fn waits(statement: Duration) -> Waits {
    Waits {
        acquire: Duration::from_secs(5),
        ..Waits::of_statement(statement)
    }
}

async fn standing(office: &Office) -> (StatusCode, String) {
    let began = Instant::now();
    let router = health::operators((*office.test.app).clone(), Reports::default());
    let response = router
        .oneshot(
            Request::get("/readyz")
                .body(Body::empty())
                .expect("a request"),
        )
        .await
        .expect("an answer");
    assert!(
        began.elapsed() < PROBE_TIME_MAX,
        "the probe took {:?}",
        began.elapsed()
    );
    let status = response.status();
    let body: Value =
        serde_json::from_slice(&to_bytes(response.into_body(), 4096).await.expect("a body"))
            .expect("JSON");
    (
        status,
        body["reason"]
            .as_str()
            .or(body["status"].as_str())
            .unwrap_or_default()
            .to_owned(),
    )
}

/// Refused for now, in so many words, and in time.
pub fn assert_unavailable(reply: &Reply, code: &str, after: &str) {
    assert_eq!(
        (reply.status, reply.json["code"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some(code)),
        "{after}: {}",
        reply.json
    );
    assert_eq!(reply.json["retryable"], true, "{after}");
    assert!(reply.headers.contains_key("retry-after"), "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_killed_and_restarted_in_the_middle_of_a_request() {
    let mut scene = Scene::open(&[], Duration::from_secs(20)).await;
    for (victim, name) in [
        ("backend", "KILL"),
        ("postmaster", "KILL"),
        ("postmaster", "INT"),
    ] {
        let after = format!("{victim} {name}");
        scene.work();
        let began = Instant::now();
        let reply = scene
            .push_and(async |cluster, backend| match victim {
                "backend" => super::cluster::signal(&backend.to_string(), name),
                _ => cluster.signal(name),
            })
            .await;
        assert_unavailable(&reply, "unavailable", &after);
        assert!(
            began.elapsed() < scene.waits.statement,
            "{after}: told when the connection broke"
        );
        if victim == "postmaster" {
            scene.cluster.ended().await;
            scene.until_told("unreachable").await;
            let began = Instant::now();
            let read = scene
                .office
                .call(
                    "GET",
                    &format!("/v1/streets/{HOME}/cards"),
                    Some(&scene.office.admin),
                    Value::Null,
                )
                .await;
            assert_eq!(
                (read.status, &read.json["retryable"]),
                (StatusCode::SERVICE_UNAVAILABLE, &json!(true)),
                "{after}"
            );
            assert!(
                began.elapsed() < scene.waits.acquire + BUSY,
                "{after}: nobody waits for a Postgres that is not there"
            );
            scene.cluster.run().await;
        }
        scene.until_ready().await;
        scene.assert_healed(&after).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_stands_still_keeps_nobody_waiting() {
    let mut scene = Scene::open(&[], Duration::from_secs(3)).await;
    scene.work();
    let began = Instant::now();
    // Its own time limits stand still with it.
    let reply = scene
        .push_and(async |cluster, _| cluster.signal_all("STOP"))
        .await;
    assert_unavailable(&reply, "unavailable", "standing still");
    assert!(
        began.elapsed() < scene.waits.request + BUSY,
        "{:?}",
        began.elapsed()
    );
    scene.until_told("no_answer").await;
    // More of them than the pool has connections: none of those may be lost for good.
    let pushes = futures::future::join_all((0..12).map(|_| scene.push())).await;
    for reply in &pushes {
        assert_eq!(
            reply.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            reply.json
        );
    }
    scene.cluster.signal_all("CONT");
    scene.until_ready().await;
    scene.assert_healed("standing still").await;
    // Of a desk, since a device may have only so many synchronisations at once.
    let (path, admin) = (
        format!("/v1/streets/{HOME}/cards"),
        Some(scene.office.admin.as_str()),
    );
    let reads = futures::future::join_all(
        (0..12).map(|_| scene.office.call("GET", &path, admin, Value::Null)),
    )
    .await;
    assert!(
        reads.iter().all(|read| read.status == StatusCode::OK),
        "the pool is as large as before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_holds_is_waited_for_so_long_and_no_longer() {
    let mut scene = Scene::open(&[], Duration::from_secs(3)).await;
    let card = scene.phone.create("A1", &[put("sign_name", "王记包子")]);
    scene.cards += 1;
    scene.assert_healed("before").await;
    let desk = scene.office.desk("chen.min", "reviewer").await;
    let mut holder = scene.cluster.connect().await;
    sqlx::raw_sql("begin; select from street where street = '310104003' for update")
        .execute(&mut holder)
        .await
        .expect("locked");
    // At a desk as on a phone: it is not the request's fault, and a later one may succeed.
    let path = format!("/v1/streets/{HOME}/records/{card}/edits");
    let edit = json!({ "set": { "unit": "201" } });
    let answer = scene
        .office
        .call("POST", &path, Some(&desk.token), edit.clone())
        .await;
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        "{}",
        answer.json
    );
    scene.work();
    assert_unavailable(&scene.push().await, "overloaded", "a held row");
    drop(holder);
    let answer = scene
        .office
        .call("POST", &path, Some(&desk.token), edit)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    // A transaction that its owner forgot is ended by Postgres; the street goes on.
    let mut forgotten = scene
        .office
        .test
        .app
        .pool
        .begin()
        .await
        .expect("a transaction");
    sqlx::raw_sql("select from street where street = '310104003' for update")
        .execute(&mut *forgotten)
        .await
        .expect("locked");
    scene.work();
    until("the end of the forgotten transaction", async || {
        scene.push().await.status == StatusCode::OK
    })
    .await;
    drop(forgotten);
    assert_whole(&scene.office, "a forgotten transaction").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_others_hold_are_missed_and_come_back() {
    let settings = [
        "max_connections=14",
        "superuser_reserved_connections=0",
        "max_wal_senders=2",
    ];
    let mut scene = Scene::open(&settings, Duration::from_secs(20)).await;
    // The server's own first.
    let mut own = Vec::new();
    while let Ok(Ok(connection)) =
        tokio::time::timeout(Duration::from_secs(3), scene.office.test.app.pool.acquire()).await
    {
        own.push(connection);
    }
    assert_eq!(
        scene.standing().await,
        (StatusCode::SERVICE_UNAVAILABLE, "busy".to_owned())
    );
    scene.work();
    assert_unavailable(
        &scene.push().await,
        "overloaded",
        "no connection of the pool is free",
    );
    own.clear();
    scene.until_ready().await;
    scene.assert_healed("a pool in use").await;

    // Then everybody's.
    let mut hogs = Vec::new();
    let hog = async |hogs: &mut Vec<_>, options: sqlx::postgres::PgConnectOptions| {
        while let Ok(connection) = options.connect().await {
            hogs.push(connection);
        }
    };
    hog(&mut hogs, scene.cluster.options()).await;
    sqlx::raw_sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lianka'",
    )
    .execute(hogs.first_mut().expect("one got in"))
    .await
    .expect("a superuser may");
    until("a Postgres without connections", async || {
        hog(&mut hogs, scene.cluster.options()).await;
        scene.standing().await
            == (
                StatusCode::SERVICE_UNAVAILABLE,
                "connections_exhausted".to_owned(),
            )
    })
    .await;
    scene.work();
    let reply = scene.push().await;
    assert_eq!(
        (reply.status, &reply.json["retryable"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!(true)),
        "{}",
        reply.json
    );
    drop(hogs);
    scene.until_ready().await;
    scene.assert_healed("exhausted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_no_writes_or_has_another_schema_is_not_ready() {
    let mut scene = Scene::open(&[], Duration::from_secs(20)).await;
    scene.work();
    scene
        .cluster
        .execute("alter system set default_transaction_read_only = on")
        .await;
    scene.cluster.execute("select pg_reload_conf()").await;
    scene.until_told("read_only").await;
    assert_unavailable(&scene.push().await, "unavailable", "read only");
    scene
        .cluster
        .execute("alter system reset default_transaction_read_only")
        .await;
    scene.cluster.execute("select pg_reload_conf()").await;
    scene.until_ready().await;
    scene.assert_healed("read only").await;

    // A server that is one version behind runs on the newer schema.
    let later = "insert into _lianka_migrations (version, description, success, checksum, execution_time) values (29990101000000, 'later', true, '', 0)";
    scene.cluster.execute(later).await;
    let newest = "(select max(version) from _sqlx_migrations)";
    for (undo, done) in [
        (
            format!("update _sqlx_migrations set success = true where version = {newest}"),
            format!("update _sqlx_migrations set success = false where version = {newest}"),
        ),
        (
            "update _sqlx_migrations set checksum = substring(checksum from 2)".to_owned(),
            "update _sqlx_migrations set checksum = '\\x00' || checksum".to_owned(),
        ),
        (
            "alter table gone rename to _sqlx_migrations".to_owned(),
            "alter table _sqlx_migrations rename to gone".to_owned(),
        ),
    ] {
        scene.cluster.execute(&done).await;
        scene.until_told("schema").await;
        scene.cluster.execute(&undo).await;
        scene.until_ready().await;
    }
}

/// Runs everywhere: a table that cannot grow, which Postgres reports as it reports a full disk (`disk_full`, 53100).
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_grow_refuses_for_now_and_keeps_nothing() {
    let mut scene = Scene::open(&[], Duration::from_secs(20)).await;
    scene
        .cluster
        .execute(
            "create table ballast (filling text); alter table ballast alter filling set storage external;
             create function fill() returns trigger language plpgsql as $$ begin
                 insert into ballast select string_agg(md5(random()::text), '') from generate_series(1, 200000); return null; end $$;
             create trigger fill after insert on record execute function fill()",
        )
        .await;
    scene.cluster.signal("INT");
    scene.cluster.ended().await;
    // 4 MiB and half a page.
    scene.cluster.limit_files(Some(8_200));
    scene.cluster.run().await;
    scene.until_ready().await;
    scene.work();
    assert_unavailable(&scene.push().await, "unavailable", "a full table");
    assert_eq!(
        scene.office.count("select count(*) from change_log").await,
        0
    );
    scene.cluster.signal("INT");
    scene.cluster.ended().await;
    scene.cluster.limit_files(None);
    scene.cluster.run().await;
    scene.until_ready().await;
    scene.assert_healed("a full table").await;
}

/// A small file system of the test's own; `None` where this user may not make one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::Builder::new()
            .prefix("lianka-disk-")
            .tempdir_in("/tmp")
            .expect("a folder");
        let size = format!("size={megabytes}m,mode=755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "lianka-disk"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let ballast = format!("of={}", self.path().join("ballast").display());
        let filled = Command::new("dd")
            .args(["if=/dev/zero", &ballast, "bs=4k"])
            .output()
            .expect("dd runs");
        assert!(!filled.status.success(), "it ends only where the disk does");
    }

    fn empty(&self) {
        std::fs::remove_file(self.path().join("ballast")).expect("the ballast");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_private_postgres_is_told_and_outlived() {
    let Some(disk) = Disk::mount(170) else {
        eprintln!(
            "NOT RUN: a real full disk, because this user may not mount one; a_table_that_cannot_grow_… stands for it"
        );
        return;
    };
    let mut serve = Command::new(program("lianka"));
    serve
        .arg("serve")
        .arg("--data-dir")
        .arg(disk.path().join("data"));
    let server = Server::run(serve, None);
    let mut create = Command::new(program("lianka"));
    create
        .args([
            "admin",
            "create",
            "--username=root",
            "--log=off",
            "--data-dir",
        ])
        .arg(disk.path().join("data"));
    let mut create = create
        .env_remove("DATABASE_URL")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("lianka runs");
    std::io::Write::write_all(
        &mut create.stdin.take().expect("piped"),
        b"a long enough password\n",
    )
    .expect("it reads");
    assert!(create.wait().expect("it ends").success());
    let session = server
        .call(
            "POST",
            "/v1/sessions",
            "",
            &json!({ "username": "root", "password": "a long enough password" }),
        )
        .await;
    let token = text(&session.expect("an answer").1["access_token"]);
    let street = json!({ "street": HOME, "name": "天平路街道", "district": "徐汇区" });
    assert_eq!(
        server
            .call("POST", "/v1/streets", &token, &street)
            .await
            .expect("an answer")
            .0,
        201
    );
    until("a ready server", async || server.readiness().await.0 == 200).await;

    disk.fill();
    // Full, or down because it cannot even write its log: in both cases no edit is taken, and both are told.
    let mut told = Vec::new();
    until("the truth about the disk", async || {
        let (status, reason) = server.readiness().await;
        let full =
            status == 503 && ["disk_full", "starting", "unreachable"].contains(&reason.as_str());
        told.push(reason);
        full
    })
    .await;
    // Edits go on until the space that Postgres has already is used up; then each is refused for now.
    let mut added = Vec::new();
    let grids = format!("/v1/streets/{HOME}/grids");
    until("a refusal", async || {
        let grid = format!("G{}", added.len());
        let body = json!({ "grid": grid, "name": "长".repeat(50), "area": "长".repeat(50) });
        let (status, answer) = server
            .call("POST", &grids, &token, &body)
            .await
            .expect("an answer");
        if status == 201 {
            added.push(grid);
        } else {
            assert_eq!(
                (status, &answer["retryable"]),
                (503, &json!(true)),
                "{answer}"
            );
        }
        status == 503 || added.len() > 200
    })
    .await;
    disk.empty();
    until("a ready server", async || server.readiness().await.0 == 200).await;
    let (status, answer) = server
        .call(
            "GET",
            &format!("{grids}?page_size=200"),
            &token,
            &Value::Null,
        )
        .await
        .expect("an answer");
    assert_eq!(status, 200, "{answer}");
    let stored = answer.to_string();
    assert!(
        added
            .iter()
            .all(|grid| stored.contains(&format!("\"{grid}\""))),
        "what was acknowledged on a full disk is there"
    );
    let body = json!({ "grid": "Z9", "name": "后来", "area": "康平" });
    assert_eq!(
        server
            .call("POST", &grids, &token, &body)
            .await
            .expect("an answer")
            .0,
        201
    );
}
