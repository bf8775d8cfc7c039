//! PROJECT, pure: a record's view → the typed rows that a street office queries.
//!
//! The phone projects its own copies the same way, so its list, the office's table and a digest over either can be compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    codec::change::Scalar,
    crdt::view::View,
    id::{DeviceId, EntryId, RecordId},
    kinds::{
        Kind,
        transfer::{self, Case},
    },
    search::SearchKey,
    time::{DeviceTime, ServerTime},
    values::{
        address::{Address, Side, WalkOrder},
        date,
        geo::GeoPoint,
        phone,
    },
};

/// What a record becomes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Projected {
    /// A shop card.
    ShopCard(Box<CardRow>),
    /// A transfer request.
    TransferRequest(Box<TransferRow>),
}

impl Projected {
    /// The record it is of.
    pub fn record(&self) -> RecordId {
        match self {
            Self::ShopCard(row) => row.record,
            Self::TransferRequest(row) => row.record,
        }
    }

    /// The values in conflict.
    pub fn conflicts(&self) -> &[ConflictRow] {
        match self {
            Self::ShopCard(row) => &row.conflicts,
            Self::TransferRequest(row) => &row.conflicts,
        }
    }
}

/// One row of the merged shop roll: the winning values, and beside them every value in conflict.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CardRow {
    /// The card.
    pub record: RecordId,
    /// Its generation.
    pub generation: u32,
    /// The grid that owns it.
    pub grid: String,
    /// 店招
    pub sign_name: Option<String>,
    /// 登记名称
    pub legal_name: Option<String>,
    /// 统一社会信用代码, as typed.
    pub credit_code: Option<String>,
    /// 业态
    pub category: Option<String>,
    /// 路名
    pub road: Option<String>,
    /// 门牌号
    pub number: Option<String>,
    /// 甲、临、底层 …
    pub number_suffix: Option<String>,
    /// 弄
    pub lane: Option<String>,
    /// 室
    pub unit: Option<String>,
    /// As typed.
    pub address_raw: Option<String>,
    /// Place along the road: the lane's or the house's number.
    pub number_order: Option<i32>,
    /// Side of the street: `odd` or `even`.
    pub side: Option<String>,
    /// Degrees north, in `point_crs`.
    pub point_lat: Option<f64>,
    /// Degrees east, in `point_crs`.
    pub point_lon: Option<f64>,
    /// Coordinate reference system; never converted.
    pub point_crs: Option<String>,
    /// Metres.
    pub point_accuracy_m: Option<f64>,
    /// 营业、装修、空置、关闭
    pub occupancy: Option<String>,
    /// `YYYY-MM-DD`
    pub occupancy_observed_on: Option<String>,
    /// 营业时间
    pub opening_hours: Option<String>,
    /// 备注
    pub note: Option<String>,
    /// The greatest day on which somebody confirmed the card, `YYYY-MM-DD`.
    pub last_confirmed_on: Option<String>,
    /// 服务标签, ascending.
    pub tags: Vec<String>,
    /// Contact persons, by time of entry.
    pub contacts: Vec<ContactRow>,
    /// Consents and withdrawals, by time of entry.
    pub consents: Vec<ConsentRow>,
    /// The street's own columns.
    pub custom: BTreeMap<String, String>,
    /// The card that this one turned out to be; it then leaves the roll.
    pub merged_into: Option<RecordId>,
    /// Every value of every field in conflict.
    pub conflicts: Vec<ConflictRow>,
}

/// A contact person of a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the catalogue documents the fields")]
pub struct ContactRow {
    pub entry: EntryId,
    pub name: Option<String>,
    pub phones: Option<String>,
    pub role: Option<String>,
    pub preferred_time: Option<String>,
    pub party_status: Option<String>,
}

/// A consent given, or withdrawn.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the catalogue documents the fields")]
pub struct ConsentRow {
    pub entry: EntryId,
    pub contact: Option<EntryId>,
    pub scope: Option<String>,
    pub wording: Option<String>,
    pub channel: Option<String>,
    pub decision: Option<String>,
    pub given_on: Option<String>,
}

/// A transfer request's content.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the catalogue documents the fields")]
pub struct TransferRow {
    pub record: RecordId,
    pub generation: u32,
    pub grid: String,
    pub transfer_kind: Option<String>,
    pub member_alias: Option<String>,
    pub member_name: Option<String>,
    pub member_status: Option<String>,
    pub origin_organisation: Option<String>,
    pub phone: Option<String>,
    pub target_branch: Option<String>,
    pub note: Option<String>,
    pub conflicts: Vec<ConflictRow>,
    /// Where it stands after its rulings.
    pub state: String,
    pub state_since: Option<ServerTime>,
    pub open: bool,
    pub submitted_at: Option<ServerTime>,
    pub revision: u32,
    /// `origin` or `target`.
    pub responsible: String,
    /// Who has to act next.
    pub acting: String,
    /// The live letter.
    pub letter_no: Option<String>,
    pub letter_expires_on: Option<String>,
    /// The acceptance in force.
    pub branch: Option<String>,
    pub accepted_on: Option<String>,
    pub expiry_proposed: bool,
    pub open_tasks: u32,
    /// Events without a ruling.
    pub pending: u32,
    pub events: Vec<TransferEventRow>,
}

