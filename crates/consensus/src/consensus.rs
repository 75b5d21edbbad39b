//! The handle that the rest of the process holds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_state::{OpResult, Proposal, Revision, Store, Term};
use tokio::sync::watch;

use crate::call::{CallHandler, CallStream};
use crate::config::{Config, Member, PeerTls, ReplicaId};
use crate::error::{CallError, MembershipError, ProposeError, ReadError, StartError};

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
    _inner: Arc<()>,
}

impl Consensus {
    /// Opens storage, replays, listens to peers.
    pub async fn start(_config: Config) -> Result<Self, StartError> {
        todo!()
    }
    /// Hands leadership over, stops, flushes, closes.
    pub async fn shutdown(&self) {
        todo!()
    }
    /// Makes the first membership. Idempotent; needed on one replica only.
    pub async fn bootstrap(&self, _members: Vec<Member>) -> Result<(), MembershipError> {
        todo!()
    }
    /// Whether this replica belongs to a cluster already.
    pub async fn is_bootstrapped(&self) -> bool {
        todo!()
    }
    /// Commits a proposal and returns after this replica applied it too.
    pub async fn propose(
        &self,
        _proposal: Proposal,
        _lane: Lane,
    ) -> Result<Vec<OpResult>, ProposeError> {
        todo!()
    }
    /// Returns once this replica has applied all that was committed anywhere before the call.
    pub async fn read_barrier(&self) -> Result<(), ReadError> {
        todo!()
    }
    /// Waits until this replica's store has a revision.
    pub async fn wait_applied_revision(
        &self,
        _revision: Revision,
        _timeout: Duration,
    ) -> Result<(), ReadError> {
        todo!()
    }
    /// The store that this replica applies to.
    pub fn store(&self) -> &Store {
        todo!()
    }
    /// Who leads, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        todo!()
    }
    /// Forgets history below a revision, on all replicas.
    pub async fn compact(&self, _below: Revision) -> Result<(), ProposeError> {
        todo!()
    }
    /// Adds a replica that follows without a vote, and waits until it caught up.
    pub async fn add_learner(&self, _member: Member) -> Result<(), MembershipError> {
        todo!()
    }
    /// Gives a learner its vote.
    pub async fn promote(&self, _id: ReplicaId) -> Result<(), MembershipError> {
        todo!()
    }
    /// Takes a replica out.
    pub async fn remove(&self, _id: ReplicaId) -> Result<(), MembershipError> {
        todo!()
    }
    /// Makes another replica lead: the named one, or the most advanced voter. Returns the new leader.
    pub async fn transfer_leader(&self, _to: Option<ReplicaId>) -> Result<ReplicaId, MembershipError> {
        todo!()
    }
    /// This replica's id.
    pub fn id(&self) -> ReplicaId {
        todo!()
    }
    /// This replica's cluster.
    pub fn cluster_id(&self) -> &str {
        todo!()
    }
    /// All replicas.
    pub fn members(&self) -> Vec<Member> {
        todo!()
    }
    /// How this replica fares.
    pub fn status(&self) -> Status {
        todo!()
    }
    /// Takes renewed peer keys into use for new connections.
    pub fn renew_peer_tls(&self, _tls: PeerTls) -> Result<(), StartError> {
        todo!()
    }
    /// Serves a method that other replicas (and this one) call.
    pub fn handle_calls(&self, _method: &'static str, _handler: Arc<dyn CallHandler>) {
        todo!()
    }
    /// Calls another replica, or this one.
    pub async fn call(
        &self,
        _to: ReplicaId,
        _method: &'static str,
        _payload: Bytes,
    ) -> Result<CallStream, CallError> {
        todo!()
    }
    /// Streams an archive of a consistent checkpoint, for `snapshot save`.
    pub async fn save_snapshot(&self) -> Result<CallStream, CallError> {
        todo!()
    }
}
