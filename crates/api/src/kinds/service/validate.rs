//! Rules of a Service (upstream `ValidateService`).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::addresses;
use super::{is_externally_accessible, needs_health_check_node_port};
use crate::field_error::FieldError;
use crate::podspec::json::typed;
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::SPEC;
use crate::podspec::{handlers, names};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const LOAD_BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
const MAX_AFFINITY_SECONDS: i32 = 86_400;

/// Rules that hold for a create and for an update.
pub fn validate(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let service: Service = typed(Some(object));
    let spec = service.spec.unwrap_or_default();
    let ports = spec.ports.given();
    if ports.is_empty() && !is_headless(&spec) && spec.type_.given() != "ExternalName" {
        errors.required(SPEC.child("ports"), "");
    }
    by_type(&mut errors, &spec);
    let mut seen = BTreeSet::new();
    let list = SPEC.child("ports");
    for (i, port) in ports.iter().enumerate() {
        validate_port(
            &mut errors,
            &list.index(i),
            port,
            ports.len() > 1,
            &mut seen,
        );
    }
    names::labels(&mut errors, &SPEC.child("selector"), spec.selector.as_ref());
    session_affinity(&mut errors, &spec);
    addresses::validate(&mut errors, &spec);
    let list = SPEC.child("externalIPs");
    for (i, address) in spec.external_ips.given().iter().enumerate() {
        addresses::external_ip(&mut errors, list.index(i), address);
    }
    errors.one_of(SPEC.child("type"), spec.type_.given(), TYPES);
    unique_ports(&mut errors, &spec);
    load_balancer(&mut errors, &spec);
    traffic(&mut errors, object, &spec);
    errors.0
}

/// Whether a Service has no address of its own.
pub fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(spec.cluster_ips.given(), [one] if one == "None")
}

fn by_type(errors: &mut Errors, spec: &ServiceSpec) {
    match spec.type_.given() {
        kind @ ("LoadBalancer" | "NodePort") if is_headless(spec) => {
            let at = SPEC.child("clusterIPs");
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.invalid(at.index(0), "None", detail);
        }
        "ExternalName" => {
            for (field, is_set) in [
                ("clusterIPs", !spec.cluster_ips.given().is_empty()),
                ("ipFamilies", !spec.ip_families.given().is_empty()),
                ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
            ] {
                if is_set {
                    let detail = "may not be set for ExternalName services";
                    errors.forbidden(SPEC.child(field), detail);
                }
            }
            let name = spec.external_name.given();
            let name = name.strip_suffix('.').unwrap_or(name);
            let at = SPEC.child("externalName");
            if name.is_empty() {
                errors.required(at, "");
            } else {
                errors.invalid_each(at, name, names::dns1123_subdomain(name));
            }
        }
        _ => {}
    }
}

