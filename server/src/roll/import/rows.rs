//! Rows of one part, written or taken back inside an open transaction on the street, and what became of each.

use std::collections::BTreeSet;

use lianka_office_core::{
    acts::{
        Desk,
        import::{
            CellWrite, NoteWrite, Over, RowUndo, RowUndone, RowWrite, RowWritten, UndoRows,
            WriteRows,
        },
    },
    ids::derived,
};
use lianka_sync_core::{
    codec::change::Scalar,
    crdt::{merge::RegisterState, record::Edit},
    id::{ChangeHash, EntryId, RecordId, StreetCode},
    key,
    kinds::{Kind, Meaning, shop_card::CONTACTS},
    lang::Lang,
};

use super::{
    ImportError,
    diff::{self, Columns, Take},
    person_id,
    plan::{Content, ProblemReport},
    store::{self, ImportRow, RowEnd, StoredRow},
    workbook,
};
use crate::{
    roll::sheet::{ProblemCode, target::field},
    street::transaction::StreetTransaction,
};

/// The grid of rows whose grid the street does not know, until the office moves them.
pub(super) const UNASSIGNED: &str = "未分配";

fn take(columns: &Columns, name: &str) -> Option<Take> {
    let custom = name.starts_with("custom/").then_some("custom");
    [Some(name), custom, Some("*")]
        .into_iter()
        .flatten()
        .find_map(|name| columns.get(name).copied())
}

