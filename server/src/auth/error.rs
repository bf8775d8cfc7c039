//! Why nobody was let in, or nothing was made to get in by.

use argon2::password_hash;

use crate::http::fields::Broken;

/// Why the deployment's signing keys are of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error("no signing key is in force")]
    NoneInForce,
    #[error("a signing key could not be locked")]
    NotLocked,
    #[error("a signing key is under a lock that --key-file does not open")]
    UnderLock,
}

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// What was typed breaks a rule.
    #[error(transparent)]
    Field(#[from] Broken),
    #[error("there is no token")]
    NoToken,
    /// Why, for the log alone.
    #[error("{0}")]
    TokenInvalid(String),
    #[error("the token has expired")]
    TokenExpired,
    #[error("name and password do not belong together")]
    BadCredentials,
    #[error("too many tries")]
    TooManyTries { wait_s: u32 },
    #[error("the password must be changed")]
    PasswordExpired,
    #[error("the enrolment code is none")]
    EnrolmentRefused,
    #[error("the refresh token is none")]
    RefreshInvalid,
    #[error("the refresh token was used before")]
    RefreshReused,
    #[error("the account is disabled")]
    AccountDisabled,
    #[error("the device is revoked")]
    DeviceRevoked,
    #[error("the street is not the principal's")]
    WrongStreet,
    #[error("too many requests of the device")]
    TooManyRequests,
    #[error("too many passwords are being hashed")]
    Busy,
    #[error("the account of a device is missing")]
    AccountMissing,
    #[error("a password could not be hashed")]
    Hash(#[source] password_hash::Error),
    #[error("a stored hash cannot be read")]
    StoredHash(#[source] password_hash::Error),
    #[error("a token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
    #[error("hashing ended early")]
    Task(#[from] tokio::task::JoinError),
}
