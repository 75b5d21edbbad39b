//! What the scheduler decided, as operations: bindings, conditions, preemptions.
//!
//! Conditions are the scheduler's own in the managed fields; a binding belongs to nobody, for upstream's goes through
//! a subresource of its own that tracks nothing.

use kontiki_api::kinds::node::TOPOLOGY_LABELS;
use kontiki_api::managed_fields::Writer;
use kontiki_api::meta::metadata_mut;
use kontiki_api::selector::Lookup as _;
use kontiki_api::{Kinds, Subresource, by_resource, stored, time};
use kontiki_controllers::commit::{Stamp, commit, header_of};
use kontiki_controllers::{EventNote, Propagation, Write};
use kontiki_scheduler::{Decision, PodRef};
use kontiki_state::{Object, Op, Precondition, Snapshot};
use serde_json::{Value, json};

mod volumes;

/// Field manager of what the scheduler writes.
pub const FIELD_MANAGER: &str = "kube-scheduler";

/// Operations of one decision, and the event that tells of it.
#[derive(Debug, Default)]
pub struct Placement {
    /// Operations; of a binding exactly one.
    pub ops: Vec<Op>,
    /// Events, to be recorded when the operations are through.
    pub notes: Vec<EventNote>,
    /// It binds nothing yet: claims of the pod are told its node and have to be bound first.
    pub waits: bool,
}

/// The operations of a decision. Empty for a binding that is no longer wanted.
pub fn place(snapshot: &Snapshot, decision: &Decision, now_ms: u64) -> Placement {
    match decision {
        Decision::Bind { pod, node } => bind(snapshot, pod, node, now_ms),
        Decision::Unschedulable {
            pod,
            message,
            nominated,
            victims,
        } => {
            let mut placement = unschedulable(snapshot, pod, message, nominated.as_deref(), now_ms);
            for victim in victims {
                preempt(
                    snapshot,
                    victim,
                    pod,
                    nominated.as_deref(),
                    now_ms,
                    &mut placement,
                );
            }
            placement
        }
    }
}

fn find(snapshot: &Snapshot, pod: &PodRef) -> Option<std::sync::Arc<Object>> {
    let object = snapshot.find("pods", &pod.namespace, &pod.name)?;
    (object.header.uid == pod.uid).then_some(object)
}

fn note(object: &Object, warning: bool, reason: &str, message: String) -> EventNote {
    let (about, uid) = (object.key.clone(), object.header.uid.clone());
    EventNote {
        about,
        uid,
        warning,
        reason: reason.into(),
        message,
    }
}

fn update(object: &Object, new: Value) -> Option<Op> {
    let kind = by_resource("pods")?;
    let (key, pre) = (object.key.clone(), Precondition::revision(object.revision));
    Some(Op::Update {
        key,
        pre,
        header: header_of(kind, &new),
        bytes: stored::canonical(new),
    })
}

/// Binds this very pod in this very state: a second binding, or one of a replaced pod, is refused by apply.
fn bind(snapshot: &Snapshot, pod: &PodRef, node: &str, now_ms: u64) -> Placement {
    let Some(object) = find(snapshot, pod) else {
        return Placement::default();
    };
    let bound = object
        .header
        .field("spec.nodeName")
        .is_some_and(|name| !name.is_empty());
    if bound || object.header.deleting {
        return Placement::default();
    }
    if let Some(ops) = volumes::tell_claims(snapshot, &object, node, now_ms) {
        return Placement {
            ops,
            waits: true,
            ..Placement::default()
        };
    }
    let mut value = object.value();
    value["spec"]["nodeName"] = json!(node);
    show_topology(snapshot, node, &mut value);
    set_condition(
        &mut value,
        json!({"type": "PodScheduled", "status": "True"}),
        now_ms,
    );
    let message = format!(
        "Successfully assigned {}/{} to {node}",
        pod.namespace, pod.name
    );
    let notes = vec![note(&object, false, "Scheduled", message)];
    Placement {
        ops: update(&object, value).into_iter().collect(),
        notes,
        waits: false,
    }
}

