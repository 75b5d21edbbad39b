//! Addresses of a node's pods.
//!
//! Nothing is stored: a pod's address is a label of its pause container, and after a restart the agent tells what
//! it finds. The search goes round, so that an address rests before it is used again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::{Cidr, Error, Result};

/// Who has which address.
#[derive(Debug, Default)]
pub struct Ipam {
    cidr: Option<Cidr>,
    by_pod: BTreeMap<String, Ipv4Addr>,
    next_offset: u64,
}

/// Offset of the node's own address; pods start after it.
const GATEWAY_OFFSET: u64 = 1;

impl Ipam {
    /// Sets the prefix; pods keep what they have.
    pub fn set_cidr(&mut self, cidr: Cidr) {
        if self.cidr != Some(cidr) {
            self.cidr = Some(cidr);
            self.next_offset = GATEWAY_OFFSET + 1;
            let adopted: Vec<Ipv4Addr> = self.by_pod.values().copied().collect();
            adopted
                .into_iter()
                .for_each(|address| self.go_on_behind(address));
        }
    }

    fn go_on_behind(&mut self, address: Ipv4Addr) {
        let Some(cidr) = self.cidr.filter(|cidr| cidr.contains(address)) else {
            return;
        };
        let offset = u64::from(u32::from(address) - u32::from(cidr.network()));
        self.next_offset = self.next_offset.max(offset + 1);
    }

    /// The node's own address in a prefix.
    pub fn gateway(cidr: Cidr) -> Ipv4Addr {
        cidr.at(GATEWAY_OFFSET).unwrap_or_else(|| cidr.network())
    }

    /// An address for a pod: the one it has, or the next free one.
    pub fn allocate(&mut self, pod_uid: &str) -> Result<Ipv4Addr> {
        if let Some(address) = self.by_pod.get(pod_uid) {
            return Ok(*address);
        }
        let cidr = self.cidr.ok_or(Error::NotConfigured)?;
        // The last address is the broadcast address.
        let (first, last) = (GATEWAY_OFFSET + 1, cidr.size().saturating_sub(1));
        let n_offsets = last.saturating_sub(first);
        for step in 0..n_offsets {
            let offset = first + (self.next_offset - first + step) % n_offsets;
            let Some(address) = cidr.at(offset) else {
                break;
            };
            if !self.by_pod.values().any(|taken| *taken == address) {
                self.next_offset = first + (offset - first + 1) % n_offsets;
                self.by_pod.insert(pod_uid.to_owned(), address);
                return Ok(address);
            }
        }
        Err(Error::Exhausted(cidr))
    }

    /// Notes what a running pod already has. The search goes on behind it: a restart must not hand out at once what the
    /// pods that ended before it had.
    pub fn adopt(&mut self, pod_uid: &str, address: Ipv4Addr) {
        self.by_pod.insert(pod_uid.to_owned(), address);
        self.go_on_behind(address);
    }

    /// Gives a pod's address back.
    pub fn release(&mut self, pod_uid: &str) {
        self.by_pod.remove(pod_uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_goes_on_behind_what_was_adopted_before_the_prefix_was_known() {
        let mut ipam = Ipam::default();
        ipam.adopt("old", Ipv4Addr::new(10, 0, 0, 3));
        ipam.adopt("foreign", Ipv4Addr::new(10, 1, 0, 6));
        ipam.set_cidr("10.0.0.0/29".parse().unwrap());
        assert_eq!(ipam.allocate("a").unwrap(), Ipv4Addr::new(10, 0, 0, 4));
    }

    #[test]
    fn addresses_rest_before_they_are_used_again_and_run_out() {
        let mut ipam = Ipam::default();
        assert!(matches!(ipam.allocate("a"), Err(Error::NotConfigured)));
        let cidr: Cidr = "10.0.0.0/29".parse().unwrap();
        ipam.set_cidr(cidr);
        ipam.adopt("old", Ipv4Addr::new(10, 0, 0, 3));
        assert_eq!(Ipam::gateway(cidr), Ipv4Addr::new(10, 0, 0, 1));
        let first = ipam.allocate("a").unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 0, 0, 4), "behind the adopted one");
        assert_eq!(ipam.allocate("a").unwrap(), first);
        ipam.release("a");
        let taken: Vec<_> = ["b", "c", "d", "e"]
            .map(|pod| ipam.allocate(pod).unwrap())
            .to_vec();
        assert_eq!(
            taken.last(),
            Some(&first),
            "the released address comes last: {taken:?}"
        );
        assert!(matches!(ipam.allocate("f"), Err(Error::Exhausted(_))));
    }
}
