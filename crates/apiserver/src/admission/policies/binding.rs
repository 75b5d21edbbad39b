//! A ValidatingAdmissionPolicyBinding, read once for each of its revisions.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::matching::Criteria;

/// Where a policy holds, with which parameters, and what a failure brings.
pub(super) struct Binding {
    pub(super) name: String,
    /// Name of the policy.
    pub(super) policy: String,
    pub(super) criteria: Criteria,
    /// `paramRef`, null when there is none.
    pub(super) param_ref: Value,
    /// `validationActions`.
    pub(super) actions: Value,
    pub(super) denies: bool,
    pub(super) warns: bool,
    pub(super) audits: bool,
}

impl<'de> Deserialize<'de> for Binding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let spec = &object["spec"];
        let actions = &spec["validationActions"];
        let has = |wanted: &str| {
            let mut actions = actions.as_array().into_iter().flatten();
            actions.any(|action| action == wanted)
        };
        Ok(Self {
            name: object["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            policy: spec["policyName"].as_str().unwrap_or_default().to_owned(),
            criteria: Criteria::of_policy(&spec["matchResources"], true),
            param_ref: spec["paramRef"].clone(),
            denies: has("Deny"),
            warns: has("Warn"),
            audits: has("Audit"),
            actions: actions.clone(),
        })
    }
}
