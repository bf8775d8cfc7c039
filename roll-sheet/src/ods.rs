//! Spreadsheets of the open document format (.ods): the content part → sheets.
//!
//! Cells and rows may stand for many of their kind; blank ones, which may stand for a million, cost nothing.

use std::{collections::HashSet, io::Read};

use quick_xml::events::{BytesStart, Event};

use crate::{
    RollError, RollLimits, Sheet, Visibility,
    formats::NumberFormat,
    formats::Shown,
    grid::{Flaw, GridBuilder, Left, Merge},
    package::{Package, SHEETS_MAX, unreadable},
    xlsx::{attribute, push_reference, xml},
};

pub(crate) fn sheets(
    package: &mut Package<'_>,
    limits: &RollLimits,
) -> Result<(Vec<Sheet>, Vec<String>), RollError> {
    if package.has("META-INF/manifest.xml") {
        let mut manifest = String::new();
        // Of a part in another encoding there is nothing to look for.
        let _ = package
            .part("META-INF/manifest.xml")?
            .read_to_string(&mut manifest);
        if manifest.contains("encryption-data") {
            return Err(RollError::Encrypted);
        }
    }
    Ok((tables(package.part("content.xml")?, limits)?, Vec::new()))
}

/// The tables of a document, also of a flat one.
pub(crate) fn tables<R: Read>(content: R, limits: &RollLimits) -> Result<Vec<Sheet>, RollError> {
    let mut reader = xml(content);
    let mut buffer = Vec::new();
    let mut left = Left::of(limits);
    let mut sheets = Vec::new();
    let mut hidden_styles: HashSet<String> = HashSet::new();
    let mut style = String::new();
    let mut table: Option<Table<'_>> = None;
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(unreadable)? {
            Event::Start(e) => match (e.local_name().as_ref(), &mut table) {
                ("style", None) => style = attribute(&e, "name").unwrap_or_default(),
                ("table-properties", None)
                    if attribute(&e, "display").as_deref() == Some("false") =>
                {
                    hidden_styles.insert(style.clone());
                }
                ("table", None) if sheets.len() < SHEETS_MAX => {
                    let hidden = attribute(&e, "style-name")
                        .is_some_and(|style| hidden_styles.contains(&style));
                    table = Some(Table::new(
                        attribute(&e, "name").unwrap_or_default(),
                        hidden,
                        limits,
                    ));
                }
                (name, Some(table)) => table.start(name, &e),
                _ => {}
            },
            Event::End(e) => {
                let name = e.local_name();
                let ended = match &mut table {
                    Some(table) => table.end(name.as_ref(), &mut left)?,
                    None => false,
                };
                if let (true, Some(table)) = (ended, table.take_if(|_| ended)) {
                    let Table {
                        name,
                        hidden,
                        mut grid,
                        merges,
                        ..
                    } = table;
                    grid.merged(merges, &mut left);
                    let (rows, flaws) = grid.finish()?;
                    if !rows.is_empty() {
                        sheets.push(Sheet {
                            name: Some(name),
                            visibility: if hidden {
                                Visibility::Hidden
                            } else {
                                Visibility::Visible
                            },
                            date1904: false,
                            rows,
                            flaws,
                        });
                    }
                }
            }
            Event::Text(text) => {
                if let Some(cell) = table.as_mut().and_then(Table::text) {
                    cell.push_str(&text.xml10_content());
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(cell) = table.as_mut().and_then(Table::text) {
                    push_reference(&reference, cell);
                }
            }
            Event::Eof => return Ok(sheets),
            _ => {}
        }
    }
}

/// A table that flows by.
struct Table<'l> {
    name: String,
    hidden: bool,
    grid: GridBuilder<'l>,
    merges: Vec<Merge>,
    row: u32,
    rows_repeated: u32,
    row_hidden: bool,
    cells: Vec<Cell>,
    column: u32,
    cell: Option<Cell>,
    in_paragraph: bool,
    /// Depth within a remark or a drawing, whose texts are not the cell's.
    aside: u32,
    /// Tables within the table.
    inner: u32,
}

#[derive(Default, Clone)]
struct Cell {
    column: u32,
    repeated: u32,
    kind: String,
    value: String,
    formula: bool,
    picture: bool,
    text: String,
    paragraphs: u32,
}

impl<'l> Table<'l> {
    fn new(name: String, hidden: bool, limits: &'l RollLimits) -> Self {
        Self {
            name,
            hidden,
            grid: GridBuilder::new(limits),
            merges: Vec::new(),
            row: 0,
            rows_repeated: 1,
            row_hidden: false,
            cells: Vec::new(),
            column: 0,
            cell: None,
            in_paragraph: false,
            aside: 0,
            inner: 0,
        }
    }

    fn text(&mut self) -> Option<&mut String> {
        if self.aside > 0 || !self.in_paragraph {
            return None;
        }
        self.cell.as_mut().map(|cell| &mut cell.text)
    }

