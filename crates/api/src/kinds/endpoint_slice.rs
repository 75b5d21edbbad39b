//! EndpointSlice (upstream `pkg/registry/discovery/endpointslice`, `ValidateEndpointSlice`).

use std::collections::HashSet;
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use super::endpoints::{items, shown, text, validate_ip, validate_protocol};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::{names, object_mut};
use crate::table;

const ADDRESS_TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_HINTS: usize = 8;

/// EndpointSlice.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "endpointslice",
    columns: &[
        Column::NAME,
        Column::text(
            "AddressType",
            "addressType specifies the type of address carried by this EndpointSlice.",
        ),
        Column::text(
            "Ports",
            "ports specifies the list of network ports exposed.",
        ),
        Column::text(
            "Endpoints",
            "endpoints is a list of unique endpoints in this slice.",
        ),
        Column::AGE,
    ],
    counts_generation: true,
    create_on_update: true,
    hooks: Hooks {
        default,
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<EndpointSlice>()
});

fn default(object: &mut Value) {
    let ports = object.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let port = object_mut(port);
        port.entry("name").or_insert_with(|| "".into());
        port.entry("protocol").or_insert_with(|| "TCP".into());
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let address_type = text(new, "addressType");
    if let Some(old) = old
        && text(old, "addressType") != address_type
    {
        errors.push(FieldError::invalid(
            "addressType",
            address_type,
            "field is immutable",
        ));
    }
    if address_type.is_empty() {
        errors.push(FieldError::required("addressType", ""));
    } else if !ADDRESS_TYPES.contains(&address_type) {
        errors.push(FieldError::not_supported(
            "addressType",
            address_type,
            ADDRESS_TYPES,
        ));
    }
    errors.extend(validate_endpoints(items(new, "endpoints"), address_type));
    errors.extend(validate_ports(items(new, "ports")));
    errors
}

fn validate_endpoints(endpoints: &[Value], address_type: &str) -> Vec<FieldError> {
    if endpoints.len() > MAX_ENDPOINTS {
        return vec![FieldError::too_many(
            "endpoints",
            endpoints.len(),
            MAX_ENDPOINTS,
        )];
    }
    let mut errors = Vec::new();
    for (idx, endpoint) in endpoints.iter().enumerate() {
        let path = format!("endpoints[{idx}]");
        let addresses = items(endpoint, "addresses");
        let list = format!("{path}.addresses");
        if addresses.is_empty() {
            errors.push(FieldError::required(
                &list,
                "must contain at least 1 address",
            ));
        } else if addresses.len() > MAX_ADDRESSES {
            errors.push(FieldError::too_many(&list, addresses.len(), MAX_ADDRESSES));
        }
        for (idx, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
            errors.extend(validate_address(
                address,
                address_type,
                &format!("{list}[{idx}]"),
            ));
        }
        errors.extend(validate_details(endpoint, &path));
    }
    errors
}

fn validate_address(address: &str, address_type: &str, path: &str) -> Vec<FieldError> {
    let of_family = |is_family: fn(&IpAddr) -> bool, detail: &str| {
        let mut errors = validate_ip(address, path);
        if address.parse().is_ok_and(|address| !is_family(&address)) {
            errors.push(FieldError::invalid(path, address, detail));
        }
        errors
    };
    match address_type {
        "IPv4" => of_family(IpAddr::is_ipv4, "must be an IPv4 address"),
        "IPv6" => of_family(IpAddr::is_ipv6, "must be an IPv6 address"),
        "FQDN" => {
            let messages = names::dns1123_subdomain(address.trim_end_matches('.'));
            FieldError::invalid_each(path, address, messages)
        }
        _ => Vec::new(),
    }
}

fn validate_details(endpoint: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (field, rule) in [
        ("hostname", names::dns1123_label as fn(&str) -> Vec<String>),
        ("nodeName", names::dns1123_subdomain),
    ] {
        if let Some(value) = endpoint.get(field).and_then(Value::as_str) {
            errors.extend(FieldError::invalid_each(
                &format!("{path}.{field}"),
                value,
                rule(value),
            ));
        }
    }
    for hints in ["forZones", "forNodes"] {
        let list = endpoint
            .get("hints")
            .map_or(&[][..], |found| items(found, hints));
        let path = format!("{path}.hints.{hints}");
        if list.len() > MAX_HINTS {
            errors.push(FieldError::too_many(path, list.len(), MAX_HINTS));
            continue;
        }
        let mut known = HashSet::new();
        for (idx, hint) in list.iter().enumerate() {
            let name = text(hint, "name");
            let path = format!("{path}[{idx}].name");
            if !known.insert(name) {
                errors.push(FieldError::duplicate(&path, name));
            }
            errors.extend(FieldError::invalid_each(
                &path,
                name,
                names::label_value(name),
            ));
        }
    }
    errors
}

fn validate_ports(ports: &[Value]) -> Vec<FieldError> {
    if ports.len() > MAX_PORTS {
        return vec![FieldError::too_many("ports", ports.len(), MAX_PORTS)];
    }
    let mut errors = Vec::new();
    let mut known = HashSet::new();
    for (idx, port) in ports.iter().enumerate() {
        let path = format!("ports[{idx}]");
        let name = text(port, "name");
        let name_path = format!("{path}.name");
        if !name.is_empty() {
            let messages = names::dns1123_label(name);
            errors.extend(FieldError::invalid_each(&name_path, name, messages));
        }
        if !known.insert(name) {
            errors.push(FieldError::duplicate(name_path, name));
        }
        errors.extend(validate_protocol(port, &path));
    }
    errors
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let ports = items(object, "ports").iter().map(|port| {
        let number = port.get("port").and_then(Value::as_i64);
        number.map_or_else(|| "*".to_owned(), |number| number.to_string())
    });
    let addresses = items(object, "endpoints").iter();
    let addresses = addresses.flat_map(|endpoint| items(endpoint, "addresses"));
    let addresses = addresses.filter_map(Value::as_str).map(str::to_owned);
    vec![
        table::name(object),
        text(object, "addressType").into(),
        shown(&ports.collect::<Vec<_>>(), "<unset>").into(),
        shown(&addresses.collect::<Vec<_>>(), "<unset>").into(),
        table::age(object, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn slices_are_checked() {
        let mut slice = json!({"addressType": "IPv4",
            "endpoints": [{"addresses": []}, {"addresses": ["fd00::1"]}],
            "ports": [{"port": 80}, {"port": 81}]});
        default(&mut slice);
        let errors: Vec<String> = validate(&slice, None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "endpoints[0].addresses: Required value: must contain at least 1 address",
                "endpoints[1].addresses[0]: Invalid value: \"fd00::1\": must be an IPv4 address",
                "ports[1].name: Duplicate value: \"\"",
            ]
        );
        let mut changed = slice.clone();
        changed["addressType"] = json!("IPv6");
        assert_eq!(
            validate(&changed, Some(&slice))[0].to_string(),
            "addressType: Invalid value: \"IPv6\": field is immutable"
        );
    }

    #[test]
    fn rows_and_generations_follow_the_content() {
        let old = json!({"metadata": {"name": "s", "generation": 1}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}, {}]});
        assert_eq!(
            row(&old, 0)[1..4],
            [json!("IPv4"), json!("80,*"), json!("10.0.0.1")]
        );
        let mut new = old.clone();
        new["endpoints"] = json!([]);
        KIND.prepare_update(&mut new, &old);
        assert_eq!(new["metadata"]["generation"], 2);
    }
}
