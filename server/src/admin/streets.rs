//! `/v1/streets`, their grids and roads.

use axum::{Json, extract::State, http::StatusCode};
use lianka_sync_core::id::StreetCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use utoipa_axum::routes;

use crate::auth::{
    access::{Time::Quick, Who},
    route::{Route, route},
};
use crate::http::extract::{Body, Page, Paging};
use crate::{
    audit::{self, Action, Chain},
    auth::{GridView, Principal, StreetScope},
    http::error::{ApiError, ErrorCode},
    http::fields,
    state::App,
    street::store::streets::{self, Grid, Street},
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(create), Who::ADMIN, Quick),
        route(routes!(list), Who::EVERY_ROLE, Quick),
        route(routes!(show), Who::EVERY_ROLE, Quick),
        route(routes!(create_grid), Who::ADMIN, Quick),
        route(routes!(list_grids), Who::EVERY_ROLE, Quick),
        route(routes!(add_roads), Who::ADMIN, Quick),
        route(routes!(list_roads), Who::EVERY_ROLE, Quick),
    ]
}

/// A street office to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStreet {
    /// Division code, nine digits.
    #[schema(example = "310104003")]
    street: String,
    name: String,
    district: String,
}

/// A street office.
#[derive(Serialize, ToSchema)]
pub struct StreetView {
    #[schema(value_type = String, example = "310104003")]
    street: StreetCode,
    name: String,
    district: String,
}

impl From<Street> for StreetView {
    fn from(street: Street) -> Self {
        Self {
            street: street.street,
            name: street.name,
            district: street.district,
        }
    }
}

/// Create a street
///
/// For an admin of the deployment. Repeating it with the same values answers 200, with others 409.
#[utoipa::path(post, path = "/v1/streets", tag = "Streets", request_body = NewStreet,
    responses((status = CREATED, body = StreetView), (status = OK, description = "It was there already", body = StreetView)))]
pub async fn create(
    State(app): State<App>,
    admin: Principal,
    Body(new): Body<NewStreet>,
) -> Result<(StatusCode, Json<StreetView>), ApiError> {
    let street = Street {
        street: fields::street("street", &new.street)?,
        name: fields::text("name", &new.name, fields::NAME_CHARS_MAX)?,
        district: fields::text("district", &new.district, fields::NAME_CHARS_MAX)?,
    };
    // Even its own: a street's admin came after the street.
    if admin.home_street().is_some() {
        return Err(ApiError::new(ErrorCode::WrongStreet));
    }
    let mut tx = app.pool.begin().await?;
    let created = streets::insert_street(&mut tx, &street, app.clock.now()).await?;
    let stored = if created {
        None
    } else {
        streets::find_street(&mut tx, &street.street).await?
    };
    if created {
        let event = admin
            .did(Action::Street)
            .with("street", street.street.as_str());
        audit::append(&mut tx, Chain::DEPLOYMENT, app.clock.now(), &[event]).await?;
    }
    tx.commit().await?;
    Ok((
        created_or_same(&street, stored.as_ref())?,
        Json(street.into()),
    ))
}

/// List streets
#[utoipa::path(get, path = "/v1/streets", tag = "Streets", params(crate::http::extract::PageQuery), responses((status = OK, body = Page<StreetView>)))]
pub async fn list(
    State(app): State<App>,
    principal: Principal,
    paging: Paging,
) -> Result<Json<Page<StreetView>>, ApiError> {
    let mut conn = app.pool.acquire().await?;
    let (streets, total) = streets::street_page(
        &mut conn,
        principal.home_street(),
        paging.limit(),
        paging.offset(),
    )
    .await?;
    Ok(Json(
        paging.of(streets.into_iter().map(Into::into).collect(), total),
    ))
}

/// Show a street
#[utoipa::path(get, path = "/v1/streets/{street}", tag = "Streets", params(("street" = String, Path)), responses((status = OK, body = StreetView)))]
pub async fn show(
    State(app): State<App>,
    scope: StreetScope,
) -> Result<Json<StreetView>, ApiError> {
    Ok(Json(find(&app, &scope).await?.into()))
}

/// The street of the scope; a principal of the deployment may ask for one that is not there.
pub(crate) async fn find(app: &App, scope: &StreetScope) -> Result<Street, ApiError> {
    let street = streets::find_street(&mut *app.pool.acquire().await?, scope.street()).await?;
    street.ok_or_else(|| {
        ApiError::new(ErrorCode::NotFound).detail("没有这个街道。", "There is no such street.")
    })
}

/// A grid to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrid {
    /// The street's own code, 1 to 32 characters without white space and slash.
    grid: String,
    name: String,
    /// The part of the street (片区) that the grid lies in.
    area: String,
}

/// Create a grid
///
/// Repeating it with the same values answers 200, with others 409.
#[utoipa::path(post, path = "/v1/streets/{street}/grids", tag = "Streets", request_body = NewGrid, params(("street" = String, Path)),
    responses((status = CREATED, body = GridView), (status = OK, description = "It was there already", body = GridView)))]
