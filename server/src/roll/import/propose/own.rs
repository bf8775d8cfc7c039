//! Rows of a sheet that came from an export here: which card each is, and what its author changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lianka_office_core::{
    acts::import::NoteWrite,
    roll::rows::{self, NoteOf},
};
use lianka_sync_core::{
    codec::change::Scalar, crdt::merge::RegisterState, id::RecordId, key::NOTE,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{EXPORTS_TRIED, MISSING_MAX, Proposal, ROWS_AT_ONCE, ROWS_SAMPLED, Read, states};
use crate::roll::{
    import::{
        ImportError,
        diff::Differs,
        plan::{Plan, ProblemReport},
        said, store,
        workbook::{self, Columns, Export, OwnRow, Said, SheetRow},
    },
    masks::masked_text,
    sheet::{self, ColumnTarget, ProblemCode},
};

/// The rows of a sheet that came from an export.
#[derive(Default)]
pub(super) struct Own {
    /// The exports, and where their columns stand in the sheet.
    exports: Vec<(Export, Columns)>,
    /// By row: its card, and which of the exports it is of.
    rows: BTreeMap<u32, (RecordId, usize)>,
    /// Rows that carry a card's id without being that card's row.
    copies: BTreeSet<u32>,
    /// The cards that rows carry the id of, where the export is not known any more.
    ids: HashMap<u32, RecordId>,
}

impl Own {
    /// Whether the row is a card's, as an export showed it.
    pub(super) fn has(&self, row: u32) -> bool {
        self.rows.contains_key(&row)
    }

    /// Whether the row was copied from a card's row.
    pub(super) fn is_copy(&self, row: u32) -> bool {
        self.copies.contains(&row)
    }

    /// The card whose id the row carries.
    pub(super) fn id_of(&self, row: u32) -> Option<RecordId> {
        self.ids.get(&row).copied()
    }

    /// The export that the sheet came from.
    pub(super) fn export(&self) -> Option<&(Export, Columns)> {
        self.exports.last()
    }

    /// Which row is which card.
    pub(super) fn cards(&self) -> impl Iterator<Item = (RecordId, u32)> {
        self.rows.iter().map(|(row, (record, _))| (*record, *row))
    }
}

impl Proposal<'_> {
    /// Finds out which rows are of which card, before any of them is looked at.
    pub(super) async fn find_own(
        &mut self,
        conn: &mut PgConnection,
        plan: &mut Plan,
    ) -> Result<(), ImportError> {
        let read = self.read;
        if read.ids.is_empty() {
            return Ok(());
        }
        let mut own = Own::default();
        for (export, rows) in self.exports(conn, &read.ids).await? {
            let Some(export) = store::export(conn, self.street, export).await? else {
                continue;
            };
            plan.export = Some(export.export);
            let records: Vec<Uuid> = rows.iter().map(|(_, record)| record.0).collect();
            let mut shown_then: HashSet<RecordId> = HashSet::new();
            for chunk in records.chunks(ROWS_AT_ONCE) {
                let of = store::exported(conn, self.street, export.export, chunk).await?;
                shown_then.extend(of);
            }
            let known: Vec<(u32, RecordId)> = rows
                .into_iter()
                .filter(|(_, record)| shown_then.contains(record))
                .collect();
            let some: Vec<Uuid> = known
                .iter()
                .take(ROWS_SAMPLED)
                .map(|(_, record)| record.0)
                .collect();
            let said = store::said(conn, self.street, export.export, &some).await?;
            let sample: Vec<(Vec<String>, &Said)> = known
                .iter()
                .take(ROWS_SAMPLED)
                .filter_map(|(row, record)| Some((read.line(*row)?, said.get(record)?)))
                .collect();
            let columns = Columns::find(read.roll.heading_cells(), &export, &shown(&sample));
            let of_card = self.rows_of_cards(conn, &known, &export, &columns).await?;
            for (row, record) in known {
                if of_card.get(&record) == Some(&row) {
                    own.rows.insert(row, (record, own.exports.len()));
                } else {
                    own.copies.insert(row);
                }
            }
            let (missing, count) =
                store::missing(conn, self.street, export.export, &records, MISSING_MAX).await?;
            plan.missing.extend(missing);
            plan.missing_count += count;
            columns_of(read, plan, &columns);
            own.exports.push((export, columns));
        }
        // Rows of exports that are forgotten are known by their ids.
        own.ids = read
            .ids
            .iter()
            .filter(|(row, _)| !own.has(**row) && !own.is_copy(**row))
            .map(|(row, (record, _))| (*row, *record))
            .collect();
        self.own = own;
        Ok(())
    }

    /// Which row each card is: a row that was copied to make a new shop keeps the card's id, so of several the first of those that changed least is it.
    async fn rows_of_cards(
        &self,
        conn: &mut PgConnection,
        known: &[(u32, RecordId)],
        export: &Export,
        columns: &Columns,
    ) -> Result<HashMap<RecordId, u32>, ImportError> {
        let mut of_card: HashMap<RecordId, u32> = HashMap::new();
        let mut several: BTreeMap<RecordId, Vec<u32>> = BTreeMap::new();
        for (row, record) in known {
            if let Some(first) = of_card.get(record) {
                several
                    .entry(*record)
                    .or_insert_with(|| vec![*first])
                    .push(*row);
            } else {
                of_card.insert(*record, *row);
            }
        }
        let several: Vec<(RecordId, Vec<u32>)> = several.into_iter().collect();
        for chunk in several.chunks(ROWS_AT_ONCE) {
            let records: Vec<Uuid> = chunk.iter().map(|(record, _)| record.0).collect();
            let said = store::said(conn, self.street, export.export, &records).await?;
            for (record, rows) in chunk {
                let Some(said) = said.get(record) else {
                    continue;
                };
                let untouched = |row: u32| {
                    let cells = self.read.line(row).unwrap_or_default();
                    workbook::untouched(&cells, columns, export, said)
                };
                let best = rows
                    .iter()
                    .copied()
                    .max_by_key(|row| (untouched(*row), std::cmp::Reverse(*row)));
                of_card.extend(best.map(|row| (*record, row)));
            }
        }
        Ok(of_card)
    }

    /// The rows of ours before `upto` that were not looked at: what their author changed.
    pub(super) async fn own_rows(
        &mut self,
        conn: &mut PgConnection,
        upto: u32,
    ) -> Result<(), ImportError> {
        let rows: Vec<(u32, RecordId, usize)> = self
            .own
            .rows
            .range(self.looked_at..upto)
            .map(|(row, (record, nth))| (*row, *record, *nth))
            .collect();
        for nth in 0..self.own.exports.len() {
            let of_export: Vec<(u32, RecordId)> = rows
                .iter()
                .filter(|(.., of)| *of == nth)
                .map(|(row, record, _)| (*row, *record))
                .collect();
            for chunk in of_export.chunks(ROWS_AT_ONCE) {
                self.own_chunk(conn, nth, chunk).await?;
            }
        }
        Ok(())
    }

    async fn own_chunk(
        &mut self,
        conn: &mut PgConnection,
        nth: usize,
        rows: &[(u32, RecordId)],
    ) -> Result<(), ImportError> {
        let read = self.read;
        let Some((export, head)) = self
            .own
            .exports
            .get(nth)
            .map(|(of, _)| (of.export, of.head))
        else {
            return Ok(());
        };
        let records: Vec<Uuid> = rows.iter().map(|(_, record)| record.0).collect();
        let said = store::said(conn, self.street, export, &records).await?;
        let mut changed = Vec::new();
        for (row, record) in rows {
            let Some(said) = said.get(record) else {
                // Forgotten just now: nobody can say what of it was changed.
                continue;
            };
            let cells = read.line(*row).unwrap_or_default();
            let mut found = {
                let (export, columns) = &self.own.exports[nth];
                let lines = read.roll.lines();
                let line = SheetRow {
                    cells: &cells,
                    unreadable: &|column| lines.is_unreadable(*row, column),
                };
                let mut found =
                    read.known(|known| workbook::row(&line, columns, export, said, known));
                added(&mut found, &columns.added, read, &cells);
                found
            };
            // What reading it as anybody's sheet doubted stands so on the card.
            self.hush(*row);
            let entry = self.entry(*row);
            entry.record = Some(*record);
            entry.outcome = "unchanged";
            entry.seen = Some(head);
            entry.content.reasons = vec!["card_id".to_owned()];
            let problems = found.problems.drain(..);
            entry
                .content
                .problems
                .extend(problems.map(|problem| ProblemReport::of_own(*row, problem)));
            if says_something(&found) {
                changed.push((*row, *record, found));
            }
        }
        let touched: Vec<Uuid> = changed.iter().map(|(_, record, _)| record.0).collect();
        let states = states(conn, self.street, &touched).await?;
        for (row, record, found) in changed {
            self.own_row(row, &found, states.get(&record), export);
        }
        Ok(())
    }

    /// Which export each row is of: the one it names, or the one that most of it still says.
    async fn exports(
        &self,
        conn: &mut PgConnection,
        ids: &BTreeMap<u32, (RecordId, Option<Uuid>)>,
    ) -> Result<BTreeMap<Uuid, Vec<(u32, RecordId)>>, ImportError> {
        let read = self.read;
        let mut by_export: BTreeMap<Uuid, Vec<(u32, RecordId)>> = BTreeMap::new();
        let mut unnamed = Vec::new();
        for (row, (record, export)) in ids {
            match export {
                Some(export) => by_export.entry(*export).or_default().push((*row, *record)),
                None => unnamed.push((*row, *record)),
            }
        }
        if unnamed.is_empty() {
            return Ok(by_export);
        }
        // A line that was added under an id column, or a sheet that lost the export's column.
        if let [only] = by_export.keys().copied().collect::<Vec<_>>()[..] {
            by_export.entry(only).or_default().extend(unnamed);
            return Ok(by_export);
        }
        let some: Vec<Uuid> = unnamed
            .iter()
            .take(50)
            .map(|(_, record)| record.0)
            .collect();
        let mut best: Option<(usize, Uuid)> = None;
        for candidate in store::exports_of(conn, self.street, &some, EXPORTS_TRIED).await? {
            let Some(export) = store::export(conn, self.street, candidate).await? else {
                continue;
            };
            let said = store::said(conn, self.street, candidate, &some).await?;
            let rows: Vec<(Vec<String>, &Said)> = unnamed
                .iter()
                .take(ROWS_SAMPLED)
                .filter_map(|(row, record)| Some((read.line(*row)?, said.get(record)?)))
                .collect();
            let columns = Columns::find(read.roll.heading_cells(), &export, &shown(&rows));
            let fits = rows
                .iter()
                .map(|(cells, said)| workbook::untouched(cells, &columns, &export, said))
                .sum();
            // Of equal ones the newest, which comes first.
            if best.is_none_or(|(most, _)| fits > most) {
                best = Some((fits, candidate));
            }
        }
        if let Some((_, export)) = best {
            by_export.entry(export).or_default().extend(unnamed);
        }
        Ok(by_export)
    }

    /// A row of ours in which somebody changed something.
    fn own_row(&mut self, row: u32, found: &OwnRow, state: Option<&RegisterState>, export: Uuid) {
        let view = state.map(RegisterState::view).unwrap_or_default();
        let entry = self.entry(row);
        let content = &mut entry.content;
        if state.is_none() {
            content.problems.push(ProblemReport::of_row(
                ProblemCode::RecordGone.as_str(),
                row,
                None,
                "这张卡片已经不在了，改动不写入".to_owned(),
                "the card is not there any more: the changes are not written".to_owned(),
            ));
            return;
        }
        content.changed.clone_from(&found.changed);
        content.tags.clone_from(&found.tags);
        content.persons.clone_from(&found.persons);
        content.fields = rows::fields(found, &view);
        if let Some((note, was)) = &found.note {
            match rows::note_of(export, (note, was), &view, &masked_text) {
                // Somebody wrote the same meanwhile.
                NoteOf::Same => {}
                NoteOf::Changed => content.problems.push(ProblemReport::of_row(
                    ProblemCode::NoteChanged.as_str(),
                    row,
                    Some(NOTE.to_owned()),
                    "备注在导出以后有人改过，表里的备注不写入：请看过卡片再改".to_owned(),
                    "somebody wrote the note since the export: the sheet's note is not written; look at the card, then edit it".to_owned(),
                )),
                NoteOf::Write(NoteWrite { was, text }) => {
                    content.fields.push(Differs {
                        key: NOTE.to_owned(),
                        field: NOTE.to_owned(),
                        is: Some(was.clone())
                            .into_iter()
                            .filter(|text| !text.is_empty())
                            .collect(),
                        shall: Some(text.clone()).filter(|text| !text.is_empty()),
                    });
                    content.note = Some((text, was));
                }
            }
        }
        if !content.fields.is_empty() {
            entry.outcome = "update";
        }
    }
}

