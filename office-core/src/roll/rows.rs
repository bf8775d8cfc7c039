//! A row of a sheet whose card is known → what is written on the card, and what is taken back.
//!
//! Invariants: ids of what a row makes follow from the import and the row, so that a row that is written again writes the same; a cell is written
//! over what its author had seen, and a person who went does not come back by a cell.

use std::collections::BTreeSet;

use lianka_sync_core::{
    codec::change::Scalar,
    crdt::{merge::RegisterState, record::Edit, view::View},
    id::{ChangeHash, EntryId, RecordId, StreetCode},
    key::{self, NOTE},
    kinds::{Kind, Meaning, shop_card::CONTACTS},
    time::ServerTime,
};
use uuid::Uuid;

use super::{
    diff::{self, Columns, Differs, Says, Take},
    said,
    workbook::{self, Changed, OwnRow},
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
            self.at,
            &[
                b"import person",
                self.import.as_bytes(),
                &self.row.to_be_bytes(),
                &(nth as u64).to_be_bytes(),
            ],
        ))
    }
}

/// What a row is to write.
#[derive(Clone, Copy, Debug)]
pub struct Row<'r> {
    pub at: At,
    /// What it says, of a sheet from elsewhere.
    pub says: Option<&'r Says>,
    /// What somebody changed, in a sheet of ours.
    pub changed: &'r [Changed],
    /// The tags as the sheet lists them now.
    pub tags: Option<&'r [String]>,
    /// The note as the sheet has it, and as its author saw it.
    pub note: Option<(&'r str, &'r str)>,
    /// Lines of persons that the export did not have.
    pub persons: &'r [Vec<(String, String)>],
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
    let persons: BTreeSet<EntryId> = view.entries(CONTACTS).into_iter().collect();
    let is_there = |key: &str| match key::Key::parse(key) {
        Some(key::Key::Entry { list, entry, .. }) if list == CONTACTS => persons.contains(&entry),
        _ => true,
    };
    let changed = row.changed.iter().filter(|changed| is_there(&changed.key));
    cells.extend(changed.map(|changed| CellWrite {
        key: changed.key.clone(),
        value: changed.value.clone(),
        over: Over::Seen,
    }));
    if let (Some(tags), Some(field)) = (row.tags, said::of_meaning(Meaning::Tag)) {
        let (now, wanted) = tags_now(&view, tags);
        let write = |tag: &String, value| CellWrite {
            key: format!("{}/{tag}", field.name),
            value,
            over: Over::Seen,
        };
        let added = wanted.difference(&now);
        cells.extend(added.map(|tag| write(tag, Some(Scalar::Bool(true)))));
        cells.extend(now.difference(&wanted).map(|tag| write(tag, None)));
    }
    for (nth, person) in row.persons.iter().enumerate() {
        let entry = row.at.person(nth);
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

/// The tags of a card, and those that a sheet lists.
fn tags_now(view: &View, tags: &[String]) -> (BTreeSet<String>, BTreeSet<String>) {
    let field = said::of_meaning(Meaning::Tag).map_or("", |field| field.name);
    let now = view.members(field).map(|(tag, _)| tag.to_owned());
    (now.collect(), tags.iter().cloned().collect())
}

/// What the changed cells of a row of ours say, beside what the card says now.
pub fn fields(found: &OwnRow, view: &View) -> Vec<Differs> {
    let text = |value: &Scalar, key: &str| match value {
        Scalar::Str(text) => text.clone(),
        _ => key
            .split_once('/')
            .map_or(key, |(_, member)| member)
            .to_owned(),
    };
    let mut fields: Vec<Differs> = found
        .changed
        .iter()
        .filter_map(|changed| {
            let held: Vec<&Scalar> = view
                .values
                .get(&changed.key)
                .into_iter()
                .flatten()
                .map(|held| &held.value)
                .collect();
            // Somebody wrote the same meanwhile: equal values are no edit.
            let says_so = match &changed.value {
                Some(value) => !held.is_empty() && held.iter().all(|held| *held == value),
                None => held.is_empty(),
            };
            (!says_so).then(|| Differs {
                key: changed.key.clone(),
                field: diff::field_name(&changed.key),
                is: held
                    .into_iter()
                    .map(|held| text(held, &changed.key))
                    .collect(),
                shall: changed
                    .value
                    .as_ref()
                    .map(|value| text(value, &changed.key)),
            })
        })
        .collect();
    if let (Some((tags, _)), Some(field)) = (&found.tags, said::of_meaning(Meaning::Tag)) {
        let (now, wanted) = tags_now(view, tags);
        if now != wanted {
            fields.push(Differs {
                key: field.name.to_owned(),
                field: field.name.to_owned(),
                is: now.into_iter().collect(),
                shall: (!tags.is_empty()).then(|| tags.join("、")),
            });
        }
    }
    for person in &found.persons {
        let texts: Vec<&str> = person.iter().map(|(_, value)| value.as_str()).collect();
        fields.push(Differs {
            key: CONTACTS.to_owned(),
            field: CONTACTS.to_owned(),
            is: Vec::new(),
            shall: Some(texts.join(" ")),
        });
    }
    fields
}

/// What becomes of a note that somebody wrote in a sheet of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoteOf {
    /// The card says so already.
    Same,
    /// The card's is another than the export showed: it is not written.
    Changed,
    /// To write, where the card still has this one.
    Write(NoteWrite),
}

/// The note of a row of ours, whose cell said what the fingerprint tells, on a card. `shown`: a note as the export shows it to those who see no
/// whole numbers.
pub fn note_of(
    export: Uuid,
    (text, was): (&str, &[u8]),
    view: &View,
    shown: &dyn Fn(&str) -> String,
) -> NoteOf {
    let now = view.note.clone().unwrap_or_default();
    let said_so = |text: &str| said::of(export, NOTE, text)[..] == *was;
    if text == now {
        NoteOf::Same
    } else if said_so(&now) || said_so(&shown(&now)) {
        NoteOf::Write(NoteWrite {
            was: now,
            text: text.to_owned(),
        })
    } else {
        NoteOf::Changed
    }
}

/// How a row that was written is taken back. `before`: what it replaced; of a card that it made there is nothing. `None`: it stays, because what it
/// replaced was forgotten on request.
pub fn undo(
    record: RecordId,
    hash: ChangeHash,
    before: Option<Before>,
    is_new: bool,
    now: ServerTime,
) -> Option<RowUndo> {
    (is_new || before.is_some()).then(|| RowUndo {
        record,
        hash,
        before,
        erasure: derived(now, &[b"import undone", record.0.as_bytes(), &hash.0]),
    })
}
