//! Numbers that identify a person and belong into no field of a shop: identity numbers, bank cards, passports and permits.
//!
//! In: a text, and what is known of where it was typed. Out: where such numbers stand. A credit code has as many characters as an identity number;
//! the check characters decide, then the division and the date. What only looks like an identity number is somebody's, mistyped.

use std::ops::Range;

use time::{Date, Month};

use crate::values::{
    credit_code::{self, Verdict},
    digits::{TextWarningKind, digit_groups, is_gap, is_province},
    phone::{self, PhoneKind},
    width::half_width_char,
};

/// A number of a person within a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalNumber {
    /// What it is.
    pub kind: TextWarningKind,
    /// Where, counted in Unicode scalar values from the start of the text.
    pub chars: Range<usize>,
    /// Not only by its shape: by its check character, by its date of birth, or because the words before it say so.
    pub certain: bool,
}

/// A division that does not exist, as invented persons have it.
const NO_DIVISION: &str = "999999";
/// Years of birth that a number with a wrong check character may name. Later ones are dates of files.
const BIRTHS: Range<u32> = 1910..2011;
/// The same with two digits: whoever was born later got a number of eighteen digits, whoever was born earlier is a hundred.
const SHORT_BIRTHS: Range<u32> = 30..100;
/// Characters between a word and the number it names.
const LABEL_GAP_MAX: usize = 8;
/// Characters of a number that only a word names, and digits it has at least.
const LABELLED_CHARS_MAX: usize = 28;
const LABELLED_DIGITS_MIN: usize = 6;

/// Words that name such a number, longer ones first.
const LABELS: &[(&str, TextWarningKind)] = &[
    ("身份证", TextWarningKind::IdentityNumber),
    ("身份證", TextWarningKind::IdentityNumber),
    ("公民身份号码", TextWarningKind::IdentityNumber),
    ("身分證", TextWarningKind::IdentityNumber),
    ("社会保障", TextWarningKind::IdentityNumber),
    ("社保卡", TextWarningKind::IdentityNumber),
    ("医保卡", TextWarningKind::IdentityNumber),
    ("军官证", TextWarningKind::IdentityNumber),
    ("士兵证", TextWarningKind::IdentityNumber),
    ("警官证", TextWarningKind::IdentityNumber),
    ("驾驶证", TextWarningKind::IdentityNumber),
    ("驾照", TextWarningKind::IdentityNumber),
    ("IDCARD", TextWarningKind::IdentityNumber),
    ("ID CARD", TextWarningKind::IdentityNumber),
    ("IDNO", TextWarningKind::IdentityNumber),
    ("ID NO", TextWarningKind::IdentityNumber),
    ("居住证", TextWarningKind::Permit),
    ("居留证", TextWarningKind::Permit),
    ("居留身份", TextWarningKind::Permit),
    ("永居证", TextWarningKind::Permit),
    ("通行证", TextWarningKind::Permit),
    ("通行證", TextWarningKind::Permit),
    ("回乡证", TextWarningKind::Permit),
    ("回鄉證", TextWarningKind::Permit),
    ("台胞证", TextWarningKind::Permit),
    ("台胞證", TextWarningKind::Permit),
    ("护照", TextWarningKind::Passport),
    ("護照", TextWarningKind::Passport),
    ("PASSPORT", TextWarningKind::Passport),
    ("银行卡", TextWarningKind::BankCard),
    ("銀行卡", TextWarningKind::BankCard),
    ("信用卡", TextWarningKind::BankCard),
    ("借记卡", TextWarningKind::BankCard),
    ("储蓄卡", TextWarningKind::BankCard),
    ("工资卡", TextWarningKind::BankCard),
    ("银联卡", TextWarningKind::BankCard),
    ("银行账", TextWarningKind::BankCard),
    ("银行帐", TextWarningKind::BankCard),
    ("收款账", TextWarningKind::BankCard),
    ("收款帐", TextWarningKind::BankCard),
    ("开户账", TextWarningKind::BankCard),
    ("对公账", TextWarningKind::BankCard),
    ("结算账", TextWarningKind::BankCard),
];
/// Words that name a card or an account of a bank, or of anything else: only a number as long as a bank's is one.
const ACCOUNTS: &[&str] = &["卡号", "卡號", "账号", "帐号", "帳號", "账户", "帐户"];
const ACCOUNT_DIGITS: Range<usize> = 16..22;
/// Of each of these words one sign.
const LABEL_SIGNS: &str = "证證份障卡照護账帐帳IP";
/// Words of a heading under which fifteen digits are a registration number of before 2015.
const REGISTRATION: &[&str] = &["信用代码", "注册号", "登记号", "执照", "工商"];

