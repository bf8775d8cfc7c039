//! The text of a cell, as a record takes it.
//!
//! In: what stands in a cell of a sheet, or of a file of delimited text. Out: what it says, in the form of a register, a note or a list of words.

use lianka_sync_core::{search::fold, values::text};

/// What a register takes: NFC, on one line, without control characters and outer white space.
pub fn one_line(text: &str) -> String {
    let plain: String = text::nfc(text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    plain.trim().to_owned()
}

/// NFC with its lines, those that are blank too: the third line of one cell belongs to the third of its neighbour.
pub fn all_lines(text: &str) -> String {
    text::nfc(text)
        .replace("\r\n", "\n")
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect()
}

/// The words that one cell lists.
pub fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(['、', ',', '，', ';', '；', '|', '/'])
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// What the note takes: NFC with its lines.
pub fn many_lines(text: &str) -> String {
    all_lines(text).trim().to_owned()
}

/// A text that no reader of delimited text takes for a formula, also where a spreadsheet narrows wide characters, drops leading blanks and signs
/// that nobody sees, or takes off quotes.
pub fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    // At the beginning of the cell, also a break that a reader drops is dangerous.
    if text.starts_with(BREAKS) {
        safe.push('\'');
    }
    for piece in text.split_inclusive(ENDS) {
        if begins_formula(piece) {
            safe.push('\'');
        }
        safe.push_str(piece);
    }
    safe
}

/// A text of delimited text without the apostrophes that were put before what begins like a formula.
pub fn unprotected(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let text = match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(BREAKS) => rest,
        _ => text,
    };
    for piece in text.split_inclusive(ENDS) {
        match piece.strip_prefix('\'') {
            Some(rest) if begins_formula(rest) => plain.push_str(rest),
            _ => plain.push_str(piece),
        }
    }
    plain
}

const BREAKS: [char; 3] = ['\t', '\r', '\n'];
/// Signs at which a text in delimited text begins anew for a spreadsheet.
pub(super) const ENDS: [char; 5] = [';', '|', '\t', '\r', '\n'];

/// Whether a spreadsheet would take the text for a formula, whatever blank or invisible characters stand before it.
pub(super) fn begins_formula(piece: &str) -> bool {
    let passed_over = |c: char| matches!(c, ' ' | '"' | '\u{3000}' | '\u{a0}' | '\u{ad}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    piece
        .trim_start_matches(passed_over)
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}

/// The value of the field that a word for it means: 正常营业, open.
pub fn occupancy(typed: &str) -> Option<&'static str> {
    let word = fold(typed);
    let value = match word.as_str() {
        "营业" | "营业中" | "正常" | "正常营业" | "在营" | "开业" | "经营" | "经营中"
        | "正常经营" | "在业" | "试营业" | "开" | "open" | "trading" | "operating" => {
            "营业"
        }
        "装修" | "装修中" | "装潢" | "改造" | "改造中" | "筹备" | "筹备中" | "fittingout"
        | "renovation" | "renovating" | "refurbishing" => "装修",
        "空置" | "空" | "空铺" | "空关" | "空店" | "闲置" | "待租" | "招租" | "招租中" | "无人"
        | "vacant" | "empty" => "空置",
        "关闭" | "关店" | "关门" | "已关闭" | "停业" | "已停业" | "歇业" | "暂停营业" | "倒闭"
        | "关停" | "注销" | "已注销" | "关" | "closed" | "shut" => "关闭",
        _ => return None,
    };
    Some(value)
}
