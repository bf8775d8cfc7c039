//! Late edits of a contact person who was joined into another entry of the card, brought over to the entry that goes on.
//!
//! A phone that had not heard of it writes to the entry that went. What cannot be brought over stays in the card's history.

use lianka_sync_core::{
    codec::change::{self, Change},
    id::RecordId,
    kinds::{Kind, Personal, duplicate::persons},
};

use crate::{
    acts::join_contacts::{copy_of, message, standing, wrote},
    store::{ContactJoin, Wants},
    street::{Signer, Street},
};

/// Accepted changes of cards that write to contact persons, and that were not looked at before.
fn late(street: &Street) -> impl Iterator<Item = (RecordId, Change)> {
    let accepted = street.accepted(street.following.contacts_from);
    accepted.filter_map(|(record, _, change)| {
        let state = street.state(record)?;
        let touched = street.touched(record)?;
        // A card that was only just made has nobody joined.
        let may_be = state.kind() == Kind::ShopCard && state.len() > 1;
        let Personal::Entries { list, consents } = state.kind().description().personal else {
            return None;
        };
        let of_persons = touched.entries(list) || touched.entries(consents);
        let change = (may_be && of_persons).then(|| change::decode(&change.bytes).ok())??;
        persons::writes_contacts(&change).then_some((record, change))
    })
}

pub(super) fn wants(street: &Street) -> Wants {
    Wants {
        joins_of: late(street).map(|(record, _)| record).collect(),
        ..Wants::default()
    }
}

pub(super) fn apply(street: &mut Street) {
    let late: Vec<_> = late(street).collect();
    street.following.contacts_from = street.writes.log.len();
    for (record, change) in late {
        let joins: Vec<ContactJoin> = standing(street, record).cloned().collect();
        for join in joins {
            if join.same.is_gone_in(&change) && !wrote(&join)(change.actor) {
                bring_over(street, &join, &change);
            }
        }
    }
}

fn bring_over(street: &mut Street, join: &ContactJoin, change: &Change) {
    let (record, same) = (join.record, join.same);
    let Some(state) = street.state(record) else {
        return;
    };
    let mut changes = persons::join(state, wrote(join), same, copy_of(join));
    let taken_back = persons::take_back(state, wrote(join), same, change);
    match changes.first_mut() {
        Some(first) => first.extend(taken_back),
        None => changes.push(taken_back),
    }
    for (nth, writes) in changes.into_iter().enumerate() {
        let signer = Signer::Merge {
            desk: None,
            epoch: join.epoch + nth as u32,
        };
        if let Err(refusal) = street.compose_what_fits(record, signer, writes, &message(same)) {
            street.report(
                record,
                "a late edit of a contact person stays where it is",
                refusal.code(),
            );
        }
    }
}
