//! Phones that nobody should read any more: away for too long, or copied.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use super::*;

const DAY_MS: i64 = 86_400_000;

/// A phone with a clock of its own and a card, whose server grants seven days.
struct Leased {
    rig: Rig,
    office: MemoryOffice,
    clock: Arc<AtomicI64>,
    record: RecordId,
}

impl Leased {
    fn new() -> Self {
        let mut office = MemoryOffice::new();
        office.lease_seconds = Some(7 * 86_400);
        let record = card(&mut office, 1);
        let mut rig = Rig::new(1, &mut office);
        let clock = Arc::new(AtomicI64::new(NOW.unix_ms()));
        rig.phone = rig.phone.with_clock(Clock::Fixed(clock.clone()));
        let mut leased = Self {
            rig,
            office,
            clock,
            record,
        };
        leased.sync();
        leased
    }

    fn at_days(&self, days: i64) -> &Phone {
        self.clock
            .store(NOW.unix_ms() + days * DAY_MS, Ordering::SeqCst);
        &self.rig.phone
    }

    fn sync(&mut self) {
        self.rig.sync(&mut self.office);
    }

    fn is_locked(&self) -> bool {
        let phone = &self.rig.phone;
        let codes = [
            phone.cards().map(drop),
            phone.view(self.record).map(drop),
            phone.project_all().map(drop),
            phone
                .edit(self.record, &[Edit::set("unit", "9")], NOW)
                .map(drop),
            phone.create_card("A1", &[], NOW).map(drop),
            phone.drafts().map(drop),
            phone.outbox().map(drop),
            phone.notices().map(drop),
        ]
        .map(|done| done.err().map(|error| error.code().to_owned()));
        let locked = codes
            .iter()
            .filter(|code| code.as_deref() == Some("locked"))
            .count();
        assert!(locked == 0 || locked == codes.len(), "{codes:?}");
        locked > 0
    }
}

#[test]
fn a_phone_locks_its_data_when_its_lease_is_over_and_opens_when_it_has_synchronised() {
    let mut leased = Leased::new();
    leased.at_days(6);
    assert!(!leased.is_locked());
    let unsent = leased.rig.phone.outbox().unwrap().len();
    assert!(unsent > 0);
    leased.at_days(7);
    assert!(leased.is_locked());
    let status = leased.rig.phone.status().unwrap();
    assert_eq!(
        (status.lease_left_ms, status.unsent),
        (Some(0), unsent as u64),
        "how the phone stands is still told"
    );
    leased.sync();
    assert!(!leased.is_locked());
    assert_eq!(
        leased.rig.text(leased.record, "unit").as_deref(),
        Some("9"),
        "what was unsent when it locked arrived"
    );
}

#[test]
fn a_clock_that_is_set_back_does_not_open_a_phone() {
    let leased = Leased::new();
    leased.at_days(8);
    assert!(leased.is_locked());
    for days in [0, -400, 1] {
        leased.at_days(days);
        assert!(leased.is_locked(), "{days}");
    }
    // Nor does it win time: what went by before counts.
    let leased = Leased::new();
    for days in [4, 0, 2] {
        leased.at_days(days);
        assert!(!leased.is_locked(), "{days}");
    }
    leased.at_days(3);
    assert!(leased.is_locked());
}

#[test]
fn a_restart_does_not_open_a_phone() {
    let mut leased = Leased::new();
    leased.at_days(8);
    assert!(leased.is_locked());
    let clock = leased.clock.clone();
    leased.rig.restart();
    clock.store(NOW.unix_ms(), Ordering::SeqCst);
    leased.rig.phone = leased.rig.phone.with_clock(Clock::Fixed(clock));
    assert!(leased.is_locked());
}

#[test]
fn a_server_that_grants_no_lease_locks_nothing() {
    let mut leased = Leased::new();
    leased.office.lease_seconds = None;
    leased.sync();
    leased.at_days(400);
    assert!(!leased.is_locked());
    assert_eq!(leased.rig.phone.status().unwrap().lease_left_ms, None);
}

#[test]
fn a_phone_tells_how_it_stands() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.set(record, "unit", "1");
    rig.set(record, "unit", "2");
    let mut sync = Synchronisation::new(CLIENT);
    let holdings = rig
        .phone
        .read(|tx| {
            Ok(Holdings {
                device_time: Some(NOW),
                ..tx.holdings()?
            })
        })
        .unwrap();
    let request = sync.next_request(holdings).unwrap();
    let RequestItem::Hello(hello) = &request.items[0] else {
        panic!("a request begins with hello")
    };
    assert_eq!(
        hello.report,
        Report {
            unsent: Some(2),
            held: Some(0),
            device_time: Some(NOW),
            wiped: false
        }
    );
}

#[test]
fn two_copies_of_a_phone_lose_no_edit_of_either() {
    let mut office = MemoryOffice::new();
    let (shared, only_first) = (card(&mut office, 1), card(&mut office, 2));
    let first = Rig::new(1, &mut office);
    first.sync(&mut office);
    let second = cloned(&first, 77);
    // The same actor, the same sequence, other content.
    first.set(shared, "sign_name", "王记包子铺");
    first.set(only_first, "unit", "201");
    first.sync(&mut office);
    second.set(shared, "unit", "101");
    let tally = second.sync(&mut office);
    assert_eq!(
        (tally.rejected, tally.rebased, tally.drafted),
        (1, 1, 0),
        "{tally:?}"
    );
    for rig in [&first, &second] {
        rig.sync(&mut office);
        assert!(rig.phone.outbox().unwrap().is_empty());
    }
    assert_eq!(
        second.text(only_first, "unit").as_deref(),
        Some("201"),
        "also what only its twin touched"
    );
    settle(&mut office, &[&second]);
    let row = |key: &str| office.text(shared, key);
    assert_eq!(
        (row("sign_name").as_deref(), row("unit").as_deref()),
        (Some("王记包子铺"), Some("101"))
    );
    // From now on they write under different names.
    first.set(shared, "lane", "5");
    second.set(shared, "number_suffix", "甲");
    for rig in [&first, &second, &first, &second] {
        rig.sync(&mut office);
    }
    let row = |key: &str| office.text(shared, key);
    assert_eq!(
        (row("lane").as_deref(), row("number_suffix").as_deref()),
        (Some("5"), Some("甲"))
    );
}

#[test]
fn server_times_do_not_count_for_a_lease() {
    // The server's clock may be anywhere; only what passes on the phone counts.
    let leased = Leased::new();
    assert_eq!(
        leased
            .rig
            .phone
            .status()
            .unwrap()
            .last_sync
            .unwrap()
            .server_time,
        office::OFFICE_NOW
    );
    assert!(!leased.is_locked());
}
