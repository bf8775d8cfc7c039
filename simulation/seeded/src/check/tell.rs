//! A journal as prose, whole or as the story of one edit.

use uuid::Uuid;

use super::{About, bytes};
use crate::{
    journal::{Did, Event, Journal, Line},
    office::{Act, Acted},
};

/// Lines of the journal that explain a finding: those about its value or its change, failing that about its key, and what befell phones and
/// office on the way.
pub fn story(journal: &Journal, about: &About) -> String {
    let narrow = about.value.is_some() || about.hash.is_some();
    let concerns = |line: &&(usize, &Line)| concerns(&line.1.event, about, narrow);
    let lines: Vec<_> = journal.lines.iter().enumerate().collect();
    lines
        .iter()
        .filter(concerns)
        .map(|(at, line)| told(*at, line))
        .collect()
}

/// The whole journal.
pub fn all(journal: &Journal) -> String {
    journal
        .lines
        .iter()
        .enumerate()
        .map(|(at, line)| told(at, line))
        .collect()
}

fn concerns(event: &Event, about: &About, narrow: bool) -> bool {
    let of_record = |record: Uuid| about.record.is_none_or(|of| of == record);
    let says = |did: &Did| match did {
        Did::Put { key, value } => {
            if narrow {
                about.value.as_ref() == Some(value)
                    || (about.value.is_none() && about.key.as_ref() == Some(key))
            } else {
                about.key.as_ref().is_none_or(|of| of == key)
            }
        }
        Did::Delete { key } => about.key.as_ref().is_none_or(|of| of == key),
        Did::Note { .. } => about.key.as_deref().is_none_or(|of| of == "note"),
    };
    match event {
        Event::Saved {
            record,
            did,
            hash,
            creating,
            ..
        } => {
            of_record(*record)
                && (*creating || did.iter().any(says) || (hash.is_some() && *hash == about.hash))
        }
        Event::NotSaved { record, .. } => {
            !narrow && about.record.is_some() && *record == about.record
        }
        Event::Arrived { record, bytes, .. } => {
            of_record(*record)
                && bytes::change(bytes).is_some_and(|said| concerns_change(&said, about))
        }
        Event::Verdict { record, hash, .. } => {
            of_record(*record) && (about.hash.is_none() || about.hash.as_ref() == Some(hash))
        }
        Event::DraftDropped { record, did, .. } => of_record(*record) && did.iter().any(says),
        Event::Answered { .. }
        | Event::OfficeClock { .. }
        | Event::Looked { .. }
        | Event::Tended => false,
        Event::Acted { act, acted } => *acted == Acted::Done && acts_on(act, about),
        Event::Enrolled { .. }
        | Event::Cloned { .. }
        | Event::PhoneCrashed { .. }
        | Event::PhoneLost { .. }
        | Event::Wiped { .. } => true,
    }
}

fn concerns_change(said: &bytes::Said, about: &About) -> bool {
    about.hash.as_ref() == Some(&said.hash)
        || (about.value.is_none() && about.key.is_none() && about.hash.is_none())
        || said
            .writes
            .iter()
            .any(|write| match (&about.value, &about.key) {
                (Some(value), _) => write.value.as_ref() == Some(value),
                (None, Some(key)) => write.key == *key,
                (None, None) => false,
            })
}

fn acts_on(act: &Act, about: &About) -> bool {
    let is = |record: &Uuid| about.record.is_none_or(|of| of == *record);
    match act {
        Act::Edit { record, .. }
        | Act::Create { record, .. }
        | Act::RedactMember { record, .. }
        | Act::Resolve { record, .. }
        | Act::UndoChoice { record, .. }
        | Act::Erase { record }
        | Act::Redact { record, .. }
        | Act::JoinContacts { record, .. }
        | Act::PartContacts { record, .. }
        | Act::Step { record, .. }
        | Act::PrepareCompaction { record }
        | Act::Compact { record } => is(record),
        Act::Move { records, .. } => records.iter().any(is),
        Act::WriteRows { rows, .. } => rows.iter().any(|row| is(&row.record())),
        Act::Merge { winner, loser } | Act::UndoMerge { winner, loser } => is(winner) || is(loser),
        Act::Enrol { .. } => false,
        Act::Assign { .. }
        | Act::Role { .. }
        | Act::Revoke { .. }
        | Act::ResolveSpelling
        | Act::Held { .. }
        | Act::HeldAsEdit { .. }
        | Act::HeldAgain { .. }
        | Act::UndoRows { .. }
        | Act::Backup
        | Act::Restore
        | Act::Failover
        | Act::Restart => true,
    }
}

