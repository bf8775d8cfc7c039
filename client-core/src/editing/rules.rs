//! What an edit must obey before it is written: the server's own rules, asked on the phone so that nothing is refused days later.
//!
//! The table is `sync_core::authority`; here stands only what the record itself must tell: already written, consent, length of the note.

use lianka_sync_core::{
    access::{self as authority, FieldError, Role},
    crdt::{
        merge::PARTY_STATUS,
        record::{Edit, NOTE},
        view::View,
    },
    id::EntryId,
    kinds::{Key, Kind, MergeRule, transfer::form},
    limits,
};

/// A rule that an edit breaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Broken {
    pub key: String,
    pub error: FieldError,
}

/// Checks every edit against the record as it reads now. `creating`: `view` is empty.
pub(crate) fn check(
    kind: Kind,
    role: Role,
    creating: bool,
    view: &View,
    edits: &[Edit],
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
        if let (
            Some(Key::Entry {
                list: "contacts",
                entry,
                field: PARTY_STATUS,
            }),
            Some(_),
        ) = (Key::parse(key), value)
            && !consent_given(view, edits, entry)
        {
            return Err(broken(FieldError::ConsentMissing));
        }
    }
    check_events(kind, role, edits)
}

/// An event of a transfer is for its roles, and whole.
fn check_events(kind: Kind, role: Role, edits: &[Edit]) -> Result<(), Broken> {
    if kind != Kind::TransferRequest {
        return Ok(());
    }
    let puts = edits.iter().filter_map(|edit| match edit {
        Edit::Put { key, value } => Some((key.as_str(), value)),
        Edit::Delete { .. } | Edit::Note { .. } => None,
    });
    form::check(role.into(), puts).map_err(|(key, error)| Broken { key, error })
}

/// Whether a contact's consent to the party status is on record, or comes with `edits`. A withdrawal wins over every grant.
pub fn consent_given(view: &View, edits: &[Edit], contact: EntryId) -> bool {
    let staged = |key: &str| {
        edits.iter().find_map(|edit| match edit {
            Edit::Put { key: staged, value } if staged == key => value.as_str(),
            _ => None,
        })
    };
    let text = |entry: EntryId, field: &str| {
        let key = format!("consent/{entry}/{field}");
        staged(&key).or_else(|| view.text(&key)).map(str::to_owned)
    };
    let mut entries = view.entries("consent");
    entries.extend(edits.iter().filter_map(|edit| match edit {
        Edit::Put { key, .. } => match Key::parse(key) {
            Some(Key::Entry {
                list: "consent",
                entry,
                ..
            }) => Some(entry),
            _ => None,
        },
        _ => None,
    }));
    let contact = contact.to_string();
    let decisions: Vec<_> = entries
        .into_iter()
        .filter(|entry| {
            text(*entry, "contact").as_deref() == Some(&contact)
                && text(*entry, "scope").as_deref() == Some(PARTY_STATUS)
        })
        .filter_map(|entry| text(entry, "decision"))
        .collect();
    decisions.iter().any(|decision| decision == "grant")
        && !decisions.iter().any(|decision| decision == "withdraw")
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
