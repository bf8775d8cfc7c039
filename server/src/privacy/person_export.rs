//! Everything held about one person, found by telephone number or by name: what a person may ask to see, and a colleague to have corrected.
//!
//! In: a number or a name. Out: every place that holds it — contact persons with all concurrent values and their consents, transfers with what
//! was sealed, every change of the log that wrote it, held edits, notes, imported rows, resolutions, notices and remarks. Drafts live on phones
//! alone and are in no list.
//!
//! A sensitive value whose consent was withdrawn is not shown: that it was written is told, and not what it was.
//!
//! Texts are compared as the phone compares them: numbers without separators, country and city code; names in either script and width. What
//! only resembles is not shown: it is somebody else's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lianka_sync_core::{
    codec::change::{self, Action, Change, Scalar},
    crdt::view::View,
    id::{ChangeHash, EntryId, RecordId, StreetCode},
    key::NOTE,
    kinds::{Class, Field, Key, Kind, Meaning, Personal, Shape, consent},
    search::fold,
    time::ServerTime,
    values::phone,
};
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    privacy::store::persons as store,
    roll::{
        records::MASKED,
        store_export as roll_export,
        table_file::{Cell, FileKind, TableError, TableFile},
    },
    street::{
        history as past,
        store::{history::AuthoredChange, records, trimmed},
    },
};

/// Changes read at a time.
const PAGE: i64 = 2_000;
/// Records read at a time.
const RECORDS_PAGE: i64 = 50;
/// Rows of one list. A person in more places than this is a misunderstored.
const ROWS_MAX: i64 = 50_000;
const NAME_CHARS_MIN: usize = 2;

/// Whom to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// In the one spelling by which numbers are compared.
    Phone(String),
    /// Folded.
    Name(String),
}

impl Sought {
    /// By a number; `None` where the text is not one number.
    pub fn phone(text: &str) -> Option<Self> {
        match &phone::parse(text)[..] {
            [only] if only.is_recognised() => Some(Self::Phone(only.compared())),
            _ => None,
        }
    }

    /// By a name of at least two characters.
    pub fn name(text: &str) -> Option<Self> {
        let folded = fold(text);
        (folded.chars().count() >= NAME_CHARS_MIN).then_some(Self::Name(folded))
    }

    /// Whether a field that holds a name, or numbers, is this person's.
    fn is(&self, meaning: Meaning, text: &str) -> bool {
        match self {
            Self::Phone(_) => meaning == Meaning::Telephone && self.is_in(text),
            Self::Name(name) => meaning == Meaning::PersonName && fold(text) == *name,
        }
    }

    /// Whether a text speaks of them.
    fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Phone(number) => phone::mentioned(text)
                .iter()
                .any(|(_, found)| found.is_recognised() && found.compared() == *number),
            Self::Name(name) => fold(text).contains(name.as_str()),
        }
    }

    fn is_in_json(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.is_in(text),
            // A sheet may hold a number as a number.
            Value::Number(number) => self.is_in(&number.to_string()),
            Value::Array(items) => items.iter().any(|item| self.is_in_json(item)),
            Value::Object(members) => members.values().any(|member| self.is_in_json(member)),
            Value::Null | Value::Bool(_) => false,
        }
    }
}

/// Everything that was found.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct PersonView {
    pub contacts: Vec<PersonContact>,
    pub transfers: Vec<PersonTransfer>,
    /// Notes, fields of the street's own, and other texts of records in which people are mentioned, that speak of the person.
    pub notes: Vec<PersonNote>,
    /// Changes of the log that wrote something about the person, the oldest first.
    pub changes: Vec<PersonChange>,
    /// Edits that a reviewer has or had to decide on.
    pub held: Vec<PersonChange>,
    /// Sealed fields and events of transfers, resolutions, notices, merges, dismissals and imported rows.
    pub other: Vec<PersonRemark>,
    /// `false`: a list was cut off.
    pub complete: bool,
}