/// An event of a transfer, with its ruling.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the table of steps documents the fields")]
pub struct TransferEventRow {
    pub event: EntryId,
    /// Order of the ruling; `None`: pending.
    pub no: Option<u32>,
    pub r#type: String,
    pub seen: Option<EntryId>,
    pub fields: BTreeMap<String, String>,
    /// Operation id of its type, `counter@actor`: who wrote it, and when.
    pub op: String,
    pub device: DeviceId,
    pub device_time: Option<DeviceTime>,
    pub outcome: Option<String>,
    pub code: Option<String>,
    pub state: Option<String>,
    pub ruled_at: Option<ServerTime>,
    pub username: Option<String>,
}

/// One of several differing values of a field. The last of a field's rows is the one shown in the roll.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConflictRow {
    /// The key.
    pub field: String,
    /// Operation id, `counter@actor`.
    pub op: String,
    /// The value.
    pub value: Scalar,
    /// The author's device.
    pub device: DeviceId,
    /// When the device says it was written.
    pub device_time: Option<DeviceTime>,
}

/// Projects a record; `None` where the view has no kind, which no accepted record lacks.
pub fn project(record: RecordId, generation: u32, view: &View) -> Option<Projected> {
    Some(match view.kind()? {
        Kind::ShopCard => Projected::ShopCard(Box::new(card(record, generation, view))),
        Kind::TransferRequest => {
            Projected::TransferRequest(Box::new(transfer(record, generation, view)))
        }
    })
}

fn card(record: RecordId, generation: u32, view: &View) -> CardRow {
    let text = |key: &str| view.text(key).map(str::to_owned);
    let address = Address {
        lane: text("lane"),
        number: text("number"),
        ..Address::default()
    };
    let point = view
        .text("point")
        .and_then(|point| point.parse::<GeoPoint>().ok());
    let contacts = view.entries("contacts").into_iter().map(|entry| {
        let field = |name: &str| view.entry_text("contacts", entry, name).map(str::to_owned);
        ContactRow {
            entry,
            name: field("name"),
            phones: field("phones"),
            role: field("role"),
            preferred_time: field("preferred_time"),
            party_status: field("party_status"),
        }
    });
    let consents = view.entries("consent").into_iter().map(|entry| {
        let field = |name: &str| view.entry_text("consent", entry, name).map(str::to_owned);
        ConsentRow {
            entry,
            contact: field("contact").and_then(|contact| contact.parse().ok()),
            scope: field("scope"),
            wording: field("wording"),
            channel: field("channel"),
            decision: field("decision"),
            given_on: field("given_on"),
        }
    });
    CardRow {
        record,
        generation,
        grid: text("grid").unwrap_or_default(),
        sign_name: text("sign_name"),
        legal_name: text("legal_name"),
        credit_code: text("credit_code"),
        category: text("category"),
        road: text("road"),
        number_order: address.number_order(),
        side: address.side().map(|side| match side {
            Side::Odd => "odd".to_owned(),
            Side::Even => "even".to_owned(),
        }),
        number: address.number,
        number_suffix: text("number_suffix"),
        lane: address.lane,
        unit: text("unit"),
        address_raw: text("address_raw"),
        point_lat: point.as_ref().map(GeoPoint::lat),
        point_lon: point.as_ref().map(GeoPoint::lon),
        point_crs: point.as_ref().map(|point| point.crs().as_str().to_owned()),
        point_accuracy_m: point.as_ref().and_then(GeoPoint::accuracy_m).map(f64::from),
        occupancy: text("occupancy"),
        occupancy_observed_on: text("occupancy_observed_on"),
        opening_hours: text("opening_hours"),
        note: view.note.clone().filter(|note| !note.is_empty()),
        last_confirmed_on: view
            .members("confirmations")
            .map(|(day, _)| day.to_owned())
            .max(),
        tags: view
            .members("tags")
            .map(|(tag, _)| tag.to_owned())
            .collect(),
        contacts: contacts.collect(),
        consents: consents.collect(),
        custom: view
            .members("custom")
            .filter_map(|(name, value)| Some((name.to_owned(), value.as_str()?.to_owned())))
            .collect(),
        merged_into: view.text("merged_into").and_then(|id| id.parse().ok()),
        conflicts: conflicts(view),
    }
}

impl CardRow {
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

