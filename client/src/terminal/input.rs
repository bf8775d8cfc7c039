//! What the user typed → records, keys and edits.

use lianka_client_core::Identity;
use lianka_sync_core::{
    crdt::{record::Edit, view::View},
    id::RecordId,
    key::{self, NOTE},
    kinds::{Kind, Rule, Shape, shop_card},
    time::DeviceTime,
    values::{address::Address, date, text},
};

use super::advice::Failure;
use crate::phone::Phone;

/// Shorter pieces of an id name nothing.
const ID_PIECE_CHARS_MIN: usize = 4;
/// Digits of a row number.
const ROW_DIGITS_MAX: usize = 5;
/// China has one time zone: UTC+8.
const ZONE_MS: i64 = 8 * 3_600_000;

/// A record by row number of the last list, by id, or by the unique beginning or end of one.
pub(super) fn record(phone: &Phone, typed: &str) -> Result<RecordId, Failure> {
    let typed = typed.trim().to_ascii_lowercase();
    if typed.len() <= ROW_DIGITS_MAX
        && !typed.starts_with('0')
        && let Ok(row) = typed.parse::<i64>()
    {
        return phone.listed(row)?.ok_or(Failure::NoSuchRow(row));
    }
    let fits = |record: &RecordId| {
        let id = record.to_string();
        id.starts_with(&typed) || id.ends_with(&typed)
    };
    let mut found: Vec<_> = phone.records()?;
    found.retain(fits);
    match found.as_slice() {
        [record] if typed.len() >= ID_PIECE_CHARS_MIN => Ok(*record),
        [] | [_] => Err(Failure::NoSuchRecord(typed)),
        several => Err(Failure::NotUnique(typed, several.len())),
    }
}

/// Text as it is stored: NFC, no blanks around it.
pub(super) fn clean(typed: &str) -> String {
    text::nfc(typed.trim()).into_owned()
}

/// The key that a field's name stands for: its key, its Chinese label, or an entry by its number (`contacts/1/phones`).
pub(super) fn key(kind: Kind, view: Option<&View>, typed: &str) -> Result<String, Failure> {
    let typed = clean(typed);
    let (head, rest) = typed
        .split_once('/')
        .map_or((typed.as_str(), None), |(head, rest)| (head, Some(rest)));
    let name_of = |label: &str| {
        let field = kind
            .fields()
            .iter()
            .find(|field| !matches!(field.shape, Shape::Entry { .. }) && field.label_zh == label);
        field.map_or_else(|| label.to_owned(), |field| field.name.to_owned())
    };
    let key = match rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
        None => name_of(head),
        Some((member, "")) => format!("{}/{member}", name_of(head)),
        Some((entry, field)) => match (entry.parse::<usize>(), view) {
            (Ok(number), Some(view)) => {
                let entries = view.entries(head);
                let entry = number
                    .checked_sub(1)
                    .and_then(|at| entries.get(at))
                    .ok_or_else(|| Failure::NoSuchEntry(typed.clone()))?;
                format!("{head}/{entry}/{field}")
            }
            _ => typed.clone(),
        },
    };
    if key == NOTE || kind.field(&key).is_some() {
        Ok(key)
    } else {
        Err(Failure::NoSuchField(typed))
    }
}

/// `field=value`; an empty value clears. `tags/x` alone adds a member.
pub(super) fn assignment(kind: Kind, view: Option<&View>, typed: &str) -> Result<Edit, Failure> {
    let (name, value) = typed
        .split_once('=')
        .map_or((typed, None), |(name, value)| (name, Some(clean(value))));
    let key = key(kind, view, name)?;
    if key == NOTE {
        let text = value.ok_or_else(|| Failure::NotAnAssignment(typed.to_owned()))?;
        return Ok(Edit::Note { text });
    }
    let rule = kind.field(&key).map(|(field, _)| field.rule);
    match (rule, value) {
        (Some(Rule::Flag), Some(value))
            if matches!(value.as_str(), "" | "0" | "no" | "false" | "否") =>
        {
            Ok(Edit::Delete { key })
        }
        (Some(Rule::Flag), _) => Ok(Edit::add(key)),
        (_, None) => Err(Failure::NotAnAssignment(typed.to_owned())),
        // A day as people write it has one stored form.
        (Some(Rule::Date), Some(value)) => Ok(Edit::set(
            key,
            &date::parse(&value).map_or(value, date::to_iso),
        )),
        (_, Some(value)) => Ok(Edit::set(key, &value)),
    }
}

/// An address taken apart; the roads of the phone's own cards are the road table. What was typed is kept too.
pub(super) fn address(phone: &Phone, typed: &str) -> Result<Vec<Edit>, Failure> {
    let mut roads: Vec<String> = phone
        .cards()?
        .into_iter()
        .filter_map(|card| card.road)
        .collect();
    roads.sort_unstable();
    roads.dedup();
    let roads: Vec<_> = roads.iter().map(String::as_str).collect();
    let parsed = Address::parse(typed, &roads);
    let parts = shop_card::address(&parsed, &clean(typed));
    Ok(parts
        .into_iter()
        .map(|(key, text)| Edit::set(key, &text))
        .collect())
}

/// The grid of a new card: as said, as among the fields, or the only one there is.
pub(super) fn grid(
    identity: &Identity,
    said: Option<&str>,
    edits: &mut Vec<Edit>,
) -> Result<String, Failure> {
    let among = edits
        .iter()
        .position(|edit| matches!(edit, Edit::Put { key, .. } if key == key::GRID));
    let among = among
        .map(|at| edits.remove(at))
        .and_then(|edit| match edit {
            Edit::Put { value, .. } => value.as_str().map(str::to_owned),
            Edit::Delete { .. } | Edit::Note { .. } => None,
        });
    let typed = said.map(clean).or(among);
    match (typed, identity.grids.as_slice()) {
        // By its code, or by its name.
        (Some(typed), grids) => Ok(grids
            .iter()
            .find(|grid| grid.grid == typed || grid.name == typed)
            .map_or(typed, |grid| grid.grid.clone())),
        (None, [only]) => Ok(only.grid.clone()),
        (None, grids) => Err(Failure::WhichGrid(
            grids.iter().map(|grid| grid.grid.clone()).collect(),
        )),
    }
}

/// The day in China, as it is stored.
pub(super) fn today(now: DeviceTime) -> String {
    date::to_iso(
        time::OffsetDateTime::from(DeviceTime::from_unix_ms(now.unix_ms() + ZONE_MS)).date(),
    )
}
