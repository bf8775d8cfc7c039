//! The only way to forget in a CRDT: every change of a record, less some keys, or less what was overwritten long ago ([`compact()`]) → the
//! changes of its next generation.
//!
//! What stays keeps its operation ids, its author and its time, so that values, winners, conflicts and the note read exactly as before.
//! Where a change loses operations from its middle it becomes two, because the counters within one change have no gap. What changes is the
//! hash of every change from the first touched one on, each actor's sequence numbers, and what a change names as dependencies where the
//! named one is gone.
//!
//! Input: the register state, which tells the order of acceptance, and the record's document. Output: [`Rebuilt`]. Invariants:
//! - the same input gives the same bytes, on every machine;
//! - nothing of a forgotten key is left: no operation, no message of a change that touched it;
//! - every change passes the gate, Automerge loads and saves them, and its reading, the new state's and the old one's less the forgotten
//!   keys are equal: [`rebuild`] compares all three and gives nothing else out;
//! - what a record cannot be without (its required fields, the note's object) stays, whatever is asked.

mod compact;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    codec::change::{self, Action, Change, GateError, Op, OpId},
    crdt::{
        merge::{Refold, RegisterState},
        record::{Record, RecordError},
        view::View,
    },
    id::{Actor, ChangeHash, EntryId},
    limits,
    time::ServerTime,
};

pub use compact::compact;

/// What the next generation shall not hold.
#[derive(Clone, Copy)]
pub struct Forget<'f> {
    /// Whether a key goes, with every value that it ever had.
    pub key: &'f (dyn Fn(&str) -> bool + Sync),
    /// Whether the note goes, with every character that it ever had, and with it every message of the record.
    pub note: bool,
    /// Entries that nobody may write to again.
    pub redacted: &'f BTreeSet<EntryId>,
    /// Whether a value that an actor wrote to a key goes, if it was overwritten since: what was copied there and taken back.
    pub taken_back: &'f (dyn Fn(Actor, &str) -> bool + Sync),
}

impl<'f> Forget<'f> {
    /// Only keys.
    pub fn keys(key: &'f (dyn Fn(&str) -> bool + Sync)) -> Self {
        const NONE: &BTreeSet<EntryId> = &BTreeSet::new();
        Self {
            key,
            note: false,
            redacted: NONE,
            taken_back: &|_, _| false,
        }
    }
}

/// A change of the next generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RebuiltChange {
    /// The change.
    pub change: Change,
    /// The change that it stands for; two or more may stand for one.
    pub of: ChangeHash,
    /// When the server accepted that one.
    pub received_at: ServerTime,
}

/// A record's next generation.
#[derive(Debug)]
pub struct Rebuilt {
    /// Its register state.
    pub state: RegisterState,
    /// Its whole history in causal order.
    pub changes: Vec<RebuiltChange>,
    /// The same as Automerge saves it.
    pub document: Vec<u8>,
    /// Operations that were dropped.
    pub forgotten_ops: usize,
}

