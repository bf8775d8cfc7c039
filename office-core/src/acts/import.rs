//! Rows of a workbook, written and taken back: one change a row, by somebody who had seen the roll as it stood when the workbook was made.
//!
//! Invariants:
//! - what arrived after the workbook was made is never replaced: the row's value stands beside it, as if a phone had been offline since;
//! - a row that a rule refuses leaves its card as it was, and says why; the other rows go on;
//! - an undo touches only what still stands as the row wrote it.

use std::collections::BTreeSet;

use lianka_sync_core::{
    codec::change::{OpId, Scalar},
    crdt::{
        merge::{Refusal, RegisterState, Replaces, Write},
        record::Edit,
    },
    id::{ChangeHash, RecordId},
    key::NOTE,
    kinds::Kind,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Act, Desk, Refused, edit::stored, records};
use crate::{
    audit::{Action, Event},
    store::Wants,
    street::Street,
};

/// What the audit trail names as the origin of rows.
#[derive(Clone, Debug)]
pub struct Origin {
    pub import: Uuid,
    pub file: String,
    /// None in a text file.
    pub sheet: Option<String>,
}

impl Origin {
    fn event(self, by: &Desk, action: Action, rows: Vec<Value>) -> Event {
        by.event(action)
            .with("import", self.import.to_string())
            .with("file", self.file)
            .with("sheet", self.sheet)
            .with("rows", rows)
    }
}

/// Rows to write.
#[derive(Debug)]
pub struct WriteRows {
    pub by: Desk,
    pub from: Origin,
    /// With their numbers, as the spreadsheet counts.
    pub rows: Vec<(i32, RowWrite)>,
}

/// What a row writes.
#[derive(Debug)]
pub enum RowWrite {
    /// A new record.
    Create {
        record: RecordId,
        kind: Kind,
        edits: Vec<Edit>,
    },
    /// Cells of a record.
    Edit {
        record: RecordId,
        cells: Vec<CellWrite>,
        note: Option<NoteWrite>,
        /// The street's head that the author of the row had before them.
        seen: i64,
    },
}

/// A cell to write.
#[derive(Clone, PartialEq, Debug)]
pub struct CellWrite {
    pub key: String,
    /// `None` clears the field.
    pub value: Option<Scalar>,
    pub over: Over,
}

/// What a cell is written over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// The values that the author had seen.
    Seen,
    /// None: it stands beside whatever is there.
    Nothing,
    /// Nothing may be there.
    Absent,
}

/// A note to write. Where it reads otherwise by now than its author saw it, it is written as they saw it, and merged like a phone's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteWrite {
    /// What its author saw.
    pub was: String,
    pub text: String,
}

/// Why a note was not written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoteRefused {
    /// It was written meanwhile, and the history does not tell any more how it read before: what was forgotten must not come back.
    Changed,
    /// By a rule.
    By(Refusal),
}

/// What became of a row.
#[derive(Clone, PartialEq, Debug)]
pub enum RowWritten {
    /// By this change.
    Written {
        hash: ChangeHash,
        seq: i64,
        before: Before,
        /// Why the note was not written with the cells, where it was not.
        note_refused: Option<NoteRefused>,
    },
    /// The record says so already, or says something that may not be replaced.
    Unchanged,
    /// A rule refuses it.
    Refused(Refusal),
    /// Its note cannot be written any more, and it has nothing else.
    NoteChanged,
    /// There is no such record any more.
    Gone,
}

/// What stood in the fields that a row wrote.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Before {
    /// By key: the values that were replaced. None: there was none.
    pub values: Vec<(String, Vec<Scalar>)>,
    /// The keys of them that the row emptied.
    #[serde(default)]
    pub cleared: Vec<String>,
    /// The note before and after.
    pub note: Option<(String, String)>,
    /// The change that wrote the note, where cells were written by another one.
    #[serde(default)]
    pub note_change: Option<ChangeHash>,
}

impl RowWrite {
    /// The record it is of.
    pub fn record(&self) -> RecordId {
        match self {
            Self::Create { record, .. } | Self::Edit { record, .. } => *record,
        }
    }
}

impl Act for WriteRows {
    type Done = Vec<RowWritten>;
    type Refused = Refused;

