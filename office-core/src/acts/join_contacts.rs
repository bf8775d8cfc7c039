//! One person who stands twice on one card: two entries become one, that is undone, or they are found to be two people. Late edits of the entry that
//! went come along by [`crate::follow`].
//!
//! What is written is `sync_core::duplicate::persons`' to say. Invariants:
//! - history keeps both entries; everything that joining writes is signed with its own epochs, and nothing else is;
//! - no value is kept beside the record: an undo reads from its history what the entry said.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    codec::change::{self, Change},
    crdt::{
        merge::{RegisterState, Write},
        record::Record,
        view::View,
    },
    id::{Actor, EntryId, RecordId},
    key::Key,
    kinds::{
        Kind,
        duplicate::persons::{self, Alike, Contact, Same},
        persons as persons_of,
    },
};
use uuid::Uuid;

use super::{Act, Desk, Refused, about, merge_cards::signed_under, records};
use crate::{
    audit::Action,
    ids::derived,
    store::{ContactJoin, Dismissal, Undone, Wants},
    street::{Signer, Street},
};

/// Whether an actor wrote for the joining.
pub fn wrote(join: &ContactJoin) -> impl Fn(Actor) -> bool + use<> {
    signed_under(join.epoch)
}

/// The id of a consent's copy: the same however often it is copied.
pub(crate) fn copy_of(join: &ContactJoin) -> impl Fn(EntryId) -> EntryId + use<> {
    let (join, at) = (join.join, join.joined_at);
    move |consent| EntryId(derived(at, &[join.as_bytes(), consent.0.as_bytes()]))
}

/// Two entries of a card to join.
#[derive(Debug)]
pub struct Join {
    pub by: Desk,
    pub record: RecordId,
    pub same: Same,
    pub note: String,
    /// What it will be known by.
    pub join: Uuid,
    /// Of [`super::merge_cards::epoch`].
    pub epoch: u32,
}

impl Act for Join {
    type Done = ContactJoin;
    type Refused = Refused;

    fn wants(&self, _: &Street) -> Wants {
        records([self.record])
    }

    fn decide(self, street: &mut Street) -> Result<ContactJoin, Refused> {
        let Self { record, same, .. } = self;
        let state = card(street, record)?;
        let view = state.view();
        let entries = persons_of(&view);
        if same.kept == same.gone
            || ![same.kept, same.gone]
                .iter()
                .all(|one| entries.contains(one))
        {
            return Err(Refused::NoEntry);
        }
        let reasons = reasons(&view, same);
        let row = ContactJoin {
            join: self.join,
            record,
            same,
            reasons,
            note: self.note,
            username: self.by.username.clone(),
            device: self.by.device,
            epoch: self.epoch,
            joined_at: street.now(),
            undone: None,
        };
        let changes = persons::join(state, wrote(&row), same, copy_of(&row));
        for (nth, writes) in changes.into_iter().enumerate() {
            let signer = Signer::Merge {
                desk: Some((self.by.device, self.by.role)),
                epoch: self.epoch + nth as u32,
            };
            street
                .compose_what_fits(record, signer, writes, &message(same))
                .map_err(Refused::CardRefuses)?;
        }
        street.writes.joins.push(row.clone());
        let event = self.by.event(Action::Merge).on(record);
        street.audit(
            event
                .with("join", row.join.to_string())
                .with("kept", same.kept.to_string())
                .with("gone", same.gone.to_string()),
        );
        Ok(row)
    }
}

/// What history says of a change that joins.
pub(crate) fn message(same: Same) -> String {
    format!("联系人 {} 并入 {}", same.gone, same.kept)
}

/// A card that is not merged away.
fn card(street: &Street, record: RecordId) -> Result<&RegisterState, Refused> {
    let state = about(street, record)?;
    if state.kind() != Kind::ShopCard {
        return Err(Refused::NotFound);
    }
    if state.successor().is_some() {
        return Err(Refused::AlreadyMerged);
    }
    Ok(state)
}

fn reasons(view: &View, same: Same) -> Vec<String> {
    let found = persons::alike(&[same.kept, same.gone].map(|entry| Contact::of(view, entry)));
    let found = found.into_iter().flat_map(|Alike { reasons, .. }| reasons);
    found.map(|reason| reason.to_string()).collect()
}

/// A joining to undo: both entries are back.
#[derive(Debug)]
pub struct UndoJoin {
    pub by: Desk,
    pub join: Uuid,
    pub note: String,
}

impl Act for UndoJoin {
    type Done = ContactJoin;
    type Refused = Refused;

    fn wants(&self, street: &Street) -> Wants {
        let mut wants = Wants {
            joins: [self.join].into(),
            ..Wants::default()
        };
        if let Some(row) = street.known().joins.get(&self.join) {
            wants.records.insert(row.record);
            wants.documents.insert(row.record);
            wants.joins_of.insert(row.record);
        }
        wants
    }

