//! What the office in memory can be asked when all is quiet.

use std::collections::BTreeMap;

use lianka_office_core::{
    audit::Event,
    memory::{Held, Kept, LogEntry, MemoryStore, Settled},
    store::{CardMerge, ContactJoin, HeldStatus, Logged},
};
use lianka_sync_core::{codec::wire::Notice, crdt::record::Record, id::RecordId, kinds};
use serde_json::json;
use uuid::Uuid;

use crate::{
    office::{
        ChoiceLine, Evidence, HeldLine, JoinLine, LogLine, MergeLine, NoticeLine, OfficeRecord,
        desk, sealed, shown,
    },
    reading::won,
};

/// Everything that can be asked.
pub fn of(store: &MemoryStore) -> Evidence {
    Evidence {
        epoch: store.epoch,
        head: store.head.unsigned_abs(),
        log: store
            .log
            .iter()
            .map(|(seq, entry)| line(*seq, entry))
            .collect(),
        records: store
            .records
            .iter()
            .map(|(id, kept)| (id.0, record(store, *id, kept)))
            .collect(),
        held: held_lines(store),
        conflicts: conflicts(store),
        notices: notices(store),
        choices: choices(store),
        merges: merges(store),
        joins: joins(store),
        told: store.events.iter().map(told).collect(),
        audit: Vec::new(),
        rows_differ: store
            .records
            .iter()
            .find_map(|(id, kept)| differs(store, *id, kept)),
        stored: stored(store),
    }
}

fn line(seq: i64, entry: &LogEntry) -> LogLine {
    LogLine {
        seq: seq.unsigned_abs(),
        what: entry.what.as_str().to_owned(),
        record: entry.record.0,
        hash: entry.what.change().map(|change| change.hash.to_string()),
    }
}

fn record(store: &MemoryStore, record: RecordId, kept: &Kept) -> OfficeRecord {
    let view = kept.state.view();
    OfficeRecord {
        kind: kept.state.kind().as_str().to_owned(),
        grid: kept.grid.clone(),
        generation: kept.state.generation(),
        fields: shown(&view),
        won: won(&view),
        sealed: sealed(
            store
                .personal
                .get(&record)
                .into_iter()
                .flat_map(BTreeMap::values),
        ),
        document: store.document(record).unwrap_or_default(),
    }
}

fn held_lines(store: &MemoryStore) -> Vec<HeldLine> {
    let line = |held: &Held| HeldLine {
        record: held.write.record.0,
        hash: held.write.hash.to_string(),
        status: match held.status {
            HeldStatus::Held => "held",
            HeldStatus::Accepted => "accepted",
            HeldStatus::Refused => "refused",
        }
        .to_owned(),
        note: held.note.clone(),
    };
    let mut lines: Vec<_> = store.held.iter().map(line).collect();
    lines.sort();
    lines
}

fn conflicts(store: &MemoryStore) -> Vec<(Uuid, String)> {
    let of = |(record, kept): (&RecordId, &Kept)| {
        let view = kept.state.view();
        kinds::conflicts(&view)
            .map(|(key, _)| (record.0, key.to_owned()))
            .collect::<Vec<_>>()
    };
    let mut conflicts: Vec<_> = store.records.iter().flat_map(of).collect();
    conflicts.sort();
    conflicts
}

fn notices(store: &MemoryStore) -> Vec<NoticeLine> {
    let of = |(username, notices): (&String, &Vec<Notice>)| {
        let line = |notice: &Notice| NoticeLine {
            username: username.clone(),
            kind: notice.kind.clone(),
            record: notice.record.0,
            field: notice.field.clone(),
            hash: notice.hash.map(|hash| hash.to_string()),
            note: notice.note.clone(),
        };
        notices.iter().map(line).collect::<Vec<_>>()
    };
    let mut notices: Vec<_> = store.notices.iter().flat_map(of).collect();
    notices.sort();
    notices
}

fn choices(store: &MemoryStore) -> Vec<ChoiceLine> {
    let line = |settled: &Settled| {
        let write = &settled.write;
        let replaced = write.replaced.iter();
        ChoiceLine {
            record: write.record.0,
            field: write.field.clone(),
            hash: write.hash.to_string(),
            at_unix_ms: settled.at.unix_ms(),
            source: write.source.to_owned(),
            username: write.username.clone(),
            chosen: write.chosen.as_ref().map(desk::text),
            replaced: replaced
                .map(|value| (desk::text(&value.value), value.username.clone()))
                .collect(),
            is_undone: settled.is_undone,
            is_bulk: write.bulk.is_some(),
        }
    };
    let mut choices: Vec<_> = store.resolutions.iter().map(line).collect();
    choices.sort();
    choices
}

fn merges(store: &MemoryStore) -> Vec<MergeLine> {
    let line = |merge: &CardMerge| MergeLine {
        winner: merge.winner.0,
        loser: merge.loser.0,
        is_undone: merge.undone.is_some(),
    };
    let mut merges: Vec<_> = store.merges.values().map(line).collect();
    merges.sort();
    merges
}

fn joins(store: &MemoryStore) -> Vec<JoinLine> {
    let line = |join: &ContactJoin| JoinLine {
        record: join.record.0,
        kept: join.same.kept.0,
        gone: join.same.gone.0,
        is_undone: join.undone.is_some(),
    };
    let mut joins: Vec<_> = store.joins.values().map(line).collect();
    joins.sort();
    joins
}

fn told(event: &Event) -> serde_json::Value {
    json!({
        "username": event.username,
        "action": event.action.as_str(),
        "record": event.record.map(|record| record.0),
        "detail": event.detail,
    })
}

/// Where Automerge reads a record otherwise than the fold does.
fn differs(store: &MemoryStore, record: RecordId, kept: &Kept) -> Option<String> {
    let document = store.document(record).unwrap_or_default();
    match Record::load(&document).and_then(|mut document| Ok((document.heads(), document.view()?)))
    {
        Ok((heads, view)) if heads == kept.state.heads() && view == kept.state.view() => None,
        Ok((heads, _)) if heads != kept.state.heads() => Some(format!("{record}: heads")),
        Ok(_) => Some(format!("{record}: values")),
        Err(error) => Some(format!("{record}: {error}")),
    }
}

/// Every byte that is kept outside the audit trail.
fn stored(store: &MemoryStore) -> Vec<u8> {
    let mut stored = Vec::new();
    for kept in store.records.values() {
        stored.extend(kept.state.to_bytes());
        stored.extend(&kept.snapshot.1);
    }
    for entry in store.log.values() {
        if let Logged::Change(change) = &entry.what {
            stored.extend(&change.bytes);
        }
    }
    for held in &store.held {
        stored.extend(&held.write.bytes);
        stored.extend(held.note.as_deref().unwrap_or_default().as_bytes());
        stored.push(b'\n');
    }
    let resolutions = store.resolutions.iter();
    let mut say = |text: String| {
        stored.extend(text.as_bytes());
        stored.push(b'\n');
    };
    resolutions.for_each(|settled| say(json!(settled.write).to_string()));
    for fields in store.personal.values().flat_map(|of| of.values()) {
        fields.values().flatten().cloned().for_each(&mut say);
    }
    for notice in store.notices.values().flatten() {
        say(format!("{notice:?}"));
    }
    for merge in store.merges.values() {
        say(format!("{merge:?}"));
    }
    for join in store.joins.values() {
        say(format!("{join:?}"));
    }
    for receipt in &store.receipts {
        say(format!("{receipt:?}"));
    }
    stored
}
