//! `kontiki.api.v1.GatewayService`: what a replica does for gateways of their own process.
//!
//! Only a certificate of the gateways' group opens it: no token, no impersonation, no right that a role could give. What it
//! passes on is served by this replica's own REST face under the client's identity, so authorization, admission, audit and
//! flow control are where they always are. A client's certificate is verified again: a gateway can repeat what it was
//! shown, and make up nobody.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use futures::{Stream, StreamExt as _, future};
use http::Request as HttpRequest;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use kontiki_apiserver::ApiServer;
use kontiki_apiserver::authn::{PeerCert, user_of_cert};
use kontiki_apiserver::relay::{GATEWAYS, TakesOver};
use kontiki_base::limits::{GATEWAY_STREAM_BYTES, HANDSHAKE_TIMEOUT, RPC_MESSAGE_BYTES};
use kontiki_base::status::{Reason, Status};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_proto::api as proto;
use kontiki_proto::api::forward_request::Content;
use kontiki_proto::api::gateway_service_server::{GatewayService, GatewayServiceServer};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Streaming};
use tower::ServiceExt as _;

use crate::error::to_tonic;
use crate::join::JoinAuthority;
use crate::{feed, pipe};

/// The service, over the REST face of this replica.
pub fn service(
    api: ApiServer,
    rest: Router,
    authority: Arc<dyn JoinAuthority>,
) -> GatewayServiceServer<Service> {
    GatewayServiceServer::new(Service::new(api, rest, authority))
        .max_decoding_message_size(RPC_MESSAGE_BYTES)
        .max_encoding_message_size(RPC_MESSAGE_BYTES)
}

/// The service.
pub struct Service {
    api: ApiServer,
    rest: Router,
    authority: Arc<dyn JoinAuthority>,
}

impl Service {
    /// Over the REST face of a replica and an authority on joining.
    pub fn new(api: ApiServer, rest: Router, authority: Arc<dyn JoinAuthority>) -> Self {
        Self {
            api,
            rest,
            authority,
        }
    }

    /// The certificate of the gateway that calls.
    fn gateway<T>(&self, request: &Request<T>) -> Result<PeerCert, tonic::Status> {
        let cert = request.extensions().get::<PeerCert>();
        let now_unix_ms = self.api.options().clock.unix_ms();
        let user = cert.and_then(|cert| user_of_cert(&cert.0, now_unix_ms));
        match (cert, user) {
            (Some(cert), Some(user)) if user.is_in(GATEWAYS) => Ok(cert.clone()),
            (Some(_), Some(user)) => {
                tracing::warn!(user = user.name, "is no gateway and was refused as one");
                let why = format!("only a certificate of the group {GATEWAYS} may");
                Err(to_tonic(&Status::new(Reason::Forbidden, why)))
            }
            (Some(_), None) => {
                let why = "the certificate is out of date or names nobody";
                Err(to_tonic(&Status::new(Reason::Forbidden, why)))
            }
            (None, _) => Err(to_tonic(&Status::new(Reason::Unauthorized, "Unauthorized"))),
        }
    }

    fn client(&self, named: proto::ForwardedClient) -> Result<Client, Status> {
        let bad = |what: &str| Status::bad_request(format!("client.{what}"));
        let peer = match named.peer_address.as_str() {
            "" => None,
            text => {
                let address = text.parse::<SocketAddr>();
                Some(address.map_err(|_| bad("peer_address: not an address with a port"))?)
            }
        };
        let cert = (!named.certificate.is_empty()).then_some(named.certificate);
        if let Some(der) = &cert
            && !self.authority.is_client(der)
        {
            let why = "the client's certificate is not one of this cluster";
            return Err(Status::new(Reason::Unauthorized, why));
        }
        Ok(Client {
            cert: cert.map(PeerCert),
            peer,
            takes_over: named.takes_over,
        })
    }
}

/// Whose request is served.
struct Client {
    cert: Option<PeerCert>,
    peer: Option<SocketAddr>,
    takes_over: bool,
}

