//! What a spreadsheet did to a cell → the right text, or none and a problem that says so.
//!
//! Some of it shows in the cell alone (an error, a lost digit); some only where the column is known: a date is right in a column of dates, and
//! the ruin of 3-5 in one of house numbers. Messages never repeat what may be somebody's number.

use lianka_sync_core::{
    kinds::{Meaning, kind::AddressPart},
    values::{date, text::half_width},
};
use time::{Duration, UtcOffset};

use crate::{
    ColumnTarget, Problem, ProblemCode, RollColumn, Sheet, Visibility,
    formats::Shown,
    grid::{Flaw, Flawed},
    xlsx::DAYS_TO_1904,
};

/// Flaws of the whole sheet that are told one by one.
const TOLD_MAX: usize = 200;

/// What there is to say about the sheets: hidden ones, damaged ones, cells far outside.
pub(crate) fn about_sheets(
    sheets: &[Sheet],
    read: usize,
    hidden: Option<usize>,
    damaged: &[String],
    header_row: u32,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut tell = |code, zh: String, en: String| {
        problems.push(Problem::new(code, header_row, None, zh, en));
    };
    let name = |at: usize| sheets[at].name.as_deref().unwrap_or_default();
    if sheets[read].visibility != Visibility::Visible {
        let name = name(read);
        tell(
            ProblemCode::HiddenSheetRead,
            format!("看得见的工作表中没有台账，读取的是隐藏的工作表“{name}”，请核对"),
            format!(
                "no visible sheet holds a roll; the hidden sheet “{name}” was read: please check it"
            ),
        );
    } else if let Some(hidden) = hidden {
        let name = name(hidden);
        tell(
            ProblemCode::HiddenSheet,
            format!(
                "隐藏的工作表“{name}”看起来也是台账，本次没有读取；如需导入请取消隐藏后单独保存"
            ),
            format!(
                "the hidden sheet “{name}” looks like a roll too and was not read; to import it, show it and save it by itself"
            ),
        );
    }
    for name in damaged {
        tell(
            ProblemCode::SheetUnreadable,
            format!("工作表“{name}”已损坏，没有读取；请打开后另存为 .xlsx"),
            format!("the sheet “{name}” is damaged and was not read; open it and save it as .xlsx"),
        );
    }
    let far = sheets[read].flaws.iter().filter(|f| f.flaw == Flaw::Far);
    for flawed in far.take(TOLD_MAX) {
        let place = format!("{}{}", letters(flawed.column), flawed.row);
        problems.push(Problem::new(
            ProblemCode::FarCell,
            flawed.row,
            None,
            format!("单元格 {place} 远在表格之外，没有读取；如无用请删去"),
            format!("the cell {place} is far outside the table and was not read; delete it if it is not needed"),
        ));
    }
    problems
}

/// Letters of a column as spreadsheets show them.
fn letters(column: u32) -> String {
    let mut out = String::new();
    let mut rest = column + 1;
    while rest > 0 {
        rest -= 1;
        out.insert(0, char::from(b'A' + (rest % 26) as u8));
        rest /= 26;
    }
    out
}

/// The flaws of one row.
pub(crate) fn of_row(sheet: &Sheet, row: u32) -> &[Flawed] {
    let from = sheet.flaws.partition_point(|flawed| flawed.row < row);
    let rest = &sheet.flaws[from..];
    &rest[..rest.partition_point(|flawed| flawed.row == row)]
}

/// Cells of a row behind the last heading, where the row has more cells than the first ones of the file. Below a title of fewer cells a heading says
/// that they belong.
pub(crate) fn surplus(sheet: &Sheet, row: u32, columns: &[RollColumn]) -> Vec<usize> {
    of_row(sheet, row)
        .iter()
        .filter(|flawed| flawed.flaw == Flaw::Surplus)
        .map(|flawed| flawed.column as usize)
        .filter(|at| {
            columns
                .get(*at)
                .is_some_and(|column| column.heading == column.letters)
        })
        .collect()
}

/// What a column expects of its cells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// A day.
    Date,
    /// A number as people write it, never a date or a fraction: a house number, a telephone number.
    Number,
    /// Text in which a date is out of place.
    Text,
    /// Anything.
    Anything,
}

