//! RuntimeClass (upstream `ValidateRuntimeClass`).

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::Value;

use crate::deprecated_labels;
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::names;
use crate::podspec::json::{text, typed};
use crate::podspec::names::labels;
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::{placement, resources};
use crate::table;

/// RuntimeClass.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "runtimeclass",
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::text(
            "Handler",
            "The runtime and configuration that the container runtime uses for pods of this class.",
        ),
        Column::AGE,
    ],
    create_on_update: true,
    unconditional_update: false,
    hooks: Hooks {
        validate,
        warnings,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<RuntimeClass>()
});

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let class: RuntimeClass = typed(Some(new));
    let at = Path::root("handler");
    errors.invalid_each(at, &class.handler, names::dns1123_label(&class.handler));
    if let Some(overhead) = class.overhead {
        let requirements = ResourceRequirements {
            limits: overhead.pod_fixed,
            ..ResourceRequirements::default()
        };
        resources::validate(&mut errors, &Path::root("overhead"), &requirements, &[]);
    }
    if let Some(scheduling) = class.scheduling {
        let scheduling_at = Path::root("scheduling");
        labels(
            &mut errors,
            &scheduling_at.child("nodeSelector"),
            scheduling.node_selector.as_ref(),
        );
        placement::tolerations(
            &mut errors,
            &scheduling_at.child("tolerations"),
            scheduling.tolerations.given(),
        );
    }
    if let Some(old) = old {
        errors.immutable(at, &text(new, "/handler"), &text(old, "/handler"));
    }
    errors.0
}

fn warnings(new: &Value, _: Option<&Value>) -> Vec<String> {
    let selector = new.pointer("/scheduling/nodeSelector");
    let keys = selector.and_then(Value::as_object).into_iter().flatten();
    keys.filter_map(|(key, _)| deprecated_labels::warning("scheduling.nodeSelector", key))
        .collect()
}

fn row(class: &Value, now_unix_ms: u64) -> Vec<Value> {
    vec![
        table::name(class),
        text(class, "/handler").into(),
        table::age(class, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let class = json!({"handler": "runsc", "overhead": {"podFixed": {"cpu": "10m"}}});
        check_creates(
            &KIND,
            &class,
            &[
                (
                    "/handler",
                    json!("a.b"),
                    "handler: Invalid value: \"a.b\": must not contain dots",
                ),
                (
                    "/overhead/podFixed/cpu",
                    json!("-1"),
                    "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                ),
                (
                    "/scheduling",
                    json!({"nodeSelector": {"a b": "c"}}),
                    "scheduling.nodeSelector: Invalid value: \"a b\": name part must consist of alphanumeric \
                     characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
                     'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                ),
                (
                    "/scheduling",
                    json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}),
                    "scheduling.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is \
                     'Exists'",
                ),
            ],
        );
        check_updates(
            &KIND,
            &class,
            &[
                (
                    "/handler",
                    json!("kata"),
                    "handler: Invalid value: \"kata\": field is immutable",
                ),
                ("/overhead/podFixed/cpu", json!("20m"), ""),
            ],
        );
        assert_eq!(row(&created(&KIND, &class), 0)[1], "runsc");
    }
}
