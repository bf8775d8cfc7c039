//! How far followers have come with a street ([`crate::follow`]).

use std::collections::BTreeSet;

use lianka_sync_core::id::{EntryId, RecordId};

/// How far a street has been followed.
#[derive(Default)]
pub struct Following {
    /// The log up to here holds no late edit that was not carried over.
    pub(crate) late_from: usize,
    /// The log up to here holds no edit of a joined contact person that was not brought over.
    pub(crate) contacts_from: usize,
    /// Requests of which events were ruled on.
    pub(crate) ruled: BTreeSet<RecordId>,
    /// Events that could not be ruled on.
    pub(crate) unruled: BTreeSet<(RecordId, EntryId)>,
    /// Keys whose consent was withdrawn and that could not be cleared.
    pub(crate) uncleared: BTreeSet<(RecordId, String)>,
    /// Records that could not be brought to where they belong.
    pub(crate) unmoved: BTreeSet<RecordId>,
    /// Requests whose fields could not be sealed.
    pub(crate) unsealed: BTreeSet<RecordId>,
}
