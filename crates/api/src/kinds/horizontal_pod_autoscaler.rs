//! HorizontalPodAutoscaler: defaults and columns. `autoscaling/v2` is stored; `v1` is made of it in
//! `horizontal_pod_autoscaler/v1.rs`. Rules are in `horizontal_pod_autoscaler/validate.rs`.

mod cell;
pub mod v1;
mod validate;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::{Value, json};

use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::podspec::json::{Fields, child, ensure, int, into_object, or_pointer, text};
use crate::table;

/// HorizontalPodAutoscaler, `autoscaling/v2`.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    subresources: &[Subresource::Status],
    columns: COLUMNS,
    hooks: HOOKS,
    ..BuiltIn::of::<HorizontalPodAutoscaler>()
});

const HOOKS: Hooks = Hooks {
    default,
    validate: validate::validate,
    validate_status: validate::validate_status,
    row,
    ..Hooks::NONE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Reference", "What is scaled, as kind and name."),
    Column::text("Targets", "Each metric's present value and its target."),
    Column::text("MinPods", "The fewest replicas to scale down to."),
    Column::text("MaxPods", "The most replicas to scale up to."),
    Column::text("Replicas", "The number of replicas when last looked at."),
    Column::AGE,
];

/// The utilization of CPU to aim at when nothing is asked for, in percent.
const DEFAULT_CPU_UTILIZATION: i64 = 80;

fn default(object: &mut Value) {
    let spec = ensure(into_object(object), "spec");
    or_pointer(spec, "minReplicas", 1);
    let metrics = spec.get("metrics").and_then(Value::as_array);
    if metrics.is_none_or(Vec::is_empty) {
        spec.insert("metrics".to_owned(), json!([default_metric()]));
    }
    if let Some(behavior) = child(spec, "behavior") {
        let quick = json!([
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]);
        let up = ensure(behavior, "scaleUp");
        or_pointer(up, "stabilizationWindowSeconds", 0);
        scaling_rules(up, quick);
        // How long to wait before scaling down is the controller's setting, so it is left open here.
        let all_at_once = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
        scaling_rules(ensure(behavior, "scaleDown"), all_at_once);
    }
}

fn scaling_rules(rules: &mut Fields, policies: Value) {
    or_pointer(rules, "selectPolicy", "Max");
    or_pointer(rules, "policies", policies);
}

fn default_metric() -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {
        "type": "Utilization", "averageUtilization": DEFAULT_CPU_UTILIZATION,
    }}})
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let reference = format!(
        "{}/{}",
        text(object, "/spec/scaleTargetRef/kind"),
        text(object, "/spec/scaleTargetRef/name")
    );
    let min = object.pointer("/spec/minReplicas").and_then(Value::as_i64);
    vec![
        table::name(object),
        reference.into(),
        cell::targets(object).into(),
        min.map_or("<unset>".to_owned(), |min| min.to_string())
            .into(),
        int(object, "/spec/maxReplicas").into(),
        int(object, "/status/currentReplicas").into(),
        table::age(object, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_upstreams() {
        let mut object = json!({"spec": {"maxReplicas": 3, "behavior": {
            "scaleUp": {"policies": []}, "scaleDown": {"stabilizationWindowSeconds": 60},
        }}});
        default(&mut object);
        assert_eq!(
            object["spec"],
            json!({
                "minReplicas": 1,
                "maxReplicas": 3,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {
                    "type": "Utilization", "averageUtilization": 80,
                }}}],
                "behavior": {
                    "scaleUp": {
                        "policies": [], "selectPolicy": "Max", "stabilizationWindowSeconds": 0,
                    },
                    "scaleDown": {
                        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                        "selectPolicy": "Max",
                        "stabilizationWindowSeconds": 60,
                    },
                },
            })
        );
    }

    #[test]
    fn rows_tell_targets() {
        let object = json!({
            "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "maxReplicas": 5,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 50}}},
                    {"type": "Pods", "pods": {"metric": {"name": "rps"},
                        "target": {"type": "AverageValue", "averageValue": "10"}}},
                    {"type": "Object", "object": {"target": {"type": "Value", "value": "1"}}},
                ],
            },
            "status": {"currentReplicas": 2, "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}},
            ]},
        });
        let cells = row(&object, 0);
        assert_eq!(
            cells[1..6],
            [
                json!("Deployment/web"),
                json!("cpu: 7%/50%, <unknown>/10 + 1 more..."),
                json!("<unset>"),
                json!(5),
                json!(2),
            ]
        );
    }
}
