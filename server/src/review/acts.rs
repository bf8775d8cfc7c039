//! What a reviewer does to many records at once, or to those that meet a condition: chosen under the street's lock, then one act.

use lianka_office_core::acts::{
    Desk, Refused,
    edit::{Edit, Written},
    relocate::{Relocate, Relocated},
    resolve::{BulkDone, ChooseHarmless, Undo, UndoItem},
};
use lianka_sync_core::{
    crdt::conflict::HarmlessClass,
    id::{RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    pipeline_point::{PipelinePoint, reached},
    review::store::{self, ConflictFilter, ResolutionFilter},
    roll::store::{MoveFilter, cards_to_move},
    street::{error::ActError, transaction::StreetTransaction},
};

/// Records of one move; a greater split is several.
const MOVED_MAX: usize = 2_000;
/// Conflicts of one bulk.
const BULK_MAX: usize = 500;

/// An edit at a desk.
pub async fn edit(
    pool: &PgPool,
    street: &StreetCode,
    now: ServerTime,
    edit: Edit,
) -> Result<Written, ActError> {
    let mut transaction = StreetTransaction::begin(pool, street, now).await?;
    let written = transaction.decide(edit).await??;
    reached(PipelinePoint::DeskComposed);
    transaction.commit().await?;
    reached(PipelinePoint::DeskCommitted);
    Ok(written)
}

/// Which records to move.
#[derive(Debug)]
pub enum Selection {
    Records(Vec<RecordId>),
    /// Cards of a grid.
    Part(MoveFilter),
}

/// A move to another grid.
#[derive(Debug)]
pub struct Move {
    pub by: Desk,
    pub selection: Selection,
    pub to_grid: String,
    pub dry_run: bool,
}

/// Moves all of them, or none.
pub async fn relocate(
    pool: &PgPool,
    street: &StreetCode,
    now: ServerTime,
    wanted: Move,
) -> Result<Relocated, ActError> {
    let mut transaction = StreetTransaction::begin(pool, street, now).await?;
    if !transaction.has_grid(&wanted.to_grid) {
        return Err(Refused::NoGrid.into());
    }
    let (records, from_grid) = match wanted.selection {
        Selection::Records(mut records) => {
            if !(1..=MOVED_MAX).contains(&records.len()) {
                return Err(Refused::HowMany("records").into());
            }
            records.sort_unstable();
            records.dedup();
            (records, None)
        }
        Selection::Part(filter) => {
            if !transaction.has_grid(&filter.grid) {
                return Err(Refused::NoFromGrid.into());
            }
            let limit = MOVED_MAX as i64 + 1;
            let records = cards_to_move(transaction.tx(), street, &filter, limit).await?;
            if records.len() > MOVED_MAX {
                return Err(Refused::HowMany("from_grid").into());
            }
            (records, Some(filter.grid))
        }
    };
    let relocate = Relocate {
        by: wanted.by,
        records,
        from_grid,
        to_grid: wanted.to_grid,
        dry_run: wanted.dry_run,
    };
    let relocated = transaction.decide(relocate).await??;
    transaction.commit().await?;
    Ok(relocated)
}

/// Harmless conflicts to settle.
#[derive(Debug)]
pub struct Harmless {
    pub by: Desk,
    pub class: HarmlessClass,
    pub field: Option<String>,
    pub grid: Option<String>,
    pub note: String,
    pub dry_run: bool,
    /// What the bulk will be known by.
    pub bulk: Uuid,
}

/// Gives every harmless conflict its suggested value, at most `BULK_MAX` at once; whether there are more.
pub async fn choose_harmless(
    pool: &PgPool,
    street: &StreetCode,
    now: ServerTime,
    wanted: Harmless,
) -> Result<(BulkDone, bool), ActError> {
    let filter = ConflictFilter {
        grid: wanted.grid,
        field: wanted.field,
        class: Some(wanted.class.as_str()),
        record: None,
    };
    let mut transaction = StreetTransaction::begin(pool, street, now).await?;
    let limit = BULK_MAX as i64 + 1;
    let mut found = store::harmless(transaction.tx(), street, &filter, limit).await?;
    let more = found.len() > BULK_MAX;
    found.truncate(BULK_MAX);
    let choose = ChooseHarmless {
        by: wanted.by,
        class: wanted.class,
        found,
        note: wanted.note,
        dry_run: wanted.dry_run,
        bulk: wanted.bulk,
    };
    let done = transaction.decide(choose).await??;
    transaction.commit().await?;
    Ok((done, more))
}

/// Undoes every resolution of a bulk that can be.
pub async fn undo_bulk(
    pool: &PgPool,
    street: &StreetCode,
    now: ServerTime,
    by: Desk,
    bulk: Uuid,
    force: bool,
) -> Result<Vec<UndoItem>, ActError> {
    let filter = ResolutionFilter {
        bulk: Some(bulk),
        ..ResolutionFilter::default()
    };
    let mut transaction = StreetTransaction::begin(pool, street, now).await?;
    // A bulk settles no more than that at once.
    let limit = BULK_MAX as i64;
    let (rows, _) = store::resolutions(transaction.tx(), street, &filter, limit, 0).await?;
    let undo = Undo {
        by,
        resolutions: rows.iter().map(|row| row.resolution).collect(),
        bulk: Some(bulk),
        force,
    };
    let items = transaction.decide(undo).await??;
    transaction.commit().await?;
    Ok(items)
}
