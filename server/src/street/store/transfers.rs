//! Transfers: what rulings need to know beside the record, the queue, and the fields that only the office keeps.

pub use lianka_office_core::store::{OpenRequest, PersonalFields};
use lianka_sync_core::{
    id::{RecordId, StreetCode},
    kinds::transfer::member::Member,
    time::ServerTime,
};
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;

/// Every open request of the street, the first submitted first. What was sealed counts: it is the same member still.
pub async fn open_requests(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<Vec<OpenRequest>> {
    let rows = sqlx::query!(
        r#"select t.record, t.submitted_at as "submitted_at!", t.phone, t.member_alias,
                  coalesce(t.member_name, name.value) as member_name, coalesce(t.origin_organisation, origin.value) as origin
           from transfer t
           left join lateral (
               select p.fields->'member_name'->>-1 as value from transfer_personal p
               where p.street = t.street and p.record = t.record and p.fields->'member_name' is not null order by p.revision desc limit 1
           ) name on true
           left join lateral (
               select p.fields->'origin_organisation'->>-1 as value from transfer_personal p
               where p.street = t.street and p.record = t.record and p.fields->'origin_organisation' is not null
               order by p.revision desc limit 1
           ) origin on true
           where t.street = $1 and t.open and t.submitted_at is not null
           order by t.submitted_at, t.record"#,
        street.as_str(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| OpenRequest {
            record: RecordId(row.record),
            submitted_at: row.submitted_at.into(),
            member: Member {
                name: row.member_name,
                phone: row.phone,
                origin: row.origin,
                alias: row.member_alias,
            },
        })
        .collect())
}

/// Pairs of requests that an officer found to be of different people.
pub async fn different_people(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<Vec<(RecordId, RecordId)>> {
    let rows = sqlx::query!(
        r#"select record, fields->>'other' as "other!" from transfer_event
           where street = $1 and type = 'not_same_person' and outcome = 'applied' and fields->>'other' is not null"#,
        street.as_str(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((RecordId(row.record), row.other.parse().ok()?)))
        .collect())
}

/// Every open request with a live letter, and its number as it is kept: a street has few, and numbers are compared otherwise than they are kept.
pub async fn live_letters(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<Vec<(RecordId, String)>> {
    let rows = sqlx::query!(
        r#"select record, letter_no as "letter_no!" from transfer where street = $1 and open and letter_no is not null"#,
        street.as_str(),
    );
    Ok(rows
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| (RecordId(row.record), row.letter_no))
        .collect())
}

/// Keeps the fields of a revision for the office, behind what it holds of them already.
pub async fn seal(
    tx: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    revision: u32,
    fields: &PersonalFields,
    at: ServerTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into transfer_personal (street, record, revision, fields, sealed_at) values ($1, $2, $3, $4, $5)
         on conflict (street, record, revision) do update set sealed_at = excluded.sealed_at,
             fields = transfer_personal.fields || (
                 select coalesce(jsonb_object_agg(key,
                     (coalesce(transfer_personal.fields->key, '[]') - array(select jsonb_array_elements_text(value))) || value), '{}')
                 from jsonb_each(excluded.fields))",
        street.as_str(),
        record.0,
        revision as i32,
        Json(fields) as _,
        OffsetDateTime::from(at),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets what stands beside the record of fields that were sealed: values not chosen in a conflict, and notices of them.
pub async fn forget_beside(
    tx: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    fields: &[String],
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from resolution where street = $1 and record = $2 and field = any($3)",
        street.as_str(),
        record.0,
        fields
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from notice where street = $1 and record = $2 and field = any($3)",
        street.as_str(),
        record.0,
        fields
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What only the office keeps of a request, by revision, the oldest first.
pub async fn personal(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
) -> sqlx::Result<Vec<(u32, PersonalFields)>> {
    let rows = sqlx::query!(
        r#"select revision, fields as "fields: Json<PersonalFields>" from transfer_personal where street = $1 and record = $2 order by revision"#,
        street.as_str(),
        record.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.revision as u32, row.fields.0))
        .collect())
}

/// Which requests to list.
#[derive(Debug, Default)]
pub struct QueueFilter {
    /// This state; `None`: every open one.
    pub state: Option<String>,
    /// Every state but drafts.
    pub all: bool,
    pub due_upto: Option<ServerTime>,
    pub overdue_at: Option<ServerTime>,
    pub not_overdue_at: Option<ServerTime>,
    pub grid: Option<String>,
}

/// A request of the queue.
#[derive(Debug)]
pub struct QueueRow {
    pub record: RecordId,
    pub grid: String,
    pub seq: i64,
    pub state: Vec<u8>,
}

/// A page of the queue and how long it is. `sort`: `due`, `age` or `changed`.
pub async fn queue(
    conn: &mut PgConnection,
    street: &StreetCode,
    filter: &QueueFilter,
    sort: &str,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<QueueRow>, i64)> {
    let rows = sqlx::query!(
        r#"select t.record, t.grid, t.seq, r.state, count(*) over () as "total!"
           from transfer t join record r on r.street = t.street and r.record = t.record
           where t.street = $1
             and (t.state = $2 or ($2::text is null and (t.open or ($3 and t.state <> 'draft'))))
             and ($4::timestamptz is null or t.due_at <= $4) and ($5::timestamptz is null or t.due_at <= $5)
             and ($6::timestamptz is null or t.due_at is null or t.due_at > $6) and ($7::text is null or t.grid = $7)
           order by
               case when $8 = 'due' then t.due_at end nulls last, case when $8 = 'changed' then t.seq end desc nulls last,
               t.state_since nulls last, t.record
           limit $9 offset $10"#,
        street.as_str(),
        filter.state,
        filter.all,
        filter.due_upto.map(OffsetDateTime::from),
        filter.overdue_at.map(OffsetDateTime::from),
        filter.not_overdue_at.map(OffsetDateTime::from),
        filter.grid,
        sort,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = match rows.first() {
        Some(row) => row.total,
        // Beyond the last page there is no row to read it from.
        None if offset > 0 => Box::pin(queue(conn, street, filter, sort, 1, 0)).await?.1,
        None => 0,
    };
    let rows = rows.into_iter().map(|row| QueueRow {
        record: RecordId(row.record),
        grid: row.grid,
        seq: row.seq,
        state: row.state,
    });
    Ok((rows.collect(), total))
}

/// A request for which the server's clock has something to do.
#[derive(Debug)]
pub struct Due {
    pub street: StreetCode,
    pub record: RecordId,
    pub at: ServerTime,
}

/// Requests for which the server's clock has something to do, the longest due first, from beyond `after`.
pub async fn clock_due(
    conn: &mut PgConnection,
    now: ServerTime,
    after: Option<(ServerTime, RecordId)>,
    limit: i64,
) -> sqlx::Result<Vec<Due>> {
    let (after_at, after_record) = after
        .map(|(at, record)| (OffsetDateTime::from(at), record.0))
        .unzip();
    let rows = sqlx::query!(
        r#"select street, record, clock_at as "clock_at!" from transfer
           where clock_at <= $1 and ($2::timestamptz is null or (clock_at, record) > ($2, $3::uuid))
           order by clock_at, record limit $4"#,
        OffsetDateTime::from(now),
        after_at,
        after_record,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let due = |street: &str, record, at: OffsetDateTime| {
        Ok(Due {
            street: crate::store::decoded(street)?,
            record: RecordId(record),
            at: at.into(),
        })
    };
    rows.into_iter()
        .map(|row| due(&row.street, row.record, row.clock_at))
        .collect()
}
