//! The cells of a sheet, held small: one text for all of them, and where in it each begins.
//!
//! A roll of a hundred thousand rows has more than a million cells; as strings of their own they would take several times the file.
//! Rows are handed out one at a time. What is known of a cell beside its text (an error, a formula without a value) is a [`Flaw`].

use lianka_sync_core::values::date;

use crate::{
    RollError, RollLimits,
    cell::{self, Scientific},
    formats::{NumberFormat, Shown},
};

const SECONDS_A_DAY: f64 = 86_400.0;
/// Cells of one workbook.
const CELLS_MAX: usize = 4_000_000;
/// Cells right of the last column that is read, before the whole sheet counts as too wide.
const FAR_CELLS_MAX: usize = 50;
/// So many blank rows end a table; what stands alone behind them is no part of it.
const GAP_ROWS: u32 = 500;
/// Cells of a row that stands alone, and such rows.
const LONE_CELLS_MAX: usize = 2;
const LONE_ROWS_MAX: usize = 20;

/// What a cell was, where its text alone does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// An error such as `#N/A`; the text is empty.
    Error(Box<str>),
    /// A formula whose value the file does not hold; the text is empty.
    NoValue,
    /// A number whose digits the spreadsheet has thrown away; the text is empty.
    Number,
    /// The same, as a text in scientific notation; the text is that.
    Scientific,
    /// A picture; the text is empty.
    Picture,
    /// Bytes that are no text in the file's encoding. The text is empty.
    Bytes,
    /// A number that the sheet shows as a date; the text is the date.
    Date(Shown),
    /// A quotation mark that is never closed; the text ends with the line.
    Quote,
    /// Behind as many cells as the first rows of a text have: a delimiter that stands in no quotation marks moved the cells before it.
    Surplus,
    /// Far outside the table; not read.
    Far,
    /// The row is hidden; no column.
    HiddenRow,
}

impl Flaw {
    /// Whether nobody can say what stood in the cell.
    pub(crate) fn hides_the_cell(&self) -> bool {
        !matches!(
            self,
            Self::Date(_) | Self::Surplus | Self::Far | Self::HiddenRow
        )
    }
}

/// A flaw and where it is: the row as Excel shows it, the column from 0.
#[derive(Debug, Clone)]
pub(crate) struct Flawed {
    pub(crate) row: u32,
    pub(crate) column: u32,
    pub(crate) flaw: Flaw,
}

#[derive(Debug, Clone, Copy)]
struct CellPlace {
    row: u32,
    column: u32,
    start: u32,
    bytes: u32,
}

/// The rows of a sheet that have a cell, from the top.
#[derive(Debug, Default)]
pub(crate) struct Grid {
    text: String,
    cells: Vec<CellPlace>,
    /// Index of each row's first cell.
    rows: Vec<u32>,
}

impl Grid {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A row by its place among the rows that have a cell: its number, and its cells up to the last one that is not blank.
    pub(crate) fn get(&self, at: usize) -> Option<(u32, Vec<String>)> {
        let cells = self.cells_of(at)?;
        let (first, last) = (cells.first()?, cells.last()?);
        let mut texts = vec![String::new(); last.column as usize + 1];
        for cell in cells {
            self.text_of(cell)
                .clone_into(&mut texts[cell.column as usize]);
        }
        Some((first.row.saturating_add(1), texts))
    }

    /// The place of a row by its number.
    pub(crate) fn place(&self, row: u32) -> Option<usize> {
        let row = row.checked_sub(1)?;
        self.rows
            .binary_search_by_key(&row, |first| self.cells[*first as usize].row)
            .ok()
    }

    /// The rows from this place on.
    pub(crate) fn from(&self, at: usize) -> Rows<'_> {
        Rows {
            grid: self,
            at: at.min(self.len()),
        }
    }

    pub(crate) fn iter(&self) -> RowsIter<'_> {
        self.from(0).iter()
    }

    fn cells_of(&self, at: usize) -> Option<&[CellPlace]> {
        let start = *self.rows.get(at)? as usize;
        let end = self
            .rows
            .get(at + 1)
            .map_or(self.cells.len(), |next| *next as usize);
        self.cells.get(start..end)
    }

    fn text_of(&self, cell: &CellPlace) -> &str {
        &self.text[cell.start as usize..(cell.start + cell.bytes) as usize]
    }
}

