//! Transfers at the office: rulings on what landed, the fields that leave the record, and the clock.
//!
//! In: events without a ruling, from phones and desks alike. Out: rulings in the record, as changes of the server's own, inside the transaction
//! that accepted the events, in the order of the street's log. What is decided is `sync_core::transfer`'s to say; here are the facts that the
//! record does not hold, read under the street's lock.
//!
//! Invariants:
//! - an event that was accepted is ruled on in the same transaction, once;
//! - once a request is submitted, its sensitive fields (P3) stand in `transfer_personal` alone: the record is rebuilt without them;
//! - the clock acts once for each limit, on however many servers: it looks again when it holds the street.

pub mod routes;
pub mod store;

use std::collections::HashMap;

use lianka_sync_core::{
    codec::change::{OpId, Scalar},
    crdt::{
        merge::{RegisterState, Write},
        rebuild::Forget,
        view::View,
    },
    id::{ChangeHash, DeviceId, EntryId, RecordId, StreetCode},
    kinds::{
        Kind,
        transfer::{
            self, Case, Facts, Ruled, State, Step, letter_number, member::Member, table::SEALED,
        },
    },
    time::ServerTime,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    audit::{Action, Event},
    roll::store as roll,
    street::write::{ForgetError, Signer, StreetWrite},
    transfers::store::{OpenRequest, PersonalFields},
};

/// Fields that leave their record for the office's own table.
#[derive(Debug)]
pub struct Seal {
    pub record: RecordId,
    pub revision: u32,
    pub fields: PersonalFields,
}

/// An event that waits for its ruling.
struct Pending {
    /// Where the change that brought it stands in the log, and the event within the change.
    order: (i64, u32),
    record: RecordId,
    event: EntryId,
    device: DeviceId,
}

/// Rules on what this write accepted. Called once, before the write commits.
///
/// Nothing here fails a push but the store: an event that cannot be ruled on (its record is full) stays pending and is reported.
pub async fn follow(write: &mut StreetWrite) -> sqlx::Result<()> {
    let records = write.changed(Kind::TransferRequest);
    if records.is_empty() {
        return Ok(());
    }
    let mut pending = pending(write, &records);
    pending.sort_by_key(|pending| pending.order);
    if !pending.is_empty() {
        // What was accepted before is told of before its rulings.
        if write.has_untold() {
            write.audit(Event::by_server(Action::Content));
        }
        let devices: Vec<Uuid> = pending.iter().map(|pending| pending.device.0).collect();
        let authors = roll::device_names(write.tx(), &devices).await?;
        let authors: HashMap<Uuid, String> = authors
            .into_iter()
            .map(|name| (name.device, name.username))
            .collect();
        for Pending {
            record,
            event,
            device,
            ..
        } in &pending
        {
            rule(write, *record, *event, authors.get(&device.0).cloned()).await?;
        }
    }
    for record in records {
        seal(
            write,
            record,
            pending.iter().any(|pending| pending.record == record),
        )
        .await?;
    }
    Ok(())
}

fn pending(write: &StreetWrite, records: &[RecordId]) -> Vec<Pending> {
    let seqs: HashMap<(RecordId, ChangeHash), i64> = write
        .accepted()
        .map(|(record, seq, hash, _)| ((record, hash), seq))
        .collect();
    let mut pending = Vec::new();
    for record in records {
        let Some(state) = write.state(*record) else {
            continue;
        };
        let view = state.view();
        for event in Case::of(&view).pending() {
            let Some(op) = written(&view, event.id) else {
                continue;
            };
            let hash = state.provenance(op).map(|from| from.hash);
            let seq = hash
                .and_then(|hash| seqs.get(&(*record, hash)).copied())
                .unwrap_or_default();
            pending.push(Pending {
                order: (seq, op.counter),
                record: *record,
                event: event.id,
                device: op.actor.device(),
            });
        }
    }
    pending
}

/// The operation that wrote an event's type.
fn written(view: &View, event: EntryId) -> Option<OpId> {
    Some(view.values.get(&format!("events/{event}/type"))?.last()?.op)
}

