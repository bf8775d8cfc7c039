//! Digits that belong to words beside a number: times, dates, floors, amounts, the number of an account.

use std::ops::Range;

use super::{
    groups::{Groups, Joint},
    plans,
};

/// Digits of a number that counts something: `8点`, `1203室`.
const COUNT_DIGITS_MAX: usize = 4;
/// What follows a number that counts something.
const UNITS: &str = "点點时時號号楼层層室元块月日年秒折人个個岁歲栋幢弄级期路巷村组隊队届度位名家间間店座半周天岁班%℃‰小";
/// What stands before a number that is none to call.
const OTHER_NUMBERS: &[&str] = &["qq", "邮编", "邮政编码", "工号", "扣扣"];
/// What stands between the ends of a time or of a range.
const RANGE: &[char] = &['-', '~', '〜', '至', '到', '/', '.', '×', '*', ' '];

/// For each group whether it belongs to words whatever else might be read from it.
pub(super) fn certain(groups: &Groups<'_>) -> Vec<bool> {
    let all = 0..groups.len();
    let mut words: Vec<bool> = all.clone().map(|at| counts_something(groups, at)).collect();
    for at in all.clone() {
        if is_time(groups, at) {
            words[at] = true;
            words[at + 1] = true;
        }
        if is_date(groups, at) {
            words[at..at + 3].fill(true);
        }
        if is_pair(groups, at) {
            words[at..at + 2].fill(true);
        }
        if is_other_number(groups, at) {
            words[at] = true;
        }
    }
    // The other end of a range: 9-18点, 2-301室.
    let hang_together = |at: usize| {
        let gap = groups.gap(at);
        !gap.is_empty() && gap.trim() != "" && gap.chars().all(|c| RANGE.contains(&c))
    };
    let is_short = |at: usize| groups.digits(at).len() <= 2 && !groups.plus(at);
    for at in all.clone().skip(1).rev() {
        words[at - 1] |=
            words[at] && is_short(at - 1) && hang_together(at) && stands_apart(groups, at - 1);
    }
    for at in all.skip(1) {
        words[at] |= words[at - 1] && is_short(at) && hang_together(at);
    }
    words
}

/// Whether groups that are part of no number belong to words: few digits in or beside a word, or the number of an item.
pub(super) fn likely(groups: &Groups<'_>, range: Range<usize>) -> bool {
    let (at, behind) = (range.start, groups.gap(range.end));
    let before = groups.gap(at);
    let digits: usize = range.map(|at| groups.digits(at).len()).sum();
    // 62345678至80: the end of a range of numbers.
    let ends_range = at > 0
        && matches!(before.trim(), "至" | "到")
        && groups.digits(at - 1).len() > COUNT_DIGITS_MAX
        && !behind.chars().next().is_some_and(is_word_char);
    if digits > COUNT_DIGITS_MAX || groups.plus(at) || ends_range {
        return false;
    }
    let in_word = before.chars().next_back().is_some_and(is_word_char)
        || behind.chars().next().is_some_and(is_word_char);
    // 3F, B1, zhang_88, zhang@163.com
    let after_letter = before
        .trim_end_matches(['_', '-', '.'])
        .ends_with(|c: char| c.is_ascii_alphabetic() || c == '@');
    let before_letter = behind.starts_with(|c: char| c.is_ascii_alphabetic() || c == '@');
    let lettered =
        (after_letter || before_letter) && matches!(groups.joint(at), Joint::Apart | Joint::Space);
    let amount = before.ends_with(['¥', '￥', '$', '€']);
    in_word || lettered || amount || is_item(groups, at)
}

/// A unit follows: `8点`, `3楼`.
fn counts_something(groups: &Groups<'_>, at: usize) -> bool {
    let behind = groups.gap(at + 1).trim_start();
    let clock = ["am", "pm", "a.m", "p.m", "hrs", "hours"];
    let hours = behind
        .strip_prefix('h')
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()));
    groups.digits(at).len() <= COUNT_DIGITS_MAX
        && !groups.plus(at)
        && (behind.starts_with(|c| UNITS.contains(c))
            || hours
            || clock.iter().any(|word| behind.starts_with(word)))
}

