//! Text as it is stored, counted and looked through for what does not belong into it.
//!
//! Stored values keep the characters that were typed: NFC and nothing more. NFKC or a conversion between simplified and
//! traditional characters would change names that people carry on their papers; search keys (`search.rs`) may do that.

use std::{borrow::Cow, ops::Range};

use unicode_normalization::{UnicodeNormalization, is_nfc};

pub use crate::values::{digits::TextWarningKind, width::half_width};
use crate::values::{
    digits::{digit_groups, is_gap},
    personal,
    phone::{self, PhoneKind},
};

/// Text in NFC, the form in which values are stored.
pub fn nfc(text: &str) -> Cow<'_, str> {
    if is_nfc(text) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// Length as limits count it: Unicode scalar values, so that a rare character of a name counts as one.
pub fn char_count(text: &str) -> usize {
    text.chars().count()
}

/// Something in a note that belongs into a field with better protection, or nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextWarning {
    /// What was found.
    pub kind: TextWarningKind,
    /// Where, counted in Unicode scalar values from the start of the text.
    pub chars: Range<usize>,
}

/// Identity and telephone numbers typed into a text, and the other numbers of persons, in order of appearance. Warns; decides nothing.
pub fn warnings(text: &str) -> Vec<TextWarning> {
    let mut found: Vec<TextWarning> = personal::find(text)
        .into_iter()
        .map(|number| TextWarning {
            kind: number.kind,
            chars: number.chars,
        })
        .collect();
    let personal = found.len();
    let phones = phone::mentioned(text)
        .into_iter()
        .filter(|(_, phone)| match phone.kind {
            PhoneKind::Mobile | PhoneKind::Foreign { .. } => true,
            PhoneKind::Landline => phone.digits.starts_with('0'),
            PhoneKind::Service400 | PhoneKind::Short95 | PhoneKind::Unrecognised => false,
        });
    let ranges = in_chars(text, phones.map(|(range, _)| range));
    for chars in ranges {
        let is_other =
            |other: &TextWarning| other.chars.end <= chars.start || chars.end <= other.chars.start;
        if found[..personal].iter().all(is_other) {
            found.push(TextWarning {
                kind: TextWarningKind::PhoneNumber,
                chars,
            });
        }
    }
    found.sort_by_key(|warning| warning.chars.start);
    found
}

/// Byte ranges in ascending order to ranges of characters, in one pass.
fn in_chars(text: &str, found: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let (mut byte, mut chars) = (0, 0);
    let mut count_to = |to: usize| {
        chars += text.get(byte..to).map_or(0, char_count);
        byte = to;
        chars
    };
    found
        .map(|range| count_to(range.start)..count_to(range.end))
        .collect()
}

