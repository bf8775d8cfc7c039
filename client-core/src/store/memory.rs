//! A record store in memory: for simulations and tests, and the plainest statement of what every store does.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use lianka_sync_core::{
    codec::wire::Notice,
    id::{ChangeHash, RecordId},
    kinds::Kind,
};

use super::{Indexed, RecordStore, Records, Unfit};
use crate::{
    Draft, Effect, KeptDraft, KeptNotice, Known, OutboxEntry, OutboxState, RecordState,
    StoredRecord, TailChange,
    exchange::SEQ_UNKNOWN,
    notice::KEPT_MAX,
    redact::{self, Redacted},
};

/// Everything a phone holds.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    held: Held,
}

#[derive(Clone, Debug, Default)]
struct Held {
    values: BTreeMap<&'static str, String>,
    records: BTreeMap<RecordId, Row>,
    outbox: Vec<OutboxEntry>,
    drafts: BTreeMap<i64, KeptDraft>,
    last_draft: i64,
    /// By sequence and id.
    notices: BTreeMap<(u64, [u8; 16]), KeptNotice>,
    index: BTreeMap<RecordId, (Option<String>, String)>,
    listing: BTreeMap<i64, RecordId>,
}

#[derive(Clone, Debug)]
struct Row {
    stored: StoredRecord,
    beyond_cursor: bool,
}

impl Row {
    /// Whether it has a history that the office knows.
    fn at_office(&self) -> bool {
        self.stored.seq > 0 || !self.stored.tail.is_empty()
    }
}

/// One transaction.
#[derive(Debug)]
pub struct MemoryTx<'t> {
    held: &'t RefCell<Held>,
}

impl RecordStore for MemoryStore {
    type Error = Unfit;
    type Tx<'t> = MemoryTx<'t>;

