//! The deployment's signing keys, shared by all its servers through the database.
//!
//! Life of a key: made two days before its predecessor retires, so that every server and everybody who keeps a copy of the JWKS knows it
//! before it signs; signs for 30 days; verifies two days longer than it signs, which is longer than any token lives; then its row is deleted.
//! The unretired key that retires first signs. Where the operator gave a lock ([`KeyLock`]), seeds stand under it in the database; those that a
//! server without one wrote are put under it when they are next read.
//!  A server keeps a copy for at most a minute, and looks again when a token names a key that it
//! does not know, at most every few seconds however many such tokens come.

use std::sync::{Arc, PoisonError, RwLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use lianka_sync_core::time::ServerTime;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use crate::config::{KeyLock, SEED_BYTES};
use crate::{
    auth::{
        error::KeyError,
        store::tokens::{self, SigningKeyRow},
    },
    state::App,
};

const DAY_MS: i64 = 86_400_000;
const SIGNS_FOR_MS: i64 = 30 * DAY_MS;
const PUBLISHED_AHEAD_MS: i64 = 2 * DAY_MS;
/// Longer than the longest access token that the configuration allows (one day).
const VERIFIES_LONGER_MS: i64 = 2 * DAY_MS;
const COPY_AGE_MAX_MS: i64 = 60_000;
const LOOK_AGAIN_AFTER_MS: i64 = 5_000;

/// A copy of the keys.
#[derive(Debug, Default)]
pub struct SigningKeys {
    copy: RwLock<Option<Arc<KeySet>>>,
    // One look at the database at a time; the others wait and find its result.
    looking: tokio::sync::Mutex<()>,
}

/// The keys as they were at one moment, the first to retire first.
#[derive(Debug)]
pub struct KeySet {
    read_at: ServerTime,
    keys: Vec<Key>,
}

/// One key.
pub struct Key {
    pub kid: String,
    secret: SigningKey,
    retires_at: ServerTime,
    forgotten_at: ServerTime,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// The Ed25519 seed.
    pub fn seed(&self) -> &[u8; SEED_BYTES] {
        self.secret.as_bytes()
    }

    /// The same key for the audit trail's seals.
    pub(super) fn for_seals(&self) -> SealKey {
        SealKey {
            kid: self.kid.clone(),
            public: self.secret.verifying_key().to_bytes(),
            secret: self.secret.clone(),
        }
    }

    /// The public key as a JWK (RFC 8037, section 2).
    pub fn jwk(&self) -> serde_json::Value {
        serde_json::json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(self.secret.verifying_key().as_bytes()),
        })
    }
}

/// A signing key, lent to whoever seals the audit trail.
pub struct SealKey {
    pub kid: String,
    pub public: [u8; 32],
    secret: SigningKey,
}

impl SealKey {
    /// The signature, 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        ed25519_dalek::Signer::sign(&self.secret, message)
            .to_bytes()
            .to_vec()
    }
}

impl KeySet {
    /// The key that signs.
    pub fn signing(&self, now: ServerTime) -> Option<&Key> {
        self.keys.iter().find(|key| key.retires_at > now)
    }

    /// The keys that verify.
    pub fn verifying(&self, now: ServerTime) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.forgotten_at > now)
    }

    fn is_younger(&self, now: ServerTime, age_ms: i64) -> bool {
        // A clock that was set back must not keep a copy alive.
        (0..age_ms).contains(&(now.unix_ms() - self.read_at.unix_ms()))
    }
}

impl SigningKeys {
    /// The keys, at most a minute old; made first where there are none.
    pub async fn current(&self, app: &App) -> Result<Arc<KeySet>, KeyError> {
        self.younger_than(app, COPY_AGE_MAX_MS).await
    }

    /// The public key of that name, unless it is unknown or forgotten.
    pub async fn verifying(&self, app: &App, kid: &str) -> Result<Option<[u8; 32]>, KeyError> {
        let now = app.clock.now();
        let find = |keys: &KeySet| {
            keys.verifying(now)
                .find(|key| key.kid == kid)
                .map(|key| key.secret.verifying_key().to_bytes())
        };
        if let Some(key) = find(&*self.current(app).await?) {
            return Ok(Some(key));
        }
        Ok(find(&*self.younger_than(app, LOOK_AGAIN_AFTER_MS).await?))
    }

