//! `…/imports`: a roll is proposed, looked at row by row, written, taken back.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Request, State},
};
use lianka_sync_core::{id::RecordId, kinds::projection::CardRow};
use serde::Deserialize;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::{
    access::{
        Time::{Long, Quick},
        Who,
    },
    route::{Route, route},
};
use crate::http::extract::{Body, Page, PageQuery, Paging, Path, Query, whole_body};
use crate::{
    auth::{Principal, StreetScope},
    http::error::{ApiError, ErrorCode},
    http::fields,
    roll::{
        import::{
            self as roll_import, Apply, Office,
            propose::{self, Options},
            report::{CandidateView, ImportReport, RowView},
            store::{self, RowFilter},
        },
        import_file::file_of,
        sheet::RollLimits,
        store as roll,
    },
    state::App,
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(import), Who::OFFICE, Long),
        route(routes!(list), Who::OFFICE, Quick),
        route(routes!(show), Who::OFFICE, Quick),
        route(routes!(rows), Who::OFFICE, Quick),
        route(routes!(apply), Who::OFFICE, Long),
        route(routes!(undo), Who::OFFICE, Long),
        route(routes!(discard), Who::OFFICE, Quick),
    ]
}

fn office<'o>(app: &'o App, principal: &Principal, scope: &'o StreetScope) -> Office<'o> {
    Office {
        pool: &app.pool,
        clock: &app.clock,
        entropy: &app.entropy,
        street: scope.street(),
        by: principal.desk(),
        rows_at_once: app.config.import_parts.rows,
        // The answer has the other half of its time.
        at_most: {
            let whole = app.config.store.waits.request;
            app.config.import_parts.at_most.unwrap_or(whole / 2)
        },
        queues: Some(&app.queues),
    }
}

/// How to import.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// `true`: only say what it would be, and keep nothing. `false`: write at once what leaves nothing to decide, if every row is new or says nothing
    /// new; else propose. Absent: propose.
    dry_run: Option<bool>,
    /// Grid of rows whose own grid the street does not know; absent: 未分配.
    grid: Option<String>,
    /// Name of the file, to be found again by.
    file_name: Option<String>,
}

/// Propose to import a shop roll
///
/// The body is a workbook (.xlsx, .xlsm, .xlsb, .xls, .ods), a table in a web page or XML named .xls, or a delimited text (UTF-8, GB18030, Big5 or
/// UTF-16), alone or as the only file of a form. Finds sheet and headings by itself and says of each row what it is: nothing new, an update
/// (field by field), a new shop, perhaps a shop that the roll has, or nothing that can be read. Nothing is written before somebody applies it. A sheet
/// that came from an export here is compared with what the export said: cells that nobody touched change nothing.
#[utoipa::path(post, path = "/v1/streets/{street}/imports", tag = "Roll", params(("street" = String, Path), ImportQuery),
    request_body(content((Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"), (String = "text/csv"), (Vec<u8> = "multipart/form-data"))),
    responses((status = OK, body = ImportReport)))]
pub async fn import(
    State(app): State<App>,
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
    let (parts, body) = request.into_parts();
    let body = whole_body(body, limits.file_bytes_max).await?;
    let (file, _) = file_of(&parts.headers, body).await?;
    let options = Options {
        dry_run: query.dry_run == Some(true),
        grid: query.grid,
        file_name: file_name.unwrap_or_default(),
    };
    let report = if query.dry_run == Some(false) {
        roll_import::at_once(&office(&app, &principal, &scope), file, options).await?
    } else {
        propose::propose(&office(&app, &principal, &scope), file, options).await?
    };
    Ok(Json(report))
}

/// List imports
///
/// The newest first; those that were dropped are left out.
#[utoipa::path(get, path = "/v1/streets/{street}/imports", tag = "Roll", params(("street" = String, Path), PageQuery),
    responses((status = OK, body = Page<ImportReport>)))]
pub async fn list(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ImportReport>>, ApiError> {
    let paging = Paging::try_from(query)?;
    let mut conn = app.pool.acquire().await?;
    let (imports, total) =
        store::imports(&mut conn, scope.street(), paging.limit(), paging.offset()).await?;
    let mut reports = Vec::with_capacity(imports.len());
    for import in imports {
        if let Some(row) = store::import(&mut conn, scope.street(), import).await? {
            reports.push(ImportReport::of(row, false, Vec::new()));
        }
    }
    Ok(Json(paging.of(reports, total)))
}

/// Show an import
///
/// Where it stands, how many rows there are of each outcome, and what is doubtful about the sheet.
#[utoipa::path(get, path = "/v1/streets/{street}/imports/{import}", tag = "Roll", params(("street" = String, Path), ("import" = Uuid, Path)),
    responses((status = OK, body = ImportReport)))]
pub async fn show(
    State(app): State<App>,
    scope: StreetScope,
    Path((_, import)): Path<(String, Uuid)>,
) -> Result<Json<ImportReport>, ApiError> {
    found(&app, &scope, import).await.map(Json)
}

