//! The server's handle: cheap to clone, shared by both faces. Its verbs live in `verbs/`, one file each.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use kontiki_base::clock::{SharedClock, SystemClock};
use kontiki_base::random::{Random, SystemRandom};
use kontiki_state::Store;

use crate::aggregation::Aggregation;
use crate::authn::Tokens;
use crate::authz::Policies;
use crate::backend::Backend;
use crate::history::History;
use crate::outbound::{OutboundOptions, Pool};
use crate::service_accounts::TokenIssuer;
use crate::tunnel::{NoNodes, NodeLiveness, NodeTunnel};

/// What a server is made with.
#[derive(Clone)]
pub struct Options {
    /// Bearer tokens that are accepted; reloadable.
    pub tokens: Arc<Tokens>,
    /// Issues and reads the tokens of ServiceAccounts.
    pub issuer: Arc<TokenIssuer>,
    /// The way to nodes' agents.
    pub node_tunnel: Arc<dyn NodeTunnel>,
    /// When nodes were last heard of.
    pub liveness: Arc<dyn NodeLiveness>,
    /// The way to webhooks and aggregated API servers.
    pub outbound: OutboundOptions,
    /// Time.
    pub clock: SharedClock,
    /// Randomness, for generated names and addresses.
    pub random: Arc<dyn Random>,
    /// Network of ClusterIPs: address and prefix length.
    pub service_cidr: (Ipv4Addr, u8),
    /// Ports of NodePort services.
    pub node_ports: RangeInclusive<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tokens: Arc::default(),
            issuer: Arc::new(TokenIssuer::ephemeral()),
            node_tunnel: Arc::new(NoNodes),
            liveness: Arc::new(NoNodes),
            outbound: OutboundOptions::default(),
            clock: SystemClock::shared(),
            random: Arc::new(SystemRandom),
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            node_ports: 30000..=32767,
        }
    }
}

pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) options: Options,
    /// Roles and bindings, by subject.
    pub(crate) policies: Arc<Policies>,
    /// What is known of aggregated API servers.
    pub(crate) aggregation: Aggregation,
    /// Connections to extensions.
    pub(crate) outbound: Pool,
    /// Snapshots of lists that have further pages.
    pub(crate) history: History,
    /// Watches open on this replica, against `limits::WATCHES`.
    pub(crate) n_watches: AtomicUsize,
}

/// The API server.
#[derive(Clone)]
pub struct ApiServer(pub(crate) Arc<Inner>);

impl ApiServer {
    /// A server over a store: a `Consensus`, or a test's backend.
    pub fn new(backend: impl Backend, options: Options) -> Self {
        let backend = Arc::new(backend);
        let policies = Arc::new(Policies::new(backend.store()));
        Self::with(backend, options, policies)
    }

    /// The same server over another way to propose; the store has to be the same.
    pub(crate) fn over(&self, backend: impl Backend) -> Self {
        let (options, policies) = (self.options().clone(), self.0.policies.clone());
        Self::with(Arc::new(backend), options, policies)
    }

    fn with(backend: Arc<dyn Backend>, options: Options, policies: Arc<Policies>) -> Self {
        Self(Arc::new(Inner {
            backend,
            options,
            policies,
            aggregation: Aggregation::default(),
            outbound: Pool::default(),
            history: History::default(),
            n_watches: AtomicUsize::new(0),
        }))
    }

    /// The local store.
    pub fn store(&self) -> &Store {
        self.0.backend.store()
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0.backend
    }

    pub(crate) fn now_unix_ms(&self) -> u64 {
        self.0.options.clock.unix_ms()
    }
}
