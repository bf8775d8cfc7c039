//! Imports of rolls: a sheet becomes a proposal, a person decides, the chosen rows are written like any desk's edits, and all of it can be taken back.
//!
//! In: a file and the street as it stands. Out: rows with what each would change; nothing is written before somebody says so. A sheet that an export
//! here made is compared with what the export said ([`workbook`]); any other is matched against the roll ([`matching`]) and compared field by field
//! ([`diff`]). Rows are written in parts, each with what became of it in one transaction: cut off anywhere, it goes on where it stopped.

pub mod matching;
mod notes;
pub mod plan;
pub mod propose;
pub mod report;
mod rows;
pub mod store;
mod turns;

pub use lianka_office_core::roll::{diff, said, workbook};

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use lianka_office_core::acts::Desk;
use lianka_sync_core::id::{RecordId, StreetCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    audit::{self, Action},
    clock::{Clock, Entropy},
    pipeline_point::{PipelinePoint, reached},
    roll::{sheet::RollError, store as roll},
    street::{
        error::{ActError, MergeError},
        queue::StreetQueues,
        store::records,
    },
};

use diff::Columns;
use report::TakeWord;
use rows::{CHOSEN, CHOSEN_NEW, at};
use store::ImportRow;
use turns::{Doing, run};

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
    /// Rows written in one transaction, at most.
    pub rows_at_once: i64,
    /// How long one call may write before it says how far it came.
    pub at_most: Duration,
    /// Where phones of this process wait for the street; a terminal has none, and the street's row lock orders it.
    pub queues: Option<&'o StreetQueues>,
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
    let row = store::uncounted(&mut tx, office.street, import)
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
    if !chosen.is_empty() {
        marked += store::choose(&mut tx, street, import, &chosen).await?;
    }
    // A hundred thousand rows are not marked while phones wait: what is still to do is written down, and done part by part.
    let all = wanted.rows.is_none() && row.status != "applying";
    let begins = marked > 0 || (all && store::any_decided(&mut tx, street, import).await?);
    row.plan.marking |= all && begins;
    store::set_plan(&mut tx, street, import, &row.plan.0).await?;
    if begins {
        store::set_status(&mut tx, street, import, Doing::Apply.status()).await?;
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
    let cards: Vec<Uuid> = choices
        .values()
        .filter_map(|choice| Some(choice.card?.0))
        .collect();
    let cards = records::load(tx, street, &cards).await?;
    let mut decided = Vec::new();
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
                if !cards.contains_key(&card) {
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
        decided.push((row.row, record, content));
    }
    store::decide_rows(tx, street, import.import, &decided).await?;
    Ok(())
}

/// What the rows need to be there: the street's own columns.
async fn prepare(
    office: &Office<'_>,
    tx: &mut sqlx::PgConnection,
    row: &ImportRow,
) -> Result<(), ImportError> {
    let street = office.street;
    let custom: Vec<_> = row
        .plan
        .custom_fields
        .iter()
        .map(plan::CustomFieldReport::declared)
        .collect();
    roll::declare_custom_fields(tx, street, &custom).await?;
    let event = office
        .by
        .event(Action::Import)
        .with("import", row.import.to_string())
        .with("file_sha256", hex::encode(&row.file_hash))
        .with("custom_fields", custom.len());
    audit::append(tx, street.into(), office.clock.now(), &[event]).await?;
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
    let (mut tx, mut row) = opened(office, import, may).await?;
    if row.status != Doing::Undo.status() {
        // What still waited to be written is not written any more; part by part, as everything is marked.
        row.plan.marking = true;
        store::set_plan(&mut tx, street, import, &row.plan.0).await?;
        store::set_status(&mut tx, street, import, Doing::Undo.status()).await?;
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
    // Most of it before anybody has to wait for the street.
    let (tx, _) = opened(office, import, may).await?;
    tx.rollback().await?;
    let mut conn = office.pool.acquire().await?;
    store::drop_open(&mut conn, street, import).await?;
    drop(conn);
    let (mut tx, row) = opened(office, import, may).await?;
    store::drop_open(&mut tx, street, import).await?;
    let status = match row.status.as_str() {
        "undone" => "undone",
        _ if store::any_written(&mut tx, street, import).await? => "applied",
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
