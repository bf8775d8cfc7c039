//! Records that leave, are erased, and a phone that is wiped.

use super::{office::Rule, *};

#[test]
fn a_wiped_phone_keeps_a_note_and_nothing_else() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let mut rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office.wiped.insert(rig.device);
    let rescued = rig.set(record, "sign_name", "独一无二的店名").hash.unwrap();
    rig.sync(&mut office);
    office.accept_held();
    assert!(office.has(rescued), "unsent edits are rescued first");
    assert_eq!(rig.phone.cards().unwrap_err().code(), "wiped");
    assert_eq!(
        rig.phone.edit(record, &[], NOW).unwrap_err().code(),
        "wiped"
    );
    let path = rig.folder.path().join("phone.db");
    assert_eq!(Phone::open(&path).unwrap_err().code(), "wiped");
    assert!(
        std::fs::read(&path)
            .unwrap()
            .windows(4)
            .any(|window| window == b"rt-0"),
        "the way to tell the office so is left"
    );
    let reported = |tx: &Tx<'_>| tx.drop_wipe_report();
    LocalStore::open(&path).unwrap().write(reported).unwrap();
    LocalStore::open(&path).unwrap().scrub().unwrap();
    rig.phone = Rig::at("http://localhost:1", 2).phone;
    for entry in std::fs::read_dir(rig.folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for trace in ["王记包子", "独一无二的店名", "rt-0"] {
            assert!(
                !bytes
                    .windows(trace.len())
                    .any(|window| window == trace.as_bytes()),
                "{trace}"
            );
        }
    }
}

#[test]
fn an_erased_record_goes_with_its_edits_and_drafts() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office.rules.insert(
        rig.device,
        Rule::RefuseKey("category".into(), "value_too_long"),
    );
    rig.set(record, "category", "餐饮");
    rig.sync(&mut office);
    assert_eq!(codes(&rig).len(), 1);
    rig.set(record, "sign_name", "新名");
    office.erase(record);
    let tally = rig.sync(&mut office);
    assert_eq!((tally.erased, tally.dropped), (0, 1), "the verdict said so");
    assert!(rig.phone.records().unwrap().is_empty());
    assert!(rig.phone.outbox().unwrap().is_empty());
    assert!(codes(&rig).is_empty());
}

#[test]
fn a_phone_that_starts_over_drops_drafts_of_what_was_erased_meanwhile() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office.rules.insert(
        rig.device,
        Rule::RefuseKey("category".into(), "value_too_long"),
    );
    rig.set(record, "category", "餐饮");
    rig.sync(&mut office);
    office.erase(record);
    let restored = office.clone();
    office.restore(&restored);
    let tally = rig.sync(&mut office);
    assert_eq!(codes(&rig).len(), 0);
    assert_eq!((tally.resets, tally.erased), (1, 1));
    // To a phone that held nothing of it, it is no news.
    let other = Rig::new(2, &mut office);
    assert_eq!(other.sync(&mut office).erased, 0);
}

#[test]
fn a_record_leaves_at_once_where_nothing_is_unsent() {
    let mut office = MemoryOffice::new();
    let (stays, leaves) = (card(&mut office, 1), card(&mut office, 2));
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office.move_to_grid(leaves, "B2");
    rig.sync(&mut office);
    assert_eq!(rig.phone.records().unwrap(), [stays]);
}

