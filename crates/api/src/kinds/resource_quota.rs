//! ResourceQuota: rules and columns (upstream `ValidateResourceQuota`).
//!
//! Not here: the counting (a controller's) and the refusing (admission's).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::podspec::json::typed;
use crate::podspec::path::{Errors, Given, Path, to_value};
use crate::podspec::resources::{self, parse};
use crate::podspec::scaled::SPEC;
use crate::table;

/// ResourceQuota.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "resourcequota",
    short_names: &["quota"],
    subresources: &[Subresource::Status],
    columns: &[
        Column::NAME,
        Column::text(
            "Request",
            "What is used of requests, and of all else but limits.",
        ),
        Column::text("Limit", "What is used of limits."),
        Column::AGE,
    ],
    hooks: Hooks {
        validate,
        validate_status,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ResourceQuota>()
});

const TERMINATING: &str = "Terminating";
const NOT_TERMINATING: &str = "NotTerminating";
const BEST_EFFORT: &str = "BestEffort";
const NOT_BEST_EFFORT: &str = "NotBestEffort";
const PRIORITY_CLASS: &str = "PriorityClass";
const CROSS_NAMESPACE: &str = "CrossNamespacePodAffinity";
const VOLUME_ATTRIBUTES: &str = "VolumeAttributesClass";

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: ResourceQuotaSpec = typed(new.get("spec"));
    amounts(&mut errors, &SPEC.child("hard"), spec.hard.as_ref());
    scopes(&mut errors, &spec);
    scope_selector(&mut errors, &spec);
    if let Some(old) = old {
        let before: ResourceQuotaSpec = typed(old.get("spec"));
        let set = |scopes: &Option<Vec<String>>| -> BTreeSet<String> {
            scopes.given().iter().cloned().collect()
        };
        if set(&spec.scopes) != set(&before.scopes) {
            let at = SPEC.child("scopes");
            errors.invalid(at, spec.scopes.given(), "field is immutable");
        }
    }
    errors.0
}

fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let status: ResourceQuotaStatus = typed(new.get("status"));
    let at = Path::root("status");
    amounts(&mut errors, &at.child("hard"), status.hard.as_ref());
    amounts(&mut errors, &at.child("used"), status.used.as_ref());
    errors.0
}

fn amounts(errors: &mut Errors, at: &Path<'_>, amounts: Option<&BTreeMap<String, Text>>) {
    for (name, amount) in amounts.into_iter().flatten() {
        let at = at.key(name);
        if resources::name(errors, at, name) && !name.contains('/') && !is_standard(name) {
            errors.invalid(at, name.as_str(), "must be a standard resource for quotas");
        }
        resources::amount(errors, at, name, amount);
    }
}

/// Resources without a domain that quotas count.
fn is_standard(name: &str) -> bool {
    let plain = name.strip_prefix("requests.").unwrap_or(name);
    let storage = matches!(name, "requests.storage");
    let computed = matches!(
        name.strip_prefix("limits.").unwrap_or(plain),
        "cpu" | "memory" | "ephemeral-storage"
    );
    storage || computed || resources::is_counted(name) || resources::is_hugepages(plain)
}

fn is_scope(scope: &str) -> bool {
    matches!(
        scope,
        TERMINATING
            | NOT_TERMINATING
            | BEST_EFFORT
            | NOT_BEST_EFFORT
            | PRIORITY_CLASS
            | CROSS_NAMESPACE
            | VOLUME_ATTRIBUTES
    )
}

