//! What an edit must obey before it is written: the server's own rules, asked on the phone so that nothing is refused days later.
//!
//! The tables are `sync_core::access` and `sync_core::kinds`; here stands only what the record itself must tell: already written, length of the note.

use std::collections::BTreeSet;

use lianka_sync_core::{
    access::{FieldError, Role},
    authority::{self, Said},
    crdt::{record::Edit, view::View},
    id::{DeviceId, EntryId},
    key::{self, Key, NOTE},
    kinds::{Broken, Kind, MergeRule, Writing},
    limits,
};

/// Checks every edit against the record as it reads now. `creating`: `view` is empty.
pub(crate) fn check(
    kind: Kind,
    role: Role,
    device: DeviceId,
    creating: bool,
    view: &View,
    edits: &[Edit],
    said: Said,
) -> Result<(), Broken> {
    for edit in edits {
        let (key, value) = match edit {
            Edit::Put { key, value } => (key.as_str(), Some(value)),
            Edit::Delete { key } => (key.as_str(), None),
            Edit::Note { text } => {
                let broken = |error| Broken {
                    key: NOTE.into(),
                    error,
                };
                authority::check_note(kind, role, creating).map_err(broken)?;
                let length = text.chars().count();
                let before = view.note.as_deref().unwrap_or_default().chars().count();
                if length > limits::NOTE_CHARS_MAX && length > before {
                    return Err(broken(FieldError::TooLong(limits::NOTE_CHARS_MAX)));
                }
                authority::check_new_note(view.note.as_deref().unwrap_or_default(), text)?;
                continue;
            }
        };
        let broken = |error| Broken {
            key: key.to_owned(),
            error,
        };
        let field = authority::check_write(kind, role, creating, key, value).map_err(broken)?;
        let once = matches!(field.merge, MergeRule::WriteOnce | MergeRule::Log)
            && view.values.contains_key(key);
        if once || (value.is_none() && field.required) {
            return Err(broken(FieldError::WriteOnce));
        }
        if let Some(value) = value {
            authority::check_new_value(kind, key, value, said).map_err(broken)?;
        }
    }
    check_record(kind, role, device, view, edits)
}

/// What the kind asks of the edits together.
fn check_record(
    kind: Kind,
    role: Role,
    device: DeviceId,
    view: &View,
    edits: &[Edit],
) -> Result<(), Broken> {
    let puts: Vec<_> = edits
        .iter()
        .filter_map(|edit| match edit {
            Edit::Put { key, value } => Some((key.as_str(), value)),
            Edit::Delete { .. } | Edit::Note { .. } => None,
        })
        .collect();
    let text = |key: &str| {
        let staged = puts.iter().rev().find(|(staged, _)| *staged == key);
        staged
            .and_then(|(_, value)| value.as_str())
            .or_else(|| view.text(key))
            .map(str::to_owned)
    };
    let entries = |list: &str| {
        let staged = puts.iter().filter_map(|(key, _)| match Key::parse(key)? {
            Key::Entry {
                list: of, entry, ..
            } if of == list => Some(entry),
            _ => None,
        });
        let all: BTreeSet<EntryId> = view.entries(list).into_iter().chain(staged).collect();
        all.into_iter().collect()
    };
    let creator = view
        .values
        .get(key::KIND)
        .and_then(|values| values.first())
        .map(|value| value.op.actor.device());
    (kind.description().check)(&Writing {
        writer: role.into(),
        device,
        creator,
        received_at: None,
        puts: &puts,
        text: &text,
        entries: &entries,
    })
}

/// Edits that would still change something: what the record says already, and without a conflict to settle, is no edit.
pub(crate) fn effective(view: &View, edits: &[Edit]) -> Vec<Edit> {
    let changes = |edit: &&Edit| match edit {
        Edit::Put { key, value } => {
            !matches!(view.values.get(key).map(Vec::as_slice), Some([held]) if held.value == *value)
        }
        Edit::Delete { key } => view.values.contains_key(key),
        Edit::Note { text } => view.note.as_deref() != Some(text),
    };
    edits.iter().filter(changes).cloned().collect()
}
