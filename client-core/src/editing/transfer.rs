//! Transfers on the phone: what an event is written as, and what the phone may say about it before the server rules.
//!
//! The phone folds the record by the office's own code. An event of its own is **pending** until the ruling arrives; that it *would* be refused is
//! known at once where nobody else did anything meanwhile, and then it is not written at all.

use lianka_sync_core::{
    crdt::{record::Edit, view::View},
    id::EntryId,
    kinds::{
        Kind, consent,
        transfer::{
            self, Case, Code, Event, Facts, Outcome, Ruled, State, Step,
            table::{CONSENT_SCOPE, MEMBER_PRESENT},
        },
        transfer_request,
    },
    time::{DeviceTime, ServerTime},
};

use super::EditError;
use crate::card::drafted;

/// What a member asks for, as the secretary writes it down.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filing {
    /// `in_city_e`, `cross_province_letter`, `cross_province_e`, `temporary` or `floating_report`.
    pub transfer_kind: String,
    /// What the phone calls the member once the name is the office's alone.
    pub member_alias: String,
    /// Further fields of the request by name.
    pub fields: Vec<(String, String)>,
    /// How the member consented, for example 当面; `None`: not asked yet.
    pub consent_channel: Option<String>,
    /// Which version of the wording the member was shown.
    pub consent_wording: Option<String>,
    /// Whether to submit it at once: the member is present.
    pub submit: bool,
}

impl Filing {
    /// As edits of a new record. `consent` and `event` name the entries.
    pub fn edits(&self, consent: EntryId, event: EntryId) -> Vec<Edit> {
        let mut edits = vec![
            Edit::set(transfer_request::TRANSFER_KIND, &self.transfer_kind),
            Edit::set(transfer_request::MEMBER_ALIAS, &self.member_alias),
        ];
        edits.extend(
            self.fields
                .iter()
                .map(|(name, value)| Edit::set(name, value)),
        );
        if let Some(channel) = &self.consent_channel {
            let (list, wording) = (transfer_request::CONSENT, self.consent_wording.as_deref());
            let given = consent::granted(list, consent, CONSENT_SCOPE, channel, wording);
            edits.extend(given.iter().map(|(key, value)| Edit::set(key, value)));
        }
        if self.submit {
            edits.extend(event_edits(event, Step::Submit, None, MEMBER_PRESENT));
        }
        edits
    }

    /// The same, unless it is to be submitted and lacks something that a submission needs.
    pub fn complete_edits(&self, consent: EntryId, event: EntryId) -> Result<Vec<Edit>, EditError> {
        let edits = self.edits(consent, event);
        if self.submit
            && let Some((code, key)) = transfer::lacking(&drafted(edits.iter()))
        {
            return Err(EditError::Transfer {
                code,
                state: State::Draft,
                key: Some(key),
            });
        }
        Ok(edits)
    }
}

/// An event of a request as edits; refused at once where the office would refuse it although nobody else had done anything. `event`: its id, drawn
/// only where it is written.
pub fn appended(
    view: &View,
    step: Step,
    fields: &[(&str, &str)],
    username: &str,
    office: DeviceTime,
    event: impl FnOnce() -> EntryId,
) -> Result<Vec<Edit>, EditError> {
    if Kind::of(view) != Some(Kind::TransferRequest) {
        return Err(EditError::NoSuchRecord);
    }
    if let Some((code, state)) = refusal(view, step, fields, username, office) {
        let key = transfer::lacking(view)
            .filter(|(lacking, _)| *lacking == code)
            .map(|(_, key)| key);
        return Err(EditError::Transfer { code, state, key });
    }
    let seen = Case::of(view).newest();
    Ok(event_edits(event(), step, seen, fields))
}

/// How a request is submitted as it stands: a draft with the member present, what was returned once more.
pub fn submission(
    view: &View,
    username: &str,
    office: DeviceTime,
) -> (Step, &'static [(&'static str, &'static str)]) {
    match foreseen(view, username, office).now.state {
        State::Draft => (Step::Submit, MEMBER_PRESENT),
        _ => (Step::Resubmit, &[]),
    }
}

/// An event as edits: whole, in one change.
pub fn event_edits(
    event: EntryId,
    step: Step,
    seen: Option<EntryId>,
    fields: &[(&str, &str)],
) -> Vec<Edit> {
    transfer::event_keys(event, step, seen, fields.iter().copied())
        .iter()
        .map(|(key, value)| Edit::set(key, value))
        .collect()
}

/// The case as it will be if the server rules on the phone's own pending events as the phone would, and nobody else did anything.
pub fn foreseen(view: &View, username: &str, now: DeviceTime) -> Case {
    let mut case = Case::of(view);
    let mut pending: Vec<Event> = case.pending().cloned().collect();
    // An event follows the one it has seen; ids are by time.
    pending.sort_by_key(|event| event.id);
    for event in pending {
        let ruled = foresee(&case, view, &event, username, now);
        case = case.with(event, ruled);
    }
    case
}

/// Why an event would be refused if it landed now and nobody else had done anything; `None`: it would not.
pub fn refusal(
    view: &View,
    step: Step,
    fields: &[(&str, &str)],
    username: &str,
    now: DeviceTime,
) -> Option<(Code, State)> {
    let case = foreseen(view, username, now);
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let event = Event {
        id: EntryId::default(),
        step,
        seen: case.now.last,
        fields,
        ruled: None,
    };
    let ruling = foresee(&case, view, &event, username, now).ruling;
    ruling
        .code
        .filter(|_| ruling.outcome == Outcome::Refused)
        .map(|code| (code, ruling.state))
}

fn foresee(case: &Case, view: &View, event: &Event, username: &str, now: DeviceTime) -> Ruled {
    let at = ServerTime::from_unix_ms(now.unix_ms());
    let facts = Facts {
        by: Some(username.to_owned()),
        lacking: transfer::lacking(view).map(|(code, _)| code),
        ..Facts::default()
    };
    Ruled {
        no: case.now.no + 1,
        at,
        ruling: transfer::rule(case, event, at, &facts),
        by: facts.by,
    }
}
