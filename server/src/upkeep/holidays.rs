//! Whether every street knows the public holidays of the year, and in December those of the next: without them a term of working days may end
//! early around a holiday.

use lianka_sync_core::kinds::transfer::calendar::day_of;
use sqlx::PgPool;

use crate::{
    clock::Clock,
    street::store::{calendars, streets::all_streets},
};

/// Tells the log of every street whose calendar lacks a year; how many there are.
pub async fn pass(pool: &PgPool, clock: &Clock) -> sqlx::Result<usize> {
    let mut conn = pool.acquire().await?;
    let today = day_of(clock.now());
    let mut lacking = 0;
    for street in all_streets(&mut conn).await? {
        if let Some(year) = calendars::calendar(&mut conn, &street).await?.lacks(today) {
            lacking += 1;
            tracing::warn!(%street, year, "the calendar of public holidays lacks a year; import its notice with `lianka calendar`");
        }
    }
    Ok(lacking)
}
