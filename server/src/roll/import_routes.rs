//! `POST /v1/streets/{street}/imports`: a roll, previewed or imported.

use axum::{
    Json,
    extract::{Request, State},
};
use serde::Deserialize;

use utoipa_axum::routes;

use crate::auth::{
    access::{Time::Long, Who},
    route::{Route, route},
};
use crate::http::extract::{Query, whole_body};
use crate::{
    auth::{Principal, StreetScope},
    http::error::ApiError,
    http::fields,
    roll::{
        import::{self as roll_import, ImportReport, Options},
        sheet::RollLimits,
    },
    state::App,
    street::queue::StreetQueues,
};

/// The routes of this file.
pub fn table() -> Vec<Route<(App, StreetQueues)>> {
    vec![route(routes!(import), Who::ADMIN, Long)]
}

/// How to import.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// Only report what an import would do.
    #[serde(default)]
    dry_run: bool,
    /// Grid of rows whose own grid the street does not know; absent: 未分配.
    grid: Option<String>,
    /// Name of the file, to be found again by.
    file_name: Option<String>,
}

/// Preview or import a shop roll
///
/// The body is a workbook (.xlsx) or a delimited text (UTF-8, GB18030 or UTF-16). Finds sheet and headings by itself, reports what it doubts
/// by row, and imports everything that can be imported. A second import of the same file changes nothing.
#[utoipa::path(post, path = "/v1/streets/{street}/imports", tag = "Roll", params(("street" = String, Path), ImportQuery),
    request_body(content((Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"), (String = "text/csv"))),
    responses((status = OK, body = ImportReport)))]
pub async fn import(
    State((app, queues)): State<(App, StreetQueues)>,
    principal: Principal,
    scope: StreetScope,
    Query(query): Query<ImportQuery>,
    request: Request,
) -> Result<Json<ImportReport>, ApiError> {
    let file_name = query
        .file_name
        .as_deref()
        .map(|name| fields::text("file_name", name, fields::NAME_CHARS_MAX))
        .transpose()?;
    let limits = RollLimits::default();
    let file = whole_body(request.into_body(), limits.file_bytes_max).await?;
    let options = Options {
        dry_run: query.dry_run,
        grid: query.grid,
        file_name: file_name.unwrap_or_default(),
    };
    Ok(Json(
        roll_import::run(&app, &queues, scope.street(), &principal, file, options).await?,
    ))
}
