//! Statuses on their way from an agent to the log: merged while a commit is under way, so that what waits is bounded
//! by the node's pods and never by the agent's speed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_base::limits;
use kontiki_base::metrics::METRICS;
use kontiki_consensus::Lane;
use kontiki_proto::node::{PodStatusUpdate, StatusBatch};
use kontiki_state::{Op, OpResult};

use crate::dispatcher::Inner;
use crate::write::backoff;
use crate::{events, node_object, pod_status};

/// Pods that may wait; a node runs far fewer.
const WAITING_PODS: usize = 4096;
/// Events that may wait; further ones are dropped.
const WAITING_EVENTS: usize = 256;

/// What is to be committed for one node.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pods: BTreeMap<String, PodStatusUpdate>,
    node_status: Option<Bytes>,
    events: Vec<Bytes>,
    n_batches: u64,
}

impl Waiting {
    /// Adds an agent's batch: the newest word on each pod counts, and an end stays an end. False when it is too much.
    pub(crate) fn add(&mut self, batch: StatusBatch) -> bool {
        METRICS.statuses_total.add(batch.pods.len() as u64);
        for mut update in batch.pods {
            if let Some(before) = self.pods.get(&update.uid) {
                update.terminated |= before.terminated;
            }
            self.pods.insert(update.uid.clone(), update);
        }
        if batch.node_status_json.is_some() {
            self.node_status = batch.node_status_json;
        }
        let room = WAITING_EVENTS - self.events.len().min(WAITING_EVENTS);
        self.events.extend(batch.events_json.into_iter().take(room));
        self.n_batches += 1;
        self.pods.len() <= WAITING_PODS
    }

    /// Asks for the node's status to be proposed again.
    pub(crate) fn add_node_status(&mut self, status: Bytes) {
        self.node_status.get_or_insert(status);
    }

    /// Takes all that waits; none when nothing does.
    pub(crate) fn take(&mut self) -> Option<Self> {
        let idle = self.n_batches == 0 && self.node_status.is_none();
        (!idle).then(|| std::mem::take(self))
    }
}

/// Commits what waited and returns how many of the agent's batches that was; none when this replica stops.
pub(crate) async fn commit(inner: Arc<Inner>, node: Arc<str>, mut waiting: Waiting) -> Option<u64> {
    events::record(&inner, &node, &waiting.events).await;
    let mut backoff = backoff();
    while !waiting.pods.is_empty() || waiting.node_status.is_some() {
        let (ops, asked) = operations(&inner, &node, &mut waiting);
        if ops.is_empty() {
            continue;
        }
        let results = inner.propose(ops, Lane::System).await?;
        debug_assert_eq!(results.len(), asked.len());
        let lost = settle(&results, asked, &mut waiting);
        if lost {
            let pause = backoff.next_delay(&*inner.options.random);
            tokio::time::sleep(pause).await;
        }
    }
    Some(waiting.n_batches)
}

/// What an operation was for.
#[derive(Clone)]
enum Asked {
    Pod(PodStatusUpdate),
    Node(Bytes),
}

/// Takes from `waiting` as much as one entry should hold. What needs no operation is dropped.
fn operations(inner: &Inner, node: &str, waiting: &mut Waiting) -> (Vec<Op>, Vec<Asked>) {
    let snapshot = inner.backend.store().snapshot();
    let now_unix_ms = inner.now_unix_ms();
    let (mut ops, mut asked) = (Vec::new(), Vec::new());
    let mut size_bytes = 0;
    if let Some(status) = waiting.node_status.take() {
        let op = node_object::status_op(&snapshot, node, &status, now_unix_ms);
        asked.extend(op.iter().map(|_| Asked::Node(status.clone())));
        ops.extend(op);
    }
    while size_bytes < limits::ENTRY_SOFT_BYTES
        && let Some((_, update)) = waiting.pods.pop_first()
    {
        let of_pod = pod_status::ops(&snapshot, node, &update, now_unix_ms);
        size_bytes += of_pod.iter().map(Op::size_bytes).sum::<usize>();
        asked.extend(of_pod.iter().map(|_| Asked::Pod(update.clone())));
        ops.extend(of_pod);
    }
    (ops, asked)
}

/// Puts back what lost a race against another writer; true when something did.
fn settle(results: &[OpResult], asked: Vec<Asked>, waiting: &mut Waiting) -> bool {
    let mut lost = false;
    for (result, asked) in results.iter().zip(asked) {
        let OpResult::Conflict {
            uid_mismatch: false,
            ..
        } = result
        else {
            continue;
        };
        lost = true;
        match asked {
            Asked::Pod(update) => drop(waiting.pods.insert(update.uid.clone(), update)),
            Asked::Node(status) => waiting.node_status = Some(status),
        }
    }
    lost
}
