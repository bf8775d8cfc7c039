//! The newest part of a street's log in memory: what every pull reads of it again, read of the store once.
//!
//! In: where the store stands ([`Newest`]), and what it holds of a stretch that is not known ([`News`]). Out: what a pull reads of the log, as the
//! store would say it. Invariants:
//! - it holds what was committed, never what is being decided: any number of servers before one store are right;
//! - where the store no longer has its newest entry as it is known here (put back from a backup, rewritten), nothing of it is believed;
//! - of a record that was rebuilt or erased no older change is kept;
//! - beyond its bounds the oldest entries go, and what began before them is read of the store.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use lianka_sync_core::{
    id::{ChangeHash, DeviceId, RecordId},
    kinds::Kind,
    time::ServerTime,
};
use uuid::Uuid;

use super::{Advance, Departure, Gone, LogChange, Slice};

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    pub entries: usize,
    /// Of memory, for the entries.
    pub bytes: usize,
}

impl Bounds {
    /// Whatever is learned.
    pub const NONE: Self = Self {
        entries: usize::MAX,
        bytes: usize::MAX,
    };
}

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub seq: i64,
    pub record: RecordId,
    pub generation: u32,
    pub received_at: ServerTime,
    pub what: What,
}

impl Entry {
    /// By what it is known again.
    pub fn mark(&self) -> Mark {
        Mark {
            record: self.record,
            hash: match &self.what {
                What::Change { hash, .. } => Some(*hash),
                What::Leave { .. } | What::Snapshot | What::Erase => None,
            },
            received_at: self.received_at,
        }
    }
}

/// What an entry says.
#[derive(Clone, Debug)]
pub enum What {
    Change {
        hash: ChangeHash,
        device: DeviceId,
        /// Written by the server in the device's name, which therefore does not have it.
        composed: bool,
        bytes: Arc<[u8]>,
    },
    Leave {
        grid: String,
    },
    Snapshot,
    Erase,
}

/// Where a record stands now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stand {
    pub kind: Kind,
    pub grid: String,
    /// The entry that brought it there.
    pub grid_seq: i64,
    /// Somebody filled in a sensitive field.
    pub holds_p3: bool,
}

/// By what an entry is known again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    pub record: RecordId,
    pub hash: Option<ChangeHash>,
    pub received_at: ServerTime,
}

/// Where the store stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Newest {
    /// Which history it holds.
    pub store_epoch: Uuid,
    pub head: i64,
    /// What it has at [`Tail::newest`].
    pub mark: Option<Mark>,
}

/// A part of the log: the entries in `after..=upto`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    pub after: i64,
    pub upto: i64,
}

/// Entries of a stretch in order, and where their records stand; one that was erased stands nowhere.
#[derive(Clone, Debug, Default)]
pub struct News {
    pub entries: Vec<Entry>,
    pub stands: BTreeMap<RecordId, Stand>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Tail {
    bounds: Bounds,
    store_epoch: Uuid,
    /// Every entry in `after..=head` that still says something is here.
    after: i64,
    head: i64,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Of every record of the entries that was not erased.
    stands: BTreeMap<RecordId, Stand>,
}

impl Tail {
    /// Knows nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        Self::at(bounds, Uuid::nil(), 0)
    }

    fn at(bounds: Bounds, store_epoch: Uuid, head: i64) -> Self {
        Self {
            bounds,
            store_epoch,
            after: head,
            head,
            entries: VecDeque::new(),
            bytes: 0,
            stands: BTreeMap::new(),
        }
    }

    /// Its newest entry: [`Newest::mark`] is to be what the store has there.
    pub fn newest(&self) -> i64 {
        self.entries.back().map_or(0, |entry| entry.seq)
    }

    /// Bytes of memory for its entries.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What must be read before it is as new as the store.
    pub fn behind(&mut self, newest: &Newest) -> Option<Stretch> {
        let (after, upto) = (self.head, newest.head);
        let known = self.entries.back().map(Entry::mark);
        if newest.store_epoch != self.store_epoch
            || known.is_none()
            || known != newest.mark
            || upto < after
            || self.is_too_much(upto - after)
        {
            *self = Self::at(self.bounds, newest.store_epoch, upto);
            return None;
        }
        (upto > after).then_some(Stretch { after, upto })
    }

    /// What must be read before it tells everything beyond `after`; nothing where it does, or would have to hold too much.
    pub fn before(&self, after: i64) -> Option<Stretch> {
        let upto = self.head;
        (after < self.after && !self.is_too_much(upto - after)).then_some(Stretch { after, upto })
    }

    fn is_too_much(&self, entries: i64) -> bool {
        usize::try_from(entries).is_ok_and(|entries| entries > self.bounds.entries)
    }

    /// Whether it tells everything in `after..=upto`. A new one tells nothing.
    pub fn tells(&self, after: i64, upto: i64) -> bool {
        after >= self.after && upto <= self.head
    }

