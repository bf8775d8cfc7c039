//! Text files (.csv, .tsv, .txt): bytes → one sheet. Encoding and delimiter are found out, not asked for.
//!
//! Quotation marks are read as spreadsheets write them. One that is never closed, or that closes in the midst of another row, would swallow the
//! rows between: such a mark is taken for a sign of its cell, the cell ends where its line does, and the cell is told of.

use std::borrow::Cow;

use encoding_rs::{BIG5, Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};

use crate::{
    RollError, RollLimits, Sheet, Visibility,
    grid::{Flaw, GridBuilder, Left},
    headings,
};

/// Rows that decide on the delimiter.
const SAMPLE_ROWS: usize = 60;
/// Bytes that decide on the encoding where more than one fits.
const SAMPLE_BYTES: usize = 64 * 1024;
/// Signs that part cells, the likeliest first.
const DELIMITERS: [char; 13] = [
    ',', '\t', ';', '|', '，', '；', '｜', '^', '~', '、', ':', '\u{1f}', '\u{1}',
];
/// Lines of one cell, and their bytes, before its quotation mark counts as one that is never closed.
const CELL_LINES_MAX: usize = 500;

/// The sheet that the text holds.
pub(crate) fn sheet(text: &str, limits: &RollLimits) -> Result<Sheet, RollError> {
    let (told, text) = told_delimiter(text);
    let delimiter = told.unwrap_or_else(|| likeliest_delimiter(text, limits).0);
    let sheet = rows(text, delimiter, usize::MAX, limits)?;
    if sheet.rows.is_empty() {
        Err(RollError::Empty)
    } else {
        Ok(sheet)
    }
}

/// `sep=;` in a first line of its own, as Excel understands it and does not show it.
fn told_delimiter(text: &str) -> (Option<char>, &str) {
    let told = text
        .get(..4)
        .filter(|word| word.eq_ignore_ascii_case("sep="));
    let delimiter = told.and_then(|_| text[4..].chars().next());
    let line = delimiter.and_then(|delimiter| {
        let after = &text[4 + delimiter.len_utf8()..];
        let line = after.strip_prefix("\r\n");
        line.or(after.strip_prefix(['\n', '\r']))
    });
    match line {
        Some(line) => (delimiter, line),
        None => (None, text),
    }
}

/// The delimiter with which some row reads most like headings, and how much it does.
fn likeliest_delimiter(text: &str, limits: &RollLimits) -> (char, u32) {
    let mut best = (DELIMITERS[0], 0);
    for delimiter in DELIMITERS {
        let Ok(sample) = rows(text, delimiter, SAMPLE_ROWS, limits) else {
            continue;
        };
        let score = headings::find(std::slice::from_ref(&sample)).map_or(0, |header| header.score);
        if score > best.1 {
            best = (delimiter, score);
        }
    }
    best
}

/// UTF-8 or UTF-16 by byte order mark, UTF-8 if it is valid but for a byte here and there, UTF-16 by its zero bytes, else GB18030 or Big5,
/// whichever gives headings of a roll. What cannot be read stands as U+FFFD.
pub(crate) fn decode<'b>(bytes: &'b [u8], limits: &RollLimits) -> Result<Cow<'b, str>, RollError> {
    let (encoding, bytes) = match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            return Err(RollError::OtherFormat {
                zh: "UTF-32 编码的文本",
                en: "text in UTF-32",
            });
        }
        [0xff, 0xfe, rest @ ..] => (UTF_16LE, rest),
        [0xfe, 0xff, rest @ ..] => (UTF_16BE, rest),
        // A mark for UTF-8 stands also before other bytes, put there by hand.
        [0xef, 0xbb, 0xbf, rest @ ..] => (narrow(rest, limits), rest),
        _ => (wide(bytes).unwrap_or_else(|| narrow(bytes, limits)), bytes),
    };
    let (text, damaged): (Cow<'_, str>, bool) = match line_by_line(bytes, encoding) {
        Some(text) => {
            let damaged = text.contains('\u{fffd}');
            (Cow::Owned(text), damaged)
        }
        None => encoding.decode_without_bom_handling(bytes),
    };
    let zeros = text.bytes().filter(|byte| *byte == 0).count();
    if damaged || zeros > 0 {
        // A damaged byte or two in a large file is no reason to refuse the rest; a picture is.
        let lost = zeros + text.chars().filter(|c| *c == '\u{fffd}').count();
        if lost > 10 + text.len() / 1000 {
            return Err(RollError::Unreadable(format!(
                "not text in {}",
                encoding.name()
            )));
        }
    }
    let text = if zeros > 0 {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        text
    };
    Ok(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_start_matches('\u{feff}')),
        owned @ Cow::Owned(_) => owned,
    })
}

