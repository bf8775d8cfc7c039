//! The audit trail: events in chains, the heads that writers lock, and signed seals. What the hashes are made of is [`crate::audit`]'s.

use lianka_sync_core::time::ServerTime;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub no: i64,
    pub hash: Vec<u8>,
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    pub no: i64,
    pub at: OffsetDateTime,
    pub username: Option<String>,
    pub device: Option<Uuid>,
    pub action: String,
    pub record: Option<Uuid>,
    pub detail: String,
    pub previous: Vec<u8>,
    pub hash: Vec<u8>,
}

/// The head of a chain, locked until the transaction ends; a chain that has no event yet gets its head here.
pub async fn lock_head(tx: &mut PgConnection, chain: &str, genesis: &[u8]) -> sqlx::Result<Head> {
    // The common case in one statement; `on conflict do nothing` would write a row version for nothing.
    let locked =
        sqlx::query_as!(Head, "select no, hash from audit_head where street = $1 for update", chain).fetch_optional(&mut *tx).await?;
    if let Some(head) = locked {
        return Ok(head);
    }
    sqlx::query!("insert into audit_head (street, no, hash) values ($1, 0, $2) on conflict (street) do nothing", chain, genesis)
        .execute(&mut *tx)
        .await?;
    sqlx::query_as!(Head, "select no, hash from audit_head where street = $1 for update", chain).fetch_one(tx).await
}

/// Appends `events`, which follow the locked head, and moves the head behind them.
pub async fn append(tx: &mut PgConnection, chain: &str, events: Vec<EventRow>) -> sqlx::Result<()> {
    let Some(last) = events.last().map(|event| (event.no, event.hash.clone())) else { return Ok(()) };
    let n = events.len();
    let (mut nos, mut times, mut usernames, mut devices) =
        (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
    let (mut actions, mut records, mut details) = (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
    let (mut previous, mut hashes) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for event in events {
        nos.push(event.no);
        times.push(event.at);
        usernames.push(event.username);
        devices.push(event.device);
        actions.push(event.action);
        records.push(event.record);
        details.push(event.detail);
        previous.push(event.previous);
        hashes.push(event.hash);
    }
    sqlx::query!(
        "with written as (
             insert into audit_event (street, no, at, username, device, action, record, detail, previous, hash)
             select $1, * from unnest($2::bigint[], $3::timestamptz[], $4::text[], $5::uuid[], $6::text[], $7::uuid[], $8::text[],
                                      $9::bytea[], $10::bytea[])
         )
         update audit_head set no = $11, hash = $12 where street = $1",
        chain,
        &nos,
        &times,
        &usernames as &[Option<String>],
        &devices as &[Option<Uuid>],
        &actions,
        &records as &[Option<Uuid>],
        &details,
        &previous,
        &hashes,
        last.0,
        last.1,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The head as it is now, unlocked.
pub async fn head(conn: &mut PgConnection, chain: &str) -> sqlx::Result<Option<Head>> {
    sqlx::query_as!(Head, "select no, hash from audit_head where street = $1", chain).fetch_optional(conn).await
}

/// At most `limit` events beyond `after`, in their order.
pub async fn events_after(conn: &mut PgConnection, chain: &str, after: i64, limit: i64) -> sqlx::Result<Vec<EventRow>> {
    sqlx::query_as!(
        EventRow,
        "select no, at, username, device, action, record, detail, previous, hash from audit_event
         where street = $1 and no > $2 order by no limit $3",
        chain,
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Which events an auditor asks for; `None` is any.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub action: Option<String>,
    pub username: Option<String>,
    pub record: Option<Uuid>,
    pub from: Option<ServerTime>,
    pub to: Option<ServerTime>,
}

/// One page of the events that pass the filter, the newest first, and how many there are. A record is also looked for in the lists of changes.
pub async fn page(
    conn: &mut PgConnection,
    chain: &str,
    filter: &EventFilter,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<EventRow>, i64)> {
    let (from, to) = (filter.from.map(OffsetDateTime::from), filter.to.map(OffsetDateTime::from));
    let rows = sqlx::query_as!(
        EventRow,
        "select no, at, username, device, action, record, detail, previous, hash from audit_event
         where street = $1 and ($2::text is null or action = $2) and ($3::text is null or username = $3)
             and ($4::uuid is null or record = $4 or strpos(detail, $4::text) > 0)
             and ($5::timestamptz is null or at >= $5) and ($6::timestamptz is null or at < $6)
         order by no desc limit $7 offset $8",
        chain,
        filter.action,
        filter.username,
        filter.record,
        from,
        to,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from audit_event
         where street = $1 and ($2::text is null or action = $2) and ($3::text is null or username = $3)
             and ($4::uuid is null or record = $4 or strpos(detail, $4::text) > 0)
             and ($5::timestamptz is null or at >= $5) and ($6::timestamptz is null or at < $6)"#,
        chain,
        filter.action,
        filter.username,
        filter.record,
        from,
        to,
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}
