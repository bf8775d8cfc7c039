//! Lianka sync core.
#![deny(missing_docs)]

pub mod id;
pub mod time;
