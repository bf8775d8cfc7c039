//! What a cell may have said before a program wrote it in its own way: 007 became 7, 3-5 a day, 9:00 another time of day.
//!
//! In: a cell that does not say what an export said. Out: the texts from which spreadsheets make what it says now. Where the export said one of these,
//! nobody touched the cell. Most programs do so to delimited text, as soon as it is opened and saved.

use lianka_sync_core::values::{date, text};
use time::{Date, Month};

/// Zeros that are put back before a number: those of the longest code that is one.
const ZEROS_MAX: usize = 12;
/// Decimal places that are put back.
const PLACES_MAX: usize = 4;

/// What a text may have been.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Original {
    pub text: String,
    /// Whether somebody may also have meant the change: it does not mean the same.
    pub doubtful: bool,
}

/// What a cell may have said, the likeliest first.
pub fn originals(cell: &str) -> Vec<Original> {
    let text = text::half_width(cell.trim());
    let mut found = numbers(&text);
    found.extend(days(&text));
    found.extend(times(&text));
    found.extend(truths(&text));
    found.retain(|original| original.text != cell);
    found
}

fn same(text: String) -> Original {
    Original {
        text,
        doubtful: false,
    }
}

fn other(text: String) -> Original {
    Original {
        text,
        doubtful: true,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Zeros before and behind, commas between thousands, a sign, a share that was typed as percent.
fn numbers(text: &str) -> Vec<Original> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    if !is_digits(whole) || text.len() > 20 || !(places.is_empty() || is_digits(places)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    // Programs that know only decimal numbers write 7 as 7.0.
    let is_whole = places.bytes().all(|byte| byte == b'0');
    let bare = if is_whole { whole } else { text };
    if is_whole {
        found.push(same(whole.to_owned()));
        found.push(same(grouped(whole)));
        found.push(same(format!("{whole}.")));
    }
    found.push(same(format!("+{bare}")));
    found.extend((1..=ZEROS_MAX).map(|zeros| other(format!("{}{bare}", "0".repeat(zeros)))));
    let behind = if is_whole { "." } else { "" };
    found
        .extend((1..=PLACES_MAX).map(|zeros| same(format!("{bare}{behind}{}", "0".repeat(zeros)))));
    if let Some(rest) = bare.strip_prefix("0.") {
        found.push(same(format!(".{rest}")));
        let share = bare.parse::<f64>().unwrap_or_default() * 100.0;
        found.push(same(format!("{}%", (share * 1e6).round() / 1e6)));
    }
    found
}

fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

fn days(text: &str) -> Vec<Original> {
    let mut found = Vec::new();
    if text.contains(['-', '/', '.', '年'])
        && let Some(day) = date::parse(text)
    {
        found.extend(whole_days(day));
        found.extend(parts(u8::from(day.month()), day.day()));
        if day.day() == 1 {
            found.extend(months(day.year(), u8::from(day.month())));
        }
    }
    // As programs of other countries show a day: 03/05/26, 5.3.26.
    for sign in ['/', '-', '.'] {
        let numbers: Option<Vec<u8>> = text.split(sign).map(|part| part.parse().ok()).collect();
        if let Some(&[a, b, year]) = numbers.as_deref()
            && year < 100
        {
            found.extend(parts(a, b));
            for (month, day) in [(a, b), (b, a)] {
                let day = Month::try_from(month).ok().and_then(|month| {
                    Date::from_calendar_date(2000 + i32::from(year), month, day).ok()
                });
                found.extend(day.into_iter().flat_map(whole_days));
            }
        }
    }
    // As programs show a day whose year nobody typed: 3月5日, 5-Mar, Mar-35.
    let chinese = text
        .strip_suffix('日')
        .and_then(|rest| rest.split_once('月'))
        .and_then(|(month, day)| Some((month.parse().ok()?, day.parse().ok()?)));
    if let Some((month, day)) = chinese {
        found.extend(parts(month, day));
    }
    let named = |word: &str| {
        let at = MONTHS
            .iter()
            .position(|month| word.eq_ignore_ascii_case(month))?;
        u8::try_from(at + 1).ok()
    };
    if let Some((left, right)) = text.split_once('-') {
        match (named(left), named(right)) {
            (Some(month), None) => {
                found.extend(
                    right
                        .parse()
                        .ok()
                        .into_iter()
                        .flat_map(|day| parts(month, day)),
                );
                found.extend(
                    right
                        .parse::<i32>()
                        .ok()
                        .into_iter()
                        .flat_map(|year| months(year, month)),
                );
            }
            (None, Some(month)) => {
                found.extend(
                    left.parse()
                        .ok()
                        .into_iter()
                        .flat_map(|day| parts(month, day)),
                );
            }
            _ => {}
        }
    }
    found
}

/// The spellings of one day.
fn whole_days(day: Date) -> Vec<Original> {
    let (y, m, d) = (day.year(), u8::from(day.month()), day.day());
    let short = y.rem_euclid(100);
    [
        date::to_iso(day),
        format!("{y}-{m}-{d}"),
        format!("{y}/{m}/{d}"),
        format!("{y}/{m:02}/{d:02}"),
        format!("{y}.{m}.{d}"),
        format!("{y}.{m:02}.{d:02}"),
        format!("{y}年{m}月{d}日"),
        format!("{y}年{m:02}月{d:02}日"),
        format!("{short:02}-{m}-{d}"),
        format!("{short:02}/{m}/{d}"),
        format!("{m}/{d}/{y}"),
        format!("{d}/{m}/{y}"),
        format!("{m:02}/{d:02}/{y}"),
        format!("{d:02}/{m:02}/{y}"),
    ]
    .into_iter()
    .map(same)
    .collect()
}

/// Two numbers that a program took for a day of some year.
fn parts(month: u8, day: u8) -> Vec<Original> {
    if Month::try_from(month).is_err() || day > 31 {
        return Vec::new();
    }
    let mut found: Vec<_> = [(month, day), (day, month)]
        .into_iter()
        .flat_map(|(a, b)| {
            [
                format!("{a}-{b}"),
                format!("{a}/{b}"),
                format!("{a:02}-{b:02}"),
                format!("{a:02}/{b:02}"),
            ]
        })
        .map(other)
        .collect();
    found.push(same(format!("{month}月{day}日")));
    found
}

/// A number and one that a program took for a year.
fn months(year: i32, month: u8) -> Vec<Original> {
    let short = year.rem_euclid(100);
    let mut found: Vec<_> = [
        format!("{month}-{short}"),
        format!("{month}/{short}"),
        format!("{month}-{short:02}"),
        format!("{month}/{short:02}"),
        format!("{month}-{year}"),
        format!("{month}/{year}"),
    ]
    .into_iter()
    .map(other)
    .collect();
    found.extend(
        [
            format!("{year}-{month}"),
            format!("{year}-{month:02}"),
            format!("{year}/{month}"),
            format!("{year}/{month:02}"),
            format!("{year}年{month}月"),
        ]
        .map(same),
    );
    found
}

/// The spellings of a time of day.
fn times(text: &str) -> Vec<Original> {
    let (text, later) = match text.rsplit_once(' ') {
        Some((time, half)) if half.eq_ignore_ascii_case("am") => (time, Some(0)),
        Some((time, half)) if half.eq_ignore_ascii_case("pm") => (time, Some(12)),
        _ => (text, None),
    };
    let mut numbers = text.split(':');
    let mut next = || {
        numbers
            .next()
            .filter(|part| part.len() <= 2 && is_digits(part))
    };
    let (Some(hour), Some(minute)) = (next(), next()) else {
        return Vec::new();
    };
    let seconds = text.matches(':').count() == 2;
    if text.matches(':').count() > 2 || (seconds && next() != Some("00")) {
        return Vec::new();
    }
    let mut hour: u8 = hour.parse().unwrap_or_default();
    if let Some(later) = later {
        hour = hour % 12 + later;
    }
    [
        format!("{hour}:{minute}"),
        format!("{hour:02}:{minute}"),
        format!("{hour}:{minute}:00"),
        format!("{hour:02}:{minute}:00"),
    ]
    .into_iter()
    .map(same)
    .collect()
}

fn truths(text: &str) -> Vec<Original> {
    let spellings: &[&str] = match text.to_ascii_lowercase().as_str() {
        "true" | "真" => &["true", "True", "TRUE"],
        "false" | "假" => &["false", "False", "FALSE"],
        _ => &[],
    };
    spellings
        .iter()
        .map(|one| same((*one).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spreadsheets_make_of_a_text_is_known_again() {
        for (typed, written) in [
            ("007", "7"),
            ("02150932417", "2150932417"),
            ("13800000001", "13800000001.0"),
            ("007", "7.0"),
            ("1.50", "1.5"),
            ("1,200", "1200"),
            ("12.0", "12"),
            ("50%", "0.5"),
            (".5", "0.5"),
            ("3-5", "3月5日"),
            ("3/5", "2026-03-05"),
            ("3-5", "5-Mar"),
            ("3-5", "Mar-05"),
            ("12-35", "1935-12-01"),
            ("12-35", "Dec-35"),
            ("2026-11-01", "2026/11/1"),
            ("2026.11.1", "2026-11-01"),
            ("2026年11月1日", "2026/11/1"),
            ("2026-11", "2026-11-01"),
            ("9:00", "09:00"),
            ("9:00", "9:00:00"),
            ("9:00", "09:00:00 AM"),
            ("14:30", "02:30:00 PM"),
            ("1/2", "01/02/26"),
            ("2026-01-02", "01/02/26"),
            ("true", "TRUE"),
        ] {
            let found = originals(written);
            assert!(
                found.iter().any(|original| original.text == typed),
                "{typed} → {written}: {found:?}"
            );
        }
        for text in ["", "王记", "天平路3号", "7a", "1.2.3.4", "12:60:61:1", "-"] {
            assert_eq!(originals(text), [], "{text}");
        }
    }

    #[test]
    fn what_may_have_been_meant_is_doubtful() {
        let doubtful = |typed: &str, written: &str| {
            let found = originals(written);
            let original = found.iter().find(|original| original.text == typed);
            original.expect("it is known").doubtful
        };
        assert!(doubtful("007", "7") && doubtful("3-5", "3月5日"));
        assert!(!doubtful("2026-11-01", "2026/11/1") && !doubtful("1.50", "1.5"));
    }
}
