//! What AUTH keeps in memory: nothing that a second server would miss.

use std::{ops::Deref, sync::Arc};

use crate::{
    auth::{
        error::{AuthError, KeyError},
        password::Passwords,
        permits::Permits,
        provider,
        signing_keys::{SealKey, SigningKeys},
    },
    state::App,
};

/// Keys, passwords and permits, beside the [`App`] that it dereferences to. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    app: App,
    pub(super) keys: Arc<SigningKeys>,
    pub(super) passwords: Arc<Passwords>,
    pub(super) permits: Arc<Permits>,
}

impl Deref for Auth {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl Auth {
    /// Installs the process's `EdDSA` provider for tokens; the rest fills itself as requests come.
    pub fn new(app: App) -> Self {
        provider::install();
        Self {
            app,
            keys: Arc::default(),
            passwords: Arc::new(Passwords::new()),
            permits: Arc::default(),
        }
    }

    /// Password hashes made so far. Signing in must cost the same for names that exist and for those that do not.
    pub fn hashes_made(&self) -> u64 {
        self.passwords.made()
    }

    /// Whether the deployment's signing keys can be read; told at the start rather than to the first who signs in.
    pub async fn check_keys(&self) -> Result<(), KeyError> {
        self.keys.current(self).await.map(drop)
    }

    /// The key that seals the audit trail now: the one that signs tokens.
    pub(crate) async fn seal_key(&self) -> Result<SealKey, KeyError> {
        let keys = self.keys.current(self).await?;
        let key = keys
            .signing(self.clock.now())
            .ok_or(KeyError::NoneInForce)?;
        Ok(key.for_seals())
    }

    /// The argon2id hash of a new account's password.
    pub(crate) async fn hash_password(&self, password: &str) -> Result<String, AuthError> {
        self.passwords.hash(password, self.entropy.bytes()).await
    }

    /// Whether `password` is the one that `hash` was made of.
    pub(crate) async fn password_matches(
        &self,
        password: &str,
        hash: Option<String>,
    ) -> Result<bool, AuthError> {
        self.passwords.matches(password, hash).await
    }
}
