//! When nodes were last heard of: in memory only. Followers tell the leader about once a second, as ages, so that
//! clocks need not agree.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use kontiki_base::limits;
use kontiki_base::metrics::METRICS;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_consensus::{CallError, CallHandler, CallStream, ReplicaId};
use parking_lot::{Mutex, RwLock};

use crate::dispatcher::Inner;

const METHOD: &str = "heartbeats";
const REPORT_PERIOD: Duration = Duration::from_secs(1);
/// Nodes in one report, so that it stays a small message.
const NODES_PER_REPORT: usize = 50_000;
/// What is remembered of nodes that do not come back, once there are too many.
const FORGET_MS: u64 = 3_600_000;

#[derive(Default)]
pub(crate) struct Heartbeats {
    last: RwLock<HashMap<Arc<str>, u64>>,
    /// Heard here since the last report.
    unreported: Mutex<HashSet<Arc<str>>>,
}

impl Heartbeats {
    /// A node was heard here.
    pub(crate) fn beat(&self, node: &Arc<str>, now_unix_ms: u64) {
        METRICS.heartbeats_total.inc();
        self.note(node, now_unix_ms);
        self.unreported.lock().insert(Arc::clone(node));
    }

    pub(crate) fn last(&self, node: &str) -> Option<u64> {
        self.last.read().get(node).copied()
    }

    fn note(&self, node: &Arc<str>, at_unix_ms: u64) {
        let mut last = self.last.write();
        let known = last.get(node).copied().unwrap_or(0);
        last.insert(Arc::clone(node), known.max(at_unix_ms));
        if last.len() > 2 * limits::SESSIONS {
            last.retain(|_, heard| *heard + FORGET_MS > at_unix_ms);
        }
    }

    /// Nodes to report, with the milliseconds since they were heard.
    fn take_report(&self, now_unix_ms: u64) -> Vec<(Arc<str>, u64)> {
        let mut unreported = self.unreported.lock();
        let nodes: Vec<Arc<str>> = unreported.iter().take(NODES_PER_REPORT).cloned().collect();
        for node in &nodes {
            unreported.remove(node);
        }
        drop(unreported);
        let last = self.last.read();
        let age = |node: Arc<str>| {
            let heard = last.get(&node).copied().unwrap_or(0);
            (node, now_unix_ms.saturating_sub(heard))
        };
        nodes.into_iter().map(age).collect()
    }

    /// Takes over another replica's report.
    fn merge_report(&self, report: &[(Arc<str>, u64)], now_unix_ms: u64) {
        for (node, age_ms) in report {
            self.note(node, now_unix_ms.saturating_sub(*age_ms));
        }
    }

    fn report_again(&self, nodes: impl IntoIterator<Item = Arc<str>>) {
        self.unreported.lock().extend(nodes);
    }

    fn nothing_to_report(&self) {
        self.unreported.lock().clear();
    }
}

/// Serves reports and sends them.
pub(crate) fn start(inner: &Arc<Inner>) {
    inner
        .backend
        .handle_calls(METHOD, Arc::new(Handler(Arc::downgrade(inner))));
    spawn(TaskKind::Housekeeping, report_loop(Arc::downgrade(inner)));
}

async fn report_loop(weak: Weak<Inner>) {
    let mut told: Option<ReplicaId> = None;
    loop {
        tokio::time::sleep(REPORT_PERIOD).await;
        let Some(inner) = weak.upgrade() else { return };
        let leader = inner.backend.leadership().borrow().leader;
        if leader != told {
            // A new leader knows nothing yet: it hears of every session at once.
            inner.heartbeats.report_again(inner.sessions.nodes());
            told = leader;
        }
        match leader {
            Some(leader) if leader == inner.backend.id() => inner.heartbeats.nothing_to_report(),
            Some(leader) => report_to(&inner, leader).await,
            None => {}
        }
    }
}

pub(crate) async fn report_to(inner: &Inner, leader: ReplicaId) {
    let report = inner.heartbeats.take_report(inner.now_unix_ms());
    if report.is_empty() {
        return;
    }
    let payload = Bytes::from(serde_json::to_vec(&report).unwrap_or_default());
    if let Err(error) = inner.backend.call(leader, METHOD, payload).await {
        tracing::debug!(leader, %error, "heartbeats are not reported; they will be");
        inner
            .heartbeats
            .report_again(report.into_iter().map(|(node, _)| node));
    }
}

struct Handler(Weak<Inner>);

impl CallHandler for Handler {
    fn call(
        &self,
        from: ReplicaId,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<CallStream, CallError>> {
        let inner = self.0.upgrade();
        Box::pin(async move {
            let inner = inner.ok_or_else(|| CallError::Refused("stopping".into()))?;
            let report: Vec<(Arc<str>, u64)> = serde_json::from_slice(&payload)
                .map_err(|error| CallError::Refused(format!("report of {from}: {error}")))?;
            inner.heartbeats.merge_report(&report, inner.now_unix_ms());
            Ok(futures::stream::empty().boxed())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_carry_ages_and_never_take_a_node_back() {
        let (follower, leader) = (Heartbeats::default(), Heartbeats::default());
        let node: Arc<str> = Arc::from("n1");
        follower.beat(&node, 1_000);
        let report = follower.take_report(1_250);
        assert_eq!(report, [(Arc::clone(&node), 250)]);
        assert!(follower.take_report(1_300).is_empty());
        assert_eq!(leader.last("n1"), None, "unknown is not long ago");
        leader.merge_report(&report, 9_000);
        assert_eq!(leader.last("n1"), Some(8_750));
        leader.merge_report(&[(node, 5_000)], 9_000);
        assert_eq!(leader.last("n1"), Some(8_750));
    }
}
