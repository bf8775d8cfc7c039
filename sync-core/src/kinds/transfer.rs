//! 组织关系转接: a transfer of membership as events and rulings.
//!
//! Content is a CRDT; a transfer's state is not: decisions are ordered, not merged. A person appends an event
//! (`events/<event>/…`, naming the event seen last); when it lands, the server rules on it in the order of the street's log and writes the ruling
//! into the record (`rulings/<event>/…`, `state`) as an ordinary change of its own. The phone folds the same record by the same code and shows
//! what has no ruling yet as pending.
//!
//! | module | in → out |
//! |---|---|
//! | [`table`] | the state machine as data: states, steps, who, needs, limits, words |
//! | [`form`] | an event about to be written → whether its author may, and whether it is whole |
//! | [`case`] | a record's view → where the transfer stands ([`Case`]) |
//! | [`outcome`] | what a ruling says, and its keys in the record |
//! | [`ruling`] | case, event, server's time, facts → [`Ruling`] |
//! | [`calendar`] | days and limits in China's time zone |
//! | [`member`] | who two requests are of: the same member, perhaps |
//!
//! Invariants, for every sequence of events (a property test):
//! - the responsible organisation is exactly one, and the origin until an acceptance is in force;
//! - accepted only from `arrived` or `archive_check`, or by a ruling on a contest in which an acceptance had crossed a withdrawal;
//! - one live letter; a number once used in a request is never live in it again;
//! - what is over stays over, but for an acceptance that crossed the withdrawal;
//! - the same events and rulings give the same case, in whatever order they are read.

use crate::id::EntryId;

pub mod calendar;
pub mod case;
pub mod form;
pub mod member;
pub mod outcome;
pub mod ruling;
pub mod table;

/// What people did, event by event.
pub const EVENTS: &str = "events";
/// What was done.
const TYPE: &str = "type";
/// The newest event that its author had seen.
const SEEN: &str = "seen";

/// The key that marks a field as kept by the office alone.
pub fn sealed_key(field: &str) -> String {
    format!("sealed/{field}")
}

/// The key of a field of an event.
pub fn event_key(event: EntryId, field: &str) -> String {
    format!("{EVENTS}/{event}/{field}")
}

/// The keys and values of an event, whole.
pub fn event_keys<'f>(
    event: EntryId,
    step: Step,
    seen: Option<EntryId>,
    fields: impl IntoIterator<Item = (&'f str, &'f str)>,
) -> Vec<(String, String)> {
    let mut keys = vec![(event_key(event, TYPE), step.to_string())];
    keys.extend(seen.map(|seen| (event_key(event, SEEN), seen.to_string())));
    let fields = fields.into_iter();
    keys.extend(fields.map(|(name, value)| (event_key(event, name), value.to_owned())));
    keys
}

pub use case::{
    Acceptance, Case, CaseStatus, Event, Letter, Next, Responsible, Task, TaskKind, is_open,
    letter_key, letter_number, written,
};
pub use outcome::{Code, Outcome, Ruled, Ruling};
pub use ruling::{CROSSINGS, Facts, clock_event, clock_step, lacking, rule};
pub use table::{Acting, STATES, STEPS, State, Step, Then, Words};

#[cfg(test)]
mod tests;