/// A contact person of a card.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonContact {
    #[schema(value_type = Uuid)]
    pub record: RecordId,
    pub grid: String,
    pub sign_name: Option<String>,
    #[schema(value_type = Uuid)]
    pub entry: EntryId,
    /// Every value of every field, concurrent ones included.
    pub fields: BTreeMap<String, Vec<String>>,
    /// What the person consented to, or withdrew.
    pub consents: Vec<BTreeMap<String, String>>,
}

/// A transfer request.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonTransfer {
    #[schema(value_type = Uuid)]
    pub record: RecordId,
    pub grid: String,
    pub fields: BTreeMap<String, Vec<String>>,
    pub note: Option<String>,
}

/// A text of a record.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonNote {
    #[schema(value_type = Uuid)]
    pub record: RecordId,
    /// The record's kind.
    pub kind: String,
    /// The key it stands under.
    pub field: String,
    pub note: String,
}

/// What one change wrote about the person.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonChange {
    #[schema(value_type = Uuid)]
    pub record: RecordId,
    /// Place in the log; absent for a held edit.
    pub seq: Option<i64>,
    #[schema(value_type = String)]
    pub change: ChangeHash,
    /// `accepted`, or how the held edit stands.
    pub status: String,
    pub username: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub received_at: ServerTime,
    /// Key and value; `null` where it was deleted.
    #[schema(value_type = Object)]
    pub writes: BTreeMap<String, Option<Scalar>>,
}

/// A row that speaks of the person.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonRemark {
    /// Which table.
    pub place: String,
    pub id: String,
    pub record: Option<Uuid>,
    #[schema(value_type = String, format = DateTime)]
    pub at: ServerTime,
    #[schema(value_type = serde_json::Value)]
    pub content: Value,
}

impl PersonView {
    /// Records of which sensitive fields (P3) are shown.
    pub fn sensitive(&self) -> BTreeSet<RecordId> {
        let contacts = self
            .contacts
            .iter()
            .filter(|contact| contact.fields.keys().any(|name| is_p3_of_entry(name)))
            .map(|contact| contact.record);
        let is_p3 = |key: &str| {
            Kind::ALL.iter().any(|kind| {
                kind.field(key)
                    .is_some_and(|(field, _)| field.class == Class::P3)
            })
        };
        // A value that was overwritten, taken back or never accepted is read all the same.
        let written = self.changes.iter().chain(&self.held);
        let written = written.filter(|change| {
            change.writes.iter().any(|(key, value)| {
                let value = value.as_ref().and_then(Scalar::as_str);
                value.is_some_and(|value| value != MASKED) && is_p3(key)
            })
        });
        let sealed = self.other.iter().filter(|remark| {
            remark.place == "transfer_personal"
                || remark
                    .content
                    .get("field")
                    .and_then(Value::as_str)
                    .is_some_and(is_p3)
        });
        let sealed = sealed.filter_map(|remark| remark.record.map(RecordId));
        contacts
            .chain(self.transfers.iter().map(|transfer| transfer.record))
            .chain(written.map(|change| change.record))
            .chain(sealed)
            .collect()
    }
}

/// Whether a field of an entry is sensitive.
fn is_p3_of_entry(name: &str) -> bool {
    let mut fields = Kind::ALL.iter().flat_map(|kind| kind.fields());
    fields.any(|field| {
        field.name == name && field.class == Class::P3 && matches!(field.shape, Shape::Entry { .. })
    })
}

/// What belongs to the person, as far as it is known by now.
#[derive(Default)]
struct Known {
    /// The kind of every record.
    kinds: HashMap<RecordId, Kind>,
    /// Contact persons.
    entries: BTreeSet<(RecordId, EntryId)>,
    /// Records that are about a person: everything in them is.
    whole: BTreeSet<RecordId>,
    /// Consents of the contact persons.
    consents: BTreeSet<(RecordId, EntryId)>,
    /// Keys whose consent was withdrawn: that something was written is told, and not what.
    withdrawn: BTreeSet<(RecordId, String)>,
    /// What was written there: an imported row may hold it as well.
    hidden: BTreeSet<(RecordId, String)>,
}

