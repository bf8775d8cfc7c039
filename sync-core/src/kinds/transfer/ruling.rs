//! Rulings: what becomes of an event, judged in the order of the street's log.
//!
//! Policy is [`rule`], one closed decision; the fold applies it and decides nothing. An event is judged against the case as it stands and,
//! where that does not allow it, against the case as its author had seen it: what would have been right then is not simply refused, but crosses
//! what the author could not know (docs/transfers.md, “Two people at once”). Both orders of arrival give the same result.

use std::collections::BTreeMap;

use crate::kinds::transfer::{
    calendar::{self, Calendar},
    case::{Case, CaseStatus, Event, letter, letter_key, letter_number},
    outcome::{Code, Outcome, Ruling},
    sealed_key,
    table::{CONSENT_SCOPE, CONTENT, State, Step, TYPING_ERROR, Then, To, Words},
};
use crate::{
    crdt::view::View,
    id::{EntryId, RecordId},
    lang::Lang,
    time::ServerTime,
};

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
    /// Which days count as working days: for the clock's own events.
    pub calendar: Calendar,
}

/// Why a request's own fields do not do for a submission; fields that were sealed at an earlier submission count.
pub fn lacking(view: &View) -> Option<(Code, &'static str)> {
    let there = |name: &str| view.text(name).is_some() || view.get(&sealed_key(name)).is_some();
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
    let Some(seen) = (if clock {
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
    status: &CaseStatus,
    event: &Event,
    at: ServerTime,
    facts: &Facts,
) -> Result<Effect, Code> {
    let row = event.step.row();
    if !row.from.contains(&status.state) {
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
    let expires_on = status.letter.as_ref().map(|letter| letter.expires_on);
    let expired_by = |day| expires_on.is_some_and(|expires_on| day > expires_on);
    match event.step {
        Step::Dispatch | Step::Reissue => check_letter(status, event, facts)?,
        Step::Arrive if expired_by(event.day("sighted_on").unwrap_or(today)) => {
            return Err(Code::LetterExpired);
        }
        Step::Accept if event.day("accepted_on").is_some_and(expired_by) => {
            return Ok(Effect::Late);
        }
        Step::ConfirmLate
            if event
                .entry("about")
                .is_none_or(|about| !status.late.contains_key(&about)) =>
        {
            return Err(Code::UnknownEvent);
        }
        Step::Expire if !expired_by(today) => return Err(Code::LetterStillValid),
        Step::Refuse => match &status.refusal {
            None => return Ok(Effect::AwaitingSecond),
            Some((_, first)) if *first == facts.by => return Err(Code::SecondOfficerRequired),
            Some(_) => {}
        },
        Step::CompleteTask
            if !status
                .open_tasks()
                .any(|task| Some(task.event) == event.entry("about")) =>
        {
            return Err(Code::UnknownEvent);
        }
        Step::Remind | Step::ProposeExpiry | Step::Lapse => {
            check_clock(status, at, &facts.calendar)?;
        }
        _ => {}
    }
    Ok(Effect::To(match row.to {
        To::State(state) => state,
        To::Same => status.state,
        To::Decision if event.text("decision") == Some(State::Accepted.as_str()) => State::Accepted,
        To::Decision => State::Withdrawn,
    }))
}

/// One live letter number: not one of another request, and never one used before.
fn check_letter(status: &CaseStatus, event: &Event, facts: &Facts) -> Result<(), Code> {
    let number = letter_number(event).ok_or(Code::UnknownEvent)?;
    let key = letter_key(number);
    let used = status
        .letter
        .iter()
        .map(|letter| &letter.number)
        .chain(&status.void_letters)
        .any(|old| letter_key(old) == key);
    if used {
        return Err(Code::LetterVoid);
    }
    if facts.letter_in_use {
        return Err(Code::LetterInUse);
    }
    letter(event).map(|_| ()).ok_or(Code::UnknownEvent)
}

/// The clock acts once for each limit, and not before it has passed.
fn check_clock(status: &CaseStatus, at: ServerTime, calendar: &Calendar) -> Result<(), Code> {
    match status.clock(None, calendar) {
        Some((due, _)) if at >= due => Ok(()),
        _ => Err(Code::WrongState),
    }
}

/// The clock's event that is due in a case, if any: its step. Erasing a draft is no event.
pub fn clock_step(case: &Case, at: ServerTime, calendar: &Calendar) -> Option<Step> {
    let (due, then) = case.now.clock(None, calendar)?;
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
