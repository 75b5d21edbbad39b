//! Which addresses a Service's fields ask for, and how they are filled in: upstream's
//! `registry/core/service/storage/alloc.go` for one IPv4 family.

use std::collections::BTreeSet;

use kontiki_base::status::Status;
use serde_json::{Map, Value, json};

use super::claims::Pool;

/// The addresses that a Service holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) ips: BTreeSet<String>,
    pub(super) ports: BTreeSet<u16>,
}

impl Needs {
    pub(super) fn of(service: &Value) -> Self {
        let mut needs = Self::default();
        let ip = cluster_ip(service);
        if wants_ip(service) && !ip.is_empty() && ip != "None" {
            needs.ips.insert(ip.to_owned());
        }
        if wants_ports(service) {
            let ports = ports(service)
                .iter()
                .filter_map(|port| node_port(&port["nodePort"]));
            needs.ports.extend(ports);
        }
        needs
            .ports
            .extend(node_port(&service["spec"]["healthCheckNodePort"]));
        needs
    }
}

fn text<'a>(service: &'a Value, field: &str) -> &'a str {
    service["spec"][field].as_str().unwrap_or_default()
}

fn cluster_ip(service: &Value) -> &str {
    text(service, "clusterIP")
}

fn ports(service: &Value) -> &[Value] {
    service["spec"]["ports"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

fn node_port(value: &Value) -> Option<u16> {
    value
        .as_u64()
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0)
}

fn wants_ip(service: &Value) -> bool {
    text(service, "type") != "ExternalName"
}

fn wants_ports(service: &Value) -> bool {
    match text(service, "type") {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != json!(false),
        _ => false,
    }
}

fn wants_health_check(service: &Value) -> bool {
    text(service, "type") == "LoadBalancer" && text(service, "externalTrafficPolicy") == "Local"
}

fn spec_mut(service: &mut Value) -> &mut Map<String, Value> {
    service["spec"].as_object_mut().expect("the caller looked")
}

/// What an update leaves out it keeps, and what a change of type makes meaningless it drops.
pub(super) fn carry_over(new: &mut Value, old: &Value) {
    if wants_ip(old) && wants_ip(new) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            keep_field(new, old, field);
        }
    } else if !wants_ip(new) && cluster_ip(new) == cluster_ip(old) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec_mut(new).remove(field);
        }
    }
    match (wants_ports(old), wants_ports(new)) {
        (true, true) => keep_node_ports(new, old),
        (true, false) if text(new, "type") != "LoadBalancer" => drop_node_ports(new, old),
        _ => {}
    }
    match (wants_health_check(old), wants_health_check(new)) {
        (true, true) => keep_field(new, old, "healthCheckNodePort"),
        (true, false) => {
            spec_mut(new).remove("healthCheckNodePort");
        }
        _ => {}
    }
}

fn keep_field(new: &mut Value, old: &Value, field: &str) {
    let is_absent = new["spec"][field].is_null() || new["spec"][field] == "";
    if let Some(value) = old["spec"].get(field).filter(|_| is_absent) {
        spec_mut(new).insert(field.into(), value.clone());
    }
}

/// A port without a node port gets that of the old port of the same number and protocol.
fn keep_node_ports(new: &mut Value, old: &Value) {
    let taken: BTreeSet<u16> = ports(new)
        .iter()
        .filter_map(|p| node_port(&p["nodePort"]))
        .collect();
    let Some(list) = new["spec"]["ports"].as_array_mut() else {
        return;
    };
    for port in list
        .iter_mut()
        .filter(|port| node_port(&port["nodePort"]).is_none())
    {
        let same =
            |other: &&Value| other["port"] == port["port"] && protocol(other) == protocol(port);
        let found = ports(old)
            .iter()
            .find(same)
            .and_then(|other| node_port(&other["nodePort"]));
        if let Some(found) = found.filter(|found| !taken.contains(found)) {
            port["nodePort"] = json!(found);
        }
    }
}

fn protocol(port: &Value) -> &str {
    port["protocol"].as_str().unwrap_or("TCP")
}

fn drop_node_ports(new: &mut Value, old: &Value) {
    let before = Needs::of(old).ports;
    let Some(list) = new["spec"]["ports"].as_array_mut() else {
        return;
    };
    for port in list {
        if node_port(&port["nodePort"]).is_some_and(|number| before.contains(&number)) {
            port.as_object_mut().map(|port| port.remove("nodePort"));
        }
    }
}

/// Allocates what is asked for without a value, and checks what is asked for by value.
pub(super) fn fill(new: &mut Value, before: &Needs, pool: &mut Pool<'_>) -> Result<(), Status> {
    if wants_ip(new) {
        fill_ip(new, before, pool)?;
    }
    if wants_ports(new) {
        fill_ports(new, before, pool)?;
    }
    if wants_health_check(new) && node_port(&new["spec"]["healthCheckNodePort"]).is_none() {
        let port = pool.free_port()?;
        spec_mut(new).insert("healthCheckNodePort".into(), json!(port));
    }
    Ok(())
}

fn fill_ip(new: &mut Value, before: &Needs, pool: &mut Pool<'_>) -> Result<(), Status> {
    let listed = new
        .pointer("/spec/clusterIPs/0")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let wanted = Some(cluster_ip(new))
        .filter(|ip| !ip.is_empty())
        .unwrap_or(listed)
        .to_owned();
    let ip = match wanted.as_str() {
        "" => pool.free_ip()?,
        "None" => wanted,
        ip if before.ips.contains(ip) => wanted,
        // Another address in place of one that is set is refused by validation.
        _ if !before.ips.is_empty() => return Ok(()),
        ip => {
            pool.check_ip(ip)?;
            wanted
        }
    };
    let spec = spec_mut(new);
    spec.insert("clusterIPs".into(), json!([ip]));
    spec.insert("clusterIP".into(), json!(ip));
    spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
    spec.entry("ipFamilyPolicy")
        .or_insert_with(|| json!("SingleStack"));
    Ok(())
}

fn fill_ports(new: &mut Value, before: &Needs, pool: &mut Pool<'_>) -> Result<(), Status> {
    let asked: Vec<u16> = ports(new)
        .iter()
        .filter_map(|p| node_port(&p["nodePort"]))
        .collect();
    for (at, number) in asked.iter().enumerate() {
        if !before.ports.contains(number) && !asked[..at].contains(number) {
            pool.check_port(at, *number)?;
        }
    }
    let Some(list) = new["spec"]["ports"].as_array_mut() else {
        return Ok(());
    };
    // The same port over TCP and UDP shares one node port, as upstream.
    let mut given: Vec<(Value, String, u16)> = Vec::new();
    for port in list.iter_mut() {
        let (number, protocol) = (port["port"].clone(), protocol(port).to_owned());
        if node_port(&port["nodePort"]).is_none() {
            let shared = given
                .iter()
                .find(|(n, p, _)| *n == number && *p != protocol);
            let free = match shared {
                Some((_, _, port)) => *port,
                None => pool.free_port()?,
            };
            port["nodePort"] = json!(free);
        }
        given.extend(node_port(&port["nodePort"]).map(|port| (number, protocol, port)));
    }
    Ok(())
}
