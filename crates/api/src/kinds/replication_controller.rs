//! ReplicationController: defaults, rules and columns (upstream `pkg/apis/core`). Its selector is a map of labels.

use k8s_openapi::api::core::v1::{ReplicationController, ReplicationControllerSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::podspec::json::{child, ensure, into_object, or_pointer, typed};
use crate::podspec::path::Errors;
use crate::podspec::scaled::{self, SPEC, always_running};
use crate::podspec::{defaults, print, validate as podspec, warnings};

/// ReplicationController.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    subresources: &[Subresource::Scale, Subresource::Status],
    columns: COLUMNS,
    selectable: &["status.replicas"],
    counts_generation: true,
    hooks: Hooks {
        default,
        validate,
        validate_status,
        warnings: |new, old| warnings::template(new, old, "spec.template"),
        row,
        fields: scaled::fields,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ReplicationController>()
});

const COLUMNS: &[Column] = &scaled::columns("The labels of the pods that count.");

fn default(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    let labels = labels.filter(|labels| labels.as_object().is_some_and(|map| !map.is_empty()));
    let fields = into_object(object);
    let spec = ensure(fields, "spec");
    or_pointer(spec, "replicas", 1);
    if let Some(labels) = labels {
        for (parent, field) in [("spec", "selector"), ("metadata", "labels")] {
            let parent = ensure(fields, parent);
            if child(parent, field).is_none_or(|map| map.is_empty()) {
                parent.insert(field.to_owned(), labels.clone());
            }
        }
    }
    let spec = ensure(fields, "spec");
    if let Some(template) = child(spec, "template") {
        defaults::template(template);
    }
}

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: ReplicationControllerSpec = typed(new.get("spec"));
    errors.nonnegative_if(SPEC.child("minReadySeconds"), spec.min_ready_seconds);
    let selector = spec.selector.clone().unwrap_or_default();
    if selector.is_empty() {
        errors.required(SPEC.child("selector"), "");
    }
    errors.nonnegative_if(SPEC.child("replicas"), spec.replicas);
    let at = SPEC.child("template");
    let Some(template) = &spec.template else {
        errors.required(at, "");
        return errors.0;
    };
    if !selector.is_empty() {
        let selector = LabelSelector {
            match_labels: Some(selector),
            ..LabelSelector::default()
        };
        scaled::template_matches(&mut errors, &at, template, Some(&selector));
    }
    podspec::template(&mut errors, &at, template);
    if spec.replicas.unwrap_or_default() > 1 {
        scaled::read_only_disks(&mut errors, &at, template);
    }
    always_running(&mut errors, &at, template, "ReplicationController");
    errors.0
}

fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    scaled::validate_status(new, &["observedGeneration"])
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    scaled::row(
        object,
        now_unix_ms,
        print::labels(object.pointer("/spec/selector")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn controller() -> Value {
        let mut object = json!({
            "metadata": {"name": "rc"},
            "spec": {"replicas": 2, "template": {
                "metadata": {"labels": {"app": "x"}},
                "spec": {"containers": [{"name": "a", "image": "nginx:1"}]},
            }},
        });
        default(&mut object);
        object
    }

    #[test]
    fn labels_come_from_the_template() {
        let object = controller();
        assert_eq!(object["metadata"]["labels"], json!({"app": "x"}));
        assert_eq!(object["spec"]["selector"], json!({"app": "x"}));
        assert_eq!(validate(&object, None), []);
        assert_eq!(row(&object, 0)[7], "app=x");
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        for (pointer, value, expected) in [
            ("/selector", json!({}), "spec.selector: Required value"),
            (
                "/selector/app",
                json!("y"),
                "spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not \
                 match template `labels`",
            ),
            (
                "/replicas",
                json!(-1),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            ("/template", json!(null), "spec.template: Required value"),
            (
                "/template/spec/volumes",
                json!([{"name": "v", "gcePersistentDisk": {"pdName": "d"}}]),
                "spec.template.spec.volumes[0].gcePersistentDisk.readOnly: Invalid value: false: must \
                 be true for replicated pods > 1; GCE PD can only be mounted on multiple machines if \
                 it is read-only",
            ),
            (
                "/template/spec/activeDeadlineSeconds",
                json!(5),
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in \
                 ReplicationController is not Supported",
            ),
        ] {
            let mut object = controller();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            object.pointer_mut(&format!("/spec{parent}")).unwrap()[field] = value;
            assert_eq!(validate(&object, None)[0].to_string(), expected);
        }
    }
}
