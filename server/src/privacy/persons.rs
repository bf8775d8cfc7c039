//! Everything held about one person.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use utoipa_axum::routes;

use crate::auth::{
    access::{
        Time::{Long, Quick},
        Who,
    },
    route::{Route, route},
};
use crate::http::extract::Query;
use crate::{
    audit::{self, Action},
    auth::{Principal, StreetScope},
    http::error::ApiError,
    privacy::person_export::{self, PersonView, Sought},
    roll::table_file::{self, FileKind},
    state::App,
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(show), Who::ADMIN, Quick),
        route(routes!(xlsx), Who::ADMIN, Long),
    ]
}

/// Whom to look for: a number or a name.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PersonQuery {
    /// One telephone number, however it is written.
    phone: Option<String>,
    /// The whole name, at least two characters, in either script.
    name: Option<String>,
}

impl PersonQuery {
    fn sought(&self) -> Result<Sought, ApiError> {
        match (&self.phone, &self.name) {
            (Some(phone), None) => Sought::phone(phone)
                .ok_or_else(|| ApiError::invalid_field("phone", "one_phone_number")),
            (None, Some(name)) if name.chars().count() <= NAME_CHARS_MAX => {
                Sought::name(name).ok_or_else(|| ApiError::invalid_field("name", "length_2_60"))
            }
            (None, Some(_)) => Err(ApiError::invalid_field("name", "length_2_60")),
            _ => Err(ApiError::invalid_field("phone", "phone_or_name")),
        }
    }
}

const NAME_CHARS_MAX: usize = 60;

/// Show everything held about one person
///
/// Contact persons with every concurrent value and their consents, transfers, notes, changes of the log, held edits, and rows of imports,
/// resolutions, notices and remarks that name them. Sensitive fields (P3) included. Recorded in the audit trail, without the number or name.
#[utoipa::path(get, path = "/v1/streets/{street}/persons", tag = "Persons", params(("street" = String, Path), PersonQuery),
    responses((status = OK, body = PersonView)))]
pub async fn show(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Query(query): Query<PersonQuery>,
) -> Result<Response, ApiError> {
    let view = find(&app, &principal, &scope, &query, "json").await?;
    Ok((
        [(axum::http::header::CACHE_CONTROL, "no-store")],
        Json(view),
    )
        .into_response())
}

/// Export everything held about one person as a workbook
///
/// As `persons`, a sheet a list, with Chinese headings.
#[utoipa::path(get, path = "/v1/streets/{street}/persons.xlsx", tag = "Persons", params(("street" = String, Path), PersonQuery),
    responses((status = OK, content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", body = Vec<u8>)))]
pub async fn xlsx(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Query(query): Query<PersonQuery>,
) -> Result<Response, ApiError> {
    let view = find(&app, &principal, &scope, &query, "xlsx").await?;
    let file = tokio::task::spawn_blocking(move || {
        person_export::workbook(&view).and_then(table_file::TableFile::finish)
    });
    let file = file
        .await
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    Ok(table_file::download(
        file,
        FileKind::Xlsx,
        &format!("person-{}", scope.street()),
    ))
}

/// Finds, and tells the trail before anything is shown.
async fn find(
    app: &App,
    principal: &Principal,
    scope: &StreetScope,
    query: &PersonQuery,
    format: &str,
) -> Result<PersonView, ApiError> {
    let sought = query.sought()?;
    let view = person_export::find(&app.pool, scope.street(), &sought).await?;
    let by = if query.phone.is_some() {
        "phone"
    } else {
        "name"
    };
    let event = principal
        .did(Action::PersonExport)
        .with("by", by)
        .with("format", format);
    let event = event
        .with("contacts", view.contacts.len())
        .with("transfers", view.transfers.len())
        .with("logged", view.changes.len());
    let mut events = vec![event];
    events.extend(
        view.sensitive()
            .into_iter()
            .map(|record| principal.did(Action::ReadP3).on(record)),
    );
    let (chain, now) = (scope.street().into(), app.clock.now());
    audit::tell(&mut *app.pool.acquire().await?, chain, now, &events).await?;
    Ok(view)
}
