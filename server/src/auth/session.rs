//! Sessions: how a device comes to hold tokens, and keeps holding them.
//!
//! In: an enrolment code, a password, or a refresh token. Out: a [`Session`], the same shape for all three.
//!
//! A device holds a chain of refresh tokens, each good for one exchange. Seeing a spent one again means that two parties hold the chain,
//! so the device is revoked. One case is honest: the answer was lost on the way and the phone asks again with the token it has. So the same
//! token may be exchanged again within a fortnight, as long as none of the tokens given for it has been used; the first of them that is used
//! spends the others, so a thief and a phone cannot both go on.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use lianka_sync_core::{
    access::Role,
    id::{DeviceId, StreetCode},
    time::ServerTime,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{
    audit::{self, Action, Chain, Event},
    auth::{
        access_token, enrolment,
        error::AuthError,
        lock_out,
        principal::{Principal, admit},
        signing_keys::KeySet,
        state::Auth,
        store::{
            accounts::{self, Account},
            devices,
            tokens::{self, RefreshToken},
        },
    },
    http::fields::{self, Broken},
    pipeline_point::{PipelinePoint, reached},
    state::App,
    street::store::streets::{self, StreetGrids},
};

/// How long after an exchange the same token may be exchanged again, while nothing given for it was used: an answer lost in a cellar may be
/// missed for days. It opens no door: of two parties that hold a chain, the second to use its part is found out all the same.
const GRACE_MS: i64 = 14 * 86_400_000;
/// How long a spent token is remembered: one shown later is refused, but gives no alarm.
const SPENT_KEPT_MS: i64 = 30 * 86_400_000;
/// Where a password was typed, and the platform that no phone may claim.
const DESK: &str = "desk";

/// Tokens of a device, and what its user works on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    #[schema(value_type = String, format = Uuid)]
    pub device_id: DeviceId,
    /// Bearer token, a JWT.
    pub access_token: String,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    /// Good for one exchange at `POST /v1/tokens`.
    pub refresh_token: String,
    pub user: UserView,
    /// Secretaries: their grids. Others: every grid of the streets they oversee.
    pub streets: Vec<StreetGridsView>,
}

/// Who signed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    pub username: String,
    pub display_name: String,
    #[schema(value_type = String)]
    pub role: Role,
}

/// A street and grids of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreetGridsView {
    #[schema(value_type = String, example = "310104003")]
    pub street: StreetCode,
    pub name: String,
    pub district: String,
    pub grids: Vec<GridView>,
}

/// A grid.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct GridView {
    pub grid: String,
    pub name: String,
    pub area: String,
}

impl From<streets::Grid> for GridView {
    fn from(grid: streets::Grid) -> Self {
        Self {
            grid: grid.grid,
            name: grid.name,
            area: grid.area,
        }
    }
}

impl From<StreetGrids> for StreetGridsView {
    fn from(StreetGrids { street, grids }: StreetGrids) -> Self {
        Self {
            street: street.street,
            name: street.name,
            district: street.district,
            grids: grids.into_iter().map(Into::into).collect(),
        }
    }
}

/// Spends an enrolment code for a new device. Unknown, used and expired codes are refused alike.
pub async fn enrol(
    auth: &Auth,
    code: &str,
    name: &str,
    platform: &str,
) -> Result<Session, AuthError> {
    let name = fields::text("name", name, fields::NAME_CHARS_MAX)?;
    let platform = fields::text("platform", platform, 32)?;
    if platform == DESK {
        return Err(AuthError::Field(Broken {
            field: "platform".into(),
            rule: "reserved",
            zh: "desk 仅用于密码登录。",
            en: "desk is for signing in by password.",
        }));
    }
    let now = auth.clock.now();
    let keys = auth.keys.current(auth).await?;
    let mut tx = auth.pool.begin().await?;
    let Some(username) = tokens::spend_enrolment(&mut tx, &enrolment::hash(code), now).await?
    else {
        drop(tx);
        return Err(lock_out::count_code(auth, now).await?);
    };
    let opened = Opened {
        username: &username,
        name: &name,
        platform: &platform,
        action: Action::DeviceEnrolled,
    };
    let session = open(auth, &keys, &mut tx, opened, now).await?;
    tx.commit().await?;
    Ok(session)
}

/// A password, typed at a desk.
#[derive(Clone, Copy)]
pub struct SignIn<'a> {
    pub username: &'a str,
    pub password: &'a str,
    /// To be set in its place.
    pub new_password: Option<&'a str>,
    /// What the desk is called.
    pub name: Option<&'a str>,
}

