//! Config of `kontiki gateway`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{JoinConfig, host_name, reachable};

/// A REST gateway alone.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Name of the gateway; the host name when empty.
    pub name: String,
    /// `host:port` of replicas' APIs: those that are asked, one at a time; others are learned.
    pub servers: Vec<String>,
    /// Where its keys are kept.
    pub data_dir: PathBuf,
    /// Where clients are served.
    pub listen: SocketAddr,
    /// Further names and addresses under which clients reach it, for its certificate.
    pub hosts: Vec<String>,
    /// Join with a token instead of a ready certificate.
    pub join: Option<JoinConfig>,
    /// Log filter.
    pub log: String,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            servers: Vec::new(),
            data_dir: PathBuf::from("/var/lib/kontiki/gateway"),
            listen: SocketAddr::from(([0, 0, 0, 0], 6443)),
            hosts: Vec::new(),
            join: None,
            log: "info".into(),
        }
    }
}

impl GatewayConfig {
    /// Fills what follows from other settings and checks the rest.
    pub fn complete(mut self) -> Result<Self> {
        if self.name.is_empty() {
            self.name = host_name();
        }
        if let Some(join) = &self.join
            && !self.servers.contains(&join.endpoint)
        {
            self.servers.push(join.endpoint.clone());
        }
        if self.servers.is_empty() {
            bail!("no replica is named; use --server HOST:PORT, or --join with --token");
        }
        Ok(self)
    }

    /// Names and addresses that its certificate carries.
    pub fn certificate_hosts(&self) -> Vec<String> {
        let mut hosts = self.hosts.clone();
        hosts.extend(["localhost", "127.0.0.1", "::1"].map(String::from));
        hosts.push(host_name());
        if let Ok(address) = reachable(self.listen).parse::<SocketAddr>() {
            hosts.push(address.ip().to_string());
        }
        hosts.sort();
        hosts.dedup();
        hosts
    }
}
