//! An edit of the note, written anew: the same characters go in and out, beside whatever others put in and took out meanwhile.
//!
//! In: the note as the record has it now, and the change that cannot be merged as it is: refused on a phone, held at the office. Out: what the note
//! says with that change on top. Its operations name the characters that its author saw by ids that outlive every rebase and every generation;
//! setting the note to the author's whole text instead would take away words that they never saw. Changes of one record go in in their order: a
//! later one may build on what an earlier one typed.

use super::record::{NoteCharacter, Record, RecordError};
use crate::codec::change::{Action, Change, OpId};

/// The note as it becomes.
#[derive(Clone, Debug)]
pub struct Note(Vec<NoteCharacter>);

impl Note {
    /// The note of a record as this change created it.
    pub fn created(creation: &Change) -> Self {
        Self(Vec::new()).with(creation)
    }

    /// The note of a record.
    pub fn of(document: &mut Record) -> Result<Self, RecordError> {
        Ok(Self(document.note_characters()?))
    }

    /// The note without this change, which is not part of the record. A copy of its author's phone may have given the same ids: what is there under
    /// them is the copy's, and nothing that builds on this change means it.
    #[must_use]
    pub fn before(&self, change: &Change) -> Self {
        let mut note = self.clone();
        let own = |id: &OpId| id.actor == change.actor && id.counter >= change.start_op;
        note.0
            .iter_mut()
            .filter(|character| own(&character.id))
            .for_each(|character| character.id.counter = 0);
        note
    }

    /// The note with this change on top. Where the record was created anew meanwhile, the change is about another text: what it put in goes in at the
    /// end, and what it took out is not known any more.
    #[must_use]
    pub fn with(&self, change: &Change) -> Self {
        let mut note = self.before(change);
        for (index, op) in change.ops.iter().enumerate() {
            match &op.action {
                Action::Insert { after, text, .. } => {
                    let place = match after {
                        None => 0,
                        // What it stood behind is not known here any more: at the end.
                        Some(after) => note.place_of(after).map_or(note.0.len(), |place| place + 1),
                    };
                    note.0.insert(
                        place,
                        NoteCharacter {
                            id: change.op_id(index),
                            text: text.clone(),
                            shown: true,
                        },
                    );
                }
                Action::Remove { element, .. } => {
                    if let Some(place) = note.place_of(element) {
                        note.0[place].shown = false;
                    }
                }
                Action::Put { .. } | Action::Delete { .. } | Action::MakeText { .. } => {}
            }
        }
        note
    }

    /// What it says.
    pub fn text(&self) -> String {
        self.0
            .iter()
            .filter(|character| character.shown)
            .map(|character| character.text.as_str())
            .collect()
    }

    fn place_of(&self, id: &OpId) -> Option<usize> {
        self.0.iter().position(|character| character.id == *id)
    }
}
