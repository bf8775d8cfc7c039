//! Frozen databases: what stood in them stands in them after today's migrations, and today's office shows it.

use lianka_server::{
    store,
    street::projection as project,
    upkeep::{refresh, sealing as seal},
};
use lianka_sync_core::{crdt::merge::RegisterState, id::StreetCode};
use lianka_tests::frozen;
use serde_json::Value;
use sqlx::ConnectOptions;

use super::{Frozen, STREET, Upgraded, bytes, lost, nothing_lost};

/// Read models whose rows newer versions make otherwise, each with the columns that did not exist or meant less; `lianka rebuild` fills them.
const REBUILT: &[(&str, &[&str])] = &[("shop_card", &["search"])];

fn street() -> StreetCode {
    STREET.parse().expect("a street")
}

#[tokio::test]
async fn the_migrations_make_what_the_old_program_made() {
    for frozen in Frozen::every() {
        let database = frozen.database().await;
        let mut connection = database.options.connect().await.expect("a connection");
        let catalogue = frozen::catalogue(&mut connection)
            .await
            .expect("the catalogue")
            .join("\n");
        let then = String::from_utf8(bytes(&frozen.version, "schema")).expect("text");
        let (then, now): (Vec<_>, Vec<_>) = (then.lines().collect(), catalogue.lines().collect());
        let problems: Vec<_> = then
            .iter()
            .filter(|line| !now.contains(line))
            .chain(now.iter().filter(|line| !then.contains(line)))
            .collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", frozen.version);
    }
}

/// Every table with its columns, as `select` takes them.
async fn tables(upgraded: &Upgraded) -> Vec<(String, String)> {
    let mut tables = Vec::new();
    let query =
        "select table_name || '|' || string_agg(quote_ident(column_name), ', ' order by ordinal_position) from information_schema.columns
        where table_schema = 'public' group by table_name order by table_name";
    for line in upgraded.rows(query.into()).await {
        let (table, columns) = line.split_once('|').expect("a bar");
        tables.push((table.to_owned(), columns.to_owned()));
    }
    tables
}

async fn rows(upgraded: &Upgraded, (table, columns): &(String, String)) -> Vec<String> {
    upgraded
        .rows(format!(
            "select t::text from (select {columns} from {table}) t order by t::text collate \"C\""
        ))
        .await
}

#[tokio::test]
async fn every_row_survives_the_migrations_as_it_was() {
    for frozen in Frozen::every() {
        let old = Upgraded::over(frozen.database().await).await;
        let tables = tables(&old).await;
        let mut before = Vec::new();
        for table in &tables {
            before.push(rows(&old, table).await);
        }
        assert!(
            before.iter().map(Vec::len).sum::<usize>() > 100,
            "{}: the rows were not found",
            frozen.version
        );
        store::migrate(&old.test.app.pool)
            .await
            .expect("brought up to date");
        // Twice is as good as once.
        store::migrate(&old.test.app.pool)
            .await
            .expect("brought up to date");
        for (table, before) in tables.iter().zip(before) {
            let mut after = rows(&old, table).await;
            if table.0.starts_with('_') {
                // What the migrations are noted in has their notes beside the old ones.
                after.retain(|row| before.contains(row));
            }
            assert_eq!(after, before, "{}: {}", frozen.version, table.0);
        }
    }
}

#[tokio::test]
async fn the_office_shows_what_it_showed() {
    for frozen in Frozen::every() {
        let mut upgraded = frozen.upgraded(0).await;
        let said = frozen.said["office"]
            .as_object()
            .expect("what the office showed");
        assert!(said.len() > 20);
        let mut problems = Vec::new();
        for (asked, old) in said {
            let (username, path) = asked.split_once(' ').expect("who and what");
            if path == "audit/verify" {
                continue;
            }
            let mut new = upgraded.read(username, path).await;
            if path == "audit" || path == "/v1/devices" {
                // Looking itself is told there, and so are today's desks.
                new = those_of(old, &new, if path == "audit" { "no" } else { "device_id" });
            }
            problems.extend(lost(old, &new, asked, &["troubles"]));
            // Since 0.2.0 sensitive values are not shown where 0.1.0 showed them; phones and registers have them.
            problems.retain(|problem| !problem.ends_with("became \"●●●\""));
        }
        nothing_lost(&frozen.version, "the office", &problems);
    }
}

/// The items of `new` that are items of `old`, in its order.
fn those_of(old: &Value, new: &Value, id: &str) -> Value {
    let new = new.as_array().expect("a list");
    let same = |item: &Value| {
        new.iter()
            .find(|other| other[id] == item[id])
            .cloned()
            .unwrap_or_default()
    };
    old.as_array().expect("a list").iter().map(same).collect()
}

