//! Validation of a pod as a whole: on create, on update, and of a binding.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{NodeAffinity, Pod, PodSpec};
use serde_json::{Value, json};

use crate::field_error::FieldError;
use crate::podspec::json::{difference, list, same, text, typed};
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::{image_padding, placement, validate};

const SPEC: Path<'static> = Path::root("spec");
const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,\
     `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
     `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Rules of a new pod.
pub fn validate_create(pod: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec = metadata_and_spec(&mut errors, pod);
    if !spec.ephemeral_containers.given().is_empty() {
        errors.forbidden(SPEC.child("ephemeralContainers"), "cannot be set on create");
    }
    if !spec.node_name.given().is_empty() && !spec.scheduling_gates.given().is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(SPEC.child("nodeName"), detail);
    }
    errors.0
}

pub(super) fn metadata_and_spec(errors: &mut Errors, pod: &Value) -> PodSpec {
    let pod: Pod = typed(Some(pod));
    let spec = pod.spec.unwrap_or_default();
    let annotations = pod.metadata.annotations.unwrap_or_default();
    let key = "controller.kubernetes.io/pod-deletion-cost";
    if let Some(cost) = annotations.get(key)
        && cost.parse::<i32>().is_err()
    {
        let at = Path::root("metadata.annotations");
        errors.invalid(at.key(key), cost.as_str(), "must be a 32bit integer");
    }
    let name = pod.metadata.name.unwrap_or_default();
    validate::pod_spec(errors, &SPEC, &spec, Some(&name));
    for (list, containers) in [
        ("containers", &spec.containers[..]),
        ("initContainers", spec.init_containers.given()),
    ] {
        let at = SPEC.child(list);
        for (i, container) in containers.iter().enumerate() {
            image_padding(errors, &at.index(i), container.image.given());
        }
    }
    spec
}

/// Rules of a changed pod: all but a few fields are fixed.
pub fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec = metadata_and_spec(&mut errors, new);
    let old_spec: PodSpec = typed(old.get("spec"));
    for (list, new, old) in [
        (
            "containers",
            spec.containers.len(),
            old_spec.containers.len(),
        ),
        (
            "initContainers",
            spec.init_containers.given().len(),
            old_spec.init_containers.given().len(),
        ),
    ] {
        if new != old {
            errors.forbidden(
                SPEC.child(list),
                "pod updates may not add or remove containers",
            );
            return errors.0;
        }
    }
    if !active_deadline(&mut errors, &spec, &old_spec) {
        return errors.0;
    }
    only_added_tolerations(&mut errors, &spec, &old_spec);
    only_deleted_gates(&mut errors, &spec, &old_spec);
    rest_is_unchanged(&mut errors, new, old, &spec, &old_spec);
    errors.0
}

/// A deadline may be set and shortened; false when the rest need not be looked at.
fn active_deadline(errors: &mut Errors, new: &PodSpec, old: &PodSpec) -> bool {
    let at = SPEC.child("activeDeadlineSeconds");
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.invalid(at, new, "must be between 0 and 2147483647, inclusive");
            false
        }
        (Some(new), Some(old)) if old < new => {
            errors.invalid(at, new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.invalid(at, "null", detail);
            true
        }
        _ => true,
    }
}

fn only_added_tolerations(errors: &mut Errors, new: &PodSpec, old: &PodSpec) {
    let kept = old.tolerations.given().iter().all(|old| {
        new.tolerations.given().iter().any(|new| {
            let mut old = old.clone();
            old.toleration_seconds = new.toleration_seconds;
            old == *new
        })
    });
    let at = SPEC.child("tolerations");
    if kept {
        placement::tolerations(errors, &at, new.tolerations.given());
    } else {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(at, detail);
    }
}

fn only_deleted_gates(errors: &mut Errors, new: &PodSpec, old: &PodSpec) {
    let known: BTreeSet<&str> = old
        .scheduling_gates
        .given()
        .iter()
        .map(|gate| gate.name.as_str())
        .collect();
    let list = SPEC.child("schedulingGates");
    for (i, gate) in new.scheduling_gates.given().iter().enumerate() {
        if !known.contains(gate.name.as_str()) {
            let detail = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                gate.name
            );
            errors.forbidden(list.index(i).child("name"), detail);
        }
    }
}

