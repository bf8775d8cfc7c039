//! Lianka's phone on a machine of its own: what `lianka_client_core` decides, carried out.
//!
//! [`local_store`] keeps everything in `SQLite`, [`local_file`] makes that one file a phone, [`transport`] speaks HTTP, [`phone`] ties them
//! together, [`terminal`] is a phone for the command line.
//!
//! Invariant of the whole: an edit that the user saw saved is in the file, beside the encoded change that will be sent, and leaves it only
//! when the server answered: accepted, or shown again as a draft. Nothing is dropped silently.

pub mod clock;
pub mod phone;
pub mod rescue_file;
pub mod terminal;
pub mod transport;

pub use lianka_client_local::{local_file, local_store};
pub use phone::{Phone, PhoneError, SyncReport};
