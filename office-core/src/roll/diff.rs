//! What a row of a sheet from elsewhere says against what stands on the card: field by field, compared as people mean it.
//!
//! Full width or not, spaces, 号, spellings of days and numbers make no difference; so the same roll in another format changes nothing.

use std::collections::BTreeMap;

use lianka_sync_core::{
    codec::change::Scalar,
    crdt::view::View,
    id::EntryId,
    key::{self, NOTE},
    kinds::{self, Field, Kind, Meaning, Shape},
    search::fold,
    values::{credit_code, date, phone, text},
};
use serde::{Deserialize, Serialize};

use super::workbook::person_key;
use crate::acts::import::{CellWrite, NoteWrite, Over};

/// How a column of a sheet from elsewhere is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// Only where the card says nothing.
    #[default]
    Empty,
    /// Instead of what the card says.
    Take,
    /// Beside it, as a conflict that somebody decides.
    Conflict,
}

/// How the columns are taken, by the field's name as the report of an import names it: `sign_name`, `contacts/phones`.
pub type Columns = BTreeMap<String, Take>;

/// What a row says.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Says {
    /// Registers and members of sets.
    pub values: Vec<(String, Scalar)>,
    /// Persons: field and value.
    pub persons: Vec<Vec<(String, String)>>,
    pub note: Option<String>,
}

/// A field of which sheet and card say different things.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Differs {
    /// The key on the card.
    pub key: String,
    /// The field's name, by which a column is taken.
    pub field: String,
    /// What the card says: every value that stands side by side.
    pub is: Vec<String>,
    /// What the sheet says; absent: the field is emptied.
    pub shall: Option<String>,
}

impl Differs {
    /// Of a key that holds these values.
    pub(super) fn of(key: &str, held: &[&Scalar], shall: Option<&Scalar>) -> Self {
        let field = Kind::ShopCard.field(key).map(|(field, _)| field);
        let shown = |value: &&Scalar| {
            let said = field.and_then(|field| field.said(key, value));
            said.or(value.as_str()).unwrap_or_default().to_owned()
        };
        Self {
            key: key.to_owned(),
            field: field_name(key),
            is: held.iter().map(shown).collect(),
            shall: shall.as_ref().map(shown),
        }
    }

    /// Of the note: what it reads and shall read.
    pub(super) fn of_note(is: String, shall: String) -> Self {
        let filled = |text: &String| !text.is_empty();
        Self {
            key: NOTE.to_owned(),
            field: NOTE.to_owned(),
            is: Some(is).filter(filled).into_iter().collect(),
            shall: Some(shall).filter(filled),
        }
    }
}

/// The values that a key holds.
pub(super) fn held<'v>(view: &'v View, key: &str) -> Vec<&'v Scalar> {
    let values = view.values.get(key).into_iter().flatten();
    values.map(|held| &held.value).collect()
}

/// What a row would write.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Difference {
    pub fields: Vec<Differs>,
    pub cells: Vec<CellWrite>,
    pub note: Option<NoteWrite>,
}

/// The name by which a key's column is taken.
pub fn field_name(key: &str) -> String {
    match Kind::ShopCard.field(key) {
        Some((field, _)) => match field.shape {
            Shape::Entry { list } => format!("{list}/{}", field.name),
            Shape::Custom => key.to_owned(),
            _ => field.name.to_owned(),
        },
        None => key.to_owned(),
    }
}

/// Whether two texts of a field mean the same.
pub fn same(field: &Field, mine: &str, theirs: &str) -> bool {
    if mine == theirs {
        return true;
    }
    match field.meaning {
        Meaning::Telephone => {
            let digits = |text: &str| {
                let mut digits: Vec<_> = phone::parse(text)
                    .iter()
                    .map(phone::Phone::canonical)
                    .collect();
                digits.sort();
                digits
            };
            digits(mine) == digits(theirs)
        }
        Meaning::Date => date::parse(mine).is_some() && date::parse(mine) == date::parse(theirs),
        Meaning::CreditCode => {
            let code = |text: &str| credit_code::check(text).normalised;
            !code(mine).is_empty() && code(mine) == code(theirs)
        }
        Meaning::Address | Meaning::AddressPart(_) => {
            let plain = |text: &str| fold(text).replace(['号', '號'], "");
            plain(mine) == plain(theirs)
        }
        Meaning::Number | Meaning::Custom => {
            let number = |text: &str| {
                text::half_width(text.trim())
                    .replace(',', "")
                    .parse::<f64>()
                    .ok()
            };
            let day = |text: &str| date::parse(text);
            fold(mine) == fold(theirs)
                || (number(mine).is_some() && number(mine) == number(theirs))
                || (day(mine).is_some() && day(mine) == day(theirs))
        }
        _ => fold(mine) == fold(theirs),
    }
}