    fn start(&mut self, name: &str, e: &BytesStart<'_>) {
        let many = |name: &str| {
            attribute(e, name)
                .and_then(|count| count.parse::<u32>().ok())
                .unwrap_or(1)
                .max(1)
        };
        match name {
            "table" => self.inner += 1,
            _ if self.inner > 0 => {}
            "annotation" => self.aside += 1,
            "frame" | "image" => {
                if let Some(cell) = &mut self.cell {
                    cell.picture = true;
                }
                self.aside += 1;
            }
            _ if self.aside > 0 => {}
            "table-row" => {
                self.rows_repeated = many("number-rows-repeated");
                self.row_hidden = matches!(
                    attribute(e, "visibility").as_deref(),
                    Some("collapse" | "filter")
                );
                self.column = 0;
                self.cells.clear();
            }
            "table-cell" | "covered-table-cell" => {
                let kind = attribute(e, "value-type").unwrap_or_default();
                let value = match kind.as_str() {
                    "date" => attribute(e, "date-value"),
                    "time" => attribute(e, "time-value"),
                    "boolean" => attribute(e, "boolean-value"),
                    _ => attribute(e, "value"),
                };
                let (rows, columns) = (many("number-rows-spanned"), many("number-columns-spanned"));
                if rows > 1 {
                    self.merges.push(Merge {
                        top: self.row,
                        left: self.column,
                        bottom: self.row.saturating_add(rows - 1),
                        right: self.column.saturating_add(columns - 1),
                    });
                }
                self.cell = Some(Cell {
                    column: self.column,
                    repeated: many("number-columns-repeated"),
                    kind,
                    value: value.unwrap_or_default(),
                    formula: attribute(e, "formula").is_some(),
                    ..Cell::default()
                });
            }
            "p" => {
                self.in_paragraph = true;
                if let Some(cell) = &mut self.cell {
                    cell.paragraphs += 1;
                    if cell.paragraphs > 1 {
                        cell.text.push('\n');
                    }
                }
            }
            "s" | "tab" | "line-break" => {
                let sign = if name == "line-break" { '\n' } else { ' ' };
                if let Some(text) = self.text() {
                    text.push(sign);
                }
            }
            _ => {}
        }
    }

    /// Whether the table ended.
    fn end(&mut self, name: &str, left: &mut Left) -> Result<bool, RollError> {
        match name {
            "table" if self.inner == 0 => return Ok(true),
            "table" => self.inner -= 1,
            _ if self.inner > 0 => {}
            "annotation" | "frame" | "image" => self.aside = self.aside.saturating_sub(1),
            _ if self.aside > 0 => {}
            "p" => self.in_paragraph = false,
            "table-cell" | "covered-table-cell" => {
                if let Some(cell) = self.cell.take() {
                    self.column = self.column.saturating_add(cell.repeated);
                    if !cell.is_blank() {
                        self.cells.push(cell);
                    }
                }
            }
            "table-row" => {
                let repeated = if self.cells.is_empty() {
                    0
                } else {
                    self.rows_repeated
                };
                for row in self.row..self.row.saturating_add(repeated) {
                    if self.row_hidden {
                        self.grid.flaw(row, 0, Flaw::HiddenRow);
                    }
                    for cell in &self.cells {
                        cell.put(&mut self.grid, row, left)?;
                    }
                }
                self.row = self.row.saturating_add(self.rows_repeated);
                self.cells.clear();
            }
            _ => {}
        }
        Ok(false)
    }
}

impl Cell {
    fn is_blank(&self) -> bool {
        self.text.trim().is_empty() && self.value.is_empty() && !self.formula && !self.picture
    }

    fn put(&self, grid: &mut GridBuilder<'_>, row: u32, left: &mut Left) -> Result<(), RollError> {
        for column in self.column..self.column.saturating_add(self.repeated) {
            self.put_once(grid, row, column, left)?;
        }
        Ok(())
    }

    fn put_once(
        &self,
        grid: &mut GridBuilder<'_>,
        row: u32,
        column: u32,
        left: &mut Left,
    ) -> Result<(), RollError> {
        let shown = self.text.trim();
        match self.kind.as_str() {
            "float" | "currency" | "percentage" => match self.value.parse::<f64>() {
                // Leading zeros stand only in what is shown.
                Ok(number) if shown.starts_with('0') && shown.parse() == Ok(number) => {
                    grid.cell(row, column, shown, left)
                }
                Ok(number) => {
                    let format = if self.kind == "percentage" {
                        NumberFormat::Percent
                    } else {
                        NumberFormat::Plain
                    };
                    grid.formatted(row, column, number, format, left)
                }
                Err(_) => grid.text(row, column, shown, left),
            },
            "date" => {
                let year = self.value.get(..4).unwrap_or_default();
                let short = year.get(2..).unwrap_or_default();
                let parts = shown.split(|c: char| !c.is_ascii_digit());
                let says_year = parts
                    .clone()
                    .any(|part| part == year || part == short && parts.clone().count() > 3);
                let shown = if says_year || shown.is_empty() {
                    Shown::Whole
                } else {
                    Shown::MonthDay
                };
                grid.flaw(row, column, Flaw::Date(shown));
                let text = self.value.strip_suffix("T00:00:00").unwrap_or(&self.value);
                grid.cell(row, column, text, left)
            }
            "boolean" => {
                let word = if self.value == "true" {
                    "TRUE"
                } else {
                    "FALSE"
                };
                grid.cell(row, column, word, left)
            }
            "" if self.formula => {
                grid.flaw(row, column, Flaw::NoValue);
                Ok(())
            }
            _ if shown.is_empty() && self.picture => {
                grid.flaw(row, column, Flaw::Picture);
                Ok(())
            }
            _ => grid.text(row, column, &self.text, left),
        }
    }
}
