//! Flat keys: how they are split, and those that every kind of record has or that the code composes.

use crate::id::EntryId;

/// The record's kind.
pub const KIND: &str = "kind";
/// The street it belongs to.
pub const STREET: &str = "street";
/// The grid that owns it.
pub const GRID: &str = "grid";
/// The street's own columns: `custom/<name>`.
pub const CUSTOM: &str = "custom";
/// The note: the key of the only Text object.
pub const NOTE: &str = "note";

/// A flat key, split at its slashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key<'k> {
    /// `field`
    Plain(&'k str),
    /// `set/member` or `custom/name`
    Member {
        /// The constant part.
        name: &'k str,
        /// The variable part.
        member: &'k str,
    },
    /// `list/entry/field`
    Entry {
        /// The collection.
        list: &'k str,
        /// The entry.
        entry: EntryId,
        /// The field of the entry.
        field: &'k str,
    },
}

impl<'k> Key<'k> {
    /// Splits a key; `None` where it has another form. Entry ids are hyphenated, lower-case UUIDs: one entry has one spelling.
    pub fn parse(key: &'k str) -> Option<Self> {
        let mut parts = key.split('/');
        let parsed = match (parts.next()?, parts.next(), parts.next()) {
            (name, None, None) => Self::Plain(name),
            (name, Some(member), None) => Self::Member { name, member },
            (list, Some(entry), Some(field)) => {
                let id = entry.parse::<EntryId>().ok()?;
                if id.to_string() != entry {
                    return None;
                }
                Self::Entry {
                    list,
                    entry: id,
                    field,
                }
            }
            (_, None, Some(_)) => return None,
        };
        if parts.next().is_some() {
            None
        } else {
            Some(parsed)
        }
    }
}
