//! Held changes, decided: edits made before their author could know that a grid was not theirs any more, or that a device was to be wiped.
//!
//! In: a held change, a reviewer's word. Out: the change becomes part of its record as if it had come in time (the author's own bytes, under
//! the author's own actor), or it is refused with a reason, which the phone gets as its final verdict when it sends the change again.
//! Invariants:
//! - what a held change builds on comes first, or with it; a change that a rule refuses stays held and is told;
//! - a change that does not fit any more (its record was rebuilt since, or what it builds on was refused) can still be applied as the desk's own
//!   edit: values that it did not see stay beside its own;
//! - nothing is decided twice.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    access::{Role, Writer},
    authority::{Said, check_new_change},
    codec::change::{self, Action as ChangeAction, Change, OpId, Scalar},
    crdt::{
        merge::{Refusal, RegisterState, Replaces, Write},
        record::Edit as RecordEdit,
    },
    id::{ChangeHash, RecordId},
    kinds::Broken,
    time::{DeviceTime, ServerTime},
};
use uuid::Uuid;

use super::{Act, Desk, Refused};
use crate::{
    audit::Action,
    ids::derived,
    push::GRID_LOST,
    store::{HeldChange, HeldDecision, HeldStatus, NoticeDetail, NoticeWrite, Wants},
    street::{Accepted, Street},
};

/// A notice that the office accepted a held change.
pub const HELD_ACCEPTED: &str = "held_accepted";
/// A notice that the office refused a held change; the note is the reason.
pub const HELD_REFUSED: &str = "held_refused";

/// A held change to accept.
#[derive(Debug)]
pub struct Accept {
    pub by: Desk,
    pub held: Uuid,
    pub note: Option<String>,
    /// What it builds on and is held as well is accepted with it.
    pub with_needed: bool,
    /// As an edit of the desk's own, where it cannot be merged as it is.
    pub as_edit: bool,
}

/// Among held changes of a record that nobody decided on, those that `change` builds on, in an order in which they can be merged.
pub fn needed(
    change: &Change,
    open: &[(Uuid, &Change)],
    state: Option<&RegisterState>,
) -> Vec<Uuid> {
    let by_hash: BTreeMap<ChangeHash, &(Uuid, &Change)> =
        open.iter().map(|held| (held.1.hash, held)).collect();
    let known = |hash: &ChangeHash| state.is_some_and(|state| state.contains(*hash));
    let mut wanted: BTreeSet<ChangeHash> = BTreeSet::new();
    let mut look_at: Vec<ChangeHash> = change.deps.clone();
    while let Some(hash) = look_at.pop() {
        if let Some((_, change)) = by_hash.get(&hash).filter(|_| !known(&hash))
            && wanted.insert(hash)
        {
            look_at.extend(&change.deps);
        }
    }
    // Whoever builds on another counts on from it.
    let mut needed: Vec<_> = wanted.iter().filter_map(|hash| by_hash.get(hash)).collect();
    needed.sort_by_key(|(_, change)| (change.start_op, change.hash));
    needed.into_iter().map(|(held, _)| *held).collect()
}

/// What must be known to decide on a held change.
fn wants(street: &Street, id: Uuid) -> Wants {
    let mut wants = Wants {
        held_changes: [id].into(),
        ..Wants::default()
    };
    if let Some(held) = street.known().held_changes.get(&id) {
        wants.records.insert(held.record);
        wants.held_of.insert(held.record);
        for held in street
            .known()
            .held_of
            .get(&held.record)
            .into_iter()
            .flatten()
        {
            wants.roles.insert(held.username.clone());
            wants.earlier.extend(
                change::decode(&held.bytes)
                    .ok()
                    .map(|change| (held.record, change.hash)),
            );
            if street.state(held.record).is_some()
                && change::decode(&held.bytes).is_ok_and(|change| change.edits_text())
            {
                wants.documents.insert(held.record);
            }
        }
    }
    wants
}

/// The held change, still undecided.
fn open(street: &Street, id: Uuid) -> Result<HeldChange, Refused> {
    let held = street.known().held_changes.get(&id);
    match held.ok_or(Refused::NotFound)? {
        held if held.status == HeldStatus::Held => Ok(held.clone()),
        _ => Err(Refused::Decided),
    }
}

impl Act for Accept {
    /// Everything that was accepted with it, itself last.
    type Done = Vec<Uuid>;
    type Refused = Refused;

    fn wants(&self, street: &Street) -> Wants {
        wants(street, self.held)
    }

