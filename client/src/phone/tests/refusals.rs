//! Verdicts and what becomes of the edits behind them.

use std::collections::BTreeSet;

use lianka_sync_core::{
    codec::wire::{Verdict, VerdictStatus},
    crdt::record::Edit,
};

use super::{office::Rule, *};
use lianka_client_core::OutboxState;

/// The state of the only outbox entry after a verdict, `None`: gone.
fn after(status: VerdictStatus, code: &str, retryable: bool) -> Option<OutboxState> {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let hash = rig.set(record, "sign_name", "新名").hash;
    let mut sync = Synchronisation::new(CLIENT);
    sync.next_request(rig.phone.read(|tx| Ok(tx.holdings()?)).unwrap())
        .unwrap();
    let code = Some(code.to_owned());
    let verdict = Verdict {
        index: 0,
        hash,
        record,
        status,
        seq: Some(9),
        code,
        field: None,
        message: None,
        retryable,
    };
    rig.take(&mut sync, &[ResponseItem::Verdict(verdict)]);
    // Whatever the verdict: the user still sees what was typed.
    assert_eq!(rig.text(record, "sign_name").as_deref(), Some("新名"));
    rig.phone.outbox().unwrap().first().map(|entry| entry.state)
}

#[test]
fn verdicts_map_to_states() {
    assert_eq!(after(VerdictStatus::Accepted, "", false), None);
    assert_eq!(after(VerdictStatus::Duplicate, "", false), None);
    assert_eq!(
        after(VerdictStatus::Held, "reassigned", false),
        Some(OutboxState::Held)
    );
    assert_eq!(
        after(VerdictStatus::Rejected, "dependency_missing", true),
        Some(OutboxState::Unsent)
    );
    assert_eq!(
        after(VerdictStatus::Rejected, "value_too_long", false),
        Some(OutboxState::Refused)
    );
}

#[test]
fn a_verdict_for_another_change_ends_the_synchronisation() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.set(record, "sign_name", "新名");
    let mut sync = Synchronisation::new(CLIENT);
    sync.next_request(rig.phone.read(|tx| Ok(tx.holdings()?)).unwrap())
        .unwrap();
    let status = VerdictStatus::Accepted;
    let foreign = Verdict {
        index: 3,
        hash: None,
        record,
        status,
        seq: None,
        code: None,
        field: None,
        message: None,
        retryable: false,
    };
    let error = rig
        .phone
        .write(|tx| {
            Ok(receive(
                tx,
                &mut sync,
                vec![ResponseItem::Verdict(foreign)],
                || rig.phone.moment(NOW),
            )?)
        })
        .unwrap_err();
    assert_eq!(error.code(), "protocol");
    assert_eq!(rig.phone.outbox().unwrap().len(), 1);
}

#[test]
fn a_refused_edit_becomes_a_draft_and_the_others_are_written_anew() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office.rules.insert(
        rig.device,
        Rule::RefuseKey("opening_hours".into(), "value_too_long"),
    );
    rig.set(record, "category", "餐饮");
    rig.set(record, "opening_hours", "9-21");
    rig.set(record, "sign_name", "新名");
    let tally = rig.sync(&mut office);
    assert_eq!(
        (tally.accepted, tally.rejected, tally.rebased, tally.drafted),
        (2, 2, 1, 1)
    );
    let drafts = rig.phone.drafts().unwrap();
    let draft = &drafts[0].draft;
    assert_eq!(
        (draft.reason.code.as_str(), draft.reason.field.as_deref()),
        ("value_too_long", Some("opening_hours"))
    );
    assert_eq!(draft.edits, [Edit::set("opening_hours", "9-21")]);
    assert_eq!(rig.text(record, "opening_hours"), None);
    settle(&mut office, &[&rig]);
    assert_eq!(
        office.document(record).view().unwrap().text("sign_name"),
        Some("新名")
    );
    // Corrected, or the rule gone: the draft goes in as an edit made now.
    office.rules.clear();
    rig.phone.retry_draft(drafts[0].id, NOW).unwrap();
    assert!(rig.phone.drafts().unwrap().is_empty());
    settle(&mut office, &[&rig]);
    assert_eq!(
        office
            .document(record)
            .view()
            .unwrap()
            .text("opening_hours"),
        Some("9-21")
    );
}

