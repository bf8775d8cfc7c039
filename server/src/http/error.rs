//! Refusals and failures as RFC 9457 problem documents.
//!
//! In: whatever went wrong. Out: `application/problem+json` with `type`, `title`, `status`, `detail`, `code`, `retryable`, `request_id` and,
//! where one value is to blame, `field` and `rule`.
//!
//! Invariants: the table below is the only place that maps a code to status, retryability, log level and words; a 5xx body says nothing about
//! its cause, which is logged once, by [`http::frame`](crate::http::frame), under the request id that the body carries; `docs/protocol.md`
//! lists exactly [`ErrorCode::ALL`].

use std::borrow::Cow;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use lianka_sync_core::{crdt::merge::Refusal, id::ChangeHash};
use serde::Serialize;
use tracing::Level;
use utoipa::ToSchema;

use crate::{config::Lang, street::merge::MergeError};

/// Chinese and English words for the same thing.
#[derive(Clone, Debug)]
pub struct Text {
    pub zh: Cow<'static, str>,
    pub en: Cow<'static, str>,
}

impl Text {
    fn in_language(&self, language: Lang) -> &str {
        match language {
            Lang::Zh => &self.zh,
            Lang::En => &self.en,
        }
    }
}

/// The language that a request asks for; `default` where it asks for none of ours.
pub fn language(headers: &HeaderMap, default: Lang) -> Lang {
    let ranges: Vec<_> = headers
        .get_all(header::ACCEPT_LANGUAGE)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    Lang::from_accept_language(&ranges.join(","), default)
}

/// What the table says about one code.
#[derive(Debug)]
pub struct Ruling {
    /// As it stands in `code`.
    pub code: &'static str,
    pub status: StatusCode,
    /// Whether the same request, sent again unchanged a little later, may succeed.
    pub retryable: bool,
    pub level: Level,
    pub title: Text,
    /// What the caller can do about it; stands in `detail` where nothing more exact is known.
    pub advice: Text,
}

macro_rules! error_codes {
    ($($variant:ident $code:literal $status:ident $retry:ident $level:ident: $zh:literal / $en:literal, $advice_zh:literal / $advice_en:literal;)*) => {
        /// Every code a problem document can carry. Clients branch on these: one may be added, none may change its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($variant),* }

        impl ErrorCode {
            /// All codes, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The row of the table.
            pub const fn ruling(self) -> &'static Ruling {
                match self { $(Self::$variant => const { &Ruling {
                    code: $code,
                    status: StatusCode::$status,
                    retryable: error_codes!(@$retry),
                    level: Level::$level,
                    title: Text { zh: Cow::Borrowed($zh), en: Cow::Borrowed($en) },
                    advice: Text { zh: Cow::Borrowed($advice_zh), en: Cow::Borrowed($advice_en) },
                } }),* }
            }
        }
    };
    (@retryable) => { true };
    (@final) => { false };
}

