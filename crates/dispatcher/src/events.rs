//! Events that agents report, as core/v1 Event objects. The first to be dropped when there is too much to do.

use kontiki_api::k8s_openapi::api::core::v1::Event;
use kontiki_api::time;
use kontiki_consensus::Lane;
use kontiki_state::{Op, Proposal};
use serde_json::{Value, json};

use crate::dispatcher::Inner;
use crate::write::{create, kind, new_uid};

/// Proposes events once; whoever is overloaded does without.
pub(crate) async fn record(inner: &Inner, node: &str, events: &[bytes::Bytes]) {
    let ops: Vec<Op> = events
        .iter()
        .filter_map(|event| op(inner, node, event))
        .collect();
    if ops.is_empty() {
        return;
    }
    let proposal = Proposal {
        id: inner.options.random.bits(),
        ..Proposal::batch(ops)
    };
    if let Err(error) = inner.backend.propose(proposal, Lane::Events).await {
        tracing::debug!(node, %error, "events are dropped");
    }
}

fn op(inner: &Inner, node: &str, sent: &[u8]) -> Option<Op> {
    let event: Event = serde_json::from_slice(sent)
        .inspect_err(|error| tracing::warn!(node, %error, "event is malformed"))
        .ok()?;
    let about = &event.involved_object;
    let namespace = about
        .namespace
        .clone()
        .filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let home = inner
        .backend
        .store()
        .snapshot()
        .find("namespaces", "", &namespace)?;
    if home.header.deleting {
        return None;
    }
    let name = format!(
        "{}.{:016x}",
        about.name.as_deref().unwrap_or(node),
        inner.options.random.bits()
    );
    let mut value = serde_json::to_value(&event).ok()?;
    let now = time::rfc3339(inner.now_unix_ms());
    value["metadata"] = json!({
        "name": name,
        "namespace": namespace,
        "uid": new_uid(&*inner.options.random),
        "creationTimestamp": now,
    });
    value["source"]["host"] = node.into();
    for field in ["firstTimestamp", "lastTimestamp"] {
        if value[field].is_null() {
            value[field] = Value::from(now.clone());
        }
    }
    Some(create(kind("events"), &namespace, &name, value))
}
