//! SQL of imports: proposals and their rows, and what exports said.

use std::collections::{BTreeSet, HashMap};

use lianka_sync_core::{
    id::{ChangeHash, DeviceId, EntryId, RecordId, StreetCode},
    kinds::duplicate::Traits,
};
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

pub use super::plan::Wrote;
use super::{
    plan::{Content, Plan, ProblemReport},
    workbook::{Export, Said},
};

/// The street's head.
pub async fn head(conn: &mut PgConnection, street: &StreetCode) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "select head_seq from street where street = $1",
        street.as_str()
    )
    .fetch_one(conn)
    .await
}

/// An export, as it is remembered.
#[derive(Debug)]
pub struct ExportWrite<'e> {
    pub export: Uuid,
    pub head: i64,
    pub at: OffsetDateTime,
    pub username: &'e str,
    /// Key and heading.
    pub columns: &'e [(String, String)],
}

/// Remembers an export.
pub async fn insert_export(
    conn: &mut PgConnection,
    street: &StreetCode,
    export: &ExportWrite<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into roll_export (street, export, head, exported_at, username, columns) values ($1, $2, $3, $4, $5, $6)",
        street.as_str(),
        export.export,
        export.head,
        export.at,
        export.username,
        serde_json::json!(export.columns),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Remembers what an export said of some cards.
pub async fn insert_said(
    conn: &mut PgConnection,
    street: &StreetCode,
    export: Uuid,
    rows: &[(RecordId, Said)],
) -> sqlx::Result<()> {
    let entries = |said: &Said| -> Vec<u8> {
        said.entries
            .iter()
            .flat_map(|entry| entry.0.into_bytes())
            .collect()
    };
    sqlx::query!(
        "insert into roll_export_row (street, export, record, said, entries, lines, members)
         select $1, $2, * from unnest($3::uuid[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[])",
        street.as_str(),
        export,
        &rows.iter().map(|(record, _)| record.0).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|(_, said)| said.cells.clone())
            .collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|(_, said)| entries(said))
            .collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|(_, said)| said.lines.clone())
            .collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|(_, said)| said.members.clone())
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An export of the street, while it is remembered.
pub async fn export(
    conn: &mut PgConnection,
    street: &StreetCode,
    export: Uuid,
) -> sqlx::Result<Option<Export>> {
    let row = sqlx::query!(
        r#"select head, columns as "columns: Json<Vec<(String, String)>>" from roll_export where street = $1 and export = $2"#,
        street.as_str(),
        export,
    );
    Ok(row.fetch_optional(conn).await?.map(|row| Export {
        export,
        head: row.head,
        columns: row.columns.0,
    }))
}

/// The newest exports that had one of these cards.
pub async fn exports_of(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "select e.export from roll_export e
         where e.street = $1 and exists (select from roll_export_row r where r.street = e.street and r.export = e.export and r.record = any($2))
         order by e.exported_at desc limit $3",
        street.as_str(),
        records,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Which of these cards an export said something of.
pub async fn exported(
    conn: &mut PgConnection,
    street: &StreetCode,
    export: Uuid,
    records: &[Uuid],
) -> sqlx::Result<Vec<RecordId>> {
    let rows = sqlx::query_scalar!(
        "select record from roll_export_row where street = $1 and export = $2 and record = any($3)",
        street.as_str(),
        export,
        records,
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(RecordId)
        .collect())
}

/// What an export said of these cards.
pub async fn said(
    conn: &mut PgConnection,
    street: &StreetCode,
    export: Uuid,
    records: &[Uuid],
) -> sqlx::Result<HashMap<RecordId, Said>> {
    let rows = sqlx::query!(
        "select record, said, entries, lines, members from roll_export_row where street = $1 and export = $2 and record = any($3)",
        street.as_str(),
        export,
        records,
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| {
            let entries = row.entries.chunks_exact(16);
            let said = Said {
                cells: row.said,
                entries: entries
                    .filter_map(|id| Uuid::from_slice(id).ok().map(EntryId))
                    .collect(),
                lines: row.lines,
                members: row.members,
            };
            (RecordId(row.record), said)
        })
        .collect())
}

