//! Choices between the values of a field: each is remembered with the values that were there and their authors, replaces what was looked at and no
//! more, is told to those whose value was not chosen, and can be taken back.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    About, Finding,
    bytes::{Document, OpId},
    ledger::{Card, Ledger},
    rules,
    told::{NOTICES, done, is_young},
};
use crate::{
    engine::Story,
    journal::Event,
    office::{Act, Acted, ChoiceLine, desk},
};

const CHOICES: &str = "a choice is remembered";

/// Who is to hear of a choice: whose values were there and not chosen, but for whoever chose.
fn not_chosen(choice: &ChoiceLine) -> BTreeSet<&str> {
    let of = |chosen: bool| {
        let values = choice.replaced.iter();
        values
            .filter(move |(value, _)| (Some(value) == choice.chosen.as_ref()) == chosen)
            .filter_map(|(_, username)| username.as_deref())
            .collect::<BTreeSet<_>>()
    };
    let chosen = of(true);
    of(false)
        .into_iter()
        .filter(|user| !chosen.contains(user) && Some(*user) != choice.username.as_deref())
        .collect()
}

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    for choice in &story.evidence.choices {
        let about = || About::record(choice.record).key(&choice.field);
        let notices = |kind: &str, of_hash: bool| -> BTreeSet<&str> {
            let notices = story.evidence.notices.iter();
            notices
                .filter(|notice| {
                    notice.kind == kind
                        && notice.record == choice.record
                        && notice.field.as_ref() == Some(&choice.field)
                        && (!of_hash || notice.hash.as_ref() == Some(&choice.hash))
                })
                .map(|notice| notice.username.as_str())
                .collect()
        };
        let told = notices("value_not_chosen", true);
        let expected = not_chosen(choice);
        let lacks = !told.is_superset(&expected) && is_young(story, choice.at_unix_ms);
        if lacks || !told.is_subset(&expected) {
            let what = format!(
                "of the choice of {:?} for {} of {} {told:?} are told, and {expected:?} are concerned",
                choice.chosen, choice.field, choice.record
            );
            found.push(Finding::new(NOTICES, about(), what));
        }
        let again = notices("resolution_undone", false);
        // Choices are undone by the reviewer, who knows.
        let mut concerned = expected.clone();
        concerned.remove(desk::REVIEWER);
        if choice.is_undone && !again.is_superset(&concerned) && is_young(story, choice.at_unix_ms)
        {
            let what = format!(
                "that the choice for {} of {} was undone {again:?} are told, and {concerned:?} are concerned",
                choice.field, choice.record
            );
            found.push(Finding::new(NOTICES, about(), what));
        }
    }
    bulks(story, ledger, documents, found);
    authors(story, ledger, found);
    by_phones(story, ledger, found);
    let mut made: BTreeMap<(Uuid, &str), Made<'_>> = BTreeMap::new();
    for (line, act) in done(story, ledger) {
        match act {
            Act::Resolve {
                record,
                field,
                instead,
                looked_at,
                ..
            } => {
                let made = made.entry((*record, field)).or_default();
                made.times += 1;
                made.in_part += usize::from(looked_at.is_some());
                made.last = Some((line, *looked_at));
                made.instead = instead.as_deref();
            }
            Act::UndoChoice {
                record,
                field,
                force,
            } => {
                let made = made.entry((*record, field)).or_default();
                made.undone += 1;
                made.undo = Some((line, *force, made.last));
            }
            _ => {}
        }
    }
    for ((record, field), made) in made {
        if let (Some(card), Some(document)) =
            (ledger.now.cards.get(&record), documents.get(&record))
        {
            let kept: Vec<_> = story
                .evidence
                .choices
                .iter()
                .filter(|choice| choice.record == record && choice.field == field)
                .collect();
            let written = ledger.written(record, field);
            for what in made.broken(field, &kept, card, document, &written) {
                let about = About::record(record).key(field);
                let what = format!("{field} of {record}: {what}");
                found.push(Finding::new(CHOICES, about, what));
            }
        }
    }
}

