//! Merging two cards of one shop, undoing it, and finding that two cards are two shops. Late edits come along by [`crate::follow`].
//!
//! What is carried over, and what an undo takes back, is `sync_core::duplicate::carry`'s to say. Invariants:
//! - both histories stay; nothing of the losing card is rewritten but `merged_into`, which only the server writes;
//! - everything a merge writes on the winner is signed with the merge's own epochs, and nothing else is;
//! - no card is merged into one that was merged away, and one that was merged away is not merged again: chains end, cycles cannot be.

use std::collections::BTreeSet;

use lianka_sync_core::{
    codec::change::Scalar,
    crdt::{merge::RegisterState, view::Value},
    id::{Actor, EntryId, RecordId},
    key::Key,
    kinds::{
        Kind, Meaning,
        duplicate::{self, Traits, carry},
        projection::{self, Projected},
    },
};
use uuid::Uuid;

use super::{Act, Desk, Refused, about, records};
use crate::{
    audit::Action,
    store::{CardMerge, Dismissal, Undone, Wants},
    street::{Signer, Street},
};

/// Epochs of one merge: one for each of the values it may put beside each other.
const EPOCHS: u32 = 64;
const _: () = assert!(carry::VALUES_MAX <= EPOCHS as usize);

/// An epoch of a merge's own. The high bit keeps it from the epochs of phones, which count from 0.
pub fn epoch(entropy: [u8; 4]) -> u32 {
    (u32::from_be_bytes(entropy) | 0x8000_0000) & !(EPOCHS - 1)
}

/// Whether an actor wrote for the merge.
pub fn wrote(merge: &CardMerge) -> impl Fn(Actor) -> bool + use<> {
    signed_under(merge.epoch)
}

/// Whether an actor signs with one of the epochs from this one on.
pub(super) fn signed_under(epoch: u32) -> impl Fn(Actor) -> bool + use<> {
    move |actor| actor.epoch() & !(EPOCHS - 1) == epoch
}

/// The merges that were undone and had taken this person of the losing card for one of the winner's: whom. Both cards' merges must be known.
fn taken_for(
    street: &Street,
    winner: RecordId,
    person: EntryId,
) -> impl Iterator<Item = (&CardMerge, EntryId)> {
    let known = street.known().merges_of.get(&winner).into_iter().flatten();
    known
        .filter(move |merge| merge.winner == winner && merge.undone.is_some())
        .filter_map(move |merge| Some((merge, *merge.same_persons.get(&person)?)))
}

/// Whether an undone merge had brought what another card said of the person under one of this card's.
pub(super) fn had_brought(street: &Street, winner: RecordId, person: EntryId) -> bool {
    taken_for(street, winner, person).next().is_some()
}

/// The consents that undone merges had brought of the person: what a log holds no undo takes back.
pub(super) fn consents_brought(
    street: &Street,
    winner: RecordId,
    person: EntryId,
) -> BTreeSet<EntryId> {
    let Some(state) = street.state(winner) else {
        return BTreeSet::new();
    };
    let view = state.view();
    let brought = taken_for(street, winner, person).flat_map(|(merge, present)| {
        let person = Scalar::Str(present.to_string());
        let (wrote, view) = (wrote(merge), &view);
        view.values.iter().filter_map(move |(key, values)| {
            let (field, Key::Entry { entry, .. }) = Kind::ShopCard.field(key)? else {
                return None;
            };
            let names = |value: &Value| wrote(value.op.actor) && value.value == person;
            (field.meaning == Meaning::ConsentOf && values.iter().any(names)).then_some(entry)
        })
    });
    brought.collect()
}

/// What merges that were undone had written of these persons under others of the winner: whether what an actor wrote to a key is such a copy.
pub(super) fn taken_back(
    street: &Street,
    winner: RecordId,
    persons: &BTreeSet<EntryId>,
) -> impl Fn(Actor, &str) -> bool + use<> {
    let copied = persons
        .iter()
        .flat_map(|person| taken_for(street, winner, *person));
    let copied: Vec<(u32, EntryId)> = copied
        .map(|(merge, present)| (merge.epoch, present))
        .collect();
    move |actor, key| {
        let Some(Key::Entry { list, entry, .. }) = Key::parse(key) else {
            return false;
        };
        let mut copied = copied.iter().filter(|(_, present)| *present == entry);
        Kind::ShopCard.persons() == Some(list)
            && copied.any(|(epoch, _)| signed_under(*epoch)(actor))
    }
}

/// The cards whose history holds a copy of a person that an undone merge had brought from this one.
pub(super) fn copies_left(
    street: &Street,
    loser: RecordId,
    person: EntryId,
) -> impl Iterator<Item = RecordId> {
    undone_of(street, loser)
        .filter(move |merge| {
            street.state(merge.winner).is_some_and(|state| {
                let holds = state.has_person(person) || merge.same_persons.contains_key(&person);
                holds && !state.redacted().contains(&person)
            })
        })
        .map(|merge| merge.winner)
}

/// The cards into which a card had gone, and from which it was parted again.
pub(super) fn parted_from(street: &Street, loser: RecordId) -> impl Iterator<Item = RecordId> {
    undone_of(street, loser).map(|merge| merge.winner)
}

/// The merges by which a card had gone, and came back.
fn undone_of(street: &Street, loser: RecordId) -> impl Iterator<Item = &CardMerge> {
    let known = street.known().merges_of.get(&loser).into_iter().flatten();
    known.filter(move |merge| merge.loser == loser && merge.undone.is_some())
}

/// Two cards to merge.
#[derive(Debug)]
pub struct Merge {
    pub by: Desk,
    pub winner: RecordId,
    pub loser: RecordId,
    pub note: String,
    /// What it will be known by.
    pub merge: Uuid,
    /// Of [`epoch`].
    pub epoch: u32,
}

