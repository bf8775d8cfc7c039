//! Compaction: a record's next generation without what was overwritten long ago.
//!
//! Values that stand, with those beside them, keep their operation ids, authors and times; so does every character of the note. What goes are
//! values that were replaced or deleted, the deletions themselves, and removed characters that no other one hangs on. What was accepted since
//! `before` stays whole, overwritten or not, so that the recent history can still be read.

use std::collections::HashSet;

use crate::crdt::rebuild::{RebuildError, Rebuilt, Stays, history, next_generation, relink};
use crate::{
    codec::change::{Action, Change, Op, OpId},
    crdt::merge::RegisterState,
    id::Actor,
    time::ServerTime,
};

/// Rebuilds a record without what was overwritten by the time it was `before`. The same where nothing was: then
/// [`Rebuilt::forgotten_ops`] is 0, and nothing is gained.
pub fn compact(
    state: &RegisterState,
    document: &[u8],
    before: ServerTime,
) -> Result<Rebuilt, RebuildError> {
    let changes = history(state, document)?;
    let old = changes
        .iter()
        .position(|(_, received_at)| *received_at >= before)
        .unwrap_or(changes.len());
    let gone = Gone::of(&changes, old);
    let next = relink(
        &changes,
        &Stays {
            op: &|id, op| gone.rest(id, op),
            remarked: &|_| true,
        },
    )?;
    next_generation(
        state,
        &changes,
        next,
        state.redacted().clone(),
        &state.view(),
    )
}

/// What goes.
pub(super) struct Gone {
    /// Puts and deletions.
    writes: HashSet<OpId>,
    /// Characters of the note.
    elements: HashSet<OpId>,
}

impl Gone {
    /// Of the first `old` changes.
    fn of(changes: &[(Change, ServerTime)], old: usize) -> Self {
        let is_put = |op: &Op| matches!(op.action, Action::Put { .. });
        let is_delete = |op: &Op| matches!(op.action, Action::Delete { .. });
        let ops = |from: usize, upto: usize| {
            changes[from..upto]
                .iter()
                .flat_map(|(change, _)| numbered(change))
        };
        let overwritten: HashSet<OpId> = ops(0, changes.len())
            .filter(|(_, op)| is_put(op) || is_delete(op))
            .flat_map(|(_, op)| op.pred.iter().copied())
            .collect();
        // A deletion that stays needs something to delete.
        let needed: HashSet<OpId> = ops(old, changes.len())
            .filter(|(_, op)| is_delete(op))
            .flat_map(|(_, op)| op.pred.iter().copied())
            .collect();
        let goes = |(id, op): &(OpId, &Op)| {
            is_delete(op) || (is_put(op) && overwritten.contains(id) && !needed.contains(id))
        };
        Self {
            writes: ops(0, old).filter(goes).map(|(id, _)| id).collect(),
            elements: elements(changes, old),
        }
    }

    /// What is such a value and was overwritten since, with what only deleted it.
    pub(super) fn written(
        changes: &[(Change, ServerTime)],
        is: &dyn Fn(Actor, &str) -> bool,
    ) -> Self {
        let ops = || changes.iter().flat_map(|(change, _)| numbered(change));
        let overwritten: HashSet<OpId> =
            ops().flat_map(|(_, op)| op.pred.iter().copied()).collect();
        let puts = ops().filter(|(id, op)| {
            matches!(&op.action, Action::Put { key, .. } if is(id.actor, key))
                && overwritten.contains(id)
        });
        let mut writes: HashSet<OpId> = puts.map(|(id, _)| id).collect();
        let only_deletes: Vec<OpId> = ops()
            .filter(|(_, op)| matches!(op.action, Action::Delete { .. }))
            .filter(|(_, op)| op.pred.iter().all(|pred| writes.contains(pred)))
            .map(|(id, _)| id)
            .collect();
        writes.extend(only_deletes);
        Self {
            writes,
            elements: HashSet::new(),
        }
    }

    /// What is left of an operation.
    pub(super) fn rest(&self, id: OpId, op: &Op) -> Option<Op> {
        match &op.action {
            Action::Put { .. } | Action::Delete { .. } if self.writes.contains(&id) => None,
            Action::Insert { .. } if self.elements.contains(&id) => None,
            Action::Remove { element, .. } if self.elements.contains(element) => None,
            Action::Put { .. } | Action::Delete { .. } => {
                let pred = op
                    .pred
                    .iter()
                    .filter(|pred| !self.writes.contains(pred))
                    .copied()
                    .collect();
                Some(Op {
                    action: op.action.clone(),
                    pred,
                })
            }
            Action::MakeText { .. } | Action::Insert { .. } | Action::Remove { .. } => {
                Some(op.clone())
            }
        }
    }
}

fn numbered(change: &Change) -> impl Iterator<Item = (OpId, &Op)> {
    change
        .ops
        .iter()
        .enumerate()
        .map(|(index, op)| (change.op_id(index), op))
}

/// The characters that the first `old` changes inserted and removed again, and after which nothing stands that stays.
fn elements(changes: &[(Change, ServerTime)], old: usize) -> HashSet<OpId> {
    let of_old = || {
        changes[..old]
            .iter()
            .flat_map(|(change, _)| numbered(change))
    };
    let removed: HashSet<OpId> = of_old()
        .filter_map(|(_, op)| match op.action {
            Action::Remove { element, .. } => Some(element),
            _ => None,
        })
        .collect();
    let mut gone: HashSet<OpId> = of_old()
        .filter(|(id, op)| matches!(op.action, Action::Insert { .. }) && removed.contains(id))
        .map(|(id, _)| id)
        .collect();
    // From the last to the first: whatever stands after an element was inserted later.
    for (change, _) in changes.iter().rev() {
        for (index, op) in change.ops.iter().enumerate().rev() {
            if let Action::Insert {
                after: Some(after), ..
            } = op.action
                && !gone.contains(&change.op_id(index))
            {
                gone.remove(&after);
            }
        }
    }
    gone
}
