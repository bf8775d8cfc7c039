//! Compaction: what keeps a record, and all that is sent and loaded of it, bounded (docs/decisions/0020-compaction-forgets-what-was-overwritten.md).
//!
//! In: records that have become full to a share of what they may hold. Out: their next generation, as [`lianka_sync_core::crdt::rebuild::compact`]
//! makes it, in the log as a rebuild that phones take whole. A background pass, bounded and safe on any number of servers. The long work is done
//! without the street's lock: where a change came meanwhile, it is done again at the next pass.
//!
//! Invariants:
//! - what a record says, and since when and by whom, is the same before and after;
//! - what was accepted stays accepted: a phone that sends it again hears `duplicate`, and an edit that it has not sent yet is rebased like after
//!   any rebuild.

use std::{collections::HashMap, time::Duration};

use lianka_office_core::{
    acts::compact::{Compact, is_worth_it},
    street::{ForgetError, Forgotten},
};
use lianka_sync_core::{
    crdt::{
        merge::RegisterState,
        rebuild::{self, RebuildError},
    },
    id::{ChangeHash, RecordId, StreetCode},
    limits,
    time::ServerTime,
};
use sqlx::PgPool;

use crate::{
    pipeline_point::{PipelinePoint, reached},
    state::App,
    street::{
        merge::MergeError,
        store::records::{self, Lagging},
        transaction::StreetTransaction,
    },
    upkeep::{store, trimming::before},
};

/// Records looked at in one query.
const PAGE: i64 = 100;
/// From here on all that was overwritten goes, however lately: a record that takes no edit is worse than a short history.
const NEARLY_FULL_PERCENT: u32 = 90;

/// When a record is compacted, and what of it stays.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How full it is, in percent of what it may hold.
    pub percent: u32,
    /// What was accepted within this time stays, overwritten or not.
    pub keep: Duration,
}

/// Why a record was not compacted.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Forget(#[from] ForgetError),
}

impl From<sqlx::Error> for CompactionError {
    fn from(error: sqlx::Error) -> Self {
        Self::Merge(error.into())
    }
}

impl From<RebuildError> for CompactionError {
    fn from(error: RebuildError) -> Self {
        Self::Forget(error.into())
    }
}

/// Changes that records had when it was last tried: one that gained nothing is not tried again before it has grown.
pub type Tried = HashMap<(StreetCode, RecordId), usize>;

/// One pass, as the settings say.
pub async fn run(app: &App, tried: &mut Tried) -> Result<(), CompactionError> {
    if app.clock.is_ahead() {
        return Ok(());
    }
    let rules = Rules {
        percent: app.config.compact_percent,
        keep: app.config.keep().changes,
    };
    pass(&app.pool, rules, None, app.clock.now(), tried)
        .await
        .map(drop)
}

/// Goes once through the large records, of one street or of all. How many were compacted.
pub async fn pass(
    pool: &PgPool,
    rules: Rules,
    only: Option<&StreetCode>,
    now: ServerTime,
    tried: &mut Tried,
) -> Result<u64, CompactionError> {
    let mut compacted = 0;
    let mut after: Option<(StreetCode, RecordId)> = None;
    // What a share of any maximum takes at least, so that small records are not read.
    let (state, document) = (
        rules.percent * 600,
        rules.percent * (limits::RECORD_BYTES_MAX / 1600) as u32,
    );
    loop {
        let from = after.as_ref().map(|(street, record)| (street, *record));
        let page = store::large(
            &mut *pool.acquire().await?,
            state as i32,
            document as i32,
            from,
            PAGE,
        )
        .await?;
        for (street, record) in page
            .iter()
            .filter(|(street, _)| only.is_none_or(|only| only == street))
        {
            match try_one(pool, rules, street, *record, now, tried).await {
                Ok(done) => compacted += u64::from(done.is_some()),
                Err(CompactionError::Merge(error)) if !error.is_about_one_record() => {
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::error!(%street, %record, %error, "a record could not be compacted; it stays as it is");
                }
            }
        }
        let full = page.len() as i64 == PAGE;
        match page.into_iter().next_back() {
            Some(last) if full => after = Some(last),
            _ => return Ok(compacted),
        }
    }
}