/// Rules on one pending event and writes the ruling into the record.
async fn rule(
    write: &mut StreetWrite,
    record: RecordId,
    event: EntryId,
    by: Option<String>,
) -> sqlx::Result<()> {
    let Some(view) = write.state(record).map(RegisterState::view) else {
        return Ok(());
    };
    let case = Case::of(&view);
    let Some(event) = case.pending().find(|pending| pending.id == event).cloned() else {
        return Ok(());
    };
    let facts = facts(write, record, &case, &event, &view, by.clone()).await?;
    let now = write.now();
    let ruling = transfer::rule(&case, &event, now, &facts);
    let ruled = Ruled {
        no: case.now.no + 1,
        at: now,
        ruling,
        by,
    };
    decide(write, record, &event, &ruled, Vec::new());
    Ok(())
}

/// Writes a ruling, with what else belongs into the same change, and tells the audit trail.
pub(crate) fn decide(
    write: &mut StreetWrite,
    record: RecordId,
    event: &transfer::Event,
    ruled: &Ruled,
    mut writes: Vec<Write>,
) -> bool {
    writes.extend(
        ruled
            .keys(event.id)
            .into_iter()
            .map(|(key, value)| Write::new(key, Some(Scalar::Str(value)))),
    );
    if let Err(refusal) = write.compose(record, Signer::Server, &writes, "") {
        tracing::error!(street = %write.street(), %record, event = %event.id, code = refusal.code(), "a ruling could not be written; the event stays pending");
        return false;
    }
    let told = Event::by_server(Action::Ruling)
        .on(record)
        .with("event", event.id.to_string())
        .with("type", event.step.as_str());
    let told = told
        .with("outcome", ruled.ruling.outcome.as_str())
        .with("state", ruled.ruling.state.as_str())
        .with("no", ruled.no);
    let told = match ruled.ruling.code {
        Some(code) => told.with("code", code.as_str()),
        None => told,
    };
    write.audit(match &ruled.by {
        Some(by) => told.with("by", by.as_str()),
        None => told,
    });
    true
}

/// What the record does not say: other requests of the street.
async fn facts(
    write: &mut StreetWrite,
    record: RecordId,
    case: &Case,
    event: &transfer::Event,
    view: &View,
    by: Option<String>,
) -> sqlx::Result<Facts> {
    let letter_in_use = match letter_number(event) {
        Some(number) => letter_in_use(write, record, number).await?,
        None => false,
    };
    let earlier_open = if event.step.row().binding {
        earlier_open(write, record, case, view).await?
    } else {
        None
    };
    Ok(Facts {
        by,
        lacking: transfer::lacking(view).map(|(code, _)| code),
        letter_in_use,
        earlier_open,
    })
}

/// Requests that this write changed and whose rows are therefore not up to date: they are read from their states.
fn changed_cases(write: &StreetWrite) -> Vec<(RecordId, View, Case)> {
    let of = |record: RecordId| {
        let view = write.state(record)?.view();
        let case = Case::of(&view);
        Some((record, view, case))
    };
    write
        .changed(Kind::TransferRequest)
        .into_iter()
        .filter_map(of)
        .collect()
}

async fn letter_in_use(
    write: &mut StreetWrite,
    record: RecordId,
    number: &str,
) -> sqlx::Result<bool> {
    let changed = changed_cases(write);
    let live = |case: &Case| {
        transfer::is_open(case.now.state)
            && case
                .now
                .letter
                .as_ref()
                .is_some_and(|letter| letter.number == number)
    };
    if changed
        .iter()
        .any(|(other, _, case)| *other != record && live(case))
    {
        return Ok(true);
    }
    let street = write.street().clone();
    let holders = store::letter_holders(write.tx(), &street, number).await?;
    Ok(holders
        .into_iter()
        .any(|holder| holder != record && !changed.iter().any(|(other, ..)| *other == holder)))
}

