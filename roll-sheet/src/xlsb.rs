//! Binary workbooks: those of 2007 and later (.xlsb) and those before (.xls), through the library that knows them → sheets.
//!
//! The library holds an .xls twice, as a list of cells and as a full rectangle, and makes room for what a sheet says of its size. So the records are
//! walked first: sizes are set to nothing, cells far outside are taken out and told of, and what would still be too large is refused.

use std::{
    collections::HashSet,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write},
    panic::{self, AssertUnwindSafe},
};

use calamine::{
    Data, DataRef, ExcelDateTime, Reader, SheetType, SheetVisible, Xls, XlsError, Xlsb,
};

use crate::{
    RollError, RollLimits, Sheet, Visibility,
    formats::Shown,
    grid::{Flaw, GridBuilder, Left, Merge},
    package::{Package, SHEETS_MAX, unreadable},
    xlsx::DAYS_TO_1904,
};

fn visibility(visible: SheetVisible) -> Visibility {
    match visible {
        SheetVisible::Visible => Visibility::Visible,
        SheetVisible::Hidden => Visibility::Hidden,
        SheetVisible::VeryHidden => Visibility::VeryHidden,
    }
}

/// Bytes of one record of an .xlsb; the longest text of a cell, many times over.
const RECORD_BYTES_MAX: u64 = 1024 * 1024;

/// The reader makes room for a record before it is there, so what records claim is looked at first.
fn refuse_lying_records(package: &mut Package<'_>) -> Result<(), RollError> {
    for name in package.names_with(".bin") {
        let record_parts = [
            "worksheets/",
            "workbook.bin",
            "sharedstrings.bin",
            "styles.bin",
        ];
        if !record_parts.iter().any(|part| name.contains(part)) {
            continue;
        }
        let mut part = BufReader::new(package.part(&name)?);
        // A kind has one byte or two, a length up to four; each byte but the last has its highest bit set.
        while varying(&mut part, 2)?.is_some() {
            let bytes = varying(&mut part, 4)?.unwrap_or(0);
            if bytes > RECORD_BYTES_MAX {
                return Err(unreadable("a record that is too long"));
            }
            io::copy(&mut part.by_ref().take(bytes), &mut io::sink()).map_err(unreadable)?;
        }
    }
    Ok(())
}

fn varying(part: &mut impl Read, bytes_max: u32) -> Result<Option<u64>, RollError> {
    let mut number = 0;
    for at in 0..bytes_max {
        let mut byte = [0];
        if part.read(&mut byte).map_err(unreadable)? == 0 {
            return Ok(None);
        }
        number |= u64::from(byte[0] & 0x7f) << (7 * at);
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    Ok(Some(number))
}

/// The sheets of an .xlsb.
pub(crate) fn sheets(
    package: &mut Package<'_>,
    bytes: &[u8],
    limits: &RollLimits,
) -> Result<(Vec<Sheet>, Vec<String>), RollError> {
    refuse_lying_records(package)?;
    let mut book = Xlsb::new(Cursor::new(bytes)).map_err(unreadable)?;
    let date1904 = book.has_1904_epoch();
    let metadata = book.sheets_metadata().to_vec();
    let mut left = Left::of(limits);
    let (mut sheets, mut damaged) = (Vec::new(), Vec::new());
    for sheet in metadata.iter().take(SHEETS_MAX) {
        if sheet.typ != SheetType::WorkSheet {
            continue;
        }
        match xlsb_sheet(&mut book, &sheet.name, date1904, limits, &mut left) {
            Ok(builder) => {
                let (rows, flaws) = builder.finish()?;
                if !rows.is_empty() {
                    sheets.push(Sheet {
                        name: Some(sheet.name.clone()),
                        visibility: visibility(sheet.visible),
                        date1904,
                        rows,
                        flaws,
                    });
                }
            }
            Err(RollError::Unreadable(_)) => damaged.push(sheet.name.clone()),
            Err(error) => return Err(error),
        }
    }
    Ok((sheets, damaged))
}

fn xlsb_sheet<'l>(
    book: &mut Xlsb<Cursor<&[u8]>>,
    name: &str,
    date1904: bool,
    limits: &'l RollLimits,
    left: &mut Left,
) -> Result<GridBuilder<'l>, RollError> {
    let mut grid = GridBuilder::new(limits);
    let mut valued: HashSet<(u32, u32)> = HashSet::new();
    let mut reader = book.worksheet_cells_reader(name).map_err(unreadable)?;
    while let Some(cell) = reader.next_cell().map_err(unreadable)? {
        let (row, column) = cell.get_position();
        let value: Data = match cell.get_value() {
            DataRef::SharedString(text) => {
                grid.text(row, column, text, left)?;
                continue;
            }
            other => other.clone().into(),
        };
        put(&mut grid, row, column, &value, date1904, left)?;
        if !matches!(value, Data::Empty) {
            valued.insert((row, column));
        }
    }
    drop(reader);
    // The reader passes over a formula whose value is an error.
    let mut formulas = book.worksheet_cells_reader(name).map_err(unreadable)?;
    while let Ok(Some(cell)) = formulas.next_formula() {
        let (row, column) = cell.get_position();
        if !valued.contains(&(row, column)) {
            grid.flaw(row, column, Flaw::NoValue);
        }
    }
    Ok(grid)
}

