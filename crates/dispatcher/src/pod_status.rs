//! From an agent's word on a pod to operations: its status, and its end.
//!
//! Only the status may change, only of a pod of this very uid that is bound to this very node.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PodStatus;
use kontiki_api::meta::{Meta, metadata_mut};
use kontiki_api::time;
use kontiki_proto::node::PodStatusUpdate;
use kontiki_state::{Key, Object, Op, Precondition, Snapshot};
use serde_json::Value;

use crate::write::{kind, status_writer, update};

/// Operations that bring a pod up to date; none when it already is, is gone, or is not this node's.
pub(crate) fn ops(
    snapshot: &Snapshot,
    node: &str,
    change: &PodStatusUpdate,
    now_unix_ms: u64,
) -> Vec<Op> {
    let Some(pod) = find(snapshot, node, change) else {
        return Vec::new();
    };
    let old = pod.value();
    let mut new = old.clone();
    if let Some(status) = merged_status(&old["status"], &change.status_json, &pod) {
        new["status"] = status;
        kind("pods").prepare_status(&mut new, &old);
    }
    let mut changed = new != old;
    if changed {
        // Before the grace below: what a deletion changes belongs to nobody.
        let now = time::rfc3339(now_unix_ms);
        status_writer(kind("pods"), &now).update(Some(&old), &mut new);
    }
    let ends = change.terminated && pod.header.deleting;
    let finalizers = !Meta::of(&old).finalizers().is_empty();
    if ends && finalizers {
        // The last finalizer's removal deletes it: the node has nothing more to do for it.
        let before = metadata_mut(&mut new).insert("deletionGracePeriodSeconds".into(), 0.into());
        changed |= before != Some(0.into());
    }
    let mut ops = Vec::new();
    if changed {
        ops.push(update(kind("pods"), &pod, new));
    }
    if ends && !finalizers {
        let pre = Precondition::uid(Arc::clone(&pod.header.uid));
        ops.push(Op::Delete {
            key: pod.key.clone(),
            pre,
        });
    }
    ops
}

fn find(snapshot: &Snapshot, node: &str, change: &PodStatusUpdate) -> Option<Arc<Object>> {
    let key = Key::new("pods", change.namespace.as_str(), change.name.as_str());
    let pod = snapshot.get(&key)?;
    if *pod.header.uid != *change.uid {
        return None;
    }
    if pod.header.field("spec.nodeName") != Some(node) {
        tracing::warn!(node, pod = %key, "a status of another node's pod is refused");
        return None;
    }
    Some(pod)
}

/// The new status: the agent's, with what it does not own kept. None when it says nothing usable.
fn merged_status(old: &Value, sent: &[u8], pod: &Object) -> Option<Value> {
    if sent.is_empty() {
        return None;
    }
    let status: PodStatus = serde_json::from_slice(sent)
        .inspect_err(|error| tracing::warn!(pod = %pod.key, %error, "status is malformed"))
        .ok()?;
    let mut new = serde_json::to_value(status).ok()?;
    if is_terminal(old) && old["phase"] != new["phase"] {
        // A pod that ended stays ended, whatever an agent finds after a restart.
        return None;
    }
    let fields = new.as_object_mut()?;
    for kept in [
        "qosClass",
        "startTime",
        "nominatedNodeName",
        "resourceClaimStatuses",
    ] {
        if let Some(value) = old.get(kept).filter(|_| !fields.contains_key(kept)) {
            fields.insert(kept.to_owned(), value.clone());
        }
    }
    if let Some(started) = old.get("startTime") {
        fields.insert("startTime".to_owned(), started.clone());
    }
    let conditions = merged_conditions(&old["conditions"], new["conditions"].take());
    if !conditions.is_empty() {
        new["conditions"] = conditions.into();
    } else if let Some(fields) = new.as_object_mut() {
        fields.remove("conditions");
    }
    Some(new)
}

fn is_terminal(status: &Value) -> bool {
    matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// The sent conditions, each with its old transition time unless its status changed, after those of other owners.
pub(crate) fn merged_conditions(old: &Value, sent: Value) -> Vec<Value> {
    let old = old.as_array().map_or(&[][..], Vec::as_slice);
    let Value::Array(mut sent) = sent else {
        return old.to_vec();
    };
    for condition in &mut sent {
        let before = old.iter().find(|o| o["type"] == condition["type"]);
        if let Some(before) = before.filter(|before| before["status"] == condition["status"])
            && let Some(since) = before.get("lastTransitionTime")
        {
            condition["lastTransitionTime"] = since.clone();
        }
    }
    let foreign = |o: &&Value| !sent.iter().any(|condition| condition["type"] == o["type"]);
    let mut merged: Vec<Value> = old.iter().filter(foreign).cloned().collect();
    merged.append(&mut sent);
    merged
}
