//! The first account of a deployment, made at the command line.

use lianka_sync_core::access::Role;

use crate::{
    audit::{self, Action, Chain, Event},
    auth::{
        password,
        store::accounts::{self, NewAccount},
    },
    clock::{Clock, Entropy},
    config::PasswordRules,
    http::fields::{self, Broken},
};

/// Why [`create_admin`] made no account.
#[derive(Debug, thiserror::Error)]
pub enum CreateAdminError {
    #[error(transparent)]
    Invalid(#[from] Broken),
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
    let username = fields::username("username", username)?;
    let display_name = fields::text("display_name", display_name, fields::NAME_CHARS_MAX)?;
    fields::password("password", &password, &username, &PasswordRules::default())?;
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
