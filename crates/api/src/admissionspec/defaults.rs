//! Defaults of rules, of what a policy matches, and of webhooks.

use serde_json::Value;

use crate::podspec::json::{Fields, child, each, ensure, or_pointer};

/// Seconds that a webhook may take.
const TIMEOUT_SECONDS: i64 = 10;
const HTTPS_PORT: i64 = 443;

/// Defaults of each rule of a list.
pub fn rules(parent: &mut Fields, list: &str) {
    for rule in each(parent, list) {
        or_pointer(rule, "scope", "*");
    }
}

fn selectors(parent: &mut Fields) {
    or_pointer(parent, "matchPolicy", "Equivalent");
    for selector in ["namespaceSelector", "objectSelector"] {
        ensure(parent, selector);
    }
}

/// Defaults of what a policy or its binding matches.
pub fn match_resources(parent: &mut Fields, field: &str) {
    if let Some(resources) = child(parent, field) {
        selectors(resources);
        for list in ["resourceRules", "excludeResourceRules"] {
            rules(resources, list);
        }
    }
}

/// Defaults of a webhook of either kind.
pub fn webhook(webhook: &mut Fields) {
    or_pointer(webhook, "failurePolicy", "Fail");
    selectors(webhook);
    or_pointer(webhook, "timeoutSeconds", TIMEOUT_SECONDS);
    let config = child(webhook, "clientConfig");
    if let Some(service) = config.and_then(|config| child(config, "service")) {
        or_pointer(service, "port", HTTPS_PORT);
    }
    rules(webhook, "rules");
}

/// Each webhook of a configuration.
pub fn webhooks(configuration: &mut Value) -> impl Iterator<Item = &mut Fields> {
    let fields = configuration.as_object_mut();
    fields
        .into_iter()
        .flat_map(|fields| each(fields, "webhooks"))
}
