//! The server's handle: cheap to clone, shared by both faces. Its verbs live in `verbs/`, one file each.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use kontiki_base::clock::{SharedClock, SystemClock};
use kontiki_base::limits::REQUESTS_IN_FLIGHT;
use kontiki_base::random::{Random, SystemRandom};
use kontiki_state::{Op, Store};
use parking_lot::Mutex;

use crate::admission::resource_quota::Turns;
use crate::aggregation::Aggregation;
use crate::audit::Auditor;
use crate::authn::Tokens;
use crate::authz::Policies;
use crate::backend::Backend;
use crate::components::{Components, NoComponents};
use crate::fairness::Fairness;
use crate::history::History;
use crate::kinds::Served;
use crate::outbound::{OutboundOptions, Pool};
use crate::service_accounts::TokenIssuer;
use crate::tunnel::{NoNodes, NodeLiveness, NodeTunnel};
use crate::verbs::watch::Watches;

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
    /// The parts of the control plane, for who asks how they fare.
    pub components: Arc<dyn Components>,
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
    /// Requests served at once, of both faces; those that are exempt aside.
    pub requests_in_flight: u32,
    /// Services may name addresses of their own (upstream: unless `DenyServiceExternalIPs` is on).
    pub allow_service_external_ips: bool,
    /// Records requests; none for no audit log.
    pub auditor: Option<Auditor>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tokens: Arc::default(),
            issuer: Arc::new(TokenIssuer::ephemeral()),
            node_tunnel: Arc::new(NoNodes),
            liveness: Arc::new(NoNodes),
            components: Arc::new(NoComponents),
            outbound: OutboundOptions::default(),
            clock: SystemClock::shared(),
            random: Arc::new(SystemRandom),
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            node_ports: 30000..=32767,
            requests_in_flight: REQUESTS_IN_FLIGHT,
            allow_service_external_ips: false,
            auditor: None,
        }
    }
}

pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) options: Options,
    /// Roles and bindings, by subject.
    pub(crate) policies: Arc<Policies>,
    /// What is known of aggregated API servers.
    pub(crate) aggregation: Arc<Aggregation>,
    /// The kinds, as the store defines them.
    pub(crate) served: Arc<Served>,
    /// Connections to extensions.
    pub(crate) outbound: Arc<Pool>,
    /// Snapshots of lists that have further pages.
    pub(crate) history: History,
    /// Watches open on this replica.
    pub(crate) watches: Arc<Mutex<Watches>>,
    /// The seats of requests; made when the first is taken.
    pub(crate) fairness: OnceLock<Arc<Fairness>>,
    /// Who of this replica counts against a namespace's quotas next.
    pub(crate) quota_turns: Arc<Turns>,
    /// What earlier writes of the batch that this server stages charge to quotas.
    pub(crate) charged: Vec<Op>,
}

/// The API server.
#[derive(Clone)]
pub struct ApiServer(pub(crate) Arc<Inner>);

impl ApiServer {
    /// A server over a store: a `Consensus`, or a test's backend.
    pub fn new(backend: impl Backend, options: Options) -> Self {
        let backend = Arc::new(backend);
        let policies = Arc::new(Policies::new(backend.store()));
        let served = Arc::new(Served::new(backend.store()));
        Self(Arc::new(Inner {
            backend,
            options,
            policies,
            aggregation: Arc::default(),
            served,
            outbound: Arc::default(),
            history: History::default(),
            watches: Arc::default(),
            fairness: OnceLock::new(),
            quota_turns: Arc::default(),
            charged: Vec::new(),
        }))
    }

    /// The same server over another way to propose, for a write of a batch; the store has to be the same.
    pub(crate) fn over(&self, backend: impl Backend, charged: Vec<Op>) -> Self {
        Self(Arc::new(Inner {
            backend: Arc::new(backend),
            options: self.options().clone(),
            policies: Arc::clone(&self.0.policies),
            served: Arc::clone(&self.0.served),
            aggregation: Arc::clone(&self.0.aggregation),
            outbound: self.0.outbound.clone(),
            history: History::default(),
            watches: Arc::default(),
            fairness: OnceLock::new(),
            quota_turns: Arc::clone(&self.0.quota_turns),
            charged,
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
