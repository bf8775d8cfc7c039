//! The page's questions, answered from the store; each is one transaction.
//!
//! In: a [`Question`] and the moment. Out: JSON, or a [`Failure`]. An edit that was answered without a failure is on the disk.

use std::collections::BTreeMap;

use lianka_client_core::{
    Author, EditError, Edited, Identity, Moment,
    card::{self, CardFilter},
    editing::{self, NewVisit},
    lease::Lease,
    rescue::{self, NotTaken, Unsent},
    store::{RecordStore, Records},
};
use lianka_client_local::local_store::{LocalStore, StoreError, Tx};
use lianka_sync_core::{
    crdt::record::Edit,
    id::{ChangeHash, EntryId, RecordId},
    kinds::{Kind, consent, duplicate::Traits, transfer::calendar::day_of},
    lang::Lang,
    time::{DeviceTime, ServerTime},
    values::date,
};
use serde::Deserialize;
use serde_json::{Value, json};

pub mod practice;
mod transfers;
mod visits;

pub use transfers::TransferQuestion;

use crate::{
    catalogue,
    failure::Failure,
    shown::{self, Reader},
};

/// What a page asks.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// How the phone stands.
    State,
    /// The fields of every kind.
    Catalogue,
    /// Every card of the phone, in walking order.
    Cards {
        /// Only what this finds.
        query: Option<String>,
    },
    /// A card with everything on it.
    Card {
        /// Which.
        record: RecordId,
    },
    /// Edits a record.
    Edit {
        /// Which.
        record: RecordId,
        /// How.
        edits: Vec<Edit>,
    },
    /// Confirms today that nothing has changed on a card.
    Confirm {
        /// Which.
        record: RecordId,
    },
    /// Adds a contact person to a card.
    AddContact {
        /// Which.
        record: RecordId,
        /// The person's fields by their names.
        fields: BTreeMap<String, String>,
    },
    /// Writes that a contact person agrees, or not any more, that the street keeps what is sensitive about them.
    Consent {
        /// Of which card.
        record: RecordId,
        /// The person.
        contact: EntryId,
        /// Agrees.
        grants: bool,
        /// How they were asked.
        channel: String,
        /// The wording they were told.
        wording: String,
        /// What they said, where they agree.
        party_status: Option<String>,
    },
    /// Takes an edit back.
    Undo {
        /// Of which record.
        record: RecordId,
        /// The change.
        hash: String,
    },
    /// Cards that a new one would likely be a duplicate of.
    Alike {
        /// The grid.
        grid: String,
        /// What the new card would say.
        edits: Vec<Edit>,
    },
    /// Makes a card.
    Create {
        /// The grid.
        grid: String,
        /// What it says.
        edits: Vec<Edit>,
    },
    /// Writes a visit to a shop.
    Visit {
        /// The card.
        shop: RecordId,
        /// How.
        channel: String,
        /// Who was met.
        outcome: String,
        /// Words of the checklist.
        topics: Vec<String>,
        /// One line.
        remark: Option<String>,
        /// Whether a contact card was left: its version.
        card_version: Option<String>,
    },
    /// The visits to a shop, the newest first.
    Visits {
        /// The card.
        shop: RecordId,
    },
    /// Something about transfers of membership.
    Transfers(TransferQuestion),
    /// What the office has not answered for.
    Outbox,
    /// What could not be kept.
    Drafts,
    /// Applies a draft again.
    RetryDraft {
        /// Which.
        id: i64,
    },
    /// Drops a draft for good.
    DropDraft {
        /// Which.
        id: i64,
    },
    /// What the office told this user.
    Notices,
    /// The user has looked at every notice.
    NoticesRead,
    /// What is unsent, for a file that carries it to another phone.
    Unsent,
    /// Takes in what another phone of this user had not sent.
    TakeIn {
        /// As that phone gave it out.
        unsent: Box<Unsent>,
    },
    /// The digest of everything that the phone holds.
    Digest,
}

/// What a question brings along from outside.
pub struct Around<'a> {
    /// The phone's clock.
    pub now: DeviceTime,
    /// Fresh bytes for whoever asks.
    pub entropy: &'a mut dyn FnMut() -> [u8; 16],
    /// The page's language.
    pub lang: Lang,
}

