//! The merged roll as a file: what `GET …/cards` lists, one card a row, with headings that an import understands again.
//!
//! Numbers of contact persons are masked unless somebody asks for them who may, and so are identity and telephone numbers that were typed into
//! a note; identity numbers are masked in every free text. Sensitive fields (P3) are in no file. Cards are read in chunks as of one moment.

use std::ops::Range;

use lianka_sync_core::{
    id::StreetCode,
    kinds::{Derived, Field, Kind, Meaning, Shape, key, projection::CardRow, visit},
    lang::Lang,
    values::{
        credit_code,
        phone::{self, Phone, PhoneKind},
        text,
    },
};
use serde_json::Value;
use sqlx::PgPool;

use crate::roll::{
    store::{self as roll, CardFilter, CardOrder, LastVisit},
    store_export as store,
    table_file::{Cell, FileKind, TableError, TableFile},
};

/// Cards in one file; more than any street has, fewer than a sheet takes.
pub const CARDS_MAX: i64 = 200_000;
/// Cards in memory at a time.
const CHUNK: usize = 500;

/// What to write.
#[derive(Clone, Debug)]
pub struct Options {
    pub kind: FileKind,
    pub filter: CardFilter,
    pub order: CardOrder,
    /// Whole telephone numbers.
    pub unmasked: bool,
    /// Language of the headings.
    pub lang: Lang,
}

/// A file and how many cards it holds.
pub struct Exported {
    pub file: TableFile,
    pub cards: usize,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error("the file cannot be written")]
    File(#[from] TableError),
}

/// Writes the cards that the options admit.
pub async fn write(
    pool: &PgPool,
    street: &StreetCode,
    options: &Options,
) -> Result<Exported, ExportError> {
    let mut tx = store::snapshot(pool).await?;
    let custom = store::custom_fields(&mut tx, street).await?;
    let (filter, order) = (&options.filter, options.order);
    let (ids, _) = roll::page(&mut tx, street, filter, order, CARDS_MAX, 0).await?;
    let columns = columns();
    let mut file = TableFile::new(options.kind)?;
    let sheet = match options.lang {
        Lang::Zh => "联系卡",
        Lang::En => "Cards",
    };
    let mut headings = headings(&columns, &custom, options.lang);
    headings.extend(VISIT_HEADINGS.map(|(zh, en)| match options.lang {
        Lang::Zh => zh.to_owned(),
        Lang::En => en.to_owned(),
    }));
    file.sheet(sheet, &headings)?;
    for chunk in ids.chunks(CHUNK) {
        for card in roll::cards(&mut tx, street, chunk).await? {
            let mut cells = row(&columns, &card.row, &custom, options.unmasked);
            cells.extend(visit_cells(card.visit.as_ref(), options.lang));
            file.row(&cells)?;
        }
    }
    tx.rollback().await?;
    Ok(Exported {
        file,
        cards: ids.len(),
    })
}

/// The last visit, behind everything else: an import passes these columns over. None is called as a field's heading is.
pub const VISIT_HEADINGS: [(&str, &str); 3] = [
    ("末次走访", "visited at"),
    ("走访结果", "visit outcome"),
    ("走访人", "visited by"),
];

fn visit_cells(visit: Option<&LastVisit>, lang: Lang) -> [Cell; 3] {
    let text =
        |of: fn(&LastVisit) -> Option<&str>| Cell::from(visit.and_then(of).map(str::to_owned));
    [
        text(|visit| Some(&visit.at)),
        Cell::from(
            visit
                .and_then(|visit| visit.outcome.as_deref())
                .map(|outcome| visit::words(outcome, lang).to_owned()),
        ),
        text(|visit| visit.username.as_deref()),
    ]
}

