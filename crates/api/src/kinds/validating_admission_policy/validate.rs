//! Rules of a ValidatingAdmissionPolicy (upstream `ValidateValidatingAdmissionPolicy`).

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    AuditAnnotation, ParamKind, ValidatingAdmissionPolicySpec, Validation, Variable,
};
use serde_json::Value;

use super::expressions;
use crate::admissionspec::webhooks::FAILURE_POLICIES;
use crate::admissionspec::{match_conditions, resources};
use crate::cel::admission;
use crate::conditions;
use crate::field_error::FieldError;
use crate::meta::{Meta, names};
use crate::podspec::json::{list, same, text, typed};
use crate::podspec::names::label_name;
use crate::podspec::path::{Errors, Given, Path, to_value};
use crate::podspec::scaled::SPEC;

const MAX_AUDIT_ANNOTATIONS: usize = 20;
const MAX_VALUE_EXPRESSION_BYTES: usize = 5 * 1024;
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
/// Words that CEL keeps to itself.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// Rules of a create or an update.
pub fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: ValidatingAdmissionPolicySpec = typed(new.get("spec"));
    let policy_at = SPEC.child("failurePolicy");
    match spec.failure_policy.as_deref() {
        None => errors.required(policy_at, ""),
        policy => errors.one_of_if(policy_at, policy, FAILURE_POLICIES),
    }
    if let Some(kind) = &spec.param_kind {
        param_kind(&mut errors, &SPEC.child("paramKind"), kind);
    }
    let constraints_at = SPEC.child("matchConstraints");
    match new
        .pointer("/spec/matchConstraints")
        .filter(|found| !found.is_null())
    {
        None => errors.required(constraints_at, ""),
        Some(found) => {
            resources::validate(&mut errors, &constraints_at, found);
            if list(found, "/resourceRules").is_empty() {
                errors.required(constraints_at.child("resourceRules"), "");
            }
        }
    }
    let touched = old.is_none_or(|old| {
        let part = |policy: &Value, field: &str| policy["spec"][field].clone();
        ["paramKind", "matchConditions"]
            .iter()
            .any(|field| !same(&part(new, field), &part(old, field)))
    });
    if touched {
        let at = SPEC.child("matchConditions");
        let environment = admission::policy_conditions(spec.param_kind.is_some());
        let conditions = spec.match_conditions.given();
        match_conditions::validate(&mut errors, &at, conditions, &environment);
    }
    let list_at = SPEC.child("variables");
    for (i, found) in spec.variables.given().iter().enumerate() {
        variable(&mut errors, &list_at.index(i), found);
    }
    checks(&mut errors, Meta::of(new).name(), &spec);
    // What was let through once is not refused by an update that does not touch it.
    if old.is_none_or(|old| !same(&old["spec"], &new["spec"])) {
        expressions::validate(&mut errors, &spec);
    }
    errors.0
}

/// Rules of a status.
pub fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let warnings_at = Path::root("status.typeChecking.expressionWarnings");
    let warnings = list(new, "/status/typeChecking/expressionWarnings");
    for (i, warning) in warnings.iter().enumerate() {
        let at = warnings_at.index(i);
        for (field, value) in [
            ("warning", text(warning, "/warning")),
            ("fieldRef", text(warning, "/fieldRef").trim()),
        ] {
            if value.is_empty() {
                errors.required(at.child(field), "");
            }
        }
    }
    let at = Path::root("status.conditions");
    conditions::validate(&mut errors, &at, new, "/status/conditions");
    errors.0
}

