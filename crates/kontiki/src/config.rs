//! Config files: TOML with kebab-case keys; an unknown key is an error. Flags of the same names override.

mod gateway;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kontiki_consensus::Resources;
use serde::{Deserialize, Serialize};

use crate::files;

pub use gateway::GatewayConfig;

/// One replica of the control plane.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Name of the replica, unique in the cluster.
    pub name: String,
    /// Raft id; 0 lets a joining replica get one.
    pub replica_id: u64,
    /// Where log, state and keys are kept.
    pub data_dir: PathBuf,
    /// REST, public gRPC and agents.
    pub listen: SocketAddr,
    /// A second address for the same, shared by all replicas of this machine (`SO_REUSEPORT`): the kernel
    /// hands connections to those that live.
    pub shared_listen: Option<SocketAddr>,
    /// A further address for the same, shared likewise, for the pods of this machine where the other addresses are
    /// loopback, which means nothing to a pod. It then is the endpoint of `default/kubernetes`.
    pub pod_listen: Option<SocketAddr>,
    /// Peers.
    pub peer_listen: SocketAddr,
    /// `host:port` under which clients and agents reach this replica; `listen` when empty.
    pub advertise: String,
    /// `host:port` under which peers reach this replica; `peer-listen` when empty.
    pub advertise_peer: String,
    /// Further names and addresses for the server certificate.
    pub hosts: Vec<String>,
    /// Identity of the cluster; made at the first start when empty.
    pub cluster_id: String,
    /// All first members, the same list on each; empty: this replica alone.
    pub initial_members: Vec<MemberConfig>,
    /// Join an existing cluster instead of making one.
    pub join: Option<JoinConfig>,
    /// Network of pods.
    pub cluster_cidr: String,
    /// Network of services.
    pub service_cidr: String,
    /// First port of NodePort services.
    pub node_port_first: u16,
    /// Last port of NodePort services.
    pub node_port_last: u16,
    /// Whether webhooks and aggregated API servers may be on this very machine's loopback addresses. Whoever may write a
    /// webhook could then talk to all that listens here.
    pub allow_loopback_extensions: bool,
    /// Bearer tokens: CSV of token,user,uid,"group,group".
    pub token_auth_file: Option<PathBuf>,
    /// Services may name addresses of their own in `spec.externalIPs`, and so take over others' traffic.
    pub allow_service_external_ips: bool,
    /// Resources whose objects are sealed on this replica's disk, as `secrets`, `widgets.example.com`, `*.apps`, `*.*`;
    /// empty for none.
    pub encryption_resources: Vec<String>,
    /// Where the keys are that they are sealed with; `pki/encryption.keys` in the data directory when empty.
    pub encryption_keyring_file: Option<PathBuf>,
    /// What the audit log records: an `audit.k8s.io/v1` Policy in YAML. No log without it.
    pub audit_policy_file: Option<PathBuf>,
    /// Where the audit log is written, a JSON object a line.
    pub audit_log_file: Option<PathBuf>,
    /// Megabytes after which the audit log is renamed and begun anew; 0 for never.
    pub audit_log_max_size: u64,
    /// Renamed audit logs that are kept; 0 for all.
    pub audit_log_max_backup: usize,
    /// Days that renamed audit logs are kept; 0 for ever.
    pub audit_log_max_age: u64,
    /// Log filter, as `info` or `kontiki=debug`.
    pub log: String,
}

/// A first member.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MemberConfig {
    /// Raft id.
    pub id: u64,
    /// Name.
    pub name: String,
    /// `host:port` of its peer port.
    pub peer_endpoint: String,
    /// `host:port` of its API.
    pub api_endpoint: String,
}

/// How to join a cluster.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct JoinConfig {
    /// `host:port` of any replica's API.
    pub endpoint: String,
    /// The join token.
    #[serde(default)]
    pub token: String,
    /// A file that holds the join token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

