//! One replica's parts, and the propose loop that turns outcomes of single attempts into one honest answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kontiki_base::backoff::Backoff;
use kontiki_base::limits;
use kontiki_base::random::SystemRandom;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_state::{OpResult, Proposal, Term};
use kontiki_storage::LogStore;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::machine::{self, Progress, Waiter};
use crate::proposer::{Lanes, Outcome};
use crate::transport::{Peer, Request, RequestKind, Transport, TransportError};
use crate::types::{self, PeerNode, Raft};
use crate::{CallHandler, Config, Lane, Leadership, ProposeError, ReadError, ReplicaId};

/// Delays between attempts to find a leader that takes a request.
const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));

pub(crate) struct Replica {
    pub config: Config,
    pub raft: Raft,
    pub machine: machine::Shared,
    pub log: LogStore,
    pub transport: Arc<dyn Transport>,
    pub lanes: Arc<Lanes>,
    pub leadership: watch::Sender<Leadership>,
    pub calls: RwLock<HashMap<String, Arc<dyn CallHandler>>>,
    pub next_id: AtomicU64,
    pub stopping: watch::Sender<bool>,
    pub disk_full: AtomicBool,
    pub membership_change: tokio::sync::Mutex<()>,
    /// Peers whose connections broke, for `succession`.
    pub broken: mpsc::Sender<ReplicaId>,
}

/// A forwarded proposal.
#[derive(Serialize, Deserialize)]
pub(crate) struct Forward {
    /// Only the leader of this term may take it.
    pub term: Term,
    pub lane: u8,
    /// How long the sender waits.
    pub timeout_ms: u32,
    /// Not `Vec<u8>`, which serde takes byte by byte.
    pub proposal: Bytes,
}

/// How one attempt ended.
enum Attempt {
    Results(Vec<OpResult>),
    /// Surely not proposed by this attempt; another may follow.
    Retry,
    Fail(ProposeError),
}

impl Replica {
    /// Commits a proposal and waits until this replica applied it.
    pub(crate) async fn propose(
        &self,
        mut proposal: Proposal,
        lane: Lane,
    ) -> Result<Vec<OpResult>, ProposeError> {
        proposal.admissible().map_err(|_| ProposeError::TooLarge)?;
        proposal.id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + limits::PROPOSAL_TIMEOUT;
        let mut waiter = self.machine.waiters.register(proposal.id);
        let mut backoff = RETRY;
        loop {
            let Some(leader) = self.await_leader(deadline).await? else {
                return Err(ProposeError::NoLeader);
            };
            match self
                .attempt(leader, &proposal, lane, &mut waiter, deadline)
                .await
            {
                Attempt::Results(results) => return Ok(results),
                Attempt::Fail(error) => return Err(error),
                Attempt::Retry => {
                    self.pause(leader, backoff.next_delay(&SystemRandom)).await;
                }
            }
        }
    }

    /// Waits before the next attempt, but not longer than until somebody else leads.
    async fn pause(&self, (term, _): (Term, ReplicaId), delay: Duration) {
        let mut leadership = self.leadership.subscribe();
        let another = leadership.wait_for(|now| now.leader.is_some() && now.term > term);
        let _ = timeout(delay, another).await;
    }

    /// One attempt with one leader. What it proposed is either applied here or surely gone when it ends with `Retry`.
    async fn attempt(
        &self,
        (term, leader): (Term, ReplicaId),
        proposal: &Proposal,
        lane: Lane,
        waiter: &mut Waiter,
        deadline: Instant,
    ) -> Attempt {
        let mut era = self.machine.era.subscribe();
        let installs = era.borrow().installs;
        // A later term may have been applied already.
        era.mark_changed();
        let send = self.send(term, leader, proposal, lane, deadline);
        tokio::pin!(send);
        let mut outcome = None;
        loop {
            tokio::select! {
                biased;
                results = &mut waiter.receiver => {
                    return results.map_or(Attempt::Fail(ProposeError::Unknown), Attempt::Results);
                }
                sent = &mut send, if outcome.is_none() => match sent {
                    Outcome::NotProposed => return Attempt::Retry,
                    Outcome::LaneFull { retry_after_ms } => {
                        let retry_after = Duration::from_millis(retry_after_ms.into());
                        return Attempt::Fail(ProposeError::LaneFull { retry_after });
                    }
                    Outcome::DiskFull => return Attempt::Fail(ProposeError::DiskFull),
                    sent => outcome = Some(sent),
                },
                changed = era.changed() => {
                    let now = *era.borrow_and_update();
                    if changed.is_err() || now.installs != installs {
                        return Attempt::Fail(ProposeError::Unknown);
                    }
                    // Results come before the era, so look once more: an entry of a later term without ours means
                    // that ours is not in the log and never will be.
                    if now.term > term {
                        return match waiter.receiver.try_recv() {
                            Ok(results) => Attempt::Results(results),
                            Err(_) => Attempt::Retry,
                        };
                    }
                }
                () = sleep_until(deadline) => return Attempt::Fail(ProposeError::Unknown),
            }
        }
    }

