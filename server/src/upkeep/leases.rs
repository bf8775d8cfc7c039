//! Leases: of the servers of a deployment, one at a time runs a pass that is for all of them.
//!
//! In: a name. Out: whether it is this server's turn. A lease is short and is renewed while a pass runs, so that a server that died is followed
//! soon; the row also keeps when the pass last succeeded, whoever ran it. Two servers that run a pass at once, because their clocks differ or the
//! store hung, harm nothing: every pass looks again under a lock before it acts.

use std::time::Duration;

use lianka_sync_core::time::ServerTime;
use uuid::Uuid;

use crate::{state::App, upkeep::store};

/// How long a lease lasts without being renewed: when another server follows one that died.
pub const LEASE: Duration = Duration::from_secs(6);

/// No clock that is right is ahead of another by so much.
const FAR: Duration = Duration::from_hours(1);

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    Ours,
    /// Another server's; or it is not due yet.
    Others {
        /// How long ago the pass succeeded, as far as known.
        succeeded_before: Option<Duration>,
    },
}

/// This server's leases. Cheap to clone.
#[derive(Clone)]
pub struct Leases(Option<Holder>);

#[derive(Clone)]
struct Holder {
    app: App,
    id: Uuid,
}

impl Leases {
    pub fn new(app: App) -> Self {
        let id = Uuid::from_bytes(app.entropy.bytes());
        Self(Some(Holder { app, id }))
    }

    /// For passes that need none.
    pub fn nobodys() -> Self {
        Self(None)
    }

    /// Takes the lease, where nobody else holds it and the last success is at least `after` ago.
    pub async fn claim(&self, pass: &str, after: Duration) -> sqlx::Result<Claim> {
        let Some(Holder { app, id }) = &self.0 else {
            return Ok(Claim::Ours);
        };
        let now = app.clock.now();
        let mut conn = app.pool.acquire().await?;
        if store::claim_lease(
            &mut conn,
            pass,
            *id,
            now,
            later(now, LEASE),
            earlier(now, after),
            later(now, FAR),
        )
        .await?
        {
            return Ok(Claim::Ours);
        }
        let succeeded = store::pass_succeeded(&mut conn, pass).await?;
        let succeeded_before = succeeded.map(|at| {
            let ms = now.unix_ms().saturating_sub(at.unix_ms()).max(0);
            Duration::from_millis(ms as u64)
        });
        Ok(Claim::Others { succeeded_before })
    }

    /// Holds the lease for longer.
    pub async fn renew(&self, pass: &str) -> sqlx::Result<()> {
        let Some(Holder { app, id }) = &self.0 else {
            return Ok(());
        };
        let mut conn = app.pool.acquire().await?;
        store::renew_lease(&mut conn, pass, *id, later(app.clock.now(), LEASE)).await
    }

    /// Gives the lease back, and says whether the pass succeeded.
    pub async fn release(&self, pass: &str, succeeded: bool) -> sqlx::Result<()> {
        let Some(Holder { app, id }) = &self.0 else {
            return Ok(());
        };
        let now = app.clock.now();
        let mut conn = app.pool.acquire().await?;
        store::release_lease(&mut conn, pass, *id, now, succeeded.then_some(now)).await
    }
}

fn later(now: ServerTime, by: Duration) -> ServerTime {
    ServerTime::from_unix_ms(now.unix_ms().saturating_add(by.as_millis() as i64))
}

fn earlier(now: ServerTime, by: Duration) -> ServerTime {
    let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    ServerTime::from_unix_ms(now.unix_ms().saturating_sub(ms))
}
