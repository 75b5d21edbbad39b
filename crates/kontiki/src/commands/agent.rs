//! `kontiki agent`: one node, or many simulated ones.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kontiki_agent::{Agent, AgentConfig as Node, NetworkConfig, TlsConfig};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_runtime::docker::Docker;
use kontiki_runtime::images::PAUSE_IMAGE;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{self, AgentConfig, JoinConfig};
use crate::local::docker;
use crate::local::process::DETACHED;
use crate::{files, join, telemetry};

/// Largest packet on pods' links.
const MTU: u32 = 1500;

/// Run one node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Config file; flags override what it says
    #[arg(long)]
    config: Option<PathBuf>,
    /// Name of the node [default: the host name]
    #[arg(long)]
    node_name: Option<String>,
    /// Where keys and pods' files are kept
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// host:port of a replica of the cluster to join
    #[arg(long, requires = "token")]
    join: Option<String>,
    /// Join token of role node
    #[arg(long)]
    token: Option<String>,
    /// Docker Engine's socket
    #[arg(long)]
    docker_host: Option<String>,
    /// Log filter
    #[arg(long)]
    log: Option<String>,
    /// Remove this node's containers, links and rules instead of running it
    #[arg(long)]
    cleanup: bool,
    /// With --cleanup: remove the helper image as well
    #[arg(long, requires = "cleanup")]
    purge: bool,
}

/// Runs until SIGTERM; containers stay.
pub async fn run(args: Args) -> Result<()> {
    leave_session()?;
    let (cleanup, purge) = (args.cleanup, args.purge);
    let mut config = merge(args)?;
    telemetry::start(&config.log)?;
    if let Some(join) = config.join.clone() {
        let learned = join::node(&config, &join).await?;
        config.servers.push(join.endpoint);
        config.servers.extend(learned);
        config.servers.sort();
        config.servers.dedup();
    }
    let node = node(&config)?;
    if cleanup {
        return clean(&node, purge)
            .await
            .context("this node cannot be cleaned up");
    }
    docker::check(&config.docker_host).await?;
    let (stop, stopping) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    spawn(TaskKind::Housekeeping, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
    });
    Agent::run(node, stopping).await.context("the agent ended")
}

async fn clean(node: &Node, purge: bool) -> Result<()> {
    Agent::cleanup(node).await?;
    if purge {
        node.runtime.remove_image(PAUSE_IMAGE).await?;
    }
    Ok(())
}

fn merge(args: Args) -> Result<AgentConfig> {
    let mut config: AgentConfig = match &args.config {
        Some(path) => config::load(path)?,
        None => AgentConfig::default(),
    };
    macro_rules! set {
        ($($field:ident),*) => { $(if let Some(value) = args.$field { config.$field = value; })* };
    }
    set!(node_name, data_dir, docker_host, log);
    if let (Some(endpoint), Some(token)) = (args.join, args.token) {
        config.join = Some(JoinConfig {
            endpoint,
            token,
            token_file: None,
        });
    }
    if config.node_name.is_empty() {
        config.node_name = config::host_name();
    }
    Ok(config)
}

fn node(config: &AgentConfig) -> Result<Node> {
    let pki = config.data_dir.join("pki");
    if !pki.join("node.crt").exists() {
        bail!(
            "this node has no certificate in {}; join with --join and --token (see `kontiki token create`)",
            pki.display()
        );
    }
    Ok(Node {
        node_name: config.node_name.clone(),
        servers: config.servers.clone(),
        tls: TlsConfig {
            ca_pem: files::read(&pki.join("ca.crt"))?.into_bytes(),
            cert_pem: files::read(&pki.join("node.crt"))?.into_bytes(),
            key_pem: files::read(&pki.join("node.key"))?.into_bytes(),
            server_name: "kubernetes".into(),
        },
        runtime: Arc::new(Docker::new(
            config.docker_host.trim_start_matches("unix://"),
        )),
        network: NetworkConfig::Linux { mtu: MTU },
        data_dir: config.data_dir.clone(),
        node_ip: config.node_address,
        labels: labels(&config.labels)?,
        capacity: None,
        version: format!("v{}", env!("CARGO_PKG_VERSION")),
    })
}

fn labels(texts: &[String]) -> Result<BTreeMap<String, String>> {
    let label = |text: &String| {
        let (key, value) = text
            .split_once('=')
            .with_context(|| format!("`{text}` is no label; write it as key=value"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    texts.iter().map(label).collect()
}

/// A process of `up` outlives the terminal that it was started in.
pub fn leave_session() -> Result<()> {
    if std::env::var_os(DETACHED).is_some() {
        nix::unistd::setsid().context("cannot leave the terminal's session")?;
    }
    Ok(())
}
