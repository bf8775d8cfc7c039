//! A shop roll as an office keeps it, read into what an import would write.
//!
//! In: the bytes of a workbook or a delimited text file, and the street's tables. Out: a [`Roll`], and part by part its rows: the values for a
//! card, the cells as they stood, and what is doubtful. Pure: no SQL, no clock; the import decides what becomes of them.
//!
//! Invariants: every row that names a shop is in some part, whatever is wrong with it; every cell is kept as text in
//! [`RollRow::cells`], with asterisks for identity numbers and other numbers of persons, which stand in no value either; every value obeys the catalogue's rule for its field, what does not stays in the cells and is reported;
//! the same file gives the same rows with the same row identities, and so do its workbook and its text export; memory is
//! bounded by [`RollLimits`] whatever the file claims about itself.

mod cell;
mod custom;
mod delimited;
mod flaws;
mod formats;
mod grid;
mod headings;
mod markup;
mod ods;
mod package;
mod people;
mod problem;
mod rows;
mod shape;
mod sound;
mod target;
mod workbook;
mod xlsb;
mod xlsx;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

use grid::{Flawed, Grid};
pub use headings::VISIT_HEADINGS;
pub(crate) use lianka_office_core::roll::grids;
pub use lianka_office_core::roll::grids::KnownGrid;
use lianka_sync_core::{
    kinds::{Class, Field, Meaning},
    time::ServerTime,
};
pub use problem::{Problem, ProblemCode, RECORD_GONE, RollError, Severity};
pub use target::ColumnTarget;

/// What the street knows of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreetTables<'a> {
    /// Names of its roads. Empty: roads are not checked.
    pub roads: &'a [&'a str],
    /// Its grids.
    pub grids: &'a [KnownGrid<'a>],
    /// The office's time: no day of observation lies behind it. Absent: days are not looked at.
    pub now: Option<ServerTime>,
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
    /// Rows that are not blank, on one sheet; titles, headings and notes are rows too.
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
            file_bytes_max: 32 * 1024 * 1024,
            unpacked_bytes_max: 192 * 1024 * 1024,
            parts_max: 1_000,
            rows_max: 101_000,
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

/// The rows below the headings of a sheet, as they stand.
#[derive(Debug, Clone)]
pub struct Lines {
    sheet: Arc<Sheet>,
    /// Place of the first.
    from: usize,
    /// The text is of an encoding that has not every sign: `?` stands for those that it lacks.
    is_narrow: bool,
}

impl Lines {
    /// Number and cells of each row, from the top.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Vec<String>)> {
        self.sheet.rows.from(self.from).iter()
    }

    /// The cells of a row by its number.
    pub fn get(&self, row: u32) -> Option<Vec<String>> {
        let rows = &self.sheet.rows;
        let at = rows.place(row).filter(|at| *at >= self.from)?;
        rows.get(at).map(|(_, cells)| cells)
    }

    /// Whether the file does not say what stands in a cell.
    pub fn is_unreadable(&self, row: u32, column: usize) -> bool {
        flaws::of_row(&self.sheet, row)
            .iter()
            .any(|flawed| flawed.column as usize == column && flawed.flaw.hides_the_cell())
    }

    /// Whether signs of the text may have been lost when it was saved.
    pub fn may_lack_signs(&self, text: &str) -> bool {
        self.is_narrow && text.contains('?')
    }
}

/// Whether the bytes are text in an encoding that has not every sign.
fn is_narrow(bytes: &[u8]) -> bool {
    let is_binary = |begin: &[u8]| bytes.starts_with(begin);
    let other: [&[u8]; 5] = [
        b"PK\x03\x04",
        b"\xd0\xcf\x11\xe0",
        b"\x09",
        b"\xff\xfe",
        b"\xfe\xff",
    ];
    !other.into_iter().any(is_binary) && std::str::from_utf8(bytes).is_err()
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

/// A column that becomes a field of the street's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomField {
    /// Name within the key `custom/<name>`.
    pub name: String,
    /// Heading.
    pub label: String,
    /// Type guessed from the values.
    pub kind: CustomKind,
    /// Personal (P2) where heading or values look like a person's data, else internal (P1).
    pub class: Class,
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
    /// Every cell that is not blank, as (heading, text): text verbatim but for numbers of persons, numbers in plain notation, dates as `YYYY-MM-DD`.
    pub cells: Vec<(String, String)>,
}

