//! Passwords: argon2id (RFC 9106) with OWASP's parameters, 19 MiB and two passes.
//!
//! Hashing runs on blocking threads, two at a time, so that logging in neither stalls the others nor takes more than 38 MiB; a short queue
//! waits, the rest is told to come again. An unknown user costs the same work as a wrong password.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use argon2::{
    Argon2,
    password_hash::{Error, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::error::{ApiError, ErrorCode};

const RUNNING_MAX: usize = 2;
const WAITING_MAX: usize = 32;

/// The turnstile.
#[derive(Debug)]
pub struct Passwords {
    running: Arc<Semaphore>,
    present: Arc<Semaphore>,
    made: Arc<AtomicU64>,
}

/// What an unknown user's password is held against. Nothing matches it: `matches` does not even look at the result.
static DECOY: LazyLock<Result<String, Error>> = LazyLock::new(|| hash_blocking("nobody has this password", *b"a fixed salt 16b"));

impl Passwords {
    pub fn new() -> Self {
        Self {
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            present: Arc::new(Semaphore::new(RUNNING_MAX + WAITING_MAX)),
            made: Arc::default(),
        }
    }

    /// How many hashes were made so far: the whole of what a try costs in time.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// The hash of a password to be set, in PHC form.
    pub async fn hash(&self, password: &str, salt: [u8; 16]) -> Result<String, ApiError> {
        let password = password.to_owned();
        self.run(move || hash_blocking(&password, salt).map_err(|error| ApiError::internal(error.to_string()))).await
    }

    /// Whether the password is the one that `hash` was made of; without a hash the same work, and no.
    pub async fn matches(&self, password: &str, hash: Option<String>) -> Result<bool, ApiError> {
        let password = password.to_owned();
        self.run(move || {
            let decoy = DECOY.as_deref().map_err(|error| ApiError::internal(error.to_string()))?;
            let parsed =
                PasswordHash::new(hash.as_deref().unwrap_or(decoy)).map_err(|error| ApiError::internal(format!("stored hash: {error}")))?;
            let fits = Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok();
            Ok(fits && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T, ApiError> + Send + 'static) -> Result<T, ApiError> {
        let present = self.present.clone().try_acquire_owned().map_err(|_| ApiError::new(ErrorCode::Overloaded))?;
        let running = self.running.clone().acquire_owned().await.map_err(ApiError::internal)?;
        // The permits travel with the work: a caller who hangs up does not make room for a third.
        let made = self.made.clone();
        tokio::task::spawn_blocking(move || {
            let _held = (present, running);
            made.fetch_add(1, Ordering::Relaxed);
            work()
        })
        .await
        .map_err(ApiError::internal)?
    }
}

/// The hash in PHC form. Takes tens of milliseconds: not for an async thread of the server.
pub fn hash_blocking(password: &str, salt: [u8; 16]) -> Result<String, Error> {
    let hash: PasswordHash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt)?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_of_a_known_user_fits() {
        let passwords = Passwords::new();
        let hash = passwords.hash("梧桐树下的十个汉字啊", [7; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.matches("梧桐树下的十个汉字啊", Some(hash.clone())).await.unwrap());
        assert!(!passwords.matches("something else", Some(hash)).await.unwrap());
        assert!(!passwords.matches("nobody has this password", None).await.unwrap(), "not even the decoy's own");
    }

    #[tokio::test]
    async fn a_rush_is_turned_away_and_not_queued_without_bound() {
        let passwords = Passwords::new();
        let rush = (0..RUNNING_MAX + WAITING_MAX + 10).map(|_| passwords.matches("x", None));
        let answers = futures::future::join_all(rush).await;
        let turned_away = answers.iter().filter(|answer| answer.as_ref().is_err_and(|error| error.code() == ErrorCode::Overloaded)).count();
        assert_eq!(turned_away, 10);
        assert!(passwords.matches("x", None).await.is_ok(), "afterwards there is room again");
    }
}