    fn decide(self, street: &mut Street) -> Result<Vec<Uuid>, Refused> {
        let held = open(street, self.held)?;
        let record = held.record;
        let change = change::decode(&held.bytes).map_err(|_| Refused::Decided)?;
        readable(&held, &change, street.now())?;
        let mut accepted: Vec<(Uuid, i64)> = Vec::new();
        let mut authors: Vec<(String, ChangeHash)> = Vec::new();
        if self.as_edit {
            let seq = apply_as_edit(street, &change, &held, &self.by)?;
            accepted.push((self.held, seq));
            authors.push((held.username, change.hash));
        } else {
            let all = street.known().held_of.get(&record).into_iter().flatten();
            let all: BTreeMap<Uuid, (HeldChange, Change)> = all
                .filter(|held| held.status == HeldStatus::Held)
                .filter_map(|held| {
                    let change = change::decode(&held.bytes).ok()?;
                    Some((held.held, (held.clone(), change)))
                })
                .collect();
            let waiting: Vec<_> = all.iter().map(|(id, (_, change))| (*id, change)).collect();
            let mut order = needed(&change, &waiting, street.state(record));
            if !order.is_empty() && !self.with_needed {
                return Err(Refused::Needs(order));
            }
            order.push(self.held);
            for id in order {
                let Some((held, change)) = all.get(&id) else {
                    continue;
                };
                readable(held, change, street.now())?;
                accepted.push((id, merge_held(street, held, change)?));
                authors.push((held.username.clone(), change.hash));
            }
        }
        let decisions = accepted.iter().map(|(held, seq)| HeldDecision {
            held: *held,
            accepted: Some(*seq),
            by: Some(self.by.username.clone()),
            note: self.note.clone(),
        });
        street.writes.decided.extend(decisions);
        notify(
            street,
            record,
            HELD_ACCEPTED,
            authors,
            self.note.as_ref(),
            &self.by,
        );
        let ids: Vec<Uuid> = accepted.iter().map(|(held, _)| *held).collect();
        let words: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let event = self.by.event(Action::HeldAccepted).on(record);
        street.audit(event.with("held", words).with("as_edit", self.as_edit));
        Ok(ids)
    }
}

/// A held change to refuse: its author gets the reason, and the edit as a draft.
#[derive(Debug)]
pub struct Refuse {
    pub by: Desk,
    pub held: Uuid,
    pub reason: String,
}

impl Act for Refuse {
    type Done = ();
    type Refused = Refused;

    fn wants(&self, street: &Street) -> Wants {
        wants(street, self.held)
    }

    fn decide(self, street: &mut Street) -> Result<(), Refused> {
        let held = open(street, self.held)?;
        let record = held.record;
        street.writes.decided.push(HeldDecision {
            held: self.held,
            accepted: None,
            by: Some(self.by.username.clone()),
            note: Some(self.reason.clone()),
        });
        let change = change::decode(&held.bytes).ok();
        let authors = change.map(|change| (held.username, change.hash));
        let authors = authors.into_iter().collect();
        notify(
            street,
            record,
            HELD_REFUSED,
            authors,
            Some(&self.reason),
            &self.by,
        );
        let event = self.by.event(Action::HeldRefused).on(record);
        street.audit(event.with("held", self.held.to_string()));
        Ok(())
    }
}

/// What a phone may not say for the first time, a reviewer does not take in for it. How old a day is, the reviewer sees: it may have waited.
fn readable(held: &HeldChange, change: &Change, now: ServerTime) -> Result<(), Refused> {
    let said = Said::OnPhone {
        at: now,
        clock: Some(DeviceTime::from_unix_ms(now.unix_ms())),
    };
    check_new_change(held.kind, change, said)
        .map_err(|Broken { key, error }| Refused::HeldRefused(Refusal::field(key, error)))
}

/// Merges it as if it had come in time: bound by its author's role of then, not by the grid or the role that the author lost.
fn merge_held(street: &mut Street, held: &HeldChange, change: &Change) -> Result<i64, Refused> {
    let mut refused = None;
    for role in roles_of(street, held) {
        let writer = Writer::Person(role);
        match street.accept(held.record, held.kind, held.generation, change, writer) {
            Ok(Accepted::Now(seq)) => return Ok(seq),
            Ok(Accepted::Before) => return Ok(0),
            Err(refusal) => refused = refused.or(Some(refusal)),
        }
    }
    Err(Refused::HeldRefused(
        refused.unwrap_or(Refusal::DependencyMissing),
    ))
}

