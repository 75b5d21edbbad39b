//! MutatingWebhookConfiguration. Its rules are in `admissionspec`, shared with the validating one.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use serde_json::Value;

use crate::admissionspec::{defaults, webhooks};
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::podspec::json::or_pointer;
use crate::table;

/// MutatingWebhookConfiguration.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "mutatingwebhookconfiguration",
    namespaced: false,
    columns: COLUMNS,
    counts_generation: true,
    unconditional_update: false,
    hooks: Hooks {
        default: |configuration| {
            for webhook in defaults::webhooks(configuration) {
                defaults::webhook(webhook);
                or_pointer(webhook, "reinvocationPolicy", "Never");
            }
        },
        validate: webhooks::validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<MutatingWebhookConfiguration>()
});

/// Columns of both configurations.
pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::typed(
        "Webhooks",
        "integer",
        "Webhooks indicates the number of webhooks registered in this configuration",
    ),
    Column::AGE,
];

/// Cells of both configurations.
pub(super) fn row(configuration: &Value, now_unix_ms: u64) -> Vec<Value> {
    vec![
        table::name(configuration),
        table::count(configuration, "/webhooks").into(),
        table::age(configuration, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use serde_json::json;

    fn configuration() -> Value {
        json!({"webhooks": [{
            "name": "pods.hooks.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "hook", "namespace": "hooks"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        }]})
    }

    #[test]
    fn defaults_are_upstreams() {
        let configuration = created(&KIND, &configuration());
        let webhook = &configuration["webhooks"][0];
        for (field, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
            ("reinvocationPolicy", json!("Never")),
        ] {
            assert_eq!(webhook[field], value, "{field}");
        }
        assert_eq!(webhook["clientConfig"]["service"]["port"], 443);
        assert_eq!(webhook["rules"][0]["scope"], "*");
        assert_eq!(row(&configuration, 0)[1], 1);
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        check_creates(
            &KIND,
            &configuration(),
            &[
                (
                    "/webhooks/0/name",
                    json!(""),
                    "webhooks[0].name: Required value",
                ),
                (
                    "/webhooks/0/name",
                    json!("example.com"),
                    "webhooks[0].name: Invalid value: \"example.com\": should be a domain with at least three segments \
                     separated by dots",
                ),
                (
                    "/webhooks/0/rules/0/operations",
                    json!([]),
                    "webhooks[0].rules[0].operations: Required value",
                ),
                (
                    "/webhooks/0/failurePolicy",
                    json!("Shrug"),
                    "webhooks[0].failurePolicy: Unsupported value: \"Shrug\": supported values: \"Fail\", \"Ignore\"",
                ),
                (
                    "/webhooks/0/sideEffects",
                    Value::Null,
                    "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
                ),
                (
                    "/webhooks/0/sideEffects",
                    json!("Some"),
                    "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
                ),
                (
                    "/webhooks/0/timeoutSeconds",
                    json!(31),
                    "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                ),
                (
                    "/webhooks/0/reinvocationPolicy",
                    json!("Twice"),
                    "webhooks[0].reinvocationPolicy: Unsupported value: \"Twice\": supported values: \"IfNeeded\", \
                     \"Never\"",
                ),
                (
                    "/webhooks/0/matchConditions",
                    json!([{"name": "a", "expression": " "}]),
                    "webhooks[0].matchConditions[0].expression: Required value",
                ),
                (
                    "/webhooks/0/admissionReviewVersions",
                    json!([]),
                    "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
                ),
                (
                    "/webhooks/0/admissionReviewVersions",
                    json!(["v2"]),
                    "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, \
                     v1beta1",
                ),
                (
                    "/webhooks",
                    json!([
                        configuration()["webhooks"][0],
                        configuration()["webhooks"][0]
                    ]),
                    "webhooks[1].name: Duplicate value: \"pods.hooks.example.com\"",
                ),
            ],
        );
    }

    #[test]
    fn what_was_wrong_before_may_stay() {
        let mut old = configuration();
        old["webhooks"][0]["sideEffects"] = json!("Unknown");
        check_updates(
            &KIND,
            &old,
            &[
                ("/webhooks/0/timeoutSeconds", json!(5), ""),
                ("/webhooks/0/sideEffects", json!("Some"), ""),
            ],
        );
    }
}
