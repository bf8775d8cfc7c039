//! A server put back from a backup: phones heal it.

use lianka_sync_core::codec::wire::VerdictStatus;

use super::*;
use lianka_client_core::Effect;

#[test]
fn what_the_server_lost_comes_back_from_its_authors() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let (first, second) = (Rig::new(1, &mut office), Rig::new(2, &mut office));
    settle(&mut office, &[&first, &second]);
    first.set(record, "category", "餐饮");
    settle(&mut office, &[&first, &second]);
    let backup = office.clone();
    let mut hashes = vec![first.set(record, "sign_name", "新名").hash.unwrap()];
    first
        .phone
        .edit(
            record,
            &[Edit::Note {
                text: "搬到隔壁".into(),
            }],
            NOW,
        )
        .unwrap();
    settle(&mut office, &[&first, &second]);
    hashes.push(second.set(record, "opening_hours", "9-21").hash.unwrap());
    let made = first
        .phone
        .create_card("A1", &[Edit::set("sign_name", "新店")], NOW)
        .unwrap();
    hashes.extend(made.hash);
    settle(&mut office, &[&first, &second]);
    hashes.push(second.set(made.record, "category", "零售").hash.unwrap());
    settle(&mut office, &[&first, &second]);
    let whole = office.rows();
    office.restore(&backup);
    hashes.push(first.set(record, "unit", "2楼").hash.unwrap());
    // The one whose edits depend on the other's comes first, and waits.
    let tally = second.sync(&mut office);
    assert_eq!(tally.resets, 1);
    assert!(tally.postponed > 0);
    assert_eq!(
        second.text(made.record, "sign_name").as_deref(),
        Some("新店"),
        "the user goes on seeing everything"
    );
    assert_eq!(second.text(record, "sign_name").as_deref(), Some("新名"));
    let tally = first.sync(&mut office);
    // The newest went up with the question whether the office has it.
    assert_eq!((tally.resets, tally.healed, tally.rejected), (1, 2, 0));
    settle(&mut office, &[&first, &second]);
    assert!(
        hashes.into_iter().all(|hash| office.has(hash)),
        "byte for byte"
    );
    assert_eq!(office.rows().len(), whole.len());
    assert_eq!(
        office.document(record).view().unwrap().note.as_deref(),
        Some("搬到隔壁")
    );
    assert!(codes(&first).is_empty() && codes(&second).is_empty());
}

#[test]
fn a_lost_acceptance_of_a_healed_record_costs_no_record() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    let backup = office.clone();
    let made = rig
        .phone
        .create_card("A1", &[Edit::set("sign_name", "新店")], NOW)
        .unwrap();
    settle(&mut office, &[&rig]);
    office.restore(&backup);
    // The card goes up again and is accepted; nobody hears of it.
    let is_accepted = |items: &[ResponseItem]| {
        items.iter().any(|item| matches!(item, ResponseItem::Verdict(verdict) if verdict.status == VerdictStatus::Accepted))
    };
    assert_eq!(
        rig.sync_cut(&mut office, |_, items| (!is_accepted(&items))
            .then_some(items)),
        None
    );
    assert!(office.has(made.hash.unwrap()));
    settle(&mut office, &[&rig]);
    assert_eq!(rig.phone.records().unwrap(), [made.record]);
}

#[test]
fn a_phone_that_had_to_enrol_anew_brings_back_what_it_wrote_before() {
    let mut office = MemoryOffice::new();
    let (kept, lost) = (card(&mut office, 1), card(&mut office, 2));
    let mut rig = Rig::new(1, &mut office);
    settle(&mut office, &[&rig]);
    let backup = office.clone();
    rig.set(kept, "sign_name", "新名");
    rig.phone
        .edit(
            lost,
            &[Edit::Note {
                text: "搬到隔壁".into(),
            }],
            NOW,
        )
        .unwrap();
    let made = rig
        .phone
        .create_card("A1", &[Edit::set("sign_name", "新店")], NOW)
        .unwrap();
    settle(&mut office, &[&rig]);
    office.restore(&backup);
    // Its tokens are newer than the backup: the office enrols it as another device.
    enrol_anew(&mut rig, &mut office);
    settle(&mut office, &[&rig]);
    assert_eq!(
        office.document(kept).view().unwrap().text("sign_name"),
        Some("新名")
    );
    assert_eq!(
        office.document(lost).view().unwrap().note.as_deref(),
        Some("搬到隔壁")
    );
    // Nobody creates a card in another's name: it is created again, in the present one.
    assert_eq!(
        office.text(made.record, "sign_name").as_deref(),
        Some("新店")
    );
    assert!(rig.phone.drafts().unwrap().is_empty());
}

