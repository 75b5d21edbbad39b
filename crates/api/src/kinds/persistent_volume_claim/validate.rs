//! Rules of claims (upstream `ValidatePersistentVolumeClaimSpec` and `ValidatePersistentVolumeClaimUpdate`).

use k8s_openapi::api::core::v1::PersistentVolumeClaimSpec;
use serde_json::Value;

use super::CLASS_ANNOTATION;
use crate::field_error::FieldError;
use crate::meta::{Meta, names};
use crate::podspec::json::{difference, into_object, list, same, text, typed};
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::resources::{self, parse};
use crate::podspec::scaled::{SPEC, unchanged};
use crate::podspec::selectors;
use crate::quantity::Quantity;

/// How volumes can be mounted.
const ACCESS_MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
/// What volumes can be to a container.
pub const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];

const STORAGE: &str = "/spec/resources/requests/storage";
const ATTRIBUTES: &str = "/spec/volumeAttributesClassName";

/// Rules of a claim on create, and on update when there is an old one.
pub fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    spec(&mut errors, &SPEC, &typed(new.get("spec")));
    if let Some(old) = old {
        update(&mut errors, new, old);
    }
    errors.0
}

fn spec(errors: &mut Errors, at: &Path<'_>, spec: &PersistentVolumeClaimSpec) {
    let modes = spec.access_modes.given();
    let modes_at = at.child("accessModes");
    if modes.is_empty() {
        errors.required(modes_at, "at least 1 access mode is required");
    }
    selectors::validate(errors, &at.child("selector"), spec.selector.as_ref());
    access_modes(errors, modes_at, modes);
    let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    let resources_at = at.child("resources");
    let storage_at = resources_at.key("storage");
    match requests.and_then(|requests| requests.get("storage")) {
        None => errors.required(storage_at, ""),
        Some(storage) => {
            resources::amount(errors, storage_at, "storage", storage);
            if parse(storage).is_some_and(|storage| storage.sign() < 1) {
                errors.invalid(storage_at, storage.0.as_str(), "must be greater than zero");
            }
        }
    }
    let class = spec.storage_class_name.given();
    if !class.is_empty() {
        let messages = names::dns1123_subdomain(class);
        errors.invalid_each(at.child("storageClassName"), class, messages);
    }
    let mode = spec.volume_mode.as_deref();
    errors.one_of_if(at.child("volumeMode"), mode, VOLUME_MODES);
    sources(errors, at, spec);
    let class = spec.volume_attributes_class_name.given();
    if !class.is_empty() {
        let messages = names::dns1123_subdomain(class);
        errors.invalid_each(at.child("volumeAttributesClassName"), class, messages);
    }
}

/// Modes of a claim or volume: known ones, and the exclusive one alone.
pub fn access_modes(errors: &mut Errors, at: Path<'_>, modes: &[String]) {
    for mode in modes {
        errors.one_of_if(at, Some(mode), ACCESS_MODES);
    }
    let n_exclusive = modes
        .iter()
        .filter(|mode| *mode == "ReadWriteOncePod")
        .count();
    if n_exclusive > 0 && n_exclusive < modes.len() {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.forbidden(at, detail);
    }
}

fn sources(errors: &mut Errors, at: &Path<'_>, spec: &PersistentVolumeClaimSpec) {
    let source_at = at.child("dataSource");
    if let Some(given) = &spec.data_source {
        let group = given.api_group.given();
        source(errors, &source_at, group, &given.kind, &given.name);
    }
    let Some(reference) = &spec.data_source_ref else {
        return;
    };
    let ref_at = at.child("dataSourceRef");
    let group = reference.api_group.given();
    source(errors, &ref_at, group, &reference.kind, &reference.name);
    let namespace = reference.namespace.given();
    if !namespace.is_empty() {
        let messages = names::dns1123_label(namespace);
        errors.invalid_each(ref_at.child("namespace"), namespace, messages);
    }
    let Some(given) = &spec.data_source else {
        return;
    };
    let is_same = given.kind == reference.kind
        && given.name == reference.name
        && given.api_group.given() == group;
    if !namespace.is_empty() {
        let detail = "may not be specified when dataSourceRef.namespace is specified";
        errors.invalid(*at, source_at.to_string(), detail);
    } else if !is_same {
        errors.invalid(*at, source_at.to_string(), "must match dataSourceRef");
    }
}

