//! Who may touch which field, and what a value must look like: one table ([`crate::kinds`]) read the same way on the phone, to
//! prevent, and on the server, to refuse.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use unicode_normalization::is_nfc;

use crate::{
    codec::change::Scalar,
    kinds::{Field, Key, Kind, MergeRule, Rule, Shape},
    lang::Lang,
    limits, values as field,
};

/// What an account may do (docs/domain.md, “Who uses it”).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// 网格街区党支部书记: walks the shops of one or more grids with a phone.
    Secretary,
    /// 街道党群服务中心审核员: reviews the merged roll at a desk.
    Reviewer,
    /// 组织关系经办人: takes the binding steps of a transfer.
    Officer,
    /// 街道管理员: accounts, grids, assignments, devices, import, erasure.
    Admin,
    /// 审计员: reads the audit trail; changes nothing.
    Auditor,
}

/// Why a text names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of secretary, reviewer, officer, admin, auditor")]
pub struct UnknownRole;

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Secretary,
        Self::Reviewer,
        Self::Officer,
        Self::Admin,
        Self::Auditor,
    ];

    /// The name on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secretary => "secretary",
            Self::Reviewer => "reviewer",
            Self::Officer => "officer",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
        }
    }

    /// What people see, Chinese.
    pub const fn label_zh(self) -> &'static str {
        match self {
            Self::Secretary => "网格街区党支部书记",
            Self::Reviewer => "审核员",
            Self::Officer => "组织关系经办人",
            Self::Admin => "街道管理员",
            Self::Auditor => "审计员",
        }
    }

    /// Whether a sync sends the role records: only those do who edit cards. The others hand over what they still have, get verdicts, and are told
    /// to drop what they received in another role.
    pub const fn receives_records(self) -> bool {
        matches!(self, Self::Secretary | Self::Reviewer | Self::Admin)
    }

    /// Whether the role sees every grid of its street, not only those assigned.
    pub const fn sees_whole_street(self) -> bool {
        !matches!(self, Self::Secretary)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(UnknownRole)
    }
}

/// Who writes: a person in a role, or the server itself (rulings, what follows from a merge or a rebuild).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writer {
    /// Bound by the field's creators and editors.
    Person(Role),
    /// May write every field; value rules and write-once keys hold for it as for everybody.
    Server,
}

impl From<Role> for Writer {
    fn from(role: Role) -> Self {
        Self::Person(role)
    }
}

/// Why a write to a field is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FieldError {
    /// The kind has no such field, or the key has another spelling.
    Unknown,
    /// The role may not write the field.
    NotEditable(Role),
    /// The field was written once already, or is written after creation.
    WriteOnce,
    /// The value is of another type.
    WrongType,
    /// The empty text: delete the key instead.
    Empty,
    /// Longer than so many characters.
    TooLong(usize),
    /// Not in Unicode normal form C.
    NotNfc,
    /// Holds control characters.
    ControlCharacter,
    /// Not one of the field's list.
    NotInList(&'static [&'static str]),
    /// Not a day as `YYYY-MM-DD`.
    NotADate,
    /// Not a minute in China as `YYYY-MM-DDTHH:MM`.
    NotATime,
    /// Later than the server's clock, by more than clocks differ.
    InFuture,
    /// Not a `geo:` URI with a crs.
    NotAPoint,
    /// Not an entry id.
    NotAnEntry,
    /// A P3 field without the person's consent on record.
    ConsentMissing,
    /// The creating change lacks it.
    Missing,
    /// Not a whole number in this range.
    OutOfRange(u32, u32),
    /// An event of a transfer without its type, or without a field of its form: an event is written whole, by one change.
    EventIncomplete,
    /// A field that the event's form does not have.
    NotInForm,
}