/// The office enrols it as another device.
fn enrol_anew(rig: &mut Rig, office: &mut MemoryOffice) {
    let identity = Identity {
        device: DeviceId(Uuid::from_u128(0xe001)),
        former_devices: vec![rig.device],
        ..identity(1)
    };
    office.enrol_again(rig.device, identity.device);
    rig.device = identity.device;
    inside(rig, |tx| {
        tx.set_identity(&identity)?;
        Ok(tx.set_start_over(true)?)
    });
}

#[test]
fn a_card_that_a_copy_brought_back_first_is_made_once() {
    let mut office = MemoryOffice::new();
    let mut rig = Rig::new(1, &mut office);
    let made = rig
        .phone
        .create_card(
            "A1",
            &[
                Edit::set("sign_name", "新店"),
                Edit::Note {
                    text: "后门常关".into(),
                },
            ],
            NOW,
        )
        .unwrap();
    let copy = cloned(&rig, 77);
    enrol_anew(&mut rig, &mut office);
    copy.sync(&mut office);
    rig.set(made.record, "unit", "2楼");
    settle(&mut office, &[&rig, &copy]);
    let view = office.document(made.record).view().unwrap();
    assert_eq!(
        (
            view.text("sign_name"),
            view.text("unit"),
            view.note.as_deref()
        ),
        (Some("新店"), Some("2楼"), Some("后门常关"))
    );
    assert_eq!(view.values["sign_name"].len(), 1);
}

#[test]
fn a_phone_enrolled_anew_and_then_wiped_hands_over_what_it_wrote_before() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let mut rig = Rig::new(1, &mut office);
    settle(&mut office, &[&rig]);
    rig.set(record, "sign_name", "新名");
    let made = rig
        .phone
        .create_card("A1", &[Edit::set("sign_name", "新店")], NOW)
        .unwrap();
    rig.set(made.record, "unit", "2楼");
    enrol_anew(&mut rig, &mut office);
    office.wiped.insert(rig.device);
    rig.sync(&mut office);
    assert_eq!(rig.phone.cards().unwrap_err().code(), "wiped");
    // What came of a device to be wiped waits for a reviewer.
    office.accept_held();
    assert_eq!(office.text(record, "sign_name").as_deref(), Some("新名"));
    let row = ["sign_name", "unit"].map(|key| office.text(made.record, key));
    assert_eq!(row.map(Option::unwrap), ["新店", "2楼"]);
}

#[test]
fn a_phone_in_the_middle_of_a_reset_hands_over_its_edits_before_it_is_wiped() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    settle(&mut office, &[&rig]);
    let backup = office.clone();
    office.restore(&backup);
    office.assign(rig.device, &["A1"]);
    rig.sync_cut(&mut office, |request, items| {
        (request == 1).then_some(items)
    });
    rig.set(record, "sign_name", "新名");
    office.wiped.insert(rig.device);
    rig.sync(&mut office);
    assert_eq!(rig.phone.cards().unwrap_err().code(), "wiped");
    // What came of a device to be wiped waits for a reviewer.
    office.accept_held();
    assert_eq!(office.text(record, "sign_name").as_deref(), Some("新名"));
}

#[test]
fn others_records_that_the_server_lost_are_left_to_their_authors() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    let backup = office.clone();
    card(&mut office, 1);
    rig.sync(&mut office);
    assert_eq!(rig.phone.records().unwrap().len(), 1);
    office.restore(&backup);
    office.assign(rig.device, &["A1"]);
    rig.sync(&mut office);
    assert!(rig.phone.records().unwrap().is_empty());
}

