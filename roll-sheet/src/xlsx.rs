//! Workbooks of 2007 and later (.xlsx, .xlsm): the parts of a package → sheets.
//!
//! The parts flow by: of a sheet nothing is held but its grid. The library that reads the other kinds of workbooks tells neither hidden rows
//! nor number formats, and gives a whole sheet up for one cell that it does not expect; all of this matters here.

use std::{
    collections::{HashMap, HashSet},
    io::{BufReader, Read},
};

use quick_xml::{
    Reader, XmlVersion,
    encoding::DecodingReader,
    events::{BytesRef, BytesStart, Event},
};

use crate::{
    RollError, RollLimits, Sheet, Visibility, cell,
    formats::Shown,
    formats::{NumberFormat, built_in, custom},
    grid::{Flaw, GridBuilder, Left, Merge},
    package::{Package, SHEETS_MAX, unreadable},
};

/// Days between the first day of the usual count and the first of the one that begins with 1904.
pub(crate) const DAYS_TO_1904: f64 = 1462.0;
/// Number formats and styles of a workbook; Excel takes 64,000.
const STYLES_MAX: usize = 100_000;

type Xml<R> = Reader<DecodingReader<BufReader<R>>>;

/// A part of a package as XML.
pub(crate) fn xml<R: Read>(part: R) -> Xml<R> {
    let mut reader = Reader::from_reader(DecodingReader::new(BufReader::new(part)));
    let config = reader.config_mut();
    config.check_end_names = false;
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    config.allow_unmatched_ends = true;
    reader
}

/// An attribute by its name without prefix.
pub(crate) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == name)
        .and_then(|attribute| {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            value.ok().map(std::borrow::Cow::into_owned)
        })
}

/// A sign that stands as `&amp;` or `&#20;`; others stay as they are written.
pub(crate) fn push_reference(reference: &BytesRef<'_>, out: &mut String) {
    let c = match reference.as_ref() {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => reference.resolve_char_ref().ok().flatten(),
    };
    if let Some(c) = c {
        out.push(c);
    } else {
        out.push('&');
        out.push_str(reference);
        out.push(';');
    }
}

fn truth(value: &str) -> bool {
    matches!(value, "1" | "true" | "on")
}

/// What stands in `xl/workbook.xml`.
#[derive(Default)]
struct Workbook {
    sheets: Vec<(String, Visibility, String)>,
    date1904: bool,
    /// The writer asks for every formula to be worked out: the values it left are no values.
    unreckoned: bool,
}

pub(crate) fn sheets(
    package: &mut Package<'_>,
    workbook: &str,
    limits: &RollLimits,
) -> Result<(Vec<Sheet>, Vec<String>), RollError> {
    let relations = relations(package, workbook)?;
    let book = read_workbook(package, workbook)?;
    let by_kind = |kind: &str| {
        relations
            .values()
            .find(|relation| relation.kind.ends_with(kind))
            .map(|relation| relation.target.clone())
    };
    let strings = match by_kind("/sharedStrings") {
        Some(part) if package.has(&part) => Strings::read(package, &part, limits)?,
        _ => Strings::default(),
    };
    let formats = match by_kind("/styles") {
        Some(part) if package.has(&part) => number_formats(package, &part).unwrap_or_default(),
        _ => Vec::new(),
    };
    let mut left = Left::of(limits);
    let mut read = HashSet::new();
    let (mut sheets, mut damaged) = (Vec::new(), Vec::new());
    for (name, visibility, id) in book.sheets.iter().take(SHEETS_MAX) {
        let Some(relation) = relations.get(id.as_str()) else {
            continue;
        };
        // Chart sheets have no cells; a part that stands for two sheets is read once.
        if !relation.kind.ends_with("/worksheet") || !read.insert(relation.target.clone()) {
            continue;
        }
        let context = Context {
            strings: &strings,
            formats: &formats,
            date1904: book.date1904,
            unreckoned: book.unreckoned,
        };
        // One damaged sheet should not hide the others.
        match read_sheet(package, &relation.target, &context, limits, &mut left) {
            Ok(builder) => {
                let (rows, flaws) = builder.finish()?;
                if !rows.is_empty() {
                    sheets.push(Sheet {
                        name: Some(name.clone()),
                        visibility: *visibility,
                        date1904: book.date1904,
                        rows,
                        flaws,
                    });
                }
            }
            Err(RollError::Unreadable(_)) => damaged.push(name.clone()),
            Err(error) => return Err(error),
        }
    }
    Ok((sheets, damaged))
}

struct Relation {
    kind: String,
    target: String,
}

