//! Tries of passwords, counted for all servers together, and the locks that follow from them.

use lianka_sync_core::time::ServerTime;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// How tries turn into locks.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// This many tries without a success lock the key.
    pub tries_max: u32,
    /// For so long at first; each further try doubles it.
    pub lock_s: u32,
    /// A lock is never longer.
    pub lock_s_max: u32,
    /// A key that was left alone for so long starts anew.
    pub forgotten_after_s: u32,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// It may go on; `.0` counts it.
    Admitted(u32),
    /// Not before this time.
    Locked(ServerTime),
}

/// Counts a try before it is made, so that many at once are many; one that meets a lock is not counted.
pub async fn admit(
    conn: &mut PgConnection,
    key: &str,
    rule: Rule,
    now: ServerTime,
) -> sqlx::Result<Try> {
    let at = OffsetDateTime::from(now);
    let tries = sqlx::query_scalar!(
        "insert into sign_in_try as t (key, tries, last_at) values ($1, 1, $2)
         on conflict (key) do update set
             tries = case when t.last_at < $2 - make_interval(secs => $6) then 1 else t.tries + 1 end,
             last_at = $2,
             locked_until = case when t.last_at >= $2 - make_interval(secs => $6) and t.tries + 1 >= $3
                 then $2 + make_interval(secs => least($5, $4 * power(2, least(t.tries + 1 - $3, 20)))) end
         -- No lock is longer than the longest: one that seems to be was made by a clock that was wrong.
         where t.locked_until is null or t.locked_until <= $2 or t.locked_until > $2 + make_interval(secs => $5)
         returning tries",
        key,
        at,
        rule.tries_max as i32,
        f64::from(rule.lock_s),
        f64::from(rule.lock_s_max),
        f64::from(rule.forgotten_after_s),
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(tries) = tries {
        return Ok(Try::Admitted(tries.unsigned_abs()));
    }
    let until = sqlx::query_scalar!("select locked_until from sign_in_try where key = $1", key)
        .fetch_optional(conn)
        .await?
        .flatten();
    Ok(Try::Locked(until.map_or(now, Into::into)))
}

/// Forgets the tries of somebody who got in, and those that nobody remembers any more.
pub async fn forget(
    conn: &mut PgConnection,
    key: &str,
    older_than: ServerTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from sign_in_try where key = $1 or last_at < $2",
        key,
        OffsetDateTime::from(older_than)
    )
    .execute(conn)
    .await?;
    Ok(())
}
