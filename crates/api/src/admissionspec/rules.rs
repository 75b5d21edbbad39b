//! Which operations on which resources are meant.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::NamedRuleWithOperations;
use serde_json::Value;

use crate::meta::names;
use crate::podspec::json::typed;
use crate::podspec::path::{Errors, Given, Path};

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];

/// Checks a list of rules, with names of objects or without.
pub fn validate(errors: &mut Errors, at: &Path<'_>, rules: &[Value]) {
    for (i, rule) in rules.iter().enumerate() {
        validate_rule(errors, &at.index(i), &typed(Some(rule)));
    }
}

fn validate_rule(errors: &mut Errors, at: &Path<'_>, rule: &NamedRuleWithOperations) {
    let names_at = at.child("resourceNames");
    let mut seen = BTreeSet::new();
    for (i, name) in rule.resource_names.given().iter().enumerate() {
        errors.invalid_each(names_at.index(i), name, names::path_segment(name, false));
        if !seen.insert(name) {
            errors.duplicate(names_at.index(i), name.as_str());
        }
    }
    let operations_at = at.child("operations");
    let operations = rule.operations.given();
    wildcard_alone(errors, operations_at, operations, "operations");
    for (i, operation) in operations.iter().enumerate() {
        errors.one_of_if(operations_at.index(i), Some(operation), OPERATIONS);
    }
    wildcard_alone(
        errors,
        at.child("apiGroups"),
        rule.api_groups.given(),
        "API groups",
    );
    let versions_at = at.child("apiVersions");
    let versions = rule.api_versions.given();
    wildcard_alone(errors, versions_at, versions, "API versions");
    for (i, version) in versions.iter().enumerate() {
        if version.is_empty() {
            errors.required(versions_at.index(i), "");
        }
    }
    resources(errors, &at.child("resources"), rule.resources.given());
    errors.one_of_if(at.child("scope"), rule.scope.as_deref(), SCOPES);
}

/// A list must not be empty, and `*` stands alone in it.
fn wildcard_alone(errors: &mut Errors, at: Path<'_>, items: &[String], what: &str) {
    if items.is_empty() {
        errors.required(at, "");
    }
    if items.len() > 1 && items.iter().any(|item| item == "*") {
        errors.invalid(
            at,
            items,
            format!("if '*' is present, must not specify other {what}"),
        );
    }
}

fn resources(errors: &mut Errors, at: &Path<'_>, resources: &[String]) {
    if resources.is_empty() {
        errors.required(*at, "");
    }
    // What `x/*` and `*/x` cover already.
    let (mut whole, mut everywhere) = (BTreeSet::new(), BTreeSet::new());
    let mut plain = false;
    for (i, resource) in resources.iter().enumerate() {
        let at = at.index(i);
        let Some((name, sub)) = resource.split_once('/') else {
            match resource.as_str() {
                "" => errors.required(at, ""),
                // Upstream looks at the last of them only.
                resource => plain = resource != "*",
            }
            continue;
        };
        if whole.contains(name) {
            let detail = format!("if '{name}/*' is present, must not specify {resource}");
            errors.invalid(at, resource.as_str(), detail);
        }
        if everywhere.contains(sub) {
            let detail = format!("if '*/{sub}' is present, must not specify {resource}");
            errors.invalid(at, resource.as_str(), detail);
        }
        if sub == "*" {
            whole.insert(name);
        }
        if name == "*" {
            everywhere.insert(sub);
        }
    }
    let has = |wildcard: &str| resources.iter().any(|resource| resource == wildcard);
    if resources.len() > 1 && has("*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.invalid(*at, resources, detail);
    }
    if has("*") && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(*at, resources, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_told_in_upstreams_words() {
        let good = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["pods"], "scope": "*"});
        for (field, value, expected) in [
            ("scope", json!("*"), ""),
            ("operations", json!([]), "r[0].operations: Required value"),
            (
                "operations",
                json!(["CREATE", "*"]),
                "r[0].operations: Invalid value: [\"CREATE\",\"*\"]: if '*' is present, must not specify other \
                 operations",
            ),
            (
                "operations",
                json!(["READ"]),
                "r[0].operations[0]: Unsupported value: \"READ\": supported values: \"*\", \"CONNECT\", \"CREATE\", \
                 \"DELETE\", \"UPDATE\"",
            ),
            (
                "apiGroups",
                json!(["a", "*"]),
                "r[0].apiGroups: Invalid value: [\"a\",\"*\"]: if '*' is present, must not specify other API groups",
            ),
            (
                "apiVersions",
                json!([""]),
                "r[0].apiVersions[0]: Required value",
            ),
            (
                "resources",
                json!([""]),
                "r[0].resources[0]: Required value",
            ),
            (
                "resources",
                json!(["pods/*", "pods/log"]),
                "r[0].resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log",
            ),
            (
                "resources",
                json!(["*/scale", "pods/scale"]),
                "r[0].resources[1]: Invalid value: \"pods/scale\": if '*/scale' is present, must not specify \
                 pods/scale",
            ),
            (
                "resources",
                json!(["*/*", "pods"]),
                "r[0].resources: Invalid value: [\"*/*\",\"pods\"]: if '*/*' is present, must not specify other \
                 resources",
            ),
            (
                "resources",
                json!(["*", "pods"]),
                "r[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources \
                 without subresources",
            ),
            (
                "scope",
                json!("Galaxy"),
                "r[0].scope: Unsupported value: \"Galaxy\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
            ),
            (
                "resourceNames",
                json!(["a", "a"]),
                "r[0].resourceNames[1]: Duplicate value: \"a\"",
            ),
        ] {
            let mut rule = good.clone();
            rule[field] = value;
            let mut errors = Errors::default();
            validate(&mut errors, &Path::root("r"), &[rule]);
            let first = errors
                .0
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert_eq!(first, expected);
        }
    }
}
