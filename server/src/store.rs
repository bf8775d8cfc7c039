//! The store: all SQL of the server, grouped by aggregate, in functions that name the intent and take the tenant scope.
//!
//! Reads take any executor, writes take the one transaction that the pipeline opened. Nothing outside this module holds SQL.

pub mod deployment;
pub mod readiness;
pub mod waits;

use std::collections::HashMap;

use lianka_sync_core::crdt::merge::RegisterState;
use sqlx::{
    PgConnection, PgPool,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
};

use self::waits::Waits;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");
/// The newest migration of 0.2.0. Servers up to that release refuse to start where `_sqlx_migrations` names one they do not know, so later ones
/// are noted in [`LATER_MIGRATIONS`], which they do not read: a deployment can go back a version without a hand (docs/upgrades.md).
const STRICT_UNTIL: i64 = 20_261_122_000_051;
/// Where the migrations after [`STRICT_UNTIL`] are noted. Every server that reads it passes over those it does not know.
const LATER_MIGRATIONS: &str = "_lianka_migrations";

/// A pool of at most `connections_max` connections with the usual limits on every wait: see [`waits`].
pub async fn connect(
    options: PgConnectOptions,
    connections_max: u32,
) -> Result<PgPool, sqlx::Error> {
    waits::connect_within(options, connections_max, &Waits::default()).await
}

/// Brings the schema up to this program's version, under sqlx's advisory lock: of many servers that start at once one does the work.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    let mut connection = pool.acquire().await?.detach();
    // A migration, or the wait for another server's, may take longer than any request; this connection is closed afterwards.
    sqlx::raw_sql(
        "set statement_timeout = 0; set lock_timeout = 0; set client_min_messages = warning",
    )
    .execute(&mut connection)
    .await?;
    for part in migrators(&MIGRATIONS) {
        part.run_direct(None, &mut connection, false).await?;
    }
    sqlx::Connection::close(connection).await?;
    Ok(())
}

/// The migrations by the table that they are noted in, in their order.
fn migrators(all: &Migrator) -> [Migrator; 2] {
    let (strict, later) = all
        .iter()
        .cloned()
        .partition(|migration| migration.version <= STRICT_UNTIL);
    let mut later = Migrator::with_migrations(later);
    later.dangerous_set_table_name(LATER_MIGRATIONS);
    // What a newer server added, this one runs on: every migration leaves room for the version before it.
    later.set_ignore_missing(true);
    [Migrator::with_migrations(strict), later]
}

/// Whether the database has this program's schema, or a newer one.
pub async fn has_schema(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let noted = "select version, checksum from _sqlx_migrations where success
        union all select version, checksum from _lianka_migrations where success";
    let noted: HashMap<i64, Vec<u8>> = sqlx::query_as(noted)
        .fetch_all(conn)
        .await?
        .into_iter()
        .collect();
    Ok(MIGRATIONS.iter().all(|migration| {
        noted
            .get(&migration.version)
            .is_some_and(|checksum| *checksum == *migration.checksum)
    }))
}

/// A domain value out of a text column whose constraint admits nothing else.
pub(crate) fn decoded<T>(text: &str) -> sqlx::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse()
        .map_err(|error: T::Err| sqlx::Error::Decode(Box::new(error)))
}

/// A record's register state, as a server stored it.
pub(crate) fn registers(bytes: &[u8]) -> sqlx::Result<RegisterState> {
    RegisterState::from_bytes(bytes).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
