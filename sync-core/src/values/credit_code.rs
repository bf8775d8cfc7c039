//! Unified social credit codes (统一社会信用代码), GB 32100-2015.
//!
//! In: the text of a cell or a form field. Out: the text in its normal form and a verdict. A doubtful code is reported, never
//! refused: shops show licences with misprints, and the card must still say what the licence says.

use crate::values::{digits, width::half_width};

/// The characters of a code in the order of their values: no I, O, S, V, Z.
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// A credit code as it would be stored, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditCode {
    /// Half width, upper case, without white space and hyphens; otherwise as typed.
    pub normalised: String,
    /// Whether the standard accepts it.
    pub verdict: Verdict,
}

/// What GB 32100-2015 says about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Eighteen permitted characters and the right check character.
    Valid,
    /// Not eighteen characters of the permitted set, for example an old registration number of fifteen digits.
    WrongShape,
    /// The last character does not follow from the others.
    WrongCheck {
        /// The character that would be right if the first seventeen are.
        expected: char,
    },
}

/// Normalises and checks a code.
pub fn check(text: &str) -> CreditCode {
    let normalised: String = half_width(text)
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '\u{200b}' | '\u{feff}'))
        .map(|c| c.to_ascii_uppercase())
        .collect();
    let verdict = verdict(&normalised);
    CreditCode {
        normalised,
        verdict,
    }
}

/// Whether a code in normal form follows the standard in every part, not only in its last character: the authority, the division, and the check
/// character of the organisation's own code (GB 11714). One identity number in thirty ends as a credit code does; hardly one is such a code.
pub fn is_complete(code: &str) -> bool {
    verdict(code) == Verdict::Valid
        && code.starts_with(['1', '5', '9', 'A', 'N', 'Y'])
        && (&code[2..8] == "100000" || digits::is_province(&code[2..4]))
        && is_organisation(&code.as_bytes()[8..17])
}

fn is_organisation(code: &[u8]) -> bool {
    let value = |byte: u8| u32::from(byte) - if byte.is_ascii_digit() { 48 } else { 55 };
    let weights = [3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = weights
        .iter()
        .zip(code)
        .map(|(weight, byte)| weight * value(*byte))
        .sum();
    b"0123456789X0"[(11 - sum % 11) as usize % 11] == code[8]
}

/// Whether fifteen digits are a registration number of before 2015: a division, a kind of business, a sequence, and a check digit (ISO 7064
/// MOD 11,10). No division has counted to a million of one kind.
pub fn is_registration_number(code: &str) -> bool {
    if code.len() != 15 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    if code.as_bytes()[7] != b'0' {
        return false;
    }
    let mut product = 10;
    for byte in &code.as_bytes()[..14] {
        let sum = (product + u32::from(byte - b'0')) % 10;
        product = (if sum == 0 { 10 } else { sum }) * 2 % 11;
    }
    (product + u32::from(code.as_bytes()[14] - b'0')) % 10 == 1
}

fn verdict(code: &str) -> Verdict {
    let Some((body, last)) = code.as_bytes().split_at_checked(17) else {
        return Verdict::WrongShape;
    };
    let &[last] = last else {
        return Verdict::WrongShape;
    };
    let mut sum = 0;
    let mut weight = 1;
    for byte in body {
        let Some(value) = value_of(*byte) else {
            return Verdict::WrongShape;
        };
        sum = (sum + value * weight) % 31;
        weight = weight * 3 % 31;
    }
    if value_of(last).is_none() {
        return Verdict::WrongShape;
    }
    let expected = ALPHABET[(31 - sum) % 31];
    if expected == last {
        Verdict::Valid
    } else {
        Verdict::WrongCheck {
            expected: char::from(expected),
        }
    }
}

fn value_of(byte: u8) -> Option<usize> {
    ALPHABET.iter().position(|&c| c == byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_one(text: &str, normalised: &str, verdict: Verdict) {
        assert_eq!(
            check(text),
            CreditCode {
                normalised: normalised.into(),
                verdict
            },
            "{text}"
        );
    }

    #[test]
    fn codes_as_people_type_them() {
        for valid in [
            "91350100M000100Y43",
            "91310000631696382C",
            "91440300708461136T",
            "92310104MA1K0004X0",
        ] {
            check_one(valid, valid, Verdict::Valid);
        }
        check_one(
            "91310115MA1H8R7C6D",
            "91310115MA1H8R7C6D",
            Verdict::WrongCheck { expected: '7' },
        );
        check_one(
            " 9131 0000 6316 9638 2c ",
            "91310000631696382C",
            Verdict::Valid,
        );
        check_one(
            "９１３１００００６３１６９６３８２Ｃ",
            "91310000631696382C",
            Verdict::Valid,
        );
        check_one(
            "91310000631696382C\u{200b}",
            "91310000631696382C",
            Verdict::Valid,
        );
        check_one("", "", Verdict::WrongShape);
        check_one("无", "无", Verdict::WrongShape);
        check_one("310104600123456", "310104600123456", Verdict::WrongShape);
        check_one(
            "9131000063169638IC",
            "9131000063169638IC",
            Verdict::WrongShape,
        );
        check_one(
            "91310000631696382O",
            "91310000631696382O",
            Verdict::WrongShape,
        );
        check_one(
            "91310000631696382CC",
            "91310000631696382CC",
            Verdict::WrongShape,
        );
        check_one(
            "九1310000631696382",
            "九1310000631696382",
            Verdict::WrongShape,
        );
    }

    #[test]
    fn more_than_the_last_character_is_looked_at() {
        for code in [
            "91350100M000100Y43",
            "91310000631696382C",
            "91440300708461136T",
            "92310104MA1K0004X0",
            "913101046316960325",
        ] {
            assert!(is_complete(code), "{code}");
        }
        // A wrong last character; an identity number that ends as a code does.
        for code in ["91310115MA1H8R7C6D", "999999199001010729", "无", ""] {
            assert!(!is_complete(code), "{code}");
        }
        assert!(is_registration_number("310104600123451"));
        for code in [
            "310104600123456",
            "110105491231002",
            "31010460012345",
            "91310000631696382C",
        ] {
            assert!(!is_registration_number(code), "{code}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_is_stable(text in "\\PC*") {
            let once = check(&text);
            prop_assert_eq!(check(&once.normalised), once.clone());
        }

        #[test]
        fn the_expected_character_makes_it_valid(body in "[0-9A-HJ-NPQRTUWXY]{17}") {
            let expected = match check(&format!("{body}0")).verdict {
                Verdict::Valid => '0',
                Verdict::WrongCheck { expected } => expected,
                Verdict::WrongShape => unreachable!("the shape is right"),
            };
            prop_assert_eq!(check(&format!("{body}{expected}")).verdict, Verdict::Valid);
        }
    }
}
