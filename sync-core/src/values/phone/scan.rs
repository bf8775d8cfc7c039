//! Numbers in a text, from the left: at each place the longest that can be read.

use std::ops::Range;

use super::{
    Phone, PhoneKind,
    groups::{Groups, Joint},
    plans, words,
};

/// Groups of digits that may belong to one number, should every digit stand alone.
const GROUPS_MAX: usize = 16;
/// Digits of a number with everything that is dialled before it.
const DIGITS_MAX: usize = 17;
/// Digits of an extension.
const EXTENSION_DIGITS: Range<usize> = 1..7;
/// Extensions behind a comma, or behind a hyphen after a mobile number: what is shorter may be a surplus digit.
const CLEAR_EXTENSION_DIGITS: Range<usize> = 3..5;

/// Digits behind a number that may be part of it, mistyped; more are a number of their own.
const SURPLUS_DIGITS_MAX: usize = 2;

/// How strictly a number is told from a mistyped one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// As a field for numbers is read: a letter or a surplus digit beside a number makes it doubtful.
    Field,
    /// As a text is looked through for whatever may be a number.
    Mention,
}

struct Found {
    digits: String,
    kind: PhoneKind,
    ext: Option<String>,
    /// Groups it takes.
    used: usize,
    /// The word behind its extension, where it stands there: `8001分机`.
    word: Option<&'static str>,
}

/// The numbers with the byte range each takes in the text.
pub(super) fn scan(text: &str, reading: Reading) -> Vec<(Range<usize>, Phone)> {
    let groups = Groups::of(text);
    let scan = Scan {
        text,
        words: words::certain(&groups),
        groups: &groups,
        reading,
    };
    scan.run()
}

struct Scan<'t> {
    text: &'t str,
    groups: &'t Groups<'t>,
    words: Vec<bool>,
    reading: Reading,
}

