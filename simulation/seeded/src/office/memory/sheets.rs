//! Sheets at the office in memory: the roll taken home, proposals, and rows that are written and taken back a few at a time.
//!
//! What a cell says, what a row writes and what an undo leaves is decided by `lianka-office-core`; which card a row of a sheet from elsewhere is,
//! somebody chose. Kept with the store, so that a backup has them. Deliberately absent: files, headings, rows that are found by what they say.

use std::collections::{BTreeMap, BTreeSet};

use lianka_office_core::{
    acts::import::{Before, Origin, RowUndone, RowWritten, UndoRows, WriteRows},
    roll::{
        diff::{Columns as Takes, Says, Take},
        notes::Then,
        rows::{self, At, Card, Row as RowOf},
        said,
        workbook::{self, Changed, Columns, Export, Known, OwnRow, Person, Said, SheetRow},
        wrote::{self, Writes},
    },
};
use lianka_sync_core::{
    authority::Said as NewlySaid,
    codec::change::Scalar,
    crdt::view::View,
    id::{ChangeHash, EntryId, RecordId},
    key::NOTE,
    kinds::{
        Kind,
        shop_card::{CONTACTS, MERGED_INTO},
    },
    time::ServerTime,
};
use uuid::Uuid;

use super::{MemoryOffice, desk};
use crate::office::{Acted, CellEdit, ForeignRow, RowDone, Sheet, Taken};

/// Columns of a sheet that is taken home.
const COLUMNS: [&str; 10] = [
    "sign_name",
    "legal_name",
    "number",
    "unit",
    "lane",
    "opening_hours",
    "category",
    TAGS,
    NOTE,
    NAMES,
];
const TAGS: &str = "tags";
const NAMES: &str = "contacts/name";
/// The row below the headings.
const FIRST_ROW: i32 = 2;

/// Everything that is kept of sheets.
#[derive(Clone, Default)]
pub(super) struct Sheets {
    exports: BTreeMap<u32, Home>,
    imports: BTreeMap<u32, Import>,
}

/// A sheet that somebody took home.
#[derive(Clone)]
struct Home {
    export: Export,
    /// By card: its cells, and what is remembered of them.
    rows: BTreeMap<RecordId, (Vec<String>, Said)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Proposed,
    Applying,
    Applied,
    Undoing,
    Undone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RowState {
    Open,
    Chosen,
    Written,
    Unchanged,
    Refused,
    Undoing,
    Undone,
    Kept,
}

impl RowState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Chosen => "chosen",
            Self::Written => "written",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::Kept => "kept",
        }
    }
}

#[derive(Clone)]
struct Import {
    id: Uuid,
    at: ServerTime,
    /// The head when it was proposed.
    base: i64,
    takes: Takes,
    grid: String,
    status: Status,
    rows: Vec<Row>,
}

#[derive(Clone)]
struct Row {
    row: i32,
    record: RecordId,
    is_new: bool,
    seen: Option<i64>,
    state: RowState,
    hash: Option<ChangeHash>,
    seq: Option<i64>,
    content: Content,
}

/// What is forgotten with the card.
#[derive(Clone, Default)]
struct Content {
    says: Option<Says>,
    /// The export that a row of ours is of.
    export: Option<Uuid>,
    changed: Vec<Changed>,
    persons: Vec<Person>,
    note: Option<(String, String)>,
    before: Option<Before>,
    /// What it wrote, as fingerprints.
    wrote: Vec<String>,
}

impl Content {
    fn writes(&self) -> Vec<String> {
        let note = self.note.as_ref().map(|(text, _)| text.as_str());
        let of = |export| wrote::of(export, &self.changed, &self.persons, note);
        self.export.map(of).unwrap_or_default()
    }
}

/// What a sheet shows of a card.
fn cells(view: &View) -> Vec<String> {
    let of = |column: &&str| match *column {
        TAGS => {
            let tags: Vec<_> = view.members(TAGS).map(|(tag, _)| tag).collect();
            tags.join("、")
        }
        NOTE => view.note.clone().unwrap_or_default(),
        NAMES => {
            let entries = view.entries(CONTACTS).into_iter();
            let names = entries.map(|entry| view.entry_text(CONTACTS, entry, "name"));
            names
                .map(Option::unwrap_or_default)
                .collect::<Vec<_>>()
                .join("\n")
        }
        register => view.get(register).map(desk::text).unwrap_or_default(),
    };
    COLUMNS.iter().map(of).collect()
}

