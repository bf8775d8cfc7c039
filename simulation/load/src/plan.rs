//! What the demo's phones do while they are offline.
//!
//! Input: the roll as the office holds it, and the grids of every phone. Output: every phone's edits. Of each phone's edits a tenth are true conflicts
//! (its neighbour writes the same field of the same card), a fifth are on a card of which its neighbour writes another field. Invariants: a
//! phone edits cards of its own grids only, and each at most once; a field of a card is written once, or by the two phones of a planned
//! conflict; every written value is unique. So no edit may vanish and every conflict is known beforehand.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use lianka_sync_core::{crdt::record::Edit, id::RecordId, kinds::projection::CardRow};

use crate::{
    draw::Draw,
    findings::{Written, shown},
};

/// Edits of each phone.
pub const EDITS: usize = 60;
const SAME_FIELD: usize = EDITS / 10;
const SAME_CARD: usize = EDITS / 5;
const SEED: u32 = 20_261_121;

/// One edit: the value becomes the field's, as one change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    pub record: RecordId,
    pub key: String,
    pub value: String,
}

impl Planned {
    /// As a phone's edit.
    pub fn edit(&self) -> Edit {
        if self.key == NOTE {
            Edit::Note {
                text: self.value.clone(),
            }
        } else {
            Edit::set(self.key.as_str(), &self.value)
        }
    }
}

