//! Bounds on every wait on Postgres, and the connections that keep to them.
//!
//! In: where Postgres is, and how long a statement may take. Out: a pool. Invariants:
//! - whatever Postgres does — answer late, hang, vanish without a word, turn read-only — nobody waits longer than [`Waits::request`];
//! - a connection is looked at before it is lent out and after it is given back: a dead, hanging or read-only one is dropped, and the next
//!   one is opened wherever the address leads by then. So the pool finds a restarted Postgres and a promoted standby by itself.

use std::{io, time::Duration};

use sqlx::{
    Connection, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// A connection that was given back in the middle of something has so long to become quiet.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(2);

/// How long Postgres may keep somebody waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waits {
    /// For a free connection of the pool, or a new one. Longer than any honest peak; then the request is answered 503.
    pub acquire: Duration,
    /// For one statement.
    pub statement: Duration,
    /// For a row. Longer means that a writer hangs; the street's queue answers 503 instead of joining it.
    pub lock: Duration,
    /// Between two statements of a transaction: one left open by a lost server holds the street's row until Postgres ends it.
    pub idle_transaction: Duration,
    /// For all that one request needs of Postgres. Also counted here, not by Postgres alone, which cannot end what it does not know of: a
    /// process that stands still, a network that swallows packets, a commit that waits for a lost standby. Shorter than a phone's patience.
    pub request: Duration,
}

impl Waits {
    /// All of them in proportion to the longest statement.
    pub fn of_statement(statement: Duration) -> Self {
        Self {
            acquire: statement / 6,
            statement,
            lock: statement / 3,
            idle_transaction: statement * 2,
            request: statement * 3 / 2,
        }
    }

    /// For work that is known to be long: imports, exports, proofs, and passes in the background.
    pub fn unhurried(&self) -> Duration {
        self.request * 10
    }
}

impl Default for Waits {
    fn default() -> Self {
        Self::of_statement(Duration::from_secs(30))
    }
}

/// The same work, cut off as if the connection had broken when it takes longer than `limit`.
pub async fn within<T, E: From<sqlx::Error>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let cut = || {
        sqlx::Error::Io(io::Error::new(
            io::ErrorKind::TimedOut,
            "Postgres did not answer in time",
        ))
    };
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(cut().into()))
}

/// `options` with the limits of a session on them.
pub fn session(options: PgConnectOptions, waits: &Waits) -> PgConnectOptions {
    let ms = |wait: Duration| format!("{}ms", wait.as_millis().max(1));
    options.application_name("lianka").options([
        ("statement_timeout", ms(waits.statement)),
        ("lock_timeout", ms(waits.lock)),
        (
            "idle_in_transaction_session_timeout",
            ms(waits.idle_transaction),
        ),
        // Filters that are null and lists of one or a thousand want plans of their own; a plan for all of them costs a storm seconds.
        ("plan_cache_mode", "force_custom_plan".to_owned()),
    ])
}

/// A pool of at most `connections_max` connections that keep to `waits`.
///
/// Fails when no first connection can be had, so that a wrong address is told at the start and not by the first phone.
pub async fn connect_within(
    options: PgConnectOptions,
    connections_max: u32,
    waits: &Waits,
) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(waits.acquire)
        .idle_timeout(Duration::from_mins(10))
        .max_lifetime(Duration::from_mins(30))
        // Our own look in place of sqlx's ping: as many round trips, and it knows a primary that became a standby.
        .test_before_acquire(false)
        .before_acquire(|connection, _| {
            Box::pin(async move { Ok(takes_writes(connection).await.unwrap_or(false)) })
        })
        .after_release(|connection, _| {
            Box::pin(within(RELEASE_TIME_MAX, async move {
                connection.ping().await.map(|()| true)
            }))
        })
        .connect_with(session(options, waits))
        .await
}

/// The same at the first of several addresses that takes writes; where none does, at the first one that lets us in.
pub async fn connect_to_primary(
    addresses: Vec<PgConnectOptions>,
    connections_max: u32,
    waits: &Waits,
) -> Result<PgPool, sqlx::Error> {
    let mut first = Err(sqlx::Error::PoolClosed);
    for options in addresses {
        let found = connect_within(options, connections_max, waits).await;
        if let Ok(pool) = &found
            && takes_writes(&mut *pool.acquire().await?).await?
        {
            return found;
        }
        if first.is_err() {
            first = found;
        }
    }
    first
}

/// Whether Postgres takes writes on this connection: not on a standby, nor where it was told to be read-only.
pub async fn takes_writes(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let row = sqlx::raw_sql("show transaction_read_only")
        .fetch_one(connection)
        .await?;
    Ok(row.try_get::<&str, _>(0)? == "off")
}
