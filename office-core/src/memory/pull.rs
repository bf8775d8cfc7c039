//! What a pull reads, answered from memory; and what is due on requests.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    codec::wire::Notice,
    id::RecordId,
    kinds::{Class, Kind, transfer::Case},
    time::ServerTime,
};

use super::{Kept, LogEntry, MemoryStore};
use crate::{
    acts::erase::REDACT,
    pull::{
        Advance, Answer, Departure, Document, Forgotten, Gone, LogChange, Page, Read, Scope, Slice,
    },
    store::{Logged, Receipt},
};

impl MemoryStore {
    /// What a user may see now.
    pub fn scope(&self, username: &str) -> Scope {
        let nobody = Scope {
            epoch: 0,
            grids: Some(Vec::new()),
        };
        self.users.get(username).map_or(nobody, |user| {
            let grids = user.grids().into_iter().collect();
            Scope::of(user.role, user.scope_epoch, grids)
        })
    }

    /// Answers what the pull of a user reads.
    pub fn read(&self, username: &str, read: Read) -> Answer {
        match read {
            Read::Notices {
                after,
                upto,
                since,
                limit,
            } => {
                let of = self.notices.get(username).into_iter().flatten();
                let is_due = |notice: &&Notice| {
                    beyond(notice.seq as i64, after, upto)
                        && since.is_none_or(|since| notice.at >= since)
                };
                let mut notices: Vec<_> = of.filter(is_due).cloned().collect();
                notices.sort_by_key(|notice| (notice.seq, notice.id));
                Answer::Notices(notices.split_off(notices.len().saturating_sub(limit)))
            }
            Read::Forgotten { upto } => {
                let of = self.receipts.iter().filter(|receipt| receipt.seq <= upto);
                Answer::Forgotten(in_order(of))
            }
            Read::GridsAt { epoch } => {
                let user = self.users.get(username);
                let grids = user.map(|user| user.grids_at(epoch)).unwrap_or_default();
                Answer::GridsAt(grids.into_iter().collect())
            }
            Read::Gone(gone) => {
                let redacted = self.receipts.iter().filter(|receipt| {
                    receipt.kind == REDACT && beyond(receipt.seq, gone.after, gone.upto)
                });
                Answer::Gone {
                    redactions: in_order(redacted),
                    departures: self.departures(&gone),
                }
            }
            Read::Outside { grids, records } => {
                let outside = |record: &RecordId| {
                    let kept = self.records.get(record);
                    kept.is_some_and(|kept| !grids.contains(&kept.grid))
                };
                let records: BTreeSet<_> = records.into_iter().filter(outside).collect();
                Answer::Outside(records.into_iter().collect())
            }
            Read::Documents(page) => Answer::Documents(self.page(&page)),
            Read::Advances(slice) => Answer::Advances(self.advances(&slice)),
            Read::Changes { slice, limit } => {
                let changes = self
                    .slice(&slice)
                    .take(limit)
                    .map(|(seq, entry)| LogChange {
                        seq,
                        record: entry.record,
                        generation: entry.generation,
                        bytes: entry.what.change().map(|change| change.bytes.clone()),
                    });
                Answer::Changes(changes.collect())
            }
            Read::HoldingP3 { records } => {
                let holding = records
                    .iter()
                    .filter_map(|record| self.records.get(record))
                    .filter(|kept| holds_p3(kept));
                Answer::HoldingP3(holding.count() as i64)
            }
        }
    }

    fn departures(&self, gone: &Gone) -> Vec<Departure> {
        let mut departures: BTreeMap<RecordId, bool> = BTreeMap::new();
        for (_, entry) in self.stretch(gone.after, gone.upto) {
            let erased = matches!(entry.what, Logged::Erase);
            let left =
                matches!(entry.what, Logged::Leave) && is_in(gone.seen.as_ref(), &entry.grid);
            let is_out_of_sight = || {
                let kept = self.records.get(&entry.record);
                kept.is_none_or(|kept| !is_in(gone.now.as_ref(), &kept.grid))
            };
            if erased || left && is_out_of_sight() {
                *departures.entry(entry.record).or_default() |= erased;
            }
        }
        for (record, kept) in &self.records {
            if gone.lost.contains(&kept.grid) {
                departures.entry(*record).or_default();
            }
        }
        let departure = |(record, erased)| Departure { record, erased };
        departures.into_iter().map(departure).collect()
    }

