//! 组织关系转接: what a member asks for. Its state is not a field: the server rules on events.

use super::{Class, Field, GRID, KIND, NOTE, Rule, STREET, log, register, shop_card::DECISION};

const TRANSFER_KINDS: &[&str] = &["in_city_e", "cross_province_letter", "cross_province_e", "temporary", "floating_report"];
const MEMBER_STATUS: &[&str] = &["正式", "预备"];

pub(crate) const FIELDS: &[Field] = &[
    KIND,
    STREET,
    GRID,
    Field { required: true, ..register("transfer_kind", "转接类型", "kind of transfer", Class::P1, Rule::OneOf(TRANSFER_KINDS)) },
    Field { required: true, ..register("member_alias", "党员代称", "member alias", Class::P2, Rule::Text(60)) },
    register("member_name", "党员姓名", "member name", Class::P3, Rule::Text(60)),
    register("member_status", "党员类别", "member status", Class::P3, Rule::OneOf(MEMBER_STATUS)),
    register("origin_organisation", "转出组织", "origin organisation", Class::P3, Rule::Text(200)),
    register("phone", "联系电话", "phone", Class::P2, Rule::Text(100)),
    register("target_branch", "转入支部", "target branch", Class::P3, Rule::Text(200)),
    log("consent", "scope", "同意范围", "consent scope", Class::P2, Rule::Text(60)),
    log("consent", "wording", "告知文本版本", "wording version", Class::P2, Rule::Text(60)),
    log("consent", "channel", "同意方式", "consent channel", Class::P2, Rule::Text(40)),
    log("consent", "decision", "同意或撤回", "grant or withdrawal", Class::P2, Rule::OneOf(DECISION)),
    log("consent", "given_on", "同意日期", "given on", Class::P2, Rule::Date),
    NOTE,
];
