//! Which card of the roll a row of a sheet from elsewhere is: found by what both are recognised by, with the reasons.
//!
//! In: what each row and each card that meets it under a key is recognised by. Out: one card, several that may be it, or none. The rule is that of the
//! likely doubles ([`lianka_sync_core::kinds::duplicate`]); nothing here counts or ranks people.

use std::collections::HashMap;

use lianka_office_core::roll::said::of_meaning as field;
use lianka_sync_core::{
    id::RecordId,
    kinds::{
        Kind, Meaning,
        duplicate::{Comparison, Reason, Recognised, Traits},
        kind::AddressPart,
    },
};
use serde::{Deserialize, Serialize};

use super::diff::Says;

/// A card that a row may be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    pub record: RecordId,
    pub reasons: Vec<Reason>,
}

/// Which card a row is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Match {
    /// This one.
    One(Candidate),
    /// One of several, for equally good reasons.
    Ambiguous(Vec<Candidate>),
    /// Perhaps one of these: somebody should look.
    Likely(Vec<Candidate>),
    /// None that is known.
    None,
}

/// What a row is recognised by.
pub fn traits(says: &Says) -> Traits {
    let text = |meaning: Meaning| {
        let name = field(meaning)?.name;
        let value = says.values.iter().find(|(key, _)| key == name)?;
        value.1.as_str()
    };
    let part = |part: AddressPart| text(Meaning::AddressPart(part));
    Traits::of(&Recognised {
        name: text(Meaning::TradeName),
        address: [
            part(AddressPart::Road),
            part(AddressPart::Lane),
            part(AddressPart::Number),
            part(AddressPart::Suffix),
            part(AddressPart::Unit),
        ],
        address_raw: text(Meaning::Address),
        credit_code: text(Meaning::CreditCode),
        phones: says
            .persons
            .iter()
            .flatten()
            .filter(|(name, _)| {
                Kind::ShopCard
                    .person_field(name)
                    .is_some_and(|field| field.meaning == Meaning::Telephone)
            })
            .map(|(_, value)| value.as_str())
            .collect(),
    })
}

/// The cards that meet the row under a key, compared with it.
pub(super) fn find(row: &Traits, cards: &HashMap<RecordId, Traits>, meeting: &[RecordId]) -> Match {
    let mut sure = Vec::new();
    let mut likely = Vec::new();
    for record in meeting {
        let Some(card) = cards.get(record) else {
            continue;
        };
        let comparison = row.compare(card);
        let candidate = || Candidate {
            record: *record,
            reasons: comparison.reasons.clone(),
        };
        if is_sure(&comparison) {
            sure.push(candidate());
        } else if comparison.is_likely() || is_worth_a_look(&comparison) {
            likely.push(candidate());
        }
    }
    // More reasons are better ones: a branch shares the code, the shop itself the door as well.
    let most = sure.iter().map(|found| found.reasons.len()).max();
    sure.retain(|found| Some(found.reasons.len()) == most);
    sure.sort_by_key(|found| found.record);
    likely.sort_by_key(|found| (std::cmp::Reverse(found.reasons.len()), found.record));
    match sure.len() {
        1 => Match::One(sure.remove(0)),
        0 if likely.is_empty() => Match::None,
        0 => Match::Likely(likely),
        _ => Match::Ambiguous(sure),
    }
}

/// The registered code, or two of door, name and telephone, where the doors do not differ.
fn is_sure(comparison: &Comparison) -> bool {
    let has = |reason: Reason| comparison.reasons.contains(&reason);
    !comparison.other_door
        && (has(Reason::SameCreditCode)
            || (has(Reason::SameDoor) && (has(Reason::SameName) || has(Reason::SimilarName)))
            || (has(Reason::SamePhone)
                && (has(Reason::SameDoor) || has(Reason::SameName) || has(Reason::SimilarName))))
}

/// One reason is never enough to say that it is the card; a telephone number or a code is enough to ask.
fn is_worth_a_look(comparison: &Comparison) -> bool {
    let has = |reason: Reason| comparison.reasons.contains(&reason);
    has(Reason::SameCreditCode) || (has(Reason::SamePhone) && !comparison.other_door)
}
