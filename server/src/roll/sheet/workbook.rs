//! Workbooks (.xlsx): bytes → sheets, within bounds.
//!
//! A workbook is a zip of XML. Its declared sizes are checked first, then every part is unpacked once into nothing and counted,
//! because the declaration may lie; only then does the reader see it. The reader makes room for as many shared strings as the part claims
//! (a failed allocation ends the process), and does sums with cell references that it does not check: the first is looked for, the second caught. Cells are streamed into the rows they belong to: a
//! lone cell in the last row of a sheet costs one row, not the million before it.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read},
    panic,
};

use calamine::{Data, DataRef, ExcelDateTime, Reader, Xlsx};
use lianka_sync_core::values::date;

use crate::roll::sheet::{RollError, RollLimits, Sheet};

/// Sheets of one workbook that are looked at.
const SHEETS_MAX: usize = 50;
/// Merged regions of one sheet, and rows they may touch together.
const MERGES_MAX: usize = 5_000;
const MERGED_ROWS_MAX: usize = 1_000_000;

pub(crate) fn sheets(bytes: &[u8], limits: &RollLimits) -> Result<Vec<Sheet>, RollError> {
    refuse_bomb(bytes, limits)?;
    // What the reader stumbles over is the file's fault; nothing of it is used afterwards.
    panic::catch_unwind(|| read(bytes, limits))
        .unwrap_or_else(|_| Err(unreadable("the parts contradict each other")))
}

