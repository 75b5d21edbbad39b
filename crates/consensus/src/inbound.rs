//! What other replicas ask of this one.

use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kontiki_base::random::{Random, SystemRandom};
use kontiki_state::Proposal;
use kontiki_storage::{Manifest, Receiver, SnapshotDir};
use openraft::Snapshot;
use serde::Serialize;
use tokio::time::timeout;

use crate::membership::{self, Change};
use crate::proposer::Outcome;
use crate::replica::{Forward, Replica};
use crate::transport::{Chunk, Inbound, Messages, Request, RequestKind, TransportError};
use crate::{CallError, CallStream, Lane, MembershipError, ReplicaId, machine, reads, types};

type Answer = Result<Bytes, TransportError>;

impl Inbound for Arc<Replica> {
    fn request(&self, _from: ReplicaId, request: Request) -> BoxFuture<'static, Answer> {
        let replica = Arc::clone(self);
        async move { answer(&replica, request).await }.boxed()
    }

    fn append_stream(&self, _from: ReplicaId, mut requests: Messages) -> Messages {
        let decoded = stream! {
            while let Some(Ok(bytes)) = requests.next().await {
                let Ok(request) = types::decode(&bytes) else { break };
                yield request;
            }
        };
        let answers = self.raft.stream_append(decoded);
        answers
            .map(|answer| encode(answer.map_err(refused)?))
            .boxed()
    }

    fn install_snapshot(
        &self,
        from: ReplicaId,
        vote: Bytes,
        keyring: Bytes,
        manifest: Manifest,
        chunks: BoxStream<'static, Result<Chunk, TransportError>>,
    ) -> BoxFuture<'static, Answer> {
        let replica = Arc::clone(self);
        async move {
            let vote: types::Vote = types::decode(&vote).map_err(refused)?;
            let meta = machine::snapshot_meta(&manifest).map_err(refused)?;
            tracing::info!(from, bytes = manifest.size_bytes(), "receiving a snapshot");
            // Held until the snapshot is in place.
            let arriving = replica.machine.dir.sealer().arriving(&keyring);
            let _arriving = arriving.map_err(refused)?;
            let snapshot = receive(&replica, manifest, chunks).await?;
            let snapshot = Snapshot { meta, snapshot };
            let installed = replica.raft.install_full_snapshot(vote, snapshot).await;
            encode(installed.map_err(refused)?)
        }
        .boxed()
    }

    fn call(
        &self,
        from: ReplicaId,
        method: String,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<CallStream, CallError>> {
        let handler = self.calls.read().get(&method).cloned();
        match handler {
            Some(handler) => handler.call(from, payload),
            None => futures::future::ready(Err(CallError::UnknownMethod(method))).boxed(),
        }
    }

    fn disconnected(&self, from: ReplicaId) {
        // A full queue holds more than enough reasons to look.
        let _ = self.broken.try_send(from);
    }
}

async fn answer(replica: &Arc<Replica>, request: Request) -> Answer {
    let payload = &request.payload;
    let raft = &replica.raft;
    match request.kind {
        RequestKind::Append => {
            let rpc = types::decode(payload).map_err(refused)?;
            encode(raft.append_entries(rpc).await.map_err(refused)?)
        }
        RequestKind::Vote => {
            let rpc = types::decode(payload).map_err(refused)?;
            encode(raft.vote(rpc).await.map_err(refused)?)
        }
        RequestKind::PreVote => {
            let rpc = types::decode(payload).map_err(refused)?;
            encode(raft.pre_vote(rpc).await.map_err(refused)?)
        }
        RequestKind::TransferLeader => {
            let rpc = types::decode(payload).map_err(refused)?;
            encode(raft.handle_transfer_leader(rpc).await.map_err(refused)?)
        }
        RequestKind::Propose => encode(take_forwarded(replica, payload).await?),
        RequestKind::ReadIndex => encode(reads::confirm(replica).await),
        RequestKind::ChangeMembership => {
            let change: Change = types::decode(payload).map_err(refused)?;
            let leads = replica.leadership.borrow().leader == Some(replica.config.replica_id);
            encode(match leads {
                true => membership::change_here(replica, &change).await,
                false => Err(MembershipError::NoLeader),
            })
        }
    }
}

async fn take_forwarded(replica: &Replica, payload: &[u8]) -> Result<Outcome, TransportError> {
    let forward: Forward = types::decode(payload).map_err(refused)?;
    let proposal = Proposal::decode(&forward.proposal).map_err(refused)?;
    let lane = match forward.lane {
        0 => Lane::System,
        1 => Lane::User,
        _ => Lane::Events,
    };
    let limit = Duration::from_millis(forward.timeout_ms.into());
    let outcome = timeout(limit, replica.accept(forward.term, lane, proposal)).await;
    Ok(outcome.unwrap_or(Outcome::Unknown))
}

/// Writes chunks to disk, each checked, then all of them as a whole.
async fn receive(
    replica: &Replica,
    manifest: Manifest,
    mut chunks: BoxStream<'static, Result<Chunk, TransportError>>,
) -> Result<SnapshotDir, TransportError> {
    let tag = SystemRandom.bits();
    let mut receiver = Receiver::begin(&replica.machine.dir, manifest, tag).map_err(refused)?;
    while let Some(chunk) = chunks.next().await {
        let Chunk {
            file,
            offset,
            data,
            sum,
        } = chunk?;
        receiver.chunk(&file, offset, &data, sum).map_err(refused)?;
    }
    let finished = tokio::task::spawn_blocking(move || receiver.finish()).await;
    finished.map_err(refused)?.map_err(|error| {
        tracing::warn!(%error, "a received snapshot is refused");
        refused(error)
    })
}

fn encode<T: Serialize>(value: T) -> Answer {
    Ok(types::encode(&value).into())
}

fn refused(error: impl std::fmt::Display) -> TransportError {
    TransportError::Refused(error.to_string())
}
