//! Forgetting on request: a record, or one person on it.
//!
//! In: who asks, what for, and why (a code, so that no receipt quotes anybody). Out: the receipt. One write: the log, the read models, held
//! changes and whatever else holds something of it follow in the same transaction, or nothing happens.
//!
//! Invariants:
//! - erasure wins: whatever arrives for it later, however old, is refused and no draft of it is kept;
//! - a receipt says what was erased when and by whom, proves that it was not changed since, and holds no personal data;
//! - asking again for what is erased answers with the receipt that is there, so receipts can be applied again to a restored store.

use std::collections::BTreeSet;

use lianka_office_core::{
    store::Wants,
    street::{ForgetError, Street},
};
use lianka_sync_core::{
    codec::change::{self, Action, Change},
    crdt::{merge::RegisterState, rebuild::Forget, record::NOTE},
    id::{EntryId, RecordId, StreetCode},
    kinds::Key,
    time::ServerTime,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    audit::{self, Event},
    clock::Entropy,
    pipeline_point::{PipelinePoint, reached},
    street::{
        merge::MergeError,
        store::{
            erasures::{self, ErasureRow},
            held_changes as held,
        },
        transaction::StreetTransaction,
    },
};

/// Why something is erased: stable words. Any other text counts as the last of them and is not kept, so that no receipt quotes anybody.
pub const REASONS: [&str; 6] = [
    "subject_request",
    "consent_withdrawn",
    "purpose_ended",
    "entered_by_mistake",
    "legal_duty",
    OTHER,
];
const OTHER: &str = "other";

/// The word for a reason as it was given.
pub fn reason(text: &str) -> &'static str {
    REASONS
        .into_iter()
        .find(|reason| *reason == text)
        .unwrap_or(OTHER)
}

/// Stands for an account where the server's clock erases: a draft whose time is over.
pub const BY_CLOCK: &str = "";

/// Who asks, and why.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    pub username: &'r str,
    pub device: lianka_sync_core::id::DeviceId,
    /// One of [`REASONS`].
    pub reason: &'static str,
}

/// A person to forget.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub entry: EntryId,
    /// Whether the note goes as well, with its history.
    pub note: bool,
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Forget(#[from] ForgetError),
    #[error("there is no such record")]
    NoRecord,
    #[error("the record has no such contact person")]
    NoEntry,
}

impl From<sqlx::Error> for ErasureError {
    fn from(error: sqlx::Error) -> Self {
        Self::Merge(error.into())
    }
}

/// What was done, and where else to look.
#[derive(Debug)]
pub struct Erased {
    pub receipt: ErasureRow,
    /// Keys of the record that still hold the person's name or telephone number.
    pub mentioned_in: Vec<String>,
    /// Other records with the same entry.
    pub also_on: Vec<Uuid>,
}

/// Erases a record.
pub async fn erase(
    pool: &PgPool,
    street: &StreetCode,
    record: RecordId,
    request: &Request<'_>,
    now: ServerTime,
    entropy: &Entropy,
) -> Result<Erased, ErasureError> {
    let mut write = StreetTransaction::begin(pool, street, now).await?;
    write.load([record]).await?;
    if write.is_erased(record) {
        let (receipts, _) =
            erasures::page(write.tx(), street, Some(record.0), RECEIPTS_MAX, 0).await?;
        let receipt = receipts
            .into_iter()
            .find(|receipt| receipt.kind == ERASE)
            .ok_or(ErasureError::NoRecord)?;
        return Ok(Erased {
            receipt,
            mentioned_in: Vec::new(),
            also_on: Vec::new(),
        });
    }
    erase_in(write, record, request, entropy).await
}

