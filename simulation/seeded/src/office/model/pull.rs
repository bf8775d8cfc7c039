//! What an answer holds after its verdicts: docs/protocol.md, "What comes down" and "Cursors, checkpoints, reset".

use std::collections::BTreeSet;

use lianka_sync_core::{
    codec::{
        cursor::{self, Cursor, Position, Pull, Received, WHOLE_STREET},
        wire::{Encoding, ResponseItem},
    },
    id::{DeviceId, RecordId},
    limits,
    time::ServerTime,
};

use super::ledger::{Entry, Redaction, Store, What};

/// Days of notices that a download brings.
const NOTICE_DAYS: i64 = 30;
/// Notices in one answer, the newest.
const NOTICES_MAX: usize = 500;

/// What is asked for.
pub struct Question<'q> {
    pub device: DeviceId,
    pub username: &'q str,
    pub sees_whole_street: bool,
    pub cursor: Option<&'q str>,
    pub now: ServerTime,
    pub lease_seconds: Option<u64>,
    /// Bytes after which a checkpoint is due.
    pub checkpoint_bytes: usize,
    /// Records that the phone has to write its edits on anew.
    pub rebased: BTreeSet<RecordId>,
    /// Records of changes that it brought once more.
    pub had: BTreeSet<RecordId>,
    /// Entries of the log that the phone brought in this very request.
    pub brought: BTreeSet<u64>,
}

/// Everything that the phone lacks, and `end`.
pub fn answer(store: &Store, question: &Question<'_>, items: &mut Vec<ResponseItem>) {
    let user = store.users.get(question.username);
    let scope_epoch = if question.sees_whole_street {
        WHOLE_STREET
    } else {
        user.map_or(0, |user| user.scope_epoch)
    };
    let position = Position {
        store_epoch: store.epoch,
        street: &store.street,
        head: store.head,
        scope_epoch,
    };
    let plan = cursor::plan(question.cursor, &position);
    if plan == Pull::Reset {
        items.push(ResponseItem::Reset { epoch: store.epoch });
        items.push(end(store, question, None));
        return;
    }
    let grids = (!question.sees_whole_street)
        .then(|| user.map(super::ledger::User::grids).unwrap_or_default());
    let mut answer = Answer {
        store,
        question,
        scope_epoch,
        grids,
        items,
        since_checkpoint: 0,
        cursor_epoch: scope_epoch,
        sent: BTreeSet::new(),
    };
    answer.snapshots(0, |record, _| question.rebased.contains(&record), None);
    answer.out_of_sight();
    match plan {
        Pull::Reset | Pull::Nothing => {}
        Pull::Download { after, received } => answer.download(after, received),
        Pull::Delta { after, scope_epoch } => answer.delta(after, scope_epoch),
    }
    let cursor = answer.cursor(store.head, false);
    items.push(end(store, question, Some(cursor)));
}

/// The last item.
pub fn end(store: &Store, question: &Question<'_>, cursor: Option<String>) -> ResponseItem {
    ResponseItem::End {
        cursor,
        head: store.head,
        server_time: question.now,
        lease_seconds: question.lease_seconds,
    }
}

type Grids = BTreeSet<String>;

/// How the user's grids moved since the phone last heard. `None`: the whole street, then and now.
struct Moved {
    seen: Option<Grids>,
    kept: Option<Grids>,
    gained: Grids,
    lost: Grids,
}

struct Answer<'a> {
    store: &'a Store,
    question: &'a Question<'a>,
    scope_epoch: i64,
    /// The user's grids now; `None` is the whole street.
    grids: Option<Grids>,
    items: &'a mut Vec<ResponseItem>,
    since_checkpoint: usize,
    /// The scope under which a checkpoint stands.
    cursor_epoch: i64,
    /// Records that were sent whole.
    sent: BTreeSet<RecordId>,
}

fn within(grids: Option<&Grids>, grid: &str) -> bool {
    grids.is_none_or(|grids| grids.contains(grid))
}

