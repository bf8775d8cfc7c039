//! Devices: one enrolment of one user, revoked or not.

use lianka_sync_core::{
    access::Role,
    id::{DeviceId, StreetCode},
    time::ServerTime,
};
use sqlx::PgConnection;

/// What AUTH asks about the device and account that a token names.
#[derive(Debug)]
pub struct DeviceStatus {
    pub role: Role,
    pub home_street: Option<StreetCode>,
    pub disabled: bool,
    pub revoked: bool,
    pub wipe: bool,
}

/// How it is now with `device` of `username`; `None` when there is no such pair.
pub async fn status(
    conn: &mut PgConnection,
    device: DeviceId,
    username: &str,
) -> sqlx::Result<Option<DeviceStatus>> {
    let row = sqlx::query!(
        r#"select a.role, a.street, a.disabled_at is not null as "disabled!", d.revoked_at is not null as "revoked!",
                  -- One that says it has cleared itself has no business here any more.
                  d.wipe and d.wiped_reported_at is null as "wipe!"
           from device d join account a on a.username = d.username where d.device = $1 and d.username = $2"#,
        device.0,
        username,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(DeviceStatus {
            role: crate::store::decoded(&row.role)?,
            home_street: row
                .street
                .as_deref()
                .map(crate::store::decoded)
                .transpose()?,
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

/// The user and platform of a device whose row is now locked: token rotations of one device happen one after the other.
pub async fn lock(conn: &mut PgConnection, device: DeviceId) -> sqlx::Result<(String, String)> {
    let row = sqlx::query!(
        "select username, platform from device where device = $1 for update",
        device.0
    )
    .fetch_one(conn)
    .await?;
    Ok((row.username, row.platform))
}

/// A device as an admin sees it.
#[derive(Debug)]
pub struct Device {
    pub device: DeviceId,
    pub username: String,
    /// Street of its account.
    pub home: Option<StreetCode>,
    pub name: String,
    pub platform: String,
    pub created_at: ServerTime,
    pub last_sync_at: Option<ServerTime>,
    pub client_version: Option<String>,
    pub revoked_at: Option<ServerTime>,
    pub wipe: bool,
    pub wiped_reported_at: Option<ServerTime>,
    /// Changes on the phone, as it last told.
    pub unsent: Option<i32>,
    pub held: Option<i32>,
    /// Its clock minus ours.
    pub clock_skew_ms: Option<i64>,
    /// Times that two copies of it wrote under one name.
    pub forks: i32,
    /// What is wrong with it: words of [`TROUBLES`].
    pub troubles: Vec<String>,
}

/// What may be wrong with a device, the most pressing first. The words are stable.
pub const TROUBLES: &[(&str, &str, &str)] = &[
    (
        "wipe_pending",
        "已下令清除，设备尚未报告",
        "told to wipe, and has not reported it",
    ),
    (
        "clone_suspected",
        "疑似被复制：两份数据以同一身份写入",
        "perhaps cloned: two copies wrote under one name",
    ),
    (
        "never_synced",
        "登记后从未同步",
        "has not synchronised since it was enrolled",
    ),
    (
        "stale",
        "超过离线期限未同步",
        "has not synchronised for longer than its lease",
    ),
    (
        "many_unsent",
        "大量修改未上传",
        "many changes are still on the phone",
    ),
    ("clock_skew", "手机时钟不准", "its clock is wrong"),
];

struct DeviceRow {
    device: uuid::Uuid,
    username: String,
    home: Option<String>,
    name: String,
    platform: String,
    created_at: time::OffsetDateTime,
    last_sync_at: Option<time::OffsetDateTime>,
    client_version: Option<String>,
    revoked_at: Option<time::OffsetDateTime>,
    wipe: bool,
    wiped_reported_at: Option<time::OffsetDateTime>,
    unsent: Option<i32>,
    held: Option<i32>,
    clock_skew_ms: Option<i64>,
    forks: i32,
    troubles: Vec<String>,
}

impl TryFrom<DeviceRow> for Device {
    type Error = sqlx::Error;

    fn try_from(row: DeviceRow) -> sqlx::Result<Self> {
        Ok(Self {
            device: DeviceId(row.device),
            username: row.username,
            home: row.home.as_deref().map(crate::store::decoded).transpose()?,
            name: row.name,
            platform: row.platform,
            created_at: row.created_at.into(),
            last_sync_at: row.last_sync_at.map(Into::into),
            client_version: row.client_version,
            revoked_at: row.revoked_at.map(Into::into),
            wipe: row.wipe,
            wiped_reported_at: row.wiped_reported_at.map(Into::into),
            unsent: row.unsent,
            held: row.held,
            clock_skew_ms: row.clock_skew_ms,
            forks: row.forks,
            troubles: row.troubles,
        })
    }
}

/// Revokes a device of a user of `within` (`None`: of anybody). Repeating it keeps the first time; a wipe once ordered stays ordered.
/// Answers whether anything changed.
pub async fn revoke(
    conn: &mut PgConnection,
    within: Option<&StreetCode>,
    device: DeviceId,
    wipe: bool,
    now: ServerTime,
) -> sqlx::Result<Option<Revoked>> {
    let row = sqlx::query!(
        r#"update device d set revoked_at = coalesce(d.revoked_at, $3), wipe = d.wipe or $4
         from account a, (select device, revoked_at, wipe from device where device = $1 for update) before
         where a.username = d.username and d.device = $1 and before.device = d.device and ($2::text is null or a.street = $2)
         returning a.street as home, before.revoked_at is null as "revoked!", d.wipe and not before.wipe as "wipe!""#,
        device.0,
        within.map(StreetCode::as_str),
        time::OffsetDateTime::from(now),
        wipe,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Revoked {
            home: row.home.as_deref().map(crate::store::decoded).transpose()?,
            revoked: row.revoked,
            wipe: row.wipe,
        })
    })
    .transpose()
}

/// What a revocation changed.
#[derive(Debug)]
pub struct Revoked {
    /// Street of the device's account.
    pub home: Option<StreetCode>,
    /// It was not revoked before.
    pub revoked: bool,
    /// It was not told to wipe before.
    pub wipe: bool,
}

/// Ends the desks of a user, but for one.
pub async fn revoke_desks(
    conn: &mut PgConnection,
    username: &str,
    except: Option<DeviceId>,
    now: ServerTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update device set revoked_at = $3 where username = $1 and platform = 'desk' and revoked_at is null and device is distinct from $2",
        username,
        except.map(|device| device.0),
        time::OffsetDateTime::from(now),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// From when on a device counts as failing.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// Neither heard of nor enrolled since.
    pub stale_before: ServerTime,
    pub unsent_min: i32,
    pub clock_skew_ms_min: i64,
}

/// Which devices to look at.
#[derive(Clone, Copy, Debug)]
pub struct DevicePage<'p> {
    /// Of accounts of this street; `None`: of the deployment.
    pub within: Option<&'p StreetCode>,
    /// Only this one.
    pub device: Option<DeviceId>,
    pub thresholds: Thresholds,
    pub limit: i64,
    pub offset: i64,
}

/// One page of devices: failing ones first, then those in use, then the revoked; among equals the longest unheard first. And how many there are.
pub async fn page(
    conn: &mut PgConnection,
    page: DevicePage<'_>,
) -> sqlx::Result<(Vec<Device>, i64)> {
    let street = page.within.map(StreetCode::as_str);
    let rows = sqlx::query_as!(
        DeviceRow,
        r#"select d.device, d.username, a.street as home, d.name, d.platform, d.created_at, d.last_sync_at, d.client_version, d.revoked_at, d.wipe,
                  d.wiped_reported_at, d.unsent, d.held, d.clock_skew_ms, d.forks, t.troubles as "troubles!"
         from device d join account a on a.username = d.username
         cross join lateral (select array_remove(array[
             case when d.wipe and d.wiped_reported_at is null then 'wipe_pending' end,
             case when d.revoked_at is null and d.forks > 0 then 'clone_suspected' end,
             case when d.revoked_at is null and d.platform <> 'desk' and d.last_sync_at is null and d.created_at < $4 then 'never_synced' end,
             case when d.revoked_at is null and d.platform <> 'desk' and d.last_sync_at < $4 then 'stale' end,
             case when d.revoked_at is null and d.unsent >= $5 then 'many_unsent' end,
             case when d.revoked_at is null and abs(d.clock_skew_ms) >= $6 then 'clock_skew' end], null) as troubles) t
         where ($1::text is null or a.street = $1) and ($7::uuid is null or d.device = $7)
         order by cardinality(t.troubles) = 0, d.revoked_at is not null, d.last_sync_at nulls first, d.device limit $2 offset $3"#,
        street,
        page.limit,
        page.offset,
        time::OffsetDateTime::from(page.thresholds.stale_before),
        page.thresholds.unsent_min,
        page.thresholds.clock_skew_ms_min,
        page.device.map(|device| device.0),
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from device d join account a on a.username = d.username
           where ($1::text is null or a.street = $1) and ($2::uuid is null or d.device = $2)"#,
        street,
        page.device.map(|device| device.0),
    )
    .fetch_one(conn)
    .await?;
    Ok((
        rows.into_iter()
            .map(TryInto::try_into)
            .collect::<sqlx::Result<_>>()?,
        total,
    ))
}

/// What a synchronisation tells of its device.
#[derive(Clone, Copy, Debug)]
pub struct SyncReport<'t> {
    pub client_version: &'t str,
    /// Still on the phone after this request; `None`: it did not say.
    pub unsent: Option<i32>,
    pub held: Option<i32>,
    /// Its clock minus ours.
    pub clock_skew_ms: Option<i64>,
    /// A change came that is another one than this device already sent under its name.
    pub forked: bool,
}

/// Notes that a device has synced, and what it told. What it does not tell any more is forgotten. Alone in its transaction and not `durable` it
/// waits for no disk: a crash may forget it, and the next synchronisation tells it again.
pub async fn note_sync(
    conn: &mut PgConnection,
    device: DeviceId,
    report: SyncReport<'_>,
    now: ServerTime,
    durable: bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        "with waits as materialized (
             select set_config('synchronous_commit', case when $8 then current_setting('synchronous_commit') else 'off' end, true)
         )
         update device set last_sync_at = $2, client_version = $3, unsent = $4, held = $5, clock_skew_ms = $6, forks = forks + $7
         from waits where device = $1",
        device.0,
        time::OffsetDateTime::from(now),
        report.client_version,
        report.unsent,
        report.held,
        report.clock_skew_ms,
        i32::from(report.forked),
        durable,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a device says it has cleared itself; false where it said so before, or was never told to.
pub async fn note_wiped(
    conn: &mut PgConnection,
    device: DeviceId,
    now: ServerTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update device set wiped_reported_at = $2 where device = $1 and wipe and wiped_reported_at is null",
        device.0,
        time::OffsetDateTime::from(now),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
