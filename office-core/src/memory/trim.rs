//! What keeps a street short: documents brought up to the log, and old changes out of the log once their document holds them.

use std::collections::BTreeMap;

use lianka_sync_core::{crdt::record::Record, id::RecordId, time::ServerTime};

use super::MemoryStore;
use crate::store::{Logged, Place};

const DAY_MS: i64 = 86_400_000;
/// A download brings notices so many days old; younger ones stay however short the log is.
const NOTICE_DAYS: u32 = 30;

impl MemoryStore {
    /// Brings every document up to the log. A document that does not load stays as it is.
    pub fn refresh(&mut self) {
        let lagging: Vec<_> = self
            .records
            .iter()
            .filter(|(_, kept)| kept.seq > kept.snapshot.0)
            .map(|(record, kept)| (*record, kept.seq))
            .collect();
        for (record, seq) in lagging {
            let document = self
                .document(record)
                .and_then(|bytes| Record::load(&bytes).ok());
            if let (Some(mut document), Some(kept)) = (document, self.records.get_mut(&record)) {
                kept.snapshot = (seq, document.save());
            }
        }
    }

    /// Takes changes out of the log that are older than so many days and that their record's document holds. Where the newest of them stood, an
    /// entry tells whoever has not been that far to take the record whole.
    pub fn trim(&mut self, now: ServerTime, days: u32) {
        let before = |days: u32| ServerTime::from_unix_ms(now.unix_ms() - i64::from(days) * DAY_MS);
        let older_than = before(days);
        let records: Vec<_> = self.records.keys().copied().collect();
        for record in records {
            self.trim_record(record, older_than);
        }
        self.drop_repetitions(older_than);
        let notices_before = before(days.max(NOTICE_DAYS));
        for notices in self.notices.values_mut() {
            notices.retain(|notice| notice.at >= notices_before);
        }
    }

    fn trim_record(&mut self, record: RecordId, older_than: ServerTime) {
        let Some(upto) = self.records.get(&record).map(|kept| kept.snapshot.0) else {
            return;
        };
        let old: Vec<Place> = self
            .entries(record)
            .take_while(|(seq, _)| *seq <= upto)
            .filter(|(_, entry)| entry.received_at < older_than)
            .filter_map(|(seq, entry)| {
                let change = entry.what.change()?;
                Some(Place {
                    hash: change.hash,
                    seq,
                    composed: change.composed,
                    trimmed: true,
                })
            })
            .collect();
        let Some(newest) = old.last().map(|place| place.seq) else {
            return;
        };
        for place in &old {
            if place.seq == newest {
                if let Some(entry) = self.log.get_mut(&newest) {
                    entry.what = Logged::Snapshot;
                }
            } else {
                self.drop_entry(place.seq);
            }
        }
        if let Some(kept) = self.records.get_mut(&record) {
            kept.trimmed.extend(old);
        }
    }

    /// Of old entries that say the same of a record, the last one does.
    fn drop_repetitions(&mut self, older_than: ServerTime) {
        let says = |what: &Logged, grid: &str| match what {
            Logged::Leave => Some(Some(grid.to_owned())),
            Logged::Snapshot => Some(None),
            Logged::Change(_) | Logged::Erase => None,
        };
        let mut last: BTreeMap<(RecordId, Option<String>), i64> = BTreeMap::new();
        let mut repeated = Vec::new();
        for (seq, entry) in &self.log {
            if let Some(word) = says(&entry.what, &entry.grid)
                && let Some(before) = last.insert((entry.record, word), *seq)
                && self.log[&before].received_at < older_than
            {
                repeated.push(before);
            }
        }
        for seq in repeated {
            self.drop_entry(seq);
        }
    }
}
