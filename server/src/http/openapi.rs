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
    authority::Role,
    catalogue::{Field, Kind},
};
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::{
    auth::access::{self, Who},
    error::{ErrorCode, Problem},
    http,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lianka 联卡",
        description = "Office, admin and token routes. The sync stream is described in docs/protocol.md.\n\nEvery refusal is an RFC 9457 problem document with a stable `code`."
    ),
    paths(
        http::tokens::sign_in,
        http::tokens::sign_out,
        http::tokens::refresh,
        http::tokens::jwks,
        http::devices::enrol,
        http::devices::create_enrolment,
        http::devices::list,
        http::devices::revoke,
        http::accounts::create,
        http::accounts::list,
        http::accounts::change,
        http::accounts::set_password,
        http::accounts::assign,
        http::accounts::assigned,
        http::streets::create,
        http::streets::list,
        http::streets::show,
        http::streets::create_grid,
        http::streets::list_grids,
        http::streets::add_roads,
        http::streets::list_roads,
        http::imports::import,
        http::records::cards,
        http::records::show,
        http::records::history,
        http::exports::xlsx,
        http::exports::csv,
        http::persons::show,
        http::persons::xlsx,
        http::duplicates::list,
        http::duplicates::merge,
        http::duplicates::dismiss,
        http::duplicates::merges,
        http::duplicates::undo,
        http::edits::create,
        http::edits::edit,
        http::conflicts::choose,
        http::conflicts::list,
        http::conflicts::choose_in_bulk,
        http::conflicts::undo_bulk,
        http::conflicts::resolutions,
        http::conflicts::undo,
        http::moves::create,
        http::held::list,
        http::held::accept,
        http::held::refuse,
        http::erasures::list,
        http::erasures::erase,
        http::erasures::redact,
        http::sync::sync,
        http::transfers::list,
        http::transfers::show,
        http::transfers::act,
        http::audit::list,
        http::audit::verify,
        http::audit::list_deployment,
        http::audit::verify_deployment,
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

/// Who may write a field, when the record is created and later: what [`lianka_sync_core::authority`] enforces on phone and server.
fn field_row(kind: Kind, field: &Field) -> Value {
    let roles = |roles: &[Role]| -> Value { roles.iter().map(|role| role.as_str()).collect() };
    json!({
        "kind": kind.as_str(), "key": field.pattern(), "label_zh": field.label_zh, "label_en": field.label_en,
        "class": format!("{:?}", field.class), "creators": roles(field.creators), "editors": roles(field.editors),
    })
}

/// The document as served.
pub async fn json() -> Result<impl IntoResponse, crate::error::ApiError> {
    let text = DOCUMENT
        .as_deref()
        .map_err(|error| crate::error::ApiError::internal(error.to_string()))?;
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