/// Erases a record inside a write that looked at it first, which this ends.
pub async fn erase_in(
    mut write: StreetTransaction,
    record: RecordId,
    request: &Request<'_>,
    entropy: &Entropy,
) -> Result<Erased, ErasureError> {
    let (street, now) = (&write.street().clone(), write.now());
    let generation = write
        .state(record)
        .ok_or(ErasureError::NoRecord)?
        .generation();
    let also_on = erasures::merged_with(write.tx(), street, record).await?;
    write
        .know(Wants {
            holdings: [record].into(),
            ..Wants::default()
        })
        .await?;
    let counts = write.known().holdings.get(&record).cloned();
    let counts = counts.unwrap_or_default();
    let seq = write.erase(record)?;
    let receipt = sealed(
        ErasureRow {
            erasure: RecordId::new_v7(now.unix_ms().unsigned_abs(), entropy.bytes()).0,
            seq,
            kind: ERASE.into(),
            record: record.0,
            entry: None,
            entries: Vec::new(),
            note: false,
            reason: request.reason.into(),
            username: request.username.into(),
            at: OffsetDateTime::from(now),
            generation_before: generation as i32,
            generation_after: None,
            what: counted(&counts),
            hash: Vec::new(),
        },
        street,
    );
    erasures::insert(write.tx(), street, &receipt).await?;
    reached(PipelinePoint::ReceiptWritten);
    write.audit(event(request, audit::Action::Erase, &receipt));
    write.commit().await?;
    reached(PipelinePoint::ErasureCommitted);
    Ok(Erased {
        receipt,
        mentioned_in: Vec::new(),
        also_on,
    })
}

/// Redacts one person of a record.
pub async fn redact(
    pool: &PgPool,
    street: &StreetCode,
    record: RecordId,
    person: Person,
    request: &Request<'_>,
    now: ServerTime,
    entropy: &Entropy,
) -> Result<Erased, ErasureError> {
    let mut write = StreetTransaction::begin(pool, street, now).await?;
    write.load([record]).await?;
    let state = write.state(record).ok_or(ErasureError::NoRecord)?;
    if !state.has_entry(CONTACTS, person.entry) && !state.redacted().contains(&person.entry) {
        return Err(ErasureError::NoEntry);
    }
    // Gone already, and nothing of the person is taken since: the same receipt. The note may have been written again.
    if !state.has_entry(CONTACTS, person.entry) && !person.note {
        let (receipts, _) =
            erasures::page(write.tx(), street, Some(record.0), RECEIPTS_MAX, 0).await?;
        if let Some(receipt) = receipts
            .into_iter()
            .find(|receipt| receipt.kind == REDACT && receipt.entry == Some(person.entry.0))
        {
            let also_on =
                erasures::records_with_entry(write.tx(), street, record, person.entry).await?;
            return Ok(Erased {
                receipt,
                mentioned_in: Vec::new(),
                also_on,
            });
        }
    }
    let state = write.state(record).ok_or(ErasureError::NoRecord)?;
    let (generation, entries, names) = (
        state.generation(),
        state.entries_of_person(person.entry),
        names(state, person.entry),
    );
    let is_theirs = |key: &str| matches!(Key::parse(key), Some(Key::Entry { entry, .. }) if entries.contains(&entry));
    let held: Vec<Uuid> = held::contents(write.tx(), street, record)
        .await?
        .into_iter()
        .filter(|(_, bytes)| {
            change::decode(bytes).map_or(!bytes.is_empty(), |change| {
                touches(&change, &entries, person.note)
            })
        })
        .map(|(held, _)| held)
        .collect();
    write.know(Street::rebuild_wants(record)).await?;
    let forgotten = write.rebuild(
        record,
        &Forget {
            key: &is_theirs,
            note: person.note,
            redacted: &entries,
        },
    )?;
    let mentioned_in = write
        .state(record)
        .map(|state| mentions(state, &names))
        .unwrap_or_default();
    let listed: Vec<EntryId> = entries.iter().copied().collect();
    let mut counts = erasures::redact_entries(write.tx(), street, record, &listed, &held).await?;
    counts.extend([
        ("operations", forgotten.ops as u64),
        ("changes", forgotten.changes as u64),
    ]);
    let also_on = erasures::records_with_entry(write.tx(), street, record, person.entry).await?;
    let receipt = sealed(
        ErasureRow {
            erasure: RecordId::new_v7(now.unix_ms().unsigned_abs(), entropy.bytes()).0,
            seq: forgotten.seq,
            kind: REDACT.into(),
            record: record.0,
            entry: Some(person.entry.0),
            entries: listed.iter().map(|entry| entry.0).collect(),
            note: person.note,
            reason: request.reason.into(),
            username: request.username.into(),
            at: OffsetDateTime::from(now),
            generation_before: generation as i32,
            generation_after: Some(forgotten.generation as i32),
            what: counted(&counts),
            hash: Vec::new(),
        },
        street,
    );
    erasures::insert(write.tx(), street, &receipt).await?;
    reached(PipelinePoint::ReceiptWritten);
    write.audit(
        event(request, audit::Action::Redact, &receipt).with("entry", person.entry.to_string()),
    );
    write.commit().await?;
    reached(PipelinePoint::ErasureCommitted);
    Ok(Erased {
        receipt,
        mentioned_in,
        also_on,
    })
}

