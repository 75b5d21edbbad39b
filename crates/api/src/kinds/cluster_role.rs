//! ClusterRole (upstream `pkg/registry/rbac/clusterrole`, `ValidateClusterRole`).

use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Selector;
use serde_json::Value;

use super::role;
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Hooks, Kind};
use crate::meta::names;
use crate::selector;

/// ClusterRole.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "clusterrole",
    namespaced: false,
    columns: role::COLUMNS,
    name_rule: names::path_segment,
    create_on_update: true,
    hooks: Hooks {
        validate,
        row: role::row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ClusterRole>()
});

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = role::validate_rules(new, false);
    let Some(aggregation) = new.get("aggregationRule").filter(|rule| rule.is_object()) else {
        return errors;
    };
    let path = "aggregationRule.clusterRoleSelectors";
    let selectors = aggregation
        .get("clusterRoleSelectors")
        .and_then(Value::as_array);
    if selectors.is_none_or(Vec::is_empty) {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(path, detail));
    }
    for (idx, selector) in selectors.into_iter().flatten().enumerate() {
        let path = format!("{path}[{idx}]");
        match serde_json::from_value::<Selector>(selector.clone()) {
            Ok(typed) => errors.extend(selector::validate(&typed, &path)),
            Err(_) => errors.push(FieldError::invalid(
                path,
                selector,
                "invalid label selector.",
            )),
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_aggregation_selects_something_valid() {
        for (rule, texts) in [
            (
                json!({}),
                vec![
                    "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required \
                     if aggregationRule is non-nil",
                ],
            ),
            (
                json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}),
                vec![],
            ),
            (
                json!({"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}),
                vec![
                    "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].values: Required value: must be \
                     specified when `operator` is 'In' or 'NotIn'",
                ],
            ),
        ] {
            let errors = validate(&json!({"aggregationRule": rule}), None);
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, texts);
        }
    }
}
