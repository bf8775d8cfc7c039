//! Transfers on a phone: filed, taken back and submitted again with no network; ruled on at the office.

pub use lianka_client_core::transfer::TransferSummary;
use lianka_client_core::{Filing, editing, store::Records};
use lianka_sync_core::{
    crdt::view::View,
    id::{EntryId, RecordId},
    kinds::{
        Kind,
        transfer::{Case, Step, table::WITHDRAWAL},
    },
    lang::Lang,
    time::DeviceTime,
};

use super::{EditReceipt, Phone, PhoneError};

impl Phone {
    /// Files a request in one of the user's grids: one change with the request, the consent and, where asked for, the submission.
    pub fn file_transfer(
        &self,
        grid: &str,
        filing: &Filing,
        now: DeviceTime,
    ) -> Result<EditReceipt, PhoneError> {
        let (consent, event) = (self.new_entry(now), self.new_entry(now));
        let edits = filing.complete_edits(consent, event)?;
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
        let (username, office) = (self.identity()?.username, self.office_now()?);
        let edits = editing::appended(&view, step, fields, &username, office, || {
            self.new_entry(now)
        })?;
        self.edit(record, &edits, now)
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
        let (step, fields) = editing::submission(&self.view(record)?, &username, office);
        self.transfer_event(record, step, fields, now)
    }

    /// Every request held, the newest first.
    pub fn transfers(&self, lang: Lang) -> Result<Vec<TransferSummary>, PhoneError> {
        let records = self.read(|tx| Ok(tx.records_of(Kind::TransferRequest)?))?;
        let mut summaries = Vec::with_capacity(records.len());
        for (record, grid) in records.into_iter().rev() {
            let (view, own) = (self.view(record)?, self.outbox_of(record)?);
            summaries.push(TransferSummary::of(record, grid, &view, &own, lang));
        }
        Ok(summaries)
    }

    /// A request as it reads, and where it stands.
    pub fn transfer(&self, record: RecordId) -> Result<(View, Case), PhoneError> {
        let view = self.view(record)?;
        let case = Case::of(&view);
        Ok((view, case))
    }

    pub(super) fn new_entry(&self, now: DeviceTime) -> EntryId {
        let mut entropy = [0; 10];
        entropy.copy_from_slice(&self.entropy()[..10]);
        EntryId::new_v7(now.unix_ms().max(0) as u64, entropy)
    }
}
