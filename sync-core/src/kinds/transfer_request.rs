//! 组织关系转接: what a member asks for, what people did about it, and what the server ruled.
//!
//! The state is nobody's to write: a person appends an event, the server rules on it ([`crate::kinds::transfer`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    crdt::view::View,
    id::{DeviceId, EntryId, RecordId},
    key,
    kinds::{
        consent,
        kind::{
            Broken, Class, Days, Derived, Description, EVENT_WRITERS, Field, GRID, KIND, Meaning,
            MergeRule, NOBODY, NOTE, Personal, Rows, Rule, STREET, Shape, Table, Writing, log,
            register,
        },
        row::{ConflictRow, Row, Stored, Tables, conflicts, row},
        transfer::{
            self, Case, EVENTS, Then, form,
            table::{
                ASKED_BY, CAUSES, DECISIONS, MEMBER_WORD, RETURN_REASONS, STATE_CODES, STEP_CODES,
                TYPING_ERROR, VALIDITY_DAYS_MAX, YES,
            },
        },
    },
    lang::Lang,
    time::{DeviceTime, ServerTime},
    values::date,
};

pub(super) const NAME: &str = "transfer_request";
/// What an officer writes to the secretary on an event: why it came back, and what to bring.
pub const ANSWERS: [&str; 5] = ["reason_code", "cause", "note", "reason", "addressee"];
/// What its member consented to.
pub const CONSENT: &str = "consent";
/// What kind of transfer it is.
pub const TRANSFER_KIND: &str = "transfer_kind";
/// What the member is called where the name is the office's alone.
pub const MEMBER_ALIAS: &str = "member_alias";
/// Sensitive.
pub const MEMBER_NAME: &str = "member_name";
/// Sensitive.
pub const MEMBER_STATUS: &str = "member_status";
/// Where the member comes from. Sensitive.
pub const ORIGIN: &str = "origin_organisation";
/// The member's telephone numbers.
pub const PHONE: &str = "phone";
/// Where the member wants to go. Sensitive.
pub const BRANCH: &str = "target_branch";

/// What a kind is.
pub static DESCRIPTION: Description = Description {
    name: NAME,
    label_zh: "组织关系转接",
    label_en: "transfer request",
    fields: FIELDS,
    tables: &[&TRANSFER, &EVENT],
    personal: Personal::Record,
    belongs_to: None,
    check: check_events,
};

/// What people read for a word of a request's lists; the word itself where there is none.
pub fn words(word: &str, lang: Lang) -> &str {
    let (zh, en) = match word {
        "in_city_e" => ("市内系统转接", "within the city, by the system"),
        "cross_province_letter" => ("跨省介绍信转接", "another province, by letter"),
        "cross_province_e" => ("跨省系统转接", "another province, by the system"),
        "temporary" => ("临时组织关系", "temporary"),
        "floating_report" => ("流动党员报到", "floating member reports here"),
        "正式" => ("正式", "full member (正式)"),
        "预备" => ("预备", "probationary (预备)"),
        "information_missing" => ("内容不全", "information missing"),
        "document_missing" => ("缺材料", "a document is missing"),
        "wrong_addressee" => ("抬头不对", "wrong addressee"),
        "dues_unpaid" => ("党费未缴清", "dues unpaid"),
        "not_our_street" => ("不属于本街道", "not of this street"),
        "duplicate" => ("重复申请", "filed twice"),
        "other" => ("其他", "other"),
        "member" => ("党员本人", "the member"),
        "family" => ("家属", "the family"),
        "secretary" => ("书记", "the secretary"),
        "officer" => ("经办人", "the officer"),
        MEMBER_WORD => ("本人不转了", "the member's word"),
        TYPING_ERROR => ("录入错误", "a typing error"),
        word => (word, word),
    };
    match lang {
        Lang::Zh => zh,
        Lang::En => en,
    }
}

