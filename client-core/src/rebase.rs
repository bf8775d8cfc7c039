//! Rebase: the one way back from any refusal.
//!
//! The phone's copy becomes the server's, and what the user did is applied to it again as edits, under a new epoch. What a rule refused, or
//! what can no longer be applied, becomes a draft.
//!
//! A value that somebody wrote meanwhile, and that the user never saw, is not replaced: it stays beside the user's, as it would have without the
//! rebase. Ids of operations outlive every rebase and every generation, so the old changes tell what the user saw. That an operation is by this
//! phone's own device tells nothing: a copy of this phone may have written it, under the very ids that this phone gave as well.

use std::collections::{BTreeMap, BTreeSet};

use lianka_sync_core::{
    authority::Said,
    codec::change::{self, Action, Change, GateError, Op, OpId},
    crdt::{
        note::Note,
        record::{Edit, Record, RecordError},
    },
    id::EntryId,
    kinds::{Broken, Key, Kind, key},
    lang::Lang,
};

use crate::{
    Author, Draft, Effect, Moment, OutboxEntry, OutboxState, Reason, RecordState, document,
    editing::rules, redact::is_about,
};

/// How often one entry is written anew after a refusal of its own before it becomes a draft.
pub(crate) const REBASES_MAX: u32 = 3;

/// Refusals that say nothing against the edit itself: written anew, it may pass. Every other code makes a draft at once, unknown ones
/// included, so that a new rule of the server cannot make a phone send for ever.
const REBASABLE: &[&str] = &[
    "stale_generation",
    "actor_forked",
    "actor_not_yours",
    "depends_on_rejected",
    "dependency_missing",
    "sequence_gap",
    "bad_start_op",
    "bad_predecessor",
    "too_many_heads",
    "malformed_change",
    "not_a_change",
    "checksum_mismatch",
    "bad_actor",
    "not_canonical",
    "out_of_range",
    "document_unavailable",
    REDACTED,
];

/// Whether an edit that was refused so is worth writing anew.
pub(crate) fn is_worth_writing_anew(code: &str) -> bool {
    REBASABLE.contains(&code)
}

/// The office erased the person whom the edit is about: what is about them goes without a draft, the rest is written anew.
pub(crate) const REDACTED: &str = "redacted";

/// The entries that refusals of these say are redacted.
fn redacted<'e>(entries: impl IntoIterator<Item = &'e OutboxEntry>) -> BTreeSet<EntryId> {
    let reasons = entries
        .into_iter()
        .filter_map(|entry| entry.reason.as_ref())
        .filter(|reason| reason.code == REDACTED);
    reasons
        .filter_map(|reason| match Key::parse(reason.field.as_deref()?)? {
            Key::Entry { entry, .. } => Some(entry),
            Key::Plain(_) | Key::Member { .. } => None,
        })
        .collect()
}

/// A record after a rebase.
pub(crate) struct Rebased {
    /// The server's state with the edits on top.
    pub document: Record,
    /// Its note, where one of the edits was of it.
    pub note: Option<Note>,
    /// The phone's new epoch.
    pub epoch: u32,
    /// For the store.
    pub effects: Vec<Effect>,
}

