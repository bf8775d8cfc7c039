//! Lianka's server, as a library: the map of the pipeline.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod clock;
pub mod config;
pub mod duplicates;
pub mod edge;
pub mod embedded_postgres;
pub mod held;
pub mod http;
pub mod openapi;
pub mod pipeline_point;
pub mod privacy;
pub mod problem;
mod refusals;
pub mod review;
pub mod roll;
pub mod router;
pub mod state;
pub mod store;
pub mod street;
pub mod sync;
pub mod telemetry;
pub mod transfers;
pub mod upkeep;
mod web_app;

pub use router::{Server, document, router, rules};
