//! Who is who: the ids that an office makes up, from a seed or as another office made them up.
//!
//! In: a seed, or what was recorded. Out: store epochs, device ids, epochs of merges, in the order in which they are needed. Two offices that draw from
//! the same record give equal names to devices, so actors, hashes of changes and winners of registers are equal too.

use std::collections::VecDeque;

use lianka_sync_core::{id::DeviceId, time::ServerTime};
use uuid::Uuid;

/// What an office made up, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recorded {
    /// The store's epochs: the first, and one for each restore.
    pub epochs: Vec<Uuid>,
    /// Devices by enrolment, desks included.
    pub devices: Vec<Uuid>,
    /// Epochs under which merges of cards, and joinings of contacts, wrote.
    pub merges: Vec<u32>,
    /// Joinings of contacts: consents are copied under ids that follow from them.
    pub joins: Vec<Uuid>,
}

/// Where an office takes its ids from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identities {
    /// From a seed.
    Seeded(u64),
    /// As they were made up elsewhere.
    Recorded(Recorded),
}

/// splitmix64: the same numbers for one seed for ever.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn uuid(&mut self) -> Uuid {
        let (high, low) = (self.number(), self.number());
        uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
            .into_uuid()
    }

    fn entropy(&mut self) -> [u8; 10] {
        let mut entropy = [0; 10];
        entropy[..8].copy_from_slice(&self.number().to_be_bytes());
        entropy[8..].copy_from_slice(&self.number().to_be_bytes()[..2]);
        entropy
    }
}

/// Ids as they are needed.
#[derive(Clone, Debug)]
pub struct Names {
    epochs: VecDeque<Uuid>,
    devices: VecDeque<Uuid>,
    merges: VecDeque<u32>,
    joins: VecDeque<Uuid>,
    numbers: Numbers,
}

/// Epochs of one merge: one for each of the values that it may put beside each other.
const MERGE_EPOCHS: u32 = 64;

impl Names {
    pub fn new(identities: Identities) -> Self {
        let (seed, recorded) = match identities {
            Identities::Seeded(seed) => (seed, Recorded::default()),
            Identities::Recorded(recorded) => (0, recorded),
        };
        let Recorded {
            epochs,
            devices,
            merges,
            joins,
        } = recorded;
        Self {
            epochs: epochs.into(),
            devices: devices.into(),
            merges: merges.into(),
            joins: joins.into(),
            numbers: Numbers::from_seed(seed),
        }
    }

    pub fn epoch(&mut self) -> Uuid {
        self.epochs
            .pop_front()
            .unwrap_or_else(|| self.numbers.uuid())
    }

    pub fn device(&mut self, now: ServerTime) -> DeviceId {
        let made = |numbers: &mut Numbers| {
            DeviceId::new_v7(now.unix_ms().unsigned_abs(), numbers.entropy())
        };
        self.devices
            .pop_front()
            .map_or_else(|| made(&mut self.numbers), DeviceId)
    }

    /// Beyond the epochs of phones, which count from 1, and apart from those of other merges.
    pub fn merge(&mut self) -> u32 {
        let made =
            |numbers: &mut Numbers| (numbers.number() as u32 | 0x8000_0000) & !(MERGE_EPOCHS - 1);
        self.merges
            .pop_front()
            .unwrap_or_else(|| made(&mut self.numbers))
    }

    /// A joining as it was recorded, or this one.
    pub fn join(&mut self, made: Uuid) -> Uuid {
        self.joins.pop_front().unwrap_or(made)
    }

    /// Whether two epochs are of one merge.
    pub fn same_merge(one: u32, other: u32) -> bool {
        one / MERGE_EPOCHS == other / MERGE_EPOCHS
    }

    /// A secret to hand out: a code or a token.
    pub fn secret(&mut self) -> u64 {
        self.numbers.number()
    }
}
