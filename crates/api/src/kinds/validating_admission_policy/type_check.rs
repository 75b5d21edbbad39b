//! What a policy's expressions get wrong of the kinds that it is about: for its status, and for people's eyes only
//! (upstream's `TypeChecker`).
//!
//! Only kinds that its rules name are looked at, wildcards and subresources are not.

use serde_json::{Value, json};

use crate::cel::{Environment, Program, Type, admission, type_of};
use crate::kind::Kind;
use crate::podspec::json::{list, text};
use crate::registry::Kinds;

/// Upstream's limit of kinds that are looked at for one policy.
const MAX_KINDS: usize = 10;

/// `status.typeChecking.expressionWarnings` of a policy, by the kinds that are served.
pub fn expression_warnings(policy: &Value, kinds: &Kinds) -> Vec<Value> {
    let params = params_of(policy, kinds);
    let kinds = kinds_of(policy, kinds);
    let environments: Vec<(&Kind, Environment)> = kinds
        .into_iter()
        .map(|kind| (kind, environment(policy, kind, params.clone())))
        .collect();
    let mut warnings = Vec::new();
    for (i, validation) in list(policy, "/spec/validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let source = text(validation, &format!("/{field}"));
            if source.is_empty() {
                continue;
            }
            let told: Vec<String> = environments
                .iter()
                .filter_map(|(kind, environment)| {
                    let why = Program::compile(source, environment).err()?;
                    let (group, version, kind) = (kind.group(), kind.version(), kind.kind());
                    Some(format!("{group}/{version}, Kind={kind}: {why}\n"))
                })
                .collect();
            if !told.is_empty() {
                let place = format!("spec.validations[{i}].{field}");
                warnings.push(json!({"fieldRef": place, "warning": told.join("\n")}));
            }
        }
    }
    warnings
}

/// The kinds that the rules name, in order.
fn kinds_of<'k>(policy: &Value, kinds: &'k Kinds) -> Vec<&'k Kind> {
    let mut found: Vec<&Kind> = Vec::new();
    for rule in list(policy, "/spec/matchConstraints/resourceRules") {
        let names = |pointer: &str| -> Vec<&str> {
            let names: Vec<&str> = list(rule, pointer)
                .iter()
                .filter_map(Value::as_str)
                .collect();
            if names.contains(&"*") {
                Vec::new()
            } else {
                names
            }
        };
        let (groups, versions) = (names("/apiGroups"), names("/apiVersions"));
        let resources = names("/resources");
        let named = kinds.iter().filter(|kind| {
            groups.contains(&kind.group())
                && versions.contains(&kind.version())
                && resources.contains(&kind.plural())
        });
        for kind in named {
            if found.len() < MAX_KINDS && !found.contains(&kind) {
                found.push(kind);
            }
        }
    }
    found
}

/// The type of the parameters: any, where their kind is not served.
fn params_of(policy: &Value, kinds: &Kinds) -> Option<Type> {
    let param = policy
        .pointer("/spec/paramKind")
        .filter(|found| !found.is_null())?;
    let kind = kinds.by_gvk(text(param, "/apiVersion"), text(param, "/kind"));
    Some(kind.map_or(Type::Dyn, |kind| type_of(kind.schema())))
}

fn environment(policy: &Value, kind: &Kind, params: Option<Type>) -> Environment {
    let object = type_of(kind.schema());
    let mut environment = admission::policy(params.is_some())
        .with("object", object.clone())
        .with("oldObject", object);
    if let Some(params) = params {
        environment = environment.with("params", params);
    }
    for variable in list(policy, "/spec/variables") {
        let compiled = Program::compile(text(variable, "/expression"), &environment);
        let of = compiled.map_or(Type::Dyn, |program| program.result().clone());
        environment.add_lazy(text(variable, "/name"), of);
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(expressions: &[&str]) -> Vec<Value> {
        let validations: Vec<Value> = expressions
            .iter()
            .map(|it| json!({"expression": it}))
            .collect();
        let policy = json!({"spec": {
            "matchConstraints": {"resourceRules": [
                {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments", "*/status"]},
            ]},
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
            "validations": validations,
        }});
        expression_warnings(&policy, &Kinds::built_in())
    }

    #[test]
    fn users_kinds_are_looked_at_too() {
        let definition = json!({
            "metadata": {"name": "crontabs.example.com", "uid": "u"},
            "spec": {
                "group": "example.com", "scope": "Namespaced", "conversion": {"strategy": "None"},
                "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": {"copies": {"type": "integer"}}}},
                }}}],
            },
            "status": {"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1"],
                "acceptedNames": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList"}},
        });
        let kinds =
            Kinds::built_in().with([("crontabs.example.com", 1, || Some(definition.clone()))]);
        let rules = json!([{"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["crontabs"]}]);
        let policy = json!({"spec": {
            "matchConstraints": {"resourceRules": rules},
            "paramKind": {"apiVersion": "example.com/v1", "kind": "CronTab"},
            "validations": [
                {"expression": "object.spec.copies < params.spec.copies"},
                {"expression": "object.spec.copy < 5"},
                {"expression": "params.spec.copies == 'x'"},
            ],
        }});
        let told = expression_warnings(&policy, &kinds);
        let places: Vec<&Value> = told.iter().map(|warning| &warning["fieldRef"]).collect();
        assert_eq!(
            places,
            [
                "spec.validations[1].expression",
                "spec.validations[2].expression"
            ]
        );
        let warning = told[0]["warning"].as_str().unwrap_or_default();
        let expected = "example.com/v1, Kind=CronTab: ERROR: <input>:1:12: undefined field 'copy'";
        assert!(warning.starts_with(expected), "{warning}");
    }

    #[test]
    fn what_fits_the_kind_is_not_warned_of() {
        let fine = [
            "object.spec.replicas > 1 && variables.replicas < 5",
            "object.spec.template.spec.containers.all(c, c.image.startsWith('a'))",
            "object.metadata.labels['app'] == params.data.app",
            "!has(object.metadata.deletionTimestamp) || object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z')",
            "object.spec.strategy.rollingUpdate.maxSurge == 1 || object.metadata.__namespace__ == 'x'",
        ];
        assert_eq!(warnings(&fine), Vec::<Value>::new());
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_kind() {
        let found = warnings(&[
            "object.spec.replicas > '1'",
            "true",
            "object.spec.replica == 1",
        ]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0]["fieldRef"], "spec.validations[0].expression");
        assert_eq!(
            found[0]["warning"],
            "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, \
             string)'\n | object.spec.replicas > '1'\n | .....................^\n"
        );
        assert_eq!(found[1]["fieldRef"], "spec.validations[2].expression");
    }
}
