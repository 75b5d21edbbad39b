//! Lease (upstream `pkg/registry/coordination/lease`).

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{Column, Hooks, Kind};
use crate::table;

/// Lease.
pub static KIND: Kind = Kind {
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
        validate,
        row,
        ..Hooks::NONE
    },
    ..Kind::of::<Lease>()
};

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
