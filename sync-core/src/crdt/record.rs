//! The sole owner of Automerge: one record is one flat document.
//!
//! Inputs are trusted here: bytes of our own store, or changes that passed the gate ([`crate::codec::change::decode`]). Whoever edits must be
//! an honest device, because Automerge counts on one actor never using a sequence number twice.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{
    ActorId, AutoCommit, AutomergeError, Change as AmChange, LoadOptions, ObjId, ObjType, ROOT,
    ReadDoc, ScalarValue, TextEncoding, Value as AmValue,
    transaction::{CommitOptions, Transactable},
};

use crate::{
    codec::change::{self, Action, Change, OpId, Scalar},
    crdt::view::{Value, View},
    id::{Actor, ChangeHash},
    key::{self, NOTE},
    kinds::Kind,
    time::DeviceTime,
};

/// Why Automerge could not read or write a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Automerge's own complaint.
    #[error("automerge: {0}")]
    Automerge(#[from] AutomergeError),
    /// A change of our own store does not parse.
    #[error("a stored change does not parse")]
    StoredChange,
    /// The document holds something that flat records do not.
    #[error("the document is not a flat record: {0}")]
    NotFlat(String),
    /// The edit would write a change that the gate refuses.
    #[error("the edit does not make a valid change: {0}")]
    Edit(#[from] change::GateError),
}

/// One edit, as the outbox keeps it beside its encoded change so that a rebase can apply it again.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// Write a register.
    Put {
        /// Flat key.
        key: String,
        /// New value.
        value: Scalar,
    },
    /// Delete a register.
    Delete {
        /// Flat key.
        key: String,
    },
    /// Make the note read so: the difference to what it reads now becomes insertions and removals.
    Note {
        /// The whole new text.
        text: String,
    },
}

impl Edit {
    /// Writes a text to `key`, or deletes it where the text is empty.
    pub fn set(key: impl Into<String>, text: &str) -> Self {
        let key = key.into();
        if text.is_empty() {
            Self::Delete { key }
        } else {
            Self::Put {
                key,
                value: text.into(),
            }
        }
    }

    /// Marks a set member as present.
    pub fn add(key: impl Into<String>) -> Self {
        Self::Put {
            key: key.into(),
            value: Scalar::Bool(true),
        }
    }
}

/// A character of a note, there or removed: others may still stand behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteCharacter {
    /// The operation that put it in. Such ids outlive every rebase and every rebuild.
    pub id: OpId,
    /// It.
    pub text: String,
    /// Whether it was not removed.
    pub shown: bool,
}

/// A loaded document.
#[derive(Clone)]
pub struct Record {
    doc: AutoCommit,
}

impl Record {
    /// Creates a record; the one change holds `edits` and, where the kind that they name has one, the note (empty where no edit names it).
    pub fn create(
        actor: Actor,
        at: DeviceTime,
        edits: &[Edit],
    ) -> Result<(Self, Change), RecordError> {
        let doc = AutoCommit::new_with_encoding(TextEncoding::UnicodeCodePoint)
            .with_actor(ActorId::from(&actor.as_bytes()[..]));
        let mut record = Self { doc };
        let note = has_note(edits)
            .then(|| record.doc.put_object(ROOT, NOTE, ObjType::Text))
            .transpose()?;
        record.stage(edits, note.as_ref())?;
        let change = record
            .commit(at, "")?
            .ok_or_else(|| RecordError::NotFlat("an empty change".into()))?;
        Ok((record, change))
    }

    /// Loads a snapshot: a saved document, or change chunks one after another, or the one followed by the others.
    pub fn load(bytes: &[u8]) -> Result<Self, RecordError> {
        let doc = AutoCommit::load_with_options(
            bytes,
            LoadOptions::new().text_encoding(TextEncoding::UnicodeCodePoint),
        )?;
        Ok(Self { doc })
    }