fn remembered(export: Uuid, cells: &[String], entries: Vec<EntryId>) -> Said {
    let of = |(column, cell): (&&str, &String)| said::of(export, column, cell);
    let names = cells.last().map_or("", String::as_str);
    let lines = 0..entries.len();
    let tags = COLUMNS.iter().position(|column| *column == TAGS);
    let tags = tags.and_then(|at| cells.get(at));
    Said {
        members: tags
            .into_iter()
            .flat_map(|tags| tags.split('、'))
            .flat_map(|tag| said::of(export, said::TAG, tag))
            .collect(),
        cells: COLUMNS.iter().zip(cells).flat_map(of).collect(),
        lines: lines
            .flat_map(|nth| {
                let line = said::lines(names).nth(nth);
                said::of(export, NAMES, line.unwrap_or_default())
            })
            .collect(),
        entries,
    }
}

/// Somebody types in a sheet. A person or a column that the sheet does not have cannot be typed over.
fn type_in(cells: &mut [String], said: &Said, edit: &CellEdit) {
    let person = edit
        .key
        .strip_prefix("contacts/")
        .and_then(|rest| rest.strip_suffix("/name"));
    let column = if person.is_some() { NAMES } else { &edit.key };
    let Some(at) = COLUMNS.iter().position(|of| *of == column) else {
        return;
    };
    let Some(person) = person else {
        cells[at] = edit.typed(&cells[at]);
        return;
    };
    let entries = said.entries.iter();
    let Some(nth) = entries
        .map(ToString::to_string)
        .position(|entry| entry == person)
    else {
        return;
    };
    let mut lines: Vec<_> = cells[at].split('\n').map(str::to_owned).collect();
    if let Some(line) = lines.get_mut(nth) {
        line.clone_from(&edit.text);
    }
    cells[at] = lines.join("\n");
}

impl MemoryOffice {
    fn card_views(&self) -> impl Iterator<Item = (RecordId, View)> {
        let records = self.state.store.records.iter();
        records
            .filter(|(_, kept)| {
                kept.state.kind() == Kind::ShopCard && kept.state.text(MERGED_INTO).is_none()
            })
            .map(|(record, kept)| (*record, kept.state.view()))
    }

    fn as_of(&self) -> Acted {
        Acted::AsOf(self.state.store.head.unsigned_abs())
    }

    pub(super) fn export(&mut self, sheet: u32) -> Acted {
        let export = Export {
            export: self.ids.uuid(),
            head: self.state.store.head,
            columns: COLUMNS
                .iter()
                .map(|column| ((*column).to_owned(), (*column).to_owned()))
                .collect(),
        };
        let of = |(record, view): (RecordId, View)| {
            let cells = cells(&view);
            let said = remembered(export.export, &cells, view.entries(CONTACTS));
            (record, (cells, said))
        };
        let rows = self.card_views().map(of).collect();
        self.state
            .sheets
            .exports
            .insert(sheet, Home { export, rows });
        self.as_of()
    }

    pub(super) fn propose(&mut self, import: u32, sheet: &Sheet) -> Acted {
        let (takes, grid) = match sheet {
            Sheet::Ours { .. } => (Takes::new(), String::new()),
            Sheet::Elsewhere { take, grid, .. } => {
                let take = match take {
                    Taken::Empty => Take::Empty,
                    Taken::Over => Take::Take,
                    Taken::Beside => Take::Conflict,
                };
                (Takes::from([("*".to_owned(), take)]), grid.clone())
            }
        };
        let mut names = self.names.clone();
        let id = names.act();
        let rows = match sheet {
            Sheet::Ours { sheet, cells } => {
                let Some(rows) = self.ours(*sheet, cells) else {
                    return Acted::Nothing;
                };
                rows
            }
            Sheet::Elsewhere { rows, .. } => {
                let rows = (FIRST_ROW..).zip(rows);
                rows.map(|(row, foreign)| self.foreign(id, row, foreign))
                    .collect()
            }
        };
        self.names = names;
        let is_open = rows.iter().any(|row: &Row| row.state == RowState::Open);
        let status = if is_open {
            Status::Proposed
        } else {
            Status::Applied
        };
        let proposed = Import {
            id,
            at: self.now,
            base: self.state.store.head,
            takes,
            grid,
            status,
            rows,
        };
        self.state.sheets.imports.insert(import, proposed);
        self.as_of()
    }