/// Lines that somebody added in another encoding: of UTF-8 within GB18030 or Big5, and of GB18030 within UTF-8. Nothing where every line is of one.
fn line_by_line(bytes: &[u8], encoding: &'static Encoding) -> Option<String> {
    let is_whole = || encoding == UTF_8 && std::str::from_utf8(bytes).is_ok();
    if encoding == UTF_16LE || encoding == UTF_16BE || is_whole() {
        return None;
    }
    let other = |line: &[u8]| -> Option<&'static Encoding> {
        if line.is_ascii() {
            return None;
        }
        let (whole, broken) = utf8_signs(line);
        if encoding == UTF_8 {
            let (_, lost) = GB18030.decode_without_bom_handling(line);
            (broken > whole && !lost).then_some(GB18030)
        } else {
            // Signs of three bytes, none of them broken: in another encoding that is no accident.
            let is_utf8 = broken == 0 && whole >= 2 && !has_short_signs(line);
            is_utf8.then_some(UTF_8)
        }
    };
    let lines = || bytes.split_inclusive(|b| *b == b'\n');
    if !lines().any(|line| other(line).is_some())
        || !lines().any(|line| !line.is_ascii() && other(line).is_none())
    {
        return None;
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    for line in lines() {
        let (line, _) = other(line)
            .unwrap_or(encoding)
            .decode_without_bom_handling(line);
        text.push_str(&line);
    }
    Some(text)
}

/// Signs beyond ASCII that are whole in UTF-8, and places that are broken.
fn utf8_signs(bytes: &[u8]) -> (usize, usize) {
    let (mut whole, mut broken) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        whole += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    (whole, broken)
}

/// Whether a text in UTF-8 has signs of two bytes, as two bytes of another encoding look by accident.
fn has_short_signs(bytes: &[u8]) -> bool {
    bytes
        .utf8_chunks()
        .any(|chunk| chunk.valid().chars().any(|c| c.len_utf8() == 2))
}

/// UTF-16 without a mark: delimiters, digits and line ends have a zero half, always the same one.
fn wide(bytes: &[u8]) -> Option<&'static Encoding> {
    let zeros = |from: usize| {
        let halves = bytes.iter().skip(from).step_by(2);
        halves.filter(|byte| **byte == 0).count()
    };
    let (first, second) = (zeros(0), zeros(1));
    let (more, less) = (first.max(second), first.min(second));
    let many = more > 2 && more * 50 > bytes.len() && less * 10 <= more;
    many.then_some(if first > second { UTF_16BE } else { UTF_16LE })
}

fn narrow(bytes: &[u8], limits: &RollLimits) -> &'static Encoding {
    let (whole, broken) = utf8_signs(bytes);
    // In any other encoding of Chinese hardly a sign is one of UTF-8.
    if broken * 3 <= whole {
        return UTF_8;
    }
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let score = |encoding: &'static Encoding| {
        let (text, _) = encoding.decode_without_bom_handling(sample);
        let lost = text.chars().filter(|c| *c == '\u{fffd}').count();
        let (_, score) = likeliest_delimiter(&text, limits);
        (score, std::cmp::Reverse(lost))
    };
    if score(BIG5) > score(GB18030) {
        BIG5
    } else {
        GB18030
    }
}

fn rows(
    text: &str,
    delimiter: char,
    rows_max: usize,
    limits: &RollLimits,
) -> Result<Sheet, RollError> {
    let mut left = Left::of(limits);
    let mut grid = GridBuilder::new(limits);
    let mut fields = Fields {
        rest: text,
        delimiter,
        columns: None,
        column: 0,
    };
    let (mut row, mut column, mut filled) = (0_u32, 0_u32, 0_usize);
    let mut blank = true;
    while let Some(field) = fields.next() {
        if field.unclosed {
            grid.flaw(row, column, Flaw::Quote);
        }
        if !field.text.trim().is_empty() {
            grid.text(row, column, &field.text, &mut left)?;
            blank = false;
            if fields.columns.is_some_and(|most| column as usize >= most) {
                grid.flaw(row, column, Flaw::Surplus);
            }
        }
        if !field.last {
            column += 1;
            continue;
        }
        if !blank {
            filled += 1;
            // The first row with more than a title tells how many cells a row has.
            if fields.columns.is_none() && column > 0 {
                fields.columns = Some(column as usize + 1);
            }
        }
        if filled >= rows_max {
            break;
        }
        (row, column, blank) = (row.saturating_add(1), 0, true);
    }
    let (rows, flaws) = grid.finish()?;
    Ok(Sheet {
        name: None,
        visibility: Visibility::Visible,
        date1904: false,
        rows,
        flaws,
    })
}

struct Fields<'t> {
    rest: &'t str,
    delimiter: char,
    /// Cells of a row, once a row was read.
    columns: Option<usize>,
    /// Cells of this row that were read.
    column: usize,
}

