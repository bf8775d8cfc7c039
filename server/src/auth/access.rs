//! Who may call what: one row for every route.
//!
//! [`gate`](super::gate) enforces the table, the `OpenAPI` document shows it, and the tests walk it with tokens of other roles and streets. A
//! path with `{street}` is besides open only to principals of that street.

use axum::http::Method;
use lianka_sync_core::access::Role;
use lianka_sync_core::access::Role::{Admin, Auditor, Officer, Reviewer, Secretary};

/// Who a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// No token is looked at.
    Anyone,
    /// These roles.
    Roles(&'static [Role]),
}

impl Who {
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

/// A row of the table.
#[derive(Debug)]
pub struct Access {
    pub method: Method,
    /// As the router writes it.
    pub path: &'static str,
    pub who: Who,
    /// Whether a revoked device that is to be wiped still gets in: it must be able to hand over its changes and be told.
    pub wiped_devices: bool,
}

const fn row(method: Method, path: &'static str, who: Who) -> Access {
    Access {
        method,
        path,
        who,
        wiped_devices: false,
    }
}

const ANYONE: Who = Who::Anyone;
const ADMIN: Who = Who::Roles(&[Admin]);
const AUDITORS: Who = Who::Roles(&[Admin, Auditor]);
const OFFICE: Who = Who::Roles(&[Reviewer, Admin]);
const EVERY_ROLE: Who = Who::Roles(&[Secretary, Reviewer, Officer, Admin, Auditor]);

const ROLL_READERS: Who = Who::Roles(&[Secretary, Reviewer, Admin, Auditor]);

const DUPLICATE_READERS: Who = Who::Roles(&[Reviewer, Admin, Auditor]);
const REVIEWER: Who = Who::Roles(&[Reviewer]);

const TRANSFER_READERS: Who = Who::Roles(&[Reviewer, Officer]);
const OFFICER: Who = Who::Roles(&[Officer]);

/// Every route of the server.
pub const ACCESS: &[Access] = &[
    // Signing in
    row(Method::POST, "/v1/devices", ANYONE),
    row(Method::POST, "/v1/sessions", ANYONE),
    row(Method::DELETE, "/v1/sessions", EVERY_ROLE),
    row(Method::POST, "/v1/tokens", ANYONE),
    row(Method::GET, "/.well-known/jwks.json", ANYONE),
    row(Method::POST, "/v1/enrolments", ADMIN),
    // Devices
    row(Method::GET, "/v1/devices", ADMIN),
    row(Method::DELETE, "/v1/devices/{device}", ADMIN),
    // Accounts
    row(Method::POST, "/v1/users", ADMIN),
    row(Method::GET, "/v1/users", ADMIN),
    row(Method::PATCH, "/v1/users/{username}", ADMIN),
    // Their own; an admin's also those of others.
    row(Method::PUT, "/v1/users/{username}/password", EVERY_ROLE),
    // Streets
    row(Method::POST, "/v1/streets", ADMIN),
    row(Method::GET, "/v1/streets", EVERY_ROLE),
    row(Method::GET, "/v1/streets/{street}", EVERY_ROLE),
    row(Method::POST, "/v1/streets/{street}/grids", ADMIN),
    row(Method::GET, "/v1/streets/{street}/grids", EVERY_ROLE),
    row(Method::POST, "/v1/streets/{street}/roads", ADMIN),
    row(Method::GET, "/v1/streets/{street}/roads", EVERY_ROLE),
    row(
        Method::PUT,
        "/v1/streets/{street}/assignments/{username}",
        ADMIN,
    ),
    row(
        Method::GET,
        "/v1/streets/{street}/assignments/{username}",
        ADMIN,
    ),
    // Sync
    // Whoever has unsent edits may hand them over, whatever their role is by now; records are sent to those alone who edit them.
    Access {
        method: Method::POST,
        path: "/v1/streets/{street}/sync",
        who: EVERY_ROLE,
        wiped_devices: true,
    },
    // The merged roll
    row(Method::POST, "/v1/streets/{street}/imports", ADMIN),
    row(Method::GET, "/v1/streets/{street}/cards", ROLL_READERS),
    row(
        Method::GET,
        "/v1/streets/{street}/records/{record}",
        ROLL_READERS,
    ),
    row(
        Method::GET,
        "/v1/streets/{street}/records/{record}/history",
        ROLL_READERS,
    ),
    row(Method::GET, "/v1/streets/{street}/cards.xlsx", ROLL_READERS),
    row(Method::GET, "/v1/streets/{street}/cards.csv", ROLL_READERS),
    // Everything held about one person
    row(Method::GET, "/v1/streets/{street}/persons", ADMIN),
    row(Method::GET, "/v1/streets/{street}/persons.xlsx", ADMIN),
    // Duplicates
    row(
        Method::GET,
        "/v1/streets/{street}/duplicates",
        DUPLICATE_READERS,
    ),
    row(
        Method::POST,
        "/v1/streets/{street}/duplicates/{pair}/merge",
        REVIEWER,
    ),
    row(
        Method::POST,
        "/v1/streets/{street}/duplicates/{pair}/dismiss",
        REVIEWER,
    ),
    row(
        Method::GET,
        "/v1/streets/{street}/merges",
        DUPLICATE_READERS,
    ),
    row(
        Method::POST,
        "/v1/streets/{street}/merges/{merge}/undo",
        REVIEWER,
    ),
    // The audit trail
    row(Method::GET, "/v1/streets/{street}/audit", AUDITORS),
    row(Method::GET, "/v1/streets/{street}/audit/verify", AUDITORS),
    row(Method::GET, "/v1/audit", AUDITORS),
    row(Method::GET, "/v1/audit/verify", AUDITORS),
    // Review
    row(Method::POST, "/v1/streets/{street}/records", OFFICE),
    row(
        Method::POST,
        "/v1/streets/{street}/records/{record}/edits",
        OFFICE,
    ),
    row(
        Method::POST,
        "/v1/streets/{street}/records/{record}/resolutions",
        REVIEWER,
    ),
    row(Method::GET, "/v1/streets/{street}/conflicts", REVIEWER),
    row(
        Method::POST,
        "/v1/streets/{street}/conflicts/resolutions",
        REVIEWER,
    ),
    row(
        Method::POST,
        "/v1/streets/{street}/conflicts/resolutions/{bulk}/undo",
        REVIEWER,
    ),
    row(Method::GET, "/v1/streets/{street}/resolutions", REVIEWER),
    row(
        Method::POST,
        "/v1/streets/{street}/resolutions/{resolution}/undo",
        REVIEWER,
    ),
    // Transfers
    row(
        Method::GET,
        "/v1/streets/{street}/transfers",
        TRANSFER_READERS,
    ),
    row(
        Method::GET,
        "/v1/streets/{street}/transfers/{record}",
        TRANSFER_READERS,
    ),
    row(
        Method::POST,
        "/v1/streets/{street}/transfers/{record}/events",
        OFFICER,
    ),
    // Grids, held changes, forgetting
    row(Method::POST, "/v1/streets/{street}/moves", OFFICE),
    row(Method::GET, "/v1/streets/{street}/held", OFFICE),
    row(
        Method::POST,
        "/v1/streets/{street}/held/{held}/accept",
        OFFICE,
    ),
    row(
        Method::POST,
        "/v1/streets/{street}/held/{held}/refuse",
        OFFICE,
    ),
    row(Method::GET, "/v1/streets/{street}/erasures", AUDITORS),
    row(
        Method::POST,
        "/v1/streets/{street}/records/{record}/erase",
        ADMIN,
    ),
    row(
        Method::POST,
        "/v1/streets/{street}/records/{record}/redact",
        ADMIN,
    ),
    // Operation
    row(Method::GET, "/healthz", ANYONE),
    row(Method::GET, "/readyz", ANYONE),
    // Documentation
    row(Method::GET, "/v1/openapi.json", ANYONE),
    row(Method::GET, "/v1/docs", ANYONE),
    row(Method::GET, "/v1/docs/page.js", ANYONE),
];

/// The row for a request; `HEAD` is held to the row of `GET`, as the router answers it.
pub fn rule(method: &Method, path: &str) -> Option<&'static Access> {
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    ACCESS
        .iter()
        .find(|row| row.method == *method && row.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_stands_twice() {
        for (n, row) in ACCESS.iter().enumerate() {
            assert!(
                ACCESS[..n]
                    .iter()
                    .all(|other| (&other.method, other.path) != (&row.method, row.path)),
                "{} {}",
                row.method,
                row.path
            );
        }
    }
}
