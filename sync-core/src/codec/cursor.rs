//! RESPOND, pure: where a phone stands, and what it still lacks.
//!
//! A cursor says: of this store's history and under this scope, I hold everything up to `sequence`. It is opaque to phones and carries no
//! authority: whatever it claims, only records of the user's present grids are sent.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{access::Role, id::StreetCode};

/// Version of the encoding: the first byte.
const ENCODING: u8 = 1;

/// The scope epoch of roles that see the whole street: no assignment changes what they see.
pub const WHOLE_STREET: i64 = -1;

/// The scope epoch of roles that receive no records, whatever grids are assigned to them. Nobody worked a grid under it.
pub const NO_RECORDS: i64 = -2;

/// The version of what a sync sends to a role whose assigned grids are of version `grids`.
pub const fn scope_epoch(role: Role, grids: i64) -> i64 {
    match (role.receives_records(), role.sees_whole_street()) {
        (false, _) => NO_RECORDS,
        (true, true) => WHOLE_STREET,
        (true, false) => grids,
    }
}

/// Where a phone stands in a street's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cursor {
    /// Which history the store held.
    pub store_epoch: Uuid,
    /// The street.
    pub street: String,
    /// Everything up to here has been received.
    pub sequence: u64,
    /// Which version of the user's grids it was issued under.
    pub scope_epoch: i64,
    /// A first download was under way: records whose newest sequence lies beyond `sequence` have not been received at all.
    pub downloading: bool,
}

impl Cursor {
    /// The text on the wire.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(postcard::to_extend(self, vec![ENCODING]).unwrap_or_default())
    }

    /// `None` for anything that [`Cursor::encode`] did not write.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let cursor: Self = postcard::from_bytes(bytes.strip_prefix(&[ENCODING])?).ok()?;
        // The parser passes over what follows, and takes longer spellings of a number.
        (cursor.encode() == text).then_some(cursor)
    }
}

/// What the server knows when a phone asks.
#[derive(Clone, Copy, Debug)]
pub struct Position<'p> {
    /// Which history the store holds.
    pub store_epoch: Uuid,
    /// The street asked for.
    pub street: &'p StreetCode,
    /// Sequence of the street's newest log entry.
    pub head: u64,
    /// The present [`scope_epoch`] of the user.
    pub scope_epoch: i64,
}

/// What a phone holds already, and must be told where it may not keep it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Nothing that left its sight up to here was sent, or it was told to drop it.
    pub sequence: u64,
    /// The scope under which it was sent.
    pub scope_epoch: i64,
}

/// How to bring a phone up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pull {
    /// The phone holds another history than the store: it starts over and sends again what the store lacks.
    Reset,
    /// Every record of the scope whose newest sequence is beyond `after`, as a snapshot, by that sequence.
    Download {
        /// 0 for a new phone.
        after: u64,
        /// What an earlier part of the download brought.
        received: Option<Received>,
    },
    /// The log beyond `after`, under the scope of `scope_epoch` until now.
    Delta {
        /// The phone's sequence.
        after: u64,
        /// The scope the phone last knew: grids lost since then are left, grids gained are sent whole.
        scope_epoch: i64,
    },
    /// Nothing new.
    Nothing,
}