    /// What a search looks through: names, address, category, and contact persons with their numbers, folded, with their pinyin. It is as personal
    /// as a contact (class P2).
    pub fn search_key(&self) -> String {
        let address = self.address_raw.clone().unwrap_or_else(|| {
            [
                &self.road,
                &self.lane,
                &self.number,
                &self.number_suffix,
                &self.unit,
            ]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect()
        });
        // Road and name together, so that one run of initials may span both.
        let door = [self.road.as_deref(), self.sign_name.as_deref()]
            .into_iter()
            .flatten()
            .collect::<String>();
        let house = [self.road.as_deref(), self.number.as_deref()]
            .into_iter()
            .flatten()
            .collect::<String>();
        // Number by number, so that the end of one and the start of the next are nobody's.
        let numbers: Vec<String> = self
            .contacts
            .iter()
            .flat_map(|contact| phone::parse(contact.phones.as_deref().unwrap_or_default()))
            .map(|phone| phone.digits)
            .collect();
        let texts = [
            self.sign_name.as_deref(),
            self.legal_name.as_deref(),
            Some(address.as_str()),
            self.road.as_deref(),
            Some(house.as_str()),
            Some(door.as_str()),
            self.category.as_deref(),
        ];
        let people = self.contacts.iter().map(|contact| contact.name.as_deref());
        SearchKey::of(
            &texts
                .into_iter()
                .chain(people)
                .flatten()
                .chain(numbers.iter().map(String::as_str))
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>(),
        )
    }
}

fn transfer(record: RecordId, generation: u32, view: &View) -> TransferRow {
    let text = |key: &str| view.text(key).map(str::to_owned);
    let case = Case::of(view);
    let now = &case.now;
    TransferRow {
        record,
        generation,
        grid: text("grid").unwrap_or_default(),
        transfer_kind: text("transfer_kind"),
        member_alias: text("member_alias"),
        member_name: text("member_name"),
        member_status: text("member_status"),
        origin_organisation: text("origin_organisation"),
        phone: text("phone"),
        target_branch: text("target_branch"),
        note: view.note.clone().filter(|note| !note.is_empty()),
        conflicts: conflicts(view),
        state: now.state.to_string(),
        state_since: now.since,
        open: transfer::is_open(now.state),
        submitted_at: now.submitted_at,
        revision: now.revision,
        responsible: now.responsible().as_str().to_owned(),
        acting: now.next().acting.as_str().to_owned(),
        letter_no: now.letter.as_ref().map(|letter| letter.number.clone()),
        letter_expires_on: now
            .letter
            .as_ref()
            .map(|letter| date::to_iso(letter.expires_on)),
        branch: now
            .acceptance
            .as_ref()
            .map(|acceptance| acceptance.branch.clone()),
        accepted_on: now
            .acceptance
            .as_ref()
            .map(|acceptance| date::to_iso(acceptance.accepted_on)),
        expiry_proposed: now.expiry_proposed,
        open_tasks: now.open_tasks().count() as u32,
        pending: case.pending().count() as u32,
        events: case
            .events
            .iter()
            .filter_map(|event| transfer_event(view, event))
            .collect(),
    }
}

fn transfer_event(view: &View, event: &transfer::Event) -> Option<TransferEventRow> {
    let written = view
        .values
        .get(&format!("events/{}/type", event.id))?
        .last()?;
    let ruled = event.ruled.as_ref();
    Some(TransferEventRow {
        event: event.id,
        no: ruled.map(|ruled| ruled.no),
        r#type: event.step.to_string(),
        seen: event.seen,
        fields: event.fields.clone(),
        op: format!("{}@{}", written.op.counter, written.op.actor),
        device: written.op.actor.device(),
        device_time: written.time,
        outcome: ruled.map(|ruled| ruled.ruling.outcome.as_str().to_owned()),
        code: ruled
            .and_then(|ruled| ruled.ruling.code)
            .map(|code| code.as_str().to_owned()),
        state: ruled.map(|ruled| ruled.ruling.state.to_string()),
        ruled_at: ruled.map(|ruled| ruled.at),
        username: ruled.and_then(|ruled| ruled.by.clone()),
    })
}

fn conflicts(view: &View) -> Vec<ConflictRow> {
    view.conflicts()
        .flat_map(|(field, values)| {
            values.iter().map(|value| ConflictRow {
                field: field.to_owned(),
                op: format!("{}@{}", value.op.counter, value.op.actor),
                value: value.value.clone(),
                device: value.op.actor.device(),
                device_time: value.time,
            })
        })
        .collect()
}

/// SHA-256 over the rows in order of record id: two stores that hold the same records have the same digest.
pub fn digest<'p>(rows: impl IntoIterator<Item = &'p Projected>) -> [u8; 32] {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|row| row.record());
    let mut hasher = Sha256::new();
    for row in rows {
        // Serialising plain rows has no way to fail; field order is the struct's, map order is the keys'.
        hasher.update(serde_json::to_vec(row).unwrap_or_default());
        hasher.update(b"\n");
    }
    hasher.finalize().into()
}
