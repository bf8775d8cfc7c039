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
    let locked = sqlx::query_as!(
        Head,
        "select no, hash from audit_head where street = $1 for update",
        chain
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(head) = locked {
        return Ok(head);
    }
    sqlx::query!("insert into audit_head (street, no, hash) values ($1, 0, $2) on conflict (street) do nothing", chain, genesis)
        .execute(&mut *tx)
        .await?;
    sqlx::query_as!(
        Head,
        "select no, hash from audit_head where street = $1 for update",
        chain
    )
    .fetch_one(tx)
    .await
}

/// Appends `events`, which follow the locked head, and moves the head behind them.
pub async fn append(tx: &mut PgConnection, chain: &str, events: Vec<EventRow>) -> sqlx::Result<()> {
    let Some(last) = events.last().map(|event| (event.no, event.hash.clone())) else {
        return Ok(());
    };
    let n = events.len();
    let (mut nos, mut times, mut usernames, mut devices) = (
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
    );
    let (mut actions, mut records, mut details) = (
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
    );
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
    sqlx::query_as!(
        Head,
        "select no, hash from audit_head where street = $1",
        chain
    )
    .fetch_optional(conn)
    .await
}

/// At most `limit` events beyond `after`, in their order.
pub async fn events_after(
    conn: &mut PgConnection,
    chain: &str,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<EventRow>> {
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
    let (from, to) = (
        filter.from.map(OffsetDateTime::from),
        filter.to.map(OffsetDateTime::from),
    );
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

/// Entries of a street's log that stand at these sequences: sequence, record, hash, bytes.
pub async fn log_at(
    conn: &mut PgConnection,
    street: &str,
    seqs: &[i64],
) -> sqlx::Result<Vec<LogEntry>> {
    sqlx::query_as!(
        LogEntry,
        r#"select seq, record, hash as "hash!", bytes as "bytes!" from change_log
           where street = $1 and seq = any($2) and type = 'change' and hash is not null and bytes is not null"#,
        street,
        seqs,
    )
    .fetch_all(conn)
    .await
}

/// Sequences and records of the changes between two sequences, both exclusive of the first and inclusive of the last; at most `limit`.
pub async fn changes_between(
    conn: &mut PgConnection,
    street: &str,
    after: i64,
    upto: i64,
    limit: i64,
) -> sqlx::Result<Vec<(i64, Uuid)>> {
    let rows = sqlx::query!(
        "select seq, record from change_log where street = $1 and seq > $2 and seq <= $3 and type = 'change' order by seq limit $4",
        street,
        after,
        upto,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.seq, row.record)).collect())
}

/// A change of the log, as an event names it.
#[derive(Debug)]
pub struct LogEntry {
    pub seq: i64,
    pub record: Uuid,
    pub hash: Vec<u8>,
    pub bytes: Vec<u8>,
}

/// The events that tell of rewritten logs: number and detail.
pub async fn rebuilding(conn: &mut PgConnection, chain: &str) -> sqlx::Result<Vec<(i64, String)>> {
    let rows = sqlx::query!(r#"select no, detail from audit_event where street = $1 and strpos(detail, '"rebuilt"') > 0"#, chain)
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.no, row.detail)).collect())
}

/// A signed checkpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealRow {
    pub no: i64,
    pub hash: Vec<u8>,
    pub at: OffsetDateTime,
    pub kid: String,
    pub public_key: Vec<u8>,
    pub signature: Vec<u8>,
}

/// Adds a seal.
pub async fn insert_seal(tx: &mut PgConnection, chain: &str, seal: &SealRow) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into audit_seal (street, no, hash, at, kid, public_key, signature) values ($1, $2, $3, $4, $5, $6, $7)",
        chain,
        seal.no,
        seal.hash,
        seal.at,
        seal.kid,
        seal.public_key,
        seal.signature,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Every seal of a chain, in order.
pub async fn seals(conn: &mut PgConnection, chain: &str) -> sqlx::Result<Vec<SealRow>> {
    sqlx::query_as!(SealRow, "select no, hash, at, kid, public_key, signature from audit_seal where street = $1 order by no", chain)
        .fetch_all(conn)
        .await
}

/// The chains whose head lies beyond their newest seal, where that is older than `before`, later than `beyond`, or absent; at most `limit`.
pub async fn unsealed(
    conn: &mut PgConnection,
    before: ServerTime,
    beyond: ServerTime,
    limit: i64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select h.street from audit_head h
         left join lateral (select no, at from audit_seal s where s.street = h.street order by no desc limit 1) s on true
         where h.no > coalesce(s.no, 0) and (s.at is null or s.at < $1 or s.at > $3)
             -- What pruning tells of itself is no reason to seal, or a quiet chain would never come to rest.
             and exists (select from audit_event e where e.street = h.street and e.no > coalesce(s.no, 0) and e.action <> 'prune')
         order by h.street limit $2",
        OffsetDateTime::from(before),
        limit,
        OffsetDateTime::from(beyond),
    )
    .fetch_all(conn)
    .await
}

/// The chains that have events before a seal made before `before`, and the first such seal of each; at most `limit`.
pub async fn prunable(
    conn: &mut PgConnection,
    before: ServerTime,
    limit: i64,
) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"select h.street, s.no as "no!" from audit_head h
           join lateral (select min(e.no) as first from audit_event e where e.street = h.street) e on true
           join lateral (select s.no from audit_seal s where s.street = h.street and s.at < $1 and s.no > e.first order by s.no limit 1) s on true
           order by h.street limit $2"#,
        OffsetDateTime::from(before),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.street, row.no)).collect())
}

/// Deletes the events before a seal and the seals before it; how many events there were.
pub async fn prune(tx: &mut PgConnection, chain: &str, upto: i64) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from audit_event where street = $1 and no < $2",
        chain,
        upto
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from audit_seal where street = $1 and no < $2",
        chain,
        upto
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// Every chain that has a head or an event.
pub async fn chains(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select street as "street!" from (select street from audit_head union select street from audit_event
           union select street from street where head_seq > 0) c order by street"#
    )
    .fetch_all(conn)
    .await
}
