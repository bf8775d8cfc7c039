//! A roll of invented shops as a workbook, of any length: the same number of rows always gives the same cells.

use anyhow::Context;
use rust_xlsxwriter::Workbook;

use crate::{draw::Draw, office::Grid, roll};

const SEED: u32 = 20_261_129;
/// House numbers of a road.
const NUMBERS_A_ROAD: usize = 2_000;
const AREAS: [&str; 3] = ["康平", "梧桐", "嘉澜"];
const GRIDS_AN_AREA: usize = 4;

const HEADINGS: [&str; 17] = [
    "序号",
    "片区",
    "网格",
    "店招",
    "营业执照名称",
    "统一社会信用代码",
    "地址",
    "业态",
    "经营状态",
    "联系人",
    "联系电话",
    "紧急联系人",
    "紧急联系电话",
    "营业时间",
    "消防设施",
    "建筑面积",
    "备注",
];
const SURNAMES: [&str; 12] = [
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙",
];
const NAMES: [&str; 12] = [
    "小明", "丽华", "建国", "秀英", "志强", "桂兰", "海燕", "文斌", "晓东", "玉梅", "国平", "佳怡",
];
const SIGNS: [&str; 10] = [
    "包子铺",
    "面馆",
    "水果店",
    "理发店",
    "五金店",
    "咖啡馆",
    "便利店",
    "药房",
    "花店",
    "洗衣店",
];
const TRADES: [&str; 6] = ["餐饮", "零售", "服务", "美发", "五金", "医药"];
const STATES: [&str; 4] = ["营业", "营业", "营业", "装修"];
const FIRE: [&str; 3] = ["灭火器2具", "灭火器4具", "喷淋"];

/// The grids of the roll.
pub fn grids() -> Vec<Grid> {
    AREAS
        .iter()
        .flat_map(|area| {
            (1..=GRIDS_AN_AREA).map(move |number| Grid {
                code: format!("{area}{number:02}"),
                name: format!("{area}第{number}网格"),
                area: (*area).to_owned(),
            })
        })
        .collect()
}

/// The roll.
pub fn workbook(rows: usize) -> anyhow::Result<Vec<u8>> {
    let mut draw = Draw::new(SEED);
    let mut book = Workbook::new();
    let sheet = book
        .add_worksheet_with_constant_memory()
        .context("no sheet can be made")?;
    for (column, heading) in (0..).zip(HEADINGS) {
        sheet.write_string(0, column, heading)?;
    }
    for number in 0..rows {
        let row = number as u32 + 1;
        sheet.write_number(row, 0, f64::from(row))?;
        for (column, cell) in (1..).zip(shop(&mut draw, number)) {
            if !cell.is_empty() {
                sheet.write_string(row, column, &cell)?;
            }
        }
    }
    book.save_to_buffer().context("the roll cannot be written")
}

fn shop(draw: &mut Draw, number: usize) -> [String; 16] {
    let person = |draw: &mut Draw| format!("{}{}", draw.pick(&SURNAMES), draw.pick(&NAMES));
    let phone = |draw: &mut Draw| format!("138{:08}", draw.int(100_000_000));
    let road = roll::ROADS[number / NUMBERS_A_ROAD % roll::ROADS.len()];
    let owner = person(draw);
    let sign = format!("{owner}{}{number}号店", draw.pick(&SIGNS));
    let has_second = draw.int(3) == 0;
    let or_none = |there: bool, text: String| if there { text } else { String::new() };
    [
        draw.pick(&AREAS).to_owned(),
        (1 + draw.int(GRIDS_AN_AREA)).to_string(),
        sign,
        format!("上海{owner}商贸第{number}有限公司"),
        // As long as a credit code, and none.
        format!("91310104MA{number:08}"),
        format!(
            "{road}{}号{}",
            number % NUMBERS_A_ROAD + 1,
            or_none(
                number >= NUMBERS_A_ROAD * roll::ROADS.len(),
                format!("{}室", 100 + number / NUMBERS_A_ROAD)
            )
        ),
        draw.pick(&TRADES).to_owned(),
        draw.pick(&STATES).to_owned(),
        owner,
        phone(draw),
        or_none(has_second, person(draw)),
        or_none(has_second, phone(draw)),
        format!("{}:00-{}:00", 6 + draw.int(4), 18 + draw.int(5)),
        draw.pick(&FIRE).to_owned(),
        (10 + draw.int(290)).to_string(),
        or_none(draw.int(5) == 0, format!("门口第{number}次检查，整洁")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_is_always_the_same() {
        let rows = |seed: u32| {
            let mut draw = Draw::new(seed);
            (0..50)
                .map(|number| shop(&mut draw, number))
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(SEED), rows(SEED));
        assert!(workbook(20).expect("a workbook").starts_with(b"PK"));
    }
}
