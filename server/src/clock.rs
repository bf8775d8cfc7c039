//! The only two doors to the world's time and randomness.
//!
//! Handlers receive an [`App`](crate::app::App) and ask it; tests put a hand-set clock and a seeded source behind the same doors.
//! `clippy.toml` bans the ambient calls everywhere else.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use lianka_sync_core::time::ServerTime;
use sha2::{Digest, Sha256};

/// Where `now` comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Milliseconds since 1970, moved by hand.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at `unix_ms` until [`Clock::advance_ms`].
    pub fn fixed(unix_ms: i64) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(unix_ms)))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the door that clippy.toml points to")]
    pub fn now(&self) -> ServerTime {
        match self {
            Self::System => time::OffsetDateTime::now_utc().into(),
            Self::Fixed(ms) => ServerTime::from_unix_ms(ms.load(Ordering::SeqCst)),
        }
    }

    /// Moves a fixed clock; the system clock stays as it is.
    pub fn advance_ms(&self, ms: i64) {
        if let Self::Fixed(at) = self {
            at.fetch_add(ms, Ordering::SeqCst);
        }
    }
}

/// Where random bytes come from.
#[derive(Clone, Debug)]
pub enum Entropy {
    /// The operating system.
    System,
    /// A deterministic stream: SHA-256 over seed and counter.
    Seeded(Arc<Mutex<(u64, u64)>>),
}

impl Entropy {
    /// A stream that is the same for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new((seed, 0))))
    }

    /// `N` random bytes.
    #[expect(clippy::disallowed_methods, reason = "this is the door that clippy.toml points to")]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        match self {
            // A machine without randomness cannot make tokens; there is nothing sensible to carry on with.
            Self::System => getrandom::fill(&mut out).expect("the operating system gives random bytes"),
            Self::Seeded(state) => {
                let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                for chunk in out.chunks_mut(32) {
                    let block = Sha256::new().chain_update(state.0.to_be_bytes()).chain_update(state.1.to_be_bytes()).finalize();
                    state.1 += 1;
                    chunk.copy_from_slice(&block[..chunk.len()]);
                }
            }
        }
        out
    }
}