    /// Hands a proposal to the leader of a term, here or elsewhere.
    async fn send(
        &self,
        term: Term,
        leader: ReplicaId,
        proposal: &Proposal,
        lane: Lane,
        deadline: Instant,
    ) -> Outcome {
        if leader == self.config.replica_id {
            return self.accept(term, lane, proposal.clone()).await;
        }
        let Some(peer) = self.peer(leader) else {
            return Outcome::NotProposed;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let forward = Forward {
            term,
            lane: lane as u8,
            timeout_ms: left.as_millis() as u32,
            proposal: proposal.encode().into(),
        };
        let payload = types::encode(&forward).into();
        let request = Request {
            kind: RequestKind::Propose,
            payload,
        };
        // A task of its own: often the result is applied here before the leader's answer comes, and whoever waited is
        // gone. A request dropped then resets its stream, and after a thousand resets HTTP/2 ends the connection with
        // all that others have on it.
        let sending = spawn(TaskKind::Peer, self.transport.request(&peer, request, left));
        match sending.await {
            Ok(Ok(answer)) => types::decode(&answer).unwrap_or(Outcome::Unknown),
            Ok(Err(TransportError::NotSent(_) | TransportError::Refused(_))) => {
                Outcome::NotProposed
            }
            Ok(Err(TransportError::Lost(_))) | Err(_) => Outcome::Unknown,
        }
    }

    /// Takes a proposal for the log, if this replica leads in that term.
    pub(crate) async fn accept(&self, term: Term, lane: Lane, proposal: Proposal) -> Outcome {
        let leadership = *self.leadership.borrow();
        if leadership.term != term || leadership.leader != Some(self.config.replica_id) {
            return Outcome::NotProposed;
        }
        if self.disk_full.load(Ordering::Relaxed) {
            return Outcome::DiskFull;
        }
        match self.lanes.push(lane, term, proposal) {
            Ok(outcome) => outcome.await.unwrap_or(Outcome::Unknown),
            Err(refused) => refused,
        }
    }

    /// The term and its leader, `None` when nobody was found in time.
    async fn await_leader(
        &self,
        deadline: Instant,
    ) -> Result<Option<(Term, ReplicaId)>, ProposeError> {
        let mut leadership = self.leadership.subscribe();
        let mut stopping = self.stopping.subscribe();
        loop {
            if *stopping.borrow_and_update() {
                return Err(ProposeError::Stopping);
            }
            let Leadership { term, leader, .. } = *leadership.borrow_and_update();
            if let Some(leader) = leader
                && Instant::now() < deadline
            {
                return Ok(Some((term, leader)));
            }
            tokio::select! {
                _ = leadership.changed() => {}
                _ = stopping.changed() => {}
                () = sleep_until(deadline) => return Ok(None),
            }
        }
    }

    /// Where a member is, by the membership that this replica knows.
    pub(crate) fn peer(&self, id: ReplicaId) -> Option<Peer> {
        self.nodes().remove(&id).map(|node| Peer {
            id,
            endpoint: node.peer,
        })
    }

    pub(crate) fn nodes(&self) -> HashMap<ReplicaId, PeerNode> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let nodes = metrics.membership_config.membership().nodes();
        nodes.map(|(id, node)| (*id, node.clone())).collect()
    }

    /// Waits until the progress of this replica is as asked for.
    pub(crate) async fn await_progress(
        &self,
        limit: Duration,
        enough: impl FnMut(&Progress) -> bool,
    ) -> Result<(), ReadError> {
        let mut progress = self.machine.progress.subscribe();
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            reached = timeout(limit, progress.wait_for(enough)) => match reached {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err(ReadError::Stopping),
                Err(_) => Err(ReadError::Timeout),
            },
            _ = stopping.wait_for(|stopping| *stopping) => Err(ReadError::Stopping),
        }
    }
}
