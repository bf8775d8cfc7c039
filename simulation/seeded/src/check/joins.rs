//! One person who stood twice on a card: what was said of the entry that went is said of the one that goes on, until that is taken back.
//!
//! In: the journal's acts, the values that phones put, what the office kept. Asked of the lines that a card shows of a person, of cards that nothing else
//! rewrote.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    About, Finding,
    bytes::Document,
    ledger::{Ledger, Put},
    rules,
};
use crate::{
    engine::Story,
    journal::Event,
    office::{Act, Acted, JoinLine},
};

const JOINS: &str = "two contacts become one";
const LINES: [&str; 3] = ["name", "phones", "role"];

/// What happened to a pair: how often it was joined, and whether it is.
#[derive(Default)]
struct Pair {
    joined: usize,
    stands: bool,
}

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    let mut cards: BTreeMap<Uuid, BTreeMap<(Uuid, Uuid), Pair>> = BTreeMap::new();
    let lines = &story.journal.lines;
    for at in story.journal.remembered(lines.len()) {
        let Event::Acted {
            act:
                act @ (Act::JoinContacts { record, kept, gone }
                | Act::PartContacts { record, kept, gone }),
            acted: Acted::Done,
        } = &lines[at].event
        else {
            continue;
        };
        // Of a person who is forgotten, that is forgotten as well.
        let forgotten = ledger.ever_redacted.get(record);
        let is_forgotten =
            |entry: &Uuid| forgotten.is_some_and(|gone| gone.contains(&entry.to_string()));
        if is_forgotten(kept) || is_forgotten(gone) {
            continue;
        }
        let pairs = cards.entry(*record).or_default();
        let pair = pairs.entry((*kept, *gone)).or_default();
        pair.stands = matches!(act, Act::JoinContacts { .. });
        pair.joined += usize::from(pair.stands);
    }
    for (record, pairs) in &cards {
        let Some(document) = documents.get(record) else {
            continue;
        };
        let card = Card {
            record: *record,
            document,
            puts: ledger
                .now
                .cards
                .get(record)
                .into_iter()
                .flat_map(|card| card.puts.values())
                .collect(),
            pairs,
        };
        let mut problems = card.remembered(&story.evidence.joins);
        // What else writes on persons has checks of its own.
        let is_plain = !ledger.rewritten.contains(record) && !ledger.merged.contains(record);
        if is_plain {
            problems.extend(card.shown());
            problems.extend(card.consents());
        }
        let about = |what| Finding::new(JOINS, About::record(*record), what);
        found.extend(problems.into_iter().map(about));
    }
}

struct Card<'c> {
    record: Uuid,
    document: &'c Document,
    puts: Vec<&'c Put>,
    pairs: &'c BTreeMap<(Uuid, Uuid), Pair>,
}