/// Rebases a record; `None` where the server never had it and the user did not create it, so that there is nothing to rebase on.
pub(crate) fn rebase(
    author: &Author<'_>,
    state: &RecordState,
    moment: &Moment,
) -> Result<Option<Rebased>, RecordError> {
    let Some(stored) = &state.stored else {
        return Ok(None);
    };
    let mut document = document::confirmed(stored)?;
    let epoch = next_epoch(author.epoch, &state.outbox, moment);
    let signed = Author { epoch, ..*author };
    let (mut entries, mut drafts) = (Vec::new(), Vec::new());
    let mut seen = Seen::default();
    let mut note = None;
    if Kind::of(&document.view()?).is_none() {
        let Some((created, entry)) = created_anew(&signed, &state.outbox)? else {
            return Ok(None);
        };
        document = created;
        seen.wrote(&entry);
        entries.push(entry);
        // Later edits name the characters as the first creation wrote them.
        note = Some(Note::created(&change::decode(&state.outbox[0].bytes)?));
    } else {
        let unsent = unsent(&mut document, &state.outbox);
        let mut edits = state.outbox.iter().flat_map(|entry| &entry.edits);
        if edits.any(|edit| matches!(edit, Edit::Note { .. })) {
            let written = Note::of(&mut document)?;
            note = Some(unsent.iter().fold(written, |note, own| note.before(own)));
        }
        seen.leave_out(&unsent);
    }
    let edited = &state.outbox[entries.len()..];
    let redacted = redacted(&state.outbox);
    for entry in edited {
        seen.take_in(entry);
        if entry.state == OutboxState::Held {
            // The server keeps these very bytes; writing them anew would do the edit twice once a reviewer accepts it.
            entries.push(entry.clone());
            continue;
        }
        let noted = noted(note.as_ref(), entry);
        let edits = edits_on(entry, noted.as_ref());
        match renew(
            &signed,
            &mut document,
            stored.generation,
            entry,
            &edits,
            &redacted,
            &seen,
            moment.lang,
        )? {
            Renewed::Written(entry) => {
                seen.wrote(&entry);
                entries.push(*entry);
                note = noted.or(note);
            }
            Renewed::AlreadySo => note = noted.or(note),
            Renewed::Refused(reason) => {
                drafts.push(Effect::PutDraft(Box::new(draft(entry, reason))));
            }
        }
    }
    let record = state.record;
    let mut effects = vec![
        Effect::SetEpoch(epoch),
        Effect::ForgetUnconfirmed { record },
        Effect::ReplaceOutbox { record, entries },
    ];
    effects.extend(drafts);
    Ok(Some(Rebased {
        document,
        note,
        epoch,
        effects,
    }))
}

/// The record as its creator made it, in their present name: what refused it was in its bytes, and nothing in the record.
fn created_anew(
    author: &Author<'_>,
    outbox: &[OutboxEntry],
) -> Result<Option<(Record, OutboxEntry)>, RecordError> {
    let Some(entry) = outbox
        .first()
        .filter(|entry| creates(entry) && entry.state != OutboxState::Held)
    else {
        return Ok(None);
    };
    let Some(rebases) = rebases_of(entry) else {
        return Ok(None);
    };
    let (document, change) = Record::create(author.actor(), entry.made_at, &entry.edits)?;
    let written = OutboxEntry::new(
        entry.record,
        entry.kind,
        entry.generation,
        &change,
        entry.edits.clone(),
        entry.made_at,
    );
    Ok(Some((document, OutboxEntry { rebases, ..written })))
}

fn creates(entry: &OutboxEntry) -> bool {
    entry
        .edits
        .iter()
        .any(|edit| matches!(edit, Edit::Put { key, .. } if key == key::KIND))
}

/// How often the entry is written anew by now; `None` where it is to be no more.
fn rebases_of(entry: &OutboxEntry) -> Option<u32> {
    let Some(reason) = entry
        .reason
        .as_ref()
        .filter(|_| entry.state == OutboxState::Refused)
    else {
        return Some(entry.rebases);
    };
    // What was only drawn along by another refusal does not count.
    let rebases = entry.rebases + u32::from(reason.code != "depends_on_rejected");
    (is_worth_writing_anew(&reason.code) && rebases <= REBASES_MAX).then_some(rebases)
}

/// The note with an entry's edit of it on top.
fn noted(note: Option<&Note>, entry: &OutboxEntry) -> Option<Note> {
    Some(note?.with(&change::decode(&entry.bytes).ok()?))
}

/// An entry's edits, as they read on the server's copy: what others wrote into the note meanwhile stays.
fn edits_on(entry: &OutboxEntry, noted: Option<&Note>) -> Vec<Edit> {
    let on = |edit: &Edit| match (edit, noted) {
        (Edit::Note { .. }, Some(note)) => Edit::Note { text: note.text() },
        _ => edit.clone(),
    };
    entry.edits.iter().map(on).collect()
}

