//! EndpointSlices: which addresses stand behind each Service, in slices of 100, changed as little as possible.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kontiki_state::Object;

use crate::plan::{Plan, to_value};
use crate::pods::{controller_ref, is_ready};
use crate::service_endpoints::{
    Port, hostname, pod_ip, pod_to_services, ports_on, publishes_not_ready, selected_pods, selector,
};
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey, itself};

/// Endpoints of one slice (upstream's `--max-endpoints-per-slice`).
const PER_SLICE: usize = 100;
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The controller.
pub struct EndpointSliceController;

impl Controller for EndpointSliceController {
    fn name(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "services",
                map: itself,
            },
            Watch {
                resource: "pods",
                map: pod_to_services,
            },
            Watch {
                resource: "endpointslices.discovery.k8s.io",
                map: slice_to_service,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(service) = view.get::<Service>(&key.namespace, &key.name)? else {
            return Ok(plan);
        };
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(plan);
        }
        let slices = owned_slices(view, &service)?;
        let spec = service.spec.as_ref();
        let external = spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
        if selector(&service).is_none() || external {
            slices
                .iter()
                .filter(|_| external)
                .for_each(|slice| plan.delete(&slice.object));
            return Ok(plan);
        }
        let families = spec.and_then(|spec| spec.ip_families.clone());
        let families = families.filter(|families| !families.is_empty());
        for family in families.unwrap_or_else(|| vec!["IPv4".into()]) {
            let of_family = slices.iter().filter(|slice| slice.address_type == family);
            reconcile_family(view, &service, &family, of_family.collect(), &mut plan)?;
        }
        Ok(plan)
    }
}

fn slice_to_service(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let ours = object.header.label(MANAGED_BY) == Some(MANAGER);
    let service = object.header.label(SERVICE_NAME).filter(|_| ours);
    service
        .map(|name| WorkKey::new(object.key.namespace.clone(), name))
        .into_iter()
        .collect()
}

fn owned_slices(
    view: &View<'_>,
    service: &Found<Service>,
) -> Result<Vec<Found<EndpointSlice>>, Error> {
    let mut slices = view.controlled::<EndpointSlice>(service.uid())?;
    slices.retain(|slice| {
        slice.object.header.label(MANAGED_BY) == Some(MANAGER)
            && slice.metadata.deletion_timestamp.is_none()
    });
    Ok(slices)
}

/// Wanted endpoints by port set.
fn wanted(
    view: &View<'_>,
    service: &Found<Service>,
    v6: bool,
) -> Result<BTreeMap<Vec<Port>, Vec<Endpoint>>, Error> {
    let mut groups: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for pod in selected_pods(view, service, true)? {
        if let Some(ip) = pod_ip(&pod, v6) {
            let endpoint = endpoint(view, service, &pod, ip)?;
            groups
                .entry(ports_on(service, &pod))
                .or_default()
                .push(endpoint);
        }
    }
    Ok(groups)
}

fn endpoint(
    view: &View<'_>,
    service: &Found<Service>,
    pod: &Found<Pod>,
    ip: &str,
) -> Result<Endpoint, Error> {
    let serving = is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let node_name = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let zone = match &node_name {
        Some(name) => view
            .get::<Node>("", name)?
            .and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned()),
        None => None,
    };
    Ok(Endpoint {
        addresses: vec![ip.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_not_ready(service) || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        node_name,
        zone,
        target_ref: Some(ObjectReference {
            kind: Some(Pod::KIND.into()),
            namespace: Some(pod.namespace().into()),
            name: Some(pod.name().into()),
            uid: Some(pod.uid().into()),
            ..ObjectReference::default()
        }),
        deprecated_topology: None,
        hints: None,
    })
}

fn key_of(endpoint: &Endpoint) -> (String, String) {
    let target = endpoint
        .target_ref
        .as_ref()
        .and_then(|target| target.uid.clone());
    (
        endpoint.addresses.first().cloned().unwrap_or_default(),
        target.unwrap_or_default(),
    )
}