struct TextField<'t> {
    text: Cow<'t, str>,
    /// It ends its row.
    last: bool,
    /// It begins with a quotation mark that nothing closes.
    unclosed: bool,
}

impl<'t> Fields<'t> {
    fn next(&mut self) -> Option<TextField<'t>> {
        if self.rest.is_empty() {
            return None;
        }
        let unquoted = self.rest.trim_start_matches(' ');
        if let Some(inner) = unquoted.strip_prefix('"') {
            if let Some((text, after)) = self.quoted(inner) {
                return Some(self.ended(text, after, false));
            }
            // As it stands, without the mark that has no partner.
            let end = self.line_end(unquoted);
            let (text, after) = unquoted.split_at(end);
            let single = text.matches('"').count() % 2 == 1;
            let text = if single { &text[1..] } else { text };
            return Some(self.ended(Cow::Borrowed(text), after, single));
        }
        if unquoted.starts_with("=\"")
            && let Some(end) = self.spelled_end(unquoted)
        {
            let (text, after) = unquoted.split_at(end);
            return Some(self.ended(Cow::Borrowed(text), after, false));
        }
        let (text, after) = self.rest.split_at(self.line_end(self.rest));
        Some(self.ended(Cow::Borrowed(text), after, false))
    }

    /// The field, when what follows begins with a delimiter, a line end or nothing.
    fn ended(&mut self, text: Cow<'t, str>, after: &'t str, unclosed: bool) -> TextField<'t> {
        let mut last = false;
        self.rest = if let Some(rest) = after.strip_prefix(self.delimiter) {
            // A delimiter at the very end is followed by one more cell, which is blank.
            last = rest.is_empty();
            rest
        } else {
            last |= true;
            let rest = after.strip_prefix("\r\n");
            rest.or(after.strip_prefix(['\n', '\r'])).unwrap_or(after)
        };
        self.column = if last { 0 } else { self.column + 1 };
        TextField {
            text,
            last,
            unclosed,
        }
    }

    fn line_end(&self, text: &str) -> usize {
        text.find([self.delimiter, '\n', '\r'])
            .unwrap_or(text.len())
    }

    /// `="…"`, within which a delimiter is none.
    fn spelled_end(&self, text: &str) -> Option<usize> {
        let line = text.find(['\n', '\r']).unwrap_or(text.len());
        let mut from = 2;
        loop {
            let quote = from + text.get(from..line)?.find('"')?;
            let after = &text[quote + 1..];
            if after.starts_with('"') {
                from = quote + 2;
            } else {
                let ends = after.is_empty() || after.starts_with([self.delimiter, '\n', '\r']);
                return ends.then_some(quote + 1);
            }
        }
    }

    /// What stands behind an opening quotation mark up to the one that closes it, and what follows that. Nothing where none does.
    fn quoted(&self, inner: &'t str) -> Option<(Cow<'t, str>, &'t str)> {
        let mut from = 0;
        let (mut doubled, mut odd, mut lines) = (false, false, 0);
        loop {
            let at = from + inner[from..].find(['"', '\n', '\r'])?;
            if !inner[at..].starts_with('"') {
                lines += 1;
                // A mark in the midst of the text, and then a line end: the text was none in quotation marks.
                if odd || lines > CELL_LINES_MAX {
                    return None;
                }
                from = at + 1;
                continue;
            }
            let after = &inner[at + 1..];
            if after.starts_with('"') {
                doubled = true;
                from = at + 2;
                continue;
            }
            let behind = after.trim_start_matches(' ');
            if behind.is_empty() || behind.starts_with([self.delimiter, '\n', '\r']) {
                let text = &inner[..at];
                if lines > 0 && self.swallows_rows(text, behind) {
                    return None;
                }
                let text = if doubled {
                    Cow::Owned(text.replace("\"\"", "\""))
                } else {
                    Cow::Borrowed(text)
                };
                return Some((text, behind));
            }
            odd = true;
            from = at + 1;
        }
    }

    /// Whether the lines of a quoted text are rows of the table: one within it has all of a row's cells, or both ends of it make whole rows.
    fn swallows_rows(&self, text: &str, behind: &str) -> bool {
        let Some(columns) = self.columns.filter(|columns| *columns >= 3) else {
            return false;
        };
        let cells = |line: &str| line.matches(self.delimiter).count() + 1;
        let mut lines = text.split(['\n', '\r']).filter(|line| !line.is_empty());
        let first = lines.next().map_or(0, cells);
        let last = lines.next_back().map_or(0, cells);
        let rest = &behind[..behind.find(['\n', '\r']).unwrap_or(behind.len())];
        let ends = self.column + first == columns && last + cells(rest) - 1 == columns;
        ends || lines.any(|line| cells(line) == columns)
    }
}
