//! What a list shows of a transfer request: where it stands, who acts next and until when, what to bring, and what to tell the member.

use lianka_sync_core::{
    crdt::view::View,
    id::RecordId,
    kinds::{
        transfer::{
            Case, State,
            calendar::{self, Calendar},
        },
        transfer_request,
    },
    lang::Lang,
    values::date,
};
use serde::Serialize;

use crate::{OutboxEntry, OutboxState, card::Place};

/// A request in the list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TransferSummary {
    /// The request.
    pub record: RecordId,
    /// Its grid.
    pub grid: String,
    /// What the phone calls the member.
    pub member_alias: Option<String>,
    /// Its kind.
    pub transfer_kind: Option<String>,
    /// Where it stands, as far as the office has ruled.
    pub state: State,
    /// The same for people.
    pub state_label: String,
    /// What this phone asked for and the office has not ruled on: the steps' labels.
    pub pending: Vec<String>,
    /// What became of the newest event, where it is more than done.
    pub ruling: Option<String>,
    /// Who has to act next, and what has to happen.
    pub acting: String,
    /// What has to happen next.
    pub next: String,
    /// What has to be brought for it.
    pub bring: String,
    /// What the member is told.
    pub member: String,
    /// The last day of the state's term, by the office's clock and the holidays that this program knows; none for a draft, whose day only the office
    /// knows.
    pub due_on: Option<String>,
    /// Where its newest state is.
    pub place: Place,
}

impl TransferSummary {
    /// A request as it reads; `own`: what of it is in the outbox.
    pub fn of(
        record: RecordId,
        grid: String,
        view: &View,
        own: &[OutboxEntry],
        lang: Lang,
    ) -> Self {
        let case = Case::of(view);
        let text = |key: &str| view.text(key).map(str::to_owned);
        let place = if own.iter().any(|entry| entry.state != OutboxState::Held) {
            Place::Phone
        } else if own.is_empty() {
            Place::Office
        } else {
            Place::Held
        };
        let next = case.now.next();
        let newest = case
            .ruled()
            .last()
            .filter(|(_, ruled)| ruled.ruling.code.is_some());
        let due = case.now.due(None, &Calendar::shipped());
        Self {
            record,
            grid,
            member_alias: text(transfer_request::MEMBER_ALIAS),
            transfer_kind: text(transfer_request::TRANSFER_KIND),
            state: case.now.state,
            state_label: case.now.state.row().label.text(lang).to_owned(),
            pending: case
                .pending()
                .map(|event| event.step.row().label.text(lang).to_owned())
                .collect(),
            ruling: newest.map(|(_, ruled)| ruled.ruling.text(lang)),
            acting: next.acting.words().text(lang).to_owned(),
            next: next.what.text(lang).to_owned(),
            bring: next.bring.text(lang).to_owned(),
            member: next.member.text(lang).to_owned(),
            // A term lasts to the end of its day.
            due_on: due.map(|(end, _)| date::to_iso(calendar::last_day(end))),
            place,
        }
    }
}
