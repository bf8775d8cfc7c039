//! Rulings on events of transfers, and the fields that leave a submitted request.
//!
//! In: events without a ruling, from phones and desks alike. Out: rulings in the record, as changes of the server's own, in the order of the
//! street's log. What is decided is `sync_core::transfer`'s to say; here are the facts that the record does not hold. Invariants:
//! - an event that was accepted is ruled on in the same transaction, once; one whose record is full stays pending and is reported;
//! - once a request is submitted, its sensitive fields (P3) stand in the office's own table alone: the record is rebuilt without them.

use std::collections::BTreeMap;

use lianka_sync_core::{
    codec::change::Scalar,
    crdt::{
        merge::{RegisterState, Write},
        rebuild::Forget,
        view::View,
    },
    id::{ChangeHash, DeviceId, EntryId, RecordId},
    kinds::{
        Kind,
        transfer::{
            self, Case, Event, Facts, Ruled, State, Step, letter_key, letter_number,
            member::Member, table::SEALED, written,
        },
    },
};

use crate::{
    audit::{Action, Event as AuditEvent},
    store::{OpenRequest, PersonalFields, Seal, Wants},
    street::{Signer, Street},
};

/// An event that waits for its ruling.
struct Pending {
    /// Where the change that brought it stands in the log, and the event within the change.
    order: (i64, u32),
    record: RecordId,
    event: Event,
    device: DeviceId,
}

fn pending(street: &Street) -> Vec<Pending> {
    let mut pending = Vec::new();
    let mut seqs: Option<BTreeMap<(RecordId, ChangeHash), i64>> = None;
    for (record, state) in street.changed(Kind::TransferRequest) {
        let view = state.view();
        for event in Case::of(&view).pending() {
            let Some(op) = written(&view, event.id).map(|value| value.op) else {
                continue;
            };
            if street.following.unruled.contains(&(record, event.id)) {
                continue;
            }
            let seqs = seqs.get_or_insert_with(|| {
                street
                    .accepted(0)
                    .map(|(record, seq, change)| ((record, change.hash), seq))
                    .collect()
            });
            let from = state.provenance(op);
            let seq = from.and_then(|from| seqs.get(&(record, from.hash)).copied());
            pending.push(Pending {
                order: (seq.unwrap_or_default(), op.counter),
                record,
                event: event.clone(),
                device: op.actor.device(),
            });
        }
    }
    pending.sort_by_key(|pending| pending.order);
    pending
}

pub(super) fn wants(street: &Street) -> Wants {
    let mut wants = Wants::default();
    for Pending { event, device, .. } in pending(street) {
        wants.people.insert(device);
        wants.letters.extend(letter_number(&event).map(letter_key));
        if event.step.row().binding {
            wants.requests.insert(());
            wants.different.insert(());
        }
    }
    wants
}

pub(super) fn apply(street: &mut Street) {
    let pending = pending(street);
    // What was accepted before is told of before its rulings.
    if !pending.is_empty() && street.has_unannounced() {
        street.audit(AuditEvent::by_server(Action::Content));
    }
    for Pending {
        record,
        event,
        device,
        ..
    } in pending
    {
        street.following.ruled.insert(record);
        if !rule_on(street, record, event.id, device) {
            street.following.unruled.insert((record, event.id));
        }
    }
}

/// Rules on one pending event and writes the ruling into the record; whether it could be written.
fn rule_on(street: &mut Street, record: RecordId, event: EntryId, device: DeviceId) -> bool {
    let Some(view) = street.state(record).map(RegisterState::view) else {
        return false;
    };
    let case = Case::of(&view);
    let Some(event) = case.pending().find(|pending| pending.id == event).cloned() else {
        return false;
    };
    let by = street.known().people.get(&device);
    let by = by.map(|person| person.username.clone());
    let facts = facts(street, record, &case, &event, &view, by.clone());
    let now = street.now();
    let ruling = transfer::rule(&case, &event, now, &facts);
    let ruled = Ruled {
        no: case.now.no + 1,
        at: now,
        ruling,
        by,
    };
    write_ruling(street, record, &event, &ruled, Vec::new())
}

