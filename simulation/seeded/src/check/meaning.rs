//! What edits mean: a value that was typed over another replaces what its user saw, a deletion deletes it, a word put into the note stands there.
//!
//! In: what the phone showed when the edit was made ([`Saw`]). Words of the note are made of characters that no other word has, so that no diff of two
//! texts can take one word for a part of another. Nothing is known of how a change is written anew: only what the user saw, did, and what is
//! shown in the end.

use std::collections::{BTreeMap, BTreeSet};

use automerge::ActorId;
use uuid::Uuid;

use super::{
    About, Finding,
    bytes::{self, Document, OpId},
    ledger::Ledger,
    rules,
};
use crate::{
    engine::Story,
    journal::{Did, Event, Journal, PhoneNo, Saw},
    office::{Act, SheetRow},
};

/// What users did to the words of notes.
#[derive(Default)]
pub struct Meant {
    /// The word that the edit in a line of the journal put in.
    put_in: BTreeMap<(Uuid, usize), String>,
    /// Words that somebody saw and took out.
    taken_out: BTreeSet<(Uuid, String)>,
    /// The same, with who did.
    taken_out_by: BTreeSet<(PhoneNo, Uuid, String)>,
}

impl Meant {
    pub fn of(journal: &Journal) -> Self {
        let mut meant = Self::default();
        let mut known: BTreeSet<(Uuid, &str)> = BTreeSet::new();
        for (at, line) in journal.lines.iter().enumerate() {
            if let Event::Cloned { phone, from } = &line.event {
                // A copy sends what its original left in the outbox.
                let done: Vec<_> = meant
                    .taken_out_by
                    .iter()
                    .filter(|(by, ..)| by == from)
                    .cloned()
                    .collect();
                meant.taken_out_by.extend(
                    done.into_iter()
                        .map(|(_, record, word)| (*phone, record, word)),
                );
            }
            // A sheet's words are nobody's on a phone.
            if let Event::Acted {
                act: Act::WriteRows { rows, .. },
                ..
            } = &line.event
            {
                for row in rows {
                    if let SheetRow::Edit {
                        record,
                        note: Some((_, text)),
                        ..
                    } = row
                    {
                        known.extend(text.split_whitespace().map(|word| (*record, word)));
                    }
                }
            }
            let Event::Saved {
                phone,
                record,
                did,
                saw,
                ..
            } = &line.event
            else {
                continue;
            };
            for text in did.iter().filter_map(|did| {
                if let Did::Note { text } = did {
                    Some(text)
                } else {
                    None
                }
            }) {
                for word in text.split_whitespace() {
                    if known.insert((*record, word)) {
                        meant.put_in.insert((*record, at), word.to_owned());
                    }
                }
                // Two words may stand together without a space: looked for one by one.
                let seen: Vec<&str> = saw
                    .iter()
                    .filter(|saw| saw.key == "note")
                    .map(|saw| saw.value.as_str())
                    .collect();
                let words = known
                    .range((*record, "")..)
                    .take_while(|(of, _)| of == record)
                    .map(|(_, word)| *word);
                for word in words.filter(|word| {
                    !text.contains(*word) && seen.iter().any(|seen| seen.contains(word))
                }) {
                    meant.taken_out.insert((*record, word.to_owned()));
                    meant
                        .taken_out_by
                        .insert((*phone, *record, word.to_owned()));
                }
            }
        }
        meant
    }

    /// The word that an edit put in.
    pub fn word(&self, record: Uuid, at: usize) -> Option<&str> {
        self.put_in.get(&(record, at)).map(String::as_str)
    }

    /// Whether anybody who saw the word took it out.
    pub fn is_taken_out(&self, record: Uuid, word: &str) -> bool {
        self.taken_out.contains(&(record, word.to_owned()))
    }
}

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    replaced(story, ledger, documents, found);
    words(story, ledger, found);
}

/// Whether the record still shows, under the key, one of the values that the user saw.
pub fn is_shown(
    document: &Document,
    saw: &[Saw],
    key: &str,
    phone: PhoneNo,
    ledger: &Ledger,
) -> bool {
    seen_and_shown(document, saw, key, phone, ledger).is_some()
}

fn seen_and_shown<'s>(
    document: &Document,
    saw: &'s [Saw],
    key: &str,
    phone: PhoneNo,
    ledger: &Ledger,
) -> Option<&'s Saw> {
    let shown = document.fields.get(key)?;
    let own = ledger.phones.get(&phone).map(|(_, devices)| devices);
    saw.iter().filter(|saw| saw.key == key).find(|saw| {
        let op: OpId = (saw.op.0, ActorId::from(&saw.op.1[..]));
        // The phone's own may have been written anew meanwhile, under another id; after a restore also by a copy of the phone, which brings back what it
        // holds.
        let renamed = ledger.restores.is_empty()
            && own.is_some_and(|own| own.contains(&bytes::device(&op.1)))
            && rules::is_typed(&saw.value);
        // Others may have typed the same, or a desk have chosen it.
        let by_own = |id: &OpId| own.is_some_and(|own| own.contains(&bytes::device(&id.1)));
        shown
            .iter()
            .any(|(id, value)| *id == op || (renamed && by_own(id) && *value == saw.value))
    })
}

