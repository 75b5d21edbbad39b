//! The audit log: what is recorded of a request, at which stages, and the way of it to whoever writes it down.
//!
//! ```text
//! face: `Auditor::begin` ─▶ Trail in the request's Context ─▶ verbs note decisions, bodies and answers on it
//!                                                   └ stage reached ─▶ bounded queue ─▶ `Entries` ─▶ lines of JSON
//! ```
//! The records are upstream's `audit.k8s.io/v1` Events, the policy is `kontiki_api::audit`. A request never waits for the
//! log: when the queue is full its record is dropped and counted. Objects that are sealed at rest do not go into the log,
//! which is not. Not recorded are the writes of the built-in controllers and of agents, which are no requests. Not here:
//! files (the binary).

mod event;
mod queue;
mod record;

use std::sync::Arc;

use kontiki_api::audit::Policy;
use kontiki_base::clock::SharedClock;
use kontiki_consensus::Resources;

use crate::options::{Target, User};
pub use queue::Entries;
pub use record::Trail;
pub(crate) use record::resource_of;

/// Records requests as a policy says.
#[derive(Clone)]
pub struct Auditor(Arc<Inner>);

struct Inner {
    policy: Policy,
    /// Resources whose objects are not recorded, whatever the policy says.
    sealed: Resources,
    clock: SharedClock,
    queue: queue::Queue,
}

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Id of the request, as the `Audit-ID` header tells it.
    pub audit_id: String,
    /// Path and query, or the gRPC method.
    pub uri: String,
    /// Who sent it; none when nobody that we know.
    pub user: Option<User>,
    /// Where it came from: what proxies say, then the peer.
    pub source_ips: Vec<String>,
    /// `User-Agent`.
    pub user_agent: String,
}

/// What a request is about.
#[derive(Clone, Default)]
pub struct About {
    /// `get`, `create`, ... or an HTTP method in lower case.
    pub verb: String,
    /// The resource; none for a path that is no resource's.
    pub target: Option<Target>,
}

impl Auditor {
    /// An auditor, and the entries that it makes: never with objects of the resources that are sealed at rest.
    pub fn new(policy: Policy, clock: SharedClock, sealed: Resources) -> (Self, Entries) {
        let (queue, entries) = queue::bounded();
        let inner = Inner {
            policy,
            sealed,
            clock,
            queue,
        };
        (Self(Arc::new(inner)), entries)
    }

    /// Starts the record of a request that is about something known.
    pub fn begin(&self, received: Received, about: &About) -> Trail {
        let trail = self.begin_unknown(received);
        trail.about(|| about.clone());
        trail.if_recorded()
    }

    /// Starts the record of a request whose subject its handler tells.
    pub fn begin_unknown(&self, received: Received) -> Trail {
        Trail::new(Arc::clone(&self.0), received)
    }
}

impl std::fmt::Debug for Auditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Auditor").field(&self.0.policy).finish()
    }
}

/// The addresses that a request came from, as upstream's `SourceIPs`: `X-Forwarded-For`, else `X-Real-Ip`, then the peer
/// unless it is named already.
pub fn source_ips(
    forwarded_for: Option<&str>,
    real_ip: Option<&str>,
    peer: Option<std::net::IpAddr>,
) -> Vec<String> {
    let address = |text: &str| text.trim().parse::<std::net::IpAddr>().ok();
    let forwarded = forwarded_for.into_iter().flat_map(|list| list.split(','));
    let mut ips: Vec<String> = forwarded
        .filter_map(address)
        .map(|ip| ip.to_string())
        .take(MAX_SOURCE_IPS)
        .collect();
    if ips.is_empty() {
        ips.extend(real_ip.and_then(address).map(|ip| ip.to_string()));
    }
    if let Some(peer) = peer.map(|ip| ip.to_canonical().to_string())
        && ips.last() != Some(&peer)
    {
        ips.push(peer);
    }
    ips
}

/// Addresses that are taken from a header.
const MAX_SOURCE_IPS: usize = 32;

#[cfg(test)]
mod tests;
