//! The state machine as one table: states with their limits and words, steps with who, from, to and what they need.
//!
//! Everything else reads it: the phone and the gate (who may write which event), the rulings, the queue's next steps, docs/transfers.md and its
//! picture. Source: docs/domain.md, “Transfer request”; what goes beyond it is marked there and here with “added”.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    authority::Role::{self, Officer, Secretary},
    lang::Lang,
};

/// Where a transfer stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the table names them")]
pub enum State {
    Draft,
    Submitted,
    Returned,
    AwaitingOrigin,
    InTransit,
    Arrived,
    ArchiveCheck,
    Accepted,
    ReceiptSent,
    Closed,
    Withdrawn,
    Refused,
    Expired,
    Floating,
    Contested,
    Lapsed,
}

/// What somebody does with a transfer: the type of an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the table names them")]
pub enum Step {
    Submit,
    Return,
    Resubmit,
    RequestOrigin,
    Dispatch,
    Arrive,
    ArchiveCheck,
    Accept,
    ConfirmLate,
    SendReceipt,
    Close,
    Withdraw,
    Refuse,
    Expire,
    Reissue,
    Floating,
    HomeContacted,
    EndFloating,
    Settle,
    CompleteTask,
    NotSamePerson,
    Remind,
    ProposeExpiry,
    Lapse,
}

/// Who has to do something next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acting {
    /// The secretary who walks the grid.
    Secretary,
    /// An officer of the street.
    Officer,
    /// Another officer than the one before.
    SecondOfficer,
    /// The organisation the member comes from.
    Origin,
    /// The member.
    Member,
    /// Nobody: it is over.
    Nobody,
}

impl Acting {
    /// The name in the store and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secretary => "secretary",
            Self::Officer => "officer",
            Self::SecondOfficer => "second_officer",
            Self::Origin => "origin",
            Self::Member => "member",
            Self::Nobody => "nobody",
        }
    }

    /// For people.
    pub const fn words(self) -> Words {
        let (zh, en) = match self {
            Self::Secretary => ("网格街区党支部书记", "the secretary"),
            Self::Officer => ("组织关系经办人", "an officer"),
            Self::SecondOfficer => ("另一名组织关系经办人", "a second, different officer"),
            Self::Origin => ("转出组织", "the origin organisation"),
            Self::Member => ("党员本人", "the member"),
            Self::Nobody => ("无", "nobody"),
        };
        words(zh, en)
    }
}

/// How long a state may last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Term {
    /// So many days after the server ruled the state.
    Days(u32),
    /// So many working days after it.
    WorkingDays(u32),
    /// Until the letter's validity ends: its signed date and its days.
    Letter,
    /// One month after the signed date of acceptance.
    Month,
    /// The agreed interval after the last contact with the home organisation.
    Contact,
}

/// What the server's clock does when a term is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Writes a reminder, once.
    Remind,
    /// Proposes that the letter be declared expired; an officer confirms.
    ProposeExpiry,
    /// Ends the request.
    Lapse,
    /// Erases the draft.
    Erase,
}

/// Words for a state or a step, Chinese and English.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// 中文
    pub zh: &'static str,
    /// English
    pub en: &'static str,
}

impl Words {
    /// In one of the two languages.
    pub const fn text(&self, lang: Lang) -> &'static str {
        pick(lang, self.zh, self.en)
    }
}

const fn pick(lang: Lang, zh: &'static str, en: &'static str) -> &'static str {
    match lang {
        Lang::Zh => zh,
        Lang::En => en,
    }
}

const fn words(zh: &'static str, en: &'static str) -> Words {
    Words { zh, en }
}

/// A row of the table of states.
#[derive(Debug)]
pub struct StateRow {
    /// Which.
    pub state: State,
    /// The name on the wire and in the store.
    pub code: &'static str,
    /// What people see.
    pub label: Words,
    /// Whether the request counts as open: a member may have one.
    pub open: bool,
    /// How long it may last, and what follows.
    pub limit: Option<(Term, Then)>,
    /// Who has to do something.
    pub acting: Acting,
    /// The next step.
    pub next: Words,
    /// What has to be brought for it.
    pub bring: Words,
    /// What the member is told.
    pub member: Words,
}

