//! The controllers, pure: `reconcile(&View, key) -> Plan`, one file each and one line in `CONTROLLERS`.
//!
//! A reconcile takes no memory of earlier ones: it looks at the state and says what is missing. It is idempotent,
//! since the manager runs it again after every change and every failure.
//!
//! Deliberately absent: tokio, a clock, randomness (generated names and uids are the manager's), knowledge of one
//! another: controllers meet through objects.

mod admission_policy_status;
mod api_services;
mod certificates;
mod cluster_role_aggregation;
pub mod commit;
mod controllers;
mod cron_job;
mod custom_resource_definitions;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoint_slice;
mod endpoints;
mod event_ttl;
mod extension_authentication;
mod flow_control;
mod garbage_collector;
mod hash;
mod history;
mod job;
mod job_ttl;
mod kubernetes_service;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod owned;
mod persistent_volumes;
mod plan;
mod pod_gc;
mod pods;
mod priority_classes;
mod rbac_defaults;
mod replica_set;
mod replicas;
mod replication_controller;
mod resource_quota;
mod root_ca;
mod scaled;
mod selector;
mod service_account;
mod service_account_tokens;
mod service_endpoints;
mod stateful_set;
mod taint_eviction;
mod view;

pub use certificates::{Certificate, CertificateSigner};
pub use controllers::CONTROLLERS;
pub use extension_authentication::FRONT_PROXY_NAME;
pub use plan::{Announcement, EventNote, Plan, Propagation, Write};
pub use view::{Found, Settings, View, defined, typed};

use std::sync::Arc;

use kontiki_state::Object;

/// What one reconcile is about. Controllers over the whole cluster use one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkKey {
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name, or whatever the controller puts there.
    pub name: Arc<str>,
}

impl WorkKey {
    /// A key.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object itself.
    pub fn of(object: &Object) -> Self {
        Self {
            namespace: object.key.namespace.clone(),
            name: object.key.name.clone(),
        }
    }

    /// The only key of a controller that always looks at everything.
    pub fn all() -> Self {
        Self::new("", "")
    }
}

/// Which objects concern a controller, and which keys they touch. Called with the object before and after a change.
pub struct Watch {
    /// Resource id; empty for all resources.
    pub resource: &'static str,
    /// Keys to reconcile.
    pub map: fn(&View<'_>, &Object) -> Vec<WorkKey>,
}

/// A control loop.
pub trait Controller: Send + Sync {
    /// Name in logs, and the component of its events.
    fn name(&self) -> &'static str;
    /// The field manager that its writes are noted under: the component that upstream runs it in.
    fn field_manager(&self) -> &'static str {
        "kube-controller-manager"
    }
    /// What concerns it.
    fn watches(&self) -> &'static [Watch];
    /// What is to be done about a key.
    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error>;
    /// Keys to reconcile once when the manager starts, beyond those of existing objects.
    fn initial(&self) -> Vec<WorkKey> {
        Vec::new()
    }
}

/// A reconcile that could not be finished; the manager tries again with back-off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A stored object is not what its kind says.
    #[error("stored object cannot be read: {0}")]
    Undecodable(String),
    /// An object asks for something that cannot be done.
    #[error("{0}")]
    Invalid(String),
}

/// Maps an object to itself.
pub(crate) fn itself(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    vec![WorkKey::of(object)]
}

/// Maps anything to the one key.
pub(crate) fn everything(_: &View<'_>, _: &Object) -> Vec<WorkKey> {
    vec![WorkKey::all()]
}
