//! What an export said, cell by cell, as fingerprints: enough to tell a cell that somebody changed, and nothing to read in.
//!
//! A cell is compared as it is meant: a workbook that was saved as text, or by another program, says the same with other spaces, other spellings of
//! a day or a number, and without the apostrophes that protect a cell.

use lianka_sync_core::{
    kinds::{Field, Kind, Meaning, Shape},
    values::{date, phone, text},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    cells::{many_lines, one_line, unprotected},
    respelled,
    wrapped::as_read,
};

/// Bytes of a fingerprint: one changed cell of 280 million million is taken for an untouched one.
pub const BYTES: usize = 6;

/// Stands for where a card was last confirmed.
pub const CONFIRMED: &str = "last_confirmed_on";
/// Latitude, longitude and system of the card's point.
pub const POINT: [&str; 3] = ["point_lat", "point_lon", "point_crs"];
/// Stands for a tag by itself.
pub const TAG: &str = "tags/";
/// The card's id.
pub const RECORD: &str = "record";
/// Which export the row is of: `street/export/head`.
pub const EXPORT: &str = "export";

/// The fingerprint of what a column said.
pub fn of(export: Uuid, key: &str, cell: &str) -> [u8; BYTES] {
    let digest = Sha256::new_with_prefix(b"lianka export 1")
        .chain_update(export.as_bytes())
        .chain_update([key.len().min(255) as u8])
        .chain_update(key.as_bytes())
        .chain_update(meant(key, cell).as_bytes())
        .finalize();
    let mut said = [0; BYTES];
    said.copy_from_slice(&digest[..BYTES]);
    said
}

/// Whether a cell says what a fingerprint says that it said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    Same,
    /// A program wrote it in its own way. `doubtful`: somebody may also have meant it.
    Respelled {
        doubtful: bool,
    },
    Otherwise,
}

/// How a cell reads beside what the export said. `None`: it said nothing of it.
pub fn reads(export: Uuid, key: &str, cell: &str, said: Option<&[u8]>) -> Reads {
    let Some(said) = said else {
        return Reads::Otherwise;
    };
    if of(export, key, cell) == said {
        return Reads::Same;
    }
    // What a program wrote over several lines is nobody's number or day.
    let respelled = respelled::originals(cell)
        .into_iter()
        .find(|original| of(export, key, &original.text) == said);
    match respelled {
        Some(original) => Reads::Respelled {
            doubtful: original.doubtful,
        },
        None => Reads::Otherwise,
    }
}

/// The field of a column: `sign_name`, `contacts/phones`.
pub fn field(key: &str) -> Option<&'static Field> {
    let mut fields = Kind::ShopCard.fields().iter();
    match key.split_once('/') {
        Some((list, name)) => fields.find(|field| {
            matches!(field.shape, Shape::Entry { list: of } if of == list) && field.name == name
        }),
        None => {
            fields.find(|field| !matches!(field.shape, Shape::Entry { .. }) && field.name == key)
        }
    }
}

/// The column of a field: `sign_name`, `contacts/phones`.
pub fn column(field: &Field) -> String {
    match field.shape {
        Shape::Entry { list } => format!("{list}/{}", field.name),
        _ => field.name.to_owned(),
    }
}

/// The card's field of this meaning.
pub fn of_meaning(meaning: Meaning) -> Option<&'static Field> {
    Kind::ShopCard.of_meaning(meaning)
}

/// Whether the column's cells have a line for each contact person.
pub fn is_of_persons(key: &str) -> bool {
    key.split_once('/')
        .is_some_and(|(list, _)| Kind::ShopCard.persons() == Some(list))
}

fn meant(key: &str, cell: &str) -> String {
    if is_of_persons(key) {
        let cell = unprotected(cell);
        let lines: Vec<_> = lines(&as_read(&cell))
            .map(|line| line_meant(key, line))
            .collect();
        return lines.join("\n").trim_end().to_owned();
    }
    line_meant(key, cell)
}

fn line_meant(key: &str, cell: &str) -> String {
    let meaning = field(key).map(|field| field.meaning);
    // A text that looks like what programs wrap around one is read without it, whoever typed it.
    let cell = unprotected(cell);
    let cell = as_read(&cell);
    match (key, meaning) {
        (_, Some(Meaning::Note)) => many_lines(&cell),
        (_, Some(Meaning::Telephone)) if !cell.contains('*') => phone::stored(&cell),
        (CONFIRMED, _) | (_, Some(Meaning::Date)) => {
            date::parse(&cell).map_or_else(|| one_line(&cell), date::to_iso)
        }
        (key, _) if POINT[..2].contains(&key) || key == CONFLICTS => number(&cell),
        _ => one_line(&cell),
    }
}

/// How many fields are in conflict.
pub const CONFLICTS: &str = "conflict_count";

fn number(cell: &str) -> String {
    let plain = text::half_width(cell.trim());
    plain
        .parse::<f64>()
        .map_or_else(|_| plain.clone(), |number| format!("{number:.7}"))
}

/// The lines of a cell.
pub fn lines(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('\n').map(|line| line.trim_end_matches('\r'))
}