// Code, status, whether to send it again, log level: title, then advice.
error_codes! {
    // Who is asking
    Unauthenticated "unauthenticated" UNAUTHORIZED final DEBUG:
        "请先登录" / "Not signed in", "请在 Authorization 头中带上访问令牌。" / "Send an access token in the Authorization header.";
    TokenInvalid "token_invalid" UNAUTHORIZED final WARN:
        "令牌无效" / "Token not valid", "请重新登录。" / "Sign in again.";
    TokenExpired "token_expired" UNAUTHORIZED final DEBUG:
        "令牌已过期" / "Token expired", "请用刷新令牌换取新的访问令牌。" / "Exchange the refresh token for a new access token.";
    BadCredentials "bad_credentials" UNAUTHORIZED final WARN:
        "用户名或密码不对" / "Wrong username or password", "请检查后再试。" / "Check both and try again.";
    EnrolmentRefused "enrolment_refused" UNAUTHORIZED final WARN:
        "注册码不可用" / "Enrolment code refused", "注册码有误、已用过或已过期，请向管理员要一个新的。" / "The code is wrong, used or expired: ask an admin for a new one.";
    RefreshInvalid "refresh_invalid" UNAUTHORIZED final WARN:
        "刷新令牌无效" / "Refresh token not valid", "请重新注册或登录；手机里未上传的修改仍然保留。" / "Enrol or sign in again; unsent edits stay on the phone.";
    RefreshReused "refresh_reused" UNAUTHORIZED final WARN:
        "刷新令牌被重复使用" / "Refresh token used twice", "为安全起见该设备已停用，请联系管理员。" / "The device was revoked to be safe: talk to an admin.";
    DeviceRevoked "device_revoked" UNAUTHORIZED final INFO:
        "设备已停用" / "Device revoked", "请联系管理员重新注册。" / "Ask an admin to enrol it again.";
    AccountDisabled "account_disabled" UNAUTHORIZED final INFO:
        "账号已停用" / "Account disabled", "请联系管理员。" / "Talk to an admin.";
    PasswordExpired "password_expired" FORBIDDEN final INFO:
        "请先修改密码" / "Change the password first", "密码已到期或由管理员设置，请在登录时同时给出 new_password。" / "It is too old, or an admin set it: sign in again with new_password beside it.";
    WrongRole "wrong_role" FORBIDDEN final INFO:
        "没有此项权限" / "Not allowed for your role", "请让有权限的同事操作。" / "Ask somebody whose role allows it.";
    WrongStreet "wrong_street" FORBIDDEN final INFO:
        "不属于您的街道" / "Not your street", "您只能操作本街道的数据。" / "You may only work on your own street.";

    // What is asked
    NotFound "not_found" NOT_FOUND final DEBUG:
        "未找到" / "Not found", "这里没有您要找的内容。" / "There is nothing here, or nothing that you may see.";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED final DEBUG:
        "不支持该方法" / "Method not allowed", "请看 Allow 响应头。" / "See the Allow header.";
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE final DEBUG:
        "不支持该内容类型" / "Content type not supported", "此处需要 application/json。" / "This route takes application/json.";
    NotAcceptable "not_acceptable" NOT_ACCEPTABLE final DEBUG:
        "无法按要求的类型应答" / "Cannot answer in that type", "请看文档中支持的类型。" / "See the documentation for the types that can be sent.";
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE final INFO:
        "内容过大" / "Body too large", "请分成几次发送。" / "Send it in several parts.";
    BodyTooSlow "body_too_slow" REQUEST_TIMEOUT retryable INFO:
        "内容接收超时" / "Body too slow", "网络太慢或中断，请稍后重发。" / "It stood still or came too slowly: send it again, over a better line.";
    Malformed "malformed" BAD_REQUEST final INFO:
        "内容无法解析" / "Cannot be read", "请求不是正确的格式。" / "The request is not well-formed.";
    InvalidField "invalid_field" UNPROCESSABLE_ENTITY final DEBUG:
        "字段不符合要求" / "A field breaks a rule", "请看 field 和 rule。" / "See field and rule.";
    AlreadyMerged "already_merged" CONFLICT final INFO:
        "已有卡片被并入" / "Merged already", "两张卡片中有一张已被并入其他卡片，请刷新列表。" / "One of the two cards was merged into another: load the list again.";
    MergeUndone "merge_undone" CONFLICT final INFO:
        "合并已撤销" / "Merge undone already", "这次合并已经撤销。" / "Somebody undid this merge before.";
    MergeNotLast "merge_not_last" CONFLICT final INFO:
        "请先撤销后一次合并" / "A later merge stands on it", "保留的卡片后来又被并入另一张，请先撤销那次合并。" / "The card that went on was itself merged later: undo that first.";
    CardRefuses "card_refuses" CONFLICT final WARN:
        "卡片不能写入" / "The card does not take it", "请联系管理员。" / "Talk to an admin.";
    EditRefused "edit_refused" UNPROCESSABLE_ENTITY final INFO:
        "不能这样修改" / "Edit refused", "请看 rule。" / "See rule: a code as in the verdicts of a phone's changes.";
    StaleHeads "stale_heads" CONFLICT final INFO:
        "记录已有新的修改" / "The record has moved on", "请先查看最新内容，再按 heads 重新提交。" / "Look at the record again, then send the edit with these heads.";
    ConflictChanged "conflict_changed" CONFLICT final INFO:
        "冲突已变化" / "Not this conflict any more", "请刷新冲突列表后再选定。" / "What you saw is settled or replaced already: load the conflict again.";
    EditedSince "edited_since" CONFLICT final INFO:
        "该字段后来又有修改" / "Edited since", "如仍要撤销，请带 force；后来的值会一并保留为待定。" / "Undo with force to put the values beside what stands there now.";
    AlreadyUndone "already_undone" CONFLICT final INFO:
        "已经撤销" / "Undone already", "这次选定已经撤销。" / "Somebody undid it before.";
    AlreadyExists "already_exists" CONFLICT final INFO:
        "已存在且内容不同" / "Exists with other values", "同名条目已存在，未作改动。" / "An entry of that name exists; nothing was changed.";

    HeldDecided "held_decided" CONFLICT final INFO:
        "已经处理" / "Decided already", "这条修改已有人处理，请刷新列表。" / "Somebody accepted or refused it before; load the list again.";
    HeldNeeds "held_needs_others" CONFLICT final INFO:
        "须先接受其依据的修改" / "It builds on other held changes", "请先接受 needs 中的修改，或带 with_needed。" / "Accept those in its needs first, or send with_needed.";

    // What the server can do just now
    RateLimited "rate_limited" TOO_MANY_REQUESTS retryable WARN:
        "尝试过于频繁" / "Too many attempts", "请稍后再试。" / "Wait before trying again.";
    TooManyRefusals "too_many_refusals" TOO_MANY_REQUESTS retryable DEBUG:
        "该设备暂缓同步" / "Device kept away for a while", "它发来的内容屡次未通过检查；手机里的修改仍然保留，请稍后再试。若一直如此，请联系管理员。" / "Too much of what it sent was refused. Its edits stay on it: try again after Retry-After, and talk to an admin if it goes on.";
    Overloaded "overloaded" SERVICE_UNAVAILABLE retryable WARN:
        "服务器繁忙" / "Server busy", "请稍后再试。" / "Try again a little later.";
    Unavailable "unavailable" SERVICE_UNAVAILABLE retryable ERROR:
        "服务暂不可用" / "Not available just now", "请稍后再试。" / "Try again a little later.";
    Internal "internal" INTERNAL_SERVER_ERROR retryable ERROR:
        "服务器内部错误" / "Internal error", "请把 request_id 告诉管理员。" / "Tell an admin the request_id.";
}