#[test]
fn a_reset_takes_away_what_is_out_of_sight_also_where_the_user_had_edited_it() {
    let mut office = MemoryOffice::new();
    let (stays, goes) = (card(&mut office, 1), card(&mut office, 2));
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.set(goes, "sign_name", "新名");
    rig.sync(&mut office);
    office.move_to_grid(goes, "B2");
    let same = office.clone();
    office.restore(&same);
    let tally = rig.sync(&mut office);
    assert_eq!((tally.resets, tally.duplicate, tally.drafted), (1, 1, 0));
    assert_eq!(rig.phone.records().unwrap(), [stays]);
}

#[test]
fn edits_of_a_record_whose_creator_never_returns_become_a_draft() {
    let mut office = MemoryOffice::new();
    let (gone, stays) = (Rig::new(1, &mut office), Rig::new(2, &mut office));
    let backup = office.clone();
    let made = gone
        .phone
        .create_card("A1", &[Edit::set("sign_name", "新店")], NOW)
        .unwrap();
    settle(&mut office, &[&gone, &stays]);
    stays.set(made.record, "category", "餐饮");
    settle(&mut office, &[&gone, &stays]);
    office.restore(&backup);
    for _ in 0..10 {
        stays.sync(&mut office);
    }
    assert!(stays.phone.records().unwrap().is_empty());
    assert_eq!(codes(&stays), ["dependency_missing"]);
    // The creator comes back after all: the card is there again, and the draft can be tried.
    settle(&mut office, &[&gone, &stays]);
    assert_eq!(
        stays.text(made.record, "sign_name").as_deref(),
        Some("新店")
    );
    stays
        .phone
        .retry_draft(stays.phone.drafts().unwrap()[0].id, NOW)
        .unwrap();
    settle(&mut office, &[&gone, &stays]);
    assert_eq!(gone.text(made.record, "category").as_deref(), Some("餐饮"));
}

#[test]
fn an_author_who_never_returns_does_not_block_the_others_for_ever() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let (gone, stays) = (Rig::new(1, &mut office), Rig::new(2, &mut office));
    settle(&mut office, &[&gone, &stays]);
    let backup = office.clone();
    gone.set(record, "sign_name", "新名");
    settle(&mut office, &[&gone, &stays]);
    stays.set(record, "category", "餐饮");
    settle(&mut office, &[&gone, &stays]);
    office.restore(&backup);
    for _ in 0..10 {
        stays.sync(&mut office);
    }
    assert!(
        stays.phone.outbox().unwrap().is_empty(),
        "written anew once, on what the server has"
    );
    settle(&mut office, &[&stays]);
    let view = office.document(record).view().unwrap();
    assert_eq!(
        (view.text("sign_name"), view.text("category")),
        (Some("王记包子"), Some("餐饮"))
    );
}

#[test]
fn a_reset_that_breaks_off_goes_on_where_it_stopped() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    let records: Vec<_> = (1..=4).map(|number| card(&mut office, number)).collect();
    rig.sync(&mut office);
    let backup = office.clone();
    let hashes: Vec<_> = records
        .iter()
        .map(|record| rig.set(*record, "sign_name", "新名").hash.unwrap())
        .collect();
    rig.sync(&mut office);
    office.restore(&backup);
    office.checkpoint_items = 1;
    let cut = rig.sync_cut(&mut office, |request, mut items| {
        if request == 2 {
            items.truncate(5);
        }
        Some(items)
    });
    assert_eq!(cut, None);
    settle(&mut office, &[&rig]);
    assert!(hashes.into_iter().all(|hash| office.has(hash)));
}

#[test]
fn a_server_that_resets_for_ever_is_given_up() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    card(&mut office, 1);
    rig.sync(&mut office);
    let mut sync = Synchronisation::new(CLIENT);
    let reset = || {
        vec![ResponseItem::Reset {
            epoch: Uuid::from_u128(9),
        }]
    };
    let error = (0..9).find_map(|_| {
        sync.next_request(rig.phone.read(|tx| Ok(tx.holdings()?)).unwrap())?;
        rig.phone
            .write(|tx| Ok(receive(tx, &mut sync, reset(), || rig.phone.moment(NOW))?))
            .err()
    });
    assert_eq!(error.unwrap().code(), "protocol");
}

