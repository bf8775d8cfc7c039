//! A tail against logs written by hand.

use super::*;

const EPOCH: Uuid = Uuid::from_u128(1);
const PHONE: DeviceId = DeviceId(Uuid::from_u128(9));
const OTHER: DeviceId = DeviceId(Uuid::from_u128(8));

fn record(n: u128) -> RecordId {
    RecordId(Uuid::from_u128(n))
}

fn entry(seq: i64, n: u128, what: What) -> Entry {
    Entry {
        seq,
        record: record(n),
        generation: 1,
        received_at: ServerTime::from_unix_ms(seq),
        what,
    }
}

fn by(device: DeviceId, seq: i64, n: u128) -> Entry {
    let what = What::Change {
        hash: ChangeHash([seq as u8; 32]),
        device,
        composed: false,
        bytes: vec![seq as u8; 10].into(),
    };
    entry(seq, n, what)
}

fn stand(grid: &str, grid_seq: i64) -> Stand {
    Stand {
        kind: Kind::ShopCard,
        grid: grid.into(),
        grid_seq,
        holds_p3: false,
    }
}

/// A store: its log, and where its records stand.
struct Log {
    epoch: Uuid,
    entries: Vec<Entry>,
    stands: BTreeMap<RecordId, Stand>,
}

impl Log {
    fn new(entries: Vec<Entry>) -> Self {
        let stands = entries.iter().map(|entry| (entry.record, stand("A1", 1)));
        Self {
            epoch: EPOCH,
            stands: stands.collect(),
            entries,
        }
    }

    fn news(&self, stretch: Stretch) -> News {
        let is_in = |entry: &&Entry| entry.seq > stretch.after && entry.seq <= stretch.upto;
        News {
            entries: self.entries.iter().filter(is_in).cloned().collect(),
            stands: self.stands.clone(),
        }
    }

    /// Brings a tail up to date, and back to `after`; how many stretches were read for it.
    fn tell(&self, tail: &mut Tail, after: i64) -> usize {
        let known = tail.newest();
        let mark = self.entries.iter().find(|entry| entry.seq == known);
        let newest = Newest {
            store_epoch: self.epoch,
            head: self.entries.last().map_or(0, |entry| entry.seq),
            mark: mark.map(Entry::mark),
        };
        let behind = tail.behind(&newest);
        if let Some(behind) = behind {
            tail.learn(behind, self.news(behind));
        }
        let before = tail.before(after);
        if let Some(before) = before {
            tail.learn(before, self.news(before));
        }
        usize::from(behind.is_some()) + usize::from(before.is_some())
    }
}

fn slice(after: i64, upto: i64) -> Slice {
    Slice {
        grids: Some(vec!["A1".into()]),
        device: PHONE,
        brought: Vec::new(),
        with_brought: false,
        after,
        upto,
    }
}

fn changes(tail: &Tail, slice: &Slice) -> Vec<i64> {
    let changes = tail.changes(slice, 100);
    changes.iter().map(|change| change.seq).collect()
}

fn tail() -> Tail {
    Tail::new(Bounds {
        entries: 4,
        bytes: 10_000,
    })
}

#[test]
fn what_was_read_is_not_read_again() {
    let (mut tail, mut log) = (tail(), Log::new(vec![by(OTHER, 1, 1), by(OTHER, 2, 2)]));
    assert!(!tail.tells(0, 2), "nothing was read");
    assert_eq!(log.tell(&mut tail, 1), 1);
    assert_eq!(changes(&tail, &slice(1, 2)), [2]);
    assert_eq!(log.tell(&mut tail, 1), 0);
    assert_eq!(log.tell(&mut tail, 0), 1, "further back");
    log.entries.push(by(OTHER, 3, 1));
    assert_eq!(log.tell(&mut tail, 0), 1, "and what is new");
    assert_eq!(changes(&tail, &slice(0, 3)), [1, 2, 3]);
    assert_eq!(
        changes(&tail, &slice(0, 2)),
        [1, 2],
        "up to a head read before"
    );
}

