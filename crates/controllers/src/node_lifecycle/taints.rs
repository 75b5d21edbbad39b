//! Conditions as taints. NoSchedule ones follow at once; NoExecute ones are given by the zone's brake and only swapped
//! or taken away here.

use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use serde_json::Value;

use super::status_of;
use crate::plan::to_value;
use crate::view::{Found, View};

/// The node says that it is not ready.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Nobody hears the node.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "node.kubernetes.io/network-unavailable",
    ),
];

/// Whether a taint is one of ours that evicts.
pub fn evicts(taint: &Taint) -> bool {
    taint.effect == "NoExecute" && (taint.key == NOT_READY || taint.key == UNREACHABLE)
}

/// The key that the Ready condition asks for.
pub fn key_for(ready: &str) -> Option<&'static str> {
    match ready {
        "True" => None,
        "False" => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    }
}

/// A taint of now.
pub fn new(key: &str, effect: &str, view: &View<'_>) -> Taint {
    Taint {
        key: key.into(),
        effect: effect.into(),
        value: None,
        time_added: Some(view.now()),
    }
}

/// The taints that a node of these conditions should have.
pub fn wanted(node: &Found<Node>, conditions: &[NodeCondition], view: &View<'_>) -> Vec<Taint> {
    let spec = node.spec.as_ref();
    let mut taints = spec
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let ready_key = key_for(status_of(conditions, "Ready"));
    let mut no_schedule: Vec<&str> = ready_key.into_iter().collect();
    let pressed = PRESSURES
        .iter()
        .filter(|(type_, _)| status_of(conditions, type_) == "True");
    no_schedule.extend(pressed.map(|(_, key)| *key));
    if spec.and_then(|spec| spec.unschedulable) == Some(true) {
        no_schedule.push(UNSCHEDULABLE);
    }
    let ours = |key: &str| {
        [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&key)
            || PRESSURES.iter().any(|(_, pressure)| *pressure == key)
    };
    let evicting = taints.iter().find(|taint| evicts(taint)).cloned();
    taints.retain(|taint| {
        let follows = taint.effect == "NoSchedule" && ours(&taint.key);
        !evicts(taint) && (!follows || no_schedule.contains(&taint.key.as_str()))
    });
    for key in no_schedule {
        if !taints
            .iter()
            .any(|taint| taint.key == key && taint.effect == "NoSchedule")
        {
            taints.push(new(key, "NoSchedule", view));
        }
    }
    if let (Some(mut evicting), Some(key)) = (evicting, ready_key) {
        evicting.key = key.into();
        taints.push(evicting);
    }
    taints
}

/// Puts taints into a node; nothing if they are the same.
pub fn write(value: &mut Value, taints: &[Taint]) {
    let Some(spec) = value["spec"].as_object_mut() else {
        if !taints.is_empty() {
            value["spec"] = serde_json::json!({ "taints": to_value(&taints) });
        }
        return;
    };
    if taints.is_empty() {
        spec.remove("taints");
    } else {
        spec.insert("taints".into(), to_value(&taints));
    }
}
