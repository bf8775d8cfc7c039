//! Everything that may name a person, a page at a time. What is read here is looked through by [`crate::privacy::person_export`]: the conditions only
//! keep most rows out.

use lianka_sync_core::id::{RecordId, StreetCode};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::street::store::history::AuthoredChange;

/// The changes of some records (`None`: of the street) after `after`, in order.
pub async fn changes(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: Option<&[Uuid]>,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<AuthoredChange>> {
    let rows = sqlx::query!(
        r#"select l.seq, l.record, l.bytes as "bytes!", l.received_at, d.username as "username?"
           from change_log l left join device d on d.device = l.device
           where l.street = $1 and ($2::uuid[] is null or l.record = any($2)) and l.seq > $3 and l.type = 'change'
           order by l.seq limit $4"#,
        street.as_str(),
        records,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| AuthoredChange {
            seq: row.seq,
            record: RecordId(row.record),
            bytes: row.bytes,
            received_at: row.received_at,
            username: row.username,
        })
        .collect())
}

/// A record as it stands.
#[derive(Debug)]
pub struct StoredState {
    pub record: RecordId,
    pub grid: String,
    pub state: Vec<u8>,
}

/// Records as they stand.
pub async fn states(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<StoredState>> {
    let rows = sqlx::query!(
        "select record, grid, state from record where street = $1 and record = any($2) order by record",
        street.as_str(),
        records
    );
    let rows = rows.fetch_all(conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| StoredState {
            record: RecordId(row.record),
            grid: row.grid,
            state: row.state,
        })
        .collect())
}

/// The kind of every record.
pub async fn kinds(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<Vec<(RecordId, String)>> {
    let rows = sqlx::query!(
        "select record, kind from record where street = $1",
        street.as_str()
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| (RecordId(row.record), row.kind))
        .collect())
}

/// An edit that a reviewer has or had to decide on.
#[derive(Debug)]
pub struct HeldEdit {
    pub held: Uuid,
    pub record: RecordId,
    pub kind: String,
    pub bytes: Vec<u8>,
    pub username: String,
    pub status: String,
    pub received_at: OffsetDateTime,
}

/// Every held edit.
pub async fn held(
    conn: &mut PgConnection,
    street: &StreetCode,
    limit: i64,
) -> sqlx::Result<Vec<HeldEdit>> {
    let rows = sqlx::query!(
        "select held, record, kind, bytes, username, status, received_at from held_change where street = $1 order by received_at limit $2",
        street.as_str(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| HeldEdit {
            held: row.held,
            record: RecordId(row.record),
            kind: row.kind,
            bytes: row.bytes,
            username: row.username,
            status: row.status,
            received_at: row.received_at,
        })
        .collect())
}

/// A row of a table that may name people in a text or in JSON.
#[derive(Debug)]
pub struct Remark {
    /// The table.
    pub place: String,
    pub id: String,
    pub record: Option<Uuid>,
    pub content: serde_json::Value,
    pub at: OffsetDateTime,
}

/// Sealed fields, events, resolutions, notices, merges, dismissals and imported rows, the oldest first. Scripts, widths and separators differ, so
/// the texts are compared by the caller.
pub async fn remarks(
    conn: &mut PgConnection,
    street: &StreetCode,
    limit: i64,
) -> sqlx::Result<Vec<Remark>> {
    sqlx::query_as!(
        Remark,
        r#"select place as "place!", id as "id!", record, content as "content!", at as "at!" from (
               select 'transfer_personal' as place, record || '/' || revision as id, record, fields as content, sealed_at as at
               from transfer_personal where street = $1
               union all
               select 'transfer_event', event::text, record, fields, received_at from transfer_event where street = $1
               union all
               select 'resolution', resolution::text, record,
                      jsonb_build_object('field', field, 'chosen', chosen, 'replaced', replaced, 'note', note), at
               from resolution where street = $1
               union all
               select 'notice', notice::text, record, jsonb_build_object('username', username, 'field', field, 'detail', detail), created_at
               from notice where street = $1
               union all
               select 'card_merge', merge::text, winner, jsonb_build_object('note', note, 'undone_note', undone_note), merged_at
               from card_merge where street = $1
               union all
               select 'contact_join', join_id::text, record, jsonb_build_object('note', note, 'undone_note', undone_note), joined_at
               from contact_join where street = $1
               union all
               select 'duplicate_dismissal', pair::text, first_record, jsonb_build_object('note', note), dismissed_at
               from duplicate_dismissal where street = $1
               union all
               select 'roll_import_row', r.import || '/' || r.row_number, r.record, r.cells || jsonb_build_array(r.content), i.imported_at
               from roll_import_row r join roll_import i on i.street = r.street and i.import = r.import where r.street = $1
           ) rows
           order by at, place, id limit $2"#,
        street.as_str(),
        limit,
    )
    .fetch_all(conn)
    .await
}
