//! What a pod asks for as a whole (upstream `resourcehelper.PodRequests` and `PodLimits`).
//!
//! The most that is asked for at any moment of its life: containers and sidecars run together, init containers before
//! them one by one, with the sidecars that were started until then.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::resources::{is_hugepages, parse};
use crate::quantity::Quantity;

/// Amounts by the name of their resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// Amounts of a resource list.
pub fn amounts(texts: Option<&BTreeMap<String, Text>>) -> Amounts {
    let texts = texts.into_iter().flatten();
    texts
        .filter_map(|(name, text)| Some((name.clone(), parse(text)?)))
        .collect()
}

/// Adds amounts up.
pub fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.get(name).map_or(*amount, |known| known.plus(*amount));
        total.insert(name.clone(), sum);
    }
}

/// What a pod requests, its overhead included.
pub fn requests(spec: &PodSpec) -> Amounts {
    let mut total = of(spec, |it| it.requests.as_ref());
    add(&mut total, &amounts(spec.overhead.as_ref()));
    total
}

/// The limits of a pod; its overhead counts where there is a limit.
pub fn limits(spec: &PodSpec) -> Amounts {
    let mut total = of(spec, |it| it.limits.as_ref());
    let mut overhead = amounts(spec.overhead.as_ref());
    overhead.retain(|name, _| total.contains_key(name));
    add(&mut total, &overhead);
    total
}

/// The same without overhead, of requests or of limits.
pub fn of(
    spec: &PodSpec,
    side: fn(&ResourceRequirements) -> Option<&BTreeMap<String, Text>>,
) -> Amounts {
    let asked = |container: &Container| amounts(container.resources.as_ref().and_then(side));
    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, &asked(container));
    }
    let (mut sidecars, mut highest) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let mut own = asked(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut highest, own);
    }
    raise(&mut total, highest);
    let of_pod = amounts(spec.resources.as_ref().and_then(side));
    total.extend(of_pod.into_iter().filter(|(name, _)| is_of_pods(name)));
    total
}

/// Whether a resource can be asked for by the pod as a whole.
fn is_of_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_hugepages(name)
}

fn raise(total: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        let higher = total.get(&name).map_or(amount, |known| amount.max(*known));
        total.insert(name, higher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(amounts: &Amounts) -> Vec<String> {
        let told = amounts
            .iter()
            .map(|(name, amount)| format!("{name}={amount}"));
        told.collect()
    }

    fn container(cpu: &str, limit: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": limit}}})
    }

    #[test]
    fn a_pod_asks_for_the_most_of_any_moment() {
        let mut sidecar = container("200m", "1");
        sidecar["restartPolicy"] = json!("Always");
        for (spec, requested, limited) in [
            (
                json!({"containers": [container("1", "2"), container("500m", "1")]}),
                "cpu=1500m",
                "cpu=3",
            ),
            (
                json!({"containers": [container("1", "2")], "initContainers": [container("4", "4")]}),
                "cpu=4",
                "cpu=4",
            ),
            (
                json!({"containers": [container("1", "2")], "initContainers": [sidecar, container("1", "1")]}),
                "cpu=1200m",
                "cpu=3",
            ),
            (
                json!({"containers": [container("1", "2")], "overhead": {"cpu": "100m", "memory": "1Mi"}}),
                "cpu=1100m memory=1Mi",
                "cpu=2100m",
            ),
            (
                json!({"containers": [container("1", "2")], "resources": {"requests": {"cpu": "7"}}}),
                "cpu=7",
                "cpu=2",
            ),
        ] {
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(told(&requests(&spec)).join(" "), requested);
            assert_eq!(told(&limits(&spec)).join(" "), limited);
        }
    }
}
