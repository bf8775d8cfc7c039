//! A row of a sheet whose card is known → what is written on the card, and what is taken back.
//!
//! Invariants: ids of what a row makes follow from the import and the row, so that a row that is written again writes the same; a cell is written
//! over what its author had seen, and a person who went does not come back by a cell.

use std::collections::BTreeSet;

use lianka_sync_core::{
    authority::Said as NewlySaid,
    codec::change::Scalar,
    crdt::{merge::RegisterState, record::Edit, view::View},
    id::{ChangeHash, EntryId, RecordId, StreetCode},
    key,
    kinds::{self, Kind},
    time::ServerTime,
};
use uuid::Uuid;

use super::{
    diff::{self, Columns, Differs, Says, Take},
    notes::{self, Masks, Then},
    workbook::{self, Changed, Export, OwnProblem, OwnRow, Person, Said},
    wrote::Writes,
};
use crate::{
    acts::import::{Before, CellWrite, NoteWrite, Over, RowUndo, RowWrite},
    ids::derived,
};

/// A row of an import, as ids follow from it.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub import: Uuid,
    /// When the import was proposed.
    pub at: ServerTime,
    /// As the spreadsheet counts.
    pub row: i32,
}

impl At {
    /// The card that the row makes.
    pub fn record(&self) -> RecordId {
        let row = self.row.to_be_bytes();
        RecordId(derived(
            self.at,
            &[b"import row", self.import.as_bytes(), &row],
        ))
    }

    /// The n-th person that the row brings.
    pub fn person(&self, nth: usize) -> EntryId {
        EntryId(derived(
            // In the order of the row.
            ServerTime::from_unix_ms(self.at.unix_ms().saturating_add(nth as i64)),
            &[
                b"import person",
                self.import.as_bytes(),
                &self.row.to_be_bytes(),
                &(nth as u64).to_be_bytes(),
            ],
        ))
    }
}

/// The id of a person whom a line of a sheet of ours adds to a card: the same, however often the sheet comes.
fn added_person(export: Uuid, record: RecordId, person: &Person) -> EntryId {
    let made = export.get_timestamp().map_or(0, |at| {
        let (seconds, nanoseconds) = at.to_unix();
        seconds as i64 * 1_000 + i64::from(nanoseconds) / 1_000_000
    });
    let mut parts: Vec<&[u8]> = vec![b"export person", export.as_bytes(), record.0.as_bytes()];
    for (field, value) in person {
        parts.extend([field.as_bytes(), value.as_bytes()]);
    }
    EntryId(derived(ServerTime::from_unix_ms(made), &parts))
}

/// What a row is to write.
#[derive(Clone, Copy, Debug)]
pub struct Row<'r> {
    pub at: At,
    /// What it says, of a sheet from elsewhere.
    pub says: Option<&'r Says>,
    /// The export that a row of ours is of.
    pub export: Option<Uuid>,
    /// What somebody changed, in a sheet of ours.
    pub changed: &'r [Changed],
    /// The note as the sheet has it, and as its author saw it.
    pub note: Option<(&'r str, &'r str)>,
    /// Lines of persons that the export did not have.
    pub persons: &'r [Person],
    /// How columns are taken: the first that says it.
    pub take: [&'r Columns; 2],
    /// The street's head that the sheet shows.
    pub seen: i64,
}

fn taken(columns: &Columns, name: &str) -> Option<Take> {
    let custom = name.starts_with("custom/").then_some("custom");
    [Some(name), custom, Some("*")]
        .into_iter()
        .flatten()
        .find_map(|name| columns.get(name).copied())
}

/// A new card.
pub fn create(street: &StreetCode, record: RecordId, at: At, says: Says, grid: &str) -> RowWrite {
    let mut edits = vec![
        Edit::set(key::KIND, Kind::ShopCard.as_str()),
        Edit::set(key::STREET, street.as_str()),
        Edit::set(key::GRID, grid),
    ];
    let given = says.values.into_iter().filter(|(at, _)| at != key::GRID);
    edits.extend(given.map(|(key, value)| Edit::Put { key, value }));
    for (nth, person) in says.persons.iter().enumerate() {
        let entry = at.person(nth);
        edits.extend(
            person.iter().map(|(field, value)| {
                Edit::set(workbook::person_key(entry, field), value.as_str())
            }),
        );
    }
    edits.extend(says.note.map(|text| Edit::Note { text }));
    RowWrite::Create {
        record,
        kind: Kind::ShopCard,
        edits,
    }
}

/// What a row changes on a card.
pub fn edit(row: &Row<'_>, record: RecordId, state: &RegisterState) -> RowWrite {
    let view = state.view();
    let (mut cells, mut note) = (Vec::new(), None);
    if let Some(says) = row.says {
        let how = |name: &str| {
            let mut take = row.take.iter();
            take.find_map(|columns| taken(columns, name))
                .unwrap_or_default()
        };
        let found = diff::difference(says, &view, &how, &|nth| row.at.person(nth));
        (cells, note) = (found.cells, found.note);
    }
    // A person who was forgotten, or taken off the card, does not come back by a cell.
    let persons: BTreeSet<EntryId> = kinds::persons(&view).into_iter().collect();
    let is_there = |key: &str| match key::Key::parse(key) {
        Some(key::Key::Entry { list, entry, .. }) if Kind::ShopCard.persons() == Some(list) => {
            persons.contains(&entry)
        }
        _ => true,
    };
    let changed = row.changed.iter().filter(|changed| is_there(&changed.key));
    cells.extend(changed.map(|changed| CellWrite {
        key: changed.key.clone(),
        value: changed.value.clone(),
        over: Over::Seen,
    }));
    for (nth, person) in row.persons.iter().enumerate() {
        let entry = match row.export {
            Some(export) => added_person(export, record, person),
            None => row.at.person(nth),
        };
        cells.extend(person.iter().map(|(field, value)| CellWrite {
            key: workbook::person_key(entry, field),
            value: Some(Scalar::from(value.as_str())),
            over: Over::Absent,
        }));
    }
    if let Some((text, was)) = row.note {
        note = Some(NoteWrite {
            was: was.to_owned(),
            text: text.to_owned(),
        });
    }
    RowWrite::Edit {
        record,
        cells,
        note,
        seen: row.seen,
    }
}

