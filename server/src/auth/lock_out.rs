//! Lock-out: a bound on guessing one user's password, kept in the database so that it holds over all servers.
//!
//! In: a name and a try. Out: leave to try, or how long to wait. Names that do not exist are counted as those that do, after the same work,
//! so that neither an answer nor its time tells who exists. A lock opens by itself, because whoever knows a name could otherwise keep
//! its owner out: five minutes, doubled by each further try, an hour at most.

use lianka_sync_core::{id::StreetCode, time::ServerTime};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use crate::{
    audit::{self, Action, Chain, Event},
    auth::{
        error::AuthError,
        principal::Principal,
        state::Auth,
        store::{
            accounts::{self, Account, Credentials},
            devices,
            sign_in_tries::{self, Rule, Try},
        },
    },
    http::fields::{self, Broken},
    state::App,
};

const LOCK_S: u32 = 5 * 60;
const LOCK_S_MAX: u32 = 60 * 60;
const FORGOTTEN_AFTER_S: u32 = 86_400;
/// Wrong enrolment codes in ten minutes, of the whole deployment, after which the next ones are told to wait. A right one always passes.
const CODES_MAX: u32 = 100;
const CODES_LOCK_S: u32 = 10 * 60;
const CODES: &str = "enrolment";

/// A password, held against an account.
pub(super) struct Tried {
    home: Option<StreetCode>,
    /// What the password was held against.
    hash: String,
    pub set_at: ServerTime,
    pub must_change: bool,
}

/// Holds a password against an account; a refusal is counted and told of. `username` is `None` for what cannot be one.
pub(super) async fn try_password(
    auth: &Auth,
    username: Option<&str>,
    password: &str,
) -> Result<Tried, AuthError> {
    let now = auth.clock.now();
    let mut conn = auth.pool.acquire().await?;
    let known = match username {
        Some(username) => accounts::credentials(&mut conn, username).await?,
        None => accounts::credentials(&mut conn, "").await?,
    };
    let key = key(username, known.is_some());
    let rule = Rule {
        tries_max: auth.config.lockout_tries,
        lock_s: LOCK_S,
        lock_s_max: LOCK_S_MAX,
        forgotten_after_s: FORGOTTEN_AFTER_S,
    };
    let tries = match sign_in_tries::admit(&mut conn, &key, rule, now).await? {
        Try::Locked(until) => return Err(wait(until, now)),
        Try::Admitted(tries) => tries,
    };
    drop(conn);
    let held_to = |Credentials {
                       hash,
                       home,
                       set_at,
                       must_change,
                   }| {
        (
            hash.clone(),
            Tried {
                home,
                hash,
                set_at,
                must_change,
            },
        )
    };
    let (hash, account) = known.map(held_to).unzip();
    let fits = auth.passwords.matches(password, hash).await?;
    match account.as_ref() {
        Some(_) if fits => {
            let mut conn = auth.pool.acquire().await?;
            let old =
                ServerTime::from_unix_ms(now.unix_ms() - i64::from(FORGOTTEN_AFTER_S) * 1_000);
            sign_in_tries::forget(&mut conn, &key, old).await?;
        }
        account => tell(auth, username, account, tries, now).await?,
    }
    account.filter(|_| fits).ok_or(AuthError::BadCredentials)
}

/// A failed try, and the lock that it brought. Names that do not exist are not repeated: people type passwords in the wrong field.
async fn tell(
    app: &App,
    username: Option<&str>,
    account: Option<&Tried>,
    tries: u32,
    now: ServerTime,
) -> sqlx::Result<()> {
    let about = |action| match (username, account) {
        (Some(username), Some(_)) => Event {
            username: Some(username.to_owned()),
            ..Event::by_server(action)
        },
        _ => Event::by_server(action).with("unknown", true),
    };
    let mut events = vec![about(Action::SignInFailed)];
    if tries >= app.config.lockout_tries {
        events.push(about(Action::LockOut).with("tries", tries));
    }
    let chain = account.map_or(Chain::DEPLOYMENT, |account| {
        Chain::of(account.home.as_ref())
    });
    audit::tell(&mut *app.pool.acquire().await?, chain, now, &events).await
}

/// Known names have a row each, all others share a fixed number.
fn key(username: Option<&str>, known: bool) -> String {
    match username {
        Some(username) if known => format!("user:{username}"),
        _ => {
            let digest = Sha256::digest(username.unwrap_or_default().as_bytes());
            format!("unknown:{:02x}{:02x}", digest[0], digest[1])
        }
    }
}

