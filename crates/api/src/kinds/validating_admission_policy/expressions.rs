//! The expressions of a policy have to compile, each over what it may name.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicySpec;

use crate::cel::{CompileError, Environment, Program, Type, admission};
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::SPEC;

/// Checks variables, validations and audit annotations.
pub(super) fn validate(errors: &mut Errors, spec: &ValidatingAdmissionPolicySpec) {
    let environment = admission::policy(spec.param_kind.is_some());
    let environment = variables(errors, spec, environment);
    let for_messages = admission::without_authorizer(&environment);
    let list_at = SPEC.child("validations");
    for (i, validation) in spec.validations.given().iter().enumerate() {
        let at = list_at.index(i);
        let source = validation.expression.as_str();
        let compiled = admission::condition(source, &environment);
        told(errors, at.child("expression"), source, compiled);
        let source = validation.message_expression.given();
        let compiled = Program::compile_to(source, &for_messages, &[Type::String]);
        told(errors, at.child("messageExpression"), source, compiled);
    }
    let list_at = SPEC.child("auditAnnotations");
    for (i, annotation) in spec.audit_annotations.given().iter().enumerate() {
        let source = annotation.value_expression.as_str();
        let compiled = Program::compile_to(source, &environment, &[Type::String, Type::Null]);
        let at = list_at.index(i);
        told(errors, at.child("valueExpression"), source, compiled);
    }
}

/// Each variable sees those before it; one that does not compile is of any type to those behind it.
fn variables(
    errors: &mut Errors,
    spec: &ValidatingAdmissionPolicySpec,
    mut environment: Environment,
) -> Environment {
    let list_at = SPEC.child("variables");
    for (i, variable) in spec.variables.given().iter().enumerate() {
        let compiled = Program::compile(&variable.expression, &environment);
        let of = compiled
            .as_ref()
            .map_or(Type::Dyn, |program| program.result().clone());
        let at = list_at.index(i);
        told(
            errors,
            at.child("expression"),
            &variable.expression,
            compiled,
        );
        environment.add_lazy(&variable.name, of);
    }
    environment
}

/// That an expression is missing is told elsewhere.
fn told(errors: &mut Errors, at: Path<'_>, source: &str, compiled: Result<Program, CompileError>) {
    if let Err(why) = compiled
        && !source.trim().is_empty()
    {
        errors.invalid(at, source, why.detail());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing::check_creates;
    use super::super::KIND;

    #[test]
    fn every_expression_has_to_compile() {
        let policy = json!({"spec": {
            "matchConstraints": {"resourceRules": [
                {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]},
            ]},
            "validations": [{"expression": "object.spec.replicas <= 5"}],
        }});
        check_creates(
            &KIND,
            &policy,
            &[
                (
                    "/spec/validations/0/expression",
                    json!("1 + 1"),
                    "spec.validations[0].expression: Invalid value: \"1 + 1\": must evaluate to bool",
                ),
                (
                    "/spec/validations/0/expression",
                    json!("objct.x == 1"),
                    "spec.validations[0].expression: Invalid value: \"objct.x == 1\": compilation failed: ERROR: \
                     <input>:1:1: undeclared reference to 'objct' (in container '')\n | objct.x == 1\n | ^",
                ),
                (
                    "/spec/validations/0/messageExpression",
                    json!("authorizer.path('/x').check('get').reason()"),
                    "spec.validations[0].messageExpression: Invalid value: \
                     \"authorizer.path('/x').check('get').reason()\": compilation failed: ERROR: <input>:1:1: undeclared \
                     reference to 'authorizer' (in container '')\n | authorizer.path('/x').check('get').reason()\n | ^",
                ),
                (
                    "/spec/variables",
                    json!([{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "1"}]),
                    "spec.variables[0].expression: Invalid value: \"variables.b\": compilation failed: ERROR: \
                     <input>:1:10: undefined field 'b'\n | variables.b\n | .........^",
                ),
                (
                    "/spec/auditAnnotations",
                    json!([{"key": "k", "valueExpression": "1"}]),
                    "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string \
                     null_type]",
                ),
                (
                    "/spec/matchConditions",
                    json!([{"name": "c", "expression": "variables.a == 1"}]),
                    "spec.matchConditions[0].expression: Invalid value: \"variables.a == 1\": compilation failed: ERROR: \
                     <input>:1:1: undeclared reference to 'variables' (in container '')\n | variables.a == 1\n | ^",
                ),
            ],
        );
    }
}