impl FieldError {
    /// The stable code of a `verdict` (docs/protocol.md).
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_field",
            Self::NotEditable(_) => "field_not_editable",
            Self::WriteOnce => "write_once",
            Self::WrongType => "wrong_type",
            Self::Empty => "value_empty",
            Self::TooLong(_) => "value_too_long",
            Self::NotNfc => "value_not_nfc",
            Self::ControlCharacter => "value_control_character",
            Self::NotInList(_) => "value_not_in_list",
            Self::NotADate => "value_not_a_date",
            Self::NotATime => "value_not_a_time",
            Self::InFuture => "value_in_future",
            Self::NotAPoint => "value_not_a_point",
            Self::NotAnEntry => "value_not_an_entry",
            Self::ConsentMissing => "consent_missing",
            Self::Missing => "creation_incomplete",
            Self::OutOfRange(..) => "value_out_of_range",
            Self::EventIncomplete => "event_incomplete",
            Self::NotInForm => "not_in_form",
        }
    }

    /// For a person, in their language.
    pub fn message(&self, lang: Lang) -> String {
        match lang {
            Lang::Zh => match self {
                Self::Unknown => "没有这个字段".into(),
                Self::NotEditable(role) => format!("{}无权修改该字段", role.label_zh()),
                Self::WriteOnce => "该字段只能写入一次".into(),
                Self::WrongType => "值的类型不对".into(),
                Self::Empty => "值不能为空；要清空请删除该字段".into(),
                Self::TooLong(max) => format!("最多 {max} 个字符"),
                Self::NotNfc => "文字须为 Unicode NFC 形式".into(),
                Self::ControlCharacter => "不能含控制字符".into(),
                Self::NotInList(list) => format!("须为以下之一：{}", list.join("、")),
                Self::NotADate => "日期须为 YYYY-MM-DD".into(),
                Self::NotATime => "时间须为 YYYY-MM-DDTHH:MM（北京时间）".into(),
                Self::InFuture => "时间在将来，请检查手机时钟".into(),
                Self::NotAPoint => "坐标须为 geo: 形式并注明坐标系".into(),
                Self::NotAnEntry => "须为条目编号".into(),
                Self::ConsentMissing => "须先登记本人同意".into(),
                Self::Missing => "新建记录时必须填写".into(),
                Self::OutOfRange(min, max) => format!("须为 {min} 到 {max} 的整数"),
                Self::EventIncomplete => "事件须一次写全：类型和表单中的必填项".into(),
                Self::NotInForm => "该事件的表单没有这一项".into(),
            },
            Lang::En => match self {
                Self::Unknown => "there is no such field".into(),
                Self::NotEditable(role) => format!("a {role} may not edit this field"),
                Self::WriteOnce => "this field is written once only".into(),
                Self::WrongType => "the value has the wrong type".into(),
                Self::Empty => "the value is empty; delete the key to clear it".into(),
                Self::TooLong(max) => format!("at most {max} characters"),
                Self::NotNfc => "text must be in Unicode normal form C".into(),
                Self::ControlCharacter => "control characters are not allowed".into(),
                Self::NotInList(list) => format!("one of: {}", list.join(", ")),
                Self::NotADate => "a day as YYYY-MM-DD".into(),
                Self::NotATime => "a day and time in China as YYYY-MM-DDTHH:MM".into(),
                Self::InFuture => "the time lies in the future; check the phone's clock".into(),
                Self::NotAPoint => "a geo: URI with its crs".into(),
                Self::NotAnEntry => "an entry id".into(),
                Self::ConsentMissing => "the person's consent must be on record first".into(),
                Self::Missing => "the creating change must write it".into(),
                Self::OutOfRange(min, max) => format!("a whole number from {min} to {max}"),
                Self::EventIncomplete => {
                    "an event is written whole: its type and every field that its form needs".into()
                }
                Self::NotInForm => "the event's form has no such field".into(),
            },
        }
    }
}

/// Whether `writer` may write `value` (`None`: delete) to `key` of a record of `kind`.
///
/// `creating`: in the change that creates the record. What only the record can tell (already written, consent, whether a required field
/// keeps a value) is checked by [`crate::crdt::merge`].
pub fn check_write(
    kind: Kind,
    writer: impl Into<Writer>,
    creating: bool,
    key: &str,
    value: Option<&Scalar>,
) -> Result<&'static Field, FieldError> {
    if key.len() > limits::KEY_BYTES_MAX {
        return Err(FieldError::Unknown);
    }
    let (field, parsed) = kind.field(key).ok_or(FieldError::Unknown)?;
    check_member(field, &parsed)?;
    check_writer(field, writer.into(), creating)?;
    match value {
        Some(value) => check_value(field, value)?,
        None if matches!(field.merge, MergeRule::WriteOnce | MergeRule::Log) => {
            return Err(FieldError::WriteOnce);
        }
        None => {}
    }
    Ok(field)
}

/// Whether `writer` may write to the note of a record of `kind`.
pub fn check_note(
    kind: Kind,
    writer: impl Into<Writer>,
    creating: bool,
) -> Result<&'static Field, FieldError> {
    let field = kind
        .fields()
        .iter()
        .find(|field| field.merge == MergeRule::Text)
        .ok_or(FieldError::Unknown)?;
    check_writer(field, writer.into(), creating).map(|()| field)
}

