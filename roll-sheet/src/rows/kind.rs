//! What a row is: a shop, people of the one above, headings, a band, a total, a footer; and what those say of the rows below.

use lianka_sync_core::{kinds::Meaning, search::fold, values::characters};

use super::{
    columns::letters,
    numbers::kept,
    reader::{NUMBER, ROAD, Reader},
};
use lianka_office_core::roll::masks::masked_text;

use crate::{
    ColumnTarget, ProblemCode, RollRow,
    cell::one_line,
    headings::{self, NAMES_SHOP},
    shape::{self, Band, Words},
};

pub(super) enum RowKind {
    Shop,
    /// Further people of the shop above.
    People,
    Total,
    RepeatedHeader,
    /// Headings in other words, or of other columns.
    OtherHeader,
    Band(Band),
    /// A running number that was filled in ahead.
    Numbered,
    Footer,
    Other,
}

impl Reader<'_> {
    pub(super) fn kind_of(&self, row: u32, cells: &[String], said: &[String]) -> RowKind {
        if headings::is_heading_row(cells) {
            return RowKind::OtherHeader;
        }
        let is_count = |at: usize| said.get(at).is_some_and(|cell| shape::is_count(cell));
        let has = |meanings: &[Meaning]| {
            meanings.iter().any(|of| {
                self.cell(said, *of)
                    .is_some_and(|(text, _)| !characters::says_nothing(&text))
                    && self.at(*of).is_some_and(|(at, _)| !is_count(at))
            })
        };
        let told: Vec<&str> = cells
            .iter()
            .map(|cell| cell.trim())
            .filter(|cell| !cell.is_empty())
            .collect();
        match shape::words(&told, self.above.passed, self.street.roads, &self.grids) {
            Words::Footer | Words::Note => return RowKind::Footer,
            Words::Total
                if !has(&[
                    Meaning::Address,
                    ROAD,
                    Meaning::LegalName,
                    Meaning::CreditCode,
                ]) =>
            {
                return RowKind::Total;
            }
            Words::Band(band) => return RowKind::Band(band),
            Words::Total | Words::Other => {}
        }
        // A number says where only if it carries its road.
        let number_with_road =
            (self.at(ROAD).is_none() || self.above.road.is_some()) && has(&[NUMBER]);
        let shop = |meaning: &Meaning| match meaning {
            // 1912 and 85度C are signs.
            Meaning::TradeName => self.cell(said, *meaning).is_some(),
            _ => has(&[*meaning]),
        };
        if NAMES_SHOP.iter().any(shop) || number_with_road {
            return RowKind::Shop;
        }
        let filled = |of: fn(&ColumnTarget) -> bool| {
            self.columns
                .iter()
                .zip(said)
                .any(|(column, cell)| !cell.is_empty() && of(&column.target))
        };
        let person = filled(|target| matches!(target, ColumnTarget::Contact { .. }));
        let numbered = filled(|target| matches!(target, ColumnTarget::Serial));
        if person && !numbered && self.above.is_next(row) {
            RowKind::People
        } else if numbered && !filled(|target| !matches!(target, ColumnTarget::Serial)) {
            RowKind::Numbered
        } else {
            RowKind::Other
        }
    }

    pub(super) fn skipped(&mut self, row: u32, cells: &[String], zh: &str, en: &str) {
        let first: String = cells
            .iter()
            .find(|c| !c.is_empty())
            .map(|c| masked_text(&one_line(c)))
            .unwrap_or_default()
            .chars()
            .take(40)
            .collect();
        self.report(
            ProblemCode::RowSkipped,
            row,
            None,
            format!("{zh}：{first}"),
            format!("{en}: {first}"),
        );
    }

    /// The cells in the columns of the table's own headings, and those that have no column there.
    pub(super) fn placed(&self, cells: &[String]) -> (Vec<String>, Vec<(String, String)>) {
        let Some((moved, headings)) = &self.moved else {
            return (cells.to_vec(), Vec::new());
        };
        let mut own = vec![String::new(); self.columns.len()];
        let mut beside = Vec::new();
        let filled = cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.is_empty());
        for (at, cell) in filled {
            if let Some(Some(place)) = moved.get(at) {
                own[*place].clone_from(cell);
                continue;
            }
            let heading = headings.get(at).map_or("", |heading| heading.trim());
            let heading = if heading.is_empty() {
                letters(at)
            } else {
                one_line(heading)
            };
            beside.push((heading, cell.clone()));
        }
        (own, beside)
    }

    /// Cells that have no column: kept as text, and reported.
    pub(super) fn beside(&mut self, shop: &mut RollRow, beside: Vec<(String, String)>) {
        for (heading, cell) in beside {
            self.report(
                ProblemCode::CellNotTaken,
                shop.row,
                Some(&heading),
                format!("表中间换过表头，“{heading}”不在第一个表头里，未写入字段"),
                format!("the headings changed within the table, and “{heading}” is none of the first ones: kept in the cells only"),
            );
            let targets = headings::targets(std::slice::from_ref(&heading));
            if targets.contains(&ColumnTarget::Sensitive) {
                continue;
            }
            let cell = kept(&heading, &cell);
            shop.cells.push((heading, cell));
        }
    }

    /// Cells behind the last heading are nothing, and perhaps the cells before them stand in the wrong columns.
    pub(super) fn surplus(&mut self, row: u32, places: &[usize], said: &mut [String]) {
        for at in places {
            if let Some(cell) = said.get_mut(*at) {
                cell.clear();
            }
            self.report(
                ProblemCode::CellNotTaken,
                row,
                Some(&letters(*at)),
                "本行比表头多出单元格，未写入字段；可能有逗号没有放在引号里，前面各格可能错位，请核对本行",
                "the row has more cells than the headings, and this one is kept in the cells only; perhaps a comma stands in no quotation marks and moved the cells before it: please check the row",
            );
        }
    }

    /// Headings within the table, in other words or in another order: the rows below are read by them.
    pub(super) fn other_header(&mut self, row: u32, cells: &[String]) {
        let headings: Vec<String> = cells.iter().map(|cell| one_line(cell)).collect();
        let targets = headings::targets(&headings);
        let place = |at: usize| -> Option<usize> {
            let heading = headings.get(at).filter(|heading| !heading.is_empty())?;
            self.columns
                .iter()
                .position(|column| column.target == targets[at])
                .or_else(|| {
                    self.columns
                        .iter()
                        .position(|column| fold(&column.heading) == fold(heading))
                })
        };
        let places: Vec<Option<usize>> = (0..headings.len()).map(place).collect();
        let is_same = places
            .iter()
            .enumerate()
            .all(|(at, place)| *place == Some(at) || headings[at].is_empty());
        // Only a part of the headings, or a second row of them, in their places: nothing moves.
        let names_shop = targets.iter().any(
            |target| matches!(target, ColumnTarget::Field(field) if NAMES_SHOP.contains(&field.meaning)),
        );
        self.moved = (!is_same && names_shop).then_some((places, headings));
        let (zh, en) = if self.moved.is_some() {
            (
                "表中间换了表头，以下各行按这一行的列名读",
                "other headings within the table: the rows below are read by them",
            )
        } else {
            (
                "表中间重复的表头，未当作商铺",
                "the headings again, not taken for a shop",
            )
        };
        self.report(ProblemCode::HeadingRepeated, row, None, zh, en);
    }

    /// A row that heads those below it.
    pub(super) fn band(&mut self, row: u32, cells: &[String], band: Band) {
        let (zh, en) = match band {
            Band::Road(road) => {
                let told = (
                    format!("以下没有写路名的各行，按“{road}”读"),
                    format!("the rows below that name no road are read as on “{road}”"),
                );
                self.above.road = Some(road);
                told
            }
            Band::Grid(code) => {
                let told = (
                    format!("以下没有写网格的各行，按网格“{code}”读"),
                    format!("the rows below that name no grid are read as of grid “{code}”"),
                );
                (self.above.grid, self.above.area) = (Some(code), None);
                told
            }
            Band::Area(area) => {
                let told = (
                    format!("以下没有写片区的各行，按“{area}”读"),
                    format!("the rows below that name no area are read as of “{area}”"),
                );
                (self.above.area, self.above.grid) = (Some(area), None);
                told
            }
            Band::Unknown => {
                return self.skipped(
                    row,
                    cells,
                    "表内小标题，既不是路名也不是网格，未导入",
                    "a heading within the table that is neither a road nor a grid; not imported",
                );
            }
        };
        self.above.row = 0;
        self.report(ProblemCode::BandApplied, row, None, zh, en);
    }
}
