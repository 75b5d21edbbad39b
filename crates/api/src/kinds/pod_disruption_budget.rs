//! PodDisruptionBudget: rules and columns (upstream `pkg/apis/policy`).
//!
//! Not here: the counting of pods, which is a controller's, and the eviction that asks for it.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::conditions;
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::podspec::json::{int, list, typed};
use crate::podspec::path::{Errors, Path, to_value};
use crate::podspec::scaled::{SPEC, at_most_all, int_or_percent};
use crate::podspec::selectors;
use crate::table;

/// PodDisruptionBudget.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    subresources: &[Subresource::Status],
    columns: &[
        Column::NAME,
        Column::text("Min Available", "The pods that must stay available."),
        Column::text("Max Unavailable", "The pods that may be unavailable."),
        Column::typed(
            "Allowed Disruptions",
            "integer",
            "The pods that may be evicted now.",
        ),
        Column::AGE,
    ],
    counts_generation: true,
    unconditional_update: false,
    hooks: Hooks {
        validate,
        validate_status,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<PodDisruptionBudget>()
});

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: PodDisruptionBudgetSpec = typed(new.get("spec"));
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.invalid(SPEC, to_value(&spec), detail);
    }
    for (field, share) in [
        ("minAvailable", &spec.min_available),
        ("maxUnavailable", &spec.max_unavailable),
    ] {
        if let Some(share) = share {
            int_or_percent(&mut errors, SPEC.child(field), share);
            at_most_all(&mut errors, SPEC.child(field), share);
        }
    }
    selectors::validate(&mut errors, &SPEC.child("selector"), spec.selector.as_ref());
    errors.one_of_if(
        SPEC.child("unhealthyPodEvictionPolicy"),
        spec.unhealthy_pod_eviction_policy.as_deref(),
        &["AlwaysAllow", "IfHealthyBudget"],
    );
    errors.0
}

fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let at = Path::root("status");
    conditions::validate(
        &mut errors,
        &at.child("conditions"),
        new,
        "/status/conditions",
    );
    for field in [
        "disruptionsAllowed",
        "currentHealthy",
        "desiredHealthy",
        "expectedPods",
    ] {
        errors.nonnegative(at.child(field), int(new, &format!("/status/{field}")));
    }
    errors.0
}

/// The condition that tells whether a pod may be evicted now.
pub const ALLOWED: &str = "DisruptionAllowed";

/// Brings that condition in line with `status.disruptionsAllowed`.
pub fn update_condition(budget: &mut Value, now: &str) {
    let (status, reason) = if int(budget, "/status/disruptionsAllowed") > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    set_condition(budget, status, reason, "", now);
}

/// Sets that condition; its time moves with its status.
pub fn set_condition(budget: &mut Value, status: &str, reason: &str, message: &str, now: &str) {
    let generation = int(budget, "/status/observedGeneration");
    let mut condition = json!({
        "type": ALLOWED,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": now,
    });
    let mut conditions = list(budget, "/status/conditions").to_vec();
    match conditions.iter_mut().find(|other| other["type"] == ALLOWED) {
        Some(other) => {
            if other["status"] == *status {
                condition["lastTransitionTime"] = other["lastTransitionTime"].clone();
            }
            *other = condition;
        }
        None => conditions.push(condition),
    }
    budget["status"]["conditions"] = conditions.into();
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let spec: PodDisruptionBudgetSpec = typed(object.get("spec"));
    let share = |share: &Option<IntOrString>| match share {
        None => "N/A".to_owned(),
        Some(IntOrString::Int(number)) => number.to_string(),
        Some(IntOrString::String(text)) => text.clone(),
    };
    vec![
        table::name(object),
        share(&spec.min_available).into(),
        share(&spec.max_unavailable).into(),
        int(object, "/status/disruptionsAllowed").into(),
        table::age(object, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        for (spec, expected) in [
            (
                json!({"minAvailable": 1, "maxUnavailable": 1}),
                "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and \
                 maxUnavailable cannot be both set",
            ),
            (
                json!({"minAvailable": -1}),
                "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"maxUnavailable": "101%"}),
                "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                json!({"unhealthyPodEvictionPolicy": "Never"}),
                "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Never\": supported values: \
                 \"AlwaysAllow\", \"IfHealthyBudget\"",
            ),
        ] {
            let errors = validate(&json!({"spec": spec}), None);
            assert_eq!(errors[0].to_string(), expected);
        }
        let good = json!({"spec": {"minAvailable": "50%", "selector": {}}});
        assert_eq!(validate(&good, None), []);
    }

    #[test]
    fn statuses_and_rows() {
        let budget = json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": "30%"},
            "status": {"disruptionsAllowed": -1, "conditions": [{"type": "X"}]}});
        let errors = validate_status(&budget, &budget);
        assert_eq!(errors.len(), 4, "{errors:?}");
        assert_eq!(
            row(&budget, 0)[1..4],
            [json!("N/A"), json!("30%"), json!(-1)]
        );
    }
}
