//! Records that leave, are erased, and a phone that is wiped.

use super::{model::Whim, *};

#[test]
fn a_wiped_phone_keeps_a_note_and_nothing_else() {
    let mut model = Model::new();
    let record = card(&mut model, 1);
    let mut rig = Rig::new(1, &mut model);
    rig.sync(&mut model);
    model.wiped.insert(rig.device);
    let rescued = rig.set(record, "sign_name", "独一无二的店名").hash.unwrap();
    rig.sync(&mut model);
    assert!(model.has(rescued), "unsent edits are rescued first");
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
    let told = |tx: &Tx<'_>| tx.drop_wipe_report();
    LocalStore::open(&path).unwrap().write(told).unwrap();
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
    let mut model = Model::new();
    let record = card(&mut model, 1);
    let rig = Rig::new(1, &mut model);
    rig.sync(&mut model);
    model.whims.insert(
        rig.device,
        Whim::RefuseKey("category".into(), "value_too_long"),
    );
    rig.set(record, "category", "餐饮");
    rig.sync(&mut model);
    assert_eq!(codes(&rig).len(), 1);
    rig.set(record, "sign_name", "新名");
    model.erase(record);
    let tally = rig.sync(&mut model);
    assert_eq!(tally.erased, 1);
    assert!(rig.phone.records().unwrap().is_empty());
    assert!(rig.phone.outbox().unwrap().is_empty());
    assert!(codes(&rig).is_empty());
}

#[test]
fn a_phone_that_starts_over_drops_drafts_of_what_was_erased_meanwhile() {
    let mut model = Model::new();
    let record = card(&mut model, 1);
    let rig = Rig::new(1, &mut model);
    rig.sync(&mut model);
    model.whims.insert(
        rig.device,
        Whim::RefuseKey("category".into(), "value_too_long"),
    );
    rig.set(record, "category", "餐饮");
    rig.sync(&mut model);
    model.erase(record);
    let restored = model.clone();
    model.restore(&restored);
    let tally = rig.sync(&mut model);
    assert_eq!(codes(&rig).len(), 0);
    assert_eq!((tally.resets, tally.erased), (1, 1));
    // To a phone that held nothing of it, it is no news.
    let other = Rig::new(2, &mut model);
    assert_eq!(other.sync(&mut model).erased, 0);
}

#[test]
fn a_record_leaves_at_once_where_nothing_is_unsent() {
    let mut model = Model::new();
    let (stays, leaves) = (card(&mut model, 1), card(&mut model, 2));
    let rig = Rig::new(1, &mut model);
    rig.sync(&mut model);
    model.move_to_grid(leaves, "B2");
    model.scope_epoch += 1;
    rig.sync(&mut model);
    assert_eq!(rig.phone.records().unwrap(), [stays]);
}

#[test]
fn a_record_with_unsent_edits_leaves_when_they_were_answered() {
    let mut model = Model::new();
    let record = card(&mut model, 1);
    let rig = Rig::new(1, &mut model);
    rig.sync(&mut model);
    model.move_to_grid(record, "B2");
    model.scope_epoch += 1;
    model
        .whims
        .insert(rig.device, Whim::RefuseAll("document_unavailable", true));
    let hash = rig.set(record, "sign_name", "新名").hash.unwrap();
    rig.sync(&mut model);
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
    model.whims.insert(rig.device, Whim::HoldAll);
    rig.sync(&mut model);
    assert!(rig.phone.records().unwrap().is_empty());
    assert_eq!(
        rig.phone.status().unwrap().held,
        1,
        "held edits stay in sight"
    );
    model.whims.clear();
    model.rule_on_held(hash, true);
    rig.sync(&mut model);
    assert_eq!(rig.phone.status().unwrap().held, 0);
    assert!(rig.phone.records().unwrap().is_empty());
}

#[test]
fn edits_refused_for_the_grid_become_a_draft() {
    let mut model = Model::new();
    let record = card(&mut model, 1);
    let rig = Rig::new(1, &mut model);
    rig.sync(&mut model);
    rig.phone.cards().unwrap();
    model.move_to_grid(record, "B2");
    model.scope_epoch += 1;
    rig.set(record, "sign_name", "新名");
    rig.set(record, "category", "餐饮");
    rig.sync(&mut model);
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
    let mut model = Model::new();
    let record = card(&mut model, 1);
    let rig = Rig::new(1, &mut model);
    rig.sync(&mut model);
    for grid in ["B2", "A1"] {
        model.move_to_grid(record, grid);
        model.scope_epoch += 1;
        rig.sync(&mut model);
    }
    assert_eq!(rig.text(record, "sign_name").as_deref(), Some("王记包子"));
}

