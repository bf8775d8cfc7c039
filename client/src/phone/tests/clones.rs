//! Two copies of one phone's file write under one name. What one of them wrote the other had not seen, and is not replaced by it.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    crdt::view::{Value, View},
    id::EntryId,
};
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert_eq, prop_oneof, proptest};

use super::*;

/// One phone, `copies` times, each with the card in sight.
fn copies(office: &mut MemoryOffice, copies: u64) -> (RecordId, Vec<Rig>) {
    let record = card(office, 1);
    let first = Rig::new(1, office);
    first.sync(office);
    let others = (1..copies).map(|seed| cloned(&first, 70 + seed));
    let mut rigs: Vec<_> = others.collect();
    rigs.insert(0, first);
    (record, rigs)
}

fn values(view: &View, key: &str) -> Vec<String> {
    let held = view.values.get(key).into_iter().flatten();
    let text = |held: &Value| held.value.as_str().unwrap_or("true").to_owned();
    let mut texts: Vec<_> = held.map(text).collect();
    texts.sort();
    texts
}

fn at_office(office: &MemoryOffice, record: RecordId, key: &str) -> Vec<String> {
    values(&office.document(record).view().unwrap(), key)
}

fn all_settle(office: &mut MemoryOffice, rigs: &[Rig]) {
    settle(office, &rigs.iter().collect::<Vec<_>>());
}

#[test]
fn what_two_copies_write_stands_side_by_side() {
    let entry = format!("contacts/{}/phones", EntryId(Uuid::from_u128(0xc1)));
    // Of a field that was empty, of one that was not, of a person; whichever copy is first.
    for key in ["unit", "sign_name", &entry] {
        for first in [0, 1] {
            let mut office = MemoryOffice::new();
            let (record, rigs) = copies(&mut office, 2);
            rigs[0].set(record, key, "1");
            rigs[1].set(record, key, "2");
            rigs[first].sync(&mut office);
            rigs[1 - first].sync(&mut office);
            assert_eq!(at_office(&office, record, key), ["1", "2"], "{key}");
            all_settle(&mut office, &rigs);
            for rig in &rigs {
                assert_eq!(rig.phone.cards().unwrap()[0].conflicts.len(), 1, "{key}");
            }
            // Whoever saw both settles it, also by a phone that is a copy.
            rigs[1].set(record, key, "3");
            all_settle(&mut office, &rigs);
            assert_eq!(at_office(&office, record, key), ["3"], "{key}");
        }
    }
}

#[test]
fn later_edits_of_a_copy_replace_its_own_and_not_its_twins() {
    let mut office = MemoryOffice::new();
    let (record, rigs) = copies(&mut office, 2);
    // Operations of both have the same ids: the second edit of each names its own first.
    for (rig, values) in [(&rigs[0], ["1", "2"]), (&rigs[1], ["3", "4"])] {
        for value in values {
            rig.set(record, "unit", value);
        }
    }
    rigs[0].sync(&mut office);
    rigs[1].sync(&mut office);
    assert_eq!(at_office(&office, record, "unit"), ["2", "4"]);
    // The first has not seen the copy's yet, and goes on under the old name; the copy has a new one.
    rigs[0].set(record, "unit", "5");
    rigs[1].set(record, "unit", "6");
    rigs[1].sync(&mut office);
    rigs[0].sync(&mut office);
    assert_eq!(at_office(&office, record, "unit"), ["5", "6"]);
    all_settle(&mut office, &rigs);
}

#[test]
fn a_deletion_takes_nothing_that_a_copy_wrote() {
    let mut office = MemoryOffice::new();
    let (record, rigs) = copies(&mut office, 2);
    rigs[0].set(record, "sign_name", "王记");
    rigs[1].set(record, "sign_name", "");
    // A field that its author had filled and emptied again.
    rigs[0].set(record, "unit", "1");
    rigs[1].set(record, "unit", "2");
    rigs[1].set(record, "unit", "");
    rigs[0].sync(&mut office);
    rigs[1].sync(&mut office);
    all_settle(&mut office, &rigs);
    assert_eq!(at_office(&office, record, "sign_name"), ["王记"]);
    assert_eq!(at_office(&office, record, "unit"), ["1"]);
}

#[test]
fn a_rebuilt_card_and_a_new_enrolment_hide_no_copy() {
    for anew in [false, true] {
        let mut office = MemoryOffice::new();
        let (record, rigs) = copies(&mut office, 2);
        rigs[0].set(record, "unit", "1");
        rigs[0].set(record, "unit", "2");
        rigs[1].set(record, "unit", "3");
        rigs[1].set(record, "unit", "4");
        rigs[0].sync(&mut office);
        let copy = if anew {
            let before = rigs[1].device;
            let device = DeviceId(Uuid::from_u128(0xd777));
            office.enrol_again(before, device);
            let identity = Identity {
                device,
                former_devices: vec![before],
                ..identity(1)
            };
            inside(&rigs[1], |tx| Ok(tx.set_identity(&identity)?));
            device
        } else {
            // The generation is looked at before the numbers of the author are.
            office.compact(record);
            rigs[1].device
        };
        let rig = Rig {
            device: copy,
            ..rigs.into_iter().nth(1).unwrap()
        };
        rig.sync(&mut office);
        assert_eq!(at_office(&office, record, "unit"), ["2", "4"], "{anew}");
    }
}

