//! Trimming: what keeps the log bounded.
//!
//! A change that is old enough, and that its record's document holds, leaves the log; [`crate::street::history`] reads it out of the document. A bounded
//! background pass, safe on any number of servers: each stretch of a street's log is one short transaction under the street's lock. Notices that
//! no download brings any more go with it, and what records' former generations had accepted, when no phone can have it in its outbox any more.
//!
//! Invariants:
//! - nothing that a phone has not received yet is lost to it: where changes were trimmed, a `snapshot` entry at the place of the newest of them
//!   makes whoever stands before it take the record whole;
//! - the record of a disputed document keeps its log.

use std::{ops::AddAssign, time::Duration};

use lianka_sync_core::{id::StreetCode, time::ServerTime};
use sqlx::PgPool;
use time::OffsetDateTime;

pub use crate::config::Keep;
use crate::{
    pipeline_point::{PipelinePoint, reached},
    state::App,
    street::{
        merge::MergeError,
        store::{records, streets, trimmed},
    },
};

/// Log entries of one transaction: a push that comes meanwhile waits for some milliseconds.
const STRETCH: i64 = 1_000;
/// Notices deleted at once.
const NOTICES: i64 = 1_000;
/// Between two stretches, so that phones come first.
const PAUSE_BUSY: Duration = Duration::from_millis(50);

/// What a sweep removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    pub changes: u64,
    pub notices: u64,
    /// Ended generations of records, whose changes are not known any more.
    pub generations: u64,
}

impl AddAssign for Swept {
    fn add_assign(&mut self, other: Self) {
        self.changes += other.changes;
        self.notices += other.notices;
        self.generations += other.generations;
    }
}

/// One sweep, told to the log. What a sweep that is cut off has trimmed stays trimmed.
pub async fn run(app: &App) -> Result<(), MergeError> {
    if app.clock.is_ahead() {
        return Ok(());
    }
    let swept = sweep(&app.pool, app.config.keep(), app.clock.now(), PAUSE_BUSY).await?;
    if swept != Swept::default() {
        let Swept {
            changes,
            notices,
            generations,
        } = swept;
        tracing::info!(changes, notices, generations, "the log was trimmed");
    }
    Ok(())
}

/// Goes once through the logs of all streets.
pub async fn sweep(
    pool: &PgPool,
    keep: Keep,
    now: ServerTime,
    pause: Duration,
) -> Result<Swept, MergeError> {
    let mut swept = Swept::default();
    for street in streets::all_streets(&mut *pool.acquire().await?).await? {
        match sweep_street(pool, &street, keep, now, pause).await {
            Ok(here) => swept += here,
            // The streets behind it are not kept waiting until the next sweep, which may find it the same.
            Err(error) if error.is_about_one_record() => {
                tracing::warn!(%street, error = &error as &dyn std::error::Error, "a street's log could not be trimmed; it is tried again");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

async fn sweep_street(
    pool: &PgPool,
    street: &StreetCode,
    keep: Keep,
    now: ServerTime,
    pause: Duration,
) -> Result<Swept, MergeError> {
    let changes = sweep_log(pool, street, before(now, keep.changes), pause).await?;
    let notices = sweep_notices(pool, street, before(now, keep.notices)).await?;
    let generations = trimmed::forget_ended(
        &mut *pool.acquire().await?,
        street,
        before(now, keep.generations).into(),
    )
    .await?;
    Ok(Swept {
        changes,
        notices,
        generations,
    })
}

/// The moment that lies so long before `now`.
pub fn before(now: ServerTime, age: Duration) -> ServerTime {
    ServerTime::from_unix_ms(
        now.unix_ms()
            .saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
    )
}

async fn sweep_log(
    pool: &PgPool,
    street: &StreetCode,
    older_than: ServerTime,
    pause: Duration,
) -> Result<u64, MergeError> {
    let older_than = OffsetDateTime::from(older_than);
    let (mut after, mut changes) = (0, 0);
    loop {
        let stretch = trimmed::stretch(
            &mut *pool.acquire().await?,
            street,
            after,
            older_than,
            STRETCH,
        )
        .await?;
        let Some(upto) = stretch.upto else {
            return Ok(changes);
        };
        // Entries stand in the order of their times, but for what a rebuild cut off old changes: that waits for its neighbours.
        if !stretch.has_old {
            return Ok(changes);
        }
        let mut tx = pool.begin().await?;
        records::lock_street(&mut tx, street)
            .await?
            .ok_or(MergeError::NoStreet)?;
        changes += trimmed::trim(&mut tx, street, after, upto, older_than).await?;
        reached(PipelinePoint::LogTrimmed);
        tx.commit().await?;
        reached(PipelinePoint::LogTrimCommitted);
        after = upto;
        if stretch.entries < STRETCH {
            return Ok(changes);
        }
        tokio::time::sleep(pause).await;
    }
}

async fn sweep_notices(
    pool: &PgPool,
    street: &StreetCode,
    older_than: ServerTime,
) -> sqlx::Result<u64> {
    let mut notices = 0;
    loop {
        let deleted = trimmed::prune_notices(
            &mut *pool.acquire().await?,
            street,
            older_than.into(),
            NOTICES,
        )
        .await?;
        notices += deleted;
        if deleted < NOTICES.unsigned_abs() {
            return Ok(notices);
        }
    }
}