/// Where a step leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// To this state.
    State(State),
    /// Nowhere: it is recorded.
    Same,
    /// To the state that the event's `decision` names.
    Decision,
}

/// One field of an event's form.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// The key is `events/<event>/<name>`; its rule stands in the catalogue.
    pub name: &'static str,
    /// Whether the event is refused without it.
    pub required: bool,
}

const fn need(name: &'static str) -> Input {
    Input { name, required: true }
}

const fn may(name: &'static str) -> Input {
    Input { name, required: false }
}

/// A row of the table of steps.
#[derive(Debug)]
pub struct StepRow {
    /// Which.
    pub step: Step,
    /// The name on the wire and in the store: `events/<event>/type`.
    pub code: &'static str,
    /// What people see.
    pub label: Words,
    /// Who may do it; empty: the server's clock alone.
    pub roles: &'static [Role],
    /// Whether a second, different officer has to do it too.
    pub second: bool,
    /// From which states.
    pub from: &'static [State],
    /// To which.
    pub to: To,
    /// The event's fields.
    pub form: &'static [Input],
    /// Fields of which one must be there.
    pub one_of: &'static [&'static str],
    /// Whether the request's own fields must be complete ([`CONTENT`]), the member's consent among them.
    pub content: bool,
    /// Whether it binds the member: refused while an earlier request of the same member is open.
    pub binding: bool,
}

/// What a request must say before it is submitted, beside the member's consent.
pub const CONTENT: &[&str] = &["member_name", "member_status", "origin_organisation", "phone", "target_branch"];
/// The scope of the consent that a submission needs.
pub const CONSENT_SCOPE: &str = "transfer";
/// Fields that leave the record once its submission is ruled: they go to the office alone.
pub const SEALED: &[&str] = &["member_name", "member_status", "origin_organisation", "target_branch"];
/// The longest a letter may be valid, in days.
pub const VALIDITY_DAYS_MAX: u32 = 90;

/// How long letters of a kind of transfer are usually valid, in days.
pub fn usual_validity_days(transfer_kind: &str) -> u32 {
    if transfer_kind == "in_city_e" { 10 } else { 30 }
}

