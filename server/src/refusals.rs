//! What the rooms refuse, as problems for the caller: one table. Nobody needs this file but those who answer HTTP.

use std::borrow::Cow;

use lianka_office_core::{acts::Refused, street::ForgetError};
use lianka_sync_core::{
    kinds::transfer::calendar::{NOTICE_LINES_MAX, NoticeError},
    lang::Lang,
    limits,
};
use uuid::Uuid;

use crate::{
    admin::{acts::AdminError, notices::CalendarError},
    auth::error::{AuthError, KeyError},
    http::{
        error::{ApiError, ErrorCode},
        fields::Broken,
    },
    roll::{export::ExportError, import::ImportError, import_file::FormError},
    street::error::{ActError, MergeError, PushError},
    sync::{error::SyncError, ingest::IngestError},
};

impl From<Broken> for ApiError {
    fn from(broken: Broken) -> Self {
        Self::invalid_field(broken.field, broken.rule).detail(broken.zh, broken.en)
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::Store(error) | AuthError::Keys(KeyError::Store(error)) => {
                return error.into();
            }
            AuthError::Field(broken) => return broken.into(),
            AuthError::TokenInvalid(why) => {
                return Self::new(ErrorCode::TokenInvalid).because(why);
            }
            AuthError::TooManyTries { wait_s } => {
                return Self::new(ErrorCode::RateLimited).retry_after_s(wait_s);
            }
            AuthError::TooManyRequests => return too_many_requests(),
            AuthError::NoToken => ErrorCode::Unauthenticated,
            AuthError::TokenExpired => ErrorCode::TokenExpired,
            AuthError::BadCredentials => ErrorCode::BadCredentials,
            AuthError::PasswordExpired => ErrorCode::PasswordExpired,
            AuthError::EnrolmentRefused => ErrorCode::EnrolmentRefused,
            AuthError::RefreshInvalid => ErrorCode::RefreshInvalid,
            AuthError::RefreshReused => ErrorCode::RefreshReused,
            AuthError::AccountDisabled => ErrorCode::AccountDisabled,
            AuthError::DeviceRevoked => ErrorCode::DeviceRevoked,
            AuthError::WrongStreet => ErrorCode::WrongStreet,
            AuthError::Busy => ErrorCode::Overloaded,
            AuthError::Keys(_)
            | AuthError::AccountMissing
            | AuthError::Hash(_)
            | AuthError::StoredHash(_)
            | AuthError::Sign(_)
            | AuthError::Task(_) => return Self::internal(error),
        };
        Self::new(code)
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        AuthError::Keys(error).into()
    }
}

/// Of one device.
fn too_many_requests() -> ApiError {
    ApiError::new(ErrorCode::RateLimited).detail(
        "该设备的请求过多，请稍候。",
        "Too many requests of this device, or too dear ones: wait for some of them to end.",
    )
}

impl From<SyncError> for ApiError {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::Away { wait_s } => {
                Self::new(ErrorCode::TooManyRefusals).retry_after_s(wait_s)
            }
            SyncError::TooManySyncs => Self::new(ErrorCode::RateLimited).detail(
                "该设备已有几次同步正在进行，请等其结束。",
                "Several synchronisations of this device are under way: wait for one of them to end.",
            ),
            SyncError::GaveWay => too_many_requests(),
            SyncError::Overloaded => Self::new(ErrorCode::Overloaded),
            SyncError::NoStreet => Self::new(ErrorCode::NotFound),
            SyncError::Ingest(error) => error.into(),
            SyncError::Push(error) => error.into(),
            SyncError::Store(error) => error.into(),
            SyncError::Task(error) => Self::internal(error),
        }
    }
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        let (changes, ops) = (limits::SYNC_CHANGES_MAX, limits::SYNC_OPS_MAX);
        let malformed = Self::new(ErrorCode::Malformed);
        let too_large = Self::new(ErrorCode::BodyTooLarge);
        match error {
            IngestError::Packed(error) => malformed
                .detail("请求内容解压失败。", "The body does not decompress.")
                .because(error),
            IngestError::TooLarge => too_large,
            IngestError::TooManyChanges => too_large.detail(
                format!("一次最多 {changes} 项修改，请分几次发送。"),
                format!("At most {changes} changes in one request; send several."),
            ),
            IngestError::TooManyOps => too_large.detail(
                format!("一次最多 {ops} 个操作，请分几次发送。"),
                format!("At most {ops} operations in one request; send several."),
            ),
            IngestError::Unreadable(error) => malformed.detail(
                format!("无法读取：{error}"),
                format!("Cannot be read: {error}."),
            ),
            IngestError::NoHello => {
                malformed.detail("第一项须为 hello。", "The first item must be a hello.")
            }
            IngestError::TwoHellos => {
                malformed.detail("hello 只能出现一次。", "There is one hello only.")
            }
            IngestError::ClientName => Self::invalid_field("client", "length_1_80"),
        }
    }
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> Self {
        let code = match &error {
            PushError::Full => return Self::new(ErrorCode::Overloaded),
            PushError::Stopping => return Self::new(ErrorCode::Unavailable),
            PushError::Batch(cause) => match &**cause {
                MergeError::NoStreet => return Self::new(ErrorCode::NotFound),
                cause if cause.is_about_content() => ErrorCode::Internal,
                cause if cause.is_about_a_lock() => ErrorCode::Overloaded,
                MergeError::Store(_) => ErrorCode::Unavailable,
            },
        };
        Self::new(code).because(error)
    }
}

