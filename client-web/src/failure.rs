//! Why something was not done, as the page shows it: a stable code, and the core's own words where it has some.

use lianka_client_core::{EditError, session::SessionError};
use lianka_client_local::local_store::StoreError;
use lianka_sync_core::{kinds::Kind, lang::Lang};
use serde::Serialize;

use crate::catalogue::label;

/// Why something was not done.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Failure {
    /// A stable code, which the page has a sentence for.
    pub code: String,
    /// More, in the user's language or for an admin.
    pub message: String,
    /// The key it is about, where there is one.
    pub key: Option<String>,
}

impl Failure {
    /// By its code alone.
    pub fn of(code: &str) -> Self {
        Self {
            code: code.into(),
            ..Self::default()
        }
    }

    /// An edit that was not saved.
    pub fn edit(error: &EditError, lang: Lang) -> Self {
        let key = match error {
            EditError::Field { key, .. } => Some(key.clone()),
            _ => None,
        };
        let message = match error {
            // The sheet names the field already.
            EditError::Field { error, .. } => error.message(lang),
            EditError::Transfer {
                code,
                key: Some(key),
                ..
            } => format!(
                "{}: {}",
                code.words().text(lang),
                label(Kind::TransferRequest, key, lang)
            ),
            EditError::Transfer { code, .. } => code.words().text(lang).to_owned(),
            other => other.message(lang),
        };
        Self {
            code: error.code().into(),
            message,
            key,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Busy => "busy",
            StoreError::NotEnrolled | StoreError::Missing(_) => "not_enrolled",
            StoreError::Wiped(_) => "wiped",
            StoreError::Newer => "newer",
            error if error.is_full() => "full",
            _ => "store",
        };
        Self {
            code: code.into(),
            message: error.to_string(),
            key: None,
        }
    }
}

impl From<SessionError<StoreError>> for Failure {
    fn from(error: SessionError<StoreError>) -> Self {
        let (code, message) = match error {
            SessionError::Store(error) => return error.into(),
            SessionError::Link(error) => (error.code().to_owned(), error.to_string()),
            SessionError::Protocol(error) => ("protocol".to_owned(), error.to_string()),
            SessionError::SignedOut(problem) => ("signed_out".to_owned(), problem.title),
            SessionError::NoStreet(_) => ("no_street".to_owned(), String::new()),
            SessionError::OtherUser(user) => ("other_user".to_owned(), user),
            SessionError::OutOfTurn => ("cut".to_owned(), String::new()),
        };
        Self {
            code,
            message,
            key: None,
        }
    }
}
