//! Sends to peers. Connections are made when needed and again when lost, after a back-off that tonic's channel lacks.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use http::Uri;
use hyper_util::rt::TokioIo;
use kontiki_base::limits;
use kontiki_proto::raft as proto;
use kontiki_storage::SnapshotDir;
use parking_lot::Mutex;
use proto::install_snapshot_request::Part;
use proto::peer_service_client::PeerServiceClient;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::CLUSTER;
use super::tls::{self, Keys};
use crate::transport::{Messages, Peer, Request, RequestKind, Transport, TransportError};
use crate::{CallError, CallStream, ReplicaId};

type PeerClient = PeerServiceClient<Channel>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes in flight on one stream and on one connection.
const WINDOW_BYTES: u32 = 4 << 20;

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Traffic {
    Raft,
    Bulk,
}

pub(crate) struct Client {
    cluster_id: MetadataValue<Ascii>,
    keys: Arc<Keys>,
    channels: Mutex<HashMap<(Peer, Traffic), Channel>>,
}

/// The connection was never made, so nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotConnected(String);

impl Client {
    pub(crate) fn new(cluster_id: &str, keys: Arc<Keys>) -> Result<Self, String> {
        let cluster_id = cluster_id
            .parse()
            .map_err(|_| "cluster id is no ASCII".to_owned())?;
        Ok(Self {
            cluster_id,
            keys,
            channels: Mutex::default(),
        })
    }

    fn client(&self, to: &Peer, traffic: Traffic) -> PeerClient {
        let mut channels = self.channels.lock();
        if !channels.contains_key(&(to.clone(), traffic)) {
            // A peer that moved leaves its old channels behind.
            channels.retain(|(peer, _), _| peer.id != to.id || peer.endpoint == to.endpoint);
        }
        let channel = channels
            .entry((to.clone(), traffic))
            .or_insert_with(|| channel(to, Arc::clone(&self.keys)))
            .clone();
        PeerServiceClient::new(channel)
            .max_decoding_message_size(limits::RPC_MESSAGE_BYTES)
            .max_encoding_message_size(limits::RPC_MESSAGE_BYTES)
    }

    fn wrap<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request
            .metadata_mut()
            .insert(CLUSTER, self.cluster_id.clone());
        request
    }
}

impl Transport for Client {
    fn request(
        &self,
        to: &Peer,
        request: Request,
        limit: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let traffic = match request.kind {
            RequestKind::Propose | RequestKind::ChangeMembership => Traffic::Bulk,
            _ => Traffic::Raft,
        };
        let mut client = self.client(to, traffic);
        let sum = crc32fast::hash(&request.payload);
        let kind = kind_to_proto(request.kind).into();
        let message = self.wrap(proto::PeerRequest {
            kind,
            payload: request.payload,
            sum,
        });
        async move {
            match timeout(limit, client.request(message)).await {
                Ok(Ok(response)) => Ok(response.into_inner().payload),
                Ok(Err(status)) => Err(transport_error(&status)),
                Err(_) => Err(TransportError::Lost(format!("no answer in {limit:?}"))),
            }
        }
        .boxed()
    }

    fn append_stream(
        &self,
        to: &Peer,
        requests: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Messages, TransportError>> {
        let mut client = self.client(to, Traffic::Raft);
        let request = self.wrap(Appends(requests));
        async move {
            let answers = client.stream_append(request).await;
            let answers = answers
                .map_err(|status| transport_error(&status))?
                .into_inner();
            let payloads = answers.map(|answer| match answer {
                Ok(answer) => Ok(answer.payload),
                Err(status) => Err(transport_error(&status)),
            });
            Ok(payloads.boxed())
        }
        .boxed()
    }

    fn install_snapshot(
        &self,
        to: &Peer,
        vote: Bytes,
        keyring: Bytes,
        snapshot: SnapshotDir,
        limit: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let mut client = self.client(to, Traffic::Bulk);
        let (broken, mut local_error) = tokio::sync::mpsc::channel::<String>(1);
        let manifest = snapshot.manifest().encode().into();
        let header = Part::Header(proto::SnapshotHeader {
            vote,
            manifest,
            keyring,
        });
        let chunks = snapshot.chunks().map_while(move |chunk| match chunk {
            Ok((file, offset, data)) => {
                let sum = crc32fast::hash(&data);
                let data = Bytes::from(data);
                Some(Part::Chunk(proto::SnapshotChunk {
                    file,
                    offset,
                    data,
                    sum,
                }))
            }
            Err(error) => {
                let _ = broken.try_send(error.to_string());
                None
            }
        });
        let parts = std::iter::once(header).chain(chunks);
        let messages = parts.map(|part| proto::InstallSnapshotRequest { part: Some(part) });
        let request = self.wrap(futures::stream::iter(messages));
        async move {
            let answer = timeout(limit, client.install_snapshot(request)).await;
            if let Ok(error) = local_error.try_recv() {
                return Err(TransportError::Refused(format!(
                    "cannot read the snapshot: {error}"
                )));
            }
            match answer {
                Ok(Ok(response)) => Ok(response.into_inner().payload),
                Ok(Err(status)) => Err(transport_error(&status)),
                Err(_) => Err(TransportError::Lost(format!("not installed in {limit:?}"))),
            }
        }
        .boxed()
    }

    fn has_ended(&self, to: &Peer) -> BoxFuture<'static, bool> {
        let endpoint = to.endpoint.clone();
        async move { nobody_listens(&endpoint).await }.boxed()
    }

