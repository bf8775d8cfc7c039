//! The program, or the connection, ends at the worst moment.

use super::*;
use lianka_client_core::editing;

#[test]
fn an_edit_is_saved_whole_or_not_at_all() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let mut rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    // The transaction dies after all effects were carried out, before the commit.
    let died: Result<(), PhoneError> = rig.phone.write(|tx| {
        let identity = tx.identity()?;
        let author = Author {
            identity: &identity,
            epoch: tx.epoch()?,
        };
        let edited = editing::edit(
            &author,
            &tx.record_state(record)?,
            &[Edit::set("sign_name", "新名")],
            &rig.phone.moment(NOW),
        )?;
        tx.apply(&edited.effects)?;
        assert_eq!(tx.holdings()?.outbox.len(), 1);
        Err(PhoneError::Cut)
    });
    assert_eq!(died.unwrap_err().code(), "cut");
    rig.restart();
    assert!(rig.phone.outbox().unwrap().is_empty());
    assert_eq!(rig.text(record, "sign_name").as_deref(), Some("王记包子"));
}

#[test]
fn what_was_saved_is_sent_after_a_crash_as_it_was() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let mut rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let receipt = rig.set(record, "sign_name", "新名");
    let bytes = rig.phone.outbox().unwrap()[0].bytes.clone();
    rig.restart();
    assert_eq!(rig.phone.outbox().unwrap()[0].bytes, bytes);
    assert_eq!(rig.text(record, "sign_name").as_deref(), Some("新名"));
    rig.sync(&mut office);
    assert!(office.has(receipt.hash.unwrap()));
}

#[test]
fn a_lost_answer_makes_duplicates_and_nothing_else() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let mut rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    for name in ["甲", "乙", "丙"] {
        rig.set(record, "sign_name", name);
    }
    assert_eq!(rig.sync_cut(&mut office, |_, _| None), None);
    rig.restart();
    assert_eq!(rig.phone.outbox().unwrap().len(), 3);
    let tally = rig.sync(&mut office);
    assert_eq!((tally.accepted, tally.duplicate), (0, 3));
    settle(&mut office, &[&rig]);
}

#[test]
fn an_answer_cut_anywhere_loses_nothing() {
    for kept in 0..8 {
        let mut office = MemoryOffice::new();
        let record = card(&mut office, 1);
        let (mut rig, other) = (Rig::new(1, &mut office), Rig::new(2, &mut office));
        settle(&mut office, &[&rig, &other]);
        other.set(record, "sign_name", "另一个");
        other.set(record, "unit", "2楼");
        other.sync(&mut office);
        for name in ["甲", "乙"] {
            rig.set(record, "sign_name", name);
        }
        rig.sync_cut(&mut office, |_, mut items| {
            items.truncate(kept);
            Some(items)
        });
        rig.restart();
        settle(&mut office, &[&rig, &other]);
        let conflicts =
            lianka_sync_core::kinds::conflicts(&office.document(record).view().unwrap()).count();
        assert_eq!(conflicts, 1, "cut after {kept}");
    }
}

#[test]
fn a_download_goes_on_from_its_last_checkpoint() {
    let mut office = MemoryOffice::new();
    for number in 1..=5 {
        card(&mut office, number);
    }
    office.checkpoint_items = 2;
    let mut rig = Rig::new(1, &mut office);
    // Two cards, a checkpoint, one card more.
    assert_eq!(
        rig.sync_cut(&mut office, |_, mut items| {
            items.truncate(4);
            Some(items)
        }),
        None
    );
    rig.restart();
    assert_eq!(rig.phone.records().unwrap().len(), 3, "what came is kept");
    let checkpoint = inside(&rig, |tx| Ok(tx.cursor()?));
    assert!(checkpoint.is_some());
    let tally = rig.sync(&mut office);
    assert_eq!(
        tally.snapshots, 3,
        "only what came before the checkpoint is not sent again"
    );
    settle(&mut office, &[&rig]);
}

#[test]
fn the_cursor_is_stored_with_what_it_stands_for() {
    let mut office = MemoryOffice::new();
    card(&mut office, 1);
    let mut rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let first = inside(&rig, |tx| Ok(tx.cursor()?));
    card(&mut office, 2);
    // The transaction that would store both dies.
    let mut sync = Synchronisation::new(CLIENT);
    let request = sync
        .next_request(rig.phone.read(|tx| Ok(tx.holdings()?)).unwrap())
        .unwrap();
    let answer = office.answer(rig.device, &request.items);
    let died: Result<(), PhoneError> = rig.phone.write(|tx| {
        receive(tx, &mut sync, answer, || rig.phone.moment(NOW))?;
        assert_ne!(tx.cursor()?, first);
        Err(PhoneError::Cut)
    });
    assert!(died.is_err());
    rig.restart();
    assert_eq!(inside(&rig, |tx| Ok(tx.cursor()?)), first);
    assert_eq!(rig.phone.records().unwrap().len(), 1);
    rig.sync(&mut office);
    rig.restart();
    assert_ne!(inside(&rig, |tx| Ok(tx.cursor()?)), first);
    assert_eq!(rig.phone.records().unwrap().len(), 2);
}

#[test]
fn one_process_synchronises_at_a_time() {
    let rig = Rig::at("http://localhost:1", 1);
    let lock = SyncLock::take(rig.phone.path()).unwrap();
    assert!(matches!(
        SyncLock::take(rig.phone.path()),
        Err(StoreError::Busy)
    ));
    drop(lock);
    assert!(SyncLock::take(rig.phone.path()).is_ok());
}

#[test]
fn two_handles_on_one_file_see_each_others_edits() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let other = Phone::open(rig.phone.path()).unwrap();
    rig.set(record, "sign_name", "甲");
    other
        .edit(record, &[Edit::set("sign_name", "乙")], NOW)
        .unwrap();
    rig.set(record, "category", "餐饮");
    let tally = rig.sync(&mut office);
    assert_eq!(
        (tally.accepted, tally.rejected),
        (3, 0),
        "one sequence, without a fork"
    );
    assert_eq!(
        office.document(record).view().unwrap().text("sign_name"),
        Some("乙")
    );
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    assert!(matches!(
        LocalStore::open(&path),
        Err(StoreError::Missing(_))
    ));
    std::fs::write(
        &path,
        "something else entirely, and long enough to be looked at",
    )
    .unwrap();
    assert!(matches!(
        LocalStore::open(&path),
        Err(StoreError::Foreign(_))
    ));
    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x)")
        .unwrap();
    assert!(matches!(
        LocalStore::open(&other),
        Err(StoreError::Foreign(_))
    ));
    let newer = folder.path().join("newer.db");
    LocalStore::open_or_create(&newer).unwrap();
    rusqlite::Connection::open(&newer)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(matches!(LocalStore::open(&newer), Err(StoreError::Newer)));
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    card(&mut office, 1);
    rig.sync(&mut office);
    for entry in std::fs::read_dir(rig.folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{:?}",
            entry.file_name()
        );
    }
}
