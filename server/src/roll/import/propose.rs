//! A sheet and the roll → what each row would change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lianka_sync_core::{
    authority::Said as NewlySaid,
    codec::change::Scalar,
    crdt::{merge::RegisterState, view::View},
    id::{RecordId, StreetCode},
    key::{Key, NOTE},
    kinds::{Field, Meaning, duplicate::Traits, shop_card::CONTACTS},
    search::fold,
    time::ServerTime,
};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    ImportError, Office,
    diff::{self, Differs, Says, Take},
    matching::{self, Match},
    notes::{self, Then},
    plan::{Content, Plan, ProblemReport},
    report::ImportReport,
    said,
    store::{self, ImportRow, ProposalWrite, RowInsert},
    workbook::{self, Export, Known, OwnRow, Said, SheetRow},
};
use crate::{
    audit::{self, Action},
    roll::{
        sheet::{
            self, ColumnTarget, KnownGrid, Lines, ProblemCode, RollError, RollLimits, RollPlan,
            RollRow, RollValue, StreetTables, grids::GridNames, target::field,
        },
        store as roll,
    },
    street::store::{
        records,
        streets::{self, Grid},
    },
};

/// Rows looked up at once.
const ROWS_AT_ONCE: usize = 1_000;
/// Rows by which an export's columns are told.
const ROWS_SAMPLED: usize = 300;
/// Cards of an export that are named as missing in the sheet.
const MISSING_MAX: i64 = 200;
/// Exports that a sheet without the export's column is held against.
const EXPORTS_TRIED: i64 = 12;
/// Cards that are named as perhaps the row's.
const CANDIDATES_MAX: usize = 5;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only report; nothing is kept.
    pub dry_run: bool,
    /// Grid of rows whose own is unknown.
    pub grid: Option<String>,
    pub file_name: String,
}

/// A sheet as read, with what is known of the street.
struct Read {
    plan: RollPlan,
    hash: [u8; 32],
    roads: Vec<String>,
    grids: Vec<GridNames>,
}

impl Read {
    /// The cells of a row below the headings.
    fn line(&self, row: u32) -> Option<Vec<String>> {
        self.plan.lines.get(row)
    }
}

/// Proposes a sheet, and remembers the proposal unless it is only asked what it would be.
pub async fn propose(
    office: &Office<'_>,
    file: bytes::Bytes,
    options: Options,
) -> Result<ImportReport, ImportError> {
    let street = office.street;
    let mut conn = office.pool.acquire().await?;
    streets::find_street(&mut conn, street)
        .await?
        .ok_or(ImportError::NoStreet)?;
    let roads = streets::all_roads(&mut conn, street).await?;
    let grids = streets::grids_of(&mut conn, street).await?;
    if let Some(grid) = &options.grid
        && !grids.iter().any(|known| known.grid == *grid)
    {
        return Err(ImportError::NoGrid);
    }
    drop(conn);
    let now = office.clock.now();
    let mut read = tokio::task::spawn_blocking(move || read(&file, roads, &grids, now)).await??;
    let import = RecordId::new_v7(now.unix_ms().unsigned_abs(), office.entropy.bytes()).0;
    let mut conn = office.pool.acquire().await?;
    let base_seq = store::head(&mut conn, street).await?;
    let mut plan = Plan::of(&read.plan);
    plan.grid = options.grid;
    let mut proposal = Proposal {
        street,
        import,
        now,
        rows: BTreeMap::new(),
    };
    proposal.problems_of_rows(&mut read.plan, &mut plan);
    let own = proposal.own(&mut conn, &read, &mut plan).await?;
    proposal.elsewhere(&mut conn, &read, &own).await?;
    proposal.placed();
    let rows: Vec<RowInsert> = proposal.rows.into_values().collect();
    for row in &rows {
        for problem in &row.content.problems {
            *plan.problem_counts.entry(problem.code.clone()).or_insert(0) += 1;
        }
    }
    let problems = rows
        .iter()
        .flat_map(|row| row.content.problems.iter().cloned())
        .take(super::report::PROBLEMS_MAX)
        .collect();
    let mut shown = ImportRow {
        import,
        file_name: options.file_name,
        file_hash: read.hash.to_vec(),
        username: office.by.username.clone(),
        at: now.into(),
        status: "proposed".to_owned(),
        plan: sqlx::types::Json(plan),
        base_seq,
        counts: sqlx::types::Json(counts(&rows)),
    };
    if !options.dry_run {
        drop(conn);
        if !rows
            .iter()
            .any(|row| ["new", "update", "likely_same", "ambiguous"].contains(&row.outcome))
        {
            // Nothing is left to decide.
            "applied".clone_into(&mut shown.status);
        }
        remember(office, &shown, &rows).await?;
    }
    Ok(ImportReport::of(shown, options.dry_run, problems))
}