/// A first download that was cut before its first checkpoint leaves no cursor: the server cannot know what came, and tells of nothing that went.
#[test]
fn what_came_before_a_cut_goes_again_if_the_whole_download_comes_without_it() {
    let mut model = Model::new();
    let (gone, moved, kept) = (
        card(&mut model, 1),
        card(&mut model, 2),
        card(&mut model, 3),
    );
    let rig = Rig::new(1, &mut model);
    rig.sync_cut(&mut model, |_, mut items| {
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
    model.erase(gone);
    model.move_to_grid(moved, "B9");
    rig.sync(&mut model);
    assert_eq!(rig.phone.records().unwrap(), [kept]);
    assert_eq!(model.text(kept, "sign_name").as_deref(), Some("新名"));
}

/// Two cards of a grid that is the user's for a short while only, and an answer that broke off behind them: no cursor tells the server of it.
fn held_beyond_the_cursor(model: &mut Model, rig: &Rig) -> [RecordId; 2] {
    let cards = [card(model, 2), card(model, 3)];
    for card in cards {
        model.move_to_grid(card, "B2");
    }
    rig.sync(model);
    work(model, rig, &["A1", "B2"]);
    let before = model.clone();
    rig.sync_cut(model, |_, mut items| {
        items.pop();
        Some(items)
    });
    *model = before;
    cards
}

fn work(model: &mut Model, rig: &Rig, grids: &[&str]) {
    model.grids.insert(
        rig.device,
        grids.iter().map(|&grid| grid.to_owned()).collect(),
    );
    model.scope_epoch += 1;
}

#[test]
fn what_came_beyond_the_cursor_goes_where_it_does_not_come_again() {
    let mut model = Model::new();
    let stays = card(&mut model, 1);
    let rig = Rig::new(1, &mut model);
    let [quiet, edited] = held_beyond_the_cursor(&mut model, &rig);
    assert_eq!(rig.phone.records().unwrap(), [stays, quiet, edited]);
    rig.set(edited, "sign_name", "新名");
    work(&mut model, &rig, &["A1"]);
    rig.sync(&mut model);
    assert_eq!(rig.phone.records().unwrap(), [stays]);
    assert_eq!(
        codes(&rig),
        ["not_your_grid"],
        "what was edited there stays with its author"
    );
}

#[test]
fn what_came_beyond_the_cursor_stays_where_it_comes_again() {
    let mut model = Model::new();
    let stays = card(&mut model, 1);
    let rig = Rig::new(1, &mut model);
    let [first, second] = held_beyond_the_cursor(&mut model, &rig);
    // Cut once more, behind the first of the two.
    let before = model.clone();
    rig.sync_cut(&mut model, |_, mut items| {
        items.truncate(items.len() - 2);
        Some(items)
    });
    model = before;
    rig.set(second, "sign_name", "新名");
    rig.sync(&mut model);
    assert_eq!(rig.phone.records().unwrap(), [stays, first, second]);
    assert_eq!(model.text(second, "sign_name").as_deref(), Some("新名"));
}

/// A card made and accepted in a grid that was taken away before the phone heard of it.
#[test]
fn a_card_made_beyond_the_cursor_goes_with_its_grid() {
    let mut model = Model::new();
    let rig = Rig::new(1, &mut model);
    work(&mut model, &rig, &["B2"]);
    rig.sync(&mut model);
    work(&mut model, &rig, &["A1", "B2"]);
    let made = rig
        .phone
        .create_card("A1", &[Edit::set("sign_name", "新店")], NOW)
        .unwrap();
    rig.sync_cut(&mut model, |_, mut items| {
        items.truncate(1);
        Some(items)
    });
    assert!(model.has(made.hash.unwrap()) && rig.phone.outbox().unwrap().is_empty());
    model.forget_seen(rig.device);
    work(&mut model, &rig, &["B2"]);
    rig.sync(&mut model);
    assert!(rig.phone.records().unwrap().is_empty());
}

/// A card on its way out, with an edit that the server puts off, whose grid comes back for the length of an answer that breaks off.
fn comes_back_beyond_the_cursor(accepts: bool) -> (Model, Rig, RecordId) {
    let mut model = Model::new();
    let record = card(&mut model, 1);
    let rig = Rig::new(1, &mut model);
    rig.sync(&mut model);
    rig.set(record, "sign_name", "新名");
    model
        .whims
        .insert(rig.device, Whim::RefuseAll("document_unavailable", true));
    work(&mut model, &rig, &["B2"]);
    rig.sync(&mut model);
    assert_eq!(
        rig.phone.records().unwrap(),
        [record],
        "it waits for its edit"
    );
    work(&mut model, &rig, &["A1", "B2"]);
    if accepts {
        model.whims.clear();
    }
    rig.sync_cut(&mut model, |_, mut items| {
        let length = if accepts { 1 } else { items.len() - 1 };
        items.truncate(length);
        Some(items)
    });
    model.forget_seen(rig.device);
    model.whims.clear();
    work(&mut model, &rig, &["B2"]);
    (model, rig, record)
}

#[test]
fn a_card_whose_grid_came_back_for_one_answer_goes_again() {
    for accepts in [true, false] {
        let (mut model, rig, record) = comes_back_beyond_the_cursor(accepts);
        // It looks like the user's own.
        rig.set(record, "unit", "2楼");
        rig.sync(&mut model);
        rig.sync(&mut model);
        assert!(rig.phone.records().unwrap().is_empty(), "{accepts}");
        assert_eq!(
            model.text(record, "sign_name").as_deref(),
            Some(if accepts { "新名" } else { "王记包子" })
        );
        assert!(
            rig.phone.outbox().unwrap().is_empty()
                && codes(&rig).iter().all(|code| code == "not_your_grid")
        );
    }
}
