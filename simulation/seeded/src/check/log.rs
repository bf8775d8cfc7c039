//! The street's log: numbers without gap or repetition, every accepted change under its own; and held edits as they were decided.

use std::collections::{BTreeMap, BTreeSet};

use super::{About, Finding, ledger::Ledger, rules};
use crate::{engine::Story, office::desk::HELD_REASON};

pub fn check(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    numbers(story, ledger, found);
    told_again(story, ledger, found);
    held(story, ledger, found);
}

fn numbers(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    let (log, head) = (&story.evidence.log, story.evidence.head);
    let mut wrong = |about, what: String| {
        found.push(Finding::new(
            "the log has no gap and no repetition",
            about,
            what,
        ));
    };
    for pair in log.windows(2) {
        if pair[1].seq <= pair[0].seq {
            wrong(
                About::record(pair[1].record),
                format!("{} comes after {}", pair[1].seq, pair[0].seq),
            );
        }
    }
    if let Some(last) = log.last().filter(|last| last.seq > head) {
        wrong(
            About::record(last.record),
            format!("{} lies beyond the head {head}", last.seq),
        );
    }
    if ledger.now.seq > head {
        wrong(
            About::default(),
            format!("number {} was told, and the head is {head}", ledger.now.seq),
        );
    }
    let mut seen = BTreeSet::new();
    for line in log.iter().filter(|line| line.what == "change") {
        if !seen.insert((line.record, &line.hash)) {
            wrong(
                About::record(line.record),
                format!("{:?} of {} stands twice in the log", line.hash, line.record),
            );
        }
    }
    let by_seq: BTreeMap<u64, &crate::office::LogLine> =
        log.iter().map(|line| (line.seq, line)).collect();
    for (record, card) in &ledger.now.cards {
        let rewritten = card.rewritten
            || story
                .evidence
                .records
                .get(record)
                .is_some_and(|kept| kept.generation > 1);
        for (hash, seq) in card.accepted.iter().filter(|_| !rewritten) {
            if let Some(line) = by_seq
                .get(seq)
                .filter(|line| line.what != "snapshot" && line.hash.as_deref() != Some(hash))
            {
                let what = format!(
                    "{hash} of {record} was told to be number {seq}, which is {:?} of {}",
                    line.hash, line.record
                );
                wrong(About::record(*record).hash(hash), what);
            }
        }
    }
    // Numbers go only with what was forgotten, trimmed or moved into a next generation.
    let whole = ledger.rewritten.is_empty()
        && story
            .evidence
            .records
            .values()
            .all(|kept| kept.generation == 1);
    // Where the newest trimmed change of a record stood, an entry tells phones to take the record whole.
    let trimmed = story
        .evidence
        .log
        .iter()
        .any(|line| line.what == "snapshot");
    if whole && !trimmed && ledger.restores.is_empty() {
        // The notice of a reviewer's decision has a number of its own, which stands in no line of the log.
        let gaps: Vec<u64> = (1..=head).filter(|seq| !by_seq.contains_key(seq)).collect();
        if gaps.len() > ledger.decisions && !log.is_empty() {
            wrong(
                About::default(),
                format!(
                    "numbers {gaps:?} of {head} are missing, for {} notices",
                    ledger.decisions
                ),
            );
        }
    }
}

/// Whoever sends again what was accepted is told its number, as long as the log has it: what it brought is not sent back.
fn told_again(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    const DAY_MS: i64 = 86_400_000;
    let at = |line: usize| story.journal.lines[line].at_unix_ms;
    let restored = |from: usize, to: usize| {
        let mut restores = ledger.restores.iter();
        restores.any(|line| (from..to).contains(line))
    };
    let whole = |record| !ledger.rewritten.contains(record);
    for ((record, hash), answers) in ledger
        .answers
        .iter()
        .filter(|((record, _), _)| whole(record))
    {
        let mut accepted = None;
        for answer in answers {
            match (answer.status.as_str(), accepted) {
                ("accepted", _) => accepted = Some(answer),
                ("duplicate", Some(first))
                    if answer.seq != first.seq
                        && at(answer.line) - at(first.line) < DAY_MS
                        && !restored(first.line, answer.line) =>
                {
                    let what = format!(
                        "{hash} of {record} was accepted as {:?} and is told again as {:?}",
                        first.seq, answer.seq
                    );
                    let about = About::record(*record).hash(hash);
                    let promise = "the log has no gap and no repetition";
                    found.push(Finding::new(promise, about, what));
                }
                _ => {}
            }
        }
    }
}

fn held(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    let told: BTreeMap<_, _> = story
        .evidence
        .held
        .iter()
        .map(|held| ((held.record, held.hash.clone()), held.status.as_str()))
        .collect();
    let twice = story
        .evidence
        .held
        .windows(2)
        .filter(|pair| (pair[0].record, &pair[0].hash) == (pair[1].record, &pair[1].hash));
    for pair in twice {
        let (record, hash) = (pair[0].record, &pair[0].hash);
        let what = format!("{hash} of {record} stands twice on the reviewer's list");
        let about = About::record(record).hash(hash);
        found.push(Finding::new("no held edit is lost", about, what));
    }
    for held in story
        .evidence
        .held
        .iter()
        .filter(|held| held.status == "refused")
    {
        let (record, hash) = (held.record, &held.hash);
        if held.note.as_deref() != Some(HELD_REASON) {
            let what = format!(
                "why {hash} of {record} was refused is not kept: {:?}",
                held.note
            );
            let about = About::record(record).hash(hash);
            found.push(Finding::new("what was decided is final", about, what));
        }
    }
    for held in story
        .evidence
        .held
        .iter()
        .filter(|held| held.status == "held")
    {
        let id = (held.record, held.hash.clone());
        let about = || About::record(held.record).hash(&held.hash);
        let redacted = ledger.now.redacted.get(&held.record);
        let gone = |part: &str| redacted.is_some_and(|redacted| redacted.contains_key(part));
        let arrived = ledger.arrived.get(&id);
        let mut writes = arrived.into_iter().flat_map(|arrived| &arrived.said.writes);
        if writes.any(|write| {
            rules::entry(&write.key).is_some_and(gone) || write.value.as_deref().is_some_and(gone)
        }) {
            let what = format!(
                "{} of {} is about a person who was redacted, and waits",
                held.hash, held.record
            );
            found.push(Finding::new("erased data is nowhere", about(), what));
        }
        let last = ledger.answers.get(&id).and_then(|answers| answers.last());
        if let Some(last) = last.filter(|last| last.status == "rejected") {
            let what = format!(
                "{} of {} waits for a reviewer, and its phone was told {:?}",
                held.hash, held.record, last.code
            );
            found.push(Finding::new("no held edit is lost", about(), what));
        }
    }
    for ((record, hash), status) in &ledger.now.held {
        let about = || About::record(*record).hash(hash);
        let redacted = ledger.now.redacted.contains_key(record);
        match told.get(&(*record, hash.clone())) {
            Some(told) if *told != status.word() => {
                let what = format!("{hash} of {record} was {} and is {told}", status.word());
                found.push(Finding::new("what was decided is final", about(), what));
            }
            None if !redacted => {
                let what = format!(
                    "{hash} of {record} was held ({}) and the reviewer's list does not have it",
                    status.word()
                );
                found.push(Finding::new("no held edit is lost", about(), what));
            }
            _ => {}
        }
    }
}
