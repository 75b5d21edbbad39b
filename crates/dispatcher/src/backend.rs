//! What the dispatcher needs of consensus, as a trait: tests drive a `Store` directly, without a log or a disk.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use kontiki_consensus::{
    CallError, CallHandler, CallStream, Consensus, Lane, Leadership, Member, ProposeError,
    ReadError, ReplicaId,
};
use kontiki_state::{OpResult, Proposal, Store};
use tokio::sync::watch;

/// The replicated store and the way to the other replicas.
pub trait Backend: Send + Sync + 'static {
    /// This replica.
    fn id(&self) -> ReplicaId;
    /// This cluster.
    fn cluster_id(&self) -> String;
    /// All replicas.
    fn members(&self) -> Vec<Member>;
    /// Who leads, as it changes.
    fn leadership(&self) -> watch::Receiver<Leadership>;
    /// The local store.
    fn store(&self) -> &Store;
    /// Returns once the local store holds all that was acknowledged before the call.
    fn read_barrier(&self) -> BoxFuture<'_, Result<(), ReadError>>;
    /// Commits a proposal; answers when this replica applied it too.
    fn propose(
        &self,
        proposal: Proposal,
        lane: Lane,
    ) -> BoxFuture<'_, Result<Vec<OpResult>, ProposeError>>;
    /// Calls another replica.
    fn call(
        &self,
        to: ReplicaId,
        method: &'static str,
        payload: Bytes,
    ) -> BoxFuture<'_, Result<CallStream, CallError>>;
    /// Serves a method that other replicas call.
    fn handle_calls(&self, method: &'static str, handler: Arc<dyn CallHandler>);
}

impl Backend for Consensus {
    fn id(&self) -> ReplicaId {
        Consensus::id(self)
    }

    fn cluster_id(&self) -> String {
        Consensus::cluster_id(self).to_owned()
    }

    fn members(&self) -> Vec<Member> {
        Consensus::members(self)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        Consensus::leadership(self)
    }

    fn store(&self) -> &Store {
        Consensus::store(self)
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(Consensus::read_barrier(self))
    }

    fn propose(
        &self,
        proposal: Proposal,
        lane: Lane,
    ) -> BoxFuture<'_, Result<Vec<OpResult>, ProposeError>> {
        Box::pin(Consensus::propose(self, proposal, lane))
    }

    fn call(
        &self,
        to: ReplicaId,
        method: &'static str,
        payload: Bytes,
    ) -> BoxFuture<'_, Result<CallStream, CallError>> {
        Box::pin(Consensus::call(self, to, method, payload))
    }

    fn handle_calls(&self, method: &'static str, handler: Arc<dyn CallHandler>) {
        Consensus::handle_calls(self, method, handler);
    }
}
