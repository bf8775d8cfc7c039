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

pub mod calendar;
pub mod case;
pub mod form;
pub mod member;
pub mod ruling;
pub mod table;

pub use case::{
    Acceptance, Case, Event, Letter, Next, Responsible, Standing, Task, TaskKind, is_open,
    letter_number,
};
pub use ruling::{
    CROSSINGS, Code, Facts, Outcome, Ruled, Ruling, clock_event, clock_step, lacking, rule,
};
pub use table::{Acting, STATES, STEPS, State, Step, Then, Words};

#[cfg(test)]
mod tests;
