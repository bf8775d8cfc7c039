//! Forgetting, inside a write: a record's next generation, or the end of the record.
//!
//! The log's rows are rewritten in place, so that history and cursors go on; what a rebuild cut off the middle of a change follows at the
//! end of the log. One more entry tells phones to take the record whole, or to drop it.

use std::collections::HashMap;

use lianka_sync_core::{
    crdt::{
        merge::NoteDocument,
        rebuild::{self, Forget, RebuildError, Rebuilt, RebuiltChange},
    },
    id::{ChangeHash, RecordId},
    time::ServerTime,
};

use crate::street::write::{Entry, StreetWrite};
use crate::{
    pipeline_point::{PipelinePoint, reached},
    street::{
        projection::Touched,
        store::{
            erasures,
            records::{self, DocumentPage, LogWrite, Logged, LoggedChange, Rewritten},
            trimmed::{self, EndedGeneration, Place},
        },
    },
};

/// Why a record was not rebuilt; the write must not be committed.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
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

impl StreetWrite {
    /// Makes the record's next generation without what is to be forgotten. The record must be loaded and exist.
    ///
    /// The next event told to [`StreetWrite::audit`] names the record as rebuilt, and its log as it stands now.
    pub async fn rebuild(
        &mut self,
        record: RecordId,
        forget: &Forget<'_>,
    ) -> Result<Forgotten, ForgetError> {
        let document = self.whole_document(record).await?;
        let rebuilt = rebuild::rebuild(
            self.state(record).ok_or(ForgetError::NoRecord)?,
            &document,
            forget,
        )?;
        self.next_generation(record, rebuilt).await
    }

    /// Puts a compacted generation in the place of the one that it was made from, whose changes were `of`. `None`, and nothing is done, where
    /// changes came meanwhile. The record must be loaded, exist, and be in the store.
    pub async fn compacted(
        &mut self,
        record: RecordId,
        of: &[ChangeHash],
        rebuilt: Rebuilt,
    ) -> Result<Option<Forgotten>, ForgetError> {
        let state = self.state(record).ok_or(ForgetError::NoRecord)?;
        if !state
            .accepted()
            .map(|(hash, _)| hash)
            .eq(of.iter().copied())
        {
            return Ok(None);
        }
        self.next_generation(record, rebuilt).await.map(Some)
    }