fn param_kind(errors: &mut Errors, at: &Path<'_>, param: &ParamKind) {
    let version_at = at.child("apiVersion");
    let api_version = param.api_version.given();
    let parts: Vec<&str> = api_version.split('/').collect();
    match parts.as_slice() {
        [""] => errors.required(version_at, ""),
        ["", ""] => errors.invalid(version_at, api_version, "version must be specified"),
        [version] => group_version(errors, version_at, api_version, "", version),
        [group, version] => group_version(errors, version_at, api_version, group, version),
        _ => {
            let detail = format!("unexpected GroupVersion string: {api_version}");
            errors.invalid(version_at, api_version, detail);
        }
    }
    let kind = param.kind.given();
    let messages = names::dns1035_label(&kind.to_lowercase());
    if kind.is_empty() {
        errors.required(at.child("kind"), "");
    } else if !messages.is_empty() {
        let detail = format!(
            "may have mixed case, but should otherwise match: {}",
            messages.join(",")
        );
        errors.invalid(at.child("kind"), kind, detail);
    }
}

fn group_version(errors: &mut Errors, at: Path<'_>, whole: &str, group: &str, version: &str) {
    let messages = names::dns1123_subdomain(group);
    if !group.is_empty() && !messages.is_empty() {
        errors.invalid(at, group, messages.join(","));
    }
    let messages = names::dns1035_label(version);
    if version.is_empty() {
        errors.invalid(at, whole, "version must be specified");
    } else if !messages.is_empty() {
        errors.invalid(at, version, messages.join(","));
    }
}

fn variable(errors: &mut Errors, at: &Path<'_>, variable: &Variable) {
    let name = variable.name.as_str();
    if name.trim().is_empty() {
        errors.required(at.child("name"), "name is not specified");
    } else if !is_identifier(name) {
        errors.invalid(at.child("name"), name, "name is not a valid CEL identifier");
    }
    if variable.expression.trim().is_empty() {
        errors.required(at.child("expression"), "expression is not specified");
    }
}

fn is_identifier(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(word)
        && !RESERVED.contains(&name)
}

fn checks(errors: &mut Errors, name: &str, spec: &ValidatingAdmissionPolicySpec) {
    let (validations, annotations) = (spec.validations.given(), spec.audit_annotations.given());
    let (validations_at, annotations_at) =
        (SPEC.child("validations"), SPEC.child("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.required(validations_at, detail);
        errors.required(annotations_at, detail);
        return;
    }
    for (i, found) in validations.iter().enumerate() {
        validation(errors, &validations_at.index(i), found);
    }
    if annotations.len() > MAX_AUDIT_ANNOTATIONS {
        let detail = format!("must not have more than {MAX_AUDIT_ANNOTATIONS} auditAnnotations");
        errors.invalid(annotations_at, to_value(&annotations), detail);
    }
    let mut keys = BTreeSet::new();
    for (i, annotation) in annotations.iter().enumerate() {
        let at = annotations_at.index(i);
        audit_annotation(errors, &at, name, annotation);
        if !keys.insert(annotation.key.as_str()) {
            errors.duplicate(at.child("key"), annotation.key.as_str());
        }
    }
}

fn validation(errors: &mut Errors, at: &Path<'_>, validation: &Validation) {
    if validation.expression.trim().is_empty() {
        errors.required(at.child("expression"), "expression is not specified");
    }
    let expression = validation.message_expression.given();
    if !expression.is_empty() && expression.trim().is_empty() {
        let detail = "must be non-empty if specified";
        errors.invalid(at.child("messageExpression"), expression, detail);
    }
    let (message, message_at) = (validation.message.given(), at.child("message"));
    if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(
            message_at,
            message,
            "message must be non-empty if specified",
        );
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(message_at, message, "message must not contain line breaks");
    }
    errors.one_of_if(at.child("reason"), validation.reason.as_deref(), REASONS);
}