/// Rows of a grid, from some row to the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    grid: &'a Grid,
    at: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn iter(self) -> RowsIter<'a> {
        RowsIter(self)
    }

    pub(crate) fn len(self) -> usize {
        self.grid.len() - self.at
    }

    /// Cells of the widest row.
    pub(crate) fn width(self) -> usize {
        (self.at..self.grid.len())
            .filter_map(|at| self.grid.cells_of(at)?.last())
            .map(|cell| cell.column as usize + 1)
            .max()
            .unwrap_or(0)
    }

    /// The cells of one column that are not blank.
    pub(crate) fn column(self, column: usize) -> impl Iterator<Item = &'a str> {
        (self.at..self.grid.len()).filter_map(move |at| {
            let cells = self.grid.cells_of(at)?;
            let at = cells
                .binary_search_by_key(&column, |cell| cell.column as usize)
                .ok()?;
            Some(self.grid.text_of(&cells[at]))
        })
    }

    /// Number of the last row.
    pub(crate) fn last_row(self) -> Option<u32> {
        let last = self.grid.len().checked_sub(1)?;
        (last >= self.at).then(|| {
            self.grid
                .cells_of(last)?
                .first()
                .map(|cell| cell.row.saturating_add(1))
        })?
    }
}

/// Rows one after another.
pub(crate) struct RowsIter<'a>(Rows<'a>);

impl Iterator for RowsIter<'_> {
    type Item = (u32, Vec<String>);

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.0.grid.get(self.0.at)?;
        self.0.at += 1;
        Some(row)
    }
}

/// What is left of the limits that all sheets of a workbook share.
#[derive(Debug)]
pub(crate) struct Left {
    text_bytes: usize,
    text_bytes_max: usize,
    cells: usize,
}

impl Left {
    pub(crate) fn of(limits: &RollLimits) -> Self {
        Self {
            text_bytes: limits.text_bytes_max,
            text_bytes_max: limits.text_bytes_max,
            cells: CELLS_MAX,
        }
    }

    fn take(&mut self, bytes: usize) -> Result<(), RollError> {
        let left = (self.text_bytes.checked_sub(bytes)).zip(self.cells.checked_sub(1));
        let Some((text_bytes, cells)) = left else {
            return Err(RollError::UnpackedTooLarge {
                bytes_max: self.text_bytes_max as u64,
            });
        };
        (self.text_bytes, self.cells) = (text_bytes, cells);
        Ok(())
    }
}

/// A grid that is being filled, in any order.
#[derive(Debug)]
pub(crate) struct GridBuilder<'l> {
    limits: &'l RollLimits,
    text: String,
    cells: Vec<CellPlace>,
    flaws: Vec<Flawed>,
    far_cells: usize,
    rows_begun: usize,
}

impl<'l> GridBuilder<'l> {
    pub(crate) fn new(limits: &'l RollLimits) -> Self {
        Self {
            limits,
            text: String::new(),
            cells: Vec::new(),
            flaws: Vec::new(),
            far_cells: 0,
            rows_begun: 0,
        }
    }

    /// Adds a cell; `row` and `column` count from 0. Blank text is no cell.
    pub(crate) fn cell(
        &mut self,
        row: u32,
        column: u32,
        text: &str,
        left: &mut Left,
    ) -> Result<(), RollError> {
        if text.trim().is_empty() {
            return Ok(());
        }
        if column as usize >= self.limits.columns_max {
            self.far_cells += 1;
            if self.far_cells > FAR_CELLS_MAX {
                return Err(RollError::TooManyColumns {
                    row: row.saturating_add(1),
                    columns_max: self.limits.columns_max,
                });
            }
            self.flaw(row, column, Flaw::Far);
            return Ok(());
        }
        let too_long = text.len() > self.limits.cell_chars_max
            && text.chars().count() > self.limits.cell_chars_max;
        if too_long {
            return Err(RollError::CellTooLong {
                row: row.saturating_add(1),
                chars_max: self.limits.cell_chars_max,
            });
        }
        left.take(text.len())?;
        if self.cells.last().is_none_or(|last| last.row != row) {
            self.rows_begun += 1;
            // Rows may come in any order, so the count is exact only in the end; twice the limit is no honest disorder.
            if self.rows_begun > self.limits.rows_max.saturating_mul(2) {
                return Err(self.too_many_rows());
            }
        }
        let start = u32::try_from(self.text.len()).map_err(|_| RollError::UnpackedTooLarge {
            bytes_max: self.limits.text_bytes_max as u64,
        })?;
        self.text.push_str(text);
        self.cells.push(CellPlace {
            row,
            column,
            start,
            bytes: text.len() as u32,
        });
        Ok(())
    }

