//! What is left of changes whose log entries were trimmed: their place in the log. Their bytes are in the record's document.
//!
//! Writers hold the street's row lock.

use std::collections::{HashMap, HashSet};

pub use lianka_office_core::store::{EndedGeneration, Place};
use lianka_sync_core::id::{ChangeHash, RecordId, StreetCode};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A stretch of a street's log.
#[derive(Debug)]
pub struct Stretch {
    /// Its last entry; `None` where the log ends before it.
    pub upto: Option<i64>,
    pub entries: i64,
    /// Whether any of its changes is old enough.
    pub has_old: bool,
}

/// The `limit` entries after `after`.
pub async fn stretch(
    conn: &mut PgConnection,
    street: &StreetCode,
    after: i64,
    older_than: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Stretch> {
    sqlx::query_as!(
        Stretch,
        r#"select max(seq) as upto, count(*) as "entries!", coalesce(bool_or(received_at < $3), false) as "has_old!"
           from (select seq, received_at from change_log where street = $1 and seq > $2 order by seq limit $4) entry"#,
        street.as_str(),
        after,
        older_than,
        limit,
    )
    .fetch_one(conn)
    .await
}

/// Trims the changes of a stretch that are older than that and that their record's document holds. How many.
///
/// A disputed record keeps its log: its document is in doubt.
pub async fn trim(
    tx: &mut PgConnection,
    street: &StreetCode,
    after: i64,
    upto: i64,
    older_than: OffsetDateTime,
) -> sqlx::Result<u64> {
    let newest = sqlx::query!(
        r#"with trimmed as (
               delete from change_log l using record r
               where l.street = $1 and l.seq > $2 and l.seq <= $3 and l.type = 'change' and l.received_at < $4
                 and r.street = l.street and r.record = l.record and r.generation = l.generation
                 and r.snapshot is not null and l.seq <= r.snapshot_seq and r.disputed_at is null
               returning l.record, l.seq, l.hash, l.composed, l.generation, l.grid, l.received_at
           ), kept as (
               insert into trimmed_log (street, record, seqs, hashes, composed)
               select $1, record, array_agg(seq order by seq), array_agg(hash order by seq), array_agg(composed order by seq)
               from trimmed group by record
               on conflict (street, record) do update set seqs = trimmed_log.seqs || excluded.seqs,
                   hashes = trimmed_log.hashes || excluded.hashes, composed = trimmed_log.composed || excluded.composed
           )
           select record, max(seq) as "seq!", count(*) as "changes!", max(generation) as "generation!",
                  (array_agg(grid order by seq desc))[1] as "grid!", max(received_at) as "received_at!"
           from trimmed group by record order by record"#,
        street.as_str(),
        after,
        upto,
        older_than,
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into change_log (street, seq, type, record, generation, grid, received_at)
         select $1, seq, 'snapshot', record, generation, grid, received_at
         from unnest($2::bigint[], $3::uuid[], $4::int[], $5::text[], $6::timestamptz[]) as t (seq, record, generation, grid, received_at)",
        street.as_str(),
        &newest.iter().map(|row| row.seq).collect::<Vec<_>>(),
        &newest.iter().map(|row| row.record).collect::<Vec<_>>(),
        &newest.iter().map(|row| row.generation).collect::<Vec<_>>(),
        &newest.iter().map(|row| row.grid.clone()).collect::<Vec<_>>(),
        &newest.iter().map(|row| row.received_at).collect::<Vec<_>>(),
    )
    .execute(&mut *tx)
    .await?;
    // Whoever has to hear of the earlier one has to hear of the later one too.
    sqlx::query!(
        "delete from change_log l
         where l.street = $1 and l.seq > $2 and l.seq <= $3 and l.received_at < $4 and l.type in ('leave', 'snapshot')
           and exists (select from change_log n where n.street = l.street and n.record = l.record and n.seq > l.seq and n.type = l.type
                           and (n.type = 'snapshot' or n.grid = l.grid))",
        street.as_str(),
        after,
        upto,
        older_than,
    )
    .execute(tx)
    .await?;
    Ok(newest.iter().map(|row| row.changes.unsigned_abs()).sum())
}