fn slice_ports(ports: &[Port]) -> Vec<EndpointPort> {
    let port = |port: &Port| EndpointPort {
        name: Some(port.name.clone()),
        protocol: Some(port.protocol.clone()),
        port: Some(port.number),
        app_protocol: port.app_protocol.clone(),
    };
    ports.iter().map(port).collect()
}

fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let port = |port: &EndpointPort| Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
        number: port.port.unwrap_or(0),
        app_protocol: port.app_protocol.clone(),
    };
    slice.ports.iter().flatten().map(port).collect()
}

fn reconcile_family(
    view: &View<'_>,
    service: &Found<Service>,
    family: &str,
    slices: Vec<&Found<EndpointSlice>>,
    plan: &mut Plan,
) -> Result<(), Error> {
    let mut groups = wanted(view, service, family == "IPv6")?;
    if groups.is_empty() {
        groups.insert(Vec::new(), Vec::new()); // one empty slice says: nobody
    }
    let mut by_ports: BTreeMap<Vec<Port>, Vec<&Found<EndpointSlice>>> = BTreeMap::new();
    for slice in slices {
        by_ports.entry(ports_of(slice)).or_default().push(slice);
    }
    for (ports, slices) in &by_ports {
        if !groups.contains_key(ports) {
            slices.iter().for_each(|slice| plan.delete(&slice.object));
        }
    }
    for (ports, endpoints) in groups {
        let existing = by_ports.remove(&ports).unwrap_or_default();
        pack(service, family, &ports, endpoints, &existing, plan);
    }
    Ok(())
}

/// Keeps what is in place, fills the slices that change anyway, then any with room, then new ones.
fn pack(
    service: &Found<Service>,
    family: &str,
    ports: &[Port],
    endpoints: Vec<Endpoint>,
    existing: &[&Found<EndpointSlice>],
    plan: &mut Plan,
) {
    let placeholder = endpoints.is_empty();
    let mut missing: BTreeMap<(String, String), Endpoint> = endpoints
        .into_iter()
        .map(|endpoint| (key_of(&endpoint), endpoint))
        .collect();
    let mut kept: Vec<(&Found<EndpointSlice>, Vec<Endpoint>, bool)> = Vec::new();
    for slice in existing {
        let mut seen = BTreeSet::new();
        let mut content = Vec::new();
        for old in &slice.endpoints {
            let key = key_of(old);
            if seen.insert(key.clone())
                && let Some(endpoint) = missing.remove(&key)
            {
                content.push(endpoint);
            }
        }
        let changed = content != slice.endpoints;
        kept.push((slice, content, changed));
    }
    let mut missing: Vec<Endpoint> = missing.into_values().collect();
    kept.sort_by_key(|(_, content, changed)| (!*changed, std::cmp::Reverse(content.len())));
    for (_, content, _) in &mut kept {
        let room = PER_SLICE.saturating_sub(content.len()).min(missing.len());
        content.extend(missing.drain(..room));
    }
    let mut n_written = 0;
    for (slice, content, _) in kept {
        if content.is_empty() && !(placeholder && n_written == 0) {
            plan.delete(&slice.object);
            continue;
        }
        n_written += 1;
        let labels = labels(service);
        plan.edit(&slice.object, |value| {
            if content != slice.endpoints {
                value["endpoints"] = to_value(&content);
            }
            value["metadata"]["labels"] = to_value(&labels);
        });
    }
    if placeholder && n_written == 0 {
        plan.create(&new_slice(service, family, ports, Vec::new()));
    }
    for chunk in missing.chunks(PER_SLICE) {
        plan.create(&new_slice(service, family, ports, chunk.to_vec()));
    }
}

fn labels(service: &Found<Service>) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
    {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(SERVICE_NAME.into(), service.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels
}

fn new_slice(
    service: &Found<Service>,
    family: &str,
    ports: &[Port],
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name())),
            namespace: Some(service.namespace().into()),
            labels: Some(labels(service)),
            owner_references: Some(vec![controller_ref(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.into(),
        endpoints,
        ports: (!ports.is_empty()).then(|| slice_ports(ports)),
    }
}
