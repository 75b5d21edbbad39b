//! ResourceClaim (upstream `ValidateResourceClaim`). What it asks for and gets is checked in `devicespec`.

use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimSpec, ResourceClaimStatus};
use serde_json::Value;

use crate::admission::{Admission, Denied};
use crate::devicespec::{claim, status};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::{Meta, StatusMetadata};
use crate::podspec::json::{child, into_object, list, typed};
use crate::podspec::path::Errors;
use crate::podspec::scaled::{SPEC, unchanged};
use crate::table;

/// The label of namespaces in which devices may be used for administration.
const ADMIN_LABEL: &str = "resource.kubernetes.io/admin-access";

/// ResourceClaim.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "resourceclaim",
    subresources: &[Subresource::Status],
    status_metadata: StatusMetadata::Kept,
    columns: &[
        Column::NAME,
        Column::text(
            "State",
            "A summary of the current state (allocated, pending, reserved, etc.).",
        ),
        Column::AGE,
    ],
    hooks: Hooks {
        default: |claim| {
            if let Some(spec) = child(into_object(claim), "spec") {
                claim::default(spec);
            }
        },
        admit: |new, _, admission| {
            let requests = list(new, "/spec/devices/requests");
            admin_access(requests, Meta::of(new).namespace(), admission)
        },
        prepare_create: drop_disabled,
        prepare_update: |new, _| drop_disabled(new),
        prepare_status: |new, _| {
            if let Some(status) = child(into_object(new), "status") {
                status::drop_disabled(status);
            }
        },
        validate,
        validate_status,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ResourceClaim>()
});

fn drop_disabled(object: &mut Value) {
    if let Some(spec) = child(into_object(object), "spec") {
        claim::drop_disabled(spec);
    }
}

/// Devices are administered from namespaces that are labelled for it.
pub(super) fn admin_access(
    requests: &[Value],
    namespace: &str,
    admission: &Admission<'_>,
) -> Result<(), Denied> {
    let asks = |request: &Value| request.pointer("/exactly/adminAccess") == Some(&true.into());
    if admission.subresource.is_some() || !requests.iter().any(asks) {
        return Ok(());
    }
    let namespace = admission.objects.get("namespaces", "", namespace);
    let is_allowed = namespace.is_some_and(|namespace| {
        let mut labels = Meta::of(&namespace).labels();
        labels.any(|label| label == (ADMIN_LABEL, "true"))
    });
    match is_allowed {
        true => Ok(()),
        false => Err(Denied(format!(
            "admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
        ))),
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    match old {
        Some(old) => unchanged(&mut errors, SPEC, &new["spec"], &old["spec"]),
        None => {
            let spec: ResourceClaimSpec = typed(new.get("spec"));
            let devices = spec.devices.unwrap_or_default();
            claim::validate(&mut errors, &SPEC.child("devices"), &devices);
        }
    }
    errors.0
}

fn validate_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: ResourceClaimSpec = typed(new.get("spec"));
    let devices = spec.devices.unwrap_or_default();
    let typed_status = |claim: &Value| -> ResourceClaimStatus { typed(claim.get("status")) };
    status::validate(
        &mut errors,
        &new["status"],
        &typed_status(new),
        &typed_status(old),
        Meta::of(new).is_deleting(),
        &claim::Requests::of(&devices),
    );
    errors.0
}

