//! What a record says: every key with every concurrent value, the winner last, and the note.
//!
//! A view comes from Automerge's reading of a document ([`crate::crdt::record::Record::view`]) or from the register state
//! ([`crate::crdt::merge::RegisterState::view`]); property tests hold the two equal. Everything that shows or projects a record starts here.

use std::collections::BTreeMap;

use crate::{
    codec::change::{OpId, Scalar},
    id::EntryId,
    key::Key,
    time::DeviceTime,
};

/// One of the values a key holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    /// The operation that wrote it: its actor is the author's device.
    pub op: OpId,
    /// The value.
    pub value: Scalar,
    /// When the author's device says it was written.
    pub time: Option<DeviceTime>,
}

/// A record as read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// Every key that holds a value; values ascending by operation id, so the last one wins. Never an empty list.
    pub values: BTreeMap<String, Vec<Value>>,
    /// The note; `None` before the record exists, and of a kind that has none.
    pub note: Option<String>,
}

impl View {
    /// The winning value of a key.
    pub fn get(&self, key: &str) -> Option<&Scalar> {
        self.values.get(key)?.last().map(|value| &value.value)
    }

    /// The winning value of a key as text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Scalar::as_str)
    }

    /// Members of a set or names of custom fields, with their winning value: `name/<member>`.
    pub fn members<'v>(&'v self, name: &'v str) -> impl Iterator<Item = (&'v str, &'v Scalar)> {
        let prefix = format!("{name}/");
        self.values
            .range(prefix.clone()..)
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .filter_map(|(key, values)| match Key::parse(key)? {
                Key::Member { member, .. } => Some((member, &values.last()?.value)),
                Key::Plain(_) | Key::Entry { .. } => None,
            })
    }

    /// Ids of the entries of a collection that have at least one field, ascending (which is by time of creation).
    pub fn entries(&self, list: &str) -> Vec<EntryId> {
        let prefix = format!("{list}/");
        let mut entries: Vec<_> = self
            .values
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter_map(|(key, _)| match Key::parse(key)? {
                Key::Entry { entry, .. } => Some(entry),
                Key::Plain(_) | Key::Member { .. } => None,
            })
            .collect();
        entries.dedup();
        entries
    }

    /// The winning text of an entry's field.
    pub fn entry_text(&self, list: &str, entry: EntryId, field: &str) -> Option<&str> {
        self.text(&format!("{list}/{entry}/{field}"))
    }
}
