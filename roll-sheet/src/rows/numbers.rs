//! Numbers of persons in cells, whatever the cells are for: found first, reported, and kept with asterisks only.

use lianka_sync_core::{
    kinds::Meaning,
    values::{
        personal::{self, PersonalNumber},
        text::{self, TextWarningKind},
    },
};

use super::reader::Reader;
use crate::{ColumnTarget, ProblemCode};

impl Reader<'_> {
    /// The cells without identity numbers and the like, as they are read, and as they are kept: with asterisks. Whatever a cell is for, this is looked
    /// at first.
    pub(super) fn without_persons(
        &mut self,
        row: u32,
        cells: &[String],
    ) -> (Vec<String>, Vec<String>) {
        let (mut read, mut kept) = (cells.to_vec(), cells.to_vec());
        for (at, cell) in cells.iter().enumerate() {
            let column = self.columns.get(at);
            let heading = column.map_or("", |column| column.heading.as_str());
            let numbers = personal::find_under(heading, cell);
            let mut kinds: Vec<TextWarningKind> =
                numbers.iter().map(|number| number.kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            // A column of sensitive data is reported as a whole, and none of it is kept.
            if column.is_some_and(|column| column.target != ColumnTarget::Sensitive) {
                for kind in kinds {
                    let withheld = numbers.iter().any(|n| n.kind == kind && n.certain);
                    let (zh, en) = personal_words(kind, withheld);
                    self.report(ProblemCode::PersonalNumber, row, Some(heading), zh, en);
                }
            }
            let withheld: Vec<_> = numbers
                .into_iter()
                .filter(|number| number.certain)
                .collect();
            if withheld.is_empty() {
                continue;
            }
            kept[at] = masked(cell, &withheld);
            let is_prose = column.is_some_and(|column| match column.target {
                ColumnTarget::Custom(_) => true,
                ColumnTarget::Field(field) => {
                    matches!(
                        field.meaning,
                        Meaning::Note | Meaning::Remark | Meaning::Text
                    )
                }
                _ => false,
            });
            read[at] = if is_prose && kept[at].chars().any(char::is_alphanumeric) {
                kept[at].clone()
            } else {
                let rest = without_labels(cell, &withheld);
                // Beside a person's number no code stands, but at best a name.
                let is_code = column.is_some_and(|column| {
                    matches!(column.target, ColumnTarget::Field(field) if field.meaning == Meaning::CreditCode)
                });
                if is_code && !rest.chars().any(|c| c.is_ascii_digit()) {
                    String::new()
                } else {
                    rest
                }
            };
        }
        (read, kept)
    }

    /// Some heading was a number of a person: it names its column no more.
    pub(super) fn heading_numbers(&mut self) {
        let (zh, en) = personal_words(TextWarningKind::IdentityNumber, true);
        self.report(ProblemCode::PersonalNumber, self.header_row, None, zh, en);
    }

    /// Numbers of persons were found before anything else; here it is telephone numbers.
    pub(super) fn personal_numbers(&mut self, row: u32, text: &str, heading: &str) {
        for warning in text::warnings(text) {
            if warning.kind == TextWarningKind::PhoneNumber {
                let (zh, en) = personal_words(warning.kind, false);
                self.report(ProblemCode::PersonalNumber, row, Some(heading), zh, en);
            }
        }
    }
}

/// Takes numbers of persons out of headings, which are kept and shown as they stand. Whether there were any.
pub(super) fn without_numbers(headings: &mut [String]) -> bool {
    let mut found = false;
    for heading in headings {
        let withheld: Vec<_> = personal::find(heading)
            .into_iter()
            .filter(|number| number.certain)
            .collect();
        if !withheld.is_empty() {
            *heading = without_labels(heading, &withheld);
            found = true;
        }
    }
    found
}

/// A cell that has no column of its own, as it is kept.
pub(super) fn kept(heading: &str, cell: &str) -> String {
    let withheld: Vec<_> = personal::find_under(heading, cell)
        .into_iter()
        .filter(|number| number.certain)
        .collect();
    masked(cell, &withheld)
}

/// Words that name a number that is gone.
const LABELS: [&str; 10] = [
    "身份证号码",
    "身份证号",
    "身份证",
    "身分證",
    "证件号码",
    "证件号",
    "护照号码",
    "护照号",
    "护照",
    "银行卡号",
];

/// What stands around these numbers, without the words that named them and the brackets that held them.
fn without_labels(text: &str, numbers: &[PersonalNumber]) -> String {
    let kept = text.chars().enumerate();
    let mut words: String = kept
        .filter(|(at, _)| !numbers.iter().any(|number| number.chars.contains(at)))
        .map(|(_, c)| c)
        .collect();
    let is_around = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '/' | '、' | ',' | '，' | ';' | '；' | ':' | '：' | '.' | '-'
            )
    };
    loop {
        let mut rest = words.trim_matches(is_around);
        for label in LABELS {
            rest = rest.strip_suffix(label).unwrap_or(rest);
            rest = rest.strip_prefix(label).unwrap_or(rest);
        }
        let mut rest = rest.to_owned();
        for empty in ["()", "（）", "( )", "[]", "【】"] {
            rest = rest.replace(empty, "");
        }
        for label in LABELS {
            for (open, close) in [('(', ')'), ('（', '）')] {
                rest = rest.replace(&format!("{open}{label}{close}"), "");
                rest = rest.replace(&format!("{open}{label}："), &open.to_string());
                rest = rest.replace(&format!("{open}{label}:"), &open.to_string());
            }
        }
        if rest == words {
            return rest;
        }
        words = rest;
    }
}

/// The letters and digits of these numbers as asterisks.
fn masked(text: &str, numbers: &[PersonalNumber]) -> String {
    text.chars()
        .enumerate()
        .map(|(at, c)| {
            let hidden = numbers.iter().any(|number| number.chars.contains(&at));
            if hidden && c.is_alphanumeric() {
                '*'
            } else {
                c
            }
        })
        .collect()
}

/// What was found, in both languages, and what became of it.
fn personal_words(kind: TextWarningKind, withheld: bool) -> (String, String) {
    let (zh, en) = match kind {
        TextWarningKind::IdentityNumber => ("身份证号码", "an identity number"),
        TextWarningKind::BankCard => ("银行卡号", "the number of a bank card"),
        TextWarningKind::Passport => ("护照号码", "the number of a passport"),
        TextWarningKind::Permit => ("通行证或居住证号码", "the number of a permit"),
        TextWarningKind::PhoneNumber => {
            return (
                "文字中有电话号码，请移到联系人".to_owned(),
                "a telephone number within the text: please move it to a contact".to_owned(),
            );
        }
    };
    if withheld {
        (
            format!("填有{zh}，没有导入，请在表中删去并核对这一格应填的内容"),
            format!(
                "{en} stands here and was not imported: please remove it from the sheet and check what belongs there"
            ),
        )
    } else {
        (
            format!("像是{zh}，如果是，请删去"),
            format!("this looks like {en}: please remove it if it is"),
        )
    }
}
