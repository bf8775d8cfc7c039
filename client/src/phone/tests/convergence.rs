//! Phones that edit offline end up with one roll, conflicts in sight.

use proptest::prelude::*;

use super::*;

#[test]
fn two_phones_converge_and_see_the_conflict() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let (first, second) = (Rig::new(1, &mut office), Rig::new(2, &mut office));
    settle(&mut office, &[&first, &second]);
    first.set(record, "sign_name", "甲");
    second.set(record, "sign_name", "乙");
    second.set(record, "category", "餐饮");
    settle(&mut office, &[&first, &second]);
    for rig in [&first, &second] {
        assert_eq!(rig.phone.cards().unwrap()[0].conflicts, ["sign_name"]);
        let view = rig.phone.view(record).unwrap();
        let values: Vec<_> = view.values["sign_name"]
            .iter()
            .filter_map(|value| value.value.as_str())
            .collect();
        assert_eq!(values.len(), 2);
        assert!(values.contains(&"甲") && values.contains(&"乙"));
    }
    // Writing the field settles it, also with one of the values.
    let winner = first.text(record, "sign_name").unwrap();
    assert!(first.set(record, "sign_name", &winner).hash.is_some());
    settle(&mut office, &[&first, &second]);
    assert!(second.phone.cards().unwrap()[0].conflicts.is_empty());
}

#[test]
fn an_outbox_larger_than_a_request_goes_in_several() {
    let mut office = MemoryOffice::new();
    let records: Vec<_> = (1..=30).map(|number| card(&mut office, number)).collect();
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    for round in 0..70 {
        for record in &records {
            rig.phone
                .edit(
                    *record,
                    &[Edit::set("sign_name", &format!("店{round}"))],
                    NOW,
                )
                .unwrap();
        }
    }
    let mut sizes = Vec::new();
    let tally = rig.sync_cut(&mut office, |_, items| {
        sizes.push(
            items
                .iter()
                .filter(|item| matches!(item, ResponseItem::Verdict(_)))
                .count(),
        );
        Some(items)
    });
    assert_eq!(sizes, [2_000, 100]);
    assert_eq!(tally.unwrap().accepted, 2_100);
    settle(&mut office, &[&rig]);
}

#[derive(Clone, Debug)]
enum Step {
    Set {
        phone: usize,
        record: usize,
        key: usize,
        value: u8,
    },
    Note {
        phone: usize,
        record: usize,
        value: u8,
    },
    Create {
        phone: usize,
        value: u8,
    },
    /// Synchronise; the answer breaks off after so many items, or is lost, or is whole.
    Sync {
        phone: usize,
        keep: Option<usize>,
    },
    Restart {
        phone: usize,
    },
    Rebuild {
        record: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (phone, record) = (0..3_usize, 0..2_usize);
    prop_oneof![
        6 => (phone.clone(), record.clone(), 0..4_usize, any::<u8>()).prop_map(|(phone, record, key, value)| Step::Set { phone, record, key, value }),
        1 => (phone.clone(), record.clone(), any::<u8>()).prop_map(|(phone, record, value)| Step::Note { phone, record, value }),
        1 => (phone.clone(), any::<u8>()).prop_map(|(phone, value)| Step::Create { phone, value }),
        4 => (phone.clone(), proptest::option::of(0..12_usize)).prop_map(|(phone, keep)| Step::Sync { phone, keep }),
        1 => phone.prop_map(|phone| Step::Restart { phone }),
        1 => record.prop_map(|record| Step::Rebuild { record }),
    ]
}

const KEYS: [&str; 4] = [
    "sign_name",
    "opening_hours",
    "tags/late_night",
    "custom/消防",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_schedule_ends_in_one_roll(steps in prop::collection::vec(step(), 1..40), refreshes in any::<bool>(), rebuilds in any::<bool>()) {
        let mut office = MemoryOffice::new();
        office.checkpoint_items = 1;
        let records = [card(&mut office, 1), card(&mut office, 2)];
        let mut rigs = [Rig::new(1, &mut office), Rig::new(2, &mut office), Rig::new(3, &mut office)];
        for rig in &rigs {
            rig.sync(&mut office);
        }
        let mut hashes = Vec::new();
        for step in steps {
            match step {
                Step::Set { phone, record, key, value } => {
                    let edit = if KEYS[key].starts_with("tags") {
                        if value % 2 == 0 { Edit::add(KEYS[key]) } else { Edit::Delete { key: KEYS[key].into() } }
                    } else {
                        Edit::set(KEYS[key], &format!("值{value}"))
                    };
                    hashes.extend(rigs[phone].phone.edit(records[record], &[edit], NOW).unwrap().hash);
                }
                Step::Note { phone, record, value } => {
                    let text = format!("备注{}", "长".repeat(usize::from(value % 9)));
                    hashes.extend(rigs[phone].phone.edit(records[record], &[Edit::Note { text }], NOW).unwrap().hash);
                }
                Step::Create { phone, value } => {
                    let edits = [Edit::set("sign_name", &format!("新{value}"))];
                    hashes.extend(rigs[phone].phone.create_card("A1", &edits, NOW).unwrap().hash);
                }
                Step::Sync { phone, keep: None } => {
                    if refreshes {
                        office.store.refresh();
                    }
                    rigs[phone].sync(&mut office);
                },
                Step::Sync { phone, keep: Some(keep) } => {
                    let _ = rigs[phone].sync_cut(&mut office, |_, mut items| {
                        items.truncate(keep);
                        (keep > 0).then_some(items)
                    });
                }
                Step::Restart { phone } => rigs[phone].restart(),
                Step::Rebuild { record } => if rebuilds { office.compact(records[record]) },
            }
        }
        settle(&mut office, &[&rigs[0], &rigs[1], &rigs[2]]);
        for rig in &rigs {
            prop_assert!(codes(rig).is_empty(), "nothing here deserves a draft: {:?}", rig.phone.drafts());
        }
        // Without a rebuild nothing is ever written anew: each change is there as it was first written.
        if !rebuilds {
            prop_assert!(hashes.into_iter().all(|hash| office.has(hash)));
        }
    }
}
