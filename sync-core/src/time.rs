//! Two clocks that never mix: what the server saw, and what a device claims.
//!
//! Both count milliseconds since 1970 UTC and print as RFC 3339. Limits and order come from [`ServerTime`]; a [`DeviceTime`] is shown to
//! people beside a value and decides nothing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

macro_rules! time_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// From milliseconds since 1970 UTC.
            pub const fn from_unix_ms(ms: i64) -> Self {
                Self(ms)
            }

            /// From whole seconds since 1970 UTC (the unit of Automerge's change time).
            pub const fn from_unix_seconds(seconds: i64) -> Self {
                Self(seconds.saturating_mul(1000))
            }

            /// Milliseconds since 1970 UTC.
            pub const fn unix_ms(self) -> i64 {
                self.0
            }

            /// Whole seconds since 1970 UTC.
            pub const fn unix_seconds(self) -> i64 {
                self.0.div_euclid(1000)
            }
        }

        impl From<OffsetDateTime> for $name {
            fn from(at: OffsetDateTime) -> Self {
                Self((at.unix_timestamp_nanos() / 1_000_000) as i64)
            }
        }

        impl From<$name> for OffsetDateTime {
            /// Saturates outside the years that RFC 3339 can print.
            fn from(at: $name) -> Self {
                OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&OffsetDateTime::from(*self).format(&Rfc3339).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                OffsetDateTime::parse(&text, &Rfc3339).map(Self::from).map_err(D::Error::custom)
            }
        }
    };
}

time_newtype!(
    /// When the server saw something. The only clock that limits are counted from.
    ServerTime
);
time_newtype!(
    /// When a device says it did something. Shown, never trusted.
    DeviceTime
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_rfc_3339() {
        let at = ServerTime::from_unix_ms(1_795_248_000_123);
        let text = serde_json::to_string(&at).unwrap();
        assert_eq!(text, "\"2026-11-21T08:00:00.123Z\"");
        assert_eq!(serde_json::from_str::<ServerTime>(&text).unwrap(), at);
    }

    #[test]
    fn seconds_round_towards_the_past() {
        assert_eq!(DeviceTime::from_unix_ms(-1).unix_seconds(), -1);
        assert_eq!(DeviceTime::from_unix_ms(1_999).unix_seconds(), 1);
    }
}
