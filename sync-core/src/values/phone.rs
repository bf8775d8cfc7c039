//! Telephone numbers as people write them into one cell.
//!
//! In: free text with one or several numbers. Out: the numbers in the order written, each with its kind. What is not
//! understood stays in the list as [`PhoneKind::Unrecognised`] with the text as typed: a doubt is reported, nothing is refused.

use std::ops::Range;

use crate::values::width::half_width_char;

/// Groups of digits that may belong to one number: `+86 021 5093 2417 803` has five.
const GROUPS_MAX: usize = 6;

/// One number found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// Half-width digits without country code, separators and extension; for an unrecognised piece whatever digits it has.
    pub digits: String,
    /// What kind of number it is.
    pub kind: PhoneKind,
    /// The piece of text as it was typed.
    pub raw: String,
}

/// Kinds of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhoneKind {
    /// Eleven digits from 13 to 19.
    Mobile,
    /// Area code and seven or eight digits, or eight digits alone as people write within one city.
    Landline {
        /// Extension (分机), one to six digits.
        ext: Option<String>,
    },
    /// 400 or 800 and seven digits.
    Service400,
    /// 95xxx and the other short numbers of services (96xxx, 100xx, 12xxx).
    Short95,
    /// Not a number that can be dialled as it stands.
    Unrecognised,
}

impl Phone {
    /// Whether the number can be dialled.
    pub fn is_recognised(&self) -> bool {
        self.kind != PhoneKind::Unrecognised
    }

    /// The number in its usual notation: `16634109680`, `021-50932417转803`; an unrecognised piece as typed.
    pub fn canonical(&self) -> String {
        match &self.kind {
            PhoneKind::Mobile | PhoneKind::Service400 | PhoneKind::Short95 => self.digits.clone(),
            PhoneKind::Landline { ext } => {
                let mut out = match area_code_len(&self.digits) {
                    Some(len) => format!("{}-{}", &self.digits[..len], &self.digits[len..]),
                    None => self.digits.clone(),
                };
                if let Some(ext) = ext {
                    out.push('转');
                    out.push_str(ext);
                }
                out
            }
            PhoneKind::Unrecognised => self.raw.clone(),
        }
    }
}

/// The numbers of one cell or field. Words such as 无 that mean “none” yield an empty list.
pub fn parse(text: &str) -> Vec<Phone> {
    let trimmed = text.trim();
    let found: Vec<Phone> = scan(trimmed).into_iter().map(|(_, phone)| phone).collect();
    let says_none = matches!(
        trimmed,
        "" | "无"
            | "暂无"
            | "没有"
            | "未知"
            | "不详"
            | "无电话"
            | "-"
            | "--"
            | "—"
            | "——"
            | "/"
            | "\\"
    );
    if found.is_empty() && !says_none {
        return vec![Phone {
            digits: String::new(),
            kind: PhoneKind::Unrecognised,
            raw: trimmed.to_owned(),
        }];
    }
    found
}

/// The numbers joined in their usual notation, as a field stores them.
pub fn canonical(phones: &[Phone]) -> String {
    phones
        .iter()
        .map(Phone::canonical)
        .collect::<Vec<_>>()
        .join("/")
}

/// The numbers with the byte range each takes in the text.
pub(super) fn scan(text: &str) -> Vec<(Range<usize>, Phone)> {
    let groups = groups_of(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < groups.len() {
        if let Some((digits, kind, used)) = longest_number(&groups[at..]) {
            found.push(piece(text, &groups[at..at + used], digits, kind));
            at += used;
            continue;
        }
        // What cannot be read goes together up to the next separator or the next number that can.
        let mut end = at + 1;
        while end < groups.len()
            && groups[end].joint != Joint::Apart
            && longest_number(&groups[end..]).is_none()
        {
            end += 1;
        }
        let digits = groups[at..end].iter().map(|g| g.digits.as_str()).collect();
        found.push(piece(
            text,
            &groups[at..end],
            digits,
            PhoneKind::Unrecognised,
        ));
        at = end;
    }
    found
}

fn piece(text: &str, groups: &[Group], digits: String, kind: PhoneKind) -> (Range<usize>, Phone) {
    let start = groups.first().map_or(0, |g| g.range.start);
    let end = groups.last().map_or(start, |g| g.range.end);
    (
        start..end,
        Phone {
            digits,
            kind,
            raw: text[start..end].to_owned(),
        },
    )
}

/// How a group of digits hangs on the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joint {
    /// It does not: a separator or words stand between.
    Apart,
    /// By white space.
    Space,
    /// By a hyphen, dot or bracket.
    Hyphen,
    /// By 转, 分机, ext, x or #.
    Extension,
}

#[derive(Debug)]
struct Group {
    digits: String,
    joint: Joint,
    range: Range<usize>,
}

