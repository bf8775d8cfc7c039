//! Healing a restored server: what the phone wrote and the server has lost goes into the outbox again.
//!
//! After a `reset` the phone pulls from the start. Whatever change of its own the old copy of a record contains and the new one lacks is
//! sent again, byte for byte, so that the changes of others that depend on it find it; what it wrote under a former name, before it was enrolled
//! anew, the server refuses in those bytes, and the rebase that follows writes it under the present one. Others' changes that ours depend on stay in the
//! tail without a sequence until their own phones have healed them; nobody can send them in another's name.

use std::{cmp::Ordering, collections::BTreeSet};

use lianka_sync_core::{
    codec::change::{self, Action, Change},
    crdt::record::{Edit, Record, RecordError},
    id::ChangeHash,
};

use crate::{Author, Effect, OutboxEntry, RecordState, StoredRecord, TailChange, document};

/// What a server that lost part of its history is to get again.
struct Lost {
    /// Our own, in causal order.
    own: Vec<OutboxEntry>,
    /// Others' that ours depend on, in causal order.
    others: Vec<TailChange>,
}

/// A record of the old history was sent again, as `snapshot`: the effects after [`Effect::PutSnapshot`].
pub(crate) fn resend_lacking(
    author: &Author<'_>,
    state: &RecordState,
    generation: u32,
    snapshot: &[u8],
) -> Result<Vec<Effect>, RecordError> {
    let Some(stored) = &state.stored else {
        return Ok(Vec::new());
    };
    let mut sent = Record::load(snapshot)?;
    let lost = match stored.generation.cmp(&generation) {
        Ordering::Equal => lost(author, state, stored, |hash| sent.contains(hash))?,
        // What is still in the outbox is rebased, and what was accepted was the office's to rebuild.
        Ordering::Less => return Ok(Vec::new()),
        Ordering::Greater => Lost {
            others: Vec::new(),
            ..lost_since_a_rebuild(author, state, stored, &mut sent)?
        },
    };
    Ok(effects(state, lost))
}

/// The server went back to before it rebuilt the record. The hashes of changes are others there, but ids of operations outlive a rebuild: what
/// holds an unknown one came later, and is rebased as the outbox is.
fn lost_since_a_rebuild(
    author: &Author<'_>,
    state: &RecordState,
    stored: &StoredRecord,
    sent: &mut Record,
) -> Result<Lost, RecordError> {
    let ids = |change: &Change| {
        (0..change.ops.len())
            .map(|index| change.op_id(index))
            .collect::<Vec<_>>()
    };
    let mut known = BTreeSet::new();
    for bytes in sent.changes() {
        known.extend(ids(&change::decode(&bytes)?));
    }
    let (mut old, _) = document::confirmed_and_not(stored)?;
    let changes = old
        .changes()
        .iter()
        .map(|bytes| change::decode(bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let there: BTreeSet<_> = changes
        .iter()
        .filter(|change| ids(change).iter().all(|id| known.contains(id)))
        .map(|change| change.hash)
        .collect();
    lost(author, state, stored, |hash| there.contains(&hash))
}

/// The whole download came, without this record: the server lost all of it, or it left the user's grids.
pub(crate) fn resend_all(
    author: &Author<'_>,
    state: &RecordState,
) -> Result<Vec<Effect>, RecordError> {
    let Some(stored) = &state.stored else {
        return Ok(Vec::new());
    };
    let record = state.record;
    let lost = lost(author, state, stored, |_| false)?;
    if lost.own.is_empty() && state.outbox.is_empty() {
        // Whoever wrote it heals it; then it comes back by itself.
        return Ok(vec![Effect::RemoveRecord { record }]);
    }
    // Until the server accepts one of them it may have the record well enough, only out of this user's sight.
    let mut all = vec![
        Effect::ForgetHistory { record },
        Effect::MarkLeaving { record },
    ];
    all.extend(effects(state, lost));
    Ok(all)
}

fn effects(state: &RecordState, lost: Lost) -> Vec<Effect> {
    if lost.own.is_empty() {
        return Vec::new();
    }
    let record = state.record;
    let Some(generation) = state.stored.as_ref().map(|stored| stored.generation) else {
        return Vec::new();
    };
    let mut effects: Vec<_> = lost
        .others
        .into_iter()
        .map(|change| Effect::AppendTail {
            record,
            generation,
            change,
        })
        .collect();
    let mut entries = lost.own;
    let again: BTreeSet<_> = entries.iter().map(|entry| entry.hash).collect();
    // What was not accepted yet may depend on what goes again: after it.
    entries.extend(
        state
            .outbox
            .iter()
            .filter(|entry| !again.contains(&entry.hash))
            .cloned(),
    );
    effects.push(Effect::ReplaceOutbox { record, entries });
    effects
}

fn lost(
    author: &Author<'_>,
    state: &RecordState,
    stored: &StoredRecord,
    mut has: impl FnMut(ChangeHash) -> bool,
) -> Result<Lost, RecordError> {
    let (mut old, _) = document::confirmed_and_not(stored)?;
    let history = old
        .changes()
        .iter()
        .map(|bytes| change::decode(bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let own: BTreeSet<_> = history
        .iter()
        .filter(|change| author.wrote(change) && !has(change.hash))
        .map(|change| change.hash)
        .collect();
    let mut needed = BTreeSet::new();
    for change in history.iter().rev() {
        if (own.contains(&change.hash) || needed.contains(&change.hash)) && !has(change.hash) {
            needed.extend(change.deps.iter().copied());
        }
    }
    let mut lost = Lost {
        own: Vec::new(),
        others: Vec::new(),
    };
    for (at, change) in history.iter().enumerate() {
        if own.contains(&change.hash) {
            let edits = edits_of(&history[..=at], change)?;
            let made_at = change
                .time
                .unwrap_or(lianka_sync_core::time::DeviceTime::from_unix_ms(0));
            lost.own.push(OutboxEntry::new(
                state.record,
                stored.kind,
                stored.generation,
                change,
                edits,
                made_at,
            ));
        } else if needed.contains(&change.hash) && !has(change.hash) {
            lost.others.push(TailChange {
                hash: change.hash,
                seq: None,
                bytes: change.bytes.clone(),
            });
        }
    }
    Ok(lost)
}

/// The edits that a change was made from. `history` ends with it.
fn edits_of(history: &[Change], change: &Change) -> Result<Vec<Edit>, RecordError> {
    let mut edits: Vec<_> = change
        .ops
        .iter()
        .filter_map(|op| match &op.action {
            Action::Put { key, value } => Some(Edit::Put {
                key: key.clone(),
                value: value.clone(),
            }),
            Action::Delete { key } => Some(Edit::Delete { key: key.clone() }),
            Action::MakeText { .. } | Action::Insert { .. } | Action::Remove { .. } => None,
        })
        .collect();
    if change.edits_text() {
        let mut then = Record::load(&[])?;
        then.apply(history.iter().map(|change| change.bytes.as_slice()))?;
        edits.push(Edit::Note {
            text: then.note()?.unwrap_or_default(),
        });
    }
    Ok(edits)
}