fn put(
    grid: &mut GridBuilder<'_>,
    row: u32,
    column: u32,
    value: &Data,
    date1904: bool,
    left: &mut Left,
) -> Result<(), RollError> {
    match value {
        Data::Empty => Ok(()),
        Data::Int(number) => grid.number(row, column, *number as f64, left),
        Data::Float(number) => grid.number(row, column, *number, left),
        Data::Bool(truth) => grid.cell(row, column, if *truth { "TRUE" } else { "FALSE" }, left),
        Data::DateTime(moment) => put_moment(grid, row, column, *moment, date1904, left),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => {
            grid.text(row, column, text, left)
        }
        Data::Error(error) => {
            grid.flaw(row, column, Flaw::Error(error.to_string().into()));
            Ok(())
        }
    }
}

fn put_moment(
    grid: &mut GridBuilder<'_>,
    row: u32,
    column: u32,
    moment: ExcelDateTime,
    date1904: bool,
    left: &mut Left,
) -> Result<(), RollError> {
    let serial = moment.as_f64();
    if moment.is_duration() {
        let format = crate::formats::NumberFormat::Duration;
        return grid.formatted(row, column, serial, format, left);
    }
    let moved = date1904 && serial >= 1.0;
    let serial = serial + if moved { DAYS_TO_1904 } else { 0.0 };
    grid.moment(row, column, serial, Shown::Whole, left)
}

/// Cells of the rectangles that hold all sheets of an .xls.
const XLS_CELLS_MAX: u64 = 1_500_000;
/// Records of an .xls.
const DIMENSIONS: u16 = 0x0200;
const BOUND_SHEET: u16 = 0x0085;
const FILE_PASS: u16 = 0x002F;
const ROW: u16 = 0x0208;
const BEGIN: u16 = 0x0809;
const END: u16 = 0x000A;
const FORMULA: u16 = 0x0006;
/// Records of cells, each of which begins with its row and column.
const CELLS: [u16; 10] = [
    FORMULA, 0x00BD, 0x00D6, 0x00FD, 0x0201, 0x0203, 0x0204, 0x0205, 0x027E, 0x00BE,
];
/// A record that every reader passes over: a cell without a value.
const BLANK: u16 = 0x0201;

/// The sheets of an .xls, or of another compound file the word for what it is.
pub(crate) fn old_sheets(
    bytes: &[u8],
    limits: &RollLimits,
) -> Result<(Vec<Sheet>, Vec<String>), RollError> {
    let read = AssertUnwindSafe(|| read_old(bytes, limits));
    let (sheets, damaged) = panic::catch_unwind(read).unwrap_or(Err(RollError::OldOrEncrypted))?;
    if sheets.is_empty() {
        return Err(RollError::Empty);
    }
    Ok((sheets, damaged))
}

