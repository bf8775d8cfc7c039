//! Who did what, so that nobody can change it unseen afterwards.
//!
//! In: events of a transaction that is about to commit. Out: rows of `audit_event`, each of which holds the SHA-256 of the one before it.
//!
//! Invariants:
//! - An event commits with what it tells of, or not at all.
//! - [`append`] comes last in its transaction: it locks the chain's head, and whoever holds the head waits for nothing else.
//! - No personal data beyond usernames of accounts and ids: no values of fields, no names, no telephone numbers, no search words.

pub mod seal;
pub mod store;

pub use lianka_office_core::audit::{Action, Event, Logged};
use lianka_sync_core::{id::StreetCode, time::ServerTime};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::audit::store::EventRow;

/// What an event's hash begins with: another way to make it would begin otherwise.
const FORM: &[u8] = b"lianka audit 1";
/// Stands where a length stands, for a column that is null.
const ABSENT: u32 = u32::MAX;

/// One chain: a street's, or the deployment's for acts that belong to no street.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain<'c>(&'c str);

impl Chain<'static> {
    /// The chain of what belongs to no street.
    pub const DEPLOYMENT: Self = Self("deployment");
}

impl<'c> Chain<'c> {
    /// The chain of an account's home: its street, or the deployment.
    pub fn of(home: Option<&'c StreetCode>) -> Self {
        home.map_or(Chain::DEPLOYMENT, Into::into)
    }

    /// The chain of that name, for whoever walks all of them.
    pub fn named(name: &'c str) -> Self {
        Self(name)
    }

    /// As it stands in the column `street`.
    pub fn as_str(self) -> &'c str {
        self.0
    }
}

impl<'c> From<&'c StreetCode> for Chain<'c> {
    fn from(street: &'c StreetCode) -> Self {
        Self(street.as_str())
    }
}

/// Tells a chain of something that changed nothing else: a read, a failed try.
pub async fn tell(
    conn: &mut PgConnection,
    chain: Chain<'_>,
    now: ServerTime,
    events: &[Event],
) -> sqlx::Result<()> {
    let mut tx = sqlx::Connection::begin(conn).await?;
    append(&mut tx, chain, now, events).await?;
    tx.commit().await
}

/// Appends events to a chain, in their order. Call it last before the commit: from here on the chain's head is locked.
pub async fn append(
    tx: &mut PgConnection,
    chain: Chain<'_>,
    now: ServerTime,
    events: &[Event],
) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let head = store::lock_head(tx, chain.as_str(), &genesis(chain)).await?;
    let (mut no, mut previous) = (head.no, head.hash);
    let rows = events
        .iter()
        .map(|event| {
            no += 1;
            let mut row = EventRow {
                no,
                at: OffsetDateTime::from(now),
                username: event.username.clone(),
                device: event.device.map(|device| device.0),
                action: event.action.as_str().to_owned(),
                record: event.record.map(|record| record.0),
                detail: event.detail.to_string(),
                previous: previous.clone(),
                hash: Vec::new(),
            };
            row.hash = hash(chain, &row).to_vec();
            previous.clone_from(&row.hash);
            row
        })
        .collect();
    store::append(tx, chain.as_str(), rows).await
}

/// What the first event of a chain names as the one before it.
pub fn genesis(chain: Chain<'_>) -> [u8; 32] {
    Sha256::new()
        .chain_update(FORM)
        .chain_update(chain.as_str())
        .finalize()
        .into()
}

/// The hash of an event: SHA-256 over the form's name and then every column, each behind its length in four bytes, so that no two
/// different rows give the same bytes.
pub fn hash(chain: Chain<'_>, event: &EventRow) -> [u8; 32] {
    let mut sha = Sha256::new_with_prefix(FORM);
    let mut column = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => {
            sha.update(
                u32::try_from(bytes.len())
                    .unwrap_or(ABSENT - 1)
                    .to_be_bytes(),
            );
            sha.update(bytes);
        }
        None => sha.update(ABSENT.to_be_bytes()),
    };
    column(Some(&event.previous));
    column(Some(chain.as_str().as_bytes()));
    column(Some(&event.no.to_be_bytes()));
    // Postgres keeps microseconds.
    column(Some(
        &((event.at.unix_timestamp_nanos() / 1_000) as i64).to_be_bytes(),
    ));
    column(event.username.as_deref().map(str::as_bytes));
    column(
        event
            .device
            .as_ref()
            .map(|device| device.as_bytes().as_slice()),
    );
    column(Some(event.action.as_bytes()));
    column(
        event
            .record
            .as_ref()
            .map(|record| record.as_bytes().as_slice()),
    );
    column(Some(event.detail.as_bytes()));
    sha.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn row() -> EventRow {
        EventRow {
            no: 7,
            at: OffsetDateTime::from_unix_timestamp_nanos(1_795_248_000_123_456_000).unwrap(),
            username: Some("wang.fang".into()),
            device: Some(Uuid::from_u128(1)),
            action: "content".into(),
            record: Some(Uuid::from_u128(2)),
            detail: r#"{"n":1}"#.into(),
            previous: vec![9; 32],
            hash: Vec::new(),
        }
    }

    #[test]
    fn every_column_counts_and_none_can_be_taken_for_another() {
        let street: StreetCode = "310104003".parse().unwrap();
        let chain = Chain::from(&street);
        let changed: Vec<fn(&mut EventRow)> = vec![
            |row| row.no = 8,
            |row| row.at += time::Duration::microseconds(1),
            |row| row.username = None,
            |row| row.username = Some(String::new()),
            |row| row.device = None,
            |row| row.device = Some(Uuid::from_u128(2)),
            |row| row.action = "erase".into(),
            |row| row.record = None,
            |row| row.detail = r#"{"n":2}"#.into(),
            |row| row.detail = r#"{"n": 1}"#.into(),
            |row| row.previous = vec![8; 32],
            // The same bytes, cut elsewhere.
            |row| (row.username, row.action) = (Some("wang.fan".into()), "gcontent".into()),
            |row| (row.device, row.record) = (row.record, row.device),
        ];
        let mut seen =
            std::collections::HashSet::from([hash(chain, &row()), hash(Chain::DEPLOYMENT, &row())]);
        assert_eq!(seen.len(), 2);
        for (n, change) in changed.into_iter().enumerate() {
            let mut row = row();
            change(&mut row);
            assert!(
                seen.insert(hash(chain, &row)),
                "change {n} keeps the hash of another row"
            );
        }
    }

    #[test]
    fn the_form_of_the_hash_is_frozen() {
        // Other programs check trails with it: docs/operations.md describes it.
        assert_eq!(
            hex::encode(hash(Chain::DEPLOYMENT, &row())),
            "bbc54cdf486a4254be55965b68e71b87d72119460c7bc426c4170a52e260d008"
        );
        assert_ne!(genesis(Chain::DEPLOYMENT), genesis(Chain("310104003")));
    }
}