/// Every state, in the order of the way.
pub const STATES: &[StateRow] = &[
    StateRow {
        state: State::Draft,
        code: "draft",
        label: words("草稿", "draft"),
        open: false,
        limit: Some((Term::Days(30), Then::Erase)),
        acting: Acting::Secretary,
        next: words("与党员当面核对内容并提交", "check the content with the member and submit"),
        bring: words("党员本人到场，本人同意", "the member in person, with their consent"),
        member: words("您的申请还没有提交；30 天内不提交会被删除。", "Your request has not been submitted; it is deleted after 30 days."),
    },
    StateRow {
        state: State::Submitted,
        code: "submitted",
        label: words("已提交", "submitted"),
        open: true,
        limit: Some((Term::WorkingDays(3), Then::Remind)),
        acting: Acting::Officer,
        next: words(
            "核对材料：填写接收抬头后请原组织转出，或退回补正，或转流动管理",
            "check it: name the exact addressee and ask the origin to send, or return it, or report as floating",
        ),
        bring: words("接收党组织的准确抬头", "the exact title of the addressee"),
        member: words(
            "申请已送到街道，经办人会在 3 个工作日内答复。",
            "Your request has reached the street office; an officer answers within 3 working days.",
        ),
    },
    StateRow {
        state: State::Returned,
        code: "returned",
        label: words("退回补正", "returned"),
        open: true,
        limit: Some((Term::Days(30), Then::Lapse)),
        acting: Acting::Secretary,
        next: words("按退回原因补正后重新提交", "mend what was asked for and submit again"),
        bring: words("退回原因里要求的材料", "what the reason of the return asks for"),
        member: words(
            "申请被退回，需要补充材料；请联系书记，30 天内不补正即失效。",
            "Your request was returned for more; see your secretary, it lapses after 30 days.",
        ),
    },
    StateRow {
        state: State::AwaitingOrigin,
        code: "awaiting_origin",
        label: words("待转出", "awaiting origin"),
        open: true,
        limit: Some((Term::Days(10), Then::Remind)),
        acting: Acting::Origin,
        next: words("原组织开出介绍信或在系统中转出，经办人登记", "the origin sends letter or system transfer; an officer records it"),
        bring: words(
            "介绍信编号或系统流水号、开具日期、有效天数、党费缴至",
            "letter number or system reference, issue date, validity in days, dues paid up to",
        ),
        member: words(
            "请向原党组织申请转出，抬头按街道告知的填写，并缴清党费。",
            "Ask your present organisation to send you, with the addressee the street gave you, and pay your dues.",
        ),
    },
    StateRow {
        state: State::InTransit,
        code: "in_transit",
        label: words("在途", "in transit"),
        open: true,
        limit: Some((Term::Letter, Then::ProposeExpiry)),
        acting: Acting::Member,
        next: words("党员在有效期内报到，经办人查验介绍信", "the member reports before the letter expires; an officer sights it"),
        bring: words("介绍信原件（或系统截图）、身份证件", "the letter itself (or the system's page) and an identity document"),
        member: words(
            "请在介绍信有效期内带介绍信和身份证件到街道报到。",
            "Come to the street office with your letter and identity document before the letter expires.",
        ),
    },
    StateRow {
        state: State::Arrived,
        code: "arrived",
        label: words("已报到", "arrived"),
        open: true,
        limit: None,
        acting: Acting::Officer,
        next: words("接收，或核档，或（两名经办人）不予接收", "accept, or check the archive, or (two officers) refuse"),
        bring: words("接收支部、接收日期、系统流水号", "branch, date and official reference"),
        member: words("您已报到，街道正在办理接收。", "You have reported; the street office is accepting you."),
    },
    StateRow {
        state: State::ArchiveCheck,
        code: "archive_check",
        label: words("核档", "archive check"),
        open: true,
        limit: Some((Term::Days(15), Then::Remind)),
        acting: Acting::Officer,
        next: words("核对党员档案后接收，或（两名经办人）不予接收", "check the member's archive, then accept or (two officers) refuse"),
        bring: words("党员档案；接收支部、接收日期、系统流水号", "the member's archive; branch, date and official reference"),
        member: words("街道正在核对您的党员档案。", "The street office is checking your archive."),
    },
    StateRow {
        state: State::Accepted,
        code: "accepted",
        label: words("已接收", "accepted"),
        open: true,
        limit: Some((Term::Month, Then::Remind)),
        acting: Acting::Officer,
        next: words("一个月内把回执寄回原组织", "send the receipt back to the origin within a month"),
        bring: words("回执日期和寄送方式", "date and channel of the receipt"),
        member: words("您已被接收，组织关系已转入。", "You have been accepted: your membership is with us now."),
    },
    StateRow {
        state: State::ReceiptSent,
        code: "receipt_sent",
        label: words("已回执", "receipt sent"),
        open: true,
        limit: None,
        acting: Acting::Officer,
        next: words("原组织确认收到回执后办结", "close once the origin confirms"),
        bring: words("原组织的确认", "the origin's confirmation"),
        member: words(
            "回执已寄回原组织，等待确认；您不用再做什么。",
            "The receipt is on its way to your former organisation; nothing more for you to do.",
        ),
    },
    StateRow {
        state: State::Closed,
        code: "closed",
        label: words("办结", "closed"),
        open: false,
        limit: None,
        acting: Acting::Nobody,
        next: words("无", "none"),
        bring: words("无", "nothing"),
        member: words("已办结。", "It is done."),
    },
    StateRow {
        state: State::Withdrawn,
        code: "withdrawn",
        label: words("撤回", "withdrawn"),
        open: false,
        limit: None,
        acting: Acting::Nobody,
        next: words("无；需要时重新申请", "none; file anew where needed"),
        bring: words("无", "nothing"),
        member: words(
            "申请已撤回，组织关系仍在原组织。",
            "Your request was withdrawn; your membership stays with your former organisation.",
        ),
    },
    StateRow {
        state: State::Refused,
        code: "refused",
        label: words("不予接收", "refused"),
        open: false,
        limit: None,
        acting: Acting::Nobody,
        next: words("无；把原因告知党员和原组织", "none; tell the member and the origin why"),
        bring: words("无", "nothing"),
        member: words(
            "街道未予接收，组织关系仍在原组织；原因请问书记。",
            "You were not accepted; your membership stays where it was. Ask your secretary why.",
        ),
    },
    StateRow {
        state: State::Expired,
        code: "expired",
        label: words("逾期", "expired"),
        open: true,
        limit: None,
        acting: Acting::Origin,
        next: words(
            "原组织补开介绍信，经办人登记新编号（旧编号作废）",
            "the origin issues a new letter; an officer records it and the old one is void",
        ),
        bring: words("新介绍信编号或系统流水号、开具日期、有效天数", "number or reference of the new letter, issue date, validity in days"),
        member: words("介绍信已过期，请到原组织补开。", "Your letter has expired; ask your former organisation for a new one."),
    },
    StateRow {
        state: State::Floating,
        code: "floating",
        label: words("流动管理", "floating"),
        open: true,
        limit: Some((Term::Contact, Then::Remind)),
        acting: Acting::Officer,
        next: words("按约定间隔与流出地党组织联系并登记", "contact the home organisation at the agreed interval and record it"),
        bring: words("流出地联系人", "the home organisation's contact"),
        member: words(
            "您作为流动党员在本街道报到，组织关系仍在原组织。",
            "You report here as a floating member; your membership stays with your home organisation.",
        ),
    },
    StateRow {
        state: State::Contested,
        code: "contested",
        label: words("待裁定", "contested"),
        open: true,
        limit: None,
        acting: Acting::Officer,
        next: words(
            "撤回与接收同时发生：问清党员本人意愿后裁定并写明理由；裁定前不发回执",
            "withdrawal and acceptance crossed: ask the member, then rule with a note; no receipt goes out before",
        ),
        bring: words("裁定说明", "a note on the ruling"),
        member: words(
            "您的撤回与街道的接收同时发生，正在裁定；此前组织关系仍在原组织。",
            "Your withdrawal and the acceptance crossed; an officer rules. Until then your membership stays where it was.",
        ),
    },
    StateRow {
        state: State::Lapsed,
        code: "lapsed",
        label: words("失效", "lapsed"),
        open: false,
        limit: None,
        acting: Acting::Nobody,
        next: words("无；需要时重新申请", "none; file anew where needed"),
        bring: words("无", "nothing"),
        member: words(
            "30 天内没有补正，申请已失效；需要时请重新申请。",
            "Nothing was mended within 30 days, so the request lapsed; file anew if you need it.",
        ),
    },
];

