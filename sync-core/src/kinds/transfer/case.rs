//! The fold: a record's events and rulings → where the transfer stands.
//!
//! In: a [`View`]. Out: a [`Case`], the same on the phone and at the office. Only rulings move it; an event without one is pending.

use std::collections::{BTreeMap, BTreeSet};

use time::Date;
use unicode_normalization::UnicodeNormalization;

use crate::kinds::transfer::{
    TYPE,
    calendar::{self, Calendar},
    event_key,
    outcome::{Outcome, Ruled},
    table::{Acting, STATES, State, Step, Term, Then, Words},
};
use crate::{
    crdt::view::{Value, View},
    id::{EntryId, RecordId},
    values::{characters, date},
};

/// What somebody did, or asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its entry.
    pub id: EntryId,
    /// What.
    pub step: Step,
    /// The newest event that its author had seen.
    pub seen: Option<EntryId>,
    /// The fields of its form.
    pub fields: BTreeMap<String, String>,
    /// What the server ruled; `None`: pending.
    pub ruled: Option<Ruled>,
}

impl Event {
    /// A field of the form.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(super) fn day(&self, name: &str) -> Option<Date> {
        date::parse(self.text(name)?)
    }

    pub(super) fn entry(&self, name: &str) -> Option<EntryId> {
        self.text(name)?.parse().ok()
    }
}

/// The letter, or the transfer in the official system, that carries the membership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// The event that recorded it.
    pub event: EntryId,
    /// Its number, or the official system's reference.
    pub number: String,
    /// Day of issue, as signed.
    pub issued_on: Date,
    /// Last day of its validity.
    pub expires_on: Date,
}

/// An acceptance by a branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acceptance {
    /// The event that accepted.
    pub event: EntryId,
    /// The branch.
    pub branch: String,
    /// The day, as signed.
    pub accepted_on: Date,
    /// Reference in the official system.
    pub reference: String,
}

/// Why an officer has something to do besides the next step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskKind {
    /// An entry has to be put right: the request was withdrawn because of a typing error, or after the receipt had gone out.
    Correction,
    /// Another branch accepted too, or accepted what was refused: somebody has to talk to it.
    Referral,
}

impl TaskKind {
    /// The name in the store and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Correction => "correction",
            Self::Referral => "referral",
        }
    }

    /// For people.
    pub const fn words(self) -> Words {
        match self {
            Self::Correction => Words {
                zh: "更正：处理因录入错误等提出的撤回",
                en: "correction: deal with the withdrawal that crossed the acceptance",
            },
            Self::Referral => Words {
                zh: "转告：另一支部也作了接收",
                en: "referral: another branch accepted too",
            },
        }
    }
}

/// Something for an officer to deal with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Task {
    /// The event it is about; `complete_task` names it.
    pub event: EntryId,
    /// Why.
    pub kind: TaskKind,
    /// Whether an officer has dealt with it.
    pub done: bool,
}

/// Where a transfer stands after some of its rulings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaseStatus {
    /// The state.
    pub state: State,
    /// Since when, by the server's clock; `None` for a draft.
    pub since: Option<crate::time::ServerTime>,
    /// When it was first submitted.
    pub submitted_at: Option<crate::time::ServerTime>,
    /// Submissions so far: 0 for a draft, 1 once submitted, more after returns.
    pub revision: u32,
    /// The event of the newest submission.
    pub submission: Option<EntryId>,
    /// The one live letter.
    pub letter: Option<Letter>,
    /// Numbers of letters that a newer one replaced.
    pub void_letters: Vec<String>,
    /// The acceptance in force.
    pub acceptance: Option<Acceptance>,
    /// The withdrawal in force.
    pub withdrawal: Option<EntryId>,
    /// A withdrawal and an acceptance that crossed; an officer settles it.
    pub contest: Option<(EntryId, Acceptance)>,
    /// Acceptances dated after the letter's expiry, which an officer may confirm.
    pub late: BTreeMap<EntryId, Acceptance>,
    /// A first officer's refusal, and who that was.
    pub refusal: Option<(EntryId, Option<String>)>,
    /// What an officer has to deal with, done or not.
    pub tasks: Vec<Task>,
    /// Requests that an officer found to be another person's.
    pub not_same: BTreeSet<RecordId>,
    /// The clock proposed that the letter be declared expired.
    pub expiry_proposed: bool,
    /// The clock reminded of the present limit.
    pub reminded: bool,
    /// Days between contacts with the home organisation, and the last one.
    pub contact: Option<(u32, Date)>,
    /// The newest ruled event: what the next event names as `seen`.
    pub last: Option<EntryId>,
    /// Rulings so far.
    pub no: u32,
}

