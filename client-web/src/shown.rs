//! What the page shows of a record: every field with where its newest state is, everybody's values, and what of it is on its way.

use std::collections::BTreeMap;

use lianka_client_core::{
    EditError, KeptDraft, OutboxEntry, OutboxState, RecordState, document,
    editing::{self, Retraced},
};
use lianka_sync_core::{
    access::Role,
    codec::change::Scalar,
    crdt::{record::Edit, view::View},
    id::DeviceId,
    kinds::{
        Field, Kind, Meaning, MergeRule, Rule, consent,
        kind::Class,
        projection::{self, CardRow, Projected},
        shop_card::ConsentRow,
        transfer::{self, table},
    },
    lang::Lang,
    time::DeviceTime,
    values::phone::{self, PhoneKind},
};
use serde_json::{Value, json};

use crate::catalogue::{described, is_shown, label};

/// For whom it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// This enrolment.
    pub device: DeviceId,
    /// What the account may do.
    pub role: Role,
    /// The page's language.
    pub lang: Lang,
}

/// A scalar as people read it.
fn text(value: &Scalar) -> String {
    match value {
        Scalar::Bool(_) => "✓".to_owned(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Str(text) => text.clone(),
    }
}

/// The key an edit writes; the note's where it is the note.
fn key_of(edit: &Edit) -> &str {
    match edit {
        Edit::Put { key, .. } | Edit::Delete { key } => key,
        Edit::Note { .. } => lianka_sync_core::key::NOTE,
    }
}

/// Where the newest state of every key is that is not at the office.
struct Places(BTreeMap<String, &'static str>);

impl Places {
    fn of(state: &RecordState, drafts: &[KeptDraft]) -> Self {
        let mut places = BTreeMap::new();
        for kept in drafts {
            for edit in &kept.draft.edits {
                places.insert(key_of(edit).to_owned(), "draft");
            }
        }
        // What waits for a reviewer stands below what has yet to be sent.
        for held in [true, false] {
            let entries = state
                .outbox
                .iter()
                .filter(|entry| (entry.state == OutboxState::Held) == held);
            for edit in entries.flat_map(|entry| &entry.edits) {
                places.insert(key_of(edit).to_owned(), if held { "held" } else { "phone" });
            }
        }
        Self(places)
    }

    fn at(&self, key: &str) -> &'static str {
        self.0.get(key).copied().unwrap_or("office")
    }
}

/// A field of a record with everybody's values.
fn field(
    kind: Kind,
    field: &Field,
    key: &str,
    view: &View,
    places: &Places,
    reader: Reader,
) -> Value {
    let values = view.values.get(key).map(Vec::as_slice).unwrap_or_default();
    let conflict = kind
        .description()
        .conflicts(view)
        .any(|(other, _)| other == key);
    let all: Vec<_> = values
        .iter()
        .rev()
        .map(|value| {
            json!({
                "text": text(&value.value),
                "own": value.op.actor.device() == reader.device,
                "at": value.time.map(DeviceTime::unix_ms),
            })
        })
        .collect();
    let mut shown = described(kind, field, reader.role, reader.lang);
    if let Value::Object(fields) = &mut shown {
        fields.extend([
            ("key".to_owned(), json!(key)),
            ("value".to_owned(), json!(view.get(key).map(text))),
            (
                "values".to_owned(),
                json!(if conflict { all } else { Vec::new() }),
            ),
            ("conflict".to_owned(), json!(conflict)),
            ("state".to_owned(), json!(places.at(key))),
        ]);
    }
    shown
}

/// A card as the page shows it. `None` where its document cannot be read.
pub fn card(
    state: &RecordState,
    drafts: &[KeptDraft],
    reader: Reader,
) -> Result<Option<Value>, EditError> {
    let Some(mut opened) = document::open(state)? else {
        return Err(EditError::NoSuchRecord);
    };
    let view = opened.document.view()?;
    let stored = state.stored.as_ref();
    let generation = stored.map_or(1, |stored| stored.generation);
    let Some(Projected::ShopCard(row)) = projection::project(state.record, generation, &view)
    else {
        return Ok(None);
    };
    let kind = Kind::ShopCard;
    let places = Places::of(state, drafts);
    let fields: Vec<_> = kind
        .fields()
        .iter()
        .filter(|field| is_shown(field))
        .map(|known| field(kind, known, known.name, &view, &places, reader))
        .collect();
    let outbox: Result<Vec<_>, _> = state
        .outbox
        .iter()
        .map(|entry| entry_shown(state, entry, reader.lang))
        .collect();
    let note = kind
        .fields()
        .iter()
        .find(|field| field.merge == MergeRule::Text);
    Ok(Some(json!({
        "record": state.record,
        "grid": row.grid,
        "title": kind.title(|key| view.text(key).map(str::to_owned)),
        "door": lianka_client_core::card::CardSummary::from(row.as_ref()).door(),
        (kind.succession().unwrap_or_default()): row.merged_into,
        "leaving": stored.is_some_and(|stored| stored.leaving),
        "last_confirmed_on": row.last_confirmed_on,
        "fields": fields,
        "contacts": contacts(&row, &view, &places, reader),
        "tags": row.tags,
        "custom": row.custom,
        "note": note.map(|note| json!({
            "text": row.note.clone().unwrap_or_default(),
            "state": places.at(note.name),
            "label": note.label(reader.lang),
            "rule": described(kind, note, reader.role, reader.lang)["rule"],
            "editable": note.editors.contains(&reader.role),
        })),
        "outbox": outbox?,
        "drafts": drafts.iter().map(|kept| draft(kept, reader.lang)).collect::<Vec<_>>(),
    })))
}

fn contacts(row: &CardRow, view: &View, places: &Places, reader: Reader) -> Vec<Value> {
    let kind = Kind::ShopCard;
    row.contacts
        .iter()
        .map(|contact| {
            let fields: Vec<_> = of_persons()
                .map(|known| {
                    let key = known.key_in(contact.entry);
                    field(kind, known, &key, view, places, reader)
                })
                .collect();
            let numbers = phone::parse(contact.phones.as_deref().unwrap_or_default());
            let numbers: Vec<_> = numbers
                .iter()
                .filter(|number| number.is_recognised())
                .map(|number| {
                    let plus = if matches!(number.kind, PhoneKind::Foreign { .. }) { "+" } else { "" };
                    json!({ "shown": number.canonical(), "dial": format!("{plus}{}", number.digits) })
                })
                .collect();
            let theirs = || {
                let consents = row.consents.iter();
                consents.filter(|consent| consent.contact == Some(contact.entry))
            };
            let grants = |consent: &ConsentRow| consent.decision.as_deref() == Some(consent::GRANT);
            let consents: Vec<_> = theirs()
                .map(|consent| {
                    let scope = consent.scope.as_deref().unwrap_or_default();
                    let label = kind.person_field(scope).map(|field| field.label(reader.lang));
                    json!({ "label": label, "grants": grants(consent), "on": consent.given_on })
                })
                .collect();
            let sensitive = kind.with_consent().next();
            let scope = sensitive.map(|known| known.name);
            let of_scope = || theirs().filter(|consent| consent.scope.as_deref() == scope);
            let sensitive = sensitive.map(|known| {
                let key = known.key_in(contact.entry);
                field(kind, known, &key, view, places, reader)
            });
            json!({
                "entry": contact.entry,
                "fields": fields,
                "numbers": numbers,
                "consents": consents,
                "sensitive": sensitive,
                // A withdrawal wins over every grant.
                "consented": of_scope().next().is_some() && of_scope().all(grants),
            })
        })
        .collect()
}

/// The fields of a new contact person.
pub fn contact_fields(reader: Reader) -> Vec<Value> {
    of_persons()
        .map(|field| described(Kind::ShopCard, field, reader.role, reader.lang))
        .collect()
}

/// The fields of a transfer request that its secretary writes; `sealed`: kept by the office alone by now.
pub fn transfer_fields(state: &RecordState, view: &View, reader: Reader) -> Vec<Value> {
    let kind = Kind::TransferRequest;
    let places = Places::of(state, &[]);
    let fields = kind.fields().iter();
    fields
        .filter(|known| is_shown(known) && known.editors.contains(&reader.role))
        .map(|known| {
            let mut shown = field(kind, known, known.name, view, &places, reader);
            shown["sealed"] = json!(view.get(&transfer::sealed_key(known.name)).is_some());
            shown
        })
        .collect()
}

/// Sensitive fields stand apart: they are written with their consent.
fn of_persons() -> impl Iterator<Item = &'static Field> {
    let fields = Kind::ShopCard.person_fields();
    fields.filter(|field| field.class < Class::P3)
}

