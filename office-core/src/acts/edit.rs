//! Edits made at a desk, and records created there: one change each, all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    access::FieldError,
    authority::{Said, check_new, check_new_note},
    codec::change::{OpId, Scalar},
    crdt::{
        merge::{Refusal, RegisterState, Write},
        record::Edit as RecordEdit,
        view::Value,
    },
    id::{ChangeHash, RecordId},
    key::{self, NOTE},
    kinds::{Broken, Kind},
    time::ServerTime,
    values::text::nfc,
};

use super::{Act, Desk, Refused, about, records};
use crate::{audit::Action, store::Wants, street::Street};

/// An edit to make.
#[derive(Debug)]
pub struct Edit {
    pub by: Desk,
    pub record: RecordId,
    /// By key: a value, or `None` to clear.
    pub set: BTreeMap<String, Option<Scalar>>,
    /// A remark for the history.
    pub note: String,
    /// The heads that the record must still have.
    pub expected_heads: Option<Vec<ChangeHash>>,
}

/// What an edit came to.
#[derive(Debug)]
pub struct Written {
    pub record: RecordId,
    /// `None` where the record said so already.
    pub change: Option<(ChangeHash, i64)>,
    pub heads: Vec<ChangeHash>,
    /// The keys whose conflict it settled.
    pub settled: Vec<String>,
}

impl Act for Edit {
    type Done = Written;
    type Refused = Refused;

    fn wants(&self, _: &Street) -> Wants {
        let mut wants = records([self.record]);
        if self.set.contains_key(NOTE) {
            wants.documents.insert(self.record);
        }
        wants
    }

    fn decide(self, street: &mut Street) -> Result<Written, Refused> {
        let Self {
            by,
            record,
            set,
            note,
            expected_heads,
        } = self;
        let state = about(street, record)?;
        let heads = state.heads();
        if let Some(mut expected) = expected_heads {
            expected.sort_unstable();
            expected.dedup();
            if expected != heads {
                return Err(Refused::StaleHeads(heads));
            }
        }
        let kind = state.kind();
        known(kind, set.keys())?;
        let before = if set.contains_key(NOTE) {
            state.view().note.unwrap_or_default()
        } else {
            String::new()
        };
        readable(kind, &set, &before, street.now())?;
        let fields = patterns(kind, set.keys());
        let change = if set.contains_key(NOTE) {
            street.compose_note(record, by.signer(), &edits(set)?, &note)?
        } else {
            let writes: Vec<_> = set
                .into_iter()
                .map(|(key, value)| Write::new(key, value.map(stored)))
                .collect();
            street.compose(record, by.signer(), &writes, &note)?
        };
        written(street, &by, record, change, fields)
    }
}

/// A record to create. Under an id of the caller's making it is created once, however often it is asked for.
#[derive(Debug)]
pub struct Create {
    pub by: Desk,
    pub record: RecordId,
    pub kind: Kind,
    pub set: BTreeMap<String, Option<Scalar>>,
}

impl Act for Create {
    type Done = Written;
    type Refused = Refused;

    fn wants(&self, _: &Street) -> Wants {
        records([self.record])
    }

    fn decide(self, street: &mut Street) -> Result<Written, Refused> {
        let Self {
            by,
            record,
            kind,
            set,
        } = self;
        // The path says where, and `kind` what: nothing is to be read two ways.
        if let Some(key) = [key::KIND, key::STREET]
            .into_iter()
            .find(|key| set.contains_key(*key))
        {
            return Err(Refused::ReservedKey(key));
        }
        known(kind, set.keys())?;
        readable(kind, &set, "", street.now())?;
        if !street.is_readable(record) {
            return Err(Refused::Unavailable);
        }
        if let Some(state) = street.state(record) {
            if !created_so(state, &by, kind, &set) {
                return Err(Refused::AlreadyExists);
            }
            return Ok(Written {
                record,
                change: None,
                heads: state.heads(),
                settled: Vec::new(),
            });
        }
        let fields = patterns(kind, set.keys());
        let fixed = [
            (key::KIND, kind.as_str()),
            (key::STREET, street.street().as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), Some(value.into())));
        // What nothing says has nothing to clear.
        let set = set
            .into_iter()
            .filter(|(_, value)| value.is_some())
            .chain(fixed)
            .collect();
        let change = street.create(record, kind, by.signer(), &edits(set)?)?;
        written(street, &by, record, Some(change), fields)
    }
}

