//! Records: register state, snapshot, and the log of everything accepted.
//!
//! Writers hold the street's row lock ([`lock_street`]), which orders them; readers see what was committed.

use std::collections::{BTreeMap, HashMap};

use lianka_office_core::{
    pull::{Advance, Departure, Gone, LogChange, Slice},
    store::{LogWrite, Logged, Place, RecordWrite, Rewrite},
};
use lianka_sync_core::{
    id::{ChangeHash, RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A record as MERGE reads it.
#[derive(Debug)]
pub struct StoredRecord {
    pub grid: String,
    pub seq: i64,
    pub grid_seq: i64,
    pub state: Vec<u8>,
}

/// Locks the street for writing and tells its head; `None` where there is no such street.
pub async fn lock_street(tx: &mut PgConnection, street: &StreetCode) -> sqlx::Result<Option<Head>> {
    sqlx::query_as!(
        Head,
        "select d.store_epoch, s.head_seq as seq from street s cross join deployment d where s.street = $1 for update of s",
        street.as_str()
    )
    .fetch_optional(tx)
    .await
}

/// Raises the head of a locked street.
pub async fn raise_head(tx: &mut PgConnection, street: &StreetCode, head: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "update street set head_seq = $2 where street = $1",
        street.as_str(),
        head
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Which history the store holds, and the street's head in it.
#[derive(Debug)]
pub struct Head {
    pub store_epoch: Uuid,
    pub seq: i64,
}

/// The records among `records` that exist.
pub async fn load(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<HashMap<RecordId, StoredRecord>> {
    let rows = sqlx::query!(
        "select record, grid, seq, grid_seq, state from record where street = $1 and record = any($2)",
        street.as_str(),
        records,
    )
    .fetch_all(conn)
    .await?;
    let stored = |row: (Uuid, StoredRecord)| (RecordId(row.0), row.1);
    Ok(rows
        .into_iter()
        .map(|row| {
            stored((
                row.record,
                StoredRecord {
                    grid: row.grid,
                    seq: row.seq,
                    grid_seq: row.grid_seq,
                    state: row.state,
                },
            ))
        })
        .collect())
}

/// Writes the records, new or not.
pub async fn upsert(
    tx: &mut PgConnection,
    street: &StreetCode,
    records: &[RecordWrite],
) -> sqlx::Result<()> {
    let column = |value: fn(&RecordWrite) -> i64| records.iter().map(value).collect::<Vec<_>>();
    sqlx::query!(
        "insert into record (street, record, kind, grid, generation, seq, grid_seq, state)
         select $1, * from unnest($2::uuid[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::bigint[], $8::bytea[])
         on conflict (street, record) do update set
             grid = excluded.grid, generation = excluded.generation, seq = excluded.seq, grid_seq = excluded.grid_seq, state = excluded.state",
        street.as_str(),
        &records.iter().map(|record| record.record.0).collect::<Vec<_>>(),
        &records.iter().map(|record| record.state.kind().as_str().to_owned()).collect::<Vec<_>>(),
        &records.iter().map(|record| record.grid.clone()).collect::<Vec<_>>(),
        &records.iter().map(|record| record.state.generation() as i32).collect::<Vec<_>>(),
        &column(|record| record.seq),
        &column(|record| record.grid_seq),
        &records.iter().map(|record| record.state.to_bytes()).collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Appends to the log.
pub async fn append_log(
    tx: &mut PgConnection,
    street: &StreetCode,
    entries: Vec<LogWrite>,
) -> sqlx::Result<()> {
    let n = entries.len();
    let (mut seqs, mut types, mut records, mut generations) = (
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
    );
    let (mut grids, mut hashes, mut devices, mut bytes, mut times) = (
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
    );
    let mut composed = Vec::with_capacity(n);
    for entry in entries {
        seqs.push(entry.seq);
        types.push(entry.what.as_str().to_owned());
        records.push(entry.record.0);
        generations.push(entry.generation as i32);
        grids.push(entry.grid);
        times.push(OffsetDateTime::from(entry.received_at));
        composed.push(entry.what.change().is_some_and(|change| change.composed));
        let (hash, device, content) = match entry.what {
            Logged::Change(change) => (
                Some(change.hash.0.to_vec()),
                Some(change.device.0),
                Some(change.bytes),
            ),
            Logged::Leave | Logged::Snapshot | Logged::Erase => (None, None, None),
        };
        hashes.push(hash);
        devices.push(device);
        bytes.push(content);
    }
    sqlx::query!(
        "insert into change_log (street, seq, type, record, generation, grid, hash, device, bytes, received_at, composed)
         select $1, * from unnest($2::bigint[], $3::text[], $4::uuid[], $5::int[], $6::text[], $7::bytea[], $8::uuid[], $9::bytea[],
                                  $10::timestamptz[], $11::boolean[])",
        street.as_str(),
        &seqs,
        &types,
        &records,
        &generations,
        &grids,
        &hashes as &[Option<Vec<u8>>],
        &devices as &[Option<Uuid>],
        &bytes as &[Option<Vec<u8>>],
        &times,
        &composed,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Where changes stand, or stood, in the log: of each of `records` the change of the same position in `hashes`.
pub async fn seqs(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
    hashes: &[Vec<u8>],
) -> sqlx::Result<BTreeMap<(RecordId, ChangeHash), i64>> {
    let rows = sqlx::query!(
        r#"select l.record as "record!", l.hash as "hash!", l.seq as "seq!" from unnest($2::uuid[], $3::bytea[]) as wanted (record, hash)
           join change_log l on l.street = $1 and l.record = wanted.record and l.hash = wanted.hash and l.type = 'change'
           union all
           select t.record, place.hash, place.seq from trimmed_log t cross join unnest(t.hashes, t.seqs) as place (hash, seq)
           where t.street = $1 and t.record = any($2) and place.hash = any($3)"#,
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
                row.seq,
            ))
        })
        .collect())
}

/// A record's document, as a phone or the judge needs it.
#[derive(Debug)]
pub struct Document {
    pub record: RecordId,
    pub kind: String,
    pub grid: String,
    pub generation: i32,
    pub seq: i64,
    /// Saved document up to some entry, then the changes after it, one chunk after another.
    pub bytes: Vec<u8>,
    /// Somebody filled in a sensitive field.
    pub holds_p3: bool,
}

/// Which documents to read: every form is bounded by `limit` and ordered by sequence.
#[derive(Clone, Copy, Debug)]
pub struct DocumentPage<'p> {
    /// Grids to look in; `None` is the whole street.
    pub grids: Option<&'p [String]>,
    /// Records to look for; `None` is all.
    pub records: Option<&'p [Uuid]>,
    /// Only records whose newest entry lies beyond.
    pub after: i64,
    pub limit: i64,
}

/// Reads documents, each with the changes that its snapshot lacks.
pub async fn documents(
    conn: &mut PgConnection,
    street: &StreetCode,
    page: DocumentPage<'_>,
) -> sqlx::Result<Vec<Document>> {
    let rows = sqlx::query!(
        r#"select r.record, r.kind, r.grid, r.generation, r.seq, r.snapshot, t.tail,
                  (exists (select from shop_contact c where c.street = $1 and c.record = r.record and c.party_status is not null)
                   or exists (select from transfer x where x.street = $1 and x.record = r.record
                       and (x.member_name, x.member_status, x.origin_organisation, x.target_branch) is distinct from (null, null, null, null))
                  ) as "holds_p3!"
           from (
               select * from record
               where street = $1 and seq > $2 and ($3::text[] is null or grid = any($3)) and ($4::uuid[] is null or record = any($4))
               order by seq limit $5
           ) r
           left join lateral (
               select string_agg(l.bytes, ''::bytea order by l.seq) as tail from change_log l
               where l.street = $1 and l.record = r.record and l.generation = r.generation and l.type = 'change'
                 and l.seq > r.snapshot_seq and l.seq <= r.seq
           ) t on r.seq > r.snapshot_seq
           order by r.seq"#,
        street.as_str(),
        page.after,
        page.grids,
        page.records,
        page.limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut bytes = row.snapshot.unwrap_or_default();
            bytes.extend(row.tail.unwrap_or_default());
            Document {
                record: RecordId(row.record),
                kind: row.kind,
                grid: row.grid,
                generation: row.generation,
                seq: row.seq,
                bytes,
                holds_p3: row.holds_p3,
            }
        })
        .collect())
}

/// What a slice of the log holds of each record.
pub async fn advances(
    conn: &mut PgConnection,
    street: &StreetCode,
    slice: &Slice,
) -> sqlx::Result<Vec<Advance>> {
    let rows = sqlx::query!(
        // The range of the log first, then each record by its key, whatever the planner thinks of tables that it has not analysed yet: any other
        // order compares every entry with every record. `offset 0` keeps it from thinking again.
        r#"with entry as materialized (
               select record, count(*) as entries, array_agg(seq) as seqs, bool_or(type = 'snapshot') as rebuilt from change_log
               where street = $1 and seq > $2 and seq <= $3 and type in ('change', 'snapshot') and (device is distinct from $4 or composed or seq <> all($6))
               group by record
           )
           select r.record, r.kind, entry.entries as "foreign!", (entry.rebuilt or r.grid_seq = any(entry.seqs)) as "arrived!",
                  (exists (select from shop_contact c where c.street = $1 and c.record = r.record and c.party_status is not null)
                   or exists (select from transfer t where t.street = $1 and t.record = r.record
                       and (t.member_name, t.member_status, t.origin_organisation, t.target_branch) is distinct from (null, null, null, null))
                  ) as "holds_p3!"
           from entry
           cross join lateral (select * from record r where r.street = $1 and r.record = entry.record offset 0) r
           where $5::text[] is null or r.grid = any($5)"#,
        street.as_str(),
        slice.after,
        slice.upto,
        slice.device.0,
        slice.grids.as_deref(),
        &slice.brought,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Advance {
                record: RecordId(row.record),
                kind: crate::store::decoded(&row.kind)?,
                entries: row.foreign,
                arrived: row.arrived,
                holds_p3: row.holds_p3,
            })
        })
        .collect()
}