/// The trimmed changes of some records, in the order of the log; records without any are left out.
pub async fn places(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<HashMap<RecordId, Vec<Place>>> {
    let rows = sqlx::query!(
        "select record, seqs, hashes, composed from trimmed_log where street = $1 and record = any($2)",
        street.as_str(),
        records
    );
    let places = |seqs: Vec<i64>, hashes: Vec<Vec<u8>>, composed: Vec<bool>| {
        let of = |((seq, hash), composed): ((i64, Vec<u8>), bool)| {
            Some(Place {
                hash: ChangeHash::from_slice(&hash)?,
                seq,
                composed,
                trimmed: true,
            })
        };
        let mut places: Vec<_> = seqs
            .into_iter()
            .zip(hashes)
            .zip(composed)
            .filter_map(of)
            .collect();
        places.sort_by_key(|place| place.seq);
        places
    };
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows
        .map(|row| {
            (
                RecordId(row.record),
                places(row.seqs, row.hashes, row.composed),
            )
        })
        .collect())
}

/// Replaces what is known of a record's trimmed changes, for its next generation.
pub async fn replace(
    tx: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    places: &[Place],
) -> sqlx::Result<()> {
    sqlx::query!(
        "update trimmed_log set seqs = $3, hashes = $4, composed = $5 where street = $1 and record = $2",
        street.as_str(),
        record.0,
        &places.iter().map(|place| place.seq).collect::<Vec<_>>(),
        &places.iter().map(|place| place.hash.0.to_vec()).collect::<Vec<_>>(),
        &places.iter().map(|place| place.composed).collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A page of the records of a street that have trimmed changes, by id.
pub async fn records(
    conn: &mut PgConnection,
    street: &str,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "select record from trimmed_log where street = $1 and record > $2 order by record limit $3",
        street,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Keeps in mind what a generation that ended had accepted, and of the record's generations the newest that come to `limit` changes.
pub async fn remember(
    tx: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    ended: &EndedGeneration,
    now: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into earlier_change (street, record, generation, hashes, ended_at) values ($1, $2, $3, $4, $5)",
        street.as_str(),
        record.0,
        ended.generation as i32,
        &ended.hashes.iter().map(|hash| hash.0.to_vec()).collect::<Vec<_>>(),
        now,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from earlier_change e using (
             select generation, sum(cardinality(hashes)) over (order by generation desc) - cardinality(hashes) as newer
             from earlier_change where street = $1 and record = $2
         ) counted
         where e.street = $1 and e.record = $2 and e.generation = counted.generation and counted.newer >= $3",
        street.as_str(),
        record.0,
        limit,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets what a street's generations had accepted that ended before that. How many generations.
pub async fn forget_ended(
    conn: &mut PgConnection,
    street: &StreetCode,
    before: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from earlier_change where street = $1 and ended_at < $2",
        street.as_str(),
        before
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// Of each of `records` the change of the same position in `hashes`, where an earlier generation had it.
pub async fn earlier(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
    hashes: &[Vec<u8>],
) -> sqlx::Result<HashSet<(RecordId, ChangeHash)>> {
    let rows = sqlx::query!(
        r#"select e.record, wanted.hash as "hash!" from unnest($2::uuid[], $3::bytea[]) as wanted (record, hash)
           join earlier_change e on e.street = $1 and e.record = wanted.record and wanted.hash = any(e.hashes)"#,
        street.as_str(),
        records,
        hashes,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((RecordId(row.record), ChangeHash::from_slice(&row.hash)?)))
        .collect())
}

/// Deletes a street's notices that are older than that, at most `limit`. How many.
pub async fn prune_notices(
    conn: &mut PgConnection,
    street: &StreetCode,
    older_than: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from notice where street = $1 and notice in (
             select notice from notice where street = $1 and created_at < $2 limit $3)",
        street.as_str(),
        older_than,
        limit,
    );
    Ok(done.execute(conn).await?.rows_affected())
}
