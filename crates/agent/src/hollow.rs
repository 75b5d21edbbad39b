//! Hollow nodes: real sessions and pod workers over an engine and a network that exist in memory only. For scale
//! tests, and for people who want to size a cluster.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use kontiki_base::clock::SystemClock;
use kontiki_runtime::fake::{Fake, once_ends};

use crate::config::{AgentConfig, Capacity, DEFAULT_PODS, NetworkConfig, TlsConfig};

/// The configuration of a hollow node.
pub fn config(
    node_name: String,
    servers: Vec<String>,
    tls: TlsConfig,
    version: String,
) -> AgentConfig {
    AgentConfig {
        node_name,
        servers,
        tls,
        runtime: Arc::new(Fake::new(SystemClock::shared(), once_ends)),
        network: NetworkConfig::Hollow,
        data_dir: PathBuf::new(),
        node_ip: None,
        labels: BTreeMap::from([("kontiki.io/hollow".to_owned(), "true".to_owned())]),
        capacity: Some(Capacity {
            cpu_milli: 32_000,
            memory_bytes: 128 << 30,
            ephemeral_storage_bytes: 512 << 30,
            pods: DEFAULT_PODS,
        }),
        version,
    }
}

/// An address of its own out of 100.64.0.0/10, by name.
pub fn address(node_name: &str) -> Ipv4Addr {
    let mut hash: u32 = 2_166_136_261;
    for byte in node_name.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    }
    Ipv4Addr::from(0x6440_0000 | (hash & 0x003f_ffff))
}