fn counts(rows: &[RowInsert]) -> Vec<(String, String, i64)> {
    let mut counts: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for row in rows {
        let state = if ["unchanged", "skipped"].contains(&row.outcome) {
            "unchanged"
        } else {
            "open"
        };
        *counts.entry((row.outcome, state)).or_insert(0) += 1;
    }
    counts
        .into_iter()
        .map(|((outcome, state), count)| (outcome.to_owned(), state.to_owned(), count))
        .collect()
}

async fn remember(
    office: &Office<'_>,
    row: &ImportRow,
    rows: &[RowInsert],
) -> Result<(), ImportError> {
    let street = office.street;
    let mut tx = office.pool.begin().await?;
    let write = ProposalWrite {
        import: row.import,
        file_name: &row.file_name,
        file_hash: &row.file_hash,
        device: office.by.device,
        username: &row.username,
        at: row.at,
        rows: i32::try_from(rows.len()).unwrap_or(i32::MAX),
        plan: &row.plan.0,
        base_seq: row.base_seq,
    };
    store::insert_proposal(&mut tx, street, &write).await?;
    for chunk in rows.chunks(ROWS_AT_ONCE) {
        store::insert_rows(&mut tx, street, row.import, chunk).await?;
    }
    if row.status != "proposed" {
        store::set_status(&mut tx, street, row.import, &row.status).await?;
    }
    let event = office
        .by
        .event(Action::ImportProposed)
        .with("import", row.import.to_string())
        .with("rows", rows.len())
        .with("file_sha256", hex::encode(&row.file_hash));
    audit::append(&mut tx, street.into(), row.at.into(), &[event]).await?;
    tx.commit().await?;
    Ok(())
}

fn read(
    file: &[u8],
    roads: Vec<String>,
    grids: &[Grid],
    now: ServerTime,
) -> Result<Read, RollError> {
    let names: Vec<&str> = roads.iter().map(String::as_str).collect();
    let known: Vec<_> = grids
        .iter()
        .map(|grid| KnownGrid {
            code: &grid.grid,
            name: &grid.name,
            area: &grid.area,
        })
        .collect();
    let tables = StreetTables {
        roads: &names,
        grids: &known,
        now: Some(now),
    };
    let plan = sheet::read(file, &tables, &RollLimits::default())?;
    let grids = known.iter().map(GridNames::of).collect();
    Ok(Read {
        plan,
        hash: Sha256::digest(file).into(),
        roads,
        grids,
    })
}

/// What is proposed so far, by row.
struct Proposal<'p> {
    street: &'p StreetCode,
    import: Uuid,
    now: ServerTime,
    rows: BTreeMap<u32, RowInsert>,
}

/// The rows of a sheet that came from an export, and the problems that reading them as anybody's sheet gave: they are not about them.
#[derive(Default)]
struct Own {
    rows: BTreeSet<u32>,
    /// The card's id that a row carries without being that card's row.
    copies: BTreeSet<u32>,
    /// The cards that rows carry the id of, where the export is not known any more.
    ids: HashMap<u32, RecordId>,
    /// Rows of exports that are not known here.
    forgotten: BTreeSet<u32>,
    /// The export, and where its columns stand in the sheet.
    export: Option<(Export, workbook::Columns)>,
}