/// What upstream's plugin `PodTopologyLabels` does to a Binding.
fn show_topology(snapshot: &Snapshot, node: &str, pod: &mut Value) {
    let Some(node) = snapshot.find("nodes", "", node) else {
        return;
    };
    for key in TOPOLOGY_LABELS {
        if let Some(value) = node.header.labels.lookup(key) {
            let labels = metadata_mut(pod).entry("labels");
            labels.or_insert_with(|| json!({}))[key] = value.into();
        }
    }
}

fn unschedulable(
    snapshot: &Snapshot,
    pod: &PodRef,
    message: &str,
    nominated: Option<&str>,
    now_ms: u64,
) -> Placement {
    let Some(object) = find(snapshot, pod) else {
        return Placement::default();
    };
    let old = object.value();
    let mut value = old.clone();
    let told = conditions(&value)
        .any(|condition| condition["type"] == "PodScheduled" && condition["message"] == message);
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
    });
    if !told {
        set_condition(&mut value, condition, now_ms);
    }
    if let Some(node) = nominated {
        value["status"]["nominatedNodeName"] = json!(node);
    } else if let Some(status) = value["status"].as_object_mut() {
        status.remove("nominatedNodeName");
    }
    let mut placement = Placement::default();
    if value != old {
        note_status(&old, &mut value, now_ms);
        placement.ops.extend(update(&object, value));
    }
    if !told {
        placement
            .notes
            .push(note(&object, true, "FailedScheduling", message.to_owned()));
    }
    placement
}

/// Deletes a victim, with its grace.
fn preempt(
    snapshot: &Snapshot,
    victim: &PodRef,
    pod: &PodRef,
    node: Option<&str>,
    now_ms: u64,
    placement: &mut Placement,
) {
    let Some(object) = find(snapshot, victim).filter(|object| !object.header.deleting) else {
        return;
    };
    let write = Write::Delete {
        key: object.key.clone(),
        uid: object.header.uid.clone(),
        revision: None,
        grace_seconds: None,
        propagation: Propagation::Background,
    };
    let mut stamp = Stamp {
        now_ms,
        bits: &mut || 0,
    };
    for op in commit(
        &Kinds::built_in(),
        snapshot,
        vec![write],
        FIELD_MANAGER,
        &mut stamp,
    )
    .ops
    {
        placement.ops.push(with_reason(op, now_ms));
    }
    let message = format!(
        "Preempted by pod {} on node {}",
        pod.uid,
        node.unwrap_or_default()
    );
    placement
        .notes
        .push(note(&object, false, "Preempted", message));
}

/// Notes on the marked pod why it goes.
fn with_reason(op: Op, now_ms: u64) -> Op {
    let Op::Update {
        key,
        pre,
        header,
        bytes,
    } = op
    else {
        return op;
    };
    let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else {
        return Op::Update {
            key,
            pre,
            header,
            bytes,
        };
    };
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": "default-scheduler: preempting to accommodate a higher priority pod",
    });
    let old = value.clone();
    set_condition(&mut value, condition, now_ms);
    note_status(&old, &mut value, now_ms);
    Op::Update {
        key,
        pre,
        header,
        bytes: stored::canonical(value),
    }
}

/// Notes what of the status is the scheduler's now.
fn note_status(old: &Value, new: &mut Value, now_ms: u64) {
    let now = time::rfc3339(now_ms);
    if let Some(kind) = by_resource("pods") {
        let writer = Writer::new(kind, FIELD_MANAGER, &now).to(Some(Subresource::Status));
        writer.update(Some(old), new);
    }
}

fn conditions(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["status"]["conditions"].as_array().into_iter().flatten()
}

fn set_condition(pod: &mut Value, mut condition: Value, now_ms: u64) {
    let old = conditions(pod).find(|old| old["type"] == condition["type"]);
    let since = old
        .filter(|old| old["status"] == condition["status"])
        .map(|old| old["lastTransitionTime"].clone());
    condition["lastTransitionTime"] = since.unwrap_or_else(|| json!(time::rfc3339(now_ms)));
    condition["lastProbeTime"] = Value::Null;
    let list = &mut pod["status"]["conditions"];
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else {
        return;
    };
    match list.iter_mut().find(|old| old["type"] == condition["type"]) {
        Some(old) => *old = condition,
        None => list.push(condition),
    }
}

#[cfg(test)]
mod tests;