/// Such numbers in a text, in order of appearance; none overlaps another.
pub fn find(text: &str) -> Vec<PersonalNumber> {
    find_under("", text)
}

/// The same in a cell or field under this heading: its words count as if they stood before the number.
pub fn find_under(heading: &str, text: &str) -> Vec<PersonalNumber> {
    let digits = text
        .chars()
        .filter(|c| half_width_char(*c).is_ascii_digit());
    if digits.count() < LABELLED_DIGITS_MIN {
        return Vec::new();
    }
    let chars: Vec<char> = text
        .chars()
        .map(|c| half_width_char(c).to_ascii_uppercase())
        .collect();
    let label: String = heading
        .chars()
        .map(|c| half_width_char(c).to_ascii_uppercase())
        .collect();
    let registration = REGISTRATION.iter().any(|word| label.contains(word));
    let mut found = identities(text, &chars, registration);
    let mut add = |more: Vec<PersonalNumber>| {
        for number in more {
            let free = |other: &PersonalNumber| {
                other.chars.end <= number.chars.start || number.chars.end <= other.chars.start
            };
            if found.iter().all(free) {
                found.push(number);
            }
        }
    };
    add(labelled(&label, &chars));
    add(cards(text, &chars));
    add(documents(&chars));
    found.sort_by_key(|number| number.chars.start);
    found
}

/// Identity numbers of eighteen and of fifteen digits, mistyped ones included.
fn identities(text: &str, chars: &[char], registration: bool) -> Vec<PersonalNumber> {
    let mut found: Vec<PersonalNumber> = Vec::new();
    let add = |found: &mut Vec<PersonalNumber>, range: Range<usize>| {
        let is_new = |other: &PersonalNumber| {
            other.chars.end <= range.start || range.end <= other.chars.start
        };
        if found.iter().all(is_new) {
            found.push(PersonalNumber {
                kind: TextWarningKind::IdentityNumber,
                chars: range,
                certain: true,
            });
        }
    };
    let groups = digit_groups(text, is_gap);
    let mut next = 0;
    for (first, group) in groups.iter().enumerate() {
        if group.chars.start < next {
            continue;
        }
        let mut run = String::new();
        let mut meant: Option<Range<usize>> = None;
        for (at, last) in groups.iter().enumerate().skip(first) {
            if at > first && !last.joined || run.len() > 19 {
                break;
            }
            run.extend(&chars[last.chars.clone()]);
            let range = group.chars.start..last.chars.end;
            let grouped = at == first || group.chars.len() == 6 || run.len() == 18;
            if is_right(&run) {
                meant = Some(range);
                break;
            }
            // A mistyped one goes as far as it may: its last digit is somebody's as well.
            if is_mistyped(&run, registration, grouped && stands_alone(chars, &range)) {
                meant = Some(range);
            }
        }
        if let Some(range) = meant {
            next = range.end;
            add(&mut found, range);
        }
    }
    for range in within_signs(text, chars) {
        add(&mut found, range);
    }
    for group in groups {
        for range in glued(chars, &group.chars) {
            add(&mut found, range);
        }
    }
    // A letter typed for a digit.
    for range in runs(chars) {
        let run: String = chars[range.clone()]
            .iter()
            .map(|c| digit_meant(*c))
            .collect();
        let typed: String = chars[range.clone()].iter().collect();
        if run.len() == 18
            && run != typed
            && credit_code::check(&typed).verdict != Verdict::Valid
            && (checks_out(&run) || names_a_birth(&run))
        {
            add(&mut found, range);
        }
    }
    found
}

