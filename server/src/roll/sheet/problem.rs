//! What can be doubtful about a roll, as data with stable codes and words in both languages.

use std::fmt;

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

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Probably wrong in the sheet.
    Warning,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $severity:ident;)*) => {
        /// Codes of problems; the text form is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProblemCode {
            $($(#[$doc])* $variant,)*
        }

        impl ProblemCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// How much it matters.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    /// The check character of the credit code is wrong.
    CreditCodeCheck = "credit_code_check", Warning;
    /// The credit code is not eighteen permitted characters.
    CreditCodeShape = "credit_code_shape", Warning;
    /// No credit code.
    CreditCodeMissing = "credit_code_missing", Info;
    /// A telephone number that cannot be dialled.
    PhoneShape = "phone_shape", Warning;
    /// The road does not stand in the street's road table, or none was found in the address.
    RoadUnknown = "road_unknown", Warning;
    /// The street has no road table yet, so that no road was checked.
    RoadTableEmpty = "road_table_empty", Info;
    /// No address.
    AddressMissing = "address_missing", Warning;
    /// Another row names the same door.
    SameDoorTwice = "same_door_twice", Warning;
    /// No shop sign.
    SignNameMissing = "sign_name_missing", Warning;
    /// The grid is not one of the street's, or missing.
    GridUnknown = "grid_unknown", Warning;
    /// A date that cannot be read.
    DateUnreadable = "date_unreadable", Warning;
    /// Not one of 营业, 装修, 空置, 关闭 or a known word for them.
    OccupancyUnknown = "occupancy_unknown", Warning;
    /// Not a pair of coordinates.
    PointUnreadable = "point_unreadable", Warning;
    /// The heading does not say in which system the coordinates are; they are not imported.
    PointCrsMissing = "point_crs_missing", Warning;
    /// Longer than the field takes; the cell is kept, the field stays empty.
    ValueTooLong = "value_too_long", Warning;
    /// Refused by the field for another reason; the cell is kept, the field stays empty.
    ValueRefused = "value_refused", Warning;
    /// An identity or telephone number within free text.
    PersonalNumber = "personal_number", Warning;
    /// A column of sensitive personal data, which needs consent by entry; it is not imported into fields.
    SensitiveColumn = "sensitive_column", Warning;
    /// A row that names no shop.
    RowSkipped = "row_skipped", Info;
    /// Another sheet looks like a roll too; only one is read.
    OtherSheet = "other_sheet", Info;
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
    /// The binary format before 2007, or a workbook with a password.
    #[error("an old or password-protected workbook; save it as .xlsx without a password")]
    OldOrEncrypted,
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
                "旧版 .xls 或加密的工作簿，请另存为不带密码的 .xlsx".into()
            }
            RollError::Unreadable(_) => "无法识别：既不是完好的 .xlsx，也不是文本表格".into(),
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
