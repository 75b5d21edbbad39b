//! What workloads have in common: a selector that must match a template, counts of replicas, shares of them.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::path::{Errors, Given, Path, to_value};
use super::{json, names, print, selectors, validate};
use crate::field_error::FieldError;
use crate::kind::Column;
use crate::table;

/// The path of a spec.
pub const SPEC: Path<'static> = Path::root("spec");

/// Checks `spec.selector` of a workload; returns it when it is there.
pub fn selector(errors: &mut Errors, object: &Value) -> Option<LabelSelector> {
    let at = SPEC.child("selector");
    let given = object
        .pointer("/spec/selector")
        .filter(|selector| !selector.is_null());
    let Some(given) = given else {
        errors.required(at, "");
        return None;
    };
    let selector: LabelSelector = json::typed(Some(given));
    selectors::validate(errors, &at, Some(&selector));
    if selectors::is_empty(&selector) {
        // Upstream says deployment for replica sets as well.
        errors.invalid(
            at,
            to_value(&selector),
            "empty selector is invalid for deployment",
        );
    }
    Some(selector)
}

/// Checks the template of pods that always run.
pub fn template(
    errors: &mut Errors,
    template: Option<&PodTemplateSpec>,
    selector: Option<&LabelSelector>,
) {
    let at = SPEC.child("template");
    let Some(template) = template else {
        return errors.required(at, "");
    };
    template_matches(errors, &at, template, selector);
    validate::template(errors, &at, template);
    always_running(errors, &at, template, "ReplicaSet");
}

/// The pods of a workload of that `kind` run until they are deleted.
pub fn always_running(errors: &mut Errors, at: &Path<'_>, template: &PodTemplateSpec, kind: &str) {
    let Some(spec) = &template.spec else { return };
    if spec.restart_policy.given() != "Always" {
        let at = at.child("spec.restartPolicy");
        errors.not_supported(at, spec.restart_policy.given(), &["Always"]);
    }
    if spec.active_deadline_seconds.is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(at.child("spec.activeDeadlineSeconds"), detail);
    }
}

/// A disk that many pods mount has to be read-only.
pub fn read_only_disks(errors: &mut Errors, at: &Path<'_>, template: &PodTemplateSpec) {
    let list = at.child("spec.volumes");
    let volumes = template
        .spec
        .as_ref()
        .and_then(|spec| spec.volumes.as_ref());
    for (i, volume) in volumes.into_iter().flatten().enumerate() {
        let disk = volume.gce_persistent_disk.as_ref();
        if disk.is_some_and(|disk| disk.read_only != Some(true)) {
            let detail = "must be true for replicated pods > 1; GCE PD can only be mounted on multiple \
                          machines if it is read-only";
            let at = list.index(i);
            errors.invalid(at.child("gcePersistentDisk.readOnly"), false, detail);
        }
    }
}

/// A share of all as a number of percents.
pub fn percent(value: &IntOrString) -> Option<u64> {
    let IntOrString::String(text) = value else {
        return None;
    };
    text.strip_suffix('%')?.parse().ok()
}

/// Whether a number or share is none.
pub fn is_zero(value: &IntOrString) -> bool {
    matches!(value, IntOrString::Int(0)) || percent(value) == Some(0)
}

/// A number of pods or a share of all.
pub fn int_or_percent(errors: &mut Errors, at: Path<'_>, value: &IntOrString) {
    match value {
        IntOrString::Int(number) => errors.nonnegative(at, *number),
        IntOrString::String(text) => errors.invalid_each(at, text, names::percent(text)),
    }
}

/// A share of all is no more than all.
pub fn at_most_all(errors: &mut Errors, at: Path<'_>, value: &IntOrString) {
    if percent(value).is_some_and(|percent| percent > 100) {
        errors.invalid(at, to_value(value), "must not be greater than 100%");
    }
}

