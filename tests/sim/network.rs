//! A network that drops, delays, reorders and duplicates, and that cuts replicas off from one another.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::EmptyNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};

use crate::disk::Image;
use crate::types::{Id, Raft, Snapshot, TypeConfig, Vote};
use crate::world::World;

type RpcError = RPCError<TypeConfig>;

/// The way from one life of a replica to the others.
#[derive(Clone)]
pub struct Network {
    pub world: Arc<World>,
    pub from: Id,
    pub life: u64,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: Id, _node: &EmptyNode) -> Link {
        Link {
            network: self.clone(),
            to: target,
        }
    }
}

/// The way to one peer.
pub struct Link {
    network: Network,
    to: Id,
}

impl Link {
    /// One message and its answer, each with the faults of the moment.
    async fn exchange<A, F>(
        &self,
        timeout: Duration,
        deliver: impl Fn(Raft) -> F,
    ) -> Result<A, RpcError>
    where
        A: Send + 'static,
        F: Future<Output = Option<A>> + Send + 'static,
    {
        let world = &self.network.world;
        let lost = || RpcError::from(Unreachable::new(&std::io::Error::other("lost")));
        let exchange = async {
            let target = world
                .deliver(self.network.from, self.network.life, self.to)
                .await?;
            if world.duplicates() {
                crate::world::spawn({
                    let (again, delay) = (deliver(target.clone()), world.below(50));
                    async move {
                        tokio::time::sleep(Duration::from_millis(delay)).await;
                        again.await;
                    }
                });
            }
            let answer = deliver(target).await?;
            world
                .deliver(self.to, world.life(self.to), self.network.from)
                .await?;
            Some(answer)
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) | Err(_) => Err(lost()),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        self.exchange(option.hard_ttl(), |raft| {
            let rpc = rpc.clone();
            async move { raft.append_entries(rpc).await.ok() }
        })
        .await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.exchange(option.hard_ttl(), |raft| {
            let rpc = rpc.clone();
            async move { raft.vote(rpc).await.ok() }
        })
        .await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.exchange(option.hard_ttl(), |raft| {
            let rpc = rpc.clone();
            async move { raft.pre_vote(rpc).await.ok() }
        })
        .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        const TIMEOUT: Duration = Duration::from_secs(5);
        let send = self.exchange(TIMEOUT, |raft| {
            let snapshot = snapshot.clone();
            async move { raft.install_full_snapshot(vote, snapshot).await.ok() }
        });
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            answer = send => answer.map_err(|error| Unreachable::new(&error).into()),
        }
    }
}