/// Whose change was lost can be brought back by nobody: its number went to what the other copy wrote.
#[test]
fn a_change_that_lost_its_number_to_another_copy_blocks_nobody() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let (first, other) = (Rig::new(1, &mut office), Rig::new(2, &mut office));
    first.sync(&mut office);
    first.set(record, "unit", "2楼");
    settle(&mut office, &[&first, &other]);
    let copy = cloned(&first, 77);
    let backup = office.clone();
    copy.set(record, "sign_name", "新名");
    copy.sync(&mut office);
    other.sync(&mut office);
    other.set(record, "category", "餐饮");
    other.sync(&mut office);
    office.restore(&backup);
    first.set(record, "opening_hours", "9-21");
    first.sync(&mut office);
    // Twice from the start: what waits for the lost change is looked through again.
    for _ in 0..2 {
        other.sync(&mut office);
        assert_eq!(
            other.text(record, "category").as_deref(),
            Some("餐饮"),
            "its user goes on seeing what they saved"
        );
        inside(&other, |tx| Ok(tx.apply(&[Effect::SetCursor(None)])?));
    }
    copy.sync(&mut office);
    settle(&mut office, &[&other]);
    let kept =
        ["sign_name", "category", "opening_hours", "unit"].map(|key| office.text(record, key));
    assert_eq!(kept.map(Option::unwrap), ["新名", "餐饮", "9-21", "2楼"]);
}

/// A store put back under its old epoch, as nobody said `--restored`: the office has moved on past every phone's cursor when the last one asks.
#[test]
fn a_store_put_back_unsaid_gets_every_acknowledged_change_again() {
    for idle in [false, true] {
        let mut office = MemoryOffice::new();
        let cards: Vec<_> = (1..=4).map(|number| card(&mut office, number)).collect();
        let rigs = [1, 2, 3].map(|number| Rig::new(number, &mut office));
        let all: Vec<_> = rigs.iter().collect();
        settle(&mut office, &all);
        let backup = office.clone();
        // Sixteen changes, acknowledged and lost.
        let mut hashes = Vec::new();
        for round in 0..5 {
            for (rig, card) in rigs.iter().zip(&cards) {
                hashes.extend(rig.set(*card, "unit", &format!("{round}室")).hash);
                rig.sync(&mut office);
            }
        }
        hashes.extend(rigs[2].set(cards[3], "category", "餐饮").hash);
        rigs[2].sync(&mut office);
        assert_eq!(hashes.len(), 16);
        office.put_back(&backup);
        for (rig, card) in rigs.iter().zip(&cards).take(2) {
            for name in ["甲", "乙", "丙", "丁"] {
                rig.set(*card, "sign_name", name);
                rig.sync(&mut office);
            }
        }
        if !idle {
            rigs[2].set(cards[2], "sign_name", "戊");
        }
        let tally = rigs[2].sync(&mut office);
        assert_eq!(
            (tally.resets, tally.drafted),
            (0, 0),
            "it noticed by itself"
        );
        for hash in hashes {
            assert!(office.has(hash), "acknowledged, and there again");
        }
        settle(&mut office, &all);
        assert!(all.iter().all(|rig| codes(rig).is_empty()));
    }
}

/// The verdicts came and the rest did not: the cursor is older than what was acknowledged.
#[test]
fn a_head_below_what_was_acknowledged_is_noticed() {
    let mut office = MemoryOffice::new();
    let (first, second) = (card(&mut office, 1), card(&mut office, 2));
    let (rig, other) = (Rig::new(1, &mut office), Rig::new(2, &mut office));
    settle(&mut office, &[&rig, &other]);
    let backup = office.clone();
    let seen = other.set(first, "unit", "1室").hash.unwrap();
    other.sync(&mut office);
    rig.sync(&mut office);
    let lost = rig.set(second, "unit", "2室").hash.unwrap();
    let only_verdicts = |_, mut items: Vec<ResponseItem>| {
        items.truncate(1);
        Some(items)
    };
    assert_eq!(rig.sync_cut(&mut office, only_verdicts), None);
    assert!(rig.phone.outbox().unwrap().is_empty(), "acknowledged");
    office.put_back(&backup);
    // The other phone brings back what the cursor stands for, and nothing beyond it.
    other.sync(&mut office);
    assert!(office.has(seen) && !office.has(lost));
    rig.sync(&mut office);
    assert!(office.has(lost));
    settle(&mut office, &[&rig, &other]);
}
