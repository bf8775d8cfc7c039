//! What this process keeps in memory of the streets for RESPOND: the tail of each log, and the pages that several phones download at one head.
//!
//! Filled from what was committed, so any number of servers may stand before one store. Whoever reads first reads for all that wait. Bounded: the
//! streets that were asked about longest ago go first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use lianka_office_core::pull::{
    Document, Part,
    tail::{Bounds, Newest, Tail},
};
use lianka_sync_core::id::StreetCode;
use sqlx::{PgConnection, PgPool};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::street::store::log_tail;

/// Streets that are kept, and bytes of memory for the tail of one and of all.
const STREETS_MAX: usize = 512;
const STREET_BYTES_MAX: usize = 8 << 20;
const TAIL_BYTES_MAX: usize = 24 << 20;
/// Bytes of all pages, and pages: whoever makes up cursors asks for many that are empty.
const PAGE_BYTES_MAX: usize = 12 << 20;
const PAGES_MAX: usize = 1_024;

/// See the module.
pub struct Tails {
    bounds: Bounds,
    streets: Mutex<Streets>,
    pages: Mutex<Pages>,
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
    /// Keeps at most so many entries of a street.
    pub fn new(entries: usize) -> Self {
        Self {
            bounds: Bounds {
                entries,
                bytes: STREET_BYTES_MAX,
            },
            streets: Mutex::default(),
            pages: Mutex::default(),
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
        StreetTail {
            tails: self,
            street,
            tail: Arc::clone(&kept.tail),
        }
    }

    fn weigh(&self, street: &StreetCode, bytes: usize) {
        let mut streets = self.streets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = streets.of.get_mut(street) {
            kept.bytes = bytes;
        }
        let weight = |of: &HashMap<_, Kept>| of.values().map(|kept| kept.bytes).sum::<usize>();
        while streets.of.len() > STREETS_MAX
            || (streets.of.len() > 1 && weight(&streets.of) > TAIL_BYTES_MAX)
        {
            let oldest = streets.of.iter().min_by_key(|(_, kept)| kept.asked);
            let Some(oldest) = oldest.map(|(street, _)| street.clone()) else {
                break;
            };
            streets.of.remove(&oldest);
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

/// A page of a download: what stood in some grids when the street was at this head, or later.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PageKey {
    pub street: StreetCode,
    pub store_epoch: Uuid,
    pub head: i64,
    pub grids: Option<Vec<String>>,
    pub after: i64,
    pub limit: usize,
}

/// A page, once it was read; and its parts as they are sent, by their beginnings, once somebody was sent them.
#[derive(Default)]
struct Page {
    documents: OnceCell<Arc<[Document]>>,
    packed: Mutex<HashMap<usize, Bytes>>,
}

impl Page {
    fn packed(&self) -> MutexGuard<'_, HashMap<usize, Bytes>> {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self) -> usize {
        let documents = self
            .documents
            .get()
            .into_iter()
            .flat_map(|page| page.iter());
        let documents = documents.map(|document| size_of::<Document>() + document.bytes.len());
        documents.sum::<usize>() + self.packed().values().map(Bytes::len).sum::<usize>()
    }
}

#[derive(Default)]
struct Pages {
    of: HashMap<PageKey, Arc<Page>>,
}

impl Tails {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page, by `read` unless somebody read it before.
    pub async fn page<E>(
        &self,
        key: PageKey,
        read: impl Future<Output = Result<Vec<Document>, E>>,
    ) -> Result<Arc<[Document]>, E> {
        let page = {
            let mut pages = self.pages();
            // What the street was before is asked for no more.
            pages.of.retain(|kept, _| {
                kept.street != key.street
                    || (kept.store_epoch, kept.head) == (key.store_epoch, key.head)
            });
            if pages.of.len() >= PAGES_MAX
                || pages.of.values().map(|page| page.bytes()).sum::<usize>() > PAGE_BYTES_MAX
            {
                pages.of.clear();
            }
            Arc::clone(pages.of.entry(key).or_default())
        };
        let read = page
            .documents
            .get_or_try_init(async || Ok(read.await?.into()));
        Ok(Arc::clone(read.await?))
    }

    /// Part of a page that was read here as it is sent, by `pack` unless it was packed before.
    pub fn packed<E>(
        &self,
        part: &Part,
        pack: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let is_it = |page: &&Arc<Page>| {
            let read = page.documents.get();
            read.is_some_and(|read| Arc::ptr_eq(read, &part.page))
        };
        let page = self.pages().of.values().find(is_it).cloned();
        let known = |page: &Arc<Page>| page.packed().get(&part.range.start).cloned();
        if let Some(packed) = page.as_ref().and_then(known) {
            return Ok(packed);
        }
        let packed = pack()?;
        if let Some(page) = page {
            // Somebody else may have packed it meanwhile: the same bytes.
            page.packed().insert(part.range.start, packed.clone());
        }
        Ok(packed)
    }
}