    fn call(
        &self,
        to: &Peer,
        method: &'static str,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<CallStream, CallError>> {
        let mut client = self.client(to, Traffic::Bulk);
        let request = self.wrap(proto::CallRequest {
            method: method.to_owned(),
            payload,
        });
        async move {
            let answers = client.call(request).await;
            let answers = answers
                .map_err(|status| call_error(method, &status))?
                .into_inner();
            let payloads = answers.map(move |answer| match answer {
                Ok(answer) => Ok(answer.payload),
                Err(status) => Err(call_error(method, &status)),
            });
            Ok(payloads.boxed())
        }
        .boxed()
    }
}

/// A stream of a type without lifetimes, which the compiler needs to see that the future is `Send`.
struct Appends(BoxStream<'static, Bytes>);

impl futures::Stream for Appends {
    type Item = proto::StreamAppendRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context).map(|payload| {
            let payload = payload?;
            let sum = crc32fast::hash(&payload);
            Some(proto::StreamAppendRequest { payload, sum })
        })
    }
}

fn channel(to: &Peer, keys: Arc<Keys>) -> Channel {
    let (endpoint, id) = (to.endpoint.clone(), to.id);
    let connector = tower::service_fn(move |_: Uri| {
        let (endpoint, tls) = (endpoint.clone(), TlsConnector::from(keys.client()));
        async move {
            let connecting = connect(&endpoint, id, tls);
            match timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(NotConnected(format!("{endpoint}: no connection in time"))),
            }
        }
    });
    Endpoint::from_static("http://kontiki-peer")
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect_with_connector_lazy(connector)
}

/// Connects and makes sure that it is the right replica which answered.
async fn connect(
    endpoint: &str,
    id: ReplicaId,
    tls: TlsConnector,
) -> Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>, NotConnected> {
    let failed = |error: &dyn std::fmt::Display| NotConnected(format!("{endpoint}: {error}"));
    let tcp = TcpStream::connect(endpoint)
        .await
        .map_err(|error| failed(&error))?;
    tcp.set_nodelay(true).map_err(|error| failed(&error))?;
    let stream = tls
        .connect(tls::server_name(), tcp)
        .await
        .map_err(|error| failed(&error))?;
    let found = tls::identity(stream.get_ref().1.peer_certificates());
    let found = found.map_err(|error| failed(&error))?;
    if found != id {
        return Err(failed(&format!("replica {found} answers there, not {id}")));
    }
    Ok(TokioIo::new(stream))
}

fn kind_to_proto(kind: RequestKind) -> proto::RequestKind {
    match kind {
        RequestKind::Append => proto::RequestKind::Append,
        RequestKind::Vote => proto::RequestKind::Vote,
        RequestKind::PreVote => proto::RequestKind::PreVote,
        RequestKind::TransferLeader => proto::RequestKind::TransferLeader,
        RequestKind::Propose => proto::RequestKind::Propose,
        RequestKind::ReadIndex => proto::RequestKind::ReadIndex,
        RequestKind::ChangeMembership => proto::RequestKind::ChangeMembership,
    }
}

/// Servers refuse with `FailedPrecondition`, `PermissionDenied` or `InvalidArgument`, and then have done nothing.
fn transport_error(status: &Status) -> TransportError {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<NotConnected>() {
            return TransportError::NotSent(error.to_string());
        }
        source = error.source();
    }
    let why = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::FailedPrecondition | Code::PermissionDenied | Code::InvalidArgument => {
            TransportError::Refused(why)
        }
        _ => TransportError::Lost(why),
    }
}

fn call_error(method: &str, status: &Status) -> CallError {
    match status.code() {
        Code::Unimplemented => CallError::UnknownMethod(method.to_owned()),
        Code::FailedPrecondition => CallError::Refused(status.message().to_owned()),
        _ => CallError::Unreachable(transport_error(status).to_string()),
    }
}

/// Whether the machine at the other end says that no process holds the port.
async fn nobody_listens(endpoint: &str) -> bool {
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint)).await;
    let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    connecting.is_ok_and(|connected| connected.err().is_some_and(refused))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_process_that_accepts_nothing_still_listens_until_it_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        assert!(!nobody_listens(&endpoint).await);
        drop(listener);
        assert!(nobody_listens(&endpoint).await);
    }
}
