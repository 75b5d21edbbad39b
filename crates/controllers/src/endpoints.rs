//! Endpoints, the older form of EndpointSlices: one object for each Service with a selector.

use std::collections::BTreeMap;

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::plan::{Plan, to_value};
use crate::pods::is_ready;
use crate::service_endpoints::{
    Port, hostname, pod_ip, pod_to_services, ports_on, publishes_not_ready, selected_pods, selector,
};
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey, itself};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Addresses of one object (upstream truncates there).
const CAPACITY: usize = 1000;

/// The controller.
pub struct EndpointsController;

impl Controller for EndpointsController {
    fn name(&self) -> &'static str {
        "endpoint-controller"
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
                resource: "endpoints",
                map: itself,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let existing = view.get::<Endpoints>(&key.namespace, &key.name)?;
        let Some(service) = view.get::<Service>(&key.namespace, &key.name)? else {
            if let Some(existing) = existing.filter(ours) {
                plan.delete(&existing.object);
            }
            return Ok(plan);
        };
        if selector(&service).is_none() {
            return Ok(plan);
        }
        let subsets = subsets(view, &service)?;
        let mut labels = service.metadata.labels.clone().unwrap_or_default();
        labels.insert(MANAGED_BY.into(), "endpoint-controller".into());
        match existing {
            Some(existing) => plan.edit(&existing.object, |value| {
                value["metadata"]["labels"] = to_value(&labels);
                match &subsets {
                    Some(subsets) => value["subsets"] = to_value(subsets),
                    None => drop(value.as_object_mut().map(|fields| fields.remove("subsets"))),
                }
            }),
            None => plan.create(&Endpoints {
                metadata: ObjectMeta {
                    name: Some(service.name().into()),
                    namespace: Some(service.namespace().into()),
                    labels: Some(labels),
                    ..ObjectMeta::default()
                },
                subsets,
            }),
        }
        Ok(plan)
    }
}

fn ours(endpoints: &Found<Endpoints>) -> bool {
    endpoints.object.header.label(MANAGED_BY).is_some()
}

#[derive(Default)]
struct Addresses {
    ready: Vec<EndpointAddress>,
    not_ready: Vec<EndpointAddress>,
}

fn subsets(
    view: &View<'_>,
    service: &Found<Service>,
) -> Result<Option<Vec<EndpointSubset>>, Error> {
    let not_ready_too = publishes_not_ready(service);
    let spec = service.spec.as_ref();
    let families = spec.and_then(|spec| spec.ip_families.as_ref());
    let v6 = families
        .and_then(|families| families.first())
        .is_some_and(|first| first == "IPv6");
    let mut groups: BTreeMap<Vec<Port>, Addresses> = BTreeMap::new();
    for pod in selected_pods(view, service, not_ready_too)?
        .into_iter()
        .take(CAPACITY)
    {
        let Some(ip) = pod_ip(&pod, v6) else { continue };
        let ports = ports_on(service, &pod);
        let headless = spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None");
        if ports.is_empty() && !headless {
            continue;
        }
        let address = EndpointAddress {
            ip: ip.to_owned(),
            hostname: hostname(service, &pod),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(ObjectReference {
                kind: Some(Pod::KIND.into()),
                namespace: Some(pod.namespace().into()),
                name: Some(pod.name().into()),
                uid: Some(pod.uid().into()),
                ..ObjectReference::default()
            }),
        };
        let group = groups.entry(ports).or_default();
        let side = if not_ready_too || is_ready(&pod) {
            &mut group.ready
        } else {
            &mut group.not_ready
        };
        side.push(address);
    }
    let subsets: Vec<EndpointSubset> = groups.into_iter().map(subset).collect();
    Ok((!subsets.is_empty()).then_some(subsets))
}

fn subset((ports, mut addresses): (Vec<Port>, Addresses)) -> EndpointSubset {
    let some = |list: &mut Vec<EndpointAddress>| {
        list.sort_by(|a, b| a.ip.cmp(&b.ip));
        (!list.is_empty()).then(|| std::mem::take(list))
    };
    let port = |port: Port| EndpointPort {
        name: (!port.name.is_empty()).then_some(port.name),
        port: port.number,
        protocol: Some(port.protocol),
        app_protocol: port.app_protocol,
    };
    let ports: Vec<EndpointPort> = ports.into_iter().map(port).collect();
    EndpointSubset {
        addresses: some(&mut addresses.ready),
        not_ready_addresses: some(&mut addresses.not_ready),
        ports: (!ports.is_empty()).then_some(ports),
    }
}
