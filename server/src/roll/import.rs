//! Imports of rolls: a sheet becomes a proposal, a person decides, the chosen rows are written like any desk's edits, and all of it can be taken back.
//!
//! In: a file and the street as it stands. Out: rows with what each would change; nothing is written before somebody says so. A sheet that an export
//! here made is compared with what the export said ([`workbook`]); any other is matched against the roll ([`matching`]) and compared field by field
//! ([`diff`]). Rows are written in parts, each with what became of it in one transaction: cut off anywhere, it goes on where it stopped.

pub mod matching;
pub mod plan;
pub mod propose;
pub mod report;
pub mod store;

pub use lianka_office_core::roll::{diff, said, workbook};

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use lianka_office_core::{
    acts::{
        Desk,
        import::{RowUndo, RowUndone, RowWrite, RowWritten, UndoRows, WriteRows},
    },
    roll::rows::{self, At, Row},
};
use lianka_sync_core::{
    crdt::merge::RegisterState,
    id::{ChangeHash, RecordId, StreetCode},
    lang::Lang,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    audit::{self, Action},
    clock::{Clock, Entropy},
    pipeline_point::{PipelinePoint, reached},
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

use diff::Columns;
use plan::{Content, ProblemReport};
use report::TakeWord;
use store::{ImportRow, RowEnd, StoredRow};

/// The grid of rows whose grid the street does not know, until the office moves them.
const UNASSIGNED: &str = "未分配";
/// Why a row is the card that it is: somebody said so, or said that it is a new one.
const CHOSEN: &str = "chosen";
const CHOSEN_NEW: &str = "chosen_new";

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
    #[schema(value_type = std::collections::BTreeMap<String, TakeWord>)]
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
    #[schema(value_type = std::collections::BTreeMap<String, TakeWord>)]
    pub columns: Columns,
    pub choices: Vec<Choice>,
}

/// Where imports are made, and by whom.
pub struct Office<'o> {
    pub pool: &'o PgPool,
    pub clock: &'o Clock,
    pub entropy: &'o Entropy,
    pub street: &'o StreetCode,
    pub by: Desk,
    /// Rows written in one transaction.
    pub rows_at_once: i64,
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
    reached(PipelinePoint::ImportMarked);
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
                content.reasons = vec![CHOSEN.to_owned()];
                Some(card)
            }
            None if choice.new => {
                content.reasons = vec![CHOSEN_NEW.to_owned()];
                Some(at(import, row.row).record())
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
    reached(PipelinePoint::ImportMarked);
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
        office.rows_at_once,
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
    let more = waiting.len() as i64 == office.rows_at_once;
    let ends = match doing {
        Doing::Apply => write_part(&mut transaction, street, by, &row, waiting).await?,
        Doing::Undo => undo_part(&mut transaction, by, waiting).await?,
    };
    reached(PipelinePoint::ImportWritten);
    store::end_rows(transaction.tx(), street, import, &ends).await?;
    reached(PipelinePoint::ImportEnded);
    transaction.commit().await?;
    reached(PipelinePoint::ImportCommitted);
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
        let write = match transaction.state(record) {
            None => create(street, import, &row, record),
            Some(state) => edit(import, &row, record, state),
        };
        writes.push((row.row, write));
        rows.push(row);
    }
    let act = WriteRows {
        by: by.clone(),
        import: import.import,
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
                Some(lianka_sync_core::key::NOTE.to_owned()),
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

/// Where ids of what a row makes come from.
fn at(import: &ImportRow, row: i32) -> At {
    At {
        import: import.import,
        at: import.at.into(),
        row,
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
        changed: &content.changed,
        tags: content.tags.as_ref().map(|(tags, _)| &tags[..]),
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

async fn undo_part(
    transaction: &mut StreetTransaction,
    by: &Desk,
    waiting: Vec<StoredRow>,
) -> Result<Vec<RowEnd>, ImportError> {
    let now = transaction.now();
    let undo = |row: &StoredRow| -> Option<RowUndo> {
        let record = RecordId(row.record?);
        let hash = ChangeHash::from_slice(row.hash.as_deref()?)?;
        let before = row.content.before.clone();
        rows::undo(record, hash, before, was_created(row), now)
    };
    let (mut written, mut undone, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for row in waiting {
        match undo(&row) {
            Some(undo) => {
                undone.push(undo);
                written.push(row);
            }
            None => ends.push(ended(&row, "kept", row.content.0.clone())),
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

/// Whether the row made its card. One that looked new, and that somebody gave to a card, did not.
fn was_created(row: &StoredRow) -> bool {
    match &row.content.reasons[..] {
        [reason] if reason == CHOSEN => false,
        [reason] if reason == CHOSEN_NEW => true,
        _ => row.outcome == "new",
    }
}
