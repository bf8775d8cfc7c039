//! The server is killed at every named point of its pipeline, started again, and asked again. What phones were told stands, what they were
//! not told is done once, and nothing is left half done.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    sync::Arc,
};

use lianka_client::{
    clock::Clock as PhoneClock,
    phone::{Backoff, Phone},
    transport::Transport,
};
use lianka_server::{
    clock::Clock,
    config::ServeConfig,
    pipeline_point::PipelinePoint::{self, *},
    upkeep::sealing as seal,
};
use lianka_sync_core::{
    crdt::record::Edit,
    id::RecordId,
    kinds::{
        Kind,
        projection::{Projected, digest},
    },
    lang::Lang,
    time::DeviceTime,
};
use lianka_tests::{START_UNIX_MS, TestApp, fresh_database, program_with_failpoints};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    assert_whole, assert_without_gap,
    process::{SIGABRT, Server},
    until,
};
use crate::{
    scene::{enrol, shown},
    sync::{
        phone::{HOME, Office, READ_MODELS, put},
        pull::big_fields,
    },
};

const CONTACT: &str = "0198c0de-0000-7000-8000-00000000000a";
const DAY_MS: i64 = 86_400_000;
/// More than an access token lives.
const TOKEN_MS: i64 = 20 * 60_000;

/// What makes a server come by a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// A phone sends a day's work.
    Push,
    /// A phone that has nothing to send fetches what is new.
    Pull,
    /// A phone's access token has run out.
    Renew,
    /// A reviewer edits at a desk.
    Desk,
    /// An admin has an import written, or taken back: `tests/faults/imports.rs`.
    Import,
    /// An admin has a person forgotten.
    Redact,
    /// An admin has a record forgotten.
    Erase,
    /// `lianka rebuild`.
    Rebuild,
    /// `lianka compact`: old changes leave the log.
    Trim,
    /// `lianka compact --record`: what was overwritten leaves the history.
    Compact,
    /// The server is left alone.
    Alone,
}

/// Every point has its way: one without it does not compile.
fn way(point: PipelinePoint) -> Way {
    match point {
        TokenSpent | TokenRenewed => Way::Renew,
        Ingested | PushTaken | StreetLocked | Ruled | Followed | RecordsWritten | LogWritten
        | Projected | HeadRaised | Audited | Committed | PushAnswered | SyncNoted => Way::Push,
        PullPlanned | VerdictsSent | ItemSent | CheckpointSent | ReadingAnswered | EndSent => {
            Way::Pull
        }
        DeskComposed | DeskCommitted => Way::Desk,
        ImportMarked | ImportWritten | ImportEnded | ImportCommitted => Way::Import,
        HistoryRewritten => Way::Redact,
        RecordErased | ReceiptWritten | ErasureCommitted => Way::Erase,
        ModelsCleared | ModelsWritten => Way::Rebuild,
        LogTrimmed | LogTrimCommitted => Way::Trim,
        HistoryCompacted | CompactionCommitted => Way::Compact,
        SnapshotJudged | SnapshotStored | ClockRuled | ClockCommitted | SealAppended
        | SealCommitted | EventsPruned => Way::Alone,
    }
}

pub(super) fn points(ways: &[Way]) -> Vec<PipelinePoint> {
    let points: Vec<_> = PipelinePoint::ALL
        .iter()
        .copied()
        .filter(|point| ways.contains(&way(*point)))
        .collect();
    assert!(!points.is_empty());
    points
}

/// A street, its admin, and two phones whose server is a process. The office itself is another server on the same store, in this process.
pub(super) struct Scene {
    pub office: Office,
    url: String,
    pub server: Server,
    files: TempDir,
}

impl Scene {
    pub async fn open() -> Self {
        let database = fresh_database().await;
        let url = database.url();
        let test = TestApp::start_today(database, ServeConfig::for_tests()).await;
        let office = Office::on(test).await;
        office.street(HOME, "天平路街道").await;
        office.grid(HOME, "A1").await;
        let server = Server::start(&url, None);
        Self {
            office,
            url,
            server,
            files: TempDir::new().expect("a folder"),
        }
    }

