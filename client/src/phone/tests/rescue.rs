//! Unsent edits in a file: taken in by another phone of the same user, they arrive as if their own phone had sent them.

use super::*;

const WORDS: &str = "天平路上的梧桐树";

/// Another phone of the first one's user.
fn another(office: &mut MemoryOffice, user: u128) -> Rig {
    let rig = Rig::new(90 + user, office);
    let identity = Identity {
        device: rig.device,
        ..identity(user)
    };
    inside(&rig, |tx| Ok(tx.set_identity(&identity)?));
    rig.sync(office);
    rig
}

fn note(text: &str) -> [Edit; 1] {
    [Edit::Note { text: text.into() }]
}

#[test]
fn edits_of_a_lost_phone_are_sent_by_another_of_its_user_once() {
    let mut office = MemoryOffice::new();
    let (record, settled) = (card(&mut office, 1), card(&mut office, 2));
    let lost = Rig::new(1, &mut office);
    let theirs = Rig::new(2, &mut office);
    lost.sync(&mut office);
    theirs.sync(&mut office);
    lost.set(record, "sign_name", "丢失前的店名");
    lost.set(record, "unit", "2楼");
    lost.phone.edit(record, &note("后门常关"), NOW).unwrap();
    let made = lost
        .phone
        .create_card("A1", &[Edit::set("sign_name", "新店")], NOW)
        .unwrap();
    lost.set(settled, "unit", "3楼");
    let file = lost.phone.export_unsent(WORDS).unwrap();
    assert!(!file.contains("店") && !file.contains("sign_name"));
    // Meanwhile somebody else changed the same sign; the phone was lost before it saw that.
    theirs.set(record, "sign_name", "别人看到的店名");
    theirs.sync(&mut office);

    let new = another(&mut office, 1);
    let refused = new.phone.take_in(&file, "另外一个口令八字").unwrap_err();
    assert_eq!(refused.code(), "passphrase");
    let taken = new.phone.take_in(&file, WORDS).unwrap();
    assert_eq!((taken.entries, taken.drafts, taken.known), (5, 0, 0));
    settle(&mut office, &[&new, &theirs]);
    assert_eq!(office.text(record, "unit").as_deref(), Some("2楼"));
    assert_eq!(office.text(settled, "unit").as_deref(), Some("3楼"));
    assert_eq!(
        office.text(made.record, "sign_name").as_deref(),
        Some("新店")
    );
    let view = office.document(record).view().unwrap();
    assert_eq!(view.note.as_deref(), Some("后门常关"));
    assert_eq!(
        view.values["sign_name"].len(),
        2,
        "what its author had not seen stands beside it"
    );
    assert!(new.phone.drafts().unwrap().is_empty());

    // Once more, and then the phone is found and sends them itself: nothing changes.
    theirs.set(settled, "unit", "4楼");
    settle(&mut office, &[&theirs, &new]);
    let again = new.phone.take_in(&file, WORDS).unwrap();
    assert_eq!((again.entries, again.known), (0, 5));
    settle(&mut office, &[&new, &theirs]);
    assert_eq!(office.text(settled, "unit").as_deref(), Some("4楼"));
    lost.sync(&mut office);
    settle(&mut office, &[&lost, &new, &theirs]);
    assert_eq!(
        office.text(made.record, "sign_name").as_deref(),
        Some("新店")
    );
    // The card that both made is made once, and the found phone says so.
    assert_eq!(codes(&lost), ["record_exists"]);
}

#[test]
fn what_the_office_has_already_is_answered_as_a_duplicate() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.set(record, "unit", "2楼");
    let file = rig.phone.export_unsent(WORDS).unwrap();
    rig.sync(&mut office);
    let new = another(&mut office, 1);
    let taken = new.phone.take_in(&file, WORDS).unwrap();
    assert_eq!((taken.entries, taken.known), (0, 1));
    assert_eq!(rig.phone.take_in(&file, WORDS).unwrap().known, 1);
    settle(&mut office, &[&rig, &new]);
    assert_eq!(
        office.document(record).view().unwrap().values["unit"].len(),
        1
    );
}

#[test]
fn edits_of_a_card_that_the_other_phone_does_not_hold_become_drafts() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.set(record, "unit", "2楼");
    let file = rig.phone.export_unsent(WORDS).unwrap();
    office.move_to_grid(record, "B2");
    let new = another(&mut office, 1);
    assert_eq!(new.phone.take_in(&file, WORDS).unwrap().drafts, 1);
    assert_eq!(codes(&new), ["no_such_record"]);
    new.phone.drop_draft(1).unwrap();
    assert_eq!(
        new.phone.take_in(&file, WORDS).unwrap().drafts,
        0,
        "not again"
    );
}

#[test]
fn nobody_takes_in_the_edits_of_another_user_or_a_damaged_file() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.set(record, "unit", "2楼");
    assert_eq!(
        rig.phone.export_unsent("1234567").unwrap_err().code(),
        "passphrase"
    );
    let file = rig.phone.export_unsent(WORDS).unwrap();
    let theirs = Rig::new(2, &mut office);
    theirs.sync(&mut office);
    let refused = theirs.phone.take_in(&file, WORDS).unwrap_err();
    assert_eq!(refused.code(), "other_user");
    for damaged in [
        &file[..file.len() / 2],
        "{}",
        &file.replace("lianka-unsent/1", "lianka-unsent/2"),
    ] {
        let refused = rig.phone.take_in(damaged, WORDS).unwrap_err();
        assert_eq!(refused.code(), "not_a_rescue_file");
    }
    let at = file.len() - 10;
    let digit = if &file[at..=at] == "0" { "1" } else { "0" };
    let changed = format!("{}{digit}{}", &file[..at], &file[at + 1..]);
    assert_eq!(
        rig.phone.take_in(&changed, WORDS).unwrap_err().code(),
        "passphrase"
    );
    assert!(theirs.phone.outbox().unwrap().is_empty());
}