fn told(at: usize, line: &Line) -> String {
    format!(
        "{at:>5}  {}  {}\n",
        time(line.at_unix_ms),
        words(&line.event)
    )
}

fn time(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1_000);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    format!(
        "day {days} {:02}:{:02}:{:02}.{:03}",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60,
        unix_ms.rem_euclid(1_000)
    )
}

fn short(id: Uuid) -> String {
    let text = id.simple().to_string();
    text[text.len() - 8..].to_owned()
}

fn hash_of(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

fn deeds(did: &[Did]) -> String {
    let one = |did: &Did| match did {
        Did::Put { key, value } => format!("{key} = {value:?}"),
        Did::Delete { key } => format!("{key} deleted"),
        Did::Note { text } => format!("note {text:?}"),
    };
    did.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// One event in words.
pub fn words(event: &Event) -> String {
    match event {
        Event::Enrolled {
            phone,
            username,
            device,
        } => format!(
            "phone {} of {username} is enrolled as {}",
            phone.0,
            short(*device)
        ),
        Event::Cloned { phone, from } => format!("phone {} is a copy of phone {}", phone.0, from.0),
        Event::Saved {
            phone,
            record,
            creating,
            kind,
            did,
            hash,
            ..
        } => {
            let verb = if *creating {
                format!("creates a {kind}")
            } else {
                "edits".into()
            };
            let hash = hash.as_deref().map_or("nothing to send", hash_of);
            format!(
                "phone {} {verb} {}: {} ({hash})",
                phone.0,
                short(*record),
                deeds(did)
            )
        }
        Event::NotSaved {
            phone,
            record,
            code,
        } => {
            format!(
                "phone {} refuses an edit of {}: {code}",
                phone.0,
                record.map_or("a new record".into(), short)
            )
        }
        Event::Arrived {
            device,
            record,
            generation,
            bytes,
        } => {
            let said = bytes::change(bytes);
            let writes = said.iter().flat_map(|said| &said.writes).map(|write| {
                let preds = if write.preds.is_empty() {
                    String::new()
                } else {
                    format!(" over {}", write.preds.len())
                };
                format!(
                    "{}={:?}{preds}",
                    write.key,
                    write.value.as_deref().unwrap_or("(deleted)")
                )
            });
            let writes: Vec<_> = writes.collect();
            let hash = said
                .as_ref()
                .map_or("unreadable", |said| hash_of(&said.hash));
            format!(
                "at the door from {}: {hash} for {} (generation {generation}): {}",
                short(*device),
                short(*record),
                writes.join(", ")
            )
        }
        Event::Verdict {
            record,
            hash,
            status,
            code,
            seq,
            ..
        } => {
            let code = code
                .as_deref()
                .map(|code| format!(" ({code})"))
                .unwrap_or_default();
            let seq = seq
                .map(|seq| format!(" as number {seq}"))
                .unwrap_or_default();
            format!(
                "the office answers about {} of {}: {status}{code}{seq}",
                hash_of(hash),
                short(*record)
            )
        }
        Event::Answered { device, items, .. } => {
            format!("the answer to {} has {items:?}", short(*device))
        }
        Event::DraftDropped { phone, record, did } => format!(
            "phone {} drops a draft of {}: {}",
            phone.0,
            short(*record),
            deeds(did)
        ),
        Event::PhoneCrashed { phone } => format!("phone {} loses power", phone.0),
        Event::PhoneLost { phone } => format!("phone {} is lost for good", phone.0),
        Event::Wiped { phone } => format!("phone {} clears itself", phone.0),
        Event::Acted { act, acted } => format!("at the office: {act:?}: {acted:?}"),
        Event::Looked { look, .. } => format!("the office shows {look:?}"),
        Event::OfficeClock { by_ms } => format!("the office's clock is {by_ms} ms ahead"),
        Event::Tended => "the office's background passes run".into(),
    }
}
