//! The status of admission policies: what their expressions get wrong of the kinds that they are about.

use kontiki_api::kinds::validating_admission_policy::expression_warnings;
use kontiki_api::meta::Meta;
use serde_json::json;

use crate::plan::Plan;
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey, itself};

const POLICIES: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";

/// The controller.
pub struct AdmissionPolicyStatus;

impl Controller for AdmissionPolicyStatus {
    fn name(&self) -> &'static str {
        "validatingadmissionpolicy-status-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: POLICIES,
            map: itself,
        }]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(object) = view.snapshot.find(POLICIES, "", &key.name) else {
            return Ok(plan);
        };
        let policy = object.value();
        let generation = Meta::of(&policy).generation();
        if policy["status"]["observedGeneration"] == generation {
            return Ok(plan);
        }
        let warnings = expression_warnings(&policy, view.kinds);
        plan.edit_status(&object, |value| {
            value["status"]["observedGeneration"] = generation.into();
            value["status"]["typeChecking"] = if warnings.is_empty() {
                json!({})
            } else {
                json!({"expressionWarnings": warnings})
            };
        });
        Ok(plan)
    }
}
