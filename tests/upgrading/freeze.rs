//! Freezes a version: its database, its phones, what both say of every record, and what the phones say next.
//!
//! In: the version's programs. Out, compressed, in one folder: `database` ([`frozen`]), `schema` (everything that it consists of), `phones/…`
//! (their files), `said` (what desks and phones answered, as JSON), `line` (the next synchronisation of every phone, byte for byte, and what the
//! office shows after it). tests/upgrades.rs reads them; nobody edits them.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use lianka_tests::frozen;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use crate::{
    days::{self, Fleet},
    desk::Desks,
    line::Line,
    stage::{Phone, Server, lianka},
};

/// Strongest level that is not slow.
const LEVEL: i32 = 19;
/// Background passes run every few seconds.
const PASS_TIME_MAX: Duration = Duration::from_mins(1);

/// `queries`: the version's folder `.sqlx`, what its server asks and what it expects to get.
pub async fn freeze(
    programs: &Path,
    queries: &Path,
    version: &str,
    out: &Path,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    fs::create_dir(&data)?;
    let line = Line::open().await?;
    let server = Server::start(programs, &data).await?;
    line.lead_to(&server.url);
    lianka(
        programs,
        &data,
        &[
            "admin",
            "create",
            "--username",
            "admin",
            "--display-name",
            "总管",
        ],
        &Desks::password(),
    )
    .await?;
    let mut desks = Desks::open(&line.url(), "admin").await?;
    let mut fleet = days::open(&mut desks, &line.url(), programs, folder.path()).await?;
    days::first(&desks, &line, &mut fleet).await?;
    if days::is_later(version) {
        days::later(&desks, &fleet).await?;
    }
    days::lost(&desks, &fleet).await?;
    // A server that starts seals the chains that have grown, and one that runs brings the documents up to the log.
    server.stop().await?;
    let server = Server::start(programs, &data).await?;
    line.lead_to(&server.url);
    let mut database = server.database().await?;
    none(
        &mut database,
        "select count(*) from record where seq > snapshot_seq",
    )
    .await?;
    if days::is_later(version) {
        none(
            &mut database,
            "select count(*) from audit_head where street not in (select street from audit_seal)",
        )
        .await?;
    }
    // One more edit reaches the office, so that a document lags behind its log.
    let wang = fleet.get("wang.fang")?;
    wang.set(&wang.card("周记馄饨").await?, &["unit=底层"])
        .await?;
    wang.sync().await?;
    days::leave_unsent(&fleet, days::is_later(version)).await?;

    // For a phone that enrols after everything was frozen.
    let code = desks.code("li.na").await?;
    let said = json!({
        "version": version,
        "frozen_at_ms": now_ms(&mut database).await?,
        "phones": phones_say(&fleet).await?,
        "office": office_says(&desks, version).await?,
    });
    let (text, schema) = (
        frozen::dump(&mut database).await?,
        frozen::catalogue(&mut database).await?,
    );
    let _ = fs::remove_dir_all(out);
    fs::create_dir_all(out.join("phones"))?;
    for (name, phone) in &fleet.phones {
        // Closed by its last user, so that everything is in the one file.
        ensure!(
            !phone.file.with_extension("db-wal").exists(),
            "the file of {name} is still open"
        );
        keep(
            &out.join(format!("phones/{name}.db")),
            &fs::read(&phone.file)?,
        )?;
    }
    keep(&out.join("database"), text.as_bytes())?;
    keep(
        &out.join("queries.json"),
        &serde_json::to_vec_pretty(&asked(queries)?)?,
    )?;
    keep(&out.join("schema"), schema.join("\n").as_bytes())?;
    keep(&out.join("said.json"), &serde_json::to_vec_pretty(&said)?)?;

    let mut conversations = Vec::new();
    for (name, phone) in &fleet.phones {
        line.record();
        let told = phone.sync().await;
        conversations
            .push(json!({ "phone": name, "exchanges": line.recorded(), "wiped": told.is_err() }));
    }
    let new = Phone::new(programs, &folder.path().join("new.db"));
    line.record();
    new.enrol(&line.url(), &code).await?;
    new.sync().await?;
    conversations.push(json!({ "phone": "new", "exchanges": line.recorded(), "wiped": false }));
    fleet.phones.push(("new", new));
    let after = json!({ "conversations": conversations, "phones": phones_say(&fleet).await?, "office": office_says(&desks, version).await? });
    keep(&out.join("line.json"), &serde_json::to_vec_pretty(&after)?)?;
    drop(database);
    server.stop().await?;
    println!("{version} is frozen in {}", out.display());
    Ok(())
}