    fn write<T, E: From<Unfit>>(
        &mut self,
        work: impl FnOnce(&MemoryTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let held = RefCell::new(self.held.clone());
        let done = work(&MemoryTx { held: &held })?;
        self.held = held.into_inner();
        Ok(done)
    }

    fn read<T, E: From<Unfit>>(
        &mut self,
        work: impl FnOnce(&MemoryTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let held = RefCell::new(std::mem::take(&mut self.held));
        let done = work(&MemoryTx { held: &held });
        self.held = held.into_inner();
        done
    }

    fn scrub(&mut self) -> Result<(), Unfit> {
        Ok(())
    }

    fn truncate_log(&mut self) -> Result<(), Unfit> {
        Ok(())
    }
}

impl Records for MemoryTx<'_> {
    type Error = Unfit;

    fn value(&self, name: &'static str) -> Result<Option<String>, Unfit> {
        Ok(self.held.borrow().values.get(name).cloned())
    }

    fn put_value(&self, name: &'static str, json: &str) -> Result<(), Unfit> {
        let mut held = self.held.borrow_mut();
        held.values.insert(name, json.to_owned());
        Ok(())
    }

    fn drop_value(&self, name: &'static str) -> Result<(), Unfit> {
        self.held.borrow_mut().values.remove(name);
        Ok(())
    }

    fn record_state(&self, record: RecordId) -> Result<RecordState, Unfit> {
        let held = self.held.borrow();
        Ok(RecordState {
            record,
            stored: held.records.get(&record).map(|row| row.stored.clone()),
            outbox: held.outbox_of(record),
        })
    }

    fn records(&self) -> Result<Vec<RecordId>, Unfit> {
        Ok(self.held.borrow().records.keys().copied().collect())
    }

    fn records_of(&self, kind: Kind) -> Result<Vec<(RecordId, String)>, Unfit> {
        let held = self.held.borrow();
        let rows = held
            .records
            .iter()
            .filter(|(_, row)| row.stored.kind == kind);
        Ok(rows
            .map(|(record, row)| (*record, row.stored.grid.clone()))
            .collect())
    }

    fn known(&self) -> Result<HashMap<RecordId, Known>, Unfit> {
        let known = |row: &Row| Known {
            generation: row.stored.generation,
            before_reset: row.stored.before_reset,
            leaving: row.stored.leaving,
            at_office: row.at_office(),
            beyond_cursor: row.beyond_cursor,
        };
        let held = self.held.borrow();
        Ok(held
            .records
            .iter()
            .map(|(record, row)| (*record, known(row)))
            .collect())
    }

    fn highest(&self) -> Result<u64, Unfit> {
        let held = self.held.borrow();
        let rows = held.records.values().filter(|row| !row.stored.before_reset);
        let sequences = rows.flat_map(|row| {
            let tail = row.stored.tail.iter().filter_map(|change| change.seq);
            tail.chain([row.stored.seq])
        });
        Ok(sequences
            .filter(|seq| *seq < SEQ_UNKNOWN)
            .max()
            .unwrap_or_default())
    }

    fn due(&self) -> Result<Vec<RecordId>, Unfit> {
        let held = self.held.borrow();
        let rows = held.records.iter();
        let mut due: Vec<_> = rows
            .filter(|(_, row)| row.stored.leaving || row.stored.before_reset)
            .map(|(record, _)| *record)
            .collect();
        let outdated = |entry: &&OutboxEntry| {
            let row = held.records.get(&entry.record);
            entry.state == OutboxState::Unsent
                && row.is_some_and(|row| row.stored.generation != entry.generation)
        };
        let entries = held.outbox.iter().filter(|entry| {
            entry.state == OutboxState::Refused || entry.tries > 0 || outdated(entry)
        });
        due.extend(entries.map(|entry| entry.record));
        due.sort_unstable();
        due.dedup();
        Ok(due)
    }

    fn apply(&self, effects: &[Effect]) -> Result<(), Unfit> {
        effects.iter().try_for_each(|effect| self.apply_one(effect))
    }

    fn outbox(&self) -> Result<Vec<OutboxEntry>, Unfit> {
        Ok(self.held.borrow().outbox.clone())
    }

    fn outbox_of(&self, record: RecordId) -> Result<Vec<OutboxEntry>, Unfit> {
        Ok(self.held.borrow().outbox_of(record))
    }

    fn outbox_count(&self) -> Result<[u64; 3], Unfit> {
        let held = self.held.borrow();
        let count = |state| {
            let entries = held.outbox.iter().filter(|entry| entry.state == state);
            entries.count() as u64
        };
        Ok([
            count(OutboxState::Unsent),
            count(OutboxState::Held),
            count(OutboxState::Refused),
        ])
    }

    fn drafts(&self) -> Result<Vec<KeptDraft>, Unfit> {
        Ok(self.held.borrow().drafts.values().cloned().collect())
    }

    fn remove_draft(&self, id: i64) -> Result<bool, Unfit> {
        Ok(self.held.borrow_mut().drafts.remove(&id).is_some())
    }

    fn notices(&self) -> Result<Vec<KeptNotice>, Unfit> {
        Ok(self.held.borrow().notices.values().rev().cloned().collect())
    }

    fn unread_notices(&self) -> Result<u64, Unfit> {
        let held = self.held.borrow();
        Ok(held.notices.values().filter(|kept| kept.unread).count() as u64)
    }

    fn mark_notices_read(&self) -> Result<(), Unfit> {
        let mut held = self.held.borrow_mut();
        held.notices
            .values_mut()
            .for_each(|kept| kept.unread = false);
        Ok(())
    }

    fn unindexed(&self) -> Result<Vec<(RecordId, String)>, Unfit> {
        let held = self.held.borrow();
        let rows = held
            .records
            .iter()
            .filter(|(record, _)| !held.index.contains_key(record));
        Ok(rows
            .map(|(record, row)| (*record, row.stored.grid.clone()))
            .collect())
    }

    fn put_index(&self, record: RecordId, summary: Option<&str>, key: &str) -> Result<(), Unfit> {
        let line = (summary.map(str::to_owned), key.to_owned());
        self.held.borrow_mut().index.insert(record, line);
        Ok(())
    }

    fn indexed(&self) -> Result<Vec<Indexed>, Unfit> {
        let held = self.held.borrow();
        let lines = held.index.iter().filter_map(|(record, (summary, key))| {
            let own = held.outbox.iter().filter(|entry| entry.record == *record);
            let (waiting, unsent): (Vec<_>, Vec<_>) =
                own.partition(|entry| entry.state == OutboxState::Held);
            Some(Indexed {
                summary: summary.clone()?,
                key: key.clone(),
                unsent: !unsent.is_empty(),
                held: !waiting.is_empty(),
            })
        });
        Ok(lines.collect())
    }

    fn summary(&self, record: RecordId) -> Result<Option<String>, Unfit> {
        let held = self.held.borrow();
        Ok(held
            .index
            .get(&record)
            .and_then(|(summary, _)| summary.clone()))
    }

    fn set_listing(&self, records: &[RecordId]) -> Result<(), Unfit> {
        self.held.borrow_mut().listing = (1..).zip(records.iter().copied()).collect();
        Ok(())
    }

    fn listed(&self, line: i64) -> Result<Option<RecordId>, Unfit> {
        Ok(self.held.borrow().listing.get(&line).copied())
    }
}

impl MemoryTx<'_> {
    fn apply_one(&self, effect: &Effect) -> Result<(), Unfit> {
        // What asks other questions of the store comes first; the rest writes to what is held and asks nothing.
        match effect {
            Effect::PutDraft(draft) => {
                let title = self.title(draft.record)?;
                self.held.borrow_mut().put_draft(draft, title);
            }
            Effect::StartOver => self.set_start_over(true)?,
            Effect::SetEpoch(epoch) => self.set_epoch(*epoch)?,
            Effect::SetCursor(cursor) => {
                if cursor.is_none() {
                    self.set_start_over(false)?;
                }
                self.set_cursor(cursor.as_deref())?;
            }
            Effect::SetNewestOwn(newest) => self.set_newest_own(newest.as_ref())?,
            Effect::BeginReset => self.set_cursor(None)?,
            Effect::Wipe => {
                let report = self.wipe_report_to_be()?;
                *self.held.borrow_mut() = Held::default();
                if let Some(report) = report {
                    self.set_wipe_report(&report)?;
                }
            }
            _ => {}
        }
        let mut held = self.held.borrow_mut();
        held.take_in(effect);
        if let Some(record) = effect.record_listed() {
            held.index.remove(&record);
        }
        Ok(())
    }
}

