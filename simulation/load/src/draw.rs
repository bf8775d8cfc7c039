//! mulberry32: a small stream of randomness that JavaScript and Rust draw alike.

/// The stream.
pub struct Draw {
    state: u32,
}

impl Draw {
    pub fn new(state: u32) -> Self {
        Self { state }
    }

    /// 0 ≤ x < 1
    pub fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x6D2B_79F5);
        let a = self.state;
        let t = (a ^ a >> 15).wrapping_mul(1 | a);
        let t = t.wrapping_add((t ^ t >> 7).wrapping_mul(0x3d | t)) ^ t;
        f64::from(t ^ t >> 14) / 4_294_967_296.0
    }

    /// 0 ≤ n < below
    pub fn int(&mut self, below: usize) -> usize {
        (self.unit() * below as f64) as usize
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.int(choices.len())]
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            let j = self.int(i + 1);
            list.swap(i, j);
        }
    }
}