fn expects(target: &ColumnTarget) -> Expects {
    match target {
        ColumnTarget::Field(field) => match field.meaning {
            Meaning::Confirmation => Expects::Date,
            Meaning::AddressPart(AddressPart::Road) => Expects::Text,
            Meaning::AddressPart(_) | Meaning::CreditCode => Expects::Number,
            Meaning::Note | Meaning::Point => Expects::Anything,
            _ => Expects::Text,
        },
        ColumnTarget::Contact { part, .. } if part.meaning == Meaning::Telephone => Expects::Number,
        ColumnTarget::Contact { .. } | ColumnTarget::Area => Expects::Text,
        _ => Expects::Anything,
    }
}

fn is_of_telephones(target: &ColumnTarget) -> bool {
    matches!(target, ColumnTarget::Contact { part, .. } if part.meaning == Meaning::Telephone)
}

/// A column of house numbers, lanes or rooms.
fn is_of_a_door(target: &ColumnTarget) -> bool {
    matches!(target, ColumnTarget::Field(field)
        if matches!(field.meaning, Meaning::AddressPart(part) if part != AddressPart::Road))
}

/// A time, a share or a fraction: what spreadsheets make of 3:05, 12% and 1/2.
fn is_no_door(cell: &str) -> bool {
    let plain = half_width(cell.trim());
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parted = |by: char| {
        let parts: Vec<&str> = plain.split(by).collect();
        parts.len() > 1 && parts.iter().all(|part| digits(part))
    };
    parted(':')
        || plain.matches('.').count() == 1 && parted('.')
        || plain
            .strip_suffix('%')
            .is_some_and(|share| share.replace('.', "").bytes().all(|b| b.is_ascii_digit()))
}

/// Mends the cells of a row, and says what could not be mended.
pub(crate) fn mend(
    sheet: &Sheet,
    row: u32,
    cells: &mut [String],
    columns: &[RollColumn],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let flaws = of_row(sheet, row);
    for flawed in flaws {
        if flawed.flaw == Flaw::Scientific {
            let column = columns.get(flawed.column as usize);
            // What was typed for a telephone number is kept, and told of, as every mistyped one.
            if column.is_some_and(|column| is_of_telephones(&column.target)) {
                continue;
            }
            if let Some(cell) = cells.get_mut(flawed.column as usize) {
                cell.clear();
            }
        }
        let heading = columns
            .get(flawed.column as usize)
            .map(|column| column.heading.as_str());
        problems.extend(told(flawed, heading));
    }
    for (at, (cell, column)) in cells.iter_mut().zip(columns).enumerate() {
        if cell.is_empty() {
            continue;
        }
        let shown = flaws.iter().find_map(|flawed| match flawed.flaw {
            Flaw::Date(shown) if flawed.column as usize == at => Some(shown),
            _ => None,
        });
        let expects = expects(&column.target);
        if let Some(day) = zoned(cell) {
            *cell = day;
        }
        match expects {
            Expects::Date => moved_from_1904(sheet.date1904, cell),
            Expects::Number | Expects::Text => {
                if expects == Expects::Number {
                    without_fraction(cell);
                }
                let number = expects == Expects::Number;
                let date = match shown {
                    Some(shown) => Some(house_number(cell, shown)),
                    None => written_date(cell, number),
                };
                if let Some(typed) = date {
                    problems.push(date_problem(row, &column.heading, &typed));
                    *cell = typed.text();
                } else if is_of_a_door(&column.target) && is_no_door(cell) {
                    problems.push(no_door_problem(row, &column.heading));
                    cell.clear();
                }
            }
            Expects::Anything => {
                // In a column of its own a day is a day where it is shown as one.
                let of_dates = ["日", "期", "时", "月", "date", "time", "day"]
                    .iter()
                    .any(|word| column.heading.to_lowercase().contains(word));
                if let (Some(Shown::MonthDay), false, ColumnTarget::Custom(_)) =
                    (shown, of_dates, &column.target)
                {
                    let typed = house_number(cell, Shown::MonthDay);
                    problems.push(date_problem(row, &column.heading, &typed));
                    *cell = typed.text();
                }
            }
        }
    }
    problems
}

