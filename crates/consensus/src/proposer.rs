//! The way of a proposal: lane → batch → log. Lanes fill on every replica, batches leave only where it leads.
//!
//! A proposal is bound to the term in which it was accepted: it enters the log in that term or never. So whoever has
//! applied an entry of a later term without seeing the proposal knows that it is gone for good and may propose it
//! again (`consensus.rs` does).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kontiki_base::limits;
use kontiki_base::metrics::METRICS;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_state::{Command, Proposal, Term};
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::Lane;
use crate::types::{EntryData, Raft};

/// Batches on their way at once: one is synced while the next one fills.
const BATCHES_IN_FLIGHT: usize = 2;
/// Proposals of one batch.
const BATCH_PROPOSALS: usize = 4096;
/// Each lane's share of a batch while others wait, in eighths.
const SHARES: [usize; 3] = [5, 2, 1];
/// When a client may try a full lane again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What became of a proposal on its way into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Committed, and applied by the leader.
    Committed,
    /// Surely not in the log, now or later.
    NotProposed,
    /// Perhaps in the log.
    Unknown,
    /// Too many wait.
    LaneFull {
        /// When to try again.
        retry_after_ms: u32,
    },
    /// The leader's disk is nearly full.
    DiskFull,
}

struct Item {
    proposal: Proposal,
    size_bytes: usize,
    term: Term,
    outcome: oneshot::Sender<Outcome>,
}

/// Proposals that wait.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: Mutex<[Queue; 3]>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
}

impl Lanes {
    /// Queues a proposal for the log of a term.
    pub(crate) fn push(
        &self,
        lane: Lane,
        term: Term,
        proposal: Proposal,
    ) -> Result<oneshot::Receiver<Outcome>, Outcome> {
        let size_bytes = proposal.size_bytes();
        let mut lanes = self.lanes.lock();
        let queue = &mut lanes[lane as usize];
        if queue.items.len() >= limits::LANE_PROPOSALS
            || queue.bytes + size_bytes > limits::LANE_BYTES
        {
            METRICS.proposals_refused_total.inc();
            let retry_after_ms = RETRY_AFTER.as_millis() as u32;
            return Err(Outcome::LaneFull { retry_after_ms });
        }
        let (outcome, receiver) = oneshot::channel();
        queue.bytes += size_bytes;
        queue.items.push_back(Item {
            proposal,
            size_bytes,
            term,
            outcome,
        });
        drop(lanes);
        self.filled.notify_one();
        Ok(receiver)
    }

    /// The next batch: first each lane's share, then whatever fits, most urgent first.
    fn take(&self) -> Vec<Item> {
        let mut lanes = self.lanes.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (queue, share) in lanes.iter_mut().zip(SHARES) {
            let limit = bytes + limits::ENTRY_SOFT_BYTES * share / 8;
            queue.take(&mut batch, &mut bytes, limit);
        }
        for queue in lanes.iter_mut() {
            queue.take(&mut batch, &mut bytes, limits::ENTRY_SOFT_BYTES);
        }
        batch
    }
}

impl Queue {
    fn take(&mut self, batch: &mut Vec<Item>, bytes: &mut usize, limit: usize) {
        while *bytes < limit && batch.len() < BATCH_PROPOSALS {
            let Some(item) = self.items.pop_front() else {
                return;
            };
            self.bytes -= item.size_bytes;
            // A caller that gave up does not burden the log; its proposal was never in it.
            if item.outcome.is_closed() {
                continue;
            }
            *bytes += item.size_bytes;
            batch.push(item);
        }
    }
}

/// Moves proposals from lanes into the log.
pub(crate) async fn run(lanes: Arc<Lanes>, raft: Raft) {
    let in_flight = Arc::new(Semaphore::new(BATCHES_IN_FLIGHT));
    loop {
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else {
            return;
        };
        let batch = loop {
            let batch = lanes.take();
            if !batch.is_empty() {
                break batch;
            }
            lanes.filled.notified().await;
        };
        let outcome = submit(&raft, batch).await;
        spawn(TaskKind::Proposer, async move {
            outcome.await;
            drop(permit);
        });
    }
}

