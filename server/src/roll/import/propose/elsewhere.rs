//! Rows that are no card's yet: matched against the roll, compared with it, or new.

use std::collections::{BTreeSet, HashMap};

use lianka_office_core::roll::rows::At;
use lianka_office_core::roll::said::of_meaning as field;
use lianka_sync_core::{
    authority::Said as NewlySaid,
    codec::change::Scalar,
    crdt::{merge::RegisterState, view::View},
    id::RecordId,
    key::NOTE,
    kinds::{Field, Kind, Meaning, duplicate::Traits},
    search::fold,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    CANDIDATES_MAX, Proposal, ROWS_AT_ONCE, Read,
    own::{added, masked_tag},
    states,
};
use crate::roll::{
    import::{
        ImportError,
        diff::{self, Says, Take},
        matching::{self, Match},
        plan::ProblemReport,
        said,
        store::{self, RowInsert},
        workbook::{self, Known, Said, SheetRow},
    },
    sheet::{ColumnTarget, ProblemCode, RollRow, RollValue},
    store as roll,
};

impl Proposal<'_> {
    /// Matches and compares rows of one part.
    pub(super) async fn elsewhere(
        &mut self,
        conn: &mut PgConnection,
        rows: Vec<RollRow>,
    ) -> Result<(), ImportError> {
        let rows = rows.into_iter().filter(|row| !self.own.has(row.row));
        let mut rows: Vec<RollRow> = rows.collect();
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(ROWS_AT_ONCE));
            let chunk = std::mem::replace(&mut rows, rest);
            let identities: Vec<Vec<u8>> = chunk.iter().map(|row| row.identity.to_vec()).collect();
            let imported =
                store::imported(conn, self.street, &identities, &store::WRITTEN, &[]).await?;
            // A card that another import was to make, and did not, or took back, is nobody's.
            let made: Vec<Uuid> = imported.values().map(|record| record.0).collect();
            let made: BTreeSet<Uuid> = roll::existing(conn, self.street, &made)
                .await?
                .into_iter()
                .collect();
            let roads = self.read.road_names();
            let street = self.read.known(&roads);
            let said: Vec<Says> = chunk.iter().map(|row| self.says(row, &street)).collect();
            let traits: Vec<Traits> = said.iter().map(matching::traits).collect();
            let keys: BTreeSet<String> = traits
                .iter()
                .flat_map(Traits::keys)
                .filter(|key| Traits::meets(key))
                .collect();
            let keys: Vec<String> = keys.into_iter().collect();
            let (meeting, cards) = store::recognised(conn, self.street, &keys).await?;
            let mut matched = Vec::new();
            for ((row, traits), says) in chunk.into_iter().zip(&traits).zip(said) {
                let earlier = imported.get(&row.identity[..]);
                let earlier = earlier.filter(|record| made.contains(&record.0));
                let found = match (earlier, self.own.id_of(row.row)) {
                    (Some(record), _) => Found::Earlier(*record),
                    (None, Some(record)) => Found::Card(record),
                    (None, None) => {
                        let meets: BTreeSet<RecordId> = traits
                            .keys()
                            .iter()
                            .filter_map(|key| meeting.get(key))
                            .flatten()
                            .copied()
                            .collect();
                        let meets: Vec<RecordId> = meets.into_iter().collect();
                        Found::Like(matching::find(traits, &cards, &meets))
                    }
                };
                matched.push((row, says, found));
            }
            let records: Vec<Uuid> = matched
                .iter()
                .filter_map(|(_, _, found)| found.record())
                .map(|record| record.0)
                .collect();
            let known = roll::existing(conn, self.street, &records).await?;
            let sources = Sources {
                states: states(conn, self.street, &records).await?,
                last: store::last_cells(conn, self.street, &records).await?,
                known: known.into_iter().map(RecordId).collect(),
            };
            for (row, says, found) in matched {
                self.elsewhere_row(row, says, found, &sources);
            }
        }
        Ok(())
    }

    /// What a row says: of a sheet of ours by the export's columns, else as the sheet was read.
    fn says(&mut self, row: &RollRow, street: &Known<'_>) -> Says {
        let read = self.read;
        let Some((export, columns)) = self.own.export() else {
            return self.without_masked(says(row), row.row);
        };
        let Some(cells) = read.line(row.row) else {
            return says(row);
        };
        let line = SheetRow {
            cells: &cells,
            unreadable: &|column| read.lines.is_unreadable(row.row, column),
        };
        let (of_export, nothing) = (export.export, Said::nothing(export));
        let mut found = workbook::row(&line, columns, export, &nothing, street);
        added(&mut found, &columns.added, read, &cells);
        self.hush(row.row);
        let entry = self.entry(row.row);
        let problems = found.problems.drain(..);
        // What is worked out from a card is copied along with the row.
        let told = problems.filter(|problem| problem.code != ProblemCode::ReadOnlyColumn);
        entry
            .content
            .problems
            .extend(told.map(|problem| ProblemReport::of_own(row.row, problem)));
        let mut values: Vec<_> = found
            .changed
            .into_iter()
            .filter_map(|changed| Some((changed.key, changed.value?)))
            .collect();
        if let Some(cell) = found.tags {
            let now = NewlySaid::AtOffice(self.now);
            let (changed, problems) =
                cell.changes(of_export, &nothing, &View::default(), now, &masked_tag);
            let tags = changed.into_iter();
            values.extend(tags.filter_map(|tag| Some((tag.key, tag.value?))));
            let told = problems.into_iter();
            let content = &mut self.entry(row.row).content;
            content
                .problems
                .extend(told.map(|problem| ProblemReport::of_own(row.row, problem)));
        }
        // Of a row that was copied, the numbers that are masked are another shop's.
        let note = found.note.filter(|note| !workbook::is_masked(&note.text));
        Says {
            values,
            persons: found.persons,
            note: note.map(|note| note.text),
        }
    }

    /// Without numbers that somebody masked: nobody's. Whatever is masked in a sheet that an export made was masked by it.
    fn without_masked(&mut self, mut says: Says, row: u32) -> Says {
        let is_ours = self.own.is_forgotten(row);
        let mut columns = Vec::new();
        let mut keep = |key: &str, text: Option<&str>, may_be: bool| {
            let is_kept = !may_be || !text.is_some_and(workbook::is_masked);
            if !is_kept {
                let label = said::field(&diff::field_name(key)).map_or(key, |field| field.label_zh);
                columns.push(label.to_owned());
            }
            is_kept
        };
        for person in &mut says.persons {
            person.retain(|(field, value)| {
                let Some(field) = Kind::ShopCard.person_field(field) else {
                    return true;
                };
                let is_number = field.meaning == Meaning::Telephone;
                keep(&said::column(field), Some(value), is_ours || is_number)
            });
        }
        says.persons.retain(|person| !person.is_empty());
        says.values
            .retain(|(key, value)| keep(key, value.as_str(), is_ours));
        says.note = says.note.filter(|note| keep(NOTE, Some(note), is_ours));
        if !columns.is_empty() {
            let told = columns.iter().map(|column| workbook::masked(column));
            let content = &mut self.entry(row).content;
            content
                .problems
                .extend(told.map(|problem| ProblemReport::of_own(row, problem)));
        }
        says
    }

    fn elsewhere_row(&mut self, mut row: RollRow, says: Says, found: Found, sources: &Sources) {
        let number = row.row;
        let mut entry = self.taken_out(number);
        entry.identity = row.identity.to_vec();
        entry.content.grid = says
            .values
            .iter()
            .find(|(key, _)| key == lianka_sync_core::key::GRID)
            .and_then(|(_, grid)| grid.as_str().map(str::to_owned));
        if self.own.is_copy(number) {
            entry.content.problems.push(ProblemReport::of_row(
                ProblemCode::CardIdRepeated.as_str(),
                number,
                None,
                "卡片编号与另一行相同，按复制出来的新行处理".to_owned(),
                "the card's id stands in another row as well: taken as a row that was copied to make a new one".to_owned(),
            ));
        }
        let kept = self.settle(&mut entry, &row, says, found, sources);
        if kept == Kept::NoCells {
            row.cells.clear();
        }
        row.cells
            .retain(|(heading, _)| !self.sensitive.contains(heading));
        entry.cells = row.cells;
        self.rows.insert(number, entry);
    }

    /// Says which card a row is, and what it would change.
    fn settle(
        &mut self,
        entry: &mut RowInsert,
        row: &RollRow,
        says: Says,
        found: Found,
        sources: &Sources,
    ) -> Kept {
        let number = row.row;
        let at = At {
            import: self.import,
            at: self.now,
            row: number as i32,
        };
        let content = &mut entry.content;
        let (record, reasons) = match found {
            // Erased on request: nothing brings it back.
            Found::Earlier(record) => {
                // The row of then has the cells, unless they were forgotten.
                if !sources.states.contains_key(&record) {
                    content.problems.clear();
                    self.quiet.insert(number);
                }
                entry.record = Some(record);
                entry.outcome = "unchanged";
                content.reasons = vec!["earlier_row".to_owned()];
                self.taken.insert(record, number);
                return Kept::NoCells;
            }
            Found::Card(record) if sources.known.contains(&record) => {
                (record, vec!["card_id".to_owned()])
            }
            Found::Like(Match::One(candidate)) => (
                candidate.record,
                candidate
                    .reasons
                    .iter()
                    .map(|reason| reason.as_str().to_owned())
                    .collect(),
            ),
            Found::Like(Match::Ambiguous(mut candidates)) => {
                candidates.truncate(CANDIDATES_MAX);
                content.candidates = candidates;
                content.says = Some(says);
                entry.outcome = "ambiguous";
                return Kept::All;
            }
            Found::Like(Match::Likely(mut candidates)) => {
                candidates.truncate(CANDIDATES_MAX);
                content.candidates = candidates;
                content.says = Some(says);
                entry.outcome = "likely_same";
                return Kept::All;
            }
            Found::Card(_) | Found::Like(Match::None) => {
                entry.record = Some(at.record());
                entry.outcome = "new";
                content.says = Some(says);
                return Kept::All;
            }
        };
        if let Some(other) = self.taken.get(&record) {
            content.problems.push(ProblemReport::of_row(
                ProblemCode::SameCardTwice.as_str(),
                number,
                None,
                format!("与第 {other} 行是同一张卡片，请选定哪一行算数"),
                format!("the same card as row {other}: choose which of them counts"),
            ));
            content.candidates = vec![matching::Candidate {
                record,
                reasons: reasons
                    .iter()
                    .filter_map(|reason| reason.parse().ok())
                    .collect(),
            }];
            content.says = Some(says);
            entry.outcome = "ambiguous";
            return Kept::All;
        }
        self.taken.insert(record, number);
        entry.record = Some(record);
        content.reasons = reasons;
        let Some(state) = sources.states.get(&record) else {
            // It was erased: nothing is kept of it.
            entry.outcome = "unchanged";
            content.problems.clear();
            self.quiet.insert(number);
            return Kept::NoCells;
        };
        let says = match sources.last.get(&record) {
            Some(before) => without_repeated(says, row, before, self.read),
            None => says,
        };
        let view = state.view();
        let difference = diff::difference(&says, &view, &|_| Take::Empty, &|nth| at.person(nth));
        content.fields = difference.fields;
        if content.fields.is_empty() {
            entry.outcome = "unchanged";
        } else {
            entry.outcome = "update";
            content.says = Some(says);
        }
        Kept::All
    }
}