    async fn younger_than(&self, app: &App, age_ms: i64) -> Result<Arc<KeySet>, KeyError> {
        let now = app.clock.now();
        if let Some(keys) = self.copy_younger_than(now, age_ms) {
            return Ok(keys);
        }
        let _one_at_a_time = self.looking.lock().await;
        if let Some(keys) = self.copy_younger_than(now, age_ms) {
            return Ok(keys);
        }
        let keys = Arc::new(KeySet {
            read_at: now,
            keys: read(app, now).await?,
        });
        *self.copy.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
        Ok(keys)
    }

    fn copy_younger_than(&self, now: ServerTime, age_ms: i64) -> Option<Arc<KeySet>> {
        let copy = self.copy.read().unwrap_or_else(PoisonError::into_inner);
        copy.as_ref()
            .filter(|keys| keys.is_younger(now, age_ms))
            .cloned()
    }
}

async fn read(app: &App, now: ServerTime) -> Result<Vec<Key>, KeyError> {
    let mut conn = app.pool.acquire().await?;
    let mut rows = tokens::signing_keys(&mut conn, now).await?;
    if successor_is_due(&rows, now) {
        rows = make_successor(app, &mut conn, now).await?;
    }
    let lock = app.config.key_lock.as_deref();
    if let Some(lock) = lock {
        for row in rows.iter().filter(|row| row.secret.len() == SEED_BYTES) {
            let locked = under_lock(app, Some(lock), &row.kid, &seed_of(row, None)?)?;
            tokens::lock_signing_key(&mut conn, &row.kid, &row.secret, &locked).await?;
            tracing::info!(kid = row.kid, "put a signing key under the operator's lock");
        }
    }
    rows.into_iter().map(|row| decode(row, lock)).collect()
}

/// The seed as it is to be stored.
fn under_lock(
    app: &App,
    lock: Option<&KeyLock>,
    kid: &str,
    seed: &[u8; SEED_BYTES],
) -> Result<Vec<u8>, KeyError> {
    match lock {
        Some(lock) => lock
            .lock(kid, seed, app.entropy.bytes())
            .ok_or(KeyError::NotLocked),
        None => Ok(seed.to_vec()),
    }
}

fn seed_of(row: &SigningKeyRow, lock: Option<&KeyLock>) -> Result<[u8; SEED_BYTES], KeyError> {
    if let Ok(seed) = row.secret.as_slice().try_into() {
        return Ok(seed);
    }
    let open = lock.and_then(|lock| lock.open(&row.kid, &row.secret));
    open.ok_or(KeyError::UnderLock)
}

fn successor_is_due(rows: &[SigningKeyRow], now: ServerTime) -> bool {
    rows.iter()
        .all(|row| row.retires_at.unix_ms() <= now.unix_ms() + PUBLISHED_AHEAD_MS)
}

async fn make_successor(
    app: &App,
    conn: &mut PgConnection,
    now: ServerTime,
) -> Result<Vec<SigningKeyRow>, KeyError> {
    let mut tx = sqlx::Connection::begin(conn).await?;
    tokens::lock_signing_keys(&mut tx).await?;
    // Another server may have been quicker.
    let mut rows = tokens::signing_keys(&mut tx, now).await?;
    if successor_is_due(&rows, now) {
        let secret: [u8; SEED_BYTES] = app.entropy.bytes();
        let public = SigningKey::from_bytes(&secret).verifying_key();
        let kid = hex::encode(&Sha256::digest(public.as_bytes())[..8]);
        let starts = rows
            .iter()
            .map(|row| row.retires_at)
            .max()
            .filter(|at| *at > now)
            .unwrap_or(now);
        let retires = starts.unix_ms() + SIGNS_FOR_MS;
        let row = SigningKeyRow {
            secret: under_lock(app, app.config.key_lock.as_deref(), &kid, &secret)?,
            kid,
            retires_at: ServerTime::from_unix_ms(retires),
            forgotten_at: ServerTime::from_unix_ms(retires + VERIFIES_LONGER_MS),
        };
        tokens::insert_signing_key(&mut tx, &row, now).await?;
        tracing::info!(kid = row.kid, "made a signing key");
        rows.push(row);
    }
    tx.commit().await?;
    Ok(rows)
}

fn decode(row: SigningKeyRow, lock: Option<&KeyLock>) -> Result<Key, KeyError> {
    let seed = seed_of(&row, lock)?;
    Ok(Key {
        kid: row.kid,
        secret: SigningKey::from_bytes(&seed),
        retires_at: row.retires_at,
        forgotten_at: row.forgotten_at,
    })
}
