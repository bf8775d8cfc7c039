//! AUTH: bearer token → [`Principal`].
//!
//! In: a request and the route it matched. Out: who asks, or a refusal. Also everything that makes tokens: enrolment codes, passwords,
//! refresh chains and signing keys.
//!
//! Invariants:
//! - [`gate`] runs before every matched route and admits only whom [`access::ACCESS`] names; a route without a row there is refused.
//! - Role, street and revocation come from the database at each request, never from the token: a change takes effect at once.
//! - A [`Principal`] is made here and nowhere else, and a [`StreetScope`] only by a principal: whoever holds one has been let in.
//! - Secrets (codes, refresh tokens, passwords) are stored hashed, are never logged, and stand in no error.

pub mod access;
mod access_token;
mod enrolment;
mod lock_out;
mod password;
pub mod routes;
mod session;
mod signing_keys;
pub mod store;

use axum::{
    extract::{
        FromRequestParts, MatchedPath, RawPathParams, Request, State,
        rejection::RawPathParamsRejection,
    },
    http::{HeaderMap, header, request},
    middleware::Next,
    response::Response,
};
use lianka_office_core::acts::Desk;
use lianka_sync_core::{
    access::Role,
    id::{DeviceId, StreetCode},
};

pub use enrolment::{Enrolment, create_enrolment, create_enrolment_by};
pub use lock_out::{change_own_password, reset_password};
pub use session::{
    GridView, Session, SignIn, StreetGridsView, UserView, enrol, refresh, sign_in, sign_out,
};
pub use signing_keys::{Key, SealKey};

use crate::{
    audit::{self, Action, Chain, Event},
    auth::store::{
        accounts::{self, NewAccount},
        devices::{self, Standing},
    },
    clock::{Clock, Entropy},
    config::PasswordRules,
    http::error::{ApiError, ErrorCode},
    http::fields,
    state::App,
    store::waits::within,
    street::store::streets,
    sync::admission::Seat,
};

/// What AUTH keeps in memory: nothing that a second server would miss.
#[derive(Debug)]
pub struct Auth {
    pub(crate) keys: signing_keys::SigningKeys,
    passwords: password::Passwords,
}

impl Auth {
    /// Installs the process's `EdDSA` provider for tokens; the rest fills itself as requests come.
    pub fn new() -> Self {
        access_token::install_provider();
        Self {
            keys: signing_keys::SigningKeys::default(),
            passwords: password::Passwords::new(),
        }
    }

    /// Password hashes made so far. Signing in must cost the same for names that exist and for those that do not.
    pub fn hashes_made(&self) -> u64 {
        self.passwords.made()
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self::new()
    }
}

/// Who asks. Taken by a handler as an extractor; only [`gate`] makes one.
#[derive(Clone, Debug)]
pub struct Principal {
    username: String,
    role: Role,
    device: DeviceId,
    home_street: Option<StreetCode>,
    wipe: bool,
}

impl Principal {
    /// As whoever acts at a desk.
    pub fn desk(&self) -> Desk {
        Desk {
            username: self.username.clone(),
            device: self.device,
            role: self.role,
        }
    }

    /// The account's name.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The account's role now.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The phone or desk that asks: the only device whose changes it may send.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The only street of the account; `None`: every street of the deployment.
    pub fn home_street(&self) -> Option<&StreetCode> {
        self.home_street.as_ref()
    }

    /// The device is revoked and to be wiped: its changes are held, it gets no data. Seen only on routes that [`access::ACCESS`] opens to it.
    pub fn wipe(&self) -> bool {
        self.wipe
    }

    /// What the principal did, for the audit trail.
    pub fn did(&self, action: Action) -> Event {
        Event::by(&self.username, self.device, action)
    }

    /// The right to work in `street`, or `wrong_street`, whether or not there is such a street.
    pub fn in_street(&self, street: &StreetCode) -> Result<StreetScope, ApiError> {
        match &self.home_street {
            Some(home) if home != street => Err(ApiError::new(ErrorCode::WrongStreet)),
            _ => Ok(StreetScope {
                street: street.clone(),
            }),
        }
    }
}

/// Proof that the principal may work in this street.
#[derive(Clone, Debug)]
pub struct StreetScope {
    street: StreetCode,
}

impl StreetScope {
    /// The street.
    pub fn street(&self) -> &StreetCode {
        &self.street
    }
}

