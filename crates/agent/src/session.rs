//! The session: one stream to one server at a time, for as long as it lasts, then the next.
//!
//! ```text
//!  connect ─▶ Hello ─▶ Welcome ─▶ complete assignment ─▶ differences …
//!     ▲                            │ heartbeats, statuses ▲   │
//!     └──── back-off ◀── broken, redirected, out of sequence ──┘
//! ```
//!
//! A session that breaks changes nothing on the node.

pub(crate) mod link;

use std::sync::Arc;
use std::time::Duration;

use kontiki_base::backoff::Backoff;
use kontiki_base::random::{Random, SystemRandom};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_proto::node::{Assignment, Welcome, session_response};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::link::{End, Link};
use crate::config::AgentConfig;
use crate::node::{ClusterSettings, Node};
use crate::pods::Pods;
use crate::{Error, Loop, node_status, tunnel};

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Statuses that come together go together.
const COALESCE: Duration = Duration::from_millis(75);
/// Longest wait for the welcome and the first assignment.
const WELCOME: Duration = Duration::from_secs(15);

/// Asks any server which cluster it is; `None` when told to stop before.
pub async fn introduce(
    config: &AgentConfig,
    mut shutdown: watch::Receiver<bool>,
) -> Result<Option<String>, Error> {
    let node = crate::build_node(config, String::new()).await?;
    let mut servers = Servers::new(config);
    loop {
        let server = servers.next();
        let attempt = async {
            let health = look(&node).await;
            let mut link = Link::open(config, &server, &node, &health, Vec::new()).await?;
            tokio::time::timeout(WELCOME, link.welcome())
                .await
                .unwrap_or(Err(End::Silent))
        };
        let outcome = tokio::select! {
            outcome = attempt => outcome,
            () = stopped(&mut shutdown) => return Ok(None),
        };
        match outcome {
            Ok(welcome) => return Ok(Some(welcome.cluster_id)),
            Err(End::Fatal(error)) => return Err(error),
            Err(end) => tracing::warn!(server, "no session: {end}"),
        }
        if servers.pause(&mut shutdown).await {
            return Ok(None);
        }
    }
}

/// Holds sessions until told to stop.
pub async fn run(
    config: &AgentConfig,
    node: Arc<Node>,
    pods: Arc<Pods>,
    network_changed: Arc<Notify>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut servers = Servers::new(config);
    let mut work = Work {
        config,
        node,
        pods,
        network_changed,
        loops: Vec::new(),
    };
    loop {
        let server = servers.next();
        let end = tokio::select! {
            end = work.session(&server, &mut servers) => end,
            () = stopped(&mut shutdown) => return Ok(()),
        };
        work.node.tokens.disconnected();
        match end {
            End::Fatal(error) => return Err(error),
            end => tracing::warn!(server, "session ended: {end}"),
        }
        if servers.pause(&mut shutdown).await {
            return Ok(());
        }
    }
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // A sender that is gone means that nobody will ever say stop.
    if shutdown.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn look(node: &Node) -> node_status::Health {
    let engine = node.runtime.info().await;
    node_status::health(
        engine,
        Default::default(),
        &node.data_dir,
        node.writes_files,
    )
}

/// The servers to try, those that were learnt first.
struct Servers {
    configured: Vec<String>,
    round: Vec<String>,
    learnt: Vec<String>,
    backoff: Backoff,
}

impl Servers {
    fn new(config: &AgentConfig) -> Self {
        Self {
            configured: config.servers.clone(),
            round: Vec::new(),
            learnt: Vec::new(),
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
        }
    }

    /// Another server each time, in random order, so that nodes spread.
    fn next(&mut self) -> String {
        if self.round.is_empty() {
            self.round = self.learnt.clone();
            for server in &self.configured {
                if !self.round.contains(server) {
                    self.round.push(server.clone());
                }
            }
        }
        let idx = SystemRandom.below(self.round.len() as u64) as usize;
        if self.round.is_empty() {
            String::new()
        } else {
            self.round.swap_remove(idx)
        }
    }

    /// A session came about.
    fn welcomed(&mut self, welcome: &Welcome) {
        self.learnt = welcome.server_endpoints.clone();
        self.round.clear();
        self.backoff.reset();
    }

    /// Waits before the next attempt; true when told to stop.
    async fn pause(&mut self, shutdown: &mut watch::Receiver<bool>) -> bool {
        let delay = self.backoff.next_delay(&SystemRandom);
        tokio::select! {
            () = tokio::time::sleep(delay) => false,
            () = stopped(shutdown) => true,
        }
    }
}

struct Work<'a> {
    config: &'a AgentConfig,
    node: Arc<Node>,
    pods: Arc<Pods>,
    network_changed: Arc<Notify>,
    /// Loops that begin with the first complete assignment.
    loops: Vec<Loop>,
}