impl Card<'_> {
    fn remembered(&self, lines: &[JoinLine]) -> Vec<String> {
        let mut problems = Vec::new();
        for ((kept, gone), pair) in self.pairs {
            let of = lines.iter().filter(|line| {
                line.record == self.record && line.kept == *kept && line.gone == *gone
            });
            let (undone, standing): (Vec<_>, Vec<_>) = of.partition(|line| line.is_undone);
            if standing.len() != usize::from(pair.stands)
                || standing.len() + undone.len() != pair.joined
            {
                problems.push(format!(
                    "{gone} was joined into {kept} {} times, and {} stand and {} are undone",
                    pair.joined,
                    standing.len(),
                    undone.len()
                ));
            }
        }
        problems
    }

    fn shown(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let several: BTreeSet<Uuid> = self
            .pairs
            .keys()
            .flat_map(|(kept, gone)| [*kept, *gone])
            .filter(|one| {
                self.pairs
                    .keys()
                    .filter(|(a, b)| a == one || b == one)
                    .count()
                    > 1
            })
            .collect();
        for ((kept, gone), pair) in self.pairs {
            // In a chain, what is parted may still stand elsewhere.
            let is_alone = pair.joined == 1 && !several.contains(kept) && !several.contains(gone);
            for line in LINES {
                let said = self.last_put(*gone, line);
                let shows = |entry| said.is_some_and(|said| self.shows(entry, line, said));
                let Some(said) = said else { continue };
                if pair.stands {
                    if self.shows(*gone, line, said) {
                        problems.push(format!("{said:?} is still on {gone}, joined into {kept}"));
                    }
                    if !self.is_written_beside(*gone, line, said) {
                        problems.push(format!("{said:?} of {gone} did not come to {kept}"));
                    }
                } else if is_alone {
                    if !shows(*gone) {
                        problems.push(format!(
                            "{said:?} is not on {gone} again, parted from {kept}"
                        ));
                    }
                    let own = self.puts_of(*kept, line).any(|put| put.value == *said);
                    if shows(*kept) && !own {
                        problems.push(format!("{said:?} of {gone} is still on {kept}"));
                    }
                }
            }
        }
        problems
    }

    /// What somebody consented to, or withdrew, as the entry that went counts for the one that goes on.
    fn consents(&self) -> Vec<String> {
        let said =
            |consent: &str, name: &str| self.document.text(&format!("consent/{consent}/{name}"));
        let keys = self.document.fields.keys();
        let consents: Vec<&str> = keys.filter_map(|key| rules::consent(key)).collect();
        let standing: BTreeMap<Uuid, Uuid> = self
            .pairs
            .iter()
            .filter(|(_, pair)| pair.stands)
            .map(|((kept, gone), _)| (*gone, *kept))
            .collect();
        let mut problems = Vec::new();
        for (gone, kept) in &standing {
            // It may have gone on from there.
            let on = std::iter::successors(Some(*kept), |entry| standing.get(entry).copied());
            let on: BTreeSet<String> = on
                .take(standing.len())
                .map(|entry| entry.to_string())
                .collect();
            let gone = gone.to_string();
            let of_gone = consents
                .iter()
                .filter(|consent| said(consent, "contact") == Some(&gone));
            for consent in of_gone {
                let is_copy = |other: &&str| {
                    said(other, "contact").is_some_and(|contact| on.contains(contact))
                        && ["scope", "decision"]
                            .iter()
                            .all(|name| said(other, name) == said(consent, name))
                };
                if !consents.iter().any(is_copy) {
                    problems.push(format!(
                        "{consent}, by which {gone} said {:?}, does not count for {kept}",
                        said(consent, "decision")
                    ));
                }
            }
        }
        problems
    }

    fn puts_of(&self, entry: Uuid, line: &str) -> impl Iterator<Item = &Put> {
        let key = format!("contacts/{entry}/{line}");
        self.puts.iter().copied().filter(move |put| put.key == key)
    }

    /// What phones said last, where no two said something else about it.
    fn last_put(&self, entry: Uuid, line: &str) -> Option<&String> {
        let last = self.puts_of(entry, line).max_by_key(|put| put.line)?;
        Some(&last.value)
    }

    fn shows(&self, entry: Uuid, line: &str, said: &str) -> bool {
        let shown = self
            .document
            .fields
            .get(&format!("contacts/{entry}/{line}"));
        shown.is_some_and(|values| values.iter().any(|(_, value)| value == said))
    }

    /// Whether anything wrote the value as the same line of another entry.
    fn is_written_beside(&self, entry: Uuid, line: &str, said: &str) -> bool {
        let own = format!("contacts/{entry}/{line}");
        let mut writes = self
            .document
            .changes
            .iter()
            .flat_map(|change| &change.writes);
        writes.any(|write| {
            write.key != own
                && write.key.starts_with("contacts/")
                && write.key.ends_with(&format!("/{line}"))
                && write.value.as_deref() == Some(said)
        })
    }
}