async fn try_one(
    pool: &PgPool,
    rules: Rules,
    street: &StreetCode,
    record: RecordId,
    now: ServerTime,
    tried: &mut Tried,
) -> Result<Option<Forgotten>, CompactionError> {
    let Some((stored, state)) = read(pool, street, record).await? else {
        return Ok(None);
    };
    let key = (street.clone(), record);
    let fullness = state.fullness();
    if fullness < rules.percent
        || tried
            .get(&key)
            .is_some_and(|tried| state.len() <= tried + tried / 10)
    {
        return Ok(None);
    }
    tried.insert(key.clone(), state.len());
    let cut = if fullness >= NEARLY_FULL_PERCENT {
        now
    } else {
        before(now, rules.keep)
    };
    let done = replace(pool, street, record, stored, state, cut, now).await?;
    if let Some(done) = done {
        tried.insert(key, done.left);
    }
    Ok(done)
}

/// Compacts a record however full it is, but for what was accepted since `cut`. `None` where that gains nothing, or where a change came meanwhile.
pub async fn compact(
    pool: &PgPool,
    street: &StreetCode,
    record: RecordId,
    cut: ServerTime,
    now: ServerTime,
) -> Result<Option<Forgotten>, CompactionError> {
    match prepare(pool, street, record, cut).await? {
        Some(compact) => put_in_place(pool, street, compact, now).await,
        None => Ok(None),
    }
}

/// Makes a record's compacted history while the street is free for others. `None` where it gains nothing.
pub async fn prepare(
    pool: &PgPool,
    street: &StreetCode,
    record: RecordId,
    cut: ServerTime,
) -> Result<Option<Compact>, CompactionError> {
    match read(pool, street, record).await? {
        Some((stored, state)) => make(record, stored, state, cut).await,
        None => Err(ForgetError::NoRecord.into()),
    }
}

/// Compacts a record that takes no more changes, or hardly any.
pub async fn make_room(
    pool: &PgPool,
    street: &StreetCode,
    record: RecordId,
    now: ServerTime,
) -> Result<Option<Forgotten>, CompactionError> {
    match read(pool, street, record).await? {
        Some((stored, state)) if state.fullness() >= NEARLY_FULL_PERCENT => {
            replace(pool, street, record, stored, state, now, now).await
        }
        _ => Ok(None),
    }
}

async fn read(
    pool: &PgPool,
    street: &StreetCode,
    record: RecordId,
) -> Result<Option<(Lagging, RegisterState)>, CompactionError> {
    let mut tx = pool
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    let stored = records::documents_and_states(&mut tx, street, &[record.0])
        .await?
        .pop();
    tx.commit().await?;
    // A record that cannot be read is reported by whoever writes to it.
    Ok(stored.and_then(|stored| {
        RegisterState::from_bytes(&stored.state)
            .ok()
            .map(|state| (stored, state))
    }))
}

async fn replace(
    pool: &PgPool,
    street: &StreetCode,
    record: RecordId,
    stored: Lagging,
    state: RegisterState,
    cut: ServerTime,
    now: ServerTime,
) -> Result<Option<Forgotten>, CompactionError> {
    match make(record, stored, state, cut).await? {
        Some(compact) => put_in_place(pool, street, compact, now).await,
        None => Ok(None),
    }
}

async fn make(
    record: RecordId,
    stored: Lagging,
    state: RegisterState,
    cut: ServerTime,
) -> Result<Option<Compact>, CompactionError> {
    let of: Vec<ChangeHash> = state.accepted().map(|(hash, _)| hash).collect();
    let bytes = stored.document.bytes.len();
    let work =
        tokio::task::spawn_blocking(move || rebuild::compact(&state, &stored.document.bytes, cut));
    let rebuilt = match work.await {
        Ok(rebuilt) => rebuilt?,
        // It would at every pass: the record stays as it is, and those behind it have their turn.
        Err(error) if error.is_panic() => return Err(RebuildError::Differs.into()),
        Err(error) => return Err(sqlx::Error::Io(std::io::Error::other(error)).into()),
    };
    let compact = Compact {
        record,
        of,
        rebuilt,
    };
    Ok(is_worth_it(&compact.rebuilt, compact.of.len(), bytes).then_some(compact))
}

/// Puts a compacted history in the place of the one that it was made from. `None` where a change came meanwhile.
pub async fn put_in_place(
    pool: &PgPool,
    street: &StreetCode,
    compact: Compact,
    now: ServerTime,
) -> Result<Option<Forgotten>, CompactionError> {
    let (record, before) = (compact.record, compact.of.len());
    let mut transaction = StreetTransaction::begin(pool, street, now).await?;
    let Some(done) = transaction.decide(compact).await?? else {
        return Ok(None);
    };
    reached(PipelinePoint::HistoryCompacted);
    transaction.commit().await?;
    reached(PipelinePoint::CompactionCommitted);
    tracing::info!(%street, %record, generation = done.generation, before, after = done.left, "a record's history was compacted");
    Ok(Some(done))
}
