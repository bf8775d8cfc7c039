//! All that a decision writes, written to Postgres inside the open transaction.

use lianka_office_core::store::Writes;
use lianka_sync_core::{id::StreetCode, limits, time::ServerTime};
use sqlx::PgConnection;

use super::load::ids_of;

use crate::{
    audit,
    pipeline_point::{PipelinePoint, reached},
    street::store::card_merges as duplicates,
    street::{
        projection::{self as project, Gathered, Projection},
        store::{
            contact_joins, erasures, held_changes as held, records, resolutions as conflicts,
            transfers, trimmed,
        },
    },
};

/// Changes that a record's former generations are known to have accepted: as many as one generation may have, and what its oldest has more.
const EARLIER_CHANGES_MAX: i64 = limits::RECORD_CHANGES_MAX as i64;

/// Writes everything; the audit trail last, which locks the chain's head. `rows`: of the read models, where they are made already.
pub async fn save(
    tx: &mut PgConnection,
    street: &StreetCode,
    now: ServerTime,
    writes: Writes,
    rows: Option<Gathered>,
) -> sqlx::Result<()> {
    for report in &writes.reports {
        tracing::error!(%street, record = %report.record, because = report.because, "{}", report.what);
    }
    held::insert(tx, street, &writes.held).await?;
    held::decide(tx, street, &writes.decided, now).await?;
    if let Some(head) = writes.head {
        save_log(tx, street, now, &writes).await?;
        records::append_log(tx, street, writes.log).await?;
        reached(PipelinePoint::LogWritten);
        if let Some(rows) = rows {
            rows.write(tx, street).await?;
        } else {
            let projections: Vec<_> = writes.records.iter().map(Projection::of).collect();
            project::write(tx, street, &projections).await?;
        }
        reached(PipelinePoint::Projected);
        records::raise_head(tx, street, head).await?;
        reached(PipelinePoint::HeadRaised);
    }
    if !writes.resolutions.is_empty() {
        conflicts::insert_resolutions(tx, street, now, &writes.resolutions).await?;
    }
    conflicts::insert_notices(tx, street, now, &writes.notices).await?;
    for seal in &writes.seals {
        // The record's row is there by now.
        transfers::seal(tx, street, seal.record, seal.revision, &seal.fields, now).await?;
        let fields: Vec<_> = seal.fields.keys().cloned().collect();
        transfers::forget_beside(tx, street, seal.record, &fields).await?;
    }
    for (record, key) in &writes.withdrawn {
        transfers::forget_beside(tx, street, *record, std::slice::from_ref(key)).await?;
    }
    for undone in &writes.undone {
        conflicts::mark_undone(tx, street, undone, now).await?;
    }
    for merge in &writes.merges {
        duplicates::insert_merge(tx, street, merge).await?;
    }
    for (merge, undone) in &writes.merges_undone {
        duplicates::mark_undone(tx, street, *merge, undone).await?;
    }
    for dismissal in &writes.dismissals {
        duplicates::dismiss(tx, street, dismissal, now).await?;
    }
    for join in &writes.joins {
        contact_joins::insert(tx, street, join).await?;
    }
    for (join, undone) in &writes.joins_undone {
        contact_joins::mark_undone(tx, street, *join, undone).await?;
    }
    for redaction in &writes.redacted {
        erasures::redact_entries(tx, street, redaction).await?;
    }
    for receipt in &writes.receipts {
        erasures::insert(tx, street, receipt).await?;
        reached(PipelinePoint::ReceiptWritten);
    }
    audit::append(tx, street.into(), now, &writes.events).await
}

/// What ends, what is rewritten, and the records themselves: before anything is appended.
async fn save_log(
    tx: &mut PgConnection,
    street: &StreetCode,
    now: ServerTime,
    writes: &Writes,
) -> sqlx::Result<()> {
    let gone = ids_of(writes.erased.iter().chain(&writes.unmade));
    if !gone.is_empty() {
        erasures::erase_records(tx, street, &gone).await?;
        reached(PipelinePoint::RecordErased);
    }
    if !writes.unmade.is_empty() {
        let unmade = ids_of(&writes.unmade);
        erasures::insert_unmade(tx, street, &unmade).await?;
        erasures::list_unmade(tx, street, &unmade).await?;
    }
    for rewrite in &writes.rewritten {
        records::rewrite_log(tx, street, rewrite).await?;
        if let Some(places) = &rewrite.trimmed {
            trimmed::replace(tx, street, rewrite.record, places).await?;
        }
        reached(PipelinePoint::HistoryRewritten);
    }
    if !writes.records.is_empty() {
        records::upsert(tx, street, &writes.records).await?;
    }
    for record in &writes.records {
        if let Some((seq, document)) = &record.document {
            records::replace_document(tx, street, record.record, *seq, document).await?;
        }
        for ended in &record.ended {
            let at = now.into();
            trimmed::remember(tx, street, record.record, ended, at, EARLIER_CHANGES_MAX).await?;
        }
    }
    reached(PipelinePoint::RecordsWritten);
    Ok(())
}
