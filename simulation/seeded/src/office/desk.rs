//! What both offices take for granted about the people at their desks, so that the same act means the same to each.
//!
//! An admin (`root`) enrols, assigns, revokes and erases; a reviewer edits, settles, decides, moves and merges; two officers take the steps of a
//! transfer in turn, record by record. After a restore they go on as who they were at the backup, with the same devices.

use std::collections::{BTreeMap, BTreeSet};

use lianka_office_core::{
    acts::{
        Desk,
        import::{
            CellWrite, NoteWrite, Origin, RowUndo, RowWrite, RowWritten, UndoRows, WriteRows,
        },
    },
    roll::rows,
    store::PersonalFields,
};
use lianka_sync_core::{
    access::Role,
    codec::change::Scalar,
    crdt::{record::Edit, view::View},
    id::{EntryId, RecordId, StreetCode},
    key::{self, NOTE},
    kinds::{Kind, Rule},
    time::ServerTime,
};
use uuid::Uuid;

use super::{SheetRow, Shown};

pub const ADMIN: &str = "root";
pub const REVIEWER: &str = "shen.he";
pub const OFFICERS: [&str; 2] = ["jing.ban", "fu.he"];
/// Who sits at desks, in the order in which they sign in.
pub const DESKS: [(&str, Role); 4] = [
    (ADMIN, Role::Admin),
    (REVIEWER, Role::Reviewer),
    (OFFICERS[0], Role::Officer),
    (OFFICERS[1], Role::Officer),
];
/// Why a held change is refused.
pub const HELD_REASON: &str = "核实后不采用";
/// Why something is erased.
pub const ERASE_REASON: &str = "subject_request";

/// A value as it is written under a key: members of sets are flags.
pub fn scalar(key: &str, text: &str) -> Scalar {
    let flag = |kind: Kind| {
        kind.field(key)
            .is_some_and(|(field, _)| field.rule == Rule::Flag)
    };
    if text == "true" && (flag(Kind::ShopCard) || flag(Kind::TransferRequest)) {
        Scalar::Bool(true)
    } else {
        Scalar::from(text)
    }
}

/// A value as evidence shows it.
pub fn text(value: &Scalar) -> String {
    match value {
        Scalar::Str(text) => text.clone(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
    }
}

/// What the audit trail calls the file of every sheet.
const FILE: &str = "街区.xlsx";

/// Rows as they were written, with their numbers: what takes them back.
pub type Undo = Vec<(i32, RowUndo)>;

fn origin(import: Uuid) -> Origin {
    Origin {
        import,
        file: FILE.to_owned(),
        sheet: None,
    }
}

/// The rows of a sheet as the office writes them; they count from one.
pub fn write_rows(by: Desk, street: &StreetCode, import: Uuid, of: &[SheetRow]) -> WriteRows {
    let rows = (1..).zip(of).map(|(row, of)| (row, written(street, of)));
    WriteRows {
        by,
        from: origin(import),
        rows: rows.collect(),
    }
}

fn written(street: &StreetCode, row: &SheetRow) -> RowWrite {
    match row {
        SheetRow::Create { record, grid, set } => {
            let mut edits = vec![
                Edit::set(key::KIND, Kind::ShopCard.as_str()),
                Edit::set(key::STREET, street.as_str()),
                Edit::set(key::GRID, grid),
            ];
            edits.extend(
                set.iter()
                    .map(|(key, value)| Edit::set(key, value.as_deref().unwrap_or_default())),
            );
            RowWrite::Create {
                record: RecordId(*record),
                kind: Kind::ShopCard,
                edits,
            }
        }
        SheetRow::Edit {
            record,
            cells,
            note,
            seen,
        } => RowWrite::Edit {
            record: RecordId(*record),
            cells: cells
                .iter()
                .map(|cell| CellWrite {
                    key: cell.key.clone(),
                    value: cell.value.as_deref().map(|text| scalar(&cell.key, text)),
                    over: cell.over,
                })
                .collect(),
            note: note.clone().map(|(was, text)| NoteWrite { was, text }),
            seen: *seen,
        },
    }
}

/// What takes the rows back that were written.
pub fn undo_of(of: &[SheetRow], written: Vec<RowWritten>) -> Undo {
    let rows = (1..).zip(of.iter().zip(written));
    rows.filter_map(|(row, (of, written))| {
        let RowWritten::Written {
            hash, seq, before, ..
        } = written
        else {
            return None;
        };
        let (record, is_new) = match of {
            SheetRow::Create { record, .. } => (*record, true),
            SheetRow::Edit { record, .. } => (*record, false),
        };
        let before = (!is_new).then_some(before);
        let undo = rows::undo(RecordId(record), (hash, Some(seq)), before, is_new)?;
        Some((row, undo))
    })
    .collect()
}

/// Takes the rows of an import back.
pub fn undo_rows(by: Desk, import: Uuid, rows: Undo) -> UndoRows {
    UndoRows {
        by,
        from: origin(import),
        rows,
    }
}

/// The id of an officer's `nth` event on a record.
pub fn event_id(record: RecordId, nth: u32, now: ServerTime) -> EntryId {
    let mut entropy = [0; 10];
    entropy[..6].copy_from_slice(&record.0.as_bytes()[10..]);
    entropy[6..].copy_from_slice(&nth.to_be_bytes());
    EntryId::new_v7(now.unix_ms().unsigned_abs(), entropy)
}

/// Which officer takes the `nth` step on a record.
pub fn officer(nth: u32) -> usize {
    nth as usize % OFFICERS.len()
}

/// What the office alone keeps of a transfer, of all its revisions.
pub fn sealed<'a>(
    revisions: impl Iterator<Item = &'a PersonalFields>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut sealed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (field, values) in revisions.flatten() {
        let kept = sealed.entry(field.clone()).or_default();
        kept.extend(values.iter().cloned());
    }
    sealed
}

/// Every key with its visible values, as evidence shows them; the note under its key, by nobody.
pub fn shown(view: &View) -> BTreeMap<String, Vec<Shown>> {
    let mut fields: BTreeMap<String, Vec<Shown>> = BTreeMap::new();
    for (key, values) in &view.values {
        let mut values: Vec<_> = values
            .iter()
            .map(|value| Shown {
                value: text(&value.value),
                device: value.op.actor.device().0,
            })
            .collect();
        values.sort();
        fields.insert(key.clone(), values);
    }
    let note = view.note.clone().filter(|note| !note.is_empty());
    fields.extend(note.map(|value| {
        (
            NOTE.to_owned(),
            vec![Shown {
                value,
                device: Uuid::nil(),
            }],
        )
    }));
    fields
}
