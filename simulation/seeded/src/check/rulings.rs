//! Transfers: every event is ruled on once, in the order in which it landed, and by the table.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{About, Finding, bytes::Document, ledger::Ledger, rules};
use crate::{
    engine::Story,
    journal::{Did, Event},
};

/// Steps of officers, who always look at the request first.
const OFFICERS_STEPS: &[&str] = &[
    "return",
    "request_origin",
    "dispatch",
    "arrive",
    "accept",
    "settle",
];

/// A ruled event, as the record has it.
struct Ruled<'d> {
    event: &'d str,
    no: u32,
    step: &'d str,
    seen: Option<&'d str>,
    outcome: &'d str,
    state: &'d str,
}

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    let mut letters: BTreeMap<&str, Uuid> = BTreeMap::new();
    members(story, documents, found);
    for (record, document) in documents {
        if story
            .evidence
            .records
            .get(record)
            .is_none_or(|kept| kept.kind != "transfer_request")
        {
            continue;
        }
        if let Some(letter) = live_letter(document)
            && let Some(other) = letters.insert(letter, *record)
        {
            found.push(Finding::new(
                "a letter is of one request",
                About::record(*record),
                format!("{letter:?} is under way for {other} as well"),
            ));
        }
        let mut wrong = |what: String| {
            found.push(Finding::new(
                "rulings are given once and in order",
                About::record(*record),
                what,
            ));
        };
        let events: Vec<&str> = document
            .fields
            .keys()
            .filter(|key| key.starts_with("events/") && key.ends_with("/type"))
            .filter_map(|key| rules::entry(key))
            .collect();
        let mut rulings: Vec<Ruled<'_>> = Vec::new();
        for event in &events {
            let ruling = |name: &str| document.text(&format!("rulings/{event}/{name}"));
            let said = |name: &str| document.text(&format!("events/{event}/{name}"));
            match (
                ruling("no").and_then(|no| no.parse().ok()),
                ruling("outcome"),
                ruling("state"),
                said("type"),
            ) {
                (Some(no), Some(outcome), Some(state), Some(step)) => {
                    rulings.push(Ruled {
                        event,
                        no,
                        step,
                        seen: said("seen"),
                        outcome,
                        state,
                    });
                }
                _ => wrong(format!("event {event} of {record} has no ruling")),
            }
        }
        rulings.sort_by_key(|ruled| ruled.no);
        if rulings
            .iter()
            .enumerate()
            .any(|(at, ruled)| ruled.no as usize != at + 1)
        {
            let numbers: Vec<_> = rulings.iter().map(|ruled| ruled.no).collect();
            wrong(format!("the rulings of {record} are numbered {numbers:?}"));
            continue;
        }
        if let Some(what) = in_order(
            &rulings,
            ledger
                .now
                .cards
                .get(record)
                .map_or(&[], |card| &card.events),
        ) {
            wrong(format!("{what} of {record}"));
        }
        for what in by_the_table(&rulings, document) {
            wrong(format!("{what} of {record}"));
        }
        if let Some(what) = overdue(story, ledger, *record, &rulings, document) {
            found.push(Finding::new("the clock acts", About::record(*record), what));
        }
        let submitted = |ruled: &Ruled<'_>| ruled.step == "submit" && ruled.outcome == "applied";
        if rulings.iter().any(submitted)
            && let Some(key) = rules::SEALED
                .iter()
                .find(|key| document.text(key).is_some())
        {
            let about = About::record(*record).key(key);
            let what =
                format!("{key} of {record} still stands on the record after it was submitted");
            found.push(Finding::new("erased data is nowhere", about, what));
        }
    }
}

