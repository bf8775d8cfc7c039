//! Whether the store would take an edit now: tried, not guessed.
//!
//! In: the pool. Out: one word. A probe takes a connection as a request does, looks whether Postgres takes writes and has this program's
//! schema, sorts something that does not fit into memory — which needs room on the disk — and commits a message to the write-ahead log that
//! nobody reads: no row is written and nothing is left to clean up.
//!
//! Invariants: one probe at a time however many ask, so that a Postgres that hangs is not buried under connections; an answer is at most
//! `FRESH` old, so that asking often is cheap.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use tokio::{task::JoinHandle, time::Instant};

use crate::store::waits::{takes_writes, within};

/// An answer may be given again for so long.
const FRESH: Duration = Duration::from_millis(250);
/// For a connection of the pool; afterwards there is time left to find out why there is none.
const ACQUIRE_TIME_MAX: Duration = Duration::from_millis(900);
/// For a connection beside the pool.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(700);
/// A probe that hangs is given up, and its connection with it, so that the next one can see a Postgres that came back.
const PROBE_TIME_MAX: Duration = Duration::from_secs(10);

/// How the store stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Readiness {
    /// It takes edits.
    #[default]
    Ready,
    /// Nothing listens at its address, or it hung up.
    Unreachable,
    /// It did not answer in time.
    NoAnswer,
    /// It starts, stops, or replays its log after a crash.
    Starting,
    /// Postgres lends no further connection.
    ConnectionsExhausted,
    /// All connections of this server's own pool are in use.
    Busy,
    /// A standby, or set to read only.
    ReadOnly,
    /// Its schema is older than this program, another one, or none.
    Schema,
    /// There is no room on its disk.
    DiskFull,
    /// It refuses this server: name, password or database are wrong.
    Refused,
    /// It answers with an error of another kind; the log has it.
    Failing,
}

impl Readiness {
    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unreachable => "unreachable",
            Self::NoAnswer => "no_answer",
            Self::Starting => "starting",
            Self::ConnectionsExhausted => "connections_exhausted",
            Self::Busy => "busy",
            Self::ReadOnly => "read_only",
            Self::Schema => "schema",
            Self::DiskFull => "disk_full",
            Self::Refused => "refused",
            Self::Failing => "failing",
        }
    }

    /// What an operator can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Ready => "nothing is to be done",
            Self::Unreachable => {
                "Postgres does not listen at its address: start it, or look at the network"
            }
            Self::NoAnswer => {
                "Postgres does not answer: a hanging disk, a lost standby that commits wait for, or the network"
            }
            Self::Starting => "Postgres is starting or recovering: wait",
            Self::ConnectionsExhausted => {
                "other programs hold Postgres' connections: end them, or raise max_connections"
            }
            Self::Busy => {
                "this server's connections are all in use: a slow disk, or too few (--database-connections)"
            }
            Self::ReadOnly => {
                "this Postgres is a standby or read-only: promote it, or let the address lead to the primary"
            }
            Self::Schema => {
                "the schema is not this program's: run `lianka migrate`, or start the right version"
            }
            Self::DiskFull => "Postgres' disk is full: make room; nothing else is needed",
            Self::Refused => {
                "Postgres refuses this server: look at the name, the password and the database of --database-url"
            }
            Self::Failing => "Postgres answers with errors: look at its log",
        }
    }

    /// What an error says about the store.
    pub fn of_error(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                Self::NoAnswer
            }
            sqlx::Error::PoolTimedOut => Self::NoAnswer,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unreachable,
            sqlx::Error::Database(error) => match error.code().as_deref().unwrap_or_default() {
                "53100" => Self::DiskFull,
                "53300" => Self::ConnectionsExhausted,
                "25006" => Self::ReadOnly,
                "42P01" | "42703" => Self::Schema,
                "57014" => Self::NoAnswer,
                code if code.starts_with("57P") => Self::Starting,
                code if code.starts_with("28") || code.starts_with("3D") => Self::Refused,
                _ => Self::Failing,
            },
            _ => Self::Failing,
        }
    }
}

