//! Edits kept for a reviewer.

use lianka_sync_core::{
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// An edit to hold.
#[derive(Debug)]
pub struct HeldWrite {
    pub held: Uuid,
    pub record: RecordId,
    pub kind: &'static str,
    pub generation: i32,
    pub hash: ChangeHash,
    pub bytes: Vec<u8>,
    pub device: DeviceId,
    pub username: String,
    /// Stable word: why it is held.
    pub reason: &'static str,
    pub received_at: ServerTime,
}

/// Keeps the edits; what is held already stays as it is.
pub async fn insert(tx: &mut PgConnection, street: &StreetCode, held: &[HeldWrite]) -> sqlx::Result<()> {
    for held in held {
        sqlx::query!(
            "insert into held_change (street, held, record, kind, generation, hash, bytes, device, username, reason, received_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict (street, record, generation, hash) do nothing",
            street.as_str(),
            held.held,
            held.record.0,
            held.kind,
            held.generation,
            &held.hash.0[..],
            &held.bytes,
            held.device.0,
            held.username,
            held.reason,
            OffsetDateTime::from(held.received_at),
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// What is held of these records: record, change, and why.
pub async fn of_records(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<(RecordId, ChangeHash, String)>> {
    let rows =
        sqlx::query!("select record, hash, reason from held_change where street = $1 and record = any($2)", street.as_str(), records)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().filter_map(|row| Some((RecordId(row.record), ChangeHash::from_slice(&row.hash)?, row.reason))).collect())
}
