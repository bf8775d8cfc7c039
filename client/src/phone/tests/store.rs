//! What each effect does to the file, where its word says more than a round trip of two honest ends would show.

use lianka_sync_core::{id::ChangeHash, kinds::Kind};

use super::{model::Whim, *};
use lianka_client_core::{Effect, StoredRecord, TailChange};

fn tail(byte: u8, seq: Option<u64>) -> TailChange {
    TailChange {
        hash: ChangeHash([byte; 32]),
        seq,
        bytes: vec![byte],
    }
}

fn snapshot(record: RecordId, grid: &str, generation: u32, seq: u64) -> Effect {
    Effect::PutSnapshot {
        record,
        kind: Kind::ShopCard,
        grid: grid.into(),
        generation,
        seq,
        bytes: vec![generation as u8, seq as u8],
    }
}

fn stored(rig: &Rig, record: RecordId) -> StoredRecord {
    inside(rig, |tx| Ok(tx.record_state(record)?))
        .stored
        .unwrap()
}

fn apply(rig: &Rig, effects: &[Effect]) {
    inside(rig, |tx| Ok(tx.apply(effects)?));
}

/// A phone with one record of generation 2 up to 3, and a tail of changes behind it.
fn rig() -> (Rig, RecordId) {
    let (rig, record) = (
        Rig::at("http://localhost:1", 1),
        RecordId(Uuid::from_u128(7)),
    );
    let append = |change| Effect::AppendTail {
        record,
        generation: 2,
        change,
    };
    let effects = [
        snapshot(record, "A1", 2, 3),
        append(tail(9, None)),
        append(tail(4, Some(4))),
        append(tail(5, Some(5))),
        append(tail(7, Some(7))),
    ];
    apply(&rig, &effects);
    (rig, record)
}

#[test]
fn a_snapshot_takes_the_place_of_what_it_reaches() {
    let (rig, record) = rig();
    apply(
        &rig,
        &[
            Effect::MarkLeaving { record },
            Effect::BeginReset,
            snapshot(record, "B2", 2, 5),
        ],
    );
    let expected = StoredRecord {
        kind: Kind::ShopCard,
        grid: "B2".into(),
        generation: 2,
        seq: 5,
        snapshot: vec![2, 5],
        tail: vec![tail(7, Some(7)), tail(9, None)],
        leaving: false,
        before_reset: false,
    };
    assert_eq!(stored(&rig, record), expected);
    for generation in [3, 2] {
        apply(
            &rig,
            &[
                Effect::AppendTail {
                    record,
                    generation: 2,
                    change: tail(8, Some(8)),
                },
                snapshot(record, "B2", generation, 6),
            ],
        );
        let now = stored(&rig, record);
        assert_eq!(
            (now.generation, now.seq, now.tail),
            (generation, 6, vec![]),
            "nothing of another generation stays"
        );
    }
}

#[test]
fn a_tail_holds_changes_of_its_generation_once() {
    let (rig, record) = rig();
    let before = stored(&rig, record);
    let append = |generation, change| Effect::AppendTail {
        record,
        generation,
        change,
    };
    apply(
        &rig,
        &[
            append(1, tail(8, Some(8))),
            append(3, tail(8, Some(8))),
            append(2, tail(4, None)),
        ],
    );
    assert_eq!(
        stored(&rig, record),
        before,
        "a sequence that is known is not forgotten"
    );
    apply(&rig, &[append(2, tail(9, Some(6)))]);
    let seqs = |rig: &Rig| {
        stored(rig, record)
            .tail
            .iter()
            .map(|change| change.seq)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        seqs(&rig),
        [Some(4), Some(5), Some(6), Some(7)],
        "and one that was not is learnt"
    );
    apply(
        &rig,
        &[
            append(2, tail(9, None)),
            append(2, tail(8, None)),
            Effect::ForgetUnconfirmed { record },
        ],
    );
    assert_eq!(seqs(&rig), [Some(4), Some(5), Some(6), Some(7)]);
    apply(&rig, &[Effect::ForgetHistory { record }]);
    let now = stored(&rig, record);
    assert_eq!(
        (now.seq, now.snapshot, now.tail, now.before_reset),
        (0, vec![], vec![], false)
    );
}