/// Writes a ruling, with what else belongs into the same change, and tells the audit trail; whether it could be written.
pub fn write_ruling(
    street: &mut Street,
    record: RecordId,
    event: &Event,
    ruled: &Ruled,
    mut writes: Vec<Write>,
) -> bool {
    writes.extend(
        ruled
            .keys(event.id)
            .into_iter()
            .map(|(key, value)| Write::new(key, Some(Scalar::Str(value)))),
    );
    if let Err(refusal) = street.compose(record, Signer::Server, &writes, "") {
        let what = "a ruling could not be written; the event stays pending";
        street.report(
            record,
            what,
            format!("{}, event {}", refusal.code(), event.id),
        );
        return false;
    }
    let event = AuditEvent::by_server(Action::Ruling)
        .on(record)
        .with("event", event.id.to_string())
        .with("type", event.step.as_str())
        .with("outcome", ruled.ruling.outcome.as_str())
        .with("state", ruled.ruling.state.as_str())
        .with("no", ruled.no);
    let event = match ruled.ruling.code {
        Some(code) => event.with("code", code.as_str()),
        None => event,
    };
    street.audit(match &ruled.by {
        Some(by) => event.with("by", by.as_str()),
        None => event,
    });
    true
}

/// What the record does not say: other requests of the street.
fn facts(
    street: &Street,
    record: RecordId,
    case: &Case,
    event: &Event,
    view: &View,
    by: Option<String>,
) -> Facts {
    Facts {
        by,
        lacking: transfer::lacking(view).map(|(code, _)| code),
        letter_in_use: letter_number(event)
            .is_some_and(|number| letter_in_use(street, record, &letter_key(number))),
        earlier_open: if event.step.row().binding {
            earlier_open(street, record, case, view)
        } else {
            None
        },
        // Only the clock's events are about terms.
        ..Facts::default()
    }
}

/// Requests that this write changed and whose rows are therefore not up to date: they are read from their states.
fn changed_cases(street: &Street) -> Vec<(RecordId, View, Case)> {
    let of = |(record, state): (RecordId, &RegisterState)| {
        let view = state.view();
        let case = Case::of(&view);
        (record, view, case)
    };
    street.changed(Kind::TransferRequest).map(of).collect()
}

/// `key`: the number as [`letter_key`] compares it.
fn letter_in_use(street: &Street, record: RecordId, key: &str) -> bool {
    let changed = changed_cases(street);
    let live = |case: &Case| {
        transfer::is_open(case.now.state)
            && case
                .now
                .letter
                .as_ref()
                .is_some_and(|letter| letter_key(&letter.number) == key)
    };
    let is_changed = |holder: RecordId| changed.iter().any(|(other, ..)| *other == holder);
    let stored = street.known().letters.get(key);
    changed
        .iter()
        .any(|(other, _, case)| *other != record && live(case))
        || stored
            .into_iter()
            .flatten()
            .any(|holder| *holder != record && !is_changed(*holder))
}

/// The earliest open request of the same member before this one.
fn earlier_open(street: &Street, record: RecordId, case: &Case, view: &View) -> Option<RecordId> {
    let submitted_at = case.now.submitted_at?;
    let changed = changed_cases(street);
    let stored = street.known().requests.get(&());
    let stored = stored.map(Vec::as_slice).unwrap_or_default();
    let different = street.known().different.get(&());
    let different = different.map(Vec::as_slice).unwrap_or_default();
    let known = |of: RecordId| stored.iter().find(|request| request.record == of);
    // The office keeps the name of a request that was submitted before: the row has it.
    let member_of = |of: RecordId, view: &View| {
        let kept = known(of).map(|request| &request.member);
        let written = Member::of(|key| view.text(key).map(str::to_owned), |_| None);
        Member {
            name: written.name.or_else(|| kept?.name.clone()),
            origin: written.origin.or_else(|| kept?.origin.clone()),
            ..written
        }
    };
    let own = member_of(record, view);
    let of_changed = changed.iter().filter_map(|(other, view, case)| {
        Some(OpenRequest {
            record: *other,
            submitted_at: case
                .now
                .submitted_at
                .filter(|_| transfer::is_open(case.now.state))?,
            member: member_of(*other, view),
        })
    });
    let is_changed = |other: RecordId| changed.iter().any(|(of, ..)| *of == other);
    let unchanged = stored
        .iter()
        .filter(|request| !is_changed(request.record))
        .cloned();
    let ruled_different = |other: RecordId| {
        case.now.not_same.contains(&other)
            || different.contains(&(record, other))
            || different.contains(&(other, record))
            || changed
                .iter()
                .any(|(id, _, case)| *id == other && case.now.not_same.contains(&record))
    };
    let earlier = of_changed
        .chain(unchanged)
        .filter(|other| {
            other.record != record && (other.submitted_at, other.record) < (submitted_at, record)
        })
        .filter(|other| own.is_likely(&other.member) && !ruled_different(other.record))
        .min_by_key(|other| (other.submitted_at, other.record));
    earlier.map(|other| other.record)
}