/// An event is for its roles, and whole.
fn check_events(writing: &Writing<'_>) -> Result<(), Broken> {
    form::check(writing.writer, writing.puts.iter().copied())
        .map_err(|(key, error)| Broken { key, error })
}

static TRANSFER: Table = Table {
    name: "transfer",
    of: Rows::Record,
    derived: &[
        Derived::new("state_since"),
        Derived::new("open"),
        Derived::new("due_at"),
        Derived::new("clock_at"),
        Derived::new("submitted_at"),
        Derived::new("revision"),
        Derived::new("responsible"),
        Derived::new("acting"),
        Derived::new("letter_no"),
        Derived::new("letter_expires_on"),
        Derived::new("branch"),
        Derived::new("accepted_on"),
        Derived::new("expiry_proposed"),
        Derived::new("open_tasks"),
        Derived::new("pending"),
    ],
    elsewhere: &["note", "conflicts", EVENTS],
};
static EVENT: Table = Table {
    name: "transfer_event",
    of: Rows::EntriesTogether(EVENTS),
    derived: &[],
    elsewhere: &["op"],
};

const TRANSFER_KINDS: &[&str] = &[
    "in_city_e",
    "cross_province_letter",
    "cross_province_e",
    "temporary",
    "floating_report",
];
const STATUSES: &[&str] = &["正式", "预备"];

/// A field of an event's form.
const fn event(
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    class: Class,
    rule: Rule,
) -> Field {
    Field {
        creators: EVENT_WRITERS,
        editors: EVENT_WRITERS,
        ..log(EVENTS, name, zh, en, class, rule)
    }
}

/// What the server alone writes of a ruling.
const fn ruling(name: &'static str, zh: &'static str, en: &'static str, rule: Rule) -> Field {
    Field {
        creators: NOBODY,
        editors: NOBODY,
        ..log("rulings", name, zh, en, Class::P1, rule)
            .means(Meaning::Process)
            .unstored()
    }
}

const fn servers(name: &'static str, zh: &'static str, en: &'static str, rule: Rule) -> Field {
    Field {
        merge: MergeRule::LastWriter,
        creators: NOBODY,
        editors: NOBODY,
        ..register(name, zh, en, Class::P1, rule).means(Meaning::Process)
    }
}