/// Writes rows, and says what became of each.
pub(super) async fn write_part(
    transaction: &mut StreetTransaction,
    street: &StreetCode,
    by: &Desk,
    import: &ImportRow,
    waiting: Vec<StoredRow>,
) -> Result<Vec<RowEnd>, ImportError> {
    let identities: Vec<_> = waiting.iter().map(|row| row.identity.clone()).collect();
    // Of two imports of one file at once, the second finds the rows of the first.
    let written = store::imported(transaction.tx(), street, &identities, &store::WRITTEN).await?;
    transaction
        .load(waiting.iter().filter_map(|row| row.record).map(RecordId))
        .await?;
    let (mut ends, mut rows, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen_here: BTreeSet<Vec<u8>> = BTreeSet::new();
    for row in waiting {
        let Some(record) = row.record.map(RecordId) else {
            ends.push(ended(&row, "refused", row.content.0.clone()));
            continue;
        };
        let is_new = transaction.state(record).is_none();
        let before = written.get(&row.identity).filter(|_| row.seen.is_none());
        if let (true, Some(record)) = (is_new, before) {
            ends.push(RowEnd {
                record: Some(*record),
                ..ended(&row, "unchanged", row.content.0.clone())
            });
            continue;
        }
        if is_new && !seen_here.insert(row.identity.clone()) {
            ends.push(ended(&row, "unchanged", row.content.0.clone()));
            continue;
        }
        writes.push(match transaction.state(record) {
            None => create(street, import, &row, record),
            Some(state) => edit(import, &row, record, state),
        });
        rows.push(row);
    }
    let act = WriteRows {
        by: by.clone(),
        rows: writes,
    };
    let outcomes = transaction
        .decide(act)
        .await?
        .map_err(|refused| ImportError::Act(refused.into()))?;
    for (row, outcome) in rows.into_iter().zip(outcomes) {
        ends.push(end_of(&row, outcome));
    }
    Ok(ends)
}

fn ended(row: &StoredRow, state: &'static str, content: Content) -> RowEnd {
    RowEnd {
        row: row.row,
        state,
        record: None,
        hash: None,
        seq: None,
        content,
    }
}

/// Once it is decided nothing stays of a row but what an undo needs, what is told of it, and its cells.
fn end_of(row: &StoredRow, outcome: RowWritten) -> RowEnd {
    let mut content = row.content.0.clone();
    let refused =
        |content: &mut Content, code: &str, column: Option<String>, zh: String, en: String| {
            content.problems.push(ProblemReport::of_row(
                code,
                row.row.unsigned_abs(),
                column,
                zh,
                en,
            ));
        };
    let is_new = was_created(row);
    match outcome {
        RowWritten::Written {
            hash,
            seq,
            before,
            note_refused,
        } => {
            content.before = (!is_new).then_some(before);
            content.says = None;
            content.changed.clear();
            content.persons.clear();
            (content.tags, content.note) = (None, None);
            if let Some(refusal) = note_refused {
                refused(
                    &mut content,
                    refusal.code(),
                    refusal.key().map(str::to_owned),
                    refusal.message(Lang::Zh),
                    refusal.message(Lang::En),
                );
            }
            RowEnd {
                record: row.record.map(RecordId),
                hash: Some(hash),
                seq: Some(seq),
                ..ended(row, "written", content)
            }
        }
        RowWritten::Unchanged => ended(row, "unchanged", content),
        RowWritten::Refused(refusal) => {
            refused(
                &mut content,
                refusal.code(),
                refusal.key().map(str::to_owned),
                refusal.message(Lang::Zh),
                refusal.message(Lang::En),
            );
            ended(row, "refused", content)
        }
        RowWritten::NoteChanged => {
            refused(
                &mut content,
                ProblemCode::NoteChanged.as_str(),
                Some("note".to_owned()),
                "备注在此期间有人改过，这一行没有写入：请看过卡片再改".to_owned(),
                "somebody wrote the note meanwhile, and nothing of the row was written: look at the card, then edit it".to_owned(),
            );
            ended(row, "refused", content)
        }
        RowWritten::Gone => {
            refused(
                &mut content,
                ProblemCode::RecordGone.as_str(),
                None,
                "这张卡片已经不在了".to_owned(),
                "the card is not there any more".to_owned(),
            );
            ended(row, "refused", content)
        }
    }
}

/// A new card.
fn create(street: &StreetCode, import: &ImportRow, row: &StoredRow, record: RecordId) -> RowWrite {
    let content = &row.content;
    let says = content.says.clone().unwrap_or_default();
    let grid = content
        .grid
        .as_deref()
        .or(import.plan.grid.as_deref())
        .unwrap_or(UNASSIGNED);
    let mut edits = vec![
        Edit::set(key::KIND, Kind::ShopCard.as_str()),
        Edit::set(key::STREET, street.as_str()),
        Edit::set(key::GRID, grid),
    ];
    let given = says.values.into_iter().filter(|(at, _)| at != key::GRID);
    edits.extend(given.map(|(key, value)| Edit::Put { key, value }));
    for (nth, person) in says.persons.iter().enumerate() {
        let entry = person_id(import.import, import.at.into(), row.row, nth);
        edits.extend(person.iter().map(|(field, value)| {
            Edit::set(format!("{CONTACTS}/{entry}/{field}"), value.as_str())
        }));
    }
    edits.extend(says.note.map(|text| Edit::Note { text }));
    RowWrite::Create {
        record,
        kind: Kind::ShopCard,
        edits,
    }
}

/// What a row changes on a card.
fn edit(import: &ImportRow, row: &StoredRow, record: RecordId, state: &RegisterState) -> RowWrite {
    let content = &row.content;
    let view = state.view();
    let entry = |nth: usize| person_id(import.import, import.at.into(), row.row, nth);
    let (mut cells, mut note) = (Vec::new(), None);
    if let Some(says) = &content.says {
        let how = |name: &str| {
            take(&content.take, name)
                .or_else(|| take(&import.plan.take, name))
                .unwrap_or_default()
        };
        let found = diff::difference(says, &view, &how, &entry);
        (cells, note) = (found.cells, found.note);
    }
    // A person who was forgotten, or taken off the card, does not come back by a cell.
    let persons: BTreeSet<EntryId> = view.entries(CONTACTS).into_iter().collect();
    let is_there = |key: &str| match key::Key::parse(key) {
        Some(key::Key::Entry { list, entry, .. }) if list == CONTACTS => persons.contains(&entry),
        _ => true,
    };
    let changed = content
        .changed
        .iter()
        .filter(|changed| is_there(&changed.key));
    cells.extend(changed.map(|changed| CellWrite {
        key: changed.key.clone(),
        value: changed.value.clone(),
        over: Over::Seen,
    }));
    if let (Some((tags, _)), Some(field)) = (&content.tags, field(Meaning::Tag)) {
        let now: BTreeSet<String> = view
            .members(field.name)
            .map(|(tag, _)| tag.to_owned())
            .collect();
        let wanted: BTreeSet<String> = tags.iter().cloned().collect();
        let write = |tag: &String, value| CellWrite {
            key: format!("{}/{tag}", field.name),
            value,
            over: Over::Seen,
        };
        let added = wanted.difference(&now);
        cells.extend(added.map(|tag| write(tag, Some(Scalar::Bool(true)))));
        cells.extend(now.difference(&wanted).map(|tag| write(tag, None)));
    }
    for (nth, person) in content.persons.iter().enumerate() {
        let entry = entry(nth);
        cells.extend(person.iter().map(|(field, value)| CellWrite {
            key: workbook::person_key(entry, field),
            value: Some(Scalar::from(value.as_str())),
            over: Over::Absent,
        }));
    }
    if let Some((text, was)) = &content.note {
        note = Some(NoteWrite {
            was: was.clone(),
            text: text.clone(),
        });
    }
    RowWrite::Edit {
        record,
        cells,
        note,
        seen: row.seen.unwrap_or(import.base_seq),
    }
}

/// Takes rows back, and says what became of each.
pub(super) async fn undo_part(
    transaction: &mut StreetTransaction,
    by: &Desk,
    waiting: Vec<StoredRow>,
) -> Result<Vec<RowEnd>, ImportError> {
    let now = transaction.now();
    let undo = |row: &StoredRow| -> Option<RowUndo> {
        let record = RecordId(row.record?);
        let hash = ChangeHash::from_slice(row.hash.as_deref()?)?;
        Some(RowUndo {
            record,
            hash,
            before: row.content.before.clone(),
            erasure: derived(now, &[b"import undone", record.0.as_bytes(), &hash.0]),
        })
    };
    let (mut rows, mut undone, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for row in waiting {
        match undo(&row) {
            // An update of which nothing is known any more was forgotten on request: it stays.
            Some(undo) if undo.before.is_some() || was_created(&row) => {
                undone.push(undo);
                rows.push(row);
            }
            _ => ends.push(ended(&row, "kept", row.content.0.clone())),
        }
    }
    let act = UndoRows {
        by: by.clone(),
        rows: undone,
    };
    let outcomes = transaction
        .decide(act)
        .await?
        .map_err(|refused| ImportError::Act(refused.into()))?;
    for (row, outcome) in rows.into_iter().zip(outcomes) {
        let mut content = row.content.0.clone();
        let state = match outcome {
            RowUndone::Kept => "kept",
            RowUndone::Undone { kept } if kept.is_empty() => "undone",
            RowUndone::Undone { kept } => {
                content.kept = kept;
                "kept"
            }
        };
        ends.push(ended(&row, state, content));
    }
    Ok(ends)
}

/// Whether the row made a card, or makes one.
pub(super) fn was_created(row: &StoredRow) -> bool {
    row.outcome == "new" || row.content.reasons == ["chosen_new"]
}
