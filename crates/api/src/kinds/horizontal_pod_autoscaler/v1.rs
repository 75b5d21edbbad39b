//! `autoscaling/v1` as made of the stored `v2`: what v1 has no field for travels in annotations, as upstream's does.
//!
//! A client that reads v1, changes a field and writes it back loses nothing. Annotations that do not parse are dropped.

use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use serde_json::{Map, Value, json};

use super::{COLUMNS, HOOKS, default_metric};
use crate::kind::{BuiltIn, Conversion, Hooks, Kind, Subresource};
use crate::meta::metadata_mut;
use crate::podspec::json::{Fields, ensure, into_object, list, or_pointer};

/// HorizontalPodAutoscaler, `autoscaling/v1`.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    subresources: &[Subresource::Status],
    columns: COLUMNS,
    hooks: Hooks { default, ..HOOKS },
    conversion: Some(Conversion {
        stored: &super::KIND,
        from_stored,
        to_stored,
        fields: &[],
    }),
    ..BuiltIn::of::<HorizontalPodAutoscaler>()
});

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// The sources: their name in `type`, and the field that they stand in.
const SOURCES: &[(&str, &str)] = &[
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("External", "external"),
];

fn default(object: &mut Value) {
    or_pointer(ensure(into_object(object), "spec"), "minReplicas", 1);
}

fn from_stored(object: &mut Value) {
    drop_annotations(object);
    let mut kept: Vec<(&str, Value)> = Vec::new();
    let spec = ensure(into_object(object), "spec");
    let metrics = spec.remove("metrics").unwrap_or_default();
    let metrics = metrics.as_array().cloned().unwrap_or_default();
    let cpu = metrics.iter().find(|metric| is_cpu(metric));
    if let Some(percent) = cpu.and_then(|metric| utilization(metric, "target")) {
        spec.insert("targetCPUUtilizationPercentage".to_owned(), percent);
    }
    // Every CPU utilization is left out, as if there could be only one.
    let others = metrics
        .iter()
        .filter(|metric| !is_cpu(metric) || utilization(metric, "target").is_none());
    let others: Vec<Value> = others.map(|metric| to_old(metric, "target")).collect();
    if !others.is_empty() {
        kept.push((METRICS, others.into()));
    }
    if let Some(behavior) = spec
        .remove("behavior")
        .filter(|behavior| !behavior.is_null())
    {
        kept.push((BEHAVIOR, rename_keys(&behavior, capitalized)));
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let current = status.remove("currentMetrics").unwrap_or_default();
        let current = current.as_array().cloned().unwrap_or_default();
        let cpu = current
            .iter()
            .filter(|metric| is_cpu(metric))
            .filter_map(|metric| utilization(metric, "current"))
            .next_back();
        if let Some(percent) = cpu {
            status.insert("currentCPUUtilizationPercentage".to_owned(), percent);
        }
        // Kept even where it is the CPU's utilization alone: the raw value has no field.
        let current: Vec<Value> = current
            .iter()
            .map(|metric| to_old(metric, "current"))
            .collect();
        if !current.is_empty() {
            kept.push((CURRENT_METRICS, current.into()));
        }
        if let Some(conditions) = status.remove("conditions")
            && conditions.as_array().is_some_and(|list| !list.is_empty())
        {
            kept.push((CONDITIONS, conditions));
        }
    }
    if kept.is_empty() {
        return;
    }
    let annotations = ensure(metadata_mut(object), "annotations");
    for (name, value) in kept {
        annotations.insert(name.to_owned(), value.to_string().into());
    }
}

fn to_stored(object: &mut Value) {
    let kept = |name: &str| -> Value {
        let annotations = object.pointer("/metadata/annotations");
        let text = annotations.and_then(|annotations| annotations.get(name)?.as_str());
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    };
    let (metrics, behavior) = (kept(METRICS), kept(BEHAVIOR));
    let (current, conditions) = (kept(CURRENT_METRICS), kept(CONDITIONS));
    drop_annotations(object);
    let spec = ensure(into_object(object), "spec");
    let mut all: Vec<Value> = list(&metrics, "")
        .iter()
        .map(|metric| to_new(metric, "target"))
        .collect();
    if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
        let mut cpu = default_metric();
        cpu["resource"]["target"]["averageUtilization"] = percent;
        all.push(cpu);
    }
    if all.is_empty() {
        all.push(default_metric());
    }
    spec.insert("metrics".to_owned(), all.into());
    if behavior.as_object().is_some_and(|rules| !rules.is_empty()) {
        spec.insert("behavior".to_owned(), rename_keys(&behavior, uncapitalized));
    }
    let has_status = object.get("status").is_some_and(Value::is_object);
    if !has_status && current.is_null() && conditions.is_null() {
        return;
    }
    let status = ensure(into_object(object), "status");
    let percent = status.remove("currentCPUUtilizationPercentage");
    if let Some(current) = current.as_array() {
        let current = current.iter().map(|metric| to_new(metric, "current"));
        status.insert("currentMetrics".to_owned(), current.collect());
    } else if let Some(percent) = percent {
        let cpu = json!([{"type": "Resource", "resource": {
            "name": "cpu", "current": {"averageUtilization": percent},
        }}]);
        status.insert("currentMetrics".to_owned(), cpu);
    }
    if conditions.is_array() {
        status.insert("conditions".to_owned(), conditions);
    }
}

