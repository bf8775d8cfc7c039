//! A shop of the roll: its names, texts, days, tags and the street's own columns.

use lianka_sync_core::{
    authority::Said,
    kinds::{Meaning, Rule, Shape, key},
    limits::NOTE_CHARS_MAX,
    values::{
        credit_code::{self, Verdict},
        date, text,
    },
};

use super::reader::Reader;
use crate::{
    ColumnTarget, CustomKind, ProblemCode, RollRow, RollValue,
    cell::{listed, many_lines, occupancy, one_line},
    custom::number,
    sound::sound,
    target::field,
};

impl Reader<'_> {
    /// `cells`: as they are kept. `said`: without placeholders.
    pub(super) fn shop(&mut self, row: u32, cells: &[String], said: &[String]) -> RollRow {
        let kept = self
            .columns
            .iter()
            .zip(cells)
            .filter(|(_, cell)| !cell.is_empty());
        let mut shop = RollRow {
            cells: kept
                .map(|(column, cell)| (column.heading.clone(), cell.clone()))
                .collect(),
            ..RollRow::empty(row)
        };
        self.names(&mut shop, said);
        self.texts(&mut shop, said);
        self.address(&mut shop, said);
        self.point(&mut shop, said);
        self.occupancy(&mut shop, said);
        self.tags(&mut shop, said);
        self.days(&mut shop, said);
        self.last_visit(&mut shop, said);
        self.grid(&mut shop, said);
        self.contacts(&mut shop, said);
        self.note(&mut shop, said);
        self.custom(&mut shop, said);
        sound(
            &mut shop,
            self.columns,
            self.street.now.map_or(Said::Somewhen, Said::AtOffice),
            &mut self.problems,
        );
        shop
    }

    fn names(&mut self, shop: &mut RollRow, cells: &[String]) {
        match self.cell(cells, Meaning::TradeName) {
            Some((name, heading)) => {
                if occupancy(&name) == Some("空置") {
                    self.report(
                        ProblemCode::SignNameVacant,
                        shop.row,
                        Some(heading),
                        format!("店招写的是“{name}”：如果是空铺，请填在经营状态里"),
                        format!("the shop sign says “{name}”: if the premises are vacant, please say so under occupancy"),
                    );
                }
                self.put_field(shop, Meaning::TradeName, name, heading);
            }
            None => self.report(
                ProblemCode::SignNameMissing,
                shop.row,
                self.heading(Meaning::TradeName),
                "没有店招",
                "no shop sign",
            ),
        }
        let Some((_, column)) = self.at(Meaning::CreditCode) else {
            return;
        };
        let heading = column.heading.as_str();
        let Some((typed, _)) = self.cell(cells, Meaning::CreditCode) else {
            self.report(
                ProblemCode::CreditCodeMissing,
                shop.row,
                Some(heading),
                "没有统一社会信用代码",
                "no credit code",
            );
            return;
        };
        let code = credit_code::check(&typed);
        match code.verdict {
            Verdict::Valid => {}
            Verdict::WrongShape => self.report(
                ProblemCode::CreditCodeShape,
                shop.row,
                Some(heading),
                format!("“{typed}”不是 18 位统一社会信用代码"),
                format!("“{typed}” is not a credit code of 18 characters"),
            ),
            Verdict::WrongCheck { expected } => self.report(
                ProblemCode::CreditCodeCheck,
                shop.row,
                Some(heading),
                format!("“{}”校验位不对，按前 17 位应为 {expected}", code.normalised),
                format!(
                    "the check character of “{}” is wrong; the first 17 call for {expected}",
                    code.normalised
                ),
            ),
        }
        let stored = if code.normalised.is_empty() {
            typed
        } else {
            code.normalised
        };
        self.put_field(shop, Meaning::CreditCode, stored, heading);
    }

    /// Fields that are stored as they are typed.
    fn texts(&mut self, shop: &mut RollRow, cells: &[String]) {
        for (at, column) in self.columns.iter().enumerate() {
            let ColumnTarget::Field(field) = column.target else {
                continue;
            };
            let as_typed = matches!(field.rule, Rule::Text(_))
                && field.shape == Shape::Register
                && matches!(
                    field.meaning,
                    Meaning::LegalName | Meaning::Text | Meaning::Remark
                );
            if let (true, Some(cell)) = (as_typed, cells.get(at).map(|cell| one_line(cell)))
                && !cell.is_empty()
            {
                self.put(shop, field.name, cell, &column.heading);
            }
        }
    }

    fn occupancy(&mut self, shop: &mut RollRow, cells: &[String]) {
        let Some((typed, heading)) = self.cell(cells, Meaning::Choice) else {
            return;
        };
        match occupancy(&typed) {
            Some(value) => {
                self.put_field(shop, Meaning::Choice, value.to_owned(), heading);
            }
            None => self.report(
                ProblemCode::OccupancyUnknown,
                shop.row,
                Some(heading),
                format!("“{typed}”不是营业、装修、空置或关闭"),
                format!("“{typed}” is none of open (营业), fitting out (装修), vacant (空置), closed (关闭)"),
            ),
        }
    }

    fn tags(&mut self, shop: &mut RollRow, cells: &[String]) {
        let (Some((typed, _)), Some(field)) = (self.cell(cells, Meaning::Tag), field(Meaning::Tag))
        else {
            return;
        };
        for tag in listed(&typed) {
            // A slash would end the key's member; longer ones stay in the cells.
            let key = format!("{}/{tag}", field.name);
            if tag.chars().count() <= lianka_sync_core::limits::MEMBER_CHARS_MAX
                && !shop.values.iter().any(|(k, _)| *k == key)
            {
                shop.values.push((key, RollValue::Flag));
            }
        }
    }

    /// Days that are values of fields.
    fn days(&mut self, shop: &mut RollRow, cells: &[String]) {
        let Some((typed, heading)) = self.cell(cells, Meaning::Date) else {
            return;
        };
        match date::parse(&typed) {
            Some(day) => self.put_field(shop, Meaning::Date, date::to_iso(day), heading),
            None => self.report(
                ProblemCode::DateUnreadable,
                shop.row,
                Some(heading),
                format!("“{typed}”不是可识别的日期"),
                format!("“{typed}” is not a date that can be read"),
            ),
        }
    }

    fn last_visit(&mut self, shop: &mut RollRow, cells: &[String]) {
        let (Some((typed, heading)), Some(field)) = (
            self.cell(cells, Meaning::Confirmation),
            field(Meaning::Confirmation),
        ) else {
            return;
        };
        match date::parse(&typed) {
            Some(day) => shop.values.push((
                format!("{}/{}", field.name, date::to_iso(day)),
                RollValue::Flag,
            )),
            None => self.report(
                ProblemCode::DateUnreadable,
                shop.row,
                Some(heading),
                format!("“{typed}”不是可识别的日期"),
                format!("“{typed}” is not a date that can be read"),
            ),
        }
    }

    fn note(&mut self, shop: &mut RollRow, cells: &[String]) {
        let Some((at, column)) = self.at(Meaning::Note) else {
            return;
        };
        let Some(note) = cells
            .get(at)
            .map(|c| many_lines(c))
            .filter(|n| !n.is_empty())
        else {
            return;
        };
        self.personal_numbers(shop.row, &note, &column.heading);
        if text::char_count(&note) > NOTE_CHARS_MAX {
            self.report(
                ProblemCode::ValueTooLong,
                shop.row,
                Some(&column.heading),
                format!("超过 {NOTE_CHARS_MAX} 个字符，未写入字段"),
                format!("longer than {NOTE_CHARS_MAX} characters: kept in the cells only"),
            );
        } else {
            shop.note = Some(note);
        }
    }

    fn custom(&mut self, shop: &mut RollRow, cells: &[String]) {
        for (column, cell) in self.columns.iter().zip(cells) {
            let ColumnTarget::Custom(name) = &column.target else {
                continue;
            };
            let value = one_line(cell);
            if value.is_empty() {
                continue;
            }
            let value = match self.kinds.get(name.as_str()) {
                Some(CustomKind::Date) => date::parse(&value).map_or(value, date::to_iso),
                Some(CustomKind::Number) => number(&value).unwrap_or(value),
                _ => value,
            };
            self.personal_numbers(shop.row, &value, &column.heading);
            self.put(
                shop,
                &format!("{}/{name}", key::CUSTOM),
                value,
                &column.heading,
            );
        }
    }
}
