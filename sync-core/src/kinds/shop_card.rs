//! 沿街商铺联系卡: one door on one street, tying premises, business and contact persons together.

use crate::kinds::{
    ALL_EDITORS, Class, Field, GRID, KIND, MergeRule, NOBODY, NOTE, Rule, STREET, Shape, entry,
    log, register,
};

/// 营业、装修、空置、关闭
pub(crate) const OCCUPANCY: &[&str] = &["营业", "装修", "空置", "关闭"];
pub(crate) const DECISION: &[&str] = &["grant", "withdraw"];

pub(crate) const FIELDS: &[Field] = &[
    KIND,
    STREET,
    GRID,
    register("sign_name", "店招", "sign name", Class::P0, Rule::Text(100)),
    register(
        "legal_name",
        "登记名称",
        "registered name",
        Class::P0,
        Rule::Text(200),
    ),
    // The check character (GB 32100-2015) warns and never blocks, so any text of sane length is stored.
    register(
        "credit_code",
        "统一社会信用代码",
        "credit code",
        Class::P1,
        Rule::Text(40),
    ),
    Field {
        merge: MergeRule::LastWriter,
        ..register("category", "业态", "category", Class::P0, Rule::Text(40))
    },
    register("road", "路名", "road", Class::P0, Rule::Text(40)),
    register(
        "number",
        "门牌号",
        "house number",
        Class::P0,
        Rule::Text(20),
    ),
    register(
        "number_suffix",
        "门牌附号",
        "number suffix",
        Class::P0,
        Rule::Text(20),
    ),
    register("lane", "弄", "lane", Class::P0, Rule::Text(20)),
    register("unit", "室", "unit", Class::P0, Rule::Text(40)),
    Field {
        merge: MergeRule::LastWriter,
        ..register(
            "address_raw",
            "原始地址",
            "address as typed",
            Class::P0,
            Rule::Text(200),
        )
    },
    register("point", "坐标", "point", Class::P0, Rule::Point),
    register(
        "occupancy",
        "状态",
        "occupancy",
        Class::P0,
        Rule::OneOf(OCCUPANCY),
    ),
    register(
        "occupancy_observed_on",
        "状态观察日期",
        "occupancy observed on",
        Class::P0,
        Rule::Date,
    ),
    register(
        "opening_hours",
        "营业时间",
        "opening hours",
        Class::P0,
        Rule::Text(100),
    ),
    Field {
        shape: Shape::SetMember,
        merge: MergeRule::Set,
        ..register("tags", "服务标签", "tags", Class::P0, Rule::Flag)
    },
    // last_confirmed_on is derived: the greatest day in this set.
    Field {
        shape: Shape::SetOfDays,
        merge: MergeRule::Set,
        ..register(
            "confirmations",
            "确认无变化",
            "confirmed unchanged on",
            Class::P1,
            Rule::Flag,
        )
    },
    entry(
        "contacts",
        "name",
        "联系人",
        "contact name",
        Class::P2,
        Rule::Text(60),
    ),
    // Several numbers with extensions in one text; shapes warn and never block.
    entry(
        "contacts",
        "phones",
        "联系电话",
        "contact phones",
        Class::P2,
        Rule::Text(100),
    ),
    entry(
        "contacts",
        "role",
        "身份",
        "contact role",
        Class::P2,
        Rule::Text(40),
    ),
    entry(
        "contacts",
        "preferred_time",
        "方便时间",
        "preferred time",
        Class::P2,
        Rule::Text(60),
    ),
    entry(
        "contacts",
        "party_status",
        "政治面貌",
        "party status",
        Class::P3,
        Rule::Text(20),
    ),
    log(
        "consent",
        "contact",
        "同意人",
        "consenting contact",
        Class::P2,
        Rule::Entry,
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
    Field {
        shape: Shape::Custom,
        editors: ALL_EDITORS,
        ..register(
            "custom",
            "自定义字段",
            "custom field",
            Class::P1,
            Rule::Text(400),
        )
    },
    // Written when the office finds two cards of one shop; the record it names is the one that goes on.
    Field {
        merge: MergeRule::LastWriter,
        creators: NOBODY,
        editors: NOBODY,
        ..register(
            "merged_into",
            "已并入",
            "merged into",
            Class::P0,
            Rule::Entry,
        )
    },
    NOTE,
];
