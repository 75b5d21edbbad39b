//! What a local cluster was made with, kept so that a later `up` brings the same cluster back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Shape of a local cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Identity of the cluster.
    pub cluster_id: String,
    /// Replicas of the control plane.
    pub servers: u32,
    /// Nodes.
    pub nodes: u32,
    /// Port that all replicas share.
    pub port: u16,
    /// Own API port and peer port of each replica.
    pub server_ports: Vec<(u16, u16)>,
}

/// Distance between the ports of two replicas, starting at the shared one.
const PORT_STEP: u16 = 10;

impl Settings {
    /// Chooses ports from `base` upward, or free ones for 0, and checks that they are free.
    pub fn choose(cluster_id: String, servers: u32, nodes: u32, base: u16) -> Result<Self> {
        if !matches!(servers, 1 | 3 | 5 | 7) {
            bail!("--servers must be 1, 3, 5 or 7: an even number survives no more failures");
        }
        let (port, server_ports) = if base == 0 {
            free_ports(servers)?
        } else {
            let ports = (1..=servers as u16)
                .map(|i| base + i * PORT_STEP)
                .map(|p| (p, p + 1));
            (base, ports.collect())
        };
        let settings = Self {
            cluster_id,
            servers,
            nodes,
            port,
            server_ports,
        };
        settings.check_free()?;
        Ok(settings)
    }

    /// Fails with advice when one of the ports is taken.
    pub fn check_free(&self) -> Result<()> {
        let own = self
            .server_ports
            .iter()
            .flat_map(|(api, peer)| [*api, *peer]);
        for port in std::iter::once(self.port).chain(own) {
            TcpListener::bind(loopback(port)).with_context(|| {
                format!("port {port} is taken; choose others with --port, or --port 0 for any")
            })?;
        }
        Ok(())
    }

    /// Name of a replica, counted from 1.
    pub fn server_name(idx: u32) -> String {
        format!("server-{idx}")
    }

    /// Name of a node, counted from 1.
    pub fn node_name(idx: u32) -> String {
        format!("node-{idx}")
    }
}

/// A port of this machine's loopback.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn free_ports(servers: u32) -> Result<(u16, Vec<(u16, u16)>)> {
    // All are held until the last is chosen, so that none is given twice.
    let mut held = Vec::new();
    let mut next = || -> Result<u16> {
        let listener = TcpListener::bind(loopback(0)).context("no free port")?;
        let port = listener.local_addr()?.port();
        held.push(listener);
        Ok(port)
    };
    let port = next()?;
    let ports = (0..servers)
        .map(|_| Ok((next()?, next()?)))
        .collect::<Result<_>>()?;
    Ok((port, ports))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_distinct_and_a_taken_one_is_named() {
        let settings = Settings::choose("c".into(), 3, 1, 0).unwrap();
        let mut ports: Vec<u16> = settings
            .server_ports
            .iter()
            .flat_map(|(api, peer)| [*api, *peer])
            .collect();
        ports.push(settings.port);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 7);
        let _taken = TcpListener::bind(loopback(settings.port)).unwrap();
        let error = format!("{:#}", settings.check_free().unwrap_err());
        assert!(error.contains(&settings.port.to_string()), "{error}");
    }

    #[test]
    fn even_sizes_are_refused() {
        assert!(Settings::choose("c".into(), 2, 1, 0).is_err());
    }
}
