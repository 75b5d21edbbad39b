//! ReplicaSet: defaults, rules and columns (upstream `pkg/apis/apps`).

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::podspec::json::{ensure, into_object, or_pointer, typed};
use crate::podspec::path::Errors;
use crate::podspec::scaled::{self, SPEC};
use crate::podspec::{defaults, selectors, warnings};

/// ReplicaSet.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "replicaset",
    short_names: &["rs"],
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
    ..BuiltIn::of::<ReplicaSet>()
});

const COLUMNS: &[Column] = &scaled::columns("Label selector for pods.");

fn default(object: &mut Value) {
    or_pointer(ensure(into_object(object), "spec"), "replicas", 1);
    defaults::template_of(object);
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: ReplicaSetSpec = typed(new.get("spec"));
    errors.nonnegative_if(SPEC.child("replicas"), spec.replicas);
    errors.nonnegative_if(SPEC.child("minReadySeconds"), spec.min_ready_seconds);
    let selector = scaled::selector(&mut errors, new);
    scaled::template(&mut errors, spec.template.as_ref(), selector.as_ref());
    if let Some(old) = old {
        scaled::selector_unchanged(&mut errors, new, old);
    }
    errors.0
}

fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    scaled::validate_status(new, &["observedGeneration", "terminatingReplicas"])
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    scaled::row(
        object,
        now_unix_ms,
        selectors::cell_at(object, "/spec/selector"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_must_agree() {
        let object =
            json!({"status": {"replicas": 1, "readyReplicas": 2, "availableReplicas": -1}});
        let errors: Vec<String> = validate_status(&object, &object)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "status.availableReplicas: Invalid value: -1: must be greater than or equal to 0",
                "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
            ]
        );
    }
}
