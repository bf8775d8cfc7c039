//! Who asks, and in which street they may work.

use lianka_office_core::acts::Desk;
use lianka_sync_core::{
    access::Role,
    id::{DeviceId, StreetCode},
};

use crate::{
    audit::{Action, Event},
    auth::{error::AuthError, store::devices::DeviceStatus},
};

/// Who asks. Taken by a handler as an extractor; only [`gate`](fn@super::gate) makes one.
#[derive(Clone, Debug)]
pub struct Principal {
    username: String,
    role: Role,
    device: DeviceId,
    home_street: Option<StreetCode>,
    wipe: bool,
}

impl Principal {
    /// As the store knows account and device now.
    pub(super) fn new(username: String, device: DeviceId, status: DeviceStatus) -> Self {
        Self {
            username,
            role: status.role,
            device,
            home_street: status.home_street,
            wipe: status.revoked && status.wipe,
        }
    }

    /// As whoever acts at a desk.
    pub fn desk(&self) -> Desk {
        Desk {
            username: self.username.clone(),
            device: self.device,
            role: self.role,
        }
    }

    /// The account's name.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The account's role now.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The phone or desk that asks: the only device whose changes it may send.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The only street of the account; `None`: every street of the deployment.
    pub fn home_street(&self) -> Option<&StreetCode> {
        self.home_street.as_ref()
    }

    /// The device is revoked and to be wiped: its changes are held, it gets no data. Seen only on routes that the row of the route opens to it.
    pub fn wipe(&self) -> bool {
        self.wipe
    }

    /// What the principal did, for the audit trail.
    pub fn did(&self, action: Action) -> Event {
        Event::by(&self.username, self.device, action)
    }

    /// The right to work in `street`, or `wrong_street`, whether or not there is such a street.
    pub fn in_street(&self, street: &StreetCode) -> Result<StreetScope, AuthError> {
        match &self.home_street {
            Some(home) if home != street => Err(AuthError::WrongStreet),
            _ => Ok(StreetScope {
                street: street.clone(),
            }),
        }
    }
}

/// Refuses a device that has no business here any more. One that is to be wiped has, even when its user is gone: it must hand over its
/// changes and be told.
pub(super) fn admit(status: &DeviceStatus) -> Result<(), AuthError> {
    match status {
        DeviceStatus {
            revoked: true,
            wipe: true,
            ..
        } => Ok(()),
        DeviceStatus { disabled: true, .. } => Err(AuthError::AccountDisabled),
        DeviceStatus { revoked: true, .. } => Err(AuthError::DeviceRevoked),
        _ => Ok(()),
    }
}

/// Proof that the principal may work in this street.
#[derive(Clone, Debug)]
pub struct StreetScope {
    street: StreetCode,
}

impl StreetScope {
    /// The street.
    pub fn street(&self) -> &StreetCode {
        &self.street
    }
}
