//! The way back: a server one version older goes on, on today's schema, and today's server on a schema of tomorrow.

use axum::http::StatusCode;
use lianka_server::store;
use lianka_tests::{TestApp, fresh_database, frozen};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Either, Executor, SqlSafeStr, TypeInfo};

use super::{Frozen, bytes, released, versions};

/// Constraints and unique indexes that were put on tables which the release before writes too. Each says why that server never meets it.
const NEW_ON_OLD_TABLES: &[(&str, &str)] = &[(
    "custom_field_class_check",
    "it admits P2 beside P0 and P1; that server writes P1 and reads no class",
)];

/// What the release before reads by the place of columns, so that a further one shifts those behind it, and what that does to it.
const BY_PLACE: &[(&str, &str)] = &[(
    "c.*",
    "the roll's page (`GET …/cards`) up to 0.3.0: 500 from a server of before, once a card has a further column; docs/upgrades.md says so",
)];

fn release_before() -> String {
    versions().pop().expect("a release")
}

#[tokio::test]
async fn the_release_before_asks_nothing_that_todays_schema_answers_otherwise() {
    let version = release_before();
    let queries: Vec<Value> =
        serde_json::from_slice(&bytes(&version, "queries.json")).expect("JSON");
    assert!(queries.len() > 150, "the queries were not found");
    let database = fresh_database().await;
    let mut connection = database.options.connect().await.expect("a connection");
    let mut problems = Vec::new();
    for asked in &queries {
        let text = asked["query"].as_str().expect("a query");
        let now = match (&mut connection)
            .describe(AssertSqlSafe(text).into_sql_str())
            .await
        {
            Ok(now) => now,
            Err(error) => {
                problems.push(format!("{error}: {text}"));
                continue;
            }
        };
        let columns: Vec<_> = now
            .columns
            .iter()
            .map(|column| (column.name().to_owned(), type_of(column.type_info())))
            .collect();
        let then: Vec<_> = list(&asked["describe"]["columns"])
            .iter()
            .map(|column| (text_of(&column["name"]), type_then(&column["type_info"])))
            .collect();
        let by_place = BY_PLACE.iter().any(|(part, _)| text.contains(part));
        let only_more = || then.iter().all(|column| columns.contains(column));
        if columns != then && !(by_place && only_more()) {
            problems.push(format!("{text}\n    gave {then:?}\n    gives {columns:?}"));
        }
        let parameters: Vec<_> = match &now.parameters {
            Some(Either::Left(types)) => types.iter().map(type_of).collect(),
            _ => Vec::new(),
        };
        let then: Vec<_> = list(&asked["describe"]["parameters"]["Left"])
            .iter()
            .map(type_then)
            .collect();
        if parameters != then {
            problems.push(format!(
                "{text}\n    took {then:?}\n    takes {parameters:?}"
            ));
        }
        for (at, then) in list(&asked["describe"]["nullable"]).iter().enumerate() {
            if then == &Value::Bool(false) && now.nullable.get(at).copied().flatten() == Some(true)
            {
                problems.push(format!("{text}\n    column {at} was never null"));
            }
        }
    }
    super::nothing_lost(&version, "its queries", &problems);
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Both as one spelling: sqlx notes `TextArray` and says `TEXT[]`.
fn type_then(value: &Value) -> String {
    match value {
        Value::String(name) => name.to_ascii_lowercase().replace("array", "[]"),
        other => other.to_string(),
    }
}

fn type_of(info: &sqlx::postgres::PgTypeInfo) -> String {
    info.name().to_ascii_lowercase()
}

#[tokio::test]
async fn nothing_that_the_release_before_relied_on_is_gone_or_stricter() {
    let version = release_before();
    let database = fresh_database().await;
    let mut connection = database.options.connect().await.expect("a connection");
    let now = frozen::catalogue(&mut connection)
        .await
        .expect("the catalogue");
    let then = String::from_utf8(bytes(&version, "schema")).expect("text");
    let then: Vec<_> = then.lines().collect();
    let column = |line: &str| {
        line.strip_prefix("column ")
            .map(|rest| rest.split(' ').next().unwrap_or_default().to_owned())
    };
    let tables: Vec<_> = then
        .iter()
        .filter_map(|line| {
            column(line)?
                .split_once('.')
                .map(|(table, _)| table.to_owned())
        })
        .collect();
    let mut problems = Vec::new();
    for line in &then {
        // An index may go, and a column take null or a default where it had none; what is written and read must stay.
        if let Some(name) = column(line)
            && !now.iter().any(|new| column(new).as_ref() == Some(&name))
        {
            problems.push(format!("gone: {line}"));
        }
    }
    for line in now.iter().filter(|line| !then.contains(&line.as_str())) {
        let about_old = |name: &str| tables.iter().any(|table| name == table);
        let stricter = if let Some(name) = column(line) {
            let (table, _) = name.split_once('.').unwrap_or_default();
            let mut words = line.split(' ').rev();
            // … <type> <nullable> <default>
            let without_default = line.ends_with(' ');
            let never_null = words.nth(1) == Some("NO");
            about_old(table) && never_null && without_default
        } else if let Some(rest) = line.strip_prefix("constraint ") {
            rest.split(' ').next().is_some_and(about_old)
        } else {
            line.starts_with("index CREATE UNIQUE")
                && line
                    .split(" ON public.")
                    .nth(1)
                    .and_then(|rest| rest.split(' ').next())
                    .is_some_and(about_old)
        };
        if stricter
            && !NEW_ON_OLD_TABLES
                .iter()
                .any(|(known, _)| line.contains(known))
        {
            problems.push(format!("stricter: {line}"));
        }
    }
    super::nothing_lost(&version, "its schema", &problems);
}

#[tokio::test]
async fn the_migrations_that_0_2_0_reads_of_are_its_own() {
    let database = fresh_database().await;
    let noted: Vec<String> = sqlx::query_scalar(
        "select version || ' ' || encode(checksum, 'hex') from _sqlx_migrations order by version",
    )
    .fetch_all(&database.pool)
    .await
    .expect("noted");
    let then = Frozen::of("0.2.0").database().await;
    let then: Vec<String> = sqlx::query_scalar(
        "select version || ' ' || encode(checksum, 'hex') from _sqlx_migrations order by version",
    )
    .fetch_all(&then.pool)
    .await
    .expect("noted");
    // It refuses to start where there is one more.
    assert_eq!(noted, then);
    assert_eq!(noted.len(), frozen::files_until(&released(), "0.2.0").len());
}

#[tokio::test]
async fn a_server_runs_on_a_schema_of_the_version_after_it() {
    let database = fresh_database().await;
    sqlx::raw_sql(
        "create table visit (street text not null references street, visit uuid not null, primary key (street, visit));
         alter table record add column visited_at timestamptz;
         insert into _lianka_migrations (version, description, success, checksum, execution_time) values (29991231000001, 'create visits', true, '', 0)",
    )
    .execute(&database.pool)
    .await
    .expect("a migration of tomorrow");
    store::migrate(&database.pool).await.expect("passed over");
    let test =
        TestApp::start_on(database, lianka_server::config::ServeConfig::for_tests(), 1).await;
    assert_eq!(
        test.request("GET", "/readyz", None, None).await.status,
        StatusCode::OK
    );
    // What is not whole is told, and not passed over.
    sqlx::raw_sql("update _lianka_migrations set success = false where version = 29991231000001")
        .execute(&test.app.pool)
        .await
        .expect("broken off");
    assert!(store::migrate(&test.app.pool).await.is_err());
}