/// Decides how to answer a phone that presents `cursor`.
pub fn plan(cursor: Option<&str>, position: &Position<'_>) -> Pull {
    let Some(text) = cursor else {
        return Pull::Download {
            after: 0,
            received: None,
        };
    };
    let Some(cursor) = Cursor::decode(text) else {
        return Pull::Reset;
    };
    let same_history = cursor.store_epoch == position.store_epoch;
    if !same_history || cursor.street != position.street.as_str() || cursor.sequence > position.head
    {
        return Pull::Reset;
    }
    // The user's role changed between one that sees the whole street and one that sees grids: no difference of grids tells what to drop.
    if (cursor.scope_epoch == WHOLE_STREET) != (position.scope_epoch == WHOLE_STREET) {
        return Pull::Reset;
    }
    let same_scope = cursor.scope_epoch == position.scope_epoch;
    let received = Some(Received {
        sequence: cursor.sequence,
        scope_epoch: cursor.scope_epoch,
    });
    match cursor.downloading {
        // Under another scope the records before `sequence` are others too.
        true => Pull::Download {
            after: if same_scope { cursor.sequence } else { 0 },
            received,
        },
        false if same_scope && cursor.sequence == position.head => Pull::Nothing,
        false => Pull::Delta {
            after: cursor.sequence,
            scope_epoch: cursor.scope_epoch,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Cursor), expected: Pull) {
        let street: StreetCode = "310104003".parse().unwrap();
        let position = Position {
            store_epoch: Uuid::from_u128(1),
            street: &street,
            head: 10,
            scope_epoch: 2,
        };
        let mut cursor = Cursor {
            store_epoch: Uuid::from_u128(1),
            street: "310104003".into(),
            sequence: 7,
            scope_epoch: 2,
            downloading: false,
        };
        change(&mut cursor);
        assert_eq!(
            plan(Some(&cursor.encode()), &position),
            expected,
            "{cursor:?}"
        );
    }

    #[test]
    fn answers_what_the_phone_lacks() {
        check(
            |_| (),
            Pull::Delta {
                after: 7,
                scope_epoch: 2,
            },
        );
        check(|c| c.sequence = 10, Pull::Nothing);
        check(|c| c.sequence = 11, Pull::Reset);
        check(|c| c.store_epoch = Uuid::from_u128(2), Pull::Reset);
        check(|c| c.street = "310105009".into(), Pull::Reset);
        check(
            |c| c.scope_epoch = 1,
            Pull::Delta {
                after: 7,
                scope_epoch: 1,
            },
        );
        check(
            |c| (c.sequence, c.scope_epoch) = (10, 3),
            Pull::Delta {
                after: 10,
                scope_epoch: 3,
            },
        );
        check(
            |c| (c.sequence, c.scope_epoch) = (10, 1),
            Pull::Delta {
                after: 10,
                scope_epoch: 1,
            },
        );
        let received = |scope_epoch| {
            Some(Received {
                sequence: 7,
                scope_epoch,
            })
        };
        check(
            |c| c.downloading = true,
            Pull::Download {
                after: 7,
                received: received(2),
            },
        );
        check(
            |c| (c.downloading, c.scope_epoch) = (true, 1),
            Pull::Download {
                after: 0,
                received: received(1),
            },
        );
        check(|c| c.scope_epoch = WHOLE_STREET, Pull::Reset);
        check(
            |c| c.scope_epoch = NO_RECORDS,
            Pull::Delta {
                after: 7,
                scope_epoch: NO_RECORDS,
            },
        );
    }

    #[test]
    fn a_role_says_whether_grids_decide() {
        for (role, expected) in [
            (Role::Secretary, 5),
            (Role::Reviewer, WHOLE_STREET),
            (Role::Admin, WHOLE_STREET),
            (Role::Officer, NO_RECORDS),
            (Role::Auditor, NO_RECORDS),
        ] {
            assert_eq!(scope_epoch(role, 5), expected, "{role}");
        }
    }

    #[test]
    fn a_foreign_cursor_resets() {
        let street: StreetCode = "310104003".parse().unwrap();
        let position = Position {
            store_epoch: Uuid::from_u128(1),
            street: &street,
            head: 10,
            scope_epoch: 2,
        };
        for text in ["", "x", "AA", "AQ", "____", "京"] {
            assert_eq!(plan(Some(text), &position), Pull::Reset, "{text}");
        }
        assert_eq!(
            plan(None, &position),
            Pull::Download {
                after: 0,
                received: None
            }
        );
        // One that was written here, with something behind it.
        let cursor = Cursor {
            store_epoch: Uuid::from_u128(1),
            street: "310104003".into(),
            sequence: 7,
            scope_epoch: 2,
            downloading: false,
        };
        let longer = URL_SAFE_NO_PAD
            .encode([URL_SAFE_NO_PAD.decode(cursor.encode()).unwrap(), vec![0]].concat());
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        assert_eq!(Cursor::decode(&longer), None);
    }
}
