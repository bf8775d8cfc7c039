//! What both offices take for granted about the people at their desks, so that the same act means the same to each.
//!
//! An admin (`root`) enrols, assigns, revokes and erases; a reviewer edits, settles, decides, moves and merges; two officers take the steps of a
//! transfer in turn, record by record. After a restore everybody signs in again, so their devices are new ones.

use std::collections::BTreeMap;

use lianka_sync_core::{
    access::Role,
    codec::change::Scalar,
    crdt::view::View,
    id::{EntryId, RecordId},
    key::NOTE,
    kinds::{Kind, Rule},
    time::ServerTime,
};
use uuid::Uuid;

use super::Shown;

pub const ADMIN: &str = "root";
pub const REVIEWER: &str = "shen.he";
pub const OFFICERS: [&str; 2] = ["jing.ban", "fu.he"];
/// Who sits at desks, in the order in which they sign in.
pub const DESKS: [(&str, Role); 4] = [
    (ADMIN, Role::Admin),
    (REVIEWER, Role::Reviewer),
    (OFFICERS[0], Role::Officer),
    (OFFICERS[1], Role::Officer),
];
/// Why a held change is refused.
pub const HELD_REASON: &str = "核实后不采用";
/// Why something is erased.
pub const ERASE_REASON: &str = "subject_request";

/// A value as it is written under a key: members of sets are flags.
pub fn scalar(key: &str, text: &str) -> Scalar {
    let flag = |kind: Kind| {
        kind.field(key)
            .is_some_and(|(field, _)| field.rule == Rule::Flag)
    };
    if text == "true" && (flag(Kind::ShopCard) || flag(Kind::TransferRequest)) {
        Scalar::Bool(true)
    } else {
        Scalar::from(text)
    }
}

/// A value as evidence shows it.
pub fn text(value: &Scalar) -> String {
    match value {
        Scalar::Str(text) => text.clone(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
    }
}

/// The id of an officer's `nth` event on a record.
pub fn event_id(record: RecordId, nth: u32, now: ServerTime) -> EntryId {
    let mut entropy = [0; 10];
    entropy[..6].copy_from_slice(&record.0.as_bytes()[10..]);
    entropy[6..].copy_from_slice(&nth.to_be_bytes());
    EntryId::new_v7(now.unix_ms().unsigned_abs(), entropy)
}

/// Which officer takes the `nth` step on a record.
pub fn officer(nth: u32) -> usize {
    nth as usize % OFFICERS.len()
}

/// Every key with its visible values, as evidence shows them; the note under its key, by nobody.
pub fn shown(view: &View) -> BTreeMap<String, Vec<Shown>> {
    let mut fields: BTreeMap<String, Vec<Shown>> = BTreeMap::new();
    for (key, values) in &view.values {
        let mut values: Vec<_> = values
            .iter()
            .map(|value| Shown {
                value: text(&value.value),
                device: value.op.actor.device().0,
            })
            .collect();
        values.sort();
        fields.insert(key.clone(), values);
    }
    let note = view.note.clone().filter(|note| !note.is_empty());
    fields.extend(note.map(|value| {
        (
            NOTE.to_owned(),
            vec![Shown {
                value,
                device: Uuid::nil(),
            }],
        )
    }));
    fields
}
