//! Lianka's phone.
//!
//! - [`replica`]: the sans-IO heart, events in and effects out, which also compiles to wasm32; [`card`] what a list shows of a record,
//!   [`lease`] how long it may without the office.
//! - With the feature `native`: [`local_store`], [`outbox`] and [`notices`] keep it all in one `SQLite` file a phone, [`transport`] speaks HTTP, [`phone`]
//!   ties them together, [`terminal`] is a phone for the command line.
//!
//! Invariant of the whole: an edit that the user saw saved is in the file, beside the encoded change that will be sent, and leaves it only
//! when the server answered: accepted, or shown again as a draft. Nothing is dropped silently.

pub mod card;
pub mod lease;
pub mod replica;

#[cfg(feature = "native")]
pub mod clock;
#[cfg(feature = "native")]
pub mod local_store;
#[cfg(feature = "native")]
pub mod notices;
#[cfg(feature = "native")]
pub mod outbox;
#[cfg(feature = "native")]
pub mod phone;
#[cfg(feature = "native")]
pub mod terminal;
#[cfg(feature = "native")]
pub mod transport;

#[cfg(feature = "native")]
pub use phone::{Phone, PhoneError, SyncReport};
