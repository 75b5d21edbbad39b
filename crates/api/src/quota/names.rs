//! Names of what quotas limit, and the resources whose objects they are about.

use std::collections::BTreeSet;

use crate::podspec::resources::is_hugepages;

/// What a pod uses besides huge pages and devices.
pub(super) const OF_PODS: [&str; 11] = [
    "count/pods",
    "pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
const OF_SERVICES: [&str; 4] = [
    "count/services",
    "services",
    "services.nodeports",
    "services.loadbalancers",
];
const OF_CLAIMS: [&str; 3] = [
    "count/persistentvolumeclaims",
    "persistentvolumeclaims",
    "requests.storage",
];
/// Follows the name of a storage class.
pub(super) const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
/// Resources whose numbers have had names of their own before `count/` came.
const ALIASED: [&str; 4] = [
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
];

/// The name for the number of a resource's objects.
pub(super) fn count_of(resource: &str) -> String {
    format!("count/{resource}")
}

/// The older name for the same.
pub(super) fn alias_of(resource: &str) -> Option<&str> {
    ALIASED.contains(&resource).then_some(resource)
}

/// Those of some names that objects of a resource count towards.
pub fn matching<'a>(resource: &str, names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.filter(|name| matches(resource, name)).collect()
}

fn matches(resource: &str, name: &str) -> bool {
    match resource {
        "pods" => OF_PODS.contains(&name) || is_hugepages(of_requests(name)) || is_device(name),
        "services" => OF_SERVICES.contains(&name),
        "persistentvolumeclaims" => {
            let of_class = name.split_once(STORAGE_CLASS).map(|(_, rest)| rest);
            OF_CLAIMS.contains(&name)
                || matches!(
                    of_class,
                    Some("persistentvolumeclaims" | "requests.storage")
                )
        }
        other => name.strip_prefix("count/") == Some(other) || alias_of(other) == Some(name),
    }
}

fn of_requests(name: &str) -> &str {
    name.strip_prefix("requests.").unwrap_or(name)
}

/// Devices are limited by their requests only.
fn is_device(name: &str) -> bool {
    let device = name.strip_prefix("requests.").unwrap_or_default();
    device.contains('/') && !device.contains("kubernetes.io/")
}

/// The resources whose objects some names count.
pub fn counted<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    const TYPED: [&str; 3] = ["pods", "services", "persistentvolumeclaims"];
    let resource = |name: &str| {
        let typed = TYPED.iter().find(|resource| matches(resource, name));
        let of_number = name.strip_prefix("count/").or_else(|| alias_of(name));
        typed.copied().or(of_number).map(str::to_owned)
    };
    names.filter_map(resource).collect()
}
