//! The Service `default/kubernetes`, through which pods reach the API, and its endpoints: the replicas.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointPort as SlicePort, EndpointSlice,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kontiki_state::Object;

use crate::plan::{Plan, to_value};
use crate::service_account::lives;
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey};

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
const PORT_NAME: &str = "https";
/// The replicas are no object: their addresses are looked at this often.
const PERIOD_MS: u64 = 60_000;

/// The controller.
pub struct KubernetesService;

impl Controller for KubernetesService {
    fn name(&self) -> &'static str {
        "kubernetes-service-controller"
    }

    fn field_manager(&self) -> &'static str {
        "kube-apiserver"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "namespaces",
                map: if_ours,
            },
            Watch {
                resource: "services",
                map: if_ours,
            },
            Watch {
                resource: "endpoints",
                map: if_ours,
            },
            Watch {
                resource: "endpointslices.discovery.k8s.io",
                map: if_ours,
            },
        ]
    }

    fn initial(&self) -> Vec<WorkKey> {
        vec![WorkKey::all()]
    }

    fn reconcile(&self, view: &View<'_>, _: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        plan.requeue_after_ms(PERIOD_MS);
        if !lives(view, NAMESPACE) || view.settings.api_endpoints.is_empty() {
            return Ok(plan);
        }
        if view.snapshot.find("services", NAMESPACE, NAME).is_none() {
            plan.create(&service(view));
        }
        let wanted = endpoints(view);
        match view.get::<Endpoints>(NAMESPACE, NAME)? {
            Some(found) => plan.edit(&found.object, |value| {
                value["subsets"] = to_value(&wanted.subsets);
            }),
            None => plan.create(&wanted),
        }
        let wanted = slice(view);
        match view.get::<EndpointSlice>(NAMESPACE, NAME)? {
            Some(found) => plan.edit(&found.object, |value| {
                value["endpoints"] = to_value(&wanted.endpoints);
                value["ports"] = to_value(&wanted.ports);
            }),
            None => plan.create(&wanted),
        }
        Ok(plan)
    }
}

fn if_ours(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let key = &object.key;
    let ours = (&*key.namespace == NAMESPACE && &*key.name == NAME)
        || (&*key.resource == "namespaces" && &*key.name == NAMESPACE);
    if ours {
        vec![WorkKey::all()]
    } else {
        Vec::new()
    }
}

fn metadata(labels: &[(&str, &str)]) -> ObjectMeta {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    ObjectMeta {
        name: Some(NAME.into()),
        namespace: Some(NAMESPACE.into()),
        labels: Some(labels.iter().map(own).collect::<BTreeMap<String, String>>()),
        ..ObjectMeta::default()
    }
}

fn port(view: &View<'_>) -> i32 {
    view.settings
        .api_endpoints
        .first()
        .map_or(6443, |(_, port)| i32::from(*port))
}

fn service(view: &View<'_>) -> Service {
    let ip = view.settings.kubernetes_service_ip.clone();
    Service {
        metadata: metadata(&[("component", "apiserver"), ("provider", "kubernetes")]),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: Some(ip.clone()),
            cluster_ips: Some(vec![ip]),
            ip_families: Some(vec!["IPv4".into()]),
            ip_family_policy: Some("SingleStack".into()),
            session_affinity: Some("None".into()),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.into()),
                port: 443,
                protocol: Some("TCP".into()),
                target_port: Some(IntOrString::Int(port(view))),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn endpoints(view: &View<'_>) -> Endpoints {
    // Replicas of one machine share its address: one subset for each port.
    let mut by_port: BTreeMap<u16, Vec<EndpointAddress>> = BTreeMap::new();
    for (ip, port) in &view.settings.api_endpoints {
        let address = EndpointAddress {
            ip: ip.clone(),
            ..EndpointAddress::default()
        };
        by_port.entry(*port).or_default().push(address);
    }
    let subset = |(port, addresses): (u16, Vec<EndpointAddress>)| EndpointSubset {
        addresses: Some(addresses),
        not_ready_addresses: None,
        ports: Some(vec![EndpointPort {
            name: Some(PORT_NAME.into()),
            port: i32::from(port),
            protocol: Some("TCP".into()),
            app_protocol: None,
        }]),
    };
    Endpoints {
        metadata: metadata(&[("endpointslice.kubernetes.io/skip-mirror", "true")]),
        subsets: Some(by_port.into_iter().map(subset).collect()),
    }
}

/// A slice has one port for all: replicas on another port than the first's are left out.
fn slice(view: &View<'_>) -> EndpointSlice {
    let number = port(view);
    let same = view
        .settings
        .api_endpoints
        .iter()
        .filter(|(_, port)| i32::from(*port) == number);
    let endpoint = |(ip, _): &(String, u16)| Endpoint {
        addresses: vec![ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(true),
            ..EndpointConditions::default()
        }),
        ..Endpoint::default()
    };
    EndpointSlice {
        metadata: metadata(&[("kubernetes.io/service-name", NAME)]),
        address_type: "IPv4".into(),
        endpoints: same.map(endpoint).collect(),
        ports: Some(vec![SlicePort {
            name: Some(PORT_NAME.into()),
            port: Some(number),
            protocol: Some("TCP".into()),
            app_protocol: None,
        }]),
    }
}
