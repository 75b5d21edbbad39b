//! Node (upstream `pkg/registry/core/node`, `ValidateNode`).

use std::collections::{BTreeSet, HashSet};

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use crate::admission::{Admission, Denied};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::{Meta, names, object_mut};
use crate::table;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
/// Labels of a node that its pods get too (upstream plugin `PodTopologyLabels`).
pub const TOPOLOGY_LABELS: [&str; 2] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

/// Node.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "node",
    short_names: &["no"],
    namespaced: false,
    subresources: &[Subresource::Proxy, Subresource::Status],
    columns: &[
        Column::NAME,
        Column::text("Status", "The status of the node"),
        Column::text("Roles", "The roles of the node"),
        Column::AGE,
        Column::text("Version", "Kubelet Version reported by the node."),
        Column::text("Internal-IP", "List of addresses reachable to the node.").wide(),
        Column::text("External-IP", "List of addresses reachable to the node.").wide(),
        Column::text("OS-Image", "OS Image reported by the node.").wide(),
        Column::text("Kernel-Version", "Kernel Version reported by the node.").wide(),
        Column::text(
            "Container-Runtime",
            "ContainerRuntime Version reported by the node.",
        )
        .wide(),
    ],
    selectable: &["spec.unschedulable"],
    status_on_create: true,
    hooks: Hooks {
        default,
        admit,
        validate,
        row,
        fields,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Node>()
});

fn default(object: &mut Value) {
    if let Some(Value::Object(spec)) = object.get_mut("spec") {
        let first = spec.get("podCIDRs").and_then(|list| list.get(0)).cloned();
        match (spec.get("podCIDR").cloned(), first) {
            (Some(cidr), None) => {
                spec.insert("podCIDRs".to_owned(), json!([cidr]));
            }
            (None, Some(first)) => {
                spec.insert("podCIDR".to_owned(), first);
            }
            _ => {}
        }
    }
    if let Some(status) = object.get_mut("status")
        && status.get("allocatable").is_none()
        && let Some(capacity) = status.get("capacity").cloned()
    {
        object_mut(status).insert("allocatable".to_owned(), capacity);
    }
}

/// Nothing is scheduled to a new node before its conditions are looked at (upstream plugin `TaintNodesByCondition`).
fn admit(node: &mut Value, old: Option<&Value>, admission: &Admission<'_>) -> Result<(), Denied> {
    if old.is_some() || admission.subresource.is_some() {
        return Ok(());
    }
    let spec = object_mut(object_mut(node).entry("spec").or_insert_with(|| json!({})));
    let taints = spec.entry("taints").or_insert_with(|| json!([]));
    if taints.is_null() {
        *taints = json!([]);
    }
    if let Some(taints) = taints.as_array_mut() {
        let is_ours = |taint: &Value| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule";
        if !taints.iter().any(is_ours) {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
    }
    Ok(())
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = validate_taints(new);
    errors.extend(validate_pod_cidrs(new));
    let Some(old) = old else { return errors };
    for (field, known) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let value = |node: &Value| node.get("spec").and_then(|spec| spec.get(field)).cloned();
        let before = value(old);
        let is_set = before
            .as_ref()
            .is_some_and(|value| *value != json!([]) && *value != json!(""));
        if is_set && before != value(new) {
            let detail = format!("node updates may not change {known} except from \"\" to valid");
            errors.push(FieldError::forbidden(format!("spec.{field}"), detail));
        }
    }
    errors
}