/// Numbers whose division, day of birth and sequence stand between commas or brackets: `310104（19900101）0012`.
fn within_signs(text: &str, chars: &[char]) -> Vec<Range<usize>> {
    if chars.iter().filter(|c| c.is_ascii_digit()).count() < 17 {
        return Vec::new();
    }
    let groups = digit_groups(text, |c| !c.is_alphanumeric());
    let starts = (0..groups.len()).filter(|at| {
        let lengths: Vec<usize> = groups[*at..]
            .iter()
            .take(3)
            .map(|group| group.chars.len())
            .collect();
        matches!(lengths[..], [6, 8, 4] | [14, 4, ..] | [6, 12, ..])
    });
    starts
        .filter_map(|first| {
            let mut run = String::new();
            for (at, group) in groups.iter().enumerate().skip(first) {
                if at > first && !group.joined {
                    return None;
                }
                run.extend(&chars[group.chars.clone()]);
                if run.len() >= 18 {
                    return is_right(&run).then(|| groups[first].chars.start..group.chars.end);
                }
            }
            None
        })
        .collect()
}

/// Numbers to which others were glued: a telephone number, or a second person's.
fn glued(chars: &[char], group: &Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = group.start;
    while group.len() > 19 && at + 18 <= group.end {
        let run: String = chars[at..at + 18].iter().collect();
        if is_right(&run) && names_a_birth(&run) {
            found.push(at..at + 18);
            at += 18;
        } else {
            at += 1;
        }
    }
    found
}

fn is_right(run: &str) -> bool {
    run.len() == 18 && checks_out(run) && !credit_code::is_complete(run)
}

fn is_mistyped(run: &str, registration: bool, alone: bool) -> bool {
    alone
        && match run.len() {
            15 => {
                (is_short_identity(run) || names_a_birth(run))
                    && !(registration && credit_code::is_registration_number(run))
            }
            16..=19 => names_a_birth(run) && credit_code::check(run).verdict != Verdict::Valid,
            _ => false,
        }
}

/// GB 11643-1999: six digits of a division, a date of birth, a sequence and a check character (ISO 7064 MOD 11-2).
fn checks_out(run: &str) -> bool {
    const CHECK: &[u8; 11] = b"10X98765432";
    let Some((body, [last])) = run.as_bytes().split_at_checked(17) else {
        return false;
    };
    if body.iter().any(|b| !b.is_ascii_digit()) || body[0] == b'0' {
        return false;
    }
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(at, b)| u32::from(b - b'0') * (1 << (17 - at)) % 11)
        .sum();
    is_day(&run[6..10], &run[10..14], 1850..2200) && CHECK[(sum % 11) as usize] == *last
}

/// The old form: a division, a date of birth without its century, a sequence.
fn is_short_identity(run: &str) -> bool {
    // Some type an X behind fourteen digits, as the new form has one.
    run[..14].bytes().all(|b| b.is_ascii_digit())
        && is_division(run)
        && run[6..8]
            .parse()
            .is_ok_and(|year: u32| SHORT_BIRTHS.contains(&year))
        && is_day(&format!("19{}", &run[6..8]), &run[8..12], 1900..2000)
}

/// Whether the digits begin as an identity number does, whatever their end.
fn names_a_birth(run: &str) -> bool {
    run.get(..14)
        .is_some_and(|start| start.bytes().all(|b| b.is_ascii_digit()))
        && is_division(run)
        && is_day(&run[6..10], &run[10..14], BIRTHS)
}

fn is_division(run: &str) -> bool {
    run.starts_with(NO_DIVISION) || is_province(&run[..2])
}