/// Whether a key says something to people, rather than what the record is or which entry it is about.
fn is_told(kind: Kind, key: &str) -> bool {
    kind.field(key).is_none_or(|(field, _)| {
        let is_form = field.name == consent::WORDING || field.meaning == Meaning::ConsentScope;
        !matches!(field.meaning, Meaning::Identity | Meaning::Grid)
            && !matches!(field.rule, Rule::Entry | Rule::Kind)
            && !is_form
    })
}

/// A value as people read it, words of lists and steps of transfers in the page's language.
fn read(kind: Kind, key: &str, value: &Scalar, lang: Lang) -> String {
    let said = text(value);
    match kind.field(key).map(|(field, _)| field.rule) {
        Some(Rule::OneOf(table::STEP_CODES)) => said
            .parse::<transfer::Step>()
            .map_or(said, |step| step.row().label.text(lang).to_owned()),
        Some(Rule::OneOf(table::YES)) => "✓".to_owned(),
        Some(Rule::OneOf(_)) if said == consent::GRANT || said == consent::WITHDRAW => {
            consented(&said, lang).to_owned()
        }
        Some(Rule::OneOf(_)) => kind.words(&said, lang).to_owned(),
        _ => said,
    }
}

fn consented(decision: &str, lang: Lang) -> &'static str {
    match (decision == consent::GRANT, lang) {
        (true, Lang::Zh) => "同意",
        (true, Lang::En) => "consent",
        (false, Lang::Zh) => "撤回同意",
        (false, Lang::En) => "consent withdrawn",
    }
}