fn told(flawed: &Flawed, heading: Option<&str>) -> Option<Problem> {
    let (code, zh, en) = match &flawed.flaw {
        Flaw::Error(error) => {
            let error: String = error.chars().take(20).collect();
            (
                ProblemCode::CellError,
                format!("单元格显示错误值 {error}，按空白处理；请在表格中改正后重新导入"),
                format!("the cell shows the error {error} and counts as empty; mend it in the sheet and import again"),
            )
        }
        Flaw::NoValue => (
            ProblemCode::FormulaWithoutValue,
            "单元格是公式，文件中没有计算结果，按空白处理；请用 Excel 或 WPS 打开并保存一次，或粘贴为数值".to_owned(),
            "the cell is a formula whose result the file does not hold, and counts as empty; open and save the file once, or paste values".to_owned(),
        ),
        Flaw::Number | Flaw::Scientific => (
            ProblemCode::NumberDamaged,
            "数字超过 15 位或显示为科学记数，后几位已丢失，按空白处理；请把该列设为文本格式后重新填写".to_owned(),
            "a number of more than 15 digits, or in scientific notation, has lost its last digits and counts as empty; set the column to text and type it again".to_owned(),
        ),
        Flaw::Picture => (
            ProblemCode::PictureInCell,
            "单元格里是图片，按空白处理；请改填文字".to_owned(),
            "the cell holds a picture and counts as empty; please type its text".to_owned(),
        ),
        Flaw::Bytes => (
            ProblemCode::TextDamaged,
            "单元格有损坏的字符，按空白处理；请核对原文后重新填写".to_owned(),
            "the cell has damaged characters and counts as empty; check the original and type it again".to_owned(),
        ),
        Flaw::Quote => (
            ProblemCode::QuoteUnclosed,
            "单元格的引号没有配对，已在行末结束该单元格；请核对本行".to_owned(),
            "the cell's quotation mark is never closed; the cell was ended with its line: please check the row".to_owned(),
        ),
        Flaw::HiddenRow => {
            let (zh, en) = (
                "本行在表格中是隐藏的，已照常读取；如不需要请在表格中删去",
                "the row is hidden in the sheet and was read like the others; delete it if it is not wanted",
            );
            return Some(Problem::new(ProblemCode::HiddenRow, flawed.row, None, zh, en));
        }
        Flaw::Date(_) | Flaw::Far | Flaw::Surplus => return None,
    };
    Some(Problem::new(code, flawed.row, heading, zh, en))
}

/// What a date was before the spreadsheet made one of it.
enum Typed {
    As(String),
    Unknown,
}

impl Typed {
    fn known(text: Option<String>) -> Self {
        text.map_or(Self::Unknown, Self::As)
    }

    fn text(self) -> String {
        match self {
            Self::As(text) => text,
            Self::Unknown => String::new(),
        }
    }
}

fn date_problem(row: u32, heading: &str, typed: &Typed) -> Problem {
    let (zh, en) = match typed {
        Typed::As(meant) => (
            format!("表格软件把它变成了日期，已按“{meant}”读取，请核对；请把该列设为文本格式"),
            format!("the spreadsheet made a date of it; read as “{meant}”: please check it, and set the column to text"),
        ),
        Typed::Unknown => (
            "这里应是编号，却是日期（可能是 3-5 这样的编号被表格软件变成了日期），按空白处理；请把该列设为文本格式后重新填写".to_owned(),
            "a date where a number belongs (perhaps 3-5, made a date by the spreadsheet): it counts as empty; set the column to text and type it again".to_owned(),
        ),
    };
    Problem::new(ProblemCode::DateInPlaceOfNumber, row, Some(heading), zh, en)
}

fn no_door_problem(row: u32, heading: &str) -> Problem {
    let (zh, en) = (
        "这里应是编号，却是时间、百分数或小数（可能是 3:05、1/2 这样的编号被表格软件改写），按空白处理；请把该列设为文本格式后重新填写",
        "a time, a share or a fraction where a number belongs (perhaps 3:05 or 1/2, rewritten by the spreadsheet): it counts as empty; set the column to text and type it again",
    );
    Problem::new(ProblemCode::DateInPlaceOfNumber, row, Some(heading), zh, en)
}

