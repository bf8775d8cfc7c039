//! The columns of a sheet, and what is to be said of them as a whole.

use lianka_sync_core::search::fold;

use super::reader::Reader;
use crate::{ColumnTarget, ProblemCode, RollColumn, cell::one_line, grid::Rows, headings};

/// Columns that have a heading or a value, each with its place in the sheet.
pub(super) fn columns(heading_cells: &[String], below: Rows<'_>) -> Vec<RollColumn> {
    let width = below.width().max(heading_cells.len());
    let headings: Vec<String> = (0..width)
        .map(|at| match heading_cells.get(at).map(|h| h.trim()) {
            Some(heading) if !heading.is_empty() => one_line(heading),
            _ => letters(at),
        })
        .collect();
    let targets = headings::targets(&headings);
    headings
        .into_iter()
        .zip(targets)
        .enumerate()
        .map(|(at, (heading, target))| RollColumn {
            letters: letters(at),
            heading,
            target,
        })
        .collect()
}

pub(super) fn letters(at: usize) -> String {
    let mut out = String::new();
    let mut rest = at + 1;
    while rest > 0 {
        rest -= 1;
        out.insert(0, char::from(b'A' + (rest % 26) as u8));
        rest /= 26;
    }
    out
}

impl Reader<'_> {
    pub(super) fn look_at_columns(&mut self, other_sheet: Option<&str>) {
        let row = self.header_row;
        if let Some(name) = other_sheet {
            self.report(
                ProblemCode::OtherSheet,
                row,
                None,
                format!("工作表“{name}”看起来也是台账，本次没有读取"),
                format!("sheet “{name}” looks like a roll too and was not read"),
            );
        }
        if self.street.roads.is_empty() {
            self.report(
                ProblemCode::RoadTableEmpty,
                row,
                None,
                "街道还没有路名表，未核对路名",
                "the street has no road table yet: roads were not checked",
            );
        }
        let repeated = self.columns.iter().enumerate().filter(|(at, column)| {
            let is_same = |other: &&RollColumn| fold(&other.heading) == fold(&column.heading);
            matches!(column.target, ColumnTarget::Custom(_))
                && column.heading != column.letters
                && self.columns[..*at].iter().any(|other| is_same(&other))
        });
        for (_, column) in repeated {
            let heading = &column.heading;
            self.report(
                ProblemCode::HeadingRepeated,
                row,
                Some(heading),
                format!("表头中有两个“{heading}”，只有第一个按它读取，{} 列保存为自定义字段；如果是左右并排的两张表，请上下接起来再导入", column.letters),
                format!("two columns are headed “{heading}”: the first is read as that, and column {} is kept as a field of the street's own; if these are two tables side by side, put one below the other", column.letters),
            );
        }
        for column in self.columns {
            match column.target {
                ColumnTarget::Sensitive => self.report(
                    ProblemCode::SensitiveColumn,
                    row,
                    Some(&column.heading),
                    format!("“{}”属于敏感个人信息，须逐人取得同意后填写，不导入字段", column.heading),
                    format!("“{}” is sensitive personal data, entered person by person with consent: not imported", column.heading),
                ),
                ColumnTarget::Point(None) | ColumnTarget::Longitude(None) => self.report(
                    ProblemCode::PointCrsMissing,
                    row,
                    Some(&column.heading),
                    format!("“{}”没有注明坐标系（WGS-84、GCJ-02、BD-09、CGCS2000），坐标不导入", column.heading),
                    format!(
                        "“{}” does not name its coordinate system (WGS-84, GCJ-02, BD-09, CGCS2000): points are not imported",
                        column.heading
                    ),
                ),
                ColumnTarget::Custom(ref name) if self.personal.contains(name.as_str()) => self.report(
                    ProblemCode::PersonalColumn,
                    row,
                    Some(&column.heading),
                    format!("“{}”像是个人信息：按个人信息（P2）保存，导出时遮盖", column.heading),
                    format!(
                        "“{}” looks like personal data: kept as such (P2), and masked in exports",
                        column.heading
                    ),
                ),
                _ => {}
            }
        }
    }
}
