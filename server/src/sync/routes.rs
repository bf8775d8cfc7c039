//! `POST /v1/streets/{street}/sync`: push and pull in one round trip.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use lianka_sync_core::{codec::wire::Encoding, limits};
use utoipa_axum::routes;

use crate::{
    auth::{
        Principal, StreetScope,
        access::{Time::Long, Who},
        route::{Route, route},
    },
    http::{
        error::{ApiError, ErrorCode, language},
        extract::whole_body,
    },
    sync::{self, Pipeline, RoundTrip, ingest::Packing, respond::Form},
};

/// The routes of this file.
pub fn table() -> Vec<Route<Pipeline>> {
    vec![
        // Whoever has unsent edits may hand them over, whatever their role is by now; records are sent to those alone who edit them. It bounds its
        // own work, after the body has come over a slow line.
        route(routes!(sync), Who::EVERY_ROLE, Long).for_wiped_devices(),
    ]
}

/// Push changes and pull what the device lacks
///
/// Request and response are streams of items, as docs/protocol.md describes: a `hello` and changes up; verdicts, snapshots, changes and an
/// `end` down.
#[utoipa::path(post, path = "/v1/streets/{street}/sync", tag = "Sync", params(("street" = String, Path)),
    request_body(content((String = "application/x-ndjson"), (Vec<u8> = "application/cbor-seq"))),
    responses((status = OK, description = "A stream of items, the last of which is `end`",
        content((String = "application/x-ndjson"), (Vec<u8> = "application/cbor-seq")))))]
pub async fn sync(
    State(app): State<Pipeline>,
    principal: Principal,
    scope: StreetScope,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let encoding = request_encoding(headers)?;
    let packing = request_packing(headers)?;
    let form = Form {
        encoding: response_encoding(headers, encoding)?,
        packing: response_packing(headers),
        lang: language(headers, app.config.lang),
    };
    // Before its body: a device that is kept away costs no more than its token.
    let permit = app
        .admission
        .enter(principal.device(), app.clock.now())
        .await?;
    let body = whole_body(body, limits::SYNC_BODY_BYTES_MAX).await?;
    let trip = RoundTrip {
        street: scope.street().clone(),
        principal,
        body,
        packing,
        encoding,
        form,
    };
    let body: Body = sync::run(app, trip).await?;
    let mut response = permit.around(body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(form.encoding.media_type()),
    );
    headers.insert(
        header::VARY,
        HeaderValue::from_static("accept, accept-encoding, accept-language"),
    );
    if let Some(name) = form.packing.name() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    Ok(response)
}

/// How a request is packed, from its `Content-Encoding`.
fn request_packing(headers: &HeaderMap) -> Result<Packing, ApiError> {
    match headers
        .get(header::CONTENT_ENCODING)
        .map(HeaderValue::as_bytes)
    {
        None | Some(b"identity") => Ok(Packing::Identity),
        Some(b"zstd") => Ok(Packing::Zstd),
        Some(b"gzip") => Ok(Packing::Gzip),
        Some(_) => Err(ApiError::new(ErrorCode::UnsupportedMediaType).detail(
            "Content-Encoding 须为 zstd 或 gzip。",
            "Content-Encoding must be zstd or gzip.",
        )),
    }
}

/// How a response is packed: the best that `Accept-Encoding` allows.
fn response_packing(headers: &HeaderMap) -> Packing {
    let accepts = |name: &str| {
        headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|choice| {
                let mut parts = choice.split(';').map(str::trim);
                let named = parts
                    .next()
                    .is_some_and(|coding| coding.eq_ignore_ascii_case(name));
                let refused = parts.any(|part| {
                    part.strip_prefix("q=")
                        .is_some_and(|q| q.parse() == Ok(0.0_f32))
                });
                named && !refused
            })
    };
    if accepts("zstd") {
        Packing::Zstd
    } else if accepts("gzip") {
        Packing::Gzip
    } else {
        Packing::Identity
    }
}

/// The encoding of a request, from its `Content-Type`.
fn request_encoding(headers: &HeaderMap) -> Result<Encoding, ApiError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type
        .and_then(Encoding::from_media_type)
        .ok_or_else(|| {
            ApiError::new(ErrorCode::UnsupportedMediaType).detail(
                "此处需要 application/x-ndjson 或 application/cbor-seq。",
                "This route takes application/x-ndjson or application/cbor-seq.",
            )
        })
}

/// The encoding of a response: what `Accept` names first, or that of the request.
fn response_encoding(headers: &HeaderMap, request: Encoding) -> Result<Encoding, ApiError> {
    let Some(accept) = headers.get(header::ACCEPT) else {
        return Ok(request);
    };
    let accept = accept.to_str().unwrap_or_default();
    let named = accept.split(',').find_map(Encoding::from_media_type);
    let any = accept.split(',').any(|choice| {
        choice.trim().starts_with("*/*") || choice.trim().starts_with("application/*")
    });
    named
        .or(any.then_some(request))
        .ok_or_else(|| ApiError::new(ErrorCode::NotAcceptable))
}
