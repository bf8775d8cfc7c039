//! Imports of rolls: a sheet becomes a proposal, a person decides, the chosen rows are written like any desk's edits, and all of it can be taken back.
//!
//! In: a file and the street as it stands. Out: rows with what each would change; nothing is written before somebody says so. A sheet that an export
//! here made is compared with what the export said ([`workbook`]); any other is matched against the roll ([`matching`]) and compared field by field
//! ([`diff`]). Rows are written in parts, each with what became of it in one transaction: cut off anywhere, it goes on where it stopped.

pub mod diff;
pub mod matching;
pub mod notes;
pub mod plan;
pub mod propose;
pub mod report;
pub mod respelled;
pub mod said;
pub mod store;
pub mod workbook;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use lianka_office_core::{
    acts::{
        Desk,
        import::{
            CellWrite, NoteRefused, NoteWrite, Over, RowUndo, RowUndone, RowWrite, RowWritten,
            UndoRows, WriteRows,
        },
    },
    ids::derived,
};
use lianka_sync_core::{
    codec::change::Scalar,
    crdt::{merge::RegisterState, record::Edit},
    id::{ChangeHash, EntryId, RecordId, StreetCode},
    key,
    kinds::{Kind, shop_card::CONTACTS},
    lang::Lang,
    time::ServerTime,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    audit::{self, Action},
    clock::{Clock, Entropy},
    roll::{
        sheet::{ProblemCode, RollError},
        store as roll,
    },
    street::{
        error::{ActError, MergeError},
        store::{
            records,
            streets::{self, Grid},
        },
        transaction::StreetTransaction,
    },
};

use diff::{Columns, Take};
use plan::{Content, ProblemReport};
use store::{ImportRow, RowEnd, StoredRow};

/// Rows written in one transaction: phones' pushes get their turn between two.
const ROWS_AT_ONCE: i64 = 500;
/// The grid of rows whose grid the street does not know, until the office moves them.
const UNASSIGNED: &str = "未分配";

