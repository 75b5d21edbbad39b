//! Events about pods and the node, for people who ask why.
//!
//! An event that repeats within ten minutes is sent with a growing count at most at doubling counts, so that a
//! crash loop does not fill the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kontiki_api::time::rfc3339;
use kontiki_base::clock::SharedClock;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::outbox::Outbox;

/// Different events remembered for counting.
const REMEMBERED: usize = 1024;
/// After so long an event is a new one.
const FORGET_MS: u64 = 600_000;

/// Writes events to the outbox.
pub struct Recorder {
    node_name: String,
    clock: SharedClock,
    outbox: Arc<Outbox>,
    seen: Mutex<BTreeMap<(String, String, String), Seen>>,
}

#[derive(Clone, Copy)]
struct Seen {
    first_ms: u64,
    last_ms: u64,
    count: u64,
}

impl Recorder {
    /// A recorder for a node.
    pub fn new(node_name: String, clock: SharedClock, outbox: Arc<Outbox>) -> Self {
        Self {
            node_name,
            clock,
            outbox,
            seen: Mutex::default(),
        }
    }

    /// `Normal` about a pod, or one of its containers.
    pub fn normal(&self, pod: &Pod, container: Option<&str>, reason: &str, message: &str) {
        self.record(pod, container, "Normal", reason, message);
    }

    /// `Warning` about a pod, or one of its containers.
    pub fn warning(&self, pod: &Pod, container: Option<&str>, reason: &str, message: &str) {
        self.record(pod, container, "Warning", reason, message);
    }

    fn record(&self, pod: &Pod, container: Option<&str>, kind: &str, reason: &str, message: &str) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let mut object = json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": namespace,
            "name": pod.metadata.name,
            "uid": uid,
        });
        if let Some(container) = container {
            object["fieldPath"] = field_path(pod, container).into();
        }
        let now_ms = self.clock.unix_ms();
        let Some(seen) = self.count((uid, reason.to_owned(), message.to_owned()), now_ms) else {
            return;
        };
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "namespace": namespace },
            "involvedObject": object,
            "type": kind,
            "reason": reason,
            "message": message,
            "source": { "component": "kubelet", "host": self.node_name },
            "reportingComponent": "kubelet",
            "reportingInstance": self.node_name,
            "firstTimestamp": rfc3339(seen.first_ms),
            "lastTimestamp": rfc3339(seen.last_ms),
            "count": seen.count,
        });
        self.send(&event);
    }

    fn send(&self, event: &Value) {
        self.outbox.put_event(Bytes::from(event.to_string()));
    }

    /// Counts an event; `None` when this occurrence is not worth sending.
    fn count(&self, key: (String, String, String), now_ms: u64) -> Option<Seen> {
        let mut all = self.seen.lock();
        if all.len() >= REMEMBERED {
            all.retain(|_, seen| now_ms.saturating_sub(seen.last_ms) < FORGET_MS);
        }
        if all.len() >= REMEMBERED {
            all.clear();
        }
        let fresh = Seen {
            first_ms: now_ms,
            last_ms: now_ms,
            count: 0,
        };
        let seen = all.entry(key).or_insert(fresh);
        if now_ms.saturating_sub(seen.last_ms) >= FORGET_MS {
            *seen = fresh;
        }
        seen.count += 1;
        seen.last_ms = now_ms;
        seen.count.is_power_of_two().then_some(*seen)
    }
}

/// `spec.containers{web}`, as upstream writes it.
fn field_path(pod: &Pod, container: &str) -> String {
    let spec = pod.spec.as_ref();
    let inits = spec.and_then(|spec| spec.init_containers.as_ref());
    let init = inits
        .into_iter()
        .flatten()
        .any(|init| init.name == container);
    let list = if init { "initContainers" } else { "containers" };
    format!("spec.{list}{{{container}}}")
}

#[cfg(test)]
mod tests {
    use kontiki_base::clock::ManualClock;

    use super::*;

    #[test]
    fn repeated_events_are_sent_at_doubling_counts() {
        let outbox = Arc::new(Outbox::default());
        let clock = ManualClock::at(1_000_000);
        let recorder = Recorder::new("n".into(), clock, Arc::clone(&outbox));
        for _ in 0..9 {
            recorder.warning(&Pod::default(), None, "BackOff", "again");
        }
        let sent = outbox.take().unwrap().events_json;
        let counts: Vec<u64> = sent
            .iter()
            .map(|json| {
                serde_json::from_slice::<Value>(json).unwrap()["count"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        assert_eq!(counts, [1, 2, 4, 8]);
    }
}
