//! Dates as people write them.
//!
//! In: the text of a cell, or an Excel serial number. Out: a calendar date between 1900 and 2199, or nothing where the text
//! is no date, is incomplete or could be read in two ways.

use time::{Date, Duration, Month, OffsetDateTime};

use crate::{time::DeviceTime, values::text::half_width};

/// Longest text that is looked at: a date with weekday and time fits.
const CHARS_MAX: usize = 40;

/// Reads a date: year first, with `-`, `/`, `.`, spaces or 年月日 between, eight digits, two-digit years as 20xx, Chinese
/// numerals, an Excel serial of five digits. A time or a weekday after it is ignored.
pub fn parse(text: &str) -> Option<Date> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > CHARS_MAX {
        return None;
    }
    let plain = arabic(&half_width(text));
    let (groups, rest) = leading_groups(&plain);
    match groups.as_slice() {
        [whole] => all_in_one(whole, rest),
        [year, month, day] if rest_is_harmless(rest) => from_groups(year, month, day),
        _ => None,
    }
}

/// An Excel serial day number of the 1900 system. Excel believes that 1900-02-29 existed: serial 60 is refused, and the days
/// before it are counted from one day later.
pub fn from_excel_serial(serial: f64) -> Option<Date> {
    if !serial.is_finite() || !(1.0..110_000.0).contains(&serial) {
        return None;
    }
    let days = serial.floor() as i64;
    let epoch = match days {
        60 => return None,
        ..60 => Date::from_calendar_date(1899, Month::December, 31),
        _ => Date::from_calendar_date(1899, Month::December, 30),
    };
    epoch
        .ok()?
        .checked_add(Duration::days(days))
        .filter(|date| in_range(*date))
}

/// The days between which a day may lie, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The earliest.
    pub from: Date,
    /// The latest.
    pub to: Date,
}

/// Where a day lies that is not within a [`Span`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// Before its first day.
    Before,
    /// After its last day.
    After,
}

impl Span {
    /// From so many days before a day to so many after it.
    pub fn around(day: Date, before: u32, after: u32) -> Self {
        let days = |days: u32| Duration::days(i64::from(days));
        Self {
            from: day.saturating_sub(days(before)),
            to: day.saturating_add(days(after)),
        }
    }

    /// Whether the day lies within.
    pub fn check(&self, day: Date) -> Result<(), Outside> {
        if day < self.from {
            Err(Outside::Before)
        } else if day > self.to {
            Err(Outside::After)
        } else {
            Ok(())
        }
    }
}

/// `2025-08-11`.
pub fn to_iso(date: Date) -> String {
    format!(
        "{:04}-{:02}-{:02}",
        date.year(),
        u8::from(date.month()),
        date.day()
    )
}

/// China has one time zone: UTC+8.
const ZONE_MS: i64 = 8 * 3_600_000;
/// Before this year nobody used the program.
const YEAR_MIN: i32 = 2000;

/// Reads a minute in China, `2026-11-28T15:04`: this spelling and no other.
pub fn minute(text: &str) -> Option<DeviceTime> {
    let (day, time) = text.split_once('T')?;
    let day = parse(day).filter(|parsed| to_iso(*parsed) == day && parsed.year() >= YEAR_MIN)?;
    let (hour, minute) = time.split_once(':')?;
    let two = |digits: &str| {
        (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| digits.parse::<u8>().ok())
            .flatten()
    };
    let at = day.with_hms(two(hour)?, two(minute)?, 0).ok()?.assume_utc();
    Some(DeviceTime::from_unix_ms(
        DeviceTime::from(at).unix_ms() - ZONE_MS,
    ))
}

/// The minute in China, as [`minute`] reads it.
pub fn to_minute(at: DeviceTime) -> String {
    let here = OffsetDateTime::from(DeviceTime::from_unix_ms(at.unix_ms() + ZONE_MS));
    format!(
        "{}T{:02}:{:02}",
        to_iso(here.date()),
        here.hour(),
        here.minute()
    )
}

fn in_range(date: Date) -> bool {
    (1900..2200).contains(&date.year())
}

