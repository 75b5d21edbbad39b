//! Validation of what decides where a pod runs: affinity, tolerations, spread constraints.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PodAffinityTerm, Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::names;
use super::path::{Errors, Given, Path};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks all of a pod's affinities.
pub fn affinity(errors: &mut Errors, at: &Path<'_>, affinity: &Affinity) {
    if let Some(node) = &affinity.node_affinity {
        node_affinity(errors, &at.child("nodeAffinity"), node);
    }
    if let Some(pod) = &affinity.pod_affinity {
        pod_terms(
            errors,
            &at.child("podAffinity"),
            pod.required_during_scheduling_ignored_during_execution
                .given(),
            pod.preferred_during_scheduling_ignored_during_execution
                .given(),
        );
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        pod_terms(
            errors,
            &at.child("podAntiAffinity"),
            pod.required_during_scheduling_ignored_during_execution
                .given(),
            pod.preferred_during_scheduling_ignored_during_execution
                .given(),
        );
    }
}

fn node_affinity(errors: &mut Errors, at: &Path<'_>, affinity: &NodeAffinity) {
    if let Some(selector) = &affinity.required_during_scheduling_ignored_during_execution {
        node_selector(errors, &at.child(REQUIRED), selector);
    }
    let at = at.child(PREFERRED);
    let preferred = affinity
        .preferred_during_scheduling_ignored_during_execution
        .given();
    for (i, term) in preferred.iter().enumerate() {
        let at = at.index(i);
        weight(errors, &at, term.weight);
        // Values that are no label values are taken here: they merely never match.
        node_selector_term(errors, &at.child("preference"), &term.preference, false);
    }
}

fn weight(errors: &mut Errors, at: &Path<'_>, weight: i32) {
    if !(1..=100).contains(&weight) {
        errors.invalid(at.child("weight"), weight, "must be in the range 1-100");
    }
}

/// Checks a selector of nodes.
pub fn node_selector(errors: &mut Errors, at: &Path<'_>, selector: &NodeSelector) {
    let at = at.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.required(at, "must have at least one node selector term");
    }
    for (i, term) in selector.node_selector_terms.iter().enumerate() {
        node_selector_term(errors, &at.index(i), term, true);
    }
}

fn node_selector_term(
    errors: &mut Errors,
    at: &Path<'_>,
    term: &NodeSelectorTerm,
    check_values: bool,
) {
    let list = at.child("matchExpressions");
    for (i, requirement) in term.match_expressions.given().iter().enumerate() {
        label_requirement(errors, &list.index(i), requirement, check_values);
    }
    let list = at.child("matchFields");
    for (i, requirement) in term.match_fields.given().iter().enumerate() {
        field_requirement(errors, &list.index(i), requirement);
    }
}

fn label_requirement(
    errors: &mut Errors,
    at: &Path<'_>,
    requirement: &NodeSelectorRequirement,
    check_values: bool,
) {
    let values = requirement.values.given();
    let values_at = at.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(
                values_at,
                "must be specified when `operator` is 'In' or 'NotIn'",
            );
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(values_at, detail);
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.required(values_at, detail);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        operator => {
            errors.invalid(
                at.child("operator"),
                operator,
                "not a valid selector operator",
            );
        }
    }
    names::label_name(errors, at.child("key"), &requirement.key);
    for (i, value) in values.iter().enumerate().filter(|_| check_values) {
        errors.invalid_each(values_at.index(i), value, names::label_value(value));
    }
}

fn field_requirement(errors: &mut Errors, at: &Path<'_>, requirement: &NodeSelectorRequirement) {
    let values = requirement.values.given();
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => {
            let detail =
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(at.child("values"), detail);
        }
        "In" | "NotIn" => {}
        operator => {
            errors.invalid(
                at.child("operator"),
                operator,
                "not a valid selector operator",
            );
        }
    }
    if requirement.key != "metadata.name" {
        let detail = "not a valid field selector key";
        return errors.invalid(at.child("key"), requirement.key.as_str(), detail);
    }
    let list = at.child("values");
    for (i, value) in values.iter().enumerate() {
        errors.invalid_each(list.index(i), value, names::dns1123_subdomain(value));
    }
}

fn pod_terms(
    errors: &mut Errors,
    at: &Path<'_>,
    required: &[PodAffinityTerm],
    preferred: &[WeightedPodAffinityTerm],
) {
    let list = at.child(REQUIRED);
    for (i, term) in required.iter().enumerate() {
        pod_term(errors, &list.index(i), term);
    }
    let list = at.child(PREFERRED);
    for (i, term) in preferred.iter().enumerate() {
        let at = list.index(i);
        weight(errors, &at, term.weight);
        pod_term(
            errors,
            &at.child("podAffinityTerm"),
            &term.pod_affinity_term,
        );
    }
}

