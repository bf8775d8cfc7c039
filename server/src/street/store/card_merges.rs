//! Which cards meet under a key, which pairs were looked at, and which cards were merged.

use lianka_office_core::store::{CardMerge, Dismissal, Undone};
use lianka_sync_core::{
    id::{DeviceId, RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

/// The cards behind each key that at least two share: those that meet. A key that more than `cards_max` cards share tells nothing and is passed over.
pub async fn groups(
    conn: &mut PgConnection,
    street: &StreetCode,
    cards_max: i64,
) -> sqlx::Result<Vec<Vec<Uuid>>> {
    // One walk through the keys; the pairs within a group are the caller's to make, which is far cheaper than a join of the table with itself.
    sqlx::query_scalar!(
        r#"select array_agg(record) as "records!" from shop_key where street = $1 and key not like 'unit|%'
           group by key having count(*) between 2 and $2"#,
        street.as_str(),
        cards_max,
    )
    .fetch_all(conn)
    .await
}

/// Every key of the cards.
pub async fn keys(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, String)>> {
    let rows = sqlx::query!(
        "select record, key from shop_key where street = $1 and record = any($2)",
        street.as_str(),
        records
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| (row.record, row.key))
        .collect())
}

/// The cards that were merged into others, by merges that were not undone: into which, and which.
pub async fn merged_into(
    conn: &mut PgConnection,
    street: &StreetCode,
    winners: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    let rows = sqlx::query!(
        "select winner, loser from card_merge where street = $1 and winner = any($2) and undone_at is null order by loser",
        street.as_str(),
        winners
    );
    let rows = rows.fetch_all(conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.winner, row.loser))
        .collect())
}

/// What a reviewer compares of a card.
#[derive(Clone, Debug)]
pub struct ComparedCard {
    pub record: Uuid,
    pub grid: String,
    pub sign_name: Option<String>,
    pub legal_name: Option<String>,
    pub credit_code: Option<String>,
    pub category: Option<String>,
    pub road: Option<String>,
    pub lane: Option<String>,
    pub number: Option<String>,
    pub number_suffix: Option<String>,
    pub unit: Option<String>,
    pub address_raw: Option<String>,
    pub occupancy: Option<String>,
    pub note: Option<String>,
    pub last_confirmed_on: Option<time::Date>,
    pub conflict_count: i32,
    pub seq: i64,
    pub phones: Vec<String>,
}

/// The cards side by side.
pub async fn compared(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<ComparedCard>> {
    sqlx::query_as!(
        ComparedCard,
        r#"select record, grid, sign_name, legal_name, credit_code, category, road, lane, number, number_suffix, unit, address_raw, occupancy,
                  note, last_confirmed_on, conflict_count, seq,
                  array(select p.phones from shop_contact p where p.street = c.street and p.record = c.record and p.phones is not null
                        order by p.entry) as "phones!"
           from shop_card c where street = $1 and record = any($2)"#,
        street.as_str(),
        records,
    )
    .fetch_all(conn)
    .await
}

/// The grids of cards.
pub async fn grids(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, String)>> {
    let rows = sqlx::query!(
        "select record, grid from shop_card where street = $1 and record = any($2)",
        street.as_str(),
        records
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| (row.record, row.grid))
        .collect())
}

/// Every pair that somebody looked at and found to be two shops, with the reasons that were looked at.
pub async fn dismissals(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<Vec<(Uuid, Vec<String>)>> {
    let rows = sqlx::query!(
        "select pair, reasons from duplicate_dismissal where street = $1",
        street.as_str()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.pair, row.reasons))
        .collect())
}

