//! Tables as files that an office opens: workbooks (.xlsx) and delimited text (.csv).
//!
//! In: headings and rows, one after another. Out: a file without a name, gone when it is closed, and streamed from there: memory holds a few
//! rows, however many there are.
//!
//! Nothing that somebody typed is ever a formula. In a workbook every text is stored as text; in delimited text, whose readers guess, a cell that
//! begins like a formula gets an apostrophe before it. Readers of other countries split at semicolons, bars, tabs and line ends too, quoted or not:
//! what stands behind one of these counts as a beginning.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use lianka_office_core::roll::cells::harmless;
use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};
use tokio_util::io::ReaderStream;

/// Characters of a cell that Excel takes.
const CELL_CHARS_MAX: usize = 32_767;
/// Wide enough for a name, narrow enough for a screen.
const COLUMN_WIDTH: f64 = 16.0;
/// Characters of a sheet's name that Excel takes.
const SHEET_NAME_CHARS_MAX: usize = 31;

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Empty,
    Text(String),
    Number(f64),
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Empty, Self::Text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Option<f64>> for Cell {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Empty, Self::Number)
    }
}

/// Why a file was not made.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("the temporary file cannot be written")]
    File(#[from] io::Error),
    #[error("the workbook cannot be written")]
    Workbook(#[from] XlsxError),
    #[error("the delimited text cannot be written")]
    Delimited(#[from] csv::Error),
}

/// Kinds of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    Xlsx,
    Csv,
}

impl FileKind {
    /// Ending of the file's name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Xlsx => "xlsx",
            Self::Csv => "csv",
        }
    }

    /// Media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// A file that is being written, row by row.
pub enum TableFile {
    Xlsx(Box<XlsxFile>),
    Csv(Box<csv::Writer<BufWriter<File>>>),
}

/// A workbook, with the sheet that is written to.
pub struct XlsxFile {
    book: Workbook,
    sheets: usize,
    row: u32,
}

impl TableFile {
    /// An empty file.
    pub fn new(kind: FileKind) -> Result<Self, TableError> {
        Ok(match kind {
            FileKind::Xlsx => Self::Xlsx(Box::new(XlsxFile {
                book: Workbook::new(),
                sheets: 0,
                row: 0,
            })),
            FileKind::Csv => {
                let mut file = BufWriter::new(tempfile::tempfile()?);
                // Without it Excel takes UTF-8 for the system's old encoding.
                file.write_all("\u{feff}".as_bytes())?;
                Self::Csv(Box::new(
                    csv::WriterBuilder::new()
                        .terminator(csv::Terminator::CRLF)
                        .from_writer(file),
                ))
            }
        })
    }

    /// Begins a sheet with its headings. Delimited text has one.
    pub fn sheet(&mut self, name: &str, headings: &[String]) -> Result<(), TableError> {
        match self {
            Self::Xlsx(file) => {
                let sheet = file.book.add_worksheet_with_constant_memory()?;
                sheet.set_name(name.chars().take(SHEET_NAME_CHARS_MAX).collect::<String>())?;
                let bold = Format::new().set_bold();
                for (column, heading) in headings.iter().enumerate() {
                    sheet.set_column_width(column as u16, COLUMN_WIDTH)?;
                    sheet.write_string_with_format(0, column as u16, heading, &bold)?;
                }
                sheet.set_freeze_panes(1, 0)?;
                (file.sheets, file.row) = (file.sheets + 1, 1);
            }
            Self::Csv(file) => {
                file.write_record(headings.iter().map(|heading| harmless(heading)))?;
            }
        }
        Ok(())
    }

    /// Hides the last of so many columns of the sheet begun last. Delimited text hides nothing.
    pub fn hide_last_column(&mut self, columns: usize) -> Result<(), TableError> {
        if let (Self::Xlsx(file), Ok(last)) = (self, u16::try_from(columns.saturating_sub(1))) {
            let at = file.sheets.saturating_sub(1);
            file.book
                .worksheet_from_index(at)?
                .set_column_hidden(last)?;
        }
        Ok(())
    }

    /// Adds a hidden sheet of names and values. Delimited text has none.
    pub fn hidden_sheet(&mut self, name: &str, values: &[(&str, &str)]) -> Result<(), TableError> {
        if let Self::Xlsx(file) = self {
            let sheet = file.book.add_worksheet_with_constant_memory()?;
            sheet.set_name(name)?;
            sheet.set_hidden(true);
            for (row, (name, value)) in (0..).zip(values) {
                sheet.write_string(row, 0, *name)?;
                sheet.write_string(row, 1, *value)?;
            }
            file.sheets += 1;
        }
        Ok(())
    }

    /// Adds a row to the sheet begun last.
    pub fn row(&mut self, cells: &[Cell]) -> Result<(), TableError> {
        match self {
            Self::Xlsx(file) => {
                let (at, row) = (file.sheets.saturating_sub(1), file.row);
                let sheet = file.book.worksheet_from_index(at)?;
                for (column, cell) in cells.iter().enumerate() {
                    write_cell(sheet, row, column as u16, cell)?;
                }
                file.row += 1;
            }
            Self::Csv(file) => file.write_record(cells.iter().map(|cell| match cell {
                Cell::Empty => String::new(),
                Cell::Text(text) => harmless(text),
                Cell::Number(number) => number.to_string(),
            }))?,
        }
        Ok(())
    }

