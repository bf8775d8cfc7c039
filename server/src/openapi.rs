//! `/v1/openapi.json` and a page that shows it, without anything from elsewhere.
//!
//! The handlers' annotations say what a route takes and gives; who may call it is added here from the route's row, so that the document cannot
//! promise what [`gate`](crate::auth::gate) does not keep.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
    routing::get,
};
use lianka_sync_core::{
    access::Role,
    kinds::{Field, Kind},
};
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::{
    auth::{
        access::{Rule, Time::Quick, Who},
        route::{Route, undocumented},
    },
    http::error::{ApiError, ErrorCode, Problem},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lianka 联卡",
        description = "Office, admin and token routes. The sync stream is described in docs/protocol.md.\n\nEvery refusal is an RFC 9457 problem document with a stable `code`."
    ),
    components(schemas(Problem))
)]
struct Head;

/// The document's text, or why there is none.
pub type Served = Arc<Result<String, String>>;

/// The document without its routes.
pub fn head() -> utoipa::openapi::OpenApi {
    Head::openapi()
}

/// The routes of this file.
pub fn table() -> Vec<Route<Served>> {
    vec![
        undocumented("/v1/openapi.json", get(text), Who::Anyone, Quick),
        undocumented("/v1/docs", get(page), Who::Anyone, Quick),
        undocumented("/v1/docs/page.js", get(script), Who::Anyone, Quick),
    ]
}

/// What was `described`, with access and refusals on every operation.
pub fn document(
    described: &utoipa::openapi::OpenApi,
    rules: &[Rule],
) -> Result<Value, serde_json::Error> {
    let mut document = serde_json::to_value(described)?;
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
    for rule in rules {
        let Some(operation) = document["paths"]
            .get_mut(&rule.path)
            .and_then(|path| path.get_mut(rule.method.as_str().to_ascii_lowercase()))
        else {
            continue;
        };
        if let Who::Roles(roles) = rule.who {
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
async fn text(State(document): State<Served>) -> Result<Response, ApiError> {
    match &*document {
        Ok(text) => Ok((
            [(header::CONTENT_TYPE, "application/json"), CACHED],
            text.clone(),
        )
            .into_response()),
        Err(error) => Err(ApiError::internal(error.clone())),
    }
}

/// The page.
async fn page() -> impl IntoResponse {
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
async fn script() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
            CACHED,
        ],
        include_str!("openapi/page.js"),
    )
}

const CACHED: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=60");
