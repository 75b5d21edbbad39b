//! What one object uses.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, PersistentVolumeClaim, Pod, Service, ServicePort};

use super::names::{self, STORAGE_CLASS, count_of};
use crate::kinds::persistent_volume_claim::CLASS_ANNOTATION;
use crate::podspec::resources::is_hugepages;
use crate::podspec::totals::{Amounts, amounts, limits, requests};
use crate::quantity::{Format, Quantity};
use crate::time;

const STORAGE: &str = "storage";

fn number(n: usize) -> Quantity {
    Quantity::units(i64::try_from(n).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// Objects of which only the number counts.
pub(super) fn of_any(resource: &str) -> Amounts {
    let alias = names::alias_of(resource).map(str::to_owned);
    let names = alias.into_iter().chain([count_of(resource)]);
    names.map(|name| (name, number(1))).collect()
}

/// A pod that has come to its end uses its place in the store only.
pub(super) fn of_pod(pod: &Pod, now_ms: u64) -> Amounts {
    let mut usage = Amounts::from([("count/pods".to_owned(), number(1))]);
    let Some(spec) = pod.spec.as_ref().filter(|_| is_charged(pod, now_ms)) else {
        return usage;
    };
    usage.insert("pods".to_owned(), number(1));
    usage.extend(computed(&requests(spec), &limits(spec)));
    usage
}

/// Whether a pod uses anything still: it has not ended, nor is it stuck in its deletion.
pub fn is_charged(pod: &Pod, now_ms: u64) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return false;
    }
    let metadata = &pod.metadata;
    match (
        &metadata.deletion_timestamp,
        metadata.deletion_grace_period_seconds,
    ) {
        (Some(at), Some(grace)) => {
            let end = time::unix_ms(at).saturating_add(grace.max(0).unsigned_abs() * 1000);
            now_ms <= end
        }
        _ => true,
    }
}

/// Requests and limits by the names that quotas have for them.
fn computed(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::new();
    for (name, amount) in requests {
        let is_computed = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        let is_device = name.contains('/') && !name.contains("kubernetes.io/");
        if is_computed || is_hugepages(name) {
            usage.insert(name.clone(), *amount);
        }
        if is_computed || is_hugepages(name) || is_device {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
    usage
}

/// Names that each container of a pod has to say something about where a quota limits them.
const SAID: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];

/// Refuses a pod that leaves out what a quota limits.
pub fn missing(pod: &Pod, required: &BTreeSet<&str>) -> Result<(), String> {
    let required = || SAID.iter().copied().filter(|name| required.contains(name));
    let Some(spec) = &pod.spec else { return Ok(()) };
    let of_pod = spec.resources.as_ref();
    let of_pod = computed(
        &amounts(of_pod.and_then(|it| it.requests.as_ref())),
        &amounts(of_pod.and_then(|it| it.limits.as_ref())),
    );
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let init = spec.init_containers.iter().flatten();
    for container in spec.containers.iter().chain(init) {
        let said = said_by(container);
        for name in
            required().filter(|name| !said.contains_key(*name) && !of_pod.contains_key(*name))
        {
            missing.entry(name).or_default().insert(&container.name);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let told = missing.iter().map(|(name, containers)| {
        let containers: Vec<&str> = containers.iter().copied().collect();
        format!("{name} for: {}", containers.join(","))
    });
    Err(format!(
        "must specify {}",
        told.collect::<Vec<_>>().join("; ")
    ))
}

fn said_by(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    computed(
        &amounts(resources.and_then(|it| it.requests.as_ref())),
        &amounts(resources.and_then(|it| it.limits.as_ref())),
    )
}

pub(super) fn of_service(service: &Service) -> Amounts {
    let spec = service.spec.as_ref();
    let ports = spec
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default();
    let kind = spec
        .and_then(|spec| spec.type_.as_deref())
        .unwrap_or_default();
    let allocates = spec.and_then(|spec| spec.allocate_load_balancer_node_ports);
    let has_port = |port: &&ServicePort| port.node_port.is_some_and(|port| port != 0);
    let (balancers, node_ports) = match kind {
        "NodePort" => (0, ports.len()),
        "LoadBalancer" if allocates == Some(false) => (1, ports.iter().filter(has_port).count()),
        "LoadBalancer" => (1, ports.len()),
        _ => (0, 0),
    };
    [
        ("count/services", 1),
        ("services", 1),
        ("services.loadbalancers", balancers),
        ("services.nodeports", node_ports),
    ]
    .map(|(name, n)| (name.to_owned(), number(n)))
    .into()
}

pub(super) fn of_claim(claim: &PersistentVolumeClaim) -> Amounts {
    let mut usage = Amounts::new();
    let mut put = |name: &str, amount| {
        usage.insert(name.to_owned(), amount);
        if let Some(class) = class_of(claim) {
            usage.insert(format!("{class}{STORAGE_CLASS}{name}"), amount);
        }
    };
    put("persistentvolumeclaims", number(1));
    if let Some(storage) = storage_of(claim) {
        put("requests.storage", storage);
    }
    usage.insert("count/persistentvolumeclaims".to_owned(), number(1));
    usage
}

/// What it asks for, or was given when that is more; in whole bytes.
fn storage_of(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let spec = claim.spec.as_ref()?.resources.as_ref();
    let asked = amounts(spec.and_then(|it| it.requests.as_ref()));
    let status = claim.status.as_ref();
    let given = amounts(status.and_then(|it| it.allocated_resources.as_ref()));
    let asked = *asked.get(STORAGE)?;
    let most = given.get(STORAGE).map_or(asked, |given| asked.max(*given));
    Some(most.round_up())
}

fn class_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotations = claim.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|it| it.get(CLASS_ANNOTATION));
    let named = claim
        .spec
        .as_ref()
        .and_then(|it| it.storage_class_name.as_ref());
    let class = annotated.or(named).map(String::as_str);
    class.filter(|class| !class.is_empty())
}
