//! A pod's defaults and what a create or a status update does to it (upstream `registry/core/pod/strategy.go`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use serde_json::{Value, json};

use super::admission;
use crate::podspec::defaults;
use crate::podspec::json::{
    Fields, each, ensure, into_object, or, or_pointer, or_zero, typed, unset,
};
use crate::podspec::path::Given;
use crate::podspec::resources::parse;
use crate::quantity::Quantity;

/// Defaults of a pod: those of its spec and a few that templates do not get.
pub fn default(pod: &mut Value) {
    let spec = ensure(into_object(pod), "spec");
    defaults::pod_spec(spec);
    or_pointer(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in each(spec, list) {
            defaults::requests_from_limits(container);
            for port in each(container, "ports").filter(|_| host_network) {
                let number = port.get("containerPort").and_then(Value::as_i64);
                or_zero(port, "hostPort", number.unwrap_or_default());
            }
        }
    }
}

/// A pod begins pending, with its quality of service fixed for life.
pub fn prepare_create(pod: &mut Value) {
    let labels = pod.pointer("/metadata/labels").cloned().unwrap_or_default();
    let spec = ensure(into_object(pod), "spec");
    admission::admit(spec);
    merge_label_keys(spec, &labels);
    let gated = spec
        .get("schedulingGates")
        .and_then(Value::as_array)
        .is_some_and(|g| !g.is_empty());
    let mut status = json!({"phase": "Pending", "qosClass": qos_class(&typed(pod.get("spec")))});
    if gated {
        status["conditions"] = json!([{
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    into_object(pod).insert("status".to_owned(), status);
}

/// A status update that leaves out the quality of service keeps it.
pub fn prepare_status(new: &mut Value, old: &Value) {
    let class = old.pointer("/status/qosClass").cloned().unwrap_or_default();
    let status = ensure(into_object(new), "status");
    if unset(status, "qosClass") && !class.is_null() {
        or(status, "qosClass", class);
    }
}

/// `matchLabelKeys` and `mismatchLabelKeys` become requirements of the selector beside them, with the values of
/// this pod's labels.
fn merge_label_keys(spec: &mut Fields, labels: &Value) {
    for constraint in each(spec, "topologySpreadConstraints") {
        merge_into_selector(constraint, labels, "matchLabelKeys", "In");
    }
    let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) else {
        return;
    };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(terms) = affinity.get_mut(kind).and_then(Value::as_object_mut) else {
            continue;
        };
        let merge = |term: &mut Fields| {
            merge_into_selector(term, labels, "matchLabelKeys", "In");
            merge_into_selector(term, labels, "mismatchLabelKeys", "NotIn");
        };
        each(terms, "requiredDuringSchedulingIgnoredDuringExecution").for_each(merge);
        for weighted in each(terms, "preferredDuringSchedulingIgnoredDuringExecution") {
            if let Some(term) = weighted
                .get_mut("podAffinityTerm")
                .and_then(Value::as_object_mut)
            {
                merge(term);
            }
        }
    }
}

fn merge_into_selector(term: &mut Fields, labels: &Value, keys: &str, operator: &str) {
    let keys = term
        .get(keys)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let Some(selector) = term.get_mut("labelSelector").and_then(Value::as_object_mut) else {
        return;
    };
    for key in keys.iter().filter_map(Value::as_str) {
        let Some(value) = labels.get(key) else {
            continue;
        };
        let list = selector
            .entry("matchExpressions")
            .or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({"key": key, "operator": operator, "values": [value]}));
        }
    }
}

/// The quality of service class that follows from requests and limits.
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let mut requests = BTreeMap::new();
    let mut limits = BTreeMap::new();
    let mut guaranteed = true;
    let whole = spec
        .resources
        .as_ref()
        .filter(|r| r.limits.is_some() || r.requests.is_some());
    if let Some(resources) = whole {
        guaranteed &= account(resources, &mut requests, &mut limits);
    } else {
        let init = spec.init_containers.given();
        for container in init.iter().chain(&spec.containers) {
            let none = ResourceRequirements::default();
            let resources = container.resources.as_ref().unwrap_or(&none);
            guaranteed &= account(resources, &mut requests, &mut limits);
        }
    }
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if guaranteed && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

type Sums = BTreeMap<&'static str, Quantity>;

/// Adds up; true when both limits are there.
fn account(resources: &ResourceRequirements, requests: &mut Sums, limits: &mut Sums) -> bool {
    let mut complete = true;
    for name in ["cpu", "memory"] {
        for (given, sums) in [
            (&resources.requests, &mut *requests),
            (&resources.limits, &mut *limits),
        ] {
            let amount = given.as_ref().and_then(|amounts| parse(amounts.get(name)?));
            if let Some(amount) = amount.filter(|amount| amount.sign() > 0) {
                let add = |sum: &mut Quantity| *sum = sum.plus(amount);
                sums.entry(name).and_modify(add).or_insert(amount);
            }
        }
        let limit = resources
            .limits
            .as_ref()
            .and_then(|limits| parse(limits.get(name)?));
        complete &= limit.is_some_and(|limit| limit.sign() > 0);
    }
    complete
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let both = json!({"cpu": "500m", "memory": "1Gi"});
        for (resources, class) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "0"}}), "BestEffort"),
            (json!({"requests": {"cpu": "100m"}}), "Burstable"),
            (
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}),
                "Burstable",
            ),
            (json!({"limits": both, "requests": both}), "Guaranteed"),
            (
                json!({"limits": both, "requests": {"cpu": "0.5", "memory": "1024Mi"}}),
                "Guaranteed",
            ),
            (
                json!({"limits": both, "requests": {"cpu": "100m", "memory": "1Gi"}}),
                "Burstable",
            ),
        ] {
            let spec = json!({"containers": [{"name": "a", "resources": resources}]});
            assert_eq!(qos_class(&typed(Some(&spec))), class, "{resources}");
        }
    }

    #[test]
    fn a_new_pod_is_pending_and_its_host_ports_follow_the_hosts_network() {
        let mut pod = json!({"spec": {
            "hostNetwork": true,
            "schedulingGates": [{"name": "wait"}],
            "containers": [{
                "name": "a", "image": "x",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1"}},
            }],
        }});
        default(&mut pod);
        prepare_create(&mut pod);
        assert_eq!(pod["spec"]["containers"][0]["ports"][0]["hostPort"], 80);
        assert_eq!(
            pod["spec"]["containers"][0]["resources"]["requests"]["cpu"],
            "1"
        );
        assert_eq!(pod["spec"]["enableServiceLinks"], true);
        assert_eq!(pod["status"]["phase"], "Pending");
        assert_eq!(pod["status"]["qosClass"], "Burstable");
        assert_eq!(pod["status"]["conditions"][0]["reason"], "SchedulingGated");
    }
}