/// The first `limit` entries of a slice of the log.
pub async fn changes(
    conn: &mut PgConnection,
    street: &StreetCode,
    slice: &Slice,
    limit: usize,
) -> sqlx::Result<Vec<LogChange>> {
    let rows = sqlx::query!(
        // By grid and not by a list of records: a list of a thousand is walked for every entry.
        r#"select seq, record, generation, bytes from change_log l
           where street = $1 and seq > $2 and seq <= $3 and type in ('change', 'snapshot') and (device is distinct from $4 or composed or seq <> all($7))
             and ($5::text[] is null or exists (select from record r where r.street = $1 and r.record = l.record and r.grid = any($5)))
           order by seq limit $6"#,
        street.as_str(),
        slice.after,
        slice.upto,
        slice.device.0,
        slice.grids.as_deref(),
        limit as i64,
        &slice.brought,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LogChange {
            seq: row.seq,
            record: RecordId(row.record),
            generation: row.generation as u32,
            bytes: row.bytes.map(Into::into),
            brought: false,
        })
        .collect())
}

/// Which of these records stand in none of `grids`.
pub async fn outside(
    conn: &mut PgConnection,
    street: &StreetCode,
    grids: &[String],
    records: &[Uuid],
) -> sqlx::Result<Vec<RecordId>> {
    let rows = sqlx::query_scalar!(
        "select record from record where street = $1 and record = any($2) and grid <> all($3) order by record",
        street.as_str(),
        records,
        grids,
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(RecordId)
        .collect())
}