/// Digits of an identity number of today, and of those before 1999.
const IDENTITY_DIGITS: [usize; 2] = [18, 15];
/// Whatever looks like an identity number, mistyped ones included: fifteen or eighteen digits, the eighteenth perhaps an X, in one run or in
/// groups, in full width or half; and any run that is longer than a telephone number. For hiding, where too much does less harm than too little.
/// Ranges of characters; they may overlap.
pub fn identity_shapes(text: &str) -> Vec<Range<usize>> {
    let groups = digit_groups(text, is_gap);
    let mut found = Vec::new();
    for (first, group) in groups.iter().enumerate() {
        let mut digits = 0;
        if group.chars.len() >= IDENTITY_DIGITS[1] {
            found.push(group.chars.clone());
        }
        for (at, last) in groups.iter().enumerate().skip(first) {
            if at > first && !last.joined {
                break;
            }
            digits += last.chars.len();
            let shape = if last.ends_in_x {
                digits == IDENTITY_DIGITS[0]
            } else {
                IDENTITY_DIGITS.contains(&digits)
            };
            if shape {
                found.push(group.chars.start..last.chars.end);
            }
            // An X stands last or nowhere.
            if digits >= IDENTITY_DIGITS[0] || last.ends_in_x {
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stored_text_is_nfc_and_nothing_more() {
        for (typed, stored) in [
            ("Cafe\u{301}", "Café"),
            ("解𫖯", "解𫖯"),
            ("高㛃", "高㛃"),
            ("天平路１２号", "天平路１２号"),
            ("鋪ﬁ①", "鋪ﬁ①"),
            // A compatibility ideograph with a canonical decomposition is the one thing NFC does change.
            ("\u{f900}", "豈"),
        ] {
            assert_eq!(nfc(typed), stored, "{typed}");
        }
        assert_eq!(char_count("解𫖯"), 2);
    }

    fn check(text: &str, expected: &[(TextWarningKind, &str)]) {
        let found = warnings(text);
        let seen: Vec<(TextWarningKind, String)> = found
            .iter()
            .map(|w| {
                (
                    w.kind,
                    text.chars()
                        .skip(w.chars.start)
                        .take(w.chars.len())
                        .collect(),
                )
            })
            .collect();
        let expected: Vec<(TextWarningKind, String)> = expected
            .iter()
            .map(|(kind, s)| (*kind, (*s).to_owned()))
            .collect();
        assert_eq!(seen, expected, "{text}");
    }

    #[test]
    fn numbers_that_do_not_belong_into_a_note() {
        use TextWarningKind::{IdentityNumber, PhoneNumber};
        check("门口积水，已报", &[]);
        check(
            "店主电话16634109680，晚上打",
            &[(PhoneNumber, "16634109680")],
        );
        check(
            "𫖯姐 021-5093 2417转803",
            &[(PhoneNumber, "021-5093 2417转803")],
        );
        check("找400-820-8820或12345", &[]);
        check("2025-08-11 走访，20250811", &[]);
        check("编号50932417", &[]);
        check(
            "身份证11010519491231002X已看",
            &[(IdentityNumber, "11010519491231002X")],
        );
        check(
            "１１０１０５１９４９１２３１００２ｘ",
            &[(IdentityNumber, "１１０１０５１９４９１２３１００２ｘ")],
        );
        check(
            "110105 19491231 002x",
            &[(IdentityNumber, "110105 19491231 002x")],
        );
        // Mistyped is still somebody's: a wrong check character, a digit too many.
        check(
            "110105194912310021",
            &[(IdentityNumber, "110105194912310021")],
        );
        check(
            "1101051949123100211",
            &[(IdentityNumber, "1101051949123100211")],
        );
        check("110105194913310029", &[]);
        check(
            "16634109680 和 11010519491231002X",
            &[
                (PhoneNumber, "16634109680"),
                (IdentityNumber, "11010519491231002X"),
            ],
        );
    }

    #[test]
    fn whatever_looks_like_an_identity_number_is_found() {
        let found = |text: &str| -> Vec<String> {
            identity_shapes(text)
                .into_iter()
                .map(|range| text.chars().skip(range.start).take(range.len()).collect())
                .collect()
        };
        for (text, number) in [
            ("身份证11010519491231002X已看", "11010519491231002X"),
            // A wrong check character, a day that is none: mistyped is still somebody's.
            ("110105194912310021", "110105194912310021"),
            ("110105194913310029。", "110105194913310029"),
            ("老证 110105491231002", "110105491231002"),
            ("110105 19491231 002x", "110105 19491231 002x"),
            ("110105-1949-1231-0021", "110105-1949-1231-0021"),
            (
                "110105　１９４９１２３１　００２Ｘ",
                "110105　１９４９１２３１　００２Ｘ",
            ),
            ("110105491231 002", "110105491231 002"),
            ("1101051949 1231002 X", "1101051949 1231002 X"),
            // One figure too many, or a card of a bank.
            ("1101051949123100211", "1101051949123100211"),
            ("11010519491231002X 13900000001", "11010519491231002X"),
            ("16634109680 11010519491231002X", "11010519491231002X"),
            ("110105194912310021 1人", "110105194912310021"),
        ] {
            assert!(
                found(text).contains(&number.to_owned()),
                "{text}: {:?}",
                found(text)
            );
        }
        for text in [
            "门口积水，已报",
            "16634109680，晚上打 021-50932417转803",
            "13900000001/13900000002",
            "2025-08-11 走访，20250811 又去",
            "91310104MA1FR2X08P",
            "天平路378号 9:00-21:00",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_ranges_lie_within(text in "\\PC*") {
            for warning in warnings(&text) {
                prop_assert!(warning.chars.start < warning.chars.end && warning.chars.end <= char_count(&text));
            }
            for range in identity_shapes(&text) {
                prop_assert!(range.start < range.end && range.end <= char_count(&text));
            }
        }

        #[test]
        fn ranges_lie_within_digit_soup(text in "[0-9０-９Xx \\-𫖯转]{0,80}") {
            for warning in warnings(&text) {
                prop_assert!(warning.chars.start < warning.chars.end && warning.chars.end <= char_count(&text));
            }
        }
    }
}