fn source(errors: &mut Errors, at: &Path<'_>, group: &str, kind: &str, name: &str) {
    if name.is_empty() {
        errors.required(at.child("name"), "");
    }
    if kind.is_empty() {
        errors.required(at.child("kind"), "");
    }
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.invalid(*at, kind, detail);
    }
    if !group.is_empty() {
        let messages = names::dns1123_subdomain(group);
        errors.invalid_each(at.child("apiGroup"), group, messages);
    }
}

fn amount(object: &Value, pointer: &str) -> Option<Quantity> {
    text(object, pointer).parse().ok()
}

/// A claim's spec stays, but for the volume that it gets once, the size that it grows to, and its attributes.
fn update(errors: &mut Errors, new: &Value, old: &Value) {
    let mut spec = new.get("spec").cloned().unwrap_or_default();
    let mut was = old.get("spec").cloned().unwrap_or_default();
    if class_may_change(errors, new, old) {
        copy(&mut was, &spec, "storageClassName");
    }
    if text(&was, "/volumeName").is_empty() {
        copy(&mut was, &spec, "volumeName");
    }
    copy(&mut was, &spec, "volumeAttributesClassName");
    let requests = spec.pointer_mut("/resources/requests");
    if text(new, "/status/phase") == "Bound"
        && let Some(requests) = requests.filter(|requests| requests.is_object())
    {
        requests["storage"] = old.pointer(STORAGE).cloned().unwrap_or_default();
    }
    if !same(&spec, &was) {
        let detail = format!(
            "spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\n{}",
            difference(&was, &spec)
        );
        errors.forbidden(SPEC, detail);
    }
    if let (Some(size), Some(old_size)) = (amount(new, STORAGE), amount(old, STORAGE))
        && size < old_size
    {
        // A growth that failed may be called back, down to what the volume has: volumes do not shrink.
        let status = amount(old, "/status/capacity/storage");
        if status.is_none_or(|status| size <= status) {
            let detail = "field can not be less than status.capacity";
            errors.forbidden(SPEC.child("resources.requests.storage"), detail);
        }
    }
    let part = |object: &Value, pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    unchanged(
        errors,
        SPEC.child("volumeMode"),
        &part(new, "/spec/volumeMode"),
        &part(old, "/spec/volumeMode"),
    );
    if !part(old, ATTRIBUTES).is_null() && part(new, ATTRIBUTES).is_null() {
        let detail = "update from non-nil value to nil is forbidden";
        errors.forbidden(SPEC.child("volumeAttributesClassName"), detail);
    }
}

/// The class may move from the old annotation to its field, and be set once where there was none. Otherwise the
/// annotation stays.
fn class_may_change(errors: &mut Errors, new: &Value, old: &Value) -> bool {
    let annotation = |object: &Value| {
        let class = Meta::of(object).annotation(CLASS_ANNOTATION);
        class.map(str::to_owned)
    };
    let (class, was) = (annotation(new), annotation(old));
    let field = text(new, "/spec/storageClassName");
    let had_field = !text(old, "/spec/storageClassName").is_empty();
    let is_kept = class.is_none() || class == was;
    if was.as_deref().is_some_and(|was| was == field) && !had_field && is_kept {
        return true;
    }
    let is_first = was.is_none() && old["spec"]["storageClassName"].is_null();
    if class != was {
        let at = Path::root("metadata.annotations");
        errors.invalid(
            at.key(CLASS_ANNOTATION),
            class.unwrap_or_default(),
            "field is immutable",
        );
    }
    is_first
}

