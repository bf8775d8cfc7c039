//! The pipeline, a line per stage: AUTH (before the handler) → INGEST → MERGE → PROJECT (inside the commit) → RESPOND.

use axum::body::Body;
use bytes::Bytes;
use lianka_sync_core::{id::StreetCode, wire::Encoding};

use crate::{
    app::App,
    auth::Principal,
    error::ApiError,
    ingest::{self, Packing},
    merge::{Author, Push},
    respond::{self, Form, Response},
    store::devices,
};

/// One round trip, as it came.
pub struct RoundTrip {
    pub street: StreetCode,
    pub principal: Principal,
    pub body: Bytes,
    pub packing: Packing,
    pub encoding: Encoding,
    pub form: Form,
}

/// Stores what the phone brings and starts to send what it lacks.
pub async fn run(app: App, trip: RoundTrip) -> Result<Body, ApiError> {
    let RoundTrip { street, principal, body, packing, encoding, form } = trip;
    let request = tokio::task::spawn_blocking(move || ingest::read(&body, packing, encoding)).await.map_err(ApiError::internal)??;
    let author =
        Author { username: principal.username().to_owned(), role: principal.role(), device: principal.device(), wiped: principal.wipe() };
    let outcomes = app.queues.push(&street, Push { author: author.clone(), changes: request.changes }).await?;
    note_sync(&app, &author, &request.hello.client).await?;
    let hello = request.hello;
    respond::start(app, Response { street, author, outcomes, cursor: hello.cursor, pull: hello.pull, form }).await
}

async fn note_sync(app: &App, author: &Author, client: &str) -> Result<(), ApiError> {
    let mut conn = app.pool.acquire().await?;
    Ok(devices::note_sync(&mut conn, author.device, client, app.clock.now()).await?)
}