fn validate_port<'a>(
    errors: &mut Errors,
    at: &Path<'_>,
    port: &'a ServicePort,
    needs_name: bool,
    seen: &mut BTreeSet<&'a str>,
) {
    let name = port.name.given();
    if !name.is_empty() {
        errors.invalid_each(at.child("name"), name, names::dns1123_label(name));
        if !seen.insert(name) {
            errors.duplicate(at.child("name"), name);
        }
    } else if needs_name {
        errors.required(at.child("name"), "");
    }
    for message in names::port_number(port.port) {
        errors.invalid(at.child("port"), port.port, message);
    }
    let protocol = port.protocol.given();
    errors.one_of(at.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
    let target = port.target_port.clone().unwrap_or(IntOrString::Int(0));
    handlers::port(errors, at.child("targetPort"), &target);
    if let Some(protocol) = port.app_protocol.as_deref() {
        errors.invalid_each(
            at.child("appProtocol"),
            protocol,
            names::qualified_name(protocol),
        );
    }
}

fn unique_ports(errors: &mut Errors, spec: &ServiceSpec) {
    let list = SPEC.child("ports");
    let (mut node_ports, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in spec.ports.given().iter().enumerate() {
        let at = list.index(i);
        let protocol = port.protocol.given();
        if let Some(node_port) = port.node_port.filter(|port| *port != 0) {
            if spec.type_.given() == "ClusterIP" {
                let detail = "may not be used when `type` is 'ClusterIP'";
                errors.forbidden(at.child("nodePort"), detail);
            }
            if !node_ports.insert((protocol, node_port)) {
                errors.duplicate(at.child("nodePort"), node_port);
            }
        }
        if !ports.insert((protocol, port.port)) {
            // Upstream shows its internal structure, with these names.
            let shown = json!({
                "Name": "", "Protocol": protocol, "AppProtocol": null, "Port": port.port,
                "TargetPort": 0, "NodePort": 0,
            });
            errors.duplicate(at, shown);
        }
    }
}

fn session_affinity(errors: &mut Errors, spec: &ServiceSpec) {
    let affinity = spec.session_affinity.given();
    errors.one_of(
        SPEC.child("sessionAffinity"),
        affinity,
        &["ClientIP", "None"],
    );
    let at = SPEC.child("sessionAffinityConfig");
    let config = spec.session_affinity_config.as_ref();
    match affinity {
        "None" if config.is_some() => {
            errors.forbidden(at, "must not be set when session affinity is None");
        }
        "ClientIP" => {
            let client = config.and_then(|config| config.client_ip.as_ref());
            match client.and_then(|client| client.timeout_seconds) {
                None => errors.required(at, "when session affinity type is ClientIP"),
                Some(seconds) if !(1..=MAX_AFFINITY_SECONDS).contains(&seconds) => {
                    let detail =
                        format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
                    errors.invalid(at.child("clientIP.timeoutSeconds"), seconds, detail);
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

fn load_balancer(errors: &mut Errors, spec: &ServiceSpec) {
    let is_balanced = spec.type_.given() == "LoadBalancer";
    let ranges = spec.load_balancer_source_ranges.given();
    let at = SPEC.child("LoadBalancerSourceRanges");
    if !ranges.is_empty() && !is_balanced {
        errors.forbidden(at, LOAD_BALANCER_ONLY);
    }
    for (i, range) in ranges.iter().enumerate() {
        names::cidr(errors, at.index(i), range.trim());
    }
    match spec.allocate_load_balancer_node_ports {
        Some(_) if !is_balanced => {
            errors.forbidden(
                SPEC.child("allocateLoadBalancerNodePorts"),
                LOAD_BALANCER_ONLY,
            );
        }
        None if is_balanced => errors.required(Path::root("allocateLoadBalancerNodePorts"), ""),
        _ => {}
    }
    if let Some(class) = spec.load_balancer_class.as_deref() {
        let at = SPEC.child("loadBalancerClass");
        if is_balanced {
            errors.invalid_each(at, class, names::qualified_name(class));
        } else {
            errors.forbidden(at, LOAD_BALANCER_ONLY);
        }
    }
}

fn traffic(errors: &mut Errors, object: &Value, spec: &ServiceSpec) {
    let policies = &["Cluster", "Local"];
    let at = SPEC.child("externalTrafficPolicy");
    let external = spec.external_traffic_policy.given();
    if is_externally_accessible(object) {
        errors.one_of(at, external, policies);
    } else if !external.is_empty() {
        errors.invalid(
            at,
            external,
            "may only be set for externally-accessible services",
        );
    }
    // The port is allocated after this check, so that its absence is no error.
    let at = SPEC.child("healthCheckNodePort");
    if let Some(port) = spec.health_check_node_port.filter(|port| *port != 0) {
        if needs_health_check_node_port(object) {
            for message in names::port_number(port) {
                errors.invalid(at, port, message);
            }
        } else {
            let detail = "may only be set when `type` is 'LoadBalancer' and \
                          `externalTrafficPolicy` is 'Local'";
            errors.invalid(at, port, detail);
        }
    }
    let at = SPEC.child("internalTrafficPolicy");
    match spec.internal_traffic_policy.as_deref() {
        None if spec.type_.given() != "ExternalName" => errors.required(at, ""),
        policy => errors.one_of_if(at, policy, policies),
    }
    let distributions = &["PreferClose", "PreferSameNode", "PreferSameZone"];
    let distribution = spec.traffic_distribution.as_deref();
    errors.one_of_if(
        SPEC.child("trafficDistribution"),
        distribution,
        distributions,
    );
}

#[cfg(test)]
mod tests {
    use super::super::KIND;
    use super::*;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        for (spec, expected) in [
            (json!({}), "spec.ports: Required value"),
            (
                json!({"ports": [{"port": 0}]}),
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                json!({"ports": [{"port": 80}, {"name": "b", "port": 81}]}),
                "spec.ports[0].name: Required value",
            ),
            (
                json!({"type": "Magic", "ports": [{"port": 80}]}),
                "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \
                 \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ),
            (
                json!({"type": "ExternalName"}),
                "spec.externalName: Required value",
            ),
            (
                json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80}]}),
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort \
                 services",
            ),
            (
                json!({"ports": [{"port": 80, "nodePort": 30000}]}),
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            ),
            (
                json!({"clusterIP": "x", "ports": [{"port": 80}]}),
                "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. \
                 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                json!({"ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}]}),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not \
                 configured for dual-stack services",
            ),
        ] {
            let mut service = json!({"metadata": {"name": "s", "namespace": "x"}, "spec": spec});
            KIND.default(&mut service);
            KIND.prepare_create(&mut service);
            assert_eq!(KIND.validate(&service, None)[0].to_string(), expected);
        }
    }
}
