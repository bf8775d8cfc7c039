//! What a kind of record is: everything that the rest of the code may ask about it.
//!
//! A kind is one file beside this one, with a [`Description`] as its constant. Whoever must know what a text is asks for its
//! [`Meaning`], whoever writes rows for the [`Table`]s, whoever looks for a person for [`Personal`]. Nothing outside this folder tells a
//! field by its name.

use serde::{Deserialize, Serialize};

use crate::{
    access::{FieldError, Role, Writer},
    codec::change::Scalar,
    crdt::view::{Value, View},
    id::{DeviceId, EntryId},
    key::{self, Key},
    lang::Lang,
    time::ServerTime,
};

/// A kind of record.
pub struct Description {
    /// The name on the wire and in the record's `kind` field.
    pub name: &'static str,
    /// What people call it, Chinese.
    pub label_zh: &'static str,
    /// What people call it, English.
    pub label_en: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
    /// Its tables, its own first.
    pub tables: &'static [&'static Table],
    /// What of it is a person's.
    pub personal: Personal,
    /// The field that names the record to which it belongs, and in whose grid it stands.
    pub belongs_to: Option<&'static str>,
    /// What the fields alone cannot tell about a change that is about to be written.
    pub check: fn(&Writing<'_>) -> Result<(), Broken>,
}

impl Description {
    /// The field that `key` belongs to, with the key's variable parts.
    pub fn field<'k>(&'static self, key: &'k str) -> Option<(&'static Field, Key<'k>)> {
        let key = Key::parse(key)?;
        self.fields
            .iter()
            .find(|field| field.matches(&key))
            .map(|field| (field, key))
    }

    /// Every key in conflict: its field keeps concurrent values, and they differ. Equal values are no conflict.
    pub fn conflicts<'v>(
        &'static self,
        view: &'v View,
    ) -> impl Iterator<Item = (&'v str, &'v [Value])> {
        view.values
            .iter()
            .filter(|(_, values)| {
                values.len() > 1 && values.iter().any(|value| value.value != values[0].value)
            })
            .filter(|(key, _)| {
                self.field(key)
                    .is_some_and(|(field, _)| field.keeps_conflicts())
            })
            .map(|(key, values)| (key.as_str(), values.as_slice()))
    }
}

/// What of a record is a person's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Personal {
    /// Each entry of a list is a person, each entry of another what they consented to.
    Entries {
        /// The persons.
        list: &'static str,
        /// What they consented to; the field `contact` names the person.
        consents: &'static str,
    },
    /// All of it: it is about one person.
    Record,
    /// Nothing in particular: persons are mentioned in it.
    Mentions,
}

/// A table of a kind's read model.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Which keys of the record its rows are of; `None`: of the record itself.
    pub of: Rows,
    /// Columns that follow from the record otherwise than as a value of a field.
    pub derived: &'static [Derived],
    /// Members of the row that tables of their own have.
    pub elsewhere: &'static [&'static str],
}

