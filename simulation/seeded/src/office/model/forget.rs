//! Forgetting: a record's next generation, or its end. docs/protocol.md, "Generations" and "Erasing and redacting".

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    codec::change::{self, Action, Change},
    crdt::rebuild::{self, Forget, RebuildError, Rebuilt, RebuiltChange},
    id::{ChangeHash, EntryId, RecordId},
    kinds::Key,
};

use super::{
    ledger::{Entry, Redaction, Store, What},
    write::Writing,
};

impl Writing<'_> {
    /// The record as its next generation. Its entries in the log are rewritten where they stand; what was cut off from the middle of a change
    /// follows at the end, and one more entry tells phones to take the record whole: its number.
    pub(super) fn rebuild(
        &mut self,
        record: RecordId,
        forget: &Forget<'_>,
    ) -> Result<u64, RebuildError> {
        let document = self.store.document(record);
        let Some(kept) = self.store.records.get(&record) else {
            return Err(RebuildError::Differs);
        };
        let rebuilt = rebuild::rebuild(&kept.state, &document, forget)?;
        Ok(self.next_generation(record, rebuilt))
    }

    /// What was overwritten before now goes, if that makes the record smaller by a tenth.
    pub(super) fn compact(&mut self, record: RecordId) -> Result<Option<()>, RebuildError> {
        let document = self.store.document(record);
        let Some(kept) = self.store.records.get(&record) else {
            return Ok(None);
        };
        let rebuilt = rebuild::compact(&kept.state, &document, self.now)?;
        let less = |after: usize, before: usize| after < before - before / 10;
        let gains = less(rebuilt.changes.len(), kept.state.len())
            || less(rebuilt.document.len(), document.len());
        if rebuilt.forgotten_ops == 0 || !gains {
            return Ok(None);
        }
        self.next_generation(record, rebuilt);
        Ok(Some(()))
    }

    fn next_generation(&mut self, record: RecordId, rebuilt: Rebuilt) -> u64 {
        let Some(kept) = self.store.records.get(&record) else {
            return self.store.head;
        };
        let (generation, grid) = (rebuilt.state.generation(), kept.grid.clone());
        let mut pieces: BTreeMap<ChangeHash, Vec<RebuiltChange>> = BTreeMap::new();
        for change in rebuilt.changes {
            pieces.entry(change.of).or_default().push(change);
        }
        let mut changes = Vec::new();
        for seq in kept.changes.clone() {
            let Some(entry) = self.store.log.get_mut(&seq) else {
                continue;
            };
            let What::Change { hash, bytes, .. } = &mut entry.what else {
                continue;
            };
            let stand_for = pieces
                .get_mut(hash)
                .filter(|pieces| !pieces.is_empty())
                .map(|pieces| pieces.remove(0));
            match stand_for {
                Some(first) => {
                    (*hash, *bytes, entry.generation) =
                        (first.change.hash, first.change.bytes, generation);
                    changes.push(seq);
                }
                None => drop(self.store.log.remove(&seq)),
            }
        }
        let mut trimmed = kept.trimmed.clone();
        trimmed.retain_mut(|(hash, _)| {
            match pieces.get_mut(hash).filter(|pieces| !pieces.is_empty()) {
                Some(pieces) => {
                    *hash = pieces.remove(0).change.hash;
                    true
                }
                None => false,
            }
        });
        let mut rests: Vec<_> = pieces.into_values().flatten().collect();
        rests.sort_by_key(|rest| (rest.received_at, rest.change.start_op, rest.change.hash));
        for RebuiltChange {
            change: Change {
                hash, bytes, actor, ..
            },
            received_at: at,
            ..
        } in rests
        {
            let what = What::Change {
                hash,
                device: actor.device(),
                bytes,
            };
            changes.push(self.store.log(Entry {
                record,
                generation,
                grid: grid.clone(),
                at,
                what,
            }));
        }
        let seq = self.store.log(Entry {
            record,
            generation,
            grid,
            at: self.now,
            what: What::Snapshot,
        });
        self.documents.remove(&record);
        self.touched.insert(record);
        if let Some(kept) = self.store.records.get_mut(&record) {
            let before: Vec<_> = kept.state.accepted().map(|(hash, _)| hash).collect();
            kept.earlier.extend(before);
            kept.state = rebuilt.state;
            kept.snapshot = (seq, rebuilt.document);
            kept.seq = seq;
            kept.changes = changes;
            kept.trimmed = trimmed;
        }
        seq
    }

    /// Ends the record: nothing of it stays but the entry that tells phones. Whether it was there.
    pub(super) fn erase(&mut self, record: RecordId) -> bool {
        let Some(kept) = self.store.records.remove(&record) else {
            return false;
        };
        self.store.log.retain(|_, entry| entry.record != record);
        self.store.held.retain(|(of, ..), _| *of != record);
        self.store.forget_told(record, |_| true);
        self.store.forget_notices(record);
        self.store.sealed.remove(&record);
        self.store.erased.insert(record);
        self.documents.remove(&record);
        self.touched.remove(&record);
        self.choices.retain(|choice| choice.record != record);
        let generation = kept.state.generation();
        self.store.log(Entry {
            record,
            generation,
            grid: kept.place.grid,
            at: self.now,
            what: What::Erase,
        });
        true
    }

    /// Forgets a person of the record and the consents that name them; `None` where there is no such person.
    pub(super) fn redact(
        &mut self,
        record: RecordId,
        person: EntryId,
    ) -> Result<Option<()>, RebuildError> {
        let Some(state) = self.state(record) else {
            return Ok(None);
        };
        if !state.has_entry("contacts", person) && !state.redacted().contains(&person) {
            return Ok(None);
        }
        let entries = state.entries_of_person(person);
        let theirs = |key: &str| matches!(Key::parse(key), Some(Key::Entry { entry, .. }) if entries.contains(&entry));
        let seq = self.rebuild(
            record,
            &Forget {
                key: &theirs,
                note: false,
                redacted: &entries,
            },
        )?;
        let speaks = |bytes: &[u8]| {
            change::decode(bytes).map_or(!bytes.is_empty(), |change| speaks_of(&change, &entries))
        };
        self.store
            .held
            .retain(|(of, ..), held| *of != record || !speaks(&held.bytes));
        self.store.forget_told(record, theirs);
        self.store.redactions.push(Redaction {
            seq,
            record,
            entries: entries.into_iter().collect(),
        });
        Ok(Some(()))
    }
}

/// Whether a change writes to one of the entries, or names one.
fn speaks_of(change: &Change, entries: &BTreeSet<EntryId>) -> bool {
    let theirs = |key: &str| matches!(Key::parse(key), Some(Key::Entry { entry, .. }) if entries.contains(&entry));
    change.ops.iter().any(|op| match &op.action {
        Action::Put { key, value } => {
            theirs(key)
                || value
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .is_some_and(|entry| entries.contains(&entry))
        }
        Action::Delete { key } => theirs(key),
        Action::MakeText { .. } | Action::Insert { .. } | Action::Remove { .. } => false,
    })
}

impl Store {
    /// Forgets settled conflicts and notices of these keys.
    pub(super) fn forget_told(&mut self, record: RecordId, key: impl Fn(&str) -> bool) {
        self.settled
            .retain(|settled| settled.record != record || !key(&settled.key));
        for notices in self.notices.values_mut() {
            notices.retain(|notice| {
                notice.record != record || !notice.field.as_deref().is_some_and(&key)
            });
        }
    }

    /// Forgets every notice of the record.
    fn forget_notices(&mut self, record: RecordId) {
        for notices in self.notices.values_mut() {
            notices.retain(|notice| notice.record != record);
        }
    }
}