impl From<MergeError> for ApiError {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::NoStreet => Self::new(ErrorCode::NotFound),
            MergeError::Store(error) => error.into(),
        }
    }
}

impl From<ActError> for ApiError {
    fn from(error: ActError) -> Self {
        match error {
            ActError::Merge(error) => error.into(),
            ActError::Refused(refused) => refused.into(),
        }
    }
}

/// A field that names a grid which the street has not.
fn no_grid(field: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::invalid_field(field, "exists")
        .detail("没有这个网格。", "There is no such grid in this street.")
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        let not_found = Self::new(ErrorCode::NotFound);
        match error {
            AdminError::Store(error) => error.into(),
            AdminError::Auth(error) => error.into(),
            AdminError::NoStreet => not_found.detail("没有这个街道。", "There is no such street."),
            AdminError::NoUser => not_found.detail("没有这个用户。", "There is no such user."),
            AdminError::NoDevice => not_found,
            AdminError::NoGrid(nth) => no_grid(format!("grids[{nth}]")),
            AdminError::Disabled => Self::invalid_field("username", "enabled")
                .detail("该账号已停用。", "The account is disabled."),
            AdminError::OfTheDeployment => Self::new(ErrorCode::WrongStreet),
            AdminError::OthersPassword => Self::new(ErrorCode::WrongRole),
            AdminError::OldPasswordNeeded => Self::invalid_field("old_password", "not_empty")
                .detail(
                    "修改自己的密码需要旧密码。",
                    "Your own password needs the old one.",
                ),
            AdminError::Yourself(field) => Self::invalid_field(field, "not_yourself").detail(
                "不能停用自己或更改自己的角色，请另一位管理员操作。",
                "Another admin has to do that.",
            ),
            AdminError::AlreadyExists => Self::new(ErrorCode::AlreadyExists),
        }
    }
}

impl From<CalendarError> for ApiError {
    fn from(error: CalendarError) -> Self {
        match error {
            CalendarError::Notice(error) => {
                let zh = match error {
                    NoticeError::Line(line) => format!(
                        "第 {line} 行：须为“日期,安排”，例如 2027-10-01,holiday（放假）或 2027-10-09,workday（上班）。"
                    ),
                    NoticeError::Twice(line) => format!("第 {line} 行：这一天前面已经写过。"),
                    NoticeError::Empty => "没有一行写有日期。".to_owned(),
                    NoticeError::TooLong => format!("超过 {NOTICE_LINES_MAX} 行。"),
                };
                Self::invalid_field("body", "calendar_notice").detail(zh, format!("{error}."))
            }
            CalendarError::Store(error) => error.into(),
            CalendarError::Merge(error) => error.into(),
            CalendarError::State(_) => Self::internal(error),
        }
    }
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Store(error) => error.into(),
            ImportError::NoStreet | ImportError::NoImport => Self::new(ErrorCode::NotFound),
            ImportError::NoGrid => Self::invalid_field("grid", "known_grid"),
            ImportError::File(error) => {
                Self::invalid_field("body", error.code()).detail(error.zh(), error.to_string())
            }
            ImportError::WrongStatus(_) => Self::new(ErrorCode::ImportClosed),
            ImportError::RowUndecided(row) => Self::new(ErrorCode::RowUndecided).detail(
                format!("第 {row} 行还要选定，或不在等待之列：请在 choices 里写明是哪张卡片（card）或是新店（new）。"),
                format!("Row {row} waits for a choice, or does not wait at all: say in choices which card it is (card), or that it is new (new)."),
            ),
            ImportError::Street(error) => error.into(),
            ImportError::Act(error) => error.into(),
            ImportError::Task(_) => Self::internal(error),
        }
    }
}

