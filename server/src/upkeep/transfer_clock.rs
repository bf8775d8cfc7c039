//! The clock of transfers: limits that passed while nobody was looking.
//!
//! A bounded background pass, safe on any number of servers: it finds by an index what is due, takes the street, looks again and writes event and
//! ruling as one change. What it did is in the record, so a restart repeats nothing.

use std::time::Duration;

use lianka_office_core::follow::rulings::write_ruling;
use lianka_sync_core::{
    codec::change::Scalar,
    crdt::merge::{RegisterState, Write},
    id::{DeviceId, EntryId, RecordId, StreetCode},
    kinds::transfer::{self, Case, Facts, Outcome, Ruled, Then, member::clock_event_id},
    time::ServerTime,
};
use sqlx::PgPool;

use crate::{
    clock::{Clock, Entropy},
    pipeline_point::{PipelinePoint, reached},
    privacy::erasure::{self, ErasureError, Request},
    state::App,
    store::waits::within,
    street::{merge::MergeError, transaction::StreetTransaction},
    transfers::store,
    upkeep::compaction::{self, CompactionError},
};

/// Requests of one pass.
const PASS_REQUESTS: i64 = 64;
/// Pages of requests that are looked through until one of them has something that can be done.
const PASS_PAGES: usize = 16;
/// Between two passes while there is work.
const PAUSE_BUSY: Duration = Duration::from_millis(200);
/// Between two looks while there is none. Limits are days.
const PAUSE_IDLE: Duration = Duration::from_secs(30);

/// What a pass did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    /// Events written, and drafts erased.
    pub events: u64,
}

/// Passes until the server stops.
pub async fn run(app: App) {
    loop {
        let pause = match within(
            app.config.store.waits.unhurried(),
            Box::pin(pass(&app.pool, &app.clock, &app.entropy)),
        )
        .await
        {
            Ok(pass) if pass != Pass::default() => PAUSE_BUSY,
            Ok(_) => PAUSE_IDLE,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the transfers' clock could not reach the store; it tries again"
                );
                PAUSE_IDLE
            }
        };
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
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
    let mut write = StreetTransaction::begin(pool, street, now).await?;
    write.load([record]).await?;
    // Another server may have been quicker, or the request have moved on: only what is due now, under the lock, is done.
    let Some(case) = write
        .state(record)
        .map(|state: &RegisterState| Case::of(&state.view()))
    else {
        return Ok(false);
    };
    let created = write.state(record).and_then(RegisterState::created_at);
    if case
        .now
        .clock(created)
        .is_some_and(|(due, then)| now >= due && then == Then::Erase)
    {
        reached(PipelinePoint::ClockRuled);
        let erased = erase(write, record, entropy).await?;
        reached(PipelinePoint::ClockCommitted);
        return Ok(erased);
    }
    let Some(step) = transfer::clock_step(&case, now) else {
        return Ok(false);
    };
    let id = clock_event_id(record, case.now.no, now);
    let event = transfer::clock_event(&case, id, step);
    let ruling = transfer::rule(&case, &event, now, &Facts::default());
    if ruling.outcome != Outcome::Applied {
        return Ok(false);
    }
    let ruled = Ruled {
        no: case.now.no + 1,
        at: now,
        ruling,
        by: None,
    };
    let written = write_ruling(&mut write, record, &event, &ruled, event_keys(id, &event));
    if written {
        reached(PipelinePoint::ClockRuled);
        write.commit().await?;
        reached(PipelinePoint::ClockCommitted);
    }
    Ok(written)
}

/// Ends a draft that nobody submitted in time.
async fn erase(
    write: StreetTransaction,
    record: RecordId,
    entropy: &Entropy,
) -> Result<bool, MergeError> {
    let request = Request {
        username: erasure::BY_CLOCK,
        device: DeviceId::default(),
        reason: "purpose_ended",
    };
    match erasure::erase_in(write, record, &request, entropy).await {
        Ok(_) => Ok(true),
        Err(ErasureError::Merge(error)) => Err(error),
        Err(error) => {
            tracing::error!(%record, %error, "a draft whose time is over could not be erased");
            Ok(false)
        }
    }
}

fn event_keys(id: EntryId, event: &transfer::Event) -> Vec<Write> {
    let put = |name: &str, value: String| {
        Write::new(format!("events/{id}/{name}"), Some(Scalar::Str(value)))
    };
    let mut keys = vec![put("type", event.step.to_string())];
    keys.extend(event.seen.map(|seen| put("seen", seen.to_string())));
    keys
}
