//! Moving cards to another grid: one, some, or a part of a grid that is split.

use axum::{Json, extract::State};
use lianka_office_core::acts::{
    Refused,
    relocate::{Relocate, Relocated},
};
use lianka_sync_core::id::RecordId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use utoipa_axum::routes;

use crate::auth::{
    access::{Time::Quick, Who},
    route::{Route, route},
};
use crate::http::extract::Body;
use crate::{
    auth::{Principal, StreetScope},
    http::error::ApiError,
    http::fields,
    roll::store::{self as roll, MoveFilter},
    state::App,
    street::transaction::StreetTransaction,
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![route(routes!(create), Who::OFFICE, Quick)]
}

/// Records of one move; a greater split is several.
const RECORDS_MAX: usize = 2_000;

/// Which cards go where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMove {
    /// These records. Instead of `from_grid`.
    records: Option<Vec<Uuid>>,
    /// Cards of this grid: all of them, or those that the other fields name.
    from_grid: Option<String>,
    /// With `from_grid`: only on this road.
    road: Option<String>,
    /// With `from_grid`: only this side, `odd` or `even`.
    side: Option<String>,
    /// With `from_grid`: only from this house number on.
    number_from: Option<i32>,
    /// With `from_grid`: only up to this house number.
    number_to: Option<i32>,
    to_grid: String,
    /// Only say which cards it would be.
    #[serde(default)]
    dry_run: bool,
}

/// What was moved.
#[derive(Serialize, ToSchema)]
pub struct MovedView {
    to_grid: String,
    moved: Vec<Uuid>,
    /// Records that stand in the grid already.
    unchanged: u64,
    dry_run: bool,
}

/// Move cards to another grid
///
/// All at once, or none. Phones of the old grid send their unsent edits, which are held for a reviewer, and then drop the cards; phones of the new
/// grid get them whole. Splitting a grid: create the new one, move a road or a side, assign it.
#[utoipa::path(post, path = "/v1/streets/{street}/moves", tag = "Roll", request_body = NewMove, params(("street" = String, Path)),
    responses((status = OK, body = MovedView)))]
pub async fn create(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Body(new): Body<NewMove>,
) -> Result<Json<MovedView>, ApiError> {
    let to_grid = fields::grid("to_grid", &new.to_grid)?;
    let (street, now) = (scope.street(), app.clock.now());
    let mut transaction = StreetTransaction::begin(&app.pool, street, now).await?;
    if !transaction.has_grid(&to_grid) {
        return Err(Refused::NoGrid.into());
    }
    let records = chosen(&mut transaction, &scope, &new).await?;
    let relocate = Relocate {
        by: principal.desk(),
        records,
        from_grid: new.from_grid.clone(),
        to_grid: to_grid.clone(),
        dry_run: new.dry_run,
    };
    let relocated = transaction.decide(relocate).await?;
    let Relocated { moved, unchanged } = relocated.map_err(|refused| named(&new, refused))?;
    transaction.commit().await?;
    let moved = moved.into_iter().map(|record| record.0).collect();
    Ok(Json(MovedView {
        to_grid,
        moved,
        unchanged,
        dry_run: new.dry_run,
    }))
}

/// A record that is not there, where the caller named it first.
fn named(new: &NewMove, refused: Refused) -> ApiError {
    let place = |record: RecordId| {
        let records = new.records.as_ref()?;
        records.iter().position(|named| *named == record.0)
    };
    match refused {
        Refused::NoRecord(record) => {
            let at = place(record).unwrap_or_default();
            ApiError::invalid_field(format!("records[{at}]"), "exists")
                .detail("没有这条记录。", "There is no such record in this street.")
        }
        refused => refused.into(),
    }
}

async fn chosen(
    write: &mut StreetTransaction,
    scope: &StreetScope,
    new: &NewMove,
) -> Result<Vec<RecordId>, ApiError> {
    let filtered = new.road.is_some()
        || new.side.is_some()
        || new.number_from.is_some()
        || new.number_to.is_some();
    let too_many = |field: &'static str| {
        Err(ApiError::invalid_field(field, "items_1_2000").detail(
            "一次最多移动 2000 张卡。",
            "At most 2,000 cards at once; narrow it down.",
        ))
    };
    match (&new.records, &new.from_grid) {
        (Some(records), None) if !filtered => {
            if records.is_empty() || records.len() > RECORDS_MAX {
                return too_many("records");
            }
            let mut records: Vec<_> = records.iter().copied().map(RecordId).collect();
            records.sort_unstable();
            records.dedup();
            Ok(records)
        }
        (None, Some(from_grid)) => {
            if !write.has_grid(from_grid) {
                return Err(
                    ApiError::invalid_field("from_grid", "exists").detail("没有这个网格。", "There is no such grid in this street.")
                );
            }
            let side = new.side.as_deref();
            if side.is_some_and(|side| !["odd", "even"].contains(&side)) {
                return Err(ApiError::invalid_field("side", "one_of_odd_even"));
            }
            let filter =
                MoveFilter { grid: from_grid, road: new.road.as_deref(), side, number_from: new.number_from, number_to: new.number_to };
            let street = scope.street().clone();
            let records = roll::cards_to_move(write.tx(), &street, filter, RECORDS_MAX as i64 + 1).await?;
            if records.len() > RECORDS_MAX { too_many("from_grid") } else { Ok(records) }
        }
        _ => Err(ApiError::invalid_field("records", "records_or_from_grid").detail(
            "请给出 records 或 from_grid 之一；road、side、number_from、number_to 只用于 from_grid。",
            "Give either records or from_grid; road, side, number_from and number_to go with from_grid.",
        )),
    }
}
