//! Rules of `metadata` (upstream `apimachinery/pkg/api/validation/objectmeta.go`).
//!
//! Objects come as JSON that passed `schema::check`, so types are right and need no second look.

use std::collections::BTreeMap;

use kontiki_base::limits;
use serde_json::Value;

use super::Meta;
use super::names::{self, NameRule};
use crate::field_error::{FieldError, go_quote};

const FIELD_MANAGER_BYTES: usize = 128;
const SUBRESOURCE_BYTES: usize = 256;

/// Rules of a new object's metadata.
pub fn validate(object: &Value, namespaced: bool, name_rule: NameRule) -> Vec<FieldError> {
    let meta = Meta::of(object);
    let mut errors = Vec::new();
    let prefix = meta.generate_name();
    if !prefix.is_empty() {
        let messages = name_rule(prefix, true);
        errors.extend(FieldError::invalid_each(
            "metadata.generateName",
            prefix,
            messages,
        ));
    }
    if meta.name().is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        let messages = name_rule(meta.name(), false);
        errors.extend(FieldError::invalid_each(
            "metadata.name",
            meta.name(),
            messages,
        ));
    }
    let namespace = meta.namespace();
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.push(FieldError::required("metadata.namespace", "")),
        (true, false) => {
            let messages = names::label(namespace, false);
            errors.extend(FieldError::invalid_each(
                "metadata.namespace",
                namespace,
                messages,
            ));
        }
        (false, false) => {
            errors.push(FieldError::forbidden(
                "metadata.namespace",
                "not allowed on this type",
            ));
        }
        (false, true) => {}
    }
    errors.extend(common(meta));
    errors.extend(validate_finalizers(meta));
    errors
}

/// Rules of an update's metadata.
pub fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let (meta, old) = (Meta::of(new), Meta::of(old));
    let mut errors = Vec::new();
    if old.is_deleting() {
        errors.extend(no_new_finalizers(meta, old));
    }
    if meta.generation() < old.generation() {
        let detail = "must not be decremented";
        errors.push(FieldError::invalid(
            "metadata.generation",
            meta.generation(),
            detail,
        ));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let known = |meta: Meta<'_>| meta.get(field).filter(|value| is_set(value)).cloned();
        if known(meta) != known(old) {
            let value = known(meta).unwrap_or(if field.ends_with("Seconds") {
                Value::Null
            } else {
                Value::String(String::new())
            });
            let path = format!("metadata.{field}");
            errors.push(FieldError::invalid(path, value, "field is immutable"));
        }
    }
    errors.extend(common(meta));
    errors
}

fn is_set(value: &Value) -> bool {
    !value.is_null() && value.as_str() != Some("")
}

fn common(meta: Meta<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if meta.generation() < 0 {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            "metadata.generation",
            meta.generation(),
            detail,
        ));
    }
    errors.extend(validate_labels(meta.labels(), "metadata.labels"));
    errors.extend(validate_annotations(
        meta.annotations(),
        "metadata.annotations",
    ));
    errors.extend(validate_owners(meta.owners(), "metadata.ownerReferences"));
    errors.extend(validate_managed_fields(meta));
    errors
}

/// Rules of label keys and values.
pub fn validate_labels<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    path: &str,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels {
        errors.extend(FieldError::invalid_each(
            path,
            key,
            names::qualified_name(key),
        ));
        errors.extend(FieldError::invalid_each(
            path,
            value,
            names::label_value(value),
        ));
    }
    errors
}

/// As `validate_labels`, of a typed map.
pub fn validate_labels_map(
    labels: Option<&BTreeMap<String, String>>,
    path: &str,
) -> Vec<FieldError> {
    let labels = labels.into_iter().flatten();
    validate_labels(
        labels.map(|(key, value)| (key.as_str(), value.as_str())),
        path,
    )
}

/// Rules of annotation keys and of the size of all annotations.
pub fn validate_annotations<'a>(
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
    path: &str,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size_bytes = 0;
    for (key, value) in annotations {
        size_bytes += key.len() + value.len();
        let messages = names::qualified_name(&key.to_lowercase());
        errors.extend(FieldError::invalid_each(path, key, messages));
    }
    if size_bytes > limits::ANNOTATION_BYTES {
        errors.push(FieldError::too_long(path, limits::ANNOTATION_BYTES));
    }
    errors
}