const BEFORE_ACCEPTANCE: &[State] =
    &[State::Submitted, State::Returned, State::AwaitingOrigin, State::InTransit, State::Arrived, State::Expired];
const OPEN: &[State] = &[
    State::Submitted,
    State::Returned,
    State::AwaitingOrigin,
    State::InTransit,
    State::Arrived,
    State::ArchiveCheck,
    State::Accepted,
    State::ReceiptSent,
    State::Expired,
    State::Floating,
    State::Contested,
];
const ANY: &[State] = &[
    State::Submitted,
    State::Returned,
    State::AwaitingOrigin,
    State::InTransit,
    State::Arrived,
    State::ArchiveCheck,
    State::Accepted,
    State::ReceiptSent,
    State::Closed,
    State::Withdrawn,
    State::Refused,
    State::Expired,
    State::Floating,
    State::Contested,
    State::Lapsed,
];
const OFFICER: &[Role] = &[Officer];
const SECRETARY: &[Role] = &[Secretary];
const BOTH: &[Role] = &[Secretary, Officer];
const CLOCK: &[Role] = &[];

const fn step(step: Step, code: &'static str, label: Words, roles: &'static [Role], from: &'static [State], to: To) -> StepRow {
    StepRow { step, code, label, roles, second: false, from, to, form: &[], one_of: &[], content: false, binding: false }
}

