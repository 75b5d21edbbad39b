//! openraft's network over a `Transport`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kontiki_storage::{Sealer, SnapshotDir};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Snapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ReplicaId;
use crate::transport::{Peer, Request, RequestKind, Transport, TransportError};
use crate::types::{self, PeerNode, TypeConfig, Vote};

type RpcError = RPCError<TypeConfig>;
type Responses<'s> = BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>;

/// Snapshots may take this long, and a second more for each of these many bytes.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);
const SNAPSHOT_BYTES_PER_SECOND: u64 = 1 << 20;
/// Between two attempts to replicate to a peer that cannot be reached; heartbeats go on beside them.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);
/// Elections wait on disks: a vote is synced before it is answered.
const VOTE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct Network {
    pub transport: Arc<dyn Transport>,
    /// Its keys go with snapshots.
    pub sealer: Sealer,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: ReplicaId, node: &PeerNode) -> Link {
        let peer = Peer {
            id: target,
            endpoint: node.peer.clone(),
        };
        Link {
            network: self.clone(),
            peer,
            streams: true,
        }
    }

    /// Heartbeats are single requests: cheaper than a stream for each.
    async fn new_heartbeat_client(&mut self, target: ReplicaId, node: &PeerNode) -> Link {
        Link {
            streams: false,
            ..self.new_client(target, node).await
        }
    }
}

/// The way to one peer.
pub(crate) struct Link {
    network: Network,
    peer: Peer,
    streams: bool,
}

impl Link {
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: RequestKind,
        question: &Q,
        timeout: Duration,
    ) -> Result<A, RpcError> {
        let request = Request {
            kind,
            payload: types::encode(question).into(),
        };
        let answer = self
            .network
            .transport
            .request(&self.peer, request, timeout)
            .await;
        decode(answer)
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotDir;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        self.ask(RequestKind::Append, &rpc, option.hard_ttl()).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<Responses<'s>, RpcError>>
    where
        S: futures::Stream<Item = AppendEntriesRequest<TypeConfig>>
            + OptionalSend
            + Unpin
            + 'static,
    {
        if !self.streams {
            return openraft::network::stream_append_sequential(self, input, option);
        }
        let requests = input.map(|rpc| Bytes::from(types::encode(&rpc))).boxed();
        Box::pin(async move {
            let answers = self
                .network
                .transport
                .append_stream(&self.peer, requests)
                .await;
            // openraft opens the stream again at once: without a pause, a dead peer would cost the leader a core.
            let answers = match answers {
                Ok(answers) => answers,
                Err(error) => {
                    tokio::time::sleep(REOPEN_PAUSE).await;
                    return Err(rpc_error(error));
                }
            };
            let paused = answers.then(|answer| async {
                if answer.is_err() {
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
                decode(answer)
            });
            Ok(paused.boxed())
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask(RequestKind::Vote, &rpc, VOTE_TIMEOUT).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask(RequestKind::PreVote, &rpc, VOTE_TIMEOUT).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<
            openraft::alias::CommittedLeaderIdOf<TypeConfig>,
            ReplicaId,
            PeerNode,
            SnapshotDir,
        >,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let size_bytes = snapshot.snapshot.manifest().size_bytes();
        let timeout =
            SNAPSHOT_TIMEOUT + Duration::from_secs(size_bytes / SNAPSHOT_BYTES_PER_SECOND);
        let vote = types::encode(&vote).into();
        // While the snapshot is held, no key that it needs is let go.
        let keyring = self.network.sealer.export().into();
        let transport = &self.network.transport;
        let send =
            transport.install_snapshot(&self.peer, vote, keyring, snapshot.snapshot, timeout);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            answer = send => match decode(answer) {
                Ok(response) => Ok(response),
                Err(error) => Err(Unreachable::new(&error).into()),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        self.ask(RequestKind::TransferLeader, &request, VOTE_TIMEOUT)
            .await
    }
}

fn decode<A: DeserializeOwned>(answer: Result<Bytes, TransportError>) -> Result<A, RpcError> {
    let bytes = answer.map_err(rpc_error)?;
    types::decode(&bytes).map_err(|error| NetworkError::new(&error).into())
}

/// What cannot be reached is tried again after a back-off, what broke is tried again at once.
fn rpc_error(error: TransportError) -> RpcError {
    match error {
        TransportError::Lost(_) => NetworkError::new(&error).into(),
        TransportError::NotSent(_) | TransportError::Refused(_) => Unreachable::new(&error).into(),
    }
}
