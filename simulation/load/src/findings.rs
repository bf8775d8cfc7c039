//! What the phones wrote against what the office shows: whether any edit is missing, and whether every conflict is laid open.
//!
//! Input: everything written while offline ([`Written`]) and the merged roll. Output: [`Findings`]. No value may be lost: it is either the
//! one shown, or one of those in conflict. The plans of demo and storm write every value once, and a field of a card is written by one phone, or by
//! two that do not know of each other; so what is expected needs no model of the merge.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    codec::change::Scalar,
    id::RecordId,
    kinds::{
        Kind,
        projection::{CardRow, Projected},
    },
};

/// One field that a phone wrote while it was offline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    pub phone: usize,
    /// The phone's own count of its edits.
    pub edit: usize,
    pub record: RecordId,
    pub key: String,
    pub value: String,
}

/// A field that several phones wrote without knowing of each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    pub record: RecordId,
    pub key: String,
    pub values: BTreeSet<String>,
    /// Whether the catalogue keeps the values for people to choose. Where it takes a deterministic winner (业态, the address as typed), they are
    /// read from the record instead of the roll's list of conflicts.
    pub listed: bool,
}

/// The conflicts that must be there.
pub fn expected_conflicts(written: &[Written]) -> Vec<Expected> {
    let mut by_field: BTreeMap<(RecordId, &str), Vec<&Written>> = BTreeMap::new();
    for write in written {
        by_field
            .entry((write.record, &write.key))
            .or_default()
            .push(write);
    }
    let contested = by_field
        .into_iter()
        .filter(|(_, writes)| writes.iter().any(|write| write.phone != writes[0].phone));
    contested
        .map(|((record, key), writes)| Expected {
            record,
            key: key.to_owned(),
            values: writes
                .into_iter()
                .map(|write| write.value.clone())
                .collect(),
            listed: Kind::ShopCard
                .field(key)
                .is_some_and(|(field, _)| field.keeps_conflicts()),
        })
        .collect()
}

/// Every concurrent value of fields whose conflicts the roll does not list, by record and key.
pub type UnlistedValues = BTreeMap<(RecordId, String), Vec<Scalar>>;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    pub edits: usize,
    /// Phone and number of every edit with a value that is nowhere.
    pub edits_missing: BTreeSet<(usize, usize)>,
    pub conflicts_expected: usize,
    /// Of those, how many show all their values.
    pub conflicts_visible: usize,
    /// Of the expected ones, those in the roll's own list, and how many of them it shows.
    pub conflicts_listed: (usize, usize),
    /// Fields in conflict that nobody wrote twice.
    pub conflicts_unexpected: usize,
}

/// Compares what was written with the roll.
pub fn judge(
    written: &[Written],
    roll: &BTreeMap<RecordId, Projected>,
    unlisted: &UnlistedValues,
) -> Findings {
    let rows: BTreeMap<_, _> = roll
        .values()
        .filter_map(|card| Some((card.record(), row(card)?)))
        .collect();
    let values = |record: RecordId, key: &str| -> BTreeSet<&str> {
        let listed = rows.get(&record).into_iter().flat_map(|row| {
            row.conflicts
                .iter()
                .filter(|conflict| conflict.field == key)
        });
        let shown = rows.get(&record).and_then(|row| shown(row, key));
        let unlisted = unlisted
            .get(&(record, key.to_owned()))
            .into_iter()
            .flatten()
            .filter_map(Scalar::as_str);
        listed
            .filter_map(|conflict| conflict.value.as_str())
            .chain(shown)
            .chain(unlisted)
            .collect()
    };
    let expected = expected_conflicts(written);
    let visible = |expected: &&Expected| {
        let found = values(expected.record, &expected.key);
        expected
            .values
            .iter()
            .all(|value| found.contains(value.as_str()))
    };
    let contested: BTreeSet<_> = expected
        .iter()
        .map(|expected| (expected.record, expected.key.as_str()))
        .collect();
    let found: BTreeSet<_> = rows
        .values()
        .flat_map(|row| {
            row.conflicts
                .iter()
                .map(|conflict| (row.record, conflict.field.as_str()))
        })
        .collect();
    let missing = written
        .iter()
        .filter(|write| !values(write.record, &write.key).contains(write.value.as_str()));
    Findings {
        edits: written
            .iter()
            .map(|write| (write.phone, write.edit))
            .collect::<BTreeSet<_>>()
            .len(),
        edits_missing: missing.map(|write| (write.phone, write.edit)).collect(),
        conflicts_expected: expected.len(),
        conflicts_visible: expected.iter().filter(visible).count(),
        conflicts_listed: (
            expected.iter().filter(|expected| expected.listed).count(),
            expected
                .iter()
                .filter(|expected| expected.listed)
                .filter(visible)
                .count(),
        ),
        conflicts_unexpected: found.difference(&contested).count(),
    }
}

/// How many of the conflicts that the catalogue lists are listed in a phone's own cards, of those on cards that the phone holds.
pub fn seen_by_phone(
    expected: &[Expected],
    cards: &BTreeMap<RecordId, Projected>,
) -> (usize, usize) {
    let held = expected
        .iter()
        .filter(|expected| expected.listed)
        .filter_map(|expected| Some((expected, cards.get(&expected.record)?)));
    let (mut holds, mut sees) = (0, 0);
    for (expected, card) in held {
        let of_key = card
            .conflicts()
            .iter()
            .filter(|conflict| conflict.field == expected.key);
        let found: BTreeSet<_> = of_key
            .filter_map(|conflict| conflict.value.as_str())
            .collect();
        holds += 1;
        sees += usize::from(
            expected
                .values
                .iter()
                .all(|value| found.contains(value.as_str())),
        );
    }
    (holds, sees)
}