#[test]
fn a_record_with_unsent_edits_leaves_when_they_were_answered() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office.move_to_grid(record, "B2");
    office
        .rules
        .insert(rig.device, Rule::PutOff("document_unavailable"));
    let hash = rig.set(record, "sign_name", "新名").hash.unwrap();
    rig.sync(&mut office);
    assert_eq!(
        rig.phone.records().unwrap(),
        [record],
        "it waits for its edit"
    );
    assert_eq!(
        rig.phone
            .edit(record, &[Edit::set("category", "餐饮")], NOW)
            .unwrap_err()
            .code(),
        "not_your_grid"
    );
    office.rules.insert(rig.device, Rule::HoldAll);
    rig.sync(&mut office);
    assert!(rig.phone.records().unwrap().is_empty());
    assert_eq!(
        rig.phone.status().unwrap().held,
        1,
        "held edits stay in sight"
    );
    office.rules.clear();
    office.decide_held(hash, true);
    rig.sync(&mut office);
    assert_eq!(rig.phone.status().unwrap().held, 0);
    assert!(rig.phone.records().unwrap().is_empty());
}

#[test]
fn edits_refused_for_the_grid_become_a_draft() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.phone.cards().unwrap();
    office.move_to_grid(record, "B2");
    // An office that remembers nothing of the grids that were the user's.
    office
        .rules
        .insert(rig.device, Rule::RefuseAll("not_your_grid"));
    rig.set(record, "sign_name", "新名");
    rig.set(record, "category", "餐饮");
    rig.sync(&mut office);
    assert!(rig.phone.records().unwrap().is_empty());
    let drafts = rig.phone.drafts().unwrap();
    assert_eq!(drafts.len(), 1);
    assert_eq!(
        (
            drafts[0].draft.reason.code.as_str(),
            drafts[0].draft.edits.len()
        ),
        ("not_your_grid", 2)
    );
}

#[test]
fn a_record_that_comes_back_is_whole_again() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    for grid in ["B2", "A1"] {
        office.move_to_grid(record, grid);
        rig.sync(&mut office);
    }
    assert_eq!(rig.text(record, "sign_name").as_deref(), Some("王记包子"));
}

/// A first download that was cut before its first checkpoint leaves no cursor: the server cannot know what came, and tells of nothing that went.
#[test]
fn what_came_before_a_cut_goes_again_if_the_whole_download_comes_without_it() {
    let mut office = MemoryOffice::new();
    let (gone, moved, kept) = (
        card(&mut office, 1),
        card(&mut office, 2),
        card(&mut office, 3),
    );
    let rig = Rig::new(1, &mut office);
    rig.sync_cut(&mut office, |_, mut items| {
        items.retain(|item| {
            !matches!(
                item,
                ResponseItem::Checkpoint { .. } | ResponseItem::End { .. }
            )
        });
        Some(items)
    });
    assert_eq!(rig.phone.records().unwrap().len(), 3);
    rig.set(kept, "sign_name", "新名");
    office.erase(gone);
    office.move_to_grid(moved, "B9");
    rig.sync(&mut office);
    assert_eq!(rig.phone.records().unwrap(), [kept]);
    assert_eq!(office.text(kept, "sign_name").as_deref(), Some("新名"));
}

/// Two cards of a grid that is the user's for a short while only, and an answer that broke off behind them: no cursor tells the server of it.
fn held_beyond_the_cursor(office: &mut MemoryOffice, rig: &Rig) -> [RecordId; 2] {
    let cards = [card(office, 2), card(office, 3)];
    for card in cards {
        office.move_to_grid(card, "B2");
    }
    rig.sync(office);
    work(office, rig, &["A1", "B2"]);
    let before = office.clone();
    rig.sync_cut(office, |_, mut items| {
        items.pop();
        Some(items)
    });
    *office = before;
    cards
}

fn work(office: &mut MemoryOffice, rig: &Rig, grids: &[&str]) {
    office.assign(rig.device, grids);
}