/// Every step.
pub const STEPS: &[StepRow] = &[
    StepRow {
        form: &[need("member_present")],
        content: true,
        ..step(Step::Submit, "submit", words("提交", "submit"), SECRETARY, &[State::Draft], To::State(State::Submitted))
    },
    StepRow {
        form: &[need("reason_code"), need("note")],
        ..step(Step::Return, "return", words("退回补正", "return"), OFFICER, &[State::Submitted], To::State(State::Returned))
    },
    StepRow {
        form: &[may("note")],
        content: true,
        ..step(Step::Resubmit, "resubmit", words("补正重提", "submit again"), SECRETARY, &[State::Returned], To::State(State::Submitted))
    },
    StepRow {
        form: &[need("addressee")],
        binding: true,
        ..step(
            Step::RequestOrigin,
            "request_origin",
            words("请原组织转出", "ask the origin"),
            OFFICER,
            &[State::Submitted],
            To::State(State::AwaitingOrigin),
        )
    },
    StepRow {
        form: &[may("letter_no"), may("reference"), need("issued_on"), need("validity_days"), need("dues_until")],
        one_of: &["letter_no", "reference"],
        binding: true,
        ..step(
            Step::Dispatch,
            "dispatch",
            words("登记转出", "record the letter"),
            OFFICER,
            &[State::AwaitingOrigin],
            To::State(State::InTransit),
        )
    },
    StepRow {
        form: &[need("letter_sighted"), may("sighted_on")],
        binding: true,
        ..step(Step::Arrive, "arrive", words("报到", "arrive"), OFFICER, &[State::InTransit], To::State(State::Arrived))
    },
    StepRow {
        form: &[need("reason")],
        binding: true,
        ..step(
            Step::ArchiveCheck,
            "archive_check",
            words("核档", "check the archive"),
            OFFICER,
            &[State::Arrived],
            To::State(State::ArchiveCheck),
        )
    },
    StepRow {
        form: &[need("branch"), need("accepted_on"), need("reference")],
        binding: true,
        ..step(Step::Accept, "accept", words("接收", "accept"), OFFICER, &[State::Arrived, State::ArchiveCheck], To::State(State::Accepted))
    },
    StepRow {
        form: &[need("about"), need("note")],
        binding: true,
        ..step(
            Step::ConfirmLate,
            "confirm_late",
            words("确认逾期接收", "confirm a late acceptance"),
            OFFICER,
            &[State::Arrived, State::ArchiveCheck],
            To::State(State::Accepted),
        )
    },
    StepRow {
        form: &[need("sent_on"), need("channel")],
        ..step(
            Step::SendReceipt,
            "send_receipt",
            words("发回执", "send the receipt"),
            OFFICER,
            &[State::Accepted],
            To::State(State::ReceiptSent),
        )
    },
    StepRow {
        form: &[need("origin_confirmed"), may("confirmed_on")],
        ..step(Step::Close, "close", words("办结", "close"), OFFICER, &[State::ReceiptSent], To::State(State::Closed))
    },
    // Added: also from `expired`, which could never be ended otherwise.
    StepRow {
        form: &[need("asked_by"), need("cause"), need("reason")],
        ..step(Step::Withdraw, "withdraw", words("撤回", "withdraw"), BOTH, BEFORE_ACCEPTANCE, To::State(State::Withdrawn))
    },
    StepRow {
        form: &[need("reason")],
        second: true,
        ..step(
            Step::Refuse,
            "refuse",
            words("不予接收", "refuse"),
            OFFICER,
            &[State::Arrived, State::ArchiveCheck],
            To::State(State::Refused),
        )
    },
    StepRow {
        form: &[may("note")],
        ..step(Step::Expire, "expire", words("确认逾期", "confirm the expiry"), OFFICER, &[State::InTransit], To::State(State::Expired))
    },
    StepRow {
        form: &[may("letter_no"), may("reference"), need("issued_on"), need("validity_days"), may("dues_until")],
        one_of: &["letter_no", "reference"],
        binding: true,
        ..step(Step::Reissue, "reissue", words("补转", "record a new letter"), OFFICER, &[State::Expired], To::State(State::InTransit))
    },
    StepRow {
        form: &[need("home_contact"), need("contact_interval_days")],
        binding: true,
        ..step(
            Step::Floating,
            "floating",
            words("转流动管理", "report as floating"),
            OFFICER,
            &[State::Submitted, State::AwaitingOrigin],
            To::State(State::Floating),
        )
    },
    // Added: somebody contacts the home organisation regularly, and a floating member leaves some day.
    StepRow {
        form: &[need("contacted_on"), may("note")],
        ..step(
            Step::HomeContacted,
            "home_contacted",
            words("已联系流出地", "home organisation contacted"),
            BOTH,
            &[State::Floating],
            To::Same,
        )
    },
    StepRow {
        form: &[need("reason")],
        ..step(
            Step::EndFloating,
            "end_floating",
            words("结束流动管理", "end floating"),
            OFFICER,
            &[State::Floating],
            To::State(State::Closed),
        )
    },
    StepRow {
        form: &[need("decision"), need("note")],
        ..step(Step::Settle, "settle", words("裁定", "rule on the contest"), OFFICER, &[State::Contested], To::Decision)
    },
    StepRow {
        form: &[need("about"), need("note")],
        ..step(Step::CompleteTask, "complete_task", words("办理完毕", "complete a task"), OFFICER, ANY, To::Same)
    },
    StepRow {
        form: &[need("other"), need("note")],
        ..step(Step::NotSamePerson, "not_same_person", words("确认不是同一人", "not the same person"), OFFICER, OPEN, To::Same)
    },
    step(
        Step::Remind,
        "remind",
        words("到期提醒", "remind"),
        CLOCK,
        &[State::Submitted, State::AwaitingOrigin, State::ArchiveCheck, State::Accepted, State::Floating],
        To::Same,
    ),
    step(Step::ProposeExpiry, "propose_expiry", words("提示逾期", "propose the expiry"), CLOCK, &[State::InTransit], To::Same),
    step(Step::Lapse, "lapse", words("失效", "lapse"), CLOCK, &[State::Returned], To::State(State::Lapsed)),
];

