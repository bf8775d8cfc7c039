//! Numbering plans: which digits are a whole number, of the mainland or of another country or region.
//!
//! Mobile numbers, Shanghai's landlines and numbers of services are told by their shape alone: new ranges are opened more often than any table is
//! brought up to date. The plans of other mainland cities and of everywhere else are libphonenumber's, through the crate `rlibphonenumber`.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, PhoneNumberType};

use super::PhoneKind;

/// Digits of a number with its country code, as E.164 bounds them, and a zero that is dialled within the country.
const INTERNATIONAL_DIGITS_MAX: usize = 16;
/// Groups of such a number that is typed without `+` or `00`.
const BARE_GROUPS_MAX: usize = 7;
/// From so many digits on a bare run can hardly be a mistyped number of the mainland.
const BARE_DIGITS_MIN: usize = 12;

/// A number of the mainland: its digits without country code, and its kind.
pub(super) fn mainland(digits: &str) -> Option<(String, PhoneKind)> {
    let national = without_country(digits);
    let kind = if is_mobile(&national) {
        PhoneKind::Mobile
    } else if is_landline(&national) {
        PhoneKind::Landline
    } else if is_service(&national) {
        PhoneKind::Service400
    } else {
        return None;
    };
    Some((national, kind))
}

/// A number of another country or region after `+` or `00`.
pub(super) fn abroad(digits: &str) -> Option<(String, PhoneKind)> {
    let number = parsed(digits)?;
    let in_plan = PHONE_NUMBER_UTIL.is_valid_number(&number);
    let possible = || {
        [PhoneNumberType::Mobile, PhoneNumberType::FixedLine]
            .iter()
            .any(|of| PHONE_NUMBER_UTIL.is_possible_number_for_type(&number, *of))
    };
    (in_plan || possible()).then(|| (e164(&number), PhoneKind::Foreign { in_plan }))
}

/// A number of another country or region that is typed without `+` or `00`: its country code stands alone in front, or nothing else can be meant.
/// `groups`: the digits as they are grouped.
pub(super) fn bare_abroad(groups: &[&str]) -> Option<(String, PhoneKind)> {
    let joined = groups.concat();
    if groups.len() > BARE_GROUPS_MAX || !(9..=INTERNATIONAL_DIGITS_MAX).contains(&joined.len()) {
        return None;
    }
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let meant = match groups {
        // North American numbers are grouped in this way, and no mainland mobile number is.
        ["1", ..] => lengths == [1, 3, 3, 4],
        [code, _, ..] if is_calling_code(code) => true,
        [_] => match joined.get(..3) {
            Some("852" | "853") => joined.len() == 11,
            Some("886") => joined.len() > 10,
            _ => joined.len() >= BARE_DIGITS_MIN && !joined.starts_with(['0', '1']),
        },
        _ => false,
    };
    if !meant {
        return None;
    }
    let number = parsed(&joined)?;
    let code = number.country_code;
    (code != 86 && is_calling_code(&code.to_string()) && PHONE_NUMBER_UTIL.is_valid_number(&number))
        .then(|| (e164(&number), PhoneKind::Foreign { in_plan: true }))
}

fn parsed(digits: &str) -> Option<PhoneNumber> {
    if digits.len() > INTERNATIONAL_DIGITS_MAX {
        return None;
    }
    PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None).ok()
}

/// As it is dialled within its own country: with the zero that most countries use.
pub(super) fn within_the_country(digits: &str) -> Option<String> {
    let number = parsed(digits)?;
    Some(format!("0{}", number.national_number))
}

/// Without the plus sign.
fn e164(number: &PhoneNumber) -> String {
    let text = PHONE_NUMBER_UTIL.format(number, PhoneNumberFormat::E164);
    text.trim_start_matches('+').to_owned()
}

/// The code of a country or region; codes of satellites and services are none.
fn is_calling_code(code: &str) -> bool {
    code != "86"
        && (1..=3).contains(&code.len())
        && code.parse().is_ok_and(|code| {
            PHONE_NUMBER_UTIL
                .get_region_for_country_code(code)
                .is_some_and(|region| region != rlibphonenumber::Region::World)
        })
}

/// Without +86, 0086 or a zero dialled before a mobile number.
fn without_country(digits: &str) -> String {
    for prefix in ["0086", "86"] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            if let Some(mobile) = mobile(rest) {
                return mobile.to_owned();
            }
            if is_landline(rest) && rest.starts_with('0') || is_service(rest) {
                return rest.to_owned();
            }
            // Abroad the zero of the area code is left out: +86 21 5093 2417.
            let with_zero = format!("0{rest}");
            if rest.len() > 8 && is_landline(&with_zero) {
                return with_zero;
            }
        }
    }
    mobile(digits).unwrap_or(digits).to_owned()
}

/// A mobile number, perhaps after the zero that was once dialled before those of another city.
fn mobile(digits: &str) -> Option<&str> {
    [Some(digits), digits.strip_prefix('0')]
        .into_iter()
        .flatten()
        .find(|digits| is_mobile(digits))
}

pub(super) fn is_mobile(digits: &str) -> bool {
    digits.len() == 11 && matches!(digits.as_bytes(), [b'1', b'3'..=b'9', ..])
}

fn is_service(digits: &str) -> bool {
    digits.len() == 10 && (digits.starts_with("400") || digits.starts_with("800"))
}

fn is_landline(digits: &str) -> bool {
    let subscriber = match area_code_len(digits) {
        Some(len) => &digits[len..],
        None if digits.len() == 8 => digits,
        None => return false,
    };
    matches!(subscriber.as_bytes().first(), Some(b'2'..=b'8')) && has_its_citys_length(digits)
}

/// Cities with an area code of four digits have numbers of seven digits or of eight.
fn has_its_citys_length(digits: &str) -> bool {
    match digits.as_bytes() {
        [b'0', b'3'..=b'9', ..] => parsed(&format!("86{}", &digits[1..]))
            .is_some_and(|number| PHONE_NUMBER_UTIL.is_valid_number(&number)),
        _ => true,
    }
}

/// Length of the area code of a whole national number: 010 and 02x have three digits, the others four.
pub(super) fn area_code_len(digits: &str) -> Option<usize> {
    match (digits.as_bytes(), digits.len()) {
        ([b'0', b'1', b'0', ..] | [b'0', b'2', b'0'..=b'9', ..], 11) => Some(3),
        ([b'0', b'3'..=b'9', ..], 11 | 12) => Some(4),
        _ => None,
    }
}

/// Whether these digits alone are an area code.
pub(super) fn is_area_code(digits: &str) -> bool {
    matches!(
        digits.as_bytes(),
        [b'0', b'1', b'0'] | [b'0', b'2', b'0'..=b'9'] | [b'0', b'3'..=b'9', _, _]
    )
}

/// 95xxx and the other short numbers of services.
pub(super) fn is_short(digits: &str) -> bool {
    match digits.as_bytes() {
        [b'9', b'5', ..] => (5..=8).contains(&digits.len()),
        [b'9', b'6', ..] => (5..=6).contains(&digits.len()),
        [b'1', b'0' | b'2', ..] => digits.len() == 5,
        _ => false,
    }
}