/// What the changed cells of a row of ours say, beside what the card says now.
fn fields(found: &Own, view: &View) -> Vec<Differs> {
    let mut fields: Vec<Differs> = found
        .changed
        .iter()
        .filter_map(|changed| {
            let held = diff::held(view, &changed.key);
            // Somebody wrote the same meanwhile: equal values are no edit.
            let says_so = match &changed.value {
                Some(value) => !held.is_empty() && held.iter().all(|held| *held == value),
                None => held.is_empty(),
            };
            (!says_so).then(|| Differs::of(&changed.key, &held, changed.value.as_ref()))
        })
        .collect();
    for person in &found.persons {
        let texts: Vec<&str> = person.iter().map(|(_, value)| value.as_str()).collect();
        let list = Kind::ShopCard.persons().unwrap_or_default();
        fields.push(Differs {
            key: list.to_owned(),
            field: list.to_owned(),
            is: Vec::new(),
            shall: Some(texts.join(" ")),
        });
    }
    fields
}

/// A card that a row of ours is of, and what is known of it.
pub struct Card<'c> {
    pub record: RecordId,
    pub view: &'c View,
    pub export: &'c Export,
    /// What the export said of it.
    pub said: &'c Said,
    /// What earlier imports of its exports wrote on it.
    pub wrote: Option<&'c BTreeSet<String>>,
    /// Its history, where its note reads otherwise by now than the export said.
    pub then: &'c Then,
    pub now: NewlySaid,
    /// A note, and a tag, as an export shows it to those who see no whole numbers.
    pub masks_note: Masks<'c>,
    pub masks_tag: Masks<'c>,
}

/// What a row of ours is to write on its card.
#[derive(Default)]
pub struct Own {
    pub changed: Vec<Changed>,
    pub persons: Vec<Person>,
    /// The note as the sheet has it, and as its author saw it.
    pub note: Option<(String, String)>,
    /// Field by field: is → shall be.
    pub fields: Vec<Differs>,
    pub problems: Vec<OwnProblem>,
}

/// What somebody made of a row of ours, beside the card as it is now.
pub fn own(found: OwnRow, card: &Card<'_>) -> Own {
    let (view, export) = (card.view, card.export.export);
    let mut own = Own {
        changed: found.changed,
        persons: found.persons,
        ..Own::default()
    };
    // Nothing is kept of a person who was taken off the card, or forgotten, since.
    let there = kinds::persons(view);
    let gone = own.changed.extract_if(.., |changed| {
        matches!(key::Key::parse(&changed.key), Some(key::Key::Entry { entry, .. }) if !there.contains(&entry))
    });
    let gone: BTreeSet<String> = gone.map(|changed| changed.column).collect();
    let told = gone.iter().map(|column| workbook::contact_gone(column));
    own.problems.extend(told);
    if let Some(cell) = &found.tags {
        let (changed, problems) = cell.changes(export, card.said, view, card.now, card.masks_tag);
        own.changed.extend(changed);
        own.problems.extend(problems);
    }
    let mut shall = None;
    if let Some(cell) = &found.note {
        let reads = view.note.clone().unwrap_or_default();
        let at = (export, card.export.head);
        match notes::find(at, card.record, cell, &reads, card.then, card.masks_note) {
            notes::Found::Nothing => {}
            notes::Found::Write {
                was,
                text,
                shall: reads,
            } => {
                own.note = Some((text, was));
                shall = Some(reads);
            }
            notes::Found::Masked => own.problems.push(workbook::masked(&cell.column)),
            notes::Found::Refused => own.problems.push(workbook::refused(&cell.column)),
            notes::Found::Changed => own.problems.push(workbook::note_changed()),
        }
    }
    if let Some(wrote) = card.wrote {
        let writes = Writes {
            changed: &mut own.changed,
            persons: &mut own.persons,
            note: &mut own.note,
        };
        writes.leave_out(export, wrote);
    }
    own.fields = fields(&own, view);
    if let (Some(_), Some(shall)) = (&own.note, shall) {
        let reads = view.note.clone().unwrap_or_default();
        own.fields.push(Differs::of_note(reads, shall));
    }
    own
}

/// How a row that was written, at this number of the log, is taken back. `before`: what it replaced; of a card that it made there is nothing. `None`:
/// it stays, because what it replaced was forgotten on request.
pub fn undo(
    record: RecordId,
    (hash, seq): (ChangeHash, Option<i64>),
    before: Option<Before>,
    is_new: bool,
) -> Option<RowUndo> {
    (is_new || before.is_some()).then_some(RowUndo {
        record,
        hash,
        seq,
        before,
    })
}