fn audit_annotation(errors: &mut Errors, at: &Path<'_>, name: &str, annotation: &AuditAnnotation) {
    let key_at = at.child("key");
    if name.is_empty() {
        let detail = "requires metadata.name be non-empty";
        errors.invalid(key_at, annotation.key.as_str(), detail);
    } else {
        label_name(errors, key_at, &format!("{name}/{}", annotation.key));
    }
    let expression = annotation.value_expression.trim();
    let expression_at = at.child("valueExpression");
    if expression.is_empty() {
        errors.required(expression_at, "valueExpression is not specified");
    } else if expression.len() > MAX_VALUE_EXPRESSION_BYTES {
        let detail = format!("must not exceed {MAX_VALUE_EXPRESSION_BYTES} bytes in length");
        errors.required(expression_at, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{check_creates, check_statuses, created};
    use super::super::KIND;
    use super::*;
    use serde_json::json;

    fn policy() -> Value {
        json!({"spec": {
            "matchConstraints": {"resourceRules": [
                {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]},
            ]},
            "validations": [{"expression": "object.spec.replicas <= 5"}],
        }})
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        check_creates(
            &KIND,
            &policy(),
            &[
                (
                    "/spec/failurePolicy",
                    json!("Shrug"),
                    "spec.failurePolicy: Unsupported value: \"Shrug\": supported values: \"Fail\", \"Ignore\"",
                ),
                (
                    "/spec/paramKind",
                    json!({"kind": "Limit"}),
                    "spec.paramKind.apiVersion: Required value",
                ),
                (
                    "/spec/paramKind",
                    json!({"apiVersion": "a/b/c", "kind": "Limit"}),
                    "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                ),
                (
                    "/spec/paramKind",
                    json!({"apiVersion": "example.com/", "kind": "Limit"}),
                    "spec.paramKind.apiVersion: Invalid value: \"example.com/\": version must be specified",
                ),
                (
                    "/spec/matchConstraints",
                    Value::Null,
                    "spec.matchConstraints: Required value",
                ),
                (
                    "/spec/matchConstraints",
                    json!({}),
                    "spec.matchConstraints.resourceRules: Required value",
                ),
                (
                    "/spec/matchConditions",
                    json!([{"name": "a", "expression": "true"}, {"name": "a", "expression": "true"}]),
                    "spec.matchConditions[1].name: Duplicate value: \"a\"",
                ),
                (
                    "/spec/variables",
                    json!([{"name": "for", "expression": "1"}]),
                    "spec.variables[0].name: Invalid value: \"for\": name is not a valid CEL identifier",
                ),
                (
                    "/spec/validations",
                    json!([]),
                    "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                ),
                (
                    "/spec/validations/0/expression",
                    json!(" "),
                    "spec.validations[0].expression: Required value: expression is not specified",
                ),
                (
                    "/spec/validations/0/message",
                    json!("a\nb"),
                    "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
                ),
                (
                    "/spec/validations/0/reason",
                    json!("Because"),
                    "spec.validations[0].reason: Unsupported value: \"Because\": supported values: \"Forbidden\", \
                     \"Invalid\", \"RequestEntityTooLarge\"",
                ),
                (
                    "/spec/auditAnnotations",
                    json!([{"key": "k", "valueExpression": ""}]),
                    "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
                ),
            ],
        );
        check_statuses(
            &KIND,
            &policy(),
            &[(
                "/status",
                json!({"typeChecking": {"expressionWarnings": [{"fieldRef": "spec", "warning": ""}]}}),
                "status.typeChecking.expressionWarnings[0].warning: Required value",
            )],
        );
    }

    #[test]
    fn defaults_and_rows() {
        let mut policy = created(&KIND, &policy());
        let constraints = &policy["spec"]["matchConstraints"];
        assert_eq!(constraints["matchPolicy"], "Equivalent");
        assert_eq!(constraints["namespaceSelector"], json!({}));
        assert_eq!(constraints["resourceRules"][0]["scope"], "*");
        assert_eq!(KIND.row(&policy, 0)[1..3], [json!(1), json!("<unset>")]);
        policy["spec"]["paramKind"] = json!({"apiVersion": "example.com/v1", "kind": "Limit"});
        assert_eq!(KIND.row(&policy, 0)[2], "example.com/v1/Limit");
    }
}