/// The relations of a part, their targets as names within the package, whether they are written relative or absolute.
fn relations(
    package: &mut Package<'_>,
    part: &str,
) -> Result<HashMap<String, Relation>, RollError> {
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    let path = format!("{folder}/_rels/{name}.rels");
    let path = path.trim_start_matches('/').to_owned();
    let mut relations = HashMap::new();
    let mut found: Vec<(String, String, String)> = Vec::new();
    let mut reader = xml(package.part(&path)?);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(unreadable)? {
            Event::Start(e) if e.local_name().as_ref() == "Relationship" => {
                let of = |name: &str| attribute(&e, name).unwrap_or_default();
                found.push((of("Id"), of("Type"), of("Target")));
            }
            Event::Eof => break,
            _ => {}
        }
    }
    drop(reader);
    for (id, kind, target) in found {
        let beside = resolved(folder, &target);
        let target = [
            beside.clone(),
            resolved("", &target),
            resolved("xl", &target),
        ]
        .into_iter()
        .find(|target| package.has(target))
        .unwrap_or(beside);
        relations.insert(id, Relation { kind, target });
    }
    Ok(relations)
}

/// A target as a name within the package: from the root where it begins with a slash, else from the folder of the part that names it.
fn resolved(folder: &str, target: &str) -> String {
    let target = target.replace('\\', "/");
    let whole = match target.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None => format!("{folder}/{target}"),
    };
    let mut names: Vec<&str> = Vec::new();
    for name in whole.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

/// The part that the package is about.
pub(crate) fn main_part(package: &mut Package<'_>) -> Option<String> {
    let relations = relations(package, "").unwrap_or_default();
    relations
        .into_values()
        .find(|relation| relation.kind.ends_with("/officeDocument"))
        .map(|relation| relation.target)
        .filter(|target| package.has(target))
        .or_else(|| {
            ["xl/workbook.xml", "workbook.xml", "xl/workbook.bin"]
                .into_iter()
                .find(|part| package.has(part))
                .map(str::to_owned)
        })
}

fn read_workbook(package: &mut Package<'_>, part: &str) -> Result<Workbook, RollError> {
    let mut reader = xml(package.part(part)?);
    let mut buffer = Vec::new();
    let mut book = Workbook::default();
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(unreadable)? {
            Event::Start(e) => match e.local_name().as_ref() {
                "sheet" => {
                    let visibility = match attribute(&e, "state").as_deref() {
                        Some("hidden") => Visibility::Hidden,
                        Some("veryHidden") => Visibility::VeryHidden,
                        _ => Visibility::Visible,
                    };
                    let name = attribute(&e, "name").unwrap_or_default();
                    // `sheetId` has another name; `r:id` is the only `id`.
                    let id = attribute(&e, "id").unwrap_or_default();
                    book.sheets.push((name, visibility, id));
                }
                "workbookPr" => {
                    book.date1904 = attribute(&e, "date1904").is_some_and(|v| truth(&v));
                }
                "calcPr" => {
                    book.unreckoned = attribute(&e, "fullCalcOnLoad").is_some_and(|v| truth(&v));
                }
                _ => {}
            },
            Event::Eof => return Ok(book),
            _ => {}
        }
    }
}

/// The texts that cells share.
#[derive(Default)]
struct Strings {
    text: String,
    ends: Vec<u32>,
}

impl Strings {
    fn read(package: &mut Package<'_>, part: &str, limits: &RollLimits) -> Result<Self, RollError> {
        let mut reader = xml(package.part(part)?);
        let mut buffer = Vec::new();
        let mut strings = Self::default();
        let (mut in_text, mut in_reading) = (false, false);
        loop {
            buffer.clear();
            match reader.read_event_into(&mut buffer).map_err(unreadable)? {
                Event::Start(e) => match e.local_name().as_ref() {
                    "t" => in_text = !in_reading,
                    "rPh" => in_reading = true,
                    _ => {}
                },
                Event::End(e) => match e.local_name().as_ref() {
                    "t" => in_text = false,
                    "rPh" => in_reading = false,
                    "si" => strings.ends.push(strings.text.len() as u32),
                    _ => {}
                },
                Event::Text(text) if in_text => strings.text.push_str(&text.xml10_content()),
                Event::CData(text) if in_text => strings.text.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) if in_text => {
                    push_reference(&reference, &mut strings.text);
                }
                Event::Eof => break,
                _ => {}
            }
            if strings.text.len() > limits.text_bytes_max {
                return Err(RollError::UnpackedTooLarge {
                    bytes_max: limits.text_bytes_max as u64,
                });
            }
        }
        Ok(strings)
    }

    fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)? as usize;
        let start = match at.checked_sub(1) {
            Some(before) => self.ends[before] as usize,
            None => 0,
        };
        self.text.get(start..end)
    }
}