impl Act for Merge {
    type Done = CardMerge;
    type Refused = Refused;

    fn wants(&self, _: &Street) -> Wants {
        records([self.winner, self.loser])
    }

    fn decide(self, street: &mut Street) -> Result<CardMerge, Refused> {
        let (winner, loser) = (self.winner, self.loser);
        let card = |record| {
            street
                .state(record)
                .filter(|state| state.kind() == Kind::ShopCard)
                .ok_or(Refused::NotFound)
        };
        let (winning, losing) = (card(winner)?, card(loser)?);
        if winner == loser {
            return Err(Refused::SameCard);
        }
        if winning.successor().is_some() || losing.successor().is_some() {
            return Err(Refused::AlreadyMerged);
        }
        let reasons = match (traits(winner, winning), traits(loser, losing)) {
            (Some(a), Some(b)) => a.compare(&b).reasons,
            _ => Vec::new(),
        };
        let plan = carry::plan(&winning.view(), &losing.view());
        let message = format!("并入重复卡片 {loser}");
        for (nth, writes) in plan.changes.into_iter().enumerate() {
            let signer = Signer::Merge {
                desk: Some((self.by.device, self.by.role)),
                epoch: self.epoch + nth as u32,
            };
            street
                .compose_what_fits(winner, signer, writes, &message)
                .map_err(Refused::CardRefuses)?;
        }
        street
            .compose(
                loser,
                Signer::Server,
                &[carry::goes_on_as(Some(winner))],
                &format!("并入 {winner}"),
            )
            .map_err(Refused::CardRefuses)?;
        let row = CardMerge {
            merge: self.merge,
            winner,
            loser,
            reasons: reasons.iter().map(ToString::to_string).collect(),
            note: self.note,
            username: self.by.username.clone(),
            device: self.by.device,
            epoch: self.epoch,
            same_persons: plan.same_persons,
            merged_at: street.now(),
            undone: None,
        };
        street.writes.merges.push(row.clone());
        let event = self.by.event(Action::Merge).on(winner);
        street.audit(
            event
                .with("merge", row.merge.to_string())
                .with("loser", loser.to_string()),
        );
        Ok(row)
    }
}

/// What a card is recognised by.
fn traits(record: RecordId, state: &RegisterState) -> Option<Traits> {
    match projection::project(record, state.generation(), &state.view())? {
        Projected::ShopCard(card) => Some(card.traits()),
        _ => None,
    }
}

/// A merge to undo: both cards come back.
#[derive(Debug)]
pub struct UndoMerge {
    pub by: Desk,
    pub merge: Uuid,
    pub note: String,
}

impl Act for UndoMerge {
    type Done = CardMerge;
    type Refused = Refused;

    fn wants(&self, street: &Street) -> Wants {
        let row = street.known().merges.get(&self.merge);
        let cards = row.map(|row| [row.winner, row.loser]);
        Wants {
            merges: [self.merge].into(),
            ..records(cards.into_iter().flatten())
        }
    }

    fn decide(self, street: &mut Street) -> Result<CardMerge, Refused> {
        // Known under the street's lock: of two who undo at once, the second finds it undone.
        let row = street.known().merges.get(&self.merge);
        let row = row.cloned().ok_or(Refused::NotFound)?;
        if row.undone.is_some() {
            return Err(Refused::MergeUndone);
        }
        let (winner, loser) = (row.winner, row.loser);
        // A winner that was erased has nothing left to give back; the other card comes back all the same.
        if let Some(winning) = street.state(winner) {
            if winning.successor().is_some() {
                return Err(Refused::MergeNotLast);
            }
            let writes = carry::undo(winning, wrote(&row), &row.same_persons);
            let message = format!("撤销并入 {loser}");
            street
                .compose_what_fits(winner, self.by.signer(), writes, &message)
                .map_err(Refused::CardRefuses)?;
        }
        street
            .compose(
                loser,
                Signer::Server,
                &[carry::goes_on_as(None)],
                &format!("撤销并入 {winner}"),
            )
            .map_err(Refused::CardRefuses)?;
        let undone = Undone {
            by: self.by.username.clone(),
            note: self.note,
            at: street.now(),
        };
        street
            .writes
            .merges_undone
            .push((row.merge, undone.clone()));
        let event = self.by.event(Action::MergeUndone).on(winner);
        street.audit(
            event
                .with("merge", row.merge.to_string())
                .with("loser", loser.to_string()),
        );
        Ok(CardMerge {
            undone: Some(undone),
            ..row
        })
    }
}

/// Two cards that are two shops: the pair leaves the list until they share something more.
#[derive(Debug)]
pub struct Dismiss {
    pub by: Desk,
    /// Ascending.
    pub records: (RecordId, RecordId),
    /// What they shared when somebody looked.
    pub reasons: Vec<String>,
    pub note: String,
}

impl Act for Dismiss {
    type Done = ();
    type Refused = Refused;

    fn wants(&self, _: &Street) -> Wants {
        records([self.records.0, self.records.1])
    }

    fn decide(self, street: &mut Street) -> Result<(), Refused> {
        let (a, b) = self.records;
        // Erased since somebody looked: there is no pair any more.
        about(street, a)?;
        about(street, b)?;
        let event = self.by.event(Action::Dismissed).on(a);
        street.audit(
            event
                .with("other", b.to_string())
                .with("reasons", self.reasons.clone()),
        );
        street.writes.dismissals.push(Dismissal {
            pair: duplicate::pair_id(a, b),
            records: self.records,
            reasons: self.reasons,
            note: self.note,
            username: self.by.username,
        });
        Ok(())
    }
}
