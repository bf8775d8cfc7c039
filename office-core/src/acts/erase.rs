//! Forgetting on request: a record, or one person on it.
//!
//! In: who asks, and why (a code, so that no receipt quotes anybody). Out: the receipt. Invariants:
//! - erasure wins: whatever arrives for it later, however old, is refused and no draft of it is kept;
//! - a receipt says what was erased when and by whom, proves that it was not changed since, and holds no personal data;
//! - asking again for what is erased answers with the receipt that is there, so receipts can be applied again to a restored store.

use std::collections::BTreeSet;

use lianka_sync_core::{
    codec::change::{self, Action, Change},
    crdt::{merge::RegisterState, rebuild::Forget, view::Value},
    id::{DeviceId, EntryId, RecordId, StreetCode},
    key::{self, NOTE},
    kinds::{Key, Meaning, Shape},
    search::fold,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Act, Refused, join_contacts, merge_cards, records};
use crate::{
    audit::{self, Event},
    store::{Beside, Receipt, Wants},
    street::Street,
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

/// A receipt for a record.
pub const ERASE: &str = "erase";
/// A receipt for a person.
pub const REDACT: &str = "redact";

/// Who asks, and why.
#[derive(Clone, Debug)]
pub struct Request {
    pub username: String,
    pub device: DeviceId,
    /// One of [`REASONS`].
    pub reason: &'static str,
    /// What the receipt will be known by.
    pub erasure: Uuid,
}

/// What was done, and where else to look.
#[derive(Debug)]
pub struct Erased {
    pub receipt: Receipt,
    /// Keys of the record that still hold the person's name or telephone number, or may be about them.
    pub mentioned_in: Vec<String>,
    /// Other records with the same entry.
    pub also_on: Vec<RecordId>,
}

/// A record to erase.
#[derive(Debug)]
pub struct Erase {
    pub record: RecordId,
    pub request: Request,
}

/// What must be known to erase a record.
pub(super) fn wants(street: &Street, record: RecordId) -> Wants {
    let mut wants = records([record]);
    if street.is_erased(record) {
        wants.receipts.insert(record);
    } else if street.state(record).is_some() {
        wants.merged_with.insert(record);
        wants.merges_of.insert(record);
        wants.children.insert(record);
        wants.holdings.insert(record);
        wants
            .records
            .extend(merge_cards::parted_from(street, record));
    }
    wants
}

impl Act for Erase {
    type Done = Erased;
    type Refused = Refused;

    fn wants(&self, street: &Street) -> Wants {
        wants(street, self.record)
    }

    fn decide(self, street: &mut Street) -> Result<Erased, Refused> {
        if !street.is_erased(self.record) {
            return erase(street, self.record, &self.request);
        }
        let receipts = street.known().receipts.get(&self.record);
        let receipt = receipts
            .into_iter()
            .flatten()
            .find(|receipt| receipt.kind == ERASE);
        Ok(Erased {
            receipt: receipt.cloned().ok_or(Refused::NotFound)?,
            mentioned_in: Vec::new(),
            also_on: Vec::new(),
        })
    }
}

/// Erases a record, once what [`wants`] says is known.
pub(super) fn erase(
    street: &mut Street,
    record: RecordId,
    request: &Request,
) -> Result<Erased, Refused> {
    let generation = street.state(record).ok_or(Refused::NotFound)?.generation();
    let known = street.known();
    let about = [known.merged_with.get(&record), known.children.get(&record)];
    // A card that was parted from another again left its values in that one's history.
    let parted =
        merge_cards::parted_from(street, record).filter(|winner| street.state(*winner).is_some());
    let about = about.into_iter().flatten().flatten().copied();
    let also_on: BTreeSet<_> = about.chain(parted).collect();
    let counts = known.holdings.get(&record).cloned().unwrap_or_default();
    let seq = street.erase(record)?;
    let receipt = Receipt {
        erasure: request.erasure,
        seq,
        kind: ERASE,
        record,
        entry: None,
        entries: Vec::new(),
        note: false,
        reason: request.reason.into(),
        username: request.username.clone(),
        at: street.now(),
        generation_before: generation,
        generation_after: None,
        what: counted(counts),
        hash: Vec::new(),
    };
    let receipt = keep(street, receipt);
    street.audit(event(request, audit::Action::Erase, &receipt));
    Ok(Erased {
        receipt,
        mentioned_in: Vec::new(),
        also_on: also_on.into_iter().collect(),
    })
}

/// A person on a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Person {
    /// An entry of the record's persons.
    Entry(EntryId),
    /// A key of a set whose members are persons, `companions/<name>`, or of a field of the street's own that holds a person's data.
    Member(String),
}

