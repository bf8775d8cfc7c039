//! Seals: now and then the deployment's key signs the end of each chain, and what lies before an old enough seal is pruned.
//!
//! A seal is an event that names the key, and beside it a row with the signature over chain, number, hash and time of that event. The event
//! keeps a seal from being removed unseen; the signature lets the chain begin there once its past was pruned. A seal is also logged: kept on
//! another machine, its number and hash are the anchor that `audit verify` takes.
//!
//! Safe to run on any number of servers, and bounded: a few chains a pass, the events of one seal at a time.

use lianka_sync_core::time::ServerTime;
use time::OffsetDateTime;

use crate::{
    audit::{
        self, Action, Chain, Event, genesis,
        seal::message,
        store::{self as store, SealRow},
    },
    auth::{Auth, SealKey, error::KeyError},
    pipeline_point::{PipelinePoint, reached},
};

/// A chain that grows is sealed this often.
const SEALED_EVERY_MS: i64 = 86_400_000;
/// Chains of one pass.
const PASS_CHAINS: i64 = 50;
const DAY_MS: i64 = 86_400_000;

/// What a pass did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    /// Chains sealed.
    pub sealed: u64,
    /// Events pruned.
    pub pruned: u64,
}

/// One bounded pass.
pub async fn pass(app: &Auth) -> Result<Pass, KeyError> {
    let mut done = Pass::default();
    let now = app.clock.now();
    let due = store::unsealed(
        &mut *app.pool.acquire().await?,
        ago(now, SEALED_EVERY_MS),
        ago(now, -SEALED_EVERY_MS),
        PASS_CHAINS,
    )
    .await?;
    for chain in due {
        done.sealed += u64::from(seal(app, Chain::named(&chain), now).await?);
    }
    if app.clock.is_ahead() {
        return Ok(done);
    }
    let kept_ms = i64::try_from(app.config.audit_retention.as_millis()).unwrap_or(i64::MAX);
    let old = store::prunable(
        &mut *app.pool.acquire().await?,
        ago(now, kept_ms),
        PASS_CHAINS,
    )
    .await?;
    for (chain, upto) in old {
        done.pruned += prune(app, Chain::named(&chain), upto, now).await?;
    }
    Ok(done)
}

fn ago(now: ServerTime, ms: i64) -> ServerTime {
    ServerTime::from_unix_ms(now.unix_ms().saturating_sub(ms))
}

/// Seals the end of a chain; false where another server just did.
async fn seal(app: &Auth, chain: Chain<'_>, now: ServerTime) -> Result<bool, KeyError> {
    let key = app.seal_key().await?;
    let mut tx = app.pool.begin().await?;
    store::lock_head(&mut tx, chain.as_str(), &genesis(chain)).await?;
    let seals = store::seals(&mut tx, chain.as_str()).await?;
    // One from tomorrow or later was made by a clock that was wrong.
    let fresh = ago(now, SEALED_EVERY_MS)..ago(now, -SEALED_EVERY_MS);
    if seals
        .last()
        .is_some_and(|seal| fresh.contains(&ServerTime::from(seal.at)))
    {
        return Ok(false);
    }
    let event = Event::by_server(Action::Seal)
        .with("kid", key.kid.clone())
        .with("public_key", hex::encode(key.public));
    audit::append(&mut tx, chain, now, &[event]).await?;
    reached(PipelinePoint::SealAppended);
    let head = store::lock_head(&mut tx, chain.as_str(), &genesis(chain)).await?;
    let seal = signed(chain, &key, head.no, head.hash, OffsetDateTime::from(now));
    store::insert_seal(&mut tx, chain.as_str(), &seal).await?;
    tx.commit().await?;
    reached(PipelinePoint::SealCommitted);
    tracing::info!(
        chain = chain.as_str(),
        no = seal.no,
        hash = hex::encode(&seal.hash),
        kid = seal.kid,
        "sealed the audit trail"
    );
    Ok(true)
}

async fn prune(app: &Auth, chain: Chain<'_>, upto: i64, now: ServerTime) -> sqlx::Result<u64> {
    let mut tx = app.pool.begin().await?;
    // Writers of the chain wait, so that the act is told before anything else happens.
    store::lock_head(&mut tx, chain.as_str(), &genesis(chain)).await?;
    let pruned = store::prune(&mut tx, chain.as_str(), upto).await?;
    reached(PipelinePoint::EventsPruned);
    if pruned > 0 {
        let days = app.config.audit_retention.as_secs() * 1_000 / DAY_MS as u64;
        let event = Event::by_server(Action::Prune)
            .with("before", upto)
            .with("events", pruned)
            .with("kept_days", days);
        audit::append(&mut tx, chain, now, &[event]).await?;
    }
    tx.commit().await?;
    Ok(pruned)
}

fn signed(chain: Chain<'_>, key: &SealKey, no: i64, hash: Vec<u8>, at: OffsetDateTime) -> SealRow {
    let message = message(chain, no, &hash, at);
    SealRow {
        no,
        hash,
        at,
        kid: key.kid.clone(),
        public_key: key.public.to_vec(),
        signature: key.sign(&message),
    }
}
