//! Who is connected, and who has to go when somebody else comes.
//!
//! Bounds: all connections, and those of one address. Where one is met, the connection that has been waited for longest leaves: between requests
//! first, and after a moment of grace also in the middle of a body or of an answer. A request that is the server's turn never makes room.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::edge::{connection::Activity, limits::Limits};

pub(super) struct ConnectionLimit {
    connections_max: usize,
    per_peer_max: usize,
    trusted: Vec<IpNet>,
    permits: Mutex<Permits>,
}

#[derive(Default)]
struct Permits {
    next: u64,
    taken: HashMap<u64, Taken>,
    of_peer: HashMap<IpAddr, usize>,
}

struct Taken {
    /// `None`: an address that speaks for others.
    peer: Option<IpAddr>,
    activity: Arc<Activity>,
    leave: CancellationToken,
}

/// A permit to be connected, given back when it is dropped.
pub(super) struct ConnectionPermit {
    limit: Arc<ConnectionLimit>,
    number: u64,
    pub activity: Arc<Activity>,
    /// Cancelled when the place is needed.
    pub leave: CancellationToken,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limit.permits().give_back(self.number);
    }
}

impl ConnectionLimit {
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections_max: limits.connections_max,
            per_peer_max: limits.connections_per_peer_max,
            trusted: limits.trusted.clone(),
            permits: Mutex::default(),
        }
    }

    fn permits(&self) -> MutexGuard<'_, Permits> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit for a connection from this address; `None` where nobody can be sent away.
    pub fn admit(self: &Arc<Self>, from: IpAddr) -> Option<ConnectionPermit> {
        let from = from.to_canonical();
        let peer =
            (!self.trusted.iter().any(|network| network.contains(&from))).then(|| household(from));
        let mut permits = self.permits();
        if let Some(peer) = peer
            && permits
                .of_peer
                .get(&peer)
                .is_some_and(|count| *count >= self.per_peer_max)
            && !permits.send_away(|taken| taken.peer == Some(peer))
        {
            return None;
        }
        if permits.taken.len() >= self.connections_max && !permits.send_away(|_| true) {
            return None;
        }
        permits.next += 1;
        let number = permits.next;
        let (activity, leave) = (Arc::new(Activity::new()), CancellationToken::new());
        permits.taken.insert(
            number,
            Taken {
                peer,
                activity: Arc::clone(&activity),
                leave: leave.clone(),
            },
        );
        if let Some(peer) = peer {
            *permits.of_peer.entry(peer).or_default() += 1;
        }
        Some(ConnectionPermit {
            limit: Arc::clone(self),
            number,
            activity,
            leave,
        })
    }

    /// The system has no room for another connection: somebody leaves.
    pub fn make_room(&self) {
        self.permits().send_away(|_| true);
    }
}

impl Permits {
    fn give_back(&mut self, number: u64) {
        let Some(Taken {
            peer: Some(peer), ..
        }) = self.taken.remove(&number)
        else {
            return;
        };
        if let Some(count) = self.of_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peer.remove(&peer);
            }
        }
    }

    /// Tells one of those who may go to go, and counts it no more.
    fn send_away(&mut self, may_go: impl Fn(&Taken) -> bool) -> bool {
        let now = Instant::now();
        let candidates = self
            .taken
            .iter()
            .filter(|(_, taken)| may_go(taken) && taken.activity.keeps_us_waiting(now));
        // Between requests before in the middle of one; then who was waited for longest.
        let chosen = candidates.max_by_key(|(_, taken)| {
            taken
                .activity
                .awaited(now)
                .map(|(midway, waited)| (!midway, waited))
        });
        let Some(number) = chosen.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(taken) = self.taken.get(&number) {
            taken.leave.cancel();
        }
        self.give_back(number);
        true
    }
}

/// One subscriber: an IPv4 address, or the /64 that one IPv6 line has.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::limits::networks;

    fn limit(all: usize, per_peer: usize, trusted: &str) -> Arc<ConnectionLimit> {
        let trusted = networks(trusted).expect("networks");
        Arc::new(ConnectionLimit::new(&Limits {
            connections_max: all,
            connections_per_peer_max: per_peer,
            trusted,
            ..Limits::default()
        }))
    }

    fn at(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn who_waits_between_requests_makes_room_and_who_is_served_does_not() {
        let limit = limit(3, 9, "");
        let [idle, busy, newer] = ["198.51.100.1", "198.51.100.2", "198.51.100.3"]
            .map(|peer| limit.admit(at(peer)).expect("there is room"));
        let request = busy.activity.begin_request();
        let fourth = limit.admit(at("198.51.100.4")).expect("the idle one goes");
        assert!(
            idle.leave.is_cancelled() && !busy.leave.is_cancelled() && !newer.leave.is_cancelled()
        );
        let all: Vec<_> = [&newer, &fourth]
            .map(|permit| permit.activity.begin_request())
            .into_iter()
            .collect();
        assert!(
            limit.admit(at("198.51.100.5")).is_none(),
            "everybody is being served"
        );
        drop((request, all));
        assert!(limit.admit(at("198.51.100.5")).is_some());
    }

    #[test]
    fn one_address_pushes_out_only_itself() {
        let limit = limit(100, 2, "203.0.113.0/24");
        let honest = limit.admit(at("198.51.100.9")).expect("there is room");
        let many: Vec<_> = (0..10)
            .map(|_| {
                limit
                    .admit(at("198.51.100.1"))
                    .expect("its own oldest goes")
            })
            .collect();
        assert_eq!(
            many.iter()
                .filter(|permit| !permit.leave.is_cancelled())
                .count(),
            2
        );
        assert!(!honest.leave.is_cancelled());
        let proxied: Vec<_> = (0..10)
            .map(|_| {
                limit
                    .admit(at("203.0.113.7"))
                    .expect("a proxy speaks for many")
            })
            .collect();
        assert!(proxied.iter().all(|permit| !permit.leave.is_cancelled()));
        drop((honest, many, proxied));
        assert!(
            limit.permits().taken.is_empty() && limit.permits().of_peer.is_empty(),
            "all places are given back"
        );
    }

    #[test]
    fn an_ipv6_line_is_one_peer_and_a_mapped_address_is_the_one_it_maps() {
        let limit = limit(100, 1, "");
        let first = limit.admit(at("2001:db8::1")).expect("there is room");
        let _second = limit.admit(at("2001:db8::2:3")).expect("the first goes");
        assert!(first.leave.is_cancelled());
        let four = limit.admit(at("198.51.100.1")).expect("there is room");
        let _mapped = limit
            .admit(at("::ffff:198.51.100.1"))
            .expect("the first goes");
        assert!(four.leave.is_cancelled());
    }
}
