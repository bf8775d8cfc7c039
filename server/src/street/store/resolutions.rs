//! Values in conflict, how they were settled, and what users are told about it.

use std::collections::BTreeMap;

pub use lianka_office_core::store::{
    NoticeDetail, NoticeWrite, Person, ReplacedValue, Resolution as Settled, ResolutionWrite,
    Restored, UndoneResolution,
};
use lianka_sync_core::{
    codec::{change::Scalar, wire::Notice},
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

/// Which conflicts to look at. Every condition that is `None` admits all.
#[derive(Clone, Debug, Default)]
pub struct ConflictFilter {
    pub grid: Option<String>,
    /// A key, or the name of a field of any entry.
    pub field: Option<String>,
    /// A class of harmless conflicts.
    pub class: Option<&'static str>,
    pub record: Option<Uuid>,
}

/// A record that holds values in conflict.
#[derive(Debug)]
pub struct Disputed {
    pub record: Uuid,
    pub kind: String,
    pub grid: String,
    pub seq: i64,
    pub state: Vec<u8>,
    pub sign_name: Option<String>,
    pub address_raw: Option<String>,
    pub road: Option<String>,
    pub lane: Option<String>,
    pub number: Option<String>,
    pub number_suffix: Option<String>,
    pub unit: Option<String>,
}

/// One page of the records that hold conflicts, as the street is walked, and how many there are.
pub async fn disputed(
    conn: &mut PgConnection,
    street: &StreetCode,
    filter: &ConflictFilter,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<Disputed>, i64)> {
    let rows = sqlx::query!(
        r#"select r.record, r.kind, r.grid, r.seq, r.state, c.sign_name as "sign_name?", c.address_raw as "address_raw?", c.road as "road?",
                  c.lane as "lane?", c.number as "number?", c.number_suffix as "number_suffix?", c.unit as "unit?",
                  count(*) over () as "total!"
           from record r left join shop_card c on c.street = r.street and c.record = r.record
           where r.street = $1 and ($2::text is null or r.grid = $2) and ($3::uuid is null or r.record = $3) and c.merged_into is null
             and exists (
                 select from field_conflict f where f.street = $1 and f.record = r.record
                   and ($4::text is null or f.field = $4 or right(f.field, length($4) + 1) = '/' || $4) and ($5::text is null or f.class = $5)
             )
           order by c.road nulls last, c.side desc nulls last, c.number_order nulls last, c.number_suffix nulls first, r.record
           limit $6 offset $7"#,
        street.as_str(),
        filter.grid,
        filter.record,
        filter.field,
        filter.class,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = match rows.first() {
        Some(row) => row.total,
        // Beyond the last page there is no row to read it from.
        None if offset > 0 => Box::pin(disputed(conn, street, filter, 1, 0)).await?.1,
        None => 0,
    };
    let records = rows.into_iter().map(|row| Disputed {
        record: row.record,
        kind: row.kind,
        grid: row.grid,
        seq: row.seq,
        state: row.state,
        sign_name: row.sign_name,
        address_raw: row.address_raw,
        road: row.road,
        lane: row.lane,
        number: row.number,
        number_suffix: row.number_suffix,
        unit: row.unit,
    });
    Ok((records.collect(), total))
}

/// Up to `limit` harmless conflicts, each as record and key, by record.
pub async fn harmless(
    conn: &mut PgConnection,
    street: &StreetCode,
    filter: &ConflictFilter,
    limit: i64,
) -> sqlx::Result<Vec<(RecordId, String)>> {
    let rows = sqlx::query!(
        r#"select distinct f.record, f.field from field_conflict f join record r on r.street = f.street and r.record = f.record
           left join shop_card c on c.street = f.street and c.record = f.record
           where f.street = $1 and f.class = $2 and ($3::text is null or r.grid = $3) and c.merged_into is null
             and ($4::text is null or f.field = $4 or right(f.field, length($4) + 1) = '/' || $4)
           order by f.record, f.field limit $5"#,
        street.as_str(),
        filter.class,
        filter.grid,
        filter.field,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (RecordId(row.record), row.field))
        .collect())
}

/// The users of devices, by device. The server's own is not among them.
pub async fn writers(
    conn: &mut PgConnection,
    devices: &[Uuid],
) -> sqlx::Result<BTreeMap<DeviceId, Person>> {
    let rows = sqlx::query!(
        "select d.device, d.name as device_name, d.username, a.display_name, a.role
         from device d join account a using (username) where d.device = any($1)",
        devices
    )
    .fetch_all(conn)
    .await?;
    let person = |device_name, username, display_name, role| Person {
        device_name,
        username,
        display_name,
        role,
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let person = person(row.device_name, row.username, row.display_name, row.role);
            (DeviceId(row.device), person)
        })
        .collect())
}