fn pod_term(errors: &mut Errors, at: &Path<'_>, term: &PodAffinityTerm) {
    super::selectors::validate(
        errors,
        &at.child("labelSelector"),
        term.label_selector.as_ref(),
    );
    let namespaces = term.namespace_selector.as_ref();
    super::selectors::validate(errors, &at.child("namespaceSelector"), namespaces);
    for name in term.namespaces.given() {
        errors.invalid_each(at.child("namespace"), name, names::dns1123_label(name));
    }
    let mismatch = term.mismatch_label_keys.given();
    let matching = term.match_label_keys.given();
    for (name, keys) in [
        ("matchLabelKeys", matching),
        ("mismatchLabelKeys", mismatch),
    ] {
        let at = at.child(name);
        if !keys.is_empty() && term.label_selector.is_none() {
            errors.forbidden(at, "must not be specified when labelSelector is not set");
            continue;
        }
        for (i, key) in keys.iter().enumerate() {
            names::label_name(errors, at.index(i), key);
        }
    }
    let list = at.child("matchLabelKeys");
    for (i, key) in matching
        .iter()
        .enumerate()
        .filter(|(_, key)| mismatch.contains(key))
    {
        let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.invalid(list.index(i), key.as_str(), detail);
    }
    if term.topology_key.is_empty() {
        errors.required(at.child("topologyKey"), "can not be empty");
    }
    names::label_name(errors, at.child("topologyKey"), &term.topology_key);
}

/// Checks tolerations.
pub fn tolerations(errors: &mut Errors, at: &Path<'_>, tolerations: &[Toleration]) {
    for (i, toleration) in tolerations.iter().enumerate() {
        let at = at.index(i);
        let (key, value) = (toleration.key.given(), toleration.value.given());
        let (operator, effect) = (toleration.operator.given(), toleration.effect.given());
        if !key.is_empty() {
            names::label_name(errors, at.child("key"), key);
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all \
                          values and all keys\"";
            errors.invalid(at.child("operator"), operator, detail);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(at.child("effect"), effect, detail);
        }
        match operator {
            "" | "Equal" => {
                let messages = names::label_value(value);
                if !messages.is_empty() {
                    errors.invalid(at.child("operator"), value, messages.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.invalid(at.child("operator"), value, detail);
            }
            "Exists" => {}
            _ => errors.not_supported(at.child("operator"), operator, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            taint_effect(errors, at.child("effect"), effect);
        }
    }
}

/// Checks the effect of a taint or a toleration.
pub fn taint_effect(errors: &mut Errors, at: Path<'_>, effect: &str) {
    errors.one_of(at, effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
}

/// Checks spread constraints.
pub fn spread(errors: &mut Errors, at: &Path<'_>, constraints: &[TopologySpreadConstraint]) {
    for (i, constraint) in constraints.iter().enumerate() {
        let at = at.index(i);
        if constraint.max_skew <= 0 {
            let detail = "must be greater than zero";
            errors.invalid(at.child("maxSkew"), constraint.max_skew, detail);
        }
        if constraint.topology_key.is_empty() {
            errors.required(at.child("topologyKey"), "can not be empty");
        }
        let action = constraint.when_unsatisfiable.as_str();
        let actions = &["DoNotSchedule", "ScheduleAnyway"];
        errors.one_of_if(at.child("whenUnsatisfiable"), Some(action), actions);
        let key = |c: &TopologySpreadConstraint| {
            format!("{{{}, {}}}", c.topology_key, c.when_unsatisfiable)
        };
        if constraints[i + 1..]
            .iter()
            .any(|other| key(other) == key(constraint))
        {
            errors.duplicate(
                at.child("{topologyKey, whenUnsatisfiable}"),
                key(constraint),
            );
        }
        if let Some(n) = constraint.min_domains {
            if n <= 0 {
                errors.invalid(at.child("minDomains"), n, "must be greater than zero");
            }
            if action != "DoNotSchedule" {
                let detail = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                );
                errors.invalid(at.child("minDomains"), n, detail);
            }
        }
        for (name, policy) in [
            ("nodeAffinityPolicy", &constraint.node_affinity_policy),
            ("nodeTaintsPolicy", &constraint.node_taints_policy),
        ] {
            errors.one_of_if(at.child(name), policy.as_deref(), &["Honor", "Ignore"]);
        }
        let selector = constraint.label_selector.as_ref();
        let keys = constraint.match_label_keys.given();
        match_label_keys(errors, &at.child("matchLabelKeys"), keys, selector);
        super::selectors::validate(errors, &at.child("labelSelector"), selector);
    }
}

fn match_label_keys(
    errors: &mut Errors,
    at: &Path<'_>,
    keys: &[String],
    selector: Option<&LabelSelector>,
) {
    if keys.is_empty() {
        return;
    }
    let mut selected = BTreeSet::new();
    match selector {
        None => errors.forbidden(*at, "must not be specified when labelSelector is not set"),
        Some(selector) => {
            selected.extend(selector.match_labels.iter().flatten().map(|(key, _)| key));
            selected.extend(selector.match_expressions.given().iter().map(|e| &e.key));
        }
    }
    for (i, key) in keys.iter().enumerate() {
        names::label_name(errors, at.index(i), key);
        if selected.contains(key) {
            let detail = "exists in both matchLabelKeys and labelSelector";
            errors.invalid(at.index(i), key.as_str(), detail);
        }
    }
}