/// What others wrote into the note meanwhile is not theirs to take away who never saw it.
#[test]
fn a_note_that_is_written_anew_keeps_what_others_wrote() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let (one, other) = (Rig::new(1, &mut office), Rig::new(2, &mut office));
    let note = |rig: &Rig, text: &str| {
        rig.phone
            .edit(record, &[Edit::Note { text: text.into() }], NOW)
            .unwrap()
    };
    one.sync(&mut office);
    note(&one, "后门 常关");
    one.sync(&mut office);
    other.sync(&mut office);
    // The note's edits are refused only because the one before them is.
    office.rules.insert(
        one.device,
        Rule::RefuseKey("opening_hours".into(), "value_too_long"),
    );
    one.set(record, "opening_hours", "9-21");
    note(&one, "后门 常关 问保安");
    note(&one, "后门 问保安 周一休");
    note(&other, "急 后门 常关 有狗");
    other.sync(&mut office);
    let tally = one.sync(&mut office);
    assert_eq!((tally.rebased, tally.drafted), (1, 1));
    settle(&mut office, &[&one, &other]);
    let text = office.document(record).note().unwrap().unwrap();
    for word in ["急", "后门", "有狗", "问保安", "周一休"] {
        assert!(text.contains(word), "{word} is gone: {text}");
    }
    assert!(!text.contains("常关"), "{text}");
}

#[test]
fn a_refused_creation_leaves_the_list_and_stays_as_one_draft() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office
        .rules
        .insert(rig.device, Rule::RefuseKey("grid".into(), "unknown_grid"));
    let made = rig
        .phone
        .create_card("A1", &[Edit::set("sign_name", "新店")], NOW)
        .unwrap();
    rig.set(made.record, "category", "餐饮");
    let tally = rig.sync(&mut office);
    assert_eq!((tally.rejected, tally.drafted), (2, 1));
    assert!(rig.phone.records().unwrap().is_empty());
    assert!(rig.phone.outbox().unwrap().is_empty());
    let drafts = rig.phone.drafts().unwrap();
    assert!(drafts[0].draft.creating);
    assert_eq!(drafts[0].draft.reason.code, "unknown_grid");
    office.rules.clear();
    let again = rig.phone.retry_draft(drafts[0].id, NOW).unwrap();
    assert_eq!(rig.text(again.record, "category").as_deref(), Some("餐饮"));
    settle(&mut office, &[&rig]);
    assert!(office.holds(again.record));
}

#[test]
fn a_rebuilt_record_takes_the_unsent_edits_along() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.set(record, "sign_name", "新名");
    rig.phone
        .edit(
            record,
            &[Edit::Note {
                text: "改过".into(),
            }],
            NOW,
        )
        .unwrap();
    office.compact(record);
    let tally = rig.sync(&mut office);
    assert_eq!((tally.accepted, tally.rejected, tally.drafted), (2, 2, 0));
    let view = office.document(record).view().unwrap();
    assert_eq!(
        (view.text("sign_name"), view.note.as_deref()),
        (Some("新名"), Some("改过"))
    );
    settle(&mut office, &[&rig]);
}

#[test]
fn an_edit_on_a_copy_of_another_generation_is_written_on_the_new_one() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.set(record, "sign_name", "新名");
    office.compact(record);
    // The answer breaks off after the snapshot: the copy is new, the outbox is not yet.
    assert_eq!(
        rig.sync_cut(&mut office, |_, mut items| {
            items.pop();
            Some(items)
        }),
        None
    );
    rig.set(record, "category", "餐饮");
    assert_eq!(
        rig.text(record, "sign_name").as_deref(),
        Some("新名"),
        "nothing typed is out of sight"
    );
    settle(&mut office, &[&rig]);
    assert_eq!(
        office.document(record).view().unwrap().text("category"),
        Some("餐饮")
    );
}

/// The file is put back from a backup on a second phone: same device, same epoch, same sequence. The first has sent its edit, the copy has not.
fn forked() -> (MemoryOffice, RecordId, Rig) {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let first = Rig::new(1, &mut office);
    first.sync(&mut office);
    let copy = cloned(&first, 9);
    first.set(record, "sign_name", "甲");
    copy.set(record, "category", "餐饮");
    first.sync(&mut office);
    (office, record, copy)
}

#[test]
fn a_copied_phone_forks_and_both_are_heard() {
    let (mut office, record, copy) = forked();
    let tally = copy.sync(&mut office);
    assert_eq!((tally.rejected, tally.accepted, tally.drafted), (1, 1, 0));
    let epoch = inside(&copy, |tx| Ok(tx.epoch()?));
    assert!(
        epoch > 2,
        "by a leap: the other copy counts on from the same number"
    );
    let view = office.document(record).view().unwrap();
    assert_eq!(
        (view.text("sign_name"), view.text("category")),
        (Some("甲"), Some("餐饮"))
    );
}

