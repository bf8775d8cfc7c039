//! The database that a command works on: opened, brought up to date, and closed again whatever became of the work.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use lianka_server::{
    config::{LogConfig, StoreConfig},
    embedded_postgres::{self, EmbeddedPostgres},
    store,
    street::store::streets::all_streets,
    telemetry,
};
use lianka_sync_core::id::StreetCode;
use sqlx::PgPool;
use tracing::{error, info, warn};

/// What every command takes that works beside a running server.
#[derive(Args)]
pub struct OnDatabase {
    #[command(flatten)]
    store: StoreConfig,
    #[command(flatten)]
    log: LogConfig,
}

impl OnDatabase {
    /// The folder of the private Postgres; `None` where another is used.
    pub fn private_folder(&self) -> Option<PathBuf> {
        let private = self.store.databases.is_empty();
        private.then(|| self.store.data_dir.clone())
    }

    /// Runs `work` on the database with a schema of this version.
    pub async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&PgPool) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        telemetry::init(&self.log);
        let database = Database::open(&self.store, Beside::Server).await?;
        let done = async {
            database.migrate().await?;
            work(&database.pool).await
        };
        let done = done.await;
        database.close().await;
        done
    }
}

/// Whether a command may share the private Postgres of a server that runs now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    Nobody,
    Server,
}

/// An open database, and the private Postgres that this process runs for it, if any.
pub struct Database {
    pub pool: PgPool,
    postgres: Option<EmbeddedPostgres>,
}

impl Database {
    pub async fn open(config: &StoreConfig, beside: Beside) -> anyhow::Result<Self> {
        let StoreConfig {
            data_dir,
            databases,
            connections_max,
            waits,
            postgres_bin_dir,
        } = config.clone();
        let (addresses, postgres) = if databases.is_empty() {
            let (options, postgres) = tokio::task::spawn_blocking(move || {
                if beside == Beside::Server
                    && let Some(options) = embedded_postgres::running_on(&data_dir)
                {
                    return anyhow::Ok((options, None));
                }
                let postgres = EmbeddedPostgres::start(&data_dir, postgres_bin_dir.as_deref())?;
                info!(psql = postgres.url(), "a private Postgres runs");
                Ok((postgres.connect_options(), Some(postgres)))
            })
            .await??;
            (vec![options], postgres)
        } else {
            (databases, None)
        };
        let pool = store::waits::connect_to_primary(addresses, connections_max, &waits)
            .await
            .context("cannot connect to Postgres")?;
        Ok(Self { pool, postgres })
    }

    /// Brings the schema up to this version.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        store::migrate(&self.pool)
            .await
            .context("the database's schema could not be brought up to date")
    }

    pub async fn close(self) {
        // A connection that a cut-off request still holds must not keep Postgres from stopping: a fast shutdown ends it.
        if tokio::time::timeout(Duration::from_secs(5), self.pool.close())
            .await
            .is_err()
        {
            warn!("connections to Postgres were still in use");
        }
        if let Some(postgres) = self.postgres
            && let Err(error) = tokio::task::spawn_blocking(|| postgres.stop()).await
        {
            error!(%error, "Postgres was not stopped");
        }
    }
}

/// A mistyped street is not one without records: nothing of it holds, and nothing was done to it.
pub async fn must_exist(pool: &PgPool, street: &str) -> anyhow::Result<()> {
    let known = all_streets(&mut *pool.acquire().await?).await?;
    if known.iter().any(|known| known.as_str() == street) {
        return Ok(());
    }
    let known: Vec<_> = known.iter().map(StreetCode::as_str).collect();
    bail!(
        "there is no street {street}; the streets are: {}",
        if known.is_empty() {
            "none yet".to_owned()
        } else {
            known.join(", ")
        }
    )
}
