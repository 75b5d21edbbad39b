//! Receives from peers: accepts, checks certificate and cluster, hands over to `Inbound`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kontiki_base::limits;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_proto::raft as proto;
use kontiki_storage::Manifest;
use proto::install_snapshot_request::Part;
use proto::peer_service_server::{PeerService, PeerServiceServer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use super::CLUSTER;
use super::tls::{self, Keys};
use crate::transport::{self, Chunk, Inbound, RequestKind, TransportError};
use crate::{CallError, ReplicaId, StartError};

type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// Connections of all peers together; a cluster has a handful.
const CONNECTIONS: usize = 256;
const KEEPALIVE: Duration = Duration::from_secs(10);
const WINDOW_BYTES: u32 = 4 << 20;

/// Takes the peer port.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| StartError::Network(format!("peer port {address}: {error}")))
}

/// Serves peers.
pub(crate) struct Server {
    pub cluster_id: String,
    pub inbound: Arc<dyn Inbound>,
}

impl Server {
    /// Serves until `stopping` becomes true.
    pub(crate) async fn run(
        self,
        listener: TcpListener,
        keys: Arc<Keys>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let (accepted, connections) = mpsc::channel(16);
        let inbound = Arc::clone(&self.inbound);
        let accepting = spawn(
            TaskKind::Listener,
            accept(listener, keys, accepted, inbound, stopping.clone()),
        );
        let service = PeerServiceServer::new(self)
            .max_decoding_message_size(limits::RPC_MESSAGE_BYTES)
            .max_encoding_message_size(limits::RPC_MESSAGE_BYTES);
        let stopped = async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        // Streams of peers never end by themselves: they are cut, not drained.
        let serve = tonic::transport::Server::builder()
            .max_concurrent_streams(limits::STREAMS_PER_CONNECTION * 16)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .add_service(service)
            .serve_with_incoming(ReceiverStream::new(connections));
        tokio::select! {
            served = serve => if let Err(error) = served {
                tracing::error!(%error, "the peer port failed");
            },
            () = stopped => {}
        }
        accepting.abort();
    }

    fn caller<T>(&self, request: &Request<T>) -> Result<ReplicaId, Status> {
        let cluster = request
            .metadata()
            .get(CLUSTER)
            .and_then(|id| id.to_str().ok());
        if cluster != Some(self.cluster_id.as_str()) {
            return Err(Status::permission_denied("another cluster"));
        }
        let peer = request.extensions().get::<PeerId>();
        peer.map(|peer| peer.0)
            .ok_or_else(|| Status::permission_denied("no peer certificate"))
    }
}

#[tonic::async_trait]
impl PeerService for Server {
    type StreamAppendStream = Answers<proto::StreamAppendResponse>;
    type CallStream = Answers<proto::CallResponse>;

    async fn request(
        &self,
        request: Request<proto::PeerRequest>,
    ) -> Result<Response<proto::PeerResponse>, Status> {
        let from = self.caller(&request)?;
        let proto::PeerRequest { kind, payload, sum } = request.into_inner();
        check(&payload, sum)?;
        let kind = kind_from_proto(kind).ok_or_else(|| Status::invalid_argument("unknown kind"))?;
        let answer = self
            .inbound
            .request(from, transport::Request { kind, payload })
            .await;
        let payload = answer.map_err(status)?;
        Ok(Response::new(proto::PeerResponse { payload }))
    }

