//! Access tokens: JWT (RFC 7519) signed with Ed25519 (RFC 8037), and nothing else.
//!
//! In: who, from where, for how long. Out: a compact token; and back, claims whose signature, algorithm, key, issuer, audience and expiry hold.
//! The claims say who the bearer was when the token was made; what they may do now is the database's word.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use lianka_sync_core::{
    access::Role,
    id::{DeviceId, StreetCode},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    auth::{
        error::{AuthError, KeyError},
        signing_keys::KeySet,
        state::Auth,
        store::accounts::Account,
    },
    state::App,
};

const ISSUER: &str = "lianka";
const AUDIENCE: &str = "lianka";
/// Ours have about 500 bytes; nobody should make us decode a book.
const TOKEN_BYTES_MAX: usize = 4096;

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    iss: String,
    aud: String,
    /// Username.
    pub sub: String,
    pub device: DeviceId,
    role: Role,
    street: Option<StreetCode>,
    iat: i64,
    exp: i64,
    jti: Uuid,
}

/// A token for `account` on `device` that lives as configured, at most `lifetime_max`; and the seconds it lives.
pub fn issue(
    app: &App,
    keys: &KeySet,
    account: &Account,
    device: DeviceId,
    lifetime_max: Duration,
) -> Result<(String, u64), AuthError> {
    let now = app.clock.now();
    let lifetime_s = app.config.access_token_lifetime.min(lifetime_max).as_secs();
    let key = keys.signing(now).ok_or(KeyError::NoneInForce)?;
    let claims = Claims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: account.username.clone(),
        device,
        role: account.role,
        street: account.street.clone(),
        iat: now.unix_seconds(),
        exp: now.unix_seconds() + lifetime_s as i64,
        jti: uuid::Builder::from_unix_timestamp_millis(now.unix_ms() as u64, &app.entropy.bytes())
            .into_uuid(),
    };
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(key.kid.clone());
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(key.seed()))?;
    Ok((token, lifetime_s))
}

/// The claims of a token that this deployment signed and that has not expired.
pub async fn verify(auth: &Auth, token: &str) -> Result<Claims, AuthError> {
    let refuse = |why: &str| AuthError::TokenInvalid(why.to_owned());
    if token.len() > TOKEN_BYTES_MAX {
        return Err(refuse("too long"));
    }
    // Read before it is verified: only to choose a key of ours by name.
    let header = jsonwebtoken::decode_header(token).map_err(|_| refuse("unreadable header"))?;
    if header.alg != Algorithm::EdDSA {
        return Err(refuse("algorithm"));
    }
    let kid = header.kid.ok_or_else(|| refuse("no key id"))?;
    let now = auth.clock.now();
    let key = auth
        .keys
        .verifying(auth, &kid)
        .await?
        .ok_or_else(|| refuse("unknown key"))?;
    let claims =
        jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ed_der(&key), &validation())
            .map_err(|error| refuse(&error.to_string()))?
            .claims;
    if claims.exp <= now.unix_seconds() {
        return Err(AuthError::TokenExpired);
    }
    Ok(claims)
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    // The library asks the machine's clock; `verify` asks the App's.
    validation.validate_exp = false;
    validation
}
