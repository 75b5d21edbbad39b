//! Role (upstream `pkg/registry/rbac/role`, `ValidateRole`). The rules of rules, which ClusterRole shares, are here.

use k8s_openapi::api::rbac::v1::Role;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::{Meta, names};
use crate::table;

/// Role.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "role",
    columns: COLUMNS,
    name_rule: names::path_segment,
    create_on_update: true,
    hooks: Hooks {
        validate: |new, _| validate_rules(new, true),
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Role>()
});

/// Upstream prints no age for roles but the moment.
pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::typed("Created At", "date", crate::meta::AGE_DESCRIPTION),
];

/// The errors of `rules`.
pub(super) fn validate_rules(role: &Value, namespaced: bool) -> Vec<FieldError> {
    let rules = role.get("rules").and_then(Value::as_array);
    let rules = rules.into_iter().flatten().enumerate();
    rules
        .flat_map(|(idx, rule)| validate_rule(rule, namespaced, &format!("rules[{idx}]")))
        .collect()
}

fn validate_rule(rule: &Value, namespaced: bool, path: &str) -> Vec<FieldError> {
    let is_empty = |field: &str| {
        let values = rule.get(field).and_then(Value::as_array);
        values.is_none_or(Vec::is_empty)
    };
    let mut errors = Vec::new();
    let mut required = |field: &str, detail: &str| {
        if is_empty(field) {
            errors.push(FieldError::required(format!("{path}.{field}"), detail));
        }
    };
    required("verbs", "verbs must contain at least one value");
    if is_empty("nonResourceURLs") {
        let detail = "resource rules must supply at least one api group";
        required("apiGroups", detail);
        let detail = "resource rules must supply at least one resource";
        required("resources", detail);
        return errors;
    }
    let mixed = ["apiGroups", "resources", "resourceNames"]
        .iter()
        .any(|field| !is_empty(field));
    for (wrong, detail) in [
        (
            namespaced,
            "namespaced rules cannot apply to non-resource URLs",
        ),
        (
            mixed,
            "rules cannot apply to both regular resources and non-resource URLs",
        ),
    ] {
        if wrong {
            let urls = &rule["nonResourceURLs"];
            let path = format!("{path}.nonResourceURLs");
            errors.push(FieldError::invalid(path, urls, detail));
        }
    }
    errors
}

pub(super) fn row(object: &Value, _: u64) -> Vec<Value> {
    let created = Meta::of(object).creation_timestamp();
    vec![table::name(object), created.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_of_one_sort_and_complete() {
        for (rule, namespaced, texts) in [
            (
                json!({}),
                true,
                vec![
                    "rules[0].verbs: Required value: verbs must contain at least one value",
                    "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                    "rules[0].resources: Required value: resource rules must supply at least one resource",
                ],
            ),
            (
                json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}),
                true,
                vec![],
            ),
            (
                json!({"verbs": ["get"], "nonResourceURLs": ["/x"]}),
                false,
                vec![],
            ),
            (
                json!({"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]}),
                true,
                vec![
                    "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to \
                     non-resource URLs",
                    "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular \
                     resources and non-resource URLs",
                ],
            ),
        ] {
            let errors = validate_rules(&json!({"rules": [rule]}), namespaced);
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, texts);
        }
    }
}
