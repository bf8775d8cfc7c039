//! Transfers: every event is ruled on once, in the order in which it landed, and by the table.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{About, Finding, bytes::Document, ledger::Ledger, rules};
use crate::{
    engine::Story,
    journal::{Did, Event},
    office::{Act, Acted},
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
    let passes = Passes::of(story);
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
        let overdue = overdue(story, ledger, *record, &rulings, document);
        let off = passes.off_the_day(&rulings, document);
        for what in overdue.into_iter().chain(off) {
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

const DAY_MS: i64 = 86_400_000;
/// China's clock is so far ahead of the journal's.
const ZONE_MS: i64 = DAY_MS / 3;

/// Days in a state after which the clock acts, and whether only those count on which people work. From docs/transfers.md.
fn term(state: &str) -> Option<(u32, bool)> {
    Some(match state {
        "submitted" => (3, true),
        "awaiting_origin" => (10, false),
        "archive_check" => (15, false),
        "returned" => (30, false),
        _ => return None,
    })
}

/// When so many days in China after the day of a moment are over.
fn over(since_ms: i64, (days, worked): (u32, bool)) -> i64 {
    let mut day = (since_ms + ZONE_MS).div_euclid(DAY_MS);
    let mut left = days;
    while left > 0 {
        day += 1;
        left -= u32::from(!worked || is_worked(day));
    }
    (day + 1) * DAY_MS - ZONE_MS
}

/// Whether people work on a day, counted from 1970: as the notice for 2026 has it from June on, when every run begins.
fn is_worked(day: i64) -> bool {
    /// 1 June 2026, a Monday.
    const JUNE: i64 = 20_605;
    match day - JUNE {
        // 端午 from 19 June, 中秋 from 25 September, 国庆 from 1 October.
        18..=20 | 116..=118 | 122..=128 => false,
        // 20 September and 10 October, worked instead.
        111 | 131 => true,
        later => later.rem_euclid(7) < 5,
    }
}

/// The office's background passes, as far as they tell on which day the clock had to act.
struct Passes {
    at_ms: Vec<i64>,
    /// How far the office's clock was off at most.
    off_ms: i64,
}

impl Passes {
    /// Those since the store was last restored: before, they saw another history. None where the office's clock was wrong by more than minutes.
    fn of(story: &Story) -> Self {
        let mut passes = Self {
            at_ms: Vec::new(),
            off_ms: 0,
        };
        for line in &story.journal.lines {
            match &line.event {
                Event::Tended => passes.at_ms.push(line.at_unix_ms),
                Event::OfficeClock { by_ms } => passes.off_ms = passes.off_ms.max(by_ms.abs()),
                Event::Acted {
                    act: Act::Restore,
                    acted: Acted::Done,
                } => passes.at_ms.clear(),
                _ => {}
            }
        }
        if passes.off_ms > DAY_MS / 48 {
            passes.at_ms.clear();
        }
        passes
    }

    /// Where the clock acted before its day, or a pass of that day came and it did not.
    fn off_the_day(&self, rulings: &[Ruled<'_>], document: &Document) -> Vec<String> {
        let mut wrong = Vec::new();
        // The state, since when it is, and whether it was reminded of.
        let (mut state, mut since, mut reminded) = ("draft", None, false);
        let ends = rulings.iter().map(Some).chain([None]);
        for end in ends {
            let at = match end {
                Some(ruled) => ruled_at(ruled, document),
                None => Some(i64::MAX),
            };
            let acts = end.is_some_and(|ruled| {
                matches!(ruled.step, "remind" | "lapse") && ruled.outcome == "applied"
            });
            let moves = end.is_none_or(|ruled| ruled.state != state);
            if let (Some(term), Some(since), Some(at), false) = (term(state), since, at, reminded)
                && (acts || moves)
            {
                let due = over(since, term);
                if acts && at < due {
                    wrong.push(format!("the clock acted in {state} before its day"));
                }
                let mut passes = self.at_ms.iter();
                if let Some(pass) =
                    passes.find(|pass| **pass >= due + self.off_ms && **pass < at - self.off_ms)
                {
                    wrong.push(format!(
                        "{state} was over at {due}, and the clock did nothing at {pass}"
                    ));
                }
            }
            reminded |= acts;
            if let Some(ruled) = end.filter(|_| moves) {
                (state, since, reminded) = (ruled.state, at, false);
            }
        }
        wrong
    }
}

fn ruled_at(ruled: &Ruled<'_>, document: &Document) -> Option<i64> {
    let at = document.text(&format!("rulings/{}/at", ruled.event))?;
    Some(super::trail::micros(at)? / 1_000)
}

/// What the clock should have done a good while ago: reminded, let lapse, or erased a draft. Terms from docs/transfers.md, with a day or two to spare.
fn overdue(
    story: &Story,
    ledger: &Ledger,
    record: Uuid,
    rulings: &[Ruled<'_>],
    document: &Document,
) -> Option<String> {
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
    let days = (end - ruled_at(last, document)?) / DAY_MS;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::trail::micros;

    #[test]
    fn days_are_over_at_midnight_in_china() {
        let ms = |text| micros(text).unwrap() / 1_000;
        for (since, days, worked, end) in [
            ("2026-06-01T08:00:00Z", 3, true, "2026-06-04T16:00:00Z"),
            // In China it is the second already.
            ("2026-06-01T16:00:00Z", 3, true, "2026-06-05T16:00:00Z"),
            ("2026-06-05T08:00:00Z", 3, true, "2026-06-10T16:00:00Z"),
            ("2026-06-05T08:00:00Z", 10, false, "2026-06-15T16:00:00Z"),
            ("2026-06-18T08:00:00Z", 3, true, "2026-06-24T16:00:00Z"),
            ("2026-09-24T08:00:00Z", 3, true, "2026-09-30T16:00:00Z"),
            ("2026-09-30T08:00:00Z", 3, true, "2026-10-10T16:00:00Z"),
        ] {
            assert_eq!(over(ms(since), (days, worked)), ms(end), "{since}");
        }
    }
}