fn row(claim: &Value, now_unix_ms: u64) -> Vec<Value> {
    let deleting = Meta::of(claim).is_deleting();
    let allocated = claim
        .pointer("/status/allocation")
        .is_some_and(|allocation| !allocation.is_null());
    let reserved = !list(claim, "/status/reservedFor").is_empty();
    let states = [
        ("deleted", deleting),
        ("pending", !allocated && !deleting),
        ("allocated", allocated),
        ("reserved", allocated && reserved),
    ];
    let states: Vec<&str> = states
        .iter()
        .filter(|(_, is)| *is)
        .map(|(name, _)| *name)
        .collect();
    vec![
        table::name(claim),
        states.join(",").into(),
        table::age(claim, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_statuses, check_updates, created};
    use super::*;
    use crate::admission::testing::Given;
    use serde_json::json;

    fn claim() -> Value {
        json!({"spec": {"devices": {
            "requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}}],
            "constraints": [{"requests": ["gpu"], "matchAttribute": "gpu.example.com/numa"}],
        }}})
    }

    #[test]
    fn claims_are_filled_in_and_stripped() {
        let mut claim = claim();
        claim["spec"]["devices"]["requests"][0]["exactly"]["tolerations"] = json!([{"key": "a"}]);
        let claim = created(&KIND, &claim);
        assert_eq!(
            claim["spec"]["devices"]["requests"][0]["exactly"],
            json!({"deviceClassName": "gpu.example.com", "allocationMode": "ExactCount", "count": 1})
        );
        assert_eq!(row(&claim, 0)[1], "pending");
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        const REQUEST: &str = "/spec/devices/requests/0";
        check_creates(
            &KIND,
            &claim(),
            &[
                (
                    REQUEST,
                    json!({"name": "gpu"}),
                    "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
                ),
                (
                    &format!("{REQUEST}/firstAvailable"),
                    json!([{"name": "a", "deviceClassName": "b"}]),
                    "spec.devices.requests[0]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is \
                     required, but multiple fields are set",
                ),
                (
                    &format!("{REQUEST}/exactly/deviceClassName"),
                    json!(""),
                    "spec.devices.requests[0].exactly.deviceClassName: Required value",
                ),
                (
                    &format!("{REQUEST}/exactly/count"),
                    json!(-1),
                    "spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero",
                ),
                (
                    &format!("{REQUEST}/exactly/allocationMode"),
                    json!("Some"),
                    "spec.devices.requests[0].exactly.allocationMode: Unsupported value: \"Some\": supported values: \
                     \"All\", \"ExactCount\"",
                ),
                (
                    "/spec/devices/constraints/0/requests/0",
                    json!("nic"),
                    "spec.devices.constraints[0].requests[0]: Invalid value: \"nic\": must be the name of a request in \
                     the claim or the name of a request and a subrequest separated by '/'",
                ),
                (
                    "/spec/devices/constraints/0/matchAttribute",
                    json!("numa"),
                    "spec.devices.constraints[0].matchAttribute: Invalid value: \"numa\": a fully qualified name must be \
                     a domain and a name separated by a slash",
                ),
            ],
        );
        let old = created(&KIND, &claim());
        let changed = with_class(&old);
        let expected = format!(
            "spec: Invalid value: {}: field is immutable",
            changed["spec"]
        );
        check_updates(
            &KIND,
            &claim(),
            &[("/spec", changed["spec"].clone(), expected.as_str())],
        );
    }

    fn with_class(claim: &Value) -> Value {
        let mut claim = claim.clone();
        claim["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"] = json!("other");
        claim
    }

    #[test]
    fn statuses_agree_with_requests_and_allocations() {
        let result =
            json!({"request": "gpu", "driver": "gpu.example.com", "pool": "n1", "device": "gpu-0"});
        let consumer = json!({"resource": "pods", "name": "web", "uid": "u1"});
        check_statuses(
            &KIND,
            &claim(),
            &[
                (
                    "/status",
                    json!({"allocation": {"devices": {"results": [result]}}, "reservedFor": [consumer]}),
                    "",
                ),
                (
                    "/status",
                    json!({"reservedFor": [consumer]}),
                    "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
                ),
                (
                    "/status",
                    json!({"allocation": {"devices": {"results": [
                        {"request": "nic", "driver": "gpu.example.com", "pool": "n1", "device": "gpu-0"},
                    ]}}}),
                    "status.allocation.devices.results[0].request: Invalid value: \"nic\": must be the name of a request \
                     in the claim or the name of a request and a subrequest separated by '/'",
                ),
                (
                    "/status",
                    json!({"devices": [{"driver": "gpu.example.com", "pool": "n1", "device": "gpu-0"}]}),
                    "status.devices[0]: Invalid value: {\"Device\":\"gpu-0\",\"Driver\":\"gpu.example.com\",\
                     \"Pool\":\"n1\",\"ShareID\":\"\"}: must be an allocated device in the claim",
                ),
            ],
        );
    }

    #[test]
    fn administration_needs_a_labelled_namespace() {
        let namespace = |labels: Value| json!({"metadata": {"name": "ops", "labels": labels}});
        let requests = [json!({"name": "all", "exactly": {"adminAccess": true}})];
        for (labels, is_allowed) in [(json!({}), false), (json!({ADMIN_LABEL: "true"}), true)] {
            let objects = Given::new(vec![("namespaces", vec![namespace(labels)])]);
            let admitted = admin_access(&requests, "ops", &objects.admission());
            assert_eq!(admitted.is_ok(), is_allowed);
        }
    }
}