impl Scan<'_> {
    fn run(&self) -> Vec<(Range<usize>, Phone)> {
        let mut found: Vec<(Range<usize>, Phone)> = Vec::new();
        let mut at = 0;
        while at < self.groups.len() {
            if self.words[at] {
                at += 1;
                continue;
            }
            let from = found.last().map_or(0, |(range, _)| range.end);
            let number = self.number(at);
            let surplus = number
                .as_ref()
                .and_then(|number| self.surplus(number, at + number.used));
            match (number, surplus) {
                (Some(number), None) => {
                    let bytes = self.groups.bytes(&(at..at + number.used), false, from);
                    let mut bytes = match number.word {
                        Some(word) => self.groups.bytes_with(bytes, word),
                        None => bytes,
                    };
                    // The word for the region is part of the number: without it the number would be one of this city.
                    if let (PhoneKind::Foreign { .. }, Some((code, start))) =
                        (number.kind, self.groups.region(at))
                        && self.is_of_region(at..at + number.used, code)
                        && start >= from
                    {
                        bytes.start = bytes.start.min(start);
                    }
                    at += number.used;
                    found.push(self.phone(bytes, number.digits, number.kind, number.ext));
                }
                (number, surplus) => {
                    let of_power = self.power_of_ten(at).map(|(used, _)| at + used);
                    let of_number = number.map(|number| at + number.used);
                    let least = surplus.or(of_number).or(of_power).unwrap_or(at + 1);
                    let end = self.end_of_doubtful(at, least);
                    if !words::likely(self.groups, at..end) {
                        let digits = (at..end).map(|at| self.groups.digits(at)).collect();
                        let bytes = self.groups.bytes(&(at..end), true, from);
                        found.push(self.phone(bytes, digits, PhoneKind::Unrecognised, None));
                    }
                    at = end;
                }
            }
        }
        found
    }

    fn phone(
        &self,
        bytes: Range<usize>,
        digits: String,
        kind: PhoneKind,
        ext: Option<String>,
    ) -> (Range<usize>, Phone) {
        let raw = self.text[bytes.clone()].to_owned();
        let phone = Phone {
            digits,
            kind,
            ext,
            raw,
        };
        (bytes, phone)
    }

    /// Where a digit too many hangs on a number that ends before `at`: the end of what is doubtful then.
    fn surplus(&self, number: &Found, at: usize) -> Option<usize> {
        if self.reading == Reading::Mention || at >= self.groups.len() || self.words[at] {
            return None;
        }
        let too_many = match self.groups.joint(at) {
            Joint::Extension => true,
            Joint::Space | Joint::Hyphen => {
                let few = self.groups.digits(at).len() <= SURPLUS_DIGITS_MAX;
                let unsure = number.kind == PhoneKind::Foreign { in_plan: false };
                (few || unsure) && !words::likely(self.groups, at..at + 1)
            }
            Joint::Apart | Joint::Comma | Joint::Stray => false,
        };
        (too_many && self.number(at).is_none()).then_some(at + 1)
    }

    /// What cannot be read goes together up to the next separator or the next number that can.
    fn end_of_doubtful(&self, start: usize, least: usize) -> usize {
        let from_abroad = self.groups.plus(start) || self.groups.digits(start).starts_with("00");
        let mut end = least;
        while end < self.groups.len() && !self.words[end] {
            match self.groups.joint(end) {
                Joint::Apart | Joint::Comma => break,
                Joint::Stray => {}
                Joint::Space | Joint::Hyphen | Joint::Extension => {
                    let ends_here = self
                        .number(end)
                        .is_some_and(|next| self.is_clear(&next, end, from_abroad));
                    if ends_here {
                        break;
                    }
                }
            }
            end += 1;
        }
        end
    }

    /// Whether a number behind something doubtful is one of its own and not the rest of it.
    fn is_clear(&self, number: &Found, at: usize, from_abroad: bool) -> bool {
        let lengths = [
            self.groups.digits(at).len(),
            self.groups
                .digits((at + 1).min(self.groups.len() - 1))
                .len(),
        ];
        let local = self.groups.joint(at) == Joint::Space
            && (number.used == 1 || number.used == 2 && lengths == [4, 4]);
        match number.kind {
            PhoneKind::Mobile => true,
            PhoneKind::Landline if number.digits.starts_with('0') => true,
            PhoneKind::Landline | PhoneKind::Service400 | PhoneKind::Short95 => {
                // 0853 66123456 has an area code whose numbers are shorter.
                !from_abroad && local && !plans::is_area_code(self.groups.digits(at - 1))
            }
            PhoneKind::Foreign { .. } => !from_abroad,
            PhoneKind::Unrecognised => false,
        }
    }

    /// The longest number that starts with this group.
    fn number(&self, at: usize) -> Option<Found> {
        if let Some((used, digits)) = self.power_of_ten(at) {
            let (digits, kind) = plans::mainland(&digits?)?;
            return Some(Found {
                digits,
                kind,
                ext: None,
                used,
                word: None,
            });
        }
        if let Some(found) = self.with_fraction(at) {
            return Some(found);
        }
        let joined = 1
            + (at + 1..self.groups.len())
                .take(GROUPS_MAX - 1)
                .take_while(|at| {
                    !self.words[*at]
                        && !matches!(self.groups.joint(*at), Joint::Apart | Joint::Stray)
                })
                .count();
        (1..=joined).rev().find_map(|used| {
            let range = at..at + used;
            if self.reading == Reading::Field && self.groups.is_touched(&range) {
                return None;
            }
            let whole = self.classify(&range).map(|(digits, kind)| Found {
                digits,
                kind,
                ext: None,
                used,
                word: None,
            });
            whole.or_else(|| self.with_extension(range))
        })
    }

    /// A number that a spreadsheet showed in powers of ten: how many groups that takes, and the digits if all are there. `1.3800000001E+10` has them,
    /// `1.38E+10` has lost them.
    fn power_of_ten(&self, at: usize) -> Option<(usize, Option<String>)> {
        let groups = self.groups;
        let is_exponent = |at: usize| at < groups.len() && matches!(groups.gap(at), "e" | "e+");
        let (whole, fraction, exponent) = if is_exponent(at + 1) {
            (groups.digits(at), "", at + 1)
        } else if is_exponent(at + 2) && groups.gap(at + 1) == "." {
            (groups.digits(at), groups.digits(at + 1), at + 2)
        } else {
            return None;
        };
        let places = groups.digits(exponent).parse().unwrap_or(usize::MAX);
        let all_there = whole.len() == 1
            && fraction.len() >= places
            && fraction[places..].bytes().all(|b| b == b'0');
        let digits = all_there.then(|| format!("{whole}{}", &fraction[..places]));
        Some((exponent + 1 - at, digits))
    }

    /// A whole number that a spreadsheet showed with a fraction: `13800000001.0`.
    fn with_fraction(&self, at: usize) -> Option<Found> {
        let groups = self.groups;
        let tail = at + 1;
        let is_fraction = tail < groups.len()
            && groups.gap(tail) == "."
            && groups.gap(at) != "."
            && groups.gap(tail + 1) != "."
            && matches!(groups.digits(tail), "0" | "00")
            && !self.words[tail];
        let (digits, kind) = is_fraction.then(|| self.classify(&(at..tail))).flatten()?;
        Some(Found {
            digits,
            kind,
            ext: None,
            used: 2,
            word: None,
        })
    }

    /// A number whose last group is its extension.
    fn with_extension(&self, range: Range<usize>) -> Option<Found> {
        let last = range.end - 1;
        if range.len() < 2 || !EXTENSION_DIGITS.contains(&self.groups.digits(last).len()) {
            return None;
        }
        let behind = self.groups.gap(range.end).trim_start();
        let word = ["分机", "分機", "内线", "內線"]
            .into_iter()
            .find(|word| behind.starts_with(word));
        let joint = self.groups.joint(last);
        let opened = self.groups.gap(last).contains('(');
        let closed = self.groups.gap(range.end).starts_with(')');
        let (digits, kind) = self.classify(&(range.start..last))?;
        let long_enough = CLEAR_EXTENSION_DIGITS.contains(&self.groups.digits(last).len());
        let switchboard = matches!(kind, PhoneKind::Landline | PhoneKind::Service400);
        let hangs = match joint {
            // 62345678-80 may be three numbers.
            Joint::Hyphen if word.is_none() && is_range(&digits, self.groups.digits(last)) => false,
            Joint::Extension => true,
            Joint::Space | Joint::Hyphen if word.is_some() => true,
            Joint::Hyphen if opened && !closed => false,
            // 138-0000-0001-139-0000-0002 are two numbers.
            Joint::Hyphen if self.classify_more(last) => false,
            Joint::Hyphen => switchboard || kind == PhoneKind::Mobile && long_enough && !opened,
            Joint::Comma => {
                let alone = self.groups.joint(range.end) == Joint::Apart;
                alone
                    && (switchboard && self.groups.digits(last).len() < CLEAR_EXTENSION_DIGITS.end
                        || kind == PhoneKind::Mobile && long_enough)
            }
            Joint::Space | Joint::Apart | Joint::Stray => false,
        };
        hangs.then(|| Found {
            digits,
            kind,
            ext: Some(self.groups.digits(last).to_owned()),
            used: range.len(),
            word,
        })
    }

    /// Whether a number starts with this group and goes on behind it.
    fn classify_more(&self, at: usize) -> bool {
        (at + 2..=(at + 4).min(self.groups.len())).any(|end| self.classify(&(at..end)).is_some())
    }

    /// Whether the digits of these groups lack the code of their region.
    fn is_of_region(&self, range: Range<usize>, code: &str) -> bool {
        let digits: String = range.clone().map(|at| self.groups.digits(at)).collect();
        let is_whole = self.groups.plus(range.start)
            || digits.starts_with("00")
            || (digits.starts_with(code) && digits.len() > 8 + usize::from(code == "886"));
        !is_whole
    }

    /// The number of Hong Kong, Macau or Taiwan that these digits are behind the word for it.
    fn in_region(&self, range: &Range<usize>, digits: &str) -> Option<(String, PhoneKind)> {
        let (code, _) = self.groups.region(range.start)?;
        if !self.is_of_region(range.clone(), code) {
            return None;
        }
        let national = digits.strip_prefix('0').unwrap_or(digits);
        plans::abroad(&format!("{code}{national}"))
            .filter(|(_, kind)| *kind == PhoneKind::Foreign { in_plan: true })
    }

    /// The number that these groups are together.
    fn classify(&self, range: &Range<usize>) -> Option<(String, PhoneKind)> {
        let groups: Vec<&str> = range.clone().map(|at| self.groups.digits(at)).collect();
        let joined = groups.concat();
        let hang_together = range
            .clone()
            .skip(1)
            .all(|at| matches!(self.groups.joint(at), Joint::Space | Joint::Hyphen));
        if joined.len() > DIGITS_MAX || !hang_together && !self.groups.is_punctuated(range.clone())
        {
            return None;
        }
        let plus = self.groups.plus(range.start);
        if let Some(found) = self.in_region(range, &joined) {
            return Some(found);
        }
        if plus || joined.starts_with("00") {
            let dialled = joined.strip_prefix("00").unwrap_or(&joined);
            if dialled.starts_with("86") {
                return plans::mainland(dialled);
            }
            // People write +13800000001, and 64330000+64330001 for two numbers.
            let mainland = || {
                let found = plans::mainland(dialled)?;
                let is_one =
                    found.1 == PhoneKind::Mobile || self.groups.is_joined_by_plus(range.start);
                (plus && is_one).then_some(found)
            };
            // +01 415 555 0100 is no mobile number of the mainland.
            let north_american = || {
                let bare = dialled.strip_prefix('0').filter(|_| plus)?;
                plans::abroad(bare.strip_prefix('0').unwrap_or(bare)).filter(|(digits, kind)| {
                    digits.starts_with('1') && *kind == PhoneKind::Foreign { in_plan: true }
                })
            };
            if let Some(found) = north_american() {
                return Some(found);
            }
            return plans::abroad(dialled)
                .filter(|(_, kind)| *kind == PhoneKind::Foreign { in_plan: true })
                .or_else(mainland)
                .or_else(|| plans::abroad(dialled));
        }
        // 1 (415) 555-0100 has as many digits as a mobile number of the mainland.
        if groups.len() > 1
            && groups[0] == "1"
            && let Some(found) = plans::bare_abroad(&groups)
        {
            return Some(found);
        }
        if groups.len() == 1 && plans::is_short(&joined) {
            return Some((joined, PhoneKind::Short95));
        }
        plans::mainland(&joined)
            .filter(|(digits, _)| {
                // 886-2-2345 is the start of something else.
                digits.len() != 8 || groups.len() < 3 || groups.iter().all(|group| group.len() == 2)
            })
            .or_else(|| plans::bare_abroad(&groups))
    }
}

/// Whether a last group may be the end of a range of numbers: the last digits of one of the next few.
fn is_range(digits: &str, last: &str) -> bool {
    let most = match last.len() {
        1 => 2,
        2 => 9,
        _ => return false,
    };
    let end = digits
        .len()
        .checked_sub(last.len())
        .and_then(|at| digits.get(at..))
        .and_then(|end| end.parse::<u8>().ok());
    match (end, last.parse::<u8>()) {
        (Some(end), Ok(last)) => (1..=most).contains(&last.saturating_sub(end)),
        _ => false,
    }
}