fn is_day(year: &str, day: &str, years: Range<u32>) -> bool {
    let number = |digits: &str| digits.parse::<u8>().ok();
    let date = || {
        let month = Month::try_from(number(&day[..2])?).ok()?;
        Date::from_calendar_date(year.parse().ok()?, month, number(&day[2..])?).ok()
    };
    year.parse().is_ok_and(|year| years.contains(&year)) && date().is_some()
}

/// Numbers that the words before them name, whatever their form.
fn labelled(heading: &str, chars: &[char]) -> Vec<PersonalNumber> {
    let behind_heading: Vec<char> = heading.chars().chain(['：']).collect();
    let all: Vec<char> = behind_heading.iter().chain(chars).copied().collect();
    // Most cells hold no sign of any of the words.
    if !all.iter().any(|c| LABEL_SIGNS.contains(*c)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let accounts = ACCOUNTS.iter().map(|label| {
        let digits = ACCOUNT_DIGITS;
        (*label, TextWarningKind::BankCard, digits)
    });
    let all_labels = LABELS
        .iter()
        .map(|(label, kind)| (*label, *kind, LABELLED_DIGITS_MIN..usize::MAX))
        .chain(accounts);
    for (label, kind, digits_wanted) in all_labels {
        let label: Vec<char> = label.chars().collect();
        for end in (label.len()..=all.len()).filter(|end| all[..*end].ends_with(&label)) {
            let gap = all[end..]
                .iter()
                .take_while(|c| !c.is_ascii_alphanumeric())
                .count();
            // The words 号码, No. and brackets stand between; of a heading any more words.
            let no = usize::from(all[end + gap..].starts_with(&['N', 'O']));
            let more = all[(end + gap + 2 * no).min(all.len())..]
                .iter()
                .take_while(|c| no == 1 && !c.is_ascii_alphanumeric())
                .count();
            let start = end + gap + 2 * no + more;
            if gap > LABEL_GAP_MAX && end > behind_heading.len() {
                continue;
            }
            let start = start.max(behind_heading.len());
            let mut length = number_at(&all[start.min(all.len())..]);
            // The check digit of Hong Kong and Macau: A123456(3).
            if let ['(', c, ')', ..] = all[(start + length).min(all.len())..]
                && c.is_ascii_alphanumeric()
            {
                length += 3;
            }
            let number: String = all[start.min(all.len())..]
                .iter()
                .take(length)
                .filter(|c| c.is_ascii_alphanumeric())
                .collect();
            let digits = number.bytes().filter(u8::is_ascii_digit).count();
            if !digits_wanted.contains(&digits) || is_something_else(&number) {
                continue;
            }
            let from = start - behind_heading.len();
            found.push(PersonalNumber {
                kind,
                chars: from..from + length,
                certain: true,
            });
        }
    }
    found
}

/// Characters of a number at the start of a text: letters and digits, gaps between groups of digits.
fn number_at(chars: &[char]) -> usize {
    let mut length = 0;
    let mut gap = 0;
    for (at, c) in chars.iter().enumerate().take(LABELLED_CHARS_MAX) {
        if c.is_ascii_digit() || c.is_ascii_alphabetic() && gap == 0 {
            length = at + 1;
            gap = 0;
        } else if is_gap(*c) && *c != '/' && gap == 0 {
            gap = 1;
        } else {
            break;
        }
    }
    length
}

/// A credit code or a telephone number under a heading such as 身份证/手机.
fn is_something_else(number: &str) -> bool {
    let called = phone::only(number).is_some_and(|phone| {
        phone.kind == PhoneKind::Mobile
            || phone.kind == PhoneKind::Landline && phone.digits.starts_with('0')
    });
    called || credit_code::is_complete(number)
}

/// Bank cards: sixteen to nineteen digits with the issuer's prefix and the right last digit (Luhn), or fifteen of American Express.
fn cards(text: &str, chars: &[char]) -> Vec<PersonalNumber> {
    let groups = digit_groups(text, is_gap);
    let mut found = Vec::new();
    for (first, group) in groups.iter().enumerate() {
        let mut run = String::new();
        let mut lengths = Vec::new();
        for (at, last) in groups.iter().enumerate().skip(first) {
            if at > first && !last.joined || run.len() > 19 {
                break;
            }
            run.extend(&chars[last.chars.clone()]);
            lengths.push(last.chars.len());
            let range = group.chars.start..last.chars.end;
            let (ends, rest) = lengths.split_last().unwrap_or((&0, &[]));
            let as_printed = rest.is_empty()
                || rest.iter().all(|length| *length == 4) && *ends <= 4
                || rest == [6] && *ends >= 10;
            let is_amex = run.len() == 15
                && (run.starts_with("34") || run.starts_with("37"))
                && (rest.is_empty() || lengths == [4, 6, 5])
                && !credit_code::is_registration_number(&run);
            if (is_amex || (16..=19).contains(&run.len()) && as_printed && is_issued(&run))
                && stands_alone(chars, &range)
                && luhn(&run)
                && !credit_code::is_complete(&run)
            {
                found.push(PersonalNumber {
                    kind: TextWarningKind::BankCard,
                    chars: range,
                    certain: true,
                });
                break;
            }
        }
    }
    found
}

/// 银联, Visa, Mastercard, JCB, Discover, and the cards of Chinese banks from before 银联.
fn is_issued(run: &str) -> bool {
    let prefix = |digits: usize| run[..digits].parse().unwrap_or(0_u32);
    matches!(prefix(1), 4)
        || matches!(prefix(2), 51..=55 | 60 | 62 | 65 | 69 | 35)
        || matches!(prefix(4), 2221..=2720 | 9558)
}

fn luhn(run: &str) -> bool {
    let sum: u32 = run
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, b)| {
            let digit = u32::from(b.wrapping_sub(b'0'));
            match at % 2 {
                0 => digit,
                _ => digit * 2 / 10 + digit * 2 % 10,
            }
        })
        .sum();
    run.bytes().all(|b| b.is_ascii_digit()) && sum.is_multiple_of(10)
}