impl Held {
    fn take_in(&mut self, effect: &Effect) {
        match effect {
            Effect::CreateRecord { record, kind, grid } => {
                let stored = StoredRecord {
                    kind: *kind,
                    grid: grid.clone(),
                    generation: 1,
                    seq: 0,
                    snapshot: Vec::new(),
                    tail: Vec::new(),
                    leaving: false,
                    before_reset: false,
                };
                let row = Row {
                    stored,
                    beyond_cursor: false,
                };
                self.records.insert(*record, row);
            }
            Effect::PutSnapshot {
                record,
                kind,
                grid,
                generation,
                seq,
                bytes,
            } => {
                let before = self.records.remove(record);
                let beyond_cursor = before
                    .as_ref()
                    .is_none_or(|row| row.beyond_cursor || row.stored.leaving);
                let mut tail = before
                    .filter(|row| row.stored.generation == *generation)
                    .map(|row| row.stored.tail)
                    .unwrap_or_default();
                tail.retain(|change| change.seq.is_none_or(|own| own > *seq));
                let stored = StoredRecord {
                    kind: *kind,
                    grid: grid.clone(),
                    generation: *generation,
                    seq: *seq,
                    snapshot: bytes.clone(),
                    tail,
                    leaving: false,
                    before_reset: false,
                };
                let row = Row {
                    stored,
                    beyond_cursor,
                };
                self.records.insert(*record, row);
            }
            Effect::ForgetHistory { record } => {
                self.change(*record, |row| {
                    row.stored.before_reset = false;
                    row.stored.seq = 0;
                    row.stored.snapshot.clear();
                    row.stored.tail.clear();
                });
            }
            Effect::AppendTail {
                record,
                generation,
                change,
            } => self.append(*record, *generation, change),
            Effect::ForgetUnconfirmed { record } => {
                self.change(*record, |row| {
                    row.stored.tail.retain(|change| change.seq.is_some());
                });
            }
            Effect::RemoveRecord { record } => self.remove(*record),
            Effect::MarkLeaving { record } => self.change(*record, |row| row.stored.leaving = true),
            Effect::Stay { record } => self.change(*record, |row| {
                row.stored.leaving = false;
                row.beyond_cursor = true;
            }),
            Effect::StayBeyond { record } => self.change(*record, |row| row.beyond_cursor = true),
            Effect::Enqueue(entry) => {
                self.outbox.push(OutboxEntry::clone(entry));
            }
            Effect::Acknowledge {
                record,
                generation,
                change,
            } => {
                let answered =
                    |entry: &OutboxEntry| entry.record == *record && entry.hash == change.hash;
                self.outbox.retain(|entry| !answered(entry));
                self.change(*record, |row| row.beyond_cursor |= !row.at_office());
                self.append(*record, *generation, change);
            }
            Effect::Mark {
                record,
                hash,
                state,
                reason,
                again,
            } => {
                if let Some(entry) = self.entry(*record, *hash) {
                    entry.state = *state;
                    entry.reason = Some(reason.clone());
                    entry.tries += u32::from(*again);
                }
            }
            Effect::ReplaceOutbox { record, entries } => {
                self.replace_outbox(*record, entries);
            }
            Effect::RemoveDraft { id } => drop(self.drafts.remove(id)),
            Effect::PutNotice(notice) => self.put_notice(notice),
            Effect::Erase { record } => {
                self.notices.retain(|_, kept| kept.notice.record != *record);
                self.remove(*record);
                self.outbox.retain(|entry| entry.record != *record);
                self.drafts.retain(|_, kept| kept.draft.record != *record);
                self.listing.retain(|_, listed| listed != record);
            }
            Effect::Redact { record, entries } => {
                self.notices.retain(|_, kept| kept.notice.record != *record);
                let persons = entries.iter().copied().collect();
                if let Some(outbox) = redact::outbox(&self.outbox_of(*record), &persons) {
                    self.replace_outbox(*record, &outbox);
                }
                let drafts: Vec<_> = self.drafts.values().cloned().collect();
                for kept in drafts {
                    if kept.draft.record != *record {
                        continue;
                    }
                    match redact::draft(&kept.draft, &persons) {
                        Redacted::Kept => {}
                        Redacted::Gone => drop(self.drafts.remove(&kept.id)),
                        Redacted::Rest(draft) => {
                            self.drafts.remove(&kept.id);
                            self.put_draft(&draft, kept.title);
                        }
                    }
                }
            }
            Effect::SetCursor(Some(_)) => {
                let rows = self.records.values_mut();
                rows.for_each(|row| row.beyond_cursor = false);
            }
            // What the office never had has no history to lose.
            Effect::BeginReset | Effect::BeginAnew => {
                let rows = self.records.values_mut();
                rows.filter(|row| row.at_office())
                    .for_each(|row| row.stored.before_reset = true);
            }
            Effect::PutDraft(_)
            | Effect::StartOver
            | Effect::SetEpoch(_)
            | Effect::SetNewestOwn(_)
            | Effect::SetCursor(None)
            | Effect::Wipe => {}
        }
    }

