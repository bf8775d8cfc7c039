//! A stream of randomness that is the same for one seed for ever: splitmix64, so that a failing seed of today fails next year.

/// The stream.
#[derive(Clone)]
pub struct Draw(u64);

/// Numbers at which counts, lengths and counters change their ways, here and in Automerge.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    3,
    7,
    20,
    48,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    257,
    600,
    2_000,
    4_096,
    4_097,
    4_999,
    5_000,
    5_001,
    10_000,
    16_383,
    16_384,
    65_535,
    65_536,
    1 << 20,
    (1 << 20) + 1,
    10_000_000,
    1 << 30,
    (1 << 30) + 1,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 2,
    (1 << 32) - 1,
    1 << 32,
    4_102_444_800,
    4_102_444_801,
    1 << 53,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX,
];

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 ≤ n < `below`, which must not be 0.
    pub fn below(&mut self, below: usize) -> usize {
        (self.number() % below as u64) as usize
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len())]
    }

    /// A place in a list of `length`, its end included.
    pub fn place(&mut self, length: usize) -> usize {
        self.below(length + 1)
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number() as u8).collect()
    }

    /// An edge, a neighbour of `near`, or any number of any width.
    pub fn extreme(&mut self, near: u64) -> u64 {
        match self.below(4) {
            0 => near.wrapping_add(self.below(5) as u64).wrapping_sub(2),
            1 => {
                let width = self.below(64);
                self.number() >> width
            }
            _ => *self.pick(EDGES),
        }
    }

    /// The same with a sign.
    pub fn signed_extreme(&mut self, near: i64) -> i64 {
        let value = self.extreme(near.unsigned_abs()) as i64;
        if self.one_in(2) {
            value
        } else {
            value.wrapping_neg()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_for_ever() {
        let mut draw = Draw::new(1);
        assert_eq!(
            [draw.number(), draw.number()],
            [0x910A_2DEC_8902_5CC1, 0xBEEB_8DA1_658E_EC67]
        );
        assert!((0..1_000).all(|_| draw.below(7) < 7));
    }
}
