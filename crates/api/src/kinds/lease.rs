//! Lease (upstream `pkg/registry/coordination/lease`).

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::table;

/// Lease.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "lease",
    columns: &[
        Column::NAME,
        Column::text(
            "Holder",
            "holderIdentity contains the identity of the holder of a current lease.",
        ),
        Column::AGE,
    ],
    create_on_update: true,
    unconditional_update: false,
    hooks: Hooks {
        prepare_create: |lease| drop_coordination(lease, None),
        prepare_update: |lease, old| drop_coordination(lease, Some(old)),
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Lease>()
});

/// Coordinated leader election is behind a gate that is off by default: its fields stay only where they were before.
fn drop_coordination(lease: &mut Value, old: Option<&Value>) {
    for field in ["strategy", "preferredHolder"] {
        let was_set = old.is_some_and(|old| !old["spec"][field].is_null());
        if !was_set && let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove(field);
        }
    }
}

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let number = |field: &str| new.get("spec")?.get(field)?.as_i64();
    let text = |field: &str| new.get("spec")?.get(field)?.as_str();
    let mut errors = Vec::new();
    if let Some(seconds) = number("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        let detail = "must be greater than 0";
        errors.push(FieldError::invalid(
            "spec.leaseDurationSeconds",
            seconds,
            detail,
        ));
    }
    if let Some(transitions) = number("leaseTransitions").filter(|transitions| *transitions < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            "spec.leaseTransitions",
            transitions,
            detail,
        ));
    }
    if text("preferredHolder").is_some_and(|holder| !holder.is_empty())
        && text("strategy").unwrap_or_default().is_empty()
    {
        let detail = "may only be specified if `strategy` is defined";
        errors.push(FieldError::forbidden("spec.preferredHolder", detail));
    }
    errors
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    vec![
        table::name(object),
        table::text(object, "/spec/holderIdentity", ""),
        table::age(object, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn gated_fields_are_dropped() {
        let mut lease =
            json!({"spec": {"strategy": "OldestEmulationVersion", "preferredHolder": "a"}});
        let old = lease.clone();
        KIND.prepare_update(&mut lease, &old);
        assert_eq!(lease["spec"], old["spec"]);
        KIND.prepare_create(&mut lease);
        assert_eq!(lease["spec"], json!({}));
    }

    #[test]
    fn numbers_are_bounded() {
        let lease = json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}});
        let errors: Vec<String> = validate(&lease, None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ]
        );
    }
}
