//! `kontiki server`: one replica of the control plane.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use crate::config::{self, JoinConfig, ServerConfig};
use crate::{server, telemetry};

/// Run one replica of the control plane.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Config file; flags override what it says
    #[arg(long)]
    config: Option<PathBuf>,
    /// Name of the replica [default: the host name]
    #[arg(long)]
    name: Option<String>,
    /// Where log, state and keys are kept
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Address of the API
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Address for peers
    #[arg(long)]
    peer_listen: Option<SocketAddr>,
    /// host:port under which clients reach this replica
    #[arg(long)]
    advertise: Option<String>,
    /// host:port under which peers reach this replica
    #[arg(long)]
    advertise_peer: Option<String>,
    /// host:port of a replica of the cluster to join
    #[arg(long, requires = "token")]
    join: Option<String>,
    /// Join token of role server
    #[arg(long)]
    token: Option<String>,
    /// What the audit log records: an audit.k8s.io/v1 Policy
    #[arg(long, requires = "audit_log_file")]
    audit_policy_file: Option<PathBuf>,
    /// Where the audit log is written
    #[arg(long)]
    audit_log_file: Option<PathBuf>,
    /// Log filter
    #[arg(long)]
    log: Option<String>,
}

/// Runs until SIGTERM.
pub async fn run(args: Args) -> Result<()> {
    super::agent::leave_session()?;
    let config = merge(args)?.complete()?;
    telemetry::start(&config.log)?;
    server::run(config).await
}

fn merge(args: Args) -> Result<ServerConfig> {
    let mut config = match &args.config {
        Some(path) => config::load(path)?,
        None => ServerConfig::default(),
    };
    macro_rules! set {
        ($($field:ident),*) => { $(if let Some(value) = args.$field { config.$field = value; })* };
    }
    set!(
        name,
        data_dir,
        listen,
        peer_listen,
        advertise,
        advertise_peer,
        log
    );
    config.audit_policy_file = args.audit_policy_file.or(config.audit_policy_file);
    config.audit_log_file = args.audit_log_file.or(config.audit_log_file);
    if let (Some(endpoint), Some(token)) = (args.join, args.token) {
        config.join = Some(JoinConfig {
            endpoint,
            token,
            token_file: None,
        });
    }
    Ok(config)
}
