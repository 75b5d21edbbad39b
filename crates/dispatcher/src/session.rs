//! One agent's session, from Hello to its end.
//!
//! ```text
//! Hello ▸ read barrier ▸ register node ▸ Welcome ▸ complete assignment ▸ ┌ message in: heartbeat, statuses
//!                                                                        │ store changed: differences out
//!                                                                        │ feed: shared changes out
//!                                                                        └ statuses committed: ack out
//! ```
//! The barrier makes the first assignment at least as new as anything the agent ever saw: a lagging replica can't
//! give a node back a pod that was deleted meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kontiki_base::limits;
use kontiki_base::metrics::METRICS;
use kontiki_proto::node::session_request::Message as Request;
use kontiki_proto::node::session_response::Message as Response;
use kontiki_proto::node::{
    AssignmentChange, Heartbeat, HeartbeatPeriod, Hello, Redirect, SessionRequest, SessionResponse,
    StatusAck, Welcome,
};
use kontiki_state::{Interest, Key, Revision, Subscription, Waker};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;

use crate::assignment::{self, Sent};
use crate::dispatcher::Inner;
use crate::feed::{self, Batch};
use crate::identity::must_be;
use crate::node_object;
use crate::sessions::{Outgoing, Ticket};
use crate::statuses::{self, Waiting};

/// Messages of an agent.
pub(crate) type Incoming = BoxStream<'static, Result<SessionRequest, Status>>;

/// A session that heard nothing for so many periods is dead; its transport will notice later.
const SILENT_PERIODS: u32 = 4;

/// Serves one session to its end; an error is the stream's last word.
pub(crate) async fn serve(
    inner: Arc<Inner>,
    certified: String,
    mut incoming: Incoming,
    outgoing: Outgoing,
) {
    let ended = async {
        let hello = first(&mut incoming).await?;
        must_be(&certified, &hello.node_name)?;
        let (mut session, ticket) = Session::open(inner, hello, outgoing.clone()).await?;
        session.run(incoming, ticket).await
    };
    if let Err(status) = ended.await {
        tracing::info!(node = certified, code = ?status.code(), why = status.message(), "session ended");
        // A full queue means that nobody reads: the closed stream says enough.
        let _ = outgoing.try_send(Err(status));
    }
}

async fn first(incoming: &mut Incoming) -> Result<Hello, Status> {
    let message = timeout(limits::HANDSHAKE_TIMEOUT, incoming.next()).await;
    let message = message.map_err(|_| Status::deadline_exceeded("no Hello in time"))?;
    match message.transpose()?.and_then(|request| request.message) {
        Some(Request::Hello(hello)) => Ok(hello),
        _ => Err(Status::invalid_argument(
            "the first message of a session is Hello",
        )),
    }
}

type Commit = BoxFuture<'static, Option<u64>>;

struct Session {
    inner: Arc<Inner>,
    node: Arc<str>,
    outgoing: Outgoing,
    changed: Arc<Notify>,
    /// Pods and volumes of the node.
    _own: [Subscription; 2],
    /// ConfigMaps, Secrets, claims and volumes that the node's pods name, there or not.
    awaited: BTreeMap<Key, Subscription>,
    shared: broadcast::Receiver<Arc<Batch>>,
    sent: Sent,
    /// The shared objects are sent up to here.
    shared_at: Revision,
    sequence: u64,
    period_ms: u32,
    waiting: Waiting,
    commit: Option<Commit>,
    n_acked: u64,
    /// The agent's last word on its node, for when the store says otherwise.
    node_status: Bytes,
}

