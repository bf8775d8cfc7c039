//! 走访: somebody went to a shop, called it or wrote to it. Written once; a wrong one is replaced by a later one, or declared void.
//!
//! It says who was met and what was spoken of, never where the visitor stood, how long they stayed, nor with a picture.

use serde::{Deserialize, Serialize};

use crate::{
    access::{FieldError, Role, Writer},
    crdt::view::View,
    id::{DeviceId, EntryId, RecordId},
    key::{self, Key},
    kinds::{
        kind::{
            ALL_EDITORS, Broken, Class, Days, Derived, Description, Field, GRID, KIND, Meaning,
            MergeRule, NOBODY, Personal, Rows, Rule, STREET, Shape, Table, Writing, log, register,
        },
        row::{ConflictRow, Row, Stored, Tables, row},
    },
    lang::Lang,
    values::date,
};

pub(super) const NAME: &str = "visit";
/// The card that was visited.
pub const SHOP: &str = "shop";
/// When, as [`crate::values::date::minute`] spells it.
pub const AT: &str = "at";
/// How: one of [`CHANNELS`].
pub const CHANNEL: &str = "channel";
/// Who was met: one of [`OUTCOMES`].
pub const OUTCOME: &str = "outcome";
/// Who went along.
pub const COMPANIONS: &str = "companions";
/// Words of the street's checklist.
pub const TOPICS: &str = "topics";
/// One line.
pub const REMARK: &str = "remark";
/// Version of the contact card that was left.
pub const CARD_VERSION: &str = "card_version";
/// The visit that this one puts right.
pub const REPLACES: &str = "replaces";
/// Entries that declare the visit void.
pub const VOIDS: &str = "voids";
/// Why.
pub const REASON: &str = "reason";

/// 上门、电话、电子走访
pub const CHANNELS: &[&str] = &["door", "telephone", "online"];
/// 见到负责人、见到员工、关门、婉拒、已搬走、不在
pub const OUTCOMES: &[&str] = &[
    "met",
    "met_staff",
    "closed",
    "refused",
    "moved",
    "not_there",
];
const REMARK_CHARS_MAX: usize = 200;
/// How far a device's clock may be ahead of the server's when it sends a visit.
const AHEAD_MS_MAX: i64 = 24 * 60 * 60 * 1000;
/// Who may declare another's visit void.
const OFFICE: &[Role] = &[Role::Reviewer, Role::Admin];

/// What a kind is.
pub static DESCRIPTION: Description = Description {
    name: NAME,
    label_zh: "走访",
    label_en: "visit",
    fields: FIELDS,
    tables: &[&VISIT],
    personal: Personal::Mentions,
    belongs_to: Some(SHOP),
    check,
};

static VISIT: Table = Table {
    name: "shop_visit",
    of: Rows::Record,
    derived: &[
        Derived::new("device"),
        Derived::new("void_reason").of(REASON),
    ],
    elsewhere: &[],
};

const FIELDS: &[Field] = &[
    KIND,
    STREET,
    GRID,
    fact(SHOP, "商铺卡片", "shop card", Rule::Entry).means(Meaning::Reference),
    fact(AT, "走访时间", "day and time", Rule::Minute)
        .means(Meaning::Time)
        .days(Days::Observed),
    fact(CHANNEL, "走访方式", "channel", Rule::OneOf(CHANNELS)).means(Meaning::Choice),
    fact(OUTCOME, "走访结果", "outcome", Rule::OneOf(OUTCOMES)).means(Meaning::Choice),
    members(COMPANIONS, "同行人员", "who went along").means(Meaning::PersonName),
    members(TOPICS, "走访内容", "topics of the checklist").means(Meaning::Tag),
    optional(REMARK, "走访记录", "remark", Rule::Text(REMARK_CHARS_MAX)).means(Meaning::Remark),
    optional(
        CARD_VERSION,
        "服务卡版本",
        "version of the card that was left",
        Rule::Text(40),
    ),
    optional(
        REPLACES,
        "更正的走访",
        "visit that it replaces",
        Rule::Entry,
    )
    .means(Meaning::Reference),
    log(
        VOIDS,
        REASON,
        "作废原因",
        "why it is void",
        Class::P1,
        Rule::Text(REMARK_CHARS_MAX),
    )
    .means(Meaning::Remark),
];

/// Written by the change that creates the visit, and never again.
const fn fact(name: &'static str, zh: &'static str, en: &'static str, rule: Rule) -> Field {
    Field {
        required: true,
        ..optional(name, zh, en, rule)
    }
}

const fn optional(name: &'static str, zh: &'static str, en: &'static str, rule: Rule) -> Field {
    Field {
        merge: MergeRule::WriteOnce,
        creators: ALL_EDITORS,
        editors: NOBODY,
        ..register(name, zh, en, Class::P1, rule)
    }
}

