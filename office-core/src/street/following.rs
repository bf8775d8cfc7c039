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

impl Following {
    /// Entries of this write's log went, which stood at these places: whoever had passed them stands so much earlier.
    pub(crate) fn dropped(&mut self, gone: &[usize]) {
        for from in [&mut self.late_from, &mut self.contacts_from] {
            *from -= passed(gone, *from);
        }
    }
}

/// How many of the places lie before this one.
pub(crate) fn passed(gone: &[usize], from: usize) -> usize {
    gone.iter().filter(|at| **at < from).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_in_the_log_moves_with_what_goes_before_it() {
        let mut following = Following {
            late_from: 3,
            contacts_from: 5,
            ..Following::default()
        };
        following.dropped(&[1, 2, 4, 7]);
        assert_eq!((following.late_from, following.contacts_from), (1, 2));
    }
}