/// Everything written, for [`crate::findings::judge`].
pub fn written(plan: &[Vec<Planned>]) -> Vec<Written> {
    let edits = plan.iter().enumerate().flat_map(|(phone, edits)| {
        edits
            .iter()
            .enumerate()
            .map(move |(edit, planned)| (phone, edit, planned))
    });
    edits
        .map(|(phone, edit, Planned { record, key, value })| Written {
            phone,
            edit,
            record: *record,
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

/// Grids of each phone: its own and the next one, in a ring, so that every phone shares a grid with the phone after it.
pub fn deal_grids(grids: &[String], phones: usize) -> Vec<Vec<String>> {
    (0..phones)
        .map(|phone| {
            let home = phone * grids.len() / phones;
            [home, (home + 1) % grids.len()]
                .map(|grid| grids[grid].clone())
                .to_vec()
        })
        .collect()
}

/// Plans the edits of all phones.
pub fn plan(
    roll: &BTreeMap<RecordId, CardRow>,
    grids: &[Vec<String>],
) -> anyhow::Result<Vec<Vec<Planned>>> {
    ensure!(
        grids.len() >= 2 && grids.len().is_multiple_of(2),
        "the phones must be an even number, because conflicts are pairs of phones"
    );
    let mut planner = Planner {
        roll,
        grids,
        draw: Draw::new(SEED),
        edits: vec![Vec::new(); grids.len()],
        touched: vec![BTreeSet::new(); grids.len()],
        used: BTreeSet::new(),
    };
    for round in 0..SAME_FIELD {
        planner.for_neighbours(round, Planner::same_field)?;
    }
    for round in 0..SAME_CARD {
        planner.for_neighbours(round, Planner::same_card)?;
    }
    for _ in SAME_FIELD + SAME_CARD..EDITS {
        for phone in 0..grids.len() {
            planner.plain(phone)?;
        }
    }
    for edits in &mut planner.edits {
        planner.draw.shuffle(edits);
    }
    Ok(planner.edits)
}

const NOTE: &str = "note";

struct Planner<'r> {
    roll: &'r BTreeMap<RecordId, CardRow>,
    grids: &'r [Vec<String>],
    draw: Draw,
    edits: Vec<Vec<Planned>>,
    /// Cards that a phone edits.
    touched: Vec<BTreeSet<RecordId>>,
    /// Fields of cards that anybody writes.
    used: BTreeSet<(RecordId, String)>,
}

impl<'r> Planner<'r> {
    /// Every phone once, with the phone after it or the one before it by turns.
    fn for_neighbours(
        &mut self,
        round: usize,
        act: fn(&mut Self, usize, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let phones = self.grids.len();
        (0..phones / 2).try_for_each(|pair| {
            let first = 2 * pair + round % 2;
            act(self, first % phones, (first + 1) % phones)
        })
    }

    fn same_field(&mut self, a: usize, b: usize) -> anyhow::Result<()> {
        // Both ends of a note's concurrent edits are kept in one text: that is no conflict.
        let (card, keys) = self.card(&[a, b], 1, |key| key != NOTE)?;
        self.used.insert((card.record, keys[0].clone()));
        self.put(a, card, &keys[0]);
        self.put(b, card, &keys[0]);
        Ok(())
    }

    fn same_card(&mut self, a: usize, b: usize) -> anyhow::Result<()> {
        let (card, keys) = self.card(&[a, b], 2, |_| true)?;
        for (phone, key) in [a, b].into_iter().zip(keys) {
            self.used.insert((card.record, key.clone()));
            self.put(phone, card, &key);
        }
        Ok(())
    }

    fn plain(&mut self, phone: usize) -> anyhow::Result<()> {
        let (card, keys) = self.card(&[phone], 1, |_| true)?;
        self.used.insert((card.record, keys[0].clone()));
        self.put(phone, card, &keys[0]);
        Ok(())
    }

    /// A card that all of the phones hold and none of them edits, with `need` fields that nobody writes, in random order.
    fn card(
        &mut self,
        phones: &[usize],
        need: usize,
        fits: fn(&str) -> bool,
    ) -> anyhow::Result<(&'r CardRow, Vec<String>)> {
        let held = |card: &&CardRow| {
            phones
                .iter()
                .all(|phone| self.grids[*phone].contains(&card.grid))
        };
        let untouched = |card: &&CardRow| {
            phones
                .iter()
                .all(|phone| !self.touched[*phone].contains(&card.record))
        };
        let mut cards: Vec<_> = self.roll.values().filter(held).filter(untouched).collect();
        self.draw.shuffle(&mut cards);
        for card in cards {
            let mut keys = keys(card);
            keys.retain(|key| fits(key) && !self.used.contains(&(card.record, key.clone())));
            if keys.len() >= need {
                self.draw.shuffle(&mut keys);
                return Ok((card, keys));
            }
        }
        None.with_context(|| {
            format!("the grids of phones {phones:?} hold too few cards for {EDITS} edits each")
        })
    }

    fn put(&mut self, phone: usize, card: &CardRow, key: &str) {
        let edit = self.edits[phone].len();
        let value = value(&mut self.draw, card, key, phone, edit);
        self.touched[phone].insert(card.record);
        self.edits[phone].push(Planned {
            record: card.record,
            key: key.to_owned(),
            value,
        });
    }
}

/// What a secretary may find changed at a door. Fields of which the catalogue keeps every concurrent value, and the note.
fn keys(card: &CardRow) -> Vec<String> {
    let contact = card.contacts.first().map(|contact| contact.entry);
    let of_contact = contact.into_iter().flat_map(|entry| {
        ["phones", "preferred_time"].map(|field| format!("contacts/{entry}/{field}"))
    });
    let fields = [
        "sign_name",
        "legal_name",
        "opening_hours",
        "unit",
        "custom/消防检查",
        NOTE,
    ]
    .map(str::to_owned);
    fields.into_iter().chain(of_contact).collect()
}

/// A value that nobody else writes: marked with the phone and the number of its edit, or a telephone number made of both.
fn value(draw: &mut Draw, card: &CardRow, key: &str, phone: usize, edit: usize) -> String {
    let mark = format!("〔{phone:02}.{edit:02}〕");
    let old = || {
        shown(card, key)
            .unwrap_or_default()
            .chars()
            .take(60)
            .collect::<String>()
    };
    match key {
        "sign_name" => format!(
            "{}{mark}",
            if old().is_empty() {
                "新店".to_owned()
            } else {
                old()
            }
        ),
        "legal_name" => format!(
            "上海{}{mark}",
            card.sign_name
                .as_deref()
                .unwrap_or("某")
                .chars()
                .take(40)
                .collect::<String>()
        ),
        "opening_hours" => format!("{:02}:00-{:02}:30{mark}", 6 + draw.int(5), 18 + draw.int(5)),
        "unit" => format!("{}楼{:02}室{mark}", 1 + draw.int(4), 1 + draw.int(30)),
        NOTE => format!("{}回访{mark}", card.note.as_deref().unwrap_or_default()),
        _ if key.ends_with("/phones") => format!("139{phone:04}{edit:04}"),
        _ if key.ends_with("/preferred_time") => format!("下午{}点后{mark}", 1 + draw.int(5)),
        _ => format!("{}{mark}", draw.pick(&["合格", "待整改", "过期"])),
    }
}

#[cfg(test)]
mod tests {
    use lianka_sync_core::{
        access::Role,
        authority::check_write,
        id::EntryId,
        kinds::{Kind, projection::ContactRow},
    };
    use uuid::Uuid;

    use super::*;
    use crate::findings::expected_conflicts;

    const PHONES: usize = 42;

    fn roll() -> (Vec<String>, BTreeMap<RecordId, CardRow>) {
        let grids: Vec<_> = (1..=27).map(|grid| format!("康平{grid:02}")).collect();
        let card = |n: u128| CardRow {
            record: RecordId(Uuid::from_u128(n)),
            grid: grids[n as usize % grids.len()].clone(),
            sign_name: Some("王记包子".into()),
            contacts: vec![ContactRow {
                entry: EntryId(Uuid::from_u128(n + 10_000)),
                name: Some("王某".into()),
                phones: None,
                role: None,
                preferred_time: None,
                party_status: None,
            }],
            ..CardRow::default()
        };
        let rows = (0..1400).map(card).map(|row| (row.record, row)).collect();
        (grids, rows)
    }

    #[test]
    fn every_phone_shares_a_grid_with_the_next() {
        let (grids, _) = roll();
        let dealt = deal_grids(&grids, PHONES);
        for phone in 0..PHONES {
            let next = &dealt[(phone + 1) % PHONES];
            assert!(
                dealt[phone].iter().any(|grid| next.contains(grid)),
                "{phone}"
            );
        }
        assert_eq!(
            dealt.iter().flatten().collect::<BTreeSet<_>>().len(),
            grids.len(),
            "no grid is without a secretary"
        );
    }

    #[test]
    fn a_tenth_are_conflicts_and_no_value_is_written_over() {
        let (grids, roll) = roll();
        let dealt = deal_grids(&grids, PHONES);
        let plan = plan(&roll, &dealt).expect("room for all");
        let written = written(&plan);
        assert_eq!(written.len(), PHONES * EDITS);
        for (phone, edits) in plan.iter().enumerate() {
            assert!(
                edits
                    .iter()
                    .all(|edit| dealt[phone].contains(&roll[&edit.record].grid)),
                "phone {phone} stays in its grids"
            );
            assert_eq!(
                edits
                    .iter()
                    .map(|edit| edit.record)
                    .collect::<BTreeSet<_>>()
                    .len(),
                EDITS,
                "phone {phone} edits a card once"
            );
        }
        assert_eq!(
            written
                .iter()
                .map(|write| &write.value)
                .collect::<BTreeSet<_>>()
                .len(),
            written.len(),
            "every value is unique"
        );
        let expected = expected_conflicts(&written);
        assert_eq!(expected.len(), PHONES * SAME_FIELD / 2);
        assert!(
            expected
                .iter()
                .all(|expected| expected.listed && expected.values.len() == 2)
        );
        let mut fields: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for write in &written {
            fields
                .entry((write.record, &write.key))
                .or_default()
                .push(write.phone);
        }
        assert_eq!(
            fields.values().filter(|phones| phones.len() > 1).count(),
            expected.len()
        );
        let mut editors: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for write in &written {
            editors.entry(write.record).or_default().insert(write.phone);
        }
        let on_shared = written
            .iter()
            .filter(|write| editors[&write.record].len() > 1)
            .count();
        assert!(
            on_shared >= PHONES * (SAME_FIELD + SAME_CARD),
            "{on_shared}"
        );
    }

    #[test]
    fn every_value_obeys_the_catalogue() {
        let (grids, roll) = roll();
        let plan = plan(&roll, &deal_grids(&grids, PHONES)).expect("room for all");
        for edit in plan.iter().flatten().map(Planned::edit) {
            if let Edit::Put { key, value } = edit {
                let checked =
                    check_write(Kind::ShopCard, Role::Secretary, false, &key, Some(&value));
                assert!(checked.is_ok(), "{key} {value:?}: {checked:?}");
            }
        }
    }
}