/// The count of name collisions only grows.
pub fn collisions_only_grow(errors: &mut Errors, new: &Value, old: &Value) {
    let collisions = |object: &Value| object.pointer("/status/collisionCount")?.as_i64();
    if collisions(old).is_some_and(|old| collisions(new).is_none_or(|new| new < old)) {
        let at = Path::root("status.collisionCount");
        errors.invalid(
            at,
            collisions(new).unwrap_or_default(),
            "cannot be decremented",
        );
    }
}

/// A workload's selector must select the pods it makes; an absent one selects none.
pub fn template_matches(
    errors: &mut Errors,
    at: &Path<'_>,
    template: &PodTemplateSpec,
    selector: Option<&LabelSelector>,
) {
    let labels = template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.labels.as_ref());
    if !selector.is_some_and(|selector| selectors::matches(selector, labels)) {
        let detail = "`selector` does not match template `labels`";
        errors.invalid(at.child("metadata.labels"), to_value(&labels), detail);
    }
}

/// The selector is fixed for life.
pub fn selector_unchanged(errors: &mut Errors, new: &Value, old: &Value) {
    let selector = |object: &Value| {
        object
            .pointer("/spec/selector")
            .cloned()
            .unwrap_or_default()
    };
    unchanged(
        errors,
        SPEC.child("selector"),
        &selector(new),
        &selector(old),
    );
}

/// A part of an object that is fixed for life.
pub fn unchanged(errors: &mut Errors, at: Path<'_>, new: &Value, old: &Value) {
    if !json::same(new, old) {
        errors.invalid(at, new.clone(), "field is immutable");
    }
}

/// Checks the counts of a status by name; all but the first two groups must not exceed `replicas`.
pub fn counts(errors: &mut Errors, object: &Value, within_replicas: &[&str], others: &[&str]) {
    let status = Path::root("status");
    let count = |field: &str| json::int(object, &format!("/status/{field}"));
    errors.nonnegative(status.child("replicas"), count("replicas"));
    for field in within_replicas.iter().chain(others) {
        errors.nonnegative(status.child(field), count(field));
    }
    for field in within_replicas {
        if count(field) > count("replicas") {
            let detail = "cannot be greater than status.replicas";
            errors.invalid(status.child(field), count(field), detail);
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        let at = status.child("availableReplicas");
        errors.invalid(
            at,
            count("availableReplicas"),
            "cannot be greater than readyReplicas",
        );
    }
}

/// Columns of what keeps a number of equal pods: a ReplicaSet, a ReplicationController.
pub const fn columns(selector_description: &'static str) -> [Column; 8] {
    [
        Column::NAME,
        Column::typed("Desired", "integer", "The number of desired pods."),
        Column::typed(
            "Current",
            "integer",
            "The most recently observed number of pods.",
        ),
        Column::typed("Ready", "integer", "The number of pods that are ready."),
        Column::AGE,
        print::CONTAINERS,
        print::IMAGES,
        Column::text("Selector", selector_description).wide(),
    ]
}

/// Its cells, with the selector as that kind shows it.
pub fn row(object: &Value, now_unix_ms: u64, selector: String) -> Vec<Value> {
    let [names, images] = print::container_cells(object, "/spec/template");
    vec![
        table::name(object),
        json::int(object, "/spec/replicas").into(),
        json::int(object, "/status/replicas").into(),
        json::int(object, "/status/readyReplicas").into(),
        table::age(object, now_unix_ms),
        names,
        images,
        selector.into(),
    ]
}

/// Its selectable field.
pub fn fields(object: &Value) -> Vec<(&'static str, String)> {
    let replicas = json::int(object, "/status/replicas");
    vec![("status.replicas", replicas.to_string())]
}

/// Rules of its status; `others` are further counts that are not negative.
pub fn validate_status(status: &Value, others: &[&'static str]) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let counted = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    counts(&mut errors, status, &counted, others);
    errors.0
}