async fn found(app: &App, scope: &StreetScope, import: Uuid) -> Result<ImportReport, ApiError> {
    let row = store::import(&mut *app.pool.acquire().await?, scope.street(), import).await?;
    let row = row.ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    Ok(ImportReport::of(row, false, Vec::new()))
}

/// Which rows to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RowsQuery {
    /// `unchanged`, `update`, `new`, `likely_same`, `ambiguous` or `skipped`.
    outcome: Option<String>,
    /// `open`, `chosen`, `written`, `unchanged`, `refused`, `undoing`, `undone` or `kept`.
    state: Option<String>,
    page: Option<u32>,
    page_size: Option<u32>,
}

/// List the rows of an import
///
/// In the order of the sheet: what each is, which card and why, field by field what is and what shall be, and what is doubtful.
#[utoipa::path(get, path = "/v1/streets/{street}/imports/{import}/rows", tag = "Roll", params(("street" = String, Path), ("import" = Uuid, Path), RowsQuery),
    responses((status = OK, body = Page<RowView>)))]
pub async fn rows(
    State(app): State<App>,
    scope: StreetScope,
    Path((_, import)): Path<(String, Uuid)>,
    Query(query): Query<RowsQuery>,
) -> Result<Json<Page<RowView>>, ApiError> {
    let paging = Paging::try_from(PageQuery::new(query.page, query.page_size))?;
    found(&app, &scope, import).await?;
    let filter = RowFilter {
        outcome: query.outcome,
        state: query.state,
    };
    let mut conn = app.pool.acquire().await?;
    let (rows, total) = store::rows(
        &mut conn,
        scope.street(),
        import,
        &filter,
        paging.limit(),
        paging.offset(),
    )
    .await?;
    let candidates = rows.iter().flat_map(|row| &row.content.candidates);
    let records: Vec<Uuid> = candidates.map(|candidate| candidate.record.0).collect();
    let cards: HashMap<RecordId, CardRow> = roll::cards(&mut conn, scope.street(), &records)
        .await?
        .into_iter()
        .map(|card| (card.row.record, card.row))
        .collect();
    let views = rows
        .into_iter()
        .map(|row| {
            let named = row.content.candidates.iter().map(|candidate| {
                let card = cards.get(&candidate.record);
                CandidateView {
                    record: candidate.record,
                    reasons: candidate
                        .reasons
                        .iter()
                        .map(|reason| reason.as_str().to_owned())
                        .collect(),
                    sign_name: card.and_then(|card| card.sign_name.clone()),
                    address: card.and_then(|card| card.address_raw.clone()),
                }
            });
            let named = named.collect();
            RowView::of(row, named)
        })
        .collect();
    Ok(Json(paging.of(views, total)))
}

/// Write rows of an import
///
/// All rows that leave nothing to decide, or those that are named, with what is decided for them. Works for some seconds and says where the import
/// stands; while it is `applying`, ask again (with an empty object) to go on. Each row is written once, also after a crash.
#[utoipa::path(post, path = "/v1/streets/{street}/imports/{import}/apply", tag = "Roll", params(("street" = String, Path), ("import" = Uuid, Path)),
    request_body = Apply, responses((status = OK, body = ImportReport)))]
pub async fn apply(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path((_, import)): Path<(String, Uuid)>,
    Body(wanted): Body<Apply>,
) -> Result<Json<ImportReport>, ApiError> {
    roll_import::apply(&office(&app, &principal, &scope), import, &wanted).await?;
    found(&app, &scope, import).await.map(Json)
}

/// Take an import back
///
/// Cards that it made go where nobody worked with them since; fields that it changed read as before where nobody wrote them since. What stays is listed
/// (`state=kept`). While the import is `undoing`, ask again to go on.
#[utoipa::path(post, path = "/v1/streets/{street}/imports/{import}/undo", tag = "Roll", params(("street" = String, Path), ("import" = Uuid, Path)),
    responses((status = OK, body = ImportReport)))]
pub async fn undo(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path((_, import)): Path<(String, Uuid)>,
) -> Result<Json<ImportReport>, ApiError> {
    roll_import::undo(&office(&app, &principal, &scope), import).await?;
    found(&app, &scope, import).await.map(Json)
}

/// Drop a proposal
///
/// Its rows that were not written are forgotten.
#[utoipa::path(delete, path = "/v1/streets/{street}/imports/{import}", tag = "Roll", params(("street" = String, Path), ("import" = Uuid, Path)),
    responses((status = OK, body = ImportReport)))]
pub async fn discard(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path((_, import)): Path<(String, Uuid)>,
) -> Result<Json<ImportReport>, ApiError> {
    roll_import::drop_proposal(&office(&app, &principal, &scope), import).await?;
    found(&app, &scope, import).await.map(Json)
}
