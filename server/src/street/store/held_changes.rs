//! Edits kept for a reviewer.

use std::collections::BTreeMap;

use lianka_office_core::store::{HeldChange, HeldDecision, HeldStatus, HeldWrite, KnownHeld};
use lianka_sync_core::{
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// Keeps the edits; what is held already stays as it is.
pub async fn insert(
    tx: &mut PgConnection,
    street: &StreetCode,
    held: &[HeldWrite],
) -> sqlx::Result<()> {
    for held in held {
        sqlx::query!(
            "insert into held_change (street, held, record, kind, generation, hash, bytes, device, username, reason, received_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict (street, record, generation, hash) do nothing",
            street.as_str(),
            held.held,
            held.record.0,
            held.kind.as_str(),
            held.generation as i32,
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

/// Held changes: those of these ids, and all of these records, in the order in which they came.
pub async fn changes(
    conn: &mut PgConnection,
    street: &StreetCode,
    held: &[Uuid],
    records: &[Uuid],
) -> sqlx::Result<Vec<HeldChange>> {
    let rows = sqlx::query!(
        "select held, record, kind, generation, bytes, username, reason, status from held_change
         where street = $1 and (held = any($2) or record = any($3)) order by position limit 20000",
        street.as_str(),
        held,
        records,
    );
    rows.fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| {
            Ok(HeldChange {
                held: row.held,
                record: RecordId(row.record),
                kind: crate::store::decoded(&row.kind)?,
                generation: row.generation as u32,
                bytes: row.bytes,
                username: row.username,
                reason: row.reason,
                status: status(&row.status),
            })
        })
        .collect()
}

/// What waits for a reviewer of these records: change, and why.
pub async fn open_of_records(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<BTreeMap<RecordId, Vec<(ChangeHash, String)>>> {
    let rows = sqlx::query!(
        "select record, hash, reason from held_change where street = $1 and record = any($2) and status = 'held'",
        street.as_str(),
        records
    );
    let mut open: BTreeMap<RecordId, Vec<_>> = BTreeMap::new();
    for row in rows.fetch_all(conn).await? {
        let change = ChangeHash::from_slice(&row.hash).map(|hash| (hash, row.reason));
        open.entry(RecordId(row.record)).or_default().extend(change);
    }
    Ok(open)
}

/// A status as it stands in the column.
pub fn status(text: &str) -> HeldStatus {
    match text {
        "accepted" => HeldStatus::Accepted,
        "refused" => HeldStatus::Refused,
        _ => HeldStatus::Held,
    }
}

/// Which changes were held before: of each of `records` the change of the same position in `hashes`.
pub async fn known(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
    hashes: &[Vec<u8>],
) -> sqlx::Result<BTreeMap<(RecordId, ChangeHash), KnownHeld>> {
    let rows = sqlx::query!(
        r#"select h.held, h.record, h.hash, h.status, h.note, h.seq from unnest($2::uuid[], $3::bytea[]) as wanted (record, hash)
           join held_change h on h.street = $1 and h.record = wanted.record and h.hash = wanted.hash"#,
        street.as_str(),
        records,
        hashes,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let known = KnownHeld {
                held: row.held,
                status: status(&row.status),
                note: row.note,
                seq: row.seq,
            };
            Some((
                (RecordId(row.record), ChangeHash::from_slice(&row.hash)?),
                known,
            ))
        })
        .collect())
}

/// How many changes of these devices wait for a reviewer; devices without any are left out.
pub async fn count_by_device(
    conn: &mut PgConnection,
    street: &StreetCode,
    devices: &[Uuid],
) -> sqlx::Result<BTreeMap<DeviceId, i64>> {
    let rows = sqlx::query!(
        r#"select device, count(*) as "count!" from held_change where street = $1 and device = any($2) and status = 'held' group by device"#,
        street.as_str(),
        devices
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| (DeviceId(row.device), row.count))
        .collect())
}

/// Notes what became of held changes. The bytes of those that are part of their records now are in the log.
pub async fn decide(
    tx: &mut PgConnection,
    street: &StreetCode,
    decisions: &[HeldDecision],
    now: ServerTime,
) -> sqlx::Result<()> {
    if decisions.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update held_change h set status = case when done.seq is null then 'refused' else 'accepted' end,
             bytes = case when done.seq is null then h.bytes else '' end, seq = done.seq, decided_by = done.by, note = done.note, decided_at = $6
         from unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[]) as done (held, seq, by, note)
         where h.street = $1 and h.held = done.held",
        street.as_str(),
        &decisions.iter().map(|one| one.held).collect::<Vec<_>>(),
        &decisions.iter().map(|one| one.accepted).collect::<Vec<_>>() as &[Option<i64>],
        &decisions.iter().map(|one| one.by.clone()).collect::<Vec<_>>() as &[Option<String>],
        &decisions.iter().map(|one| one.note.clone()).collect::<Vec<_>>() as &[Option<String>],
        OffsetDateTime::from(now),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A held change as it is kept.
#[derive(Debug)]
pub struct HeldRow {
    pub held: Uuid,
    pub record: Uuid,
    pub kind: String,
    pub generation: i32,
    pub bytes: Vec<u8>,
    pub device: Uuid,
    pub device_name: Option<String>,
    pub username: String,
    pub reason: String,
    pub status: String,
    pub received_at: OffsetDateTime,
    pub decided_by: Option<String>,
    pub decided_at: Option<OffsetDateTime>,
    pub note: Option<String>,
}

/// Which held changes to list.
#[derive(Clone, Copy, Debug)]
pub struct HeldFilter<'f> {
    pub held: Option<Uuid>,
    pub record: Option<Uuid>,
    pub username: Option<&'f str>,
    pub reason: Option<&'f str>,
    pub status: Option<&'f str>,
}

/// A page of held changes in the order in which they were made, and how many there are.
pub async fn page(
    conn: &mut PgConnection,
    street: &StreetCode,
    filter: HeldFilter<'_>,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<HeldRow>, i64)> {
    let rows = sqlx::query_as!(
        HeldRow,
        r#"select h.held, h.record, h.kind, h.generation, h.bytes, h.device, d.name as "device_name?", h.username, h.reason, h.status,
                  h.received_at, h.decided_by, h.decided_at, h.note
           from held_change h left join device d on d.device = h.device
           where h.street = $1 and ($2::uuid is null or h.held = $2) and ($3::uuid is null or h.record = $3)
             and ($4::text is null or h.username = $4) and ($5::text is null or h.reason = $5) and ($6::text is null or h.status = $6)
           order by h.received_at, h.position limit $7 offset $8"#,
        street.as_str(),
        filter.held,
        filter.record,
        filter.username,
        filter.reason,
        filter.status,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from held_change h
           where h.street = $1 and ($2::uuid is null or h.held = $2) and ($3::uuid is null or h.record = $3)
             and ($4::text is null or h.username = $4) and ($5::text is null or h.reason = $5) and ($6::text is null or h.status = $6)"#,
        street.as_str(),
        filter.held,
        filter.record,
        filter.username,
        filter.reason,
        filter.status,
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// What waits for a reviewer of these records, record by record.
pub async fn open_rows(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<HeldRow>> {
    sqlx::query_as!(
        HeldRow,
        r#"select h.held, h.record, h.kind, h.generation, h.bytes, h.device, null::text as "device_name?", h.username, h.reason, h.status,
                  h.received_at, h.decided_by, h.decided_at, h.note
           from held_change h where h.street = $1 and h.record = any($2) and h.status = 'held' order by h.record, h.position limit 20000"#,
        street.as_str(),
        records,
    )
    .fetch_all(conn)
    .await
}
