//! Outbox and drafts in the store: what was edited, encoded and as edits, until the server answered.

use std::collections::BTreeSet;

use lianka_client_core::{
    Draft, KeptDraft, OutboxEntry, OutboxState, Reason,
    redact::{self, Redacted},
};
use lianka_sync_core::{
    id::{ChangeHash, EntryId, RecordId},
    time::DeviceTime,
};
use rusqlite::{Row, Transaction, params};

use super::{StoreError, id, kind, record_id};

const COLUMNS: &str =
    "record, kind, generation, hash, bytes, edits, made_at, state, reason, tries, rebases";

/// Columns that need more than `SQLite`'s types to read.
struct Raw {
    entry: OutboxEntry,
    kind: String,
    edits: String,
    state: String,
    reason: Option<String>,
}

impl Raw {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            kind: row.get(1)?,
            edits: row.get(5)?,
            state: row.get(7)?,
            reason: row.get(8)?,
            entry: OutboxEntry {
                record: record_id(row, 0)?,
                kind: lianka_sync_core::kinds::Kind::ShopCard,
                generation: row.get(2)?,
                hash: ChangeHash(row.get(3)?),
                bytes: row.get(4)?,
                edits: Vec::new(),
                made_at: DeviceTime::from_unix_ms(row.get(6)?),
                state: OutboxState::Unsent,
                reason: None,
                tries: row.get(9)?,
                rebases: row.get(10)?,
            },
        })
    }

    fn parse(self) -> Result<OutboxEntry, StoreError> {
        let damaged = |_| StoreError::Damaged("outbox entry");
        let state = match self.state.as_str() {
            "held" => OutboxState::Held,
            "refused" => OutboxState::Refused,
            _ => OutboxState::Unsent,
        };
        let reason = self
            .reason
            .map(|reason| serde_json::from_str(&reason))
            .transpose()
            .map_err(damaged)?;
        let edits = serde_json::from_str(&self.edits).map_err(damaged)?;
        Ok(OutboxEntry {
            kind: kind(&self.kind)?,
            edits,
            state,
            reason,
            ..self.entry
        })
    }
}

fn select(
    tx: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<OutboxEntry>, StoreError> {
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(values, Raw::read)?;
    rows.map(|row| row?.parse()).collect()
}

/// The whole outbox, in order.
pub(super) fn all(tx: &Transaction<'_>) -> Result<Vec<OutboxEntry>, StoreError> {
    select(
        tx,
        &format!("SELECT {COLUMNS} FROM outbox ORDER BY position"),
        [],
    )
}

/// The entries of one record, in order.
pub(super) fn of_record(
    tx: &Transaction<'_>,
    record: RecordId,
) -> Result<Vec<OutboxEntry>, StoreError> {
    select(
        tx,
        &format!("SELECT {COLUMNS} FROM outbox WHERE record = ?1 ORDER BY position"),
        [id(&record)],
    )
}

/// Entries by state: unsent, held, refused.
pub(super) fn count(tx: &Transaction<'_>) -> Result<[u64; 3], StoreError> {
    let sql =
        "SELECT count(*) FILTER (WHERE state = 'unsent'), count(*) FILTER (WHERE state = 'held'),
        count(*) FILTER (WHERE state = 'refused') FROM outbox";
    let read = |row: &Row<'_>| {
        Ok([
            row.get::<_, i64>(0)? as u64,
            row.get::<_, i64>(1)? as u64,
            row.get::<_, i64>(2)? as u64,
        ])
    };
    Ok(tx.prepare_cached(sql)?.query_row([], read)?)
}

