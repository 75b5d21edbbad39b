//! A node's network: addresses for pods, their links to the node's bridge, routes to other nodes, and services in
//! the kernel.
//!
//! Pods have a /32 each and reach everything through the bridge's address, even their neighbours: the kernel then
//! routes (and translates) all pod traffic, and nothing depends on bridge netfilter. IPv4 only; nodes must reach
//! each other without a router in between (no VXLAN yet).
//!
//! Deliberately absent: Kubernetes objects (the agent translates them) and DNS.

pub mod cidr;
pub mod hollow;
pub mod ipam;
pub mod linux;
pub mod services;

use std::net::Ipv4Addr;

use futures::future::BoxFuture;
use tokio::net::TcpStream;

pub use cidr::Cidr;
pub use services::{Endpoint, Protocol, Service};

/// Why the network could not be arranged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node has no pod CIDR yet.
    #[error("the node's network is not configured yet: no pod CIDR")]
    NotConfigured,
    /// All addresses are taken.
    #[error("no address left in {0}")]
    Exhausted(Cidr),
    /// The kernel refused a change of links, addresses or routes.
    #[error("{what}: {why}")]
    Kernel {
        /// What was attempted.
        what: String,
        /// The kernel's answer.
        why: String,
    },
    /// A program failed.
    #[error("{program}: {why}")]
    Program {
        /// `nft` or `iptables`.
        program: &'static str,
        /// Its complaint.
        why: String,
    },
}

/// Short for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

/// What the node's network is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNetwork {
    /// Addresses of this node's pods.
    pub pod_cidr: Cidr,
    /// Addresses of all pods.
    pub cluster_cidr: Cidr,
    /// Addresses of services.
    pub service_cidr: Cidr,
    /// This node's address.
    pub node_ip: Ipv4Addr,
    /// The other nodes.
    pub peers: Vec<Peer>,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Addresses of its pods.
    pub pod_cidr: Cidr,
    /// Its address.
    pub node_ip: Ipv4Addr,
}

/// A pod's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPort {
    /// Pod uid.
    pub pod_uid: String,
    /// A process within the pod's network namespace.
    pub pid: u32,
    /// Its address.
    pub address: Ipv4Addr,
}

/// The network of one node.
pub trait PodNetwork: Send + Sync + 'static {
    /// Arranges bridge, routes and rules; called again when anything of it changes. Idempotent.
    fn configure(&self, network: NodeNetwork) -> BoxFuture<'_, Result<()>>;
    /// Takes an address for a pod; the same one when the pod has one.
    fn allocate(&self, pod_uid: &str) -> Result<Ipv4Addr>;
    /// Notes an address that a running pod already has.
    fn adopt(&self, pod_uid: &str, address: Ipv4Addr);
    /// Gives a pod's address back.
    fn release(&self, pod_uid: &str);
    /// Connects a pod. Idempotent: a connected pod stays as it is.
    fn attach<'a>(&'a self, port: &'a PodPort) -> BoxFuture<'a, Result<()>>;
    /// Connects to a port on the loopback interface of the pod that a process belongs to.
    fn dial_within(&self, pid: u32, port: u16) -> BoxFuture<'_, Result<TcpStream>>;
    /// Makes exactly these services reachable.
    fn apply_services(&self, services: Vec<Service>) -> BoxFuture<'_, Result<()>>;
    /// Leaves no trace.
    fn cleanup(&self) -> BoxFuture<'_, Result<()>>;
}

/// Eight hexadecimal digits that stand for a node in names of links and tables: two agents on one machine must not
/// meet.
pub fn node_hash(cluster_id: &str, node_name: &str) -> String {
    short_hash(&format!("{cluster_id}/{node_name}"), 8)
}

/// The first digits of a SHA-256.
pub(crate) fn short_hash(text: &str, n_digits: usize) -> String {
    use sha2::Digest as _;
    let mut digits: String = sha2::Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digits.truncate(n_digits);
    digits
}