/// The number format of each style of cells.
fn number_formats(package: &mut Package<'_>, part: &str) -> Result<Vec<NumberFormat>, RollError> {
    let mut reader = xml(package.part(part)?);
    let mut buffer = Vec::new();
    let mut own: HashMap<u32, NumberFormat> = HashMap::new();
    let mut formats = Vec::new();
    let mut in_cells = false;
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(unreadable)? {
            Event::Start(e) => match e.local_name().as_ref() {
                "numFmt" => {
                    let id = attribute(&e, "numFmtId").and_then(|id| id.parse().ok());
                    let code = attribute(&e, "formatCode");
                    if let (Some(id), Some(code)) = (id, code)
                        && own.len() < STYLES_MAX
                    {
                        own.insert(id, custom(&code));
                    }
                }
                "cellXfs" => in_cells = true,
                "xf" if in_cells && formats.len() < STYLES_MAX => {
                    let id = attribute(&e, "numFmtId")
                        .and_then(|id| id.parse::<u32>().ok())
                        .unwrap_or(0);
                    formats.push(own.get(&id).copied().unwrap_or_else(|| built_in(id)));
                }
                _ => {}
            },
            Event::End(e) if e.local_name().as_ref() == "cellXfs" => in_cells = false,
            Event::Eof => return Ok(formats),
            _ => {}
        }
    }
}

struct Context<'a> {
    strings: &'a Strings,
    formats: &'a [NumberFormat],
    date1904: bool,
    unreckoned: bool,
}

/// A cell as it flows by.
#[derive(Default)]
struct Cell {
    row: u32,
    column: u32,
    kind: String,
    style: usize,
    /// A value of a rich kind, such as a picture.
    rich: bool,
    formula: Option<String>,
    value: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Within {
    Nothing,
    Formula,
    Value,
}

fn read_sheet<'l>(
    package: &mut Package<'_>,
    part: &str,
    context: &Context<'_>,
    limits: &'l RollLimits,
    left: &mut Left,
) -> Result<GridBuilder<'l>, RollError> {
    let mut reader = xml(package.part(part)?);
    let mut buffer = Vec::new();
    let mut grid = GridBuilder::new(limits);
    let mut merges: Vec<Merge> = Vec::new();
    let (mut row, mut column) = (0_u32, 0_u32);
    let mut cell: Option<Cell> = None;
    let mut within = Within::Nothing;
    let mut in_reading = false;
    let mut is_sheet = false;
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(unreadable)? {
            Event::Start(e) => match e.local_name().as_ref() {
                "row" => {
                    let (mut number, mut hidden) = (None, false);
                    for attribute in e.attributes().with_checks(false).flatten() {
                        match attribute.key.as_ref() {
                            "r" => number = attribute.value.parse::<u32>().ok(),
                            "hidden" => hidden = truth(&attribute.value),
                            _ => {}
                        }
                    }
                    if let Some(number) = number.filter(|n| (1..=ROWS_MAX).contains(n)) {
                        row = number - 1;
                    }
                    column = 0;
                    if hidden {
                        grid.flaw(row, 0, Flaw::HiddenRow);
                    }
                }
                "c" => {
                    let mut next = Cell {
                        row,
                        column,
                        ..Cell::default()
                    };
                    for attribute in e.attributes().with_checks(false).flatten() {
                        match attribute.key.as_ref() {
                            "r" => {
                                if let Some(place) = place(&attribute.value) {
                                    (next.row, next.column) = place;
                                }
                            }
                            "t" => attribute.value.as_ref().clone_into(&mut next.kind),
                            "s" => next.style = attribute.value.parse().unwrap_or(usize::MAX),
                            "vm" => next.rich = true,
                            _ => {}
                        }
                    }
                    column = next.column.saturating_add(1);
                    cell = Some(next);
                }
                "f" if cell.is_some() => {
                    within = Within::Formula;
                    if let Some(cell) = &mut cell {
                        cell.formula = Some(String::new());
                    }
                }
                "v" | "t" if !in_reading => {
                    if let Some(cell) = &mut cell {
                        within = Within::Value;
                        cell.value.get_or_insert_default();
                    }
                }
                "rPh" => in_reading = true,
                "sheetData" => is_sheet = true,
                "mergeCell" => {
                    if let Some(merge) = attribute(&e, "ref").and_then(|region| region_of(&region))
                    {
                        merges.push(merge);
                    }
                }
                _ => {}
            },
            Event::Text(text) => {
                if let (Some(cell), true) = (&mut cell, within != Within::Nothing) {
                    cell.push(within, &text.xml10_content());
                }
            }
            Event::CData(text) => {
                if let (Some(cell), true) = (&mut cell, within != Within::Nothing) {
                    cell.push(within, &text.xml10_content());
                }
            }
            Event::GeneralRef(reference) => {
                if let (Some(cell), true) = (&mut cell, within != Within::Nothing) {
                    let mut sign = String::new();
                    push_reference(&reference, &mut sign);
                    cell.push(within, &sign);
                }
            }
            Event::End(e) => match e.local_name().as_ref() {
                "c" => {
                    if let Some(cell) = cell.take() {
                        cell.put(&mut grid, context, left)?;
                    }
                    within = Within::Nothing;
                }
                "f" | "v" | "t" => within = Within::Nothing,
                "rPh" => in_reading = false,
                "row" => row = row.saturating_add(1),
                _ => {}
            },
            Event::Eof => break,
            _ => {}
        }
    }
    if !is_sheet {
        return Err(RollError::Unreadable("a sheet without cells".into()));
    }
    grid.merged(merges, left);
    Ok(grid)
}