fn check_writer(field: &Field, writer: Writer, creating: bool) -> Result<(), FieldError> {
    let Writer::Person(role) = writer else {
        return Ok(());
    };
    let allowed = if creating {
        field.creators
    } else {
        field.editors
    };
    if allowed.contains(&role) {
        Ok(())
    } else if field.merge == MergeRule::WriteOnce && !creating {
        Err(FieldError::WriteOnce)
    } else {
        Err(FieldError::NotEditable(role))
    }
}

fn check_member(field: &Field, key: &Key<'_>) -> Result<(), FieldError> {
    let Key::Member { member, .. } = key else {
        return Ok(());
    };
    match field.shape {
        Shape::SetOfDays if !is_iso_day(member) => Err(FieldError::NotADate),
        Shape::SetMember | Shape::Custom => check_text(member, limits::MEMBER_CHARS_MAX),
        _ => Ok(()),
    }
}

/// Whether `value` obeys the field's rule.
pub fn check_value(field: &Field, value: &Scalar) -> Result<(), FieldError> {
    if field.rule == Rule::Flag {
        return if *value == Scalar::Bool(true) {
            Ok(())
        } else {
            Err(FieldError::WrongType)
        };
    }
    let Scalar::Str(text) = value else {
        return Err(FieldError::WrongType);
    };
    match field.rule {
        Rule::Text(max) => check_text(text, max),
        Rule::Whole(min, max) => match text.parse::<u32>() {
            Ok(number) if (min..=max).contains(&number) && number.to_string() == *text => Ok(()),
            _ => Err(FieldError::OutOfRange(min, max)),
        },
        Rule::OneOf(list) if list.contains(&text.as_str()) => Ok(()),
        Rule::OneOf(list) => Err(FieldError::NotInList(list)),
        Rule::Date if is_iso_day(text) => Ok(()),
        Rule::Date => Err(FieldError::NotADate),
        Rule::Minute if field::date::minute(text).is_some() => Ok(()),
        Rule::Minute => Err(FieldError::NotATime),
        Rule::Point => text
            .parse::<field::geo::GeoPoint>()
            .map(|_| ())
            .map_err(|_| FieldError::NotAPoint),
        Rule::Entry => match text.parse::<crate::id::EntryId>() {
            Ok(entry) if entry.to_string() == *text => Ok(()),
            _ => Err(FieldError::NotAnEntry),
        },
        // A scalar can never stand where the Text object belongs.
        Rule::Flag | Rule::Note => Err(FieldError::WrongType),
    }
}

/// Stored days have one spelling.
fn is_iso_day(text: &str) -> bool {
    field::date::parse(text).is_some_and(|date| field::date::to_iso(date) == text)
}

