//! What becomes of the changes that a phone brings: docs/protocol.md, "Verdicts".

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    access::Role,
    codec::{
        change::{Action, Change, GateError},
        wire::{PushedChange, Verdict, VerdictStatus},
    },
    crdt::merge::{Refusal, RegisterState},
    id::{ChangeHash, DeviceId, RecordId},
    lang::Lang,
    planted::{self, Bug},
    time::ServerTime,
};

use super::{
    ledger::{Decision, Held, Kept, Store},
    write::{Documents, Writing, written_grids},
};

/// Who sends.
#[derive(Clone, Debug)]
pub struct Sender {
    pub device: DeviceId,
    pub username: String,
    pub role: Role,
    /// Revoked and to be wiped: what it may write is held.
    pub to_wipe: bool,
}

/// A change as it came, and what the gate says.
pub struct Arrived {
    pub pushed: PushedChange,
    pub change: Result<Change, GateError>,
}

const GRID_LOST: &str = "grid_lost";
const DEVICE_WIPED: &str = "device_wiped";
const HELD_PER_DEVICE_MAX: usize = 5_000;

/// What becomes of one change.
#[derive(Debug)]
pub enum Outcome {
    Accepted(u64),
    Duplicate(Option<u64>),
    Held(&'static str),
    Refused(Refusal),
}

/// How a user stands to a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Works,
    /// Once, or it was moved out of a grid of theirs.
    Worked,
    Never,
}

/// Takes in a request's changes, in one transaction.
pub fn take_in(
    store: &mut Store,
    documents: &mut Documents,
    now: ServerTime,
    sender: &Sender,
    arrived: &[Arrived],
    lang: Lang,
) -> Vec<(Verdict, bool)> {
    let mut taking = Taking {
        write: Writing::begin(store, documents, now),
        sender,
        held_now: BTreeMap::new(),
        refused: BTreeSet::new(),
    };
    let verdicts = arrived
        .iter()
        .enumerate()
        .map(|(index, arrived)| taking.judge_one(index, arrived, lang))
        .collect();
    taking.write.finish();
    verdicts
}

struct Taking<'t> {
    write: Writing<'t>,
    sender: &'t Sender,
    /// What this request brought and is held, and why.
    held_now: BTreeMap<(RecordId, ChangeHash), &'static str>,
    /// What of this request was refused for good.
    refused: BTreeSet<(RecordId, ChangeHash)>,
}

