//! Who may call a route, and for how long it may make them wait.
//!
//! [`gate`](fn@super::gate) enforces it, the `OpenAPI` document shows it, and the tests walk all of it with tokens of other roles and streets. A path
//! with `{street}` is besides open only to principals of that street.

use axum::http::Method;
use lianka_sync_core::access::Role::{self, Admin, Auditor, Officer, Reviewer, Secretary};

/// Who a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// No token is looked at.
    Anyone,
    /// These roles.
    Roles(&'static [Role]),
}

impl Who {
    pub const ADMIN: Self = Self::Roles(&[Admin]);
    pub const AUDITORS: Self = Self::Roles(&[Admin, Auditor]);
    pub const OFFICE: Self = Self::Roles(&[Reviewer, Admin]);
    pub const EVERY_ROLE: Self = Self::Roles(&[Secretary, Reviewer, Officer, Admin, Auditor]);
    pub const ROLL_READERS: Self = Self::Roles(&[Secretary, Reviewer, Admin, Auditor]);
    pub const DUPLICATE_READERS: Self = Self::Roles(&[Reviewer, Admin, Auditor]);
    pub const REVIEWER: Self = Self::Roles(&[Reviewer]);
    pub const TRANSFER_READERS: Self = Self::Roles(&[Reviewer, Officer]);
    pub const OFFICER: Self = Self::Roles(&[Officer]);

    pub(super) fn is_anyone(self) -> bool {
        self == Self::Anyone
    }

    /// Whether the role is among them.
    pub fn admits(self, role: Role) -> bool {
        match self {
            Self::Anyone => true,
            Self::Roles(roles) => roles.contains(&role),
        }
    }
}

/// In what time an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// As any request.
    Quick,
    /// It takes long by its nature, or bounds its own work.
    Long,
}

/// What a route's row says of it.
#[derive(Clone, Debug)]
pub struct Rule {
    pub method: Method,
    /// As the router writes it.
    pub path: String,
    pub who: Who,
    /// Whether a revoked device that is to be wiped still gets in: it must be able to hand over its changes and be told.
    pub wiped_devices: bool,
    pub time: Time,
}
