//! Events that agents report, as core/v1 Event objects. The first to be dropped when there is too much to do.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use kontiki_api::k8s_openapi::api::core::v1::Event;
use kontiki_api::time;
use kontiki_consensus::Lane;
use kontiki_state::{Op, Proposal};
use serde_json::{Value, json};

use crate::dispatcher::Inner;
use crate::write::{create, kind, new_uid, update, writer};

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
        fingerprint(&event)
    );
    let kind = kind("events");
    let now = time::rfc3339(inner.now_unix_ms());
    let snapshot = inner.backend.store().snapshot();
    if let Some(known) = snapshot.find(kind.resource(), &namespace, &name) {
        let old = known.value();
        let mut value = old.clone();
        for field in ["count", "lastTimestamp"] {
            value[field] = serde_json::to_value(&event).ok()?[field].take();
        }
        writer(kind, &now).update(Some(&old), &mut value);
        return Some(update(kind, &known, value));
    }
    let mut value = serde_json::to_value(&event).ok()?;
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
    writer(kind, &now).update(None, &mut value);
    Some(create(kind, &namespace, &name, value))
}

/// The same for each repetition that an agent counts, so that these update one object.
fn fingerprint(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    let about = &event.involved_object;
    (&about.uid, &about.field_path).hash(&mut hasher);
    (&event.type_, &event.reason, &event.message).hash(&mut hasher);
    let first = event
        .first_timestamp
        .as_ref()
        .map(|time| time.0.to_string());
    first.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_share_a_name_and_later_series_do_not() {
        let event = |first: &str, count: u32, message: &str| -> u64 {
            let value = json!({"metadata": {}, "involvedObject": {"uid": "u"}, "message": message,
                "firstTimestamp": first, "lastTimestamp": first, "count": count});
            fingerprint(&serde_json::from_value(value).unwrap())
        };
        let one = event("2026-01-01T00:00:00Z", 1, "back-off");
        assert_eq!(event("2026-01-01T00:00:00Z", 2, "back-off"), one);
        assert_ne!(event("2026-01-01T00:00:00Z", 2, "pulled"), one);
        assert_ne!(event("2026-01-01T01:00:00Z", 1, "back-off"), one);
    }
}