/// Opens a desk with a password. An unknown user, one without a password, a disabled one and a wrong password are refused alike, after the
/// same work.
pub async fn sign_in(auth: &Auth, tried: SignIn<'_>) -> Result<Session, AuthError> {
    let name = fields::text("name", tried.name.unwrap_or(DESK), fields::NAME_CHARS_MAX)?;
    // Something that cannot be a username is an unknown user too; Postgres is not asked, because it refuses some such texts.
    let username = fields::username("username", tried.username).ok();
    let account = lock_out::try_password(auth, username.as_deref(), tried.password).await?;
    let username = username.ok_or(AuthError::BadCredentials)?;
    let now = auth.clock.now();
    let new_hash = match tried.new_password {
        Some(new) => Some(lock_out::replace_password(auth, &username, tried.password, new).await?),
        None if account.must_change || is_too_old(auth, account.set_at, now) => {
            return Err(AuthError::PasswordExpired);
        }
        None => None,
    };
    let keys = auth.keys.current(auth).await?;
    let mut tx = auth.pool.begin().await?;
    lock_out::hold(&mut tx, &username, &account, now).await?;
    if let Some(hash) = &new_hash {
        accounts::set_password(&mut tx, &username, hash, false, now).await?;
        devices::revoke_desks(&mut tx, &username, None, now).await?;
    }
    let action = if new_hash.is_some() {
        Action::PasswordChanged
    } else {
        Action::SignIn
    };
    let session = open(
        auth,
        &keys,
        &mut tx,
        Opened {
            username: &username,
            name: &name,
            platform: DESK,
            action,
        },
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(session)
}

/// Ends the session of the device that asks, whose tokens are worth nothing from then on.
pub async fn sign_out(app: &App, principal: &Principal) -> sqlx::Result<()> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    devices::revoke(&mut tx, None, principal.device(), false, now).await?;
    tokens::spend_refresh_tokens(&mut tx, principal.device(), None, now, kept_since(now)).await?;
    let event = principal
        .did(Action::DeviceRevoked)
        .with("device", principal.device().to_string());
    audit::append(&mut tx, Chain::of(principal.home_street()), now, &[event]).await?;
    tx.commit().await
}

fn is_too_old(app: &App, set_at: ServerTime, now: ServerTime) -> bool {
    app.config
        .passwords
        .age_max
        .is_some_and(|age| now.unix_ms() - set_at.unix_ms() >= age.as_millis() as i64)
}

/// What a refresh token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// Unspent: the next of the chain, issued at this time.
    Next(ServerTime),
    /// Spent within the grace, and nothing given for it was used: another for the same exchange, issued at this time.
    Again(ServerTime),
    /// Two parties hold the chain.
    Reused,
    Expired,
}

fn worth(token: &RefreshToken, successor_used: bool, now: ServerTime) -> Worth {
    if token.expires_at <= now {
        return Worth::Expired;
    }
    match token.spent_at {
        // Later than its predecessor even on a clock that stands still: the order of issue is the order of the chain.
        None => Worth::Next(now.max(ServerTime::from_unix_ms(token.issued_at.unix_ms() + 1))),
        Some(spent_at) if !successor_used && now.unix_ms() - spent_at.unix_ms() <= GRACE_MS => {
            Worth::Again(now.max(spent_at))
        }
        Some(_) => Worth::Reused,
    }
}

/// Exchanges a refresh token. A revoked device that is to be wiped still gets tokens: it must reach `/sync` to be told.
pub async fn refresh(auth: &Auth, refresh_token: &str) -> Result<Session, AuthError> {
    let now = auth.clock.now();
    let hash = hash_of(refresh_token);
    let keys = auth.keys.current(auth).await?;
    let mut tx = auth.pool.begin().await?;
    let device = tokens::refresh_token(&mut tx, &hash)
        .await?
        .ok_or(AuthError::RefreshInvalid)?
        .device;
    let (username, platform) = devices::lock(&mut tx, device).await?;
    // Read again: another exchange of this device may have ended while we waited for the lock.
    let token = tokens::refresh_token(&mut tx, &hash)
        .await?
        .ok_or(AuthError::RefreshInvalid)?;
    let status = devices::status(&mut tx, device, &username)
        .await?
        .ok_or(AuthError::RefreshInvalid)?;
    admit(&status)?;
    let successor_used = match token.spent_at {
        Some(spent_at) => tokens::successor_used(&mut tx, device, spent_at).await?,
        None => false,
    };
    let issued_at = match worth(&token, successor_used, now) {
        Worth::Expired => return Err(AuthError::RefreshInvalid),
        Worth::Reused => {
            tokens::spend_refresh_tokens(&mut tx, device, None, now, kept_since(now)).await?;
            devices::revoke(&mut tx, None, device, false, now).await?;
            let home = status.home_street.as_ref();
            let event = Event {
                device: Some(device),
                ..Event::by_server(Action::TokenReused)
            }
            .with("user", username);
            audit::append(&mut tx, Chain::of(home), now, &[event]).await?;
            tx.commit().await?;
            tracing::warn!(%device, "a refresh token was used twice: device revoked");
            return Err(AuthError::RefreshReused);
        }
        Worth::Next(issued_at) => {
            tokens::spend_refresh_tokens(&mut tx, device, Some(&hash), issued_at, kept_since(now))
                .await?;
            reached(PipelinePoint::TokenSpent);
            issued_at
        }
        Worth::Again(issued_at) => issued_at,
    };
    let account = accounts::find(&mut tx, &username)
        .await?
        .ok_or(AuthError::AccountMissing)?;
    let mut session = session(
        auth,
        &keys,
        &mut tx,
        &account,
        device,
        platform == DESK,
        issued_at,
    )
    .await?;
    tx.commit().await?;
    reached(PipelinePoint::TokenRenewed);
    if status.wipe {
        session.streets.clear();
    }
    Ok(session)
}

