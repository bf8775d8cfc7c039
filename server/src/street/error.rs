//! Why nothing was written to a street.

use std::sync::Arc;

use lianka_office_core::acts::Refused;

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error("there is no such street")]
    NoStreet,
}

impl MergeError {
    /// Whether the store took exception to what was written, so that the same batch would fail again: a constraint, a value out of range.
    pub fn is_about_content(&self) -> bool {
        self.code().is_some_and(|code| {
            ["21", "22", "23", "54"]
                .iter()
                .any(|class| code.starts_with(class))
        })
    }

    /// Whether it says nothing against writing to another street or record: what was written, or a row that somebody holds for too long. A pass
    /// over many of them goes on.
    pub fn is_about_one_record(&self) -> bool {
        self.is_about_content() || matches!(self, Self::NoStreet) || self.is_about_a_lock()
    }

    /// Whether somebody held a row for too long.
    pub fn is_about_a_lock(&self) -> bool {
        self.code().is_some_and(|code| code == LOCK_NOT_AVAILABLE)
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Self::Store(sqlx::Error::Database(error)) => error.code(),
            Self::Store(_) | Self::NoStreet => None,
        }
    }
}

/// Postgres' word for a row that was waited for in vain.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Why a push was not merged.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("too many pushes wait for the street")]
    Full,
    #[error("the server stops")]
    Stopping,
    /// With it all pushes that were to be committed together; each phone keeps its changes and sends them again.
    #[error("the batch was not committed")]
    Batch(#[source] Arc<MergeError>),
}

/// Why an act came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<sqlx::Error> for ActError {
    fn from(error: sqlx::Error) -> Self {
        Self::Merge(error.into())
    }
}