/// The sensitive fields that a request holds and should not: one that is not with its secretary.
fn to_seal(state: &RegisterState) -> Option<(View, Case, PersonalFields)> {
    SEALED.iter().find(|field| state.text(field).is_some())?;
    let view = state.view();
    let values = |field: &&str| {
        let values = view.values.get(*field)?.iter();
        let texts = values.filter_map(|value| value.value.as_str().map(str::to_owned));
        Some(((*field).to_owned(), texts.collect()))
    };
    let fields: PersonalFields = SEALED.iter().filter_map(values).collect();
    if fields.is_empty() {
        return None;
    }
    let case = Case::of(&view);
    let is_away = !matches!(case.now.state, State::Draft | State::Returned);
    is_away.then_some((view, case, fields))
}

fn unsealed(street: &Street) -> Vec<RecordId> {
    street
        .changed(Kind::TransferRequest)
        .filter(|(record, state)| {
            !street.following.unsealed.contains(record) && to_seal(state).is_some()
        })
        .map(|(record, _)| record)
        .collect()
}

pub(super) fn sealing_wants(street: &Street) -> Wants {
    let mut wants = Wants::default();
    for record in unsealed(street) {
        wants.extend(Street::rebuild_wants(record));
    }
    wants
}

pub(super) fn seal(street: &mut Street) {
    for record in unsealed(street) {
        seal_one(street, record);
    }
}

/// Moves the sensitive fields of a request to the office's own table.
///
/// With a submission they are its content; written later they belong to the next revision.
fn seal_one(street: &mut Street, record: RecordId) {
    let Some((view, case, fields)) = street.state(record).and_then(to_seal) else {
        return;
    };
    let now = street.now();
    let submitted = street.following.ruled.contains(&record)
        && case.ruled().any(|(event, ruled)| {
            matches!(event.step, Step::Submit | Step::Resubmit) && ruled.at == now
        });
    let revision = case.now.revision + u32::from(!submitted);
    let marks: Vec<_> = fields
        .keys()
        .map(|field| transfer::sealed_key(field))
        .filter(|key| view.get(key).is_none())
        .map(|key| Write::new(key, Some(Scalar::Bool(true))))
        .collect();
    if let Err(refusal) = street.compose(record, Signer::Server, &marks, "") {
        street.following.unsealed.insert(record);
        let what = "sensitive fields could not be marked as sealed; they stay in the record";
        return street.report(record, what, refusal.code());
    }
    let sealed = Forget::keys(&|key| SEALED.contains(&key));
    if let Err(error) = street.rebuild(record, &sealed) {
        street.following.unsealed.insert(record);
        let what = "a submitted request keeps its sensitive fields: it could not be rebuilt";
        return street.report(record, what, error);
    }
    street.audit(
        AuditEvent::by_server(Action::PersonalMoved)
            .on(record)
            .with("revision", revision)
            .with("fields", fields.keys().cloned().collect::<Vec<_>>()),
    );
    street.seal(Seal {
        record,
        revision,
        fields,
    });
}