fn rest_is_unchanged(
    errors: &mut Errors,
    new: &Value,
    old: &Value,
    new_spec: &PodSpec,
    old_spec: &PodSpec,
) {
    let old = old.get("spec").cloned().unwrap_or_default();
    let mut munged = new.get("spec").cloned().unwrap_or_default();
    if same(&munged, &old) {
        return;
    }
    for containers in ["containers", "initContainers"] {
        for (i, container) in list(&old, &format!("/{containers}")).iter().enumerate() {
            munged[containers][i]["image"] = container["image"].clone();
        }
    }
    let mut restored = vec!["activeDeadlineSeconds", "schedulingGates", "tolerations"];
    if old_spec
        .termination_grace_period_seconds
        .is_some_and(|seconds| seconds < 0)
        && new_spec.termination_grace_period_seconds == Some(1)
    {
        restored.push("terminationGracePeriodSeconds");
    }
    // Until its gates are gone a pod may still be steered to fewer nodes.
    let mut restore_affinity = false;
    if !old_spec.scheduling_gates.given().is_empty() {
        node_selector_grows(errors, new_spec, old_spec);
        restored.push("nodeSelector");
        let affinity = |spec: &PodSpec| spec.affinity.as_ref()?.node_affinity.clone();
        node_affinity_grows(errors, affinity(new_spec), affinity(old_spec));
        restore_affinity = true;
    }
    for field in restored {
        munged[field] = old[field].clone();
    }
    if restore_affinity {
        let node_affinity = old["affinity"]["nodeAffinity"].clone();
        if !munged["affinity"].is_null() || !node_affinity.is_null() {
            munged["affinity"]["nodeAffinity"] = node_affinity;
        }
    }
    if !same(&munged, &old) {
        let diff = difference(&old, &munged);
        let detail = format!("pod updates may not change fields other than {UPDATABLE}\n{diff}");
        errors.forbidden(SPEC, detail);
    }
}

fn node_selector_grows(errors: &mut Errors, new: &PodSpec, old: &PodSpec) {
    let none = Default::default();
    let new = new.node_selector.as_ref().unwrap_or(&none);
    if old
        .node_selector
        .iter()
        .flatten()
        .any(|(key, value)| new.get(key) != Some(value))
    {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid(SPEC.child("nodeSelector"), json!(new), detail);
    }
}

fn node_affinity_grows(errors: &mut Errors, new: Option<NodeAffinity>, old: Option<NodeAffinity>) {
    let terms = |affinity: Option<NodeAffinity>| {
        let required = affinity?.required_during_scheduling_ignored_during_execution?;
        Some(required.node_selector_terms)
    };
    let (new, old) = (
        terms(new).unwrap_or_default(),
        terms(old).unwrap_or_default(),
    );
    let at = SPEC.child(
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
    );
    if !old.is_empty() && old.len() != new.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.invalid(at, json!(new), detail);
    }
    for (i, (new, old)) in new.iter().zip(&old).enumerate() {
        let (new_labels, old_labels) =
            (new.match_expressions.given(), old.match_expressions.given());
        let (new_fields, old_fields) = (new.match_fields.given(), old.match_fields.given());
        // A term without requirements matches nothing; adding one would widen it.
        let was_empty = old_labels.is_empty() && old_fields.is_empty();
        let is_empty = new_labels.is_empty() && new_fields.is_empty();
        let grows = new_labels.starts_with(old_labels) && new_fields.starts_with(old_fields);
        if !grows || (was_empty && !is_empty) {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.invalid(at.index(i), json!(new), detail);
        }
    }
}

/// Rules of a Binding, which assigns a pod to a node.
pub fn validate_binding(binding: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let target = Path::root("target");
    let kind = text(binding, "/target/kind");
    if !matches!(kind, "" | "Node") {
        errors.not_supported(target.child("kind"), kind, &["Node", "<empty>"]);
    }
    if text(binding, "/target/name").is_empty() {
        errors.required(target.child("name"), "");
    }
    errors.0
}
