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
pub mod pipeline_point;
pub mod privacy;
pub mod problem;
pub mod review;
pub mod roll;
pub mod state;
pub mod store;
pub mod street;
pub mod sync;
pub mod telemetry;
pub mod transfers;
pub mod upkeep;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, patch, post, put},
};

use crate::{
    admin::{accounts, audit_trail, devices, streets},
    auth::routes as tokens,
    duplicates::routes as duplicate_pairs,
    held::routes as held_changes,
    http::openapi,
    privacy::{erasures, persons},
    review::{conflicts as conflict_inbox, edits as desk_edits, moves},
    roll::{export_routes as exports, import_routes as imports, records},
    state::App,
    sync::routes as sync_stream,
    transfers::routes as transfer_queue,
};

/// Every route that phones and desks may call, with all layers on. Who may call it stands in [`auth::access::ACCESS`].
pub fn router(app: App) -> Router {
    let json = Router::new()
        .route(
            "/v1/sessions",
            post(tokens::sign_in).delete(tokens::sign_out),
        )
        .route("/v1/tokens", post(tokens::refresh))
        .route("/.well-known/jwks.json", get(tokens::jwks))
        .route("/v1/enrolments", post(devices::create_enrolment))
        .route("/v1/devices", post(devices::enrol).get(devices::list))
        .route("/v1/devices/{device}", delete(devices::revoke))
        .route("/v1/users", post(accounts::create).get(accounts::list))
        .route("/v1/users/{username}", patch(accounts::change))
        .route("/v1/users/{username}/password", put(accounts::set_password))
        .route("/v1/streets", post(streets::create).get(streets::list))
        .route("/v1/streets/{street}", get(streets::show))
        .route(
            "/v1/streets/{street}/grids",
            post(streets::create_grid).get(streets::list_grids),
        )
        .route(
            "/v1/streets/{street}/roads",
            post(streets::add_roads).get(streets::list_roads),
        )
        .route(
            "/v1/streets/{street}/assignments/{username}",
            put(accounts::assign).get(accounts::assigned),
        )
        .route("/v1/openapi.json", get(openapi::json))
        .route("/v1/docs", get(openapi::page))
        .route("/v1/docs/page.js", get(openapi::script))
        .route("/v1/streets/{street}/sync", post(sync_stream::sync))
        .route("/v1/streets/{street}/moves", post(moves::create))
        .route("/v1/streets/{street}/held", get(held_changes::list))
        .route(
            "/v1/streets/{street}/held/{held}/accept",
            post(held_changes::accept),
        )
        .route(
            "/v1/streets/{street}/held/{held}/refuse",
            post(held_changes::refuse),
        )
        .route("/v1/streets/{street}/erasures", get(erasures::list))
        .route(
            "/v1/streets/{street}/records/{record}/erase",
            post(erasures::erase),
        )
        .route(
            "/v1/streets/{street}/records/{record}/redact",
            post(erasures::redact),
        )
        .route("/v1/streets/{street}/imports", post(imports::import))
        .route("/v1/streets/{street}/cards", get(records::cards))
        .route("/v1/streets/{street}/records/{record}", get(records::show))
        .route(
            "/v1/streets/{street}/records/{record}/history",
            get(records::history),
        )
        .route("/v1/streets/{street}/records", post(desk_edits::create))
        .route(
            "/v1/streets/{street}/records/{record}/edits",
            post(desk_edits::edit),
        )
        .route(
            "/v1/streets/{street}/records/{record}/resolutions",
            post(conflict_inbox::choose),
        )
        .route("/v1/streets/{street}/conflicts", get(conflict_inbox::list))
        .route(
            "/v1/streets/{street}/conflicts/resolutions",
            post(conflict_inbox::choose_in_bulk),
        )
        .route(
            "/v1/streets/{street}/conflicts/resolutions/{bulk}/undo",
            post(conflict_inbox::undo_bulk),
        )
        .route(
            "/v1/streets/{street}/resolutions",
            get(conflict_inbox::resolutions),
        )
        .route(
            "/v1/streets/{street}/resolutions/{resolution}/undo",
            post(conflict_inbox::undo),
        )
        .route("/v1/streets/{street}/cards.xlsx", get(exports::xlsx))
        .route("/v1/streets/{street}/cards.csv", get(exports::csv))
        .route("/v1/streets/{street}/persons", get(persons::show))
        .route("/v1/streets/{street}/persons.xlsx", get(persons::xlsx))
        .route(
            "/v1/streets/{street}/duplicates",
            get(duplicate_pairs::list),
        )
        .route(
            "/v1/streets/{street}/duplicates/{pair}/merge",
            post(duplicate_pairs::merge),
        )
        .route(
            "/v1/streets/{street}/duplicates/{pair}/dismiss",
            post(duplicate_pairs::dismiss),
        )
        .route("/v1/streets/{street}/merges", get(duplicate_pairs::merges))
        .route(
            "/v1/streets/{street}/merges/{merge}/undo",
            post(duplicate_pairs::undo),
        )
        .route("/v1/streets/{street}/audit", get(audit_trail::list))
        .route(
            "/v1/streets/{street}/audit/verify",
            get(audit_trail::verify),
        )
        .route("/v1/audit", get(audit_trail::list_deployment))
        .route("/v1/audit/verify", get(audit_trail::verify_deployment))
        .route("/v1/streets/{street}/transfers", get(transfer_queue::list))
        .route(
            "/v1/streets/{street}/transfers/{record}",
            get(transfer_queue::show),
        )
        .route(
            "/v1/streets/{street}/transfers/{record}/events",
            post(transfer_queue::act),
        )
        .merge(http::health::routes())
        .layer(DefaultBodyLimit::max(http::JSON_BODY_BYTES_MAX));

    // Layers run from the last to the first: observe, frame, catch_panic, within_time, gate, handler.
    json.route_layer(middleware::from_fn_with_state(app.clone(), auth::gate))
        .route_layer(middleware::from_fn_with_state(
            app.clone(),
            http::within_time,
        ))
        .fallback(http::not_found)
        .method_not_allowed_fallback(http::method_not_allowed)
        .layer(http::observe::catch_panic())
        .layer(middleware::from_fn_with_state(app.clone(), http::frame))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            http::observe::observe,
        ))
        .with_state(app)
}