/// One node.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AgentConfig {
    /// Name of the node; the host name when empty.
    pub node_name: String,
    /// `host:port` of replicas' APIs; others are learned.
    pub servers: Vec<String>,
    /// Where keys and pods' files are kept.
    pub data_dir: PathBuf,
    /// Docker Engine's socket.
    pub docker_host: String,
    /// Address of this node for other nodes; found out when empty.
    pub node_address: Option<Ipv4Addr>,
    /// Labels of the node, `key=value`.
    pub labels: Vec<String>,
    /// Join with a token instead of a ready certificate.
    pub join: Option<JoinConfig>,
    /// Run this many simulated nodes instead of a real one.
    pub hollow: u32,
    /// Log filter.
    pub log: String,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            replica_id: 0,
            data_dir: PathBuf::from("/var/lib/kontiki/server"),
            listen: SocketAddr::from(([0, 0, 0, 0], 6443)),
            shared_listen: None,
            pod_listen: None,
            peer_listen: SocketAddr::from(([0, 0, 0, 0], 6444)),
            advertise: String::new(),
            advertise_peer: String::new(),
            hosts: Vec::new(),
            cluster_id: String::new(),
            initial_members: Vec::new(),
            join: None,
            cluster_cidr: "10.244.0.0/16".into(),
            service_cidr: "10.96.0.0/16".into(),
            node_port_first: 30000,
            node_port_last: 32767,
            allow_loopback_extensions: false,
            token_auth_file: None,
            allow_service_external_ips: false,
            encryption_resources: vec!["secrets".into()],
            encryption_keyring_file: None,
            audit_policy_file: None,
            audit_log_file: None,
            audit_log_max_size: 100,
            audit_log_max_backup: 10,
            audit_log_max_age: 30,
            log: "info".into(),
        }
    }
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            servers: Vec::new(),
            data_dir: PathBuf::from("/var/lib/kontiki/agent"),
            docker_host: "unix:///var/run/docker.sock".into(),
            node_address: None,
            labels: Vec::new(),
            join: None,
            hollow: 0,
            log: "info".into(),
        }
    }
}

impl JoinConfig {
    /// The token, from the config or its file.
    pub fn token(&self) -> Result<String> {
        match (&self.token_file, self.token.is_empty()) {
            (Some(file), true) => Ok(files::read(file)?.trim().to_owned()),
            (None, false) => Ok(self.token.clone()),
            _ => bail!("[join] needs either token or token-file"),
        }
    }
}

/// Reads a config file.
pub fn load<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    toml::from_str(&files::read(path)?)
        .map_err(|error| anyhow::anyhow!(one_line(&error.to_string())))
        .with_context(|| format!("cannot use {}", path.display()))
}

/// Writes a config file.
pub fn save<T: Serialize>(path: &Path, config: &T) -> Result<()> {
    files::write_private(path, toml::to_string(config)?.as_bytes())
}

/// TOML's errors draw the line; commands print one line.
fn one_line(text: &str) -> String {
    let mut lines = text.lines();
    let place = lines.next().unwrap_or_default();
    let reason = lines
        .filter(|line| !line.contains('|'))
        .collect::<Vec<_>>()
        .join(" ");
    if reason.is_empty() {
        place.to_owned()
    } else {
        format!("{place}: {}", reason.trim())
    }
}

/// Splits `address/bits` of an IPv4 network.
pub fn parse_cidr(text: &str) -> Result<(Ipv4Addr, u8)> {
    let parsed = text.split_once('/').and_then(|(address, bits)| {
        Some((address.parse::<Ipv4Addr>().ok()?, bits.parse::<u8>().ok()?))
    });
    match parsed {
        Some((address, bits)) if (8..=28).contains(&bits) => Ok((address, bits)),
        _ => bail!("`{text}` is not an IPv4 network such as 10.96.0.0/16 (8 to 28 bits)"),
    }
}

impl ServerConfig {
    /// Fills what follows from other settings and checks the rest.
    pub fn complete(mut self) -> Result<Self> {
        if self.name.is_empty() {
            self.name = host_name();
        }
        if self.advertise.is_empty() {
            self.advertise = reachable(self.listen);
        }
        if self.advertise_peer.is_empty() {
            self.advertise_peer = reachable(self.peer_listen);
        }
        parse_cidr(&self.cluster_cidr)?;
        parse_cidr(&self.service_cidr)?;
        self.sealed_resources()?;
        if self.node_port_first > self.node_port_last {
            bail!("node-port-first is above node-port-last");
        }
        if self.join.is_some() && !self.initial_members.is_empty() {
            bail!("[join] and initial-members exclude each other");
        }
        if !self.initial_members.is_empty()
            && !self
                .initial_members
                .iter()
                .any(|member| member.id == self.replica_id)
        {
            bail!(
                "initial-members does not name replica-id {}",
                self.replica_id
            );
        }
        Ok(self)
    }

