//! Whether the server lives and whether it can work, for load balancers and operators, on both listeners.

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    auth::{
        access::{Time::Quick, Who},
        route::{Route, undocumented},
    },
    state::App,
    store::readiness::Readiness,
    upkeep::supervisor::Reports,
};

/// A probe waits a few seconds at most, so the answer must be there before.
const READINESS_TIME_MAX: Duration = Duration::from_secs(2);

/// `/healthz` and `/readyz` for everybody; they need no token and tell nothing but yes or no.
pub fn table() -> Vec<Route<App>> {
    vec![
        undocumented("/healthz", get(alive), Who::Anyone, Quick),
        undocumented("/readyz", get(ready), Who::Anyone, Quick),
    ]
}

/// The same for operators, who are told why not, and how the background passes do.
pub fn operators(app: App, passes: Reports) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready_or_why))
        .with_state((app, passes))
}

/// Says only that the process answers: restarting it would not bring a lost database back.
async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// 503 while the store would not take an edit, or the server is stopping: send no traffic here.
async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let (status, word, _) = readiness_of(&app).await;
    (status, Json(json!({ "status": word })))
}

/// A pass that is silent makes nobody unready: edits are taken all the same.
async fn ready_or_why(State((app, passes)): State<(App, Reports)>) -> (StatusCode, Json<Value>) {
    let (status, word, found) = readiness_of(&app).await;
    let mut body = json!({ "status": word });
    if let Some(found) = found.filter(|found| *found != Readiness::Ready) {
        body["reason"] = found.as_str().into();
        body["advice"] = found.advice().into();
    }
    let now = Instant::now();
    let all = passes.all();
    for (name, report) in &all {
        body["passes"][*name] = json!({
            "succeeded_s_ago": now.saturating_duration_since(report.succeeded).as_secs(),
            "runs": report.runs, "failures": report.failures, "panics": report.panics, "failing": report.failing,
        });
    }
    let silent: Vec<_> = all
        .iter()
        .filter(|(_, report)| report.is_silent(now))
        .map(|(name, _)| *name)
        .collect();
    if !silent.is_empty() {
        body["silent_passes"] = silent.into();
    }
    (status, Json(body))
}

async fn readiness_of(app: &App) -> (StatusCode, &'static str, Option<Readiness>) {
    if app.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping", None);
    }
    match app.store.ask(READINESS_TIME_MAX).await {
        Readiness::Ready => (StatusCode::OK, "ready", Some(Readiness::Ready)),
        found => (StatusCode::SERVICE_UNAVAILABLE, "unready", Some(found)),
    }
}