    fn decide(self, street: &mut Street) -> Result<ContactJoin, Refused> {
        // Known under the street's lock: of two who undo at once, the second finds it undone.
        let row = street.known().joins.get(&self.join);
        let row = row.cloned().ok_or(Refused::NotFound)?;
        if row.undone.is_some() {
            return Err(Refused::MergeUndone);
        }
        let (record, same) = (row.record, row.same);
        let state = card(street, record)?;
        if standing(street, record).any(|later| later.same.gone == same.kept) {
            return Err(Refused::MergeNotLast);
        }
        let parting = persons::part(state, wrote(&row), same, &history(street, record)?)
            .ok_or(Refused::NoEntry)?;
        let brought = |by: Actor| {
            let mut others = standing(street, record).filter(|other| other.join != row.join);
            others.any(|other| wrote(other)(by))
        };
        // By the epoch of an earlier joining, 0 for the desk; and of values that stand side by side one in each.
        let mut changes = BTreeMap::from([((0, 0), parting.taken_back)]);
        for (by, write) in parting.returned {
            let epoch = if brought(by) { by.epoch() } else { 0 };
            let is_free = |writes: &Vec<Write>| writes.iter().all(|one| one.key != write.key);
            let nth =
                (0..=changes.len()).find(|nth| changes.get(&(epoch, *nth)).is_none_or(is_free));
            changes
                .entry((epoch, nth.unwrap_or_default()))
                .or_default()
                .push(write);
        }
        for ((epoch, _), writes) in changes {
            let signer = if epoch == 0 {
                self.by.signer()
            } else {
                let desk = Some((self.by.device, self.by.role));
                Signer::Merge { desk, epoch }
            };
            let message = format!("撤销联系人 {} 并入 {}", same.gone, same.kept);
            street
                .compose_what_fits(record, signer, writes, &message)
                .map_err(Refused::CardRefuses)?;
        }
        let undone = Undone {
            by: self.by.username.clone(),
            note: self.note,
            at: street.now(),
        };
        street.writes.joins_undone.push((row.join, undone.clone()));
        let event = self.by.event(Action::MergeUndone).on(record);
        street.audit(
            event
                .with("join", row.join.to_string())
                .with("kept", same.kept.to_string())
                .with("gone", same.gone.to_string()),
        );
        Ok(ContactJoin {
            undone: Some(undone),
            ..row
        })
    }
}

/// The joinings of a record that nobody undid, those of this write apart.
pub(crate) fn standing(street: &Street, record: RecordId) -> impl Iterator<Item = &ContactJoin> {
    let known = street.known().joins_of.get(&record).into_iter().flatten();
    let undone = &street.writes.joins_undone;
    known
        .filter(move |row| row.undone.is_none() && undone.iter().all(|(join, _)| *join != row.join))
}

/// The entry and those that were joined into it, or into one of them.
pub(crate) fn joined_into(street: &Street, record: RecordId, entry: EntryId) -> BTreeSet<EntryId> {
    let into = standing(street, record).map(|row| (row.same.kept, row.same.gone));
    reached([entry].into(), &into.collect::<Vec<_>>())
}

/// These entries and all that steps from one to another lead to.
fn reached(mut entries: BTreeSet<EntryId>, steps: &[(EntryId, EntryId)]) -> BTreeSet<EntryId> {
    let mut before = 0;
    while std::mem::replace(&mut before, entries.len()) < entries.len() {
        for (from, to) in steps {
            if entries.contains(from) {
                entries.insert(*to);
            }
        }
    }
    entries
}

/// What joinings that were undone had copied of these entries into those that were to go on: whether what an actor wrote to a key is such a copy.
pub(crate) fn taken_back(
    street: &Street,
    record: RecordId,
    entries: &BTreeSet<EntryId>,
) -> impl Fn(Actor, &str) -> bool + use<> {
    let known = street.known().joins_of.get(&record).into_iter().flatten();
    let undone = known.filter(|row| row.undone.is_some());
    let mut copied: Vec<ContactJoin> = undone.cloned().collect();
    let steps: Vec<_> = copied
        .iter()
        .map(|row| (row.same.gone, row.same.kept))
        .collect();
    let of = reached(entries.clone(), &steps);
    copied.retain(|row| of.contains(&row.same.gone));
    move |actor, key| {
        let Some(Key::Entry { entry, .. }) = Key::parse(key) else {
            return false;
        };
        let mut into = copied.iter().filter(|row| row.same.kept == entry);
        into.any(|row| wrote(row)(actor))
    }
}

fn history(street: &Street, record: RecordId) -> Result<Vec<Change>, Refused> {
    let bytes = street.known().documents.get(&record);
    let mut document = bytes
        .and_then(|bytes| Record::load(bytes).ok())
        .ok_or(Refused::Unavailable)?;
    let changes = document.changes().into_iter();
    let changes: Result<_, _> = changes.map(|bytes| change::decode(&bytes)).collect();
    changes.map_err(|_| Refused::Unavailable)
}

/// Two entries that are two people: the pair leaves the list until they share something more.
#[derive(Debug)]
pub struct TellApart {
    pub by: Desk,
    pub record: RecordId,
    pub entries: (EntryId, EntryId),
    /// What they shared when somebody looked.
    pub reasons: Vec<String>,
    pub note: String,
}

impl Act for TellApart {
    type Done = ();
    type Refused = Refused;

    fn wants(&self, _: &Street) -> Wants {
        records([self.record])
    }

    fn decide(self, street: &mut Street) -> Result<(), Refused> {
        let (record, (a, b)) = (self.record, self.entries);
        about(street, record)?;
        let event = self.by.event(Action::Dismissed).on(record);
        street.audit(
            event
                .with("entries", vec![a.to_string(), b.to_string()])
                .with("reasons", self.reasons.clone()),
        );
        street.writes.dismissals.push(Dismissal {
            pair: persons::pair_id(record, a, b),
            records: (record, record),
            reasons: self.reasons,
            note: self.note,
            username: self.by.username,
        });
        Ok(())
    }
}
