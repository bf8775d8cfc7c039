//! Days and limits, in China's one time zone (UTC+8), from the server's clock or a signed date; never from a phone's.
//!
//! Working days are Monday to Friday but for public holidays, and the weekend days that a yearly notice declares working days instead. Which
//! those are is an input ([`Calendar`]): shipped for the years whose notice was known, and what a street imports of later ones. In a year without a
//! notice a limit of working days may end a little early around a holiday. It reminds, it never decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use time::{Date, Duration, Month, OffsetDateTime, Weekday};

use crate::{time::ServerTime, values::date};

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

/// What a notice says of a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DayKind {
    /// Nobody works: 放假.
    Holiday,
    /// Worked although the week has no work on it: 上班, 补班.
    Workday,
    /// As the week has it: takes back what another notice said.
    Ordinary,
}

impl DayKind {
    /// The name in the store and in a notice.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holiday => "holiday",
            Self::Workday => "workday",
            Self::Ordinary => "ordinary",
        }
    }

    /// From the name, or from a word that notices have for it.
    pub fn read(word: &str) -> Option<Self> {
        match word {
            "holiday" | "放假" | "休" | "休息" | "节假日" => Some(Self::Holiday),
            "workday" | "上班" | "班" | "补班" | "调休上班" => Some(Self::Workday),
            "ordinary" | "平日" | "取消" => Some(Self::Ordinary),
            _ => None,
        }
    }
}

/// Lines of a notice that are looked at: a year has fewer days.
pub const NOTICE_LINES_MAX: usize = 400;

/// Why a notice is not taken. Nothing of it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoticeError {
    /// A line that is no day and kind.
    #[error("line {0}: a day as YYYY-MM-DD, a comma, and holiday, workday or ordinary")]
    Line(usize),
    /// A day that an earlier line names.
    #[error("line {0}: the day stands in an earlier line already")]
    Twice(usize),
    /// No line names a day.
    #[error("no line names a day")]
    Empty,
    /// More than [`NOTICE_LINES_MAX`] lines.
    #[error("more than {NOTICE_LINES_MAX} lines")]
    TooLong,
}

/// Reads a notice: a line for each day with its kind behind a comma or a tab. Blank lines, lines that begin with `#` and a line of headings are
/// passed over.
pub fn notice(text: &str) -> Result<BTreeMap<Date, DayKind>, NoticeError> {
    let mut days = BTreeMap::new();
    let mut is_first = true;
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if at >= NOTICE_LINES_MAX {
            return Err(NoticeError::TooLong);
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut cells = line.split([',', '，', '\t', ';']).map(str::trim);
        let day = cells.next().and_then(date::parse);
        let kind = cells.next().and_then(DayKind::read);
        let heading = std::mem::take(&mut is_first) && day.is_none() && kind.is_none();
        match (day, kind) {
            (Some(day), Some(kind)) if days.insert(day, kind).is_none() => {}
            (Some(_), Some(_)) => return Err(NoticeError::Twice(at + 1)),
            _ if heading => {}
            _ => return Err(NoticeError::Line(at + 1)),
        }
    }
    if days.is_empty() {
        return Err(NoticeError::Empty);
    }
    Ok(days)
}

/// Which days are worked, as far as notices say otherwise than the week.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calendar(Arc<BTreeMap<Date, DayKind>>);

impl Default for Calendar {
    fn default() -> Self {
        Self::shipped()
    }
}

impl Calendar {
    /// The years whose notice was known when this program was made.
    pub fn shipped() -> Self {
        static SHIPPED: LazyLock<Calendar> = LazyLock::new(|| {
            // A test reads it: there is no other way for it to fail.
            Calendar(Arc::new(
                notice(include_str!("holidays.csv")).unwrap_or_default(),
            ))
        });
        SHIPPED.clone()
    }

    /// The same with what notices say, which goes before what is shipped.
    #[must_use]
    pub fn with(self, days: impl IntoIterator<Item = (Date, DayKind)>) -> Self {
        let mut days = days.into_iter().peekable();
        if days.peek().is_none() {
            return self;
        }
        let mut all = (*self.0).clone();
        all.extend(days);
        Self(Arc::new(all))
    }