/// The roles in which the author may have written it: one that was changed since is as good as a grid that was lost since.
fn roles_of(street: &Street, held: &HeldChange) -> Vec<Role> {
    let known = street.known().roles.get(&held.username);
    let mut roles = known.cloned().unwrap_or_default();
    // Only a secretary loses a grid; what changed before the store remembered roles shows in that alone.
    if roles.is_empty() || held.reason == GRID_LOST {
        roles.push(Role::Secretary);
    }
    roles
}

/// Writes what it says in the desk's name, beside whatever its author had not seen; into the note go the characters that it put in.
fn apply_as_edit(
    street: &mut Street,
    change: &Change,
    held: &HeldChange,
    by: &Desk,
) -> Result<i64, Refused> {
    let Some(state) = street.state(held.record) else {
        return Err(Refused::HeldRefused(Refusal::DependencyMissing));
    };
    let unmerged = unmerged(street, state, held.record, change);
    let writes = writes_of(change, &unmerged, state);
    let signer = by.signer();
    let mut written = street
        .compose(held.record, signer, &writes, "")
        .map_err(Refused::HeldRefused)?;
    if change.edits_text() {
        let text = street
            .note_with(held.record, change, &unmerged)
            .map_err(Refused::HeldRefused)?;
        let note = street.compose_note(held.record, signer, &[RecordEdit::Note { text }], "");
        written = note.map_err(Refused::HeldRefused)?.or(written);
    }
    // Where the record says so already, there is no number.
    Ok(written.map_or(0, |(_, seq)| seq))
}

/// Changes of the same author that are held, or were, and that the record never had. What it holds under an id that one of them gave is by a copy of the
/// author's phone, which counted on from the same number.
fn unmerged(
    street: &Street,
    state: &RegisterState,
    record: RecordId,
    change: &Change,
) -> Vec<Change> {
    let of_record = street.known().held_of.get(&record).into_iter().flatten();
    let earlier = &street.known().earlier;
    of_record
        .filter_map(|held| change::decode(&held.bytes).ok())
        .filter(|other| other.actor == change.actor && other.start_op < change.start_op)
        .filter(|other| !state.contains(other.hash) && !earlier.contains_key(&(record, other.hash)))
        .collect()
}

/// The last write of each key, the note apart. It replaces what its author had seen, and nothing newer: a rebuild leaves the ids of operations as they are.
fn writes_of(change: &Change, unmerged: &[Change], state: &RegisterState) -> Vec<Write> {
    let view = state.view();
    let ids = |change: &Change| {
        let ids = (0..change.ops.len()).map(|index| change.op_id(index));
        ids.collect::<Vec<_>>()
    };
    let others: BTreeSet<OpId> = unmerged.iter().flat_map(ids).collect();
    let mut writes: BTreeMap<&str, (Option<Scalar>, BTreeSet<OpId>)> = BTreeMap::new();
    for op in &change.ops {
        let (key, value) = match &op.action {
            ChangeAction::Put { key, value } => (key, Some(value.clone())),
            ChangeAction::Delete { key } => (key, None),
            ChangeAction::MakeText { .. }
            | ChangeAction::Insert { .. }
            | ChangeAction::Remove { .. } => continue,
        };
        let write = writes.entry(key).or_default();
        write.0 = value;
        write
            .1
            .extend(op.pred.iter().filter(|op| !others.contains(op)));
    }
    let visible = |key: &str, op: &OpId| {
        view.values
            .get(key)
            .is_some_and(|values| values.iter().any(|value| value.op == *op))
    };
    writes
        .into_iter()
        .map(|(key, (value, seen))| {
            let seen: Vec<_> = seen.into_iter().filter(|op| visible(key, op)).collect();
            Write {
                key: key.to_owned(),
                value,
                replaces: if seen.is_empty() {
                    Replaces::Nothing
                } else {
                    Replaces::Only(seen)
                },
            }
        })
        .filter(|write| write.value.is_some() || write.replaces != Replaces::Nothing)
        .collect()
}

fn notify(
    street: &mut Street,
    record: RecordId,
    kind: &'static str,
    authors: Vec<(String, ChangeHash)>,
    note: Option<&String>,
    by: &Desk,
) {
    // A number of its own, beyond every phone's cursor, even where the log says nothing new.
    let (seq, now) = (street.reserve(), street.now());
    let notices = authors.into_iter().map(|(username, hash)| NoticeWrite {
        notice: derived(now, &[kind.as_bytes(), &hash.0]),
        seq,
        username,
        kind,
        record,
        field: None,
        detail: NoticeDetail {
            hash: Some(hash),
            by: Some(by.role.as_str().to_owned()),
            note: note.cloned(),
        },
    });
    street.writes.notices.extend(notices);
}
