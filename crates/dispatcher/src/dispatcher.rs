//! The dispatcher's handle and what its parts share.

use std::sync::Arc;
use std::time::Duration;

use kontiki_apiserver::{ApiServer, NodeLiveness};
use kontiki_base::clock::{SharedClock, SystemClock};
use kontiki_base::limits;
use kontiki_base::random::{Random, SystemRandom};
use kontiki_proto::node::node_service_server::NodeServiceServer;
use tokio::sync::watch;

use crate::Backend;
use crate::feed::Feed;
use crate::heartbeats::{self, Heartbeats};
use crate::service::NodeServiceHandler;
use crate::sessions::Sessions;
use crate::tunnel::Tunnels;
use crate::tunnel_calls;

/// What a dispatcher is made with.
#[derive(Clone)]
pub struct Options {
    /// Told to agents, for logs.
    pub server_version: String,
    /// Network of pods, such as `10.244.0.0/16`.
    pub cluster_cidr: String,
    /// Network of ClusterIPs.
    pub service_cidr: String,
    /// ClusterIP of the DNS service.
    pub cluster_dns: String,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// Time between two heartbeats of an agent, while there are few.
    pub heartbeat_period: Duration,
    /// Time.
    pub clock: SharedClock,
    /// Randomness, for uids and tunnel ids.
    pub random: Arc<dyn Random>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_cidr: "10.244.0.0/16".to_owned(),
            service_cidr: "10.96.0.0/16".to_owned(),
            cluster_dns: "10.96.0.10".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            heartbeat_period: Duration::from_secs(10),
            clock: SystemClock::shared(),
            random: Arc::new(SystemRandom),
        }
    }
}

/// Sessions, heartbeats, assignments, statuses and tunnels of this replica. Cloning is cheap.
#[derive(Clone)]
pub struct Dispatcher(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) options: Options,
    pub(crate) sessions: Sessions,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) tunnels: Tunnels,
    pub(crate) feed: Feed,
    pub(crate) stopping: watch::Sender<bool>,
}

impl Dispatcher {
    /// Starts a dispatcher over a `Consensus`, or a test's backend. Needs a tokio runtime.
    pub fn new(backend: impl Backend, options: Options) -> Arc<Self> {
        let backend: Arc<dyn Backend> = Arc::new(backend);
        let feed = Feed::start(backend.store().clone());
        let inner = Arc::new(Inner {
            backend,
            options,
            sessions: Sessions::new(limits::SESSIONS),
            heartbeats: Heartbeats::default(),
            tunnels: Tunnels::new(limits::TUNNELS),
            feed,
            stopping: watch::Sender::new(false),
        });
        heartbeats::start(&inner);
        tunnel_calls::serve(&inner);
        Arc::new(Self(inner))
    }

    /// The gRPC service, to be mounted on the API port. Requests must carry a `PeerCert` extension; `api` answers those
    /// that are the API's to answer.
    pub fn service(&self, api: ApiServer) -> NodeServiceServer<NodeServiceHandler> {
        NodeServiceServer::new(NodeServiceHandler::new(self.clone(), api))
            .max_decoding_message_size(limits::RPC_MESSAGE_BYTES)
            .max_encoding_message_size(limits::RPC_MESSAGE_BYTES)
    }

    /// Sends every agent to another replica and takes no new ones.
    pub fn shutdown(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Sessions open on this replica.
    pub fn n_sessions(&self) -> usize {
        self.0.sessions.len()
    }

    /// Whether a node's session is on this replica.
    pub fn has_session(&self, node: &str) -> bool {
        self.0.sessions.outgoing(node).is_some()
    }
}

impl NodeLiveness for Dispatcher {
    fn last_heartbeat_unix_ms(&self, node: &str) -> Option<u64> {
        self.0.heartbeats.last(node)
    }
}

impl Inner {
    pub(crate) fn now_unix_ms(&self) -> u64 {
        self.options.clock.unix_ms()
    }

    /// The heartbeat period to dictate now: stretched with load, but well below any node's grace.
    pub(crate) fn heartbeat_period_ms(&self) -> u32 {
        /// Heartbeats a second that a replica takes without stretching.
        const PER_SECOND: usize = 5_000;
        const LONGEST_MS: u32 = 20_000;
        let stretched =
            u32::try_from(self.sessions.len() * 1000 / PER_SECOND).unwrap_or(LONGEST_MS);
        let period_ms = u32::try_from(self.options.heartbeat_period.as_millis());
        // Whole seconds, so that a few agents more do not change everyone's period.
        let stretched = stretched.div_ceil(1000) * 1000;
        period_ms
            .unwrap_or(LONGEST_MS)
            .max(stretched)
            .min(LONGEST_MS)
    }
}
