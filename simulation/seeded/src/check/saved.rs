//! Every edit that a user saw saved: at the office, or on the phone where the user sees it, or gone by somebody's decision.
//!
//! Followed by its value. A deletion is there where nothing is shown any more of what its user saw and deleted; an edit of the note where the word that it
//! put in is in the note, or somebody who saw the word took it out ([`super::meaning`]).

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    About, Finding,
    bytes::{Document, Said, Write},
    ledger::{Answer, Held, Ledger},
    meaning::{self, Meant},
    rules,
};
use crate::{
    engine::Story,
    journal::{Did, Event, Line, PhoneNo, Saw},
    office::{Act, Acted},
};

/// What became of the phones.
#[derive(Default)]
struct Fates {
    /// Lost, with the line of the journal.
    lost: BTreeMap<PhoneNo, usize>,
    wiped: BTreeMap<PhoneNo, usize>,
    /// Drafts that their users let go: record and value or key.
    dropped: BTreeSet<(Uuid, String)>,
    /// Copies, with the line of the journal at which they were made.
    clones: BTreeMap<PhoneNo, Vec<(usize, PhoneNo)>>,
}

impl Fates {
    /// The copies of a phone that hold what it saved at this line.
    fn copies(&self, phone: PhoneNo, at: usize) -> impl Iterator<Item = PhoneNo> {
        let copies = self.clones.get(&phone).into_iter().flatten();
        copies
            .filter(move |(line, _)| *line > at)
            .map(|(_, copy)| *copy)
    }
}

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    let meant = Meant::of(&story.journal);
    let mut fates = Fates::default();
    for (at, line) in story.journal.lines.iter().enumerate() {
        match &line.event {
            Event::PhoneLost { phone } => drop(fates.lost.insert(*phone, at)),
            Event::Wiped { phone } => drop(fates.wiped.insert(*phone, at)),
            Event::Cloned { phone, from } => {
                fates.clones.entry(*from).or_default().push((at, *phone));
            }
            Event::DraftDropped { record, did, .. } => fates
                .dropped
                .extend(did.iter().map(|did| (*record, mark(did)))),
            _ => {}
        }
    }
    for (at, line) in story.journal.lines.iter().enumerate() {
        if let Event::NotSaved { record, code, .. } = &line.event
            && (code == "record_unreadable" || rules::NEVER_HONEST_BYTES.contains(&code.as_str()))
        {
            let about = record.map(About::record).unwrap_or_default();
            found.push(Finding::new(
                "honest edits are taken",
                about,
                format!("the phone refused an edit as {code}"),
            ));
        }
        let Event::Saved {
            phone,
            record,
            did,
            saw,
            hash,
            ..
        } = &line.event
        else {
            continue;
        };
        for one in did {
            let edit = Edit {
                phone: *phone,
                record: *record,
                did: one,
                saw,
                hash: hash.as_deref(),
                at,
                meant: &meant,
            };
            if let Some(why) = edit.is_lost(story, ledger, documents.get(record), &fates) {
                let mut about = About::record(*record);
                about.key = Some(key(one).to_owned());
                about.value = match one {
                    Did::Put { value, .. } => Some(value.clone()),
                    Did::Delete { .. } | Did::Note { .. } => None,
                };
                about.hash.clone_from(hash);
                let what = format!("phone {} saved {one:?} of {record}: {why}", phone.0);
                found.push(Finding::new("no saved edit is lost", about, what));
            }
        }
    }
    unseen(story, ledger, found);
}

/// What an edit is followed by.
fn mark(did: &Did) -> String {
    match did {
        Did::Put { key, value } => format!("{key}={value}"),
        Did::Delete { key } => format!("{key}-"),
        Did::Note { text } => format!("note={text}"),
    }
}

fn key(did: &Did) -> &str {
    match did {
        Did::Put { key, .. } | Did::Delete { key } => key,
        Did::Note { .. } => "note",
    }
}

fn says(said: &Said, key: &str, value: &str) -> bool {
    said.writes
        .iter()
        .any(|write| write.key == key && write.value.as_deref() == Some(value))
}

struct Edit<'e> {
    phone: PhoneNo,
    record: Uuid,
    did: &'e Did,
    saw: &'e [Saw],
    hash: Option<&'e str>,
    at: usize,
    meant: &'e Meant,
}

