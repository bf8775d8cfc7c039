//! What goes from a card that was merged away to the card that goes on, and what an undo takes back.
//!
//! In: the register states of both cards, and how to tell what this merge wrote. Out: writes on the winning card. Everything a merge writes is
//! signed by actors of its own, so that it can be told from every edit of a person, before and after any rebuild.
//!
//! Rules:
//! - a field that the winner lacks is filled in; a differing value of a field that keeps conflicts is put beside the winner's: somebody chooses;
//! - members of sets and entries of logs are added; a contact person with the same name and numbers is one person;
//! - a party status goes along only with its consent, and a withdrawal on either card ends it;
//! - a later edit of the losing card replaces what the merge brought over of it, and stands beside what the winner's people wrote;
//! - the note stays where it is: both cards keep theirs.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    codec::change::{Action, Change, OpId, Scalar},
    crdt::{
        merge::{RegisterState, Replaces, Write},
        view::View,
    },
    id::{Actor, EntryId, RecordId},
    kinds::{
        Key, Kind, Meaning, MergeRule, consent,
        shop_card::{CONSENT, CONTACTS, MERGED_INTO, PARTY_STATUS},
    },
    search,
    values::phone::{self, PhoneKind},
};

/// Contact persons of the losing card who stand on the winning card already.
pub type SamePersons = BTreeMap<EntryId, EntryId>;

/// Differing values of one field that a merge brings over; the rest stays in the losing card alone.
pub const VALUES_MAX: usize = 16;

/// What a merge writes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// To be remembered: later edits of these persons belong to the winner's entries.
    pub same_persons: SamePersons,
    /// One change each, by an actor each: concurrent values of one field need different authors. Empty where there is nothing to bring over.
    pub changes: Vec<Vec<Write>>,
}

/// Says on the losing card as which one it goes on; `None`: it is one of its own again.
pub fn goes_on_as(winner: Option<RecordId>) -> Write {
    Write::new(
        MERGED_INTO,
        winner.map(|winner| Scalar::Str(winner.to_string())),
    )
}

/// What merging `loser` into `winner` writes on the winner.
pub fn plan(winner: &View, loser: &View) -> Plan {
    let same_persons = same_persons(winner, loser);
    let mut changes: Vec<Vec<Write>> = Vec::new();
    let mut add = |nth: usize, write: Write| {
        if changes.len() <= nth {
            changes.resize_with(nth + 1, Vec::new);
        }
        changes[nth].push(write);
    };
    let consents = Consents::of(winner, loser, &same_persons);
    for (key, values) in &loser.values {
        let Some((rule, key, status_of)) = carried(key, &same_persons) else {
            continue;
        };
        if status_of.is_some_and(|person| !consents.stand(person)) {
            continue;
        }
        let present = winner.values.get(&key);
        match rule {
            MergeRule::MultiValue => {
                let differs = |value: &Scalar| {
                    present.is_none_or(|present| present.iter().all(|p| p.value != *value))
                };
                let mut brought: Vec<&Scalar> = Vec::new();
                for value in values
                    .iter()
                    .map(|value| &value.value)
                    .filter(|value| differs(value))
                {
                    if !brought.contains(&value) && brought.len() < VALUES_MAX {
                        brought.push(value);
                    }
                }
                for (nth, value) in brought.into_iter().enumerate() {
                    add(nth, beside(&key, value.clone()));
                }
            }
            MergeRule::LastWriter | MergeRule::Set | MergeRule::Log if present.is_none() => {
                if let Some(value) = values.last() {
                    add(
                        0,
                        beside(&key, translated(&key, &value.value, &same_persons)),
                    );
                }
            }
            MergeRule::LastWriter
            | MergeRule::Set
            | MergeRule::Log
            | MergeRule::WriteOnce
            | MergeRule::Text => {}
        }
    }
    // A person who withdrew on one card withdrew.
    for person in consents.withdrawn {
        let key = format!("{CONTACTS}/{person}/{PARTY_STATUS}");
        if winner.values.contains_key(&key) {
            add(0, Write::new(key, None));
        }
    }
    Plan {
        same_persons,
        changes,
    }
}