/// Rows of a sheet.
const ROWS_MAX: u32 = 1_048_576;

/// `B3` → (2, 1).
fn place(reference: &str) -> Option<(u32, u32)> {
    let mut column: u32 = 0;
    let mut row: u32 = 0;
    for byte in reference.bytes() {
        match byte {
            b'$' => {}
            b'A'..=b'Z' | b'a'..=b'z' if row == 0 => {
                let letter = u32::from(byte.to_ascii_uppercase() - b'A') + 1;
                column = column.checked_mul(26)?.checked_add(letter)?;
            }
            b'0'..=b'9' => row = row.checked_mul(10)?.checked_add(u32::from(byte - b'0'))?,
            _ => return None,
        }
    }
    ((1..=ROWS_MAX).contains(&row) && column > 0).then(|| (row - 1, column - 1))
}

fn region_of(region: &str) -> Option<Merge> {
    let (first, last) = region.split_once(':')?;
    let ((top, left), (bottom, right)) = (place(first)?, place(last)?);
    Some(Merge {
        top,
        left,
        bottom,
        right,
    })
}

impl Cell {
    fn push(&mut self, within: Within, text: &str) {
        match within {
            Within::Formula => self.formula.get_or_insert_default().push_str(text),
            Within::Value => self.value.get_or_insert_default().push_str(text),
            Within::Nothing => {}
        }
    }

    fn put(
        self,
        grid: &mut GridBuilder<'_>,
        context: &Context<'_>,
        left: &mut Left,
    ) -> Result<(), RollError> {
        let (row, column) = (self.row, self.column);
        if self.formula.as_deref().is_some_and(cell::is_picture) {
            grid.flaw(row, column, Flaw::Picture);
            return Ok(());
        }
        let value = self.value.as_deref().unwrap_or_default();
        if let Some(formula) = &self.formula {
            let none = value.is_empty() && !(self.kind == "str" && self.value.is_some());
            // What some programs write as the value of every formula.
            let stands_for_none = value == "0" && context.unreckoned && self.kind != "str";
            if none || stands_for_none {
                match cell::spelled_value(&format!("={formula}")) {
                    Some(value) => grid.cell(row, column, &value, left)?,
                    None => grid.flaw(row, column, Flaw::NoValue),
                }
                return Ok(());
            }
        }
        if value.is_empty() {
            return Ok(());
        }
        match self.kind.as_str() {
            "s" => {
                let at = value.trim().parse().ok();
                if let Some(text) = at.and_then(|at| context.strings.get(at)) {
                    return grid.text(row, column, text, left);
                }
                grid.flaw(row, column, Flaw::Error("?".into()));
                Ok(())
            }
            "e" if self.rich => {
                grid.flaw(row, column, Flaw::Picture);
                Ok(())
            }
            "e" => {
                grid.flaw(row, column, Flaw::Error(value.trim().into()));
                Ok(())
            }
            "b" => {
                let word = if truth(&value.trim().to_ascii_lowercase()) {
                    "TRUE"
                } else {
                    "FALSE"
                };
                grid.cell(row, column, word, left)
            }
            "d" => {
                let text = value.strip_suffix("T00:00:00").unwrap_or(value);
                grid.flaw(row, column, Flaw::Date(Shown::Whole));
                grid.cell(row, column, text, left)
            }
            "n" | "" => match value.trim().parse::<f64>() {
                Ok(number) => self.put_number(number, grid, context, left),
                Err(_) => grid.text(row, column, value, left),
            },
            _ => grid.text(row, column, value, left),
        }
    }

    fn put_number(
        &self,
        number: f64,
        grid: &mut GridBuilder<'_>,
        context: &Context<'_>,
        left: &mut Left,
    ) -> Result<(), RollError> {
        let (row, column) = (self.row, self.column);
        let format = context
            .formats
            .get(self.style)
            .copied()
            .unwrap_or(NumberFormat::Plain);
        match format {
            NumberFormat::Moment(shown) => {
                // A time of day has no day in either system.
                let moved = context.date1904 && number >= 1.0;
                let serial = number + if moved { DAYS_TO_1904 } else { 0.0 };
                grid.moment(row, column, serial, shown, left)
            }
            format => grid.formatted(row, column, number, format, left),
        }
    }
}
