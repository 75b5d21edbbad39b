//! `kontiki gateway`: the REST face alone, in front of the replicas.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use crate::config::{self, GatewayConfig, JoinConfig};
use crate::{gateway, telemetry};

/// Run a REST gateway alone, in front of the replicas.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Config file; flags override what it says
    #[arg(long)]
    config: Option<PathBuf>,
    /// Name of the gateway [default: the host name]
    #[arg(long)]
    name: Option<String>,
    /// host:port of a replica; may be given several times
    #[arg(long = "server")]
    servers: Vec<String>,
    /// Where its keys are kept
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Address for clients
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// A further name or address of it, for its certificate; may be given several times
    #[arg(long = "host")]
    hosts: Vec<String>,
    /// host:port of a replica of the cluster to join
    #[arg(long, requires = "token")]
    join: Option<String>,
    /// Join token of role gateway
    #[arg(long)]
    token: Option<String>,
    /// Log filter
    #[arg(long)]
    log: Option<String>,
}

/// Runs until SIGTERM.
pub async fn run(args: Args) -> Result<()> {
    super::agent::leave_session()?;
    let config = merge(args)?.complete()?;
    telemetry::start(&config.log)?;
    gateway::run(config).await
}

fn merge(args: Args) -> Result<GatewayConfig> {
    let mut config = match &args.config {
        Some(path) => config::load(path)?,
        None => GatewayConfig::default(),
    };
    macro_rules! set {
        ($($field:ident),*) => { $(if let Some(value) = args.$field { config.$field = value; })* };
    }
    set!(name, data_dir, listen, log);
    if !args.servers.is_empty() {
        config.servers = args.servers;
    }
    if !args.hosts.is_empty() {
        config.hosts = args.hosts;
    }
    if let (Some(endpoint), Some(token)) = (args.join, args.token) {
        config.join = Some(JoinConfig {
            endpoint,
            token,
            token_file: None,
        });
    }
    Ok(config)
}