/// The copy's change is there already, the answer to one's own of the same number is not.
#[test]
fn a_card_stays_readable_between_the_fork_and_its_mending() {
    let (mut office, record, copy) = forked();
    let cut = copy.sync_cut(&mut office, |_, mut items| {
        items.pop();
        Some(items)
    });
    assert_eq!(cut, None);
    assert_eq!(copy.text(record, "sign_name").as_deref(), Some("甲"));
    copy.set(record, "unit", "2楼");
    assert_eq!(
        copy.text(record, "category").as_deref(),
        Some("餐饮"),
        "the next edit brings back what the fork hid"
    );
    settle(&mut office, &[&copy]);
    let row = ["sign_name", "category", "unit"].map(|key| office.text(record, key));
    assert_eq!(row.map(Option::unwrap), ["甲", "餐饮", "2楼"]);
}

#[test]
fn a_server_that_refuses_for_ever_gets_no_endless_rebases() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office
        .rules
        .insert(rig.device, Rule::RefuseAll("actor_forked"));
    rig.set(record, "sign_name", "新名");
    rig.sync(&mut office);
    rig.sync(&mut office);
    assert!(rig.phone.outbox().unwrap().is_empty());
    assert_eq!(codes(&rig), ["actor_forked"]);
}

#[test]
fn what_waits_too_long_for_a_dependency_is_written_anew() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office
        .rules
        .insert(rig.device, Rule::PutOff("dependency_missing"));
    let before = rig.set(record, "sign_name", "新名").hash;
    for _ in 0..7 {
        rig.sync(&mut office);
        assert_eq!(rig.phone.outbox().unwrap()[0].hash, before.unwrap());
    }
    rig.sync(&mut office);
    assert_ne!(rig.phone.outbox().unwrap()[0].hash, before.unwrap());
    office.rules.clear();
    settle(&mut office, &[&rig]);
    assert_eq!(
        office.document(record).view().unwrap().text("sign_name"),
        Some("新名")
    );
}

#[test]
fn a_held_edit_is_seen_until_the_reviewer_rules() {
    for accept in [true, false] {
        let mut office = MemoryOffice::new();
        let record = card(&mut office, 1);
        let rig = Rig::new(1, &mut office);
        rig.sync(&mut office);
        office.rules.insert(rig.device, Rule::HoldAll);
        let hash = rig.set(record, "sign_name", "新名").hash.unwrap();
        rig.sync(&mut office);
        assert_eq!(rig.phone.status().unwrap().held, 1);
        assert_eq!(rig.phone.cards().unwrap()[0].place, card::Place::Held);
        assert_eq!(rig.text(record, "sign_name").as_deref(), Some("新名"));
        office.rules.clear();
        office.decide_held(hash, accept);
        settle(&mut office, &[&rig]);
        let drafts: &[&str] = if accept { &[] } else { &["held_refused"] };
        assert_eq!(codes(&rig), drafts);
    }
}

/// One edit that takes a value away, sets another and rewrites the note, while others write both fields.
#[test]
fn a_note_written_anew_replaces_no_value_that_its_author_never_saw() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let [li, wang] = [1, 2].map(|number| Rig::new(number, &mut office));
    li.sync(&mut office);
    li.set(record, "unit", "1室");
    settle(&mut office, &[&li, &wang]);
    let edits = [
        Edit::Delete { key: "unit".into() },
        Edit::set("lane", "5"),
        Edit::Note {
            text: "后门送货".into(),
        },
    ];
    wang.phone.edit(record, &edits, NOW).unwrap();
    li.set(record, "unit", "2室");
    li.set(record, "lane", "7");
    li.sync(&mut office);
    office.compact(record);
    settle(&mut office, &[&wang, &li]);
    let view = wang.phone.view(record).unwrap();
    let values = |key: &str| {
        view.values[key]
            .iter()
            .filter_map(|value| value.value.as_str())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        (values("unit"), values("lane")),
        (["2室"].into(), ["5", "7"].into())
    );
    assert_eq!(view.note.as_deref(), Some("后门送货"));
    assert!(codes(&wang).is_empty());
}

#[test]
fn a_held_edit_stays_in_sight_when_others_of_its_card_are_written_anew() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let rule = Rule::HoldKey("sign_name".into());
    office.rules.insert(rig.device, rule);
    let held = rig.set(record, "sign_name", "新名").hash.unwrap();
    rig.sync(&mut office);
    office.compact(record);
    rig.set(record, "category", "餐饮");
    rig.sync(&mut office);
    assert_eq!(
        rig.phone.status().unwrap().held,
        2,
        "what follows is held with it"
    );
    office.decide_held(held, false);
    settle(&mut office, &[&rig]);
    assert_eq!(codes(&rig), ["held_refused"], "the author is told");
    assert_eq!(office.text(record, "category").as_deref(), Some("餐饮"));
}
