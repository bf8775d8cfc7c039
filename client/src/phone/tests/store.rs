//! What the file keeps, and what it does not.

use super::{office::Rule, *};
use lianka_client_core::Effect;

fn apply(rig: &Rig, effects: &[Effect]) {
    inside(rig, |tx| Ok(tx.apply(effects)?));
}

/// A reviewer refuses what was held of a record that the phone does not hold any more: the user is shown it.
#[test]
fn a_held_edit_of_a_record_that_left_becomes_a_draft_when_it_is_refused() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office.rules.insert(rig.device, Rule::HoldAll);
    let held = rig.set(record, "sign_name", "新名").hash.unwrap();
    rig.sync(&mut office);
    office.move_to_grid(record, "B2");
    rig.sync(&mut office);
    assert!(rig.phone.records().unwrap().is_empty());
    assert_eq!(
        (rig.phone.status().unwrap().held, codes(&rig).len()),
        (1, 0)
    );
    office.decide_held(held, false);
    rig.sync(&mut office);
    assert!(rig.phone.outbox().unwrap().is_empty());
    let drafts = rig.phone.drafts().unwrap();
    assert_eq!(codes(&rig), ["held_refused"]);
    assert_eq!(drafts[0].draft.edits, [Edit::set("sign_name", "新名")]);
}

#[test]
fn a_wipe_empties_every_table() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office
        .rules
        .insert(rig.device, Rule::RefuseKey("unit".into(), "value_too_long"));
    rig.set(record, "unit", "1室");
    rig.sync(&mut office);
    rig.set(record, "lane", "5");
    rig.sync(&mut office);
    rig.set(record, "sign_name", "新名");
    rig.phone.cards().unwrap();
    rig.phone.remember_listing(&[record]).unwrap();
    let notice = lianka_sync_core::codec::wire::Notice {
        id: Uuid::from_u128(5),
        seq: 1,
        kind: "conflict_resolved".into(),
        record,
        field: None,
        hash: None,
        by: None,
        at: lianka_sync_core::time::ServerTime::from_unix_ms(1),
        note: None,
    };
    apply(&rig, &[Effect::PutNotice(Box::new(notice))]);
    let counts = |rig: &Rig| {
        let connection = rusqlite::Connection::open(rig.phone.path()).unwrap();
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
        let names: Vec<String> = connection
            .prepare(sql)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let count = |name: String| {
            let rows: i64 = connection
                .query_row(&format!("SELECT count(*) FROM {name}"), [], |row| {
                    row.get(0)
                })
                .unwrap();
            (name, rows)
        };
        names.into_iter().map(count).collect::<Vec<_>>()
    };
    assert_eq!(
        counts(&rig).iter().find(|(_, rows)| *rows == 0),
        None,
        "else this test says nothing of it"
    );
    apply(&rig, &[Effect::Wipe]);
    let left: Vec<_> = counts(&rig)
        .into_iter()
        .filter(|(_, rows)| *rows > 0)
        .collect();
    assert_eq!(
        left,
        [("meta".to_owned(), 1)],
        "only the way to tell the office so"
    );
    assert!(inside(&rig, |tx| Ok(tx.wipe_report()?)).is_some());
}