impl Known {
    /// The field of a record's key, and what of such records is a person's.
    fn field<'k>(
        &self,
        record: RecordId,
        key: &'k str,
    ) -> Option<(&'static Field, Key<'k>, Personal)> {
        let kind = self.kinds.get(&record)?;
        let (field, key) = kind.field(key)?;
        Some((field, key, kind.description().personal))
    }

    /// Notes whose fields these are, wherever they were written.
    fn learn(&mut self, sought: &Sought, record: RecordId, key: &str, value: &Scalar) {
        let Some((field, parsed, personal)) = self.field(record, key) else {
            return;
        };
        if !field
            .said(key, value)
            .is_some_and(|text| sought.is(field.meaning, text))
        {
            return;
        }
        match (personal, parsed) {
            (
                Personal::Entries { list, .. },
                Key::Entry {
                    list: of, entry, ..
                },
            ) if of == list => {
                self.entries.insert((record, entry));
            }
            (Personal::Record, Key::Plain(_)) => drop(self.whole.insert(record)),
            _ => {}
        }
    }

    fn learn_consent(&mut self, record: RecordId, key: &str, value: &Scalar) {
        if let Some((field, Key::Entry { entry, .. }, _)) = self.field(record, key)
            && field.meaning == Meaning::ConsentOf
            && let Some(person) = value.as_str().and_then(|person| person.parse().ok())
            && self.entries.contains(&(record, person))
        {
            self.consents.insert((record, entry));
        }
    }

    fn holds(&self, record: RecordId, key: &str) -> bool {
        self.whole.contains(&record)
            || match self.field(record, key) {
                Some((_, Key::Entry { entry, .. }, Personal::Entries { .. })) => {
                    self.entries.contains(&(record, entry))
                        || self.consents.contains(&(record, entry))
                }
                _ => false,
            }
    }

    /// Whether a write speaks of the person.
    fn speaks(&self, sought: &Sought, record: RecordId, key: &str, value: &Scalar) -> bool {
        let said = match self.field(record, key) {
            Some((field, ..)) => field.said(key, value),
            None => value.as_str(),
        };
        said.is_some_and(|text| sought.is_in(text))
    }

    /// Takes out what is not to be shown any more.
    fn hide(&mut self, record: RecordId, writes: &mut BTreeMap<String, Option<Scalar>>) {
        for (key, value) in writes {
            let is_p3 = self
                .field(record, key)
                .is_some_and(|(field, ..)| field.class == Class::P3);
            if is_p3
                && self.withdrawn.contains(&(record, key.clone()))
                && let Some(value) = value
            {
                self.hidden.insert((record, plain(value)));
                *value = Scalar::Str(MASKED.to_owned());
            }
        }
    }

    /// Takes it out of a row about the same record.
    fn hide_in(&self, record: RecordId, content: &mut Value) {
        match content {
            Value::String(text) if self.hidden.contains(&(record, text.clone())) => {
                MASKED.clone_into(text);
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in(record, item)),
            Value::Object(members) => {
                members
                    .values_mut()
                    .for_each(|member| self.hide_in(record, member));
            }
            _ => {}
        }
    }

    fn records(&self) -> BTreeSet<RecordId> {
        self.entries
            .iter()
            .map(|(record, _)| *record)
            .chain(self.whole.iter().copied())
            .collect()
    }
}

/// What a change writes: the last value of each key, and the text that it puts into the note.
fn writes(change: &Change) -> BTreeMap<String, Option<Scalar>> {
    let mut writes = BTreeMap::new();
    let mut note = String::new();
    for op in &change.ops {
        match &op.action {
            Action::Put { key, value } => drop(writes.insert(key.clone(), Some(value.clone()))),
            Action::Delete { key } => drop(writes.insert(key.clone(), None)),
            Action::Insert { text, .. } => note.push_str(text),
            Action::MakeText { .. } | Action::Remove { .. } => {}
        }
    }
    if !note.is_empty() {
        writes.insert(NOTE.to_owned(), Some(Scalar::Str(note)));
    }
    writes
}

