//! What the verbs need of consensus, as a trait: tests drive `kontiki-state` directly, without a log or a disk.

use std::time::Duration;

use futures::future::BoxFuture;
use kontiki_consensus::{Consensus, Lane, ProposeError, ReadError};
use kontiki_state::{OpResult, Proposal, Revision, Store};

/// The replicated store, as seen from above.
pub trait Backend: Send + Sync + 'static {
    /// Commits a proposal; answers when this replica applied it too.
    fn propose(
        &self,
        proposal: Proposal,
        lane: Lane,
    ) -> BoxFuture<'_, Result<Vec<OpResult>, ProposeError>>;
    /// Returns once the local store holds all that was acknowledged before the call.
    fn read_barrier(&self) -> BoxFuture<'_, Result<(), ReadError>>;
    /// Returns once the local store reached a revision.
    fn wait_revision(
        &self,
        revision: Revision,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<(), ReadError>>;
    /// The local store.
    fn store(&self) -> &Store;
}

impl Backend for Consensus {
    fn propose(
        &self,
        proposal: Proposal,
        lane: Lane,
    ) -> BoxFuture<'_, Result<Vec<OpResult>, ProposeError>> {
        Box::pin(Consensus::propose(self, proposal, lane))
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(Consensus::read_barrier(self))
    }

    fn wait_revision(
        &self,
        revision: Revision,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(self.wait_applied_revision(revision, timeout))
    }

    fn store(&self) -> &Store {
        Consensus::store(self)
    }
}