const FIELDS: &[Field] = &[
    KIND,
    STREET,
    GRID,
    Field {
        required: true,
        ..register(
            TRANSFER_KIND,
            "转接类型",
            "kind of transfer",
            Class::P1,
            Rule::OneOf(TRANSFER_KINDS),
        )
    },
    Field {
        required: true,
        ..register(
            MEMBER_ALIAS,
            "党员代称",
            "member alias",
            Class::P2,
            Rule::Text(60),
        )
        .means(Meaning::PersonAlias)
    },
    register(
        MEMBER_NAME,
        "党员姓名",
        "member name",
        Class::P3,
        Rule::Text(60),
    )
    .means(Meaning::PersonName),
    register(
        MEMBER_STATUS,
        "党员类别",
        "member status",
        Class::P3,
        Rule::OneOf(STATUSES),
    )
    .means(Meaning::PersonDetail),
    register(
        ORIGIN,
        "转出组织",
        "origin organisation",
        Class::P3,
        Rule::Text(200),
    )
    .means(Meaning::PersonDetail),
    register(PHONE, "联系电话", "phone", Class::P2, Rule::Text(100)).means(Meaning::Telephone),
    register(
        BRANCH,
        "转入支部",
        "target branch",
        Class::P3,
        Rule::Text(200),
    )
    .means(Meaning::PersonDetail),
    consent::fields(CONSENT)[0].unstored(),
    consent::fields(CONSENT)[1].unstored(),
    consent::fields(CONSENT)[2].unstored(),
    consent::fields(CONSENT)[3].unstored(),
    consent::fields(CONSENT)[4].unstored(),
    event(
        "type",
        "事件",
        "what was done",
        Class::P1,
        Rule::OneOf(STEP_CODES),
    ),
    event(
        "seen",
        "所见的最后一个事件",
        "the newest event its author had seen",
        Class::P1,
        Rule::Entry,
    ),
    event(
        "member_present",
        "党员本人在场",
        "the member is present",
        Class::P1,
        Rule::OneOf(YES),
    ),
    event(
        "reason_code",
        "退回原因类别",
        "kind of reason",
        Class::P1,
        Rule::OneOf(RETURN_REASONS),
    ),
    event("note", "说明", "note", Class::P2, Rule::Text(400)).means(Meaning::Remark),
    event(
        "addressee",
        "抬头",
        "exact addressee title",
        Class::P2,
        Rule::Text(200),
    ),
    event(
        "letter_no",
        "介绍信编号",
        "letter number",
        Class::P1,
        Rule::Text(60),
    ),
    event(
        "reference",
        "系统流水号",
        "official system's reference",
        Class::P1,
        Rule::Text(100),
    ),
    event("issued_on", "开具日期", "issued on", Class::P1, Rule::Date),
    event(
        "validity_days",
        "有效天数",
        "validity in days",
        Class::P1,
        Rule::Whole(1, VALIDITY_DAYS_MAX),
    ),
    event(
        "dues_until",
        "党费缴至",
        "dues paid up to",
        Class::P2,
        Rule::Date,
    )
    .days(Days::Paid),
    event(
        "letter_sighted",
        "已查验介绍信",
        "letter sighted",
        Class::P1,
        Rule::OneOf(YES),
    ),
    event(
        "sighted_on",
        "查验日期",
        "sighted on",
        Class::P1,
        Rule::Date,
    ),
    event("reason", "原因", "reason", Class::P2, Rule::Text(400)).means(Meaning::Remark),
    event(
        "branch",
        "接收支部",
        "accepting branch",
        Class::P2,
        Rule::Text(200),
    ),
    event(
        "accepted_on",
        "接收日期",
        "accepted on",
        Class::P1,
        Rule::Date,
    ),
    event(
        "sent_on",
        "回执日期",
        "receipt sent on",
        Class::P1,
        Rule::Date,
    ),
    event(
        "channel",
        "回执方式",
        "channel of the receipt",
        Class::P1,
        Rule::Text(60),
    ),
    event(
        "origin_confirmed",
        "原组织已确认",
        "the origin has confirmed",
        Class::P1,
        Rule::OneOf(YES),
    ),
    event(
        "confirmed_on",
        "确认日期",
        "confirmed on",
        Class::P1,
        Rule::Date,
    ),
    event(
        "asked_by",
        "提出人",
        "who asked",
        Class::P1,
        Rule::OneOf(ASKED_BY),
    ),
    event(
        "cause",
        "撤回缘由",
        "cause of the withdrawal",
        Class::P1,
        Rule::OneOf(CAUSES),
    ),
    event(
        "home_contact",
        "流出地联系人",
        "contact of the home organisation",
        Class::P2,
        Rule::Text(200),
    ),
    event(
        "contact_interval_days",
        "联系间隔（天）",
        "days between contacts",
        Class::P1,
        Rule::Whole(1, 366),
    ),
    event(
        "contacted_on",
        "联系日期",
        "contacted on",
        Class::P1,
        Rule::Date,
    ),
    event(
        "decision",
        "裁定结果",
        "decision",
        Class::P1,
        Rule::OneOf(DECISIONS),
    ),
    event(
        "about",
        "所指事件",
        "the event it is about",
        Class::P1,
        Rule::Entry,
    ),
    event(
        "other",
        "另一件申请",
        "the other request",
        Class::P1,
        Rule::Entry,
    ),
    ruling(
        "no",
        "裁定序号",
        "order of the ruling",
        Rule::Whole(1, 100_000),
    ),
    ruling("at", "裁定时间", "when the server ruled", Rule::Text(40)),
    ruling("outcome", "裁定", "outcome", Rule::Text(40)),
    ruling("code", "裁定说明", "code of the outcome", Rule::Text(60)),
    ruling(
        "state",
        "裁定后的状态",
        "state after it",
        Rule::OneOf(STATE_CODES),
    ),
    ruling(
        "by",
        "经办账号",
        "account that the event is by",
        Rule::Text(64),
    ),
    servers("state", "状态", "state", Rule::OneOf(STATE_CODES)),
    Field {
        shape: Shape::SetMember,
        merge: MergeRule::Set,
        ..servers(
            "sealed",
            "已封存的字段",
            "fields kept by the office alone",
            Rule::Flag,
        )
        .unstored()
    },
    NOTE.unstored(),
];

