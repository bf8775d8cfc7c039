//! Forgetting, inside a write: a record's next generation, or the end of the record.
//!
//! The log's rows are rewritten in place, so that history and cursors go on; what a rebuild cut off the middle of a change follows at the
//! end of the log. One more entry tells phones to take the record whole, or to drop it.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    crdt::{
        merge::NoteDocument,
        rebuild::{self, Forget, RebuildError, Rebuilt, RebuiltChange},
    },
    id::{ChangeHash, RecordId},
    time::ServerTime,
};

use crate::{
    store::{
        EndedGeneration, LogWrite, Logged, LoggedChange, Place, Rewrite, Rewritten, Touched, Wants,
    },
    street::{Entry, Street, following::passed},
};

/// Why a record was not rebuilt; the write must not be committed.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error("the record is not loaded, or does not exist")]
    NoRecord,
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

/// What a rebuild did.
#[derive(Clone, Copy, Debug)]
pub struct Forgotten {
    pub generation: u32,
    /// The log entry that tells phones.
    pub seq: i64,
    /// Operations that were dropped.
    pub ops: usize,
    /// Changes that were dropped whole.
    pub changes: usize,
    /// Changes that are left.
    pub left: usize,
}

impl Street {
    /// What must be known to rebuild a record.
    pub fn rebuild_wants(record: RecordId) -> Wants {
        Wants {
            records: [record].into(),
            documents: [record].into(),
            histories: [record].into(),
            ..Wants::default()
        }
    }

    /// Makes the record's next generation without what is to be forgotten. The record must exist, and [`Self::rebuild_wants`] be known.
    ///
    /// The next event told to [`Street::audit`] names the record as rebuilt, and its log as it stands now.
    pub fn rebuild(
        &mut self,
        record: RecordId,
        forget: &Forget<'_>,
    ) -> Result<Forgotten, ForgetError> {
        let document = self.whole_document(record);
        let state = self.state(record).ok_or(ForgetError::NoRecord)?;
        let rebuilt = rebuild::rebuild(state, &document, forget)?;
        self.next_generation(record, rebuilt)
    }

    /// Puts a compacted generation in the place of the one that it was made from, whose changes were `of`. `None`, and nothing is done, where
    /// changes came meanwhile. The record must be loaded, exist, and be in the store, and its history be known.
    pub fn compacted(
        &mut self,
        record: RecordId,
        of: &[ChangeHash],
        rebuilt: Rebuilt,
    ) -> Result<Option<Forgotten>, ForgetError> {
        let state = self.state(record).ok_or(ForgetError::NoRecord)?;
        let accepted = state.accepted().map(|(hash, _)| hash);
        if !accepted.eq(of.iter().copied()) {
            return Ok(None);
        }
        self.next_generation(record, rebuilt).map(Some)
    }

    fn next_generation(
        &mut self,
        record: RecordId,
        rebuilt: Rebuilt,
    ) -> Result<Forgotten, ForgetError> {
        let before: Vec<ChangeHash> = self
            .state(record)
            .filter(|_| self.asked.histories.contains(&record))
            .ok_or(ForgetError::NoRecord)?
            .accepted()
            .map(|(hash, _)| hash)
            .collect();
        let (generation, left) = (rebuilt.state.generation(), rebuilt.state.len());

        // What an earlier rebuild of this write named has other names again.
        self.renamed.retain(|(_, of, _)| *of != record);
        let mut pieces: BTreeMap<ChangeHash, Vec<RebuiltChange>> = BTreeMap::new();
        for change in rebuilt.changes {
            pieces.entry(change.of).or_default().push(change);
        }
        let changes = before.len() - pieces.len();
        let mut rests = self.rewrite_pending(record, generation, &mut pieces);
        rests.extend(self.rewrite_stored(record, generation, pieces));
        // In the order of acceptance.
        rests.sort_by_key(|rest| (rest.1, rest.0.change.start_op, rest.0.change.hash));
        for (rest, received_at, composed) in rests {
            let change = rest.change;
            let logged = LoggedChange {
                hash: change.hash,
                device: change.actor.device(),
                bytes: change.bytes,
                composed,
            };
            self.announce(record, generation, received_at, Logged::Change(logged));
        }
        let seq = self.announce(record, generation, self.now, Logged::Snapshot);

        let entry = self.entries.get_mut(&record).ok_or(ForgetError::NoRecord)?;
        if entry.target.document.is_some() {
            entry.target.document = NoteDocument::load(&rebuilt.document).ok();
        }
        entry.target.state = Some(rebuilt.state);
        entry.touched = Some(Touched::ALL);
        entry.rebuilt = Some((seq, rebuilt.document));
        // What was accepted stays known as such: a phone whose answer was lost must not write its edit a second time.
        entry.ended.push(EndedGeneration {
            generation: generation - 1,
            hashes: before,
        });
        self.rebuilt.push(record);
        Ok(Forgotten {
            generation,
            seq,
            ops: rebuilt.forgotten_ops,
            changes,
            left,
        })
    }

    /// Ends the record, which must be loaded and exist: nothing of it stays in this write, the log or the record's own tables. The sequence
    /// of the entry that tells phones.
    pub fn erase(&mut self, record: RecordId) -> Result<i64, ForgetError> {
        let seq = self.end(record, Logged::Erase)?;
        self.writes.erased.push(record);
        self.erased.insert(record);
        Ok(seq)
    }

