//! What belongs to a record stands in its grid: where a card goes, its visits go, and who sees the card sees them.
//!
//! A card that was merged away goes on as another one: what belongs to it stands in that one's grid, and comes back with an undo. The server
//! moves such a record by an ordinary change, so that phones follow. One whose card is not there stays where its author put it.

use std::collections::BTreeSet;

use lianka_sync_core::{
    codec::change::Scalar,
    crdt::merge::{RegisterState, Write},
    id::RecordId,
    kinds::key,
};

use crate::{
    store::Wants,
    street::{Signer, Street},
};

/// The record that one belongs to, if it belongs to any.
fn owner(state: &RegisterState) -> Option<RecordId> {
    let field = state.kind().description().belongs_to?;
    state.text(field)?.parse().ok()
}

/// The record as which one goes on.
fn successor(state: &RegisterState) -> Option<RecordId> {
    state.text(state.kind().succession()?)?.parse().ok()
}

/// What may stand elsewhere than where it belongs, as far as is known: what this write put somewhere and belongs to a record, and whatever
/// belongs to a record that this write put somewhere. `ask` is told of every record of which something must be known.
fn belongings(street: &Street, wants: &mut Wants) -> BTreeSet<RecordId> {
    let mut found = BTreeSet::new();
    let mut to_look: Vec<RecordId> = street.placed().map(|(record, _)| record).collect();
    let mut seen: BTreeSet<RecordId> = to_look.iter().copied().collect();
    while let Some(record) = to_look.pop() {
        wants.records.insert(record);
        let Some(state) = street.state(record) else {
            continue;
        };
        if owner(state).is_some() {
            found.insert(record);
            continue;
        }
        wants.children.insert(record);
        let children = street.known().children.get(&record);
        to_look.extend(
            children
                .into_iter()
                .flatten()
                .filter(|child| seen.insert(**child)),
        );
    }
    found
}

/// The grid of the record that `record` belongs to, or of the one as which that goes on.
fn grid(street: &Street, record: RecordId, wants: &mut Wants) -> Option<String> {
    let mut at = owner(street.state(record)?)?;
    let mut seen = BTreeSet::new();
    while seen.insert(at) {
        wants.records.insert(at);
        match successor(street.state(at)?) {
            Some(next) => at = next,
            None => break,
        }
    }
    street.grid(at).map(str::to_owned)
}

pub(super) fn wants(street: &Street) -> Wants {
    let mut wants = Wants::default();
    for record in belongings(street, &mut wants) {
        grid(street, record, &mut wants);
    }
    wants
}

pub(super) fn apply(street: &mut Street) {
    for record in belongings(street, &mut Wants::default()) {
        let Some(grid) = grid(street, record, &mut Wants::default()) else {
            continue;
        };
        if street.grid(record) == Some(&grid) || street.following.unmoved.contains(&record) {
            continue;
        }
        let to = Write::new(key::GRID, Some(Scalar::Str(grid)));
        if let Err(refusal) = street.compose(record, Signer::Server, &[to], "") {
            let what = "a record could not be brought to where it belongs";
            street.report(record, what, refusal.code());
            street.following.unmoved.insert(record);
        }
    }
}
