//! The table of refusals: every code that an answer can carry, with its status, whether to send the request again, its log level and its words.
//!
//! Invariants: this is the only place that maps a code to any of them; `docs/protocol.md` lists exactly [`ErrorCode::ALL`].

use std::borrow::Cow;

use axum::http::StatusCode;
use lianka_sync_core::lang::Lang;
use tracing::Level;

/// Chinese and English words for the same thing.
#[derive(Clone, Debug)]
pub struct Text {
    pub zh: Cow<'static, str>,
    pub en: Cow<'static, str>,
}

impl Text {
    /// The words in `language`.
    pub fn in_language(&self, language: Lang) -> &str {
        match language {
            Lang::Zh => &self.zh,
            Lang::En => &self.en,
        }
    }
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
    ImportClosed "import_closed" CONFLICT final INFO:
        "这次导入已经结束" / "The import is over", "这次导入已放弃、已撤销，或正在撤销。" / "It was dropped, or taken back, or is being taken back.";
    RowUndecided "row_undecided" CONFLICT final INFO:
        "这一行还要选定" / "A row waits for a choice", "请在 choices 里写明这一行是哪张卡片（card），或是新店（new）。" / "Say in choices which card the row is (card), or that it is new (new).";
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
}