    fn wants(&self, street: &Street) -> Wants {
        let mut wants = records(self.rows.iter().map(|(_, row)| row.record()));
        for (_, row) in &self.rows {
            let RowWrite::Edit {
                record,
                cells,
                note,
                ..
            } = row
            else {
                continue;
            };
            if note.is_some() {
                wants.documents.insert(*record);
            }
            let Some(state) = street.state(*record) else {
                continue;
            };
            let reads = state.view().note.unwrap_or_default();
            if note.as_ref().is_some_and(|note| note.was != reads) {
                wants.histories.insert(*record);
            }
            let over_seen = cells.iter().filter(|cell| cell.over == Over::Seen);
            wants
                .sequences
                .extend(over_seen.flat_map(|cell| written_by(state, *record, &cell.key)));
        }
        wants
    }

    fn decide(self, street: &mut Street) -> Result<Self::Done, Refused> {
        let by = self.by;
        let (mut done, mut told) = (Vec::new(), Vec::new());
        for (number, row) in self.rows {
            let record = row.record();
            let written = write(street, &by, row);
            if let RowWritten::Written { seq, .. } = &written {
                told.push(json!([number, record.0, seq]));
            }
            done.push(written);
        }
        if !told.is_empty() {
            street.audit(self.from.event(&by, Action::Import, told));
        }
        Ok(done)
    }
}

/// The changes that wrote what stands in a field.
fn written_by(
    state: &RegisterState,
    record: RecordId,
    key: &str,
) -> impl Iterator<Item = (RecordId, ChangeHash)> {
    let visible = state.visible(key).into_iter();
    visible.flat_map(move |(op, _)| state.came_with(op).map(move |hash| (record, hash)))
}

/// The number under which an operation came. What a rebuild cut off its change stands under a later one.
fn seq_of(street: &Street, record: RecordId, op: OpId) -> Option<i64> {
    let sequences = &street.known().sequences;
    let parts = street.state(record)?.came_with(op);
    parts
        .filter_map(|hash| sequences.get(&(record, hash)).copied())
        .min()
}

fn write(street: &mut Street, by: &Desk, row: RowWrite) -> RowWritten {
    let record = row.record();
    if !street.is_readable(record) {
        return RowWritten::Refused(Refusal::DocumentUnavailable);
    }
    if street.is_erased(record) {
        return RowWritten::Gone;
    }
    match row {
        RowWrite::Create { kind, edits, .. } => {
            if street.state(record).is_some() {
                return RowWritten::Unchanged;
            }
            match street.create(record, kind, by.signer(), &edits) {
                Ok((hash, seq)) => RowWritten::Written {
                    hash,
                    seq,
                    before: Before::default(),
                    note_refused: None,
                },
                Err(refusal) => RowWritten::Refused(refusal),
            }
        }
        RowWrite::Edit {
            cells, note, seen, ..
        } => edit(street, by, record, cells, note, seen),
    }
}

fn edit(
    street: &mut Street,
    by: &Desk,
    record: RecordId,
    cells: Vec<CellWrite>,
    note: Option<NoteWrite>,
    seen: i64,
) -> RowWritten {
    let Some(state) = street.state(record) else {
        return RowWritten::Gone;
    };
    let was_seen = |op: OpId| seq_of(street, record, op).is_some_and(|seq| seq <= seen);
    let mut writes = Vec::new();
    let mut before = Before::default();
    for cell in cells {
        let visible = state.visible(&cell.key);
        let value = cell.value.map(stored);
        let (write, replaced) = match cell.over {
            Over::Absent if visible.is_empty() => (Write::new(cell.key.clone(), value), vec![]),
            Over::Absent => continue,
            Over::Nothing => (
                Write {
                    key: cell.key.clone(),
                    value,
                    replaces: Replaces::Nothing,
                },
                vec![],
            ),
            Over::Seen => {
                // Equal values are no edit, whoever wrote them.
                if !visible.is_empty()
                    && visible.iter().all(|(_, held)| Some(held) == value.as_ref())
                {
                    continue;
                }
                let (ops, replaced): (Vec<_>, Vec<_>) =
                    visible.into_iter().filter(|(op, _)| was_seen(*op)).unzip();
                (
                    Write {
                        key: cell.key.clone(),
                        value,
                        replaces: Replaces::Only(ops),
                    },
                    replaced,
                )
            }
        };
        if write.value.is_none() {
            before.cleared.push(cell.key.clone());
        }
        before.values.push((cell.key, replaced));
        writes.push(write);
    }
    let mut written = match street.compose(record, by.signer(), &writes, "") {
        Ok(written) => written,
        Err(refusal) => return RowWritten::Refused(refusal),
    };
    let mut note_refused = None;
    let reads = |street: &Street| street.state(record).and_then(|state| state.view().note);
    let is_new = |note: &NoteWrite| Some(&note.text) != reads(street).as_ref();
    if let Some(note) = note.filter(is_new) {
        let was = reads(street).unwrap_or_default();
        match write_note(street, by, record, &note, &was, seen) {
            Ok(change) => {
                let cells = written.is_some();
                before.note_change = change.filter(|_| cells).map(|(hash, _)| hash);
                before.note = change.map(|_| (was, reads(street).unwrap_or_default()));
                written = written.or(change);
            }
            Err(refused) if written.is_some() => note_refused = Some(refused),
            Err(NoteRefused::Changed) => return RowWritten::NoteChanged,
            Err(NoteRefused::By(refusal)) => return RowWritten::Refused(refusal),
        }
    }
    match written {
        Some((hash, seq)) => RowWritten::Written {
            hash,
            seq,
            before,
            note_refused,
        },
        None => RowWritten::Unchanged,
    }
}

