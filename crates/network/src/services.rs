//! Services as the kernel is to see them.
//!
//! `rules` turns services into chains and map elements; `update` into the smallest `nft` transaction from what is
//! there to what should be. Both are pure: applying is `linux`'s.

pub mod rules;
pub mod update;

use std::net::Ipv4Addr;
use std::time::Duration;

/// Transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its word in nftables.
    pub const fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// One place that serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address.
    pub ip: Ipv4Addr,
    /// Port.
    pub port: u16,
    /// Passes its readiness probes and is not ending.
    pub ready: bool,
    /// Passes its readiness probes.
    pub serving: bool,
    /// Is ending.
    pub terminating: bool,
    /// On this node.
    pub local: bool,
}

/// One port of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `namespace/name:port`, unique together with the protocol.
    pub id: String,
    /// Virtual address.
    pub cluster_ip: Ipv4Addr,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the virtual address.
    pub port: u16,
    /// Port on every node.
    pub node_port: Option<u16>,
    /// Addresses of load balancers that send here.
    pub ingress_ips: Vec<Ipv4Addr>,
    /// Same client, same endpoint, for so long.
    pub affinity: Option<Duration>,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// Who serves.
    pub endpoints: Vec<Endpoint>,
}

impl Service {
    /// Endpoints that take traffic: the ready ones, or when there is none those that still serve while ending
    /// (KEP-1669). `local_only` looks at this node's alone.
    pub fn usable(&self, local_only: bool) -> Vec<&Endpoint> {
        let candidates = || {
            self.endpoints
                .iter()
                .filter(|endpoint| !local_only || endpoint.local)
        };
        let mut usable: Vec<_> = candidates().filter(|endpoint| endpoint.ready).collect();
        if usable.is_empty() {
            usable = candidates()
                .filter(|end| end.serving && end.terminating)
                .collect();
        }
        usable.sort();
        usable.dedup_by_key(|endpoint| (endpoint.ip, endpoint.port));
        usable
    }
}
