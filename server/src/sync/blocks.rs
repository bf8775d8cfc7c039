//! The blocks of the log that several phones are sent, packed once, kept in this process's memory for RESPOND.
//!
//! Known by the very changes that they hold, as [`super::tails`] has them of what was committed: any number of servers may stand before one store.
//! What the tail lets go, because it grew old, was erased or is not believed any more, goes here as well.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use lianka_office_core::pull::{Run, SentChange};

/// Blocks, and bytes of all of them.
const BLOCKS_MAX: usize = 256;
const BLOCK_BYTES_MAX: usize = 8 << 20;

/// A block: which changes it holds, and how it is sent once somebody was sent it.
struct Kept {
    changes: Vec<(i64, Weak<[u8]>)>,
    packed: Arc<Mutex<Option<Bytes>>>,
    bytes: usize,
}

impl Kept {
    fn is_of(&self, run: &Run) -> bool {
        let same = |((seq, kept), change): (&(i64, Weak<[u8]>), &SentChange)| {
            *seq == change.seq && std::ptr::addr_eq(kept.as_ptr(), Arc::as_ptr(&change.bytes))
        };
        self.changes.len() == run.0.len() && self.changes.iter().zip(&run.0).all(same)
    }

    /// Whether all that it holds is still told.
    fn stands(&self) -> bool {
        self.changes
            .iter()
            .all(|(_, change)| change.strong_count() > 0)
    }
}

/// See the module.
#[derive(Default)]
pub struct Blocks(Mutex<VecDeque<Kept>>);

impl Blocks {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what is told no more.
    pub fn purge(&self) {
        self.kept().retain(Kept::stands);
    }

    /// Where a run is kept as it is sent, or is to be.
    fn place(&self, run: &Run) -> Arc<Mutex<Option<Bytes>>> {
        let mut blocks = self.kept();
        if let Some(kept) = blocks.iter().find(|kept| kept.is_of(run)) {
            return Arc::clone(&kept.packed);
        }
        blocks.retain(Kept::stands);
        let bytes = |kept: &Kept| kept.bytes;
        while blocks.len() >= BLOCKS_MAX
            || blocks.iter().map(bytes).sum::<usize>() > BLOCK_BYTES_MAX
        {
            blocks.pop_front();
        }
        let change = |change: &SentChange| (change.seq, Arc::downgrade(&change.bytes));
        let place = Arc::default();
        blocks.push_back(Kept {
            changes: run.0.iter().map(change).collect(),
            packed: Arc::clone(&place),
            bytes: 0,
        });
        place
    }

    /// A run as it is sent, by `pack` unless it was packed before. Who comes while it is being packed waits.
    pub fn packed<E>(
        &self,
        run: &Run,
        pack: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let place = self.place(run);
        let mut packed = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packed) = &*packed {
            return Ok(packed.clone());
        }
        let fresh = pack()?;
        *packed = Some(fresh.clone());
        drop(packed);
        let size = fresh.len() + run.0.len() * size_of::<(i64, Weak<[u8]>)>();
        if let Some(kept) = self
            .kept()
            .iter_mut()
            .find(|kept| Arc::ptr_eq(&kept.packed, &place))
        {
            kept.bytes = size;
        }
        Ok(fresh)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use lianka_sync_core::id::RecordId;

    use super::*;

    fn run(changes: &[(i64, &Arc<[u8]>)]) -> Run {
        let change = |(seq, bytes): &(i64, &Arc<[u8]>)| {
            SentChange::new(*seq, RecordId::default(), 1, Arc::clone(bytes))
        };
        Run(changes.iter().map(change).collect())
    }

    /// What is sent of a run, and whether it was packed for it.
    fn sent(blocks: &Blocks, run: &Run, says: &'static str) -> (Bytes, bool) {
        let mut packs = false;
        let Ok(bytes) = blocks.packed(run, || {
            packs = true;
            Ok::<_, Infallible>(says.into())
        });
        (bytes, packs)
    }

    #[test]
    fn a_run_is_packed_once_while_the_tail_tells_it() {
        let blocks = Blocks::default();
        let [one, two]: [Arc<[u8]>; 2] = [b"1".as_slice().into(), b"2".as_slice().into()];
        let both = run(&[(1, &one), (2, &two)]);
        assert_eq!(sent(&blocks, &both, "a"), ("a".into(), true));
        assert_eq!(sent(&blocks, &both, "b"), ("a".into(), false));
        assert_eq!(sent(&blocks, &run(&[(1, &one)]), "c"), ("c".into(), true));
        // The same bytes, read anew of a store that may have been put back.
        let again: Arc<[u8]> = b"2".as_slice().into();
        let other = run(&[(1, &one), (2, &again)]);
        assert_eq!(sent(&blocks, &other, "d"), ("d".into(), true));
        drop((both, two));
        blocks.purge();
        let changes = |kept: &Kept| kept.changes.len();
        let kept: Vec<_> = blocks.kept().iter().map(changes).collect();
        assert_eq!(kept, [1, 2]);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let blocks = Blocks::default();
        let change: Arc<[u8]> = b"1".as_slice().into();
        for seq in 0..=BLOCKS_MAX as i64 {
            sent(&blocks, &run(&[(seq, &change)]), "a");
        }
        assert_eq!(blocks.kept().len(), BLOCKS_MAX);
        assert!(
            sent(&blocks, &run(&[(0, &change)]), "b").1,
            "the oldest went"
        );
    }
}