impl Taking<'_> {
    /// The verdict, and whether the phone needs the record anew to write its edit again.
    fn judge_one(
        &mut self,
        index: usize,
        Arrived { pushed, change }: &Arrived,
        lang: Lang,
    ) -> (Verdict, bool) {
        let record = pushed.record;
        let (hash, outcome) = match change {
            Err(error) => (None, Outcome::Refused(Refusal::Gate(error.clone()))),
            Ok(change) => {
                let outcome = self.judge(pushed, change);
                if matches!(&outcome, Outcome::Refused(refusal) if !refusal.retryable()) {
                    self.refused.insert((record, change.hash));
                }
                (Some(change.hash), outcome)
            }
        };
        let needs_rebase = matches!(&outcome, Outcome::Refused(refusal) if !refusal.retryable());
        (verdict(index, record, hash, &outcome, lang), needs_rebase)
    }

    fn judge(&mut self, pushed: &PushedChange, change: &Change) -> Outcome {
        let record = pushed.record;
        let decided = self.has_accepted(pushed, change.hash)
            || self.write.store.held_before(record, change.hash).is_some();
        if !decided
            && change
                .deps
                .iter()
                .any(|dep| self.refused.contains(&(record, *dep)))
        {
            return Outcome::Refused(Refusal::DependsOnRejected);
        }
        if self.write.store.erased.contains(&record) {
            return Outcome::Refused(Refusal::Erased);
        }
        if self.has_accepted(pushed, change.hash) {
            return Outcome::Duplicate(self.write.store.seq_of(record, change.hash));
        }
        if change.actor.device() != self.sender.device && !planted::is(Bug::MergeTakesForeignActors)
        {
            return Outcome::Refused(Refusal::ForeignActor);
        }
        let held_before = self
            .write
            .store
            .held_before(record, change.hash)
            .map(|held| held.decision.clone());
        match &held_before {
            Some(Decision::Refused(reason)) if !planted::is(Bug::HeldForgetsRefusal) => {
                return Outcome::Refused(Refusal::HeldRefused {
                    reason: reason.clone(),
                });
            }
            Some(Decision::Accepted(seq)) => return Outcome::Duplicate(Some(*seq)),
            Some(Decision::Waits | Decision::Refused(_)) | None => {}
        }
        if let Some(key) = self
            .write
            .state(record)
            .and_then(|state| redacted_key(state, change))
        {
            return Outcome::Refused(Refusal::Redacted { key });
        }
        if written_grids(change).any(|grid| !self.write.store.grids.contains(grid)) {
            return Outcome::Refused(Refusal::UnknownGrid);
        }
        match self.must_wait(record, change) {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(Some(reason)) => self.hold(pushed, change, reason),
            Ok(None) => match self.write.accept(
                record,
                pushed.kind,
                pushed.generation,
                change,
                self.sender.role.into(),
            ) {
                Err(refusal) => Outcome::Refused(refusal),
                Ok(None) => Outcome::Duplicate(None),
                Ok(Some(seq)) => {
                    // It came in time after all, and waits no longer.
                    for (_, held) in self
                        .write
                        .store
                        .held
                        .range_mut((record, change.hash, 0)..=(record, change.hash, u32::MAX))
                    {
                        held.decision = Decision::Accepted(seq);
                        held.bytes.clear();
                    }
                    Outcome::Accepted(seq)
                }
            },
        }
    }

    /// Also what an earlier generation had accepted, before it was rebuilt.
    fn has_accepted(&self, pushed: &PushedChange, hash: ChangeHash) -> bool {
        let earlier = |kept: &Kept| {
            pushed.generation < kept.state.generation() && kept.earlier.contains(&hash)
        };
        self.contains(pushed.record, hash)
            || self
                .write
                .store
                .records
                .get(&pushed.record)
                .is_some_and(earlier)
    }

    fn contains(&self, record: RecordId, hash: ChangeHash) -> bool {
        self.write
            .state(record)
            .is_some_and(|state| state.contains(hash))
    }

    /// Whether a reviewer has to look at it first, and why.
    fn must_wait(
        &self,
        record: RecordId,
        change: &Change,
    ) -> Result<Option<&'static str>, Refusal> {
        // What builds on something held waits with it.
        for dep in change
            .deps
            .iter()
            .filter(|dep| !self.contains(record, **dep))
        {
            let waits = |held: &Held| (held.decision == Decision::Waits).then_some(held.reason);
            let reason = self.held_now.get(&(record, *dep)).copied();
            if let Some(reason) =
                reason.or_else(|| self.write.store.held_before(record, *dep).and_then(waits))
            {
                return Ok(Some(reason));
            }
        }
        let standing = match self.write.store.records.get(&record) {
            Some(kept) => self.standing_to(record, &kept.grid),
            None => match written_grids(change).last() {
                Some(grid) => self.standing_to(record, grid),
                // A record that is not there: only its creation could make it.
                None if !change.deps.is_empty() => return Err(Refusal::DependencyMissing),
                // MERGE tells what the creation lacks.
                None => return Ok(None),
            },
        };
        match standing {
            Standing::Works => Ok(self.sender.to_wipe.then_some(DEVICE_WIPED)),
            Standing::Worked => Ok((!planted::is(Bug::HeldTakesLost)).then_some(GRID_LOST)),
            Standing::Never => Err(Refusal::NotYourGrid),
        }
    }

    fn standing_to(&self, record: RecordId, grid: &str) -> Standing {
        if self.sender.role.sees_whole_street() {
            return Standing::Works;
        }
        let Some(user) = self.write.store.users.get(&self.sender.username) else {
            return Standing::Never;
        };
        let left = || {
            self.write
                .store
                .left_grids(record)
                .any(|grid| user.ever_worked(grid))
        };
        match grid {
            grid if user.grids().contains(grid) => Standing::Works,
            grid if user.ever_worked(grid) || left() => Standing::Worked,
            _ => Standing::Never,
        }
    }

    fn hold(&mut self, pushed: &PushedChange, change: &Change, reason: &'static str) -> Outcome {
        let store = &mut *self.write.store;
        let device = self.sender.device;
        if store.held_before(pushed.record, change.hash).is_none() {
            let waiting = store
                .held
                .values()
                .filter(|held| held.device == device && held.decision == Decision::Waits)
                .count();
            if waiting >= HELD_PER_DEVICE_MAX {
                return Outcome::Refused(Refusal::TooManyHeld);
            }
        }
        self.held_now.insert((pushed.record, change.hash), reason);
        store
            .held
            .entry((pushed.record, change.hash, pushed.generation))
            .or_insert_with(|| Held {
                kind: pushed.kind,
                bytes: change.bytes.clone(),
                device,
                username: self.sender.username.clone(),
                reason,
                decision: Decision::Waits,
            });
        Outcome::Held(reason)
    }
}

/// A key of the change that is about somebody who was redacted.
fn redacted_key(state: &RegisterState, change: &Change) -> Option<String> {
    change.ops.iter().find_map(|op| match &op.action {
        Action::Put { key, value } if state.is_redacted(key, Some(value)) => Some(key.clone()),
        Action::Delete { key } if state.is_redacted(key, None) => Some(key.clone()),
        _ => None,
    })
}

fn verdict(
    index: usize,
    record: RecordId,
    hash: Option<ChangeHash>,
    outcome: &Outcome,
    lang: Lang,
) -> Verdict {
    let bare = |status| Verdict {
        index: index as u32,
        hash,
        record,
        status,
        seq: None,
        code: None,
        field: None,
        message: None,
        retryable: false,
    };
    match outcome {
        Outcome::Accepted(seq) => Verdict {
            seq: Some(*seq),
            ..bare(VerdictStatus::Accepted)
        },
        Outcome::Duplicate(seq) => Verdict {
            seq: *seq,
            ..bare(VerdictStatus::Duplicate)
        },
        Outcome::Held(reason) => {
            let message = match lang {
                Lang::Zh => "已暂存，等待街道审核",
                Lang::En => "kept for a reviewer to decide",
            };
            Verdict {
                code: Some((*reason).to_owned()),
                message: Some(message.to_owned()),
                ..bare(VerdictStatus::Held)
            }
        }
        Outcome::Refused(refusal) => Verdict {
            code: Some(refusal.code().to_owned()),
            field: refusal.key().map(str::to_owned),
            message: Some(refusal.message(lang)),
            retryable: refusal.retryable(),
            ..bare(VerdictStatus::Rejected)
        },
    }
}
