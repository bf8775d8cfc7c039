//! All that a decision writes, written to memory; and the two passes that keep documents and log short.

use lianka_sync_core::{codec::wire::Notice, id::RecordId, limits, time::ServerTime};

use super::{
    Held, Kept, LogEntry, MemoryStore, Settled,
    load::{is_about, is_of},
};
use crate::store::{
    Beside, Head, HeldDecision, HeldStatus, Loaded, Logged, LoggedChange, NoticeWrite, RecordWrite,
    Rewrite, Rewritten, Seal, Store, UndoneResolution, Wants, Writes,
};

/// Changes that a record's former generations are known to have accepted: as many as one generation may have, and what its oldest has more.
const EARLIER_CHANGES_MAX: usize = limits::RECORD_CHANGES_MAX;

impl Store for MemoryStore {
    fn head(&self) -> Head {
        Head {
            street: self.street.clone(),
            store_epoch: self.epoch,
            seq: self.head,
            grids: self.grids.clone(),
        }
    }

    fn load(&self, wants: &Wants) -> Loaded {
        self.answer(wants)
    }

    fn save(&mut self, writes: Writes, now: ServerTime) {
        for held in writes.held {
            let is_there = |one: &Held| {
                (one.write.record, one.write.generation, one.write.hash)
                    == (held.record, held.generation, held.hash)
            };
            if !self.held.iter().any(is_there) {
                self.held.push(Held {
                    write: held,
                    status: HeldStatus::Held,
                    note: None,
                    seq: None,
                });
            }
        }
        for decision in writes.decided {
            self.decide(decision);
        }
        for record in writes.erased {
            self.erase(record);
        }
        for record in writes.unmade {
            self.erase(record);
            self.unmade.insert(record);
        }
        for rewrite in writes.rewritten {
            self.rewrite(rewrite);
        }
        for record in writes.records {
            self.put(record);
        }
        for entry in writes.log {
            self.entries
                .entry(entry.record)
                .or_default()
                .insert(entry.seq);
            self.log.insert(
                entry.seq,
                LogEntry {
                    record: entry.record,
                    generation: entry.generation,
                    grid: entry.grid,
                    received_at: entry.received_at,
                    what: entry.what,
                },
            );
        }
        self.head = writes.head.unwrap_or(self.head);
        self.resolutions
            .extend(writes.resolutions.into_iter().map(|write| Settled {
                write,
                at: now,
                is_undone: false,
            }));
        for undone in writes.undone {
            self.undo(undone);
        }
        for notice in writes.notices {
            self.notify(notice, now);
        }
        for seal in writes.seals {
            self.seal(seal);
        }
        for (record, key) in &writes.withdrawn {
            self.forget_beside(*record, |field| field == key);
        }
        for merge in writes.merges {
            self.merges.insert(merge.merge, merge);
        }
        for (merge, undone) in writes.merges_undone {
            if let Some(merge) = self.merges.get_mut(&merge) {
                merge.undone = Some(undone);
            }
        }
        for dismissal in writes.dismissals {
            self.dismissals.insert(dismissal.pair, dismissal);
        }
        for join in writes.joins {
            self.joins.insert(join.join, join);
        }
        for (join, undone) in writes.joins_undone {
            if let Some(join) = self.joins.get_mut(&join) {
                join.undone = Some(undone);
            }
        }
        for redaction in writes.redacted {
            self.redact(&redaction);
        }
        self.receipts.extend(writes.receipts);
        self.events.extend(writes.events);
        self.reports.extend(writes.reports);
    }
}

impl MemoryStore {
    fn put(&mut self, write: RecordWrite) {
        let record = write.record;
        let before = self.records.remove(&record);
        let (snapshot, trimmed) = before
            .map(|kept| (kept.snapshot, kept.trimmed))
            .unwrap_or_default();
        let ended = self.earlier.entry(record).or_default();
        ended.extend(
            write
                .ended
                .into_iter()
                .map(|ended| (ended.generation, ended.hashes)),
        );
        // Of the record's generations the newest that come to the limit.
        let mut newer = 0;
        let mut kept = Vec::new();
        for (generation, hashes) in ended.iter().rev() {
            if newer < EARLIER_CHANGES_MAX {
                kept.push(*generation);
            }
            newer += hashes.len();
        }
        ended.retain(|generation, _| kept.contains(generation));
        if ended.is_empty() {
            self.earlier.remove(&record);
        }
        self.records.insert(
            record,
            Kept {
                grid: write.grid,
                seq: write.seq,
                grid_seq: write.grid_seq,
                state: write.state,
                snapshot: write.document.unwrap_or(snapshot),
                trimmed,
            },
        );
    }

