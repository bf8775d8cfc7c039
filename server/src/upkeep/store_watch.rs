//! Looks at the store now and then: tells the log when it fails and when it is back, and finds the primary among several addresses.
//!
//! In: the probe of [`crate::store::readiness`], and the addresses of `--database-url`. Out: a line at every change, never one a look; and
//! where the store is lost, the pool turned to another address that takes writes, has this schema and holds the same history (store epoch).
//! Two writable Postgres are not told apart: fencing the old one is the business of whoever promotes the new one.

use std::time::Duration;

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    state::App,
    store::{
        self, deployment,
        readiness::Readiness,
        waits::{session, takes_writes, within},
    },
};

const LOOK_TIME_MAX: Duration = Duration::from_secs(2);

/// What is remembered from look to look.
#[derive(Default)]
pub struct Watch {
    ill_since: Option<Instant>,
    /// The machine's clock was set ahead.
    ahead: bool,
    readiness: Readiness,
    /// The history that the store held when it was last well.
    epoch: Option<Uuid>,
    /// Which of the addresses the pool uses.
    address: usize,
}

impl Watch {
    /// Looks once; whether the store takes edits.
    pub async fn look(&mut self, app: &App) -> bool {
        let found = app.store.ask(LOOK_TIME_MAX).await;
        self.tell(found);
        self.tell_clock(app.clock.is_ahead());
        if found == Readiness::Ready {
            if let Ok(epoch) = within(LOOK_TIME_MAX, deployment::store_epoch(&app.pool)).await {
                self.epoch = Some(epoch);
            }
            return true;
        }
        if matches!(
            found,
            Readiness::Unreachable
                | Readiness::NoAnswer
                | Readiness::ReadOnly
                | Readiness::Starting
        ) {
            self.look_elsewhere(app).await;
        }
        false
    }

    fn tell(&mut self, found: Readiness) {
        if found == self.readiness {
            return;
        }
        self.readiness = found;
        if found == Readiness::Ready {
            let seconds = self
                .ill_since
                .take()
                .map_or(0, |since| since.elapsed().as_secs());
            tracing::info!(seconds, "the store takes edits again");
        } else {
            self.ill_since.get_or_insert_with(Instant::now);
            tracing::error!(
                reason = found.as_str(),
                "the store takes no edits: {}",
                found.advice()
            );
        }
    }

    fn tell_clock(&mut self, ahead: bool) {
        match (std::mem::replace(&mut self.ahead, ahead), ahead) {
            (false, true) => tracing::error!(
                "this machine's clock was set ahead by more than a day: terms of transfers and the audit trail's retention stand still until it \
                 is right again, or until the server is started anew"
            ),
            (true, false) => tracing::info!("this machine's clock is right again"),
            _ => {}
        }
    }

    /// Turns the pool to the first other address where the same store takes writes.
    async fn look_elsewhere(&mut self, app: &App) {
        let config = &app.config.store;
        let addresses = &config.databases;
        let Some(epoch) = self.epoch else { return };
        for step in 1..addresses.len() {
            let next = (self.address + step) % addresses.len();
            let options = session(addresses[next].clone(), &config.waits);
            if within(LOOK_TIME_MAX, is_primary(&options, epoch))
                .await
                .unwrap_or(false)
            {
                tracing::warn!(
                    host = options.get_host(),
                    port = options.get_port(),
                    "the store is at another address now"
                );
                app.pool.set_connect_options(options);
                self.address = next;
                return;
            }
        }
    }
}

/// Whether the store with this history takes writes there.
async fn is_primary(options: &PgConnectOptions, epoch: Uuid) -> sqlx::Result<bool> {
    let mut connection: PgConnection = options.connect().await?;
    let is_ours = takes_writes(&mut connection).await?
        && store::has_schema(&mut connection).await?
        && deployment::epoch_of(&mut connection).await? == epoch;
    sqlx::Connection::close(connection).await?;
    Ok(is_ours)
}