    pub async fn phone(&self, username: &str) -> Phone {
        self.office.user(username, "secretary", Some(HOME)).await;
        self.office.assign(HOME, username, &["A1"]).await;
        let (url, file) = (self.server.url(), self.files.path().join(username));
        let phone = enrol(&self.office, &url, &file, username).await;
        // The first failure is told at once: the test says when to try again.
        phone.with_backoff(Backoff {
            tries_max: 1,
            ..Backoff::default()
        })
    }

    /// Another run of the server in place of the present one.
    pub fn restart(&mut self, point: Option<(PipelinePoint, u32)>, phones: &mut [&mut Phone]) {
        self.server = Server::start(&self.url, point);
        for phone in phones {
            let transport = Transport::new(&self.server.url(), Lang::Zh).expect("an address");
            **phone = phone.clone().with_transport(transport);
        }
    }

    pub async fn post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        self.server
            .call(
                "POST",
                &format!("/v1/streets/{HOME}/{path}"),
                &self.office.admin,
                body,
            )
            .await
    }

    /// The roll as the office reads it.
    pub async fn roll(&self) -> [u8; 32] {
        let admin = self.office.admin();
        let mut rows = Vec::new();
        for page in 1.. {
            let cards = admin.cards(&format!("?page_size=200&page={page}")).await;
            let done = cards.len() < 200;
            rows.extend(cards);
            if done {
                break;
            }
        }
        rows.sort_by_key(Projected::record);
        digest(&rows)
    }
}

pub(super) fn now() -> DeviceTime {
    DeviceTime::from_unix_ms(Clock::System.now().unix_ms())
}

