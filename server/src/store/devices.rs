//! Devices: one enrolment of one user, revoked or not.

use lianka_sync_core::{
    authority::Role,
    id::{DeviceId, StreetCode},
    time::ServerTime,
};
use sqlx::PgConnection;

/// What AUTH asks about the device and account that a token names.
#[derive(Debug)]
pub struct Standing {
    pub role: Role,
    pub home_street: Option<StreetCode>,
    pub disabled: bool,
    pub revoked: bool,
    pub wipe: bool,
}

/// How things stand now with `device` of `username`; `None` when there is no such pair.
pub async fn standing(conn: &mut PgConnection, device: DeviceId, username: &str) -> sqlx::Result<Option<Standing>> {
    let row = sqlx::query!(
        r#"select a.role, a.street, a.disabled_at is not null as "disabled!", d.revoked_at is not null as "revoked!", d.wipe
           from device d join account a on a.username = d.username where d.device = $1 and d.username = $2"#,
        device.0,
        username,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Standing {
            role: super::decoded(&row.role)?,
            home_street: row.street.as_deref().map(super::decoded).transpose()?,
            disabled: row.disabled,
            revoked: row.revoked,
            wipe: row.wipe,
        })
    })
    .transpose()
}

/// Adds a device.
pub async fn insert(
    conn: &mut PgConnection,
    device: DeviceId,
    username: &str,
    name: &str,
    platform: &str,
    now: ServerTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into device (device, username, name, platform, created_at) values ($1, $2, $3, $4, $5)",
        device.0,
        username,
        name,
        platform,
        time::OffsetDateTime::from(now),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The user of a device whose row is now locked: token rotations of one device happen one after the other.
pub async fn lock(conn: &mut PgConnection, device: DeviceId) -> sqlx::Result<String> {
    sqlx::query_scalar!("select username from device where device = $1 for update", device.0).fetch_one(conn).await
}

/// A device as an admin sees it.
#[derive(Debug)]
pub struct Device {
    pub device: DeviceId,
    pub username: String,
    pub name: String,
    pub platform: String,
    pub created_at: ServerTime,
    pub last_sync_at: Option<ServerTime>,
    pub client_version: Option<String>,
    pub revoked_at: Option<ServerTime>,
    pub wipe: bool,
}

struct DeviceRow {
    device: uuid::Uuid,
    username: String,
    name: String,
    platform: String,
    created_at: time::OffsetDateTime,
    last_sync_at: Option<time::OffsetDateTime>,
    client_version: Option<String>,
    revoked_at: Option<time::OffsetDateTime>,
    wipe: bool,
}

impl From<DeviceRow> for Device {
    fn from(row: DeviceRow) -> Self {
        Self {
            device: DeviceId(row.device),
            username: row.username,
            name: row.name,
            platform: row.platform,
            created_at: row.created_at.into(),
            last_sync_at: row.last_sync_at.map(Into::into),
            client_version: row.client_version,
            revoked_at: row.revoked_at.map(Into::into),
            wipe: row.wipe,
        }
    }
}

/// Revokes a device of a user of `within` (`None`: of anybody). Repeating it keeps the first time; a wipe once ordered stays ordered.
pub async fn revoke(
    conn: &mut PgConnection,
    within: Option<&StreetCode>,
    device: DeviceId,
    wipe: bool,
    now: ServerTime,
) -> sqlx::Result<Option<Device>> {
    let row = sqlx::query_as!(
        DeviceRow,
        "update device d set revoked_at = coalesce(d.revoked_at, $3), wipe = d.wipe or $4
         from account a where a.username = d.username and d.device = $1 and ($2::text is null or a.street = $2)
         returning d.device, d.username, d.name, d.platform, d.created_at, d.last_sync_at, d.client_version, d.revoked_at, d.wipe",
        device.0,
        within.map(StreetCode::as_str),
        time::OffsetDateTime::from(now),
        wipe,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Into::into))
}

/// One page of devices: those in use before the revoked, and among them the longest unheard first; and how many there are.
pub async fn page(conn: &mut PgConnection, within: Option<&StreetCode>, limit: i64, offset: i64) -> sqlx::Result<(Vec<Device>, i64)> {
    let street = within.map(StreetCode::as_str);
    let rows = sqlx::query_as!(
        DeviceRow,
        "select d.device, d.username, d.name, d.platform, d.created_at, d.last_sync_at, d.client_version, d.revoked_at, d.wipe
         from device d join account a on a.username = d.username
         where $1::text is null or a.street = $1
         order by d.revoked_at is not null, d.last_sync_at nulls first, d.device limit $2 offset $3",
        street,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from device d join account a on a.username = d.username where $1::text is null or a.street = $1"#,
        street,
    )
    .fetch_one(conn)
    .await?;
    Ok((rows.into_iter().map(Into::into).collect(), total))
}

/// Notes that a device has synced, with the version that its `hello` named.
pub async fn note_sync(conn: &mut PgConnection, device: DeviceId, client_version: &str, now: ServerTime) -> sqlx::Result<()> {
    sqlx::query!(
        "update device set last_sync_at = $2, client_version = $3 where device = $1",
        device.0,
        time::OffsetDateTime::from(now),
        client_version,
    )
    .execute(conn)
    .await?;
    Ok(())
}
