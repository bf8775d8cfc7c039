//! Text files (.csv, .tsv): bytes → one sheet. Encoding and delimiter are found out, not asked for.

use std::borrow::Cow;

use encoding_rs::{GB18030, UTF_8, UTF_16BE, UTF_16LE};

use crate::roll::sheet::{RollError, RollLimits, Sheet, headings};

/// Rows that decide on the delimiter.
const SAMPLE_ROWS: usize = 60;

pub(crate) fn sheet(bytes: &[u8], limits: &RollLimits) -> Result<Sheet, RollError> {
    let text = decode(bytes)?;
    // One kind of line end, and one at the end: the numbering of rows below counts them.
    let mut text = text.replace("\r\n", "\n").replace('\r', "\n");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut best: Option<(u32, u8)> = None;
    for delimiter in *b",\t;|" {
        let sample = Sheet {
            name: None,
            rows: rows(&text, delimiter, SAMPLE_ROWS, limits).unwrap_or_default(),
        };
        let score = headings::find(std::slice::from_ref(&sample)).map_or(0, |header| header.score);
        if best.is_none_or(|(best, _)| score > best) {
            best = Some((score, delimiter));
        }
    }
    let delimiter = best.map_or(b',', |(_, delimiter)| delimiter);
    let rows = rows(&text, delimiter, usize::MAX, limits)?;
    if rows.is_empty() {
        Err(RollError::Empty)
    } else {
        Ok(Sheet { name: None, rows })
    }
}

/// UTF-8 or UTF-16 by byte order mark, UTF-8 if it is valid, UTF-16 by its zero bytes, else GB18030.
fn decode(bytes: &[u8]) -> Result<String, RollError> {
    let (encoding, bytes) = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => (UTF_8, rest),
        [0xff, 0xfe, rest @ ..] => (UTF_16LE, rest),
        [0xfe, 0xff, rest @ ..] => (UTF_16BE, rest),
        _ if bytes.contains(&0) => {
            // Delimiters and digits have a zero half in UTF-16: first half in big-endian order, second in little-endian.
            let zeros = |from: usize| {
                bytes
                    .iter()
                    .skip(from)
                    .step_by(2)
                    .filter(|b| **b == 0)
                    .count()
            };
            (
                if zeros(0) > zeros(1) {
                    UTF_16BE
                } else {
                    UTF_16LE
                },
                bytes,
            )
        }
        _ if std::str::from_utf8(bytes).is_ok() => (UTF_8, bytes),
        _ => (GB18030, bytes),
    };
    let (text, damaged): (Cow<'_, str>, bool) = encoding.decode_without_bom_handling(bytes);
    if damaged {
        // A damaged byte or two in a large file is no reason to refuse the rest; a picture is.
        let lost = text.chars().filter(|c| *c == '\u{fffd}').count();
        if lost > 10 + text.len() / 1000 {
            return Err(RollError::Unreadable(format!(
                "not text in {}",
                encoding.name()
            )));
        }
    }
    if text.contains('\0') {
        return Err(RollError::Unreadable("binary data".into()));
    }
    Ok(text.into_owned())
}

fn rows(
    text: &str,
    delimiter: u8,
    rows_max: usize,
    limits: &RollLimits,
) -> Result<Vec<(u32, Vec<String>)>, RollError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let mut rows = Vec::new();
    let mut inner_lines: u64 = 0;
    while rows.len() < rows_max {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(RollError::Unreadable(error.to_string())),
        }
        // Excel counts a quoted line break within its row; the reader skips blank lines but counts them.
        inner_lines += record
            .iter()
            .map(|cell| cell.matches('\n').count() as u64)
            .sum::<u64>();
        let counted = u32::try_from(reader.position().line().saturating_sub(inner_lines + 1))
            .unwrap_or(u32::MAX);
        // A quotation mark that is never closed swallows the last line end: rows still count upwards.
        let row = counted.max(
            rows.last()
                .map_or(1, |(row, _): &(u32, Vec<String>)| row.saturating_add(1)),
        );
        let Some(last) = (0..record.len())
            .rev()
            .find(|&at| !record[at].trim().is_empty())
        else {
            continue;
        };
        if last >= limits.columns_max {
            return Err(RollError::TooManyColumns {
                row,
                columns_max: limits.columns_max,
            });
        }
        if record.iter().any(|cell| {
            cell.len() > limits.cell_chars_max && cell.chars().count() > limits.cell_chars_max
        }) {
            return Err(RollError::CellTooLong {
                row,
                chars_max: limits.cell_chars_max,
            });
        }
        if rows.len() >= limits.rows_max {
            return Err(RollError::TooManyRows {
                rows_max: limits.rows_max,
            });
        }
        rows.push((
            row,
            record
                .iter()
                .take(last + 1)
                .map(|cell| {
                    if cell.trim().is_empty() {
                        String::new()
                    } else {
                        cell.to_owned()
                    }
                })
                .collect(),
        ));
    }
    Ok(rows)
}