/// Phones' events are ruled on in the order of their acceptance.
fn in_order(rulings: &[Ruled<'_>], accepted: &[String]) -> Option<String> {
    let place = |event: &String| rulings.iter().position(|ruled| ruled.event == event);
    let places: Vec<_> = accepted.iter().filter_map(place).collect();
    (!places.is_sorted()).then(|| {
        format!("events landed in the order {accepted:?} and were ruled on in another one")
    })
}

fn by_the_table(rulings: &[Ruled<'_>], document: &Document) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut state = "draft";
    for (at, ruled) in rulings.iter().enumerate() {
        let moved = ruled.state != state;
        match ruled.outcome {
            "applied" if !rules::step_leads(state, ruled.step, ruled.state) => {
                wrong.push(format!(
                    "{} was applied in {state} and led to {}",
                    ruled.step, ruled.state
                ));
            }
            "contested" if ruled.state != "contested" => wrong.push(format!(
                "{} was contested and led to {}",
                ruled.step, ruled.state
            )),
            // A correction task may put the acceptance back into force.
            "applied" | "contested" | "correction_task" => {}
            outcome if moved => wrong.push(format!(
                "{} was {outcome} and led from {state} to {}",
                ruled.step, ruled.state
            )),
            _ => {}
        }
        if at > 0 && ruled.seen.is_none() && OFFICERS_STEPS.contains(&ruled.step) {
            wrong.push(format!(
                "{} does not say what its officer had seen",
                ruled.step
            ));
        }
        if let Some(what) = crossing(rulings, at, document) {
            wrong.push(what);
        }
        state = ruled.state;
    }
    if !rulings.is_empty() && document.text("state") != Some(state) {
        wrong.push(format!(
            "the state is {:?}, and the newest ruling says {state}",
            document.text("state")
        ));
    }
    wrong
}

/// What the clock should have done a good while ago: reminded, let lapse, or erased a draft. Terms from docs/transfers.md, with a day or two to spare.
fn overdue(
    story: &Story,
    ledger: &Ledger,
    record: Uuid,
    rulings: &[Ruled<'_>],
    document: &Document,
) -> Option<String> {
    const DAY_MS: i64 = 86_400_000;
    let lines = &story.journal.lines;
    let end = lines.last()?.at_unix_ms;
    let Some(last) = rulings.last() else {
        let answers = ledger.answers.range((record, String::new())..);
        let mut accepted = answers
            .take_while(|((of, _), _)| *of == record)
            .flat_map(|(_, answers)| answers)
            .filter(|answer| answer.status == "accepted");
        let days = (end - lines[accepted.next()?.line].at_unix_ms) / DAY_MS;
        return (days > 32).then(|| format!("{record} is a draft for {days} days"));
    };
    let at = document.text(&format!("rulings/{}/at", last.event))?;
    let days = (end - super::trail::micros(at)? / 1_000) / DAY_MS;
    let days_max = match last.state {
        // Three working days.
        "submitted" if last.step != "remind" => 8,
        "awaiting_origin" if last.step != "remind" => 12,
        "archive_check" if last.step != "remind" => 17,
        "returned" => 32,
        _ => return None,
    };
    (days > days_max).then(|| {
        format!(
            "{record} is {} for {days} days, and the clock did nothing",
            last.state
        )
    })
}

/// Of the requests of one member that are under way, only the earliest is acted on.
fn members(story: &Story, documents: &BTreeMap<Uuid, Document>, found: &mut Vec<Finding>) {
    let mut under_way: BTreeMap<&str, Uuid> = BTreeMap::new();
    for line in &story.journal.lines {
        let Event::Saved { record, did, .. } = &line.event else {
            continue;
        };
        let named = did.iter().find_map(|did| match did {
            Did::Put { key, value } if key == "member_name" => Some(value.as_str()),
            _ => None,
        });
        let (Some(member), Some(document)) = (named, documents.get(record)) else {
            continue;
        };
        let asked = document.fields.keys().any(|key| {
            let said = |event: &str, name: &str| document.text(&format!("{event}/{name}"));
            key.strip_prefix("events/")
                .and_then(|rest| rest.strip_suffix("/type"))
                .is_some_and(|event| {
                    said(&format!("events/{event}"), "type") == Some("request_origin")
                        && said(&format!("rulings/{event}"), "outcome") == Some("applied")
                })
        });
        let open = matches!(
            document.text("state"),
            Some("awaiting_origin" | "in_transit" | "arrived")
        );
        if asked
            && open
            && let Some(other) = under_way.insert(member, *record)
            && other != *record
        {
            let what = format!("{record} is under way beside {other}, and both are of one member");
            let about = About::record(*record);
            found.push(Finding::new(
                "a member has one request under way",
                about,
                what,
            ));
        }
    }
}

/// The number of the letter with which a request is under way.
fn live_letter(document: &Document) -> Option<&str> {
    if !matches!(
        document.text("state")?,
        "in_transit" | "arrived" | "archive_check" | "contested"
    ) {
        return None;
    }
    let numbers = document
        .fields
        .keys()
        .filter(|key| key.ends_with("/letter_no"));
    let applied = numbers.filter_map(|key| {
        let event = rules::entry(key)?;
        let ruling = |name: &str| document.text(&format!("rulings/{event}/{name}"));
        let no: u32 = ruling("no")?.parse().ok()?;
        (ruling("outcome") == Some("applied")).then_some((no, document.text(key)?))
    });
    applied.max().map(|(_, letter)| letter)
}

/// A withdrawal on the member's word and an acceptance that were made on the same sight of the request are contested, whichever lands first.
fn crossing(rulings: &[Ruled<'_>], at: usize, document: &Document) -> Option<String> {
    let (late, first) = (&rulings[at], rulings[..at].last()?);
    let on_word = |ruled: &Ruled<'_>| {
        ruled.step != "withdraw"
            || document.text(&format!("events/{}/cause", ruled.event)) == Some("member_word")
    };
    let pair = matches!(
        (first.step, late.step),
        ("accept", "withdraw") | ("withdraw", "accept")
    );
    let crossed = pair
        && first.outcome == "applied"
        && first.seen == late.seen
        && on_word(first)
        && on_word(late);
    (crossed && late.outcome != "contested").then(|| {
        format!(
            "{} crossed {} and was {} instead of contested",
            late.step, first.step, late.outcome
        )
    })
}
