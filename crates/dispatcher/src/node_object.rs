//! A node's own object: made at its first session, its status kept as the agent reports it.
//!
//! An agent describes its machine and no more: spec, taints, owners and reserved labels are not its to set.

use std::convert::Infallible;
use std::net::IpAddr;

use bytes::Bytes;
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use kontiki_api::meta::metadata_mut;
use kontiki_api::time;
use kontiki_base::limits;
use kontiki_consensus::Lane;
use kontiki_proto::node::Hello;
use kontiki_state::{Object, Op, OpResult, Snapshot};
use serde_json::{Map, Value, json};
use tonic::Status;

use crate::dispatcher::Inner;
use crate::pod_status::merged_conditions;
use crate::write::{create, kind, new_uid, status_writer, update, writer};

/// Labels in Kubernetes' own domains that a node may give itself (upstream `kubeletapis`).
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const OWN_LABEL_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Creates the node's object or brings it up to date.
pub(crate) async fn register(inner: &Inner, node: &str, hello: &Hello) -> Result<(), Status> {
    let sent: Node = serde_json::from_slice(&hello.node_json)
        .map_err(|error| Status::invalid_argument(format!("node_json is no v1.Node: {error}")))?;
    let labels = sent.metadata.labels.unwrap_or_default().into_iter();
    let labels: Map<String, Value> = labels
        .filter(|(name, _)| may_set(name))
        .map(|(k, v)| (k, v.into()))
        .collect();
    let status = serde_json::to_value(sent.status.unwrap_or_default())
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    for _ in 0..limits::UPDATE_RETRIES {
        let snapshot = inner.backend.store().snapshot();
        let op = match snapshot.find("nodes", "", node) {
            None => new_node(inner, node, &labels, &status),
            Some(old) => match changed_node(&old, &labels, &status, inner.now_unix_ms()) {
                Some(op) => op,
                None => return Ok(()),
            },
        };
        let results = inner.propose(vec![op], Lane::System).await;
        match results.as_deref() {
            Some([OpResult::Done { .. }]) => return Ok(()),
            Some(_) => {}
            None => return Err(Status::unavailable("this replica is stopping")),
        }
    }
    Err(Status::aborted(format!(
        "node {node:?} is changed by others all the time"
    )))
}

/// The update that a reported status asks for; none when it is no news.
pub(crate) fn status_op(
    snapshot: &Snapshot,
    node: &str,
    status_json: &Bytes,
    now_unix_ms: u64,
) -> Option<Op> {
    let old = snapshot.find("nodes", "", node)?;
    let sent: NodeStatus = serde_json::from_slice(status_json)
        .inspect_err(|error| tracing::warn!(node, %error, "node status is malformed"))
        .ok()?;
    changed_node(
        &old,
        &Map::new(),
        &serde_json::to_value(sent).ok()?,
        now_unix_ms,
    )
}

fn new_node(inner: &Inner, node: &str, labels: &Map<String, Value>, status: &Value) -> Op {
    let now = time::rfc3339(inner.now_unix_ms());
    let mut value = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node,
            "uid": new_uid(&*inner.options.random),
            "creationTimestamp": now,
            "labels": labels,
        },
        "spec": {},
    });
    value["status"] = merged_status(&Value::Null, status, &now);
    writer(kind("nodes"), &now).update(None, &mut value);
    create(kind("nodes"), "", node, value)
}

fn changed_node(
    old: &Object,
    labels: &Map<String, Value>,
    status: &Value,
    now_unix_ms: u64,
) -> Option<Op> {
    let before = old.value();
    let mut new = before.clone();
    if !labels.is_empty() {
        let merged = metadata_mut(&mut new)
            .entry("labels")
            .or_insert_with(|| json!({}));
        for (name, value) in labels {
            merged[name] = value.clone();
        }
    }
    let now = time::rfc3339(now_unix_ms);
    new["status"] = merged_status(&before["status"], status, &now);
    if same_but_heartbeat(&new, &before) {
        return None;
    }
    // Labels too come by way of the status, which lets a node set both, as a kubelet's do.
    status_writer(kind("nodes"), &now).update(Some(&before), &mut new);
    Some(update(kind("nodes"), old, new))
}

