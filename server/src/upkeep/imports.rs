//! Forgets what exports said once nobody can be expected to bring them back, and proposals that nobody decided.

use sqlx::PgPool;
use time::{Duration, OffsetDateTime};

use crate::{clock::Clock, config::Keep, roll::import::store};

/// What one run does at most; the next one goes on.
const EXPORTS_AT_ONCE: i64 = 20;
const PROPOSALS_AT_ONCE: i64 = 20;
const UNFINISHED_AT_ONCE: i64 = 2;
/// By then a proposal shows, or whoever made it is gone.
const UNFINISHED_FOR: Duration = Duration::hours(2);

/// What was forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    pub exports: u64,
    pub proposals: usize,
    /// Rows of proposals that were cut off.
    pub unfinished: u64,
}

/// One bounded run.
pub async fn pass(pool: &PgPool, clock: &Clock, keep: Keep) -> sqlx::Result<Pass> {
    let now = OffsetDateTime::from(clock.now());
    let mut conn = pool.acquire().await?;
    let exports = store::forget_exports(&mut conn, now - keep.exports, EXPORTS_AT_ONCE).await?;
    let stale = store::stale(&mut conn, now - keep.proposals, PROPOSALS_AT_ONCE).await?;
    let unfinished =
        store::sweep_unfinished(&mut conn, now - UNFINISHED_FOR, UNFINISHED_AT_ONCE).await?;
    drop(conn);
    for (street, import) in &stale {
        let mut tx = pool.begin().await?;
        store::drop_open(&mut tx, street, *import).await?;
        let status = if store::any_written(&mut tx, street, *import).await? {
            "applied"
        } else {
            "dropped"
        };
        store::set_status(&mut tx, street, *import, status).await?;
        tx.commit().await?;
    }
    Ok(Pass {
        exports,
        proposals: stale.len(),
        unfinished,
    })
}
