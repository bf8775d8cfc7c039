//! Days and limits, in China's one time zone (UTC+8), from the server's clock or a signed date; never from a phone's.
//!
//! Working days are Monday to Friday: the yearly calendar of public holidays and shifted weekends is not known here, so a limit of working
//! days may end a little early around a holiday. It reminds, it never decides.

use time::{Date, Duration, OffsetDateTime, Weekday};

use crate::time::ServerTime;

const ZONE_MS: i64 = 8 * 3_600_000;
const DAY_MS: i64 = 24 * 3_600_000;

/// The day in China at a moment.
pub fn day_of(at: ServerTime) -> Date {
    OffsetDateTime::from(ServerTime::from_unix_ms(
        at.unix_ms().saturating_add(ZONE_MS),
    ))
    .date()
}

/// The moment a day in China is over.
pub fn end_of(day: Date) -> ServerTime {
    let days = i64::from(day.to_julian_day())
        - i64::from(OffsetDateTime::UNIX_EPOCH.date().to_julian_day());
    ServerTime::from_unix_ms((days + 1) * DAY_MS - ZONE_MS)
}

/// So many days later.
pub fn plus_days(day: Date, days: u32) -> Date {
    day.saturating_add(Duration::days(i64::from(days)))
}

/// So many working days later, Monday to Friday.
pub fn plus_working_days(day: Date, days: u32) -> Date {
    let mut day = day;
    let mut left = days;
    while left > 0 {
        let Some(next) = day.next_day() else {
            return day;
        };
        day = next;
        if !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) {
            left -= 1;
        }
    }
    day
}

/// One calendar month later: the same day, or the last one of a shorter month.
pub fn plus_month(day: Date) -> Date {
    let (year, month) = if u8::from(day.month()) == 12 {
        (day.year() + 1, time::Month::January)
    } else {
        (day.year(), day.month().next())
    };
    let last = month.length(year);
    Date::from_calendar_date(year, month, day.day().min(last)).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::date::{parse, to_iso};

    fn day(text: &str) -> Date {
        parse(text).unwrap()
    }

    #[test]
    fn a_day_in_china_begins_at_sixteen_hours_utc() {
        let noon = ServerTime::from_unix_ms(1_795_248_000_000); // 2026-11-21T08:00:00Z, a Saturday
        assert_eq!(to_iso(day_of(noon)), "2026-11-21");
        assert_eq!(
            to_iso(day_of(ServerTime::from_unix_ms(
                noon.unix_ms() + 8 * 3_600_000
            ))),
            "2026-11-22"
        );
        assert_eq!(
            end_of(day("2026-11-21")).to_string(),
            "2026-11-21T16:00:00Z"
        );
        assert_eq!(to_iso(day_of(end_of(day("2026-11-21")))), "2026-11-22");
    }

    #[test]
    fn working_days_pass_over_the_weekend_and_months_over_their_ends() {
        for (from, days, to) in [
            ("2026-11-20", 3, "2026-11-25"),
            ("2026-11-21", 1, "2026-11-23"),
            ("2026-11-18", 2, "2026-11-20"),
        ] {
            assert_eq!(to_iso(plus_working_days(day(from), days)), to, "{from}");
        }
        for (from, to) in [
            ("2026-01-31", "2026-02-28"),
            ("2026-12-31", "2027-01-31"),
            ("2026-11-21", "2026-12-21"),
        ] {
            assert_eq!(to_iso(plus_month(day(from))), to, "{from}");
        }
        assert_eq!(to_iso(plus_days(day("2026-11-25"), 10)), "2026-12-05");
    }
}