/// Remembers settled conflicts.
pub async fn insert_resolutions(
    tx: &mut PgConnection,
    street: &StreetCode,
    now: ServerTime,
    rows: &[ResolutionWrite],
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into resolution (street, resolution, record, field, seq, generation, hash, op, chosen, replaced, note, source, username,
             device, at, bulk, class)
         select $1, resolution, record, field, seq, generation, decode(hash, 'hex'), op, chosen, replaced, note, source, username, device, $3,
             bulk, class
         from jsonb_to_recordset($2) as x (resolution uuid, record uuid, field text, seq bigint, generation int, hash text, op text,
             chosen jsonb, replaced jsonb, note text, source text, username text, device uuid, bulk uuid, class text)",
        street.as_str(),
        Json(rows) as _,
        OffsetDateTime::from(now),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What settled a conflict, as stored.
#[derive(Clone, Debug)]
pub struct Resolution {
    pub resolution: Uuid,
    pub record: RecordId,
    pub field: String,
    pub seq: i64,
    pub generation: i32,
    pub hash: ChangeHash,
    pub op: String,
    pub chosen: Option<Scalar>,
    pub replaced: Vec<ReplacedValue>,
    pub note: String,
    pub source: String,
    pub username: Option<String>,
    pub display_name: Option<String>,
    pub device: Uuid,
    pub at: ServerTime,
    pub bulk: Option<Uuid>,
    pub class: Option<String>,
    pub undone_at: Option<ServerTime>,
    pub undone_by: Option<String>,
}

/// Which resolutions to list. Every condition that is `None` admits all.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResolutionFilter<'f> {
    pub resolution: Option<Uuid>,
    pub record: Option<Uuid>,
    pub field: Option<&'f str>,
    pub bulk: Option<Uuid>,
    pub undone: Option<bool>,
}

