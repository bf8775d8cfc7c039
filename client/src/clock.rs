//! The only two doors to the world's time and randomness on this side; `clippy.toml` bans the ambient calls everywhere else.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use lianka_sync_core::time::DeviceTime;

/// Where `now` comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// Milliseconds since 1970, moved by hand.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The time now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door that clippy.toml points to"
    )]
    pub fn now(&self) -> DeviceTime {
        match self {
            Self::System => time::OffsetDateTime::now_utc().into(),
            Self::Fixed(ms) => DeviceTime::from_unix_ms(ms.load(Ordering::SeqCst)),
        }
    }
}

/// Where random bytes come from.
#[derive(Clone, Debug, Default)]
pub enum Entropy {
    /// The operating system.
    #[default]
    System,
    /// A deterministic stream: splitmix64. For tests and simulations, never for secrets.
    Seeded(Arc<AtomicU64>),
}

impl Entropy {
    /// A stream that is the same for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(AtomicU64::new(seed)))
    }

    /// Sixteen random bytes.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door that clippy.toml points to"
    )]
    pub fn bytes(&self) -> [u8; 16] {
        let mut out = [0; 16];
        match self {
            // A machine without randomness cannot name records; there is nothing sensible to carry on with.
            Self::System => {
                getrandom::fill(&mut out).expect("the operating system gives random bytes");
            }
            Self::Seeded(state) => {
                for half in out.chunks_mut(8) {
                    let mut z = state
                        .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)
                        .wrapping_add(0x9e37_79b9_7f4a_7c15);
                    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    half.copy_from_slice(&(z ^ (z >> 31)).to_be_bytes());
                }
            }
        }
        out
    }

    /// A number from 0 to below `bound`; 0 for 0.
    pub fn below(&self, bound: u64) -> u64 {
        let bytes = self.bytes();
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[..8]);
        if bound == 0 {
            0
        } else {
            u64::from_be_bytes(half) % bound
        }
    }
}