/// Whether objects that a resource counts can be told apart by a scope.
fn applies(scope: &str, resource: &str) -> bool {
    match scope {
        BEST_EFFORT => resource == "pods",
        TERMINATING | NOT_TERMINATING | NOT_BEST_EFFORT | PRIORITY_CLASS | CROSS_NAMESPACE => {
            matches!(
                resource,
                "pods"
                    | "cpu"
                    | "memory"
                    | "limits.cpu"
                    | "limits.memory"
                    | "requests.cpu"
                    | "requests.memory"
            )
        }
        VOLUME_ATTRIBUTES => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

/// Resources of a quota that a scope cannot be applied to.
fn n_unscoped(spec: &ResourceQuotaSpec, scope: &str) -> usize {
    let names = spec.hard.iter().flatten().map(|(name, _)| name);
    names
        .filter(|name| is_standard(name) && !applies(scope, name))
        .count()
}

fn conflict(scopes: &BTreeSet<&str>) -> bool {
    [
        (BEST_EFFORT, NOT_BEST_EFFORT),
        (TERMINATING, NOT_TERMINATING),
    ]
    .iter()
    .any(|(one, other)| scopes.contains(one) && scopes.contains(other))
}

fn scopes(errors: &mut Errors, spec: &ResourceQuotaSpec) {
    let at = SPEC.child("scopes");
    let scopes = spec.scopes.given();
    for scope in scopes {
        if !is_scope(scope) {
            errors.invalid(at, scopes, "unsupported scope");
        }
        for _ in 0..n_unscoped(spec, scope) {
            errors.invalid(at, scopes, "unsupported scope applied to resource");
        }
    }
    if conflict(&scopes.iter().map(String::as_str).collect()) {
        errors.invalid(at, scopes, "conflicting scopes");
    }
}

fn scope_selector(errors: &mut Errors, spec: &ResourceQuotaSpec) {
    let Some(selector) = &spec.scope_selector else {
        return;
    };
    let at = SPEC.child("scopeSelector.matchExpressions");
    let requirements = selector.match_expressions.given();
    for requirement in requirements {
        let scope = requirement.scope_name.as_str();
        if !is_scope(scope) {
            errors.invalid(at.child("scopeName"), scope, "unsupported scope");
        }
        for _ in 0..n_unscoped(spec, scope) {
            let detail = "unsupported scope applied to resource";
            errors.invalid(at, to_value(selector), detail);
        }
        let operator = requirement.operator.as_str();
        let has_no_values = !matches!(scope, PRIORITY_CLASS | VOLUME_ATTRIBUTES) && is_scope(scope);
        if has_no_values && operator != "Exists" {
            let detail = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                          ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                          ResourceQuotaScopeNotBestEffort or \
                          ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid(at.child("operator"), operator, detail);
        }
        let values = requirement.values.given();
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope \
                              selector";
                errors.required(at.child("values"), detail);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope \
                              selector";
                errors.invalid(at.child("values"), values, detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.invalid(
                at.child("operator"),
                operator,
                "not a valid selector operator",
            ),
        }
    }
    let scopes = requirements
        .iter()
        .map(|requirement| requirement.scope_name.as_str());
    if conflict(&scopes.collect()) {
        errors.invalid(at, spec.scopes.given(), "conflicting scopes");
    }
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let status: ResourceQuotaStatus = typed(object.get("status"));
    let used = status.used.unwrap_or_default();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let text = |amount: Option<&Text>| {
        amount
            .and_then(parse)
            .map_or("0".to_owned(), |amount| amount.to_string())
    };
    for (name, hard) in status.hard.iter().flatten() {
        let cell = format!("{name}: {}/{}", text(used.get(name)), text(Some(hard)));
        match name.starts_with("limits.") {
            true => limits.push(cell),
            false => requests.push(cell),
        }
    }
    vec![
        table::name(object),
        requests.join(", ").into(),
        limits.join(", ").into(),
        table::age(object, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        for (spec, expected) in [
            (
                json!({"hard": {"storage": "1"}}),
                "spec.hard[storage]: Invalid value: \"storage\": must be a standard resource for \
                 quotas",
            ),
            (
                json!({"hard": {"pods": "-1"}}),
                "spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"hard": {"pods": "500m"}}),
                "spec.hard[pods]: Invalid value: \"500m\": must be an integer",
            ),
            (
                json!({"scopes": ["Odd"]}),
                "spec.scopes: Invalid value: [\"Odd\"]: unsupported scope",
            ),
            (
                json!({"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}),
                "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
            ),
            (
                json!({"scopes": ["Terminating", "NotTerminating"]}),
                "spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\"]: conflicting scopes",
            ),
            (
                json!({"scopeSelector": {"matchExpressions": [
                    {"scopeName": "PriorityClass", "operator": "In"}]}}),
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one \
                 value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            (
                json!({"scopeSelector": {"matchExpressions": [
                    {"scopeName": "BestEffort", "operator": "DoesNotExist"}]}}),
                "spec.scopeSelector.matchExpressions.operator: Invalid value: \"DoesNotExist\": must \
                 be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                 ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                 ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            ),
        ] {
            let errors = validate(&json!({"spec": spec}), None);
            assert_eq!(errors[0].to_string(), expected);
        }
        let good = json!({"spec": {"hard": {
            "requests.cpu": "1", "limits.memory": "1Gi", "count/jobs.batch": "3", "pods": "2",
            "requests.example.com/gpu": "4", "requests.storage": "1Ti", "hugepages-2Mi": "4Mi",
        }}});
        assert_eq!(validate(&good, None), []);
    }

    #[test]
    fn scopes_stay() {
        let old = json!({"spec": {"scopes": ["BestEffort"]}});
        let new = json!({"spec": {"scopes": ["NotBestEffort"]}});
        assert_eq!(
            validate(&new, Some(&old))[0].to_string(),
            "spec.scopes: Invalid value: [\"NotBestEffort\"]: field is immutable"
        );
    }

    #[test]
    fn rows_part_requests_from_limits() {
        let quota = json!({"metadata": {"name": "q"}, "status": {
            "hard": {"limits.cpu": "2", "pods": "5", "requests.cpu": "1"},
            "used": {"pods": "3", "limits.cpu": "500m"},
        }});
        assert_eq!(
            row(&quota, 0)[1..3],
            [
                json!("pods: 3/5, requests.cpu: 0/1"),
                json!("limits.cpu: 500m/2")
            ]
        );
    }
}
