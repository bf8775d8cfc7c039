//! The state machine as one table: states with their limits and words, steps with who, from, to and what they need.
//!
//! Everything else reads it: the phone and the gate (who may write which event), the rulings, the queue's next steps, docs/transfers.md and its
//! picture. Source: docs/domain.md, “Transfer request”; what goes beyond it is marked there and here with “added”.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{access::Role, lang::Lang};

mod states;
mod steps;

pub use states::STATES;
pub use steps::STEPS;

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
pub const CONTENT: &[&str] = &[
    "member_name",
    "member_status",
    "origin_organisation",
    "phone",
    "target_branch",
];
/// The scope of the consent that a submission needs.
pub const CONSENT_SCOPE: &str = "transfer";
/// Fields that leave the record once its submission is ruled: they go to the office alone.
pub const SEALED: &[&str] = &[
    "member_name",
    "member_status",
    "origin_organisation",
    "target_branch",
];
/// The longest a letter may be valid, in days.
pub const VALIDITY_DAYS_MAX: u32 = 90;

/// How long letters of a kind of transfer are usually valid, in days.
pub fn usual_validity_days(transfer_kind: &str) -> u32 {
    if transfer_kind == "in_city_e" { 10 } else { 30 }
}

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
pub const RETURN_REASONS: &[&str] = &[
    "information_missing",
    "document_missing",
    "wrong_addressee",
    "dues_unpaid",
    "not_our_street",
    "duplicate",
    "other",
];
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
/// How long a letter is valid.
pub const VALIDITY_DAYS: &str = "validity_days";
/// The other request of [`Step::NotSamePerson`].
pub const OTHER: &str = "other";
/// Who asked for a withdrawal, why by [`CAUSES`], and why in words.
pub const WITHDRAWAL: [&str; 3] = ["asked_by", "cause", "reason"];
/// What a submission says, beside the request.
pub const MEMBER_PRESENT: &[(&str, &str)] = &[("member_present", "yes")];
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
        STATES
            .iter()
            .find(|row| row.code == text)
            .map(|row| row.state)
            .ok_or(UnknownCode)
    }
}

impl FromStr for Step {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        STEPS
            .iter()
            .find(|row| row.code == text)
            .map(|row| row.step)
            .ok_or(UnknownCode)
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
    use crate::{
        access::Role::{Officer, Secretary},
        kinds::Kind,
    };

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
        assert_eq!(
            (STATES.len(), STEPS.len()),
            (STATE_CODES.len(), STEP_CODES.len())
        );
    }

    #[test]
    fn every_form_field_is_in_the_catalogue_and_every_field_in_a_form() {
        let event = "0198c0de-0000-7000-8000-000000000001";
        for input in STEPS.iter().flat_map(|row| row.form) {
            assert!(
                Kind::TransferRequest
                    .field(&format!("events/{event}/{}", input.name))
                    .is_some(),
                "{}",
                input.name
            );
        }
        for row in STEPS {
            assert!(
                row.one_of.iter().all(|name| row.takes(name)),
                "{}",
                row.code
            );
        }
        for field in Kind::TransferRequest
            .fields()
            .iter()
            .filter(|field| field.pattern().starts_with("events/"))
        {
            assert!(
                matches!(field.name, "type" | "seen")
                    || STEPS.iter().any(|row| row.takes(field.name)),
                "{}",
                field.name
            );
        }
    }

    #[test]
    fn the_invariants_of_the_table() {
        let to = |state| STEPS.iter().filter(move |row| row.to == To::State(state));
        // Accepted only from arrived or archive_check, by an officer.
        for row in to(State::Accepted) {
            assert_eq!(
                (row.from, row.roles),
                (
                    [State::Arrived, State::ArchiveCheck].as_slice(),
                    [Officer].as_slice()
                )
            );
        }
        // Never withdrawn after accepted.
        assert!(
            to(State::Withdrawn).all(|row| !row.from.contains(&State::Accepted)
                && !row.from.contains(&State::ReceiptSent))
        );
        // Two officers where two are required.
        assert!(to(State::Refused).all(|row| row.second));
        // Every way out of what only the secretary or the clock does not take is an officer's: no one else binds.
        assert!(
            STEPS
                .iter()
                .filter(|row| row.binding || row.second)
                .all(|row| row.roles == [Officer])
        );
        // Nobody but an officer moves a submitted request on; the secretary may take it back.
        for row in STEPS.iter().filter(|row| row.roles.contains(&Secretary)) {
            assert!(matches!(
                row.step,
                Step::Submit | Step::Resubmit | Step::Withdraw | Step::HomeContacted
            ));
        }
        assert!(
            STEPS
                .iter()
                .flat_map(|row| row.roles)
                .all(|role| matches!(role, Secretary | Officer))
        );
        // What is over stays over.
        for row in STATES
            .iter()
            .filter(|row| !row.open && row.state != State::Draft)
        {
            assert!(
                STEPS
                    .iter()
                    .all(|step| step.to == To::Same || !step.from.contains(&row.state)),
                "{}",
                row.code
            );
        }
        // Every state with a limit that the clock acts on has the clock's step.
        for row in STATES {
            let then = row.limit.map(|(_, then)| then);
            let step = |step: Step| step.row().from.contains(&row.state);
            assert_eq!(
                then == Some(Then::Remind),
                step(Step::Remind),
                "{}",
                row.code
            );
            assert_eq!(then == Some(Then::ProposeExpiry), step(Step::ProposeExpiry));
            assert_eq!(then == Some(Then::Lapse), step(Step::Lapse));
        }
    }
}
