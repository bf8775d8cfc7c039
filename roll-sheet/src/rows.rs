//! Rows of a sheet whose headings are known → values of cards, and what is doubtful about them.

mod columns;
mod kind;
mod numbers;
mod persons;
mod place;
mod reader;
mod repeated;
mod shop;

use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
};

use lianka_sync_core::kinds::key;

use crate::{
    CustomField, Part, Problem, RollColumn, RollError, RollRow, Sheet, StreetTables, Totals,
    custom::custom_fields,
    flaws,
    headings::{self, Header},
};

use columns::columns;
use kind::RowKind;
use reader::Reader;

/// Shops of one part.
const PART_ROWS: usize = 500;
/// Problems of one part: rows that name no shop have them too.
const PART_PROBLEMS: usize = 4_000;

/// The headings of a sheet, and what is read below them.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) columns: Vec<RollColumn>,
    pub(crate) custom_fields: Vec<CustomField>,
    /// The headings as they stand, by column; of two rows, composed.
    pub(crate) heading_cells: Vec<String>,
    /// Number of the row of headings, or of groups above it.
    pub(crate) header_row: u32,
    /// Place of the first row below.
    pub(crate) from: usize,
    last_heading_row: u32,
    lowest: Vec<String>,
    groups: Option<Vec<String>>,
    /// A heading was a number of a person, and names its column no more.
    named_by_numbers: bool,
}

impl Table {
    /// The table below these headings.
    pub(crate) fn find(sheet: &Sheet, header: &Header) -> Result<Self, RollError> {
        let (last_heading_row, lowest) = sheet.rows.get(header.row).ok_or(RollError::NoHeader)?;
        let groups = header.groups.and_then(|at| sheet.rows.get(at));
        let mut heading_cells = match &groups {
            Some((_, above)) => headings::composed(above, &lowest),
            None => lowest.clone(),
        };
        let named_by_numbers = numbers::without_numbers(&mut heading_cells);
        let from = header.row + 1;
        let below = sheet.rows.from(from);
        let columns = columns(&heading_cells, below);
        Ok(Self {
            custom_fields: custom_fields(&columns, below),
            columns,
            heading_cells,
            header_row: groups.as_ref().map_or(last_heading_row, |(row, _)| *row),
            from,
            last_heading_row,
            lowest,
            groups: groups.map(|(_, above)| above),
            named_by_numbers,
        })
    }

    /// What is doubtful about the columns.
    pub(crate) fn about_columns(
        &self,
        street: &StreetTables<'_>,
        other_sheet: Option<&str>,
    ) -> Vec<Problem> {
        let mut reader = Reader::of(self, street);
        if self.named_by_numbers {
            reader.heading_numbers();
        }
        reader.look_at_columns(other_sheet);
        reader.problems
    }

    /// Reads the rows from the top, and hands them over part by part, as long as `each` wants more. No part holds more than some hundred shops, however
    /// many the sheet has. `told`: what is known of rows beside, by row.
    pub(crate) fn read(
        &self,
        sheet: &Sheet,
        street: &StreetTables<'_>,
        told: Vec<Problem>,
        each: &mut dyn FnMut(Part) -> ControlFlow<()>,
    ) -> Totals {
        let below = sheet.rows.from(self.from);
        let mut reading = Reading {
            reader: Reader::of(self, street),
            seen: HashMap::new(),
            last: None,
            done: Vec::new(),
            handed_over: 0,
            told: told.into_iter().peekable(),
            unsaid: self.without_heading(),
        };
        let mut totals = Totals::default();
        let mut numbered_rows = 0;
        for (row, mut typed) in below.iter() {
            let flaws = flaws::mend(sheet, row, &mut typed, &self.columns);
            match reading.row(self, sheet, row, &typed, flaws) {
                Counted::Total => totals.total_rows += 1,
                Counted::Numbered => numbered_rows += 1,
                Counted::Not => {}
            }
            if let Some(upto) = reading.is_enough(row)
                && each(reading.part(upto)).is_break()
            {
                return totals;
            }
        }
        let last_row = below.last_row().unwrap_or(self.last_heading_row);
        totals.blank_rows = ((last_row - self.last_heading_row) as usize)
            .saturating_sub(below.len())
            + numbered_rows;
        // Whoever wants no more has ended; there is nothing left to stop.
        let _ = each(reading.part(u32::MAX));
        totals.unsaid = reading.unsaid;
        totals
    }

    /// The street's own fields whose columns have no heading.
    fn without_heading(&self) -> BTreeSet<String> {
        let is_named = |field: &&CustomField| {
            self.columns
                .iter()
                .any(|column| column.heading == field.label && column.heading != column.letters)
        };
        let fields = self.custom_fields.iter();
        let unnamed = fields.filter(|field| !is_named(field));
        unnamed.map(|field| field.name.clone()).collect()
    }
}