fn read_old(bytes: &[u8], limits: &RollLimits) -> Result<(Vec<Sheet>, Vec<String>), RollError> {
    let (whole, found) = made_harmless(bytes, limits)?;
    let book = Xls::new(Cursor::new(whole.as_slice())).map_err(|error| match error {
        XlsError::Password => RollError::Encrypted,
        _ => RollError::OldOrEncrypted,
    })?;
    let date1904 = book.has_1904_epoch();
    let metadata = book.sheets_metadata().to_vec();
    let mut book = book;
    let mut left = Left::of(limits);
    let mut sheets = Vec::new();
    for (at, sheet) in metadata.iter().enumerate().take(SHEETS_MAX) {
        if sheet.typ != SheetType::WorkSheet {
            continue;
        }
        let Ok(range) = book.worksheet_range(&sheet.name) else {
            continue;
        };
        let mut grid = GridBuilder::new(limits);
        let (top, first) = range.start().unwrap_or_default();
        for (row, column, value) in range.used_cells() {
            put(
                &mut grid,
                top + row as u32,
                first + column as u32,
                value,
                date1904,
                &mut left,
            )?;
        }
        if let Some(found) = found.get(at) {
            for (row, column) in &found.far {
                grid.flaw(*row, *column, Flaw::Far);
            }
            for (row, column) in &found.without_value {
                grid.flaw(*row, *column, Flaw::NoValue);
            }
            for row in &found.hidden {
                grid.flaw(*row, 0, Flaw::HiddenRow);
            }
        }
        let merges = book
            .merge_cells_by_sheet_name(&sheet.name)
            .unwrap_or_default();
        let merges = merges.into_iter().map(|merge| Merge {
            top: merge.start.0,
            left: merge.start.1,
            bottom: merge.end.0,
            right: merge.end.1,
        });
        grid.merged(merges, &mut left);
        let (rows, flaws) = grid.finish()?;
        if !rows.is_empty() {
            sheets.push(Sheet {
                name: Some(sheet.name.clone()),
                visibility: visibility(sheet.visible),
                date1904,
                rows,
                flaws,
            });
        }
    }
    Ok((sheets, Vec::new()))
}

/// Cells of the rectangles so far.
struct Area {
    cells: u64,
    cells_max: u64,
}

/// What the walk found in a sheet.
#[derive(Default)]
struct Found {
    far: Vec<(u32, u32)>,
    without_value: Vec<(u32, u32)>,
    hidden: Vec<u32>,
}

/// The file with nothing in it that would cost more memory than its cells, and what was found in each sheet.
fn made_harmless(bytes: &[u8], limits: &RollLimits) -> Result<(Vec<u8>, Vec<Found>), RollError> {
    let other = |_| RollError::OldOrEncrypted;
    let mut file = cfb::CompoundFile::open(Cursor::new(bytes.to_vec())).map_err(other)?;
    if file.is_stream("/EncryptedPackage") {
        return Err(RollError::Encrypted);
    }
    if file.is_stream("/WordDocument") {
        return Err(RollError::OtherFormat {
            zh: "Word 文档",
            en: "a Word document",
        });
    }
    let name = ["/Workbook", "/Book"]
        .into_iter()
        .find(|name| file.is_stream(name))
        .ok_or(RollError::OldOrEncrypted)?;
    let mut records = Vec::new();
    let stream = file.open_stream(name).map_err(other)?;
    stream
        .take(limits.file_bytes_max as u64)
        .read_to_end(&mut records)
        .map_err(other)?;
    let cells_max = XLS_CELLS_MAX.min((limits.rows_max * limits.columns_max) as u64);
    let (patches, found) = walk(&records, cells_max)?;
    let mut stream = file.open_stream(name).map_err(other)?;
    for (at, bytes) in patches {
        stream.seek(SeekFrom::Start(at)).map_err(other)?;
        stream.write_all(&bytes).map_err(other)?;
    }
    stream.flush().map_err(other)?;
    drop(stream);
    Ok((file.into_inner().into_inner(), found))
}

/// Bytes to be written over others, by their place.
type Patches = Vec<(u64, Vec<u8>)>;