    /// Applies changes that passed the gate, or come from a server's snapshot.
    pub fn apply<'c>(
        &mut self,
        changes: impl IntoIterator<Item = &'c [u8]>,
    ) -> Result<(), RecordError> {
        let changes = changes
            .into_iter()
            .map(|bytes| {
                AmChange::from_bytes(bytes.to_vec()).map_err(|_| RecordError::StoredChange)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.doc.apply_changes(changes)?)
    }

    /// Applies changes that the server has not confirmed, one after another; whether all numbers were free. A change whose actor used its number for
    /// another one, as a copy of a phone does, is passed over, and so is all that builds on it.
    pub fn apply_unconfirmed<'c>(
        &mut self,
        changes: impl IntoIterator<Item = &'c [u8]>,
    ) -> Result<bool, RecordError> {
        let mut free = true;
        for bytes in changes {
            match self.apply([bytes]) {
                Err(RecordError::Automerge(AutomergeError::DuplicateSeqNumber(..))) => free = false,
                applied => applied?,
            }
        }
        Ok(free)
    }

    /// Writes `edits` as one change of `actor`; `None` where they change nothing.
    pub fn edit(
        &mut self,
        actor: Actor,
        at: DeviceTime,
        edits: &[Edit],
        message: &str,
    ) -> Result<Option<Change>, RecordError> {
        self.doc.set_actor(ActorId::from(&actor.as_bytes()[..]));
        let note = self.note_object();
        if let Err(error) = self.stage(edits, note.as_ref()) {
            self.doc.rollback();
            return Err(error);
        }
        self.commit(at, message)
    }

    fn stage(&mut self, edits: &[Edit], note: Option<&ObjId>) -> Result<(), RecordError> {
        for edit in edits {
            match edit {
                Edit::Put { key, value } => {
                    // Writing what is there already, without a conflict to settle, is no edit.
                    let held = self.doc.get_all(ROOT, key.as_str())?;
                    if !matches!(&held[..], [(AmValue::Scalar(held), _)] if scalar(held).as_ref() == Some(value))
                    {
                        self.doc.put(ROOT, key.as_str(), scalar_value(value))?;
                    }
                }
                Edit::Delete { key } => {
                    if self.doc.get(ROOT, key.as_str())?.is_some() {
                        self.doc.delete(ROOT, key.as_str())?;
                    }
                }
                Edit::Note { text } => {
                    let note = note.ok_or_else(|| RecordError::NotFlat("no note".into()))?;
                    self.doc.update_text(note, text)?;
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, at: DeviceTime, message: &str) -> Result<Option<Change>, RecordError> {
        let mut options = CommitOptions::default().with_time(at.unix_seconds());
        if !message.is_empty() {
            options.set_message(message);
        }
        if self.doc.commit_with(options).is_none() {
            return Ok(None);
        }
        let written = self
            .doc
            .get_last_local_change()
            .ok_or_else(|| RecordError::NotFlat("no local change".into()))?;
        Ok(Some(change::decode(written.raw_bytes())?))
    }

    /// The whole history in Automerge's own format, columns not deflated: many snapshots compress better together than each alone.
    pub fn save(&mut self) -> Vec<u8> {
        self.doc.save_nocompress()
    }

    /// The changes that nothing in the document depends on, ascending.
    pub fn heads(&mut self) -> Vec<ChangeHash> {
        let mut heads: Vec<_> = self
            .doc
            .get_heads()
            .iter()
            .map(|hash| ChangeHash(hash.0))
            .collect();
        heads.sort_unstable();
        heads
    }

    /// Every change, in an order in which dependencies come first.
    pub fn changes(&mut self) -> Vec<Vec<u8>> {
        self.doc
            .get_changes(&[])
            .iter()
            .map(|change| change.raw_bytes().to_vec())
            .collect()
    }

    /// What every change is known by.
    pub fn hashes(&mut self) -> Vec<ChangeHash> {
        let changes = self.doc.get_changes(&[]).into_iter();
        changes.map(|change| ChangeHash(change.hash().0)).collect()
    }

    /// The record as it stood when only these of its changes were there, which are all that any of them builds on; `None` where it was not yet.
    pub fn when(
        &mut self,
        was_there: &dyn Fn(ChangeHash) -> bool,
    ) -> Result<Option<Self>, RecordError> {
        let mut bytes = Vec::new();
        for change in self.doc.get_changes(&[]) {
            if was_there(ChangeHash(change.hash().0)) {
                bytes.extend_from_slice(change.raw_bytes());
            }
        }
        (!bytes.is_empty()).then(|| Self::load(&bytes)).transpose()
    }

    /// Whether the document holds the change.
    pub fn contains(&mut self, hash: ChangeHash) -> bool {
        self.doc
            .get_change_meta_by_hash(&automerge::ChangeHash(hash.0))
            .is_some()
    }

    fn note_object(&self) -> Option<ObjId> {
        match self.doc.get(ROOT, NOTE) {
            Ok(Some((AmValue::Object(ObjType::Text), id))) => Some(id),
            _ => None,
        }
    }

    /// Every element ever inserted into the note, removed ones included.
    pub fn note_elements(&mut self) -> Result<BTreeSet<OpId>, RecordError> {
        let mut elements = BTreeSet::new();
        for bytes in self.changes() {
            let change = change::decode(&bytes)?;
            let inserts = change
                .ops
                .iter()
                .enumerate()
                .filter(|(_, op)| matches!(op.action, Action::Insert { .. }));
            elements.extend(inserts.map(|(index, _)| change.op_id(index)));
        }
        Ok(elements)
    }

    /// Every character ever put into the note, in order.
    pub fn note_characters(&mut self) -> Result<Vec<NoteCharacter>, RecordError> {
        let mut behind: BTreeMap<Option<OpId>, Vec<(OpId, String)>> = BTreeMap::new();
        let mut removed = BTreeSet::new();
        for bytes in self.changes() {
            let change = change::decode(&bytes)?;
            for (index, op) in change.ops.iter().enumerate() {
                match &op.action {
                    Action::Insert { after, text, .. } => behind
                        .entry(*after)
                        .or_default()
                        .push((change.op_id(index), text.clone())),
                    Action::Remove { element, .. } => drop(removed.insert(*element)),
                    Action::Put { .. } | Action::Delete { .. } | Action::MakeText { .. } => {}
                }
            }
        }
        // Of what was put in behind the same character the newest comes first, each with all that was put in behind it.
        let mut open = behind.remove(&None).unwrap_or_default();
        open.sort_unstable();
        let mut characters = Vec::new();
        while let Some((id, text)) = open.pop() {
            let mut next = behind.remove(&Some(id)).unwrap_or_default();
            next.sort_unstable();
            open.extend(next);
            characters.push(NoteCharacter {
                id,
                text,
                shown: !removed.contains(&id),
            });
        }
        Ok(characters)
    }

    /// The note's text.
    pub fn note(&self) -> Result<Option<String>, RecordError> {
        Ok(self.note_object().map(|id| self.doc.text(id)).transpose()?)
    }

    /// Every value of every key, as Automerge reads the document.
    pub fn view(&mut self) -> Result<View, RecordError> {
        let times: BTreeMap<ActorId, Vec<(u64, i64)>> = self.times();
        let mut values = BTreeMap::new();
        for key in self.doc.keys(ROOT).collect::<Vec<_>>() {
            let mut held = Vec::new();
            for (value, id) in self.doc.get_all(ROOT, key.as_str())? {
                let op = op_id(&id).ok_or_else(|| RecordError::NotFlat(key.clone()))?;
                match value {
                    AmValue::Object(ObjType::Text) if key == NOTE => {}
                    AmValue::Object(_) => return Err(RecordError::NotFlat(key)),
                    AmValue::Scalar(value) => {
                        let value =
                            scalar(&value).ok_or_else(|| RecordError::NotFlat(key.clone()))?;
                        held.push(Value {
                            op,
                            value,
                            time: time_of(&times, op),
                        });
                    }
                }
            }
            held.sort_by_key(|value| value.op);
            if !held.is_empty() {
                values.insert(key, held);
            }
        }
        Ok(View {
            values,
            note: self.note()?,
        })
    }

    /// For each actor, the first operation counter and the time of its changes, ascending.
    fn times(&mut self) -> BTreeMap<ActorId, Vec<(u64, i64)>> {
        let mut times: BTreeMap<ActorId, Vec<(u64, i64)>> = BTreeMap::new();
        for meta in self.doc.get_changes_meta(&[]) {
            times
                .entry(meta.actor.into_owned())
                .or_default()
                .push((meta.start_op, meta.timestamp));
        }
        times
    }
}

/// Whether a record that `edits` create has a note. One of a kind that nobody knows has: the server tells.
pub(crate) fn has_note(edits: &[Edit]) -> bool {
    let kind = edits.iter().find_map(|edit| match edit {
        Edit::Put { key, value } if key == key::KIND => value.as_str()?.parse::<Kind>().ok(),
        _ => None,
    });
    kind.is_none_or(Kind::has_note)
}

fn time_of(times: &BTreeMap<ActorId, Vec<(u64, i64)>>, op: OpId) -> Option<DeviceTime> {
    let changes = times.get(&ActorId::from(&op.actor.as_bytes()[..]))?;
    let (_, seconds) = changes
        .iter()
        .rev()
        .find(|(start_op, _)| *start_op <= u64::from(op.counter))?;
    (*seconds != 0).then(|| DeviceTime::from_unix_seconds(*seconds))
}

fn op_id(id: &ObjId) -> Option<OpId> {
    match id {
        ObjId::Id(counter, actor, _) => Some(OpId {
            counter: u32::try_from(*counter).ok()?,
            actor: Actor::from_slice(actor.to_bytes())?,
        }),
        ObjId::Root => None,
    }
}

fn scalar(value: &ScalarValue) -> Option<Scalar> {
    match value {
        ScalarValue::Str(text) => Some(Scalar::Str(text.to_string())),
        ScalarValue::Boolean(value) => Some(Scalar::Bool(*value)),
        ScalarValue::Int(value) => Some(Scalar::Int(*value)),
        _ => None,
    }
}

fn scalar_value(value: &Scalar) -> ScalarValue {
    match value {
        Scalar::Str(text) => ScalarValue::Str(text.as_str().into()),
        Scalar::Bool(value) => ScalarValue::Boolean(*value),
        Scalar::Int(value) => ScalarValue::Int(*value),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::id::DeviceId;

    #[test]
    fn a_note_is_read_character_by_character_as_automerge_reads_it() {
        let actor = |number| Actor::new(DeviceId(Uuid::from_u128(number)), 1);
        let at = DeviceTime::from_unix_ms(1_000);
        let note = |text: &str| vec![Edit::Note { text: text.into() }];
        let required = [
            ("kind", "shop_card"),
            ("street", "310104003"),
            ("grid", "A1"),
        ];
        let edits: Vec<_> = required
            .into_iter()
            .map(|(key, value)| Edit::set(key, value))
            .chain(note("后门常关"))
            .collect();
        let (mut one, _) = Record::create(actor(1), at, &edits).unwrap();
        // Three write into the same places without knowing of each other, again and again.
        for round in 0..4 {
            let mut copies = [(); 3].map(|()| one.clone());
            let mut written = Vec::new();
            for (number, copy) in copies.iter_mut().enumerate() {
                let before: Vec<char> = copy.note().unwrap().unwrap().chars().collect();
                let place = (round + number) % before.len();
                let text: String = before[..place]
                    .iter()
                    .chain(&['甲', '乙'])
                    .chain(&before[(place + 1).min(before.len())..])
                    .collect();
                written.extend(
                    copy.edit(actor(2 + number as u128), at, &note(&text), "")
                        .unwrap(),
                );
            }
            one.apply(written.iter().map(|change| change.bytes.as_slice()))
                .unwrap();
            let read = one.note_characters().unwrap();
            let shown: String = read
                .iter()
                .filter(|one| one.shown)
                .map(|one| one.text.as_str())
                .collect();
            assert_eq!(shown, one.note().unwrap().unwrap(), "round {round}");
            assert!(read.iter().any(|one| !one.shown));
        }
    }
}