impl Session {
    async fn open(
        inner: Arc<Inner>,
        hello: Hello,
        outgoing: Outgoing,
    ) -> Result<(Self, Ticket), Status> {
        if *inner.stopping.borrow() {
            return Err(Status::unavailable("this replica is stopping"));
        }
        let node: Arc<str> = Arc::from(hello.node_name.as_str());
        let barrier = inner.backend.read_barrier().await;
        barrier.map_err(|error| Status::unavailable(format!("no consistent view: {error}")))?;
        node_object::register(&inner, &node, &hello).await?;
        let ticket = inner
            .sessions
            .enter(&node, outgoing.clone())
            .ok_or_else(|| {
                Status::resource_exhausted(
                    "this replica has its limit of sessions; try another one",
                )
            })?;
        inner.heartbeats.beat(&node, inner.now_unix_ms());
        let changed = Arc::new(Notify::new());
        let own = ["pods", assignment::VOLUMES].map(|resource| {
            let interest = Interest {
                field: Some((Arc::from("spec.nodeName"), Arc::clone(&node))),
                ..Interest::resource(resource)
            };
            inner.backend.store().subscribe(&interest, waker(&changed))
        });
        let shared = inner.feed.subscribe();
        let period_ms = inner.heartbeat_period_ms();
        let node_status = reported_status(&hello);
        let mut session = Self {
            inner,
            node,
            outgoing,
            changed,
            _own: own,
            awaited: BTreeMap::new(),
            shared,
            sent: Sent::default(),
            shared_at: 0,
            sequence: 0,
            period_ms,
            waiting: Waiting::default(),
            commit: None,
            n_acked: 0,
            node_status,
        };
        session.welcome()?;
        session.send_complete()?;
        tracing::info!(node = %session.node, agent = hello.agent_version, "session opened");
        Ok((session, ticket))
    }

    async fn run(&mut self, mut incoming: Incoming, mut ticket: Ticket) -> Result<(), Status> {
        let mut stopping = self.inner.stopping.subscribe();
        let mut heard = Instant::now();
        loop {
            let silent = Duration::from_millis(u64::from(self.period_ms)) * SILENT_PERIODS;
            tokio::select! {
                message = incoming.next() => match message {
                    Some(request) => {
                        heard = Instant::now();
                        self.take(request?.message)?;
                    }
                    None => return Ok(()),
                },
                () = self.changed.notified() => self.send_own()?,
                batch = self.shared.recv() => self.take_shared(batch)?,
                n_batches = committed(&mut self.commit) => self.acknowledge(n_batches)?,
                () = self.outgoing.closed() => return Ok(()),
                () = sleep_until(heard + silent) => {
                    return Err(Status::deadline_exceeded("the agent fell silent"));
                }
                _ = &mut ticket.replaced => {
                    return Err(Status::aborted("another session of this node took over"));
                }
                _ = stopping.wait_for(|stopping| *stopping) => {
                    let reason = "this replica is stopping".to_owned();
                    return self.send(Response::Redirect(Redirect { reason }));
                }
            }
        }
    }

    fn take(&mut self, message: Option<Request>) -> Result<(), Status> {
        match message {
            Some(Request::Heartbeat(Heartbeat { .. })) => self.heartbeat(),
            Some(Request::Statuses(batch)) => {
                if let Some(status) = &batch.node_status_json {
                    self.node_status = status.clone();
                }
                if !self.waiting.add(batch) {
                    return Err(Status::resource_exhausted("too many pod statuses wait"));
                }
                self.start_commit();
                Ok(())
            }
            // Acks tell us nothing that TCP does not; a newer agent's messages are not ours to refuse.
            Some(Request::Ack(_)) | None => Ok(()),
            Some(Request::Hello(_)) => Err(Status::invalid_argument("Hello comes once")),
        }
    }

    fn heartbeat(&mut self) -> Result<(), Status> {
        self.inner
            .heartbeats
            .beat(&self.node, self.inner.now_unix_ms());
        let stored = self
            .inner
            .backend
            .store()
            .snapshot()
            .find("nodes", "", &self.node);
        if stored.is_some_and(|node| node_object::readiness_differs(&node, &self.node_status)) {
            self.waiting.add_node_status(self.node_status.clone());
            self.start_commit();
        }
        let period_ms = self.inner.heartbeat_period_ms();
        if period_ms != self.period_ms {
            self.period_ms = period_ms;
            return self.send(Response::HeartbeatPeriod(HeartbeatPeriod { period_ms }));
        }
        Ok(())
    }

    /// One commit at a time: statuses of a pod must not overtake each other.
    fn start_commit(&mut self) {
        if self.commit.is_none()
            && let Some(waiting) = self.waiting.take()
        {
            let (inner, node) = (Arc::clone(&self.inner), Arc::clone(&self.node));
            self.commit = Some(Box::pin(statuses::commit(inner, node, waiting)));
        }
    }

