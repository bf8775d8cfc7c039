//! Late edits of a card that was merged away, brought over to the card that goes on.
//!
//! A card may go on in one that was merged itself: then its changes are carried on in turn. What cannot be carried over stays, accepted, in the
//! losing card's history.

use lianka_sync_core::{
    codec::change,
    crdt::merge::RegisterState,
    id::{ChangeHash, DeviceId, RecordId},
    kinds::duplicate::carry,
};

use crate::{
    acts::merge_cards::wrote,
    store::{CardMerge, Wants},
    street::{Signer, Street},
};

/// A change that was accepted for a card after it was merged into another.
struct Late {
    record: RecordId,
    hash: ChangeHash,
    device: DeviceId,
    bytes: Vec<u8>,
}

fn late(street: &Street) -> impl Iterator<Item = (RecordId, DeviceId, ChangeHash, &Vec<u8>)> {
    let away = |state: &RegisterState| state.successor().is_some();
    street
        .accepted(street.following.late_from)
        .filter(move |(record, ..)| street.state(*record).is_some_and(away))
        .map(|(record, _, change)| (record, change.device, change.hash, &change.bytes))
}

pub(super) fn wants(street: &Street) -> Wants {
    let mut wants = Wants::default();
    for (record, device, ..) in late(street) {
        wants.merged_away.insert(record);
        wants.people.insert(device);
        let merge = street.known().merged_away.get(&record);
        wants.records.extend(merge.map(|merge| merge.winner));
    }
    wants
}

pub(super) fn apply(street: &mut Street) {
    let late: Vec<_> = late(street)
        .map(|(record, device, hash, bytes)| Late {
            record,
            hash,
            device,
            bytes: bytes.clone(),
        })
        .collect();
    street.following.late_from = street.writes.log.len();
    for late in late {
        if let Some(merge) = street.known().merged_away.get(&late.record).cloned() {
            carry_over(street, &merge, &late);
        }
    }
}

fn carry_over(street: &mut Street, merge: &CardMerge, late: &Late) {
    let winner = merge.winner;
    let (Some(state), Ok(change)) = (street.state(winner), change::decode(&late.bytes)) else {
        street.report(
            late.record,
            "a late edit stays in the losing card: its winner was erased or cannot be read",
            winner,
        );
        return;
    };
    let writes = carry::carry(state, wrote(merge), &merge.same_persons, &change);
    let signer = Signer::Merge {
        desk: None,
        epoch: merge.epoch,
    };
    let author = street.known().people.get(&late.device);
    let message = format!(
        "转自已并入的卡片 {}，修改 {}，作者 {}（设备 {}）",
        late.record,
        late.hash,
        author.map_or("", |author| author.username.as_str()),
        late.device
    );
    if let Err(refusal) = street.compose_what_fits(winner, signer, writes, &message) {
        street.report(
            late.record,
            "a late edit stays in the losing card",
            refusal.code(),
        );
    }
}
