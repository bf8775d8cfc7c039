//! Rows of one part, written or taken back inside an open transaction on the street, and what became of each.

use std::collections::BTreeSet;

use lianka_office_core::{
    acts::{
        Desk,
        import::{
            NoteRefused, Origin, RowUndo, RowUndone, RowWrite, RowWritten, UndoRows, WriteRows,
        },
    },
    roll::rows::{self, At, Row},
    store::Head,
};
use lianka_sync_core::{
    crdt::merge::RegisterState,
    id::{ChangeHash, RecordId, StreetCode},
    lang::Lang,
    time::ServerTime,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    ImportError, Office,
    plan::{Content, ProblemReport},
    store::{self, ImportRow, RowEnd, StoredRow},
    workbook,
};
use crate::{
    roll::sheet::{ProblemCode, RECORD_GONE},
    street::{
        store::records,
        transaction::{StreetTransaction, ahead::Ahead},
    },
};

/// The grid of rows whose grid the street does not know, until the office moves them.
pub(super) const UNASSIGNED: &str = "未分配";

/// Why a row is the card that it is: somebody said so, or said that it is a new one.
pub(super) const CHOSEN: &str = "chosen";
pub(super) const CHOSEN_NEW: &str = "chosen_new";

/// Where ids of what a row makes come from.
pub(super) fn at(import: &ImportRow, row: i32) -> At {
    At {
        import: import.import,
        at: import.at.into(),
        row,
    }
}

