//! What an agent is told at its start.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use kontiki_runtime::Runtime;

/// Everything that an agent needs to know.
#[derive(Clone)]
pub struct AgentConfig {
    /// Node name; the certificate must say `system:node:NAME`.
    pub node_name: String,
    /// Servers (`host:port`), any of which will do; the others are learnt from it.
    pub servers: Vec<String>,
    /// Identity and trust.
    pub tls: TlsConfig,
    /// The container engine.
    pub runtime: Arc<dyn Runtime>,
    /// How pods are connected.
    pub network: NetworkConfig,
    /// Where volumes and the cluster's id are kept.
    pub data_dir: PathBuf,
    /// The node's address; found by itself when absent.
    pub node_ip: Option<Ipv4Addr>,
    /// Further labels of the node.
    pub labels: BTreeMap<String, String>,
    /// What the node offers; read from the machine when absent.
    pub capacity: Option<Capacity>,
    /// Version shown in the node's status.
    pub version: String,
}

/// PEM texts of the agent's TLS identity.
#[derive(Clone)]
pub struct TlsConfig {
    /// Certificates that servers must be signed by.
    pub ca_pem: Vec<u8>,
    /// This node's certificate.
    pub cert_pem: Vec<u8>,
    /// Its key.
    pub key_pem: Vec<u8>,
    /// Name that the servers' certificates carry, such as `kubernetes`.
    pub server_name: String,
}

/// How pods are connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkConfig {
    /// Bridge, routes and nftables of this machine.
    Linux {
        /// Largest packet.
        mtu: u32,
    },
    /// Addresses only: hollow nodes and tests.
    Hollow,
}

/// What a node offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Disk for images, logs and `emptyDir`.
    pub ephemeral_storage_bytes: u64,
    /// Pods.
    pub pods: u32,
}

/// Pods that a node takes by default (kubelet's `maxPods`).
pub const DEFAULT_PODS: u32 = 110;
