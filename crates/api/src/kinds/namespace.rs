//! Namespace (upstream `pkg/registry/core/namespace`).

use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use crate::admission::Denied;
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::{Meta, metadata_mut, names, object_mut};
use crate::table;

/// The finalizer that holds a namespace until its content is gone.
pub const FINALIZER: &str = "kubernetes";
/// Namespaces that a cluster is never without (upstream plugin `NamespaceLifecycle`).
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Namespace.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "namespace",
    short_names: &["ns"],
    namespaced: false,
    subresources: &[Subresource::Finalize, Subresource::Status],
    columns: &[
        Column::NAME,
        Column::text("Status", "The status of the namespace"),
        Column::AGE,
    ],
    selectable: &["status.phase"],
    name_rule: names::label,
    hooks: Hooks {
        default,
        admit_delete,
        prepare_create,
        prepare_update,
        validate,
        validate_status,
        row,
        fields,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Namespace>()
});

fn default(object: &mut Value) {
    let name = Meta::of(object).name().to_owned();
    let deleting = Meta::of(object).is_deleting();
    if !name.is_empty() {
        let labels = metadata_mut(object)
            .entry("labels")
            .or_insert_with(|| json!({}));
        object_mut(labels).insert(NAME_LABEL.to_owned(), name.into());
    }
    if !deleting && let Some(status) = object.get_mut("status") {
        object_mut(status)
            .entry("phase")
            .or_insert_with(|| "Active".into());
    }
}

fn admit_delete(namespace: &Value) -> Result<(), Denied> {
    if IMMORTAL.contains(&Meta::of(namespace).name()) {
        return Err(Denied("this namespace may not be deleted".to_owned()));
    }
    Ok(())
}

fn prepare_create(object: &mut Value) {
    let fields = object_mut(object);
    fields.insert("status".to_owned(), json!({"phase": "Active"}));
    let spec = object_mut(fields.entry("spec").or_insert_with(|| json!({})));
    let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
    if let Value::Array(finalizers) = finalizers
        && !finalizers.iter().any(|finalizer| finalizer == FINALIZER)
    {
        finalizers.push(FINALIZER.into());
    }
}

fn prepare_update(new: &mut Value, old: &Value) {
    crate::kind::copy_field(new, old, "spec");
}

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let finalizers = new.pointer("/spec/finalizers").and_then(Value::as_array);
    let finalizers = finalizers.into_iter().flatten().filter_map(Value::as_str);
    finalizers.flat_map(finalizer_errors).collect()
}

fn finalizer_errors(finalizer: &str) -> Vec<FieldError> {
    let messages = names::qualified_name(finalizer);
    let mut errors = FieldError::invalid_each("spec.finalizers", finalizer, messages);
    if !finalizer.contains('/') && !names::is_standard_finalizer(finalizer) {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.push(FieldError::invalid("spec.finalizers", finalizer, detail));
    }
    errors
}

fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let phase = new
        .pointer("/status/phase")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (wanted, detail) = match Meta::of(new).is_deleting() {
        false => (
            "Active",
            "may only be 'Active' if `deletionTimestamp` is empty",
        ),
        true => (
            "Terminating",
            "may only be 'Terminating' if `deletionTimestamp` is not empty",
        ),
    };
    let wrong = phase != wanted;
    wrong
        .then(|| FieldError::invalid("status.Phase", phase, detail))
        .into_iter()
        .collect()
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    vec![
        table::name(object),
        table::text(object, "/status/phase", ""),
        table::age(object, now_unix_ms),
    ]
}

fn fields(object: &Value) -> Vec<(&'static str, String)> {
    let phase = object
        .pointer("/status/phase")
        .and_then(Value::as_str)
        .unwrap_or_default();
    vec![("status.phase", phase.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_namespaces_are_active_held_and_labelled() {
        let mut object = json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}});
        KIND.default(&mut object);
        KIND.prepare_create(&mut object);
        assert_eq!(
            object,
            json!({
                "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            })
        );
        assert!(KIND.validate(&object, None).is_empty());
    }

    #[test]
    fn updates_keep_finalizers_and_finalize_changes_only_them() {
        let old = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}});
        let mut new = json!({"metadata": {"name": "a"}, "spec": {}});
        KIND.prepare_update(&mut new, &old);
        assert_eq!(new, old);
        let mut new = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {}});
        KIND.prepare_finalize(&mut new, &old);
        assert_eq!(new, json!({"metadata": {"name": "a"}, "spec": {}}));
    }

    #[test]
    fn phase_follows_deletion() {
        let new = json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}});
        assert_eq!(validate_status(&new, &new).len(), 1);
    }
}
