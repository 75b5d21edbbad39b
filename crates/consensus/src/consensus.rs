//! The handle that the rest of the process holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use kontiki_base::limits;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_state::{Command, OpResult, Proposal, Revision, Store, Term};
use kontiki_storage::{KEYRING, archive};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::grpc::{self, Keys};
use crate::membership::{self, Change};
use crate::replica::Replica;
use crate::transport::{Inbound, Transport};
use crate::types::{EntryData, LogId, PeerNode};
use crate::{
    CallError, CallHandler, CallStream, Config, Encryption, Member, MembershipError, PeerTls,
    ProposeError, ReadError, ReplicaId, StartError, reads, sealing, start,
};

/// The first membership is a local matter.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(10);

/// Which queue a proposal waits in, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Leases, node transitions, bindings, statuses.
    System,
    /// What users and controllers write.
    User,
    /// Events: the first to be refused.
    Events,
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// Raft term.
    pub term: Term,
    /// The leader, when known.
    pub leader: Option<ReplicaId>,
    /// This replica leads and has applied everything of earlier terms.
    pub is_leader: bool,
}

/// How a replica fares.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its cluster.
    pub cluster_id: String,
    /// Its id.
    pub replica_id: ReplicaId,
    /// Its name.
    pub name: String,
    /// Who leads.
    pub leadership: Leadership,
    /// All replicas.
    pub members: Vec<Member>,
    /// Last index in its log.
    pub last_log_index: u64,
    /// Last index it knows to be committed.
    pub committed_index: u64,
    /// Last index it has applied.
    pub applied_index: u64,
    /// Last index that left its log.
    pub purged_index: u64,
    /// Last index in its newest snapshot.
    pub snapshot_index: u64,
    /// Revision of its store.
    pub revision: Revision,
}

/// A replica of the control plane. Cloning is cheap.
#[derive(Clone)]
pub struct Consensus {
    replica: Arc<Replica>,
    readers: mpsc::Sender<reads::Reader>,
    keys: Option<Arc<Keys>>,
    peer_address: Option<SocketAddr>,
}