impl ErrorCode {
    /// As it stands in `code`.
    pub const fn as_str(self) -> &'static str {
        self.ruling().code
    }
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
#[error("{}", code.as_str())]
pub struct ApiError {
    code: ErrorCode,
    // Boxed: an error is rare and travels in every Result.
    particulars: Option<Box<Particulars>>,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Debug, Default)]
struct Particulars {
    detail: Option<Text>,
    field: Option<Cow<'static, str>>,
    rule: Option<&'static str>,
    heads: Option<Vec<ChangeHash>>,
    retry_after_s: Option<u32>,
}

/// Seconds in `Retry-After` where the refusal does not know better.
const RETRY_AFTER_DEFAULT_S: u32 = 2;

impl ApiError {
    /// The refusal `code` with the table's own words.
    pub fn new(code: ErrorCode) -> Self {
        Self {
            code,
            particulars: None,
            cause: None,
        }
    }

    /// A fault of ours: the caller learns the request id, the log learns `cause`.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorCode::Internal).because(cause)
    }

    /// `field` (a path such as `grids[2]`) breaks `rule`, a stable word such as `length_1_100`.
    pub fn invalid_field(field: impl Into<Cow<'static, str>>, rule: &'static str) -> Self {
        let mut error = Self::new(ErrorCode::InvalidField);
        let particulars = error.particulars();
        particulars.field = Some(field.into());
        particulars.rule = Some(rule);
        particulars.detail = advice(rule).map(|(zh, en)| Text {
            zh: zh.into(),
            en: en.into(),
        });
        error
    }

    /// An edit refused by a rule that the code of a phone's verdict would name.
    pub fn refused(refusal: &Refusal) -> Self {
        let mut error = match refusal.key() {
            Some(key) => Self::invalid_field(key.to_owned(), refusal.code()),
            None if refusal.retryable() => return Self::new(ErrorCode::Unavailable),
            None => Self::new(ErrorCode::EditRefused),
        };
        error.particulars().rule = Some(refusal.code());
        error.detail(refusal.message(Lang::Zh), refusal.message(Lang::En))
    }

    /// An edit that expects other heads than the record has.
    pub fn stale_heads(heads: Vec<ChangeHash>) -> Self {
        let mut error = Self::new(ErrorCode::StaleHeads);
        error.particulars().heads = Some(heads);
        error
    }

    /// Replaces the table's advice.
    #[must_use]
    pub fn detail(
        mut self,
        zh: impl Into<Cow<'static, str>>,
        en: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.particulars().detail = Some(Text {
            zh: zh.into(),
            en: en.into(),
        });
        self
    }

    /// Seconds after which trying again makes sense.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u32) -> Self {
        self.particulars().retry_after_s = Some(seconds);
        self
    }

    /// The cause, for the log only.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    fn particulars(&mut self) -> &mut Particulars {
        self.particulars.get_or_insert_default()
    }

    /// Cause by cause, for the log.
    pub fn causes(&self) -> String {
        let mut text = String::new();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// The problem document for a caller who reads `language`.
    pub fn problem(&self, language: Lang, request_id: &str) -> Problem {
        let ruling = self.code.ruling();
        let particulars = self.particulars.as_deref();
        let detail = particulars
            .and_then(|p| p.detail.as_ref())
            .unwrap_or(&ruling.advice);
        Problem {
            r#type: format!("/v1/docs#problem-{}", ruling.code),
            title: ruling.title.in_language(language).to_owned(),
            status: ruling.status.as_u16(),
            detail: detail.in_language(language).to_owned(),
            code: ruling.code,
            retryable: ruling.retryable,
            request_id: request_id.to_owned(),
            field: particulars
                .and_then(|p| p.field.as_ref())
                .map(|f| f.clone().into_owned()),
            rule: particulars.and_then(|p| p.rule),
            heads: particulars.and_then(|p| p.heads.clone()),
        }
    }
}