fn read(bytes: &[u8], limits: &RollLimits) -> Result<Vec<Sheet>, RollError> {
    let mut workbook = Xlsx::new(Cursor::new(bytes)).map_err(unreadable)?;
    let names: Vec<String> = workbook
        .sheet_names()
        .into_iter()
        .take(SHEETS_MAX)
        .collect();
    let mut sheets = Vec::new();
    let mut text_bytes_left = limits.text_bytes_max;
    for name in names {
        // Chart sheets have no cells; one damaged sheet should not hide the others.
        match sheet(&mut workbook, &name, limits, &mut text_bytes_left) {
            Ok(rows) if !rows.is_empty() => sheets.push(Sheet {
                name: Some(name),
                rows,
            }),
            Ok(_) | Err(RollError::Unreadable(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if sheets.is_empty() {
        Err(RollError::Empty)
    } else {
        Ok(sheets)
    }
}

fn unreadable(error: impl std::fmt::Display) -> RollError {
    RollError::Unreadable(error.to_string())
}

fn refuse_bomb(bytes: &[u8], limits: &RollLimits) -> Result<(), RollError> {
    let too_large = RollError::UnpackedTooLarge {
        bytes_max: limits.unpacked_bytes_max,
    };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(unreadable)?;
    if archive.len() > limits.parts_max {
        return Err(too_large);
    }
    let mut declared: u64 = 0;
    for at in 0..archive.len() {
        declared = declared.saturating_add(archive.by_index_raw(at).map_err(unreadable)?.size());
    }
    if declared > limits.unpacked_bytes_max {
        return Err(too_large);
    }
    let mut left = limits.unpacked_bytes_max;
    for at in 0..archive.len() {
        let mut part = archive.by_index(at).map_err(unreadable)?.take(left + 1);
        let mut claims = StringClaims::default();
        let unpacked = io::copy(&mut part, &mut claims).map_err(unreadable)?;
        left = left
            .checked_sub(unpacked)
            .ok_or_else(|| too_large.clone())?;
        // No roll has more texts than cells.
        if claims.largest > (limits.rows_max * limits.columns_max) as u64 {
            return Err(too_large);
        }
    }
    Ok(())
}

/// Looks for `uniqueCount="…"` in whatever part and encoding it stands, as it flows by.
#[derive(Default)]
struct StringClaims {
    state: Claim,
    largest: u64,
}

enum Claim {
    /// So many letters of the name were met.
    Name(usize),
    Equals,
    Quote,
    Digits(u64),
}

impl Default for Claim {
    fn default() -> Self {
        Self::Name(0)
    }
}

impl StringClaims {
    const NAME: &[u8] = b"uniqueCount";

    fn next(&mut self, byte: u8) {
        let begin = Claim::Name(usize::from(byte == Self::NAME[0]));
        self.state = match (&self.state, byte) {
            (Claim::Name(at), byte) if byte == Self::NAME[*at] && at + 1 == Self::NAME.len() => {
                Claim::Equals
            }
            (Claim::Name(at), byte) if byte == Self::NAME[*at] => Claim::Name(at + 1),
            (Claim::Equals, b'=') => Claim::Quote,
            (Claim::Equals, byte) if byte.is_ascii_whitespace() => Claim::Equals,
            (Claim::Quote, b'"' | b'\'') => Claim::Digits(0),
            (Claim::Quote, byte) if byte.is_ascii_whitespace() => Claim::Quote,
            (Claim::Digits(claimed), b'0'..=b'9') => Claim::Digits(
                claimed
                    .saturating_mul(10)
                    .saturating_add(u64::from(byte - b'0')),
            ),
            (Claim::Digits(claimed), b'"' | b'\'' | b'<') => {
                self.largest = self.largest.max(*claimed);
                Claim::Name(0)
            }
            (Claim::Digits(claimed), _) => Claim::Digits(*claimed),
            _ => begin,
        };
    }
}

impl io::Write for StringClaims {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Of two-byte letters only the one byte that is not zero.
        bytes
            .iter()
            .filter(|byte| **byte != 0)
            .for_each(|byte| self.next(*byte));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Rows = BTreeMap<u32, BTreeMap<u32, String>>;

fn sheet(
    workbook: &mut Xlsx<Cursor<&[u8]>>,
    name: &str,
    limits: &RollLimits,
    text_bytes_left: &mut usize,
) -> Result<Vec<(u32, Vec<String>)>, RollError> {
    let mut rows = Rows::new();
    let mut reader = workbook.worksheet_cells_reader(name).map_err(unreadable)?;
    while let Some(cell) = reader.next_cell().map_err(unreadable)? {
        let (row, column) = cell.get_position();
        let text = text_of(cell.get_value());
        if text.trim().is_empty() {
            continue;
        }
        if column as usize >= limits.columns_max {
            return Err(RollError::TooManyColumns {
                row: row.saturating_add(1),
                columns_max: limits.columns_max,
            });
        }
        if text.chars().count() > limits.cell_chars_max {
            return Err(RollError::CellTooLong {
                row: row.saturating_add(1),
                chars_max: limits.cell_chars_max,
            });
        }
        if rows.len() >= limits.rows_max && !rows.contains_key(&row) {
            return Err(RollError::TooManyRows {
                rows_max: limits.rows_max,
            });
        }
        *text_bytes_left =
            text_bytes_left
                .checked_sub(text.len())
                .ok_or(RollError::UnpackedTooLarge {
                    bytes_max: limits.text_bytes_max as u64,
                })?;
        rows.entry(row).or_default().insert(column, text);
    }
    drop(reader);
    fill_merged(workbook, name, &mut rows, text_bytes_left);
    Ok(rows
        .into_iter()
        .map(|(row, cells)| {
            let width = cells
                .last_key_value()
                .map_or(0, |(column, _)| *column as usize + 1);
            let mut texts = vec![String::new(); width];
            for (column, text) in cells {
                texts[column as usize] = text;
            }
            (row.saturating_add(1), texts)
        })
        .collect())
}

/// A cell merged over several rows (an area's name beside all of its shops) says the same for each of them.
fn fill_merged(
    workbook: &mut Xlsx<Cursor<&[u8]>>,
    name: &str,
    rows: &mut Rows,
    text_bytes_left: &mut usize,
) {
    // A workbook without readable merges still has its cells.
    let Ok(merges) = workbook.merge_cells_by_sheet_name(name) else {
        return;
    };
    let mut rows_left = MERGED_ROWS_MAX;
    for merge in merges.into_iter().take(MERGES_MAX) {
        let ((top, left), (bottom, right)) = (merge.start, merge.end);
        if bottom <= top || left != right {
            continue;
        }
        let Some(text) = rows.get(&top).and_then(|cells| cells.get(&left)).cloned() else {
            continue;
        };
        // Only rows that have cells of their own: a merge does not make a row.
        for (_, cells) in rows.range_mut(top..=bottom) {
            let (Some(rows), Some(bytes)) = (
                rows_left.checked_sub(1),
                text_bytes_left.checked_sub(text.len()),
            ) else {
                return;
            };
            (rows_left, *text_bytes_left) = (rows, bytes);
            cells.entry(left).or_insert_with(|| text.clone());
        }
    }
}

fn text_of(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Empty => String::new(),
        DataRef::String(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => plain_number(*number),
        DataRef::Bool(truth) => if *truth { "TRUE" } else { "FALSE" }.to_owned(),
        DataRef::DateTime(moment) => moment_text(*moment),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            text.strip_suffix("T00:00:00").unwrap_or(text).to_owned()
        }
        DataRef::Error(error) => Data::Error(error.clone()).to_string(),
    }
}

/// A number as people would type it: a phone number kept as a number must not become 1.6e10.
fn plain_number(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        format!("{number:.0}")
    } else {
        number.to_string()
    }
}

fn moment_text(moment: ExcelDateTime) -> String {
    let serial = moment.as_f64();
    let (year, month, day, hour, minute, _, _) = moment.to_ymd_hms_milli();
    let clock = format!("{hour:02}:{minute:02}");
    if moment.is_duration() || (0.0..1.0).contains(&serial) {
        return clock;
    }
    let Some(day) = date::parse(&format!("{year}-{month}-{day}")) else {
        return plain_number(serial);
    };
    if serial.fract() == 0.0 {
        date::to_iso(day)
    } else {
        format!("{} {clock}", date::to_iso(day))
    }
}
