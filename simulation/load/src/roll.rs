//! 天平路街道 for the demo: the sample roll, the grids that occur in it, and the street's road table.
//!
//! The grids are read from the roll itself (columns 片区 and 网格), so that the street fits whatever roll lies in the tests' fixtures. The
//! roads are the street office's own table: a roll with a misspelt road must find it missing there.

use std::{collections::BTreeSet, io::Cursor};

use anyhow::Context;
use calamine::{Data, Reader, Xlsx};

use crate::office::Grid;

/// The sample roll as an office would send it.
pub const SHEET: &[u8] = include_bytes!("../../../tests/fixtures/rolls/tianping-roll.xlsx");
/// Division code of the street.
pub const STREET: &str = "310104003";
pub const STREET_NAME: &str = "天平路街道";
pub const DISTRICT: &str = "徐汇区";
/// The street's road table.
pub const ROADS: [&str; 27] = [
    "华山路",
    "襄阳南路",
    "永康路",
    "肇嘉浜路",
    "虹桥路",
    "建国西路",
    "安亭路",
    "余庆路",
    "吴兴路",
    "宛平路",
    "淮海中路",
    "嘉善路",
    "淮海西路",
    "衡山路",
    "康平路",
    "广元路",
    "东平路",
    "永嘉路",
    "天平路",
    "桃江路",
    "广元西路",
    "兴国路",
    "汾阳路",
    "太原路",
    "乌鲁木齐南路",
    "高安路",
    "岳阳路",
];

const AREA: &str = "片区";
const GRID: &str = "网格";

/// The grids of a roll, area by area.
pub fn grids(sheet: &[u8]) -> anyhow::Result<Vec<Grid>> {
    let mut workbook: Xlsx<_> =
        Xlsx::new(Cursor::new(sheet)).context("the sample roll is no workbook")?;
    let mut grids = BTreeSet::new();
    for (_, cells) in workbook.worksheets() {
        let rows: Vec<Vec<String>> = cells
            .rows()
            .map(|row| row.iter().map(text).collect())
            .collect();
        let heading = rows.iter().enumerate().find_map(|(at, row)| {
            let column = |heading: &str| row.iter().position(|cell| cell == heading);
            Some((at, column(AREA)?, column(GRID)?))
        });
        let Some((heading, area, grid)) = heading else {
            continue;
        };
        for row in &rows[heading + 1..] {
            // Blank rows and the line of totals name no number.
            if let (Some(area), Some(Ok(number))) =
                (row.get(area), row.get(grid).map(|cell| cell.parse::<u32>()))
            {
                grids.insert(Grid {
                    code: format!("{area}{number:02}"),
                    name: format!("{area}第{number}网格"),
                    area: area.clone(),
                });
            }
        }
    }
    anyhow::ensure!(
        !grids.is_empty(),
        "the sample roll has no columns {AREA} and {GRID}"
    );
    Ok(grids.into_iter().collect())
}

fn text(cell: &Data) -> String {
    cell.to_string().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_roll_has_three_areas() {
        let grids = grids(SHEET).expect("a roll");
        let areas: BTreeSet<_> = grids.iter().map(|grid| grid.area.as_str()).collect();
        assert_eq!(areas, ["康平", "梧桐", "嘉澜"].into());
        assert_eq!(grids.len(), 27);
        assert!(
            grids
                .iter()
                .any(|grid| grid.code == "康平01" && grid.name == "康平第1网格")
        );
    }
}