fn calendar(year: i32, month: u8, day: u8) -> Option<Date> {
    Date::from_calendar_date(year, Month::try_from(month).ok()?, day)
        .ok()
        .filter(|date| in_range(*date))
}

fn from_groups(year: &str, month: &str, day: &str) -> Option<Date> {
    if month.len() > 2 || day.len() > 2 {
        return None;
    }
    // 03/04/26 is the fourth of March, the third of April, or a day in 2003.
    if (year.len(), month.len(), day.len()) == (2, 2, 2) && year.parse::<u8>().ok()? <= 12 {
        return None;
    }
    let year = match year.len() {
        4 => year.parse().ok()?,
        2 => 2000 + year.parse::<i32>().ok()?,
        _ => return None,
    };
    calendar(year, month.parse().ok()?, day.parse().ok()?)
}

fn all_in_one(digits: &str, rest: &str) -> Option<Date> {
    match digits.len() {
        8 if rest_is_harmless(rest) => calendar(
            digits[..4].parse().ok()?,
            digits[4..6].parse().ok()?,
            digits[6..].parse().ok()?,
        ),
        // A serial that lost its date format on the way through a text file; only of this century, to keep house numbers out.
        5 if rest.is_empty()
            || rest
                .strip_prefix('.')
                .is_some_and(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_digit())) =>
        {
            from_excel_serial(digits.parse().ok()?).filter(|d| d.year() >= 2000)
        }
        _ => None,
    }
}

/// The first one or three groups of digits and what follows the last of them.
fn leading_groups(text: &str) -> (Vec<&str>, &str) {
    let mut groups = Vec::new();
    let mut rest = text;
    while groups.len() < 3 {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            break;
        }
        let (group, after) = rest.split_at(digits);
        groups.push(group);
        rest = after;
        if groups.len() == 3 || groups.len() == 1 && digits >= 5 {
            break;
        }
        rest = rest.trim_start_matches(|c: char| {
            c.is_whitespace() || matches!(c, '-' | '/' | '.' | '年' | '月' | '\\' | '_' | '—' | '–')
        });
    }
    (groups, rest)
}

/// Whether what follows the day says nothing else about the day: 日, a weekday, a time.
fn rest_is_harmless(rest: &str) -> bool {
    let rest = rest.trim_start();
    let rest = rest
        .strip_prefix(['日', '号', '.'])
        .unwrap_or(rest)
        .trim_start();
    if rest.is_empty() {
        return true;
    }
    let time = rest.strip_prefix('T').unwrap_or(rest);
    if rest.len() != time.len() || rest.starts_with(|c: char| c.is_ascii_digit()) {
        return time.contains(':')
            && time
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | 'Z' | '+' | '-' | ' '));
    }
    [
        "周", "星期", "礼拜", "(", "上午", "下午", "晚", "早", "中午",
    ]
    .iter()
    .any(|p| rest.starts_with(p))
        && !rest.contains(['年', '月'])
}

/// Chinese numerals to Arabic ones, as far as dates need them: 二〇二五, 十一, 二十三.
fn arabic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run: Vec<Option<u32>> = Vec::new();
    for c in text.chars() {
        let numeral = match c {
            '〇' | '零' | '○' => Some(Some(0)),
            '十' => Some(None),
            _ => "一二三四五六七八九"
                .chars()
                .position(|d| d == c)
                .map(|p| Some(p as u32 + 1)),
        };
        if let Some(numeral) = numeral {
            run.push(numeral);
            continue;
        }
        flush(&mut run, &mut out);
        out.push(c);
    }
    flush(&mut run, &mut out);
    out
}