row! {
    /// A transfer request's content.
    #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    #[expect(missing_docs, reason = "the catalogue documents the fields")]
    pub struct TransferRow {
        record: RecordId = own,
        generation: u32 = own,
        grid: String = own,
        transfer_kind: Option<String> = text,
        member_alias: Option<String> = text,
        member_name: Option<String> = text,
        member_status: Option<String> = text,
        origin_organisation: Option<String> = text,
        phone: Option<String> = text,
        target_branch: Option<String> = text,
        note: Option<String> = own,
        conflicts: Vec<ConflictRow> = own,
        /// Where it stands after its rulings.
        state: String = own,
        state_since: Option<ServerTime> = own,
        open: bool = own,
        submitted_at: Option<ServerTime> = own,
        revision: u32 = own,
        /// `origin` or `target`.
        responsible: String = own,
        /// Who has to act next.
        acting: String = own,
        /// The live letter.
        letter_no: Option<String> = own,
        letter_expires_on: Option<String> = own,
        /// The acceptance in force.
        branch: Option<String> = own,
        accepted_on: Option<String> = own,
        expiry_proposed: bool = own,
        open_tasks: u32 = own,
        /// Events without a ruling.
        pending: u32 = own,
        events: Vec<TransferEventRow> = own,
    }
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

impl Row for TransferRow {
    fn project(record: RecordId, generation: u32, view: &View) -> Self {
        let text = |key: &str| view.text(key).map(str::to_owned);
        let case = Case::of(view);
        let now = &case.now;
        Self {
            record,
            generation,
            grid: text(key::GRID).unwrap_or_default(),
            note: view.note.clone().filter(|note| !note.is_empty()),
            conflicts: conflicts(&DESCRIPTION, view),
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
            ..Self::default()
        }
        .texts(text)
    }

    fn record(&self) -> RecordId {
        self.record
    }

    fn conflicts(&self) -> &[ConflictRow] {
        &self.conflicts
    }

    fn store(mut self, stored: &Stored<'_>, tables: &mut impl Tables) {
        // A transfer has few events, and each change of it is one or a ruling: they are written whole every time.
        let events = std::mem::take(&mut self.events)
            .into_iter()
            .filter_map(|row| {
                let received_at = (stored.received_at)(&row.op)?.to_string();
                Some(EventWrite { row, received_at })
            });
        tables.replace(&EVENT, self.record, events);
        self.conflicts.clear();
        let now = Case::of(stored.view).now;
        let at = |term: Option<(ServerTime, Then)>| term.map(|(at, _)| at.to_string());
        tables.upsert(
            &TRANSFER,
            &TransferWrite {
                row: self,
                seq: stored.seq,
                conflict_count: stored.conflict_count,
                due_at: at(now.due(stored.created_at, stored.calendar)),
                clock_at: at(now.clock(stored.created_at, stored.calendar)),
            },
        );
    }
}

/// A request's row as its table has it.
#[derive(Serialize)]
struct TransferWrite {
    #[serde(flatten)]
    row: TransferRow,
    seq: i64,
    conflict_count: i32,
    /// When the term of the state is over.
    due_at: Option<String>,
    /// When the server's clock has something to do about it.
    clock_at: Option<String>,
}

/// An event of a transfer, with what only the server knows of it.
#[derive(Serialize)]
struct EventWrite {
    #[serde(flatten)]
    row: TransferEventRow,
    received_at: String,
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
