//! SQL of a street: records, log, read models, geography.

pub mod calendars;
pub mod card_merges;
pub mod contact_joins;
pub mod erasures;
pub mod held_changes;
pub mod history;
pub mod log_tail;
pub mod read_models;
pub mod records;
pub mod resolutions;
pub mod streets;
pub mod transfers;
pub mod trimmed;
