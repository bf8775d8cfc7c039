//! Rulings: what becomes of an event, judged in the order of the street's log.
//!
//! Policy is [`rule`], one closed decision; the fold applies it and decides nothing. An event is judged against the case as it stands and,
//! where that does not allow it, against the case as its author had seen it: what would have been right then is not simply refused, but crosses
//! what the author could not know (docs/transfers.md, “Two people at once”). Both orders of arrival give the same result.

use std::collections::BTreeMap;

use crate::kinds::transfer::{
    calendar,
    case::{Case, Event, Standing, letter, letter_number},
    table::{CONSENT_SCOPE, CONTENT, State, Step, TYPING_ERROR, Then, To, Words},
};
use crate::{
    crdt::view::View,
    id::{EntryId, RecordId},
    lang::Lang,
    planted::{self, Bug},
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

/// What happens when two people act who do not know of each other: the acts, and what becomes of them, whichever lands first.
pub const CROSSINGS: &[(Words, Words)] = &[
    (
        Words {
            zh: "书记按党员意愿撤回 ∥ 经办人接收",
            en: "a withdrawal on the member's word ∥ an acceptance",
        },
        Words {
            zh: "待裁定：两者都保留，不发回执，由经办人裁定并写明理由；责任组织仍为原组织",
            en: "`contested`: both are kept, no receipt goes out, an officer settles it with a note; the origin stays responsible",
        },
    ),
    (
        Words {
            zh: "书记因录入错误撤回 ∥ 经办人接收",
            en: "a withdrawal because of a typing error ∥ an acceptance",
        },
        Words {
            zh: "接收有效，撤回转为更正事项",
            en: "the acceptance stands, and a correction task is open until an officer completes it",
        },
    ),
    (
        Words {
            zh: "撤回 ∥ 接收后已发回执或已办结",
            en: "a withdrawal ∥ an acceptance whose receipt has gone out",
        },
        Words {
            zh: "接收有效，撤回转为更正事项",
            en: "the acceptance stands, the withdrawal becomes a correction task (`receipt_already_sent`)",
        },
    ),
    (
        Words {
            zh: "撤回 ∥ 接收以前的其他步骤",
            en: "a withdrawal ∥ any step before an acceptance",
        },
        Words {
            zh: "撤回",
            en: "withdrawn",
        },
    ),
    (
        Words {
            zh: "经办人退回 ∥ 书记修改内容",
            en: "a return ∥ edits of the request",
        },
        Words {
            zh: "退回有效，修改属于下一版",
            en: "the return stands, the edits belong to the next revision",
        },
    ),
    (
        Words {
            zh: "两个支部接收",
            en: "two branches accept",
        },
        Words {
            zh: "先到者有效，后到者转告",
            en: "the first to land stands, the other becomes a `referral`",
        },
    ),
    (
        Words {
            zh: "接收 ∥ 两名经办人不予接收",
            en: "an acceptance ∥ a refusal by two officers",
        },
        Words {
            zh: "先到者有效；后到的接收转告",
            en: "the first to land stands; an acceptance that comes after becomes a `referral`",
        },
    ),
    (
        Words {
            zh: "两名书记为同一党员提出",
            en: "two secretaries file the same member",
        },
        Words {
            zh: "两件都保留并提示疑似同一人；先办结其一或确认不是同一人之前，后一件不能办理约束性步骤",
            en: "both are kept and shown as a likely pair; binding steps on the later one are refused (`member_has_open_transfer`) until one is ended or an \
                 officer rules `not_same_person`",
        },
    ),
    (
        Words {
            zh: "接收日期晚于介绍信有效期",
            en: "an acceptance dated after the letter expired",
        },
        Words {
            zh: "记为逾期，经办人核实后确认",
            en: "kept as an intent marked `late`; an officer confirms it with `confirm_late`",
        },
    ),
    (
        Words {
            zh: "两名经办人采取不同步骤",
            en: "two officers take different steps",
        },
        Words {
            zh: "先到者有效，后到者未受理",
            en: "the first to land counts, the other is refused (`overtaken`)",
        },
    ),
];

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

/// What a ruling needs to know beside the case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// The account that the event is by; `None`: the server's clock.
    pub by: Option<String>,
    /// What the request's own fields lack, see [`lacking`].
    pub lacking: Option<Code>,
    /// The number of the event's letter is live in another request of the street.
    pub letter_in_use: bool,
    /// An earlier open request of the same member.
    pub earlier_open: Option<RecordId>,
}

/// Why a request's own fields do not do for a submission; fields that were sealed at an earlier submission count.
pub fn lacking(view: &View) -> Option<(Code, &'static str)> {
    let there =
        |name: &str| view.text(name).is_some() || view.get(&format!("sealed/{name}")).is_some();
    if let Some(missing) = CONTENT.iter().find(|name| !there(name)) {
        return Some((Code::ContentIncomplete, missing));
    }
    let mut decisions = view
        .entries("consent")
        .into_iter()
        .filter(|entry| view.entry_text("consent", *entry, "scope") == Some(CONSENT_SCOPE))
        .filter_map(|entry| view.entry_text("consent", entry, "decision"))
        .collect::<Vec<_>>();
    decisions.dedup();
    // A withdrawal wins over every grant, before or after it.
    (decisions != ["grant"]).then_some((Code::ConsentMissing, "consent"))
}

