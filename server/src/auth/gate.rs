//! The gate: no handler runs before it has let the request in.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    http::{HeaderMap, header, request},
    middleware::Next,
    response::Response,
};
use lianka_sync_core::id::StreetCode;

use crate::{
    auth::{
        access::Rule,
        access_token,
        error::AuthError,
        permits::Permit,
        principal::{Principal, StreetScope, admit},
        state::Auth,
        store::devices,
    },
    http::error::{ApiError, ErrorCode},
    state::App,
    store::waits::within,
    street::store::streets,
};

/// What the gate of one route knows.
#[derive(Clone)]
pub struct Gate {
    pub auth: Auth,
    pub rule: Arc<Rule>,
}

/// Middleware before every route: lets in whom the route's row names.
pub async fn gate(
    State(Gate { auth, rule }): State<Gate>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if rule.who.is_anyone() {
        return Ok(next.run(request).await);
    }
    let (principal, _permit) = within(
        auth.config.store.waits.request,
        authenticate(&auth, request.headers()),
    )
    .await?;
    if principal.wipe() && !rule.wiped_devices {
        return Err(ApiError::new(ErrorCode::DeviceRevoked));
    }
    // A device to be wiped must be told, whatever its user has become.
    if !principal.wipe() && !rule.who.admits(principal.role()) {
        return Err(ApiError::new(ErrorCode::WrongRole));
    }
    // What is no text names nothing.
    let params = params.map_err(|_| ApiError::new(ErrorCode::NotFound))?;
    if let Some((_, street)) = params.iter().find(|(name, _)| *name == "street") {
        let street: StreetCode = street
            .parse()
            .map_err(|_| ApiError::new(ErrorCode::NotFound))?;
        let scope = principal.in_street(&street)?;
        if principal.home_street().is_none() {
            within(auth.config.store.waits.request, is_there(&auth, &street)).await?;
        }
        request.extensions_mut().insert(scope);
    }
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}

/// Only an account of the whole deployment can name a street that is none: the home of any other is one.
async fn is_there(app: &App, street: &StreetCode) -> Result<(), ApiError> {
    let found = streets::find_street(&mut *app.pool.acquire().await?, street).await?;
    let unknown =
        || ApiError::new(ErrorCode::NotFound).detail("没有这个街道。", "There is no such street.");
    found.map(drop).ok_or_else(unknown)
}

async fn authenticate(auth: &Auth, headers: &HeaderMap) -> Result<(Principal, Permit), AuthError> {
    let token = bearer(headers).ok_or(AuthError::NoToken)?;
    let claims = access_token::verify(auth, token).await?;
    // Before the store is asked anything: one device must not take all of its connections.
    let permit = auth.permits.take(claims.device).await?;
    let mut conn = auth.pool.acquire().await?;
    let status = devices::status(&mut conn, claims.device, &claims.sub)
        .await?
        .ok_or_else(|| AuthError::TokenInvalid("of no device".to_owned()))?;
    admit(&status)?;
    let principal = Principal::new(claims.sub, claims.device, status);
    Ok((principal, permit))
}

/// The token of the one `Authorization: Bearer …` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::internal("a Principal was asked for on a route open to anyone")
        })
    }
}

impl<S: Sync> FromRequestParts<S> for StreetScope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::internal("a StreetScope was asked for on a route without {street}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn bearer_takes_one_well_formed_header_only() {
        let headers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            headers
        };
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Some("abc"));
        for bad in [
            &[][..],
            &["Bearer "],
            &["Basic abc"],
            &["abc"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(bearer(&headers(bad)), None, "{bad:?}");
        }
    }
}
