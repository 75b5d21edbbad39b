//! Rules of autoscalers in their stored version (upstream `pkg/apis/autoscaling/validation`).

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscalerSpec, MetricIdentifier,
    MetricSpec, MetricTarget,
};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::meta::names::{dns1123_label, path_segment};
use crate::podspec::json::{int, text, typed};
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::resources::parse;
use crate::podspec::scaled::SPEC;

const METRIC_SOURCES: &[&str] = &[
    "ContainerResource",
    "External",
    "Object",
    "Pods",
    "Resource",
];
/// Longest look back at recommendations.
const MAX_STABILIZATION_SECONDS: i32 = 3600;
/// Longest time that a policy looks back.
const MAX_PERIOD_SECONDS: i32 = 1800;

/// Rules of an autoscaler on create and on update: nothing is immutable.
pub fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: HorizontalPodAutoscalerSpec = typed(new.get("spec"));
    let max_at = SPEC.child("maxReplicas");
    if let Some(min) = spec.min_replicas.filter(|min| *min < 1) {
        let detail = "must be greater than or equal to 1";
        errors.invalid(SPEC.child("minReplicas"), min, detail);
    }
    if spec.max_replicas < 1 {
        errors.invalid(max_at, spec.max_replicas, "must be greater than 0");
    }
    if spec.min_replicas.is_some_and(|min| spec.max_replicas < min) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.invalid(max_at, spec.max_replicas, detail);
    }
    let target_at = SPEC.child("scaleTargetRef");
    reference(&mut errors, &target_at, &spec.scale_target_ref);
    // What was stored without a group stays as it is until someone changes it.
    let was = |field: &str| old.map(|old| text(old, &format!("/spec/scaleTargetRef/{field}")));
    let target = &spec.scale_target_ref;
    if was("kind") != Some(&target.kind) || was("apiVersion") != Some(target.api_version.given()) {
        let needs_group = target.kind != "ReplicationController";
        group_version(
            &mut errors,
            target_at.child("apiVersion"),
            target,
            needs_group,
        );
    }
    let list = SPEC.child("metrics");
    for (i, metric) in spec.metrics.given().iter().enumerate() {
        metric_spec(&mut errors, &list.index(i), metric);
    }
    if let Some(behavior) = &spec.behavior {
        let at = SPEC.child("behavior");
        for (field, rules) in [
            ("scaleUp", &behavior.scale_up),
            ("scaleDown", &behavior.scale_down),
        ] {
            if let Some(rules) = rules {
                scaling_rules(&mut errors, &at.child(field), rules);
            }
        }
    }
    errors.0
}

/// Rules of a status update.
pub fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let at = Path::root("status");
    for field in ["currentReplicas", "desiredReplicas"] {
        errors.nonnegative(at.child(field), int(&new["status"], &format!("/{field}")));
    }
    errors.0
}

fn reference(errors: &mut Errors, at: &Path<'_>, reference: &CrossVersionObjectReference) {
    for (field, value) in [("kind", &reference.kind), ("name", &reference.name)] {
        segment(errors, at.child(field), value, "");
    }
}

fn group_version(
    errors: &mut Errors,
    at: Path<'_>,
    reference: &CrossVersionObjectReference,
    needs_group: bool,
) {
    let version = reference.api_version.given();
    let (group, _) = version.split_once('/').unwrap_or_default();
    if version.matches('/').count() > 1 {
        let detail = format!("unexpected GroupVersion string: {version}");
        errors.invalid(at, version, detail);
    } else if needs_group && group.is_empty() {
        errors.invalid(at, version, "apiVersion must specify API group");
    }
}

/// A word that goes into a URL.
fn segment(errors: &mut Errors, at: Path<'_>, value: &str, missing: &str) {
    if value.is_empty() {
        errors.required(at, missing);
    } else {
        errors.invalid_each(at, value, path_segment(value, false));
    }
}

