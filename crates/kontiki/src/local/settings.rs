//! What a local cluster was made with, kept so that a later `up` brings the same cluster back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};
use kontiki_base::random::{Random as _, SystemRandom};
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
    /// Network of pods, apart from those of other clusters on this machine.
    pub cluster_cidr: String,
    /// Network of services, likewise.
    pub service_cidr: String,
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
        let (cluster_cidr, service_cidr) = free_networks()?;
        let settings = Self {
            cluster_id,
            servers,
            nodes,
            port,
            server_ports,
            cluster_cidr,
            service_cidr,
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
        std::iter::once(self.port)
            .chain(own)
            .try_for_each(|port| check_free(loopback(port)))
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

/// Fails with advice when an address is taken.
pub fn check_free(address: SocketAddr) -> Result<()> {
    TcpListener::bind(address).map(drop).with_context(|| {
        let port = address.port();
        format!("port {port} is taken; choose others with --port, or --port 0 for any")
    })
}

/// A port of this machine's loopback.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Second octets of the networks to choose from: the usual ones first.
const POD_OCTETS: std::ops::RangeInclusive<u8> = 244..=254;
const SERVICE_OCTET: u8 = 96;

/// Networks that no route of this machine leads to yet: two clusters on one machine must not share addresses.
fn free_networks() -> Result<(String, String)> {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    choose_networks(&routed_networks(&routes)).context(
        "all of 10.244.0.0/16 to 10.254.0.0/16 are routed on this machine; end another cluster first",
    )
}

fn choose_networks(routed: &[(u32, u32)]) -> Option<(String, String)> {
    let free = |octet: u8| {
        let network = u32::from(Ipv4Addr::new(10, octet, 0, 0));
        routed.iter().all(|(other, mask)| {
            let common = mask & u32::from(Ipv4Addr::new(255, 255, 0, 0));
            network & common != other & common
        })
    };
    let pods = POD_OCTETS;
    let mut pairs = pods.map(|octet| (octet, SERVICE_OCTET + (octet - POD_OCTETS.start())));
    let (pods, services) = pairs.find(|(pods, services)| free(*pods) && free(*services))?;
    Some((format!("10.{pods}.0.0/16"), format!("10.{services}.0.0/16")))
}

/// Destinations and masks of `/proc/net/route` (hexadecimal in the machine's byte order), default routes aside.
fn routed_networks(routes: &str) -> Vec<(u32, u32)> {
    let number = |field: Option<&str>| {
        u32::from_str_radix(field?, 16)
            .ok()
            .map(|number| u32::from_be_bytes(number.to_ne_bytes()))
    };
    let network = |line: &str| {
        let mut fields = line.split_whitespace();
        Some((number(fields.nth(1))?, number(fields.nth(5))?)).filter(|(_, mask)| *mask != 0)
    };
    routes.lines().skip(1).filter_map(network).collect()
}

/// Ports to choose free ones from: below those of NodePorts, and of outgoing connections, which would take a replica's
/// port while it is down.
const FREE_PORTS: std::ops::Range<u16> = 10_000..30_000;
/// So many are tried for each that is needed.
const PORT_TRIES: usize = 1000;

fn free_ports(servers: u32) -> Result<(u16, Vec<(u16, u16)>)> {
    // All are held until the last is chosen, so that none is given twice.
    let mut held = Vec::new();
    let mut next = || -> Result<u16> {
        let n_ports = u64::from(FREE_PORTS.end - FREE_PORTS.start);
        let any = || FREE_PORTS.start + SystemRandom.below(n_ports) as u16;
        let mut tried = std::iter::repeat_with(any).take(PORT_TRIES);
        let listener = tried.find_map(|port| TcpListener::bind(loopback(port)).ok());
        let listener = listener.with_context(|| {
            format!("{PORT_TRIES} ports of {FREE_PORTS:?} are taken; name one with --port")
        })?;
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
    fn networks_in_use_are_passed_over() {
        assert_eq!(choose_networks(&[]).unwrap().0, "10.244.0.0/16");
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                      eth0\t00000000\t010200C0\t3\t0\t0\t0\t00000000\t0\t0\t0\n\
                      ktk1\t0001F40A\t00000000\t1\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let routed = routed_networks(routes);
        assert_eq!(routed, [(0x0AF4_0100, 0xFFFF_FF00)]);
        let (pods, services) = choose_networks(&routed).unwrap();
        assert_eq!(
            (pods.as_str(), services.as_str()),
            ("10.245.0.0/16", "10.97.0.0/16")
        );
        assert!(choose_networks(&[(0x0A00_0000, 0xFF00_0000)]).is_none());
    }

    #[test]
    fn even_sizes_are_refused() {
        assert!(Settings::choose("c".into(), 2, 1, 0).is_err());
    }
}
