//! The rows of the states: their limits, who acts next, and what people are told.

use crate::kinds::transfer::table::{Acting, State, StateRow, Term, Then, words};

/// Every state, in the order of the way.
pub const STATES: &[StateRow] = &[
    StateRow {
        state: State::Draft,
        code: "draft",
        label: words("草稿", "draft"),
        open: false,
        limit: Some((Term::Days(30), Then::Erase)),
        acting: Acting::Secretary,
        next: words(
            "与党员当面核对内容并提交",
            "check the content with the member and submit",
        ),
        bring: words(
            "党员本人到场，本人同意",
            "the member in person, with their consent",
        ),
        member: words(
            "您的申请还没有提交；30 天内不提交会被删除。",
            "Your request has not been submitted; it is deleted after 30 days.",
        ),
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
        next: words(
            "按退回原因补正后重新提交",
            "mend what was asked for and submit again",
        ),
        bring: words(
            "退回原因里要求的材料",
            "what the reason of the return asks for",
        ),
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
        next: words(
            "原组织开出介绍信或在系统中转出，经办人登记",
            "the origin sends letter or system transfer; an officer records it",
        ),
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
        next: words(
            "党员在有效期内报到，经办人查验介绍信",
            "the member reports before the letter expires; an officer sights it",
        ),
        bring: words(
            "介绍信原件（或系统截图）、身份证件",
            "the letter itself (or the system's page) and an identity document",
        ),
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
        next: words(
            "接收，或核档，或（两名经办人）不予接收",
            "accept, or check the archive, or (two officers) refuse",
        ),
        bring: words(
            "接收支部、接收日期、系统流水号",
            "branch, date and official reference",
        ),
        member: words(
            "您已报到，街道正在办理接收。",
            "You have reported; the street office is accepting you.",
        ),
    },
    StateRow {
        state: State::ArchiveCheck,
        code: "archive_check",
        label: words("核档", "archive check"),
        open: true,
        limit: Some((Term::Days(15), Then::Remind)),
        acting: Acting::Officer,
        next: words(
            "核对党员档案后接收，或（两名经办人）不予接收",
            "check the member's archive, then accept or (two officers) refuse",
        ),
        bring: words(
            "党员档案；接收支部、接收日期、系统流水号",
            "the member's archive; branch, date and official reference",
        ),
        member: words(
            "街道正在核对您的党员档案。",
            "The street office is checking your archive.",
        ),
    },
    StateRow {
        state: State::Accepted,
        code: "accepted",
        label: words("已接收", "accepted"),
        open: true,
        limit: Some((Term::Month, Then::Remind)),
        acting: Acting::Officer,
        next: words(
            "一个月内把回执寄回原组织",
            "send the receipt back to the origin within a month",
        ),
        bring: words("回执日期和寄送方式", "date and channel of the receipt"),
        member: words(
            "您已被接收，组织关系已转入。",
            "You have been accepted: your membership is with us now.",
        ),
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
        next: words(
            "无；把原因告知党员和原组织",
            "none; tell the member and the origin why",
        ),
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
        bring: words(
            "新介绍信编号或系统流水号、开具日期、有效天数",
            "number or reference of the new letter, issue date, validity in days",
        ),
        member: words(
            "介绍信已过期，请到原组织补开。",
            "Your letter has expired; ask your former organisation for a new one.",
        ),
    },
    StateRow {
        state: State::Floating,
        code: "floating",
        label: words("流动管理", "floating"),
        open: true,
        limit: Some((Term::Contact, Then::Remind)),
        acting: Acting::Officer,
        next: words(
            "按约定间隔与流出地党组织联系并登记",
            "contact the home organisation at the agreed interval and record it",
        ),
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