/// A person of a record to forget.
#[derive(Debug)]
pub struct Redact {
    pub record: RecordId,
    pub person: Person,
    /// Fields of the street's own that hold personal data, by name: what of them speaks of the person goes as well.
    pub personal: BTreeSet<String>,
    /// Whether the note goes as well, with its history.
    pub note: bool,
    pub request: Request,
}

impl Redact {
    /// The entries that go: the person's own, those that were joined into it, and the consents that name them, or named them on a card that was
    /// merged into this one.
    fn entries(&self, street: &Street, state: &RegisterState) -> Vec<EntryId> {
        match self.person {
            Person::Entry(entry) => {
                let persons = join_contacts::joined_into(street, self.record, entry);
                let theirs = persons.into_iter();
                let theirs = theirs.flat_map(|person| state.entries_of_person(person));
                let brought = merge_cards::consents_brought(street, self.record, entry);
                let all: BTreeSet<_> = theirs.chain(brought).collect();
                all.into_iter().collect()
            }
            Person::Member(_) => Vec::new(),
        }
    }

    /// Keys of the street's own personal fields whose values speak of the person.
    fn own_fields(&self, state: &RegisterState, names: &[String]) -> BTreeSet<String> {
        let view = state.view();
        let speaking = view.values.iter().filter(|(key, values)| {
            self.is_personal(state, key)
                && values
                    .iter()
                    .any(|value| value.value.as_str().is_some_and(|text| speaks(text, names)))
        });
        speaking.map(|(key, _)| key.clone()).collect()
    }

    fn is_personal(&self, state: &RegisterState, key: &str) -> bool {
        state.kind().field(key).is_some_and(|(field, parsed)| {
            field.meaning == Meaning::Custom
                && matches!(parsed, Key::Member { member, .. } if self.personal.contains(member))
        })
    }

    /// The keys of the record whose values hold one of the names, and the street's own personal fields: whose those are nobody can tell.
    fn mentions(&self, state: &RegisterState, names: &[String]) -> Vec<String> {
        let mut keys = mentions(state, names);
        let view = state.view();
        let own = view.values.iter().filter(|(key, values)| {
            matches!(self.person, Person::Entry(_))
                && !values.is_empty()
                && self.is_personal(state, key)
                && !keys.contains(key)
        });
        let own: Vec<String> = own.map(|(key, _)| key.clone()).collect();
        keys.extend(own);
        keys
    }

    /// Whether the person stands on the record, or stood there.
    fn is_there(&self, street: &Street, state: &RegisterState) -> bool {
        match &self.person {
            Person::Entry(entry) => {
                // An undone merge is no reason any more once its copies were forgotten.
                let had_brought = merge_cards::had_brought(street, self.record, *entry);
                state.has_person(*entry) || (had_brought && !state.redacted().contains(entry))
            }
            Person::Member(key) => {
                let field = state.kind().field(key);
                let of_persons = field.is_some_and(|(field, _)| {
                    field.meaning == Meaning::PersonName && field.shape == Shape::SetMember
                        || field.meaning == Meaning::Custom
                });
                of_persons && !state.visible(key).is_empty()
            }
        }
    }
}

impl Act for Redact {
    type Done = Erased;
    type Refused = Refused;

    fn wants(&self, street: &Street) -> Wants {
        let record = self.record;
        let Some(state) = street.state(record) else {
            return records([record]);
        };
        let copies = match self.person {
            Person::Entry(entry) => [(record, entry)].into(),
            Person::Member(_) => BTreeSet::new(),
        };
        let mut wants = Wants {
            receipts: [record].into(),
            copies,
            held_of: [record].into(),
            mentions: [(record, self.entries(street, state))].into(),
            joins_of: [record].into(),
            merges_of: [record].into(),
            ..Street::rebuild_wants(record)
        };
        wants
            .records
            .extend(merge_cards::parted_from(street, record));
        wants
    }

