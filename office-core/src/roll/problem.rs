//! What can be doubtful about a row of a sheet, as stable codes.

use std::fmt;

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
    /// A cell that found no place: of a row that goes on with a shop, under headings that changed, or behind as many as a text has headings.
    CellNotTaken = "cell_not_taken", Warning;
    /// The headings again, in other words or with other columns; or two columns with one heading.
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
    /// A date where none belongs: 3-5 that the spreadsheet took for a day; or a time, a share or a fraction in place of a house number.
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

/// What is said of [`ProblemCode::RecordGone`], Chinese and English.
pub const RECORD_GONE: (&str, &str) = ("这张卡片已经不在了", "the card is not there any more");

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
