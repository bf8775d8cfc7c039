//! What a phone decides, pure: one enrolled device in one street. Events in, effects out; it also compiles to wasm32.
//!
//! In: what is stored of the record concerned ([`record`]), who the user is ([`identity`]), and the event: an edit ([`editing`]) or an item of the
//! office's answer ([`exchange`]). Out: [`effect`]s, which the store carries out in **one** transaction. No clock, no randomness, no file
//! and no socket is touched here: [`Moment`] brings time and entropy.
//!
//! [`session`] is a whole synchronisation as a state machine, over two ports: [`store`] keeps what the phone holds, [`link`] is what is asked of
//! the office. `rebase` is the way back from a refusal, `heal` from an office that lost what it had; [`card`] and [`transfer`] are
//! what a list shows of a record, [`rescue`] carries unsent edits to another phone, [`lease`] how long a phone may go on without the office.
//!
//! Invariants:
//! - an edit is saved ⇔ its change is in the outbox ⇔ the phone's own copy of the record contains it;
//! - the copy of a record is: snapshot, then the tail of changes after it, then the phone's own changes still in the outbox. The tail
//!   keeps the phone's own accepted changes too, because the office does not send them back;
//! - an outbox entry goes away only by an answer: accepted, or turned into other entries or a [`Draft`] by a rebase;
//! - an epoch is stored before, or together with, the first change written under it.

pub mod card;
pub mod document;
pub mod editing;
pub mod effect;
pub mod exchange;
mod heal;
pub mod identity;
pub mod lease;
pub mod link;
pub mod notice;
mod rebase;
pub mod record;
pub mod redact;
pub mod rescue;
pub mod session;
pub mod store;
pub mod transfer;

pub use document::{Opened, open};
pub use editing::{EditError, Edited, Filing, create, edit, retry};
pub use effect::Effect;
pub use exchange::{Acknowledged, Holdings, Known, ProtocolError, Request, Synchronisation, Tally};
pub use identity::{Author, Grid, Identity, Moment};
pub use notice::KeptNotice;
pub use record::{
    Draft, KeptDraft, NewestOwn, OutboxEntry, OutboxState, Reason, RecordState, StoredRecord,
    TailChange,
};
