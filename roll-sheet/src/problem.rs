//! What can be doubtful about a roll, as data with stable codes and words in both languages.

pub use lianka_office_core::roll::problem::{ProblemCode, RECORD_GONE, Severity};

/// Something about a row, a column or the file that people should look at. Nothing of it stops an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is.
    pub code: ProblemCode,
    /// Row number as Excel shows it; for a column or the file the row of the headings.
    pub row: u32,
    /// Heading of the column.
    pub column: Option<String>,
    /// The other row of a pair.
    pub other_row: Option<u32>,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

impl Problem {
    pub(crate) fn new(
        code: ProblemCode,
        row: u32,
        column: Option<&str>,
        zh: impl Into<String>,
        en: impl Into<String>,
    ) -> Self {
        Self {
            code,
            row,
            column: column.map(str::to_owned),
            other_row: None,
            zh: zh.into(),
            en: en.into(),
        }
    }

    pub(crate) fn with_other_row(self, other_row: u32) -> Self {
        Self {
            other_row: Some(other_row),
            ..self
        }
    }
}

/// Why a file cannot be read as a roll at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollError {
    /// No bytes, or no row.
    #[error("the file is empty")]
    Empty,
    /// More bytes than are taken.
    #[error("the file is larger than {bytes_max} bytes")]
    FileTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// A workbook that unpacks, or claims to unpack, to more than is taken.
    #[error("the workbook unpacks to more than {bytes_max} bytes")]
    UnpackedTooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// A workbook of the time before 2007 that cannot be read.
    #[error("an old or damaged .xls workbook; open it and save it as .xlsx")]
    OldOrEncrypted,
    /// A workbook with a password.
    #[error("the workbook has a password; save it as .xlsx without one")]
    Encrypted,
    /// A workbook whose end is missing.
    #[error("the file ends too early; save or download it again, and send it whole")]
    Truncated,
    /// A file of another kind.
    #[error("the file is {en}, not a spreadsheet; open it and save the table as .xlsx")]
    OtherFormat {
        /// What it is, in Chinese.
        zh: &'static str,
        /// In English.
        en: &'static str,
    },
    /// Not a workbook and not text, or a damaged one.
    #[error("neither a readable workbook nor text: {0}")]
    Unreadable(String),
    /// Too many rows.
    #[error("more than {rows_max} rows")]
    TooManyRows {
        /// The limit.
        rows_max: usize,
    },
    /// Too many columns.
    #[error("row {row} has more than {columns_max} columns")]
    TooManyColumns {
        /// Where.
        row: u32,
        /// The limit.
        columns_max: usize,
    },
    /// A cell that is too long: in a text file often a quotation mark that is never closed.
    #[error("row {row} has a cell of more than {chars_max} characters")]
    CellTooLong {
        /// Where.
        row: u32,
        /// The limit.
        chars_max: usize,
    },
    /// No row looks like the headings of a roll.
    #[error("no row with headings such as shop sign, address or credit code")]
    NoHeader,
}

impl RollError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            RollError::Empty => "roll_empty",
            RollError::FileTooLarge { .. } => "roll_file_too_large",
            RollError::UnpackedTooLarge { .. } => "roll_unpacked_too_large",
            RollError::OldOrEncrypted => "roll_old_or_encrypted",
            RollError::Encrypted => "roll_encrypted",
            RollError::Truncated => "roll_truncated",
            RollError::OtherFormat { .. } => "roll_other_format",
            RollError::Unreadable(_) => "roll_unreadable",
            RollError::TooManyRows { .. } => "roll_too_many_rows",
            RollError::TooManyColumns { .. } => "roll_too_many_columns",
            RollError::CellTooLong { .. } => "roll_cell_too_long",
            RollError::NoHeader => "roll_no_header",
        }
    }

    /// In Chinese; the English words are those of `Display`.
    pub fn zh(&self) -> String {
        match self {
            RollError::Empty => "文件是空的".into(),
            RollError::FileTooLarge { bytes_max } => {
                format!("文件超过 {} MB", bytes_max / 1024 / 1024)
            }
            RollError::UnpackedTooLarge { bytes_max } => {
                format!("工作簿解压后超过 {} MB", bytes_max / 1024 / 1024)
            }
            RollError::OldOrEncrypted => {
                "旧版 .xls 工作簿，无法读取或已损坏，请用 Excel 或 WPS 打开后另存为 .xlsx".into()
            }
            RollError::Encrypted => "工作簿设有打开密码，请去掉密码，另存为 .xlsx 后再导入".into(),
            RollError::Truncated => {
                "文件不完整（可能没有下载完或上传完），请重新保存或下载后再导入".into()
            }
            RollError::OtherFormat { zh, .. } => {
                format!("这是{zh}，不是电子表格，请打开后把表格另存为 .xlsx")
            }
            RollError::Unreadable(_) => {
                "无法识别：既不是完好的工作簿，也不是文本表格，请用 Excel 或 WPS 打开后另存为 .xlsx"
                    .into()
            }
            RollError::TooManyRows { rows_max } => format!("超过 {rows_max} 行"),
            RollError::TooManyColumns { row, columns_max } => {
                format!("第 {row} 行超过 {columns_max} 列")
            }
            RollError::CellTooLong { row, chars_max } => {
                format!(
                    "第 {row} 行有单元格超过 {chars_max} 个字符（文本文件中可能是引号没有配对）"
                )
            }
            RollError::NoHeader => {
                "找不到表头：没有一行含有“店招”“地址”“统一社会信用代码”等列名".into()
            }
        }
    }
}