    /// Adds a cell that holds text, or says what it holds instead.
    pub(crate) fn text(
        &mut self,
        row: u32,
        column: u32,
        typed: &str,
        left: &mut Left,
    ) -> Result<(), RollError> {
        let trimmed = typed.trim();
        if cell::is_picture(trimmed) {
            self.flaw(row, column, Flaw::Picture);
        } else if cell::is_error(trimmed) {
            self.flaw(row, column, Flaw::Error(trimmed.into()));
        } else if let Some(value) = cell::spelled_value(trimmed) {
            self.cell(row, column, &cell::plain(&value), left)?;
        } else if cell::is_formula(trimmed) {
            self.flaw(row, column, Flaw::NoValue);
        } else if trimmed.contains('\u{fffd}') {
            self.flaw(row, column, Flaw::Bytes);
        } else {
            match cell::scientific(trimmed) {
                Some(Scientific::Whole(number)) => self.cell(row, column, &number, left)?,
                Some(Scientific::Damaged) => {
                    self.flaw(row, column, Flaw::Scientific);
                    self.cell(row, column, trimmed, left)?;
                }
                None => {
                    let rounded = cell::without_extra_digits(trimmed);
                    let text = rounded.map_or_else(|| cell::plain(typed), std::borrow::Cow::Owned);
                    self.cell(row, column, &text, left)?;
                }
            }
        }
        Ok(())
    }

    /// Adds a cell that holds a number.
    pub(crate) fn number(
        &mut self,
        row: u32,
        column: u32,
        number: f64,
        left: &mut Left,
    ) -> Result<(), RollError> {
        match cell::plain_number(number) {
            Some(text) => self.cell(row, column, &text, left)?,
            None => self.flaw(row, column, Flaw::Number),
        }
        Ok(())
    }

    /// Adds a cell that holds a number and shows it in some way.
    pub(crate) fn formatted(
        &mut self,
        row: u32,
        column: u32,
        number: f64,
        format: NumberFormat,
        left: &mut Left,
    ) -> Result<(), RollError> {
        let text = match format {
            NumberFormat::Percent => cell::plain_number(number * 100.0).map(|text| text + "%"),
            NumberFormat::Zeros(digits) if number >= 0.0 && number.fract() == 0.0 => {
                cell::plain_number(number)
                    .map(|text| format!("{text:0>width$}", width = usize::from(digits)))
            }
            NumberFormat::Duration => {
                let minutes = (number * SECONDS_A_DAY).round() / 60.0;
                (0.0..1e9).contains(&minutes).then(|| {
                    let minutes = minutes as u64;
                    format!("{:02}:{:02}", minutes / 60, minutes % 60)
                })
            }
            _ => return self.number(row, column, number, left),
        };
        match text {
            Some(text) => self.cell(row, column, &text, left)?,
            None => self.flaw(row, column, Flaw::Number),
        }
        Ok(())
    }

    /// Adds a cell that holds a number and shows a moment: a serial day of the 1900 system.
    pub(crate) fn moment(
        &mut self,
        row: u32,
        column: u32,
        serial: f64,
        shown: Shown,
        left: &mut Left,
    ) -> Result<(), RollError> {
        let mut seconds = (serial.fract() * SECONDS_A_DAY).round();
        let mut whole = serial.trunc();
        // A script whose clock knows Shanghai's time before 1901 writes a day as 43 seconds before it begins.
        if seconds >= SECONDS_A_DAY - 43.0 {
            (whole, seconds) = (whole + 1.0, 0.0);
        }
        if !(0.0..1e7).contains(&serial) {
            return self.number(row, column, serial, left);
        }
        let minutes = seconds as u32 / 60;
        let clock = format!("{:02}:{:02}", minutes / 60, minutes % 60);
        if whole == 0.0 {
            return self.cell(row, column, &clock, left);
        }
        let Some(day) = date::from_excel_serial(whole) else {
            return self.number(row, column, serial, left);
        };
        self.flaw(row, column, Flaw::Date(shown));
        let day = date::to_iso(day);
        if seconds == 0.0 {
            self.cell(row, column, &day, left)
        } else {
            self.cell(row, column, &format!("{day} {clock}"), left)
        }
    }

    /// Notes a flaw; `row` and `column` count from 0.
    pub(crate) fn flaw(&mut self, row: u32, column: u32, flaw: Flaw) {
        // As many as a roll may have rows, times a few columns of dates.
        if self.flaws.len() < self.limits.rows_max.saturating_mul(8) {
            self.flaws.push(Flawed {
                row: row.saturating_add(1),
                column,
                flaw,
            });
        }
    }