impl RollRow {
    /// A row that says nothing yet.
    fn empty(row: u32) -> Self {
        Self {
            row,
            identity: [0; 32],
            grid: None,
            values: Vec::new(),
            contacts: Vec::new(),
            note: None,
            cells: Vec::new(),
        }
    }

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

/// A sheet as read.
#[derive(Debug)]
pub(crate) struct Sheet {
    name: Option<String>,
    visibility: Visibility,
    /// Serial days count from 1904: a number that lost its date format is one of these too.
    date1904: bool,
    /// Only rows that have a cell.
    rows: Grid,
    /// What is known of cells beside their text, by row, then by column.
    flaws: Vec<Flawed>,
}

/// Whether people see a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Visibility {
    Visible,
    /// Shown again by a menu.
    Hidden,
    /// Shown again by a program only.
    VeryHidden,
}

/// A roll whose sheet and headings are found: what is known before its rows are read.
#[derive(Debug)]
pub struct Roll {
    sheet: Arc<Sheet>,
    table: rows::Table,
    /// The file is text in an encoding that has not every sign.
    is_narrow: bool,
    /// Another sheet that looks like a roll too.
    other_sheet: Option<String>,
    /// What is doubtful about the sheets, and cells outside the table.
    told: Vec<Problem>,
}

/// Rows of a roll that were read together.
#[derive(Debug)]
pub struct Part {
    /// Shops, in the order of the sheet.
    pub rows: Vec<RollRow>,
    /// What is doubtful about them and the rows between them, by row, then by column.
    pub problems: Vec<Problem>,
    /// What these rows tell of rows in earlier parts: the first of two at one door.
    pub late: Vec<Problem>,
    /// All rows before this one are in this part or an earlier one.
    pub upto: u32,
}

/// What is known of a roll once all of its rows were read.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Blank rows between the headings and the last row.
    pub blank_rows: usize,
    /// Rows of totals, which are left out.
    pub total_rows: usize,
    /// Custom fields that are none after all: their columns have no heading, and no shop says anything in them.
    pub unsaid: BTreeSet<String>,
}

impl Roll {
    /// Finds the roll in a file. Fails only where nothing could be imported at all.
    pub fn open(bytes: &[u8], limits: &RollLimits) -> Result<Self, RollError> {
        if bytes.len() > limits.file_bytes_max {
            return Err(RollError::FileTooLarge {
                bytes_max: limits.file_bytes_max,
            });
        }
        let (mut sheets, damaged) = sheets(bytes, limits)?;
        // What people see comes first; a hidden sheet is read where no other holds a roll.
        sheets.sort_by_key(|sheet| sheet.visibility);
        let visible = sheets.partition_point(|sheet| sheet.visibility == Visibility::Visible);
        let seen = headings::find(&sheets[..visible]);
        let unseen = headings::find(&sheets[visible..]).map(|header| visible + header.sheet);
        let header = match seen {
            Some(header) => header,
            None => headings::find(&sheets).ok_or(RollError::NoHeader)?,
        };
        let sheet = sheets.get(header.sheet).ok_or(RollError::NoHeader)?;
        let table = rows::Table::find(sheet, &header)?;
        let mut told =
            flaws::about_sheets(&sheets, header.sheet, unseen, &damaged, table.header_row);
        told.sort_by_key(|problem| problem.row);
        let other = header.other_sheet.and_then(|at| sheets.get(at));
        Ok(Self {
            other_sheet: other.and_then(|sheet| sheet.name.clone()),
            sheet: Arc::new(sheets.swap_remove(header.sheet)),
            table,
            is_narrow: is_narrow(bytes),
            told,
        })
    }

    /// The name of the sheet that holds the roll; none in a text file.
    pub fn sheet(&self) -> Option<&str> {
        self.sheet.name.as_deref()
    }