impl Default for CaseStatus {
    fn default() -> Self {
        Self {
            state: State::Draft,
            since: None,
            submitted_at: None,
            revision: 0,
            submission: None,
            letter: None,
            void_letters: Vec::new(),
            acceptance: None,
            withdrawal: None,
            contest: None,
            late: BTreeMap::new(),
            refusal: None,
            tasks: Vec::new(),
            not_same: BTreeSet::new(),
            expiry_proposed: false,
            reminded: false,
            contact: None,
            last: None,
            no: 0,
        }
    }
}

/// Which organisation is responsible for the member: always exactly one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Responsible {
    /// The one the member comes from.
    Origin,
    /// The one that accepted.
    Target,
}

impl Responsible {
    /// The name in the store and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Target => "target",
        }
    }
}

/// What has to happen next.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// Who has to act.
    pub acting: Acting,
    /// What.
    pub what: Words,
    /// What has to be brought.
    pub bring: Words,
    /// What the member is told.
    pub member: Words,
}

impl CaseStatus {
    /// The organisation responsible: the origin until an acceptance is in force.
    pub fn responsible(&self) -> Responsible {
        match (&self.acceptance, self.state) {
            (Some(_), State::Accepted | State::ReceiptSent | State::Closed) => Responsible::Target,
            _ => Responsible::Origin,
        }
    }

