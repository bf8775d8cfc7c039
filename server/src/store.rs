//! The store: all SQL of the server, grouped by aggregate, in functions that name the intent and take the tenant scope.
//!
//! Reads take any executor, writes take the one transaction that the pipeline opened. Nothing outside this module holds SQL.

pub mod accounts;
pub mod audit;
pub mod conflicts;
pub mod deployment;
pub mod devices;
pub mod duplicates;
pub mod erasures;
pub mod held;
pub mod persons;
pub mod read_models;
pub mod records;
pub mod roll;
pub mod roll_export;
pub mod sign_in_tries;
pub mod streets;
pub mod tokens;
pub mod transfers;

use std::time::Duration;

use sqlx::{
    PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// No statement of a request may take longer: the phone has given up by then.
const STATEMENT_TIMEOUT: &str = "30s";
/// Waiting longer for a row means that a writer hangs; the street's queue answers "overloaded" instead of joining it.
const LOCK_TIMEOUT: &str = "10s";
/// A transaction left open by a lost connection holds the street's row; Postgres ends it.
const IDLE_TRANSACTION_TIMEOUT: &str = "60s";
/// Longer than any honest peak on the pool; after it the request is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");
/// The newest migration of 0.2.0. Servers up to that release refuse to start where `_sqlx_migrations` names one they do not know, so later ones
/// are noted in [`LATER_MIGRATIONS`], which they do not read: a deployment can go back a version without a hand (docs/upgrades.md).
const STRICT_UNTIL: i64 = 20_261_122_000_051;
/// Where the migrations after [`STRICT_UNTIL`] are noted. Every server that reads it passes over those it does not know.
const LATER_MIGRATIONS: &str = "_lianka_migrations";

/// A pool of at most `connections_max` connections, with time limits on every statement, lock and idle transaction.
///
/// Fails when no first connection can be had, so that a wrong address is told at the start and not by the first phone.
pub async fn connect(options: PgConnectOptions, connections_max: u32) -> Result<PgPool, sqlx::Error> {
    let options = options.application_name("lianka").options([
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("lock_timeout", LOCK_TIMEOUT),
        ("idle_in_transaction_session_timeout", IDLE_TRANSACTION_TIMEOUT),
        // Filters that are null and lists of one or a thousand want plans of their own; a plan for all of them costs a storm seconds.
        ("plan_cache_mode", "force_custom_plan"),
    ]);
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(Duration::from_mins(10))
        .max_lifetime(Duration::from_mins(30))
        .connect_with(options)
        .await
}

/// Brings the schema up to this program's version, under sqlx's advisory lock: of many servers that start at once one does the work.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    let mut connection = pool.acquire().await?.detach();
    // A migration, or the wait for another server's, may take longer than any request; this connection is closed afterwards.
    sqlx::raw_sql("set statement_timeout = 0; set lock_timeout = 0; set client_min_messages = warning").execute(&mut connection).await?;
    for part in migrators(&MIGRATIONS) {
        part.run_direct(None, &mut connection, false).await?;
    }
    sqlx::Connection::close(connection).await?;
    Ok(())
}

/// The migrations by the table that they are noted in, in their order.
fn migrators(all: &Migrator) -> [Migrator; 2] {
    let (strict, later) = all.iter().cloned().partition(|migration| migration.version <= STRICT_UNTIL);
    let mut later = Migrator::with_migrations(later);
    later.dangerous_set_table_name(LATER_MIGRATIONS);
    // What a newer server added, this one runs on: every migration leaves room for the version before it.
    later.set_ignore_missing(true);
    [Migrator::with_migrations(strict), later]
}

/// Whether the database answers and has this program's schema, within `limit`.
pub async fn is_ready(pool: &PgPool, limit: Duration) -> bool {
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let applied = "select exists (select from _sqlx_migrations where version = $1 and success)
        or exists (select from _lianka_migrations where version = $1 and success)";
    let applied = sqlx::query_scalar(applied).bind(newest);
    matches!(tokio::time::timeout(limit, applied.fetch_one(pool)).await, Ok(Ok(true)))
}

/// A domain value out of a text column whose constraint admits nothing else.
fn decoded<T>(text: &str) -> sqlx::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(|error: T::Err| sqlx::Error::Decode(Box::new(error)))
}
