//! Lianka's server, as a library: the map of the pipeline.

pub mod app;
pub mod clock;
pub mod config;
pub mod embedded_postgres;
pub mod error;
pub mod health;
pub mod store;
pub mod telemetry;

use axum::{Router, middleware};

use crate::app::App;

/// Every route that phones and desks may call, with all layers on.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(health::routes())
        .layer(telemetry::catch_panic())
        .layer(middleware::from_fn_with_state(app.clone(), telemetry::observe))
        .with_state(app)
}