impl Around<'_> {
    fn moment(&mut self, tx: &Tx<'_>) -> Result<Moment, StoreError> {
        let office = tx.last_sync()?.map(|last| last.office_time(self.now));
        Ok(Moment {
            now: self.now,
            office,
            entropy: (self.entropy)(),
            lang: self.lang,
        })
    }

    /// The day by the office, as far as the phone can tell.
    fn today(&self, tx: &Tx<'_>) -> Result<ServerTime, StoreError> {
        Ok(tx
            .last_sync()?
            .map_or(ServerTime::from_unix_ms(self.now.unix_ms()), |last| {
                last.office_time(self.now)
            }))
    }

    /// A fresh id.
    pub fn new_entry(&mut self) -> EntryId {
        let mut entropy = [0; 10];
        entropy.copy_from_slice(&(self.entropy)()[..10]);
        EntryId::new_v7(self.now.unix_ms().max(0) as u64, entropy)
    }
}

/// Why a question's transaction came to nothing.
enum Stopped {
    Store(StoreError),
    Edit(EditError),
    Other(Failure),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<EditError> for Stopped {
    fn from(error: EditError) -> Self {
        Self::Edit(error)
    }
}

type Answered = Result<Value, Stopped>;

/// Answers a question.
pub fn answer(
    store: &mut LocalStore,
    question: Question,
    around: &mut Around<'_>,
) -> Result<Value, Failure> {
    let lang = around.lang;
    let answered = match question {
        Question::State => state(store, around),
        question => {
            unlocked(store, around.now)?;
            // A list indexes what changed, and so writes.
            store.write(|tx| carried_out(tx, question, around))
        }
    };
    answered.map_err(|stopped| match stopped {
        Stopped::Store(error) => error.into(),
        Stopped::Edit(error) => Failure::edit(&error, lang),
        Stopped::Other(failure) => failure,
    })
}

/// Refuses while the lease is over, and notes how far the clock went.
fn unlocked(store: &mut LocalStore, now: DeviceTime) -> Result<(), Failure> {
    let Some(lease) = store.read(|tx| tx.lease())? else {
        return Ok(());
    };
    let then = lease.at(now);
    if lease.is_worth_keeping(then) {
        store.write(|tx| tx.set_lease(Some(then)))?;
    }
    if then.is_over() {
        return Err(Failure::of("locked"));
    }
    Ok(())
}

/// Whether another phone may begin in this one's place: the office wiped it and knows that it is done, or it was there to practise.
pub fn may_be_replaced(store: &mut LocalStore) -> Result<bool, StoreError> {
    store.read(|tx| match tx.enrolled() {
        Err(StoreError::Wiped(_)) => Ok(tx.wipe_report()?.is_none()),
        _ => Ok(tx.value(practice::MARK)?.is_some()),
    })
}

fn state(store: &mut LocalStore, around: &Around<'_>) -> Answered {
    let now = around.now;
    store.read(|tx| {
        let identity = match tx.enrolled() {
            Err(StoreError::Wiped(at)) => {
                return Ok(json!({ "stage": "wiped", "wiped_at": at, "report_owed": tx.wipe_report()?.is_some() }));
            }
            enrolled => enrolled?,
        };
        let Some(identity) = identity else {
            return Ok(json!({ "stage": "new" }));
        };
        let [unsent, held, refused] = tx.outbox_count()?;
        let last = tx.last_sync()?;
        let lease = tx.lease()?.map(|lease| lease.at(now));
        let locked = lease.is_some_and(Lease::is_over);
        Ok(json!({
            "stage": if locked { "locked" } else { "ready" },
            "name": identity.display_name,
            "username": identity.username,
            "role": identity.role.label_zh(),
            "street": identity.street_name,
            "grids": identity.grids,
            "device": identity.device,
            "practice": tx.value(practice::MARK)?.is_some(),
            "last_sync": last.map(|last| last.at.unix_ms()),
            "clock_ahead_ms": last.map(|last| last.at.unix_ms() - last.server_time.unix_ms()),
            "today": date::to_iso(day_of(around.today(tx)?)),
            "lease_left_ms": lease.map(Lease::left_ms),
            "complete": tx.cursor()?.is_some(),
            "records": tx.records()?.len(),
            "unsent": unsent + refused,
            "held": held,
            "drafts": tx.drafts()?.len(),
            "notices": tx.unread_notices()?,
        }))
    })
}

fn carried_out(tx: &Tx<'_>, question: Question, around: &mut Around<'_>) -> Answered {
    let identity = tx.identity()?;
    let reader = Reader {
        device: identity.device,
        role: identity.role,
        lang: around.lang,
    };
    match question {
        Question::State => Err(Stopped::Other(Failure::of("cut"))),
        Question::Catalogue => Ok(json!({
            "kinds": catalogue::catalogue(reader.role, reader.lang),
            "contact": shown::contact_fields(reader),
        })),
        Question::Cards { query } => cards(tx, query),
        Question::Card { record } => {
            let drafts: Vec<_> = tx
                .drafts()?
                .into_iter()
                .filter(|kept| kept.draft.record == record)
                .collect();
            let card = shown::card(&tx.record_state(record)?, &drafts, reader)?;
            card.ok_or_else(|| Stopped::Other(Failure::of("record_unreadable")))
        }
        Question::Edit { record, edits } => edited(tx, &identity, record, &edits, around),
        Question::Confirm { record } => {
            let today = date::to_iso(day_of(around.today(tx)?));
            let edits = [card::confirmation(&today)];
            edited(tx, &identity, record, &edits, around)
        }
        Question::AddContact { record, fields } => {
            let entry = around.new_entry();
            let edits: Vec<_> = fields
                .iter()
                .filter(|(_, text)| !text.trim().is_empty())
                .map(|(name, text)| {
                    // One that is no person's is refused by its name.
                    let field = Kind::ShopCard.person_field(name);
                    let key = field.map_or_else(|| name.clone(), |field| field.key_in(entry));
                    Edit::set(key, text.trim())
                })
                .collect();
            edited(tx, &identity, record, &edits, around)
        }
        Question::Consent {
            record,
            contact,
            grants,
            channel,
            wording,
            party_status,
        } => {
            let entry = around.new_entry();
            let today = date::to_iso(day_of(around.today(tx)?));
            let (list, sensitive) = Kind::ShopCard
                .consents()
                .zip(Kind::ShopCard.with_consent().next())
                .ok_or(EditError::NoSuchRecord)?;
            let consent =
                |field: &str, value: &str| Edit::set(format!("{list}/{entry}/{field}"), value);
            let decision = if grants {
                consent::GRANT
            } else {
                consent::WITHDRAW
            };
            let mut edits = vec![
                consent(consent::OF, &contact.to_string()),
                consent(consent::SCOPE, sensitive.name),
                consent(consent::DECIDED, decision),
                consent(consent::CHANNEL, &channel),
                consent(consent::WORDING, &wording),
                consent(consent::GIVEN_ON, &today),
            ];
            let said = party_status.as_deref().map(str::trim);
            if let Some(said) = said.filter(|said| grants && !said.is_empty()) {
                edits.push(Edit::set(sensitive.key_in(contact), said));
            }
            edited(tx, &identity, record, &edits, around)
        }
        Question::Undo { record, hash } => {
            let moment = around.moment(tx)?;
            let state = tx.record_state(record)?;
            let entry = state
                .outbox
                .iter()
                .find(|entry| entry.hash.to_string() == hash);
            let hash: ChangeHash = entry
                .map(|entry| entry.hash)
                .ok_or(EditError::NoSuchRecord)?;
            saved(
                tx,
                &editing::undo(&author(tx, &identity)?, &state, hash, &moment)?,
            )
        }
        Question::Alike { grid, edits } => {
            let new = card::planned(&grid, &edits).traits();
            let mut alike = Vec::new();
            for card in tx.cards(&CardFilter::default())? {
                let compared =
                    new.compare(&Traits::from_keys(card.keys.iter().map(String::as_str)));
                if compared.is_likely() {
                    let reasons: Vec<_> = compared
                        .reasons
                        .iter()
                        .map(|reason| reason.label(around.lang))
                        .collect();
                    alike.push(json!({ "record": card.record, "title": card.sign_name, "door": card.door(), "reasons": reasons }));
                }
            }
            Ok(json!(alike))
        }
        Question::Create { grid, edits } => {
            let moment = around.moment(tx)?;
            let author = author(tx, &identity)?;
            saved(
                tx,
                &editing::create(&author, Kind::ShopCard, &grid, &edits, &moment)?,
            )
        }
        Question::Visit {
            shop,
            channel,
            outcome,
            topics,
            remark,
            card_version,
        } => {
            let grid = tx
                .record_state(shop)?
                .stored
                .map(|stored| stored.grid)
                .ok_or(EditError::NoSuchRecord)?;
            let at = date::to_minute(DeviceTime::from_unix_ms(around.today(tx)?.unix_ms()));
            let new = NewVisit {
                at,
                channel,
                outcome,
                topics,
                remark: remark.filter(|remark| !remark.trim().is_empty()),
                card_version,
                ..NewVisit::default()
            };
            let moment = around.moment(tx)?;
            let author = author(tx, &identity)?;
            saved(
                tx,
                &editing::create(&author, Kind::Visit, &grid, &new.edits(shop), &moment)?,
            )
        }
        Question::Visits { shop } => visits::of(tx, shop, reader),
        Question::Transfers(question) => transfers::answer(tx, &identity, question, reader, around),
        Question::Outbox => {
            tx.index_missing()?;
            let mut lines = Vec::new();
            for entry in tx.outbox()? {
                let state = tx.record_state(entry.record)?;
                let mut line = shown::entry_shown(&state, &entry, around.lang)?;
                line["title"] = json!(tx.title(entry.record)?);
                lines.push(line);
            }
            Ok(json!(lines))
        }
        Question::Drafts => {
            let drafts = tx.drafts()?;
            Ok(drafts
                .iter()
                .map(|kept| shown::draft(kept, around.lang))
                .collect())
        }
        Question::RetryDraft { id } => {
            let kept = tx.drafts()?.into_iter().find(|kept| kept.id == id);
            let kept = kept.ok_or_else(|| Stopped::Other(Failure::of("no_such_draft")))?;
            let moment = around.moment(tx)?;
            let state = tx.record_state(kept.draft.record)?;
            saved(
                tx,
                &editing::retry(&author(tx, &identity)?, id, &kept.draft, &state, &moment)?,
            )
        }
        Question::DropDraft { id } => Ok(json!(tx.remove_draft(id)?)),
        Question::Notices => {
            tx.index_missing()?;
            let mut kept = tx.notices()?;
            for notice in &mut kept {
                notice.title = tx.title(notice.notice.record)?;
            }
            let fields = Kind::ShopCard;
            let lines = kept.iter().map(|kept| {
                let field = kept.notice.field.as_deref();
                json!({
                    "kind": kept.notice.kind,
                    "record": kept.notice.record,
                    "title": kept.title,
                    "field": field.map(|key| catalogue::label(fields, key, around.lang)),
                    "at": kept.notice.at.unix_ms(),
                    "note": kept.notice.note,
                    "unread": kept.unread,
                })
            });
            Ok(lines.collect())
        }
        Question::NoticesRead => {
            tx.mark_notices_read()?;
            Ok(Value::Null)
        }
        Question::Unsent => Ok(json!(rescue::unsent(tx, around.now)?)),
        Question::TakeIn { unsent } => {
            let taken = rescue::take_in(tx, &unsent)?.map_err(|refused| {
                Stopped::Other(match refused {
                    NotTaken::OtherUser(user) => Failure {
                        message: user,
                        ..Failure::of("other_user")
                    },
                    NotTaken::Damaged => Failure::of("not_a_rescue_file"),
                })
            })?;
            Ok(json!(taken))
        }
        Question::Digest => {
            let mut rows = Vec::new();
            for record in tx.records()? {
                rows.extend(tx.project(record)?);
            }
            let digest = lianka_sync_core::kinds::projection::digest(&rows);
            Ok(json!(ChangeHash(digest).to_string()))
        }
    }
}

fn author<'i>(tx: &Tx<'_>, identity: &'i Identity) -> Result<Author<'i>, StoreError> {
    Ok(Author {
        identity,
        epoch: tx.epoch()?,
    })
}

fn edited(
    tx: &Tx<'_>,
    identity: &Identity,
    record: RecordId,
    edits: &[Edit],
    around: &mut Around<'_>,
) -> Answered {
    let moment = around.moment(tx)?;
    let author = author(tx, identity)?;
    saved(
        tx,
        &editing::edit(&author, &tx.record_state(record)?, edits, &moment)?,
    )
}

fn saved(tx: &Tx<'_>, edited: &Edited) -> Answered {
    tx.apply(&edited.effects)?;
    Ok(json!({ "record": edited.record, "hash": edited.hash }))
}

fn cards(tx: &Tx<'_>, query: Option<String>) -> Answered {
    let filter = CardFilter {
        query,
        ..CardFilter::default()
    };
    let lines = tx.cards(&filter)?.into_iter().map(|card| {
        json!({
            "record": card.record,
            "grid": card.grid,
            "title": card.sign_name.as_ref().or(card.legal_name.as_ref()),
            "door": card.door(),
            "road": card.road,
            "side": card.side,
            "category": card.category,
            "occupancy": card.occupancy,
            "confirmed": card.last_confirmed_on,
            "conflicts": card.conflicts.len(),
            "unreadable": card.unreadable,
            "state": card.place,
        })
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests;
