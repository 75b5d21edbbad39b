//! How often an address may show a token that does not admit.
//!
//! A secret of 128 bits is not found by trying; but each try costs a read of the quorum and a record in the audit log,
//! and strangers may send as many as they like.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use kontiki_base::clock::SharedClock;
use parking_lot::Mutex;

/// Failures of an address within the window before it has to wait: people mistype, machines restart.
const FAILURES: u32 = 20;
/// How long they count.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are kept in mind.
const ADDRESSES: usize = 4096;

/// Recent failures, by address.
pub(super) struct Failures {
    clock: SharedClock,
    recent: Mutex<HashMap<IpAddr, Recent>>,
}

#[derive(Clone, Copy)]
struct Recent {
    since: Duration,
    count: u32,
}

impl Failures {
    /// None yet.
    pub(super) fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            recent: Mutex::default(),
        }
    }

    /// How long an address has to wait before it may try again; none when it may now.
    pub(super) fn wait(&self, peer: Option<SocketAddr>) -> Option<Duration> {
        let recent = self.recent.lock();
        let found = recent.get(&network(peer))?;
        let age = self.clock.monotonic().saturating_sub(found.since);
        (found.count >= FAILURES && age < WINDOW).then(|| WINDOW.saturating_sub(age))
    }

    /// Counts a failure.
    pub(super) fn count(&self, peer: Option<SocketAddr>) {
        let now = self.clock.monotonic();
        let is_old = |recent: &Recent| now.saturating_sub(recent.since) >= WINDOW;
        let mut recent = self.recent.lock();
        let network = network(peer);
        if !recent.contains_key(&network) && recent.len() >= ADDRESSES {
            recent.retain(|_, recent| !is_old(recent));
        }
        if !recent.contains_key(&network) && recent.len() >= ADDRESSES {
            let oldest = recent.iter().min_by_key(|(_, recent)| recent.since);
            if let Some(oldest) = oldest.map(|(network, _)| *network) {
                recent.remove(&oldest);
            }
        }
        let fresh = Recent {
            since: now,
            count: 0,
        };
        let own = recent.entry(network).or_insert(fresh);
        if is_old(own) {
            *own = fresh;
        }
        own.count += 1;
    }
}

/// What one party has to itself: an IPv4 address, or the 64 bits that an IPv6 host is given.
fn network(peer: Option<SocketAddr>) -> IpAddr {
    let ip = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_base::clock::ManualClock;

    fn peer(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_that_fails_too_often_waits_and_others_do_not() {
        let clock = ManualClock::at(1_000_000);
        let failures = Failures::new(clock.clone());
        let (one, other) = (peer("10.0.0.1:1"), peer("10.0.0.2:1"));
        for _ in 0..FAILURES {
            assert_eq!(failures.wait(one), None);
            failures.count(one);
        }
        assert_eq!(failures.wait(one), Some(WINDOW));
        assert_eq!(failures.wait(peer("[::ffff:10.0.0.1]:9")), Some(WINDOW));
        assert_eq!(failures.wait(other), None);
        clock.advance(WINDOW);
        assert_eq!(failures.wait(one), None);
        failures.count(one);
        assert_eq!(failures.wait(one), None, "counted anew");
    }

    #[test]
    fn one_host_has_one_count_and_all_have_a_bound() {
        let failures = Failures::new(ManualClock::at(0));
        for idx in 0..FAILURES {
            failures.count(peer(&format!("[2001:db8::{idx}]:1")));
        }
        assert!(failures.wait(peer("[2001:db8::ffff]:1")).is_some());
        for idx in 0..2 * ADDRESSES {
            failures.count(peer(&format!("10.1.{}.{}:1", idx / 256, idx % 256)));
        }
        assert_eq!(failures.recent.lock().len(), ADDRESSES);
    }
}
