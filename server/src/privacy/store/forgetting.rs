//! SQL of forgetting on disk: which tables there are, and what Postgres does with their files and its log.
//!
//! The statements that rewrite are not compile-checked: they name tables that only the schema knows, or are no queries.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use time::OffsetDateTime;

/// How often to look whether Postgres has read its settings anew: five seconds in all.
const RELOAD_CHECKS_MAX: u32 = 500;
const RELOAD_CHECK_EVERY: Duration = Duration::from_millis(10);

/// A table with a file of its own.
#[derive(Debug)]
pub struct Table {
    /// Qualified and quoted as needed.
    pub name: String,
    pub filenode: Option<i64>,
    /// With its indexes and long values.
    pub bytes: i64,
    /// Of Postgres itself: the commonest values of every column stand in its statistics.
    pub is_statistics: bool,
}

/// Every table of the database, the small ones first and the statistics last.
pub async fn tables(conn: &mut PgConnection) -> sqlx::Result<Vec<Table>> {
    sqlx::query_as!(
        Table,
        r#"select c.oid::regclass::text as "name!", pg_relation_filenode(c.oid)::bigint as filenode,
                  pg_total_relation_size(c.oid) as "bytes!", n.nspname = 'pg_catalog' as "is_statistics!"
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where c.relkind in ('r', 'm') and c.relpersistence <> 't'
             and (n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
                  or c.oid in ('pg_catalog.pg_statistic'::regclass, 'pg_catalog.pg_statistic_ext_data'::regclass))
           order by 4, 3, 1"#
    )
    .fetch_all(conn)
    .await
}

/// The file that a table stands in now.
pub async fn filenode(conn: &mut PgConnection, table: &str) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "select pg_relation_filenode($1::text::regclass)::bigint",
        table
    )
    .fetch_one(conn)
    .await
}

/// Writes the table and its indexes anew, of the rows that there are.
pub async fn rewrite(conn: &mut PgConnection, table: &Table) -> sqlx::Result<()> {
    let what = if table.is_statistics {
        "full"
    } else {
        "full, analyze"
    };
    run(conn, format!("vacuum ({what}) {}", table.name)).await
}

/// Rewriting takes as long as it takes; a table that others hold is waited for a minute.
pub async fn lift_bounds(conn: &mut PgConnection) -> sqlx::Result<()> {
    run(
        conn,
        "set statement_timeout = 0; set lock_timeout = '60s'".into(),
    )
    .await
}

/// Transactions and slots for whose sake Postgres keeps what was deleted: open since before `began`.
pub async fn keepers(conn: &mut PgConnection, began: OffsetDateTime) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select 'a transaction of process ' || pid || ', open since ' || xact_start as "keeper!" from pg_stat_activity
           where pid <> pg_backend_pid() and datname = current_database() and backend_xmin is not null and xact_start < $1
           union all select 'the prepared transaction ' || gid from pg_prepared_xacts
           where database = current_database() and prepared < $1
           union all select 'the replication slot ' || slot_name from pg_replication_slots"#,
        began,
    )
    .fetch_all(conn)
    .await
}

/// Postgres' clock.
pub async fn clock(conn: &mut PgConnection) -> sqlx::Result<OffsetDateTime> {
    sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#)
        .fetch_one(conn)
        .await
}

/// Segments of the write-ahead log on disk.
pub async fn log_segments(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select name as "name!" from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$' order by 1"#
    )
    .fetch_all(conn)
    .await
}

/// Whether segments that are done with are used again, with their old content, or removed. Returns once Postgres has told its processes.
pub async fn recycle_log(conn: &mut PgConnection, again: bool) -> sqlx::Result<()> {
    let set = if again {
        "alter system reset wal_recycle"
    } else {
        "alter system set wal_recycle = off"
    };
    run(conn, set.into()).await?;
    run(conn, "select pg_reload_conf()".into()).await?;
    for _ in 0..RELOAD_CHECKS_MAX {
        let recycles =
            sqlx::query_scalar!(r#"select current_setting('wal_recycle')::bool as "recycles!""#);
        // What it is by default is the cluster's own affair.
        if again || !recycles.fetch_one(&mut *conn).await? {
            return Ok(());
        }
        tokio::time::sleep(RELOAD_CHECK_EVERY).await;
    }
    Err(sqlx::Error::Protocol(
        "Postgres did not read its settings anew".into(),
    ))
}

/// Begins another segment of the log.
pub async fn next_segment(conn: &mut PgConnection) -> sqlx::Result<()> {
    // At the very start of one there would be nothing to end.
    run(
        conn,
        "select pg_logical_emit_message(false, 'lianka', 'forgetting')".into(),
    )
    .await?;
    run(conn, "select pg_switch_wal()".into()).await
}

pub async fn checkpoint(conn: &mut PgConnection) -> sqlx::Result<()> {
    run(conn, "checkpoint".into()).await
}

/// Where the files are, on the machine of Postgres.
pub async fn data_directory(conn: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar!(r#"select current_setting('data_directory') as "folder!""#)
        .fetch_one(conn)
        .await
}

/// By what Postgres tells its files from those of another cluster.
pub async fn identifier(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select system_identifier as "identifier!" from pg_control_system()"#)
        .fetch_one(conn)
        .await
}

/// The table or index whose file has this number.
pub async fn relation(conn: &mut PgConnection, filenode: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select pg_filenode_relation(0, ($1::bigint)::oid)::regclass::text",
        filenode
    )
    .fetch_one(conn)
    .await
}

async fn run(conn: &mut PgConnection, statement: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(conn)
        .await
        .map(drop)
}