/// Why a record was not rebuilt; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The document does not load, or what was written does not.
    #[error("the document: {0}")]
    Document(#[from] RecordError),
    /// A change does not pass the gate.
    #[error("a change does not pass the gate: {0}")]
    Gate(#[from] GateError),
    /// The document lacks a change that the register state has.
    #[error("the document lacks change {0}")]
    Missing(ChangeHash),
    /// Without the changes that had brought them together, more changes stand side by side than a change can name. Only somebody who makes
    /// heads on purpose gets a record there; it can still be erased whole.
    #[error("too many changes would stand side by side")]
    TooWide,
    /// What was rebuilt does not say what it should.
    #[error("the rebuilt record does not read as the old one less what is forgotten")]
    Differs,
}

/// Rebuilds a record without what is to be forgotten.
pub fn rebuild(
    state: &RegisterState,
    document: &[u8],
    forget: &Forget<'_>,
) -> Result<Rebuilt, RebuildError> {
    let changes = history(state, document)?;
    let keeps = |key: &str| required(state, key) || !(forget.key)(key);
    let taken_back = compact::Gone::written(&changes, forget.taken_back);
    let stays = |id: OpId, op: &Op| match &op.action {
        Action::Put { key, .. } | Action::Delete { key } => {
            keeps(key).then(|| taken_back.rest(id, op)).flatten()
        }
        Action::MakeText { .. } => Some(op.clone()),
        Action::Insert { .. } | Action::Remove { .. } => (!forget.note).then(|| op.clone()),
    };
    // A remark may quote what is forgotten.
    let remarked = |untouched: bool| untouched && !forget.note;
    let next = relink(
        &changes,
        &Stays {
            op: &|id, op| stays(id, op),
            remarked: &remarked,
        },
    )?;
    let redacted = state.redacted().union(forget.redacted).copied().collect();
    next_generation(
        state,
        &changes,
        next,
        redacted,
        &expected(state, forget, &keeps),
    )
}

/// Folds the new changes and compares what they say.
fn next_generation(
    state: &RegisterState,
    changes: &[(Change, ServerTime)],
    next: Vec<RebuiltChange>,
    redacted: BTreeSet<EntryId>,
    expected: &View,
) -> Result<Rebuilt, RebuildError> {
    let folded: Vec<_> = next
        .iter()
        .map(|next| (next.change.clone(), next.received_at))
        .collect();
    let (kind, generation) = (state.kind(), state.generation() + 1);
    let note = expected.note.clone().unwrap_or_default();
    let rebuilt = RegisterState::refold(Refold {
        kind,
        generation,
        redacted,
        note,
        changes: &folded,
    })
    .ok_or(RebuildError::Differs)?;
    let document = judged(&rebuilt, &next, expected)?;
    let ops = |changes: &mut dyn Iterator<Item = &Change>| {
        changes.map(|change| change.ops.len()).sum::<usize>()
    };
    let forgotten_ops = ops(&mut changes.iter().map(|(change, _)| change))
        - ops(&mut next.iter().map(|next| &next.change));
    Ok(Rebuilt {
        state: rebuilt,
        changes: next,
        document,
        forgotten_ops,
    })
}

fn required(state: &RegisterState, key: &str) -> bool {
    state
        .kind()
        .field(key)
        .is_some_and(|(field, _)| field.required)
}

/// The record's changes in the order of acceptance.
fn history(
    state: &RegisterState,
    document: &[u8],
) -> Result<Vec<(Change, ServerTime)>, RebuildError> {
    let stored = Record::load(document)?.changes();
    let mut decoded = stored
        .iter()
        .map(|bytes| change::decode(bytes))
        .map(|change| change.map(|change| (change.hash, change)));
    let mut changes = decoded.by_ref().collect::<Result<HashMap<_, _>, _>>()?;
    state
        .accepted()
        .map(|(hash, at)| {
            Ok((
                changes.remove(&hash).ok_or(RebuildError::Missing(hash))?,
                at,
            ))
        })
        .collect()
}

fn expected(state: &RegisterState, forget: &Forget<'_>, keeps: &dyn Fn(&str) -> bool) -> View {
    let mut view = state.view();
    view.values.retain(|key, _| keeps(key));
    if forget.note {
        view.note = Some(String::new());
    }
    view
}

/// The document of the new changes, once Automerge has loaded, saved and read it as it should.
fn judged(
    state: &RegisterState,
    changes: &[RebuiltChange],
    expected: &View,
) -> Result<Vec<u8>, RebuildError> {
    let chunks: Vec<u8> = changes
        .iter()
        .flat_map(|next| &next.change.bytes)
        .copied()
        .collect();
    let document = Record::load(&chunks)?.save();
    let mut record = Record::load(&document)?;
    let same =
        record.heads() == state.heads() && record.view()? == *expected && state.view() == *expected;
    same.then_some(document).ok_or(RebuildError::Differs)
}

/// What became of an old change: where the last change that stands for it is, or where those are that it had built on.
enum Successor {
    Kept(usize),
    Dropped(Vec<usize>),
}

/// The new changes under construction.
struct Relink {
    changes: Vec<RebuiltChange>,
    /// Dependencies of each, as positions in `changes`.
    deps: Vec<Vec<usize>>,
    seqs: HashMap<Actor, u32>,
}

/// What a rebuild leaves of a history.
struct Stays<'s> {
    /// What an operation with its id becomes; `None` where it goes.
    op: &'s dyn Fn(OpId, &Op) -> Option<Op>,
    /// Whether a change keeps its remark; told whether it keeps all its operations.
    remarked: &'s dyn Fn(bool) -> bool,
}

