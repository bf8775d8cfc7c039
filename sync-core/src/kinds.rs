//! Record kinds as data: their fields, how concurrent values merge, how sensitive they are, who may edit them.
//!
//! The same table runs on the phone, to prevent, and on the server, to refuse. docs/protocol.md prints it. Source of the rules:
//! the field tables agreed with street offices (docs/domain.md).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::access::Role;

pub mod duplicate;
pub mod projection;
mod shop_card;
pub mod transfer;
mod transfer_request;

/// A kind of record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 沿街商铺联系卡
    ShopCard,
    /// 组织关系转接
    TransferRequest,
}

/// Why a text names no kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of record")]
pub struct UnknownKind;

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::ShopCard, Self::TransferRequest];

    /// The name on the wire and in the record's `kind` field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ShopCard => "shop_card",
            Self::TransferRequest => "transfer_request",
        }
    }

    /// Its fields.
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Self::ShopCard => shop_card::FIELDS,
            Self::TransferRequest => transfer_request::FIELDS,
        }
    }

    /// The field that `key` belongs to, with the key's variable parts.
    pub fn field(self, key: &str) -> Option<(&'static Field, Key<'_>)> {
        let key = Key::parse(key)?;
        self.fields()
            .iter()
            .find(|field| field.matches(&key))
            .map(|field| (field, key))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(UnknownKind)
    }
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
    /// `YYYY-MM-DD`.
    Date,
    /// `geo:lat,lon;crs=…;u=…` (RFC 5870), crs required.
    Point,
    /// A UUID: an entry of this record, or another record.
    Entry,
    /// `true`: a set member.
    Flag,
    /// The Text object.
    Note,
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
}

impl Field {
    /// Whether `key` is one of this field's keys.
    fn matches(&self, key: &Key<'_>) -> bool {
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

    /// Whether several values of the field, if they differ, are a conflict that people must see.
    pub fn keeps_conflicts(&self) -> bool {
        matches!(self.merge, MergeRule::MultiValue)
    }
}

/// A flat key, split at its slashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key<'k> {
    /// `field`
    Plain(&'k str),
    /// `set/member` or `custom/name`
    Member {
        /// The constant part.
        name: &'k str,
        /// The variable part.
        member: &'k str,
    },
    /// `list/entry/field`
    Entry {
        /// The collection.
        list: &'k str,
        /// The entry.
        entry: crate::id::EntryId,
        /// The field of the entry.
        field: &'k str,
    },
}

impl<'k> Key<'k> {
    /// Splits a key; `None` where it has another form. Entry ids are hyphenated, lower-case UUIDs: one entry has one spelling.
    pub fn parse(key: &'k str) -> Option<Self> {
        let mut parts = key.split('/');
        let parsed = match (parts.next()?, parts.next(), parts.next()) {
            (name, None, None) => Self::Plain(name),
            (name, Some(member), None) => Self::Member { name, member },
            (list, Some(entry), Some(field)) => {
                let id = entry.parse::<crate::id::EntryId>().ok()?;
                if id.to_string() != entry {
                    return None;
                }
                Self::Entry {
                    list,
                    entry: id,
                    field,
                }
            }
            (_, None, Some(_)) => return None,
        };
        if parts.next().is_some() {
            None
        } else {
            Some(parsed)
        }
    }
}

const ALL_EDITORS: &[Role] = &[Role::Secretary, Role::Reviewer, Role::Admin];
const OFFICE: &[Role] = &[Role::Reviewer, Role::Admin];
const NOBODY: &[Role] = &[];
/// Who may write some event of a transfer; which, [`crate::kinds::transfer::form`] says.
const EVENT_WRITERS: &[Role] = &[Role::Secretary, Role::Officer];

/// Shared beginnings of the field tables: each constructor fixes what the fields of one merge rule have in common.
const fn register(
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
    }
}

const fn once(name: &'static str, zh: &'static str, en: &'static str, rule: Rule) -> Field {
    Field {
        merge: MergeRule::WriteOnce,
        required: true,
        editors: NOBODY,
        ..register(name, zh, en, Class::P1, rule)
    }
}

const fn entry(
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

const fn log(
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

const KIND: Field = once(
    "kind",
    "种类",
    "kind",
    Rule::OneOf(&["shop_card", "transfer_request"]),
);
const STREET: Field = once("street", "街道代码", "street code", Rule::Text(9));
const GRID: Field = Field {
    merge: MergeRule::LastWriter,
    required: true,
    editors: OFFICE,
    ..register("grid", "责任网格", "grid", Class::P1, Rule::Text(40))
};
const NOTE: Field = Field {
    merge: MergeRule::Text,
    required: true,
    ..register("note", "备注", "note", Class::P1, Rule::Note)
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_belongs_to_one_field() {
        for kind in Kind::ALL {
            let mut patterns: Vec<_> = kind.fields().iter().map(Field::pattern).collect();
            patterns.sort();
            let before = patterns.len();
            patterns.dedup();
            assert_eq!(patterns.len(), before, "{kind}");
        }
    }

    #[test]
    fn keys_split_in_one_spelling_only() {
        let entry = "0198c0de-0000-7000-8000-000000000001";
        assert!(
            Kind::ShopCard
                .field(&format!("contacts/{entry}/name"))
                .is_some()
        );
        assert!(
            Kind::ShopCard
                .field(&format!("contacts/{}/name", entry.to_uppercase()))
                .is_none()
        );
        assert!(
            Kind::ShopCard
                .field(&format!("contacts/{}/name", entry.replace('-', "")))
                .is_none()
        );
        for bad in [
            "",
            "/",
            "sign_name/",
            "sign_name/x",
            "tags",
            "contacts/x/name",
            "contacts",
            "tags/a/b/c",
            "nope",
        ] {
            assert!(Kind::ShopCard.field(bad).is_none(), "{bad}");
        }
        assert!(Kind::ShopCard.field("tags/late_night").is_some());
        assert!(Kind::ShopCard.field("custom/消防检查").is_some());
    }
}
