//! A workload's words in Lianka's: which key a field becomes, and the edits that create a card or change it.
//!
//! Fields with a counterpart in the catalogue take its key; the others are the street's own columns, `custom/<name>`. That goes for the
//! workload's `grid` and `phone` too: who may see a card is decided by its real grid, and the shop's number is no contact person's.

use lianka_sync_core::{crdt::record::Edit, id::EntryId};

use crate::workload::{Card, CardEdit};

/// The key of a workload's field.
pub fn key(field: &str) -> String {
    match field {
        "name" => "sign_name".into(),
        "address" => "address_raw".into(),
        "category" => "category".into(),
        "licence" => "credit_code".into(),
        "hours" => "opening_hours".into(),
        other => format!("custom/{other}"),
    }
}

/// The edits that create the card at position `index` of the roll; kind, street and grid are the phone's to add.
pub fn creation(card: &Card, index: usize) -> Vec<Edit> {
    let fields = card
        .fields
        .iter()
        .map(|(field, value)| Edit::set(key(field), value));
    let tags = card.tags.iter().map(|tag| Edit::add(format!("tags/{tag}")));
    let contacts = card
        .contacts
        .iter()
        .enumerate()
        .flat_map(|(place, contact)| {
            let entry = contact_entry(index, place);
            [
                ("name", &contact.name),
                ("phones", &contact.phone),
                ("role", &contact.role),
            ]
            .map(|(field, value)| Edit::set(format!("contacts/{entry}/{field}"), value))
        });
    fields
        .chain(tags)
        .chain(contacts)
        .chain([Edit::Note {
            text: card.note.clone(),
        }])
        .collect()
}

/// The edits of one change of a phone.
pub fn change(edit: &CardEdit) -> Vec<Edit> {
    edit.set
        .iter()
        .map(|(field, value)| Edit::set(key(field), value))
        .collect()
}

/// A contact person's entry id: the same for the same place in the same roll, ascending in the roll's order.
fn contact_entry(card: usize, place: usize) -> EntryId {
    /// 2026-11-21T00:00:00Z, the day the workload plays on.
    const DAY_MS: u64 = 1_795_219_200_000;
    let mut entropy = [0; 10];
    entropy[2..].copy_from_slice(&((card as u64) << 8 | place as u64).to_be_bytes());
    EntryId::new_v7(DAY_MS, entropy)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lianka_sync_core::{access::Role, authority::check_write, kinds::Kind};

    use super::*;
    use crate::workload::{Arguments, generate};

    /// What the catalogue refuses on the phone would end the storm before it begins.
    #[test]
    fn every_write_obeys_the_catalogue() {
        let workload = generate(&Arguments {
            shops: 120,
            phones: 4,
            edits: 30,
            seed: 3,
        })
        .expect("possible");
        let created = workload
            .cards
            .iter()
            .enumerate()
            .flat_map(|(index, card)| creation(card, index))
            .map(|edit| (true, edit));
        let changed = workload
            .phones
            .iter()
            .flat_map(|phone| &phone.edits)
            .flat_map(change)
            .map(|edit| (false, edit));
        let mut keys = BTreeSet::new();
        for (creating, edit) in created.chain(changed) {
            match edit {
                Edit::Put { key, value } => {
                    let checked = check_write(
                        Kind::ShopCard,
                        Role::Secretary,
                        creating,
                        &key,
                        Some(&value),
                    );
                    assert!(checked.is_ok(), "{key} {value:?}: {checked:?}");
                    keys.insert(key);
                }
                Edit::Note { text } => assert!(!text.is_empty()),
                Edit::Delete { key } => panic!("{key} would be deleted"),
            }
        }
        for (field, expected) in [
            ("name", "sign_name"),
            ("address", "address_raw"),
            ("licence", "credit_code"),
            ("grid", "custom/grid"),
        ] {
            assert_eq!(key(field), expected);
            assert!(keys.contains(expected), "{expected}");
        }
        assert!(
            !keys.contains("grid"),
            "the card's own grid is not the workload's"
        );
    }

    #[test]
    fn contact_entries_ascend_with_the_roll() {
        let entries: Vec<_> = [(0, 0), (0, 1), (1, 0), (255, 1), (256, 0), (1399, 1)]
            .map(|(card, place)| contact_entry(card, place))
            .to_vec();
        assert!(entries.is_sorted_by(|a, b| a < b), "{entries:?}");
    }
}