fn copy(to: &mut Value, from: &Value, field: &str) {
    into_object(to).insert(field.to_owned(), from[field].clone());
}

/// Rules of a status update.
pub fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    if list(new, "/spec/accessModes").is_empty() {
        errors.required(SPEC.child("accessModes"), "");
    }
    let status = Path::root("status");
    for field in ["capacity", "allocatedResources"] {
        let at = status.child(field);
        let amounts = new.pointer(&format!("/status/{field}"));
        for (name, amount) in amounts.and_then(Value::as_object).into_iter().flatten() {
            let value = amount
                .as_str()
                .and_then(|text| text.parse::<Quantity>().ok());
            if value.is_some_and(|value| value.sign() < 0) {
                let detail = "must be a valid resource quantity";
                errors.invalid(at.key(name), amount.clone(), detail);
            }
        }
    }
    errors.0
}

#[cfg(test)]
mod tests {
    use super::super::KIND;
    use super::*;
    use serde_json::json;

    fn claim() -> Value {
        let mut claim = json!({
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fast",
                "resources": {"requests": {"storage": "2Gi"}},
            },
        });
        KIND.default(&mut claim);
        claim
    }

    fn texts(new: &Value, old: Option<&Value>) -> Vec<String> {
        validate(new, old).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        assert_eq!(texts(&claim(), None), [""; 0]);
        for (pointer, value, expected) in [
            (
                "/accessModes",
                json!([]),
                "spec.accessModes: Required value: at least 1 access mode is required",
            ),
            (
                "/accessModes",
                json!(["ReadWriteOncePod", "ReadWriteOnce"]),
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ),
            (
                "/accessModes",
                json!(["Often"]),
                "spec.accessModes: Unsupported value: \"Often\": supported values: \"ReadOnlyMany\", \
                 \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            ),
            (
                "/resources",
                json!({}),
                "spec.resources[storage]: Required value",
            ),
            (
                "/resources/requests/storage",
                json!("0"),
                "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                "/volumeMode",
                json!("Tape"),
                "spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \
                 \"Filesystem\"",
            ),
            (
                "/dataSource",
                json!({"kind": "Pod", "name": "x"}),
                "spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when \
                 referencing the default apiGroup",
            ),
        ] {
            let mut object = claim();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            object.pointer_mut(&format!("/spec{parent}")).unwrap()[field] = value;
            assert_eq!(texts(&object, None)[0], expected);
        }
    }

    #[test]
    fn claims_are_bound_once_and_only_grow() {
        let old = claim();
        let mut new = claim();
        new["spec"]["volumeName"] = json!("pv1");
        assert_eq!(texts(&new, Some(&old)), [""; 0]);
        let mut bound = new.clone();
        bound["status"] = json!({"phase": "Bound", "capacity": {"storage": "2Gi"}});
        let mut new = bound.clone();
        new["spec"]["resources"]["requests"]["storage"] = json!("3Gi");
        assert_eq!(texts(&new, Some(&bound)), [""; 0]);
        new["spec"]["resources"]["requests"]["storage"] = json!("1Gi");
        assert_eq!(
            texts(&new, Some(&bound)),
            [
                "spec.resources.requests.storage: Forbidden: field can not be less than \
                 status.capacity"
            ]
        );
        let mut new = bound.clone();
        new["spec"]["volumeName"] = json!("pv2");
        assert_eq!(
            texts(&new, Some(&bound)),
            [
                "spec: Forbidden: spec is immutable after creation except resources.requests and \
                 volumeAttributesClassName for bound claims\n  - volumeName: \"pv1\"\n  + \
                 volumeName: \"pv2\"\n"
            ]
        );
        let mut new = old.clone();
        new["spec"]["resources"]["requests"]["storage"] = json!("3Gi");
        assert!(texts(&new, Some(&old))[0].starts_with("spec: Forbidden: spec is immutable"));
    }
}
