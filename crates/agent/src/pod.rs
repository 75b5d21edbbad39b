//! From a pod's spec to what the runtime needs: pure translations and the files of volumes.

pub mod claims;
pub mod container;
pub mod empty_dir;
pub mod env;
pub mod fields;
pub mod files;
pub mod folder;
pub mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

/// Short and total views of a pod, whose fields are all optional in Kubernetes' types.
pub trait PodExt {
    /// Uid.
    fn uid(&self) -> &str;
    /// Name.
    fn name(&self) -> &str;
    /// Namespace.
    fn namespace(&self) -> &str;
    /// Spec; an empty one when absent.
    fn spec(&self) -> &PodSpec;
    /// Containers that run before all others, in order.
    fn inits(&self) -> &[Container];
    /// Containers that were added for debugging, as if they were others.
    fn ephemerals(&self) -> Vec<Container>;
    /// The container whose processes a debugging container is to see.
    fn debugged_by(&self, name: &str) -> Option<&str>;
    /// A container or init container by name.
    fn container(&self, name: &str) -> Option<&Container>;
    /// Whether the pod uses the machine's network.
    fn on_host_network(&self) -> bool;
    /// `Always`, `OnFailure` or `Never`.
    fn restart_policy(&self) -> &str;
    /// Seconds between SIGTERM and SIGKILL: those of its deletion, or of its spec.
    fn grace_seconds(&self) -> u64;
}

static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);

impl PodExt for Pod {
    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or("")
    }

    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or("")
    }

    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or("")
    }

    fn spec(&self) -> &PodSpec {
        self.spec.as_ref().unwrap_or(&EMPTY)
    }

    fn inits(&self) -> &[Container] {
        self.spec().init_containers.as_deref().unwrap_or_default()
    }

    fn ephemerals(&self) -> Vec<Container> {
        let all = self.spec().ephemeral_containers.iter().flatten();
        // The two types differ by the target alone.
        let plain = all.filter_map(|it| serde_json::to_value(it).ok());
        plain
            .filter_map(|it| serde_json::from_value(it).ok())
            .collect()
    }

    fn debugged_by(&self, name: &str) -> Option<&str> {
        let mut all = self.spec().ephemeral_containers.iter().flatten();
        let found = all.find(|it| it.name == name)?;
        found
            .target_container_name
            .as_deref()
            .filter(|it| !it.is_empty())
    }

    fn container(&self, name: &str) -> Option<&Container> {
        let all = self.inits().iter().chain(&self.spec().containers);
        all.into_iter().find(|container| container.name == name)
    }

    fn on_host_network(&self) -> bool {
        self.spec().host_network == Some(true)
    }

    fn restart_policy(&self) -> &str {
        self.spec().restart_policy.as_deref().unwrap_or("Always")
    }

    fn grace_seconds(&self) -> u64 {
        let deletion = self.metadata.deletion_grace_period_seconds;
        let own = self.spec().termination_grace_period_seconds;
        deletion.or(own).unwrap_or(30).max(0) as u64
    }
}

/// Whether an init container goes on beside the others (a sidecar).
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos_class(pod: &Pod) -> &'static str {
    let spec = pod.spec();
    let mut all_limited = true;
    let mut any = false;
    for container in pod.inits().iter().chain(&spec.containers) {
        let resources = container.resources.clone().unwrap_or_default();
        let limits = resources.limits.unwrap_or_default();
        let requests = resources.requests.unwrap_or_default();
        for name in ["cpu", "memory"] {
            let (limit, request) = (limits.get(name), requests.get(name));
            any |= limit.is_some() || request.is_some();
            all_limited &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, all_limited) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// A map of optional strings, made total.
pub(crate) fn total<V>(map: Option<&BTreeMap<String, V>>) -> impl Iterator<Item = (&String, &V)> {
    map.into_iter().flatten()
}
