//! Randomness that is the same for one seed for ever: splitmix64, as in `fuzz`, so that a failing seed of today fails next year.
//!
//! Every step and every call of a run has a stream of its own, named by what it is for: dropping a step changes no draw of another.

/// The stream.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of one purpose in one run.
    pub fn of(seed: u64, purpose: &str, number: u64) -> Self {
        let mut mixed = Self(seed);
        for byte in purpose.bytes() {
            mixed = Self(mixed.number() ^ u64::from(byte));
        }
        let mixed = mixed.number() ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        Self(Self(mixed).number())
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

    /// `least` ≤ n ≤ `most`.
    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        least + (self.number() % (most - least + 1).unsigned_abs()) as i64
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len())]
    }

    /// One of `choices` by weight; the weights must not all be 0.
    pub fn weighted<'c, T>(&mut self, choices: &'c [(u32, T)]) -> &'c T {
        let mut left = self.below(choices.iter().map(|(weight, _)| *weight as usize).sum()) as u32;
        for (weight, choice) in choices {
            if left < *weight {
                return choice;
            }
            left -= weight;
        }
        &choices[0].1
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number() as u8).collect()
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
        assert!((0..1_000).all(|_| (-3..=4).contains(&draw.between(-3, 4))));
    }

    #[test]
    fn purposes_draw_apart() {
        assert_ne!(
            Draw::of(1, "network", 1).number(),
            Draw::of(1, "network", 2).number()
        );
        assert_ne!(
            Draw::of(1, "network", 1).number(),
            Draw::of(1, "phone", 1).number()
        );
        assert_ne!(
            Draw::of(1, "network", 1).number(),
            Draw::of(2, "network", 1).number()
        );
    }
}