/// Why nothing, or not all, was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error("there is no such street")]
    NoStreet,
    #[error("there is no such grid")]
    NoGrid,
    #[error("there is no such import")]
    NoImport,
    /// By where it stands.
    #[error("the import is {0}")]
    WrongStatus(String),
    /// By the number of the row.
    #[error("row {0} is not one that waits, or waits for a choice")]
    RowUndecided(u32),
    #[error(transparent)]
    File(#[from] RollError),
    #[error(transparent)]
    Street(#[from] MergeError),
    #[error(transparent)]
    Act(#[from] ActError),
    #[error("reading or writing ended early")]
    Task(#[from] tokio::task::JoinError),
}

/// What somebody decides for a row.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// As the spreadsheet counts.
    pub row: u32,
    /// It is this card.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    pub card: Option<RecordId>,
    /// It is a shop that the roll does not have.
    #[serde(default)]
    pub new: bool,
    /// How its columns are taken, where otherwise than those of the import.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Take>)]
    pub columns: Columns,
}

/// What to write.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Apply {
    /// Only these rows, as the spreadsheet counts. Absent: every row that leaves nothing to decide, and those with a choice.
    pub rows: Option<Vec<u32>>,
    /// How columns of a sheet from elsewhere are taken, by field (`sign_name`, `contacts/phones`, `custom/<name>`, `*` for the others): `empty`
    /// (default: only where the card says nothing), `take`, or `conflict` (beside what the card says).
    #[schema(value_type = std::collections::BTreeMap<String, Take>)]
    pub columns: Columns,
    pub choices: Vec<Choice>,
}

fn take(columns: &Columns, name: &str) -> Option<Take> {
    let custom = name.starts_with("custom/").then_some("custom");
    [Some(name), custom, Some("*")]
        .into_iter()
        .flatten()
        .find_map(|name| columns.get(name).copied())
}

/// The id of the n-th person that a row brings: the same, however often the row is written, and in the order of the row.
fn person_id(import: Uuid, now: ServerTime, row: i32, nth: usize) -> EntryId {
    EntryId(derived(
        ServerTime::from_unix_ms(now.unix_ms().saturating_add(nth as i64)),
        &[
            b"import person",
            import.as_bytes(),
            &row.to_be_bytes(),
            &(nth as u64).to_be_bytes(),
        ],
    ))
}

/// The id of a person whom a line of a sheet of ours adds to a card: the same, however often the sheet comes.
fn added_person_id(export: Uuid, record: RecordId, person: &[(String, String)]) -> EntryId {
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

/// Where imports are made, and by whom.
pub struct Office<'o> {
    pub pool: &'o PgPool,
    pub clock: &'o Clock,
    pub entropy: &'o Entropy,
    pub street: &'o StreetCode,
    pub by: Desk,
    /// How long one call may write before it says how far it came.
    pub at_most: Duration,
}

/// The import, with its street locked, where it stands so that this may be done.
async fn opened(
    office: &Office<'_>,
    import: Uuid,
    may: impl Fn(&str) -> bool,
) -> Result<(sqlx::Transaction<'static, sqlx::Postgres>, ImportRow), ImportError> {
    let mut tx = office.pool.begin().await?;
    records::lock_street(&mut tx, office.street)
        .await?
        .ok_or(ImportError::NoStreet)?;
    let row = store::import(&mut tx, office.street, import)
        .await?
        .ok_or(ImportError::NoImport)?;
    if may(&row.status) {
        Ok((tx, row))
    } else {
        Err(ImportError::WrongStatus(row.status))
    }
}

/// Marks the rows that are to be written, with what was decided for them, and writes as many as time allows. Asked again, it goes on.
pub async fn apply(office: &Office<'_>, import: Uuid, wanted: &Apply) -> Result<(), ImportError> {
    let street = office.street;
    let may = |status: &str| ["proposed", "applying", "applied"].contains(&status);
    let (mut tx, mut row) = opened(office, import, may).await?;
    for (name, take) in &wanted.columns {
        row.plan.take.insert(name.clone(), *take);
    }
    decide(&mut tx, street, &row, wanted).await?;
    let chosen: Vec<i32> = wanted
        .rows
        .iter()
        .flatten()
        .copied()
        .chain(wanted.choices.iter().map(|choice| choice.row))
        .map(|row| row as i32)
        .collect();
    let mut marked = 0;
    if wanted.rows.is_none() && row.status != "applying" {
        marked += store::choose(&mut tx, street, import, None).await?;
    }
    if !chosen.is_empty() {
        marked += store::choose(&mut tx, street, import, Some(&chosen)).await?;
    }
    store::set_plan(&mut tx, street, import, &row.plan.0).await?;
    if marked > 0 {
        store::set_status(&mut tx, street, import, "applying").await?;
        prepare(office, &mut tx, &row).await?;
    }
    tx.commit().await?;
    run(office, import, Doing::Apply).await
}

/// What somebody decided for rows, written down beside them.
async fn decide(
    tx: &mut sqlx::PgConnection,
    street: &StreetCode,
    import: &ImportRow,
    wanted: &Apply,
) -> Result<(), ImportError> {
    let choices: HashMap<i32, &Choice> = wanted
        .choices
        .iter()
        .map(|choice| (choice.row as i32, choice))
        .collect();
    let named: BTreeSet<i32> = wanted
        .rows
        .iter()
        .flatten()
        .map(|row| *row as i32)
        .chain(choices.keys().copied())
        .collect();
    let numbers: Vec<i32> = named.iter().copied().collect();
    let open = store::open_rows(tx, street, import.import, &numbers).await?;
    let found: BTreeSet<i32> = open.iter().map(|row| row.row).collect();
    if let Some(row) = named.difference(&found).next() {
        // Written before, or never there: asked again, a row that is written already is no mistake.
        let known = store::row_exists(tx, street, import.import, *row).await?;
        if !known {
            return Err(ImportError::RowUndecided(row.unsigned_abs()));
        }
    }
    for row in open {
        let choice = choices.get(&row.row);
        let is_decided = matches!(row.outcome.as_str(), "new" | "update")
            || choice.is_some_and(|choice| choice.new || choice.card.is_some());
        if !is_decided {
            return Err(ImportError::RowUndecided(row.row.unsigned_abs()));
        }
        let Some(choice) = choice else { continue };
        let mut content = row.content.0;
        content.take.clone_from(&choice.columns);
        let record = match choice.card {
            Some(card) => {
                if records::load(tx, street, &[card.0]).await?.is_empty() {
                    return Err(ImportError::RowUndecided(choice.row));
                }
                content.reasons = vec!["chosen".to_owned()];
                Some(card)
            }
            None if choice.new => {
                content.reasons = vec!["chosen_new".to_owned()];
                Some(RecordId(derived(
                    import.at.into(),
                    &[
                        b"import row",
                        import.import.as_bytes(),
                        &row.row.to_be_bytes(),
                    ],
                )))
            }
            None => None,
        };
        store::decide_row(tx, street, import.import, row.row, record, &content).await?;
    }
    Ok(())
}

/// What the rows need to be there: the street's own columns, and a grid for rows without one.
async fn prepare(
    office: &Office<'_>,
    tx: &mut sqlx::PgConnection,
    row: &ImportRow,
) -> Result<(), ImportError> {
    let (street, by) = (office.street, &office.by);
    let custom: Vec<_> = row
        .plan
        .custom_fields
        .iter()
        .map(plan::CustomFieldReport::declared)
        .collect();
    roll::declare_custom_fields(tx, street, &custom).await?;
    let mut events = vec![
        by.event(Action::Import)
            .with("import", row.import.to_string())
            .with("file_sha256", hex::encode(&row.file_hash))
            .with("custom_fields", custom.len()),
    ];
    if row.plan.grid.is_none() {
        let grid = Grid {
            grid: UNASSIGNED.to_owned(),
            name: UNASSIGNED.to_owned(),
            area: String::new(),
        };
        if store::needs_a_grid(tx, street, row.import).await?
            && streets::insert_grid(tx, street, &grid).await?
        {
            events.push(by.event(Action::Grid).with("grid", UNASSIGNED));
        }
    }
    audit::append(tx, street.into(), office.clock.now(), &events).await?;
    Ok(())
}

/// Writes a sheet at once of which every row is new or says nothing new; proposes any other. A file that was being written goes on.
pub async fn at_once(
    office: &Office<'_>,
    file: bytes::Bytes,
    options: propose::Options,
) -> Result<report::ImportReport, ImportError> {
    let hash: [u8; 32] = Sha256::digest(&file).into();
    let street = office.street;
    let mut conn = office.pool.acquire().await?;
    let unfinished = store::unfinished(&mut conn, street, &hash).await?;
    drop(conn);
    let import = if let Some(import) = unfinished {
        import
    } else {
        let proposed = propose::propose(office, file, options).await?;
        let (Some(import), true) = (proposed.import, proposed.leaves_nothing_to_decide()) else {
            return Ok(proposed);
        };
        import
    };
    // Whoever asks for it at once waits for all of it.
    let row = loop {
        apply(office, import, &Apply::default()).await?;
        let mut conn = office.pool.acquire().await?;
        let row = store::import(&mut conn, street, import)
            .await?
            .ok_or(ImportError::NoImport)?;
        if row.status != Doing::Apply.status() {
            break row;
        }
    };
    let mut conn = office.pool.acquire().await?;
    let problems = store::problems(&mut conn, street, import, report::PROBLEMS_MAX as i64).await?;
    Ok(report::ImportReport::of(row, false, problems))
}

/// Takes back all that an import wrote, as much as time allows. Asked again, it goes on.
pub async fn undo(office: &Office<'_>, import: Uuid) -> Result<(), ImportError> {
    let street = office.street;
    let may = |status: &str| ["applied", "applying", "undoing", "proposed"].contains(&status);
    let (mut tx, row) = opened(office, import, may).await?;
    if row.status != "undoing" {
        // What still waited to be written is not written any more.
        store::unchoose(&mut tx, street, import).await?;
        store::begin_undo(&mut tx, street, import).await?;
        store::set_status(&mut tx, street, import, "undoing").await?;
        let event = office
            .by
            .event(Action::ImportUndone)
            .with("import", import.to_string());
        audit::append(&mut tx, street.into(), office.clock.now(), &[event]).await?;
    }
    tx.commit().await?;
    run(office, import, Doing::Undo).await
}

/// Drops what of a proposal was not written.
pub async fn drop_proposal(office: &Office<'_>, import: Uuid) -> Result<(), ImportError> {
    let street = office.street;
    let may = |status: &str| !["undoing", "dropped"].contains(&status);
    let (mut tx, row) = opened(office, import, may).await?;
    store::drop_open(&mut tx, street, import).await?;
    let written = row.counts.iter().any(|(_, state, _)| state == "written");
    let status = match row.status.as_str() {
        "undone" => "undone",
        _ if written => "applied",
        _ => "dropped",
    };
    store::set_status(&mut tx, street, import, status).await?;
    let event = office
        .by
        .event(Action::ImportDropped)
        .with("import", import.to_string());
    audit::append(&mut tx, street.into(), office.clock.now(), &[event]).await?;
    tx.commit().await?;
    Ok(())
}

/// Which way rows go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Apply,
    Undo,
}

