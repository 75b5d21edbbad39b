//! Pod garbage collection: pods of nodes that are gone, unbound pods that are being deleted, and ended pods beyond a
//! threshold.

use k8s_openapi::api::core::v1::Pod;
use kontiki_state::Object;
use serde_json::json;

use crate::plan::{Plan, Propagation, to_value};
use crate::pods::{condition, is_finished};
use crate::view::{Found, View, ms_of};
use crate::{Controller, Error, Watch, WorkKey};

/// A node may come back within this time (upstream's `quarantineTime`).
const QUARANTINE_MS: u64 = 40_000;
/// Ended pods kept (`--terminated-pod-gc-threshold`).
const ENDED: usize = 12_500;
/// How often the threshold is looked at.
const ENDED_PERIOD_MS: u64 = 60_000;

/// The controller.
pub struct PodGc;

impl Controller for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "nodes",
                map: pods_of_gone,
            },
            Watch {
                resource: "pods",
                map: suspects,
            },
        ]
    }

    fn initial(&self) -> Vec<WorkKey> {
        vec![WorkKey::all()]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        if *key == WorkKey::all() {
            return ended(view);
        }
        let mut plan = Plan::none();
        let Some(pod) = view.get::<Pod>(&key.namespace, &key.name)? else {
            return Ok(plan);
        };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        match node.filter(|name| !name.is_empty()) {
            None if pod.metadata.deletion_timestamp.is_some() => {
                plan.delete_with(&pod.object, Some(0), Propagation::Background);
            }
            Some(name) if view.snapshot.find("nodes", "", name).is_none() => {
                collect_orphan(view, &pod, &mut plan);
            }
            _ => {}
        }
        Ok(plan)
    }
}

fn pods_of_gone(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    if view.snapshot.get(&object.key).is_some() {
        return Vec::new();
    }
    let pods = view
        .snapshot
        .by_field("pods", "spec.nodeName", &object.key.name);
    pods.iter().map(|pod| WorkKey::of(pod)).collect()
}

fn suspects(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let node = object
        .header
        .field("spec.nodeName")
        .filter(|name| !name.is_empty());
    let suspect = match node {
        None => object.header.deleting,
        Some(name) => view.snapshot.find("nodes", "", name).is_none(),
    };
    suspect.then(|| WorkKey::of(object)).into_iter().collect()
}

fn collect_orphan(view: &View<'_>, pod: &Found<Pod>, plan: &mut Plan) {
    let noted = condition(pod, "DisruptionTarget").filter(|target| {
        target.status == "True" && target.reason.as_deref() == Some("DeletionByPodGC")
    });
    let Some(noted) = noted else {
        mark_disrupted(
            view,
            pod,
            "DeletionByPodGC",
            "PodGC: node no longer exists",
            plan,
        );
        plan.requeue_after_ms(QUARANTINE_MS);
        return;
    };
    let due = noted.last_transition_time.as_ref().map_or(0, ms_of) + QUARANTINE_MS;
    if due > view.now_ms {
        plan.requeue_after_ms(due - view.now_ms);
    } else if !is_finished(pod) {
        plan.edit_status(&pod.object, |value| {
            value["status"]["phase"] = json!("Failed")
        });
    } else {
        plan.delete_with(&pod.object, Some(0), Propagation::Background);
    }
}

/// Notes on a pod why it is about to be deleted.
pub fn mark_disrupted(
    view: &View<'_>,
    pod: &Found<Pod>,
    reason: &str,
    message: &str,
    plan: &mut Plan,
) {
    let condition = json!({
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": to_value(&view.now()),
    });
    plan.edit_status(&pod.object, |value| {
        let conditions = &mut value["status"]["conditions"];
        if let Some(conditions) = conditions.as_array_mut() {
            conditions.retain(|old| old["type"] != "DisruptionTarget");
            conditions.push(condition);
        } else {
            *conditions = json!([condition]);
        }
    });
}

/// Deletes the oldest ended pods beyond the threshold.
fn ended(view: &View<'_>) -> Result<Plan, Error> {
    let mut plan = Plan::none();
    plan.requeue_after_ms(ENDED_PERIOD_MS);
    if view.snapshot.count("pods") <= ENDED {
        return Ok(plan);
    }
    let ended = |object: &std::sync::Arc<Object>| {
        matches!(
            object.header.field("status.phase"),
            Some("Succeeded" | "Failed")
        )
    };
    let mut pods: Vec<_> = view
        .snapshot
        .list("pods", None, None)
        .filter(ended)
        .collect();
    pods.sort_by_key(|object| object.created);
    let excess = pods.len().saturating_sub(ENDED);
    for pod in pods.iter().take(excess) {
        plan.delete_with(pod, Some(0), Propagation::Background);
    }
    Ok(plan)
}
