//! What a list shows of a card: the phone's index, made on demand because a first download must not open every document.

use lianka_sync_core::{
    codec::change::{OpId, Scalar},
    crdt::{
        record::Edit,
        view::{Value, View},
    },
    id::{Actor, DeviceId, RecordId},
    kinds::{
        Kind, Meaning,
        duplicate::Reason,
        key,
        projection::{self, CardRow, Projected},
    },
    search,
    values::address::WalkOrder,
};
use serde::{Deserialize, Serialize};

/// Where the newest state of something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// 已到街道: everything is at the office.
    #[default]
    Office,
    /// 在手机上: something has yet to be sent.
    Phone,
    /// 待审核: something waits for a reviewer.
    Held,
}

/// One line of the list of cards.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the catalogue documents the fields")]
pub struct CardSummary {
    pub record: RecordId,
    pub grid: String,
    pub sign_name: Option<String>,
    pub legal_name: Option<String>,
    pub category: Option<String>,
    pub road: Option<String>,
    pub lane: Option<String>,
    pub number: Option<String>,
    pub number_suffix: Option<String>,
    pub unit: Option<String>,
    /// `odd` or `even`.
    pub side: Option<String>,
    pub occupancy: Option<String>,
    pub last_confirmed_on: Option<String>,
    /// Fields whose concurrent values differ.
    pub conflicts: Vec<String>,
    /// The document could not be read; nothing else is known of it.
    pub unreadable: bool,
    /// Where its newest state is.
    #[serde(default)]
    pub place: Place,
    /// The card that this one was found to be: it is not listed any more.
    #[serde(default)]
    pub merged_into: Option<RecordId>,
    /// What it is recognised by, see `sync_core::duplicate`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// A card that may be the shop that is about to be entered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LikelyDuplicate {
    /// The card that is there already.
    pub card: CardSummary,
    /// What the two share.
    pub reasons: Vec<Reason>,
}

impl CardSummary {
    /// The line of a card and the key it is found by; `None` for other kinds.
    pub fn of(projected: &Projected) -> Option<(Self, String)> {
        let Projected::ShopCard(row) = projected else {
            return None;
        };
        let mut conflicts: Vec<_> = row
            .conflicts
            .iter()
            .map(|conflict| conflict.field.clone())
            .collect();
        conflicts.dedup();
        Some((
            Self {
                conflicts,
                ..Self::from(row.as_ref())
            },
            row.search_key(),
        ))
    }

    /// A record that does not open. It stays in the list, so that it is seen and reported.
    pub fn unreadable(record: RecordId, grid: String) -> Self {
        Self {
            record,
            grid,
            unreadable: true,
            ..Self::default()
        }
    }

    /// Sort key for walking the street.
    pub fn walk_order(&self) -> WalkOrder {
        let part = Option::as_deref;
        WalkOrder::of(
            part(&self.road),
            part(&self.lane),
            part(&self.number),
            part(&self.number_suffix),
            part(&self.unit),
        )
    }

    /// The door in one line, for example `天平路 320弄 378号甲 2楼`.
    pub fn door(&self) -> String {
        let lane = self.lane.as_deref().map(|lane| {
            if lane.contains('弄') {
                lane.to_owned()
            } else {
                format!("{lane}弄")
            }
        });
        let number = self.number.as_deref().map(|number| {
            format!(
                "{number}号{}",
                self.number_suffix.as_deref().unwrap_or_default()
            )
        });
        let parts = [self.road.clone(), lane, number, self.unit.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

impl From<&CardRow> for CardSummary {
    fn from(row: &CardRow) -> Self {
        Self {
            record: row.record,
            grid: row.grid.clone(),
            sign_name: row.sign_name.clone(),
            legal_name: row.legal_name.clone(),
            category: row.category.clone(),
            road: row.road.clone(),
            lane: row.lane.clone(),
            number: row.number.clone(),
            number_suffix: row.number_suffix.clone(),
            unit: row.unit.clone(),
            side: row.side.clone(),
            occupancy: row.occupancy.clone(),
            last_confirmed_on: row.last_confirmed_on.clone(),
            merged_into: row.merged_into,
            keys: row.traits().keys(),
            ..Self::default()
        }
    }
}

/// What a record of these edits would read.
pub(crate) fn drafted<'e>(edits: impl Iterator<Item = &'e Edit>) -> View {
    let op = OpId {
        counter: 1,
        actor: Actor::new(DeviceId::default(), 0),
    };
    let value = |value: &Scalar| Value {
        op,
        value: value.clone(),
        time: None,
    };
    let values = edits.filter_map(|edit| match edit {
        Edit::Put { key, value: put } => Some((key.clone(), vec![value(put)])),
        Edit::Delete { .. } | Edit::Note { .. } => None,
    });
    View {
        values: values.collect(),
        note: None,
    }
}

/// The row that a new card of these edits would have.
pub fn planned(grid: &str, edits: &[Edit]) -> CardRow {
    let known = [
        Edit::set(key::KIND, Kind::ShopCard.as_str()),
        Edit::set(key::GRID, grid),
    ];
    let view = drafted(known.iter().chain(edits));
    match projection::project(RecordId::default(), 1, &view) {
        Some(Projected::ShopCard(row)) => *row,
        _ => CardRow::default(),
    }
}

/// Confirms a card: somebody looked, and it is right. `today`: `YYYY-MM-DD` by the office's clock.
pub fn confirmation(today: &str) -> Edit {
    let field = Kind::ShopCard.of_meaning(Meaning::Confirmation);
    Edit::add(field.map_or_else(String::new, |field| field.key_of(today)))
}

/// Which cards to list.
#[derive(Clone, Debug, Default)]
pub struct CardFilter {
    /// Only this road.
    pub road: Option<String>,
    /// Only this side of the street: `odd` or `even`.
    pub side: Option<String>,
    /// Only what this finds: names, addresses, pinyin, initials.
    pub query: Option<String>,
    /// Only cards with a conflict.
    pub conflicts: bool,
    /// Cards that were merged into another as well.
    pub merged: bool,
}

impl CardFilter {
    /// Whether a card passes. `key`: what it is found by.
    pub fn admits(&self, card: &CardSummary, key: &str) -> bool {
        let road = |road: &String| {
            card.road
                .as_ref()
                .is_some_and(|own| search::fold(own) == search::fold(road))
        };
        self.road.as_ref().is_none_or(road)
            && self
                .side
                .as_ref()
                .is_none_or(|side| card.side.as_ref() == Some(side))
            && (self.merged || card.merged_into.is_none())
            && (!self.conflicts || !card.conflicts.is_empty())
            && self
                .query
                .as_ref()
                .is_none_or(|query| search::matches(key, query))
    }
}