/// What the rows of a table are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rows {
    /// One for each record, with a column for each field.
    Record,
    /// One for each entry of a list, with a column for each of its fields.
    Entries(&'static str),
    /// One for each entry of a list, its fields together in one column.
    EntriesTogether(&'static str),
    /// One for each member of a set.
    Members(&'static str),
    /// Computed from the whole record.
    Computed,
}

/// A column that is no field's value.
#[derive(Clone, Copy, Debug)]
pub struct Derived {
    /// Its name.
    pub column: &'static str,
    /// The field whose value it is a part or a summary of, where it is of one.
    pub of: Option<&'static str>,
    /// Heading and place in an exported roll.
    pub export: Option<(u16, &'static str, &'static str)>,
}

impl Derived {
    /// A column that no exported roll has.
    pub const fn new(column: &'static str) -> Self {
        Self {
            column,
            of: None,
            export: None,
        }
    }

    /// The column stands for this field.
    #[must_use]
    pub const fn of(mut self, field: &'static str) -> Self {
        self.of = Some(field);
        self
    }

    /// Its place and heading in an exported roll.
    #[must_use]
    pub const fn export(mut self, place: u16, zh: &'static str, en: &'static str) -> Self {
        self.export = Some((place, zh, en));
        self
    }
}

/// What a field's value is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Meaning {
    /// What and whose the record is.
    Identity,
    /// The grid that owns it.
    Grid,
    /// What people call a shop by.
    TradeName,
    /// What a business is registered as.
    LegalName,
    /// A credit code (GB 32100-2015), or an older registration number.
    CreditCode,
    /// A part of an address.
    AddressPart(AddressPart),
    /// An address as typed.
    Address,
    /// A point with its coordinate system.
    Point,
    /// A word of a list.
    Choice,
    /// A number.
    Number,
    /// A day.
    Date,
    /// A day and its time, by a device's clock.
    Time,
    /// Days on which somebody confirmed the record.
    Confirmation,
    /// A short text.
    Text,
    /// A text in which anything may stand.
    Remark,
    /// The note.
    Note,
    /// A word that people mark the record with.
    Tag,
    /// A person's name.
    PersonName,
    /// What a person is called where their name shall not stand.
    PersonAlias,
    /// Telephone numbers of a person.
    Telephone,
    /// What a person is to the shop: 店主, 房东 …
    PersonRole,
    /// Something else about a person.
    PersonDetail,
    /// The person whom a consent is of.
    ConsentOf,
    /// What a consent covers.
    ConsentScope,
    /// Whether a consent is given or withdrawn.
    ConsentDecision,
    /// A column of the street's own.
    Custom,
    /// Another record, or an entry.
    Reference,
    /// The record as which this one goes on.
    Succession,
    /// What a process with states keeps of itself.
    Process,
}

/// Parts of an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the fields have labels")]
pub enum AddressPart {
    Road,
    Lane,
    Number,
    Suffix,
    Unit,
}

/// Headings under which a sheet holds a field. Compared in folded form ([`crate::search::fold`]).
#[derive(Clone, Copy, Debug)]
pub struct Headings {
    /// Whole headings.
    pub whole: &'static [&'static str],
    /// The same, where a word for a person (负责人) stands before it.
    pub of_person: &'static [&'static str],
    /// A heading that holds a word of each group is read as the field, if no whole one is known.
    pub within: &'static [&'static [&'static str]],
    /// Of several fields whose words a heading holds, the lowest wins: 联系电话 is no 联系人.
    pub rank: u8,
}

impl Headings {
    /// No sheet has it.
    pub const NONE: Self = Self {
        whole: &[],
        of_person: &[],
        within: &[],
        rank: 0,
    };
}

/// What two records may be recognised as one by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alike {
    /// Where its door is.
    Door,
    /// What it is called.
    Name,
    /// Whom one reaches there.
    Phone,
    /// What it is registered under.
    Code,
}

/// A rule that a change breaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// The key.
    pub key: String,
    /// The rule.
    pub error: FieldError,
}

/// A change about to be written, and the record as it would read after it: the same to a phone and to the office.
pub struct Writing<'w> {
    /// Who writes.
    pub writer: Writer,
    /// The writing device; `None` where the office composes.
    pub device: DeviceId,
    /// The device that created the record; `None` in the change that does.
    pub creator: Option<DeviceId>,
    /// When the server received it; a phone does not know yet.
    pub received_at: Option<ServerTime>,
    /// What it writes, deletions left out.
    pub puts: &'w [(&'w str, &'w Scalar)],
    /// The text of a key afterwards.
    pub text: &'w dyn Fn(&str) -> Option<String>,
    /// The entries of a list afterwards.
    pub entries: &'w dyn Fn(&str) -> Vec<EntryId>,
}

/// How concurrent edits of a field merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum MergeRule {
    /// Every concurrent value is kept until somebody chooses.
    #[serde(rename = "MV")]
    MultiValue,
    /// A deterministic winner is enough.
    #[serde(rename = "LW")]
    LastWriter,
    /// Add-wins set.
    #[serde(rename = "SET")]
    Set,
    /// Character merge.
    #[serde(rename = "TEXT")]
    Text,
    /// Append-only, immutable entries.
    #[serde(rename = "LOG")]
    Log,
    /// Written by the creating change and never again.
    #[serde(rename = "ONCE")]
    WriteOnce,
}

/// Sensitivity: what a leak would harm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Class {
    /// Public.
    P0,
    /// Internal.
    P1,
    /// Personal.
    P2,
    /// Sensitive personal information.
    P3,
}

