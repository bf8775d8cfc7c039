//! One person twice on one card: who may be the same, what joining two entries writes, and what an undo puts back.
//!
//! In: the contacts of a card as they stand there, or its register state. Out: likely pairs with their reasons, and writes on the card. Everything that
//! joining writes is signed by actors of its own, so that it can be told from every edit of a person, before and after any rebuild.
//!
//! Rules:
//! - reasons only: nothing is joined by itself;
//! - the entry that goes on keeps its values; a field that it lacks is filled in, a value that differs is put beside: somebody chooses;
//! - consents are copied for the entry that goes on; a withdrawal of either ends the party status;
//! - a later edit of the other entry replaces what joining had brought over, and stands beside what others wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{UnknownReason, carry::VALUES_MAX, number};
use crate::{
    codec::change::{Action, Change, OpId, Scalar},
    crdt::{
        merge::{RegisterState, Replaces, Write},
        view::View,
    },
    id::{Actor, EntryId, RecordId},
    kinds::{
        Key, consent,
        shop_card::{CONSENT, CONTACTS, PARTY_STATUS, PERSON_NAME, PHONES, ROLE},
    },
    lang::Lang,
    search,
    values::phone::{self, PhoneKind},
};

/// Contacts of one card that are compared with each other.
pub const CONTACTS_MAX: usize = 60;
/// A number that no numbering plan knows is compared from so many digits on.
const DIGITS_MIN: usize = 7;

/// What two entries have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PersonReason {
    /// A telephone number is the same.
    SamePhone,
    /// The names are the same but for script, width and blanks.
    SamePersonName,
    /// Both have a role, and it is the same.
    SameRole,
}

impl PersonReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::SamePhone, Self::SamePersonName, Self::SameRole];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SamePhone => "same_phone",
            Self::SamePersonName => "same_person_name",
            Self::SameRole => "same_role",
        }
    }

    /// What people read.
    pub const fn label(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Self::SamePhone, Lang::Zh) => "电话相同",
            (Self::SamePhone, Lang::En) => "same phone number",
            (Self::SamePersonName, Lang::Zh) => "姓名相同",
            (Self::SamePersonName, Lang::En) => "same name",
            (Self::SameRole, Lang::Zh) => "身份相同",
            (Self::SameRole, Lang::En) => "same role",
        }
    }
}

impl fmt::Display for PersonReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PersonReason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|reason| reason.as_str() == text);
        known.ok_or(UnknownReason)
    }
}

/// A contact as it stands on a card.
#[derive(Clone, Copy, Debug)]
pub struct Contact<'c> {
    /// Its entry.
    pub entry: EntryId,
    /// Whom it names.
    pub name: Option<&'c str>,
    /// Telephone numbers, as typed.
    pub phones: Option<&'c str>,
    /// What the person does there.
    pub role: Option<&'c str>,
}

impl<'c> Contact<'c> {
    /// The entry as its card shows it.
    pub fn of(card: &'c View, entry: EntryId) -> Self {
        let text = |field| card.entry_text(CONTACTS, entry, field);
        Self {
            entry,
            name: text(PERSON_NAME),
            phones: text(PHONES),
            role: text(ROLE),
        }
    }
}

/// Two entries that are likely one person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alike {
    /// Ascending.
    pub entries: (EntryId, EntryId),
    /// Never empty.
    pub reasons: Vec<PersonReason>,
    /// Both have a name, and they differ: a number that two people share, or a mistyped name.
    pub other_name: bool,
}