/// What a step would do in a standing, or why it cannot be done.
enum Effect {
    To(State),
    Late,
    AwaitingSecond,
}

/// Rules on one event that landed at `at`. Deterministic: same case, same event, same facts, same ruling.
pub fn rule(case: &Case, event: &Event, at: ServerTime, facts: &Facts) -> Ruling {
    let now = &case.now;
    let refused = |code| Ruling {
        outcome: Outcome::Refused,
        code: Some(code),
        state: now.state,
    };
    let clock = event.step.row().roles.is_empty();
    // The clock sees everything: it acts under the street's lock.
    let Some(seen) = (if clock || planted::is(Bug::RulingIgnoresSeen) {
        Some(now.clone())
    } else {
        case.as_seen(event.seen)
    }) else {
        return refused(Code::SeenUnknown);
    };
    let moved_on = seen.no != now.no;
    match judge(now, event, at, facts) {
        // The same state, but another letter or another revision than the officer looked at.
        Ok(_)
            if moved_on
                && event.step != Step::Withdraw
                && (seen.revision, &seen.letter) != (now.revision, &now.letter) =>
        {
            refused(Code::Overtaken)
        }
        Ok(Effect::To(state)) => Ruling {
            outcome: Outcome::Applied,
            code: None,
            state,
        },
        Ok(Effect::Late) => Ruling {
            outcome: Outcome::Late,
            code: Some(Code::LetterExpired),
            state: now.state,
        },
        Ok(Effect::AwaitingSecond) => Ruling {
            outcome: Outcome::AwaitingSecond,
            code: None,
            state: now.state,
        },
        Err(code) if !moved_on => refused(code),
        Err(code) => match judge(&seen, event, at, facts) {
            Ok(effect) => crossed(case, event, &effect),
            // What was wrong already when they looked is simply wrong.
            Err(then) => refused(if then == Code::WrongState { code } else { then }),
        },
    }
}

/// An event that was right as its author saw the case, and is not any more.
fn crossed(case: &Case, event: &Event, effect: &Effect) -> Ruling {
    let now = &case.now;
    let ruling = |outcome, code, state| Ruling {
        outcome,
        code: Some(code),
        state,
    };
    let overtaken = ruling(Outcome::Refused, Code::Overtaken, now.state);
    match event.step {
        Step::Accept | Step::ConfirmLate => match now.state {
            // The intent is kept beside the withdrawal, as it would be in the other order.
            State::Withdrawn if matches!(effect, Effect::Late) => {
                ruling(Outcome::Late, Code::LetterExpired, now.state)
            }
            State::Withdrawn if is_typing_error(case, now.withdrawal) => {
                ruling(Outcome::Applied, Code::TypingError, State::Accepted)
            }
            State::Withdrawn => ruling(
                Outcome::Contested,
                Code::CrossedWithdrawal,
                State::Contested,
            ),
            State::Accepted | State::ReceiptSent | State::Closed | State::Contested => {
                let first = now
                    .acceptance
                    .as_ref()
                    .or(now.contest.as_ref().map(|(_, acceptance)| acceptance));
                let branch = event
                    .text("branch")
                    .or_else(|| Some(&now.late.get(&event.entry("about")?)?.branch));
                match first {
                    Some(first) if branch != Some(&first.branch) => {
                        ruling(Outcome::Referral, Code::SecondBranch, now.state)
                    }
                    Some(_) => ruling(Outcome::Refused, Code::AlreadyAccepted, now.state),
                    None => overtaken,
                }
            }
            State::Refused => ruling(Outcome::Referral, Code::RefusedElsewhere, now.state),
            _ => overtaken,
        },
        Step::Withdraw => match now.state {
            State::Accepted | State::ReceiptSent | State::Closed if now.acceptance.is_none() => {
                overtaken
            }
            State::Accepted | State::ReceiptSent | State::Closed
                if event.text("cause") == Some(TYPING_ERROR) =>
            {
                ruling(Outcome::CorrectionTask, Code::TypingError, now.state)
            }
            State::Accepted => ruling(
                Outcome::Contested,
                Code::CrossedAcceptance,
                State::Contested,
            ),
            State::ReceiptSent | State::Closed => {
                ruling(Outcome::CorrectionTask, Code::ReceiptAlreadySent, now.state)
            }
            // Nobody had accepted: what happened meanwhile does not bind the member.
            State::ArchiveCheck | State::Floating => Ruling {
                outcome: Outcome::Applied,
                code: None,
                state: State::Withdrawn,
            },
            _ => overtaken,
        },
        Step::SendReceipt | Step::Close if now.state == State::Contested => {
            ruling(Outcome::Refused, Code::Contested, now.state)
        }
        _ => overtaken,
    }
}