    /// Tasks not dealt with.
    pub fn open_tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| !task.done)
    }

    /// Late acceptances that could still be confirmed.
    pub fn open_late(&self) -> impl Iterator<Item = &Acceptance> {
        let open = matches!(self.state, State::Arrived | State::ArchiveCheck);
        self.late.values().filter(move |_| open)
    }

    /// When the present state's term is over, and what follows. `created`: when the server got the record, which a draft's term counts from.
    /// `calendar`: which days count as working days.
    pub fn due(
        &self,
        created: Option<crate::time::ServerTime>,
        calendar: &Calendar,
    ) -> Option<(crate::time::ServerTime, Then)> {
        let (term, then) = self.state.row().limit?;
        let since = || self.since.or(created).map(calendar::day_of);
        let day = match term {
            Term::Days(days) => calendar::plus_days(since()?, days),
            Term::WorkingDays(days) => calendar.plus_working_days(since()?, days),
            Term::Letter => self.letter.as_ref()?.expires_on,
            Term::Month => calendar::plus_month(self.acceptance.as_ref()?.accepted_on),
            Term::Contact => self
                .contact
                .map(|(days, last)| calendar::plus_days(last, days))?,
        };
        Some((calendar::end_of(day), then))
    }

    /// When the server's clock has something to do here, and what; `None` where it has done it.
    pub fn clock(
        &self,
        created: Option<crate::time::ServerTime>,
        calendar: &Calendar,
    ) -> Option<(crate::time::ServerTime, Then)> {
        self.due(created, calendar).filter(|(_, then)| match then {
            Then::Remind => !self.reminded,
            Then::ProposeExpiry => !self.expiry_proposed,
            Then::Lapse | Then::Erase => true,
        })
    }

    /// What has to happen next, who must act, and what the member is told.
    pub fn next(&self) -> Next {
        let row = self.state.row();
        let mut next = Next {
            acting: row.acting,
            what: row.next,
            bring: row.bring,
            member: row.member,
        };
        if self.state == State::InTransit && self.expiry_proposed {
            next.acting = Acting::Officer;
            next.what = Words {
                zh: "介绍信已过有效期：确认逾期",
                en: "the letter's validity is over: confirm the expiry",
            };
            next.member = Words {
                zh: "介绍信已过有效期，请联系街道。",
                en: "Your letter's validity is over; get in touch with the street office.",
            };
        } else if self.open_late().next().is_some() {
            next.acting = Acting::Officer;
            next.what = Words {
                zh: "接收日期晚于介绍信有效期：核实后确认逾期接收",
                en: "the acceptance is dated after the letter expired: check, then confirm the late acceptance",
            };
        } else if self.refusal.is_some() {
            next.acting = Acting::SecondOfficer;
            next.what = Words {
                zh: "由另一名经办人复核是否不予接收，或接收",
                en: "another officer confirms the refusal, or accepts",
            };
        } else if matches!(
            self.state,
            State::Accepted | State::ReceiptSent | State::Closed
        ) && self.open_tasks().next().is_some()
        {
            next.acting = Acting::Officer;
            next.what = Words {
                zh: "先办理待办事项（更正或转告）",
                en: "deal with the open task first (a correction or a referral)",
            };
        }
        next
    }

    /// Moves on by a ruled event.
    fn apply(&mut self, event: &Event, ruled: &Ruled) {
        self.no = self.no.max(ruled.no);
        self.last = Some(event.id);
        let before = self.state;
        match ruled.ruling.outcome {
            Outcome::Refused => return,
            Outcome::AwaitingSecond => self.refusal = Some((event.id, ruled.by.clone())),
            Outcome::Late => self
                .late
                .extend(acceptance(event).map(|accepted| (event.id, accepted))),
            Outcome::Referral => self.tasks.push(Task {
                event: event.id,
                kind: TaskKind::Referral,
                done: false,
            }),
            Outcome::CorrectionTask => self.tasks.push(Task {
                event: event.id,
                kind: TaskKind::Correction,
                done: false,
            }),
            Outcome::Contested => self.contest(event),
            Outcome::Applied => self.step(event, ruled),
        }
        self.state = ruled.ruling.state;
        if self.state != before {
            self.since = Some(ruled.at);
            self.reminded = false;
            self.expiry_proposed = false;
            self.refusal = None;
        }
    }

    fn contest(&mut self, event: &Event) {
        self.contest = match event.step {
            Step::Withdraw => self
                .acceptance
                .take()
                .map(|acceptance| (event.id, acceptance)),
            _ => self.withdrawal.take().zip(self.acceptance_of(event)),
        };
    }

    /// The acceptance that an `accept` or a `confirm_late` brings into force.
    fn acceptance_of(&self, event: &Event) -> Option<Acceptance> {
        match event.step {
            Step::ConfirmLate => self.late.get(&event.entry("about")?).cloned(),
            _ => acceptance(event),
        }
    }

    fn step(&mut self, event: &Event, ruled: &Ruled) {
        match event.step {
            Step::Submit | Step::Resubmit => {
                self.revision += 1;
                self.submission = Some(event.id);
                self.submitted_at = self.submitted_at.or(Some(ruled.at));
            }
            Step::Dispatch | Step::Reissue => {
                let old = std::mem::replace(&mut self.letter, letter(event));
                self.void_letters.extend(old.map(|old| old.number));
            }
            Step::Accept | Step::ConfirmLate => {
                self.acceptance = self.acceptance_of(event);
                // A withdrawal because of a typing error had come before: it is to be put right, not to be followed.
                if let Some(withdrawal) = self.withdrawal.take() {
                    self.tasks.push(Task {
                        event: withdrawal,
                        kind: TaskKind::Correction,
                        done: false,
                    });
                }
            }
            Step::Withdraw => self.withdrawal = Some(event.id),
            Step::Settle => {
                if let Some((withdrawal, acceptance)) = self.contest.take() {
                    match ruled.ruling.state {
                        State::Accepted => self.acceptance = Some(acceptance),
                        _ => self.withdrawal = Some(withdrawal),
                    }
                }
            }
            Step::Floating => {
                self.contact = event
                    .text("contact_interval_days")
                    .and_then(|days| days.parse().ok())
                    .map(|days| (days, calendar::day_of(ruled.at)));
            }
            Step::HomeContacted => {
                if let (Some((_, last)), Some(day)) = (&mut self.contact, event.day("contacted_on"))
                {
                    *last = (*last).max(day);
                    self.reminded = false;
                }
            }
            Step::CompleteTask => {
                let about = event.entry("about");
                self.tasks
                    .iter_mut()
                    .filter(|task| Some(task.event) == about)
                    .for_each(|task| task.done = true);
            }
            Step::NotSamePerson => self.not_same.extend(
                event
                    .text("other")
                    .and_then(|other| other.parse::<RecordId>().ok()),
            ),
            Step::Remind => self.reminded = true,
            Step::ProposeExpiry => self.expiry_proposed = true,
            Step::Return
            | Step::RequestOrigin
            | Step::Arrive
            | Step::ArchiveCheck
            | Step::SendReceipt
            | Step::Close
            | Step::Refuse
            | Step::Expire
            | Step::EndFloating
            | Step::Lapse => {}
        }
    }
}