/// Finds everything held about a person, as of one moment.
pub async fn find(pool: &PgPool, street: &StreetCode, sought: &Sought) -> sqlx::Result<PersonView> {
    let mut tx = roll_export::snapshot(pool).await?;
    let mut known = Known::default();
    let mut view = PersonView {
        complete: true,
        ..PersonView::default()
    };
    let held = store::held(&mut tx, street, ROWS_MAX).await?;
    let kinds = store::kinds(&mut tx, street).await?;
    known.kinds = kinds
        .into_iter()
        .chain(held.iter().map(|edit| (edit.record, edit.kind.clone())))
        .filter_map(|(record, kind)| Some((record, kind.parse().ok()?)))
        .collect();
    let speaking = look_through_log(&mut tx, street, sought, &mut known).await?;
    for edit in &held {
        if let Ok(change) = change::decode(&edit.bytes) {
            writes(&change)
                .iter()
                .filter_map(|(key, value)| Some((key, value.as_ref()?)))
                .for_each(|(key, value)| known.learn(sought, edit.record, key, value));
        }
    }
    let remarks = store::remarks(&mut tx, street, ROWS_MAX).await?;
    view.complete &= (remarks.len() as i64) < ROWS_MAX && (held.len() as i64) < ROWS_MAX;
    // What was sealed has left its record: the row alone tells whose it is.
    for remark in remarks
        .iter()
        .filter(|remark| remark.place == "transfer_personal" && sought.is_in_json(&remark.content))
    {
        known.whole.extend(remark.record.map(RecordId));
    }
    let records: Vec<Uuid> = known.records().iter().map(|record| record.0).collect();
    stand(&mut tx, street, &records, &mut known, &mut view).await?;
    let involved: BTreeSet<RecordId> = known.records().into_iter().chain(speaking).collect();
    let involved: Vec<Uuid> = involved.into_iter().map(|record| record.0).collect();
    let mut logged = store::changes(&mut tx, street, Some(&involved), 0, ROWS_MAX).await?;
    view.complete &= (logged.len() as i64) < ROWS_MAX;
    logged.extend(past::logged(&mut tx, street, &involved).await?);
    logged.sort_by_key(|row| row.seq);
    for row in &logged {
        let Ok(change) = change::decode(&row.bytes) else {
            continue;
        };
        let written = about(&change, row.record, sought, &mut known);
        if !written.is_empty() {
            view.changes.push(PersonChange {
                record: row.record,
                seq: Some(row.seq),
                change: change.hash,
                status: "accepted".to_owned(),
                username: row.username.clone(),
                received_at: row.received_at.into(),
                writes: written,
            });
        }
    }
    for edit in held {
        let Ok(change) = change::decode(&edit.bytes) else {
            continue;
        };
        let written = about(&change, edit.record, sought, &mut known);
        if !written.is_empty() {
            view.held.push(PersonChange {
                record: edit.record,
                seq: None,
                change: change.hash,
                status: edit.status,
                username: Some(edit.username),
                received_at: edit.received_at.into(),
                writes: written,
            });
        }
    }
    view.notes = mentions(&mut tx, street, sought, &known).await?;
    let entries: Vec<String> = known
        .entries
        .iter()
        .map(|(_, entry)| entry.to_string())
        .collect();
    view.other = remarks
        .into_iter()
        .filter(|remark| {
            let field = remark
                .content
                .get("field")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let theirs = remark
                .record
                .is_some_and(|record| known.whole.contains(&RecordId(record)));
            theirs
                || entries.iter().any(|entry| field.contains(entry.as_str()))
                || sought.is_in_json(&remark.content)
        })
        .map(|mut remark| {
            if let Some(record) = remark.record {
                known.hide_in(RecordId(record), &mut remark.content);
            }
            remark
        })
        .map(|remark| PersonRemark {
            place: remark.place,
            id: remark.id,
            record: remark.record,
            at: remark.at.into(),
            content: remark.content,
        })
        .collect();
    tx.rollback().await?;
    Ok(view)
}

