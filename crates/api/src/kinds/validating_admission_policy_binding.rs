//! ValidatingAdmissionPolicyBinding (upstream `ValidateValidatingAdmissionPolicyBinding`).

use k8s_openapi::api::admissionregistration::v1::{
    ParamRef, ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
};
use serde_json::Value;

use crate::admissionspec::{defaults, resources};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::names;
use crate::podspec::json::{child, into_object, text, typed};
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::SPEC;
use crate::podspec::selectors;
use crate::table;

const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];

/// ValidatingAdmissionPolicyBinding.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "validatingadmissionpolicybinding",
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::text(
            "PolicyName",
            "PolicyName indicates the policy definition which the policy binding binded to",
        ),
        Column::text(
            "ParamRef",
            "ParamRef indicates the param resource which sets the configration param",
        ),
        Column::AGE,
    ],
    counts_generation: true,
    unconditional_update: false,
    hooks: Hooks {
        default: |binding| {
            if let Some(spec) = child(into_object(binding), "spec") {
                defaults::match_resources(spec, "matchResources");
            }
        },
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ValidatingAdmissionPolicyBinding>()
});

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: ValidatingAdmissionPolicyBindingSpec = typed(new.get("spec"));
    let (policy, policy_at) = (spec.policy_name.given(), SPEC.child("policyName"));
    if policy.is_empty() {
        errors.required(policy_at, "");
    } else {
        errors.invalid_each(policy_at, policy, names::dns1123_subdomain(policy));
    }
    if let Some(found) = &spec.param_ref {
        param_ref(&mut errors, &SPEC.child("paramRef"), found);
    }
    let matched = new.pointer("/spec/matchResources");
    if let Some(found) = matched.filter(|found| !found.is_null()) {
        resources::validate(&mut errors, &SPEC.child("matchResources"), found);
    }
    actions(&mut errors, spec.validation_actions.given());
    errors.0
}

fn param_ref(errors: &mut Errors, at: &Path<'_>, param: &ParamRef) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let name = param.name.given();
    let (has_name, has_selector) = (!name.is_empty(), param.selector.is_some());
    errors.invalid_each(at.child("name"), name, names::path_segment(name, false));
    if has_name && has_selector {
        errors.forbidden(at.child("name"), EXCLUSIVE);
    }
    selectors::validate(errors, &at.child("selector"), param.selector.as_ref());
    if has_name && has_selector {
        errors.forbidden(at.child("selector"), EXCLUSIVE);
    }
    if !has_name && !has_selector {
        errors.required(*at, "one of name or selector must be specified");
    }
    errors.one_of(
        at.child("parameterNotFoundAction"),
        param.parameter_not_found_action.given(),
        &["Deny", "Allow"],
    );
}

fn actions(errors: &mut Errors, actions: &[String]) {
    let at = SPEC.child("validationActions");
    for (i, action) in actions.iter().enumerate() {
        errors.one_of_if(at.index(i), Some(action), ACTIONS);
        if actions[..i].contains(action) {
            errors.duplicate(at.index(i), action.as_str());
        }
    }
    let has = |wanted: &str| actions.iter().any(|action| action == wanted);
    if has("Deny") && has("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                      API response and headers serves no purpose)";
        errors.invalid(at, actions, detail);
    }
    if actions.is_empty() {
        errors.required(at, "at least one validation action is required");
    }
}

fn row(binding: &Value, now_unix_ms: u64) -> Vec<Value> {
    let param: Option<ParamRef> = binding
        .pointer("/spec/paramRef")
        .filter(|found| !found.is_null())
        .map(|found| typed(Some(found)));
    let shown = param.map_or_else(
        || "<unset>".to_owned(),
        |param| match (param.namespace.given(), param.name.given()) {
            (_, "") => match param.selector {
                Some(selector) => selectors::cell(Some(&selector)),
                None => "<unset>".to_owned(),
            },
            // Whether the parameter lives in a namespace cannot be told from here.
            ("", name) => format!("*/{name}"),
            (namespace, name) => format!("{namespace}/{name}"),
        },
    );
    vec![
        table::name(binding),
        text(binding, "/spec/policyName").into(),
        shown.into(),
        table::age(binding, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, created};
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let binding = json!({"spec": {
            "policyName": "replicas", "validationActions": ["Deny"],
            "paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"},
        }});
        check_creates(
            &KIND,
            &binding,
            &[
                (
                    "/spec/policyName",
                    json!(""),
                    "spec.policyName: Required value",
                ),
                (
                    "/spec/paramRef/selector",
                    json!({}),
                    "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                ),
                (
                    "/spec/paramRef/name",
                    json!(""),
                    "spec.paramRef: Required value: one of name or selector must be specified",
                ),
                (
                    "/spec/paramRef/parameterNotFoundAction",
                    Value::Null,
                    "spec.paramRef.parameterNotFoundAction: Required value",
                ),
                (
                    "/spec/validationActions",
                    json!([]),
                    "spec.validationActions: Required value: at least one validation action is required",
                ),
                (
                    "/spec/validationActions",
                    json!(["Deny", "Deny"]),
                    "spec.validationActions[1]: Duplicate value: \"Deny\"",
                ),
                (
                    "/spec/validationActions",
                    json!(["Deny", "Warn"]),
                    "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn \
                     (repeating the same validation failure information in the API response and headers serves no \
                     purpose)",
                ),
            ],
        );
        let binding = created(&KIND, &binding);
        assert_eq!(row(&binding, 0)[1..3], ["replicas", "*/limits"]);
    }
}