fn check_text(text: &str, chars_max: usize) -> Result<(), FieldError> {
    if text.is_empty() {
        Err(FieldError::Empty)
    } else if text.chars().count() > chars_max {
        Err(FieldError::TooLong(chars_max))
    } else if text.chars().any(char::is_control) {
        Err(FieldError::ControlCharacter)
    } else if !is_nfc(text) {
        Err(FieldError::NotNfc)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        role: Role,
        creating: bool,
        key: &str,
        value: Option<&str>,
        expected: Result<(), &str>,
    ) {
        let value = value.map(Scalar::from);
        let got = check_write(Kind::ShopCard, role, creating, key, value.as_ref())
            .map(|_| ())
            .map_err(|error| error.code());
        assert_eq!(got, expected, "{role} {key}");
    }

    #[test]
    fn roles_and_rules() {
        use Role::{Admin, Auditor, Officer, Reviewer, Secretary};
        check(Secretary, false, "sign_name", Some("王记包子"), Ok(()));
        check(Secretary, false, "sign_name", None, Ok(()));
        check(Secretary, true, "grid", Some("康平01"), Ok(()));
        check(
            Secretary,
            false,
            "grid",
            Some("康平01"),
            Err("field_not_editable"),
        );
        check(Reviewer, false, "grid", Some("康平01"), Ok(()));
        check(Admin, false, "kind", Some("shop_card"), Err("write_once"));
        check(
            Auditor,
            false,
            "sign_name",
            Some("x"),
            Err("field_not_editable"),
        );
        check(
            Officer,
            false,
            "sign_name",
            Some("x"),
            Err("field_not_editable"),
        );
        check(Secretary, false, "sign_name", Some(""), Err("value_empty"));
        check(
            Secretary,
            false,
            "sign_name",
            Some(&"长".repeat(100)),
            Ok(()),
        );
        check(
            Secretary,
            false,
            "sign_name",
            Some(&"长".repeat(101)),
            Err("value_too_long"),
        );
        check(
            Secretary,
            false,
            "sign_name",
            Some("e\u{301}"),
            Err("value_not_nfc"),
        );
        check(
            Secretary,
            false,
            "sign_name",
            Some("a\nb"),
            Err("value_control_character"),
        );
        check(Secretary, false, "sign_name", Some("𠮷野家"), Ok(()));
        check(
            Secretary,
            false,
            "occupancy",
            Some("倒闭"),
            Err("value_not_in_list"),
        );
        check(
            Secretary,
            false,
            "occupancy_observed_on",
            Some("2026-02-30"),
            Err("value_not_a_date"),
        );
        check(
            Secretary,
            false,
            "point",
            Some("geo:31.2,121.4"),
            Err("value_not_a_point"),
        );
        check(
            Secretary,
            false,
            "point",
            Some("geo:31.2,121.4;crs=gcj02;u=12"),
            Ok(()),
        );
        check(
            Secretary,
            false,
            "tags/late_night",
            Some("yes"),
            Err("wrong_type"),
        );
        check(
            Secretary,
            false,
            "confirmations/2026-13-01",
            None,
            Err("value_not_a_date"),
        );
        check(Secretary, false, "nope", Some("x"), Err("unknown_field"));
        check(Secretary, false, "note", Some("x"), Err("wrong_type"));
    }

    #[test]
    fn what_is_written_once_is_not_taken_back() {
        let consent = "consent/0198c0de-0000-7000-8000-00000000000a/contact";
        check(
            Role::Secretary,
            false,
            consent,
            Some("0198c0de-0000-7000-8000-00000000000b"),
            Ok(()),
        );
        check(Role::Secretary, false, consent, None, Err("write_once"));
        for role in Role::ALL {
            check(role, false, "street", None, Err("write_once"));
        }
        // Whatever the server may write, it takes back no line of a log either.
        let by_the_server = |key: &str| {
            check_write(Kind::ShopCard, Writer::Server, false, key, None)
                .map(|_| ())
                .map_err(|error| error.code())
        };
        assert_eq!(
            (
                by_the_server(consent),
                by_the_server("street"),
                by_the_server("unit")
            ),
            (Err("write_once"), Err("write_once"), Ok(()))
        );
    }

    /// One spelling each: else two phones that mean the same stand as a conflict.
    #[test]
    fn a_value_has_one_spelling() {
        let consent = "consent/0198c0de-0000-7000-8000-00000000000a/contact";
        check(
            Role::Secretary,
            false,
            consent,
            Some("0198C0DE-0000-7000-8000-00000000000B"),
            Err("value_not_an_entry"),
        );
        let days = |text: &str| {
            let key = "events/0198c0de-0000-7000-8000-00000000000a/validity_days";
            check_write(
                Kind::TransferRequest,
                Role::Officer,
                false,
                key,
                Some(&text.into()),
            )
            .map(|_| ())
            .map_err(|error| error.code())
        };
        for (text, expected) in [
            ("1", Ok(())),
            ("90", Ok(())),
            ("0", Err("value_out_of_range")),
            ("9999999", Err("value_out_of_range")),
        ] {
            assert_eq!(days(text), expected, "{text}");
        }
        for spelling in ["090", "+90", " 90", "90.0", "九十", ""] {
            assert_eq!(days(spelling), Err("value_out_of_range"), "{spelling:?}");
        }
    }

    #[test]
    fn no_key_is_longer_than_its_maximum() {
        let key = |bytes: usize| format!("custom/{}", "x".repeat(bytes - "custom/".len()));
        check(
            Role::Secretary,
            false,
            &key(limits::MEMBER_CHARS_MAX + "custom/".len()),
            Some("x"),
            Ok(()),
        );
        check(
            Role::Secretary,
            false,
            &key(limits::MEMBER_CHARS_MAX + "custom/".len() + 1),
            Some("x"),
            Err("value_too_long"),
        );
        check(
            Role::Secretary,
            false,
            &key(limits::KEY_BYTES_MAX + 1),
            Some("x"),
            Err("unknown_field"),
        );
    }

    #[test]
    fn who_is_sent_records_and_of_which_grids() {
        use Role::{Admin, Auditor, Officer, Reviewer, Secretary};
        let of = |asked: fn(Role) -> bool| {
            Role::ALL
                .into_iter()
                .filter(|role| asked(*role))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Role::receives_records), [Secretary, Reviewer, Admin]);
        assert_eq!(
            of(Role::sees_whole_street),
            [Reviewer, Officer, Admin, Auditor]
        );
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!(
            Role::ALL.map(Role::as_str),
            ["secretary", "reviewer", "officer", "admin", "auditor"],
            "stored and sent by these names"
        );
    }
}