/// The values that a choice replaced are remembered as those of whoever typed them, also where an undone choice had put them back.
fn authors(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    for choice in &story.evidence.choices {
        let Some(card) = ledger.now.cards.get(&choice.record) else {
            continue;
        };
        // What else a desk does writes values in its own name.
        let chose = |line: usize| {
            matches!(
                &story.journal.lines[line].event,
                Event::Acted {
                    act: Act::Resolve { .. } | Act::UndoChoice { .. } | Act::ResolveSpelling,
                    ..
                }
            )
        };
        let mut of_field = card.touched.iter();
        if of_field
            .any(|(key, line)| key.as_ref().is_none_or(|key| *key == choice.field) && !chose(*line))
        {
            continue;
        }
        for (value, username) in &choice.replaced {
            // Words of a list are typed by several.
            if !rules::is_typed(value) {
                continue;
            }
            // A value that was chosen stands there as the desk's.
            let mut choices = story.evidence.choices.iter();
            if choices.any(|one| {
                (one.record, &one.field, one.chosen.as_ref())
                    == (choice.record, &choice.field, Some(value))
            }) {
                continue;
            }
            let mut puts = card.puts.values();
            let put = puts.find(|put| put.key == choice.field && put.value == *value);
            let typed_by = put.and_then(|put| ledger.users.get(&put.device));
            if let Some(typed_by) = typed_by
                && username.as_ref() != Some(typed_by)
            {
                let what = format!(
                    "{value:?}, one of those that {} of {} had, is remembered as {username:?}'s and was typed by {typed_by}",
                    choice.field, choice.record
                );
                let about = About::record(choice.record).key(&choice.field).value(value);
                found.push(Finding::new(CHOICES, about, what));
            }
        }
    }
}

/// An edit of a phone that replaces several values chooses between them.
fn by_phones(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    // A restored store lost what it remembered, and what was erased or redacted takes its choices along.
    if !ledger.restores.is_empty() {
        return;
    }
    for (record, card) in &ledger.now.cards {
        if card.rewritten || ledger.ever_redacted.contains_key(record) {
            continue;
        }
        // Which accepted change replaced a value first.
        let mut first: BTreeMap<&OpId, u64> = BTreeMap::new();
        for (hash, seq) in &card.accepted {
            let arrived = ledger.arrived.get(&(*record, hash.clone()));
            let writes = arrived.into_iter().flat_map(|arrived| &arrived.said.writes);
            for op in writes.flat_map(|write| &write.preds) {
                let first = first.entry(op).or_insert(*seq);
                *first = (*first).min(*seq);
            }
        }
        for (hash, seq) in &card.accepted {
            let Some(arrived) = ledger.arrived.get(&(*record, hash.clone())) else {
                continue;
            };
            for write in &arrived.said.writes {
                let stood = write.preds.iter().filter(|op| first.get(op) == Some(seq));
                let replaced = stood.filter_map(|op| card.puts.get(op));
                let replaced: BTreeSet<_> = replaced.map(|put| put.value.as_str()).collect();
                let mut choices = story.evidence.choices.iter();
                let is_it = |choice: &ChoiceLine| {
                    choice.record == *record && choice.hash == *hash && choice.field == write.key
                };
                if replaced.len() > 1
                    && !card.touched_after(&write.key, 0)
                    && !card.may_be_withdrawn(&write.key)
                    && rules::keeps_conflicts(&write.key)
                    && !choices.any(is_it)
                {
                    let what = format!(
                        "{hash} chose between {replaced:?} for {} of {record}, and that is not remembered",
                        write.key
                    );
                    let about = About::record(*record).key(&write.key).hash(hash);
                    found.push(Finding::new(CHOICES, about, what));
                }
            }
        }
    }
}

/// What is settled many at once is spelt differently, and no more.
fn bulks(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    let done = done(story, ledger).filter(|(_, act)| **act == Act::ResolveSpelling);
    let kept = story
        .evidence
        .choices
        .iter()
        .filter(|choice| choice.is_bulk);
    // What was settled on an erased record is forgotten with it.
    if kept.clone().count() < done.count() && ledger.ever_erased.is_empty() {
        let what = "conflicts were settled at once, and no choice is remembered";
        found.push(Finding::new(CHOICES, About::default(), what));
    }
    let spelt = |value: &String| value.to_lowercase().replace(' ', "");
    // Done, or nothing to do.
    let lines = story.journal.lines.iter();
    let last = lines.enumerate().rposition(|line| {
        let from = ledger.restores.last().map_or(0, |at| at + 1);
        line.0 >= from
            && matches!(
                &line.1.event,
                Event::Acted {
                    act: Act::ResolveSpelling,
                    acted: Acted::Done | Acted::Nothing
                }
            )
    });
    if let Some(line) = last {
        for (record, card) in &ledger.now.cards {
            // Values that stood there then, and stand there still.
            let shown = documents
                .get(record)
                .and_then(|document| document.fields.get("sign_name"));
            let then = |op| card.puts.get(op).is_some_and(|put| put.line < line);
            let values: BTreeSet<_> = shown
                .into_iter()
                .flatten()
                .filter(|(op, _)| then(op))
                .collect();
            // One text, by two people, is no conflict.
            let texts: BTreeSet<_> = values.iter().map(|(_, value)| value).collect();
            let folded: BTreeSet<_> = texts.iter().map(|value| spelt(value)).collect();
            if texts.len() > 1 && folded.len() == 1 && !card.touched_after("sign_name", line) {
                let what =
                    format!("spellings were settled, and {values:?} of {record} still stand");
                let about = About::record(*record).key("sign_name");
                found.push(Finding::new(CHOICES, about, what));
            }
        }
    }
    for choice in kept {
        let values: BTreeSet<_> = choice
            .replaced
            .iter()
            .map(|(value, _)| spelt(value))
            .collect();
        if values.len() > 1 {
            let what = format!(
                "{:?} of {} were settled as one spelling",
                choice.replaced, choice.record
            );
            let about = About::record(choice.record).key(&choice.field);
            found.push(Finding::new(CHOICES, about, what));
        }
    }
}