fn says_something(found: &OwnRow) -> bool {
    !found.changed.is_empty()
        || found.tags.is_some()
        || found.note.is_some()
        || !found.persons.is_empty()
}

/// The export's columns are what the export says that they are, whatever a sheet from elsewhere would mean by their headings.
fn columns_of(read: &Read, plan: &mut Plan, columns: &Columns) {
    let placed: BTreeMap<usize, &str> = columns.keys().collect();
    for (at, key) in &placed {
        if let Some(column) = plan.columns.get_mut(*at) {
            (*key).clone_into(&mut column.field);
        }
    }
    let names: BTreeSet<&str> = plan
        .columns
        .iter()
        .filter_map(|column| column.field.strip_prefix("custom/"))
        .collect();
    plan.custom_fields
        .retain(|field| names.contains(field.name()));
    let headings: BTreeSet<&str> = placed
        .keys()
        .filter_map(|at| read.roll.columns().get(*at))
        .map(|column| column.heading.as_str())
        .collect();
    let is_of_export = |problem: &ProblemReport| {
        problem
            .column()
            .is_some_and(|column| headings.contains(column))
            || problem.code == "road_table_empty"
    };
    for problem in plan.problems.iter().filter(|problem| is_of_export(problem)) {
        plan.problem_counts.remove(&problem.code);
    }
    plan.problems.retain(|problem| !is_of_export(problem));
}

fn shown<'s>(rows: &'s [(Vec<String>, &'s Said)]) -> Vec<(&'s [String], &'s Said)> {
    rows.iter()
        .map(|(cells, said)| (&cells[..], *said))
        .collect()
}

/// Columns that the export did not have are read as any sheet's: their cells are new.
pub(super) fn added(found: &mut OwnRow, columns: &[usize], read: &Read, cells: &[String]) {
    for at in columns {
        let (Some(column), Some(cell)) = (read.roll.columns().get(*at), cells.get(*at)) else {
            continue;
        };
        let ColumnTarget::Custom(name) = &column.target else {
            continue;
        };
        let text = sheet::cell::one_line(cell);
        let key = workbook::custom_key(name);
        let takes = said::field("custom").is_some_and(|field| {
            lianka_sync_core::authority::check_value(field, &Scalar::from(text.as_str())).is_ok()
        });
        if !text.is_empty() && takes {
            found.changed.push(workbook::Changed {
                key,
                value: Some(Scalar::Str(text)),
                column: column.heading.clone(),
            });
        }
    }
}
