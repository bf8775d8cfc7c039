//! The pages that several phones download at one head, kept in this process's memory for RESPOND.
//!
//! Read from what was committed, so any number of servers may stand before one store. Whoever reads first reads for all that wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use lianka_office_core::pull::{Document, Part};
use lianka_sync_core::id::StreetCode;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Bytes of all pages, and pages: whoever makes up cursors asks for many that are empty.
const PAGE_BYTES_MAX: usize = 12 << 20;
const PAGES_MAX: usize = 1_024;

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

/// See the module.
#[derive(Default)]
pub struct Pages(Mutex<HashMap<PageKey, Arc<Page>>>);

impl Pages {
    fn kept(&self) -> MutexGuard<'_, HashMap<PageKey, Arc<Page>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page, by `read` unless somebody read it before.
    pub async fn page<E>(
        &self,
        key: PageKey,
        read: impl Future<Output = Result<Vec<Document>, E>>,
    ) -> Result<Arc<[Document]>, E> {
        let page = {
            let mut pages = self.kept();
            // What the street was before is asked for no more.
            pages.retain(|kept, _| {
                kept.street != key.street
                    || (kept.store_epoch, kept.head) == (key.store_epoch, key.head)
            });
            if pages.len() >= PAGES_MAX
                || pages.values().map(|page| page.bytes()).sum::<usize>() > PAGE_BYTES_MAX
            {
                pages.clear();
            }
            Arc::clone(pages.entry(key).or_default())
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
        let page = self.kept().values().find(is_it).cloned();
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
