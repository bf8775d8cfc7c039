//! What the office told this user and no record says.

use lianka_sync_core::codec::wire::Notice;
use serde::Serialize;

/// Notices kept; the oldest go first.
pub const KEPT_MAX: usize = 500;

/// A notice as the store keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KeptNotice {
    /// What people call the record, where the phone knows it.
    pub title: Option<String>,
    /// Whether the user has not looked at it yet.
    pub unread: bool,
    /// The notice.
    #[serde(flatten)]
    pub notice: Notice,
}
