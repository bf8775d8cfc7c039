//! Records at the office: nothing acknowledged lost, nothing refused applied, conflicts complete and real, document and registers one.
//!
//! A value is visible when the change that wrote it was accepted and no accepted change replaced it; both are known by ids of operations, which
//! outlive rebuilds. What the office itself wrote is read from the document; where a rewritten history does not tell any more, the journal says
//! that the office wrote the key.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    About, Finding,
    bytes::{Document, OpId, Said, device},
    ledger::{Card, Ledger, Put},
    notes, rules,
};
use crate::{
    engine::Story,
    office::{ChoiceLine, OfficeRecord, Shown},
};

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    let evidence = &story.evidence;
    for (record, card) in &ledger.now.cards {
        if !card.accepted.is_empty() && !evidence.records.contains_key(record) {
            let what = format!(
                "record {record} has {} accepted changes and is not at the office",
                card.accepted.len()
            );
            found.push(Finding::new(
                "no acknowledged edit is lost",
                About::record(*record),
                what,
            ));
        }
    }
    let nothing = Card::default();
    for (record, kept) in &evidence.records {
        if ledger.now.erased.contains_key(record) {
            found.push(Finding::new(
                "erased stays erased",
                About::record(*record),
                format!("record {record} was erased and is there"),
            ));
        }
        let Some(document) = documents.get(record) else {
            continue;
        };
        same_as_document(*record, kept, document, found);
        if kept.won != document.won {
            let what = format!(
                "of several values of {record} the office shows {:?}, and Automerge {:?}",
                kept.won, document.won
            );
            found.push(Finding::new(
                "the newest of several values is shown",
                About::record(*record),
                what,
            ));
        }
        let card = ledger.now.cards.get(record).unwrap_or(&nothing);
        registers(*record, kept, card, document, ledger, found);
        as_edits(*record, card, document, ledger, found);
        if kept.generation == 1 && !card.rewritten {
            history(*record, card, document, ledger, found);
        }
        once(*record, document, found);
        withdrawals(*record, kept, card, &evidence.choices, found);
        if kept.kind == "shop_card" && !card.grid.is_empty() && card.grid != kept.grid {
            let what = format!(
                "{record} was put into {} and stands in {}",
                card.grid, kept.grid
            );
            let about = About::record(*record).key("grid");
            found.push(Finding::new("cards stand where they were put", about, what));
        }
        notes::check(*record, card, document, ledger, found);
    }
    visits(story, found);
    conflicts(story, documents, found);
}

/// Who sees a card sees its visits: they stand in its grid, or in that of the card as which it goes on.
fn visits(story: &Story, found: &mut Vec<Finding>) {
    let records = &story.evidence.records;
    let says = |record: &OfficeRecord, key: &str| -> Option<Uuid> {
        record.fields.get(key)?.last()?.value.parse().ok()
    };
    for (record, visit) in records.iter().filter(|(_, kept)| kept.kind == "visit") {
        let mut card = says(visit, "shop").and_then(|shop| records.get(&shop));
        let mut seen = BTreeSet::new();
        while let Some(into) = card.and_then(|card| says(card, "merged_into"))
            && seen.insert(into)
        {
            card = records.get(&into);
        }
        if let Some(card) = card.filter(|card| card.grid != visit.grid) {
            let what = format!(
                "visit {record} stands in grid {}, and its card in {}",
                visit.grid, card.grid
            );
            let about = About::record(*record).key("grid");
            found.push(Finding::new("visits stand with their card", about, what));
        }
    }
}

/// What the register state shows is what Automerge reads.
fn same_as_document(
    record: Uuid,
    kept: &OfficeRecord,
    document: &Document,
    found: &mut Vec<Finding>,
) {
    let mut read: BTreeMap<String, Vec<Shown>> = BTreeMap::new();
    for (key, values) in &document.fields {
        let mut shown: Vec<_> = values
            .iter()
            .map(|((_, actor), value)| Shown {
                value: value.clone(),
                device: device(actor),
            })
            .collect();
        shown.sort();
        read.insert(key.clone(), shown);
    }
    // An empty note may be left out.
    if let Some(note) = document.note.as_ref().filter(|note| !note.is_empty()) {
        read.insert(
            "note".into(),
            vec![Shown {
                value: note.clone(),
                device: Uuid::nil(),
            }],
        );
    }
    let keys: BTreeSet<_> = read.keys().chain(kept.fields.keys()).collect();
    for key in keys {
        let register = kept
            .fields
            .get(key)
            .filter(|shown| key != "note" || shown.iter().any(|shown| !shown.value.is_empty()));
        let document = read.get(key);
        if document != register {
            let what = format!(
                "{key} of {record}: the document reads {document:?}, the register {register:?}"
            );
            found.push(Finding::new(
                "document and registers are one",
                About::record(record).key(key),
                what,
            ));
        }
    }
    if document.text("grid").is_some_and(|grid| grid != kept.grid) {
        let what = format!(
            "{record} counts as of grid {}, and the document says {:?}",
            kept.grid,
            document.text("grid")
        );
        found.push(Finding::new(
            "document and registers are one",
            About::record(record).key("grid"),
            what,
        ));
    }
}