/// What an `accept` says.
fn acceptance(event: &Event) -> Option<Acceptance> {
    Some(Acceptance {
        event: event.id,
        branch: event.text("branch")?.to_owned(),
        accepted_on: event.day("accepted_on")?,
        reference: event.text("reference")?.to_owned(),
    })
}

/// What a `dispatch` or a `reissue` says.
pub(super) fn letter(event: &Event) -> Option<Letter> {
    let issued_on = event.day("issued_on")?;
    let days = event.text("validity_days")?.parse().ok()?;
    let number = letter_number(event)?.to_owned();
    Some(Letter {
        event: event.id,
        number,
        issued_on,
        expires_on: calendar::plus_days(issued_on, days),
    })
}

/// The number of the letter that an event records: the letter's, or the official system's reference.
pub fn letter_number(event: &Event) -> Option<&str> {
    match event.step {
        Step::Dispatch | Step::Reissue => {
            event.text("letter_no").or_else(|| event.text("reference"))
        }
        _ => None,
    }
}

/// A letter's number as numbers are compared, never as it is kept: in half width, without spaces and invisible characters, brackets and dashes of
/// every kind one of their kind, 第 before and 号 behind left out. `沪委组〔2026〕第１２号` and `沪委组[2026]12` are one letter. Zeros and the
/// words of the number count: they tell letters apart.
pub fn letter_key(number: &str) -> String {
    let plain = number
        .nfkc()
        .flat_map(char::to_lowercase)
        .filter(|c| !c.is_control() && !characters::says_nothing(c.encode_utf8(&mut [0; 4])))
        .map(|c| match c {
            '[' | '{' | '〔' | '【' | '〖' | '〘' | '〚' | '〈' | '《' | '「' | '『' | '<'
            | '❲' | '⟦' | '⟨' | '❨' => '(',
            ']' | '}' | '〕' | '】' | '〗' | '〙' | '〛' | '〉' | '》' | '」' | '』' | '>'
            | '❳' | '⟧' | '⟩' | '❩' => ')',
            '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' | '－' | '─' | 'ー' | '~' => {
                '-'
            }
            '號' => '号',
            '/' | '\\' | '⁄' | '∕' => '/',
            c => c,
        })
        .collect::<String>();
    let words = plain.strip_suffix('号').unwrap_or(&plain);
    let mut key = String::with_capacity(words.len());
    let mut rest = words.chars().peekable();
    while let Some(c) = rest.next() {
        let counts = rest.peek().is_some_and(char::is_ascii_digit);
        if !(c == '第' && counts) {
            key.push(c);
        }
    }
    // Nothing but signs that are left out: the number is what was typed.
    if key.is_empty() {
        number.to_owned()
    } else {
        key
    }
}

/// A transfer: its events, ruled ones in order and then pending ones, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Case {
    /// Ruled events by number, then pending ones by id.
    pub events: Vec<Event>,
    /// After every ruling.
    pub now: CaseStatus,
}

impl Case {
    /// Reads a record.
    pub fn of(view: &View) -> Self {
        let events = view
            .entries("events")
            .into_iter()
            .filter_map(|id| event_of(view, id))
            .collect();
        Self::from_events(events)
    }

    /// Folds events.
    pub fn from_events(mut events: Vec<Event>) -> Self {
        // A ruling has one number; entry ids order what has none.
        events.sort_by_key(|event| {
            (
                event.ruled.as_ref().map_or(u32::MAX, |ruled| ruled.no),
                event.id,
            )
        });
        let now = fold(events.iter());
        Self { events, now }
    }