    /// Ends a record that an import made and that goes with it: the same, but that nobody asked for it to be forgotten. It leaves phones, and one with
    /// edits of it keeps these.
    pub fn unmake(&mut self, record: RecordId) -> Result<i64, ForgetError> {
        let seq = self.end(record, Logged::Leave)?;
        self.writes.unmade.push(record);
        Ok(seq)
    }

    fn end(&mut self, record: RecordId, what: Logged) -> Result<i64, ForgetError> {
        let generation = self
            .state(record)
            .ok_or(ForgetError::NoRecord)?
            .generation();
        let Entry { grid, .. } = self.entries.remove(&record).ok_or(ForgetError::NoRecord)?;
        self.drop_pending(|entry| entry.record != record);
        self.writes.rewritten.retain(|of| of.record != record);
        self.renamed.retain(|(_, of, _)| *of != record);
        self.rebuilt.push(record);
        Ok(self.append(record, generation, grid, self.now, what))
    }

    /// The stored document, or the one this write made, with the changes after it.
    pub(super) fn whole_document(&self, record: RecordId) -> Vec<u8> {
        let made = self
            .entries
            .get(&record)
            .and_then(|entry| entry.rebuilt.clone());
        let (after, mut bytes) = made.unwrap_or_else(|| {
            let stored = self.known.documents.get(&record);
            (0, stored.cloned().unwrap_or_default())
        });
        let pending = self
            .accepted(0)
            .filter(|(of, seq, _)| *of == record && *seq > after);
        bytes.extend(pending.flat_map(|(_, _, change)| &change.bytes));
        bytes
    }

    /// Rewrites what this write has logged of the record already; gives what was cut off, with the time of acceptance and whether it was composed.
    fn rewrite_pending(
        &mut self,
        record: RecordId,
        generation: u32,
        pieces: &mut BTreeMap<ChangeHash, Vec<RebuiltChange>>,
    ) -> Vec<(RebuiltChange, ServerTime, bool)> {
        let mut rests = Vec::new();
        let mut dropped = Vec::new();
        for (at, entry) in self
            .writes
            .log
            .iter_mut()
            .enumerate()
            .filter(|(_, entry)| entry.record == record)
        {
            let Logged::Change(logged) = &mut entry.what else {
                continue;
            };
            let mut stand_for = pieces.remove(&logged.hash).unwrap_or_default().into_iter();
            let Some(first) = stand_for.next() else {
                dropped.push(entry.seq);
                continue;
            };
            (logged.hash, logged.bytes) = (first.change.hash, first.change.bytes);
            entry.generation = generation;
            if at < self.announced {
                self.renamed.push((entry.seq, record, logged.hash));
            }
            let (received_at, composed) = (entry.received_at, logged.composed);
            rests.extend(stand_for.map(|rest| (rest, received_at, composed)));
        }
        self.drop_pending(|entry| !dropped.contains(&entry.seq));
        rests
    }

    /// The same for what the store has logged of it.
    fn rewrite_stored(
        &mut self,
        record: RecordId,
        generation: u32,
        pieces: BTreeMap<ChangeHash, Vec<RebuiltChange>>,
    ) -> Vec<(RebuiltChange, ServerTime, bool)> {
        let before = self.known.histories.remove(&record).unwrap_or_default();
        let composed: BTreeSet<ChangeHash> = before
            .iter()
            .filter(|place| place.composed)
            .map(|place| place.hash)
            .collect();
        let mut next: BTreeMap<ChangeHash, ChangeHash> = BTreeMap::new();
        let mut changes = Vec::with_capacity(pieces.len());
        let mut rests = Vec::new();
        for (before, stand_for) in pieces {
            let mut stand_for = stand_for.into_iter();
            if let Some(first) = stand_for.next() {
                next.insert(before, first.change.hash);
                changes.push(Rewritten {
                    before,
                    hash: first.change.hash,
                    bytes: first.change.bytes,
                });
            }
            let composed = composed.contains(&before);
            rests.extend(stand_for.map(|rest| {
                let received_at = rest.received_at;
                (rest, received_at, composed)
            }));
        }
        let places: Vec<Place> = before
            .iter()
            .filter_map(|place| {
                let hash = *next.get(&place.hash)?;
                Some(Place { hash, ..*place })
            })
            .collect();
        self.renamed
            .extend(places.iter().map(|place| (place.seq, record, place.hash)));
        let trimmed = before.iter().any(|place| place.trimmed).then(|| {
            let mut trimmed = places.clone();
            trimmed.retain(|place| place.trimmed);
            trimmed
        });
        self.known.histories.insert(record, places);
        self.writes.rewritten.push(Rewrite {
            record,
            generation,
            changes,
            trimmed,
        });
        rests
    }

    fn announce(
        &mut self,
        record: RecordId,
        generation: u32,
        received_at: ServerTime,
        what: Logged,
    ) -> i64 {
        let grid = self
            .entries
            .get(&record)
            .map(|entry| entry.grid.clone())
            .unwrap_or_default();
        self.append(record, generation, grid, received_at, what)
    }

    /// Keeps the entries of this write's log that pass, and the counts of those told and followed in step.
    fn drop_pending(&mut self, keeps: impl Fn(&LogWrite) -> bool) {
        let log = self.writes.log.iter().enumerate();
        let gone: Vec<usize> = log
            .filter(|(_, entry)| !keeps(entry))
            .map(|(at, _)| at)
            .collect();
        self.writes.log.retain(keeps);
        self.announced -= passed(&gone, self.announced);
        self.following.dropped(&gone);
    }
}
