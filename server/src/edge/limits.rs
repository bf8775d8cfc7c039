//! What a peer may take of connections and time, and what this process may have open.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

use crate::edge::network::Network;

/// Refused connections that may still be reading their refusal.
pub const REFUSALS_MAX: usize = 64;
/// Files that are no connections: the store's sockets, logs, exports.
const OTHER_FILES: u64 = 128;

/// How slowly bytes may move, in either direction. Only the time in which the peer is waited for counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Longest time without a byte; also what is granted beside the rate, for a line that comes up slowly.
    pub stall: Duration,
    /// Bytes a second, on average.
    pub bytes_per_second_min: u64,
}

/// What a peer may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections_max: usize,
    /// Connections at once of one address (IPv6: of one /64).
    pub connections_per_peer_max: usize,
    /// Addresses that speak for others, and so are held to the first bound only.
    pub trusted: Vec<Network>,
    /// From the connection, or from the first byte of a later request, to the end of the request's head.
    pub head: Duration,
    /// From an answer to the first byte of the next request.
    pub idle: Duration,
    pub pace: Pace,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 2_048,
            connections_per_peer_max: 256,
            trusted: Network::loopback(),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            pace: Pace {
                stall: Duration::from_secs(30),
                bytes_per_second_min: 2_048,
            },
        }
    }
}

impl Limits {
    /// For the listener of operators, whose few connections come from anywhere on their own network.
    #[must_use]
    pub fn for_operators(&self) -> Self {
        Self {
            connections_max: REFUSALS_MAX,
            connections_per_peer_max: REFUSALS_MAX,
            ..self.clone()
        }
    }

    /// As many connections as this process may have files open, whose bound is raised as far as the system lets it.
    #[must_use]
    pub fn within_open_files(mut self, others: u64) -> Self {
        let others = others + OTHER_FILES;
        let wanted = self.connections_max as u64 + others;
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return self;
        };
        let raised = wanted.clamp(soft, hard.max(soft));
        let open_max = if raised > soft && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok()
        {
            raised
        } else {
            soft
        };
        if open_max < wanted {
            // A quarter at least: what is left over is missed less than a connection.
            self.connections_max =
                open_max.saturating_sub(others).max(open_max / 4).max(1) as usize;
            warn!(
                open_files = open_max,
                connections = self.connections_max,
                "fewer connections than set: this process may open too few files"
            );
        }
        self
    }
}
