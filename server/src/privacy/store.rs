//! SQL of forgetting and of the search for a person.

pub mod forgetting;
pub mod persons;