fn registers(
    record: Uuid,
    kept: &OfficeRecord,
    card: &Card,
    document: &Document,
    ledger: &Ledger,
    found: &mut Vec<Finding>,
) {
    let by_document: BTreeSet<&OpId> = document
        .changes
        .iter()
        .flat_map(|change| &change.writes)
        .flat_map(|write| &write.preds)
        .collect();
    let redacted = ledger.now.redacted.get(&record);
    let visible: BTreeMap<&OpId, (&str, &str)> = document
        .fields
        .iter()
        .flat_map(|(key, values)| {
            values
                .iter()
                .map(move |(op, value)| (op, (key.as_str(), value.as_str())))
        })
        .collect();
    for (op, put) in &card.puts {
        let about = || {
            About::record(record)
                .key(&put.key)
                .value(&put.value)
                .hash(&put.hash)
        };
        if card.replaced.contains(op)
            || by_document.contains(op)
            || card.by_review.contains(&put.hash)
        {
            continue;
        }
        let gone = |part: &str| redacted.is_some_and(|redacted| redacted.contains_key(part));
        let forgotten = rules::entry(&put.key).is_some_and(gone)
            || gone(&put.key)
            || gone(&put.value)
            || sealed(kept, card, put);
        let office_wrote =
            (kept.generation > 1 || card.rewritten) && card.touched_after(&put.key, put.line);
        match visible.get(op) {
            Some((key, value)) if *key == put.key && *value == put.value => {}
            Some((key, value)) => {
                let what = format!(
                    "{} = {:?} was accepted, and the office has {key} = {value:?}",
                    put.key, put.value
                );
                found.push(Finding::new("no acknowledged edit is lost", about(), what));
            }
            None if forgotten || office_wrote || withdrawn(kept, &put.key) => {}
            None => {
                let what = format!(
                    "{} = {:?} of {record} was accepted, nobody replaced it, and the office does not show it",
                    put.key, put.value
                );
                found.push(Finding::new("no acknowledged edit is lost", about(), what));
            }
        }
    }
    for (op, (key, value)) in &visible {
        let from = device(&op.1);
        if !ledger.users.contains_key(&from) {
            continue;
        }
        let about = || About::record(record).key(key).value(value);
        if !card.puts.contains_key(*op) {
            let what = format!(
                "{key} = {value:?} of {record} is at the office, and no accepted change wrote it"
            );
            found.push(Finding::new("no refused edit is applied", about(), what));
        } else if card.replaced.contains(*op) {
            let what = format!(
                "{key} = {value:?} of {record} is shown although an accepted change replaced it"
            );
            found.push(Finding::new("what was replaced is gone", about(), what));
        }
    }
}

/// What a desk took over as its own edit replaces what its author had seen, and nothing that came meanwhile.
fn as_edits(
    record: Uuid,
    card: &Card,
    document: &Document,
    ledger: &Ledger,
    found: &mut Vec<Finding>,
) {
    let by_office = |change: &&Said| !ledger.users.contains_key(&change.device);
    let writes: Vec<_> = document
        .changes
        .iter()
        .filter(by_office)
        .flat_map(|change| &change.writes)
        .collect();
    for hash in &card.as_edit {
        let Some(held) = ledger.arrived.get(&(record, hash.clone())) else {
            continue;
        };
        let seen: BTreeSet<_> = held.said.writes.iter().flat_map(|w| &w.preds).collect();
        for said in held.said.writes.iter().filter(|said| said.value.is_some()) {
            // Once it stands there a desk may choose it, and write it again over the others.
            let first = writes
                .iter()
                .find(|write| write.key == said.key && write.value == said.value);
            let mut unseen = first
                .into_iter()
                .flat_map(|write| &write.preds)
                .filter(|op| !seen.contains(op))
                .filter_map(|op| card.puts.get(op));
            if let Some(put) = unseen.next() {
                let what = format!(
                    "{} = {:?} of {record}, which waited, became the desk's own edit and replaced {:?}, which its author had not seen",
                    said.key, said.value, put.value
                );
                let about = About::record(record).key(&said.key).hash(hash);
                found.push(Finding::new(
                    "nobody's unseen value is replaced",
                    about,
                    what,
                ));
            }
        }
    }
}

