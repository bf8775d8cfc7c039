//! Why nothing was written to a street.

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
        self.is_about_content()
            || matches!(self, Self::NoStreet)
            || self.code().is_some_and(|code| code == LOCK_NOT_AVAILABLE)
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Self::Store(sqlx::Error::Database(error)) => error.code(),
            Self::Store(_) | Self::NoStreet => None,
        }
    }
}

/// Postgres' word for a row that was waited for in vain.
pub const LOCK_NOT_AVAILABLE: &str = "55P03";
