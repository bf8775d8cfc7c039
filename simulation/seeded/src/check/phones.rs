//! Phones that synchronised: they hold the records of their grids, whole and alike, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{About, Finding, bytes::Document, ledger::Ledger};
use crate::{
    engine::Story,
    journal::{Did, PhoneEvidence},
};

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    for phone in story.phones.iter().filter(|phone| !phone.gone) {
        grids(phone, ledger, found);
        holds(story, phone, found);
        for (record, held) in &phone.records {
            let Some(office) = story.evidence.records.get(record) else {
                continue;
            };
            let about = || About::record(*record);
            if held.generation != office.generation {
                let what = format!(
                    "{} has generation {} of {record}, the office {}",
                    name(phone),
                    held.generation,
                    office.generation
                );
                found.push(Finding::new("replicas and office are equal", about(), what));
                continue;
            }
            let own = touched(phone, *record);
            let keys: BTreeSet<_> = held
                .fields
                .keys()
                .chain(office.fields.keys())
                .filter(|key| !own.contains(key.as_str()))
                .collect();
            for key in keys {
                let expected = documents
                    .get(record)
                    .and_then(|document| document.won.get(key));
                if held.won.get(key) != expected {
                    let what = format!(
                        "{key} of {record}: {} shows {:?}, and Automerge {expected:?}",
                        name(phone),
                        held.won.get(key)
                    );
                    found.push(Finding::new(
                        "the newest of several values is shown",
                        about().key(key),
                        what,
                    ));
                }
                let (here, there) = (held.fields.get(key), office.fields.get(key));
                if here != there {
                    let what = format!(
                        "{key} of {record}: {} shows {here:?}, the office {there:?}",
                        name(phone)
                    );
                    found.push(Finding::new(
                        "replicas and office are equal",
                        about().key(key),
                        what,
                    ));
                }
            }
        }
        for (record, hash, state, _) in phone
            .outbox
            .iter()
            .filter(|(_, _, state, _)| state != "held")
        {
            let what = format!("{hash} of {record} is still {state} on {}", name(phone));
            found.push(Finding::new(
                "every edit gets its answer",
                About::record(*record).hash(hash),
                what,
            ));
        }
        for (record, hash, _, _) in phone
            .outbox
            .iter()
            .filter(|(_, _, state, _)| state == "held")
        {
            let waits =
                story.evidence.held.iter().any(|held| {
                    held.record == *record && held.hash == *hash && held.status == "held"
                });
            if !waits {
                let what = format!(
                    "{} waits for a reviewer about {hash} of {record}, who has nothing to decide",
                    name(phone)
                );
                found.push(Finding::new(
                    "every edit gets its answer",
                    About::record(*record).hash(hash),
                    what,
                ));
            }
        }
    }
}

fn name(phone: &PhoneEvidence) -> String {
    format!("phone {} of {}", phone.phone.0, phone.username)
}

/// Keys that the phone's own unsent and held edits may have changed.
fn touched(phone: &PhoneEvidence, record: Uuid) -> BTreeSet<&str> {
    let edits = phone
        .outbox
        .iter()
        .filter(|(of, ..)| *of == record)
        .flat_map(|(_, _, _, did)| did);
    edits
        .map(|did| match did {
            Did::Put { key, .. } | Did::Delete { key } => key.as_str(),
            Did::Note { .. } => "note",
        })
        .collect()
}

fn grids(phone: &PhoneEvidence, ledger: &Ledger, found: &mut Vec<Finding>) {
    let told: BTreeSet<_> = phone.grids.iter().cloned().collect();
    let works = ledger
        .now
        .works
        .get(&phone.username)
        .map(|(now, _)| now.clone())
        .unwrap_or_default();
    if told != works {
        let what = format!(
            "{} believes to work {told:?} and works {works:?}",
            name(phone)
        );
        found.push(Finding::new(
            "phones miss nothing of their grids",
            About::default(),
            what,
        ));
    }
}

/// Every record of the user's grids, and no other but those that wait for an answer.
fn holds(story: &Story, phone: &PhoneEvidence, found: &mut Vec<Finding>) {
    // The office's own word for whose a record is was compared with the document elsewhere.
    let mine = |grid: &str| phone.grids.iter().any(|own| own == grid);
    for (record, kept) in story
        .evidence
        .records
        .iter()
        .filter(|(_, kept)| mine(&kept.grid))
    {
        if !phone.records.contains_key(record) {
            let what = format!(
                "{record} is in grid {}, and {} does not hold it",
                kept.grid,
                name(phone)
            );
            found.push(Finding::new(
                "phones miss nothing of their grids",
                About::record(*record),
                what,
            ));
        }
    }
    for record in phone.records.keys() {
        let waiting = phone.outbox.iter().any(|(of, ..)| of == record);
        match story.evidence.records.get(record) {
            Some(kept) if !mine(&kept.grid) && !waiting => {
                let what = format!(
                    "{} holds {record} of grid {}, which is not its user's",
                    name(phone),
                    kept.grid
                );
                found.push(Finding::new(
                    "phones hold nothing outside their grids",
                    About::record(*record),
                    what,
                ));
            }
            None if !waiting => {
                let what = format!(
                    "{} holds {record}, which the office does not have",
                    name(phone)
                );
                found.push(Finding::new(
                    "replicas and office are equal",
                    About::record(*record),
                    what,
                ));
            }
            _ => {}
        }
    }
}
