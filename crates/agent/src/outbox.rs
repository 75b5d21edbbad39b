//! What the node has to tell: pod statuses, node status, events.
//!
//! A status replaces an unsent older one of the same pod. What was sent is kept until the server says that it is
//! committed, and sent again in the next session if it does not. Events are best effort: the oldest are dropped
//! when too many wait.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use kontiki_proto::node::{PodStatusUpdate, StatusBatch};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Events waiting.
const EVENTS: usize = 512;
/// Pods in one batch.
const BATCH_PODS: usize = 200;
/// Events in one batch.
const BATCH_EVENTS: usize = 100;
/// Batches sent and not yet committed.
const BATCHES_IN_FLIGHT: usize = 8;

/// Statuses and events on their way.
#[derive(Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    pods: BTreeMap<String, PodStatusUpdate>,
    node: Option<Bytes>,
    events: VecDeque<Bytes>,
    in_flight: VecDeque<StatusBatch>,
    /// Batches of this session that are committed.
    n_committed: u64,
}

impl Outbox {
    /// A pod's newest status.
    pub fn put_pod(&self, update: PodStatusUpdate) {
        self.inner.lock().pods.insert(update.uid.clone(), update);
        self.changed.notify_one();
    }

    /// The node's newest status.
    pub fn put_node(&self, status_json: Bytes) {
        self.inner.lock().node = Some(status_json);
        self.changed.notify_one();
    }

    /// An event.
    pub fn put_event(&self, json: Bytes) {
        let mut inner = self.inner.lock();
        if inner.events.len() >= EVENTS {
            inner.events.pop_front();
        }
        inner.events.push_back(json);
        drop(inner);
        self.changed.notify_one();
    }

    /// Waits until something is to be sent (or may be: spurious returns are fine).
    pub async fn ready(&self) {
        while !self.sendable() {
            self.changed.notified().await;
        }
    }

    fn sendable(&self) -> bool {
        let inner = self.inner.lock();
        let something = !inner.pods.is_empty() || inner.node.is_some() || !inner.events.is_empty();
        something && inner.in_flight.len() < BATCHES_IN_FLIGHT
    }

    /// The next batch, which stays in flight until it is committed.
    pub fn take(&self) -> Option<StatusBatch> {
        if !self.sendable() {
            return None;
        }
        let mut inner = self.inner.lock();
        let mut pods = Vec::new();
        while pods.len() < BATCH_PODS
            && let Some((_, update)) = inner.pods.pop_first()
        {
            pods.push(update);
        }
        let n_events = inner.events.len().min(BATCH_EVENTS);
        let events_json = inner.events.drain(..n_events).collect();
        let node_status_json = inner.node.take();
        let batch = StatusBatch {
            pods,
            node_status_json,
            events_json,
        };
        inner.in_flight.push_back(batch.clone());
        Some(batch)
    }

    /// The server committed so many batches of this session.
    pub fn committed(&self, n_batches: u64) {
        let mut inner = self.inner.lock();
        while inner.n_committed < n_batches && inner.in_flight.pop_front().is_some() {
            inner.n_committed += 1;
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Everything sent counts as committed.
    #[cfg(test)]
    pub fn restart_for_test(&self) {
        self.inner.lock().in_flight.clear();
    }

    /// A new session begins: what the last one left open goes back, unless it is outdated.
    pub fn restart(&self) {
        let mut inner = self.inner.lock();
        let open: Vec<StatusBatch> = inner.in_flight.drain(..).collect();
        for batch in open.into_iter().rev() {
            for update in batch.pods {
                inner.pods.entry(update.uid.clone()).or_insert(update);
            }
            if inner.node.is_none() {
                inner.node = batch.node_status_json;
            }
            for event in batch.events_json.into_iter().rev() {
                inner.events.push_front(event);
            }
            inner.events.truncate(EVENTS);
        }
        inner.n_committed = 0;
        drop(inner);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(uid: &str, status: &'static str) -> PodStatusUpdate {
        let status_json = Bytes::from_static(status.as_bytes());
        PodStatusUpdate {
            uid: uid.into(),
            status_json,
            ..PodStatusUpdate::default()
        }
    }

    #[test]
    fn newer_statuses_replace_unsent_ones() {
        let outbox = Outbox::default();
        outbox.put_pod(update("a", "1"));
        outbox.put_pod(update("a", "2"));
        assert_eq!(outbox.take().unwrap().pods, [update("a", "2")]);
        assert!(outbox.take().is_none());
    }

    #[test]
    fn uncommitted_batches_are_sent_again_unless_outdated() {
        let outbox = Outbox::default();
        for (uid, status) in [("a", "1"), ("b", "1"), ("c", "1")] {
            outbox.put_pod(update(uid, status));
            outbox.take().unwrap();
        }
        outbox.committed(1);
        outbox.put_pod(update("b", "2"));
        outbox.restart();
        assert_eq!(
            outbox.take().unwrap().pods,
            [update("b", "2"), update("c", "1")]
        );
        outbox.committed(1);
        outbox.restart();
        assert!(outbox.take().is_none());
    }

    #[test]
    fn only_so_many_batches_are_in_flight() {
        let outbox = Outbox::default();
        for n in 0..20u64 {
            outbox.put_pod(update(&n.to_string(), "1"));
            let expected = n < BATCHES_IN_FLIGHT as u64;
            assert_eq!(outbox.take().is_some(), expected, "batch {n}");
        }
    }
}
