//! 组织关系转接: what a member asks for, what people did about it, and what the server ruled.
//!
//! The state is nobody's to write: a person appends an event, the server rules on it ([`crate::kinds::transfer`]).

use crate::kinds::transfer::table::{
    ASKED_BY, CAUSES, DECISIONS, RETURN_REASONS, STATE_CODES, STEP_CODES, VALIDITY_DAYS_MAX, YES,
};
use crate::kinds::{
    Class, EVENT_WRITERS, Field, GRID, KIND, MergeRule, NOBODY, NOTE, Rule, STREET, Shape, log,
    register, shop_card::DECISION,
};

const TRANSFER_KINDS: &[&str] = &[
    "in_city_e",
    "cross_province_letter",
    "cross_province_e",
    "temporary",
    "floating_report",
];
const MEMBER_STATUS: &[&str] = &["正式", "预备"];

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
        ..log("events", name, zh, en, class, rule)
    }
}

/// What the server alone writes of a ruling.
const fn ruling(name: &'static str, zh: &'static str, en: &'static str, rule: Rule) -> Field {
    Field {
        creators: NOBODY,
        editors: NOBODY,
        ..log("rulings", name, zh, en, Class::P1, rule)
    }
}

const fn servers(name: &'static str, zh: &'static str, en: &'static str, rule: Rule) -> Field {
    Field {
        merge: MergeRule::LastWriter,
        creators: NOBODY,
        editors: NOBODY,
        ..register(name, zh, en, Class::P1, rule)
    }
}

pub(crate) const FIELDS: &[Field] = &[
    KIND,
    STREET,
    GRID,
    Field {
        required: true,
        ..register(
            "transfer_kind",
            "转接类型",
            "kind of transfer",
            Class::P1,
            Rule::OneOf(TRANSFER_KINDS),
        )
    },
    Field {
        required: true,
        ..register(
            "member_alias",
            "党员代称",
            "member alias",
            Class::P2,
            Rule::Text(60),
        )
    },
    register(
        "member_name",
        "党员姓名",
        "member name",
        Class::P3,
        Rule::Text(60),
    ),
    register(
        "member_status",
        "党员类别",
        "member status",
        Class::P3,
        Rule::OneOf(MEMBER_STATUS),
    ),
    register(
        "origin_organisation",
        "转出组织",
        "origin organisation",
        Class::P3,
        Rule::Text(200),
    ),
    register("phone", "联系电话", "phone", Class::P2, Rule::Text(100)),
    register(
        "target_branch",
        "转入支部",
        "target branch",
        Class::P3,
        Rule::Text(200),
    ),
    log(
        "consent",
        "scope",
        "同意范围",
        "consent scope",
        Class::P2,
        Rule::Text(60),
    ),
    log(
        "consent",
        "wording",
        "告知文本版本",
        "wording version",
        Class::P2,
        Rule::Text(60),
    ),
    log(
        "consent",
        "channel",
        "同意方式",
        "consent channel",
        Class::P2,
        Rule::Text(40),
    ),
    log(
        "consent",
        "decision",
        "同意或撤回",
        "grant or withdrawal",
        Class::P2,
        Rule::OneOf(DECISION),
    ),
    log(
        "consent",
        "given_on",
        "同意日期",
        "given on",
        Class::P2,
        Rule::Date,
    ),
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
    event("note", "说明", "note", Class::P2, Rule::Text(400)),
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
    ),
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
    event("reason", "原因", "reason", Class::P2, Rule::Text(400)),
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
    },
    NOTE,
];