    fn outbox_of(&self, record: RecordId) -> Vec<OutboxEntry> {
        let entries = self.outbox.iter().filter(|entry| entry.record == record);
        entries.cloned().collect()
    }

    fn entry(&mut self, record: RecordId, hash: ChangeHash) -> Option<&mut OutboxEntry> {
        self.outbox
            .iter_mut()
            .find(|entry| entry.record == record && entry.hash == hash)
    }

    fn change(&mut self, record: RecordId, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.records.get_mut(&record) {
            change(row);
        }
    }

    fn append(&mut self, record: RecordId, generation: u32, change: &TailChange) {
        let Some(row) = self.records.get_mut(&record) else {
            return;
        };
        if row.stored.generation != generation {
            return;
        }
        let tail = &mut row.stored.tail;
        match tail.iter_mut().find(|held| held.hash == change.hash) {
            Some(held) => held.seq = change.seq.or(held.seq),
            None => tail.push(change.clone()),
        }
        tail.sort_by_key(|change| (change.seq.is_none(), change.seq, change.hash));
    }

    fn remove(&mut self, record: RecordId) {
        self.records.remove(&record);
    }

    fn replace_outbox(&mut self, record: RecordId, entries: &[OutboxEntry]) {
        self.outbox.retain(|entry| entry.record != record);
        self.outbox.extend_from_slice(entries);
    }

    fn put_draft(&mut self, draft: &Draft, title: Option<String>) {
        self.last_draft += 1;
        let id = self.last_draft;
        let draft = draft.clone();
        self.drafts.insert(id, KeptDraft { id, title, draft });
    }

    fn put_notice(&mut self, notice: &Notice) {
        if self
            .notices
            .values()
            .any(|kept| kept.notice.id == notice.id)
        {
            return;
        }
        let kept = KeptNotice {
            title: None,
            unread: true,
            notice: notice.clone(),
        };
        self.notices
            .insert((notice.seq, *notice.id.as_bytes()), kept);
        while self.notices.len() > KEPT_MAX {
            self.notices.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[test]
    fn keeps_what_every_store_keeps() {
        conformance::run(MemoryStore::default);
    }
}