/// What a later change of the losing card writes on the winner. `own`: whether an actor wrote for this merge.
pub fn carry(
    winner: &RegisterState,
    own: impl Fn(Actor) -> bool,
    same_persons: &SamePersons,
    change: &Change,
) -> Vec<Write> {
    // The last write to a key is what the change says.
    let mut last: BTreeMap<&str, Option<&Scalar>> = BTreeMap::new();
    for op in &change.ops {
        match &op.action {
            Action::Put { key, value } => drop(last.insert(key, Some(value))),
            Action::Delete { key } => drop(last.insert(key, None)),
            Action::MakeText { .. } | Action::Insert { .. } | Action::Remove { .. } => {}
        }
    }
    let mut writes = Vec::new();
    for (key, value) in last {
        let Some((rule, key, _)) = carried(key, same_persons) else {
            continue;
        };
        let (mine, others): (Vec<_>, Vec<_>) = winner
            .visible(&key)
            .into_iter()
            .partition(|(op, _)| own(op.actor));
        let mine: Vec<OpId> = mine.into_iter().map(|(op, _)| op).collect();
        let only = |value| Write {
            key: key.clone(),
            value,
            replaces: Replaces::Only(mine.clone()),
        };
        match (value, rule) {
            (Some(value), MergeRule::Log | MergeRule::Set)
                if mine.is_empty() && others.is_empty() =>
            {
                writes.push(beside(&key, translated(&key, value, same_persons)));
            }
            (Some(value), MergeRule::MultiValue | MergeRule::LastWriter) => {
                let said = others.iter().any(|(_, other)| other == value);
                match (said, mine.is_empty()) {
                    // The winner says so already, and what the merge had brought is out of date.
                    (true, false) => writes.push(only(None)),
                    (true, true) => {}
                    (false, false) => writes.push(only(Some(value.clone()))),
                    (false, true) => writes.push(beside(&key, value.clone())),
                }
            }
            // What the winner's people wrote is not the losing card's to remove.
            (None, MergeRule::MultiValue | MergeRule::LastWriter | MergeRule::Set)
                if !mine.is_empty() =>
            {
                writes.push(only(None));
            }
            (_, _) => {}
        }
    }
    writes
}

/// What an undo removes from the winner: what this merge wrote and nobody edited since. Log entries cannot be unsaid and stay.
///
/// A contact person whom the merge brought and somebody has edited since stays whole.
pub fn undo(
    winner: &RegisterState,
    own: impl Fn(Actor) -> bool,
    same_persons: &SamePersons,
) -> Vec<Write> {
    let view = winner.view();
    let entry_of = |key: &str| match Key::parse(key) {
        Some(Key::Entry {
            list: CONTACTS,
            entry,
            ..
        }) => Some(entry),
        _ => None,
    };
    let edited: BTreeSet<EntryId> = view
        .values
        .iter()
        .filter(|(_, values)| values.iter().any(|value| !own(value.op.actor)))
        .filter_map(|(key, _)| entry_of(key))
        .filter(|entry| !same_persons.values().any(|present| present == entry))
        .collect();
    let mut writes = Vec::new();
    for (key, values) in &view.values {
        let Some((field, _)) = Kind::ShopCard.field(key) else {
            continue;
        };
        let mine: Vec<OpId> = values
            .iter()
            .map(|value| value.op)
            .filter(|op| own(op.actor))
            .collect();
        if !mine.is_empty()
            && field.merge != MergeRule::Log
            && entry_of(key).is_none_or(|entry| !edited.contains(&entry))
        {
            writes.push(Write {
                key: key.clone(),
                value: None,
                replaces: Replaces::Only(mine),
            });
        }
    }
    writes
}

fn beside(key: &str, value: Scalar) -> Write {
    Write {
        key: key.to_owned(),
        value: Some(value),
        replaces: Replaces::Nothing,
    }
}

