//! SQL of a street's calendar of public holidays, and of the requests whose terms count by it.

use std::collections::BTreeMap;

use lianka_sync_core::{
    id::{RecordId, StreetCode},
    kinds::transfer::{
        STATES,
        calendar::{Calendar, DayKind},
        table::Term,
    },
};
use sqlx::PgConnection;
use time::Date;

/// The street's calendar: what is shipped, and what its admin imported before it.
pub async fn calendar(conn: &mut PgConnection, street: &StreetCode) -> sqlx::Result<Calendar> {
    let rows = sqlx::query!(
        "select day, kind from calendar_day where street = $1",
        street.as_str()
    )
    .fetch_all(conn)
    .await?;
    let days = rows
        .into_iter()
        .filter_map(|row| Some((row.day, DayKind::read(&row.kind)?)));
    Ok(Calendar::shipped().with(days))
}

/// Writes the days of a notice over what the street had of them; how many it had otherwise.
pub async fn put(
    tx: &mut PgConnection,
    street: &StreetCode,
    days: &BTreeMap<Date, DayKind>,
) -> sqlx::Result<u64> {
    let kinds: Vec<String> = days.values().map(|kind| kind.as_str().to_owned()).collect();
    let days: Vec<Date> = days.keys().copied().collect();
    let done = sqlx::query!(
        "insert into calendar_day (street, day, kind)
         select $1, day, kind from unnest($2::date[], $3::text[]) as given (day, kind)
         on conflict (street, day) do update set kind = excluded.kind where calendar_day.kind <> excluded.kind",
        street.as_str(),
        &days,
        &kinds
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// The requests of a street whose present term counts working days, with their stored states.
pub async fn counting_working_days(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<Vec<(RecordId, i64, Vec<u8>)>> {
    let states: Vec<String> = STATES
        .iter()
        .filter(|row| matches!(row.limit, Some((Term::WorkingDays(_), _))))
        .map(|row| row.code.to_owned())
        .collect();
    let rows = sqlx::query!(
        "select r.record, r.seq, r.state from transfer t join record r on r.street = t.street and r.record = t.record
         where t.street = $1 and t.state = any($2) order by r.record",
        street.as_str(),
        &states
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (RecordId(row.record), row.seq, row.state))
        .collect())
}