/// Rows of which only the number is told.
enum Counted {
    Total,
    Numbered,
    Not,
}

/// The reading of a sheet, somewhere between its first row and its last.
struct Reading<'t> {
    reader: Reader<'t>,
    seen: HashMap<[u8; 32], u32>,
    /// The shop that the next row may still go on with.
    last: Option<RollRow>,
    done: Vec<RollRow>,
    /// Every row before this one was handed over.
    handed_over: u32,
    told: std::iter::Peekable<std::vec::IntoIter<Problem>>,
    /// The street's own fields without a heading of which no shop said anything yet.
    unsaid: BTreeSet<String>,
}

impl Reading<'_> {
    fn row(
        &mut self,
        table: &Table,
        sheet: &Sheet,
        row: u32,
        typed: &[String],
        flaws: Vec<Problem>,
    ) -> Counted {
        let reader = &mut self.reader;
        let (placed, beside) = reader.placed(typed);
        // Whatever a cell is for, numbers of persons are looked for first.
        let (cells, kept) = reader.without_persons(row, &placed);
        let said = reader.said(&cells);
        let is_heading =
            typed == table.lowest || table.groups.as_ref().is_some_and(|above| typed == above);
        let kind = if is_heading {
            RowKind::RepeatedHeader
        } else {
            match reader.kind_of(row, &cells, &said) {
                // What is left of a damaged row, or beside a person's number, heads nothing.
                RowKind::Band(_) if !flaws.is_empty() || kept != cells => RowKind::Other,
                kind => kind,
            }
        };
        let passed = matches!(kind, RowKind::Footer);
        if matches!(kind, RowKind::Shop | RowKind::People | RowKind::Other) {
            reader.problems.extend(flaws);
        }
        let mut counted = Counted::Not;
        match kind {
            RowKind::Shop => {
                let joined = self
                    .last
                    .as_mut()
                    .filter(|shop| reader.goes_on(shop, row, &cells));
                if let Some(shop) = joined {
                    reader.join(shop, row, &cells);
                } else {
                    let mut said = reader.without_placeholders(row, &cells, said);
                    if reader.moved.is_none() {
                        reader.surplus(row, &flaws::surplus(sheet, row, &table.columns), &mut said);
                    }
                    let mut shop = reader.shop(row, &kept, &said);
                    shop.identity = reader.identity(&placed, &mut self.seen);
                    reader.above.shop(row, cells, said);
                    reader.beside(&mut shop, beside);
                    self.done.extend(self.last.replace(shop));
                }
            }
            RowKind::People => {
                if let Some(shop) = &mut self.last {
                    reader.join(shop, row, &cells);
                }
            }
            RowKind::Total => counted = Counted::Total,
            // The same columns again: what moved is back.
            RowKind::RepeatedHeader => reader.moved = None,
            RowKind::OtherHeader => reader.other_header(row, typed),
            RowKind::Band(band) => reader.band(row, &cells, band),
            RowKind::Numbered => counted = Counted::Numbered,
            RowKind::Footer => reader.skipped(
                row,
                &cells,
                "表尾、签名或说明，未导入",
                "a footer, a signature or a note; not imported",
            ),
            RowKind::Other => reader.skipped(
                row,
                &cells,
                "没有店招、登记名称、代码或地址，未导入",
                "names no shop, neither sign, registered name, code nor address; not imported",
            ),
        }
        reader.above.passed = passed;
        if reader.above.row != row {
            // No row goes on with a shop that does not stand right above it.
            self.done.extend(self.last.take());
        }
        counted
    }

    /// Whether a part is full, and up to which row all is said.
    fn is_enough(&self, row: u32) -> Option<u32> {
        let is_full = self.done.len() >= PART_ROWS || self.reader.problems.len() >= PART_PROBLEMS;
        let upto = self
            .last
            .as_ref()
            .map_or(row.saturating_add(1), |shop| shop.row);
        (is_full && upto > self.handed_over).then_some(upto)
    }

    /// What is said of the rows before `upto` that was not handed over.
    fn part(&mut self, upto: u32) -> Part {
        if upto == u32::MAX {
            self.done.extend(self.last.take());
        }
        let (mut problems, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.reader.problems)
            .into_iter()
            .partition(|problem| problem.row < upto);
        self.reader.problems = later;
        while let Some(problem) = self.told.next_if(|problem| problem.row < upto) {
            problems.push(problem);
        }
        problems.sort_by_key(|problem| problem.row);
        let first = problems.partition_point(|problem| problem.row < self.handed_over);
        let own = problems.split_off(first);
        self.handed_over = upto;
        let is_said = |name: &String| {
            let key = format!("{}/{name}", key::CUSTOM);
            self.done.iter().any(|shop| shop.text(&key).is_some())
        };
        self.unsaid.retain(|name| !is_said(name));
        Part {
            rows: std::mem::take(&mut self.done),
            problems: own,
            late: problems,
            upto,
        }
    }
}
