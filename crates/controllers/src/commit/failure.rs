//! A set of pods tells in its status that admission refuses its pods: the condition `ReplicaFailure`.
//!
//! Only here is it known: a reconcile plans the creation and takes the condition away; what is refused puts it back,
//! in the same write, so that a set that goes on being refused is written once.

use kontiki_state::{Key, Snapshot};
use serde_json::{Value, json};

use crate::plan::Write;

/// Type of the condition.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Notes the refusal among the writes.
pub fn note(snapshot: &Snapshot, writes: &mut Vec<Write>, about: &Key, why: &str, now: &str) {
    let Some(stored) = snapshot.get(about) else {
        return;
    };
    let old = stored.value();
    let planned = writes.iter().position(
        |write| matches!(write, Write::Update { key, status_only: true, .. } if key == about),
    );
    let (revision, mut new) = match planned.map(|idx| writes.remove(idx)) {
        Some(Write::Update {
            revision, object, ..
        }) => (revision, object),
        _ => (stored.revision, old.clone()),
    };
    let is_ours = |it: &Value| it["type"] == REPLICA_FAILURE;
    let list = |object: &Value| object["status"]["conditions"].as_array().cloned();
    let told = list(&old).unwrap_or_default().into_iter();
    let told = told.rev().find(|it| is_ours(it) && it["status"] == "True");
    // What it was first refused for stands until it is refused no longer, as upstream has it.
    let condition = told.unwrap_or_else(|| {
        json!({"type": REPLICA_FAILURE, "status": "True", "reason": "FailedCreate", "message": why,
            "lastTransitionTime": now})
    });
    let mut conditions = list(&new).unwrap_or_default();
    conditions.retain(|it| !is_ours(it));
    conditions.push(condition);
    new["status"]["conditions"] = json!(conditions);
    if new != old {
        writes.push(Write::Update {
            key: about.clone(),
            revision,
            object: new,
            status_only: true,
        });
    }
}
