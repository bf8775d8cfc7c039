//! Moving cards to another grid: one, some, or a part of a grid that is split.

use axum::{Json, extract::State};
use lianka_office_core::acts::{Refused, relocate::Relocated};
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
    review::acts::{self, Move, Selection},
    roll::store::MoveFilter,
    state::App,
    street::error::ActError,
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![route(routes!(create), Who::OFFICE, Quick)]
}

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
    let wanted = Move {
        by: principal.desk(),
        selection: selection(&new)?,
        to_grid: to_grid.clone(),
        dry_run: new.dry_run,
    };
    let relocated = acts::relocate(&app.pool, scope.street(), app.clock.now(), wanted).await;
    let Relocated { moved, unchanged } = relocated.map_err(|error| named(&new, error))?;
    let moved = moved.into_iter().map(|record| record.0).collect();
    Ok(Json(MovedView {
        to_grid,
        moved,
        unchanged,
        dry_run: new.dry_run,
    }))
}

/// A record that is not there, where the caller named it first.
fn named(new: &NewMove, error: ActError) -> ApiError {
    let place = |record: RecordId| {
        let records = new.records.as_ref()?;
        records.iter().position(|named| *named == record.0)
    };
    match error {
        ActError::Refused(Refused::NoRecord(record)) => {
            let at = place(record).unwrap_or_default();
            ApiError::invalid_field(format!("records[{at}]"), "exists")
                .detail("没有这条记录。", "There is no such record in this street.")
        }
        error => error.into(),
    }
}

fn selection(new: &NewMove) -> Result<Selection, ApiError> {
    let NewMove {
        road,
        side,
        number_from,
        number_to,
        ..
    } = new;
    let filtered = road.is_some() || side.is_some() || number_from.is_some() || number_to.is_some();
    match (&new.records, &new.from_grid) {
        (Some(records), None) if !filtered => {
            Ok(Selection::Records(records.iter().copied().map(RecordId).collect()))
        }
        (None, Some(from_grid)) => {
            if side.as_deref().is_some_and(|side| !["odd", "even"].contains(&side)) {
                return Err(ApiError::invalid_field("side", "one_of_odd_even"));
            }
            Ok(Selection::Part(MoveFilter {
                grid: from_grid.clone(),
                road: road.clone(),
                side: side.clone(),
                number_from: *number_from,
                number_to: *number_to,
            }))
        }
        _ => Err(ApiError::invalid_field("records", "records_or_from_grid").detail(
            "请给出 records 或 from_grid 之一；road、side、number_from、number_to 只用于 from_grid。",
            "Give either records or from_grid; road, side, number_from and number_to go with from_grid.",
        )),
    }
}
