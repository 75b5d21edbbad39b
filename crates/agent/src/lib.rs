//! The agent: makes a machine a node. It opens one stream to any server, gets told which pods belong here, and
//! brings the container engine and the network in line with that.
//!
//! The agent listens on no port, keeps no state of its own but the cluster's id (containers carry labels, addresses
//! among them), and never ends a container because the control plane is away.
//!
//! Deliberately absent: the store, consensus, and any decision about where pods run.

pub mod config;
pub mod events;
pub mod hollow;
pub mod images;
pub mod kubelet;
pub mod machine;
pub mod mirror;
pub mod node;
pub mod node_status;
pub mod outbox;
pub mod pod;
pub mod pods;
pub mod probes;
pub mod services;
pub mod session;
pub mod tokens;
pub mod tunnel;
pub mod worker;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use kontiki_base::clock::SystemClock;
use kontiki_base::random::SystemRandom;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_network::hollow::Hollow;
use kontiki_network::linux::{Linux, routes};
use kontiki_network::{NodeNetwork, PodNetwork, Service};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

pub use config::{AgentConfig, Capacity, NetworkConfig, TlsConfig};

use self::events::Recorder;
use self::node::Node;
use self::outbox::Outbox;
use self::pods::Pods;

/// Why an agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {why}")]
    DataDir {
        /// The directory or file.
        path: String,
        /// The system's complaint.
        why: std::io::Error,
    },
    /// No address to be reached by.
    #[error("this machine has no IPv4 address but loopback; name one with --node-ip")]
    NoAddress,
    /// The data directory belongs to another cluster.
    #[error(
        "this node belongs to cluster {own}, the server to {theirs}; \
         remove the agent's data directory to join another cluster"
    )]
    OtherCluster {
        /// The cluster that the node belongs to.
        own: String,
        /// The server's cluster.
        theirs: String,
    },
    /// The TLS identity is unusable.
    #[error("TLS identity: {0}")]
    Tls(String),
    /// The container engine or the network did not follow at cleanup.
    #[error("cleanup: {0}")]
    Cleanup(String),
}

/// Entry points.
pub struct Agent;

impl Agent {
    /// Runs until `shutdown` becomes true. Containers go on when it ends.
    pub async fn run(config: AgentConfig, shutdown: watch::Receiver<bool>) -> Result<(), Error> {
        let cluster_id = match known_cluster(&config)? {
            Some(cluster_id) => cluster_id,
            None => match session::introduce(&config, shutdown.clone()).await? {
                Some(cluster_id) => {
                    remember_cluster(&config, &cluster_id)?;
                    cluster_id
                }
                None => return Ok(()),
            },
        };
        let node = build_node(&config, cluster_id).await?;
        let pods = Pods::new(Arc::clone(&node));
        let network_changed = Arc::new(Notify::new());
        let _loops = [
            Loop(spawn(TaskKind::Agent, Arc::clone(&pods).watch_engine())),
            Loop(spawn(
                TaskKind::Network,
                follow_network(Arc::clone(&node), Arc::clone(&network_changed)),
            )),
        ];
        session::run(&config, node, pods, network_changed, shutdown).await
    }

    /// Takes away every container, link, rule and folder of this node.
    pub async fn cleanup(config: &AgentConfig) -> Result<(), Error> {
        let Some(cluster_id) = known_cluster(config)? else {
            return Ok(());
        };
        let node = build_node(config, cluster_id).await?;
        let engine = pods::remove_everything(&node).await;
        // The network goes even when the engine is away.
        let network = node.network.cleanup().await;
        engine.map_err(|error| Error::Cleanup(error.to_string()))?;
        network.map_err(|error| Error::Cleanup(error.to_string()))
    }
}

/// A loop of the agent that ends with it.
pub(crate) struct Loop(JoinHandle<()>);

impl Drop for Loop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn is_hollow(config: &AgentConfig) -> bool {
    config.network == NetworkConfig::Hollow
}

pub(crate) async fn build_node(
    config: &AgentConfig,
    cluster_id: String,
) -> Result<Arc<Node>, Error> {
    let hollow = is_hollow(config);
    let clock = SystemClock::shared();
    let outbox = Arc::new(Outbox::default());
    let network: Arc<dyn PodNetwork> = match config.network {
        NetworkConfig::Linux { mtu } => Arc::new(Linux::new(&cluster_id, &config.node_name, mtu)),
        NetworkConfig::Hollow => Arc::new(Hollow::default()),
    };
    let ip = match config.node_ip {
        Some(ip) => ip,
        None if hollow => hollow::address(&config.node_name),
        None => own_address().await?,
    };
    let capacity = config
        .capacity
        .unwrap_or_else(|| machine::capacity(&config.data_dir));
    Ok(Arc::new(Node {
        name: config.node_name.clone(),
        cluster_id,
        ip,
        capacity,
        runtime: Arc::clone(&config.runtime),
        network,
        clock: Arc::clone(&clock),
        random: Arc::new(SystemRandom),
        data_dir: config.data_dir.clone(),
        mirror: mirror::Mirror::default(),
        events: Recorder::new(config.node_name.clone(), clock, Arc::clone(&outbox)),
        outbox,
        pulls: images::Pulls::default(),
        tokens: tokens::Tokens::default(),
        sampler: kubelet::Sampler::default(),
        settings: parking_lot::Mutex::default(),
        writes_files: !hollow,
    }))
}

async fn own_address() -> Result<Ipv4Addr, Error> {
    let found = routes::default_address().await;
    found.ok().flatten().ok_or(Error::NoAddress)
}

const CLUSTER_FILE: &str = "cluster-id";

fn known_cluster(config: &AgentConfig) -> Result<Option<String>, Error> {
    if is_hollow(config) {
        return Ok(None);
    }
    let path = config.data_dir.join(CLUSTER_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|id| !id.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(data_dir(&path, why)),
    }
}

fn remember_cluster(config: &AgentConfig, cluster_id: &str) -> Result<(), Error> {
    if is_hollow(config) {
        return Ok(());
    }
    let folder = &config.data_dir;
    std::fs::create_dir_all(folder).map_err(|why| data_dir(folder, why))?;
    let path = folder.join(CLUSTER_FILE);
    std::fs::write(&path, cluster_id).map_err(|why| data_dir(&path, why))
}

fn data_dir(path: &Path, why: std::io::Error) -> Error {
    Error::DataDir {
        path: path.display().to_string(),
        why,
    }
}

/// Keeps routes and services in line with the mirror, for ever.
async fn follow_network(node: Arc<Node>, changed: Arc<Notify>) {
    /// Changes that come together are applied together.
    const GATHER: std::time::Duration = std::time::Duration::from_millis(20);
    const RETRY: std::time::Duration = std::time::Duration::from_secs(5);
    let mut configured: Option<NodeNetwork> = None;
    let mut served: Option<Vec<Service>> = None;
    loop {
        changed.notified().await;
        tokio::time::sleep(GATHER).await;
        let Some(wanted) = services::network(&node) else {
            continue;
        };
        let mut failure = None;
        if configured.as_ref() != Some(&wanted) {
            match node.network.configure(wanted.clone()).await {
                Ok(()) => configured = Some(wanted),
                Err(error) => failure = Some(error),
            }
        }
        let services = services::services(&node);
        if failure.is_none() && served.as_ref() != Some(&services) {
            match node.network.apply_services(services.clone()).await {
                Ok(()) => served = Some(services),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            tracing::warn!(%error, "the node's network is not in step; trying again");
            tokio::time::sleep(RETRY).await;
            changed.notify_one();
        }
    }
}