    /// Takes in what the store has of a stretch.
    pub fn learn(&mut self, stretch: Stretch, news: News) {
        if stretch.after < self.after {
            // Not the older part alone: what was there may have been trimmed since, and what stands for it lies further on.
            self.entries.clear();
            self.stands.clear();
            self.after = stretch.after;
        }
        let News { entries, stands } = news;
        let ends = entries.iter().filter(|entry| match entry.what {
            What::Snapshot | What::Erase => true,
            // It left, and stands nowhere: it went with its import.
            What::Leave { .. } => !stands.contains_key(&entry.record),
            What::Change { .. } => false,
        });
        let ends: BTreeMap<_, _> = ends.map(|entry| (entry.record, entry.seq)).collect();
        // What a record had before its end says nothing more, but that it left.
        let still = |entry: &Entry| {
            matches!(entry.what, What::Leave { .. })
                || ends.get(&entry.record).is_none_or(|end| entry.seq >= *end)
        };
        if !ends.is_empty() {
            self.entries.retain(still);
        }
        for entry in entries.into_iter().filter(still) {
            match stands.get(&entry.record) {
                Some(stand) => self.stands.insert(entry.record, stand.clone()),
                None => self.stands.remove(&entry.record),
            };
            self.entries.push_back(entry);
        }
        self.head = stretch.upto;
        self.shrink();
    }

    /// Lets the oldest go beyond the bounds.
    fn shrink(&mut self) {
        self.bytes = self.entries.iter().map(bytes).sum();
        while self.entries.len() > self.bounds.entries || self.bytes > self.bounds.bytes {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= bytes(&oldest);
                self.after = oldest.seq;
            }
        }
        if self.stands.len() > self.entries.len() {
            let of: BTreeSet<_> = self.entries.iter().map(|entry| entry.record).collect();
            self.stands.retain(|record, _| of.contains(record));
        }
    }

    fn stretch(&self, after: i64, upto: i64) -> impl Iterator<Item = &Entry> {
        let from = self.entries.partition_point(|entry| entry.seq <= after);
        let entries = self.entries.range(from..);
        entries.take_while(move |entry| entry.seq <= upto)
    }

    fn slice<'t>(&'t self, slice: &'t Slice) -> impl Iterator<Item = (&'t Entry, &'t Stand)> {
        self.stretch(slice.after, slice.upto)
            .filter(|entry| match &entry.what {
                What::Change { .. } => slice.with_brought || !is_brought(entry, slice),
                What::Snapshot => true,
                What::Leave { .. } | What::Erase => false,
            })
            .filter_map(|entry| {
                let stand = self.stands.get(&entry.record)?;
                is_in(slice.grids.as_ref(), &stand.grid).then_some((entry, stand))
            })
    }

    /// What a slice of the log holds of each record.
    pub fn advances(&self, slice: &Slice) -> Vec<Advance> {
        let mut advances: BTreeMap<RecordId, Advance> = BTreeMap::new();
        for (entry, stand) in self.slice(slice) {
            let advance = advances.entry(entry.record).or_insert(Advance {
                record: entry.record,
                kind: stand.kind,
                entries: 0,
                arrived: false,
                holds_p3: stand.holds_p3,
            });
            advance.entries += 1;
            advance.arrived |= matches!(entry.what, What::Snapshot) || stand.grid_seq == entry.seq;
        }
        advances.into_values().collect()
    }

    /// The first `limit` entries of a slice of the log.
    pub fn changes(&self, slice: &Slice, limit: usize) -> Vec<LogChange> {
        let change = |(entry, _): (&Entry, _)| LogChange {
            seq: entry.seq,
            record: entry.record,
            generation: entry.generation,
            bytes: match &entry.what {
                What::Change { bytes, .. } => Some(Arc::clone(bytes)),
                What::Leave { .. } | What::Snapshot | What::Erase => None,
            },
            brought: slice.with_brought && is_brought(entry, slice),
        };
        self.slice(slice).take(limit).map(change).collect()
    }

    /// The records that left a phone's sight by what the log says; those that stand in a grid that was lost are the store's to tell.
    pub fn departures(&self, gone: &Gone) -> Vec<Departure> {
        let mut departures: BTreeMap<RecordId, bool> = BTreeMap::new();
        for entry in self.stretch(gone.after, gone.upto) {
            let is_out_of_sight = || {
                let stand = self.stands.get(&entry.record);
                stand.is_none_or(|stand| !is_in(gone.now.as_ref(), &stand.grid))
            };
            let erased = match &entry.what {
                // It concerns every phone: one that lost its grid long ago may still hold a draft.
                What::Erase => true,
                What::Leave { grid } if is_in(gone.seen.as_ref(), grid) && is_out_of_sight() => {
                    false
                }
                What::Leave { .. } | What::Change { .. } | What::Snapshot => continue,
            };
            *departures.entry(entry.record).or_default() |= erased;
        }
        let departure = |(record, erased)| Departure { record, erased };
        departures.into_iter().map(departure).collect()
    }
}

fn bytes(entry: &Entry) -> usize {
    let content = match &entry.what {
        What::Change { bytes, .. } => bytes.len(),
        What::Leave { grid } => grid.len(),
        What::Snapshot | What::Erase => 0,
    };
    size_of::<Entry>() + content
}

/// Whether the device has it from its own request.
fn is_brought(entry: &Entry, slice: &Slice) -> bool {
    let What::Change {
        device, composed, ..
    } = &entry.what
    else {
        return false;
    };
    *device == slice.device && !composed && slice.brought.contains(&entry.seq)
}

/// `None` is the whole street.
fn is_in(grids: Option<&Vec<String>>, grid: &str) -> bool {
    grids.is_none_or(|grids| grids.iter().any(|one| one == grid))
}

#[cfg(test)]
mod tests;
