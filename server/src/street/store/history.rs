//! What the log says of past changes, for [`crate::street::history`].

use std::collections::HashMap;

use lianka_sync_core::{
    id::{ChangeHash, RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A change of the log, with its author.
#[derive(Debug)]
pub struct AuthoredChange {
    pub seq: i64,
    pub record: RecordId,
    pub bytes: Vec<u8>,
    pub received_at: OffsetDateTime,
    pub username: Option<String>,
}

/// Who a device is, for people.
#[derive(Debug)]
pub struct DeviceName {
    pub device: Uuid,
    pub name: String,
    pub username: String,
}

/// The names of devices.
pub async fn device_names(
    conn: &mut PgConnection,
    devices: &[Uuid],
) -> sqlx::Result<Vec<DeviceName>> {
    sqlx::query_as!(
        DeviceName,
        "select device, name, username from device where device = any($1)",
        devices
    )
    .fetch_all(conn)
    .await
}

/// The bytes of changes: of each of `records` the change of the same position in `hashes`. What the log does not hold any more is missing.
pub async fn changes(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
    hashes: &[Vec<u8>],
) -> sqlx::Result<HashMap<(RecordId, ChangeHash), Vec<u8>>> {
    let rows = sqlx::query!(
        r#"select l.record, l.hash as "hash!", l.bytes as "bytes!" from unnest($2::uuid[], $3::bytea[]) as wanted (record, hash)
           join change_log l on l.street = $1 and l.record = wanted.record and l.hash = wanted.hash and l.type = 'change'"#,
        street.as_str(),
        records,
        hashes,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some((
                (RecordId(row.record), ChangeHash::from_slice(&row.hash)?),
                row.bytes,
            ))
        })
        .collect())
}

/// A change after another one, for what was edited since.
#[derive(Debug)]
pub struct LaterChange {
    pub bytes: Vec<u8>,
    pub username: Option<String>,
    pub received_at: ServerTime,
}

/// The newest changes of a record after one of its changes, the oldest first.
pub async fn changes_after(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    hash: ChangeHash,
    limit: i64,
) -> sqlx::Result<Vec<LaterChange>> {
    let rows = sqlx::query!(
        r#"select l.bytes as "bytes!", d.username as "username?", l.received_at
           from change_log l left join device d on d.device = l.device
           where l.street = $1 and l.record = $2 and l.type = 'change'
             and l.seq > (select max(seq) from change_log where street = $1 and record = $2 and hash = $3)
           order by l.seq desc limit $4"#,
        street.as_str(),
        record.0,
        hash.0.as_slice(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .rev()
        .map(|row| LaterChange {
            bytes: row.bytes,
            username: row.username,
            received_at: row.received_at.into(),
        })
        .collect())
}
