//! What of a record is a person's: showing it, copying it, forgetting it.

pub mod erasures;
pub mod forgetting;
pub mod person_export;
pub mod persons;
pub mod store;