fn kept_since(now: ServerTime) -> ServerTime {
    ServerTime::from_unix_ms(now.unix_ms() - SPENT_KEPT_MS)
}

/// A device to be opened.
struct Opened<'a> {
    username: &'a str,
    name: &'a str,
    platform: &'a str,
    /// How the audit trail calls it.
    action: Action,
}

/// Opens a device and tells the audit trail of it: nothing but the commit may follow.
async fn open(
    app: &App,
    keys: &KeySet,
    tx: &mut PgConnection,
    opened: Opened<'_>,
    now: ServerTime,
) -> Result<Session, AuthError> {
    let Opened {
        username,
        name,
        platform,
        action,
    } = opened;
    let device = DeviceId::new_v7(now.unix_ms() as u64, app.entropy.bytes());
    devices::insert(tx, device, username, name, platform, now).await?;
    let account = accounts::find(tx, username)
        .await?
        .ok_or(AuthError::AccountMissing)?;
    let session = session(app, keys, tx, &account, device, platform == DESK, now).await?;
    audit::append(
        tx,
        Chain::of(account.street.as_ref()),
        now,
        &[Event::by(username, device, action)],
    )
    .await?;
    Ok(session)
}

// The keys are handed in: looking for them here would wait for a second connection while holding one.
async fn session(
    app: &App,
    keys: &KeySet,
    tx: &mut PgConnection,
    account: &Account,
    device: DeviceId,
    is_desk: bool,
    issued_at: ServerTime,
) -> Result<Session, AuthError> {
    let refresh_token = URL_SAFE_NO_PAD.encode(app.entropy.bytes::<32>());
    // A desk that is left alone does not renew its tokens, and so its session ends.
    let idle = if is_desk {
        app.config.desk_idle
    } else {
        Duration::MAX
    };
    let lifetime = app.config.refresh_token_lifetime.min(idle);
    let expires_at = ServerTime::from_unix_ms(issued_at.unix_ms() + lifetime.as_millis() as i64);
    tokens::insert_refresh_token(tx, &hash_of(&refresh_token), device, issued_at, expires_at)
        .await?;
    let oversees = account.role != Role::Secretary;
    let streets =
        streets::streets_of(tx, &account.username, account.street.as_ref(), oversees).await?;
    let (access_token, expires_in) = access_token::issue(app, keys, account, device, idle)?;
    Ok(Session {
        device_id: device,
        access_token,
        expires_in,
        refresh_token,
        user: UserView {
            username: account.username.clone(),
            display_name: account.display_name.clone(),
            role: account.role,
        },
        streets: streets.into_iter().map(Into::into).collect(),
    })
}

/// 256 random bits need no slow hash.
fn hash_of(refresh_token: &str) -> [u8; 32] {
    Sha256::digest(refresh_token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_is_worth_one_exchange_and_a_fortnight_of_grace() {
        let at = |seconds: i64| ServerTime::from_unix_seconds(1_000_000 + seconds);
        let token = |spent_at| RefreshToken {
            device: DeviceId(uuid::Uuid::nil()),
            issued_at: at(0),
            expires_at: at(10_000_000),
            spent_at,
        };
        for (spent_at, successor_used, now, expected) in [
            (None, false, at(10), Worth::Next(at(10))),
            (
                None,
                false,
                at(0),
                Worth::Next(ServerTime::from_unix_ms(at(0).unix_ms() + 1)),
            ),
            (None, false, at(10_000_000), Worth::Expired),
            (Some(at(10)), false, at(11), Worth::Again(at(11))),
            (
                Some(at(10)),
                false,
                at(10 + GRACE_MS / 1000),
                Worth::Again(at(10 + GRACE_MS / 1000)),
            ),
            (Some(at(10)), false, at(11 + GRACE_MS / 1000), Worth::Reused),
            (Some(at(10)), true, at(11), Worth::Reused),
            (Some(at(10)), true, at(10_000_000), Worth::Expired),
        ] {
            assert_eq!(
                worth(&token(spent_at), successor_used, now),
                expected,
                "{spent_at:?} {successor_used} {now}"
            );
        }
    }
}