/// Records that left a phone's sight.
pub async fn departures(
    conn: &mut PgConnection,
    street: &StreetCode,
    gone: &Gone,
) -> sqlx::Result<Vec<Departure>> {
    let rows = sqlx::query!(
        r#"select l.record as "record!", bool_or(l.type = 'erase') as "erased!"
           from change_log l left join record r on r.street = l.street and r.record = l.record
           where l.street = $1 and l.seq > $2 and l.seq <= $3
             -- An erased record concerns every phone: one that lost its grid long ago may still hold a draft.
             and (l.type = 'erase' or (l.type = 'leave' and ($4::text[] is null or l.grid = any($4))))
             and (l.type = 'erase' or r.record is null or ($5::text[] is not null and r.grid <> all($5)))
           group by l.record
           union
           select record, false from record where street = $1 and grid = any($6)"#,
        street.as_str(),
        gone.after,
        gone.upto,
        gone.seen.as_deref(),
        gone.now.as_deref(),
        &gone.lost,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Departure {
            record: RecordId(row.record),
            erased: row.erased,
        })
        .collect())
}

/// A record whose snapshot lags behind its log.
#[derive(Debug)]
pub struct Lagging {
    pub document: Document,
    pub state: Vec<u8>,
}

/// Up to `limit` records whose snapshot lags, the longest waiting first.
pub async fn lagging(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<(StreetCode, Uuid)>> {
    let rows =
        sqlx::query!("select street, record from record where seq > snapshot_seq and disputed_at is null order by seq limit $1", limit)
            .fetch_all(conn)
            .await?;
    rows.into_iter()
        .map(|row| Ok((crate::store::decoded(&row.street)?, row.record)))
        .collect()
}

/// The documents and register states of records as of the same moment. Call it inside one repeatable-read transaction.
pub async fn documents_and_states(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Vec<Lagging>> {
    let page = DocumentPage {
        grids: None,
        records: Some(records),
        after: 0,
        limit: records.len() as i64,
    };
    let documents = documents(&mut *conn, street, page).await?;
    let states = sqlx::query!(
        "select record, state from record where street = $1 and record = any($2)",
        street.as_str(),
        records
    );
    let states = states.fetch_all(conn).await?.into_iter();
    let mut states: HashMap<_, _> = states
        .map(|row| (RecordId(row.record), row.state))
        .collect();
    Ok(documents
        .into_iter()
        .filter_map(|document| {
            let state = states.remove(&document.record)?;
            Some(Lagging { document, state })
        })
        .collect())
}

/// A refreshed snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub record: RecordId,
    pub generation: i32,
    /// The entry that it reaches.
    pub seq: i64,
    pub bytes: Vec<u8>,
}

/// Stores refreshed snapshots, unless newer ones are there. A record that somebody writes just now is passed over, so that no writer, who locks
/// rows in an order of its own, waits for one who waits for it.
pub async fn store_snapshots(
    conn: &mut PgConnection,
    street: &StreetCode,
    snapshots: &[Snapshot],
) -> sqlx::Result<()> {
    sqlx::query!(
        "update record r set snapshot = free.bytes, snapshot_seq = free.seq
         from (
             select r.record, n.seq, n.bytes from unnest($2::uuid[], $3::int[], $4::bigint[], $5::bytea[]) as n (record, generation, seq, bytes)
             join record r on r.street = $1 and r.record = n.record and r.generation = n.generation and r.snapshot_seq < n.seq
             for update of r skip locked
         ) free
         where r.street = $1 and r.record = free.record",
        street.as_str(),
        &snapshots.iter().map(|one| one.record.0).collect::<Vec<_>>(),
        &snapshots.iter().map(|one| one.generation).collect::<Vec<_>>(),
        &snapshots.iter().map(|one| one.seq).collect::<Vec<_>>(),
        &snapshots.iter().map(|one| one.bytes.clone()).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores the document of a rebuilt record, which reaches `seq`, whatever was there.
pub async fn replace_document(
    tx: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    seq: i64,
    document: &[u8],
) -> sqlx::Result<()> {
    sqlx::query!(
        "update record set snapshot = $4, snapshot_seq = $3, disputed_at = null where street = $1 and record = $2",
        street.as_str(),
        record.0,
        seq,
        document,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Rewrites a record's log for its next generation, in place: what was rebuilt under its old sequence, the rest is dropped.
pub async fn rewrite_log(
    tx: &mut PgConnection,
    street: &StreetCode,
    rewrite: &Rewrite,
) -> sqlx::Result<()> {
    let before: Vec<_> = rewrite
        .changes
        .iter()
        .map(|change| change.before.0.to_vec())
        .collect();
    sqlx::query!(
        "delete from change_log where street = $1 and record = $2 and type = 'change' and generation < $3 and hash <> all($4)",
        street.as_str(),
        rewrite.record.0,
        rewrite.generation as i32,
        &before,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update change_log l set generation = $3, hash = next.hash, bytes = next.bytes
         from unnest($4::bytea[], $5::bytea[], $6::bytea[]) as next (before, hash, bytes)
         where l.street = $1 and l.record = $2 and l.type = 'change' and l.generation < $3 and l.hash = next.before",
        street.as_str(),
        rewrite.record.0,
        rewrite.generation as i32,
        &before,
        &rewrite.changes.iter().map(|change| change.hash.0.to_vec()).collect::<Vec<_>>(),
        &rewrite.changes.iter().map(|change| change.bytes.clone()).collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Marks a record whose document and register state say different things: it is not refreshed any more, and loses nothing.
pub async fn mark_disputed(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    now: ServerTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update record set disputed_at = $3 where street = $1 and record = $2",
        street.as_str(),
        record.0,
        OffsetDateTime::from(now)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A page of all records of a street by id, for a rebuild of the read models.
pub async fn page_of_states(
    conn: &mut PgConnection,
    street: &StreetCode,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<(RecordId, i64, Vec<u8>)>> {
    let rows = sqlx::query!(
        "select record, seq, state from record where street = $1 and record > $2 order by record limit $3",
        street.as_str(),
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (RecordId(row.record), row.seq, row.state))
        .collect())
}

/// One record for a desk.
#[derive(Debug)]
pub struct RecordRow {
    pub kind: String,
    pub grid: String,
    pub generation: i32,
    pub seq: i64,
    pub state: Vec<u8>,
}

/// One record; `None` where it does not exist or stands outside `grids` (`None`: the whole street).
pub async fn find(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    grids: Option<&[String]>,
) -> sqlx::Result<Option<RecordRow>> {
    sqlx::query_as!(
        RecordRow,
        "select kind, grid, generation, seq, state from record
         where street = $1 and record = $2 and ($3::text[] is null or grid = any($3))",
        street.as_str(),
        record.0,
        grids,
    )
    .fetch_optional(conn)
    .await
}

/// An accepted change with its author, for the history.
#[derive(Debug)]
pub struct HistoryRow {
    pub seq: i64,
    pub hash: Vec<u8>,
    pub bytes: Vec<u8>,
    pub received_at: OffsetDateTime,
    pub device: Uuid,
    pub device_name: Option<String>,
    pub username: Option<String>,
}

/// A page of a record's history, newest first, and how long it is.
pub async fn history(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<HistoryRow>, i64)> {
    let rows = sqlx::query_as!(
        HistoryRow,
        r#"select l.seq, l.hash as "hash!", l.bytes as "bytes!", l.received_at, l.device as "device!",
                  d.name as "device_name?", d.username as "username?"
           from change_log l left join device d on d.device = l.device
           where l.street = $1 and l.record = $2 and l.type = 'change'
           -- What a rebuild cut off an older change stands at the end of the log, and belongs beside that change.
           order by l.received_at desc, l.seq desc limit $3 offset $4"#,
        street.as_str(),
        record.0,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from change_log where street = $1 and record = $2 and type = 'change'"#,
        street.as_str(),
        record.0
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// Where the changes of records stand in the log, in its order.
pub async fn places(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<BTreeMap<RecordId, Vec<Place>>> {
    let rows = sqlx::query!(
        r#"select record, hash as "hash!", seq, composed from change_log where street = $1 and record = any($2) and type = 'change' order by seq"#,
        street.as_str(),
        records,
    );
    let mut places: BTreeMap<RecordId, Vec<Place>> = BTreeMap::new();
    for row in rows.fetch_all(conn).await? {
        let place = ChangeHash::from_slice(&row.hash).map(|hash| Place {
            hash,
            seq: row.seq,
            composed: row.composed,
            trimmed: false,
        });
        places
            .entry(RecordId(row.record))
            .or_default()
            .extend(place);
    }
    Ok(places)
}

/// The grids that each of the records was moved out of; records that never moved are left out.
pub async fn left_grids(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<BTreeMap<RecordId, Vec<String>>> {
    let rows = sqlx::query!(
        "select distinct record, grid from change_log where street = $1 and record = any($2) and type = 'leave'",
        street.as_str(),
        records
    );
    let mut left: BTreeMap<RecordId, Vec<String>> = BTreeMap::new();
    for row in rows.fetch_all(conn).await? {
        left.entry(RecordId(row.record)).or_default().push(row.grid);
    }
    Ok(left)
}
