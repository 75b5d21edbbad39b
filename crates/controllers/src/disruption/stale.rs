//! A pod that was chosen for a disruption which did not come is an ordinary pod again after a while.

use k8s_openapi::api::core::v1::Pod;
use kontiki_api::time::rfc3339;
use kontiki_state::Object;
use serde_json::{Value, json};

use crate::plan::Plan;
use crate::pods::{condition, is_finished};
use crate::view::{View, ms_of};
use crate::{Controller, Error, Watch, WorkKey, itself};

const CONDITION: &str = "DisruptionTarget";
const TIMEOUT_MS: u64 = 120_000;
/// A node's own word, which may come long before the end.
const BY_NODE: &str = "TerminationByKubelet";

/// The controller.
pub struct StaleTargets;

impl Controller for StaleTargets {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: "pods",
            map: if_target,
        }]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(pod) = view.get::<Pod>(&key.namespace, &key.name)? else {
            return Ok(plan);
        };
        let Some(target) = condition(&pod, CONDITION) else {
            return Ok(plan);
        };
        if pod.metadata.deletion_timestamp.is_some()
            || is_finished(&pod)
            || target.status != "True"
            || target.reason.as_deref() == Some(BY_NODE)
        {
            return Ok(plan);
        }
        let since_ms = target.last_transition_time.as_ref().map_or(0, ms_of);
        let left_ms = (since_ms + TIMEOUT_MS).saturating_sub(view.now_ms);
        if left_ms > 0 {
            plan.requeue_after_ms(left_ms);
            return Ok(plan);
        }
        let now = rfc3339(view.now_ms);
        plan.edit_status(&pod.object, |value| {
            let conditions = value["status"]["conditions"].as_array_mut();
            let is_it = |condition: &&mut Value| condition["type"] == CONDITION;
            if let Some(condition) = conditions.into_iter().flatten().find(is_it) {
                *condition = json!({
                    "type": CONDITION,
                    "status": "False",
                    "lastProbeTime": null,
                    "lastTransitionTime": now,
                });
            }
        });
        Ok(plan)
    }
}

/// Nearly all pods are none: the bytes tell, and nothing is decoded.
fn if_target(view: &View<'_>, pod: &Object) -> Vec<WorkKey> {
    let mut windows = pod.bytes.windows(CONDITION.len());
    if windows.any(|window| window == CONDITION.as_bytes()) {
        itself(view, pod)
    } else {
        Vec::new()
    }
}