/// Values of `events/<event>/type`.
pub const STEP_CODES: &[&str] = &[
    "submit",
    "return",
    "resubmit",
    "request_origin",
    "dispatch",
    "arrive",
    "archive_check",
    "accept",
    "confirm_late",
    "send_receipt",
    "close",
    "withdraw",
    "refuse",
    "expire",
    "reissue",
    "floating",
    "home_contacted",
    "end_floating",
    "settle",
    "complete_task",
    "not_same_person",
    "remind",
    "propose_expiry",
    "lapse",
];
/// Values of `state`.
pub const STATE_CODES: &[&str] = &[
    "draft",
    "submitted",
    "returned",
    "awaiting_origin",
    "in_transit",
    "arrived",
    "archive_check",
    "accepted",
    "receipt_sent",
    "closed",
    "withdrawn",
    "refused",
    "expired",
    "floating",
    "contested",
    "lapsed",
];
/// Why a request is returned.
pub const RETURN_REASONS: &[&str] =
    &["information_missing", "document_missing", "wrong_addressee", "dues_unpaid", "not_our_street", "duplicate", "other"];
/// Who asked for a withdrawal.
pub const ASKED_BY: &[&str] = &["member", "family", "secretary", "officer"];
/// Why a request is withdrawn: the member's word is contested against a crossing acceptance, a typing error is mended after it.
pub const CAUSES: &[&str] = &[MEMBER_WORD, TYPING_ERROR];
/// The member wants it.
pub const MEMBER_WORD: &str = "member_word";
/// The request was entered by mistake.
pub const TYPING_ERROR: &str = "typing_error";
/// What an officer may rule on a contest.
pub const DECISIONS: &[&str] = &["accepted", "withdrawn"];
/// A box that must be ticked.
pub const YES: &[&str] = &["yes"];

/// Why a text names no state or step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown state or step of a transfer")]
pub struct UnknownCode;

impl State {
    /// Its row of the table. The table has one for every state, in their order, which a test checks.
    pub fn row(self) -> &'static StateRow {
        &STATES[self as usize]
    }

    /// The name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        self.row().code
    }
}

