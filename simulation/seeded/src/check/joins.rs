//! One person who stood twice on one card: what either entry said is said on the one that goes on, also when it is written later; taken back, both stand
//! there as people left them.
//!
//! In: the journal's joinings and what phones wrote, by values that are unique in a run. Of records whose history was rewritten, or that were merged,
//! and where a desk wrote as well, nothing is asked.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{
    About, Finding,
    bytes::Document,
    ledger::{Card, Ledger, Put},
};
use crate::{
    engine::Story,
    journal::Event,
    office::{Act, Acted},
};

const JOINED: &str = "two contacts become one";

/// Card, the entry that goes on, the entry that went.
type Pair = (Uuid, Uuid, Uuid);

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    if !ledger.restores.is_empty() {
        return;
    }
    // How often each pair was joined, and parted.
    let mut pairs: BTreeMap<Pair, (usize, usize)> = BTreeMap::new();
    for line in &story.journal.lines {
        let Event::Acted {
            act,
            acted: Acted::Done,
        } = &line.event
        else {
            continue;
        };
        match act {
            Act::Join { record, kept, gone } => {
                pairs.entry((*record, *kept, *gone)).or_default().0 += 1;
            }
            Act::UndoJoin { record, kept, gone } => {
                pairs.entry((*record, *kept, *gone)).or_default().1 += 1;
            }
            _ => {}
        }
    }
    let stands = |pair: &Pair| {
        pairs
            .get(pair)
            .is_some_and(|(joined, parted)| joined > parted)
    };
    for (pair, (joined, parted)) in &pairs {
        let (record, kept, gone) = *pair;
        let mut tell = |what: String| {
            found.push(Finding::new(JOINED, About::record(record), what));
        };
        if parted > joined {
            tell(format!("{gone} of {record} was parted from {kept} twice"));
        }
        let forgotten =
            ledger.ever_redacted.contains_key(&record) || ledger.ever_erased.contains(&record);
        let lines = story.evidence.joins.iter();
        let lines = lines.filter(|line| (line.record, line.kept, line.gone) == *pair);
        let undone = lines.clone().filter(|line| line.is_undone).count();
        if !forgotten && (lines.count() < *joined || undone < *parted) {
            tell(format!(
                "{gone} was joined into {kept} {joined} times and parted {parted} times, and that is not remembered"
            ));
        }
        let (Some(document), Some(card)) = (documents.get(&record), ledger.now.cards.get(&record))
        else {
            continue;
        };
        // What is written through several joinings is another story.
        let others = pairs.keys().any(|other| {
            other != pair
                && other.0 == record
                && [other.1, other.2]
                    .iter()
                    .any(|entry| [kept, gone].contains(entry))
        });
        if forgotten
            || others
            || ledger.rewritten.contains(&record)
            || ledger.merged.contains(&record)
        {
            continue;
        }
        let told = if stands(pair) {
            joined_now(document, card, kept, gone)
        } else {
            parted_now(document, card, kept, gone)
        };
        told.into_iter().for_each(&mut tell);
    }
}

/// What phones wrote of a person, that no phone replaced and no desk touched: the field and the value.
fn said(card: &Card, entry: Uuid) -> impl Iterator<Item = (&str, &Put)> {
    let start = format!("contacts/{entry}/");
    let puts = card.puts.iter().filter(|(op, put)| {
        !card.replaced.contains(*op)
            && !card.by_review.contains(&put.hash)
            && !card
                .touched
                .iter()
                .any(|(key, _)| key.as_deref().is_none_or(|key| key == put.key))
    });
    puts.filter_map(move |(_, put)| Some((put.key.strip_prefix(&start)?, put)))
        .filter(|(field, _)| *field != "party_status")
}

fn joined_now(document: &Document, card: &Card, kept: Uuid, gone: Uuid) -> Vec<String> {
    let mut told = Vec::new();
    let start = format!("contacts/{gone}/");
    if let Some((key, values)) = document
        .fields
        .iter()
        .find(|(key, _)| key.starts_with(&start))
    {
        told.push(format!(
            "{key} = {values:?} stands although the entry was joined into {kept}"
        ));
    }
    let writes = || document.changes.iter().flat_map(|change| &change.writes);
    for (field, put) in said(card, gone) {
        let key = format!("contacts/{kept}/{field}");
        if !writes().any(|write| write.key == key && write.value.as_ref() == Some(&put.value)) {
            told.push(format!(
                "{} = {:?} is not said of {kept}, into which it was joined",
                put.key, put.value
            ));
        }
    }
    told
}

fn parted_now(document: &Document, card: &Card, kept: Uuid, gone: Uuid) -> Vec<String> {
    let mut told = Vec::new();
    let shows = |key: &str, value: &str| {
        let values = document.fields.get(key).into_iter().flatten();
        values.into_iter().any(|(_, one)| one == value)
    };
    for entry in [kept, gone] {
        for (_, put) in said(card, entry) {
            if !shows(&put.key, &put.value) {
                told.push(format!(
                    "{} = {:?} is not shown again although the two were parted",
                    put.key, put.value
                ));
            }
        }
    }
    // What only joining had written on the entry that went on.
    for (field, put) in said(card, gone) {
        let key = format!("contacts/{kept}/{field}");
        let typed = card
            .puts
            .values()
            .any(|of| of.key == key && of.value == put.value);
        if !typed && shows(&key, &put.value) {
            told.push(format!(
                "{key} = {:?} of {gone} stays although the two were parted",
                put.value
            ));
        }
    }
    told
}