    async fn stream_append(
        &self,
        request: Request<Streaming<proto::StreamAppendRequest>>,
    ) -> Result<Response<Self::StreamAppendStream>, Status> {
        let from = self.caller(&request)?;
        let requests = request.into_inner().map(|message| {
            let lost = |status: Status| TransportError::Lost(status.message().to_owned());
            let proto::StreamAppendRequest { payload, sum } = message.map_err(lost)?;
            check(&payload, sum).map_err(lost)?;
            Ok(payload)
        });
        let answers = self
            .inbound
            .append_stream(from, requests.boxed())
            .map(|answer| {
                let payload = answer.map_err(status)?;
                Ok(proto::StreamAppendResponse { payload })
            });
        Ok(Response::new(answers.boxed()))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<proto::InstallSnapshotRequest>>,
    ) -> Result<Response<proto::InstallSnapshotResponse>, Status> {
        let from = self.caller(&request)?;
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|message| message.part);
        let Some(Part::Header(header)) = first else {
            return Err(Status::invalid_argument(
                "a snapshot begins with its header",
            ));
        };
        let path = std::path::Path::new("snapshot");
        let manifest = Manifest::decode(path, &header.manifest)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let chunks = parts.map(|message| match message.map(|message| message.part) {
            Ok(Some(Part::Chunk(chunk))) => {
                let proto::SnapshotChunk {
                    file,
                    offset,
                    data,
                    sum,
                } = chunk;
                Ok(Chunk {
                    file,
                    offset,
                    data,
                    sum,
                })
            }
            Ok(_) => Err(TransportError::Refused("not a chunk".to_owned())),
            Err(status) => Err(TransportError::Lost(status.message().to_owned())),
        });
        let installed = self
            .inbound
            .install_snapshot(from, header.vote, header.keyring, manifest, chunks.boxed())
            .await;
        let payload = installed.map_err(status)?;
        Ok(Response::new(proto::InstallSnapshotResponse { payload }))
    }

    async fn call(
        &self,
        request: Request<proto::CallRequest>,
    ) -> Result<Response<Self::CallStream>, Status> {
        let from = self.caller(&request)?;
        let proto::CallRequest { method, payload } = request.into_inner();
        let answers = self
            .inbound
            .call(from, method, payload)
            .await
            .map_err(call_status)?;
        let answers = answers.map(|answer| {
            let payload = answer.map_err(call_status)?;
            Ok(proto::CallResponse { payload })
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// Accepts connections; a slow or hostile handshake holds up nobody else.
async fn accept(
    listener: TcpListener,
    keys: Arc<Keys>,
    accepted: mpsc::Sender<std::io::Result<PeerStream>>,
    inbound: Arc<dyn Inbound>,
    stopping: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let (tcp, address) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "accepting a peer failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            continue;
        };
        let (acceptor, accepted) = (TlsAcceptor::from(keys.server()), accepted.clone());
        let (inbound, mut stopping) = (Arc::clone(&inbound), stopping.clone());
        spawn(TaskKind::Connection, async move {
            match tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, handshake(tcp, acceptor)).await {
                Ok(Ok((id, stream))) => {
                    let stopped = async move {
                        let _ = stopping.wait_for(|stopping| *stopping).await;
                    };
                    let stopped = Some(stopped.boxed());
                    let _ = accepted
                        .send(Ok(PeerStream {
                            id,
                            stream,
                            stopped,
                            inbound,
                            _slot: slot,
                        }))
                        .await;
                }
                Ok(Err(error)) => tracing::warn!(%address, error, "refused a peer connection"),
                Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
            }
        });
    }
}

async fn handshake(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
) -> Result<(ReplicaId, TlsStream<TcpStream>), String> {
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let stream = acceptor
        .accept(tcp)
        .await
        .map_err(|error| error.to_string())?;
    let id = tls::identity(stream.get_ref().1.peer_certificates())?;
    Ok((id, stream))
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
struct PeerId(ReplicaId);

struct PeerStream {
    id: ReplicaId,
    stream: TlsStream<TcpStream>,
    /// Cuts the connection when the replica stops; `None` once it has.
    stopped: Option<BoxFuture<'static, ()>>,
    inbound: Arc<dyn Inbound>,
    _slot: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for PeerStream {
    fn drop(&mut self) {
        self.inbound.disconnected(self.id);
    }
}

impl Connected for PeerStream {
    type ConnectInfo = PeerId;

    fn connect_info(&self) -> PeerId {
        PeerId(self.id)
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let stopped = self
            .stopped
            .as_mut()
            .is_none_or(|stop| stop.poll_unpin(context).is_ready());
        if stopped {
            self.stopped = None;
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn check(payload: &[u8], sum: u32) -> Result<(), Status> {
    match crc32fast::hash(payload) == sum {
        true => Ok(()),
        false => Err(Status::invalid_argument("checksum differs")),
    }
}

fn kind_from_proto(kind: i32) -> Option<RequestKind> {
    Some(match proto::RequestKind::try_from(kind).ok()? {
        proto::RequestKind::Unspecified => return None,
        proto::RequestKind::Append => RequestKind::Append,
        proto::RequestKind::Vote => RequestKind::Vote,
        proto::RequestKind::PreVote => RequestKind::PreVote,
        proto::RequestKind::TransferLeader => RequestKind::TransferLeader,
        proto::RequestKind::Propose => RequestKind::Propose,
        proto::RequestKind::ReadIndex => RequestKind::ReadIndex,
        proto::RequestKind::ChangeMembership => RequestKind::ChangeMembership,
    })
}

fn status(error: TransportError) -> Status {
    match error {
        TransportError::Refused(why) => Status::failed_precondition(why),
        TransportError::NotSent(why) | TransportError::Lost(why) => Status::unavailable(why),
    }
}

fn call_status(error: CallError) -> Status {
    match error {
        CallError::UnknownMethod(method) => Status::unimplemented(method),
        CallError::Refused(why) => Status::failed_precondition(why),
        other => Status::unavailable(other.to_string()),
    }
}