/// Upstream reports taints under `metadata`, and clients have learned that.
fn validate_taints(node: &Value) -> Vec<FieldError> {
    let taints = node.pointer("/spec/taints").and_then(Value::as_array);
    let mut errors = Vec::new();
    let mut known = HashSet::new();
    for (idx, taint) in taints.into_iter().flatten().enumerate() {
        let path = format!("metadata.taints[{idx}]");
        let text = |field: &str| taint.get(field).and_then(Value::as_str).unwrap_or_default();
        let (key, value, effect) = (text("key"), text("value"), text("effect"));
        let messages = names::qualified_name(key);
        errors.extend(FieldError::invalid_each(
            &format!("{path}.key"),
            key,
            messages,
        ));
        let messages = names::label_value(value);
        if !messages.is_empty() {
            errors.push(FieldError::invalid(
                format!("{path}.value"),
                value,
                messages.join(";"),
            ));
        }
        if effect.is_empty() {
            errors.push(FieldError::required(format!("{path}.effect"), ""));
        } else if !EFFECTS.contains(&effect) {
            errors.push(FieldError::not_supported(
                format!("{path}.effect"),
                effect,
                EFFECTS,
            ));
        }
        if !known.insert((key, effect)) {
            let mut error = FieldError::duplicate(path, taint);
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
    errors
}

fn validate_pod_cidrs(node: &Value) -> Vec<FieldError> {
    let cidrs = node.pointer("/spec/podCIDRs").and_then(Value::as_array);
    let cidrs: Vec<&str> = cidrs
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut errors = Vec::new();
    for (idx, cidr) in cidrs.iter().enumerate() {
        if !is_cidr(cidr) {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(
                format!("spec.podCIDRs[{idx}]"),
                cidr,
                detail,
            ));
        }
    }
    let families: Vec<bool> = cidrs.iter().map(|cidr| cidr.contains(':')).collect();
    if cidrs.len() > 2 || matches!(families[..], [one, two] if one == two) {
        let detail = "may specify no more than one CIDR for each IP family";
        errors.push(FieldError::invalid("spec.podCIDRs", &cidrs, detail));
    }
    errors
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let Ok(address) = address.parse::<std::net::IpAddr>() else {
        return false;
    };
    let max_length = if address.is_ipv4() { 32 } else { 128 };
    length
        .parse::<u32>()
        .is_ok_and(|length| length <= max_length)
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let info = |field: &str, otherwise: &str| {
        table::text(object, &format!("/status/nodeInfo/{field}"), otherwise)
    };
    vec![
        table::name(object),
        status(object).into(),
        roles(object).into(),
        table::age(object, now_unix_ms),
        info("kubeletVersion", ""),
        address(object, "InternalIP").into(),
        address(object, "ExternalIP").into(),
        info("osImage", "<unknown>"),
        info("kernelVersion", "<unknown>"),
        info("containerRuntimeVersion", "<unknown>"),
    ]
}

fn status(node: &Value) -> String {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|condition| condition.get("type") == Some(&json!("Ready")));
    let word = match ready.and_then(|condition| condition.get("status")?.as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    match is_unschedulable(node) {
        true => format!("{word},SchedulingDisabled"),
        false => word.to_owned(),
    }
}

fn is_unschedulable(node: &Value) -> bool {
    node.pointer("/spec/unschedulable")
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

fn roles(node: &Value) -> String {
    let labels = Meta::of(node).labels();
    let roles = labels.filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
        Some(role) => Some(role),
        None if key == ROLE_LABEL => Some(value),
        None => None,
    });
    let roles: BTreeSet<&str> = roles.filter(|role| !role.is_empty()).collect();
    match roles.is_empty() {
        true => "<none>".to_owned(),
        false => roles.into_iter().collect::<Vec<_>>().join(","),
    }
}

fn address(node: &Value, kind: &str) -> String {
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array);
    let mut addresses = addresses.into_iter().flatten();
    let found = addresses.find(|address| address.get("type").and_then(Value::as_str) == Some(kind));
    let address = found.and_then(|address| address.get("address")?.as_str());
    address.unwrap_or("<none>").to_owned()
}

fn fields(object: &Value) -> Vec<(&'static str, String)> {
    vec![("spec.unschedulable", is_unschedulable(object).to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_show_status_roles_and_addresses() {
        let node = json!({"metadata": {"name": "n", "labels": {
                "node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
        let cells = row(&node, 0);
        assert_eq!(cells[1], "NotReady,SchedulingDisabled");
        assert_eq!(cells[2], "edge,worker");
        assert_eq!(
            (&cells[5], &cells[6]),
            (&json!("10.0.0.1"), &json!("<none>"))
        );
        assert_eq!(row(&json!({}), 0)[1], "Unknown");
    }

    #[test]
    fn taints_are_checked() {
        let node = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"},
            {"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "Never"}]}});
        let errors: Vec<String> = validate(&node, None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "metadata.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}: taints \
             must be unique by key and effect pair",
                "metadata.taints[2].effect: Unsupported value: \"Never\": supported values: \
             \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ]
        );
    }

    #[test]
    fn pod_cidrs_are_set_once_and_mirrored() {
        let mut old = json!({"spec": {"podCIDR": "10.244.1.0/24"}});
        default(&mut old);
        assert_eq!(old["spec"]["podCIDRs"], json!(["10.244.1.0/24"]));
        let new = json!({"spec": {"podCIDR": "10.244.2.0/24", "podCIDRs": ["10.244.2.0/24"]}});
        assert_eq!(
            validate(&new, Some(&old))[0].to_string(),
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"
        );
        assert_eq!(
            validate(&json!({"spec": {"podCIDRs": ["x"]}}), None).len(),
            1
        );
    }
}