/// Appends an entry.
pub(super) fn append(tx: &Transaction<'_>, entry: &OutboxEntry) -> Result<(), StoreError> {
    let damaged = |_| StoreError::Damaged("outbox entry");
    let edits = serde_json::to_string(&entry.edits).map_err(damaged)?;
    let reason = entry
        .reason
        .as_ref()
        .map(serde_json::to_string)
        .transpose()
        .map_err(damaged)?;
    let sql = format!(
        "INSERT INTO outbox ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    );
    tx.prepare_cached(&sql)?.execute(params![
        id(&entry.record),
        entry.kind.as_str(),
        entry.generation,
        entry.hash.0,
        entry.bytes,
        edits,
        entry.made_at.unix_ms(),
        entry.state.as_str(),
        reason,
        entry.tries,
        entry.rebases,
    ])?;
    Ok(())
}

/// Removes an entry that was answered.
pub(super) fn remove(
    tx: &Transaction<'_>,
    record: RecordId,
    hash: ChangeHash,
) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM outbox WHERE record = ?1 AND hash = ?2")?
        .execute(params![id(&record), hash.0])?;
    Ok(())
}

/// Notes what the server said.
pub(super) fn mark(
    tx: &Transaction<'_>,
    record: RecordId,
    hash: ChangeHash,
    state: OutboxState,
    reason: &Reason,
    again: bool,
) -> Result<(), StoreError> {
    let reason = serde_json::to_string(reason).map_err(|_| StoreError::Damaged("outbox entry"))?;
    let sql = "UPDATE outbox SET state = ?3, reason = ?4, tries = tries + ?5 WHERE record = ?1 AND hash = ?2";
    tx.prepare_cached(sql)?
        .execute(params![id(&record), hash.0, state.as_str(), reason, again])?;
    Ok(())
}

/// Puts these in the place of all entries of the record.
pub(super) fn replace(
    tx: &Transaction<'_>,
    record: RecordId,
    entries: &[OutboxEntry],
) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM outbox WHERE record = ?1")?
        .execute([id(&record)])?;
    entries.iter().try_for_each(|entry| append(tx, entry))
}

/// Keeps a draft.
pub(super) fn put_draft(
    tx: &Transaction<'_>,
    draft: &Draft,
    title: Option<&str>,
) -> Result<(), StoreError> {
    let content = serde_json::to_string(draft).map_err(|_| StoreError::Damaged("draft"))?;
    tx.prepare_cached("INSERT INTO draft (record, title, content) VALUES (?1, ?2, ?3)")?
        .execute(params![id(&draft.record), title, content])?;
    Ok(())
}

/// Every draft, oldest first.
pub(super) fn drafts(tx: &Transaction<'_>) -> Result<Vec<KeptDraft>, StoreError> {
    let mut statement = tx.prepare_cached("SELECT id, title, content FROM draft ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))
    })?;
    rows.map(|row| {
        let (id, title, content) = row?;
        let draft = serde_json::from_str(&content).map_err(|_| StoreError::Damaged("draft"))?;
        Ok(KeptDraft { id, title, draft })
    })
    .collect()
}

/// Drops every edit of these entries of a record, from the outbox and from drafts.
pub(super) fn redact(
    tx: &Transaction<'_>,
    record: RecordId,
    entries: &BTreeSet<EntryId>,
) -> Result<(), StoreError> {
    if let Some(outbox) = redact::outbox(&of_record(tx, record)?, entries) {
        replace(tx, record, &outbox)?;
    }
    for kept in drafts(tx)? {
        if kept.draft.record != record {
            continue;
        }
        match redact::draft(&kept.draft, entries) {
            Redacted::Kept => {}
            Redacted::Gone => drop(remove_draft(tx, kept.id)?),
            Redacted::Rest(draft) => {
                remove_draft(tx, kept.id)?;
                put_draft(tx, &draft, kept.title.as_deref())?;
            }
        }
    }
    Ok(())
}

/// Drops a draft; whether there was one.
pub(super) fn remove_draft(tx: &Transaction<'_>, id: i64) -> Result<bool, StoreError> {
    Ok(tx
        .prepare_cached("DELETE FROM draft WHERE id = ?1")?
        .execute([id])?
        > 0)
}
