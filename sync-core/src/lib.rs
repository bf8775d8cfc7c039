//! Lianka's pure core: what a record is, which bytes may become part of one, how concurrent edits merge, and what goes over the wire.
//!
//! Values go in, values come out. The server, the phone and a browser run the very same code, so that what one refuses the other refuses too.
//!
//! # The way of a change
//!
//! | stage | module | in → out |
//! |---|---|---|
//! | write | [`crdt::record`] | edits of a person → a [`codec::change::Change`] |
//! | INGEST | [`codec::wire`], [`codec::change`] | bytes from the network → a change that passed the gate, or why not |
//! | MERGE | [`crdt::merge`], with [`authority`] and [`kinds`] | stored state + change → accepted, duplicate, or a refusal |
//! | PROJECT | [`crdt::view`], [`kinds::projection`] | a record's state → typed rows |
//! | RESPOND | [`codec::cursor`] | where a phone stands → what it still lacks |
//!
//! Beside them: [`id`], [`key`] and [`time`] (newtypes), [`access`] (who writes), [`limits`] (every maximum), [`values`] (what a value means), [`search`] (keys to find a card by),
//! [`kinds::duplicate`] (which cards may be one shop), [`crdt::conflict`] (which are harmless, which a change settles), [`lang`] (zh or en).
//!
//! # Glossary
//!
//! - **Record**: one card or transfer request; one Automerge document with flat keys. **Kind**: which of them. **Generation**: which document,
//!   counted from 1.
//! - **Key**: where one value stands (`sign_name`, `tags/late_night`, `contacts/<entry>/phones`). **Field**: the row of the catalogue that a key
//!   belongs to. **Entry**: one member of a collection, by a UUID. **Note**: the only Text object.
//! - **Device**: one enrolment of one user. **Actor**: a device and its **epoch**, 20 bytes; the author of a change.
//! - **Change**: what a device wrote at once, atomic, known by its SHA-256. **Operation**: one write in it, known by counter and actor.
//!   **Predecessor**: the operation that another one replaces.
//! - **Register**: what a key holds: every **visible** value, that is every put that no later operation replaced. The highest operation id **wins**.
//! - **Conflict**: a field that keeps concurrent values, and whose visible values differ.
//! - **Verdict**: accepted, duplicate, held (a reviewer decides), or rejected with a code.
//! - **Street**: the tenant, and the unit of order: its log numbers every accepted change. **Grid**: who works a record. **Scope**: the grids of a user.
//!
//! # Invariants
//!
//! - Nothing from the network reaches Automerge before [`codec::change::decode`] has passed it, and what passes never panics, hangs or spoils a record.
//! - A change is atomic: one refused operation refuses it whole and leaves the state as it was.
//! - The fold of [`crdt::merge`] and Automerge's reading of the document give the same [`crdt::view::View`]; so does any order, repetition and partition of the
//!   same changes.
//! - Rows are a function of the view alone: projecting step by step equals projecting once.
//! - What the catalogue forbids is refused by [`authority::check_write`], on the phone before it is written and on the server when it arrives.
//! - Bytes on the wire are frozen in `codec/wire/fixtures`: phones in the field must go on understanding them.
//!
//! # Deliberately absent
//!
//! - Files, sockets, threads, SQL, async, logging, clocks and randomness. `now` and entropy are arguments. `tests/tidy.rs` looks for them.
//! - Automerge's sync protocol: it trusts its peer, and a peer here is told what it may have.
//! - Lists, nested maps, counters and marks within a record (docs/decisions/0001-flat-records.md, docs/decisions/0007-no-counters-yet.md).
//! - Any order within a collection beyond that of entry ids.
//! - Deciding by merge: a transfer's state is ruled on by the server in the order of its log ([`kinds::transfer`]), and comes down as a record's content.
#![deny(missing_docs)]

pub mod access;
pub mod authority;
pub mod codec;
pub mod crdt;
pub mod id;
pub mod key;
pub mod kinds;
pub mod lang;
pub mod limits;
pub mod search;
pub mod time;
pub mod values;
