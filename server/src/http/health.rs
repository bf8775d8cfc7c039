//! Whether the server lives and whether it can work, for load balancers and operators, on both listeners.

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};

use crate::{state::App, store::readiness::Readiness};

/// A probe waits a few seconds at most, so the answer must be there before.
const READINESS_TIME_MAX: Duration = Duration::from_secs(2);

/// `/healthz` and `/readyz` for everybody; they need no token and tell nothing but yes or no.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
}

/// The same for operators, who are told why not.
pub fn operators() -> Router<App> {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready_or_why))
}

/// Says only that the process answers: restarting it would not bring a lost database back.
async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// 503 while the store would not take an edit, or the server is stopping: send no traffic here.
async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let (status, word, _) = standing(&app).await;
    (status, Json(json!({ "status": word })))
}

async fn ready_or_why(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let (status, word, found) = standing(&app).await;
    let why = found.filter(|found| *found != Readiness::Ready);
    let body = why
        .map(|found| json!({ "status": word, "reason": found.as_str(), "advice": found.advice() }));
    (
        status,
        Json(body.unwrap_or_else(|| json!({ "status": word }))),
    )
}

async fn standing(app: &App) -> (StatusCode, &'static str, Option<Readiness>) {
    if app.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping", None);
    }
    match app.store.ask(READINESS_TIME_MAX).await {
        Readiness::Ready => (StatusCode::OK, "ready", Some(Readiness::Ready)),
        found => (StatusCode::SERVICE_UNAVAILABLE, "unready", Some(found)),
    }
}
