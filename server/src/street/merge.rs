//! MERGE, the IO half: the pushes that wait for one street, merged and committed together.
//!
//! One lock, one fsync, many phones. Every verdict is returned after the commit, never before.

pub use lianka_office_core::push::{Author, HELD_PER_DEVICE_MAX, Ingested, Outcome, Push};
use lianka_office_core::{ids::Ids, push::Pushes};
use lianka_sync_core::{id::StreetCode, time::ServerTime};
use sqlx::PgPool;

pub use crate::street::error::{LOCK_NOT_AVAILABLE, MergeError};

use crate::{
    clock::Entropy,
    pipeline_point::{PipelinePoint, reached},
    street::transaction::StreetTransaction,
};

/// Merges `pushes` in their order and commits them as one; the outcomes of each push in the order of its changes.
pub async fn commit(
    pool: &PgPool,
    street: &StreetCode,
    pushes: &[Push],
    now: ServerTime,
    entropy: &Entropy,
) -> Result<Vec<Vec<Outcome>>, MergeError> {
    let mut transaction = StreetTransaction::begin(pool, street, now).await?;
    let ids = Ids::new(entropy.bytes());
    let Ok(outcomes) = transaction.decide(Pushes { pushes, ids }).await?;
    reached(PipelinePoint::Ruled);
    transaction.commit().await?;
    Ok(outcomes)
}