/// Whether a row's cells are kept.
#[derive(PartialEq, Eq)]
enum Kept {
    All,
    NoCells,
}

/// What rows of a part are compared with.
struct Sources {
    states: HashMap<RecordId, RegisterState>,
    last: HashMap<RecordId, Vec<(String, String)>>,
    /// Cards that exist, or existed.
    known: BTreeSet<RecordId>,
}

/// How a row was found.
enum Found {
    /// The very same row was imported before.
    Earlier(RecordId),
    /// It carries the card's id.
    Card(RecordId),
    Like(Match),
}

impl Found {
    fn record(&self) -> Option<RecordId> {
        match self {
            Self::Earlier(record) | Self::Card(record) => Some(*record),
            Self::Like(Match::One(candidate)) => Some(candidate.record),
            Self::Like(_) => None,
        }
    }
}

/// What a row says, for a card of its own or to compare.
fn says(row: &RollRow) -> Says {
    let value = |value: &RollValue| match value {
        RollValue::Text(text) => Scalar::Str(text.clone()),
        RollValue::Flag => Scalar::Bool(true),
    };
    let mut values: Vec<_> = row
        .values
        .iter()
        .map(|(key, given)| (key.clone(), value(given)))
        .collect();
    if let Some(grid) = &row.grid
        && let Some(field) = field(Meaning::Grid)
    {
        values.retain(|(key, _)| key != field.name);
        values.push((field.name.to_owned(), Scalar::Str(grid.clone())));
    }
    let persons = row.contacts.iter().map(|contact| {
        contact
            .fields()
            .map(|(field, value)| (field.to_owned(), value.to_owned()))
            .collect()
    });
    Says {
        values,
        persons: persons.collect(),
        note: row.note.clone(),
    }
}