impl Doing {
    fn waiting(self) -> &'static str {
        match self {
            Self::Apply => "chosen",
            Self::Undo => "undoing",
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::Apply => "applying",
            Self::Undo => "undoing",
        }
    }
}

/// Works through the rows that wait, part after part, until none is left or the time of a request is over.
async fn run(office: &Office<'_>, import: Uuid, doing: Doing) -> Result<(), ImportError> {
    let until = tokio::time::Instant::now() + office.at_most;
    loop {
        let more = part(office, import, doing).await?;
        if !more || tokio::time::Instant::now() >= until {
            return Ok(());
        }
    }
}

/// The next rows, in one transaction with what became of them; whether there may be more.
async fn part(office: &Office<'_>, import: Uuid, doing: Doing) -> Result<bool, ImportError> {
    let (street, by, now) = (office.street, &office.by, office.clock.now());
    let mut transaction = StreetTransaction::begin(office.pool, street, now).await?;
    let row = store::uncounted(transaction.tx(), street, import)
        .await?
        .ok_or(ImportError::NoImport)?;
    if row.status != doing.status() {
        return Ok(false);
    }
    let waiting = store::pending(
        transaction.tx(),
        street,
        import,
        doing.waiting(),
        ROWS_AT_ONCE,
    )
    .await?;
    if waiting.is_empty() {
        let open = store::any_open(transaction.tx(), street, import).await?;
        let status = match doing {
            Doing::Undo => "undone",
            Doing::Apply if open => "proposed",
            Doing::Apply => "applied",
        };
        store::set_status(transaction.tx(), street, import, status).await?;
        transaction.commit().await?;
        return Ok(false);
    }
    let more = waiting.len() as i64 == ROWS_AT_ONCE;
    let ends = match doing {
        Doing::Apply => write_part(&mut transaction, street, by, &row, waiting).await?,
        Doing::Undo => undo_part(&mut transaction, by, waiting).await?,
    };
    let named = |end: &RowEnd| Some(serde_json::json!([end.row, end.record?.0, end.seq?]));
    let taken_back = |end: &RowEnd| Some(serde_json::json!([end.row, end.record?.0]));
    let (action, rows): (_, Vec<_>) = match doing {
        Doing::Apply => (Action::Import, ends.iter().filter_map(named).collect()),
        Doing::Undo => (
            Action::ImportUndone,
            ends.iter().filter_map(taken_back).collect(),
        ),
    };
    if !rows.is_empty() {
        let event = by
            .event(action)
            .with("import", import.to_string())
            .with("file", row.file_name.clone())
            .with("sheet", row.plan.sheet.clone())
            .with("rows", rows);
        transaction.audit(event);
    }
    store::end_rows(transaction.tx(), street, import, &ends).await?;
    transaction.commit().await?;
    if more {
        return Ok(true);
    }
    // The last part: where the import stands now is said by a look of its own.
    Box::pin(part(office, import, doing)).await
}

