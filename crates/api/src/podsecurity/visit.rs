//! What the checks share: all containers of a pod, whatever sort they are, and the wording of lists.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, Lifecycle, PodSpec, Probe, SecurityContext,
};

use super::Violation;

/// What checks read of a container of any sort.
pub struct Visited<'a> {
    pub name: &'a str,
    pub security: Option<&'a SecurityContext>,
    pub ports: &'a [ContainerPort],
    pub probes: [Option<&'a Probe>; 3],
    pub lifecycle: Option<&'a Lifecycle>,
}

impl<'a> From<&'a Container> for Visited<'a> {
    fn from(container: &'a Container) -> Self {
        Self {
            name: &container.name,
            security: container.security_context.as_ref(),
            ports: container.ports.as_deref().unwrap_or_default(),
            probes: [
                container.liveness_probe.as_ref(),
                container.readiness_probe.as_ref(),
                container.startup_probe.as_ref(),
            ],
            lifecycle: container.lifecycle.as_ref(),
        }
    }
}

/// Init containers, containers, ephemeral containers.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = Visited<'_>> {
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|container| Visited {
        name: &container.name,
        security: container.security_context.as_ref(),
        ports: container.ports.as_deref().unwrap_or_default(),
        probes: [
            container.liveness_probe.as_ref(),
            container.readiness_probe.as_ref(),
            container.startup_probe.as_ref(),
        ],
        lifecycle: container.lifecycle.as_ref(),
    });
    let init = spec.init_containers.iter().flatten().map(Visited::from);
    init.chain(spec.containers.iter().map(Visited::from))
        .chain(ephemeral)
}

/// Names of the containers that something holds for.
pub fn names_of<'a>(spec: &'a PodSpec, holds: impl Fn(&Visited<'a>) -> bool) -> Vec<&'a str> {
    let all = containers(spec);
    all.filter(|container| holds(container))
        .map(|container| container.name)
        .collect()
}

/// `"a", "b"`.
pub fn quoted<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| format!("\"{item}\""))
        .collect();
    items.join(", ")
}

/// A set in quotes, sorted.
pub fn quoted_set(items: &BTreeSet<String>) -> String {
    quoted(items.iter().map(String::as_str))
}

/// `container "a"` or `containers "a", "b"`.
pub fn these(names: &[&str]) -> String {
    let noun = plural(names.len(), "container", "containers");
    format!("{noun} {}", quoted(names.iter().copied()))
}

/// Who sets something: the pod, containers, or both.
pub fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    let mut setters = Vec::new();
    if pod {
        setters.push("pod".to_owned());
    }
    if !containers.is_empty() {
        setters.push(these(containers));
    }
    (!setters.is_empty()).then(|| setters.join(" and "))
}

pub const fn plural<'a>(count: usize, one: &'a str, more: &'a str) -> &'a str {
    if count == 1 { one } else { more }
}

pub fn violation(reason: &str, detail: String) -> Option<Violation> {
    Some(Violation {
        reason: reason.to_owned(),
        detail,
    })
}
