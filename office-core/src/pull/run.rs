//! Changes of the log that go together, and what is sent of them.

use std::sync::Arc;

use lianka_sync_core::{
    codec::{block, change, wire::ResponseItem},
    id::RecordId,
};

/// A change that is sent.
#[derive(Clone, Debug)]
pub struct SentChange {
    pub seq: i64,
    pub record: RecordId,
    pub generation: u32,
    /// The change, shared with all others who are sent it.
    pub bytes: Arc<[u8]>,
    /// The device brought it in this very request.
    pub(super) brought: bool,
}

impl SentChange {
    /// A change that somebody else made.
    pub fn new(seq: i64, record: RecordId, generation: u32, bytes: Arc<[u8]>) -> Self {
        Self {
            seq,
            record,
            generation,
            bytes,
            brought: false,
        }
    }

    pub(super) fn item(&self) -> ResponseItem {
        ResponseItem::Change {
            record: self.record,
            generation: self.generation,
            seq: self.seq.unsigned_abs(),
            bytes: self.bytes.to_vec(),
        }
    }

    fn entry(&self) -> Option<block::Entry> {
        Some(block::Entry {
            record: self.record,
            generation: self.generation,
            seq: self.seq.unsigned_abs(),
            change: change::decode(&self.bytes).ok()?,
        })
    }
}

/// Changes of the log, in its order, that are sent together.
#[derive(Clone, Debug)]
pub struct Run(pub Vec<SentChange>);

impl Run {
    /// What is sent of it: a block, or the changes where they make none.
    pub fn items(&self) -> Vec<ResponseItem> {
        let entries: Option<Vec<_>> = self.0.iter().map(SentChange::entry).collect();
        match entries.and_then(|entries| block::pack(&entries)) {
            Some(bytes) => vec![ResponseItem::Block { bytes }],
            None => self.0.iter().map(SentChange::item).collect(),
        }
    }
}
