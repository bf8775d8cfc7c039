//! Copies of one phone write in one name, and replace nothing of each other that they had not seen.
//!
//! In: who saved which value, and what each phone had shown by then. A change does not say which of the copies it is by; the values that it writes do,
//! because they are unique in a run. A deletion is by one of those who deleted.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{About, Finding, bytes, ledger::Ledger};
use crate::{
    engine::Story,
    journal::{Did, Event, PhoneNo},
};

/// A key of a record.
type Place = (Uuid, String);

#[derive(Default)]
struct Phones {
    /// Who saved a value under a key; `None`: who deleted there.
    saved: BTreeMap<(Place, Option<String>), Vec<PhoneNo>>,
    /// What each phone ever typed or showed when the key was edited, that of its original included.
    knows: BTreeMap<PhoneNo, BTreeSet<(Place, String)>>,
}

impl Phones {
    fn of(story: &Story) -> Self {
        let mut phones = Self::default();
        for line in &story.journal.lines {
            match &line.event {
                Event::Cloned { phone, from } => {
                    let known = phones.knows.get(from).cloned().unwrap_or_default();
                    phones.knows.insert(*phone, known);
                }
                Event::Saved {
                    phone,
                    record,
                    did,
                    saw,
                    ..
                } => {
                    let knows = phones.knows.entry(*phone).or_default();
                    let shown = saw.iter();
                    knows.extend(shown.map(|saw| ((*record, saw.key.clone()), saw.value.clone())));
                    for did in did {
                        let (key, value) = match did {
                            Did::Put { key, value } => (key, Some(value)),
                            Did::Delete { key } => (key, None),
                            Did::Note { .. } => continue,
                        };
                        let place = (*record, key.clone());
                        knows.extend(value.map(|value| (place.clone(), value.clone())));
                        let saved = phones.saved.entry((place, value.cloned()));
                        saved.or_default().push(*phone);
                    }
                }
                _ => {}
            }
        }
        phones
    }

    fn who_saved(&self, place: &Place, value: Option<&str>) -> &[PhoneNo] {
        let saved = (place.clone(), value.map(str::to_owned));
        self.saved.get(&saved).map_or(&[], Vec::as_slice)
    }

    fn knows(&self, phone: PhoneNo, place: &Place, value: &str) -> bool {
        let wanted = (place.clone(), value.to_owned());
        let knows = self.knows.get(&phone);
        knows.is_some_and(|knows| knows.contains(&wanted))
    }
}

pub fn check(story: &Story, ledger: &Ledger, found: &mut Vec<Finding>) {
    // A phone brings back to a restored store what its copies wrote as well.
    if !ledger.restores.is_empty() {
        return;
    }
    let phones = Phones::of(story);
    for ((record, hash), arrived) in &ledger.arrived {
        let Some(card) = ledger.now.cards.get(record) else {
            continue;
        };
        if !card.accepted.contains_key(hash) {
            continue;
        }
        for write in &arrived.said.writes {
            let place = (*record, write.key.clone());
            let authors = phones.who_saved(&place, write.value.as_deref());
            // Written twice: nobody can tell whose it is.
            if authors.is_empty() || (write.value.is_some() && authors.len() > 1) {
                continue;
            }
            let own = |(_, actor): &&bytes::OpId| bytes::device(actor) == arrived.said.device;
            for put in write
                .preds
                .iter()
                .filter(own)
                .filter_map(|op| card.puts.get(op))
            {
                let is_unique = phones.who_saved(&place, Some(&put.value)).len() == 1;
                if is_unique
                    && !authors
                        .iter()
                        .any(|author| phones.knows(*author, &place, &put.value))
                {
                    let (key, by) = (&write.key, authors[0].0);
                    let what = match &write.value {
                        Some(value) => format!("{value:?}, typed at phone {by},"),
                        None => format!("a deletion at phone {by}"),
                    };
                    found.push(Finding::new(
                        "nobody's unseen value is replaced",
                        About::record(*record).key(key).value(&put.value),
                        format!(
                            "{what} replaced {:?} as {key} of {record}, which a copy of that phone had written and it never showed",
                            put.value
                        ),
                    ));
                }
            }
        }
    }
}