/// Receipts of one record that are looked through.
const RECEIPTS_MAX: i64 = 500;
const ERASE: &str = "erase";
const REDACT: &str = "redact";
/// The collection whose entries are persons.
const CONTACTS: &str = "contacts";

fn event(request: &Request<'_>, action: audit::Action, receipt: &ErasureRow) -> Event {
    let act = if request.username == BY_CLOCK {
        Event::by_server(action)
    } else {
        Event::by(request.username, request.device, action)
    };
    act.on(RecordId(receipt.record))
        .with("erasure", receipt.erasure.to_string())
        .with("reason", request.reason)
        .with("receipt", hex::encode(&receipt.hash))
}

fn counted(counts: &[(&'static str, u64)]) -> Value {
    counts
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(table, n)| ((*table).to_owned(), json!(n)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Whether a change says anything about the entries.
fn touches(change: &Change, entries: &BTreeSet<EntryId>, note: bool) -> bool {
    change.ops.iter().any(|op| match &op.action {
        Action::Put { key, value } => {
            let named = value.as_str().and_then(|text| text.parse().ok()).is_some_and(|entry| entries.contains(&entry));
            named || matches!(Key::parse(key), Some(Key::Entry { entry, .. }) if entries.contains(&entry))
        }
        Action::Delete { key } => matches!(Key::parse(key), Some(Key::Entry { entry, .. }) if entries.contains(&entry)),
        Action::Insert { .. } | Action::Remove { .. } => note,
        Action::MakeText { .. } => false,
    })
}

/// What people call the person by: name and telephone numbers, every concurrent one.
fn names(state: &RegisterState, entry: EntryId) -> Vec<String> {
    let view = state.view();
    let of = |field: &str| {
        view.values
            .get(&format!("{CONTACTS}/{entry}/{field}"))
            .cloned()
            .unwrap_or_default()
    };
    let texts = of("name")
        .into_iter()
        .chain(of("phones"))
        .filter_map(|value| value.value.as_str().map(str::to_owned));
    let words = texts.flat_map(|text| {
        text.split([' ', ',', '，', '、', ';', '；', '/'])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    words.filter(|word| word.chars().count() >= 2).collect()
}

/// The keys of the record whose values hold one of the names.
fn mentions(state: &RegisterState, names: &[String]) -> Vec<String> {
    let view = state.view();
    let mentioned = |text: &str| names.iter().any(|name| text.contains(name.as_str()));
    let holds = |values: &[lianka_sync_core::crdt::view::Value]| {
        values
            .iter()
            .any(|value| value.value.as_str().is_some_and(mentioned))
    };
    let mut keys: Vec<_> = view
        .values
        .iter()
        .filter(|(_, values)| holds(values))
        .map(|(key, _)| key.clone())
        .collect();
    if view.note.as_deref().is_some_and(mentioned) {
        keys.push(NOTE.to_owned());
    }
    keys
}

/// The receipt with its hash.
fn sealed(mut receipt: ErasureRow, street: &StreetCode) -> ErasureRow {
    receipt.hash = hash(&receipt, street).to_vec();
    receipt
}

/// SHA-256 of a receipt's text, as docs/protocol.md describes it: one line for each part, in this order.
pub fn hash(receipt: &ErasureRow, street: &StreetCode) -> [u8; 32] {
    let entries: Vec<_> = receipt.entries.iter().map(Uuid::to_string).collect();
    let lines = [
        "lianka erasure 1".to_owned(),
        street.to_string(),
        receipt.erasure.to_string(),
        receipt.seq.to_string(),
        receipt.kind.clone(),
        receipt.record.to_string(),
        entries.join(","),
        receipt.note.to_string(),
        receipt.reason.clone(),
        receipt.username.clone(),
        ServerTime::from(receipt.at).to_string(),
        receipt.generation_before.to_string(),
        receipt
            .generation_after
            .map(|generation| generation.to_string())
            .unwrap_or_default(),
        // Keys of an object come in order.
        receipt.what.to_string(),
    ];
    Sha256::digest(lines.join("\n")).into()
}