/// The cards of an export that are not among these, and how many.
pub async fn missing(
    conn: &mut PgConnection,
    street: &StreetCode,
    export: Uuid,
    records: &[Uuid],
    limit: i64,
) -> sqlx::Result<(Vec<RecordId>, i64)> {
    let rows = sqlx::query!(
        r#"select record, count(*) over () as "total!" from roll_export_row r where street = $1 and export = $2
             and not exists (select from unnest($3::uuid[]) there where there = r.record)
           order by record limit $4"#,
        street.as_str(),
        export,
        records,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let total = rows.first().map_or(0, |row| row.total);
    Ok((
        rows.into_iter().map(|row| RecordId(row.record)).collect(),
        total,
    ))
}

/// The cards that meet these keys, and everything that each is recognised by.
pub async fn recognised(
    conn: &mut PgConnection,
    street: &StreetCode,
    keys: &[String],
) -> sqlx::Result<(HashMap<String, Vec<RecordId>>, HashMap<RecordId, Traits>)> {
    let met = sqlx::query!(
        "select key, record from shop_key where street = $1 and key = any($2)",
        street.as_str(),
        keys,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut meeting: HashMap<String, Vec<RecordId>> = HashMap::new();
    for row in met {
        meeting
            .entry(row.key)
            .or_default()
            .push(RecordId(row.record));
    }
    let records: Vec<Uuid> = meeting.values().flatten().map(|record| record.0).collect();
    let all = sqlx::query!(
        r#"select record, array_agg(key) as "keys!" from shop_key where street = $1 and record = any($2) group by record"#,
        street.as_str(),
        &records,
    )
    .fetch_all(conn)
    .await?;
    let traits = all.into_iter().map(|row| {
        let traits = Traits::from_keys(row.keys.iter().map(String::as_str));
        (RecordId(row.record), traits)
    });
    Ok((meeting, traits.collect()))
}

/// What the newest import that wrote a card said of it, cell by cell.
pub async fn last_cells(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<HashMap<RecordId, Vec<(String, String)>>> {
    let rows = sqlx::query!(
        r#"select distinct on (record) record as "record!", cells as "cells: Json<Vec<(String, String)>>" from roll_import_row
           where street = $1 and record = any($2) and state in ('written', 'unchanged') and seen is null and cells <> '[]'
           order by record, import desc"#,
        street.as_str(),
        records,
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| (RecordId(row.record), row.cells.0))
        .collect())
}

/// What imports of sheets of ours wrote on cards, and was not taken back.
pub async fn wrote(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<Wrote> {
    let mut wrote = Wrote::new();
    if records.is_empty() {
        return Ok(wrote);
    }
    let rows = sqlx::query!(
        r#"select record as "record!", content->'wrote' as "wrote!: Json<Vec<String>>" from roll_import_row
           where street = $1 and record = any($2) and state = 'written' and jsonb_array_length(content->'wrote') > 0"#,
        street.as_str(),
        records,
    );
    for row in rows.fetch_all(conn).await? {
        wrote
            .entry(RecordId(row.record))
            .or_default()
            .extend(row.wrote.0);
    }
    Ok(wrote)
}

/// States of rows that were written, or say nothing new.
pub const WRITTEN: [&str; 3] = ["written", "unchanged", "kept"];

/// The cards that rows of these identities became, of the rows that stand in one of these states. `but`: cards that do not count, because whoever asks
/// is about to make them, and rows of other imports only point at them.
pub async fn imported(
    conn: &mut PgConnection,
    street: &StreetCode,
    identities: &[Vec<u8>],
    states: &[&str],
    but: &[Uuid],
) -> sqlx::Result<HashMap<Vec<u8>, RecordId>> {
    let states: Vec<String> = states.iter().map(|state| (*state).to_owned()).collect();
    let rows = sqlx::query!(
        r#"select distinct on (identity) identity, record as "record!" from roll_import_row
           where street = $1 and identity = any($2) and record <> all($4) and state = any($3)
           order by identity, record"#,
        street.as_str(),
        identities,
        &states,
        but,
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| (row.identity, RecordId(row.record)))
        .collect())
}

/// A proposal to remember.
#[derive(Debug)]
pub struct ProposalWrite<'p> {
    pub import: Uuid,
    pub file_name: &'p str,
    pub file_hash: &'p [u8],
    pub device: DeviceId,
    pub username: &'p str,
    pub at: OffsetDateTime,
    pub plan: &'p Plan,
    pub base_seq: i64,
}

/// Remembers that there is to be a proposal: dropped, until its rows are there and it is shown.
pub async fn insert_proposal(
    tx: &mut PgConnection,
    street: &StreetCode,
    proposal: &ProposalWrite<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into roll_import (street, import, file_name, file_hash, device, username, imported_at, rows, created, status, plan, base_seq)
         values ($1, $2, $3, $4, $5, $6, $7, 0, 0, 'dropped', $8, $9)",
        street.as_str(),
        proposal.import,
        proposal.file_name,
        proposal.file_hash,
        proposal.device.0,
        proposal.username,
        proposal.at,
        serde_json::json!(proposal.plan),
        proposal.base_seq,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Shows a proposal whose rows are all there.
pub async fn show_proposal(
    tx: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    status: &str,
    rows: i32,
    plan: &Plan,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update roll_import set status = $3, rows = $4, plan = $5 where street = $1 and import = $2",
        street.as_str(),
        import,
        status,
        rows,
        Json(plan) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A row of a proposal.
#[derive(Debug)]
pub struct RowInsert {
    pub row: i32,
    pub identity: Vec<u8>,
    /// The card that it is, or is to be.
    pub record: Option<RecordId>,
    /// Heading and text of each cell.
    pub cells: Vec<(String, String)>,
    pub outcome: &'static str,
    /// The head of the export that it came from.
    pub seen: Option<i64>,
    pub content: Content,
}

impl RowInsert {
    /// A row of which nothing is known.
    pub fn of(row: u32) -> Self {
        Self {
            row: i32::try_from(row).unwrap_or(i32::MAX),
            identity: Vec::new(),
            record: None,
            cells: Vec::new(),
            outcome: "skipped",
            seen: None,
            content: Content::default(),
        }
    }

    /// Where it stands: open, or done with.
    pub fn state(&self) -> &'static str {
        if ["unchanged", "skipped"].contains(&self.outcome) {
            "unchanged"
        } else {
            "open"
        }
    }
}

/// Remembers rows of a proposal.
pub async fn insert_rows(
    tx: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    rows: &[RowInsert],
) -> sqlx::Result<()> {
    let problems = |row: &RowInsert| -> Json<Vec<String>> {
        let problems = row.content.problems.iter();
        Json(problems.map(|problem| problem.code.clone()).collect())
    };
    sqlx::query!(
        "insert into roll_import_row (street, import, row_number, identity, record, cells, problems, outcome, state, seen, content)
         select $1, $2, * from unnest($3::int[], $4::bytea[], $5::uuid[], $6::jsonb[], $7::jsonb[], $8::text[], $9::text[], $10::bigint[], $11::jsonb[])",
        street.as_str(),
        import,
        &rows.iter().map(|row| row.row).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.identity.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.record.map(|record| record.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &rows.iter().map(|row| Json(&row.cells)).collect::<Vec<_>>() as _,
        &rows.iter().map(problems).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.outcome.to_owned()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.state().to_owned()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.seen).collect::<Vec<_>>() as &[Option<i64>],
        &rows.iter().map(|row| Json(&row.content)).collect::<Vec<_>>() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Adds problems to rows that are stored already.
pub async fn add_problems(
    tx: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    problems: &[ProblemReport],
) -> sqlx::Result<()> {
    sqlx::query!(
        "update roll_import_row r set problems = r.problems || codes,
             content = jsonb_set(r.content, '{problems}', coalesce(r.content->'problems', '[]') || reports)
         from (select n, jsonb_agg(p->>'code') as codes, jsonb_agg(p) as reports from unnest($3::int[], $4::jsonb[]) late (n, p) group by n) late
         where r.street = $1 and r.import = $2 and r.row_number = n",
        street.as_str(),
        import,
        &problems.iter().map(|problem| problem.row as i32).collect::<Vec<_>>(),
        &problems.iter().map(Json).collect::<Vec<_>>() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// An import as it stands.
#[derive(Debug)]
pub struct ImportRow {
    pub import: Uuid,
    pub file_name: String,
    pub file_hash: Vec<u8>,
    pub username: String,
    pub at: OffsetDateTime,
    pub status: String,
    pub plan: Json<Plan>,
    pub base_seq: i64,
    /// How many rows there are of each outcome and state.
    pub counts: Json<Vec<(String, String, i64)>>,
}

/// An import of the street.
pub async fn import(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
) -> sqlx::Result<Option<ImportRow>> {
    let Some(mut row) = uncounted(conn, street, import).await? else {
        return Ok(None);
    };
    let counts = sqlx::query!(
        r#"select outcome, state, count(*) as "count!" from roll_import_row where street = $1 and import = $2 group by outcome, state"#,
        street.as_str(),
        import,
    );
    let counts = counts.fetch_all(conn).await?.into_iter();
    row.counts = Json(
        counts
            .map(|row| (row.outcome, row.state, row.count))
            .collect(),
    );
    Ok(Some(row))
}

/// The same without the counts, which take a look at every row.
pub async fn uncounted(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
) -> sqlx::Result<Option<ImportRow>> {
    sqlx::query_as!(
        ImportRow,
        r#"select import, file_name, file_hash, username, imported_at as at, status, plan as "plan: Json<Plan>", base_seq,
                  '[]'::jsonb as "counts!: Json<Vec<(String, String, i64)>>"
           from roll_import where street = $1 and import = $2"#,
        street.as_str(),
        import,
    )
    .fetch_optional(conn)
    .await
}

/// Whether rows of an import wait for a decision.
pub async fn any_open(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from roll_import_row where street = $1 and import = $2 and state = 'open') as "any!""#,
        street.as_str(),
        import,
    )
    .fetch_one(conn)
    .await
}

/// The street's imports, the newest first.
pub async fn imports(
    conn: &mut PgConnection,
    street: &StreetCode,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<Uuid>, i64)> {
    let rows = sqlx::query!(
        r#"select import, count(*) over () as "total!" from roll_import where street = $1 and status <> 'dropped'
           order by imported_at desc, import desc limit $2 offset $3"#,
        street.as_str(),
        limit,
        offset,
    )
    .fetch_all(conn)
    .await?;
    let total = rows.first().map_or(0, |row| row.total);
    Ok((rows.into_iter().map(|row| row.import).collect(), total))
}

/// The import of a file that is being written: it was cut off, or another request writes it.
pub async fn unfinished(
    conn: &mut PgConnection,
    street: &StreetCode,
    file_hash: &[u8],
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "select import from roll_import where street = $1 and file_hash = $2 and status = 'applying' order by imported_at limit 1",
        street.as_str(),
        file_hash,
    )
    .fetch_optional(conn)
    .await
}

/// A row as it stands.
#[derive(Debug)]
pub struct StoredRow {
    pub row: i32,
    pub identity: Vec<u8>,
    pub record: Option<Uuid>,
    pub outcome: String,
    pub state: String,
    pub seen: Option<i64>,
    pub hash: Option<Vec<u8>>,
    pub seq: Option<i64>,
    pub content: Json<Content>,
}

/// Which rows to list.
#[derive(Clone, Debug, Default)]
pub struct RowFilter {
    pub outcome: Option<String>,
    pub state: Option<String>,
}

/// A page of an import's rows, and how many the filter admits.
pub async fn rows(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    filter: &RowFilter,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<StoredRow>, i64)> {
    let total = sqlx::query_scalar!(
        r#"select count(*) as "n!" from roll_import_row where street = $1 and import = $2
             and ($3::text is null or outcome = $3) and ($4::text is null or state = $4)"#,
        street.as_str(),
        import,
        filter.outcome,
        filter.state,
    )
    .fetch_one(&mut *conn)
    .await?;
    let rows = sqlx::query_as!(
        StoredRow,
        r#"select row_number as row, identity, record, outcome, state, seen, hash, seq, content as "content: Json<Content>" from roll_import_row
           where street = $1 and import = $2 and ($3::text is null or outcome = $3) and ($4::text is null or state = $4)
           order by row_number limit $5 offset $6"#,
        street.as_str(),
        import,
        filter.outcome,
        filter.state,
        limit,
        offset,
    )
    .fetch_all(conn)
    .await?;
    Ok((rows, total))
}

/// What is doubtful about an import's rows, so much at most.
pub async fn problems(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<ProblemReport>> {
    let rows = sqlx::query_scalar!(
        r#"select content->'problems' as "problems!: Json<Vec<ProblemReport>>" from roll_import_row
           where street = $1 and import = $2 and jsonb_array_length(content->'problems') > 0 order by row_number limit $3"#,
        street.as_str(),
        import,
        limit,
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .flat_map(|problems| problems.0)
        .collect())
}

/// Some open rows of an import, by their numbers.
pub async fn open_rows(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    rows: &[i32],
) -> sqlx::Result<Vec<StoredRow>> {
    sqlx::query_as!(
        StoredRow,
        r#"select row_number as row, identity, record, outcome, state, seen, hash, seq, content as "content: Json<Content>" from roll_import_row
           where street = $1 and import = $2 and row_number = any($3) and state = 'open' order by row_number"#,
        street.as_str(),
        import,
        rows,
    )
    .fetch_all(conn)
    .await
}

/// Marks these rows to be written.
pub async fn choose(
    tx: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    rows: &[i32],
) -> sqlx::Result<u64> {
    Ok(sqlx::query!(
        "update roll_import_row set state = 'chosen' where street = $1 and import = $2 and state = 'open' and row_number = any($3)",
        street.as_str(),
        import,
        rows,
    )
    .execute(tx)
    .await?
    .rows_affected())
}

/// How rows are marked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marking {
    /// What leaves nothing to decide is to be written.
    Choose,
    /// What was to be written waits again.
    Unchoose,
    /// What was written is to be taken back.
    Undo,
}

/// Marks rows behind one, so many at most; the last of them, where there was one.
pub async fn mark_some(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    marking: Marking,
    after: i32,
    limit: i64,
) -> sqlx::Result<Option<i32>> {
    let (from, to) = match marking {
        Marking::Choose => ("open", "chosen"),
        Marking::Unchoose => ("chosen", "open"),
        Marking::Undo => ("written", "undoing"),
    };
    sqlx::query_scalar!(
        r#"with next as (
               select row_number from roll_import_row
               where street = $1 and import = $2 and row_number > $3 and state = $5 and (state <> 'open' or outcome in ('new', 'update'))
                 and (state <> 'written' or hash is not null)
               order by row_number limit $4
           ), marked as (
               update roll_import_row r set state = $6 from next
               where r.street = $1 and r.import = $2 and r.row_number = next.row_number and r.state = $5
           )
           select max(row_number) as "last?" from next"#,
        street.as_str(),
        import,
        after,
        limit,
        from,
        to,
    )
    .fetch_one(conn)
    .await
}

/// Whether rows wait whose outcome leaves nothing to decide.
pub async fn any_decided(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from roll_import_row where street = $1 and import = $2 and state = 'open' and outcome in ('new', 'update')) as "any!""#,
        street.as_str(),
        import,
    )
    .fetch_one(conn)
    .await
}

