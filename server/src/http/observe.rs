//! Around every request: its id, its span, its line in the log, and the net under a panic.
//!
//! A request is known by its route's pattern and by its id, which the response carries as `X-Request-Id`; a caller's own id is kept where it is
//! short and plain, so that a phone or a proxy can be followed through. Never logged: query strings, tokens, bodies, raw paths, addresses.

use std::{any::Any, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument, error, info, info_span};

use crate::{http::error::ApiError, state::App};

/// Carries the request's id in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A caller's id that is longer is replaced: it would be repeated in every line.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The id of the request under way; an extension of every request behind [`observe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

/// Gives the request its id and its span, and writes its line once the response's head is known. The outermost layer.
pub async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = given_id(request.headers().get(REQUEST_ID))
        .unwrap_or_else(|| hex::encode(app.entropy.bytes::<8>()).into());
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let span = info_span!("request", id = &*id, method = %request.method(), route);
    async {
        let mut response = next.run(request).await;
        // A failed health check is answered every few seconds for as long as Postgres is away; the reason has a line of its own.
        let status = response.status();
        let duration_ms = began.elapsed().as_micros() as f64 / 1e3;
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            error!(status = status.as_u16(), duration_ms, "answered");
        } else {
            info!(status = status.as_u16(), duration_ms, "answered");
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }
    .instrument(span)
    .await
}

/// Turns a panic in a handler into an opaque 500; the hook of [`crate::telemetry::init`] has told its place. Goes inside the layer that renders errors.
pub fn catch_panic() -> CatchPanicLayer<fn(Box<dyn Any + Send>) -> Response> {
    CatchPanicLayer::custom(|_| ApiError::internal("a handler panicked").into_response())
}

fn given_id(header: Option<&HeaderValue>) -> Option<Arc<str>> {
    let id = header?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    ((1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)).then(|| id.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_short_plain_id_of_the_caller_is_kept() {
        let kept = |id: &str| given_id(HeaderValue::from_str(id).ok().as_ref());
        assert_eq!(
            kept("0198c0de-7e57.a_b").as_deref(),
            Some("0198c0de-7e57.a_b")
        );
        for id in ["", "a b", "x=1;y", &"a".repeat(65)] {
            assert_eq!(kept(id), None, "{id}");
        }
        assert_eq!(given_id(None), None);
    }
}
