//! What a pull reads, answered from memory; and what is due on requests.

use std::{collections::BTreeSet, sync::PoisonError};

use lianka_sync_core::{
    codec::wire::Notice,
    id::RecordId,
    kinds::{
        Class, Kind,
        transfer::{Case, calendar::Calendar},
    },
    time::ServerTime,
};

use super::{Kept, MemoryStore, TAIL_BOUNDS};
use crate::{
    acts::erase::REDACT,
    pull::{
        Answer, Departure, Document, Forgotten, Gone, Page, Read, Scope,
        tail::{self, Bounds, Newest, News, Stand, Stretch, Tail, What},
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
            Read::Documents(page) => Answer::Documents(self.page(&page).into()),
            Read::Advances(slice) => {
                Answer::Advances(self.ask_tail(slice.after, |tail| tail.advances(&slice)))
            }
            Read::Changes { slice, limit } => {
                Answer::Changes(self.ask_tail(slice.after, |tail| tail.changes(&slice, limit)))
            }
        }
    }

    fn departures(&self, gone: &Gone) -> Vec<Departure> {
        let mut departures = self.ask_tail(gone.after, |tail| tail.departures(gone));
        let told: BTreeSet<_> = departures
            .iter()
            .map(|departure| departure.record)
            .collect();
        let lost = self
            .records
            .iter()
            .filter(|(record, kept)| gone.lost.contains(&kept.grid) && !told.contains(record));
        departures.extend(lost.map(|(record, _)| Departure {
            record: *record,
            erased: false,
        }));
        departures.sort_by_key(|departure| departure.record);
        departures
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
            holds_p3: holds_p3(kept),
        };
        found.into_iter().take(page.limit).map(document).collect()
    }

    /// Brings the log's tail to where the street stands, as a server does at each synchronisation.
    pub(super) fn follow_tail(&self) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = Newest {
            store_epoch: self.epoch,
            head: self.head,
            mark: self.entry(tail.newest()).as_ref().map(tail::Entry::mark),
        };
        if let Some(behind) = tail.behind(&newest) {
            tail.learn(behind, self.news(behind));
        }
    }

    /// What a server forgets that starts again. Its store keeps everything.
    pub fn forget_tail(&self) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        *tail = Tail::new(TAIL_BOUNDS);
    }

    /// What a pull reads of the log beyond `after` is told by its tail, or where that does not reach so far by one made for it.
    fn ask_tail<T>(&self, after: i64, ask: impl FnOnce(&Tail) -> T) -> T {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = tail.before(after) {
            tail.learn(before, self.news(before));
        }
        if tail.tells(after, self.head) {
            return ask(&tail);
        }
        let upto = self.head;
        let mut whole = Tail::new(Bounds::NONE);
        whole.learn(Stretch { after, upto }, self.news(Stretch { after, upto }));
        ask(&whole)
    }

    fn entry(&self, seq: i64) -> Option<tail::Entry> {
        let entry = self.log.get(&seq)?;
        Some(tail::Entry {
            seq,
            record: entry.record,
            generation: entry.generation,
            received_at: entry.received_at,
            what: match &entry.what {
                Logged::Change(change) => What::Change {
                    hash: change.hash,
                    device: change.device,
                    composed: change.composed,
                    bytes: change.bytes.as_slice().into(),
                },
                Logged::Leave => What::Leave {
                    grid: entry.grid.clone(),
                },
                Logged::Snapshot => What::Snapshot,
                Logged::Erase => What::Erase,
            },
        })
    }

    fn news(&self, Stretch { after, upto }: Stretch) -> News {
        let seqs = self.log.range(after.saturating_add(1)..=upto);
        let entries: Vec<_> = seqs.filter_map(|(seq, _)| self.entry(*seq)).collect();
        let stand = |record: RecordId| Some((record, stand(self.records.get(&record)?)));
        News {
            stands: entries
                .iter()
                .filter_map(|entry| stand(entry.record))
                .collect(),
            entries,
        }
    }

    /// Requests on which something is due, the longest due first.
    pub fn due(&self, now: ServerTime) -> Vec<RecordId> {
        let calendar = Calendar::shipped();
        let mut due: Vec<_> = self
            .of_kind(Kind::TransferRequest)
            .filter_map(|(record, kept)| {
                let case = Case::of(&kept.state.view());
                let (due, _) = case.now.clock(kept.state.created_at(), &calendar)?;
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

fn stand(kept: &Kept) -> Stand {
    Stand {
        kind: kept.state.kind(),
        grid: kept.grid.clone(),
        grid_seq: kept.grid_seq,
        holds_p3: holds_p3(kept),
    }
}

fn holds_p3(kept: &Kept) -> bool {
    let kind = kept.state.kind();
    let view = kept.state.view();
    view.values.keys().any(|key| {
        kind.field(key)
            .is_some_and(|(field, _)| field.class == Class::P3)
    })
}
