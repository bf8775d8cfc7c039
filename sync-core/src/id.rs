//! Identifiers as newtypes, so that a record can never be passed where a device is meant.
//!
//! Nothing here draws randomness: constructors take entropy from the caller.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A version 7 UUID from milliseconds since 1970 and ten bytes of entropy.
            pub fn new_v7(unix_ms: u64, entropy: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &entropy).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

uuid_newtype!(
    /// A record: one card, transfer request or visit. Chosen by the phone that creates it.
    RecordId
);
uuid_newtype!(
    /// An entry of a `list/…` or `log/…` collection inside a record.
    EntryId
);
uuid_newtype!(
    /// A phone or a desk: one enrolment of one user.
    DeviceId
);

/// A street office's division code, nine digits (GB/T 2260 plus the street's three): the tenant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct StreetCode(String);

/// Why a text is not a street code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a street code is nine digits, for example 310104003")]
pub struct StreetCodeError;

impl StreetCode {
    /// The nine digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreetCode {
    type Err = StreetCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 9 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(StreetCodeError)
        }
    }
}

impl fmt::Display for StreetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for StreetCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Automerge actor of a device: 16 bytes device id, then 4 bytes big-endian epoch.
///
/// The server accepts a change only from the device its actor names. A phone takes a new epoch after every rebase, because a sequence
/// number of the old one may already be known elsewhere with other content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor([u8; 20]);

impl Actor {
    /// Length in bytes.
    pub const LEN: usize = 20;

    /// The actor of `device` in `epoch`.
    pub fn new(device: DeviceId, epoch: u32) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(device.0.as_bytes());
        bytes[16..].copy_from_slice(&epoch.to_be_bytes());
        Self(bytes)
    }

    /// An actor from its 20 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The device that may write under this actor.
    pub fn device(&self) -> DeviceId {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        DeviceId(Uuid::from_bytes(bytes))
    }

    /// The device's epoch.
    pub fn epoch(&self) -> u32 {
        u32::from_be_bytes([self.0[16], self.0[17], self.0[18], self.0[19]])
    }

    /// The raw bytes, as Automerge orders them.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_bytes(deserializer).map(Self)
    }
}

/// SHA-256 of an Automerge change: its identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeHash(pub [u8; 32]);

impl ChangeHash {
    /// A hash from its 32 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ChangeHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for ChangeHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_bytes(deserializer).map(Self)
    }
}

/// Lower-case hex for people, a byte string for machines.
fn serialize_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_str(&hex::encode(bytes))
    } else {
        serializer.serialize_bytes(bytes)
    }
}

fn deserialize_bytes<'de, const N: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    let bytes = if deserializer.is_human_readable() {
        hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?
    } else {
        serde_bytes::ByteBuf::deserialize(deserializer)?.into_vec()
    };
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| D::Error::invalid_length(length, &"the exact number of bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actor_round_trips_device_and_epoch() {
        let device = DeviceId(Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001));
        let actor = Actor::new(device, 7);
        assert_eq!((actor.device(), actor.epoch()), (device, 7));
        assert_eq!(Actor::from_slice(actor.as_bytes()), Some(actor));
        assert_eq!(Actor::from_slice(&actor.as_bytes()[1..]), None);
    }

    #[test]
    fn street_code_is_nine_digits() {
        assert!("310104003".parse::<StreetCode>().is_ok());
        for bad in ["31010400", "3101040031", "31010400x", "３10104003", ""] {
            assert!(bad.parse::<StreetCode>().is_err(), "{bad}");
        }
    }
}