#[test]
fn a_device_is_told_what_it_cannot_have() {
    let mut composed = by(PHONE, 4, 1);
    if let What::Change { composed, .. } = &mut composed.what {
        *composed = true;
    }
    let log = Log::new(vec![
        by(OTHER, 1, 1),
        by(PHONE, 2, 1),
        by(PHONE, 3, 1),
        composed,
    ]);
    let mut tail = tail();
    log.tell(&mut tail, 0);
    let asked = Slice {
        brought: vec![3, 4],
        ..slice(0, 4)
    };
    // Of its own the second is a copy's of this phone, the third it brought now, the fourth the server wrote in its name.
    assert_eq!(changes(&tail, &asked), [1, 2, 4]);
    assert_eq!(tail.changes(&asked, 2).len(), 2);
}

#[test]
fn a_record_is_told_to_those_who_work_its_grid_and_leaves_the_others() {
    let left = entry(2, 1, What::Leave { grid: "A1".into() });
    let mut log = Log::new(vec![by(OTHER, 1, 1), left, by(OTHER, 3, 1)]);
    log.stands.insert(record(1), stand("B1", 3));
    let mut tail = tail();
    log.tell(&mut tail, 0);
    assert_eq!(changes(&tail, &slice(0, 3)), [0_i64; 0]);
    let there = Slice {
        grids: Some(vec!["B1".into()]),
        ..slice(1, 3)
    };
    let advances = tail.advances(&there);
    assert_eq!((advances.len(), advances[0].entries), (1, 1));
    assert!(advances[0].arrived, "it came with the third entry");
    let gone = |seen: &str, now: &str| Gone {
        seen: Some(vec![seen.into()]),
        now: Some(vec![now.into()]),
        lost: Vec::new(),
        after: 0,
        upto: 3,
    };
    assert_eq!(tail.departures(&gone("A1", "A1")).len(), 1);
    assert_eq!(tail.departures(&gone("A1", "B1")).len(), 0, "it came back");
    assert_eq!(tail.departures(&gone("C1", "C1")).len(), 0, "never seen");
}

#[test]
fn nothing_stays_of_a_record_that_was_rebuilt_or_erased() {
    for (what, kept) in [(What::Snapshot, vec![2, 3]), (What::Erase, vec![2])] {
        let erased = matches!(what, What::Erase);
        let mut log = Log::new(vec![by(OTHER, 1, 1), by(OTHER, 2, 2)]);
        let mut tail = tail();
        log.tell(&mut tail, 0);
        log.entries.push(entry(3, 1, what));
        if erased {
            log.stands.remove(&record(1));
        }
        log.tell(&mut tail, 0);
        assert_eq!(changes(&tail, &slice(0, 3)), kept);
        assert_eq!(tail.bytes(), tail.entries.iter().map(bytes).sum::<usize>());
        assert_eq!(tail.entries.len(), 2);
        assert_eq!(tail.advances(&slice(0, 3)).len(), kept.len());
        let gone = Gone {
            seen: None,
            now: None,
            lost: Vec::new(),
            after: 0,
            upto: 3,
        };
        assert_eq!(tail.departures(&gone).len(), usize::from(erased));
        // The same where it was known before what came earlier is read.
        let mut later = self::tail();
        log.tell(&mut later, 2);
        log.tell(&mut later, 0);
        assert_eq!(changes(&later, &slice(0, 3)), kept);
    }
}

#[test]
fn that_a_record_left_is_told_also_after_it_was_rebuilt() {
    let left = || entry(2, 1, What::Leave { grid: "A1".into() });
    let mut log = Log::new(vec![by(OTHER, 1, 1), left()]);
    log.stands.insert(record(1), stand("B1", 2));
    let gone = |upto| Gone {
        seen: Some(vec!["A1".into()]),
        now: Some(vec!["A1".into()]),
        lost: Vec::new(),
        after: 0,
        upto,
    };
    let mut tail = tail();
    log.tell(&mut tail, 0);
    assert_eq!(tail.departures(&gone(2)).len(), 1);
    log.entries.push(entry(3, 1, What::Snapshot));
    log.tell(&mut tail, 0);
    assert_eq!(tail.departures(&gone(3)).len(), 1, "rebuilt later");
    for known in [0, 2] {
        let mut tail = self::tail();
        log.tell(&mut tail, known);
        log.tell(&mut tail, 0);
        assert_eq!(tail.departures(&gone(3)).len(), 1, "read at once");
    }
}

