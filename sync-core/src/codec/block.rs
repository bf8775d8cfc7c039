//! A run of the log's changes packed column by column, without what a phone can tell by itself.
//!
//! In: changes that passed the gate, in the order of the log ([`pack()`]). Out: a block; and from a block and what its reader holds ([`Holdings`])
//! the very bytes of every change again. Invariants:
//!
//! - what [`Block::unpack`] gives is, byte for byte, what was packed, or it refuses: every change is encoded again and must have the checksum that
//!   it had. Nothing of a block that does not come out whole is to be believed;
//! - time and memory are linear in the limits of [`crate::limits`], whatever the bytes are;
//! - a record and a dependency outside the block stand in it by some of their bytes: the reader holds them, because it is sent the changes of
//!   such records alone, in an order in which dependencies come first.
//!
//! Who does not hold what a block builds on asks for the changes themselves.

use crate::{
    codec::change::Change,
    id::{Actor, ChangeHash, RecordId},
};

mod column;
mod pack;
mod unpack;

pub use pack::pack;
pub use unpack::Block;

/// The form of a block that this program writes and reads: what a phone says that it knows, and a block's first byte.
pub const VERSION: u8 = 1;

/// The last bytes of a record's id: the first are the time at which it was made, much the same for a whole roll.
pub type ShortRecord = [u8; 4];
/// The first bytes of a hash.
type ShortHash = [u8; 2];

/// What an operation does, as a block names it.
mod action {
    pub const PUT_TEXT: u8 = 0;
    pub const PUT_INT: u8 = 1;
    pub const PUT_FALSE: u8 = 2;
    pub const PUT_TRUE: u8 = 3;
    pub const DELETE: u8 = 4;
    pub const MAKE_TEXT: u8 = 5;
    pub const INSERT: u8 = 6;
    pub const REMOVE: u8 = 7;
}

/// A change and where it stands in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The record.
    pub record: RecordId,
    /// Its generation.
    pub generation: u32,
    /// The log entry.
    pub seq: u64,
    /// The change.
    pub change: Change,
}

/// A change that came out of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpacked {
    /// The record.
    pub record: RecordId,
    /// Its generation.
    pub generation: u32,
    /// The log entry.
    pub seq: u64,
    /// What the change is known by.
    pub hash: ChangeHash,
    /// Who wrote it.
    pub actor: Actor,
    /// The change chunk.
    pub bytes: Vec<u8>,
}

/// What the reader of a block holds.
pub trait Holdings {
    /// Why it could not be looked up.
    type Error;
    /// The records whose ids end so.
    fn records(&mut self, short: ShortRecord) -> Result<Vec<RecordId>, Self::Error>;
    /// The changes of a record that begin so, among the ones that are cheap to tell, its heads first; `all`: among every one.
    fn changes(
        &mut self,
        record: RecordId,
        begins: &dyn Fn(&ChangeHash) -> bool,
        all: bool,
    ) -> Result<Vec<ChangeHash>, Self::Error>;
}

/// Why a block could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not a block as [`pack()`] writes it.
    #[error("not a block of changes: {0}")]
    Malformed(&'static str),
    /// A count or size is over its limit.
    #[error("too large: {0}, at most {1}")]
    TooLarge(&'static str, usize),
}

/// What a record ends with.
pub fn short_record(record: RecordId) -> ShortRecord {
    let bytes = record.0.as_bytes();
    [bytes[12], bytes[13], bytes[14], bytes[15]]
}

fn short_hash(hash: &ChangeHash) -> ShortHash {
    [hash.0[0], hash.0[1]]
}

#[cfg(test)]
mod tests;