const fn members(name: &'static str, zh: &'static str, en: &'static str) -> Field {
    Field {
        shape: Shape::SetMember,
        merge: MergeRule::Set,
        ..optional(name, zh, en, Rule::Flag)
    }
}

/// A visit did not happen in the future, and is declared void by its author's device or by the office.
fn check(writing: &Writing<'_>) -> Result<(), Broken> {
    for (key, value) in writing.puts {
        let broken = |error| {
            Err(Broken {
                key: (*key).to_owned(),
                error,
            })
        };
        match Key::parse(key) {
            Some(Key::Plain(AT)) => {
                let at = value.as_str().and_then(date::minute);
                if let (Some(at), Some(now)) = (at, writing.received_at)
                    && at.unix_ms() > now.unix_ms() + AHEAD_MS_MAX
                {
                    return broken(FieldError::InFuture);
                }
            }
            Some(Key::Entry { list: VOIDS, .. }) => {
                if let Writer::Person(role) = writing.writer
                    && !OFFICE.contains(&role)
                    && writing
                        .creator
                        .is_some_and(|creator| creator != writing.device)
                {
                    return broken(FieldError::NotEditable(role));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

row! {
    /// A visit.
    #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    pub struct VisitRow {
        /// The visit.
        record: RecordId = own,
        /// Its generation.
        generation: u32 = own,
        /// The grid that owns it.
        grid: String = own,
        /// The card that was visited.
        shop: Option<EntryId> = own,
        /// Day and time in China, by the device's clock.
        at: Option<String> = text,
        /// One of [`CHANNELS`].
        channel: Option<String> = text,
        /// One of [`OUTCOMES`].
        outcome: Option<String> = text,
        /// Who went along, ascending.
        companions: Vec<String> = own,
        /// What was spoken of, ascending.
        topics: Vec<String> = own,
        /// One line.
        remark: Option<String> = text,
        /// Version of the contact card that was left.
        card_version: Option<String> = text,
        /// The visit that this one puts right: that one counts no more.
        replaces: Option<EntryId> = own,
        /// Why it is void, where it is.
        void_reason: Option<String> = own,
        /// The device that wrote it.
        device: DeviceId = own,
    }
}

impl Row for VisitRow {
    fn project(record: RecordId, generation: u32, view: &View) -> Self {
        let text = |name: &str| view.text(name).map(str::to_owned);
        let entry = |name: &str| view.text(name).and_then(|id| id.parse().ok());
        let members = |name: &'static str| {
            view.members(name)
                .map(|(member, _)| member.to_owned())
                .collect()
        };
        let author = view.values.get(SHOP).and_then(|values| values.first());
        Self {
            record,
            generation,
            grid: text(key::GRID).unwrap_or_default(),
            shop: entry(SHOP),
            companions: members(COMPANIONS),
            topics: members(TOPICS),
            replaces: entry(REPLACES),
            void_reason: view
                .entries(VOIDS)
                .first()
                .and_then(|first| view.entry_text(VOIDS, *first, REASON))
                .map(str::to_owned),
            device: author
                .map(|value| value.op.actor.device())
                .unwrap_or_default(),
            ..Self::default()
        }
        .texts(text)
    }

    fn record(&self) -> RecordId {
        self.record
    }

    fn conflicts(&self) -> &[ConflictRow] {
        // Its fields are written once.
        &[]
    }

    fn store(self, stored: &Stored<'_>, tables: &mut impl Tables) {
        tables.upsert(
            &VISIT,
            &VisitWrite {
                row: self,
                seq: stored.seq,
                conflict_count: stored.conflict_count,
            },
        );
    }
}

/// A visit's row as its table has it.
#[derive(Serialize)]
struct VisitWrite {
    #[serde(flatten)]
    row: VisitRow,
    seq: i64,
    conflict_count: i32,
}

/// What people read for a word of [`CHANNELS`] or [`OUTCOMES`]; the word itself where there is none.
pub fn words(word: &str, lang: Lang) -> &str {
    let (zh, en) = match word {
        "door" => ("上门", "at the door"),
        "telephone" => ("电话", "by telephone"),
        "online" => ("电子走访", "online"),
        "met" => ("见到负责人", "met who runs it"),
        "met_staff" => ("见到员工", "met staff"),
        "closed" => ("关门", "closed"),
        "refused" => ("婉拒", "declined"),
        "moved" => ("已搬走", "moved away"),
        "not_there" => ("不在", "not there"),
        other => (other, other),
    };
    match lang {
        Lang::Zh => zh,
        Lang::En => en,
    }
}
