//! From Service, EndpointSlice and Node objects to what the network crate takes.

use std::net::Ipv4Addr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node as NodeObject, Service as ServiceObject, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kontiki_network::{Cidr, Endpoint, NodeNetwork, Peer, Protocol, Service};

use crate::mirror::resource as ids;
use crate::node::Node;

/// Name label of the service that a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Affinity when the service names no time.
const AFFINITY: Duration = Duration::from_secs(10_800);

/// All services with a virtual address, with their endpoints.
pub fn services(node: &Node) -> Vec<Service> {
    let slices: Vec<EndpointSlice> = node.mirror.list(ids::ENDPOINT_SLICES);
    let mut all = Vec::new();
    for object in node.mirror.list::<ServiceObject>(ids::SERVICES) {
        let namespace = object.metadata.namespace.as_deref().unwrap_or("");
        let name = object.metadata.name.as_deref().unwrap_or("");
        let own: Vec<&EndpointSlice> = slices
            .iter()
            .filter(|slice| {
                let labels = slice.metadata.labels.as_ref();
                slice.metadata.namespace.as_deref() == Some(namespace)
                    && labels
                        .and_then(|labels| labels.get(SERVICE_NAME))
                        .is_some_and(|of| of == name)
            })
            .collect();
        let ports = object.spec.as_ref().and_then(|spec| spec.ports.as_deref());
        for port in ports.unwrap_or_default() {
            all.extend(service(node, &object, port, &own));
        }
    }
    all
}

fn service(
    node: &Node,
    object: &ServiceObject,
    port: &ServicePort,
    slices: &[&EndpointSlice],
) -> Option<Service> {
    let spec = object.spec.as_ref()?;
    // Headless and external services have no address of their own.
    let cluster_ip: Ipv4Addr = spec.cluster_ip.as_deref()?.parse().ok()?;
    let protocol = protocol(port.protocol.as_deref())?;
    let port_name = port.name.as_deref().unwrap_or("");
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec.session_affinity_config.as_ref();
        let seconds = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
        seconds.map_or(AFFINITY, |seconds| {
            Duration::from_secs(seconds.max(1) as u64)
        })
    });
    let status = object.status.as_ref();
    let balancer = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let local = |policy: &Option<String>| policy.as_deref() == Some("Local");
    let meta = &object.metadata;
    Some(Service {
        id: format!(
            "{}/{}:{port_name}",
            meta.namespace.as_deref().unwrap_or(""),
            meta.name.as_deref().unwrap_or("")
        ),
        cluster_ip,
        protocol,
        port: u16::try_from(port.port).ok()?,
        node_port: port
            .node_port
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0),
        ingress_ips: balancer
            .into_iter()
            .flatten()
            .filter_map(|ingress| ingress.ip.as_deref()?.parse().ok())
            .collect(),
        affinity,
        internal_local: local(&spec.internal_traffic_policy),
        external_local: local(&spec.external_traffic_policy),
        endpoints: slices
            .iter()
            .flat_map(|slice| endpoints(node, slice, port_name, protocol))
            .collect(),
    })
}

fn endpoints(
    node: &Node,
    slice: &EndpointSlice,
    port_name: &str,
    wanted: Protocol,
) -> Vec<Endpoint> {
    let ports = slice.ports.as_deref().unwrap_or_default();
    let port = ports.iter().find(|port| {
        port.name.as_deref().unwrap_or("") == port_name
            && protocol(port.protocol.as_deref()) == Some(wanted)
    });
    let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for endpoint in &slice.endpoints {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        // Absent means ready, and serving as ready says.
        let ready = conditions.ready != Some(false);
        let local = endpoint.node_name.as_deref() == Some(node.name.as_str());
        for address in &endpoint.addresses {
            if let Ok(ip) = address.parse() {
                let serving = conditions.serving.unwrap_or(ready);
                let terminating = conditions.terminating == Some(true);
                found.push(Endpoint {
                    ip,
                    port,
                    ready,
                    serving,
                    terminating,
                    local,
                });
            }
        }
    }
    found
}

fn protocol(word: Option<&str>) -> Option<Protocol> {
    match word.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// The node's network as the Node objects have it; `None` while this node has no pod CIDR.
pub fn network(node: &Node) -> Option<NodeNetwork> {
    let settings = node.settings.lock().clone();
    let mut own = None;
    let mut peers = Vec::new();
    for object in node.mirror.list::<NodeObject>(ids::NODES) {
        let spec = object.spec.clone().unwrap_or_default();
        let Some(pod_cidr) = spec
            .pod_cidr
            .as_deref()
            .and_then(|text| text.parse::<Cidr>().ok())
        else {
            continue;
        };
        if object.metadata.name.as_deref() == Some(node.name.as_str()) {
            own = Some(pod_cidr);
        } else if let Some(node_ip) = internal_ip(&object) {
            peers.push(Peer { pod_cidr, node_ip });
        }
    }
    peers.sort();
    Some(NodeNetwork {
        pod_cidr: own?,
        cluster_cidr: settings.cluster_cidr.parse().ok()?,
        service_cidr: settings.service_cidr.parse().ok()?,
        node_ip: node.ip,
        peers,
    })
}

fn internal_ip(object: &NodeObject) -> Option<Ipv4Addr> {
    let addresses = object.status.as_ref()?.addresses.as_ref()?;
    let internal = addresses
        .iter()
        .find(|address| address.type_ == "InternalIP")?;
    internal.address.parse().ok()
}
