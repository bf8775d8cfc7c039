//! What a checker says when a promise was broken, and of what.

use std::fmt;

use uuid::Uuid;

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which checker found it; stable, so that a script can be made small while the same thing goes wrong.
    pub promise: &'static str,
    /// What is wrong.
    pub what: String,
    /// What it is about.
    pub about: About,
}

/// Whose story explains a finding.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    pub record: Option<Uuid>,
    /// A value that somebody typed.
    pub value: Option<String>,
    /// A key of the record.
    pub key: Option<String>,
    /// A change.
    pub hash: Option<String>,
}

impl About {
    /// Of a record as a whole.
    pub fn record(record: Uuid) -> Self {
        Self {
            record: Some(record),
            ..Self::default()
        }
    }

    /// Of a key.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Of a value.
    #[must_use]
    pub fn value(mut self, value: &str) -> Self {
        self.value = Some(value.to_owned());
        self
    }

    /// Of a change.
    #[must_use]
    pub fn hash(mut self, hash: &str) -> Self {
        self.hash = Some(hash.to_owned());
        self
    }
}

impl Finding {
    /// A finding.
    pub fn new(promise: &'static str, about: About, what: impl Into<String>) -> Self {
        Self {
            promise,
            what: what.into(),
            about,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}