/// Passports and permits by their shape, and identity numbers of Hong Kong and Taiwan by their check digits.
fn documents(chars: &[char]) -> Vec<PersonalNumber> {
    let mut found = macau_identities(chars);
    for range in runs(chars) {
        let run: String = chars[range.clone()].iter().collect();
        if let [c, ')', ..] = chars[(range.end + 1).min(chars.len())..]
            && chars[range.end] == '('
            && is_hong_kong_identity(&run, c)
        {
            found.push(PersonalNumber {
                kind: TextWarningKind::IdentityNumber,
                chars: range.start..range.end + 3,
                certain: true,
            });
        } else if is_taiwan_identity(&run) {
            found.push(PersonalNumber {
                kind: TextWarningKind::IdentityNumber,
                chars: range,
                certain: true,
            });
        } else if let Some(kind) = document(&run) {
            found.push(PersonalNumber {
                kind,
                chars: range,
                certain: false,
            });
        }
    }
    found
}

fn document(run: &str) -> Option<TextWarningKind> {
    let letters = run.find(|c: char| c.is_ascii_digit())?;
    let (letters, digits) = run.split_at(letters);
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let first = letters.chars().next()?;
    match (letters.len(), first, digits.len()) {
        // Ordinary passports of the mainland (E, EA …, G), of Hong Kong (K, KJ) and Macau (MA), official ones (D, S, P and DE, SE, PE).
        (1, 'E' | 'G' | 'K' | 'D' | 'S' | 'P', 8) | (2, 'E', 7) => Some(TextWarningKind::Passport),
        (2, _, 7) if matches!(letters, "KJ" | "MA" | "DE" | "SE" | "PE") => {
            Some(TextWarningKind::Passport)
        }
        // To the mainland from Hong Kong and Macau (H, M); from the mainland to them (C, CA …, W) and to Taiwan (T, L).
        (1, 'H' | 'M', 8 | 10) | (1, 'C' | 'W' | 'T' | 'L', 8) | (2, 'C', 7) => {
            Some(TextWarningKind::Permit)
        }
        _ => None,
    }
}