/// Rules of owner references.
pub fn validate_owners(owners: &[Value], path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    for owner in owners {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let version = text("apiVersion");
        let version_is_empty = version.rsplit('/').next().is_none_or(str::is_empty);
        for (field, wrong, detail) in [
            ("apiVersion", version_is_empty, "version must not be empty"),
            ("kind", text("kind").is_empty(), "must not be empty"),
            ("name", text("name").is_empty(), "must not be empty"),
            ("uid", text("uid").is_empty(), "must not be empty"),
        ] {
            if wrong {
                errors.push(FieldError::invalid(
                    format!("{path}.{field}"),
                    text(field),
                    detail,
                ));
            }
        }
        if version == "v1" && text("kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(path, owner, detail));
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            let name = format!("{}/{}", text("kind"), text("name"));
            match &controller {
                Some(first) => {
                    let detail = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in \
                         references for {first} and {name}"
                    );
                    errors.push(FieldError::invalid(path, owners, detail));
                }
                None => controller = Some(name),
            }
        }
    }
    errors
}

fn validate_finalizers(meta: Meta<'_>) -> Vec<FieldError> {
    const PATH: &str = "metadata.finalizers";
    let finalizers = meta.finalizers();
    let mut errors = Vec::new();
    for (idx, finalizer) in finalizers.iter().enumerate() {
        errors.extend(FieldError::invalid_each(
            PATH,
            finalizer,
            names::qualified_name(finalizer),
        ));
        if !finalizer.contains('/') && !names::is_standard_finalizer(finalizer) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(
                format!("{PATH}[{idx}]"),
                finalizer,
                detail,
            ));
        }
    }
    if finalizers.contains(&"orphan") && finalizers.contains(&"foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(PATH, &finalizers, detail));
    }
    errors
}

fn no_new_finalizers(meta: Meta<'_>, old: Meta<'_>) -> Option<FieldError> {
    let known = old.finalizers();
    let mut extra = meta.finalizers();
    extra.retain(|finalizer| !known.contains(finalizer));
    extra.sort_unstable();
    extra.dedup();
    (!extra.is_empty()).then(|| {
        let extra: Vec<String> = extra.into_iter().map(go_quote).collect();
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            extra.join(", ")
        );
        FieldError::forbidden("metadata.finalizers", detail)
    })
}

fn validate_managed_fields(meta: Meta<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let entries = meta.get("managedFields").and_then(Value::as_array);
    for (idx, entry) in entries.into_iter().flatten().enumerate() {
        let path = |field: &str| format!("metadata.managedFields[{idx}].{field}");
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        let operation = text("operation");
        if !matches!(operation, "Apply" | "Update") {
            let detail = "must be `Apply` or `Update`";
            errors.push(FieldError::invalid(path("operation"), operation, detail));
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            let detail = "must be `FieldsV1`";
            errors.push(FieldError::invalid(
                path("fieldsType"),
                text("fieldsType"),
                detail,
            ));
        }
        if text("manager").len() > FIELD_MANAGER_BYTES {
            errors.push(FieldError::too_long(path("manager"), FIELD_MANAGER_BYTES));
        }
        if text("subresource").len() > SUBRESOURCE_BYTES {
            errors.push(FieldError::too_long(path("subresource"), SUBRESOURCE_BYTES));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn creates_need_a_name_and_the_right_namespace() {
        let object = json!({"metadata": {"namespace": "x"}});
        assert_eq!(
            texts(&validate(&object, false, names::subdomain)),
            [
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Forbidden: not allowed on this type",
            ]
        );
        let object = json!({"metadata": {"generateName": "a-", "name": "a-x1", "namespace": "x"}});
        assert_eq!(texts(&validate(&object, true, names::subdomain)), [""; 0]);
    }

    #[test]
    fn updates_refuse_new_identity_and_new_finalizers() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "deletionTimestamp": "t"}});
        let new = json!({"metadata": {"name": "a", "uid": "2", "deletionTimestamp": "t",
            "finalizers": ["b.c/d"]}});
        assert_eq!(
            texts(&validate_update(&new, &old)),
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being \
             deleted, found new finalizers []string{\"b.c/d\"}",
                "metadata.uid: Invalid value: \"2\": field is immutable",
            ]
        );
    }

    #[test]
    fn annotations_are_bounded() {
        let value = "x".repeat(limits::ANNOTATION_BYTES);
        let errors = validate_annotations([("a", value.as_str())].into_iter(), "p");
        assert_eq!(
            texts(&errors),
            ["p: Too long: may not be more than 262144 bytes"]
        );
        assert!(validate_annotations([("A.b/C", "")].into_iter(), "p").is_empty());
    }

    #[test]
    fn one_controller_at_most() {
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u",
            "controller": true});
        assert!(validate_owners(std::slice::from_ref(&owner), "o").is_empty());
        assert_eq!(validate_owners(&[owner.clone(), owner], "o").len(), 1);
        assert_eq!(validate_owners(&[json!({})], "o").len(), 4);
    }
}