/// The record never came to be, or may not be seen any more: all its edits become one draft and it leaves the phone.
pub(crate) fn abandon(state: &RecordState, moment: &Moment) -> Vec<Effect> {
    let record = state.record;
    let (held, rest): (Vec<_>, Vec<_>) = state
        .outbox
        .iter()
        .cloned()
        .partition(|entry| entry.state == OutboxState::Held);
    let mut effects = vec![
        Effect::RemoveRecord { record },
        Effect::ReplaceOutbox {
            record,
            entries: held,
        },
    ];
    if let Some(first) = rest.first() {
        // The first refusal is the cause, the others follow from it.
        let reason = rest
            .iter()
            .find_map(|entry| entry.reason.clone())
            .unwrap_or_else(|| unknown_record(moment.lang));
        let redacted = redacted(&rest);
        let edits: Vec<_> = rest
            .iter()
            .flat_map(|entry| entry.edits.clone())
            .filter(|edit| !is_about(edit, &redacted))
            .collect();
        if !edits.is_empty() {
            effects.push(Effect::PutDraft(Box::new(Draft {
                edits,
                ..draft(first, reason)
            })));
        }
    }
    effects
}

/// The changes of the outbox that are not in the server's copy.
fn unsent(document: &mut Record, outbox: &[OutboxEntry]) -> Vec<Change> {
    outbox
        .iter()
        .filter(|entry| !document.contains(entry.hash))
        .filter_map(|entry| change::decode(&entry.bytes).ok())
        .collect()
}

fn ids(change: &Change) -> impl Iterator<Item = OpId> {
    (0..change.ops.len()).map(|index| change.op_id(index))
}

/// What the user had seen of each key when they made this edit, or one before it.
#[derive(Default)]
struct Seen {
    values: BTreeMap<String, BTreeSet<OpId>>,
    /// Written by this rebase.
    written: BTreeSet<OpId>,
    /// Ids that changes of the outbox gave. What the server's copy holds under one of them is by a copy of this phone, which counted on from the
    /// same number.
    unsent: BTreeSet<OpId>,
}

impl Seen {
    fn leave_out(&mut self, unsent: &[Change]) {
        self.unsent.extend(unsent.iter().flat_map(ids));
    }

    fn take_in(&mut self, entry: &OutboxEntry) {
        for op in change::decode(&entry.bytes)
            .into_iter()
            .flat_map(|change| change.ops)
        {
            if let Action::Put { key, .. } | Action::Delete { key } = op.action {
                let told = op.pred.into_iter().filter(|op| !self.unsent.contains(op));
                self.values.entry(key).or_default().extend(told);
            }
        }
    }

    fn wrote(&mut self, entry: &OutboxEntry) {
        if let Ok(change) = change::decode(&entry.bytes) {
            self.written.extend(ids(&change));
        }
    }

    /// Whether the user knew the value; where no change tells, it is the rebase that knows.
    fn contains(&self, key: &str, op: &OpId) -> bool {
        self.written.contains(op) || self.values.get(key).is_none_or(|seen| seen.contains(op))
    }

    /// Keys of which the change would only take away what the user had not seen. Also writing the value that wins is a deletion, of the others.
    fn unseen_deletions(&self, change: &Change) -> BTreeSet<String> {
        let unseen = |op: &Op| match &op.action {
            Action::Delete { key } if !op.pred.iter().any(|pred| self.contains(key, pred)) => {
                Some(key.clone())
            }
            _ => None,
        };
        change.ops.iter().filter_map(unseen).collect()
    }

    /// The change with fewer predecessors, so that it leaves alone what the user had not seen; `None` where it does already.
    fn beside_the_unseen(&self, change: &Change) -> Result<Option<Change>, GateError> {
        let mut other = change.clone();
        for op in &mut other.ops {
            if let Action::Put { key, .. } | Action::Delete { key } = &op.action {
                op.pred.retain(|pred| self.contains(key, pred));
            }
        }
        if other.ops == change.ops {
            Ok(None)
        } else {
            change::decode(&change::encode(&other)).map(Some)
        }
    }
}