/// Reads the whole log once: whose the entries are, whatever they say by now. Returns the records whose texts speak of the person.
async fn look_through_log(
    conn: &mut PgConnection,
    street: &StreetCode,
    sought: &Sought,
    known: &mut Known,
) -> sqlx::Result<BTreeSet<RecordId>> {
    let mut speaking = BTreeSet::new();
    let mut after = 0;
    loop {
        let page = store::changes(conn, street, None, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for row in &page {
            look_through(row, sought, known, &mut speaking);
        }
    }
    // What was trimmed is in the records' documents.
    let mut after = Uuid::nil();
    loop {
        let records = trimmed::records(conn, street.as_str(), after, RECORDS_PAGE).await?;
        let Some(last) = records.last() else {
            return Ok(speaking);
        };
        after = *last;
        for row in past::logged(conn, street, &records).await? {
            look_through(&row, sought, known, &mut speaking);
        }
    }
}

fn look_through(
    row: &AuthoredChange,
    sought: &Sought,
    known: &mut Known,
    speaking: &mut BTreeSet<RecordId>,
) {
    // What the gate passed decodes; anything else would have been found by the refresh.
    let Ok(change) = change::decode(&row.bytes) else {
        return;
    };
    for (key, value) in writes(&change)
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?)))
    {
        known.learn(sought, row.record, key, value);
        if known.speaks(sought, row.record, key, value) {
            speaking.insert(row.record);
        }
    }
}

/// What a change writes about the person.
fn about(
    change: &Change,
    record: RecordId,
    sought: &Sought,
    known: &mut Known,
) -> BTreeMap<String, Option<Scalar>> {
    let mut writes = writes(change);
    for (key, value) in &writes {
        if let Some(value) = value {
            known.learn_consent(record, key, value);
        }
    }
    writes.retain(|key, value| {
        known.holds(record, key)
            || value
                .as_ref()
                .is_some_and(|value| known.speaks(sought, record, key, value))
    });
    known.hide(record, &mut writes);
    writes
}

/// Texts of records, of whatever kind, that speak of the person: notes, the street's own fields, and everything in which people are only
/// mentioned.
async fn mentions(
    conn: &mut PgConnection,
    street: &StreetCode,
    sought: &Sought,
    known: &Known,
) -> sqlx::Result<Vec<PersonNote>> {
    let mut found = Vec::new();
    let mut after = Uuid::nil();
    loop {
        let page = records::page_of_states(conn, street, after, RECORDS_PAGE).await?;
        let Some((last, ..)) = page.last() else {
            return Ok(found);
        };
        after = last.0;
        for (record, _, state) in page {
            let state = crate::store::registers(&state)?;
            let (kind, view) = (state.kind(), state.view());
            let mut note = |field: &str, note: &str| {
                found.push(PersonNote {
                    record,
                    kind: kind.to_string(),
                    field: field.to_owned(),
                    note: note.to_owned(),
                });
            };
            if let Some(text) = view.note.as_deref().filter(|text| sought.is_in(text)) {
                note(NOTE, text);
            }
            // A column of the street's own may be about anybody.
            let anywhere = kind.description().personal == Personal::Mentions;
            for (key, values) in &view.values {
                for value in values {
                    if known.speaks(sought, record, key, &value.value)
                        && let Some((field, _)) = kind.field(key)
                        && (anywhere || field.meaning == Meaning::Custom)
                    {
                        note(key, field.said(key, &value.value).unwrap_or_default());
                    }
                }
            }
        }
    }
}

