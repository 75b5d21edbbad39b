//! IngressClass (upstream `ValidateIngressClass`).

use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::names;
use crate::podspec::json::{child, into_object, or_pointer, text, typed};
use crate::podspec::names::{domain_prefixed_path, required_segment};
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::SPEC;
use crate::table;

const MAX_CONTROLLER_BYTES: usize = 250;

/// IngressClass.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "ingressclass",
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::text(
            "Controller",
            "Controller that is responsible for handling this class",
        ),
        Column::text(
            "Parameters",
            "A reference to a resource with additional parameters",
        ),
        Column::AGE,
    ],
    counts_generation: true,
    hooks: Hooks {
        default,
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<IngressClass>()
});

fn default(class: &mut Value) {
    let spec = child(into_object(class), "spec");
    if let Some(parameters) = spec.and_then(|spec| child(spec, "parameters")) {
        or_pointer(parameters, "scope", "Cluster");
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let controller = text(new, "/spec/controller");
    let at = SPEC.child("controller");
    if let Some(old) = old {
        errors.immutable(at, &controller, &text(old, "/spec/controller"));
    }
    if controller.is_empty() {
        errors.required(at, "");
    } else {
        if controller.len() > MAX_CONTROLLER_BYTES {
            errors.too_long(at, MAX_CONTROLLER_BYTES);
        }
        domain_prefixed_path(&mut errors, at, controller);
    }
    if let Some(found) = new
        .pointer("/spec/parameters")
        .filter(|found| !found.is_null())
    {
        parameters(&mut errors, &SPEC.child("parameters"), &typed(Some(found)));
    }
    errors.0
}

fn parameters(errors: &mut Errors, at: &Path<'_>, parameters: &IngressClassParametersReference) {
    if let Some(group) = parameters.api_group.as_deref() {
        errors.invalid_each(at.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
    for (field, value) in [("kind", &parameters.kind), ("name", &parameters.name)] {
        required_segment(errors, at.child(field), value);
    }
    let namespace_at = at.child("namespace");
    match (parameters.scope.as_deref(), parameters.namespace.as_deref()) {
        (None, _) => errors.required(at.child("scope"), ""),
        (Some("Namespace"), None) => {
            errors.required(namespace_at, "`parameters.scope` is set to 'Namespace'");
        }
        (Some("Namespace"), Some(namespace)) => {
            errors.invalid_each(namespace_at, namespace, names::dns1123_label(namespace));
        }
        (Some("Cluster"), Some(_)) => {
            errors.forbidden(namespace_at, "`parameters.scope` is set to 'Cluster'");
        }
        (Some("Cluster"), None) => {}
        (Some(other), _) => {
            errors.not_supported(at.child("scope"), other, &["Cluster", "Namespace"]);
        }
    }
}

fn row(class: &Value, now_unix_ms: u64) -> Vec<Value> {
    let parameters = class
        .pointer("/spec/parameters")
        .filter(|found| !found.is_null());
    let shown = parameters.map_or_else(
        || "<none>".to_owned(),
        |found| {
            let parameters: IngressClassParametersReference = typed(Some(found));
            match parameters.api_group.given() {
                "" => format!("{}/{}", parameters.kind, parameters.name),
                group => format!("{}.{group}/{}", parameters.kind, parameters.name),
            }
        },
    );
    vec![
        table::name(class),
        text(class, "/spec/controller").into(),
        shown.into(),
        table::age(class, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use serde_json::json;

    fn class() -> Value {
        json!({"spec": {"controller": "example.com/ingress", "parameters": {
            "apiGroup": "k8s.example.com", "kind": "Parameters", "name": "lb",
        }}})
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        check_creates(
            &KIND,
            &class(),
            &[
                (
                    "/spec/controller",
                    Value::Null,
                    "spec.controller: Required value",
                ),
                (
                    "/spec/controller",
                    json!("nginx"),
                    "spec.controller: Invalid value: \"nginx\": must be a domain-prefixed path (such as \
                     \"acme.io/foo\")",
                ),
                (
                    "/spec/controller",
                    json!(format!("example.com/{}", "x".repeat(250))),
                    "spec.controller: Too long: may not be more than 250 bytes",
                ),
                (
                    "/spec/controller",
                    json!("example.com/a b"),
                    "spec.controller: Invalid value: \"a b\": Invalid path (regex used for validation is \
                     '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
                ),
                (
                    "/spec/parameters/kind",
                    json!(""),
                    "spec.parameters.kind: Required value",
                ),
                (
                    "/spec/parameters/scope",
                    json!("Namespace"),
                    "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
                ),
                (
                    "/spec/parameters/namespace",
                    json!("x"),
                    "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
                ),
                (
                    "/spec/parameters/scope",
                    json!("Galaxy"),
                    "spec.parameters.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \
                     \"Namespace\"",
                ),
            ],
        );
        check_updates(
            &KIND,
            &class(),
            &[(
                "/spec/controller",
                json!("example.com/other"),
                "spec.controller: Invalid value: \"example.com/other\": field is immutable",
            )],
        );
    }

    #[test]
    fn rows_show_parameters() {
        let class = created(&KIND, &class());
        assert_eq!(class["spec"]["parameters"]["scope"], "Cluster");
        assert_eq!(row(&class, 0)[2], "Parameters.k8s.example.com/lb");
    }
}