/// What a row says that the card does not, and what of it is written. `entry` makes the id of the n-th person that the card lacks.
pub fn difference(
    says: &Says,
    view: &View,
    take: &dyn Fn(&str) -> Take,
    entry: &dyn Fn(usize) -> EntryId,
) -> Difference {
    let mut found = Difference::default();
    for (key, value) in &says.values {
        if [key::KIND, key::STREET].contains(&key.as_str()) {
            continue;
        }
        one(&mut found, view, key, value, take);
    }
    for (nth, person) in says.persons.iter().enumerate() {
        let of = whose(person, view).unwrap_or_else(|| entry(nth));
        for (field, value) in person {
            let key = person_key(of, field);
            one(&mut found, view, &key, &Scalar::from(value.as_str()), take);
        }
    }
    if let Some(text) = &says.note {
        note(&mut found, view, text, take(NOTE));
    }
    found
}

fn one(
    found: &mut Difference,
    view: &View,
    key: &str,
    value: &Scalar,
    take: &dyn Fn(&str) -> Take,
) {
    let Some((field, _)) = Kind::ShopCard.field(key) else {
        return;
    };
    let held = held(view, key);
    let says_so = held
        .iter()
        .any(|held| match (held.as_str(), value.as_str()) {
            (Some(held), Some(value)) => same(field, held, value),
            _ => **held == *value,
        });
    if says_so {
        return;
    }
    let over = match take(&field_name(key)) {
        _ if held.is_empty() => Over::Absent,
        Take::Take => Over::Seen,
        Take::Conflict if field.keeps_conflicts() => Over::Nothing,
        // A field whose last writer wins has no two values side by side: nothing of it is taken unseen.
        Take::Empty | Take::Conflict => Over::Absent,
    };
    found.fields.push(Differs::of(key, &held, Some(value)));
    found.cells.push(CellWrite {
        key: key.to_owned(),
        value: Some(value.clone()),
        over,
    });
}

/// Which person of the card it is: the same number, or the same name.
fn whose(person: &[(String, String)], view: &View) -> Option<EntryId> {
    let says = |meaning: Meaning| {
        let field = person_field(meaning)?;
        let text = person.iter().find(|(name, _)| name == field.name)?;
        Some((field, text.1.as_str()))
    };
    let entries = kinds::persons(view);
    let by = |meaning: Meaning| {
        let (field, text) = says(meaning)?;
        let mut found = entries.iter().filter(|entry| {
            view.text(&field.key_in(**entry))
                .is_some_and(|held| match meaning {
                    Meaning::Telephone => share_a_number(held, text),
                    _ => same(field, held, text),
                })
        });
        // Two of one name are nobody in particular.
        let first = found.next().copied();
        first.filter(|_| found.next().is_none())
    };
    by(Meaning::Telephone).or_else(|| by(Meaning::PersonName))
}

fn person_field(meaning: Meaning) -> Option<&'static Field> {
    let mut fields = Kind::ShopCard.person_fields();
    fields.find(|field| field.meaning == meaning)
}

fn share_a_number(mine: &str, theirs: &str) -> bool {
    let theirs = phone::parse(theirs);
    phone::parse(mine).iter().any(|phone| {
        !phone.digits.is_empty() && theirs.iter().any(|other| other.digits == phone.digits)
    })
}

fn note(found: &mut Difference, view: &View, says: &str, take: Take) {
    let held = view.note.clone().unwrap_or_default();
    if fold(&held) == fold(says) || fold(&held).contains(&fold(says)) {
        return;
    }
    found
        .fields
        .push(Differs::of_note(held.clone(), says.to_owned()));
    let text = match take {
        _ if held.is_empty() => says.to_owned(),
        Take::Empty => return,
        Take::Take => says.to_owned(),
        // Two notes do not stand side by side: one follows the other.
        Take::Conflict => format!("{held}\n{says}"),
    };
    found.note = Some(NoteWrite { was: held, text });
}