/// Asks the store how it stands. Cheap to clone.
#[derive(Clone)]
pub struct Probe(Arc<Inner>);

struct Inner {
    pool: PgPool,
    /// The probe under way, also after those who asked for it gave up.
    running: tokio::sync::Mutex<Option<JoinHandle<Readiness>>>,
    last: Mutex<Option<(Instant, Readiness)>>,
}

impl Probe {
    pub fn new(pool: PgPool) -> Self {
        Self(Arc::new(Inner {
            pool,
            running: tokio::sync::Mutex::new(None),
            last: Mutex::new(None),
        }))
    }

    /// The answer, within `limit`.
    pub async fn ask(&self, limit: Duration) -> Readiness {
        tokio::time::timeout(limit, self.answer())
            .await
            .unwrap_or(Readiness::NoAnswer)
    }

    async fn answer(&self) -> Readiness {
        if self.0.pool.is_closed() {
            return Readiness::Unreachable;
        }
        let mut running = self.0.running.lock().await;
        if let Some((at, last)) = *self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
            && running.is_none()
            && at.elapsed() < FRESH
        {
            return last;
        }
        let probe = running.get_or_insert_with(|| {
            let pool = self.0.pool.clone();
            tokio::spawn(async move {
                tokio::time::timeout(PROBE_TIME_MAX, probe(&pool))
                    .await
                    .unwrap_or(Readiness::NoAnswer)
            })
        });
        let found = probe.await.unwrap_or(Readiness::Failing);
        *running = None;
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), found));
        found
    }
}

async fn probe(pool: &PgPool) -> Readiness {
    let examined = match tokio::time::timeout(ACQUIRE_TIME_MAX, pool.acquire()).await {
        Ok(Ok(mut connection)) => examine(&mut connection).await,
        Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Ok(why_no_connection(pool).await),
        Ok(Err(error)) => Err(error),
    };
    examined.unwrap_or_else(|error| {
        let found = Readiness::of_error(&error);
        if found == Readiness::Failing {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store answers a probe with an error"
            );
        }
        found
    })
}

/// A connection of our own tells a Postgres that lends none from a pool that has none left.
async fn why_no_connection(pool: &PgPool) -> Readiness {
    let options = pool.connect_options();
    match within(CONNECT_TIME_MAX, options.connect()).await {
        Ok(connection) => {
            let _ = connection.close().await;
            Readiness::Busy
        }
        Err(error) => Readiness::of_error(&error),
    }
}

/// What an edit needs, tried.
async fn examine(connection: &mut PgConnection) -> sqlx::Result<Readiness> {
    if !takes_writes(connection).await? {
        return Ok(Readiness::ReadOnly);
    }
    if !super::has_schema(connection).await? {
        return Ok(Readiness::Schema);
    }
    let mut tx = connection.begin().await?;
    // 64 kB is the least that a sort may take: 800 kB go to a temporary file.
    sqlx::raw_sql("set local work_mem = '64kB'; set local lock_timeout = '1s'")
        .execute(&mut *tx)
        .await?;
    sqlx::raw_sql("select max(t) from (select repeat(md5(n::text), 25) as t from generate_series(1, 1000) n order by 1 offset 1) sorted")
        .execute(&mut *tx)
        .await?;
    sqlx::raw_sql("select pg_logical_emit_message(true, 'lianka', 'ready')")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Readiness::Ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_stable_and_told_apart() {
        let all = [
            Readiness::Ready,
            Readiness::Unreachable,
            Readiness::NoAnswer,
            Readiness::Starting,
            Readiness::ConnectionsExhausted,
            Readiness::Busy,
            Readiness::ReadOnly,
            Readiness::Schema,
            Readiness::DiskFull,
            Readiness::Refused,
            Readiness::Failing,
        ];
        let words: std::collections::BTreeSet<_> =
            all.iter().map(|readiness| readiness.as_str()).collect();
        assert_eq!(words.len(), all.len());
        assert_eq!(
            Readiness::of_error(&sqlx::Error::PoolClosed),
            Readiness::Unreachable
        );
    }
}