impl Proposal<'_> {
    fn entry(&mut self, row: u32) -> &mut RowInsert {
        self.rows.entry(row).or_insert_with(|| RowInsert {
            row: i32::try_from(row).unwrap_or(i32::MAX),
            identity: Vec::new(),
            record: None,
            cells: serde_json::json!([]),
            outcome: "skipped",
            seen: None,
            content: Content::default(),
        })
    }

    /// Problems go with their rows; what is about the sheet stays with it.
    fn problems_of_rows(&mut self, read: &mut RollPlan, plan: &mut Plan) {
        let header = read.header_row;
        for problem in &read.problems {
            let report = ProblemReport::from(problem);
            if problem.row <= header {
                *plan.problem_counts.entry(report.code.clone()).or_insert(0) += 1;
                plan.problems.push(report);
            } else {
                self.entry(problem.row).content.problems.push(report);
            }
        }
    }

    /// Rows that carry the id of a card that an export showed.
    async fn own(
        &mut self,
        conn: &mut PgConnection,
        read: &Read,
        plan: &mut Plan,
    ) -> Result<Own, ImportError> {
        let mut own = Own::default();
        let ids = ids(&read.plan.lines);
        if ids.is_empty() {
            return Ok(own);
        }
        let by_export = self.exports(conn, read, &ids).await?;
        // A card whose row is of another export is not missing.
        let everywhere: Vec<Uuid> = ids.values().map(|(record, _)| record.0).collect();
        for (export, rows) in by_export {
            let Some(export) = store::export(conn, self.street, export).await? else {
                continue;
            };
            plan.export = Some(export.export);
            let records: Vec<Uuid> = rows.iter().map(|(_, record)| record.0).collect();
            let said = store::said(conn, self.street, export.export, &records).await?;
            let known: Vec<(u32, RecordId, &Said)> = rows
                .iter()
                .filter_map(|(row, record)| Some((*row, *record, said.get(record)?)))
                .collect();
            let sample: Vec<(Vec<String>, &Said)> = known
                .iter()
                .take(ROWS_SAMPLED)
                .filter_map(|(row, _, said)| Some((read.line(*row)?, *said)))
                .collect();
            let columns =
                workbook::Columns::find(&read.plan.heading_cells, &export, &shown(&sample));
            let of_card = rows_of_cards(&known, |row, said| {
                let cells = read.line(row).unwrap_or_default();
                workbook::untouched(&cells, &columns, &export, said)
            });
            let roads: Vec<&str> = read.roads.iter().map(String::as_str).collect();
            let tables = Known {
                grids: &read.grids,
                roads: &roads,
                said: NewlySaid::AtOffice(self.now),
            };
            let mut changed = Vec::new();
            for (row, record, said) in &known {
                let cells = read.line(*row).unwrap_or_default();
                if of_card.get(record) != Some(row) {
                    own.copies.insert(*row);
                    // A row that stands twice and says the same both times is no new shop.
                    if workbook::untouched(&cells, &columns, &export, said)
                        == columns.keys().count()
                    {
                        own.rows.insert(*row);
                        self.repeated(*row, *record);
                    }
                    continue;
                }
                own.rows.insert(*row);
                let line = SheetRow {
                    cells: &cells,
                    unreadable: &|column| {
                        let lacks = |cell: &String| read.plan.lines.may_lack_signs(cell);
                        read.plan.lines.is_unreadable(*row, column)
                            || cells.get(column).is_some_and(lacks)
                    },
                };
                let mut found = workbook::row(&line, &columns, &export, said, &tables);
                added(&mut found, &columns.added, read, &cells);
                let entry = self.entry(*row);
                // What reading it as anybody's sheet doubted stands so on the card.
                entry.content.problems.clear();
                entry.record = Some(*record);
                entry.outcome = "unchanged";
                entry.seen = Some(export.head);
                entry.content.export = Some(export.export);
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
            for chunk in changed.chunks(ROWS_AT_ONCE) {
                let touched: Vec<Uuid> = chunk.iter().map(|(_, record, _)| record.0).collect();
                let states = states(conn, self.street, &touched).await?;
                let wrote = store::wrote(conn, self.street, &touched).await?;
                let note_now = |record: &RecordId| {
                    let state = states.get(record)?;
                    Some(state.view().note.unwrap_or_default())
                };
                let rewritten: Vec<Uuid> =
                    chunk
                        .iter()
                        .filter(|(_, record, found)| {
                            found.note.as_ref().zip(note_now(record)).is_some_and(
                                |(note, reads)| !notes::reads_as_said(export.export, note, &reads),
                            )
                        })
                        .map(|(_, record, _)| record.0)
                        .collect();
                let then = Then::load(conn, self.street, &rewritten).await?;
                for (row, record, found) in chunk {
                    let card = OwnCard {
                        record: *record,
                        state: states.get(record),
                        then: &then,
                        wrote: &wrote,
                    };
                    self.own_row(*row, found, &card, &export, said.get(record));
                }
            }
            let (missing, count) =
                store::missing(conn, self.street, export.export, &everywhere, MISSING_MAX).await?;
            plan.missing.extend(missing);
            plan.missing_count += count;
            columns_of(read, plan, &columns);
            own.export = Some((export, columns));
        }
        // Rows of exports that are forgotten are known by their ids; those of another street's mean nothing here.
        let left: BTreeMap<u32, RecordId> = ids
            .into_iter()
            .filter(|(row, _)| !own.rows.contains(row) && !own.copies.contains(row))
            .map(|(row, (record, _))| (row, record))
            .collect();
        let records: Vec<Uuid> = left.values().map(|record| record.0).collect();
        let known: BTreeSet<Uuid> = roll::existing(conn, self.street, &records)
            .await?
            .into_iter()
            .collect();
        own.forgotten = left.keys().copied().collect();
        let is_known = |(_, record): &(u32, RecordId)| known.contains(&record.0);
        own.ids = left.into_iter().filter(is_known).collect();
        self.tell_of_exports(read, &own, plan);
        Ok(own)
    }

    /// Says once for the sheet why rows that an export made are not compared with it.
    fn tell_of_exports(&self, read: &Read, own: &Own, plan: &mut Plan) {
        let street = self.street.as_str();
        let (mut other, mut old) = (None, 0_usize);
        for row in &own.forgotten {
            let cells = read.line(*row).unwrap_or_default();
            match cells.iter().rev().find_map(|cell| exported_from(cell)) {
                Some(from) if from.as_str() != street => other = Some(from),
                _ if own.ids.contains_key(row) => old += 1,
                _ => {}
            }
        }
        let mut tell = |code: ProblemCode, zh: String, en: String| {
            let mut problem =
                ProblemReport::of_row(code.as_str(), read.plan.header_row, None, zh, en);
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

    /// Which export each row is of: the one it names, or the one that most of it still says.
    async fn exports(
        &self,
        conn: &mut PgConnection,
        read: &Read,
        ids: &BTreeMap<u32, (RecordId, Option<Uuid>)>,
    ) -> Result<BTreeMap<Uuid, Vec<(u32, RecordId)>>, ImportError> {
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
            let columns = workbook::Columns::find(&read.plan.heading_cells, &export, &shown(&rows));
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

    /// A card's row that stands in the sheet a second time as it was.
    fn repeated(&mut self, row: u32, record: RecordId) {
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

    /// A row of ours in which somebody changed something.
    fn own_row(
        &mut self,
        row: u32,
        found: &OwnRow,
        card: &OwnCard<'_>,
        export: &Export,
        said: Option<&Said>,
    ) {
        let now = NewlySaid::AtOffice(self.now);
        let entry = self.entry(row);
        let content = &mut entry.content;
        let Some(state) = card.state else {
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
        content.changed.clone_from(&found.changed);
        // Nothing is kept of a person who was taken off the card, or forgotten, since.
        let there = view.entries(CONTACTS);
        let gone = content.changed.extract_if(.., |changed| {
            matches!(Key::parse(&changed.key), Some(Key::Entry { entry, .. }) if !there.contains(&entry))
        });
        let gone: BTreeSet<String> = gone.map(|changed| changed.column).collect();
        let told = gone
            .into_iter()
            .map(|column| workbook::contact_gone(&column));
        content
            .problems
            .extend(told.map(|problem| ProblemReport::of_own(row, problem)));
        content.persons.clone_from(&found.persons);
        if let (Some(cell), Some(said)) = (&found.tags, said) {
            let (changed, problems) = cell.changes(export.export, said, &view, now);
            content.changed.extend(changed);
            content.problems.extend(
                problems
                    .into_iter()
                    .map(|problem| ProblemReport::of_own(row, problem)),
            );
        }
        let mut shall = None;
        if let Some(cell) = &found.note {
            let reads = view.note.clone().unwrap_or_default();
            let at = (export.export, export.head);
            match notes::find(at, card.record, cell, &reads, card.then) {
                notes::Found::Nothing => {}
                notes::Found::Write {
                    was,
                    text,
                    shall: reads,
                } => {
                    content.note = Some((text, was));
                    shall = Some(reads);
                }
                notes::Found::Masked => content
                    .problems
                    .push(ProblemReport::of_own(row, workbook::masked(&cell.column))),
                notes::Found::Refused => content
                    .problems
                    .push(ProblemReport::of_own(row, workbook::refused(&cell.column))),
                notes::Found::Changed => content.problems.push(super::note_changed(row)),
            }
        }
        content.leave_out(card.wrote, card.record);
        content.fields = own_fields(content, &view);
        if let (Some(_), Some(shall)) = (&content.note, shall) {
            content.fields.push(Differs {
                key: NOTE.to_owned(),
                field: NOTE.to_owned(),
                is: view
                    .note
                    .filter(|text| !text.is_empty())
                    .into_iter()
                    .collect(),
                shall: Some(shall).filter(|text| !text.is_empty()),
            });
        }
        if !content.fields.is_empty() {
            entry.outcome = "update";
        }
    }

    /// Rows that are nobody's yet: matched, compared, or new.
    async fn elsewhere(
        &mut self,
        conn: &mut PgConnection,
        read: &Read,
        own: &Own,
    ) -> Result<(), ImportError> {
        let rows: Vec<&RollRow> = read
            .plan
            .rows
            .iter()
            .filter(|row| !own.rows.contains(&row.row))
            .collect();
        let sensitive: BTreeSet<&str> = read
            .plan
            .columns
            .iter()
            .filter(|column| column.target == ColumnTarget::Sensitive)
            .map(|column| column.heading.as_str())
            .collect();
        // Which row of the sheet is which card: a second one is no row of it.
        let mut taken: HashMap<RecordId, u32> = self
            .rows
            .values()
            .filter_map(|row| Some((row.record?, row.row.unsigned_abs())))
            .collect();
        for chunk in rows.chunks(ROWS_AT_ONCE) {
            let identities: Vec<Vec<u8>> = chunk.iter().map(|row| row.identity.to_vec()).collect();
            let imported = store::imported(conn, self.street, &identities, &store::TAKEN).await?;
            let said: Vec<Says> = chunk.iter().map(|row| self.says(read, own, row)).collect();
            let traits: Vec<Traits> = said.iter().map(matching::traits).collect();
            let keys: BTreeSet<String> = traits
                .iter()
                .flat_map(Traits::keys)
                .filter(|key| Traits::meets(key))
                .collect();
            let keys: Vec<String> = keys.into_iter().collect();
            let (meeting, cards) = store::recognised(conn, self.street, &keys).await?;
            let mut matched = Vec::new();
            for ((row, traits), says) in chunk.iter().zip(&traits).zip(said) {
                let found = match (imported.get(&row.identity[..]), own.ids.get(&row.row)) {
                    (Some(record), _) => Found::Earlier(*record),
                    (None, Some(record)) => Found::Card(*record),
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
                matched.push((*row, says, found));
            }
            let records: Vec<Uuid> = matched
                .iter()
                .filter_map(|(_, _, found)| found.record())
                .map(|record| record.0)
                .collect();
            let states = states(conn, self.street, &records).await?;
            let last = store::last_cells(conn, self.street, &records).await?;
            let known: BTreeSet<RecordId> = roll::existing(conn, self.street, &records)
                .await?
                .into_iter()
                .map(RecordId)
                .collect();
            for (row, says, found) in matched {
                let is_copy = own.copies.contains(&row.row);
                self.elsewhere_row(
                    read,
                    row,
                    (says, found),
                    is_copy,
                    &Sources {
                        states: &states,
                        last: &last,
                        known: &known,
                        sensitive: &sensitive,
                    },
                    &mut taken,
                );
            }
        }
        Ok(())
    }

    /// What a row says: of a sheet of ours by the export's columns, else as the sheet was read.
    fn says(&mut self, read: &Read, own: &Own, row: &RollRow) -> Says {
        let Some((export, columns)) = &own.export else {
            return self.without_masked(says(row), row.row, own.forgotten.contains(&row.row));
        };
        let Some(cells) = read.line(row.row) else {
            return says(row);
        };
        let roads: Vec<&str> = read.roads.iter().map(String::as_str).collect();
        let tables = Known {
            grids: &read.grids,
            roads: &roads,
            said: NewlySaid::AtOffice(self.now),
        };
        let line = SheetRow {
            cells: &cells,
            unreadable: &|column| read.plan.lines.is_unreadable(row.row, column),
        };
        let mut found = workbook::row(&line, columns, export, &Said::nothing(export), &tables);
        added(&mut found, &columns.added, read, &cells);
        let entry = self.entry(row.row);
        entry.content.problems.clear();
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
            let nothing = Said::nothing(export);
            let (changed, problems) =
                cell.changes(export.export, &nothing, &View::default(), tables.said);
            values.extend(
                changed
                    .into_iter()
                    .filter_map(|tag| Some((tag.key, tag.value?))),
            );
            let told = problems.into_iter();
            let entry = self.entry(row.row);
            entry
                .content
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

    /// Without numbers that somebody masked: nobody's. `ours`: whatever is masked was masked by an export here.
    fn without_masked(&mut self, mut says: Says, row: u32, ours: bool) -> Says {
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
                let key = format!("{CONTACTS}/{field}");
                let is_number =
                    said::field(&key).is_some_and(|field| field.meaning == Meaning::Telephone);
                keep(&key, Some(value), ours || is_number)
            });
        }
        says.persons.retain(|person| !person.is_empty());
        says.values
            .retain(|(key, value)| keep(key, value.as_str(), ours));
        says.note = says.note.filter(|note| keep(NOTE, Some(note), ours));
        let entry = self.entry(row);
        for column in columns {
            let problem = workbook::masked(&column);
            entry
                .content
                .problems
                .push(ProblemReport::of_own(row, problem));
        }
        says
    }

    fn elsewhere_row(
        &mut self,
        read: &Read,
        row: &RollRow,
        (says, found): (Says, Found),
        is_copy: bool,
        sources: &Sources<'_>,
        taken: &mut HashMap<RecordId, u32>,
    ) {
        let (import, now, number) = (self.import, self.now, row.row);
        let cells: serde_json::Value = row
            .cells
            .iter()
            .filter(|(heading, _)| !sources.sensitive.contains(heading.as_str()))
            .map(|cell| serde_json::json!(cell))
            .collect();
        let entry = self.entry(number);
        entry.identity = row.identity.to_vec();
        entry.cells = cells;
        let content = &mut entry.content;
        content.grid = says
            .values
            .iter()
            .find(|(key, _)| key == lianka_sync_core::key::GRID)
            .and_then(|(_, grid)| grid.as_str().map(str::to_owned));
        if is_copy {
            content.problems.push(ProblemReport::of_row(
                ProblemCode::CardIdRepeated.as_str(),
                number,
                None,
                "卡片编号与另一行相同，按复制出来的新行处理".to_owned(),
                "the card's id stands in another row as well: taken as a row that was copied to make a new one".to_owned(),
            ));
        }
        let new_record = |reason: &[u8]| {
            RecordId(lianka_office_core::ids::derived(
                now,
                &[reason, import.as_bytes(), &number.to_be_bytes()],
            ))
        };
        let (record, reasons) = match found {
            // Erased on request: nothing brings it back.
            Found::Earlier(record) => {
                // The row of then has the cells, unless they were forgotten.
                entry.cells = serde_json::json!([]);
                if !sources.states.contains_key(&record) {
                    content.problems.clear();
                }
                entry.record = Some(record);
                entry.outcome = "unchanged";
                content.reasons = vec!["earlier_row".to_owned()];
                taken.insert(record, number);
                return;
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
                return;
            }
            Found::Like(Match::Likely(mut candidates)) => {
                candidates.truncate(CANDIDATES_MAX);
                content.candidates = candidates;
                content.says = Some(says);
                entry.outcome = "likely_same";
                return;
            }
            Found::Card(_) | Found::Like(Match::None) => {
                entry.record = Some(new_record(b"import row"));
                entry.outcome = "new";
                content.says = Some(says);
                return;
            }
        };
        if let Some(other) = taken.get(&record) {
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
            return;
        }
        taken.insert(record, number);
        entry.record = Some(record);
        content.reasons = reasons;
        let Some(state) = sources.states.get(&record) else {
            // It was erased: nothing is kept of it.
            entry.outcome = "unchanged";
            entry.cells = serde_json::json!([]);
            content.problems.clear();
            return;
        };
        let says = match sources.last.get(&record) {
            Some(before) => without_repeated(says, row, before, read),
            None => says,
        };
        let fresh = |nth: usize| super::person_id(import, now, number as i32, nth);
        let view = state.view();
        let difference = diff::difference(&says, &view, &|_| Take::Empty, &fresh);
        content.fields = difference.fields;
        if content.fields.is_empty() {
            entry.outcome = "unchanged";
        } else {
            entry.outcome = "update";
            content.says = Some(says);
        }
    }

    /// Rows that name no shop, and rows of ours, are told apart by where they stand: they are found by nothing else.
    fn placed(&mut self) {
        for (number, row) in &mut self.rows {
            if row.identity.is_empty() {
                row.identity = Sha256::new_with_prefix(self.import.as_bytes())
                    .chain_update(number.to_be_bytes())
                    .finalize()
                    .to_vec();
            }
        }
    }
}

/// A card that a row of ours is of, and what is known of it.
struct OwnCard<'c> {
    record: RecordId,
    state: Option<&'c RegisterState>,
    then: &'c Then,
    wrote: &'c store::Wrote,
}

/// What rows of a part are compared with.
struct Sources<'s> {
    states: &'s HashMap<RecordId, RegisterState>,
    last: &'s HashMap<RecordId, Vec<(String, String)>>,
    /// Cards that exist, or existed.
    known: &'s BTreeSet<RecordId>,
    sensitive: &'s BTreeSet<&'s str>,
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

fn says_something(found: &OwnRow) -> bool {
    !found.changed.is_empty()
        || found.tags.is_some()
        || found.note.is_some()
        || !found.persons.is_empty()
}

/// The export's columns are what the export says that they are, whatever a sheet from elsewhere would mean by their headings.
fn columns_of(read: &Read, plan: &mut Plan, columns: &workbook::Columns) {
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
        .filter_map(|at| read.plan.columns.get(*at))
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

/// Which row each card is: a row that was copied to make a new shop keeps the card's id, so of several the first of those that changed least is it.
fn rows_of_cards(
    known: &[(u32, RecordId, &Said)],
    untouched: impl Fn(u32, &Said) -> usize,
) -> HashMap<RecordId, u32> {
    let mut rows: HashMap<RecordId, Vec<(u32, &Said)>> = HashMap::new();
    for (row, record, said) in known {
        rows.entry(*record).or_default().push((*row, said));
    }
    let best = |rows: Vec<(u32, &Said)>| match rows[..] {
        [(only, _)] => only,
        _ => rows
            .into_iter()
            .max_by_key(|(row, said)| (untouched(*row, said), std::cmp::Reverse(*row)))
            .map_or(0, |(row, _)| row),
    };
    rows.into_iter()
        .map(|(record, rows)| (record, best(rows)))
        .collect()
}

fn shown<'s>(rows: &'s [(Vec<String>, &'s Said)]) -> Vec<(&'s [String], &'s Said)> {
    rows.iter()
        .map(|(cells, said)| (&cells[..], *said))
        .collect()
}

/// The ids that rows carry: of a card, and of an export where there is one.
fn ids(lines: &Lines) -> BTreeMap<u32, (RecordId, Option<Uuid>)> {
    let parse = |cell: &String| cell.trim().parse::<Uuid>().ok().map(RecordId);
    // The column in which most cells are ids.
    let mut columns: HashMap<usize, usize> = HashMap::new();
    for (_, cells) in lines.iter() {
        for (at, cell) in cells.iter().enumerate() {
            if cell.trim().len() == 36 && parse(cell).is_some() {
                *columns.entry(at).or_insert(0) += 1;
            }
        }
    }
    let Some((column, _)) = columns.into_iter().max_by_key(|(at, count)| (*count, *at)) else {
        return BTreeMap::new();
    };
    lines
        .iter()
        .filter_map(|(row, cells)| {
            let record = cells.get(column).and_then(parse)?;
            let export = cells.iter().rev().find_map(|cell| export_of(cell));
            Some((row, (record, export)))
        })
        .collect()
}

/// The street that a cell of the export's column names.
fn exported_from(cell: &str) -> Option<StreetCode> {
    export_of(cell)?;
    cell.trim().split('/').next()?.parse().ok()
}

/// The export that a cell of the export's column names: `street/export/head`.
pub fn export_of(cell: &str) -> Option<Uuid> {
    let mut parts = cell.trim().split('/');
    let (street, export, head) = (parts.next()?, parts.next()?, parts.next()?);
    let is_it = street.parse::<StreetCode>().is_ok() && head.parse::<i64>().is_ok();
    export
        .parse()
        .ok()
        .filter(|_| is_it && parts.next().is_none())
}

/// Columns that the export did not have are read as any sheet's: their cells are new.
fn added(found: &mut OwnRow, columns: &[usize], read: &Read, cells: &[String]) {
    for at in columns {
        let (Some(column), Some(cell)) = (read.plan.columns.get(*at), cells.get(*at)) else {
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

/// What the changed cells of a row of ours say, beside what the card says now.
fn own_fields(found: &Content, view: &View) -> Vec<Differs> {
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
    for person in &found.persons {
        let texts: Vec<&str> = person.iter().map(|(_, value)| value.as_str()).collect();
        fields.push(Differs {
            key: "contacts".to_owned(),
            field: "contacts".to_owned(),
            is: Vec::new(),
            shall: Some(texts.join(" ")),
        });
    }
    fields
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
            .plan
            .columns
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

async fn states(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<HashMap<RecordId, RegisterState>> {
    let stored = records::load(conn, street, records).await?;
    Ok(stored
        .into_iter()
        .filter_map(|(record, stored)| {
            Some((record, RegisterState::from_bytes(&stored.state).ok()?))
        })
        .collect())
}
