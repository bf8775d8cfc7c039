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

use crate::{
    time::ServerTime,
    values::{date, text::half_width},
};

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

/// The day that is over at a moment: of the end of a term, its last day.
pub fn last_day(end: ServerTime) -> Date {
    day_of(ServerTime::from_unix_ms(end.unix_ms().saturating_sub(1)))
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
/// passed over. The notice itself is read as well, as the State Council words it: 10月1日（周四）至7日（周三）放假调休，共7天。10月10日（周六）上班。
pub fn notice(text: &str) -> Result<BTreeMap<Date, DayKind>, NoticeError> {
    if text.contains("放假") && !text.lines().any(|line| listed(line).is_some()) {
        return worded(text);
    }
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
        let (day, kind) = cells(line);
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

/// The day and the kind of a line.
fn cells(line: &str) -> (Option<Date>, Option<DayKind>) {
    let mut cells = line.split([',', '，', '\t', ';']).map(str::trim);
    let day = cells.next().and_then(date::parse);
    (day, cells.next().and_then(DayKind::read))
}

fn listed(line: &str) -> Option<(Date, DayKind)> {
    let (day, kind) = cells(line.trim());
    day.zip(kind)
}

/// A notice in words. Its year is the first that it names; a sentence that counts its days must have as many.
fn worded(text: &str) -> Result<BTreeMap<Date, DayKind>, NoticeError> {
    let plain = half_width(text);
    if plain.lines().count() > NOTICE_LINES_MAX {
        return Err(NoticeError::TooLong);
    }
    let mut days = BTreeMap::new();
    let mut year = None;
    for (at, line) in plain.lines().enumerate() {
        for sentence in without_brackets(line).split(['。', ';']) {
            let said = mentioned(sentence, &mut year).ok_or(NoticeError::Line(at + 1))?;
            let kind = if sentence.contains("上班") {
                DayKind::Workday
            } else if sentence.contains("放假") || sentence.contains("休息") {
                DayKind::Holiday
            } else {
                continue;
            };
            let count = sentence
                .split_once('共')
                .and_then(|(_, rest)| rest.trim().split_once('天'))
                .and_then(|(count, _)| count.trim().parse::<usize>().ok());
            if !said.is_empty() && count.is_some_and(|count| count != said.len()) {
                return Err(NoticeError::Line(at + 1));
            }
            for day in said {
                if days.insert(day, kind).is_some() {
                    return Err(NoticeError::Twice(at + 1));
                }
            }
        }
    }
    if days.is_empty() {
        return Err(NoticeError::Empty);
    }
    Ok(days)
}

/// Longest range of days that a notice names.
const RANGE_DAYS_MAX: usize = 16;

/// The days of a sentence, those within ranges too. Nothing where one of them is no day, or none that can be told.
fn mentioned(sentence: &str, year: &mut Option<i32>) -> Option<Vec<Date>> {
    let mut days: Vec<Date> = Vec::new();
    let mut month: Option<u8> = None;
    let mut rest = sentence;
    let mut before = String::new();
    // The year of this sentence: of a range over New Year's Eve the first is the old one.
    let mut own_year = *year;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        before.push_str(&rest[..at]);
        let digits = rest[at..].len()
            - rest[at..]
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .len();
        let number = &rest[at..at + digits];
        rest = &rest[at + digits..];
        if rest.starts_with('年') && digits == 4 {
            own_year = number.parse().ok();
            *year = year.or(own_year);
        } else if rest.starts_with('月') {
            month = number.parse().ok();
        } else if rest.starts_with(['日', '号'])
            && let Some(month) = month
        {
            let month = Month::try_from(month).ok()?;
            let day = Date::from_calendar_date(own_year?, month, number.parse().ok()?).ok()?;
            let is_end = before
                .trim_end()
                .ends_with(['至', '到', '-', '—', '–', '~'])
                || {
                    // 至23日, 至2月3日, 至2023年1月2日
                    let back = before.trim_end_matches(|c: char| {
                        c.is_ascii_digit() || matches!(c, '年' | '月' | ' ')
                    });
                    back.ends_with(['至', '到', '-', '—', '–', '~'])
                };
            if let (true, Some(first)) = (is_end, days.last().copied()) {
                let mut next = first;
                for _ in 0..RANGE_DAYS_MAX {
                    next = next.next_day()?;
                    days.push(next);
                    if next >= day {
                        break;
                    }
                }
                if next != day {
                    return None;
                }
            } else {
                days.push(day);
            }
            before.clear();
            continue;
        }
        before.push_str(number);
    }
    Some(days)
}

/// Without what stands in brackets: the day of the week, and the day by the moon.
fn without_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
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
    fn the_notice_is_read_as_it_is_worded() {
        let text = "国务院办公厅关于2026年部分节假日安排的通知\n\
            各省、自治区、直辖市人民政府：\n经国务院批准，现将2026年元旦、春节等放假调休日期的具体安排通知如下。\n\
            一、元旦：1月1日（周四）至3日（周六）放假调休，共3天。1月4日（周日）上班。\n\
            二、春节：2月15日（农历腊月二十八、周日）至23日（农历正月初七、周一）放假调休，共9天。2月14日（周六）、2月28日（周六）上班。\n\
            三、清明节：4月4日（周六）至6日（周一）放假，共3天。\n\
            七、国庆节：10月1日（周四）至7日（周三）放假调休，共7天。9月20日（周日）、10月10日（周六）上班。\n\
            节假日期间，各地区、各部门要妥善安排好值班和安全、保卫等工作。\n2025年11月4日\n";
        let days = notice(text).unwrap();
        let shipped = Calendar::shipped();
        assert_eq!(days.len(), 3 + 1 + 9 + 2 + 3 + 7 + 2);
        for (day, kind) in &days {
            assert_eq!(shipped.is_worked(*day), *kind == DayKind::Workday, "{day}");
        }
        // Over New Year's Eve, and one day.
        let text = "关于2023年部分节假日安排的通知\n元旦：2022年12月31日至2023年1月2日放假调休，共3天。\n端午节：6月22日放假。6月25日（星期日）上班。";
        let days: Vec<_> = notice(text).unwrap().into_keys().map(to_iso).collect();
        assert_eq!(
            days,
            [
                "2022-12-31",
                "2023-01-01",
                "2023-01-02",
                "2023-06-22",
                "2023-06-25"
            ]
        );
        for (text, error) in [
            (
                "2027年\n国庆节：10月1日至7日放假，共8天。",
                NoticeError::Line(2),
            ),
            ("国庆节：10月1日至7日放假，共7天。", NoticeError::Line(1)),
            ("2027年2月29日放假", NoticeError::Line(1)),
            ("2027年放假安排另行通知", NoticeError::Empty),
            ("2027年1月1日放假。1月1日上班。", NoticeError::Twice(1)),
        ] {
            assert_eq!(notice(text), Err(error), "{text}");
        }
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
