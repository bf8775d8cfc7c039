//! Every line of the tables of docs/domain.md, each crossing in both orders of arrival, and the invariants for any sequence at all.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use crate::kinds::transfer::{
    calendar::Calendar,
    table::{CAUSES, MEMBER_WORD, TYPING_ERROR},
    *,
};
use crate::{
    id::{EntryId, RecordId},
    time::ServerTime,
};

const DAY_MS: i64 = 24 * 3_600_000;
/// 2026-11-16T02:00:00Z, a Monday.
const START_MS: i64 = 1_794_794_400_000;

/// What a test writes: a step and its fields.
type Act = (Step, Vec<(&'static str, String)>);

fn act(step: Step, fields: &[(&'static str, &str)]) -> Act {
    (
        step,
        fields
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
    )
}

fn submit() -> Act {
    act(Step::Submit, &[("member_present", "yes")])
}
fn request_origin() -> Act {
    act(
        Step::RequestOrigin,
        &[("addressee", "徐汇区天平路街道党工委")],
    )
}
fn dispatch(number: &str) -> Act {
    act(
        Step::Dispatch,
        &[
            ("letter_no", number),
            ("issued_on", "2026-11-16"),
            ("validity_days", "10"),
            ("dues_until", "2026-11-01"),
        ],
    )
}
fn arrive() -> Act {
    act(Step::Arrive, &[("letter_sighted", "yes")])
}
fn accept(branch: &str, on: &str) -> Act {
    act(
        Step::Accept,
        &[
            ("branch", branch),
            ("accepted_on", on),
            ("reference", "SH-2026-1"),
        ],
    )
}
fn withdraw(cause: &str) -> Act {
    act(
        Step::Withdraw,
        &[
            ("asked_by", "member"),
            ("cause", cause),
            ("reason", "不转了"),
        ],
    )
}
fn refuse() -> Act {
    act(Step::Refuse, &[("reason", "材料不符")])
}

/// One request, its street's clock, and who acts.
#[derive(Clone)]
struct Office {
    case: Case,
    at_ms: i64,
    next: u128,
    facts: Facts,
}

impl Office {
    fn new() -> Self {
        Self {
            case: Case::default(),
            at_ms: START_MS,
            next: 1,
            facts: Facts::default(),
        }
    }

    fn event(&mut self, (step, fields): Act, seen: Option<EntryId>) -> Event {
        let id = EntryId(Uuid::from_u128(self.next));
        self.next += 1;
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<BTreeMap<_, _>>();
        Event {
            id,
            step,
            seen,
            fields,
            ruled: None,
        }
    }

    /// The event lands.
    fn land(&mut self, event: &Event, by: &str) -> Ruling {
        self.at_ms += 60_000;
        let at = ServerTime::from_unix_ms(self.at_ms);
        let by = (by != "clock").then(|| by.to_owned());
        let ruling = rule(
            &self.case,
            event,
            at,
            &Facts {
                by: by.clone(),
                ..self.facts.clone()
            },
        );
        let ruled = Ruled {
            no: self.case.now.no + 1,
            at,
            ruling,
            by,
        };
        self.case = self.case.with(event.clone(), ruled);
        check_invariants(&self.case);
        ruling
    }

    /// Somebody acts who has seen everything.
    fn does(&mut self, by: &str, act: Act) -> Ruling {
        let seen = self.case.now.last;
        let event = self.event(act, seen);
        self.land(&event, by)
    }

    #[track_caller]
    fn done(mut self, by: &str, act: Act) -> Self {
        let step = act.0;
        let ruling = self.does(by, act);
        assert_eq!(ruling.outcome, Outcome::Applied, "{step}: {ruling:?}");
        self
    }

    #[track_caller]
    fn refused(&mut self, by: &str, act: Act, code: Code) {
        let (before, step) = (self.case.now.state, act.0);
        let ruling = self.does(by, act);
        assert_eq!(
            (ruling.outcome, ruling.code, ruling.state),
            (Outcome::Refused, Some(code), before),
            "{step}"
        );
    }

    fn days(mut self, days: i64) -> Self {
        self.at_ms += days * DAY_MS;
        self
    }

    fn submitted() -> Self {
        Self::new().done("wang.fang", submit())
    }
    fn in_transit() -> Self {
        Self::submitted()
            .done("officer.a", request_origin())
            .done("officer.a", dispatch("沪字001"))
    }
    fn arrived() -> Self {
        Self::in_transit().done("officer.a", arrive())
    }
    fn accepted() -> Self {
        Self::arrived().done("officer.a", accept("康平支部", "2026-11-16"))
    }

    fn at(state: State) -> Self {
        match state {
            State::Draft => Self::new(),
            State::Submitted => Self::submitted(),
            State::Returned => Self::submitted().done(
                "officer.a",
                act(
                    Step::Return,
                    &[("reason_code", "dues_unpaid"), ("note", "补缴党费")],
                ),
            ),
            State::AwaitingOrigin => Self::submitted().done("officer.a", request_origin()),
            State::InTransit => Self::in_transit(),
            State::Arrived => Self::arrived(),
            State::ArchiveCheck => Self::arrived().done(
                "officer.a",
                act(Step::ArchiveCheck, &[("reason", "档案不全")]),
            ),
            State::Accepted => Self::accepted(),
            State::ReceiptSent => Self::accepted().done(
                "officer.a",
                act(
                    Step::SendReceipt,
                    &[("sent_on", "2026-11-16"), ("channel", "邮寄")],
                ),
            ),
            State::Closed => Self::at(State::ReceiptSent).done(
                "officer.a",
                act(Step::Close, &[("origin_confirmed", "yes")]),
            ),
            State::Withdrawn => Self::submitted().done("wang.fang", withdraw(MEMBER_WORD)),
            State::Refused => {
                let mut office = Self::arrived();
                assert_eq!(
                    office.does("officer.a", refuse()).outcome,
                    Outcome::AwaitingSecond
                );
                office.done("officer.b", refuse())
            }
            State::Expired => Self::in_transit()
                .days(11)
                .done("officer.a", act(Step::Expire, &[])),
            State::Floating => Self::submitted().done("officer.a", floating()),
            State::Contested => {
                let mut office = Self::arrived();
                let seen = office.case.now.last;
                let (a, b) = (
                    office.event(withdraw(MEMBER_WORD), seen),
                    office.event(accept("康平支部", "2026-11-16"), seen),
                );
                office.land(&a, "wang.fang");
                office.land(&b, "officer.a");
                office
            }
            State::Lapsed => Self::at(State::Returned)
                .days(31)
                .done("clock", act(Step::Lapse, &[])),
        }
    }
}

fn floating() -> Act {
    act(
        Step::Floating,
        &[
            ("home_contact", "某县某镇党委 老周"),
            ("contact_interval_days", "90"),
        ],
    )
}

/// A step with a form that is right wherever the table allows it.
fn well_filled(office: &Office, step: Step) -> Act {
    match step {
        Step::Submit => submit(),
        Step::Return => act(step, &[("reason_code", "other"), ("note", "补材料")]),
        Step::RequestOrigin => request_origin(),
        Step::Dispatch | Step::Reissue => {
            let on = crate::values::date::to_iso(calendar::day_of(ServerTime::from_unix_ms(
                office.at_ms,
            )));
            act(
                step,
                &[
                    ("letter_no", "沪字900"),
                    ("issued_on", &on),
                    ("validity_days", "30"),
                    ("dues_until", "2026-11-01"),
                ],
            )
        }
        Step::Arrive => arrive(),
        Step::ArchiveCheck | Step::Refuse | Step::EndFloating => act(step, &[("reason", "说明")]),
        Step::Accept => accept("康平支部", "2026-11-16"),
        Step::ConfirmLate | Step::CompleteTask => act(
            step,
            &[("about", &Uuid::from_u128(1).to_string()), ("note", "已办")],
        ),
        Step::SendReceipt => act(step, &[("sent_on", "2026-11-16"), ("channel", "邮寄")]),
        Step::Close => act(step, &[("origin_confirmed", "yes")]),
        Step::Withdraw => withdraw(MEMBER_WORD),
        Step::Floating => floating(),
        Step::HomeContacted => act(step, &[("contacted_on", "2026-11-16")]),
        Step::Settle => act(step, &[("decision", "accepted"), ("note", "本人确认")]),
        Step::NotSamePerson => act(
            step,
            &[
                ("other", &Uuid::from_u128(99).to_string()),
                ("note", "同名"),
            ],
        ),
        Step::Resubmit | Step::Expire | Step::Remind | Step::ProposeExpiry | Step::Lapse => {
            act(step, &[])
        }
    }
}

/// What must hold whatever happened.
fn check_invariants(case: &Case) {
    let now = &case.now;
    let accepted = matches!(now.state, State::Accepted | State::ReceiptSent);
    assert!(
        !accepted || now.acceptance.is_some(),
        "accepted by nobody: {now:?}"
    );
    assert_eq!(
        now.responsible() == Responsible::Target,
        now.acceptance.is_some() && (accepted || now.state == State::Closed)
    );
    assert_eq!(
        now.contest.is_some(),
        now.state == State::Contested,
        "{now:?}"
    );
    assert!(
        now.state != State::Contested || (now.acceptance.is_none() && now.withdrawal.is_none())
    );
    if let Some(letter) = &now.letter {
        assert!(
            !now.void_letters.contains(&letter.number),
            "a void letter lives: {now:?}"
        );
    }
    // Every change of state is one the table knows, or one of the two crossings.
    let mut state = State::Draft;
    for (event, ruled) in case.ruled() {
        let (row, to) = (event.step.row(), ruled.ruling.state);
        match ruled.ruling.outcome {
            Outcome::Applied => {
                let by_table = row.from.contains(&state)
                    && match row.to {
                        table::To::State(wanted) => wanted == to,
                        table::To::Same => state == to,
                        table::To::Decision => matches!(to, State::Accepted | State::Withdrawn),
                    };
                let crossing = match event.step {
                    Step::Accept | Step::ConfirmLate => {
                        state == State::Withdrawn && ruled.ruling.code == Some(Code::TypingError)
                    }
                    Step::Withdraw => matches!(state, State::ArchiveCheck | State::Floating),
                    _ => false,
                };
                assert!(by_table || crossing, "{} from {state} to {to}", event.step);
            }
            Outcome::Contested => assert!(
                matches!(state, State::Accepted | State::Withdrawn) && to == State::Contested
            ),
            _ => assert_eq!(to, state, "{}", event.step),
        }
        state = to;
    }
    assert_eq!(state, now.state);
    // A second officer is another officer.
    let refusals: Vec<_> = case
        .ruled()
        .filter(|(event, ruled)| {
            event.step == Step::Refuse
                && matches!(
                    ruled.ruling.outcome,
                    Outcome::Applied | Outcome::AwaitingSecond
                )
        })
        .collect();
    if let [.., (_, first), (_, second)] = refusals.as_slice()
        && second.ruling.outcome == Outcome::Applied
    {
        assert_ne!(first.by, second.by);
    }
}

#[test]
fn every_step_from_every_state() {
    for state in STATES {
        let start = Office::at(state.state);
        assert_eq!(
            start.case.now.state, state.state,
            "the way to {}",
            state.code
        );
        for step in STEPS {
            let mut office = start.clone();
            let filled = well_filled(&office, step.step);
            let ruling = office.does(
                if step.roles.is_empty() {
                    "clock"
                } else {
                    "officer.b"
                },
                filled,
            );
            if step.from.contains(&state.state) {
                // What is wrong about it is never the state, but for the clock, which is not due.
                assert!(
                    ruling.code != Some(Code::WrongState) || step.roles.is_empty(),
                    "{} from {}: {ruling:?}",
                    step.code,
                    state.code
                );
            } else {
                let got = (ruling.outcome, ruling.code, ruling.state);
                assert_eq!(
                    got,
                    (Outcome::Refused, Some(Code::WrongState), state.state),
                    "{} from {}",
                    step.code,
                    state.code
                );
            }
        }
    }
}

#[test]
fn the_way_of_a_request() {
    let office = Office::at(State::Closed);
    assert_eq!(
        (office.case.now.responsible(), office.case.now.revision),
        (Responsible::Target, 1)
    );
    let states: Vec<_> = office
        .case
        .ruled()
        .map(|(_, ruled)| ruled.ruling.state)
        .collect();
    let expected = [
        "submitted",
        "awaiting_origin",
        "in_transit",
        "arrived",
        "accepted",
        "receipt_sent",
        "closed",
    ];
    assert_eq!(
        states
            .iter()
            .map(|state| state.as_str())
            .collect::<Vec<_>>(),
        expected
    );
    // A returned request comes back as a new revision.
    let office = Office::at(State::Returned).done("wang.fang", act(Step::Resubmit, &[]));
    assert_eq!(
        (office.case.now.state, office.case.now.revision),
        (State::Submitted, 2)
    );
}

#[test]
fn a_submission_needs_content_and_consent() {
    for code in [Code::ContentIncomplete, Code::ConsentMissing] {
        let mut office = Office::new();
        office.facts.lacking = Some(code);
        office.refused("wang.fang", submit(), code);
        let mut office = Office::at(State::Returned);
        office.facts.lacking = Some(code);
        office.refused("wang.fang", act(Step::Resubmit, &[]), code);
    }
}

#[test]
fn a_refusal_takes_two_officers() {
    for state in [State::Arrived, State::ArchiveCheck] {
        let mut office = Office::at(state);
        assert_eq!(
            office.does("officer.a", refuse()),
            Ruling {
                outcome: Outcome::AwaitingSecond,
                code: None,
                state
            }
        );
        assert_eq!(office.case.now.next().acting, Acting::SecondOfficer);
        office.refused("officer.a", refuse(), Code::SecondOfficerRequired);
        let office = office.done("officer.b", refuse());
        assert_eq!(
            (office.case.now.state, office.case.now.responsible()),
            (State::Refused, Responsible::Origin)
        );
    }
    // Two officers who know nothing of each other are two officers.
    let mut office = Office::arrived();
    let seen = office.case.now.last;
    let (a, b) = (office.event(refuse(), seen), office.event(refuse(), seen));
    assert_eq!(
        office.land(&a, "officer.a").outcome,
        Outcome::AwaitingSecond
    );
    assert_eq!(office.land(&b, "officer.b").state, State::Refused);
    // What another officer does instead ends the first one's refusal.
    let mut office = Office::arrived();
    office.does("officer.a", refuse());
    let office = office.done(
        "officer.b",
        act(Step::ArchiveCheck, &[("reason", "先核档")]),
    );
    assert_eq!(office.case.now.refusal, None);
}

#[test]
fn letters_and_their_days() {
    let mut office = Office::at(State::AwaitingOrigin);
    office.facts.letter_in_use = true;
    office.refused("officer.a", dispatch("沪字001"), Code::LetterInUse);
    office.facts.letter_in_use = false;
    office.refused(
        "officer.a",
        act(
            Step::Dispatch,
            &[
                ("letter_no", "沪字002"),
                ("issued_on", "2026-11-18"),
                ("validity_days", "10"),
                ("dues_until", "2026-11-01"),
            ],
        ),
        Code::DateInFuture,
    );
    // The last day still counts.
    let office = Office::in_transit().days(10);
    let mut late = office.clone().days(1);
    office.done("officer.a", arrive());
    late.refused("officer.a", arrive(), Code::LetterExpired);
    // Sighted in time, recorded later: the signed date counts.
    late.clone().done(
        "officer.a",
        act(
            Step::Arrive,
            &[("letter_sighted", "yes"), ("sighted_on", "2026-11-26")],
        ),
    );

    Office::in_transit().refused("officer.a", act(Step::Expire, &[]), Code::LetterStillValid);
    assert_eq!(
        late.does("clock", act(Step::ProposeExpiry, &[])).outcome,
        Outcome::Applied
    );
    assert!(late.case.now.expiry_proposed && late.case.now.state == State::InTransit);
    let mut expired = late.done("officer.b", act(Step::Expire, &[]));
    let again = |number: &str| {
        act(
            Step::Reissue,
            &[
                ("letter_no", number),
                ("issued_on", "2026-11-27"),
                ("validity_days", "30"),
                ("dues_until", "2026-11-01"),
            ],
        )
    };
    expired.refused("officer.a", again("沪字001"), Code::LetterVoid);
    let reissued = expired.done("officer.a", again("沪字003"));
    let now = &reissued.case.now;
    assert_eq!(
        (
            now.letter.as_ref().map(|letter| letter.number.as_str()),
            &now.void_letters[..]
        ),
        (Some("沪字003"), &["沪字001".to_owned()][..])
    );
    reissued.days(20).done("officer.a", arrive());
}

#[test]
fn limits_count_from_the_servers_receipt_or_a_signed_date() {
    for (state, due) in [
        (State::Submitted, Some("2026-11-19")), // three working days after Monday
        (State::Returned, Some("2026-12-16")),  // thirty days
        (State::AwaitingOrigin, Some("2026-11-26")), // ten days
        (State::InTransit, Some("2026-11-26")), // the letter's ten days
        (State::Arrived, None),
        (State::ArchiveCheck, Some("2026-12-01")), // fifteen days
        (State::Accepted, Some("2026-12-16")),     // one month
        (State::Floating, Some("2027-02-14")),     // the agreed ninety days
        (State::Closed, None),
    ] {
        let office = Office::at(state);
        let at = office
            .case
            .now
            .due(None, &Calendar::shipped())
            .map(|(at, _)| {
                crate::values::date::to_iso(calendar::day_of(ServerTime::from_unix_ms(
                    at.unix_ms() - 1,
                )))
            });
        assert_eq!(at.as_deref(), due, "{state}");
        let Some((at, _)) = office.case.now.due(None, &Calendar::shipped()) else {
            continue;
        };
        // Not a moment earlier, and once.
        assert_eq!(
            clock_step(
                &office.case,
                ServerTime::from_unix_ms(at.unix_ms() - 1),
                &Calendar::shipped()
            ),
            None,
            "{state}"
        );
        let step = clock_step(&office.case, at, &Calendar::shipped()).unwrap();
        let mut office = Office {
            at_ms: at.unix_ms(),
            ..office
        };
        assert_eq!(
            office.does("clock", act(step, &[])).outcome,
            Outcome::Applied,
            "{state}"
        );
        assert_eq!(
            clock_step(
                &office.case,
                ServerTime::from_unix_ms(office.at_ms + 3_600_000),
                &Calendar::shipped()
            ),
            None,
            "{state}"
        );
        office.refused("clock", act(step, &[]), Code::WrongState);
    }
    let created = ServerTime::from_unix_ms(START_MS);
    assert_eq!(
        CaseStatus::default().due(Some(created), &Calendar::shipped()),
        Some((
            calendar::end_of(crate::values::date::parse("2026-12-16").unwrap()),
            Then::Erase
        ))
    );
}

#[test]
fn a_home_organisation_is_contacted_again_and_again() {
    let mut office = Office::at(State::Floating).days(91);
    assert_eq!(
        office.does("clock", act(Step::Remind, &[])).outcome,
        Outcome::Applied
    );
    let office = office.done(
        "wang.fang",
        act(Step::HomeContacted, &[("contacted_on", "2027-02-15")]),
    );
    assert_eq!(
        clock_step(
            &office.case,
            ServerTime::from_unix_ms(office.at_ms),
            &Calendar::shipped()
        ),
        None
    );
    let mut office = office.days(91);
    assert_eq!(
        office.does("clock", act(Step::Remind, &[])).outcome,
        Outcome::Applied
    );
    let office = office.done("officer.a", act(Step::EndFloating, &[("reason", "已返乡")]));
    assert_eq!(
        (office.case.now.state, office.case.now.responsible()),
        (State::Closed, Responsible::Origin)
    );
}

/// Two acts on the same sight of the case, in both orders: the outcome of the second to land, and the case after it.
#[track_caller]
fn crossing(start: &Office, one: (&str, Act), two: (&str, Act)) -> [(Ruling, Office); 2] {
    [(one.clone(), two.clone()), (two, one)].map(|(first, second)| {
        let mut office = start.clone();
        let seen = office.case.now.last;
        let (a, b) = (office.event(first.1, seen), office.event(second.1, seen));
        assert_eq!(
            office.land(&a, first.0).outcome,
            Outcome::Applied,
            "the first to land"
        );
        let ruling = office.land(&b, second.0);
        (ruling, office)
    })
}

#[test]
fn the_members_withdrawal_and_an_acceptance() {
    for state in [State::Arrived, State::ArchiveCheck] {
        // The secretary last saw the case as arrived: the table lets nobody withdraw from an archive check that they saw.
        let mut start = Office::at(state);
        let seen = start
            .case
            .events
            .iter()
            .find(|event| event.step == Step::Arrive)
            .map(|event| event.id);
        let withdrawal = start.event(withdraw(MEMBER_WORD), seen);
        let last = start.case.now.last;
        let acceptance = start.event(accept("康平支部", "2026-11-16"), last);
        for (first, second, code) in [
            (
                (&withdrawal, "wang.fang"),
                (&acceptance, "officer.a"),
                Code::CrossedWithdrawal,
            ),
            (
                (&acceptance, "officer.a"),
                (&withdrawal, "wang.fang"),
                Code::CrossedAcceptance,
            ),
        ] {
            let mut office = start.clone();
            assert_eq!(office.land(first.0, first.1).outcome, Outcome::Applied);
            let ruling = office.land(second.0, second.1);
            assert_eq!(
                ruling,
                Ruling {
                    outcome: Outcome::Contested,
                    code: Some(code),
                    state: State::Contested
                }
            );
            assert_eq!(office.case.now.responsible(), Responsible::Origin);
            assert_eq!(
                office
                    .case
                    .now
                    .contest
                    .as_ref()
                    .map(|(withdrawal, accepted)| (*withdrawal, accepted.event)),
                Some((withdrawal.id, acceptance.id))
            );
            // No receipt goes out, not even by an officer who knows only of the acceptance.
            let receipt = act(
                Step::SendReceipt,
                &[("sent_on", "2026-11-16"), ("channel", "邮寄")],
            );
            office.refused("officer.a", receipt.clone(), Code::WrongState);
            if second.0 == &withdrawal {
                let unaware = office.event(receipt, Some(acceptance.id));
                assert_eq!(
                    office.land(&unaware, "officer.a").code,
                    Some(Code::Contested)
                );
            }
            let settled = |decision| {
                act(
                    Step::Settle,
                    &[("decision", decision), ("note", "已电话问清本人")],
                )
            };
            let stays = office.clone().done("officer.b", settled("withdrawn"));
            assert_eq!(
                (stays.case.now.state, stays.case.now.responsible()),
                (State::Withdrawn, Responsible::Origin)
            );
            let comes = office.done("officer.b", settled("accepted"));
            assert_eq!(
                (comes.case.now.state, comes.case.now.responsible()),
                (State::Accepted, Responsible::Target)
            );
        }
    }
}

#[test]
fn a_withdrawal_for_a_typing_error_and_an_acceptance() {
    let both = crossing(
        &Office::arrived(),
        ("wang.fang", withdraw(TYPING_ERROR)),
        ("officer.a", accept("康平支部", "2026-11-16")),
    );
    assert_eq!(
        both[0].0,
        Ruling {
            outcome: Outcome::Applied,
            code: Some(Code::TypingError),
            state: State::Accepted
        }
    );
    assert_eq!(
        both[1].0,
        Ruling {
            outcome: Outcome::CorrectionTask,
            code: Some(Code::TypingError),
            state: State::Accepted
        }
    );
    for (_, office) in both {
        assert_eq!(
            (office.case.now.state, office.case.now.responsible()),
            (State::Accepted, Responsible::Target)
        );
        let task = *office
            .case
            .now
            .open_tasks()
            .next()
            .expect("a correction is open");
        assert_eq!(
            (
                task.kind,
                office.case.event(task.event).map(|event| event.step)
            ),
            (TaskKind::Correction, Some(Step::Withdraw))
        );
        let done = act(
            Step::CompleteTask,
            &[("about", &task.event.to_string()), ("note", "已更正")],
        );
        let mut office = office.done("officer.a", done.clone());
        assert_eq!(office.case.now.open_tasks().count(), 0);
        office.refused("officer.a", done, Code::UnknownEvent);
    }
}

#[test]
fn a_withdrawal_that_had_seen_nothing_of_a_finished_acceptance() {
    for state in [State::ReceiptSent, State::Closed] {
        let mut office = Office::at(state);
        let seen = office
            .case
            .events
            .iter()
            .find(|event| event.step == Step::Arrive)
            .map(|event| event.id);
        let late = office.event(withdraw(MEMBER_WORD), seen);
        let ruling = office.land(&late, "wang.fang");
        assert_eq!(
            ruling,
            Ruling {
                outcome: Outcome::CorrectionTask,
                code: Some(Code::ReceiptAlreadySent),
                state
            }
        );
        assert_eq!(office.case.now.responsible(), Responsible::Target);
    }
}

#[test]
fn a_return_and_edits() {
    // Edits are content, not events: the return stands, and the next submission is the next revision.
    let office = Office::at(State::Returned);
    assert_eq!(
        (office.case.now.revision, office.case.now.submission),
        (1, office.case.events.first().map(|event| event.id))
    );
    let office = office.done("wang.fang", act(Step::Resubmit, &[]));
    assert_eq!(office.case.now.revision, 2);
    // An officer who still looks at the first revision cannot return the second.
    let mut office = office;
    let first = office.case.events.first().map(|event| event.id);
    let stale = office.event(
        act(
            Step::Return,
            &[("reason_code", "other"), ("note", "见附件")],
        ),
        first,
    );
    assert_eq!(office.land(&stale, "officer.b").code, Some(Code::Overtaken));
}

#[test]
fn two_branches_accept() {
    let acts = [
        ("officer.a", accept("康平支部", "2026-11-16")),
        ("officer.b", accept("梧桐支部", "2026-11-16")),
    ];
    let both = crossing(&Office::arrived(), acts[0].clone(), acts[1].clone());
    for ((ruling, office), first) in both.into_iter().zip(["康平支部", "梧桐支部"]) {
        assert_eq!(
            ruling,
            Ruling {
                outcome: Outcome::Referral,
                code: Some(Code::SecondBranch),
                state: State::Accepted
            }
        );
        assert_eq!(
            office
                .case
                .now
                .acceptance
                .as_ref()
                .map(|acceptance| acceptance.branch.as_str()),
            Some(first)
        );
        assert_eq!(
            office
                .case
                .now
                .open_tasks()
                .map(|task| task.kind)
                .collect::<Vec<_>>(),
            [TaskKind::Referral]
        );
    }
    // The same branch twice is no referral, and who has seen it is simply wrong.
    let [(ruling, mut office), _] = crossing(&Office::arrived(), acts[0].clone(), acts[0].clone());
    assert_eq!(ruling.code, Some(Code::AlreadyAccepted));
    office.refused("officer.b", acts[1].1.clone(), Code::WrongState);
}

#[test]
fn two_requests_of_the_same_member() {
    let other = RecordId(Uuid::from_u128(7));
    let later = || {
        let mut office = Office::submitted();
        office.facts.earlier_open = Some(other);
        office
    };
    // Binding steps of the later one are refused …
    later().refused("officer.a", request_origin(), Code::MemberHasOpenTransfer);
    later().refused("officer.a", floating(), Code::MemberHasOpenTransfer);
    for row in STEPS.iter().filter(|row| row.binding) {
        let start = Office::at(row.from[0]);
        let mut office = start.clone();
        office.facts.earlier_open = Some(other);
        let filled = well_filled(&start, row.step);
        office.refused("officer.a", filled, Code::MemberHasOpenTransfer);
    }
    // … ending it, or finding that they are two people, is not.
    later().done("wang.fang", withdraw(MEMBER_WORD));
    later().done(
        "officer.a",
        act(
            Step::Return,
            &[("reason_code", "duplicate"), ("note", "已有一件")],
        ),
    );
    let office = later().done(
        "officer.a",
        act(
            Step::NotSamePerson,
            &[("other", &other.to_string()), ("note", "同名不同人")],
        ),
    );
    assert!(office.case.now.not_same.contains(&other));
}

#[test]
fn an_acceptance_dated_after_the_letter_expired() {
    let late = accept("康平支部", "2026-11-27");
    let mut office = Office::arrived().days(12);
    let ruling = office.does("officer.a", late.clone());
    assert_eq!(
        ruling,
        Ruling {
            outcome: Outcome::Late,
            code: Some(Code::LetterExpired),
            state: State::Arrived
        }
    );
    assert_eq!(office.case.now.responsible(), Responsible::Origin);
    let about = office.case.now.last.unwrap();
    let confirm = |about: EntryId| {
        act(
            Step::ConfirmLate,
            &[("about", &about.to_string()), ("note", "经核实按期报到")],
        )
    };
    office.refused(
        "officer.b",
        confirm(office.case.events[0].id),
        Code::UnknownEvent,
    );
    let confirmed = office.clone().done("officer.b", confirm(about));
    assert_eq!(
        confirmed
            .case
            .now
            .acceptance
            .as_ref()
            .map(|acceptance| acceptance.event),
        Some(about)
    );
    assert_eq!(confirmed.case.now.responsible(), Responsible::Target);

    // Late, and after another branch: a referral like any other.
    let mut both = Office::arrived().days(12);
    let seen = both.case.now.last;
    let (first, second) = (
        both.event(accept("康平支部", "2026-11-26"), seen),
        both.event(accept("梧桐支部", "2026-11-27"), seen),
    );
    both.land(&first, "officer.a");
    assert_eq!(both.land(&second, "officer.b").outcome, Outcome::Referral);

    // Late, and crossing a withdrawal: both orders leave the intent and the withdrawal.
    let mut start = Office::arrived().days(12);
    let seen = start.case.now.last;
    let (a, b) = (
        start.event(late, seen),
        start.event(withdraw(MEMBER_WORD), seen),
    );
    for (first, second) in [(&a, &b), (&b, &a)] {
        let mut office = start.clone();
        office.land(first, "x");
        office.land(second, "y");
        assert_eq!(office.case.now.state, State::Withdrawn);
        assert_eq!(
            (
                office.case.now.late.len(),
                office.case.now.open_late().count()
            ),
            (1, 0)
        );
    }
}

#[test]
fn what_an_author_cannot_have_seen() {
    let mut office = Office::submitted();
    let stranger = office.event(request_origin(), Some(EntryId(Uuid::from_u128(4711))));
    assert_eq!(
        office.land(&stranger, "officer.a").code,
        Some(Code::SeenUnknown)
    );
    // Two officers take different ways from the same sight: the first counts.
    let mut office = Office::submitted();
    let seen = office.case.now.last;
    let a = office.event(request_origin(), seen);
    let b = office.event(
        act(Step::Return, &[("reason_code", "other"), ("note", "补")]),
        seen,
    );
    office.land(&a, "officer.a");
    assert_eq!(
        office.land(&b, "officer.b"),
        Ruling {
            outcome: Outcome::Refused,
            code: Some(Code::Overtaken),
            state: State::AwaitingOrigin
        }
    );
    // A second submission of the same draft.
    let mut office = Office::new();
    let (a, b) = (office.event(submit(), None), office.event(submit(), None));
    office.land(&a, "wang.fang");
    assert_eq!(office.land(&b, "li.na").code, Some(Code::Overtaken));
    // A withdrawal does not have to know of reminders, nor of the officer's steps before an acceptance.
    let mut office = Office::submitted();
    let seen = office.case.now.last;
    let w = office.event(withdraw(MEMBER_WORD), seen);
    let mut office = office
        .done("officer.a", request_origin())
        .done("officer.a", dispatch("沪字001"))
        .done("officer.a", arrive());
    assert_eq!(office.land(&w, "wang.fang").state, State::Withdrawn);
}

#[test]
fn words_for_people_are_there() {
    for row in STATES {
        for words in [row.label, row.next, row.bring, row.member] {
            assert!(
                !words.zh.is_empty() && words.en.is_ascii() && !words.zh.is_ascii(),
                "{}: {words:?}",
                row.code
            );
        }
    }
    for code in Code::ALL {
        assert_eq!(Code::parse(code.as_str()), Some(*code));
        assert!(!code.words().zh.is_empty() && !code.words().en.is_empty());
    }
}

/// One arbitrary act: which step, by whom, having seen how far back, how the form is filled, and how many days pass before.
#[derive(Clone, Debug)]
struct Arbitrary {
    step: usize,
    by: usize,
    back: usize,
    fill: u8,
    days: i64,
}

fn arbitrary() -> impl Strategy<Value = Arbitrary> {
    (
        0..STEPS.len(),
        0..4_usize,
        0..4_usize,
        any::<u8>(),
        prop_oneof![4 => Just(0_i64), 1 => 1..40_i64],
    )
        .prop_map(|(step, by, back, fill, days)| Arbitrary {
            step,
            by,
            back,
            fill,
            days,
        })
}

fn filled(office: &Office, step: Step, fill: u8) -> Act {
    let (step, mut fields) = well_filled(office, step);
    let ids: Vec<_> = office
        .case
        .events
        .iter()
        .map(|event| event.id.to_string())
        .collect();
    for (name, value) in &mut fields {
        let n = usize::from(fill);
        match *name {
            "branch" => *value = ["康平支部", "梧桐支部"][n % 2].into(),
            "cause" => *value = CAUSES[n % CAUSES.len()].into(),
            "decision" => *value = ["accepted", "withdrawn"][n % 2].into(),
            "letter_no" => *value = format!("沪字{}", n % 4),
            "accepted_on" => *value = ["2026-11-16", "2026-12-20"][n % 2].into(),
            "about" if !ids.is_empty() => value.clone_from(&ids[n % ids.len()]),
            _ => {}
        }
    }
    (step, fields)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever anybody does, in whatever order, having seen whatever: `land` checks the invariants after every ruling.
    #[test]
    fn any_sequence_keeps_the_invariants(start in 0..STATES.len(), acts in vec(arbitrary(), 1..25)) {
        let mut office = Office::at(STATES[start].state);
        for Arbitrary { step, by, back, fill, days } in acts {
            office = office.days(days);
            let step = STEPS[step].step;
            let ruled: Vec<_> = office.case.ruled().map(|(event, _)| event.id).collect();
            let seen = ruled.len().checked_sub(back + 1).map(|at| ruled[at]);
            let (act, by) = (filled(&office, step, fill), ["wang.fang", "officer.a", "officer.b", "officer.c"][by]);
            let event = office.event(act, seen);
            let before = office.case.now.clone();
            let ruling = office.land(&event, if step.row().roles.is_empty() { "clock" } else { by });
            if ruling.outcome == Outcome::Refused {
                // A refusal leaves everything but the count as it was.
                let now = CaseStatus { no: before.no, last: before.last, ..office.case.now.clone() };
                prop_assert_eq!(now, before);
            }
            // The fold does not care in which order the events are read.
            let mut events = office.case.events.clone();
            events.reverse();
            prop_assert_eq!(&Case::from_events(events), &office.case);
            // Words for everybody, in every situation.
            prop_assert!(!office.case.now.next().what.zh.is_empty());
        }
    }
}
