//! Whoever works at the server's own terminal, in the name of an account.

use lianka_office_core::acts::Desk;
use lianka_sync_core::{access::Role, id::DeviceId};
use sqlx::PgPool;

use crate::{
    auth::store::{accounts, devices},
    clock::{Clock, Entropy},
};

/// What a device at the terminal is listed as.
const TERMINAL: &str = "terminal";

/// Why nobody works there.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    #[error(
        "there is no account of this name, or it is disabled: name an admin or a reviewer with --username"
    )]
    NoAccount,
    #[error("the account's role may not do this: name an admin or a reviewer with --username")]
    WrongRole,
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
}

/// The desk of an account of the office at this terminal. Whoever can read the database needs no password; the audit trail names the account.
pub async fn desk(
    pool: &PgPool,
    clock: &Clock,
    entropy: &Entropy,
    username: &str,
) -> Result<Desk, TerminalError> {
    let mut conn = pool.acquire().await?;
    let account = accounts::find(&mut conn, username)
        .await?
        .filter(|account| account.disabled_at.is_none())
        .ok_or(TerminalError::NoAccount)?;
    if !matches!(account.role, Role::Admin | Role::Reviewer) {
        return Err(TerminalError::WrongRole);
    }
    let device = DeviceId::new_v7(clock.now().unix_ms().unsigned_abs(), entropy.bytes());
    devices::insert(&mut conn, device, username, TERMINAL, TERMINAL, clock.now()).await?;
    Ok(Desk {
        username: account.username,
        device,
        role: account.role,
    })
}