    /// A cell merged over several rows (an area's name beside all of its shops) says the same for each row that has cells of its own.
    pub(crate) fn merged(&mut self, merges: impl IntoIterator<Item = Merge>, left: &mut Left) {
        self.sort();
        let mut rows_left = MERGED_ROWS_MAX;
        let mut copies = Vec::new();
        for merge in merges.into_iter().take(MERGES_MAX) {
            if merge.bottom <= merge.top || merge.left != merge.right {
                continue;
            }
            let at = |row: u32, column: u32| {
                self.cells
                    .binary_search_by_key(&(row, column), |cell| (cell.row, cell.column))
            };
            let Ok(first) = at(merge.top, merge.left) else {
                continue;
            };
            let source = self.cells[first];
            let mut next = first + 1;
            while let Some(cell) = self.cells.get(next).filter(|c| c.row <= merge.bottom) {
                let row = cell.row;
                if row != merge.top && at(row, merge.left).is_err() {
                    let paid = rows_left.checked_sub(1);
                    let (Some(rest), Ok(())) = (paid, left.take(source.bytes as usize)) else {
                        return self.cells.append(&mut copies);
                    };
                    rows_left = rest;
                    copies.push(CellPlace { row, ..source });
                }
                next += self.cells[next..].partition_point(|cell| cell.row == row);
            }
        }
        self.cells.append(&mut copies);
    }

    fn sort(&mut self) {
        let place = |cell: &CellPlace| (cell.row, cell.column);
        if self.cells.is_sorted_by(|a, b| place(a) < place(b)) {
            return;
        }
        // Of a cell that stands twice the last one counts.
        self.cells.sort_by_key(place);
        let mut kept: Vec<CellPlace> = Vec::with_capacity(self.cells.len());
        for cell in self.cells.drain(..) {
            match kept.last_mut() {
                Some(last) if place(last) == place(&cell) => *last = cell,
                _ => kept.push(cell),
            }
        }
        self.cells = kept;
    }

    fn too_many_rows(&self) -> RollError {
        RollError::TooManyRows {
            rows_max: self.limits.rows_max,
        }
    }

    pub(crate) fn finish(mut self) -> Result<(Grid, Vec<Flawed>), RollError> {
        self.sort();
        let mut rows = Vec::new();
        for (at, cell) in self.cells.iter().enumerate() {
            if at == 0 || self.cells[at - 1].row != cell.row {
                rows.push(at as u32);
            }
        }
        self.leave_out_lone_rows(&mut rows);
        if rows.len() > self.limits.rows_max {
            return Err(self.too_many_rows());
        }
        let last_row = self.cells.last().map_or(0, |cell| cell.row + 1);
        // What is hidden below the table hides nothing.
        self.flaws
            .retain(|flawed| flawed.flaw != Flaw::HiddenRow || flawed.row <= last_row);
        self.flaws.sort_by_key(|flawed| (flawed.row, flawed.column));
        self.text.shrink_to_fit();
        self.cells.shrink_to_fit();
        rows.shrink_to_fit();
        let grid = Grid {
            text: self.text,
            cells: self.cells,
            rows,
        };
        Ok((grid, self.flaws))
    }

    /// A cell in the last row of a sheet, long after everything else, is a slip of the hand.
    fn leave_out_lone_rows(&mut self, rows: &mut Vec<u32>) {
        let row_of = |at: u32| self.cells[at as usize].row;
        let mut keep = rows.len();
        for at in (1..rows.len()).rev().take(LONE_ROWS_MAX) {
            let end = rows.get(at + 1).map_or(self.cells.len(), |n| *n as usize);
            if end - rows[at] as usize > LONE_CELLS_MAX {
                break;
            }
            if row_of(rows[at]) - row_of(rows[at - 1]) > GAP_ROWS {
                keep = at;
            }
        }
        if let Some(first) = rows.get(keep).copied() {
            for cell in self.cells.split_off(first as usize) {
                self.flaw(cell.row, cell.column, Flaw::Far);
            }
            rows.truncate(keep);
        }
    }
}

/// Merged regions of one sheet, and rows they may touch together.
const MERGES_MAX: usize = 5_000;
const MERGED_ROWS_MAX: usize = 1_000_000;

/// A merged region; rows and columns count from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Merge {
    pub(crate) top: u32,
    pub(crate) left: u32,
    pub(crate) bottom: u32,
    pub(crate) right: u32,
}