    async fn next_generation(
        &mut self,
        record: RecordId,
        rebuilt: Rebuilt,
    ) -> Result<Forgotten, ForgetError> {
        let entry = self.entries.get(&record).ok_or(ForgetError::NoRecord)?;
        let before: Vec<ChangeHash> = entry
            .target
            .state
            .as_ref()
            .ok_or(ForgetError::NoRecord)?
            .accepted()
            .map(|(hash, _)| hash)
            .collect();
        let (generation, left) = (rebuilt.state.generation(), rebuilt.state.len());

        // What an earlier rebuild of this write named has other names again.
        self.renamed.retain(|(_, of, _)| *of != record);
        let mut pieces: HashMap<ChangeHash, Vec<RebuiltChange>> = HashMap::new();
        for change in rebuilt.changes {
            pieces.entry(change.of).or_default().push(change);
        }
        let changes = before.len() - pieces.len();
        let mut rests = self.rewrite_pending(record, generation, &mut pieces);
        rests.extend(self.rewrite_stored(record, generation, pieces).await?);
        reached(PipelinePoint::HistoryRewritten);
        // In the order of acceptance, whatever the order of the map.
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
        entry.seq = seq;
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
    /// of the entry that tells phones, and what was deleted, by table.
    pub async fn erase(
        &mut self,
        record: RecordId,
    ) -> Result<(i64, Vec<(&'static str, u64)>), ForgetError> {
        let Entry { grid, target, .. } =
            self.entries.remove(&record).ok_or(ForgetError::NoRecord)?;
        let generation = target.state.ok_or(ForgetError::NoRecord)?.generation();
        self.drop_pending(|entry| entry.record != record);
        let counts = erasures::erase_record(&mut self.tx, &self.street, record).await?;
        reached(PipelinePoint::RecordErased);
        self.renamed.retain(|(_, of, _)| *of != record);
        self.erased.insert(record);
        self.rebuilt.push(record);
        self.head += 1;
        let what = Logged::Erase;
        self.log.push(LogWrite {
            seq: self.head,
            record,
            generation: generation as i32,
            grid,
            received_at: self.now,
            what,
        });
        Ok((self.head, counts))
    }

    /// The stored document, or the one this write made, with the changes after it.
    async fn whole_document(&mut self, record: RecordId) -> Result<Vec<u8>, ForgetError> {
        let made = self
            .entries
            .get(&record)
            .and_then(|entry| entry.rebuilt.clone());
        let (after, mut bytes) = if let Some(made) = made {
            made
        } else {
            let page = DocumentPage {
                grids: None,
                records: Some(&[record.0]),
                after: 0,
                limit: 1,
            };
            let stored = records::documents(&mut self.tx, &self.street, page)
                .await?
                .pop();
            (0, stored.map(|document| document.bytes).unwrap_or_default())
        };
        let pending = self
            .log
            .iter()
            .filter(|entry| entry.record == record && entry.seq > after);
        bytes.extend(
            pending
                .filter_map(|entry| entry.what.change())
                .flat_map(|change| &change.bytes),
        );
        Ok(bytes)
    }

    /// Rewrites what this write has logged of the record already; gives what was cut off, with the time of acceptance and whether it was composed.
    fn rewrite_pending(
        &mut self,
        record: RecordId,
        generation: u32,
        pieces: &mut HashMap<ChangeHash, Vec<RebuiltChange>>,
    ) -> Vec<(RebuiltChange, ServerTime, bool)> {
        let mut rests = Vec::new();
        let mut dropped = Vec::new();
        for (at, entry) in self
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
            entry.generation = generation as i32;
            if at < self.told {
                self.renamed.push((entry.seq, record, logged.hash));
            }
            let (received_at, composed) = (entry.received_at, logged.composed);
            rests.extend(stand_for.map(|rest| (rest, received_at, composed)));
        }
        self.drop_pending(|entry| !dropped.contains(&entry.seq));
        rests
    }

    async fn rewrite_stored(
        &mut self,
        record: RecordId,
        generation: u32,
        pieces: HashMap<ChangeHash, Vec<RebuiltChange>>,
    ) -> Result<Vec<(RebuiltChange, ServerTime, bool)>, ForgetError> {
        let mut rests = Vec::new();
        let mut rewritten = Vec::with_capacity(pieces.len());
        for (before, stand_for) in pieces {
            let mut stand_for = stand_for.into_iter();
            if let Some(first) = stand_for.next() {
                rewritten.push(Rewritten {
                    before,
                    hash: first.change.hash,
                    bytes: first.change.bytes,
                });
            }
            rests.extend(stand_for.map(|rest| (before, rest)));
        }
        let mut composed = records::composed_changes(&mut self.tx, &self.street, record).await?;
        composed.extend(self.rewrite_trimmed(record, &rewritten).await?);
        let stored = records::rewrite_log(
            &mut self.tx,
            &self.street,
            record,
            generation as i32,
            &rewritten,
        )
        .await?;
        self.renamed
            .extend(stored.into_iter().map(|(seq, hash)| (seq, record, hash)));
        Ok(rests
            .into_iter()
            .map(|(before, rest)| (rest.clone(), rest.received_at, composed.contains(&before)))
            .collect())
    }

    /// Gives the places of trimmed changes to what stands for these now; which of them the server had written in a desk's name.
    async fn rewrite_trimmed(
        &mut self,
        record: RecordId,
        rewritten: &[Rewritten],
    ) -> sqlx::Result<Vec<ChangeHash>> {
        let Some(before) = trimmed::places(&mut self.tx, &self.street, &[record.0])
            .await?
            .remove(&record)
        else {
            return Ok(Vec::new());
        };
        let next: HashMap<ChangeHash, ChangeHash> = rewritten
            .iter()
            .map(|change| (change.before, change.hash))
            .collect();
        let places: Vec<_> = before
            .iter()
            .filter_map(|place| {
                Some(Place {
                    hash: *next.get(&place.hash)?,
                    ..*place
                })
            })
            .collect();
        trimmed::replace(&mut self.tx, &self.street, record, &places).await?;
        self.renamed
            .extend(places.iter().map(|place| (place.seq, record, place.hash)));
        Ok(before
            .into_iter()
            .filter(|place| place.composed)
            .map(|place| place.hash)
            .collect())
    }

    fn announce(
        &mut self,
        record: RecordId,
        generation: u32,
        received_at: ServerTime,
        what: Logged,
    ) -> i64 {
        self.head += 1;
        let grid = self
            .entries
            .get(&record)
            .map(|entry| entry.grid.clone())
            .unwrap_or_default();
        self.log.push(LogWrite {
            seq: self.head,
            record,
            generation: generation as i32,
            grid,
            received_at,
            what,
        });
        self.head
    }

    /// Keeps the entries of this write's log that pass, and the count of those told in step.
    fn drop_pending(&mut self, mut keeps: impl FnMut(&LogWrite) -> bool) {
        let mut at = 0;
        let told = self.told;
        self.log.retain(|entry| {
            let keep = keeps(entry);
            if !keep && at < told {
                self.told -= 1;
            }
            at += 1;
            keep
        });
    }
}
