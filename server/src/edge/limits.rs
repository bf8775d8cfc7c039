//! What a peer may take of connections and time, and what this process may have open.

use std::{net::IpAddr, time::Duration};

use clap::{Args, builder::TypedValueParser, value_parser};
use ipnet::IpNet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// Refused connections that may still be reading their refusal.
pub const REFUSALS_MAX: usize = 64;
/// Files that are no connections: the store's sockets, logs, exports.
const OTHER_FILES: u64 = 128;

/// Several networks, one setting.
pub type Networks = Vec<IpNet>;

/// Addresses and networks with commas between; an empty text names none.
pub fn networks(text: &str) -> Result<Networks, String> {
    let network = |part: &str| {
        let address = |_| part.parse::<IpAddr>().map(IpNet::from);
        part.parse::<IpNet>().or_else(address).map_err(|_| {
            format!("`{part}` is no address such as 10.0.0.7 and no network such as 10.0.0.0/24 or fd00::/8")
        })
    };
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(network)
        .collect()
}

/// How slowly bytes may move, in either direction. Only the time in which the peer is waited for counts.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    // What is granted beside the rate, too, for a line that comes up slowly.
    /// Seconds that a body or an answer may stand still because of the peer (1 to 600).
    #[arg(
        long = "stall-seconds",
        env = "LIANKA_STALL_SECONDS",
        default_value = "30",
        value_name = "N",
        value_parser = value_parser!(u64).range(1..=600).map(Duration::from_secs)
    )]
    pub stall: Duration,

    /// Bytes a second at which a body must come and an answer be taken, on average and beyond --stall-seconds (1 to 1048576).
    #[arg(
        long = "rate-min",
        env = "LIANKA_RATE_MIN",
        default_value = "2048",
        value_name = "N",
        value_parser = value_parser!(u64).range(1..=1 << 20)
    )]
    pub bytes_per_second_min: u64,
}

/// What a peer may take of connections and time.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at once (8 to 65536); when they are all taken, who is waited for longest makes room.
    #[arg(
        id = "connections",
        long,
        env = "LIANKA_CONNECTIONS",
        default_value = "2048",
        value_name = "N",
        value_parser = value_parser!(u64).range(8..=65_536).map(|n| n as usize)
    )]
    pub connections_max: usize,

    /// Most connections at once of one address, of one /64 with IPv6 (1 to 65536).
    #[arg(
        long = "connections-per-peer",
        env = "LIANKA_CONNECTIONS_PER_PEER",
        default_value = "256",
        value_name = "N",
        value_parser = value_parser!(u64).range(1..=65_536).map(|n| n as usize)
    )]
    pub connections_per_peer_max: usize,

    /// Proxies in front, whose connections are only held to --connections: addresses and networks with commas between.
    #[arg(
        long = "trusted-proxies",
        env = "LIANKA_TRUSTED_PROXIES",
        default_value = "127.0.0.0/8,::1",
        value_name = "LIST",
        value_parser = networks
    )]
    pub trusted: Networks,

    // From the connection, or from the first byte of a later request.
    /// Seconds in which the head of a request must have come (1 to 120).
    #[arg(
        long = "head-seconds",
        env = "LIANKA_HEAD_SECONDS",
        default_value = "10",
        value_name = "N",
        value_parser = value_parser!(u64).range(1..=120).map(Duration::from_secs)
    )]
    pub head: Duration,

    // From an answer to the first byte of the next request.
    /// Seconds that a connection may rest between requests (1 to 3600).
    #[arg(
        long = "idle-seconds",
        env = "LIANKA_IDLE_SECONDS",
        default_value = "75",
        value_name = "N",
        value_parser = value_parser!(u64).range(1..=3_600).map(Duration::from_secs)
    )]
    pub idle: Duration,

    #[command(flatten)]
    pub pace: Pace,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 2_048,
            connections_per_peer_max: 256,
            trusted: networks("127.0.0.0/8,::1").unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_by_address_or_prefix() {
        for (text, address, inside) in [
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8, 10.0.0.7,", "fd12::1", true),
            ("fd00::/8, 10.0.0.7,", "10.0.0.7", true),
            ("", "10.0.0.7", false),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            let networks = networks(text).expect("networks");
            let found = networks.iter().any(|network| network.contains(&address));
            assert_eq!(found, inside, "{text} {address}");
        }
        for wrong in ["10.0.0", "10.0.0.0/33", "::/129", "proxy", "10.0.0.0/-1"] {
            assert!(networks(wrong).is_err(), "{wrong}");
        }
    }
}