    /// What is sealed on the disk. A name without a group is one of the core group, whose resources are known.
    pub fn sealed_resources(&self) -> Result<Resources> {
        let unknown = self.encryption_resources.iter().find(|name| {
            let core = !name.contains(['.', '*']);
            core && kontiki_api::by_resource(name).is_none()
        });
        if let Some(name) = unknown {
            bail!(
                "encryption-resources: {name:?} is no resource of the core group; \
                 write others with their group, as deployments.apps"
            );
        }
        Resources::parse(&self.encryption_resources)
            .map_err(|why| anyhow::anyhow!("encryption-resources: {why}"))
    }

    /// Address of `default/kubernetes`: the first of the service network.
    pub fn kubernetes_service_ip(&self) -> String {
        self.service_ip(1)
    }

    /// Address of the cluster's DNS: the tenth, as everywhere.
    pub fn dns_service_ip(&self) -> String {
        self.service_ip(10)
    }

    fn service_ip(&self, nth: u32) -> String {
        let network = parse_cidr(&self.service_cidr).map_or(0, |(ip, _)| u32::from(ip));
        Ipv4Addr::from(network + nth).to_string()
    }

    /// Names and addresses that the server certificate carries.
    pub fn certificate_hosts(&self) -> Vec<String> {
        let mut hosts = self.hosts.clone();
        hosts.push(host_name());
        hosts.push(self.kubernetes_service_ip());
        let addresses = [Some(self.listen), self.shared_listen, self.pod_listen];
        hosts.extend(
            addresses
                .into_iter()
                .flatten()
                .filter(|address| !address.ip().is_unspecified())
                .map(|address| address.ip().to_string()),
        );
        if let Some((host, _)) = self.advertise.rsplit_once(':') {
            hosts.push(host.trim_matches(['[', ']']).to_owned());
        }
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

/// `host:port` for an address that one listens on; the machine's own address for "any".
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("{}:{}", primary_address(), address.port())
    } else {
        address.to_string()
    }
}

/// The address from which this machine reaches others; loopback when it has no route.
pub fn primary_address() -> Ipv4Addr {
    // Connecting a datagram socket sends nothing: it asks the kernel which source address a route would use.
    let probe = || -> std::io::Result<std::net::IpAddr> {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("192.0.2.1:9")?;
        Ok(socket.local_addr()?.ip())
    };
    match probe() {
        Ok(std::net::IpAddr::V4(address)) if !address.is_unspecified() => address,
        _ => Ipv4Addr::LOCALHOST,
    }
}

/// The machine's name, in lower case as node names are.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_lowercase();
    if name.is_empty() {
        "localhost".into()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.toml");
        std::fs::write(&path, "name = \"a\"\nlisten-adress = \"1.2.3.4:1\"\n").unwrap();
        let error = format!("{:#}", load::<ServerConfig>(&path).unwrap_err());
        assert!(
            error.contains("listen-adress") && !error.contains('\n'),
            "{error}"
        );
    }

    #[test]
    fn every_shipped_config_loads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cluster-configs");
        let mut n_files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            n_files += 1;
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("agent") {
                load::<AgentConfig>(&path).unwrap();
            } else if name.starts_with("gateway") {
                load::<GatewayConfig>(&path).unwrap().complete().unwrap();
            } else {
                load::<ServerConfig>(&path).unwrap().complete().unwrap();
            }
        }
        assert!(n_files >= 5, "only {n_files} files in cluster-configs");
    }

    #[test]
    fn contradictions_are_refused() {
        let member = MemberConfig {
            id: 2,
            name: "b".into(),
            peer_endpoint: "h:1".into(),
            api_endpoint: "h:2".into(),
        };
        let config = ServerConfig {
            replica_id: 1,
            initial_members: vec![member],
            ..Default::default()
        };
        assert!(config.complete().is_err());
        for wrong in ["Secrets", "secret", "deployments", "a..b"] {
            let config = ServerConfig {
                encryption_resources: vec!["secrets".into(), wrong.into()],
                ..Default::default()
            };
            let error = config.complete().unwrap_err().to_string();
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
        let config = ServerConfig {
            service_cidr: "10.96.0.0".into(),
            ..Default::default()
        };
        assert!(config.complete().is_err());
    }
}
