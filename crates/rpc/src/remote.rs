//! The replicas as a gateway of its own process reaches them: over gRPC, with the gateway's certificate.
//!
//! One replica is asked as long as it answers; when it does not, the next takes its place for everything that comes after.
//! Only the opening of a stream is tried again: what was sent may have been done.

mod pool;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use kontiki_api::Kind;
use kontiki_apiserver::feed::{Feed, Start};
use kontiki_apiserver::relay::{Client, Io, Replicas};
use kontiki_base::limits::{GATEWAY_STREAM_BYTES, RPC_MESSAGE_BYTES};
use kontiki_base::metrics::METRICS;
use kontiki_base::status::{Reason, Status};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_proto::api as proto;
use kontiki_proto::api::forward_request::Content;
use kontiki_proto::api::gateway_service_client::GatewayServiceClient;
use parking_lot::RwLock;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;

use crate::error::from_tonic;
use crate::{feed, pipe};
pub use pool::Identity;
use pool::{Lease, Leased, Replica};

/// Longest wait for a replica that is asked to serve a stream, its connection included; above its own wait for a revision.
const OPEN_TIMEOUT: Duration = Duration::from_secs(4);

/// The replicas of a cluster.
pub struct Remote {
    replicas: RwLock<Vec<Arc<Replica>>>,
    /// Which of them is asked.
    current: AtomicUsize,
    identity: Arc<arc_swap::ArcSwap<Identity>>,
}

impl Remote {
    /// Over the replicas' `host:port`s, beginning with the `first`th, so that several gateways spread.
    pub fn new(endpoints: &[String], identity: Identity, first: usize) -> Self {
        let remote = Self {
            replicas: RwLock::default(),
            current: AtomicUsize::new(first),
            identity: Arc::new(arc_swap::ArcSwap::from_pointee(identity)),
        };
        remote.learn(endpoints);
        remote
    }

    /// Adds replicas that it does not know yet.
    pub fn learn(&self, endpoints: &[String]) {
        let mut replicas = self.replicas.write();
        for endpoint in endpoints {
            if replicas.iter().all(|known| known.endpoint != *endpoint) {
                replicas.push(Arc::new(Replica::new(
                    endpoint.clone(),
                    self.identity.clone(),
                )));
            }
        }
    }

    /// Takes a renewed certificate into use, for connections from now on.
    pub fn renew(&self, identity: Identity) {
        self.identity.store(Arc::new(identity));
        let replicas = self.replicas.read();
        replicas.iter().for_each(|replica| replica.hang_up());
    }

    /// Asks for a new certificate: answers with it, the authority's, and all replicas.
    pub async fn renew_certificate(
        &self,
        csr_pem: String,
    ) -> Result<(String, String, Vec<String>), Status> {
        let renewed = self
            .each(|mut client| {
                let csr_pem = csr_pem.clone();
                Box::pin(async move {
                    let request = proto::RenewCertificateRequest { csr_pem };
                    client.renew_certificate(request).await
                })
            })
            .await?;
        let renewed = renewed.inner.into_inner();
        Ok((
            renewed.certificate_pem,
            renewed.ca_pem,
            renewed.server_endpoints,
        ))
    }

    /// Makes a call at the replica whose turn it is, and at the others when it cannot be reached.
    async fn each<T>(
        &self,
        call: impl Fn(
            GatewayServiceClient<Channel>,
        ) -> BoxFuture<'static, Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<Leased<tonic::Response<T>>, Status> {
        let replicas = self.replicas.read().clone();
        let first = self.current.load(Ordering::Relaxed);
        let mut last = no_replica();
        for nth in first..first + replicas.len() {
            let replica = &replicas[nth % replicas.len()];
            let outcome = tokio::time::timeout(OPEN_TIMEOUT, at(replica, &call)).await;
            match outcome.unwrap_or_else(|_| Err(Failure::silent())) {
                Ok(answer) => {
                    // Lost races are harmless: both were reached.
                    let _ = self.current.compare_exchange(
                        first,
                        nth,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    return Ok(answer);
                }
                Err(Failure::Refused(status)) if status.reason == Reason::Forbidden => {
                    tracing::error!(replica = replica.endpoint, %status, "this gateway is refused");
                    return Err(not_a_gateway());
                }
                Err(Failure::Refused(status)) => return Err(status),
                Err(Failure::Unreachable(why)) => {
                    METRICS.gateway_unreachable_total.inc();
                    tracing::warn!(replica = replica.endpoint, why, "cannot be reached");
                    replica.hang_up();
                    last = no_replica();
                }
                Err(Failure::Full) => last = full(),
            }
        }
        Err(last)
    }
}

/// Why a replica did not take a call.
enum Failure {
    /// Somebody else may.
    Unreachable(String),
    /// All connections to it carry as much as they may.
    Full,
    /// Nobody else will.
    Refused(Status),
}

impl Failure {
    fn silent() -> Self {
        Self::Unreachable(format!("no answer within {OPEN_TIMEOUT:?}"))
    }
}

async fn at<T>(
    replica: &Replica,
    call: impl Fn(
        GatewayServiceClient<Channel>,
    ) -> BoxFuture<'static, Result<tonic::Response<T>, tonic::Status>>,
) -> Result<Leased<tonic::Response<T>>, Failure> {
    let lease = match replica.lease().await {
        Ok(Some(lease)) => lease,
        Ok(None) => return Err(Failure::Full),
        Err(why) => return Err(Failure::Unreachable(why)),
    };
    let client = GatewayServiceClient::new(lease.channel.clone())
        .max_decoding_message_size(RPC_MESSAGE_BYTES)
        .max_encoding_message_size(RPC_MESSAGE_BYTES);
    match call(client).await {
        Ok(inner) => Ok(Leased { inner, lease }),
        Err(status) if is_unreachable(&status) => Err(Failure::Unreachable(status.to_string())),
        Err(status) => Err(Failure::Refused(from_tonic(&status))),
    }
}

/// Whether a failure says that the replica is not there, or can do nothing now; its own refusals carry details.
fn is_unreachable(status: &tonic::Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        Code::Unknown | Code::Cancelled | Code::Internal => status.details().is_empty(),
        _ => false,
    }
}

