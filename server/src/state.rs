//! What everybody may hold: the store, the two doors to time and randomness, the settings. Cheap to clone.
//!
//! Nothing here is state that a second server would need: whatever must outlive a request is in Postgres.

use std::{ops::Deref, sync::Arc};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    clock::{Clock, Entropy},
    config::ServeConfig,
    store::{
        deployment::{self, ClusterNote},
        readiness::Probe,
    },
    street::queue::StreetQueues,
};

/// The running server. Dereferences to its [`Parts`]: `app.pool`, `app.clock`.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is made of.
pub struct Parts {
    pub pool: PgPool,
    pub clock: Clock,
    pub entropy: Entropy,
    pub config: Arc<ServeConfig>,
    /// How the store stands.
    pub store: Probe,
    /// Who waits to write which street, in this process.
    pub queues: StreetQueues,
    /// Cancelled when the server begins to stop: endless streams and background passes end by themselves.
    pub stopping: CancellationToken,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Why an [`App`] could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the store cannot be read")]
    Store(#[from] sqlx::Error),
}

impl App {
    /// Starts on a migrated database; takes a new store epoch when the database was restored on another cluster.
    pub async fn start(
        pool: PgPool,
        config: Arc<ServeConfig>,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, StartError> {
        match deployment::note_cluster(&pool).await? {
            ClusterNote::Moved => {
                warn!(
                    "this database comes from another cluster, so it was restored: phones will send again what it lacks"
                );
            }
            ClusterNote::Unknown => info!(
                "Postgres does not tell its identifier to this role: after a restore run `lianka migrate --restored` (or grant pg_monitor)"
            ),
            ClusterNote::First | ClusterNote::Same => {}
        }
        let store = Probe::new(pool.clone());
        let queues = StreetQueues::new(
            pool.clone(),
            clock.clone(),
            entropy.clone(),
            config.store.waits.request,
        );
        let stopping = CancellationToken::new();
        Ok(Self(Arc::new(Parts {
            pool,
            clock,
            entropy,
            config,
            store,
            queues,
            stopping,
        })))
    }
}
