//! HTTP: routes only extract, call and render; what every answer has in common is [`frame`].

pub mod error;
pub mod extract;
pub mod fields;
pub mod observe;

use std::time::Duration;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Level;

use crate::{
    config::Lang,
    http::{
        error::{ApiError, ErrorCode, Unrendered, language},
        observe::RequestId,
    },
    state::App,
};

/// Longest body of a JSON route. Streams and files bring limits of their own.
pub const JSON_BODY_BYTES_MAX: usize = 64 * 1024;

/// Around every route, inside [`observe::observe`]: renders a refusal, logs it once, and sets the headers that
/// every answer has.
pub async fn frame(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = request
        .extensions()
        .get::<RequestId>()
        .map_or_else(String::new, |id| id.0.to_string());
    let language = language(request.headers(), app.config.lang);
    let secure = came_by_tls(request.headers());
    let response = next.run(request).await;
    let mut response = match response.extensions().get::<Unrendered>().cloned() {
        Some(Unrendered(error)) => {
            log(&error);
            render(response, &error, language, &id)
        }
        None => response,
    };
    add_common_headers(response.headers_mut());
    if secure {
        response.headers_mut().insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000; includeSubDomains"),
        );
    }
    response
}

/// Whether the proxy says that the browser came by TLS. Whoever lies about it only gets a header that browsers pass over without TLS.
fn came_by_tls(headers: &HeaderMap) -> bool {
    let mut said = headers
        .get_all(HeaderName::from_static("x-forwarded-proto"))
        .iter();
    matches!((said.next(), said.next()), (Some(proto), None) if proto == "https")
}

fn log(error: &ApiError) {
    let ruling = error.code().ruling();
    let (code, cause) = (ruling.code, error.causes());
    match ruling.level {
        Level::ERROR => tracing::error!(code, cause, "failed"),
        Level::WARN => tracing::warn!(code, cause, "refused"),
        Level::INFO => tracing::info!(code, cause, "refused"),
        _ => tracing::debug!(code, cause, "refused"),
    }
}

fn render(response: Response, error: &ApiError, language: Lang, id: &str) -> Response {
    let (parts, _) = response.into_parts();
    let mut rendered = (parts.status, Json(error.problem(language, id))).into_response();
    let headers = rendered.headers_mut();
    for (name, value) in &parts.headers {
        if name != header::CONTENT_LENGTH {
            headers.insert(name.clone(), value.clone());
        }
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(
        header::CONTENT_LANGUAGE,
        HeaderValue::from_static(if language == Lang::Zh { "zh" } else { "en" }),
    );
    headers.insert(header::VARY, HeaderValue::from_static("accept-language"));
    rendered
}

fn add_common_headers(headers: &mut HeaderMap) {
    const SAFE: [(HeaderName, &str); 5] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        // Tokens and personal data: nothing is kept on the way, unless a route says that it may.
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in SAFE {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

/// How long a route may make its caller wait.
#[derive(Clone, Copy)]
pub struct Within(pub Duration);

/// Around the gate and the handler of a route: an answer begins in time, whatever Postgres does.
pub async fn within_time(
    State(Within(limit)): State<Within>,
    request: Request,
    next: Next,
) -> Response {
    let late = |_| {
        ApiError::new(ErrorCode::Unavailable)
            .because("no answer was ready in time")
            .into_response()
    };
    tokio::time::timeout(limit, next.run(request))
        .await
        .unwrap_or_else(late)
}

/// Nothing has this path.
pub async fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound)
}

/// The path is there, the method is not; the router adds `Allow`.
pub async fn method_not_allowed() -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed)
}
