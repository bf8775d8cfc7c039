//! Transfers: rulings in the order of the log, sealing, and the clock. docs/protocol.md, "Transfers".
//!
//! What is ruled is `sync_core::transfer`'s to say; here are the facts about other requests, read from the records themselves, for there are no rows.

use std::collections::BTreeMap;

use lianka_sync_core::{
    codec::change::Scalar,
    crdt::{
        merge::{RegisterState, Write},
        rebuild::Forget,
    },
    id::{DeviceId, EntryId, RecordId},
    kinds::{
        Kind,
        transfer::{
            self, Case, Event, Facts, Outcome, Ruled, State, Step, Then, letter_number,
            member::{Member, clock_event_id},
            table::SEALED,
        },
    },
    time::ServerTime,
};

use super::{
    ledger::Store,
    write::{Documents, Signer, Writing},
};

fn put(key: String, value: impl Into<String>) -> Write {
    Write::new(key, Some(Scalar::Str(value.into())))
}

impl Writing<'_> {
    /// Rules on every event that has none, in the order in which the log holds them; then seals.
    pub(super) fn rule_on_events(&mut self) {
        let records = self.touched_of(Kind::TransferRequest);
        let mut waiting: Vec<(u64, u32, RecordId, EntryId, DeviceId)> = Vec::new();
        for record in &records {
            let Some(state) = self.state(*record) else {
                continue;
            };
            let view = state.view();
            for event in Case::of(&view).pending() {
                let Some(op) = view
                    .values
                    .get(&format!("events/{}/type", event.id))
                    .and_then(|values| values.last())
                    .map(|value| value.op)
                else {
                    continue;
                };
                let landed = state
                    .provenance(op)
                    .and_then(|from| self.store.seq_of(*record, from.hash))
                    .filter(|seq| *seq > self.before);
                waiting.push((
                    landed.unwrap_or_default(),
                    op.counter,
                    *record,
                    event.id,
                    op.actor.device(),
                ));
            }
        }
        waiting.sort_by_key(|(seq, counter, ..)| (*seq, *counter));
        for (_, _, record, event, device) in &waiting {
            let by = self.store.username(*device).map(str::to_owned);
            self.rule(*record, *event, by);
        }
        for record in records {
            self.seal(record, waiting.iter().any(|(_, _, of, ..)| *of == record));
        }
    }

    fn rule(&mut self, record: RecordId, event: EntryId, by: Option<String>) {
        let Some(view) = self.state(record).map(RegisterState::view) else {
            return;
        };
        let case = Case::of(&view);
        let Some(event) = case.pending().find(|pending| pending.id == event).cloned() else {
            return;
        };
        let facts = Facts {
            by: by.clone(),
            lacking: transfer::lacking(&view).map(|(code, _)| code),
            letter_in_use: letter_number(&event)
                .is_some_and(|number| self.store.letter_is_live_elsewhere(record, number)),
            earlier_open: event
                .step
                .row()
                .binding
                .then(|| self.store.earlier_open(record))
                .flatten(),
        };
        let ruling = transfer::rule(&case, &event, self.now, &facts);
        let ruled = Ruled {
            no: case.now.no + 1,
            at: self.now,
            ruling,
            by,
        };
        self.write_ruling(record, &event, &ruled, Vec::new());
    }

    /// Whether it could be written: a record that is full keeps its event pending.
    fn write_ruling(
        &mut self,
        record: RecordId,
        event: &Event,
        ruled: &Ruled,
        mut writes: Vec<Write>,
    ) -> bool {
        writes.extend(
            ruled
                .keys(event.id)
                .into_iter()
                .map(|(key, value)| put(key, value)),
        );
        let signer = Signer::office(self.store);
        self.compose(record, signer, &writes, "").is_ok()
    }

    /// Once a request is submitted only the office keeps its sensitive fields.
    fn seal(&mut self, record: RecordId, ruled_now: bool) {
        let Some(view) = self.state(record).map(RegisterState::view) else {
            return;
        };
        let case = Case::of(&view);
        if matches!(case.now.state, State::Draft | State::Returned) {
            return;
        }
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for field in SEALED {
            if let Some(values) = view.values.get(*field) {
                fields.insert(
                    (*field).to_owned(),
                    values
                        .iter()
                        .filter_map(|value| value.value.as_str().map(str::to_owned))
                        .collect(),
                );
            }
        }
        if fields.is_empty() {
            return;
        }
        let submitted_now = ruled_now
            && case.ruled().any(|(event, ruled)| {
                matches!(event.step, Step::Submit | Step::Resubmit) && ruled.at == self.now
            });
        let revision = case.now.revision + u32::from(!submitted_now);
        let unmarked = fields
            .keys()
            .map(|field| format!("sealed/{field}"))
            .filter(|key| view.get(key).is_none());
        let marks: Vec<_> = unmarked
            .map(|key| Write::new(key, Some(Scalar::Bool(true))))
            .collect();
        let signer = Signer::office(self.store);
        if self.compose(record, signer, &marks, "").is_err() {
            return;
        }
        if self
            .rebuild(record, &Forget::keys(&|key| SEALED.contains(&key)))
            .is_err()
        {
            return;
        }
        self.choices.retain(|choice| {
            choice.record != record || !fields.contains_key(&choice.settlement.key)
        });
        self.store
            .forget_told(record, |key| fields.contains_key(key));
        self.store
            .sealed
            .entry(record)
            .or_default()
            .entry(revision)
            .or_default()
            .extend(fields);
    }
}

