//! Notices in the store: what the office told this user and no record says. They come with a synchronisation, possibly more than once, and stay
//! until newer ones crowd them out.

use lianka_client_core::notice::{KEPT_MAX, KeptNotice};
use lianka_sync_core::{codec::wire::Notice, id::RecordId};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{StoreError, id};

/// Keeps a notice; one that is there already stays as it is, read or not.
pub(super) fn put(tx: &Transaction<'_>, notice: &Notice) -> Result<(), StoreError> {
    let content = serde_json::to_string(notice).map_err(|_| StoreError::Damaged("notice"))?;
    let sql = "INSERT INTO notice (notice, record, seq, content) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (notice) DO NOTHING";
    tx.prepare_cached(sql)?.execute(params![
        notice.id.as_bytes(),
        id(&notice.record),
        notice.seq as i64,
        content
    ])?;
    let sql = "DELETE FROM notice WHERE notice IN (SELECT notice FROM notice ORDER BY seq DESC, notice DESC LIMIT -1 OFFSET ?1)";
    tx.prepare_cached(sql)?.execute([KEPT_MAX as i64])?;
    Ok(())
}

/// Every notice, the newest first.
pub(super) fn all(tx: &Transaction<'_>) -> Result<Vec<KeptNotice>, StoreError> {
    let mut rows =
        tx.prepare_cached("SELECT content, unread FROM notice ORDER BY seq DESC, notice DESC")?;
    let rows = rows.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
    })?;
    rows.map(|row| {
        let (content, unread) = row?;
        let notice = serde_json::from_str(&content).map_err(|_| StoreError::Damaged("notice"))?;
        Ok(KeptNotice {
            title: None,
            unread,
            notice,
        })
    })
    .collect()
}

/// How many the user has not looked at.
pub(super) fn unread(tx: &Transaction<'_>) -> Result<u64, StoreError> {
    let count: Option<i64> = tx
        .prepare_cached("SELECT count(*) FROM notice WHERE unread")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(count.unwrap_or(0) as u64)
}

/// The user has looked at all of them.
pub(super) fn mark_read(tx: &Transaction<'_>) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE notice SET unread = 0 WHERE unread")?
        .execute([])?;
    Ok(())
}

/// Forgets what was said of an erased record.
pub(super) fn forget(tx: &Transaction<'_>, record: RecordId) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM notice WHERE record = ?1")?
        .execute([id(&record)])?;
    Ok(())
}