pub async fn create_grid(
    State(app): State<App>,
    admin: Principal,
    scope: StreetScope,
    Body(new): Body<NewGrid>,
) -> Result<(StatusCode, Json<GridView>), ApiError> {
    let grid = Grid {
        grid: fields::grid("grid", &new.grid)?,
        name: fields::text("name", &new.name, fields::NAME_CHARS_MAX)?,
        area: fields::text("area", &new.area, fields::NAME_CHARS_MAX)?,
    };
    find(&app, &scope).await?;
    let mut tx = app.pool.begin().await?;
    let created = streets::insert_grid(&mut tx, scope.street(), &grid).await?;
    let stored = if created {
        None
    } else {
        streets::find_grid(&mut tx, scope.street(), &grid.grid).await?
    };
    if created {
        let event = admin.did(Action::Grid).with("grid", grid.grid.clone());
        audit::append(&mut tx, scope.street().into(), app.clock.now(), &[event]).await?;
    }
    tx.commit().await?;
    Ok((created_or_same(&grid, stored.as_ref())?, Json(grid.into())))
}

/// List grids
#[utoipa::path(get, path = "/v1/streets/{street}/grids", tag = "Streets", params(("street" = String, Path), crate::http::extract::PageQuery),
    responses((status = OK, body = Page<GridView>)))]
pub async fn list_grids(
    State(app): State<App>,
    scope: StreetScope,
    paging: Paging,
) -> Result<Json<Page<GridView>>, ApiError> {
    find(&app, &scope).await?;
    let mut conn = app.pool.acquire().await?;
    let (grids, total) =
        streets::grid_page(&mut conn, scope.street(), paging.limit(), paging.offset()).await?;
    Ok(Json(
        paging.of(grids.into_iter().map(Into::into).collect(), total),
    ))
}

/// One road as `road`, or several as `roads`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoads {
    road: Option<String>,
    roads: Option<Vec<String>>,
}

/// Roads of a street.
#[derive(Serialize, ToSchema)]
pub struct RoadsView {
    roads: Vec<String>,
    /// Those that the street did not have yet.
    added: u64,
}

/// Add roads
///
/// Roads that are there already stay as they are.
#[utoipa::path(post, path = "/v1/streets/{street}/roads", tag = "Streets", request_body = NewRoads, params(("street" = String, Path)),
    responses((status = CREATED, body = RoadsView), (status = OK, description = "All were there already", body = RoadsView)))]
pub async fn add_roads(
    State(app): State<App>,
    admin: Principal,
    scope: StreetScope,
    Body(new): Body<NewRoads>,
) -> Result<(StatusCode, Json<RoadsView>), ApiError> {
    let roads = match (&new.road, &new.roads) {
        (Some(road), None) => vec![fields::text("road", road, fields::NAME_CHARS_MAX)?],
        (None, Some(roads)) => {
            fields::list("roads", roads)?;
            let checked = roads
                .iter()
                .enumerate()
                .map(|(n, road)| fields::text(format!("roads[{n}]"), road, fields::NAME_CHARS_MAX));
            checked.collect::<Result<_, _>>()?
        }
        _ => {
            return Err(ApiError::invalid_field("road", "road_or_roads")
                .detail("请给出 road 或 roads 之一。", "Give either road or roads."));
        }
    };
    find(&app, &scope).await?;
    let mut tx = app.pool.begin().await?;
    let added = streets::insert_roads(&mut tx, scope.street(), &roads).await?;
    if added > 0 {
        let event = admin.did(Action::Road).with("added", added);
        audit::append(&mut tx, scope.street().into(), app.clock.now(), &[event]).await?;
    }
    tx.commit().await?;
    let status = if added > 0 {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(RoadsView { roads, added })))
}

/// A road.
#[derive(Serialize, ToSchema)]
pub struct RoadView {
    road: String,
}

/// List roads
#[utoipa::path(get, path = "/v1/streets/{street}/roads", tag = "Streets", params(("street" = String, Path), crate::http::extract::PageQuery),
    responses((status = OK, body = Page<RoadView>)))]
pub async fn list_roads(
    State(app): State<App>,
    scope: StreetScope,
    paging: Paging,
) -> Result<Json<Page<RoadView>>, ApiError> {
    find(&app, &scope).await?;
    let mut conn = app.pool.acquire().await?;
    let (roads, total) =
        streets::road_page(&mut conn, scope.street(), paging.limit(), paging.offset()).await?;
    Ok(Json(paging.of(
        roads.into_iter().map(|road| RoadView { road }).collect(),
        total,
    )))
}

/// 201 for what was just created, 200 for what was there with the same values, else a refusal.
fn created_or_same<T: PartialEq>(
    wanted: &T,
    stored_before: Option<&T>,
) -> Result<StatusCode, ApiError> {
    match stored_before {
        None => Ok(StatusCode::CREATED),
        Some(stored) if stored == wanted => Ok(StatusCode::OK),
        Some(_) => Err(ApiError::new(ErrorCode::AlreadyExists)),
    }
}
