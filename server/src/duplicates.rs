//! Likely duplicates of a street: which cards meet under a key, compared by the same rule as on the phone.
//!
//! In: the read model `shop_key`. Out: pairs with their reasons. The rule and its reasons are `sync_core::duplicate`'s; nothing here ranks.
//!
//! Bounds: a key that more than [`KEY_CARDS_MAX`] cards share (the door of a mall, the name of a chain) brings nobody together, so the work
//! grows with the cards and not with their square. Two shops behind such a door still meet by name, phone or code.

pub mod contacts;
pub mod routes;

// The tables that the transaction of a street writes stand with the street.
pub use crate::street::store::card_merges as store;

use std::collections::{BTreeSet, HashMap};

use lianka_sync_core::{
    id::{RecordId, StreetCode},
    kinds::duplicate::{self, Reason, Traits},
};
use sqlx::PgConnection;
use uuid::Uuid;

/// Cards that may share a key that is looked under.
pub const KEY_CARDS_MAX: i64 = 20;
/// Pairs that are compared for one answer.
const CANDIDATES_MAX: usize = 200_000;

/// Two cards that are likely one shop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    /// [`duplicate::pair_id`].
    pub pair: Uuid,
    /// Ascending.
    pub records: (RecordId, RecordId),
    pub reasons: Vec<Reason>,
    /// Both doors are known and differ.
    pub other_door: bool,
    /// Somebody looked at these reasons and found two shops.
    pub dismissed: bool,
}

/// Every likely pair of the street, the newest cards first.
pub async fn likely(conn: &mut PgConnection, street: &StreetCode) -> sqlx::Result<Vec<Pair>> {
    let candidates = candidates(conn, street).await?;
    let records: Vec<Uuid> = candidates
        .iter()
        .flat_map(|(a, b)| [*a, *b])
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let traits = traits(conn, street, &records).await?;
    let dismissed: HashMap<Uuid, Vec<String>> =
        store::dismissals(conn, street).await?.into_iter().collect();
    let mut pairs: Vec<Pair> = candidates
        .into_iter()
        .filter_map(|(a, b)| {
            let comparison = traits.get(&a)?.compare(traits.get(&b)?);
            if !comparison.is_likely() {
                return None;
            }
            let records = (RecordId(a), RecordId(b));
            let pair = duplicate::pair_id(records.0, records.1);
            let looked_at = |reason: &Reason| {
                dismissed
                    .get(&pair)
                    .is_some_and(|reasons| reasons.iter().any(|r| r == reason.as_str()))
            };
            Some(Pair {
                pair,
                records,
                dismissed: comparison.reasons.iter().all(looked_at),
                other_door: comparison.other_door,
                reasons: comparison.reasons,
            })
        })
        .collect();
    pairs.sort_by_key(|pair| std::cmp::Reverse((pair.records.1, pair.records.0)));
    Ok(pairs)
}

/// Pairs of cards that meet under a key, the smaller id first.
pub async fn candidates(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<BTreeSet<(Uuid, Uuid)>> {
    let mut pairs = BTreeSet::new();
    for mut records in store::groups(conn, street, KEY_CARDS_MAX).await? {
        records.sort_unstable();
        for (at, first) in records.iter().enumerate() {
            pairs.extend(records[at + 1..].iter().map(|second| (*first, *second)));
        }
        if pairs.len() > CANDIDATES_MAX {
            tracing::warn!(%street, "more cards meet than are compared: the list of likely duplicates is not complete");
            break;
        }
    }
    Ok(pairs)
}

async fn traits(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, Traits>> {
    let mut keys: HashMap<Uuid, Vec<String>> = HashMap::new();
    for (record, key) in store::keys(conn, street, records).await? {
        keys.entry(record).or_default().push(key);
    }
    Ok(keys
        .into_iter()
        .map(|(record, keys)| (record, Traits::from_keys(keys.iter().map(String::as_str))))
        .collect())
}
