//! The “reconnect morning” workload: a shop roll, and what every phone edits while it is offline.
//!
//! Input: a file, or the arguments of [`generate()`]. Output: a [`Workload`]. The generator is a port of a JavaScript program and writes the
//! same bytes for the same arguments, so that figures measured with either can be compared; frozen digests hold it to that. Whoever reads a
//! file of unknown origin calls [`Workload::check`] first: after it every index is in range.

mod generate;

use std::{fmt, fs, path::Path};

use anyhow::{Context, ensure};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use generate::{Arguments, generate};

/// Name and version of the format.
pub const FORMAT: &str = "reconnect-morning/1";

/// A whole workload. Key order is the file's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// [`FORMAT`].
    pub workload: String,
    pub seed: i64,
    pub stats: Stats,
    pub field_names: Vec<String>,
    pub cards: Vec<Card>,
    pub phones: Vec<PhoneEdits>,
    pub conflicts: Vec<Conflict>,
}

/// Counts over the rest of the file; nothing here reads them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    pub cards: usize,
    pub phones: usize,
    pub edits_per_phone: usize,
    pub edits: usize,
    pub field_writes: usize,
    pub true_conflicts: usize,
    pub cards_edited: usize,
    pub cards_edited_by_one: usize,
    pub cards_edited_by_many: usize,
    pub edits_on_cards_also_edited_by_another: usize,
    pub max_editors_of_a_card: usize,
    pub roll_json_bytes: usize,
    pub mean_card_json_bytes: usize,
    pub edits_json_bytes: usize,
}

/// One shop of the roll.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Card {
    pub id: String,
    pub fields: FieldMap,
    pub tags: Vec<String>,
    pub contacts: Vec<Contact>,
    pub note: String,
}

/// A contact person of a shop.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Contact {
    pub name: String,
    pub phone: String,
    pub role: String,
}

/// The edits of one phone, in the order they are made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PhoneEdits {
    pub phone: usize,
    pub edits: Vec<CardEdit>,
}

/// One edit: some fields of one card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CardEdit {
    /// Position in [`Workload::cards`].
    pub card: usize,
    pub kind: EditKind,
    pub set: FieldMap,
}

/// What another phone does to the same card.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EditKind {
    /// It writes the same field: a conflict.
    SameField,
    /// It writes other fields.
    SameCard,
    /// Nothing that was planned.
    Plain,
}

/// A field that two phones write.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Conflict {
    pub card: usize,
    pub field: String,
    pub writers: Vec<Writer>,
}

/// One of the writers of a conflict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Writer {
    pub phone: usize,
    pub value: String,
}

/// Fields with their values in the file's order, which JavaScript keeps and a sorted map would not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FieldMap(pub Vec<(String, String)>);

impl FieldMap {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(field, value)| (field.as_str(), value.as_str()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for FieldMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for FieldMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> de::Visitor<'de> for InOrder {
            type Value = FieldMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<FieldMap, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(FieldMap(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

impl Workload {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| {
            format!(
                "cannot read {}: make a workload with `lianka-simulator workload --out FILE`",
                path.display()
            )
        })?;
        let workload: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no workload of the format {FORMAT}", path.display()))?;
        workload
            .check()
            .with_context(|| format!("{} cannot be used", path.display()))?;
        Ok(workload)
    }

    /// Every index is in range, and every phone stands at its own.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.workload == FORMAT,
            "it says that it is {:?}; this program reads {FORMAT}",
            self.workload
        );
        ensure!(
            !self.cards.is_empty() && !self.phones.is_empty(),
            "it has no cards or no phones"
        );
        let cards = self.cards.len();
        for (index, phone) in self.phones.iter().enumerate() {
            ensure!(
                phone.phone == index,
                "phone {} stands at position {index}",
                phone.phone
            );
            ensure!(
                phone.edits.iter().all(|edit| edit.card < cards),
                "phone {index} edits a card that is not in the roll"
            );
        }
        for conflict in &self.conflicts {
            ensure!(
                conflict.card < cards,
                "a conflict is on a card that is not in the roll"
            );
            ensure!(
                conflict
                    .writers
                    .iter()
                    .all(|writer| writer.phone < self.phones.len()),
                "a conflict names a phone that is not there"
            );
        }
        Ok(())
    }

    /// Edits of all phones together.
    pub fn edit_count(&self) -> usize {
        self.phones.iter().map(|phone| phone.edits.len()).sum()
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        // Plain structs of texts and whole numbers have no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn check_frozen(shops: usize, phones: usize, edits: usize, seed: i64, sha256: &str) {
        let workload = generate(&Arguments {
            shops,
            phones,
            edits,
            seed,
        })
        .expect("possible");
        workload.check().expect("usable");
        let text = workload.to_json();
        assert_eq!(
            hex::encode(Sha256::digest(&text)),
            sha256,
            "{shops} {phones} {edits} {seed}"
        );
        assert_eq!(
            serde_json::from_str::<Workload>(&text).expect("reads what it wrote"),
            workload
        );
    }

    /// The digests are of files that the original JavaScript program wrote.
    #[test]
    fn writes_the_same_bytes_as_the_original() {
        check_frozen(
            1400,
            42,
            60,
            20_261_121,
            "3fe119e489438c9cc82b81160978c7323cbebbbdccc3c924f913916e7e39102a",
        );
        check_frozen(
            200,
            6,
            20,
            1,
            "a531d740e0ff729c50c1caf2e961bd38d2eb61a33972262bf5e0ece080d7c3b5",
        );
        check_frozen(
            300,
            10,
            25,
            -7,
            "0344b15091ad153b9e295d242fa555d54afc2033f76c6f355d5ae73e64e340cb",
        );
        check_frozen(
            120,
            4,
            5,
            4_294_967_299,
            "485bad3c36d6a8d5033b228d029c6d3796d5b130fb2ba5ba7a6d9b11bdb63571",
        );
    }

    #[test]
    fn refuses_what_cannot_be_made() {
        let make = |shops, phones, edits| {
            generate(&Arguments {
                shops,
                phones,
                edits,
                seed: 1,
            })
            .map(drop)
        };
        assert!(make(100, 3, 10).is_err(), "conflicts are pairs");
        assert!(make(0, 2, 1).is_err(), "no cards");
        assert!(make(10, 2, 60).is_err(), "a phone edits a card once");
    }

    #[test]
    fn a_file_with_an_index_out_of_range_is_refused() {
        let mut workload = generate(&Arguments {
            shops: 60,
            phones: 2,
            edits: 10,
            seed: 1,
        })
        .expect("possible");
        workload.phones[1].edits[0].card = 60;
        assert!(workload.check().is_err());
    }
}