    fn decide(self, street: &mut Street) -> Result<Erased, Refused> {
        let record = self.record;
        let state = street.state(record).ok_or(Refused::NotFound)?;
        let entry = match self.person {
            Person::Entry(entry) => Some(entry),
            Person::Member(_) => None,
        };
        let is_there = self.is_there(street, state);
        if !is_there && !entry.is_some_and(|entry| state.redacted().contains(&entry)) {
            return Err(Refused::NoEntry);
        }
        let known = street.known();
        let also_on: BTreeSet<RecordId> = entry
            .into_iter()
            .flat_map(|entry| {
                let copies = known.copies.get(&(record, entry)).into_iter().flatten();
                copies
                    .copied()
                    .chain(merge_cards::copies_left(street, record, entry))
            })
            .collect();
        let also_on: Vec<_> = also_on.into_iter().collect();
        // Gone already, and nothing of the person is taken since: the same receipt. The note may have been written again.
        let before = known.receipts.get(&record).into_iter().flatten();
        let mut before = before.filter(|one| one.kind == REDACT && one.entry == entry);
        if let Some(receipt) = before.next().filter(|_| !is_there && !self.note) {
            return Ok(Erased {
                receipt: receipt.clone(),
                mentioned_in: Vec::new(),
                also_on,
            });
        }
        let (generation, listed, names) = (
            state.generation(),
            self.entries(street, state),
            names(state, &self.person),
        );
        let entries: BTreeSet<EntryId> = listed.iter().copied().collect();
        let own = self.own_fields(state, &names);
        let is_theirs = |key: &str| match &self.person {
            _ if own.contains(key) => true,
            Person::Entry(_) => {
                matches!(Key::parse(key), Some(Key::Entry { entry, .. }) if entries.contains(&entry))
            }
            Person::Member(member) => key == member,
        };
        let quotes = |key: &str, text: &str| self.is_personal(state, key) && speaks(text, &names);
        let held: Vec<Uuid> = known
            .held_of
            .get(&record)
            .into_iter()
            .flatten()
            .filter(|held| {
                change::decode(&held.bytes).map_or(!held.bytes.is_empty(), |change| {
                    touches(&change, &entries, &is_theirs, self.note) || quoted(&change, &quotes)
                })
            })
            .map(|held| held.held)
            .collect();
        let mut counts = vec![("held_change", held.len() as u64)];
        let beside = known.mentions.get(&(record, listed.clone()));
        counts.extend(beside.into_iter().flatten().copied());
        let parted = join_contacts::taken_back(street, record, &entries);
        let unmerged = merge_cards::taken_back(street, record, &entries);
        let taken_back = |actor, key: &str| parted(actor, key) || unmerged(actor, key);
        let forgotten = street.rebuild(
            record,
            &Forget {
                key: &is_theirs,
                note: self.note,
                redacted: &entries,
                taken_back: &taken_back,
            },
        )?;
        counts.extend([
            ("operations", forgotten.ops as u64),
            ("changes", forgotten.changes as u64),
        ]);
        let field = match &self.person {
            Person::Member(key) if key.starts_with(key::CUSTOM) => Some(key.clone()),
            _ => None,
        };
        let beside = own.into_iter().chain(field).map(|key| (record, key));
        street.writes.withdrawn.extend(beside);
        let mentioned_in = street
            .state(record)
            .map(|state| self.mentions(state, &names))
            .unwrap_or_default();
        street.writes.redacted.push(Beside {
            record,
            entries: listed.clone(),
            held,
        });
        let receipt = Receipt {
            erasure: self.request.erasure,
            seq: forgotten.seq,
            kind: REDACT,
            record,
            entry,
            entries: listed,
            note: self.note,
            reason: self.request.reason.into(),
            username: self.request.username.clone(),
            at: street.now(),
            generation_before: generation,
            generation_after: Some(forgotten.generation),
            what: counted(counts),
            hash: Vec::new(),
        };
        let receipt = keep(street, receipt);
        let event = event(&self.request, audit::Action::Redact, &receipt);
        street.audit(match entry {
            Some(entry) => event.with("entry", entry.to_string()),
            None => event,
        });
        Ok(Erased {
            receipt,
            mentioned_in,
            also_on,
        })
    }
}