/// Only the document can tell how to write a note: a change of its own, by an author who had seen what the log held up to `seen`.
fn write_note(
    street: &mut Street,
    by: &Desk,
    record: RecordId,
    note: &NoteWrite,
    reads: &str,
    seen: i64,
) -> Result<Option<(ChangeHash, i64)>, NoteRefused> {
    if note.was == reads {
        let edits = [Edit::Note {
            text: note.text.clone(),
        }];
        return street
            .compose_note(record, by.signer(), &edits, "")
            .map_err(NoteRefused::By);
    }
    // A history that was compacted or redacted does not say what its author saw: nothing of it may come back with their words.
    if street.note_when(record, seen) != Ok(Some(note.was.clone())) {
        return Err(NoteRefused::Changed);
    }
    street
        .compose_note_when(record, by.device, by.role, &note.text, seen)
        .map_err(NoteRefused::By)
}

/// Rows to take back.
#[derive(Debug)]
pub struct UndoRows {
    pub by: Desk,
    pub from: Origin,
    /// With their numbers, as the spreadsheet counts.
    pub rows: Vec<(i32, RowUndo)>,
}

/// A row as it was written.
#[derive(Clone, Debug)]
pub struct RowUndo {
    pub record: RecordId,
    pub hash: ChangeHash,
    /// Where the change stands in the log, whatever it is called by now.
    pub seq: Option<i64>,
    /// What stood there before; `None`: the row made the record.
    pub before: Option<Before>,
}

/// What became of an undo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RowUndone {
    /// The record that the row made is gone, or its fields read as before. `kept`: the fields that somebody wrote since.
    Undone { kept: Vec<String> },
    /// The record that the row made stays: somebody worked with it since.
    Kept,
}

impl Act for UndoRows {
    type Done = Vec<RowUndone>;
    type Refused = Refused;

    fn wants(&self, street: &Street) -> Wants {
        let mut wants = records(self.rows.iter().map(|(_, row)| row.record));
        for (_, row) in &self.rows {
            if is_renamed(street, row) {
                wants.histories.insert(row.record);
            }
            match &row.before {
                None => {
                    wants.merged_with.insert(row.record);
                    wants.children.insert(row.record);
                    wants.reasons.insert(row.record);
                }
                Some(before) => {
                    if before.note.is_some() {
                        wants.documents.insert(row.record);
                    }
                    // Whether what stands there came before the row, or since.
                    wants.sequences.insert((row.record, hash_of(street, row)));
                    if let Some(state) = street.state(row.record) {
                        let keys = before.values.iter().map(|(key, _)| key);
                        let from = keys.flat_map(|key| written_by(state, row.record, key));
                        wants.sequences.extend(from);
                    }
                }
            }
        }
        wants
    }

