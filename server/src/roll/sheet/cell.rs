//! The text of a cell as a record takes it.

use lianka_sync_core::values::text;

/// What a register takes: NFC, on one line, without control characters and outer white space.
pub(crate) fn one_line(text: &str) -> String {
    let plain: String = text::nfc(text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    plain.trim().to_owned()
}

/// What the note takes: NFC with its lines.
pub(crate) fn many_lines(text: &str) -> String {
    let plain: String = text::nfc(text)
        .replace("\r\n", "\n")
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect();
    plain.trim().to_owned()
}
