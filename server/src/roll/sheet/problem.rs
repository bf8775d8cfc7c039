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
    /// A telephone number that cannot be dialled; it is kept as typed.
    PhoneShape = "phone_shape", Warning;
    /// One cell, or one row with the rows below it, speaks of several people: each became a contact.
    PeopleSplit = "people_split", Info;
    /// Several names and numbers of which nobody can say whose is which: they stay together as typed.
    PeopleNotPaired = "people_not_paired", Warning;
    /// Words or times beside a telephone number; they stay in the cells.
    PhoneWords = "phone_words", Info;
    /// The road does not stand in the street's road table, or none was found in the address.
    RoadUnknown = "road_unknown", Warning;
    /// The street has no road table yet, so that no road was checked.
    RoadTableEmpty = "road_table_empty", Info;
    /// No address.
    AddressMissing = "address_missing", Warning;
    /// The address names no house number or lane that could be read.
    HouseNumberUnreadable = "house_number_unreadable", Warning;
    /// A part of the address, with a number in it, was not understood; it stays in the address as typed.
    AddressPartUnread = "address_part_unread", Info;
    /// Another row names the same door.
    SameDoorTwice = "same_door_twice", Warning;
    /// No shop sign.
    SignNameMissing = "sign_name_missing", Warning;
    /// The shop sign says that the premises are vacant.
    SignNameVacant = "sign_name_vacant", Info;
    /// The grid is not one of the street's, or missing.
    GridUnknown = "grid_unknown", Warning;
    /// A date that cannot be read.
    DateUnreadable = "date_unreadable", Warning;
    /// A day of observation that has not come by the office's clock, or of long ago.
    DateImplausible = "date_implausible", Warning;
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
    /// An identity number, a bank card, a passport or a permit, in whatever column, which is not imported; or a telephone number within free text.
    PersonalNumber = "personal_number", Warning;
    /// A column of sensitive personal data, which needs consent by entry; it is not imported into fields.
    SensitiveColumn = "sensitive_column", Warning;
    /// A column of the street's own that looks like personal data: it is kept as such (class P2).
    PersonalColumn = "personal_column", Info;
    /// 同上 was read as the value above.
    DittoTaken = "ditto_taken", Info;
    /// 同上 where the value above may be somebody else's: left empty.
    DittoNotTaken = "ditto_not_taken", Warning;
    /// A row that only goes on with the people of the shop above it.
    RowJoined = "row_joined", Info;
    /// A cell that found no place: of a row that goes on with a shop, or under headings that changed.
    CellNotTaken = "cell_not_taken", Warning;
    /// The headings again, in other words or with other columns.
    HeadingRepeated = "heading_repeated", Info;
    /// A row that heads those below it and names their road, grid or area.
    BandApplied = "band_applied", Info;
    /// A row that names no shop.
    RowSkipped = "row_skipped", Info;
    /// Another sheet looks like a roll too; only one is read.
    OtherSheet = "other_sheet", Info;
    /// A hidden sheet looks like a roll too; the visible one is read.
    HiddenSheet = "hidden_sheet", Info;
    /// No visible sheet holds a roll, so that a hidden one was read.
    HiddenSheetRead = "hidden_sheet_read", Warning;
    /// The row is hidden in the sheet; it is read like the others.
    HiddenRow = "hidden_row", Info;
    /// A cell far outside the table, which is not read.
    FarCell = "far_cell", Warning;
    /// A sheet that is damaged; the others are read.
    SheetUnreadable = "sheet_unreadable", Warning;
    /// A cell that shows an error such as `#N/A`; it counts as empty.
    CellError = "cell_error", Warning;
    /// A formula whose value the file does not hold; the cell counts as empty.
    FormulaWithoutValue = "formula_without_value", Warning;
    /// A number whose last digits the spreadsheet has thrown away; the cell counts as empty.
    NumberDamaged = "number_damaged", Warning;
    /// A picture in place of a text; the cell counts as empty.
    PictureInCell = "picture_in_cell", Warning;
    /// A date where none belongs: 3-5 that the spreadsheet took for a day.
    DateInPlaceOfNumber = "date_in_place_of_number", Warning;
    /// Bytes that are no text in the file's encoding; the cell counts as empty.
    TextDamaged = "text_damaged", Warning;
    /// A quotation mark that is never closed; the cell was ended with its line.
    QuoteUnclosed = "quote_unclosed", Warning;
    /// A cell of a sheet of ours was emptied whose field may not be empty; it stays as it was.
    ValueRequired = "value_required", Warning;
    /// A masked number was changed and is not whole; it stays as it was.
    MaskedValue = "masked_value", Warning;
    /// A column that is worked out from others was changed.
    ReadOnlyColumn = "read_only_column", Warning;
    /// The sheet is another street's export.
    ExportOfOtherStreet = "export_of_other_street", Warning;
    /// What the sheet's export said is not kept any more.
    ExportForgotten = "export_forgotten", Info;
    /// A spreadsheet wrote a cell of a sheet of ours in its own way.
    CellRespelled = "cell_respelled", Info;
    /// Nobody can say what stands in a cell of a sheet of ours; the field stays as it was.
    CellUnreadable = "cell_unreadable", Warning;
    /// A contact person has no line any more; an import deletes nobody.
    ContactLineMissing = "contact_line_missing", Warning;
    /// The note was written since the export; the sheet's is not written.
    NoteChanged = "note_changed", Warning;
    /// A contact person is not on the card any more.
    ContactGone = "contact_gone", Warning;
    /// The card is not there any more.
    RecordGone = "record_gone", Warning;
    /// Another row carries the same card's id; this one counts as copied.
    CardIdRepeated = "card_id_repeated", Warning;
    /// Another row is the same card.
    SameCardTwice = "same_card_twice", Warning;
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
