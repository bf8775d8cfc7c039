//! The only two doors to the world's time and randomness.
//!
//! Handlers receive an [`App`](crate::state::App) and ask it; tests put a hand-set clock and a seeded source behind the same doors.
//! `clippy.toml` bans the ambient calls everywhere else.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use lianka_sync_core::time::ServerTime;
use sha2::{Digest, Sha256};

/// A clock that was set ahead by more than this while the server ran is not believed where believing it destroys something.
const AHEAD_MS_MAX: i64 = 86_400_000;

/// Where `now` comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Moved by hand.
    Fixed(Arc<Hands>),
}

/// The hands of a clock that stands still.
#[derive(Debug)]
pub struct Hands {
    unix_ms: AtomicI64,
    /// By how much they were set without time passing.
    stepped_ms: AtomicI64,
}

impl Clock {
    /// A clock that stands still at `unix_ms` until [`Clock::advance_ms`].
    pub fn fixed(unix_ms: i64) -> Self {
        Self::Fixed(Arc::new(Hands {
            unix_ms: unix_ms.into(),
            stepped_ms: 0.into(),
        }))
    }

    /// The time now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door that clippy.toml points to"
    )]
    pub fn now(&self) -> ServerTime {
        match self {
            Self::System => time::OffsetDateTime::now_utc().into(),
            Self::Fixed(hands) => ServerTime::from_unix_ms(hands.unix_ms.load(Ordering::SeqCst)),
        }
    }

    /// Lets time pass on a fixed clock; the system clock stays as it is.
    pub fn advance_ms(&self, ms: i64) {
        if let Self::Fixed(hands) = self {
            hands.unix_ms.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// Sets a fixed clock ahead, or back, in no time.
    pub fn step_ms(&self, ms: i64) {
        if let Self::Fixed(hands) = self {
            hands.stepped_ms.fetch_add(ms, Ordering::SeqCst);
            self.advance_ms(ms);
        }
    }

    /// Whether the clock was set ahead by more than a day while this process ran: the wall clock has gone further than the time that passed.
    ///
    /// Whatever may be undone goes by the clock all the same; what may not — the end of forgotten drafts, the pruning of the audit trail —
    /// waits until it is right again, or until a person has looked and started the server anew.
    pub fn is_ahead(&self) -> bool {
        static BEGAN: LazyLock<(Instant, i64)> =
            LazyLock::new(|| (Instant::now(), Clock::System.now().unix_ms()));
        let stepped_ms = match self {
            Self::System => {
                let (began, at) = *BEGAN;
                self.now().unix_ms()
                    - at
                    - i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX)
            }
            Self::Fixed(hands) => hands.stepped_ms.load(Ordering::SeqCst),
        };
        stepped_ms > AHEAD_MS_MAX
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
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door that clippy.toml points to"
    )]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        match self {
            // A machine without randomness cannot make tokens; there is nothing sensible to carry on with.
            Self::System => {
                getrandom::fill(&mut out).expect("the operating system gives random bytes");
            }
            Self::Seeded(state) => {
                let mut state = state
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                for chunk in out.chunks_mut(32) {
                    let block = Sha256::new()
                        .chain_update(state.0.to_be_bytes())
                        .chain_update(state.1.to_be_bytes())
                        .finalize();
                    state.1 += 1;
                    chunk.copy_from_slice(&block[..chunk.len()]);
                }
            }
        }
        out
    }
}