    /// The file, from its beginning. Blocks while a workbook is packed.
    pub fn finish(self) -> Result<File, TableError> {
        let mut file = match self {
            Self::Xlsx(mut file) => {
                let mut out = tempfile::tempfile()?;
                file.book.save_to_writer(&mut out)?;
                out
            }
            Self::Csv(writer) => {
                let buffer = writer
                    .into_inner()
                    .map_err(|error| io::Error::other(error.to_string()))?;
                buffer
                    .into_inner()
                    .map_err(io::IntoInnerError::into_error)?
            }
        };
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }
}

fn write_cell(sheet: &mut Worksheet, row: u32, column: u16, cell: &Cell) -> Result<(), XlsxError> {
    match cell {
        Cell::Empty => {}
        Cell::Number(number) => {
            sheet.write_number(row, column, *number)?;
        }
        // As a text, whatever it begins with: only `write_formula` makes formulas.
        Cell::Text(text) => {
            let text: String = text
                .chars()
                .filter(
                    |c| !matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}'),
                )
                .collect();
            sheet.write_string(
                row,
                column,
                text.chars().take(CELL_CHARS_MAX).collect::<String>(),
            )?;
        }
    }
    Ok(())
}

/// A response that streams the file. No cache keeps it.
pub fn download(file: File, kind: FileKind, name: &str) -> Response {
    let disposition = format!("attachment; filename=\"{name}.{}\"", kind.ending());
    let headers: [(HeaderName, HeaderValue); 3] = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(kind.media_type()),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment")),
        ),
    ];
    (
        headers,
        Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file))),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use lianka_office_core::roll::cells::unprotected;

    use super::*;

    #[test]
    fn nothing_typed_becomes_a_formula() {
        for text in [
            "=1+1",
            "+8613900000001",
            "-1",
            "@SUM(A1)",
            "\tx",
            "\rx",
            "\nx",
            " =1",
            "＝1",
            "\u{3000}＋1",
        ] {
            assert_eq!(harmless(text), format!("'{text}"));
            assert_eq!(unprotected(&harmless(text)), text);
        }
        for (text, shown) in [
            ("王记;=1", "王记;'=1"),
            ("\n=1", "'\n'=1"),
            ("a; @b", "a;' @b"),
            ("a|-1", "a|'-1"),
            ("一\n＝二\r\n+三", "一\n'＝二\r\n'+三"),
            ("\"=1\"", "'\"=1\""),
            ("\u{200b}=1", "'\u{200b}=1"),
        ] {
            assert_eq!(harmless(text), shown);
            assert_eq!(unprotected(shown), text);
        }
        for text in [
            "",
            "王记包子",
            "139****0001",
            "a=b",
            "天平路-378号",
            "'quoted",
            "一\n二;三",
            "9:00-12:00; 13:00-18:00",
        ] {
            assert_eq!(harmless(text), text);
            assert_eq!(unprotected(text), text);
        }
    }

    #[test]
    fn delimited_text_is_what_excel_reads() {
        let mut file = TableFile::new(FileKind::Csv).unwrap();
        file.sheet("卡片", &["店招".into(), "=坏".into()]).unwrap();
        file.row(&[Cell::from("王记,\"包子\"\n铺"), Cell::Number(1.5)])
            .unwrap();
        file.row(&[Cell::Empty, Cell::from("=1")]).unwrap();
        let mut text = String::new();
        file.finish().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(
            text,
            "\u{feff}店招,'=坏\r\n\"王记,\"\"包子\"\"\n铺\",1.5\r\n,'=1\r\n"
        );
    }

    #[test]
    fn a_workbook_holds_texts() {
        let mut file = TableFile::new(FileKind::Xlsx).unwrap();
        file.sheet("卡片", &["店招".into(), "数".into()]).unwrap();
        file.row(&[Cell::from("=1+1\u{1}"), Cell::Number(2.0)])
            .unwrap();
        file.sheet("第二张", &["x".into()]).unwrap();
        file.row(&[Cell::from("长".repeat(40_000).as_str())])
            .unwrap();
        let mut archive = zip::ZipArchive::new(file.finish().unwrap()).unwrap();
        let mut sheet = String::new();
        archive
            .by_name("xl/worksheets/sheet1.xml")
            .unwrap()
            .read_to_string(&mut sheet)
            .unwrap();
        assert!(sheet.contains("=1+1") && !sheet.contains("<f>"), "{sheet}");
        sheet.clear();
        archive
            .by_name("xl/worksheets/sheet2.xml")
            .unwrap()
            .read_to_string(&mut sheet)
            .unwrap();
        assert_eq!(sheet.matches('长').count(), CELL_CHARS_MAX);
    }
}