    /// The rows of a sheet of ours, with what somebody changed in each.
    fn ours(&self, sheet: u32, edits: &[CellEdit]) -> Option<Vec<Row>> {
        let home = self.state.sheets.exports.get(&sheet)?;
        let mut sheet: Vec<(RecordId, Vec<String>, &Said)> = home
            .rows
            .iter()
            .map(|(record, (cells, said))| (*record, cells.clone(), said))
            .collect();
        for edit in edits {
            let row = sheet.iter_mut().find(|(of, ..)| of.0 == edit.record);
            if let Some((_, cells, said)) = row {
                type_in(cells, said, edit);
            }
        }
        let headings: Vec<String> = COLUMNS.map(str::to_owned).into();
        let shown: Vec<(&[String], &Said)> = sheet
            .iter()
            .map(|(_, cells, said)| (&cells[..], *said))
            .collect();
        let columns = Columns::find(&headings, &home.export, &shown);
        let roads: Vec<&str> = self.roads.iter().map(String::as_str).collect();
        let known = Known {
            grids: &[],
            roads: &roads,
            said: NewlySaid::AtOffice(self.now),
        };
        let rows = (FIRST_ROW..)
            .zip(sheet)
            .map(|(row, (record, cells, said))| {
                let line = SheetRow {
                    cells: &cells,
                    unreadable: &|_| false,
                };
                let found = workbook::row(&line, &columns, &home.export, said, &known);
                let (content, says_something) = self.own(record, found, &home.export, said);
                Row {
                    row,
                    record,
                    is_new: false,
                    seen: Some(home.export.head),
                    state: if says_something {
                        RowState::Open
                    } else {
                        RowState::Unchanged
                    },
                    hash: None,
                    seq: None,
                    content,
                }
            });
        Some(rows.collect())
    }

    /// What a row is to write, and whether it says anything new.
    fn own(
        &self,
        record: RecordId,
        found: OwnRow,
        export: &Export,
        said: &Said,
    ) -> (Content, bool) {
        let mut content = Content {
            export: Some(export.export),
            ..Content::default()
        };
        let Some(kept) = self.state.store.records.get(&record) else {
            return (content, false);
        };
        let view = kept.state.view();
        let mut then = Then::default();
        if let Some(document) = found.note.as_ref().and(self.state.store.document(record)) {
            then.document(record, &document);
            then.places(record, self.state.store.places(record));
        }
        let wrote = self.wrote(record);
        // Whoever sits here sees whole numbers.
        let own = rows::own(
            found,
            &Card {
                record,
                view: &view,
                export,
                said,
                wrote: Some(&wrote),
                then: &then,
                now: NewlySaid::AtOffice(self.now),
                masks_note: &str::to_owned,
                masks_tag: &str::to_owned,
            },
        );
        (content.changed, content.persons) = (own.changed, own.persons);
        content.note = own.note;
        (content, !own.fields.is_empty())
    }

    /// What imports of sheets of ours wrote on a card, and was not taken back.
    fn wrote(&self, record: RecordId) -> BTreeSet<String> {
        let imports = self.state.sheets.imports.values();
        let rows = imports.flat_map(|import| &import.rows);
        let written = rows.filter(|row| row.record == record && row.state == RowState::Written);
        written.flat_map(|row| row.content.wrote.clone()).collect()
    }

    fn foreign(&self, import: Uuid, row: i32, foreign: &ForeignRow) -> Row {
        let at = At {
            import,
            at: self.now,
            row,
        };
        let values = foreign.says.iter();
        let values = values.map(|(key, text)| (key.clone(), Scalar::from(text.as_str())));
        Row {
            row,
            record: foreign.card.map_or_else(|| at.record(), RecordId),
            is_new: foreign.card.is_none(),
            seen: None,
            state: RowState::Open,
            hash: None,
            seq: None,
            content: Content {
                says: Some(Says {
                    values: values.collect(),
                    ..Says::default()
                }),
                ..Content::default()
            },
        }
    }

