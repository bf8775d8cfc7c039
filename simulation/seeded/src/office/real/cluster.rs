//! One throwaway Postgres for the process, a database for each run, and the thread on which the server works while the run stands still.

use std::{
    panic::resume_unwind,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use lianka_server::{embedded_postgres::EmbeddedPostgres, store};
use sqlx::{ConnectOptions, PgConnection, PgPool};
use tokio::runtime::{Builder, Runtime};

use super::CONNECTIONS;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    })
}

/// Runs to its end on the server's runtime; the caller's thread waits, and no time passes for its own runtime.
pub fn outside<T: Send>(work: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| scope.spawn(|| runtime().block_on(work)).join())
        .unwrap_or_else(|panic| resume_unwind(panic))
}

/// The process' cluster, whose database `lianka` is migrated and serves as template. It goes when the process goes.
fn cluster() -> &'static EmbeddedPostgres {
    static CLUSTER: OnceLock<EmbeddedPostgres> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let made = thread::spawn(|| {
            let postgres =
                EmbeddedPostgres::start_throwaway().expect("a private Postgres for the runs");
            runtime().block_on(async {
                let pool = store::connect(postgres.connect_options(), 1)
                    .await
                    .expect("the private Postgres takes connections");
                store::migrate(&pool).await.expect("the migrations apply");
                // Postgres copies only a template that nobody is connected to.
                pool.close().await;
            });
            postgres
        });
        made.join().expect("the cluster starts")
    })
}

/// Databases that nobody needs any more. Dropping one takes a connection, which `Drop` cannot wait for; the next run does it.
static FINISHED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A database of one run.
pub struct Database {
    name: String,
}

impl Database {
    /// A copy of another, to which nobody is connected, or of the empty template.
    pub async fn create(of: Option<&Self>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("run_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let options = cluster().connect_options();
        let mut admin = options
            .database("postgres")
            .connect()
            .await
            .expect("the cluster takes connections");
        let finished =
            std::mem::take(&mut *FINISHED.lock().unwrap_or_else(PoisonError::into_inner));
        for old in finished {
            execute(
                &mut admin,
                format!("drop database if exists {old} with (force)"),
            )
            .await;
        }
        let template = of.map_or("lianka", |of| &of.name);
        execute(
            &mut admin,
            format!("create database {name} template {template}"),
        )
        .await;
        Self { name }
    }

    pub async fn pool(&self) -> PgPool {
        let options = cluster().connect_options().database(&self.name);
        store::connect(options, CONNECTIONS)
            .await
            .expect("the database takes connections")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        FINISHED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(std::mem::take(&mut self.name));
    }
}

async fn execute(admin: &mut PgConnection, statement: String) {
    // Names cannot be bound; these are made of a counter above.
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(admin)
        .await
        .expect("the statement works");
}