/// RFC 9457 problem document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Where the code is explained.
    pub r#type: String,
    /// What happened, in the language that `Accept-Language` asks for (zh or en).
    pub title: String,
    pub status: u16,
    /// What to do about it, in the same language.
    pub detail: String,
    /// Stable word to branch on.
    pub code: &'static str,
    /// Whether the same request may succeed when sent again later.
    pub retryable: bool,
    /// Under this id the server's log knows more.
    pub request_id: String,
    /// Path of the value to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The rule that it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// With `stale_heads`: the record's heads now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub heads: Option<Vec<ChangeHash>>,
}

/// The refusal inside a response, until [`http::frame`](crate::http::frame) renders it: only there are language and request id known.
#[derive(Clone, Debug)]
pub struct Unrendered(pub std::sync::Arc<ApiError>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let ruling = self.code.ruling();
        let mut response = ruling.status.into_response();
        let headers = response.headers_mut();
        match ruling.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = self
                    .particulars
                    .as_ref()
                    .and_then(|p| p.retry_after_s)
                    .unwrap_or(RETRY_AFTER_DEFAULT_S);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            _ => {}
        }
        response
            .extensions_mut()
            .insert(Unrendered(std::sync::Arc::new(self)));
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::new(ErrorCode::Overloaded).because(error),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::new(ErrorCode::Unavailable).because(error),
            sqlx::Error::Database(database) => {
                if let Some(refusal) = database.constraint().and_then(broken_constraint) {
                    return refusal;
                }
                // NUL in a text that a request brought.
                if database.code().as_deref() == Some("22021") {
                    return Self::new(ErrorCode::Malformed)
                        .detail(
                            "内容含有不能保存的字符（NUL）。",
                            "It holds a character that cannot be kept: NUL.",
                        )
                        .because(error);
                }
                match database.code().as_deref().and_then(passing) {
                    Some(code) => Self::new(code).because(error),
                    None => Self::internal(error),
                }
            }
            _ => Self::internal(error),
        }
    }
}

/// What to do about a broken rule, where the route has no better words.
fn advice(rule: &str) -> Option<(&'static str, &'static str)> {
    Some(match rule {
        "not_empty" => ("不能为空。", "It must not be empty."),
        "exists" => ("没有这一项。", "There is no such thing."),
        "shape" => ("字段的形状不对。", "It has the wrong shape."),
        "range_1_100000" => (
            "须为 1 到 100000 之间的整数。",
            "A whole number from 1 to 100,000.",
        ),
        "range_1_200" => (
            "须为 1 到 200 之间的整数。",
            "A whole number from 1 to 200.",
        ),
        "items_max_64" => ("一次最多 64 项。", "At most 64 at once."),
        "items_max_200" => ("一次最多 200 项。", "At most 200 at once."),
        "length_0_100" => ("最多 100 个字。", "At most 100 characters."),
        "length_2_60" => (
            "请给出完整的姓名，2 到 60 个字。",
            "Give the whole name, 2 to 60 characters.",
        ),
        "one_phone_number" => (
            "请给出一个完整的电话号码。",
            "Give one whole telephone number.",
        ),
        "phone_or_name" => ("请给出 phone 或 name 之一。", "Give either phone or name."),
        "date_yyyy_mm_dd" => ("须为日期，例如 2026-11-21。", "A day such as 2026-11-21."),
        "number_and_hash" => (
            "锚点由序号和 64 位十六进制散列组成：4711:9f…",
            "An anchor is a number and 64 hexadecimal digits: 4711:9f…",
        ),
        "one_of_the_pair" => (
            "须为这一对卡片中的一张。",
            "It must be one of the two cards of the pair.",
        ),
        "known_grid" => ("没有这个网格。", "There is no such grid in this street."),
        "known_reason" => ("没有这种理由。", "There is no such reason."),
        "harmless_class" => (
            "须为 spelling、phone_format 或 more_complete。",
            "One of spelling, phone_format and more_complete.",
        ),
        "unknown_field" => ("没有这个字段。", "There is no such field."),
        "one_of_odd_even" => ("须为 odd（单号）或 even（双号）。", "Either odd or even."),
        "one_of_zh_en" => ("须为 zh 或 en。", "Either zh or en."),
        "one_of_held_accepted_refused" => (
            "须为 held、accepted 或 refused。",
            "One of held, accepted and refused.",
        ),
        "one_of_due_age_changed" => ("须为 due、age 或 changed。", "One of due, age and changed."),
        "one_of_walk_sign_name_confirmed_changed" => (
            "须为 walk、sign_name、confirmed 或 changed。",
            "One of walk, sign_name, confirmed and changed.",
        ),
        _ => return None,
    })
}