impl Store {
    fn cases(&self) -> impl Iterator<Item = (RecordId, Case)> + use<'_> {
        let transfers = self
            .records
            .iter()
            .filter(|(_, kept)| kept.state.kind() == Kind::TransferRequest);
        transfers.map(|(record, kept)| (*record, Case::of(&kept.state.view())))
    }

    /// One number, one live letter in the whole street.
    fn letter_is_live_elsewhere(&self, record: RecordId, number: &str) -> bool {
        let live = |case: &Case| {
            transfer::is_open(case.now.state)
                && case
                    .now
                    .letter
                    .as_ref()
                    .is_some_and(|letter| letter.number == number)
        };
        self.cases()
            .any(|(other, case)| other != record && live(&case))
    }

    /// The earliest open request of the same member that was submitted before this one.
    fn earlier_open(&self, record: RecordId) -> Option<RecordId> {
        let cases: BTreeMap<_, _> = self.cases().collect();
        let own = cases.get(&record)?;
        let submitted_at = own.now.submitted_at?;
        let member = self.member(record);
        let mut earlier: Vec<_> = cases
            .iter()
            .filter(|(other, case)| **other != record && transfer::is_open(case.now.state))
            .filter(|(other, case)| {
                !own.now.not_same.contains(other) && !case.now.not_same.contains(&record)
            })
            .filter_map(|(other, case)| Some((case.now.submitted_at?, *other)))
            .filter(|at| *at < (submitted_at, record) && member.is_likely(&self.member(at.1)))
            .collect();
        earlier.sort_unstable();
        earlier.first().map(|(_, other)| *other)
    }

    /// Whom a request is of: what was sealed counts.
    fn member(&self, record: RecordId) -> Member {
        let text = |key: &str| {
            self.records
                .get(&record)?
                .state
                .text(key)
                .map(str::to_owned)
        };
        let sealed = |key: &str| {
            self.sealed
                .get(&record)?
                .values()
                .rev()
                .find_map(|fields| fields.get(key)?.last().cloned())
        };
        Member {
            name: text("member_name").or_else(|| sealed("member_name")),
            phone: text("phone"),
            origin: text("origin_organisation").or_else(|| sealed("origin_organisation")),
            alias: text("member_alias"),
        }
    }
}

/// Lets the clock act on whatever is due; whether it did anything.
pub fn clock_pass(store: &mut Store, documents: &mut Documents, now: ServerTime) -> bool {
    let due_of = |store: &Store, record: RecordId| {
        let state = &store.records.get(&record)?.state;
        Case::of(&state.view())
            .now
            .clock(state.created_at())
            .filter(|(due, _)| now >= *due)
    };
    let mut due: Vec<_> = store
        .records
        .iter()
        .filter(|(_, kept)| kept.state.kind() == Kind::TransferRequest)
        .filter_map(|(record, _)| Some((due_of(store, *record)?.0, *record)))
        .collect();
    due.sort_unstable();
    let mut acted = false;
    for (_, record) in due {
        let Some((_, then)) = due_of(store, record) else {
            continue;
        };
        let mut write = Writing::begin(store, documents, now);
        acted |= if then == Then::Erase {
            write.erase(record)
        } else {
            write.tick(record)
        };
        write.finish();
    }
    acted
}

impl Writing<'_> {
    fn tick(&mut self, record: RecordId) -> bool {
        let Some(case) = self.state(record).map(|state| Case::of(&state.view())) else {
            return false;
        };
        let Some(step) = transfer::clock_step(&case, self.now) else {
            return false;
        };
        let id = clock_event_id(record, case.now.no, self.now);
        let event = transfer::clock_event(&case, id, step);
        let ruling = transfer::rule(&case, &event, self.now, &Facts::default());
        if ruling.outcome != Outcome::Applied {
            return false;
        }
        let ruled = Ruled {
            no: case.now.no + 1,
            at: self.now,
            ruling,
            by: None,
        };
        let mut writes = vec![put(format!("events/{id}/type"), step.to_string())];
        writes.extend(
            event
                .seen
                .map(|seen| put(format!("events/{id}/seen"), seen.to_string())),
        );
        self.write_ruling(record, &event, &ruled, writes)
    }
}