#[test]
fn a_reset_doubts_what_the_server_had_and_nothing_else() {
    let (rig, sent) = rig();
    let [made, acknowledged] = [8, 9].map(|n| RecordId(Uuid::from_u128(n)));
    let create = |record| Effect::CreateRecord {
        record,
        kind: Kind::ShopCard,
        grid: "A1".into(),
    };
    apply(
        &rig,
        &[
            create(made),
            create(acknowledged),
            Effect::SetCursor(Some("c".into())),
        ],
    );
    apply(
        &rig,
        &[
            Effect::AppendTail {
                record: acknowledged,
                generation: 1,
                change: tail(1, Some(1)),
            },
            Effect::BeginReset,
        ],
    );
    assert_eq!(
        [sent, acknowledged, made].map(|record| stored(&rig, record).before_reset),
        [true, true, false]
    );
    assert_eq!(inside(&rig, |tx| Ok(tx.cursor()?)), None);
    // Nothing but a pull from the start ends it.
    apply(
        &rig,
        &[Effect::StartOver, Effect::SetCursor(Some("d".into()))],
    );
    assert!(inside(&rig, |tx| Ok(tx.standing()?)).start_over);
    apply(&rig, &[Effect::SetCursor(None)]);
    assert!(!inside(&rig, |tx| Ok(tx.standing()?)).start_over);
}

#[test]
fn a_record_goes_with_its_tail_and_an_erased_one_with_all_of_it() {
    let (rig, record) = rig();
    apply(&rig, &[Effect::RemoveRecord { record }]);
    assert!(
        inside(&rig, |tx| Ok(tx.record_state(record)?))
            .stored
            .is_none()
    );
    apply(&rig, &[snapshot(record, "A1", 2, 3)]);
    assert_eq!(stored(&rig, record).tail, [], "what comes back begins anew");
}

/// A reviewer refuses what was held of a record that the phone does not hold any more: the user is shown it.
#[test]
fn a_held_edit_of_a_record_that_left_becomes_a_draft_when_it_is_refused() {
    let mut model = Model::new();
    let record = card(&mut model, 1);
    let rig = Rig::new(1, &mut model);
    rig.sync(&mut model);
    model.whims.insert(rig.device, Whim::HoldAll);
    let held = rig.set(record, "sign_name", "新名").hash.unwrap();
    rig.sync(&mut model);
    model.move_to_grid(record, "B2");
    model.scope_epoch += 1;
    rig.sync(&mut model);
    assert!(rig.phone.records().unwrap().is_empty());
    assert_eq!(
        (rig.phone.status().unwrap().held, codes(&rig).len()),
        (1, 0)
    );
    model.rule_on_held(held, false);
    model.whims.insert(
        rig.device,
        Whim::RefuseKey("sign_name".into(), "held_refused"),
    );
    rig.sync(&mut model);
    assert!(rig.phone.outbox().unwrap().is_empty());
    let drafts = rig.phone.drafts().unwrap();
    assert_eq!(codes(&rig), ["held_refused"]);
    assert_eq!(drafts[0].draft.edits, [Edit::set("sign_name", "新名")]);
}

#[test]
fn a_wipe_empties_every_table() {
    let mut model = Model::new();
    let record = card(&mut model, 1);
    let rig = Rig::new(1, &mut model);
    rig.sync(&mut model);
    model
        .whims
        .insert(rig.device, Whim::RefuseKey("unit".into(), "value_too_long"));
    rig.set(record, "unit", "1室");
    rig.sync(&mut model);
    rig.set(record, "lane", "5");
    rig.sync(&mut model);
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