/// What Postgres says when it is not the request's fault and will be over: the same request may succeed later.
fn passing(sqlstate: &str) -> Option<ErrorCode> {
    match sqlstate {
        // Somebody holds the row for too long.
        "55P03" => Some(ErrorCode::Overloaded),
        // Read-only, as a standby is; a transaction that was left alone for too long.
        "25006" | "25P03" | "25P04" => Some(ErrorCode::Unavailable),
        // Connection lost; not let in; no such database; serialisation failure or deadlock; out of disk, memory or connections; cancelled or
        // shutting down; an error of the machine; a broken configuration file.
        _ => ["08", "28", "3D", "40", "53", "57", "58", "F0"]
            .iter()
            .any(|class| sqlstate.starts_with(class))
            .then_some(ErrorCode::Unavailable),
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::refused(&refusal)
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

/// Constraints that a request may break although the handler looked first: somebody else was quicker.
fn broken_constraint(name: &str) -> Option<ApiError> {
    Some(match name {
        "grid_street_fkey" | "road_street_fkey" | "scope_street_fkey" => {
            ApiError::new(ErrorCode::NotFound).detail("没有这个街道。", "There is no such street.")
        }
        "account_street_fkey" => ApiError::invalid_field("street", "exists")
            .detail("没有这个街道。", "There is no such street."),
        "assignment_street_grid_fkey" => ApiError::invalid_field("grids", "exists")
            .detail("没有这个网格。", "There is no such grid in this street."),
        "scope_username_fkey" | "assignment_username_fkey" | "enrolment_username_fkey" => {
            ApiError::new(ErrorCode::NotFound).detail("没有这个用户。", "There is no such user.")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable_words_and_unique() {
        let mut seen = std::collections::HashSet::new();
        for code in ErrorCode::ALL {
            let text = code.as_str();
            assert!(
                text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{text}"
            );
            assert!(seen.insert(text), "{text} stands twice");
            assert!(
                code.ruling().status.is_client_error() || code.ruling().status.is_server_error()
            );
        }
    }

    #[test]
    fn language_follows_weights_and_falls_back_to_the_default() {
        for (header, expected) in [
            ("", Lang::Zh),
            ("de", Lang::Zh),
            ("en", Lang::En),
            ("en-GB,en;q=0.9", Lang::En),
            ("zh-CN,zh;q=0.9,en;q=0.8", Lang::Zh),
            ("zh;q=0.2, en;q=0.7", Lang::En),
            ("en;q=nonsense", Lang::Zh),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(header));
            assert_eq!(language(&headers, Lang::Zh), expected, "{header}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for (sqlstate, expected) in [
            ("55P03", Some(ErrorCode::Overloaded)),
            ("25006", Some(ErrorCode::Unavailable)),
            ("25P03", Some(ErrorCode::Unavailable)),
            ("53100", Some(ErrorCode::Unavailable)),
            ("57P01", Some(ErrorCode::Unavailable)),
            ("58030", Some(ErrorCode::Unavailable)),
            ("23514", None),
            ("42P01", None),
            ("XX001", None),
        ] {
            assert_eq!(passing(sqlstate), expected, "{sqlstate}");
        }
    }

    #[test]
    fn a_server_fault_says_nothing_about_its_cause() {
        let error = ApiError::internal("relation \"account\" does not exist");
        let body = serde_json::to_string(&error.problem(Lang::En, "r-1")).unwrap();
        assert!(!body.contains("account"), "{body}");
        assert!(error.causes().contains("account"));
    }
}
