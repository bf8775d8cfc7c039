//! Record kinds as data: their fields, how concurrent values merge, how sensitive they are, who may edit them, what they mean.
//!
//! The same description runs on the phone, to prevent, and on the server, to refuse; import, export, search, person search and the tables
//! read it too. docs/protocol.md prints it. Source of the rules: the field tables agreed with street offices (docs/domain.md).
//!
//! [`kind`] says what a kind is. Each kind is a file of its own, and a line in the list below.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub mod consent;
pub mod duplicate;
pub mod kind;
pub mod projection;
pub mod row;
pub mod shop_card;
pub mod transfer;
pub mod transfer_request;
pub mod visit;

pub use crate::key::{self, Key};
pub use kind::{
    Alike, Broken, Class, Days, Derived, Description, Field, Headings, Meaning, MergeRule,
    Personal, Rows, Rule, Shape, Table, Writing,
};

use crate::{
    crdt::view::{Value, View},
    id::{EntryId, RecordId},
    lang::Lang,
};

/// Hands the list of kinds to a macro: variant, module, row. Stored states name a kind by its place here: a new one is added at the end.
macro_rules! with_kinds {
    ($then:ident) => {
        $then! {
            /// 沿街商铺联系卡
            ShopCard = shop_card::CardRow,
            /// 组织关系转接
            TransferRequest = transfer_request::TransferRow,
            /// 走访
            Visit = visit::VisitRow,
        }
    };
}
pub(crate) use with_kinds;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $module:ident :: $row:ident,)*) => {
        /// A kind of record.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// The names of all kinds.
            pub const NAMES: &[&str] = &[$($module::NAME),*];

            /// Every kind.
            pub const ALL: [Self; Self::NAMES.len()] = [$(Self::$kind),*];

            /// Everything there is to know of it.
            pub const fn description(self) -> &'static Description {
                match self {
                    $(Self::$kind => &$module::DESCRIPTION,)*
                }
            }
        }
    };
}

with_kinds!(kinds);

/// Every key of a record in conflict ([`Description::conflicts`]).
pub fn conflicts(view: &View) -> impl Iterator<Item = (&str, &[Value])> {
    Kind::of(view)
        .into_iter()
        .flat_map(|kind| kind.description().conflicts(view))
}

/// The persons of a record: entries of the list that its kind keeps them in.
pub fn persons(view: &View) -> Vec<EntryId> {
    let list = Kind::of(view).and_then(Kind::persons);
    list.map_or_else(Vec::new, |list| view.entries(list))
}

/// What people call the record.
pub fn title(view: &View) -> Option<String> {
    Kind::of(view)?.title(|key| view.text(key).map(str::to_owned))
}

/// The record as which this one goes on.
pub fn successor(view: &View) -> Option<RecordId> {
    view.text(Kind::of(view)?.succession()?)?.parse().ok()
}

/// Why a text names no kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of record")]
pub struct UnknownKind;

impl Kind {
    /// What people read for a word of one of its lists; the word itself where there is nothing else to say.
    pub fn words(self, word: &str, lang: Lang) -> &str {
        match self {
            Self::ShopCard => word,
            Self::TransferRequest => transfer_request::words(word, lang),
            Self::Visit => visit::words(word, lang),
        }
    }

    /// The kind of a record, from its `kind` field.
    pub fn of(view: &View) -> Option<Self> {
        view.text(key::KIND)?.parse().ok()
    }

    /// The name on the wire and in the record's `kind` field.
    pub const fn as_str(self) -> &'static str {
        self.description().name
    }

    /// The tables that every kind is read from, each once.
    pub fn read_models() -> impl Iterator<Item = &'static str> {
        let tables = Self::tables().map(|table| table.name);
        tables.chain(["field_conflict"])
    }

    /// Its fields.
    pub const fn fields(self) -> &'static [Field] {
        self.description().fields
    }

    /// The field that `key` belongs to, with the key's variable parts.
    pub fn field(self, key: &str) -> Option<(&'static Field, Key<'_>)> {
        self.description().field(key)
    }

    /// What a key's value means.
    pub fn meaning(self, key: &str) -> Option<Meaning> {
        self.field(key).map(|(field, _)| field.meaning)
    }

    /// What people call a record: the first of its names that says something. `text` gives the value of a key.
    pub fn title(self, text: impl Fn(&str) -> Option<String>) -> Option<String> {
        [Meaning::TradeName, Meaning::LegalName, Meaning::PersonAlias]
            .into_iter()
            .flat_map(|meaning| {
                let fields = self.fields().iter();
                fields
                    .filter(move |field| field.meaning == meaning && field.shape == Shape::Register)
            })
            .find_map(|field| text(field.name))
    }

    /// The key that names the record as which one of this kind goes on, where it may.
    pub fn succession(self) -> Option<&'static str> {
        let mut fields = self.fields().iter();
        fields
            .find(|field| field.meaning == Meaning::Succession)
            .map(|field| field.name)
    }

    /// The first field of this meaning.
    pub fn of_meaning(self, meaning: Meaning) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.meaning == meaning)
    }

    /// Its field of a person, by name.
    pub fn person_field(self, name: &str) -> Option<&'static Field> {
        self.person_fields().find(|field| field.name == name)
    }

    /// The list whose entries are persons, where it has one.
    pub const fn persons(self) -> Option<&'static str> {
        match self.description().personal {
            Personal::Entries { list, .. } => Some(list),
            Personal::Record | Personal::Mentions => None,
        }
    }

    /// What a record of the kind says of each of its persons.
    pub fn person_fields(self) -> impl Iterator<Item = &'static Field> {
        let fields = self.fields().iter();
        fields.filter(move |field| self.is_of_persons(field))
    }

    /// The list of what its persons consented to.
    pub const fn consents(self) -> Option<&'static str> {
        match self.description().personal {
            Personal::Entries { consents, .. } => Some(consents),
            Personal::Record | Personal::Mentions => None,
        }
    }

    /// What is said of its persons only with their consent, whose scope is the field's name.
    pub fn with_consent(self) -> impl Iterator<Item = &'static Field> {
        self.person_fields()
            .filter(|field| field.class == Class::P3)
    }

    /// Whether the field, one of this kind's, is of its persons.
    pub fn is_of_persons(self, field: &Field) -> bool {
        matches!(field.shape, Shape::Entry { list } if self.persons() == Some(list))
    }

    /// Whether a record of the kind has a note.
    pub fn has_note(self) -> bool {
        self.fields()
            .iter()
            .any(|field| field.merge == MergeRule::Text)
    }

    /// Every table of every kind.
    pub fn tables() -> impl Iterator<Item = &'static Table> {
        Self::ALL
            .iter()
            .flat_map(|kind| kind.description().tables.iter().copied())
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
            .iter()
            .copied()
            .find(|kind| kind.as_str() == text)
            .ok_or(UnknownKind)
    }
}

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