/// Remembers that a pair is two shops.
pub async fn dismiss(
    tx: &mut PgConnection,
    street: &StreetCode,
    write: &Dismissal,
    now: ServerTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into duplicate_dismissal (street, pair, first_record, second_record, reasons, note, username, dismissed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (street, pair) do update set reasons = excluded.reasons, note = excluded.note, username = excluded.username,
             dismissed_at = excluded.dismissed_at",
        street.as_str(),
        write.pair,
        write.records.0.0,
        write.records.1.0,
        &write.reasons,
        write.note,
        write.username,
        OffsetDateTime::from(now),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A merge of two cards, as stored.
struct MergeRow {
    merge: Uuid,
    winner: Uuid,
    loser: Uuid,
    reasons: Vec<String>,
    note: String,
    username: String,
    device: Uuid,
    epoch: i64,
    /// `{entry of the loser: entry of the winner}`.
    entries: serde_json::Value,
    merged_at: OffsetDateTime,
    undone_by: Option<String>,
    undone_note: Option<String>,
    undone_at: Option<OffsetDateTime>,
}

impl From<MergeRow> for CardMerge {
    fn from(row: MergeRow) -> Self {
        let undone = row.undone_at.zip(row.undone_by).map(|(at, by)| Undone {
            by,
            note: row.undone_note.unwrap_or_default(),
            at: at.into(),
        });
        Self {
            merge: row.merge,
            winner: RecordId(row.winner),
            loser: RecordId(row.loser),
            reasons: row.reasons,
            note: row.note,
            username: row.username,
            device: DeviceId(row.device),
            epoch: row.epoch as u32,
            same_persons: serde_json::from_value(row.entries).unwrap_or_default(),
            merged_at: row.merged_at.into(),
            undone,
        }
    }
}

/// Remembers a merge.
pub async fn insert_merge(
    tx: &mut PgConnection,
    street: &StreetCode,
    row: &CardMerge,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into card_merge (street, merge, winner, loser, reasons, note, username, device, epoch, entries, merged_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        street.as_str(),
        row.merge,
        row.winner.0,
        row.loser.0,
        &row.reasons,
        row.note,
        row.username,
        row.device.0,
        i64::from(row.epoch),
        Json(&row.same_persons) as _,
        OffsetDateTime::from(row.merged_at),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// One merge.
pub async fn merge(
    conn: &mut PgConnection,
    street: &StreetCode,
    merge: Uuid,
) -> sqlx::Result<Option<CardMerge>> {
    let row = sqlx::query_as!(
        MergeRow,
        "select merge, winner, loser, reasons, note, username, device, epoch, entries, merged_at, undone_by, undone_note, undone_at
         from card_merge where street = $1 and merge = $2",
        street.as_str(),
        merge,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Into::into))
}

/// The merges that these cards went away by.
pub async fn merges_of_losers(
    conn: &mut PgConnection,
    street: &StreetCode,
    losers: &[Uuid],
) -> sqlx::Result<Vec<CardMerge>> {
    let rows = sqlx::query_as!(
        MergeRow,
        "select merge, winner, loser, reasons, note, username, device, epoch, entries, merged_at, undone_by, undone_note, undone_at
         from card_merge where street = $1 and loser = any($2) and undone_at is null",
        street.as_str(),
        losers,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Every merge that these cards won or lost, undone ones included, the oldest first.
pub async fn merges_of(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<CardMerge>> {
    let rows = sqlx::query_as!(
        MergeRow,
        "select merge, winner, loser, reasons, note, username, device, epoch, entries, merged_at, undone_by, undone_note, undone_at
         from card_merge where street = $1 and (winner = any($2) or loser = any($2)) order by merge",
        street.as_str(),
        records,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// A page of merges, newest first, and how many there are. `record`: only those that this card won or lost.
pub async fn merges(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: Option<Uuid>,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<CardMerge>, i64)> {
    let rows = sqlx::query_as!(
        MergeRow,
        "select merge, winner, loser, reasons, note, username, device, epoch, entries, merged_at, undone_by, undone_note, undone_at
         from card_merge where street = $1 and ($2::uuid is null or winner = $2 or loser = $2)
         order by merged_at desc, merge desc limit $3 offset $4",
        street.as_str(),
        record,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from card_merge where street = $1 and ($2::uuid is null or winner = $2 or loser = $2)"#,
        street.as_str(),
        record,
    );
    let rows = rows.into_iter().map(Into::into).collect();
    Ok((rows, total.fetch_one(conn).await?))
}

/// Marks a merge as undone.
pub async fn mark_undone(
    tx: &mut PgConnection,
    street: &StreetCode,
    merge: Uuid,
    undone: &Undone,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update card_merge set undone_by = $3, undone_note = $4, undone_at = $5 where street = $1 and merge = $2",
        street.as_str(),
        merge,
        undone.by,
        undone.note,
        OffsetDateTime::from(undone.at),
    )
    .execute(tx)
    .await?;
    Ok(())
}
