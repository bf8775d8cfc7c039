//! Refusals and failures as RFC 9457 problem documents.
//!
//! In: whatever went wrong. Out: `application/problem+json` with `type`, `title`, `status`, `detail`, `code`, `retryable`, `request_id` and,
//! where one value is to blame, `field` and `rule`.
//!
//! Invariants: what a code means stands in [`crate::problem`]; a 5xx body says nothing about its cause, which is logged once, by
//! [`http::frame`](crate::http::frame), under the request id that the body carries.

use std::borrow::Cow;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use lianka_sync_core::{crdt::merge::Refusal, id::ChangeHash, lang::Lang};
use serde::Serialize;
use utoipa::ToSchema;

pub use crate::problem::{ErrorCode, Text};

/// The language that a request asks for; `default` where it asks for none of ours.
pub fn language(headers: &HeaderMap, default: Lang) -> Lang {
    let ranges: Vec<_> = headers
        .get_all(header::ACCEPT_LANGUAGE)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    Lang::from_accept_language(&ranges.join(","), default)
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
        "personal_number" => (
            "填有身份证、银行卡或护照一类的号码，请删去，不要记录。",
            "The number of an identity card, a bank card or a passport stands here: please remove it, it is not to be kept.",
        ),
        "one_phone_number" => (
            "请给出一个完整的电话号码。",
            "Give one whole telephone number.",
        ),
        "entry_or_member" => (
            "请给出 entry 或 member 之一。",
            "Give either entry or member.",
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
