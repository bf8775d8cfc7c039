//! What the model office can be asked when all is quiet, and its snapshots brought up to date.

use lianka_sync_core::{crdt::record::Record, id::RecordId};
use uuid::Uuid;

use super::ledger::{Kept, Store, What};
use crate::{
    office::{Evidence, HeldLine, LogLine, OfficeRecord, shown},
    reading::won,
};

impl Store {
    /// Documents up to the log's end, as Automerge saves them where that is smaller.
    pub(super) fn refresh_snapshots(&mut self) {
        let behind: Vec<RecordId> = self
            .records
            .iter()
            .filter(|(_, kept)| kept.snapshot.0 < kept.seq)
            .map(|(record, _)| *record)
            .collect();
        for record in behind {
            let chunks = self.document(record);
            let saved = Record::load(&chunks).map(|mut document| document.save());
            let snapshot = saved
                .ok()
                .filter(|saved| saved.len() < chunks.len())
                .unwrap_or(chunks);
            if let Some(kept) = self.records.get_mut(&record) {
                kept.snapshot = (kept.seq, snapshot);
            }
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        Evidence {
            epoch: self.epoch,
            head: self.head,
            log: self
                .log
                .iter()
                .map(|(seq, entry)| Self::line(*seq, entry.record, &entry.what))
                .collect(),
            records: self
                .records
                .iter()
                .map(|(record, kept)| (record.0, self.record(*record, kept)))
                .collect(),
            held: self.held_lines(),
            conflicts: self.conflicts(),
            audit: Vec::new(),
            rows_differ: self
                .records
                .iter()
                .find_map(|(record, kept)| self.differs(*record, kept)),
            stored: self.stored(),
        }
    }

    fn line(seq: u64, record: RecordId, what: &What) -> LogLine {
        let (what, hash) = match what {
            What::Change { hash, .. } => ("change", Some(hash.to_string())),
            What::Snapshot => ("snapshot", None),
            What::Leave => ("leave", None),
            What::Erase => ("erase", None),
        };
        LogLine {
            seq,
            what: what.to_owned(),
            record: record.0,
            hash,
        }
    }

    fn record(&self, record: RecordId, kept: &Kept) -> OfficeRecord {
        OfficeRecord {
            kind: kept.state.kind().as_str().to_owned(),
            grid: kept.grid.clone(),
            generation: kept.state.generation(),
            fields: shown(&kept.state.view()),
            won: won(&kept.state.view()),
            document: self.document(record),
        }
    }

    fn held_lines(&self) -> Vec<HeldLine> {
        let line =
            |((record, hash, _), held): (&(RecordId, _, u32), &super::ledger::Held)| HeldLine {
                record: record.0,
                hash: lianka_sync_core::id::ChangeHash::to_string(hash),
                status: held.decision.word().to_owned(),
            };
        let mut lines: Vec<_> = self.held.iter().map(line).collect();
        lines.sort();
        lines
    }

    fn conflicts(&self) -> Vec<(Uuid, String)> {
        let of = |(record, kept): (&RecordId, &Kept)| {
            let view = kept.state.view();
            view.conflicts()
                .map(|(key, _)| (record.0, key.to_owned()))
                .collect::<Vec<_>>()
        };
        let mut conflicts: Vec<_> = self.records.iter().flat_map(of).collect();
        conflicts.sort();
        conflicts
    }

    /// Where Automerge reads a record otherwise than the fold does.
    fn differs(&self, record: RecordId, kept: &Kept) -> Option<String> {
        match Record::load(&self.document(record))
            .and_then(|mut document| Ok((document.heads(), document.view()?)))
        {
            Ok((heads, view)) if heads == kept.state.heads() && view == kept.state.view() => None,
            Ok((heads, _)) if heads != kept.state.heads() => Some(format!("{record}: heads")),
            Ok(_) => Some(format!("{record}: values")),
            Err(error) => Some(format!("{record}: {error}")),
        }
    }

    /// Every byte that is kept.
    fn stored(&self) -> Vec<u8> {
        let mut stored = Vec::new();
        for kept in self.records.values() {
            stored.extend(kept.state.to_bytes());
            stored.extend(&kept.snapshot.1);
        }
        for entry in self.log.values() {
            if let What::Change { bytes, .. } = &entry.what {
                stored.extend(bytes);
            }
        }
        stored.extend(self.held.values().flat_map(|held| &held.bytes));
        let settled = self
            .settled
            .iter()
            .flat_map(|settled| settled.values.iter().chain([&settled.key]));
        let sealed = self
            .sealed
            .values()
            .flatten()
            .flat_map(|(_, fields)| fields.values().flatten());
        for text in settled.chain(sealed) {
            stored.extend(text.as_bytes());
            stored.push(b'\n');
        }
        let notices = self.notices.values().flatten();
        for text in notices
            .flat_map(|notice| [&notice.field, &notice.note])
            .flatten()
        {
            stored.extend(text.as_bytes());
            stored.push(b'\n');
        }
        stored
    }
}
