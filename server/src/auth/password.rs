//! Passwords: argon2id (RFC 9106) with OWASP's parameters, 19 MiB and two passes.
//!
//! Hashing runs on blocking threads, two at a time, so that logging in neither stalls the others nor takes more than 38 MiB; a short queue
//! waits, the rest is told to come again. The memory is kept and used again: given back after each hash it would stay with whichever of the
//! allocator's arenas it came from, and there are as many as threads. An unknown user costs the same work as a wrong password.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        Error,
        phc::{Output, ParamsString, PasswordHash, Salt},
    },
};
use tokio::sync::Semaphore;

use crate::auth::error::AuthError;

const RUNNING_MAX: usize = 2;
const WAITING_MAX: usize = 32;

/// The most that a stored hash may ask for, whoever wrote it: RFC 9106's second choice asks for 64 MiB, three passes and four lanes.
const STORED_KIB_MAX: u32 = 64 * 1024;
const STORED_PASSES_MAX: u32 = 10;
const STORED_LANES_MAX: u32 = 16;

/// What a password is hashed with where there is no hash to compare with: the salt is as good as any.
const NOBODYS_SALT: [u8; 16] = *b"a fixed salt 16b";

/// The turnstile.
#[derive(Debug)]
pub struct Passwords {
    running: Arc<Semaphore>,
    present: Arc<Semaphore>,
    kept: Arc<Kept>,
}

/// What stays from one hash to the next: the memory of as many hashes as ran at once, and how many there were.
#[derive(Debug, Default)]
struct Kept {
    memories: Mutex<Vec<Memory>>,
    made: AtomicU64,
}

/// What a hash is computed in.
#[derive(Default)]
struct Memory(Vec<Block>);

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} KiB", self.0.len())
    }
}

impl Passwords {
    pub fn new() -> Self {
        Self {
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            present: Arc::new(Semaphore::new(RUNNING_MAX + WAITING_MAX)),
            kept: Arc::default(),
        }
    }

    /// How many hashes were made so far: the whole of what a try costs in time.
    pub fn made(&self) -> u64 {
        self.kept.made.load(Ordering::Relaxed)
    }

    /// The hash of a password to be set, in PHC form.
    pub async fn hash(&self, password: &str, salt: [u8; 16]) -> Result<String, AuthError> {
        let password = password.to_owned();
        self.run(move |memory| memory.hash(&password, salt).map_err(AuthError::Hash))
            .await
    }

    /// Whether the password is the one that `hash` was made of; without a hash the same work, and no.
    pub async fn matches(&self, password: &str, hash: Option<String>) -> Result<bool, AuthError> {
        let password = password.to_owned();
        self.run(move |memory| match hash {
            Some(hash) => memory
                .matches(&password, &hash)
                .map_err(AuthError::StoredHash),
            None => memory
                .hash(&password, NOBODYS_SALT)
                .map(|_| false)
                .map_err(AuthError::Hash),
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> Result<T, AuthError> + Send + 'static,
    ) -> Result<T, AuthError> {
        let present = self
            .present
            .clone()
            .try_acquire_owned()
            .map_err(|_| AuthError::Busy)?;
        let running = self
            .running
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| AuthError::Busy)?;
        // The permits travel with the work: a caller who hangs up does not make room for a third.
        let kept = self.kept.clone();
        tokio::task::spawn_blocking(move || {
            let _held = (present, running);
            kept.made.fetch_add(1, Ordering::Relaxed);
            let memories = || kept.memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = memories().pop().unwrap_or_default();
            let done = work(&mut memory);
            memory.clear();
            memories().push(memory);
            done
        })
        .await?
    }
}

impl Memory {
    fn hash(&mut self, password: &str, salt: [u8; 16]) -> Result<String, Error> {
        let (algorithm, version, params) =
            (Algorithm::default(), Version::default(), Params::default());
        let written = ParamsString::try_from(&params)?;
        let hash = self.compute(
            password,
            &salt,
            &Argon2::new(algorithm, version, params),
            Params::DEFAULT_OUTPUT_LEN,
        )?;
        let salt = Some(Salt::new(&salt)?);
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: written,
            salt,
            hash: Some(hash),
        }
        .to_string())
    }

    /// With the parameters that the hash was made with.
    fn matches(&mut self, password: &str, hash: &str) -> Result<bool, Error> {
        let stored = PasswordHash::new(hash)?;
        let (Some(salt), Some(wanted)) = (&stored.salt, &stored.hash) else {
            return Ok(false);
        };
        let algorithm = Algorithm::try_from(stored.algorithm.as_str())?;
        let version = stored
            .version
            .map(Version::try_from)
            .transpose()?
            .unwrap_or_default();
        let params = Params::try_from(&stored)?;
        if params.m_cost() > STORED_KIB_MAX
            || params.t_cost() > STORED_PASSES_MAX
            || params.p_cost() > STORED_LANES_MAX
        {
            return Err(Error::ParamsInvalid);
        }
        // Two outputs are compared in constant time.
        Ok(self.compute(
            password,
            salt,
            &Argon2::new(algorithm, version, params),
            wanted.len(),
        )? == *wanted)
    }

    fn compute(
        &mut self,
        password: &str,
        salt: &[u8],
        argon2: &Argon2<'_>,
        length: usize,
    ) -> Result<Output, Error> {
        let blocks = argon2.params().block_count();
        if self.0.len() < blocks {
            // All of it at once: growing would hold the old and the new.
            self.0 = Vec::new();
            self.0 = vec![Block::new(); blocks];
        }
        let mut output = [0; Output::MAX_LENGTH];
        let output = output.get_mut(..length).ok_or(Error::OutputSize)?;
        argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, &mut self.0)?;
        Ok(Output::new(output)?)
    }

    /// What stands in it lets passwords be guessed without the work that makes guessing dear: nothing of it stays, and of a hash larger than ours
    /// not even the room.
    fn clear(&mut self) {
        if self.0.len() > Params::default().block_count() {
            self.0 = Vec::new();
        }
        self.0.fill(Block::new());
    }
}