/// Nothing is said that a person does not consent to any more, once nobody else wrote it since.
fn withdrawals(
    record: Uuid,
    kept: &OfficeRecord,
    card: &Card,
    choices: &[ChoiceLine],
    found: &mut Vec<Finding>,
) {
    // What a choice had replaced counts as said.
    let settled = choices.iter().filter(|choice| choice.record == record);
    let settled = settled.map(|choice| &choice.field);
    let statuses: BTreeSet<_> = kept
        .fields
        .keys()
        .chain(settled)
        .filter(|key| key.ends_with("/party_status"))
        .collect();
    for key in statuses.into_iter().filter(|key| withdrawn(kept, key)) {
        let of_consents = card
            .puts
            .values()
            .filter(|put| put.key.starts_with("consent/"));
        let last = of_consents.map(|put| put.line).max();
        let granted = card.puts.values().any(|put| {
            put.key.ends_with("/decision") && put.value == "grant" && Some(put.line) == last
        });
        if !granted && !card.rewritten {
            let what = format!("{key} of {record} stands although the consent was withdrawn");
            let about = About::record(record).key(key);
            found.push(Finding::new("a party status has its consent", about, what));
        }
    }
}

/// A party status goes with the consent that was withdrawn: by a change of the office, which a compacted history may not hold any more.
fn withdrawn(kept: &OfficeRecord, key: &str) -> bool {
    let rest = key.strip_prefix("contacts/");
    let Some(contact) = rest.and_then(|rest| rest.strip_suffix("/party_status")) else {
        return false;
    };
    let says = |entry: &str, name: &str, value: &str| {
        let shown = kept.fields.get(&format!("consent/{entry}/{name}"));
        shown.is_some_and(|shown| shown.iter().any(|one| one.value == value))
    };
    kept.fields
        .keys()
        .filter_map(|key| rules::consent(key))
        .any(|entry| {
            says(entry, "contact", contact)
                && says(entry, "scope", "party_status")
                && says(entry, "decision", "withdraw")
        })
}

/// Sensitive fields leave a transfer's record when it is submitted, and the office keeps every value that stood there.
fn sealed(kept: &OfficeRecord, card: &Card, put: &Put) -> bool {
    let of = kept.sealed.get(&put.key);
    kept.kind == "transfer_request"
        && !card.events.is_empty()
        && of.is_some_and(|values| values.contains(&put.value))
}

/// A history that was never rewritten holds exactly what was accepted.
fn history(
    record: Uuid,
    card: &Card,
    document: &Document,
    ledger: &Ledger,
    found: &mut Vec<Finding>,
) {
    let held: BTreeSet<_> = document
        .changes
        .iter()
        .map(|change| change.hash.as_str())
        .collect();
    for hash in card
        .accepted
        .keys()
        .filter(|hash| !held.contains(hash.as_str()))
    {
        let what = format!("{hash} of {record} was accepted and is not in the record's history");
        found.push(Finding::new(
            "no acknowledged edit is lost",
            About::record(record).hash(hash),
            what,
        ));
    }
    for change in &document.changes {
        let known =
            card.accepted.contains_key(&change.hash) || card.by_review.contains(&change.hash);
        if ledger.users.contains_key(&change.device) && !known {
            let what = format!(
                "{} of {record} is in the history and was never accepted",
                change.hash
            );
            found.push(Finding::new(
                "no refused edit is applied",
                About::record(record).hash(&change.hash),
                what,
            ));
        }
    }
}

/// What is written once has one value, by one write.
fn once(record: Uuid, document: &Document, found: &mut Vec<Finding>) {
    let mut writes: BTreeMap<&str, usize> = BTreeMap::new();
    for write in document
        .changes
        .iter()
        .flat_map(|change| &change.writes)
        .filter(|write| rules::once(&write.key))
    {
        *writes.entry(&write.key).or_default() += 1;
    }
    for (key, times) in writes.into_iter().filter(|(_, times)| *times > 1) {
        let what = format!("{key} of {record} was written {times} times");
        found.push(Finding::new(
            "written once",
            About::record(record).key(key),
            what,
        ));
    }
}

/// The conflict inbox holds every field whose values differ, and nothing else.
fn conflicts(story: &Story, documents: &BTreeMap<Uuid, Document>, found: &mut Vec<Finding>) {
    let differ =
        |values: &Vec<(OpId, String)>| values.iter().any(|(_, value)| *value != values[0].1);
    let real: BTreeSet<(Uuid, &str)> = documents
        .iter()
        .flat_map(|(record, document)| {
            document
                .fields
                .iter()
                .map(move |(key, values)| (*record, key.as_str(), values))
        })
        .filter(|(_, key, values)| rules::keeps_conflicts(key) && differ(values))
        .map(|(record, key, _)| (record, key))
        .collect();
    let told: BTreeSet<(Uuid, &str)> = story
        .evidence
        .conflicts
        .iter()
        .map(|(record, key)| (*record, key.as_str()))
        .collect();
    let inbox = |record: &Uuid, key: &str, what: &str| {
        Finding::new(
            "conflicts are complete and real",
            About::record(*record).key(key),
            format!("{key} of {record} {what}"),
        )
    };
    found.extend(
        real.difference(&told)
            .map(|(record, key)| inbox(record, key, "is in conflict and not in the inbox")),
    );
    found.extend(
        told.difference(&real)
            .map(|(record, key)| inbox(record, key, "is in the inbox and not in conflict")),
    );
}
