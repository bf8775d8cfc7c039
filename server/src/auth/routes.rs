//! `/v1/sessions`, `/v1/tokens`, `/.well-known/jwks.json`.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, StatusCode, header},
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::{
    auth::{
        access::{Time::Quick, Who},
        principal::Principal,
        route::{Route, route},
        session::{self, Session, SignIn},
        signing_keys::Key,
        state::Auth,
    },
    http::{error::ApiError, extract::Body},
};

/// The routes of this file.
pub fn table() -> Vec<Route<Auth>> {
    vec![
        route(routes!(sign_in), Who::Anyone, Quick),
        route(routes!(sign_out), Who::EVERY_ROLE, Quick),
        route(routes!(refresh), Who::Anyone, Quick),
        route(routes!(jwks), Who::Anyone, Quick),
    ]
}

/// A password, typed at a desk.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    username: String,
    password: String,
    /// To be set in its place: needed where the answer would be `password_expired`.
    new_password: Option<String>,
    /// What the desk is called in the list of devices.
    name: Option<String>,
}

/// Sign in with a password
///
/// Opens a desk: a device of its own, with tokens. After repeated wrong passwords the name is locked for a while (`rate_limited`), whether or not it
/// exists. A password that is too old, or that an admin gave, is answered with `password_expired`. A desk that is left alone for half an
/// hour is signed out.
#[utoipa::path(post, path = "/v1/sessions", tag = "Signing in", request_body = Login, responses((status = CREATED, body = Session)))]
pub async fn sign_in(
    State(auth): State<Auth>,
    Body(login): Body<Login>,
) -> Result<(StatusCode, Json<Session>), ApiError> {
    let tried = SignIn {
        username: &login.username,
        password: &login.password,
        new_password: login.new_password.as_deref(),
        name: login.name.as_deref(),
    };
    let session = session::sign_in(&auth, tried).await?;
    Ok((StatusCode::CREATED, Json(session)))
}

/// Sign out
///
/// Revokes the device that asks: its tokens are worth nothing from now on. Of a phone, its unsent edits are worth handing over first.
#[utoipa::path(delete, path = "/v1/sessions", tag = "Signing in", responses((status = NO_CONTENT, description = "Signed out")))]
pub async fn sign_out(
    State(auth): State<Auth>,
    principal: Principal,
) -> Result<StatusCode, ApiError> {
    session::sign_out(&auth, &principal).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A refresh token, to be exchanged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    refresh_token: String,
}

/// Exchange a refresh token
///
/// Good once; within 14 days the same token may be exchanged again, as long as none of the tokens given for it was used (the answer may have been
/// lost on the way). Any other second use revokes the device.
#[utoipa::path(post, path = "/v1/tokens", tag = "Signing in", request_body = Refresh, responses((status = OK, body = Session)))]
pub async fn refresh(
    State(auth): State<Auth>,
    Body(refresh): Body<Refresh>,
) -> Result<Json<Session>, ApiError> {
    Ok(Json(session::refresh(&auth, &refresh.refresh_token).await?))
}

/// Public keys of access tokens
///
/// A JWK Set (RFC 7517) of Ed25519 keys (RFC 8037).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "Signing in", responses((status = OK, body = serde_json::Value)))]
pub async fn jwks(
    State(auth): State<Auth>,
) -> Result<([(HeaderName, &'static str); 1], Json<serde_json::Value>), ApiError> {
    let keys = auth.keys.current(&auth).await?;
    let keys: Vec<_> = keys.verifying(auth.clock.now()).map(Key::jwk).collect();
    // A key is published two days before it signs.
    Ok((
        [(header::CACHE_CONTROL, "public, max-age=300")],
        Json(serde_json::json!({ "keys": keys })),
    ))
}