fn drop_annotations(object: &mut Value) {
    let metadata = metadata_mut(object);
    let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    for name in [METRICS, CURRENT_METRICS, BEHAVIOR, CONDITIONS] {
        annotations.remove(name);
    }
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn utilization(metric: &Value, part: &str) -> Option<Value> {
    let percent = &metric["resource"][part]["averageUtilization"];
    percent.is_number().then(|| percent.clone())
}

/// A v2 metric in v1's flat form; `part` is `target` of a spec or `current` of a status.
fn to_old(metric: &Value, part: &str) -> Value {
    let mut old = json!({"type": metric["type"]});
    for (_, source) in SOURCES {
        let Some(given) = metric[source].as_object() else {
            continue;
        };
        let empty = Value::Null;
        let amounts = given.get(part).unwrap_or(&empty);
        let mut flat = Map::new();
        let mut set = |name: String, value: &Value| {
            if !value.is_null() {
                flat.insert(name, value.clone());
            }
        };
        // Amounts that are no pointers in v1 read 0 when absent.
        let or_zero = |amount: &Value| match amount {
            Value::Null => json!("0"),
            amount => amount.clone(),
        };
        let (value, average) = (&amounts["value"], &amounts["averageValue"]);
        let is_status = part == "current";
        for (name, field) in [("name", "name"), ("container", "container")] {
            set(name.to_owned(), given.get(field).unwrap_or(&empty));
        }
        if let Some(object) = given.get("describedObject") {
            set("target".to_owned(), object);
        }
        if let Some(id) = given.get("metric") {
            set("metricName".to_owned(), &id["name"]);
            let selector = if *source == "external" {
                "metricSelector"
            } else {
                "selector"
            };
            set(selector.to_owned(), &id["selector"]);
        }
        match *source {
            "object" => {
                set(format!("{part}Value"), &or_zero(value));
                set("averageValue".to_owned(), average);
            }
            "pods" => set(format!("{part}AverageValue"), &or_zero(average)),
            "external" => {
                let value = if is_status { &or_zero(value) } else { value };
                set(format!("{part}Value"), value);
                set(format!("{part}AverageValue"), average);
            }
            _ => {
                let average = if is_status {
                    &or_zero(average)
                } else {
                    average
                };
                set(format!("{part}AverageValue"), average);
                let percent = &amounts["averageUtilization"];
                set(format!("{part}AverageUtilization"), percent);
            }
        }
        old[*source] = flat.into();
    }
    old
}

/// The way back of [`to_old`].
fn to_new(metric: &Value, part: &str) -> Value {
    let mut new = json!({"type": metric["type"]});
    for (_, source) in SOURCES {
        let Some(given) = metric[source].as_object() else {
            continue;
        };
        let get = |name: &str| given.get(name).filter(|value| !value.is_null());
        let mut nested = Map::new();
        for field in ["name", "container"] {
            if let Some(value) = get(field) {
                nested.insert(field.to_owned(), value.clone());
            }
        }
        if let Some(name) = get("metricName") {
            let mut id = json!({"name": name});
            if let Some(selector) = get("metricSelector").or_else(|| get("selector")) {
                id["selector"] = selector.clone();
            }
            nested.insert("metric".to_owned(), id);
        }
        let mut amounts = Fields::new();
        let (value, average) = (format!("{part}Value"), format!("{part}AverageValue"));
        let percent = format!("{part}AverageUtilization");
        for (field, found) in [
            ("value", get(&value)),
            (
                "averageValue",
                get(&average).or_else(|| get("averageValue")),
            ),
            ("averageUtilization", get(&percent)),
        ] {
            if let Some(found) = found {
                amounts.insert(field.to_owned(), found.clone());
            }
        }
        if part == "target" {
            let kind = if *source == "object" && get("averageValue").is_none()
                || *source == "external" && amounts.contains_key("value")
            {
                "Value"
            } else if amounts.contains_key("averageUtilization") {
                "Utilization"
            } else {
                "AverageValue"
            };
            amounts.insert("type".to_owned(), kind.into());
        }
        if *source == "object"
            && let Some(object) = get("target")
        {
            nested.insert("describedObject".to_owned(), object.clone());
        }
        nested.insert(part.to_owned(), amounts.into());
        new[*source] = nested.into();
    }
    new
}

/// Upstream writes the behavior with the names of Go's fields.
fn rename_keys(value: &Value, rename: fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (rename(name), rename_keys(value, rename)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| rename_keys(item, rename)).collect(),
        value => value.clone(),
    }
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn uncapitalized(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Value {
        json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "annotations": {"own": "1"}},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "minReplicas": 1,
                "maxReplicas": 5,
                "metrics": [
                    {"type": "Pods", "pods": {
                        "metric": {"name": "rps", "selector": {"matchLabels": {"a": "b"}}},
                        "target": {"type": "AverageValue", "averageValue": "10"},
                    }},
                    {"type": "Object", "object": {
                        "describedObject": {"kind": "Service", "name": "s"},
                        "metric": {"name": "hits"},
                        "target": {"type": "Value", "value": "2k"},
                    }},
                    {"type": "External", "external": {
                        "metric": {"name": "queue"},
                        "target": {"type": "AverageValue", "averageValue": "3"},
                    }},
                    {"type": "ContainerResource", "containerResource": {
                        "name": "memory", "container": "app",
                        "target": {"type": "AverageValue", "averageValue": "1Gi"},
                    }},
                    {"type": "Resource", "resource": {
                        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60},
                    }},
                ],
                "behavior": {"scaleDown": {
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                    "selectPolicy": "Min",
                    "stabilizationWindowSeconds": 30,
                }, "scaleUp": {
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                    "selectPolicy": "Max",
                    "stabilizationWindowSeconds": 0,
                }},
            },
            "status": {
                "currentReplicas": 2,
                "desiredReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "current": {"averageUtilization": 40, "averageValue": "4m"},
                }}],
                "conditions": [{"type": "AbleToScale", "status": "True"}],
            },
        })
    }

    #[test]
    fn nothing_is_lost_on_the_way_to_v1_and_back() {
        let mut object = stored();
        KIND.from_stored(&mut object);
        assert_eq!(object["apiVersion"], "autoscaling/v1");
        assert_eq!(
            object["spec"],
            json!({
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "minReplicas": 1,
                "maxReplicas": 5,
                "targetCPUUtilizationPercentage": 60,
            })
        );
        assert_eq!(
            object["status"],
            json!({
                "currentReplicas": 2,
                "desiredReplicas": 2,
                "currentCPUUtilizationPercentage": 40,
            })
        );
        let annotations = object["metadata"]["annotations"].as_object().unwrap();
        assert_eq!(annotations.len(), 5);
        let metrics: Value = serde_json::from_str(annotations[METRICS].as_str().unwrap()).unwrap();
        assert_eq!(
            metrics[0],
            json!({"type": "Pods", "pods": {
                "metricName": "rps", "selector": {"matchLabels": {"a": "b"}},
                "targetAverageValue": "10",
            }})
        );
        let behavior = annotations[BEHAVIOR].as_str().unwrap();
        assert!(
            behavior.contains("\"StabilizationWindowSeconds\":30"),
            "{behavior}"
        );
        assert_eq!(KIND.row(&object, 0), super::super::KIND.row(&stored(), 0));
        KIND.to_stored(&mut object);
        assert_eq!(object, stored());
    }

    #[test]
    fn a_plain_v1_object_aims_at_its_percentage_or_the_default() {
        for (given, percent) in [
            (json!({"targetCPUUtilizationPercentage": 50}), 50),
            (json!({}), 80),
        ] {
            let mut object =
                json!({"metadata": {"annotations": {METRICS: "no json"}}, "spec": given});
            KIND.default(&mut object);
            KIND.to_stored(&mut object);
            let target = &object["spec"]["metrics"][0]["resource"]["target"];
            assert_eq!(target["averageUtilization"], percent);
            assert_eq!(object["metadata"], json!({}));
            assert!(object.get("status").is_none());
        }
    }
}
