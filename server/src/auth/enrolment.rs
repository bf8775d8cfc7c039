//! Enrolment codes: ten characters that an admin reads to a secretary, worth one device, for a few minutes.
//!
//! The alphabet is Crockford's base 32 (no I, L, O, U); ten characters are 50 bits. Reading is forgiving: case, spaces and hyphens do not
//! count, O is 0, I and L are 1. Stored as SHA-256, which is enough for a random code that lives minutes.

use lianka_sync_core::time::ServerTime;
use sha2::{Digest, Sha256};

use crate::{
    audit::{self, Action, Chain, Event},
    auth::{
        principal::Principal,
        store::{accounts, tokens},
    },
    state::App,
};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CODE_CHARS: usize = 10;

/// A code to hand over; shown once.
#[derive(Debug)]
pub struct Enrolment {
    pub code: String,
    pub expires_at: ServerTime,
}

/// A new code for a user, made by nobody in particular: how the first device of a deployment without passwords comes to be.
pub async fn create_enrolment(app: &App, username: &str) -> sqlx::Result<Enrolment> {
    make(app, username, Event::by_server(Action::Enrolment)).await
}

/// A new code for a user, made by an admin. Earlier codes stay good: one person may enrol two phones.
pub async fn create_enrolment_by(
    app: &App,
    admin: &Principal,
    username: &str,
) -> sqlx::Result<Enrolment> {
    make(
        app,
        username,
        Event::by(admin.username(), admin.device(), Action::Enrolment),
    )
    .await
}

async fn make(app: &App, username: &str, event: Event) -> sqlx::Result<Enrolment> {
    let now = app.clock.now();
    let expires_at =
        ServerTime::from_unix_ms(now.unix_ms() + app.config.enrolment_lifetime.as_millis() as i64);
    let code: String = app
        .entropy
        .bytes::<CODE_CHARS>()
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
        .collect();
    let mut tx = app.pool.begin().await?;
    tokens::insert_enrolment(&mut tx, &hash(&code), username, expires_at, now).await?;
    let home = accounts::find(&mut tx, username)
        .await?
        .and_then(|account| account.street);
    audit::append(
        &mut tx,
        Chain::of(home.as_ref()),
        now,
        &[event.with("user", username)],
    )
    .await?;
    tx.commit().await?;
    Ok(Enrolment { code, expires_at })
}

/// SHA-256 of the code as it was meant.
pub fn hash(typed: &str) -> [u8; 32] {
    let meant: String = typed
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        })
        .collect();
    Sha256::digest(meant.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_may_be_typed_the_way_people_type() {
        for typed in ["0123456789", "O1234 56789", "oi23-4567-89", "ol23456789"] {
            assert_eq!(hash(typed), hash("0123456789"), "{typed}");
        }
        assert_ne!(hash("0123456788"), hash("0123456789"));
    }
}