/// `9:00`; the group behind the colon has just two digits.
fn is_time(groups: &Groups<'_>, at: usize) -> bool {
    at + 1 < groups.len()
        && matches!(groups.gap(at + 1), ":" | ": " | ";")
        && groups.digits(at).len() <= 2
        && groups.digits(at + 1).len() == 2
        && groups.digits(at).parse().is_ok_and(|hour: u8| hour <= 24)
}

/// `2025-08-11` in any of its spellings.
fn is_date(groups: &Groups<'_>, at: usize) -> bool {
    let number = |at: usize| groups.digits(at).parse().unwrap_or(0_u32);
    at + 2 < groups.len()
        && !groups.plus(at)
        && groups.digits(at).len() == 4
        && (1900..2100).contains(&number(at))
        && (1..=12).contains(&number(at + 1))
        && (1..=31).contains(&number(at + 2))
        && groups.digits(at + 1).len() <= 2
        && groups.digits(at + 2).len() <= 2
        && matches!(groups.gap(at + 1), "-" | "." | "/")
        && groups.gap(at + 1) == groups.gap(at + 2)
}

/// `12/25`, `2025.08`, `0.5`, `9-18`: two groups that are no part of a number.
fn is_pair(groups: &Groups<'_>, at: usize) -> bool {
    let end = at + 2;
    if end > groups.len() || groups.plus(at) || !is_opened(groups, at) {
        return false;
    }
    let closed = matches!(groups.joint(end), Joint::Apart | Joint::Comma)
        && !groups.gap(end).starts_with('e');
    let (first, second) = (groups.digits(at), groups.digits(at + 1));
    let number = |digits: &str| digits.parse().unwrap_or(0_u32);
    let lengths = (first.len(), second.len());
    closed
        && match groups.gap(at + 1) {
            "/" => {
                lengths.0 <= 2
                    && lengths.1 <= 2
                    && (1..=12).contains(&number(first))
                    && (1..=31).contains(&number(second))
            }
            "." if lengths.0 <= 3 && lengths.1 <= 2 => true,
            "." | "-" if lengths == (4, 2) => {
                (1990..2050).contains(&number(first)) && (1..=12).contains(&number(second))
            }
            "-" | "~" => {
                lengths.0 <= 2 && lengths.1 <= 2 && number(first) <= 24 && number(second) <= 24
            }
            _ => false,
        }
}

/// Something opens before a group, so that it belongs to nothing before it.
fn is_opened(groups: &Groups<'_>, at: usize) -> bool {
    let before = groups.gap(at);
    at == 0
        || before.ends_with([' ', '(', '['])
        || before.chars().next_back().is_some_and(is_word_char)
}

/// `QQ 23456789`, `邮编200030`.
fn is_other_number(groups: &Groups<'_>, at: usize) -> bool {
    let before = groups
        .gap(at)
        .trim_end_matches([' ', ':', '号', '號', '码', '#', '(', '-', '.']);
    OTHER_NUMBERS.iter().any(|word| before.ends_with(word)) && !plans::is_mobile(groups.digits(at))
}

/// The number of an item in a list: `1. 13800000001 2、13900000001`.
fn is_item(groups: &Groups<'_>, at: usize) -> bool {
    at + 1 < groups.len()
        && groups.digits(at).len() == 1
        && matches!(
            groups.gap(at + 1).trim_end(),
            "." | "、" | ")" | ":" | ".+" | "、+" | ":+"
        )
        && groups.digits(at + 1).len() >= 2
        && stands_apart(groups, at)
}

/// Nothing that could belong to the same number stands directly before a group.
fn stands_apart(groups: &Groups<'_>, at: usize) -> bool {
    let before = groups.gap(at);
    at == 0
        || before.contains([' ', '(', '[', ',', ';', '/', '、'])
        || before.chars().any(is_word_char)
        || groups.digits(at - 1).len() > COUNT_DIGITS_MAX
}

/// Characters of words, those that join two numbers excepted.
fn is_word_char(c: char) -> bool {
    c.is_alphabetic() && !c.is_ascii() && !matches!(c, '或' | '和' | '及' | '与' | '转' | '轉')
}