/// A column of the file: a field, or what follows from one.
enum Column {
    Field(&'static Field),
    Derived(&'static Derived),
    Conflicts,
}

/// Where the number of fields in conflict stands: behind what the card says, before where it went.
const CONFLICTS_PLACE: u16 = 220;

/// Every column that the kind gives a place, in order.
fn columns() -> Vec<Column> {
    let description = Kind::ShopCard.description();
    let fields = description
        .fields
        .iter()
        .filter_map(|field| Some((field.export?, Column::Field(field))));
    let derived = description
        .tables
        .iter()
        .flat_map(|table| table.derived)
        .filter_map(|derived| Some((derived.export?.0, Column::Derived(derived))));
    let mut columns: Vec<_> = fields
        .chain(derived)
        .chain([(CONFLICTS_PLACE, Column::Conflicts)])
        .collect();
    columns.sort_by_key(|(place, _)| *place);
    columns.into_iter().map(|(_, column)| column).collect()
}

fn headings(columns: &[Column], custom: &[(String, String)], lang: Lang) -> Vec<String> {
    let own = |zh: &'static str, en: &'static str| match lang {
        Lang::Zh => zh,
        Lang::En => en,
    };
    let described = columns.iter().map(|column| match column {
        Column::Field(field) => field.label(lang),
        Column::Derived(Derived {
            export: Some((_, zh, en)),
            ..
        }) => own(zh, en),
        Column::Derived(_) => "",
        Column::Conflicts => own("冲突字段数", "fields in conflict"),
    });
    let mut headings: Vec<String> = described.map(str::to_owned).collect();
    headings.extend(custom.iter().map(|(_, label)| label.clone()));
    headings.push(own("卡片编号", "card id").to_owned());
    headings
}

fn row(
    columns: &[Column],
    card: &CardRow,
    custom: &[(String, String)],
    unmasked: bool,
) -> Vec<Cell> {
    // A row's members are the columns of its table: the fields, by their names.
    let said = serde_json::to_value(card).unwrap_or_default();
    let mut cells: Vec<Cell> = columns
        .iter()
        .map(|column| match column {
            Column::Field(field) => match field.shape {
                Shape::Entry { list } => people(&said[list], field, unmasked),
                _ => cell(&said[field.name], field.meaning, unmasked),
            },
            Column::Derived(derived) => cell(&said[derived.column], Meaning::Text, unmasked),
            Column::Conflicts => {
                let mut fields: Vec<_> = card.conflicts.iter().map(|row| &row.field).collect();
                fields.dedup();
                Cell::Number(fields.len() as f64)
            }
        })
        .collect();
    cells.extend(
        custom
            .iter()
            .map(|(name, _)| cell(&said[key::CUSTOM][name.as_str()], Meaning::Custom, unmasked)),
    );
    cells.push(Cell::Text(card.record.to_string()));
    cells
}

fn cell(value: &Value, meaning: Meaning, unmasked: bool) -> Cell {
    match value {
        Value::String(text) => Cell::Text(shown(text, meaning, unmasked)),
        Value::Number(number) => Cell::from(number.as_f64()),
        Value::Array(members) if !members.is_empty() => {
            let members: Vec<_> = members.iter().filter_map(Value::as_str).collect();
            Cell::Text(shown(&members.join("、"), meaning, unmasked))
        }
        _ => Cell::Empty,
    }
}

/// One person a line, in the same line of each of the columns.
fn people(entries: &Value, field: &Field, unmasked: bool) -> Cell {
    let of = |entry: &Value| {
        let text = entry[field.name].as_str();
        text.map_or_else(String::new, |text| shown(text, field.meaning, unmasked))
    };
    let lines: Vec<String> = entries.as_array().into_iter().flatten().map(of).collect();
    let joined = lines.join("\n");
    if joined.trim().is_empty() {
        Cell::Empty
    } else {
        Cell::Text(joined)
    }
}

/// Anybody may have typed anything into a text.
fn shown(text: &str, meaning: Meaning, unmasked: bool) -> String {
    if unmasked {
        return text.to_owned();
    }
    match meaning {
        Meaning::Telephone => without_identity_numbers(&masked_phones(text)),
        Meaning::Note => masked_text(text),
        Meaning::CreditCode if is_business_number(text) => text.to_owned(),
        Meaning::Grid | Meaning::Succession => text.to_owned(),
        _ => without_identity_numbers(text),
    }
}

/// The numbers so that a colleague recognises one and nobody dials it: `139****0001`, `021-5093****`.
pub fn masked_phones(text: &str) -> String {
    phone::parse(text)
        .iter()
        .map(masked_phone)
        .collect::<Vec<_>>()
        .join("/")
}

fn masked_phone(phone: &Phone) -> String {
    let hidden = |text: &str, from: usize, to: usize| {
        text.chars()
            .enumerate()
            .map(|(at, c)| {
                if (from..to).contains(&at) && c.is_ascii_digit() {
                    '*'
                } else {
                    c
                }
            })
            .collect::<String>()
    };
    match &phone.kind {
        PhoneKind::Mobile => hidden(&phone.digits, 3, 7),
        // A brand's number, printed on its windows.
        PhoneKind::Service400 | PhoneKind::Short95 => phone.canonical(),
        PhoneKind::Landline { ext } => {
            let bare = Phone {
                kind: PhoneKind::Landline { ext: None },
                ..phone.clone()
            }
            .canonical();
            let length = bare.chars().count();
            let extension = ext.as_ref().map_or_else(String::new, |ext| {
                format!("转{}", "*".repeat(ext.chars().count()))
            });
            format!(
                "{}{extension}",
                hidden(&bare, length.saturating_sub(4), length)
            )
        }
        PhoneKind::Unrecognised => hidden(&text::half_width(&phone.raw), 2, usize::MAX),
    }
}

/// A credit code, or a registration number of before 2015: fifteen digits, as an old identity number.
fn is_business_number(typed: &str) -> bool {
    let code = credit_code::check(typed);
    code.verdict == credit_code::Verdict::Valid || code.normalised.len() == 15
}

/// A text without the identity and telephone numbers that were typed into it.
pub fn masked_text(typed: &str) -> String {
    let phones = text::warnings(typed).into_iter();
    let mut ranges = text::identity_shapes(typed);
    ranges.extend(phones.map(|warning| warning.chars));
    hidden(typed, &ranges)
}

fn without_identity_numbers(typed: &str) -> String {
    hidden(typed, &text::identity_shapes(typed))
}

fn hidden(typed: &str, ranges: &[Range<usize>]) -> String {
    let hidden = |at: usize| ranges.iter().any(|range| range.contains(&at));
    typed
        .chars()
        .enumerate()
        .map(|(at, c)| {
            if hidden(at) && c.is_alphanumeric() {
                '*'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_masked() {
        for (typed, shown) in [
            ("13900000001", "139****0001"),
            (
                "139 0000 0001 / 021-50932417转803",
                "139****0001/021-5093****转***",
            ),
            ("50932417", "5093****"),
            ("400-800-1234", "4008001234"),
            ("问隔壁 1234567", "12*****"),
            ("无", ""),
        ] {
            assert_eq!(masked_phones(typed), shown, "{typed}");
        }
        assert_eq!(
            masked_text("老板13900000001，下午在"),
            "老板***********，下午在"
        );
        assert_eq!(masked_text("门口积水 378号"), "门口积水 378号");
        assert_eq!(
            masked_text("证号１１０１０５ 19491231-0021，电话13900000001"),
            "证号****** ********-****，电话***********"
        );
    }

    #[test]
    fn every_row_has_a_cell_for_every_heading() {
        let custom = [("fire".to_owned(), "消防".to_owned())];
        for lang in [Lang::Zh, Lang::En] {
            let columns = columns();
            let headings = headings(&columns, &custom, lang);
            assert!(
                headings.iter().all(|heading| !heading.is_empty()),
                "{headings:?}"
            );
            assert_eq!(
                headings.len(),
                row(&columns, &CardRow::default(), &custom, false).len()
            );
        }
    }
}