/// Drops, splits and links anew.
fn relink(
    changes: &[(Change, ServerTime)],
    stays: &Stays<'_>,
) -> Result<Vec<RebuiltChange>, RebuildError> {
    let mut next = Relink {
        changes: Vec::with_capacity(changes.len()),
        deps: Vec::with_capacity(changes.len()),
        seqs: HashMap::new(),
    };
    let mut successors: BTreeMap<ChangeHash, Successor> = BTreeMap::new();
    for (old, received_at) in changes {
        let runs = runs(old, stays);
        let untouched = matches!(&runs[..], [(_, ops)] if ops.len() == old.ops.len());
        let mut onto = next.successors_of(old, &successors);
        if onto.len() > limits::CHANGE_DEPS_MAX {
            return Err(RebuildError::TooWide);
        }
        let mut remark = (stays.remarked)(untouched).then(|| old.message.clone());
        for (start_op, ops) in runs {
            let message = remark.take().unwrap_or_default();
            let change = Change {
                start_op,
                message,
                ops,
                ..old.clone()
            };
            onto = vec![next.push(change, onto, old.hash, *received_at)?];
        }
        let successor = match onto.last() {
            Some(last)
                if next
                    .changes
                    .get(*last)
                    .is_some_and(|next| next.of == old.hash) =>
            {
                Successor::Kept(*last)
            }
            _ => Successor::Dropped(onto),
        };
        successors.insert(old.hash, successor);
    }
    let named: BTreeSet<_> = next.deps.iter().flatten().copied().collect();
    // The next change of anybody names all heads.
    if next.changes.len() - named.len() > limits::CHANGE_DEPS_MAX {
        return Err(RebuildError::TooWide);
    }
    Ok(next.changes)
}

/// The operations that stay, in runs without a gap, each with the counter of its first one.
fn runs(old: &Change, stays: &Stays<'_>) -> Vec<(u32, Vec<Op>)> {
    let mut runs: Vec<(u32, Vec<Op>)> = Vec::new();
    let mut open = false;
    for (index, op) in old.ops.iter().enumerate() {
        let id = old.op_id(index);
        let stays = (stays.op)(id, op);
        let stayed = stays.is_some();
        if let Some(op) = stays {
            match runs.last_mut() {
                Some((_, ops)) if open => ops.push(op),
                _ => runs.push((id.counter, vec![op])),
            }
        }
        open = stayed;
    }
    runs
}

impl Relink {
    /// What now stands where the old dependencies stood, less what others of them have seen.
    fn successors_of(
        &self,
        old: &Change,
        successors: &BTreeMap<ChangeHash, Successor>,
    ) -> Vec<usize> {
        let mut onto = BTreeSet::new();
        let mut dropped = false;
        for dep in &old.deps {
            match successors.get(dep) {
                Some(Successor::Kept(at)) => drop(onto.insert(*at)),
                Some(Successor::Dropped(built_on)) => {
                    dropped = true;
                    onto.extend(built_on);
                }
                None => {}
            }
        }
        if dropped && onto.len() > 1 {
            self.unseen(&onto)
        } else {
            onto.into_iter().collect()
        }
    }

    /// Those of `onto` that no other of them has seen.
    fn unseen(&self, onto: &BTreeSet<usize>) -> Vec<usize> {
        let first = onto.first().copied().unwrap_or(0);
        let mut seen = BTreeSet::new();
        let mut open: Vec<usize> = onto
            .iter()
            .flat_map(|at| &self.deps[*at])
            .copied()
            .collect();
        while let Some(at) = open.pop() {
            // Positions are in causal order: nothing before the first is of interest.
            if at >= first && seen.insert(at) {
                open.extend(&self.deps[at]);
            }
        }
        onto.difference(&seen).copied().collect()
    }

    /// Appends a change that builds on `onto`; where it stands.
    fn push(
        &mut self,
        mut change: Change,
        onto: Vec<usize>,
        of: ChangeHash,
        received_at: ServerTime,
    ) -> Result<usize, GateError> {
        let seq = self.seqs.entry(change.actor).or_insert(0);
        *seq += 1;
        change.seq = *seq;
        change.deps = onto
            .iter()
            .map(|at| self.changes[*at].change.hash)
            .collect();
        change.deps.sort_unstable();
        let change = change::decode(&change::encode(&change))?;
        self.changes.push(RebuiltChange {
            change,
            of,
            received_at,
        });
        self.deps.push(onto);
        Ok(self.changes.len() - 1)
    }
}

#[cfg(test)]
mod tests;