/// What a date was typed as, where its format leaves only one answer: 3-5 shows as 3月5日, 1-32 as Jan-32.
fn house_number(text: &str, shown: Shown) -> Typed {
    Typed::known(date::parse(text).and_then(|day| match shown {
        Shown::MonthDay => Some(format!("{}-{}", u8::from(day.month()), day.day())),
        // Of the two digits behind the month a year was made; from 32 on they can be no day.
        Shown::YearMonth if day.day() == 1 && day.year() % 100 > 31 => {
            Some(format!("{}-{}", u8::from(day.month()), day.year() % 100))
        }
        _ => None,
    }))
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// A date that a text shows in a column without dates: `3月5日`, `5-Mar`, `2026/3/5`.
fn written_date(text: &str, number: bool) -> Option<Typed> {
    let plain = half_width(text.trim()).to_lowercase();
    if plain.len() > 24 || !plain.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let small = |text: &str, most: u8| text.parse::<u8>().ok().filter(|n| (1..=most).contains(n));
    if let Some((month, day)) = plain
        .strip_suffix('日')
        .and_then(|rest| rest.split_once('月'))
        && let (Some(month), Some(day)) = (small(month, 12), small(day, 31))
    {
        return Some(Typed::As(format!("{month}-{day}")));
    }
    if let Some((first, second)) = plain.split_once('-') {
        let month = |name: &str| {
            let known = MONTHS.iter().position(|known| name.starts_with(known));
            known.filter(|_| name.len() <= 9).map(|at| at + 1)
        };
        if let (Some(day), Some(month)) = (small(first, 31), month(second)) {
            return Some(Typed::As(format!("{month}-{day}")));
        }
        if let (Some(month), Ok(year)) = (month(first), second.parse::<u16>()) {
            let year = year % 100;
            return Some(Typed::known((year > 31).then(|| format!("{month}-{year}"))));
        }
    }
    // A whole date, and the serial day that a date without its format is; no house has such a number.
    let whole =
        plain.len() >= 8 && plain.contains(['-', '/', '年', '.']) && date::parse(&plain).is_some();
    let serial = plain.len() == 5
        && plain
            .parse::<u32>()
            .is_ok_and(|n| (43_000..50_000).contains(&n));
    (number && (whole || serial)).then_some(Typed::Unknown)
}

/// 12.0 → 12, as programs write a whole number that stood in a column with blanks.
fn without_fraction(cell: &mut String) {
    let whole = cell.trim().split_once('.').and_then(|(whole, fraction)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (digits(whole) && digits(fraction) && fraction.bytes().all(|b| b == b'0'))
            .then(|| whole.to_owned())
    });
    if let Some(whole) = whole {
        *cell = whole;
    }
}

/// A serial day of the system that begins with 1904, where its format was lost.
fn moved_from_1904(date1904: bool, cell: &mut String) {
    if date1904
        && let Ok(serial) = cell.trim().parse::<f64>()
        && (1_000.0..100_000.0).contains(&serial)
        && let Some(day) = date::from_excel_serial(serial + DAYS_TO_1904)
    {
        *cell = date::to_iso(day);
    }
}

/// A moment with its zone, `2026-03-04T16:00:00Z`, as the day and minute in China.
fn zoned(cell: &str) -> Option<String> {
    let text = cell.trim();
    let (day, clock) = text
        .split_once(['T', 't', ' '])
        .filter(|(day, _)| day.len() == 10)?;
    let clock = clock.trim();
    let at = clock
        .rfind(['Z', 'z', '+', '-'])
        .or_else(|| clock.find(" UTC").or(clock.find(" GMT")))?;
    let (time, zone) = clock.split_at(at);
    let mut parts = time.trim().split([':', '.']).map(str::parse::<u8>);
    let hour = parts.next()?.ok()?;
    let minute = parts.next()?.ok()?;
    let zone = zone
        .trim()
        .trim_start_matches("UTC")
        .trim_start_matches("GMT");
    let offset = match zone {
        "Z" | "z" | "" => 0,
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
            let hours: i64 = digits.get(..2)?.parse().ok()?;
            let minutes: i64 = digits.get(2..4).map_or(Ok(0), str::parse).ok()?;
            sign * (hours * 60 + minutes)
        }
    };
    let day = date::parse(day)?;
    let utc = day.with_hms(hour, minute, 0).ok()? - Duration::minutes(offset);
    let here = utc
        .assume_utc()
        .to_offset(UtcOffset::from_hms(8, 0, 0).ok()?);
    let day = date::to_iso(here.date());
    Some(if (here.hour(), here.minute()) == (0, 0) {
        day
    } else {
        format!("{day} {:02}:{:02}", here.hour(), here.minute())
    })
}
