//! The scale subresource (`autoscaling/v1 Scale`) of workloads with `spec.replicas` and `spec.selector`.

use serde_json::{Value, json};

use crate::field_error::FieldError;
use crate::meta::{Meta, metadata_mut, object_mut};
use crate::selector::LabelSelector;

/// The `Scale` of a workload.
pub fn scale_of(object: &Value) -> Value {
    let mut scale = bare(object);
    scale["status"]["replicas"] = object
        .pointer("/status/replicas")
        .cloned()
        .unwrap_or(json!(0));
    match object.pointer("/spec/replicas").and_then(Value::as_i64) {
        Some(0) | None => {}
        Some(replicas) => scale["spec"]["replicas"] = replicas.into(),
    }
    if let Some(selector) = object.pointer("/spec/selector") {
        // A ReplicationController's selector is a plain map of labels.
        let is_plain = selector
            .as_object()
            .is_some_and(|labels| labels.values().all(Value::is_string));
        let selector = match is_plain {
            true => LabelSelector::from_value(&json!({"matchLabels": selector})),
            false => LabelSelector::from_value(selector),
        };
        if let Ok(selector) = selector {
            scale["status"]["selector"] = selector.to_string().into();
        }
    }
    scale
}

/// A `Scale` with the metadata of its workload and nothing else.
pub(crate) fn bare(object: &Value) -> Value {
    let meta = Meta::of(object);
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {},
        "spec": {},
        "status": {},
    });
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = meta.get(field) {
            scale["metadata"][field] = value.clone();
        }
    }
    scale
}

/// Writes a `Scale` back into its workload: the replicas, and the resource version as precondition.
pub fn apply_scale(object: &mut Value, scale: &Value) -> Result<(), Vec<FieldError>> {
    let replicas = scale
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    if replicas < 0 {
        let detail = "must be greater than or equal to 0";
        return Err(vec![FieldError::invalid("spec.replicas", replicas, detail)]);
    }
    let version = Meta::of(scale).resource_version();
    if !version.is_empty() {
        metadata_mut(object).insert("resourceVersion".to_owned(), version.into());
    }
    let spec = object_mut(object)
        .entry("spec")
        .or_insert_with(|| json!({}));
    object_mut(spec).insert("replicas".to_owned(), replicas.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_selectors_are_told_as_text() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"selector": {"b": "2", "a": "1"}}});
        assert_eq!(scale_of(&object)["status"]["selector"], "a=1,b=2");
    }

    #[test]
    fn scales_go_out_and_come_back() {
        let mut object = json!({"metadata": {"name": "a", "uid": "u"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "a"}}},
            "status": {"replicas": 1}});
        let mut scale = scale_of(&object);
        assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=a"}));
        scale["spec"]["replicas"] = json!(5);
        apply_scale(&mut object, &scale).unwrap();
        assert_eq!(object["spec"]["replicas"], 5);
        scale["spec"]["replicas"] = json!(-1);
        assert!(apply_scale(&mut object, &scale).is_err());
    }
}