/// What the audit trail calls it.
fn origin(import: &ImportRow) -> Origin {
    Origin {
        import: import.import,
        file: import.file_name.clone(),
        sheet: import.plan.sheet.clone(),
    }
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
    // Of two imports of one file at once, the second finds the rows of the first, and the first not those of the second that wait for it.
    let makes = waiting.iter().filter(|row| was_created(row));
    let makes: Vec<Uuid> = makes.filter_map(|row| row.record).collect();
    let (tx, states) = (transaction.tx(), &store::WRITTEN);
    let written = store::imported(tx, street, &identities, states, &makes).await?;
    transaction
        .load(waiting.iter().filter_map(|row| row.record).map(RecordId))
        .await?;
    let ours: Vec<Uuid> = waiting
        .iter()
        .filter(|row| row.content.export.is_some())
        .filter_map(|row| row.record)
        .collect();
    let written_before = store::wrote(transaction.tx(), street, &ours).await?;
    let (mut ends, mut rows, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen_here: BTreeSet<Vec<u8>> = BTreeSet::new();
    for mut row in waiting {
        let Some(record) = row.record.map(RecordId) else {
            ends.push(ended(&row, "refused", row.content.0.clone()));
            continue;
        };
        row.content.leave_out(&written_before, record);
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
        let write = match transaction.state(record) {
            None => create(street, import, &row, record),
            Some(state) => edit(import, &row, record, state),
        };
        writes.push((row.row, write));
        rows.push(row);
    }
    let act = WriteRows {
        by: by.clone(),
        from: origin(import),
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

/// Decides rows that all make cards before their turn comes; nothing where one of them is known already, so that it must be looked at first.
pub(super) async fn create_ahead(
    conn: &mut PgConnection,
    office: &Office<'_>,
    import: &ImportRow,
    head: Head,
    now: ServerTime,
    rows: &[StoredRow],
) -> Result<Option<(Ahead, Vec<RowEnd>)>, ImportError> {
    let street = office.street;
    let makes: Vec<Uuid> = rows.iter().filter_map(|row| row.record).collect();
    let identities: Vec<_> = rows.iter().map(|row| row.identity.clone()).collect();
    let distinct: BTreeSet<_> = identities.iter().collect();
    let written = store::imported(conn, street, &identities, &store::WRITTEN, &makes).await?;
    if makes.len() < rows.len() || distinct.len() < rows.len() || !written.is_empty() {
        return Ok(None);
    }
    if !records::load(conn, street, &makes).await?.is_empty() {
        return Ok(None);
    }
    let writes = rows.iter().zip(&makes);
    let act = WriteRows {
        by: office.by.clone(),
        from: origin(import),
        rows: writes
            .map(|(row, record)| (row.row, create(street, import, row, RecordId(*record))))
            .collect(),
    };
    let (ahead, outcomes) = Ahead::decide(conn, head, now, act)
        .await?
        .map_err(|refused| ImportError::Act(refused.into()))?;
    let ends = rows.iter().zip(outcomes);
    let ends = ends.map(|(row, outcome)| end_of(row, outcome)).collect();
    Ok(Some((ahead, ends)))
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
    content.wrote = content.writes();
    let note_changed = || ProblemReport::of_own(row.row.unsigned_abs(), workbook::note_changed());
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
            if note_refused.is_some() {
                // It may come again.
                content.note = None;
                content.wrote = content.writes();
            }
            content.before = (!is_new).then_some(before);
            content.says = None;
            content.changed.clear();
            content.persons.clear();
            content.note = None;
            match note_refused {
                Some(NoteRefused::By(refusal)) => refused(
                    &mut content,
                    refusal.code(),
                    refusal.key().map(str::to_owned),
                    refusal.message(Lang::Zh),
                    refusal.message(Lang::En),
                ),
                Some(NoteRefused::Changed) => content.problems.push(note_changed()),
                None => {}
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
            content.problems.push(note_changed());
            ended(row, "refused", content)
        }
        RowWritten::Gone => {
            let (zh, en) = RECORD_GONE;
            refused(
                &mut content,
                ProblemCode::RecordGone.as_str(),
                None,
                zh.to_owned(),
                en.to_owned(),
            );
            ended(row, "refused", content)
        }
    }
}

/// A new card.
fn create(street: &StreetCode, import: &ImportRow, row: &StoredRow, record: RecordId) -> RowWrite {
    let content = &row.content;
    let grid = content.grid.as_deref().or(import.plan.grid.as_deref());
    let says = content.says.clone().unwrap_or_default();
    rows::create(
        street,
        record,
        at(import, row.row),
        says,
        grid.unwrap_or(UNASSIGNED),
    )
}

/// What a row changes on a card.
fn edit(import: &ImportRow, row: &StoredRow, record: RecordId, state: &RegisterState) -> RowWrite {
    let content = &row.content;
    let of = Row {
        at: at(import, row.row),
        says: content.says.as_ref(),
        export: content.export,
        changed: &content.changed,
        note: content
            .note
            .as_ref()
            .map(|(text, was)| (text.as_str(), was.as_str())),
        persons: &content.persons,
        take: [&content.take, &import.plan.take],
        seen: row.seen.unwrap_or(import.base_seq),
    };
    rows::edit(&of, record, state)
}

/// Takes rows back, and says what became of each.
pub(super) async fn undo_part(
    transaction: &mut StreetTransaction,
    by: &Desk,
    import: &ImportRow,
    waiting: Vec<StoredRow>,
) -> Result<Vec<RowEnd>, ImportError> {
    let undo = |row: &StoredRow| -> Option<RowUndo> {
        let record = RecordId(row.record?);
        let hash = ChangeHash::from_slice(row.hash.as_deref()?)?;
        let before = row.content.before.clone();
        rows::undo(record, (hash, row.seq), before, was_created(row))
    };
    let (mut written, mut undone, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for row in waiting {
        match undo(&row) {
            Some(undo) => {
                undone.push((row.row, undo));
                written.push(row);
            }
            None => ends.push(ended(&row, "kept", row.content.0.clone())),
        }
    }
    let act = UndoRows {
        by: by.clone(),
        from: origin(import),
        rows: undone,
    };
    let outcomes = transaction
        .decide(act)
        .await?
        .map_err(|refused| ImportError::Act(refused.into()))?;
    for (row, outcome) in written.into_iter().zip(outcomes) {
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
    match &row.content.reasons[..] {
        [reason] if reason == CHOSEN => false,
        [reason] if reason == CHOSEN_NEW => true,
        _ => row.outcome == "new",
    }
}
