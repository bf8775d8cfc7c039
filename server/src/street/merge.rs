//! MERGE, the IO half: the pushes that wait for one street, merged and committed together.
//!
//! One lock, one fsync, many phones. Every verdict is returned after the commit, never before.

use std::collections::BTreeSet;

pub use lianka_office_core::push::{Author, HELD_PER_DEVICE_MAX, Ingested, Outcome, Push};
use lianka_office_core::{
    acts::Act,
    ids::Ids,
    push::{Pushes, Resent},
    store::Head,
    street::Street,
};
use lianka_sync_core::{id::StreetCode, time::ServerTime};
use sqlx::PgPool;
use uuid::Uuid;

pub use crate::street::error::MergeError;

use crate::{
    clock::Entropy,
    pipeline_point::{PipelinePoint, reached},
    street::transaction::{StreetTransaction, load},
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

/// What a push is told that brings nothing new, without the street's lock: an idle phone that confirms waits for nobody, and nobody for it.
pub async fn resent(
    pool: &PgPool,
    street: &StreetCode,
    push: &Push,
    now: ServerTime,
) -> Result<Option<Vec<Outcome>>, MergeError> {
    let Some(resent) = Resent::of(push) else {
        return Ok(None);
    };
    let mut conn = pool.acquire().await?;
    // Only a record is looked at, and nothing is written.
    let head = Head {
        street: street.clone(),
        store_epoch: Uuid::nil(),
        seq: 0,
        grids: BTreeSet::new(),
    };
    let mut known = Street::new(head, now);
    loop {
        let lacking = known.lacks(resent.wants(&known));
        if lacking.is_empty() {
            break;
        }
        let loaded = load::load(&mut conn, street, &lacking).await?;
        known.learn(lacking, loaded);
    }
    let Ok(outcome) = resent.decide(&mut known);
    Ok(outcome.map(|outcome| vec![outcome]))
}
