//! The server, or its Postgres, is killed while an import is written and while it is taken back. Asked again, each goes on: every row is written once, told
//! once, taken back once, and phones that write the same cards meanwhile lose nothing.

use std::time::Duration;

use lianka_client::phone::Phone;
use lianka_server::{config::ServeConfig, pipeline_point::PipelinePoint, store::waits::Waits};
use lianka_sync_core::id::RecordId;
use lianka_tests::TestApp;
use serde_json::{Value, json};

use super::{
    assert_whole, assert_without_gap,
    cluster::Cluster,
    points::{Scene, Way, heal, now, points},
    process::Server,
    until,
};
use crate::{
    scene::{Desk, shown},
    sync::phone::{HOME, Office, put, text},
};

/// One more part than one.
const CARDS: usize = 505;
const PART: i64 = 500;

/// The lines of a file of delimited text.
fn table(file: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file));
    let rows = reader.records();
    rows.map(|row| row.expect("a row").iter().map(str::to_owned).collect())
        .collect()
}

fn file(rows: &[Vec<String>]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("it is written");
    }
    writer.into_inner().expect("it is written")
}

fn new_shops(prefix: &str, count: usize) -> Vec<u8> {
    let headings = vec![
        "店招".to_owned(),
        "门牌号".to_owned(),
        "营业时间".to_owned(),
    ];
    let rows = (1..=count).map(|n| {
        vec![
            format!("{prefix}{n}"),
            format!("{n}"),
            "8:00-20:00".to_owned(),
        ]
    });
    file(&std::iter::once(headings).chain(rows).collect::<Vec<_>>())
}

/// The roll as an export, with one column typed over in every row.
async fn typed_over(admin: &Desk, heading: &str, value: impl Fn(usize) -> String) -> Vec<u8> {
    let mut rows = table(&admin.ask("cards.csv").await.body);
    let at = rows[0].iter().position(|of| of == heading);
    let at = at.expect("the column");
    for (n, row) in rows.iter_mut().skip(1).enumerate() {
        row[at] = value(n);
    }
    file(&rows)
}

/// What is asked of an import.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Apply,
    Undo,
}

impl Doing {
    fn word(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Undo => "undo",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Apply => "applied",
            Self::Undo => "undone",
        }
    }
}

/// Rows of an import in a state.
async fn rows(office: &Office, import: &str, state: &str) -> i64 {
    number(
        office,
        &format!(
            "select count(*) from roll_import_row where import = '{import}' and state = '{state}'"
        ),
    )
    .await
}

async fn number(office: &Office, statement: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .fetch_one(&office.test.app.pool)
        .await
        .expect("a number")
}

/// Asks the server's process until it says that it is done.
async fn ask_until_done(server: &Server, token: &str, import: &str, doing: Doing) -> Value {
    let path = format!("/v1/streets/{HOME}/imports/{import}/{}", doing.word());
    for _ in 0..100 {
        let asked = server.call("POST", &path, token, &json!({})).await;
        let (status, report) = asked.expect("an answer");
        assert_eq!(status, 200, "{report}");
        if report["status"] == doing.done() {
            return report;
        }
    }
    panic!("it is never done");
}

/// Every row is written by one change of the log, and told once.
async fn assert_written_once(office: &Office, import: &str, count: i64, after: &str) {
    let changes = format!(
        "select count(*) from roll_import_row r join change_log l on l.street = r.street and l.record = r.record and l.hash = r.hash
         where r.import = '{import}'"
    );
    assert_eq!(
        number(office, &changes).await,
        count,
        "{after}: one change a row"
    );
    let told = format!(
        "select count(*) from audit_event e, jsonb_array_elements(e.detail::jsonb->'rows') told
         where e.action = 'import' and e.detail::jsonb->>'import' = '{import}' and jsonb_typeof(e.detail::jsonb->'rows') = 'array'"
    );
    assert_eq!(
        number(office, &told).await,
        count,
        "{after}: told once a row"
    );
}

/// Cards whose values a phone writes while the server is away.
struct Meanwhile {
    cards: Vec<RecordId>,
    times: usize,
}

impl Meanwhile {
    /// Writes a field that the import has nothing to do with, and once that very field.
    fn write(&mut self, phone: &Phone) {
        self.times += 1;
        let n = self.times;
        for card in &self.cards {
            phone
                .edit(*card, &[put("unit", &format!("{n}室"))], now())
                .expect("saved");
        }
        phone
            .edit(
                self.cards[0],
                &[put("legal_name", &format!("手机{n}"))],
                now(),
            )
            .expect("saved");
    }

