//! What the office tells a user, on the phone.

use lianka_sync_core::{codec::wire::Notice, id::ChangeHash, time::ServerTime};

use super::*;

fn notice(number: u128, record: RecordId) -> ResponseItem {
    ResponseItem::Notice(Notice {
        id: Uuid::from_u128(number),
        seq: number as u64,
        kind: "value_not_chosen".into(),
        record,
        field: Some("sign_name".into()),
        hash: Some(ChangeHash([7; 32])),
        by: Some("reviewer".into()),
        at: ServerTime::from_unix_ms(1_700_000_000_000),
        note: Some("电话核实".into()),
    })
}

/// One synchronisation whose answer brings these first.
fn sync_with(rig: &Rig, office: &mut MemoryOffice, extra: &[ResponseItem]) {
    rig.sync_cut(office, |_, items| Some([extra.to_vec(), items].concat()))
        .unwrap();
}

fn kept(rig: &Rig) -> Vec<(u64, bool)> {
    rig.phone
        .notices()
        .unwrap()
        .into_iter()
        .map(|kept| (kept.notice.seq, kept.unread))
        .collect()
}

#[test]
fn a_notice_that_comes_twice_is_one_and_stays_read() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    let record = card(&mut office, 1);
    sync_with(&rig, &mut office, &[notice(1, record), notice(2, record)]);
    assert_eq!(kept(&rig), [(2, true), (1, true)]);
    assert_eq!(
        rig.phone.notices().unwrap()[0].title.as_deref(),
        Some("天平路 1号 王记包子")
    );
    assert_eq!(rig.phone.status().unwrap().notices, 2);
    rig.phone.mark_notices_read().unwrap();
    sync_with(&rig, &mut office, &[notice(2, record), notice(3, record)]);
    assert_eq!(kept(&rig), [(3, true), (2, false), (1, false)]);
    assert_eq!(rig.phone.status().unwrap().notices, 1);
}

#[test]
fn what_is_erased_or_wiped_takes_its_notices_along() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    let (erased, other) = (card(&mut office, 1), card(&mut office, 2));
    sync_with(&rig, &mut office, &[notice(1, erased), notice(2, other)]);
    sync_with(&rig, &mut office, &[ResponseItem::Erase { record: erased }]);
    assert_eq!(kept(&rig), [(2, true)]);
    sync_with(&rig, &mut office, &[ResponseItem::Wipe]);
    let left: i64 = rusqlite::Connection::open(rig.phone.path())
        .unwrap()
        .query_row("SELECT count(*) FROM notice", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}
