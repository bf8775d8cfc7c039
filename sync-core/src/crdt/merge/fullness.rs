//! How near a record is to what it may hold at most.

use crate::crdt::merge::{Register, RegisterState};
use crate::limits;

impl RegisterState {
    /// The fullest of the record's bounded parts, in percent: changes, bytes, actors, keys, the operations that one key remembers. At 100 no
    /// more is accepted until the record is compacted.
    pub fn fullness(&self) -> u32 {
        let overwritten = |register: &Register| register.overwritten.len();
        let parts = [
            (self.history.len() as u64, limits::RECORD_CHANGES_MAX as u64),
            (self.bytes, limits::RECORD_BYTES_MAX),
            (self.actors.len() as u64, limits::RECORD_ACTORS_MAX as u64),
            (self.registers.len() as u64, limits::RECORD_KEYS_MAX as u64),
            (
                self.registers.values().map(overwritten).max().unwrap_or(0) as u64,
                limits::REGISTER_OVERWRITTEN_MAX as u64,
            ),
        ];
        parts
            .into_iter()
            .map(|(has, max)| (has * 100 / max) as u32)
            .max()
            .unwrap_or(0)
    }
}