/// Middleware before every route: lets in whom the table names, and no one by omission.
pub async fn gate(
    State(app): State<App>,
    path: MatchedPath,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let rule = access::rule(request.method(), path.as_str()).ok_or_else(|| {
        ApiError::internal(format!(
            "{} {} has no row in auth::access::ACCESS",
            request.method(),
            path.as_str()
        ))
    })?;
    if rule.who.is_anyone() {
        return Ok(next.run(request).await);
    }
    let (principal, _seat) = within(
        app.config.store.waits.request,
        authenticate(&app, request.headers()),
    )
    .await?;
    if principal.wipe && !rule.wiped_devices {
        return Err(ApiError::new(ErrorCode::DeviceRevoked));
    }
    // A device to be wiped must be told, whatever its user has become.
    if !principal.wipe && !rule.who.admits(principal.role) {
        return Err(ApiError::new(ErrorCode::WrongRole));
    }
    // What is no text names nothing.
    let params = params.map_err(|_| ApiError::new(ErrorCode::NotFound))?;
    if let Some((_, street)) = params.iter().find(|(name, _)| *name == "street") {
        let street: StreetCode = street
            .parse()
            .map_err(|_| ApiError::new(ErrorCode::NotFound))?;
        let scope = principal.in_street(&street)?;
        if principal.home_street.is_none() {
            within(app.config.store.waits.request, is_there(&app, &street)).await?;
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

async fn authenticate(app: &App, headers: &HeaderMap) -> Result<(Principal, Seat), ApiError> {
    let token = bearer(headers).ok_or_else(|| ApiError::new(ErrorCode::Unauthenticated))?;
    let claims = access_token::verify(app, token).await?;
    // Before the store is asked anything: one device must not take all of its connections.
    let seat = app.admission.seat(claims.device).await?;
    let mut conn = app.pool.acquire().await?;
    let standing = devices::standing(&mut conn, claims.device, &claims.sub)
        .await?
        .ok_or_else(|| ApiError::new(ErrorCode::TokenInvalid))?;
    admit(&standing)?;
    let principal = Principal {
        username: claims.sub,
        role: standing.role,
        device: claims.device,
        home_street: standing.home_street,
        wipe: standing.revoked && standing.wipe,
    };
    Ok((principal, seat))
}

/// Refuses a device that has no business here any more. One that is to be wiped has, even when its user is gone: it must hand over its
/// changes and be told.
fn admit(standing: &Standing) -> Result<(), ApiError> {
    match standing {
        Standing {
            revoked: true,
            wipe: true,
            ..
        } => Ok(()),
        Standing { disabled: true, .. } => Err(ApiError::new(ErrorCode::AccountDisabled)),
        Standing { revoked: true, .. } => Err(ApiError::new(ErrorCode::DeviceRevoked)),
        _ => Ok(()),
    }
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

/// Why [`create_admin`] made no account.
#[derive(Debug, thiserror::Error)]
pub enum CreateAdminError {
    #[error("{field} breaks the rule {rule}: {en} {zh}")]
    Invalid {
        field: String,
        rule: &'static str,
        zh: &'static str,
        en: &'static str,
    },
    #[error("the username is taken: choose another one")]
    Taken,
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error("the password could not be hashed")]
    Hash(#[source] argon2::password_hash::Error),
}

/// Makes an admin of the whole deployment: how the first one comes to be. Takes no `App`, so that it also works beside a running server.
pub async fn create_admin(
    pool: &sqlx::PgPool,
    clock: &Clock,
    entropy: &Entropy,
    username: &str,
    display_name: &str,
    password: String,
) -> Result<(), CreateAdminError> {
    let invalid = |fields::Broken {
                       field,
                       rule,
                       zh,
                       en,
                   }: fields::Broken| CreateAdminError::Invalid {
        field: field.into_owned(),
        rule,
        zh,
        en,
    };
    let username = fields::username("username", username).map_err(invalid)?;
    let display_name =
        fields::text("display_name", display_name, fields::NAME_CHARS_MAX).map_err(invalid)?;
    fields::password("password", &password, &username, &PasswordRules::default())
        .map_err(invalid)?;
    let hash =
        password::hash_blocking(&password, entropy.bytes()).map_err(CreateAdminError::Hash)?;
    let account = NewAccount {
        username: &username,
        display_name: &display_name,
        role: Role::Admin,
        street: None,
        password_hash: Some(&hash),
    };
    let mut tx = pool.begin().await?;
    if !accounts::insert(&mut tx, &account, clock.now()).await? {
        return Err(CreateAdminError::Taken);
    }
    let event = Event::by_server(Action::UserCreated)
        .with("user", username)
        .with("role", Role::Admin.as_str());
    audit::append(&mut tx, Chain::DEPLOYMENT, clock.now(), &[event]).await?;
    Ok(tx.commit().await?)
}

/// Whether the deployment's signing keys can be read; told at the start rather than to the first who signs in.
pub async fn check_keys(app: &App) -> Result<(), ApiError> {
    app.auth.keys.current(app).await.map(drop)
}

/// The key that seals the audit trail now: the one that signs tokens.
pub(crate) async fn seal_key(app: &App) -> Result<SealKey, ApiError> {
    let keys = app.auth.keys.current(app).await?;
    let key = keys
        .signing(app.clock.now())
        .ok_or_else(|| ApiError::internal("no signing key is in force"))?;
    Ok(key.for_seals())
}

/// The argon2id hash of a new account's password.
pub(crate) async fn hash_password(app: &App, password: &str) -> Result<String, ApiError> {
    app.auth.passwords.hash(password, app.entropy.bytes()).await
}

/// Whether `password` is the one that `hash` was made of.
pub(crate) async fn password_matches(
    app: &App,
    password: &str,
    hash: Option<String>,
) -> Result<bool, ApiError> {
    app.auth.passwords.matches(password, hash).await
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
