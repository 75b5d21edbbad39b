//! ValidatingWebhookConfiguration. Its rules are in `admissionspec`, shared with the mutating one.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;

use super::mutating_webhook_configuration::{COLUMNS, row};
use crate::admissionspec::{defaults, webhooks};
use crate::kind::{BuiltIn, Hooks, Kind};

/// ValidatingWebhookConfiguration.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "validatingwebhookconfiguration",
    namespaced: false,
    columns: COLUMNS,
    counts_generation: true,
    unconditional_update: false,
    hooks: Hooks {
        default: |configuration| {
            defaults::webhooks(configuration).for_each(defaults::webhook);
        },
        validate: webhooks::validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ValidatingWebhookConfiguration>()
});

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, created};
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_those_of_the_mutating_one() {
        let configuration = json!({"webhooks": [{
            "name": "pods.hooks.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://hooks.example.com/pods"},
        }]});
        check_creates(
            &KIND,
            &configuration,
            &[(
                "/webhooks/0/clientConfig/url",
                json!("http://hooks.example.com"),
                "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired \
                 format: https://host[/path]",
            )],
        );
        let created = created(&KIND, &configuration);
        assert_eq!(created["webhooks"][0].get("reinvocationPolicy"), None);
        assert_eq!(created["metadata"]["generation"], 1);
    }
}