#[test]
fn what_was_trimmed_further_back_is_told_by_what_stands_for_it() {
    let mut log = Log::new(vec![by(OTHER, 1, 1), by(OTHER, 2, 1), by(OTHER, 3, 2)]);
    let mut tail = tail();
    log.tell(&mut tail, 1);
    assert_eq!(changes(&tail, &slice(1, 3)), [2, 3]);
    log.entries[1] = entry(2, 1, What::Snapshot);
    log.entries.remove(0);
    assert_eq!(changes(&tail, &slice(1, 3)), [2, 3]);
    log.tell(&mut tail, 0);
    let advances = tail.advances(&slice(0, 3));
    assert!(advances[0].arrived && !advances[1].arrived);
}

#[test]
fn a_store_that_was_put_back_is_not_believed_to_go_on() {
    let log = |newest: Entry| Log::new(vec![by(OTHER, 1, 1), newest]);
    let other = log(by(OTHER, 2, 3));
    let mut longer = log(by(OTHER, 2, 3));
    longer.entries.push(by(OTHER, 3, 3));
    let mut renamed = log(by(OTHER, 2, 2));
    renamed.epoch = Uuid::from_u128(2);
    let shorter = Log::new(vec![by(OTHER, 1, 1)]);
    for (back, expected) in [
        (other, vec![1, 2]),
        (longer, vec![1, 2, 3]),
        (renamed, vec![1, 2]),
        (shorter, vec![1]),
    ] {
        let mut tail = tail();
        log(by(OTHER, 2, 2)).tell(&mut tail, 0);
        back.tell(&mut tail, 0);
        let records: Vec<_> = back.entries.iter().map(|entry| entry.record).collect();
        let told = tail.changes(&slice(0, 3), 9);
        let told: Vec<_> = told
            .iter()
            .map(|change| (change.seq, change.record))
            .collect();
        assert_eq!(told, expected.into_iter().zip(records).collect::<Vec<_>>());
    }
}

#[test]
fn beyond_its_bounds_the_oldest_go() {
    let mut log = Log::new((1..=4).map(|seq| by(OTHER, seq, 1)).collect());
    let mut tail = tail();
    log.tell(&mut tail, 0);
    assert!(tail.tells(0, 4));
    log.entries.push(by(OTHER, 5, 2));
    log.stands.insert(record(2), stand("A1", 5));
    log.tell(&mut tail, 2);
    assert!(!tail.tells(0, 5) && tail.tells(1, 5));
    assert_eq!(tail.before(0), None, "too much to hold");
    log.entries.extend((6..=20).map(|seq| by(OTHER, seq, 2)));
    log.tell(&mut tail, 18);
    assert!(tail.tells(18, 20) && !tail.tells(15, 20));
    assert_eq!(changes(&tail, &slice(18, 20)), [19, 20]);
    let mut narrow = Tail::new(Bounds {
        entries: 100,
        bytes: 5 * size_of::<Entry>() / 2 + 20,
    });
    log.tell(&mut narrow, 10);
    assert!(narrow.tells(18, 20) && !narrow.tells(17, 20));
}

/// For a block: then it is marked, and counted no more than before.
#[test]
fn what_a_device_brought_is_told_where_it_is_asked_for() {
    let mut tail = Tail::new(Bounds::NONE);
    tail.learn(
        Stretch { after: 0, upto: 2 },
        News {
            entries: vec![by(PHONE, 1, 1), by(OTHER, 2, 1)],
            stands: BTreeMap::from([(record(1), stand("A1", 0))]),
        },
    );
    let asked = Slice {
        brought: vec![1],
        with_brought: true,
        ..slice(0, 2)
    };
    let told = tail.changes(&asked, 9);
    let told: Vec<_> = told.iter().map(|told| (told.seq, told.brought)).collect();
    assert_eq!(told, [(1, true), (2, false)]);
}
