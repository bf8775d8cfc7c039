//! What was erased, redacted or sealed is nowhere: not in what the office stores, not in any phone's file.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::successors,
};

use uuid::Uuid;

use super::{
    About, Finding,
    bytes::{Document, OpId},
    ledger::Ledger,
    rules,
};
use crate::{
    engine::Story,
    journal::{Did, Event},
};

/// Shorter values, and those that are words of the catalogue, are found everywhere.
const CHARS_MIN: usize = 3;

pub fn check(
    story: &Story,
    ledger: &Ledger,
    documents: &BTreeMap<Uuid, Document>,
    found: &mut Vec<Finding>,
) {
    let mut gone: Vec<(About, &str, bool)> = Vec::new();
    let mut kept: BTreeSet<&str> = BTreeSet::new();
    for line in &story.journal.lines {
        let Event::Saved { record, did, .. } = &line.event else {
            continue;
        };
        for did in did {
            let (key, value) = match did {
                Did::Put { key, value } => (key, value),
                Did::Note { text } if ledger.now.erased.contains_key(record) => {
                    let about = About::record(*record).key("note");
                    gone.extend(
                        text.split_whitespace()
                            .filter(|word| !word.is_ascii())
                            .map(|word| (about.clone().value(word), word, true)),
                    );
                    continue;
                }
                Did::Delete { .. } | Did::Note { .. } => continue,
            };
            if let Some(date) = key.strip_prefix("confirmations/") {
                // A day may be written on many cards.
                kept.insert(date);
            }
            // Who went along is named by the key.
            let value = key.strip_prefix("companions/").unwrap_or(value);
            if value.len() < CHARS_MIN || !rules::is_typed(value) || rules::once(key) {
                continue;
            }
            let about = || About::record(*record).key(key).value(value);
            let redacted = ledger.now.redacted.get(record);
            let gone_part =
                |part: &str| redacted.is_some_and(|redacted| redacted.contains_key(part));
            // What was joined into another contact is that one's as well.
            let joined = ledger.now.joined.get(record);
            let into = |entry: &&str| Some(joined?.get(*entry)?.as_str());
            let chain_max = 1 + joined.map_or(0, BTreeMap::len);
            let chain = |entry| successors(Some(entry), into).take(chain_max);
            let is_gone = |entry| gone_part(entry) && chain(entry).last().is_some_and(gone_part);
            let is_redacted = rules::entry(key).is_some_and(is_gone) || gone_part(key);
            let sealed = rules::SEALED.contains(&key.as_str())
                && story
                    .evidence
                    .records
                    .get(record)
                    .is_some_and(|kept| kept.generation > 1 && !kept.fields.contains_key(key));
            if ledger.now.erased.contains_key(record) || is_redacted {
                gone.push((about(), value, true));
            } else if sealed {
                gone.push((about(), value, false));
            } else {
                kept.insert(value);
            }
        }
    }
    for (record, document) in documents {
        let Some(redacted) = ledger.now.redacted.get(record) else {
            continue;
        };
        let is_theirs = |(key, values): &(&String, &Vec<(OpId, String)>)| {
            rules::entry(key).is_some_and(|entry| redacted.contains_key(entry))
                || values.iter().any(|(_, value)| redacted.contains_key(value))
        };
        if let Some((key, _)) = document.fields.iter().find(is_theirs) {
            let what = format!("{key} of {record} is about a person who was redacted");
            let about = About::record(*record).key(key);
            found.push(Finding::new("erased data is nowhere", about, what));
        }
    }
    for (about, value, at_the_office) in gone {
        // The same text on another record is that one's; and a merge carries values over, which a choice there remembers as long as its record stands.
        let carried = documents.values().any(|document| says(document, value));
        let remembered = story.evidence.choices.iter().any(|choice| {
            let mut values = choice.replaced.iter().map(|(value, _)| value);
            Some(choice.record) != about.record
                && (choice.chosen.as_deref() == Some(value) || values.any(|old| old == value))
        });
        if kept.contains(value) || carried || remembered {
            continue;
        }
        if at_the_office && holds(&story.evidence.stored, value) {
            let what = format!("{value:?} was erased, and the office still stores it");
            found.push(Finding::new("erased data is nowhere", about.clone(), what));
        }
        for phone in story.phones.iter().filter(|phone| !phone.gone) {
            // What the user wrote since and has not settled is theirs.
            let own = phone
                .outbox
                .iter()
                .map(|(_, _, _, did)| did)
                .chain(phone.drafts.iter().map(|(_, _, did)| did))
                .flatten();
            let waits = !at_the_office
                && own
                    .into_iter()
                    .any(|did| matches!(did, Did::Put { value: own, .. } if own == value));
            if !waits && holds(&phone.file, value) {
                let what = format!(
                    "{value:?} was erased, and phone {} still has it in its file",
                    phone.phone.0
                );
                found.push(Finding::new("erased data is nowhere", about.clone(), what));
            }
        }
    }
}

/// Whether a record that is left says it, now or in its history. What was on a card that was merged may be on the other as well: the office is told so,
/// and forgets it there.
fn says(document: &Document, value: &str) -> bool {
    document.wrote(value)
        || document
            .changes
            .iter()
            .any(|change| change.typed.contains(value))
}

/// Whether the text stands in the bytes, and not as the beginning of a longer number.
pub fn holds(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    let mut from = 0;
    while let Some(at) = find(&bytes[from..], text) {
        let end = from + at + text.len();
        if !bytes.get(end).is_some_and(u8::is_ascii_digit)
            || !text.last().is_some_and(u8::is_ascii_digit)
        {
            return true;
        }
        from += at + 1;
    }
    false
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let first = *text.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(text) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_and_not_as_part_of_a_number() {
        assert!(holds(b"xx v17 yy", "v17") && holds(b"v17", "v17") && holds(b"v170 v17", "v17"));
        assert!(!holds(b"v170 v1", "v17") && !holds(b"", "v17"));
    }
}