    /// Row of the headings, as Excel counts.
    pub fn header_row(&self) -> u32 {
        self.table.header_row
    }

    /// The columns that are not blank, from the left.
    pub fn columns(&self) -> &[RollColumn] {
        &self.table.columns
    }

    /// Custom fields the street needs for columns that the catalogue does not know.
    pub fn custom_fields(&self) -> &[CustomField] {
        &self.table.custom_fields
    }

    /// The headings as they stand, by column.
    pub fn heading_cells(&self) -> &[String] {
        &self.table.heading_cells
    }

    /// Every row below the headings as it stands.
    pub fn lines(&self) -> Lines {
        Lines {
            sheet: Arc::clone(&self.sheet),
            from: self.table.from,
            is_narrow: self.is_narrow,
        }
    }

    /// What is doubtful about the sheet as a whole, by row; none lies below the headings.
    pub fn problems(&self, street: &StreetTables<'_>) -> Vec<Problem> {
        let mut problems = self
            .table
            .about_columns(street, self.other_sheet.as_deref());
        let above = |problem: &&Problem| problem.row <= self.table.header_row;
        problems.extend(self.told.iter().filter(above).cloned());
        problems.sort_by_key(|problem| problem.row);
        problems
    }

    /// Reads the rows, and hands them over part by part, as long as `each` wants more.
    pub fn parts(
        &self,
        street: &StreetTables<'_>,
        mut each: impl FnMut(Part) -> ControlFlow<()>,
    ) -> Totals {
        let below = |problem: &&Problem| problem.row > self.table.header_row;
        let told = self.told.iter().filter(below).cloned().collect();
        self.table.read(&self.sheet, street, told, &mut each)
    }
}

/// Reads a roll as a whole, in as much memory as that takes. Fails only where nothing could be imported at all.
pub fn read(
    bytes: &[u8],
    street: &StreetTables<'_>,
    limits: &RollLimits,
) -> Result<RollPlan, RollError> {
    let roll = Roll::open(bytes, limits)?;
    let (mut rows, mut problems) = (Vec::new(), roll.problems(street));
    let totals = roll.parts(street, |part| {
        rows.extend(part.rows);
        problems.extend(part.problems);
        problems.extend(part.late);
        ControlFlow::Continue(())
    });
    problems.sort_by_key(|problem| problem.row);
    let mut custom_fields = roll.table.custom_fields.clone();
    custom_fields.retain(|field| !totals.unsaid.contains(&field.name));
    Ok(RollPlan {
        sheet: roll.sheet().map(str::to_owned),
        header_row: roll.header_row(),
        columns: roll.table.columns,
        custom_fields,
        rows,
        problems,
        blank_rows: totals.blank_rows,
        total_rows: totals.total_rows,
    })
}

/// The sheets of a file of whatever kind, and the names of those that cannot be read.
fn sheets(bytes: &[u8], limits: &RollLimits) -> Result<(Vec<Sheet>, Vec<String>), RollError> {
    // What programs leave behind the end of a text, or before a file that came over the web.
    let bytes = without_padding(bytes);
    match bytes {
        [] => return Err(RollError::Empty),
        [b'P', b'K', 3, 4, ..] => return workbook::sheets(bytes, limits),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => return xlsb::old_sheets(bytes, limits),
        // Workbooks of the time before compound files.
        [9, 0 | 2 | 4 | 8, 4 | 6 | 8, 0, ..] => return Err(RollError::OldOrEncrypted),
        _ => {}
    }
    if let Some((zh, en)) = other_kind(bytes) {
        return Err(RollError::OtherFormat { zh, en });
    }
    let text = delimited::decode(bytes, limits)?;
    if let Some((zh, en)) = other_text(&text) {
        return Err(RollError::OtherFormat { zh, en });
    }
    let sheets = match markup::Markup::of(&text) {
        None => vec![delimited::sheet(&text, limits)?],
        Some(markup::Markup::Page) => markup::page(&text, limits)?,
        Some(markup::Markup::Spreadsheet) => markup::spreadsheet(&text, limits)?,
        Some(markup::Markup::OpenDocument) => ods::tables(text.as_bytes(), limits)?,
    };
    if sheets.iter().all(|sheet| sheet.rows.is_empty()) {
        return Err(match markup::Markup::of(&text) {
            Some(markup::Markup::Page) => RollError::OtherFormat {
                zh: "没有表格的网页（可能是登录页面或出错页面）",
                en: "a web page without a table (perhaps one to sign in, or an error)",
            },
            _ => RollError::Empty,
        });
    }
    Ok((sheets, Vec::new()))
}

