//! What a replica needs of the network, so that production (gRPC) and simulation can both provide it.
//!
//! Payloads are opaque here. A transport delivers at most once, in order within a stream, and says truthfully when a
//! request was surely not sent (`TransportError::NotSent`): proposals are retried on that alone.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kontiki_storage::{Manifest, SnapshotDir};

use crate::{CallError, CallStream, ReplicaId};

/// Another replica and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its id, to be proven by its certificate.
    pub id: ReplicaId,
    /// `host:port`.
    pub endpoint: String,
}

/// What a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// Entries or a heartbeat, outside of a stream.
    Append,
    /// A vote.
    Vote,
    /// Whether a vote would be given.
    PreVote,
    /// To start an election now.
    TransferLeader,
    /// A proposal for the leader.
    Propose,
    /// One ReadIndex round of the leader.
    ReadIndex,
    /// A membership change for the leader.
    ChangeMembership,
}

/// A question to a replica.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it asks.
    pub kind: RequestKind,
    /// Encoded by this crate.
    pub payload: Bytes,
}

/// No answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Surely not delivered.
    #[error("not sent: {0}")]
    NotSent(String),
    /// Perhaps delivered.
    #[error("no answer: {0}")]
    Lost(String),
    /// Delivered and refused.
    #[error("refused: {0}")]
    Refused(String),
}

/// A piece of a snapshot.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// File in the manifest.
    pub file: String,
    /// Where it goes.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
    /// Their CRC-32.
    pub sum: u32,
}

/// Messages of a stream.
pub type Messages = BoxStream<'static, Result<Bytes, TransportError>>;

/// Sends to other replicas.
pub trait Transport: Send + Sync + 'static {
    /// One question, one answer.
    fn request(
        &self,
        to: &Peer,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Replication: answers come in the order of requests.
    fn append_stream(
        &self,
        to: &Peer,
        requests: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Messages, TransportError>>;

    /// Sends a whole snapshot, with the keys that its sealed records open with, and waits until it is installed.
    fn install_snapshot(
        &self,
        to: &Peer,
        vote: Bytes,
        keyring: Bytes,
        snapshot: SnapshotDir,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Whether nobody listens at a peer's address: its process has ended, or was never there. Slowness, loss and doubt
    /// are `false`.
    fn has_ended(&self, to: &Peer) -> BoxFuture<'static, bool>;

    /// A call for a handler of the other replica.
    fn call(
        &self,
        to: &Peer,
        method: &'static str,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<CallStream, CallError>>;
}

/// Receives from other replicas. `from` is proven by the transport.
pub trait Inbound: Send + Sync + 'static {
    /// Answers a question.
    fn request(
        &self,
        from: ReplicaId,
        request: Request,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Takes entries.
    fn append_stream(&self, from: ReplicaId, requests: Messages) -> Messages;

    /// Takes a snapshot.
    fn install_snapshot(
        &self,
        from: ReplicaId,
        vote: Bytes,
        keyring: Bytes,
        manifest: Manifest,
        chunks: BoxStream<'static, Result<Chunk, TransportError>>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Serves a call.
    fn call(
        &self,
        from: ReplicaId,
        method: String,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<CallStream, CallError>>;

    /// A connection that another replica had made is gone.
    fn disconnected(&self, from: ReplicaId);
}
