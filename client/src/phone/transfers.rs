//! Transfers on a phone: filed, taken back and submitted again with no network; ruled on at the office.

use lianka_client_core::{EditError, Filing, OutboxState, card::Place, editing, store::Records};
use lianka_sync_core::{
    crdt::{record::Edit, view::View},
    id::{EntryId, RecordId},
    kinds::{
        Kind,
        transfer::{
            Case, State, Step,
            table::{MEMBER_PRESENT, WITHDRAWAL},
        },
        transfer_request,
    },
    lang::Lang,
    time::DeviceTime,
};
use serde::Serialize;

use super::{EditReceipt, Phone, PhoneError};

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
    /// What the member is told.
    pub member: String,
    /// Where its newest state is.
    pub place: Place,
}

impl Phone {
    /// Files a request in one of the user's grids: one change with the request, the consent and, where asked for, the submission.
    pub fn file_transfer(
        &self,
        grid: &str,
        filing: &Filing,
        now: DeviceTime,
    ) -> Result<EditReceipt, PhoneError> {
        let (consent, event) = (self.new_entry(now), self.new_entry(now));
        let edits = filing.edits(consent, event);
        if filing.submit {
            let view = drafted(&edits);
            if let Some((code, key)) = lianka_sync_core::kinds::transfer::lacking(&view) {
                return Err(EditError::Transfer {
                    code,
                    state: State::Draft,
                    key: Some(key),
                }
                .into());
            }
        }
        self.create(Kind::TransferRequest, grid, &edits, now)
    }

    /// Appends an event to a request. Refused at once where the office would refuse it although nobody else had done anything.
    pub fn transfer_event(
        &self,
        record: RecordId,
        step: Step,
        fields: &[(&str, &str)],
        now: DeviceTime,
    ) -> Result<EditReceipt, PhoneError> {
        let view = self.view(record)?;
        if Kind::of(&view) != Some(Kind::TransferRequest) {
            return Err(EditError::NoSuchRecord.into());
        }
        let (username, office) = (self.identity()?.username, self.office_now()?);
        if let Some((code, state)) = editing::refusal(&view, step, fields, &username, office) {
            let key = lianka_sync_core::kinds::transfer::lacking(&view)
                .filter(|(lacking, _)| *lacking == code)
                .map(|(_, key)| key);
            return Err(EditError::Transfer { code, state, key }.into());
        }
        let seen = Case::of(&view).newest();
        self.edit(
            record,
            &editing::event_edits(self.new_entry(now), step, seen, fields),
            now,
        )
    }

    /// Takes a request back.
    pub fn withdraw_transfer(
        &self,
        record: RecordId,
        asked_by: &str,
        cause: &str,
        reason: &str,
        now: DeviceTime,
    ) -> Result<EditReceipt, PhoneError> {
        let [by, why, words] = WITHDRAWAL;
        let fields = [(by, asked_by), (why, cause), (words, reason)];
        self.transfer_event(record, Step::Withdraw, &fields, now)
    }

    /// Submits a draft, or submits again what was returned.
    pub fn submit_transfer(
        &self,
        record: RecordId,
        now: DeviceTime,
    ) -> Result<EditReceipt, PhoneError> {
        let (username, office) = (self.identity()?.username, self.office_now()?);
        let case = editing::foreseen(&self.view(record)?, &username, office);
        match case.now.state {
            State::Draft => self.transfer_event(record, Step::Submit, MEMBER_PRESENT, now),
            _ => self.transfer_event(record, Step::Resubmit, &[], now),
        }
    }

    /// Every request held, the newest first.
    pub fn transfers(&self, lang: Lang) -> Result<Vec<TransferSummary>, PhoneError> {
        let records = self.read(|tx| Ok(tx.records_of(Kind::TransferRequest)?))?;
        let mut summaries = Vec::with_capacity(records.len());
        for (record, grid) in records.into_iter().rev() {
            summaries.push(self.transfer_summary(record, grid, lang)?);
        }
        Ok(summaries)
    }

    /// A request as it reads, and where it stands.
    pub fn transfer(&self, record: RecordId) -> Result<(View, Case), PhoneError> {
        let view = self.view(record)?;
        let case = Case::of(&view);
        Ok((view, case))
    }

    fn transfer_summary(
        &self,
        record: RecordId,
        grid: String,
        lang: Lang,
    ) -> Result<TransferSummary, PhoneError> {
        let (view, case) = self.transfer(record)?;
        let own = self.outbox_of(record)?;
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
        Ok(TransferSummary {
            record,
            grid,
            member_alias: view.text(transfer_request::MEMBER_ALIAS).map(str::to_owned),
            transfer_kind: view
                .text(transfer_request::TRANSFER_KIND)
                .map(str::to_owned),
            state: case.now.state,
            state_label: case.now.state.row().label.text(lang).to_owned(),
            pending: case
                .pending()
                .map(|event| event.step.row().label.text(lang).to_owned())
                .collect(),
            ruling: newest.map(|(_, ruled)| ruled.ruling.text(lang)),
            acting: next.acting.words().text(lang).to_owned(),
            next: next.what.text(lang).to_owned(),
            member: next.member.text(lang).to_owned(),
            place,
        })
    }

    pub(super) fn new_entry(&self, now: DeviceTime) -> EntryId {
        let mut entropy = [0; 10];
        entropy.copy_from_slice(&self.entropy()[..10]);
        EntryId::new_v7(now.unix_ms().max(0) as u64, entropy)
    }
}

/// What a record of these edits would read, for the check of what a submission needs.
fn drafted(edits: &[Edit]) -> View {
    use lianka_sync_core::{codec::change::OpId, crdt::view::Value, id::Actor};
    let op = OpId {
        counter: 0,
        actor: Actor::new(lianka_sync_core::id::DeviceId::default(), 0),
    };
    let values = edits.iter().filter_map(|edit| match edit {
        Edit::Put { key, value } => Some((
            key.clone(),
            vec![Value {
                op,
                value: value.clone(),
                time: None,
            }],
        )),
        Edit::Delete { .. } | Edit::Note { .. } => None,
    });
    View {
        values: values.collect(),
        note: None,
    }
}