/// The earliest open request of the same member before this one.
async fn earlier_open(
    write: &mut StreetWrite,
    record: RecordId,
    case: &Case,
    view: &View,
) -> sqlx::Result<Option<RecordId>> {
    let Some(submitted_at) = case.now.submitted_at else {
        return Ok(None);
    };
    let changed = changed_cases(write);
    let street = write.street().clone();
    let stored = store::open_requests(write.tx(), &street).await?;
    let different = store::different_people(write.tx(), &street).await?;
    // The office keeps the name of a request that was submitted before: the row has it.
    let own = stored
        .iter()
        .find(|request| request.record == record)
        .map(|request| member(view, Some(&request.member)));
    let own = own.unwrap_or_else(|| member(view, None));
    let mut others = Vec::new();
    for (other, view, case) in &changed {
        let known = stored
            .iter()
            .find(|request| request.record == *other)
            .map(|request| &request.member);
        if let Some(submitted_at) = case
            .now
            .submitted_at
            .filter(|_| transfer::is_open(case.now.state))
        {
            others.push(OpenRequest {
                record: *other,
                submitted_at,
                member: member(view, known),
            });
        }
    }
    others.extend(
        stored
            .into_iter()
            .filter(|request| !changed.iter().any(|(other, ..)| *other == request.record)),
    );
    let ruled_different = |other: RecordId| {
        case.now.not_same.contains(&other)
            || different.contains(&(record, other))
            || different.contains(&(other, record))
            || changed
                .iter()
                .any(|(id, _, case)| *id == other && case.now.not_same.contains(&record))
    };
    let earlier = others
        .into_iter()
        .filter(|other| {
            other.record != record && (other.submitted_at, other.record) < (submitted_at, record)
        })
        .filter(|other| own.is_likely(&other.member) && !ruled_different(other.record))
        .min_by_key(|other| (other.submitted_at, other.record));
    Ok(earlier.map(|other| other.record))
}

/// Whom a request is of: as the record says, or as the office keeps it.
fn member(view: &View, kept: Option<&Member>) -> Member {
    let text = |key: &str, kept: Option<&String>| {
        view.text(key).map(str::to_owned).or_else(|| kept.cloned())
    };
    Member {
        name: text("member_name", kept.and_then(|member| member.name.as_ref())),
        phone: text("phone", None),
        origin: text(
            "origin_organisation",
            kept.and_then(|member| member.origin.as_ref()),
        ),
        alias: text("member_alias", None),
    }
}

/// Moves the sensitive fields of a request that is not with its secretary to the office's own table. `ruled`: this write ruled on it.
///
/// With a submission they are its content; written later they belong to the next revision.
async fn seal(write: &mut StreetWrite, record: RecordId, ruled: bool) -> sqlx::Result<()> {
    let Some(view) = write.state(record).map(RegisterState::view) else {
        return Ok(());
    };
    let values = |field: &&str| {
        let values = view
            .values
            .get(*field)?
            .iter()
            .filter_map(|value| value.value.as_str().map(str::to_owned))
            .collect();
        Some(((*field).to_owned(), values))
    };
    let fields: PersonalFields = SEALED.iter().filter_map(values).collect();
    let case = Case::of(&view);
    if fields.is_empty() || matches!(case.now.state, State::Draft | State::Returned) {
        return Ok(());
    }
    let now = write.now();
    let submitted = ruled
        && case.ruled().any(|(event, ruled)| {
            matches!(event.step, Step::Submit | Step::Resubmit) && ruled.at == now
        });
    let revision = case.now.revision + u32::from(!submitted);
    let names: Vec<String> = fields.keys().cloned().collect();
    let marks: Vec<_> = names
        .iter()
        .map(|field| format!("sealed/{field}"))
        .filter(|key| view.get(key).is_none())
        .map(|key| Write::new(key, Some(Scalar::Bool(true))))
        .collect();
    if let Err(refusal) = write.compose(record, Signer::Server, &marks, "") {
        tracing::error!(street = %write.street(), %record, code = refusal.code(), "sensitive fields could not be marked as sealed; they stay in the record");
        return Ok(());
    }
    let street = write.street().clone();
    match write
        .rebuild(record, &Forget::keys(&|key| SEALED.contains(&key)))
        .await
    {
        Ok(_) => {}
        Err(ForgetError::Store(error)) => return Err(error),
        Err(error) => {
            tracing::error!(%street, %record, %error, "a submitted request keeps its sensitive fields: it could not be rebuilt");
            return Ok(());
        }
    }
    write.audit(
        Event::by_server(Action::PersonalMoved)
            .on(record)
            .with("revision", revision)
            .with("fields", names),
    );
    write.seal(Seal {
        record,
        revision,
        fields,
    });
    Ok(())
}

/// Writes what was sealed; the record's row is there by now.
pub async fn keep(
    tx: &mut PgConnection,
    street: &StreetCode,
    now: ServerTime,
    seal: &Seal,
) -> sqlx::Result<()> {
    store::seal(tx, street, seal.record, seal.revision, &seal.fields, now).await?;
    store::forget_beside(
        tx,
        street,
        seal.record,
        &seal.fields.keys().cloned().collect::<Vec<_>>(),
    )
    .await
}
