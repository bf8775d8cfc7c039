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
    admin::{accounts::made, acts},
    auth::{GridView, Principal, StreetScope},
    http::error::ApiError,
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
    let (status, street) = made(acts::create_street(&app, &admin, street).await?);
    Ok((status, Json(street.into())))
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
    Ok(Json(acts::street(&app, &scope).await?.into()))
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
    let (status, grid) = made(acts::create_grid(&app, &admin, &scope, grid).await?);
    Ok((status, Json(grid.into())))
}

/// List grids
#[utoipa::path(get, path = "/v1/streets/{street}/grids", tag = "Streets", params(("street" = String, Path), crate::http::extract::PageQuery),
    responses((status = OK, body = Page<GridView>)))]
pub async fn list_grids(
    State(app): State<App>,
    scope: StreetScope,
    paging: Paging,
) -> Result<Json<Page<GridView>>, ApiError> {
    acts::street(&app, &scope).await?;
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
    let added = acts::add_roads(&app, &admin, &scope, &roads).await?;
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
    acts::street(&app, &scope).await?;
    let mut conn = app.pool.acquire().await?;
    let (roads, total) =
        streets::road_page(&mut conn, scope.street(), paging.limit(), paging.offset()).await?;
    Ok(Json(paging.of(
        roads.into_iter().map(|road| RoadView { road }).collect(),
        total,
    )))
}