#[test]
fn what_came_beyond_the_cursor_goes_where_it_does_not_come_again() {
    let mut office = MemoryOffice::new();
    let stays = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    let [quiet, edited] = held_beyond_the_cursor(&mut office, &rig);
    assert_eq!(rig.phone.records().unwrap(), [stays, quiet, edited]);
    rig.set(edited, "sign_name", "新名");
    work(&mut office, &rig, &["A1"]);
    rig.sync(&mut office);
    // What was edited there waits for a reviewer, and its author sees it until then.
    rig.sync(&mut office);
    assert_eq!(rig.phone.records().unwrap(), [stays]);
    assert_eq!(rig.phone.status().unwrap().held, 1);
    office.accept_held();
    rig.sync(&mut office);
    assert_eq!(office.text(edited, "sign_name").as_deref(), Some("新名"));
    assert_eq!(rig.phone.status().unwrap().held, 0);
    assert_eq!(rig.phone.records().unwrap(), [stays]);
}

#[test]
fn what_came_beyond_the_cursor_stays_where_it_comes_again() {
    let mut office = MemoryOffice::new();
    let stays = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    let [first, second] = held_beyond_the_cursor(&mut office, &rig);
    // Cut once more, behind the first of the two.
    let before = office.clone();
    rig.sync_cut(&mut office, |_, mut items| {
        items.truncate(items.len() - 2);
        Some(items)
    });
    office = before;
    rig.set(second, "sign_name", "新名");
    rig.sync(&mut office);
    assert_eq!(rig.phone.records().unwrap(), [stays, first, second]);
    assert_eq!(office.text(second, "sign_name").as_deref(), Some("新名"));
}

/// A card made and accepted in a grid that was taken away before the phone heard of it.
#[test]
fn a_card_made_beyond_the_cursor_goes_with_its_grid() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    work(&mut office, &rig, &["B2"]);
    rig.sync(&mut office);
    work(&mut office, &rig, &["A1", "B2"]);
    let made = rig
        .phone
        .create_card("A1", &[Edit::set("sign_name", "新店")], NOW)
        .unwrap();
    rig.sync_cut(&mut office, |_, mut items| {
        items.truncate(1);
        Some(items)
    });
    assert!(office.has(made.hash.unwrap()) && rig.phone.outbox().unwrap().is_empty());
    work(&mut office, &rig, &["B2"]);
    rig.sync(&mut office);
    assert!(rig.phone.records().unwrap().is_empty());
}

/// A card on its way out, with an edit that the server puts off, whose grid comes back for the length of an answer that breaks off.
fn comes_back_beyond_the_cursor(accepts: bool) -> (MemoryOffice, Rig, RecordId) {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.set(record, "sign_name", "新名");
    office
        .rules
        .insert(rig.device, Rule::PutOff("document_unavailable"));
    work(&mut office, &rig, &["B2"]);
    rig.sync(&mut office);
    assert_eq!(
        rig.phone.records().unwrap(),
        [record],
        "it waits for its edit"
    );
    work(&mut office, &rig, &["A1", "B2"]);
    if accepts {
        office.rules.clear();
    }
    rig.sync_cut(&mut office, |_, mut items| {
        let length = if accepts { 1 } else { items.len() - 1 };
        items.truncate(length);
        Some(items)
    });
    office.rules.clear();
    work(&mut office, &rig, &["B2"]);
    (office, rig, record)
}

#[test]
fn a_card_whose_grid_came_back_for_one_answer_goes_again() {
    for accepts in [true, false] {
        let (mut office, rig, record) = comes_back_beyond_the_cursor(accepts);
        // It looks like the user's own.
        rig.set(record, "unit", "2楼");
        rig.sync(&mut office);
        rig.sync(&mut office);
        assert!(rig.phone.records().unwrap().is_empty(), "{accepts}");
        assert_eq!(
            office.text(record, "sign_name").as_deref(),
            Some(if accepts { "新名" } else { "王记包子" })
        );
        office.accept_held();
        rig.sync(&mut office);
        assert_eq!(office.text(record, "sign_name").as_deref(), Some("新名"));
        assert_eq!(office.text(record, "unit").as_deref(), Some("2楼"));
        assert!(rig.phone.outbox().unwrap().is_empty() && codes(&rig).is_empty());
        assert!(rig.phone.records().unwrap().is_empty(), "{accepts}");
    }
}