    fn decide(self, street: &mut Street) -> Result<Self::Done, Refused> {
        let (by, mut told) = (self.by, Vec::new());
        let rows = self.rows.into_iter();
        let done = rows
            .map(|(number, row)| {
                let (record, hash) = (row.record, hash_of(street, &row));
                let undone = match row.before {
                    None => unmake(street, record, hash)?,
                    Some(before) => put_back(street, &by, record, hash, before),
                };
                if undone != RowUndone::Kept {
                    told.push(json!([number, record.0]));
                }
                Ok(undone)
            })
            .collect::<Result<_, Refused>>()?;
        if !told.is_empty() {
            street.audit(self.from.event(&by, Action::ImportUndone, told));
        }
        Ok(done)
    }
}

/// Whether the record does not hold the row's change by its name of then: its history was made shorter since.
fn is_renamed(street: &Street, row: &RowUndo) -> bool {
    let state = street.state(row.record);
    state.is_some_and(|state| !state.contains(row.hash))
}

/// The row's change: where the record's history was made shorter since, the one that stands in its place.
fn hash_of(street: &Street, row: &RowUndo) -> ChangeHash {
    if !is_renamed(street, row) {
        return row.hash;
    }
    let places = street.known().histories.get(&row.record);
    let stands = |seq: i64| places?.iter().find(|place| place.seq == seq);
    row.seq
        .and_then(stands)
        .map_or(row.hash, |place| place.hash)
}

/// Takes back a record that a row made, where nobody worked with it since. Nobody can tell what phones have not sent yet: what they send later stays
/// with its author as a draft.
fn unmake(street: &mut Street, record: RecordId, hash: ChangeHash) -> Result<RowUndone, Refused> {
    let undone = RowUndone::Undone { kept: Vec::new() };
    let Some(state) = street.state(record) else {
        return Ok(undone);
    };
    let known = street.known();
    let used = [known.merged_with.get(&record), known.children.get(&record)]
        .into_iter()
        .flatten()
        .any(|others| !others.is_empty());
    // Edits that wait for a reviewer are somebody's work as well.
    let waits = known
        .reasons
        .get(&record)
        .is_some_and(|held| !held.is_empty());
    if used || waits || state.heads() != [hash] {
        return Ok(RowUndone::Kept);
    }
    street.unmake(record)?;
    Ok(undone)
}

/// Puts back what a row replaced, field by field, where its value still stands alone.
fn put_back(
    street: &mut Street,
    by: &Desk,
    record: RecordId,
    hash: ChangeHash,
    before: Before,
) -> RowUndone {
    let mut kept = BTreeSet::new();
    for (key, values) in before.values {
        let Some(state) = street.state(record) else {
            return RowUndone::Kept;
        };
        let (ours, others): (Vec<_>, Vec<_>) = state
            .visible(&key)
            .into_iter()
            .map(|(op, _)| op)
            .partition(|op| state.came_with(*op).any(|part| part == hash));
        let is_cleared = before.cleared.contains(&key);
        // Values that stood beside it before do so still; what came since, over it or beside it, counts for more, however long its phone was away.
        let own = street.known().sequences.get(&(record, hash)).copied();
        let later = |op: &OpId| match (own, seq_of(street, record, *op)) {
            (Some(own), Some(other)) => other > own,
            _ => is_cleared || ours.iter().any(|own| op.counter > own.counter),
        };
        if (ours.is_empty() && !is_cleared) || others.iter().any(later) {
            kept.insert(key);
            continue;
        }
        let mut replaces = Replaces::Only(ours);
        let mut values = values.into_iter();
        let mut value = values.next();
        loop {
            let write = Write {
                key: key.clone(),
                value,
                replaces,
            };
            // What a rule refuses by now stays, and the other rows go on.
            if street.compose(record, by.signer(), &[write], "").is_err() {
                kept.insert(key);
                break;
            }
            let Some(next) = values.next() else { break };
            (value, replaces) = (Some(next), Replaces::Nothing);
        }
    }
    if let Some((was, became)) = before.note {
        let stands = street.state(record).and_then(|state| state.view().note);
        if stands.is_some_and(|text| text == became) {
            let edit = [Edit::Note { text: was }];
            if street.compose_note(record, by.signer(), &edit, "").is_err() {
                kept.insert(NOTE.to_owned());
            }
        } else {
            kept.insert(NOTE.to_owned());
        }
    }
    RowUndone::Undone {
        kept: kept.into_iter().collect(),
    }
}
