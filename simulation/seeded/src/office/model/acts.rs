//! What people at desks do, act by act. Each is one transaction on a copy of the store: it takes hold whole, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    access::{Role, Writer},
    codec::change::{self, Change, Scalar},
    crdt::{
        merge::{Refusal, Replaces, Write},
        record::{Edit, NOTE},
    },
    id::{Actor, ChangeHash, DeviceId, EntryId, RecordId},
    kinds::{
        Kind,
        duplicate::carry::{self, Plan},
        transfer::{Case, Step},
    },
};

use super::{
    ModelOffice, Names, desk,
    ledger::{Decision, Held, MergedAway, Store},
    told::Told,
    write::{Documents, Signer, Writing},
};
use crate::office::Acted;

/// Why an act came to nothing.
pub enum Undone {
    NotThere,
    Refused(String),
}

impl From<Refusal> for Undone {
    fn from(refusal: Refusal) -> Self {
        let unavailable = refusal.retryable() && refusal.key().is_none();
        Self::Refused(
            if unavailable {
                "unavailable"
            } else {
                refusal.code()
            }
            .to_owned(),
        )
    }
}

fn refused(code: &str) -> Undone {
    Undone::Refused(code.to_owned())
}

type Done = Result<(), Undone>;

impl ModelOffice {
    /// Does something in one transaction.
    pub(super) fn transact(&mut self, act: impl FnOnce(&mut Writing<'_>) -> Done) -> Acted {
        let (mut store, mut documents) = (self.store.clone(), Documents::new());
        let mut write = Writing::begin(&mut store, &mut documents, self.now);
        match act(&mut write) {
            Ok(()) => {
                write.finish();
                // Documents at hand may be of records that moved on.
                self.documents.clear();
                self.store = store;
                Acted::Done
            }
            Err(Undone::NotThere) => Acted::Nothing,
            Err(Undone::Refused(code)) => Acted::Refused(code),
        }
    }

    pub(super) fn edit(&mut self, record: RecordId, set: &[(String, Option<String>)]) -> Acted {
        let reviewer = self.desks.reviewer;
        let set: BTreeMap<_, _> = set
            .iter()
            .map(|(key, value)| {
                (
                    key.clone(),
                    value.as_ref().map(|text| desk::scalar(key, text)),
                )
            })
            .collect();
        self.transact(|write| {
            if set.is_empty() {
                return Err(refused("not_empty"));
            }
            write.state(record).ok_or(Undone::NotThere)?;
            let signer = Signer::desk(write.store, reviewer, Role::Reviewer);
            let written = if set.contains_key(NOTE) {
                let edits: Vec<_> = set
                    .into_iter()
                    .map(|(key, value)| as_edit(key, value))
                    .collect();
                write.compose_note(record, signer, &edits)?
            } else {
                let writes: Vec<_> = set
                    .into_iter()
                    .map(|(key, value)| Write::new(key, value))
                    .collect();
                write.compose(record, signer, &writes, "")?
            };
            written.map(drop).ok_or(Undone::NotThere)
        })
    }

    pub(super) fn resolve(&mut self, record: RecordId, field: &str, nth: usize) -> Acted {
        let reviewer = self.desks.reviewer;
        self.transact(|write| {
            let state = write.state(record).ok_or(Undone::NotThere)?;
            let in_conflict = state
                .kind()
                .field(field)
                .is_some_and(|(field, _)| field.keeps_conflicts());
            let visible = state.visible(field);
            let values: BTreeMap<String, Scalar> = visible
                .iter()
                .map(|(_, value)| (desk::text(value), value.clone()))
                .collect();
            let chosen = values
                .values()
                .nth(nth)
                .filter(|_| in_conflict && values.len() > 1)
                .cloned()
                .ok_or(Undone::NotThere)?;
            let replaces = Replaces::Only(visible.iter().map(|(op, _)| *op).collect());
            let signer = Signer::desk(write.store, reviewer, Role::Reviewer);
            let choice = Write {
                key: field.to_owned(),
                value: Some(chosen),
                replaces,
            };
            write
                .compose(record, signer, &[choice], "")?
                .map(drop)
                .ok_or_else(|| refused("conflict_changed"))
        })
    }

    pub(super) fn move_to(&mut self, records: &[RecordId], grid: &str) -> Acted {
        let reviewer = self.desks.reviewer;
        self.transact(|write| {
            if !write.store.grids.contains(grid) {
                return Err(refused("exists"));
            }
            let there = |record: &RecordId| {
                write
                    .store
                    .records
                    .get(record)
                    .is_some_and(|kept| kept.grid != grid)
            };
            let moved: BTreeSet<_> = records.iter().copied().filter(there).collect();
            if moved.is_empty() {
                return Err(Undone::NotThere);
            }
            let signer = Signer::desk(write.store, reviewer, Role::Reviewer);
            for record in moved {
                write.compose(record, signer, &[Write::new("grid", Some(grid.into()))], "")?;
            }
            Ok(())
        })
    }

    pub(super) fn merge_cards(&mut self, winner: RecordId, loser: RecordId) -> Acted {
        let (reviewer, epoch) = (self.desks.reviewer, &mut self.names);
        let (mut store, mut documents) = (self.store.clone(), Documents::new());
        let mut write = Writing::begin(&mut store, &mut documents, self.now);
        match merge_in(&mut write, reviewer, epoch, winner, loser) {
            Ok(()) => {
                write.finish();
                self.documents.clear();
                self.store = store;
                Acted::Done
            }
            Err(Undone::NotThere) => Acted::Nothing,
            Err(Undone::Refused(code)) => Acted::Refused(code),
        }
    }

    pub(super) fn decide_held(&mut self, nth: usize, accept: bool) -> Acted {
        self.transact(|write| {
            let waits = |(_, held): &(_, &Held)| held.decision == Decision::Waits;
            let key = *write
                .store
                .held
                .iter()
                .filter(waits)
                .nth(nth)
                .ok_or(Undone::NotThere)?
                .0;
            if accept {
                return accept_held(write, key);
            }
            refuse_held(write, key);
            Ok(())
        })
    }

    pub(super) fn step(
        &mut self,
        record: RecordId,
        step: &str,
        fields: &[(String, String)],
    ) -> Acted {
        let nth = *self
            .steps
            .entry(record)
            .and_modify(|nth| *nth += 1)
            .or_insert(0);
        let (officer, id) = (
            self.desks.officers[desk::officer(nth)],
            desk::event_id(record, nth, self.now),
        );
        self.transact(|write| {
            let step: Step = step.parse().map_err(|_| refused("known_step"))?;
            let state = write
                .state(record)
                .filter(|state| state.kind() == Kind::TransferRequest)
                .ok_or(Undone::NotThere)?;
            let last = Case::of(&state.view()).now.last;
            let put = |name: &str, value: String| {
                Write::new(format!("events/{id}/{name}"), Some(Scalar::Str(value)))
            };
            let mut writes = vec![put("type", step.to_string())];
            let mut fields: BTreeMap<_, _> = fields.iter().cloned().collect();
            let seen = fields
                .remove("seen")
                .or_else(|| last.map(|last: EntryId| last.to_string()));
            writes.extend(seen.map(|seen| put("seen", seen)));
            writes.extend(fields.into_iter().map(|(name, value)| put(&name, value)));
            let signer = Signer::desk(write.store, officer, Role::Officer);
            write
                .compose(record, signer, &writes, "")
                .map_err(|refusal| refused(refusal.code()))?;
            Ok(())
        })
    }
}

fn as_edit(key: String, value: Option<Scalar>) -> Edit {
    match value {
        value if key == NOTE => Edit::Note {
            text: value
                .as_ref()
                .and_then(Scalar::as_str)
                .unwrap_or_default()
                .to_owned(),
        },
        Some(value) => Edit::Put { key, value },
        None => Edit::Delete { key },
    }
}

const MERGED_INTO: &str = "merged_into";

fn merge_in(
    write: &mut Writing<'_>,
    reviewer: DeviceId,
    names: &mut Names,
    winner: RecordId,
    loser: RecordId,
) -> Done {
    let card = |record| {
        write
            .state(record)
            .filter(|state| state.kind() == Kind::ShopCard)
            .ok_or(Undone::NotThere)
    };
    let (winning, losing) = (card(winner)?, card(loser)?);
    if winner == loser {
        return Err(refused("one_of_the_pair"));
    }
    if winning.text(MERGED_INTO).is_some() || losing.text(MERGED_INTO).is_some() {
        return Err(refused("already_merged"));
    }
    let Plan {
        same_persons,
        changes,
    } = carry::plan(&winning.view(), &losing.view());
    let epoch = names.merge();
    for (nth, writes) in changes.into_iter().enumerate() {
        let signer = Signer {
            actor: Actor::new(reviewer, epoch + nth as u32),
            writer: Writer::Person(Role::Reviewer),
        };
        bring(
            write,
            winner,
            signer,
            writes,
            &format!("并入重复卡片 {loser}"),
        )?;
    }
    let office = Signer::office(write.store);
    let away = Write::new(MERGED_INTO, Some(Scalar::Str(winner.to_string())));
    write.compose(loser, office, &[away], &format!("并入 {winner}"))?;
    write.store.merged_away.insert(
        loser,
        MergedAway {
            winner,
            epoch,
            same_persons,
        },
    );
    Ok(())
}

/// Writes, and leaves out what a rule of the card forbids.
fn bring(
    write: &mut Writing<'_>,
    record: RecordId,
    signer: Signer,
    mut writes: Vec<Write>,
    remark: &str,
) -> Done {
    while !writes.is_empty() {
        let Err(refusal) = write.compose(record, signer, &writes, remark) else {
            return Ok(());
        };
        let before = writes.len();
        writes.retain(|write| Some(write.key.as_str()) != refusal.key());
        if writes.len() == before {
            return Err(refused(if refusal.retryable() {
                "unavailable"
            } else {
                "card_refuses"
            }));
        }
    }
    Ok(())
}

impl Writing<'_> {
    /// What was accepted for cards that were merged away goes on to the cards that go on, and on from there.
    pub(super) fn carry_late_edits(&mut self) {
        let mut upto = self.before;
        while let Some(late) = self.late_after(&mut upto) {
            for (record, hash, device, change) in late {
                let Some(merged) = self.store.merged_away.get(&record).cloned() else {
                    continue;
                };
                let own = |actor: Actor| Names::same_merge(actor.epoch(), merged.epoch);
                let Some(writes) = self
                    .state(merged.winner)
                    .map(|state| carry::carry(state, own, &merged.same_persons, &change))
                else {
                    continue;
                };
                let author = self.store.username(device).unwrap_or_default().to_owned();
                let remark = format!(
                    "转自已并入的卡片 {record}，修改 {hash}，作者 {author}（设备 {device}）"
                );
                let signer = Signer {
                    actor: self.store.own_actor(merged.epoch),
                    writer: Writer::Server,
                };
                // What cannot be carried over stays in the history of the card that was merged away.
                let _ = bring(self, merged.winner, signer, writes, &remark);
            }
        }
    }

