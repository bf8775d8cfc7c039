//! The tail of each street's log, kept in this process's memory for RESPOND.
//!
//! Filled from what was committed, so any number of servers may stand before one store. Bounded: the streets that were asked about longest ago
//! go first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use lianka_office_core::pull::tail::{Bounds, Newest, Tail};
use lianka_sync_core::id::StreetCode;
use sqlx::{PgConnection, PgPool};

use crate::street::store::log_tail;

/// Streets that are kept, and bytes of memory for the tails of all.
const STREETS_MAX: usize = 512;
const TAIL_BYTES_MAX: usize = 24 << 20;

/// See the module.
pub struct Tails {
    bounds: Bounds,
    streets: Mutex<Streets>,
}

#[derive(Default)]
struct Streets {
    of: HashMap<StreetCode, Kept>,
    /// How often a street was asked about.
    asked: u64,
}

struct Kept {
    tail: Arc<tokio::sync::Mutex<Tail>>,
    bytes: usize,
    /// When it was asked about last.
    asked: u64,
}

/// The tail of one street.
pub struct StreetTail<'t> {
    tails: &'t Tails,
    street: &'t StreetCode,
    tail: Arc<tokio::sync::Mutex<Tail>>,
}

impl Tails {
    /// Keeps at most so much of a street.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            streets: Mutex::default(),
        }
    }

    /// A street's tail.
    pub fn of<'t>(&'t self, street: &'t StreetCode) -> StreetTail<'t> {
        let mut streets = self.streets.lock().unwrap_or_else(PoisonError::into_inner);
        streets.asked += 1;
        let asked = streets.asked;
        let kept = streets.of.entry(street.clone()).or_insert_with(|| Kept {
            tail: Arc::new(tokio::sync::Mutex::new(Tail::new(self.bounds))),
            bytes: 0,
            asked,
        });
        kept.asked = asked;
        let tail = Arc::clone(&kept.tail);
        streets.bound();
        StreetTail {
            tails: self,
            street,
            tail,
        }
    }

    fn weigh(&self, street: &StreetCode, bytes: usize) {
        let mut streets = self.streets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = streets.of.get_mut(street) {
            kept.bytes = bytes;
        }
        streets.bound();
    }
}

impl Streets {
    fn bound(&mut self) {
        let weight = |of: &HashMap<_, Kept>| of.values().map(|kept| kept.bytes).sum::<usize>();
        while self.of.len() > STREETS_MAX
            || (self.of.len() > 1 && weight(&self.of) > TAIL_BYTES_MAX)
        {
            let oldest = self.of.iter().min_by_key(|(_, kept)| kept.asked);
            let Some(oldest) = oldest.map(|(street, _)| street.clone()) else {
                break;
            };
            self.of.remove(&oldest);
        }
    }
}

impl StreetTail<'_> {
    /// Where the street stands as last committed, with the tail brought there; `None` where there is no such street.
    pub async fn follow(&self, conn: &mut PgConnection) -> sqlx::Result<Option<Newest>> {
        let known = self.tail.lock().await.newest();
        let Some(mut newest) = log_tail::newest(conn, self.street, known).await? else {
            return Ok(None);
        };
        let mut tail = self.tail.lock().await;
        if tail.newest() != known {
            // Somebody else brought it further meanwhile.
            let again = log_tail::newest(conn, self.street, tail.newest()).await?;
            let Some(again) = again else {
                return Ok(None);
            };
            newest = again;
        }
        if let Some(behind) = tail.behind(&newest) {
            tail.learn(behind, log_tail::news(conn, self.street, behind).await?);
            self.tails.weigh(self.street, tail.bytes());
        }
        Ok(Some(newest))
    }

    /// Asks the tail, brought back to `after`; `None` where it does not tell all of `after..=upto`.
    pub async fn ask<T>(
        &self,
        pool: &PgPool,
        (after, upto): (i64, i64),
        ask: impl FnOnce(&Tail) -> T,
    ) -> sqlx::Result<Option<T>> {
        let mut tail = self.tail.lock().await;
        if !tail.tells(after, upto) {
            // Whoever holds the tail holds a connection already: nobody waits for one of them with the other in hand.
            drop(tail);
            let mut conn = pool.acquire().await?;
            tail = self.tail.lock().await;
            if let Some(before) = tail.before(after) {
                tail.learn(
                    before,
                    log_tail::news(&mut conn, self.street, before).await?,
                );
                self.tails.weigh(self.street, tail.bytes());
            }
        }
        Ok(tail.tells(after, upto).then(|| ask(&tail)))
    }
}
