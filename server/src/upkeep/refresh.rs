//! The background pass: brings lagging snapshots up to the log, and each time asks Automerge whether it reads the record as MERGE does.
//!
//! A difference stops that record's refresh, is counted and reported, and loses nothing: the log is there. Bounded, safe to run on any number
//! of servers, and never in the way of a commit: it takes no lock that a writer waits for.

use std::collections::BTreeMap;

use lianka_sync_core::{
    crdt::{
        merge::RegisterState,
        record::{Record, RecordError},
    },
    id::StreetCode,
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    clock::Clock,
    pipeline_point::{PipelinePoint, reached},
    street::store::records::{self, Lagging, Snapshot},
};

/// Records of one pass.
const PASS_RECORDS: i64 = 64;

/// What a pass did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    pub refreshed: u64,
    pub disputed: u64,
}

/// One bounded pass: the records of a street are read and written together.
pub async fn pass(pool: &PgPool, clock: &Clock) -> sqlx::Result<Pass> {
    let lagging = records::lagging(&mut *pool.acquire().await?, PASS_RECORDS).await?;
    let mut streets: BTreeMap<StreetCode, Vec<Uuid>> = BTreeMap::new();
    for (street, record) in lagging {
        streets.entry(street).or_default().push(record);
    }
    let mut pass = Pass::default();
    for (street, records) in streets {
        refresh(pool, clock, &street, &records, &mut pass).await?;
    }
    Ok(pass)
}

async fn refresh(
    pool: &PgPool,
    clock: &Clock,
    street: &StreetCode,
    records: &[Uuid],
    pass: &mut Pass,
) -> sqlx::Result<()> {
    let mut tx = pool
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    let lagging = records::documents_and_states(&mut tx, street, records).await?;
    tx.commit().await?;
    let mut snapshots = Vec::with_capacity(lagging.len());
    for lagging in lagging {
        let of = &lagging.document;
        let (record, generation, seq) = (of.record, of.generation, of.seq);
        let judged = match tokio::task::spawn_blocking(move || judge(&lagging)).await {
            Ok(judged) => judged,
            // It would at every pass, and all that wait behind it would wait for ever.
            Err(error) if error.is_panic() => Err("Automerge panics".into()),
            Err(error) => return Err(sqlx::Error::Io(std::io::Error::other(error))),
        };
        match judged {
            Ok(bytes) => snapshots.push(Snapshot {
                record,
                generation,
                seq,
                bytes,
            }),
            Err(reason) => {
                tracing::error!(%street, %record, reason, "a record's document and register state differ; its refresh stops, nothing is lost");
                let mut conn = pool.acquire().await?;
                records::mark_disputed(&mut conn, street, record, clock.now()).await?;
                pass.disputed += 1;
            }
        }
    }
    reached(PipelinePoint::SnapshotJudged);
    records::store_snapshots(&mut *pool.acquire().await?, street, &snapshots).await?;
    reached(PipelinePoint::SnapshotStored);
    pass.refreshed += snapshots.len() as u64;
    Ok(())
}

/// The refreshed snapshot, loaded once more and read as Automerge reads it; or why it cannot be trusted. The reason names no content.
fn judge(lagging: &Lagging) -> Result<Vec<u8>, String> {
    let automerge = |error: RecordError| error.to_string();
    let state = RegisterState::from_bytes(&lagging.state).map_err(|error| error.to_string())?;
    let chunks = &lagging.document.bytes;
    let saved = Record::load(chunks).map_err(automerge)?.save();
    // A saved document names its heads, 32 bytes that no compression shrinks: the few chunks of a young record are the smaller snapshot.
    let snapshot = if saved.len() < chunks.len() {
        saved
    } else {
        chunks.clone()
    };
    let mut record = Record::load(&snapshot).map_err(automerge)?;
    if record.heads() != state.heads() {
        return Err("heads differ".into());
    }
    if record.view().map_err(automerge)? != state.view() {
        return Err("values differ".into());
    }
    Ok(snapshot)
}