/// Hands a batch to Raft. The returned future tells everyone in it what became of it.
async fn submit(raft: &Raft, batch: Vec<Item>) -> impl Future<Output = ()> + Send + 'static {
    let term = batch.iter().map(|item| item.term).max().unwrap_or_default();
    let (mut proposals, mut waiting) = (Vec::new(), Vec::new());
    for item in batch {
        if item.term == term {
            proposals.push(item.proposal);
            waiting.push(item.outcome);
        } else {
            let _ = item.outcome.send(Outcome::NotProposed);
        }
    }
    let data = EntryData(Command::Batch { proposals }.encode().into());
    let (responder, result) = ProgressResponder::complete_only();
    let write = raft.write(data).responder(responder).with_leader(term);
    let submitted = write.await;
    async move {
        let outcome = match submitted {
            Ok(()) => match result.await {
                Ok(Ok(_)) => Outcome::Committed,
                Ok(Err(ClientWriteError::ForwardToLeader(_))) => Outcome::NotProposed,
                Ok(Err(_)) | Err(_) => Outcome::Unknown,
            },
            Err(_) => Outcome::Unknown,
        };
        if outcome == Outcome::Committed {
            METRICS.proposals_total.add(waiting.len() as u64);
        }
        for sender in waiting {
            let _ = sender.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use kontiki_state::{Key, Op, Precondition};

    use super::*;

    fn proposal(resource: &str, bytes: usize) -> Proposal {
        let key = Key::new(resource, "", "x".repeat(bytes));
        Proposal::batch(vec![Op::Delete {
            key,
            pre: Precondition::NONE,
        }])
    }

    #[test]
    fn urgent_lanes_go_first_but_starve_nobody() {
        let lanes = Lanes::default();
        let mut outcomes = Vec::new();
        for lane in [Lane::Events, Lane::User, Lane::System] {
            for _ in 0..4000 {
                outcomes.push(
                    lanes
                        .push(lane, 1, proposal(&format!("{lane:?}"), 1000))
                        .unwrap(),
                );
            }
        }
        let batch = lanes.take();
        let count = |lane: Lane| {
            let name = format!("{lane:?}");
            batch
                .iter()
                .filter(|item| *item.proposal.ops[0].key().resource == *name)
                .count()
        };
        let counts = [count(Lane::System), count(Lane::User), count(Lane::Events)];
        assert!(
            counts[0] > counts[1] && counts[1] > counts[2] && counts[2] > 0,
            "{counts:?}"
        );
        let bytes: usize = batch.iter().map(|item| item.size_bytes).sum();
        let soft = limits::ENTRY_SOFT_BYTES;
        assert!((soft..soft + 2000).contains(&bytes));
    }

    #[test]
    fn a_lane_is_full_by_count_and_by_bytes_and_the_others_are_not() {
        let lanes = Lanes::default();
        let mut outcomes = Vec::new();
        for _ in 0..limits::LANE_PROPOSALS {
            outcomes.push(lanes.push(Lane::Events, 1, proposal("e", 1)).unwrap());
        }
        let refused = lanes.push(Lane::Events, 1, proposal("e", 1)).unwrap_err();
        assert!(matches!(refused, Outcome::LaneFull { .. }));
        for _ in 0..limits::LANE_BYTES / (1 << 20) - 1 {
            outcomes.push(lanes.push(Lane::User, 1, proposal("u", 1 << 20)).unwrap());
        }
        assert!(lanes.push(Lane::User, 1, proposal("u", 1 << 20)).is_err());
        assert!(lanes.push(Lane::System, 1, proposal("s", 1)).is_ok());
        drop(outcomes);
        assert!(lanes.take().is_empty(), "nobody waits for these any more");
    }
}
