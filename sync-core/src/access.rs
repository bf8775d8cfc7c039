//! Who writes, and why a write to a field is refused. Which field, and what value, [`crate::authority`] decides.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::lang::Lang;

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
    /// Holds a character that turns the direction of writing, or that is none ([`crate::values::characters`]).
    ForbiddenCharacter,
    /// Holds a number that is a person's and belongs into no field: an identity number, a bank card, a passport, a permit.
    PersonalNumber,
    /// Not one of the field's list.
    NotInList(&'static [&'static str]),
    /// Not a day as `YYYY-MM-DD`.
    NotADate,
    /// Not a minute in China as `YYYY-MM-DDTHH:MM`.
    NotATime,
    /// Later than the server's clock, by more than clocks differ.
    InFuture,
    /// So long before the server's clock that the author's clock, or the hand that typed it, must have been wrong.
    TooLongAgo,
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
            Self::ForbiddenCharacter => "value_forbidden_character",
            Self::PersonalNumber => "personal_number",
            Self::NotInList(_) => "value_not_in_list",
            Self::NotADate => "value_not_a_date",
            Self::NotATime => "value_not_a_time",
            Self::InFuture => "value_in_future",
            Self::TooLongAgo => "value_too_long_ago",
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
                Self::Empty => "值不能为空（只有看不见的字符也算空）；要清空请删除该字段".into(),
                Self::TooLong(max) => format!("最多 {max} 个字符"),
                Self::NotNfc => "文字须为 Unicode NFC 形式".into(),
                Self::ControlCharacter => "不能含控制字符".into(),
                Self::ForbiddenCharacter => {
                    "含有看不见的排版控制符或无效字符（例如改变文字方向的字符），请重新输入，不要粘贴".into()
                }
                Self::PersonalNumber => {
                    "含有身份证、银行卡、护照或证件号码，不能记录；请删去号码再保存".into()
                }
                Self::NotInList(list) => format!("须为以下之一：{}", list.join("、")),
                Self::NotADate => "日期须为 YYYY-MM-DD".into(),
                Self::NotATime => "时间须为 YYYY-MM-DDTHH:MM（北京时间）".into(),
                Self::InFuture => "时间在将来，请检查手机时钟".into(),
                Self::TooLongAgo => "日期过早，请检查手机时钟，或核对日期".into(),
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
                Self::Empty => {
                    "the value is empty, as one of invisible characters alone is; delete the key to clear it".into()
                }
                Self::TooLong(max) => format!("at most {max} characters"),
                Self::NotNfc => "text must be in Unicode normal form C".into(),
                Self::ControlCharacter => "control characters are not allowed".into(),
                Self::ForbiddenCharacter => {
                    "characters that change the direction of writing, or that are none, are not allowed: type it anew instead of pasting".into()
                }
                Self::PersonalNumber => {
                    "an identity number, a bank card, a passport or a permit stands in it and may not be kept: take the number out and save again".into()
                }
                Self::NotInList(list) => format!("one of: {}", list.join(", ")),
                Self::NotADate => "a day as YYYY-MM-DD".into(),
                Self::NotATime => "a day and time in China as YYYY-MM-DDTHH:MM".into(),
                Self::InFuture => "the time lies in the future; check the phone's clock".into(),
                Self::TooLongAgo => {
                    "the day lies too long ago; check the phone's clock, or the day".into()
                }
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

#[cfg(test)]
mod tests {
    use super::*;

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