/// How a key merges, under which key of the winner it stands, and whose party status it is. `None`: it is not carried over.
fn carried(key: &str, same_persons: &SamePersons) -> Option<(MergeRule, String, Option<EntryId>)> {
    let (field, parsed) = Kind::ShopCard.field(key)?;
    if matches!(field.merge, MergeRule::WriteOnce | MergeRule::Text)
        || matches!(field.meaning, Meaning::Grid | Meaning::Succession)
    {
        return None;
    }
    Some(match parsed {
        Key::Entry {
            list: CONTACTS,
            entry,
            field: name,
        } => {
            let entry = same_persons.get(&entry).copied().unwrap_or(entry);
            (
                field.merge,
                format!("{CONTACTS}/{entry}/{name}"),
                (name == PARTY_STATUS).then_some(entry),
            )
        }
        _ => (field.merge, key.to_owned(), None),
    })
}

/// A consent names its person by the entry that the winner has.
fn translated(key: &str, value: &Scalar, same_persons: &SamePersons) -> Scalar {
    let names_person = matches!(
        Key::parse(key),
        Some(Key::Entry {
            list: CONSENT,
            field: consent::OF,
            ..
        })
    );
    let entry = value
        .as_str()
        .filter(|_| names_person)
        .and_then(|entry| entry.parse::<EntryId>().ok());
    entry
        .and_then(|entry| same_persons.get(&entry))
        .map_or_else(|| value.clone(), |entry| Scalar::Str(entry.to_string()))
}

/// Persons with the same name and the same numbers.
fn same_persons(winner: &View, loser: &View) -> SamePersons {
    let known: Vec<_> = winner
        .entries(CONTACTS)
        .into_iter()
        .filter_map(|entry| Some((entry, person(winner, entry)?)))
        .collect();
    let mut same = SamePersons::new();
    for entry in loser.entries(CONTACTS) {
        let Some(person) = person(loser, entry) else {
            continue;
        };
        let free = |present: &EntryId| !same.values().any(|taken| taken == present);
        if let Some((present, _)) = known
            .iter()
            .find(|(present, known)| *known == person && free(present))
        {
            same.insert(entry, *present);
        }
    }
    same
}

/// Folded name and numbers; `None` where either is missing: then nobody can tell.
fn person(view: &View, entry: EntryId) -> Option<(String, BTreeSet<String>)> {
    let name = search::fold(view.entry_text(CONTACTS, entry, "name")?);
    let phones: BTreeSet<_> = phone::parse(view.entry_text(CONTACTS, entry, "phones")?)
        .iter()
        .map(|phone| match phone.kind {
            // As typed, and typed in many ways.
            PhoneKind::Foreign { .. } => {
                format!(
                    "{}#{}",
                    phone.compared(),
                    phone.ext.as_deref().unwrap_or_default()
                )
            }
            _ => phone.canonical(),
        })
        .collect();
    (!name.is_empty() && !phones.is_empty()).then_some((name, phones))
}

/// Consents to the party status on both cards together, by the winner's entries.
struct Consents {
    granted: BTreeSet<EntryId>,
    withdrawn: BTreeSet<EntryId>,
}

impl Consents {
    fn of(winner: &View, loser: &View, same_persons: &SamePersons) -> Self {
        let mut consents = Self {
            granted: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
        };
        for view in [winner, loser] {
            for entry in view.entries(CONSENT) {
                let text = |field| view.entry_text(CONSENT, entry, field);
                let Some(person) =
                    text(consent::OF).and_then(|person| person.parse::<EntryId>().ok())
                else {
                    continue;
                };
                let person = same_persons.get(&person).copied().unwrap_or(person);
                if let (Some(PARTY_STATUS), Some(decision)) =
                    (text(consent::SCOPE), text(consent::DECIDED))
                {
                    let of = match decision {
                        consent::GRANT => &mut consents.granted,
                        _ => &mut consents.withdrawn,
                    };
                    of.insert(person);
                }
            }
        }
        consents
    }

    fn stand(&self, person: EntryId) -> bool {
        self.granted.contains(&person) && !self.withdrawn.contains(&person)
    }
}

#[cfg(test)]
mod tests;
