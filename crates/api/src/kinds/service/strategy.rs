//! A Service's defaults and what a create or an update does to it (upstream `SetDefaults_Service`,
//! `registry/core/service`).
//!
//! The cluster has one address family, IPv4.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    is_externally_accessible, needs_cluster_ip, needs_health_check_node_port, needs_node_port,
};
use crate::podspec::json::{
    Fields, each, ensure, int, into_object, list, or, or_pointer, same, text, unset,
};

/// Seconds that a client stays with its pod under ClientIP affinity: three hours.
const AFFINITY_SECONDS: i64 = 10_800;

/// Fills in defaults.
pub fn default(service: &mut Value) {
    let spec = ensure(into_object(service), "spec");
    or(spec, "sessionAffinity", "None");
    or(spec, "type", "ClusterIP");
    match spec["sessionAffinity"].as_str() {
        Some("None") => {
            spec.remove("sessionAffinityConfig");
        }
        Some("ClientIP") => {
            let config = ensure(spec, "sessionAffinityConfig");
            or_pointer(
                ensure(config, "clientIP"),
                "timeoutSeconds",
                AFFINITY_SECONDS,
            );
        }
        _ => {}
    }
    for port in each(spec, "ports") {
        or(port, "protocol", "TCP");
        if unset(port, "targetPort") || port["targetPort"] == 0 {
            let number = port.get("port").cloned().unwrap_or_default();
            port.insert("targetPort".to_owned(), number);
        }
    }
    let has_address = spec["type"] != "ExternalName";
    if has_address {
        or_pointer(spec, "internalTrafficPolicy", "Cluster");
    }
    if spec["type"] == "LoadBalancer" {
        or_pointer(spec, "allocateLoadBalancerNodePorts", true);
    }
    if is_externally_accessible(service) {
        let spec = ensure(into_object(service), "spec");
        or(spec, "externalTrafficPolicy", "Cluster");
    }
    let status = service.get_mut("status").and_then(Value::as_object_mut);
    let balancer = status.and_then(|status| status.get_mut("loadBalancer"));
    for ingress in balancer
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(|b| each(b, "ingress"))
    {
        if !unset(ingress, "ip") {
            or_pointer(ingress, "ipMode", "VIP");
        }
    }
}

/// A new Service has the status of one without a balancer.
pub fn prepare_create(service: &mut Value) {
    into_object(service).insert("status".to_owned(), json!({"loadBalancer": {}}));
    let spec = ensure(into_object(service), "spec");
    if !unset(spec, "clusterIP") && is_empty_list(spec, "clusterIPs") {
        let address = spec["clusterIP"].clone();
        spec.insert("clusterIPs".to_owned(), json!([address]));
    }
    families(service);
}

/// Keeps what was allocated, drops what the new type has no use for.
pub fn prepare_update(new: &mut Value, old: &Value) {
    keep_allocated(new, old);
    drop_by_type(new, old);
    mirror_cluster_ip(new, old);
    families(new);
}

/// Puts in the address that was allocated.
pub fn set_cluster_ip(service: &mut Value, address: &str) {
    let spec = ensure(into_object(service), "spec");
    spec.insert("clusterIP".to_owned(), address.into());
    spec.insert("clusterIPs".to_owned(), json!([address]));
}

fn is_empty_list(spec: &Fields, key: &str) -> bool {
    spec.get(key)
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
}

fn families(service: &mut Value) {
    if !needs_cluster_ip(service) {
        return;
    }
    let spec = ensure(into_object(service), "spec");
    or_pointer(spec, "ipFamilyPolicy", "SingleStack");
    if is_empty_list(spec, "ipFamilies") {
        spec.insert("ipFamilies".to_owned(), json!(["IPv4"]));
    }
}

/// What the server chose stays when an update leaves it out.
fn keep_allocated(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(new) {
        let spec = ensure(into_object(new), "spec");
        if unset(spec, "clusterIP") {
            copy(spec, old, "clusterIP");
        }
        if is_empty_list(spec, "clusterIPs")
            && spec.get("clusterIP") == old["spec"].get("clusterIP")
        {
            copy(spec, old, "clusterIPs");
        }
    }
    if needs_node_port(old) && needs_node_port(new) {
        keep_node_ports(new, old);
    }
    if needs_health_check_node_port(old)
        && needs_health_check_node_port(new)
        && int(new, "/spec/healthCheckNodePort") == 0
    {
        copy(ensure(into_object(new), "spec"), old, "healthCheckNodePort");
    }
}