fn no_replica() -> Status {
    let message = "no replica of the control plane can be reached, please try again later";
    Status::new(Reason::ServiceUnavailable, message).with_retry_after(1)
}

/// Not the client's fault, so not a 403.
fn not_a_gateway() -> Status {
    let message = "the replicas refuse this gateway's certificate; join it to the cluster again";
    Status::new(Reason::ServiceUnavailable, message)
}

fn full() -> Status {
    let message = "too many requests are passed on by this gateway, please try again later";
    Status::new(Reason::TooManyRequests, message).with_retry_after(1)
}

impl Replicas for Remote {
    fn open(&self, client: Client) -> BoxFuture<'_, Result<Box<dyn Io>, Status>> {
        Box::pin(async move {
            let named = proto::ForwardedClient {
                certificate: client.cert.map(|cert| cert.0).unwrap_or_default(),
                peer_address: client.peer.map_or_else(String::new, |it| it.to_string()),
                takes_over: client.takes_over,
            };
            // The channel outlives a failed attempt only with its sender: each attempt makes its own.
            let (senders, mut opened) = mpsc::unbounded_channel();
            let answer = self
                .each(move |mut client| {
                    let (named, senders) = (named.clone(), senders.clone());
                    Box::pin(async move {
                        let (sender, receiver) = mpsc::channel(pipe::MESSAGES);
                        let first = futures::stream::iter([Content::Client(named)]);
                        let rest = ReceiverStream::new(receiver).map(Content::Data);
                        let requests = first.chain(rest).map(|content| proto::ForwardRequest {
                            content: Some(content),
                        });
                        let answer = client.forward(requests).await?;
                        let _ = senders.send(sender);
                        Ok(answer)
                    })
                })
                .await?;
            let sender = opened.try_recv();
            let sender = sender.map_err(|_| Status::internal("a stream without its sender"))?;
            let (near, far) = tokio::io::duplex(GATEWAY_STREAM_BYTES);
            spawn(TaskKind::Request, carry(far, answer, sender));
            Ok(Box::new(near) as Box<dyn Io>)
        })
    }

    fn feed(&self, kind: Kind, start: Start) -> BoxFuture<'_, Result<Feed, Status>> {
        Box::pin(async move {
            let (start, revision) = feed::start_fields(start);
            let request = proto::FeedRequest {
                group: kind.group().to_owned(),
                version: kind.version().to_owned(),
                resource: kind.plural().to_owned(),
                start: start.into(),
                revision,
            };
            let Leased { inner, lease } = self
                .each(move |mut client| {
                    let request = request.clone();
                    Box::pin(async move { client.feed(request).await })
                })
                .await?;
            let mut messages = inner.into_inner();
            let head = messages.message().await.map_err(|it| from_tonic(&it))?;
            let head = head.ok_or_else(|| Status::internal("a feed without a beginning"))?;
            let resource = Arc::clone(kind.resource());
            let pieces = messages
                .map_err(|status| from_tonic(&status))
                .and_then(move |message| {
                    let _held = &lease;
                    std::future::ready(feed::fed(&resource, message))
                });
            Ok(Feed {
                floor: head.floor,
                pieces: Box::pin(pieces),
            })
        })
    }
}

/// Carries a stream's bytes; its place on the connection is free once it ends.
async fn carry(
    far: tokio::io::DuplexStream,
    answer: Leased<tonic::Response<tonic::Streaming<proto::ForwardResponse>>>,
    sender: mpsc::Sender<Bytes>,
) {
    let Leased { inner, lease } = answer;
    let incoming = inner.into_inner().map_ok(|message| message.data);
    pipe::carry(far, incoming, sender).await;
    drop::<Lease>(lease);
}
