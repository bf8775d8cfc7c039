//! The offline lease: how long a phone may show and take edits without having spoken to the office.
//!
//! In: what the server granted, and the phone's clock whenever somebody looks. Out: open, or locked until the next synchronisation.
//!
//! The clock is the phone's own, and a thief may set it. So time only adds up: whatever the clock moved forward since the grant counts, and
//! setting it back takes nothing away. A clock that is held still can stretch a lease by what it does not show; it cannot open a lock.

use lianka_sync_core::time::DeviceTime;
use serde::{Deserialize, Serialize};

/// Movements below this are not worth a write.
const NOTED_MS: i64 = 60_000;

/// A lease as it is kept in the phone's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// Milliseconds granted.
    pub granted_ms: i64,
    /// Milliseconds that went by, as far as the clock ever said.
    pub used_ms: i64,
    /// The clock when it was last looked at.
    pub seen_ms: i64,
}

impl Lease {
    /// A lease that begins now.
    pub fn granted(seconds: u64, now: DeviceTime) -> Self {
        let granted_ms = i64::try_from(seconds)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000);
        Self {
            granted_ms,
            used_ms: 0,
            seen_ms: now.unix_ms(),
        }
    }

    /// The lease as it stands now.
    #[must_use]
    pub fn at(self, now: DeviceTime) -> Self {
        let forward = now.unix_ms().saturating_sub(self.seen_ms).max(0);
        Self {
            used_ms: self.used_ms.saturating_add(forward),
            seen_ms: now.unix_ms(),
            ..self
        }
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        self.used_ms >= self.granted_ms
    }

    /// What is left of it.
    pub fn left_ms(self) -> i64 {
        (self.granted_ms - self.used_ms).max(0)
    }

    /// Whether `later`, the same lease, differs enough to be kept.
    pub fn is_worth_keeping(self, later: Self) -> bool {
        (later.seen_ms - self.seen_ms).abs() >= NOTED_MS || later.is_over() != self.is_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(hours: i64) -> DeviceTime {
        DeviceTime::from_unix_ms(1_700_000_000_000 + hours * HOUR)
    }

    #[test]
    fn a_lease_ends_and_no_clock_opens_it_again() {
        let lease = Lease::granted(7 * 86_400, at(0));
        for (clock, over) in [
            (&[0, 24, 7 * 24 - 1][..], false),
            (&[7 * 24], true),
            (&[7 * 24, 0], true),
            (&[7 * 24, -500_000, 1], true),
            // Set back every day: what went by adds up.
            (&[96, 0, 71], false),
            (&[96, 0, 72], true),
            // A battery that was empty: the clock begins in the past and is then put right.
            (&[-1000, 0], true),
            (&[-10, 0], false),
        ] {
            let then = clock
                .iter()
                .fold(lease, |lease, hours| lease.at(at(*hours)));
            assert_eq!(then.is_over(), over, "{clock:?}: {then:?}");
        }
        assert!(Lease::granted(0, at(0)).is_over());
        assert_eq!(lease.at(at(24)).left_ms(), 6 * 24 * HOUR);
        assert_eq!(lease.at(at(1000)).left_ms(), 0);
    }

    #[test]
    fn small_steps_are_not_lost_where_they_are_not_kept() {
        let lease = Lease::granted(100, at(0));
        let soon = lease.at(DeviceTime::from_unix_ms(at(0).unix_ms() + 59_999));
        assert!(
            !lease.is_worth_keeping(soon),
            "the next look counts from the same moment"
        );
        assert!(
            lease.is_worth_keeping(lease.at(DeviceTime::from_unix_ms(at(0).unix_ms() + 60_000)))
        );
        assert!(
            lease.is_worth_keeping(lease.at(at(-1))),
            "a step back must be known, or the way forward again would not count"
        );
    }
}