    /// Changes accepted beyond `upto` for cards that are merged away, if any.
    fn late_after(&self, upto: &mut u64) -> Option<Vec<(RecordId, ChangeHash, DeviceId, Change)>> {
        let after = std::mem::replace(upto, self.store.head);
        let late: Vec<_> = self
            .store
            .log
            .range(after + 1..)
            .filter_map(|(_, entry)| match &entry.what {
                super::ledger::What::Change {
                    hash,
                    device,
                    bytes,
                } => Some((entry.record, *hash, *device, change::decode(bytes).ok()?)),
                _ => None,
            })
            .filter(|(record, ..)| {
                self.state(*record)
                    .is_some_and(|state| state.text(MERGED_INTO).is_some())
            })
            .collect();
        (!late.is_empty()).then_some(late)
    }
}

type HeldKey = (RecordId, ChangeHash, u32);

/// Accepts it with whatever it builds on that waits too, as if it all had come in time.
fn accept_held(write: &mut Writing<'_>, key: HeldKey) -> Done {
    let record = key.0;
    let mut told = Vec::new();
    for (key, change) in with_needed(write.store, key) {
        let Some(held) = write.store.held.get(&key).cloned() else {
            continue;
        };
        let role = write
            .store
            .users
            .get(&held.username)
            .map_or(Role::Secretary, |user| user.role);
        let seq = write
            .accept(record, held.kind, key.2, &change, role.into())?
            .unwrap_or_default();
        if let Some(held) = write.store.held.get_mut(&key) {
            held.decision = Decision::Accepted(seq);
            held.bytes.clear();
        }
        told.push((held.username, change.hash));
    }
    let seq = write.store.next_seq();
    for (username, hash) in told {
        tell_decision(write, seq, &username, record, hash, "held_accepted", None);
    }
    Ok(())
}

