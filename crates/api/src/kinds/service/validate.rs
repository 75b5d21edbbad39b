//! Rules of a Service (upstream `ValidateService`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

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
    addresses(&mut errors, &spec);
    let list = SPEC.child("externalIPs");
    for (i, address) in spec.external_ips.given().iter().enumerate() {
        external_ip(&mut errors, list.index(i), address);
    }
    errors.one_of(SPEC.child("type"), spec.type_.given(), TYPES);
    unique_ports(&mut errors, &spec);
    load_balancer(&mut errors, &spec);
    traffic(&mut errors, object, &spec);
    errors.0
}

fn is_headless(spec: &ServiceSpec) -> bool {
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

fn addresses(errors: &mut Errors, spec: &ServiceSpec) {
    if spec.type_.given() == "ExternalName" {
        return;
    }
    let at = SPEC.child("clusterIPs");
    let (first, all) = (spec.cluster_ip.given(), spec.cluster_ips.given());
    match (first, all) {
        ("", []) => {}
        ("", all) => {
            errors.invalid(at, all, "must be empty when `clusterIP` is not specified");
        }
        (_, []) => errors.required(at, ""),
        (first, all) if all[0] != first => {
            errors.invalid(at, all, "first value must match `clusterIP`");
        }
        _ => {}
    }
    let families_at = SPEC.child("ipFamilies");
    let families = spec.ip_families.given();
    for (i, family) in families.iter().enumerate() {
        errors.one_of_if(families_at.index(i), Some(family), &["IPv4", "IPv6"]);
        if families[..i].contains(family) {
            errors.duplicate(families_at.index(i), family.as_str());
        }
    }
    let policy_at = SPEC.child("ipFamilyPolicy");
    let policies = &["PreferDualStack", "RequireDualStack", "SingleStack"];
    errors.one_of_if(policy_at, spec.ip_family_policy.as_deref(), policies);
    let before = errors.0.len();
    for (i, address) in all.iter().enumerate() {
        if i == 0 && address == "None" {
            if all.len() > 1 {
                errors.invalid(at, all, "'None' must be the first and only value");
            }
        } else {
            names::ip(errors, at.index(i), address);
        }
    }
    if all.len() > 2 {
        errors.invalid(at, all, "may only hold up to 2 values");
    }
    if errors.0.len() == before {
        one_family(errors, spec, all, families);
    }
}

/// The cluster has addresses of IPv4 only.
fn one_family(errors: &mut Errors, spec: &ServiceSpec, all: &[String], families: &[String]) {
    let is_v6 = |address: &String| matches!(address.parse(), Ok(IpAddr::V6(_)));
    let at = SPEC.child("clusterIPs");
    if let [one, other] = all
        && is_v6(one) == is_v6(other)
    {
        errors.invalid(
            at,
            all,
            "may specify no more than one IP for each IP family",
        );
    }
    for (i, (address, family)) in all.iter().zip(families).enumerate() {
        if address != "None" && is_v6(address) != (family == "IPv6") {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(at.index(i), address.as_str(), detail);
        }
    }
    if is_headless(spec)
        && spec
            .selector
            .as_ref()
            .is_none_or(|selector| selector.is_empty())
    {
        return;
    }
    let families_at = SPEC.child("ipFamilies");
    for (i, family) in families
        .iter()
        .enumerate()
        .filter(|(_, family)| *family == "IPv6")
    {
        errors.invalid(
            families_at.index(i),
            family.as_str(),
            "not configured on this cluster",
        );
    }
    if spec.ip_family_policy.given() == "RequireDualStack" {
        let detail = "this cluster is not configured for dual-stack services";
        errors.invalid(SPEC.child("ipFamilyPolicy"), "RequireDualStack", detail);
    }
}

/// Addresses that cannot be routed to a Service.
fn external_ip(errors: &mut Errors, at: Path<'_>, address: &str) {
    let before = errors.0.len();
    names::ip(errors, at, address);
    let Ok(ip) = address.parse::<IpAddr>() else {
        return;
    };
    debug_assert_eq!(errors.0.len(), before);
    if ip.is_unspecified() {
        errors.invalid(at, address, format!("may not be unspecified ({address})"));
    }
    if ip.is_loopback() {
        let detail = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
        errors.invalid(at, address, detail);
    }
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] == 0xff02),
    };
    if link_local {
        let detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
        errors.invalid(at, address, detail);
    }
    if link_local_multicast {
        let detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        errors.invalid(at, address, detail);
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