/// The agent's fields over the old ones.
fn merged_status(old: &Value, sent: &Value, now: &str) -> Value {
    let mut merged = old.as_object().cloned().unwrap_or_default();
    for (field, value) in sent.as_object().into_iter().flatten() {
        merged.insert(field.clone(), value.clone());
    }
    if let Some(Value::Array(addresses)) = merged.get_mut("addresses") {
        addresses.retain(|entry| is_reachable(entry["address"].as_str().unwrap_or_default()));
    }
    let sent = sent.get("conditions").cloned().unwrap_or_default();
    let mut conditions = merged_conditions(&old["conditions"], sent);
    for condition in &mut conditions {
        for field in ["lastTransitionTime", "lastHeartbeatTime"] {
            if condition[field].is_null() {
                condition[field] = now.into();
            }
        }
    }
    merged.insert("conditions".to_owned(), conditions.into());
    merged.into()
}

/// Heartbeat times live in memory: alone they are not worth a proposal.
fn same_but_heartbeat(new: &Value, old: &Value) -> bool {
    let bare = |node: &Value| {
        let mut node = node.clone();
        let conditions = node
            .pointer_mut("/status/conditions")
            .and_then(Value::as_array_mut);
        for condition in conditions
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            condition.remove("lastHeartbeatTime");
        }
        node
    };
    bare(new) == bare(old)
}

fn may_set(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| {
        domain
            .strip_suffix(parent)
            .is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
    };
    let reserved = within("kubernetes.io") || within("k8s.io");
    !reserved || OWN_LABELS.contains(&label) || OWN_LABEL_DOMAINS.iter().any(|own| within(own))
}

/// Whether others may be sent to this address: never to themselves, nor to a link's own services.
fn is_reachable(address: &str) -> bool {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            !(ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast())
        }
        Ok(IpAddr::V6(ip)) => {
            let link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
            !(ip.is_loopback() || link_local || ip.is_unspecified() || ip.is_multicast())
        }
        Err(_) => !address.is_empty(),
    }
}

struct Ready(String);

/// Whether the store's word on the node's readiness differs from what its agent last said: then the agent's word is
/// proposed again, for instance after the node was thought lost.
pub(crate) fn readiness_differs(node: &Object, status_json: &[u8]) -> bool {
    let of_store = node.project(|node| Ok::<_, Infallible>(Ready(ready(&node.value()["status"]))));
    let of_agent = ready(&serde_json::from_slice(status_json).unwrap_or_default());
    match of_store {
        Ok(of_store) => !of_agent.is_empty() && of_store.0 != of_agent,
        Err(never) => match never {},
    }
}

fn ready(status: &Value) -> String {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    ready
        .next()
        .and_then(|ready| ready["status"].as_str())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_labels_and_unreachable_addresses_are_not_a_nodes_to_set() {
        for label in [
            "zone",
            "example.com/disk",
            "kubernetes.io/os",
            "node.kubernetes.io/x",
        ] {
            assert!(may_set(label), "{label}");
        }
        let reserved = [
            "node-role.kubernetes.io/master",
            "node-restriction.kubernetes.io/a",
            "k8s.io/b",
        ];
        for label in reserved {
            assert!(!may_set(label), "{label}");
        }
        assert!(is_reachable("10.0.0.4") && is_reachable("worker-1"));
        for address in [
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "",
        ] {
            assert!(!is_reachable(address), "{address}");
        }
    }

    #[test]
    fn a_status_without_news_changes_nothing() {
        let condition = |status: &str, at: &str| {
            json!({"conditions": [{"type": "Ready", "status": status,
                "lastHeartbeatTime": at, "lastTransitionTime": at}]})
        };
        let old = merged_status(&Value::Null, &condition("True", "t1"), "t1");
        let node = |status: &Value| json!({"metadata": {"name": "n1"}, "status": status});
        let same = merged_status(&old, &condition("True", "t2"), "t2");
        assert!(same_but_heartbeat(&node(&same), &node(&old)));
        assert_eq!(same["conditions"][0]["lastTransitionTime"], "t1");
        let lost = merged_status(&old, &condition("False", "t3"), "t3");
        assert!(!same_but_heartbeat(&node(&lost), &node(&old)));
        assert_eq!(lost["conditions"][0]["lastTransitionTime"], "t3");
    }
}
