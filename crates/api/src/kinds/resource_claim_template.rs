//! ResourceClaimTemplate (upstream `ValidateResourceClaimTemplate`).

use k8s_openapi::api::resource::v1::{ResourceClaimTemplate, ResourceClaimTemplateSpec};
use serde_json::Value;

use super::resource_claim::admin_access;
use crate::devicespec::claim;
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Hooks, Kind};
use crate::meta::Meta;
use crate::podspec::json::{Fields, child, into_object, list, typed};
use crate::podspec::names;
use crate::podspec::path::Errors;
use crate::podspec::scaled::{SPEC, unchanged};

/// ResourceClaimTemplate.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "resourceclaimtemplate",
    hooks: Hooks {
        default: |template| with_claim(template, claim::default),
        admit: |new, _, admission| {
            let requests = list(new, "/spec/spec/devices/requests");
            admin_access(requests, Meta::of(new).namespace(), admission)
        },
        prepare_create: |template| with_claim(template, claim::drop_disabled),
        prepare_update: |new, _| with_claim(new, claim::drop_disabled),
        validate,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ResourceClaimTemplate>()
});

fn with_claim(template: &mut Value, change: fn(&mut Fields)) {
    let spec = child(into_object(template), "spec");
    if let Some(claim) = spec.and_then(|spec| child(spec, "spec")) {
        change(claim);
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    if let Some(old) = old {
        unchanged(&mut errors, SPEC, &new["spec"], &old["spec"]);
        return errors.0;
    }
    let spec: ResourceClaimTemplateSpec = typed(new.get("spec"));
    let metadata = spec.metadata.unwrap_or_default();
    let metadata_at = SPEC.child("metadata");
    names::annotations(
        &mut errors,
        &metadata_at.child("annotations"),
        metadata.annotations.as_ref(),
    );
    names::labels(
        &mut errors,
        &metadata_at.child("labels"),
        metadata.labels.as_ref(),
    );
    let devices = spec.spec.devices.unwrap_or_default();
    let claim_at = SPEC.child("spec");
    claim::validate(&mut errors, &claim_at.child("devices"), &devices);
    errors.0
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates};
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let template = json!({"spec": {"spec": {"devices": {
            "requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}}],
        }}}});
        check_creates(
            &KIND,
            &template,
            &[(
                "/spec/spec/devices/requests/0/name",
                json!("A"),
                "spec.spec.devices.requests[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of \
                 lower case alphanumeric characters or '-', and must start and end with an alphanumeric character \
                 (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            )],
        );
        check_updates(
            &KIND,
            &template,
            &[(
                "/spec",
                json!({"spec": {}}),
                "spec: Invalid value: {\"spec\":{}}: field is immutable",
            )],
        );
    }
}
