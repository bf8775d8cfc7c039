//! Who asks, and in which street they may work.

use axum::{extract::FromRequestParts, http::request};
use lianka_office_core::acts::Desk;
use lianka_sync_core::{
    access::Role,
    id::{DeviceId, StreetCode},
};

use crate::{
    audit::{Action, Event},
    auth::store::devices::Standing,
    http::error::{ApiError, ErrorCode},
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
    pub(super) fn new(username: String, device: DeviceId, standing: Standing) -> Self {
        Self {
            username,
            role: standing.role,
            device,
            home_street: standing.home_street,
            wipe: standing.revoked && standing.wipe,
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
    pub fn in_street(&self, street: &StreetCode) -> Result<StreetScope, ApiError> {
        match &self.home_street {
            Some(home) if home != street => Err(ApiError::new(ErrorCode::WrongStreet)),
            _ => Ok(StreetScope {
                street: street.clone(),
            }),
        }
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

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::internal("a Principal was asked for on a route open to anyone")
        })
    }
}

impl<S: Sync> FromRequestParts<S> for StreetScope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::internal("a StreetScope was asked for on a route without {street}")
        })
    }
}