/// Without the zero bytes and the end mark that follow a text, and without the line ends that stand before a zip.
fn without_padding(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
    if bytes[start..].starts_with(b"PK\x03\x04") {
        return &bytes[start..];
    }
    let is_wide = bytes.iter().take(SAMPLE_BYTES).any(|b| *b == 0);
    let end = bytes
        .iter()
        .rposition(|b| !matches!(b, 0 | 0x1a))
        .map_or(0, |at| at + 1);
    match bytes {
        // In a compound file and in UTF-16 a zero byte says something.
        [0xd0, 0xcf, ..] | [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => bytes,
        _ if is_wide && end < SAMPLE_BYTES && bytes[..end].contains(&0) => bytes,
        _ => &bytes[..end],
    }
}

/// Bytes that tell whether zero bytes belong to a text.
const SAMPLE_BYTES: usize = 4_096;

/// A text that people or programs send instead of a table, in both languages, by its beginning.
fn other_text(text: &str) -> Option<(&'static str, &'static str)> {
    let head = text.trim_start();
    let begins = |words: &[&str]| words.iter().any(|word| head.starts_with(word));
    let is_json =
        || begins(&["{", "["]) && serde_json::from_str::<serde::de::IgnoredAny>(head).is_ok();
    let is_sylk = || {
        head.lines()
            .next()
            .is_some_and(|line| line.starts_with("ID;P"))
    };
    Some(if is_json() {
        ("JSON 数据", "JSON data")
    } else if is_sylk() {
        ("SYLK 文件（.slk）", "a SYLK file (.slk)")
    } else if begins(&["TABLE\n0,1", "TABLE\r\n0,1"]) {
        ("DIF 文件（.dif）", "a DIF file (.dif)")
    } else if begins(&["Received:", "Return-Path:", "From:", "Delivered-To:"])
        && head.contains("\nSubject:")
    {
        ("电子邮件（.eml）", "an e-mail (.eml)")
    } else if begins(&["version https://git-lfs"]) {
        (
            "Git LFS 指针，不是文件本身",
            "a pointer of Git LFS and not the file itself",
        )
    } else if begins(&["<?xml"]) && markup::Markup::of(text).is_none() {
        ("XML 文件，其中没有表格", "an XML file without a table")
    } else {
        return None;
    })
}

/// A kind of file that people send instead of a table, in both languages, by its first bytes.
fn other_kind(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const KINDS: [(&[u8], &str, &str); 13] = [
        (b"%PDF", "PDF 文件", "a PDF document"),
        (b"\x89PNG", "图片", "a picture"),
        (b"\xff\xd8\xff", "图片", "a picture"),
        (b"GIF8", "图片", "a picture"),
        (b"BM\x36", "图片", "a picture"),
        (b"{\\rtf", "RTF 文档", "an RTF document"),
        (b"Rar!", "RAR 压缩包", "a RAR archive"),
        (b"7z\xbc\xaf", "7z 压缩包", "a 7z archive"),
        (b"\x1f\x8b", "gzip 压缩包", "a gzip archive"),
        (b"PK\x05\x06", "空的压缩包", "an empty archive"),
        (
            b"MIME-Version:",
            "单个文件网页（.mht）",
            "a web archive (.mht)",
        ),
        (b"SQLite format 3", "数据库文件", "a database"),
        (b"\0\x01\0\0Standard", "Access 数据库", "an Access database"),
    ];
    KINDS
        .iter()
        .find(|(begin, ..)| bytes.starts_with(begin))
        .map(|(_, zh, en)| (*zh, *en))
}