fn wait(until: ServerTime, now: ServerTime) -> AuthError {
    let seconds = (until.unix_ms() - now.unix_ms()).max(0) / 1_000 + 1;
    AuthError::TooManyTries {
        wait_s: seconds as u32,
    }
}

/// Counts a wrong enrolment code.
pub(super) async fn count_code(app: &App, now: ServerTime) -> sqlx::Result<AuthError> {
    let rule = Rule {
        tries_max: CODES_MAX,
        lock_s: CODES_LOCK_S,
        lock_s_max: CODES_LOCK_S,
        forgotten_after_s: CODES_LOCK_S,
    };
    let mut tx = app.pool.begin().await?;
    let refusal = match sign_in_tries::admit(&mut tx, CODES, rule, now).await? {
        Try::Locked(until) => wait(until, now),
        Try::Admitted(tries) => {
            if tries == CODES_MAX {
                let event = Event::by_server(Action::LockOut).with("enrolment_codes", tries);
                audit::append(&mut tx, Chain::DEPLOYMENT, now, &[event]).await?;
            }
            AuthError::EnrolmentRefused
        }
    };
    tx.commit().await?;
    Ok(refusal)
}

/// Holds the account to the end of the transaction, and makes sure that the password which was tried is its password still: hashing takes a
/// while, in which an admin may have reset it, or disabled the account, because somebody else knows it.
pub(super) async fn hold(
    tx: &mut PgConnection,
    username: &str,
    tried: &Tried,
    now: ServerTime,
) -> Result<(), AuthError> {
    accounts::hold(tx, username, now).await?;
    let stands = accounts::credentials(tx, username)
        .await?
        .is_some_and(|credentials| credentials.hash == tried.hash);
    if stands {
        Ok(())
    } else {
        Err(AuthError::BadCredentials)
    }
}

/// Sets a new password in place of one that was just held against the account.
pub(super) async fn replace_password(
    auth: &Auth,
    username: &str,
    old: &str,
    new: &str,
) -> Result<String, AuthError> {
    fields::password("new_password", new, username, &auth.config.passwords)?;
    if new == old {
        return Err(AuthError::Field(Broken {
            field: "new_password".into(),
            rule: "password_same",
            zh: "新密码不能与旧密码相同。",
            en: "It is the old one.",
        }));
    }
    auth.passwords.hash(new, auth.entropy.bytes()).await
}

/// A user's own new password. Other desks of the account end.
pub async fn change_own_password(
    auth: &Auth,
    principal: &Principal,
    old: &str,
    new: &str,
) -> Result<(), AuthError> {
    let username = principal.username();
    let wrong = |error| match error {
        // The token is good; only what was typed is not.
        AuthError::BadCredentials => AuthError::Field(Broken {
            field: "old_password".into(),
            rule: "password_matches",
            zh: "旧密码不对。",
            en: "It is not the old password.",
        }),
        _ => error,
    };
    let tried = try_password(auth, Some(username), old)
        .await
        .map_err(wrong)?;
    let hash = replace_password(auth, username, old, new).await?;
    let now = auth.clock.now();
    let mut tx = auth.pool.begin().await?;
    hold(&mut tx, username, &tried, now).await.map_err(wrong)?;
    accounts::set_password(&mut tx, username, &hash, false, now).await?;
    devices::revoke_desks(&mut tx, username, Some(principal.device()), now).await?;
    tell_changed(
        &mut tx,
        principal,
        Action::PasswordChanged,
        username,
        principal.home_street(),
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// A password that an admin gives to somebody: it must be changed at the next sign-in. Lifts a lock, and ends every desk of the account.
pub async fn reset_password(
    auth: &Auth,
    admin: &Principal,
    account: &Account,
    new: &str,
) -> Result<(), AuthError> {
    let hash = auth.passwords.hash(new, auth.entropy.bytes()).await?;
    let now = auth.clock.now();
    let mut tx = auth.pool.begin().await?;
    accounts::set_password(&mut tx, &account.username, &hash, true, now).await?;
    sign_in_tries::forget(
        &mut tx,
        &key(Some(&account.username), true),
        ServerTime::from_unix_ms(0),
    )
    .await?;
    devices::revoke_desks(&mut tx, &account.username, None, now).await?;
    tell_changed(
        &mut tx,
        admin,
        Action::PasswordReset,
        &account.username,
        account.street.as_ref(),
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

async fn tell_changed(
    tx: &mut PgConnection,
    principal: &Principal,
    action: Action,
    username: &str,
    home: Option<&StreetCode>,
    now: ServerTime,
) -> sqlx::Result<()> {
    let event = Event::by(principal.username(), principal.device(), action).with("user", username);
    audit::append(tx, Chain::of(home), now, &[event]).await
}
