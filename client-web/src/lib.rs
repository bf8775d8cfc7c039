//! The phone in a browser: what `lianka_client_core` decides, carried out in a worker over `SQLite` on the private file system of the page's origin.
//!
//! [`phone`] answers the page's questions, [`exchange`] walks a synchronisation whose requests the worker's `fetch` carries, [`catalogue`] and
//! [`shown`] say what there is to show, `worker` is the door to JavaScript. Time and randomness come in as arguments.
//!
//! Invariant: what the page calls saved was committed, as on every other phone.

pub mod catalogue;
pub mod exchange;
pub mod failure;
pub mod phone;
pub mod shown;
#[cfg(target_family = "wasm")]
pub mod worker;
