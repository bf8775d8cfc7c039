//! The link to the office as the phone's decisions see it: what is asked, what comes back, and how it fails.
//!
//! No socket and no future stands here. An adapter sends a [`Call`] as a `POST` and brings its answer: HTTP, a browser's `fetch`, a simulation.

use std::{sync::Arc, time::Duration};

use lianka_sync_core::{
    access::Role,
    codec::wire::{Encoding, WireError},
    id::{DeviceId, StreetCode},
};
use serde::{Deserialize, Serialize};

use crate::{Grid, Request};

/// Longest time an office can tell this phone to wait.
const RETRY_AFTER_SECONDS_MAX: u64 = 120;
/// What an adapter reads of a JSON answer, in bytes.
pub const JSON_BYTES_MAX: usize = 1024 * 1024;

/// A request to the office.
#[derive(Clone, Debug)]
pub enum Call {
    /// Spends an enrolment code.
    Enrol {
        /// The code.
        code: String,
        /// What the owner calls the phone.
        name: String,
        /// For example `terminal`.
        platform: String,
    },
    /// Exchanges a refresh token.
    Renew {
        /// The token.
        refresh_token: String,
    },
    /// Sends and asks for changes.
    Synchronise {
        /// The street.
        street: StreetCode,
        /// For the Authorization header.
        access_token: String,
        /// The items.
        request: Arc<Request>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'c> {
    Enrol {
        code: &'c str,
        name: &'c str,
        platform: &'c str,
    },
    Renew {
        refresh_token: &'c str,
    },
}

impl Call {
    /// Below the server's base address.
    pub fn path(&self) -> String {
        match self {
            Self::Enrol { .. } => "/v1/devices".to_owned(),
            Self::Renew { .. } => "/v1/tokens".to_owned(),
            Self::Synchronise { street, .. } => format!("/v1/streets/{street}/sync"),
        }
    }

    /// Of the body; what answers a synchronisation is asked for as the same.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Enrol { .. } | Self::Renew { .. } => "application/json",
            Self::Synchronise { .. } => Encoding::CborSeq.media_type(),
        }
    }

    /// For the Authorization header.
    pub fn access_token(&self) -> Option<&str> {
        match self {
            Self::Enrol { .. } | Self::Renew { .. } => None,
            Self::Synchronise { access_token, .. } => Some(access_token),
        }
    }

    /// The body, not packed.
    pub fn body(&self) -> Result<Vec<u8>, LinkError> {
        let json = |body: &Body<'_>| {
            serde_json::to_vec(body).map_err(|error| LinkError::Answer(error.to_string()))
        };
        match self {
            Self::Enrol {
                code,
                name,
                platform,
            } => json(&Body::Enrol {
                code,
                name,
                platform,
            }),
            Self::Renew { refresh_token } => json(&Body::Renew { refresh_token }),
            Self::Synchronise { request, .. } => {
                let mut body = Vec::new();
                for item in &request.items {
                    Encoding::CborSeq.write(item, &mut body);
                }
                Ok(body)
            }
        }
    }
}

/// Tokens and scope, as `POST /v1/devices` and `POST /v1/tokens` answer.
#[derive(Clone, Deserialize)]
pub struct SignedIn {
    /// This enrolment.
    pub device_id: DeviceId,
    /// For the Authorization header.
    pub access_token: String,
    /// Seconds.
    pub expires_in: i64,
    /// Good for one exchange.
    pub refresh_token: String,
    /// Who.
    pub user: User,
    /// Where.
    pub streets: Vec<Street>,
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn")
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

impl SignedIn {
    /// From the answer's body.
    pub fn read(body: &[u8]) -> Result<Self, LinkError> {
        serde_json::from_slice(body).map_err(|error| LinkError::Answer(error.to_string()))
    }
}

/// The account.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "as in the protocol")]
pub struct User {
    pub username: String,
    pub display_name: String,
    pub role: Role,
}

/// A street and the user's grids in it.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "as in the protocol")]
pub struct Street {
    pub street: StreetCode,
    pub name: String,
    pub grids: Vec<Grid>,
}

/// A problem document (RFC 9457), as far as it concerns a phone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: String,
    /// What happened, in the language asked for.
    pub title: String,
    /// What to do about it.
    pub detail: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Under which the server's log knows more.
    pub request_id: String,
    /// What `Retry-After` said.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// Why a request brought no complete answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection, or it broke.
    #[error("the connection: {0}")]
    Network(String),
    /// The answer ended before its end.
    #[error("the answer ended early")]
    Incomplete,
    /// The server refused.
    #[error("{} {}: {}", .0.status, .0.code, .0.title)]
    Refused(Box<Problem>),
    /// The answer is not one of this protocol.
    #[error("the answer: {0}")]
    Answer(String),
    /// The address is none.
    #[error("{0} is no http or https address")]
    Address(String),
    /// The adapter could not be made, for example because the system's certificates cannot be read.
    #[error("no HTTP client: {0}")]
    Client(String),
}

impl LinkError {
    /// A refusal by its status, its name, `Retry-After` and what was read of its body.
    pub fn refused(status: u16, name: &str, retry_after: Option<&str>, body: &[u8]) -> Self {
        let retry_after = retry_after
            .and_then(|value| value.trim().parse::<u64>().ok())
            .map(|seconds| Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX)));
        // Something between here and the server may answer without a problem document.
        let problem = serde_json::from_slice::<Problem>(body)
            .ok()
            .filter(|problem| !problem.code.is_empty())
            .unwrap_or_else(|| Problem {
                code: "http_status".into(),
                title: name.to_owned(),
                ..Problem::default()
            });
        Self::Refused(Box::new(Problem {
            status,
            retry_after,
            ..problem
        }))
    }

    /// Whether the same request may succeed a little later.
    pub fn transient(&self) -> bool {
        match self {
            Self::Network(_) | Self::Incomplete => true,
            Self::Refused(problem) => {
                problem.retryable || matches!(problem.status, 429 | 502 | 503 | 504)
            }
            Self::Answer(_) | Self::Address(_) | Self::Client(_) => false,
        }
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after,
            _ => None,
        }
    }

    /// Whether the access token was not accepted.
    pub fn unauthenticated(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 401)
    }

    /// A stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Network(_) => "network",
            Self::Incomplete => "incomplete",
            Self::Refused(problem) => &problem.code,
            Self::Answer(_) => "bad_answer",
            Self::Address(_) => "bad_address",
            Self::Client(_) => "no_client",
        }
    }
}

impl From<WireError> for LinkError {
    fn from(error: WireError) -> Self {
        Self::Answer(error.to_string())
    }
}
