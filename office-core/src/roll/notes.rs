//! A note that somebody changed in a sheet of ours, against the note as the export showed it.
//!
//! In: the cell, the fingerprint of what the export said, the note as it reads now and, where that is another one, the card's document with the log's
//! numbers. Out: what its author saw and what they made of it, to be merged like a phone's edit; or why not. What a history does not tell any more,
//! because it was compacted or somebody was forgotten, is nothing that anybody may build on.

use std::collections::BTreeMap;

use lianka_sync_core::{
    authority,
    crdt::merge::NoteDocument,
    id::{Actor, ChangeHash, DeviceId, RecordId},
    key::NOTE,
    time::DeviceTime,
};
use uuid::Uuid;

use super::{
    cells::many_lines,
    said,
    workbook::{NoteCell, is_masked},
};
use crate::store::Place;

/// A note as an export shows it to those who see no whole numbers.
pub type Masks<'m> = &'m dyn Fn(&str) -> String;

/// The documents of cards whose notes read otherwise by now, and where their changes stand in the log.
#[derive(Default)]
pub struct Then {
    documents: BTreeMap<RecordId, NoteDocument>,
    places: BTreeMap<RecordId, BTreeMap<ChangeHash, i64>>,
}

/// What becomes of a changed note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// It reads so already.
    Nothing,
    /// Its author saw `was` and made `text` of it; once merged it reads `shall`.
    Write {
        was: String,
        text: String,
        shall: String,
    },
    /// What was masked was changed, and is masked still.
    Masked,
    /// A note does not take it.
    Refused,
    /// Nobody can say any more what its author saw.
    Changed,
}

impl Then {
    /// Of a card, as it is stored. One that does not load is reported by whoever writes to it.
    pub fn document(&mut self, record: RecordId, bytes: &[u8]) {
        if let Ok(loaded) = NoteDocument::load(bytes) {
            self.documents.insert(record, loaded);
        }
    }

    /// Where changes of a card stand in the log.
    pub fn places(&mut self, record: RecordId, places: impl IntoIterator<Item = Place>) {
        let of = self.places.entry(record).or_default();
        of.extend(places.into_iter().map(|place| (place.hash, place.seq)));
    }

    /// A card's document, and which of its changes the log held up to this head.
    fn at(
        &self,
        record: RecordId,
        head: i64,
    ) -> Option<(&NoteDocument, impl Fn(ChangeHash) -> bool)> {
        let places = self.places.get(&record)?;
        let was_there = move |hash| places.get(&hash).is_some_and(|seq| *seq <= head);
        Some((self.documents.get(&record)?, was_there))
    }

    fn note(&self, record: RecordId, head: i64) -> Option<String> {
        let (document, was_there) = self.at(record, head)?;
        document.note_when(&was_there).ok().flatten()
    }

    /// What the note reads once somebody who saw the card at this head made `text` of it.
    fn merged(&self, record: RecordId, head: i64, text: &str) -> Option<String> {
        let (document, was_there) = self.at(record, head)?;
        let nobody = Actor::new(DeviceId(Uuid::nil()), 0);
        let at = DeviceTime::from_unix_ms(0);
        let change = document.compose_when(&was_there, nobody, at, text).ok()??;
        document.note_with(&change, &[]).ok()
    }
}

/// Whether the note still reads as the export said.
pub fn reads_as_said(export: Uuid, cell: &NoteCell, reads: &str, masks: Masks<'_>) -> bool {
    shown(export, cell, reads, masks).is_some()
}

/// The form in which the export showed the note, if it is this one.
fn shown(export: Uuid, cell: &NoteCell, note: &str, masks: Masks<'_>) -> Option<String> {
    let masked = masks(note);
    [note.to_owned(), masked]
        .into_iter()
        .find(|form| said::of(export, NOTE, form)[..] == cell.said[..])
}

/// See the module.
pub fn find(
    (export, head): (Uuid, i64),
    record: RecordId,
    cell: &NoteCell,
    reads: &str,
    then: &Then,
    masks: Masks<'_>,
) -> Found {
    let (was, form) = if let Some(form) = shown(export, cell, reads, masks) {
        (reads.to_owned(), form)
    } else {
        let Some(was) = then.note(record, head) else {
            return Found::Changed;
        };
        match shown(export, cell, &was, masks) {
            Some(form) => (was, form),
            None => return Found::Changed,
        }
    };
    let Some(text) = unmasked(&was, &form, &cell.text) else {
        return Found::Masked;
    };
    if text == reads || text == was {
        return Found::Nothing;
    }
    if authority::check_new_note(&was, &text).is_err() {
        return Found::Refused;
    }
    let shall = if was == reads {
        Some(text.clone())
    } else {
        then.merged(record, head, &text)
    };
    Found::Write {
        shall: shall.unwrap_or_else(|| text.clone()),
        was,
        text,
    }
}

/// What somebody made of a note of which they saw `form`: the signs that they left alone are those that stood there, masked or not. `None` where they
/// changed what was masked and did not write all of it.
fn unmasked(was: &str, form: &str, text: &str) -> Option<String> {
    let [was, form, text] = [was, form, text].map(|text| text.chars().collect::<Vec<_>>());
    let own = |from: usize, to: usize| text[from..to].iter().collect::<String>();
    // Spaces around a note are nobody's.
    let trimmed = many_lines(&form.iter().collect::<String>()).chars().count();
    if was.len() != form.len() || trimmed != form.len() {
        return (!is_masked(&own(0, text.len()))).then(|| own(0, text.len()));
    }
    let same = |a: &mut dyn Iterator<Item = &char>, b: &mut dyn Iterator<Item = &char>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    let before = same(&mut form.iter(), &mut text.iter());
    let rest = form.len().min(text.len()) - before;
    let behind = same(&mut form.iter().rev(), &mut text.iter().rev()).min(rest);
    let middle = own(before, text.len() - behind);
    let is_hidden = |at: usize| form.get(at) != was.get(at);
    // A number is written anew as a whole, or not at all.
    let is_whole =
        !is_hidden(form.len() - behind) && before.checked_sub(1).is_none_or(|at| !is_hidden(at));
    let is_whole = is_whole && (form == was || !is_masked(&middle));
    is_whole.then(|| {
        let kept = |from: usize, to: usize| was[from..to].iter().collect::<String>();
        kept(0, before) + &middle + &kept(was.len() - behind, was.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_masked_and_left_alone_stays_as_it_is() {
        let was = "老板13900000001，下午在";
        let form = "老板***********，下午在";
        for (text, expected) in [
            (
                "老板***********，下午在，周日休息",
                Some("老板13900000001，下午在，周日休息"),
            ),
            (
                "新老板***********，下午在",
                Some("新老板13900000001，下午在"),
            ),
            ("老板13900000002，下午在", Some("老板13900000002，下午在")),
            ("老板***********2，下午在", None),
            ("换了老板，***********，早上在", None),
            ("", Some("")),
        ] {
            let found = unmasked(was, form, text);
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        assert_eq!(
            unmasked("**好店", "**好店", "**坏店").as_deref(),
            Some("**坏店")
        );
    }
}
