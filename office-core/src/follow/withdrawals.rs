//! A party status whose consent was withdrawn leaves the record: nothing at the office shows, exports or finds it any more.
//!
//! A withdrawal wins over every grant, whichever came first. The server deletes the value by an ordinary change, so that phones follow; what
//! stood beside the record of it in conflicts goes as well.

use lianka_sync_core::{
    crdt::merge::{RegisterState, Write},
    id::RecordId,
    kinds::{Class, Kind, Personal, consent},
};

use crate::street::{Signer, Street};

/// The lists of a kind's persons and of their consents.
fn persons(kind: Kind) -> Option<(&'static str, &'static str)> {
    match kind.description().personal {
        Personal::Entries { list, consents } => Some((list, consents)),
        Personal::Record | Personal::Mentions => None,
    }
}

/// The keys that hold something sensitive against a withdrawal.
fn withdrawn(state: &RegisterState) -> Vec<String> {
    let Some((list, consents)) = persons(state.kind()) else {
        return Vec::new();
    };
    let view = state.view();
    let is_sensitive = |key: &str| {
        let field = state.kind().field(key);
        field.is_some_and(|(field, _)| field.class == Class::P3)
    };
    consent::withdrawn(&view, list, consents)
        .into_iter()
        .filter(|key| is_sensitive(key) && view.get(key).is_some())
        .collect()
}

/// Records on which somebody may have withdrawn, with their kinds' persons.
fn changed(street: &Street) -> impl Iterator<Item = (RecordId, &RegisterState)> {
    let kinds = Kind::ALL.into_iter().filter_map(|kind| {
        let (_, consents) = persons(kind)?;
        Some((kind, consents))
    });
    kinds.flat_map(move |(kind, consents)| {
        let changed = street.changed(kind);
        changed.filter(move |(record, _)| {
            let touched = street.touched(*record);
            touched.is_some_and(|touched| touched.entries(consents))
        })
    })
}

pub(super) fn apply(street: &mut Street) {
    let to_clear: Vec<(RecordId, String)> = changed(street)
        .flat_map(|(record, state)| withdrawn(state).into_iter().map(move |key| (record, key)))
        .filter(|cleared| !street.following.uncleared.contains(cleared))
        .collect();
    for (record, key) in to_clear {
        let clear = Write::new(key.clone(), None);
        if let Err(refusal) = street.compose(record, Signer::Server, &[clear], "") {
            let what = "a party status whose consent was withdrawn could not be cleared";
            street.report(record, what, refusal.code());
            street.following.uncleared.insert((record, key.clone()));
        }
        street.forget_beside(record, key);
    }
}
