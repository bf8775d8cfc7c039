//! Transfers as the page asks for them: the list, a request with what may be done, and the secretary's own steps.

use lianka_client_core::{
    EditError, Filing, Identity, document,
    editing::{self, foreseen},
    store::Records,
    transfer::TransferSummary,
};
use lianka_client_local::local_store::Tx;
use lianka_sync_core::{
    crdt::{record::Edit, view::View},
    id::RecordId,
    kinds::{
        Kind, consent,
        transfer::{
            Case, Code, Event, Outcome, State, Step, lacking,
            table::{CONSENT_SCOPE, WITHDRAWAL},
        },
        transfer_request,
    },
    lang::Lang,
    time::DeviceTime,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answered, Around, edited, saved};
use crate::shown::{self, Reader};

/// What a page asks about transfers.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum TransferQuestion {
    /// Every request, the newest first.
    List,
    /// A request with everything on it.
    One {
        /// Which.
        record: RecordId,
    },
    /// Files a request, as a draft or submitted at once.
    File {
        /// The grid.
        grid: String,
        /// What it says; `filing.submit`: the member is present.
        filing: Said,
    },
    /// Writes that the member consents.
    Consent {
        /// Of which request.
        record: RecordId,
        /// How the member was asked.
        channel: String,
        /// The wording that was shown.
        wording: String,
    },
    /// Submits a draft, or what was returned once more.
    Submit {
        /// Which.
        record: RecordId,
    },
    /// Takes a request back.
    Withdraw {
        /// Which.
        record: RecordId,
        /// Who asked.
        asked_by: String,
        /// Why, by its code.
        cause: String,
        /// Why, in words.
        reason: String,
    },
}

/// A filing in the page's words.
#[derive(Clone, Debug, Deserialize)]
pub struct Said {
    transfer_kind: String,
    member_alias: String,
    /// By name; empty ones are left out.
    fields: std::collections::BTreeMap<String, String>,
    /// `None`: not asked yet.
    consent_channel: Option<String>,
    consent_wording: Option<String>,
    submit: bool,
}

impl From<Said> for Filing {
    fn from(said: Said) -> Self {
        let fields = said.fields.into_iter();
        Self {
            transfer_kind: said.transfer_kind,
            member_alias: said.member_alias.trim().to_owned(),
            fields: fields
                .map(|(name, text)| (name, text.trim().to_owned()))
                .filter(|(_, text)| !text.is_empty())
                .collect(),
            consent_channel: said.consent_channel,
            consent_wording: said.consent_wording,
            submit: said.submit,
        }
    }
}

pub(super) fn answer(
    tx: &Tx<'_>,
    identity: &Identity,
    question: TransferQuestion,
    reader: Reader,
    around: &mut Around<'_>,
) -> Answered {
    match question {
        TransferQuestion::List => {
            let mut records = tx.records_of(Kind::TransferRequest)?;
            records.reverse();
            let mut lines = Vec::with_capacity(records.len());
            for (record, grid) in records {
                let (view, own) = (view(tx, record)?, tx.outbox_of(record)?);
                lines.push(TransferSummary::of(record, grid, &view, &own, reader.lang));
            }
            Ok(json!(lines))
        }
        TransferQuestion::One { record } => one(tx, identity, record, reader, around),
        TransferQuestion::File { grid, filing } => {
            let (consent, event) = (around.new_entry(), around.new_entry());
            let edits = Filing::from(filing).complete_edits(consent, event)?;
            let moment = around.moment(tx)?;
            let author = super::author(tx, identity)?;
            saved(
                tx,
                &editing::create(&author, Kind::TransferRequest, &grid, &edits, &moment)?,
            )
        }
        TransferQuestion::Consent {
            record,
            channel,
            wording,
        } => {
            let given = consent::granted(
                transfer_request::CONSENT,
                around.new_entry(),
                CONSENT_SCOPE,
                &channel,
                Some(&wording),
            );
            let edits: Vec<_> = given
                .iter()
                .map(|(key, value)| Edit::set(key, value))
                .collect();
            edited(tx, identity, record, &edits, around)
        }
        TransferQuestion::Submit { record } => {
            let view = view(tx, record)?;
            let (step, fields) =
                editing::submission(&view, &identity.username, office(tx, around)?);
            append(tx, identity, record, step, fields, around)
        }
        TransferQuestion::Withdraw {
            record,
            asked_by,
            cause,
            reason,
        } => {
            let [by, why, words] = WITHDRAWAL;
            let fields = [(by, &*asked_by), (why, &*cause), (words, reason.trim())];
            append(tx, identity, record, Step::Withdraw, &fields, around)
        }
    }
}