/// A page of resolutions, newest first, and how many there are.
pub async fn resolutions(
    conn: &mut PgConnection,
    street: &StreetCode,
    filter: &ResolutionFilter<'_>,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<Resolution>, i64)> {
    let rows = sqlx::query!(
        r#"select s.resolution, s.record, s.field, s.seq, s.generation, s.hash, s.op, s.chosen as "chosen: Json<Scalar>",
                  s.replaced as "replaced: Json<Vec<ReplacedValue>>", s.note, s.source, s.username, a.display_name as "display_name?",
                  s.device, s.at, s.bulk, s.class, s.undone_at, s.undone_by, count(*) over () as "total!"
           from resolution s left join account a on a.username = s.username
           where s.street = $1 and ($2::uuid is null or s.resolution = $2) and ($3::uuid is null or s.record = $3)
             and ($4::text is null or s.field = $4) and ($5::uuid is null or s.bulk = $5)
             and ($6::bool is null or (s.undone_at is not null) = $6)
           order by s.seq desc, s.field limit $7 offset $8"#,
        street.as_str(),
        filter.resolution,
        filter.record,
        filter.field,
        filter.bulk,
        filter.undone,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = match rows.first() {
        Some(row) => row.total,
        None if offset > 0 => Box::pin(resolutions(conn, street, filter, 1, 0)).await?.1,
        None => 0,
    };
    let rows = rows.into_iter().filter_map(|row| {
        Some(Resolution {
            resolution: row.resolution,
            record: RecordId(row.record),
            field: row.field,
            seq: row.seq,
            generation: row.generation,
            hash: ChangeHash::from_slice(&row.hash)?,
            op: row.op,
            chosen: row.chosen.map(|chosen| chosen.0),
            replaced: row.replaced.0,
            note: row.note,
            source: row.source,
            username: row.username,
            display_name: row.display_name,
            device: row.device,
            at: row.at.into(),
            bulk: row.bulk,
            class: row.class,
            undone_at: row.undone_at.map(Into::into),
            undone_by: row.undone_by,
        })
    });
    Ok((rows.collect(), total))
}

/// What an undo must know of resolutions.
pub async fn by_id(
    conn: &mut PgConnection,
    street: &StreetCode,
    ids: &[Uuid],
) -> sqlx::Result<BTreeMap<Uuid, Settled>> {
    let rows = sqlx::query!(
        r#"select resolution, record, field, generation, op, chosen as "chosen: Json<Scalar>",
                  replaced as "replaced: Json<Vec<ReplacedValue>>", username, at, undone_at from resolution
           where street = $1 and resolution = any($2)"#,
        street.as_str(),
        ids,
    );
    let rows = rows.fetch_all(conn).await?.into_iter().map(|row| Settled {
        resolution: row.resolution,
        record: RecordId(row.record),
        field: row.field,
        generation: row.generation as u32,
        op: row.op,
        chosen: row.chosen.map(|chosen| chosen.0),
        replaced: row.replaced.0,
        username: row.username,
        at: row.at.into(),
        is_undone: row.undone_at.is_some(),
    });
    Ok(rows.map(|row| (row.resolution, row)).collect())
}

/// Notes that a resolution was undone, and by which operations its values were put back.
pub async fn mark_undone(
    tx: &mut PgConnection,
    street: &StreetCode,
    undone: &UndoneResolution,
    now: ServerTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update resolution set undone_at = $3, undone_by = $4, replaced = $5 where street = $1 and resolution = $2",
        street.as_str(),
        undone.resolution,
        OffsetDateTime::from(now),
        undone.by,
        Json(&undone.replaced) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Values of the records that undone resolutions put back, with their first authors.
pub async fn restored(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<BTreeMap<RecordId, Vec<Restored>>> {
    let rows = sqlx::query!(
        r#"select record, field, replaced as "replaced: Json<Vec<ReplacedValue>>" from resolution
           where street = $1 and record = any($2) and undone_at is not null order by undone_at"#,
        street.as_str(),
        records,
    )
    .fetch_all(conn)
    .await?;
    let mut restored: BTreeMap<RecordId, Vec<Restored>> = BTreeMap::new();
    for row in rows {
        let values = row.replaced.0.into_iter();
        let values = values.filter(|value| value.restored_as.is_some());
        let of = |value| Restored {
            field: row.field.clone(),
            value,
        };
        restored
            .entry(RecordId(row.record))
            .or_default()
            .extend(values.map(of));
    }
    Ok(restored)
}

/// Keeps notices for their users' next synchronisations. A notice of the same id is kept once.
pub async fn insert_notices(
    tx: &mut PgConnection,
    street: &StreetCode,
    now: ServerTime,
    notices: &[NoticeWrite],
) -> sqlx::Result<()> {
    if notices.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into notice (street, notice, seq, username, kind, record, field, detail, created_at)
         select $1, x.*, $3 from jsonb_to_recordset($2) as x (notice uuid, seq bigint, username text, kind text, record uuid, field text,
             detail jsonb)
         on conflict do nothing",
        street.as_str(),
        Json(notices) as _,
        OffsetDateTime::from(now),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A user's newest `limit` notices in `after..=head` that were made at or after `since`, in order.
pub async fn notices(
    conn: &mut PgConnection,
    street: &StreetCode,
    username: &str,
    after: i64,
    head: i64,
    since: Option<ServerTime>,
    limit: usize,
) -> sqlx::Result<Vec<Notice>> {
    let mut rows = sqlx::query!(
        r#"select notice, seq, kind, record, field, detail as "detail: Json<NoticeDetail>", created_at from notice
           where street = $1 and username = $2 and seq > $3 and seq <= $4 and ($5::timestamptz is null or created_at >= $5)
           order by seq desc, notice desc limit $6"#,
        street.as_str(),
        username,
        after,
        head,
        since.map(OffsetDateTime::from),
        limit as i64,
    )
    .fetch_all(conn)
    .await?;
    rows.reverse();
    Ok(rows
        .into_iter()
        .map(|row| Notice {
            id: row.notice,
            seq: row.seq as u64,
            kind: row.kind,
            record: RecordId(row.record),
            field: row.field,
            hash: row.detail.0.hash,
            by: row.detail.0.by,
            at: row.created_at.into(),
            note: row.detail.0.note,
        })
        .collect())
}
