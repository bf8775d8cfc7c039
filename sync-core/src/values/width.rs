//! Full-width characters as the ones on a keyboard: for reading values, never for storing them.

/// Full-width letters, digits and signs as ASCII, the ideographic space as a space. For reading values, not for storing them.
pub fn half_width(text: &str) -> String {
    text.chars().map(half_width_char).collect()
}

pub(super) fn half_width_char(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        _ => c,
    }
}
