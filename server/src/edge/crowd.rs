//! Who is connected, and who has to go when somebody else comes.
//!
//! Bounds: all connections, and those of one address. Where one is met, the connection that has been waited for longest leaves: between requests
//! first, and after a moment of grace also in the middle of a body or of an answer. A request that is the server's turn never makes room.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::edge::{Limits, line::Standing, network::Network};

pub(super) struct Crowd {
    connections_max: usize,
    per_peer_max: usize,
    trusted: Vec<Network>,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    taken: HashMap<u64, Taken>,
    of_peer: HashMap<IpAddr, usize>,
}

struct Taken {
    /// `None`: an address that speaks for others.
    peer: Option<IpAddr>,
    standing: Arc<Standing>,
    leave: CancellationToken,
}

/// A place in the crowd, given back when it is dropped.
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    number: u64,
    pub standing: Arc<Standing>,
    /// Cancelled when the place is needed.
    pub leave: CancellationToken,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.seats().give_back(self.number);
    }
}

impl Crowd {
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections_max: limits.connections_max,
            per_peer_max: limits.connections_per_peer_max,
            trusted: limits.trusted.clone(),
            seats: Mutex::default(),
        }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for a connection from this address; `None` where nobody can be sent away.
    pub fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Seat> {
        let from = from.to_canonical();
        let peer =
            (!self.trusted.iter().any(|network| network.contains(from))).then(|| household(from));
        let mut seats = self.seats();
        if let Some(peer) = peer
            && seats
                .of_peer
                .get(&peer)
                .is_some_and(|count| *count >= self.per_peer_max)
            && !seats.send_away(|taken| taken.peer == Some(peer))
        {
            return None;
        }
        if seats.taken.len() >= self.connections_max && !seats.send_away(|_| true) {
            return None;
        }
        seats.next += 1;
        let number = seats.next;
        let (standing, leave) = (Arc::new(Standing::new()), CancellationToken::new());
        seats.taken.insert(
            number,
            Taken {
                peer,
                standing: Arc::clone(&standing),
                leave: leave.clone(),
            },
        );
        if let Some(peer) = peer {
            *seats.of_peer.entry(peer).or_default() += 1;
        }
        Some(Seat {
            crowd: Arc::clone(self),
            number,
            standing,
            leave,
        })
    }

    /// The system has no room for another connection: somebody leaves.
    pub fn make_room(&self) {
        self.seats().send_away(|_| true);
    }
}

impl Seats {
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
            .filter(|(_, taken)| may_go(taken) && taken.standing.keeps_us_waiting(now));
        // Between requests before in the middle of one; then who was waited for longest.
        let chosen = candidates.max_by_key(|(_, taken)| {
            taken
                .standing
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

    fn crowd(all: usize, per_peer: usize, trusted: &str) -> Arc<Crowd> {
        let trusted = Network::list(trusted).expect("networks");
        Arc::new(Crowd::new(&Limits {
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
        let crowd = crowd(3, 9, "");
        let [idle, busy, newer] = ["198.51.100.1", "198.51.100.2", "198.51.100.3"]
            .map(|peer| crowd.admit(at(peer)).expect("there is room"));
        let request = busy.standing.begin_request();
        let fourth = crowd.admit(at("198.51.100.4")).expect("the idle one goes");
        assert!(
            idle.leave.is_cancelled() && !busy.leave.is_cancelled() && !newer.leave.is_cancelled()
        );
        let all: Vec<_> = [&newer, &fourth]
            .map(|seat| seat.standing.begin_request())
            .into_iter()
            .collect();
        assert!(
            crowd.admit(at("198.51.100.5")).is_none(),
            "everybody is being served"
        );
        drop((request, all));
        assert!(crowd.admit(at("198.51.100.5")).is_some());
    }

    #[test]
    fn one_address_pushes_out_only_itself() {
        let crowd = crowd(100, 2, "203.0.113.0/24");
        let honest = crowd.admit(at("198.51.100.9")).expect("there is room");
        let many: Vec<_> = (0..10)
            .map(|_| {
                crowd
                    .admit(at("198.51.100.1"))
                    .expect("its own oldest goes")
            })
            .collect();
        assert_eq!(
            many.iter()
                .filter(|seat| !seat.leave.is_cancelled())
                .count(),
            2
        );
        assert!(!honest.leave.is_cancelled());
        let proxied: Vec<_> = (0..10)
            .map(|_| {
                crowd
                    .admit(at("203.0.113.7"))
                    .expect("a proxy speaks for many")
            })
            .collect();
        assert!(proxied.iter().all(|seat| !seat.leave.is_cancelled()));
        drop((honest, many, proxied));
        assert!(
            crowd.seats().taken.is_empty() && crowd.seats().of_peer.is_empty(),
            "all places are given back"
        );
    }

    #[test]
    fn an_ipv6_line_is_one_peer_and_a_mapped_address_is_the_one_it_maps() {
        let crowd = crowd(100, 1, "");
        let first = crowd.admit(at("2001:db8::1")).expect("there is room");
        let _second = crowd.admit(at("2001:db8::2:3")).expect("the first goes");
        assert!(first.leave.is_cancelled());
        let four = crowd.admit(at("198.51.100.1")).expect("there is room");
        let _mapped = crowd
            .admit(at("::ffff:198.51.100.1"))
            .expect("the first goes");
        assert!(four.leave.is_cancelled());
    }
}