fn event(request: &Request, action: audit::Action, receipt: &Receipt) -> Event {
    let act = if request.username == BY_CLOCK {
        Event::by_server(action)
    } else {
        Event::by(&request.username, request.device, action)
    };
    act.on(receipt.record)
        .with("erasure", receipt.erasure.to_string())
        .with("reason", request.reason)
        .with("receipt", hex::encode(&receipt.hash))
}

fn counted(counts: Vec<(&'static str, u64)>) -> serde_json::Value {
    counts
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(table, n)| (table.to_owned(), json!(n)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Whether a change says anything about the person.
fn touches(
    change: &Change,
    entries: &BTreeSet<EntryId>,
    is_theirs: &dyn Fn(&str) -> bool,
    note: bool,
) -> bool {
    change.ops.iter().any(|op| match &op.action {
        Action::Put { key, value } => {
            let named = value.as_str().and_then(|text| text.parse().ok());
            named.is_some_and(|entry| entries.contains(&entry)) || is_theirs(key)
        }
        Action::Delete { key } => is_theirs(key),
        Action::Insert { .. } | Action::Remove { .. } => note,
        Action::MakeText { .. } => false,
    })
}

/// Whether a change writes a text of the person to a field of the street's own.
fn quoted(change: &Change, quotes: &dyn Fn(&str, &str) -> bool) -> bool {
    change.ops.iter().any(|op| match &op.action {
        Action::Put { key, value } => value.as_str().is_some_and(|text| quotes(key, text)),
        _ => false,
    })
}

/// Whether a text speaks of somebody with one of these names or numbers, however they are spaced and spelled.
fn speaks(text: &str, names: &[String]) -> bool {
    let text = fold(text);
    names
        .iter()
        .map(|name| fold(name))
        .any(|name| name.chars().count() >= 2 && text.contains(&name))
}

/// What people call the person by: name and telephone numbers, every concurrent one.
fn names(state: &RegisterState, person: &Person) -> Vec<String> {
    let entry = match person {
        Person::Entry(entry) => *entry,
        Person::Member(key) => {
            let own = state.kind().field(key);
            if own.is_some_and(|(field, _)| field.meaning == Meaning::Custom) {
                let values = state.view().values.remove(key).unwrap_or_default();
                let texts = values.iter().filter_map(|value| value.value.as_str());
                return texts
                    .filter(|text| text.chars().count() >= 2)
                    .map(str::to_owned)
                    .collect();
            }
            let name = key.split_once('/').map(|(_, name)| name.to_owned());
            return name.into_iter().collect();
        }
    };
    let view = state.view();
    let named = |key: &str| {
        let field = state.kind().field(key);
        field.is_some_and(|(field, parsed)| {
            matches!(parsed, Key::Entry { entry: of, .. } if of == entry)
                && matches!(field.meaning, Meaning::PersonName | Meaning::Telephone)
        })
    };
    let texts = view
        .values
        .iter()
        .filter(|(key, _)| named(key))
        .flat_map(|(_, values)| values)
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
    let holds = |values: &[Value]| {
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

/// Keeps the receipt, with its hash.
fn keep(street: &mut Street, mut receipt: Receipt) -> Receipt {
    receipt.hash = hash(&receipt, street.street()).to_vec();
    street.writes.receipts.push(receipt.clone());
    receipt
}

/// SHA-256 of a receipt's text, as docs/protocol.md describes it: one line for each part, in this order.
pub fn hash(receipt: &Receipt, street: &StreetCode) -> [u8; 32] {
    let entries: Vec<_> = receipt.entries.iter().map(EntryId::to_string).collect();
    let lines = [
        "lianka erasure 1".to_owned(),
        street.to_string(),
        receipt.erasure.to_string(),
        receipt.seq.to_string(),
        receipt.kind.to_owned(),
        receipt.record.to_string(),
        entries.join(","),
        receipt.note.to_string(),
        receipt.reason.clone(),
        receipt.username.clone(),
        receipt.at.to_string(),
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