fn metric_spec(errors: &mut Errors, at: &Path<'_>, metric: &MetricSpec) {
    let type_at = at.child("type");
    if metric.type_.is_empty() {
        errors.required(type_at, "must specify a metric source type");
    }
    if !METRIC_SOURCES.contains(&metric.type_.as_str()) {
        errors.not_supported(type_at, metric.type_.as_str(), METRIC_SOURCES);
    }
    let present = [
        ("Object", "object", metric.object.is_some()),
        ("External", "external", metric.external.is_some()),
        ("Pods", "pods", metric.pods.is_some()),
        ("Resource", "resource", metric.resource.is_some()),
        (
            "ContainerResource",
            "containerResource",
            metric.container_resource.is_some(),
        ),
    ];
    // Only the first source is looked into: a second one is a mistake in any case.
    if let Some((_, first, _)) = present.iter().find(|(_, _, is_present)| *is_present) {
        source(errors, &at.child(first), metric);
    }
    for (kind, field, is_present) in present {
        if kind == metric.type_ && !is_present {
            let detail = "must populate information for the given metric source";
            errors.required(at.child(field), detail);
        }
    }
    let n_present = present.iter().filter(|(_, _, present)| *present).count();
    for (kind, field, is_present) in present {
        if n_present != 1 && is_present && kind != metric.type_ {
            let detail = "must populate the given metric source only";
            errors.forbidden(at.child(field), detail);
        }
    }
}

/// The first source that is given.
fn source(errors: &mut Errors, at: &Path<'_>, metric: &MetricSpec) {
    let target_at = at.child("target");
    if let Some(source) = &metric.object {
        reference(
            errors,
            &at.child("describedObject"),
            &source.described_object,
        );
        let at = at.child("describedObject");
        group_version(
            errors,
            at.child("apiVersion"),
            &source.described_object,
            false,
        );
        identifier(errors, &at.child("metric"), &source.metric);
        target(errors, &target_at, &source.target);
        if source.target.value.is_none() && source.target.average_value.is_none() {
            let detail = "must set either a target value or averageValue";
            errors.required(target_at.child("averageValue"), detail);
        }
    } else if let Some(source) = &metric.external {
        identifier(errors, &at.child("metric"), &source.metric);
        target(errors, &target_at, &source.target);
        match (&source.target.value, &source.target.average_value) {
            (None, None) => {
                let detail = "must set either a target value for metric or a per-pod target";
                errors.required(target_at.child("averageValue"), detail);
            }
            (Some(_), Some(_)) => {
                let detail = "may not set both a target value for metric and a per-pod target";
                errors.forbidden(target_at.child("value"), detail);
            }
            _ => {}
        }
    } else if let Some(source) = &metric.pods {
        identifier(errors, &at.child("metric"), &source.metric);
        target(errors, &target_at, &source.target);
        let average = source.target.average_value.as_ref().and_then(parse);
        if average.is_none_or(|average| average.sign() < 1) {
            let detail = "must specify a positive target averageValue";
            errors.required(target_at.child("averageValue"), detail);
        }
    } else if let Some(source) = &metric.resource {
        resource(errors, at, &source.name, &source.target);
    } else if let Some(source) = &metric.container_resource {
        if source.container.is_empty() {
            errors.required(at.child("container"), "must specify a container");
        } else {
            let messages = dns1123_label(&source.container);
            errors.invalid_each(at.child("container"), &source.container, messages);
        }
        resource(errors, at, &source.name, &source.target);
    }
}

fn resource(errors: &mut Errors, at: &Path<'_>, name: &str, wanted: &MetricTarget) {
    if name.is_empty() {
        errors.required(at.child("name"), "must specify a resource name");
    }
    let target_at = at.child("target");
    target(errors, &target_at, wanted);
    match (wanted.average_utilization, &wanted.average_value) {
        (None, None) => {
            let detail = "must set either a target raw value or a target utilization";
            errors.required(target_at.child("averageUtilization"), detail);
        }
        (Some(_), Some(_)) => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.forbidden(target_at.child("averageValue"), detail);
        }
        _ => {}
    }
}

fn identifier(errors: &mut Errors, at: &Path<'_>, metric: &MetricIdentifier) {
    segment(
        errors,
        at.child("name"),
        &metric.name,
        "must specify a metric name",
    );
}

fn target(errors: &mut Errors, at: &Path<'_>, target: &MetricTarget) {
    let kind = target.type_.as_str();
    if kind.is_empty() {
        errors.required(at.child("type"), "must specify a metric target type");
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.invalid(at.child("type"), kind, detail);
    }
    for (field, amount) in [
        ("value", &target.value),
        ("averageValue", &target.average_value),
    ] {
        let Some(amount) = amount else { continue };
        if parse(amount).is_some_and(|value| value.sign() < 1) {
            errors.invalid(at.child(field), amount.0.as_str(), "must be positive");
        }
    }
    if let Some(percent) = target.average_utilization.filter(|percent| *percent < 1) {
        let detail = "must be greater than 0";
        errors.invalid(at.child("averageUtilization"), percent, detail);
    }
}