#[test]
fn what_was_unsent_when_the_file_was_copied_is_one_edit() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let first = Rig::new(1, &mut office);
    first.sync(&mut office);
    first.set(record, "unit", "1");
    let rigs = [cloned(&first, 71), cloned(&first, 72), first];
    for (rig, value) in rigs.iter().zip(["2", "3", "4"]) {
        rig.set(record, "unit", value);
    }
    for rig in &rigs {
        rig.sync(&mut office);
    }
    assert_eq!(at_office(&office, record, "unit"), ["2", "3", "4"]);
    all_settle(&mut office, &rigs);
}

#[test]
fn words_of_two_copies_stand_in_one_note() {
    let mut office = MemoryOffice::new();
    let (record, rigs) = copies(&mut office, 2);
    let write = |rig: &Rig, text: &str| {
        let edit = Edit::Note { text: text.into() };
        rig.phone.edit(record, &[edit], NOW).unwrap();
    };
    // Of the same length at the same places; the copy then takes out a character of its own, which has the id of one of the other's.
    write(&rigs[0], "甲乙丙");
    write(&rigs[1], "丁戊己");
    write(&rigs[1], "丁己");
    rigs[0].sync(&mut office);
    rigs[1].sync(&mut office);
    all_settle(&mut office, &rigs);
    let note = office.document(record).note().unwrap().unwrap();
    for word in ["甲乙丙", "丁己"] {
        assert!(note.contains(word), "{note}");
    }
}

#[test]
fn a_reviewer_who_applies_the_edits_of_one_copy_keeps_those_of_the_other() {
    let mut office = MemoryOffice::new();
    let (record, rigs) = copies(&mut office, 2);
    let write = |rig: &Rig, text: &str, value: &str| {
        let note = Edit::Note { text: text.into() };
        let edits = [note, Edit::set("unit", value)];
        rig.phone.edit(record, &edits, NOW).unwrap().hash.unwrap()
    };
    let first = write(&rigs[0], "甲乙丙", "1");
    write(&rigs[1], "丁戊己", "2");
    // It takes out a character and a value of its copy's own, which have the ids of the other's.
    let later = write(&rigs[1], "丁己", "3");
    office.move_to_grid(record, "B2");
    for rig in &rigs {
        rig.sync(&mut office);
    }
    office.decide_held(first, true);
    office.apply_held(later);
    assert_eq!(at_office(&office, record, "unit"), ["1", "3"]);
    let note = office.document(record).note().unwrap().unwrap();
    assert_eq!(note, "甲乙丙");
}

/// A step of what three copies of a phone do.
#[derive(Clone, Copy, Debug)]
enum Step {
    Put(usize),
    Delete(usize),
    Tag,
    Untag,
    Sync,
    Compact,
}

const KEYS: [&str; 4] = [
    "unit",
    "sign_name",
    "opening_hours",
    "contacts/00000000-0000-0000-0000-0000000000c1/name",
];

/// What stands on the card after the steps: each key with its values.
fn played(steps: &[(usize, Step)], are_copies: bool) -> BTreeMap<String, BTreeSet<String>> {
    let mut office = MemoryOffice::new();
    let (record, rigs) = if are_copies {
        copies(&mut office, 3)
    } else {
        let record = card(&mut office, 1);
        let rigs: Vec<_> = (1..=3).map(|no| Rig::new(no, &mut office)).collect();
        for rig in &rigs {
            rig.sync(&mut office);
        }
        (record, rigs)
    };
    for (no, (rig, step)) in steps.iter().enumerate() {
        let edit = |edit| {
            rigs[*rig].phone.edit(record, &[edit], NOW).unwrap();
        };
        match step {
            Step::Put(key) => edit(Edit::set(KEYS[*key], &format!("{no}"))),
            Step::Delete(key) => edit(Edit::set(KEYS[*key], "")),
            Step::Tag => edit(Edit::add(format!("tags/{no}"))),
            Step::Untag => {
                let view = rigs[*rig].phone.view(record).unwrap();
                let tag = view.values.keys().find(|key| key.starts_with("tags/"));
                if let Some(key) = tag {
                    edit(Edit::Delete { key: key.clone() });
                }
            }
            Step::Sync => {
                rigs[*rig].sync(&mut office);
            }
            Step::Compact => office.compact(record),
        }
    }
    all_settle(&mut office, &rigs);
    let view = office.document(record).view().unwrap();
    let keys = view.values.keys().cloned();
    keys.map(|key| {
        let values = values(&view, &key).into_iter().collect();
        (key, values)
    })
    .collect()
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..KEYS.len()).prop_map(Step::Put),
        2 => (0..KEYS.len()).prop_map(Step::Delete),
        1 => Just(Step::Tag),
        1 => Just(Step::Untag),
        4 => Just(Step::Sync),
        1 => Just(Step::Compact),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Copies of one phone leave what as many phones would have left.
    #[test]
    fn copies_are_as_good_as_phones(steps in proptest::collection::vec((0..3_usize, step()), 1..24)) {
        prop_assert_eq!(played(&steps, true), played(&steps, false));
    }
}