    /// Both are there: what the phone wrote, and what the import wrote beside it.
    async fn assert_there(&self, admin: &Desk, after: &str) {
        let n = self.times;
        for card in &self.cards {
            assert_eq!(
                admin.values(*card, "unit").await,
                [format!("{n}室")],
                "{after}"
            );
        }
        let names = admin.values(self.cards[0], "legal_name").await;
        assert!(names.contains(&format!("手机{n}")), "{after}: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_of_an_import() {
    let mut scene = Scene::open().await;
    let mut li = scene.phone("li.na").await;
    let admin = scene.office.admin();
    let token = scene.office.admin.clone();
    let proposal = admin
        .import("?grid=A1&dry_run=false", new_shops("店", CARDS))
        .await;
    assert_eq!(proposal["status"], "applied", "{proposal}");
    heal(&li, "before").await;
    let mut cards = li.records().expect("readable");
    cards.sort();
    cards.truncate(3);
    let mut meanwhile = Meanwhile { cards, times: 0 };
    // The points of every write of a street, in the part that comes last; and those of imports, in either.
    let of_writes = [
        PipelinePoint::RecordsWritten,
        PipelinePoint::Audited,
        PipelinePoint::Committed,
    ];
    let of_imports = points(&[Way::Import]).into_iter();
    let both = of_imports.flat_map(|point| match point {
        PipelinePoint::ImportMarked => vec![(point, 1)],
        _ => vec![(point, 1), (point, 2)],
    });
    let all: Vec<_> = both.chain(of_writes.map(|point| (point, 2))).collect();
    for (n, (point, nth)) in all.into_iter().enumerate() {
        let at = format!("{}:{nth}", point.name());
        // A sheet of ours whose every row was changed.
        let sheet = typed_over(&admin, "登记名称", |row| format!("公司{n}.{row}")).await;
        let proposal = admin.import("", sheet).await;
        let import = text(&proposal["import"]);
        assert_eq!(proposal["outcomes"]["update"], CARDS, "{at}: {proposal}");
        for doing in [Doing::Apply, Doing::Undo] {
            let at = format!("{at} of {}", doing.word());
            // The phone writes what the sheet writes too: before the one, and after it.
            meanwhile.write(&li);
            scene.restart(Some((point, nth)), &mut [&mut li]);
            let path = format!("imports/{import}/{}", doing.word());
            assert_eq!(
                scene.post(&path, &json!({})).await,
                None,
                "{at}: nobody was told"
            );
            scene.server.died(point).await;

            scene.restart(None, &mut [&mut li]);
            // The phone comes between the parts.
            heal(&li, &at).await;
            assert_whole(&scene.office, &at).await;
            ask_until_done(&scene.server, &token, &import, doing).await;
            meanwhile.assert_there(&admin, &at).await;
            match doing {
                Doing::Apply => {
                    assert_eq!(
                        rows(&scene.office, &import, "written").await,
                        CARDS as i64,
                        "{at}"
                    );
                    assert_written_once(&scene.office, &import, CARDS as i64, &at).await;
                }
                Doing::Undo => {
                    let undone = rows(&scene.office, &import, "undone").await;
                    let kept = rows(&scene.office, &import, "kept").await;
                    // One of the names the phone wrote, before its row came or after.
                    assert_eq!(undone + kept, CARDS as i64, "{at}");
                    assert!(kept <= 1, "{at}: {kept}");
                    let left = "select count(*) from shop_card where legal_name like '公司%'";
                    assert!(number(&scene.office, left).await <= 1, "{at}");
                }
            }
            // Who asked for it; what each part took back is told beside.
            let asked_for = "select count(*) from audit_event where action = 'import_undo' and detail::jsonb->'rows' is null";
            let told = number(&scene.office, asked_for).await;
            let asked = n as i64 + i64::from(doing == Doing::Undo);
            assert_eq!(told, asked, "{at}: taken back once");
            assert_without_gap(&scene.office, &at).await;
            assert_whole(&scene.office, &at).await;
            heal(&li, &at).await;
            assert_eq!(
                shown(&li),
                scene.roll().await,
                "{at}: everybody sees the same"
            );
        }
    }
}

/// Cards that a sheet made go with it, each once, whoever dies.
#[tokio::test(flavor = "multi_thread")]
async fn cards_that_an_import_made_are_made_once_and_go_once() {
    let mut scene = Scene::open().await;
    let token = scene.office.admin.clone();
    let admin = scene.office.admin();
    for point in points(&[Way::Import]) {
        let at = point.name();
        let proposal = admin
            .import("?grid=A1", new_shops(at, PART as usize + 2))
            .await;
        let import = text(&proposal["import"]);
        for doing in [Doing::Apply, Doing::Undo] {
            scene.restart(Some((point, 1)), &mut []);
            let path = format!("imports/{import}/{}", doing.word());
            assert_eq!(
                scene.post(&path, &json!({})).await,
                None,
                "{at}: nobody was told"
            );
            scene.server.died(point).await;
            scene.restart(None, &mut []);
            ask_until_done(&scene.server, &token, &import, doing).await;
            let cards = number(&scene.office, "select count(*) from shop_card").await;
            let receipts = format!(
                "select count(*) from erasure e join roll_import_row r on r.record = e.record where r.import = '{import}'"
            );
            let receipts = number(&scene.office, &receipts).await;
            match doing {
                Doing::Apply => {
                    assert_written_once(&scene.office, &import, PART + 2, at).await;
                    assert_eq!((cards, receipts), (PART + 2, 0), "{at}");
                }
                Doing::Undo => {
                    let undone = rows(&scene.office, &import, "undone").await;
                    // They leave, and are not erased: no receipt.
                    assert_eq!((cards, receipts, undone), (0, 0, PART + 2), "{at}");
                }
            }
            assert_whole(&scene.office, at).await;
        }
    }
}

/// Server or Postgres, killed as soon as a part of the rows is there.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_parts_of_an_import() {
    let cluster = Cluster::start(&[]).await;
    let mut config = ServeConfig::for_tests();
    config.store.waits = Waits {
        acquire: Duration::from_secs(5),
        ..Waits::of_statement(Duration::from_secs(10))
    };
    let office = Office::on(TestApp::start_elsewhere_today(cluster.options(), config).await).await;
    office.street(HOME, "天平路街道").await;
    office.grid(HOME, "A1").await;
    between_parts(cluster, office).await;
}

async fn between_parts(mut cluster: Cluster, office: Office) {
    let admin = office.admin();
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let count = 3 * PART as usize;
    let proposal = admin.import("?grid=A1", new_shops("店", count)).await;
    let import = text(&proposal["import"]);
    let url = url_of(&cluster);
    let mut server = Server::start(&url, None);
    let mut before = 0;
    for (doing, state) in [(Doing::Apply, "written"), (Doing::Undo, "undone")] {
        for kills_postgres in [false, true] {
            let path = format!("/v1/streets/{HOME}/imports/{import}/{}", doing.word());
            let (server_now, token) = (&server, office.admin.clone());
            let nothing = json!({});
            let asked = server_now.call("POST", &path, &token, &nothing);
            let import = &import;
            let some = async {
                until("a part", async || {
                    rows(&office, import, state).await > before
                })
                .await;
            };
            {
                let mut asked = std::pin::pin!(asked);
                let mut some = std::pin::pin!(some);
                tokio::select! {
                    () = &mut some => {}
                    _ = &mut asked => {}
                }
                // Whoever asked hears no more of it.
            }
            if kills_postgres {
                cluster.signal_all("KILL");
                cluster.ended().await;
            }
            // As by `kill -9`.
            server.child.kill().expect("it ran");
            server.child.wait().expect("it ends");
            if kills_postgres {
                cluster.run().await;
                let pool = &office.test.app.pool;
                until("a Postgres", async || {
                    sqlx::query("select 1").execute(pool).await.is_ok()
                })
                .await;
            }
            server = Server::start(&url, None);
            before = rows(&office, import, state).await;
            // A phone works with one of the cards between the parts.
            phone.sync().await;
        }
        ask_until_done(&server, &office.admin, &import, doing).await;
        if doing == Doing::Apply {
            assert_eq!(rows(&office, &import, "written").await, count as i64);
            assert_written_once(&office, &import, count as i64, "killed").await;
            phone.sync().await;
            let card = *phone.views().keys().next().expect("a card");
            phone.edit(card, &[put("unit", "201")]);
            phone.sync().await;
            before = 0;
        } else {
            // The card that somebody worked with stays.
            let undone = rows(&office, &import, "undone").await;
            let kept = rows(&office, &import, "kept").await;
            assert_eq!((undone, kept), (count as i64 - 1, 1));
            let cards = number(&office, "select count(*) from shop_card").await;
            assert_eq!(cards, 1);
        }
        assert_without_erased_gap(&office).await;
        assert_whole(&office, doing.word()).await;
    }
}

/// Numbers of erased records are in the log no more; nobody has one twice.
async fn assert_without_erased_gap(office: &Office) {
    let twice = "select count(*) - count(distinct seq) from change_log";
    assert_eq!(number(office, twice).await, 0);
}

fn url_of(cluster: &Cluster) -> String {
    use sqlx::ConnectOptions;
    cluster.options().to_url_lossy().to_string()
}
