//! Digits within a text: the groups in which people write long numbers, and what such numbers of persons are.

use std::ops::Range;

use crate::values::width::half_width_char;

/// What a note should not contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextWarningKind {
    /// A citizen's identity number (GB 11643), mistyped or not, or one of Hong Kong or Taiwan.
    IdentityNumber,
    /// A bank card.
    BankCard,
    /// A passport.
    Passport,
    /// A permit to cross a border or to stay.
    Permit,
    /// A mobile number, or a landline number with its area code.
    PhoneNumber,
}

impl TextWarningKind {
    /// Stable code for interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            TextWarningKind::IdentityNumber => "identity_number",
            TextWarningKind::BankCard => "bank_card",
            TextWarningKind::Passport => "passport",
            TextWarningKind::Permit => "permit",
            TextWarningKind::PhoneNumber => "phone_number",
        }
    }
}

/// Signs that may stand between two groups of one number.
const GAP_CHARS_MAX: usize = 3;

/// Digits without a gap.
pub(super) struct DigitGroup {
    pub(super) chars: Range<usize>,
    /// Hangs on the group before it: only signs of a gap stand between.
    pub(super) joined: bool,
    /// Its last character is an X.
    pub(super) ends_in_x: bool,
}

/// The groups of a text, hung on each other by what `is_gap` says are signs between them.
pub(super) fn digit_groups(text: &str, is_gap: impl Fn(char) -> bool) -> Vec<DigitGroup> {
    let mut groups: Vec<DigitGroup> = Vec::new();
    // Characters since the last group; `None`: something else than a gap stands behind it.
    let mut gap = None;
    for (at, typed) in text.chars().enumerate() {
        let c = half_width_char(typed);
        let is_x = matches!(c, 'x' | 'X');
        match groups.last_mut() {
            Some(group) if gap == Some(0) && !group.ends_in_x && (c.is_ascii_digit() || is_x) => {
                group.chars.end = at + 1;
                group.ends_in_x = is_x;
            }
            _ if c.is_ascii_digit() || is_x && gap.is_some() => {
                groups.push(DigitGroup {
                    chars: at..at + 1,
                    joined: gap.is_some(),
                    ends_in_x: is_x,
                });
                gap = Some(0);
            }
            _ if is_gap(c) => {
                gap = gap
                    .map(|chars| chars + 1)
                    .filter(|&chars| chars <= GAP_CHARS_MAX);
            }
            _ => gap = None,
        }
    }
    groups
}

pub(super) fn is_gap(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '-' | '_' | '.' | '/' | '·' | '\u{2010}'..='\u{2015}' | '\u{200b}'..='\u{200d}' | '\u{feff}'
        )
}

/// Provinces of GB/T 2260, Hong Kong, Macau and Taiwan with both of their prefixes.
const PROVINCES: &[u8] = &[
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52,
    53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83,
];

/// Whether a code's first two digits are a province's.
pub(super) fn is_province(code: &str) -> bool {
    code.parse().is_ok_and(|code| PROVINCES.contains(&code))
}