impl Work<'_> {
    async fn session(&mut self, server: &str, servers: &mut Servers) -> End {
        let health = look(&self.node).await;
        let running = self.pods.running_uids();
        let opened = Link::open(self.config, server, &self.node, &health, running).await;
        let mut link = match opened {
            Ok(link) => link,
            Err(end) => return end,
        };
        let welcome = match tokio::time::timeout(WELCOME, link.welcome()).await {
            Ok(Ok(welcome)) => welcome,
            Ok(Err(end)) => return end,
            Err(_) => return End::Silent,
        };
        let node = Arc::clone(&self.node);
        if welcome.cluster_id != node.cluster_id {
            let own = node.cluster_id.clone();
            return End::Fatal(Error::OtherCluster {
                own,
                theirs: welcome.cluster_id,
            });
        }
        servers.welcomed(&welcome);
        self.settle(&welcome);
        tracing::info!(server, "session open");
        node.outbox.restart();
        node.tokens.connected(link.client());
        let _health = Loop(spawn(
            TaskKind::Agent,
            node_status::watch(self.config.clone(), Arc::clone(&node), health),
        ));
        let mut period = Duration::from_millis(u64::from(welcome.heartbeat_period_ms.max(100)));
        let mut next_heartbeat = link::jittered(period, node.random.as_ref());
        let mut sequence = None;
        let mut flush_at: Option<Instant> = None;
        loop {
            let flush = async {
                match flush_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => node.outbox.ready().await,
                }
            };
            tokio::select! {
                message = link.next() => match message {
                    Err(end) => return end,
                    Ok(session_response::Message::Assignment(assignment)) => {
                        let number = assignment.sequence;
                        if !self.assigned(assignment, &mut sequence) {
                            return End::OutOfSequence;
                        }
                        if let Err(end) = link.acknowledge(number).await {
                            return end;
                        }
                    }
                    Ok(session_response::Message::StatusAck(ack)) => {
                        node.outbox.committed(ack.n_batches);
                    }
                    Ok(session_response::Message::OpenTunnel(open)) => {
                        let config = self.config.clone();
                        let serve = tunnel::serve(config, Arc::clone(&node), link.client(), open);
                        drop(spawn(TaskKind::Request, serve));
                    }
                    Ok(session_response::Message::HeartbeatPeriod(new)) => {
                        period = Duration::from_millis(u64::from(new.period_ms.max(100)));
                    }
                    Ok(session_response::Message::Redirect(redirect)) => {
                        return End::Redirected(redirect.reason);
                    }
                    Ok(session_response::Message::Welcome(_)) => {}
                },
                () = tokio::time::sleep_until(next_heartbeat) => {
                    if let Err(end) = link.heartbeat().await {
                        return end;
                    }
                    next_heartbeat = link::jittered(period, node.random.as_ref());
                }
                // The first status opens a short window; what comes within goes with it.
                () = flush => if flush_at.is_none() {
                    flush_at = Some(Instant::now() + COALESCE);
                } else {
                    flush_at = None;
                    while let Some(batch) = node.outbox.take() {
                        if let Err(end) = link.statuses(batch).await {
                            return end;
                        }
                    }
                },
            }
        }
    }

    fn settle(&self, welcome: &Welcome) {
        *self.node.settings.lock() = ClusterSettings {
            cluster_cidr: welcome.cluster_cidr.clone(),
            service_cidr: welcome.service_cidr.clone(),
            dns: welcome.cluster_dns.clone(),
            domain: welcome.cluster_domain.clone(),
        };
    }

    /// Takes an assignment in; false when it does not follow the last one.
    fn assigned(&mut self, assignment: Assignment, sequence: &mut Option<u64>) -> bool {
        let follows = match *sequence {
            None => assignment.complete,
            Some(last) => assignment.complete || assignment.sequence == last + 1,
        };
        if !follows {
            return false;
        }
        *sequence = Some(assignment.sequence);
        let complete = assignment.complete;
        let touched = self.node.mirror.apply(complete, assignment.changes);
        self.pods.assigned(touched);
        if touched.services || touched.nodes {
            self.network_changed.notify_one();
        }
        if complete {
            self.after_complete();
        }
        true
    }

    /// Now it is known which containers belong here: the others end.
    fn after_complete(&mut self) {
        let pods = Arc::clone(&self.pods);
        drop(spawn(TaskKind::Agent, async move {
            if let Err(error) = pods.sweep().await {
                tracing::debug!(%error, "no sweep now; the slow one follows");
            }
        }));
        if self.loops.is_empty() {
            let slow = Arc::clone(&self.pods).relist_slowly();
            self.loops.push(Loop(spawn(TaskKind::Agent, slow)));
        }
    }
}
