//! Merging two cards of one shop, and undoing it.
//!
//! What is carried over, and what an undo takes back, is `sync_core::duplicate::carry`'s to say. Invariants:
//! - both histories stay; nothing of the losing card is rewritten but `merged_into`, which only the server writes;
//! - everything a merge writes on the winner is signed with the merge's own epochs, and nothing else is.

use lianka_sync_core::{id::Actor, kinds::duplicate::carry};

use crate::store::CardMerge;

/// The field of a card that was merged away.
pub const MERGED_INTO: &str = "merged_into";
/// Epochs of one merge: one for each of the values it may put beside each other.
const EPOCHS: u32 = 64;
const _: () = assert!(carry::VALUES_MAX <= EPOCHS as usize);

/// An epoch of a merge's own. The high bit keeps it from the epochs of phones, which count from 0.
pub fn epoch(entropy: [u8; 4]) -> u32 {
    (u32::from_be_bytes(entropy) | 0x8000_0000) & !(EPOCHS - 1)
}

/// Whether an actor wrote for the merge.
pub fn wrote(merge: &CardMerge) -> impl Fn(Actor) -> bool + use<> {
    let epoch = merge.epoch;
    move |actor| actor.epoch() & !(EPOCHS - 1) == epoch
}