fn walk(stream: &[u8], cells_max: u64) -> Result<(Patches, Vec<Found>), RollError> {
    let mut patches = Patches::new();
    let mut starts = Vec::new();
    for (at, kind, data) in (Records { stream, at: 0 }) {
        match kind {
            FILE_PASS => return Err(RollError::Encrypted),
            BOUND_SHEET => {
                if let Some(start) = data.first_chunk() {
                    starts.push(u32::from_le_bytes(*start) as usize);
                }
            }
            END if at > 0 => break,
            _ => {}
        }
    }
    let mut area = Area {
        cells: 0,
        cells_max,
    };
    let mut found = Vec::new();
    for start in starts.into_iter().take(SHEETS_MAX) {
        found.push(walk_sheet(stream, start, &mut patches, &mut area)?);
    }
    Ok((patches, found))
}

fn walk_sheet(
    stream: &[u8],
    start: usize,
    patches: &mut Patches,
    area: &mut Area,
) -> Result<Found, RollError> {
    let mut found = Found::default();
    let mut cells: Vec<(u64, u16, u16)> = Vec::new();
    let mut depth = 0_u32;
    for (at, kind, data) in (Records { stream, at: start }) {
        let number = |place: usize| {
            data.get(place..place + 2)
                .map_or(0, |two| u16::from_le_bytes([two[0], two[1]]))
        };
        match kind {
            BEGIN => depth += 1,
            END => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            _ if depth > 1 => {}
            // Rows 0 to 1, columns 0 to 1: the reader makes room for what is said here.
            DIMENSIONS if data.len() >= 14 => {
                patches.push((at as u64 + 4, vec![0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]));
            }
            DIMENSIONS if data.len() >= 8 => {
                patches.push((at as u64 + 4, vec![0, 0, 1, 0, 0, 0, 1, 0]));
            }
            ROW if number(12) & 0x20 != 0 => found.hidden.push(number(0).into()),
            // Worked out on opening; nought, or an empty text, stands there until then.
            FORMULA if number(14) & 2 != 0 && data.get(6..14).is_some_and(is_no_value) => {
                patches.push((at as u64, BLANK.to_le_bytes().to_vec()));
                found
                    .without_value
                    .push((number(0).into(), number(2).into()));
            }
            kind if CELLS.contains(&kind) && data.len() >= 4 => {
                cells.push((at as u64, number(0), number(2)));
            }
            _ => {}
        }
    }
    // Far outside: beyond a gap of so many rows or columns behind the last of all others.
    let (rows, columns) = (
        edge(cells.iter().map(|cell| cell.1), 500),
        edge(cells.iter().map(|cell| cell.2), 100),
    );
    cells.retain(|(at, row, column)| {
        let far = *row > rows || *column > columns;
        if far {
            patches.push((*at, BLANK.to_le_bytes().to_vec()));
            found.far.push((u32::from(*row), u32::from(*column)));
        }
        !far
    });
    found.far.truncate(50);
    let bounds = |of: fn(&(u64, u16, u16)) -> u16| {
        let least = cells.iter().map(of).min().unwrap_or(0);
        let most = cells.iter().map(of).max().unwrap_or(0);
        u64::from(most - least) + 1
    };
    area.cells += bounds(|cell| cell.1) * bounds(|cell| cell.2);
    if area.cells > area.cells_max || cells.len() as u64 > area.cells_max {
        return Err(RollError::UnpackedTooLarge {
            bytes_max: area.cells_max * size_of::<Data>() as u64,
        });
    }
    Ok(found)
}

fn is_no_value(value: &[u8]) -> bool {
    value == [0; 8] || matches!(value, [3, .., 0xff, 0xff])
}

/// The last place before the first gap wider than `gap` behind which no more than a handful of cells stand.
fn edge(places: impl Iterator<Item = u16>, gap: u16) -> u16 {
    let mut places: Vec<u16> = places.collect();
    places.sort_unstable();
    let few = places.len().saturating_sub(20).max(1);
    for at in few..places.len() {
        if places[at] - places[at - 1] > gap {
            return places[at - 1];
        }
    }
    u16::MAX
}

/// The records of a stream from some place on: place, kind, data.
struct Records<'a> {
    stream: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = (usize, u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let [a, b, c, d] = *self.stream.get(at..)?.first_chunk()?;
        let data = self
            .stream
            .get(at + 4..at + 4 + usize::from(u16::from_le_bytes([c, d])))?;
        self.at = at + 4 + data.len();
        Some((at, u16::from_le_bytes([a, b]), data))
    }
}
