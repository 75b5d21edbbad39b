//! Node lifecycle: silence makes a node Unknown, conditions become taints, and evictions are braked by zone.
//!
//! Heartbeats are in memory (`View::heartbeats`); only changes are written. The brakes are upstream's: 0.1 nodes/s in
//! a zone; if 55 % of it are unhealthy, 0.01/s, or none for zones of up to 50 nodes; if all zones are dark, none at
//! all, since then the fault is more likely on our side. When a node was last given its NoExecute taint is read from
//! the taints themselves, so that a new leader goes on at the same pace.

mod taints;
mod zones;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use kontiki_state::Object;
use serde_json::json;

use crate::plan::{Plan, to_value};
use crate::view::{Found, View, ms_of};
use crate::{Controller, Error, Watch, WorkKey};

/// Silence after which a node is Unknown (`--node-monitor-grace-period`).
const GRACE_MS: u64 = 40_000;
/// Namespace part of the keys that stand for zones.
const ZONE_KEY: &str = "zone";
/// Conditions that only the node can know.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The controller.
pub struct NodeLifecycle;

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: "nodes",
            map: node_and_zone,
        }]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        if &*key.namespace == ZONE_KEY {
            return zones::reconcile(view, &key.name);
        }
        let mut plan = Plan::none();
        let Some(node) = view.get::<Node>("", &key.name)? else {
            return Ok(plan);
        };
        let heard = last_heard_ms(view, &node);
        let due = heard + GRACE_MS;
        let mut conditions = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone());
        let conditions = conditions.get_or_insert_default();
        if due <= view.now_ms {
            mark_unknown(view, conditions);
        } else {
            plan.requeue_after_ms(due - view.now_ms);
        }
        let ready = status_of(conditions, "Ready");
        let was = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref());
        if status_of(was.unwrap_or_default(), "Ready") == "True" && ready != "True" {
            plan.event(
                &node,
                "NodeNotReady",
                format!("Node {} status is now: NodeNotReady", node.name()),
            );
        }
        if ready != "True" {
            mark_pods_not_ready(view, &node, &mut plan)?;
        }
        let taints = taints::wanted(&node, conditions, view);
        plan.edit(&node.object, |value| {
            value["status"]["conditions"] = to_value(conditions);
            taints::write(value, &taints);
        });
        Ok(plan)
    }
}

fn node_and_zone(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let zone = zones::of_labels(|name| object.header.label(name));
    vec![WorkKey::of(object), WorkKey::new(ZONE_KEY, zone)]
}

/// A node gets a full grace period from its creation and from each change of leader.
fn last_heard_ms(view: &View<'_>, node: &Found<Node>) -> u64 {
    let created = node.metadata.creation_timestamp.as_ref().map_or(0, ms_of);
    let heard = (view.heartbeats)(node.name()).unwrap_or(0);
    heard.max(created).max(view.leader_since_ms)
}

/// The status of a condition, empty when there is none.
fn status_of<'a>(conditions: &'a [NodeCondition], type_: &str) -> &'a str {
    let found = conditions.iter().find(|condition| condition.type_ == type_);
    found.map_or("", |condition| condition.status.as_str())
}

fn mark_unknown(view: &View<'_>, conditions: &mut Vec<NodeCondition>) {
    for type_ in REPORTED {
        match conditions
            .iter_mut()
            .find(|condition| condition.type_ == type_)
        {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(view.now());
            }
            None => conditions.push(NodeCondition {
                type_: type_.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: None,
                last_transition_time: Some(view.now()),
            }),
        }
    }
}

/// Services must not send traffic to pods of a node that nobody hears.
fn mark_pods_not_ready(view: &View<'_>, node: &Found<Node>, plan: &mut Plan) -> Result<(), Error> {
    for object in view.snapshot.by_field("pods", "spec.nodeName", node.name()) {
        let pod = crate::view::typed::<Pod>(object)?;
        if crate::pods::condition(&pod, "Ready").is_none_or(|ready| ready.status != "True") {
            continue;
        }
        let now = to_value(&view.now());
        plan.edit_status(&pod.object, |value| {
            let conditions = value["status"]["conditions"].as_array_mut();
            for condition in conditions.into_iter().flatten() {
                if condition["type"] == "Ready" {
                    condition["status"] = json!("False");
                    condition["lastTransitionTime"] = now.clone();
                }
            }
        });
        plan.warn(&pod, "NodeNotReady", "Node is not ready");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
