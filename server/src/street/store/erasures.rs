//! What was forgotten: receipts, and the deletions they stand for.
//!
//! Whoever adds a table that holds something of a record adds it here, unless it goes with the record's own row.

use std::collections::HashSet;

use lianka_office_core::{
    acts::erase,
    pull::Forgotten,
    roll::problem::{ProblemCode, RECORD_GONE},
    store::{Beside, Receipt},
};
use lianka_sync_core::id::{EntryId, RecordId, StreetCode};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// The records among `records` that were erased.
pub async fn erased(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<HashSet<RecordId>> {
    let rows = sqlx::query_scalar!(
        "select record from erasure where street = $1 and kind = 'erase' and record = any($2)",
        street.as_str(),
        records
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(RecordId)
        .collect())
}

/// Those of these records, which are not there any more, that an import made and an undo took back.
pub async fn unmade(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<HashSet<RecordId>> {
    let rows = sqlx::query_scalar!(
        "select record from unmade_record where street = $1 and record = any($2)",
        street.as_str(),
        records
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(RecordId)
        .collect())
}

/// How many rows there are of a record, by table: what [`erase_records`] deletes.
pub async fn holdings(
    tx: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
) -> sqlx::Result<Vec<(&'static str, u64)>> {
    let row = sqlx::query!(
        r#"select (select count(*) from change_log where street = $1 and record = $2) as "log!",
                  (select count(*) from held_change where street = $1 and record = $2) as "held!",
                  (select count(*) from notice where street = $1 and record = $2) as "notices!",
                  (select count(*) from resolution where street = $1 and record = $2) as "resolutions!",
                  (select count(*) from roll_import_row where street = $1 and record = $2 and (cells <> '[]' or problems <> '[]' or content <> '{}')) as "cells!",
                  (select count(*) from shop_contact where street = $1 and record = $2) as "contacts!",
                  (select count(*) from record where street = $1 and record = $2) as "records!""#,
        street.as_str(),
        record.0,
    )
    .fetch_one(tx)
    .await?;
    Ok([
        ("change_log", row.log),
        ("held_change", row.held),
        ("notice", row.notices),
        ("resolution", row.resolutions),
        ("roll_import_row", row.cells),
        ("shop_contact", row.contacts),
        ("record", row.records),
    ]
    .map(|(table, count)| (table, count.unsigned_abs()))
    .into())
}

/// Deletes everything of records, their log included. What a re-import would find them by stays, without a cell.
pub async fn erase_records(
    tx: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<()> {
    let street = street.as_str();
    sqlx::query!(
        "delete from change_log where street = $1 and record = any($2)",
        street,
        records
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from held_change where street = $1 and record = any($2)",
        street,
        records
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from notice where street = $1 and record = any($2)",
        street,
        records
    )
    .execute(&mut *tx)
    .await?;
    forget_cells(&mut *tx, street, records).await?;
    sqlx::query!(
        "delete from shop_contact where street = $1 and record = any($2)",
        street,
        records
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from resolution where street = $1 and record = any($2)",
        street,
        records
    )
    .execute(&mut *tx)
    .await?;
    // A card that went on in one of these can still be brought back; what was remarked on it goes.
    sqlx::query!(
        "update card_merge set note = '', undone_note = null where street = $1 and winner = any($2)",
        street,
        records
    )
    .execute(&mut *tx)
    .await?;
    // The other tables go with the records' rows.
    sqlx::query!(
        "delete from record where street = $1 and record = any($2)",
        street,
        records
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Notes that an import made the records and that they went with it.
pub async fn insert_unmade(
    tx: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into unmade_record (street, record) select $1, unnest($2::uuid[]) on conflict do nothing",
        street.as_str(),
        records,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Rows of other imports that found the records there and said nothing new have nothing any more: they are listed, and may come again.
pub async fn list_unmade(
    tx: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<()> {
    let (zh, en) = RECORD_GONE;
    sqlx::query!(
        "update roll_import_row set state = 'refused', problems = jsonb_build_array($3::text),
             content = jsonb_build_object('problems', jsonb_build_array(jsonb_build_object(
                 'code', $3::text, 'severity', 'warning', 'row', row_number, 'message_zh', $4::text, 'message_en', $5::text)))
         where street = $1 and record = any($2) and state = 'unchanged'",
        street.as_str(),
        records,
        ProblemCode::RecordGone.as_str(),
        zh,
        en,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets what an import's sheet said of the records; the row's identity and the record's id stay, so that the same row does not make it anew.
async fn forget_cells(tx: &mut PgConnection, street: &str, records: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query!(
        "update roll_import_row set cells = '[]', problems = '[]', content = '{}' where street = $1 and record = any($2) and (cells <> '[]' or problems <> '[]' or content <> '{}')",
        street,
        records
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How many rows beside a record are about some of its entries, by table: what [`redact_entries`] deletes, but for held changes.
pub async fn mentions(
    tx: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    entries: &[EntryId],
) -> sqlx::Result<Vec<(&'static str, u64)>> {
    let row = sqlx::query!(
        r#"select (select count(*) from notice where street = $1 and record = $2 and field like any($3)) as "notices!",
                  (select count(*) from resolution where street = $1 and record = $2 and field like any($3)) as "resolutions!",
                  (select count(*) from contact_join where street = $1 and record = $2 and (kept = any($4) or gone = any($4))) as "joins!",
                  (select count(*) from roll_import_row where street = $1 and record = $2 and (cells <> '[]' or problems <> '[]' or content <> '{}')) as "cells!""#,
        street.as_str(),
        record.0,
        &fields_of(entries),
        &ids_of(entries),
    )
    .fetch_one(tx)
    .await?;
    Ok([
        ("notice", row.notices),
        ("resolution", row.resolutions),
        ("contact_join", row.joins),
        ("roll_import_row", row.cells),
    ]
    .map(|(table, count)| (table, count.unsigned_abs()))
    .into())
}

fn ids_of(entries: &[EntryId]) -> Vec<Uuid> {
    entries.iter().map(|entry| entry.0).collect()
}

/// Patterns of the keys of entries.
fn fields_of(entries: &[EntryId]) -> Vec<String> {
    entries.iter().map(|entry| format!("%/{entry}/%")).collect()
}

/// Deletes what stands beside a record about some of its entries. The record's own rows follow from its state.
pub async fn redact_entries(
    tx: &mut PgConnection,
    street: &StreetCode,
    redaction: &Beside,
) -> sqlx::Result<()> {
    let (street, id) = (street.as_str(), redaction.record.0);
    let fields = fields_of(&redaction.entries);
    sqlx::query!(
        "delete from held_change where street = $1 and record = $2 and held = any($3)",
        street,
        id,
        &redaction.held
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from resolution where street = $1 and record = $2 and field like any($3)",
        street,
        id,
        &fields
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from notice where street = $1 and record = $2 and field like any($3)",
        street,
        id,
        &fields
    )
    .execute(&mut *tx)
    .await?;
    // What was remarked when they were joined.
    sqlx::query!(
        "delete from contact_join where street = $1 and record = $2 and (kept = any($3) or gone = any($3))",
        street,
        id,
        &ids_of(&redaction.entries)
    )
    .execute(&mut *tx)
    .await?;
    forget_cells(tx, street, &[id]).await
}

/// Other records that hold one of the entries: copies that a merge of cards made.
pub async fn records_with_entry(
    tx: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    entry: EntryId,
) -> sqlx::Result<Vec<RecordId>> {
    let rows = sqlx::query_scalar!(
        "select record from shop_contact where street = $1 and entry = $2 and record <> $3 order by record limit 50",
        street.as_str(),
        entry.0,
        record.0
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(RecordId).collect())
}

/// Records that stand for the same shop as this one, by a merge that was not undone.
pub async fn merged_with(
    tx: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
) -> sqlx::Result<Vec<RecordId>> {
    let rows = sqlx::query_scalar!(
        r#"select case when winner = $2 then loser else winner end as "record!" from card_merge
           where street = $1 and (winner = $2 or loser = $2) and undone_at is null limit 500"#,
        street.as_str(),
        record.0
    );
    Ok(rows
        .fetch_all(tx)
        .await?
        .into_iter()
        .map(RecordId)
        .collect())
}

/// Keeps a receipt.
pub async fn insert(tx: &mut PgConnection, street: &StreetCode, row: &Receipt) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into erasure (street, erasure, seq, kind, record, entry, entries, note, reason, username, at, generation_before,
                              generation_after, what, hash)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        street.as_str(),
        row.erasure,
        row.seq,
        row.kind,
        row.record.0,
        row.entry.map(|entry| entry.0),
        &row.entries.iter().map(|entry| entry.0).collect::<Vec<_>>(),
        row.note,
        row.reason,
        row.username,
        OffsetDateTime::from(row.at),
        row.generation_before as i32,
        row.generation_after.map(|generation| generation as i32),
        row.what,
        row.hash,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A page of a street's receipts, newest first, and how many there are.
pub async fn page(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: Option<Uuid>,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<Receipt>, i64)> {
    let rows = sqlx::query!(
        "select erasure, seq, kind, record, entry, entries, note, reason, username, at, generation_before, generation_after, what, hash
         from erasure where street = $1 and ($2::uuid is null or record = $2) order by seq desc limit $3 offset $4",
        street.as_str(),
        record,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from erasure where street = $1 and ($2::uuid is null or record = $2)"#,
        street.as_str(),
        record
    );
    let receipts = rows.into_iter().map(|row| Receipt {
        erasure: row.erasure,
        seq: row.seq,
        kind: if row.kind == erase::ERASE {
            erase::ERASE
        } else {
            erase::REDACT
        },
        record: RecordId(row.record),
        entry: row.entry.map(EntryId),
        entries: row.entries.into_iter().map(EntryId).collect(),
        note: row.note,
        reason: row.reason,
        username: row.username,
        at: row.at.into(),
        generation_before: row.generation_before as u32,
        generation_after: row.generation_after.map(|generation| generation as u32),
        what: row.what,
        hash: row.hash,
    });
    let receipts = receipts.collect();
    Ok((receipts, total.fetch_one(conn).await?))
}

/// Everything forgotten up to `head`, in order: a record, or of one that is there these persons.
pub async fn forgotten(
    conn: &mut PgConnection,
    street: &StreetCode,
    head: i64,
) -> sqlx::Result<Vec<Forgotten>> {
    let rows = sqlx::query!(
        r#"select record, case when kind = 'redact' then entries end as "entries?" from erasure where street = $1 and seq <= $2 order by seq"#,
        street.as_str(),
        head
    );
    let of = |entries: Vec<Uuid>| entries.into_iter().map(EntryId).collect();
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| Forgotten {
            record: RecordId(row.record),
            entries: row.entries.map(of),
        })
        .collect())
}

/// Who was redacted in `after..=head`, in order.
pub async fn redactions(
    conn: &mut PgConnection,
    street: &StreetCode,
    after: i64,
    head: i64,
) -> sqlx::Result<Vec<Forgotten>> {
    let rows = sqlx::query!(
        "select record, entries from erasure where street = $1 and kind = 'redact' and seq > $2 and seq <= $3 order by seq",
        street.as_str(),
        after,
        head
    )
    .fetch_all(conn)
    .await?;
    let redaction = |record, entries: Vec<Uuid>| Forgotten {
        record: RecordId(record),
        entries: Some(entries.into_iter().map(EntryId).collect()),
    };
    Ok(rows
        .into_iter()
        .map(|row| redaction(row.record, row.entries))
        .collect())
}
