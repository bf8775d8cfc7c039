//! Whether the server lives and whether it can work, for load balancers and operators, on both listeners.

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};

use crate::{app::App, store};

/// A probe waits a few seconds at most, so the answer must be there before.
const READINESS_TIME_MAX: Duration = Duration::from_secs(2);

/// `/healthz` and `/readyz`; they need no token and tell nothing but yes or no.
pub fn routes() -> Router<App> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready))
}

/// Says only that the process answers: restarting it would not bring a lost database back.
async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// 503 while the store does not answer or lacks this program's schema, or the server is stopping: send no traffic here.
async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    if app.stopping.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "stopping" })))
    } else if store::is_ready(&app.pool, READINESS_TIME_MAX).await {
        (StatusCode::OK, Json(json!({ "status": "ready" })))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "unready" })))
    }
}