/// What sqlx noted of every query, in the order of their texts.
fn asked(folder: &Path) -> anyhow::Result<Vec<Value>> {
    let mut every = Vec::new();
    for entry in fs::read_dir(folder)? {
        let asked: Value = serde_json::from_slice(&fs::read(entry?.path())?)?;
        every.push(json!({ "query": asked["query"], "describe": asked["describe"] }));
    }
    ensure!(!every.is_empty(), "no query in {}", folder.display());
    every.sort_by(|one, other| one["query"].as_str().cmp(&other["query"].as_str()));
    Ok(every)
}

fn keep(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".zst");
    Ok(fs::write(name, zstd::encode_all(bytes, LEVEL)?)?)
}

async fn now_ms(database: &mut PgConnection) -> anyhow::Result<i64> {
    Ok(
        sqlx::query_scalar("select (extract(epoch from now()) * 1000)::bigint")
            .fetch_one(database)
            .await?,
    )
}

/// Waits until a query counts none.
pub async fn none(database: &mut PgConnection, count: &'static str) -> anyhow::Result<()> {
    let mut poll = tokio::time::interval(Duration::from_millis(200));
    let done = async {
        loop {
            poll.tick().await;
            let left: i64 = sqlx::query_scalar(count).fetch_one(&mut *database).await?;
            if left == 0 {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(PASS_TIME_MAX, done)
        .await
        .with_context(|| format!("some are left: {count}"))?
}

/// What the phones show, by phone.
pub async fn phones_say(fleet: &Fleet) -> anyhow::Result<Value> {
    let mut all = Map::new();
    for (name, phone) in &fleet.phones {
        let Ok(cards) = phone.json(&["cards"]).await else {
            all.insert((*name).to_owned(), Value::Null);
            continue;
        };
        let mut records = Map::new();
        for card in cards.as_array().into_iter().flatten() {
            let id = card["record"].as_str().context("a card without an id")?;
            // A record whose refused edit was not written anew yet cannot be shown: the phone whose answer broke off.
            records.insert(
                id.to_owned(),
                phone.json(&["show", id]).await.unwrap_or_default(),
            );
        }
        let mut said = Map::from_iter([
            ("cards".to_owned(), cards),
            ("records".to_owned(), Value::Object(records)),
        ]);
        // Not every version has them all.
        for (what, arguments) in [
            ("drafts", &["drafts"][..]),
            ("outbox", &["outbox"]),
            ("notices", &["notices"]),
            ("status", &["status"]),
            ("transfers", &["transfer", "list"]),
        ] {
            if let Ok(answer) = phone.json(arguments).await {
                said.insert(what.to_owned(), answer);
            }
        }
        all.insert((*name).to_owned(), Value::Object(said));
    }
    Ok(Value::Object(all))
}

/// What the office shows, by who asks and what for.
pub async fn office_says(desks: &Desks, version: &str) -> anyhow::Result<Value> {
    let mut all = Map::new();
    let cards = desks.read("chen.jie", "cards").await?;
    for card in cards.as_array().into_iter().flatten() {
        let id = card["record"].as_str().context("a card without an id")?;
        for path in [format!("records/{id}"), format!("records/{id}/history")] {
            all.insert(
                format!("chen.jie {path}"),
                desks.read("chen.jie", &path).await?,
            );
        }
    }
    all.insert("chen.jie cards".into(), cards);
    let mut paths = vec![
        ("admin", "grids"),
        ("admin", "roads"),
        ("admin", "/v1/users"),
        ("admin", "/v1/devices"),
        ("admin", "assignments/zhao.min"),
    ];
    if days::is_later(version) {
        paths.extend([
            ("chen.jie", "cards?merged=true"),
            ("chen.jie", "conflicts"),
            ("chen.jie", "resolutions"),
            ("chen.jie", "duplicates"),
            ("chen.jie", "duplicates?dismissed=true"),
            ("chen.jie", "merges"),
            ("chen.jie", "held"),
            ("chen.jie", "held?status=accepted"),
            ("chen.jie", "held?status=refused"),
            ("chen.jie", "transfers?state=all"),
            ("zhou.qi", "transfers?state=all"),
            ("xu.lan", "erasures"),
            ("xu.lan", "audit"),
            ("xu.lan", "audit/verify"),
        ]);
    }
    for (who, path) in paths {
        all.insert(format!("{who} {path}"), desks.read(who, path).await?);
    }
    if days::is_later(version) {
        let listed = all
            .get("zhou.qi transfers?state=all")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for id in listed
            .iter()
            .filter_map(|transfer| transfer["record"].as_str())
        {
            let path = format!("transfers/{id}");
            all.insert(
                format!("zhou.qi {path}"),
                desks.read("zhou.qi", &path).await?,
            );
        }
    }
    Ok(Value::Object(all))
}