    fn acknowledge(&mut self, n_batches: Option<u64>) -> Result<(), Status> {
        self.commit = None;
        let n_batches = n_batches.ok_or_else(|| Status::unavailable("this replica is stopping"))?;
        self.start_commit();
        if n_batches == 0 {
            return Ok(());
        }
        self.n_acked += n_batches;
        self.send(Response::StatusAck(StatusAck {
            n_batches: self.n_acked,
        }))
    }

    fn welcome(&self) -> Result<(), Status> {
        let options = &self.inner.options;
        let members = self.inner.backend.members().into_iter();
        self.send(Response::Welcome(Welcome {
            heartbeat_period_ms: self.period_ms,
            server_version: options.server_version.clone(),
            cluster_id: self.inner.backend.cluster_id(),
            server_endpoints: members.map(|member| member.api_endpoint).collect(),
            cluster_cidr: options.cluster_cidr.clone(),
            service_cidr: options.service_cidr.clone(),
            cluster_dns: options.cluster_dns.clone(),
            cluster_domain: options.cluster_domain.clone(),
        }))
    }

    /// Everything, from one snapshot.
    fn send_complete(&mut self) -> Result<(), Status> {
        self.await_references();
        let snapshot = self.inner.backend.store().snapshot();
        self.sent.clear();
        self.shared_at = snapshot.revision();
        let own = assignment::own(&snapshot, &self.node);
        let mut changes = self.sent.difference(&own, snapshot.revision());
        changes.extend(feed::complete(&snapshot));
        self.send_changes(changes, true)
    }

    /// What changed of the node's own objects.
    fn send_own(&mut self) -> Result<(), Status> {
        self.await_references();
        let snapshot = self.inner.backend.store().snapshot();
        let own = assignment::own(&snapshot, &self.node);
        let changes = self.sent.difference(&own, snapshot.revision());
        self.send_changes(changes, false)
    }

    fn take_shared(&mut self, batch: Result<Arc<Batch>, RecvError>) -> Result<(), Status> {
        match batch.as_deref() {
            Ok(Batch::Changes(changes)) => {
                let news = changes
                    .iter()
                    .filter(|change| change.revision > self.shared_at);
                self.send_changes(news.cloned().collect(), false)
            }
            Ok(Batch::Reset) | Err(RecvError::Lagged(_)) => self.send_complete(),
            Err(RecvError::Closed) => Err(Status::unavailable("this replica is stopping")),
        }
    }

    /// Subscribes to what the node's pods name, before the snapshot that is sent is taken.
    fn await_references(&mut self) {
        let store = self.inner.backend.store();
        let named: BTreeSet<Key> = assignment::awaited(&store.snapshot(), &self.node);
        self.awaited.retain(|key, _| named.contains(key));
        for key in named {
            self.awaited.entry(key).or_insert_with_key(|key| {
                let interest = Interest {
                    namespace: Some(Arc::clone(&key.namespace)),
                    name: Some(Arc::clone(&key.name)),
                    ..Interest::resource(Arc::clone(&key.resource))
                };
                store.subscribe(&interest, waker(&self.changed))
            });
        }
    }

    fn send_changes(
        &mut self,
        changes: Vec<AssignmentChange>,
        complete: bool,
    ) -> Result<(), Status> {
        METRICS.assignments_total.add(changes.len() as u64);
        for message in assignment::messages(changes, complete, &mut self.sequence) {
            self.send(Response::Assignment(message))?;
        }
        Ok(())
    }

    fn send(&self, message: Response) -> Result<(), Status> {
        let sent = self.outgoing.try_send(Ok(SessionResponse {
            message: Some(message),
        }));
        sent.map_err(|_| Status::resource_exhausted("the agent does not read its messages"))
    }
}

fn waker(changed: &Arc<Notify>) -> Waker {
    let changed = Arc::clone(changed);
    Arc::new(move || changed.notify_one())
}

/// Waits for the commit under way, for ever when there is none.
async fn committed(commit: &mut Option<Commit>) -> Option<u64> {
    match commit {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}

fn reported_status(hello: &Hello) -> Bytes {
    let node: serde_json::Value = serde_json::from_slice(&hello.node_json).unwrap_or_default();
    Bytes::from(node["status"].to_string())
}
