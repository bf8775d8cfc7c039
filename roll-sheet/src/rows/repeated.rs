//! Rows and cells that stand for others: placeholders, 同上, merged shops with further people, and rows that say the same.

use std::collections::HashMap;

use lianka_sync_core::kinds::Meaning;
use sha2::{Digest, Sha256};

use super::reader::{NUMBER, ROAD, Reader};
use crate::{
    ColumnTarget, Problem, ProblemCode, RollColumn, RollRow,
    cell::{occupancy, one_line},
    shape::{self, Placeholder},
};

impl Reader<'_> {
    /// The cells without those that stand for nothing, for a look at what the row is.
    pub(super) fn said(&self, cells: &[String]) -> Vec<String> {
        self.columns
            .iter()
            .zip(cells)
            .map(|(column, cell)| match self.placeholder(column, cell) {
                Some(Placeholder::Sign | Placeholder::Word) => String::new(),
                Some(Placeholder::Ditto) | None => cell.clone(),
            })
            .collect()
    }

    /// What a cell of this column stands for, where it is no value there.
    fn placeholder(&self, column: &RollColumn, cell: &str) -> Option<Placeholder> {
        let found = shape::placeholder(cell)?;
        match (&column.target, found) {
            (ColumnTarget::Serial | ColumnTarget::Exported | ColumnTarget::Sensitive, _) => None,
            // 无 is an answer to whether there is an alarm.
            (ColumnTarget::Custom(name), Placeholder::Word) => {
                self.personal.contains(name.as_str()).then_some(found)
            }
            // 空 and 无人 say that a shop is vacant.
            (ColumnTarget::Field(field), Placeholder::Word) if field.meaning == Meaning::Choice => {
                occupancy(cell).is_none().then_some(found)
            }
            _ => Some(found),
        }
    }

    /// The cells with 同上 read as the value above, where that is safe: of what neighbours have in common.
    pub(super) fn without_placeholders(
        &mut self,
        row: u32,
        cells: &[String],
        mut said: Vec<String>,
    ) -> Vec<String> {
        for (at, column) in self.columns.iter().enumerate() {
            let Some(cell) = cells.get(at) else { break };
            if self.placeholder(column, cell) != Some(Placeholder::Ditto) {
                continue;
            }
            let is_common = match &column.target {
                ColumnTarget::Area => true,
                ColumnTarget::Field(field) => {
                    // 业态 is the one plain word that neighbours share.
                    matches!(field.meaning, Meaning::Grid | ROAD | Meaning::Text)
                }
                _ => false,
            };
            let above = self
                .above
                .said
                .get(at)
                .filter(|above| is_common && self.above.is_next(row) && !above.is_empty())
                .cloned();
            let heading = column.heading.as_str();
            if let Some(above) = above {
                self.report(
                    ProblemCode::DittoTaken,
                    row,
                    Some(heading),
                    format!("“{cell}”按上一行读作“{above}”"),
                    format!("“{cell}” is read as “{above}”, from the row above"),
                );
                said[at] = above;
            } else {
                self.report(
                    ProblemCode::DittoNotTaken,
                    row,
                    Some(heading),
                    format!("“{cell}”不能替代具体内容，未写入，请填写"),
                    format!(
                        "“{cell}” does not stand for a value here: left empty, please fill it in"
                    ),
                );
                said[at].clear();
            }
        }
        said
    }

    /// Whether a row says the same shop again, in merged or repeated cells, with another person.
    pub(super) fn goes_on(&self, shop: &RollRow, row: u32, cells: &[String]) -> bool {
        if !self.above.is_next(row) || shop.row > row {
            return false;
        }
        let above = |at: usize| self.above.cells.get(at).map_or("", String::as_str);
        let mut other_person = false;
        let (mut sign, mut place) = (false, false);
        for (at, column) in self.columns.iter().enumerate() {
            let cell = cells.get(at).map_or("", String::as_str);
            match &column.target {
                ColumnTarget::Contact { .. } => {
                    other_person |= !cell.is_empty() && cell != above(at);
                }
                _ if cell.is_empty() => {}
                _ if cell != above(at) => return false,
                ColumnTarget::Field(field) => {
                    sign |= field.meaning == Meaning::TradeName;
                    place |= matches!(
                        field.meaning,
                        Meaning::Address | NUMBER | Meaning::CreditCode
                    );
                }
                _ => {}
            }
        }
        other_person && sign && place
    }

    /// Adds the people of a row that goes on with a shop.
    pub(super) fn join(&mut self, shop: &mut RollRow, row: u32, cells: &[String]) {
        let first = shop.row;
        let said = self.said(cells);
        let said = self.without_placeholders(row, cells, said);
        let mut further = RollRow::empty(row);
        self.contacts(&mut further, &said);
        let known = shop.contacts.len();
        for contact in further.contacts {
            if !shop.contacts[..known].contains(&contact) {
                shop.contacts.push(contact);
            }
        }
        self.problems.push(
            Problem::new(
                ProblemCode::RowJoined,
                row,
                None,
                format!("只有联系人，并入第 {first} 行的商铺"),
                format!("only people: joined to the shop of row {first}"),
            )
            .with_other_row(first),
        );
        for (at, column) in self.columns.iter().enumerate() {
            let Some(cell) = cells.get(at).filter(|cell| !cell.is_empty()) else {
                continue;
            };
            let repeated = self.above.cells.get(at) == Some(cell);
            let is_person = matches!(column.target, ColumnTarget::Contact { .. });
            if repeated && !is_person {
                continue;
            }
            shop.cells.push((column.heading.clone(), cell.clone()));
            if !is_person && said.get(at).is_some_and(|cell| !cell.is_empty()) {
                self.report(
                    ProblemCode::CellNotTaken,
                    row,
                    Some(&column.heading),
                    format!(
                        "本行只有联系人，“{}”未写入第 {first} 行的商铺",
                        column.heading
                    ),
                    format!(
                        "a row of people only: “{}” was not written to the shop of row {first}",
                        column.heading
                    ),
                );
            }
        }
        self.above.row = row;
    }

    /// Hash of all cells but the running number, independent of the order of columns; equal rows are told apart by counting.
    pub(super) fn identity(&self, cells: &[String], seen: &mut HashMap<[u8; 32], u32>) -> [u8; 32] {
        let mut pairs: Vec<(String, String)> = self
            .columns
            .iter()
            .zip(cells)
            .filter(|(column, cell)| {
                !matches!(column.target, ColumnTarget::Serial | ColumnTarget::Exported)
                    && !cell.is_empty()
            })
            .map(|(column, cell)| (column.heading.clone(), one_line(cell)))
            .collect();
        pairs.sort_unstable();
        let mut hash = Sha256::new_with_prefix(b"lianka roll row 1");
        for text in pairs.iter().flat_map(|(heading, cell)| [heading, cell]) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let same: [u8; 32] = hash.clone().finalize().into();
        let ordinal = seen.entry(same).or_insert(0);
        *ordinal += 1;
        if *ordinal == 1 {
            return same;
        }
        hash.update(ordinal.to_be_bytes());
        hash.finalize().into()
    }
}