fn groups_of(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut between = String::new();
    let mut open: Option<Group> = None;
    for (start, typed) in text.char_indices() {
        let c = half_width_char(typed);
        let end = start + typed.len_utf8();
        if c.is_ascii_digit() {
            let group = open.get_or_insert_with(|| {
                let joint = if groups.is_empty() {
                    Joint::Apart
                } else {
                    joint_of(&between)
                };
                let from = if between.ends_with('+') {
                    start - 1
                } else {
                    start
                };
                Group {
                    digits: String::new(),
                    joint,
                    range: from.min(start)..end,
                }
            });
            group.digits.push(c);
            group.range.end = end;
        } else {
            if let Some(group) = open.take() {
                groups.push(group);
                between.clear();
            }
            between.push(if c.is_whitespace() {
                ' '
            } else {
                c.to_ascii_lowercase()
            });
        }
    }
    groups.extend(open);
    // A range must lie on character boundaries even where the plus sign was a full-width one.
    for group in &mut groups {
        while !text.is_char_boundary(group.range.start) {
            group.range.start -= 1;
        }
    }
    groups
}

fn joint_of(between: &str) -> Joint {
    let bare: String = between
        .chars()
        .filter(|c| !matches!(c, ' ' | '(' | ')' | '-' | '.' | ':' | ',' | '－'))
        .collect();
    if matches!(
        bare.as_str(),
        "转" | "轉" | "分机" | "分機" | "转分机" | "ext" | "x" | "#" | "*"
    ) {
        return Joint::Extension;
    }
    if between.chars().all(|c| c == ' ') {
        return Joint::Space;
    }
    if between.chars().all(|c| {
        matches!(
            c,
            ' ' | '-' | '－' | '–' | '—' | '―' | '‐' | '‑' | '−' | '.' | '·' | '(' | ')' | '_'
        )
    }) {
        return Joint::Hyphen;
    }
    Joint::Apart
}

/// The longest number that starts with the first group: its digits, kind and how many groups it takes.
fn longest_number(groups: &[Group]) -> Option<(String, PhoneKind, usize)> {
    let joined = 1 + groups
        .iter()
        .skip(1)
        .take(GROUPS_MAX - 1)
        .take_while(|g| g.joint != Joint::Apart)
        .count();
    for used in (1..=joined.min(groups.len())).rev() {
        let (last, body) = groups[..used].split_last()?;
        if !body.is_empty()
            && matches!(last.joint, Joint::Extension | Joint::Hyphen)
            && (1..=6).contains(&last.digits.len())
            && let Some((digits, PhoneKind::Landline { .. })) = classify(body)
        {
            return Some((
                digits,
                PhoneKind::Landline {
                    ext: Some(last.digits.clone()),
                },
                used,
            ));
        }
        if let Some((digits, kind)) = classify(&groups[..used]) {
            return Some((digits, kind, used));
        }
    }
    None
}

fn classify(groups: &[Group]) -> Option<(String, PhoneKind)> {
    if groups.iter().skip(1).any(|g| g.joint == Joint::Extension)
        || groups.iter().map(|g| g.digits.len()).sum::<usize>() > 17
    {
        return None;
    }
    let joined: String = groups.iter().map(|g| g.digits.as_str()).collect();
    let national = without_country(&joined);
    let kind = if is_mobile(&national) {
        PhoneKind::Mobile
    } else if is_landline(&national) {
        PhoneKind::Landline { ext: None }
    } else if national.len() == 10 && (national.starts_with("400") || national.starts_with("800")) {
        PhoneKind::Service400
    } else if groups.len() == 1 && is_short(&national) {
        PhoneKind::Short95
    } else {
        return None;
    };
    Some((national, kind))
}

/// Without +86, 0086 or a zero dialled before a mobile number.
fn without_country(digits: &str) -> String {
    for prefix in ["0086", "86"] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            if is_mobile(rest) || is_landline(rest) && rest.starts_with('0') {
                return rest.to_owned();
            }
            // Abroad the zero of the area code is left out: +86 21 5093 2417.
            let with_zero = format!("0{rest}");
            if is_landline(&with_zero) && rest.len() > 8 {
                return with_zero;
            }
        }
    }
    match digits.strip_prefix('0') {
        Some(rest) if is_mobile(rest) => rest.to_owned(),
        _ => digits.to_owned(),
    }
}

fn is_mobile(digits: &str) -> bool {
    digits.len() == 11 && matches!(digits.as_bytes(), [b'1', b'3'..=b'9', ..])
}

fn is_landline(digits: &str) -> bool {
    let subscriber = match area_code_len(digits) {
        Some(len) => &digits[len..],
        None if digits.len() == 8 => digits,
        None => return false,
    };
    matches!(subscriber.as_bytes().first(), Some(b'2'..=b'8'))
}

/// Length of the area code of a whole national number: 010 and 02x have three digits, the others four.
fn area_code_len(digits: &str) -> Option<usize> {
    match (digits.as_bytes(), digits.len()) {
        ([b'0', b'1', b'0', ..] | [b'0', b'2', b'0'..=b'9', ..], 11) => Some(3),
        ([b'0', b'3'..=b'9', ..], 11 | 12) => Some(4),
        _ => None,
    }
}