/// Whether the import has the row.
pub async fn row_exists(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    row: i32,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from roll_import_row where street = $1 and import = $2 and row_number = $3) as "is_there!""#,
        street.as_str(),
        import,
        row,
    )
    .fetch_one(conn)
    .await
}

/// Remembers what somebody decided for rows.
pub async fn decide_rows(
    tx: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    decided: &[(i32, Option<RecordId>, Content)],
) -> sqlx::Result<()> {
    sqlx::query!(
        "update roll_import_row r set record = coalesce(d, r.record), content = c
         from unnest($3::int[], $4::uuid[], $5::jsonb[]) decided (n, d, c)
         where r.street = $1 and r.import = $2 and r.row_number = n",
        street.as_str(),
        import,
        &decided.iter().map(|(row, ..)| *row).collect::<Vec<_>>(),
        &decided
            .iter()
            .map(|(_, record, _)| record.map(|record| record.0))
            .collect::<Vec<_>>() as &[Option<Uuid>],
        &decided
            .iter()
            .map(|(.., content)| Json(content))
            .collect::<Vec<_>>() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The next rows beyond `after` that wait in a state, `chosen` or `undoing`.
pub async fn pending(
    tx: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    state: &str,
    after: i32,
    limit: i64,
) -> sqlx::Result<Vec<StoredRow>> {
    sqlx::query_as!(
        StoredRow,
        r#"select row_number as row, identity, record, outcome, state, seen, hash, seq, content as "content: Json<Content>" from roll_import_row
           where street = $1 and import = $2 and state = $3 and state in ('chosen', 'undoing') and row_number > $4 order by row_number limit $5"#,
        street.as_str(),
        import,
        state,
        after,
        limit,
    )
    .fetch_all(tx)
    .await
}

/// Which rows still wait.
#[derive(Debug)]
pub struct Waiting {
    /// Of those that were named.
    pub rows: BTreeSet<i32>,
    /// Whether any row of the import does.
    pub any: bool,
}

/// Which of these rows, in their order, wait in a state, `chosen` or `undoing`, and whether any does.
pub async fn waiting(
    tx: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    state: &str,
    rows: &[i32],
) -> sqlx::Result<Waiting> {
    let found = sqlx::query_scalar!(
        // From the first of them on: rows that are done stand before it.
        "select row_number from roll_import_row where street = $1 and import = $2 and state = $3 and state in ('chosen', 'undoing') and row_number >= $5 and row_number = any($4)",
        street.as_str(),
        import,
        state,
        rows,
        rows.first().copied().unwrap_or(i32::MAX),
    );
    let rows: BTreeSet<i32> = found.fetch_all(&mut *tx).await?.into_iter().collect();
    let any = !rows.is_empty() || !pending(tx, street, import, state, 0, 1).await?.is_empty();
    Ok(Waiting { rows, any })
}

/// What became of a row.
#[derive(Debug)]
pub struct RowEnd {
    pub row: i32,
    pub state: &'static str,
    pub record: Option<RecordId>,
    pub hash: Option<ChangeHash>,
    pub seq: Option<i64>,
    pub content: Content,
}

/// Notes what became of rows.
pub async fn end_rows(
    tx: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    ends: &[RowEnd],
) -> sqlx::Result<()> {
    sqlx::query!(
        "update roll_import_row r set state = s, record = coalesce(d, record), hash = coalesce(h, hash), seq = coalesce(q, seq), content = c
         from unnest($3::int[], $4::text[], $5::uuid[], $6::bytea[], $7::bigint[], $8::jsonb[]) ended (n, s, d, h, q, c)
         where r.street = $1 and r.import = $2 and r.row_number = n",
        street.as_str(),
        import,
        &ends.iter().map(|end| end.row).collect::<Vec<_>>(),
        &ends.iter().map(|end| end.state.to_owned()).collect::<Vec<_>>(),
        &ends.iter().map(|end| end.record.map(|record| record.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &ends.iter().map(|end| end.hash.map(|hash| hash.0.to_vec())).collect::<Vec<_>>() as &[Option<Vec<u8>>],
        &ends.iter().map(|end| end.seq).collect::<Vec<_>>() as &[Option<i64>],
        &ends.iter().map(|end| Json(&end.content)).collect::<Vec<_>>() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Sets where an import stands.
pub async fn set_status(
    tx: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    status: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update roll_import set status = $3 where street = $1 and import = $2",
        street.as_str(),
        import,
        status,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Notes how many cards an import made that are still its own. Looks at every row.
pub async fn count_created(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update roll_import i set created = (select count(*) from roll_import_row r where r.street = i.street and r.import = i.import and r.outcome = 'new' and r.state = 'written')
         where street = $1 and import = $2",
        street.as_str(),
        import,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets how an import's columns are taken.
pub async fn set_plan(
    tx: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    plan: &Plan,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update roll_import set plan = $3 where street = $1 and import = $2",
        street.as_str(),
        import,
        serde_json::json!(plan),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Rows forgotten by one statement.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// Forgets the rows of a proposal that were not written.
pub async fn drop_open(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
) -> sqlx::Result<()> {
    while drop_some(conn, street, import, FORGOTTEN_AT_ONCE).await? > 0 {}
    Ok(())
}

async fn drop_some(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
    limit: i64,
) -> sqlx::Result<u64> {
    Ok(sqlx::query!(
        "delete from roll_import_row r using
             (select row_number from roll_import_row where street = $1 and import = $2 and state not in ('written', 'undoing', 'undone', 'kept') limit $3) next
         where r.street = $1 and r.import = $2 and r.row_number = next.row_number and r.state not in ('written', 'undoing', 'undone', 'kept')",
        street.as_str(),
        import,
        limit,
    )
    .execute(conn)
    .await?
    .rows_affected())
}

/// Which row of which file wrote a change.
#[derive(Debug)]
pub struct WrittenBy {
    pub hash: Vec<u8>,
    pub seq: i64,
    /// The change of its note, where that is another one.
    pub note_change: Option<String>,
    pub import: Uuid,
    pub file_name: String,
    pub sheet: Option<String>,
    pub row: i32,
}

/// Which of a record's changes were written by rows of imports.
pub async fn written_by(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
) -> sqlx::Result<Vec<WrittenBy>> {
    sqlx::query_as!(
        WrittenBy,
        r#"select r.hash as "hash!", r.seq as "seq!", r.content->'before'->>'note_change' as note_change, r.import, i.file_name, i.plan->>'sheet' as sheet, r.row_number as row
           from roll_import_row r join roll_import i on i.street = r.street and i.import = r.import
           where r.street = $1 and r.record = $2 and r.hash is not null and r.seq is not null"#,
        street.as_str(),
        record.0,
    )
    .fetch_all(conn)
    .await
}

/// Forgets exports of before a head whose log is gone, and of before a day, so many at most.
pub async fn forget_exports(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<u64> {
    Ok(sqlx::query!(
        "delete from roll_export where (street, export) in (select street, export from roll_export where exported_at < $1 limit $2)",
        before,
        limit,
    )
    .execute(conn)
    .await?
    .rows_affected())
}

/// Whether anything of an import was written.
pub async fn any_written(
    conn: &mut PgConnection,
    street: &StreetCode,
    import: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from roll_import_row where street = $1 and import = $2 and hash is not null) as "any!""#,
        street.as_str(),
        import,
    )
    .fetch_one(conn)
    .await
}

/// Forgets the rows of proposals that were cut off before they were shown, so many proposals at most.
pub async fn sweep_unfinished(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<u64> {
    Ok(sqlx::query!(
        "delete from roll_import_row r using (
             select street, import from roll_import i where status = 'dropped' and imported_at < $1
               and exists (select from roll_import_row o where o.street = i.street and o.import = i.import and o.state not in ('written', 'undone', 'kept'))
             limit $2
         ) cut
         where r.street = cut.street and r.import = cut.import and r.state not in ('written', 'undone', 'kept')",
        before,
        limit,
    )
    .execute(conn)
    .await?
    .rows_affected())
}

/// Proposals that nobody decided since a day.
pub async fn stale(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<(StreetCode, Uuid)>> {
    let rows = sqlx::query!(
        "select street, import from roll_import where status = 'proposed' and imported_at < $1 limit $2",
        before,
        limit,
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .filter_map(|row| Some((row.street.parse().ok()?, row.import)))
        .collect())
}