    pub(super) fn apply(&mut self, no: u32) -> Acted {
        let Some(mut import) = self.state.sheets.imports.get(&no).cloned() else {
            return Acted::Nothing;
        };
        if matches!(import.status, Status::Undoing | Status::Undone) {
            return Acted::Refused("import_closed".into());
        }
        let gone = |row: &&Row| {
            row.state == RowState::Open
                && !row.is_new
                && row.seen.is_none()
                && !self.state.store.records.contains_key(&row.record)
        };
        if import.rows.iter().find(gone).is_some() {
            return Acted::Refused("row_undecided".into());
        }
        if import.status != Status::Applying {
            for row in &mut import.rows {
                if row.state == RowState::Open {
                    (row.state, import.status) = (RowState::Chosen, Status::Applying);
                }
            }
        }
        if import.status != Status::Applying {
            return Acted::Nothing;
        }
        let acted = self.write_part(&mut import);
        if !import.rows.iter().any(|row| row.state == RowState::Chosen) && !self.is_full(&acted) {
            import.status = Status::Applied;
        }
        self.state.sheets.imports.insert(no, import);
        acted
    }

    /// Whether a part had as many rows as a part may have: whether there are more is looked at the next time.
    fn is_full(&self, acted: &Acted) -> bool {
        matches!(acted, Acted::Rows { rows, .. } if rows.len() == desk::ROWS_AT_ONCE)
    }

    fn write_part(&mut self, import: &mut Import) -> Acted {
        let from = self.state.store.head.unsigned_abs();
        let places = waiting(&import.rows, RowState::Chosen);
        for place in &places {
            let row = &mut import.rows[*place];
            let wrote = self.wrote(row.record);
            let content = &mut row.content;
            let writes = Writes {
                changed: &mut content.changed,
                persons: &mut content.persons,
                note: &mut content.note,
            };
            if let Some(export) = content.export {
                writes.leave_out(export, &wrote);
            }
        }
        let write = |place: &usize| {
            let row = &import.rows[*place];
            let at = At {
                import: import.id,
                at: import.at,
                row: row.row,
            };
            let content = &row.content;
            let says = content.says.as_ref();
            let kept = self.state.store.records.get(&row.record);
            let write = match kept {
                None => rows::create(
                    &self.state.store.street,
                    row.record,
                    at,
                    says.cloned().unwrap_or_default(),
                    &import.grid,
                ),
                Some(kept) => {
                    let note = content.note.as_ref();
                    let of = RowOf {
                        at,
                        says,
                        export: content.export,
                        changed: &content.changed,
                        note: note.map(|(text, was)| (text.as_str(), was.as_str())),
                        persons: &content.persons,
                        take: [&import.takes, &import.takes],
                        seen: row.seen.unwrap_or(import.base),
                    };
                    rows::edit(&of, row.record, &kept.state)
                }
            };
            (row.row, write)
        };
        let act = WriteRows {
            by: self.admin(),
            from: origin(import),
            rows: places.iter().map(write).collect(),
        };
        if places.is_empty() {
            return Acted::Nothing;
        }
        let Ok(written) = self.run(act) else {
            return Acted::Refused("internal".into());
        };
        let mut done = Vec::new();
        for (place, written) in places.into_iter().zip(written) {
            let row = &mut import.rows[place];
            row.state = match written {
                RowWritten::Written {
                    hash,
                    seq,
                    before,
                    note_refused,
                } => {
                    (row.hash, row.seq) = (Some(hash), Some(seq));
                    if note_refused.is_some() {
                        row.content.note = None;
                    }
                    row.content = Content {
                        before: (!row.is_new).then_some(before),
                        export: row.content.export,
                        wrote: row.content.writes(),
                        ..Content::default()
                    };
                    RowState::Written
                }
                RowWritten::Unchanged => RowState::Unchanged,
                RowWritten::Refused(_) | RowWritten::NoteChanged | RowWritten::Gone => {
                    RowState::Refused
                }
            };
            done.push(done_of(row, Vec::new()));
        }
        self.rows_done(done, from)
    }