/// What a value must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// 1 ..= max characters, NFC, no control characters.
    Text(usize),
    /// A whole number in this range, without sign or leading zeros.
    Whole(u32, u32),
    /// One of a closed list.
    OneOf(&'static [&'static str]),
    /// The name of a kind ([`crate::kinds::Kind::NAMES`]).
    Kind,
    /// `YYYY-MM-DD`.
    Date,
    /// A day and its time in China, `YYYY-MM-DDTHH:MM`.
    Minute,
    /// `geo:lat,lon;crs=…;u=…` (RFC 5870), crs required.
    Point,
    /// A UUID: an entry of this record, or another record.
    Entry,
    /// `true`: a set member.
    Flag,
    /// The Text object.
    Note,
}

/// How far a day may lie from the day on which it comes to the office ([`crate::authority::check_new`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Days {
    /// What somebody saw with their own eyes: not to come, and on a phone of late.
    Observed,
    /// Signed or done before.
    Signed,
    /// What is paid for may lie ahead.
    Paid,
}

/// Where a field's keys stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// `name`
    Register,
    /// `name/<member>`: present = true, removed = deleted.
    SetMember,
    /// `name/<date>`: a set whose members are days.
    SetOfDays,
    /// `name/<name of a custom field>`
    Custom,
    /// `list/<entry>/name`
    Entry {
        /// Name of the collection.
        list: &'static str,
    },
}

/// One field of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name: the key, or its constant part.
    pub name: &'static str,
    /// What people see, Chinese.
    pub label_zh: &'static str,
    /// What people see, English.
    pub label_en: &'static str,
    /// Where its keys stand.
    pub shape: Shape,
    /// How concurrent edits merge.
    pub merge: MergeRule,
    /// Sensitivity.
    pub class: Class,
    /// What a value must look like.
    pub rule: Rule,
    /// Whether the creating change must write it.
    pub required: bool,
    /// Who may write it in the change that creates the record.
    pub creators: &'static [Role],
    /// Who may write it later.
    pub editors: &'static [Role],
    /// What it means: whoever must know what a text is asks this, not the name.
    pub meaning: Meaning,
    /// Headings of a sheet under which it stands.
    pub headings: Headings,
    /// Its place among the columns of an exported roll.
    pub export: Option<u16>,
    /// What two records of the kind are recognised by, of which this is a part.
    pub alike: Option<Alike>,
    /// Whether the kind's tables have it.
    pub stored: bool,
    /// Of a day: how far it may lie from today.
    pub days: Days,
}

impl PartialEq for Field {
    /// One field of a kind is told from another by where its keys stand.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.shape == other.shape
    }
}

impl Eq for Field {}

impl Field {
    /// Whether `key` is one of this field's keys.
    pub(super) fn matches(&self, key: &Key<'_>) -> bool {
        match (self.shape, key) {
            (Shape::Register, Key::Plain(name))
            | (Shape::SetMember | Shape::SetOfDays | Shape::Custom, Key::Member { name, .. }) => {
                *name == self.name
            }
            (
                Shape::Entry { list },
                Key::Entry {
                    list: key_list,
                    field,
                    ..
                },
            ) => *key_list == list && *field == self.name,
            _ => false,
        }
    }