    fn page(&self, page: &Page) -> Vec<Document> {
        let mut found: Vec<(RecordId, &Kept)> = match &page.records {
            Some(records) => {
                let records: BTreeSet<_> = records.iter().collect();
                let kept = |record: &RecordId| Some((*record, self.records.get(record)?));
                records.into_iter().filter_map(kept).collect()
            }
            None => self
                .records
                .iter()
                .map(|(record, kept)| (*record, kept))
                .collect(),
        };
        found.retain(|(_, kept)| kept.seq > page.after && is_in(page.grids.as_ref(), &kept.grid));
        found.sort_by_key(|(_, kept)| kept.seq);
        let document = |(record, kept): (RecordId, &Kept)| Document {
            record,
            kind: kept.state.kind(),
            grid: kept.grid.clone(),
            generation: kept.state.generation(),
            seq: kept.seq,
            bytes: self.document(record).unwrap_or_default(),
        };
        found.into_iter().take(page.limit).map(document).collect()
    }

    fn stretch(&self, after: i64, upto: i64) -> impl Iterator<Item = (i64, &LogEntry)> {
        let beyond = self.log.range(after.saturating_add(1)..);
        beyond
            .map(|(seq, entry)| (*seq, entry))
            .take_while(move |(seq, _)| *seq <= upto)
    }

    fn slice<'s>(&'s self, slice: &'s Slice) -> impl Iterator<Item = (i64, &'s LogEntry)> {
        self.stretch(slice.after, slice.upto)
            .filter(|(seq, entry)| match &entry.what {
                Logged::Change(change) => {
                    change.device != slice.device || change.composed || !slice.brought.contains(seq)
                }
                Logged::Snapshot => true,
                Logged::Leave | Logged::Erase => false,
            })
            .filter(|(_, entry)| {
                let kept = self.records.get(&entry.record);
                kept.is_some_and(|kept| is_in(slice.grids.as_ref(), &kept.grid))
            })
    }

    fn advances(&self, slice: &Slice) -> Vec<Advance> {
        let mut advances: BTreeMap<RecordId, Advance> = BTreeMap::new();
        for (seq, entry) in self.slice(slice) {
            let record = entry.record;
            let Some(kept) = self.records.get(&record) else {
                continue;
            };
            let advance = advances.entry(record).or_insert(Advance {
                record,
                kind: kept.state.kind(),
                entries: 0,
                arrived: false,
            });
            advance.entries += 1;
            advance.arrived |= matches!(entry.what, Logged::Snapshot) || kept.grid_seq == seq;
        }
        advances.into_values().collect()
    }

    /// Requests on which something is due, the longest due first.
    pub fn due(&self, now: ServerTime) -> Vec<RecordId> {
        let mut due: Vec<_> = self
            .of_kind(Kind::TransferRequest)
            .filter_map(|(record, kept)| {
                let case = Case::of(&kept.state.view());
                let (due, _) = case.now.clock(kept.state.created_at())?;
                (now >= due).then_some((due, record))
            })
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, record)| record).collect()
    }
}

fn beyond(seq: i64, after: i64, upto: i64) -> bool {
    seq > after && seq <= upto
}

/// `None` is the whole street.
fn is_in(grids: Option<&Vec<String>>, grid: &str) -> bool {
    grids.is_none_or(|grids| grids.iter().any(|one| one == grid))
}

fn in_order<'r>(receipts: impl Iterator<Item = &'r Receipt>) -> Vec<Forgotten> {
    let mut receipts: Vec<_> = receipts.collect();
    receipts.sort_by_key(|receipt| receipt.seq);
    let of = |receipt: &Receipt| Forgotten {
        record: receipt.record,
        entries: (receipt.kind == REDACT).then(|| receipt.entries.clone()),
    };
    receipts.into_iter().map(of).collect()
}

fn holds_p3(kept: &Kept) -> bool {
    let kind = kept.state.kind();
    let view = kept.state.view();
    view.values.keys().any(|key| {
        kind.field(key)
            .is_some_and(|(field, _)| field.class == Class::P3)
    })
}