impl Edit<'_> {
    fn is_lost(
        &self,
        story: &Story,
        ledger: &Ledger,
        document: Option<&Document>,
        fates: &Fates,
    ) -> Option<&'static str> {
        // The record said so already.
        let hash = self.hash?;
        if let (Did::Delete { key }, Some(first)) = (
            self.did,
            ledger.arrived.get(&(self.record, hash.to_owned())),
        ) && !first.said.writes.iter().any(|write| write.key == *key)
        {
            return None;
        }
        if let Did::Put { key, value } = self.did
            && let [one] = &self
                .saw
                .iter()
                .filter(|saw| saw.key == *key)
                .collect::<Vec<_>>()[..]
            && one.value == *value
        {
            // What is there already is no edit.
            return None;
        }
        if self.at_the_office(story, ledger, document)
            || self.on_a_phone(story)
            || self.dropped(fates)
        {
            return None;
        }
        if ledger.ever_erased.contains(&self.record) || self.redacted(ledger) || self.sealed(ledger)
        {
            return None;
        }
        let gone = |phone: &PhoneNo| {
            fates.lost.contains_key(phone)
                || story
                    .phones
                    .iter()
                    .any(|told| told.phone == *phone && told.gone)
        };
        if fates.lost.contains_key(&self.phone)
            && fates.copies(self.phone, self.at).all(|copy| gone(&copy))
        {
            return None;
        }
        if self.given_up(ledger) {
            let user = ledger
                .phones
                .get(&self.phone)
                .map(|(user, _)| user.clone())
                .unwrap_or_default();
            // A phone sends again what it holds of its own; it held nothing any more of what had left its user's sight, or was rebuilt.
            let held_no_more = gone(&self.phone)
                || ledger.departed.contains(&(user, self.record))
                || ledger.rewritten.contains(&self.record);
            return (!held_no_more)
                .then_some("it was accepted, a restore lost it, and no phone brought it back");
        }
        let refused = |answer: &Answer| answer.code.as_deref() == Some("consent_missing");
        if fates.wiped.contains_key(&self.phone) {
            // A draft that a rule had made went with the phone.
            let answers = ledger
                .answers
                .iter()
                .filter(|((of, _), _)| *of == self.record)
                .flat_map(|(_, answers)| answers);
            if key(self.did).ends_with("/party_status") && answers.into_iter().any(refused) {
                return None;
            }
            // So did what another device of theirs is to declare void: that is its author's device's, or the office's.
            let devices = ledger.phones.get(&self.phone);
            if key(self.did).starts_with("voids/")
                && devices.is_some_and(|(_, devices)| devices.len() > 1)
            {
                return None;
            }
            // So did what built on a creation that a reviewer refused.
            let sent = ledger.arrived.get(&(self.record, hash.to_owned()));
            let fell = |dep: &String| {
                ledger.now.held.get(&(self.record, dep.clone())) == Some(&Held::Refused)
            };
            if sent.is_some_and(|sent| sent.said.deps.iter().any(fell)) {
                return None;
            }
            // So did what was written on a record that a restore had lost and nobody had brought back by then: there was nothing to hold it beside.
            if self.was_unknown(story, ledger, fates) {
                return None;
            }
            return Some("the phone was wiped, and the office never got it");
        }
        Some("it is neither at the office, nor in an outbox, nor a draft")
    }

    /// Whether the office did not have the record when the phone was wiped: its store had been put back.
    fn was_unknown(&self, story: &Story, ledger: &Ledger, fates: &Fates) -> bool {
        let answers = ledger.answers.iter();
        let taken: BTreeSet<usize> = answers
            .filter(|((record, _), _)| *record == self.record)
            .flat_map(|(_, answers)| answers)
            .filter(|answer| matches!(answer.status.as_str(), "accepted" | "duplicate"))
            .map(|answer| answer.line)
            .collect();
        let wiped = fates.wiped.get(&self.phone).copied().unwrap_or_default();
        let remembered = story.journal.remembered(wiped);
        !ledger.restores.is_empty() && !remembered.iter().any(|line| taken.contains(line))
    }

    /// Whether a change of the record as it is now says it, visible or replaced since, or a reviewer has it.
    fn at_the_office(&self, story: &Story, ledger: &Ledger, document: Option<&Document>) -> bool {
        let record = self.record;
        let card = ledger.now.cards.get(&record);
        let taken = |hash: &str| {
            card.is_some_and(|card| {
                card.accepted.contains_key(hash) || card.by_review.contains(hash)
            })
        };
        // Refused: the author gets it back as a draft, unless the phone was wiped.
        let wiped = story
            .phones
            .iter()
            .any(|told| told.phone == self.phone && told.gone);
        let held = |hash: &str| {
            ledger
                .now
                .held
                .get(&(record, hash.to_owned()))
                .is_some_and(|held| *held != Held::Refused || wiped)
        };
        let there = |hash: &str| taken(hash) || held(hash);
        let theirs = |said: &Said| {
            let phone = ledger.phones.get(&self.phone);
            phone.is_some_and(|(_, devices)| devices.contains(&said.device))
        };
        let arrived = ledger
            .arrived
            .range((record, String::new())..)
            .take_while(|((of, _), _)| *of == record);
        let mut sent = arrived
            .filter(|((_, hash), _)| there(hash))
            .map(|(_, arrived)| &arrived.said);
        match self.did {
            Did::Put { key, value } => {
                self.hash.is_some_and(there)
                    || sent.any(|said| says(said, key, value))
                    || self.done_at_a_desk(story, ledger)
            }
            Did::Delete { key } => {
                // Under its own name, or written anew by its author.
                let deletes = |said: &Said| {
                    let gone = |write: &Write| write.key == *key && write.value.is_none();
                    theirs(said) && said.writes.iter().any(gone)
                };
                let waits = |hash: &str| held(hash) && !taken(hash);
                self.hash.is_some_and(waits)
                    || sent.any(|said| waits(&said.hash) && deletes(said))
                    || !document.is_some_and(|document| {
                        meaning::is_shown(document, self.saw, key, self.phone, ledger)
                    })
            }
            Did::Note { .. } => match self.meant.word(record, self.at) {
                Some(word) => {
                    let shown = document
                        .and_then(|document| document.note.as_ref())
                        .is_some_and(|note| note.contains(word));
                    let waits = |hash: &str| held(hash) && !taken(hash);
                    let held_words = self.hash.is_some_and(waits)
                        || sent.any(|said| waits(&said.hash) && said.typed.contains(word));
                    shown || held_words || self.meant.is_taken_out(record, word)
                }
                // Words were taken out only: nothing to follow.
                None => true,
            },
        }
    }

    /// Whether somebody at a desk wrote the same: values that are not unique may be there already when the phone's edit is written anew.
    fn done_at_a_desk(&self, story: &Story, ledger: &Ledger) -> bool {
        let Did::Put { key, value } = self.did else {
            return false;
        };
        // What the cards merged into it said, and those merged into them, is carried over.
        let mut cards = vec![self.record];
        for line in story.journal.lines.iter().rev() {
            match &line.event {
                Event::Acted {
                    act: Act::Merge { winner, loser },
                    acted: Acted::Done,
                } if cards.contains(winner) => cards.push(*loser),
                _ => {}
            }
        }
        let accepted = |of: &Uuid| {
            let taken = |hash: &String| {
                ledger.now.cards.get(of).is_some_and(|card| {
                    card.accepted.contains_key(hash) || card.by_review.contains(hash)
                })
            };
            let mut arrived = ledger
                .arrived
                .range((*of, String::new())..)
                .take_while(|((record, _), _)| record == of);
            arrived.any(|((_, hash), arrived)| taken(hash) && says(&arrived.said, key, value))
        };
        let wrote = |line: &Line| match &line.event {
            Event::Acted {
                act: Act::Edit { record, set, .. },
                acted: Acted::Done,
            } => {
                cards.contains(record)
                    && set
                        .iter()
                        .any(|(written, to)| written == key && to.as_ref() == Some(value))
            }
            _ => false,
        };
        cards[1..].iter().any(accepted) || story.journal.lines.iter().any(wrote)
    }

    fn on_a_phone(&self, story: &Story) -> bool {
        let says = |did: &[Did]| {
            did.iter().any(|did| match (did, self.did) {
                (Did::Note { text }, Did::Note { .. }) => self
                    .meant
                    .word(self.record, self.at)
                    .is_none_or(|word| text.contains(word)),
                (Did::Delete { key }, Did::Delete { key: wanted }) => key == wanted,
                (did, wanted) => did == wanted,
            })
        };
        story.phones.iter().any(|phone| {
            phone
                .outbox
                .iter()
                .any(|(record, _, _, did)| *record == self.record && says(did))
                || phone
                    .drafts
                    .iter()
                    .any(|(record, _, did)| *record == self.record && says(did))
        })
    }

    /// Whether the user let go of the draft that it had become.
    fn dropped(&self, fates: &Fates) -> bool {
        match self
            .meant
            .word(self.record, self.at)
            .filter(|_| matches!(self.did, Did::Note { .. }))
        {
            Some(word) => fates.dropped.iter().any(|(of, mark)| {
                *of == self.record && mark.starts_with("note=") && mark.contains(word)
            }),
            None => fates.dropped.contains(&(self.record, mark(self.did))),
        }
    }

    fn redacted(&self, ledger: &Ledger) -> bool {
        let Some(entries) = ledger.ever_redacted.get(&self.record) else {
            return false;
        };
        let value = match self.did {
            Did::Put { value, .. } => Some(value),
            Did::Delete { .. } | Did::Note { .. } => None,
        };
        entries.contains(key(self.did))
            || rules::entry(key(self.did)).is_some_and(|entry| entries.contains(entry))
            || value.is_some_and(|value| entries.contains(value))
    }

    /// Sensitive fields of a submitted transfer are in the office's own table.
    fn sealed(&self, ledger: &Ledger) -> bool {
        ledger.rewritten.contains(&self.record) && rules::SEALED.contains(&key(self.did))
    }

    fn given_up(&self, ledger: &Ledger) -> bool {
        ledger
            .given_up
            .keys()
            .filter(|(record, _)| *record == self.record)
            .any(|id| {
                let says = |did: &Did| match did {
                    Did::Put { key, value } => ledger
                        .arrived
                        .get(id)
                        .is_some_and(|arrived| says(&arrived.said, key, value)),
                    Did::Delete { key } => ledger.arrived.get(id).is_some_and(|arrived| {
                        arrived
                            .said
                            .writes
                            .iter()
                            .any(|write| write.key == *key && write.value.is_none())
                    }),
                    Did::Note { .. } => ledger
                        .arrived
                        .get(id)
                        .is_some_and(|arrived| arrived.said.note),
                };
                says(self.did)
            })
    }
}