fn is_typing_error(case: &Case, withdrawal: Option<EntryId>) -> bool {
    withdrawal
        .and_then(|id| case.event(id))
        .is_some_and(|event| event.text("cause") == Some(TYPING_ERROR))
}

/// Whether a step may be taken in a standing, with nobody else about.
fn judge(
    standing: &Standing,
    event: &Event,
    at: ServerTime,
    facts: &Facts,
) -> Result<Effect, Code> {
    let row = event.step.row();
    let open = row.from.contains(&standing.state)
        || (event.step == Step::Withdraw && planted::is(Bug::RulingWithdrawsAccepted));
    if !open {
        return Err(Code::WrongState);
    }
    if let Some(code) = facts.lacking.filter(|_| row.content) {
        return Err(code);
    }
    if row.binding && facts.earlier_open.is_some() {
        return Err(Code::MemberHasOpenTransfer);
    }
    let today = calendar::day_of(at);
    let dates = [
        "issued_on",
        "sighted_on",
        "accepted_on",
        "sent_on",
        "confirmed_on",
        "contacted_on",
    ];
    if dates
        .iter()
        .filter_map(|name| event.day(name))
        .any(|day| day > today)
    {
        return Err(Code::DateInFuture);
    }
    let expires_on = standing.letter.as_ref().map(|letter| letter.expires_on);
    let expired_by = |day| expires_on.is_some_and(|expires_on| day > expires_on);
    match event.step {
        Step::Dispatch | Step::Reissue => check_letter(standing, event, facts)?,
        Step::Arrive if expired_by(event.day("sighted_on").unwrap_or(today)) => {
            return Err(Code::LetterExpired);
        }
        Step::Accept if event.day("accepted_on").is_some_and(expired_by) => {
            return Ok(Effect::Late);
        }
        Step::ConfirmLate
            if event
                .entry("about")
                .is_none_or(|about| !standing.late.contains_key(&about)) =>
        {
            return Err(Code::UnknownEvent);
        }
        Step::Expire if !expired_by(today) => return Err(Code::LetterStillValid),
        Step::Refuse => match &standing.refusal {
            None => return Ok(Effect::AwaitingSecond),
            Some((_, first)) if *first == facts.by => return Err(Code::SecondOfficerRequired),
            Some(_) => {}
        },
        Step::CompleteTask
            if !standing
                .open_tasks()
                .any(|task| Some(task.event) == event.entry("about")) =>
        {
            return Err(Code::UnknownEvent);
        }
        Step::Remind | Step::ProposeExpiry | Step::Lapse => check_clock(standing, at)?,
        _ => {}
    }
    Ok(Effect::To(match row.to {
        To::State(state) => state,
        To::Same => standing.state,
        To::Decision if event.text("decision") == Some(State::Accepted.as_str()) => State::Accepted,
        To::Decision => State::Withdrawn,
    }))
}

/// One live letter number: not one of another request, and never one used before.
fn check_letter(standing: &Standing, event: &Event, facts: &Facts) -> Result<(), Code> {
    let number = letter_number(event).ok_or(Code::UnknownEvent)?;
    let used = standing
        .letter
        .iter()
        .map(|letter| &letter.number)
        .chain(&standing.void_letters)
        .any(|old| old == number);
    if used {
        return Err(Code::LetterVoid);
    }
    if facts.letter_in_use {
        return Err(Code::LetterInUse);
    }
    letter(event).map(|_| ()).ok_or(Code::UnknownEvent)
}

/// The clock acts once for each limit, and not before it has passed.
fn check_clock(standing: &Standing, at: ServerTime) -> Result<(), Code> {
    match standing.clock(None) {
        Some((due, _)) if at >= due => Ok(()),
        _ => Err(Code::WrongState),
    }
}

/// The clock's event that is due in a case, if any: its step. Erasing a draft is no event.
pub fn clock_step(case: &Case, at: ServerTime) -> Option<Step> {
    let (due, then) = case.now.clock(None)?;
    if at < due {
        return None;
    }
    match then {
        Then::Remind => Some(Step::Remind),
        Then::ProposeExpiry => Some(Step::ProposeExpiry),
        Then::Lapse => Some(Step::Lapse),
        Then::Erase => None,
    }
}

/// An event of the clock.
pub fn clock_event(case: &Case, id: EntryId, step: Step) -> Event {
    Event {
        id,
        step,
        seen: case.now.last,
        fields: BTreeMap::new(),
        ruled: None,
    }
}

impl Ruling {
    /// What it says, for people.
    pub fn text(&self, lang: Lang) -> String {
        match self.code {
            None => self.outcome.words().text(lang).to_owned(),
            Some(code) => {
                let (outcome, code) = (self.outcome.words().text(lang), code.words().text(lang));
                match lang {
                    Lang::Zh => format!("{outcome}：{code}"),
                    Lang::En => format!("{outcome}: {code}"),
                }
            }
        }
    }
}