fn row(card: &Projected) -> Option<&CardRow> {
    match card {
        Projected::ShopCard(row) => Some(row),
        _ => None,
    }
}

/// The value of a key that the roll shows.
pub fn shown<'r>(row: &'r CardRow, key: &str) -> Option<&'r str> {
    let mut parts = key.split('/');
    match (parts.next()?, parts.next(), parts.next()) {
        ("custom", Some(name), None) => row.custom.get(name),
        ("contacts", Some(entry), Some(field)) => {
            let contact = row
                .contacts
                .iter()
                .find(|contact| contact.entry.to_string() == entry)?;
            match field {
                "name" => contact.name.as_ref(),
                "phones" => contact.phones.as_ref(),
                "role" => contact.role.as_ref(),
                "preferred_time" => contact.preferred_time.as_ref(),
                _ => None,
            }
        }
        ("sign_name", None, None) => row.sign_name.as_ref(),
        ("legal_name", None, None) => row.legal_name.as_ref(),
        ("credit_code", None, None) => row.credit_code.as_ref(),
        ("category", None, None) => row.category.as_ref(),
        ("unit", None, None) => row.unit.as_ref(),
        ("address_raw", None, None) => row.address_raw.as_ref(),
        ("opening_hours", None, None) => row.opening_hours.as_ref(),
        ("note", None, None) => row.note.as_ref(),
        _ => None,
    }
    .map(String::as_str)
}

#[cfg(test)]
mod tests {
    use lianka_sync_core::{id::DeviceId, kinds::projection::ConflictRow};
    use uuid::Uuid;

    use super::*;

    fn written(phone: usize, edit: usize, record: u128, key: &str, value: &str) -> Written {
        Written {
            phone,
            edit,
            record: RecordId(Uuid::from_u128(record)),
            key: key.into(),
            value: value.into(),
        }
    }

    fn conflict(field: &str, value: &str) -> ConflictRow {
        ConflictRow {
            field: field.into(),
            op: String::new(),
            value: value.into(),
            device: DeviceId::default(),
            device_time: None,
        }
    }

    fn roll(rows: Vec<CardRow>) -> BTreeMap<RecordId, Projected> {
        rows.into_iter()
            .map(|row| (row.record, Projected::ShopCard(Box::new(row))))
            .collect()
    }

    fn plan() -> Vec<Written> {
        vec![
            written(0, 0, 1, "sign_name", "甲"),
            written(1, 0, 1, "sign_name", "乙"),
            written(0, 1, 1, "opening_hours", "丙"),
            written(1, 1, 2, "category", "丁"),
            written(2, 0, 2, "category", "戊"),
        ]
    }

    #[test]
    fn two_phones_on_one_field_are_a_conflict() {
        let expected = expected_conflicts(&plan());
        let told: Vec<_> = expected
            .iter()
            .map(|expected| {
                (
                    expected.key.as_str(),
                    expected.values.len(),
                    expected.listed,
                )
            })
            .collect();
        assert_eq!(
            told,
            [("sign_name", 2, true), ("category", 2, false)],
            "a category has a winner, and is not listed"
        );
    }

    #[test]
    fn a_value_is_found_where_it_is_shown_listed_or_in_the_record() {
        let record = |n| RecordId(Uuid::from_u128(n));
        let first = CardRow {
            record: record(1),
            sign_name: Some("乙".into()),
            opening_hours: Some("丙".into()),
            conflicts: vec![conflict("sign_name", "甲"), conflict("sign_name", "乙")],
            ..CardRow::default()
        };
        let second = CardRow {
            record: record(2),
            category: Some("戊".into()),
            ..CardRow::default()
        };
        let unlisted = UnlistedValues::from([(
            (record(2), "category".to_owned()),
            vec!["丁".into(), "戊".into()],
        )]);
        let all = judge(
            &plan(),
            &roll(vec![first.clone(), second.clone()]),
            &unlisted,
        );
        assert_eq!(
            (
                all.edits,
                all.edits_missing.len(),
                all.conflicts_expected,
                all.conflicts_visible
            ),
            (5, 0, 2, 2)
        );
        assert_eq!(
            (all.conflicts_listed, all.conflicts_unexpected),
            ((1, 1), 0)
        );

        let loser_hidden = judge(
            &plan(),
            &roll(vec![first.clone(), second.clone()]),
            &UnlistedValues::new(),
        );
        assert_eq!(loser_hidden.edits_missing, [(1, 1)].into());
        assert_eq!(loser_hidden.conflicts_visible, 1);

        let card_gone = judge(&plan(), &roll(vec![second]), &unlisted);
        assert_eq!(card_gone.edits_missing, [(0, 0), (1, 0), (0, 1)].into());

        let mut also = first;
        also.conflicts.push(conflict("legal_name", "己"));
        assert_eq!(
            judge(&plan(), &roll(vec![also]), &unlisted).conflicts_unexpected,
            1
        );
    }
}
