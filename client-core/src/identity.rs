//! Who a phone is, who signs a change, and what an event brings along.

use lianka_sync_core::{
    access::Role,
    authority::Said,
    codec::change::Change,
    id::{Actor, DeviceId, StreetCode},
    lang::Lang,
    time::{DeviceTime, ServerTime},
};
use serde::{Deserialize, Serialize};

/// A grid the user works.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grid {
    /// Its code: what a record's `grid` field holds.
    pub grid: String,
    /// What people call it.
    pub name: String,
    /// The area it belongs to.
    pub area: String,
}

/// Who this phone is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// This enrolment.
    pub device: DeviceId,
    /// The account.
    pub username: String,
    /// The person.
    pub display_name: String,
    /// What the account may do.
    pub role: Role,
    /// The street this phone works in.
    pub street: StreetCode,
    /// Its name.
    pub street_name: String,
    /// The user's grids there, as last told.
    pub grids: Vec<Grid>,
    /// What this phone was enrolled as before: a server put back from a backup may have lost what was written under those names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_devices: Vec<DeviceId>,
}

/// Who writes: the identity, and the epoch that the phone's changes are signed with now.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// The phone's epoch.
    pub epoch: u32,
}

impl Author<'_> {
    /// The actor that signs a change.
    pub fn actor(&self) -> Actor {
        Actor::new(self.identity.device, self.epoch)
    }

    /// Whether this phone wrote it, under its present name or a former one.
    pub(crate) fn wrote(&self, change: &Change) -> bool {
        let device = change.actor.device();
        device == self.identity.device || self.identity.former_devices.contains(&device)
    }
}

/// What an event brings along from outside.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The phone's clock.
    pub now: DeviceTime,
    /// The office's, as far as the phone can tell ([`crate::store::LastSync::office_time`]).
    pub office: Option<ServerTime>,
    /// Fresh for every event.
    pub entropy: [u8; 16],
    /// Language of messages that are kept.
    pub lang: Lang,
}

impl Moment {
    /// How near to today days must lie.
    pub(crate) fn said(&self) -> Said {
        match self.office {
            Some(at) => Said::OnPhone {
                at,
                clock: Some(self.now),
            },
            None => Said::Somewhen,
        }
    }
}
