//! Rows of a sheet whose headings are known → values of cards, and what is doubtful about them.

mod columns;
mod kind;
mod numbers;
mod persons;
mod place;
mod reader;
mod repeated;
mod shop;

use std::collections::HashMap;

use lianka_sync_core::kinds::{Class, key};

use crate::roll::sheet::{
    Lines, RollError, RollPlan, RollRow, Sheet, StreetTables,
    custom::custom_fields,
    flaws,
    grids::GridNames,
    headings::{self, Header},
};

use columns::columns;
use kind::RowKind;
use reader::{Above, Reader};

pub(crate) fn plan(
    sheets: &[Sheet],
    header: &Header,
    street: &StreetTables<'_>,
) -> Result<RollPlan, RollError> {
    let sheet = sheets.get(header.sheet).ok_or(RollError::NoHeader)?;
    let (last_heading_row, lowest) = sheet.rows.get(header.row).ok_or(RollError::NoHeader)?;
    let groups = header.groups.and_then(|at| sheet.rows.get(at));
    let header_row = groups.as_ref().map_or(last_heading_row, |(row, _)| *row);
    let mut heading_cells = match &groups {
        Some((_, above)) => headings::composed(above, &lowest),
        None => lowest.clone(),
    };
    let named_by_numbers = numbers::without_numbers(&mut heading_cells);
    let below = sheet.rows.from(header.row + 1);
    let columns = columns(&heading_cells, below);
    let mut custom_fields = custom_fields(&columns, below);
    let mut reader = Reader {
        columns: &columns,
        street,
        header_row,
        problems: Vec::new(),
        grids: street.grids.iter().map(GridNames::of).collect(),
        kinds: custom_fields
            .iter()
            .map(|f| (f.name.as_str(), &f.kind))
            .collect(),
        personal: custom_fields
            .iter()
            .filter(|field| field.class >= Class::P2)
            .map(|field| field.name.as_str())
            .collect(),
        doors: HashMap::new(),
        above: Above::default(),
        moved: None,
    };
    if named_by_numbers {
        reader.heading_numbers();
    }
    reader.look_at_columns(header.other_sheet.and_then(|at| sheets.get(at)));
    let mut rows: Vec<RollRow> = Vec::new();
    let mut seen: HashMap<[u8; 32], u32> = HashMap::new();
    let (mut total_rows, mut numbered_rows) = (0, 0);
    let is_heading = |cells: &Vec<String>| {
        *cells == lowest || groups.as_ref().is_some_and(|(_, above)| cells == above)
    };
    for (row, mut typed) in below.iter() {
        let flaws = flaws::mend(sheet, row, &mut typed, &columns);
        let (placed, beside) = reader.placed(&typed);
        // Whatever a cell is for, numbers of persons are looked for first.
        let (cells, kept) = reader.without_persons(row, &placed);
        let said = reader.said(&cells);
        let kind = if is_heading(&typed) {
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
        match kind {
            RowKind::Shop => {
                let joined = rows
                    .last_mut()
                    .filter(|shop| reader.goes_on(shop, row, &cells));
                if let Some(shop) = joined {
                    reader.join(shop, row, &cells);
                } else {
                    let mut said = reader.without_placeholders(row, &cells, said);
                    if reader.moved.is_none() {
                        reader.surplus(row, &flaws::surplus(sheet, row, &columns), &mut said);
                    }
                    let mut shop = reader.shop(row, &kept, &said);
                    shop.identity = reader.identity(&placed, &mut seen);
                    reader.above.shop(row, cells, said);
                    reader.beside(&mut shop, beside);
                    rows.push(shop);
                }
            }
            RowKind::People => {
                if let Some(shop) = rows.last_mut() {
                    reader.join(shop, row, &cells);
                }
            }
            RowKind::Total => total_rows += 1,
            // The same columns again: what moved is back.
            RowKind::RepeatedHeader => reader.moved = None,
            RowKind::OtherHeader => reader.other_header(row, &typed),
            RowKind::Band(band) => reader.band(row, &cells, band),
            RowKind::Numbered => numbered_rows += 1,
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
    }
    let last_row = below.last_row().unwrap_or(last_heading_row);
    let blank_rows =
        ((last_row - last_heading_row) as usize).saturating_sub(below.len()) + numbered_rows;
    let Reader { mut problems, .. } = reader;
    problems.sort_by_key(|p| p.row);
    // Of a column without a heading only what a shop says is a field.
    custom_fields.retain(|field| {
        let is_named = columns
            .iter()
            .any(|column| column.heading == field.label && column.heading != column.letters);
        let key = format!("{}/{}", key::CUSTOM, field.name);
        is_named || rows.iter().any(|shop| shop.text(&key).is_some())
    });
    Ok(RollPlan {
        sheet: sheet.name.clone(),
        header_row,
        columns,
        custom_fields,
        rows,
        problems,
        blank_rows,
        total_rows,
        heading_cells,
        lines: Lines::default(),
    })
}
