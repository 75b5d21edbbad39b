//! Which pods stand behind a Service, and on which ports: common to Endpoints and EndpointSlices.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kontiki_state::Object;

use crate::pods::is_finished;
use crate::view::{Found, View};
use crate::{Error, WorkKey};

/// One resolved port of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Name of the Service's port; empty for a single unnamed one.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// Number on the pod.
    pub number: i32,
    /// Application protocol.
    pub app_protocol: Option<String>,
}

/// Pod → Services of its namespace that select it.
pub fn pod_to_services(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let services = view
        .list::<Service>(Some(&object.key.namespace))
        .unwrap_or_default();
    let selecting = services.iter().filter(|service| {
        selector(service).is_some_and(|selector| {
            selector
                .iter()
                .all(|(key, value)| object.header.label(key) == Some(value))
        })
    });
    selecting
        .map(|service| WorkKey::of(&service.object))
        .collect()
}

/// The Service's selector; `None` when somebody else keeps its endpoints.
pub fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let selector = service.spec.as_ref()?.selector.as_ref()?;
    (!selector.is_empty()).then_some(selector)
}

/// Pods with an address that the Service selects and that have not ended.
pub fn selected_pods(
    view: &View<'_>,
    service: &Found<Service>,
    with_terminating: bool,
) -> Result<Vec<Found<Pod>>, Error> {
    let Some(selector) = selector(service) else {
        return Ok(Vec::new());
    };
    let mut pods = Vec::new();
    for object in view.snapshot.list("pods", Some(service.namespace()), None) {
        let header = &object.header;
        let matches = selector
            .iter()
            .all(|(key, value)| header.label(key) == Some(value));
        if matches && (with_terminating || !header.deleting) {
            let pod = crate::view::typed::<Pod>(object)?;
            if !is_finished(&pod) && pod_ip(&pod, false).or(pod_ip(&pod, true)).is_some() {
                pods.push(pod);
            }
        }
    }
    Ok(pods)
}

/// The pod's address of a family.
pub fn pod_ip(pod: &Pod, v6: bool) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let listed = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut all = listed.chain(status.pod_ip.as_deref());
    all.find(|ip| !ip.is_empty() && ip.contains(':') == v6)
}

/// The Service's ports on a pod; a named target port that the pod lacks is left out.
pub fn ports_on(service: &Service, pod: &Pod) -> Vec<Port> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let resolved = ports.into_iter().flatten().filter_map(|port| {
        Some(Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: protocol(port).to_owned(),
            number: target(port, pod)?,
            app_protocol: port.app_protocol.clone(),
        })
    });
    resolved.collect()
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let sidecars = spec.init_containers.iter().flatten();
            let sidecars = sidecars.filter(|one| one.restart_policy.as_deref() == Some("Always"));
            let containers = spec.containers.iter().chain(sidecars);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let found = ports.find(|declared| {
                declared.name.as_deref() == Some(name)
                    && declared.protocol.as_deref().unwrap_or("TCP") == protocol(port)
            });
            found.map(|declared| declared.container_port)
        }
    }
}

/// `publishNotReadyAddresses`.
pub fn publishes_not_ready(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// The pod's host name, if it is a name below the Service.
pub fn hostname(service: &Found<Service>, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let below = spec.subdomain.as_deref() == Some(service.name());
    spec.hostname
        .clone()
        .filter(|name| below && !name.is_empty())
}
