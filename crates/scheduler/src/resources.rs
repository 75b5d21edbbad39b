//! What a pod asks for and what a node has, as plain integers.
//!
//! The sum follows `resourcehelper.PodRequests`: containers and restartable init containers together, or the largest
//! moment of the init sequence if that is more, plus overhead.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kontiki_api::quantity;

/// CPU that scoring assumes for a container that names none, in milli-cores.
const DEFAULT_CPU_MILLI: i64 = 100;
/// Memory that scoring assumes for a container that names none, in bytes.
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

type Quantities = BTreeMap<String, Quantity>;

/// Amounts of each resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Milli-cores.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Any further resource, in whole units or bytes.
    pub other: BTreeMap<Arc<str>, i64>,
}

impl Resources {
    /// From a resource list; `pods` is not one of a pod's requests and is left out.
    pub fn from_quantities(quantities: Option<&Quantities>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in quantities.into_iter().flatten() {
            match name.as_str() {
                "cpu" => resources.cpu_milli = cpu_milli(quantity),
                "memory" => resources.memory = units(quantity),
                "ephemeral-storage" => resources.ephemeral_storage = units(quantity),
                "pods" => {}
                other => drop(resources.other.insert(other.into(), units(quantity))),
            }
        }
        resources
    }

    /// Adds `other` times `sign`.
    pub fn add(&mut self, other: &Self, sign: i64) {
        self.cpu_milli += sign * other.cpu_milli;
        self.memory += sign * other.memory;
        self.ephemeral_storage += sign * other.ephemeral_storage;
        for (name, amount) in &other.other {
            *self.other.entry(name.clone()).or_default() += sign * amount;
        }
    }

    /// Raises each amount to at least that of `other`.
    pub fn raise(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.max(other.cpu_milli);
        self.memory = self.memory.max(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.max(other.ephemeral_storage);
        for (name, amount) in &other.other {
            let entry = self.other.entry(name.clone()).or_default();
            *entry = (*entry).max(*amount);
        }
    }
}

/// Milli-cores of a quantity; 0 when it does not parse, as admission has refused those.
pub fn cpu_milli(quantity: &Quantity) -> i64 {
    quantity::cpu_milli(&quantity.0).map_or(0, |milli| i64::try_from(milli).unwrap_or(i64::MAX / 4))
}

/// Whole units of a quantity.
pub fn units(quantity: &Quantity) -> i64 {
    quantity::memory_bytes(&quantity.0)
        .map_or(0, |units| i64::try_from(units).unwrap_or(i64::MAX / 4))
}

/// What a pod asks for: as declared, and with defaults for scoring.
pub fn pod_requests(pod: &Pod) -> (Resources, Resources) {
    (
        sum(pod, |container| requests(container, false)),
        sum(pod, |container| requests(container, true)),
    )
}

fn requests(container: &Container, with_defaults: bool) -> Resources {
    let quantities = container
        .resources
        .as_ref()
        .and_then(|needs| needs.requests.as_ref());
    let mut resources = Resources::from_quantities(quantities);
    if with_defaults {
        let names = |name: &str| quantities.is_some_and(|quantities| quantities.contains_key(name));
        if !names("cpu") {
            resources.cpu_milli = DEFAULT_CPU_MILLI;
        }
        if !names("memory") {
            resources.memory = DEFAULT_MEMORY;
        }
    }
    resources
}

fn sum(pod: &Pod, requests: impl Fn(&Container) -> Resources) -> Resources {
    let Some(spec) = &pod.spec else {
        return Resources::default();
    };
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&requests(container), 1);
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let needs = requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            total.add(&needs, 1);
            sidecars.add(&needs, 1);
            peak.raise(&sidecars);
        } else {
            let mut moment = sidecars.clone();
            moment.add(&needs, 1);
            peak.raise(&moment);
        }
    }
    total.raise(&peak);
    if let Some(overhead) = &spec.overhead {
        total.add(&Resources::from_quantities(Some(overhead)), 1);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn container(name: &str, cpu: &str) -> serde_json::Value {
        json!({"name": name, "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn init_containers_count_at_their_largest_moment() {
        let mut sidecar = container("s", "100m");
        sidecar["restartPolicy"] = json!("Always");
        let (declared, assumed) = pod_requests(&pod(json!({
            "containers": [container("a", "200m"), container("b", "300m")],
            "initContainers": [sidecar, container("i", "900m")],
            "overhead": {"cpu": "50m"},
        })));
        assert_eq!(declared.cpu_milli, 1050, "sidecar + init + overhead");
        assert_eq!(declared.memory, 0);
        assert_eq!(
            assumed.memory,
            3 * DEFAULT_MEMORY,
            "two containers and the sidecar"
        );
    }
}