/// What was typed over a value, and arrived, stands in its place and not beside it.
fn replaced(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    // A restored store gets back what was lost in any order: what came back later may stand beside what had replaced it.
    if !ledger.restores.is_empty() {
        return;
    }
    for line in &story.journal.lines {
        let Event::Saved {
            phone,
            record,
            did,
            saw,
            ..
        } = &line.event
        else {
            continue;
        };
        let (Some(document), Some(card)) = (documents.get(record), ledger.now.cards.get(record))
        else {
            continue;
        };
        for (key, value) in did.iter().filter_map(|did| {
            if let Did::Put { key, value } = did {
                Some((key, value))
            } else {
                None
            }
        }) {
            let accepted = card.puts.values().any(|put| {
                put.key == *key && put.value == *value && !card.by_review.contains(&put.hash)
            });
            let typed_again = |saw: &Saw| saw.value == *value;
            if !accepted || ledger.merged.contains(record) {
                continue;
            }
            // What waited, and was accepted after what its author had typed over it, stands beside that.
            let came_later = |saw: &Saw| {
                let mut puts = card.puts.values();
                puts.any(|put| {
                    put.key == *key && put.value == saw.value && card.by_review.contains(&put.hash)
                })
            };
            if let Some(saw) = seen_and_shown(document, saw, key, *phone, ledger)
                .filter(|saw| !typed_again(saw) && !came_later(saw))
            {
                let what = format!(
                    "phone {} typed {value:?} over {:?} as {key} of {record}: both are shown",
                    phone.0, saw.value
                );
                found.push(Finding::new(
                    "what was replaced is gone",
                    About::record(*record).key(key).value(value),
                    what,
                ));
            }
        }
    }
}

/// A word goes from a note only where somebody who saw it took it out.
fn words(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    let meant = Meant::of(&story.journal);
    // The characters of whole words, and whose they are.
    let mut of_word: BTreeMap<(Uuid, &OpId), &str> = BTreeMap::new();
    // Two copies of a phone give their characters the same ids: which one is meant only who saw it knows.
    let (mut given, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for arrived in ledger.arrived.values() {
        for (op, _) in &arrived.said.inserted {
            if !given.insert((arrived.record, op)) {
                twice.insert((arrived.record, op));
            }
        }
    }
    let put_in: BTreeSet<(Uuid, &str)> = meant
        .put_in
        .iter()
        .map(|((record, _), word)| (*record, word.as_str()))
        .collect();
    for arrived in ledger.arrived.values() {
        let said = &arrived.said;
        for (record, word) in put_in
            .range((arrived.record, "")..)
            .take_while(|(record, _)| *record == arrived.record)
        {
            if let Some(at) = said.typed.find(word) {
                let (first, length) = (said.typed[..at].chars().count(), word.chars().count());
                of_word.extend(
                    said.inserted
                        .iter()
                        .skip(first)
                        .take(length)
                        .map(|(op, _)| ((*record, op), *word)),
                );
            }
        }
    }
    for arrived in ledger.arrived.values() {
        let (record, said) = (arrived.record, &arrived.said);
        let authors: Vec<_> = ledger
            .phones
            .iter()
            .filter(|(_, (_, devices))| devices.contains(&said.device))
            .map(|(phone, _)| *phone)
            .collect();
        let removed = said
            .removed
            .iter()
            .map(|op| (record, op))
            .filter(|id| !twice.contains(id));
        let gone: BTreeSet<&str> = removed.filter_map(|id| of_word.get(&id).copied()).collect();
        // What waited and was written anew as well may have become the desk's own edit: then the word stands there twice, and one of them can go.
        let card = ledger.now.cards.get(&record);
        let by_desk = |word: &str| {
            let mut held = card.into_iter().flat_map(|card| &card.as_edit);
            held.any(|hash| {
                let held = ledger.arrived.get(&(record, hash.clone()));
                held.is_some_and(|held| held.said.typed.contains(word))
            })
        };
        let gone = gone
            .into_iter()
            .filter(|word| !said.typed.contains(*word) && !by_desk(word));
        for word in gone {
            if !authors.iter().any(|phone| {
                meant
                    .taken_out_by
                    .contains(&(*phone, record, word.to_owned()))
            }) {
                let what = format!(
                    "{} takes {word:?} out of the note of {record}, and nobody at that phone saw it there and took it out",
                    said.hash
                );
                found.push(Finding::new(
                    "nobody's unseen value is replaced",
                    About::record(record).key("note").hash(&said.hash),
                    what,
                ));
            }
        }
    }
}
