//! Acts as the audit trail tells them: who did what, in ids, codes and counts.
//!
//! No personal data beyond usernames of accounts and ids: no values of fields, no names, no telephone numbers, no search words.

use lianka_sync_core::id::{ChangeHash, DeviceId, RecordId};
use serde_json::{Value, json};

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident $word:literal $zh:literal;)*) => {
        /// What was done. The words are stable: one may be added, none changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[$doc])* $variant),* }

        impl Action {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As it stands in the column `action`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// What an auditor reads.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $zh),* }
            }
        }
    };
}

actions! {
    // Content
    /// Changes that a phone pushed.
    Content "content" "手机上传修改";
    DeskEdit "desk_edit" "电脑端修改";
    Resolution "resolution" "裁定冲突";
    ResolutionUndone "resolution_undone" "撤销裁定";
    /// The server's answer to an event of a transfer.
    Ruling "ruling" "转接裁定";
    HeldAccepted "held_accept" "接受暂存修改";
    HeldRefused "held_refuse" "退回暂存修改";
    Merge "merge" "合并重复";
    MergeUndone "merge_undo" "撤销合并";
    Dismissed "dismiss" "排除重复";
    /// Rows of an import were written.
    Import "import" "导入";
    ImportProposed "import_proposed" "提出导入";
    ImportUndone "import_undo" "撤销导入";
    ImportDropped "import_drop" "放弃导入";
    // Forgetting
    Erase "erase" "删除记录";
    Redact "redact" "删除个人信息";
    /// Sensitive fields of a transfer went from its record to the office's own table.
    PersonalMoved "personal_moved" "敏感信息移出记录";
    /// What was overwritten long ago left a record's history.
    Compaction "compact" "整理历史";
    // Reading
    ReadP3 "read_p3" "查看敏感个人信息";
    Export "export" "导出";
    PersonExport "person_export" "导出个人信息";
    // Rights
    Street "street" "新建街道";
    Grid "grid" "新建网格";
    Road "road" "登记道路";
    CustomField "custom_field" "自定义字段";
    /// Days of a yearly notice of public holidays.
    Calendar "calendar" "更新节假日历";
    Assignment "assignment" "分配网格";
    CardMoved "card_moved" "调整所属网格";
    UserCreated "user_created" "新建账号";
    UserChanged "user_changed" "变更账号";
    PasswordChanged "password_changed" "修改密码";
    PasswordReset "password_reset" "重置密码";
    // Signing in
    SignIn "sign_in" "登录";
    SignInFailed "sign_in_failed" "登录失败";
    LockOut "lock_out" "账号锁定";
    // Devices
    Enrolment "enrolment" "生成注册码";
    DeviceEnrolled "device_enrolled" "设备注册";
    DeviceRevoked "device_revoked" "设备停用";
    WipeOrdered "wipe_ordered" "下令清除设备";
    DeviceWiped "device_wiped" "设备报告已清除";
    CloneSuspected "clone_suspected" "疑似克隆设备";
    TokenReused "token_reused" "刷新令牌被重复使用";
    // The trail itself
    Seal "seal" "签名封存";
    Prune "prune" "清理到期记录";
}

/// A change of the log that an event tells of: sequence, record, hash.
pub type Logged = (i64, RecordId, ChangeHash);

/// One act.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The account that acted; `None` is the server itself.
    pub username: Option<String>,
    pub device: Option<DeviceId>,
    pub action: Action,
    pub record: Option<RecordId>,
    /// An object of ids, codes and counts.
    pub detail: Value,
}

impl Event {
    /// An act of the server itself.
    pub fn by_server(action: Action) -> Self {
        Self {
            username: None,
            device: None,
            action,
            record: None,
            detail: json!({}),
        }
    }

    /// An act of an account at a device.
    pub fn by(username: &str, device: DeviceId, action: Action) -> Self {
        Self {
            username: Some(username.to_owned()),
            device: Some(device),
            ..Self::by_server(action)
        }
    }

    /// About this record.
    #[must_use]
    pub fn on(mut self, record: RecordId) -> Self {
        self.record = Some(record);
        self
    }

    /// Adds a member to the detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        match &mut self.detail {
            Value::Object(members) => drop(members.insert(key.to_owned(), value.into())),
            detail => *detail = json!({ key: value.into() }),
        }
        self
    }

    /// Names the entries of the log that came of the act, each as `[sequence, record, hash]`. `audit verify` holds them to the log.
    #[must_use]
    pub fn with_changes(self, changes: &[Logged]) -> Self {
        let list: Vec<_> = changes
            .iter()
            .map(|(seq, record, hash)| json!([seq, record, hash]))
            .collect();
        self.with("changes", list)
    }

    /// Names records whose log was rewritten by the act (`erase`, `redact`, a history made shorter): what earlier events say of their
    /// entries does not hold any more. Entries that remain are named anew by [`Self::with_changes`].
    #[must_use]
    pub fn with_rebuilt(self, records: &[RecordId]) -> Self {
        let list: Vec<_> = records.iter().map(|record| json!(record)).collect();
        self.with("rebuilt", list)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn words_are_stable_and_unique() {
        let mut seen = std::collections::HashSet::new();
        for action in Action::ALL {
            assert!(
                action
                    .as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{action:?}"
            );
            assert!(seen.insert(action.as_str()), "{action:?} stands twice");
        }
    }

    #[test]
    fn an_event_names_changes_and_rebuilt_records() {
        let (record, hash) = (RecordId(Uuid::from_u128(3)), ChangeHash([0xab; 32]));
        let event = Event::by("li.na", DeviceId(Uuid::from_u128(1)), Action::DeskEdit)
            .on(record)
            .with("fields", vec!["sign_name"])
            .with_changes(&[(12, record, hash)])
            .with_rebuilt(&[record]);
        let text = event.detail.to_string();
        assert_eq!(
            text,
            format!(
                r#"{{"changes":[[12,"{record}","{}"]],"fields":["sign_name"],"rebuilt":["{record}"]}}"#,
                "ab".repeat(32)
            )
        );
    }
}