/// Sends what is left and takes what is new: everything is answered, and nothing was refused.
pub(super) async fn heal(phone: &Phone, at: &str) {
    let report = phone
        .sync()
        .await
        .unwrap_or_else(|error| panic!("{at}: {error}"));
    assert_eq!(
        (
            report.unsent,
            report.held,
            report.drafts,
            report.tally.rejected
        ),
        (0, 0, 0, 0),
        "{at}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_of_a_push() {
    let mut scene = Scene::open().await;
    let (mut wang, mut li) = (scene.phone("wang.fang").await, scene.phone("li.na").await);
    let first = wang
        .create_card(
            "A1",
            &[
                put("sign_name", "王记包子"),
                Edit::Note {
                    text: "门口".into(),
                },
            ],
            now(),
        )
        .expect("saved")
        .record;
    heal(&wang, "before").await;
    let mut saved = 1;
    for (n, point) in points(&[Way::Push, Way::Renew]).into_iter().enumerate() {
        let at = point.name();
        scene.restart(Some((point, 1)), &mut [&mut wang, &mut li]);
        let sign = format!("王记包子 {n}");
        wang.edit(
            first,
            &[
                put("sign_name", &sign),
                Edit::Note {
                    text: format!("门口 {at}"),
                },
            ],
            now(),
        )
        .expect("saved");
        wang.create_card("A1", &[put("sign_name", &format!("新店 {n}"))], now())
            .expect("saved");
        saved += 2;
        if way(point) == Way::Renew {
            // By the phone's clock its access token has run out.
            let late = now().unix_ms() + (n as i64 + 1) * TOKEN_MS;
            wang = wang.with_clock(PhoneClock::Fixed(Arc::new(late.into())));
        }
        wang.sync().await.expect_err(at);
        scene.server.died(point).await;

        scene.restart(None, &mut [&mut wang, &mut li]);
        heal(&wang, at).await;
        let changes = scene
            .office
            .count("select count(*) from change_log where type = 'change'")
            .await;
        assert_eq!(changes, saved, "{at}: every saved edit once");
        assert_without_gap(&scene.office, at).await;
        assert_whole(&scene.office, at).await;
        heal(&li, at).await;
        assert_eq!(
            (shown(&li), shown(&wang)),
            (scene.roll().await, scene.roll().await),
            "{at}: everybody sees the same"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_of_a_pull() {
    let mut scene = Scene::open().await;
    let mut desk = scene.office.desk_phone("chen.min", "reviewer").await;
    let mut li = scene.phone("li.na").await;
    // More than a checkpoint's worth, so that there is one in the middle.
    for _ in 0..500 {
        desk.create("A1", &big_fields());
    }
    desk.sync().await;
    let points = points(&[Way::Pull]);
    // The download of an empty phone first, then what is new.
    for (n, point) in [CheckpointSent]
        .into_iter()
        .chain(points.into_iter().filter(|point| *point != CheckpointSent))
        .enumerate()
    {
        let at = point.name();
        let cards: Vec<_> = (0..3)
            .map(|_| desk.create("A1", &[put("sign_name", &format!("店 {n}"))]))
            .collect();
        for card in &cards {
            desk.edit(*card, &[put("unit", "201")]);
        }
        desk.sync().await;
        scene.restart(
            Some((point, if point == ItemSent { 2 } else { 1 })),
            &mut [&mut li],
        );
        li.sync().await.expect_err(at);
        scene.server.died(point).await;
        scene.restart(None, &mut [&mut li]);
        heal(&li, at).await;
        for card in cards {
            assert_eq!(
                li.view(card).expect("held").text("unit"),
                Some("201"),
                "{at}"
            );
        }
    }
    assert_eq!(
        shown(&li),
        scene.roll().await,
        "the phone has what the office has"
    );
    assert_whole(&scene.office, "the pulls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_of_an_act_of_the_office() {
    let mut scene = Scene::open().await;
    let mut li = scene.phone("li.na").await;
    for point in points(&[Way::Desk, Way::Redact, Way::Erase]) {
        let at = point.name();
        let contact = |field: &str| format!("contacts/{CONTACT}/{field}");
        let edits = [
            put("sign_name", "王记包子"),
            put(&contact("name"), "欧阳小明"),
        ];
        let card = li.create_card("A1", &edits, now()).expect("saved").record;
        heal(&li, at).await;
        let (path, body) = match way(point) {
            Way::Desk => (
                format!("records/{card}/edits"),
                json!({ "set": { "sign_name": "王记包子铺" } }),
            ),
            Way::Redact => (
                format!("records/{card}/redact"),
                json!({ "entry": CONTACT, "reason": "subject_request" }),
            ),
            _ => (
                format!("records/{card}/erase"),
                json!({ "reason": "subject_request" }),
            ),
        };
        scene.restart(Some((point, 1)), &mut [&mut li]);
        assert_eq!(
            scene.post(&path, &body).await,
            None,
            "{at}: nobody was told"
        );
        scene.server.died(point).await;

        scene.restart(None, &mut [&mut li]);
        assert_whole(&scene.office, at).await;
        // Whoever was not told asks again, and nothing is done twice.
        let (status, answer) = scene.post(&path, &body).await.expect("an answer");
        assert_eq!(status, 200, "{at}: {answer}");
        assert_whole(&scene.office, at).await;
        heal(&li, at).await;
        let acts = format!(
            "select count(*) from audit_event where record = '{card}' and action in ('desk_edit', 'redact', 'erase')"
        );
        let acts: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(acts))
            .fetch_one(&scene.office.test.app.pool)
            .await
            .expect("a count");
        assert_eq!(acts, 1, "{at}: done once, told once");
        match way(point) {
            Way::Erase => assert!(
                !li.records().expect("readable").contains(&card),
                "{at}: the card is gone"
            ),
            Way::Redact => assert_eq!(
                li.view(card).expect("held").text(&contact("name")),
                None,
                "{at}: the person is gone"
            ),
            _ => assert_eq!(
                li.view(card).expect("held").text("sign_name"),
                Some("王记包子铺"),
                "{at}"
            ),
        }
        assert_eq!(shown(&li), scene.roll().await, "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_long_command() {
    let scene = Scene::open().await;
    let (li, wang) = (scene.phone("li.na").await, scene.phone("wang.fang").await);
    let card = li
        .create_card(
            "A1",
            &[put("sign_name", "王记包子"), put("road", "天平路")],
            now(),
        )
        .expect("saved")
        .record;
    for point in points(&[Way::Rebuild, Way::Trim, Way::Compact]) {
        let at = point.name();
        for n in 0..20 {
            li.edit(card, &[put("unit", &format!("{n} {at}"))], now())
                .expect("saved");
        }
        heal(&li, at).await;
        // The server beside it brings documents up to the log by itself.
        until("refreshed documents", async || {
            scene
                .office
                .count("select count(*) from record where seq > snapshot_seq")
                .await
                == 0
        })
        .await;
        let rows = scene.office.rows(&READ_MODELS).await;
        let mut command = Command::new(program_with_failpoints());
        match way(point) {
            Way::Rebuild => command.arg("rebuild"),
            Way::Trim => command.args(["compact", "--log-days=0"]),
            _ => command.args([
                "compact",
                "--log-days=0",
                "--street",
                HOME,
                "--record",
                &card.to_string(),
            ]),
        };
        command
            .args(["--log=off", "--database-url", &scene.url])
            .env_remove("DATABASE_URL")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let killed = command
            .env("LIANKA_ABORT_AT", at)
            .status()
            .expect("lianka runs");
        assert_eq!(killed.signal(), Some(SIGABRT), "{at} was reached");
        if way(point) != Way::Compact {
            assert_eq!(
                scene.office.rows(&READ_MODELS).await,
                rows,
                "{at}: readers saw nothing of it"
            );
        }
        assert_whole(&scene.office, at).await;
        assert!(
            command
                .env_remove("LIANKA_ABORT_AT")
                .status()
                .expect("lianka runs")
                .success(),
            "{at}: the second time it works"
        );
        assert_whole(&scene.office, at).await;
        for phone in [&li, &wang] {
            heal(phone, at).await;
            assert_eq!(
                shown(phone),
                scene.roll().await,
                "{at}: everybody sees the same"
            );
        }
    }
    assert!(
        scene
            .office
            .count("select count(*) from record where generation > 1")
            .await
            > 0,
        "compacted"
    );
}

/// A store whose audit trail began more than a year ago, with a draft of a transfer that nobody submitted in time.
async fn long_ago() -> (Office, RecordId) {
    let database = fresh_database().await;
    let test = TestApp::start_on(database, ServeConfig::for_tests(), 1).await;
    test.clock
        .advance_ms(Clock::System.now().unix_ms() - 400 * DAY_MS - START_UNIX_MS);
    let mut office = Office::on(test).await;
    office.street(HOME, "天平路街道").await;
    office.grid(HOME, "A1").await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    office.assign(HOME, "wang.fang", &["A1"]).await;
    seal::pass(&office.test.app.auth).await.expect("sealed");
    office.test.clock.advance_ms(355 * DAY_MS);
    office.admin = office.token("root").await;
    let mut phone = office.phone("wang.fang").await;
    let card = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.edit(
        card,
        &[
            put("unit", "201"),
            Edit::Note {
                text: "门口积水".into(),
            },
        ],
    );
    let fields = [
        ("kind", "transfer_request"),
        ("street", HOME),
        ("grid", "A1"),
        ("transfer_kind", "temporary"),
        ("member_alias", "老周"),
    ];
    let draft = phone.create_with(
        Kind::TransferRequest,
        "A1",
        &fields.map(|(key, value)| put(key, value)),
    );
    assert_eq!(phone.sync().await.codes(), ["accepted"; 3]);
    (office, draft)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_behind_the_scenes() {
    for point in points(&[Way::Alone]) {
        let at = point.name();
        let (office, draft) = long_ago().await;
        let url = office.test.database.url();
        Server::start(&url, Some((point, 1))).died(point).await;
        let half = "select count(*) from audit_event e where action = 'seal' and not exists
            (select from audit_seal s where (s.street, s.no) = (e.street, e.no))";
        assert_eq!(
            office.count(half).await,
            0,
            "{at}: a seal without its signature"
        );
        assert_whole(&office, at).await;

        let _server = Server::start(&url, None);
        until("the end of all passes", async || {
            let left = "select (select count(*) from record where seq > snapshot_seq)
                + (select count(*) from record where kind = 'transfer_request')
                + (select count(*) from audit_event where at < now() - interval '365 days' and action <> 'seal')
                + (select count(*) from audit_head h where not exists
                    (select from audit_seal s where s.street = h.street and s.at > now() - interval '1 day'))";
            office.count(left).await == 0
        })
        .await;
        assert_eq!(
            office
                .count("select count(*) from record where disputed_at is not null")
                .await,
            0,
            "{at}"
        );
        let receipts = format!("select count(*) from erasure where record = '{draft}'");
        let receipts: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(receipts))
            .fetch_one(&office.test.app.pool)
            .await
            .expect("a count");
        assert_eq!(receipts, 1, "{at}: the draft is erased once");
        assert_whole(&office, at).await;
    }
}
