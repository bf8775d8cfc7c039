//! The conflicts that a write settles: remembered with every value that was not chosen, and told to the workers who wrote those.
//!
//! In: what was found settled while changes were accepted, whoever made them. Out: resolutions and notices, in the same transaction. Invariant:
//! a value that differs from the chosen one goes only with a row that holds it; its author is told, unless they chose themselves or the value of
//! another device of theirs was chosen.

use std::collections::BTreeMap;

use lianka_sync_core::{
    codec::change::{OpId, Scalar},
    crdt::conflict::{self, HarmlessClass, Settlement},
    id::DeviceId,
};

use crate::{
    ids::derived,
    store::{NoticeDetail, NoticeWrite, Person, ReplacedValue, ResolutionWrite, Wants},
    street::{Settled, Street},
};

/// A notice that another value than the user's was chosen.
pub const VALUE_NOT_CHOSEN: &str = "value_not_chosen";

/// As the store names an operation.
pub fn op_text(op: OpId) -> String {
    format!("{}@{}", op.counter, op.actor)
}

pub(super) fn wants(street: &Street) -> Wants {
    let mut wants = Wants::default();
    for settled in street.still_settled() {
        wants.restored.insert(settled.record);
        wants.people.insert(settled.device);
        let replaced = settled.settlement.replaced.iter();
        wants.people.extend(replaced.map(|value| value.device));
    }
    wants
}

/// Remembers what was settled, and what is to be told of it.
pub(super) fn write(street: &mut Street) {
    let mut rows = Vec::new();
    let mut notices = Vec::new();
    for settled in street.still_settled() {
        let replaced = replaced(street, settled);
        notices.extend(missing_notices(street, settled, &replaced));
        rows.push(row(street, settled, replaced));
    }
    street.writes.resolutions.extend(rows);
    street.writes.notices.extend(notices);
}

fn person(street: &Street, device: DeviceId) -> Option<&Person> {
    street.known().people.get(&device)
}

/// The values with their authors. A value that an undo put back is still its first author's.
fn replaced(street: &Street, settled: &Settled) -> Vec<ReplacedValue> {
    let Settlement { key, replaced, .. } = &settled.settlement;
    let restored = street.known().restored.get(&settled.record);
    let restored = restored.map(Vec::as_slice).unwrap_or_default();
    let of = |value: &conflict::Replaced| {
        let op = op_text(value.op);
        let originals: Vec<_> = restored
            .iter()
            .filter(|one| one.field == *key && one.value.restored_as.as_ref() == Some(&op))
            .map(|one| ReplacedValue {
                op: op.clone(),
                restored_as: None,
                ..one.value.clone()
            })
            .collect();
        if !originals.is_empty() {
            return originals;
        }
        let writer = person(street, value.device);
        vec![ReplacedValue {
            op,
            value: value.value.clone(),
            username: writer.map(|writer| writer.username.clone()),
            display_name: writer.map(|writer| writer.display_name.clone()),
            device: value.device.0,
            device_name: writer.map(|writer| writer.device_name.clone()),
            device_time: value.device_time,
            received_at: value.received_at,
            restored_as: None,
        }]
    };
    replaced.iter().flat_map(of).collect()
}

fn row(street: &Street, settled: &Settled, replaced: Vec<ReplacedValue>) -> ResolutionWrite {
    let Settlement {
        key, op, chosen, ..
    } = &settled.settlement;
    let values: Vec<&Scalar> = replaced.iter().map(|value| &value.value).collect();
    let class = settled
        .kind
        .field(key)
        .and_then(|(field, _)| conflict::harmless(field, &values));
    ResolutionWrite {
        resolution: derived(street.now(), &[&settled.hash.0, key.as_bytes()]),
        record: settled.record,
        field: key.clone(),
        seq: settled.seq,
        generation: settled.generation,
        hash: settled.hash,
        op: op_text(*op),
        chosen: chosen.clone(),
        class: class.map(|harmless| HarmlessClass::as_str(harmless.class)),
        replaced,
        note: settled.message.clone(),
        source: settled.source,
        username: person(street, settled.device).map(|writer| writer.username.clone()),
        device: settled.device.0,
        bulk: street.bulk(),
    }
}

/// For every worker none of whose values was chosen, and who did not choose: a notice.
fn missing_notices(
    street: &Street,
    settled: &Settled,
    replaced: &[ReplacedValue],
) -> Vec<NoticeWrite> {
    let (key, by) = (&settled.settlement.key, person(street, settled.device));
    let mut chosen_of: BTreeMap<&str, bool> = BTreeMap::new();
    for value in replaced {
        if let Some(username) = &value.username {
            *chosen_of.entry(username).or_default() |=
                Some(&value.value) == settled.settlement.chosen.as_ref();
        }
    }
    let authors = chosen_of
        .into_iter()
        .filter(|(username, chosen)| !chosen && by.is_none_or(|by| by.username != *username));
    let detail = NoticeDetail {
        hash: Some(settled.hash),
        by: by.map(|by| by.role.clone()),
        note: Some(settled.message.clone()).filter(|note| !note.is_empty()),
    };
    authors
        .map(|(username, _)| NoticeWrite {
            notice: derived(
                street.now(),
                &[&settled.hash.0, key.as_bytes(), username.as_bytes()],
            ),
            seq: settled.seq,
            username: username.to_owned(),
            kind: VALUE_NOT_CHOSEN,
            record: settled.record,
            field: Some(key.clone()),
            detail: detail.clone(),
        })
        .collect()
}
