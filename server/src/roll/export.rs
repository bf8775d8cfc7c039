//! The merged roll as a file: what `GET …/cards` lists, one card a row, with headings that an import understands again.
//!
//! Numbers of contact persons are masked unless somebody asks for them who may, and so are identity and telephone numbers that were typed into
//! a note; identity numbers are masked in every free text. Sensitive fields (P3) are in no file. Cards are read in chunks as of one moment.

use lianka_sync_core::{
    id::{EntryId, StreetCode},
    kinds::{Derived, Field, Kind, Meaning, Shape, key, projection::CardRow, visit},
    lang::Lang,
    time::ServerTime,
};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::roll::{
    import::{
        said,
        store::{self as remembered, ExportWrite},
        workbook::Said,
    },
    masks::{masked_personal, shown},
    sheet::VISIT_HEADINGS,
    store::{self as roll, CardFilter, CardOrder, LastVisit},
    store_export::{self as store, OwnColumn},
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
    /// Who asks.
    pub username: String,
    /// What the export is known by when the file comes back, and when it was made.
    pub export: Uuid,
    pub at: ServerTime,
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
    let head = remembered::head(&mut tx, street).await?;
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
    headings.push(
        match options.lang {
            Lang::Zh => "导出编号",
            Lang::En => "export id",
        }
        .to_owned(),
    );
    let keys = keys(&columns, &custom);
    let write = ExportWrite {
        export: options.export,
        head,
        at: options.at.into(),
        username: &options.username,
        columns: &keys
            .iter()
            .cloned()
            .zip(headings.iter().cloned())
            .collect::<Vec<_>>(),
    };
    let made_from = format!("{street}/{}/{head}", options.export);
    remembered::insert_export(&mut *pool.acquire().await?, street, &write).await?;
    file.sheet(sheet, &headings)?;
    file.hide_last_column(headings.len())?;
    for chunk in ids.chunks(CHUNK) {
        let mut said = Vec::with_capacity(chunk.len());
        for card in roll::cards(&mut tx, street, chunk).await? {
            let mut cells = row(&columns, &card.row, &custom, options.unmasked);
            cells.extend(visit_cells(card.visit.as_ref(), options.lang));
            cells.push(Cell::Text(made_from.clone()));
            file.row(&cells)?;
            said.push((
                card.row.record,
                said_of(options.export, &keys, &cells, &card.row),
            ));
        }
        remembered::insert_said(&mut *pool.acquire().await?, street, options.export, &said).await?;
    }
    tx.rollback().await?;
    // What the workbook as a whole was made from; delimited text has no second sheet, and says it by the row.
    file.hidden_sheet(
        "lianka",
        &[
            ("street", street.as_str()),
            ("export", &options.export.to_string()),
            ("head", &head.to_string()),
            ("exported_at", &options.at.to_string()),
        ],
    )?;
    Ok(Exported {
        file,
        cards: ids.len(),
    })
}

/// The key of each column, from the left.
fn keys(columns: &[Column], custom: &[OwnColumn]) -> Vec<String> {
    let described = columns.iter().map(|column| match column {
        Column::Field(field) => match field.shape {
            Shape::Entry { list } => format!("{list}/{}", field.name),
            _ => field.name.to_owned(),
        },
        Column::Derived(derived) => derived.column.to_owned(),
        Column::Conflicts => said::CONFLICTS.to_owned(),
    });
    let mut keys: Vec<String> = described.collect();
    keys.extend(
        custom
            .iter()
            .map(|own| format!("{}/{}", key::CUSTOM, own.name)),
    );
    keys.push(said::RECORD.to_owned());
    keys.extend(["at", "outcome", "by"].map(|part| format!("visit/{part}")));
    keys.push(said::EXPORT.to_owned());
    keys
}

/// What the row says, as it is remembered.
fn said_of(export: Uuid, keys: &[String], cells: &[Cell], card: &CardRow) -> Said {
    let text = |cell: &Cell| match cell {
        Cell::Empty => String::new(),
        Cell::Text(text) => text.clone(),
        Cell::Number(number) => number.to_string(),
    };
    let texts: Vec<String> = cells.iter().map(text).collect();
    let of_persons = keys
        .iter()
        .zip(&texts)
        .filter(|(key, _)| said::is_of_persons(key));
    let entries: Vec<EntryId> = card.contacts.iter().map(|contact| contact.entry).collect();
    let lines = (0..entries.len()).flat_map(|nth| {
        of_persons.clone().flat_map(move |(key, text)| {
            said::of(export, key, said::lines(text).nth(nth).unwrap_or_default())
        })
    });
    let tags = keys
        .iter()
        .zip(&texts)
        .find(|(key, _)| said::field(key).is_some_and(|field| field.shape == Shape::SetMember));
    let members = tags.into_iter().flat_map(|(_, text)| text.split('、'));
    Said {
        members: members
            .flat_map(|tag| said::of(export, said::TAG, tag))
            .collect(),
        lines: lines.collect(),
        cells: keys
            .iter()
            .zip(&texts)
            .flat_map(|(key, text)| said::of(export, key, text))
            .collect(),
        entries,
    }
}

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

fn headings(columns: &[Column], custom: &[OwnColumn], lang: Lang) -> Vec<String> {
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
    headings.extend(custom.iter().map(|own| own.label.clone()));
    headings.push(own("卡片编号", "card id").to_owned());
    headings
}

fn row(columns: &[Column], card: &CardRow, custom: &[OwnColumn], unmasked: bool) -> Vec<Cell> {
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
            .map(|own| match &said[key::CUSTOM][own.name.as_str()] {
                Value::String(text) if own.personal && !unmasked => {
                    Cell::Text(masked_personal(text))
                }
                value => cell(value, Meaning::Custom, unmasked),
            }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_cell_for_every_heading() {
        let custom = [OwnColumn {
            name: "fire".to_owned(),
            label: "消防".to_owned(),
            personal: false,
        }];
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
