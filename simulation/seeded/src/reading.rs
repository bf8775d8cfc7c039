//! How a record reads in evidence: one form for phones and offices, so that equal records are equal evidence.

use std::collections::BTreeMap;

use lianka_sync_core::{codec::change::Scalar, crdt::view::View};
use uuid::Uuid;

use crate::office::Shown;

/// Every key with its visible values, sorted by text and device. A note that says anything stands under `note`, by the nil device.
pub fn shown(view: &View) -> BTreeMap<String, Vec<Shown>> {
    let mut fields: BTreeMap<String, Vec<Shown>> = BTreeMap::new();
    for (key, values) in &view.values {
        let mut shown: Vec<_> = values
            .iter()
            .map(|value| Shown {
                value: text(&value.value),
                device: value.op.actor.device().0,
            })
            .collect();
        shown.sort();
        fields.insert(key.clone(), shown);
    }
    if let Some(note) = view.note.as_ref().filter(|note| !note.is_empty()) {
        fields.insert(
            "note".into(),
            vec![Shown {
                value: note.clone(),
                device: Uuid::nil(),
            }],
        );
    }
    fields
}

/// Of keys with several values: the one that is shown where there is room for one.
pub fn won(view: &View) -> BTreeMap<String, String> {
    let several = view.values.iter().filter(|(_, values)| values.len() > 1);
    several
        .filter_map(|(key, _)| Some((key.clone(), text(view.get(key)?))))
        .collect()
}

/// A value's text.
pub fn text(value: &Scalar) -> String {
    match value {
        Scalar::Bool(flag) => flag.to_string(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Str(text) => text.clone(),
    }
}