fn scaling_rules(errors: &mut Errors, at: &Path<'_>, rules: &HPAScalingRules) {
    let window_at = at.child("stabilizationWindowSeconds");
    if let Some(seconds) = rules.stabilization_window_seconds {
        if seconds < 0 {
            let detail = "must be greater than or equal to zero";
            errors.invalid(window_at, seconds, detail);
        }
        if seconds > MAX_STABILIZATION_SECONDS {
            let detail = format!("must be less than or equal to {MAX_STABILIZATION_SECONDS}");
            errors.invalid(window_at, seconds, detail);
        }
    }
    let select = rules.select_policy.as_deref();
    let supported = &["Disabled", "Max", "Min"];
    errors.one_of_if(at.child("selectPolicy"), select, supported);
    let list = at.child("policies");
    if rules.policies.given().is_empty() {
        errors.required(list, "must specify at least one Policy");
    }
    for (i, policy) in rules.policies.given().iter().enumerate() {
        let at = list.index(i);
        let supported = &["Percent", "Pods"];
        errors.one_of_if(at.child("type"), Some(&policy.type_), supported);
        if policy.value <= 0 {
            errors.invalid(at.child("value"), policy.value, "must be greater than zero");
        }
        let period_at = at.child("periodSeconds");
        if policy.period_seconds <= 0 {
            errors.invalid(
                period_at,
                policy.period_seconds,
                "must be greater than zero",
            );
        }
        if policy.period_seconds > MAX_PERIOD_SECONDS {
            let detail = format!("must be less than or equal to {MAX_PERIOD_SECONDS}");
            errors.invalid(period_at, policy.period_seconds, detail);
        }
    }
    if let Some(tolerance) = &rules.tolerance
        && parse(tolerance).is_some_and(|tolerance| tolerance.sign() < 0)
    {
        let detail = "must be greater than or equal to 0";
        errors.invalid(at.child("tolerance"), tolerance.0.as_str(), detail);
    }
}

#[cfg(test)]
mod tests {
    use super::super::KIND;
    use super::*;
    use serde_json::json;

    fn autoscaler() -> Value {
        let mut object = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
                "maxReplicas": 5,
                "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0}},
            },
        });
        KIND.default(&mut object);
        object
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        assert_eq!(validate(&autoscaler(), None), []);
        for (pointer, value, expected) in [
            (
                "/minReplicas",
                json!(0),
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            ),
            (
                "/minReplicas",
                json!(6),
                "spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`",
            ),
            (
                "/maxReplicas",
                json!(0),
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
            ),
            (
                "/scaleTargetRef/name",
                json!("a/b"),
                "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
            ),
            (
                "/scaleTargetRef/apiVersion",
                json!("v1"),
                "spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API \
                 group",
            ),
            (
                "/scaleTargetRef/kind",
                json!(""),
                "spec.scaleTargetRef.kind: Required value",
            ),
            (
                "/metrics/0/type",
                json!("Pods"),
                "spec.metrics[0].pods: Required value: must populate information for the given \
                 metric source",
            ),
            (
                "/metrics/0/type",
                json!("Other"),
                "spec.metrics[0].type: Unsupported value: \"Other\": supported values: \
                 \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
            ),
            (
                "/metrics/0/resource/target",
                json!({"type": "Utilization"}),
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set \
                 either a target raw value or a target utilization",
            ),
            (
                "/metrics/0/resource/target",
                json!({"type": "AverageValue", "averageValue": "-1"}),
                "spec.metrics[0].resource.target.averageValue: Invalid value: \"-1\": must be \
                 positive",
            ),
            (
                "/behavior/scaleUp/stabilizationWindowSeconds",
                json!(3601),
                "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be \
                 less than or equal to 3600",
            ),
            (
                "/behavior/scaleUp/policies",
                json!([]),
                "spec.behavior.scaleUp.policies: Required value: must specify at least one Policy",
            ),
            (
                "/behavior/scaleUp/policies/0/value",
                json!(0),
                "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than \
                 zero",
            ),
        ] {
            let mut object = autoscaler();
            *object.pointer_mut(&format!("/spec{pointer}")).unwrap() = value;
            assert_eq!(validate(&object, None)[0].to_string(), expected);
        }
    }

    #[test]
    fn one_source_a_metric() {
        let mut object = autoscaler();
        object["spec"]["metrics"][0]["pods"] = json!({"metric": {"name": "x"}, "target": {"type": "AverageValue", "averageValue": "1"}});
        assert_eq!(
            validate(&object, None)[0].to_string(),
            "spec.metrics[0].pods: Forbidden: must populate the given metric source only"
        );
    }
}