/// The hash in PHC form. Takes tens of milliseconds and memory of its own: not for a server that runs.
pub fn hash_blocking(password: &str, salt: [u8; 16]) -> Result<String, Error> {
    Memory::default().hash(password, salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the reference implementation: with our parameters, with RFC 9106's second choice, and with some that nobody should choose.
    const EARLIER: [(&str, &str); 4] = [
        (
            "梧桐树下的十个汉字啊",
            "$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$+t9F2Le05JN5IjxX8RF7hxqqxrhH0oqm1nbNXoQU6qM",
        ),
        (
            "ten words of a song",
            "$argon2id$v=19$m=65536,t=3,p=4$cmZjOTEwNiBzZWNvbmQgYw$C8hUlqTw8HQ6JH5/mlFzXitPhv+BPO69kyoo9KX2NfA",
        ),
        (
            "ten words of a song",
            "$argon2id$v=19$m=1024,t=3,p=4$b3RoZXJwYXJhbWV0ZXJzIQ$xFJFx7iAUPYzKqESZVhnK/RDyQvn8ExG",
        ),
        (
            "argon2i",
            "$argon2i$v=19$m=8,t=1,p=1$OCBieXRlIHM$Ri2xiwEc7YPckDgrcWrFfA",
        ),
    ];

    #[tokio::test]
    async fn only_the_password_of_a_known_user_fits() {
        let passwords = Passwords::new();
        let hash = passwords
            .hash("梧桐树下的十个汉字啊", [7; 16])
            .await
            .unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(
            passwords
                .matches("梧桐树下的十个汉字啊", Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .matches("something else", Some(hash))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .matches("nobody has this password", None)
                .await
                .unwrap(),
            "not even the decoy's own"
        );
    }

    #[tokio::test]
    async fn a_rush_is_turned_away_and_not_queued_without_bound() {
        let passwords = Passwords::new();
        let rush = (0..RUNNING_MAX + WAITING_MAX + 10).map(|_| passwords.matches("x", None));
        let answers = futures::future::join_all(rush).await;
        let turned_away = answers
            .iter()
            .filter(|answer| matches!(answer, Err(AuthError::Busy)))
            .count();
        assert_eq!(turned_away, 10);
        assert!(
            passwords.matches("x", None).await.is_ok(),
            "afterwards there is room again"
        );
    }

    #[tokio::test]
    async fn a_hash_made_before_still_fits_whatever_it_was_made_with() {
        let passwords = Passwords::new();
        for (password, hash) in EARLIER {
            for _ in 0..2 {
                assert!(
                    passwords
                        .matches(password, Some(hash.to_owned()))
                        .await
                        .unwrap(),
                    "{hash}"
                );
                assert!(
                    !passwords
                        .matches("something else", Some(hash.to_owned()))
                        .await
                        .unwrap(),
                    "{hash}"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_stored_hash_that_asks_for_too_much_gets_nothing() {
        let passwords = Passwords::new();
        for params in [
            "m=4294967295,t=2,p=1",
            "m=65537,t=2,p=1",
            "m=19456,t=4294967295,p=1",
            "m=19456,t=2,p=17",
        ] {
            let hash = format!(
                "$argon2id$v=19${params}$Bzw0WE5AU1hbYkpiTkVWVQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            );
            assert!(
                passwords.matches("x", Some(hash)).await.is_err(),
                "{params}"
            );
        }
    }
}