enum Renewed {
    Written(Box<OutboxEntry>),
    AlreadySo,
    Refused(Reason),
}

#[expect(
    clippy::too_many_arguments,
    reason = "one entry and what is known about its record"
)]
fn renew(
    author: &Author<'_>,
    document: &mut Record,
    generation: u32,
    entry: &OutboxEntry,
    edits: &[Edit],
    redacted: &BTreeSet<EntryId>,
    seen: &Seen,
    lang: Lang,
) -> Result<Renewed, RecordError> {
    let Some(rebases) = rebases_of(entry) else {
        return Ok(Renewed::Refused(entry.reason.clone().unwrap_or_default()));
    };
    let view = document.view()?;
    let edits: Vec<_> = edits
        .iter()
        .filter(|edit| !is_about(edit, redacted))
        .cloned()
        .collect();
    let mut edits = rules::effective(&view, &edits);
    if edits.is_empty() {
        return Ok(Renewed::AlreadySo);
    }
    if let Err(Broken { key, error }) = rules::check(
        entry.kind,
        author.identity.role,
        author.identity.device,
        false,
        &view,
        &edits,
        // Its days were near when it was written.
        Said::Somewhen,
    ) {
        return Ok(Renewed::Refused(Reason {
            code: error.code().into(),
            field: Some(key),
            message: Some(error.message(lang)),
        }));
    }
    let before = document.save();
    let written = loop {
        let written = document.edit(author.actor(), entry.made_at, &edits, "");
        let Ok(Some(change)) = &written else {
            break written;
        };
        let unseen = seen.unseen_deletions(change);
        let is_unseen = |edit: &Edit| matches!(edit, Edit::Put { key, .. } | Edit::Delete { key } if unseen.contains(key));
        let Some(at) = edits.iter().position(is_unseen) else {
            break written;
        };
        edits.remove(at);
        *document = Record::load(&before)?;
    };
    match written {
        Ok(Some(mut change)) => {
            if let Some(other) = seen.beside_the_unseen(&change)? {
                *document = Record::load(&before)?;
                document.apply([other.bytes.as_slice()])?;
                change = other;
            }
            let written = OutboxEntry::new(
                entry.record,
                entry.kind,
                generation,
                &change,
                edits,
                entry.made_at,
            );
            Ok(Renewed::Written(Box::new(OutboxEntry {
                rebases,
                ..written
            })))
        }
        Ok(None) => Ok(Renewed::AlreadySo),
        Err(error) => Ok(Renewed::Refused(Reason {
            code: "not_applicable".into(),
            field: None,
            message: Some(error.to_string()),
        })),
    }
}

/// The next epoch; after a fork by a leap, because the copy of this phone that made the fork counts on from the same number.
fn next_epoch(epoch: u32, outbox: &[OutboxEntry], moment: &Moment) -> u32 {
    let forked = outbox.iter().any(|entry| {
        entry
            .reason
            .as_ref()
            .is_some_and(|reason| reason.code == "actor_forked")
    });
    let leap = u32::from_be_bytes([
        0,
        moment.entropy[13],
        moment.entropy[14],
        moment.entropy[15],
    ]) >> 4;
    epoch
        .saturating_add(1)
        .saturating_add(if forked { leap } else { 0 })
}

fn draft(entry: &OutboxEntry, reason: Reason) -> Draft {
    Draft {
        record: entry.record,
        kind: entry.kind,
        creating: creates(entry),
        edits: entry.edits.clone(),
        made_at: entry.made_at,
        reason,
    }
}

fn unknown_record(lang: Lang) -> Reason {
    let message = match lang {
        Lang::Zh => "街道没有这条记录",
        Lang::En => "the office does not have this record",
    };
    Reason {
        code: "unknown_record".into(),
        field: None,
        message: Some(message.into()),
    }
}