fn is_short(digits: &str) -> bool {
    match digits.as_bytes() {
        [b'9', b'5', ..] => (5..=8).contains(&digits.len()),
        [b'9', b'6', ..] => (5..=6).contains(&digits.len()),
        [b'1', b'0' | b'2', ..] => digits.len() == 5,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[(&str, PhoneKind)], joined: &str) {
        let phones = parse(text);
        let seen: Vec<(&str, PhoneKind)> = phones
            .iter()
            .map(|p| (p.digits.as_str(), p.kind.clone()))
            .collect();
        assert_eq!(seen, expected, "{text}");
        assert_eq!(canonical(&phones), joined, "{text}");
    }

    fn landline(ext: Option<&str>) -> PhoneKind {
        PhoneKind::Landline {
            ext: ext.map(str::to_owned),
        }
    }

    #[test]
    fn numbers_as_people_write_them() {
        use PhoneKind::{Mobile, Service400, Short95, Unrecognised};
        check("16634109680", &[("16634109680", Mobile)], "16634109680");
        check("150 4984 0845", &[("15049840845", Mobile)], "15049840845");
        check("166-3410-9680", &[("16634109680", Mobile)], "16634109680");
        check(
            "１６６３４１０９６８０",
            &[("16634109680", Mobile)],
            "16634109680",
        );
        check(
            "+86 166 3410 9680",
            &[("16634109680", Mobile)],
            "16634109680",
        );
        check(
            "＋８６１６６３４１０９６８０",
            &[("16634109680", Mobile)],
            "16634109680",
        );
        check("008616634109680", &[("16634109680", Mobile)], "16634109680");
        check("016634109680", &[("16634109680", Mobile)], "16634109680");
        check(
            "16634109680/021-50932417",
            &[("16634109680", Mobile), ("02150932417", landline(None))],
            "16634109680/021-50932417",
        );
        check(
            "16634109680 16634109681",
            &[("16634109680", Mobile), ("16634109681", Mobile)],
            "16634109680/16634109681",
        );
        check(
            "16634109680、95588；4008208820",
            &[
                ("16634109680", Mobile),
                ("95588", Short95),
                ("4008208820", Service400),
            ],
            "16634109680/95588/4008208820",
        );
        check(
            "16634109680或50932417",
            &[("16634109680", Mobile), ("50932417", landline(None))],
            "16634109680/50932417",
        );
        check(
            "021-5093 2417转803",
            &[("02150932417", landline(Some("803")))],
            "021-50932417转803",
        );
        check(
            "021-57414766-967",
            &[("02157414766", landline(Some("967")))],
            "021-57414766转967",
        );
        check(
            "(021)50932417 ext. 8",
            &[("02150932417", landline(Some("8")))],
            "021-50932417转8",
        );
        check(
            "（０２１）５０９３２４１７",
            &[("02150932417", landline(None))],
            "021-50932417",
        );
        check(
            "+86 21 5093 2417",
            &[("02150932417", landline(None))],
            "021-50932417",
        );
        check(
            "0512-65221234",
            &[("051265221234", landline(None))],
            "0512-65221234",
        );
        check("400-820-8820", &[("4008208820", Service400)], "4008208820");
        check("400 8208 820", &[("4008208820", Service400)], "4008208820");
        check("12345", &[("12345", Short95)], "12345");
        check(
            "李姐 16634109680（晚上）",
            &[("16634109680", Mobile)],
            "16634109680",
        );
        check("1868600564", &[("1868600564", Unrecognised)], "1868600564");
        check(
            "1868600564/021-50932417",
            &[
                ("1868600564", Unrecognised),
                ("02150932417", landline(None)),
            ],
            "1868600564/021-50932417",
        );
        check(
            "12634109680",
            &[("12634109680", Unrecognised)],
            "12634109680",
        );
        check(
            "021-1093241",
            &[("0211093241", Unrecognised)],
            "021-1093241",
        );
        check("见门口", &[("", Unrecognised)], "见门口");
        check("", &[], "");
        check(" 无 ", &[], "");
    }

    #[test]
    fn raw_is_what_was_typed() {
        let phones = parse("店主：+86 166 3410 9680 / ０２１－５０９３２４１７转８");
        let raw: Vec<&str> = phones.iter().map(|p| p.raw.as_str()).collect();
        assert_eq!(raw, ["+86 166 3410 9680", "０２１－５０９３２４１７转８"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            canonical(&parse(&text));
        }

        #[test]
        fn never_panics_on_digits_and_joints(text in "[0-9０-９ +＋\\-转/()（）x#张]{0,60}") {
            canonical(&parse(&text));
        }

        #[test]
        fn canonical_text_is_read_back(numbers in prop::collection::vec("1[3-9][0-9]{9}|021[2-8][0-9]{7}|021-[2-8][0-9]{7}转[0-9]{1,6}|400[0-9]{7}", 1..5)) {
            let once = parse(&numbers.join("/"));
            let twice = parse(&canonical(&once));
            prop_assert_eq!(once.len(), numbers.len());
            let plain = |phones: &[Phone]| phones.iter().map(|p| (p.digits.clone(), p.kind.clone())).collect::<Vec<_>>();
            prop_assert_eq!(plain(&once), plain(&twice));
        }
    }
}
