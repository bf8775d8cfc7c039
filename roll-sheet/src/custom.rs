//! Columns that the catalogue does not know: fields of the street's own, their types guessed from their values.

use std::collections::BTreeMap;

use lianka_sync_core::{
    kinds::Class,
    search::fold,
    values::{
        date, personal,
        text::{self, TextWarningKind},
    },
};

use crate::{
    ColumnTarget, CustomField, CustomKind, RollColumn,
    cell::one_line,
    grid::Rows,
    people::looks_like_name,
    shape::{Placeholder, placeholder},
};

/// Choices of a guessed choice field, and how often each must occur on average.
const CHOICES_MAX: usize = 12;
const CHOICE_REPEATS_MIN: usize = 3;
const CHOICE_CHARS_MAX: usize = 20;

/// The fields of the columns that the catalogue does not know, from the left.
pub(crate) fn custom_fields(columns: &[RollColumn], below: Rows<'_>) -> Vec<CustomField> {
    let custom = columns
        .iter()
        .enumerate()
        .filter_map(|(at, column)| match &column.target {
            ColumnTarget::Custom(name) => Some((at, column, name)),
            _ => None,
        });
    custom
        .filter_map(|(at, column, name)| {
            let values: Vec<String> = below
                .column(at)
                .map(one_line)
                .filter(|c| !c.is_empty())
                .filter(|c| !matches!(placeholder(c), Some(Placeholder::Sign | Placeholder::Ditto)))
                // What is not imported is no choice either.
                .filter(|c| {
                    !personal::find_under(&column.heading, c)
                        .iter()
                        .any(|n| n.certain)
                })
                .collect();
            // A column of letters only has neither heading nor value: nothing to keep.
            let named = column.heading != column.letters;
            (named || !values.is_empty()).then(|| CustomField {
                name: name.clone(),
                label: column.heading.clone(),
                kind: kind_of(&values),
                class: class_of(&column.heading, &values),
            })
        })
        .collect()
}

/// Words of headings under which something about a person stands.
const PERSONAL: &[&str] = &[
    "姓名",
    "名字",
    "联系人",
    "联络人",
    "电话",
    "手机",
    "座机",
    "固话",
    "传真",
    "联系方式",
    "号码",
    "微信",
    "wechat",
    "weixin",
    "qq",
    "邮箱",
    "邮件",
    "email",
    "mail",
    "住址",
    "家庭",
    "户籍",
    "籍贯",
    "生日",
    "出生",
    "年龄",
    "性别",
    "配偶",
    "子女",
    "家属",
    "房东",
    "业主",
    "产权人",
    "出租人",
    "承租人",
    "法人",
    "法定代表",
    "负责人",
    "责任人",
    "经营者",
    "经营人",
    "店主",
    "店长",
    "老板",
    "经办人",
    "签名",
    "签字",
    "网格员",
    "网格长",
    "街长",
    "走访人",
    "填表人",
    "巡查人",
    "检查人",
    "安全员",
    "员工",
    "紧急",
    "应急",
    "车牌",
    "账号",
    "账户",
    "抖音",
    "小红书",
    "phone",
    "mobile",
    "contact",
    "person",
    "birth",
    "landlord",
    "owner",
    "manager",
];

/// Personal data, where the heading says so, or the values are telephone numbers or names.
fn class_of(heading: &str, values: &[String]) -> Class {
    let folded = fold(heading);
    let counted = ["人数", "员工数", "数量", "户数"]
        .iter()
        .any(|word| folded.contains(word));
    let headed = !counted && PERSONAL.iter().any(|word| folded.contains(word));
    let called = values.iter().any(|value| {
        text::warnings(value).iter().any(|warning| {
            matches!(
                warning.kind,
                TextWarningKind::PhoneNumber | TextWarningKind::IdentityNumber
            )
        })
    });
    let name_count = values.iter().filter(|value| looks_like_name(value)).count();
    let distinct: std::collections::BTreeSet<&String> = values.iter().collect();
    // Names differ; words of a list repeat.
    let names =
        name_count > 0 && name_count * 5 >= values.len() * 4 && distinct.len() * 2 > values.len();
    if headed || called || names {
        Class::P2
    } else {
        Class::P1
    }
}

fn kind_of(values: &[String]) -> CustomKind {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    if values.is_empty() {
        return CustomKind::Text;
    }
    // A bare five-digit number reads as an Excel serial; a column of those is a column of numbers.
    if values
        .iter()
        .all(|v| number(v).is_none() && date::parse(v).is_some())
    {
        return CustomKind::Date;
    }
    if values.iter().all(|v| number(v).is_some()) {
        return CustomKind::Number;
    }
    let short = counts.keys().all(|v| v.chars().count() <= CHOICE_CHARS_MAX);
    if short && counts.len() <= CHOICES_MAX && values.len() >= CHOICE_REPEATS_MIN * counts.len() {
        let mut choices: Vec<(usize, &str)> = counts
            .into_iter()
            .map(|(value, count)| (count, value))
            .collect();
        choices.sort_by_key(|&(count, value)| (std::cmp::Reverse(count), value));
        return CustomKind::Choice(
            choices
                .into_iter()
                .map(|(_, value)| value.to_owned())
                .collect(),
        );
    }
    CustomKind::Text
}

/// A plain decimal number without leading zeros, which mark a code: 007.
pub(crate) fn number(text: &str) -> Option<String> {
    let plain = text::half_width(text).replace(',', "");
    let digits = plain.strip_prefix('-').unwrap_or(&plain);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let plain_whole = whole == "0" || !whole.starts_with('0');
    (all_digits(whole) && all_digits(fraction) && plain_whole && digits.len() <= 15)
        .then_some(plain)
}
