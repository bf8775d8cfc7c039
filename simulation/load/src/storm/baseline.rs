//! What the storm's bytes cost where nobody decides anything: the same changes appended and fetched again by a file and by Postgres alone.
//!
//! Both are flushed to the disk once a phone, as a push is, and read whole once a phone, as a pull is. In the same run and on the same machine, so
//! that the ratio to them says more than a time does.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::Serialize;
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};

use crate::server_process::ServerProcess;

/// What each phone sends.
pub type Pushes = Vec<Vec<Vec<u8>>>;

/// What it cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Baseline {
    /// A file that is appended to and flushed.
    pub file_ms: f64,
    /// Null where the server was not started here.
    pub postgres: Option<PostgresAlone>,
}

/// Postgres, in the server's own cluster: a table of bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PostgresAlone {
    pub wall_ms: f64,
    pub cpu_ms: u64,
}

/// Stores and fetches what the phones sent.
pub async fn measure(
    pushes: &Pushes,
    folder: &Path,
    server: Option<&ServerProcess>,
) -> anyhow::Result<Baseline> {
    let path = folder.join("baseline.log");
    let file = file(pushes, &path)?;
    let mut alone = None;
    if let Some(server) = server {
        let before = server.cost();
        let took = postgres(pushes, server).await?;
        alone = Some(PostgresAlone {
            wall_ms: ms(took),
            cpu_ms: server.cost().since(before).postgres_cpu_ms,
        });
    }
    Ok(Baseline {
        file_ms: ms(file),
        postgres: alone,
    })
}

fn ms(took: Duration) -> f64 {
    super::round(took.as_secs_f64() * 1_000.0)
}

fn file(pushes: &Pushes, path: &Path) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut log = OpenOptions::new().create(true).append(true).open(path)?;
    let mut written = 0;
    for changes in pushes {
        let mut bytes = Vec::new();
        for change in changes {
            bytes.extend((change.len() as u32).to_le_bytes());
            bytes.extend(change);
        }
        log.write_all(&bytes)?;
        log.sync_data()?;
        written += bytes.len();
    }
    for _ in pushes {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        ensure!(bytes.len() == written, "the file has {} bytes", bytes.len());
    }
    Ok(begun.elapsed())
}

async fn postgres(pushes: &Pushes, server: &ServerProcess) -> anyhow::Result<Duration> {
    let (socket, port) = server.postgres()?;
    let options = PgConnectOptions::new_without_pgpass()
        .socket(socket)
        .port(port)
        .username("lianka")
        .database("lianka");
    let mut conn = options
        .connect()
        .await
        .context("cannot reach the server's Postgres")?;
    sqlx::raw_sql("create schema baseline; create table baseline.log (seq bigserial primary key, bytes bytea not null)")
        .execute(&mut conn)
        .await?;
    let took = store_and_fetch(pushes, &mut conn).await;
    sqlx::raw_sql("drop schema baseline cascade")
        .execute(&mut conn)
        .await?;
    took
}

async fn store_and_fetch(pushes: &Pushes, conn: &mut PgConnection) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    for changes in pushes {
        sqlx::query("insert into baseline.log (bytes) select * from unnest($1::bytea[])")
            .bind(changes)
            .execute(&mut *conn)
            .await?;
    }
    let sent: usize = pushes.iter().map(Vec::len).sum();
    for _ in pushes {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select seq, bytes from baseline.log where seq > 0 order by seq")
                .fetch_all(&mut *conn)
                .await?;
        ensure!(rows.len() == sent, "Postgres has {} changes", rows.len());
    }
    Ok(begun.elapsed())
}
