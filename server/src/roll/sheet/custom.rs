//! Columns that the catalogue does not know: fields of the street's own, their types guessed from their values.

use std::collections::BTreeMap;

use lianka_sync_core::values::{date, text};

use crate::roll::sheet::{ColumnTarget, CustomField, CustomKind, RollColumn, cell::one_line};

/// Choices of a guessed choice field, and how often each must occur on average.
const CHOICES_MAX: usize = 12;
const CHOICE_REPEATS_MIN: usize = 3;
const CHOICE_CHARS_MAX: usize = 20;

/// The fields of the columns that the catalogue does not know, from the left.
pub(crate) fn custom_fields(
    columns: &[RollColumn],
    below: &[(u32, Vec<String>)],
) -> Vec<CustomField> {
    let custom = columns
        .iter()
        .enumerate()
        .filter_map(|(at, column)| match &column.target {
            ColumnTarget::Custom(name) => Some((at, column, name)),
            _ => None,
        });
    custom
        .filter_map(|(at, column, name)| {
            let values: Vec<String> = below
                .iter()
                .filter_map(|(_, cells)| cells.get(at))
                .map(|c| one_line(c))
                .filter(|c| !c.is_empty())
                .collect();
            // A column of letters only has neither heading nor value: nothing to keep.
            let named = column.heading != column.letters;
            (named || !values.is_empty()).then(|| CustomField {
                name: name.clone(),
                label: column.heading.clone(),
                kind: kind_of(&values),
            })
        })
        .collect()
}

fn kind_of(values: &[String]) -> CustomKind {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    if values.is_empty() {
        return CustomKind::Text;
    }
    // A bare five-digit number reads as an Excel serial; a column of those is a column of numbers.
    if values
        .iter()
        .all(|v| number(v).is_none() && date::parse(v).is_some())
    {
        return CustomKind::Date;
    }
    if values.iter().all(|v| number(v).is_some()) {
        return CustomKind::Number;
    }
    let short = counts.keys().all(|v| v.chars().count() <= CHOICE_CHARS_MAX);
    if short && counts.len() <= CHOICES_MAX && values.len() >= CHOICE_REPEATS_MIN * counts.len() {
        let mut choices: Vec<(usize, &str)> = counts
            .into_iter()
            .map(|(value, count)| (count, value))
            .collect();
        choices.sort_by_key(|&(count, value)| (std::cmp::Reverse(count), value));
        return CustomKind::Choice(
            choices
                .into_iter()
                .map(|(_, value)| value.to_owned())
                .collect(),
        );
    }
    CustomKind::Text
}

/// A plain decimal number without leading zeros, which mark a code: 007.
pub(crate) fn number(text: &str) -> Option<String> {
    let plain = text::half_width(text).replace(',', "");
    let digits = plain.strip_prefix('-').unwrap_or(&plain);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let plain_whole = whole == "0" || !whole.starts_with('0');
    (all_digits(whole) && all_digits(fraction) && plain_whole && digits.len() <= 15)
        .then_some(plain)
}