    /// The list or set that it is of.
    pub(super) const fn list(&self) -> Option<&'static str> {
        match self.shape {
            Shape::Entry { list } => Some(list),
            Shape::SetMember | Shape::SetOfDays | Shape::Custom => Some(self.name),
            Shape::Register => None,
        }
    }

    /// Its key for this member: a tag, a day, the name of a custom field.
    pub fn key_of(&self, member: &str) -> String {
        format!("{}/{member}", self.name)
    }

    /// Its key in this entry; without one, of a field that no list has.
    pub fn key_in(&self, entry: EntryId) -> String {
        match self.shape {
            Shape::Entry { list } => format!("{list}/{entry}/{}", self.name),
            _ => self.name.to_owned(),
        }
    }

    /// The key as documentation writes it, for example `contacts/<entry>/phones`.
    pub fn pattern(&self) -> String {
        match self.shape {
            Shape::Register => self.name.to_owned(),
            Shape::SetMember => format!("{}/<member>", self.name),
            Shape::SetOfDays => format!("{}/<YYYY-MM-DD>", self.name),
            Shape::Custom => format!("{}/<name>", self.name),
            Shape::Entry { list } => format!("{list}/<entry>/{}", self.name),
        }
    }

    pub(super) const fn means(mut self, meaning: Meaning) -> Self {
        self.meaning = meaning;
        self
    }

    pub(super) const fn days(mut self, days: Days) -> Self {
        self.days = days;
        self
    }

    pub(super) const fn export(mut self, place: u16) -> Self {
        self.export = Some(place);
        self
    }

    pub(super) const fn alike(mut self, alike: Alike) -> Self {
        self.alike = Some(alike);
        self
    }

    /// No table has it: nobody lists or counts by it.
    pub(super) const fn unstored(mut self) -> Self {
        self.stored = false;
        self
    }

    pub(super) const fn headings(
        mut self,
        whole: &'static [&'static str],
        within: &'static [&'static [&'static str]],
        rank: u8,
    ) -> Self {
        self.headings = Headings {
            whole,
            within,
            rank,
            ..self.headings
        };
        self
    }

    /// Words that mean the field after a word for a person only.
    pub(super) const fn of_person(mut self, words: &'static [&'static str]) -> Self {
        self.headings.of_person = words;
        self
    }

    /// What people read.
    pub const fn label(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::Zh => self.label_zh,
            Lang::En => self.label_en,
        }
    }

    /// What a write of `value` to `key`, one of this field's keys, says: the member of a set stands in the key.
    pub fn said<'w>(&self, key: &'w str, value: &'w Scalar) -> Option<&'w str> {
        match self.shape {
            Shape::SetMember => key.split_once('/').map(|(_, member)| member),
            _ => value.as_str(),
        }
    }

    /// Whether several values of the field, if they differ, are a conflict that people must see.
    pub fn keeps_conflicts(&self) -> bool {
        matches!(self.merge, MergeRule::MultiValue)
    }
}

pub(super) const ALL_EDITORS: &[Role] = &[Role::Secretary, Role::Reviewer, Role::Admin];
pub(super) const OFFICE: &[Role] = &[Role::Reviewer, Role::Admin];
pub(super) const NOBODY: &[Role] = &[];
/// Who may write some event of a transfer; which, [`crate::kinds::transfer::form`] says.
pub(super) const EVENT_WRITERS: &[Role] = &[Role::Secretary, Role::Officer];

/// Shared beginnings of the field tables: each constructor fixes what the fields of one merge rule have in common.
pub(super) const fn register(
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    class: Class,
    rule: Rule,
) -> Field {
    Field {
        name,
        label_zh: zh,
        label_en: en,
        shape: Shape::Register,
        merge: MergeRule::MultiValue,
        class,
        rule,
        required: false,
        creators: ALL_EDITORS,
        editors: ALL_EDITORS,
        meaning: Meaning::Text,
        headings: Headings::NONE,
        export: None,
        alike: None,
        stored: true,
        days: Days::Signed,
    }
}

pub(super) const fn once(
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    rule: Rule,
) -> Field {
    Field {
        merge: MergeRule::WriteOnce,
        required: true,
        editors: NOBODY,
        ..register(name, zh, en, Class::P1, rule)
    }
}

pub(super) const fn entry(
    list: &'static str,
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    class: Class,
    rule: Rule,
) -> Field {
    Field {
        shape: Shape::Entry { list },
        ..register(name, zh, en, class, rule)
    }
}

pub(super) const fn log(
    list: &'static str,
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    class: Class,
    rule: Rule,
) -> Field {
    Field {
        merge: MergeRule::Log,
        ..entry(list, name, zh, en, class, rule)
    }
}

pub(super) const KIND: Field = once(key::KIND, "种类", "kind", Rule::Kind)
    .means(Meaning::Identity)
    .unstored();
pub(super) const STREET: Field =
    once("street", "街道代码", "street code", Rule::Text(9)).means(Meaning::Identity);
pub(super) const GRID: Field = Field {
    merge: MergeRule::LastWriter,
    required: true,
    editors: OFFICE,
    ..register(key::GRID, "责任网格", "grid", Class::P1, Rule::Text(40))
        .means(Meaning::Grid)
        .export(0)
        .headings(
            &[
                "网格",
                "所属网格",
                "责任网格",
                "网格号",
                "网格编号",
                "网格名称",
                "网格代码",
                "grid",
                "gridcode",
                "gridno",
            ],
            &[&["网格"]],
            12,
        )
};
pub(super) const NOTE: Field = Field {
    merge: MergeRule::Text,
    required: true,
    ..register(key::NOTE, "备注", "note", Class::P1, Rule::Note).means(Meaning::Note)
};
