//! Endpoints (upstream `pkg/registry/core/endpoint`, `ValidateEndpoints`).
//!
//! The rules of addresses and ports are shared with EndpointSlice.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Endpoints;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::{names, object_mut};
use crate::table;

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const MAX_SHOWN: usize = 3;
const DEPRECATED: &str =
    "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";

/// Endpoints.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "endpoints",
    short_names: &["ep"],
    columns: &[
        Column::NAME,
        Column::text(
            "Endpoints",
            "The set of all endpoints is the union of all subsets.",
        ),
        Column::AGE,
    ],
    create_on_update: true,
    deprecation: Some(DEPRECATED),
    hooks: Hooks {
        default,
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Endpoints>()
});

/// The array at `field`.
pub(super) fn items<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn default(object: &mut Value) {
    let subsets = object.get_mut("subsets").and_then(Value::as_array_mut);
    for subset in subsets.into_iter().flatten() {
        let ports = subset.get_mut("ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten() {
            object_mut(port)
                .entry("protocol")
                .or_insert_with(|| "TCP".into());
        }
    }
}

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (idx, subset) in items(new, "subsets").iter().enumerate() {
        let path = format!("subsets[{idx}]");
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|list| items(subset, list).is_empty()) {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(&path, detail));
        }
        for list in lists {
            for (idx, address) in items(subset, list).iter().enumerate() {
                errors.extend(validate_address(address, &format!("{path}.{list}[{idx}]")));
            }
        }
        let ports = items(subset, "ports");
        for (idx, port) in ports.iter().enumerate() {
            let path = format!("{path}.ports[{idx}]");
            let name = text(port, "name");
            match name.is_empty() {
                true if ports.len() > 1 => {
                    errors.push(FieldError::required(format!("{path}.name"), ""));
                }
                true => {}
                false => {
                    let messages = names::dns1123_label(name);
                    errors.extend(FieldError::invalid_each(
                        &format!("{path}.name"),
                        name,
                        messages,
                    ));
                }
            }
            let number = port.get("port").and_then(Value::as_i64).unwrap_or_default();
            for message in names::port_number(number) {
                errors.push(FieldError::invalid(format!("{path}.port"), number, message));
            }
            errors.extend(validate_protocol(port, &path));
        }
    }
    errors
}

fn validate_address(address: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let ip_path = format!("{path}.ip");
    errors.extend(validate_ip(text(address, "ip"), &ip_path));
    let host = text(address, "hostname");
    if !host.is_empty() {
        let path = format!("{path}.hostname");
        errors.extend(FieldError::invalid_each(
            &path,
            host,
            names::dns1123_label(host),
        ));
    }
    let node = text(address, "nodeName");
    if !node.is_empty() {
        let path = format!("{path}.nodeName");
        errors.extend(FieldError::invalid_each(
            &path,
            node,
            names::dns1123_subdomain(node),
        ));
    }
    errors
}

/// An address that traffic can be sent to.
pub(super) fn validate_ip(text: &str, path: &str) -> Vec<FieldError> {
    let Ok(address) = text.parse::<IpAddr>() else {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        return vec![FieldError::invalid(path, text, detail)];
    };
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(address) => (
            address.is_link_local(),
            matches!(address.octets(), [224, 0, 0, _]),
        ),
        IpAddr::V6(address) => (
            address.is_unicast_link_local(),
            address.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    let rules = [
        (
            address.is_unspecified(),
            "may not be unspecified (0.0.0.0 or ::)",
        ),
        (
            address.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            link_local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            link_local_multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ];
    let broken = rules.into_iter().filter(|(broken, _)| *broken);
    broken
        .map(|(_, detail)| FieldError::invalid(path, text, detail))
        .collect()
}

/// `protocol` and `appProtocol` of a port.
pub(super) fn validate_protocol(port: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let protocol = text(port, "protocol");
    if protocol.is_empty() {
        errors.push(FieldError::required(format!("{path}.protocol"), ""));
    } else if !PROTOCOLS.contains(&protocol) {
        errors.push(FieldError::not_supported(
            format!("{path}.protocol"),
            protocol,
            PROTOCOLS,
        ));
    }
    let app = text(port, "appProtocol");
    if !app.is_empty() {
        let path = format!("{path}.appProtocol");
        errors.extend(FieldError::invalid_each(
            &path,
            app,
            names::qualified_name(app),
        ));
    }
    errors
}

/// At most three items and how many more there are; shared with EndpointSlice.
pub(super) fn shown(items: &[String], otherwise: &str) -> String {
    let list = items[..items.len().min(MAX_SHOWN)].join(",");
    match items.len() {
        0 => otherwise.to_owned(),
        n_items if n_items > MAX_SHOWN => format!("{list} + {} more...", n_items - MAX_SHOWN),
        _ => list,
    }
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let mut endpoints = Vec::new();
    for subset in items(object, "subsets") {
        let addresses = || {
            items(subset, "addresses")
                .iter()
                .map(|address| text(address, "ip"))
        };
        let ports = items(subset, "ports");
        if ports.is_empty() {
            endpoints.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            let port = port.get("port").and_then(Value::as_i64).unwrap_or_default();
            endpoints.extend(addresses().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{port}"),
                false => format!("{ip}:{port}"),
            }));
        }
    }
    vec![
        table::name(object),
        shown(&endpoints, "<none>").into(),
        table::age(object, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_show_three_and_count_the_rest() {
        let addresses: Vec<Value> = (1..=5)
            .map(|n| json!({"ip": format!("10.0.0.{n}")}))
            .collect();
        let object = json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]});
        assert_eq!(
            row(&object, 0)[1],
            "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."
        );
        assert_eq!(row(&json!({}), 0)[1], "<none>");
    }

    #[test]
    fn addresses_and_ports_are_checked() {
        let mut object = json!({"subsets": [{}, {"addresses": [{"ip": "127.0.0.1"}, {"ip": "x"}],
            "ports": [{"port": 0}, {"name": "a", "port": 80, "protocol": "X"}]}]});
        default(&mut object);
        let errors: Vec<String> = validate(&object, None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
                "subsets[1].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback \
             range (127.0.0.0/8, ::1/128)",
                "subsets[1].addresses[1].ip: Invalid value: \"x\": must be a valid IP address, (e.g. \
             10.9.8.7 or 2001:db8::ffff)",
                "subsets[1].ports[0].name: Required value",
                "subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "subsets[1].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \
             \"TCP\", \"UDP\"",
            ]
        );
    }
}
