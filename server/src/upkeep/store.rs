//! SQL of the background: records that may have grown large, and the leases of passes.

use lianka_sync_core::{
    id::{RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A page of the records with a state or a document of at least so many bytes, by street and id. Their lengths are known without reading them.
pub async fn large(
    conn: &mut PgConnection,
    state_bytes: i32,
    document_bytes: i32,
    after: Option<(&StreetCode, RecordId)>,
    limit: i64,
) -> sqlx::Result<Vec<(StreetCode, RecordId)>> {
    let (street, record): (&str, Uuid) = after.map_or(("", Uuid::nil()), |(street, record)| {
        (street.as_str(), record.0)
    });
    let rows = sqlx::query!(
        "select street, record from record
         where (octet_length(state) >= $1 or octet_length(snapshot) >= $2) and (street, record) > ($3, $4) and disputed_at is null
         order by street, record limit $5",
        state_bytes,
        document_bytes,
        street,
        record,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((crate::store::decoded(&row.street)?, RecordId(row.record))))
        .collect()
}

/// Takes the lease of a pass, where nobody else holds it and the pass did not succeed since `due`. A lease or a success from beyond
/// `far` was written by a clock that was wrong: it counts for nothing.
pub async fn claim_lease(
    conn: &mut PgConnection,
    pass: &str,
    holder: Uuid,
    now: ServerTime,
    until: ServerTime,
    due: ServerTime,
    far: ServerTime,
) -> sqlx::Result<bool> {
    let claimed = sqlx::query!(
        "insert into pass_lease (pass, holder, held_until) values ($1, $2, $4)
         on conflict (pass) do update set holder = $2, held_until = $4
         where (pass_lease.holder = $2 or pass_lease.held_until <= $3 or pass_lease.held_until > $6)
           and (pass_lease.succeeded_at is null or pass_lease.succeeded_at <= $5 or pass_lease.succeeded_at > $6)",
        pass,
        holder,
        OffsetDateTime::from(now),
        OffsetDateTime::from(until),
        OffsetDateTime::from(due),
        OffsetDateTime::from(far),
    )
    .execute(conn)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// Holds it for longer, where it is still this server's.
pub async fn renew_lease(
    conn: &mut PgConnection,
    pass: &str,
    holder: Uuid,
    until: ServerTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update pass_lease set held_until = $3 where pass = $1 and holder = $2",
        pass,
        holder,
        OffsetDateTime::from(until),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives it back; with when the pass succeeded, if it did.
pub async fn release_lease(
    conn: &mut PgConnection,
    pass: &str,
    holder: Uuid,
    now: ServerTime,
    succeeded: Option<ServerTime>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update pass_lease set held_until = $3, succeeded_at = coalesce($4, succeeded_at) where pass = $1 and holder = $2",
        pass,
        holder,
        OffsetDateTime::from(now),
        succeeded.map(OffsetDateTime::from),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the pass last succeeded, on whichever server.
pub async fn pass_succeeded(
    conn: &mut PgConnection,
    pass: &str,
) -> sqlx::Result<Option<ServerTime>> {
    let at = sqlx::query_scalar!("select succeeded_at from pass_lease where pass = $1", pass)
        .fetch_optional(conn)
        .await?;
    Ok(at.flatten().map(Into::into))
}