fn flush(run: &mut Vec<Option<u32>>, out: &mut String) {
    match run.iter().position(Option::is_none) {
        None => run
            .iter()
            .flatten()
            .for_each(|d| out.push_str(&d.to_string())),
        Some(at) => {
            let tens = run[..at].iter().flatten().last().copied().unwrap_or(1);
            let ones = run[at + 1..].iter().flatten().next().copied().unwrap_or(0);
            out.push_str(&(tens * 10 + ones).to_string());
        }
    }
    run.clear();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse(text).map(to_iso).as_deref(), expected, "{text}");
    }

    #[test]
    fn minutes_have_one_spelling() {
        let at = minute("2026-11-28T15:04").expect("a minute");
        assert_eq!(at.to_string(), "2026-11-28T07:04:00Z");
        assert_eq!(to_minute(at), "2026-11-28T15:04");
        for bad in [
            "",
            "2026-11-28",
            "2026-11-28 15:04",
            "2026-11-28T15:4",
            "2026-11-28T15:04:00",
            "2026-11-28T24:00",
            "2026-11-28T15:60",
            "2026-11-31T15:04",
            "1999-12-31T15:04",
            "2026-11-28T１5:04",
        ] {
            assert_eq!(minute(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_as_people_write_them() {
        check("2025-08-11", Some("2025-08-11"));
        check("2026.1.19", Some("2026-01-19"));
        check("2025年11月1日", Some("2025-11-01"));
        check("2025 年 11 月 1 日", Some("2025-11-01"));
        check("2025年11月1号", Some("2025-11-01"));
        check("2025/3/1", Some("2025-03-01"));
        check("2025 3 1", Some("2025-03-01"));
        check("20250301", Some("2025-03-01"));
        check("25.3.1", Some("2025-03-01"));
        check("２０２５－０８－１１", Some("2025-08-11"));
        check("二〇二五年十一月二十三日", Some("2025-11-23"));
        check("二〇二五年三月十日", Some("2025-03-10"));
        check("2025-08-11 10:30:00", Some("2025-08-11"));
        check("2025-08-11T00:00:00Z", Some("2025-08-11"));
        check("2025-08-11(周一)", Some("2025-08-11"));
        check("2025年8月11日星期一", Some("2025-08-11"));
        check("2025年8月11日 下午", Some("2025-08-11"));
        check("45880", Some("2025-08-11"));
        check("45880.5", Some("2025-08-11"));
        check("2024-02-29", Some("2024-02-29"));
        check("2025-02-29", None);
        check("2025-13-01", None);
        check("2025-00-10", None);
        check("2025年11月", None);
        check("11月1日", None);
        check("1/3/2025", None);
        check("03/04/26", None);
        check("12-03-04", None);
        check("26-03-04", Some("2026-03-04"));
        check("250301", None);
        check("202503", None);
        check("12345", None);
        check("2025-08-11至2025-09-01", None);
        check("2025-08-115", None);
        check("上周", None);
        check("无", None);
        check("", None);
    }

    #[test]
    fn excel_serials() {
        for (serial, expected) in [
            (45880.0, Some("2025-08-11")),
            (45683.999, Some("2025-01-26")),
            (1.0, Some("1900-01-01")),
            (59.0, Some("1900-02-28")),
            (60.0, None),
            (61.0, Some("1900-03-01")),
            (0.5, None),
            (-3.0, None),
            (1e18, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(
                from_excel_serial(serial).map(to_iso).as_deref(),
                expected,
                "{serial}"
            );
        }
    }

    #[test]
    fn a_span_has_both_its_ends() {
        let day = |text: &str| parse(text).unwrap();
        let span = Span::around(day("2026-11-21"), 400, 1);
        for (text, expected) in [
            ("2025-10-16", Err(Outside::Before)),
            ("2025-10-17", Ok(())),
            ("2026-11-21", Ok(())),
            ("2026-11-22", Ok(())),
            ("2026-11-23", Err(Outside::After)),
        ] {
            assert_eq!(span.check(day(text)), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            parse(&text);
        }

        #[test]
        fn never_panics_on_date_like_text(text in "[0-9０-９一二十〇年月日./\\- T:周]{0,45}") {
            parse(&text);
        }

        #[test]
        fn iso_is_read_back(serial in 61_u32..100_000) {
            let date = from_excel_serial(f64::from(serial));
            prop_assert_eq!(date.and_then(|d| parse(&to_iso(d))), date);
        }
    }
}