impl Consensus {
    /// Opens storage, replays, listens to peers.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let keys = Arc::new(Keys::new(&config.peer_tls)?);
        let listener = grpc::bind(config.peer_listen).await?;
        let address = listener
            .local_addr()
            .map_err(|e| StartError::Network(e.to_string()))?;
        let client = grpc::Client::new(&config.cluster_id, Arc::clone(&keys));
        let transport = Arc::new(client.map_err(StartError::Config)?);
        let mut consensus = Self::start_with(config, transport).await?;
        let server = grpc::Server {
            cluster_id: consensus.replica.config.cluster_id.clone(),
            inbound: consensus.inbound(),
        };
        let stopping = consensus.replica.stopping.subscribe();
        spawn(
            TaskKind::Listener,
            server.run(listener, Arc::clone(&keys), stopping),
        );
        (consensus.keys, consensus.peer_address) = (Some(keys), Some(address));
        Ok(consensus)
    }

    /// As `start`, over a network of the caller's: simulation delivers to `inbound`.
    pub async fn start_with(
        config: Config,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, StartError> {
        let (replica, readers) = start::replica(config, transport).await?;
        Ok(Self {
            replica,
            readers,
            keys: None,
            peer_address: None,
        })
    }

    /// Where other replicas' messages go.
    pub fn inbound(&self) -> Arc<dyn Inbound> {
        Arc::new(Arc::clone(&self.replica))
    }

    /// The peer port that was bound.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_address
    }

    /// Hands leadership over, stops, flushes, closes.
    pub async fn shutdown(&self) {
        start::stop(&self.replica).await;
    }

    /// Makes the first membership. Idempotent; needed on one replica only.
    pub async fn bootstrap(&self, members: Vec<Member>) -> Result<(), MembershipError> {
        if self.is_bootstrapped().await {
            return Ok(());
        }
        let nodes: BTreeMap<ReplicaId, PeerNode> = members
            .iter()
            .map(|member| (member.id, PeerNode::from(member)))
            .collect();
        if let Err(error) = self.replica.raft.initialize(nodes).await
            && !self.is_bootstrapped().await
        {
            return Err(MembershipError::Refused(error.to_string()));
        }
        let known = self.replica.raft.wait(Some(BOOTSTRAP_TIMEOUT));
        let known = known
            .metrics(
                |metrics| metrics.membership_config.nodes().count() > 0,
                "bootstrap",
            )
            .await;
        known
            .map(|_| ())
            .map_err(|error| MembershipError::Timeout(error.to_string()))
    }

    /// Whether this replica belongs to a cluster already.
    pub async fn is_bootstrapped(&self) -> bool {
        self.replica.raft.is_initialized().await.unwrap_or(false)
    }

    /// Commits a proposal and returns after this replica applied it too. Its `id` is chosen here.
    pub async fn propose(
        &self,
        proposal: Proposal,
        lane: Lane,
    ) -> Result<Vec<OpResult>, ProposeError> {
        self.replica.propose(proposal, lane).await
    }

    /// Returns once this replica has applied all that was committed anywhere before the call.
    pub async fn read_barrier(&self) -> Result<(), ReadError> {
        let (reader, answer) = oneshot::channel();
        self.readers
            .send(reader)
            .await
            .map_err(|_| ReadError::Stopping)?;
        answer.await.unwrap_or(Err(ReadError::Stopping))
    }

    /// Waits until this replica's store has a revision.
    pub async fn wait_applied_revision(
        &self,
        revision: Revision,
        timeout: Duration,
    ) -> Result<(), ReadError> {
        self.replica
            .await_progress(timeout, |now| now.revision >= revision)
            .await
    }

    /// The store that this replica applies to.
    pub fn store(&self) -> &Store {
        &self.replica.machine.store
    }

    /// Who leads, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.replica.leadership.subscribe()
    }

    /// Forgets history below a revision, on all replicas. Only where this replica leads.
    pub async fn compact(&self, below: Revision) -> Result<(), ProposeError> {
        let data = EntryData(Command::Compact { below }.encode().into());
        let write = self.replica.raft.client_write(data);
        match tokio::time::timeout(limits::PROPOSAL_TIMEOUT, write).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err(ProposeError::NoLeader)
            }
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// Adds a replica that follows without a vote, and waits until it caught up.
    pub async fn add_learner(&self, member: Member) -> Result<(), MembershipError> {
        membership::change(&self.replica, Change::AddLearner(member))
            .await
            .map(|_| ())
    }

    /// Gives a learner its vote.
    pub async fn promote(&self, id: ReplicaId) -> Result<(), MembershipError> {
        membership::change(&self.replica, Change::Promote(id))
            .await
            .map(|_| ())
    }

    /// Takes a replica out.
    pub async fn remove(&self, id: ReplicaId) -> Result<(), MembershipError> {
        membership::change(&self.replica, Change::Remove(id))
            .await
            .map(|_| ())
    }

    /// Makes another replica lead: the named one, or the most advanced voter. Returns the new leader.
    pub async fn transfer_leader(
        &self,
        to: Option<ReplicaId>,
    ) -> Result<ReplicaId, MembershipError> {
        membership::change(&self.replica, Change::Transfer(to)).await
    }

    /// This replica's id.
    pub fn id(&self) -> ReplicaId {
        self.replica.config.replica_id
    }

    /// This replica's cluster.
    pub fn cluster_id(&self) -> &str {
        &self.replica.config.cluster_id
    }

    /// All replicas.
    pub fn members(&self) -> Vec<Member> {
        membership::members(&self.replica)
    }

    /// How this replica fares.
    pub fn status(&self) -> Status {
        let config = &self.replica.config;
        let metrics = self.replica.raft.data_metrics().borrow_watched().clone();
        let index = |id: &Option<LogId>| id.as_ref().map_or(0, |id| id.index);
        Status {
            cluster_id: config.cluster_id.clone(),
            replica_id: config.replica_id,
            name: config.name.clone(),
            leadership: *self.replica.leadership.borrow(),
            members: self.members(),
            last_log_index: index(&metrics.last_log),
            committed_index: index(&metrics.local_committed),
            applied_index: index(&metrics.last_applied),
            purged_index: index(&metrics.purged),
            snapshot_index: index(&metrics.snapshot),
            revision: self.store().revision(),
        }
    }

    /// Takes renewed peer keys into use for new connections.
    pub fn renew_peer_tls(&self, tls: &PeerTls) -> Result<(), StartError> {
        self.keys.as_ref().map_or(Ok(()), |keys| keys.renew(tls))
    }

    /// Serves a method that other replicas (and this one) call.
    pub fn handle_calls(&self, method: &'static str, handler: Arc<dyn CallHandler>) {
        self.replica
            .calls
            .write()
            .insert(method.to_owned(), handler);
    }

    /// Calls another replica, or this one.
    pub async fn call(
        &self,
        to: ReplicaId,
        method: &'static str,
        payload: Bytes,
    ) -> Result<CallStream, CallError> {
        if to == self.id() {
            return self.replica.call(to, method.to_owned(), payload).await;
        }
        let peer = self.replica.peer(to).ok_or(CallError::UnknownReplica(to))?;
        self.replica.transport.call(&peer, method, payload).await
    }

    /// Asks all replicas to seal with new keys, and to let the old ones go once nothing needs them. Answers the number of
    /// the rotation.
    pub async fn rotate_keys(&self) -> Result<u64, ProposeError> {
        self.read_barrier()
            .await
            .map_err(|_| ProposeError::NoLeader)?;
        sealing::rotate(&self.replica).await
    }

    /// The last rotation that was asked for, as far as this replica knows.
    pub fn wanted_rotation(&self) -> u64 {
        sealing::wanted_rotation(&self.store().snapshot())
    }

    /// How encryption at rest stands on this replica. Reads what is sealed.
    pub async fn encryption(&self) -> Result<Encryption, ReadError> {
        sealing::status(&self.replica).await
    }

    /// Makes a snapshot now and lets the log go behind it.
    pub async fn trigger_snapshot(&self) {
        let _ = self.replica.raft.trigger().snapshot().await;
    }

    /// Streams an archive of a consistent checkpoint, of the keys given along and of this replica's keyring, for
    /// `snapshot save`. It holds all that
    /// was acknowledged before the call, also on a replica that lags; without a quorum it is refused.
    pub async fn save_snapshot(
        &self,
        now_unix_ms: u64,
        mut keys: archive::Keys,
    ) -> Result<CallStream, CallError> {
        let refused = |error: &dyn std::fmt::Display| CallError::Refused(error.to_string());
        self.read_barrier().await.map_err(|error| refused(&error))?;
        let machine = self.replica.machine.clone();
        let built = tokio::task::spawn_blocking(move || machine.archive()).await;
        let snapshot = built
            .map_err(|error| refused(&error))?
            .map_err(|error| refused(&error))?;
        // After it was built: no key that it needs is let go while it is there.
        let keyring = self.replica.machine.dir.sealer().export();
        keys.insert(KEYRING.to_owned(), keyring);
        let pieces = archive::pieces(&snapshot, self.cluster_id(), now_unix_ms, keys);
        let pieces = pieces.map(|piece| match piece {
            Ok(bytes) => Ok(Bytes::from(bytes)),
            Err(error) => Err(CallError::Refused(error.to_string())),
        });
        Ok(futures::stream::iter(pieces).boxed())
    }
}
