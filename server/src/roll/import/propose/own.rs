//! Rows of a sheet that came from an export here: which card each is, and what its author changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lianka_office_core::roll::{
    cells::one_line,
    notes::{Then, reads_as_said},
    rows::{self, Card},
};
use lianka_sync_core::{
    authority::Said as NewlySaid, codec::change::Scalar, crdt::merge::RegisterState, id::RecordId,
    kinds::Meaning,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    EXPORTS_TRIED, MISSING_MAX, Proposal, ROWS_AT_ONCE, ROWS_SAMPLED, Read, export_of, states,
};
use crate::roll::{
    import::{
        ImportError, notes,
        plan::{Plan, ProblemReport},
        said,
        store::{self, Wrote},
        workbook::{self, Columns, Export, OwnRow, Said, SheetRow},
    },
    masks::{masked_text, shown as shown_masked},
    sheet::{ColumnTarget, ProblemCode},
    store as roll,
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
    /// Rows that stand a second time as they were, and whose card they are.
    repeated: BTreeMap<u32, RecordId>,
    /// Rows of exports that are not known here.
    forgotten: BTreeSet<u32>,
    /// The cards that rows carry the id of, where the export is not known any more.
    ids: HashMap<u32, RecordId>,
}

impl Own {
    /// Whether the row is a card's, as an export showed it.
    pub(super) fn has(&self, row: u32) -> bool {
        self.rows.contains_key(&row) || self.repeated.contains_key(&row)
    }

