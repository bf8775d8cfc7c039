//! Acts of the office: who acts and what is wanted in, a result or a typed refusal out.
//!
//! An act says what it must know of the street, is given it, and decides once.

pub mod merge_cards;

use lianka_sync_core::{access::Role, id::DeviceId};

use crate::{
    audit::{Action, Event},
    store::Wants,
    street::{Signer, Street},
};

/// One decision over a street.
pub trait Act {
    /// What it comes to.
    type Done;
    /// Why nothing is done.
    type Refused;

    /// What must be known before it can be decided, given what is known. What is known already may be among it.
    fn wants(&self, street: &Street) -> Wants;

    /// Decides, once everything wanted is known. A refusal leaves nothing to write.
    fn decide(self, street: &mut Street) -> Result<Self::Done, Self::Refused>;
}

/// Who acts: an account at a desk.
#[derive(Clone, Debug)]
pub struct Desk {
    pub username: String,
    pub device: DeviceId,
    pub role: Role,
}

impl Desk {
    /// In whose name it writes.
    pub fn signer(&self) -> Signer {
        Signer::desk(self.device, self.role)
    }

    /// What the audit trail says of an act.
    pub fn event(&self, action: Action) -> Event {
        Event::by(&self.username, self.device, action)
    }
}
