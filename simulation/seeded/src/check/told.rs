//! What the office tells of what it did: the audit trail names every act and every change, those concerned hear of them, and nothing is left behind
//! where two cards become one.
//!
//! In: the journal's acts, what the office kept of them. Where the store was restored, acts before that are not asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::{
    About, Finding,
    bytes::Document,
    ledger::{Decision, Ledger},
    rules,
};
use crate::{
    engine::Story,
    journal::Event,
    office::{Act, Acted, Looked, desk},
};

const TRAIL: &str = "the audit trail tells every act";
pub(super) const NOTICES: &str = "those concerned are told";
const MERGES: &str = "two cards become one";
/// The office keeps notices for 30 days; clocks may be off by hours.
const NOTICE_DAYS: i64 = 28;

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    changes(story, ledger, found);
    held(story, ledger, found);
    acts(story, ledger, found);
    readings(story, ledger, found);
    decisions(story, ledger, found);
    merges(story, ledger, documents, found);
}

/// Acts that were carried out since the store was last restored, with their lines.
pub(super) fn done<'s>(
    story: &'s Story,
    ledger: &Ledger,
) -> impl Iterator<Item = (usize, &'s Act)> {
    let from = ledger.restores.last().map_or(0, |at| at + 1);
    let lines = story.journal.lines.iter().enumerate().skip(from);
    lines.filter_map(|(at, line)| match &line.event {
        Event::Acted {
            act,
            acted: Acted::Done,
        } => Some((at, act)),
        _ => None,
    })
}

/// Who had edits held is told with how many.
fn held(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    // A restored store lost what it told.
    if !ledger.restores.is_empty() {
        return;
    }
    let mut held: BTreeMap<&str, u64> = BTreeMap::new();
    for answer in ledger.answers.values().flatten() {
        if let Some(user) = ledger.users.get(&answer.device)
            && answer.status == "held"
        {
            *held.entry(user).or_default() += 1;
        }
    }
    for (user, times) in held {
        let of = |event: &&Value| event["action"] == "content" && event["username"] == user;
        let told = story.evidence.told.iter().filter(of);
        let told: u64 = told
            .filter_map(|event| event["detail"]["held"].as_u64())
            .sum();
        if told != times {
            let what = format!("{times} edits of {user} were held, and {told} are told");
            found.push(Finding::new(TRAIL, About::default(), what));
        }
    }
}