impl Client {
    /// Puts on a request what the listener puts on those of its own connections.
    fn mark(&self, request: &mut HttpRequest<Body>) {
        let extensions = request.extensions_mut();
        if let Some(cert) = &self.cert {
            extensions.insert(cert.clone());
        }
        if let Some(peer) = self.peer {
            extensions.insert(ConnectInfo(peer));
        }
        if self.takes_over {
            extensions.insert(TakesOver);
        }
    }
}

/// Serves the one request of a stream, and what it is upgraded to.
async fn serve(io: DuplexStream, rest: Router, client: Client) {
    let service = hyper::service::service_fn(move |request: HttpRequest<Incoming>| {
        let mut request = request.map(Body::new);
        client.mark(&mut request);
        rest.clone().oneshot(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a passed on request broke off");
    }
}

/// The bytes of the messages after the first.
fn data(message: Result<proto::ForwardRequest, tonic::Status>) -> Result<Bytes, tonic::Status> {
    match message?.content {
        Some(Content::Data(bytes)) => Ok(bytes),
        _ => Err(tonic::Status::invalid_argument("data: Required value")),
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

#[tonic::async_trait]
impl GatewayService for Service {
    type ForwardStream = Responses<proto::ForwardResponse>;
    type FeedStream = Responses<proto::FeedResponse>;

    async fn forward(
        &self,
        request: Request<Streaming<proto::ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, tonic::Status> {
        self.gateway(&request)?;
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|first| first.content);
        let Some(Content::Client(named)) = first else {
            return Err(to_tonic(&Status::bad_request("client: Required value")));
        };
        let client = self.client(named).map_err(|status| to_tonic(&status))?;
        let (near, far) = tokio::io::duplex(GATEWAY_STREAM_BYTES);
        let (sender, receiver) = mpsc::channel(pipe::MESSAGES);
        spawn(TaskKind::Request, serve(near, self.rest.clone(), client));
        spawn(
            TaskKind::Request,
            pipe::carry(far, incoming.map(data), sender),
        );
        let responses =
            ReceiverStream::new(receiver).map(|data| Ok(proto::ForwardResponse { data }));
        Ok(Response::new(Box::pin(responses)))
    }

    async fn feed(
        &self,
        request: Request<proto::FeedRequest>,
    ) -> Result<Response<Self::FeedStream>, tonic::Status> {
        self.gateway(&request)?;
        let request = request.into_inner();
        let refused = |status: Status| to_tonic(&status);
        let start = feed::start(&request).map_err(refused)?;
        let kinds = self.api.kinds();
        let kind = kinds.by_path(&request.group, &request.version, &request.resource);
        let unknown = || Status::new(Reason::NotFound, "no such resource");
        let kind = kind.ok_or_else(unknown).map_err(refused)?;
        let begun = self.api.feed(kind, start).await.map_err(refused)?;
        let head = proto::FeedResponse {
            floor: begun.floor,
            ..proto::FeedResponse::default()
        };
        let pieces = begun
            .pieces
            .map(move |piece| piece.map(feed::response).map_err(refused));
        let head = futures::stream::once(future::ready(Ok(head)));
        Ok(Response::new(Box::pin(head.chain(pieces))))
    }

    async fn renew_certificate(
        &self,
        request: Request<proto::RenewCertificateRequest>,
    ) -> Result<Response<proto::RenewCertificateResponse>, tonic::Status> {
        let PeerCert(cert) = self.gateway(&request)?;
        let csr_pem = request.into_inner().csr_pem;
        let renewed = self.authority.renew_gateway(cert.to_vec(), csr_pem).await;
        let identity = renewed.map_err(|status| to_tonic(&status))?;
        Ok(Response::new(proto::RenewCertificateResponse {
            certificate_pem: identity.certificate_pem,
            ca_pem: identity.ca_pem,
            server_endpoints: identity.server_endpoints,
        }))
    }
}
