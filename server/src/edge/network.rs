//! Networks whose members speak for others: proxies and load balancers.

use std::{net::IpAddr, str::FromStr};

/// An address, or all that share a prefix with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Several networks, one setting.
pub type Networks = Vec<Network>;

/// What should be a network is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address such as 10.0.0.7 and no network such as 10.0.0.0/24 or fd00::/8")]
pub struct NotANetwork(String);

impl Network {
    /// This machine.
    pub fn loopback() -> Vec<Self> {
        let v4 = Self {
            address: IpAddr::from([127, 0, 0, 0]),
            prefix: 8,
        };
        let v6 = Self {
            address: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]),
            prefix: 128,
        };
        vec![v4, v6]
    }

    /// Several, with commas between; an empty text names none.
    pub fn list(text: &str) -> Result<Networks, NotANetwork> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::parse)
            .collect()
    }

    pub fn contains(self, address: IpAddr) -> bool {
        let same = |own: u128, other: u128, width: u32| {
            let tail = width - u32::from(self.prefix);
            own.checked_shr(tail) == other.checked_shr(tail)
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same(own.to_bits().into(), other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(text.to_owned());
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(width), str::parse).map_err(|_| wrong())?;
        if prefix > width {
            Err(wrong())
        } else {
            Ok(Self { address, prefix })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_those_who_share_its_prefix() {
        for (network, address, inside) in [
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("0.0.0.0/0", "198.51.100.1", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let network: Network = network.parse().expect("a network");
            assert_eq!(
                network.contains(address.parse().expect("an address")),
                inside,
                "{network:?} {address}"
            );
        }
        assert_eq!(
            Network::list(" 127.0.0.0/8, ::1 ,").expect("two"),
            Network::loopback()
        );
        for wrong in [
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "proxy",
            "10.0.0.0/x",
            "10.0.0.0/-1",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