    fn rows_done(&self, rows: Vec<RowDone>, from: u64) -> Acted {
        Acted::Rows {
            rows,
            from,
            to: self.state.store.head.unsigned_abs(),
        }
    }

    pub(super) fn undo_import(&mut self, no: u32) -> Acted {
        let Some(mut import) = self.state.sheets.imports.get(&no).cloned() else {
            return Acted::Nothing;
        };
        if import.status == Status::Undone {
            return Acted::Refused("import_closed".into());
        }
        if import.status != Status::Undoing {
            import.status = Status::Undoing;
            for row in &mut import.rows {
                row.state = match row.state {
                    RowState::Chosen => RowState::Open,
                    RowState::Written if row.hash.is_some() => RowState::Undoing,
                    state => state,
                };
            }
        }
        let acted = self.undo_part(&mut import);
        if !import.rows.iter().any(|row| row.state == RowState::Undoing) && !self.is_full(&acted) {
            import.status = Status::Undone;
        }
        self.state.sheets.imports.insert(no, import);
        if let Acted::Rows { rows, .. } = &acted {
            for done in rows {
                let record = RecordId(done.record);
                if self.state.store.is_erased(record) {
                    self.forget_rows(record);
                }
            }
        }
        acted
    }

    fn undo_part(&mut self, import: &mut Import) -> Acted {
        let from = self.state.store.head.unsigned_abs();
        let places = waiting(&import.rows, RowState::Undoing);
        if places.is_empty() {
            return Acted::Nothing;
        }
        let (mut act, mut undone) = (Vec::new(), Vec::new());
        let mut done = BTreeMap::new();
        for place in places {
            let row = &mut import.rows[place];
            let before = row.content.before.clone();
            let undo = row.hash.and_then(|hash| {
                rows::undo(row.record, (hash, row.seq), before, row.is_new, self.now)
            });
            match undo {
                Some(undo) => {
                    act.push((row.row, undo));
                    undone.push(place);
                }
                None => {
                    row.state = RowState::Kept;
                    done.insert(place, done_of(row, Vec::new()));
                }
            }
        }
        let by = self.admin();
        let act = UndoRows {
            by,
            from: origin(import),
            rows: act,
        };
        let Ok(outcomes) = self.run(act) else {
            return Acted::Refused("internal".into());
        };
        for (place, outcome) in undone.into_iter().zip(outcomes) {
            let row = &mut import.rows[place];
            let kept = match outcome {
                RowUndone::Kept => {
                    row.state = RowState::Kept;
                    Vec::new()
                }
                RowUndone::Undone { kept } => {
                    row.state = if kept.is_empty() {
                        RowState::Undone
                    } else {
                        RowState::Kept
                    };
                    kept
                }
            };
            done.insert(place, done_of(row, kept));
        }
        self.rows_done(done.into_values().collect(), from)
    }

    /// What rows say of a card goes with what is forgotten of it.
    pub(super) fn forget_rows(&mut self, record: RecordId) {
        let imports = self.state.sheets.imports.values_mut();
        let rows = imports.flat_map(|import| &mut import.rows);
        for row in rows.filter(|row| row.record == record) {
            row.content = Content::default();
        }
    }
}

/// What the audit trail calls it.
fn origin(import: &Import) -> Origin {
    Origin {
        import: import.id,
        file: String::new(),
        sheet: None,
    }
}

/// The places of the next rows that stand so.
fn waiting(rows: &[Row], state: RowState) -> Vec<usize> {
    let places = rows.iter().enumerate();
    let places = places.filter(|(_, row)| row.state == state);
    places
        .map(|(place, _)| place)
        .take(desk::ROWS_AT_ONCE)
        .collect()
}

fn done_of(row: &Row, kept: Vec<String>) -> RowDone {
    RowDone {
        row: row.row.unsigned_abs(),
        record: row.record.0,
        state: row.state.as_str().to_owned(),
        hash: row.hash.map(|hash| hash.to_string()),
        kept: kept
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    }
}
