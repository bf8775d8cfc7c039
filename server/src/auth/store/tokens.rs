//! Enrolment codes, refresh tokens and signing keys. Codes and refresh tokens are here only as SHA-256.

use lianka_sync_core::{id::DeviceId, time::ServerTime};
use sqlx::PgConnection;
use time::OffsetDateTime;

/// Keeps the hash of a new enrolment code, and clears away what nobody can use any more.
pub async fn insert_enrolment(
    conn: &mut PgConnection,
    code_hash: &[u8],
    username: &str,
    expires_at: ServerTime,
    now: ServerTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from enrolment where expires_at < $1",
        OffsetDateTime::from(now)
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into enrolment (code_hash, username, expires_at) values ($1, $2, $3)",
        code_hash,
        username,
        OffsetDateTime::from(expires_at),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Spends a code and says whose it was; `None` for a code that is unknown, spent or expired, or whose account is disabled.
pub async fn spend_enrolment(
    conn: &mut PgConnection,
    code_hash: &[u8],
    now: ServerTime,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "update enrolment e set spent_at = $2 from account a
         where a.username = e.username and a.disabled_at is null and e.code_hash = $1 and e.spent_at is null and e.expires_at > $2
         returning e.username",
        code_hash,
        OffsetDateTime::from(now),
    )
    .fetch_optional(conn)
    .await
}

/// A refresh token as it is remembered.
#[derive(Debug)]
pub struct RefreshToken {
    pub device: DeviceId,
    pub issued_at: ServerTime,
    pub expires_at: ServerTime,
    pub spent_at: Option<ServerTime>,
}

/// The token with this hash. The device's row must be locked before its answer is acted on.
pub async fn refresh_token(
    conn: &mut PgConnection,
    token_hash: &[u8],
) -> sqlx::Result<Option<RefreshToken>> {
    let row = sqlx::query!(
        "select device, issued_at, expires_at, spent_at from refresh_token where token_hash = $1",
        token_hash
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| RefreshToken {
        device: DeviceId(row.device),
        issued_at: row.issued_at.into(),
        expires_at: row.expires_at.into(),
        spent_at: row.spent_at.map(Into::into),
    }))
}

/// Whether any token of the device that was issued at or after `since` has been spent.
pub async fn successor_used(
    conn: &mut PgConnection,
    device: DeviceId,
    since: ServerTime,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from refresh_token where device = $1 and issued_at >= $2 and spent_at is not null) as "used!""#,
        device.0,
        OffsetDateTime::from(since),
    )
    .fetch_one(conn)
    .await
}

/// Keeps the hash of a new refresh token.
pub async fn insert_refresh_token(
    conn: &mut PgConnection,
    token_hash: &[u8],
    device: DeviceId,
    issued_at: ServerTime,
    expires_at: ServerTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into refresh_token (token_hash, device, issued_at, expires_at) values ($1, $2, $3, $4)",
        token_hash,
        device.0,
        OffsetDateTime::from(issued_at),
        OffsetDateTime::from(expires_at),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Spends the token of this hash, if one is `exchanged`, with every other of the device that is still unspent, and forgets those spent before
/// `kept_since`. The others were never used and never may be: they count as spent since their issue, so that showing one is always reuse.
pub async fn spend_refresh_tokens(
    conn: &mut PgConnection,
    device: DeviceId,
    exchanged: Option<&[u8]>,
    spent_at: ServerTime,
    kept_since: ServerTime,
) -> sqlx::Result<()> {
    let kept_since = OffsetDateTime::from(kept_since);
    sqlx::query!(
        "delete from refresh_token where device = $1 and spent_at < $2",
        device.0,
        kept_since
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update refresh_token set spent_at = case when token_hash = $3 then $2 else issued_at end where device = $1 and spent_at is null",
        device.0,
        OffsetDateTime::from(spent_at),
        exchanged,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A signing key of the deployment.
pub struct SigningKeyRow {
    pub kid: String,
    /// Ed25519 seed, 32 bytes; or that under the operator's lock.
    pub secret: Vec<u8>,
    pub retires_at: ServerTime,
    pub forgotten_at: ServerTime,
}

/// The keys that still verify, the first to retire first.
pub async fn signing_keys(
    conn: &mut PgConnection,
    now: ServerTime,
) -> sqlx::Result<Vec<SigningKeyRow>> {
    let rows = sqlx::query!(
        "select kid, secret, retires_at, forgotten_at from signing_key where forgotten_at > $1 order by retires_at, kid",
        OffsetDateTime::from(now),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| SigningKeyRow {
            kid: row.kid,
            secret: row.secret,
            retires_at: row.retires_at.into(),
            forgotten_at: row.forgotten_at.into(),
        })
        .collect())
}

/// Lets one server at a time, until the transaction ends, decide whether a key is due.
pub async fn lock_signing_keys(conn: &mut PgConnection) -> sqlx::Result<()> {
    // The number is arbitrary; it only has to be this program's own.
    sqlx::query!(r#"select pg_advisory_xact_lock(7104911203) as "locked!: ()""#)
        .fetch_one(conn)
        .await?;
    Ok(())
}

/// Puts under lock a key that stands there without one. Another server may have been quicker.
pub async fn lock_signing_key(
    conn: &mut PgConnection,
    kid: &str,
    plain: &[u8],
    locked: &[u8],
) -> sqlx::Result<()> {
    sqlx::query!(
        "update signing_key set secret = $3 where kid = $1 and secret = $2",
        kid,
        plain,
        locked
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds a key, and erases the secrets of those that no longer verify anything.
pub async fn insert_signing_key(
    conn: &mut PgConnection,
    key: &SigningKeyRow,
    now: ServerTime,
) -> sqlx::Result<()> {
    let now = OffsetDateTime::from(now);
    sqlx::query!("delete from signing_key where forgotten_at <= $1", now)
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        "insert into signing_key (kid, secret, created_at, retires_at, forgotten_at) values ($1, $2, $3, $4, $5)",
        key.kid,
        key.secret,
        now,
        OffsetDateTime::from(key.retires_at),
        OffsetDateTime::from(key.forgotten_at),
    )
    .execute(conn)
    .await?;
    Ok(())
}