/// `A123456(3)`: one or two letters, six digits, a check character modulo 11.
fn is_hong_kong_identity(run: &str, check: char) -> bool {
    let body = run.as_bytes();
    let Some((letters, digits)) = body.len().checked_sub(6).map(|at| body.split_at(at)) else {
        return false;
    };
    let letter = |b: u8| u32::from(b - b'A') + 10;
    let is_upper = |b: &u8| b.is_ascii_uppercase();
    let head = match letters {
        [one] if is_upper(one) => 36 * 9 + letter(*one) * 8,
        [one, two] if is_upper(one) && is_upper(two) => letter(*one) * 9 + letter(*two) * 8,
        _ => return false,
    };
    let Some(last) = check.to_digit(11) else {
        return false;
    };
    let sum: u32 = (2..8)
        .rev()
        .zip(digits)
        .map(|(weight, b)| weight * u32::from(b.wrapping_sub(b'0')))
        .sum();
    digits.iter().all(u8::is_ascii_digit) && (head + sum + last).is_multiple_of(11)
}

/// `5/123456/7`: of Macau, as the card has it.
fn macau_identities(chars: &[char]) -> Vec<PersonalNumber> {
    let is_one = |at: &usize| {
        let digit = |at: usize| chars[at].is_ascii_digit();
        let slash = |at: usize| chars[at] == '/';
        matches!(chars[*at], '1' | '5' | '7')
            && slash(at + 1)
            && (at + 2..at + 8).all(digit)
            && slash(at + 8)
            && digit(at + 9)
            && stands_alone(chars, &(*at..at + 10))
    };
    (0..chars.len().saturating_sub(9))
        .filter(is_one)
        .map(|at| PersonalNumber {
            kind: TextWarningKind::IdentityNumber,
            chars: at..at + 10,
            certain: true,
        })
        .collect()
}

/// A letter of a city, nine digits, the last of them a check digit.
fn is_taiwan_identity(run: &str) -> bool {
    const CITIES: &[u8; 26] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let [city, digits @ ..] = run.as_bytes() else {
        return false;
    };
    let Some(code) = CITIES.iter().position(|c| c == city) else {
        return false;
    };
    if digits.len() != 9
        || !digits.iter().all(u8::is_ascii_digit)
        || !matches!(digits[0], b'1' | b'2' | b'8' | b'9')
    {
        return false;
    }
    let code = code + 10;
    let sum: usize = [8, 7, 6, 5, 4, 3, 2, 1, 1]
        .iter()
        .zip(digits)
        .map(|(weight, b)| weight * usize::from(b - b'0'))
        .sum();
    (code / 10 + code % 10 * 9 + sum).is_multiple_of(10)
}

/// Letters and digits without a gap.
fn runs(chars: &[char]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in chars
        .iter()
        .enumerate()
        .filter(|(_, c)| c.is_ascii_alphanumeric())
    {
        match found.last_mut() {
            Some(last) if last.end == at => last.end = at + 1,
            _ => found.push(at..at + 1),
        }
    }
    found
}

/// No letter or digit stands directly before or behind.
fn stands_alone(chars: &[char], range: &Range<usize>) -> bool {
    let is_free = |at: Option<&char>| !at.is_some_and(char::is_ascii_alphanumeric);
    is_free(range.start.checked_sub(1).and_then(|at| chars.get(at)))
        && is_free(chars.get(range.end))
}

