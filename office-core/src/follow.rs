//! What follows from accepted changes, in the transaction that accepts them, as ordinary changes by the server.
//!
//! Followers stand in one list and take turns until none of them writes anything more. Nothing here fails a push: what cannot follow stays
//! undone and is reported.

mod belongings;
mod late_contacts;
mod late_edits;
pub mod rulings;
mod settlements;
mod withdrawals;

pub use settlements::op_text;

use crate::{
    store::{Wants, Writes},
    street::Street,
};

/// Something that follows: what it must know, and what it does once that is known.
struct Follower {
    wants: fn(&Street) -> Wants,
    apply: fn(&mut Street),
}

/// All of them, in their order.
const FOLLOWERS: [Follower; 7] = [
    Follower {
        wants: late_edits::wants,
        apply: late_edits::apply,
    },
    Follower {
        wants: late_contacts::wants,
        apply: late_contacts::apply,
    },
    Follower {
        wants: belongings::wants,
        apply: belongings::apply,
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

/// Lets follow what follows from what was accepted. What must be known before it can go on; `None`: all of it has followed.
pub fn follow(street: &mut Street) -> Option<Wants> {
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

/// Everything that is to be written, once everything has followed.
pub fn finish(mut street: Street) -> Writes {
    settlements::write(&mut street);
    street.finish()
}
