//! SQL of forgetting and of the search for a person.

pub mod persons;