/// An entry of the outbox: what it changes, from what to what.
pub fn entry_shown(
    state: &RecordState,
    entry: &OutboxEntry,
    lang: Lang,
) -> Result<Value, EditError> {
    let retraced = editing::retrace(state, entry.hash)?;
    let undoable = retraced.as_ref().is_some_and(Retraced::is_undoable);
    let before = retraced.map(|retraced| retraced.before).unwrap_or_default();
    let creating = Kind::of(&before).is_none();
    let lines: Vec<_> = entry
        .edits
        .iter()
        .filter(|edit| is_told(entry.kind, key_of(edit)))
        .map(|edit| {
            let key = key_of(edit);
            let said = |value: &Scalar| read(entry.kind, key, value, lang);
            let (old, new) = match edit {
                Edit::Put { value, .. } => (before.get(key).map(said), Some(said(value))),
                Edit::Delete { .. } => (before.get(key).map(said), None),
                Edit::Note { text } => (before.note.clone(), Some(text.clone())),
            };
            json!({ "label": label(entry.kind, key, lang), "old": old, "new": new })
        })
        .collect();
    Ok(json!({
        "record": entry.record,
        "kind": entry.kind,
        "hash": entry.hash,
        "at": entry.made_at.unix_ms(),
        "state": if entry.state == OutboxState::Held { "held" } else { "phone" },
        "creating": creating,
        "undoable": undoable,
        "reason": entry.reason,
        "lines": lines,
    }))
}

/// A draft: what could not be kept, and why.
pub fn draft(kept: &KeptDraft, lang: Lang) -> Value {
    let kind = kept.draft.kind;
    let lines: Vec<_> = kept
        .draft
        .edits
        .iter()
        .filter(|edit| is_told(kind, key_of(edit)))
        .map(|edit| {
            let key = key_of(edit);
            let new = match edit {
                Edit::Put { value, .. } => Some(read(kind, key, value, lang)),
                Edit::Delete { .. } => None,
                Edit::Note { text } => Some(text.clone()),
            };
            json!({ "label": label(kind, key, lang), "new": new })
        })
        .collect();
    json!({
        "id": kept.id,
        "record": kept.draft.record,
        "kind": kind,
        "title": kept.title,
        "at": kept.draft.made_at.unix_ms(),
        "reason": kept.draft.reason,
        "lines": lines,
    })
}
