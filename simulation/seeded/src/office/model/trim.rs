//! What keeps the log bounded: old changes leave it once a snapshot holds them. docs/operations.md, "--log-days".

use std::collections::BTreeMap;

use lianka_sync_core::{id::RecordId, time::ServerTime};

use super::ledger::{Store, What};

const DAY_MS: i64 = 86_400_000;
/// A download brings notices so many days old; younger ones stay however short the log is.
const NOTICE_DAYS: u32 = 30;

impl Store {
    /// Takes changes out of the log that are older than so many days and that their record's snapshot holds. Where the newest of them stood, an
    /// entry tells whoever has not been that far to take the record whole.
    pub(super) fn trim(&mut self, now: ServerTime, days: u32) {
        let before = |days: u32| ServerTime::from_unix_ms(now.unix_ms() - i64::from(days) * DAY_MS);
        let older_than = before(days);
        let mut newest: BTreeMap<RecordId, u64> = BTreeMap::new();
        for (record, kept) in &mut self.records {
            let upto = kept.snapshot.0;
            let trimmed: Vec<_> = kept
                .changes
                .extract_if(.., |seq| {
                    *seq <= upto && self.log.get(seq).is_some_and(|entry| entry.at < older_than)
                })
                .collect();
            for seq in trimmed {
                if let Some(What::Change { hash, .. }) = self.log.get(&seq).map(|entry| &entry.what)
                {
                    kept.trimmed.push((*hash, seq));
                    let last = newest.entry(*record).or_default();
                    *last = seq.max(*last);
                }
            }
        }
        let places: Vec<_> = self
            .records
            .values()
            .flat_map(|kept| kept.trimmed.iter().map(|(_, seq)| *seq))
            .collect();
        for seq in places {
            let Some(entry) = self
                .log
                .get_mut(&seq)
                .filter(|entry| matches!(entry.what, What::Change { .. }))
            else {
                continue;
            };
            if newest.get(&entry.record) == Some(&seq) {
                entry.what = What::Snapshot;
            } else {
                self.log.remove(&seq);
            }
        }
        self.drop_repetitions(older_than);
        let notices_before = before(days.max(NOTICE_DAYS));
        for notices in self.notices.values_mut() {
            notices.retain(|notice| notice.at >= notices_before);
        }
    }

    /// Of old entries that say the same of a record, the last one does.
    fn drop_repetitions(&mut self, older_than: ServerTime) {
        let mut last: BTreeMap<(RecordId, Option<String>), u64> = BTreeMap::new();
        let says = |what: &What, grid: &str| match what {
            What::Leave => Some(Some(grid.to_owned())),
            What::Snapshot => Some(None),
            What::Change { .. } | What::Erase => None,
        };
        for (seq, entry) in &self.log {
            if let Some(word) = says(&entry.what, &entry.grid) {
                last.insert((entry.record, word), *seq);
            }
        }
        self.log.retain(|seq, entry| {
            let repeated = says(&entry.what, &entry.grid)
                .is_some_and(|word| last.get(&(entry.record, word)) != Some(seq));
            entry.at >= older_than || !repeated
        });
    }
}