    /// Whether the row is of an export that is not known here.
    pub(super) fn is_forgotten(&self, row: u32) -> bool {
        self.forgotten.contains(&row)
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
        // A card whose row is of another export is not missing.
        let everywhere: Vec<Uuid> = read.ids.values().map(|(record, _)| record.0).collect();
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
            let mut copies = Vec::new();
            for (row, record) in known {
                if of_card.get(&record) == Some(&row) {
                    own.rows.insert(row, (record, own.exports.len()));
                } else {
                    copies.push((row, record));
                }
            }
            for chunk in copies.chunks(ROWS_AT_ONCE) {
                let of: Vec<Uuid> = chunk.iter().map(|(_, record)| record.0).collect();
                let said = store::said(conn, self.street, export.export, &of).await?;
                for (row, record) in chunk {
                    own.copies.insert(*row);
                    let cells = read.line(*row).unwrap_or_default();
                    let untouched = said
                        .get(record)
                        .map(|said| workbook::untouched(&cells, &columns, &export, said));
                    // A row that stands twice and says the same both times is no new shop.
                    if untouched == Some(columns.keys().count()) {
                        own.repeated.insert(*row, *record);
                    }
                }
            }
            let (missing, count) =
                store::missing(conn, self.street, export.export, &everywhere, MISSING_MAX).await?;
            plan.missing.extend(missing);
            plan.missing_count += count;
            columns_of(read, plan, &columns);
            own.exports.push((export, columns));
        }
        // Rows of exports that are forgotten are known by their ids; those of another street's mean nothing here.
        let left: Vec<(u32, RecordId)> = read
            .ids
            .iter()
            .filter(|(row, _)| !own.has(**row) && !own.is_copy(**row))
            .map(|(row, (record, _))| (*row, *record))
            .collect();
        own.forgotten = left.iter().map(|(row, _)| *row).collect();
        for chunk in left.chunks(ROWS_AT_ONCE) {
            let records: Vec<Uuid> = chunk.iter().map(|(_, record)| record.0).collect();
            let known = roll::existing(conn, self.street, &records).await?;
            let known: HashSet<Uuid> = known.into_iter().collect();
            let is_known = |(_, record): &&(u32, RecordId)| known.contains(&record.0);
            own.ids.extend(chunk.iter().filter(is_known).copied());
        }
        self.own = own;
        self.tell_of_exports(plan);
        Ok(())
    }

    /// Says once for the sheet why rows that an export made are not compared with it.
    fn tell_of_exports(&self, plan: &mut Plan) {
        let (read, own, street) = (self.read, &self.own, self.street.as_str());
        let (mut other, mut old) = (None, 0_usize);
        for row in &own.forgotten {
            let cells = read.line(*row).unwrap_or_default();
            match export_of(&cells) {
                Some((from, _)) if from.as_str() != street => other = Some(from),
                _ if own.ids.contains_key(row) => old += 1,
                _ => {}
            }
        }
        let mut tell = |code: ProblemCode, zh: String, en: String| {
            let mut problem =
                ProblemReport::of_row(code.as_str(), read.roll.header_row(), None, zh, en);
            problem.weighs(code);
            *plan.problem_counts.entry(problem.code.clone()).or_insert(0) += 1;
            plan.problems.push(problem);
        };
        if let Some(from) = other {
            tell(
                ProblemCode::ExportOfOtherStreet,
                format!("这张表是街道 {from} 导出的：卡片编号在这里不作数，按外来的表处理"),
                format!(
                    "the sheet is an export of the street {from}: its card ids mean nothing here, and it is taken as one from elsewhere"
                ),
            );
        }
        if old > 0 {
            tell(
                ProblemCode::ExportForgotten,
                format!(
                    "{old} 行导出已久，当时的内容不再保存：按卡片编号与现在的卡片比较，只填空白处"
                ),
                format!(
                    "{old} rows were exported so long ago that what they said is not kept any more: they are compared with the cards of today, and fill only what is empty"
                ),
            );
        }
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
        let repeated = self.own.repeated.range(self.looked_at..upto);
        let repeated: Vec<_> = repeated.map(|(row, record)| (*row, *record)).collect();
        for (row, record) in repeated {
            self.repeated(row, record);
        }
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
        let names = read.road_names();
        let street = read.known(&names);
        let mut changed = Vec::new();
        for (row, record) in rows {
            let Some(said) = said.get(record) else {
                // Forgotten just now: nobody can say what of it was changed.
                continue;
            };
            let cells = read.line(*row).unwrap_or_default();
            let mut found = {
                let (export, columns) = &self.own.exports[nth];
                let lines = &read.lines;
                let line = SheetRow {
                    cells: &cells,
                    unreadable: &|column| {
                        let lacks = |cell: &String| lines.may_lack_signs(cell);
                        lines.is_unreadable(*row, column) || cells.get(column).is_some_and(lacks)
                    },
                };
                let mut found = workbook::row(&line, columns, export, said, &street);
                added(&mut found, &columns.added, read, &cells);
                found
            };
            // What reading it as anybody's sheet doubted stands so on the card.
            self.hush(*row);
            let entry = self.entry(*row);
            entry.record = Some(*record);
            entry.outcome = "unchanged";
            entry.seen = Some(head);
            entry.content.export = Some(export);
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
        let is_rewritten = |(_, record, found): &&(u32, RecordId, OwnRow)| {
            let Some((cell, state)) = found.note.as_ref().zip(states.get(record)) else {
                return false;
            };
            let reads = state.view().note.unwrap_or_default();
            !reads_as_said(export, cell, &reads, &masked_text)
        };
        let rewritten = changed.iter().filter(is_rewritten);
        let rewritten: Vec<Uuid> = rewritten.map(|(_, record, _)| record.0).collect();
        let known = CardsOf {
            wrote: store::wrote(conn, self.street, &touched).await?,
            then: notes::load(conn, self.street, &rewritten).await?,
            states,
        };
        for (row, record, found) in changed {
            if let Some(said) = said.get(&record) {
                self.own_row(row, record, found, (nth, said), &known);
            }
        }
        Ok(())
    }

    /// A card's row that stands in the sheet a second time as it was.
    fn repeated(&mut self, row: u32, record: RecordId) {
        self.hush(row);
        let entry = self.entry(row);
        entry.content.problems = vec![ProblemReport::of_row(
            ProblemCode::CardIdRepeated.as_str(),
            row,
            None,
            "这一行与另一行完全相同，不作新店处理".to_owned(),
            "the row stands in the sheet twice, and says the same: it is no new shop".to_owned(),
        )];
        entry.record = Some(record);
        entry.outcome = "unchanged";
        entry.content.reasons = vec!["card_id".to_owned()];
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
    fn own_row(
        &mut self,
        row: u32,
        record: RecordId,
        found: OwnRow,
        (nth, said): (usize, &Said),
        known: &CardsOf,
    ) {
        let Some(state) = known.states.get(&record) else {
            let content = &mut self.entry(row).content;
            content.problems.push(ProblemReport::of_row(
                ProblemCode::RecordGone.as_str(),
                row,
                None,
                "这张卡片已经不在了，改动不写入".to_owned(),
                "the card is not there any more: the changes are not written".to_owned(),
            ));
            return;
        };
        let view = state.view();
        let card = Card {
            record,
            view: &view,
            export: &self.own.exports[nth].0,
            said,
            wrote: known.wrote.get(&record),
            then: &known.then,
            now: NewlySaid::AtOffice(self.now),
            masks_note: &masked_text,
            masks_tag: &masked_tag,
        };
        let own = rows::own(found, &card);
        let entry = self.entry(row);
        let content = &mut entry.content;
        (content.changed, content.persons) = (own.changed, own.persons);
        (content.note, content.fields) = (own.note, own.fields);
        let told = own.problems.into_iter();
        content
            .problems
            .extend(told.map(|problem| ProblemReport::of_own(row, problem)));
        if !content.fields.is_empty() {
            entry.outcome = "update";
        }
    }
}

/// What is known of the cards of rows in which somebody changed something.
struct CardsOf {
    states: HashMap<RecordId, RegisterState>,
    wrote: Wrote,
    then: Then,
}

/// A tag as an export shows it to those who see no whole numbers.
pub(super) fn masked_tag(tag: &str) -> String {
    shown_masked(tag, Meaning::Tag, false)
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
        let text = one_line(cell);
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