/// The line of a choice, and how many values were looked at.
type Chosen = (usize, Option<usize>);

/// What a desk chose for a field, and took back.
#[derive(Default)]
struct Made<'a> {
    times: usize,
    /// Choices between some of the values.
    in_part: usize,
    /// The newest, with how many values were looked at.
    last: Option<Chosen>,
    /// What the newest wrote in place of all of them.
    instead: Option<&'a str>,
    undone: usize,
    /// The newest undoing, whether it was forced, and the choice before it.
    undo: Option<(usize, bool, Option<Chosen>)>,
}

impl Made<'_> {
    fn broken(
        &self,
        field: &str,
        kept: &[&ChoiceLine],
        card: &Card,
        document: &Document,
        written: &[usize],
    ) -> Vec<String> {
        let mut broken = Vec::new();
        let written =
            |from: usize, to: usize| written.iter().any(|line| *line > from && *line < to);
        let shown: Vec<&str> = document
            .fields
            .get(field)
            .into_iter()
            .flatten()
            .map(|(_, value)| value.as_str())
            .collect();
        let by_desk = kept.iter().filter(|choice| choice.source == "desk").count();
        if by_desk < self.times {
            broken.push("a choice is not remembered".to_owned());
        }
        let undone = kept.iter().filter(|choice| choice.is_undone).count();
        if undone < self.undone {
            broken.push(format!(
                "{} choices were taken back, and {undone} are known as such",
                self.undone
            ));
        }
        let small = |choice: &&&ChoiceLine| choice.source == "desk" && choice.replaced.len() <= 2;
        if kept.iter().filter(small).count() < self.in_part {
            broken.push("a choice replaced what had not been looked at".to_owned());
        }
        if let Some((line, None)) = self.last
            && !card.touched_after(field, line)
            && !written(line, usize::MAX)
            && shown.len() > 1
        {
            broken.push(format!(
                "it was settled, nobody wrote it since, and it shows {shown:?}"
            ));
        }
        if let (Some((line, _)), Some(instead)) = (self.last, self.instead)
            && !card.touched_after(field, line)
            && !written(line, usize::MAX)
            && !shown.contains(&instead)
        {
            broken.push(format!(
                "{instead:?} was written in place of all, and it shows {shown:?}"
            ));
        }
        let Some((line, forced, chosen)) = self.undo else {
            return broken;
        };
        let newest = kept
            .iter()
            .filter(|choice| choice.is_undone)
            .max_by_key(|choice| choice.at_unix_ms);
        if let (Some(newest), false, false) = (
            newest,
            card.touched_after(field, line),
            written(line, usize::MAX),
        ) {
            let mut values = newest.replaced.iter().map(|(value, _)| value.as_str());
            if let Some(lost) = values.find(|value| !shown.contains(value)) {
                broken.push(format!(
                    "the choice was taken back, and {lost:?} is not shown again"
                ));
            }
            let mut values = newest.replaced.iter().map(|(value, _)| value);
            if let Some(third) = newest.chosen.as_deref()
                && values.all(|value| value != third)
                && shown.contains(&third)
            {
                broken.push(format!(
                    "the choice was taken back, and {third:?}, which was none of the values, still stands"
                ));
            }
        }
        let by_phone = kept.iter().any(|choice| choice.source == "phone");
        if let (false, false, Some((chosen, None))) = (forced, by_phone, chosen)
            && self.undone == 1
            && written(chosen, line)
        {
            broken.push("a choice was taken back although the field was written since".to_owned());
        }
        broken
    }
}
