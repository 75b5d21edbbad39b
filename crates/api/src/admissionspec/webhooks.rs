//! Rules of webhook configurations, which are those of a mutating one less the reinvocation for a validating one.
//!
//! What an old configuration got wrong already is let pass, as upstream does for data of earlier versions.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhook;
use serde_json::Value;

use super::resources::MATCH_POLICIES;
use super::{client, match_conditions, rules};
use crate::cel::admission;
use crate::field_error::FieldError;
use crate::meta::names;
use crate::podspec::json::{list, same, typed};
use crate::podspec::names::fully_qualified;
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::selectors;

pub(crate) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];

/// What the old configuration kept to, hence the new one has to keep to.
struct Strictness {
    side_effects: bool,
    versions: bool,
    names: bool,
    conditions: bool,
}

fn webhooks(configuration: &Value) -> Vec<MutatingWebhook> {
    let webhooks = list(configuration, "/webhooks").iter();
    webhooks.map(|webhook| typed(Some(webhook))).collect()
}

fn known_version(webhook: &MutatingWebhook) -> bool {
    let mut versions = webhook.admission_review_versions.iter();
    versions.any(|version| REVIEW_VERSIONS.contains(&version.as_str()))
}

impl Strictness {
    fn new(new: &Value, old: Option<&Value>) -> Self {
        let Some(old) = old else {
            return Self {
                side_effects: true,
                versions: true,
                names: true,
                conditions: true,
            };
        };
        let before = webhooks(old);
        let names: BTreeSet<&str> = before.iter().map(|webhook| webhook.name.as_str()).collect();
        let harmless =
            |webhook: &MutatingWebhook| NO_SIDE_EFFECTS.contains(&webhook.side_effects.as_str());
        let conditions = |configuration: &Value| -> Value {
            let webhooks = list(configuration, "/webhooks").iter();
            webhooks
                .map(|webhook| webhook["matchConditions"].clone())
                .collect()
        };
        Self {
            side_effects: before.iter().all(harmless),
            versions: before.iter().all(|webhook| {
                known_version(webhook) || webhook.admission_review_versions.is_empty()
            }),
            names: names.len() == before.len(),
            conditions: !same(&conditions(new), &conditions(old)),
        }
    }
}

/// Checks a configuration.
pub fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let strictness = Strictness::new(new, old);
    let at = Path::root("webhooks");
    let mut names = BTreeSet::new();
    let raw = list(new, "/webhooks").iter();
    let webhooks = webhooks(new);
    for (i, (webhook, raw)) in webhooks.iter().zip(raw).enumerate() {
        let at = at.index(i);
        let rules_of = list(raw, "/rules");
        validate_one(&mut errors, &at, webhook, rules_of, &strictness);
        let versions_at = at.child("admissionReviewVersions");
        review_versions(&mut errors, &versions_at, webhook, strictness.versions);
        let name = webhook.name.as_str();
        if strictness.names && !name.is_empty() && !names.insert(name) {
            errors.duplicate(at.child("name"), name);
        }
    }
    errors.0
}

fn validate_one(
    errors: &mut Errors,
    at: &Path<'_>,
    webhook: &MutatingWebhook,
    rules_of: &[Value],
    strictness: &Strictness,
) {
    fully_qualified(errors, at.child("name"), &webhook.name);
    rules::validate(errors, &at.child("rules"), rules_of);
    errors.one_of_if(
        at.child("failurePolicy"),
        webhook.failure_policy.as_deref(),
        FAILURE_POLICIES,
    );
    errors.one_of_if(
        at.child("matchPolicy"),
        webhook.match_policy.as_deref(),
        MATCH_POLICIES,
    );
    side_effects(errors, at.child("sideEffects"), webhook, strictness);
    if let Some(seconds) = webhook.timeout_seconds
        && !(1..=30).contains(&seconds)
    {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(at.child("timeoutSeconds"), seconds, detail);
    }
    for (field, selector) in [
        ("namespaceSelector", &webhook.namespace_selector),
        ("objectSelector", &webhook.object_selector),
    ] {
        selectors::validate(errors, &at.child(field), selector.as_ref());
    }
    errors.one_of_if(
        at.child("reinvocationPolicy"),
        webhook.reinvocation_policy.as_deref(),
        &["IfNeeded", "Never"],
    );
    client::validate(errors, &at.child("clientConfig"), &webhook.client_config);
    if strictness.conditions {
        let conditions = webhook.match_conditions.given();
        let environment = admission::conditions();
        match_conditions::validate(
            errors,
            &at.child("matchConditions"),
            conditions,
            &environment,
        );
    }
}

fn side_effects(
    errors: &mut Errors,
    at: Path<'_>,
    webhook: &MutatingWebhook,
    strictness: &Strictness,
) {
    let allowed = match strictness.side_effects {
        true => NO_SIDE_EFFECTS,
        false => SIDE_EFFECTS,
    };
    if webhook.side_effects.is_empty() {
        errors.required(at, format!("must specify one of {}", allowed.join(", ")));
    } else {
        errors.one_of_if(at, Some(&webhook.side_effects), allowed);
    }
}

fn review_versions(errors: &mut Errors, at: &Path<'_>, webhook: &MutatingWebhook, strict: bool) {
    let versions = &webhook.admission_review_versions;
    let known = REVIEW_VERSIONS.join(", ");
    if versions.is_empty() {
        return errors.required(*at, format!("must specify one of {known}"));
    }
    for (i, version) in versions.iter().enumerate() {
        if versions[..i].contains(version) {
            errors.invalid(at.index(i), version.as_str(), "duplicate version");
            continue;
        }
        errors.invalid_each(at.index(i), version, names::dns1035_label(version));
    }
    if strict && !known_version(webhook) {
        let detail = format!("must include at least one of {known}");
        errors.invalid(*at, versions.as_slice(), detail);
    }
}
