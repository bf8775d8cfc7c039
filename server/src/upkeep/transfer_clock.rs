//! The clock of transfers: limits that passed while nobody was looking.
//!
//! A bounded background pass, safe on any number of servers: it finds by an index what is due, takes the street, looks again and writes event and
//! ruling as one change. What it did is in the record, so a restart repeats nothing.

use lianka_office_core::acts::clock::Tick;
use lianka_sync_core::{
    id::{RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::PgPool;

use crate::{
    clock::{Clock, Entropy},
    pipeline_point::{PipelinePoint, reached},
    street::{merge::MergeError, transaction::StreetTransaction},
    transfers::store,
    upkeep::compaction::{self, CompactionError},
};

/// Requests of one pass.
const PASS_REQUESTS: i64 = 64;
/// Pages of requests that are looked through until one of them has something that can be done.
const PASS_PAGES: usize = 16;

/// What a pass did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    /// Events written, and drafts erased.
    pub events: u64,
}

/// One bounded pass.
pub async fn pass(pool: &PgPool, clock: &Clock, entropy: &Entropy) -> Result<Pass, MergeError> {
    let mut pass = Pass::default();
    if clock.is_ahead() {
        return Ok(pass);
    }
    let now = clock.now();
    let mut after = None;
    // A request that cannot be written to stays due; whoever stands behind it is not kept waiting.
    for _ in 0..PASS_PAGES {
        let due = store::clock_due(&mut *pool.acquire().await?, now, after, PASS_REQUESTS).await?;
        for due in &due {
            match tick_or_make_room(pool, &due.street, due.record, now, entropy).await {
                Ok(done) => pass.events += u64::from(done),
                Err(error) if error.is_about_one_record() => {
                    tracing::error!(street = %due.street, record = %due.record, error = &error as &dyn std::error::Error, "what is due on a request could not be done");
                }
                Err(error) => return Err(error),
            }
        }
        after = due.last().map(|due| (due.at, due.record));
        if pass.events > 0 || (due.len() as i64) < PASS_REQUESTS {
            break;
        }
    }
    Ok(pass)
}

/// What is due on one request, if need be after its record was compacted; whether anything was.
async fn tick_or_make_room(
    pool: &PgPool,
    street: &StreetCode,
    record: RecordId,
    now: ServerTime,
    entropy: &Entropy,
) -> Result<bool, MergeError> {
    if tick(pool, street, record, now, entropy).await? {
        return Ok(true);
    }
    match compaction::make_room(pool, street, record, now).await {
        Ok(Some(_)) => tick(pool, street, record, now, entropy).await,
        Ok(None) => Ok(false),
        Err(CompactionError::Merge(error)) => Err(error),
        Err(CompactionError::Forget(error)) => {
            tracing::error!(%street, %record, %error, "a full request could not be compacted");
            Ok(false)
        }
    }
}

/// What is due on one request; whether anything was.
async fn tick(
    pool: &PgPool,
    street: &StreetCode,
    record: RecordId,
    now: ServerTime,
    entropy: &Entropy,
) -> Result<bool, MergeError> {
    let erasure = RecordId::new_v7(now.unix_ms().unsigned_abs(), entropy.bytes()).0;
    let mut transaction = StreetTransaction::begin(pool, street, now).await?;
    match transaction.decide(Tick { record, erasure }).await? {
        Ok(true) => {}
        Ok(false) => return Ok(false),
        Err(error) => {
            tracing::error!(%record, %error, "a draft whose time is over could not be erased");
            return Ok(false);
        }
    }
    reached(PipelinePoint::ClockRuled);
    transaction.commit().await?;
    reached(PipelinePoint::ClockCommitted);
    Ok(true)
}