/// The contact persons and transfers as they stand.
async fn stand(
    conn: &mut PgConnection,
    street: &StreetCode,
    records: &[Uuid],
    known: &mut Known,
    out: &mut PersonView,
) -> sqlx::Result<()> {
    for stored in store::states(conn, street, records).await? {
        let state = crate::store::registers(&stored.state)?;
        let view = state.view();
        let record = stored.record;
        for (key, value) in view
            .values
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |value| (key, value)))
        {
            known.learn_consent(record, key, &value.value);
        }
        if known.whole.contains(&record) {
            let fields = view
                .values
                .iter()
                .map(|(key, values)| (key.clone(), shown(values)))
                .collect();
            let note = view.note.clone().filter(|note| !note.is_empty());
            out.transfers.push(PersonTransfer {
                record,
                grid: stored.grid.clone(),
                fields,
                note,
            });
        }
        let kind = state.kind();
        let Personal::Entries { list, consents } = kind.description().personal else {
            continue;
        };
        let withdrawn = consent::withdrawn(&view, list, consents);
        known
            .withdrawn
            .extend(withdrawn.into_iter().map(|key| (record, key)));
        let called = kind
            .fields()
            .iter()
            .find(|field| field.meaning == Meaning::TradeName);
        let entries: Vec<EntryId> = known
            .entries
            .iter()
            .filter(|(of, _)| *of == record)
            .map(|(_, entry)| *entry)
            .collect();
        for entry in entries {
            let fields = of_entry(&view, list, entry);
            let person = entry.to_string();
            let theirs = view
                .entries(consents)
                .into_iter()
                .filter(|entry| view.entry_text(consents, *entry, consent::OF) == Some(&person));
            let theirs = theirs.map(|consent| {
                of_entry(&view, consents, consent)
                    .into_iter()
                    .map(|(field, values)| (field, values.join("、")))
                    .collect()
            });
            let sign_name = called
                .and_then(|field| view.text(field.name))
                .map(str::to_owned);
            out.contacts.push(PersonContact {
                record,
                grid: stored.grid.clone(),
                sign_name,
                entry,
                fields,
                consents: theirs.collect(),
            });
        }
    }
    Ok(())
}

fn of_entry(view: &View, list: &str, entry: EntryId) -> BTreeMap<String, Vec<String>> {
    let prefix = format!("{list}/{entry}/");
    let keys = view
        .values
        .iter()
        .filter_map(|(key, values)| Some((key.strip_prefix(&prefix)?, values)));
    keys.map(|(field, values)| (field.to_owned(), shown(values)))
        .collect()
}

fn shown(values: &[lianka_sync_core::crdt::view::Value]) -> Vec<String> {
    values.iter().map(|value| plain(&value.value)).collect()
}