impl Step {
    /// Its row of the table, likewise.
    pub fn row(self) -> &'static StepRow {
        &STEPS[self as usize]
    }

    /// The name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        self.row().code
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        STATES.iter().find(|row| row.code == text).map(|row| row.state).ok_or(UnknownCode)
    }
}

impl FromStr for Step {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        STEPS.iter().find(|row| row.code == text).map(|row| row.step).ok_or(UnknownCode)
    }
}

impl StepRow {
    /// Whether the form has a field of this name.
    pub fn takes(&self, name: &str) -> bool {
        self.form.iter().any(|input| input.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Kind;

    #[test]
    fn rows_stand_where_they_are_looked_for() {
        for (at, row) in STATES.iter().enumerate() {
            assert_eq!((row.state as usize, row.code), (at, STATE_CODES[at]));
            assert_eq!(serde_json::to_value(row.state).unwrap(), row.code);
        }
        for (at, row) in STEPS.iter().enumerate() {
            assert_eq!((row.step as usize, row.code), (at, STEP_CODES[at]));
            assert_eq!(serde_json::to_value(row.step).unwrap(), row.code);
        }
        assert_eq!((STATES.len(), STEPS.len()), (STATE_CODES.len(), STEP_CODES.len()));
    }

    #[test]
    fn every_form_field_is_in_the_catalogue_and_every_field_in_a_form() {
        let event = "0198c0de-0000-7000-8000-000000000001";
        for input in STEPS.iter().flat_map(|row| row.form) {
            assert!(Kind::TransferRequest.field(&format!("events/{event}/{}", input.name)).is_some(), "{}", input.name);
        }
        for row in STEPS {
            assert!(row.one_of.iter().all(|name| row.takes(name)), "{}", row.code);
        }
        for field in Kind::TransferRequest.fields().iter().filter(|field| field.pattern().starts_with("events/")) {
            assert!(matches!(field.name, "type" | "seen") || STEPS.iter().any(|row| row.takes(field.name)), "{}", field.name);
        }
    }

    #[test]
    fn the_invariants_of_the_table() {
        let to = |state| STEPS.iter().filter(move |row| row.to == To::State(state));
        // Accepted only from arrived or archive_check, by an officer.
        for row in to(State::Accepted) {
            assert_eq!((row.from, row.roles), ([State::Arrived, State::ArchiveCheck].as_slice(), OFFICER));
        }
        // Never withdrawn after accepted.
        assert!(to(State::Withdrawn).all(|row| !row.from.contains(&State::Accepted) && !row.from.contains(&State::ReceiptSent)));
        // Two officers where two are required.
        assert!(to(State::Refused).all(|row| row.second));
        // Every way out of what only the secretary or the clock does not take is an officer's: no one else binds.
        assert!(STEPS.iter().filter(|row| row.binding || row.second).all(|row| row.roles == OFFICER));
        // Nobody but an officer moves a submitted request on; the secretary may take it back.
        for row in STEPS.iter().filter(|row| row.roles.contains(&Secretary)) {
            assert!(matches!(row.step, Step::Submit | Step::Resubmit | Step::Withdraw | Step::HomeContacted));
        }
        assert!(STEPS.iter().flat_map(|row| row.roles).all(|role| matches!(role, Secretary | Officer)));
        // What is over stays over.
        for row in STATES.iter().filter(|row| !row.open && row.state != State::Draft) {
            assert!(STEPS.iter().all(|step| step.to == To::Same || !step.from.contains(&row.state)), "{}", row.code);
        }
        // Every state with a limit that the clock acts on has the clock's step.
        for row in STATES {
            let then = row.limit.map(|(_, then)| then);
            let step = |step: Step| step.row().from.contains(&row.state);
            assert_eq!(then == Some(Then::Remind), step(Step::Remind), "{}", row.code);
            assert_eq!(then == Some(Then::ProposeExpiry), step(Step::ProposeExpiry));
            assert_eq!(then == Some(Then::Lapse), step(Step::Lapse));
        }
    }
}