/// The log's changes, each named by an event; by its author's where a phone pushed it.
fn changes(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    let mut named: BTreeMap<u64, (Uuid, String)> = BTreeMap::new();
    let wrong = |about, what: String| Finding::new(TRAIL, about, what);
    for event in &story.evidence.told {
        let detail = &event["detail"];
        let id = |value: &Value| value.as_str().and_then(|id| id.parse::<Uuid>().ok());
        let rebuilt: BTreeSet<_> = list(&detail["rebuilt"]).filter_map(id).collect();
        named.retain(|_, (record, _)| !rebuilt.contains(record));
        let by_phone = ["submit", "resubmit", "withdraw"].map(Value::from);
        if event["action"] == "ruling"
            && by_phone.contains(&detail["type"])
            && detail["by"].is_null()
        {
            let what = format!("on whose event it was ruled is not told: {detail}");
            found.push(wrong(About::default(), what));
        }
        for change in list(&detail["changes"]) {
            let (Some(seq), Some(record), Some(hash)) =
                (change[0].as_u64(), id(&change[1]), change[2].as_str())
            else {
                continue;
            };
            let known = ledger.arrived.get(&(record, hash.to_owned()));
            let author = known.and_then(|known| ledger.users.get(&known.said.device));
            if event["action"] == "content"
                && author.is_some_and(|author| event["username"] != author.as_str())
            {
                let what = format!(
                    "{hash} of {record} is told as by {}, and {author:?} pushed it",
                    event["username"]
                );
                found.push(wrong(About::record(record).hash(hash), what));
            }
            named.insert(seq, (record, hash.to_owned()));
        }
    }
    for line in &story.evidence.log {
        let Some(hash) = line.hash.as_ref().filter(|_| line.what == "change") else {
            continue;
        };
        if named.get(&line.seq) != Some(&(line.record, hash.clone())) {
            let what = format!(
                "number {} of the log is {hash} of {}, and the trail says {:?}",
                line.seq,
                line.record,
                named.get(&line.seq)
            );
            found.push(wrong(About::record(line.record).hash(hash), what));
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Acts at desks, each with its event.
fn acts(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    let mut expected: BTreeMap<(&str, Option<Uuid>), usize> = BTreeMap::new();
    for (_, act) in done(story, ledger) {
        let event = match act {
            Act::Edit { record, .. } | Act::Create { record, .. } | Act::Step { record, .. } => {
                ("desk_edit", Some(*record))
            }
            Act::Resolve { record, .. } => ("resolution", Some(*record)),
            Act::UndoChoice { record, .. } => ("resolution_undone", Some(*record)),
            Act::UndoMerge { winner, .. } => ("merge_undo", Some(*winner)),
            Act::Held { accept: true, .. } | Act::HeldAsEdit { .. } => ("held_accept", None),
            Act::ResolveSpelling => ("resolution", None),
            Act::Held { accept: false, .. } => ("held_refuse", None),
            Act::Move { .. } => ("card_moved", None),
            Act::Merge { winner, .. } => ("merge", Some(*winner)),
            Act::JoinContacts { record, .. } => ("merge", Some(*record)),
            Act::PartContacts { record, .. } => ("merge_undo", Some(*record)),
            Act::Compact { record } => ("compact", Some(*record)),
            // Asked again, it is the same erasure.
            Act::Erase { record } => {
                expected.insert(("erase", Some(*record)), 1);
                continue;
            }
            Act::Redact { record, .. } | Act::RedactMember { record, .. } => {
                expected.insert(("redact", Some(*record)), 1);
                continue;
            }
            _ => continue,
        };
        *expected.entry(event).or_default() += 1;
    }
    for ((action, record), times) in expected {
        let of = record.map(|record| record.to_string());
        let is_one = |event: &&Value| {
            event["action"] == action
                && (of.is_none() || event["record"].as_str() == of.as_deref())
                && (action == "compact" || event["username"].is_string())
        };
        let told = story.evidence.told.iter().filter(is_one).count();
        if told < times {
            let about = record.map_or_else(About::default, About::record);
            let what = format!("{action} was done {times} times and is told {told} times");
            found.push(Finding::new(TRAIL, about, what));
        }
    }
}

/// Whose phone shows a party status that somebody else wrote has read it, and the trail says so.
fn readings(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    if !ledger.restores.is_empty() {
        return;
    }
    let read: BTreeSet<&str> = story
        .evidence
        .told
        .iter()
        .filter(|event| event["action"] == "read_p3")
        .filter_map(|event| event["username"].as_str())
        .collect();
    for phone in story.phones.iter().filter(|phone| !phone.gone) {
        let foreign = |device: &Uuid| {
            ledger
                .users
                .get(device)
                .is_some_and(|user| *user != phone.username)
        };
        let shown = phone.records.iter().find(|(_, record)| {
            record.fields.iter().any(|(key, values)| {
                key.ends_with("/party_status") && values.iter().any(|one| foreign(&one.device))
            })
        });
        if let Some((record, _)) = shown.filter(|_| !read.contains(phone.username.as_str())) {
            let what = format!(
                "{} has read a party status on {record}, and no event says so",
                phone.username
            );
            found.push(Finding::new(TRAIL, About::record(*record), what));
        }
    }
}

/// Whether something of this moment is so young that no pass has thrown its notice away.
pub(super) fn is_young(story: &Story, at_unix_ms: i64) -> bool {
    let end = story.journal.lines.last().map_or(0, |line| line.at_unix_ms);
    end - at_unix_ms < NOTICE_DAYS * 86_400_000
}

/// Whoever had an edit held hears what a reviewer decided: at the office, and on every phone that was theirs since.
fn decisions(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    for ((record, hash), decision) in &ledger.now.decided {
        let Decision {
            user,
            accepted,
            line,
        } = decision;
        let kind = if *accepted {
            "held_accepted"
        } else {
            "held_refused"
        };
        let note = (!accepted).then_some(desk::HELD_REASON);
        let is_kept = story.evidence.notices.iter().any(|notice| {
            (
                notice.username.as_str(),
                notice.kind.as_str(),
                notice.record,
            ) == (user, kind, *record)
                && notice.hash.as_ref() == Some(hash)
                && notice.note.as_deref() == note
        });
        if !is_kept && is_young(story, story.journal.lines[*line].at_unix_ms) {
            let what = format!("{user} is not told {kind} of {hash} of {record}");
            let about = About::record(*record).hash(hash);
            found.push(Finding::new(NOTICES, about, what));
        }
    }
    for (_, act) in done(story, ledger) {
        if let Act::Edit {
            looked: Looked::Before,
            record,
            ..
        } = act
        {
            let what = format!("{record} was edited by somebody who had looked at something else");
            let about = About::record(*record);
            found.push(Finding::new("authority is never crossed", about, what));
        }
        if let Act::HeldAgain { .. } = act {
            let what = "a held edit that was decided is decided a second time";
            found.push(Finding::new(
                "what was decided is final",
                About::default(),
                what,
            ));
        }
    }
    // A phone forgets what it was told of a record that is forgotten in part.
    let forgotten = |record: &Uuid| {
        ledger.ever_erased.contains(record) || ledger.ever_redacted.contains_key(record)
    };
    if !ledger.restores.is_empty() {
        return;
    }
    for phone in story
        .phones
        .iter()
        .filter(|phone| !phone.gone && !phone.was_older)
    {
        let enrolled = story.journal.lines.iter().rposition(
            |line| matches!(&line.event, Event::Enrolled { phone: of, .. } | Event::Cloned { phone: of, .. } if *of == phone.phone),
        );
        let enrolled = enrolled.unwrap_or_default();
        for notice in story
            .evidence
            .notices
            .iter()
            .filter(|notice| notice.username == phone.username && !forgotten(&notice.record))
        {
            // Told of what was pushed or decided before the phone was this user's: it may be too old for it.
            let made_by = notice.hash.as_ref().and_then(|hash| {
                ledger
                    .arrived
                    .get(&(notice.record, hash.clone()))
                    .map(|arrived| arrived.line)
            });
            if made_by.is_none_or(|line| line < enrolled) {
                continue;
            }
            let is_there = phone.notices.iter().any(|(kind, record, hash)| {
                (kind, record, hash) == (&notice.kind, &notice.record, &notice.hash)
            });
            if !is_there {
                let what = format!(
                    "phone {} of {} does not have {} of {}",
                    phone.phone.0, phone.username, notice.kind, notice.record
                );
                found.push(Finding::new(NOTICES, About::record(notice.record), what));
            }
        }
    }
}

/// A merged card says where it went, and what it says of people is said on the card that goes on, whenever it was written; until it is undone.
fn merges(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    // Where each merged card went, and how often merges of a pair were taken back.
    let mut away: BTreeMap<Uuid, Option<Uuid>> = BTreeMap::new();
    let mut undone: BTreeMap<(Uuid, Uuid), usize> = BTreeMap::new();
    let mut merged: BTreeMap<Uuid, usize> = BTreeMap::new();
    let mut wrong = |card: Uuid, what: String| {
        found.push(Finding::new(MERGES, About::record(card), what));
    };
    for (_, act) in done(story, ledger) {
        match act {
            Act::Merge { winner, loser } => {
                for card in [winner, loser] {
                    if away.get(card).copied().flatten().is_some() {
                        wrong(*card, format!("{card} is merged again after it went away"));
                    }
                    *merged.entry(*card).or_default() += 1;
                }
                away.insert(*loser, Some(*winner));
            }
            Act::UndoMerge { winner, loser } => {
                *undone.entry((*winner, *loser)).or_default() += 1;
                away.insert(*loser, None);
            }
            _ => {}
        }
    }
    for (loser, winner) in &away {
        let Some(lost) = documents.get(loser) else {
            continue;
        };
        let went = lost.text("merged_into");
        if went != winner.map(|winner| winner.to_string()).as_deref() {
            wrong(
                *loser,
                format!("{loser} went into {winner:?} and says {went:?}"),
            );
        }
        let Some(winner) = winner else { continue };
        let rows = story.evidence.merges.iter();
        let mut rows = rows.filter(|row| row.winner == *winner && row.loser == *loser);
        if !rows.any(|row| !row.is_undone) {
            wrong(
                *loser,
                format!("that {loser} went into {winner} is not remembered"),
            );
        }
        let (Some(won), false) = (
            documents.get(winner),
            ledger.rewritten.contains(winner) || ledger.rewritten.contains(loser),
        ) else {
            continue;
        };
        // It may have gone on from there.
        let (mut end, mut chain) = (*winner, BTreeSet::from([*loser, *winner]));
        while let Some(next) = away.get(&end).copied().flatten()
            && chain.insert(next)
        {
            end = next;
        }
        let at_end = documents
            .get(&end)
            .filter(|_| chain.iter().all(|card| !ledger.rewritten.contains(card)))
            .unwrap_or(won);
        for (key, values) in lost.fields.iter().filter(|(key, _)| key.ends_with("/name")) {
            for (_, value) in values {
                if !won.wrote(value) || !at_end.wrote(value) {
                    let what = format!(
                        "{key} = {value:?} of {loser} is not on {winner}, or not on {end}, in which it goes on"
                    );
                    wrong(*loser, what);
                }
            }
        }
    }
    for (loser, winner) in away
        .iter()
        .filter_map(|(loser, winner)| Some((loser, (*winner)?)))
    {
        let (Some(won), Some(lost)) = (documents.get(&winner), documents.get(loser)) else {
            continue;
        };
        let named = |document: &Document, entry: &str| {
            let name = format!("contacts/{entry}/name");
            let mut writes = document.changes.iter().flat_map(|change| &change.writes);
            document.fields.contains_key(&name) || writes.any(|write| write.key == name)
        };
        let contacts = won.fields.keys().filter(|key| key.starts_with("contacts/"));
        let entries: BTreeSet<_> = contacts.filter_map(|key| rules::entry(key)).collect();
        for entry in entries {
            if !named(won, entry) && lost.fields.contains_key(&format!("contacts/{entry}/name")) {
                wrong(
                    *loser,
                    format!("half of a person of {loser} is on {winner}: {entry}"),
                );
            }
        }
    }
    for ((winner, loser), times) in &undone {
        let rows = story.evidence.merges.iter();
        let rows = rows.filter(|row| row.winner == *winner && row.loser == *loser && row.is_undone);
        let (Some(won), Some(lost), kept) =
            (documents.get(winner), documents.get(loser), rows.count())
        else {
            continue;
        };
        if kept < *times {
            wrong(
                *loser,
                format!(
                    "{times} merges with {winner} were taken back, and {kept} are known as such"
                ),
            );
        }
        // What people wrote on the card that went on stays there.
        let only = merged.get(winner) == Some(&1) && away.get(loser) == Some(&None);
        let card = ledger.now.cards.get(winner);
        let written = || card.into_iter().flat_map(|card| card.puts.values());
        let own = |value: &str| written().any(|put| put.value == value);
        let of_contacts = |key: &&String| key.starts_with("contacts/");
        // A person whom the merge brought and somebody has written about since stays whole.
        let written_since = |key: &str| {
            let entry = rules::entry(key);
            written().any(|put| rules::entry(&put.key) == entry)
        };
        let stays = |key: &str, value: &str| {
            let shown = won.fields.iter().filter(|(key, _)| of_contacts(key));
            rules::is_typed(value)
                && !own(value)
                && !written_since(key)
                && shown
                    .filter(|(one, _)| one.rsplit('/').next() == key.rsplit('/').next())
                    .flat_map(|(_, values)| values)
                    .any(|(_, one)| one == value)
        };
        let brought = lost.fields.iter().filter(|(key, _)| of_contacts(key));
        for (key, values) in brought.filter(|_| only) {
            for (_, value) in values.iter().filter(|(_, value)| stays(key, value)) {
                wrong(
                    *winner,
                    format!(
                        "{value:?} of {loser} is on {winner} although the merge was taken back"
                    ),
                );
            }
        }
    }
}
