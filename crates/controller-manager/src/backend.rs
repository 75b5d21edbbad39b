//! What the loops need of consensus: a store to follow and a way to propose. Tests put a bare `Store` behind it.

use futures::future::BoxFuture;
use kontiki_consensus::{Consensus, Lane, ProposeError};
use kontiki_state::{OpResult, Proposal, Store};

/// Where the loops read and write.
pub trait Backend: Clone + Send + Sync + 'static {
    /// The local store.
    fn store(&self) -> &Store;
    /// Commits; returns when the local store has it.
    fn propose(
        &self,
        proposal: Proposal,
        lane: Lane,
    ) -> BoxFuture<'static, Result<Vec<OpResult>, ProposeError>>;
}

impl Backend for Consensus {
    fn store(&self) -> &Store {
        Consensus::store(self)
    }

    fn propose(
        &self,
        proposal: Proposal,
        lane: Lane,
    ) -> BoxFuture<'static, Result<Vec<OpResult>, ProposeError>> {
        let consensus = self.clone();
        Box::pin(async move { Consensus::propose(&consensus, proposal, lane).await })
    }
}
