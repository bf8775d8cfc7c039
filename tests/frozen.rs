//! A database as text, and back: how a release's database is frozen, and how a test gets it again.
//!
//! In: a connection, or the text. Out: the text (every table's rows in Postgres' own copy format, in a stable order), the same rows in an empty
//! database, and a listing of everything that the schema consists of. Decides nothing about what the rows mean.
//!
//! Invariant: what [`dump`] writes and [`restore`] reads is the same rows, byte for byte, whatever the version of either Postgres.

use std::{fmt::Write, fs, path::Path};

use bytes::Bytes;
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection};

/// Where releases are frozen, from the root of the repository.
pub const FOLDER: &str = "tests/fixtures/upgrades";
/// What sqlx makes for itself; no migration does.
const NOTED_MIGRATIONS: &str =
    "(version bigint primary key, description text not null, installed_on timestamp with time zone not null default now(),
    success boolean not null, checksum bytea not null, execution_time bigint not null)";

/// Every row of every table.
pub async fn dump(connection: &mut PgConnection) -> sqlx::Result<String> {
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, string_agg(quote_ident(a.attname), ', ' order by a.attnum)
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
         where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace group by c.relname order by c.relname",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut text = String::new();
    for (table, columns) in tables {
        let copy = format!(
            "copy (select {columns} from {table} t order by t::text collate \"C\") to stdout"
        );
        let rows: Vec<Bytes> = connection.copy_out_raw(&copy).await?.try_collect().await?;
        let _ = writeln!(text, "copy {table} ({columns}) from stdin");
        for row in rows {
            text.push_str(&String::from_utf8_lossy(&row));
        }
        text.push_str("\\.\n");
    }
    Ok(text)
}

/// Brings an empty database to what `text` holds: the migrations of the release (`released`: migrations/released.txt), then the rows.
pub async fn restore(
    connection: &mut PgConnection,
    migrations: &Path,
    released: &str,
    version: &str,
    text: &str,
) -> sqlx::Result<()> {
    for file in files_until(released, version) {
        run(connection, fs::read_to_string(migrations.join(file))?).await?;
    }
    for table in ["_sqlx_migrations", "_lianka_migrations"]
        .into_iter()
        .filter(|table| text.contains(&format!("copy {table} (")))
    {
        run(
            connection,
            format!("create table {table} {NOTED_MIGRATIONS}"),
        )
        .await?;
    }
    // The rows come in the order of their tables' names, which foreign keys know nothing of.
    run(connection, "set session_replication_role = replica".into()).await?;
    for part in text
        .split_inclusive("\n\\.\n")
        .filter_map(|part| part.strip_suffix("\\.\n"))
    {
        let (copy, rows) = part.split_once('\n').unwrap_or((part, ""));
        let table = copy.split(' ').nth(1).unwrap_or_default();
        // Some migrations write a first row.
        run(connection, format!("delete from {table}")).await?;
        let mut into = connection.copy_in_raw(copy).await?;
        into.send(rows.as_bytes()).await?;
        into.finish().await?;
    }
    run(connection, "set session_replication_role = origin".into()).await
}

async fn run(connection: &mut PgConnection, statement: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
}

/// Names of the migrations up to and with those of a release.
pub fn files_until<'r>(released: &'r str, version: &str) -> Vec<&'r str> {
    let mut files = Vec::new();
    let mut wanted = false;
    for line in released.lines() {
        match (line.strip_prefix("# "), line.split_once("  ")) {
            (Some(heading), _) if heading.starts_with(|c: char| c.is_ascii_digit()) => {
                if wanted {
                    break;
                }
                wanted = heading == version;
            }
            (None, Some((_, file))) => files.push(file),
            _ => {}
        }
    }
    files
}

/// Everything that the schema consists of, a line each, sorted: columns, constraints and indexes.
pub async fn catalogue(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select line from (
            select format('column %s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default) as line
            from information_schema.columns where table_schema = 'public'
            union all
            select format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
            where connamespace = 'public'::regnamespace and contype <> 'n'
            union all
            select 'index ' || indexdef from pg_indexes where schemaname = 'public'
         ) every order by line collate \"C\"",
    )
    .fetch_all(connection)
    .await
}
