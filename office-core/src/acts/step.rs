//! A step that an officer takes in a transfer: an event written into the record, and ruled on by what follows.

use std::collections::BTreeMap;

use lianka_sync_core::{
    authority::{Said, check_new},
    codec::change::Scalar,
    crdt::merge::{Refusal, Write},
    id::{EntryId, RecordId},
    kinds::{
        Broken, Kind,
        transfer::{self, Case, Step},
    },
};

use super::{Act, Desk, Refused, records};
use crate::{audit::Action, store::Wants, street::Street};

/// A step to take. Under the same event it is taken once.
#[derive(Debug)]
pub struct TakeStep {
    pub by: Desk,
    pub record: RecordId,
    pub event: EntryId,
    pub step: Step,
    /// The event that the officer saw last.
    pub seen: Option<EntryId>,
    pub fields: BTreeMap<String, String>,
}

/// The keys of an event.
pub fn event_keys<'f>(
    event: EntryId,
    step: Step,
    seen: Option<EntryId>,
    fields: impl IntoIterator<Item = (&'f String, &'f String)>,
) -> Vec<Write> {
    let fields = fields.into_iter();
    let fields = fields.map(|(name, value)| (name.as_str(), value.as_str()));
    transfer::event_keys(event, step, seen, fields)
        .into_iter()
        .map(|(key, value)| Write::new(key, Some(Scalar::Str(value))))
        .collect()
}

impl Act for TakeStep {
    /// Whether it is new.
    type Done = bool;
    type Refused = Refused;

    fn wants(&self, _: &Street) -> Wants {
        records([self.record])
    }

    fn decide(self, street: &mut Street) -> Result<bool, Refused> {
        let record = self.record;
        let state = street
            .state(record)
            .filter(|state| state.kind() == Kind::TransferRequest);
        let view = state.ok_or(Refused::NotFound)?.view();
        if let Some(known) = Case::of(&view).event(self.event) {
            let same =
                (known.step, known.seen, &known.fields) == (self.step, self.seen, &self.fields);
            return if same {
                Ok(false)
            } else {
                Err(Refused::AlreadyExists)
            };
        }
        let writes = event_keys(self.event, self.step, self.seen, &self.fields);
        let puts = writes
            .iter()
            .filter_map(|write| Some((write.key.as_str(), write.value.as_ref()?)));
        check_new(Kind::TransferRequest, puts, Said::AtOffice(street.now()))
            .map_err(|Broken { key, error }| Refusal::field(key, error))?;
        street.compose(record, self.by.signer(), &writes, "")?;
        let event = self.by.event(Action::DeskEdit).on(record);
        street.audit(
            event
                .with("event", self.event.to_string())
                .with("type", self.step.as_str()),
        );
        Ok(true)
    }
}