fn digit_meant(c: char) -> char {
    match c {
        'O' | 'Q' => '0',
        'I' | 'L' => '1',
        'Z' => '2',
        'S' => '5',
        'B' => '8',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::values::text::char_count;

    #[track_caller]
    fn check(heading: &str, text: &str, expected: &[(TextWarningKind, &str, bool)]) {
        let found: Vec<(TextWarningKind, String, bool)> = find_under(heading, text)
            .into_iter()
            .map(|number| {
                let chars = text.chars().skip(number.chars.start);
                (
                    number.kind,
                    chars.take(number.chars.len()).collect(),
                    number.certain,
                )
            })
            .collect();
        let expected: Vec<(TextWarningKind, String, bool)> = expected
            .iter()
            .map(|(kind, number, certain)| (*kind, (*number).to_owned(), *certain))
            .collect();
        assert_eq!(found, expected, "{heading}: {text}");
    }

    #[test]
    fn identity_numbers_wherever_they_stand() {
        use TextWarningKind::IdentityNumber;
        for number in [
            "999999199001010729",
            "999999199001011238",
            "99999919900101106X",
            "99999919900101106x",
            "９９９９９９１９９００１０１１０６Ｘ",
            "９９９９９９１９９００１０１１０６ｘ",
            "999999 19900101 106X",
            "999999-19900101-1238",
            "999999\u{3000}19900101\u{3000}1238",
            "99999919900101\u{200b}1238",
            "810000199001010019",
            "440305198808081234",
            // A wrong check character, a digit too many or too few, a letter for a digit.
            "440305198808081233",
            "4403051988080812344",
            "44030519880808123",
            "44030519880808123O",
            "4403O5198808081234",
            // Before 1999.
            "110105491231002",
            "999999900101123",
            "１１０１０５４９１２３１００２",
            "110105 491231 002",
            "11010549123100X",
            // The new form cut off, and one whose last group hangs on a group too many.
            "440305198808081",
            "440305-19880808-123-4",
            "44030519880808 12 34",
            // Signs that people put between the groups.
            "999999，19900101，1238",
            "99999919900101,1238",
            "999999（19900101）1238",
            "999999*19900101*1238",
        ] {
            for (before, behind) in [
                ("", ""),
                ("张三 ", ""),
                ("身份证", "已看"),
                ("（", "）"),
                ("证号：", "，13800000001"),
            ] {
                check(
                    "",
                    &format!("{before}{number}{behind}"),
                    &[(IdentityNumber, number, true)],
                );
            }
            check(
                "统一社会信用代码",
                number,
                &[(IdentityNumber, number, true)],
            );
        }
        // Glued to another number.
        for (text, numbers) in [
            ("13800000001999999199001011238", &["999999199001011238"][..]),
            ("99999919900101123813800000001", &["999999199001011238"]),
            (
                "999999199001011238999999199001010729",
                &["999999199001011238", "999999199001010729"],
            ),
        ] {
            let expected: Vec<_> = numbers
                .iter()
                .map(|number| (IdentityNumber, *number, true))
                .collect();
            check("", text, &expected);
        }
        // By the words before it alone.
        check(
            "",
            "身份证号：12345678",
            &[(IdentityNumber, "12345678", true)],
        );
        check("", "A123456(3)", &[(IdentityNumber, "A123456(3)", true)]);
        check("", "A123456789", &[(IdentityNumber, "A123456789", true)]);
        check("", "5/123456/7", &[(IdentityNumber, "5/123456/7", true)]);
        for (text, number) in [
            ("香港身份证A123456(4)", "A123456(4)"),
            ("澳门身份证 5123456(7)", "5123456(7)"),
            ("军官证：1234567", "1234567"),
            ("驾驶证号 310012345678", "310012345678"),
            ("社会保障号码：123456789", "123456789"),
            ("ID No. A1234567", "A1234567"),
        ] {
            check("", text, &[(IdentityNumber, number, true)]);
        }
        check("", "A123456(4) A123456788", &[]);
    }

    #[test]
    fn codes_of_businesses_and_other_numbers_are_nobodys() {
        for text in [
            "91310000631696382C",
            "91350100M000100Y43",
            "92310104MA1K0004X0",
            "91310115MA1H8R7C6D",
            "913101046316960325",
            // It ends as an identity number does as well, and names a day.
            "923101201001068659",
            "13800000001/13900000002",
            "021-64330000转8001",
            "64330000 64330001",
            "+86 138 0000 0001",
            "2025-08-11 走访，20250811",
            "天平路12号301室",
            "JY13101040012345",
            "310104123456",
            "121.4390000000000, 31.2200000000000",
            "1234567890123456",
            "310104202501150001",
            "E座12345678",
            "62345678 62345679",
            "13800000001 13900000002",
            "会员卡号 12345678",
            "抖音账号 1234567890",
            "5/12/2026 12/123456/1",
            "370102200012345",
            "有身份证",
            "护照 3 本",
        ] {
            check("", text, &[]);
            check("统一社会信用代码", text, &[]);
        }
        // A registration number of before 2015 under a heading that says so; elsewhere it is the number of somebody born in 1960.
        check("注册号", "310104600123451", &[]);
        check(
            "",
            "310104600123451",
            &[(TextWarningKind::IdentityNumber, "310104600123451", true)],
        );
        check("身份证或手机", "13800000001", &[]);
        check("身份证/信用代码", "91310000631696382C", &[]);
    }

    #[test]
    fn cards_passports_and_permits() {
        use TextWarningKind::{BankCard, Passport, Permit};
        for card in [
            "6217000000000000004",
            "6217 0000 0000 0000 004",
            "6222020000000000000",
            "4111111111111111",
            "4111-1111-1111-1111",
            "378282246310005",
            "3782 822463 10005",
            "９５５８８０００００００００００００",
        ] {
            check("", card, &[(BankCard, card, true)]);
        }
        check("", "6217000000000000005", &[]);
        for label in ["卡号：", "收款账号 ", "开户行：工商银行 帐号", "账户"] {
            let number = "6217000000000000005";
            check("", &format!("{label}{number}"), &[(BankCard, number, true)]);
        }
        check(
            "银行卡号",
            "6217000000000000005",
            &[(BankCard, "6217000000000000005", true)],
        );
        for (text, number, kind, certain) in [
            ("E12345678", "E12345678", Passport, false),
            ("EA1234567", "EA1234567", Passport, false),
            ("g12345678。", "g12345678", Passport, false),
            ("护照E12345678", "E12345678", Passport, true),
            ("护照号码：X1234567", "X1234567", Passport, true),
            ("passport No. 123456789", "123456789", Passport, true),
            ("H12345678", "H12345678", Permit, false),
            ("H1234567890", "H1234567890", Permit, false),
            ("C12345678", "C12345678", Permit, false),
            ("回乡证 H12345678", "H12345678", Permit, true),
            ("台胞证12345678", "12345678", Permit, true),
            ("港澳通行证号：C12345678", "C12345678", Permit, true),
        ] {
            check("", text, &[(kind, number, certain)]);
        }
        check("护照", "X1234567", &[(Passport, "X1234567", true)]);
    }

    #[test]
    fn every_word_that_names_a_number_has_a_sign_by_which_it_is_looked_for() {
        let words = LABELS.iter().map(|(word, _)| word).chain(ACCOUNTS);
        for word in words {
            assert!(word.contains(|c: char| LABEL_SIGNS.contains(c)), "{word}");
        }
    }

    proptest! {
        #[test]
        fn ranges_lie_within_and_apart(heading in "[身份证护照号a-z：]{0,6}", text in "[0-9０-９XxAE() \\-/身份证护照PASSPORTno.：]{0,60}") {
            let found = find_under(&heading, &text);
            for number in &found {
                prop_assert!(number.chars.start < number.chars.end && number.chars.end <= char_count(&text));
            }
            for pair in found.windows(2) {
                prop_assert!(pair[0].chars.end <= pair[1].chars.start);
            }
        }
    }
}