async fn write_part(
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
    let ours: Vec<Uuid> = waiting
        .iter()
        .filter(|row| row.content.export.is_some())
        .filter_map(|row| row.record)
        .collect();
    let wrote = store::wrote(transaction.tx(), street, &ours).await?;
    let (mut ends, mut rows, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen_here: BTreeSet<Vec<u8>> = BTreeSet::new();
    for mut row in waiting {
        let Some(record) = row.record.map(RecordId) else {
            ends.push(ended(&row, "refused", row.content.0.clone()));
            continue;
        };
        row.content.leave_out(&wrote, record);
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
    content.wrote = content.writes();
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
                Some(NoteRefused::Changed) => {
                    content.problems.push(note_changed(row.row.unsigned_abs()));
                }
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
            content.problems.push(note_changed(row.row.unsigned_abs()));
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

/// A note that was written meanwhile, and of which nobody can say any more what the sheet's author saw.
pub(crate) fn note_changed(row: u32) -> ProblemReport {
    ProblemReport::of_row(
        ProblemCode::NoteChanged.as_str(),
        row,
        Some(key::NOTE.to_owned()),
        "备注在导出以后有人改过，而当时的内容已查不到，表里的备注不写入：请看过卡片再改".to_owned(),
        "somebody wrote the note since, and nobody can say any more how it read then: the sheet's note is not written; look at the card, then edit it".to_owned(),
    )
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
    for (nth, person) in content.persons.iter().enumerate() {
        let entry = match content.export {
            Some(export) => added_person_id(export, record, person),
            None => entry(nth),
        };
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

async fn undo_part(
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
            seq: row.seq,
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
        ends.push(RowEnd {
            record: row.record.map(RecordId),
            ..ended(&row, state, content)
        });
    }
    Ok(ends)
}

fn was_created(row: &StoredRow) -> bool {
    row.outcome == "new" || row.content.reasons == ["chosen_new"]
}
