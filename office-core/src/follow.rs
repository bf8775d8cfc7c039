//! What follows from accepted changes, in the transaction that accepts them, as ordinary changes by the server.
//!
//! Followers stand in one list and take turns until none of them writes anything more. Nothing here fails a push: what cannot follow stays
//! undone and is reported.

mod late_edits;
pub mod rulings;
pub(crate) mod settlements;
mod withdrawals;

use std::collections::BTreeSet;

use lianka_sync_core::id::{EntryId, RecordId};

pub use late_edits::compose_what_fits;
pub use settlements::op_text;

use crate::{store::Wants, street::Street};

/// Something that follows: what it must know, and what it does once that is known.
struct Follower {
    wants: fn(&Street) -> Wants,
    apply: fn(&mut Street),
}

/// All of them, in their order.
const FOLLOWERS: [Follower; 5] = [
    Follower {
        wants: late_edits::wants,
        apply: late_edits::apply,
    },
    Follower {
        wants: |_| Wants::default(),
        apply: withdrawals::apply,
    },
    Follower {
        wants: rulings::wants,
        apply: rulings::apply,
    },
    Follower {
        wants: rulings::sealing_wants,
        apply: rulings::seal,
    },
    Follower {
        wants: settlements::wants,
        apply: |_| {},
    },
];

/// How far a street has been followed.
#[derive(Default)]
pub struct Following {
    /// The log up to here holds no late edit that was not carried over.
    pub(crate) late_from: usize,
    /// Requests of which events were ruled on.
    ruled: BTreeSet<RecordId>,
    /// Events that could not be ruled on.
    unruled: BTreeSet<(RecordId, EntryId)>,
    /// Keys whose consent was withdrawn and that could not be cleared.
    uncleared: BTreeSet<(RecordId, String)>,
    /// Requests whose fields could not be sealed.
    unsealed: BTreeSet<RecordId>,
}

/// See [`Street::follow`].
pub(crate) fn follow(street: &mut Street) -> Option<Wants> {
    loop {
        let before = street.head();
        for follower in &FOLLOWERS {
            let lacking = street.lacks((follower.wants)(street));
            if !lacking.is_empty() {
                return Some(lacking);
            }
            (follower.apply)(street);
        }
        if street.head() == before {
            return None;
        }
    }
}