fn plain(value: &Scalar) -> String {
    match value {
        Scalar::Str(text) => text.clone(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Bool(flag) => flag.to_string(),
    }
}

/// The same as a workbook, a sheet a list, with Chinese headings.
pub fn workbook(view: &PersonView) -> Result<TableFile, TableError> {
    let mut file = TableFile::new(FileKind::Xlsx)?;
    let headings = |headings: &[&str]| {
        headings
            .iter()
            .map(|&heading| heading.to_owned())
            .collect::<Vec<_>>()
    };
    let text = |text: &dyn ToString| Cell::Text(text.to_string());
    let pairs = |fields: &BTreeMap<String, Vec<String>>| {
        Cell::Text(
            fields
                .iter()
                .map(|(field, values)| format!("{field}：{}", values.join(" / ")))
                .collect::<Vec<_>>()
                .join("\n"),
        )
    };
    file.sheet(
        "联系人",
        &headings(&[
            "卡片编号",
            "责任网格",
            "店招",
            "联系人编号",
            "内容",
            "同意记录",
        ]),
    )?;
    for contact in &view.contacts {
        let consents: Vec<String> = contact
            .consents
            .iter()
            .map(|consent| {
                consent
                    .iter()
                    .map(|(field, value)| format!("{field}：{value}"))
                    .collect::<Vec<_>>()
                    .join("，")
            })
            .collect();
        file.row(&[
            text(&contact.record),
            text(&contact.grid),
            Cell::from(contact.sign_name.clone()),
            text(&contact.entry),
            pairs(&contact.fields),
            Cell::Text(consents.join("\n")),
        ])?;
    }
    file.sheet(
        "组织关系转接",
        &headings(&["编号", "责任网格", "内容", "备注"]),
    )?;
    for transfer in &view.transfers {
        file.row(&[
            text(&transfer.record),
            text(&transfer.grid),
            pairs(&transfer.fields),
            Cell::from(transfer.note.clone()),
        ])?;
    }
    file.sheet("备注", &headings(&["记录编号", "种类", "字段", "内容"]))?;
    for note in &view.notes {
        let kind = note.kind.parse::<Kind>().ok();
        let label = kind.and_then(|kind| Some(kind.field(&note.field)?.0.label_zh));
        file.row(&[
            text(&note.record),
            text(&kind.map_or("", |kind| kind.description().label_zh)),
            text(&label.unwrap_or("备注")),
            text(&note.note),
        ])?;
    }
    for (name, changes) in [("修改记录", &view.changes), ("待审修改", &view.held)] {
        file.sheet(
            name,
            &headings(&["编号", "序号", "修改", "状态", "账号", "收到时间", "写入"]),
        )?;
        for change in changes {
            let writes = change.writes.iter().map(|(key, value)| {
                format!(
                    "{key}：{}",
                    value.as_ref().map_or_else(|| "（删除）".to_owned(), plain)
                )
            });
            file.row(&[
                text(&change.record),
                Cell::from(change.seq.map(|seq| seq.to_string())),
                text(&change.change),
                text(&change.status),
                Cell::from(change.username.clone()),
                text(&change.received_at),
                Cell::Text(writes.collect::<Vec<_>>().join("\n")),
            ])?;
        }
    }
    file.sheet(
        "其他",
        &headings(&["位置", "编号", "所属记录", "时间", "内容"]),
    )?;
    for other in &view.other {
        let record = other.record.map(|record| record.to_string());
        file.row(&[
            text(&other.place),
            text(&other.id),
            Cell::from(record),
            text(&other.at),
            Cell::Text(other.content.to_string()),
        ])?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_meant() {
        let number = Sought::phone("139 0000 0001").expect("a number");
        for (text, found) in [
            ("13900000001", true),
            ("+86 139-0000-0001/50932417", true),
            ("老板电话１３９０００００００１", true),
            ("13900000002", false),
            ("913900000001", false),
            ("", false),
        ] {
            assert_eq!(number.is_in(text), found, "{text}");
        }
        assert_eq!(Sought::phone("021-50932417"), Sought::phone("50932417"));
        assert_eq!(Sought::phone("问店主"), None);
        // One number in any spelling, and no other with the same digits.
        let hong_kong = Sought::phone("00852-21234567").expect("a number");
        let local = Sought::phone("21234567").expect("a number");
        assert!(hong_kong.is_in("+852 2123 4567") && !hong_kong.is_in("21234567"));
        assert!(local.is_in("021-21234567") && !local.is_in("+852 2123 4567"));
        // A plus sign that was not escaped in the address is a space.
        for spelling in ["+1 (415) 555-0100", " 1 (415) 555-0100", "001 415 555 0100"] {
            let number = Sought::phone(spelling).expect("a number");
            assert!(
                number.is_in("+14155550100") && !number.is_in("14155550100"),
                "{spelling}"
            );
        }
        assert_eq!(Sought::phone("13900000001/13900000002"), None);
        let name = Sought::name("王記").expect("a name");
        assert!(
            name.is(Meaning::PersonName, "王 记")
                && name.is_in("找王记，下午")
                && !name.is(Meaning::PersonName, "王记芳")
                && !name.is(Meaning::PersonRole, "王记")
        );
        assert_eq!(
            Sought::name("王"),
            None,
            "one character is in everybody's name"
        );
    }
}