    /// An event by its id.
    pub fn event(&self, id: EntryId) -> Option<&Event> {
        self.events.iter().find(|event| event.id == id)
    }

    /// Events that the server has not ruled on.
    pub fn pending(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.ruled.is_none())
    }

    /// Events that were ruled on, in order.
    pub fn ruled(&self) -> impl Iterator<Item = (&Event, &Ruled)> {
        self.events
            .iter()
            .filter_map(|event| Some((event, event.ruled.as_ref()?)))
    }

    /// The case as somebody saw it whose newest event was `seen`; `None` where that was never ruled on here. Nothing seen: the draft.
    pub fn as_seen(&self, seen: Option<EntryId>) -> Option<CaseStatus> {
        let Some(seen) = seen else {
            return Some(CaseStatus::default());
        };
        let upto = self.event(seen)?.ruled.as_ref()?.no;
        Some(fold(self.events.iter().filter(|event| {
            event.ruled.as_ref().is_some_and(|ruled| ruled.no <= upto)
        })))
    }

    /// The same case with one more ruling.
    #[must_use]
    pub fn with(&self, mut event: Event, ruled: Ruled) -> Self {
        let mut events = self.events.clone();
        events.retain(|other| other.id != event.id);
        event.ruled = Some(ruled);
        events.push(event);
        Self::from_events(events)
    }

    /// What a person who acts now names as `seen`: the newest event, pending ones of their own included.
    pub fn newest(&self) -> Option<EntryId> {
        self.pending()
            .last()
            .map(|event| event.id)
            .or(self.now.last)
    }
}

fn fold<'e>(events: impl Iterator<Item = &'e Event>) -> CaseStatus {
    let mut status = CaseStatus::default();
    for event in events {
        if let Some(ruled) = &event.ruled {
            status.apply(event, ruled);
        }
    }
    status
}

/// An entry of `events`; `None` where its type is not one that this program knows.
fn event_of(view: &View, id: EntryId) -> Option<Event> {
    let text = |name: &str| view.entry_text("events", id, name);
    let step: Step = text("type")?.parse().ok()?;
    let fields = step
        .row()
        .form
        .iter()
        .filter_map(|input| Some((input.name.to_owned(), text(input.name)?.to_owned())));
    let fields = fields.collect();
    Some(Event {
        id,
        step,
        seen: text("seen").and_then(|seen| seen.parse().ok()),
        fields,
        ruled: Ruled::of(view, id),
    })
}

/// What stands where an event was written: its author's operation.
pub fn written(view: &View, event: EntryId) -> Option<&Value> {
    view.values.get(&event_key(event, TYPE))?.last()
}

/// Whether a state counts as open: a member may have one open request.
pub fn is_open(state: State) -> bool {
    STATES.iter().any(|row| row.state == state && row.open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_letter_are_one() {
        let same = [
            "沪委组〔2026〕第12号",
            "沪委组[2026]第12号",
            "沪委组［２０２６］第１２号",
            "沪委组（2026）12号",
            "沪委组(2026)12",
            "沪委组【2026】第 12 號",
            " 沪委组〔2026〕 第\u{200b}12 号 ",
            "沪委组〖2026〗第12号",
            "沪委组﹝2026﹞第12号",
        ];
        for number in same {
            assert_eq!(letter_key(number), letter_key(same[0]), "{number}");
        }
        for (one, other) in [
            ("sh-2026-001", "ＳＨ－２０２６－００１"),
            ("SH—2026—001", "SH–2026–001"),
            ("NO.12", "Ｎｏ．１２"),
        ] {
            assert_eq!(letter_key(one), letter_key(other));
        }
        for (one, other) in [
            ("沪委组〔2026〕第12号", "沪委组〔2026〕第13号"),
            ("沪委组〔2026〕第12号", "沪委组〔2025〕第12号"),
            ("沪委组〔2026〕第12号", "沪组〔2026〕第12号"),
            ("2026-12", "202612"),
            ("0012", "12"),
            ("第一号", "一号甲"),
            ("号", "第"),
        ] {
            assert_ne!(letter_key(one), letter_key(other));
        }
    }
}
