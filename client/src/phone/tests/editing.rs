//! What a phone refuses to write, and what it writes.

use lianka_sync_core::{crdt::record::Edit, id::EntryId, limits};
use uuid::Uuid;

use super::*;

fn refused(rig: &Rig, record: RecordId, edit: &Edit, code: &str) {
    let before = rig.phone.view(record).unwrap();
    // A good edit beside it does not save it, and is not saved either.
    let error = rig
        .phone
        .edit(
            record,
            &[Edit::set("opening_hours", "9-21"), edit.clone()],
            NOW,
        )
        .unwrap_err();
    assert_eq!(error.code(), code, "{edit:?}");
    assert_eq!(rig.phone.view(record).unwrap(), before);
    assert!(rig.phone.outbox().unwrap().is_empty());
}

#[test]
fn what_the_server_would_refuse_is_refused_here() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let entry = EntryId(Uuid::from_u128(5));
    refused(&rig, record, &Edit::set("grid", "B2"), "field_not_editable");
    refused(
        &rig,
        record,
        &Edit::set("street", "310105009"),
        "write_once",
    );
    refused(&rig, record, &Edit::set("nope", "x"), "unknown_field");
    refused(
        &rig,
        record,
        &Edit::set("occupancy", "倒闭"),
        "value_not_in_list",
    );
    refused(
        &rig,
        record,
        &Edit::set("sign_name", &"长".repeat(101)),
        "value_too_long",
    );
    refused(
        &rig,
        record,
        &Edit::set(format!("contacts/{entry}/party_status"), "群众"),
        "consent_missing",
    );
    refused(
        &rig,
        record,
        &Edit::Note {
            text: "长".repeat(limits::NOTE_CHARS_MAX + 1),
        },
        "value_too_long",
    );
    let stranger = rig
        .phone
        .edit(RecordId(Uuid::from_u128(7)), &[Edit::set("road", "x")], NOW)
        .unwrap_err();
    assert_eq!(stranger.code(), "no_such_record");
}

#[test]
fn a_new_card_stays_in_the_users_grids() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    assert_eq!(
        rig.phone.create_card("B2", &[], NOW).unwrap_err().code(),
        "not_your_grid"
    );
    assert!(rig.phone.records().unwrap().is_empty());
    let made = rig
        .phone
        .create_card(
            "A1",
            &[
                Edit::set("sign_name", "新店"),
                Edit::Note {
                    text: "刚开".into(),
                },
            ],
            NOW,
        )
        .unwrap();
    assert_eq!(rig.text(made.record, "sign_name").as_deref(), Some("新店"));
    assert_eq!(
        rig.phone.view(made.record).unwrap().note.as_deref(),
        Some("刚开")
    );
    let tally = rig.sync(&mut office);
    assert_eq!((tally.accepted, tally.rejected), (1, 0));
    settle(&mut office, &[&rig]);
}

#[test]
fn consent_given_in_the_same_edit_is_enough_and_a_withdrawal_wins() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let (contact, grant, withdrawal) = (
        EntryId(Uuid::from_u128(5)),
        EntryId(Uuid::from_u128(6)),
        EntryId(Uuid::from_u128(7)),
    );
    let consent = |entry: EntryId, decision: &str| {
        [
            ("contact", contact.to_string()),
            ("scope", "party_status".into()),
            ("decision", decision.into()),
        ]
        .map(|(field, text)| Edit::set(format!("consent/{entry}/{field}"), &text))
    };
    let status = |text: &str| Edit::set(format!("contacts/{contact}/party_status"), text);
    let mut edits = consent(grant, "grant").to_vec();
    edits.push(status("群众"));
    rig.phone.edit(record, &edits, NOW).unwrap();
    rig.phone
        .edit(record, &consent(withdrawal, "withdraw"), NOW)
        .unwrap();
    assert_eq!(
        rig.phone
            .edit(record, &[status("党员")], NOW)
            .unwrap_err()
            .code(),
        "consent_missing"
    );
    let tally = rig.sync(&mut office);
    assert_eq!((tally.accepted, tally.rejected), (2, 0));
    // A log entry is written once.
    assert_eq!(
        rig.phone
            .edit(
                record,
                &[Edit::set(format!("consent/{grant}/decision"), "withdraw")],
                NOW
            )
            .unwrap_err()
            .code(),
        "write_once"
    );
}

#[test]
fn saying_what_is_there_already_makes_no_change() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    assert_eq!(rig.set(record, "sign_name", "王记包子").hash, None);
    assert!(rig.phone.outbox().unwrap().is_empty());
}

#[test]
fn the_list_is_in_walking_order_and_finds_by_initials() {
    let mut office = MemoryOffice::new();
    for (number, door) in [(1, "12"), (2, "7"), (3, "3")] {
        office.import(
            number,
            &[
                Edit::set("sign_name", "包子铺"),
                Edit::set("road", "天平路"),
                Edit::set("number", door),
            ],
        );
    }
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let doors = |filter: &CardFilter| -> Vec<String> {
        rig.phone
            .find_cards(filter)
            .unwrap()
            .into_iter()
            .filter_map(|card| card.number)
            .collect()
    };
    assert_eq!(doors(&CardFilter::default()), ["3", "7", "12"]);
    assert_eq!(
        doors(&CardFilter {
            side: Some("even".into()),
            ..CardFilter::default()
        }),
        ["12"]
    );
    assert_eq!(
        doors(&CardFilter {
            query: Some("tplbzp".into()),
            ..CardFilter::default()
        })
        .len(),
        3
    );
    assert_eq!(
        doors(&CardFilter {
            query: Some("tplbzq".into()),
            ..CardFilter::default()
        })
        .len(),
        0
    );
    assert_eq!(
        doors(&CardFilter {
            road: Some("衡山路".into()),
            ..CardFilter::default()
        })
        .len(),
        0
    );
    let record = rig.phone.cards().unwrap()[0].record;
    rig.set(record, "number", "99");
    assert_eq!(
        doors(&CardFilter::default()),
        ["7", "99", "12"],
        "an edit moves its card"
    );
    assert_eq!(rig.phone.cards().unwrap()[1].place, card::Place::Phone);
    rig.sync(&mut office);
    assert_eq!(rig.phone.cards().unwrap()[1].place, card::Place::Office);
}
