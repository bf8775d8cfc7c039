//! The rows of the steps: who takes them, from where to where, and what they need.

use crate::access::Role::{self, Officer, Secretary};
use crate::kinds::transfer::table::{Input, State, Step, StepRow, To, Words, words};

const fn need(name: &'static str) -> Input {
    Input {
        name,
        required: true,
    }
}

const fn may(name: &'static str) -> Input {
    Input {
        name,
        required: false,
    }
}

const BEFORE_ACCEPTANCE: &[State] = &[
    State::Submitted,
    State::Returned,
    State::AwaitingOrigin,
    State::InTransit,
    State::Arrived,
    State::Expired,
];
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

const fn step(
    step: Step,
    code: &'static str,
    label: Words,
    roles: &'static [Role],
    from: &'static [State],
    to: To,
) -> StepRow {
    StepRow {
        step,
        code,
        label,
        roles,
        second: false,
        from,
        to,
        form: &[],
        one_of: &[],
        content: false,
        binding: false,
    }
}

/// Every step.
pub const STEPS: &[StepRow] = &[
    StepRow {
        form: &[need("member_present")],
        content: true,
        ..step(
            Step::Submit,
            "submit",
            words("提交", "submit"),
            SECRETARY,
            &[State::Draft],
            To::State(State::Submitted),
        )
    },
    StepRow {
        form: &[need("reason_code"), need("note")],
        ..step(
            Step::Return,
            "return",
            words("退回补正", "return"),
            OFFICER,
            &[State::Submitted],
            To::State(State::Returned),
        )
    },
    StepRow {
        form: &[may("note")],
        content: true,
        ..step(
            Step::Resubmit,
            "resubmit",
            words("补正重提", "submit again"),
            SECRETARY,
            &[State::Returned],
            To::State(State::Submitted),
        )
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
        form: &[
            may("letter_no"),
            may("reference"),
            need("issued_on"),
            need("validity_days"),
            need("dues_until"),
        ],
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
        ..step(
            Step::Arrive,
            "arrive",
            words("报到", "arrive"),
            OFFICER,
            &[State::InTransit],
            To::State(State::Arrived),
        )
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
        ..step(
            Step::Accept,
            "accept",
            words("接收", "accept"),
            OFFICER,
            &[State::Arrived, State::ArchiveCheck],
            To::State(State::Accepted),
        )
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
        ..step(
            Step::Close,
            "close",
            words("办结", "close"),
            OFFICER,
            &[State::ReceiptSent],
            To::State(State::Closed),
        )
    },
    // Added: also from `expired`, which could never be ended otherwise.
    StepRow {
        form: &[need("asked_by"), need("cause"), need("reason")],
        ..step(
            Step::Withdraw,
            "withdraw",
            words("撤回", "withdraw"),
            BOTH,
            BEFORE_ACCEPTANCE,
            To::State(State::Withdrawn),
        )
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
        ..step(
            Step::Expire,
            "expire",
            words("确认逾期", "confirm the expiry"),
            OFFICER,
            &[State::InTransit],
            To::State(State::Expired),
        )
    },
    StepRow {
        form: &[
            may("letter_no"),
            may("reference"),
            need("issued_on"),
            need("validity_days"),
            may("dues_until"),
        ],
        one_of: &["letter_no", "reference"],
        binding: true,
        ..step(
            Step::Reissue,
            "reissue",
            words("补转", "record a new letter"),
            OFFICER,
            &[State::Expired],
            To::State(State::InTransit),
        )
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
        ..step(
            Step::Settle,
            "settle",
            words("裁定", "rule on the contest"),
            OFFICER,
            &[State::Contested],
            To::Decision,
        )
    },
    StepRow {
        form: &[need("about"), need("note")],
        ..step(
            Step::CompleteTask,
            "complete_task",
            words("办理完毕", "complete a task"),
            OFFICER,
            ANY,
            To::Same,
        )
    },
    StepRow {
        form: &[need("other"), need("note")],
        ..step(
            Step::NotSamePerson,
            "not_same_person",
            words("确认不是同一人", "not the same person"),
            OFFICER,
            OPEN,
            To::Same,
        )
    },
    step(
        Step::Remind,
        "remind",
        words("到期提醒", "remind"),
        CLOCK,
        &[
            State::Submitted,
            State::AwaitingOrigin,
            State::ArchiveCheck,
            State::Accepted,
            State::Floating,
        ],
        To::Same,
    ),
    step(
        Step::ProposeExpiry,
        "propose_expiry",
        words("提示逾期", "propose the expiry"),
        CLOCK,
        &[State::InTransit],
        To::Same,
    ),
    step(
        Step::Lapse,
        "lapse",
        words("失效", "lapse"),
        CLOCK,
        &[State::Returned],
        To::State(State::Lapsed),
    ),
];
