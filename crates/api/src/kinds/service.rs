//! Service: the kind, its columns and what allocation of addresses and ports needs to know of it.
//!
//! Allocation itself is the apiserver's: it claims addresses and ports and puts them in with the functions here.

mod addresses;
mod strategy;
mod update;
mod validate;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use serde_json::Value;

pub use self::strategy::set_cluster_ip;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::names;
use crate::podspec::json::{text, typed};
use crate::podspec::path::Given;
use crate::podspec::print;
use crate::table;

/// Service.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[Subresource::Proxy, Subresource::Status],
    columns: COLUMNS,
    selectable: &["spec.clusterIP", "spec.type"],
    name_rule: names::label_1035,
    create_on_update: true,
    hooks: Hooks {
        default: strategy::default,
        prepare_create: strategy::prepare_create,
        prepare_update: strategy::prepare_update,
        validate,
        row,
        fields: |service| {
            vec![
                (
                    "spec.clusterIP",
                    text(service, "/spec/clusterIP").to_owned(),
                ),
                ("spec.type", text(service, "/spec/type").to_owned()),
            ]
        },
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Service>()
});

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Type", "How the Service is exposed."),
    Column::text(
        "Cluster-IP",
        "The IP address of the service within the cluster.",
    ),
    Column::text(
        "External-IP",
        "IP addresses at which nodes accept traffic for this service.",
    ),
    Column::text("Port(s)", "The ports that are exposed by this service."),
    Column::AGE,
    Column::text(
        "Selector",
        "Route service traffic to pods with these labels.",
    )
    .wide(),
];

/// Whether a Service has an address of the cluster: all but ExternalName; a headless one has `None`.
pub fn needs_cluster_ip(service: &Value) -> bool {
    matches!(
        text(service, "/spec/type"),
        "ClusterIP" | "NodePort" | "LoadBalancer"
    )
}

/// Whether a Service is headless: its `clusterIP` is `None`.
pub fn is_headless(service: &Value) -> bool {
    text(service, "/spec/clusterIP") == "None"
}

/// Whether the ports of a Service are open on each node.
pub fn needs_node_port(service: &Value) -> bool {
    match text(service, "/spec/type") {
        "NodePort" => true,
        "LoadBalancer" => {
            service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false))
        }
        _ => false,
    }
}

/// Whether a node answers health checks of a balancer for this Service at a port of its own.
pub fn needs_health_check_node_port(service: &Value) -> bool {
    text(service, "/spec/type") == "LoadBalancer"
        && text(service, "/spec/externalTrafficPolicy") == "Local"
}

/// Whether a Service takes traffic from outside.
pub fn is_externally_accessible(service: &Value) -> bool {
    match text(service, "/spec/type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !crate::podspec::json::list(service, "/spec/externalIPs").is_empty(),
        _ => false,
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = old.map_or_else(Vec::new, |old| update::validate(new, old));
    errors.extend(validate::validate(new));
    errors
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let spec: ServiceSpec = typed(object.get("spec"));
    let cluster_ip = spec
        .cluster_ips
        .given()
        .first()
        .map_or("<none>", String::as_str);
    vec![
        table::name(object),
        spec.type_.given().into(),
        cluster_ip.into(),
        external_ip(object, &spec).into(),
        ports(spec.ports.given()).into(),
        table::age(object, now_unix_ms),
        print::labels(object.pointer("/spec/selector")).into(),
    ]
}

fn external_ip(object: &Value, spec: &ServiceSpec) -> String {
    let external = spec.external_ips.given();
    match spec.type_.given() {
        "ClusterIP" | "NodePort" if external.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let ingress = crate::podspec::json::list(object, "/status/loadBalancer/ingress");
            let mut addresses: Vec<String> = (ingress.iter())
                .map(|ingress| match text(ingress, "/ip") {
                    "" => text(ingress, "/hostname").to_owned(),
                    ip => ip.to_owned(),
                })
                .filter(|address| !address.is_empty())
                .collect();
            addresses.sort_unstable();
            addresses.dedup();
            addresses.extend_from_slice(external);
            if addresses.is_empty() {
                "<pending>".to_owned()
            } else {
                addresses.join(",")
            }
        }
        "ExternalName" => spec.external_name.given().to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn ports(ports: &[ServicePort]) -> String {
    let pieces: Vec<String> = (ports.iter())
        .map(|port| match port.node_port.unwrap_or_default() {
            0 => format!("{}/{}", port.port, port.protocol.given()),
            node_port => format!("{}:{node_port}/{}", port.port, port.protocol.given()),
        })
        .collect();
    if pieces.is_empty() {
        "<none>".to_owned()
    } else {
        pieces.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_show_where_a_service_is_reached() {
        for (spec, status, expected) in [
            (
                json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.7"],
                    "ports": [{"port": 80, "protocol": "TCP"}]}),
                json!({}),
                ["ClusterIP", "10.96.0.7", "<none>", "80/TCP"],
            ),
            (
                json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.7"],
                    "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}),
                json!({"loadBalancer": {"ingress": [{"ip": "5.6.7.8"}, {"hostname": "a.b"}]}}),
                ["LoadBalancer", "10.96.0.7", "5.6.7.8,a.b", "80:30080/TCP"],
            ),
            (
                json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.7"]}),
                json!({}),
                ["LoadBalancer", "10.96.0.7", "<pending>", "<none>"],
            ),
            (
                json!({"type": "ExternalName", "externalName": "a.example"}),
                json!({}),
                ["ExternalName", "<none>", "a.example", "<none>"],
            ),
        ] {
            let service = json!({"metadata": {"name": "s"}, "spec": spec, "status": status});
            let cells = row(&service, 0);
            assert_eq!(cells[1..5], expected.map(Value::from));
        }
    }
}