fn keep_node_ports(new: &mut Value, old: &Value) {
    let ports = |service: &Value| -> BTreeSet<i64> {
        let ports = list(service, "/spec/ports")
            .iter()
            .map(|port| int(port, "/nodePort"));
        ports.filter(|port| *port != 0).collect()
    };
    let mut used: BTreeSet<i64> = ports(old).intersection(&ports(new)).copied().collect();
    for port in each(ensure(into_object(new), "spec"), "ports") {
        if port
            .get("nodePort")
            .and_then(Value::as_i64)
            .unwrap_or_default()
            != 0
        {
            continue;
        }
        let name = port.get("name").and_then(Value::as_str).unwrap_or_default();
        let before = list(old, "/spec/ports")
            .iter()
            .find(|old| text(old, "/name") == name);
        let number = before.map_or(0, |before| int(before, "/nodePort"));
        if number != 0 && used.insert(number) {
            port.insert("nodePort".to_owned(), number.into());
        }
    }
}

/// A field that only the old type had, and that this update did not touch, goes with the type.
fn drop_by_type(new: &mut Value, old: &Value) {
    let unchanged = |new: &Value, field: &str| same(&new["spec"][field], &old["spec"][field]);
    let mut dropped = Vec::new();
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        dropped.extend(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
    }
    if needs_health_check_node_port(old) && !needs_health_check_node_port(new) {
        dropped.push("healthCheckNodePort");
    }
    let balanced = |service: &Value| text(service, "/spec/type") == "LoadBalancer";
    if balanced(old) && !balanced(new) {
        dropped.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if is_externally_accessible(old) && !is_externally_accessible(new) {
        dropped.push("externalTrafficPolicy");
    }
    dropped.retain(|field| unchanged(new, field));
    let drop_ports = needs_node_port(old) && !needs_node_port(new) && {
        let ports = |service: &Value| -> Vec<i64> {
            list(service, "/spec/ports")
                .iter()
                .map(|port| int(port, "/nodePort"))
                .collect()
        };
        ports(new) == ports(old)
    };
    let spec = ensure(into_object(new), "spec");
    for field in dropped {
        spec.remove(field);
    }
    for port in each(spec, "ports").filter(|_| drop_ports) {
        port.remove("nodePort");
    }
}

/// `clusterIP` is the first of `clusterIPs`; a client that knows one of them may change it alone.
fn mirror_cluster_ip(new: &mut Value, old: &Value) {
    let same_list = same(&new["spec"]["clusterIPs"], &old["spec"]["clusterIPs"]);
    let spec = ensure(into_object(new), "spec");
    let before = text(old, "/spec/clusterIP");
    let now = spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if now == before {
        return;
    }
    if now.is_empty() && same_list {
        spec.remove("clusterIPs");
    } else if !now.is_empty() && (same_list || is_empty_list(spec, "clusterIPs")) {
        spec.insert("clusterIPs".to_owned(), json!([now]));
    }
}

fn copy(spec: &mut Fields, old: &Value, field: &str) {
    if let Some(value) = old["spec"].get(field) {
        spec.insert(field.to_owned(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::KIND;
    use super::*;

    fn service(spec: Value) -> Value {
        let mut service = json!({"metadata": {"name": "web", "namespace": "x"}, "spec": spec});
        KIND.default(&mut service);
        service
    }

    #[test]
    fn defaults_follow_the_type() {
        for (given, expected) in [
            (
                json!({"ports": [{"port": 80}]}),
                json!({
                    "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                    "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                }),
            ),
            (
                json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP"}),
                json!({
                    "type": "LoadBalancer", "sessionAffinity": "ClientIP",
                    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                    "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster",
                    "allocateLoadBalancerNodePorts": true,
                }),
            ),
            (
                json!({"type": "ExternalName", "externalName": "a.b"}),
                json!({"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"}),
            ),
        ] {
            assert_eq!(service(given)["spec"], expected);
        }
    }

    #[test]
    fn updates_keep_what_was_allocated_until_the_type_changes() {
        let port = json!([{"name": "a", "port": 80}]);
        let mut old = service(json!({"type": "NodePort", "ports": port}));
        KIND.prepare_create(&mut old);
        set_cluster_ip(&mut old, "10.96.0.9");
        old["spec"]["ports"][0]["nodePort"] = json!(30001);
        let mut new = service(json!({"type": "NodePort", "ports": port}));
        KIND.prepare_update(&mut new, &old);
        assert_eq!(new["spec"], old["spec"]);
        let mut new = old.clone();
        new["spec"]["type"] = json!("ClusterIP");
        KIND.prepare_update(&mut new, &old);
        assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);
        assert_eq!(new["spec"].get("externalTrafficPolicy"), None);
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.9"]));
        assert_eq!(KIND.validate(&new, Some(&old)), []);
    }
}