fn refuse_held(write: &mut Writing<'_>, key: HeldKey) {
    let reason = desk::HELD_REASON.to_owned();
    let Some(held) = write.store.held.get_mut(&key) else {
        return;
    };
    held.decision = Decision::Refused(reason.clone());
    let username = held.username.clone();
    let seq = write.store.next_seq();
    tell_decision(
        write,
        seq,
        &username,
        key.0,
        key.1,
        "held_refused",
        Some(reason),
    );
}

fn tell_decision(
    write: &mut Writing<'_>,
    seq: u64,
    username: &str,
    record: RecordId,
    hash: ChangeHash,
    kind: &'static str,
    note: Option<String>,
) {
    let by = Some(Role::Reviewer.as_str().to_owned());
    write.store.tell(
        write.now,
        Told {
            seq,
            username,
            kind,
            record,
            field: None,
            hash,
            by,
            note,
        },
    );
}

/// The held change after everything held that it builds on, however far back; whoever builds on another counts on from it.
fn with_needed(store: &Store, key: HeldKey) -> Vec<(HeldKey, Change)> {
    let of_record: BTreeMap<ChangeHash, (HeldKey, Change)> = store
        .held
        .iter()
        .filter(|((record, ..), held)| *record == key.0 && held.decision == Decision::Waits)
        .filter_map(|(key, held)| Some((key.1, (*key, change::decode(&held.bytes).ok()?))))
        .collect();
    let (mut wanted, mut open) = (BTreeSet::from([key.1]), vec![key.1]);
    while let Some(hash) = open.pop() {
        let deps = of_record
            .get(&hash)
            .map(|(_, change)| change.deps.clone())
            .unwrap_or_default();
        open.extend(
            deps.into_iter()
                .filter(|dep| of_record.contains_key(dep) && wanted.insert(*dep)),
        );
    }
    let mut all: Vec<_> = wanted
        .iter()
        .filter_map(|hash| of_record.get(hash))
        .cloned()
        .collect();
    all.sort_by_key(|(of, change)| (of.1 == key.1, change.start_op, change.hash));
    all
}