    fn rewrite(&mut self, rewrite: Rewrite) {
        let Rewrite {
            record,
            generation,
            changes,
            trimmed,
        } = rewrite;
        let next = |logged: &LoggedChange| -> Option<&Rewritten> {
            changes.iter().find(|change| change.before == logged.hash)
        };
        let seqs: Vec<_> = self
            .entries
            .get(&record)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let mut gone = Vec::new();
        for seq in seqs {
            let Some(entry) = self.log.get_mut(&seq) else {
                continue;
            };
            let Logged::Change(logged) = &mut entry.what else {
                continue;
            };
            match next(logged) {
                Some(next) => {
                    (logged.hash, logged.bytes) = (next.hash, next.bytes.clone());
                    entry.generation = generation;
                }
                None => gone.push(seq),
            }
        }
        for seq in gone {
            self.drop_entry(seq);
        }
        if let (Some(kept), Some(trimmed)) = (self.records.get_mut(&record), trimmed) {
            kept.trimmed = trimmed;
        }
    }

    pub(super) fn drop_entry(&mut self, seq: i64) {
        if let Some(entry) = self.log.remove(&seq)
            && let Some(of) = self.entries.get_mut(&entry.record)
        {
            of.remove(&seq);
        }
    }

    fn erase(&mut self, record: RecordId) {
        for seq in self.entries.remove(&record).unwrap_or_default() {
            self.log.remove(&seq);
        }
        self.records.remove(&record);
        self.earlier.remove(&record);
        self.personal.remove(&record);
        self.held.retain(|held| held.write.record != record);
        self.resolutions.retain(|one| one.write.record != record);
        for notices in self.notices.values_mut() {
            notices.retain(|notice| notice.record != record);
        }
        self.merges.retain(|_, merge| merge.loser != record);
        self.joins.retain(|_, join| join.record != record);
        self.dismissals
            .retain(|_, one| one.records.0 != record && one.records.1 != record);
        // A card that went on in this one can still be brought back; what was remarked on it goes.
        for merge in self
            .merges
            .values_mut()
            .filter(|merge| merge.winner == record)
        {
            merge.note.clear();
        }
    }

    fn redact(&mut self, redaction: &Beside) {
        let Beside {
            record,
            entries,
            held,
        } = redaction;
        self.held.retain(|one| !held.contains(&one.write.held));
        self.forget_beside(*record, |field| is_about(field, entries));
        self.joins
            .retain(|_, join| join.record != *record || !is_of(join, entries));
    }

    fn decide(&mut self, decision: HeldDecision) {
        let is = |one: &&mut Held| one.write.held == decision.held;
        let Some(held) = self.held.iter_mut().find(is) else {
            return;
        };
        held.status = match decision.accepted {
            Some(_) => HeldStatus::Accepted,
            None => HeldStatus::Refused,
        };
        if decision.accepted.is_some() {
            held.write.bytes.clear();
        }
        held.seq = decision.accepted;
        held.note = decision.note;
    }

    fn undo(&mut self, undone: UndoneResolution) {
        let is = |one: &&mut Settled| one.write.resolution == undone.resolution;
        if let Some(settled) = self.resolutions.iter_mut().find(is) {
            settled.is_undone = true;
            settled.write.replaced = undone.replaced;
        }
    }

    fn notify(&mut self, write: NoticeWrite, now: ServerTime) {
        let of = self.notices.entry(write.username).or_default();
        if of.iter().any(|notice| notice.id == write.notice) {
            return;
        }
        of.push(Notice {
            id: write.notice,
            seq: write.seq.unsigned_abs(),
            kind: write.kind.to_owned(),
            record: write.record,
            field: write.field,
            hash: write.detail.hash,
            by: write.detail.by,
            at: now,
            note: write.detail.note,
        });
    }

    fn seal(&mut self, seal: Seal) {
        self.forget_beside(seal.record, |field| seal.fields.contains_key(field));
        let revisions = self.personal.entry(seal.record).or_default();
        let kept = revisions.entry(seal.revision).or_default();
        for (field, values) in seal.fields {
            let kept = kept.entry(field).or_default();
            kept.retain(|value| !values.contains(value));
            kept.extend(values);
        }
    }

    /// What stands beside a record of some keys goes: values not chosen in a conflict, and notices of them.
    fn forget_beside(&mut self, record: RecordId, is_one: impl Fn(&str) -> bool) {
        self.resolutions
            .retain(|one| one.write.record != record || !is_one(&one.write.field));
        for notices in self.notices.values_mut() {
            notices.retain(|notice| {
                notice.record != record || !notice.field.as_deref().is_some_and(&is_one)
            });
        }
    }
}
