//! `POST /v1/streets/{street}/sync`: push and pull in one round trip.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use lianka_sync_core::limits;

use utoipa_axum::routes;

use crate::auth::{
    access::{Time::Long, Who},
    route::{Route, route},
};
use crate::{
    auth::{Principal, StreetScope},
    http::{
        error::{ApiError, language},
        extract::whole_body,
    },
    sync::{
        self, Pipeline, RoundTrip,
        ingest::{self, Packing},
        respond::Form,
    },
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
    let encoding = ingest::request_encoding(headers)?;
    let packing = Packing::of_request(headers)?;
    let form = Form {
        encoding: ingest::response_encoding(headers, encoding)?,
        packing: Packing::for_response(headers),
        lang: language(headers, app.config.lang),
    };
    // Before its body: a device that is kept away costs no more than its token.
    let visit = app
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
    let mut response = visit.around(body).into_response();
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
