//! A shop roll as an office keeps it, read into what an import would write.
//!
//! In: the bytes of a workbook or a delimited text file, and the street's tables. Out: a [`RollPlan`]: by row the values for a
//! card, the cells as they stood, and what is doubtful. Pure: no SQL, no clock; the import decides what becomes of the plan.
//!
//! Invariants: every row that names a shop is in the plan, whatever is wrong with it; every cell is kept as text in
//! [`RollRow::cells`]; every value obeys the catalogue's rule for its field, what does not stays in the cells and is reported;
//! the same file gives the same plan with the same row identities, and so do its workbook and its text export; memory is
//! bounded by [`RollLimits`] whatever the file claims about itself.

mod cell;
mod custom;
mod delimited;
mod grids;
mod headings;
mod problem;
mod rows;
mod workbook;

#[cfg(test)]
mod tests;

pub use headings::ColumnTarget;
use lianka_sync_core::kinds::{Field, Meaning};
pub use problem::{Problem, ProblemCode, RollError, Severity};

/// What the street knows of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreetTables<'a> {
    /// Names of its roads. Empty: roads are not checked.
    pub roads: &'a [&'a str],
    /// Its grids.
    pub grids: &'a [KnownGrid<'a>],
}

/// A grid of the street.
#[derive(Debug, Clone, Copy)]
pub struct KnownGrid<'a> {
    /// Code, for example 康平01.
    pub code: &'a str,
    /// Name that people see.
    pub name: &'a str,
    /// Area it lies in, for example 康平.
    pub area: &'a str,
}

/// What a file may cost.
#[derive(Debug, Clone, Copy)]
pub struct RollLimits {
    /// Bytes of the file.
    pub file_bytes_max: usize,
    /// Bytes of all parts of a workbook, unpacked.
    pub unpacked_bytes_max: u64,
    /// Parts of a workbook.
    pub parts_max: usize,
    /// Rows that are not blank, on one sheet.
    pub rows_max: usize,
    /// Columns, counted to the last one that is not blank.
    pub columns_max: usize,
    /// Characters of one cell.
    pub cell_chars_max: usize,
    /// Bytes of all cells together: a workbook may name one long text from every cell.
    pub text_bytes_max: usize,
}

impl Default for RollLimits {
    fn default() -> Self {
        Self {
            file_bytes_max: 20 * 1024 * 1024,
            unpacked_bytes_max: 128 * 1024 * 1024,
            parts_max: 1_000,
            rows_max: 20_000,
            columns_max: 200,
            cell_chars_max: 32_767,
            text_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// What an import of the file would write, and what is doubtful about it.
#[derive(Debug, Clone)]
pub struct RollPlan {
    /// The sheet that holds the roll; none in a text file.
    pub sheet: Option<String>,
    /// Row of the headings, as Excel counts.
    pub header_row: u32,
    /// The columns that are not blank, from the left.
    pub columns: Vec<RollColumn>,
    /// Custom fields the street needs for columns that the catalogue does not know.
    pub custom_fields: Vec<CustomField>,
    /// The shops, in the order of the sheet.
    pub rows: Vec<RollRow>,
    /// What is doubtful, by row, then by column.
    pub problems: Vec<Problem>,
    /// Blank rows between the headings and the last row.
    pub blank_rows: usize,
    /// Rows of totals, which are left out.
    pub total_rows: usize,
}

/// One column of the sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollColumn {
    /// Letters as Excel shows them.
    pub letters: String,
    /// Heading as it stands in the sheet, or the letters where it is blank.
    pub heading: String,
    /// What the column is read as.
    pub target: ColumnTarget,
}

/// A column that becomes a field of the street's own. Sensitivity class P1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomField {
    /// Name within the key `custom/<name>`.
    pub name: String,
    /// Heading.
    pub label: String,
    /// Type guessed from the values.
    pub kind: CustomKind,
}

/// Type of a custom field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomKind {
    /// Free text.
    Text,
    /// Every value is a date; stored as `YYYY-MM-DD`.
    Date,
    /// Every value is a plain decimal number.
    Number,
    /// Few values that repeat, most frequent first.
    Choice(Vec<String>),
}

impl CustomKind {
    /// As the table of custom fields stores it.
    pub fn as_str(&self) -> &'static str {
        match self {
            CustomKind::Text => "text",
            CustomKind::Date => "date",
            CustomKind::Number => "number",
            CustomKind::Choice(_) => "choice",
        }
    }
}

/// One shop of the roll.
#[derive(Debug, Clone)]
pub struct RollRow {
    /// Row number as Excel shows it.
    pub row: u32,
    /// The same for the same cells whenever the file is read; the running number of the row does not count.
    pub identity: [u8; 32],
    /// Code of the street's grid that owns the card, if it is known.
    pub grid: Option<String>,
    /// Flat keys with their values, without contacts and note, each accepted by the catalogue.
    pub values: Vec<(String, RollValue)>,
    /// Contact persons; the import chooses their entry ids.
    pub contacts: Vec<RollContact>,
    /// Text of the note.
    pub note: Option<String>,
    /// Every cell that is not blank, as (heading, text): text verbatim, numbers in plain notation, dates as `YYYY-MM-DD`.
    pub cells: Vec<(String, String)>,
}

impl RollRow {
    /// The text value of a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(k, _)| k == key)
            .and_then(|(_, value)| match value {
                RollValue::Text(text) => Some(text.as_str()),
                RollValue::Flag => None,
            })
    }
}

/// A value of a flat key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollValue {
    /// A text register.
    Text(String),
    /// A member of a set.
    Flag,
}

/// A contact person of a shop: the fields that have a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollContact(Vec<(&'static Field, String)>);

impl RollContact {
    /// The fields that have a value, by their name within `contacts/<entry>/`.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .iter()
            .map(|(field, value)| (field.name, value.as_str()))
    }

    /// What is known of this meaning.
    pub fn get(&self, meaning: Meaning) -> Option<&str> {
        self.0
            .iter()
            .find(|(field, _)| field.meaning == meaning)
            .map(|(_, value)| value.as_str())
    }

    fn set(&mut self, field: &'static Field, value: String) {
        self.0.retain(|(of, _)| of != &field);
        self.0.push((field, value));
        self.0.sort_by_key(|(field, _)| field.export);
    }
}

/// A sheet as read: only rows that have a cell, each with its number and its cells up to the last one that is not blank.
#[derive(Debug)]
struct Sheet {
    name: Option<String>,
    rows: Vec<(u32, Vec<String>)>,
}

/// Reads a roll. Fails only where nothing could be imported at all.
pub fn read(
    bytes: &[u8],
    street: &StreetTables<'_>,
    limits: &RollLimits,
) -> Result<RollPlan, RollError> {
    if bytes.len() > limits.file_bytes_max {
        return Err(RollError::FileTooLarge {
            bytes_max: limits.file_bytes_max,
        });
    }
    let sheets = match bytes {
        [] => return Err(RollError::Empty),
        [b'P', b'K', 3, 4, ..] => workbook::sheets(bytes, limits)?,
        [0xd0, 0xcf, 0x11, 0xe0, ..] => return Err(RollError::OldOrEncrypted),
        _ => vec![delimited::sheet(bytes, limits)?],
    };
    let header = headings::find(&sheets).ok_or(RollError::NoHeader)?;
    rows::plan(&sheets, &header, street)
}