/// The likely pairs among the contacts of one card.
pub fn alike(contacts: &[Contact<'_>]) -> Vec<Alike> {
    let mut traits: Vec<_> = contacts.iter().take(CONTACTS_MAX).map(Traits::of).collect();
    traits.sort_by_key(|traits| traits.entry);
    let mut pairs = Vec::new();
    for (at, a) in traits.iter().enumerate() {
        pairs.extend(traits[at + 1..].iter().filter_map(|b| a.alike(b)));
    }
    pairs
}

struct Traits {
    entry: EntryId,
    name: Option<String>,
    numbers: BTreeSet<String>,
    role: Option<String>,
}

impl Traits {
    fn of(contact: &Contact<'_>) -> Self {
        let folded = |text: Option<&str>| text.map(search::fold).filter(|text| !text.is_empty());
        let numbers = phone::parse(contact.phones.unwrap_or_default());
        Self {
            entry: contact.entry,
            name: folded(contact.name),
            numbers: numbers.iter().filter_map(own_number).collect(),
            role: folded(contact.role),
        }
    }

    fn alike(&self, other: &Self) -> Option<Alike> {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        let differ = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
        let same_phone = !self.numbers.is_disjoint(&other.numbers);
        let same_name = same(&self.name, &other.name);
        // Where one of them says nothing of a role, nothing speaks against it.
        if !(same_phone || (same_name && !differ(&self.role, &other.role))) {
            return None;
        }
        let same_role = same(&self.role, &other.role);
        let found = [same_phone, same_name, same_role].into_iter();
        let reasons = PersonReason::ALL.into_iter().zip(found);
        Some(Alike {
            entries: (self.entry, other.entry),
            reasons: reasons
                .filter(|(_, is)| *is)
                .map(|(reason, _)| reason)
                .collect(),
            other_name: differ(&self.name, &other.name),
        })
    }
}

/// The number as it is compared. Numbers of services belong to a brand; one that no plan knows, of abroad perhaps, counts by its digits.
fn own_number(phone: &phone::Phone) -> Option<String> {
    if matches!(phone.kind, PhoneKind::Unrecognised) {
        let digits: String = phone.digits.chars().filter(char::is_ascii_digit).collect();
        return (digits.len() >= DIGITS_MIN).then_some(digits);
    }
    number(phone)
}

/// The id of a pair of entries of a record: the same whichever stands first.
pub fn pair_id(record: RecordId, a: EntryId, b: EntryId) -> Uuid {
    let mut hasher = Sha256::new();
    hasher.update(b"lianka person pair");
    hasher.update(record.0.as_bytes());
    hasher.update(a.min(b).0.as_bytes());
    hasher.update(a.max(b).0.as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(id).into_uuid()
}

/// Two entries of a card that are one person.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Same {
    /// The entry that goes on.
    pub kept: EntryId,
    /// The entry that goes.
    pub gone: EntryId,
}

impl Same {
    fn kept_key(self, field: &str) -> String {
        format!("{CONTACTS}/{}/{field}", self.kept)
    }

    /// The field, where the key is one of the entry that goes.
    fn field_of_gone(self, key: &str) -> Option<&str> {
        match Key::parse(key)? {
            Key::Entry {
                list: CONTACTS,
                entry,
                field,
            } if entry == self.gone => Some(field),
            _ => None,
        }
    }

    /// Whether a change writes to the entry that goes, or a consent that names it.
    pub fn is_gone_in(self, change: &Change) -> bool {
        change.ops.iter().any(|op| match &op.action {
            Action::Put { key, value } => {
                self.field_of_gone(key).is_some()
                    || (key.starts_with(CONSENT) && value.as_str() == Some(&self.gone.to_string()))
            }
            Action::Delete { key } => self.field_of_gone(key).is_some(),
            Action::MakeText { .. } | Action::Insert { .. } | Action::Remove { .. } => false,
        })
    }
}

/// Whether a change writes to a contact person, or to a consent of one.
pub fn writes_contacts(change: &Change) -> bool {
    let mut keys = change.ops.iter().filter_map(|op| key_of(&op.action));
    keys.any(|key| key.starts_with("contacts/") || key.starts_with("consent/"))
}

fn key_of(action: &Action) -> Option<&str> {
    match action {
        Action::Put { key, .. } | Action::Delete { key } => Some(key),
        Action::MakeText { .. } | Action::Insert { .. } | Action::Remove { .. } => None,
    }
}

/// What joining writes: one change each, by an actor each, because concurrent values of one field need different authors. Empty where the entry that
/// goes is not there. `own`: whether an actor wrote for this joining before; `copy`: the id of a consent's copy.
pub fn join(
    state: &RegisterState,
    own: impl Fn(Actor) -> bool,
    same: Same,
    copy: impl Fn(EntryId) -> EntryId,
) -> Vec<Vec<Write>> {
    let view = state.view();
    let mut changes: Vec<Vec<Write>> = Vec::new();
    let mut add = |nth: usize, write: Write| {
        if changes.len() <= nth {
            changes.resize_with(nth + 1, Vec::new);
        }
        changes[nth].push(write);
    };
    let consents = Consents::of(&view, same);
    for (consent, fields) in &consents.to_copy {
        let entry = copy(*consent);
        for (field, value) in fields {
            add(
                0,
                beside(format!("{CONSENT}/{entry}/{field}"), value.clone()),
            );
        }
        let person = Scalar::Str(same.kept.to_string());
        add(
            0,
            beside(format!("{CONSENT}/{entry}/{}", consent::OF), person),
        );
    }
    let status = same.kept_key(PARTY_STATUS);
    if consents.withdrawn && view.values.contains_key(&status) {
        add(0, Write::new(status, None));
    }
    for (key, values) in &view.values {
        let Some(field) = same.field_of_gone(key) else {
            continue;
        };
        add(0, Write::new(key, None));
        if field == PARTY_STATUS && (consents.withdrawn || !consents.granted) {
            continue;
        }
        let kept = same.kept_key(field);
        let (mut mine, others): (Vec<_>, Vec<_>) = state
            .visible(&kept)
            .into_iter()
            .partition(|(op, _)| own(op.actor));
        let mut brought: Vec<&Scalar> = Vec::new();
        for value in values.iter().map(|value| &value.value) {
            let is_there = others.iter().chain(&mine).any(|(_, other)| other == value);
            if !is_there && !brought.contains(&value) && brought.len() < VALUES_MAX {
                brought.push(value);
            }
        }
        for (nth, value) in brought.into_iter().enumerate() {
            // What joining had brought over of it is out of date.
            let replaced = std::mem::take(&mut mine).into_iter().map(|(op, _)| op);
            let replaced: Vec<OpId> = replaced.collect();
            let write = beside(kept.clone(), value.clone());
            add(
                nth,
                if replaced.is_empty() {
                    write
                } else {
                    Write {
                        replaces: Replaces::Only(replaced),
                        ..write
                    }
                },
            );
        }
    }
    changes
}

/// What a later change takes back of the entry that goes: of the entry that goes on only what joining had brought there.
pub fn take_back(
    state: &RegisterState,
    own: impl Fn(Actor) -> bool,
    same: Same,
    change: &Change,
) -> Vec<Write> {
    let mut last: BTreeMap<&str, bool> = BTreeMap::new();
    for op in &change.ops {
        if let Some(field) = key_of(&op.action).and_then(|key| same.field_of_gone(key)) {
            last.insert(field, matches!(op.action, Action::Delete { .. }));
        }
    }
    let deleted = last.into_iter().filter(|(_, is_deleted)| *is_deleted);
    let writes = deleted.filter_map(|(field, _)| only_own(state, &own, same.kept_key(field)));
    writes.collect()
}

/// What an undo writes.
#[derive(Debug)]
pub struct Parting {
    /// What joining had brought over goes.
    pub taken_back: Vec<Write>,
    /// The other entry has its values again, each with who had written it: what an earlier joining brought must be found by the undo of that one.
    pub returned: Vec<(Actor, Write)>,
}

/// What an undo writes. Consents cannot be unsaid, and stay. `history`: every change of the record. `None` where the history does not tell any more
/// what the entry said.
pub fn part(
    state: &RegisterState,
    own: impl Fn(Actor) -> bool,
    same: Same,
    history: &[Change],
) -> Option<Parting> {
    let view = state.view();
    let mut taken_back = Vec::new();
    for key in view.values.keys() {
        let is_kept = matches!(Key::parse(key), Some(Key::Entry { list: CONTACTS, entry, .. }) if entry == same.kept);
        if is_kept {
            taken_back.extend(only_own(state, &own, key.clone()));
        }
    }
    let said = said(history, &own, same);
    if said.is_empty() {
        return None;
    }
    let mut returned = Vec::new();
    for (key, values) in said {
        let held = view.values.get(&key).into_iter().flatten();
        let held: Vec<_> = held.map(|held| &held.value).collect();
        let back = values
            .into_iter()
            .filter(|(_, value)| !held.contains(&value));
        let back = back.take(VALUES_MAX);
        returned.extend(back.map(|(by, value)| (by, beside(key.clone(), value))));
    }
    Some(Parting {
        taken_back,
        returned,
    })
}

/// What the entry that goes said when joining, or a later edit that was joined in turn, took it away; and who had written it.
fn said(
    history: &[Change],
    own: &impl Fn(Actor) -> bool,
    same: Same,
) -> BTreeMap<String, Vec<(Actor, Scalar)>> {
    let mut taken: BTreeSet<OpId> = BTreeSet::new();
    let mut replaced: BTreeSet<OpId> = BTreeSet::new();
    for change in history {
        for op in &change.ops {
            let is_taken = own(change.actor) && matches!(op.action, Action::Delete { .. });
            if is_taken {
                taken.extend(&op.pred);
            } else {
                replaced.extend(&op.pred);
            }
        }
    }
    let mut said: BTreeMap<String, Vec<(Actor, Scalar)>> = BTreeMap::new();
    for change in history {
        for (index, op) in change.ops.iter().enumerate() {
            let id = change.op_id(index);
            if let Action::Put { key, value } = &op.action
                && same.field_of_gone(key).is_some()
                && taken.contains(&id)
                && !replaced.contains(&id)
            {
                let values = said.entry(key.clone()).or_default();
                if values.iter().all(|(_, before)| before != value) {
                    values.push((id.actor, value.clone()));
                }
            }
        }
    }
    said
}

fn only_own(state: &RegisterState, own: &impl Fn(Actor) -> bool, key: String) -> Option<Write> {
    let visible = state.visible(&key).into_iter();
    let mine: Vec<OpId> = visible
        .map(|(op, _)| op)
        .filter(|op| own(op.actor))
        .collect();
    (!mine.is_empty()).then_some(Write {
        key,
        value: None,
        replaces: Replaces::Only(mine),
    })
}

fn beside(key: String, value: Scalar) -> Write {
    Write {
        key,
        value: Some(value),
        replaces: Replaces::Nothing,
    }
}

/// The fields of a consent, but for the one that names the person.
type ConsentFields = BTreeMap<String, Scalar>;

/// Consents of both entries.
struct Consents {
    /// Of the entry that goes, those that the other has not.
    to_copy: Vec<(EntryId, ConsentFields)>,
    /// To the party status, by either.
    granted: bool,
    withdrawn: bool,
}

impl Consents {
    fn of(view: &View, same: Same) -> Self {
        let of = |person: EntryId| {
            let spelled = person.to_string();
            let consents = view.entries(CONSENT).into_iter();
            let theirs = consents.filter(move |entry| {
                view.entry_text(CONSENT, *entry, consent::OF) == Some(&spelled)
            });
            theirs
                .map(|entry| (entry, fields(view, entry)))
                .collect::<Vec<_>>()
        };
        let (kept, gone) = (of(same.kept), of(same.gone));
        let decides = |is_grant: bool| {
            kept.iter().chain(&gone).any(|(_, fields)| {
                let text = |field| fields.get(field).and_then(Scalar::as_str);
                text(consent::SCOPE) == Some(PARTY_STATUS)
                    && text(consent::DECIDED)
                        .is_some_and(|said| (said == consent::GRANT) == is_grant)
            })
        };
        let (granted, withdrawn) = (decides(true), decides(false));
        let lacks =
            |(_, fields): &(EntryId, ConsentFields)| !kept.iter().any(|(_, has)| has == fields);
        Self {
            to_copy: gone
                .iter()
                .filter(|consent| lacks(consent))
                .cloned()
                .collect(),
            granted,
            withdrawn,
        }
    }
}

fn fields(view: &View, consent: EntryId) -> ConsentFields {
    let prefix = format!("{CONSENT}/{consent}/");
    let keys = view.values.range(prefix.clone()..);
    keys.map_while(|(key, values)| Some((key.strip_prefix(&prefix)?, values.last()?)))
        .filter(|(field, _)| *field != consent::OF)
        .map(|(field, value)| (field.to_owned(), value.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(entry: u128, text: &'static str) -> Contact<'static> {
        let part = |kind: &str| {
            text.split(' ')
                .find_map(|part| part.strip_prefix(kind)?.strip_prefix('='))
        };
        Contact {
            entry: EntryId(Uuid::from_u128(entry)),
            name: part("name"),
            phones: part("tel"),
            role: part("role"),
        }
    }

    #[test]
    fn one_person_twice() {
        use PersonReason::{SamePersonName, SamePhone, SameRole};
        for (a, b, reasons, other_name) in [
            (
                "name=钱小红 tel=13700000007",
                "name=钱小红 tel=13700000007",
                &[SamePhone, SamePersonName][..],
                false,
            ),
            (
                "name=钱小红 tel=13700000007",
                "name=錢小紅 tel=+86-137-0000-0007",
                &[SamePhone, SamePersonName],
                false,
            ),
            (
                "name=钱小红 role=店长",
                "name=钱　小红 role=店长",
                &[SamePersonName, SameRole],
                false,
            ),
            (
                "name=钱小红",
                "name=钱小红 tel=13700000007",
                &[SamePersonName],
                false,
            ),
            (
                "name=钱小红 role=店长",
                "name=钱小红 tel=13700000007",
                &[SamePersonName],
                false,
            ),
            (
                "tel=13700000007",
                "name=钱小红 tel=13700000008/13700000007",
                &[SamePhone],
                false,
            ),
            (
                "name=钱小红 tel=13700000007",
                "name=钱晓红 tel=13700000007",
                &[SamePhone],
                true,
            ),
            (
                "name=钱小红 tel=021-50932417",
                "name=孙芳 tel=50932417",
                &[SamePhone],
                true,
            ),
            (
                "name=钱小红 role=店长 tel=13700000007",
                "name=钱小红 role=房东 tel=13700000007",
                &[SamePhone, SamePersonName],
                false,
            ),
        ] {
            let found = alike(&[contact(2, a), contact(1, b)]);
            let [found] = &found[..] else {
                panic!("{a} {b}: {found:?}")
            };
            assert_eq!(
                (&found.reasons[..], found.other_name),
                (reasons, other_name),
                "{a} {b}"
            );
            assert!(found.entries.0 < found.entries.1);
        }
    }

    #[test]
    fn two_people() {
        for (a, b) in [
            ("name=钱小红 tel=13700000007", "name=孙芳 tel=13700000008"),
            ("name=钱小红 role=店长", "name=钱小红 role=房东"),
            ("role=店长", "role=店长"),
            ("tel=4008001234", "tel=4008001234"),
            ("tel=不详", "tel=不详"),
            ("name=钱小红", "tel=13700000007"),
        ] {
            assert_eq!(alike(&[contact(1, a), contact(2, b)]), [], "{a} {b}");
        }
    }

    #[test]
    fn a_pair_has_one_id() {
        let [a, b] = [1, 2].map(|n| EntryId(Uuid::from_u128(n)));
        let record = |n| RecordId(Uuid::from_u128(n));
        assert_eq!(pair_id(record(7), a, b), pair_id(record(7), b, a));
        assert_ne!(pair_id(record(7), a, b), pair_id(record(8), a, b));
        for reason in PersonReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
    }
}