fn append(
    tx: &Tx<'_>,
    identity: &Identity,
    record: RecordId,
    step: Step,
    fields: &[(&str, &str)],
    around: &mut Around<'_>,
) -> Answered {
    let view = view(tx, record)?;
    let office = office(tx, around)?;
    let edits = editing::appended(&view, step, fields, &identity.username, office, || {
        around.new_entry()
    })?;
    edited(tx, identity, record, &edits, around)
}

fn one(
    tx: &Tx<'_>,
    identity: &Identity,
    record: RecordId,
    reader: Reader,
    around: &Around<'_>,
) -> Answered {
    let state = tx.record_state(record)?;
    let view = view(tx, record)?;
    if Kind::of(&view) != Some(Kind::TransferRequest) {
        return Err(EditError::NoSuchRecord.into());
    }
    let lang = reader.lang;
    let stored = state.stored.as_ref();
    let grid = stored.map_or_else(String::new, |stored| stored.grid.clone());
    let leaving = stored.is_some_and(|stored| stored.leaving);
    let summary = TransferSummary::of(record, grid, &view, &state.outbox, lang);
    let case = Case::of(&view);
    // What may be done follows from where it will stand once what is pending was ruled on.
    let then = foreseen(&view, &identity.username, office(tx, around)?)
        .now
        .state;
    let mends = matches!(then, State::Draft | State::Returned) && !leaving;
    let consented = view
        .entries(transfer_request::CONSENT)
        .into_iter()
        .any(|entry| {
            view.entry_text(transfer_request::CONSENT, entry, consent::DECIDED)
                == Some(consent::GRANT)
        });
    let lacks = lacking(&view).map(|(code, key)| {
        let label = crate::catalogue::label(Kind::TransferRequest, key, lang);
        json!({ "label": label, "consent": code == Code::ConsentMissing })
    });
    let events: Vec<_> = case
        .events
        .iter()
        .map(|event| event_shown(event, lang))
        .collect();
    let outbox: Result<Vec<_>, EditError> = state
        .outbox
        .iter()
        .map(|entry| shown::entry_shown(&state, entry, lang))
        .collect();
    Ok(json!({
        "summary": summary,
        "fields": shown::transfer_fields(&state, &view, reader),
        "mends": mends,
        "consented": consented,
        "lacks": lacks,
        "submits": mends && lacks.is_none(),
        "withdraws": !leaving && Step::Withdraw.row().from.contains(&then),
        "leaving": leaving,
        "events": events,
        "outbox": outbox?,
    }))
}

fn event_shown(event: &Event, lang: Lang) -> Value {
    let ruled = event.ruled.as_ref();
    let became = ruled.map(|ruled| {
        if ruled.ruling.outcome == Outcome::Applied && ruled.ruling.code.is_none() {
            ruled.ruling.state.row().label.text(lang).to_owned()
        } else {
            ruled.ruling.text(lang)
        }
    });
    let words: Vec<_> = transfer_request::ANSWERS
        .iter()
        .filter_map(|name| Some(transfer_request::words(event.text(name)?, lang)))
        .collect();
    json!({
        "event": event.id,
        "label": event.step.row().label.text(lang),
        "became": became,
        "at": ruled.map(|ruled| ruled.at.unix_ms()),
        "by": ruled.and_then(|ruled| ruled.by.clone()),
        "words": words,
    })
}

fn view(tx: &Tx<'_>, record: RecordId) -> Result<View, super::Stopped> {
    let mut opened = document::open(&tx.record_state(record)?)
        .map_err(EditError::from)?
        .ok_or(EditError::NoSuchRecord)?;
    Ok(opened.document.view().map_err(EditError::from)?)
}

fn office(tx: &Tx<'_>, around: &Around<'_>) -> Result<DeviceTime, super::Stopped> {
    Ok(DeviceTime::from_unix_ms(around.today(tx)?.unix_ms()))
}
