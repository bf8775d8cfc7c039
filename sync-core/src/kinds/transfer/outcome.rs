//! What a ruling says, and how it stands in the record: written by the server, read by everybody.

use crate::{
    crdt::view::View,
    id::EntryId,
    kinds::transfer::table::{State, Words},
    time::ServerTime,
};

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It did what it says.
    Applied,
    /// It did nothing; the code says why.
    Refused,
    /// It crossed another one: an officer settles it.
    Contested,
    /// An acceptance dated after the letter's expiry: an officer confirms it with an event of its own.
    Late,
    /// Another branch came first: an officer talks to this one.
    Referral,
    /// A second, different officer has to do it too.
    AwaitingSecond,
    /// It does not move the request, but something is to be put right.
    CorrectionTask,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Applied,
        Self::Refused,
        Self::Contested,
        Self::Late,
        Self::Referral,
        Self::AwaitingSecond,
        Self::CorrectionTask,
    ];

    /// The name on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::Contested => "contested",
            Self::Late => "late",
            Self::Referral => "referral",
            Self::AwaitingSecond => "awaiting_second",
            Self::CorrectionTask => "correction_task",
        }
    }

    /// For people.
    pub const fn words(self) -> Words {
        match self {
            Self::Applied => Words {
                zh: "已生效",
                en: "done",
            },
            Self::Refused => Words {
                zh: "未受理",
                en: "refused",
            },
            Self::Contested => Words {
                zh: "待裁定",
                en: "contested",
            },
            Self::Late => Words {
                zh: "逾期，待经办人确认",
                en: "late, to be confirmed by an officer",
            },
            Self::Referral => Words {
                zh: "另有支部已接收，转告处理",
                en: "another branch came first; referred",
            },
            Self::AwaitingSecond => Words {
                zh: "待另一名经办人复核",
                en: "waiting for a second officer",
            },
            Self::CorrectionTask => Words {
                zh: "转为更正事项",
                en: "became a correction task",
            },
        }
    }
}

macro_rules! codes {
    ($($variant:ident $code:literal: $zh:literal / $en:literal;)*) => {
        /// Why a ruling is what it is. Codes may be added; none changes its meaning.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "the words stand beside them")]
        pub enum Code { $($variant),* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire and in the store.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// For people.
            pub const fn words(self) -> Words {
                match self { $(Self::$variant => Words { zh: $zh, en: $en }),* }
            }
        }
    };
}

codes! {
    WrongState "wrong_state": "当前状态不能办理这一步" / "this step cannot be taken in the present state";
    Overtaken "overtaken": "您查看之后情况已有变化，请查看最新情况后再办" / "the case has moved on since what you saw; look again";
    SeenUnknown "seen_unknown": "所依据的事件不在本申请中，或尚未裁定" / "`seen` names no ruled event of this request";
    ContentIncomplete "content_incomplete": "申请内容不完整" / "the request lacks a field";
    ConsentMissing "consent_missing": "没有登记党员本人同意，或本人已撤回同意" / "the member's consent is not on record, or was withdrawn";
    SecondOfficerRequired "second_officer_required": "须由另一名经办人复核" / "a second, different officer has to do this";
    LetterInUse "letter_in_use": "该介绍信编号已用于另一申请" / "the letter's number is live in another request";
    LetterVoid "letter_void": "该编号已用过或已作废，须填新编号" / "this number was used before or is void; a new letter has a new one";
    LetterExpired "letter_expired": "已超过介绍信有效期" / "the letter's validity is over";
    LetterStillValid "letter_still_valid": "介绍信仍在有效期内" / "the letter is still valid";
    DateInFuture "date_in_future": "日期晚于今天" / "the date lies in the future";
    MemberHasOpenTransfer "member_has_open_transfer": "该党员已有一件更早的未办结申请：请先办结其一，或确认不是同一人" /
        "the member has an earlier open request: end one of them, or rule that they are not the same person";
    AlreadyAccepted "already_accepted": "该支部已接收" / "this branch has accepted already";
    SecondBranch "second_branch": "另一支部已先接收" / "another branch accepted first";
    RefusedElsewhere "refused_elsewhere": "申请已被不予接收" / "the request had been refused";
    Contested "contested": "撤回与接收同时发生，裁定前不能办理" / "a withdrawal and the acceptance crossed; nothing goes on before the ruling";
    CrossedWithdrawal "crossed_withdrawal": "与党员撤回同时发生" / "it crossed the member's withdrawal";
    CrossedAcceptance "crossed_acceptance": "与街道接收同时发生" / "it crossed the acceptance";
    TypingError "typing_error": "因录入错误撤回：接收有效，待更正" / "withdrawn for a typing error: the acceptance stands, the entry is to be put right";
    ReceiptAlreadySent "receipt_already_sent": "回执已发出：接收有效，撤回转为待办" / "the receipt had gone out: the acceptance stands, the withdrawal becomes a task";
    UnknownEvent "unknown_event": "所指的事件不存在，或不适用" / "the event it is about is not there, or is nothing of that sort";
}

impl Code {
    /// By its name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

/// What the server decides about an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ruling {
    /// What became of it.
    pub outcome: Outcome,
    /// Why, where there is something to say.
    pub code: Option<Code>,
    /// The state after it.
    pub state: State,
}

/// A ruling as it stands in the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ruled {
    /// Its place in the order, from 1.
    pub no: u32,
    /// When, by the server's clock.
    pub at: ServerTime,
    /// What.
    pub ruling: Ruling,
    /// The account that the event is by; `None`: the server's clock.
    pub by: Option<String>,
}

impl Ruled {
    /// The keys and values that the server writes, with the record's `state`.
    pub fn keys(&self, event: EntryId) -> Vec<(String, String)> {
        let key = |name: &str| format!("rulings/{event}/{name}");
        let mut keys = vec![
            (key("no"), self.no.to_string()),
            (key("at"), self.at.to_string()),
            (key("outcome"), self.ruling.outcome.as_str().to_owned()),
            (key("state"), self.ruling.state.as_str().to_owned()),
        ];
        keys.extend(
            self.ruling
                .code
                .map(|code| (key("code"), code.as_str().to_owned())),
        );
        keys.extend(self.by.clone().map(|by| (key("by"), by)));
        keys.push(("state".to_owned(), self.ruling.state.as_str().to_owned()));
        keys
    }

    /// The ruling on an event, from the record.
    pub fn of(view: &View, event: EntryId) -> Option<Self> {
        let text = |name: &str| view.entry_text("rulings", event, name);
        let at = text("at")?;
        let at: ServerTime =
            serde_json::from_value(serde_json::Value::String(at.to_owned())).ok()?;
        let outcome = Outcome::ALL
            .into_iter()
            .find(|outcome| Some(outcome.as_str()) == text("outcome"))?;
        let ruling = Ruling {
            outcome,
            code: text("code").and_then(Code::parse),
            state: text("state")?.parse().ok()?,
        };
        Some(Self {
            no: text("no")?.parse().ok()?,
            at,
            ruling,
            by: text("by").map(str::to_owned),
        })
    }
}