#[tokio::test]
async fn read_models_equal_their_rebuild_and_no_document_is_disputed() {
    for frozen in Frozen::every() {
        let upgraded = frozen.upgraded(0).await;
        let pool = &upgraded.test.app.pool;
        let old = Upgraded::over(frozen.database().await).await;
        let models: Vec<_> = tables(&old)
            .await
            .into_iter()
            .filter(|(table, _)| is_read_model(table))
            .map(shown)
            .collect();
        assert!(models.len() >= 6, "the read models were not found");
        let mut before = Vec::new();
        for model in &models {
            before.push(rows(&upgraded, model).await);
        }
        let done = project::rebuild(pool, &street(), |_| ())
            .await
            .expect("rebuilt");
        assert!(done > 10);
        for (model, before) in models.iter().zip(before) {
            assert_eq!(
                rows(&upgraded, model).await,
                before,
                "{}: {}",
                frozen.version,
                model.0
            );
        }
        // What a rebuild of today makes, today's rebuild makes again.
        let every: Vec<_> = tables(&upgraded)
            .await
            .into_iter()
            .filter(|(table, _)| is_read_model(table))
            .collect();
        let mut once = Vec::new();
        for model in &every {
            once.push(rows(&upgraded, model).await);
        }
        project::rebuild(pool, &street(), |_| ())
            .await
            .expect("rebuilt");
        for (model, once) in every.iter().zip(once) {
            assert_eq!(
                rows(&upgraded, model).await,
                once,
                "{}: {}",
                frozen.version,
                model.0
            );
        }

        let mut refreshed = 0;
        loop {
            let pass = refresh::pass(pool, &upgraded.test.clock)
                .await
                .expect("a pass");
            assert_eq!(pass.disputed, 0, "{}", frozen.version);
            refreshed += pass.refreshed;
            if pass.refreshed == 0 {
                break;
            }
        }
        assert!(
            refreshed > 0,
            "{}: no document was behind its log",
            frozen.version
        );
    }
}

fn is_read_model(table: &str) -> bool {
    crate::sync::phone::READ_MODELS.contains(&table)
}

/// A read model without the columns that only a rebuild fills.
fn shown((table, columns): (String, String)) -> (String, String) {
    let passed_over = REBUILT
        .iter()
        .find(|(name, _)| *name == table)
        .map_or(&[][..], |(_, columns)| columns);
    let columns = columns
        .split(", ")
        .filter(|column| !passed_over.contains(column))
        .collect::<Vec<_>>()
        .join(", ");
    (table, columns)
}

#[tokio::test]
async fn register_states_of_every_encoding_are_read_and_say_the_same() {
    let mut encodings = std::collections::BTreeSet::new();
    for frozen in Frozen::every() {
        let database = frozen.database().await;
        let states: Vec<Vec<u8>> = sqlx::query_scalar("select state from record")
            .fetch_all(&database.pool)
            .await
            .expect("the states");
        assert!(states.len() > 10);
        for bytes in states {
            encodings.insert(bytes[0]);
            let state = RegisterState::from_bytes(&bytes).expect("an old state is read");
            let again =
                RegisterState::from_bytes(&state.to_bytes()).expect("today's state is read");
            assert_eq!(state, again);
        }
    }
    assert_eq!(
        encodings.into_iter().collect::<Vec<_>>(),
        [1, 2],
        "every encoding that was ever stored"
    );
}

#[tokio::test]
async fn the_audit_trail_holds_and_goes_on() {
    for frozen in Frozen::every() {
        let mut upgraded = frozen.upgraded(0).await;
        let then = &frozen.said["office"]["xu.lan audit/verify"];
        for path in ["audit/verify", "/v1/audit/verify"] {
            let who = if path.starts_with('/') {
                "admin"
            } else {
                "xu.lan"
            };
            let proof = upgraded.read(who, path).await;
            assert_eq!(proof["ok"], true, "{}: {proof}", frozen.version);
        }
        // The old proof is an anchor of the new one.
        if let (Some(no), Some(hash)) = (then["last"].as_i64(), then["hash"].as_str()) {
            let proof = upgraded
                .read("xu.lan", &format!("audit/verify?anchor={no}:{hash}"))
                .await;
            assert_eq!(proof["ok"], true, "{}: {proof}", frozen.version);
        }
        // Sealed anew by the key that was frozen, or its successor.
        upgraded.test.clock.advance_ms(2 * super::DAY_MS);
        let card = upgraded.read("chen.jie", "cards").await[0]["record"]
            .as_str()
            .expect("a card")
            .to_owned();
        let edit = serde_json::json!({ "set": { "unit": "新室" } });
        let answer = upgraded
            .call(
                "chen.jie",
                "POST",
                &format!("records/{card}/edits"),
                Some(&edit),
            )
            .await;
        assert!(answer.status.is_success(), "{}", answer.json);
        assert!(
            seal::pass(&upgraded.test.app.auth)
                .await
                .expect("a pass")
                .sealed
                >= 1
        );
        upgraded.tokens.clear();
        let proof = upgraded.read("xu.lan", "audit/verify").await;
        assert_eq!(
            (
                &proof["ok"],
                proof["seals"].as_u64() > then["seals"].as_u64()
            ),
            (&Value::Bool(true), true),
            "{}: {proof}",
            frozen.version
        );
        // And a change of the past still shows.
        sqlx::raw_sql("update audit_event set detail = replace(detail, 'change', 'charge') where street = '310104003'")
            .execute(&upgraded.test.app.pool)
            .await
            .expect("forged");
        assert_eq!(upgraded.read("xu.lan", "audit/verify").await["ok"], false);
    }
}