impl Answer<'_> {
    fn cursor(&self, sequence: u64, downloading: bool) -> String {
        let street = self.store.street.as_str().to_owned();
        Cursor {
            store_epoch: self.store.epoch,
            street,
            sequence,
            scope_epoch: self.cursor_epoch,
            downloading,
        }
        .encode()
    }

    fn send(&mut self, item: ResponseItem) {
        let mut bytes = Vec::new();
        Encoding::CborSeq.write(&item, &mut bytes);
        self.since_checkpoint += bytes.len();
        self.items.push(item);
    }

    fn checkpoint(&mut self, sequence: u64, downloading: bool) {
        if self.since_checkpoint >= self.question.checkpoint_bytes {
            let cursor = self.cursor(sequence, downloading);
            self.items.push(ResponseItem::Checkpoint { cursor });
            self.since_checkpoint = 0;
        }
    }

    /// Whole records in scope, by their newest entry; `resumable`: a download may go on from between two of them.
    fn snapshots(
        &mut self,
        after: u64,
        wanted: impl Fn(RecordId, &str) -> bool,
        resumable: Option<()>,
    ) {
        let mut records: Vec<_> = self
            .store
            .records
            .iter()
            .filter(|(record, kept)| {
                kept.seq > after
                    && within(self.grids.as_ref(), &kept.grid)
                    && wanted(**record, &kept.grid)
            })
            .collect();
        records.sort_by_key(|(_, kept)| kept.seq);
        for (record, kept) in records {
            if !self.sent.insert(*record) {
                continue;
            }
            self.send(ResponseItem::Snapshot {
                record: *record,
                kind: kept.state.kind(),
                grid: kept.grid.clone(),
                generation: kept.state.generation(),
                seq: kept.seq,
                bytes: self.store.document(*record),
            });
            if resumable.is_some() {
                self.checkpoint(kept.seq, true);
            }
        }
    }

    /// What the phone made and the user may not see.
    fn out_of_sight(&mut self) {
        for record in &self.question.had {
            if self
                .store
                .records
                .get(record)
                .is_some_and(|kept| !within(self.grids.as_ref(), &kept.grid))
            {
                self.send(ResponseItem::Leave { record: *record });
            }
        }
    }

    /// First of all, so that no checkpoint passes one.
    fn notices(&mut self, after: u64, since: Option<ServerTime>) {
        let of_user = self
            .store
            .notices
            .get(self.question.username)
            .into_iter()
            .flatten();
        let mut notices: Vec<_> = of_user
            .filter(|notice| notice.seq > after && since.is_none_or(|since| notice.at >= since))
            .cloned()
            .collect();
        notices.sort_by_key(|notice| (notice.seq, notice.id));
        let newest = notices.len().saturating_sub(NOTICES_MAX);
        for notice in notices.into_iter().skip(newest) {
            self.send(ResponseItem::Notice(notice));
        }
    }

    fn moved(&self, scope_epoch: i64) -> Moved {
        match &self.grids {
            Some(now) if scope_epoch != self.scope_epoch => {
                let user = self.store.users.get(self.question.username);
                let then = user
                    .map(|user| user.grids_at(scope_epoch))
                    .unwrap_or_default();
                Moved {
                    seen: Some(then.union(now).cloned().collect()),
                    kept: Some(then.intersection(now).cloned().collect()),
                    gained: now.difference(&then).cloned().collect(),
                    lost: then.difference(now).cloned().collect(),
                }
            }
            same => Moved {
                seen: same.clone(),
                kept: same.clone(),
                gained: Grids::new(),
                lost: Grids::new(),
            },
        }
    }

    /// What is to be dropped: erased, gone from the user's grids, or about somebody redacted.
    fn departures(&mut self, moved: &Moved, after: u64) {
        let mut gone: BTreeSet<(RecordId, bool)> = BTreeSet::new();
        for entry in self.beyond(after) {
            let here = self.store.records.get(&entry.record);
            match &entry.what {
                What::Erase => drop(gone.insert((entry.record, true))),
                What::Leave if within(moved.seen.as_ref(), &entry.grid) => {
                    if here.is_none_or(|kept| {
                        self.grids
                            .as_ref()
                            .is_some_and(|grids| !grids.contains(&kept.grid))
                    }) {
                        gone.insert((entry.record, false));
                    }
                }
                What::Leave | What::Change { .. } | What::Snapshot => {}
            }
        }
        gone.extend(
            self.store
                .records
                .iter()
                .filter(|(_, kept)| moved.lost.contains(&kept.grid))
                .map(|(record, _)| (*record, false)),
        );
        for (record, erased) in gone {
            self.send(if erased {
                ResponseItem::Erase { record }
            } else {
                ResponseItem::Leave { record }
            });
        }
        self.redactions(after);
    }

    /// For a phone that starts over: everything erased and redacted, in order.
    fn forgotten(&mut self) {
        let erased = self
            .store
            .log
            .iter()
            .filter(|(_, entry)| matches!(entry.what, What::Erase));
        let mut told: Vec<_> = erased
            .map(|(seq, entry)| {
                (
                    *seq,
                    ResponseItem::Erase {
                        record: entry.record,
                    },
                )
            })
            .collect();
        let redacted = |redaction: &Redaction| ResponseItem::Redact {
            record: redaction.record,
            entries: redaction.entries.clone(),
        };
        told.extend(
            self.store
                .redactions
                .iter()
                .map(|redaction| (redaction.seq, redacted(redaction))),
        );
        told.sort_by_key(|(seq, _)| *seq);
        for (_, item) in told {
            self.send(item);
        }
    }

    fn redactions(&mut self, after: u64) {
        for redaction in self
            .store
            .redactions
            .iter()
            .filter(|redaction| redaction.seq > after)
        {
            self.send(ResponseItem::Redact {
                record: redaction.record,
                entries: redaction.entries.clone(),
            });
        }
    }

    fn beyond(&self, after: u64) -> impl Iterator<Item = &Entry> + use<'_> {
        self.store.log.range(after + 1..).map(|(_, entry)| entry)
    }

    fn download(&mut self, after: u64, received: Option<Received>) {
        let month =
            ServerTime::from_unix_ms(self.question.now.unix_ms() - NOTICE_DAYS * 86_400_000);
        self.notices(0, Some(month));
        if let Some(received) = received {
            let moved = self.moved(received.scope_epoch);
            self.departures(&moved, received.sequence);
        } else {
            self.forgotten();
        }
        self.snapshots(after, |_, _| true, Some(()));
    }

    fn delta(&mut self, after: u64, scope_epoch: i64) {
        self.notices(after, None);
        let moved = self.moved(scope_epoch);
        self.departures(&moved, after);
        // Until the gained grids have come, the phone's cursor stands under the scope that it knew.
        let now = std::mem::replace(&mut self.cursor_epoch, scope_epoch);
        let (whole, tail) = self.advanced(&moved, after);
        self.snapshots(0, |record, _| whole.contains(&record), None);
        self.changes(&tail, after);
        self.cursor_epoch = now;
        if !moved.gained.is_empty() {
            self.snapshots(0, |_, grid| moved.gained.contains(grid), Some(()));
        }
    }

    /// Records of the grids kept that others changed: those to be sent whole, and those of which a few changes do.
    fn advanced(&self, moved: &Moved, after: u64) -> (BTreeSet<RecordId>, BTreeSet<RecordId>) {
        let mut by_others: std::collections::BTreeMap<RecordId, (usize, bool)> =
            std::collections::BTreeMap::new();
        for (seq, entry) in self.store.log.range(after + 1..) {
            let Some(kept) = self
                .store
                .records
                .get(&entry.record)
                .filter(|kept| within(moved.kept.as_ref(), &kept.grid))
            else {
                continue;
            };
            let rebuilt = match &entry.what {
                What::Change { device, .. }
                    if *device == self.question.device && self.question.brought.contains(seq) =>
                {
                    continue;
                }
                What::Change { .. } => false,
                // Rebuilt, or trimmed up to here.
                What::Snapshot => true,
                What::Leave | What::Erase => continue,
            };
            let counted = by_others.entry(entry.record).or_default();
            counted.0 += 1;
            counted.1 |= rebuilt || kept.arrived == *seq;
        }
        let (whole, tail): (Vec<_>, Vec<_>) = by_others
            .into_iter()
            .partition(|(_, (count, whole))| *whole || *count > limits::TAIL_CHANGES_MAX);
        let records = |of: Vec<(RecordId, _)>| of.into_iter().map(|(record, _)| record).collect();
        (records(whole), records(tail))
    }

    /// Changes by others, in the order of the log, so that a checkpoint between two of them is true.
    fn changes(&mut self, records: &BTreeSet<RecordId>, after: u64) {
        let store = self.store;
        for (seq, entry) in store
            .log
            .range(after + 1..)
            .filter(|(_, entry)| {
                records.contains(&entry.record) && !self.sent.contains(&entry.record)
            })
            .collect::<Vec<_>>()
        {
            let What::Change { device, bytes, .. } = &entry.what else {
                continue;
            };
            if *device != self.question.device || !self.question.brought.contains(seq) {
                let (record, generation) = (entry.record, entry.generation);
                self.send(ResponseItem::Change {
                    record,
                    generation,
                    seq: *seq,
                    bytes: bytes.clone(),
                });
                self.checkpoint(*seq, false);
            }
        }
    }
}
