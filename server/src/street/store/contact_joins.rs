//! Which contact persons of a card were joined, and the contacts that may be one person.

use lianka_office_core::store::{ContactJoin, Undone};
use lianka_sync_core::{
    id::{DeviceId, EntryId, RecordId, StreetCode},
    kinds::duplicate::persons::Same,
};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A contact of a card that has several.
#[derive(Clone, Debug)]
pub struct ContactOfSeveral {
    pub record: Uuid,
    pub grid: String,
    pub sign_name: Option<String>,
    pub entry: Uuid,
    pub name: Option<String>,
    pub phones: Option<String>,
    pub role: Option<String>,
    pub preferred_time: Option<String>,
}

/// The contacts of cards that have several, card by card, the newest cards first. Cards that were merged away are passed over.
pub async fn of_several(
    conn: &mut PgConnection,
    street: &StreetCode,
    grid: Option<&str>,
    record: Option<Uuid>,
) -> sqlx::Result<Vec<ContactOfSeveral>> {
    sqlx::query_as!(
        ContactOfSeveral,
        "select c.record, c.grid, c.sign_name, p.entry, p.name, p.phones, p.role, p.preferred_time
         from shop_contact p
         join shop_card c on c.street = p.street and c.record = p.record and c.merged_into is null
         where p.street = $1 and ($2::text is null or c.grid = $2) and ($3::uuid is null or c.record = $3)
           and exists (select from shop_contact o where o.street = p.street and o.record = p.record and o.entry <> p.entry)
         order by c.record desc, p.entry",
        street.as_str(),
        grid,
        record,
    )
    .fetch_all(conn)
    .await
}

/// A joining, as stored.
struct JoinRow {
    join_id: Uuid,
    record: Uuid,
    kept: Uuid,
    gone: Uuid,
    reasons: Vec<String>,
    note: String,
    username: String,
    device: Uuid,
    epoch: i64,
    joined_at: OffsetDateTime,
    undone_by: Option<String>,
    undone_note: Option<String>,
    undone_at: Option<OffsetDateTime>,
}

impl From<JoinRow> for ContactJoin {
    fn from(row: JoinRow) -> Self {
        let undone = row.undone_at.zip(row.undone_by).map(|(at, by)| Undone {
            by,
            note: row.undone_note.unwrap_or_default(),
            at: at.into(),
        });
        Self {
            join: row.join_id,
            record: RecordId(row.record),
            same: Same {
                kept: EntryId(row.kept),
                gone: EntryId(row.gone),
            },
            reasons: row.reasons,
            note: row.note,
            username: row.username,
            device: DeviceId(row.device),
            epoch: row.epoch as u32,
            joined_at: row.joined_at.into(),
            undone,
        }
    }
}

/// Remembers a joining.
pub async fn insert(
    tx: &mut PgConnection,
    street: &StreetCode,
    row: &ContactJoin,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into contact_join (street, join_id, record, kept, gone, reasons, note, username, device, epoch, joined_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        street.as_str(),
        row.join,
        row.record.0,
        row.same.kept.0,
        row.same.gone.0,
        &row.reasons,
        row.note,
        row.username,
        row.device.0,
        i64::from(row.epoch),
        OffsetDateTime::from(row.joined_at),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Joinings by their ids, and all of some records.
pub async fn joins(
    conn: &mut PgConnection,
    street: &StreetCode,
    ids: &[Uuid],
    records: &[Uuid],
) -> sqlx::Result<Vec<ContactJoin>> {
    let rows = sqlx::query_as!(
        JoinRow,
        "select join_id, record, kept, gone, reasons, note, username, device, epoch, joined_at, undone_by, undone_note, undone_at
         from contact_join where street = $1 and (join_id = any($2) or record = any($3)) order by joined_at, join_id",
        street.as_str(),
        ids,
        records,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// A page of joinings, newest first, and how many there are.
pub async fn page(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: Option<Uuid>,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<ContactJoin>, i64)> {
    let rows = sqlx::query_as!(
        JoinRow,
        "select join_id, record, kept, gone, reasons, note, username, device, epoch, joined_at, undone_by, undone_note, undone_at
         from contact_join where street = $1 and ($2::uuid is null or record = $2)
         order by joined_at desc, join_id desc limit $3 offset $4",
        street.as_str(),
        record,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from contact_join where street = $1 and ($2::uuid is null or record = $2)"#,
        street.as_str(),
        record,
    );
    let rows = rows.into_iter().map(Into::into).collect();
    Ok((rows, total.fetch_one(conn).await?))
}

/// Marks a joining as undone.
pub async fn mark_undone(
    tx: &mut PgConnection,
    street: &StreetCode,
    join: Uuid,
    undone: &Undone,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update contact_join set undone_by = $3, undone_note = $4, undone_at = $5 where street = $1 and join_id = $2",
        street.as_str(),
        join,
        undone.by,
        undone.note,
        OffsetDateTime::from(undone.at),
    )
    .execute(tx)
    .await?;
    Ok(())
}