impl From<FormError> for ApiError {
    fn from(error: FormError) -> Self {
        let (zh, en) = match error {
            FormError::NoFile => (
                "请求里找不到台账文件：请直接以文件内容作为请求正文，或用 multipart/form-data 上传一个文件。",
                "No file was found in the request: send the file itself as the body, or one file as multipart/form-data.",
            ),
            FormError::ManyFiles => (
                "表单里有多个文件，请每次只上传一个台账文件。",
                "The form holds more than one file; send one roll at a time.",
            ),
        };
        Self::new(ErrorCode::UnsupportedMediaType).detail(zh, en)
    }
}

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
            ExportError::File(_) => Self::internal(error),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound | Refused::NoRecord(_) | Refused::Forget(ForgetError::NoRecord) => {
                Self::new(ErrorCode::NotFound)
            }
            Refused::Unavailable => Self::new(ErrorCode::Unavailable),
            Refused::StaleHeads(heads) => Self::stale_heads(heads),
            Refused::AlreadyExists => Self::new(ErrorCode::AlreadyExists),
            Refused::ConflictChanged => Self::new(ErrorCode::ConflictChanged),
            Refused::AlreadyUndone => Self::new(ErrorCode::AlreadyUndone),
            Refused::EditedSince => Self::new(ErrorCode::EditedSince),
            Refused::AlreadyMerged => Self::new(ErrorCode::AlreadyMerged),
            Refused::MergeUndone => Self::new(ErrorCode::MergeUndone),
            Refused::MergeNotLast => Self::new(ErrorCode::MergeNotLast),
            Refused::Decided => Self::new(ErrorCode::HeldDecided),
            Refused::Needs(needs) => {
                let ids: Vec<_> = needs.iter().map(Uuid::to_string).collect();
                let ids = ids.join(", ");
                Self::new(ErrorCode::HeldNeeds).detail(
                    format!("请先接受：{ids}，或带 with_needed。"),
                    format!("Accept these first, or send with_needed: {ids}."),
                )
            }
            Refused::NoGrid => no_grid("to_grid"),
            Refused::NoFromGrid => no_grid("from_grid"),
            Refused::HowMany(field) => Self::invalid_field(field, "items_1_2000").detail(
                "一次最多移动 2000 张卡。",
                "At most 2,000 cards at once; narrow it down.",
            ),
            Refused::NoEntry => Self::invalid_field("entry", "exists").detail(
                "该卡没有这位联系人。",
                "The record has no such contact person.",
            ),
            Refused::NoField => Self::invalid_field("field", "unknown_field"),
            Refused::ReservedKey(key) => Self::invalid_field(format!("set.{key}"), "reserved")
                .detail(
                    "街道和类型不由字段指定。",
                    "Street and kind are not given as fields.",
                ),
            Refused::NoteIsText => Self::invalid_field("note", "wrong_type"),
            Refused::SameCard => Self::invalid_field("winner", "one_of_the_pair"),
            Refused::Rule(refusal) | Refused::HeldRefused(refusal) => Self::refused(&refusal),
            Refused::CardRefuses(refusal) => {
                let code = if refusal.retryable() {
                    ErrorCode::Unavailable
                } else {
                    ErrorCode::CardRefuses
                };
                Self::new(code).detail(refusal.message(Lang::Zh), refusal.message(Lang::En))
            }
            Refused::Forget(error @ ForgetError::Rebuild(_)) => Self::internal(error),
        }
    }
}
