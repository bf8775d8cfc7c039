//! A party status whose consent was withdrawn leaves the record: nothing at the office shows, exports or finds it any more.
//!
//! A withdrawal wins over every grant, whichever came first. The server deletes the value by an ordinary change, so that phones follow; what
//! stood beside the record of it in conflicts goes as well.

use lianka_sync_core::{
    crdt::merge::{RegisterState, Write},
    id::RecordId,
    kinds::{
        Kind, consent,
        shop_card::{CONSENT, CONTACTS, PARTY_STATUS},
    },
};

use crate::street::{Signer, Street};

/// The keys that hold a party status against a withdrawal.
fn withdrawn(state: &RegisterState) -> Vec<String> {
    let view = state.view();
    consent::withdrawn(&view, CONTACTS, CONSENT)
        .into_iter()
        .filter(|key| key.ends_with(PARTY_STATUS) && view.get(key).is_some())
        .collect()
}

pub(super) fn apply(street: &mut Street) {
    let to_clear: Vec<(RecordId, String)> = street
        .changed(Kind::ShopCard)
        .filter(|(record, _)| {
            street
                .touched(*record)
                .is_some_and(|touched| touched.entries(CONSENT))
        })
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