/// A write and the journal's line in which it arrived.
type Sent<'w> = (usize, &'w Write);

/// An edit that was written anew replaces nothing that its author had not seen when it was made.
fn unseen(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    let mut made: BTreeMap<(Uuid, &str, &str), usize> = BTreeMap::new();
    for line in &story.journal.lines {
        if let Event::Saved { record, did, .. } = &line.event {
            for did in did {
                if let Did::Put { key, value } = did {
                    *made.entry((*record, key, value)).or_default() += 1;
                }
            }
        }
    }
    // What each phone ever named as replaced, by record and key, and in which line it did so first.
    let mut named: BTreeMap<(Uuid, Uuid, &str), Vec<Sent<'_>>> = BTreeMap::new();
    for arrived in ledger.arrived.values() {
        for write in &arrived.said.writes {
            named
                .entry((arrived.said.device, arrived.record, &write.key))
                .or_default()
                .push((arrived.line, write));
        }
    }
    // A phone writes anew only what is its user's to write.
    named.retain(|(_, _, key), _| rules::secretary_may(false, key, None));
    for writes in named.values_mut() {
        writes.sort_by_key(|(line, write)| (*line, write.op.0));
    }
    for ((author, record, key), writes) in &named {
        let (author, record, key) = (*author, *record, *key);
        // A phone that was enrolled anew has seen what it had seen.
        let phones = ledger.phones.values();
        let own = phones.filter(|(_, devices)| devices.contains(&author));
        let former: Vec<_> = own
            .flat_map(|(_, devices)| devices)
            .filter(|device| **device != author)
            .filter_map(|device| named.get(&(*device, record, key)))
            .flatten()
            .collect();
        for (at, (line, write)) in writes.iter().enumerate() {
            let Some(value) = &write.value else { continue };
            // Twice saved: the user looked again and retried a draft.
            if made.get(&(record, key, value)) != Some(&1) {
                continue;
            }
            let Some((first, _)) = writes[..at]
                .iter()
                .find(|(_, before)| before.value.as_ref() == Some(value))
            else {
                continue;
            };
            // Between the two its author may have edited the key again, and so have seen more; that edit stands between them or after the first.
            let seen: BTreeSet<_> = writes
                .iter()
                .chain(former.iter().copied())
                .filter(|(l, w)| l < line || (l == line && w.op < write.op))
                .flat_map(|(_, w)| &w.preds)
                .collect();
            if let Some(pred) = write
                .preds
                .iter()
                .find(|pred| super::bytes::device(&pred.1) != author && !seen.contains(pred))
            {
                let replaced = ledger
                    .now
                    .cards
                    .get(&record)
                    .and_then(|card| card.puts.get(pred))
                    .map_or("something", |put| put.value.as_str());
                let what = format!(
                    "{key} = {value:?} of {record}, sent first in line {first}, was written anew over {replaced:?}, which its author had not seen"
                );
                found.push(Finding::new(
                    "nobody's unseen value is replaced",
                    About::record(record).key(key).value(value),
                    what,
                ));
            }
        }
    }
}
