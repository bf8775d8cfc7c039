//! The merged roll as a file.

use axum::{extract::State, response::Response};
use lianka_sync_core::{access::Role, id::RecordId, lang::Lang};
use serde::Deserialize;

use utoipa_axum::routes;

use crate::auth::{
    access::{Time::Long, Who},
    route::{Route, route},
};
use crate::{
    audit::{self, Action, Event},
    auth::{Principal, StreetScope},
    http::error::{ApiError, ErrorCode},
    roll::{
        export::{self as roll_export, Exported, Options},
        table_file::{self, FileKind},
    },
    state::App,
};
use crate::{
    http::extract::Query,
    roll::records::{self, CardsQuery},
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(xlsx), Who::ROLL_READERS, Long),
        route(routes!(csv), Who::ROLL_READERS, Long),
    ]
}

/// Which cards to write, and how.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// Only this grid.
    grid: Option<String>,
    /// Only this road.
    road: Option<String>,
    /// Sign name, registered name, address or category; Chinese in either script, full pinyin, or initials.
    q: Option<String>,
    /// Only cards with (`true`) or without (`false`) values in conflict.
    conflict: Option<bool>,
    /// Only cards never confirmed, or last confirmed before this day.
    confirmed_before: Option<String>,
    /// Only cards that were merged into another (`true`), or only those that were not (`false`, default).
    merged: Option<bool>,
    /// `walk` (default), `sign_name`, `confirmed` (longest ago first) or `changed` (last first).
    sort: Option<String>,
    /// Whole telephone numbers instead of masked ones: for reviewers and admins.
    #[serde(default)]
    unmasked: bool,
    /// Language of the headings: `zh` (default) or `en`.
    lang: Option<String>,
}

/// Export the merged roll as a workbook
///
/// What `cards` lists with the same filters, one card a row, with Chinese headings. Telephone numbers are masked. Recorded in the audit trail.
#[utoipa::path(get, path = "/v1/streets/{street}/cards.xlsx", tag = "Roll", params(("street" = String, Path), ExportQuery),
    responses((status = OK, content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", body = Vec<u8>)))]
pub async fn xlsx(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Query(query): Query<ExportQuery>,
) -> Result<Response, ApiError> {
    export(&app, &principal, &scope, query, FileKind::Xlsx).await
}

/// Export the merged roll as delimited text
///
/// As `cards.xlsx`, in UTF-8 with a byte order mark. What begins like a formula, the cell or a part of it behind a separator,
/// gets an apostrophe before it.
#[utoipa::path(get, path = "/v1/streets/{street}/cards.csv", tag = "Roll", params(("street" = String, Path), ExportQuery),
    responses((status = OK, content_type = "text/csv", body = String)))]
pub async fn csv(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Query(query): Query<ExportQuery>,
) -> Result<Response, ApiError> {
    export(&app, &principal, &scope, query, FileKind::Csv).await
}

async fn export(
    app: &App,
    principal: &Principal,
    scope: &StreetScope,
    query: ExportQuery,
    kind: FileKind,
) -> Result<Response, ApiError> {
    if query.unmasked && !matches!(principal.role(), Role::Reviewer | Role::Admin) {
        return Err(ApiError::new(ErrorCode::WrongRole));
    }
    let lang = query
        .lang
        .as_deref()
        .map_or(Ok(Lang::Zh), str::parse)
        .map_err(|_| ApiError::invalid_field("lang", "one_of_zh_en"))?;
    let unmasked = query.unmasked;
    let cards = CardsQuery {
        grid: query.grid,
        road: query.road,
        q: query.q,
        conflict: query.conflict,
        confirmed_before: query.confirmed_before,
        unconfirmed_days: None,
        merged: query.merged,
        sort: query.sort,
        page: None,
        page_size: None,
    };
    let readable =
        records::readable(&mut *app.pool.acquire().await?, scope.street(), principal).await?;
    let options = Options {
        kind,
        filter: cards.filter(readable)?,
        order: cards.order()?,
        unmasked,
        lang,
        username: principal.username().to_owned(),
        export: RecordId::new_v7(
            app.clock.now().unix_ms().unsigned_abs(),
            app.entropy.bytes(),
        )
        .0,
        at: app.clock.now(),
    };
    let Exported { file, cards } = roll_export::write(&app.pool, scope.street(), &options).await?;
    // Told before a byte goes out: a file that was cut off was exported all the same.
    let event = Event::by(principal.username(), principal.device(), Action::Export);
    let event = event
        .with("format", kind.ending())
        .with("cards", cards)
        .with("unmasked", unmasked);
    let (chain, now) = (scope.street().into(), app.clock.now());
    audit::tell(&mut *app.pool.acquire().await?, chain, now, &[event]).await?;
    let file = tokio::task::spawn_blocking(|| file.finish())
        .await
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    Ok(table_file::download(
        file,
        kind,
        &format!("cards-{}", scope.street()),
    ))
}