    /// Every day that is otherwise than the week has it, in order.
    pub fn days(&self) -> impl Iterator<Item = (Date, DayKind)> + '_ {
        self.0
            .iter()
            .map(|(day, kind)| (*day, *kind))
            .filter(|(_, kind)| *kind != DayKind::Ordinary)
    }

    /// The years of which a notice is known: those whose National Day is in it.
    pub fn years(&self) -> BTreeSet<i32> {
        self.days()
            .filter(|(day, kind)| {
                *kind == DayKind::Holiday && (day.month(), day.day()) == (Month::October, 1)
            })
            .map(|(day, _)| day.year())
            .collect()
    }

    /// The year whose notice is missing although it is time: this one, or in December the next.
    pub fn lacks(&self, today: Date) -> Option<i32> {
        let years = self.years();
        let next = (today.month() == Month::December).then(|| today.year() + 1);
        [Some(today.year()), next]
            .into_iter()
            .flatten()
            .find(|year| !years.contains(year))
    }

    /// Whether people work on the day.
    pub fn is_worked(&self, day: Date) -> bool {
        match self.0.get(&day) {
            Some(DayKind::Holiday) => false,
            Some(DayKind::Workday) => true,
            Some(DayKind::Ordinary) | None => {
                !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
            }
        }
    }

    /// So many working days later.
    pub fn plus_working_days(&self, day: Date, days: u32) -> Date {
        let mut day = day;
        let mut left = days;
        while left > 0 {
            let Some(next) = day.next_day() else {
                return day;
            };
            day = next;
            if self.is_worked(day) {
                left -= 1;
            }
        }
        day
    }
}

/// One calendar month later: the same day, or the last one of a shorter month.
pub fn plus_month(day: Date) -> Date {
    let (year, month) = if u8::from(day.month()) == 12 {
        (day.year() + 1, Month::January)
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

    #[test]
    fn what_is_shipped_reads_and_has_every_year() {
        let shipped = notice(include_str!("holidays.csv")).unwrap();
        assert_eq!(shipped.len(), Calendar::shipped().days().count());
        let years: Vec<_> = Calendar::shipped().years().into_iter().collect();
        assert_eq!(years, (2018..=2026).collect::<Vec<_>>());
        for (day, kind) in shipped {
            let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
            assert!(kind == DayKind::Holiday || weekend, "{day}");
        }
    }

    #[test]
    fn holidays_are_passed_over_and_weekends_worked_instead_are_not() {
        let calendar = Calendar::shipped();
        for (from, days, to) in [
            // 国庆 2026: 1 to 7 October off, Saturday the 10th worked.
            ("2026-09-30", 1, "2026-10-08"),
            ("2026-09-30", 3, "2026-10-10"),
            ("2026-09-30", 4, "2026-10-12"),
            // 春节 2026: Saturday 14 February worked, 15 to 23 off.
            ("2026-02-13", 1, "2026-02-14"),
            ("2026-02-13", 3, "2026-02-25"),
            ("2026-01-01", 3, "2026-01-06"),
            ("2025-12-31", 1, "2026-01-04"),
            // A year of which nothing is known: as the week has it.
            ("2030-10-01", 3, "2030-10-04"),
        ] {
            assert_eq!(
                to_iso(calendar.plus_working_days(day(from), days)),
                to,
                "{from}"
            );
        }
    }

    #[test]
    fn a_notice_goes_before_what_is_shipped() {
        let text = "日期,安排\n2027年10月1日,放假\n2027/10/2,休\n\n# 补班\n2027-10-09，补班\n2026-10-08,holiday\n2026-10-10,ordinary\n";
        let calendar = Calendar::shipped().with(notice(text).unwrap());
        assert!(calendar.years().contains(&2027));
        for (text, worked) in [
            ("2027-10-01", false),
            ("2027-10-09", true),
            ("2026-10-08", false),
            ("2026-10-10", false),
            ("2026-02-14", true),
        ] {
            assert_eq!(calendar.is_worked(day(text)), worked, "{text}");
        }
        for (text, error) in [
            ("", NoticeError::Empty),
            ("day,kind\n", NoticeError::Empty),
            (
                "2027-10-01,holiday\n2027-10-01,workday",
                NoticeError::Twice(2),
            ),
            ("2027-10-01,party", NoticeError::Line(1)),
            ("2027-10-41,holiday", NoticeError::Line(1)),
            ("day,kind\nday,kind", NoticeError::Line(2)),
            ("2027-10-01", NoticeError::Line(1)),
        ] {
            assert_eq!(notice(text), Err(error), "{text:?}");
        }
        assert_eq!(
            notice(&"\n".repeat(NOTICE_LINES_MAX + 1)),
            Err(NoticeError::TooLong)
        );
    }

    #[test]
    fn the_next_year_is_missed_in_december() {
        let shipped = Calendar::shipped();
        for (today, lacks) in [
            ("2026-11-30", None),
            ("2026-12-01", Some(2027)),
            ("2027-01-01", Some(2027)),
            ("2025-12-31", None),
        ] {
            assert_eq!(shipped.lacks(day(today)), lacks, "{today}");
        }
        let known = shipped.with([(day("2027-10-01"), DayKind::Holiday)]);
        assert_eq!(known.lacks(day("2026-12-01")), None);
    }

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
            let calendar = Calendar::shipped();
            assert_eq!(
                to_iso(calendar.plus_working_days(day(from), days)),
                to,
                "{from}"
            );
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
