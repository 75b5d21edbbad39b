//! Scopes: which pods and claims a quota is about.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, PodAffinityTerm, PodSpec, ResourceQuota,
};

use super::Subject;
use crate::kinds::pod::qos_class;
use crate::podspec::path::Given;

/// One condition of a quota.
struct Scope<'a> {
    name: &'a str,
    operator: &'a str,
    values: &'a [String],
}

/// Whether all scopes of a quota cover an object. What is neither a pod nor a claim is in no scope.
pub(super) fn cover(quota: &ResourceQuota, subject: &Subject<'_>) -> bool {
    let spec = quota.spec.as_ref();
    let plain = spec
        .and_then(|spec| spec.scopes.as_ref())
        .into_iter()
        .flatten();
    let plain = plain.map(|name| Scope {
        name,
        operator: "Exists",
        values: &[],
    });
    let selector = spec.and_then(|spec| spec.scope_selector.as_ref());
    let requirements = selector.and_then(|it| it.match_expressions.as_ref());
    let selected = requirements.into_iter().flatten().map(|requirement| Scope {
        name: &requirement.scope_name,
        operator: &requirement.operator,
        values: requirement.values.as_deref().unwrap_or_default(),
    });
    plain.chain(selected).all(|scope| match subject {
        Subject::Pod(pod) => covers_pod(&scope, pod),
        Subject::Claim(claim) => covers_claim(&scope, claim),
        Subject::Service(_) | Subject::Other(_) => false,
    })
}

fn covers_pod(scope: &Scope<'_>, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let is_terminating = spec
        .active_deadline_seconds
        .is_some_and(|seconds| seconds >= 0);
    let is_best_effort = || qos_class(spec) == "BestEffort";
    match scope.name {
        "Terminating" => is_terminating,
        "NotTerminating" => !is_terminating,
        "BestEffort" => is_best_effort(),
        "NotBestEffort" => !is_best_effort(),
        "PriorityClass" => selects(scope, spec.priority_class_name.given()),
        "CrossNamespacePodAffinity" => reaches_other_namespaces(spec),
        _ => false,
    }
}

fn covers_claim(scope: &Scope<'_>, claim: &PersistentVolumeClaim) -> bool {
    let class = claim.spec.as_ref();
    let class = class.and_then(|spec| spec.volume_attributes_class_name.as_deref());
    scope.name == "VolumeAttributesClass" && selects(scope, class.unwrap_or_default())
}

/// As a label selector would, of one label that is there unless it is empty.
fn selects(scope: &Scope<'_>, value: &str) -> bool {
    let is_listed = scope.values.iter().any(|known| known == value);
    match scope.operator {
        "In" => !value.is_empty() && is_listed,
        "NotIn" => value.is_empty() || !is_listed,
        "DoesNotExist" => value.is_empty(),
        _ => !value.is_empty(),
    }
}

fn reaches_other_namespaces(spec: &PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else {
        return false;
    };
    let reaches = |term: &PodAffinityTerm| {
        !term.namespaces.given().is_empty() || term.namespace_selector.is_some()
    };
    let attracted = affinity.pod_affinity.as_ref();
    let repelled = affinity.pod_anti_affinity.as_ref();
    let required = attracted
        .and_then(|it| {
            it.required_during_scheduling_ignored_during_execution
                .as_ref()
        })
        .into_iter()
        .chain(repelled.and_then(|it| {
            it.required_during_scheduling_ignored_during_execution
                .as_ref()
        }));
    let preferred = attracted
        .and_then(|it| {
            it.preferred_during_scheduling_ignored_during_execution
                .as_ref()
        })
        .into_iter()
        .chain(repelled.and_then(|it| {
            it.preferred_during_scheduling_ignored_during_execution
                .as_ref()
        }));
    required.flatten().any(reaches)
        || preferred
            .flatten()
            .any(|term| reaches(&term.pod_affinity_term))
}