/// Without what the sheet of before said in the same words: it says nothing new, whatever was written on the card since.
fn without_repeated(
    mut says: Says,
    row: &RollRow,
    before: &[(String, String)],
    read: &Read,
) -> Says {
    let cell = |cells: &[(String, String)], heading: &str| {
        let found = cells.iter().find(|(of, _)| of == heading);
        found.map(|(_, text)| fold(text))
    };
    let repeats = |is_of: &dyn Fn(&ColumnTarget) -> bool| {
        let mut headings = read
            .roll
            .columns()
            .iter()
            .filter(|column| is_of(&column.target))
            .map(|column| column.heading.as_str())
            .peekable();
        headings.peek().is_some()
            && headings.all(|heading| {
                let now = cell(&row.cells, heading);
                now.is_none() || now == cell(before, heading)
            })
    };
    let place = |field: &'static Field| {
        move |target: &ColumnTarget| match target {
            ColumnTarget::Field(of) => {
                **of == *field
                    || (matches!(field.meaning, Meaning::AddressPart(_) | Meaning::Address)
                        && matches!(of.meaning, Meaning::AddressPart(_) | Meaning::Address))
            }
            ColumnTarget::Point(_) | ColumnTarget::Longitude(_) | ColumnTarget::Latitude(_) => {
                field.meaning == Meaning::Point
            }
            ColumnTarget::Area => field.meaning == Meaning::Grid,
            _ => false,
        }
    };
    says.values.retain(|(key, _)| {
        if let Some(name) = key.strip_prefix("custom/") {
            return !repeats(&|target| matches!(target, ColumnTarget::Custom(of) if of == name));
        }
        let name = key.split_once('/').map_or(key.as_str(), |(head, _)| head);
        said::field(name).is_none_or(|field| !repeats(&place(field)))
    });
    if repeats(&|target| matches!(target, ColumnTarget::Contact { .. })) {
        says.persons.clear();
    }
    if field(Meaning::Note).is_some_and(|field| repeats(&place(field))) {
        says.note = None;
    }
    says
}