fn written(
    street: &mut Street,
    by: &Desk,
    record: RecordId,
    change: Option<(ChangeHash, i64)>,
    fields: Vec<String>,
) -> Result<Written, Refused> {
    let heads = about(street, record)?.heads();
    let settled = street.settled().iter();
    let settled = settled
        .map(|settled| settled.settlement.key.clone())
        .collect();
    if change.is_some() {
        let event = by.event(Action::DeskEdit).on(record);
        street.audit(event.with("fields", fields));
    }
    Ok(Written {
        record,
        change,
        heads,
        settled,
    })
}

/// Whether this desk created the record with these values. What was written since tells nothing of what was asked for then.
fn created_so(
    state: &RegisterState,
    by: &Desk,
    kind: Kind,
    set: &BTreeMap<String, Option<Scalar>>,
) -> bool {
    let view = state.view();
    let provenance = |op: OpId| state.provenance(op);
    let Some(first) = view
        .values
        .get(key::KIND)
        .and_then(|values| provenance(values.last()?.op))
    else {
        return false;
    };
    let from_then = |key: &String, value: &&Value| {
        ![key::KIND, key::STREET].contains(&key.as_str())
            && provenance(value.op).is_some_and(|from| from.hash == first.hash)
    };
    let stands = |key: &String, value: &Scalar| {
        set.get(key)
            .cloned()
            .flatten()
            .is_some_and(|asked| stored(asked) == *value)
    };
    // Where nothing else was written, all that was asked for stands there.
    let all_there = state.heads() != [first.hash]
        || set
            .iter()
            .all(|(key, value)| value.is_none() || key == NOTE || view.values.contains_key(key));
    state.kind() == kind
        && all_there
        && first.device == by.device
        && view.values.iter().all(|(key, values)| {
            values
                .iter()
                .filter(|value| from_then(key, value))
                .all(|value| stands(key, &value.value))
        })
}

/// A value as it is stored.
pub(super) fn stored(value: Scalar) -> Scalar {
    match value {
        Scalar::Str(text) => Scalar::Str(nfc(&text).into_owned()),
        other => other,
    }
}

/// What is to be written, the note among it.
fn edits(set: BTreeMap<String, Option<Scalar>>) -> Result<Vec<RecordEdit>, Refused> {
    let edit = |(key, value): (String, Option<Scalar>)| match value.map(stored) {
        Some(Scalar::Str(text)) if key == NOTE => Ok(RecordEdit::Note { text }),
        None if key == NOTE => Ok(RecordEdit::Note {
            text: String::new(),
        }),
        Some(_) if key == NOTE => Err(Refused::NoteIsText),
        Some(value) => Ok(RecordEdit::Put { key, value }),
        None => Ok(RecordEdit::Delete { key }),
    };
    set.into_iter().map(edit).collect()
}

/// Every key must be one of the kind's: the store of documents has words of its own for what no record has.
fn known<'k>(kind: Kind, mut keys: impl Iterator<Item = &'k String>) -> Result<(), Refused> {
    match keys.find(|key| kind.field(key).is_none()) {
        Some(key) => Err(Refusal::field(key.as_str(), FieldError::Unknown).into()),
        None => Ok(()),
    }
}

/// What somebody types at a desk must be readable, and its days near today; what stood there before may stay.
fn readable(
    kind: Kind,
    set: &BTreeMap<String, Option<Scalar>>,
    note_before: &str,
    now: ServerTime,
) -> Result<(), Refusal> {
    let puts = set
        .iter()
        .filter(|(key, _)| *key != NOTE)
        .filter_map(|(key, value)| Some((key.as_str(), value.as_ref()?)));
    let note = set.get(NOTE).and_then(|value| value.as_ref()?.as_str());
    check_new(kind, puts, Said::AtOffice(now))
        .and_then(|()| check_new_note(note_before, note.unwrap_or_default()))
        .map_err(|Broken { key, error }| Refusal::field(key, error))
}

/// The fields of keys, as the documentation writes them: a key may hold what people typed, its pattern does not.
fn patterns<'k>(kind: Kind, keys: impl Iterator<Item = &'k String>) -> Vec<String> {
    let patterns: BTreeSet<_> = keys
        .filter_map(|key| kind.field(key))
        .map(|(field, _)| field.pattern())
        .collect();
    patterns.into_iter().collect()
}
