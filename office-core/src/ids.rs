//! Ids that follow from what they are given: the time and some entropy, or what they name.

use lianka_sync_core::{id::RecordId, time::ServerTime};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Random ids of one write, all from one piece of entropy.
#[derive(Debug)]
pub struct Ids {
    entropy: [u8; 16],
    made: u64,
}

impl Ids {
    /// As many as are needed from `entropy`.
    pub fn new(entropy: [u8; 16]) -> Self {
        Self { entropy, made: 0 }
    }

    /// The next one.
    pub fn next(&mut self, now: ServerTime) -> Uuid {
        self.made += 1;
        derived(now, &[&self.entropy, &self.made.to_be_bytes()])
    }
}

/// An id that follows from what it names.
pub fn derived(now: ServerTime, parts: &[&[u8]]) -> Uuid {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    let digest = sha.finalize();
    let mut entropy = [0; 10];
    entropy.copy_from_slice(&digest[..10]);
    RecordId::new_v7(now.unix_ms().unsigned_abs(), entropy).0
}
