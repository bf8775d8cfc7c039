//! `/v1/openapi.json` and a page that shows it, without anything from elsewhere.
//!
//! The handlers' annotations say what a route takes and gives; who may call it is added here from [`access::ACCESS`], so that the document cannot
//! promise what [`gate`](crate::auth::gate) does not keep.

use std::sync::LazyLock;

use axum::{
    http::{HeaderName, header},
    response::IntoResponse,
};
use lianka_sync_core::{
    access::Role,
    kinds::{Field, Kind},
};
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::{
    auth::access::{self, Who},
    http::error::{ErrorCode, Problem},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lianka 联卡",
        description = "Office, admin and token routes. The sync stream is described in docs/protocol.md.\n\nEvery refusal is an RFC 9457 problem document with a stable `code`."
    ),
    paths(
        crate::auth::routes::sign_in,
        crate::auth::routes::sign_out,
        crate::auth::routes::refresh,
        crate::auth::routes::jwks,
        crate::admin::devices::enrol,
        crate::admin::devices::create_enrolment,
        crate::admin::devices::list,
        crate::admin::devices::revoke,
        crate::admin::accounts::create,
        crate::admin::accounts::list,
        crate::admin::accounts::change,
        crate::admin::accounts::set_password,
        crate::admin::accounts::assign,
        crate::admin::accounts::assigned,
        crate::admin::streets::create,
        crate::admin::streets::list,
        crate::admin::streets::show,
        crate::admin::streets::create_grid,
        crate::admin::streets::list_grids,
        crate::admin::streets::add_roads,
        crate::admin::streets::list_roads,
        crate::roll::import_routes::import,
        crate::roll::records::cards,
        crate::roll::records::show,
        crate::roll::records::history,
        crate::roll::export_routes::xlsx,
        crate::roll::export_routes::csv,
        crate::privacy::persons::show,
        crate::privacy::persons::xlsx,
        crate::duplicates::routes::list,
        crate::duplicates::routes::merge,
        crate::duplicates::routes::dismiss,
        crate::duplicates::routes::merges,
        crate::duplicates::routes::undo,
        crate::review::edits::create,
        crate::review::edits::edit,
        crate::review::conflicts::choose,
        crate::review::conflicts::list,
        crate::review::conflicts::choose_in_bulk,
        crate::review::conflicts::undo_bulk,
        crate::review::conflicts::resolutions,
        crate::review::conflicts::undo,
        crate::review::moves::create,
        crate::held::routes::list,
        crate::held::routes::accept,
        crate::held::routes::refuse,
        crate::privacy::erasures::list,
        crate::privacy::erasures::erase,
        crate::privacy::erasures::redact,
        crate::sync::routes::sync,
        crate::transfers::routes::list,
        crate::transfers::routes::show,
        crate::transfers::routes::act,
        crate::admin::audit_trail::list,
        crate::admin::audit_trail::verify,
        crate::admin::audit_trail::list_deployment,
        crate::admin::audit_trail::verify_deployment,
    ),
    components(schemas(Problem))
)]
struct Annotated;

static DOCUMENT: LazyLock<Result<String, serde_json::Error>> =
    LazyLock::new(|| serde_json::to_string(&document()?));

/// The document, with access and refusals on every operation.
pub fn document() -> Result<Value, serde_json::Error> {
    let mut document = serde_json::to_value(Annotated::openapi())?;
    document["components"]["securitySchemes"] =
        json!({ "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } });
    document["x-error-codes"] = ErrorCode::ALL
        .iter()
        .map(|code| {
            let ruling = code.ruling();
            json!({
                "code": ruling.code, "status": ruling.status.as_u16(), "retryable": ruling.retryable,
                "title": { "zh": ruling.title.zh, "en": ruling.title.en }, "advice": { "zh": ruling.advice.zh, "en": ruling.advice.en },
            })
        })
        .collect();
    document["x-roles"] = Role::ALL
        .iter()
        .map(|role| json!({ "role": role.as_str(), "title_zh": role.label_zh() }))
        .collect();
    document["x-fields"] = Kind::ALL
        .iter()
        .flat_map(|kind| {
            kind.fields()
                .iter()
                .map(move |field| field_row(*kind, field))
        })
        .collect();
    for row in access::ACCESS {
        let Some(operation) = document["paths"]
            .get_mut(row.path)
            .and_then(|path| path.get_mut(row.method.as_str().to_ascii_lowercase()))
        else {
            continue;
        };
        if let Who::Roles(roles) = row.who {
            operation["security"] = json!([{ "bearer": [] }]);
            operation["x-roles"] = roles.iter().map(|role| Role::as_str(*role)).collect();
        } else {
            operation["security"] = json!([]);
        }
        operation["responses"]["default"] = json!({
            "description": "Refused",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
    }
    Ok(document)
}

/// Who may write a field, when the record is created and later: what [`lianka_sync_core::access`] enforces on phone and server.
fn field_row(kind: Kind, field: &Field) -> Value {
    let roles = |roles: &[Role]| -> Value { roles.iter().map(|role| role.as_str()).collect() };
    json!({
        "kind": kind.as_str(), "key": field.pattern(), "label_zh": field.label_zh, "label_en": field.label_en,
        "class": format!("{:?}", field.class), "creators": roles(field.creators), "editors": roles(field.editors),
    })
}

/// The document as served.
pub async fn json() -> Result<impl IntoResponse, crate::http::error::ApiError> {
    let text = DOCUMENT
        .as_deref()
        .map_err(|error| crate::http::error::ApiError::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json"), CACHED], text))
}

/// The page.
pub async fn page() -> impl IntoResponse {
    const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; \
                          form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        CACHED,
    ];
    (headers, include_str!("openapi/page.html"))
}

/// Its script, a file of its own so that the content security policy can forbid every other.
pub async fn script() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
            CACHED,
        ],
        include_str!("openapi/page.js"),
    )
}

const CACHED: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=60");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_operation_has_a_row_in_the_access_table() {
        let document = document().unwrap();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                assert!(operation.get("security").is_some(), "{method} {path}");
            }
        }
    }

    #[test]
    fn every_v1_route_is_documented() {
        let document = document().unwrap();
        for row in access::ACCESS
            .iter()
            .filter(|row| row.path.starts_with("/v1/") && !row.path.starts_with("/v1/docs"))
        {
            let operation = &document["paths"][row.path][row.method.as_str().to_ascii_lowercase()];
            assert!(
                row.path == "/v1/openapi.json" || operation.is_object(),
                "{} {}",
                row.method,
                row.path
            );
        }
    }

    #[test]
    fn references_lead_somewhere() {
        let document = document().unwrap();
        let text = document.to_string();
        for reference in text
            .split("\"$ref\":\"#")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
